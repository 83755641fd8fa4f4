#!/usr/bin/env python3
"""One up and one down of the hook against the bash script it replaces: whole processes, pair by pair, in one run.

Prints medians, their spread and ratios, and what each import costs. Nothing here is asserted: times are for people.
"""

import ctypes
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from events import environment
from hosts import HOOK, Host

ROUNDS = int(os.environ.get("VTI_UPDOWN_ROUNDS", "0"))
SECONDS = 60
"""How long a comparison takes where VTI_UPDOWN_ROUNDS does not say how many rounds."""

# The script of the article "VTI Tunnel Interface with strongSwan" (2015), as it is passed on, for one network.
SCRIPT = """#!/bin/bash
set -o nounset
set -o errexit
VTI_IF="vti${PLUTO_UNIQUEID}"
case "${PLUTO_VERB}" in
    up-client)
        ip tunnel add "${VTI_IF}" local "${PLUTO_ME}" remote "${PLUTO_PEER}" mode vti \\
            okey "${PLUTO_MARK_OUT%%/*}" ikey "${PLUTO_MARK_IN%%/*}"
        ip link set "${VTI_IF}" up
        ip addr add ${PLUTO_MY_SOURCEIP} dev "${VTI_IF}"
        ip route add 10.2.0.0/16 dev "${VTI_IF}"
        sysctl -w "net.ipv4.conf.${VTI_IF}.disable_policy=1"
        ;;
    down-client)
        ip tunnel del "${VTI_IF}"
        ;;
esac
"""

IMPORTS = (
    ("nothing", "pass"),
    ("the whole hook", "import vti_updown.hook"),
    ("  pyroute2's netlink layer", "import vti_updown.rtnetlink"),
    ("  sqlite3", "import sqlite3"),
    ("  ipaddress", "import ipaddress"),
    ("  json", "import json"),
    ("not imported: pyroute2", "import pyroute2"),
    ("not imported: click", "import click"),
)


def paired(commands: dict[str, Callable[[], None]], seconds: float = SECONDS) -> dict[str, list[float]]:
    """Times the commands in turn, each for as many rounds as go into `seconds`; the first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    end = time.monotonic() + seconds
    done = -1
    while (done < ROUNDS) if ROUNDS else (done < 5 or time.monotonic() < end):
        for name, command in commands.items():
            start = time.perf_counter()
            command()
            if done >= 0:
                times[name].append(time.perf_counter() - start)
        done += 1
    return times


def shown(times: list[float]) -> str:
    quarters = statistics.quantiles(times, n=4)
    low, middle, high = (1000 * quarter for quarter in quarters)
    return f"{middle:8.1f} ms  (half within {low:.1f} … {high:.1f}, n={len(times)})"


def events() -> None:
    """An up and a down each, by script and hook in turn, in the namespaces of this process."""
    script = Path("/run/updown")
    script.write_text(SCRIPT)
    script.chmod(0o755)
    bare = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    words = {"bash script": str(script), "vti-updown": f"{HOOK} --route 10.2.0.0/16"}

    def call(command: str, verb: str) -> Callable[[], None]:
        # As charon calls it: through the shell, both streams in a pipe that is read to its end.
        variables = environment(verb) | bare

        def run() -> None:
            subprocess.run(["/bin/sh", "-c", f"2>&1 {command}"], env=variables, stdout=subprocess.PIPE, check=True)

        return run

    times = paired(
        {f"{verb} {name}": call(command, verb) for name, command in words.items() for verb in ("up-client", "down-client")}
    )
    print("One event, whole process, /bin/sh included:")
    for verb in ("up-client", "down-client"):
        for name in words:
            print(f"  {verb:12} {name:12} {shown(times[f'{verb} {name}'])}")
        ratio = statistics.median(times[f"{verb} vti-updown"]) / statistics.median(times[f"{verb} bash script"])
        print(f"  {verb:12} {'ratio':12} {ratio:8.2f}")


def imports() -> None:
    """What an import costs, whole process, with the hook's own interpreter flags."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))

    def call(statement: str) -> Callable[[], None]:
        code = f"import sys; sys.path.append({packages!r}); {statement}"

        def run() -> None:
            subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)

        return run

    times = paired({name: call(statement) for name, statement in IMPORTS}, SECONDS / 2)
    base = statistics.median(times["nothing"])
    print("python3 -I -S, whole process, with an import of:")
    for name, _ in IMPORTS:
        print(f"  {name:28} {shown(times[name])}  +{1000 * (statistics.median(times[name]) - base):.1f} ms")


def main() -> int:
    with Host("bench") as host:
        for kind in ("net", "mnt"):
            namespace = os.open(f"/proc/{host.pid}/ns/{kind}", os.O_RDONLY)
            _enter(namespace)
            os.close(namespace)
        subprocess.run(["ip", "addr", "add", "192.168.0.1/24", "dev", "lo"], check=True)
        events()
        imports()
    return 0


def _enter(namespace: int) -> None:
    # os.setns() is there from Python 3.12 on.
    if ctypes.CDLL(None, use_errno=True).setns(namespace, 0):
        raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    sys.exit(main())
