"""Runs a command as root on a kernel that has VTI: this machine's, or a virtual machine's.

    lab prepare          installs and builds what the tests need, and runs nothing
    lab beside           the same, and fetches the packages that only the tests' hosts see
    lab alone            unpacks the programs that need nothing else, such as promtool
    lab run COMMAND…     runs COMMAND in this directory, and exits as it does. Several with `--and`
                         between them run beside each other where they need virtual machines
    lab shell            a shell there
    lab tools COMMAND…   runs COMMAND on this machine, with the lab's Python first in PATH

What is built is kept in /var/lib/vti-updown-lab (or $VTI_UPDOWN_LAB) and used again. It needs
Debian or Ubuntu, and root to install packages.
"""

import signal
import sys

from .environment import prepare_environment
from .machine import SHELL
from .packages import ALONE, BESIDE, alone, beside
from .places import wait_for_other_runs
from .runs import prepare, run_all, run_here

TERMINATED = 143
WRONG_USE = 2


def main(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    match words:
        case ["prepare"]:
            wait_for_other_runs()
            prepare()
        case ["beside"]:
            wait_for_other_runs()
            for package in BESIDE:
                beside(package)
            prepare()
        case ["alone"]:
            wait_for_other_runs()
            for package in ALONE:
                alone(package)
        case ["tools", _, *_]:
            wait_for_other_runs()
            prepare_environment()
            return run_here(words[1:])
        case ["shell"]:
            wait_for_other_runs()
            return run_all([SHELL])
        case ["run", _, *_]:
            wait_for_other_runs()
            return run_all(split(words[1:]))
        case _:
            print(__doc__)
            return WRONG_USE
    return 0


def split(words: list[str]) -> list[list[str]]:
    """The commands between the words `--and`."""
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "--and":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands
