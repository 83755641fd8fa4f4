"""The completions, in a bash that a person types into, and what all three of them have."""

import os
import pty
import re
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import completions
from support.events import environment
from vti_updown.admin.commands import COMMANDS, EVERY_FLAG
from vti_updown.event import parse
from vti_updown.records.matching import caller
from vti_updown.records.records import opened
from vti_updown.settings.table import Flag

ROOT = Path(__file__).parent.parent.parent
SECONDS = 60
"""How long a shell may take before the test gives up. It is not measured."""
ALL, TAB, SHOW, CLEAR = "\x1b*", "\t", "\x14", "\x15\x0b"
"""Keys: put in all completions, the one that there is, print the line, and empty it."""
SETTINGS = """
[default]
mtu = 1400
[connection.aws1]
mark = 2
[connection."rw-*"]
mark = 3
[connection."a:b"]
mark = 4
[connection."with blank"]
mark = 5
"""


SET_UP = r"""
bind 'set enable-bracketed-paste off'
bind 'set completion-query-items -1'
bind -x '"\C-t": printf "LINE<%s>\n" "$READLINE_LINE"'
"""


class Bash:
    """An interactive bash with the completions, and nothing of the user's."""

    def __init__(self, folder: Path, script: str) -> None:
        start = folder / "bashrc"
        start.write_text(SET_UP + script)
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            variables = {"PATH": os.environ["PATH"], "INPUTRC": "/dev/null", "TERM": "dumb"}
            variables |= {"PS1": "$ ", "COLUMNS": "1000", "HOME": str(folder)}
            words = ["bash", "--noprofile", "--rcfile", str(start), "-i"]
            os.execvpe("bash", words, variables)
        self.run("true")

    def run(self, command: str) -> None:
        """Types a command, and waits until it has ended."""
        self._type(f"{command}; echo do''ne\n")
        self._wait_for(r"done\r?\n")

    def completed(self, line: str, key: str = ALL) -> str:
        """The line after every completion of its last word has been put in."""
        self._type(line + key + SHOW)
        found = self._wait_for(r"LINE<(.*?)>\r?\n")
        self._type(CLEAR)
        return found[1].removesuffix(" ")

    def _type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def _wait_for(self, pattern: str) -> re.Match[str]:
        said = b""
        found = None
        while found is None:
            ready, _, _ = select.select([self._terminal], [], [], SECONDS)
            assert ready, said
            said += os.read(self._terminal, 1 << 16)
            found = re.search(pattern, said.decode("utf-8", "replace"))
        return found

    def close(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Records of a tunnel that is up, and of one that stands."""
    folder = tmp_path / "run"
    with opened("1-2a", str(folder)) as there:
        for name, stands in (("gw", False), ("office", True), ("$(touch harm)", False)):
            event = parse({**environment("up-client"), "PLUTO_CONNECTION": name})
            who = caller("1@2@3", event)
            if stands:
                there.references.stand(name, who, ())
            else:
                there.references.add(who, ())
        there.commit()
    return folder


@pytest.fixture
def bash(tmp_path: Path, records: Path) -> Iterator[Bash]:
    (tmp_path / "settings.toml").write_text(SETTINGS)
    (tmp_path / "sub folder").mkdir()
    script = (ROOT / "completions/vti-updown.bash").read_text()
    script = script.replace("/run/vti-updown", str(records))
    script = script.replace("/etc/vti-updown.toml", str(tmp_path / "settings.toml"))
    started = Bash(tmp_path, script)
    yield started
    started.close()


IN_FILE = "--config=settings.toml"
LINES = [
    ("", "check-config explain flush history prepare release repair report status"),
    ("re", "release repair report"),
    ("--ki", "--kind"),
    ("--kind ", "--kind auto vti vti6 xfrm"),
    ("--kind vt", "--kind vti vti6"),
    ("--when-down k", "--when-down keep"),
    ("--multicast re", "--multicast release repair report"),
    ("--name repair re", "--name repair release repair report"),
    ("--dry-run re", "--dry-run release repair report"),
    ("repair --", "repair --dry-run --help --version"),
    ("repair re", "repair re"),
    ("flush --st", "flush --stale"),
    ("--stale fl", "--stale flush"),
    ("--config set", "--config settings.toml"),
    ("--config sub", "--config sub\\ folder"),
    ("--device l", "--device lo"),
    ("--mtu 1", "--mtu 1"),
    ("prepare ", "prepare a:b aws1 with\\ blank"),
    ("prepare a:", "prepare a:b"),
    ("prepare aws1 w", "prepare aws1 with\\ blank"),
    ("prepare --config /dev/null ", "prepare --config /dev/null "),
    ("prepare --config nowhere ", "prepare --config nowhere "),
    (f"{IN_FILE} prepare aw", f"{IN_FILE} prepare aws1"),
    ("--settings rw", "--settings rw-\\*"),
    ("release ", "release office"),
    ("release g", "release g"),
]
BEHIND_EQUALS = [
    ("--kind=", "--kind=", ["auto", "vti", "vti6", "xfrm"]),
    ("--kind=vt", "--kind=", ["vti", "vti6"]),
    ("--multicast=", "--multicast=", ["no", "yes"]),
    ("--config=set", "--config=", ["settings.toml"]),
    ("--settings=a:", "--settings=", ["a:b"]),
    ("prepare --config=settings.toml --dry-run aw", "prepare --config=settings.toml --dry-run ", ["aws1"]),
]  # fmt: skip


def test_bash_completes_what_fits(bash: Bash) -> None:
    """Commands, flags of the command, choices, files, links, and connections that are known."""
    found = {line: bash.completed(f"vti-updown {line}") for line, _ in LINES}
    assert found == {line: f"vti-updown {after}".removesuffix(" ") for line, after in LINES}


def test_bash_completes_between_quotes(bash: Bash) -> None:
    """A quote that is open is closed."""
    assert bash.completed("vti-updown prepare 'wi", TAB) == "vti-updown prepare 'with blank'"
    assert bash.completed('vti-updown prepare "wi', TAB) == 'vti-updown prepare "with blank"'
    assert bash.completed("vti-updown --config 'sub", TAB) == "vti-updown --config 'sub folder'/"


@pytest.mark.parametrize("parted", [True, False])
def test_bash_completes_behind_an_equals_sign(bash: Bash, parted: bool) -> None:
    """Whether bash parts the words there or, as some people have it, does not."""
    if not parted:
        bash.run("COMP_WORDBREAKS=${COMP_WORDBREAKS//[=:]}")
    for line, kept, values in BEHIND_EQUALS:
        whole = [f"{kept}{value}" for value in values]
        first, *others = values if parted or not kept.startswith("--") else whole
        after = " ".join([f"{kept}{first.removeprefix(kept)}", *others])
        assert bash.completed(f"vti-updown {line}") == f"vti-updown {after}"


def test_no_name_of_a_connection_is_run(bash: Bash, tmp_path: Path) -> None:
    """Neither when it is completed, nor when Enter follows; in double quotes it is not offered."""
    (tmp_path / "settings.toml").write_text('[connection."$(touch harm)"]\n')
    assert bash.completed("vti-updown prepare ") == r"vti-updown prepare \$\(touch\ harm\)"
    assert bash.completed('vti-updown prepare "', TAB) == 'vti-updown prepare "'
    bash.run("true vti-updown prepare " + r"\$\(touch\ harm\)")
    assert not (tmp_path / "harm").exists()


def test_without_python_there_are_no_names(bash: Bash) -> None:
    """All else is completed."""
    bash.run("PATH=/nonexistent")
    assert bash.completed("vti-updown prepare aw") == "vti-updown prepare aw"
    assert bash.completed("vti-updown prepare --dr") == "vti-updown prepare --dry-run"


def names(which: str, file: Path, folder: Path) -> list[str]:
    """What the completions' small program prints, in a Python of its own."""
    import subprocess

    words = [sys.executable, "-I", "-S", "-c", completions.NAMES, which, str(file), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_names_are_of_the_settings_and_of_the_records(tmp_path: Path, records: Path) -> None:
    """A pattern is no connection, but `--settings` takes it."""
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)
    assert names("tables", file, records) == ["a:b", "aws1", "rw-*", "with blank"]
    assert names("prepared", file, records) == ["a:b", "aws1", "with blank"]
    assert names("standing", file, records) == ["office"]
    assert names("connections", file, records) == [
        "$(touch harm)", "a:b", "aws1", "gw", "office", "with blank",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"\xff", b'[connection]\n"a\\nb" = {}', b"connection = 1"]
)
def test_what_cannot_be_read_gives_no_names(tmp_path: Path, data: bytes) -> None:
    """And no word of it: a person is in the middle of a line."""
    file = tmp_path / "settings.toml"
    file.write_bytes(data)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "1.sqlite").write_bytes(b"no records at all" * 100)
    for which in ("tables", "prepared", "standing", "connections"):
        assert names(which, file, folder) == []
        assert names(which, tmp_path / "nowhere", tmp_path / "nowhere") == []


