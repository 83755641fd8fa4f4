"""Which charons there are, by which sockets they can be asked, and what they wait for.

All of it is read from /proc. A charon's socket is one of the file descriptors of its process, and
`/proc/net/unix` of its network namespace has the path. The path is meant as the charon sees it, so
it is followed within the root of that process.
"""

import os
import stat
import time
from collections.abc import Iterable

from .. import processes
from ..named_tuple import NamedTuple
from ..text import shown

TICKS = os.sysconf("SC_CLK_TCK")
"""Clock ticks in a second, the unit of a process's start time (proc(5))."""
LISTENS = "00010000"
"""The flags of a listening socket in /proc/net/unix (af_unix.c, unix_seq_show)."""
STREAM = "0001"
"""The type of a stream's socket there (socket.h, SOCK_STREAM)."""
ABSTRACT = "@"
"""What the path of a socket begins with that is in no folder (unix(7))."""
ENDING = ".vici"
"""How the path of a VICI socket ends, unless strongswan.conf has another one.

(vici_dispatcher.h, VICI_DEFAULT_URI)
"""
OF_OTHER_PLUGINS = (".ctl", ".lkp", ".wlst", ".dck", ".enfy", ".ldt")
"""How the paths of the sockets of charon's other plugins end.

(stroke, lookip, whitelist, duplicheck, error-notify, load-tester)
"""
LINKS = 40
"""As many symbolic links as a path may lead over, as in the kernel (namei.h, MAXSYMLINKS)."""
OURS = "vti-updown"
"""The hook's program."""
STANDARD = (0, 1, 2)
"""The file descriptors that a program is started with."""
OUTPUTS = (1, 2)
"""The file descriptors that a program writes to."""


class Socket(NamedTuple):
    """A socket that a charon listens on."""

    path: str
    """As charon names it, within its own root."""
    reached_by: str
    """The path by which this process opens it."""
    inode: str
    """The socket's number in /proc. Empty if it was named by hand."""


class Hook(NamedTuple):
    """A program that a charon has started, and waits for.

    charon does nothing else for its IKE_SAs meanwhile.
    """

    pid: int
    name: str
    """Such as `vti-updown`, or the name of another script."""
    seconds: float
    """Since its start."""

    def __str__(self) -> str:
        return f"PID {self.pid}, {shown(self.name)}, for {self.seconds:.0f} s"


class Charon(NamedTuple):
    pid: int
    """Its number in /proc. 0 if only its socket is known, by hand."""
    name: str
    """Of the process: `charon`, `charon-systemd`, `charon-nm`."""
    who: str
    """What the records call it: see `processes.named`. Empty if only its socket is known."""
    network: str
    """The inode of the network namespace that it acts in. Empty if that cannot be told."""
    sockets: tuple[Socket, ...]
    """Those that can be VICI's. Empty if it has none, or if its files may not be seen."""

    def __str__(self) -> str:
        if self.pid:
            return f"{shown(self.name)} (PID {self.pid})"
        return ", ".join(shown(socket.path, 80) for socket in self.sockets)


class Charons(NamedTuple):
    ours: list[Charon]
    """Those that act in the network namespace that was asked for."""
    others: list[Charon]


# Which there are


def find(network: str = "") -> Charons:
    """The charons that /proc shows.

    `network` is the inode of the network namespace that is asked for, as in the symbolic link
    `/proc/PID/ns/net`. Without it, it is that of this process. Raises OSError without /proc.
    """
    asked = network or processes.namespace_of("self", "net")
    found = Charons([], [])
    for pid in processes.all_charons():
        charon = _charon(pid)
        if charon is None:
            continue
        if charon.network == asked:
            found.ours.append(charon)
        else:
            found.others.append(charon)
    return found


