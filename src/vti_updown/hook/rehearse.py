"""What an event would do, found on a copy of the records. It changes nothing.

It is for `--dry-run`, and for `explain`, which needs to know by what it was found.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from .. import processes
from ..kernel.kernel import Kernel
from ..named_tuple import NamedTuple
from ..objects.link import Link
from ..objects.registry import Step
from ..reconcile.reconcile import ifnames_of, steps_over, with_doubts
from ..records.late import LateEvents
from ..records.records import Records, snapshot
from ..records.references import STANDING
from ..text import NOTHING_TO_DO, Refusal
from .begin import Change, begin_down, begin_failed_up, begin_up, needs_no_link
from .context import Call, EventContext
from .run import context_of


class Rehearsal(NamedTuple):
    """What the event would do."""

    steps: list[Step]
    ifnames: dict[str, str]
    """The name of each link that they touch, by its key."""
    notes: tuple[str, ...]
    why_nothing: str = ""
    """What to tell the user if there is no step."""
    error: Refusal | None = None
    """Why the event would fail."""


class Foreseen(NamedTuple):
    """What would change in the records, and the steps by which the kernel would follow."""

    change: Change
    why_nothing: str = ""
    error: Refusal | None = None
    replaced: tuple[str, ...] = ()
    """The keys that older references wished for, which this event replaces."""
    looked_at: Mapping[str, str] = {}
    """Why each key is looked at, as `with_doubts` says it."""
    steps: Sequence[Step] = ()


@contextmanager
def copied() -> Iterator[tuple[Kernel, Records]]:
    """The kernel, and a copy of the records."""
    with closing(Kernel()) as kernel, closing(snapshot(kernel.identity())) as records:
        yield kernel, records


def rehearse(call: Call) -> Rehearsal:
    """What `run` would do. Raises Refusal if it would fail, and change nothing."""
    with copied() as (kernel, records):
        context = context_of(call, records, kernel)
        foreseen = foresee(context)
        change = foreseen.change
        if foreseen.error is not None and not change.keys:
            raise foreseen.error
        steps = list(foreseen.steps)
        return Rehearsal(
            steps=steps,
            ifnames=ifnames_of(steps, records),
            notes=(*notes_of_waiting(kernel), *change.notes),
            why_nothing=foreseen.why_nothing,
            error=foreseen.error,
        )


def foresee(context: EventContext) -> Foreseen:
    """What the event would change, on records that are a copy. They have the change from now on."""
    foreseen = _foreseen(context)
    records = context.records
    looked_at = with_doubts(foreseen.change.keys, records, context.kernel)
    steps = steps_over(looked_at, records, context.kernel)
    return foreseen._replace(looked_at=looked_at, steps=steps)


def notes_of_waiting(kernel: Kernel) -> list[str]:
    """What a rehearsal does not know: the events that are done first."""
    late_events = LateEvents(kernel.identity())
    waiting = late_events.names()
    if not waiting:
        return []
    return [f"this comes after what waits for the records; events that wait: {len(waiting)}"]


def _foreseen(context: EventContext) -> Foreseen:
    if not context.event.up:
        return _foreseen_down(context)
    try:
        return _foreseen_up(context)
    except Refusal as refusal:
        if refusal.status == NOTHING_TO_DO:
            nothing = Change([], reference=None)
            return Foreseen(nothing, _sentence(refusal))
        context.records.rollback()
        change = begin_failed_up(context)
        replaced = _replaced(change, context)
        return Foreseen(change, error=refusal, replaced=replaced)


def _sentence(refusal: Refusal) -> str:
    return f"{refusal.message}; {refusal.hint}"


def _foreseen_up(context: EventContext) -> Foreseen:
    change = begin_up(context)
    why_nothing = _who_has_it(change, context)
    replaced = _replaced(change, context)
    return Foreseen(change, why_nothing, replaced=replaced)


def _replaced(change: Change, context: EventContext) -> tuple[str, ...]:
    """Ends what the change replaces, and returns the keys of that, which it has from now on."""
    replaced: list[str] = []
    for number in change.replaces:
        replaced += context.records.references.end(number)
    change.keys.extend(replaced)
    return tuple(replaced)


def _foreseen_down(context: EventContext) -> Foreseen:
    """By hand, a `down` may mean a reference of any charon."""
    change = Change([], reference=None)
    for owner in _owners(context):
        caller = context.caller._replace(charon=owner)
        change = begin_down(context._replace(caller=caller))
        if change.reference is not None:
            break
    if change.own:
        return Foreseen(change, _who_has_it(change, context))
    return Foreseen(change, _why_without_wishes(change, context))


def _who_has_it(change: Change, context: EventContext) -> str:
    """Who else holds a link of the event's, in words. Empty if nobody does."""
    references = context.records.references
    for key in change.own:
        for holder in references.holders(key):
            link = holder.object
            if not isinstance(link, Link) or holder.number == change.reference:
                continue
            if holder.charon == STANDING:
                return f"{link.name} stands for {holder.connection} since {holder.since}"
            return f"{holder.connection} has it on {link.name} since {holder.since}"
    return ""


def _why_without_wishes(change: Change, context: EventContext) -> str:
    """Why the reference of a `down` has no wishes, or is not there."""
    reason = needs_no_link(context)
    if reason is not None:
        return _sentence(reason)
    if change.reference is None:
        return f"nothing is up for this {context.event.verb}"
    return "its up had failed"


def _owners(context: EventContext) -> list[str]:
    """The charons whose references a `down` may mean."""
    charon = context.caller.charon
    if charon:
        return [charon]
    charons = context.records.references.charons()
    return [processes.BY_HAND, *charons]
