"""The hook on a real kernel: what an event makes, what it takes away, and what it leaves alone."""

import itertools
import sqlite3
import subprocess

import pytest

from support.events import environment
from support.namespaces import INSTALLED
from support.slow import slow_but
from vti_updown import state
from vti_updown.kernel.apply import KernelError
from vti_updown.kernel.kernel import Kernel
from vti_updown.objects.object import Applied, Outcome
from vti_updown.objects.registry import Step
from vti_updown.records.applied import AppliedObjects
from vti_updown.records.records import Records

NET = ("--route", "10.2.0.0/16", "--route", "fec2::/16")


def test_up_makes_the_link_its_address_its_route_and_its_setting(machine):
    """One up builds all four objects, and the kernel shows each of them."""
    lines = machine.up(*NET)
    assert lines == ["gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.2.0.0/16"]
    shown = machine.run("ip", "-d", "link", "show", "vti1")
    assert "vti remote 192.168.0.2 local 192.168.0.1 ikey 0.0.0.2 okey 0.0.0.2" in shown
    assert f"group {state.group()}" in shown and "alias vti-updown gw" in shown and ",UP" in shown
    assert machine.addresses("vti1") == ["10.3.0.1/32"]
    assert machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    assert machine.setting(4, "vti1") == "1"


def test_second_selector_pair_adds_ipv6_to_the_same_link(machine):
    """A CHILD_SA with two selector pairs calls twice and has one link."""
    machine.up(*NET)
    assert machine.up(*NET, verb="up-client-v6") == [
        "gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, fec3::1/128, fec2::/16"
    ]
    assert machine.links() == ["vti1"]
    assert machine.addresses("vti1") == ["10.3.0.1/32", "fec3::1/128"]
    assert "fec2::/16 proto 50 src fec3::1 metric 1024 pref medium" in machine.routes("vti1", 6)
    assert machine.setting(6, "vti1") == "1"


@pytest.mark.parametrize("order", [("", "-v6"), ("-v6", "")])
def test_downs_in_either_order_leave_the_host_as_it_was(machine, order):
    """Whichever pair goes first, nothing of the tunnel is left."""
    before = machine.state()
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    assert machine.state() != before
    first, second = (f"down-client{suffix}" for suffix in order)
    assert "gw: vti1 stays, held by 1 more" in machine.down(verb=first)[0]
    assert machine.links() == ["vti1"]
    address, net, family = (
        ("fec3::1/128", "fec2::/16", 6)
        if first == "down-client"
        else ("10.3.0.1/32", "10.2.0.0/16", 4)
    )
    assert machine.addresses("vti1") == [address]
    routes = [
        one.split(" ")[0]
        for version in (4, 6)
        for one in machine.routes("vti1", version)
        if "proto 50" in one
    ]
    assert routes == [net]
    assert [version for version in (4, 6) if machine.setting(version, "vti1") == "1"] == [family]
    assert machine.down(verb=second) == ["gw: vti1 down, 192.168.0.1 → 192.168.0.2"]
    assert machine.state() == before


def test_first_down_leaves_the_other_familys_route_and_address(machine):
    """What the other selector pair needs stays until its own down."""
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    machine.down()
    assert machine.addresses("vti1") == ["fec3::1/128"]
    assert machine.routes("vti1") == []
    assert "fec2::/16 proto 50 src fec3::1 metric 1024 pref medium" in machine.routes("vti1", 6)


def test_ipv6_endpoints_get_a_vti6(machine):
    """The kernel's vti has IPv4 endpoints only."""
    before = machine.state()
    machine.up(*NET, ME="fec0::1", PEER="fec0::2")
    shown = machine.run("ip", "-d", "link", "show", "vti1")
    assert "vti6 remote fec0::2 local fec0::1" in shown and "okey 0.0.0.2" in shown
    assert machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    machine.down(ME="fec0::1", PEER="fec0::2")
    assert machine.state() == before


def test_a_mark_in_one_direction_only_is_that_directions_key(machine):
    """The other key of the VTI stays 0."""
    machine.up(MARK_IN=None, MARK_OUT="7/0xffffffff")
    shown = machine.run("ip", "-d", "link", "show", "vti1")
    assert "okey 0.0.0.7" in shown and "ikey" not in shown


# Routes


def test_peers_selector_is_routed_without_flags(machine):
    """Without settings the network of the peer's selector is routed."""
    machine.up(PEER_CLIENT="10.9.0.0/16")
    assert machine.routes("vti1") == ["10.9.0.0/16 proto 50 scope link src 10.3.0.1"]


