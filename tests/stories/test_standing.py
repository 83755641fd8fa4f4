"""What stands while no CHILD_SA is up, as when_down says."""

from errno import EINVAL

import pytest

from .story import OVER_IPV6, PLUTO_MARK, SITE, SITE6, Changes, Story, told

KEEP = """
    [connection.gw]
    name = "sun"
    local = "192.168.0.1"
    remote = "192.168.0.2"
    mark = 2
    address = "169.254.21.2/30"
    routes = ["10.2.0.0/16", "fd00:2::/48"]
    when_down = "keep"
"""
BLOCK = KEEP.replace("keep", "block")
UNREACHABLE = "route 10.2.0.0/16 table 254 metric 4294967295"


def test_block_leaves_an_unreachable_route(story: Story) -> None:
    """A kill switch: it stands behind the tunnel's own route, from the first up on, until it is
    released.
    """
    story.settings(BLOCK)
    assert story.up(**SITE) == told("""
        ip link add sun group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set sun up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.sun.disable_policy=1
        ip addr add 169.254.21.2/30 dev sun
        ip route add 10.2.0.0/16 dev sun proto 50
        ip route add unreachable 10.2.0.0/16 proto 50 metric 4294967295
        log: gw: sun up, 192.168.0.1 → 192.168.0.2, mark 2, 169.254.21.2/30, 10.2.0.0/16
    """)
    assert story.down(**SITE) == told("""
        ip link del sun
        log: gw: sun down, 192.168.0.1 → 192.168.0.2, 10.2.0.0/16 blocked
    """)
    assert story.up(**SITE, UNIQUEID=2) == told("""
        ip link add sun group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set sun up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.sun.disable_policy=1
        ip addr add 169.254.21.2/30 dev sun
        ip route add 10.2.0.0/16 dev sun proto 50
        log: gw: sun up, 192.168.0.1 → 192.168.0.2, mark 2, 169.254.21.2/30, 10.2.0.0/16
    """)
    story.down(**SITE, UNIQUEID=2)
    assert story.release() == told("""
        ip route del unreachable 10.2.0.0/16 proto 50 metric 4294967295
    """)
    assert story.left() == []


def test_block_of_a_full_tunnel_keeps_its_rules(story: Story) -> None:
    """Nothing leaves but to the LAN and to the peer."""
    story.settings("""
        [connection.gw]
        routes = ["0.0.0.0/0"]
        when_down = "block"
    """)
    story.up()
    assert story.down() == told("""
        ip route del throw 192.168.0.2/32 proto 50 table 7763050
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2, 0.0.0.0/0 blocked
    """)
    assert story.release("gw") == told("""
        ip rule del pref 15003 iif lo lookup 7763050 proto 50
        ip rule del pref 15003 not iif lo lookup 7763049 proto 50
        ip rule del pref 15002 lookup 254 suppress_prefixlength 0 proto 50
        ip rule del pref 15000 iif lo ipproto esp goto 15004 proto 50
        ip rule del pref 15000 iif lo ipproto udp sport 4500 goto 15004 proto 50
        ip rule del pref 15000 iif lo ipproto udp sport 500 goto 15004 proto 50
        ip rule del pref 15004 nop proto 50
        ip route del unreachable 0.0.0.0/0 proto 50 table 7763049 metric 4294967295
        ip route del unreachable 0.0.0.0/0 proto 50 table 7763050 metric 4294967295
    """)


def test_keep_leaves_the_link_its_addresses_and_routes(story: Story) -> None:
    """What firewalls and routing daemons hold on to stays; another mark is another pair of keys."""
    story.settings(KEEP)
    assert story.up(**SITE) == told("""
        ip link add sun group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set sun up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.sun.disable_policy=1
        ip addr add 169.254.21.2/30 dev sun
        ip route add 10.2.0.0/16 dev sun proto 50
        log: gw: sun up, 192.168.0.1 → 192.168.0.2, mark 2, 169.254.21.2/30, 10.2.0.0/16
    """)
    assert story.down(**SITE) == told("""
        # nothing to change
        log: gw: sun stays without a CHILD_SA, as when_down says
    """)
    assert story.up(**SITE, UNIQUEID=2, MARK_IN=3, MARK_OUT=3) == told("""
        ip link set sun type vti local 192.168.0.1 remote 192.168.0.2 okey 3 ikey 3
        ip link set sun up mtu 1406 alias 'vti-updown gw'
        log: gw: sun up, 192.168.0.1 → 192.168.0.2, mark 3, 169.254.21.2/30, 10.2.0.0/16
    """)
    story.down(**SITE, UNIQUEID=2, MARK_IN=3, MARK_OUT=3)
    assert story.release("gw") == told("""
        ip link del sun
    """)


