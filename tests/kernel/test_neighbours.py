"""Others on the same host: what they take away, what they have already, and what the kernel takes
along unasked.
"""

import contextlib
import glob
import ipaddress
import json
import os
import sqlite3

import pytest

from conftest import sh
from support.host import changes
from support.slow import slow_but
from view import records, setting, view
from vti_updown.admin import cli as people
from vti_updown.admin import repair as upkeep
from vti_updown.kernel.kernel import Kernel
from vti_updown.objects.address import Address
from vti_updown.objects.link import Link
from vti_updown.objects.object import Applied
from vti_updown.objects.registry import Step
from vti_updown.objects.route import Route
from vti_updown.reconcile.difference import difference
from vti_updown.records.storage import DIRECTORY
from vti_updown.settings.table import FULL_TABLE
from vti_updown.wishes.routes import FULL_METRIC

NET = ("--route", "10.2.0.0/16", "--route", "fec2::/16")
STAR = {"PEER": "192.168.0.3", "PEER_ID": "star", "CONNECTION": "star", "UNIQUEID": 2}
GATEWAY = {"MY_SOURCEIP": None, "MY_SOURCEIP4_1": None, "MY_SOURCEIP6_1": None}
FAMILIES = pytest.mark.parametrize(
    ("suffix", "net", "address"), [("", "10.2.0.0/16", "10.3.0.1"), ("-v6", "fec2::/16", "fec3::1")]
)


def routes(net):
    """The main table's routes to `net`: link, preferred source, protocol."""
    return sorted(
        (one.link, one.source, one.protocol)
        for one in view().routes
        if (one.destination, one.table) == (net, 254)
    )


@pytest.fixture
def machine(machine):
    machine.run("ip", "addr", "add", "10.1.0.1/24", "dev", "lan")
    return machine


# A user at our link


@pytest.mark.parametrize(
    "what", ["set vti1 down", "set vti1 down && ip link set vti1 up", "set vti1 mtu 1000"]
)
@FAMILIES
def test_an_up_mends_a_link_that_a_user_has_spoilt(machine, what, suffix, net, address):
    """Down and up takes IPv4 routes and IPv6 addresses, a small MTU IPv6: seen when a step fails,
    and put right.
    """
    before = view()
    machine.up("--route", net, verb=f"up-client{suffix}")
    machine.run("sh", "-c", f"ip link {what}")
    if "mtu" in what and suffix:
        machine.run("ip", "link", "set", "vti1", "mtu", "1480")
    other = "10.9.0.0/16" if not suffix else "fec9::/16"
    machine.up("--route", other, verb=f"up-client{suffix}", CONNECTION="b")
    assert routes(other) == [("vti1", address, 50)]
    assert any(one.name == "vti1" and one.up for one in view().links)
    machine.down(verb=f"down-client{suffix}", CONNECTION="b")
    machine.down(verb=f"down-client{suffix}")
    assert not view().against(before)


@FAMILIES
def test_an_up_puts_back_an_address_that_its_route_prefers(machine, suffix, net, address):
    """A user took the address away, and the route could not be made without it."""
    before = view()
    machine.up(verb=f"up-client{suffix}")
    machine.run("ip", "addr", "del", f"{address}/{32 if not suffix else 128}", "dev", "vti1")
    machine.up("--route", net, verb=f"up-client{suffix}", CONNECTION="b")
    assert routes(net) == [("vti1", address, 50)]
    machine.down(verb=f"down-client{suffix}")
    machine.down(verb=f"down-client{suffix}", CONNECTION="b")
    assert not view().against(before)


@FAMILIES
def test_a_down_says_nothing_of_what_others_took_away_before(machine, suffix, net, address):
    """What is gone already is not an error."""
    before = view()
    machine.up("--route", net, verb=f"up-client{suffix}")
    machine.up("--no-routes", CONNECTION="b")
    machine.run("ip", "-6" if suffix else "-4", "route", "del", net)
    machine.run("ip", "addr", "del", f"{address}/{32 if not suffix else 128}", "dev", "vti1")
    machine.run("sysctl", "-w", f"net.ipv{6 if suffix else 4}.conf.vti1.disable_policy=0")
    assert len(machine.down(verb=f"down-client{suffix}")) == 1
    assert machine.down(CONNECTION="b") == [
        "gw: vti1 down, 192.168.0.1 → 192.168.0.2".replace("gw", "b", 1)
    ]
    assert not view().against(before)
    assert records() == ((), (), ())


