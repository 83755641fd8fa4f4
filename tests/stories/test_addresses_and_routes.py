"""What stands on the link: addresses, routes, and the rules of a full tunnel."""

from .story import NO_VIRTUAL_IP, PLUTO_MARK, SITE, SITE6, XFRM, Story, told

FULL = 'routes = ["0.0.0.0/0", "::/0"]'


def test_one_line_of_ipsec_conf_is_enough(story: Story) -> None:
    """The README's example: virtual IPs of both families, a route of each, one link for both."""
    story.line = "--route 10.2.0.0/16 --route fd00:2::/32"
    assert story.up() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        ip route add 10.2.0.0/16 dev vti1 proto 50 src 10.3.0.1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.2.0.0/16
    """)
    assert story.up6() == told("""
        sysctl -w net.ipv6.conf.vti1.disable_policy=1
        ip addr add fec3::1/128 dev vti1 nodad
        ip -6 route add fd00:2::/32 dev vti1 proto 50 src fec3::1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, fec3::1/128, fd00:2::/32
    """)
    assert story.down() == told("""
        ip route del 10.2.0.0/16 dev vti1 proto 50
        ip addr del 10.3.0.1/32 dev vti1
        sysctl -w net.ipv4.conf.vti1.disable_policy=0
        log: gw: vti1 stays, held by 1 more, without 10.2.0.0/16, without 10.3.0.1/32
    """)
    assert story.down6() == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []


def test_every_virtual_ip_of_the_family_is_an_address(story: Story) -> None:
    """A peer may hand out several; the first is the preferred source of the routes."""
    story.line = "--route 10.2.0.0/16"
    assert story.up(MY_SOURCEIP4_2="10.3.0.2") == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        ip addr add 10.3.0.2/32 dev vti1
        ip route add 10.2.0.0/16 dev vti1 proto 50 src 10.3.0.1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.3.0.2/32, 10.2.0.0/16
    """)


def test_the_peers_selector_is_the_default_route(story: Story) -> None:
    """Without settings the network behind the peer is routed, in the family of the event."""
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
    assert story.up6(**SITE6) == told("""
        sysctl -w net.ipv6.conf.vti1.disable_policy=1
        ip -6 route add fd00:2::/48 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, fd00:2::/48
    """)


def test_a_route_prefers_the_gateways_inner_address(story: Story) -> None:
    """A gateway's own packets must match the selector, so its address in the local network is the
    source.
    """
    story.host.addresses = ["192.168.0.1", "10.1.0.1"]
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50 src 10.1.0.1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)


def test_everything_is_no_route_by_itself(story: Story) -> None:
    """The peer chooses selectors, so the widest ones need a word of the user's; a line says which."""
    assert story.up() == told("""
        # no route made, as the selector 0.0.0.0/0 is everything; add --route NET, or --no-routes
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32
        log: gw: no route made, as the selector 0.0.0.0/0 is everything; add --route NET, or --no-routes
    """)
    story.line = "--no-routes"
    assert story.up(UNIQUEID=2) == told("""
        # nothing to change
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32
    """)


def test_halves_of_everything_are_no_route_either(story: Story) -> None:
    """A peer that narrows 0.0.0.0/0 to a half must not have all packets."""
    assert story.up(PEER_CLIENT="128.0.0.0/1") == told("""
        # no route made, as the selector 128.0.0.0/1 is wider than a /8; add --route NET, or --no-routes
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32
        log: gw: no route made, as the selector 128.0.0.0/1 is wider than a /8; add --route NET, or --no-routes
    """)


