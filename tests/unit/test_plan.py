"""What an up wishes for, with the questions answered by hand."""

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from support.events import environment
from vti_updown.event import parse
from vti_updown.objects.address import Address
from vti_updown.objects.link import Link
from vti_updown.objects.mss import MssClamp
from vti_updown.objects.route import HostRoute, HostRoutes, OuterPacket, Route
from vti_updown.objects.rule import Rule
from vti_updown.objects.sysctl import Sysctl
from vti_updown.settings.lists import ConfiguredRoute, InnerAddress
from vti_updown.settings.table import FULL_TABLE, Settings
from vti_updown.wishes.plan import plan
from vti_updown.wishes.questions import LinkName, PlanError, Questions, Reason

NO_VIRTUAL_IP: dict[str, Any] = dict.fromkeys(["MY_SOURCEIP", "MY_SOURCEIP4_1", "MY_SOURCEIP6_1"])


class Answers(Questions):
    """The questions, answered by hand."""

    def __init__(self, source, hop, held, path_mtu, *, host=None, has_rule=True):
        self._has_rule = has_rule
        self._source = source
        self._hop = hop
        self._held = held
        self._path_mtu = path_mtu
        self._host = host or {}
        self.packets = []

    def link_name(self, link, defaults, chosen):
        return LinkName(chosen or next(iter(defaults)), Reason("by hand"))

    def source(self, link_key, network):
        return self._source and ip_address(self._source)

    def next_hop(self, packet):
        self.packets.append(packet)
        return self._hop and ip_address(self._hop)

    def our_address(self, link_key, ip):
        return self._held

    def path_mtu(self, packet):
        self.packets.append(packet)
        return self._path_mtu

    def has_rule_to(self, table, family):
        return self._has_rule

    def host_routes(self, route):
        there = self._host.get((route.netns, route.table), HostRoutes())
        about = [one for one in there.routes if one.network.overlaps(route.destination)]
        return there._replace(routes=tuple(about))

    def is_own_address(self, ip):
        return str(ip) in self._host.get("addresses", ())

    def name_servers(self):
        return tuple(map(ip_address, self._host.get("name servers", ())))

    def vrf_table(self, name):
        return 100

    def namespace(self, name):
        return "" if name == "charons-own" else name


def wishes(
    settings=Settings(),  # noqa: B008
    verb="up-client",
    source=None,
    hop=None,
    held=None,
    *,
    path_mtu=None,
    host=None,
    **changed,
):
    answers = Answers(source, hop, held, path_mtu, host=host)
    made = plan(parse(environment(verb, **changed)), settings, answers)
    reasons = made.reasons.by_key()
    for wish in (*made.wishes, *made.standing):
        assert reasons[wish.key], f"nothing says why there is {wish.label}"
    return made


def of(kind, made):
    """Those of a kind, but for what keeps the peer out of a full tunnel: see `asides`."""
    found = [noun for noun in made.wishes if isinstance(noun, kind)]
    return [noun for noun in found if noun not in asides(made)]


def asides(made):
    return [noun for noun in made.wishes if isinstance(noun, Route) and noun.throws]


def refused(**changed):
    with pytest.raises(PlanError) as caught:
        wishes(**changed)
    return f"{caught.value.message}; {caught.value.hint}"


def test_an_up_wishes_for_link_sysctl_address_and_route():
    """The plan of the recorded event, whole."""
    made = wishes(Settings(routes=(ConfiguredRoute(ip_network("10.2.0.0/16")),)))
    link = Link(
        "vti", ip_address("192.168.0.1"), ip_address("192.168.0.2"), "vti1", 2, 2, "vti-updown gw"
    )
    assert made.wishes == (
        link,
        Sysctl(link.key, "ipv4", "disable_policy", 1),
        Address(link.key, ip_interface("10.3.0.1/32")),
        Route(ip_network("10.2.0.0/16"), 254, 0, link.key, ip_address("10.3.0.1")),
        *asides(made),
    )
    assert made.notes == ()


def test_an_ipv6_event_wishes_for_ipv6_only():
    """Routes and addresses of the other family wait for their own event."""
    made = wishes(
        Settings(
            routes=(
                ConfiguredRoute(ip_network("10.2.0.0/16")),
                ConfiguredRoute(ip_network("fd00:2::/32")),
            )
        ),
        "up-client-v6",
    )
    assert [str(one.address) for one in of(Address, made)] == ["fec3::1/128"]
    assert [str(one.destination) for one in of(Route, made)] == ["fd00:2::/32"]
    assert [one.family for one in of(Sysctl, made)] == ["ipv6"]


def test_every_virtual_ip_of_the_family_is_an_address():
    """charon may hand out several."""
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
    """The outbound mark is okey, the inbound one ikey."""
    (link,) = of(Link, wishes(**changed))
    assert (link.okey, link.ikey) == (okey, ikey)


def test_a_child_sa_for_gre_is_not_told_to_add_a_mark():
    """The packets of a GRE link would not have it."""
    told = refused(MARK_IN=None, MARK_OUT=None, MY_PROTOCOL=47, PEER_PROTOCOL=47)
    assert told == (
        "between the endpoints alone, without mark or if_id, no link is needed;"
        " leave leftupdown / updown out"
    )


