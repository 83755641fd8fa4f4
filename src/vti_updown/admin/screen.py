"""How a person reads it: 80 columns, colour on a terminal only, and numbers in words."""

import os
import sys
import unicodedata
from collections.abc import Collection, Iterable, Sequence

from ..named_tuple import NamedTuple
from ..text import ELLIPSIS, shown

COLUMNS = 80
"""No line is longer, so that nothing wraps on a terminal."""
GAP = "  "
RED, YELLOW, GREEN, DIM, BOLD = "31", "33", "32", "2", "1"
"""Of ECMA-48, Select Graphic Rendition."""
NOTHING = "-"
UNITS = (
    "B",
    "kB",
    "MB",
    "GB",
    "TB",
    "PB",
    "EB",
    "ZB",
)
THOUSAND = 1000
LONGEST = 1 << 20
"""As many characters of a text as are shown."""
UNITS_OF_TIME = (
    (86400, "d"),
    (3600, "h"),
    (60, "min"),
    (1, "s"),
)
"""Their length in seconds, the longest first."""


# Colour


def has_colour() -> bool:
    """Whether standard output is a terminal that shows colour, and the user has not said no.

    https://no-color.org
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return sys.stdout.isatty()


def painted(text: str, colour: str) -> str:
    """The text in this colour. The empty colour is none."""
    if not colour:
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


# Numbers


def amount(size: int, gap: str = " ") -> str:
    """Bytes as `1.2 MB`, in powers of 1,000."""
    value = float(size)
    left = list(UNITS)
    while round(value) >= THOUSAND and len(left) > 1:
        value /= THOUSAND
        del left[0]
    is_short = len(left) < len(UNITS) and round(value, 1) < THOUSAND / 10
    digits = 0
    if is_short:
        digits = 1
    return f"{value:.{digits}f}{gap}{left[0]}"


def brief_amount(size: int) -> str:
    """Bytes as `1.2M`, for a table."""
    return amount(size, gap="").removesuffix("B") or "0"


def duration(seconds: float, gap: str = " ") -> str:
    """A time as `3 h 12 min`: its two greatest units."""
    rest = max(int(seconds), 0)
    parts: list[str] = []
    for length, unit in UNITS_OF_TIME:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count}{gap}{unit}")
    two = parts[:2] or [f"0{gap}s"]
    return gap.join(two)


def brief_duration(seconds: float) -> str:
    """A time as `3h12m`, for a table."""
    return duration(seconds, gap="").replace("min", "m")


def counted(count: int, noun: str) -> str:
    """`1 tunnel`, `2 tunnels`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}s"


# Lines


def width(text: str) -> int:
    """How many columns a text takes on a terminal. Some characters take two, and some none.

    (Unicode, East Asian Width)
    """
    if text.isascii():
        return len(text)
    columns = 0
    for character in text:
        if unicodedata.combining(character):
            continue
        columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return columns


def fitted(text: str, columns: int) -> str:
    """A text that takes at most so many columns: without its end if need be."""
    if width(text) <= columns:
        return text
    kept = text
    while width(kept) >= columns:
        kept = kept[:-1]
    return kept + ELLIPSIS


def folded(
    text: str,
    indent: str,
    first: str | None = None,
) -> list[str]:
    """The text in lines of at most COLUMNS characters, broken between words.

    The first line begins with `first` if that is given, and every other one with `indent`. A word
    that is longer than a line, such as a command's argument, stays whole.
    """
    lines: list[str] = []
    line = indent
    if first is not None:
        line = first
    is_empty = True
    for word in shown(text, LONGEST).split(" "):
        longer = f"{line}{word}" if is_empty else f"{line} {word}"
        if is_empty or width(longer) <= COLUMNS:
            line = longer
        else:
            lines.append(line)
            line = f"{indent}{word}"
        is_empty = False
    return [*lines, line]


class Column(NamedTuple):
    """One column of a table."""

    heading: str
    moves: int = 0
    """Where the table is too wide, the columns with the lowest number here move into a line below
    their row, one after the other. 0: it stays.
    """


class Row(NamedTuple):
    """One row, and what is said below it."""

    cells: Sequence[str]
    colour: str = ""
    """Of its first cell."""
    below: Sequence[str] = ()
    """Lines that are ready."""


def table(columns: Sequence[Column], rows: Collection[Row]) -> list[str]:
    """The rows below their headings, in columns of at most COLUMNS characters together.

    If that is too wide, columns move into a line below each row.
    """
    widths = _widths(columns, rows)
    moved: list[int] = []
    movable = [place for place, column in enumerate(columns) if column.moves]
    movable.sort(
        key=lambda place: columns[place].moves,
        reverse=True,
    )
    while movable and _width(widths, moved) > COLUMNS:
        moved.append(movable.pop())
    headings = [column.heading for column in columns]
    lines = [
        _line(
            headings,
            widths,
            moved,
        )
    ]
    for row in rows:
        lines += _lines_of(
            row,
            columns,
            widths,
            moved,
        )
    return lines


def _widths(columns: Sequence[Column], rows: Iterable[Row]) -> list[int]:
    widths = [len(column.heading) for column in columns]
    for row in rows:
        for place, cell in enumerate(row.cells):
            widths[place] = max(widths[place], width(cell))
    return widths


def _width(widths: Sequence[int], moved: Collection[int]) -> int:
    staying = [width for place, width in enumerate(widths) if place not in moved]
    return sum(staying) + len(GAP) * (len(staying) - 1)


def _line(
    cells: Sequence[str],
    widths: Sequence[int],
    moved: Collection[int],
    colour: str = "",
) -> str:
    padded = []
    for place, cell in enumerate(cells):
        if place not in moved:
            padded.append(cell + " " * (widths[place] - width(cell)))
    first, *others = padded
    return GAP.join([painted(first, colour), *others]).rstrip()


def _lines_of(
    row: Row,
    columns: Sequence[Column],
    widths: Sequence[int],
    moved: Collection[int],
) -> list[str]:
    lines = [
        _line(
            row.cells,
            widths,
            moved,
            row.colour,
        )
    ]
    told = []
    for place in sorted(moved):
        value = row.cells[place]
        if value != NOTHING:
            heading = columns[place].heading.lower()
            told.append(f"{heading} {value}")
    if told:
        lines += folded(
            ", ".join(told),
            GAP * 2,
            first=GAP,
        )
    return [*lines, *row.below]
