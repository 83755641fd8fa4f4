"""Two sites, each with the hook on its gateway: moon with alice behind it, and sun with bob."""

from collections.abc import Iterator

import pytest

from hosts import Capture, Host, wire
from recipes import Recipe

from ..conftest import nothing_left


class Sites:
    """moon is 192.0.2.1 and sun 198.51.100.1, with a router between them; alice is 10.1.0.10 and bob 10.2.0.10."""

    def __init__(self, moon: Host, sun: Host, internet: Host, alice: Host, bob: Host) -> None:
        self.moon, self.sun, self.internet, self.alice, self.bob = moon, sun, internet, alice, bob
        internet.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for gateway, net, lan, number in ((moon, "192.0.2", alice, 1), (sun, "198.51.100", bob, 2)):
            outer = [(f"{net}.254/24", f"{net}.1/24"), (f"2001:db8:{number}::254/64", f"2001:db8:{number}::1/64")]
            wire(internet, gateway, gateway.name, outer)
            for hop in (f"{net}.254", f"2001:db8:{number}::254"):
                gateway.run("ip", "route", "add", "default", "via", hop)
            gateway.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
            inner = [(f"10.{number}.0.1/16", f"10.{number}.0.10/16"), (f"fd00:{number}::1/64", f"fd00:{number}::10/64")]
            wire(gateway, lan, "lan", inner)
            lan.run("ip", "route", "add", "default", "via", f"10.{number}.0.1")
            lan.run("ip", "route", "add", "default", "via", f"fd00:{number}::1")

    def unanswered(self) -> None:
        """Nobody reaches a host of the other site."""
        for lan, number in ((self.alice, 2), (self.bob, 1)):
            assert lan.ping(f"10.{number}.0.10", count=1) == lan.ping(f"fd00:{number}::10", count=1) == 0

    def answered(self) -> None:
        for lan, number in ((self.alice, 2), (self.bob, 1)):
            assert lan.ping(f"10.{number}.0.10") == lan.ping(f"fd00:{number}::10") == 3


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    with Host("moon") as moon, Host("sun") as sun, Host("internet") as internet, Host("alice") as alice, Host("bob") as bob:
        yield Sites(moon, sun, internet, alice, bob)


@pytest.mark.recipe("site-to-site", "strongSwan")
def test_two_sites_reach_each_other_and_send_nothing_in_clear(sites: Sites) -> None:
    """Both networks reach each other in both families, by ESP alone; a gateway's restart ends it, and the next packet starts it."""
    recipe = Recipe("site-to-site")
    both = {sites.moon: "sun", sites.sun: "moon"}
    before = {gateway: gateway.network_state() for gateway in both}
    with Capture(sites.internet, "moon", "net 10.0.0.0/8 or net fd00::/16") as clear:
        for gateway in both:
            recipe.install(gateway, f"{gateway.name}-swanctl.conf", f"{gateway.name}-vti-updown.toml", "charon.conf")
            recipe.run(gateway, "vti-updown check-config")
            recipe.run(gateway, "vti-updown prepare")
        sites.unanswered()
        sites.sun.start_charon()
        sites.moon.start_charon()
        assert sorted(sites.moon.hook_log(at_least=2)) == [
            "sun: sun up, 192.0.2.1 → 198.51.100.1, if_id 42, 10.2.0.0/16",
            "sun: sun up, 192.0.2.1 → 198.51.100.1, if_id 42, fd00:2::/48",
        ]
        sites.sun.hook_log(at_least=2)
        with Capture(sites.internet, "moon", "esp") as esp:
            sites.answered()
            assert sites.moon.ping("10.2.0.10") == 3
        assert esp.count == 30
        recipe.run(sites.moon, "swanctl --list-sas")
        assert "10.2.0.0/16 proto 50" in recipe.run(sites.moon, "ip route show dev sun")
        sites.sun.stop_charon()
        assert len(sites.moon.hook_log(at_least=4)) == 4
        sites.unanswered()
        sites.sun.start_charon()
        sites.alice.until("ping -n -c 1 -W 1 fd00:2::10 >/dev/null")
        sites.answered()
        recipe.run(sites.moon, "rm /etc/swanctl/conf.d/sun.conf")
        recipe.run(sites.moon, "swanctl --load-conns")
        sites.sun.run("rm", recipe.target("sun-swanctl.conf"))
        sites.sun.run("swanctl", "--load-conns")
        for gateway, peer in both.items():
            gateway.until("! swanctl --list-sas | grep -q . && ! pgrep vti-updown >/dev/null")
            gateway.run("vti-updown", "release", peer)
    assert clear.lines == []
    for gateway, state in before.items():
        nothing_left(gateway, state)
        gateway.stop_charon()