@pytest.mark.parametrize(
    ("selector", "why"),
    [
        ("0.0.0.0/0", "is everything"),
        ("192.168.0.0/24", "contains the peer's own address"),
        ("192.168.0.0/31", "contains our own address"),
    ],
)
def test_a_selector_that_no_route_may_have_is_told(machine, selector, why):
    """No route is made for it, and a line says what to write instead."""
    lines = machine.up(PEER_CLIENT=selector)
    assert machine.routes("vti1") == []
    assert (
        lines[1]
        == f"gw: no route made, as the selector {selector} {why}; add --route NET, or --no-routes"
    )


def test_a_selector_that_contains_the_next_hop_gets_no_route(machine):
    """The way to the peer must not lead into the tunnel."""
    lines = machine.up(PEER="203.0.113.9", PEER_CLIENT="192.168.0.254/32")
    assert machine.routes("vti1") == []
    assert "is the next hop's address" in lines[1]


@pytest.mark.parametrize(
    ("selector", "why"),
    [
        ("10.1.0.128/25", "is part of 10.1.0.0/24, which the host routes by lan"),
        ("10.5.0.0/16", "has a route by lan"),
        ("10.5.7.0/24", "is part of 10.5.0.0/16, which the host routes by lan"),
        ("10.1.0.1/32", "is our own address"),
        ("172.16.0.0/12", "contains 172.16.0.9, a next hop of this host"),
        ("224.0.0.5/32", "is multicast"),
    ],
)
def test_a_peer_gets_nothing_that_the_host_routes(machine, selector, why):
    """What is connected, the host's routes and its next hops stay as they are."""
    machine.run("ip", "addr", "add", "10.1.0.1/24", "dev", "lan")
    machine.run("ip", "route", "add", "10.5.0.0/16", "via", "10.1.0.254")
    machine.run("ip", "route", "add", "10.6.0.0/16", "nexthop", "via", "10.1.0.254", "nexthop",
                "via", "172.16.0.9", "dev", "lan", "onlink")  # fmt: skip
    lines = machine.up(PEER_CLIENT=selector)
    assert machine.routes("vti1") == []
    assert f"no route made, as the selector {selector} {why}" in lines[1]


def test_a_network_around_the_hosts_is_routed_again_and_again(machine):
    """The host's own is more specific. A second up meets the first one's route, which is ours."""
    machine.run("ip", "addr", "add", "10.1.0.1/24", "dev", "lan")
    for number in (1, 2):
        lines = machine.up(PEER_CLIENT="10.0.0.0/8", UNIQUEID=number)
        assert len(lines) == 1
        assert machine.routes("vti1") == ["10.0.0.0/8 proto 50 scope link src 10.3.0.1"]


@pytest.mark.parametrize("rule", ["from 192.168.0.1", "fwmark 2", "ipproto udp sport 14500"])
def test_a_look_up_has_what_the_packets_have(machine, rule):
    """A rule of the user's for it leads to another uplink, which carries less."""
    machine.run("ip", "route", "add", "192.168.0.2", "dev", "lan", "mtu", "1400", "table", "202")
    machine.run("ip", "rule", "add", "pref", "9", *rule.split(), "lookup", "202")
    machine.up("--ike-ports", "1500,14500", PEER_CLIENT="10.2.0.0/16")
    assert " mtu 1310 " in machine.run("ip", "link", "show", "vti1")
    machine.down(PEER_CLIENT="10.2.0.0/16")
    machine.run("ip", "rule", "del", "pref", "9")


def test_a_selector_limited_to_a_port_gets_no_route(machine):
    """A route cannot say protocol and port."""
    lines = machine.up(PEER_CLIENT="10.9.0.0/16", PEER_PROTOCOL="6", PEER_PORT="443")
    assert machine.routes("vti1") == []
    assert "is limited by protocol or port" in lines[1]


def test_no_routes_makes_none_and_says_nothing(machine):
    """Who asked for no route needs no advice."""
    assert machine.up("--no-routes") == [
        "gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32"
    ]
    assert machine.routes("vti1") == []


@pytest.mark.parametrize("selector", ["10.1.0.0/24", "10.1.0.1/32", "10.0.0.0/8"])
def test_a_gateways_route_prefers_its_address_in_the_selector(machine, selector):
    """The gateway's own packets must have a source that the policy matches."""
    machine.run("ip", "addr", "add", "10.1.0.1/24", "dev", "lan")
    machine.up(
        MY_SOURCEIP=None,
        MY_SOURCEIP4_1=None,
        MY_SOURCEIP6_1=None,
        MY_CLIENT=selector,
        PEER_CLIENT="10.2.0.0/16",
    )
    assert machine.addresses("vti1") == []
    assert machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link src 10.1.0.1"]


def test_a_gateways_ipv6_route_prefers_its_own_address_too(machine):
    """The same holds for IPv6."""
    machine.run("ip", "addr", "add", "fd01::1/64", "dev", "lan", "nodad")
    machine.up(verb="up-client-v6", MY_SOURCEIP=None, MY_SOURCEIP4_1=None, MY_SOURCEIP6_1=None, MY_CLIENT="fd01::/32",
               PEER_CLIENT="fd02::/32")  # fmt: skip
    assert "fd02::/32 proto 50 src fd01::1 metric 1024 pref medium" in machine.routes("vti1", 6)


