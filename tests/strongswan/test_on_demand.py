"""Tunnels that the first packet starts: vti-updown prepare has set up the link that the trap needs,
before and after each.
"""

from collections.abc import Iterator

import pytest

import demo
from support.host import Host, changes
from support.namespaces import HOOK

from .conftest import SUN_STRONGSWAN, Pair

SECRETS = 'moon sun : PSK "for tests only"\n'
FILE = "/run/vti-updown.toml"
NETS = '["10.2.0.0/16", "fd00:2::/32"]'
SETTINGS = f"""
[connection.gw]
local = "192.168.0.1"
remote = "192.168.0.2"
mark = 2
routes = {NETS}
when_down = "keep"

[connection.trapped]
remote = "192.168.0.2"
if_id = 42
routes = {NETS}
when_down = "keep"
"""
# As examples/ipsec.conf, with an if_id in the mark's place, and for IPv6's first packet: without
# local_ts the trap is for packets from the host's own address in the endpoints' family only (the
# peer narrows local_ts to the virtual IPs); and a remote_ts of everything would have the kernel's
# own multicast on the link start the tunnel.
SWANCTL_CONF = f"""connections {{
    trapped {{
        local_addrs = 192.168.0.1
        remote_addrs = 192.168.0.2
        vips = 0.0.0.0, ::
        local {{
            auth = psk
            id = moon
        }}
        remote {{
            auth = psk
            id = sun
        }}
        children {{
            trapped {{
                local_ts = 0.0.0.0/0, ::/0
                remote_ts = 10.2.0.0/16, fd00:2::/32
                if_id_in = 42
                if_id_out = 42
                start_action = trap
                updown = {HOOK} --config {FILE}
            }}
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Pair]:
    """Hosts of its own: with an address on lo, the first packet would leave from that, which the
    trap is not for.
    """
    with Pair() as site:
        moon, sun = site.moon, site.sun
        sun.charon(conf=demo.SUN_CONF, secrets=SECRETS, charon=SUN_STRONGSWAN)
        moon.run("sh", "-c", f"umask 077; cat > {FILE} <<'END'\n{SETTINGS}\nEND")
        article = demo.example("ipsec.conf").replace(f"{HOOK} ", f"{HOOK} --config {FILE} ")
        assert "auto=route" in article
        moon.charon(conf=article, secrets=SECRETS, charon=demo.example("charon.conf"))
        moon.file("/etc/swanctl/swanctl.conf", SWANCTL_CONF, 0o600)
        moon.run("swanctl", "--load-all")
        yield site


def knock(host: Host, address: str) -> None:
    """The first packet, which is lost while the tunnel starts."""
    host.run("ping", "-n", "-q", "-c", "1", "-W", "1", address, check=False)


@pytest.mark.parametrize(
    ("name", "link", "first"),
    [
        pytest.param("gw", "vti2", "10.2.0.1", id="ipsec.conf-vti"),
        pytest.param(
            "trapped", "xfrm42", "fd00:2::1", marks=pytest.mark.slow, id="swanctl.conf-xfrm"
        ),
    ],
)
def test_the_first_packet_starts_the_tunnel(site: Pair, name: str, link: str, first: str) -> None:
    """examples/ipsec.conf as it stands (auto=route), and start_action = trap, twice each after one
    vti-updown prepare.
    """
    moon = site.moon
    site.calls.forget()
    with site.leaves_nothing():
        moon.run(HOOK, "prepare", name, "--config", FILE)
        waiting = moon.network_state()
        for address in (first, "10.2.0.1"):
            knock(moon, address)
            said = site.events(2)
            assert [line.startswith(f"{name}: {link} up, ") for line in said] == [True, True], said
            site.passes(4)
            site.passes(6)
            stays = f"{name}: {link} stays without a CHILD_SA, as when_down says"
            assert site.down(name, 2)[1] == stays
            moon.until(f"! swanctl --list-sas | grep -q '^{name}'")
            assert changes(waiting, moon.network_state()) == []
        moon.run(HOOK, "release", name)
