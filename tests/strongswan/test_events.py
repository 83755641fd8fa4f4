"""Every order in which charon calls a hook, on two charons with packets in the tunnel: how many are lost, what is left.

Beside the tunnel under test runs one that is the same but policy-based and without a hook, where that can be compared.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from hosts import HOOK, WAIT_SECONDS, Host, Stream

from .conftest import Figures, Pair

pytestmark = pytest.mark.usefixtures("alone", "as_before")

SECRETS = 'moon plain unique site host sun : PSK "for tests only"\n'

# moon gives a silent peer up, but none that is slow; sun waits for moon, which answers an IKE_AUTH only when its hook is done.
# Emulated beside others, an answer takes up to 7 s, and one behind a hook up to 12.
TIMERS = """
    retransmit_timeout = %d
    retransmit_tries = 1
    retransmit_base = 1
"""
MOON_CHARON = f"""charon {{
    install_routes = no
    install_virtual_ip = no
    make_before_break = %s
{TIMERS % 10}}}
"""
SUN_CHARON = f"charon {{{TIMERS % 30}}}\n"

SUN_CONF = """
config setup
    uniqueids=no

conn %default
    left=192.168.0.2
    leftid=sun
    leftauth=psk
    right=%any
    rightauth=psk
    auto=add

conn gw
    leftsubnet=10.2.0.0/16
    rightid=moon
    rightsourceip=10.3.0.1

conn plain
    leftsubnet=10.8.0.0/16
    right=192.168.0.1
    rightid=plain
    rightsubnet=10.4.0.1/32

conn unique
    leftsubnet=10.5.0.0/16
    right=192.168.0.1
    rightid=unique
    rightsubnet=10.1.0.1/32

conn site
    leftsubnet=10.6.0.0/16
    right=192.168.0.1
    rightid=site
    rightsubnet=10.1.0.1/32
    mobike=no
    dpdaction=clear
    dpddelay=2s

conn host
    rightid=host

# Unequal to those above in what matters to nobody but charon, so that it makes a second IKE_SA of the same for moon.
conn plain2
    also=plain
    ikelifetime=5h

conn unique2
    also=unique
    ikelifetime=5h

conn site2
    also=site
    ikelifetime=5h
"""

MOON_CONF = f"""
config setup
    uniqueids=no

conn %default
    left=%defaultroute
    leftauth=psk
    right=192.168.0.2
    rightid=sun
    rightauth=psk
    auto=add

# Without a hook, to compare with.
conn plain
    leftid=plain
    leftsubnet=10.4.0.1/32
    rightsubnet=10.8.0.0/16

conn gw
    leftupdown={HOOK}
    leftid=moon
    leftsourceip=%config
    rightsubnet=10.2.0.0/16
    mark=2

conn unique
    leftupdown={HOOK}
    leftid=unique
    leftsubnet=10.1.0.1/32
    rightsubnet=10.5.0.0/16
    mark=%unique

# Either side may start it.
conn site
    leftupdown="{HOOK} $(cat /run/flags)"
    leftid=site
    leftsubnet=10.1.0.1/32
    rightsubnet=10.6.0.0/16
    mark=6
    mobike=no
    dpdaction=restart
    dpddelay=2s

conn host
    leftupdown={HOOK}
    leftid=host
    mark=7
