"""The file of settings: who may have written it, its tables, and what their values are. It knows no event and no flags.

What is found wrong is given to a function, `wrong`: an event's raises it, `vti-updown check-config` collects it.
"""

import os
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any, NamedTuple, NoReturn

from . import values
from .clashes import Place
from .event import IPNetwork, network
from .settings import KEYS, SettingsError
from .text import shown
from .values import Fault, is_pattern

PATH_CHARACTERS = 40
"""As much of the file's path as a message shows."""
FILE_BYTES = 1 << 20
"""More than 5,000 connections need."""
MATCHES = ("connection", "peer", "peer_id", "xauth_id")
"""The keys of a table that say what it matches."""

Wrong = Callable[[SettingsError], object]


def raised(error: SettingsError) -> NoReturn:
    raise error


class File(NamedTuple):
    path: str
    named: bool
    """Whether the user named it, so that it must exist."""

    @property
    def shown(self) -> str:
        """Its path in a message; of a long one the end, which tells more."""
        text = shown(self.path, 1 << 16)
        return text if len(text) <= PATH_CHARACTERS else f"…{text[1 - PATH_CHARACTERS :]}"


class Table(NamedTuple):
    """One table of the file, its values not parsed yet."""

    place: Place
    name: str
    """The NAME of `[connection.NAME]`; empty for `[default]`."""
    matches: Mapping[str, str | IPNetwork]
    """What an event must have, all of it; empty for `[default]`."""
    pattern: bool
    """Whether its NAME is what it matches, and may be of many connections."""
    given: Mapping[str, object]
    """The settings, by key, as TOML made them."""


def read(file: File, wrong: Wrong) -> list[Table]:
    """The tables of the file, [default] first; none where there is no file."""
    data = contents(file)
    return [] if data is None else tables(file.shown, document(file.shown, data), wrong)


def contents(file: File) -> bytes | None:
    """The bytes of the file; None where there is none and none need be.

    Raises SettingsError where somebody else than root, or the user that this runs as, can write to it.
    """
    path = file.shown
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        handle = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        if not file.named:
            return None
        raise SettingsError(f"{path} is not there", "name a file that is, or leave --config out") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {_reason(error)}", "correct its path or its mode") from None
    try:
        return _read(handle, path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {_reason(error)}", "correct its path or its mode") from None
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    return shown(getattr(error, "strerror", None) or error)


def _read(handle: int, path: str) -> bytes:
    import stat

    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise SettingsError(f"{path} is no regular file", "put the settings into one")
    if status.st_uid not in (0, os.geteuid()):
        raise SettingsError(f"{path} belongs to user {status.st_uid}, who could change it", "give it to root: chown root")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingsError(f"{path} can be written by its group or by others", "take that away: chmod go-w")
    data = b""
    while len(data) <= FILE_BYTES and (piece := os.read(handle, FILE_BYTES)):
        data += piece
    if len(data) > FILE_BYTES:
        raise SettingsError(f"{path} is longer than {FILE_BYTES} bytes", "make it shorter, by patterns and [default]")
    return data


def document(path: str, data: bytes) -> dict[str, Any]:
    """The file's TOML. Raises SettingsError with the line and the column of what is none."""
    import tomllib

    hint = "correct it there"
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path} line {line} is not UTF-8", hint) from None
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).removesuffix(")").rpartition(" (at ")
        raise SettingsError(f"{path} {where}: {shown(what, 50)}", hint) from None
    except (ValueError, RecursionError):
        raise SettingsError(f"{path} has a number too long, or tables too deep", hint) from None


# Its tables.


def tables(path: str, found: Mapping[str, Any], wrong: Wrong) -> list[Table]:
    """The tables of a document, [default] first. All of their keys are looked at, but only the matches' values."""
    for key, value in found.items():
        if key not in ("default", "connection"):
            section = f"[{_quoted(key)}]" if isinstance(value, dict) else f"{shown(key, 20)} outside of a table"
            wrong(SettingsError(f"{path} {section} is unknown", "write it under [default] or [connection.NAME]"))
    made = [_table(path, "", found.get("default", {}), wrong)]
    connections = found.get("connection", {})
    if not isinstance(connections, dict):
        wrong(SettingsError(f"{path} connection is no table", "write [connection.NAME]"))
        return made
    if "" in connections:
        wrong(SettingsError(f'{path} [connection.""] has no name', "write [connection.NAME]"))
    return made + [_table(path, name, value, wrong) for name, value in connections.items() if name]


