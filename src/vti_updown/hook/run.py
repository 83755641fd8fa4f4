"""One event from start to end: lock, record, apply, roll back, report.

An **up** loads the settings and plans its wishes (`begin_up`). The plan asks the kernel and the
records a few questions. The `up` records a reference with these wishes, and the kernel follows by
the difference (`reconcile`). A step may fail that the event cannot do without. Then its reference
loses its wishes, and the kernel follows back. What the `up` replaces goes last.

A **down** finds the reference that it ends (`begin_down`, `records.matching`), and ends it. It
needs no settings. The kernel follows, and only goes forward: what cannot be taken away stays on
record for the next event.

If the records cannot be used, the event does its work on a copy of them in memory.
"""

from collections.abc import Mapping
from contextlib import closing

from ..addresses import address_in
from ..event import Event
from ..kernel.kernel import Kernel
from ..named_tuple import NamedTuple
from ..objects.link import Link
from ..objects.registry import Step
from ..objects.route import Route
from ..reconcile.reconcile import Result, ifnames_of, reconcile, steps_over, with_doubts
from ..records.matching import caller as caller_of
from ..records.records import Records, opened, snapshot
from ..records.references import STANDING
from ..records.storage import DatabaseError, StorageError
from ..text import NOTHING_TO_DO, Refusal, shown
from . import caller as callers
from .begin import Change, begin_down, begin_up, needs_no_link
from .context import EventContext, LoadSettings
from .report import FormerLink, Report, report_down, report_nothing_to_do, report_up

CHARON_TABLE = 220
"""The table in which charon's install_routes = yes puts its routes (charon.routing_table).

Its rule comes before all others.
"""


class Rehearsal(NamedTuple):
    """What `run` would do."""

    steps: list[Step]
    ifnames: dict[str, str]
    """The name of each link that they touch, by its key."""
    notes: tuple[str, ...]
    why_nothing: str = ""
    """What to tell the user if there is no step."""


def run(
    event: Event,
    load_settings: LoadSettings,
    environ: Mapping[str, str],
) -> Report:
    """Does what the event asks for, and returns what to say. Raises Refusal if it could not.

    `environ` is what the user's own command gets, after all else is done and the records are free.
    """
    with closing(Kernel()) as kernel:
        report = _recorded(event, load_settings, kernel)
    if not report.command:
        return report
    from . import user_command  # few tunnels need it

    fault = user_command.run(report.command, environ, report.ifname)
    if fault is None:
        return report
    failed = report._replace(status=1)
    return failed.with_warning(fault.message, fault.hint)


def _recorded(
    event: Event,
    load_settings: LoadSettings,
    kernel: Kernel,
) -> Report:
    """Does the event with the records locked, or on a copy of them if they cannot be used."""
    try:
        with opened(kernel.identity()) as records:
            # What the records raise, they raise before the first step: see reconcile().
            try:
                return _done(event, load_settings, records, kernel)
            except DatabaseError as error:
                records.recover(error)
            try:
                return _done(event, load_settings, records, kernel)
            except DatabaseError as error:
                obstacle = f"{shown(error)}; is there room on /run?"
                return _unrecorded(event, load_settings, kernel, obstacle)
    except StorageError as error:
        obstacle = f"{error.message}; {error.hint}"
        return _unrecorded(event, load_settings, kernel, obstacle)


def _done(
    event: Event,
    load_settings: LoadSettings,
    records: Records,
    kernel: Kernel,
) -> Report:
    context = _context(event, load_settings, records, kernel)
    report = _up_or_down(context)
    for note in kernel.left_alone():
        report = report.with_warning(note)
    for key in records.unreadable:
        what = f"the record of {shown(key, 50)} cannot be read, so it stays as it is"
        report = report.with_warning(what, "vti-updown flush takes it away, with all tunnels")
    if not records.is_damaged:
        return report
    remade = "so they were set aside and made anew from the kernel"
    return report.with_warning(f"the records were damaged, {remade}")


def _up_or_down(context: EventContext) -> Report:
    if context.event.up:
        return _up(context)
    return _down(context)


def _context(
    event: Event,
    load_settings: LoadSettings,
    records: Records,
    kernel: Kernel,
) -> EventContext:
    """The event with who called, and with the records made anew if they were lost."""
    charon = callers.charon()
    adopt_lost(charon, records, kernel)
    return EventContext(
        event=event,
        caller=caller_of(charon, event),
        load_settings=load_settings,
        records=records,
        kernel=kernel,
    )


def _unrecorded(
    event: Event,
    load_settings: LoadSettings,
    kernel: Kernel,
    obstacle: str,
) -> Report:
    """Does the event on a copy of the records in memory.

    What a later event must know, it adopts from the kernel.
    """
    with closing(snapshot(kernel.identity())) as records:
        report = _done(event, load_settings, records, kernel)
    return report.with_warning(f"not recorded: {obstacle}")


def adopt_lost(
    charon: str,
    records: Records,
    kernel: Kernel,
) -> None:
    """Makes the records of what the kernel has of ours, if there are none.

    They were lost, or could not be kept.
    """
    if records.is_fresh:
        ours = kernel.ours()
        records.adoption.adopt(charon, ours)


# An up


