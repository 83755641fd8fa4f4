"""`repair` and `flush`: what is put back, and what is taken away, beside events.

Each prints the commands that it stood for.
"""

from collections.abc import Collection

from .. import processes
from ..kernel.kernel import Kernel
from ..named_tuple import NamedTuple
from ..objects.object import Applied
from ..reconcile.reconcile import Result, steps_over, with_doubts
from ..records.records import Records
from ..records.references import STANDING
from ..text import Refusal, shown
from .outcome import Outcome
from .session import Session, nothing_failed, session
from .tunnels import Together, join_wishes, tunnels

Keys = list[str]

NOTHING = "nothing to take away"


def repair(is_dry_run: bool = False) -> Outcome:
    """Puts back what is wished for, but gone or changed, tunnel by tunnel.

    It also takes away what an event left half done. Raises Refusal if the records cannot be had.
    """
    with session("repair", is_dry_run) as work:
        copy = work.look()
        recorded = copy.applied.of(copy.every_key())
        astray = set(work.kernel.astray(recorded))
        parts = _to_mend(copy, astray, work.kernel)
        copy.close()

        def mend(keys: Keys, records: Records) -> Result:
            for key, was in records.applied.of(keys).items():
                # If the record is another, an event has seen to it since.
                if key in astray and was == recorded.get(key):
                    records.applied.doubt([key])
            return work.reconcile(keys, records)

        work.each(parts, mend)
        return work.outcome("nothing to repair")


def _to_mend(
    copy: Records,
    astray: Collection[str],
    kernel: Kernel,
) -> list[Keys]:
    """The keys that need a step: those of each link, and each that is on none by itself."""
    copy.applied.doubt(astray)
    keys = with_doubts(copy.every_key(), copy, kernel)
    parts: dict[str, Keys] = {}
    for step in steps_over(keys, copy, kernel):
        key = step.object.key
        part = parts.setdefault(step.object.link_key or key, [])
        part.append(key)
    return list(parts.values())


class _Part(NamedTuple):
    """What `flush` takes away at once."""

    references: list[int]
    keys: Keys
    """What was applied."""
    unrecorded: list[Applied]
    """What is ours, and on no record."""


def flush(
    stale: bool,
    force: bool,
    is_dry_run: bool = False,
) -> Outcome:
    """Takes away all of ours, or with `stale` only what belongs to a charon that is gone.

    It does so tunnel by tunnel. Raises Refusal if a charon lives whose tunnels would go, unless
    `force` is given. It also does so if the records cannot be had.
    """
    with session("flush", is_dry_run) as work:
        copy = work.look()
        parts = _to_take_away(stale, copy, work)
        if parts and not stale and not force:
            _refuse_while_charon_lives(copy)
        if stale:
            _note_unseen(copy, work)
        copy.close()

        def take_away(part: _Part, records: Records) -> Result:
            keys = _ended(part, records)
            return work.reconcile(keys, records)

        work.each(parts, take_away)
        work.each([stale], _forget)
        return work.outcome(NOTHING)


def _refuse_while_charon_lives(records: Records) -> None:
    """A charon is one that runs here, or one on record that runs elsewhere, or may."""
    running = processes.charons()
    if running:
        raise _living(str(running[0]))
    for charon in records.references.charons():
        alive = processes.alive(charon)
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


def _note_unseen(records: Records, work: Session) -> None:
    for charon in records.references.charons():
        if processes.alive(charon) is None:
            what = f"what charon (PID {_pid(charon)} of a container) has"
            work.note(f"left alone: {what}, which cannot be seen from here")


def _pid(charon: str) -> str:
    pid, _, _ = charon.partition("@")
    return shown(pid)


def _to_take_away(
    stale: bool,
    copy: Records,
    work: Session,
) -> list[_Part]:
    """What goes, each part by itself: no other has a link or a route in common with it."""
    references = copy.references
    going = [number for number, charon in references.every() if not stale or _is_stale(charon)]
    if stale:
        return [_Part(numbers, [], []) for numbers in tunnels(going, references)]
    together = Together()
    for number in going:
        join_wishes(number, references, together)
    recorded = copy.applied.of(copy.every_key())
    ours = work.kernel.ours(copy.applied.namespaces())
    unrecorded = [each for each in ours if each.object.key not in recorded]
    for applied in (*recorded.values(), *unrecorded):
        together.join(
            applied.object.key,
            applied.object.link_key or applied.object.key,
        )
    parts: dict[str, _Part] = {}
    for number in going:
        _part(join_wishes(number, references, together), parts).references.append(number)
    for key in recorded:
        _part(together.group(key), parts).keys.append(key)
    for applied in unrecorded:
        _part(together.group(applied.object.key), parts).unrecorded.append(applied)
    return list(parts.values())


def _is_stale(charon: str) -> bool:
    return charon != STANDING and processes.gone(charon)


def _part(group: str, parts: dict[str, _Part]) -> _Part:
    return parts.setdefault(group, _Part([], [], []))


def _ended(part: _Part, records: Records) -> Keys:
    """Ends the references of a part, and returns the keys that go with it."""
    keys = list(part.keys)
    for number in part.references:
        keys += records.references.end(number)
    for applied in part.unrecorded:
        key = applied.object.key
        if not records.applied.of([key]):
            records.applied.put(applied)
        keys.append(key)
    return keys


def _forget(stale: bool, records: Records) -> Result:
    """Forgets the charons of which nothing is left on record."""
    references = records.references
    references.clear_stale(processes.gone, keys=[], each=0)
    if not stale:
        records.applied.drop_unreadable()
        if not references.every():
            references.end_all()
    records.commit()
    return nothing_failed()
