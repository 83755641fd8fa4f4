"""A program on a terminal of its own, as virtme-ng wants it."""

import os
import pty
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def run_on_a_terminal(
    words: list[str], started: Path, seconds: int, show: bool, interactive: bool
) -> bytes:
    """Runs a program and shows what it prints once `started` is there; returns what came before.

    It is ended when `started` is not there after `seconds`.
    """
    keyboard = sys.stdin.fileno() if interactive and sys.stdin.isatty() else None
    child, terminal = pty.fork()
    if child == 0:
        os.environ["PATH"] = f"{Path(words[0]).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        os.execv(words[0], words)
    early = b""
    try:
        with raw(keyboard):
            for data in output(terminal, keyboard, started, time.monotonic() + seconds):
                if not started.exists():
                    early += data
                elif show:
                    os.write(1, data if keyboard is not None else data.replace(b"\r\n", b"\n"))
    finally:
        end_session(child)
        os.close(terminal)
    return early


def output(terminal: int, keyboard: int | None, started: Path, end: float) -> Iterator[bytes]:
    """What the program prints, until it ends; meanwhile it gets what is typed."""
    sources = [terminal] if keyboard is None else [terminal, keyboard]
    while started.exists() or time.monotonic() < end:
        ready, _, _ = select.select(sources, [], [], 1)
        if keyboard is not None and keyboard in ready:
            os.write(terminal, os.read(keyboard, 4096))
        if terminal not in ready:
            continue
        try:
            yield os.read(terminal, 65536)
        except OSError:  # the other end is closed
            return


@contextmanager
def raw(keyboard: int | None) -> Iterator[None]:
    """Each key goes to the program as it is typed, and the keyboard is as before at the end."""
    if keyboard is None:
        yield
        return
    modes = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, modes)


def end_session(child: int) -> None:
    """Ends the program and all that it has started: pty.fork() has made it a session of its own."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(child, 0)
