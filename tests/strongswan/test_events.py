"""Every order in which charon calls a hook, on two charons with packets in the tunnel: how many are lost, what is left.

Beside the tunnel under test runs one that is the same but policy-based and without a hook, where that can be compared.
"""

import re
from collections.abc import Callable, Iterator

import pytest

from hosts import HOOK, Host, Stream

from .conftest import Figures, Pair

pytestmark = pytest.mark.usefixtures("alone", "as_before")

SECRETS = 'moon plain unique site host sun : PSK "for tests only"\n'

TIMERS = """
    retransmit_timeout = 2
    retransmit_tries = 1
    retransmit_base = 1
"""
MOON_CHARON = f"""charon {{
    install_routes = no
    install_virtual_ip = no
    make_before_break = %s
    reuse_ikesa = %s
{TIMERS}}}
"""
SUN_CHARON = f"charon {{{TIMERS}}}\n"

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

conn plain
    leftsubnet=10.8.0.0/16
    rightid=plain
    rightsubnet=10.4.0.1/32

conn gw
    leftsubnet=10.2.0.0/16
    rightid=moon
    rightsourceip=10.3.0.1

conn unique
    leftsubnet=10.5.0.0/16
    rightid=unique
    rightsourceip=10.3.0.5

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
    leftsourceip=%config
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
    "unique": ("10.3.0.5", "10.5.0.1"),
    "site": ("10.1.0.1", "10.6.0.1"),
}


@pytest.fixture(scope="module")
def pair(hosts: Pair) -> Iterator[Pair]:
    for host, addresses in ((hosts.moon, ("10.1.0.1/32", "10.4.0.1/32")), (hosts.sun, ("10.5.0.1/16", "10.6.0.1/16", "10.8.0.1/16"))):
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
    pair.moon.charon(conf=MOON_CONF, secrets=SECRETS, charon=MOON_CHARON % ("no", "yes"))
    pair.forget()


def configure(pair: Pair, make_before_break: bool = False, reuse_ikesa: bool = True) -> None:
    words = ("yes" if make_before_break else "no", "yes" if reuse_ikesa else "no")
    pair.moon.file("/etc/strongswan.d/charon.conf", MOON_CHARON % words)
    pair.moon.run("swanctl", "--reload-settings")


def stream(pair: Pair, name: str) -> Stream:
    return Stream(pair.moon, *INNER[name])


def verbs(lines: list[str]) -> list[str]:
    return [line.split(" ")[2].rstrip(",") for line in lines]


def terminate(pair: Pair, *words: str) -> None:
    pair.moon.run("swanctl", "--terminate", *words)


def beside(pair: Pair, figures: Figures, scenario: str, name: str, act: Callable[[str], None]) -> tuple[Stream, Stream]:
    """Does `act` to a tunnel of the hook's and to one without, and returns what each lost."""
    pair.moon.run("swanctl", "--initiate", "--child", "plain")
    with stream(pair, name) as hook, stream(pair, "plain") as policy:
        act("plain")
        act(name)
    terminate(pair, "--ike", "plain")
    figures.add(scenario, hook, policy)
    return hook, policy


def rekey_child(pair: Pair, name: str) -> None:
    _, old = pair.moon.sas(name)
    pair.moon.run("swanctl", "--rekey", "--child", name)
    pair.moon.until_sas(name, 1, 1, without=old)


def rekey_ike(pair: Pair, name: str) -> None:
    old, _ = pair.moon.sas(name)
    pair.moon.run("swanctl", "--rekey", "--ike", name)
    pair.moon.until_sas(name, 1, 1, without_ike=old)


def reauthenticate(pair: Pair, name: str) -> None:
    old_ike, old = pair.moon.sas(name)
    pair.moon.run("swanctl", "--rekey", "--ike", name, "--reauth")
    pair.moon.until_sas(name, 1, 1, without=old, without_ike=old_ike)


def test_child_sa_rekey_loses_nothing(pair, figures):
    """A rekey of the CHILD_SA loses no packet that it would not lose without a hook, which is not called."""
    pair.up("gw")
    hook, policy = beside(pair, figures, "CHILD_SA rekey", "gw", lambda name: rekey_child(pair, name))
    assert hook.lost <= policy.lost
    pair.no_events()
    assert verbs(pair.down("gw")) == ["down"]


