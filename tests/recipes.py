#!/usr/bin/env python3
"""The recipes of examples/, as tests use them; as a program, it writes docs/recipes.md from the tests that do.

A recipe is a folder with a README.md and the files that a user copies. The first line of each file says where it goes:
`# /etc/swanctl/conf.d/aws.conf: what it is`. Tests take them as they stand, and run what the README says to run.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hosts import ROOT, Host
from lab import BESIDE, beside, has_vti, kernel

PAGE = ROOT / "docs/recipes.md"
HEAD = """# Recipes

Each is a folder of [examples](../examples/) with the files to copy, whose first lines say where they go, and a page that says
the rest. A test takes the files as they stand, runs the page's commands on real hosts with packets, and checks that the host
is as before at the end. It starts strongSwan and the other daemons itself: packages and systemd's part of a page are not
tried. `make recipes` writes this page from the tests; one of them runs by `make watch TESTS="FILE -k NAME"`, all by `make
test-recipes`.

## Before you start

- A recipe with `swanctl.conf` needs Debian's `charon-systemd` and `strongswan-swanctl`; its service is `strongswan`, and
  loads the connections at boot. With `strongswan-starter` beside it, both want UDP 500: `systemctl disable --now
  strongswan-starter`. A recipe with `ipsec.conf` needs `strongswan-starter`.
- What is in `/etc/strongswan.d`, and a plugin just installed, counts after a restart of strongSwan. `/etc/vti-updown.toml`
  counts from the next `up` of a connection, or `vti-updown prepare`. `mss` needs `nftables`.
- A first line that says `mode 600` is for files with secrets: `install -m 600 FILE TARGET`.
- A host has one `/etc/vti-updown.toml` and one `charon.conf`: of two recipes on one host, put the tables into one file, and
  what is in `[default]` into the connections that it is for.
- Where a daemon makes the routes (BGP, OSPF), it takes them away when all tunnels are down, and packets for the other side
  leave by the default route. `ip route add unreachable NETWORK metric 4278198272` at boot, lets none out.

## The list

| recipe | what the test sees | test | tested against |
| --- | --- | --- | --- |
"""


def installed(package: str) -> str:
    """The version of a Debian package that the tests use."""
    if package in BESIDE:
        return (beside(package) / "version").read_text().strip()
    return subprocess.run(["dpkg-query", "-Wf", "${Version}", package], capture_output=True, text=True, check=True).stdout


VERSIONS: dict[str, Callable[[], str]] = {
    "strongSwan": lambda: installed("strongswan-charon"),
    "BIRD": lambda: installed("bird2"),
    "FRR": lambda: installed("frr"),
    "libreswan": lambda: installed("libreswan"),
    "Linux": lambda: os.uname().release if has_vti() else kernel().name.removeprefix("vmlinuz-"),
}
"""What recipes are tested against, and how its version is found."""


def placed(file: Path) -> tuple[str, int]:
    """Where an example's first line says that it goes, `# PATH: …`, and its mode, 0644 or what `# PATH, mode 600: …` says."""
    told = re.match(r"[#!] (/etc/[^\s:,]+)(?:, mode (600))?:", file.read_text())
    assert told, f"{file} does not say in its first line where it goes"
    return told[1], int(told[2] or "644", 8)


class Recipe:
    """A folder of examples/."""

    def __init__(self, name: str) -> None:
        self.folder = ROOT / "examples" / name
        self.page = (self.folder / "README.md").read_text()

    def target(self, name: str) -> str:
        """Where the file's first line says that it goes."""
        return placed(self.folder / name)[0]

    def install(self, host: Host, *names: str) -> None:
        """Copies the files to where they go; all but the page where none is named."""
        for name in names or sorted(file.name for file in self.folder.iterdir() if file.name != "README.md"):
            path, mode = placed(self.folder / name)
            host.file(path, (self.folder / name).read_text(), mode)

    def run(self, host: Host, command: str) -> str:
        """Runs a command line that the page has in a block of its own, with `# ` before it."""
        assert f"    # {command}\n" in self.page, f"{self.folder.name}/README.md does not say: {command}"
        return host.run("sh", "-c", command)


class Collected:
    """A plugin of pytest that keeps the tests of recipes, in their order."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, tuple[str, ...]]] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for marker in item.iter_markers("recipe"):
                says = (item.function.__doc__ or "").strip().partition("\n\n")[0]
                self.rows.append((marker.args[0], " ".join(says.split()), item.nodeid, marker.args[1:]))


def collected() -> list[tuple[str, str, str, tuple[str, ...]]]:
    """The tests of recipes: folder, what it sees, its node, what it was tested against."""
    plugin = Collected()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = pytest.main(["--collect-only", "-p", "no:cacheprovider", str(ROOT / "tests/strongswan")], plugins=[plugin])
    assert status == 0, f"pytest could not collect the tests:\n{said.getvalue()}"
    return sorted(plugin.rows)


def table(version: Callable[[str], str]) -> str:
    """The page's rows, with each program's version as `version` gives it."""
    rows = ""
    for folder, says, node, against in collected():
        file, _, name = node.partition("::")
        link = f"[{folder}](../examples/{folder}/)"
        rows += (
            f"| {link} | {says} | [`{name}`](../{file}) | {', '.join(version(program) for program in ('Linux', *against))} |\n"
        )
    return rows


def main(words: list[str]) -> None:
    """Writes the page; with `names`, prints its rows with the programs' names alone."""
    if words == ["names"]:
        print(table(lambda program: program), end="")
        return
    text = HEAD + table(lambda program: f"{program} {VERSIONS[program]()}")
    PAGE.write_text(text)
    print(f"{PAGE.relative_to(ROOT)}: {len(text.splitlines()) - len(HEAD.splitlines())} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