@pytest.mark.parametrize("mine", ["0", "47", "6", "50"])
def test_gre_on_one_side_only_is_no_gre_link(mine):
    """Both selectors of a GRE link's CHILD_SA have its protocol, and no other."""
    its = {"0": "47", "47": "0"}.get(mine, mine)
    told = refused(MARK_IN=None, MARK_OUT=None, MY_PROTOCOL=mine, PEER_PROTOCOL=its)
    assert told.startswith("the CHILD_SA has neither mark nor if_id")


def test_a_child_sa_without_a_mark_is_told_what_to_add():
    """The hint names the lines for both configurations."""
    told = refused(MARK_IN=None, MARK_OUT=None)
    assert (
        told
        == "the CHILD_SA has neither mark nor if_id; add mark=NUMBER to it, unique to the peer (swanctl: mark_in, mark_out)"
    )


def test_a_route_prefers_the_hosts_address_without_virtual_ip():
    """It must lie within the local selector."""
    made = wishes(
        source="10.1.0.1", MY_CLIENT="10.1.0.0/24", PEER_CLIENT="10.2.0.0/16", **NO_VIRTUAL_IP
    )
    assert [str(one.source) for one in of(Route, made)] == ["10.1.0.1"]


def test_a_local_selector_of_everything_asks_for_no_source():
    """Every source matches the policy then."""
    made = wishes(
        source="10.1.0.1", MY_CLIENT="0.0.0.0/0", PEER_CLIENT="10.2.0.0/16", **NO_VIRTUAL_IP
    )
    assert [one.source for one in of(Route, made)] == [None]


@pytest.mark.parametrize(
    "net",
    [
        "127.0.0.0/8",
        "127.1.0.0/16",
        "0.0.0.0/8",
        "255.255.255.255/32",
    ],
)
def test_a_selector_that_is_never_unicast_fails_the_event(net):
    """No peer may have loopback or broadcast routed."""
    assert "covers" in refused(PEER_CLIENT=net)


@pytest.mark.parametrize("net", ["::/16", "::1/128", "::ffff:0:0/96"])
def test_an_ipv6_selector_that_is_never_unicast_fails_too(net):
    """The list has both families."""
    assert "covers" in refused(verb="up-client-v6", PEER_CLIENT=net)


@pytest.mark.parametrize(
    ("net", "what"),
    [
        ("224.0.0.0/4", "multicast"),
        ("224.0.0.5/32", "multicast"),
        ("ff00::/8", "multicast"),
        ("169.254.21.0/30", "link-local"),
        ("fe80::/64", "link-local"),
    ],
)
@pytest.mark.parametrize("limit", [{}, {"PEER_PROTOCOL": "58"}])
def test_a_selector_of_one_link_is_fine_and_makes_no_route(net, what, limit):
    """Routing daemons need such a selector. No advice leads to a route, which would be wrong."""
    verb = "up-client-v6" if ":" in net else "up-client"
    made = wishes(verb=verb, PEER_CLIENT=net, **limit)
    assert len(of(Link, made)) == 1
    assert of(Route, made) == []
    why = "is limited by protocol or port" if limit else f"is {what}"
    assert made.notes == (f"no route made, as the selector {net} {why}",)


def test_a_selector_of_everything_is_fine_and_makes_no_route():
    """A full tunnel is only ever ours to ask for."""
    made = wishes()
    assert of(Route, made) == []
    assert made.notes == (
        "no route made, as the selector 0.0.0.0/0 is everything; add --route NET, or --no-routes",
    )


@pytest.mark.parametrize("net", ["0.0.0.0/1", "128.0.0.0/1", "126.0.0.0/7", "224.0.0.0/3"])
def test_a_peer_that_narrows_everything_to_halves_gets_no_route(net):
    """Two halves would be a full tunnel by the back door."""
    made = wishes(PEER_CLIENT=net)
    assert of(Route, made) == [] and of(Rule, made) == []
    assert made.notes == (
        f"no route made, as the selector {net} is wider than a /8; add --route NET, or --no-routes",
    )


@pytest.mark.parametrize(
    ("net", "widest"),
    [("fc00::/7", 8), ("2000::/4", 16), ("2000::/15", 16), ("fe00::/9", 16), ("::/8", 16)],
)
def test_ipv6_has_a_width_of_its_own(net, widest):
    """A /8 of IPv6 is more than all that is in use of it."""
    made = wishes(verb="up-client-v6", PEER_CLIENT=net)
    assert of(Route, made) == []
    assert f"is wider than a /{widest}; add --route NET" in made.notes[0]


@pytest.mark.parametrize("net", ["fd00::/8", "2001::/16", "64:ff9b::/96", "2002:a00::/24"])
def test_an_ipv6_network_of_a_site_is_routed(net):
    """NAT64 and 6to4 may well be behind a tunnel."""
    (route,) = of(Route, wishes(verb="up-client-v6", PEER_CLIENT=net))
    assert str(route.destination) == net


