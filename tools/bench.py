#!/usr/bin/env python3
"""One up and one down of the hook against the bash script that it replaces.

    bench.py             as root; it makes network and mount namespaces of its own

These are whole processes, run as charon runs them. Script and hook take turns, so that a busy
machine slows both. Wall time and the CPU time of all processes of an event are shown: the median,
the range that half of the events are in, and the ratio. Wall time includes the waits of the kernel,
such as the one when a link ends, which script and hook share. CPU time does not include them, and
depends less on what else runs. Nothing here is asserted: times are for people.

Where the kernel has no VTI, another kind of link stands in for it, in script and hook alike. The
first line says so.

VTI_UPDOWN_HOOK is the hook; otherwise it is the one beside the Python that runs this.
VTI_UPDOWN_SECONDS says how long events are measured, or VTI_UPDOWN_ROUNDS how many of them.
"""

import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROUNDS = int(os.environ.get("VTI_UPDOWN_ROUNDS", "0"))
SECONDS = float(os.environ.get("VTI_UPDOWN_SECONDS", "60"))
FEWEST_ROUNDS = 5
HOOK = Path(os.environ.get("VTI_UPDOWN_HOOK", Path(sys.prefix) / "bin/vti-updown"))
STAND_IN_KINDS = ("dummy", "ifb", "bridge")
IN_NAMESPACES = "--in-namespaces"
SCRIPT_NAME, HOOK_NAME = "bash script", "vti-updown"
UP, DOWN = "up-client", "down-client"

# The script of the article "VTI Tunnel Interface with strongSwan" (2015), as it is passed on, for
# one network.
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
MAKES_VTI = """ip tunnel add "${VTI_IF}" local "${PLUTO_ME}" remote "${PLUTO_PEER}" mode vti \\
            okey "${PLUTO_MARK_OUT%%/*}" ikey "${PLUTO_MARK_IN%%/*}"
"""

EVENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "PLUTO_CONNECTION": "gw",
    "PLUTO_UNIQUEID": "1",
    "PLUTO_REQID": "1",
    "PLUTO_INTERFACE": "eth0",
    "PLUTO_ME": "192.168.0.1",
    "PLUTO_PEER": "192.168.0.2",
    "PLUTO_MY_ID": "moon",
    "PLUTO_PEER_ID": "sun",
    "PLUTO_MY_CLIENT": "10.3.0.1/32",
    "PLUTO_MY_PORT": "0",
    "PLUTO_MY_PROTOCOL": "0",
    "PLUTO_PEER_CLIENT": "0.0.0.0/0",
    "PLUTO_PEER_PORT": "0",
    "PLUTO_PEER_PROTOCOL": "0",
    "PLUTO_MY_SOURCEIP": "10.3.0.1",
    "PLUTO_MY_SOURCEIP4_1": "10.3.0.1",
    "PLUTO_MARK_IN": "2/0xffffffff",
    "PLUTO_MARK_OUT": "2/0xffffffff",
}

IMPORTS = (
    ("nothing", "pass"),
    ("sqlite3", "import sqlite3"),
    ("ipaddress", "import ipaddress"),
    ("json", "import json"),
    ("pyroute2 (the hook has only its netlink layer)", "import pyroute2"),
    ("click (only the administrator's commands have it)", "import click"),
)


class Cost(NamedTuple):
    wall: float
    """Seconds."""
    cpu: float
    """Seconds of user and system time, of the process and all that it waited for."""


class Failed(Exception):
    """What has to work, and did not."""


# Measuring