def test_a_selector_around_the_peer_is_no_route(story: Story) -> None:
    """The peer, our own address and the next hop are reached outside of the tunnel, so the line
    says what is wrong.
    """
    story.host.next_hop = "10.2.0.254"
    assert story.up(PEER_CLIENT="192.168.0.2/31") == told("""
        # no route made, as the selector 192.168.0.2/31 contains the peer's own address; add --route NET, or --no-routes
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32
        log: gw: no route made, as the selector 192.168.0.2/31 contains the peer's own address; add --route NET, or --no-routes
    """)
    assert story.up(PEER_CLIENT="192.168.0.0/31", UNIQUEID=2) == told("""
        # no route made, as the selector 192.168.0.0/31 contains our own address; add --route NET, or --no-routes
        # nothing to change
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32
        log: gw: no route made, as the selector 192.168.0.0/31 contains our own address; add --route NET, or --no-routes
    """)
    assert story.up(PEER_CLIENT="10.2.0.0/16", UNIQUEID=3) == told("""
        # no route made, as the selector 10.2.0.0/16 contains the next hop's address; add --route NET, or --no-routes
        # nothing to change
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32
        log: gw: no route made, as the selector 10.2.0.0/16 contains the next hop's address; add --route NET, or --no-routes
    """)


def test_a_peer_gets_no_part_of_the_lan(story: Story) -> None:
    """The peer narrowed its selector to half of it. A network around the LAN leaves it alone."""
    story.host.networks = ["10.1.0.0/24"]
    assert story.up(**{**SITE, "PEER_CLIENT": "10.1.0.128/25"}) == told("""
        # no route made, as the selector 10.1.0.128/25 is part of 10.1.0.0/24, which the host routes by eth0
        #   add --route NET, or --no-routes
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2
        log: gw: no route made, as the selector 10.1.0.128/25 is part of 10.1.0.0/24, which the host routes by eth0
        log: gw:   add --route NET, or --no-routes
    """)
    assert story.up(**{**SITE, "PEER_CLIENT": "10.0.0.0/8", "UNIQUEID": 2}) == told("""
        ip route add 10.0.0.0/8 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.0.0.0/8
    """)


def test_a_name_server_alone_is_not_routed(story: Story) -> None:
    """The host would ask the peer for every name. A network around it is routed."""
    story.host.name_servers = ["10.2.0.53"]
    assert story.up(**{**SITE, "PEER_CLIENT": "10.2.0.53/32"}) == told("""
        # no route made, as the selector 10.2.0.53/32 is a name server of this host; add --route NET, or --no-routes
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2
        log: gw: no route made, as the selector 10.2.0.53/32 is a name server of this host; add --route NET, or --no-routes
    """)


def test_a_selector_of_multicast_is_no_error(story: Story) -> None:
    """OSPF needs it. The link is there, and nobody is told to make a route."""
    assert story.up(**{**SITE, "PEER_CLIENT": "224.0.0.5/32"}) == told("""
        # no route made, as the selector 224.0.0.5/32 is multicast
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2
        log: gw: no route made, as the selector 224.0.0.5/32 is multicast
    """)


def test_a_selector_limited_to_a_port_is_no_route(story: Story) -> None:
    """No route can say TCP or a port."""
    assert story.up(PEER_CLIENT="10.2.0.0/16", PEER_PROTOCOL=6, PEER_PORT=443) == told("""
        # no route made, as the selector 10.2.0.0/16 is limited by protocol or port; add --route NET, or --no-routes
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32
        log: gw: no route made, as the selector 10.2.0.0/16 is limited by protocol or port; add --route NET, or --no-routes
    """)


