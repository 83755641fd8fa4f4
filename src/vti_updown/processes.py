"""Which charon called, which are here, and whether one still lives. It knows nothing of tunnels.

A process is known by its PID, its start time, and the PID namespace that it is in. A container has
PIDs of its own, so a number alone says nothing beyond it.
"""

import os

from .named_tuple import NamedTuple

BY_HAND = ""
"""The caller if there is no charon above this process."""
PROC = "/proc"
INITIAL = "4026531836"
"""The first PID namespace, in which every process has a number (include/linux/proc_ns.h,
PROC_PID_INIT_INO).
"""
UNKNOWN = ""
"""The PID namespace of a process if none can be told."""


class Process(NamedTuple):
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


# Who called


def charon() -> str:
    """PID, start time and PID namespace of the nearest ancestor that is a charon, or BY_HAND.

    The hook's own parent is the shell that charon runs it through.
    """
    pid = _parent_of_this_process()
    while pid > 0:
        ancestor = process_at(pid)
        if ancestor is None:
            break
        if ancestor.is_charon:
            return named(pid, ancestor)
        pid = ancestor.parent
    return BY_HAND


def _parent_of_this_process() -> int:
    """By /proc, whose numbers may be those of another PID namespace than this process is in."""
    own = process_at("self")
    if own is None:
        return 0
    return own.parent


def named(pid: int, process: Process) -> str:
    """What the records call a process. `pid` is its number in /proc."""
    namespace = namespace_of(pid, "pid")
    if namespace is None:
        namespace = namespace_of("self", "pid")  # This process is a descendant of it.
    if namespace != namespace_of(1, "pid"):
        *_, pid = pids_of(pid) or [pid]
    return f"{pid}@{process.start}@{namespace or UNKNOWN}"


# Who is here


def charons() -> list[int]:
    """The PIDs of all charons in this process's network namespace."""
    here = namespace_of("self", "net")
    return [pid for pid in all_charons() if namespace_of(pid, "net") == here]


def all_charons() -> list[int]:
    """The PIDs of all charons that /proc shows, whatever their namespaces."""
    return [pid for pid in all_pids() if _is_charon(pid)]


def _is_charon(pid: int) -> bool:
    process = process_at(pid)
    if process is None or process.has_ended:
        return False
    return process.is_charon


# Who lives


def alive(who: str) -> bool | None:
    """Whether the charon that `charon` named still runs. None if it cannot be seen from here.

    An event by hand has no charon that could be gone.
    """
    if who == BY_HAND:
        return True
    number, _, rest = who.partition("@")
    start, _, namespace = rest.partition("@")
    if not number.isdecimal() or namespace == UNKNOWN:
        return None
    pid = int(number)
    here = namespace_of_proc()
    if here == namespace:
        return _lives(pid, start)
    if here == INITIAL:
        return _lives_elsewhere(pid, start, namespace)
    return None


def gone(who: str) -> bool:
    """Whether the charon that `charon` named is known to have ended."""
    return alive(who) is False


def namespace_of_proc() -> str | None:
    """The PID namespace whose numbers /proc has. None if it cannot be told."""
    first = namespace_of(1, "pid")
    if first is not None:
        return first
    if len(pids_of("self")) == 1:
        return namespace_of("self", "pid")
    return None


def _lives(pid: int, start: str) -> bool | None:
    """Whether the process with this number in /proc, and this start time, runs."""
    try:
        process = _read(pid)
    except PermissionError:
        return None
    except OSError:
        return None if _is_hidden(pid) else False
    if process.has_ended:
        return False
    if process.start == start:
        return True
    # In another time namespace it has another start time (time_namespaces(7)).
    return False if namespace_of(pid, "time") == namespace_of("self", "time") else None


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process, and /proc does not show it (proc(5), hidepid)."""
    if namespace_of(1, "pid") is not None:
        return False  # Nothing is hidden from root.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _lives_elsewhere(
    pid: int,
    start: str,
    namespace: str,
) -> bool | None:
    """Whether a process runs that has this number in this other PID namespace.

    /proc has all processes, unless it hides some: then not even the first one is to be seen.
    """
    may_be_hidden = not pids_of(1)
    for seen in all_pids():
        its_namespace = namespace_of(seen, "pid")
        if its_namespace not in (namespace, None):
            continue
        _, *inner = pids_of(seen) or [0]
        if not inner or inner[-1] != pid:
            continue
        if its_namespace == namespace:
            return _lives(seen, start)
        may_be_hidden = True
    if may_be_hidden:
        return None
    return False


# What /proc says


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdecimal()]


def namespace_of(pid: int | str, kind: str) -> str | None:
    """The inode of a namespace of a process. None if it cannot be seen.

    The symbolic link reads `pid:[4026531836]` (namespaces(7)).
    """
    try:
        text = os.readlink(f"{PROC}/{pid}/ns/{kind}")
    except OSError:
        return None
    _, _, inode = text.partition("[")
    return inode.rstrip("]")


def pids_of(pid: int | str) -> list[int]:
    """The numbers of a process in the namespace of /proc and those further in (proc(5), NSpid)."""
    try:
        with open(f"{PROC}/{pid}/status", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                word, *numbers = line.split()
                if word == "NSpid:":
                    return [int(number) for number in numbers]
    except (OSError, ValueError):
        pass
    return []


def process_at(pid: int | str) -> Process | None:
    """What /proc says of a process. None if it says nothing."""
    try:
        return _read(pid)
    except OSError:
        return None


def _read(pid: int | str) -> Process:
    """What /proc/PID/stat says of a process. Raises OSError.

    The file reads `PID (NAME) STATE PPID …`, and field 22 is the start time. NAME may hold anything
    (proc(5)).
    """
    with open(f"{PROC}/{pid}/stat", encoding="utf-8", errors="replace") as file:
        text = file.read()
    head, _, rest = text.rpartition(")")
    _, _, name = head.partition("(")
    fields = rest.split()
    return Process(
        name=name,
        parent=int(fields[1]),
        start=fields[19],
        state=fields[0],
    )
