"""What cannot be, is refused with nothing changed. It says what is wrong and what to do, in one line or
more.
"""

import pytest

from .story import NO_MARK, NO_VIRTUAL_IP, OVER_IPV6, PLUTO, SITE, XFRM, Changes, Story, told


def case(name: str, *given: object) -> object:
    """One row of a table: its name, what is given, and what the line says."""
    return pytest.param(*given, id=name)


def logged(says: str) -> str:
    """The lines as charon's log has them."""
    return "\n".join(f"log: {line}" for line in says.split("\n"))


REFUSED = [
    case("neither-mark-nor-if_id", "", NO_MARK,
         "error: gw: the CHILD_SA has neither mark nor if_id\n"
         "error: gw:   add mark=NUMBER to it, unique to the peer (swanctl: mark_in, mark_out)"),
    case("xfrm-without-if_id", "--kind xfrm", {},
         "error: gw: kind = xfrm, but the CHILD_SA has no if_id; add if_id_in and if_id_out to it"),
    case("vti-without-mark", "--kind vti", {**NO_MARK, "IF_ID_IN": 4, "IF_ID_OUT": 4},
         "error: gw: the CHILD_SA has no mark; add mark=NUMBER to it, unique to the peer (swanctl: mark_in, mark_out)"),
    case("vti6-over-IPv4", "--kind vti6", {},
         "error: gw: kind = vti6, but 192.168.0.1 is an IPv4 endpoint; leave kind out"),
    case("endpoints-of-two-families", "--local 2001:db8::7", {},
         "error: gw: 2001:db8::7 is no IPv4 address, as the other endpoint is; correct local or remote"),
    case("no-such-vrf", "--vrf blue", SITE,
         "error: gw: there is no VRF blue; make it: ip link add blue type vrf table NUMBER"),
    case("no-such-netns", "--netns office", {},
         "error: gw: there is no network namespace office; make it: ip netns add office"),
    case("no-such-netns-of-a-long-name", f"--netns {'n' * 100}", {},
         f"error: gw: there is no network namespace {'n' * 39}…\n"
         "error: gw:   make it: ip netns add\n"
         f"error: gw:   {'n' * 100}"),
    case("small-mtu-for-IPv6", "--mtu 1200", {"VERB": "up-client-v6", "MY_CLIENT": "fec3::1/128", "PEER_CLIENT": "::/0"},
         "error: gw: mtu = 1200 is too small for IPv6; make it 1280 or more"),
    case("full-tunnel-in-main", "--route 0.0.0.0/0 --table main", {},
         "error: gw: 0.0.0.0/0 in the main table would send the peer's own packets into the tunnel; leave table out"),
    case("selector-of-loopback", "", {"PEER_CLIENT": "127.0.0.0/8"},
         "error: gw: the peer's traffic selector 127.0.0.0/8 covers loopback addresses; correct remote_ts / rightsubnet"),
    case("virtual-ip-of-the-peer", "", {"MY_SOURCEIP4_1": "192.168.0.2"},
         "error: gw: the peer gave the virtual IP 192.168.0.2, which is the peer's own address; correct the peer's address pool"),
    case("virtual-ip-of-multicast", "", {"MY_SOURCEIP4_1": "224.0.0.1"},
         "error: gw: the peer gave the virtual IP 224.0.0.1, which is multicast; correct the peer's address pool"),
    case("name-that-is-too-long", "--name {connection}-and-much-more", {},
         "error: gw: link name gw-and-much-more is longer than 15 bytes; choose another name, such as vpn{uniqueid}"),
    case("vrf-and-netns", "--vrf blue --netns office", {},
         "error: gw: --vrf and netns exclude each other; leave one out"),
    case("mss-above-the-mtu", "--mtu 1280 --mss 1400", {},
         "error: gw: --mss = 1400 is more than the 1240 that mtu = 1280 leaves; write less, or path"),
    case("unknown-flag", "--rout 10.2.0.0/16", {},
         "error: gw: unknown flag --rout; see vti-updown --help"),
    case("route-with-host-bits", "--route 10.2.0.1/16", {},
         "error: gw: --route 10.2.0.1/16 is not a subnet such as 10.2.0.0/16; write NET/PREFIX with no host bits set"),
    case("routes-and-none", "--route 10.2.0.0/16 --no-routes", {},
         "error: gw: --route and --no-routes exclude each other; leave one of them out"),
    case("no-such-table-of-settings", "--settings moon", {},
         "error: gw: --settings moon: vti-updown.toml has no such table; vti-updown check-config lists them"),
    case("unknown-verb", "", {"VERB": "up-stairs"},
         "error: gw: unknown PLUTO_VERB up-stairs; known are up- and down-, host and client, with and without -v6"),
    case("no-peer", "", {"PEER": None},
         "error: gw: PLUTO_PEER is not set; call the hook from charon (leftupdown=), or set PLUTO_PEER"),
    case("no-number", "", {"UNIQUEID": "1_0"},
         "error: gw: PLUTO_UNIQUEID=1_0 is not a number from 0 to 4294967295; call the hook from charon, or correct it"),
    case("selectors-of-two-families", "", {"PEER_CLIENT": "::/0"},
         "error: gw: PLUTO_MY_CLIENT and PLUTO_PEER_CLIENT=::/0 are not of one family; give both as IPv4, or both as IPv6"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "changed", "says"), REFUSED)
def test_an_event_is_refused(story: Story, line: str, changed: Changes, says: str) -> None:
    """The line names the variable, the flag or the CHILD_SA's part, and the kernel has nothing of
    it.
    """
    story.line = line
    assert story.up(**changed) == f"{logged(says)}\nexit status: 2"
    assert story.left() == []


