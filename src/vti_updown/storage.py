"""Where the records are kept: a directory that only root can enter, a lock with a limit on the wait, and room for when there
is no other. It knows files and SQLite's errors, and nothing of what is recorded.
"""

import fcntl
import os
import signal
import sqlite3
import stat
from types import FrameType

from .errors import Refusal

DIRECTORY = "/run/vti-updown"
LOCK_SECONDS = 30
"""How long an event waits for another. charon keeps a worker thread and the IKE_SA waiting meanwhile."""
ROOM_BYTES = 1 << 17
"""How much room is kept for when there is no other."""

DatabaseError = sqlite3.DatabaseError
"""What SQLite raises while the records are used."""


class LedgerError(Refusal):
    """The records cannot be had: status 1."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint, 1)


class StorageError(LedgerError):
    """The records cannot be kept where they should be. An event can still do its work, on a copy in memory."""


def own_directory(directory: str) -> None:
    """Makes the directory, or sees that nobody else can put anything into it."""
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        found = os.lstat(directory)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            what = f"{directory} is not ours alone"
            raise StorageError(what, "see who made it, and what is in it; then remove it") from None
        if found.st_mode & 0o077:
            os.chmod(directory, 0o700)


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
    """Keeps room for the events to come, should the disk be full then: a `down` is never asked for again."""
    try:
        room = os.open(f"{file}.room", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:  # there already, or there is no room for it now
        return
    try:
        os.posix_fallocate(room, 0, ROOM_BYTES)
    except OSError:
        os.unlink(f"{file}.room")
    finally:
        os.close(room)


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
    """Takes the lock; the kernel wakes waiters in their order. Raises LedgerError after `seconds`, naming the holder."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        pass
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})  # a parent may have blocked it
    old = signal.signal(signal.SIGALRM, _time_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except _TimeUpError:
        who = _holder(lock)
        raise LedgerError(
            f"{who} has held our records for {seconds:g} s", f"see what it does; kill {who} if it hangs"
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def _holder(lock: int) -> str:
    """The process that holds the lock, from /proc/locks (`1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`)."""
    inode = str(os.fstat(lock).st_ino)
    try:
        with open("/proc/locks", encoding="ascii") as lines:
            for fields in map(str.split, lines):
                if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
                    return f"PID {fields[4]}"
    except OSError:
        pass
    return "another process"
