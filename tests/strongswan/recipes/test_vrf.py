"""examples/vrf: two customers with the same networks, each with a LAN port and a tunnel in a VRF of his own."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from hosts import Capture, Host, Stream, wire
from recipes import Recipe

from ..conftest import Calls, Figures, nothing_left

ALICE, FAR = ("10.1.0.10", "fd00:1::10"), ("10.2.0.1", "fd00:2::1")
INNER = "net 10.0.0.0/8 or net fd00::/16"
PEER = """
connections {{
    moon {{
        local {{
            auth = psk
            id = {name}.example.org
        }}
        remote {{
            auth = psk
            id = moon.example.org
        }}
        children {{
            moon {{
                local_ts = 10.2.0.0/16, fd00:2::/64
                remote_ts = 10.1.0.0/16, fd00:1::/64
                if_id_in = 1
                if_id_out = 1
            }}
        }}
    }}
}}
secrets {{
    ike-moon {{
        secret = "{secret}"
    }}
}}
"""


class Customer(NamedTuple):
    """A VRF of moon, its link, and whose hosts are at its ends."""

    vrf: str
    table: str
    link: str
    uplink: str
    lan: Host
    peer: Host


class Site:
    """moon is the gateway, alice and venus are in the LANs of blue and red, sun and pluto have a link made by hand."""

    def __init__(self, moon: Host, alice: Host, venus: Host, sun: Host, pluto: Host) -> None:
        self.moon = moon
        self.calls = Calls(moon)
        self.recipe = Recipe("vrf")
        self.blue = Customer("blue", "100", "xfrm42", "eth0", alice, sun)
        self.red = Customer("red", "200", "xfrm43", "eth1", venus, pluto)
        self.customers = (self.blue, self.red)
        secrets = re.findall('secret = "(.*)"', (self.recipe.folder / "swanctl.conf").read_text())
        for one, net, secret in zip(self.customers, ("203.0.113", "198.51.100"), secrets, strict=True):
            wire(moon, one.peer, one.uplink, [(f"{net}.1/24", f"{net}.7/24")])
            wire(moon, one.lan, f"lan-{one.vrf}", [])
            port = f"lan-{one.vrf}"
            one.lan.run("sh", "-c", f"ip addr add {ALICE[0]}/16 dev {port}; ip addr add {ALICE[1]}/64 dev {port} nodad;"
                                    "ip route add default via 10.1.0.1; ip route add default via fd00:1::1")  # fmt: skip
            one.peer.run("sh", "-c", f"ip addr add {FAR[0]}/16 dev lo; ip addr add {FAR[1]}/64 dev lo;"
                                     "ip link add xfrm0 type xfrm if_id 1; ip link set xfrm0 up;"
                                     "ip route add 10.1.0.0/16 dev xfrm0; ip route add fd00:1::/64 dev xfrm0")  # fmt: skip
            one.peer.charon(swanctl=PEER.format(name=one.peer.name, secret=secret))
        # Where a packet that falls through the VRF would go, in clear.
        moon.run("ip", "route", "add", "default", "via", "203.0.113.7")
        for command in self.commands("blue") + self.commands("red") + self.commands("sysctl"):
            self.recipe.run(moon, command)
        self.recipe.install(moon)
        moon.start_charon()

    def commands(self, word: str) -> list[str]:
        """The page's commands that set up what has this word in its name, or its number."""
        number = {"blue": "table 100", "red": "table 200"}.get(word, word)
        found = re.findall(r"(?m)^    # ((?:ip .*|sysctl .*))$", self.recipe.page)
        return [one for one in found if (word in one or number in one) and " show " not in one]

    def up(self, one: Customer) -> list[str]:
        self.recipe.run(self.moon, f"swanctl --initiate --child {one.vrf}")
        return self.calls.events(2)

    def down(self, one: Customer) -> list[str]:
        self.moon.run("swanctl", "--terminate", "--ike", one.vrf)
        return self.calls.events(2)

    def passes(self, one: Customer) -> None:
        """Packets of both families pass both ways, through this customer's links only, and as nothing but ESP on his uplink."""
        before = [self.moon.counters(who.link)[0] for who in self.customers if self.is_up(who)]
        with Capture(self.moon, one.uplink, f"esp or {INNER}") as seen:
            for near, far in zip(ALICE, FAR, strict=True):
                assert one.lan.ping(far) == 3
                assert one.peer.ping(near, source=far) == 3
        assert [line for line in seen.lines if "ESP(" not in line] == [] and seen.count == 24
        after = [self.moon.counters(who.link)[0] for who in self.customers if self.is_up(who)]
        carried = [12 if who is one else 0 for who in self.customers if self.is_up(who)]
        assert [now - then for now, then in zip(after, before, strict=True)] == carried

    def is_up(self, one: Customer) -> bool:
        return self.moon.call("ip", "link", "show", one.link).returncode == 0


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Host("moon") as moon, Host("alice") as alice, Host("venus") as venus, Host("sun") as sun, Host("pluto") as pluto:
        yield Site(moon, alice, venus, sun, pluto)


