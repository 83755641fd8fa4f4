"""The entry: what is an event, and what is a command for people, whatever the environment says."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.events import environment
from vti_updown import cli
from vti_updown.admin import cli as people
from vti_updown.admin.commands import COMMANDS, EVERY_FLAG, FLAGS_OF_COMMANDS, command_line
from vti_updown.objects import mss
from vti_updown.output import error_lines
from vti_updown.settings.table import FLAGS, read_flags
from vti_updown.text import Refusal


@pytest.fixture
def entered(monkeypatch):
    """Who gets a command line in the environment of an event: the hook, or a command."""
    monkeypatch.setattr(os, "environ", environment("up-client"))
    monkeypatch.setattr(cli, "hook", lambda words, environ: "event")
    monkeypatch.setattr(people, "run", lambda words: "command")

    def enter(*words):
        monkeypatch.setattr(sys, "argv", ["vti-updown", *words])
        return cli.main()

    return enter


@pytest.mark.parametrize("name", [*COMMANDS, "repiar", "", "-"])
@pytest.mark.parametrize(
    "before",
    [
        [],
        ["--dry-run"],
        ["--stale"],
        ["--config", "repair"],
        ["--config=repair"],
        ["--name", "--dry-run"],
        ["--multicast"],
        ["--multicast=no", "--no-routes"],
        ["--"],
        ["--dry-run", "--"],
    ],
)
def test_a_commands_name_makes_it_a_command(entered, before, name):
    """Known or not, with PLUTO_VERB in the environment of a user's own command."""
    assert entered(*before, name) == "command"
    assert entered(*before, name, "--dry-run") == "command"
    assert command_line([*before, name]).command == name


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_flag_hides_no_command(entered, name):
    """What stands behind one may be its value, but a name that is known is a name."""
    assert entered("--rout", name) == "command"
    assert entered("--rout", "10.2.0.0/16", name) == "command"
    assert entered("--rout", "10.2.0.0/16") == "event"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--name", "repair"],
        ["--name=repair"],
        ["--up", "flush", "--down", "flush"],
        ["--route", "10.2.0.0/16", "--multicast"],
        ["--config"],
        ["--name", "a", "--name", "repair"],
        ["--help"],
        ["--rout"],
        ["--dry-run=yes"],
        ["--"],
    ],
)
def test_flags_alone_are_an_event(entered, words):
    """A value is no name, and a wrong flag must not keep a down from being done."""
    assert entered(*words) == "event"


def one_flag(flag):
    if flag.metavar is None:
        return st.just([f"--{flag.name}"])
    word = st.sampled_from([*COMMANDS, "--dry-run", "--", "a=b", "10.2.0.0/16"])
    with_equals = word.map(lambda value: [f"--{flag.name}={value}"])
    if flag.alone:
        return with_equals | st.just([f"--{flag.name}"])
    return with_equals | word.map(lambda value: [f"--{flag.name}", value])


def several(flags):
    return st.lists(st.sampled_from(flags).flatmap(one_flag), max_size=6)


@given(several(EVERY_FLAG), st.sampled_from([*COMMANDS, "repiar"]), several(EVERY_FLAG))
def test_a_name_is_found_among_any_flags(before, name, behind):
    """All other words are kept, in their order."""
    front = [word for flag in before for word in flag]
    back = [word for flag in behind for word in flag]
    assert command_line([*front, name, *back]) == (name, front + back)


@given(
    st.lists(st.sampled_from(FLAGS), unique_by=lambda flag: flag.name).flatmap(
        lambda flags: st.tuples(*map(one_flag, flags))
    )
)
def test_what_the_hook_takes_has_no_name(given_flags):
    """Both read flags by the same table, so that no word is a value to one and a name to the other."""
    words = [word for flag in given_flags for word in flag]
    read_flags(words)
    assert command_line(words).command is None


def test_an_unknown_command_is_an_error_and_no_event(capfd, monkeypatch):
    """The line says so, and that an event has no such words."""
    monkeypatch.setattr(os, "environ", environment("down-client"))
    for word, hint in (
        ("repiar", "write repair"),
        (
            "10.3.0.0/16",
            f"known are {', '.join(COMMANDS)}; an event takes flags only",
        ),
    ):
        refusal = Refusal(f"unknown command {word}", hint)
        monkeypatch.setattr(sys, "argv", ["vti-updown", "--route", "10.2.0.0/16", word])
        assert cli.main() == 2
        assert capfd.readouterr().out.splitlines() == error_lines(refusal, {})


