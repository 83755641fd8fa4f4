"""What `vti-updown explain` prints: an event's steps with their reasons, for people or as JSON."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..named_tuple import NamedTuple
from ..text import Refusal
from .screen import COLUMNS

VERSION = 1
"""Of the JSON. A new field does not change it. One that goes or means something else does."""


class Item(NamedTuple):
    """An object that an event is about."""

    doing: str
    """What is done with it: make, change, take away, put back; or why there is no step."""
    what: str
    """What it is called, such as `route 10.2.0.0/16 by vti1`."""
    reasons: Sequence[str]
    commands: Sequence[str] = ()
    """What the step stands for. There is none if nothing is done."""


class SettingGiven(NamedTuple):
    """A setting that is not the default."""

    key: str
    written: str
    """As its place has it, such as `mtu = 1400` or `--mtu 1400`."""
    file: str = ""
    """The file that it is from. Empty if it is a flag."""
    table: str = ""
    """The file's table, such as `[default]`."""

    @property
    def place(self) -> str:
        if self.file:
            return f"{self.file} {self.table}"
        return "flag"


class Explanation(NamedTuple):
    """One event explained."""

    verb: str
    connection: str
    selectors: str
    unique_id: int
    settings: Sequence[SettingGiven]
    steps: Sequence[Item]
    others: Sequence[Item]
    """What the event is about, and needs no step."""
    notes: Sequence[str]
    """What is not done, and why."""
    error: Refusal | None = None
    """Why the event would fail."""

    @property
    def heading(self) -> str:
        return f"{self.verb} of {self.connection}: {self.selectors}, unique ID {self.unique_id}"


class Answer(NamedTuple):
    """All that `explain` says of a call."""

    source: str
    """Where the events are from, in words."""
    notes: Sequence[str]
    """What is not known of them."""
    events: Sequence[Explanation]


# For people


def lines(answer: Answer) -> list[str]:
    """The answer in lines of at most 80 columns. Only a command may be longer, and stays whole."""
    printed = _wrapped(
        f"From {answer.source}.",
        "",
        "  ",
    )
    for note in answer.notes:
        printed += _wrapped(note, "- ", "  ")
    for event in answer.events:
        printed += ["", *_event_lines(event)]
    return printed


def _event_lines(event: Explanation) -> Iterator[str]:
    yield from _wrapped(event.heading, "", "  ")
    for given in event.settings:
        yield from _wrapped(
            f"{given.written} ({given.place})",
            "  ",
            "    ",
        )
    if not event.steps:
        yield from ["", "Nothing to change."]
    for number, item in enumerate(event.steps, 1):
        yield ""
        yield from _item_lines(f"{number}. ", item)
    if event.others:
        yield from ["", "No step for:"]
    for item in event.others:
        yield from _item_lines("- ", item)
    if event.notes:
        yield from ["", "Not done, and what to know:"]
    for note in event.notes:
        yield from _wrapped(note, "- ", "  ")


def _item_lines(mark: str, item: Item) -> Iterator[str]:
    indent = " " * len(mark)
    yield from _wrapped(
        f"{item.doing} {item.what}",
        mark,
        indent,
    )
    for reason in item.reasons:
        yield from _wrapped(
            reason,
            f"{indent}- ",
            f"{indent}  ",
        )
    for command in item.commands:
        yield f"{indent}{command}"


def _wrapped(
    text: str,
    first: str,
    further: str,
) -> list[str]:
    return textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=first,
        subsequent_indent=further,
        break_on_hyphens=False,
    )


# For programs


def as_json(answer: Answer) -> list[str]:
    """The answer as JSON. docs/explain.md says what its fields are."""
    document = {
        "version": VERSION,
        "source": answer.source,
        "notes": list(answer.notes),
        "events": [_event_as_json(event) for event in answer.events],
    }
    return json.dumps(document, indent=2, ensure_ascii=False).splitlines()


def _event_as_json(event: Explanation) -> dict[str, Any]:
    error = None
    if event.error is not None:
        error = {"message": event.error.message, "hint": event.error.hint}
    return {
        "verb": event.verb,
        "connection": event.connection,
        "selectors": event.selectors,
        "unique_id": event.unique_id,
        "settings": [given._asdict() for given in event.settings],
        "steps": _items_as_json(event.steps),
        "without_step": _items_as_json(event.others),
        "notes": list(event.notes),
        "error": error,
    }


def _items_as_json(items: Iterable[Item]) -> list[dict[str, Any]]:
    found = []
    for item in items:
        fields = item._asdict()
        fields["reasons"] = list(item.reasons)
        fields["commands"] = list(item.commands)
        found.append(fields)
    return found
