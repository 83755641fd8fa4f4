"""strongSwan's own route-based scenarios (testing/tests/route-based), with the hook in the place of
links made by hand.

The hosts have the names and roles that they have there: alice and venus are behind the gateway
moon, bob is behind the gateway sun, carol and dave are road warriors without a hook. What is not
routed into a tunnel passes between the gateways in clear. docs/scenarios.md says what else differs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.capture import Capture
from support.host import Host, changes, wire
from support.namespaces import HOOK
from support.site import PINGS, Calls, Site, default_route, forwards, has, nothing_left

Section = dict[str, "str | Section"]

MOON, SUN = "192.168.0.1", "192.168.0.2"
BEHIND_MOON, BEHIND_SUN = "10.1.0.0/16", "10.2.0.0/16"
ALICE, VENUS, BOB = "10.1.0.10", "10.1.0.20", "10.2.0.10"
ALICE_IPV6 = "fec1::10"
INNER = "net 10.0.0.0/8 or net fec0::/10 or ip proto 47"
"""What may not be seen between gateways: the inner networks, and GRE."""
SECRETS: Section = {"ike-all": {"secret": '"for tests only"'}}
NO_ROUTES = "charon {\n    install_routes = no\n}\n"
"""As the scenarios with a VTI have it."""
DEFAULTS = "charon {\n}\n"
"""As those with XFRM interfaces have it."""


def written(section: Section) -> str:
    """A section of swanctl.conf as text."""
    lines = ""
    for key, value in section.items():
        lines += (
            f"{key} {{\n{written(value)}}}\n" if isinstance(value, dict) else f"{key} = {value}\n"
        )
    return lines


def connection(name: str, me: str, peer: str, children: Section, **more: "str | Section") -> str:
    """A swanctl.conf of one connection; `me` and `peer` are identities."""
    remote: Section = {"auth": "psk", **({"id": peer} if peer else {})}
    one: Section = {
        "version": "2",
        "local": {"auth": "psk", "id": me},
        "remote": remote,
        "children": children,
    }
    pools = more.pop("pools", {})
    if isinstance(pools, dict) and pools:
        one["pools"] = ", ".join(pools)
    return written({"connections": {name: {**one, **more}}, "pools": pools, "secrets": SECRETS})


def gateways(
    moon: Section, sun: Section, moons: Section | None = None, suns: Section | None = None
) -> tuple[str, str]:
    """The connection gw-gw of moon and sun: with these children, and what else is in it."""
    return (
        connection(
            "gw-gw", "moon", "sun", moon, local_addrs=MOON, remote_addrs=SUN, **(moons or {})
        ),
        connection("gw-gw", "sun", "moon", sun, local_addrs=SUN, remote_addrs=MOON, **(suns or {})),
    )


def hook(*flags: str) -> str:
    return f'"{" ".join((HOOK, *flags))}"'


pytestmark = pytest.mark.usefixtures("as_before")


class Scenarios(Site):
    """All hosts, wired. The road warriors reach moon's outer address over cables of their own."""

    HOSTS = ("moon", "sun", "alice", "venus", "bob", "carol", "dave")

    def set_up(self) -> None:
        moon, sun = self.moon, self.sun
        self.calls_of = {moon: self.calls, sun: Calls(sun)}
        self.loaded: tuple[Host, ...] = ()
        """The gateways that have the hook in the scenario that is loaded."""
        self._charon: dict[Host, str] = {}
        inner = [("10.1.0.1/16", f"{ALICE}/16"), ("fec1::1/16", f"{ALICE_IPV6}/16")]
        wire(moon, sun, addresses=[(f"{MOON}/24", f"{SUN}/24")])
        wire(moon, self.alice, "alice0", inner)
        wire(moon, self.venus, "venus0")
        wire(sun, self.bob, "bob0", [("10.2.0.1/16", f"{BOB}/16")])
        moon.run("ip", "route", "add", VENUS, "dev", "venus0")
        has(self.venus, f"{VENUS}/32", link="venus0")
        self.venus.run("ip", "route", "add", "10.1.0.1", "dev", "venus0")
        for number, peer in enumerate((self.carol, self.dave), 1):
            outer = (f"192.168.{number}.100/24", f"192.168.{number}.1/24")
            wire(peer, moon, f"{peer.name}0", [outer])
            default_route(peer, f"192.168.{number}.1")
        default_route(self.alice, "10.1.0.1", "fec1::1")
        default_route(self.venus, "10.1.0.1")
        default_route(self.bob, "10.2.0.1")
        default_route(moon, SUN)
        default_route(sun, MOON)
        forwards(moon, sun)
        # Without this, no capture could show that a packet does not go through a tunnel.
        assert self.alice.ping(BOB) == PINGS

    def load(self, host: Host, swanctl: str, charon: str = DEFAULTS) -> None:
        """Has strongSwan of this host run with these files, and with no other connections."""
        if self._charon.get(host) == charon:
            for text in (
                "\n",
                swanctl,
            ):  # a connection of the same name would not be replaced by one with other virtual IPs
                host.file("/etc/swanctl/swanctl.conf", text, 0o600)
                host.run("swanctl", "--load-all")
            return
        if host in self._charon:
            host.stop_charon()
        host.charon(swanctl=swanctl, charon=charon)
        self._charon[host] = charon
        if host in self.calls_of:
            self.calls_of[host].forget()

    def load_gateways(self, both: tuple[str, str], charon: str = DEFAULTS) -> None:
        self.loaded = (self.moon, self.sun)
        for host, swanctl in zip(self.loaded, both, strict=True):
            self.load(host, swanctl, charon)

    def load_road_warriors(
        self, children: Section, pool: str, vips: str, behind: str, charon: str = DEFAULTS
    ) -> None:
        """moon with these children and carol and dave, who ask for a virtual IP of the pool."""
        self.loaded = (self.moon,)
        self.load(
            self.moon,
            connection(
                "rw", "moon", "", children, local_addrs=MOON, pools={"rw_pool": {"addrs": pool}}
            ),
            charon,
        )
        home: Section = {"home": {"remote_ts": behind}}
        for peer in (self.carol, self.dave):
            self.load(
                peer, connection("home", peer.name, "moon", home, remote_addrs=MOON, vips=vips)
            )

    def start(self, host: Host, child: str) -> dict[Host, str]:
        """Initiates a CHILD_SA; what the hooks say to it."""
        host.run("swanctl", "--initiate", "--child", child)
        return {gateway: self.calls_of[gateway].events(1)[0] for gateway in self.loaded}

    def end(self, host: Host, ike: str, events: int = 1) -> list[dict[Host, str]]:
        """Ends an IKE_SA; what the hooks say to it, each the same number of lines."""
        host.run("swanctl", "--terminate", "--ike", ike)
        said = {gateway: self.calls_of[gateway].events(events) for gateway in self.loaded}
        return [
            {gateway: lines[number] for gateway, lines in said.items()} for number in range(events)
        ]

    def sa(self, host: Host, *words: str) -> None:
        """strongSwan of this host has an IKE_SA, and says these words of it."""
        text = host.run("swanctl", "--list-sas", "--raw")
        assert [
            word for word in ("state=ESTABLISHED", "state=INSTALLED", *words) if word not in text
        ] == [], text

    @contextmanager
    def leaves_nothing(self) -> Iterator[None]:
        """Both gateways have to be as they were, and a hook that ran has nothing on record."""
        before = {host: host.network_state() for host in self.calls_of}
        yield
        self.nothing_is_up()
        for host in self.loaded:
            nothing_left(host, before[host])

    def nothing_is_up(self) -> None:
        """No SA and no policy is left, so that all of the state can be compared."""
        for host in (self.moon, self.sun):
            host.until("! ip xfrm state | grep -q .")

    def through(
        self,
        *ways: tuple[Host, str],
        link: str = "eth0",
        outer: tuple[str, str] = (MOON, SUN),
        netns: str = "",
    ) -> None:
        """Pings from each host to an address are answered, and seen as ESP in both directions and
        in no other way.
        """
        with Capture(self.moon, link, f"esp or {INNER}") as seen:
            for host, address in ways:
                assert host.ping(address, netns=netns) == PINGS, (
                    host.name,
                    address,
                    self.moon.log()[-4000:],
                )
        one, other = outer
        for a, b in ((one, other), (other, one)):
            assert sum(f"{a} > {b}: ESP(" in line for line in seen.lines) == PINGS * len(ways), (
                seen.lines
            )
        assert seen.count == 2 * PINGS * len(ways), seen.lines


