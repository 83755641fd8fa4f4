"""Orders of events: rekeys, reauthentications, twins, roaming, gateways, dead charons.
docs/events.md is the same as a table.
"""

from errno import EINVAL

import pytest

from .story import (
    NO_MARK,
    NO_VIRTUAL_IP,
    OVER_IPV6,
    PLUTO,
    PLUTO_MARK,
    SITE,
    SITE6,
    XFRM,
    Story,
    told,
    user_command,
)

NEXT = {"UNIQUEID": 2}
"""A new IKE_SA, or the old one after a rekey."""


def test_two_selector_pairs_share_one_link(story: Story) -> None:
    """Each down takes its own family, in the other order, and the last one the link."""
    story.up(**SITE)
    assert story.up6(**SITE6) == told("""
        sysctl -w net.ipv6.conf.vti1.disable_policy=1
        ip -6 route add fd00:2::/48 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, fd00:2::/48
    """)
    assert story.down6(**SITE6) == told("""
        ip -6 route del fd00:2::/48 dev vti1 proto 50
        sysctl -w net.ipv6.conf.vti1.disable_policy=0
        log: gw: vti1 stays, held by 1 more, without fd00:2::/48
    """)
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_the_down_after_an_ike_rekey_is_matched(story: Story) -> None:
    """A rekey is no event; the down has the new unique ID, and takes all away."""
    story.up(**SITE)
    assert story.down(**SITE, UNIQUEID=7) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []


