"""Hosts for tests and the demo: each a network, mount and process namespace that ends, with all in it, when it is closed.

Nothing of the machine's own network or files is touched: what a host writes into /run and /etc is its own.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from lab import beside

ROOT = Path(__file__).resolve().parent.parent
HOOK = "/usr/local/sbin/vti-updown"
INSTALLED = Path(sys.prefix) / "bin/vti-updown"
WAIT_SECONDS = 90
"""How long something may take that is going to happen, on an emulated machine that others keep busy."""
FALLBACK_LINKS = "ip_vti0|ip6_vti0|ip6tnl0|tunl0|gre0|gretap0|erspan0|sit0|ip6gre0"

LOGGING = """charon {
    filelog {
        log {
            path = /run/charon.log
            flush_line = yes
            time_format = %H:%M:%S
        }
    }
}
"""
NO_CERTIFICATES = """swanctl {
    load = random nonce
}
"""
"""Where it has no certificates to read: loading what reads them is most of its time."""


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


class Host:
    """One host. `run` runs a command on it; `charon` starts strongSwan on it."""

    def __init__(self, name: str, *packages: str) -> None:
        """`packages` of lab.BESIDE are as if they were installed, on this host only, but nothing of them runs yet."""
        self.name = name
        self._daemons: list[subprocess.Popen[bytes]] = []
        # The outermost process dies with us, and with it the first process of the namespace and so all others.
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "-n", "-m", "-p", "--fork", "--kill-child", "--mount-proc",
             "sh", "-ec", MOUNTS, INSTALLED, *(beside(package) for package in packages)],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text()
        self.pid = int(children.split()[0])

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        for daemon in self._daemons:
            daemon.wait()

    def command(self, *words: str) -> list[str]:
        """The command line that runs `words` on this host."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", *words]

    def run(self, *words: str, check: bool = True, env: dict[str, str] | None = None, timeout: float = 120) -> str:
        """Runs a command and returns what it printed. Raises Failed where it fails, unless `check` is false."""
        done = self.call(*words, env=env, timeout=timeout)
        if check and done.returncode:
            raise Failed(f"{self.name}: {shlex.join(words)} gave {done.returncode}:\n{done.stdout}")
        return done.stdout

    def call(self, *words: str, env: dict[str, str] | None = None, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, env=env, check=False, timeout=timeout,
        )  # fmt: skip

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Starts a command that runs until it ends, or this host does."""
        daemon = subprocess.Popen(
            self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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

    # strongSwan

    def charon(self, conf: str = "", swanctl: str = "", secrets: str = "", charon: str = "") -> None:
        """Starts strongSwan with this ipsec.conf and ipsec.secrets, or this swanctl.conf, and this charon.conf."""
        self.file("/etc/strongswan.d/charon.conf", charon or "charon {\n install_routes = no\n}\n")
        if swanctl:
            self.file("/etc/swanctl/swanctl.conf", swanctl, 0o600)
        else:
            self.file("/etc/ipsec.conf", conf)
            self.file("/etc/ipsec.secrets", secrets, 0o600)
        self.start_charon(starter=not swanctl)

    def start_charon(self, starter: bool = False, certificates: bool = False) -> None:
        """Starts strongSwan with the files of its /etc: by starter and ipsec.conf, or alone and loaded by swanctl."""
        self.file("/etc/strongswan.d/charon-logging.conf", LOGGING + ("" if certificates else NO_CERTIFICATES))
        if starter:
            self.daemon = self.start("/usr/sbin/ipsec", "start", "--nofork")
            self.until("test -S /run/charon.ctl && ipsec status >/dev/null 2>&1")
        else:
            self.daemon = self.start("/usr/lib/ipsec/charon")
            self.until("test -S /run/charon.vici")
            self.run("swanctl", "--load-all")

    def kill_charon(self) -> None:
        """Ends strongSwan as a crash does: it runs no more code, and tells nobody."""
        pids = "$(cat /run/starter.charon.pid /run/charon.pid 2>/dev/null)"
        self.run("sh", "-c", f"kill -9 {pids}; rm -f /run/charon.vici /run/charon.ctl /run/*.pid")
        self.daemon.wait(WAIT_SECONDS)

    def sas(self, connection: str) -> tuple[list[int], list[int]]:
        """The numbers of a connection's IKE_SAs and CHILD_SAs that are up."""
        text = self.run("swanctl", "--list-sas", "--ike", connection)
        ike = re.findall(r"(?m)^\S+: #(\d+), ESTABLISHED", text)
        return [int(number) for number in ike], [int(number) for number in re.findall(r"(?m)^  \S+: #(\d+), .*INSTALLED", text)]

    def newest(self, connection: str, child: bool = False) -> int:
        """The number of the IKE_SA (or CHILD_SA) whose CHILD_SA was established last."""
        found = re.findall(
            rf"IKE_SA {connection}\[(\d+)\] established|CHILD_SA {connection}\{{(\d+)\}} established", self.log()
        )
        ike_sa = child_sa = ""
        for ike, sa in found:
            ike_sa, child_sa = ike or ike_sa, sa or child_sa
        return int(child_sa if child else ike_sa)

    def until_sas(
        self, connection: str, ike: int, child: int, without: Iterable[int] = (), without_ike: Iterable[int] = ()
    ) -> tuple[list[int], list[int]]:
        """Waits until so many IKE_SAs and CHILD_SAs are up, none of them in `without`; returns their numbers."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            found = self.sas(connection)
            new = not set(found[0]) & set(without_ike) and not set(found[1]) & set(without)
            if new and (len(found[0]), len(found[1])) == (ike, child):
                return sorted(found[0]), sorted(found[1])
            time.sleep(0.2)
            if time.monotonic() > end:
                raise Failed(f"{self.name}: {connection} has {found}, not {ike} and {child} new SAs\n{self.log()[-4000:]}")

    def rekey(self, connection: str, what: str) -> None:
        """Rekeys the CHILD_SA (child) or the IKE_SA (ike) of a connection that has one of each; waits for the new one alone."""
        ike, child = self.sas(connection)
        self.run("swanctl", "--rekey", f"--{what}", connection)
        self.until_sas(connection, 1, 1, without=child if what == "child" else (), without_ike=ike if what == "ike" else ())

    def stop_charon(self) -> None:
        self.run("sh", "-c", "kill $(cat /run/starter.charon.pid 2>/dev/null || cat /run/charon.pid)", check=False)
        self.daemon.wait(WAIT_SECONDS)
        self.run("rm", "-f", "/run/charon.vici")  # it leaves that, and the next one would seem to be there

    def log(self) -> str:
        return self.run("cat", "/run/charon.log", check=False)

    def hook_log(self, at_least: int = 0, seconds: float = WAIT_SECONDS) -> list[str]:
        """What the hook printed, as charon logged it; waits for `at_least` lines, as charon's commands do not."""
        end = time.monotonic() + seconds
        while len(said := re.findall(r"updown: (.*)", self.log())) < at_least and time.monotonic() < end:
            time.sleep(0.1)
        return said

    def until(self, condition: str, seconds: float = WAIT_SECONDS) -> None:
        """Waits for a shell condition on this host."""
        words = [
            "sh",
            "-c",
            f"n=0; until {condition}; do n=$((n+1)); [ $n -lt {int(seconds * 10)} ] || exit 1; sleep 0.1; done",
        ]
        if self.call(*words, timeout=seconds * 10).returncode:
            raise Failed(f"{self.name}: {condition} did not come true in {seconds} s\n{self.log()}")

    # What is there

    def network_state(self, netns: str = "") -> str:
        """The whole network state as text: links, addresses, rules, all tables' routes, settings; equal if nothing changed.

        `netns` is a network namespace of this host, by the name that `ip netns` knows; so it is below.
        """
        script = (
            # IPv6 addresses that are looked for on the wire still are in no table of local ones.
            "n=0; while [ $n -lt 50 ] && ip -6 addr show tentative | grep -q .; do n=$((n+1)); sleep 0.1; done;"
            r"printf 'link\naddr\nrule\nroute show table all\nxfrm policy\n' | ip -d -batch -;"
            r"printf 'rule\nroute show table all\n' | ip -6 -d -batch -;"
            "grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/ip_forward; true"
        )
        text = self.run(*inside(netns), "sh", "-c", script)
        text = re.sub(r"(valid_lft|preferred_lft|expires) \S+( sec)?", "", text)  # they run down
        text = re.sub(r"(?m)^220:\tfrom all lookup 220.*\n", "", text)  # charon's own, there as long as it runs
        text = re.sub(r"(?m)^src \S+ dst \S+ *\n\tsocket .*\n", "", text)  # of charon's own sockets
        # Links that a module brings along are there as soon as anyone has loaded it.
        text = re.sub(rf"(?m)^\d+: ({FALLBACK_LINKS})[@:].*\n(?:    .*\n)*", "", text)
        return re.sub(rf"(?m)^/proc/sys/net/ipv./conf/({FALLBACK_LINKS})/.*\n", "", text)

    def counters(self, link: str) -> tuple[int, int]:
        """Packets received and sent by a link."""
        (found,) = json.loads(self.run("ip", "-s", "-j", "link", "show", link))
        return found["stats64"]["rx"]["packets"], found["stats64"]["tx"]["packets"]

    def ping(self, address: str, count: int = 3, source: str = "", netns: str = "") -> int:
        """Sends pings, and returns how many were answered."""
        words = ["ping", "-n", "-q", "-i", "0.2", "-W", "2", "-c", str(count), *(["-I", source] if source else []), address]
        found = re.search(r"(\d+) received", self.run(*inside(netns), *words, check=False))
        return int(found[1]) if found else 0