def test_a_route_has_no_source_without_a_fitting_address(machine):
    """Forwarded packets still need the route."""
    machine.up(
        MY_SOURCEIP=None,
        MY_SOURCEIP4_1=None,
        MY_SOURCEIP6_1=None,
        MY_CLIENT="10.77.0.0/24",
        PEER_CLIENT="10.2.0.0/16",
    )
    assert machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link"]


# Shared links: the newest decides, and the last one takes it away


def test_a_second_child_sa_shares_the_link_of_the_first(machine):
    """Its down takes only what it brought, and the last down takes the link."""
    before = machine.state()
    machine.up(CONNECTION="a", PEER_CLIENT="10.2.0.0/16")
    machine.up(CONNECTION="b", PEER_CLIENT="10.9.0.0/16")
    assert machine.links() == ["vti1"]
    machine.down(CONNECTION="a", PEER_CLIENT="10.2.0.0/16")
    assert machine.addresses("vti1") == ["10.3.0.1/32"]
    assert machine.routes("vti1") == ["10.9.0.0/16 proto 50 scope link src 10.3.0.1"]
    machine.down(CONNECTION="b", PEER_CLIENT="10.9.0.0/16")
    assert machine.state() == before


def test_anothers_routes_outlive_the_links_last_ipv4_address(machine):
    """The kernel takes all IPv4 routes of a link along with its last IPv4 address."""
    machine.run("ip", "addr", "add", "10.1.0.1/24", "dev", "lan")
    machine.up(CONNECTION="a", PEER_CLIENT="10.2.0.0/16")
    machine.up(
        CONNECTION="b",
        PEER_CLIENT="10.9.0.0/16",
        MY_CLIENT="10.1.0.0/24",
        MY_SOURCEIP=None,
        MY_SOURCEIP4_1=None,
    )
    machine.down(CONNECTION="a", PEER_CLIENT="10.2.0.0/16")
    assert machine.addresses("vti1") == []
    assert machine.routes("vti1") == ["10.9.0.0/16 proto 50 scope link src 10.1.0.1"]


def test_an_address_stays_as_long_as_anothers_route_prefers_it(machine):
    """A route must not lose its source with somebody else's down."""
    machine.up(CONNECTION="a", PEER_CLIENT="10.2.0.0/16")
    machine.up(CONNECTION="b", PEER_CLIENT="10.9.0.0/16", MY_SOURCEIP=None, MY_SOURCEIP4_1=None)
    machine.down(CONNECTION="a", PEER_CLIENT="10.2.0.0/16")
    assert machine.addresses("vti1") == ["10.3.0.1/32"]
    assert machine.routes("vti1") == ["10.9.0.0/16 proto 50 scope link src 10.3.0.1"]


def test_a_network_of_two_gateways_falls_back_to_the_older(machine):
    """The newest has the route, and the other has it back when that one goes."""
    before = machine.state()
    machine.up(CONNECTION="one", PEER_CLIENT="10.2.0.0/16")
    machine.up(
        CONNECTION="two", PEER="192.168.0.3", UNIQUEID=2, PEER_CLIENT="10.2.0.0/16", PEER_ID="star"
    )
    assert machine.routes("vti2") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    assert machine.routes("vti1") == []
    machine.down(
        CONNECTION="two", PEER="192.168.0.3", UNIQUEID=2, PEER_CLIENT="10.2.0.0/16", PEER_ID="star"
    )
    assert machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    machine.down(CONNECTION="one", PEER_CLIENT="10.2.0.0/16")
    assert machine.state() == before


def test_make_before_break_keeps_link_address_and_route(machine):
    """The new CHILD_SA is up before the old one's down, so nothing is taken away between."""
    before = machine.state()
    machine.up(*NET)
    made = machine.state()
    machine.up(*NET, UNIQUEID=2)
    assert machine.state() == made
    machine.down(UNIQUEID=1)
    assert machine.state() == made
    machine.down(UNIQUEID=2)
    assert machine.state() == before


def test_down_after_an_ike_rekey_removes_the_link(machine):
    """The down has a unique ID that no up ever had."""
    before = machine.state()
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    machine.down(UNIQUEID=7)
    machine.down(verb="down-client-v6", UNIQUEID=7)
    assert machine.state() == before


def test_a_unique_mark_follows_the_newest_and_falls_back(machine):
    """With mark=%unique the link's keys are those of the newest CHILD_SA."""
    machine.up(MARK_IN="5/0xffffffff", MARK_OUT="5/0xffffffff")
    machine.up(MARK_IN="6/0xffffffff", MARK_OUT="6/0xffffffff", UNIQUEID=2)
    assert "ikey 0.0.0.6 okey 0.0.0.6" in machine.run("ip", "-d", "link", "show", "vti1")
    machine.down(MARK_IN="6/0xffffffff", MARK_OUT="6/0xffffffff", UNIQUEID=2)
    assert "ikey 0.0.0.5 okey 0.0.0.5" in machine.run("ip", "-d", "link", "show", "vti1")


