"""OSPF over a link of the hook: BIRD at one end, FRR at the other; the link goes and comes, and the
daemons were there first.
"""

import pytest

from support.daemons import bird, frr, stop
from support.host import Host, wire
from support.recipes import Recipe
from support.site import Site, default_route, forwards

ADJACENT = {
    "bird": "birdc show ospf neighbors {} | grep -q Full/",
    "frr": "vtysh -c 'show {} neighbor' | grep -q Full",
}
LANS = (("10.1.0.2", "10.2.0.2"), ("fd00:1::2", "fd00:2::2"))


class WithOspf(Site):
    """moon is the headquarters with BIRD, sun the branch with FRR; each has a computer on its LAN."""

    HOSTS = ("moon bird2", "sun frr", "lan1", "lan2")

    def set_up(self) -> None:
        moon, sun = self.moon, self.sun
        self.recipe = Recipe("ospf")
        wire(moon, sun, "wan", [("192.0.2.1/24", "198.51.100.2/24")])
        moon.run("ip", "route", "add", "default", "via", "198.51.100.2", "dev", "wan", "onlink")
        sun.run("ip", "route", "add", "default", "via", "192.0.2.1", "dev", "wan", "onlink")
        forwards(moon, sun)
        for host, lan, net in ((moon, self.lan1, 1), (sun, self.lan2, 2)):
            four = (f"10.{net}.0.1/16", f"10.{net}.0.2/16")
            six = (f"fd00:{net}::1/32", f"fd00:{net}::2/32")
            wire(host, lan, "lan", [four, six])
            default_route(lan, f"10.{net}.0.1", f"fd00:{net}::1")
        files = ("swanctl.conf", "vti-updown.toml")
        self.recipe.install(moon, *(f"hq.{name}" for name in files), "charon.conf", "bird.conf")
        self.recipe.install(sun, *(f"branch.{name}" for name in files), "charon.conf", "frr.conf")

    def unchanging(self) -> tuple[Host, ...]:
        return self.moon, self.sun

    def daemons(self) -> None:
        bird(self.moon)
        frr(self.sun, daemons=("ospfd", "ospf6d"))

    def stop(self) -> None:
        """Ends the routing daemons, which then take their own routes away."""
        stop(self.moon, "bird")
        for daemon in ("ospfd", "ospf6d", "zebra"):
            stop(self.sun, daemon)

    def charons(self) -> None:
        """The hq's charon starts the tunnel when it has its file; so it starts last."""
        self.sun.start_charon()
        self.moon.start_charon()

    def adjacent(self) -> None:
        """Both protocols are Full at both ends, the routes are there, and packets pass from LAN to
        LAN, in both families.
        """
        for protocol in ("ospf4", "ospf6"):
            self.moon.until(ADJACENT["bird"].format(protocol))
        for protocol in ("ip ospf", "ipv6 ospf6"):
            self.sun.until(ADJACENT["frr"].format(protocol))
        for host, net in ((self.moon, 2), (self.sun, 1)):
            host.until(f"ip route show 10.{net}.0.0/16 | grep -q 'dev xfrm42 proto'")
            host.until(f"ip -6 route show fd00:{net}::/32 | grep -q 'dev xfrm42 proto'")
        before = self.moon.counters("xfrm42")
        self.both_ways(*LANS, near=self.lan1, far=self.lan2, bound=True)
        received, sent = self.moon.counters("xfrm42")
        assert received - before[0] >= 12 and sent - before[1] >= 12

    def alone(self) -> None:
        """Neither end has a neighbour or a route of the other."""
        self.moon.until(
            "! birdc show ospf neighbors ospf4 | grep -q Full/ && ! birdc show ospf neighbors ospf6 | grep -q Full/"
        )
        self.moon.until("! ip route | grep -q 10.2.0.0/16 && ! ip -6 route | grep -q fd00:2::/32")
        self.sun.until("! ip route | grep -q 10.1.0.0/16 && ! ip -6 route | grep -q fd00:1::/32")

    def index(self, host: Host) -> str:
        return host.run("ip", "-o", "link", "show", "xfrm42").partition(":")[0]


site = WithOspf.fixture(scope="function")


@pytest.mark.slow
@pytest.mark.usefixtures("as_before")
@pytest.mark.recipe("ospf", "strongSwan", "BIRD", "FRR")
@pytest.mark.parametrize("when_down", ["keep", pytest.param("remove", marks=pytest.mark.slow)])
def test_ospf_by_itself(site: WithOspf, when_down: str) -> None:
    """OSPFv2 and OSPFv3, BIRD and FRR, started before charon: Full, routes, packets; again after
    the tunnel went and came.
    """
    moon, sun = site.moon, site.sun
    if when_down == "keep":
        for host in (moon, sun):
            site.recipe.run(host, "vti-updown prepare")
    else:
        for host in (moon, sun):
            host.run("sed", "-i", "/when_down/d", "/etc/vti-updown.toml")
    site.daemons()
    site.charons()
    site.adjacent()
    indexes = [site.index(host) for host in (moon, sun)]
    moon.run("swanctl", "--terminate", "--ike", "branch")
    site.alone()
    for host in (moon, sun):
        assert ("xfrm42" in host.run("ip", "link")) == (when_down == "keep")
    site.recipe.run(moon, "swanctl --initiate --child branch")
    site.adjacent()
    assert ([site.index(host) for host in (moon, sun)] == indexes) == (when_down == "keep")
    moon.run("swanctl", "--terminate", "--ike", "branch")
    site.alone()
    site.stop()
    for host in (moon, sun):
        if when_down == "keep":
            site.recipe.run(host, "vti-updown release")
        host.until("! ip link show xfrm42 >/dev/null 2>&1")