@pytest.mark.parametrize(
    ("net", "why"),
    [
        ("240.0.0.0/8", "covers reserved addresses"),
        ("192.0.0.0/8", "covers protocol addresses"),
        ("169.0.0.0/8", "covers link-local addresses"),
        ("100::/64", "covers discard-only addresses"),
    ],
)
def test_a_special_network_is_not_routed_by_itself(net, why):
    """RFC 6890 lists them."""
    verb = "up-client-v6" if ":" in net else "up-client"
    made = wishes(verb=verb, PEER_CLIENT=net)
    assert of(Route, made) == []
    assert f" {why}; add --route NET" in made.notes[0]


ETH0 = HostRoute(ip_network("192.168.7.0/24"), 0, "eth0", is_connected=True)
ETH0_TOLD = "which the host routes by eth0"


def main(*routes, next_hops=(), table=254, netns=""):
    """A host with these routes in one table."""
    there = HostRoutes(routes, tuple(map(ip_address, next_hops)))
    return {(netns, table): there}


@pytest.mark.parametrize(
    ("net", "host", "why"),
    [
        ("192.168.7.128/25", main(ETH0), f"is part of 192.168.7.0/24, {ETH0_TOLD}"),
        ("192.168.7.0/24", main(ETH0), "has a route by eth0"),
        ("10.0.0.0/8", main(next_hops=["10.9.9.9"]), "contains 10.9.9.9, a next hop of this host"),
        ("10.3.0.9/32", {"addresses": ["10.3.0.9"]}, "is our own address"),
        ("10.3.0.9/32", {"name servers": ["10.3.0.9"]}, "is a name server of this host"),
    ],
)
def test_an_automatic_route_takes_nothing_from_the_host(net, host, why):
    """The peer chose it. What the settings list is done."""
    made = wishes(host=host, PEER_CLIENT=net)
    assert of(Route, made) == []
    assert f"the selector {net} {why}" in made.notes[0]
    listed = Settings(routes=(ConfiguredRoute(ip_network(net)),))
    assert len(of(Route, wishes(listed, host=host, PEER_CLIENT=net))) == 1


@pytest.mark.parametrize(
    ("net", "host"),
    [
        ("192.168.0.0/16", main(ETH0)),
        ("192.168.0.0/16", main(ETH0, next_hops=["192.168.7.254"])),
        ("10.3.0.0/24", {"name servers": ["10.3.0.9"]}),
        ("10.3.0.0/24", {"addresses": ["10.3.0.9"]}),
        ("10.3.0.0/24", main(ETH0._replace(network=ip_network("0.0.0.0/1")))),
    ],
)
def test_a_wider_network_than_the_hosts_is_routed(net, host):
    """The longer prefix wins. A default route is there for what nothing else knows."""
    made = wishes(host=host, PEER_CLIENT=net, ME="10.9.9.9", PEER="10.9.9.8")
    assert [str(one.destination) for one in of(Route, made)] == [net]


def test_a_route_with_a_worse_metric_stands_behind_the_hosts():
    """So a tunnel may be the way out when a line fails."""
    host = main(ETH0._replace(metric=20))
    for metric, count in ((20, 0), (21, 1), (0, 0)):
        made = wishes(Settings(metric=metric), host=host, PEER_CLIENT="192.168.7.0/24")
        assert len(of(Route, made)) == count


def test_a_table_of_its_own_may_come_before_the_main_one():
    """There the host's more specific routes would be hidden."""
    made = wishes(Settings(table=100), host=main(ETH0), PEER_CLIENT="192.168.4.0/22")
    assert of(Route, made) == []
    made = wishes(Settings(table=100), host=main(ETH0), PEER_CLIENT="10.2.0.0/16")
    assert [one.table for one in of(Route, made)] == [100]


@pytest.mark.parametrize(
    ("settings", "place"),
    [(Settings(vrf="blue"), {"table": 100}), (Settings(netns="office"), {"netns": "office"})],
)
def test_a_vrf_and_a_namespace_have_routes_of_their_own(settings, place):
    """The host's own do not matter there."""
    net = "192.168.7.0/25"
    assert len(of(Route, wishes(settings, host=main(ETH0), PEER_CLIENT=net))) == 1
    assert of(Route, wishes(settings, host=main(ETH0, **place), PEER_CLIENT=net)) == []


def test_the_peers_own_address_has_another_remedy():
    """A route for it would send the tunnel's own packets into the tunnel."""
    (note,) = wishes(PEER_CLIENT="192.168.0.2/32").notes
    assert note.endswith("; leave mark or if_id out of a CHILD_SA for the peer itself")


def test_a_block_of_everything_must_be_asked_for():
    """No route is made by itself, so nothing would be blocked."""
    assert "blocks nothing; list what to block" in refused(settings=Settings(when_down="block"))


