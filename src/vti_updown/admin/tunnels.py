"""Which references are one tunnel, for commands that go from one tunnel to the next."""

from collections.abc import Iterable

from ..objects.link import Link
from ..records.references import References


def tunnels(numbers: Iterable[int], references: References) -> dict[str, list[int]]:
    """These references by the link that they wish for.

    One that wishes for none is by itself.
    """
    together: dict[str, list[int]] = {}
    for number in numbers:
        where = _link_of(number, references) or f"reference {number}"
        together.setdefault(where, []).append(number)
    return together


def _link_of(number: int, references: References) -> str:
    """The key of the first link that a reference wishes for. Empty if it wishes for none."""
    for wish in references.wishes(number):
        if isinstance(wish, Link):
            return wish.key
    return ""
