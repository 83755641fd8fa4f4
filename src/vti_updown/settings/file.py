"""The file of settings: who may have written it, its tables, and what their values are.

What is found wrong is given to a function, `report`. An event's raises it, and check-config
collects it. A table of the file is called a section here, since routing has tables, too. The module
knows no event.
"""

import os
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any, NoReturn

from ..addresses import IPNetwork, network
from ..named_tuple import NamedTuple
from ..text import shown
from . import values
from .table import KEYS, Flag, Origin, SettingsError
from .values import InvalidValue, is_pattern

PATH_CHARACTERS = 40
"""As much of the file's path as a message shows."""
LONGEST_PATH = 1 << 16
FILE_BYTES = 1 << 20
"""More than 5,000 connections need."""
MATCH_EXAMPLES = {
    "connection": "rw-*",
    "peer": "203.0.113.0/24",
    "peer_id": "*@example.org",
    "xauth_id": "alice",
}
MATCHES = tuple(MATCH_EXAMPLES)
"""The keys of a section that say what it matches."""

Match = str | IPNetwork
"""A text, a pattern or, for the peer, a subnet."""
Report = Callable[[SettingsError], object]
"""What is done with something that is wrong."""


def raise_error(error: SettingsError) -> NoReturn:
    raise error


class SettingsFile(NamedTuple):
    path: str
    named: bool
    """Whether the user named it, so that it must exist."""

    @property
    def shown(self) -> str:
        """Its path in a message. The end of a long one tells more."""
        text = shown(self.path, LONGEST_PATH)
        if len(text) <= PATH_CHARACTERS:
            return text
        end = text[1 - PATH_CHARACTERS :]
        return f"…{end}"


class Section(NamedTuple):
    """One table of the file. Its values are not typed yet."""

    origin: Origin
    name: str
    """The NAME of `[connection.NAME]`. It is empty for `[default]`."""
    given: Mapping[str, object]
    """The settings, by key, as TOML made them."""
    matches: Mapping[str, Match] = {}
    """What an event must have, all of it. It is empty for `[default]`."""
    matches_by_pattern: bool = False
    """Whether its NAME is what it matches, and may be of many connections."""


def read_sections(file: SettingsFile, report: Report) -> list[Section]:
    """The sections of the file, [default] first. There are none where there is no file."""
    data = contents(file)
    if data is None:
        return []
    path = file.shown
    return _Reader(path, report).sections(document(path, data))


# Its bytes


def contents(file: SettingsFile) -> bytes | None:
    """The bytes of the file, or None where there is none and none need be.

    Raises SettingsError where somebody else can write to it than root and the user that this runs
    as.
    """
    path = file.shown
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        handle = os.open(file.path, flags)
    except FileNotFoundError:
        if not file.named:
            return None
        hint = "name a file that is, or leave --config out"
        raise SettingsError(f"{path} is not there", hint) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    try:
        _check_writers(handle, path)
        return _read(handle, path)
    except OSError as error:
        raise _unreadable(path, error) from None
    finally:
        os.close(handle)


def _unreadable(path: str, error: Exception) -> SettingsError:
    reason = getattr(error, "strerror", None) or error
    what = f"{path} cannot be read: {shown(reason)}"
    return SettingsError(what, "correct its path or its mode")


def _check_writers(handle: int, path: str) -> None:
    import stat

    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise SettingsError(f"{path} is no regular file", "put the settings into one")
    if status.st_uid not in (0, os.geteuid()):
        what = f"{path} belongs to user {status.st_uid}, who could change it"
        raise SettingsError(what, "give it to root: chown root")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        what = f"{path} can be written by its group or by others"
        raise SettingsError(what, "take that away: chmod go-w")


def _read(handle: int, path: str) -> bytes:
    data = b""
    while len(data) <= FILE_BYTES:
        piece = os.read(handle, FILE_BYTES)
        if not piece:
            return data
        data += piece
    what = f"{path} is longer than {FILE_BYTES} bytes"
    raise SettingsError(what, "make it shorter, by patterns and [default]")


def document(path: str, data: bytes) -> dict[str, Any]:
    """The file's TOML. Raises SettingsError with the line and the column of what is not TOML."""
    import tomllib

    hint = "correct it there"
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        lines_before = data.count(b"\n", 0, error.start)
        what = f"{path} line {lines_before + 1} is not UTF-8"
        raise SettingsError(what, hint) from None
    except tomllib.TOMLDecodeError as error:
        # Python's message is such as: Invalid value (at line 1, column 5)
        message = str(error).removesuffix(")")
        problem, _, where = message.rpartition(" (at ")
        what = f"{path} {where}: {shown(problem, 100)}"
        raise SettingsError(what, hint) from None
    except (ValueError, RecursionError):
        what = f"{path} has a number too long, or tables too deep"
        raise SettingsError(what, hint) from None


# Its sections