@pytest.mark.parametrize(
    ("changed", "source", "mark"),
    [
        ({}, "192.168.0.1", 2),
        ({"MARK_IN": None, "MARK_OUT": None, "IF_ID_OUT": "4"}, "192.168.0.1", 0),
        ({"IF_ID_OUT": "4"}, "192.168.0.1", 0),
        ({"ME": "0.0.0.0"}, None, 2),
    ],
)
def test_a_look_up_is_made_as_the_packet_will_be_sent(changed, source, mark):
    """A VTI's packets have its outbound mark, and those of an XFRM interface have none."""
    answers = Answers(None, None, None, 1500)
    settings = Settings(ike_ports=(1500, 14500))
    plan(parse(environment("up-client", PEER_CLIENT="10.2.0.0/16", **changed)), settings, answers)
    packet = OuterPacket(ip_address("192.168.0.2"), source and ip_address(source), mark, 14500)
    assert set(answers.packets) == {packet}


EVERYTHING = Settings(
    routes=tuple(ConfiguredRoute(ip_network(net)) for net in ("0.0.0.0/0", "::/0"))
)


def routes_of(made):
    """Each route as destination and table."""
    return [(str(one.destination), one.table) for one in of(Route, made)]


def test_a_full_tunnel_has_tables_and_rules_of_its_own():
    """The main table stays as it is."""
    made = wishes(EVERYTHING)
    forwarded, own = of(Route, made)
    (aside,) = asides(made)
    assert routes_of(made) == [("0.0.0.0/0", FULL_TABLE), ("0.0.0.0/0", FULL_TABLE + 1)]
    assert (str(aside.destination), aside.table) == ("192.168.0.2/32", FULL_TABLE + 1)
    assert str(forwarded.source) == str(own.source) == "10.3.0.1"
    assert forwarded.metric > 1 << 30  # charon, which ignores rules, shall like the uplink's better
    rules = of(Rule, made)
    assert [rule.commands(None, "")[0].removeprefix("ip rule add ") for rule in rules] == [
        "pref 15000 iif lo ipproto esp goto 15004 proto 50",
        "pref 15000 iif lo ipproto udp sport 500 goto 15004 proto 50",
        "pref 15000 iif lo ipproto udp sport 4500 goto 15004 proto 50",
        "pref 15002 lookup 254 suppress_prefixlength 0 proto 50",
        f"pref 15003 iif lo lookup {FULL_TABLE + 1} proto 50",
        f"pref 15003 not iif lo lookup {FULL_TABLE} proto 50",
        "pref 15004 nop proto 50",
    ]
    assert aside.only_with == rules[4].key


def test_charons_mark_stands_for_its_ports():
    """A program of somebody else's that sends from these ports goes through the tunnel then."""
    made = wishes(EVERYTHING._replace(ike_mark=0x77, full_priority=5000, full_table=7))
    first, second, *_ = of(Rule, made)
    assert "pref 5000 iif lo ipproto esp goto 5004" in first.commands(None, "")[0]
    assert "pref 5000 iif lo fwmark 0x77 goto 5004" in second.commands(None, "")[0]
    assert [one.table for one in of(Route, made)] == [7, 8]


def test_every_tunnels_peer_stays_outside_of_full_tunnels():
    """One without a full tunnel, too: its ESP would go into another's."""
    (aside,) = asides(wishes(Settings(routes=())))
    assert str(aside.destination) == "192.168.0.2/32"
    assert aside.only_with == of(Rule, wishes(EVERYTHING))[4].key


def test_a_peer_of_the_other_family_stays_outside_by_that_ones_rule():
    """The tunnel is IPv4's, and its peer has an IPv6 address."""
    made = wishes(EVERYTHING, ME="fec0::1", PEER="fec0::2")
    (aside,) = asides(made)
    assert str(aside.destination) == "fec0::2/128" and aside.only_with.startswith("rule 6 ")
    assert {rule.family for rule in of(Rule, made)} == {4}


@pytest.mark.parametrize("peer", ["0.0.0.0", None])
def test_a_full_tunnel_needs_the_peers_address(peer):
    """Or the peer's own packets would go into it."""
    event = parse(environment())._replace(peer=peer and ip_address(peer))
    settings = EVERYTHING._replace(remote=ip_address("192.168.0.2"))
    with pytest.raises(PlanError) as caught:
        plan(event, settings, Answers(None, None, None, None))
    assert caught.value.message == "0.0.0.0/0 is a full tunnel, and the peer's address is not known"


@pytest.mark.parametrize(
    ("own", "connections", "table"), [(9, None, 9), (None, 8, 8), (9, 8, 9), (300, None, 300)]
)
def test_who_names_a_table_makes_the_rules_himself(own, connections, table):
    """The route has the table and the metric asked for; the route's own come first."""
    routes = (ConfiguredRoute(ip_network("0.0.0.0/0"), table=own, metric=7),)
    made = wishes(Settings(routes=routes, table=connections))
    (route,) = of(Route, made)
    assert (route.table, route.metric) == (table, 7)
    assert of(Rule, made) == []


@pytest.mark.parametrize(
    ("has_rule", "notes"),
    [
        (True, ()),
        (
            False,
            (
                "no rule uses table 100, which has the route to 0.0.0.0/0;"
                " choose what does: ip rule add from NET lookup 100",
            ),
        ),
    ],
)
def test_a_table_without_a_rule_is_told(has_rule, notes):
    """Before there were rules for it, and everything went through the tunnel."""
    settings = Settings(routes=(ConfiguredRoute(ip_network("0.0.0.0/0"), table=100),))
    answers = Answers(None, None, None, None, has_rule=has_rule)
    assert plan(parse(environment()), settings, answers).notes == notes


