"""The help and the manual page, as somebody sees them who has not seen the program before."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import man_page
from vti_updown.admin.commands import COMMANDS, EVERY_FLAG

ROOT = Path(__file__).parent.parent.parent
COLUMNS = 80
MACROS = ["SH", "SS", "PP", "TP", "IP", "TH", "BR", "br", "nf", "fi", "nh", "ad"]


def help_of(*words: str, **variables: str) -> str:
    script = "import sys; from vti_updown.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, *words, "--help"],
        env={**os.environ, "COLUMNS": str(COLUMNS), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)], ids=["none", *COMMANDS])
def test_a_screen_of_help_fits_and_nothing_is_cut(words: list[str]) -> None:
    """80 columns are enough, no word is broken at its hyphen, and no sentence ends in dots."""
    told = help_of(*words)
    assert max(map(len, told.splitlines())) < COLUMNS
    assert "..." not in re.sub(r"\](\.\.\.)", "]", told)
    assert not re.search(r"\w-\n", told)


def test_the_list_of_commands_is_whole_and_comes_first() -> None:
    """Each with its first sentence, before the flags, of which there are many."""
    told = help_of()
    commands, _, flags = told.partition("Options of an event")
    for command in COMMANDS.values():
        assert f"  {command.name.ljust(12)}  {command.summary}\n" in commands
    assert "--route NET" in flags and "--command-detach[=yes|no]" in flags


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_first_sentence_of_a_command_says_what_it_does(command) -> None:
    """It stands alone in the list of commands, so it has one line."""
    assert command.help.startswith(command.summary)
    assert len(command.summary) <= COLUMNS - 20


# The manual page


def test_the_manual_page_is_what_the_tables_say(capsys: pytest.CaptureFixture[str]) -> None:
    """What `make man` writes."""
    assert man_page.main(["--check"]) == 0, capsys.readouterr().out


def test_the_manual_page_has_every_command_and_flag() -> None:
    """In the place of its own, with its key in the file if it has one."""
    page = man_page.PAGE.read_text()
    for command in COMMANDS.values():
        assert f".TP\n{man_page.call_of(command)}\n" in page
    for flag in EVERY_FLAG:
        assert f".TP\n{man_page.usage(flag)}\n" in page
        assert (flag.parse is None) or rf"\fB{man_page.escaped(flag.key)} = " in page.replace(
            "\n", " "
        )


def test_the_manual_page_is_plain_roff() -> None:
    """What mandoc and groff would warn of, as far as the page may have it."""
    page = man_page.PAGE.read_text()
    assert page.isascii()
    without_examples = re.sub(r"(?ms)^\.nf$.*?^\.fi$", ".nf\n.fi", page)
    for line in without_examples.splitlines()[1:]:
        assert line and line == line.rstrip()
        macro = re.match(r"\.(\w+)", line)
        assert not line.startswith("'") and (macro is None or macro[1] in MACROS)
        assert line.startswith(".") or not re.search(r"\\(?!f[BIR]|[-&e(]|\[u)", line)
    assert not re.search(r"(?m)^\.S[HS].*\n\.[PS]", page), "an empty section"
    assert page.count(r"\fB") + page.count(r"\fI") == page.count(r"\fR")


@pytest.mark.parametrize(
    ("text", "roff"),
    [
        ("a-b", r"a\-b"),
        (".br", r"\&.br"),
        ("'quote'", r"\(aqquote\(aq"),
        (r"back\slash", r"back\eslash"),
        ("…", r"\[u2026]"),
        ("`--route` _NET_", r"\fB\-\-route\fR \fINET\fR"),
        ("CHILD_SA and CHILD_SAs", "CHILD_SA and CHILD_SAs"),
    ],
)
def test_a_text_stays_what_it_is_in_roff(text: str, roff: str) -> None:
    """None of its characters is a request or an escape to roff."""
    assert man_page.filled(man_page.marked(text)) == roff
