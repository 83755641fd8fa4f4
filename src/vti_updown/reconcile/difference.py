"""The steps from what was applied to what is wished for, in an order that loses nothing.

It does no I/O.
"""

from collections.abc import Collection, Mapping

from ..objects.address import Address
from ..objects.link import Link
from ..objects.object import Applied, Object
from ..objects.registry import Step, rank

AppliedByKey = Mapping[str, Applied]
WishByKey = Mapping[str, Object]
Keys = Collection[str]
Objects = Collection[Object]
Steps = list[Step]
Gone = list[Applied]
"""What nobody wishes for any more."""

NOT_THERE = "it is not there yet"
IN_DOUBT = "nobody knows whether it is there"
OTHERWISE = "it is there with other values"
NOT_WISHED = "nobody wishes for it any more"
GOES_WITH_ADDRESS = "the kernel takes it away along with an address that goes, so it is put back"
GOES_WITH_VRF = "its link changes the VRF and loses it, so it is put back"
"""Why there is a step, as `Step.why` has it."""


def difference(
    applied: AppliedByKey,
    wished: WishByKey,
    beside: Objects = (),
    borrowed: Keys = (),
) -> Steps:
    """The steps from `applied` to `wished`. Both are of the keys that changed.

    `beside` is what stands unchanged and is wished for, where a removal may reach it. It is on the
    same links, or it has an address that goes as its preferred source. `borrowed` holds the keys of
    borrowed links.
    """
    puts = _puts(applied, wished, borrowed)
    gone = _gone(applied, wished)
    removals = _removals(gone, borrowed)
    standing = [*beside, *wished.values()]
    puts_back = _puts_back(standing, gone, puts)
    puts.sort(key=_rank)
    removals.sort(key=_rank, reverse=True)
    puts_back.sort(key=_rank)
    return puts + removals + puts_back


def _rank(step: Step) -> tuple[int, int]:
    return rank(step.object)


def _puts(
    applied: AppliedByKey,
    wished: WishByKey,
    borrowed: Keys,
) -> Steps:
    """What is not there, not as it is wished for, or in doubt. A borrowed link is not changed."""
    steps = []
    for key, wish in wished.items():
        was = applied.get(key)
        if was is None:
            steps.append(Step(None, wish, why=NOT_THERE))
            continue
        old = was.object
        if not was.sure:
            steps.append(Step(None, wish, was.before, IN_DOUBT))
        elif old != wish and key not in borrowed:
            steps.append(Step(old, wish, was.before, OTHERWISE))
    return steps


def _gone(applied: AppliedByKey, wished: WishByKey) -> Gone:
    gone = []
    for key, was in applied.items():
        if key not in wished:
            gone.append(was)
    return gone


def _removals(gone: Gone, borrowed: Keys) -> Steps:
    """The steps that take away what is gone.

    What stands on a link that is deleted goes with it, without a step of its own. What is not sure
    may stand elsewhere, so it has a step.
    """
    deleted = _deleted_links(gone, borrowed)
    steps = []
    for was in gone:
        old = was.object
        is_link = isinstance(old, Link)
        goes_along = was.sure and old.stands_on in deleted
        if is_link or not goes_along:
            step = Step(old, None, was.before, NOT_WISHED)
            steps.append(step)
    return steps


def _deleted_links(gone: Gone, borrowed: Keys) -> set[str]:
    """The keys of the links among these that are ours to delete."""
    deleted = set()
    for was in gone:
        if not isinstance(was.object, Link):
            continue
        key = was.object.key
        if key not in borrowed:
            deleted.add(key)
    return deleted


def _puts_back(
    standing: Objects,
    gone: Gone,
    puts: Steps,
) -> Steps:
    """What stays wished for, but the kernel loses or spoils it.

    That happens when an address is removed, or a link is moved to another VRF.
    """
    lost = _addresses_of(gone)
    moved_links = _moved_links(puts)
    # An address that goes along is put back, but is away for a moment, and others with it if it was
    # the last one left.
    staying = [stays for stays in standing if not _is_lost(stays, lost)]
    steps = []
    for stays in standing:
        is_link = isinstance(stays, Link)
        is_on_moved_link = stays.stands_on in moved_links and not is_link
        if is_on_moved_link:
            steps.append(Step(stays, stays, why=GOES_WITH_VRF))
        elif _is_lost(stays, lost, staying):
            steps.append(Step(stays, stays, why=GOES_WITH_ADDRESS))
    return steps


def _addresses_of(gone: Gone) -> list[Address]:
    addresses = []
    for was in gone:
        if isinstance(was.object, Address):
            addresses.append(was.object)
    return addresses


def _moved_links(puts: Steps) -> set[str]:
    """The keys of the links that go to another VRF."""
    moved = set()
    for step in puts:
        if step.changes_vrf:
            link = step.object
            moved.add(link.key)
    return moved


def _is_lost(
    stays: Object,
    lost: Collection[Address],
    staying: Objects = (),
) -> bool:
    """Whether it goes along with an address that is removed.

    An address does so whatever else stays.
    """
    return any(stays.goes_along(address, staying) for address in lost)
