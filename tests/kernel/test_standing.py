"""What stands while no CHILD_SA does: it outlives whatever may go wrong, and nobody is left with
more of it than was asked.
"""

import pytest

from conftest import sh
from support.slow import slow_but
from test_setups import FULL, NET, XFRM, config, ifindex, is_blocked, person
from view import records

KEEP, BLOCK = ("--when-down", "keep"), ("--when-down", "block")


def rw(number):
    """An up of a client whose gateway hands out another virtual IP, and charon another if_id, each
    time.
    """
    ip = f"10.3.0.{number}"
    return XFRM | {"MY_CLIENT": f"{ip}/32", "MY_SOURCEIP": ip, "MY_SOURCEIP4_1": ip, "UNIQUEID": number,
                   "IF_ID_IN": number, "IF_ID_OUT": number}  # fmt: skip


def test_another_virtual_ip_each_time_leaves_one_link_standing(machine, capfd):
    """A laptop that gets a new address each time has one standing link."""
    before = machine.state()
    for number in (5, 6, 7):
        machine.up(*NET, *KEEP, **rw(number))
        machine.down(**rw(number))
        assert [n for n in (5, 6, 7) if f"xfrm{n}@" in sh("ip link")] == [number]
    assert len(records().references) == 1
    assert person(capfd, "release", "gw")[0] == 0
    assert machine.state() == before


def test_the_standing_link_of_an_old_if_id_goes(machine):
    """With if_id=%unique the new CHILD_SA replaces what stood for the old one."""
    machine.up(*NET, *KEEP, **rw(5))
    machine.up(*NET, *KEEP, **rw(6))
    machine.down(**rw(5))
    assert "xfrm5@" not in sh("ip link") and "xfrm6@" in sh("ip link")


GW = """
[connection.gw]
local = "192.168.0.1"
remote = "192.168.0.2"
mark = 2
routes = ["10.2.0.0/16"]
when_down = "WHAT"
"""


@pytest.mark.parametrize("what", slow_but(["keep"], ["keep", "block"]))
def test_a_prepare_that_fails_leaves_what_stood(machine, capfd, what):
    """A wrong setting must not open a kill switch."""
    assert person(capfd, "prepare", *config(GW.replace("WHAT", what)))[0] == 0
    told = records()
    bad = (
        GW.replace("WHAT", what)
        + '[connection.bad]\nif_id = 7\nroutes = [{ to = "10.8.0.0/16", src = "10.77.0.1" }]\nwhen_down = "keep"\n'
    )
    sh("ip link add xfrm7 type dummy")
    with_dummy = machine.state()
    bad += 'name = "b0"\nnetns = "nowhere"\n'
    status, lines = person(capfd, "prepare", *config(bad))
    assert status != 0, lines
    assert machine.state() == with_dummy
    assert records() == told


@pytest.mark.parametrize("what", slow_but(["block"], ["keep", "block"]))
def test_prepare_twice_is_as_once(machine, capfd, what):
    """A unit may run it again."""
    before = machine.state()
    file = config(GW.replace("WHAT", what))
    for _ in range(2):
        assert person(capfd, "prepare", *file)[0] == 0
        made, told = machine.state(), records()
        assert person(capfd, "prepare", "gw", *file) == (0, ["nothing to prepare"])
        assert (machine.state(), records()) == (made, told)
    assert person(capfd, "release", "gw")[0] == 0
    assert machine.state() == before


def test_prepare_moves_a_link_whose_endpoints_have_changed(machine, capfd):
    """The link keeps its ifindex."""
    text = GW.replace("WHAT", "keep") + 'name = "t0"\n'
    assert person(capfd, "prepare", *config(text))[0] == 0
    index = ifindex("t0")
    assert person(capfd, "prepare", *config(text.replace("192.168.0.2", "192.168.0.3")))[0] == 0
    assert "remote 192.168.0.3" in sh("ip -d link show t0") and ifindex("t0") == index
    assert machine.routes("t0") == ["10.2.0.0/16 proto 50 scope link"]


