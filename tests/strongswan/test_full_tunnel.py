"""All traffic through the tunnel, in both families, with charon's own defaults; and what has to
stay outside.
"""

import time

import pytest

from support.capture import Capture
from support.host import wire
from support.namespaces import HOOK
from support.site import Site, has

SWANCTL = """
connections {
    gw {
        local_addrs = %s
        remote_addrs = %s
        mobike = yes
        local {
            id = %s
            auth = psk
        }
        remote {
            id = %s
            auth = psk
        }
        children {
            gw {
                local_ts = %s
                remote_ts = %s
                if_id_in = 42
                if_id_out = 42
                updown = %s
            }
        }
    }
}
secrets {
    ike-all {
        secret = "for tests only"
    }
}
"""
MINE, ALL = "10.1.0.0/16, fd00:1::/32", "0.0.0.0/0, ::/0"
# charon's defaults: install_routes = yes makes it look for the peer in all tables, whatever the
# rules say.
DEFAULTS = (
    "charon {\n    retransmit_tries = 3\n    retransmit_timeout = 2\n    retransmit_base = 1\n}\n"
)


pytestmark = pytest.mark.usefixtures("as_before")


class AllTraffic(Site):
    """moon is 192.168.0.1 with 10.1.0.1 behind it and a LAN, 192.168.77.0/24; sun is 192.168.0.2,
    with the internet behind it.
    """

    HOSTS = ("moon", "sun", "lan")

    def set_up(self) -> None:
        moon, sun = self.moon, self.sun
        outer = [("192.168.0.1/24", "192.168.0.2/24"), ("fec0::1/64", "fec0::2/64")]
        inner = [("192.168.77.1/24", "192.168.77.2/24"), ("fec0:77::1/64", "fec0:77::2/64")]
        wire(moon, sun, addresses=outer)
        wire(moon, self.lan, "lan0", inner)
        self.uplink()
        has(moon, "10.1.0.1/16", "fd00:1::1/128")
        has(sun, "198.51.100.1/32", "2001:db8::1/128")
        sun.run("sh", "-c", "ip route add 10.1.0.0/16 dev lo table 7; ip link add xfrm0 type xfrm if_id 42; ip link set xfrm0 up;"
                            "ip route add 10.1.0.0/16 dev xfrm0; ip route add fd00:1::/32 dev xfrm0")  # fmt: skip
        suns = SWANCTL % ("%any", "%any", "sun", "moon", ALL, MINE, "/bin/true")
        sun.charon(swanctl=suns, charon=DEFAULTS)
        hook = f'"{HOOK} --route 0.0.0.0/0 --route ::/0"'
        moons = SWANCTL % ("%any", "192.168.0.2", "moon", "sun", MINE, ALL, hook)
        moon.charon(swanctl=moons, charon=DEFAULTS)

    def uplink(self) -> None:
        self.moon.run("ip", "route", "replace", "default", "via", "192.168.0.2")
        self.moon.run("ip", "route", "replace", "default", "via", "fec0::2")

    def start(self) -> None:
        assert all("gw: xfrm42 up" in line for line in self.up("gw", 2))

    def end(self) -> None:
        assert "gw: xfrm42 down" in self.down("gw", 2)[-1]

    def internet(self) -> None:
        """Packets to everywhere, in both families, go through the tunnel and come back."""
        for address, source in (("198.51.100.1", "10.1.0.1"), ("2001:db8::1", "fd00:1::1")):
            assert self.moon.ping(address, source=source) == 3


site = AllTraffic.fixture()


def test_everything_goes_through_the_tunnel_but_the_lan(site: AllTraffic) -> None:
    """Not one clear packet is on the uplink, in both families; the LAN answers all the same."""
    site.start()
    with Capture(site.moon, "eth0", "host 198.51.100.1 or host 2001:db8::1") as clear:
        with Capture(site.moon, "eth0", "esp or udp port 4500") as esp:
            site.internet()
        assert site.moon.ping("192.168.77.2") == 3 and site.moon.ping("fec0:77::2") == 3
    assert (clear.count, esp.count) == (0, 12)
    assert site.moon.counters("xfrm42") == (6, 6)
    site.end()


def test_ike_stays_outside_while_the_uplink_comes_and_goes(site: AllTraffic) -> None:
    """With install_routes = yes and MOBIKE: no IKE packet enters the tunnel, and it carries packets
    again afterwards.
    """
    moon = site.moon
    site.start()
    with Capture(moon, "xfrm42", "udp port 500 or udp port 4500") as inside:
        moon.run("ip", "link", "set", "eth0", "down")
        time.sleep(4)
        moon.run("sh", "-c", "ip link set eth0 up; ip addr del 192.168.0.1/24 dev eth0; ip addr add 192.168.0.11/24 dev eth0;"
                             "ip addr replace fec0::1/64 dev eth0 nodad")  # fmt: skip
        site.uplink()
        moon.until("swanctl --list-sas | grep -q \"local  'moon' @ 192.168.0.11\"")
        moon.until("ping -n -q -c 1 -W 1 -I 10.1.0.1 198.51.100.1 >/dev/null")
        site.internet()
    assert inside.lines == []
    site.end()
    moon.run(
        "sh", "-c", "ip addr del 192.168.0.11/24 dev eth0; ip addr add 192.168.0.1/24 dev eth0"
    )
    site.uplink()
