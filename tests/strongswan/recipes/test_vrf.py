"""examples/vrf: two customers with the same networks, each with a LAN port and a tunnel in a VRF of
his own.
"""

import re
from typing import NamedTuple

import pytest

from support.capture import Capture
from support.host import Host, wire
from support.recipes import Recipe
from support.site import INNER, Site, default_route, has
from support.stream import Stream

from ..conftest import Figures

ALICE, FAR = ("10.1.0.10", "fd00:1::10"), ("10.2.0.1", "fd00:2::1")
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


pytestmark = pytest.mark.usefixtures("as_before")


class Customers(Site):
    """moon is the gateway, alice and venus are in the LANs of blue and red, sun and pluto have a
    link made by hand.
    """

    HOSTS = ("moon", "alice", "venus", "sun", "pluto")

    def set_up(self) -> None:
        moon = self.moon
        self.recipe = Recipe("vrf")
        self.blue = Customer("blue", "100", "xfrm42", "eth0", self.alice, self.sun)
        self.red = Customer("red", "200", "xfrm43", "eth1", self.venus, self.pluto)
        self.customers = (self.blue, self.red)
        secrets = re.findall('secret = "(.*)"', (self.recipe.folder / "swanctl.conf").read_text())
        for one, net, secret in zip(
            self.customers, ("203.0.113", "198.51.100"), secrets, strict=True
        ):
            wire(moon, one.peer, one.uplink, [(f"{net}.1/24", f"{net}.7/24")])
            port = f"lan-{one.vrf}"
            wire(moon, one.lan, port)
            one.lan.run("sh", "-c", f"ip addr add {ALICE[0]}/16 dev {port}; ip addr add {ALICE[1]}/64 dev {port} nodad;"
                                    "ip route add default via 10.1.0.1; ip route add default via fd00:1::1")  # fmt: skip
            has(one.peer, f"{FAR[0]}/16", f"{FAR[1]}/64")
            one.peer.run("sh", "-c", "ip link add xfrm0 type xfrm if_id 1; ip link set xfrm0 up;"
                                     "ip route add 10.1.0.0/16 dev xfrm0; ip route add fd00:1::/64 dev xfrm0")  # fmt: skip
            one.peer.charon(swanctl=PEER.format(name=one.peer.name, secret=secret))
        # Where a packet that falls through the VRF would go, in clear.
        default_route(moon, "203.0.113.7")
        for command in self.commands("blue") + self.commands("red") + self.commands("sysctl"):
            self.recipe.run(moon, command)
        self.recipe.install(moon)
        moon.start_charon()

    def commands(self, word: str) -> list[str]:
        """The page's commands that set up what has this word in its name, or its number."""
        number = {"blue": "table 100", "red": "table 200"}.get(word, word)
        found = re.findall(r"(?m)^    # ((?:ip .*|sysctl .*))$", self.recipe.page)
        return [one for one in found if (word in one or number in one) and " show " not in one]

    def start(self, one: Customer) -> list[str]:
        """As the page says."""
        self.recipe.run(self.moon, f"swanctl --initiate --child {one.vrf}")
        return self.events(2)

    def passes(self, one: Customer) -> None:
        """Packets of both families pass both ways, through this customer's links only, and as
        nothing but ESP on his uplink.
        """
        up = [who for who in self.customers if self.is_up(who)]
        before = [self.moon.counters(who.link)[0] for who in up]
        pairs = zip(ALICE, FAR, strict=True)
        self.both_ways(*pairs, near=one.lan, far=one.peer, uplink=one.uplink)
        after = [self.moon.counters(who.link)[0] for who in up]
        carried = [12 if who is one else 0 for who in up]
        assert [now - then for now, then in zip(after, before, strict=True)] == carried

    def is_up(self, one: Customer) -> bool:
        return self.moon.call("ip", "link", "show", one.link).returncode == 0


site = Customers.fixture()


@pytest.mark.slow
@pytest.mark.recipe("vrf", "strongSwan")
def test_two_customers_with_the_same_networks_have_a_vrf_each(
    site: Customers, figures: Figures
) -> None:
    """Two customers with the same networks, a VRF and a tunnel each: packets of both families pass
    between each LAN port and its own peer, across a CHILD_SA and an IKE_SA rekey, and none in clear
    when a tunnel is down.
    """
    moon, blue, red = site.moon, site.blue, site.red
    for one, me, peer in (
        (blue, "203.0.113.1", "203.0.113.7"),
        (red, "198.51.100.1", "198.51.100.7"),
    ):
        said = site.start(one)
        head = f"{one.vrf}: {one.link} up, {me} → {peer}, if_id {one.link[4:]}"
        assert said == [f"{head}, 10.2.0.0/16", f"{head}, fd00:2::/64"]
        assert f"10.2.0.0/16 dev {one.link} proto 50" in moon.run(
            "ip", "route", "show", "table", one.table
        )
        assert f"fd00:2::/64 dev {one.link} proto 50" in moon.run(
            "ip", "-6", "route", "show", "table", one.table
        )
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
    assert f"blue: {blue.link} down, " in site.down("blue", 2)[-1]
    with Capture(moon, blue.uplink, INNER) as clear:
        assert [blue.lan.ping(address) for address in FAR] == [0, 0]
    assert clear.lines == []
    site.passes(red)
    site.down("red", 2)


@pytest.mark.slow
@pytest.mark.recipe("vrf", "strongSwan")
def test_a_vrf_that_is_not_there_is_told_with_what_to_do(site: Customers) -> None:
    """A tunnel that comes up before its VRF is one line with the command that makes it, and nothing
    is changed.
    """
    moon = site.moon
    rename = "ip link set {0} down; ip link set {0} name {1}; ip link set {1} up"
    moon.run("sh", "-ec", rename.format("blue", "green"))
    show = "ip -br link; ip -br addr; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all"
    before = moon.run("sh", "-c", show)
    told = "error: blue: there is no VRF blue; make it: ip link add blue type vrf table NUMBER"
    assert site.start(site.blue) == [told, told]
    assert moon.run("sh", "-c", show) == before
    moon.run("swanctl", "--terminate", "--child", "blue")
    assert site.events(2) == ["blue: its up had failed, nothing to take away"] * 2
    moon.run("sh", "-ec", rename.format("green", "blue"))
    site.start(site.blue)
    site.passes(site.blue)
    site.down("blue", 2)