site = Scenarios.fixture()


@pytest.mark.slow
def test_net2net_vti(site: Scenarios) -> None:
    """A VTI at each end, of another mark, everything as traffic selectors, and a route to the
    other's network.
    """
    every: Section = {"local_ts": "0.0.0.0/0", "remote_ts": "0.0.0.0/0"}
    moon: Section = {
        **every,
        "mark_in": "42",
        "mark_out": "42",
        "updown": hook("--name vti-moon", f"--route {BEHIND_SUN}"),
    }
    sun: Section = {
        **every,
        "mark_in": "1337",
        "mark_out": "1337",
        "updown": hook("--name vti-sun", f"--route {BEHIND_MOON}"),
    }
    site.load_gateways(gateways({"net-net": moon}, {"net-net": sun}), NO_ROUTES)
    assert site.start(site.moon, "net-net") == {
        site.moon: f"net-net: vti-moon up, {MOON} → {SUN}, mark 42, {BEHIND_SUN}",
        site.sun: f"net-net: vti-sun up, {SUN} → {MOON}, mark 1337, {BEHIND_MOON}",
    }
    for host in site.loaded:
        site.sa(host, "mode=TUNNEL", "local-ts=[0.0.0.0/0] remote-ts=[0.0.0.0/0]")
    site.through((site.alice, BOB))
    assert [
        host.counters(link) for host, link in ((site.moon, "vti-moon"), (site.sun, "vti-sun"))
    ] == [(PINGS, PINGS)] * 2
    site.end(site.moon, "gw-gw")


