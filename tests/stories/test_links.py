"""Which link a CHILD_SA gets: its kind, its ends, its name and its place."""

import pytest

from .story import NO_MARK, OVER_IPV6, PLUTO, SITE, XFRM, Changes, Story, told


def test_marks_and_ipv4_endpoints_make_a_vti(story: Story) -> None:
    """The outbound mark is its okey and the inbound one its ikey; the last down leaves nothing."""
    assert story.up(MARK_IN="5/0xffffffff", **SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 5
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
    assert story.down(MARK_IN="5/0xffffffff", **SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []


def test_marks_and_ipv6_endpoints_make_a_vti6(story: Story) -> None:
    """The kernel's vti has IPv4 endpoints, its vti6 has IPv6 ones; the MTU leaves room for the
    longer header.
    """
    assert story.up(**OVER_IPV6, **SITE) == told("""
        ip link add vti1 group 1987313665 type vti6 local 2001:db8::1 remote 2001:db8::2 okey 2 ikey 2
        ip link set vti1 up mtu 1390 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 2001:db8::1 → 2001:db8::2, mark 2, 10.2.0.0/16
    """)
    assert story.down(**OVER_IPV6, **SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 2001:db8::1 → 2001:db8::2
    """)


def test_a_mark_in_one_direction_is_one_key(story: Story) -> None:
    """A CHILD_SA may have its mark on outbound packets alone; the other key is 0."""
    assert story.up(MARK_IN=None, **SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 0
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)


def test_an_if_id_makes_an_xfrm_interface(story: Story) -> None:
    """An if_id comes before endpoints: the link has none, and its number is its name."""
    assert story.up(**XFRM, **SITE) == told("""
        ip link add xfrm42 group 1987313665 type xfrm if_id 0x2a
        ip link set xfrm42 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.xfrm42.disable_policy=1
        ip route add 10.2.0.0/16 dev xfrm42 proto 50
        log: gw: xfrm42 up, 192.168.0.1 → 192.168.0.2, if_id 42, 10.2.0.0/16
    """)
    assert story.down(**XFRM, **SITE) == told("""
        ip link del xfrm42
        log: gw: xfrm42 down, 192.168.0.1 → 192.168.0.2
    """)


def test_an_xfrm_interface_goes_over_ipv6_too(story: Story) -> None:
    """It has no endpoints, so only the MTU tells by what its packets travel."""
    assert story.up(**XFRM, **OVER_IPV6, **SITE) == told("""
        ip link add xfrm42 group 1987313665 type xfrm if_id 0x2a
        ip link set xfrm42 up mtu 1390 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.xfrm42.disable_policy=1
        ip route add 10.2.0.0/16 dev xfrm42 proto 50
        log: gw: xfrm42 up, 2001:db8::1 → 2001:db8::2, if_id 42, 10.2.0.0/16
    """)


def test_two_if_ids_make_a_link_each_way(story: Story) -> None:
    """Packets leave by the outbound if_id's link and come in by the other, which must not drop them
    by rp_filter.
    """
    ids = {**NO_MARK, "IF_ID_IN": 7, "IF_ID_OUT": 8, **SITE}
    assert story.up(**ids) == told("""
        ip link add xfrm8 group 1987313665 type xfrm if_id 0x8
        ip link set xfrm8 up mtu 1406 alias 'vti-updown gw'
        ip link add xfrm7 group 1987313665 type xfrm if_id 0x7
        ip link set xfrm7 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.xfrm8.disable_policy=1
        sysctl -w net.ipv4.conf.xfrm7.disable_policy=1
        sysctl -w net.ipv4.conf.xfrm7.rp_filter=2
        ip route add 10.2.0.0/16 dev xfrm8 proto 50
        log: gw: xfrm8, xfrm7 up, 192.168.0.1 → 192.168.0.2, if_id 8, 10.2.0.0/16
    """)
    assert story.down(**ids) == told("""
        ip link del xfrm7
        ip link del xfrm8
        log: gw: xfrm8 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []


def test_two_if_ids_share_no_chosen_name(story: Story) -> None:
    """A template that does not tell the two links apart names the one by which packets leave."""
    story.settings("""
        [connection.gw]
        name = "vpn"
    """)
    assert story.up(**NO_MARK, IF_ID_IN=7, IF_ID_OUT=8, **SITE) == told("""
        ip link add vpn group 1987313665 type xfrm if_id 0x8
        ip link set vpn up mtu 1406 alias 'vti-updown gw'
        ip link add xfrm7 group 1987313665 type xfrm if_id 0x7
        ip link set xfrm7 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vpn.disable_policy=1
        sysctl -w net.ipv4.conf.xfrm7.disable_policy=1
        sysctl -w net.ipv4.conf.xfrm7.rp_filter=2
        ip route add 10.2.0.0/16 dev vpn proto 50
        log: gw: vpn, xfrm7 up, 192.168.0.1 → 192.168.0.2, if_id 8, 10.2.0.0/16
    """)


def test_kind_may_be_chosen_where_the_child_sa_has_both(story: Story) -> None:
    """A CHILD_SA with a mark and an if_id gets an XFRM interface, unless the settings want a VTI."""
    both = {"IF_ID_IN": 42, "IF_ID_OUT": 42, **SITE}
    assert story.up(**both) == told("""
        ip link add xfrm42 group 1987313665 type xfrm if_id 0x2a
        ip link set xfrm42 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.xfrm42.disable_policy=1
        ip route add 10.2.0.0/16 dev xfrm42 proto 50
        log: gw: xfrm42 up, 192.168.0.1 → 192.168.0.2, if_id 42, 10.2.0.0/16
    """)
    assert story.down(**both) == told("""
        ip link del xfrm42
        log: gw: xfrm42 down, 192.168.0.1 → 192.168.0.2
    """)
    story.settings("""
        [connection.gw]
        kind = "vti"
    """)
    assert story.up(**both) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)


def test_a_link_whose_device_came_back_is_made_anew(story: Story) -> None:
    """It is bound to the old ifindex, and the kernel changes that of no XFRM interface. What is on
    it comes along, also what another reference wishes for.
    """
    story.line = "--device eth7"
    again = {**SITE, **XFRM, "PEER_CLIENT": "10.3.0.0/16", "UNIQUEID": 2}
    third = {**again, "MY_CLIENT": "10.9.0.0/16"}
    story.up(**SITE, **XFRM)
    story.up(**again)
    anew = told("""
        ip link del xfrm42
        ip link add xfrm42 group 1987313665 type xfrm dev eth7 if_id 0x2a
        ip link set xfrm42 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.xfrm42.disable_policy=1
        ip route add 10.2.0.0/16 dev xfrm42 proto 50
        ip route add 10.3.0.0/16 dev xfrm42 proto 50
    """)
    story.host.bound_to_gone.add("xfrm42")
    assert story.repair() == anew
    assert story.repair() == "nothing to repair"
    story.host.bound_to_gone.add("xfrm42")
    assert set(anew.splitlines()) < set(story.up(**third).splitlines())
    story.host.bound_to_gone.add("xfrm42")
    story.down(**SITE, **XFRM)
    story.down(**again)
    assert "ip link del xfrm42" in story.down(**third)
    assert story.left() == []


def test_any_remote_makes_one_vti_for_all_peers(story: Story) -> None:
    """Road warriors of one mark share a VTI without a remote end; the last one takes it."""
    story.settings("""
        [default]
        remote = "any"
    """)
    alice = {**SITE, "PEER_CLIENT": "10.3.0.7/32"}
    bob = {
        **alice,
        "PEER": "192.168.0.3",
        "PEER_ID": "bob",
        "UNIQUEID": 2,
        "PEER_CLIENT": "10.3.0.8/32",
    }
    assert story.up(**alice) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote any okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.3.0.7/32 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → any, mark 2, 10.3.0.7/32
    """)
    assert story.up(**bob) == told("""
        ip route add 10.3.0.8/32 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → any, mark 2, 10.3.0.8/32
    """)
    assert story.down(**alice) == told("""
        ip route del 10.3.0.7/32 dev vti1 proto 50
        log: gw: vti1 stays, held by 1 more, without 10.3.0.7/32
    """)
    assert story.down(**bob) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → any
    """)


def test_local_says_where_a_vti_begins(story: Story) -> None:
    """Behind a NAT of one's own, or on a host with two addresses, the settings name the endpoint."""
    story.settings("""
        [connection.gw]
        local = "192.0.2.1"
    """)
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.0.2.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)