@pytest.mark.parametrize("times", [1, 5])
def test_ike_rekey_loses_nothing(pair, figures, times):
    """However often the IKE_SA is rekeyed, no packet is lost, no hook is called, and its `down` with an ID that no `up` had works."""
    pair.up("gw")

    def act(name: str) -> None:
        for _ in range(times):
            rekey_ike(pair, name)

    hook, policy = beside(pair, figures, f"IKE_SA rekey × {times}", "gw", act)
    assert hook.lost <= policy.lost
    pair.no_events()
    assert verbs(pair.down("gw")) == ["down"]


def test_reauthentication_break_before_make(pair, figures):
    """Break before make takes the tunnel down and up again, and packets pass again after it."""
    configure(pair)
    pair.up("gw")
    hook, policy = beside(pair, figures, "reauthentication, break before make", "gw", lambda name: reauthenticate(pair, name))
    assert verbs(pair.events(2)) == ["down", "up"]
    assert (hook.tail, policy.tail) == (0, 0)
    pair.down("gw")


def test_reauthentication_make_before_break_loses_nothing(pair, figures):
    """Make before break loses no packet that it would not lose without a hook: the tunnel is up twice for a moment."""
    configure(pair, make_before_break=True)
    pair.up("gw")
    hook, policy = beside(pair, figures, "reauthentication, make before break", "gw", lambda name: reauthenticate(pair, name))
    assert verbs(pair.events(2)) == ["up", "stays"]
    assert hook.lost <= policy.lost
    assert verbs(pair.down("gw")) == ["down"]


def test_unique_mark_follows_make_before_break(pair, figures):
    """With mark=%unique the new CHILD_SA has another mark, and the link's keys become that."""
    configure(pair, make_before_break=True)
    first = pair.up("unique")[0]
    hook, policy = beside(
        pair, figures, "the same, mark=%unique", "unique", lambda name: reauthenticate(pair, name)
    )  # fmt: skip
    second, third = pair.events(2)
    assert verbs([second, third]) == ["up", "stays"]
    marks = [line.split(" mark ")[1].split(",")[0] for line in (first, second)]
    assert marks[0] != marks[1]
    link = first.split(" ")[1]
    assert f"ikey 0.0.0.{marks[1]} okey 0.0.0.{marks[1]}" in pair.moon.run("ip", "-d", "link", "show", link)
    assert hook.tail == 0
    assert hook.lost <= policy.lost
    assert verbs(pair.down("unique")) == ["down"]


