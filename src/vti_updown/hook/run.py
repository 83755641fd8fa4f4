"""One event from start to end: lock, record, apply, roll back, report.

An **up** loads the settings and plans its wishes (`begin_up`). The plan asks the kernel and the
records a few questions. The `up` records a reference with these wishes, and the kernel follows by
the difference (`reconcile`). A step may fail that the event cannot do without. Then its reference
loses its wishes, and the kernel follows back. Only what blocks stays, if the settings ask for that.
What the `up` replaces goes last.

A **down** finds the reference that it ends (`begin_down`, `records.matching`), and ends it. It
needs no settings. The kernel follows, and only goes forward: what cannot be taken away stays on
record for the next event.

If another process holds the records for long, the event is left to the next one (`late`). If they
cannot be used, the event does its work on a copy of them in memory.
"""

import contextlib
import json
import time
from contextlib import closing

from .. import processes
from ..kernel.kernel import Kernel
from ..objects.link import Link
from ..reconcile.reconcile import Result, reconcile
from ..records.history import Came, Entry
from ..records.matching import Caller
from ..records.matching import caller as caller_of
from ..records.records import Records, snapshot
from ..records.storage import LOCK_SECONDS, DatabaseError, HeldError, StorageError
from ..text import NOTHING_TO_DO, Refusal, shown
from .begin import Change, begin_down, begin_failed_up, begin_up
from .context import Call, EventContext, plutos
from .late import Ended, Turn, adopt_lost
from .report import (
    FormerLink,
    Report,
    failed,
    report_blocked,
    report_down,
    report_nothing_to_do,
    report_up,
)


def run(call: Call) -> list[Ended]:
    """Does what the event asks for, and what waits to be done before or after it.

    Returns what to say of each, the event's own last. The users' own commands run after all else is
    done and the records are free.
    """
    with closing(Kernel()) as kernel:
        turn = Turn(kernel, call.charon, done)
        try:
            report = _recorded(call, turn, kernel)
        except (Refusal, OSError, ImportError) as error:
            report = failed(error)
    own = Ended(call.environ, report)
    return [with_command(ended) for ended in (*turn.ended, own)]


def with_command(ended: Ended) -> Ended:
    """Runs the user's command of an event, if there is one, and says if it failed.

    Nobody waits for that of a late event: there may be many of them.
    """
    report = ended.report
    if not report.command:
        return ended
    from . import user_command  # few tunnels need it

    is_late = bool(ended.late)
    fault = user_command.run(report.command, ended.environ, report.ifname, is_late)
    if fault is None:
        return ended
    with_fault = report._replace(status=1).with_warning(fault.message, fault.hint)
    return ended._replace(report=with_fault)


def _recorded(call: Call, turn: Turn, kernel: Kernel) -> Report:
    """Does the event with the records locked, or on a copy of them if they cannot be used."""
    try:
        with turn.records(LOCK_SECONDS) as records:
            return done(call, records, kernel)
    except HeldError as held:
        return turn.leave_to_others(call, held)
    except StorageError as error:
        obstacle = f"{error.message}; {error.hint}"
        return _unrecorded(call, kernel, obstacle)


def done(call: Call, records: Records, kernel: Kernel) -> Report:
    """Does the event with the records locked, and says in the history what came of it.

    Raises Refusal if it cannot be done.
    """
    try:
        report = _with_room(call, records, kernel)
    except Exception as error:
        _end_history(call, records, failed(error))
        raise
    _end_history(call, records, report)
    return report


def _end_history(call: Call, records: Records, report: Report) -> None:
    """Writes down what came of the event. If that fails, nobody is told: all else is done."""
    lines = list(report.lines)
    if report.error is not None:
        lines.insert(0, f"error: {_why(report.error)}")
    came = Came(
        seconds=time.monotonic() - call.began,
        status=report.status,
        said="\n".join(lines),
        changed=report.changed,
    )
    with contextlib.suppress(DatabaseError):
        records.end_history(came)


def _why(error: Exception) -> str:
    if isinstance(error, Refusal):
        return f"{error.message}; {error.hint}"
    return f"{type(error).__name__}: {error}"


