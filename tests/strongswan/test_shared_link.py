"""One link of a gateway for all its road warriors, who are behind one NAT: a VTI with `remote any`, or an XFRM interface."""

from collections.abc import Iterator

import pytest

from hosts import HOOK, Capture, Host

from .conftest import nothing_left
from .test_gateway import GATE_CONF, SECRETS, Gateway

VTI = {
    "conf": GATE_CONF.replace("mark=%unique", "mark=42").replace(f"leftupdown={HOOK}", f'leftupdown="{HOOK} --remote any"'),
    "secrets": SECRETS,
}
XFRM = {
    "swanctl": f"""
connections {{
    rw {{
        local_addrs = 192.168.7.2
        unique = never
        pools = road
        local {{
            id = gate
            auth = psk
        }}
        remote {{
            auth = psk
        }}
        children {{
            rw {{
                local_ts = 10.2.0.0/16
                if_id_in = 42
                if_id_out = 42
                updown = {HOOK}
            }}
        }}
    }}
}}
pools {{
    road {{
        addrs = 10.3.0.1-10.3.0.9
    }}
}}
secrets {{
    ike-all {{
        secret = "for tests only"
    }}
}}
"""
}


@pytest.fixture(scope="module", params=[VTI, XFRM], ids=["vti", "xfrm"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with Host("gate") as gate, Host("nat") as nat, Host("alice") as alice, Host("bob") as bob:
        yield Gateway(gate, nat, alice, bob, **request.param)


def test_two_peers_behind_one_nat_share_a_link_and_go_in_either_order(gateway: Gateway) -> None:
    """Each has his packets in both directions while the other comes and goes; the last one takes the link."""
    gate = gateway.gate
    before = gate.network_state()
    (up,) = gateway.initiate(gateway.alice)
    name = up.split()[1]
    assert name in ("vti1", "xfrm42") and up.endswith(", 10.3.0.1/32")
    gateway.initiate(gateway.bob)
    with Capture(gate, "eth0", "udp port 4500 and udp[8:4] != 0") as wire:  # ESP in UDP
        for peer, ip in ((gateway.alice, "10.3.0.1"), (gateway.bob, "10.3.0.2")):
            assert peer.ping("10.2.0.1") == 3
            assert gate.ping(ip, source="10.2.0.1") == 3
    assert wire.count == 24
    assert gate.counters(name) == (12, 12)
    gateway.alice.run("swanctl", "--terminate", "--ike", "gate")
    (down,) = gateway.calls.events(1)
    assert down == f"rw: {name} stays, held by 1 more, without 10.3.0.1/32"
    assert gateway.bob.ping("10.2.0.1") == 3
    gateway.bob.run("swanctl", "--terminate", "--ike", "gate")
    assert f"rw: {name} down, " in gateway.calls.events(1)[0]
    nothing_left(gate, before)
