"""A full tunnel by one uplink beside a site-to-site tunnel by the other, as a user's rules say.

The router drops what comes in by the wrong uplink.
"""

import pytest

from support.capture import Capture
from support.host import wire
from support.namespaces import HOOK
from support.site import Site, forwards, has

SWANCTL = """
connections {
    NAME {
        local_addrs = LOCAL
        remote_addrs = REMOTE
        encap = ENCAP
        mobike = no
        local {
            id = MINE
            auth = psk
        }
        remote {
            id = ITS
            auth = psk
        }
        children {
            NAME {
                local_ts = LOCAL_TS
                remote_ts = REMOTE_TS
                REST
            }
        }
    }
}
"""
SECRETS = 'secrets {\n    ike-all {\n        secret = "for tests only"\n    }\n}\n'
CHARON = "charon {\n    install_routes = no\n}\n"
LAN = "10.1.0.0/16"
OFFICE, ALL = "10.9.0.0/16", "0.0.0.0/0"
WAN1, WAN2 = "192.0.2.1", "198.51.100.1"
SUN, BRANCH = "203.0.113.1", "203.0.114.1"
INTERNET = "203.0.115.9"
CLEAR = "not esp and not udp port 500 and not udp port 4500 and not arp and not ip6"
# IKE's own packets have four zero bytes first; a keep-alive has one byte.
ESP_IN_UDP = "udp port 4500 and udp[8:4] != 0 and udp[4:2] > 12"
SENDS = """
import socket, sys
for port in (500, 4500, 5000):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("10.1.0.9", port))
        for address in sys.argv[1:]:
            sender.sendto(b"in clear", (address, 9))
"""
ESP_RULE = "pref 15000 iif lo ipproto esp goto 15004 proto 50"

pytestmark = pytest.mark.usefixtures("as_before")


def connection(name: str, local: str, remote: str, **words: str) -> str:
    """One connection of swanctl.conf."""
    text = SWANCTL.replace("NAME", name)
    values = {"LOCAL_TS": LAN, "REMOTE_TS": ALL, "ENCAP": "no", "REST": "", **words}
    values |= {"LOCAL": local, "REMOTE": remote}
    for word in sorted(values, key=len, reverse=True):
        text = text.replace(word, values[word])
    return text


