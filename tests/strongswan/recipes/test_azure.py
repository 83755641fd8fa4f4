"""examples/azure: a route-based tunnel to an Azure VPN gateway, whose BGP address is behind the
tunnel.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.daemons import bgp_session, bird
from support.recipes import Recipe
from support.stream import Stream

from ..conftest import Figures
from .cloud import CloudVpn, connection

RECIPE = Recipe("azure")
BGP = "10.2.255.30"

# The connection's custom policy, Azure's lifetimes and its DPD; the gateway answers, and calls as
# well.
IKE = {"proposals": "aes256-sha384-ecp384", "rekey_time": 28800, "dpd_delay": 15}
CHILD = {"esp_proposals": "aes256gcm16-ecp384", "life_time": 27000, "if_id_in": 1, "if_id_out": 1}
SECRETS = """
secrets {
    ike {
        secret = "the connection's shared key"
    }
}
"""
# A route to the BGP address of the local network gateway is what Azure makes by itself.
GATEWAY = """
ip addr add 203.0.113.10/32 dev lo
ip addr add 10.2.255.30/32 dev lo
ip addr add 10.2.0.10/16 dev lo
ip link add onpremises type xfrm if_id 1
ip link set onpremises mtu 1400 up
ip route add 10.1.255.1/32 dev onpremises src 10.2.255.30
"""
AZURE_BIRD = """
router id 10.2.255.30;
protocol device {
}
protocol kernel {
    learn;
    ipv4 {
        import where net = 10.1.255.1/32;
        export filter {
            if source != RTS_BGP then reject;
            krt_prefsrc = 10.2.0.10;
            accept;
        };
    };
}
protocol static vnet {
    ipv4;
    route 10.2.0.0/16 unreachable;
}
protocol bgp onpremises {
    local 10.2.255.30 as 65515;
    neighbor 10.1.255.1 as 65000;
    multihop;
    keepalive time 60;
    hold time 180;
    ipv4 {
        import all;
        export where proto = "vnet";
    };
}
"""


class AzureVpn(CloudVpn):
    """azure is the gateway, and 10.2.0.10 behind it."""

    HOSTS = ("moon bird2", "azure bird2")
    RECIPE = RECIPE

    def set_up(self) -> None:
        super().set_up()
        self.azure.run("sh", "-ec", GATEWAY)
        bird(self.azure, AZURE_BIRD)
        onpremises = connection("onpremises", "203.0.113.10", IKE, CHILD)
        self.azure.charon(swanctl=f"connections {{{onpremises}}}{SECRETS}")

    @contextmanager
    def by_the_recipe(self) -> Iterator[None]:
        """Both sides have heard each other's routes, too."""
        with super().by_the_recipe():
            self.moon.until("birdc show protocols azure | grep -q Established")
            self.moon.until("ip route get 10.2.0.10 | grep -q 'dev azure src 10.1.0.1'")
            self.azure.until("ip route get 10.1.0.1 | grep -q 'dev onpremises src 10.2.0.10'")
            yield


@pytest.mark.slow
@pytest.mark.recipe("azure", "strongSwan", "BIRD")
def test_azure_bgp_session_outlives_its_tunnel(figures: Figures) -> None:
    """BGP with an address behind the tunnel; whoever takes the tunnel down, session, link and
    routes stay until it is back.
    """
    with AzureVpn() as site, site.by_the_recipe():
        moon, azure = site.moon, site.azure
        assert "via 10.2.255.30 dev azure" in RECIPE.run(moon, "ip route get 10.2.0.10")
        for command in ("swanctl --list-sas", "birdc show protocols all azure", "birdc show route"):
            RECIPE.run(moon, command)
        site.carries_full_packets("10.2.0.10", mtu=1400)
        assert "size set 1350" in moon.run("nft", "list", "ruleset")

        link, routes, session = (
            moon.run("ip", "-o", "link", "show", "azure"),
            moon.run("ip", "route"),
            bgp_session(moon, BGP),
        )
        assert ":179" in session
        with Stream(moon, "10.1.0.1", "10.2.0.10") as by_us:
            RECIPE.run(moon, "swanctl --terminate --ike azure")
            moon.until("! swanctl --list-sas | grep -q INSTALLED")
            assert moon.run("ip", "route") == routes
            RECIPE.run(moon, "swanctl --initiate --child azure")
        with Stream(moon, "10.1.0.1", "10.2.0.10") as by_azure:
            (child,) = moon.sas("azure")[1]
            azure.run("swanctl", "--terminate", "--ike", "onpremises")
            moon.until_sas("azure", 1, 1, without=[child])
        assert (by_us.tail, by_azure.tail) == (0, 0)
        assert by_us.lost > 0
        figures.add("the tunnel to Azure is terminated and initiated", by_us)
        figures.add("Azure terminates the tunnel, and close_action starts it", by_azure)
        assert (moon.run("ip", "-o", "link", "show", "azure"), moon.run("ip", "route")) == (
            link,
            routes,
        )
        assert bgp_session(moon, BGP) == session
        assert "Established" in RECIPE.run(moon, "birdc show protocols azure")