def by_hand(path: str) -> Charon:
    """The charon behind a socket that the user named, of which no more is known yet.

    A path may begin with `unix://`, as for swanctl.
    """
    path = path.removeprefix("unix://")
    socket = Socket(path=path, reached_by=path, inode="")
    return Charon(
        pid=0,
        name="",
        who="",
        network="",
        sockets=(socket,),
    )


def at(pid: int, socket: Socket) -> Charon:
    """The charon with this PID, whose socket was named by hand."""
    charon = _charon(pid)
    if charon is None:
        return by_hand(socket.path)
    return charon._replace(sockets=(socket,))


def _charon(pid: int) -> Charon | None:
    """None if it has ended meanwhile."""
    process = processes.process_at(pid)
    if process is None:
        return None
    return Charon(
        pid=pid,
        name=process.name,
        who=processes.named(pid, process),
        network=processes.namespace_of(pid, "net") or "",
        sockets=_likely(_listening(pid)),
    )


# Sockets


def _likely(sockets: list[Socket]) -> tuple[Socket, ...]:
    """Those that VICI listens on, by their names. If none has VICI's, those that may be renamed."""
    usual = [socket for socket in sockets if socket.path.endswith(ENDING)]
    others = [socket for socket in sockets if not socket.path.endswith(OF_OTHER_PLUGINS)]
    return tuple(usual or others)


def _listening(pid: int) -> list[Socket]:
    """The sockets with a path that a process listens on.

    A line of the file reads `NUMBER: REFERENCES PROTOCOL FLAGS TYPE STATE INODE PATH`. A path may
    hold a newline, so any user can write lines there. `is_its_socket` sees through them.
    """
    own = _sockets(pid)
    found = []
    for line in _lines(f"{processes.PROC}/{pid}/net/unix"):
        fields = line.rstrip("\n").split(maxsplit=7)
        if len(fields) < 8:
            continue
        *_, flags, kind, _state, inode, path = fields
        if (flags, kind) != (LISTENS, STREAM) or inode not in own:
            continue
        if not path.startswith(ABSTRACT):
            socket = Socket(
                path=path,
                reached_by=within_root(pid, path),
                inode=inode,
            )
            found.append(socket)
    return found


def _lines(path: str) -> list[str]:
    """The lines of a file. None of them if it may not be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.readlines()
    except OSError:
        return []


def _holds(pid: int, inode: str) -> bool:
    """Whether a process has the socket with this inode open."""
    return inode in _sockets(pid)


def _sockets(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open."""
    inodes = {_inode(pid, number, "socket") for number in _descriptors(pid)}
    return inodes - {""}


def _descriptors(pid: int) -> list[int]:
    """The file descriptors of a process. None of them if they may not be seen."""
    try:
        names = os.listdir(f"{processes.PROC}/{pid}/fd")
    except OSError:
        return []
    return [int(name) for name in names]


def _inode(
    pid: int,
    descriptor: int,
    kind: str,
) -> str:
    """The inode that a file descriptor stands for: its symbolic link reads `socket:[4711]`.

    Empty if it stands for another kind of file than a `socket` or a `pipe`, as asked.
    """
    try:
        text = os.readlink(f"{processes.PROC}/{pid}/fd/{descriptor}")
    except OSError:
        return ""
    its_kind, _, inode = text.partition(":[")
    if its_kind == kind:
        return inode.rstrip("]")
    return ""


def within_root(pid: int, path: str) -> str:
    """Where a path leads that is meant as a process sees it."""
    return within(
        f"{processes.PROC}/{pid}/root",
        path,
    )


def within(root: str, path: str) -> str:
    """Where a path leads that is meant below a root. The empty one is our own.

    Each symbolic link is followed within that root: `/var/run` is mostly one to `/run`, and would
    lead into our own.
    """
    followed: list[str] = []
    rest = path.split("/")[::-1]
    links = 0
    while rest:
        name = rest.pop()
        if name == "..":
            del followed[-1:]
            continue
        if name in ("", "."):
            continue
        target = _link("/".join([root, *followed, name]))
        if target is None or links == LINKS:
            followed.append(name)
            continue
        links += 1
        rest += target.split("/")[::-1]
        if target.startswith("/"):
            followed.clear()
    return "/".join([root, *followed])


