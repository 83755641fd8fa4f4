"""Every order in which charon calls a hook, on two charons with packets in the tunnel: how many are
lost, what is left.

Beside the tunnel under test runs one that is the same but policy-based and without a hook, where
that can be compared.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from support.host import Host
from support.namespaces import HOOK, WAIT_SECONDS
from support.site import has
from support.stream import Stream

from .conftest import Figures, Pair

pytestmark = pytest.mark.usefixtures("alone", "as_before")

SECRETS = 'moon plain unique site host sun : PSK "for tests only"\n'

# moon gives a silent peer up, but none that is slow; sun waits for moon, which answers an IKE_AUTH
# only when its hook is done. Emulated beside others, an answer takes up to 7 s, and one behind a
# hook up to 12.
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
def site(hosts: Pair) -> Iterator[Pair]:
    has(hosts.moon, "10.1.0.1/32", "10.4.0.1/32")
    has(hosts.sun, "10.5.0.1/16", "10.6.0.1/16", "10.8.0.1/16")
    hosts.moon.run("touch", "/run/flags")
    hosts.sun.charon(conf=SUN_CONF, secrets=SECRETS, charon=SUN_CHARON)
    start(hosts)
    yield hosts
    hosts.moon.stop_charon()
    hosts.sun.stop_charon()


@pytest.fixture
def alone(site: Pair) -> Iterator[None]:
    """A test that failed leaves nothing to the next one."""
    yield
    for name in re.findall(r"(?m)^(\w+): #", site.moon.run("swanctl", "--list-sas")):
        terminate(site, "--ike", name, "--force")
        site.calls.more(2)
    site.moon.run("sh", "-c", ": > /run/flags")


def start(site: Pair) -> None:
    site.moon.charon(conf=MOON_CONF, secrets=SECRETS, charon=MOON_CHARON % "no")
    site.calls.forget()


def make_before_break(site: Pair, on: bool) -> None:
    site.moon.file("/etc/strongswan.d/charon.conf", MOON_CHARON % ("yes" if on else "no"))
    site.moon.run("swanctl", "--reload-settings")


def stream(site: Pair, name: str) -> Stream:
    return Stream(site.moon, *INNER[name])


def verbs(lines: list[str]) -> list[str]:
    return [line.split(" ")[2].rstrip(",") for line in lines]


def terminate(site: Pair, *words: str) -> None:
    site.moon.run("swanctl", "--terminate", *words)


ON_THE_WAY = 1
"""Packets that may be lost with and without a hook: one may be on its way when its SA goes."""


class Beside(NamedTuple):
    hook: Stream
    policy: Stream
    said: list[str]
    """What the hook printed meanwhile."""

    def loses_no_more(self) -> "Beside":
        """The hook's tunnel has lost no packet that the one without a hook has not lost."""
        assert self.hook.lost <= max(self.policy.lost, ON_THE_WAY), (
            str(self.hook),
            str(self.policy),
        )
        return self


def beside(  # noqa: PLR0917 - as a table's row
    site: Pair,
    figures: Figures,
    scenario: str,
    name: str,
    act: Callable[[Pair, str], object],
    calls: int = 0,
) -> Beside:
    """Does `act` to a tunnel with the hook, which is called so often, and to one without; returns
    what each lost.
    """
    if not site.moon.sas("plain")[0]:
        site.moon.run("swanctl", "--initiate", "--child", "plain")
    with stream(site, name) as hook, stream(site, "plain") as policy:
        act(site, "plain")
        act(site, name)
        said = site.events(calls) if calls else []
    figures.add(scenario, hook, policy)
    return Beside(hook, policy, said)


def rekey_child(site: Pair, name: str) -> None:
    site.moon.rekey(name, "child")


def rekey_ike(site: Pair, name: str) -> None:
    site.moon.rekey(name, "ike")


def rekey_ike_five_times(site: Pair, name: str) -> None:
    for _ in range(5):
        rekey_ike(site, name)


def reauthenticate(site: Pair, name: str) -> None:
    old_ike, old = site.moon.sas(name)
    site.moon.run("swanctl", "--rekey", "--ike", name, "--reauth")
    site.moon.until_sas(name, 1, 1, without=old, without_ike=old_ike)


def replace(site: Pair, name: str) -> None:
    """A second IKE_SA of the same connection, made by sun; then the first one ends."""
    (first,), _ = site.moon.sas(name)
    site.sun.run("swanctl", "--initiate", "--child", f"{name}2")
    site.moon.until_sas(name, 2, 2)
    terminate(site, "--ike-id", str(first))
    site.moon.until_sas(name, 1, 1)


