"""What `vti-updown check-config` says of the file of settings.

It is every fault of the file, or what each of its sections matches.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

from ..named_tuple import NamedTuple
from ..output import error_lines
from ..settings.choose import merged
from ..settings.conflicts import conflicts
from ..settings.file import Section, SettingsFile, read_sections, typed_values
from ..settings.table import SettingsError, Sourced
from ..text import said, shown


class Checked(NamedTuple):
    lines: list[str]
    status: int


class _Typed(NamedTuple):
    """A section with its values as the settings have them."""

    section: Section
    values: Sourced


def check(file: SettingsFile) -> Checked:
    """Reads the whole file.

    The status is 2 with a line for each fault, else 0 with a line for each table.
    """
    faults: list[SettingsError] = []
    sections: list[Section] = []
    try:
        sections = read_sections(file, faults.append)
    except SettingsError as error:
        faults.append(error)
    faults += _of_values(sections)
    if faults:
        return Checked(_said_of(faults), 2)
    if not sections:
        absent = f"{file.shown} is not there, so the defaults hold"
        return Checked(said("", absent), 0)
    lines: list[str] = []
    for section in sections:
        if _is_written(section):
            lines += said("", _matched(section))
    lines += _outdone(sections)
    lines += _never_expected(sections)
    lines += said("", _summary(file, sections))
    return Checked(lines, 0)


def _said_of(faults: Iterable[SettingsError]) -> list[str]:
    """The lines of each fault, once if several tables have the same."""
    different: dict[tuple[str, ...], None] = {}
    for fault in faults:
        message = error_lines(fault, {})
        different[tuple(message)] = None
    return list(chain.from_iterable(different))


def _summary(file: SettingsFile, sections: list[Section]) -> str:
    named = [section for section in sections if section.name]
    number = len(named)
    plural = "s"
    if number == 1:
        plural = ""
    return f"{file.shown}: {number} connection{plural}, no faults"


def _of_values(sections: list[Section]) -> Iterator[SettingsError]:
    """What is wrong with the values of each section, alone and together with [default]'s."""
    faults: list[SettingsError] = []
    typed = []
    for section in sections:
        values = typed_values(section, faults.append)
        sourced = Sourced(values, section.origin)
        typed.append(_Typed(section, sourced))
    yield from faults
    default = [each.values for each in typed if not each.section.name]
    for section, own in typed:
        layers = list(default)
        if section.name:
            layers.append(own)
        together = merged(layers)
        yield from conflicts(together)


def _is_written(section: Section) -> bool:
    """Whether it stands in the file. [default] has a section even if it is not written."""
    return bool(section.name or section.given)


def _matched(section: Section) -> str:
    table = section.origin.table
    if not section.name:
        return f"{table}: every connection"
    matches = []
    for key, wanted in section.matches.items():
        value = shown(wanted)
        matches.append(f"{key} {value}")
    all_of_them = ", ".join(matches)
    return f"{table}: {all_of_them}"


def _never_expected(sections: Iterable[Section]) -> Iterator[str]:
    """Warnings of sections whose `expect` says nothing: see `SettingsOfNames`."""
    for section in sections:
        if "expect" in section.given and set(section.matches) - {"connection"}:
            place = f"{section.origin.file} {section.origin.table}"
            message = f"{place} expect says nothing, as a tunnel that is down has but its name"
            remedy = "put it into a table that matches by the connection alone"
            yield from said("warning: ", message, remedy)


def _outdone(sections: Iterable[Section]) -> Iterator[str]:
    """Warnings of sections that match the same: the later one has its say."""
    alike: dict[object, list[Section]] = {}
    for section in sections:
        matches = tuple(section.matches.items())
        group = alike.setdefault(matches, [])
        group.append(section)
    for group in alike.values():
        for earlier, later in pairwise(group):
            place = f"{earlier.origin.file} {earlier.origin.table}"
            other = later.origin.table
            message = f"{place} matches the same as {other} behind it"
            yield from said("warning: ", message, "the later wins")