def _link(path: str) -> str | None:
    """What a symbolic link reads. None if there is none."""
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            return None
        return os.readlink(path)
    except OSError:
        return None


# Whose a socket is


def is_its_socket(
    charon: Charon,
    socket: Socket,
    peer: int,
) -> bool | None:
    """Whether a socket that was opened by its path is this charon's. None if it cannot be told.

    `peer` is the PID of who listens, by the kernel. The path may lead to another socket by now, for
    example if another charon has taken it.
    """
    if charon.pid in (0, peer):
        return True
    if peer == 0 or processes.namespace_of_proc() != processes.namespace_of("self", "pid"):
        return None  # The two numbers are of two PID namespaces.
    # Another process, such as systemd, may have opened it for charon, and has it, too.
    return _holds(peer, socket.inode)


# What charon waits for


def hooks(pid: int) -> list[Hook]:
    """The programs that a charon waits for, such as a hook. One at a time, as a rule.

    charon reads what they print from a pipe, until its last writer has closed it
    (updown_listener.c, invoke_once). So a program is one that has the other end of such a pipe as
    its output, also where its parent has ended.
    """
    pipes = _pipes_read_by(pid)
    if not pipes:
        return []
    writers: dict[str, list[int]] = {}
    for other in processes.all_pids():
        for pipe in pipes & _outputs(other):
            if other != pid:
                writers.setdefault(pipe, []).append(other)
    found = [_hook(each) for each in writers.values()]
    return [hook for hook in found if hook is not None]


def _pipes_read_by(pid: int) -> set[str]:
    """The pipes that a process reads, but for its standard input."""
    found = set()
    for number in _descriptors(pid):
        pipe = _inode(pid, number, "pipe")
        if pipe and number not in STANDARD and _is_read(pid, number):
            found.add(pipe)
    return found


def _is_read(pid: int, descriptor: int) -> bool:
    """Whether a file descriptor is for reading only, as the reader's end of a pipe is.

    A line of the file reads `flags: 0100000`, in octal digits.
    """
    for line in _lines(f"{processes.PROC}/{pid}/fdinfo/{descriptor}"):
        word, _, flags = line.partition(":")
        if word == "flags":
            return int(flags, 8) & os.O_ACCMODE == os.O_RDONLY
    return False


def _outputs(pid: int) -> set[str]:
    """The pipes that a process prints to."""
    return {_inode(pid, number, "pipe") for number in OUTPUTS} - {""}


def _hook(writers: list[int]) -> Hook | None:
    """The program that best says what runs: charon starts a shell, and that the program."""
    candidates = []
    for pid in writers:
        process = processes.process_at(pid)
        if process is None or process.has_ended:
            continue
        words = _command_line(pid)
        started = int(process.start)
        is_shell = words[1:2] == ["-c"]
        candidates.append((is_shell, started, pid, _name(words, process.name)))
    if not candidates:
        return None
    _, started, pid, name = min(candidates)
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - started / TICKS
    return Hook(pid, name, max(0.0, seconds))


def _command_line(pid: int) -> list[str]:
    try:
        with open(f"{processes.PROC}/{pid}/cmdline", "rb") as file:
            raw = file.read()
    except OSError:
        return []
    text = raw.decode("utf-8", "surrogateescape")
    return text.rstrip("\0").split("\0")


def _name(words: Iterable[str], process: str) -> str:
    """The name of a program. A Python program's process may be called after its interpreter.

    A shell's words are those of its script, too: it may not have started the program yet.
    """
    pieces = " ".join(words).split()
    if OURS in map(os.path.basename, pieces):
        return OURS
    return process