class _Reader:
    """Makes sections of a document, and reports what is wrong with it."""

    def __init__(self, path: str, report: Report) -> None:
        self.path = path
        self.report = report

    def sections(self, document: Mapping[str, object]) -> list[Section]:
        """The sections, [default] first.

        All of their keys are looked at, but only the values of the matches.
        """
        for key, value in document.items():
            if key not in ("default", "connection"):
                self.report(self._unknown_heading(key, value))
        read = [self._default(document.get("default", {}))]
        connections = document.get("connection", {})
        for name, value in self._connections(connections).items():
            if name:
                read.append(self._connection(name, value))
        return read

    def _unknown_heading(self, key: str, value: object) -> SettingsError:
        place = f"{shown(key, 20)} outside of a table"
        if isinstance(value, dict):
            place = f"[{_quoted(key)}]"
        what = f"{self.path} {place} is unknown"
        return SettingsError(what, "write it under [default] or [connection.NAME]")

    def _connections(self, connections: object) -> dict[str, object]:
        hint = "write [connection.NAME]"
        if not isinstance(connections, dict):
            self.report(SettingsError(f"{self.path} connection is no table", hint))
            return {}
        if "" in connections:
            self.report(SettingsError(f'{self.path} [connection.""] has no name', hint))
        return connections

    def _default(self, value: object) -> Section:
        origin = Origin(self.path, "[default]")
        table = self._table(origin, value)
        for key in table:
            if key not in KEYS:
                self.report(_unknown_key(origin, key, [*KEYS]))
        return Section(origin, "", _settings_in(table))

    def _connection(self, name: str, value: object) -> Section:
        origin = Origin(self.path, f"[connection.{_quoted(name)}]")
        table = self._table(origin, value)
        known = [*KEYS, *MATCHES]
        for key, inner in table.items():
            if key in known:
                continue
            error = _unknown_key(origin, key, known)
            if isinstance(inner, dict):
                error.hint = 'quote a name with a dot in it: [connection."A.B"]'
            self.report(error)
        section = Section(origin, name, _settings_in(table))
        matches = self._matches(origin, table)
        if matches:
            return section._replace(matches=matches)
        by_name = {"connection": name}
        return section._replace(matches=by_name, matches_by_pattern=is_pattern(name))

    def _table(self, origin: Origin, value: object) -> dict[str, object]:
        if isinstance(value, dict):
            return value
        heading = origin.table.strip("[]")
        hint = "write it in brackets: [connection.NAME] or [default]"
        self.report(SettingsError(f"{self.path} {heading} is no table", hint))
        return {}

    def _matches(self, origin: Origin, table: Mapping[str, object]) -> dict[str, Match]:
        matches: dict[str, Match] = {}
        for key, example in MATCH_EXAMPLES.items():
            if key not in table:
                continue
            try:
                matches[key] = _match(key, table[key])
            except InvalidValue as invalid:
                self.report(_error(origin, key, invalid, example))
        return matches


def _settings_in(table: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in table.items() if key in KEYS}


def _unknown_key(origin: Origin, key: str, known: list[str]) -> SettingsError:
    place = origin.named(shown(key, 20))
    hint = "vti-updown --help lists what there is"
    if key in MATCHES:
        hint = "what is matched stands in [connection.NAME]"
    else:
        import difflib

        underscored = key.replace("-", "_")
        for similar in difflib.get_close_matches(underscored, known, 1):
            hint = f"write {similar}"
    return SettingsError(f"{place} is unknown", hint)


def _quoted(name: str) -> str:
    """A part of a table's heading as the file has it. It is cut where it is long."""
    letters = name.replace("-", "").replace("_", "")
    if letters.isascii() and letters.isalnum():
        return shown(name, values.VALUE_CHARACTERS)
    return values.as_toml(name)


# Its values


def _match(key: str, value: object) -> Match:
    text = values.text(value)
    if key != "peer":
        return text
    try:
        if "/" in text:
            return network(text)
        # One address is a subnet of its own.
        return ip_network(values.one_address(text))
    except (ValueError, InvalidValue):
        raise InvalidValue(value, " is no address or subnet") from None


def typed_values(section: Section, report: Report) -> dict[str, Any]:
    """The settings of a section, typed, by key."""
    typed: dict[str, Any] = {}
    for key, value in section.given.items():
        flag = KEYS[key]
        try:
            typed[key] = flag.typed(value)
        except InvalidValue as first:
            for invalid in _invalid_parts(flag, value) or [first]:
                report(_error(section.origin, key, invalid, flag.example))
    return typed


def _invalid_parts(flag: Flag, value: object) -> list[InvalidValue]:
    """What is wrong with each part of a list or a table, taken by itself."""
    if not flag.many:
        return []
    parts: list[object] = []
    if isinstance(value, list):
        parts = [[item] for item in value]
    if isinstance(value, dict):
        parts = [{key: item} for key, item in value.items()]
    wrong: list[InvalidValue] = []
    for part in parts:
        try:
            flag.typed(part)
        except InvalidValue as invalid:
            wrong.append(invalid)
    return wrong


def _error(origin: Origin, key: str, invalid: InvalidValue, example: object) -> SettingsError:
    place = origin.named(key)
    if invalid.part:
        place = f"{place}.{invalid.part}"
    value = values.as_toml(invalid.value)
    message = f"{place} = {value}{invalid.problem}"
    right = f"{key} = {values.as_toml(example)}"
    return SettingsError(message, invalid.hint or f"write {right}")