@pytest.mark.parametrize(
    ("settings", "own", "table"),
    [
        ({"vrf": "blue"}, None, 100),
        ({"vrf": "blue"}, 9, 9),
        ({"netns": "office"}, None, 254),
        ({"netns": "office", "table": 8}, None, 8),
        ({"netns": "office", "table": 8}, 9, 9),
    ],
)
def test_a_route_in_a_vrf_or_a_netns_has_its_table(settings, own, table):
    """It is the VRF's, unless the route has its own. Its source is nobody's business here."""
    routes = (ConfiguredRoute(ip_network("0.0.0.0/0"), table=own),)
    made = wishes(
        Settings(routes=routes, **settings),
        source="10.1.0.1",
        MY_CLIENT="10.1.0.0/24",
        **NO_VIRTUAL_IP,
    )
    (route,) = of(Route, made)
    assert (route.table, route.source) == (table, None) and of(Rule, made) == []


@pytest.mark.parametrize("net", ["192.0.0.0/8", "192.168.0.0/30", "128.0.0.0/1", "0.0.0.0/1"])
def test_a_half_or_what_contains_the_peer_is_a_full_tunnel(net):
    """In the main table it would loop, or its other half would."""
    made = wishes(Settings(routes=(ConfiguredRoute(ip_network(net)),)))
    assert routes_of(made) == [(net, FULL_TABLE), (net, FULL_TABLE + 1)]
    assert len(of(Rule, made)) == 7


def test_a_wide_route_says_that_the_peer_is_left_out():
    """Its own packets cannot go through its tunnel."""
    settings = Settings(routes=(ConfiguredRoute(ip_network("192.0.0.0/8")),))
    made = plan(parse(environment()), settings, Answers(None, None, None, None))
    assert made.notes == ("192.0.0.0/8 goes through the tunnel, all but 192.168.0.2",)


def test_a_route_to_the_peer_itself_is_refused():
    """Its packets would leave in clear, though the up says routed."""
    settings = Settings(routes=(ConfiguredRoute(ip_network("192.168.0.2/32")),))
    assert refused(settings=settings) == (
        "192.168.0.2/32 is the peer itself, and its ESP cannot go through its own tunnel;"
        " leave mark or if_id out of a CHILD_SA for the peer itself"
    )


def test_a_full_tunnel_in_the_main_table_is_refused():
    """The peer's own packets would go into the tunnel."""
    told = refused(settings=EVERYTHING._replace(table=254))
    assert (
        told
        == "0.0.0.0/0 in the main table would send the peer's own packets into the tunnel; leave table out"
    )


def test_a_vrf_has_its_routes_in_its_own_table_and_no_rules():
    """The outer packets are routed elsewhere."""
    made = wishes(EVERYTHING._replace(vrf="blue"))
    assert [one.table for one in of(Route, made)] == [100] and of(Rule, made) == []
    assert [one.master for one in of(Link, made)] == ["blue"]


def test_a_routes_own_values_come_before_the_connections():
    """Metric, table and source may stand in the route itself."""
    nets = [ip_network(net) for net in ("10.2.0.0/16", "10.9.0.0/16")]
    routes = (
        ConfiguredRoute(nets[0]),
        ConfiguredRoute(nets[1], metric=7, table=9, source=ip_address("10.1.0.1")),
    )
    made = of(Route, wishes(Settings(routes=routes, metric=5, table=8)))
    assert [(one.table, one.metric, str(one.source)) for one in made] == [
        (8, 5, "10.3.0.1"),
        (9, 7, "10.1.0.1"),
    ]


def test_an_if_id_makes_an_xfrm_interface_named_after_it():
    """xfrm42 for if_id 42."""
    made = wishes(IF_ID_IN=42, IF_ID_OUT=42)
    (link,) = of(Link, made)
    assert link == Link("xfrm", None, None, "xfrm42", 0, 0, "vti-updown gw", if_id=42)
    assert link.key == "xfrm 42"


@pytest.mark.parametrize(("name", "other"), [("IF_ID_IN", "IF_ID_OUT"), ("IF_ID_OUT", "IF_ID_IN")])
def test_one_if_id_makes_one_link(name, other):
    """Those of the settings count only where the CHILD_SA has none at all."""
    (link,) = of(Link, wishes(Settings(if_id=(7, 8)), **{name: 42, other: None}))
    assert (link.kind, link.if_id) == ("xfrm", 42)
    first, second = of(Link, wishes(Settings(if_id=(7, 8))))
    assert (first.if_id, second.if_id) == (8, 7)


def test_marks_of_the_settings_count_where_the_child_sa_has_none():
    """Inbound comes first, as in the file."""
    chosen = Settings(mark=(5, 6))
    (link,) = of(Link, wishes(chosen, MARK_IN=None, MARK_OUT=None))
    assert (link.ikey, link.okey) == (5, 6)
    (link,) = of(Link, wishes(chosen))
    assert (link.ikey, link.okey) == (2, 2)


