"""Who called: the charon above this process, and whether it still lives. It knows nothing of tunnels."""

import os
from typing import NamedTuple


class _Process(NamedTuple):
    name: str
    parent: int
    start: str
    """Clock ticks after boot, so that a PID that is used again is told apart."""
    state: str


def charon() -> str:
    """PID and start time of the nearest ancestor that is a charon; empty where there is none, as by hand.

    The hook's own parent is the shell that charon runs it through.
    """
    pid = os.getppid()
    while pid > 0 and (found := _process(pid)) is not None:
        if found.name.startswith("charon"):
            return f"{pid}@{found.start}"
        pid = found.parent
    return ""


def charons() -> list[int]:
    """The PIDs of all charons in this process's network namespace."""
    here = os.stat("/proc/self/ns/net")
    return [pid for name in os.listdir("/proc") if name.isdigit() and _is_charon(pid := int(name), here)]


def _is_charon(pid: int, namespace: os.stat_result) -> bool:
    found = _process(pid)
    if found is None or not found.name.startswith("charon") or found.state in "ZX":
        return False
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), namespace)
    except OSError:
        return False


def alive(who: str) -> bool:
    """Whether the charon that `charon` named still runs. By hand ("") there is none that could be gone."""
    if not who:
        return True
    pid, _, start = who.partition("@")
    found = _process(int(pid))
    return found is not None and found.start == start and found.state not in "ZX"


def _process(pid: int) -> _Process | None:
    """proc(5), /proc/PID/stat: `PID (NAME) STATE PPID …`, the start time being field 22; NAME may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            head, _, rest = file.read().rpartition(")")
    except OSError:
        return None
    fields = rest.split()
    return _Process(head.partition("(")[2], int(fields[1]), fields[19], fields[0])