def cost(words: Sequence[str], variables: dict[str, str]) -> Cost:
    """Runs a command to its end, and reads what it prints."""
    start = time.perf_counter()
    process = subprocess.Popen(
        words, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{shlex.join(words)} gave {process.returncode}: {said.decode()}")
    return Cost(wall, used.ru_utime + used.ru_stime)


def event_cost(command: str, verb: str, more: dict[str, str]) -> Cost:
    """One event as charon runs it: through the shell, with both streams in a pipe."""
    variables = {**EVENT, "PLUTO_VERB": verb, **more}
    return cost(["/bin/sh", "-c", f"2>&1 {command}"], variables)


class Clock:
    """Says whether there is time for another round. The first one does not count."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._started = 0

    def another_round(self) -> bool:
        self._started += 1
        counted = self._started - 2
        if ROUNDS:
            return counted < ROUNDS
        return counted < FEWEST_ROUNDS or time.monotonic() < self._end


Costs = dict[str, list[Cost]]


def measure_events(commands: dict[str, str], more: dict[str, str]) -> dict[str, Costs]:
    """By verb and name of the command, what each event took. Each round swaps who is first."""
    costs: dict[str, Costs] = {verb: {name: [] for name in commands} for verb in (UP, DOWN)}
    clock = Clock(SECONDS)
    names = list(commands)
    while clock.another_round():
        for name in names:
            for verb in (UP, DOWN):
                costs[verb][name].append(event_cost(commands[name], verb, more))
        names.reverse()
    return {verb: without_first(by_name) for verb, by_name in costs.items()}


def without_first(costs: Costs) -> Costs:
    return {name: taken[1:] for name, taken in costs.items()}


def both(ups: Costs, downs: Costs) -> Costs:
    """An up and the down behind it, added."""
    return {
        name: list(map(added, ups[name], downs[name]))
        for name in ups
    }  # fmt: skip


def added(one: Cost, other: Cost) -> Cost:
    return Cost(one.wall + other.wall, one.cpu + other.cpu)


# Showing


def shown(seconds: list[float]) -> str:
    low, middle, high = (1000 * quarter for quarter in statistics.quantiles(seconds, n=4))
    return f"{middle:7.1f} ms ({low:5.1f} … {high:5.1f})"


def print_events(what: str, costs: Costs) -> None:
    walls = {name: [one.wall for one in taken] for name, taken in costs.items()}
    cpus = {name: [one.cpu for one in taken] for name, taken in costs.items()}
    for name in costs:
        print(f"  {what:12} {name:12} {shown(walls[name])}   {shown(cpus[name])}")
    wall, cpu = ratio(walls), ratio(cpus)
    print(f"  {what:12} {'ratio':12} {wall:7.2f} {'':18}   {cpu:7.2f}")


def ratio(times: dict[str, list[float]]) -> float:
    """How many times the script's median the hook's is."""
    return statistics.median(times[HOOK_NAME]) / statistics.median(times[SCRIPT_NAME])


# The link


def can_make(kind: str) -> bool:
    """Whether the kernel makes such a link here."""
    endpoints = " local 192.0.2.1 remote 192.0.2.2 key 1" if kind == "vti" else ""
    words = f"ip link add trial type {kind}{endpoints}".split()
    done = subprocess.run(words, stderr=subprocess.DEVNULL, check=False)
    if done.returncode:
        return False
    subprocess.run(["ip", "link", "del", "trial"], check=True)
    return True


def link_kind() -> str:
    found = next((kind for kind in ("vti", *STAND_IN_KINDS) if can_make(kind)), None)
    if found is None:
        raise Failed(
            f"the kernel makes neither a VTI nor any of {', '.join(STAND_IN_KINDS)};"
            " measure in a virtual machine: make bench-vm"
        )
    return found


def script_for(kind: str) -> str:
    if kind == "vti":
        return SCRIPT
    assert MAKES_VTI in SCRIPT
    made_so = SCRIPT.replace(MAKES_VTI, f'ip link add "${{VTI_IF}}" type {kind}\n')
    return made_so.replace("ip tunnel del", "ip link del")


def hook_for(kind: str) -> str:
    """The hook's own file, which imports the stand-in first where it needs one."""
    text = HOOK.read_text()
    if kind == "vti":
        return text
    lines = text.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith("import "))
    loading = 'import sys\nsys.path.insert(0, "/run/bench")\nimport stand_in\ndel sys.path[0]\n'
    return "".join((*lines[:first], loading, *lines[first:]))


def put_in_place(kind: str, folder: Path) -> None:
    """Covers the hook, for this namespace only: beside it are its interpreter and packages."""
    shutil.copy(Path(__file__).with_name("stand_in.py"), folder)
    changed = folder / "vti-updown"
    changed.write_text(hook_for(kind))
    changed.chmod(0o755)
    subprocess.run(["mount", "--bind", changed, HOOK], check=True)


