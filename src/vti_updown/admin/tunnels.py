"""What goes together, for commands that go from one tunnel to the next."""

from collections.abc import Iterable

from ..records.references import References


class Together:
    """Names that are joined, directly or by others. It is a disjoint-set forest."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def group(self, name: str) -> str:
        """The name that stands for all that this one is joined with."""
        above = self._above.setdefault(name, name)
        while above != name:
            self._above[name] = self._above[above]
            name = above
            above = self._above[name]
        return name

    def join(self, one: str, other: str) -> str:
        """Joins two names, and returns the one that stands for them."""
        group = self.group(other)
        self._above[self.group(one)] = group
        return group


def tunnels(numbers: Iterable[int], references: References) -> list[list[int]]:
    """These references, each with those that wish for a key that it wishes for.

    Such a key may be of a link that they share, or of a network that either has a route to.
    """
    together = Together()
    numbers = list(numbers)
    for number in numbers:
        join_wishes(number, references, together)
    groups: dict[str, list[int]] = {}
    for number in numbers:
        group = together.group(_name(number))
        groups.setdefault(group, []).append(number)
    return list(groups.values())


def join_wishes(
    number: int,
    references: References,
    together: Together,
) -> str:
    """Joins a reference with all keys that it wishes for. Returns the name that stands for it."""
    name = _name(number)
    for wish in references.wishes(number):
        together.join(name, wish.key)
    return together.group(name)


def _name(number: int) -> str:
    """No key is like it."""
    return f"reference {number}"