def test_device_binds_the_link_to_an_underlying_one(story: Story) -> None:
    """A tunnel may be bound to the link that its packets leave by, a VTI and an XFRM interface
    alike.
    """
    story.settings("""
        [default]
        device = "eth0"
    """)
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2 dev eth0
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
    assert story.up(**SITE, **XFRM, **PLUTO) == told("""
        ip link add xfrm42 group 1987313665 type xfrm dev eth0 if_id 0x2a
        ip link set xfrm42 up mtu 1406 alias 'vti-updown pluto'
        sysctl -w net.ipv4.conf.xfrm42.disable_policy=1
        ip route replace 10.2.0.0/16 dev xfrm42 proto 50
        log: pluto: xfrm42 up, 192.168.0.1 → 192.168.0.3, if_id 42, 10.2.0.0/16
    """)


def test_vrf_takes_the_link_and_its_routes(story: Story) -> None:
    """The link belongs to the VRF, and the routes stand in its table, with no source of another
    VRF's.
    """
    story.host.vrfs["blue"] = 100
    story.host.addresses = ["10.1.0.1"]
    story.settings("""
        [connection.gw]
        vrf = "blue"
    """)
    assert story.up(**XFRM, **SITE) == told("""
        ip link add xfrm42 group 1987313665 type xfrm if_id 0x2a
        ip link set xfrm42 vrf blue
        ip link set xfrm42 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.xfrm42.disable_policy=1
        ip route add 10.2.0.0/16 dev xfrm42 proto 50 table 100
        log: gw: xfrm42 up, 192.168.0.1 → 192.168.0.2, if_id 42, 10.2.0.0/16
    """)
    assert story.down(**XFRM, **SITE) == told("""
        ip link del xfrm42
        log: gw: xfrm42 down, 192.168.0.1 → 192.168.0.2
    """)