# The parts of a run


def events() -> None:
    folder = Path("/run/bench")
    folder.mkdir()
    kind = link_kind()
    if kind == "vti":
        print("The link is a VTI, as in use.")
    else:
        print("This kernel has no VTI.", end=" ")
        print(f"A link of kind {kind} stands in for it, in script and hook alike.")
    script = folder / "updown"
    script.write_text(script_for(kind))
    script.chmod(0o755)
    put_in_place(kind, folder)
    commands = {SCRIPT_NAME: str(script), HOOK_NAME: f"{HOOK} --route 10.2.0.0/16"}
    costs = measure_events(commands, {"STAND_IN_KIND": kind})
    ups, downs = costs[UP], costs[DOWN]
    print(f"{len(ups[HOOK_NAME])} events of each, whole processes, /bin/sh included;", end=" ")
    print("median (half of them within):")
    print(f"  {'':25} {'wall time':>26}   {'CPU time':>26}")
    print_events("up", ups)
    print_events("down", downs)
    print_events("up and down", both(ups, downs))


def imports() -> None:
    """What an import costs, as a whole process with the hook's own interpreter flags."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    costs: Costs = {name: [] for name, _ in IMPORTS}
    clock = Clock(SECONDS / 4)
    while clock.another_round():
        for name, statement in IMPORTS:
            code = f"import sys; sys.path.append({packages!r}); {statement}"
            costs[name].append(cost([sys.executable, "-I", "-S", "-c", code], {}))
    costs = without_first(costs)
    nothing = statistics.median(one.cpu for one in costs["nothing"])
    print("python3 -I -S with an import of …, CPU time:")
    for name, taken in costs.items():
        cpu = [one.cpu for one in taken]
        print(f"  {name:50} {shown(cpu)}  +{1000 * (statistics.median(cpu) - nothing):.1f} ms")


def own_imports() -> None:
    """What the hook's own modules cost, as `python3 -X importtime` tells it."""
    rounds = [imported() for _ in range(2 * FEWEST_ROUNDS)]
    print(f"modules that one event imports, median of {len(rounds)}:")
    for package in rounds[0]:
        times = [one[package].microseconds / 1000 for one in rounds if package in one]
        modules = rounds[0][package].modules
        print(f"  {package:12} {modules:4} modules {statistics.median(times):7.1f} ms")


class Imported(NamedTuple):
    modules: int
    microseconds: int


def imported() -> dict[str, Imported]:
    """By package, its modules and their own time, in an event that changes nothing."""
    python = HOOK.with_name("python3")
    variables = {**EVENT, "PLUTO_VERB": UP}
    words = [str(python), "-I", "-S", "-X", "importtime", str(HOOK), "--dry-run"]
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=True)
    found: dict[str, Imported] = {}
    for line in done.stderr.splitlines():
        own, _, name = line.removeprefix("import time:").split("|")
        if not own.strip().isdigit():
            continue
        package = name.strip().partition(".")[0]
        if package not in ("vti_updown", "pyroute2"):
            package = "others"
        modules, microseconds = found.get(package, Imported(0, 0))
        found[package] = Imported(modules + 1, microseconds + int(own))
    return found


def prepare_namespaces() -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "addr", "add", "192.168.0.1/24", "dev", "lo"], check=True)


def main(words: list[str]) -> int:
    if os.geteuid():
        sys.exit("error: namespaces and links need root; run it as root")
    missing = [program for program in ("ip", "sysctl", "unshare") if shutil.which(program) is None]
    if missing:
        sys.exit(f"error: there is no {missing[0]}; install iproute2, procps and util-linux")
    if words != [IN_NAMESPACES]:
        os.execvp("unshare", ["unshare", "-n", "-m", sys.executable, __file__, IN_NAMESPACES])
    prepare_namespaces()
    try:
        events()
    except Failed as failure:
        sys.exit(f"error: {failure}")
    own_imports()
    imports()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
