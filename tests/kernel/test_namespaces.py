"""Tunnels that are moved to another network namespace: nothing of anybody else's is touched, here
or there.
"""

import os
import subprocess

import pytest

from conftest import sh
from support.stream import comes_true
from test_setups import FULL, NET, XFRM, alike, lines_of, person
from vti_updown import state

RED = ("--netns", "red", "--name", "t0")


@pytest.fixture
def machine(machine):
    sh("ip netns add red; ip -n red link set lo up")
    yield machine
    sh("ip netns del red 2>/dev/null || :")


def red_links():
    return [
        name
        for name in ("t0", "vti1", "vti2", "xfrm7", "xfrm8")
        if f" {name}@" in sh("ip -n red link")
    ]


@pytest.mark.parametrize("changed", [{}, XFRM], ids=["vti", "xfrm"])
def test_a_twin_with_the_same_endpoints_here_is_left_alone(machine, changed):
    """A link is made here before it is moved, and must not take another's place."""
    machine.up(*NET, **changed)
    before = machine.state()
    lines = machine.event("up-client", *NET, *RED, CONNECTION="office", UNIQUEID=2, **changed)
    assert machine.status == 1
    assert lines[1] == "error: office:   a link can have them once, wherever it is moved to"
    assert machine.state() == before and red_links() == []
    machine.event("up-client", *NET, *RED, "--dry-run", CONNECTION="office", UNIQUEID=3, **changed)
    assert machine.state() == before


def test_a_dry_run_for_a_name_taken_there_changes_nothing(machine):
    """The rehearsal looks into the other namespace only."""
    machine.up(*NET)
    sh("ip -n red link add t0 type dummy")
    before = machine.state()
    machine.event("up-client", *NET, *RED, "--dry-run", CONNECTION="office", UNIQUEID=3)
    assert machine.state() == before


def test_a_name_that_is_taken_here_is_free_there(machine):
    """A link's name counts in the namespace that it is moved to."""
    sh("ip link add t0 type dummy")
    before = machine.state()
    machine.up(*NET, *RED)
    assert red_links() == ["t0"]
    machine.down()
    assert machine.state() == before and red_links() == []


def test_flush_takes_an_unrecorded_tunnel_in_a_namespace(machine, capfd):
    """What is ours is known by its group, wherever it is."""
    before = machine.state()
    machine.up(*NET, *RED)
    sh("rm -r /run/vti-updown")
    assert person(capfd, "flush", "--force")[0] == 0
    assert machine.state() == before and red_links() == []


def test_a_down_takes_an_unrecorded_tunnel_in_a_namespace(machine):
    """The records are made anew from the kernel of every named namespace."""
    before = machine.state()
    machine.up(*NET, *RED)
    sh("rm -r /run/vti-updown")
    machine.down(*NET, *RED)
    assert machine.state() == before and red_links() == []


def test_a_tunnel_that_another_namespace_moved_here_is_not_ours(machine, capfd):
    """As a hook that runs in the other namespace leaves it: of our group, and none of ours."""
    sh(
        f"ip -n red link add xfrm7 group {state.group()} type xfrm if_id 7; ip -n red link set xfrm7 netns 1 2>/dev/null || "
        f"ip -n red link set xfrm7 netns {os.getpid()}"
    )
    before = machine.state()
    machine.up(*NET)
    sh("rm -r /run/vti-updown")
    machine.down(*NET)
    person(capfd, "flush", "--force")
    assert machine.state() == before
    machine.up(*NET, IF_ID_IN=7, IF_ID_OUT=7)
    machine.down(*NET, IF_ID_IN=7, IF_ID_OUT=7)
    assert machine.state() == before


def test_an_old_number_in_a_namespace_made_anew_is_not_touched(machine):
    """A namespace made anew gives the same numbers out again."""
    before = machine.state()
    machine.up(*NET, *RED)
    index = sh("ip -n red -o link show t0").partition(":")[0]
    sh(f"ip netns del red; ip netns add red; ip -n red link add other index {index} type dummy")
    machine.down()
    assert "other" in sh("ip -n red link")
    assert machine.state() == before


def test_a_namespace_gone_under_two_pairs_stops_no_down(machine):
    """It is told in one line, and both downs go through."""
    before = machine.state()
    machine.up(*NET, *RED)
    machine.up("--route", "fd00:2::/32", *RED, verb="up-client-v6")
    sh("ip netns del red")
    first = machine.event("down-client")
    assert [line for line in first if "namespace" in line or "cannot" in line] == [
        "gw: there is no network namespace red"
    ]
    assert machine.status == 1
    assert machine.down(verb="down-client-v6") == ["gw: t0 down, 192.168.0.1 → 192.168.0.2"]
    assert machine.state() == before


def test_a_tunnel_comes_back_into_a_namespace_made_anew(machine, capfd):
    """The next up builds all of it there."""
    machine.up(*NET, *RED)
    sh("ip netns del red; ip netns add red; ip -n red link set lo up")
    assert person(capfd, "repair")[0] == 0
    assert red_links() == ["t0"] and "10.2.0.0/16 dev t0" in sh("ip -n red route")
    machine.down()
    assert red_links() == []


def test_block_in_a_namespace(machine, capfd):
    """when_down = block stands in the link's namespace."""
    machine.up(*FULL, *RED, "--when-down", "block")
    machine.down()
    assert lines_of("ip -n red route") == ["unreachable default proto 50 metric 4294967295"]
    assert person(capfd, "release", "gw")[0] == 0
    assert lines_of("ip -n red route") == []


