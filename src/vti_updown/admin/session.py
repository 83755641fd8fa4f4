"""What a command for people works with: the kernel and the records.

A dry run works with a copy of the records.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

from ..hook import caller as callers
from ..hook.begin import Change
from ..hook.run import adopt_lost, settle
from ..kernel.kernel import Kernel
from ..objects.registry import commands
from ..output import comments
from ..reconcile.reconcile import Result, ifnames_of, reconcile, steps_over, with_doubts
from ..records.records import Records, opened, snapshot
from ..text import Refusal


class Session:
    """The kernel and the records of one command.

    In a dry run the steps are found, and not taken.
    """

    def __init__(
        self,
        kernel: Kernel,
        records: Records,
        is_dry_run: bool,
    ) -> None:
        self.kernel = kernel
        self.records = records
        self._is_dry_run = is_dry_run

    def reconcile(self, keys: Iterable[str]) -> Result:
        """The kernel follows the records over these keys."""
        if self._is_dry_run:
            return self._rehearsed(keys)
        result = reconcile(keys, self.records, self.kernel)
        return self._with_others(result)

    def settle(self, change: Change) -> Result:
        """The kernel follows a change.

        Raises Refusal, with all as it was before, if a step of its own is refused.
        """
        if not self._is_dry_run:
            result = settle(
                change,
                callers.BY_HAND,
                self.records,
                self.kernel,
            )
            return self._with_others(result)
        references = self.records.references
        keys = list(change.keys)
        for number in change.replaces:
            keys += references.end(number)
        return self._rehearsed(keys)

    def _rehearsed(self, keys: Iterable[str]) -> Result:
        """The steps that would be taken, as if each were."""
        with_lost = with_doubts(keys, self.records, self.kernel)
        steps = steps_over(with_lost, self.records)
        result = Result(
            steps,
            ifnames_of(steps, self.records),
            notes=[],
            failures=[],
            refused=None,
            foreign=frozenset(),
        )
        return self._with_others(result)

    def _with_others(self, result: Result) -> Result:
        """With what is said of links of another vti-updown, which no command changes."""
        self.kernel.look_for_others()
        return result._replace(notes=result.notes + self.kernel.left_alone())


@contextmanager
def session(is_dry_run: bool) -> Iterator[Session]:
    """A session with the records locked, and made anew if they were lost.

    Raises Refusal if they cannot be had.
    """
    with closing(Kernel()) as kernel, _records(kernel, is_dry_run) as records:
        charon = callers.charon()
        adopt_lost(charon, records, kernel)
        yield Session(kernel, records, is_dry_run)


def _records(kernel: Kernel, is_dry_run: bool) -> AbstractContextManager[Records]:
    namespace = kernel.identity()
    if not is_dry_run:
        return opened(namespace)
    copy = snapshot(namespace)
    return closing(copy)


def printed(result: Result, nothing: str) -> list[str]:
    """The commands that the steps stood for, or `nothing`.

    Raises Refusal if something could not be done.
    """
    _refuse_if_failed(result)
    lines: list[str] = []
    for step in result.steps:
        key = step.object.key
        if key not in result.foreign:
            lines += commands(step, result.ifnames)
    if not lines:
        lines = [nothing]
    return lines + comments(result.notes)


def _refuse_if_failed(result: Result) -> None:
    if not result.failures:
        return
    what, *others = result.failures
    if others:
        what = f"{what} (and {len(others)} more)"
    raise Refusal(what, "run it again, as root", 1)