def test_two_peers_behind_one_nat_are_refused_with_both_named(machine):
    """One VTI cannot have two marks, and the error advises if_id."""
    machine.up()
    made = machine.state()
    lines = machine.event(
        "up-client",
        PEER_ID="star",
        CONNECTION="gw2",
        UNIQUEID=2,
        MARK_IN="3/0xffffffff",
        MARK_OUT="3/0xffffffff",
    )
    assert machine.status == 2
    assert lines == [
        "error: gw2: gw holds vti1 to 192.168.0.2 with mark 2, this is 3; give both one mark, or use if_id"
    ]
    assert machine.state() == made


# Neighbours


def test_a_taken_default_name_takes_another(machine):
    """A stranger's link of our default name stays as it is."""
    machine.run("ip", "link", "add", "vti1", "type", "dummy")
    assert machine.up(*NET)[0].startswith("gw: vti2 up")
    machine.down()
    assert machine.links() == [] and "vti1" in machine.run("ip", "link", "show", "type", "dummy")


def test_a_taken_configured_name_is_an_error_and_changes_nothing(machine):
    """Who chose a name must hear that it is taken."""
    machine.run("ip", "link", "add", "office", "type", "dummy")
    before = machine.state()
    assert machine.event("up-client", "--name", "office") == [
        "error: gw: the name office is taken by another link; choose another --name, such as vpn{uniqueid}"
    ]
    assert machine.status == 2 and machine.state() == before


def test_a_name_is_made_of_its_template(machine):
    """The link has the name that the placeholders give."""
    machine.up("--name", "{connection}-{mark}")
    assert machine.links() == ["gw-2"]


@pytest.mark.parametrize("name", [(), ("--name", "mine")])
def test_a_link_with_our_endpoints_is_borrowed_and_given_back(machine, name):
    """The administrator's own link is used, and neither changed nor deleted."""
    machine.add_vti("mine")
    machine.run("ip", "link", "set", "mine", "up")
    machine.run("ip", "addr", "add", "10.3.0.9/32", "dev", "mine")
    before = machine.state()
    assert machine.up(*NET, *name) == [
        "gw: mine up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.2.0.0/16"
    ]
    machine.up(*NET, *name, verb="up-client-v6")
    assert machine.links() == ["mine"] and machine.setting(4, "mine") == "0"
    assert machine.routes("mine") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    machine.down()
    said = machine.down(verb="down-client-v6")
    assert said == ["gw: mine stays, which was there before, 192.168.0.1 → 192.168.0.2"]
    assert machine.state() == before


def test_a_borrowed_link_with_another_mark_is_refused(machine):
    """Its keys are not ours to change, so no packet would match."""
    machine.run(
        "ip",
        "link",
        "add",
        "mine",
        "type",
        "vti",
        "local",
        "192.168.0.1",
        "remote",
        "192.168.0.2",
        "key",
        "5",
    )
    before = machine.state()
    lines = machine.event("up-client", *NET)
    assert machine.status == 1 and "mine has these endpoints but okey 5, ikey 5" in lines[0]
    assert machine.state() == before


def test_a_route_that_exists_is_left_alone_and_named(machine):
    """The tunnel comes up without it, and the log names it."""
    machine.run("ip", "route", "add", "10.2.0.0/16", "via", "192.168.0.254")
    before = machine.state()
    assert machine.up(*NET) == [
        "gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32",
        "gw: left alone: a route to 10.2.0.0/16 by eth0",
    ]
    machine.down()
    assert machine.state() == before


def test_a_link_that_a_user_deleted_is_made_anew_with_all_on_it(machine):
    """The next event that needs it sees that it is gone."""
    before = machine.state()
    machine.up(*NET)
    machine.run("ip", "link", "del", "vti1")
    machine.up(*NET, verb="up-client-v6")
    assert machine.addresses("vti1") == ["10.3.0.1/32", "fec3::1/128"]
    assert machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    machine.run("ip", "link", "del", "vti1")
    machine.down()
    assert machine.addresses("vti1") == ["fec3::1/128"]
    assert "fec2::/16 proto 50 src fec3::1 metric 1024 pref medium" in machine.routes("vti1", 6)
    assert machine.setting(6, "vti1") == "1"
    machine.down(verb="down-client-v6")
    assert machine.state() == before


def test_a_down_after_a_user_deleted_the_link_is_no_error(machine):
    """What is gone already counts as taken away."""
    before = machine.state()
    machine.up(*NET)
    machine.run("ip", "link", "del", "vti1")
    assert machine.down() == ["gw: vti1 down, 192.168.0.1 → 192.168.0.2"]
    assert machine.state() == before