@pytest.fixture(autouse=True)
def as_before(site: Site) -> Iterator[None]:
    before = site.moon.network_state()
    yield
    nothing_left(site.moon, before)


@pytest.mark.slow
@pytest.mark.recipe("vrf", "strongSwan")
def test_two_customers_with_the_same_networks_have_a_vrf_each(site: Site, figures: Figures) -> None:
    """Two customers with the same networks, a VRF and a tunnel each: packets of both families pass between each LAN port and its own peer, across a CHILD_SA and an IKE_SA rekey, and none in clear when a tunnel is down."""
    moon, blue, red = site.moon, site.blue, site.red
    for one, me, peer in ((blue, "203.0.113.1", "203.0.113.7"), (red, "198.51.100.1", "198.51.100.7")):
        said = site.up(one)
        head = f"{one.vrf}: {one.link} up, {me} → {peer}, if_id {one.link[4:]}"
        assert said == [f"{head}, 10.2.0.0/16", f"{head}, fd00:2::/64"]
        assert f"10.2.0.0/16 dev {one.link} proto 50" in moon.run("ip", "route", "show", "table", one.table)
        assert f"fd00:2::/64 dev {one.link} proto 50" in moon.run("ip", "-6", "route", "show", "table", one.table)
    assert f"dev {blue.link} " in site.recipe.run(moon, "ip route show vrf blue")
    assert f" {blue.link}@" in site.recipe.run(moon, "ip link show vrf blue")
    assert "10.2.0.0/16" not in moon.run("ip", "route", "show", "table", "main")
    for one in site.customers:
        site.passes(one)
        assert moon.ping(FAR[0], source=one.vrf) == 3
    with Stream(blue.lan, ALICE[0], FAR[0]) as stream:
        moon.rekey("blue", "child")
        moon.rekey("blue", "ike")
    assert stream.tail == 0
    figures.add("the link in a VRF: a CHILD_SA rekey, then an IKE_SA rekey", stream)
    site.passes(blue)
    assert f"blue: {blue.link} down, " in site.down(blue)[-1]
    with Capture(moon, blue.uplink, INNER) as clear:
        assert [blue.lan.ping(address) for address in FAR] == [0, 0]
    assert clear.lines == []
    site.passes(red)
    site.down(red)


@pytest.mark.slow
@pytest.mark.recipe("vrf", "strongSwan")
def test_a_vrf_that_is_not_there_is_told_with_what_to_do(site: Site) -> None:
    """A tunnel that comes up before its VRF is one line with the command that makes it, and nothing is changed."""
    moon = site.moon
    rename = "ip link set {0} down; ip link set {0} name {1}; ip link set {1} up"
    moon.run("sh", "-ec", rename.format("blue", "green"))
    show = "ip -br link; ip -br addr; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all"
    before = moon.run("sh", "-c", show)
    told = "error: blue: there is no VRF blue; make it: ip link add blue type vrf table NUMBER"
    assert site.up(site.blue) == [told, told]
    assert moon.run("sh", "-c", show) == before
    moon.run("swanctl", "--terminate", "--child", "blue")
    assert site.calls.events(2) == ["blue: its up had failed, nothing to take away"] * 2
    moon.run("sh", "-ec", rename.format("green", "blue"))
    site.up(site.blue)
    site.passes(site.blue)
    site.down(site.blue)
