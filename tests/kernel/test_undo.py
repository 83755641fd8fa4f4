"""Undo goes to what was before us, on every object that the kernel always has a value for."""

import pytest

import deaths
from conftest import sh
from view import records

NET = ("--route", "10.2.0.0/16")
OTHER = {"UNIQUEID": 2, "CONNECTION": "other", "PEER_CLIENT": "10.9.0.0/16"}
"""Another CHILD_SA to the same peer, so on the same link."""


def value(name: str, family: int = 4, link: str = "vti1") -> str:
    return sh(f"cat /proc/sys/net/ipv{family}/conf/{link}/{name}").strip()


def mtu() -> str:
    return sh("ip -o link show vti1").partition(" mtu ")[2].split()[0]


@pytest.mark.parametrize("name", ["forwarding", "rp_filter", "accept_redirects", "proxy_arp"])
@pytest.mark.parametrize("before", ["0", "1"])
def test_a_sysctl_of_a_shared_link_goes_back(machine, name, before):
    """To what the link had when the first reference set it, and not to 0."""
    machine.up(*NET)
    sh(f"echo {before} > /proc/sys/net/ipv4/conf/vti1/{name}")
    other = "2" if name == "rp_filter" else str(1 - int(before))
    machine.up("--no-routes", "--sysctl", f"ipv4.{name}={other}", **OTHER)
    assert value(name) == other
    machine.down(**OTHER)
    assert value(name) == before
    machine.down()
    assert records() == ((), (), ())


def test_a_sysctl_goes_back_to_what_new_links_have(machine):
    """The link was made by the reference that set it, and another one still holds it."""
    sh("echo 1 > /proc/sys/net/ipv4/conf/default/rp_filter")
    machine.up(*NET, "--sysctl", "ipv4.rp_filter=2")
    machine.up("--no-routes", **OTHER)
    machine.down()
    assert value("rp_filter") == "1"
    machine.down(**OTHER)


def test_a_sysctl_that_somebody_set_since_is_theirs(machine):
    """A down leaves it alone."""
    machine.up(*NET)
    machine.up("--no-routes", "--sysctl", "ipv4.rp_filter=2", **OTHER)
    sh("echo 1 > /proc/sys/net/ipv4/conf/vti1/rp_filter")
    machine.down(**OTHER)
    assert value("rp_filter") == "1"
    machine.down()


def test_of_two_who_set_a_sysctl_the_last_takes_it_back(machine):
    """In between, the other one's value holds."""
    machine.up(*NET)
    sh("echo 1 > /proc/sys/net/ipv4/conf/vti1/rp_filter")
    third = {**OTHER, "CONNECTION": "third", "UNIQUEID": 3, "PEER_CLIENT": "10.8.0.0/16"}
    machine.up("--no-routes", "--sysctl", "ipv4.rp_filter=2", **OTHER)
    machine.up("--no-routes", "--sysctl", "ipv4.rp_filter=0", **third)
    machine.down(**third)
    assert value("rp_filter") == "2"
    machine.down(**OTHER)
    assert value("rp_filter") == "1"
    machine.down()


def test_disable_policy_goes_back_to_what_new_links_have(machine):
    """IPv6's is set with the first IPv6 selector pair, and goes with the last."""
    sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_policy")
    machine.up(*NET)
    machine.up(verb="up-client-v6")
    machine.down(verb="down-client-v6")
    assert value("disable_policy", 6) == "1"
    machine.down()


def test_the_mtu_goes_back_to_the_kernels_choice(machine):
    """Without a route to the peer no setting has an opinion on it."""
    sh("ip route del default")
    far = {"PEER": "203.0.113.9"}
    machine.up(*NET, **far)
    chosen = mtu()
    machine.up("--no-routes", "--mtu", "1300", **{**OTHER, **far})
    assert mtu() == "1300"
    machine.down(**{**OTHER, **far})
    assert mtu() == chosen
    machine.up("--no-routes", "--mtu", "1300", **{**OTHER, **far})
    third = {**OTHER, **far, "CONNECTION": "third", "UNIQUEID": 3, "PEER_CLIENT": "10.8.0.0/16"}
    machine.up("--no-routes", **third)
    assert mtu() == "1300", "the newest has no opinion"
    for event in (third, {**OTHER, **far}, far):
        machine.down(**event)


def test_the_link_local_mode_goes_back(machine):
    """To what the namespace gives new links: here none."""
    sh("echo 1 > /proc/sys/net/ipv6/conf/default/addr_gen_mode")
    machine.up(*NET)
    machine.up("--no-routes", "--link-local", "fe80::7", **OTHER)
    machine.down(**OTHER)
    assert value("addr_gen_mode", 6) == "1"
    sh("ip link set vti1 down; ip link set vti1 up")
    assert "fe80" not in sh("ip addr show vti1")
    machine.down()


@pytest.mark.slow
def test_a_sysctl_goes_back_whatever_instant_the_event_dies_at(machine):
    """Its value of before is on record before it is changed."""
    flags = ("--no-routes", "--sysctl", "ipv4.rp_filter=2")
    points = None
    for number in range(100):
        machine.up(*NET)
        sh("echo 1 > /proc/sys/net/ipv4/conf/vti1/rp_filter")
        came = deaths.killed(lambda: machine.event("up-client", *flags, **OTHER), number)
        machine.up(*flags, **OTHER)
        assert value("rp_filter") == "2"
        machine.down(**OTHER)
        machine.event("down-client", **OTHER)  # of the one that died, if it got so far
        assert value("rp_filter") == "1", number
        machine.down()
        assert records() == ((), (), ())
        if not came:
            points = number
            break
    assert points