def test_a_flag_of_commands_is_no_flag_of_an_event(capfd):
    """It is refused, not ignored."""
    for flag in FLAGS_OF_COMMANDS:
        assert cli.hook([f"--{flag.name}"], environment("up-client")) == 2
        assert capfd.readouterr().out == (
            f"error: gw: unknown flag --{flag.name}; see vti-updown --help\n"
        )


# What else a process may inherit


def test_a_commands_error_has_no_inherited_connection(capfd, monkeypatch):
    """It is not about the event in whose command it runs."""
    monkeypatch.setattr(os, "environ", environment("up-client"))
    monkeypatch.setattr(sys, "argv", ["vti-updown", "check-config", "--config", "/nonexistent"])
    assert cli.main() == 2
    assert capfd.readouterr().out == (
        "error: /nonexistent is not there; name a file that is, or leave --config out\n"
    )


@pytest.mark.parametrize("complete", ["bash_source", "bash_complete", "nonsense"])
def test_clicks_completion_does_not_take_a_commands_place(capfd, monkeypatch, complete):
    """A shell that exports its variable would else have a `repair` that does nothing."""
    monkeypatch.setenv("_VTI_UPDOWN_COMPLETE", complete)
    monkeypatch.setenv("COMP_WORDS", "vti-updown")
    monkeypatch.setenv("COMP_CWORD", "0")
    assert people.run(["check-config", "--config", "/nonexistent"]) == 2
    assert capfd.readouterr().out.startswith("error: /nonexistent is not there")


@pytest.mark.parametrize("complete", ["bash_source", "zsh_complete", "fish_source", "nonsense"])
def test_a_shells_completion_makes_nothing_else_of_an_event(entered, complete):
    """charon may have been started from a shell that exports such variables."""
    os.environ.update({"_VTI_UPDOWN_COMPLETE": complete, "COMP_WORDS": "vti-updown repair"})
    os.environ.update({"COMP_CWORD": "1", "COMP_LINE": "vti-updown repair", "COMP_POINT": "17"})
    assert entered("--route", "10.2.0.0/16") == "event"
    assert entered("repair") == "command"


@pytest.mark.parametrize("flag", EVERY_FLAG, ids=[flag.name for flag in EVERY_FLAG])
def test_no_variable_stands_for_a_flag(capfd, monkeypatch, flag):
    """As click would have it for a program that asks for that."""
    name = flag.name.upper().replace("-", "_")
    for variable in (name, f"VTI_UPDOWN_{name}", f"VTI_UPDOWN_CHECK_CONFIG_{name}"):
        monkeypatch.setenv(variable, "1")
    assert people.run(["check-config", "--config", "/nonexistent"]) == 2
    assert capfd.readouterr().out.startswith("error: /nonexistent is not there")


def test_nft_inherits_nothing(monkeypatch):
    """No variable of charon's or of a user's reaches it."""
    seen = {}

    def run(words, **named):
        seen.update(named)
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setenv("NFT_ANYTHING", "1")
    monkeypatch.setattr(subprocess, "run", run)
    mss._nft("list ruleset")
    assert list(seen["env"]) == ["PATH"]


def test_an_event_imports_nothing_that_only_people_need():
    """Not even in order to find out that it is one."""
    program = (
        "import sys; from vti_updown import cli; status = cli.main();"
        " wrong = [name for name in sys.modules if name == 'click' or 'admin' in name or 'vici' in name];"
        " sys.exit(status or ' '.join(wrong) or 0)"
    )
    words = ["--route", "10.2.0.0/16", "--name", "repair", "--multicast", "--version"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**os.environ, **environment("up-client")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fault_of_our_own_is_one_error(monkeypatch, capfd):
    """A log with a traceback says less than one line with the place."""

    def faulty(_words: object, _environ: object) -> int:
        raise KeyError("nothing")

    monkeypatch.setattr("sys.argv", ["vti-updown"])
    monkeypatch.setenv("PLUTO_VERB", "up-client")
    monkeypatch.setenv("PLUTO_CONNECTION", "gw")
    monkeypatch.setattr(cli, "hook", faulty)
    assert cli.main() == 1
    said = capfd.readouterr().out
    assert said.startswith(
        "error: gw: vti-updown has a fault of its own: KeyError: 'nothing' (test_"
    )
    assert "please report it" in said
