"""What `vti-updown check-config` says of the file of settings: every fault of it, or what each of its tables matches."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from .clashes import Given, impossible
from .cli import error_line
from .configuration import merged
from .settings import SettingsError
from .settings_file import File, Table, read, typed
from .text import line, shown


class Checked(NamedTuple):
    lines: list[str]
    status: int


def check(file: File) -> Checked:
    """Reads the whole file: status 2 and a line for each fault, else 0 and a line for each table."""
    faults: list[SettingsError] = []
    tables: list[Table] = []
    try:
        tables = read(file, faults.append)
    except SettingsError as error:
        faults.append(error)
    faults += _of_values(tables)
    if faults:
        return Checked(list(dict.fromkeys(error_line(fault, {}) for fault in faults)), 2)
    if not tables:
        return Checked([f"{file.shown} is not there, so the defaults hold"], 0)
    connections = sum(bool(one.name) for one in tables)
    count = f"{connections} connection{'' if connections == 1 else 's'}"
    return Checked([*map(_matched, filter(_there, tables)), *_outdone(tables), f"{file.shown}: {count}, no faults"], 0)


def _of_values(tables: list[Table]) -> Iterator[SettingsError]:
    """What is wrong with the values of each table, alone and together with [default]'s."""
    faults: list[SettingsError] = []
    layers = [(one, Given(typed(one, faults.append), one.place)) for one in tables]
    yield from faults
    default = [layer for one, layer in layers if not one.name]
    for one, layer in layers:
        yield from impossible(merged([*default, layer] if one.name else default))


def _there(one: Table) -> bool:
    return bool(one.name or one.given)


def _matched(one: Table) -> str:
    if not one.name:
        return f"{one.place.table}: every connection"
    return line(f"{one.place.table}: " + ", ".join(f"{key} {shown(wanted)}" for key, wanted in one.matches.items()))


def _outdone(tables: Iterable[Table]) -> Iterator[str]:
    """Of tables that match the same, the later has its say."""
    alike: dict[tuple[tuple[str, object], ...], list[Table]] = {}
    for one in tables:
        alike.setdefault(tuple(one.matches.items()), []).append(one)
    for each in alike.values():
        for one, other in pairwise(each):
            message = f"warning: {one.place.file} {one.place.table} matches the same as {other.place.table} behind it"
            yield line(message, "; the later wins")
