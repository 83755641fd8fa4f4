"""The hook on a gateway for road warriors, gate: alice and bob reach it from behind one NAT.

Neither of them has a hook.
"""

import pytest

from support.host import Host, wire
from support.namespaces import HOOK
from support.site import Site, behind_nat, default_route, has
from support.stream import Stream

from .conftest import Figures

SECRETS = 'alice bob gate : PSK "for tests only"\n'

# gate gives a silent peer up soon; the peers wait for gate, which answers an IKE_AUTH only when its
# hook is done.
CHARON = """charon {
%s
    retransmit_timeout = %s
    retransmit_tries = 1
    retransmit_base = 1
}
"""
GATE_CONF = f"""
config setup
    uniqueids=no

conn rw
    left=192.168.7.2
    leftid=gate
    leftauth=psk
    leftsubnet=10.2.0.0/16
    leftupdown={HOOK}
    right=%any
    rightid=%any
    rightauth=psk
    rightsourceip=%config
    mark=%unique
    auto=add
"""
PEER_CONF = """
config setup
    uniqueids=never

conn gate
    left=%defaultroute
    leftid={name}
    leftauth=psk
    leftsourceip={ip}
    right=192.168.7.2
    rightid=gate
    rightauth=psk
    rightsubnet=10.2.0.0/16
    auto=add
"""


pytestmark = pytest.mark.usefixtures("as_before")


class Gateway(Site):
    """gate is 192.168.7.2 with 10.2.0.1 behind it; alice and bob are behind nat, which is
    192.168.7.1 to it.
    """

    HOSTS = ("gate", "nat", "alice", "bob")

    def __init__(self, **configured: str) -> None:
        super().__init__()
        self._files = configured or {"conf": GATE_CONF, "secrets": SECRETS}

    def set_up(self) -> None:
        wire(self.nat, self.gate, addresses=[("192.168.7.1/24", "192.168.7.2/24")])
        has(self.gate, "10.2.0.1/16")
        behind_nat(self.nat, self.alice, self.bob)
        self.gate.charon(**self._files, charon=CHARON % ("    install_routes = no", 2))
        self.start(self.alice)
        self.start(self.bob)

    def start(self, peer: Host) -> None:
        ip = "10.3.0.1" if peer is self.alice else "10.3.0.2"
        conf = PEER_CONF.format(name=peer.name, ip=ip)
        peer.charon(conf=conf, secrets=SECRETS, charon=CHARON % ("", 30))

    def initiate(self, peer: Host) -> str:
        """A peer comes; what the hook says to it."""
        done = peer.call("swanctl", "--initiate", "--child", "gate")
        assert done.returncode == 0, (done.stdout, self.gate.log()[-4000:])
        return self.events(1)[0]

    def leave(self, peer: Host) -> str:
        """A peer goes; what the hook says to it."""
        peer.run("swanctl", "--terminate", "--ike", "gate")
        return self.events(1)[0]

    def stream(self) -> Stream:
        return Stream(self.alice, "10.3.0.1", "10.2.0.1")


site = Gateway.fixture()


def test_second_peer_behind_one_nat_is_refused(site: Gateway, figures: Figures) -> None:
    """A second peer behind the same address is refused with a line that says why, and the first one
    loses no packet.
    """
    assert " up, 192.168.7.2 → 192.168.7.1," in site.initiate(site.alice)
    with site.stream() as alice:
        refusal = site.initiate(site.bob)
        ended = site.leave(site.bob)
    figures.add("a second peer behind one NAT comes and goes", alice)
    assert refusal.startswith("error: rw: rw holds vti")
    assert refusal.endswith("; give both one mark, or use if_id")
    assert ended == "rw: its up had failed, nothing to take away"
    assert alice.lost == 0
    assert " down, 192.168.7.2 → 192.168.7.1" in site.leave(site.alice)


def test_road_warrior_back_from_a_new_address(site: Gateway, figures: Figures) -> None:
    """Back from a new address with his old virtual IP, a road warrior keeps his packets when the
    old SA goes.
    """
    assert " up, 192.168.7.2 → 192.168.7.1," in site.initiate(site.alice)
    (old,) = site.gate.sas("rw")[0]
    site.alice.kill_charon()
    site.alice.run(
        "sh",
        "-c",
        "ip xfrm state flush; ip xfrm policy flush; ip addr flush dev lan1; ip route flush table 220",
    )
    has(site.alice, "10.66.1.2/24", link="lan1")
    default_route(site.alice, "10.66.1.1")
    site.nat.run("ip", "addr", "del", "192.168.7.1/24", "dev", "eth0")
    has(site.nat, "192.168.7.11/24", link="eth0")
    site.start(site.alice)
    assert " up, 192.168.7.2 → 192.168.7.11," in site.initiate(site.alice)
    with site.stream() as alice:
        # As when dead peer detection gives it up, but not before the new one is there.
        site.gate.run("swanctl", "--terminate", "--ike-id", str(old), check=False)
        assert " down, 192.168.7.2 → 192.168.7.1" in site.events(1)[0]
    figures.add("a road warrior is back, his old SA goes", alice)
    assert alice.lost == 0
    assert " down, 192.168.7.2 → 192.168.7.11" in site.leave(site.alice)
