"""What came of a command for people."""

from collections.abc import Sequence

from ..named_tuple import NamedTuple
from ..text import Refusal


class Outcome(NamedTuple):
    """What a command prints."""

    lines: list[str]
    errors: Sequence[Refusal] = ()
    """Printed behind the lines."""
    status_of_lines: int = 0
    """2 if the lines are errors themselves."""

    @property
    def status(self) -> int:
        """The exit status: that of the worst error."""
        return max(self.status_of_lines, *(error.status for error in self.errors), 0)
