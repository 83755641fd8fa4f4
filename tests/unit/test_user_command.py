"""The user's own commands, as /bin/sh runs them."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vti_updown.hook import user_command
from vti_updown.hook.user_command import Fault, UserCommand
from vti_updown.text import LINE_BYTES

ENVIRON = {"PLUTO_CONNECTION": "gw", "PLUTO_VERB": "up-client", "SECRET": "1"}


def run(words: str, seconds: int | None = None, is_detached: bool = False) -> Fault | None:
    command = UserCommand("up", words, seconds, is_detached)
    return user_command.run(command.write(), ENVIRON, "vti1")


def eventually(holds) -> bool:
    """Whether it holds within 10 s."""
    for _ in range(1000):
        if holds():
            return True
        time.sleep(0.01)
    return False


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def number_in(file: Path) -> int:
    """The number that a command has written into a file, once it is there."""
    assert eventually(lambda: file.exists() and file.read_text().endswith("\n"))
    return int(file.read_text())


# What is said of it


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("true", None),
        ("echo fine", None),
        ("exit 3", "ended with status 3"),
        ("echo oh no; exit 3", "ended with status 3: oh no"),
        ("echo oh; echo no >&2; echo; exit 1", "ended with status 1: no"),
        ("echo oh no >/dev/stderr; exit 1", "ended with status 1: oh no"),
        ("printf 'no newline'; exit 1", "ended with status 1: no newline"),
        ("printf '\\033[31m\\n'; exit 1", "ended with status 1: \\x1b[31m"),
        ("kill -9 $$", "ended with signal 9"),
        ("sleep 2 & echo oh no; exit 1", "ended with status 1: oh no"),
        (f"echo {'n' * 60}; exit 1", f"ended with status 1: {'n' * 49}…"),
    ],
)
def test_a_fault_is_told_with_the_last_line_of_output(words, said):
    """The last one that is not blank, of standard output and standard error."""
    fault = run(words)
    assert (fault and fault.message) == (said and f"its up command {said}")


def test_a_command_gets_pluto_and_the_links_name_only(tmp_path):
    """Nothing else of the hook's environment, and no standard input."""
    assert run(f"env >{tmp_path}/env; cat >{tmp_path}/input; pwd >{tmp_path}/folder") is None
    told = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert told.items() >= {
        ("PLUTO_CONNECTION", "gw"),
        ("VTI_UPDOWN_IFNAME", "vti1"),
        ("PATH", user_command.PATH),
    }
    assert "SECRET" not in told
    assert (tmp_path / "input").read_text() == "" and (tmp_path / "folder").read_text() == "/\n"


def test_a_system_that_starts_nothing_is_a_fault_of_the_command(monkeypatch):
    """The tunnel is up by then, and that is still said."""

    def refuse(*_words, **_how):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "fork", refuse)
    told = "its up command could not be run: Resource temporarily unavailable"
    for is_detached in (False, True):
        assert run("true", is_detached=is_detached) == Fault(told, user_command.NOT_RUN)


# Its limit


def test_the_limit_is_short_and_says_why_swanctl_hangs():
    """charon answers no peer while it waits for the hook."""
    begun = time.monotonic()
    assert run("sleep 60") == Fault("its up command was killed after 3 s", user_command.ASKS_CHARON)
    assert 3 <= time.monotonic() - begun < 10
    assert UserCommand("up", "true", is_detached=True).limit == 60
    assert "swanctl hangs" in user_command.ASKS_CHARON
    assert "command_detach" in user_command.ASKS_CHARON


def test_every_hint_fits_into_a_line():
    """Behind `warning: ` and two blanks."""
    for hint in (user_command.ASKS_CHARON, user_command.TOO_LONG, user_command.NOT_RUN):
        assert len(hint.encode()) <= LINE_BYTES - len("warning:   ")


def test_at_the_limit_all_children_are_killed(tmp_path):
    """Those that are in the background, too."""
    fault = run(f"sleep 60 & echo $! >{tmp_path}/child; sleep 60", seconds=1)
    assert fault is not None and fault.message == "its up command was killed after 1 s"
    assert eventually(lambda: is_gone(number_in(tmp_path / "child")))


def test_signals_that_charon_blocks_reach_a_command(monkeypatch):
    """Or `timeout` in it would not end what hangs. dash unblocks them, other shells do not."""
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda words, **how: start(["bash", *words[1:]], **how)
    )
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        fault = run("kill -TERM $$; sleep 1; exit 3")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    assert fault is not None and fault.message == "its up command ended with signal 15"


# What it prints


