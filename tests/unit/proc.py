"""A /proc that tests write."""

import shutil
from pathlib import Path

from vti_updown import processes

INITIAL = int(processes.INITIAL)
HOOK = 900
UNIX_HEAD = "Num       RefCount Protocol Flags    Type St Inode Path"


class Proc:
    """A /proc. The hook is process 900, and its parent is a shell that a charon runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self,
        pid: int,
        name: str,
        parent: int = 1,
        start: int = 500,
        *,
        state: str = "S",
        pids: tuple[int, ...] = (),
        namespace: int | None = INITIAL,
        net: int = 7,
        time: int = 8,
    ) -> None:
        """A process. `pids` are its numbers further in; no `namespace`: we may not look."""
        folder = self.folder / str(pid)
        (folder / "ns").mkdir(parents=True)
        fields = [state, str(parent), *["0"] * 17, str(start), "0"]
        (folder / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")
        numbers = "\t".join(map(str, (pid, *pids)))
        (folder / "status").write_text(f"Name:\t{name}\nPid:\t{pid}\nNSpid:\t{numbers}\n")
        (folder / "ns/net").symlink_to(f"net:[{net}]")
        (folder / "ns/time").symlink_to(f"time:[{time}]")
        if namespace is not None:
            (folder / "ns/pid").symlink_to(f"pid:[{namespace}]")

    def opens(self, pid: int, **files: str) -> None:
        """The process has these files open: `opens(40, _1="pipe:[7]")`."""
        folder = self.folder / str(pid) / "fd"
        folder.mkdir(exist_ok=True)
        for number, file in files.items():
            (folder / number.removeprefix("_")).symlink_to(file)

    def reads(self, pid: int, **pipes: str) -> None:
        """The process reads from these pipes."""
        self.opens(pid, **pipes)
        folder = self.folder / str(pid) / "fdinfo"
        folder.mkdir(exist_ok=True)
        for number in pipes:
            flags = "pos:\t0\nflags:\t0100000\nmnt_id:\t14\n"
            (folder / number.removeprefix("_")).write_text(flags)

    def runs(self, pid: int, *words: str) -> None:
        """The process has this command line."""
        text = "".join(f"{word}\0" for word in words)
        (self.folder / str(pid) / "cmdline").write_text(text)

    def root(self, pid: int) -> Path:
        """An empty root of the process's own."""
        root = self.folder / str(pid) / "root"
        root.mkdir()
        return root

    def listens(self, pid: int, *lines: str) -> None:
        """The process's network namespace has these lines in /proc/net/unix."""
        folder = self.folder / str(pid) / "net"
        folder.mkdir()
        (folder / "unix").write_text("\n".join([UNIX_HEAD, *lines, ""]))

    def remove(self, pid: int) -> None:
        shutil.rmtree(self.folder / str(pid))

    def hook(self, parent: int, **more: object) -> None:
        self.add(HOOK, "vti-updown", parent, **more)  # type: ignore[arg-type]
        (self.folder / "self").symlink_to(str(HOOK))
