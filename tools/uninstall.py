#!/usr/bin/env python3
"""Takes away what stands, so that `make uninstall` can take the hook away.

    uninstall.py HOOK

It runs HOOK flush, which refuses while charon has tunnels. Then it looks at the records of other
network namespaces, where a flush must be run by hand. The exit status is 1 if something stands. A
line says what to do then, and nothing was uninstalled.

`make uninstall` runs it by the Python of the installed hook, and the rest is in the Makefile.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

AGAIN = "then run make uninstall again"
CONNECTIONS = 4
"""As many connections as a line names."""


class Left(NamedTuple):
    """Records of another network namespace, with tunnels in them."""

    file: Path
    connections: list[str]

    @property
    def cookie(self) -> str:
        """What the kernel calls the namespace (SO_NETNS_COOKIE). The file's name begins with it."""
        whole, _, _ = self.file.name.partition(".")
        cookie, _, _ = whole.partition("-")
        return cookie

    @property
    def shown(self) -> str:
        named = ", ".join(self.connections[:CONNECTIONS])
        more = len(self.connections) - CONNECTIONS
        if more > 0:
            return f"{named} and {more} more"
        return named or "nobody can tell which"


def flush(hook: str) -> int:
    """Takes away what stands in this network namespace, and prints it. Returns the exit status."""
    # PLUTO_VERB would make an event of it.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PLUTO_")}
    return subprocess.run([hook, "flush"], env=variables, check=False).returncode


def left(directory: Path) -> Iterator[Left]:
    """The records that have something in them after the flush."""
    for file in sorted(directory.glob("*.sqlite")):
        try:
            connections = _connections(file)
        except sqlite3.Error:
            yield Left(file, [])  # Nobody can say that there is nothing.
            continue
        if connections:
            yield Left(file, connections)
    for folder in sorted(directory.glob("*.late")):
        if any(folder.iterdir()):
            yield Left(folder, ["events that wait"])


def _connections(file: Path) -> list[str]:
    """The connections that have something there. A link of nobody's is one, too."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as records:
        rows = records.execute(
            "SELECT DISTINCT connection FROM reference JOIN wish ON reference = number"
            " ORDER BY connection"
        )
        connections = [connection for (connection,) in rows]
        (applied,) = records.execute("SELECT count(*) FROM applied").fetchone()
    if applied and not connections:
        return ["left over"]
    return connections


def namespace_of(cookie: str) -> str | None:
    """The name that `ip netns` has for a namespace, if it has one."""
    from vti_updown.kernel import namespace
    from vti_updown.netlink import Socket

    for name in namespace.names():
        try:
            with namespace.within(name), contextlib.closing(Socket()) as socket:
                if str(socket.namespace()) == cookie:
                    return name
        except OSError:
            continue  # a name without a namespace
    return None


def refuse(each: Left) -> None:
    name = namespace_of(each.cookie)
    if name is not None:
        print(f"error: {each.file} is of network namespace {name}, with: {each.shown}")
        print(f"  run ip netns exec {name} vti-updown flush, {AGAIN}")
        return
    print(f"error: {each.file} is of another network namespace, with: {each.shown}")
    print(f"  run vti-updown flush in it (nsenter -n -t PID), {AGAIN}")
    print(f"  or if there is no such namespace any more: rm -r {each.file}")


def main(words: list[str]) -> int:
    from vti_updown.records.storage import DIRECTORY

    (hook,) = words
    status = flush(hook)
    if status:
        print(f"  nothing was uninstalled; do that first, {AGAIN}")
        return status
    directory = Path(DIRECTORY)
    standing = list(left(directory))
    for each in standing:
        refuse(each)
    if standing:
        return 1
    if directory.exists():
        shutil.rmtree(directory)
        print(f"rm -r {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
