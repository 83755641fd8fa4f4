"""The hook on a gateway for road warriors, gate: alice and bob reach it from behind one NAT. Neither of them has a hook."""

from collections.abc import Iterator

import pytest

from hosts import HOOK, Host, Stream, wire

from .conftest import Calls, Figures, behind_nat, nothing_left

SECRETS = 'alice bob gate : PSK "for tests only"\n'

# gate gives a silent peer up soon; the peers wait for gate, which answers an IKE_AUTH only when its hook is done.
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


class Gateway:
    """gate is 192.168.7.2 with 10.2.0.1 behind it; alice and bob are behind nat, which is 192.168.7.1 to it."""

    def __init__(self, gate: Host, nat: Host, alice: Host, bob: Host, **configured: str) -> None:
        self.gate, self.nat, self.alice, self.bob = gate, nat, alice, bob
        self.calls = Calls(gate)
        self.before = ""
        wire(nat, gate, addresses=[("192.168.7.1/24", "192.168.7.2/24")])
        gate.run("ip", "addr", "add", "10.2.0.1/16", "dev", "lo")
        behind_nat(nat, alice, bob)
        files = configured or {"conf": GATE_CONF, "secrets": SECRETS}
        gate.charon(**files, charon=CHARON % ("    install_routes = no", 2))
        self.start(alice)
        self.start(bob)

    def start(self, peer: Host) -> None:
        ip = "10.3.0.1" if peer is self.alice else "10.3.0.2"
        peer.charon(conf=PEER_CONF.format(name=peer.name, ip=ip), secrets=SECRETS, charon=CHARON % ("", 30))

    def initiate(self, peer: Host) -> list[str]:
        done = peer.call("swanctl", "--initiate", "--child", "gate")
        assert done.returncode == 0, (done.stdout, self.gate.log()[-4000:])
        return self.calls.events(1)

    def stream(self) -> Stream:
        return Stream(self.alice, "10.3.0.1", "10.2.0.1")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Host("gate") as gate, Host("nat") as nat, Host("alice") as alice, Host("bob") as bob:
        yield Gateway(gate, nat, alice, bob)


@pytest.fixture(autouse=True)
def as_before(gateway: Gateway) -> Iterator[None]:
    """The test has to leave gate as it found it."""
    before = gateway.gate.network_state()
    yield
    nothing_left(gateway.gate, before)


def test_second_peer_behind_one_nat_is_refused(gateway: Gateway, figures: Figures) -> None:
    """A second peer behind the same address is refused with a line that says why, and the first one loses no packet."""
    assert " up, 192.168.7.2 → 192.168.7.1," in gateway.initiate(gateway.alice)[0]
    with gateway.stream() as alice:
        (refusal,) = gateway.initiate(gateway.bob)
        gateway.bob.run("swanctl", "--terminate", "--ike", "gate")
        (ended,) = gateway.calls.events(1)
    figures.add("a second peer behind one NAT comes and goes", alice)
    assert refusal.startswith("error: rw: rw holds vti")
    assert refusal.endswith("; use if_id")
    assert ended == "rw: its up had failed, nothing to take away"
    assert alice.lost == 0
    gateway.alice.run("swanctl", "--terminate", "--ike", "gate")
    assert " down, 192.168.7.2 → 192.168.7.1" in gateway.calls.events(1)[0]


def test_road_warrior_back_from_a_new_address(gateway: Gateway, figures: Figures) -> None:
    """Back from a new address with his old virtual IP, a road warrior keeps his packets when the old SA goes."""
    assert " up, 192.168.7.2 → 192.168.7.1," in gateway.initiate(gateway.alice)[0]
    (old,) = gateway.gate.sas("rw")[0]
    gateway.alice.kill_charon()
    gateway.alice.run("sh", "-c", "ip xfrm state flush; ip xfrm policy flush; ip addr flush dev lan1; ip route flush table 220")
    gateway.alice.run("ip", "addr", "add", "10.66.1.2/24", "dev", "lan1")
    gateway.alice.run("ip", "route", "add", "default", "via", "10.66.1.1")
    gateway.nat.run("ip", "addr", "del", "192.168.7.1/24", "dev", "eth0")
    gateway.nat.run("ip", "addr", "add", "192.168.7.11/24", "dev", "eth0")
    gateway.start(gateway.alice)
    assert " up, 192.168.7.2 → 192.168.7.11," in gateway.initiate(gateway.alice)[0]
    with gateway.stream() as alice:
        # As when dead peer detection gives it up, but not before the new one is there.
        gateway.gate.run("swanctl", "--terminate", "--ike-id", str(old), check=False)
        assert " down, 192.168.7.2 → 192.168.7.1" in gateway.calls.events(1)[0]
    figures.add("a road warrior is back, his old SA goes", alice)
    assert alice.lost == 0
    gateway.alice.run("swanctl", "--terminate", "--ike", "gate")
    assert " down, 192.168.7.2 → 192.168.7.11" in gateway.calls.events(1)[0]