def test_rekeys_lose_nothing(site, figures):
    """Rekeys of the CHILD_SA and the IKE_SA lose no packet and call no hook, and the `down` after
    them finds its `up`.
    """
    site.up("gw")
    beside(site, figures, "CHILD_SA rekey", "gw", rekey_child).loses_no_more()
    beside(site, figures, "IKE_SA rekey", "gw", rekey_ike).loses_no_more()
    beside(site, figures, "IKE_SA rekey, five times", "gw", rekey_ike_five_times).loses_no_more()
    terminate(site, "--ike", "plain")
    site.no_events()
    assert verbs(site.down("gw")) == ["down"]


@pytest.mark.slow  # two streams beside each other: on a busy machine the second may end before its reauthentication
def test_reauthentications(site, figures):
    """Break before make has the tunnel up again; make before break loses no packet; neither leaves
    anything behind.
    """
    site.up("gw")
    site.moon.run("swanctl", "--initiate", "--child", "plain")
    make_before_break(site, True)  # an IKE_SA has it as it was when it was made
    broken = beside(site, figures, "reauthentication, break before make", "gw", reauthenticate, 2)
    assert verbs(broken.said) == ["down", "up"]
    assert (broken.hook.tail, broken.policy.tail) == (0, 0)
    made = beside(
        site, figures, "reauthentication, make before break", "gw", reauthenticate, 2
    ).loses_no_more()
    assert verbs(made.said) == ["up", "stays"]
    make_before_break(site, False)
    terminate(site, "--ike", "plain")
    assert verbs(site.down("gw")) == ["down"]


def test_reauthentication_keeps_a_unique_mark(site, figures):
    """Make before break by reauthentication takes the mark of mark=%unique along, and loses no
    packet.
    """
    make_before_break(site, True)
    first = site.up("unique")[0]
    done = beside(
        site, figures, "make before break, mark=%unique", "unique", reauthenticate, 2
    ).loses_no_more()
    assert done.said[0] == first
    make_before_break(site, False)
    terminate(site, "--ike", "plain")
    assert verbs(site.down("unique")) == ["down"]


def test_link_takes_the_mark_of_the_newest(site, figures):
    """A second CHILD_SA with a mark of its own (mark=%unique) has the link's keys become that mark.

    A VTI has one site of keys, so what passes between charon's installing of an SA and the hook's
    change of the keys, or (where the peer began it) between that and charon's answer, is lost: as
    long as the hook runs, at most.
    """
    first = site.up("unique")[0]
    done = beside(
        site, figures, "a second IKE_SA with another mark, the first ends", "unique", replace, 2
    )
    assert verbs(done.said) == ["up", "stays"]
    marks = [line.split(" mark ")[1].split(",")[0] for line in (first, done.said[0])]
    assert marks[0] != marks[1]
    link = first.split(" ")[1]
    assert f"ikey 0.0.0.{marks[1]} okey 0.0.0.{marks[1]}" in site.moon.run(
        "ip", "-d", "link", "show", link
    )
    assert done.hook.tail == 0
    terminate(site, "--ike", "plain")
    assert verbs(site.down("unique")) == ["down"]


class Held:
    """A wire that holds what either host sends until `release`, so that what both begin meanwhile
    crosses on it.
    """

    def __init__(self, site: Pair) -> None:
        self._hosts = (site.moon, site.sun)

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


def both_initiate(site: Pair) -> None:
    begun = r"grep -c 'generating \(IKE_SA_INIT\|CREATE_CHILD_SA\) request' /run/charon.log"
    hosts = (site.moon, site.sun)
    before = [int(host.run("sh", "-c", f"{begun} || true")) for host in hosts]
    with Held(site) as wire:
        started = [host.start("swanctl", "--initiate", "--child", "site") for host in hosts]
        for host, count in zip(hosts, before, strict=True):
            host.until(f"[ $({begun}) -gt {count} ]")
        wire.release()
        ended = [one.wait(WAIT_SECONDS) for one in started]
    assert ended == [0, 0], f"{site.moon.log()[-4000:]}\n{site.sun.log()[-4000:]}"
    assert verbs(site.events(2)) == ["up", "up"]


def test_both_sides_initiate(site, figures):
    """Where both sides initiate, the connection is up twice; the tunnel goes with the second of
    them.
    """
    both_initiate(site)
    moons, _ = site.moon.until_sas("site", 2, 2)
    last = site.moon.newest("site")
    (first,) = {*moons} - {last}
    with stream(site, "site") as hook:
        terminate(site, "--ike-id", str(first))
        assert verbs(site.events(1)) == ["stays"]
    figures.add("both sides initiate, the older ends", hook)
    assert hook.lost <= ON_THE_WAY
    terminate(site, "--ike-id", str(last))
    assert verbs(site.events(1)) == ["down"]