def shared(site: Scenarios, link: str, virtual_ips: tuple[str, str], alice: str) -> None:
    """carol and dave come, both have packets through the one link, and go again."""
    moon, pairs = site.moon, list(zip((site.carol, site.dave), virtual_ips, strict=True))
    for number, (peer, ip) in enumerate(pairs):
        assert link in (line := site.start(peer, "home")[moon]) and line.endswith(f", {ip}"), line
        site.sa(peer, "mode=TUNNEL", f"local-ts=[{ip}]")
        site.sa(moon, f"remote-ts=[{ip}]", f"remote-id={peer.name}")
        assert len(moon.sas("rw")[1]) == number + 1
    for number, (peer, ip) in enumerate(pairs, 1):
        site.through(
            (peer, alice),
            (site.alice, ip.partition("/")[0]),
            link=f"{peer.name}0",
            outer=(MOON, f"192.168.{number}.100"),
        )
    assert moon.counters(link) == (4 * PINGS, 4 * PINGS)
    (first,) = site.end(site.carol, "home")
    assert first[moon] == f"net: {link} stays, held by 1 more, without {virtual_ips[0]}"
    assert site.dave.ping(alice) == PINGS
    (last,) = site.end(site.dave, "home")
    assert last[moon].startswith(f"net: {link} down, ")


@pytest.mark.slow
def test_rw_shared_vti(site: Scenarios) -> None:
    """One VTI for both road warriors, which has no remote endpoint, and a route for each virtual
    IP.
    """
    child: Section = {
        "local_ts": BEHIND_MOON, "mark_in": "42", "mark_out": "42", "updown": hook("--name vti-rw", "--remote any"),
    }  # fmt: skip
    site.load_road_warriors({"net": child}, "10.3.0.0/28", "0.0.0.0", BEHIND_MOON, NO_ROUTES)
    shared(site, "vti-rw", ("10.3.0.1/32", "10.3.0.2/32"), ALICE)


@pytest.mark.slow
def test_rw_shared_vti_ip6_in_ip4(site: Scenarios) -> None:
    """The same with IPv6 virtual IPs in IPv4's ESP: a VTI carries both families."""
    child: Section = {
        "local_ts": "fec1::/16", "mark_in": "42", "mark_out": "42", "updown": hook("--name vti-rw", "--remote any"),
    }  # fmt: skip
    site.load_road_warriors({"net": child}, "fec3::/120", "::", "fec1::/16", NO_ROUTES)
    shared(site, "vti-rw", ("fec3::1/128", "fec3::2/128"), ALICE_IPV6)


