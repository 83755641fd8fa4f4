"""The namespaces that a host is, for tests and the demo: of networks, mounts and processes.

Nothing of the machine's own network or files is touched. What a host writes into /run and /etc is
its own.
"""

import shlex
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.packages import beside

ROOT = Path(__file__).resolve().parents[2]
HOOK = "/usr/local/sbin/vti-updown"
INSTALLED = Path(sys.prefix) / "bin/vti-updown"
WAIT_SECONDS = 90
"""How long something may take that is going to happen, on a busy, emulated machine."""
IN_NAMESPACES = "setpriv --pdeathsig KILL unshare -n -m -p --fork --kill-child --mount-proc"
MOUNTS = f"""
usr=/usr etc=/etc
for folder; do
    usr=$folder/usr:$usr
    [ ! -d "$folder/etc" ] || etc=$folder/etc:$etc
done
[ "$usr" = /usr ] || mount -t overlay -o "lowerdir=$usr" overlay /usr
mount -t tmpfs tmpfs /run
mkdir -p /run/etc/upper /run/etc/work
mount -t overlay -o "lowerdir=$etc,upperdir=/run/etc/upper,workdir=/run/etc/work" overlay /etc
mount -t tmpfs tmpfs /usr/local/sbin
ln -s "$0" {HOOK}
ip link set lo up
echo
exec sleep infinity
"""
"""What the first process of a host does, told the hook and the folders of packages."""


class Failed(AssertionError):
    """A command that should have worked."""


class Namespaces:
    """Where a host's commands run, until it is closed and all in it ends."""

    def __init__(self, name: str, *packages: str) -> None:
        """`packages` of lab.packages.BESIDE are as if installed, for this host only."""
        self.name = name
        self._daemons: list[subprocess.Popen[bytes]] = []
        # The outermost process dies with us, and with it all processes of the namespaces.
        self._holder = subprocess.Popen(
            [*IN_NAMESPACES.split(), "sh", "-ec", MOUNTS, INSTALLED, *map(beside, packages)],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text()
        self.pid = int(children.split()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        for daemon in self._daemons:
            daemon.wait()

    def command(self, *words: str) -> list[str]:
        """The command line that runs `words` on this host."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", *words]

    def run(
        self,
        *words: str,
        check: bool = True,
        env: dict[str, str] | None = None,
        timeout: float = 120,
    ) -> str:
        """Runs a command; what it printed. Failed where it fails, unless `check` is false."""
        done = self.call(*words, env=env, timeout=timeout)
        if check and done.returncode:
            raise Failed(f"{self.name}: {shlex.join(words)} gave {done.returncode}:\n{done.stdout}")
        return done.stdout

    def call(
        self, *words: str, env: dict[str, str] | None = None, timeout: float = 120
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            check=False,
            timeout=timeout,
        )

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Starts a command that runs until it ends, or this host does."""
        daemon = subprocess.Popen(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._daemons.append(daemon)
        return daemon

    def file(self, path: str, text: str, mode: int = 0o644) -> None:
        """Gives the host a file; nobody else sees it."""
        assert path.startswith(("/etc/", "/run/"))
        own = Path(f"/proc/{self.pid}/root{path}")
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(text)
        own.chmod(mode)

    def until(self, condition: str, seconds: float = WAIT_SECONDS) -> None:
        """Waits for a shell condition on this host."""
        script = (
            f"n=0; until {condition}; do"
            f" n=$((n+1)); [ $n -lt {int(seconds * 10)} ] || exit 1; sleep 0.1; done"
        )
        if self.call("sh", "-c", script, timeout=seconds * 10).returncode:
            logs = self.run("sh", "-c", "cat /run/*.log", check=False)
            raise Failed(f"{self.name}: not in {seconds} s: {condition}\n{logs}")