def test_a_link_that_the_user_renamed_goes_all_the_same(machine):
    """We know a link by its number and its key, not by its name."""
    before = machine.state()
    machine.up(*NET)
    sh = "ip link set vti1 down; ip link set vti1 name other; ip link set other up"
    machine.run("sh", "-c", sh)
    machine.down()
    assert machine.state() == before


def test_what_a_dead_charon_left_goes_with_the_next_event(machine):
    """A killed charon sends no down."""
    before = machine.state()
    machine.up(*NET, PEER="192.168.0.7")
    machine.up(*NET, UNIQUEID=2)
    machine.restart_charon()
    machine.up(*NET)
    assert machine.links() == ["vti2"]
    assert machine.down()[0] == "gw: vti2 down, 192.168.0.1 → 192.168.0.2"
    assert machine.state() == before


# Faults


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it."""


def failing(monkeypatch, at, error, after=False):
    """The kernel's step number `at` raises, before it is taken or after, and so does the same step
    when it is tried again.
    """
    count = iter(range(1000))
    real = Kernel.take
    hit = []

    def take(
        self: Kernel,
        step: Step,
        known: dict[str, Applied],
        sure: bool = True,
        last: bool = False,
    ) -> Outcome:
        number = next(count)
        if number == at:
            hit.append(step)
        now = number == at or (
            last and (step.new, step.object.key) in {(one.new, one.object.key) for one in hit}
        )
        if now and not after:
            raise error
        outcome = real(self, step, known, sure, last)
        if now:
            raise error
        return outcome

    monkeypatch.setattr(Kernel, "take", take)


@pytest.mark.parametrize("at", slow_but([1, 3], range(4)))
def test_an_up_refused_at_any_step_leaves_the_state_before(machine, monkeypatch, at):
    """The steps that were taken are taken back."""
    before = machine.state()
    with monkeypatch.context() as patch:
        failing(patch, at, KernelError(1, "cannot: Operation not permitted"))
        lines = machine.event("up-client", *NET)
    assert machine.status == 1
    assert lines == [
        "error: gw: cannot: Operation not permitted; the hook needs CAP_NET_ADMIN, as charon has"
    ]
    assert machine.state() == before
    assert machine.down() == ["gw: its up had failed, nothing to take away"]


def test_the_down_of_a_failed_up_leaves_its_live_twin_alone(machine, monkeypatch):
    """charon calls a down for an up that failed, too."""
    machine.up(*NET)
    made = machine.state()
    with monkeypatch.context() as patch:
        failing(patch, 0, KernelError(1, "no"))
        machine.event("up-client", *NET, UNIQUEID=2, PEER_CLIENT="10.9.0.0/16", PEER="192.168.0.3")
    machine.down(UNIQUEID=2, PEER_CLIENT="10.9.0.0/16", PEER="192.168.0.3")
    assert machine.state() == made


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", slow_but([1, 3], range(4)))
def test_an_up_killed_at_any_step_is_completed_by_the_next_event(machine, monkeypatch, at, after):
    """The records say which steps are in doubt."""
    before = machine.state()
    with monkeypatch.context() as patch:
        failing(patch, at, Killed(), after)
        with pytest.raises(Killed):
            machine.event("up-client", *NET)
    machine.up(*NET, verb="up-client-v6")
    assert machine.addresses("vti1") == ["10.3.0.1/32", "fec3::1/128"]
    assert machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    assert machine.setting(4, "vti1") == machine.setting(6, "vti1") == "1"
    machine.down()
    machine.down(verb="down-client-v6")
    assert machine.state() == before


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", slow_but([1], range(3)))
def test_a_down_killed_at_any_step_is_completed_later(machine, monkeypatch, at, after):
    """Nothing is left behind, although charon never asks again."""
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    with monkeypatch.context() as patch:
        failing(patch, at, Killed(), after)
        try:
            machine.event("down-client")
        except Killed:
            pass
    machine.event("down-client", UNIQUEID=99, CONNECTION="nobody")
    assert machine.addresses("vti1") == ["fec3::1/128"]
    assert machine.routes("vti1") == [] and "fec2::/16" in machine.routes("vti1", 6)[0]


def test_a_down_goes_on_after_a_step_that_failed(machine, monkeypatch):
    """The next event takes away what could not be taken."""
    before = machine.state()
    machine.up(*NET)
    with monkeypatch.context() as patch:
        failing(patch, 0, KernelError(1, "cannot take away link vti1: no"))
        lines = machine.event("down-client")
    assert machine.status == 1
    assert lines == [
        "gw: vti1 could not be taken away, the next event tries again",
        "gw: cannot take away link vti1: no",
    ]
    assert machine.links() == ["vti1"]
    machine.down(UNIQUEID=99)
    assert machine.state() == before


def test_a_second_down_for_one_up_changes_nothing_and_says_so(machine):
    """charon sends some downs twice."""
    machine.up(*NET)
    machine.up(*NET, CONNECTION="b")
    machine.down(UNIQUEID=5)
    made = machine.state()
    assert machine.down(UNIQUEID=5) == ["gw: nothing is up for this down-client (unique ID 5)"]
    assert machine.state() == made


def test_bad_input_changes_nothing_and_names_the_variable(machine):
    """A refused event leaves the kernel and the records as they were."""
    before = machine.state()
    assert machine.event("up-client", ME="192.168.0.1%eth0\nFAKE: x") == [
        "error: gw: PLUTO_ME=192.168.0.1%eth0\\nFAKE: x is not an IP address; call the hook from charon, or correct it"
    ]
    assert machine.status == 2 and machine.state() == before


@pytest.mark.parametrize(
    "ip", ["127.0.0.1", "224.0.0.1", "0.0.0.0", "255.255.255.255", "192.168.0.2", "192.168.0.1"]
)
def test_a_virtual_ip_that_no_peer_may_hand_out_fails_the_event(machine, ip):
    """A loopback or multicast address from a peer would harm the host."""
    before = machine.state()
    lines = machine.event("up-client", *NET, MY_SOURCEIP4_1=ip)
    assert machine.status == 2 and lines[0].startswith(
        f"error: gw: the peer gave the virtual IP {ip}, which is "
    )
    assert machine.state() == before


def test_wrong_flags_fail_the_up_and_never_stop_a_down(machine):
    """A typo in the settings must not leave a tunnel behind."""
    machine.up(*NET)
    assert machine.event("up-client", "--rout", "10.2.0.0/16", CONNECTION="b") == [
        "error: b: unknown flag --rout; see vti-updown --help"
    ]
    assert machine.status == 2
    lines = machine.event("down-client", "--rout", "10.2.0.0/16")
    assert lines[0] == "gw: vti1 down, 192.168.0.1 → 192.168.0.2" and machine.links() == []


def test_read_only_proc_sys_is_a_line_and_no_failure(machine):
    """In a container the tunnel comes up without that sysctl."""
    machine.run(
        "sh", "-c", "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys"
    )
    machine.up(*NET)
    assert machine.setting(4, "vti1") == "1"
    lines = machine.up(*NET, verb="up-client-v6")
    assert lines[1] == "gw: left alone: ipv6 disable_policy as it was (Read-only file system)"
    assert machine.addresses("vti1") == ["10.3.0.1/32", "fec3::1/128"]


def test_a_refused_up_leaves_a_dead_charons_objects_for_later(machine):
    """An up that changes nothing must not clear others' objects."""
    before = machine.state()
    with machine.person():
        machine.up(PEER="192.168.0.5")
    machine.up(*NET)
    machine.restart_charon()
    machine.event(
        "up-client",
        PEER="192.168.0.5",
        PEER_ID="star",
        MARK_IN="3/0xffffffff",
        MARK_OUT="3/0xffffffff",
    )
    assert machine.status == 2
    with machine.person():
        machine.down(PEER="192.168.0.5")
    assert machine.state() == before


