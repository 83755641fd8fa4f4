"""Lines that fit charon's log."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from vti_updown.text import LINE_BYTES, cut, fitted, in_head, noted, said, shown, wrapped


@given(st.text(max_size=300))
def test_what_is_shown_is_printable_and_short(text):
    """Control characters are escaped."""
    assert shown(text).isprintable() or not text
    assert len(shown(text)) <= 40


def size(text):
    return len(text.encode("utf-8", "replace"))


def without_spaces(text):
    return text.replace(" ", "")


def read(head, lines):
    """What a reader makes of the lines: they all begin with the head, which is not part of it."""
    assert all(line.startswith(head) for line in lines)
    return "".join(line.removeprefix(head) for line in lines)


PRINTABLE = st.text(st.characters(exclude_categories=["C", "Zs", "Zl", "Zp"]) | st.just(" "))
SENTENCES = st.lists(PRINTABLE, max_size=40).map(" ".join)
HEADS = PRINTABLE.map(in_head).map("error: {}: ".format)


@given(HEADS, SENTENCES, SENTENCES)
def test_a_remedy_is_never_cut(head, message, remedy):
    """However long it and the message are, all of it can be read, and each line fits."""
    lines = said(head, message, remedy)
    assert max(map(size, lines)) <= LINE_BYTES
    assert without_spaces(read(head, lines)).endswith(without_spaces(remedy))


@given(HEADS, SENTENCES, SENTENCES)
def test_nothing_is_cut_from_a_message_of_three_lines(head, message, remedy):
    """Only one that is absurdly long loses its end."""
    lines = said(head, message, remedy)
    told = without_spaces(read(head, lines))
    whole = without_spaces(message + remedy)
    assert told.replace(";", "") == whole.replace(";", "") or size(message) > LINE_BYTES


@given(st.text(max_size=200).map(shown), SENTENCES.filter(lambda remedy: "; " not in remedy))
def test_a_note_is_never_cut_behind_its_semicolon(name, remedy):
    """Its remedy stands there."""
    head = f"{in_head(name)}: "
    lines = noted(head, f"no route made, as the selector 0.0.0.0/0 is everything; {remedy}")
    assert max(map(size, lines)) <= LINE_BYTES
    assert without_spaces(read(head, lines)).endswith(without_spaces(remedy))


def test_what_fits_is_one_line_and_what_does_not_is_two():
    """The remedy then begins a line, with the connection's name once more."""
    assert said("error: gw: ", "there is no mark", "add one") == [
        "error: gw: there is no mark; add one"
    ]
    hint = "add mark=NUMBER to it, unique to the peer (swanctl: mark_in, mark_out)"
    assert said("error: gw: ", "the CHILD_SA has neither mark nor if_id", hint) == [
        "error: gw: the CHILD_SA has neither mark nor if_id",
        f"error: gw:   {hint}",
    ]


def test_a_message_that_never_ends_is_cut():
    """Three lines are enough to see what is wrong; what to do comes behind them."""
    lines = said("error: ", "a" * 5000, "stop that")
    assert [line[-1] for line in lines] == ["a", "a", "…", "t"]


def test_a_message_that_is_cut_keeps_its_first_three_lines():
    """What is left out is its end."""
    words = " ".join(letter * 100 for letter in "abcde")
    *lines, _ = said("error: ", words, "stop that")
    assert [line.removeprefix("error: ").lstrip()[0] for line in lines] == ["a", "b", "c"]


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
    assert cut("→" * 100) == "→" * 39 + "…"


def test_what_just_fits_is_kept_whole():
    """One character more, and the end is cut."""
    assert shown("x" * 40) == "x" * 40
    assert shown("x" * 41) == "x" * 39 + "…"
    assert cut("x" * LINE_BYTES) == "x" * LINE_BYTES
    assert cut("x" * (LINE_BYTES + 1)) == "x" * (LINE_BYTES - 3) + "…"


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
