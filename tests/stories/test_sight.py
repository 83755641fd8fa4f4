"""A charon that runs where nobody can see it keeps what it has."""

from .story import PLUTO, SITE, Story, told


def test_flush_refuses_while_a_charon_cannot_be_seen(story: Story) -> None:
    """It may run, so its tunnels go only with --force."""
    story.up(**SITE)
    story.lose_sight_of_charon()
    story.by_hand()
    assert story.flush() == told("""
        error: charon (PID 1 of a container) cannot be seen from here; see that it has ended, then use --force
        exit status: 1
    """)
    assert story.left()
    assert story.flush("--force") == "ip link del vti1"
    assert story.left() == []


def test_flush_stale_leaves_what_cannot_be_seen(story: Story) -> None:
    """It says whose that is."""
    story.up(**SITE)
    story.lose_sight_of_charon()
    before = story.left()
    assert story.flush("--stale") == told("""
        nothing to take away
        # left alone: what charon (PID 1 of a container) has, which cannot be seen from here
    """)
    assert story.left() == before


def test_no_event_clears_what_cannot_be_seen(story: Story) -> None:
    """Neither an up nor a down takes anything of it."""
    story.up(**SITE)
    before = story.left()
    story.lose_sight_of_charon()
    story.up(**PLUTO, MY_CLIENT="10.1.0.0/16", PEER_CLIENT="10.9.0.0/16")
    story.down(**PLUTO, MY_CLIENT="10.1.0.0/16", PEER_CLIENT="10.9.0.0/16")
    assert story.left() == before