@FAMILIES
def test_a_route_falls_back_to_a_link_that_a_user_took_away(machine, suffix, net, address):
    """The link of the older wish is made anew for it."""
    before = view()
    machine.up("--route", net, verb=f"up-client{suffix}")
    machine.up("--route", net, verb=f"up-client{suffix}", **STAR)
    machine.run("ip", "link", "del", "vti1")
    assert len(machine.down(verb=f"down-client{suffix}", **STAR)) == 1
    assert routes(net) == [("vti1", address, 50)]
    machine.down(verb=f"down-client{suffix}")
    assert not view().against(before)


@FAMILIES
def test_anothers_route_in_the_place_of_ours_is_never_replaced(machine, suffix, net, address):
    """It came later, but it is not ours."""
    machine.up("--route", net, verb=f"up-client{suffix}")
    version = "-6" if suffix else "-4"
    machine.run("ip", version, "route", "del", net)
    before = view()
    machine.run("ip", version, "route", "add", net, "dev", "lan")
    lines = machine.up("--route", net, verb=f"up-client{suffix}", **STAR)
    assert address in lines[0] and net not in lines[0]
    assert lines[1:] == [f"star: left alone: a route to {net} by lan"]
    machine.down(verb=f"down-client{suffix}", **STAR)
    assert [link for link, _, _ in routes(net)] == ["lan"]
    machine.run("ip", version, "route", "del", net, "dev", "lan")
    assert not view().against(before)


@pytest.mark.parametrize("then", ["up", "down", "repair"])
def test_a_deleted_link_is_made_anew_though_its_name_is_taken(machine, then):
    """It gets another name."""
    before = view()
    machine.up(*NET)
    machine.up("--no-routes", CONNECTION="b")
    machine.run("sh", "-ec", "ip link del vti1; ip link add vti1 type dummy")
    if then == "up":
        assert machine.up("--no-routes", CONNECTION="c", UNIQUEID=3)[0].startswith("c: vti3 up, ")
        machine.down(CONNECTION="c", UNIQUEID=3)
    elif then == "down":
        assert machine.down(CONNECTION="b")[0].startswith("b: vti0 stays, held by 1 more")
    else:
        upkeep.repair()
    assert routes("10.2.0.0/16") == [("vti3" if then == "up" else "vti0", "10.3.0.1", 50)]
    if then != "down":
        machine.down(CONNECTION="b")
    machine.down()
    machine.run("ip", "link", "del", "vti1")
    assert not view().against(before) and records() == ((), (), ())


def test_udev_may_set_disable_policy_again(machine):
    """What it set goes with the link, and no error is told."""
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    machine.run("sysctl", "-w", "net.ipv4.conf.vti1.disable_policy=0")
    machine.down()
    assert (setting(4, "vti1"), setting(6, "vti1")) == ("0", "1")


# What others have already


@pytest.mark.parametrize("prefix", [32, 24])
def test_an_address_that_another_link_has_stays_there(machine, prefix):
    """Ours is another one, on our link."""
    machine.run("ip", "addr", "add", f"10.3.0.1/{prefix}", "dev", "lan")
    machine.run("ip", "route", "add", "10.77.0.0/16", "via", "192.168.0.9", "src", "10.3.0.1")
    before = view()
    machine.up("--no-routes", verb="up-client-v6")
    link_alone = view()
    machine.up(*NET)
    assert machine.addresses("vti1") == ["10.3.0.1/32", "fec3::1/128"]
    machine.down()  # the link stays, so the address goes by itself
    assert not view().against(link_alone)
    machine.down(verb="down-client-v6")
    assert not view().against(before)


@pytest.mark.parametrize("prefix", [32, 24])
def test_an_address_that_a_borrowed_link_has_stays_there(machine, prefix):
    """It was there before us, so our down leaves it."""
    machine.add_vti("mine")
    machine.run(
        "sh",
        "-c",
        f"ip link set mine up; ip addr add 10.3.0.1/{prefix} dev mine; ip route add 10.7.0.0/16 dev mine",
    )
    before = view()
    machine.up(*NET)
    assert routes("10.2.0.0/16") == [("mine", "10.3.0.1", 50)]
    machine.down()
    assert not view().against(before)


