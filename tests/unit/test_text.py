"""Lines that fit charon's log."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from vti_updown.text import LINE_BYTES, fitted, line, shown, wrapped


@given(st.text(max_size=300))
def test_what_is_shown_is_printable_and_short(text):
    """Control characters are escaped."""
    assert shown(text).isprintable() or not text
    assert len(shown(text)) <= 40


@given(st.text(max_size=300), st.text(max_size=20))
def test_a_line_fits_and_keeps_its_tail(text, tail):
    """What to do is kept whole."""
    made = line(text, tail)
    assert len(made.encode("utf-8", "replace")) <= LINE_BYTES
    assert made.endswith(tail)


@given(st.text(max_size=60), st.lists(st.text(max_size=50), max_size=10))
def test_a_list_that_does_not_fit_says_how_many_more_there_are(head, items):
    """Nothing is dropped in silence."""
    made = fitted(head, items)
    assert len(made.encode("utf-8", "replace")) <= LINE_BYTES


def test_a_long_list_ends_with_a_count():
    """As many as fit are named."""
    made = fitted("gw: vti1 up", [f"10.{n}.0.0/16" for n in range(30)])
    assert made.endswith("more") and len(made) <= LINE_BYTES


def test_a_character_is_never_cut_in_the_middle():
    """A line is valid UTF-8."""
    line("→" * 100).encode("utf-8").decode("utf-8")


def test_what_just_fits_is_kept_whole():
    """One character more, and the end is cut."""
    assert shown("x" * 40) == "x" * 40
    assert shown("x" * 41) == "x" * 39 + "…"
    assert line("x" * 114, "; mend") == "x" * 114 + "; mend"
    assert line("x" * 115, "; mend") == "x" * 111 + "…; mend"


def test_what_can_be_printed_is_not_escaped():
    """Only the characters that cannot be are."""
    assert shown("grün\n") == "grün\\n"


def test_a_list_that_just_fits_is_named_whole():
    """One byte more, and the last of it is counted only."""
    fits = fitted("gw", ["x" * 56, "y" * 58])
    assert fits == f"gw, {'x' * 56}, {'y' * 58}" and len(fits) == LINE_BYTES
    assert fitted("gw", ["x" * 56, "y" * 59]) == f"gw, {'x' * 56}, and 1 more"


def test_items_that_do_not_fit_at_all_are_still_counted():
    """Unless not even the count fits."""
    assert fitted("x" * 100, ["y" * 30, "z" * 30]) == "x" * 100 + ", and 2 more"
    assert fitted("x" * 115, ["y" * 30]) == "x" * 115


@given(st.lists(st.text("aü", min_size=1, max_size=30), min_size=1, max_size=30))
def test_a_long_text_is_broken_between_words(words):
    """No word is lost, each line begins with the indent, and no line could hold a word more."""
    lines = wrapped(" ".join(words), "    ")
    assert [word for one in lines for word in one.split()] == words
    for one in lines:
        assert one == "    " + " ".join(one.split())
        assert len(one.encode()) <= LINE_BYTES
    for one, after in itertools.pairwise(lines):
        first, *_ = after.split()
        assert len(f"{one} {first}".encode()) > LINE_BYTES


def test_words_that_just_fill_a_line_stand_on_it():
    """A line may have LINE_BYTES bytes, and no more."""
    assert wrapped(f"{'x' * 59} {'y' * 60}", "") == [f"{'x' * 59} {'y' * 60}"]
    assert wrapped(f"{'x' * 59} {'y' * 61}", "") == ["x" * 59, "y" * 61]