def test_a_link_that_leaves_its_vrf_keeps_what_is_on_it(story: Story) -> None:
    """The kernel takes all addresses and routes from a link that changes its VRF, so they are put
    back.
    """
    story.host.vrfs["blue"] = 100
    story.settings("""
        [connection.gw]
        vrf = "blue"
        address = "169.254.21.2/30"
    """)
    story.up(**SITE)
    story.settings("""
        [connection.gw]
        address = "169.254.21.2/30"
    """)
    assert story.up(UNIQUEID=2, **SITE) == told("""
        ip link set vti1 nomaster
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        ip route add 10.2.0.0/16 dev vti1 proto 50
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr replace 169.254.21.2/30 dev vti1
        ip route replace 10.2.0.0/16 dev vti1 proto 50 table 100
        ip route replace 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 169.254.21.2/30, 10.2.0.0/16
    """)


def test_netns_takes_the_link_and_all_that_is_on_it(story: Story) -> None:
    """The link is made here, where its outer packets leave, and moved; a full tunnel there needs no
    rules.
    """
    story.host.namespaces.add("office")
    story.settings("""
        [connection.gw]
        netns = "office"
        routes = ["0.0.0.0/0", "::/0"]
        mss = "path"
    """)
    assert story.up(**XFRM) == told("""
        ip link add xfrm42 group 1987313665 type xfrm if_id 0x2a
        ip link set xfrm42 netns office
        ip -n office link set xfrm42 up mtu 1406 alias 'vti-updown gw'
        ip netns exec office sysctl -w net.ipv4.conf.xfrm42.disable_policy=1
        ip -n office addr add 10.3.0.1/32 dev xfrm42
        ip -n office route add 0.0.0.0/0 dev xfrm42 proto 50 src 10.3.0.1
        ip netns exec office nft 'table inet vti-updown-xfrm42; delete table inet vti-updown-xfrm42; table inet vti-updown-xfrm42 { comment "vti-updown"; chain postrouting { type filter hook postrouting priority mangle; oifname "xfrm42" meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set 1366; oifname "xfrm42" meta nfproto ipv6 tcp flags & (syn | rst) == syn tcp option maxseg size set 1346; }; chain prerouting { type filter hook prerouting priority mangle; iifname "xfrm42" meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set 1366; iifname "xfrm42" meta nfproto ipv6 tcp flags & (syn | rst) == syn tcp option maxseg size set 1346; }; }'
        log: gw: xfrm42 up, 192.168.0.1 → 192.168.0.2, if_id 42, 10.3.0.1/32, 0.0.0.0/0
    """)
    assert story.down(**XFRM) == told("""
        ip netns exec office nft 'table inet vti-updown-xfrm42; delete table inet vti-updown-xfrm42'
        ip -n office link del xfrm42
        log: gw: xfrm42 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []


TEMPLATES: list[tuple[str, Changes, str]] = [
    ("{connection}-{uniqueid}", {}, "gw-1"),
    ("vti{mark}", {}, "vti2"),
    ("ipsec{if_id:08x}", XFRM, "ipsec0000002a"),
    ("x{if_id}", XFRM, "x42"),
    ("{peer}", {"PEER": "203.0.113.7"}, "203.0.113.7"),
]


@pytest.mark.parametrize(("template", "changed", "name"), TEMPLATES)
def test_a_name_is_made_of_its_template(
    story: Story, template: str, changed: Changes, name: str
) -> None:
    """A name may hold the connection, the unique ID, the mark, the if_id and the peer."""
    story.line = f"--name {template}"
    made, _, _ = story.up(**changed, **SITE).partition(" group ")
    assert made == f"ip link add {name}"
    assert story.down(**changed, **SITE).startswith(f"ip link del {name}\n")


def test_a_taken_default_name_takes_another(story: Story) -> None:
    """Where somebody's link is called vti1 already, the next free number is ours."""
    story.host.add_link("vti1")
    assert story.up(**SITE) == told("""
        ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti2 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti2.disable_policy=1
        ip route add 10.2.0.0/16 dev vti2 proto 50
        log: gw: vti2 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
    assert story.down(**SITE) == told("""
        ip link del vti2
        log: gw: vti2 down, 192.168.0.1 → 192.168.0.2
    """)


def test_mtu_is_what_the_path_leaves(story: Story) -> None:
    """The path's MTU less the longest ESP header; a setting says otherwise, and no route to the
    peer says nothing.
    """
    story.host.path_mtu = 9000
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 8910 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
    story.down(**SITE)
    story.host.path_mtu = None
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
    story.down(**SITE)
    story.line = "--mtu 1400"
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1400 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)


def test_mss_clamps_tcp_in_both_directions(story: Story) -> None:
    """A table of nftables clamps what comes and goes through the link; it is no part of the link,
    so it goes by itself.
    """
    story.line = "--mss path --no-routes"
    assert story.up() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        nft 'table inet vti-updown-vti1; delete table inet vti-updown-vti1; table inet vti-updown-vti1 { comment "vti-updown"; chain postrouting { type filter hook postrouting priority mangle; oifname "vti1" meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set 1366; oifname "vti1" meta nfproto ipv6 tcp flags & (syn | rst) == syn tcp option maxseg size set 1346; }; chain prerouting { type filter hook prerouting priority mangle; iifname "vti1" meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set 1366; iifname "vti1" meta nfproto ipv6 tcp flags & (syn | rst) == syn tcp option maxseg size set 1346; }; }'
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32
    """)
    assert story.down() == told("""
        nft 'table inet vti-updown-vti1; delete table inet vti-updown-vti1'
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []


def test_mss_may_be_a_number(story: Story) -> None:
    """Both families have that size then."""
    story.line = "--mss 1200 --no-routes"
    assert story.up() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        nft 'table inet vti-updown-vti1; delete table inet vti-updown-vti1; table inet vti-updown-vti1 { comment "vti-updown"; chain postrouting { type filter hook postrouting priority mangle; oifname "vti1" meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set 1200; oifname "vti1" meta nfproto ipv6 tcp flags & (syn | rst) == syn tcp option maxseg size set 1200; }; chain prerouting { type filter hook prerouting priority mangle; iifname "vti1" meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set 1200; iifname "vti1" meta nfproto ipv6 tcp flags & (syn | rst) == syn tcp option maxseg size set 1200; }; }'
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32
    """)


def test_multicast_and_a_link_local_address_for_ospf(story: Story) -> None:
    """The link carries multicast, and has the link-local address of the settings and none of the
    kernel's making.
    """
    story.settings("""
        [connection.gw]
        multicast = true
        link_local = "fe80::1/64"
        address = "10.255.0.1/30"
        routes = "none"
    """)
    assert story.up(**XFRM, **SITE) == told("""
        ip link add xfrm42 group 1987313665 type xfrm if_id 0x2a
        ip link set xfrm42 addrgenmode none
        ip link set xfrm42 up multicast on mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.xfrm42.disable_policy=1
        ip addr add 10.255.0.1/30 dev xfrm42
        ip addr add fe80::1/64 dev xfrm42 nodad
        log: gw: xfrm42 up, 192.168.0.1 → 192.168.0.2, if_id 42, 10.255.0.1/30, fe80::1/64
    """)
    assert story.down(**XFRM, **SITE) == told("""
        ip link del xfrm42
        log: gw: xfrm42 down, 192.168.0.1 → 192.168.0.2
    """)


def test_disable_policy_is_set_in_the_events_family(story: Story) -> None:
    """The ESP packet has met its policy already; each family has the sysctl from its first event
    on.
    """
    assert story.up6(**XFRM) == told("""
        # no route made, as the selector ::/0 is everything; add --route NET, or --no-routes
        ip link add xfrm42 group 1987313665 type xfrm if_id 0x2a
        ip link set xfrm42 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv6.conf.xfrm42.disable_policy=1
        ip addr add fec3::1/128 dev xfrm42 nodad
        log: gw: xfrm42 up, 192.168.0.1 → 192.168.0.2, if_id 42, fec3::1/128
        log: gw: no route made, as the selector ::/0 is everything; add --route NET, or --no-routes
    """)
    assert story.up(**XFRM) == told("""
        # no route made, as the selector 0.0.0.0/0 is everything; add --route NET, or --no-routes
        sysctl -w net.ipv4.conf.xfrm42.disable_policy=1
        ip addr add 10.3.0.1/32 dev xfrm42
        log: gw: xfrm42 up, 192.168.0.1 → 192.168.0.2, if_id 42, 10.3.0.1/32
        log: gw: no route made, as the selector 0.0.0.0/0 is everything; add --route NET, or --no-routes
    """)


def test_sysctl_of_the_settings_is_set_on_the_link(story: Story) -> None:
    """A setting of either family, such as a loose rp_filter where the peer answers through another
    tunnel.
    """
    story.settings("""
        [default]
        routes = "none"
        sysctl = { "ipv4.rp_filter" = 2, "ipv6.accept_ra" = 0 }
    """)
    assert story.up() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        sysctl -w net.ipv4.conf.vti1.rp_filter=2
        sysctl -w net.ipv6.conf.vti1.accept_ra=0
        ip addr add 10.3.0.1/32 dev vti1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32
    """)
    assert story.down() == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_any_remote_goes_over_ipv6_too(story: Story) -> None:
    """The other end of a vti6 may be open as that of a vti."""
    story.line = "--remote any"
    assert story.up(**OVER_IPV6, **SITE) == told("""
        ip link add vti1 group 1987313665 type vti6 local 2001:db8::1 remote any okey 2 ikey 2
        ip link set vti1 up mtu 1390 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 2001:db8::1 → any, mark 2, 10.2.0.0/16
    """)


def test_an_ipv4_address_in_ipv6_is_one_of_ipv4(story: Story) -> None:
    """charon may write endpoints so where it has one socket for both families."""
    assert story.up(ME="::ffff:192.168.0.1", PEER="::ffff:192.168.0.2", **SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