@pytest.mark.parametrize("at", slow_but([1, 6], range(8)))
def test_a_failed_up_takes_away_what_a_dead_charon_held(machine, monkeypatch, at):
    """What nobody wishes for any more goes, though the up itself failed."""
    before = machine.state()
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    machine.restart_charon()
    with monkeypatch.context() as patch:
        failing(patch, at, KernelError(1, "no"))
        machine.event("up-client", *NET, PEER="192.168.0.3")
    machine.down(PEER="192.168.0.3")
    assert machine.state() == before


def test_a_unique_mark_follows_with_several_selector_pairs(machine):
    """The first pair's call changes the mark for all of them."""
    before = machine.state()
    old, new = (
        {"MARK_IN": f"{n}/0xffffffff", "MARK_OUT": f"{n}/0xffffffff", "UNIQUEID": n} for n in (5, 6)
    )
    for marks in (old, new):
        machine.up(*NET, **marks)
        machine.up(*NET, verb="up-client-v6", **marks)
    for marks in (old, new):
        assert "ikey 0.0.0.6 okey 0.0.0.6" in machine.run("ip", "-d", "link", "show", "vti5")
        machine.down(**marks)
        machine.down(verb="down-client-v6", **marks)
    assert machine.state() == before


def test_a_sysctl_that_cannot_be_set_back_is_tried_again_later(machine):
    """It stays on record until a later event can do it."""
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    machine.run(
        "sh", "-c", "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys"
    )
    lines = machine.event("down-client-v6")
    assert machine.status == 1
    assert lines[1:] == ["gw: cannot take away ipv6 disable_policy: Read-only file system"]
    machine.run("umount", "/proc/sys")
    machine.down(CONNECTION="nobody")
    assert machine.setting(6, "vti1") == "0"


