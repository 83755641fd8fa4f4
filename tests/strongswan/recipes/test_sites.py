"""Two sites, each with the hook on its gateway: moon with alice behind it, and sun with bob."""

import pytest

from support.capture import Capture
from support.host import Host, wire
from support.recipes import Recipe
from support.site import INNER, Site, default_route, forwards

LANS = (("10.1.0.10", "10.2.0.10"), ("fd00:1::10", "fd00:2::10"))


class TwoOffices(Site):
    """moon is 192.0.2.1 and sun 198.51.100.1, with a router between them; alice is 10.1.0.10 and
    bob 10.2.0.10.
    """

    HOSTS = ("moon", "sun", "internet", "alice", "bob")

    def set_up(self) -> None:
        moon, sun, internet = self.moon, self.sun, self.internet
        internet.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        forwards(moon, sun)
        for gateway, net, lan, number in (
            (moon, "192.0.2", self.alice, 1),
            (sun, "198.51.100", self.bob, 2),
        ):
            outer = [
                (f"{net}.254/24", f"{net}.1/24"),
                (f"2001:db8:{number}::254/64", f"2001:db8:{number}::1/64"),
            ]
            wire(internet, gateway, gateway.name, outer)
            default_route(gateway, f"{net}.254", f"2001:db8:{number}::254")
            inner = [
                (f"10.{number}.0.1/16", f"10.{number}.0.10/16"),
                (f"fd00:{number}::1/64", f"fd00:{number}::10/64"),
            ]
            wire(gateway, lan, "lan", inner)
            default_route(lan, f"10.{number}.0.1", f"fd00:{number}::1")

    def unchanging(self) -> tuple[Host, ...]:
        return self.moon, self.sun

    def unanswered(self) -> None:
        """Nobody reaches a host of the other site."""
        for lan, number in ((self.alice, 2), (self.bob, 1)):
            assert (
                lan.ping(f"10.{number}.0.10", count=1)
                == lan.ping(f"fd00:{number}::10", count=1)
                == 0
            )

    def answered(self) -> None:
        self.both_ways(*LANS, near=self.alice, far=self.bob)


site = TwoOffices.fixture()


@pytest.mark.slow  # five minutes on a busy machine; make test-recipes has it
@pytest.mark.recipe("site-to-site", "strongSwan")
def test_two_sites_reach_each_other_and_send_nothing_in_clear(site: TwoOffices) -> None:
    """Both networks reach each other in both families, by ESP alone; a gateway's restart ends it,
    and the next packet starts it.
    """
    recipe = Recipe("site-to-site")
    both = {site.moon: "sun", site.sun: "moon"}
    with site.leaves_nothing(), Capture(site.internet, "moon", INNER) as clear:
        for gateway in both:
            recipe.install(
                gateway,
                f"{gateway.name}-swanctl.conf",
                f"{gateway.name}-vti-updown.toml",
                "charon.conf",
            )
            recipe.run(gateway, "vti-updown check-config")
            recipe.run(gateway, "vti-updown prepare")
        site.unanswered()
        site.sun.start_charon()
        site.moon.start_charon()
        assert sorted(site.moon.hook_log(at_least=2)) == [
            "sun: sun up, 192.0.2.1 → 198.51.100.1, if_id 42, 10.2.0.0/16",
            "sun: sun up, 192.0.2.1 → 198.51.100.1, if_id 42, fd00:2::/48",
        ]
        site.sun.hook_log(at_least=2)
        with Capture(site.internet, "moon", "esp") as esp:
            site.answered()
            assert site.moon.ping("10.2.0.10") == 3
        assert esp.count == 30
        recipe.run(site.moon, "swanctl --list-sas")
        assert "10.2.0.0/16 proto 50" in recipe.run(site.moon, "ip route show dev sun")
        site.sun.stop_charon()
        assert len(site.moon.hook_log(at_least=4)) == 4
        site.unanswered()
        site.sun.start_charon()
        site.alice.until("ping -n -c 1 -W 1 fd00:2::10 >/dev/null")
        site.answered()
        recipe.run(site.moon, "rm /etc/swanctl/conf.d/sun.conf")
        recipe.run(site.moon, "swanctl --load-conns")
        site.sun.run("rm", recipe.target("sun-swanctl.conf"))
        site.sun.run("swanctl", "--load-conns")
        for gateway, peer in both.items():
            gateway.until("! swanctl --list-sas | grep -q . && ! pgrep vti-updown >/dev/null")
            gateway.run("vti-updown", "release", peer)
    assert clear.lines == []
    for gateway in both:
        gateway.stop_charon()
