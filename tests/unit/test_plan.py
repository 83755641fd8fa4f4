"""What an up wishes for, with the questions answered by hand."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from events import environment
from vti_updown.event import parse
from vti_updown.plan import Answers, PlanError, plan
from vti_updown.settings import Settings, WantedRoute
from vti_updown.state import Address, Link, Route, Setting


def wishes(settings=Settings(), verb="up-client", source=None, hop=None, held=None, **changed):  # noqa: B008
    answers = Answers(
        free_name=lambda link, names, chosen: chosen or next(iter(names)),
        source=lambda link, net: source and ip_address(source),
        next_hop=lambda peer: hop and ip_address(hop),
        held=lambda link, ip: held,
    )
    return plan(parse(environment(verb, **changed)), settings, answers)


def of(kind, made):
    return [noun for noun in made.wishes if isinstance(noun, kind)]


def refused(**changed):
    with pytest.raises(PlanError) as caught:
        wishes(**changed)
    return f"{caught.value.message}; {caught.value.hint}"


def test_an_up_wishes_for_link_setting_address_and_route():
    made = wishes(Settings(routes=(WantedRoute(ip_network("10.2.0.0/16")),)))
    link = Link("vti", ip_address("192.168.0.1"), ip_address("192.168.0.2"), "vti1", 2, 2, "vti-updown gw")
    assert made.wishes == (
        link,
        Setting(link.key, "ipv4", "disable_policy", 1),
        Address(link.key, ip_interface("10.3.0.1/32")),
        Route(ip_network("10.2.0.0/16"), 254, 0, link.key, ip_address("10.3.0.1")),
    )
    assert made.notes == ()


def test_an_ipv6_event_wishes_for_ipv6_only():
    made = wishes(
        Settings(routes=(WantedRoute(ip_network("10.2.0.0/16")), WantedRoute(ip_network("fd00:2::/32")))), "up-client-v6"
    )
    assert [str(one.address) for one in of(Address, made)] == ["fec3::1/128"]
    assert [str(one.destination) for one in of(Route, made)] == ["fd00:2::/32"]
    assert [one.family for one in of(Setting, made)] == ["ipv6"]


def test_every_virtual_ip_of_the_family_is_an_address():
    made = wishes(MY_SOURCEIP4_2="10.3.0.2")
    assert [str(one.address) for one in of(Address, made)] == ["10.3.0.1/32", "10.3.0.2/32"]


def test_ipv6_endpoints_make_a_vti6():
    (link,) = of(Link, wishes(ME="fec0::1", PEER="fec0::2"))
    assert link.kind == "vti6"


@pytest.mark.parametrize(
    ("changed", "okey", "ikey"),
    [
        ({"MARK_IN": "5/0xffffffff"}, 2, 5),
        ({"MARK_IN": None}, 2, 0),
        ({"MARK_OUT": None}, 0, 2),
        ({"MARK_OUT": "16/0x00000010"}, 16, 2),
    ],
)
def test_the_marks_are_the_keys(changed, okey, ikey):
    (link,) = of(Link, wishes(**changed))
    assert (link.okey, link.ikey) == (okey, ikey)


def test_a_child_sa_without_a_mark_is_told_what_to_add():
    told = refused(MARK_IN=None, MARK_OUT=None)
    assert told == "the CHILD_SA has no mark; add mark=NUMBER to it, unique to the peer (swanctl: mark_in, mark_out)"


def test_a_route_prefers_the_hosts_address_where_there_is_no_virtual_ip():
    none = {"MY_SOURCEIP": None, "MY_SOURCEIP4_1": None, "MY_SOURCEIP6_1": None}
    made = wishes(source="10.1.0.1", MY_CLIENT="10.1.0.0/24", PEER_CLIENT="10.2.0.0/16", **none)
    assert [str(one.source) for one in of(Route, made)] == ["10.1.0.1"]


def test_a_local_selector_of_everything_asks_for_no_source():
    none = {"MY_SOURCEIP": None, "MY_SOURCEIP4_1": None, "MY_SOURCEIP6_1": None}
    made = wishes(source="10.1.0.1", MY_CLIENT="0.0.0.0/0", PEER_CLIENT="10.2.0.0/16", **none)
    assert [one.source for one in of(Route, made)] == [None]


@pytest.mark.parametrize(
    "net", ["126.0.0.0/7", "127.0.0.0/8", "224.0.0.0/3", "224.1.0.0/16", "0.0.0.0/1", "255.255.255.255/32"]
)
def test_a_selector_that_covers_what_is_never_unicast_fails_the_event(net):
    assert "covers" in refused(PEER_CLIENT=net)


@pytest.mark.parametrize("net", ["::/1", "::1/128", "ff00::/8", "fe00::/7", "::ffff:0:0/96"])
def test_so_does_an_ipv6_selector(net):
    assert "covers" in refused(verb="up-client-v6", PEER_CLIENT=net)


def test_a_selector_of_everything_is_fine_and_makes_no_route():
    made = wishes()
    assert of(Route, made) == []
    assert made.notes == ("no route made, as the selector 0.0.0.0/0 is everything; add --route NET, or --no-routes",)


def test_a_route_of_the_settings_that_contains_the_peer_is_refused():
    told = refused(settings=Settings(routes=(WantedRoute(ip_network("0.0.0.0/0")),)))
    assert told == "--route 0.0.0.0/0 contains the peer 192.168.0.2, so its own packets would loop; route smaller networks"


@pytest.mark.parametrize("ip", ["10.0.0.254", "192.168.0.1", "192.168.0.2"])
def test_a_virtual_ip_that_is_a_neighbours_is_refused(ip):
    assert f"the peer gave the virtual IP {ip}, which is " in refused(hop="10.0.0.254", MY_SOURCEIP4_1=ip)


def test_an_alias_is_printable_and_fits():
    (link,) = of(Link, wishes(CONNECTION="x\n" * 300))
    assert link.alias.isprintable() and len(link.alias.encode()) <= 255
