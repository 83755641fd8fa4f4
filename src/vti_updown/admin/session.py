"""What a command for people works with: the kernel and the records.

It looks at all of them without the lock, and then goes part by part. What it has seen is a hint
only: each part is looked at again with the records locked. Between parts it gives them up, so that
no event waits for a whole command. A part that fails stops no other.

A dry run works with a copy of the records.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TypeVar

from .. import processes
from ..hook.begin import Change
from ..hook.late import GIVE_WAY_SECONDS, Turn, adopt_lost
from ..hook.rehearse import notes_of_waiting
from ..hook.run import done, settle, with_command
from ..kernel.kernel import Kernel
from ..objects.registry import Step
from ..output import comments, event_lines, refused
from ..reconcile.reconcile import Result, ifnames_of, reconcile, steps_over, with_doubts
from ..records.history import Came, Entry
from ..records.records import Records, snapshot
from ..records.storage import DatabaseError, RecordsError
from ..text import Refusal
from .outcome import Outcome

PATIENCE_SECONDS = 30.0
"""How long a person waits for the records. Nobody is held up by it."""
HOLD_SECONDS = 0.1
"""After how long the records are given up, once a part is done."""

T = TypeVar("T")


class Session:
    """The kernel and the records of one command.

    In a dry run the steps are found, and not taken.
    """

    def __init__(
        self,
        kernel: Kernel,
        charon: str,
        command: str,
        is_dry_run: bool,
    ) -> None:
        self.kernel = kernel
        self._command = command
        self._charon = charon
        self._is_dry_run = is_dry_run
        self._turn = Turn(kernel, charon, done)
        self._late: list[str] = []
        self._commands: list[str] = []
        self._notes: dict[str, None] = {}
        self._errors: dict[str, Refusal] = {}
        self._rehearsed_keys: set[str] = set()

    # What is found, and done

    def look(self) -> Records:
        """A copy of the records as they are now."""
        copy = snapshot(self.kernel.identity())
        adopt_lost(self._charon, copy, self.kernel)
        return copy

    def each(
        self,
        parts: Iterable[T],
        work: Callable[[T, Records], Result],
    ) -> None:
        """Does the work on each part, with the records locked, and notes what came of it."""
        left = deque(parts)
        if self._is_dry_run:
            copy = self.look()
            while left:
                self._attempt(left.popleft(), work, copy)
            copy.close()
            return
        try:
            while left:
                self._hold(left, work)
        except RecordsError as error:
            self.note_error(error)

    def _hold(
        self,
        left: deque[T],
        work: Callable[[T, Records], Result],
    ) -> None:
        """Does the next parts, until others should have the records."""
        with self._turn.records(PATIENCE_SECONDS) as records:
            end = time.monotonic() + HOLD_SECONDS
            is_due = False
            while left and not is_due:
                self._attempt(left.popleft(), work, records)
                is_due = time.monotonic() > end
        self._end_late()
        if left:
            time.sleep(GIVE_WAY_SECONDS)

    def _attempt(
        self,
        part: T,
        work: Callable[[T, Records], Result],
        records: Records,
    ) -> None:
        begin = time.monotonic()
        try:
            result = self._with_room(part, work, records)
        except (Refusal, OSError) as error:
            records.rollback()
            refusal = refused(error)
            self.note_error(refusal)
            failed = Came(
                time.monotonic() - begin,
                refusal.status,
                refusal.message,
                "",
            )
            self._add_to_history(failed, [], records)
            return
        self._note(result)
        came = Came(
            seconds=time.monotonic() - begin,
            status=1 if result.failures else 0,
            said="\n".join(result.failures),
            changed=result.changed,
        )
        keys = [step.object.key for step in result.steps]
        self._add_to_history(came, keys, records)

    def _add_to_history(
        self,
        came: Came,
        keys: Iterable[str],
        records: Records,
    ) -> None:
        """Writes down what came of a part for each tunnel. If that fails, all else is done."""
        if self._is_dry_run:
            return
        try:
            tunnels = records.references.tunnels(keys)
            records.history.add(
                Entry(self._command, time.time()),
                came,
                tunnels,
            )
            records.commit()
        except DatabaseError:
            records.rollback()

    def _with_room(
        self,
        part: T,
        work: Callable[[T, Records], Result],
        records: Records,
    ) -> Result:
        try:
            return work(part, records)
        except DatabaseError as error:
            records.recover(error)
        adopt_lost(self._charon, records, self.kernel)
        return work(part, records)

    def begin(self) -> None:
        """Does what waits for the records. Raises RecordsError if they cannot be had."""
        if self._is_dry_run:
            for note in notes_of_waiting(self.kernel):
                self.note(note)
            return
        with self._turn.records(PATIENCE_SECONDS) as records:
            adopt_lost(self._charon, records, self.kernel)
        self._end_late()

    def _end_late(self) -> None:
        """Runs the users' commands of the late events, and notes what is said of them."""
        for ended in self._turn.ended:
            whole = with_command(ended)
            report = whole.report
            lines = event_lines(report.lines, report.error, whole.environ)
            self._late += comments(lines)
        self._turn.ended.clear()

    # What a part does

    def reconcile(
        self,
        keys: Iterable[str],
        records: Records,
    ) -> Result:
        """The kernel follows the records over these keys."""
        keys = list(keys)
        if self._is_dry_run:
            return self._rehearsed(keys, records)
        result = reconcile(keys, records, self.kernel)
        return _of_its_own(result, keys)

    def settle(
        self,
        change: Change,
        records: Records,
    ) -> Result:
        """The kernel follows a change.

        Raises Refusal, with all as it was before, if a step of its own is refused.
        """
        if not self._is_dry_run:
            result = settle(
                change,
                processes.BY_HAND,
                records,
                self.kernel,
            )
            if result.refused is not None:
                raise result.refused
            return _of_its_own(result, change.keys)
        keys = list(change.keys)
        for number in change.replaces:
            keys += records.references.end(number)
        return self._rehearsed(keys, records)

    def _rehearsed(
        self,
        keys: Iterable[str],
        records: Records,
    ) -> Result:
        """The steps that would be taken, as if each were, without those of the parts before."""
        with_lost = with_doubts(keys, records, self.kernel)
        found = steps_over(with_lost, records, self.kernel)
        steps = [step for step in found if step.object.key not in self._rehearsed_keys]
        self._rehearsed_keys |= {step.object.key for step in steps}
        records.commit()
        return nothing_failed(steps, ifnames_of(steps, records))

    # What is printed

    def note(self, text: str) -> None:
        self._notes[text] = None

    def note_error(self, error: Refusal) -> None:
        """Each is said once."""
        self._errors.setdefault(error.message, error)

    def _note(self, result: Result) -> None:
        self._commands += result.commands()
        for note in result.notes:
            self.note(note)
        for failure in result.failures:
            error = Refusal(failure, "run it again, as root", 1)
            self.note_error(error)

    def outcome(self, nothing: str) -> Outcome:
        """The commands that the steps stood for, or `nothing`; what to tell, and what failed."""
        lines = self._late + self._commands
        if not self._commands and not self._errors:
            lines.append(nothing)
        self.kernel.look_for_others()
        for note in self.kernel.left_alone():
            self.note(note)
        lines += comments(self._notes)
        return Outcome(lines, list(self._errors.values()))


def _of_its_own(result: Result, keys: Iterable[str]) -> Result:
    """Without what failed of other parts, which is said with those."""
    if result.failed.isdisjoint(keys):
        return result._replace(failures=[])
    return result


def nothing_failed(steps: Sequence[Step] = (), ifnames: dict[str, str] | None = None) -> Result:
    """A result with these steps."""
    return Result(
        list(steps),
        ifnames or {},
        notes=[],
        failures=[],
        refused=None,
        foreign=frozenset(),
    )


@contextmanager
def session(command: str, is_dry_run: bool) -> Iterator[Session]:
    """A session of this command, in which all is done that waited for the records.

    Raises Refusal if they cannot be had.
    """
    charon = processes.charon()
    with closing(Kernel()) as kernel:
        work = Session(kernel, charon, command, is_dry_run)
        work.begin()
        yield work