class Slow:
    """A wire so slow that what both sides begin at once crosses on it."""

    def __init__(self, pair: Pair) -> None:
        self._hosts = (pair.moon, pair.sun)

    def __enter__(self) -> None:
        for host in self._hosts:
            host.run("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "300ms")

    def __exit__(self, *_: object) -> None:
        for host in self._hosts:
            host.run("tc", "qdisc", "del", "dev", "eth0", "root")


def both_initiate(pair: Pair) -> None:
    with Slow(pair):
        started = pair.sun.start("swanctl", "--initiate", "--child", "site")
        pair.moon.run("swanctl", "--initiate", "--child", "site")
        started.wait(30)
    assert verbs(pair.events(2)) == ["up", "up"]


def test_both_sides_initiate(pair, figures):
    """Where both sides initiate, the connection is up twice; the end of either leaves the other's packets alone."""
    configure(pair)
    both_initiate(pair)
    (first, last), _ = pair.moon.until_sas("site", 2, 2)
    with stream(pair, "site") as hook:
        terminate(pair, "--ike-id", str(first))
        assert verbs(pair.events(1)) == ["stays"]
    figures.add("both sides initiate, one ends", hook)
    assert hook.lost == 0
    terminate(pair, "--ike-id", str(last))
    assert verbs(pair.events(1)) == ["down"]


def test_two_equal_child_sas_end_one_after_the_other(pair, figures):
    """Two byte-identical `up`s in one IKE_SA are two: the first `down` leaves the tunnel to the other."""
    configure(pair)
    pair.up("site")
    _, (child,) = pair.moon.sas("site")
    terminate(pair, "--child-id", str(child))
    pair.events(1)
    both_initiate(pair)
    _, (first, last) = pair.moon.until_sas("site", 1, 2)
    with stream(pair, "site") as hook:
        terminate(pair, "--child-id", str(first))
        assert verbs(pair.events(1)) == ["stays"]
    figures.add("two equal CHILD_SAs, one ends", hook)
    assert hook.lost == 0
    terminate(pair, "--child-id", str(last))
    assert verbs(pair.events(1)) == ["down"]
    terminate(pair, "--ike", "site")


def test_down_of_a_failed_up_beside_its_live_twin(pair, figures):
    """The `down` of an `up` that failed takes nothing from the tunnel that is up beside it."""
    configure(pair, reuse_ikesa=False)
    pair.up("site")
    pair.moon.run("sh", "-c", "echo --no-such-flag > /run/flags")
    with stream(pair, "site") as hook:
        assert pair.up("site")[0].startswith("error: ")
        pair.moon.run("sh", "-c", ": > /run/flags")
        (first, last), _ = pair.moon.until_sas("site", 2, 2)
        terminate(pair, "--ike-id", str(last))
        assert pair.events(1) == ["site: its up had failed, nothing to take away"]
    figures.add("a failed up and its down beside a twin", hook)
    assert hook.lost == 0
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


def test_peer_silent_while_a_rekeyed_child_sa_is_deleted(pair, figures):
    """A rekeyed CHILD_SA whose DELETE times out brings `down`s that no `up` had; a second IKE_SA keeps the tunnel."""
    configure(pair, reuse_ikesa=False)
    pair.up("site")
    pair.up("site")
    (first, last), (child, _) = pair.moon.until_sas("site", 2, 2)
    with stream(pair, "site") as hook:
        with Drop(pair.sun, initiator_spi(pair, first)):
            pair.moon.run("swanctl", "--rekey", "--child-id", str(child))
            said = until_said(pair, lambda lines: "up" in verbs(lines))
            pair.moon.until_sas("site", 2, 2)
        said += until_quiet(pair)
    print(said)
    figures.add("DELETE of a rekeyed CHILD_SA times out, beside a twin", hook)
    assert hook.tail == 0
    terminate(pair, "--ike", "site")
    said += until_quiet(pair)
    assert said[-1].split(" ")[2] == "down,", said


def test_peer_silent(pair, figures):
    """The peer is silent until charon gives the SA up and starts anew: packets pass as soon as it is back, and nothing is left."""
    configure(pair)
    pair.up("site")
    with stream(pair, "site") as hook:
        with Drop(pair.sun):
            said = until_said(pair, lambda lines: "down" in verbs(lines))
        said += until_said(pair, lambda lines: "up" in verbs(lines))
    figures.add("peer silent, DPD restart", hook)
    print(said)
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


def until_quiet(pair: Pair, seconds: float = 2) -> list[str]:
    """The hook's lines until none has come for so long."""
    lines: list[str] = []
    while new := pair.more(seconds):
        lines += new
    return lines


def test_charon_stopped(pair):
    """charon stopped takes all tunnels down."""
    configure(pair)
    pair.up("gw")
    with stream(pair, "gw") as hook:
        pair.moon.run("ipsec", "stop")
        pair.moon.daemon.wait(30)
    assert hook.tail > 0
    pair.as_before()
    start(pair)


def test_charon_killed_and_started_again(pair, figures):
    """A killed charon leaves its tunnel; the next one's `up` takes it over as it is, and its `down` leaves nothing."""
    configure(pair)
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
        hook, policy = beside(pair, figures, "MOBIKE, address changed", "gw", lambda name: roam(pair, name))
        assert policy.tail == 0, "MOBIKE did not move the IKE_SAs"
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
    """A host-to-host tunnel that roams to IPv6 comes down with other selectors, family and verb, and still takes its link away."""
    pair.up("host")
    try:
        pair.moon.run("ip", "addr", "del", "192.168.0.1/24", "dev", "eth0")
        pair.moon.until("swanctl --list-sas --ike host | grep -q 'fec0::1\\[4500'")
        pair.no_events()
        assert verbs(pair.down("host")) == ["down"]
    finally:
        pair.moon.run("ip", "addr", "add", "192.168.0.1/24", "dev", "eth0")
        pair.moon.run("ip", "route", "add", "default", "via", "192.168.0.2")
