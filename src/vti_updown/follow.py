"""The kernel follows the records: the difference over some keys is taken step by step, and what came of it written down."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from .errors import Refusal
from .kernel import Kernel, Outcome
from .ledger import Ledger
from .state import Address, Applied, Link, Step, about, difference, is_moved
from .storage import DatabaseError
from .text import shown


class Taken(NamedTuple):
    """What came of the steps."""

    steps: list[Step]
    names: dict[str, str]
    """The name of each link that they touch, by its key."""
    notes: list[str]
    """What was left alone, and why."""
    failures: list[str]
    """What could not be done; the next event tries again."""
    refused: Refusal | None
    """Why a step that the event cannot do without was not taken."""
    foreign: frozenset[str]
    """Keys of what was there already and is not ours."""
    failed: frozenset[str] = frozenset()
    """Keys of what could not be done."""
    spoilt: frozenset[str] = frozenset()
    """Keys of the links on which something could not be put."""

    def and_then(self, other: "Taken") -> "Taken":
        """These steps and then the other ones."""
        return self._replace(
            steps=[*self.steps, *other.steps],
            names=self.names | other.names,
            notes=[*self.notes, *other.notes],
            failures=[*self.failures, *other.failures],
            foreign=self.foreign | other.foreign,
            failed=self.failed | other.failed,
        )


def with_doubts(keys: Iterable[str], ledger: Ledger, kernel: Kernel) -> list[str]:
    """`keys`, and those that an earlier event left in doubt, and all that stands on a link that somebody took away."""
    found = dict.fromkeys([*keys, *ledger.unsure()])
    for key, was in list(ledger.applied(found).items()):
        if not isinstance(was.noun, Link) or kernel.is_there(was):
            continue
        # Where one in doubt is, and whose, may have been lost. In a namespace made anew, its old number may be another's.
        there = None if was.sure else kernel.same_link(was.noun)
        ledger.locate(key, there)
        if there is None:
            on_it = ledger.on_link(key)
            ledger.doubt(on_it)
            # What was left alone on a borrowed link is on no record, and is not there on the one that is made anew.
            found.update(dict.fromkeys([*on_it, *ledger.wished_beside(key)]))
    return list(found)


def steps_over(keys: Collection[str], ledger: Ledger) -> list[Step]:
    """The difference over `keys`."""
    applied, wished = ledger.applied(keys), ledger.wished(keys)
    lost = [was.noun for key, was in applied.items() if key not in wished and isinstance(was.noun, Address)]
    moved = {key for key, was in applied.items() if key in wished and is_moved(Step(was.noun, wished[key]))}
    reach = ledger.beside({noun.link for noun in lost} | moved, {str(noun.address.ip) for noun in lost})
    beside = ledger.wished(noun.key for noun in reach if noun.key not in wished)
    links = ledger.applied({was.noun.link for was in applied.values()})
    return difference(applied, wished, beside.values(), {key for key, link in links.items() if link.borrowed})


def take(keys: Iterable[str], ledger: Ledger, kernel: Kernel, own: Collection[str] = ()) -> Taken:
    """Takes the steps over `keys`. A refused one stops it if it is of the event's `own`; the others wait for the next event.

    Something that cannot be put may stand on what others have taken away or spoilt: once, all of its link is put again.
    """
    keys = list(keys)
    taken = _try(keys, ledger, kernel, own)
    if not taken.spoilt:
        return taken
    on_them = [key for link in taken.spoilt for key in ledger.on_link(link)]
    ledger.doubt(on_them)
    again = _try([*keys, *on_them], ledger, kernel, own, last=True)
    return again._replace(steps=[*taken.steps, *again.steps], names=taken.names | again.names)


def _try(keys: Iterable[str], ledger: Ledger, kernel: Kernel, own: Collection[str], last: bool = False) -> Taken:
    keys = with_doubts(keys, ledger, kernel)
    before = ledger.applied(keys)
    steps = steps_over(keys, ledger)
    names = link_names(steps, ledger)
    kernel.stand_on(ledger.applied(names))
    ledger.expect(steps)
    ledger.commit()
    notes: list[str] = []
    failures: list[str] = []
    refused: Refusal | None = None
    ended: list[tuple[Step, Outcome | None]] = []
    spoilt: set[str] = set()
    failed: set[str] = set()
    for step in steps:
        if refused is not None:
            ended.append((step, None))
            continue
        if step.new is not None and about(step.noun) in failed and not kernel.has_place(about(step.noun)):
            failed.add(step.noun.key)  # for want of its link, which is said already
            continue
        was = before.get(step.noun.key)
        try:
            ended.append((step, kernel.take(step, was is None or was.sure, last)))
        except Refusal as refusal:
            failed.add(step.noun.key)
            if step.new is not None and step.noun.link:
                spoilt.add(step.noun.link)
            if step.new is not None and step.noun.key in own:
                refused = refusal
            elif refusal.message not in failures:
                failures.append(refusal.message)
    foreign = {step.noun.key for step, outcome in ended if outcome and outcome.applied is None and step.new is not None}
    notes += [f"left alone: {outcome.foreign}" for _, outcome in ended if outcome and outcome.foreign]
    try:
        for step, outcome in ended:
            _record(step, outcome, before.get(step.noun.key), ledger)
        if refused is None:  # else the roll back goes on from here, and a death before it leaves all of it in doubt
            ledger.commit()
    except DatabaseError as error:
        ledger.rollback()  # all of it stays in doubt
        notes.append(f"not recorded ({shown(error)}), so the next event looks again")
    return Taken(steps, names, notes, failures, refused, frozenset(foreign), frozenset(failed), frozenset(spoilt))


def _record(step: Step, outcome: Outcome | None, was: Applied | None, ledger: Ledger) -> None:
    """Writes down what came of a step; None: it was not taken."""
    if outcome is None:
        ledger.restore(step.noun.key, was)
    elif outcome.applied is not None:
        now = outcome.applied
        if now.noun != step.new and isinstance(step.new, Link):
            ledger.found(step.new, now.noun)
        ledger.done(step._replace(new=now.noun), now.ifindex, now.borrowed)
    elif step.new is not None:
        ledger.restore(step.noun.key, None)
    else:
        ledger.done(step, borrowed=was is not None and was.borrowed)


def link_names(steps: Iterable[Step], ledger: Ledger) -> dict[str, str]:
    """The name of each link that the steps touch."""
    found = {step.noun.key: step.noun.name for step in steps if isinstance(step.noun, Link)}
    nouns = [noun for step in steps for noun in step if noun is not None]
    there = ledger.applied(set(map(about, nouns)) - set(found))
    return {**found, **{key: was.noun.name for key, was in there.items() if isinstance(was.noun, Link)}}