def test_lost_records_of_a_blocked_namespace(machine):
    """What blocks there is adopted, so that no packet leaves in clear."""
    machine.up(*FULL, *RED, "--when-down", "block")
    sh("rm -r /run/vti-updown")
    machine.down(*FULL, *RED, "--when-down", "block")
    assert lines_of("ip -n red route") == ["unreachable default proto 50 metric 4294967295"]


@pytest.mark.parametrize("kind", ["vti", "vti6"])
def test_keys_change_in_place_in_a_namespace(machine, kind):
    """A link in another namespace gets its new keys without being made anew."""
    changed = {} if kind == "vti" else {"ME": "fec0::1", "PEER": "fec0::2"}
    before = machine.state()
    machine.up(*NET, *RED, **changed)
    marks = {"MARK_IN": 9, "MARK_OUT": 9, "UNIQUEID": 2}
    machine.up(*NET, *RED, **changed, **marks)
    machine.up(*NET, *RED, **{**changed, **marks, "MARK_IN": 10, "MARK_OUT": 10, "UNIQUEID": 3})
    assert "okey 0.0.0.10" in sh("ip -n red -d link show t0")
    for one in ({}, marks, {"MARK_IN": 10, "MARK_OUT": 10, "UNIQUEID": 3}):
        machine.down(**changed, **one)
    assert machine.state() == before and red_links() == []


@pytest.mark.parametrize("changed", [{}, XFRM], ids=["vti", "xfrm"])
def test_a_link_in_a_namespace_without_a_name_is_told(machine, changed):
    """As `ip netns del` leaves it while a process runs there, such as a container's."""
    before = machine.state()
    machine.up(*NET, *RED, **changed)
    container = subprocess.Popen(["ip", "netns", "exec", "red", "sleep", "infinity"])
    try:
        assert comes_true(
            lambda: os.path.samefile(f"/proc/{container.pid}/ns/net", "/run/netns/red")
        )
        sh("ip netns del red; ip netns add red")
        machine.down(**changed)
        (line,) = machine.event("up-client", *NET, *RED, UNIQUEID=2, **changed)
        wanted = "cannot make link t0: one like it is in another namespace; end what runs there (lsns -t net)"
        assert line == f"error: gw: {wanted}" and machine.status == 1
        assert machine.state() == before and red_links() == []
        machine.event("down-client", *NET, *RED, UNIQUEID=2, **changed)
    finally:
        container.kill()
        container.wait()

    def came_up():
        machine.event("up-client", *NET, *RED, UNIQUEID=3, **changed)
        if up := machine.status == 0:
            return up
        machine.down(UNIQUEID=3, **changed)
        return up

    assert comes_true(came_up)  # the kernel takes its time to end a namespace
    assert red_links() == ["t0"]
    machine.down(UNIQUEID=3, **changed)
    assert machine.state() == before and red_links() == []


# Names


@pytest.fixture
def home(machine):
    """The name of the namespace that charon itself is in."""
    sh("touch /run/netns/home; mount --bind /proc/self/ns/net /run/netns/home")
    yield "home"
    sh("umount /run/netns/home; rm /run/netns/home")


@pytest.fixture
def blue(machine):
    """A second name of red, which comes before it."""
    sh("touch /run/netns/blue; mount --bind /run/netns/red /run/netns/blue")
    yield "blue"
    sh("umount /run/netns/blue; rm /run/netns/blue")


@pytest.mark.parametrize("net", [NET, FULL])
def test_a_name_of_charons_own_namespace_is_its_own(machine, home, net):
    """A full tunnel has its rules there, as without the name."""
    before = machine.state()
    machine.up(*net, "--name", "t0")
    wanted = machine.state()
    machine.down()
    machine.up(*net, "--name", "t0", "--netns", home)
    assert alike(machine.state()) == alike(wanted)
    machine.down()
    assert machine.state() == before


def test_lost_records_of_a_namespace_with_a_name_come_once(machine, home, capfd):
    """As `ip netns` may have named charon's own: each link is adopted once."""
    before = machine.state()
    machine.up(*NET)
    sh("rm -r /run/vti-updown")
    assert person(capfd, "repair") == (0, ["nothing to repair"])
    machine.down(*NET)
    assert machine.state() == before
    machine.up(*NET)
    sh("rm -r /run/vti-updown")
    assert person(capfd, "flush", "--force") == (0, ["ip link del vti1"])
    assert machine.state() == before


@pytest.mark.parametrize("lost", [False, True])
def test_two_names_of_one_namespace_are_one(machine, blue, capfd, lost):
    """Two CHILD_SAs share the link, whichever name their settings have."""
    before = machine.state()
    machine.up(*NET, *RED)
    machine.up("--route", "10.9.0.0/16", "--netns", blue, "--name", "t0", CONNECTION="b")
    if lost:
        sh("rm -r /run/vti-updown")
        assert person(capfd, "repair")[0] == 0
        assert person(capfd, "flush", "--force") == (0, ["ip -n blue link del t0"])
    else:
        machine.down()
        assert red_links() == ["t0"]
        machine.down(CONNECTION="b")
    assert machine.state() == before and red_links() == []


def test_a_second_name_for_a_namespace_in_use_changes_nothing(machine):
    """The name that is on record goes on."""
    before = machine.state()
    machine.up(*NET, *RED)
    sh("touch /run/netns/blue; mount --bind /run/netns/red /run/netns/blue")
    machine.up("--route", "10.9.0.0/16", *RED, CONNECTION="b")
    machine.down()
    assert red_links() == ["t0"]
    machine.down(CONNECTION="b")
    sh("umount /run/netns/blue; rm /run/netns/blue")
    assert machine.state() == before and red_links() == []