def test_keep_leaves_no_virtual_ip(story: Story) -> None:
    """An address that the peer handed out goes with the CHILD_SA, and the route stays without a
    source.
    """
    story.settings("""
        [connection.gw]
        routes = ["10.2.0.0/16"]
        when_down = "keep"
    """)
    assert story.up() == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip addr add 10.3.0.1/32 dev vti1
        ip route add 10.2.0.0/16 dev vti1 proto 50 src 10.3.0.1
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.2.0.0/16
    """)
    assert story.down() == told("""
        ip route replace 10.2.0.0/16 dev vti1 proto 50
        ip addr del 10.3.0.1/32 dev vti1
        ip route replace 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 stays without a CHILD_SA, as when_down says
    """)
    assert story.up(MY_SOURCEIP4_1="10.3.0.2", MY_CLIENT="10.3.0.2/32", UNIQUEID=2) == told("""
        ip addr add 10.3.0.2/32 dev vti1
        ip route replace 10.2.0.0/16 dev vti1 proto 50 src 10.3.0.2
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.2/32, 10.2.0.0/16
    """)


def test_prepare_gives_routes_a_source(story: Story) -> None:
    """The one address inside, which the up then finds by its selector. With an address of its own,
    the link needs none.
    """
    story.host.addresses.append("10.1.0.1")
    story.settings(KEEP)
    assert " src " not in story.prepare()
    story.release()
    story.settings(KEEP.replace('address = "169.254.21.2/30"', ""))
    assert "ip route add 10.2.0.0/16 dev sun proto 50 src 10.1.0.1\n" in story.prepare()
    assert "ip route" not in story.up(**SITE)
    assert "ip route" not in story.down(**SITE)
    assert story.prepare() == "nothing to prepare"
    story.release()
    assert story.left() == []


def test_prepare_sets_up_what_an_up_takes_over(story: Story) -> None:
    """One link from boot on: prepare, up, down and release."""
    story.settings(KEEP)
    assert story.prepare() == told("""
        ip link add sun group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set sun up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.sun.disable_policy=1
        sysctl -w net.ipv6.conf.sun.disable_policy=1
        ip addr add 169.254.21.2/30 dev sun
        ip route add 10.2.0.0/16 dev sun proto 50
        ip -6 route add fd00:2::/48 dev sun proto 50
    """)
    assert story.up(**SITE) == told("""
        # nothing to change
        log: gw: sun up, 192.168.0.1 → 192.168.0.2, mark 2, 169.254.21.2/30, 10.2.0.0/16
    """)
    assert story.up6(**SITE6) == told("""
        # nothing to change
        log: gw: sun up, 192.168.0.1 → 192.168.0.2, mark 2, fd00:2::/48
    """)
    assert story.down6(**SITE6) == told("""
        # nothing to change
        log: gw: sun stays, held by 1 more
    """)
    assert story.down(**SITE) == told("""
        # nothing to change
        log: gw: sun stays without a CHILD_SA, as when_down says
    """)
    assert story.release() == told("""
        ip link del sun
    """)
    assert story.left() == []


def test_prepare_blocks_from_boot_on(story: Story) -> None:
    """No link stands before the first up, only the unreachable routes."""
    story.settings(BLOCK)
    assert story.prepare("gw") == told("""
        ip route add unreachable 10.2.0.0/16 proto 50 metric 4294967295
        ip -6 route add unreachable fd00:2::/48 proto 50 metric 4294967295
    """)
    assert story.prepare("gw") == told("""
        nothing to prepare
    """)
    assert story.release("gw") == told("""
        ip route del unreachable 10.2.0.0/16 proto 50 metric 4294967295
        ip -6 route del unreachable fd00:2::/48 proto 50 metric 4294967295
    """)


def test_prepare_moves_a_link_to_new_endpoints(story: Story) -> None:
    """The settings have another remote end since: the link that stands is changed in place."""
    story.settings(KEEP)
    story.prepare()
    story.settings(KEEP.replace("192.168.0.2", "203.0.113.7"))
    assert story.prepare() == told("""
        ip link set sun type vti local 192.168.0.1 remote 203.0.113.7 okey 2 ikey 2
        ip link set sun up mtu 1406 alias 'vti-updown gw'
    """)


def test_settings_that_no_longer_keep_let_go_at_the_next_up(story: Story) -> None:
    """when_down was taken out: the up takes over the link, and its down takes it away."""
    story.settings(KEEP)
    story.up(**SITE)
    story.down(**SITE)
    story.settings(KEEP.replace('when_down = "keep"', ""))
    assert story.up(**SITE, UNIQUEID=2) == told("""
        # nothing to change
        log: gw: sun up, 192.168.0.1 → 192.168.0.2, mark 2, 169.254.21.2/30, 10.2.0.0/16
    """)
    assert story.down(**SITE, UNIQUEID=2) == told("""
        ip link del sun
        log: gw: sun down, 192.168.0.1 → 192.168.0.2
    """)


def test_release_leaves_what_is_up(story: Story) -> None:
    """It lets go of what stands; the tunnel goes with its down."""
    story.settings(BLOCK)
    story.up(**SITE)
    assert story.release() == told("""
        ip route del unreachable 10.2.0.0/16 proto 50 metric 4294967295
    """)
    assert story.down(**SITE) == told("""
        ip link del sun
        log: gw: sun down, 192.168.0.1 → 192.168.0.2
    """)


def test_prepare_and_release_name_what_they_cannot(story: Story) -> None:
    """A connection without a table, one that keeps nothing, and one for which nothing stands."""
    story.settings(
        '[connection.gw]\nroutes = ["10.2.0.0/16"]\n[connection.far]\nwhen_down = "keep"\nmark = 3\n'
    )
    assert story.prepare() == told("""
        error: far: the endpoints of the VTI are not known; add local and remote to the settings
        exit status: 2
    """)
    assert story.prepare("moon") == told("""
        error: the settings have no table [connection.moon]; see vti-updown check-config
        exit status: 2
    """)
    assert story.prepare("gw") == told("""
        error: gw: when_down is remove, so nothing stands; make it keep or block in the settings
        exit status: 2
    """)
    assert story.prepare("far") == told("""
        error: far: the endpoints of the VTI are not known; add local and remote to the settings
        exit status: 2
    """)
    assert story.release("gw") == told("""
        error: nothing stands for gw; there is nothing to release
        exit status: 2
    """)


TWO = (
    BLOCK
    + """
    [connection.sick]
    remote = "192.168.0.9"
    local = "192.168.0.1"
    mark = 9
    vrf = "gone"
    routes = ["10.9.0.0/16"]
    when_down = "block"
    [connection.well]
    routes = ["10.8.0.0/16"]
    local = "192.168.0.1"
    remote = "192.168.0.8"
    mark = 8
    when_down = "block"