"""
INNER = {
    "plain": ("10.4.0.1", "10.8.0.1"),
    "gw": ("10.3.0.1", "10.2.0.1"),
    "unique": ("10.1.0.1", "10.5.0.1"),
    "site": ("10.1.0.1", "10.6.0.1"),
}


@pytest.fixture(scope="module")
def pair(hosts: Pair) -> Iterator[Pair]:
    for host, addresses in (
        (hosts.moon, ("10.1.0.1/32", "10.4.0.1/32")),
        (hosts.sun, ("10.5.0.1/16", "10.6.0.1/16", "10.8.0.1/16")),
    ):
        for address in addresses:
            host.run("ip", "addr", "add", address, "dev", "lo")
    hosts.moon.run("touch", "/run/flags")
    hosts.sun.charon(conf=SUN_CONF, secrets=SECRETS, charon=SUN_CHARON)
    start(hosts)
    yield hosts
    hosts.moon.stop_charon()
    hosts.sun.stop_charon()


@pytest.fixture
def alone(pair: Pair) -> Iterator[None]:
    """A test that failed leaves nothing to the next one."""
    yield
    for name in re.findall(r"(?m)^(\w+): #", pair.moon.run("swanctl", "--list-sas")):
        terminate(pair, "--ike", name, "--force")
        pair.more(2)
    pair.moon.run("sh", "-c", ": > /run/flags")


def start(pair: Pair) -> None:
    pair.moon.charon(conf=MOON_CONF, secrets=SECRETS, charon=MOON_CHARON % "no")
    pair.forget()


def make_before_break(pair: Pair, on: bool) -> None:
    pair.moon.file("/etc/strongswan.d/charon.conf", MOON_CHARON % ("yes" if on else "no"))
    pair.moon.run("swanctl", "--reload-settings")


def stream(pair: Pair, name: str) -> Stream:
    return Stream(pair.moon, *INNER[name])


def verbs(lines: list[str]) -> list[str]:
    return [line.split(" ")[2].rstrip(",") for line in lines]


def terminate(pair: Pair, *words: str) -> None:
    pair.moon.run("swanctl", "--terminate", *words)


ON_THE_WAY = 1
"""Packets that may be lost with and without a hook: one may be on its way when its SA goes."""


class Beside(NamedTuple):
    hook: Stream
    policy: Stream
    said: list[str]
    """What the hook printed meanwhile."""

    def loses_no_more(self) -> "Beside":
        """The hook's tunnel has lost no packet that the one without a hook has not lost."""
        assert self.hook.lost <= max(self.policy.lost, ON_THE_WAY), (str(self.hook), str(self.policy))
        return self


def beside(  # noqa: PLR0917 - as a table's row
    pair: Pair, figures: Figures, scenario: str, name: str, act: Callable[[Pair, str], object], calls: int = 0
) -> Beside:
    """Does `act` to a tunnel with the hook, which is called so often, and to one without; returns what each lost."""
    if not pair.moon.sas("plain")[0]:
        pair.moon.run("swanctl", "--initiate", "--child", "plain")
    with stream(pair, name) as hook, stream(pair, "plain") as policy:
        act(pair, "plain")
        act(pair, name)
        said = pair.events(calls) if calls else []
    figures.add(scenario, hook, policy)
    return Beside(hook, policy, said)


def rekey_child(pair: Pair, name: str) -> None:
    pair.moon.rekey(name, "child")


def rekey_ike(pair: Pair, name: str) -> None:
    pair.moon.rekey(name, "ike")


def rekey_ike_five_times(pair: Pair, name: str) -> None:
    for _ in range(5):
        rekey_ike(pair, name)


def reauthenticate(pair: Pair, name: str) -> None:
    old_ike, old = pair.moon.sas(name)
    pair.moon.run("swanctl", "--rekey", "--ike", name, "--reauth")
    pair.moon.until_sas(name, 1, 1, without=old, without_ike=old_ike)


def replace(pair: Pair, name: str) -> None:
    """A second IKE_SA of the same connection, made by sun; then the first one ends."""
    (first,), _ = pair.moon.sas(name)
    pair.sun.run("swanctl", "--initiate", "--child", f"{name}2")
    pair.moon.until_sas(name, 2, 2)
    terminate(pair, "--ike-id", str(first))
    pair.moon.until_sas(name, 1, 1)


def test_rekeys_lose_nothing(pair, figures):
    """Rekeys of the CHILD_SA and the IKE_SA lose no packet and call no hook, and the `down` after them finds its `up`."""
    pair.up("gw")
    beside(pair, figures, "CHILD_SA rekey", "gw", rekey_child).loses_no_more()
    beside(pair, figures, "IKE_SA rekey", "gw", rekey_ike).loses_no_more()
    beside(pair, figures, "IKE_SA rekey, five times", "gw", rekey_ike_five_times).loses_no_more()
    terminate(pair, "--ike", "plain")
    pair.no_events()
    assert verbs(pair.down("gw")) == ["down"]


@pytest.mark.slow  # two streams beside each other: on a busy machine the second may end before its reauthentication
def test_reauthentications(pair, figures):
    """Break before make has the tunnel up again; make before break loses no packet; neither leaves anything behind."""
    pair.up("gw")
    pair.moon.run("swanctl", "--initiate", "--child", "plain")
    make_before_break(pair, True)  # an IKE_SA has it as it was when it was made
    broken = beside(pair, figures, "reauthentication, break before make", "gw", reauthenticate, 2)
    assert verbs(broken.said) == ["down", "up"]
    assert (broken.hook.tail, broken.policy.tail) == (0, 0)
    made = beside(pair, figures, "reauthentication, make before break", "gw", reauthenticate, 2).loses_no_more()
    assert verbs(made.said) == ["up", "stays"]
    make_before_break(pair, False)
    terminate(pair, "--ike", "plain")
    assert verbs(pair.down("gw")) == ["down"]


