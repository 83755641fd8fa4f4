"""How a line reads: escaped, and short enough that charon does not cut it.

The one kind of error that a user meets is here, too. The module knows nothing of tunnels.
"""

from collections.abc import Iterable

LINE_BYTES = 120
"""The longest line that we print, in bytes.

charon's buffer holds 127 and a newline (updown_listener.c, `char resp[128]`).
"""

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


def line(text: str, tail: str = "") -> str:
    """`text` and `tail` as one line of at most LINE_BYTES bytes. Only the end of `text` is cut."""
    room = LINE_BYTES - _size(tail)
    if _size(text) <= room:
        return text + tail
    kept = text.encode("utf-8", "replace")[: room - _size(ELLIPSIS)]
    return kept.decode("utf-8", "ignore") + ELLIPSIS + tail


def _size(text: str) -> int:
    """The bytes of a text in UTF-8."""
    return len(text.encode("utf-8", "replace"))


def fitted(head: str, items: Iterable[object]) -> str:
    """`head` and as many of `items` as fit on a line, with a count of those that do not."""
    pieces = [str(item) for item in items]
    for left_out in range(len(pieces) + 1):
        kept = pieces[: len(pieces) - left_out]
        if left_out:
            kept.append(f"and {left_out} more")
        candidate = ", ".join([head, *kept])
        if _size(candidate) <= LINE_BYTES:
            return candidate
    return line(head)


def wrapped(text: str, indent: str) -> list[str]:
    """`text` in lines of at most LINE_BYTES bytes, broken between words.

    The standard library's textwrap would cost the hook an import.
    """
    lines = []
    current = indent
    for word in text.split():
        if current == indent:
            current = indent + word
        elif _size(f"{current} {word}") <= LINE_BYTES:
            current = f"{current} {word}"
        else:
            lines.append(current)
            current = indent + word
    return [*lines, current]


class Refusal(Exception):
    """Input or settings are wrong (exit status 2), or the system refused something (status 1).

    `message` says what is wrong, and `hint` says what to do. Each is one line without control
    characters, so build them with `shown`.
    """

    def __init__(self, message: str, hint: str, status: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status