def test_one_link_of_two_connections_of_which_one_keeps(machine, capfd):
    """The link stays for the one that keeps it."""
    before = machine.state()
    other = {"CONNECTION": "other", "PEER_CLIENT": "10.9.0.0/16"}
    machine.up(*NET, *KEEP)
    machine.up("--route", "10.9.0.0/16", **other)
    machine.down()
    machine.down(**other)
    assert (
        machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link"]
        and machine.addresses("vti1") == []
    )
    machine.up("--route", "10.9.0.0/16", **other)
    assert person(capfd, "release", "gw")[0] == 0
    assert machine.routes("vti1") == ["10.9.0.0/16 proto 50 scope link src 10.3.0.1"]
    machine.down(**other)
    assert machine.state() == before


def test_selector_pairs_of_one_child_sa_each_block_their_own(machine, capfd):
    """Each pair's networks are blocked by themselves."""
    before = machine.state()
    pairs = [{"PEER_CLIENT": net} for net in ("10.2.0.0/16", "10.9.0.0/16")]
    for pair in pairs:
        machine.up(*BLOCK, **pair)
    for pair in pairs:
        machine.down(**pair)
        assert is_blocked("10.2.0.1")
    assert is_blocked("10.9.0.1")
    assert person(capfd, "release", "gw")[0] == 0
    assert machine.state() == before


def test_release_while_another_connection_shares_the_rules(machine, capfd):
    """Shared rules stay for the other one."""
    before = machine.state()
    other = {"CONNECTION": "other", "PEER": "192.168.0.3", "PEER_ID": "pluto", "UNIQUEID": 2}
    machine.up(*FULL, *BLOCK)
    machine.up(*FULL, *BLOCK, **other)
    machine.down()
    assert person(capfd, "release", "gw")[0] == 0
    assert "throw 192.168.0.2" not in sh("ip route show table all") and "dev vti2" in sh(
        "ip route get 8.8.8.8"
    )
    machine.down(**other)
    assert is_blocked("8.8.8.8") and is_blocked("192.0.2.1")
    assert person(capfd, "release")[0] == 0
    assert machine.state() == before


# Lost records


def lose_records():
    sh("rm -r /run/vti-updown")


def test_an_unrecorded_full_tunnel_goes_with_its_rules(machine):
    """The rules are known by our protocol number."""
    before = machine.state()
    machine.up(*FULL)
    lose_records()
    machine.down(*FULL)
    assert machine.state() == before


def test_an_unrecorded_full_tunnel_stays_blocked(machine, capfd):
    """Losing the records must not open a kill switch."""
    before = machine.state()
    machine.up(*FULL, *BLOCK)
    lose_records()
    machine.down(*FULL, *BLOCK)
    assert is_blocked("8.8.8.8")
    assert person(capfd, "release")[0] == 0
    assert machine.state() == before


def test_a_kept_tunnel_whose_records_were_lost_is_kept(machine, capfd):
    """What stands is adopted from the kernel."""
    before = machine.state()
    machine.up(*NET, *KEEP)
    lose_records()
    machine.down(*NET, *KEEP)
    assert machine.routes("vti1")
    assert person(capfd, "release")[0] == 0
    assert machine.state() == before


def test_a_clamp_whose_records_were_lost_goes_with_its_link(machine, capfd):
    """It is found by its link's name."""
    before = machine.state()
    for words in (["down"], ["flush", "--force"]):
        machine.up(*NET, "--mss", "1200")
        lose_records()
        if words == ["down"]:
            machine.down(*NET, "--mss", "1200")
        else:
            assert person(capfd, *words)[0] == 0
        assert sh("nft list tables") == "" and machine.state() == before