def test_a_route_has_its_own_metric_table_and_source(story: Story) -> None:
    """What a route says comes first, then what the connection says."""
    story.settings("""
        [connection.gw]
        metric = 100
        table = 77
        routes = ["10.2.0.0/16", { to = "10.9.0.0/16", metric = 5, table = 78, src = "10.1.0.1" }]
    """)
    assert story.up() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        ip route add 10.2.0.0/16 dev vti1 proto 50 table 77 metric 100 src 10.3.0.1
        ip route add 10.9.0.0/16 dev vti1 proto 50 table 78 metric 5 src 10.1.0.1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.2.0.0/16, 10.9.0.0/16
    """)
    assert story.down() == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_flags_say_the_same_as_the_file(story: Story) -> None:
    """A route's parts stand behind it, separated by commas; flags win over the file."""
    story.settings("""
        [default]
        routes = ["10.99.0.0/16"]
        metric = 1
    """)
    story.line = "--route 10.2.0.0/16 --route 10.9.0.0/16,metric=5,table=78,src=10.1.0.1 --metric 100 --table 77"
    assert story.up() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        ip route add 10.2.0.0/16 dev vti1 proto 50 table 77 metric 100 src 10.3.0.1
        ip route add 10.9.0.0/16 dev vti1 proto 50 table 78 metric 5 src 10.1.0.1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.2.0.0/16, 10.9.0.0/16
    """)


def test_addresses_of_the_settings_replace_virtual_ips(story: Story) -> None:
    """A subnet, and an address with the other side's: each is for the events of its family."""
    story.settings("""
        [connection.gw]
        address = ["169.254.21.2/30", "10.3.0.9 peer 10.3.0.10", "fd00:9::1/64"]
        routes = "none"
    """)
    assert story.up() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 169.254.21.2/30 dev vti1
        ip addr add 10.3.0.9 peer 10.3.0.10 dev vti1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 169.254.21.2/30, 10.3.0.9/32
    """)
    assert story.up6() == told("""
        sysctl -w net.ipv6.conf.vti1.disable_policy=1
        ip addr add fd00:9::1/64 dev vti1 nodad
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, fd00:9::1/64
    """)
    assert story.down() == told("""
        ip addr del 10.3.0.9 peer 10.3.0.10 dev vti1
        ip addr del 169.254.21.2/30 dev vti1
        sysctl -w net.ipv4.conf.vti1.disable_policy=0
        log: gw: vti1 stays, held by 1 more, without 10.3.0.9/32, without 169.254.21.2/30
    """)


def test_no_address_may_be_wanted(story: Story) -> None:
    """An empty list puts no address on the link; the route has no source then."""
    story.settings("""
        [connection.gw]
        address = []
        routes = ["10.2.0.0/16"]
    """)
    assert story.up(MY_CLIENT="0.0.0.0/0") == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)


def test_a_full_tunnel_has_a_table_and_rules_of_its_own(story: Story) -> None:
    """Packets to the peer and IKE's own stay outside, the main table's networks too; all else goes
    through.
    """
    story.settings(f"[connection.gw]\n{FULL}")
    assert story.up() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        ip route add 0.0.0.0/0 dev vti1 proto 50 table 7763049 metric 2147483648 src 10.3.0.1
        ip route add 0.0.0.0/0 dev vti1 proto 50 table 7763050 metric 2147483648 src 10.3.0.1
        ip route add throw 192.168.0.2/32 proto 50 table 7763050
        ip rule add pref 15004 nop proto 50
        ip rule add pref 15000 iif lo ipproto esp goto 15004 proto 50
        ip rule add pref 15000 iif lo ipproto udp sport 500 goto 15004 proto 50
        ip rule add pref 15000 iif lo ipproto udp sport 4500 goto 15004 proto 50
        ip rule add pref 15002 lookup 254 suppress_prefixlength 0 proto 50
        ip rule add pref 15003 iif lo lookup 7763050 proto 50
        ip rule add pref 15003 not iif lo lookup 7763049 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 0.0.0.0/0
        log: gw: without local_addrs, a new IKE_SA to another peer comes from 10.3.0.1
        log: gw:   set kernel-netlink.fwmark = !0x77 and socket-default.fwmark = 0x77 in charon, ike_mark = 0x77 here
    """)
    assert story.down() == told("""
        ip rule del pref 15003 iif lo lookup 7763050 proto 50
        ip rule del pref 15003 not iif lo lookup 7763049 proto 50
        ip rule del pref 15002 lookup 254 suppress_prefixlength 0 proto 50
        ip rule del pref 15000 iif lo ipproto esp goto 15004 proto 50
        ip rule del pref 15000 iif lo ipproto udp sport 4500 goto 15004 proto 50
        ip rule del pref 15000 iif lo ipproto udp sport 500 goto 15004 proto 50
        ip rule del pref 15004 nop proto 50
        ip route del throw 192.168.0.2/32 proto 50 table 7763050
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []


def test_the_source_of_ike_is_told_once(story: Story) -> None:
    """By the up that makes the rules; not where charon makes routes, as it may with an if_id."""
    story.settings(f"[connection.gw]\n{FULL}")
    told_of_source = "a new IKE_SA to another peer comes from 10.3.0.1"
    assert told_of_source in story.up()
    assert told_of_source not in story.up(UNIQUEID=2)
    story.down()
    story.down(UNIQUEID=2)
    assert told_of_source not in story.up(**XFRM)
    story.down(**XFRM)
    story.host.charon_routes = True
    assert told_of_source not in story.up()


def test_charons_mark_is_wanted_in_the_settings(story: Story) -> None:
    """With the mark in charon alone its look-ups go astray, whatever the link."""
    story.settings(f"[connection.gw]\n{FULL}")
    story.host.charons_mark = 0x55
    assert "set ike_mark = 0x55 in the settings, as charon has it" in story.up(**XFRM)
    story.down(**XFRM)
    story.settings(f"[connection.gw]\nike_mark = 0x55\n{FULL}")
    assert "a new IKE_SA" not in story.up(**XFRM)


def test_a_full_tunnel_has_both_families(story: Story) -> None:
    """IPv6 needs no way out for an IPv4 peer, but one for IKE, which MOBIKE may move."""
    story.settings(f"[connection.gw]\n{FULL}")
    story.up()
    assert story.up6() == told("""
        sysctl -w net.ipv6.conf.vti1.disable_policy=1
        ip addr add fec3::1/128 dev vti1 nodad
        ip -6 route add ::/0 dev vti1 proto 50 table 7763049 metric 2147483648 src fec3::1
        ip -6 route add ::/0 dev vti1 proto 50 table 7763050 metric 2147483648 src fec3::1
        ip -6 rule add pref 15004 nop proto 50
        ip -6 rule add pref 15000 iif lo ipproto esp goto 15004 proto 50
        ip -6 rule add pref 15000 iif lo ipproto udp sport 500 goto 15004 proto 50
        ip -6 rule add pref 15000 iif lo ipproto udp sport 4500 goto 15004 proto 50
        ip -6 rule add pref 15002 lookup 254 suppress_prefixlength 0 proto 50
        ip -6 rule add pref 15003 iif lo lookup 7763050 proto 50
        ip -6 rule add pref 15003 not iif lo lookup 7763049 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, fec3::1/128, ::/0
        log: gw: without local_addrs, a new IKE_SA to another peer comes from fec3::1
        log: gw:   set kernel-netlink.fwmark = !0x77 and socket-default.fwmark = 0x77 in charon, ike_mark = 0x77 here
    """)
    assert story.down6() == told("""
        ip -6 rule del pref 15003 iif lo lookup 7763050 proto 50
        ip -6 rule del pref 15003 not iif lo lookup 7763049 proto 50
        ip -6 rule del pref 15002 lookup 254 suppress_prefixlength 0 proto 50
        ip -6 rule del pref 15000 iif lo ipproto esp goto 15004 proto 50
        ip -6 rule del pref 15000 iif lo ipproto udp sport 4500 goto 15004 proto 50
        ip -6 rule del pref 15000 iif lo ipproto udp sport 500 goto 15004 proto 50
        ip -6 rule del pref 15004 nop proto 50
        ip -6 route del ::/0 dev vti1 proto 50 table 7763049 metric 2147483648
        ip -6 route del ::/0 dev vti1 proto 50 table 7763050 metric 2147483648
        ip addr del fec3::1/128 dev vti1
        sysctl -w net.ipv6.conf.vti1.disable_policy=0
        log: gw: vti1 stays, held by 1 more, without ::/0, without fec3::1/128
    """)


def test_a_route_around_the_peer_is_a_full_tunnel(story: Story) -> None:
    """Whatever contains the peer's address needs the rules, or ESP goes in circles."""
    story.line = "--route 192.0.0.0/8"
    assert story.up(PEER="192.0.2.1") == told("""
        # 192.0.0.0/8 goes through the tunnel, all but 192.0.2.1
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.0.2.1 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        ip route add 192.0.0.0/8 dev vti1 proto 50 table 7763049 metric 2147483648 src 10.3.0.1
        ip route add 192.0.0.0/8 dev vti1 proto 50 table 7763050 metric 2147483648 src 10.3.0.1
        ip route add throw 192.0.2.1/32 proto 50 table 7763050
        ip rule add pref 15004 nop proto 50
        ip rule add pref 15000 iif lo ipproto esp goto 15004 proto 50
        ip rule add pref 15000 iif lo ipproto udp sport 500 goto 15004 proto 50
        ip rule add pref 15000 iif lo ipproto udp sport 4500 goto 15004 proto 50
        ip rule add pref 15002 lookup 254 suppress_prefixlength 0 proto 50
        ip rule add pref 15003 iif lo lookup 7763050 proto 50
        ip rule add pref 15003 not iif lo lookup 7763049 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.0.2.1, mark 2, 10.3.0.1/32, 192.0.0.0/8
        log: gw: without local_addrs, a new IKE_SA to another peer comes from 10.3.0.1
        log: gw:   set kernel-netlink.fwmark = !0x77 and socket-default.fwmark = 0x77 in charon, ike_mark = 0x77 here
        log: gw: 192.0.0.0/8 goes through the tunnel, all but 192.0.2.1
    """)


def test_two_full_tunnels_share_their_rules(story: Story) -> None:
    """The newest has the traffic, and the other one has it back when that goes."""
    story.settings(f"[default]\n{FULL}")
    story.up()
    assert story.up(**PLUTO_MARK, MY_SOURCEIP4_1="10.4.0.1") == told("""
        ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.3 okey 3 ikey 3
        ip link set vti2 up mtu 1406 alias 'vti-updown pluto'
        sysctl -w net.ipv4.conf.vti2.disable_policy=1
        ip addr add 10.4.0.1/32 dev vti2
        ip route replace 0.0.0.0/0 dev vti2 proto 50 table 7763049 metric 2147483648 src 10.4.0.1
        ip route replace 0.0.0.0/0 dev vti2 proto 50 table 7763050 metric 2147483648 src 10.4.0.1
        ip route add throw 192.168.0.3/32 proto 50 table 7763050
        log: pluto: vti2 up, 192.168.0.1 → 192.168.0.3, mark 3, 10.4.0.1/32, 0.0.0.0/0
    """)
    assert story.down(**PLUTO_MARK, MY_SOURCEIP4_1="10.4.0.1") == told("""
        ip route replace 0.0.0.0/0 dev vti1 proto 50 table 7763049 metric 2147483648 src 10.3.0.1
        ip route replace 0.0.0.0/0 dev vti1 proto 50 table 7763050 metric 2147483648 src 10.3.0.1
        ip route del throw 192.168.0.3/32 proto 50 table 7763050
        ip link del vti2
        log: pluto: vti2 down, 192.168.0.1 → 192.168.0.3
    """)


def test_a_full_tunnel_takes_no_other_tunnels_esp(story: Story) -> None:
    """The peer of a site tunnel stays outside while a full tunnel is up, and no longer."""
    story.settings(f"[connection.gw]\n{FULL}")
    assert "throw" not in story.up(**{**SITE, **PLUTO_MARK})
    assert "ip route add throw 192.168.0.3/32 proto 50 table 7763050" in story.up()
    assert "ip route del throw 192.168.0.3/32 proto 50 table 7763050" in story.down()
    assert "throw" not in story.down(**{**SITE, **PLUTO_MARK})
    assert story.left() == []


def test_charons_own_routes_in_the_way_are_told(story: Story) -> None:
    """With install_routes = yes a VTI's packets take charon's route, and leave in clear; in a
    namespace they do not.
    """
    story.host.charon_routes = True
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
        log: gw: packets to 10.2.0.0/16 take charon's own route; set charon.install_routes = no
    """)
    story.host.namespaces.add("office")
    story.line = "--netns office"
    assert story.up(**SITE, **PLUTO_MARK) == told("""
        ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.3 okey 3 ikey 3
        ip link set vti2 netns office
        ip -n office link set vti2 up mtu 1406 alias 'vti-updown pluto'
        ip netns exec office sysctl -w net.ipv4.conf.vti2.disable_policy=1
        ip -n office route add 10.2.0.0/16 dev vti2 proto 50
        log: pluto: vti2 up, 192.168.0.1 → 192.168.0.3, mark 3, 10.2.0.0/16
    """)


def test_metrics_let_two_gateways_to_a_network_stand(story: Story) -> None:
    """Two routes that differ in their metric are two, and the kernel takes the lower one."""
    story.settings("""
        [connection.gw]
        metric = 10
        [connection.pluto]
        metric = 20
    """)
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50 metric 10
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
    assert story.up(**SITE, **PLUTO_MARK) == told("""
        ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.3 okey 3 ikey 3
        ip link set vti2 up mtu 1406 alias 'vti-updown pluto'
        sysctl -w net.ipv4.conf.vti2.disable_policy=1
        ip route add 10.2.0.0/16 dev vti2 proto 50 metric 20
        log: pluto: vti2 up, 192.168.0.1 → 192.168.0.3, mark 3, 10.2.0.0/16
    """)
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_the_last_ipv4_address_takes_no_route_of_others(story: Story) -> None:
    """The kernel deletes a link's IPv4 routes with its last IPv4 address, so another CHILD_SA's are
    put back.
    """
    other = {
        **NO_VIRTUAL_IP,
        "PEER_CLIENT": "10.9.0.0/16",
        "CONNECTION": "other",
        "MY_CLIENT": "0.0.0.0/0",
    }
    story.line = "--route 10.2.0.0/16"
    story.up()
    story.line = ""
    story.up(**other)
    assert story.down() == told("""
        ip route del 10.2.0.0/16 dev vti1 proto 50
        ip addr del 10.3.0.1/32 dev vti1
        ip route replace 10.9.0.0/16 dev vti1 proto 50
        log: gw: vti1 stays, held by 1 more, without 10.2.0.0/16, without 10.3.0.1/32
    """)


def test_an_address_that_anothers_route_prefers_stays(story: Story) -> None:
    """A site's route may prefer the virtual IP of another CHILD_SA on its link; the address stays
    as long as the route.
    """
    other = {**SITE, "MY_CLIENT": "10.3.0.0/16", "CONNECTION": "other"}
    story.line = "--no-routes"
    story.up()
    story.line = ""
    assert story.up(**other) == told("""
        ip link set vti1 up mtu 1406 alias 'vti-updown other'
        ip route add 10.2.0.0/16 dev vti1 proto 50 src 10.3.0.1
        log: other: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.2.0.0/16
    """)
    assert story.down() == told("""
        # nothing to change
        log: gw: vti1 stays, held by 1 more
    """)
    assert story.down(**other) == told("""
        ip link del vti1
        log: other: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_the_secondaries_of_a_subnet_outlive_its_primary(story: Story) -> None:
    """The kernel deletes the other addresses of a subnet with its first one, so they are put back,
    and the routes, too.
    """
    other = {**SITE, "CONNECTION": "other"}
    story.line = "--address 10.255.0.1/24 --no-routes"
    story.up(**SITE)
    story.line = "--address 10.255.0.2/24"
    story.up(**other)
    assert story.down(**SITE) == told("""
        ip addr del 10.255.0.1/24 dev vti1
        ip addr replace 10.255.0.2/24 dev vti1
        ip route replace 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 stays, held by 1 more, without 10.255.0.1/24
    """)


def test_a_route_by_another_link_outlives_its_source(story: Story) -> None:
    """The kernel deletes a route with the address that it prefers, on whichever link that was."""
    story.line = "--no-routes"
    story.up()
    story.line = "--route 10.9.0.0/16,src=10.3.0.1"
    story.up(**SITE, **PLUTO_MARK)
    assert story.down() == told("""
        ip link del vti1
        ip route replace 10.9.0.0/16 dev vti2 proto 50 src 10.3.0.1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_ipv6s_own_metric_is_none(story: Story) -> None:
    """A route that asks for 1024 is the one that IPv6 makes without a metric."""
    story.line = "--route fd00:2::/32,metric=1024"
    assert story.up6() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv6.conf.vti1.disable_policy=1
        ip addr add fec3::1/128 dev vti1 nodad
        ip -6 route add fd00:2::/32 dev vti1 proto 50 src fec3::1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, fec3::1/128, fd00:2::/32
    """)
