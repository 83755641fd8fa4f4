"""A full tunnel by one uplink beside a site-to-site tunnel by the other, as a user's rules say.

The router drops what comes in by the wrong uplink.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

import pytest

from support.capture import Capture
from support.host import Host, wire
from support.namespaces import HOOK
from support.site import Site, forwards, has
from support.slow import slow_but, slow_rows_but

SWANCTL = """
    {name} {{
        local_addrs = {local}
        remote_addrs = {remote}
        encap = {encap}
        mobike = {mobike}
        local {{
            id = {mine}
            auth = psk
        }}
        remote {{
            id = {its}
            auth = psk
        }}
        children {{
            {name} {{
                local_ts = {local_ts}
                remote_ts = {remote_ts}
                {rest}
            }}
        }}
    }}
"""
SECRETS = 'secrets {\n    ike-all {\n        secret = "for tests only"\n    }\n}\n'
KEYS = {"vti": "mark_in = {0}\nmark_out = {0}", "xfrm": "if_id_in = {0}\nif_id_out = {0}"}
NO_ROUTES = "charon {\n    install_routes = no\n}\n"
ROUTES = "charon {\n    install_routes = yes\n}\n"
MARKED = """
charon {
    install_routes = no
    plugins {
        kernel-netlink {
            fwmark = !0x77
        }
        socket-default {
            fwmark = 0x77
        }
    }
}
"""


class Addresses(NamedTuple):
    """Those of one family."""

    wan1: str
    wan2: str
    sun: str
    branch: str
    moved: str
    """Where sun goes."""
    internet: str
    """Behind sun."""
    stranger: str
    """Nobody has it."""
    office: str
    """Behind branch."""
    gate: str
    """moon's own in the LAN."""
    lan: str
    hop: str
    """The router's part of an address in each of its networks."""
    prefix: int
    """The length of the prefix of each network."""
    everything: str
    esp_in_udp: str
    """IKE's own packets have four zero bytes first; a keep-alive has one byte."""

    @property
    def family(self) -> int:
        return 6 if ":" in self.sun else 4

    def hop_of(self, address: str) -> str:
        """The router in the network of an address."""
        separator = "::" if self.family == 6 else "."
        return f"{address.rpartition(separator)[0]}{separator}{self.hop}"

    def wired(self, address: str) -> tuple[str, str]:
        """The addresses of a cable to the router."""
        return f"{address}/{self.prefix}", f"{self.hop_of(address)}/{self.prefix}"


IPV4 = Addresses(
    wan1="192.0.2.1",
    wan2="198.51.100.1",
    sun="203.0.113.1",
    branch="203.0.114.1",
    moved="203.0.113.2",
    internet="203.0.115.9",
    stranger="203.0.116.9",
    office="10.9.0.1",
    gate="10.1.0.1",
    lan="10.1.0.9",
    hop="254",
    prefix=24,
    everything="0.0.0.0/0",
    esp_in_udp="udp port 4500 and udp[8:4] != 0 and udp[4:2] > 12",
)
IPV6 = Addresses(
    wan1="2001:db8:1::1",
    wan2="2001:db8:2::1",
    sun="2001:db8:3::1",
    branch="2001:db8:4::1",
    moved="2001:db8:3::2",
    internet="2001:db8:9::9",
    stranger="2001:db8:a::9",
    office="fd00:9::1",
    gate="fd00:1::1",
    lan="fd00:1::9",
    hop="fe",
    prefix=64,
    everything="::/0",
    esp_in_udp="ip6 and udp port 4500 and ip6[48:4] != 0 and ip6[44:2] > 12",
)
BY_FAMILY = {4: IPV4, 6: IPV6}
BOTH = BY_FAMILY.values()
LANS = "10.1.0.0/24, fd00:1::/64"
OFFICES = "10.9.0.0/24, fd00:9::/64"
ALL = "0.0.0.0/0, ::/0"
OWN_LINK_ONLY = "ip6 multicast or (icmp6 and ip6[40] >= 133 and ip6[40] <= 137)"
CLEAR = f"not esp and not udp port 500 and not udp port 4500 and not arp and not ({OWN_LINK_ONLY})"
PORTS = range(1, 1 << 16)
SOME_PORTS = (1, 22, 53, 500, 1023, 1024, 4500, 5000, 32768, 60999, 65535)
SENDS = """
import socket, struct, sys
addresses, ports = sys.argv[1].split(), eval(sys.argv[2])
for address in addresses:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
    if family == socket.AF_INET6:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 6)
    for port in ports:
        raw.sendto(struct.pack("!HHHH8s", port, 9, 16, 0, b"in clear"), (address, 0))
"""
"""Packets of UDP from each of these ports. A socket of UDP would have to be made for each."""
SENDS_FROM_4500 = """
import socket, sys
source, address = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as sender:
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sender.bind((source, 4500))
    for _ in range(5):
        try:
            sender.sendto(b"in clear, from a program", (address, 9))
        except OSError:
            pass
"""
ESP_RULE = "pref 15000 iif lo ipproto esp goto 15004 proto 50"