@pytest.mark.slow
@pytest.mark.parametrize("order", ["older", "newer"])
def test_two_equal_child_sas_end_one_after_the_other(site, figures, order):
    """Two byte-identical `up`s in one IKE_SA are two: the first `down` leaves the tunnel to the
    other, whichever ends.

    Where the newer ends, charon sends with its outbound SA until the hook is done (child_sa.c takes
    the policy back after the event), though the peer has deleted it: packets are lost that long,
    and no hook can change that.
    """
    site.up("site")
    (child,) = site.moon.sas("site")[1]
    terminate(site, "--child-id", str(child))
    site.events(1)
    both_initiate(site)
    numbers = site.moon.until_sas("site", 1, 2)[1]
    newest = site.moon.newest("site", child=True)
    (oldest,) = {*numbers} - {newest}
    first, last = (oldest, newest) if order == "older" else (newest, oldest)
    with stream(site, "site") as hook:
        terminate(site, "--child-id", str(first))
        assert verbs(site.events(1)) == ["stays"]
    figures.add(f"two equal CHILD_SAs, the {order} ends", hook)
    assert hook.tail == 0
    if order == "older":
        assert hook.lost <= ON_THE_WAY
    terminate(site, "--child-id", str(last))
    assert verbs(site.events(1)) == ["down"]
    terminate(site, "--ike", "site")


def second_ike_sa(site: Pair) -> list[int]:
    """sun makes another IKE_SA of the connection that is up; returns the numbers of both, the older
    first.
    """
    site.sun.run("swanctl", "--initiate", "--child", "site2")
    return site.moon.until_sas("site", 2, 2)[0]


def test_down_of_a_failed_up_beside_its_live_twin(site, figures):
    """The `down` of an `up` that failed takes nothing from the tunnel that is up beside it.

    Packets are lost while the hook runs: charon sends under the new SA before it answers the peer
    who began it, and until its `down` is done. Between the two they pass by the twin's link.
    """
    site.up("site")
    site.moon.run("sh", "-c", "echo --no-such-flag > /run/flags")
    with stream(site, "site") as hook:
        first, last = second_ike_sa(site)
        assert site.events(1)[0].startswith("error: ")
        site.moon.run("sh", "-c", ": > /run/flags")
        terminate(site, "--ike-id", str(last))
        assert site.events(1) == ["site: its up had failed, nothing to take away"]
    figures.add("a failed up and its down, beside a twin", hook)
    assert hook.tail == 0
    terminate(site, "--ike-id", str(first))
    assert verbs(site.events(1)) == ["down"]


class Drop:
    """Takes informational requests (DELETE, liveness) of one IKE_SA out of the wire, or all that
    comes to a host.
    """

    def __init__(self, host: Host, initiator_spi: str = "") -> None:
        self.host = host
        match = "matchall"
        if initiator_spi:
            # Behind 20 bytes of IPv4 and 8 of UDP the IKE header (RFC 7296, section 3.1): SPI, …,
            # exchange type 37.
            words = (initiator_spi[:8], initiator_spi[8:])
            match = "u32 match u8 17 0xff at 9 match u8 37 0xff at 46"
            for place, word in zip((28, 32), words, strict=True):
                match += f" match u32 0x{word} 0xffffffff at {place}"
        self._filter = f"tc filter add dev eth0 ingress protocol ip {match} action drop"

    def __enter__(self) -> None:
        self.host.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
        self.host.run(*self._filter.split())

    def __exit__(self, *_: object) -> None:
        self.host.run("tc", "qdisc", "del", "dev", "eth0", "clsact")


def initiator_spi(site: Pair, number: int) -> str:
    """The initiator's SPI of an IKE_SA, as 16 hexadecimal digits."""
    listed = site.moon.run("swanctl", "--list-sas", "--ike-id", str(number))
    found = re.search(r"ESTABLISHED, IKEv2, ([0-9a-f]{16})_i", listed)
    assert found is not None, listed
    return found[1]


