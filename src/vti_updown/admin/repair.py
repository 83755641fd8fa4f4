"""`repair` and `flush`: what is put back, and what is taken away, beside events.

Each prints the commands that it stood for.
"""

from collections.abc import Iterator

from ..hook import caller as callers
from ..records.records import Records
from ..records.references import ALL
from ..text import Refusal
from .session import Session, printed, session

NOTHING = "nothing to take away"


def repair(is_dry_run: bool = False) -> list[str]:
    """Puts back what is wished for, but gone or changed.

    It also takes away what an event left half done. Returns the lines to print. Raises Refusal if
    the records cannot be had, or something could not be done.
    """
    with session(is_dry_run) as work:
        records = work.records
        keys = records.every_key()
        recorded = records.applied.of(keys)
        astray = work.kernel.astray(recorded)
        records.applied.doubt(astray)
        result = work.reconcile(keys)
        return printed(result, "nothing to repair")


def flush(
    stale: bool,
    force: bool,
    is_dry_run: bool = False,
) -> list[str]:
    """Takes away all of ours, or with `stale` only what belongs to a charon that is gone.

    Returns the lines to print. Raises Refusal if a charon lives whose tunnels would go, unless
    `force` is given. It also does so if the records cannot be had, or something could not be taken
    away.
    """
    with session(is_dry_run) as work:
        if not stale and not _is_anything_there(work):
            return [NOTHING]  # An `up` that failed stays on record: its `down` will come.
        if not stale and not force:
            _refuse_while_charon_lives(work.records)
        keys = _end(stale, work)
        result = work.reconcile(keys)
        return printed(result, NOTHING)


def _is_anything_there(work: Session) -> bool:
    """Whether anything of ours would go."""
    return bool(work.records.every_key() or work.kernel.ours())


def _refuse_while_charon_lives(records: Records) -> None:
    pid = next(_living(records), None)
    if pid is not None:
        what = f"charon (PID {pid}) is running and its tunnels would go"
        raise Refusal(what, "stop it first, or use --stale, or --force", 1)


def _living(records: Records) -> Iterator[str]:
    """The PIDs of the charons that run here, and of those on record that run elsewhere."""
    for running in callers.charons():
        yield str(running)
    for charon in records.references.charons():
        if callers.alive(charon):
            pid, _, _ = charon.partition("@")
            yield pid


def _end(stale: bool, work: Session) -> list[str]:
    """Ends the references that go, and returns their keys."""
    if not stale:
        return _end_all(work)
    references = work.records.references
    return references.clear_stale(
        callers.alive,
        keys=[],
        each=ALL,
    )


def _end_all(work: Session) -> list[str]:
    """Ends every reference, and returns every key, of what is on no record, too."""
    records = work.records
    records.references.end_all()
    records.applied.drop_unreadable()
    for applied in work.kernel.ours():
        key = applied.object.key
        if not records.applied.of([key]):
            records.applied.put(applied)
    return records.every_key()
