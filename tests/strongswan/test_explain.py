"""`vti-updown explain` beside real charons, and `log = "commands"` in charon's own log."""

import json
from collections.abc import Iterator

import pytest

from demo import SUN_CONF
from support.host import changes
from support.namespaces import HOOK, WAIT_SECONDS

from .conftest import MOON_STRONGSWAN, SECRETS, SUN_STRONGSWAN, Pair

NAME = "gateway-of-the-office-in-the-city"
"""With it, commands are longer than a line of charon's log."""
MOON_CONF = f"""
conn {NAME}
    left=%defaultroute
    leftid=moon
    leftauth=psk
    leftsourceip=%config4,%config6
    right=192.168.0.2
    rightid=sun
    rightauth=psk
    rightsubnet=0.0.0.0/0,::/0
    auto=add
    mark=2
    leftupdown="{HOOK} --route 10.2.0.0/16 --route fd00:2::/32 --log commands"
"""
DUMP = """
import glob, sqlite3
(file,) = glob.glob("/run/vti-updown/*.sqlite")
print("\\n".join(sqlite3.connect(file).iterdump()))
"""


@pytest.fixture(scope="module")
def site(hosts: Pair) -> Iterator[Pair]:
    hosts.sun.charon(conf=SUN_CONF, secrets=SECRETS, charon=SUN_STRONGSWAN)
    hosts.moon.charon(conf=MOON_CONF, secrets=SECRETS, charon=MOON_STRONGSWAN % "no")
    yield hosts
    hosts.moon.stop_charon()
    hosts.sun.stop_charon()


def everything(site: Pair) -> tuple[str, str]:
    """The network state and all records of moon."""
    return site.moon.network_state(), site.moon.run("python3", "-c", DUMP)


def logged_by(site: Pair) -> str:
    """What the hook has printed since the last look, until it is silent."""
    lines = site.calls.more(WAIT_SECONDS)
    while new := site.calls.more(5):
        lines += new
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.usefixtures("as_before")
def test_a_live_connection_is_explained_by_its_name(site):
    """charon tells the event, ipsec.conf the flags, and nothing changes."""
    unknown = site.moon.run(str(HOOK), "explain", NAME, check=False)
    assert f"nothing is known of {NAME}: charon has no such" in unknown
    site.moon.run("swanctl", "--initiate", "--child", NAME)
    logged = logged_by(site)
    assert f"{NAME}: ip route add 10.2.0.0/16 dev vti" in logged
    assert f"{NAME}: ip link add vti" in logged and f"\n{NAME}:   " in logged
    assert all(len(line.encode()) <= 120 for line in logged.splitlines())
    site.moon.until("! ip -6 addr show tentative | grep -q .")
    before = everything(site)
    text = " ".join(site.moon.run(str(HOOK), "explain", NAME).split())
    assert text.startswith("From what charon") and "/etc/ipsec.conf:" in text
    assert f"up-client of {NAME}: 10.3.0.1/32 === 0.0.0.0/0" in text
    assert f"up-client-v6 of {NAME}: fd00:3::1/128 === ::/0" in text
    assert text.count("Nothing to change.") == 2
    assert "as it is: address 10.3.0.1/32 of vti" in text
    assert "a virtual IP that the peer gave" in text
    told = json.loads(site.moon.run(str(HOOK), "explain", NAME, "down", "--json"))
    first, second = told["events"]
    assert [first["verb"], second["verb"]] == ["down-client", "down-client-v6"]
    assert "ip link del" in str(second["steps"]) and "ip link del" not in str(first["steps"])
    state, records = everything(site)
    assert changes(before[0], state) == [] and records == before[1]
    site.moon.run("swanctl", "--terminate", "--ike", NAME)
    assert f"{NAME}: ip link del vti" in logged_by(site)
