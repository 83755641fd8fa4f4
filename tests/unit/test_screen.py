"""How a person reads `status`: nothing wraps on a terminal of 80 columns."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vti_updown.admin import screen
from vti_updown.admin.screen import COLUMNS, Column, Row, folded, table, width
from vti_updown.admin.status_text import COLUMNS as OF_STATUS
from vti_updown.admin.status_text import NAME
from vti_updown.text import shown

NUMBERS = st.integers(0, 2**64)
SECONDS = st.integers(0, 2**31)
CELLS = st.tuples(
    st.sampled_from(["up", "DIFFERS", "UNKNOWN", "not told", "by hand"]),
    st.text(max_size=80).map(shown).map(lambda name: screen.fitted(name, NAME)),
    st.one_of(st.just("-"), st.text(min_size=1, max_size=15).map(shown)),
    st.one_of(st.just("-"), st.ip_addresses().map(str), st.just("12,345 peers")),
    SECONDS.map(screen.brief_duration),
    NUMBERS.map(screen.brief_amount),
    NUMBERS.map(screen.brief_amount),
    SECONDS.map(screen.brief_duration),
)


@given(st.lists(CELLS, min_size=1, max_size=8))
def test_no_line_of_a_table_is_longer_than_a_terminal(cells):
    """Names of 40 characters, IPv6 addresses and links of 15 bytes together. Nothing is cut."""
    lines = table(OF_STATUS, [Row(each) for each in cells])
    assert [line for line in lines if width(line) > COLUMNS] == []
    text = " ".join(" ".join(lines).split())
    for each in cells:
        for cell in each:
            assert cell == "-" or " ".join(cell.split()) in text


@given(st.text(max_size=300), st.text(" ", max_size=6))
def test_folded_text_keeps_its_words(text, indent):
    """Only one that is longer than a line is longer than a line."""
    lines = folded(text, indent)
    words = shown(text, len(text) * 10 + 1).split()
    assert " ".join(lines).split() == words
    for line in lines:
        assert width(line) <= COLUMNS or len(line.split()) <= 1


@pytest.mark.parametrize(
    ("size", "words", "brief"),
    [
        (0, "0 B", "0"),
        (999, "999 B", "999"),
        (1000, "1.0 kB", "1.0k"),
        (99_949, "99.9 kB", "99.9k"),
        (99_951, "100 kB", "100k"),
        (250_000, "250 kB", "250k"),
        (999_999, "1.0 MB", "1.0M"),
        (1_500_000_000, "1.5 GB", "1.5G"),
        (2**64, "18.4 EB", "18.4E"),
        (10**30, "1000000000 ZB", "1000000000Z"),
    ],
)
def test_bytes_in_words(size, words, brief):
    """In powers of 1,000, with three digits at most."""
    assert screen.amount(size) == words
    assert screen.brief_amount(size) == brief


@pytest.mark.parametrize(
    ("seconds", "words", "brief"),
    [
        (-5, "0 s", "0s"),
        (0, "0 s", "0s"),
        (59, "59 s", "59s"),
        (60, "1 min 0 s", "1m0s"),
        (11_520, "3 h 12 min", "3h12m"),
        (86_400 * 3 + 5, "3 d 0 h", "3d0h"),
    ],
)
def test_times_in_words(seconds, words, brief):
    """The two greatest units."""
    assert screen.duration(seconds) == words
    assert screen.brief_duration(seconds) == brief


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("output", "environ", "expected"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (io.StringIO(), {"TERM": "xterm"}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {}, False),
    ],
)
def test_colour_is_for_a_terminal_that_wants_it(monkeypatch, output, environ, expected):
    """A file or a pipe gets plain text."""
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(screen.os, "environ", environ)
    assert screen.has_colour() is expected


def test_colour_takes_no_columns():
    """What stands behind a coloured cell is below its heading."""
    heading, line = table([Column("A"), Column("B")], [Row(("x", "y"), screen.RED)])
    assert line.replace("\x1b[31m", "").replace("\x1b[0m", "").index("y") == heading.index("B")
