"""The flags of a connection's updown line, as strongSwan's own files have them.

charon tells nobody what it calls as its hook. Where its files do not tell, that is said, and
nothing is guessed.
"""

from collections.abc import Iterable, Sequence

from ..named_tuple import NamedTuple
from ..settings.table import FlagWords, SettingsError, read_flags
from ..text import shown
from .charon_files import ConfiguredChild

UNKNOWN = "the flags of the updown line are not known; give them to explain as well"
WHERE = ("config",)
"""What says only where the settings are. With it alone, the updown line is read all the same."""


class Flags(NamedTuple):
    """The flags of a connection's updown line."""

    flags: FlagWords
    notes: Sequence[str]
    """Where they are from, or why they are not known."""


def with_updown_line(
    given: FlagWords,
    connection: str,
    children: Iterable[ConfiguredChild],
) -> Flags:
    """The flags that were given or, without any, those of the updown line of a connection.

    `children` is what charon's files say of all connections.
    """
    if set(given) - set(WHERE):
        return Flags(given, [])
    found = [child for child in children if child.name == connection and child.updown]
    if not found:
        what = f"strongSwan's files have no updown line of {shown(connection)}"
        return Flags(given, [f"{what}; {UNKNOWN}"])
    read = _flags_of(found)
    return Flags({**read.flags, **given}, read.notes)


def _flags_of(found: Sequence[ConfiguredChild]) -> Flags:
    lines = {child.updown for child in found}
    if len(lines) > 1:
        places = " and ".join(shown(child.where, 80) for child in found)
        return Flags({}, [f"{places} have different updown lines; {UNKNOWN}"])
    return _flags(found[0])


def _flags(child: ConfiguredChild) -> Flags:
    """The words behind our program's name."""
    place = shown(child.where, 80)
    words = child.words_of_hook
    if words is None:
        what = f"{place} calls another program: {shown(child.updown, 60)}"
        return Flags({}, [f"{what}; {UNKNOWN}"])
    try:
        flags = read_flags(words)
    except SettingsError as error:
        return Flags({}, [f"{place}: {error.message}; {error.hint}"])
    return Flags(flags, [f"the flags are those of {place}"])
