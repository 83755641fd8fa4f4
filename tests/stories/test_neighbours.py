"""What is not ours stays as it is, and what somebody takes from us comes back."""

from .story import PLUTO_MARK, SITE, SITE6, XFRM, Story, told


def test_a_link_with_our_endpoints_is_borrowed(story: Story) -> None:
    """An administrator's VTI with the same endpoints and mark is used, and neither changed nor
    deleted.

    A rehearsal does not look for one: it prints the commands for a link of our own.
    """
    story.host.add_vti("ipsec0", "192.168.0.1", "192.168.0.2", 2)
    story.line = "--route 10.2.0.0/16"
    assert story.up() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        ip route add 10.2.0.0/16 dev vti1 proto 50 src 10.3.0.1
        log: gw: ipsec0 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.2.0.0/16
    """)
    assert story.down() == told("""
        ip route del 10.2.0.0/16 dev ipsec0 proto 50
        ip addr del 10.3.0.1/32 dev ipsec0
        ip link del ipsec0
        log: gw: ipsec0 stays, which was there before, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []


def test_a_borrowed_link_with_another_mark_is_refused(story: Story) -> None:
    """Its keys are not ours to change."""
    story.host.add_vti("ipsec0", "192.168.0.1", "192.168.0.2", 9)
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: error: gw: ipsec0 has these endpoints but okey 9, ikey 9; give it the mark, or delete it: ip link del ipsec0
        exit status: 1
    """)
    assert story.left() == []


def test_a_route_that_exists_is_left_alone_and_named(story: Story) -> None:
    """The down leaves it, too, since it is not ours."""
    story.host.routes.add("10.2.0.0/16")
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2
        log: gw: left alone: a route to 10.2.0.0/16 by eth0
    """)
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_a_link_that_a_user_took_away_is_made_anew(story: Story) -> None:
    """The next event on it puts back all that was on it."""
    story.up(**SITE)
    story.lose_link("vti1")
    assert story.up6(**SITE6) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv6.conf.vti1.disable_policy=1
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip -6 route add fd00:2::/48 dev vti1 proto 50
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, fd00:2::/48
    """)
    story.lose_link("vti1")
    assert story.down(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv6.conf.vti1.disable_policy=1
        ip -6 route add fd00:2::/48 dev vti1 proto 50
        ip route del 10.2.0.0/16 dev vti1 proto 50
        sysctl -w net.ipv4.conf.vti1.disable_policy=0
        log: gw: vti1 stays, held by 1 more, without 10.2.0.0/16
    """)


def test_a_link_is_made_anew_though_its_name_is_taken(story: Story) -> None:
    """Another link has its name by now, so it has the next one."""
    story.up(**SITE)
    story.lose_link("vti1")
    story.host.add_link("vti1")
    assert story.up(**SITE, UNIQUEID=2) == told("""
        ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti2 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti2.disable_policy=1
        ip route add 10.2.0.0/16 dev vti2 proto 50
        log: gw: vti2 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)


def test_repair_puts_back_what_is_gone(story: Story) -> None:
    """systemd-networkd deletes routes that are not its own when it starts."""
    story.up(**SITE)
    story.up6(**SITE6)
    assert story.repair() == told("""
        nothing to repair
    """)
    story.lose_routes()
    assert story.repair() == told("""
        ip route add 10.2.0.0/16 dev vti1 proto 50
        ip -6 route add fd00:2::/48 dev vti1 proto 50
    """)
    story.lose_link("vti1")
    assert story.repair() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        sysctl -w net.ipv6.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        ip -6 route add fd00:2::/48 dev vti1 proto 50
    """)


def test_lost_records_are_made_anew_from_the_kernel(story: Story) -> None:
    """/run was emptied: the down gives up what an event like it would have set up."""
    story.up(**SITE)
    story.up(**{**SITE, **PLUTO_MARK, "PEER_CLIENT": "10.9.0.0/16"})
    story.lose_records()
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() != []


def test_flush_beside_a_charon_without_tunnels(story: Story) -> None:
    """Nothing would go, so there is nothing to refuse."""
    assert story.flush() == "nothing to take away"
    story.up(**SITE)
    assert story.flush().startswith("error: charon (PID 1) is running")
    story.down(**SITE)
    assert story.flush() == "nothing to take away"