WRONG_FILES = [
    case("no-toml", "[connection.gw",
         "error: gw: vti-updown.toml end of document: Expected ']' at the end of a table declaration; correct it there"),
    case("unknown-key", '[connection.gw]\nroute = ["10.2.0.0/16"]',
         "error: gw: vti-updown.toml [connection.gw] route is unknown; write routes"),
    case("wrong-value", '[connection.gw]\nroutes = ["10.2.0.0"]',
         'error: gw: vti-updown.toml [connection.gw] routes = "10.2.0.0" is not a subnet such as 10.2.0.0/16\n'
         "error: gw:   write NET/PREFIX with no host bits set"),
    case("outside-of-a-table", "mtu = 1400",
         "error: gw: vti-updown.toml mtu outside of a table is unknown; write it under [default] or [connection.NAME]"),
    case("vrf-and-table", '[default]\nvrf = "blue"\n[connection.gw]\ntable = 100',
         "error: gw: vti-updown.toml [connection.gw] table is set, but the routes of a vrf go to its own (vrf: [default])\n"
         "error: gw:   leave table or vrf out"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), WRONG_FILES)
def test_a_wrong_file_is_refused(story: Story, text: str, says: str) -> None:
    """The line names the file, the table and the key."""
    story.settings(text)
    assert story.up() == f"{logged(says)}\nexit status: 2"
    assert story.left() == []


def test_a_wrong_value_of_another_connection_is_no_matter(story: Story) -> None:
    """Only the connections that a table matches fail by its values."""
    story.settings('[connection.other]\nmtu = "much"')
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)


def test_two_peers_behind_one_nat_are_refused(story: Story) -> None:
    """The kernel has one VTI for each pair of endpoints, so another mark is refused with both peers
    named.
    """
    story.up(**SITE)
    other = {**SITE, **PLUTO, "PEER": "192.168.0.2", "MARK_IN": 3, "MARK_OUT": 3}
    assert story.up(**other) == told("""
        log: error: pluto: gw holds vti1 to 192.168.0.2 with mark 2, this is 3; give both one mark, or use if_id
        exit status: 2
    """)
    assert story.down(**other) == told("""
        # nothing to change
        log: pluto: its up had failed, nothing to take away
    """)
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_a_taken_chosen_name_is_refused(story: Story) -> None:
    """A name that the user chose is not replaced by another one behind his back."""
    story.host.add_link("office")
    story.line = "--name office"
    assert story.up(**SITE) == told("""
        log: error: gw: the name office is taken by another link; choose another --name, such as vpn{uniqueid}
        exit status: 2
    """)


def test_a_chosen_name_that_another_tunnel_has_is_told(story: Story) -> None:
    """A tunnel of ours that still has the name must not stop a new one, which has a default name
    meanwhile.
    """
    story.line = "--name office"
    story.up(**SITE)
    assert story.up(**SITE, **PLUTO) == told("""
        # the link is vti2, not office, for as long as it is up
        ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.3 okey 2 ikey 2
        ip link set vti2 up mtu 1406 alias 'vti-updown pluto'
        sysctl -w net.ipv4.conf.vti2.disable_policy=1
        ip route replace 10.2.0.0/16 dev vti2 proto 50
        log: pluto: vti2 up, 192.168.0.1 → 192.168.0.3, mark 2, 10.2.0.0/16
        log: pluto: the link is vti2, not office, for as long as it is up
    """)


def test_a_wrong_flag_stops_no_down(story: Story) -> None:
    """charon never asks for a down again, so it is done, and the error is told after it."""
    story.up(**SITE)
    story.line = "--rout 10.2.0.0/16"
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
        log: error: gw: unknown flag --rout; see vti-updown --help
        exit status: 2
    """)
    assert story.left() == []


def test_a_full_tunnel_needs_to_know_the_peer(story: Story) -> None:
    """An XFRM interface has no peer until an event comes, so that only prepare asks for one."""
    story.settings("""
        [connection.gw]
        if_id = 42
        routes = ["0.0.0.0/0"]
        when_down = "block"
    """)
    assert story.prepare() == told("""
        error: gw: 0.0.0.0/0 is a full tunnel, and the peer's address is not known; add remote to the settings
        exit status: 2
    """)
    assert story.up(**XFRM, **NO_VIRTUAL_IP, **OVER_IPV6, MY_CLIENT="0.0.0.0/0") == told("""
        ip link add xfrm42 group 1987313665 type xfrm if_id 0x2a
        ip link set xfrm42 up mtu 1390 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.xfrm42.disable_policy=1
        ip route add 0.0.0.0/0 dev xfrm42 proto 50 table 7763049 metric 2147483648
        ip route add 0.0.0.0/0 dev xfrm42 proto 50 table 7763050 metric 2147483648
        ip route add unreachable 0.0.0.0/0 proto 50 table 7763049 metric 4294967295
        ip route add unreachable 0.0.0.0/0 proto 50 table 7763050 metric 4294967295
        ip rule add pref 15004 nop proto 50
        ip rule add pref 15000 iif lo ipproto esp goto 15004 proto 50
        ip rule add pref 15000 iif lo ipproto udp sport 500 goto 15004 proto 50
        ip rule add pref 15000 iif lo ipproto udp sport 4500 goto 15004 proto 50
        ip rule add pref 15002 lookup 254 suppress_prefixlength 0 proto 50
        ip rule add pref 15003 iif lo lookup 7763050 proto 50
        ip rule add pref 15003 not iif lo lookup 7763049 proto 50
        log: gw: xfrm42 up, 2001:db8::1 → 2001:db8::2, if_id 42, 0.0.0.0/0
    """)
