"""Tunnels that the first packet starts: vti-updown prepare has set up the link that the trap needs, before and after each."""

from collections.abc import Iterator

import pytest

import demo
from hosts import HOOK, Host, changes

from .conftest import SUN_STRONGSWAN, Pair, nothing_left

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
# swanctl's words for what examples/ipsec.conf has, with an if_id in the mark's place.
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
                remote_ts = 0.0.0.0/0, ::/0
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
def pair(hosts: Pair) -> Iterator[Pair]:
    moon = hosts.moon
    hosts.sun.charon(conf=demo.SUN_CONF, secrets=SECRETS, charon=SUN_STRONGSWAN)
    moon.run("sh", "-c", f"umask 077; cat > {FILE} <<'END'\n{SETTINGS}\nEND")
    article = demo.example("ipsec.conf").replace(f"{HOOK} ", f"{HOOK} --config {FILE} ")
    assert "auto=route" in article
    moon.charon(conf=article, secrets=SECRETS, charon=demo.example("charon.conf"))
    moon.file("/etc/swanctl/swanctl.conf", SWANCTL_CONF, 0o600)
    moon.run("swanctl", "--load-all")
    yield hosts
    moon.stop_charon()
    hosts.sun.stop_charon()


def knock(host: Host) -> None:
    """The first packet, which is lost while the tunnel starts."""
    host.run("ping", "-n", "-q", "-c", "1", "-W", "1", "10.2.0.1", check=False)


@pytest.mark.parametrize(("name", "link"), [("gw", "vti2"), ("trapped", "xfrm42")], ids=["ipsec.conf-vti", "swanctl.conf-xfrm"])
def test_the_first_packet_starts_the_tunnel_and_it_waits_again_when_it_went_down(pair: Pair, name: str, link: str) -> None:
    """examples/ipsec.conf as it stands (auto=route), and start_action = trap, twice each after one vti-updown prepare."""
    moon = pair.moon
    pair.forget()
    before = moon.network_state()
    moon.run(HOOK, "prepare", name, "--config", FILE)
    waiting = moon.network_state()
    for first in (True, False):
        knock(moon)
        said = pair.events(2)
        assert [line.startswith(f"{name}: {link} up, ") for line in said] == [True, True], said
        for family in (4, 6) if first else ():
            pair.both_ways(family)
        assert pair.down(name, 2)[1] == f"{name}: {link} stays without a CHILD_SA, as when_down says"
        moon.until(f"! swanctl --list-sas | grep -q '^{name}'")
        assert changes(waiting, moon.network_state()) == []
    moon.run(HOOK, "release", name)
    nothing_left(moon, before)