def test_repair_finds_nothing_wrong_with_a_clamp(machine, capfd):
    """What nft shows is read back as it was put."""
    machine.up(*NET, "--mss", "1200")
    assert person(capfd, "repair") == (0, ["nothing to repair"])


def test_both_links_of_two_if_ids_are_clamped(machine):
    """The down names the same link as the up did."""
    before = machine.state()
    sh("mkdir -p /run/test")
    ids = XFRM | {"IF_ID_IN": 7, "IF_ID_OUT": 8}
    machine.up(
        *NET,
        "--mss",
        "1200",
        "--up",
        "echo $VTI_UPDOWN_IFNAME >> /run/test/log",
        "--down",
        "echo $VTI_UPDOWN_IFNAME >> /run/test/log",
        **ids,
    )
    assert "xfrm7" in sh("nft list ruleset") and "xfrm8" in sh("nft list ruleset")
    machine.down(**ids)
    assert sh("cat /run/test/log") == "xfrm8\nxfrm8\n"
    assert machine.state() == before and sh("nft list tables") == ""


@pytest.mark.parametrize("name", slow_but(["vti*"], ['a"b', "vti*", "a\\b", "a;b", "a(b"]))
def test_a_name_that_nft_does_not_take_clamps_nobody_else(machine, name):
    """A line says which names nft takes."""
    before = machine.state()
    lines = machine.event("up-client", *NET, "--mss", "1200", "--name", name)
    assert machine.status == 0, lines
    assert not machine.down()[1:]
    assert machine.state() == before and sh("nft list tables") == ""


# Borrowed links, and settings


def test_settings_of_a_link_are_not_applied_to_a_borrowed_one(machine, capfd):
    """A borrowed link is never changed."""
    sh(
        "ip link add blue type vrf table 100; ip link set blue up;"
        "ip link add ipsec0 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2; ip link set ipsec0 up mtu 1390"
    )
    before = machine.state()
    words = ("--route", "10.2.0.0/16", "--mtu", "1300", "--multicast", "--sysctl", "ipv4.rp_filter=2", "--vrf", "blue",
             "--link-local", "fe80::7", "--mss", "1200", *KEEP)  # fmt: skip
    assert machine.up(*words)[0].startswith("gw: ipsec0 up")
    shown = sh("ip -d link show ipsec0")
    assert "mtu 1390" in shown and "MULTICAST" not in shown and "blue" not in shown
    assert machine.setting(4, "ipsec0", "rp_filter") != "2"
    machine.up(*words, UNIQUEID=2)
    person(capfd, "repair")
    shown = sh("ip -d link show ipsec0")
    assert "mtu 1390" in shown and "MULTICAST" not in shown and "blue" not in shown
    machine.down(UNIQUEID=2)
    machine.down()
    assert person(capfd, "release")[0] == 0
    assert machine.state() == before and sh("nft list tables") == ""


def test_a_link_local_address_of_the_kernels_comes_back(machine):
    """When nobody wants one of his own any more."""
    machine.up(*NET)
    machine.up(*NET, "--link-local", "fe80::7", UNIQUEID=2)
    assert "fe80::7" in sh("ip -6 addr show vti1")
    machine.down(UNIQUEID=2)
    assert "fe80::5efe:" in sh("ip -6 addr show vti1")


def test_an_address_with_the_same_other_side_stays(machine):
    """Two addresses with one peer are two objects."""
    other = {"CONNECTION": "other", "UNIQUEID": 2}
    machine.up(*NET, "--address", "10.99.0.1 peer 10.99.0.9")
    machine.up(*NET, "--address", "10.99.0.2 peer 10.99.0.9", **other)
    machine.down()
    assert "inet 10.99.0.2 peer 10.99.0.9/32" in sh("ip addr show vti1")


def test_the_report_names_only_the_links_of_its_event(machine):
    """A line of the log is about one event."""
    machine.up(*NET)
    with machine.person():
        machine.up("--route", "10.9.0.0/16", CONNECTION="other")
    machine.restart_charon()
    lines = machine.up(*NET, PEER="192.168.0.3", PEER_ID="pluto")
    assert "vti1," not in lines[0], lines