def test_a_unique_mark_is_refused_on_a_borrowed_link(machine):
    """The keys of a borrowed link are not ours to change."""
    machine.run(
        "sh",
        "-c",
        "ip link add mine type vti local 192.168.0.1 remote 192.168.0.2 key 2; ip link set mine up",
    )
    machine.up(*NET)
    made = view()
    lines = machine.event(
        "up-client", *NET, MARK_IN="6/0xffffffff", MARK_OUT="6/0xffffffff", UNIQUEID=2
    )
    assert lines == [
        "error: gw: mine has these endpoints but okey 2, ikey 2; give it the mark, or delete it: ip link del mine"
    ]
    assert machine.status == 2 and not view().against(made)


@FAMILIES
def test_a_link_in_a_borrowed_ones_place_gets_all_of_it(machine, suffix, net, address):
    """What the borrowed link had by itself must be on ours, too."""
    version = 6 if suffix else 4
    before = view()
    machine.run(
        "sh",
        "-c",
        "ip link add mine type vti local 192.168.0.1 remote 192.168.0.2 key 2; ip link set mine up",
    )
    machine.run(
        "sh",
        "-c",
        f"ip addr add {address} dev mine; sysctl -w net.ipv{version}.conf.mine.disable_policy=1",
    )
    machine.up("--route", net, verb=f"up-client{suffix}")
    machine.up("--no-routes", CONNECTION="b")
    machine.run("ip", "link", "del", "mine")
    machine.down(CONNECTION="b")
    assert routes(net) == [("mine", address, 50)]
    assert (
        machine.addresses("mine") == [f"{address}/{128 if suffix else 32}"]
        and setting(version, "mine") == "1"
    )
    machine.down(verb=f"down-client{suffix}")
    assert not view().against(before) and records() == ((), (), ())


IPV6_ENDS = {"ME": "fec0::1", "PEER": "fec0::2"}
ENDS = pytest.mark.parametrize(
    ("kind", "ends", "said"),
    [("vti", {}, "192.168.0.1 → 192.168.0.2"), ("vti6", IPV6_ENDS, "fec0::1 → fec0::2")],
)


def bound(machine, kind, said, mark=2, underlying="eth0"):
    """A user's own VTI, bound to an underlying link."""
    local, remote = said.split(" → ")
    link = f"ip link add mine type {kind} local {local} remote {remote} dev {underlying} key {mark}"
    machine.run("sh", "-ec", f"{link}; ip link set mine up; ip addr add 10.3.0.9/32 dev mine")


@ENDS
def test_a_bound_link_with_our_endpoints_is_borrowed(machine, kind, ends, said):
    """A second VTI without `dev` is not EEXIST, and the two would take each other's packets."""
    bound(machine, kind, said)
    before = view()
    assert machine.up(*NET, **ends) == [f"gw: mine up, {said}, mark 2, 10.3.0.1/32, 10.2.0.0/16"]
    machine.up(*NET, verb="up-client-v6", **ends)
    assert machine.links() == ["mine"] and routes("10.2.0.0/16") == [("mine", "10.3.0.1", 50)]
    machine.down(**ends)
    machine.down(verb="down-client-v6", **ends)
    assert not view().against(before) and records() == ((), (), ())


@ENDS
def test_a_bound_link_with_another_mark_is_refused(machine, kind, ends, said):
    """It would get our packets and drop them."""
    bound(machine, kind, said, mark=5)
    before = view()
    lines = machine.event("up-client", *NET, **ends)
    assert lines == [
        "error: gw: mine has these endpoints but okey 5, ikey 5; give it the mark, or delete it: ip link del mine"
    ]
    assert machine.status == 1 and not view().against(before)


def test_a_link_bound_to_where_the_peer_is_not_is_another(machine):
    """It gets no packets of ours, so ours stands beside it."""
    bound(machine, "vti", "192.168.0.1 → 192.168.0.2", underlying="lan")
    before = view()
    assert machine.up(*NET)[0].startswith("gw: vti1 up")
    machine.down()
    assert not view().against(before)


def test_our_own_link_stays_ours_beside_a_bound_one(machine):
    """As after an event that died once it had made the link."""
    link, key = a_link()
    with contextlib.closing(Kernel()) as kernel:
        take(kernel, {}, {key: link})
        bound(machine, "vti", "192.168.0.1 → 192.168.0.2")
        found = kernel.take(Step(None, link), {}).applied
    assert found is not None and isinstance(found.object, Link)
    assert found.object.name == "vti1" and not found.borrowed


# Another link with the ifindex that ours had

FOREIGN = [
    "type bridge",
    "type vti local 192.168.0.1 remote 192.168.0.77 key 7",
    "type vti local 192.168.0.1 remote 192.168.0.2 key 2",
]


