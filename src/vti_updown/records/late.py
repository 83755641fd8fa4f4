"""Events that did not get the records, written down beside them: a file for each.

Whoever holds the records next does them, in the order in which they were written. The module knows
files, and not what is done with them.
"""

import errno
import json
import os
import time
from collections.abc import Mapping, Sequence

from ..named_tuple import NamedTuple
from .storage import DIRECTORY, give_up_room, own_directory

END = ".json"
UNFINISHED = ".new"
DIGITS = 20
"""Of the monotonic clock in nanoseconds, so that names are in the order of time."""
LONGEST_WRITE = 60 * 10**9
"""In nanoseconds. A file that takes longer was left by a process that died."""


class LateEvent(NamedTuple):
    """An event that is still to be done."""

    environ: Mapping[str, str]
    """PLUTO_* only."""
    words: Sequence[str]
    """The flags of its command line."""
    folder: str
    """Where it ran, if a flag names a file from there."""
    charon: str
    since: float | str
    """When charon called, in seconds since the epoch. Earlier versions wrote UTC as text."""


class LateEvents:
    """The files of one network namespace, of this boot."""

    def __init__(self, namespace: str, directory: str = DIRECTORY) -> None:
        self._records = f"{directory}/{namespace}.sqlite"
        self._folder = f"{directory}/{namespace}.late"

    def names(self) -> list[str]:
        """What waits to be done, the oldest first."""
        return sorted(name for name in self._listed() if name.endswith(END))

    def _listed(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except OSError:
            return []

    def write(self, event: LateEvent) -> str:
        """Writes an event down, and returns its name. Raises OSError or Refusal if it cannot."""
        content = list(event)
        text = json.dumps(content)
        try:
            return self._written(text)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        give_up_room(self._records)
        return self._written(text)

    def _written(self, text: str) -> str:
        """The file appears under its name only once all of it is there."""
        own_directory(self._folder)
        clock = f"{time.monotonic_ns():0{DIGITS}}"
        name = f"{clock}-{os.getpid()}{END}"
        unfinished = self._path(name) + UNFINISHED
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(unfinished, flags, 0o600)
        try:
            with open(file, "w", encoding="utf-8") as opened:
                opened.write(text)
            os.rename(unfinished, self._path(name))
        except OSError:
            os.unlink(unfinished)
            raise
        return name

    def read(self, name: str) -> LateEvent:
        """Raises OSError, or ValueError for what `write` did not write."""
        with open(self._path(name), encoding="utf-8") as file:
            content = json.load(file)
        if not isinstance(content, list) or len(content) != len(LateEvent._fields):
            raise ValueError("it has other fields")
        return LateEvent(*content)

    def is_there(self, name: str) -> bool:
        return os.path.exists(self._path(name))

    def remove(self, name: str) -> None:
        try:
            os.unlink(self._path(name))
        except OSError:
            pass  # It is gone, or it cannot be removed: then it is on record as done.

    def set_aside(self, name: str) -> str:
        """Keeps a file that cannot be read for somebody to look at. Returns where it is."""
        damaged = f"{self._path(name)}.damaged"
        try:
            os.rename(self._path(name), damaged)
        except OSError:
            self.remove(name)
        return damaged

    def clear_unfinished(self) -> None:
        """Removes what processes left that died while they wrote."""
        now = time.monotonic_ns()
        for name in self._listed():
            clock = name[:DIGITS]
            if not name.endswith(UNFINISHED) or not clock.isdigit():
                continue
            if now - int(clock) > LONGEST_WRITE:
                self.remove(name)

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"