@pytest.mark.slow
def test_rw_shared_xfrmi(site: Scenarios) -> None:
    """One XFRM interface for both road warriors, by its if_id."""
    child: Section = {
        "local_ts": BEHIND_MOON,
        "if_id_in": "42",
        "if_id_out": "42",
        "updown": hook("--name xfrm-moon"),
    }
    site.load_road_warriors({"net": child}, "10.3.0.0/28", "0.0.0.0", BEHIND_MOON)
    shared(site, "xfrm-moon", ("10.3.0.1/32", "10.3.0.2/32"), ALICE)


def links_of(line: str) -> list[str]:
    """The names of the links that an up tells of: that which packets leave by, then that which they
    come in by.
    """
    return line.split(": ")[1].partition(" up, ")[0].split(", ")


@pytest.mark.slow
def test_net2net_xfrmi(site: Scenarios) -> None:
    """A link each way at both ends, of if_ids that are given at moon and unique ones at sun."""
    every: Section = {"local_ts": "0.0.0.0/0", "remote_ts": "0.0.0.0/0"}
    name = "--name xfrm-{if_id}"
    moon: Section = {
        **every,
        "if_id_in": "42",
        "if_id_out": "1337",
        "updown": hook(name, f"--route {BEHIND_SUN}"),
    }
    unique: Section = {"if_id_in": "%unique-dir", "if_id_out": "%unique-dir"}
    sun: Section = {**every, **unique, "updown": hook(name, f"--route {BEHIND_MOON}")}
    site.load_gateways(gateways({"net-net": moon}, {"net-net": sun}))
    said = site.start(site.moon, "net-net")
    assert (
        said[site.moon]
        == f"net-net: xfrm-1337, xfrm-42 up, {MOON} → {SUN}, if_id 1337, {BEHIND_SUN}"
    )
    assert len(set(links_of(said[site.sun]))) == 2 and said[site.sun].endswith(f", {BEHIND_MOON}")
    for host in site.loaded:
        site.sa(host, "mode=TUNNEL", "local-ts=[0.0.0.0/0] remote-ts=[0.0.0.0/0]")
    site.through((site.alice, BOB))
    for host in site.loaded:
        leave, come = links_of(said[host])
        assert (host.counters(leave), host.counters(come)) == ((0, PINGS), (PINGS, 0))
    site.end(site.moon, "gw-gw")


@pytest.mark.slow
def test_net2net_xfrmi_ike(site: Scenarios) -> None:
    """if_ids of the connection, which two CHILD_SAs share: moon's links are made by hand and
    borrowed, sun's are the hook's.
    """
    moon, sun = site.moon, site.sun
    for name, if_id in (("xfrm-moon-out", "1337"), ("xfrm-moon-in", "42")):
        moon.run("ip", "link", "add", name, "type", "xfrm", "dev", "eth0", "if_id", if_id)
        moon.run("ip", "link", "set", name, "up")
    by_hand = moon.network_state()
    children: Section = {
        f"{name}-net": {"local_ts": f"{address}/32", "remote_ts": "0.0.0.0/0", "updown": hook()}
        for name, address in (("alice", ALICE), ("venus", VENUS))
    }
    net: Section = {"local_ts": BEHIND_SUN, "remote_ts": BEHIND_MOON, "updown": hook()}
    unique: Section = {"if_id_in": "%unique-dir", "if_id_out": "%unique-dir"}
    site.load_gateways(
        gateways(children, {"net-net": net}, {"if_id_in": "42", "if_id_out": "1337"}, unique)
    )
    suns: list[str] = []
    for name, address in (("alice-net", ALICE), ("venus-net", VENUS)):
        said = site.start(moon, name)
        assert (
            said[moon]
            == f"{name}: xfrm-moon-out, xfrm-moon-in up, {MOON} → {SUN}, if_id 1337, {BEHIND_SUN}"
        )
        assert said[sun].endswith(f", {address}/32")
        suns = suns or links_of(said[sun])
        assert links_of(said[sun]) == suns and len(set(suns)) == 2
        site.sa(moon, f"local-ts=[{address}/32] remote-ts=[{BEHIND_SUN}]")
        site.sa(sun, f"local-ts=[{BEHIND_SUN}] remote-ts=[{address}/32]")
    site.through((site.alice, BOB), (site.venus, BOB))
    for host, (leave, come) in ((moon, ("xfrm-moon-out", "xfrm-moon-in")), (sun, suns)):
        assert (host.counters(leave), host.counters(come)) == ((0, 2 * PINGS), (2 * PINGS, 0))
    first, last = site.end(moon, "gw-gw", events=2)
    assert " stays, held by 1 more" in first[sun] and f"net-net: {suns[0]} down, " in last[sun]
    site.nothing_is_up()
    assert changes(by_hand, moon.network_state()) == []
    for name in ("xfrm-moon-out", "xfrm-moon-in"):
        moon.run("ip", "link", "del", name)


