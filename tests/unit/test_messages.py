"""docs/messages.md has every message of the code, and no other one."""

import re
from pathlib import Path

import pytest

import messages
from messages import Comparison, Message

from .test_wrong_files import WRONG

ROOT = Path(__file__).parent.parent.parent


def test_the_page_has_every_message_and_no_other() -> None:
    """Each with a cause and a cure. `python3 tools/messages.py` prints what is missing."""
    assert messages.wrong() == []


def test_the_page_has_more_than_a_hundred_messages() -> None:
    """If the code had none, the comparison would find nothing wrong."""
    lines = [line for entry in messages.entries(messages.PAGE.read_text()) for line in entry.lines]
    assert len(lines) > 200
    assert len(messages.messages()) > 200


# What is found in code


def found_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> list[str]:
    """The messages of a package of this one module, as the page would have them."""
    (tmp_path / "module.py").write_text(code)
    monkeypatch.setattr(messages, "PACKAGE", tmp_path)
    return [line for message in messages.messages() for line in message.lines]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ('raise Refusal("it is gone", "make it anew")', ["it is gone; make it anew"]),
        ('raise Refusal("gone", hint="make it")', ["gone; make it"]),
        ('raise Refusal(f"{shown(name)} is gone", "make it")', ["NAME is gone; make it"]),
        ('what = f"{self.path} is gone"\nraise Refusal(what, "make it")', ["PATH is gone; make it"]),
        ('note(f"{a.ifname} is " "gone")', ["IFNAME is gone"]),
        ('x = "gone today" if y else "there again"\nnote(f"it is {x}")', ["it is gone today", "it is there again"]),
        ('def f(y):\n    x = shown(y)\n    if y:\n        x = f"{x} and more"\n    note(f"left: {x} here")', ["left: X here", "left: X and more here"]),
        ('HINT = "make it anew"\ndef f():\n    raise Refusal("it is gone", HINT)', ["it is gone; make it anew"]),
        ('def f():\n    if a:\n        what = "it is gone"\n        raise Refusal(what, "make it")\n    what = "it is old"\n    raise Refusal(what, "throw it away")', ["it is gone; make it", "it is old; throw it away"]),
        ('def f():\n    for x in y:\n        if x:\n            what = "it is gone"\n            g(Problem(DOWN, what, "make it"))\n            continue\n        what = z(x)\n        g(Problem(DOWN, what, "mend it"))', ["it is gone; make it", "MESSAGE; mend it"]),
        ('raise InvalidValue(value, " is not a number", "write one")', ["VALUE is not a number; write one"]),
        ('class A:\n    def problem(self):\n        return "is too long"', ["is too long"]),
        ('HINTS = {1: "load the module"}', ["load the module"]),
        ('report.with_warning("it was slow", "see the log")', ["it was slow; see the log"]),
    ],
)  # fmt: skip
def test_a_message_is_found_however_it_is_made(tmp_path, monkeypatch, code, lines) -> None:
    """Also in a way that nobody told the tool of."""
    assert sorted(found_in(tmp_path, monkeypatch, code)) == sorted(lines)


@pytest.mark.parametrize(
    "code",
    [
        '"""It is a docstring."""',
        'def f():\n    """It is one, too."""',
        'db.execute("SELECT key FROM wish")',
        'CHANGES = "ALTER TABLE wish ADD COLUMN since"',
        'Words: TypeAlias = "dict[str, list[Word] | Words]"',
        'WHY = Reason("it is the first of its names", ("name",))',
        'Flag(name="mtu", help="MTU of the link.")',
        'def f() -> "Link | None":\n    pass',
        'if text == "two words":\n    pass',
        'join("eth0", "vti1")',
    ],
)
def test_other_text_is_no_message(tmp_path, monkeypatch, code) -> None:
    """What documents, asks SQLite or makes the help is not printed as a message."""
    assert found_in(tmp_path, monkeypatch, code) == []


def test_of_a_screen_only_what_is_raised_is_a_message(tmp_path, monkeypatch) -> None:
    """Its headings and sentences say how it is, and need no cure."""
    code = 'print("no tunnel is up")\nraise Refusal("it cannot be read", "be root")'
    assert len(found_in(tmp_path, monkeypatch, code)) == 2
    monkeypatch.setattr(messages, "SCREENS", {"module.py"})
    assert found_in(tmp_path, monkeypatch, code) == ["it cannot be read; be root"]


