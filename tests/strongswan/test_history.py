"""What `vti-updown history` says of a real charon's tunnels: when they were down, and why."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.namespaces import HOOK

from .conftest import Pair

CONF = """connections {{
    gw {{
        local_addrs = {me}
        remote_addrs = {peer}
        dpd_delay = {dpd}
        proposals = aes128-sha256-x25519
        local {{
            auth = psk
            id = {my_id}
        }}
        remote {{
            auth = psk
            id = {peer_id}
        }}
        children {{
            gw {{
                local_ts = {mine}
                remote_ts = {its}
                esp_proposals = aes128-sha256
                mark_in = 2
                mark_out = 2
                {updown}
            }}
        }}
    }}
}}
secrets {{
    ike {{
        secret = "for tests only"
    }}
}}
"""
CHARON = """charon {
    install_routes = no
    retransmit_tries = 4
    retransmit_timeout = 4
    retransmit_base = 1
    make_before_break = %s
}
"""
"""It gives a dead peer up after 20 s."""
MOON = {"me": "192.168.0.1", "my_id": "moon", "mine": "10.1.0.0/16", "dpd": "3s"}
SUN = {"me": "192.168.0.2", "my_id": "sun", "mine": "10.2.0.0/16", "dpd": "0s"}


def conf_of(near: dict[str, str], far: dict[str, str], updown: str = "") -> str:
    its = {"peer": far["me"], "peer_id": far["my_id"], "its": far["mine"]}
    return CONF.format(**near, **its, updown=updown)


@pytest.fixture(scope="module")
def site(hosts: Pair) -> Iterator[Pair]:
    hosts.sun.charon(swanctl=conf_of(SUN, MOON), charon="charon {\n}\n")
    start_moon(hosts)
    yield hosts
    hosts.moon.stop_charon()
    hosts.sun.stop_charon()


def start_moon(site: Pair) -> None:
    conf = conf_of(MOON, SUN, f"updown = {HOOK}")
    site.moon.charon(swanctl=conf, charon=CHARON % "no")
    site.calls.forget()


def told(site: Pair) -> dict[str, Any]:
    """What the history says of the tunnel. It changes nothing."""
    before = site.moon.network_state()
    words = ["history", "gw", "--json", "--charon-log", "/run/charon.log"]
    (tunnel,) = json.loads(site.moon.run(HOOK, *words))["tunnels"]
    assert site.moon.network_state() == before
    assert isinstance(tunnel, dict)
    return tunnel


def why(site: Pair) -> tuple[str | None, str | None]:
    """Why it went down last, and the line of the log that says so."""
    outage = told(site)["outages"][-1]
    return outage["why"], outage["log"]


def shown(site: Pair) -> str:
    return site.moon.run(HOOK, "history", "gw", "--charon-log", "/run/charon.log")


def test_a_peers_delete_is_told_and_a_rekey_is_no_outage(site):
    """The log names the delete. Two rekeys before it are not seen at all."""
    site.up("gw")
    site.moon.rekey("gw", "child")
    site.moon.rekey("gw", "ike")
    before = len(told(site)["outages"])
    assert told(site)["is_up"]
    site.sun.run("swanctl", "--terminate", "--ike", "gw")
    site.events(1)
    words, line = why(site)
    assert words == "the peer deleted the IKE_SA"
    assert line is not None and line.startswith("received DELETE for IKE_SA gw[")
    site.up("gw")
    tunnel = told(site)
    assert tunnel["is_up"] and len(tunnel["outages"]) == before + 1
    site.sun.run("swanctl", "--terminate", "--child", "gw")
    site.events(1)
    words, line = why(site)
    assert words == "the peer deleted the CHILD_SA"
    assert line is not None and line.startswith("received DELETE for ESP CHILD_SA with SPI")
    site.moon.run("swanctl", "--terminate", "--ike", "gw")


@pytest.mark.slow
def test_what_ends_a_tunnel_is_told_as_charon_logs_it(site):
    """This side's own delete, a reauthentication, a dead peer, and charon's stop."""
    site.up("gw")
    site.down("gw")
    assert why(site) == (
        "somebody on this side asked for it",
        "vici terminate IKE_SA 'gw'",
    )
    site.up("gw")
    site.moon.run("swanctl", "--rekey", "--ike", "gw", "--reauth")
    site.events(2)
    words, _ = why(site)
    assert words == "the IKE_SA was reauthenticated"
    assert told(site)["is_up"]
    site.sun.kill_charon()
    site.events(1)
    assert why(site) == ("the peer did not answer", "giving up after 4 retransmits")
    site.sun.start_charon()
    site.up("gw")
    site.moon.stop_charon()
    assert why(site) == ("charon was stopped", "SIGTERM received, shutting down")
    print(shown(site))
    start_moon(site)


@pytest.mark.slow
def test_make_before_break_is_no_outage(site):
    """The new CHILD_SA is up before the old one goes, and the history says so."""
    site.moon.file("/etc/strongswan.d/charon.conf", CHARON % "yes")
    site.moon.run("swanctl", "--reload-settings")
    site.up("gw")
    before = told(site)["outages"]
    site.moon.run("swanctl", "--rekey", "--ike", "gw", "--reauth")
    site.events(2)
    tunnel = told(site)
    assert tunnel["outages"] == before
    assert tunnel["is_up"]
    up, down = tunnel["events"][-2:]
    assert (up["verb"], up["was_up"], up["is_up"]) == ("up-client", True, True)
    assert (down["verb"], down["was_up"], down["is_up"]) == ("down-client", True, True)
    site.down("gw")


@pytest.mark.slow
def test_a_killed_charons_tunnel_is_told_as_lost(site):
    """charon calls no hook then. Whatever clears its tunnel says that its charon was gone."""
    site.up("gw")
    site.moon.kill_charon()
    time.sleep(0.3)
    site.moon.run(HOOK, "flush", "--stale")
    event = told(site)["events"][-1]
    assert (event["verb"], event["was_up"], event["is_up"]) == ("flush", True, False)
    start_moon(site)
