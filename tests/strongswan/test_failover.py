"""Two gateways that offer one network: the newest has it and the other has it back, or metrics
choose.
"""

import pytest

from support.host import wire
from support.namespaces import HOOK
from support.site import Site, has, way
from support.stream import Stream

from .conftest import Figures

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


class TwoGateways(Site):
    """moon has an uplink to each of sun (192.168.1.2) and pluto (192.168.2.2); 10.2.0.1 is behind
    both.
    """

    HOSTS = ("moon", "sun", "pluto")

    def set_up(self) -> None:
        has(self.moon, "10.1.0.1/16")
        for net, peer in ((1, self.sun), (2, self.pluto)):
            wire(self.moon, peer, f"wan{net}", [(f"192.168.{net}.1/24", f"192.168.{net}.2/24")])
            has(peer, "10.2.0.1/16")
            peer.charon(conf=PEER.format(net=net, peer=peer.name), secrets=SECRETS)
            peer.run("ip", "route", "add", "10.1.0.0/16", "via", f"192.168.{net}.1")
        conf = "\nconfig setup\n" + CONN.format(peer="sun", net=1, hook=HOOK)
        conf += CONN.format(peer="pluto", net=2, hook=HOOK)
        first = CONN.format(peer="sun", net=1, hook=f"{HOOK} --metric 10")
        second = CONN.format(peer="pluto", net=2, hook=f"{HOOK} --metric 20")
        conf += first.replace("conn sun", "conn first")
        conf += second.replace("conn pluto", "conn second")
        self.moon.charon(conf=conf, secrets=SECRETS, charon=NO_ROUTES)

    def link(self, name: str) -> str:
        """The link that the hook makes when a CHILD_SA comes up."""
        return self.up(name)[0].split()[1]

    def end(self, name: str) -> None:
        """Ends the CHILD_SA."""
        self.moon.run("swanctl", "--terminate", "--child", name)
        self.events(1)


site = TwoGateways.fixture()


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize(
    ("first", "second", "both"),
    [("sun", "pluto", "pluto"), ("first", "second", "first")],
    ids=["newest", "metrics"],
)
def test_either_of_two_gateways_takes_over(
    site: TwoGateways, figures: Figures, first: str, second: str, both: str
) -> None:
    """While both are up one of them has the route; when that goes, the other has it, and few
    packets are lost.
    """
    names = {first: site.link(first), second: ""}
    with Stream(site.moon, "10.1.0.1", "10.2.0.1") as stream:
        names[second] = site.link(second)
        assert way(site.moon, "10.2.0.1") == names[both]
        site.end(both)
        other = first if both == second else second
        assert way(site.moon, "10.2.0.1") == names[other]
        assert site.moon.ping("10.2.0.1", source="10.1.0.1") == 3
    figures.add(f"the gateway that has the route goes, the other has it ({first})", stream)
    assert stream.tail == 0
    site.end(other)