@pytest.mark.slow
def test_peer_silent_while_a_rekeyed_child_sa_is_deleted(site, figures):
    """A rekeyed CHILD_SA whose DELETE times out brings `down`s that no `up` had; a second IKE_SA
    keeps the tunnel.
    """
    site.up("site")
    (child,) = site.moon.sas("site")[1]
    first, _ = second_ike_sa(site)
    site.events(1)
    with stream(site, "site") as hook:
        with Drop(site.sun, initiator_spi(site, first)):
            site.moon.run("swanctl", "--rekey", "--child-id", str(child))
            said = until_said(site, lambda lines: "up" in verbs(lines))
            site.moon.until_sas("site", 2, 2)
        said += until_quiet(site)
    assert "down" not in verbs(said), said
    figures.add("DELETE of a rekeyed CHILD_SA times out, beside a twin", hook)
    assert hook.tail == 0
    terminate(site, "--ike", "site")
    said += until_quiet(site)
    assert said[-1].split(" ")[2] == "down,", said


@pytest.mark.slow
def test_peer_silent(site, figures):
    """When the peer was silent until charon gave up, packets pass once it is back, and nothing is
    left.
    """
    site.up("site")
    with stream(site, "site") as hook:
        with Drop(site.sun):
            said = until_said(site, lambda lines: "down" in verbs(lines))
        said += until_said(site, lambda lines: "up" in verbs(lines))
    figures.add("peer silent, DPD restart", hook)
    assert hook.tail == 0
    said += until_quiet(site)
    terminate(site, "--ike", "site")
    said += until_quiet(site)
    assert said[-1].split(" ")[2] == "down,", said


def until_said(site: Pair, enough: Callable[[list[str]], bool]) -> list[str]:
    """The hook's next lines, until there are enough."""
    lines: list[str] = []
    while not enough(lines):
        lines += site.events(1)
    return lines


def until_quiet(site: Pair, seconds: float = 5) -> list[str]:
    """The hook's lines until none has come for so long."""
    lines: list[str] = []
    while new := site.calls.more(seconds):
        lines += new
    return lines


def test_charon_stopped(site):
    """charon stopped takes all tunnels down."""
    site.up("gw")
    with stream(site, "gw") as hook:
        site.moon.stop_charon()
    assert hook.tail > 0
    site.as_before()
    start(site)


def test_charon_killed_and_started_again(site, figures):
    """A killed charon leaves its tunnel; the next one's `up` takes it over as it is, and its `down`
    leaves nothing.
    """
    was = site.up("site")[0].split(" ")[1]
    with stream(site, "site") as hook:
        site.moon.kill_charon()
        start(site)
        again = site.up("site")
    figures.add("charon killed and started again", hook)
    assert verbs(again) == ["up"]
    assert again[0].split(" ")[1] == was
    assert hook.tail == 0
    assert verbs(site.down("site")) == ["down"]


def move(site: Pair, old: str, new: str) -> None:
    """moon gets another address, and its default route again."""
    lines = (
        f"addr del {old}/24 dev eth0",
        f"addr add {new}/24 dev eth0",
        "route add default via 192.168.0.2",
    )
    site.moon.run("sh", "-c", "printf '%s\\n' \"$@\" | ip -batch -", "sh", *lines)


def test_mobike_address_changed(site, figures):
    """A host that moves to another address tells no hook; the `down` that comes from there takes
    all away.
    """
    site.up("gw")
    try:
        done = beside(site, figures, "MOBIKE, address changed", "gw", roam)
        terminate(site, "--ike", "plain")
        assert done.policy.tail == 0, "MOBIKE did not move the IKE_SAs"
        assert "192.168.0.11" in site.moon.run("swanctl", "--list-sas", "--ike", "gw")
        site.no_events()
        assert verbs(site.down("gw")) == ["down"]
    finally:
        move(site, "192.168.0.11", "192.168.0.1")


def roam(site: Pair, name: str) -> None:
    if name == "plain":  # once for both
        move(site, "192.168.0.1", "192.168.0.11")
        site.moon.until("swanctl --list-sas | grep -c 192.168.0.11 | grep -qx 2")


def test_mobike_from_ipv4_to_ipv6(site):
    """A host-to-host tunnel that roams to IPv6 comes down with another verb and family, and takes
    its link away.
    """
    assert "no route made" in site.up("host", 3)[1]
    try:
        site.moon.run("ip", "addr", "del", "192.168.0.1/24", "dev", "eth0")
        site.moon.until("swanctl --list-sas --ike host | grep -q 'fec0::1\\[4500'")
        site.no_events()
        assert verbs(site.down("host")) == ["down"]
    finally:
        site.moon.run("ip", "addr", "add", "192.168.0.1/24", "dev", "eth0")
        site.moon.run("ip", "route", "add", "default", "via", "192.168.0.2")
