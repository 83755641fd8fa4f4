"""The kinds of object: their order, how one is written down and read, and the commands of a step.

The one place to add one.
"""

import json
from collections.abc import Mapping
from shlex import quote
from typing import Any, cast

from ..named_tuple import NamedTuple
from .address import Address
from .link import Link
from .mss import MssClamp
from .object import Object, Placed
from .route import Route
from .rule import Rule
from .sysctl import Sysctl

PLACED: tuple[type[Placed], ...] = (Sysctl, Address, Route, Rule, MssClamp)
"""Each is put after what it stands on, and taken away before it."""
KINDS: tuple[type[Object], ...] = (Link, *PLACED)
_BY_NAME = {kind.__name__: kind for kind in KINDS}


class Step(NamedTuple):
    """One change of the kernel: from `old` (None: not there) to `new` (None: taken away).

    Both the same: put it back.
    """

    old: Object | None
    new: Object | None
    before: str | None = None
    """What was there before us, as `Applied` has it."""
    why: str = ""
    """Why the kernel must change, in words: see `difference`."""
    instead_of: Link | None = None
    """Ours that is taken away first, since the kernel cannot make `new` of it."""

    @property
    def object(self) -> Object:
        either = self.new or self.old
        assert either is not None
        return either

    @property
    def sign(self) -> str:
        """What it does to the object, in one character: put, take away or change."""
        if self.old is None:
            return "+"
        return "-" if self.new is None else "~"

    @property
    def changes_vrf(self) -> bool:
        """Whether it takes a link to another VRF, so that all that is on it is lost."""
        if not (isinstance(self.old, Link) and isinstance(self.new, Link)):
            return False
        return self.new.changes_vrf(self.old)


def rank(wish: Object) -> tuple[int, int]:
    """Where an object stands in the order of steps.

    Rules let packets out before they send others in.
    """
    return KINDS.index(type(wish)), wish.order


def field_names(kind: type[Object]) -> tuple[str, ...]:
    """The fields of the named tuple that a kind is."""
    names: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    return names


def write(wish: Object) -> str:
    """The object as a line of JSON: its fields in order behind its kind's name.

    Addresses are text.
    """
    fields = cast("tuple[Any, ...]", wish)
    return json.dumps([type(wish).__name__, *fields], default=str)


def read(text: str) -> Object:
    """The object that `write` wrote. Raises Unreadable if it is none."""
    try:
        return _read(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(text) from error


class Unreadable(Exception):
    """What is on record is no object that we know."""


def _read(text: str) -> Object:
    name, *values = json.loads(text)
    kind = _BY_NAME[name]
    fields = {}
    for field, value in zip(field_names(kind), values, strict=True):
        fields[field] = value
        parser = kind.PARSERS.get(field)
        if parser is not None and value is not None:
            fields[field] = parser(_text(value))
    wish = kind(**fields)
    if not wish.key:  # A link of a kind that we do not know raises KeyError here.
        raise ValueError("it has no key")
    return wish


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("an address is written down as text")
    return value


def commands(step: Step, ifnames: Mapping[str, str]) -> list[str]:
    """The `ip`, `sysctl` and `nft` commands that a step stands for, ready to paste.

    `ifnames` has each link's, by key.
    """
    changed = step.object
    ifname = ifnames.get(changed.link_key, "")
    made = _own_commands(step, ifname)
    netns = changed.netns
    first = []
    if step.instead_of is not None:
        for command in step.instead_of.removal_commands(step.instead_of.name):
            first.append(_within(netns, command))
    if netns and step.old is None and isinstance(changed, Link):
        # A link for another namespace is made here, where its outer packets go, and then moved.
        creation, *rest = made
        move = f"ip link set {quote(ifname)} netns {quote(netns)}"
        return [*first, creation, move, *(_within(netns, command) for command in rest)]
    return first + [_within(netns, command) for command in made]


def _own_commands(step: Step, ifname: str) -> list[str]:
    """The commands of a step, as they are in the namespace of its object."""
    if step.new is not None:
        new = step.new.with_undone(step.old, step.before)
        return new.commands(step.old, ifname)
    changed = step.object
    undone = changed.as_before(step.before)
    if undone is not None:
        return undone.commands(changed, ifname)
    return changed.removal_commands(ifname)


def _within(netns: str, command: str) -> str:
    if not netns:
        return command
    if command.startswith("ip "):
        return f"ip -n {quote(netns)} {command.removeprefix('ip ')}"
    return f"ip netns exec {quote(netns)} {command}"