def _with_room(call: Call, records: Records, kernel: Kernel) -> Report:
    """Does the event, once more with more room if that is what the records lack."""
    # What the records raise, they raise before the first step: see reconcile().
    try:
        return _done(call, records, kernel)
    except DatabaseError as error:
        records.recover(error)
    try:
        return _done(call, records, kernel)
    except DatabaseError as error:
        obstacle = f"{shown(error)}; is there room on /run?"
        return _unrecorded(call, kernel, obstacle)


def _done(call: Call, records: Records, kernel: Kernel) -> Report:
    context = context_of(call, records, kernel)
    _begin_history(call, context.caller, records)
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


def _begin_history(call: Call, caller: Caller, records: Records) -> None:
    entry = Entry(
        tunnel=caller.tunnel,
        verb=call.event.verb,
        called=call.called,
        late=time.time() if records.late else None,
        unique_id=caller.unique_id,
        charon=caller.charon,
        environ=json.dumps(plutos(call.environ)),
    )
    records.history.begin(entry)


def context_of(call: Call, records: Records, kernel: Kernel) -> EventContext:
    """The event with who called, and with the records made anew if they were lost."""
    adopt_lost(call.charon, records, kernel)
    return EventContext(
        event=call.event,
        caller=caller_of(call.charon, call.event),
        load_settings=call.flags.load_settings,
        records=records,
        kernel=kernel,
    )


def _unrecorded(call: Call, kernel: Kernel, obstacle: str) -> Report:
    """Does the event on a copy of the records in memory.

    What a later event must know, it adopts from the kernel.
    """
    with closing(snapshot(kernel.identity())) as records:
        report = _done(call, records, kernel)
    if report.error is not None:
        return report
    return report.with_warning(f"not recorded: {obstacle}")


def _up_or_down(context: EventContext) -> Report:
    if context.event.up:
        return _up(context)
    return _down(context)


# An up


def _up(context: EventContext) -> Report:
    try:
        _require_charon(context.caller.charon)
        change = begin_up(context)
    except Refusal as refusal:
        return _refused(context, refusal)
    result = settle(
        change,
        context.caller.charon,
        context.records,
        context.kernel,
    )
    if result.refused is not None:
        return _failed(context, result.refused)
    from .beside_charon import remarks  # a `down` does without

    return report_up(
        context,
        change,
        result,
        remarks(change, result, context),
    )


def _require_charon(charon: str) -> None:
    """Raises Refusal if charon died while its `up` waited: nobody would call the `down`."""
    if not processes.gone(charon):
        return
    pid, _, _ = charon.partition("@")
    what = f"charon (PID {pid}) is gone, so nothing is set up for it"
    raise Refusal(what, "start it again", 1)


def _refused(context: EventContext, refusal: Refusal) -> Report:
    """Ends an `up` of which nothing was done yet, and nothing is recorded."""
    records = context.records
    records.rollback()
    change = begin_failed_up(context)
    if change.keys:
        settle(change, processes.BY_HAND, records, context.kernel)
    records.commit()
    if refusal.status == NOTHING_TO_DO:
        return report_nothing_to_do(context.event, refusal)
    return _failed(context, refusal)


def _failed(context: EventContext, refusal: Refusal) -> Report:
    lines = report_blocked(context)
    return failed(refusal, lines)


def settle(
    change: Change,
    charon: str,
    records: Records,
    kernel: Kernel,
) -> Result:
    """The kernel follows. What the change replaces goes once the new stands.

    If a step of its own is refused, all is as it was before, but for what the change blocks.
    """
    result = reconcile(change.keys, records, kernel, change.own)
    if result.refused is not None:
        undone = _withdraw(change, charon, records, result)
        reconcile(undone, records, kernel)
        return result
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
    result: Result,
) -> list[str]:
    """Takes back what a failed `up` has changed in the records, and returns the keys of it.

    Its own reference stays, without wishes, for its `down`.
    """
    references = records.references
    for number in change.adds:
        is_own = number == change.reference
        if is_own and charon != processes.BY_HAND:
            references.drop_wishes(number)
        elif number != change.blocks or _is_part(number, result, records):
            references.end(number)
    keys = list(change.keys)
    for old, new in change.moved:
        keys += records.move(new.key, old)
    for old, _ in change.moved:
        keys.append(old.key)
    return keys


def _is_part(
    number: int,
    result: Result,
    records: Records,
) -> bool:
    """Whether what failed is of this reference. Half of what blocks might block IKE itself."""
    wishes = records.references.wishes(number)
    return any(wish.key in result.failed for wish in wishes)


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