"""
)


def test_prepare_does_each_connection_by_itself(story: Story) -> None:
    """One that cannot be prepared is said, and the others are prepared."""
    story.settings(TWO)
    assert story.prepare() == told("""
        ip route add unreachable 10.2.0.0/16 proto 50 metric 4294967295
        ip -6 route add unreachable fd00:2::/48 proto 50 metric 4294967295
        ip route add unreachable 10.8.0.0/16 proto 50 metric 4294967295
        error: sick: there is no VRF gone; make it: ip link add gone type vrf table NUMBER
        exit status: 2
    """)


def test_prepare_is_not_stopped_by_a_wrong_value_of_another(story: Story) -> None:
    """The file is read table by table."""
    story.settings(TWO.replace('vrf = "gone"', "mtu = 9"))
    assert story.prepare() == told("""
        ip route add unreachable 10.2.0.0/16 proto 50 metric 4294967295
        ip -6 route add unreachable fd00:2::/48 proto 50 metric 4294967295
        ip route add unreachable 10.8.0.0/16 proto 50 metric 4294967295
        error: vti-updown.toml [connection.sick] mtu = 9 is not a number from 68 to 65535; write mtu = 1400
        exit status: 2
    """)


def test_prepare_leaves_what_stood_for_one_that_fails(story: Story) -> None:
    """A step of its own is refused, and the next connection is prepared."""
    story.settings(TWO.replace('vrf = "gone"', ""))
    story.host.refuses = {"add unreachable 10.9.0.0/16": EINVAL}
    assert story.prepare() == told("""
        ip route add unreachable 10.2.0.0/16 proto 50 metric 4294967295
        ip -6 route add unreachable fd00:2::/48 proto 50 metric 4294967295
        ip route add unreachable 10.8.0.0/16 proto 50 metric 4294967295
        error: sick: cannot do what has: add unreachable 10.9.0.0/16; try it by hand: run the hook with --dry-run
        exit status: 1
    """)


def test_a_release_whose_step_failed_can_be_repeated(story: Story) -> None:
    """What was done is printed, and the connection is still known by its name."""
    story.settings(TWO.replace('vrf = "gone"', ""))
    story.prepare()
    story.host.refuses = {"del unreachable 10.9.0.0/16": EINVAL}
    said = told("""
        ip route del unreachable 10.2.0.0/16 proto 50 metric 4294967295
        ip -6 route del unreachable fd00:2::/48 proto 50 metric 4294967295
        ip route del unreachable 10.8.0.0/16 proto 50 metric 4294967295
        error: cannot do what has: del unreachable 10.9.0.0/16; run it again, as root
        exit status: 1
    """)
    assert story.release() == said
    assert story.release("sick") == told("""
        error: cannot do what has: del unreachable 10.9.0.0/16; run it again, as root
        exit status: 1
    """)
    story.host.refuses = {}
    assert story.release("sick") == told("""
        ip route del unreachable 10.9.0.0/16 proto 50 metric 4294967295
    """)
    assert story.left() == []
    assert story.release("sick") == told("""
        error: nothing stands for sick; there is nothing to release
        exit status: 2
    """)


def test_repair_and_flush_go_on_after_a_tunnel_that_fails(story: Story) -> None:
    """They print what was done, and then what failed."""
    story.up(**SITE)
    story.up(**{**SITE, **PLUTO_MARK, "PEER_CLIENT": "10.8.0.0/16"})
    story.lose_routes()
    story.host.refuses = {"route add 10.2.0.0/16": EINVAL}
    said = story.repair().splitlines()
    assert "ip route add 10.8.0.0/16 dev vti2 proto 50" in said
    assert "ip route add 10.2.0.0/16 dev vti1 proto 50" not in said
    assert said[-2:] == [
        "error: cannot do what has: route add 10.2.0.0/16; run it again, as root",
        "exit status: 1",
    ]
    story.host.refuses = {"link del vti1": EINVAL}
    assert story.flush("--force").splitlines()[-3:] == [
        "ip link del vti2",
        "error: cannot do what has: link del vti1; run it again, as root",
        "exit status: 1",
    ]
    story.host.refuses = {}
    assert story.flush("--force") == told("""
        ip link del vti1
    """)
    assert story.left() == []


# An up that fails


def test_a_first_up_that_the_kernel_refuses_leaves_the_block(story: Story) -> None:
    """All else is undone, and the line says what stays. The next up takes it over."""
    story.settings(BLOCK)
    story.host.refuses = {"addr add 169.254.21.2/30": EINVAL}
    assert story.up(**SITE) == told("""
        ip link add sun group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set sun up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.sun.disable_policy=1
        ip addr add 169.254.21.2/30 dev sun
        ip route add 10.2.0.0/16 dev sun proto 50
        ip route add unreachable 10.2.0.0/16 proto 50 metric 4294967295
        log: error: gw: cannot do what has: addr add 169.254.21.2/30; try it by hand: run the hook with --dry-run
        log: gw: as when_down says, 10.2.0.0/16 blocked
        exit status: 1
    """)
    assert story.left() == [UNREACHABLE]
    story.host.refuses = {}
    assert story.down(**SITE) == told("""
        # nothing to change
        log: gw: its up had failed, nothing to take away, 10.2.0.0/16 blocked
    """)
    story.up(**SITE, UNIQUEID=2)
    story.down(**SITE, UNIQUEID=2)
    assert story.left() == [UNREACHABLE]
    story.release("gw")
    assert story.left() == []


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        pytest.param("", {"MY_SOURCEIP4_1": "224.0.0.1"}, id="a-bad-virtual-ip"),
        pytest.param("", {"MARK_IN": None, "MARK_OUT": None}, id="no-mark"),
        pytest.param("--name office", {}, id="a-name-that-is-taken"),
        pytest.param("--kind xfrm", {}, id="no-if_id"),
    ],
)
def test_a_first_up_that_is_refused_leaves_the_block(
    story: Story, line: str, changed: Changes
) -> None:
    """What can be known of the routes is blocked, once. --dry-run says so, too."""
    story.host.add_link("office")
    story.line = f"--route 10.2.0.0/16 --when-down block {line}"
    said = story.up(**{**SITE, **changed}).splitlines()
    assert said[0] == "ip route add unreachable 10.2.0.0/16 proto 50 metric 4294967295"
    assert said[1].startswith("log: error: gw: ")
    assert said[-2:] == ["log: gw: as when_down says, 10.2.0.0/16 blocked", "exit status: 2"]
    assert story.left() == [UNREACHABLE]
    assert story.up(**{**SITE, **changed}, UNIQUEID=2).splitlines()[0] == said[1]
    assert story.release() == told("""
        ip route del unreachable 10.2.0.0/16 proto 50 metric 4294967295
    """)
    assert story.left() == []


def test_a_block_that_the_kernel_refuses_leaves_nothing(story: Story) -> None:
    """Half of a full tunnel's rules might block IKE itself."""
    story.line = "--route 0.0.0.0/0 --when-down block"
    story.host.refuses = {"rule add pref 15002": EINVAL}
    assert "log: error: gw: cannot do what has: rule add pref 15002" in story.up()
    assert story.left() == []


