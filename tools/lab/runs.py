"""Runs commands on a kernel with VTI: one, or several beside each other."""

import os
import signal
import subprocess
from typing import NamedTuple

from .environment import prepare_environment, variables
from .kernel import has_vti, kernel
from .machine import boot, has_kvm, virtme
from .output import progress
from .packages import PROGRAMS, VIRTUAL_MACHINE_PROGRAMS, install_programs
from .places import LAB

INTERRUPTED = 130
STANDARD_OUTPUT = 1


class Child(NamedTuple):
    pid: int
    output: int
    """The file that it prints to."""


def prepare() -> None:
    LAB.mkdir(parents=True, exist_ok=True)
    install_programs(PROGRAMS)
    prepare_environment()
    if not has_vti():
        install_programs(VIRTUAL_MACHINE_PROGRAMS)
        virtme()
        kernel()


def run_all(commands: list[list[str]]) -> int:
    """Runs the commands, and returns the first exit status that is not 0.

    In virtual machines they run beside each other, since each uses one processor; what they print
    comes one after another.
    """
    prepare()
    if has_vti():
        progress("using this machine's kernel")
        return first_failure([run_here(command) for command in commands])
    use_kvm = has_kvm()
    times = "" if len(commands) == 1 else f" {len(commands)} times"
    emulated = "" if use_kvm else " without KVM, which takes a while"
    progress(f"booting {kernel().name}{times}{emulated}")
    if len(commands) == 1:
        return boot(commands[0], use_kvm)
    return boot_beside_each_other(commands, use_kvm)


def run_here(command: list[str]) -> int:
    """Runs a command on this machine, with the tests' Python first in PATH."""
    return subprocess.run(command, env=variables(), check=False).returncode


def first_failure(statuses: list[int]) -> int:
    return next((status for status in statuses if status), 0)


def boot_beside_each_other(commands: list[list[str]], use_kvm: bool) -> int:
    children: list[Child] = []
    try:
        for command in commands:
            children.append(start(command, use_kvm, shown=not children))
        return first_failure([wait_for(child) for child in children])
    except BaseException:
        for child in children:
            end(child)
        raise


def start(command: list[str], use_kvm: bool, shown: bool) -> Child:
    """Boots for a command in a process of its own; what is not `shown` yet is kept for later."""
    output = STANDARD_OUTPUT if shown else os.memfd_create("output")
    pid = os.fork()
    if pid == 0:
        os.dup2(output, STANDARD_OUTPUT)
        os._exit(boot_in_child(command, use_kvm))
    return Child(pid, output)


def boot_in_child(command: list[str], use_kvm: bool) -> int:
    try:
        return boot(command, use_kvm)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        return INTERRUPTED


def wait_for(child: Child) -> int:
    """Waits for its end, shows what was kept, and returns its exit status."""
    _, status = os.waitpid(child.pid, 0)
    if child.output != STANDARD_OUTPUT:
        os.lseek(child.output, 0, os.SEEK_SET)
        while data := os.read(child.output, 65536):
            os.write(STANDARD_OUTPUT, data)
    return os.waitstatus_to_exitcode(status)


def end(child: Child) -> None:
    """Ends a child, which ends its virtual machine."""
    try:
        os.kill(child.pid, signal.SIGTERM)
        os.waitpid(child.pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
