"""The user's own command after an event: `up` and `down` of the settings. It knows no tunnel.

charon answers nobody while a hook runs. So the hook waits a short time for a command, or not at
all: then a process of ours waits for it, and syslog gets what went wrong.

What a command prints goes into a pipe whose writing end can read, too. So a child that it leaves
behind holds no pipe of charon's. It is its own reader, and so gets no SIGPIPE. And it cannot fill
more memory than a pipe has.
"""

import os
import signal
import time
from collections.abc import Mapping

from ..named_tuple import NamedTuple
from ..text import said, shown

TYPE_CHECKING = False  # few tunnels have a command
if TYPE_CHECKING:
    from subprocess import Popen

SECONDS = 3
"""How long the hook waits for a command. charon answers no peer meanwhile."""
DETACHED_SECONDS = 60
"""How long a command may take that nobody waits for."""
KILL_SECONDS = 1
"""How long to wait for what was killed. A process that a file system holds ends later."""
LONGEST_PAUSE = 10
"""Milliseconds between two looks at a command that prints nothing."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_BYTES = 4096
"""As much of the end of its output as is kept."""
PIPE_BYTES = 1 << 16
"""As much as a pipe holds (pipe(7))."""

ASKS_CHARON = "swanctl hangs in it, as charon waits for the hook, unless command_detach = true"
TOO_LONG = "raise command_seconds, or put what takes longer into the background: COMMAND &"
NOT_RUN = "see that there are /bin/sh, /proc and /dev/null, and room for a process"


class Fault(NamedTuple):
    """What went wrong with a command, and what to do."""

    message: str
    hint: str = ""


class UserCommand(NamedTuple):
    setting: str
    """`up` or `down`."""
    words: str
    """For /bin/sh."""
    seconds: int | None = None
    """How long it may take. None stands for the default."""
    is_detached: bool = False
    """Whether the hook does not wait for it."""

    @property
    def limit(self) -> int:
        if self.seconds is not None:
            return self.seconds
        if self.is_detached:
            return DETACHED_SECONDS
        return SECONDS

    def fault(self, what: str, hint: str = "") -> Fault:
        return Fault(f"its {self.setting} command {what}", hint)

    def write(self) -> str:
        """As the records keep it: a `down` runs the command of its `up`, and as that had it."""
        import json

        return json.dumps(list(self))


def read(written: str) -> UserCommand:
    """What `write` has written."""
    import json

    fields = json.loads(written)
    return UserCommand(*fields)


def run(
    written: str,
    environ: Mapping[str, str],
    ifname: str,
    is_late: bool = False,
) -> Fault | None:
    """Runs a command by /bin/sh, and returns what went wrong, or None.

    It gets PLUTO_* and the link's name, and no standard input. If the event `is_late`, nobody waits
    for the command.
    """
    try:
        command = read(written)
    except (ValueError, TypeError):
        return Fault("the record of its command cannot be read", "run it by hand, if it must run")
    environment = _environment(environ, ifname)
    if command.is_detached or is_late:
        return _detach(command, environment)
    return _fault(command, environment)


def _environment(environ: Mapping[str, str], ifname: str) -> dict[str, str]:
    environment = {}
    for name, value in environ.items():
        if name.startswith("PLUTO_"):
            environment[name] = value
    environment["PATH"] = PATH
    environment["VTI_UPDOWN_IFNAME"] = ifname
    return environment


# Waiting for it


def _fault(command: UserCommand, environment: Mapping[str, str]) -> Fault | None:
    """Runs it, and kills it with all its children if it takes too long."""
    try:
        output = _Output()
        try:
            status = _status(command, environment, output)
            last_line = output.last_line()
        finally:
            output.close()
    except OSError as error:
        return _not_run(command, error)
    if status is None:
        hint = TOO_LONG if command.is_detached else ASKS_CHARON
        return command.fault(f"was killed after {command.limit} s", hint)
    if status == 0:
        return None
    ended = f"ended with status {status}"
    if status < 0:
        ended = f"ended with signal {-status}"
    if not last_line:
        return command.fault(ended)
    said = shown(last_line, 50)
    return command.fault(f"{ended}: {said}")


def _not_run(command: UserCommand, error: OSError) -> Fault:
    reason = shown(error.strerror)
    return command.fault(f"could not be run: {reason}", NOT_RUN)


def _status(
    command: UserCommand,
    environment: Mapping[str, str],
    output: "_Output",
) -> int | None:
    """The exit status of a command, or a negative signal. None if it took too long."""
    process = _started(command, environment, output)
    deadline = time.monotonic() + command.limit
    pause = 1
    while process.poll() is None:
        if time.monotonic() >= deadline:
            _kill(process)
            return None
        output.read(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return process.returncode


def _started(
    command: UserCommand,
    environment: Mapping[str, str],
    output: "_Output",
) -> "Popen[bytes]":
    import subprocess  # few tunnels need it

    # charon blocks SIGTERM and others, and children inherit that, but for those of dash. `timeout`
    # would then end nothing.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return subprocess.Popen(  # noqa: S603 (root's own words, from a file that only root can write)
        ["/bin/sh", "-c", command.words],
        stdin=subprocess.DEVNULL,
        stdout=output.writer,
        stderr=output.writer,
        cwd="/",
        env=environment,
        start_new_session=True,
    )


def _kill(process: "Popen[bytes]") -> None:
    """Kills it with all its children, but for one that has begun a session of its own."""
    import subprocess

    os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(KILL_SECONDS)
    except subprocess.TimeoutExpired:
        pass  # init takes it over


class _Output:
    """What a command prints. Only the end of it is kept."""

    def __init__(self) -> None:
        import select

        self._reader, writer = os.pipe()
        # Opened anew it can read, too. So whoever has it never writes to a pipe without a reader.
        self.writer = os.open(f"/proc/self/fd/{writer}", os.O_RDWR | os.O_CLOEXEC)
        os.close(writer)
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)
        self._end = b""

    def read(self, milliseconds: int) -> None:
        """Reads what there is. If there is nothing, it waits for something, but not longer."""
        if self._poll.poll(milliseconds):
            piece = os.read(self._reader, PIPE_BYTES)
            both = self._end + piece
            self._end = both[-OUTPUT_BYTES:]

    def last_line(self) -> str:
        """The last line that is not blank, after the command has ended. Empty if there is none."""
        # Nobody reads any more. A child that was left behind must not wait for that.
        os.set_blocking(self.writer, False)
        self.read(0)
        text = self._end.decode("utf-8", "replace")
        for each in reversed(text.split("\n")):
            if each.strip():
                return each
        return ""

    def close(self) -> None:
        os.close(self._reader)
        os.close(self.writer)


# Not waiting for it


def _detach(command: UserCommand, environment: Mapping[str, str]) -> Fault | None:
    """Leaves the command to a process of ours. Returns what went wrong, if that cannot be."""
    try:
        is_hook = os.fork()
    except OSError as error:
        return _not_run(command, error)
    if is_hook:
        return None
    try:
        _let_go()
        fault = _fault(command, environment)
        if fault is not None:
            connection = environment.get("PLUTO_CONNECTION", "")
            _tell_syslog(connection, fault)
    finally:
        os._exit(0)


def _let_go() -> None:
    """charon waits until nobody has its pipe open."""
    os.setsid()
    os.chdir("/")
    most = os.sysconf("SC_OPEN_MAX")
    os.closerange(0, most)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _tell_syslog(connection: str, fault: Fault) -> None:
    import syslog

    name = shown(connection, 30)
    head = f"warning: {name}:"
    lines = said(f"{head} ", fault.message, fault.hint)
    syslog.openlog("vti-updown", syslog.LOG_PID, syslog.LOG_DAEMON)
    for each in lines:
        syslog.syslog(syslog.LOG_WARNING, each)