def _table(path: str, name: str, found: object, wrong: Wrong) -> Table:
    place = Place(path, f"[connection.{_quoted(name)}]" if name else "[default]")
    if not isinstance(found, dict):
        wrong(SettingsError(f"{path} {place.table[1:-1]} is no table", "write it in brackets: [connection.NAME] or [default]"))
        found = {}
    for key, value in found.items():
        if key not in KEYS and not (name and key in MATCHES):
            wrong(_unknown(place, name, key, value))
    matches = {} if not name else _matches(place, found, wrong)
    given = {key: value for key, value in found.items() if key in KEYS}
    by_name = {"connection": name} if name else {}
    return Table(place, name, matches or by_name, not matches and is_pattern(name), given)


def _unknown(place: Place, name: str, key: str, value: object) -> SettingsError:
    message = f"{place.file} {place.table} {shown(key, 20)} is unknown"
    if isinstance(value, dict) and name:
        return SettingsError(message, 'quote a name with a dot in it: [connection."A.B"]')
    if key in MATCHES:
        return SettingsError(message, "what is matched stands in [connection.NAME]")
    import difflib

    likely = difflib.get_close_matches(key.replace("-", "_"), [*KEYS, *(MATCHES if name else ())], 1)
    return SettingsError(message, f"write {likely[0]}" if likely else "vti-updown --help lists what there is")


def _quoted(name: str) -> str:
    """A part of a table's name as the file has it; cut where it is long."""
    bare = bool(name) and name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return shown(name, values.VALUE_CHARACTERS) if bare else values.toml(name)


def _matches(place: Place, found: Mapping[str, object], wrong: Wrong) -> dict[str, str | IPNetwork]:
    made: dict[str, str | IPNetwork] = {}
    for key in MATCHES:
        if key in found:
            try:
                made[key] = _peer(found[key]) if key == "peer" else values.text(found[key])
            except Fault as fault:
                wrong(_in_table(place, key, fault, EXAMPLES[key]))
    return made


EXAMPLES = {"connection": "rw-*", "peer": "203.0.113.0/24", "peer_id": "*@example.org", "xauth_id": "alice"}


def _peer(value: object) -> IPNetwork:
    """A subnet, or one address as the subnet of it alone."""
    text = values.text(value)
    try:
        return network(text) if "/" in text else ip_network(values.one_address(text))
    except (ValueError, Fault):
        raise Fault(value, " is no address or subnet") from None


def _in_table(place: Place, key: str, fault: Fault, example: object) -> SettingsError:
    part = f".{fault.part}" if fault.part else ""
    message = f"{place.file} {place.table} {key}{part} = {values.toml(fault.value)}{fault.what}"
    return SettingsError(message, fault.hint or f"write {key} = {values.toml(example)}")


def typed(one: Table, wrong: Wrong) -> dict[str, Any]:
    """The settings of a table, typed, by key."""
    made: dict[str, Any] = {}
    for key, value in one.given.items():
        flag = KEYS[key]
        assert flag.parse is not None
        try:
            made[key] = flag.parse(value)
        except Fault as fault:
            for each in (_faults(flag.parse, value) if flag.many else []) or [fault]:
                wrong(_in_table(one.place, key, each, flag.example))
    return made


def _faults(parse: values.Parse[object], value: object) -> list[Fault]:
    """What is wrong with each part of a list or a table."""
    parts: list[object] = []
    if isinstance(value, list):
        parts = [[one] for one in value]
    elif isinstance(value, dict):
        parts = [{key: one} for key, one in value.items()]
    return [fault for part in parts if (fault := _fault(parse, part)) is not None]


def _fault(parse: values.Parse[object], value: object) -> Fault | None:
    try:
        parse(value)
    except Fault as fault:
        return fault
    return None