@pytest.mark.slow
def test_net2net_xfrmi_netns(site: Scenarios) -> None:
    """moon's link is in a namespace, which reaches bob while alice does not; after that it is here,
    and alice reaches him.
    """
    moon, netns = site.moon, "xfrmi-test"
    every: Section = {"local_ts": "0.0.0.0/0", "remote_ts": "0.0.0.0/0"}
    unique: Section = {
        **every,
        "if_id_in": "%unique",
        "if_id_out": "%unique",
        "updown": hook(f"--route {BEHIND_MOON}"),
    }
    there = f"--netns {netns} --address 10.1.0.42/32 --route {BEHIND_SUN},src=10.1.0.42"
    moon.run("sh", "-c", f"ip netns add {netns}; ip -n {netns} link set lo up")
    made = moon.network_state(netns)
    for flags, said in (
        (there, f"10.1.0.42/32, {BEHIND_SUN}"),
        (f"--route {BEHIND_SUN}", BEHIND_SUN),
    ):
        child: Section = {
            **every,
            "if_id_in": "42",
            "if_id_out": "42",
            "updown": hook("--name xfrm-moon", flags),
        }
        site.load_gateways(gateways({"net-net": child}, {"net-net": unique}))
        assert (
            site.start(moon, "net-net")[moon]
            == f"net-net: xfrm-moon up, {MOON} → {SUN}, if_id 42, {said}"
        )
        if flags == there:
            site.through((moon, BOB), netns=netns)
            assert moon.run("ip", "netns", "exec", netns, "ip", "xfrm", "state") == ""
            assert site.alice.ping(BOB, count=1) == 0
        else:
            site.through((site.alice, BOB))
        site.end(moon, "gw-gw")
        assert changes(made, moon.network_state(netns)) == []
        site.nothing_is_up()
    moon.run("ip", "netns", "del", netns)


@pytest.mark.slow
def test_net2net_gre_is_no_tunnel_of_the_hooks(site: Scenarios) -> None:
    """A CHILD_SA for GRE alone, in transport mode: the hook says in one line that it is not for it,
    and changes nothing.
    """
    ends = ((site.moon, MOON, SUN, BEHIND_SUN), (site.sun, SUN, MOON, BEHIND_MOON))
    for host, me, peer, behind in ends:
        name = f"gre-{host.name}"
        host.run("sh", "-c", f"ip tunnel add {name} local {me} remote {peer} mode gre key 42; ip link set {name} up;"
                             f"ip route add {behind} dev {name}")  # fmt: skip
    gre: Section = {
        "local_ts": "dynamic[gre]",
        "remote_ts": "dynamic[gre]",
        "mode": "transport",
        "updown": hook(),
    }
    site.load_gateways(gateways({"gre": gre}, {"gre": gre}))
    show = "ip -d link; ip addr; ip rule; ip route show table all; ip -6 route show table all"
    before = {host: host.run("sh", "-c", show) for host in site.loaded}
    told = "gre: between the endpoints alone, without mark or if_id, no link is needed; leave leftupdown / updown out"
    assert site.start(site.moon, "gre") == dict.fromkeys(site.loaded, told)
    assert [changes(before[host], host.run("sh", "-c", show)) for host in site.loaded] == [[], []]
    for host, me, peer, _ in ends:
        site.sa(host, "mode=TRANSPORT", f"local-ts=[{me}/32[gre]] remote-ts=[{peer}/32[gre]]")
    site.through((site.alice, BOB))
    assert site.end(site.moon, "gw-gw") == [dict.fromkeys(site.loaded, told)]
    site.nothing_is_up()
    for host, *_ in ends:
        host.run("ip", "tunnel", "del", f"gre-{host.name}")