pytestmark = pytest.mark.usefixtures("as_before")


def connection(name: str, local: str, remote: str, **words: str) -> str:
    """One connection of swanctl.conf."""
    values = {"mine": "moon", "encap": "no", "mobike": "no", "rest": "", **words}
    return SWANCTL.format(name=name, local=local, remote=remote, **values)


def swanctl(*connections: str) -> str:
    return "connections {" + "".join(connections) + "}\n" + SECRETS


class TwoUplinks(Site):
    """moon has two uplinks to a router, and a LAN; sun has the internet, branch has the office."""

    HOSTS = ("moon", "router", "sun", "branch", "lan")
    CHARON: ClassVar = NO_ROUTES
    FLAGS: ClassVar = ""
    """Those of a full tunnel."""
    CHILD: ClassVar = ""
    """What else its CHILD_SA has."""
    ENCAP: ClassVar = "no"
    """Whether its ESP is in UDP. sun has one answer to whatever comes from that address."""

    def set_up(self) -> None:
        moon, router = self.moon, self.router
        moon.run("sysctl", "-qw", "net.ipv6.conf.all.keep_addr_on_down=1")
        self._wire(moon, "wan1", "wan1")
        self._wire(moon, "wan2", "wan2")
        self._wire(self.sun, "eth0", "sun")
        self._wire(self.branch, "eth1", "branch")
        lans = [(f"{each.gate}/{each.prefix}", f"{each.lan}/{each.prefix}") for each in BOTH]
        wire(moon, self.lan, "lan0", lans)
        forwards(moon, router)
        self._no_forged_sources()
        for each in BOTH:
            moon.run("ip", f"-{each.family}", "rule", "add", "from", each.wan2, "lookup", "202")
            nowhere = "unreachable default metric 9999 table 202"
            moon.run("ip", f"-{each.family}", "route", "add", *nowhere.split())
            for host, address in (
                (self.sun, each.sun),
                (self.branch, each.branch),
            ):
                host.run("ip", "route", "add", "default", "via", each.hop_of(address))
            self.lan.run("ip", "route", "add", "default", "via", each.gate)
            has(self.sun, f"{each.internet}/{128 if each.family == 6 else 32}")
            has(self.branch, f"{each.office}/{each.prefix}")
        self.sun.run("sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=1")
        self.uplinks()
        self.charons()

    def _wire(self, host: Host, link: str, field: str) -> None:
        """A cable from a host to the router."""
        addresses = [each.wired(getattr(each, field)) for each in BOTH]
        wire(host, self.router, link, addresses)

    def _no_forged_sources(self) -> None:
        """The router takes from each uplink what is of its own network."""
        self.router.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
        rules = "add table ip6 uplinks; add chain ip6 uplinks in { type filter hook prerouting priority 0; };"
        for link, own in (("wan1", IPV6.wan1), ("wan2", IPV6.wan2)):
            fit = f"{{ {own}, fe80::/10, ::/128 }}"
            rules += f"add rule ip6 uplinks in iifname {link} ip6 saddr != {fit} drop;"
        self.router.run("nft", rules)

    def uplinks(self) -> None:
        """Where moon's packets go without a tunnel."""
        for each in BOTH:
            for address, table in ((each.wan1, "main"), (each.wan2, "202")):
                way = f"default via {each.hop_of(address)} table {table}"
                self.moon.run("ip", "route", "replace", *way.split())

    def charons(self) -> None:
        moons = [self._full(kind, each) for kind in KEYS for each in BOTH]
        moons += [self._office(kind, each) for kind in KEYS for each in BOTH]
        moons += [self._stranger(each) for each in BOTH]
        self.moon.charon(swanctl=swanctl(*moons), charon=self.CHARON)
        suns = [
            connection("full", "%any", "%any", mine="sun", its="moon", local_ts=ALL, remote_ts=LANS)
        ]
        suns += [self._moving(kind, each) for kind in KEYS for each in BOTH]
        self.sun.charon(swanctl=swanctl(*suns), charon=NO_ROUTES)
        branchs = connection(
            "office",
            "%any",
            "%any",
            mine="branch",
            its="moon",
            local_ts=OFFICES,
            remote_ts=LANS,
        )
        self.branch.charon(swanctl=swanctl(branchs), charon=NO_ROUTES)

    def up(self, child: str, count: int = 0) -> list[str]:
        return super().up(child, count or self.lines_of_up(child))

    def lines_of_up(self, child: str) -> int:
        """A full tunnel by a VTI says what gives IKE its right source, if charon has no mark."""
        kind, rest = child.split("-", 1)
        is_told = kind != "office" and rest.startswith("vti") and self.CHARON != MARKED
        return 3 if is_told else 1

    def _full(self, kind: str, each: Addresses) -> str:
        """moon's full tunnels: one that blocks while it is down, and one whose peer moves."""
        words = {
            "encap": self.ENCAP,
            "local_ts": f"{each.gate}/{each.prefix}",
            "remote_ts": each.everything,
        }
        keys = KEYS[kind].format(42) + f"\n{self.CHILD}\n"
        hook = f"{HOOK} {self.FLAGS} --route {each.everything}"
        rest = f'{keys}updown = "{hook}"'
        ends = (each.wan2, each.sun)
        blocks = f'{keys}updown = "{hook} --when-down block"'
        name = f"{kind}-{each.family}"
        moving = {**words, "its": f"moving-{name}", "mobike": "yes"}
        return (
            connection(f"full-{name}", *ends, its="sun", rest=rest, **words)
            + connection(f"block-{name}", *ends, its="sun", rest=blocks, **words)
            + connection(f"moving-{name}", *ends, rest=rest, **moving)
        )

    def _moving(self, kind: str, each: Addresses) -> str:
        """sun's end of the one that moves, which it initiates."""
        name = f"moving-{kind}-{each.family}"
        return connection(
            name,
            "%any",
            each.wan2,
            mine=name,
            its="moon",
            mobike="yes",
            encap=self.ENCAP,
            local_ts=each.everything,
            remote_ts=f"{each.gate}/{each.prefix}",
        )

    def _office(self, kind: str, each: Addresses) -> str:
        return connection(
            f"office-{kind}-{each.family}",
            each.wan1,
            each.branch,
            its="branch",
            encap="yes",
            local_ts=f"{each.gate}/{each.prefix}",
            remote_ts=f"{each.office}/{each.prefix}",
            rest=KEYS[kind].format(7) + f'\nupdown = "{HOOK}"',
        )

    def _stranger(self, each: Addresses) -> str:
        """A peer of moon's that no rule knows, and that never answers."""
        return connection(
            f"stranger-{each.family}",
            "%any",
            each.stranger,
            its="stranger",
            local_ts=each.gate,
            remote_ts=each.stranger,
        )

    def source_of_ike(self, each: Addresses) -> str:
        """The source of the first packet of a new IKE_SA to that peer."""
        name = f"stranger-{each.family}"
        with Capture(self.moon, "wan1", f"udp dst port 500 and dst host {each.stranger}") as sent:
            self.moon.run("swanctl", "--initiate", "--child", name, "--timeout", "1", check=False)
            self.moon.until(f"grep -q 'sending packet: .* to {each.stranger}' /run/charon.log")
            self.moon.run("swanctl", "--terminate", "--ike", name, "--force")
        first, *_ = sent.lines
        return first.partition(" > ")[0].split()[-1].rpartition(".")[0]

    def office_passes(self, each: Addresses) -> None:
        """By WAN 1, in UDP, from moon and from its LAN."""
        self._passes(each, each.office, "wan1", each.esp_in_udp)

    def internet_passes(self, each: Addresses) -> None:
        """By WAN 2, in ESP or in UDP."""
        outer = each.esp_in_udp if self.ENCAP == "yes" else "esp"
        self._passes(each, each.internet, "wan2", outer)

    def _passes(
        self,
        each: Addresses,
        address: str,
        uplink: str,
        outer: str,
    ) -> None:
        with Capture(self.moon, uplink, outer) as carried:
            assert self.moon.ping(address, source=each.gate) == 3
            assert self.lan.ping(address) == 3
        assert carried.count == 12

    @contextmanager
    def nothing_in_clear(self, each: Addresses) -> Iterator[None]:
        """Meanwhile, on either uplink."""
        clear = f"host {each.lan} or ({CLEAR})"
        captured = Capture(self.router, "wan1", clear), Capture(self.router, "wan2", clear)
        with captured[0] as first, captured[1] as second:
            yield
        assert (first.lines, second.lines) == ([], [])

    def nothing_is_clear(self, each: Addresses, ports: Sequence[int] = SOME_PORTS) -> None:
        """What the LAN sends to the internet and to a peer, from each of these ports."""
        addresses = (each.internet, each.sun)
        received, _ = self.moon.counters("lan0")
        with self.nothing_in_clear(each):
            self.lan.run("python3", "-c", SENDS, " ".join(addresses), repr(ports), timeout=600)
        sent = self.moon.counters("lan0")[0] - received
        assert sent >= len(addresses) * len(ports)

    def a_program_gets_out(self, each: Addresses) -> bool:
        """Whether packets of a program on moon, from port 4500, are in clear on an uplink."""
        clear = f"udp and host {each.internet}"
        captured = Capture(self.moon, "wan1", clear), Capture(self.moon, "wan2", clear)
        with captured[0] as first, captured[1] as second:
            self.moon.run("python3", "-c", SENDS_FROM_4500, each.gate, each.internet)
        return bool(first.lines + second.lines)

    def sun_moves(self, old: Addresses, from_: str, to: str) -> None:
        """sun has another address from now on, and says so by MOBIKE."""
        for doing, address in (("add", to), ("del", from_)):
            no_delay = ["nodad"] if doing == "add" and old.family == 6 else []
            own = f"{address}/{old.prefix}"
            self.sun.run("ip", "addr", doing, own, "dev", "eth0", *no_delay)
        self.sun.run("ip", "route", "replace", "default", "via", old.hop_of(to))
        self.moon.until(f'swanctl --list-sas | grep -q "@ {to}"')