def test_reauthentication_keeps_a_unique_mark(pair, figures):
    """Make before break by reauthentication takes the mark of mark=%unique along, and loses no packet."""
    make_before_break(pair, True)
    first = pair.up("unique")[0]
    done = beside(pair, figures, "make before break, mark=%unique", "unique", reauthenticate, 2).loses_no_more()
    assert done.said[0] == first
    make_before_break(pair, False)
    terminate(pair, "--ike", "plain")
    assert verbs(pair.down("unique")) == ["down"]


def test_link_takes_the_mark_of_the_newest(pair, figures):
    """A second CHILD_SA with a mark of its own (mark=%unique) has the link's keys become that mark.

    A VTI has one pair of keys, so what passes between charon's installing of an SA and the hook's change of the keys, or
    (where the peer began it) between that and charon's answer, is lost: as long as the hook runs, at most.
    """
    first = pair.up("unique")[0]
    done = beside(pair, figures, "a second IKE_SA with another mark, the first ends", "unique", replace, 2)
    assert verbs(done.said) == ["up", "stays"]
    marks = [line.split(" mark ")[1].split(",")[0] for line in (first, done.said[0])]
    assert marks[0] != marks[1]
    link = first.split(" ")[1]
    assert f"ikey 0.0.0.{marks[1]} okey 0.0.0.{marks[1]}" in pair.moon.run("ip", "-d", "link", "show", link)
    assert done.hook.tail == 0
    terminate(pair, "--ike", "plain")
    assert verbs(pair.down("unique")) == ["down"]


class Held:
    """A wire that holds what either host sends until `release`, so that what both begin meanwhile crosses on it."""

    def __init__(self, pair: Pair) -> None:
        self._hosts = (pair.moon, pair.sun)

    def __enter__(self) -> "Held":
        self._plug("add")
        return self

    def release(self) -> None:
        self._plug("change", "plug", "release_indefinite")

    def __exit__(self, *_: object) -> None:
        self._plug("del")

    def _plug(self, verb: str, *words: str) -> None:
        for host in self._hosts:
            host.run("tc", "qdisc", verb, "dev", "eth0", "root", *(words or ["plug"]))


def both_initiate(pair: Pair) -> None:
    begun = r"grep -c 'generating \(IKE_SA_INIT\|CREATE_CHILD_SA\) request' /run/charon.log"
    hosts = (pair.moon, pair.sun)
    before = [int(host.run("sh", "-c", f"{begun} || true")) for host in hosts]
    with Held(pair) as wire:
        started = [host.start("swanctl", "--initiate", "--child", "site") for host in hosts]
        for host, count in zip(hosts, before, strict=True):
            host.until(f"[ $({begun}) -gt {count} ]")
        wire.release()
        ended = [one.wait(WAIT_SECONDS) for one in started]
    assert ended == [0, 0], f"{pair.moon.log()[-4000:]}\n{pair.sun.log()[-4000:]}"
    assert verbs(pair.events(2)) == ["up", "up"]


def test_both_sides_initiate(pair, figures):
    """Where both sides initiate, the connection is up twice; the tunnel goes with the second of them."""
    both_initiate(pair)
    moons, _ = pair.moon.until_sas("site", 2, 2)
    last = pair.moon.newest("site")
    (first,) = {*moons} - {last}
    with stream(pair, "site") as hook:
        terminate(pair, "--ike-id", str(first))
        assert verbs(pair.events(1)) == ["stays"]
    figures.add("both sides initiate, the older ends", hook)
    assert hook.lost <= ON_THE_WAY
    terminate(pair, "--ike-id", str(last))
    assert verbs(pair.events(1)) == ["down"]


