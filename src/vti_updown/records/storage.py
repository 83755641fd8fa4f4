"""Where the records are kept, and how: it knows files and SQLite's errors, not what is recorded.

There is a directory that only root can enter, a lock with a limit on the wait, and some room for
the day when the disk is full.
"""

import contextlib
import fcntl
import os
import signal
import sqlite3
import stat
from collections.abc import Iterator
from types import FrameType

from .. import state
from ..text import Refusal

DIRECTORY = state.DIRECTORY
LOCK_SECONDS = 5.0
"""How long an event waits for another.

charon answers no peer meanwhile. An event that does not get the records is written down: see
`late.py`.
"""
LOCK_FIELDS = 6
"""How many fields a line of /proc/locks has at least, up to the inode."""
ROOM_BYTES = 1 << 17
"""How much room is kept for the day when there is no other."""

DatabaseError = sqlite3.DatabaseError
"""What SQLite raises while the records are used."""


class RecordsError(Refusal):
    """The records cannot be had: status 1."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint, 1)


class HeldError(RecordsError):
    """Another process has held the records all the time that was waited."""

    def __init__(self, holder: str, seconds: float) -> None:
        self.holder = holder
        what = f"{holder} has held our records for {seconds:g} s"
        super().__init__(what, f"see what it does; kill {holder} if it hangs")


class StorageError(RecordsError):
    """The records cannot be kept where they should be.

    An event can still do its work, on a copy in memory.
    """


@contextlib.contextmanager
def locked(
    directory: str,
    namespace: str,
    seconds: float,
) -> Iterator[None]:
    """Holds the lock of a namespace's records meanwhile, and makes files for us alone.

    Raises HeldError where it is not to be had within `seconds`, and StorageError where the
    directory cannot be written.
    """
    old_mask = os.umask(0o077)
    try:
        lock = _opened_lock(directory, namespace)
        try:
            take_lock(lock, seconds)
            yield
        finally:
            os.close(lock)
    finally:
        os.umask(old_mask)


def _opened_lock(directory: str, namespace: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        own_directory(directory)
        return os.open(f"{directory}/{namespace}.lock", flags, 0o600)
    except OSError as error:
        what = f"cannot write {directory}: {error.strerror}"
        raise StorageError(what, "the hook keeps its records there, as root") from None


def own_directory(directory: str) -> None:
    """Makes the directory, or sees that nobody else can put anything into it."""
    try:
        os.mkdir(directory, 0o700)
        return
    except FileExistsError:
        status = os.lstat(directory)
    if not _is_ours_alone(status):
        what = f"{directory} is not ours alone"
        raise StorageError(what, "see who made it, and what is in it; then remove it")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        os.chmod(directory, 0o700)


def _is_ours_alone(status: os.stat_result) -> bool:
    """Whether it is a directory of ours that nobody else can write."""
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return False
    return not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def is_damage(error: DatabaseError) -> bool:
    """Whether the file itself is to blame, rather than room, rights or another process."""
    return type(error) is DatabaseError


def connect(file: str) -> sqlite3.Connection:
    if os.path.islink(file):  # never ours, and never followed
        os.unlink(file)
    return sqlite3.connect(file, isolation_level=None)


def connect_anew(file: str) -> sqlite3.Connection:
    """Sets aside a file that is damaged, and begins another."""
    os.replace(file, f"{file}.damaged")
    return connect(file)


def keep_room(file: str) -> None:
    """Keeps room for the events to come, should the disk be full then.

    charon never asks for a `down` again.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        room = os.open(f"{file}.room", flags, 0o600)
    except OSError:
        return  # It is there already, or there is no room for it now.
    try:
        os.posix_fallocate(room, 0, ROOM_BYTES)
    except OSError:
        os.unlink(f"{file}.room")
    finally:
        os.close(room)


def forget_earlier_boots(directory: str, namespace: str) -> None:
    """Removes the records of earlier boots: what they tell of is gone.

    They are still there where /run is a folder of the disk.
    """
    _, dash, this_boot = namespace.partition("-")
    if not dash:
        return
    for name in os.listdir(directory):
        whole_name, _, _ = name.partition(".")
        cookie, _, boot = whole_name.partition("-")
        if cookie.isdigit() and boot != this_boot:
            _remove(f"{directory}/{name}")


def _remove(path: str) -> None:
    """Removes a file, or a folder of files."""
    try:
        if not os.path.isdir(path):
            os.unlink(path)
            return
        for name in os.listdir(path):
            os.unlink(f"{path}/{name}")
        os.rmdir(path)
    except OSError:
        pass


def give_up_room(file: str) -> None:
    try:
        os.unlink(f"{file}.room")
    except OSError:
        pass


class _TimeUpError(Exception):
    pass


def _time_up(_number: int, _frame: FrameType | None) -> None:
    raise _TimeUpError


def take_lock(lock: int, seconds: float) -> None:
    """Takes the lock; the kernel wakes waiters in their order.

    Raises HeldError after `seconds`, naming the holder. With 0 it does not wait.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        pass
    if not seconds:
        raise HeldError(_holder(lock), seconds)
    _wait_for_lock(lock, seconds)


def _wait_for_lock(lock: int, seconds: float) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})  # a parent may have blocked it
    old = signal.signal(signal.SIGALRM, _time_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _TimeUpError:
        raise HeldError(_holder(lock), seconds) from None
    finally:
        signal.signal(signal.SIGALRM, old)


def _holder(lock: int) -> str:
    """The process that holds the lock, by /proc/locks."""
    inode = str(os.fstat(lock).st_ino)
    try:
        with open("/proc/locks", encoding="ascii") as lines:
            for line in lines:
                pid = _holder_in(line, inode)
                if pid is not None:
                    return f"PID {pid}"
    except OSError:
        pass
    return "another process"


def _holder_in(line: str, inode: str) -> str | None:
    """Who holds the lock of this inode, by a line of /proc/locks; None where it is about another.

    Such a line is `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`.
    """
    fields = line.split()
    if len(fields) < LOCK_FIELDS:
        return None
    _number, kind, _advisory, _write, pid, place, *_ = fields
    if kind != "FLOCK" or place.rpartition(":")[2] != inode:
        return None
    return pid
