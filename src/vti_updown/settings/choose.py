"""The settings of one connection: the sections of the file that match the event, and the flags.

The module knows no records.
"""

from collections.abc import Iterable, Mapping

from ..addresses import IPAddress
from ..event import Event
from ..named_tuple import NamedTuple
from ..text import shown
from .conflicts import conflicts
from .file import Match, Section, SettingsFile, raise_error, read_sections, typed_values
from .table import (
    DEFAULT_FILE,
    FlagWords,
    Origin,
    Settings,
    SettingsError,
    Sourced,
    values_of_flags,
)
from .values import is_pattern


class Layer(NamedTuple):
    """What one place says of the settings: a table of the file, or the flags."""

    values: Sourced
    given: Mapping[str, object]
    """The same by key, as TOML or the command line have it."""


class Chosen(NamedTuple):
    """The settings of an event's connection, and what they were made of."""

    settings: Settings
    layers: list[Layer]
    """The strongest last."""

    def given(self, key: str) -> tuple[Origin, object] | None:
        """Where a setting is from, and what stands there. None if it is the default."""
        for layer in reversed(self.layers):
            if key in layer.values.value:
                return layer.values.origin, layer.given.get(key)
        return None


def settings_for(flags: FlagWords, event: Event) -> Settings:
    """The settings of an event's connection, from the flags and the file.

    Raises SettingsError for what cannot be.
    """
    return chosen_for(flags, event).settings


def chosen_for(flags: FlagWords, event: Event) -> Chosen:
    """The same, with what each of them is from."""
    from_flags = Sourced(values_of_flags(flags), Origin())
    file = chosen_file(flags)
    sections = read_sections(file, raise_error)
    if "settings" in flags:
        (name,) = flags["settings"]
        used = _named(name, sections, file)
    else:
        matching = [section for section in sections if _matches(section, event)]
        # Of equals, the one further down in the file stays the later one.
        used = sorted(matching, key=_specificity)
    layers = [Layer(_layer(section), section.given) for section in used]
    layers.append(Layer(from_flags, flags))
    most_specific = used[-1].name if used else ""
    settings = _settings([layer.values for layer in layers], most_specific)
    return Chosen(settings, layers)


def settings_by_name(flags: FlagWords) -> dict[str, Settings | SettingsError]:
    """The settings of each `[connection.NAME]` whose NAME is not a pattern, by NAME.

    They are its own and those of [default], without an event. Of the flags only `config` counts. A
    table with wrong values has its error in their place. Raises SettingsError for a file that
    cannot be read, and for what concerns all.
    """
    default: list[Sourced] = []
    settings: dict[str, Settings | SettingsError] = {}
    file = chosen_file(flags)
    for section in read_sections(file, raise_error):
        name = section.name
        if not name:
            default.append(_layer(section))
        elif not section.matches_by_pattern:
            try:
                layers = [*default, _layer(section)]
                settings[name] = _settings(layers, name)
            except SettingsError as error:
                settings[name] = error
    return settings


class SettingsOfNames:
    """The settings of connections of which no more is known than their name.

    [default] counts, and each table that matches by the connection alone.
    """

    def __init__(self, flags: FlagWords) -> None:
        """Reads the file. Raises SettingsError where it cannot be read."""
        self._layers: dict[int, Sourced] = {}
        """What was read of a section: it is asked for again and again."""
        self._exact: dict[str, list[Section]] = {}
        self._patterns: list[Section] = []
        for section in read_sections(chosen_file(flags), raise_error):
            wanted = section.matches.get("connection", "*")
            if not isinstance(wanted, str) or set(section.matches) - {"connection"}:
                continue
            if is_pattern(wanted):
                self._patterns.append(section)
            else:
                self._exact.setdefault(wanted, []).append(section)

    def names(self) -> list[str]:
        """Every connection that a table names."""
        return list(self._exact)

    def sourced(self, name: str, key: str) -> Sourced | None:
        """One setting of a connection, and where it is from. None if no table says anything of it.

        Raises SettingsError for a wrong value.
        """
        found = [each for each in self._patterns if _is_like(name, _wanted_name(each))]
        found += self._exact.get(name, [])
        found.sort(key=_specificity)
        return merged(map(self._layer, found)).get(key)

    def _layer(self, section: Section) -> Sourced:
        if id(section) not in self._layers:
            self._layers[id(section)] = _layer(section)
        return self._layers[id(section)]


def _wanted_name(section: Section) -> str:
    return str(section.matches.get("connection", "*"))


def chosen_file(flags: FlagWords) -> SettingsFile:
    if "config" in flags:
        (path,) = flags["config"]
        return SettingsFile(path, named=True)
    return SettingsFile(DEFAULT_FILE, named=False)


def merged(layers: Iterable[Sourced]) -> dict[str, Sourced]:
    """Layers of values by key, the strongest last, as one. Each value has its own origin."""
    values: dict[str, Sourced] = {}
    for layer in layers:
        for key, value in layer.value.items():
            values[key] = Sourced(value, layer.origin)
    return values


def _layer(section: Section) -> Sourced:
    return Sourced(typed_values(section, raise_error), section.origin)


def _settings(layers: Iterable[Sourced], section: str) -> Settings:
    values = merged(layers)
    for error in conflicts(values):
        raise error
    fields = {key: sourced.value for key, sourced in values.items()}
    return Settings(**fields, section=section)


def _named(name: str, sections: list[Section], file: SettingsFile) -> list[Section]:
    """The section that `--settings` names, behind [default]."""
    for section in sections:
        if section.name == name:
            return [sections[0], section]
    what = f"--settings {shown(name)}: {file.shown} has no such table"
    raise SettingsError(what, "vti-updown check-config lists them")


# Which sections match an event


def _matches(section: Section, event: Event) -> bool:
    return all(_has(event, key, wanted) for key, wanted in section.matches.items())


def _has(event: Event, key: str, wanted: Match) -> bool:
    actual: str | IPAddress | None = getattr(event, key)
    if not actual:
        # If the event lacks a value, not even the pattern * matches.
        return False
    if not isinstance(wanted, str):
        return actual in wanted
    return _is_like(str(actual), wanted)


def _is_like(actual: str, wanted: str) -> bool:
    if not is_pattern(wanted):
        return actual == wanted
    from fnmatch import fnmatchcase

    return fnmatchcase(actual, wanted)


# How well they match


class _Specificity(NamedTuple):
    """How narrowly a section matches. What comes first counts most."""

    keys: int
    """How many keys must match."""
    exact: int
    """How many of them match one value only."""
    literal_characters: int
    prefix: int


def _specificity(section: Section) -> _Specificity:
    exact = literal_characters = prefix = 0
    for wanted in section.matches.values():
        if isinstance(wanted, str):
            exact += not is_pattern(wanted)
            literal_characters += _literals(wanted)
        else:
            exact += wanted.num_addresses == 1
            prefix += wanted.prefixlen
    return _Specificity(len(section.matches), exact, literal_characters, prefix)


def _literals(pattern: str) -> int:
    """How many characters of a pattern stand for themselves."""
    count = 0
    rest = pattern
    while rest:
        set_length = _length_of_set(rest)
        if set_length:
            rest = rest[set_length:]
            continue
        if rest[0] not in "*?":
            count += 1
        rest = rest[1:]
    return count


def _length_of_set(pattern: str) -> int:
    """The length of the set of characters that begins the pattern, such as `[a-z]`; 0: none."""
    if not pattern.startswith("["):
        return 0
    # A bracket that comes first within the set is a character of the set.
    first = 3 if pattern.startswith("[!") else 2
    return pattern.find("]", first) + 1
