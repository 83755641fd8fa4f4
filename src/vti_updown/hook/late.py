"""The records for one process after another, and the events that waited for them in vain.

An event that does not get the records in time is written down (`records.late`). Whoever holds the
records next does it first. So nothing is lost, and the events of one connection keep their order:
charon calls no hook before the last one has ended. No wake-up is lost, either. Who has written an
event down tries the lock once more, and who has held the lock looks once more what waits.

Doing what waits takes a fraction of the time in which it was written down: each event of it has
waited for seconds, and is done in milliseconds. Where that is not so, others wait for the lock, and
have their share of the work.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from .. import processes
from ..event import parse
from ..kernel.kernel import Kernel
from ..named_tuple import NamedTuple
from ..records.late import LateEvent, LateEvents
from ..records.records import Records, opened
from ..records.storage import DatabaseError, HeldError, RecordsError
from ..text import Refusal, in_head
from .context import Call, plutos
from .flags import flags_given
from .report import Report, failed

GIVE_WAY_SECONDS = 0.05
"""How long the records are left to those who wait for the lock, before it is taken once more.

Who waits is woken, but must still take it. Else one process might do the work of all others.
"""

SHARE_SECONDS = 1.0
"""After how long a process that has done its own event gives way to those who wait for the lock."""

Do = Callable[[Call, Records, Kernel], Report]
"""Does an event with the records locked."""


class Ended(NamedTuple):
    """An event that was done, and what is said of it."""

    environ: Mapping[str, str]
    report: Report
    late: str = ""
    """Its name among the late events."""


class Turn:
    """This process's turn with the records of a namespace."""

    def __init__(self, kernel: Kernel, charon: str, do: Do) -> None:
        self._kernel = kernel
        self._charon = charon
        self._do = do
        self._namespace = kernel.identity()
        self._waiting = LateEvents(self._namespace)
        self.ended: list[Ended] = []
        """The late events that it did."""

    @contextmanager
    def records(self, seconds: float) -> Iterator[Records]:
        """The records, locked, with all done that waited for them.

        They are made anew if they were lost. What is written down meanwhile is done in the end.
        Raises RecordsError if they cannot be had.
        """
        try:
            with opened(self._namespace, seconds=seconds) as records:
                records.history.is_gone = processes.gone
                self._do_waiting(records)
                yield records
        finally:
            self._do_rest()

    def leave_to_others(self, call: Call, held: HeldError) -> Report:
        """Writes an event down that did not get the records.

        It is done here if they have come free since. Raises `held` if it cannot be written down.
        """
        try:
            name = self._waiting.write(_written(call))
        except (OSError, Refusal):
            raise held from None
        self._do_rest()
        for ended in self.ended:
            if ended.late == name:
                self.ended.remove(ended)
                return ended.report
        if not self._waiting.is_there(name):
            connection = in_head(call.event.connection)
            return Report([f"{connection}: another event did this {call.event.verb}"])
        return failed(_waits(call, held))

    def _do_rest(self) -> None:
        """Does what waits, as long as something does and nobody holds the records."""
        before: list[str] = []
        names = self._waiting.names()
        while names and names != before:
            time.sleep(GIVE_WAY_SECONDS)
            try:
                with opened(self._namespace, seconds=0) as records:
                    records.history.is_gone = processes.gone
                    self._do_waiting(records, SHARE_SECONDS)
            except (RecordsError, OSError):
                return  # What waits is for the next event.
            before = names
            names = self._waiting.names()

    def _do_waiting(self, records: Records, seconds: float | None = None) -> None:
        """Does what waits, in its order: all, or as much as `seconds` allow.

        What fails stops nothing else.
        """
        begin = time.monotonic()
        names = self._waiting.names()
        if not names:
            return
        done = _done_late(records)
        adopt_lost(self._charon, records, self._kernel)
        self._waiting.clear_unfinished()
        for name in done.difference(names):
            records.forget_late(name)
        for name in names:
            # One that is done was not removed, for example since its process died.
            if name not in done:
                self._do_late(name, records)
            self._waiting.remove(name)
            if seconds is not None and time.monotonic() - begin > seconds:
                return

    def _do_late(self, name: str, records: Records) -> None:
        try:
            late = self._waiting.read(name)
            call = _call(late)
        except FileNotFoundError:
            return
        except Exception:
            # It is of no use to anybody, and must not stop those behind it.
            file = self._waiting.set_aside(name)
            unreadable = Report([]).with_warning("a waiting event cannot be read", f"see {file}")
            self.ended.append(Ended({}, unreadable))
            return
        records.late = name
        try:
            report = self._do(call, records, self._kernel)
        except Exception as error:
            records.rollback()
            report = failed(error)
        finally:
            records.late = ""
        self.ended.append(Ended(late.environ, report, name))


def adopt_lost(
    charon: str,
    records: Records,
    kernel: Kernel,
) -> None:
    """Makes the records of what the kernel has of ours, if there are none.

    They were lost, or could not be kept.
    """
    if not records.is_fresh:
        return
    owner = charon
    if not processes.alive(charon):
        # What is there may be another charon's, and must not go as stale.
        owner = processes.BY_HAND
    ours = kernel.ours()
    records.adoption.adopt(owner, ours)
    records.commit()
    records.is_fresh = False


def _done_late(records: Records) -> set[str]:
    try:
        return records.late_done()
    except DatabaseError as error:
        records.recover(error)
        return set()


def _written(call: Call) -> LateEvent:
    return LateEvent(
        environ=plutos(call.environ),
        words=list(call.words),
        folder=_folder(),
        charon=call.charon,
        since=call.called,
    )


def _folder() -> str:
    """The current folder. Empty if it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _call(late: LateEvent) -> Call:
    """Raises Refusal, or any other error, if it is not one that we have written."""
    return Call(
        event=parse(late.environ),
        charon=late.charon,
        flags=flags_given(late.words, late.folder),
        environ=late.environ,
        words=late.words,
        called=late.since if isinstance(late.since, float) else time.time(),
        began=time.monotonic(),
    )


def _waits(call: Call, held: HeldError) -> Refusal:
    way = "up" if call.event.up else "down"
    what = f"{held.message}, so the next event does this {way}"
    return Refusal(what, f"kill {held.holder} if it hangs", 1)
