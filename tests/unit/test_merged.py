"""The wishes of several references for one key come to one, each field by its own rule."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.events import environment
from vti_updown.event import parse
from vti_updown.objects.link import Link
from vti_updown.objects.mss import MssClamp
from vti_updown.objects.object import Object
from vti_updown.objects.registry import write
from vti_updown.objects.route import Route
from vti_updown.objects.sysctl import Sysctl
from vti_updown.records.matching import caller
from vti_updown.records.records import Records

from .test_difference import LINK, NET, POLICY

UP = caller("c", parse(environment()))
SOURCES = [None, ip_address("10.1.0.1"), ip_address("10.3.0.1")]
MTUS = [0, 1280, 1310, 1390, 1406]

a_link = st.builds(
    LINK._replace,
    alias=st.sampled_from(["a", "b"]),
    mtu=st.sampled_from(MTUS),
    multicast=st.booleans(),
    own_link_local=st.booleans(),
    master=st.sampled_from(["", "blue"]),
) | st.builds(LINK._replace, mtu=st.sampled_from(MTUS[1:]), mtu_is_chosen=st.just(True))
a_route = st.builds(
    NET._replace, source=st.sampled_from(SOURCES), link_key=st.sampled_from([LINK.key, "other"])
)
a_sysctl = st.builds(POLICY._replace, value=st.integers(0, 2), is_chosen=st.booleans())
a_clamp = st.builds(
    MssClamp(LINK.key, "vti1", 0, 0)._replace,
    ipv4=st.sampled_from([1200, 1350, 1366]),
    ipv6=st.sampled_from([1180, 1330, 1346]),
    is_chosen=st.booleans(),
)
unhurried = settings(deadline=None)
"""Each example makes a database, which takes long on a busy machine."""
Wishes = list[tuple[Object, bool]]
"""In the order in which they come, each with whether its reference goes."""


def several(wish: st.SearchStrategy[Object]) -> st.SearchStrategy[Wishes]:
    return st.lists(st.tuples(wish, st.booleans()), min_size=1, max_size=8)


def records() -> Records:
    return Records(sqlite3.connect(":memory:", isolation_level=None))


def merged(wishes: Sequence[Object]) -> Object:
    """What the wishes of as many references for one key come to."""
    key = wishes[0].key
    with closing(records()) as played:
        for wish in wishes:
            played.references.add(UP, [wish])
        return played.references.wished([key])[key]


@unhurried
@given(wishes=st.one_of(several(a_link), several(a_route), several(a_sysctl), several(a_clamp)))
def test_the_merged_wish_is_that_of_those_that_are_left(wishes: Wishes) -> None:
    """Whatever came and went before."""
    left = [wish for wish, goes in wishes if not goes]
    with closing(records()) as played, closing(records()) as anew:
        for number in [played.references.add(UP, [wish]) for wish, goes in wishes if goes]:
            played.references.end(number)
        ending = []
        for wish, goes in wishes:
            number = played.references.add(UP, [wish])
            if goes:
                ending.append(number)
        for number in reversed(ending):
            played.references.end(number)
        for wish in left:
            anew.references.add(UP, [wish])
        key = wishes[0][0].key
        assert played.references.wished([key]) == anew.references.wished([key])
        assert bool(anew.references.wished([key])) == bool(left)


@unhurried
@given(wishes=st.lists(a_link, min_size=1))
def test_the_mtu_is_the_newest_chosen_or_the_smallest(wishes: list[Link]) -> None:
    """All else that only some ask for is there as long as they are."""
    link = merged(wishes)
    assert isinstance(link, Link)
    chosen = [wish.mtu for wish in wishes if wish.mtu_is_chosen]
    allowed = [wish.mtu for wish in wishes if wish.mtu]
    assert link.mtu == (chosen[-1] if chosen else min(allowed, default=0))
    assert link.mtu_is_chosen == bool(chosen)
    assert link.multicast == any(wish.multicast for wish in wishes)
    assert link.own_link_local == any(wish.own_link_local for wish in wishes)
    assert (link.alias, link.master) == (wishes[-1].alias, wishes[-1].master)


@unhurried
@given(wishes=st.lists(a_route, min_size=1))
def test_the_source_is_the_newest_for_the_link_of_the_newest(wishes: list[Route]) -> None:
    """A route by another link has another source."""
    route = merged(wishes)
    assert isinstance(route, Route)
    newest = wishes[-1]
    sources = [wish.source for wish in wishes if wish.link_key == newest.link_key and wish.source]
    assert route == newest._replace(source=sources[-1] if sources else None)


@unhurried
@given(wishes=st.lists(a_sysctl, min_size=1))
def test_the_sysctl_is_the_newest_chosen_or_the_newest(wishes: list[Sysctl]) -> None:
    """A default of the hook is no opinion."""
    sysctl = merged(wishes)
    chosen = [wish for wish in wishes if wish.is_chosen]
    assert sysctl == (chosen or wishes)[-1]


@unhurried
@given(wishes=st.lists(a_clamp, min_size=1), mtus=st.lists(st.sampled_from(MTUS), min_size=1))
def test_the_clamp_is_the_newest_chosen_or_the_links(
    wishes: list[MssClamp],
    mtus: list[int],
) -> None:
    """Also where the reference that makes the link's MTU smaller wishes for no clamp."""
    held = records()
    for number, mtu in enumerate(mtus, len(wishes)):
        held.references.wish(number, [LINK._replace(mtu=mtu)])
    for number, wish in enumerate(wishes):
        held.references.wish(number, [wish])
    clamp = held.references.wished([wishes[-1].key])[wishes[-1].key]
    newest = [wish for wish in wishes if wish.is_chosen] or wishes
    expected = newest[-1]
    smallest = min(filter(None, mtus), default=0)
    if smallest and not expected.is_chosen:
        expected = expected._replace(ipv4=smallest - 40, ipv6=smallest - 60)
    assert clamp == expected


