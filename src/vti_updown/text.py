"""How a line reads: escaped, and short enough that charon does not cut it.

The one kind of error that a user meets is here, too. The module knows nothing of tunnels.
"""

from collections.abc import Iterable, Iterator

LINE_BYTES = 120
"""The longest line that we print, in bytes.

charon's buffer holds 127 and a newline (updown_listener.c, `char resp[128]`).
"""

NAME_BYTES = 40
"""As much of a connection's name as a line begins with."""
MESSAGE_LINES = 3
"""As many lines as what is wrong may take. Each part of it that others chose is short already."""
FURTHER = "  "
"""What a line has behind its head if it goes on with the line before."""
ELLIPSIS = "…"


def shown(value: object, limit: int = 40) -> str:
    """`value` as one printable piece of a line, at most `limit` characters long.

    Control characters and others that cannot be printed are escaped.
    """
    text = str(value)
    if not text.isprintable():
        text = "".join(map(_escaped, text))
    if len(text) <= limit:
        return text
    return text[: limit - 1] + ELLIPSIS


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def in_head(name: str) -> str:
    """A connection's name as it begins a line. It leaves room for what is said of it."""
    return cut(shown(name), NAME_BYTES)


def said(head: str, message: str, remedy: str = "") -> list[str]:
    """`HEAD MESSAGE; REMEDY` in one line or, if that is too long, in several.

    Then the remedy begins a line, and nothing of it is cut. Each further line begins with the head,
    too: charon's log mixes the lines of several connections.
    """
    whole = f"{head}{message}"
    if remedy:
        whole = f"{whole}; {remedy}"
    if _size(whole) <= LINE_BYTES:
        return [whole]
    further = head + FURTHER
    lines = wrapped(message, further, first=head)
    if len(lines) > MESSAGE_LINES:
        end = lines[MESSAGE_LINES - 1] + ELLIPSIS
        lines = [*lines[: MESSAGE_LINES - 1], cut(end)]
    if remedy:
        lines += wrapped(remedy, further)
    return lines


def noted(head: str, note: str) -> list[str]:
    """A note in lines, as `said` makes them. Its remedy stands behind its last semicolon."""
    message, _, remedy = note.rpartition("; ")
    if not message:
        return said(head, note)
    return said(head, message, remedy)


def cut(text: str, room: int = LINE_BYTES) -> str:
    """`text` in at most `room` bytes, without its end if need be. It is for what says no remedy."""
    if _size(text) <= room:
        return text
    return _start(text, room - _size(ELLIPSIS)) + ELLIPSIS


def _start(text: str, room: int) -> str:
    """As much of a text as `room` bytes hold."""
    kept = text.encode("utf-8", "replace")[:room]
    return kept.decode("utf-8", "ignore")


def _size(text: str) -> int:
    """The bytes of a text in UTF-8."""
    return len(text.encode("utf-8", "replace"))


def fitted(head: str, items: Iterable[object]) -> str:
    """`head` and as many of `items` as fit on a line, with a count of those that do not.

    Those that read the same are said once: a full tunnel has its route in two tables.
    """
    pieces = list(dict.fromkeys(map(str, items)))
    for left_out in range(len(pieces) + 1):
        kept = pieces[: len(pieces) - left_out]
        if left_out:
            kept.append(f"and {left_out} more")
        candidate = ", ".join([head, *kept])
        if _size(candidate) <= LINE_BYTES:
            return candidate
    return cut(head)


def wrapped(text: str, indent: str, first: str | None = None) -> list[str]:
    """`text` in lines of at most LINE_BYTES bytes, broken between words.

    A line begins with `indent`, the first one with `first` if that is given. The standard library's
    textwrap would cost the hook an import.
    """
    lines: list[str] = []
    current = indent if first is None else first
    is_empty = True
    for word in _words(text, LINE_BYTES - _size(indent)):
        longer = f"{current}{word}" if is_empty else f"{current} {word}"
        if is_empty or _size(longer) <= LINE_BYTES:
            current = longer
        else:
            lines.append(current)
            current = indent + word
        is_empty = False
    return [*lines, current]


def _words(text: str, room: int) -> Iterator[str]:
    """The words of a text. One that is longer than `room` bytes comes in pieces."""
    for word in text.split(" "):
        rest = word
        while _size(rest) > room:
            piece = _start(rest, room)
            yield piece
            rest = rest[len(piece) :]
        yield rest


NOTHING_TO_DO = 0
"""The exit status of what is done, since nothing need be."""


class Refusal(Exception):
    """Input or settings are wrong (exit status 2), or the system refused something (status 1).

    With the status NOTHING_TO_DO it is no error: there is nothing to set up.

    `message` says what is wrong, and `hint` says what to do. Each is one line without control
    characters, so build them with `shown`.
    """

    def __init__(self, message: str, hint: str, status: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status
