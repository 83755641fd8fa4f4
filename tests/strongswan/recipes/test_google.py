"""examples/google and google-ha: Classic VPN with static routes, and two tunnels with BGP to a
Cloud Router.
"""

from typing import ClassVar

import pytest

from support.capture import Capture
from support.daemons import bird
from support.recipes import Recipe
from support.site import has, way
from support.stream import Stream

from ..conftest import Figures
from .cloud import CLEAR_ROUTES, CloudVpn, connection

CLASSIC, HA = Recipe("google"), Recipe("google-ha")
# As Google's list of supported ciphers and its lifetimes have it; either side may call.
IKE = {"proposals": "aes256gcm16-prfsha256-ecp256", "rekey_time": 36000, "dpd_delay": 20}
CHILD = {"esp_proposals": "aes256gcm16-ecp256", "rekey_time": 10800, "updown": "/etc/clear-routes"}
CLOUD_ROUTER = """
router id 203.0.113.21;
protocol device {
}
protocol kernel {
    merge paths;
    ipv4 {
        export filter {
            if source != RTS_BGP then reject;
            krt_prefsrc = 10.128.0.2;
            accept;
        };
    };
}
protocol static vpc {
    ipv4;
    route 10.128.0.0/20 unreachable;
}
template bgp tunnel {
    local as 64514;
    keepalive time 20;
    hold time 60;
    ipv4 {
        import all;
        export where proto = "vpc";
    };
}
protocol bgp tunnel0 from tunnel {
    neighbor 169.254.20.2 as 65000;
}
protocol bgp tunnel1 from tunnel {
    neighbor 169.254.21.2 as 65000;
}
"""
THERE, MTU = "10.128.0.2", 1390


class GoogleVpn(CloudVpn):
    """Google has 10.128.0.2, and tunnels by their outside and inside address.

    Its networks carry 1460 bytes.
    """

    TUNNELS: ClassVar[dict[str, tuple[str, str]]]
    SECRETS: str

    def set_up(self) -> None:
        super().set_up()
        host = self.google
        has(host, f"{THERE}/20")
        host.file("/etc/clear-routes", CLEAR_ROUTES, 0o755)
        connections = ""
        for number, (name, (address, inside)) in enumerate(self.TUNNELS.items(), 1):
            has(host, f"{address}/32")
            host.run("ip", "link", "add", name, "type", "xfrm", "if_id", str(number))
            host.run("ip", "link", "set", name, "mtu", str(MTU))
            if inside:
                has(host, inside, link=name)
            keys = {**CHILD, "if_id_in": number, "if_id_out": number}
            connections += connection(name, address, IKE, keys)
        host.run("nft", "add table ip wire; add chain ip wire in { type filter hook prerouting priority raw; };"
                        "add rule ip wire in iif eth0 meta length > 1460 counter drop")  # fmt: skip
        host.charon(swanctl=f"connections {{{connections}}}\nsecrets {{{self.SECRETS}}}")


class ClassicVpn(GoogleVpn):
    """One tunnel, with static routes."""

    HOSTS = ("moon", "google")
    RECIPE = CLASSIC
    WITH_BIRD = False
    TUNNELS: ClassVar = {"classic": ("203.0.113.20", "")}
    SECRETS = 'ike { secret = "the tunnel\'s pre-shared key" }'


class HaVpn(GoogleVpn):
    """Two tunnels, with BGP."""

    HOSTS = ("moon bird2", "google bird2")
    RECIPE = HA
    TUNNELS: ClassVar = {
        "tunnel0": ("203.0.113.21", "169.254.20.1/30"),
        "tunnel1": ("198.51.100.21", "169.254.21.1/30"),
    }
    SECRETS = """
        ike-0 { id = 203.0.113.21
        secret = "the key of tunnel 0" }
        ike-1 { id = 198.51.100.21
        secret = "the key of tunnel 1" }
    """

    def set_up(self) -> None:
        super().set_up()
        bird(self.google, CLOUD_ROUTER)