def test_an_unreadable_wish_hides_no_older_one_of_its_opinion() -> None:
    """A file that somebody wrote into has a way on."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        played = Records(database)
        small = LINK._replace(mtu=1280)
        for wish in (small, small, LINK._replace(mtu=1406)):
            played.references.add(UP, [wish])
        database.execute("UPDATE wish SET object = 'torn' WHERE reference = 2")
        assert played.references.wished([LINK.key])[LINK.key] == LINK._replace(mtu=1280)


def instructions(count: int) -> int:
    """SQLite's, in tens, to find what this many references come to for one link."""
    taken: list[None] = []
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        played = Records(database)
        for number in range(count):
            played.references.add(UP, [LINK._replace(mtu=MTUS[number % len(MTUS)])])
        database.set_progress_handler(lambda: taken.append(None), 10)
        assert played.references.wished([LINK.key]) == {LINK.key: LINK._replace(mtu=1280)}
        database.set_progress_handler(None, 0)
    return len(taken)


def test_ten_thousand_references_of_one_link_cost_what_ten_do() -> None:
    """The look-up goes from opinion to opinion, not from reference to reference."""
    assert instructions(10_000) == pytest.approx(instructions(10), rel=0.2)


def test_a_link_that_has_another_name_keeps_the_opinions_apart() -> None:
    """What the kernel made of the merged wish is nobody's opinion."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        played = Records(database)
        played.references.add(UP, [LINK._replace(mtu=1390)])
        played.references.add(UP, [LINK._replace(mtu=1406)])
        played.references.replace_wish(LINK._replace(name="vti7", mtu=1390))
        rows = database.execute("SELECT object FROM wish ORDER BY reference DESC")
        (newest,), _ = rows
        assert newest == write(LINK._replace(name="vti7", mtu=1406))


def test_a_route_that_leads_nowhere_has_no_source() -> None:
    """It is what stands for the CHILD_SA of an older reference."""
    blocked = Route(ip_network("10.2.0.0/16"), NET.table, NET.metric, "", None)
    sourced = blocked._replace(link_key=LINK.key, source=SOURCES[1])
    assert blocked.with_opinion_of(sourced) == blocked