class RoutesOfCharons(TwoUplinks):
    """moon's charon makes routes, so that it looks for peers in all tables, whatever the rules."""

    CHARON = ROUTES


class MarkedIke(TwoUplinks):
    """moon's charon marks its own packets, and the full tunnel's ESP, which is in UDP."""

    CHARON = MARKED
    ENCAP = "yes"
    FLAGS = "--ike-mark 0x77"
    CHILD = "set_mark_out = 0x77"


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[TwoUplinks]:
    """A site of the class that a test is for."""
    with request.param() as made:
        yield made


QUICK = [(TwoUplinks, 4, "vti", "xfrm", "office"), (TwoUplinks, 4, "vti", "xfrm", "full")]
BESIDE = [
    *QUICK,
    (TwoUplinks, 4, "xfrm", "vti", "office"),
    (TwoUplinks, 4, "xfrm", "vti", "full"),
    (TwoUplinks, 6, "vti", "xfrm", "office"),
    (TwoUplinks, 6, "vti", "xfrm", "full"),
    (TwoUplinks, 6, "xfrm", "vti", "full"),
    (RoutesOfCharons, 4, "xfrm", "xfrm", "office"),
    (RoutesOfCharons, 6, "xfrm", "xfrm", "full"),
    (MarkedIke, 4, "xfrm", "vti", "full"),
]