def replaced(name, foreign):
    """Has another link in the place of the one of this name, with its ifindex; what tells that
    nobody touched it.
    """
    (link,) = json.loads(sh(f"ip -j link show {name}"))
    made = f"ip link add foreign index {link['ifindex']} {foreign}"
    sh(f"ip link del {name}; {made}; ip link set foreign up")
    # A bridge's timers run and its carrier goes without anybody's doing.
    moving = "s/NO-CARRIER,//; s/ state [A-Z]*//; s/ [a-z_]*timer *[0-9.]*//g"
    kept = f"ip -d link show foreign | sed '{moving}'"
    addresses = "ip addr show foreign scope global | grep inet || true"
    policy = "cat /proc/sys/net/ipv[46]/conf/foreign/disable_policy"
    return lambda: sh(f"{kept}; {addresses}; ip route show dev foreign; {policy}")


@pytest.mark.parametrize("foreign", slow_but([FOREIGN[2]], FOREIGN))
@pytest.mark.parametrize(
    "then",
    slow_but(["down", "repair", "stale"], ["down", "down twice", "repair", "flush", "stale"]),
)
def test_a_stranger_with_our_old_ifindex_is_never_touched(machine, foreign, then):
    """A number alone does not say whose a link is."""
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    shown = replaced("vti1", foreign)
    before = shown()
    if then.startswith("down"):
        machine.down()
    if then == "down twice":
        machine.down(verb="down-client-v6")
    if then == "repair":
        # One with our endpoints is in the place of ours, and is used like any that was there
        # before.
        upkeep.repair()
    if then == "flush":
        upkeep.flush(stale=False, force=True)
    if then == "stale":
        machine.restart_charon()
        machine.up("--no-routes", **STAR)
    after = shown()
    if then in ("down", "repair") and foreign == FOREIGN[2]:
        assert "vti remote 192.168.0.2" in after
        assert after.splitlines()[-2:] == before.splitlines()[-2:]
    else:
        assert after == before


def test_a_stranger_with_a_borrowed_links_ifindex_is_left_alone(machine):
    """The same holds for a link that we only used."""
    machine.run(
        "sh",
        "-c",
        "ip link add mine type vti local 192.168.0.1 remote 192.168.0.2 key 2; ip link set mine up",
    )
    machine.up(*NET)
    shown = replaced("mine", "type vti local 192.168.0.1 remote 192.168.0.77 key 7")
    before = shown()
    assert machine.up("--no-routes", CONNECTION="b", UNIQUEID=2)[0].startswith("b: mine up")
    assert routes("10.2.0.0/16") == [("mine", "10.3.0.1", 50)] and shown() == before
    machine.down(CONNECTION="b", UNIQUEID=2)
    machine.down()
    assert shown() == before and machine.links() == ["foreign"] and records() == ((), (), ())


def test_a_moved_link_keeps_its_ifindex_though_the_event_died(machine, monkeypatch):
    """The records have its new endpoints by then, the kernel the old ones."""
    machine.up(*NET, "--name", "vpn")
    (made,) = json.loads(sh("ip -j link show vpn"))
    with monkeypatch.context() as dying:
        dying.setattr(Kernel, "take", lambda *_: os._exit(9))
        if (child := os.fork()) == 0:
            machine.event("up-client", *NET, "--name", "vpn", PEER="192.168.0.9", UNIQUEID=2)
        os.waitpid(child, 0)
    machine.up(*NET, "--name", "vpn", PEER="192.168.0.9", UNIQUEID=3)
    (now,) = json.loads(sh("ip -j -d link show vpn"))
    assert (now["ifindex"], now["linkinfo"]["info_data"]["remote"]) == (
        made["ifindex"],
        "192.168.0.9",
    )
    assert machine.links() == ["vpn"]


# What a connection needs, and is gone

PLACES = {
    "device": ("ip link add eth9 type dummy", "ip link del eth9", ("--device", "eth9")),
    "vrf": (
        "ip link add blue type vrf table 9; ip link set blue up",
        "ip link del blue",
        ("--vrf", "blue"),
    ),
    "netns": ("ip netns add office", "ip netns del office", ("--netns", "office")),
    "file": (
        "ip netns add office",
        "ip netns del office; touch /run/netns/office",
        ("--netns", "office"),
    ),
}
PLACE = pytest.mark.parametrize(("make", "take_away", "flags"), PLACES.values(), ids=PLACES)