def test_a_command_that_prints_without_end_fills_no_memory():
    """Nor any file: what it prints stays within a pipe, and the end of it is kept."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fault = run("dd if=/dev/zero bs=1M 2>/dev/null", seconds=1)
    assert fault is not None and fault.message == "its up command was killed after 1 s"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 8 * 1024  # KiB


def test_what_a_command_writes_to_is_a_pipe_of_bounded_size(monkeypatch):
    """It is no file in memory, which would grow as long as somebody writes."""
    sizes = []
    close = user_command._Output.close

    def closed(output):
        sizes.append(fcntl.fcntl(output.writer, fcntl.F_GETPIPE_SZ))
        close(output)

    monkeypatch.setattr(user_command._Output, "close", closed)
    run("true")
    assert sizes == [user_command.PIPE_BYTES]


def test_a_chatty_command_is_not_disturbed():
    """It prints more than a pipe holds, and ends as it would on a terminal."""
    assert run("seq 1 300000 && exit 0; exit 1") is None
    fault = run("seq 1 300000; exit 7")
    assert fault is not None and fault.message == "its up command ended with status 7: 300000"


def test_a_child_left_behind_prints_on_and_lives(tmp_path):
    """No signal ends it, it waits for nobody, and it fills no memory."""
    child = (
        "import itertools, os, signal\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "failed = 0\n"
        "for turn in itertools.count():\n"
        "    try: os.write(1, b'x' * 4096)\n"
        "    except OSError: failed += 1\n"
        "    if failed == 1000: break\n"
        f"open('{tmp_path}/ended', 'w').write(f'{{failed}}\\n')\n"
    )
    (tmp_path / "child.py").write_text(child)
    assert run(f"{sys.executable} {tmp_path}/child.py &") is None
    assert number_in(tmp_path / "ended") == 1000


def test_a_pipeline_in_a_command_ends_as_everywhere():
    """Its own programs get SIGPIPE."""
    assert run("yes | head -n 1", seconds=2) is None


# Not waiting for it


@pytest.fixture
def told(tmp_path, monkeypatch):
    """The file that has what syslog would get."""
    file = tmp_path / "syslog"

    def tell(connection, fault):
        file.write_text(f"{connection}\n{fault.message}\n{fault.hint}\n")

    monkeypatch.setattr(user_command, "_tell_syslog", tell)
    return file


def reaped() -> None:
    """The process that waits for a command is this test's child, since the hook does not end."""
    os.wait()


def test_a_detached_command_holds_nobody_up(tmp_path, told):
    """Not the hook, nor charon, which waits until its pipe is closed."""
    reader, writer = os.pipe()
    waits = f"until [ -e {tmp_path}/go ]; do sleep 0.1; done; echo 1 >{tmp_path}/done"
    script = (
        "import os\n"
        "from vti_updown.hook.user_command import UserCommand, run\n"
        f"command = UserCommand('up', {waits!r}, None, True)\n"
        "assert run(command.write(), {}, 'vti1') is None\n"
        "os._exit(0)\n"
    )
    hook = [sys.executable, "-c", script]
    subprocess.run(hook, stdout=writer, stderr=writer, check=True)
    os.close(writer)
    assert os.read(reader, 100) == b""  # the end of the file: nobody has the pipe open
    os.close(reader)
    assert not (tmp_path / "done").exists()
    (tmp_path / "go").touch()
    assert number_in(tmp_path / "done") == 1


def test_who_waits_for_a_detached_command_holds_no_file(tmp_path, told):
    """Above all not the lock of the records, which a fork would share."""
    held = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(held, True)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert run(f"ls -l /proc/$PPID/fd /proc/$$/fd >{tmp_path}/files", is_detached=True) is None
    reaped()
    os.close(held)
    files = (tmp_path / "files").read_text()
    assert "/dev/null" in files and "lock" not in files
    assert not told.exists()


def test_who_waits_for_a_detached_command_is_of_no_session_of_charons(tmp_path, told):
    """So no signal to charon's group or terminal reaches it."""
    assert run(f"cut -d ' ' -f 6 /proc/$PPID/stat >{tmp_path}/session", is_detached=True) is None
    reaped()
    session = number_in(tmp_path / "session")
    assert session != os.getsid(0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("echo oh no; exit 3", "gw\nits up command ended with status 3: oh no\n\n"),
        ("sleep 60", f"gw\nits up command was killed after 1 s\n{user_command.TOO_LONG}\n"),
    ],
)
def test_a_detached_command_that_fails_is_told_to_syslog(told, words, said):
    """In the words that charon's log would have."""
    assert run(words, seconds=1, is_detached=True) is None
    reaped()
    assert told.read_text() == said


def test_syslog_gets_lines_of_ours(monkeypatch):
    """With the connection's name, since no other line is near."""
    import syslog

    lines = []
    monkeypatch.setattr(syslog, "openlog", lambda *how: lines.append(how))
    monkeypatch.setattr(syslog, "syslog", lambda _priority, line: lines.append(line))
    user_command._tell_syslog("gw\n", Fault("its up command was killed after 60 s", "do it"))
    assert lines == [
        ("vti-updown", syslog.LOG_PID, syslog.LOG_DAEMON),
        "warning: gw\\n: its up command was killed after 60 s; do it",
    ]


def test_a_down_runs_with_what_its_up_had():
    """The records keep the command with its limit and whether to wait for it."""
    command = UserCommand("down", 'echo "ü" \\ \n', 5, True)
    assert user_command.read(command.write()) == command