def test_every_screen_is_there() -> None:
    """A module that has another name by now would have its texts in the page."""
    lost = [path for path in messages.SCREENS if not (messages.PACKAGE / path).exists()]
    assert lost == []


# The comparison

CODE = [
    Message("a.py:1", ("\0NAME\0 is gone", "\0NAME\0 is \0WHAT\0"), ("make it",)),
    Message("a.py:2", ("too old for us",)),
    Message("a.py:3", ("it is new",), ("wait for it; then go on",)),
    Message("a.py:4", (" is no number",), ("write one",)),
    Message("a.py:5", ("--\0FLAG\0 \0VALUE\0\0PROBLEM\0",), ("see the page",)),
]


@pytest.mark.parametrize(
    "line",
    [
        "LINK is gone; make it",
        "LINK is WORD; make it",
        "LINK is gone",
        "LINK is too old for us; make it",
        "too old for us",
        "it is new; wait for it; then go on",
        "VALUE is no number; write one",
        "mtu is no number; write one",
        "--FLAG VALUE is no number; see the page",
    ],
)
def test_a_line_of_the_page_is_a_message(line: str) -> None:
    """With words in capitals, or what another message says, in place of what is inserted."""
    assert Comparison(CODE).is_message(line)


@pytest.mark.parametrize(
    "line",
    [
        "LINK is away; make it",
        "LINK is gone; write one",
        "vti1 is gone; make it",
        "LINK is gone for good; make it",
        "too old",
        "make it",
        "it is new; wait for it",
    ],
)
def test_a_line_that_the_code_does_not_have_is_none(line: str) -> None:
    """Neither half of one, nor one with the advice of another."""
    assert not Comparison(CODE).is_message(line)


def test_what_no_line_has_is_missing() -> None:
    """A message, and a text or an advice of one that has several."""
    missing = Comparison(CODE).missing(["LINK is gone; make it", "too old for us"])
    assert [message.lines for message in missing] == [
        ["NAME is WHAT"],
        ["it is new; wait for it; then go on"],
        ["VALUE is no number; write one"],
        ["MESSAGE; see the page"],
    ]


def test_each_message_of_the_code_would_be_missed() -> None:
    """The page without its lines lacks all of them."""
    found = messages.messages()
    missing = Comparison(found).missing([])
    assert len(missing) == len(
        [m for m in found if any(map(messages.says_something, (*m.texts, *m.hints)))]
    )


def test_an_entry_needs_a_cause_and_a_cure() -> None:
    """Examples between fences are none."""
    page = """# Page

```
    an example
```

    a line
    another line

Cause: It is so.

Cure:

| a | table |

    a third

Cause: That, too.
"""
    entries = messages.entries(page)
    assert [entry.lines for entry in entries] == [("a line", "another line"), ("a third",)]
    assert [entry.lacks for entry in entries] == [[], ["Cure:"]]


# What a user sees


def as_pattern(line: str) -> str:
    """A line of the page, with anything for its words in capitals."""
    pieces = re.split(r"\b[A-Z][A-Z_]*[A-Z]\b", line)
    return ".*?".join(map(re.escape, pieces))


@pytest.mark.parametrize(
    "line", [line for _, line in WRONG], ids=[line[32:70] for _, line in WRONG]
)
def test_what_a_wrong_file_says_is_found_in_the_page(line: str) -> None:
    """By its words: a line of the page has what is wrong, whatever the file has in it."""
    whole = line.replace("\nerror: gw:   ", "; ").replace("\nerror: gw:  ", " ")
    of_the_page = [
        text for entry in messages.entries(messages.PAGE.read_text()) for text in entry.lines
    ]
    said = [text for text in of_the_page if "PROBLEM" not in text]
    wordy = [text for text in said if len(re.sub(r"\b[A-Z_]+\b", "", text)) > 8]
    assert any(re.search(as_pattern(text.partition("; ")[0]), whole) for text in wordy)