class TwoUplinks(Site):
    """moon has two uplinks to a router, and a LAN; sun has the internet, branch has the office."""

    HOSTS = ("moon", "router", "sun", "branch", "lan")

    def set_up(self) -> None:
        moon, router = self.moon, self.router
        wire(moon, router, "wan1", [(f"{WAN1}/24", "192.0.2.254/24")])
        wire(moon, router, "wan2", [(f"{WAN2}/24", "198.51.100.254/24")])
        wire(self.sun, router, "eth0", [(f"{SUN}/24", "203.0.113.254/24")])
        wire(self.branch, router, "eth1", [(f"{BRANCH}/24", "203.0.114.254/24")])
        wire(moon, self.lan, "lan0", [("10.1.0.1/16", "10.1.0.9/16")])
        forwards(moon, router)
        router.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
        moon.run("ip", "rule", "add", "from", WAN2, "lookup", "202")
        moon.run("ip", "route", "add", "unreachable", "default", "metric", "9999", "table", "202")
        self.uplinks()
        for host, hop in (
            (self.sun, "203.0.113.254"),
            (self.branch, "203.0.114.254"),
            (self.lan, "10.1.0.1"),
        ):
            host.run("ip", "route", "add", "default", "via", hop)
        has(self.sun, f"{INTERNET}/32")
        has(self.branch, "10.9.0.1/16")
        self.charons()

    def uplinks(self) -> None:
        """Where moon's packets go without a tunnel."""
        self.moon.run("ip", "route", "replace", "default", "via", "192.0.2.254")
        self.moon.run("ip", "route", "replace", "default", "via", "198.51.100.254", "table", "202")

    def charons(self) -> None:
        ends = {"MINE": "moon", "ITS": "sun"}
        full = f'mark_in = 42\nmark_out = 42\nupdown = "{HOOK} --route {ALL}"'
        office = f'if_id_in = 7\nif_id_out = 7\nupdown = "{HOOK}"'
        moons = connection("full", WAN2, SUN, **ends, REST=full)
        moons += connection(
            "office",
            WAN1,
            BRANCH,
            MINE="moon",
            ITS="branch",
            REMOTE_TS=OFFICE,
            ENCAP="yes",
            REST=office,
        )
        self.moon.charon(swanctl=moons + SECRETS, charon=CHARON)
        suns = connection("full", SUN, "%any", MINE="sun", ITS="moon", LOCAL_TS=ALL, REMOTE_TS=LAN)
        self.sun.charon(swanctl=suns + SECRETS, charon=CHARON)
        branchs = connection(
            "office", BRANCH, "%any", MINE="branch", ITS="moon", LOCAL_TS=OFFICE, REMOTE_TS=LAN
        )
        self.branch.charon(swanctl=branchs + SECRETS, charon=CHARON)

    def office_passes(self) -> None:
        """By WAN 1, in UDP, from moon and from its LAN."""
        self._passes("10.9.0.1", "wan1", ESP_IN_UDP)

    def internet_passes(self) -> None:
        """By WAN 2, in ESP."""
        self._passes(INTERNET, "wan2", "esp")

    def _passes(self, address: str, uplink: str, outer: str) -> None:
        with Capture(self.moon, uplink, outer) as carried:
            assert self.moon.ping(address, source="10.1.0.1") == 3
            assert self.lan.ping(address) == 3
        assert carried.count == 12

    def nothing_is_clear(self) -> None:
        """What the LAN sends to the internet and to a peer, from whatever port."""
        clear = f"host 10.1.0.9 or ({CLEAR})"
        captured = Capture(self.router, "wan1", clear), Capture(self.router, "wan2", clear)
        with captured[0] as first, captured[1] as second:
            self.lan.run("python3", "-c", SENDS, INTERNET, SUN)
        assert (first.lines, second.lines) == ([], [])


site = TwoUplinks.fixture()


@pytest.mark.parametrize("first", ["office", "full"])
def test_a_full_tunnel_beside_a_site_tunnel(site: TwoUplinks, first: str) -> None:
    """In either order of coming and going, each by its own uplink."""
    second = "full" if first == "office" else "office"
    for child in (first, second):
        site.up(child)
    site.office_passes()
    site.internet_passes()
    site.nothing_is_clear()
    site.down(first)
    if first == "full":
        site.office_passes()
    else:
        site.internet_passes()
    site.down(second)


def test_outer_packets_keep_their_way_on_an_old_kernel(site: TwoUplinks) -> None:
    """Before Linux 6.1.115 no rule for ESP matches: each peer's own route does it."""
    site.up("office")
    site.up("full")
    site.moon.run("ip", "rule", "del", *ESP_RULE.split())
    site.office_passes()
    site.internet_passes()
    site.nothing_is_clear()
    site.moon.run("ip", "rule", "add", *ESP_RULE.split())
    site.down("office")
    site.internet_passes()
    site.down("full")


def test_outer_packets_keep_their_way_while_an_uplink_comes_and_goes(site: TwoUplinks) -> None:
    """The user's table says that nothing goes by the other one meanwhile, and nothing does.

    All of it comes back, and rekeys change nothing.
    """
    site.up("office")
    site.up("full")
    with Capture(site.moon, "wan1", f"host {SUN}") as astray:
        site.moon.run("ip", "link", "set", "wan2", "down")
        assert site.moon.ping(INTERNET, source="10.1.0.1") == 0
        site.office_passes()
        site.moon.run("ip", "link", "set", "wan2", "up")
        site.uplinks()
        site.moon.until(f"ping -n -q -c 1 -W 1 -I 10.1.0.1 {INTERNET} >/dev/null")
    assert astray.lines == []
    for connection_name in ("full", "office"):
        site.moon.rekey(connection_name, "child")
        site.moon.rekey(connection_name, "ike")
    site.calls.forget()
    site.office_passes()
    site.internet_passes()
    site.down("full")
    site.office_passes()
    site.down("office")
