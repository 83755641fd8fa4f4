"""`vti-updown status` on a real kernel: what it finds, and that it changes nothing."""

import pytest

from conftest import Machine, sh
from vti_updown.admin.screen import COLUMNS, width

OF_NOBODY = 3
"""No charon can be asked, so that nobody knows whether its tunnel is up."""


def problems(machine: Machine) -> list[str]:
    """What is wrong with the only tunnel, but for its charon."""
    (tunnel,) = machine.document()["tunnels"]
    return [each["what"] for each in tunnel["problems"] if each["level"] == "differs"]


def test_a_tunnel_as_it_was_set_up_has_no_fault(machine: Machine) -> None:
    """No line is longer than a terminal is wide."""
    machine.by_hand()
    machine.up("--route", "10.2.0.0/16")
    for words in ((), ("gw",), ("--metrics",)):
        lines = machine.show(*words)
        assert machine.status == 0, lines
        if not words:
            assert lines[-1].split()[:4] == ["by", "hand", "gw", "vti1"]
        if words != ("--metrics",):
            assert all(width(line) <= COLUMNS for line in lines), lines


def test_a_charon_that_cannot_be_asked_is_told(machine: Machine) -> None:
    """Whether its tunnel is up is not known."""
    machine.up()
    told = "\n".join(machine.show())
    assert machine.status == OF_NOBODY
    assert "charon (PID 1) has it, and cannot be asked from here" in told


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("ip route del 10.2.0.0/16 dev vti1", "route 10.2.0.0/16 is gone"),
        (
            "ip route replace 10.2.0.0/16 dev vti1 proto 50",
            "route 10.2.0.0/16 differs: source is None, not 10.3.0.1",
        ),
        ("ip addr del 10.3.0.1/32 dev vti1", "10.3.0.1/32 is gone"),
        ("ip link set vti1 mtu 1300", "link vti1 differs: mtu is 1300, not 1406"),
        ("ip link set vti1 down", "link vti1 is set down"),
        ("ip link del vti1", "link vti1 is gone"),
        ("ip link set vti1 type vti okey 7 ikey 7", "link vti1 differs: okey is 7, not 2"),
        ("sysctl -qw net.ipv4.conf.vti1.disable_policy=0", "disable_policy"),
    ],
)
def test_each_kind_of_change_is_told(machine: Machine, change: str, fault: str) -> None:
    """`repair`, which is named, puts it back."""
    machine.by_hand()
    machine.up("--route", "10.2.0.0/16")
    sh(change)
    told = "\n".join(machine.show())
    assert machine.status == 1, told
    found = problems(machine)
    assert any(fault in each for each in found), found
    assert "mend it: vti-updown repair" in told
    machine.command("repair")
    assert problems(machine) == []


def test_a_link_that_a_user_renamed_is_shown_by_its_name(machine: Machine) -> None:
    """It is no fault: nothing goes by the name."""
    machine.by_hand()
    machine.up("--route", "10.2.0.0/16")
    sh("ip link set vti1 down; ip link set vti1 name mine; ip link set mine up")
    machine.command("repair")  # An older kernel renames no link that is up, and routes go with it.
    told = "\n".join(machine.show("gw"))
    assert machine.status == 0, told
    assert "  link     mine, vti, 192.168.0.1 → 192.168.0.2, mark 2" in told
    assert "ip route add 10.2.0.0/16 dev mine" in told


def test_what_the_kernel_counts_is_shown(machine: Machine) -> None:
    """A packet that no policy is for is an error of the link."""
    machine.up("--route", "10.2.0.0/16")
    sh("ping -c1 -W1 10.2.0.1 || true")
    (tunnel,) = machine.document()["tunnels"]
    (link,) = tunnel["links"]
    counters = link["counters"]
    assert counters["tx_errors"] + counters["tx_dropped"] + counters["tx_packets"] > 0, counters


def test_a_tunnel_in_a_namespace_is_seen_there(machine: Machine) -> None:
    """When the namespace goes, that is what is told, and not each object."""
    machine.by_hand()
    sh("ip netns add office")
    machine.up("--netns", "office", "--route", "10.2.0.0/16")
    assert "in namespace office" in " ".join(" ".join(machine.show("gw")).split())
    assert machine.status == 0
    sh("ip netns del office")
    assert problems(machine) == ["the network namespace office is gone, with all that was in it"]


def test_a_borrowed_link_is_told_from_ours(machine: Machine) -> None:
    """Its counters are shown, too."""
    machine.by_hand()
    sh("ip link add mine type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2")
    sh("ip link set mine up")
    machine.up("--route", "10.2.0.0/16")
    (tunnel,) = machine.document()["tunnels"]
    (link,) = tunnel["links"]
    assert (link["name"], link["is_borrowed"], link["is_there"]) == ("mine", True, True)
    assert link["counters"] is not None
    assert tunnel["level"] == "ok"


def test_records_that_nobody_may_read_are_told(machine: Machine) -> None:
    """It is not as if there were no tunnel."""
    machine.up()
    sh("for file in /run/vti-updown/*.sqlite; do rm $file; mkdir $file; done")
    lines = machine.command("status")
    assert machine.status == OF_NOBODY
    assert lines[0].startswith("error: cannot read /run/vti-updown")
    machine.cannot_look = "a folder is in the place of the records"
