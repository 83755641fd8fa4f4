"""The default MTU: large transfers pass both ways in both families, and what is too long is told
where it is sent.

desk is a host of moon's LAN, and moon a gateway with the hook; sun is one without. Between them is
nat, which changes one of moon's two IPv4 addresses and forwards the other and IPv6 as they are.
"""

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from support.capture import Capture
from support.host import Host, wire
from support.namespaces import HOOK
from support.site import Site, default_route, forwards, has
from vti_updown.wishes.mtu import inner_mtu

TRANSFER = str(Path(__file__).parent / "transfer.py")
PORT = "7000"
BYTES = 2_000_000
ETHERNET_MTU = 1500
HEADERS = {4: 20 + 8, 6: 40 + 8}
"""Of a ping, by family (RFC 791, RFC 792, RFC 8200, RFC 4443)."""
SUNS = {4: "10.2.0.1", 6: "fd00:2::1"}
SECRETS = ': PSK "for tests only"\n'
CHARON = "charon {\n install_routes = no\n install_virtual_ip = no\n}\n"
NATTED, FORWARDED, IPV6 = "192.168.6.2", "192.168.6.3", "fec1::2"
LONGEST = "aes256-sha512"
"""The most bytes for an IV, padding and a check value."""


class Way(NamedTuple):
    """A way to sun; its name is the connection's, the CHILD_SA's and moon's identity."""

    name: str
    left: str
    cipher: str
    mark: int
    """With swanctl.conf, the if_id."""
    swanctl: bool = False

    @property
    def outer(self) -> int:
        return 6 if ":" in self.left else 4

    @property
    def right(self) -> str:
        return "fec2::2" if self.outer == 6 else "192.168.8.2"


PATHS = [
    Way("nat-cbc", NATTED, LONGEST, 11),
    Way("nat-gcm", NATTED, "aes128gcm16", 12),
    Way("cbc", FORWARDED, LONGEST, 13),
    Way("gcm", FORWARDED, "aes128gcm16", 14),
    Way("ipv6-cbc", IPV6, LONGEST, 15),
    Way("ipv6-gcm", IPV6, "aes128gcm16", 16),
    Way("xfrm-nat-cbc", NATTED, LONGEST, 17, swanctl=True),
]
QUICK = ("nat-cbc",)
SUBNETS = "10.7.0.0/24,fd00:7::/64"
BEHIND_SUN = "10.2.0.0/16,fd00:2::/64"


def ipsec_conf(moon: bool) -> str:
    text = "config setup\n uniqueids=no\n\nconn %default\n authby=psk\n auto=add\n"
    for path in PATHS:
        if moon and path.swanctl:
            continue
        left, right = ("left", "right") if moon else ("right", "left")
        ends = (
            f" left={path.left}\n right={path.right}\n"
            if moon
            else f" left={path.right}\n right=%any\n"
        )
        own = f' leftupdown="{HOOK} --mss path"\n mark={path.mark}\n' if moon else ""
        text += (
            f"\nconn {path.name}\n{ends} {left}id={path.name}\n {right}id=sun\n {left}subnet={SUBNETS}\n"
            f" {right}subnet={BEHIND_SUN}\n esp={path.cipher}!\n{own}"
        )
    return text


def swanctl_conf() -> str:
    connections = "".join(
        f"""
    {path.name} {{
        local_addrs = {path.left}
        remote_addrs = {path.right}
        local {{
            auth = psk
            id = {path.name}
        }}
        remote {{
            auth = psk
            id = sun
        }}
        children {{
            {path.name} {{
                local_ts = {SUBNETS}
                remote_ts = {BEHIND_SUN}
                esp_proposals = {path.cipher}
                if_id_in = {path.mark}
                if_id_out = {path.mark}
                updown = {HOOK} --mss path
            }}
        }}
    }}"""
        for path in PATHS
        if path.swanctl
    )
    return f"connections {{{connections}\n}}\n"