@pytest.mark.slow
@pytest.mark.parametrize("order", ["older", "newer"])
def test_two_equal_child_sas_end_one_after_the_other(pair, figures, order):
    """Two byte-identical `up`s in one IKE_SA are two: the first `down` leaves the tunnel to the other, whichever ends.

    Where the newer ends, charon sends with its outbound SA until the hook is done (child_sa.c takes the policy back after
    the event), though the peer has deleted it: packets are lost that long, and no hook can change that.
    """
    pair.up("site")
    (child,) = pair.moon.sas("site")[1]
    terminate(pair, "--child-id", str(child))
    pair.events(1)
    both_initiate(pair)
    numbers = pair.moon.until_sas("site", 1, 2)[1]
    newest = pair.moon.newest("site", child=True)
    (oldest,) = {*numbers} - {newest}
    first, last = (oldest, newest) if order == "older" else (newest, oldest)
    with stream(pair, "site") as hook:
        terminate(pair, "--child-id", str(first))
        assert verbs(pair.events(1)) == ["stays"]
    figures.add(f"two equal CHILD_SAs, the {order} ends", hook)
    assert hook.tail == 0
    if order == "older":
        assert hook.lost <= ON_THE_WAY
    terminate(pair, "--child-id", str(last))
    assert verbs(pair.events(1)) == ["down"]
    terminate(pair, "--ike", "site")


def second_ike_sa(pair: Pair) -> list[int]:
    """sun makes another IKE_SA of the connection that is up; returns the numbers of both, the older first."""
    pair.sun.run("swanctl", "--initiate", "--child", "site2")
    return pair.moon.until_sas("site", 2, 2)[0]


def test_down_of_a_failed_up_beside_its_live_twin(pair, figures):
    """The `down` of an `up` that failed takes nothing from the tunnel that is up beside it.

    Packets are lost while the hook runs: charon sends under the new SA before it answers the peer who began it, and until
    its `down` is done. Between the two they pass by the twin's link.
    """
    pair.up("site")
    pair.moon.run("sh", "-c", "echo --no-such-flag > /run/flags")
    with stream(pair, "site") as hook:
        first, last = second_ike_sa(pair)
        assert pair.events(1)[0].startswith("error: ")
        pair.moon.run("sh", "-c", ": > /run/flags")
        terminate(pair, "--ike-id", str(last))
        assert pair.events(1) == ["site: its up had failed, nothing to take away"]
    figures.add("a failed up and its down, beside a twin", hook)
    assert hook.tail == 0
    terminate(pair, "--ike-id", str(first))
    assert verbs(pair.events(1)) == ["down"]


class Drop:
    """Takes informational requests (DELETE, liveness) of one IKE_SA out of the wire, or all that comes to a host."""

    def __init__(self, host: Host, initiator_spi: str = "") -> None:
        self.host = host
        match = ["matchall"]
        if initiator_spi:
            # Behind 20 bytes of IPv4 and 8 of UDP the IKE header (RFC 7296, section 3.1): SPI, …, exchange type 37.
            words = (initiator_spi[:8], initiator_spi[8:])
            match = ["u32", "match", "u8", "17", "0xff", "at", "9", "match", "u8", "37", "0xff", "at", "46"]
            for place, word in zip((28, 32), words, strict=True):
                match += ["match", "u32", f"0x{word}", "0xffffffff", "at", str(place)]
        self._filter = ["tc", "filter", "add", "dev", "eth0", "ingress", "protocol", "ip", *match, "action", "drop"]

    def __enter__(self) -> None:
        self.host.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
        self.host.run(*self._filter)

    def __exit__(self, *_: object) -> None:
        self.host.run("tc", "qdisc", "del", "dev", "eth0", "clsact")


def initiator_spi(pair: Pair, number: int) -> str:
    """The initiator's SPI of an IKE_SA, as 16 hexadecimal digits."""
    listed = pair.moon.run("swanctl", "--list-sas", "--ike-id", str(number))
    found = re.search(r"ESTABLISHED, IKEv2, ([0-9a-f]{16})_i", listed)
    assert found is not None, listed
    return found[1]


@pytest.mark.slow
def test_peer_silent_while_a_rekeyed_child_sa_is_deleted(pair, figures):
    """A rekeyed CHILD_SA whose DELETE times out brings `down`s that no `up` had; a second IKE_SA keeps the tunnel."""
    pair.up("site")
    (child,) = pair.moon.sas("site")[1]
    first, _ = second_ike_sa(pair)
    pair.events(1)
    with stream(pair, "site") as hook:
        with Drop(pair.sun, initiator_spi(pair, first)):
            pair.moon.run("swanctl", "--rekey", "--child-id", str(child))
            said = until_said(pair, lambda lines: "up" in verbs(lines))
            pair.moon.until_sas("site", 2, 2)
        said += until_quiet(pair)
    assert "down" not in verbs(said), said
    figures.add("DELETE of a rekeyed CHILD_SA times out, beside a twin", hook)
    assert hook.tail == 0
    terminate(pair, "--ike", "site")
    said += until_quiet(pair)
    assert said[-1].split(" ")[2] == "down,", said