class Taken(Answers):
    """Where every name but the last is taken."""

    def link_name(self, link, defaults, chosen):
        *self.taken, last = defaults
        return LinkName(last, Reason("by hand"))


def test_default_names_lie_further_and_further_away():
    """A crowd of old links costs a few look-ups. The last name is 2 ** 31 away."""
    answers = Taken(None, None, None, None)
    made = plan(parse(environment(UNIQUEID="7")), Settings(), answers)
    assert answers.taken[:5] == ["vti7", "vti8", "vti9", "vti11", "vti15"]
    assert len(answers.taken) == 32
    (link,) = of(Link, made)
    assert link.name == f"vti{7 + 2**31}"


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"MARK_IN": "5", "MARK_OUT": "6"}, "vti6"),
        ({"MARK_IN": "5", "MARK_OUT": None}, "vti5"),
        ({"MARK_IN": None, "MARK_OUT": "6"}, "vti6"),
    ],
)
def test_a_name_has_the_mark_that_packets_leave_by(changed, name):
    """Or the one that they come in by, where there is no other."""
    (link,) = of(Link, wishes(Settings(name="vti{mark}"), **changed))
    assert link.name == name
    (link,) = of(Link, wishes(UNIQUEID="0", **changed))
    assert link.name == name


def test_a_name_that_cannot_be_had_is_noted():
    """The link has another one for as long as it is up."""
    made = plan(parse(environment()), Settings(name="office"), Taken(None, None, None, None))
    (link,) = of(Link, made)
    assert made.notes[0] == f"the link is {link.name}, not office, for as long as it is up"


def test_two_links_do_not_get_one_name():
    """The second has its default, if the template does not tell the two apart."""
    both = {"IF_ID_IN": 7, "IF_ID_OUT": 8}
    assert [link.name for link in of(Link, wishes(Settings(name="gw"), **both))] == ["gw", "xfrm7"]
    named = of(Link, wishes(Settings(name="gw{if_id}"), **both))
    assert [link.name for link in named] == ["gw8", "gw7"]


def test_two_if_ids_make_a_link_each_way():
    """The outbound one comes first."""
    made = wishes(
        Settings(routes=(ConfiguredRoute(ip_network("10.2.0.0/16")),)), IF_ID_IN=7, IF_ID_OUT=8
    )
    out, back = of(Link, made)
    assert (out.if_id, back.if_id) == (8, 7)
    assert [one.link_key for one in of(Route, made)] == [out.key] and {
        one.link_key for one in of(Address, made)
    } == {out.key}
    assert Sysctl(back.key, "ipv4", "rp_filter", 2) in made.wishes


@pytest.mark.parametrize(
    ("unknown", "told"),
    [
        ({"me": None}, "one of the two endpoints of the VTI is not known"),
        ({"peer": None}, "one of the two endpoints of the VTI is not known"),
        ({"me": None, "peer": None}, "the endpoints of the VTI are not known"),
    ],
)
def test_a_vti_with_an_unknown_endpoint_is_told_to_name_both(unknown, told):
    """There is no event to tell them where a link stands before its CHILD_SA."""
    event = parse(environment())._replace(**unknown)
    with pytest.raises(PlanError) as caught:
        plan(event, Settings(), Answers(None, None, None, None))
    assert caught.value.message == told
    assert caught.value.hint == "add local and remote to the settings"


def test_any_end_is_a_wildcard_of_the_endpoints_family():
    """0.0.0.0 or ::, as the other end has it."""
    anywhere = Settings(remote=ip_address("0.0.0.0"))
    assert of(Link, wishes(anywhere))[0].key == "vti 192.168.0.1 0.0.0.0"
    assert of(Link, wishes(anywhere, ME="fec0::1", PEER="fec0::2"))[0].key == "vti6 fec0::1 ::"