class SmallPath(Site):
    """moon, which is a gateway of desk, and behind nat sun."""

    HOSTS = ("moon", "desk", "nat", "sun")

    def set_up(self) -> None:
        moon, desk, nat, sun = self.moon, self.desk, self.nat, self.sun
        wire(desk, moon, "lan0", [("10.7.0.2/24", "10.7.0.1/24"), ("fd00:7::2/64", "fd00:7::1/64")])
        wire(moon, nat, "eth0", [(f"{NATTED}/24", "192.168.6.1/24"), (f"{IPV6}/64", "fec1::1/64")])
        wire(nat, sun, "eth1", [("192.168.8.1/24", "192.168.8.2/24"), ("fec2::1/64", "fec2::2/64")])
        has(moon, f"{FORWARDED}/24", link="eth0")
        has(sun, "10.2.0.1/16", "fd00:2::1/64")
        forwards(moon, nat)
        default_route(desk, "10.7.0.1", "fd00:7::1")
        default_route(moon, "192.168.6.1", "fec1::1")
        default_route(sun, "192.168.8.1", "fec2::1")
        nat.run("nft", "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; };"
                       f"add rule ip nat out oifname eth1 ip saddr {NATTED} masquerade")  # fmt: skip
        # Nobody tells desk what the path takes: only the clamped MSS keeps its packets short
        # enough.
        desk.run("nft", "add table inet deaf; add chain inet deaf in { type filter hook input priority 0; };"
                        "add rule inet deaf in icmp type destination-unreachable drop;"
                        "add rule inet deaf in icmpv6 type packet-too-big drop")  # fmt: skip
        sun.charon(conf=ipsec_conf(moon=False), secrets=SECRETS, charon="charon {\n}\n")
        moon.charon(conf=ipsec_conf(moon=True), secrets=SECRETS, charon=CHARON)
        moon.file("/etc/swanctl/swanctl.conf", swanctl_conf(), 0o600)
        moon.run("swanctl", "--load-all")
        sun.start(sys.executable, TRANSFER, "serve", PORT)
        sun.until(f"ss -Hltn | grep -q :{PORT}")


site = SmallPath.fixture()


def ping(host: Host, address: str, size: int) -> tuple[int, str]:
    """Two pings whose whole packets have `size` bytes and may not be cut; how many were answered,
    and what it said.
    """
    family = 6 if ":" in address else 4
    data = size - HEADERS[family]
    said = host.run(*f"ping -n -M do -i 0.2 -W 2 -c 2 -s {data} {address}".split(), check=False)
    found = re.search(r"(\d+) received", said)
    return int(found[1]) if found else 0, said


def fetched(host: Host, address: str) -> int:
    """Bytes that came back of those that were sent."""
    return int(host.run(sys.executable, TRANSFER, "fetch", address, PORT, str(BYTES), timeout=300))


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=() if path.name in QUICK else pytest.mark.slow, id=path.name)
        for path in PATHS
    ],
)
def test_what_the_mtu_allows_passes_and_what_it_does_not_is_told(
    site: SmallPath, path: Way
) -> None:
    """2 MB each way in each family, from moon and from desk; a ping of the MTU passes, one byte
    more is refused at once.
    """
    moon = site.moon
    link = site.up(path.name, 2)[0].split(" ")[1]
    assert ("-in-UDP" in moon.run("swanctl", "--list-sas")) == (path.left == NATTED)
    (shown,) = json.loads(moon.run("ip", "-j", "link", "show", link))
    mtu = shown["mtu"]
    assert mtu == inner_mtu(ETHERNET_MTU, path.outer)
    with Capture(moon, "eth0", "ip[6:2] & 0x3fff != 0 or ip6[6] = 44") as fragments:
        for address in SUNS.values():
            assert ping(moon, address, mtu)[0] == 2
            count, said = ping(moon, address, mtu + 1)
            assert count == 0
            assert "essage too long" in said
            assert fetched(moon, address) == BYTES
            assert fetched(site.desk, address) == BYTES
    assert fragments.lines == []
    assert " down, " in site.down(path.name, 2)[1]
