"""`make uninstall`, with tunnels of the installed hook on a real kernel."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Machine, sh
from support.events import environment

ROOT = Path(__file__).parent.parent.parent


class Installed:
    """The hook as `make install` leaves it, but with the packages of this Python."""

    def __init__(self, folder: Path) -> None:
        self.prefix = folder / "opt"
        self.link = folder / "sbin/vti-updown"
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.prefix], check=True)
        (site,) = self.prefix.glob("lib/python*/site-packages")
        packages = [path for path in sys.path if path.endswith("site-packages")]
        (site / "those-of-the-tests.pth").write_text("\n".join([f"{ROOT}/src", *packages]))
        hook = self.prefix / "bin/vti-updown"
        hook.write_text((ROOT / "bin/vti-updown").read_text())
        hook.chmod(0o755)
        self.link.parent.mkdir()
        self.link.symlink_to(hook)

    def uninstall(self) -> tuple[int, list[str]]:
        places = [f"PREFIX={self.prefix}", f"BINDIR={self.link.parent}", f"SHAREDIR={self.folder}"]
        words = ["make", "-s", "uninstall", *places]
        variables = {**os.environ, "MAKEFLAGS": ""}
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()

    def by_hand(self, verb: str, *before: str) -> str:
        """An event that no charon calls."""
        words = [*before, str(self.link), "--route", "10.2.0.0/16"]
        done = subprocess.run(
            words, env=self.variables(verb), stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout

    def variables(self, verb: str) -> dict[str, str]:
        return {**environment(verb), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    @property
    def is_there(self) -> bool:
        return self.link.exists() and self.prefix.exists()


class Charon:
    """A shell of this name, which calls the hook as charon does."""

    def __init__(self, installed: Installed) -> None:
        sh(f"cp /bin/dash {installed.folder}/charon")
        self._process = subprocess.Popen(
            [f"{installed.folder}/charon"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            text=True,
        )
        self._installed = installed

    @property
    def pid(self) -> int:
        return self._process.pid

    def calls(self, verb: str) -> str:
        """The first line that the hook printed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        variables = self._installed.variables(verb)
        words = " ".join(f"{name}='{value}'" for name, value in variables.items())
        self._process.stdin.write(f"env {words} {self._installed.link} | head -n 1\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def installed(machine: Machine, tmp_path: Path) -> Installed:
    return Installed(tmp_path)


@pytest.fixture
def charon(installed: Installed) -> Iterator[Charon]:
    started = Charon(installed)
    yield started
    started.stop()


def test_uninstalling_leaves_nothing_behind(machine, installed):
    """Neither a link, nor records, nor the hook."""
    before = machine.state()
    installed.by_hand("up-client")
    assert machine.links() == ["vti1"]
    status, lines = installed.uninstall()
    assert (status, lines) == (0, ["ip link del vti1", "rm -r /run/vti-updown"])
    assert machine.state() == before
    assert not installed.prefix.exists() and not installed.link.is_symlink()
    assert not os.path.exists("/run/vti-updown")


def test_uninstalling_refuses_while_charon_has_tunnels(machine, installed, charon):
    """Their down will come, and must find the hook; then charon need not stop."""
    before = machine.state()
    assert charon.calls("up-client").startswith("gw: vti1 up")
    status, lines = installed.uninstall()
    assert status and lines[0].startswith(f"error: charon (PID {charon.pid}) is running")
    assert installed.is_there and machine.links() == ["vti1"]
    assert charon.calls("down-client").startswith("gw: vti1 down")
    assert installed.uninstall() == (0, ["nothing to take away", "rm -r /run/vti-updown"])
    assert machine.state() == before and not installed.is_there


def test_uninstalling_names_the_namespace_that_has_tunnels(machine, installed):
    """And what it advises takes them away."""
    sh("ip netns add other; ip -n other link set lo up")
    installed.by_hand("up-client", "ip", "netns", "exec", "other")
    status, lines = installed.uninstall()
    assert status and installed.is_there
    (error, advice) = [line for line in lines if line.startswith(("error:", "  run"))]
    assert error.endswith("is of network namespace other, with: gw")
    command, _, _ = advice.removeprefix("  run ").partition(", then")
    path = f"PATH={installed.link.parent}:$PATH"
    assert "vti1" in sh("ip -n other link show")
    sh(f"{path} {command}")
    assert "vti1" not in sh("ip -n other link show")
    assert installed.uninstall()[0] == 0
    assert not installed.is_there and not os.path.exists("/run/vti-updown")