def inside(netns: str) -> list[str]:
    """What stands before a command that is to run in a network namespace."""
    return ["ip", "netns", "exec", netns] if netns else []


def changes(before: str, after: str) -> list[str]:
    """What one network state has and another has not, a line each; in whatever order they tell it."""
    old, new = Counter(before.splitlines()), Counter(after.splitlines())
    return [*(f"- {line}" for line in old - new), *(f"+ {line}" for line in new - old)]


def wire(one: Host, other: Host, name: str = "eth0", addresses: Iterable[tuple[str, str]] = ()) -> None:
    """A cable between two hosts, `name` at both ends, with pairs of addresses."""
    # Only the network namespace is entered, so that `netns` finds the other host's process.
    words = [
        "nsenter",
        "-t",
        str(one.pid),
        "-n",
        "ip",
        "link",
        "add",
        name,
        "type",
        "veth",
        "peer",
        name,
        "netns",
        str(other.pid),
    ]
    subprocess.run(words, check=True)
    for host in (one, other):
        host.run("ip", "link", "set", name, "up")
    for mine, its in addresses:
        for host, address in ((one, mine), (other, its)):
            host.run("ip", "addr", "add", address, "dev", name, *(["nodad"] if ":" in address else []))


class Capture:
    """Counts packets on a link with tcpdump, between `with` and its end."""

    def __init__(self, host: Host, link: str, expression: str) -> None:
        self.host, self.link, self.expression = host, link, expression
        self.count = 0
        self.file = f"/run/capture-{os.urandom(4).hex()}"

    def __enter__(self) -> "Capture":
        words = self.host.command(
            "tcpdump", "-Z", "root", "-p", "--immediate-mode", "-U", "-n", "-i", self.link, "-w", self.file, self.expression
        )
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        while b"listening" not in (line := self._process.stderr.readline()):
            if not line:
                raise Failed("tcpdump did not start")
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(1)
        self._process.terminate()
        self._process.wait()
        text = self.host.run("sh", "-c", f"tcpdump -Z root -n -r {self.file} 2>/dev/null; rm -f {self.file}")
        self.lines = text.splitlines()
        self.count = len(self.lines)