def test_a_rekeyed_ike_sa_takes_all_its_pairs(story: Story) -> None:
    """The first down tells that 1 is 7 by now; the second is matched by it, though the peer has
    roamed to another's address.
    """
    elsewhere = {"PEER": "203.0.113.7"}
    story.up(**SITE)
    story.up6(**SITE6)
    story.up(**SITE, **elsewhere, UNIQUEID=3)
    story.up6(**SITE6, **elsewhere, UNIQUEID=3)
    story.down(**SITE, UNIQUEID=7)
    assert story.down6(**SITE6, **elsewhere, UNIQUEID=7) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 203.0.113.7
    """)


def test_a_wrong_guess_is_made_good(story: Story) -> None:
    """1 was rekeyed to 5 and 2 to 4, and nothing tells them apart: the down of 5 took the wrong
    one, and 4 is known still.
    """
    story.up(**SITE)
    story.up(**SITE, UNIQUEID=2)
    story.up6(**SITE6, UNIQUEID=2)
    story.down(**SITE, UNIQUEID=5)
    assert story.down6(**SITE6, UNIQUEID=4) == told("""
        ip -6 route del fd00:2::/48 dev vti1 proto 50
        sysctl -w net.ipv6.conf.vti1.disable_policy=0
        log: gw: vti1 stays, held by 1 more, without fd00:2::/48
    """)
    assert story.down(**SITE, UNIQUEID=4) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_make_before_break_keeps_link_and_route(story: Story) -> None:
    """The new IKE_SA comes up before the old one goes: nothing is changed by either."""
    story.up(**SITE)
    assert story.up(**SITE, **NEXT) == told("""
        # nothing to change
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
    assert story.down(**SITE) == told("""
        # nothing to change
        log: gw: vti1 stays, held by 1 more
    """)
    assert story.down(**SITE, **NEXT) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_break_before_make_makes_all_anew(story: Story) -> None:
    """The old IKE_SA goes first, so the link has the new one's number."""
    story.up(**SITE)
    story.down(**SITE)
    assert story.up(**SITE, **NEXT) == told("""
        ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti2 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti2.disable_policy=1
        ip route add 10.2.0.0/16 dev vti2 proto 50
        log: gw: vti2 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)


def test_a_unique_mark_follows_the_newest(story: Story) -> None:
    """With mark=%unique the new IKE_SA has another mark: the link's keys follow, back and forth."""
    new = {**NEXT, "MARK_IN": 3, "MARK_OUT": 3}
    story.up(**SITE)
    assert story.up(**SITE, **new) == told("""
        ip link set vti1 type vti local 192.168.0.1 remote 192.168.0.2 okey 3 ikey 3
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 3, 10.2.0.0/16
    """)
    assert story.down(**SITE, **new) == told("""
        ip link set vti1 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        log: gw: vti1 stays, held by 1 more
    """)
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_unique_if_ids_make_two_links(story: Story) -> None:
    """With if_id = %unique each CHILD_SA has a link of its own; the route goes from the old one to
    the new one.
    """
    new = {**NEXT, **NO_MARK, "IF_ID_IN": 43, "IF_ID_OUT": 43}
    story.up(**SITE, **XFRM)
    assert story.up(**SITE, **new) == told("""
        ip link add xfrm43 group 1987313665 type xfrm if_id 0x2b
        ip link set xfrm43 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.xfrm43.disable_policy=1
        ip route replace 10.2.0.0/16 dev xfrm43 proto 50
        log: gw: xfrm43 up, 192.168.0.1 → 192.168.0.2, if_id 43, 10.2.0.0/16
    """)
    assert story.down(**SITE, **XFRM) == told("""
        ip link del xfrm42
        log: gw: xfrm42 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.down(**SITE, **new) == told("""
        ip link del xfrm43
        log: gw: xfrm43 down, 192.168.0.1 → 192.168.0.2
    """)


def test_two_child_sas_of_a_peer_share_its_link(story: Story) -> None:
    """Each has its route, and they go in either order."""
    other = {**SITE, "CONNECTION": "net9", "PEER_CLIENT": "10.9.0.0/16"}
    story.up(**SITE)
    assert story.up(**other) == told("""
        ip link set vti1 up mtu 1406 alias 'vti-updown net9'
        ip route add 10.9.0.0/16 dev vti1 proto 50
        log: net9: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.9.0.0/16
    """)
    assert story.down(**SITE) == told("""
        ip route del 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 stays, held by 1 more, without 10.2.0.0/16
    """)
    assert story.down(**other) == told("""
        ip link del vti1
        log: net9: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_twins_are_counted(story: Story) -> None:
    """Two equal CHILD_SAs in one IKE_SA: two ups, two downs, and a third one is told that it means
    nothing.
    """
    story.up(**SITE)
    assert story.up(**SITE) == told("""
        # nothing to change
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
    assert story.down(**SITE) == told("""
        # nothing to change
        log: gw: vti1 stays, held by 1 more
    """)
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.down(**SITE) == told("""
        # nothing to change
        log: gw: nothing is up for this down-client (unique ID 1)
    """)


def test_both_sides_initiate(story: Story) -> None:
    """Two IKE_SAs to one peer at once: the tunnel stays while one of them does, whichever goes
    first.
    """
    story.up(**SITE)
    story.up(**SITE, **NEXT)
    assert story.down(**SITE, **NEXT) == told("""
        # nothing to change
        log: gw: vti1 stays, held by 1 more
    """)
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_a_second_down_beside_another_ike_sa_changes_nothing(story: Story) -> None:
    """charon may call down twice for a CHILD_SA whose deletion got lost; the other IKE_SA's tunnel
    stays.
    """
    story.up(**SITE)
    story.up(**SITE, **NEXT)
    story.down(**SITE)
    assert story.down(**SITE) == told("""
        # nothing to change
        log: gw: nothing is up for this down-client (unique ID 1)
    """)
    assert story.down(**SITE, **NEXT) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_the_down_of_a_failed_up_leaves_its_twin(story: Story) -> None:
    """The second up is refused, and its down must not end the first one's tunnel."""
    story.up(**SITE)
    story.line = "--mtu 9"
    assert story.up(**SITE, **NEXT) == told("""
        log: error: gw: --mtu 9 is not a number from 68 to 65535; write --mtu 1400
        exit status: 2
    """)
    story.line = ""
    assert story.down(**SITE, **NEXT) == told("""
        # nothing to change
        log: gw: its up had failed, nothing to take away
    """)
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_an_up_that_the_kernel_refuses_leaves_nothing(story: Story) -> None:
    """A step fails, those before it are undone, and its down has nothing to take away."""
    story.host.refuses = {"route add 10.2.0.0/16": EINVAL}
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: error: gw: cannot do what has: route add 10.2.0.0/16; try it by hand: run the hook with --dry-run
        exit status: 1
    """)
    assert story.left() == []
    assert story.down(**SITE) == told("""
        # nothing to change
        log: gw: its up had failed, nothing to take away
    """)


def test_a_down_goes_on_after_a_step_that_failed(story: Story) -> None:
    """What could not be taken away goes with the next event, whatever that is."""
    story.up(**SITE)
    story.up6(**SITE6)
    story.host.refuses = {"route del 10.2.0.0/16": EINVAL}
    assert story.down(**SITE) == told("""
        ip route del 10.2.0.0/16 dev vti1 proto 50
        sysctl -w net.ipv4.conf.vti1.disable_policy=0
        log: gw: vti1 stays, held by 1 more, without 10.2.0.0/16
        log: gw: cannot do what has: route del 10.2.0.0/16
        exit status: 1
    """)
    story.host.refuses = {}
    assert story.down6(**SITE6) == told("""
        ip route del 10.2.0.0/16 dev vti1 proto 50
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []


def test_mobike_leaves_the_down_its_up(story: Story) -> None:
    """The peer has roamed, which is no event: the down has other endpoints, and is matched."""
    story.up(**SITE)
    assert story.down(**SITE, PEER="203.0.113.7", UNIQUEID=5) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 203.0.113.7
    """)


def test_mobike_moves_host_to_host_from_ipv4_to_ipv6(story: Story) -> None:
    """Verb, family, endpoints and selectors of the down are others then; the tunnel goes all the
    same.
    """
    host = {**XFRM, **NO_VIRTUAL_IP}
    before = {**host, "MY_CLIENT": "192.168.0.1/32", "PEER_CLIENT": "192.168.0.2/32"}
    after = {**host, **OVER_IPV6, "MY_CLIENT": "2001:db8::1/128", "PEER_CLIENT": "2001:db8::2/128"}
    assert story.event("up-host", **before) == told("""
        # no route made, as the selector 192.168.0.2/32 is the peer's own address
        #   leave mark or if_id out of a CHILD_SA for the peer itself
        ip link add xfrm42 group 1987313665 type xfrm if_id 0x2a
        ip link set xfrm42 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.xfrm42.disable_policy=1
        log: gw: xfrm42 up, 192.168.0.1 → 192.168.0.2, if_id 42
        log: gw: no route made, as the selector 192.168.0.2/32 is the peer's own address
        log: gw:   leave mark or if_id out of a CHILD_SA for the peer itself
    """)
    assert story.event("down-host-v6", **after) == told("""
        ip link del xfrm42
        log: gw: xfrm42 down, 2001:db8::1 → 2001:db8::2
    """)


def test_a_road_warrior_comes_back_from_a_new_address(story: Story) -> None:
    """The gateway's new tunnel has the route to his virtual IP; the old one's late down takes
    nothing of it.
    """
    alice = {**XFRM, **SITE, "PEER_ID": "alice", "PEER_CLIENT": "10.3.0.7/32"}
    story.up(**alice)
    assert story.up(**alice, PEER="203.0.113.7", UNIQUEID=2) == told("""
        # nothing to change
        log: gw: xfrm42 up, 192.168.0.1 → 203.0.113.7, if_id 42, 10.3.0.7/32
    """)
    assert story.down(**alice) == told("""
        # nothing to change
        log: gw: xfrm42 stays, held by 1 more
    """)
    assert story.down(**alice, PEER="203.0.113.7", UNIQUEID=2) == told("""
        ip link del xfrm42
        log: gw: xfrm42 down, 192.168.0.1 → 203.0.113.7
    """)


def test_a_road_warrior_comes_back_on_a_vti(story: Story) -> None:
    """A VTI has a peer's address, so the new tunnel is another link, and the route goes over to it
    and stays there.
    """
    alice = {**SITE, "PEER_ID": "alice", "PEER_CLIENT": "10.3.0.7/32"}
    story.up(**alice)
    assert story.up(**alice, PEER="203.0.113.7", UNIQUEID=2) == told("""
        ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 203.0.113.7 okey 2 ikey 2
        ip link set vti2 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti2.disable_policy=1
        ip route replace 10.3.0.7/32 dev vti2 proto 50
        log: gw: vti2 up, 192.168.0.1 → 203.0.113.7, mark 2, 10.3.0.7/32
    """)
    assert story.down(**alice) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_either_of_two_gateways_takes_over(story: Story) -> None:
    """One network by two gateways is the newest one's, and falls back to the other one."""
    story.up(**SITE)
    assert story.up(**SITE, **PLUTO_MARK) == told("""
        ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.3 okey 3 ikey 3
        ip link set vti2 up mtu 1406 alias 'vti-updown pluto'
        sysctl -w net.ipv4.conf.vti2.disable_policy=1
        ip route replace 10.2.0.0/16 dev vti2 proto 50
        log: pluto: vti2 up, 192.168.0.1 → 192.168.0.3, mark 3, 10.2.0.0/16
    """)
    assert story.down(**SITE, **PLUTO_MARK) == told("""
        ip route replace 10.2.0.0/16 dev vti1 proto 50
        ip link del vti2
        log: pluto: vti2 down, 192.168.0.1 → 192.168.0.3
    """)
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_two_peers_behind_one_nat_share_an_if_id(story: Story) -> None:
    """An XFRM interface is for any number of peers, and the last one takes it."""
    story.up(**SITE, **XFRM)
    other = {**SITE, **XFRM, **PLUTO, "PEER": "192.168.0.2", "PEER_CLIENT": "10.9.0.0/16"}
    assert story.up(**other) == told("""
        ip link set xfrm42 up mtu 1406 alias 'vti-updown pluto'
        ip route add 10.9.0.0/16 dev xfrm42 proto 50
        log: pluto: xfrm42 up, 192.168.0.1 → 192.168.0.2, if_id 42, 10.9.0.0/16
    """)
    assert story.down(**SITE, **XFRM) == told("""
        ip route del 10.2.0.0/16 dev xfrm42 proto 50
        log: gw: xfrm42 stays, held by 1 more, without 10.2.0.0/16
    """)
    assert story.down(**other) == told("""
        ip link del xfrm42
        log: pluto: xfrm42 down, 192.168.0.1 → 192.168.0.2
    """)


def test_a_chosen_name_moves_to_new_endpoints(story: Story) -> None:
    """The peer's address has changed (dynamic DNS): the link with the chosen name is changed in
    place.
    """
    story.line = "--name office"
    story.up(**SITE)
    assert story.up(**SITE, PEER="203.0.113.7", UNIQUEID=2) == told("""
        ip link set office type vti local 192.168.0.1 remote 203.0.113.7 okey 2 ikey 2
        ip link set office up mtu 1406 alias 'vti-updown gw'
        log: gw: office up, 192.168.0.1 → 203.0.113.7, mark 2, 10.2.0.0/16
    """)
    assert story.down(**SITE) == told("""
        # nothing to change
        log: gw: office stays, held by 1 more
    """)
    assert story.down(**SITE, PEER="203.0.113.7", UNIQUEID=2) == told("""
        ip link del office
        log: gw: office down, 192.168.0.1 → 203.0.113.7
    """)


def test_a_link_that_cannot_move_stays_where_it_was(story: Story) -> None:
    """The kernel refuses the new endpoints: link and route are as they were, and the first tunnel's
    down ends them.
    """
    story.line = "--name office"
    story.up(**SITE)
    before = story.left()
    story.host.refuses = {"remote 203.0.113.7": EINVAL}
    assert story.up(**SITE, PEER="203.0.113.7", UNIQUEID=2) == told("""
        ip link set office type vti local 192.168.0.1 remote 203.0.113.7 okey 2 ikey 2
        ip link set office up mtu 1406 alias 'vti-updown gw'
        log: error: gw: cannot do what has: remote 203.0.113.7; try it by hand: run the hook with --dry-run
        exit status: 1
    """)
    assert story.left() == before
    story.host.refuses = {}
    assert story.down(**SITE) == told("""
        ip link del office
        log: gw: office down, 192.168.0.1 → 192.168.0.2
    """)


def test_what_a_dead_charon_left_goes_with_the_next_event(story: Story) -> None:
    """charon was killed and started again: the new one's first up keeps the link, and all else of
    old goes.
    """
    story.up(**SITE)
    story.up(**{**SITE, **PLUTO_MARK, "PEER_CLIENT": "10.8.0.0/16"})
    story.restart_charon()
    assert story.up(**{**SITE, "PEER_CLIENT": "10.9.0.0/16"}) == told("""
        ip route add 10.9.0.0/16 dev vti1 proto 50
        ip route del 10.2.0.0/16 dev vti1 proto 50
        ip link del vti2
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.9.0.0/16
    """)


def test_flush_stale_takes_what_a_dead_charon_left(story: Story) -> None:
    """No event need come; while a charon lives, its tunnels stay."""
    story.up(**SITE)
    assert story.flush("--stale") == told("""
        nothing to take away
    """)
    story.restart_charon()
    assert story.flush("--stale") == told("""
        ip link del vti1
    """)
    assert story.left() == []


def test_a_tunnel_whose_settings_broke_since_goes_down(story: Story) -> None:
    """A down goes by what its up recorded, whatever the file says by now."""
    story.up(**SITE)
    story.settings("[connection.gw")
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.up(**SITE) == told("""
        log: error: gw: vti-updown.toml end of document: Expected ']' at the end of a table declaration; correct it there
        exit status: 2
    """)


def test_commands_of_the_user_run_at_the_end(story: Story) -> None:
    """They know the link's name; the down command is the one that was configured at the up."""
    story.settings("""
        [connection.gw]
        up = "logger up"
        down = "logger down"
    """)
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
        run: VTI_UPDOWN_IFNAME=vti1 logger up
    """)
    story.settings("")
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
        run: VTI_UPDOWN_IFNAME=vti1 logger down
    """)


def test_a_down_command_has_the_limit_of_its_up(story: Story) -> None:
    """And nobody waits for it, if nobody waited for that."""
    story.settings("""
        [connection.gw]
        up = "logger up"
        down = "logger down"
        command_seconds = 20
        command_detach = true
    """)
    assert story.up(**SITE).splitlines()[-1] == told("""
        run in the background for 20 s: VTI_UPDOWN_IFNAME=vti1 logger up
    """)
    story.settings("")
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
        run in the background for 20 s: VTI_UPDOWN_IFNAME=vti1 logger down
    """)


def test_a_command_that_fails_is_told_with_what_to_do(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the event's own lines; the tunnel stays."""
    fault = user_command.Fault("its up command was killed after 3 s", user_command.ASKS_CHARON)
    monkeypatch.setattr(user_command, "run", lambda *_: fault)
    story.line = "--up 'swanctl --list-sas'"
    assert story.up(**SITE) == told("""
        ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
        ip link set vti1 up mtu 1406 alias 'vti-updown gw'
        sysctl -w net.ipv4.conf.vti1.disable_policy=1
        ip route add 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
        log: warning: its up command was killed after 3 s
        log: warning:   swanctl hangs in it, as charon waits for the hook, unless command_detach = true
        exit status: 1
    """)


def test_an_equal_up_by_hand_replaces_the_first(story: Story) -> None:
    """Whoever tries the hook by hand may do so twice, and one down ends it."""
    story.by_hand()
    story.line = "--route 10.2.0.0/16"
    story.up()
    story.line = "--route 10.9.0.0/16"
    assert story.up() == told("""
        ip route add 10.9.0.0/16 dev vti1 proto 50 src 10.3.0.1
        ip route del 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.9.0.0/16
    """)
    assert story.down() == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []


def test_a_down_means_the_tunnel_with_its_virtual_ip(story: Story) -> None:
    """After a rekey the virtual IP tells more than the peer's address, to which another may have
    roamed.
    """
    first = {**XFRM, "MY_CLIENT": "0.0.0.0/0", "PEER_CLIENT": "10.2.0.0/16"}
    second = {**first, "PEER": "203.0.113.7", "UNIQUEID": 2, "MY_SOURCEIP4_1": "10.3.0.2"}
    story.up(**first)
    story.up(**second)
    assert story.down(**first, PEER="203.0.113.7", UNIQUEID=7) == told("""
        ip addr del 10.3.0.1/32 dev xfrm42
        log: gw: xfrm42 stays, held by 1 more, without 10.3.0.1/32
    """)


def test_of_twins_the_failed_one_goes_first(story: Story) -> None:
    """Of two that nothing tells apart, the down ends the one that holds nothing."""
    story.up(**SITE)
    story.line = "--mtu 9"
    story.up(**SITE)
    assert story.down(**SITE) == told("""
        # nothing to change
        log: gw: its up had failed, nothing to take away
    """)
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)


def test_a_down_after_a_rekey_means_the_newest(story: Story) -> None:
    """Of two IKE_SAs on one path, the one with the greater ID may have become 7; the other says
    later that it is its own.
    """
    story.line = "--route 10.2.0.0/16"
    story.up(**SITE)
    story.line = "--route 10.9.0.0/16"
    story.up(**SITE, **NEXT)
    assert story.down(**SITE, UNIQUEID=7) == told("""
        ip route del 10.9.0.0/16 dev vti1 proto 50
        log: gw: vti1 stays, held by 1 more, without 10.9.0.0/16
    """)
    assert story.down(**SITE, **NEXT) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