# Full tunnels of mixed families, and metrics


@pytest.mark.parametrize(
    ("verb", "changed"),
    [("up-client", {"ME": "fec0::1", "PEER": "fec0::2"}), ("up-client-v6", {})],
)
def test_a_full_tunnel_of_the_other_family_leaves_ike_outside(machine, verb, changed):
    """MOBIKE tries the peer's addresses of both families."""
    machine.up(*FULL, *BLOCK, verb=verb, **changed)
    inner, lan = ("8.8.8.8", "192.168.0.9") if verb == "up-client" else ("2001:db8::1", "fec0::9")
    assert "dev vti1" in sh(f"ip route get {inner}") and "dev eth0" in sh(f"ip route get {lan}")
    assert "dev eth0" in sh("ip route get 192.168.0.2") and "dev eth0" in sh("ip route get fec0::2")
    machine.down(verb=verb.replace("up", "down"), **changed)
    assert is_blocked(inner)


@pytest.mark.parametrize("verb", ["up-client", "up-client-v6"])
@pytest.mark.parametrize("metric", slow_but([str(1 << 31)], [str(0xFFFFFFFE), str(1 << 31)]))
def test_the_greatest_metric_is_before_what_blocks(machine, verb, metric):
    """A blocking route stands behind every other."""
    for flags, there in (
        ((*FULL,), ("8.8.8.8", "2001:db8::1")),
        (("--route", "10.2.0.0/16", "--route", "fd00:2::/32"), ("10.2.0.1", "fd00:2::1")),
    ):
        machine.up(*flags, *BLOCK, "--metric", metric, verb=verb)
        where = there[verb.endswith("v6")]
        assert "dev vti1" in sh(f"ip route get {where}")
        machine.down(verb=verb.replace("up", "down"))
        assert is_blocked(where)


@pytest.mark.parametrize("verb", ["up-client", "up-client-v6"])
def test_an_unreachable_route_of_somebody_elses_is_left(machine, capfd, verb):
    """It does what ours would do."""
    net, where = (
        ("10.2.0.0/16", "10.2.0.1") if verb == "up-client" else ("fd00:2::/32", "fd00:2::1")
    )
    for metric in ("4294967295", "20"):
        sh(f"ip route add unreachable {net} metric {metric}")
        before = machine.state()
        machine.up("--route", f"{net},metric=20", *BLOCK, verb=verb)
        machine.down(verb=verb.replace("up", "down"))
        assert is_blocked(where)
        assert person(capfd, "release")[0] == 0
        assert machine.state() == before
        sh(f"ip route del unreachable {net} metric {metric}")


def test_a_route_with_ipv6s_own_metric_is_found_again(machine, capfd):
    """1024 is what the kernel gives a route without a metric."""
    before = machine.state()
    machine.up("--route", "fd00:2::/32,metric=1024", verb="up-client-v6")
    assert person(capfd, "repair") == (0, ["nothing to repair"])
    machine.down(verb="down-client-v6")
    assert machine.state() == before


def test_one_network_with_two_metrics_is_blocked_once(machine, capfd):
    """One blocking route stands behind both."""
    before = machine.state()
    machine.up("--route", "10.2.0.0/16,metric=10", "--route", "10.2.0.0/16,metric=20", *BLOCK)
    machine.down()
    assert is_blocked("10.2.0.1")
    assert person(capfd, "release")[0] == 0
    assert machine.state() == before


def test_an_ipv6_address_may_be_a_routes_source_at_once(machine):
    """Nobody waits for duplicate address detection on a tunnel."""
    machine.up("--route", "fd00:2::/32", verb="up-client-v6")
    assert "inet6 fec3::1/128 scope site nodad" in sh("ip -6 addr show vti1")
