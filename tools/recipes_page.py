#!/usr/bin/env python3
"""Writes the table of docs/recipes.md from the tests of recipes. The text above it stays.

With `names`, prints the rows with the names of the programs alone.
"""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.kernel import has_vti, kernel
from lab.packages import BESIDE, beside

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/recipes.md"
TABLE_HEAD = """# Recipes

Each recipe is a folder of [examples](../examples/). It has the files to copy, and a page with the same
headings in each. The first line of a file says where it goes.

Each recipe has a test. The test takes the files as they stand, and runs the page's commands on real
hosts. It sends packets, and checks that the host is as before at the end. It starts strongSwan and the
other daemons by itself, so it does not try packages and systemd units.

`make recipes` writes this page from the tests. `make test-recipes` runs all of them, and
`make watch TESTS="FILE -k NAME"` one.

## Before you start

- **strongSwan's packages.** A recipe with `swanctl.conf` needs Debian's `charon-systemd` and
  `strongswan-swanctl`. Its service is `strongswan`, and loads the connections at boot. A recipe with
  `ipsec.conf` needs `strongswan-starter`. Both services want UDP 500, so use one of them:
  `systemctl disable --now strongswan-starter`.
- **What takes effect when.** A file in `/etc/strongswan.d`, or a plugin just installed, counts after a
  restart of strongSwan. `/etc/vti-updown.toml` counts from the next `up` of a connection, or from
  `vti-updown prepare`.
- **nftables.** The setting `mss` needs the package `nftables`.
- **Secrets.** A first line that says `mode 600` is for files with secrets:
  `install -m 600 FILE TARGET`.
- **Two recipes on one host.** A host has one `/etc/vti-updown.toml` and one `charon.conf`. Put the
  tables of both into one file. Move what is in `[default]` into the connections that it is for.
- **Routing daemons.** A daemon (BGP, OSPF) takes its routes away when all tunnels are down. Packets for
  the other side then leave by the default route. `ip route add unreachable NETWORK metric 4278198272`
  at boot lets none out.

## The list

| recipe | what the test sees | test | tested against |
| --- | --- | --- | --- |
"""

Row = tuple[str, str, str, tuple[str, ...]]
"""A test of a recipe: its folder, what it sees, its node, and the programs that it runs."""


def installed(package: str) -> str:
    """The version of a Debian package that the tests use."""
    if package in BESIDE:
        return (beside(package) / "version").read_text().strip()
    return subprocess.run(
        ["dpkg-query", "-Wf", "${Version}", package], capture_output=True, text=True, check=True
    ).stdout


VERSIONS: dict[str, Callable[[], str]] = {
    "strongSwan": lambda: installed("strongswan-charon"),
    "BIRD": lambda: installed("bird2"),
    "FRR": lambda: installed("frr"),
    "libreswan": lambda: installed("libreswan"),
    "Linux": lambda: os.uname().release if has_vti() else kernel().name.removeprefix("vmlinuz-"),
}
"""What recipes are tested against, and how its version is found."""


class Collected:
    """A plugin of pytest that keeps the tests of recipes, in their order."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            if isinstance(item, pytest.Function):
                self.rows += rows_of(item)


def rows_of(test: pytest.Function) -> list[Row]:
    first_paragraph = (test.function.__doc__ or "").strip().partition("\n\n")[0]
    says = " ".join(first_paragraph.split())
    rows: list[Row] = []
    for marker in test.iter_markers("recipe"):
        folder, *programs = marker.args
        rows.append((folder, says, test.nodeid, tuple(programs)))
    return rows


def collected() -> list[Row]:
    plugin = Collected()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = pytest.main(
            ["--collect-only", "-p", "no:cacheprovider", str(ROOT / "tests/strongswan")],
            plugins=[plugin],
        )
    assert status == 0, f"pytest could not collect the tests:\n{said.getvalue()}"
    return sorted(plugin.rows)


def table(version: Callable[[str], str]) -> str:
    """The page's rows, with each program's version as `version` gives it."""
    rows = ""
    for folder, says, node, programs in collected():
        file, _, name = node.partition("::")
        versions = ", ".join(version(program) for program in ("Linux", *programs))
        link = f"[{folder}](../examples/{folder}/)"
        rows += f"| {link} | {says} | [`{name}`](../{file}) | {versions} |\n"
    return rows


def main(words: list[str]) -> None:
    if words == ["names"]:
        print(table(lambda program: program), end="")
        return
    above, head, _ = PAGE.read_text().partition(TABLE_HEAD)
    rows = table(lambda program: f"{program} {VERSIONS[program]()}")
    PAGE.write_text(above + head + rows)
    print(f"{PAGE.relative_to(ROOT)}: {len(rows.splitlines())} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
