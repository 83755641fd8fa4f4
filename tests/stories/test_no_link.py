"""CHILD_SAs that are fine without a link, and the answer when nothing would change."""

import pytest

from .story import NO_MARK, NO_VIRTUAL_IP, PLUTO, SITE, XFRM, Changes, Story, told

ENDS: Changes = {
    **NO_VIRTUAL_IP,
    **NO_MARK,
    "MY_CLIENT": "192.168.0.1/32",
    "PEER_CLIENT": "192.168.0.2/32",
}
"""From host to host, as in transport mode."""
ENDS6: Changes = {
    **NO_VIRTUAL_IP,
    **NO_MARK,
    "ME": "2001:db8::1",
    "PEER": "2001:db8::2",
    "MY_CLIENT": "2001:db8::1/128",
    "PEER_CLIENT": "2001:db8::2/128",
}
L2TP: Changes = {**ENDS, "MY_PROTOCOL": 17, "MY_PORT": "1701", "PEER_PROTOCOL": 17}
GRE: Changes = {**ENDS, "MY_PROTOCOL": 47, "PEER_PROTOCOL": 47}
NOT_NEEDED = told("""
    # nothing to change
    log: gw: between the endpoints alone, without mark or if_id, no link is needed; leave leftupdown / updown out
""")


@pytest.mark.parametrize(
    ("suffix", "ends"),
    [("", ENDS), ("-v6", ENDS6), ("", L2TP), ("", GRE)],
    ids=["IPv4", "IPv6", "L2TP", "GRE"],
)
@pytest.mark.parametrize("by_hand", [False, True], ids=["charon", "by-hand"])
def test_transport_mode_needs_no_hook(
    story: Story, suffix: str, ends: Changes, by_hand: bool
) -> None:
    """The advice is to leave the hook out, at up and at down, and a mark would be wrong."""
    if by_hand:
        story.by_hand()
    assert story.event(f"up-host{suffix}", **ends) == NOT_NEEDED
    assert story.event(f"down-host{suffix}", **ends) == NOT_NEEDED
    assert story.left() == []


def test_its_down_without_an_up_says_the_same(story: Story) -> None:
    """The hook was named, or the records were lost, while it was up."""
    assert story.event("down-host", **ENDS) == NOT_NEEDED
    story.event("up-host", **ENDS)
    story.lose_records()
    assert story.event("down-host", **ENDS) == NOT_NEEDED


@pytest.mark.parametrize("unique_id", [2, 3], ids=["as-it-was", "rekeyed"])
def test_its_down_ends_no_other_reference(story: Story, unique_id: int) -> None:
    """The settings named a mark at the up of another CHILD_SA of this connection."""
    story.line = "--mark 2"
    story.event("up-host", **ENDS)
    tunnel = story.left()
    story.line = ""
    assert story.event("up-host", **ENDS, UNIQUEID=2) == NOT_NEEDED
    assert story.event("down-host", **ENDS, UNIQUEID=unique_id) == NOT_NEEDED
    assert story.left() == tunnel
    assert story.event("down-host", **ENDS) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
    """)
    assert story.left() == []


@pytest.mark.parametrize(
    ("line", "changed", "link"),
    [
        ("--mark 2", {}, "vti1"),
        ("--if-id 42", {}, "xfrm42"),
        ("", {"MARK_IN": 2, "MARK_OUT": 2}, "vti1"),
        ("", XFRM, "xfrm42"),
    ],
)
def test_a_mark_or_an_if_id_asks_for_a_link(
    story: Story, line: str, changed: Changes, link: str
) -> None:
    """From host to host is not transport mode then: somebody wants a link."""
    story.line = line
    assert f"log: gw: {link} up" in story.event("up-host", **{**ENDS, **changed})
    assert f"log: gw: {link} down" in story.event("down-host", **{**ENDS, **changed})
    assert story.left() == []


@pytest.mark.parametrize("changed", [{"MARK_IN": 2, "MARK_OUT": 2}, XFRM], ids=["mark", "if_id"])
def test_a_down_with_a_mark_or_an_if_id_had_a_link(story: Story, changed: Changes) -> None:
    """So it is not told to leave the hook out, though nothing is up for it."""
    assert "no link is needed" not in story.event("down-host", **{**ENDS, **changed})


@pytest.mark.parametrize("end", ["MY_CLIENT", "PEER_CLIENT"])
def test_an_endpoint_and_a_network_behind_the_other_need_one(story: Story, end: str) -> None:
    """Only packets between the two endpoints go without a tunnel."""
    said = story.event("up-host", **{**ENDS, end: "10.2.0.0/16"})
    assert "error: gw: the CHILD_SA has neither mark nor if_id" in said


def test_a_kind_asks_for_a_link_too(story: Story) -> None:
    """So what is missing for it is an error."""
    story.line = "--kind vti"
    assert story.event("up-host", **ENDS) == told("""
        log: error: gw: the CHILD_SA has no mark; add mark=NUMBER to it, unique to the peer (swanctl: mark_in, mark_out)
        exit status: 2
    """)
    assert story.event("down-host", **ENDS) == told("""
        # nothing to change
        log: gw: its up had failed, nothing to take away
    """)


# Nothing to change


def test_a_rehearsed_up_says_who_has_the_tunnel(story: Story) -> None:
    """The README's example, while such a tunnel is up."""
    says = "# nothing to change: gw has it on vti1 since 2026-07-01T12:00:00Z"
    story.up(**SITE)
    assert story.rehearse("up-client", **SITE) == says
    story.down(**SITE)
    story.by_hand()
    story.up(**SITE)
    assert story.rehearse("up-client", **SITE) == says


def test_a_rehearsed_up_says_what_stands_already(story: Story) -> None:
    """A standing reference has no CHILD_SA, so it does not have the tunnel."""
    story.settings("""
        [connection.gw]
        mark = 2
        local = "192.168.0.1"
        remote = "192.168.0.2"
        routes = ["10.2.0.0/16"]
        when_down = "keep"
    """)
    story.prepare("gw")
    assert (
        story.rehearse("up-client", **SITE)
        == "# nothing to change: vti2 stands for gw since 2026-07-01T12:00:00Z"
    )


def test_a_rehearsed_down_says_who_keeps_the_tunnel(story: Story) -> None:
    """Or why there is nothing to take away."""
    assert story.rehearse("down-client", **SITE) == (
        "# nothing to change: nothing is up for this down-client"
    )
    story.up(**SITE, **NO_MARK)
    assert (
        story.rehearse("down-client", **SITE, **NO_MARK) == "# nothing to change: its up had failed"
    )
    assert story.rehearse("down-host", **ENDS) == told("""
        # nothing to change: between the endpoints alone, without mark or if_id, no link is needed
        #   leave leftupdown / updown out
    """)
    story.up(**SITE)
    twin = {**SITE, **PLUTO, "PEER": "192.168.0.2"}
    story.up(**twin)
    assert (
        story.rehearse("down-client", **SITE)
        == "# nothing to change: pluto has it on vti1 since 2026-07-01T12:00:00Z"
    )