@pytest.mark.parametrize("at", slow_but([1, 4], range(1, 5)))
def test_records_that_fail_midway_leave_the_tunnel_up(machine, monkeypatch, at):
    """A line says that the next event looks again, and it does."""
    before = machine.state()
    count = iter(range(1000))

    def full(self: AppliedObjects, applied: Applied) -> None:
        if next(count) == at - 1:
            raise sqlite3.OperationalError("database or disk is full")
        put(self, applied)

    put = AppliedObjects.put
    with monkeypatch.context() as patch:
        patch.setattr(AppliedObjects, "put", full)
        assert machine.up(*NET)[1:] == [
            "gw: not recorded (database or disk is full), so the next event looks again"
        ]
    made = machine.state()
    assert machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    machine.down(CONNECTION="nobody")
    assert machine.state() == made
    machine.down()
    assert machine.state() == before


# By hand


def test_a_dry_runs_commands_make_the_tunnel_that_the_hook_makes(machine):
    """Pasted into a shell they build the same, and the rehearsal itself changes nothing."""
    machine.by_hand()
    before = machine.state()
    commands = machine.event("up-client", "--dry-run", *NET)
    assert machine.state() == before and not machine.run(
        "sh", "-c", "ls /run/vti-updown 2>/dev/null"
    )
    machine.run("sh", "-ec", "\n".join(commands))
    pasted = machine.state()
    machine.run("ip", "link", "del", "vti1")
    assert machine.state() == before
    machine.up(*NET)
    assert without_indexes(machine.state()) == without_indexes(pasted)


def without_indexes(state):
    """A network state without what a link made anew has anew, and without the protocol number of
    addresses.
    """
    lines = (line.removesuffix(" proto 0x32 vti1") for line in state.splitlines())
    return [line.partition(": ")[2] if line[:1].isdigit() else line for line in lines]


def test_a_dry_down_prints_what_would_go(machine):
    """A down can be rehearsed, too."""
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    made = machine.state()
    machine.by_hand()
    assert machine.event("down-client", "--dry-run") == [
        "ip route del 10.2.0.0/16 dev vti1 proto 50",
        "ip addr del 10.3.0.1/32 dev vti1",
        "sysctl -w net.ipv4.conf.vti1.disable_policy=0",
    ]
    assert machine.state() == made


def test_a_second_equal_up_by_hand_replaces_the_first(machine):
    """A person who repeats a command means the same tunnel."""
    machine.by_hand()
    before = machine.state()
    machine.up(*NET)
    made = machine.state()
    machine.up(*NET)
    assert machine.state() == made
    machine.down()
    assert machine.state() == before


# The installed script


def test_the_installed_hook_runs_from_charons_bare_environment(machine):
    """charon passes PATH and PLUTO_* only."""
    before = machine.state()
    bare = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    flags = " ".join(NET)
    for verb, said in (("up-client", "gw: vti1 up"), ("down-client", "gw: vti1 down")):
        call = ["/bin/sh", "-c", f"2>&1 {INSTALLED} {flags}"]
        done = subprocess.run(
            call, env=environment(verb) | bare, stdout=subprocess.PIPE, text=True, check=True
        )
        assert done.stdout.startswith(said)
    assert machine.state() == before


# What a review found


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", slow_but([1, 3], range(4)))
def test_a_killed_up_leaves_nothing_on_a_borrowed_link(machine, monkeypatch, at, after):
    """After its down the administrator's link is as it was."""
    machine.add_vti("mine")
    machine.run("ip", "link", "set", "mine", "up")
    before = machine.state()
    with monkeypatch.context() as patch:
        failing(patch, at, Killed(), after)
        with pytest.raises(Killed):
            machine.event("up-client", *NET)
    machine.down()
    assert machine.state() == before


@pytest.mark.parametrize("at", slow_but([1], range(3)))
def test_a_borrowed_link_is_cleared_by_a_later_event(machine, monkeypatch, at):
    """What could not be taken from it stays on record."""
    machine.add_vti("mine")
    machine.run("ip", "link", "set", "mine", "up")
    before = machine.state()
    machine.up(*NET)
    with monkeypatch.context() as patch:
        failing(patch, at, KernelError(105, "cannot: No buffer space available"))
        machine.event("down-client")
    assert machine.status == 1
    machine.event("down-client", UNIQUEID=99)
    assert machine.state() == before


def test_a_route_prefers_no_other_tunnels_virtual_ip(machine):
    """An address of another tunnel goes when that tunnel goes."""
    machine.up(*NET)
    machine.up("--route", "10.77.0.0/16", CONNECTION="site", PEER="192.168.0.3", PEER_ID="star", UNIQUEID=2, MY_CLIENT="10.0.0.0/8",
               MY_SOURCEIP=None, MY_SOURCEIP4_1=None, PEER_CLIENT="10.77.0.0/16")  # fmt: skip
    assert machine.routes("vti2") == ["10.77.0.0/16 proto 50 scope link"]
    machine.down()
    assert machine.routes("vti2") == ["10.77.0.0/16 proto 50 scope link"]