@pytest.mark.parametrize(
    ("site", "family", "full", "office", "first"), slow_rows_but(QUICK, BESIDE), indirect=["site"]
)
def test_a_full_tunnel_beside_a_site_tunnel(
    site: TwoUplinks,
    family: int,
    full: str,
    office: str,
    first: str,
) -> None:
    """In either order of coming and going, each by its own uplink."""
    each = BY_FAMILY[family]
    names = [f"full-{full}-{family}", f"office-{office}-{family}"]
    if first == "office":
        names.reverse()
    for name in names:
        site.up(name)
    site.office_passes(each)
    site.internet_passes(each)
    site.nothing_is_clear(each)
    site.down(names[0])
    if first == "full":
        site.office_passes(each)
    else:
        site.internet_passes(each)
    site.down(names[1])


@pytest.mark.parametrize("site", [TwoUplinks], indirect=True)
@pytest.mark.parametrize("family", slow_but([4], BY_FAMILY))
def test_outer_packets_keep_their_way_on_an_old_kernel(site: TwoUplinks, family: int) -> None:
    """Before Linux 6.1.115 no rule for ESP matches: each peer's own route does it."""
    each = BY_FAMILY[family]
    full, office = f"full-vti-{family}", f"office-xfrm-{family}"
    rule = ["ip", f"-{family}", "rule"]
    site.up(office)
    site.up(full)
    site.moon.run(*rule, "del", *ESP_RULE.split())
    site.office_passes(each)
    site.internet_passes(each)
    site.nothing_is_clear(each)
    site.moon.run(*rule, "add", *ESP_RULE.split())
    site.down(office)
    site.internet_passes(each)
    site.down(full)