def test_names_are_read_while_an_event_holds_the_records(records: Path, tmp_path: Path) -> None:
    """The lock is not waited for, and nothing of theirs changes."""
    with opened("1-2a", str(records)) as there:
        before = {file.name: file.read_bytes() for file in records.iterdir()}
        assert names("standing", tmp_path / "nowhere", records) == ["office"]
        assert {file.name: file.read_bytes() for file in records.iterdir()} == before
        there.commit()


def test_the_completions_are_what_the_tables_say(capsys: pytest.CaptureFixture[str]) -> None:
    """What `make completions` writes."""
    assert completions.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("file", completions.FILES)
def test_each_shell_has_every_command_flag_and_choice(file: str) -> None:
    """None of the three is forgotten when the tables grow."""
    text = (ROOT / "completions" / file).read_text()
    for command in COMMANDS.values():
        assert re.search(rf"\b{command.name}\b", text)
    for flag in EVERY_FLAG:
        option = f"-l {flag.name} " if file.endswith(".fish") else f"--{flag.name}"
        assert option in text
        assert " ".join(flag.choices) in text


@pytest.mark.parametrize("flag", EVERY_FLAG, ids=[flag.name for flag in EVERY_FLAG])
def test_a_word_that_is_offered_is_right(flag: Flag) -> None:
    """The parser of the flag takes every choice of its row."""
    for word in flag.choices:
        flag.typed(flag.words([word]))
    assert not (flag.choices and flag.completes)