@pytest.mark.parametrize(
    ("settings", "changed", "told"),
    [
        ({"kind": "xfrm"}, {}, "kind = xfrm, but the CHILD_SA has no if_id; add if_id_in and if_id_out to it"),
        ({"kind": "vti6"}, {}, "kind = vti6, but 192.168.0.1 is an IPv4 endpoint; leave kind out"),
        ({"kind": "vti"}, {"MARK_IN": None, "MARK_OUT": None, "IF_ID_IN": 4, "IF_ID_OUT": 4},
         "the CHILD_SA has no mark; add mark=NUMBER to it, unique to the peer (swanctl: mark_in, mark_out)"),
        ({"local": ip_address("fec0::7")}, {}, "fec0::7 is no IPv4 address, as the other endpoint is; correct local or remote"),
        ({"remote": ip_address("192.0.2.7")}, {"ME": "fec0::1", "PEER": "fec0::2"},
         "192.0.2.7 is no IPv6 address, as the other endpoint is; correct local or remote"),
        ({"kind": "vti"}, {"ME": "fec0::1", "PEER": "fec0::2"}, "kind = vti, but fec0::1 is an IPv6 endpoint; leave kind out"),
        ({"mtu": 1200}, {"verb": "up-client-v6"}, "mtu = 1200 is too small for IPv6; make it 1280 or more"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(settings, changed, told):
    """Each error has a hint that says what to write."""
    assert refused(settings=Settings(**settings), **changed) == told


@pytest.mark.parametrize(
    ("path", "peer", "mtu"),
    [
        (1500, 4, 1406),
        (1500, 6, 1390),
        (1492, 4, 1406),
        (1484, 4, 1390),
        (1491, 4, 1390),
        (1512, 6, 1406),
        (1511, 6, 1390),
        (9000, 4, 8910),
        (1280, 4, 1280),
        (None, 4, 0),
    ],
)
def test_the_mtu_is_what_the_longest_esp_header_leaves(path, peer, mtu):
    """Whatever the cipher, with NAT in between or not."""
    ends = {} if peer == 4 else {"ME": "fec0::1", "PEER": "fec0::2"}
    (link,) = of(Link, wishes(path_mtu=path, **ends))
    assert link.mtu == mtu


def test_an_mtu_that_is_set_is_the_links():
    """IPv6 alone needs 1280."""
    assert of(Link, wishes(Settings(mtu=1200), path_mtu=1500))[0].mtu == 1200
    assert of(Link, wishes(Settings(mtu=1280), "up-client-v6"))[0].mtu == 1280


def test_the_path_to_nowhere_is_not_looked_up():
    """The kernel chooses the MTU then."""
    anywhere = Settings(remote=ip_address("0.0.0.0"))
    (link,) = of(Link, wishes(anywhere, PEER="0.0.0.0", path_mtu=1500))
    assert link.mtu == 0


def test_the_mss_is_clamped_to_what_the_mtu_leaves():
    """Or to the number that is set."""
    assert of(MssClamp, wishes(Settings(mss=0), path_mtu=1500)) == [
        MssClamp("vti 192.168.0.1 192.168.0.2", "vti1", 1366, 1346)
    ]
    assert of(MssClamp, wishes(Settings(mss=0))) == [
        MssClamp("vti 192.168.0.1 192.168.0.2", "vti1", 1350, 1330)
    ]
    assert of(MssClamp, wishes(Settings(mss=1200))) == [
        MssClamp("vti 192.168.0.1 192.168.0.2", "vti1", 1200, 1200, is_chosen=True)
    ]
    (clamp,) = of(MssClamp, wishes(Settings(mss=0, mtu=1400)))
    assert not clamp.is_chosen


OFFICE = Settings(routes=(ConfiguredRoute(ip_network("10.2.0.0/16")),))


def test_block_stands_behind_every_route():
    """One unreachable route for each, with the greatest metric."""
    made = wishes(OFFICE._replace(when_down="block"))
    assert made.standing == (Route(ip_network("10.2.0.0/16"), 254, 0xFFFFFFFF, "", None),)
    full = wishes(EVERYTHING._replace(when_down="block"))
    assert [type(noun) for noun in full.standing] == [Route, Route, *[Rule] * 7]


def test_keep_stands_without_what_the_peer_handed_out():
    """A virtual IP is gone while the CHILD_SA is."""
    inner = InnerAddress(ip_interface("169.254.21.2/30"))
    made = wishes(OFFICE._replace(when_down="keep"))
    assert [noun for noun in made.standing if isinstance(noun, Address)] == []
    assert [noun.source for noun in made.standing if isinstance(noun, Route)] == [None]
    kept = wishes(OFFICE._replace(when_down="keep", address=(inner,)))
    assert [str(noun.address) for noun in kept.standing if isinstance(noun, Address)] == [
        "169.254.21.2/30"
    ]


@pytest.mark.parametrize(
    ("verb", "ip"), [("up-client", "169.254.21.2/30"), ("up-client-v6", "fd00:7::2/64")]
)
def test_addresses_of_the_settings_wait_for_their_family(verb, ip):
    """Those of the other come with its own event."""
    inner = [InnerAddress(ip_interface(text)) for text in ("169.254.21.2/30", "fd00:7::2/64")]
    made = wishes(Settings(address=tuple(inner)), verb)
    assert [str(noun.address) for noun in of(Address, made)] == [ip]


class NoVirtualIps(Answers):
    """Answers about our address only where there is one to ask for."""

    def our_address(self, link_key, ip):
        assert ip is not None and str(ip) != "10.3.0.1"
        return super().our_address(link_key, ip)


def test_an_address_of_ours_that_a_route_hangs_on_is_wished_for():
    """It stays as long as the route. A virtual IP is wished for anyway."""
    held = Address("vti 192.168.0.1 192.168.0.2", ip_interface("10.1.0.1/32"))
    site = environment(MY_CLIENT="10.1.0.0/24", **NO_VIRTUAL_IP)
    answers = NoVirtualIps("10.1.0.1", None, held, None)
    assert of(Address, plan(parse(site), OFFICE, answers)) == [held]
    answers = NoVirtualIps(None, None, held, None)
    assert of(Address, plan(parse(site), OFFICE, answers)) == []
    made = plan(parse(environment()), OFFICE, answers)
    assert [str(noun.address) for noun in of(Address, made)] == ["10.3.0.1/32"]


def test_nothing_stands_by_default():
    """when_down is remove."""
    assert wishes(OFFICE).standing == ()


@pytest.mark.parametrize("ip", ["10.0.0.254", "192.168.0.1", "192.168.0.2"])
def test_a_virtual_ip_that_is_a_neighbours_is_refused(ip):
    """It must not be the peer's, our own, or the next hop's address."""
    assert f"the peer gave the virtual IP {ip}, which is " in refused(
        hop="10.0.0.254", MY_SOURCEIP4_1=ip
    )


@pytest.mark.parametrize("character", ["x", "ü", "\U0001f510"])
def test_an_alias_has_63_characters_whatever_they_are(character):
    """So it fits into 255 bytes."""
    (link,) = of(Link, wishes(CONNECTION=character * 100))
    assert len(link.alias) == 63 and len(link.alias.encode()) <= 255


def test_an_alias_is_printable_and_fits():
    """A connection's name may be long and strange."""
    (link,) = of(Link, wishes(CONNECTION="x\n" * 300))
    assert link.alias.isprintable() and len(link.alias.encode()) <= 255


def test_every_wish_and_all_that_stands_is_one_of_its_key():
    """No plan wishes twice for one key."""
    net, wide = ip_network("10.2.0.0/16"), ip_network("0.0.0.0/0")
    for routes, settings in (
        ((ConfiguredRoute(net, metric=10), ConfiguredRoute(net, metric=20)), Settings()),
        ((ConfiguredRoute(net, metric=100), ConfiguredRoute(net)), Settings(metric=100)),
        ((ConfiguredRoute(net, table=100), ConfiguredRoute(net)), Settings(table=100)),
        (
            (
                ConfiguredRoute(wide, metric=(1 << 32) - 2),
                ConfiguredRoute(wide, metric=(1 << 32) - 3),
            ),
            Settings(),
        ),
    ):
        for what in ("block", "keep"):
            made = wishes(settings._replace(routes=routes, when_down=what))
            for nouns in (made.wishes, made.standing):
                assert len({noun.key for noun in nouns}) == len(nouns)


@pytest.mark.parametrize("metric", [5, 1023, 1025])
def test_another_metric_than_ipv6s_own_is_kept(metric):
    """The smaller one is the better one."""
    routes = (ConfiguredRoute(ip_network("fd00:2::/32"), metric=metric),)
    (route,) = of(Route, wishes(Settings(routes=routes), "up-client-v6"))
    assert route.metric == metric


@pytest.mark.parametrize("metric", [1, (1 << 31) - 3, (1 << 31) - 1, 1 << 31, (1 << 32) - 2])
def test_a_full_tunnels_metric_stays_below_what_blocks(metric):
    """charon shall like the uplink's route better, and no unreachable route may win."""
    routes = (ConfiguredRoute(ip_network("0.0.0.0/0"), metric=metric),)
    made = of(Route, wishes(Settings(routes=routes)))
    assert {route.metric for route in made} == {min(metric + (1 << 31), 0xFFFFFFFE)}


def test_a_selector_of_a_sites_network_is_routed():
    """No network of a site is wider than a /8."""
    (route,) = of(Route, wishes(PEER_CLIENT="10.0.0.0/8"))
    assert str(route.destination) == "10.0.0.0/8"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"PEER_PROTOCOL": "1"}, "is limited by protocol or port"),
        ({"PEER_PORT": "500"}, "is limited by protocol or port"),
        ({"PEER_CLIENT": "192.168.0.0/16", "ME": "10.9.9.9"}, "contains the peer's own address"),
        ({"PEER_CLIENT": "192.168.0.0/30", "PEER": "10.9.9.9"}, "contains our own address"),
        ({"PEER_CLIENT": "192.0.2.0/24"}, "contains the next hop's address"),
    ],
)
def test_a_selector_that_a_route_cannot_say_makes_none(changed, why):
    """A note says why, and what to write."""
    made = wishes(hop="192.0.2.1", **{"PEER_CLIENT": "10.2.0.0/16", **changed})
    assert of(Route, made) == []
    (note,) = made.notes
    assert f" {why}; add --route NET" in note


def test_ipv6s_own_metric_is_none():
    """1024 is what the kernel gives a route without a metric."""
    (route,) = of(
        Route,
        wishes(
            Settings(routes=(ConfiguredRoute(ip_network("fd00:2::/32"), metric=1024),)),
            "up-client-v6",
        ),
    )
    assert route.metric == 0


def test_a_name_of_charons_own_namespace_is_no_namespace():
    """A full tunnel needs its rules there, or its own packets go into it."""
    named = wishes(EVERYTHING._replace(netns="charons-own"))
    same = wishes(EVERYTHING)._replace(reasons=named.reasons)
    assert named == same and of(Rule, named)
    elsewhere = wishes(EVERYTHING._replace(netns="red"))
    assert not of(Rule, elsewhere) and {one.netns for one in of(Route, elsewhere)} == {"red"}
