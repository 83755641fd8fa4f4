"""One link of a gateway for all its road warriors, who are behind one NAT: a VTI with `remote any`,
or an XFRM interface.
"""

from collections.abc import Iterator

import pytest

from support.capture import Capture
from support.namespaces import HOOK
from support.slow import slow_but

from .test_gateway import GATE_CONF, SECRETS, Gateway

VTI = {
    "conf": GATE_CONF.replace("mark=%unique", "mark=42").replace(
        f"leftupdown={HOOK}", f'leftupdown="{HOOK} --remote any"'
    ),
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


@pytest.fixture(scope="module", params=slow_but([XFRM], [VTI, XFRM]), ids=["vti", "xfrm"])
def site(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with Gateway(**request.param) as site:
        yield site


@pytest.mark.usefixtures("as_before")
def test_two_peers_behind_one_nat_share_a_link(site: Gateway) -> None:
    """Each has his packets in both directions while the other comes and goes; the last one takes
    the link.
    """
    gate, alice, bob = site.gate, site.alice, site.bob
    up = site.initiate(alice)
    name = up.split()[1]
    assert name in ("vti1", "xfrm42") and up.endswith(", 10.3.0.1/32")
    site.initiate(bob)
    with Capture(gate, "eth0", "udp port 4500 and udp[8:4] != 0") as wire:  # ESP in UDP
        for peer, ip in ((alice, "10.3.0.1"), (bob, "10.3.0.2")):
            site.both_ways((ip, "10.2.0.1"), near=peer, far=gate)
    assert wire.count == 24
    assert gate.counters(name) == (12, 12)
    assert site.leave(alice) == f"rw: {name} stays, held by 1 more, without 10.3.0.1/32"
    assert bob.ping("10.2.0.1") == 3
    assert f"rw: {name} down, " in site.leave(bob)
