"""The hook's routes, and no others of the kernel, are announced by a routing daemon beside it."""

from collections.abc import Iterator

import pytest

from support.daemons import bird, frr, routes
from support.host import Host, wire
from support.recipes import Recipe
from support.site import Site, forwards, has, nothing_left
from support.stream import comes_true

PARTNER = """
connections {
    hq {
        local_addrs = 198.51.100.2
        local {
            auth = psk
            id = partner.example.org
        }
        remote {
            auth = psk
            id = hq.example.org
        }
        children {
            hq {
                local_ts = 10.2.0.0/16, fd00:2::/32
                remote_ts = 10.1.0.0/16, fd00:1::/32
            }
        }
    }
}
secrets {
    ike-hq {
        secret = "replace this, on both sides"
    }
}
"""
CORE = """
router id 10.1.0.2;
protocol device {
}
protocol kernel kernel4 {
    ipv4 {
        export all;
    };
}
protocol kernel kernel6 {
    ipv6 {
        export all;
    };
}
protocol bgp hq4 {
    local 10.1.0.2 as 64512;
    neighbor 10.1.0.1 as 64512;
    direct;
    connect delay time 1;
    connect retry time 2;
    ipv4 {
        import all;
        gateway direct;
    };
}
protocol bgp hq6 {
    local fd00:1::2 as 64512;
    neighbor fd00:1::1 as 64512;
    direct;
    connect delay time 1;
    connect retry time 2;
    ipv6 {
        import all;
        gateway direct;
    };
}
"""
"""BIRD on the LAN's router, which hears what the headquarters announces."""

HOOKS = {"10.2.0.0/16", "fd00:2::/32"}
FOREIGN = [
    f"{net} {via} proto {protocol}"
    for number, protocol in enumerate(("static", "boot", "dhcp", "99", "200"))
    for net, via in (
        (f"10.{50 + number}.0.0/16", "via 198.51.100.2"),
        (f"fd00:{50 + number}::/32", "dev wan"),
    )
]
THROUGH_THE_LINK = [f"{net} dev xfrm42 proto {protocol}" for net, protocol in (("10.60.0.0/16", "99"), ("fd00:60::/32", "99"),
                                                                            ("10.61.0.0/16", "static"), ("fd00:61::/32", "boot"))]  # fmt: skip

LOOKALIKE = "10.62.0.0/16 dev xfrm42 metric 7763 proto 99"
"""Another's route with the hook's link and metric: only BIRD sees that its number is another."""


class Announcing(Site):
    """moon is the headquarters with the daemon, sun the partner; core is the router of moon's LAN."""

    def __init__(self, conf: str) -> None:
        super().__init__()
        self._with_frr = conf == "frr.conf"
        self.HOSTS = (f"moon {'frr' if self._with_frr else 'bird2'}", "sun", "core bird2")
        self.taken_for_ours = {LOOKALIKE.partition(" ")[0]} if self._with_frr else set()
        files = ["swanctl.conf", "charon.conf", "rt_protos.conf", conf]
        self._files = [*files, "vti-updown.toml"] if self._with_frr else files

    def set_up(self) -> None:
        moon, sun, core = self.moon, self.sun, self.core
        self.recipe = Recipe("redistribute")
        wire(moon, sun, "wan", [("192.0.2.1/24", "198.51.100.2/24")])
        moon.run("ip", "route", "add", "198.51.100.0/24", "dev", "wan", "proto", "static")
        sun.run("ip", "route", "add", "default", "dev", "wan")
        sun.run("ip", "route", "add", "fd00:1::/32", "dev", "wan")
        wire(moon, core, "lan", [("10.1.0.1/16", "10.1.0.2/16"), ("fd00:1::1/32", "fd00:1::2/32")])
        forwards(moon)
        has(sun, "10.2.0.1/16", "fd00:2::1/128")
        self.foreign(moon, FOREIGN)
        bird(core, CORE)
        sun.charon(swanctl=PARTNER, charon="charon {\n}\n")
        self.recipe.install(moon, *self._files)
        (frr if self._with_frr else bird)(moon)
        moon.start_charon()
        core.until("birdc show protocols | grep -c Established | grep -qx 2")

    def foreign(self, host: Host, lines: list[str]) -> None:
        for route in lines:
            host.run("ip", "route", "add", *route.split())

    def until_announced(self, wanted: set[str]) -> None:
        assert comes_true(lambda: routes(self.core) == wanted), (routes(self.core), wanted)

    def start(self) -> None:
        """As the page says."""
        self.recipe.run(self.moon, "swanctl --initiate --child partner")

    def end(self) -> None:
        self.moon.run("swanctl", "--terminate", "--ike", "partner")

    def packets(self) -> None:
        """The router of the LAN reaches the partner's networks by what it was told."""
        with self.carried("xfrm42", 6):
            for inner in ("10.2.0.1", "fd00:2::1"):
                assert self.core.ping(inner) == 3


@pytest.fixture(scope="module", params=["bird.conf", "frr.conf"], ids=["BIRD", "FRR"])
def site(request: pytest.FixtureRequest) -> Iterator[Announcing]:
    with Announcing(request.param) as site:
        yield site


@pytest.mark.slow
@pytest.mark.recipe("redistribute", "strongSwan", "BIRD", "FRR")
def test_the_hooks_routes_are_announced_and_no_others(site: Announcing) -> None:
    """Beside static, DHCP, boot and unknown routes of the kernel a neighbour hears the hook's
    alone, from up to down, twice.

    FRR also announces another's route with the same link and metric, as the page says; BIRD does
    not.
    """
    before = site.moon.network_state()
    site.until_announced(set())
    for _ in range(2):
        site.start()
        site.until_announced(HOOKS)
        assert "proto vti-updown" in site.moon.run("ip", "route", "show", "10.2.0.0/16")
        site.foreign(site.moon, THROUGH_THE_LINK)
        site.moon.run("sleep", "2")
        site.until_announced(HOOKS)
        site.packets()
        site.foreign(site.moon, [LOOKALIKE])
        site.moon.run("sleep", "2")
        site.until_announced(HOOKS | site.taken_for_ours)
        site.end()
        site.until_announced(set())
        nothing_left(site.moon, before)


@pytest.mark.slow
@pytest.mark.recipe("redistribute", "strongSwan", "BIRD", "FRR")
def test_what_blocks_is_not_announced(site: Announcing) -> None:
    """With when_down = "block" the unreachable routes that stand while the tunnel is down are not
    announced.
    """
    before = site.moon.network_state()
    settings = (
        site.moon.run("cat", "/etc/vti-updown.toml", check=False)
        if site.taken_for_ours
        else "[connection.partner]\n"
    )
    site.moon.file("/etc/vti-updown.toml", settings + 'when_down = "block"\n')
    site.start()
    site.until_announced(HOOKS)
    site.packets()
    site.end()
    site.until_announced(set())
    for family in ("-4", "-6"):
        assert "unreachable" in site.moon.run("ip", family, "route", "show", "proto", "50")
    site.moon.run("sleep", "2")
    assert routes(site.core) == set()
    site.moon.run("vti-updown", "release")
    nothing_left(site.moon, before)