def _up(context: EventContext) -> Report:
    try:
        change = begin_up(context)
    except Refusal as refusal:
        _remember_without_wishes(context)
        if refusal.status == NOTHING_TO_DO:
            return report_nothing_to_do(context.event, refusal)
        raise
    charon = context.caller.charon
    result = settle(change, charon, context.records, context.kernel)
    overruled = _overruled(change, context)
    return report_up(context, change, result, overruled)


def _remember_without_wishes(context: EventContext) -> None:
    """Records an `up` that failed, or that needs nothing.

    Its `down` will come, and must not end another's reference.
    """
    records = context.records
    caller = context.caller
    records.rollback()
    if caller.charon != callers.BY_HAND:
        records.references.add(caller, ())
        records.unique_ids.learn(caller)
        records.commit()


def settle(
    change: Change,
    charon: str,
    records: Records,
    kernel: Kernel,
) -> Result:
    """The kernel follows. What the change replaces goes once the new stands.

    Raises Refusal, with all as it was before.
    """
    result = reconcile(change.keys, records, kernel, change.own)
    if result.refused is not None:
        undone = _withdraw(change, charon, records)
        reconcile(undone, records, kernel)
        raise result.refused
    replaced: list[str] = []
    for number in change.replaces:
        replaced += records.references.end(number)
    if not replaced:
        return result
    later = reconcile(replaced, records, kernel)
    return result.and_then(later)


def _withdraw(
    change: Change,
    charon: str,
    records: Records,
) -> list[str]:
    """Takes back what a failed `up` has changed in the records, and returns the keys of it.

    Its own reference stays, without wishes, for its `down`.
    """
    references = records.references
    for number in change.adds:
        is_own = number == change.reference
        if is_own and charon != callers.BY_HAND:
            references.drop_wishes(number)
        else:
            references.end(number)
    keys = list(change.keys)
    for old, new in change.moved:
        keys += records.move(new.key, old)
    for old, _ in change.moved:
        keys.append(old.key)
    return keys


def _overruled(change: Change, context: EventContext) -> list[str]:
    """What to tell the user if charon's own routes come before ours, and packets go out in clear.

    One such route is enough to say so.
    """
    wished = context.records.references.wished(change.own)
    lookup = context.kernel.lookup
    for wish in wished.values():
        if not isinstance(wish, Route):
            continue
        if wish.is_unreachable or wish.netns:
            continue
        destination = address_in(wish.destination)
        if lookup.table_of(destination) == CHARON_TABLE:
            hint = "set charon.install_routes = no"
            return [f"packets to {wish.destination} take charon's own route; {hint}"]
    return []


# A down


def _down(context: EventContext) -> Report:
    change = begin_down(context)
    former = _former_link(change, context)
    result = reconcile(change.keys, context.records, context.kernel)
    return report_down(context, change, former, result)


def _former_link(change: Change, context: EventContext) -> FormerLink | None:
    """The link that the reference had.

    Of two it is the one by which packets leave, which the `up` was told of.
    """
    recorded = context.records.applied.of(change.own)
    links = []
    for was in recorded.values():
        if isinstance(was.object, Link):
            former = FormerLink(was.object, was.borrowed)
            links.append(former)
    for former in links:
        if former.link.if_id == context.event.if_id_out:
            return former
    return next(iter(links), None)


# A rehearsal


def rehearse(event: Event, load_settings: LoadSettings) -> Rehearsal:
    """What `run` would do, found on a copy of the records."""
    with closing(Kernel()) as kernel, closing(snapshot(kernel.identity())) as records:
        context = _context(event, load_settings, records, kernel)
        try:
            change, why_nothing = _rehearsed(context)
        except Refusal as refusal:
            if refusal.status != NOTHING_TO_DO:
                raise
            return Rehearsal([], {}, (), _sentence(refusal))
        keys = with_doubts(change.keys, records, kernel)
        steps = steps_over(keys, records)
        return Rehearsal(
            steps=steps,
            ifnames=ifnames_of(steps, records),
            notes=change.notes,
            why_nothing=why_nothing,
        )


def _sentence(refusal: Refusal) -> str:
    return f"{refusal.message}; {refusal.hint}"


ChangeAndWhy = tuple[Change, str]
"""What would change in the records, and why nothing would change in the kernel, if so."""


def _rehearsed(context: EventContext) -> ChangeAndWhy:
    if context.event.up:
        return _rehearsed_up(context)
    return _rehearsed_down(context)


def _rehearsed_up(context: EventContext) -> ChangeAndWhy:
    change = begin_up(context)
    why_nothing = _who_has_it(change, context)
    for number in change.replaces:
        ended = context.records.references.end(number)
        change.keys.extend(ended)
    return change, why_nothing


def _rehearsed_down(context: EventContext) -> ChangeAndWhy:
    """By hand, a `down` may mean a reference of any charon."""
    change = Change([], reference=None)
    for owner in _owners(context):
        caller = context.caller._replace(charon=owner)
        change = begin_down(context._replace(caller=caller))
        if change.reference is not None:
            break
    if change.own:
        return change, _who_has_it(change, context)
    return change, _why_without_wishes(change, context)


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
    return [callers.BY_HAND, *charons]
