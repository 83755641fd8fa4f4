"""Two gateways that offer one network: the newest has it and the other has it back, or metrics choose."""

from collections.abc import Iterator

import pytest

from hosts import HOOK, Host, Stream, wire

from .conftest import Calls, Figures, nothing_left

SECRETS = 'moon sun pluto : PSK "for tests only"\n'
CONN = """
conn {peer}
    left=192.168.{net}.1
    leftid=moon
    leftauth=psk
    leftsubnet=10.1.0.0/16
    leftupdown="{hook}"
    right=192.168.{net}.2
    rightid={peer}
    rightauth=psk
    rightsubnet=10.2.0.0/16
    mark={net}
    auto=add
"""
PEER = """
config setup

conn moon
    left=192.168.{net}.2
    leftid={peer}
    leftauth=psk
    leftsubnet=10.2.0.0/16
    right=192.168.{net}.1
    rightid=moon
    rightauth=psk
    rightsubnet=10.1.0.0/16
    auto=add
"""
NO_ROUTES = "charon {\n    install_routes = no\n}\n"


class Site:
    """moon has an uplink to each of sun (192.168.1.2) and pluto (192.168.2.2); 10.2.0.1 is behind both."""

    def __init__(self, moon: Host, sun: Host, pluto: Host) -> None:
        self.moon = moon
        self.calls = Calls(moon)
        moon.run("ip", "addr", "add", "10.1.0.1/16", "dev", "lo")
        for net, peer in ((1, sun), (2, pluto)):
            wire(moon, peer, f"wan{net}", [(f"192.168.{net}.1/24", f"192.168.{net}.2/24")])
            peer.run("ip", "addr", "add", "10.2.0.1/16", "dev", "lo")
            peer.charon(conf=PEER.format(net=net, peer=peer.name), secrets=SECRETS)
            peer.run("ip", "route", "add", "10.1.0.0/16", "via", f"192.168.{net}.1")
        conf = "\nconfig setup\n" + CONN.format(peer="sun", net=1, hook=HOOK)
        conf += CONN.format(peer="pluto", net=2, hook=HOOK)
        conf += CONN.format(peer="sun", net=1, hook=f"{HOOK} --metric 10").replace("conn sun", "conn first")
        conf += CONN.format(peer="pluto", net=2, hook=f"{HOOK} --metric 20").replace("conn pluto", "conn second")
        moon.charon(conf=conf, secrets=SECRETS, charon=NO_ROUTES)

    def up(self, name: str) -> str:
        self.moon.run("swanctl", "--initiate", "--child", name)
        return self.calls.events(1)[0]

    def down(self, name: str) -> str:
        self.moon.run("swanctl", "--terminate", "--child", name)
        return self.calls.events(1)[0]

    def way(self) -> str:
        return self.moon.run("ip", "route", "get", "10.2.0.1").split(" dev ")[1].split()[0]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Host("moon") as moon, Host("sun") as sun, Host("pluto") as pluto:
        yield Site(moon, sun, pluto)


@pytest.mark.parametrize(
    ("first", "second", "both"), [("sun", "pluto", "pluto"), ("first", "second", "first")], ids=["newest", "metrics"]
)
def test_either_of_two_gateways_takes_over(site: Site, figures: Figures, first: str, second: str, both: str) -> None:
    """While both are up one of them has the route; when that goes, the other has it, and few packets are lost."""
    before = site.moon.network_state()
    names = {first: site.up(first).split()[1], second: ""}
    with Stream(site.moon, "10.1.0.1", "10.2.0.1") as stream:
        names[second] = site.up(second).split()[1]
        assert site.way() == names[both]
        site.down(both)
        other = first if both == second else second
        assert site.way() == names[other]
        assert site.moon.ping("10.2.0.1", source="10.1.0.1") == 3
    figures.add(f"the gateway that has the route goes, the other has it ({first})", stream)
    assert stream.tail == 0
    site.down(other)
    nothing_left(site.moon, before)
