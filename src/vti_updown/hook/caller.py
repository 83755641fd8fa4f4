"""Which charon called, and whether it still lives. It knows nothing of tunnels."""

import os

from ..named_tuple import NamedTuple

BY_HAND = ""
"""The caller if there is no charon above this process."""


class _Process(NamedTuple):
    name: str
    parent: int
    start: str
    """Clock ticks after boot, so that a PID that is used again is told apart."""
    state: str

    @property
    def is_charon(self) -> bool:
        return self.name.startswith("charon")

    @property
    def has_ended(self) -> bool:
        """Whether it is a zombie, or dead (proc(5))."""
        return self.state in "ZX"


def charon() -> str:
    """PID and start time of the nearest ancestor that is a charon, or BY_HAND.

    The hook's own parent is the shell that charon runs it through.
    """
    pid = os.getppid()
    while pid > 0:
        ancestor = _process(pid)
        if ancestor is None:
            break
        if ancestor.is_charon:
            return f"{pid}@{ancestor.start}"
        pid = ancestor.parent
    return BY_HAND


def charons() -> list[int]:
    """The PIDs of all charons in this process's network namespace."""
    here = os.stat("/proc/self/ns/net")
    living = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            pid = int(name)
            if _is_charon(pid, here):
                living.append(pid)
    return living


def _is_charon(pid: int, namespace: os.stat_result) -> bool:
    process = _process(pid)
    if process is None or process.has_ended:
        return False
    if not process.is_charon:
        return False
    try:
        its_namespace = os.stat(f"/proc/{pid}/ns/net")
    except OSError:
        return False
    return os.path.samestat(its_namespace, namespace)


def alive(who: str) -> bool:
    """Whether the charon that `charon` named still runs.

    An event by hand has no charon that could be gone.
    """
    if who == BY_HAND:
        return True
    pid, _, start = who.partition("@")
    process = _process(int(pid))
    if process is None or process.has_ended:
        return False
    return process.start == start


def _process(pid: int) -> _Process | None:
    """What /proc/PID/stat says of a process. None if there is none.

    The file reads `PID (NAME) STATE PPID …`, and field 22 is the start time. NAME may hold anything
    (proc(5)).
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    head, _, rest = text.rpartition(")")
    _, _, name = head.partition("(")
    fields = rest.split()
    return _Process(
        name=name,
        parent=int(fields[1]),
        start=fields[19],
        state=fields[0],
    )