@pytest.mark.slow
@pytest.mark.recipe("google", "strongSwan")
def test_google_classic_vpn_carries_its_routes_and_blocks_them() -> None:
    """Full-size packets fit into Google's 1460 bytes; while the tunnel is down none leaves in
    clear; Google ends it, and it is back.
    """
    with ClassicVpn() as site:
        moon, host = site.moon, site.google
        with site.by_the_recipe():
            moon.until("ip route get 10.128.0.2 | grep -q 'dev google src 10.1.0.1'")
            for command in ("swanctl --list-sas", "ip route", "ip -s link show google"):
                CLASSIC.run(moon, command)
            site.carries_full_packets(THERE, MTU)
            with Capture(moon, "eth0", "net 10.128.0.0/9") as clear:
                CLASSIC.run(moon, "swanctl --terminate --ike google")
                assert moon.ping("10.128.0.2") == 0
                assert "No route to host" in moon.run(
                    "ip", "route", "get", "10.128.0.2", check=False
                )
                CLASSIC.run(moon, "swanctl --initiate --child google")
                (child,) = moon.sas("google")[1]
                host.run("swanctl", "--terminate", "--ike", "classic")
                moon.until_sas("google", 1, 1, without=[child])
                assert moon.ping("10.128.0.2", source="10.1.0.1") == 3
            assert clear.count == 0


@pytest.mark.slow
@pytest.mark.recipe("google-ha", "strongSwan", "BIRD")
def test_google_ha_vpn_shares_traffic_and_one_takes_over(figures: Figures) -> None:
    """Both tunnels of an HA VPN carry traffic; one is terminated, the other one has it all, and
    both share it again.
    """
    with HaVpn() as site:
        moon, host = site.moon, site.google
        with site.by_the_recipe():
            both = "ip route show 10.128.0.0/20 | grep -c nexthop | grep -qx 2"
            theirs = "ip route show 10.1.0.0/16 | grep -c nexthop | grep -qx 2"
            moon.until(both)
            host.until(theirs)
            for command in (
                "swanctl --list-sas",
                "birdc show protocols",
                "ip route show proto bird",
            ):
                HA.run(moon, command)
            site.carries_full_packets(THERE, MTU)
            host.run(
                "sh", "-ec", "for n in $(seq 3 18); do ip addr add 10.128.0.$n/20 dev lo; done"
            )
            sent = {name: moon.counters(name)[1] for name in ("google0", "google1")}
            assert (
                sum(moon.ping(f"10.128.0.{n}", count=1, source="10.1.0.1") for n in range(3, 19))
                == 16
            )
            # BGP's own packets are a few; two hosts in each link's share at least are far more
            # likely than not to be seen.
            assert all(moon.counters(name)[1] - before >= 2 for name, before in sent.items())
            through = way(moon, "10.128.0.2", "from", "10.1.0.1")
            links = moon.run("ip", "-o", "link")
            for name in ("google0", "google1"):
                with Stream(moon, "10.1.0.1", "10.128.0.2") as ending:
                    moon.run("swanctl", "--terminate", "--ike", name)
                    # Nothing waits for moon's BIRD: the hook has told it, or packets are lost still
                    # when the stream ends.
                    host.until(f"! {theirs}")
                with Stream(moon, "10.1.0.1", "10.128.0.2") as starting:
                    moon.run("swanctl", "--initiate", "--child", name)
                    moon.until(both)
                    host.until(theirs)
                assert (ending.tail, starting.tail) == (0, 0)
                which = "has" if name == through else "has not"
                figures.add(f"one tunnel of HA VPN is terminated that {which} this flow", ending)
                figures.add("it is initiated again", starting)
            assert moon.run("ip", "-o", "link") == links
            assert "counter packets 0 " in host.run("nft", "list", "table", "ip", "wire")