def test_an_up_that_fails_blocks_a_network_that_is_new(story: Story) -> None:
    """The settings have another route since the block was made."""
    story.settings(BLOCK)
    story.up(**SITE)
    story.down(**SITE)
    story.settings(BLOCK.replace('"10.2.0.0/16"', '"10.2.0.0/16", "10.9.0.0/16"'))
    story.host.refuses = {"link add sun": EINVAL}
    story.up(**SITE, UNIQUEID=2)
    assert UNREACHABLE in story.left() and len(story.left()) == 2
    story.host.refuses = {}
    story.up(**SITE, UNIQUEID=3)
    story.down(**SITE, UNIQUEID=3)
    assert len(story.left()) == 2
    story.release()
    assert story.left() == []


@pytest.mark.parametrize("what", ["keep", "remove"])
def test_a_first_up_that_fails_keeps_nothing_else(story: Story, what: str) -> None:
    """A link that could not be made whole does not stand."""
    story.settings(KEEP.replace("keep", what))
    story.host.refuses = {"route add 10.2.0.0/16": EINVAL}
    story.up(**SITE)
    assert story.left() == []


def test_a_kept_link_goes_over_ipv6(story: Story) -> None:
    """A vti6 stands as a vti does."""
    story.settings("""
        [connection.gw]
        local = "2001:db8::1"
        remote = "2001:db8::2"
        mark = [2, 3]
        routes = ["fd00:2::/48"]
        when_down = "keep"
    """)
    assert story.prepare() == told("""
        ip link add vti3 group 1987313665 type vti6 local 2001:db8::1 remote 2001:db8::2 okey 3 ikey 2
        ip link set vti3 up mtu 1390 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti3.disable_policy=1
        sysctl -w net.ipv6.conf.vti3.disable_policy=1
        ip -6 route add fd00:2::/48 dev vti3 proto 50
    """)
    assert story.up6(**SITE6, **OVER_IPV6, MARK_OUT=3) == told("""
        # nothing to change
        log: gw: vti3 up, 2001:db8::1 → 2001:db8::2, mark 3, fd00:2::/48
    """)
