"""A tunnel's life on two charons: start, rekeys, reauthentications, end. Nothing stays behind, and packets pass meanwhile."""

from collections.abc import Iterator

import pytest

from demo import SUN_CONF
from hosts import HOOK

from .conftest import MOON_STRONGSWAN, SECRETS, SUN_STRONGSWAN, Pair

MOON_CONF = f"""
conn %default
    left=%defaultroute
    leftid=moon
    leftauth=psk
    leftsourceip=%config4,%config6
    right=192.168.0.2
    rightid=sun
    rightauth=psk
    auto=add
    mark=2

conn gw
    leftupdown="{HOOK} --route 10.2.0.0/16 --route fd00:2::/32"
    rightsubnet=0.0.0.0/0,::/0

conn more
    leftupdown={HOOK}
    rightsubnet=10.9.0.0/16
"""
UP4 = "gw: vti{} up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.2.0.0/16"
UP6 = "gw: vti{} up, 192.168.0.1 → 192.168.0.2, mark 2, fd00:3::1/128, fd00:2::/32"
DOWN = "gw: vti{} down, 192.168.0.1 → 192.168.0.2"


@pytest.fixture(scope="module")
def pair(hosts: Pair) -> Iterator[Pair]:
    hosts.sun.charon(conf=SUN_CONF, secrets=SECRETS, charon=SUN_STRONGSWAN)
    hosts.moon.charon(conf=MOON_CONF, secrets=SECRETS, charon=MOON_STRONGSWAN % "no")
    yield hosts
    hosts.moon.stop_charon()
    hosts.sun.stop_charon()


def make_before_break(pair: Pair, on: bool) -> None:
    pair.moon.file("/etc/strongswan.d/charon.conf", MOON_STRONGSWAN % ("yes" if on else "no"))
    pair.moon.run("swanctl", "--reload-settings")


@pytest.mark.usefixtures("as_before")
def test_packets_pass_in_both_families_and_directions(pair):
    first, second = pair.up("gw", 2)
    number = first.split(" ")[1].removeprefix("vti")
    assert [first, second] == [UP4.format(number), UP6.format(number)]
    pair.both_ways(4)
    pair.both_ways(6)
    assert pair.down("gw", 2)[1] == DOWN.format(number)


@pytest.mark.usefixtures("as_before")
def test_rekeys_call_no_hook_and_the_down_after_them_takes_all_away(pair):
    pair.up("gw", 2)
    pair.moon.run("swanctl", "--rekey", "--child", "gw")
    for _ in range(2):
        pair.moon.run("swanctl", "--rekey", "--ike", "gw")
        pair.moon.until("swanctl --list-sas --ike gw | grep -c ESTABLISHED | grep -qx 1")
    pair.no_events()
    pair.both_ways()
    assert pair.down("gw", 2)[1].split(" ")[2] == "down,"


@pytest.mark.usefixtures("as_before")
def test_reauthentication_break_before_make_makes_the_tunnel_anew(pair):
    make_before_break(pair, False)
    pair.up("gw", 2)
    pair.moon.run("swanctl", "--rekey", "--ike", "gw", "--reauth")
    said = [line.split(" ")[2] for line in pair.events(4)]
    assert said == ["stays,", "down,", "up,", "up,"]
    pair.both_ways(4)
    pair.both_ways(6)
    pair.down("gw", 2)


@pytest.mark.usefixtures("as_before")
def test_reauthentication_make_before_break_keeps_link_address_and_routes(pair):
    make_before_break(pair, True)
    pair.up("gw", 2)
    pair.moon.run("swanctl", "--rekey", "--ike", "gw")
    made = pair.moon.network_state()
    pair.moon.run("swanctl", "--rekey", "--ike", "gw", "--reauth")
    said = [line.split(" ")[2] for line in pair.events(4)]
    assert said == ["up,", "up,", "stays,", "stays,"]
    assert without_policies(pair.moon.network_state()) == without_policies(made)
    pair.both_ways(4)
    pair.both_ways(6)
    pair.down("gw", 2)


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("order", [("gw", "more"), ("more", "gw")])
def test_two_child_sas_share_the_link_and_go_in_either_order(pair, order):
    pair.up("gw", 2)
    assert "10.9.0.0/16" in pair.up("more")[0]
    first, last = order
    pair.moon.run("swanctl", "--terminate", "--child", first)
    link = pair.events(2 if first == "gw" else 1)[0].split(" ")[1]
    _, sent = pair.moon.counters(link)
    assert pair.moon.ping("10.2.0.1" if last == "gw" else "10.9.0.1") == 3
    assert pair.moon.counters(link)[1] == sent + 3, "the pings did not go through the tunnel"
    pair.moon.run("swanctl", "--terminate", "--child", last)
    pair.events(2 if last == "gw" else 1)
    pair.moon.run("swanctl", "--terminate", "--ike", "gw")


@pytest.mark.usefixtures("as_before")
def test_charon_stopped_takes_all_away(pair):
    pair.up("gw", 2)
    pair.moon.run("ipsec", "stop")
    pair.moon.daemon.wait(30)
    assert "updown: gw: vti" in pair.moon.log()
    pair.as_before()
    pair.moon.charon(conf=MOON_CONF, secrets=SECRETS, charon=MOON_STRONGSWAN % "no")
    pair.forget()


def without_policies(state: str) -> str:
    """A network state without the policies, whose reqid a reauthentication may change."""
    return "\n".join(line for line in state.splitlines() if not line.startswith(("src ", "\t")))
