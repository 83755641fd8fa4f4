"""`repair` and `flush`: what is put back, and what is taken away, beside events.

Each prints the commands that it stood for.
"""

from ..hook import caller as callers
from ..records.records import Records
from ..records.references import ALL
from ..text import Refusal, shown
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
        lines = printed(result, NOTHING)
        if stale:
            lines += _unseen_lines(work.records)
        return lines


def _is_anything_there(work: Session) -> bool:
    """Whether anything of ours would go."""
    recorded = work.records.applied.namespaces()
    return bool(work.records.every_key() or work.kernel.ours(recorded))


def _refuse_while_charon_lives(records: Records) -> None:
    """A charon is one that runs here, or one on record that runs elsewhere, or may."""
    running = callers.charons()
    if running:
        raise _living(str(running[0]))
    for charon in records.references.charons():
        alive = callers.alive(charon)
        if alive is None:
            raise _unseen(charon)
        if alive:
            raise _living(_pid(charon))


def _living(pid: str) -> Refusal:
    what = f"charon (PID {pid}) is running and its tunnels would go"
    return Refusal(what, "stop it first, or use --stale, or --force", 1)


def _unseen(charon: str) -> Refusal:
    what = f"charon (PID {_pid(charon)} of a container) cannot be seen from here"
    return Refusal(what, "see that it has ended, then use --force", 1)


def _unseen_lines(records: Records) -> list[str]:
    lines = []
    for charon in records.references.charons():
        if callers.alive(charon) is None:
            what = f"what charon (PID {_pid(charon)} of a container) has"
            lines.append(f"# left alone: {what}, which cannot be seen from here")
    return lines


def _pid(charon: str) -> str:
    pid, _, _ = charon.partition("@")
    return shown(pid)


def _end(stale: bool, work: Session) -> list[str]:
    """Ends the references that go, and returns their keys."""
    if not stale:
        return _end_all(work)
    references = work.records.references
    return references.clear_stale(
        callers.gone,
        keys=[],
        each=ALL,
    )


def _end_all(work: Session) -> list[str]:
    """Ends every reference, and returns every key, of what is on no record, too."""
    records = work.records
    records.references.end_all()
    recorded = records.applied.namespaces()
    records.applied.drop_unreadable()
    for applied in work.kernel.ours(recorded):
        key = applied.object.key
        if not records.applied.of([key]):
            records.applied.put(applied)
    return records.every_key()
