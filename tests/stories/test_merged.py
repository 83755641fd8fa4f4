"""Several references wish for one thing: each field of it is merged by its own rule."""

from .story import OVER_IPV6, SITE, XFRM, Story, told

OTHER_NET = {**SITE, "MY_CLIENT": "10.5.0.0/16", "UNIQUEID": 2}
"""The same network behind the peer, for a network in which this host has no address."""
CLIENT = {**SITE, **XFRM, "PEER_CLIENT": "10.3.0.7/32"}
CLIENT6 = {
    **CLIENT,
    **OVER_IPV6,
    "CONNECTION": "rw6",
    "PEER_ID": "rw6",
    "UNIQUEID": 2,
    "PEER_CLIENT": "10.3.0.8/32",
}
"""Another client of the same link, which comes over IPv6."""


def mtu_of(steps: str) -> str:
    """The MTU that the steps give the link."""
    _, _, behind = steps.partition(" mtu ")
    return behind.partition(" ")[0]


def test_a_route_keeps_its_source_beside_one_without(story: Story) -> None:
    """The host has an address in the first network only."""
    story.host.addresses.append("10.1.0.1")
    story.up(**SITE)
    assert story.up(**OTHER_NET) == told("""
        # nothing to change
        log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
    """)
    assert story.down(**OTHER_NET) == told("""
        # nothing to change
        log: gw: vti1 stays, held by 1 more
    """)


def test_the_source_goes_with_the_last_that_holds_it(story: Story) -> None:
    """The route stays, as the one that is left wishes for it."""
    story.host.addresses.append("10.1.0.1")
    story.up(**SITE)
    story.up(**OTHER_NET)
    assert story.down(**SITE) == told("""
        ip route replace 10.2.0.0/16 dev vti1 proto 50
        log: gw: vti1 stays, held by 1 more
    """)


def test_the_source_comes_and_goes_in_the_other_order(story: Story) -> None:
    """The newer reference has an address of the host."""
    story.host.addresses.append("10.1.0.1")
    story.up(**OTHER_NET)
    assert "ip route replace 10.2.0.0/16 dev vti2 proto 50 src 10.1.0.1\n" in story.up(**SITE)
    assert "ip route replace 10.2.0.0/16 dev vti2 proto 50\n" in story.down(**SITE)


def test_a_shared_link_fits_all_paths(story: Story) -> None:
    """A client over IPv6 makes it smaller, and lets it grow again as it goes."""
    assert mtu_of(story.up(**CLIENT)) == "1406"
    assert mtu_of(story.up(**CLIENT6)) == "1390"
    assert mtu_of(story.down(**CLIENT6)) == "1406"


def test_a_newer_client_makes_a_shared_link_no_larger(story: Story) -> None:
    """The smaller path is the older one's."""
    assert mtu_of(story.up(**CLIENT6)) == "1390"
    assert mtu_of(story.up(**CLIENT)) == "1390"
    assert mtu_of(story.down(**CLIENT6)) == "1406"


def test_a_chosen_mtu_stays_as_it_is(story: Story) -> None:
    """Also above what a path allows, and beside a newer client without one."""
    story.settings("""
        [connection.gw]
        mtu = 1450
    """)
    assert mtu_of(story.up(**CLIENT)) == "1450"
    assert mtu_of(story.up(**CLIENT6)) == "1450"
    assert mtu_of(story.down(**CLIENT)) == "1390"


def test_a_clamp_follows_the_merged_mtu(story: Story) -> None:
    """An MSS that was worked out is the smallest; a chosen one is as it is."""
    story.settings("""
        [default]
        mss = "path"
    """)
    story.up(**CLIENT)
    assert "size set 1350;" in story.up(**CLIENT6)
    assert "size set 1366;" in story.down(**CLIENT6)
    story.settings("""
        [default]
        mss = "path"

        [connection.gw]
        mss = 1200
    """)
    story.down(**CLIENT)
    story.up(**CLIENT)
    assert "size set" not in story.up(**CLIENT6)


def test_a_clamp_follows_a_client_without_mss(story: Story) -> None:
    """What goes through the link is as large as its MTU, whoever made that smaller."""
    story.settings("""
        [connection.gw]
        mss = "path"
    """)
    story.up(**CLIENT)
    assert "size set 1350;" in story.up(**CLIENT6)
    assert "size set 1366;" in story.down(**CLIENT6)


def test_a_chosen_sysctl_stays_beside_a_newer_default(story: Story) -> None:
    """The default of the hook is no opinion."""
    story.settings("""
        [connection.gw]
        sysctl = { "ipv4.disable_policy" = 0 }
    """)
    story.up(**CLIENT)
    assert "disable_policy" not in story.up(**CLIENT6)
    assert "sysctl -w net.ipv4.conf.xfrm42.disable_policy=1" in story.down(**CLIENT)


def test_multicast_stays_beside_one_without(story: Story) -> None:
    """OSPF over a shared link does not end with a road warrior's up."""
    story.settings("""
        [connection.gw]
        multicast = true
    """)
    story.up(**CLIENT)
    assert "multicast on" in story.up(**CLIENT6)
    assert "multicast" not in story.down(**CLIENT)