def test_flush_takes_all_away(story: Story) -> None:
    """While charon runs its tunnels would go, so it must be forced."""
    story.up(**SITE, **XFRM)
    assert story.flush() == told("""
        error: charon (PID 1) is running and its tunnels would go; stop it first, or use --stale, or --force
        exit status: 1
    """)
    assert story.flush("--force") == told("""
        ip link del xfrm42
    """)
    assert story.left() == []


def test_a_setting_is_not_for_a_borrowed_link(story: Story) -> None:
    """disable_policy and the settings of the file are left as the administrator has them."""
    story.host.add_vti("ipsec0", "192.168.0.1", "192.168.0.2", 2)
    story.settings("""
        [connection.gw]
        sysctl = { "ipv4.rp_filter" = 2 }
        mss = 1200
        routes = "none"
    """)
    assert story.up() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        sysctl -w net.ipv4.conf.vti1.rp_filter=2
        ip addr add 10.3.0.1/32 dev vti1
        nft 'table inet vti-updown-vti1; delete table inet vti-updown-vti1; table inet vti-updown-vti1 { comment "vti-updown"; chain postrouting { type filter hook postrouting priority mangle; oifname "vti1" meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set 1200; oifname "vti1" meta nfproto ipv6 tcp flags & (syn | rst) == syn tcp option maxseg size set 1200; }; chain prerouting { type filter hook prerouting priority mangle; iifname "vti1" meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set 1200; iifname "vti1" meta nfproto ipv6 tcp flags & (syn | rst) == syn tcp option maxseg size set 1200; }; }'
        log: gw: ipsec0 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32
    """)
    assert story.down() == told("""
        nft 'table inet vti-updown-ipsec0; delete table inet vti-updown-ipsec0'
        ip addr del 10.3.0.1/32 dev ipsec0
        ip link del ipsec0
        log: gw: ipsec0 stays, which was there before, 192.168.0.1 → 192.168.0.2
    """)


def test_settings_are_those_of_the_best_match(story: Story) -> None:
    """Each key is taken from the table that has it and matches by most keys, then by the most exact
    ones.
    """
    story.settings("""
        [default]
        mtu = 1300
        metric = 1
        [connection."g*"]
        mtu = 1350
        metric = 2
        [connection.gw]
        mtu = 1380
        [connection.sun]
        connection = "g*"
        peer = "192.168.0.0/24"
        peer_id = "s*"
        mtu = 1400
        [connection.nobody]
        connection = "gw"
        xauth_id = "alice"
        mtu = 1280
    """)
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1400 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50 metric 2
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
    assert story.up(**SITE, **PLUTO_MARK) == told("""
        ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.3 okey 3 ikey 3
        ip link set vti2 up mtu 1300 alias 'vti-updown pluto'
        sysctl -w net.ipv4.conf.vti2.disable_policy=1
        ip route add 10.2.0.0/16 dev vti2 proto 50 metric 1
        log: pluto: vti2 up, 192.168.0.1 → 192.168.0.3, mark 3, 10.2.0.0/16
    """)


def test_a_namespace_that_is_gone_takes_its_link_along(story: Story) -> None:
    """The downs go through, and one line says what is missing."""
    story.host.namespaces.add("office")
    story.line = "--netns office"
    story.up(**SITE, **XFRM)
    story.up6(**SITE6, **XFRM)
    story.lose_namespace("office")
    assert story.down(**SITE, **XFRM) == told("""
        ip link add xfrm42 group 1987313665 type xfrm if_id 0x2a
        ip link set xfrm42 netns office
        ip -n office link set xfrm42 up mtu 1406 alias 'vti-updown gw'
        ip netns exec office sysctl -w net.ipv6.conf.xfrm42.disable_policy=1
        ip -n office -6 route add fd00:2::/48 dev xfrm42 proto 50
        ip -n office route del 10.2.0.0/16 dev xfrm42 proto 50
        ip netns exec office sysctl -w net.ipv4.conf.xfrm42.disable_policy=0
        log: gw: xfrm42 stays, held by 1 more, without 10.2.0.0/16
        log: gw: there is no network namespace office
        exit status: 1
    """)
    assert story.down6(**SITE6, **XFRM) == told("""
        ip -n office -6 route del fd00:2::/48 dev xfrm42 proto 50
        ip netns exec office sysctl -w net.ipv6.conf.xfrm42.disable_policy=0
        ip -n office link del xfrm42
        log: gw: xfrm42 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []
