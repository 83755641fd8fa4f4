"""Whatever somebody puts in the place of ours is theirs: no event and no command touches it."""

import pytest

from conftest import Machine, sh
from support.slow import slow_but
from view import records
from vti_updown.admin import cli as people

NET = ("--route", "10.2.0.0/16")
FULL = ("--route", "0.0.0.0/0")
BORROWED = (
    "ip link add mine type vti local 192.168.0.1 remote 192.168.0.2 key 2; ip link set mine up"
)

# For each object: what stands before the up, the flags of the up, what a user does then, and how to
# see that it is still there.
REPLACED = {
    "route": (
        "",
        NET,
        "ip route replace 10.2.0.0/16 dev eth0 proto static",
        "ip route show 10.2.0.0/16 proto static",
    ),
    "address of a borrowed link": (
        BORROWED,
        NET,
        "ip addr del 10.3.0.1/32 dev mine; ip addr add 10.3.0.1/32 dev mine",
        "ip addr show mine to 10.3.0.1",
    ),
    "rule": (
        "",
        FULL,
        "ip rule del pref 15002 lookup main suppress_prefixlength 0 proto 50;"
        " ip rule add pref 15002 lookup main suppress_prefixlength 0 proto static",
        "ip rule show pref 15002 | grep static",
    ),
    "default route of the full tunnel": (
        "",
        FULL,
        "ip route replace default dev eth0 table 7763049 metric 2147483648 proto static",
        "ip route show table 7763049 proto static",
    ),
    "way of the peer around the full tunnel": (
        "",
        FULL,
        "ip route replace unreachable 192.168.0.2 table 7763050 proto static",
        "ip route show table 7763050 proto static",
    ),
    "nft's table": (
        "",
        (*NET, "--mss", "1300"),
        "nft delete table inet vti-updown-vti1; nft add table inet vti-updown-vti1",
        "nft list table inet vti-updown-vti1",
    ),
    "link, by a bridge of its name": (
        "",
        NET,
        "ip link del vti1; ip link add vti1 type bridge; ip link set vti1 up",
        "ip -d -o link show vti1 | grep -o bridge | head -1",
    ),
    "link, by one with its endpoints": (
        "",
        NET,
        "ip link del vti1;"
        " ip link add own type vti local 192.168.0.1 remote 192.168.0.2 key 2; ip link set own up",
        "ip -d -o link show own | grep -o 'ikey [0-9.]*'",
    ),
}


QUICK = ["down", "repair"]


@pytest.mark.parametrize("then", slow_but(QUICK, [*QUICK, "up and downs", "flush", "stale"]))
def test_what_is_in_the_place_of_ours_is_left_alone(machine, then):
    """A route, an address, a rule, a table of nftables, a link: each in each kind of event."""
    for name, (stands, flags, replaces, shows) in REPLACED.items():
        sh(stands)
        machine.up(*flags)
        sh(replaces)
        theirs = sh(shows)
        assert theirs, name
        play(machine, then, flags)
        assert sh(shows) == theirs, (name, then)
        people.run(["flush", "--force"])
        assert sh(shows) == theirs, (name, then)
        assert records() == ((), (), ()), (name, then)
        clean_up()


def play(machine: Machine, then: str, flags: tuple[str, ...]) -> None:
    if then == "down":
        machine.event("down-client")
    if then == "up and downs":
        machine.event("up-client", *flags, CONNECTION="b", UNIQUEID=2)
        machine.event("down-client", CONNECTION="b", UNIQUEID=2)
        machine.event("down-client")
    if then == "repair":
        people.run(["repair"])
        people.run(["repair"])
    if then == "stale":
        machine.restart_charon()
        people.run(["flush", "--stale"])


def clean_up() -> None:
    """Takes away what the user had put there."""
    sh(
        "for link in vti1 mine own; do ip link del $link 2>/dev/null || true; done;"
        "ip route del 10.2.0.0/16 2>/dev/null || true; ip route flush table 7763049 || true;"
        "ip route flush table 7763050 || true;"
        "ip rule del pref 15002 2>/dev/null || true; nft flush ruleset"
    )


def test_records_of_another_boot_change_nothing(machine, monkeypatch):
    """A /run that is no tmpfs keeps them. Their numbers are others' by now."""
    machine.up(*NET, CONNECTION="old")
    monkeypatch.setattr("vti_updown.kernel.namespace.this_boot", lambda: "another1")
    # As a boot does: all is gone, and others have the numbers.
    index = sh("ip -o link show vti1").partition(":")[0]
    sh(f"ip link del vti1; ip link add br0 index {index} type bridge; ip link set br0 up")
    sh("ip route add 10.2.0.0/16 dev br0 proto 50")
    machine.event("down-client", CONNECTION="old")
    people.run(["repair"])
    assert sh("ip -o link show br0") and sh("ip route show 10.2.0.0/16 dev br0")
    assert records() == ((), (), ()), "the records of the boot before are removed"
