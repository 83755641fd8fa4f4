"""Lines that fit charon's log."""

from hypothesis import given
from hypothesis import strategies as st

from vti_updown.text import LINE_BYTES, fitted, line, shown


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
