"""A tunnel's life on two charons: start, rekeys, reauthentications, end.

Nothing stays behind, and packets pass meanwhile.
"""

from collections.abc import Iterator

import pytest

from demo import SUN_CONF
from support.namespaces import HOOK
from support.slow import slow_but

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
def site(hosts: Pair) -> Iterator[Pair]:
    hosts.sun.charon(conf=SUN_CONF, secrets=SECRETS, charon=SUN_STRONGSWAN)
    hosts.moon.charon(conf=MOON_CONF, secrets=SECRETS, charon=MOON_STRONGSWAN % "no")
    yield hosts
    hosts.moon.stop_charon()
    hosts.sun.stop_charon()


def make_before_break(site: Pair, on: bool) -> None:
    site.moon.file("/etc/strongswan.d/charon.conf", MOON_STRONGSWAN % ("yes" if on else "no"))
    site.moon.run("swanctl", "--reload-settings")


@pytest.mark.usefixtures("as_before")
def test_packets_pass_in_both_families_and_directions(site):
    """One IPv4 VTI carries both families."""
    first, second = site.up("gw", 2)
    number = first.split(" ")[1].removeprefix("vti")
    assert [first, second] == [UP4.format(number), UP6.format(number)]
    site.passes(4)
    site.passes(6)
    assert site.down("gw", 2)[1] == DOWN.format(number)


@pytest.mark.usefixtures("as_before")
def test_rekeys_call_no_hook(site):
    """The down after them takes all away."""
    site.up("gw", 2)
    site.moon.run("swanctl", "--rekey", "--child", "gw")
    for _ in range(2):
        site.moon.run("swanctl", "--rekey", "--ike", "gw")
        site.moon.until("swanctl --list-sas --ike gw | grep -c ESTABLISHED | grep -qx 1")
    site.no_events()
    site.passes()
    assert site.down("gw", 2)[1].split(" ")[2] == "down,"


@pytest.mark.usefixtures("as_before")
def test_break_before_make_makes_the_tunnel_anew(site):
    """The old tunnel goes before the new one comes."""
    make_before_break(site, False)
    site.up("gw", 2)
    site.moon.run("swanctl", "--rekey", "--ike", "gw", "--reauth")
    said = [line.split(" ")[2] for line in site.events(4)]
    assert said == ["stays,", "down,", "up,", "up,"]
    site.passes(4)
    site.passes(6)
    site.down("gw", 2)


@pytest.mark.usefixtures("as_before")
def test_make_before_break_keeps_the_link_and_all_on_it(site):
    """strongSwan 6 does so by default."""
    make_before_break(site, True)
    site.up("gw", 2)
    site.moon.run("swanctl", "--rekey", "--ike", "gw")
    made = site.moon.network_state()
    site.moon.run("swanctl", "--rekey", "--ike", "gw", "--reauth")
    said = [line.split(" ")[2] for line in site.events(4)]
    assert said == ["up,", "up,", "stays,", "stays,"]
    assert without_policies(site.moon.network_state()) == without_policies(made)
    site.passes(4)
    site.passes(6)
    site.down("gw", 2)


ORDERS = [("gw", "more"), ("more", "gw")]


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("order", slow_but([ORDERS[0]], ORDERS))
def test_two_child_sas_share_the_link_and_go_in_either_order(site, order):
    """The last one takes the link."""
    site.up("gw", 2)
    assert "10.9.0.0/16" in site.up("more")[0]
    first, last = order
    site.moon.run("swanctl", "--terminate", "--child", first)
    link = site.events(2 if first == "gw" else 1)[0].split(" ")[1]
    _, sent = site.moon.counters(link)
    assert site.moon.ping("10.2.0.1" if last == "gw" else "10.9.0.1") == 3
    assert site.moon.counters(link)[1] == sent + 3, "the pings did not go through the tunnel"
    site.moon.run("swanctl", "--terminate", "--child", last)
    site.events(2 if last == "gw" else 1)
    site.moon.run("swanctl", "--terminate", "--ike", "gw")


@pytest.mark.usefixtures("as_before")
def test_charon_stopped_takes_all_away(site):
    """An orderly stop sends every down."""
    site.up("gw", 2)
    site.moon.stop_charon()
    assert "updown: gw: vti" in site.moon.log()
    site.as_before()
    site.moon.charon(conf=MOON_CONF, secrets=SECRETS, charon=MOON_STRONGSWAN % "no")
    site.calls.forget()


def without_policies(state: str) -> str:
    """A network state without the policies, whose reqid a reauthentication may change."""
    return "\n".join(line for line in state.splitlines() if not line.startswith(("src ", "\t")))
