"""Each test here runs in network and mount namespaces of its own, in this process, as root on a
kernel that has VTI.
"""

import contextlib
import ctypes
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.events import environment
from support.host import Host
from support.schema import checked
from vti_updown import cli, state
from vti_updown import processes as process
from vti_updown.admin import cli as people
from vti_updown.admin import status

LAN = """
link set lo up
link add eth0 type veth peer name lan
link set lan up
link set eth0 up
addr add 192.168.0.1/24 dev eth0
addr add fec0::1/16 dev eth0 nodad
route add default via 192.168.0.254
"""
"""What `ip` is to do for the host under test, in one process: each test has a host of its own."""
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def sh(script: str, check: bool = True) -> str:
    """Runs a shell script here and returns what it printed."""
    done = subprocess.run(
        ["sh", "-ec", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout


class Machine:
    """The host under test: this process, with a LAN on eth0, and a charon that can die."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self._charons = 1
        self.status = 0
        self.cannot_look = ""
        """Why `status` cannot look when the test ends. Empty: it can."""
        self.dead: set[str] = set()
        monkeypatch.setattr(process, "charon", lambda: self.charon)
        monkeypatch.setattr(process, "alive", lambda who: who not in self.dead)

    @property
    def charon(self) -> str:
        return "" if self._charons == 0 else f"{self._charons}@1"

    def by_hand(self) -> None:
        """Events come from a person from now on."""
        self._charons = 0

    def charon_is_new(self) -> None:
        """Another charon calls, of which nothing is on record."""
        self._charons += 1

    @contextlib.contextmanager
    def person(self) -> Iterator[None]:
        """Events come from a person while this lasts."""
        charons = self._charons
        self.by_hand()
        yield
        self._charons = charons

    def restart_charon(self) -> None:
        """Kills charon and starts another."""
        self.dead.add(self.charon)
        self._charons += 1

    def event(self, verb: str, *flags: str, **changed: object) -> list[str]:
        """One call of the hook, as charon's; returns the lines that it printed.

        `status` holds its exit status.
        """
        return self.event_of(environment(verb, **changed), *flags)

    def event_of(self, variables: dict[str, str], *flags: str) -> list[str]:
        """One call of the hook with this environment."""
        self._capfd.readouterr()
        self.status = cli.hook(flags, variables)
        out, err = self._capfd.readouterr()
        assert not err
        return out.splitlines()

    def up(self, *flags: str, verb: str = "up-client", **changed: object) -> list[str]:
        """An up that has to succeed."""
        lines = self.event(verb, *flags, **changed)
        assert self.status == 0, lines
        return lines

    def down(self, *flags: str, verb: str = "down-client", **changed: object) -> list[str]:
        lines = self.event(verb, *flags, **changed)
        assert self.status == 0, lines
        return lines

    def command(self, *words: str) -> list[str]:
        """One call of a command for people; returns the lines that it printed."""
        self._capfd.readouterr()
        self.status = people.run(words)
        out, err = self._capfd.readouterr()
        assert not err
        return out.splitlines()

    def show(self, *words: str) -> list[str]:
        """What `status` prints. It changes neither the network nor the records."""
        before = self.state(), self._records()
        lines = self.command("status", *words)
        assert (self.state(), self._records()) == before, "status changed something"
        return lines

    def document(self) -> dict[str, Any]:
        """What `status --json` prints, which is as its schema says."""
        return checked("\n".join(self.command("status", "--json")))

    def _records(self) -> dict[str, bytes]:
        return {str(file): file.read_bytes() for file in Path(state.DIRECTORY).glob("*.sqlite")}

    def state(self) -> str:
        """The whole network state; equal when nothing changed."""
        return Host.network_state(self)  # type: ignore[arg-type]

    def run(self, *words: str) -> str:
        return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False).stdout

    def add_vti(self, name: str) -> None:
        """Somebody else's VTI with the endpoints and the mark of the recorded event."""
        self.run(*f"ip link add {name} type vti local 192.168.0.1 remote 192.168.0.2 key 2".split())

    def links(self) -> list[str]:
        """The names of the VTIs."""
        found = json.loads(sh("ip -j -d link show"))
        names = []
        for one in found:
            kind = one.get("linkinfo", {}).get("info_kind")
            if kind in ("vti", "vti6") and one["ifname"] not in ("ip_vti0", "ip6_vti0"):
                names.append(one["ifname"])
        return names

    def addresses(self, link: str) -> list[str]:
        """The addresses of a link, IPv6's link-local ones left out."""
        (found,) = json.loads(sh(f"ip -j addr show {link}"))
        return [
            f"{one['local']}/{one['prefixlen']}"
            for one in found["addr_info"]
            if one["scope"] != "link"
        ]

    def routes(self, link: str = "", family: int = 4) -> list[str]:
        """The routes of a link, or all of the main table, as `ip route` shows them; not those of
        the kernel's own.
        """
        text = sh(f"ip -{family} route show {'dev ' + link if link else ''}")
        return [
            re.sub(r" +", " ", line).strip()
            for line in text.splitlines()
            if "proto kernel" not in line
        ]

    def setting(self, family: int, link: str, name: str = "disable_policy") -> str:
        with open(f"/proc/sys/net/ipv{family}/conf/{link}/{name}") as file:
            return file.read().strip()


def _look(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test leaves, `status --json` is as its schema says."""
    monkeypatch.setattr(status, "AGAIN_SECONDS", 0)
    if not machine.cannot_look:
        machine.document()
        return
    lines = machine.command("status", "--json")
    assert machine.status == 3, lines
    assert lines[0].startswith("error: "), lines


@pytest.fixture
def machine(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Machine]:
    home = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
    folder = os.getcwd()
    _checked(libc.unshare(CLONE_NEWNET | CLONE_NEWNS))
    try:
        _checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        _checked(libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"mode=755"))
        Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
        subprocess.run(["ip", "-batch", "-"], input=LAN, text=True, check=True)
        made = Machine(monkeypatch, capfd)
        yield made
        _look(made, monkeypatch)
    finally:
        for namespace in home:
            _checked(libc.setns(namespace, 0))
            os.close(namespace)
        os.chdir(folder)