@PLACE
def test_what_one_connection_needs_and_is_gone_holds_up_no_other(
    machine, make, take_away, flags, capfd
):
    """A missing device, VRF or namespace is the trouble of its own connection."""
    machine.up(*NET)
    sh(make)
    machine.up("--route", "10.7.0.0/16", *flags, **STAR)
    sh(f"{take_away}; ip link del vti2 2>/dev/null || true; ip route del 10.2.0.0/16")
    assert people.run(["repair"]) == 1
    *done, error = capfd.readouterr().out.splitlines()
    assert error.startswith("error: ") and not [line for line in done if "error" in line]
    assert "10.2.0.0/16 dev vti1" in sh("ip route show")
    machine.up(*NET, CONNECTION="b", UNIQUEID=3)
    machine.down()
    machine.down(CONNECTION="b", UNIQUEID=3)
    assert machine.links() == []
    machine.down(**STAR)
    assert records() == ((), (), ())


@PLACE
def test_flush_goes_on_though_what_a_connection_needs_is_gone(machine, make, take_away, flags):
    """Taking away needs no device, VRF or namespace."""
    sh(make)
    before = machine.links()
    machine.up(*NET)
    machine.up("--route", "10.7.0.0/16", *flags, **STAR)
    sh(f"{take_away}; ip link del vti2 2>/dev/null || true")
    assert people.run(["repair"]) == 1
    assert people.run(["flush", "--force"]) == 0
    assert machine.links() == before and records() == ((), (), ())


@pytest.mark.parametrize("flags", [("--device", "eth9"), ("--vrf", "blue"), ("--netns", "office")])
def test_an_up_that_lacks_what_it_needs_holds_up_no_other(machine, flags):
    """Events of other connections, repair and flush go on."""
    machine.event("up-client", "--route", "10.7.0.0/16", *flags, **STAR)
    assert machine.status != 0
    machine.up(*NET)
    machine.down()
    machine.down(**STAR)
    assert machine.links() == [] and records() == ((), (), ())


def test_a_bound_link_without_its_underlying_one_goes(machine):
    """Its down finds it by the number that it still has, even after a death."""
    sh("ip link add eth9 type dummy")
    machine.up("--route", "10.7.0.0/16", "--device", "eth9", **STAR)
    sh("ip link del eth9")
    (file,) = glob.glob(f"{DIRECTORY}/*.sqlite")
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE applied SET sure = 0, ifindex = NULL")
        database.commit()
    machine.down(**STAR)
    assert machine.links() == [] and records() == ((), (), ())


# What the kernel takes along


@FAMILIES
@pytest.mark.parametrize("first", [0, 1])
def test_a_route_that_two_wish_for_on_two_links_outlives_either(
    machine, suffix, net, address, first
):
    """The newest leads it, and the other has it back."""
    before = view()
    both = ({"CONNECTION": "gw"}, STAR)
    for one in both:
        machine.up("--route", net, verb=f"up-client{suffix}", **one)
    assert routes(net) == [("vti2", address, 50)]
    assert len(machine.down(verb=f"down-client{suffix}", **both[first])) == 1
    assert routes(net) == [(("vti2", "vti1")[first], address, 50)]
    machine.down(verb=f"down-client{suffix}", **both[1 - first])
    assert not view().against(before)


@FAMILIES
def test_a_route_outlives_the_link_that_had_its_source(machine, suffix, net, address):
    """Nothing of this host is left in the local selector: a route without a source is better than
    none.
    """
    before = view()
    machine.up("--no-routes", verb=f"up-client{suffix}")
    local = f"{address}/{32 if not suffix else 128}"
    machine.up("--route", net, verb=f"up-client{suffix}", **STAR, **GATEWAY, MY_CLIENT=local)
    assert routes(net) == [("vti2", address, 50)]
    assert len(machine.down(verb=f"down-client{suffix}")) == 1
    assert [(link, protocol) for link, _, protocol in routes(net)] == [("vti2", 50)]
    machine.down(verb=f"down-client{suffix}", **STAR, **GATEWAY, MY_CLIENT=local)
    assert not view().against(before)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("table", [254, 77])
