"""`vti-updown status` beside real charons: what they tell, and that none is held up by it."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.host import Host
from support.namespaces import HOOK
from support.schema import checked

from .conftest import SUN_STRONGSWAN, Pair

FILE = "/run/vti-updown.toml"
HOLDS = "touch /run/sleeps ; while test -e /run/hold ; do sleep 1 ; done"
"""Behind the hook in the updown line: charon waits for it until the file is gone."""
CONNECTION = """
    {name} {{
        local_addrs = {local}
        remote_addrs = {remote}
        local {{
            auth = psk
            id = {local_id}
        }}
        remote {{
            auth = psk
            id = {remote_id}
        }}
        children {{
            {name} {{
                local_ts = {local_ts}
                remote_ts = {remote_ts}
                {more}
            }}
        }}
    }}
"""
PSK = """
secrets {
    ike-all {
        secret = "for tests only"
    }
}
"""
NAMES = {"gw": 42, "slow": 43}
SECOND_CHARON = """
mount -t tmpfs tmpfs /run
cat >/run/second.conf <<END
charon {
    port = 1500
    port_nat_t = 14500
    load_modular = yes
    plugins {
        include /etc/strongswan.d/charon/*.conf
    }
}
END
STRONGSWAN_CONF=/run/second.conf exec /usr/lib/ipsec/charon
"""


def of_moon() -> str:
    text = ""
    for number, (name, if_id) in enumerate(NAMES.items(), 1):
        more = [f"if_id_in = {if_id}", f"if_id_out = {if_id}"]
        line = f"{HOOK} --config {FILE}"
        line += " --expect up" if name == "gw" else f" ; {HOLDS}"
        more.append(f'updown = "{line}"')
        text += CONNECTION.format(
            name=name,
            local="192.168.0.1",
            remote="192.168.0.2",
            local_id=f"moon-{name}",
            remote_id="sun",
            local_ts=f"10.{number}.0.0/16",
            remote_ts=f"10.{number + 10}.0.0/16",
            more="\n                ".join(more),
        )
    return f"connections {{{text}}}{PSK}"


def of_sun() -> str:
    text = ""
    for number, name in enumerate(NAMES, 1):
        text += CONNECTION.format(
            name=name,
            local="192.168.0.2",
            remote="192.168.0.1",
            local_id="sun",
            remote_id=f"moon-{name}",
            local_ts=f"10.{number + 10}.0.0/16",
            remote_ts=f"10.{number}.0.0/16",
            more="",
        )
    return f"connections {{{text}}}{PSK}"


@pytest.fixture(scope="module")
def site() -> Iterator[Pair]:
    with Pair() as site:
        moon = site.moon
        moon.run("sh", "-c", f"umask 077; : > {FILE}")
        site.sun.charon(swanctl=of_sun(), charon=SUN_STRONGSWAN)
        moon.charon(swanctl=of_moon())
        yield site


def status(host: Host, *words: str) -> dict[str, Any]:
    """What it tells. It changes neither the network nor the records."""
    records = ("sh", "-c", "cd /run/vti-updown 2>/dev/null && cksum *.sqlite || true")
    before = host.network_state(), host.run(*records)
    done = host.call(HOOK, "status", "--json", "--config", FILE, *words)
    assert (host.network_state(), host.run(*records)) == before
    assert done.stdout.startswith("{"), done.stdout
    document = checked(done.stdout)
    assert document["exit_status"] == done.returncode
    return document


def tunnels(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {tunnel["name"]: tunnel for tunnel in document["tunnels"]}


def swanctl(host: Host, *words: str) -> None:
    """What ends with one call of the hook. swanctl does not wait for it."""
    before = len(host.hook_log())
    host.run("swanctl", *words)
    assert len(host.hook_log(at_least=before + 1)) > before


def test_a_tunnel_is_up_and_down_as_charon_tells(site: Pair) -> None:
    """What is expected is read from the updown line, and what is up from charon."""
    moon = site.moon
    swanctl(moon, "--initiate", "--child", "gw")
    up = status(moon)
    assert up["exit_status"] == 0, up
    (charon,) = up["charons"]
    assert charon["answered"]
    gw = tunnels(up)["gw"]
    (sa,) = gw["sas"]
    assert (sa["remote"], sa["remote_ts"], gw["sa"]) == ("192.168.0.2", ["10.11.0.0/16"], "up")
    assert sa["established_seconds"] is not None
    assert gw["links"][0]["if_id"] == NAMES["gw"]
    assert gw["configured"][0]["has_our_hook"] is True
    assert tunnels(up)["slow"]["level"] == "ok"
    swanctl(moon, "--terminate", "--child", "gw")
    down = status(moon)
    assert down["exit_status"] == 2, down
    (problem,) = tunnels(down)["gw"]["problems"]
    assert problem["what"].startswith("it is down and should be up: /etc/swanctl/swanctl.conf:")
    assert problem["remedy"] == "swanctl --initiate --child gw"
    program, *words = problem["remedy"].split()
    assert program == "swanctl"
    swanctl(moon, *words)
    assert status(moon)["exit_status"] == 0
    swanctl(moon, "--terminate", "--child", "gw")


@pytest.mark.slow
def test_a_hook_that_sleeps_is_named_and_not_waited_for(site: Pair) -> None:
    """It sleeps until `status` has ended."""
    moon = site.moon
    swanctl(moon, "--initiate", "--child", "gw")
    before = len(moon.hook_log())
    moon.run("touch", "/run/hold")
    moon.start("swanctl", "--initiate", "--child", "slow")
    moon.until("test -e /run/sleeps")
    document = status(moon)
    assert document["exit_status"] == 3
    (problem,) = document["problems"]
    assert "since it waits for its hook: PID" in problem["what"]
    assert tunnels(document)["gw"]["links"][0]["is_there"]
    moon.run("rm", "/run/hold")
    assert len(moon.hook_log(at_least=before + 1)) > before
    assert status(moon)["exit_status"] == 0
    for name in NAMES:
        swanctl(moon, "--terminate", "--ike", name)


@pytest.mark.slow
def test_each_of_two_charons_is_asked(site: Pair) -> None:
    """The second one has a /run of its own, as in a container with the host's network."""
    moon = site.moon
    swanctl(moon, "--initiate", "--child", "gw")
    moon.start("unshare", "-m", "sh", "-c", SECOND_CHARON)
    moon.until(
        "test -S /proc/$(pgrep -xn charon)/root/run/charon.vici && test $(pgrep -xc charon) = 2"
    )
    document = status(moon)
    assert [charon["answered"] for charon in document["charons"]] == [True, True]
    assert tunnels(document)["gw"]["sa"] == "up"
    (only,) = status(moon, "--vici", "/run/charon.vici")["charons"]
    assert only["answered"]
    swanctl(moon, "--terminate", "--ike", "gw")