def test_a_chosen_name_that_our_old_tunnel_has_is_no_obstacle(machine):
    """The new tunnel takes another name until the old one goes."""
    before = machine.state()
    machine.up(*NET, "--name", "office")
    lines = machine.up(*NET, "--name", "office", PEER="192.168.0.3", PEER_ID="pluto", UNIQUEID=2)
    assert lines == [
        "gw: vti2 up, 192.168.0.1 → 192.168.0.3, mark 2, 10.3.0.1/32, 10.2.0.0/16",
        "gw: the link is vti2, not office, for as long as it is up",
    ]
    machine.down(UNIQUEID=1)
    assert machine.links() == ["vti2"] and machine.routes("vti2") == [
        "10.2.0.0/16 proto 50 scope link src 10.3.0.1"
    ]
    machine.down(PEER="192.168.0.3", PEER_ID="pluto", UNIQUEID=2)
    assert machine.state() == before


def test_a_link_with_a_chosen_name_moves_to_new_endpoints(machine):
    """It keeps its ifindex, which firewalls and routing daemons hold."""
    before = machine.state()
    machine.up(*NET, "--name", "office")
    ifindex = machine.run("cat", "/sys/class/net/office/ifindex")
    machine.run("ip", "addr", "add", "192.168.0.77/24", "dev", "eth0")
    lines = machine.up(*NET, "--name", "office", ME="192.168.0.77", UNIQUEID=2)
    assert lines == ["gw: office up, 192.168.0.77 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.2.0.0/16"]
    assert machine.run("cat", "/sys/class/net/office/ifindex") == ifindex
    assert "local 192.168.0.77" in machine.run("ip", "-d", "link", "show", "office")
    machine.down(UNIQUEID=1)  # make before break: the old SA goes later
    assert machine.links() == ["office"] and machine.routes("office") == [
        "10.2.0.0/16 proto 50 scope link src 10.3.0.1"
    ]
    machine.down(ME="192.168.0.77", UNIQUEID=2)
    machine.run("ip", "addr", "del", "192.168.0.77/24", "dev", "eth0")
    assert machine.state() == before


def test_a_link_that_fails_to_move_stays_where_it_was(machine, monkeypatch):
    """The roll back gives it its old endpoints."""
    machine.up(*NET, "--name", "office")
    made = machine.state()
    real = Kernel.take

    def no_other_route(self, step, known, sure=True, last=False):
        if str(getattr(step.new, "destination", "")) == "10.9.0.0/16":
            raise KernelError(1, "no")
        return real(self, step, known, sure, last)

    with monkeypatch.context() as patch:
        patch.setattr(Kernel, "take", no_other_route)
        machine.event(
            "up-client", "--route", "10.9.0.0/16", "--name", "office", ME="192.168.0.77", UNIQUEID=2
        )
    assert machine.status == 1 and machine.state() == made
    machine.event("down-client", ME="192.168.0.77", UNIQUEID=2)
    assert machine.state() == made


def test_a_down_that_cannot_be_recorded_ends_one_reference_only(machine, monkeypatch):
    """Its live twin keeps the tunnel."""
    before = machine.state()
    machine.up(*NET)
    machine.up(*NET)
    made = machine.state()
    with monkeypatch.context() as patch:
        commits = itertools.chain([True, False], itertools.repeat(True))
        real = Records.commit

        def commit(self):
            if not next(commits):
                raise sqlite3.OperationalError("database or disk is full")
            real(self)

        patch.setattr(Records, "commit", commit)
        machine.event("down-client")
    assert machine.state() == made
    machine.down()
    assert machine.state() == before


def test_a_foreign_links_name_is_printed_escaped(machine):
    """A link's name may hold control characters."""
    machine.run("ip", "link", "add", "e\x1b[31m", "type", "dummy")
    machine.run("ip", "link", "set", "e\x1b[31m", "up")
    machine.run("ip", "route", "add", "10.2.0.0/16", "dev", "e\x1b[31m")
    assert machine.up(*NET)[1] == "gw: left alone: a route to 10.2.0.0/16 by e\\x1b[31m"


def test_ipv6_switched_off_is_told_as_what_it_is(machine):
    """The error names the sysctl that is in the way."""
    machine.run(
        "sh",
        "-ec",
        "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6",
    )
    before = machine.state()
    lines = machine.event("up-client-v6", *NET)
    assert machine.status == 1
    assert lines[0].endswith("is IPv6 off? see sysctl net.ipv6.conf.all.disable_ipv6")
    assert machine.state() == before