def test_routes_in_every_table_outlive_the_last_ipv4_address(table):
    """No setting asks for another table yet: the step that goes along is tried by itself."""
    link, key = a_link()
    address = Address(key, ipaddress.ip_interface("10.3.0.1/32"))
    route = Route(ipaddress.ip_network("10.9.0.0/16"), table, 0, key, None)
    with contextlib.closing(Kernel()) as kernel:
        links: dict[str, Applied] = {}
        take(kernel, {}, {noun.key: noun for noun in (link, address, route)}, links=links)
        made = {noun.key: Applied(noun) for noun in (address,)}
        take(kernel, made, {}, [link, route], links=links)
    assert not any(one.address == "10.3.0.1/32" for one in view().addresses)
    assert [one.table for one in view().routes if one.destination == "10.9.0.0/16"] == [table]


@pytest.mark.usefixtures("machine")
def test_the_secondary_addresses_of_a_subnet_outlive_its_primary():
    """The kernel takes them along, so they are put back."""
    link, key = a_link()
    addresses = [Address(key, ipaddress.ip_interface(f"10.3.0.{host}/24")) for host in (1, 2, 3)]
    with contextlib.closing(Kernel()) as kernel:
        links: dict[str, Applied] = {}
        for noun in (link, *addresses):
            take(kernel, {}, {noun.key: noun}, links=links)
        take(
            kernel,
            {addresses[0].key: Applied(addresses[0])},
            {},
            [link, *addresses[1:]],
            links=links,
        )
    assert sorted(one.address for one in view().addresses if one.link == "vti1") == [
        "10.3.0.2/24",
        "10.3.0.3/24",
    ]


def a_link():
    local, remote = map(ipaddress.ip_address, ("192.168.0.1", "192.168.0.2"))
    link = Link("vti", local, remote, "vti1", 2, 2, "")
    return link, link.key


def take(kernel, applied, wished, beside=(), links=None):
    """Takes the steps; `links` has what was applied for each link, and gets what is."""
    links = {} if links is None else links
    for step in difference(applied, wished, beside):
        outcome = kernel.take(step, links)
        if isinstance(step.new, Link):
            links[step.new.key] = outcome.applied


@FAMILIES
def test_charons_own_route_in_the_way_is_told(machine, suffix, net, address):
    """With install_routes = yes packets never reach a VTI: charon's table comes first, and no mark
    is on them.
    """
    family = "-6" if suffix else "-4"
    machine.run("ip", family, "rule", "add", "pref", "220", "lookup", "220")
    machine.run("ip", family, "route", "add", net, "dev", "eth0", "table", "220")
    lines = machine.up("--route", net, verb=f"up-client{suffix}")
    assert lines[1:] == [
        f"gw: packets to {net} take charon's own route; set charon.install_routes = no"
    ]
    assert address in lines[0]
    machine.down(verb=f"down-client{suffix}")


def test_rules_of_others_with_our_priorities_stay(machine):
    """Equal to ours or not: a rule is known by all it says, and by our protocol number."""
    for rule in (
        "pref 15002 lookup main suppress_prefixlength 0",
        "pref 15000 to 192.168.0.9 lookup main",
        "pref 15000 iif lo ipproto esp goto 15004",
        "pref 15004 nop",
        "pref 15003 lookup 77",
    ):
        machine.run("ip", "rule", "add", *rule.split())
    before = machine.state()
    machine.up("--route", "0.0.0.0/0")
    assert "dev vti1" in sh("ip route get 8.8.8.8")
    machine.down()
    assert machine.state() == before


def test_a_strangers_default_route_in_our_table_is_left_alone(machine):
    """Another route in the table that full tunnels have is left alone, and so is all else of its
    owner's.
    """
    table = str(FULL_TABLE)
    machine.run(
        "ip", "route", "add", "default", "dev", "eth0", "table", table, "metric", str(FULL_METRIC)
    )
    before = machine.state()
    lines = machine.up("--route", "0.0.0.0/0")
    assert lines[-1] == "gw: left alone: a route to 0.0.0.0/0 by eth0"
    assert "dev vti1" in sh("ip route get 8.8.8.8")
    machine.down()
    assert machine.state() == before


def test_rules_that_networkd_deletes_come_back_with_repair(machine, capfd):
    """systemd-networkd deletes foreign rules when it restarts."""
    machine.up("--route", "0.0.0.0/0", "--when-down", "block")
    made = machine.state()
    machine.run("ip", "rule", "flush", "protocol", "50")
    for table in (FULL_TABLE, FULL_TABLE + 1):
        machine.run("ip", "route", "flush", "table", str(table))
    assert people.run(["repair"]) == 0
    capfd.readouterr()
    assert changes(made, machine.state()) == []