def comes_true(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> bool:
    """Waits until the condition is true; whether it is."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return true


ANSWER = r"icmp_seq=(\d+) ttl"
STREAM_SECONDS = 0.01
"""From one packet of a stream to the next: what a policy-based tunnel carries without loss, emulated processors included."""
DEAF_SECONDS = 5
"""A tunnel that has answered nothing of what was sent for so long carries no packets."""


class Stream:
    """A ping every 10 ms through a tunnel that carries packets, between `with` and its end.

    Then `lost` of `sent` were not answered, at most `row` of them in a row, and `tail` at the end: 0 where the tunnel
    carries packets still. How long an answer takes does not matter.
    """

    def __init__(self, host: Host, source: str, address: str, netns: str = "") -> None:
        self._file = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the stream ends
        # Without the process namespace nsenter does not fork, so that the signals below reach ping.
        ping = ["ping", "-n", "-i", str(STREAM_SECONDS), "-I", source, address]
        self._words = ["nsenter", "-t", str(host.pid), "-m", "-n", *inside(netns), *ping]
        self._name = f"{host.name}: {source} → {address}"
        self.sent = self.lost = self.row = self.tail = 0

    def __enter__(self) -> "Stream":
        self._ping = subprocess.Popen(
            self._words, stdin=subprocess.DEVNULL, stdout=self._file, stderr=subprocess.STDOUT, text=True
        )
        if not comes_true(lambda: self._answered() > 0):
            self._ping.kill()
            self._ping.wait()
            raise Failed(f"{self._name}: no packet passes\n{self._text()}")
        return self

    def __exit__(self, *_: object) -> None:
        self._ping.send_signal(signal.SIGQUIT)  # has it say `ANSWERED/SENT packets, …`
        carries = comes_true(self._carries, DEAF_SECONDS)
        self._ping.send_signal(signal.SIGINT)
        self._ping.wait(WAIT_SECONDS)
        text, last = self._text(), self._answered()
        self._file.close()
        said = re.search(r"(\d+) packets transmitted", text)
        if said is None:
            raise Failed(f"{self._name}: ping said nothing\n{text}")
        self.sent = last if carries else int(said[1])
        self.tail = self.sent - last
        answered = {int(number) for number in re.findall(ANSWER, text)}
        row = 0
        for number in range(1, self.sent + 1):
            row = 0 if number in answered else row + 1
            self.lost += number not in answered
            self.row = max(self.row, row)

    def _carries(self) -> bool:
        """Whether a packet was answered that was sent after ping had been asked how many it has sent."""
        said = re.search(r"\d+/(\d+) packets,", self._text())
        return said is not None and self._answered() > int(said[1])

    def _answered(self) -> int:
        """The number of the last packet that was answered."""
        return max((int(number) for number in re.findall(ANSWER, self._text())), default=0)

    def _text(self) -> str:
        # ping writes at the place that the file is at: it is read without moving there.
        number = self._file.fileno()
        return os.pread(number, os.fstat(number).st_size, 0).decode()

    def __str__(self) -> str:
        return f"{self.lost} of {self.sent}" + (f", {self.row} in a row" if self.row > 1 else "")
