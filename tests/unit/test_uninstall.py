"""`make uninstall` and `make install`, with a hook that only tells how it is run."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from vti_updown.records.records import SCHEMA

ROOT = Path(__file__).parent.parent.parent
FLUSHES = "echo 'ip link del vti1'; [ -z \"$PLUTO_VERB\" ] || exit 2"
REFUSES = "echo 'error: charon (PID 7) is running'; exit 1"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


class Installed:
    """An environment as `make install` makes it, but with a package that does nothing."""

    def __init__(self, folder: Path) -> None:
        self.prefix = folder / "opt"
        self.link = folder / "sbin/vti-updown"
        self.share = folder / "share"
        self.records = folder / "run"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.prefix], check=True)
        self.hook = self.prefix / "bin/vti-updown"
        (site,) = self.prefix.glob("lib/python*/site-packages")
        self._write(site / "vti_updown/records/storage.py", f"DIRECTORY = {str(self.records)!r}")
        self._write(site / "vti_updown/kernel/namespace.py", NAMESPACE)
        self._write(site / "vti_updown/netlink.py", SOCKET)
        self.link.parent.mkdir()
        self.link.symlink_to(self.hook)
        self.hook_that(FLUSHES)

    def _write(self, file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def hook_that(self, does: str) -> None:
        self.hook.write_text(f'#!/bin/sh\necho "vti-updown $*"\n{does}\n')
        self.hook.chmod(0o755)

    def record(self, name: str, connection: str = "") -> Path:
        """Records of a namespace, with a tunnel of this connection."""
        self.records.mkdir(exist_ok=True)
        file = self.records / name
        with closing(sqlite3.connect(file)) as database:
            database.executescript(SCHEMA)
            if connection:
                database.executescript(
                    "INSERT INTO reference (number, charon, identity, unique_id, born, connection,"
                    f" virtual_ips, me, peer, since) VALUES (1, '', '', 1, 1, '{connection}',"
                    " '', '', '', ''); INSERT INTO wish VALUES ('key', 1, '{}', '', NULL)"
                )
        return file

    def make(self, target: str) -> tuple[int, list[str]]:
        places = [f"PREFIX={self.prefix}", f"BINDIR={self.link.parent}", f"SHAREDIR={self.share}"]
        words = ["make", "-s", target, *places]
        variables = {**os.environ, "PLUTO_VERB": "up-client", "MAKEFLAGS": ""}
        done = subprocess.run(
            words, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout.splitlines()


NAMESPACE = """
import contextlib
within = contextlib.nullcontext
def names():
    return ["office"]
"""
SOCKET = """
class Socket:
    def namespace(self):
        return 42
    def close(self):
        pass
"""


@pytest.fixture
def installed(tmp_path):
    return Installed(tmp_path)


def test_uninstalling_flushes_and_leaves_nothing(installed):
    """Neither the environment, nor the link to it, nor the records."""
    installed.record("1.sqlite")
    (installed.records / "1.sqlite.room").touch()
    said = ["vti-updown flush", "ip link del vti1", f"rm -r {installed.records}"]
    assert installed.make("uninstall") == (0, said)
    assert not installed.prefix.exists() and not installed.records.exists()
    assert not installed.link.is_symlink()
    assert installed.make("uninstall") == (0, [])


def test_a_flush_that_refuses_keeps_the_hook(installed):
    """Its down will come, and must find the hook."""
    file = installed.record("1.sqlite", "gw")
    installed.hook_that(REFUSES)
    status, lines = installed.make("uninstall")
    assert status and lines == [
        "vti-updown flush",
        "error: charon (PID 7) is running",
        "  nothing was uninstalled; do that first, then run make uninstall again",
    ]
    assert installed.hook.exists() and installed.link.exists() and file.exists()


def test_tunnels_of_another_namespace_are_named(installed):
    """With the file, and what to run for it."""
    known = installed.record("42-1a2b.sqlite", "gw")
    unknown = installed.record("43.sqlite", "rw")
    damaged = installed.record("44.sqlite")
    damaged.write_bytes(b"damaged" * 1000)
    (installed.records / "45-1a2b.late").mkdir()
    (installed.records / "45-1a2b.late/1.json").touch()
    status, (_, _, *lines) = installed.make("uninstall")
    by_hand = "  run vti-updown flush in it (nsenter -n -t PID), then run make uninstall again"
    assert status and lines == [
        f"error: {known} is of network namespace office, with: gw",
        "  run ip netns exec office vti-updown flush, then run make uninstall again",
        f"error: {unknown} is of another network namespace, with: rw",
        by_hand,
        f"  or if there is no such namespace any more: rm -r {unknown}",
        f"error: {damaged} is of another network namespace, with: nobody can tell which",
        by_hand,
        f"  or if there is no such namespace any more: rm -r {damaged}",
        f"error: {installed.records}/45-1a2b.late is of another network namespace, with: events that wait",
        by_hand,
        f"  or if there is no such namespace any more: rm -r {installed.records}/45-1a2b.late",
    ]
    assert installed.hook.exists() and installed.link.exists() and known.exists()


def test_uninstalling_removes_nothing_of_others(installed, tmp_path):
    """A link to somewhere else, and a folder that is not the hook's alone, stay."""
    installed.link.unlink()
    installed.link.symlink_to("/bin/true")
    (installed.prefix / "pyvenv.cfg").unlink()
    installed.hook.unlink()
    assert installed.make("uninstall") == (0, [])
    assert installed.link.is_symlink() and installed.prefix.exists()


def test_the_manual_page_and_completions_come_and_go(installed):
    """They are where man and the three shells look for them, and the link of another stays."""
    assert installed.make("shared") == (0, [])
    places = {
        "man/man8/vti-updown.8": "docs/vti-updown.8",
        "bash-completion/completions/vti-updown": "completions/vti-updown.bash",
        "zsh/site-functions/_vti-updown": "completions/_vti-updown",
        "fish/vendor_completions.d/vti-updown.fish": "completions/vti-updown.fish",
    }
    for place, source in places.items():
        assert (installed.share / place).read_text() == (ROOT / source).read_text()
    assert installed.make("shared") == (0, []), "an upgrade does the same again"
    others, *own = [installed.share / place for place in places]
    others.unlink()
    others.symlink_to(ROOT / "docs/vti-updown.8")
    assert installed.make("uninstall")[0] == 0
    assert others.is_symlink()
    assert not [file for file in own if file.is_symlink()]


def test_installing_takes_no_folder_with_other_files(installed):
    """Uninstalling would remove them."""
    (installed.prefix / "pyvenv.cfg").unlink()
    status, lines = installed.make("install")
    assert status and lines == [
        f"error: {installed.prefix} has other files in it; name a folder for the hook alone: PREFIX=FOLDER"
    ]
