"""How a line reads: escaped, and short enough that charon does not cut it. It knows nothing of tunnels."""

from collections.abc import Iterable

LINE_BYTES = 120
"""Longest line we print, in bytes. charon's buffer holds 127 and a newline (updown_listener.c, `char resp[128]`)."""

ELLIPSIS = "…"


def shown(value: object, limit: int = 40) -> str:
    """`value` as one printable piece of a line: control and other unprintable characters escaped, at most `limit` long."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(value))
    return text if len(text) <= limit else text[: limit - 1] + ELLIPSIS


def line(text: str, tail: str = "") -> str:
    """`text` and `tail` as one line of at most LINE_BYTES bytes of UTF-8; what is cut is the end of `text`."""
    raw, room = text.encode("utf-8", "replace"), LINE_BYTES - len(tail.encode("utf-8", "replace"))
    if len(raw) <= room:
        return text + tail
    return raw[: room - len(ELLIPSIS.encode("utf-8"))].decode("utf-8", "ignore") + ELLIPSIS + tail


def fitted(head: str, items: Iterable[object]) -> str:
    """`head` and as many of `items` as fit on a line, with a count of those that do not."""
    pieces = [str(item) for item in items]
    for kept in range(len(pieces), -1, -1):
        more = f"and {len(pieces) - kept} more" if kept < len(pieces) else ""
        candidate = ", ".join([head, *pieces[:kept], *([more] if more else [])])
        if len(candidate.encode("utf-8", "replace")) <= LINE_BYTES:
            return candidate
    return line(head)


def wrapped(text: str, indent: str) -> list[str]:
    """`text` in lines of at most LINE_BYTES bytes, broken between words (textwrap costs an import)."""
    lines = [indent]
    for word in text.split():
        longer = f"{lines[-1]}{'' if lines[-1] == indent else ' '}{word}"
        if len(longer.encode()) <= LINE_BYTES or lines[-1] == indent:
            lines[-1] = longer
        else:
            lines.append(indent + word)
    return lines
