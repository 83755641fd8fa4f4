"""The settings of one connection: the tables of the file that match the event, and the flags. It knows no records."""

from collections.abc import Iterable, Mapping, Sequence

from .clashes import Given, Place, impossible
from .event import Event, IPAddress, IPNetwork
from .settings import FILE, Settings, SettingsError, of_flags
from .settings_file import File, Table, raised, read, typed
from .text import shown
from .values import is_pattern


def settings_for(found: Mapping[str, Sequence[str]], event: Event) -> Settings:
    """The settings of an event's connection: what `flags` found, and the file. Raises SettingsError for what cannot be."""
    of_the_flags = Given(of_flags(found), Place())
    file = file_of(found)
    tables = read(file, raised)
    if "settings" in found:
        used = _named(found["settings"][0], tables, file)
    else:
        used = sorted((one for one in tables if _fits(one, event)), key=_rank)  # stable: of equals, the file's last is the last
    layers = [Given(typed(one, raised), one.place) for one in used]
    return _settings([*layers, of_the_flags], used[-1].name if used else "")


def held(found: Mapping[str, Sequence[str]]) -> dict[str, Settings]:
    """The settings of each `[connection.NAME]` whose NAME is no pattern, by NAME: its own and [default]'s, without an event.

    Of the flags only `config` counts. Raises SettingsError for what cannot be.
    """
    tables = read(file_of(found), raised)
    default = [Given(typed(one, raised), one.place) for one in tables if not one.name]
    return {
        one.name: _settings([*default, Given(typed(one, raised), one.place)], one.name)
        for one in tables
        if one.name and not one.pattern
    }


def file_of(found: Mapping[str, Sequence[str]]) -> File:
    return File(found["config"][0], True) if "config" in found else File(FILE, False)


def merged(layers: Iterable[Given]) -> dict[str, Given]:
    """Layers of values by key, the strongest last, as one; each value with the place that it is from."""
    return {key: Given(value, layer.place) for layer in layers for key, value in layer.value.items()}


def _settings(layers: Iterable[Given], section: str) -> Settings:
    given = merged(layers)
    for error in impossible(given):
        raise error
    return Settings(**{key: one.value for key, one in given.items()}, section=section)


def _named(name: str, tables: Iterable[Table], file: File) -> list[Table]:
    """The table that `--settings` names, behind [default]."""
    used = [one for one in tables if one.name in ("", name)]
    if not any(one.name for one in used):
        raise SettingsError(f"--settings {shown(name)}: {file.shown} has no such table", "vti-updown check-config lists them")
    return used


# Which tables match an event, and how well.


def _fits(one: Table, event: Event) -> bool:
    return all(_has(event, key, wanted) for key, wanted in one.matches.items())


def _has(event: Event, key: str, wanted: str | IPNetwork) -> bool:
    found: str | IPAddress | None = getattr(event, key)
    if not found:
        return False  # no pattern matches what is not there
    if not isinstance(wanted, str):
        return found in wanted
    if not is_pattern(wanted):
        return found == wanted
    from fnmatch import fnmatchcase

    return fnmatchcase(str(found), wanted)


def _rank(one: Table) -> tuple[int, int, int, int]:
    """More matches, then more of them exact, then more literal characters, then a longer prefix."""
    texts = [wanted for wanted in one.matches.values() if isinstance(wanted, str)]
    nets = [wanted for wanted in one.matches.values() if not isinstance(wanted, str)]
    exact = sum(not is_pattern(text) for text in texts) + sum(net.num_addresses == 1 for net in nets)
    return len(one.matches), exact, sum(map(_literals, texts)), sum(net.prefixlen for net in nets)


def _literals(pattern: str) -> int:
    """How many characters of a pattern stand for themselves."""
    if not is_pattern(pattern):
        return len(pattern)
    count, rest = 0, pattern
    while rest:
        closing = rest.find("]", 3 if rest.startswith("[!") else 2) if rest[0] == "[" else -1
        count += rest[0] not in "*?" and closing < 0
        rest = rest[closing + 1 if closing > 0 else 1 :]
    return count