@pytest.mark.slow
def test_peer_silent(pair, figures):
    """When the peer was silent until charon gave up, packets pass once it is back, and nothing is left."""
    pair.up("site")
    with stream(pair, "site") as hook:
        with Drop(pair.sun):
            said = until_said(pair, lambda lines: "down" in verbs(lines))
        said += until_said(pair, lambda lines: "up" in verbs(lines))
    figures.add("peer silent, DPD restart", hook)
    assert hook.tail == 0
    said += until_quiet(pair)
    terminate(pair, "--ike", "site")
    said += until_quiet(pair)
    assert said[-1].split(" ")[2] == "down,", said


def until_said(pair: Pair, enough: Callable[[list[str]], bool]) -> list[str]:
    """The hook's next lines, until there are enough."""
    lines: list[str] = []
    while not enough(lines):
        lines += pair.events(1)
    return lines


def until_quiet(pair: Pair, seconds: float = 5) -> list[str]:
    """The hook's lines until none has come for so long."""
    lines: list[str] = []
    while new := pair.more(seconds):
        lines += new
    return lines


def test_charon_stopped(pair):
    """charon stopped takes all tunnels down."""
    pair.up("gw")
    with stream(pair, "gw") as hook:
        pair.moon.run("ipsec", "stop")
        pair.moon.daemon.wait(30)
    assert hook.tail > 0
    pair.as_before()
    start(pair)


def test_charon_killed_and_started_again(pair, figures):
    """A killed charon leaves its tunnel; the next one's `up` takes it over as it is, and its `down` leaves nothing."""
    was = pair.up("site")[0].split(" ")[1]
    with stream(pair, "site") as hook:
        pair.moon.kill_charon()
        start(pair)
        again = pair.up("site")
    figures.add("charon killed and started again", hook)
    assert verbs(again) == ["up"]
    assert again[0].split(" ")[1] == was
    assert hook.tail == 0
    assert verbs(pair.down("site")) == ["down"]


def move(pair: Pair, old: str, new: str) -> None:
    """moon gets another address, and its default route again."""
    lines = (f"addr del {old}/24 dev eth0", f"addr add {new}/24 dev eth0", "route add default via 192.168.0.2")
    pair.moon.run("sh", "-c", "printf '%s\\n' \"$@\" | ip -batch -", "sh", *lines)


def test_mobike_address_changed(pair, figures):
    """A host that moves to another address tells no hook; the `down` that comes from there takes all away."""
    pair.up("gw")
    try:
        done = beside(pair, figures, "MOBIKE, address changed", "gw", roam)
        terminate(pair, "--ike", "plain")
        assert done.policy.tail == 0, "MOBIKE did not move the IKE_SAs"
        assert "192.168.0.11" in pair.moon.run("swanctl", "--list-sas", "--ike", "gw")
        pair.no_events()
        assert verbs(pair.down("gw")) == ["down"]
    finally:
        move(pair, "192.168.0.11", "192.168.0.1")


def roam(pair: Pair, name: str) -> None:
    if name == "plain":  # once for both
        move(pair, "192.168.0.1", "192.168.0.11")
        pair.moon.until("swanctl --list-sas | grep -c 192.168.0.11 | grep -qx 2")


def test_mobike_from_ipv4_to_ipv6(pair):
    """A host-to-host tunnel that roams to IPv6 comes down with another verb and family, and takes its link away."""
    assert "no route made" in pair.up("host", 2)[1]
    try:
        pair.moon.run("ip", "addr", "del", "192.168.0.1/24", "dev", "eth0")
        pair.moon.until("swanctl --list-sas --ike host | grep -q 'fec0::1\\[4500'")
        pair.no_events()
        assert verbs(pair.down("host")) == ["down"]
    finally:
        pair.moon.run("ip", "addr", "add", "192.168.0.1/24", "dev", "eth0")
        pair.moon.run("ip", "route", "add", "default", "via", "192.168.0.2")