COMING_AND_GOING = [(4, "vti", "xfrm"), (4, "xfrm", "vti"), (6, "vti", "xfrm")]


@pytest.mark.parametrize("site", [TwoUplinks], indirect=True)
@pytest.mark.parametrize(
    ("family", "full", "office"), slow_rows_but(COMING_AND_GOING[:1], COMING_AND_GOING)
)
def test_outer_packets_keep_their_way_while_an_uplink_comes_and_goes(
    site: TwoUplinks,
    family: int,
    full: str,
    office: str,
) -> None:
    """The user's table says that nothing goes by the other one meanwhile, and nothing does.

    All of it comes back, and rekeys change nothing.
    """
    each = BY_FAMILY[family]
    full_name, office_name = f"full-{full}-{family}", f"office-{office}-{family}"
    site.up(office_name)
    site.up(full_name)
    with Capture(site.moon, "wan1", f"host {each.sun}") as astray:
        site.moon.run("ip", "link", "set", "wan2", "down")
        assert site.moon.ping(each.internet, source=each.gate) == 0
        site.office_passes(each)
        site.moon.run("ip", "link", "set", "wan2", "up")
        site.moon.until("! ip -6 addr show tentative | grep -q .")
        site.uplinks()
        site.moon.until(f"ping -n -q -c 1 -W 1 -I {each.gate} {each.internet} >/dev/null")
    assert astray.lines == []
    for name in (full_name, office_name):
        site.moon.rekey(name, "child")
        site.moon.rekey(name, "ike")
    site.calls.forget()
    site.office_passes(each)
    site.internet_passes(each)
    site.down(full_name)
    site.office_passes(each)
    site.down(office_name)


@pytest.mark.slow
@pytest.mark.parametrize("family", BY_FAMILY)
@pytest.mark.parametrize("site", [TwoUplinks, MarkedIke], indirect=True)
def test_a_new_ike_sa_has_the_source_of_its_uplink(site: TwoUplinks, family: int) -> None:
    """With charon's mark. Without it the `up` says what to set, and it has an inner address."""
    each = BY_FAMILY[family]
    name = f"full-vti-{family}"
    said = site.up(name)
    is_told = any("a new IKE_SA to another peer comes from" in line for line in said)
    source = site.source_of_ike(each)
    assert (source, is_told) == ((each.wan1, False) if site.CHARON == MARKED else (each.gate, True))
    site.down(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("site", "family", "kind"),
    [(TwoUplinks, 4, "vti"), (TwoUplinks, 6, "xfrm"), (MarkedIke, 4, "xfrm")],
    indirect=["site"],
)
def test_from_no_port_a_packet_gets_around_a_full_tunnel(
    site: TwoUplinks,
    family: int,
    kind: str,
) -> None:
    """Whatever port a LAN host sends from, with and without a kill switch, and while that blocks.

    A program on the host itself can send from charon's port. With charon's mark that is of no use.
    """
    each = BY_FAMILY[family]
    name = f"{kind}-{family}"
    is_marked = isinstance(site, MarkedIke)
    site.up(f"full-{name}")
    site.nothing_is_clear(each, PORTS)
    site.down(f"full-{name}")
    site.up(f"block-{name}")
    site.nothing_is_clear(each, PORTS)
    assert site.a_program_gets_out(each) is not is_marked
    site.down(f"block-{name}")
    site.nothing_is_clear(each, PORTS)
    assert site.a_program_gets_out(each) is not is_marked
    site.moon.run(HOOK, "release", f"block-{name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("site", "family", "kind"),
    [
        (TwoUplinks, 4, "xfrm"),
        (TwoUplinks, 6, "xfrm"),
        (TwoUplinks, 4, "vti"),
        (MarkedIke, 4, "xfrm"),
    ],
    indirect=["site"],
)
def test_outer_packets_keep_their_way_when_the_peer_moves(
    site: TwoUplinks,
    family: int,
    kind: str,
) -> None:
    """In ESP, or in UDP with charon's mark. A VTI carries nothing then, and lets nothing out."""
    each = BY_FAMILY[family]
    name = f"moving-{kind}-{family}"
    site.sun.run("swanctl", "--initiate", "--child", name)
    site.events(site.lines_of_up(name))
    site.internet_passes(each)
    with site.nothing_in_clear(each):
        site.sun_moves(each, each.sun, each.moved)
    if kind == "vti":
        assert site.lan.ping(each.internet) == 0
    else:
        site.internet_passes(each)
    site.nothing_is_clear(each)
    site.sun_moves(each, each.moved, each.sun)
    site.internet_passes(each)
    site.down(name)
