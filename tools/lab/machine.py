"""The virtual machine: boots Debian's kernel on this machine's files, and runs a command in it."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from .environment import VENV, make_venv, pip_install
from .kernel import kernel
from .output import fail, progress
from .places import EXCHANGE, LAB
from .terminal import run_on_a_terminal

SHELL = ["bash", "-i"]
BOOT_SECONDS = 300
"""A machine that has not started the command by then never will.

Without KVM it takes about 10, and on a busy host many times that.
"""
TRIAL_SECONDS = 30
PASSED_ON = ("CI", "TERM", "COLUMNS", "PYTEST_ADDOPTS")
"""Variables that the virtual machine gets, beside VTI_UPDOWN_…."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ROOT_FLAGS = "rootflags=version=9p2000.L,trans=virtio,access=any,msize=512000,cache=loose"
"""The files do not change meanwhile. Without a cache, each start of a program reads them again."""


class Files(NamedTuple):
    """What the two sides tell each other by."""

    started: Path
    status: Path
    job: Path


def virtme() -> str:
    """The path of `vng`: virtme-ng has an environment of its own."""
    home = LAB / "virtme-ng"
    if not (home / "bin/vng").exists():
        progress("installing virtme-ng")
        shutil.rmtree(home, ignore_errors=True)
        make_venv(home)
        pip_install(home, "virtme-ng")
    return str(home / "bin/vng")


def has_kvm() -> bool:
    """Whether KVM runs an ordinary kernel here: that of some clouds does not, and hangs.

    It is tried once, and remembered.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    answer = LAB / f"kvm-{os.uname().release}"
    if not answer.exists():
        progress("trying whether KVM works here")
        status = boot(["true"], use_kvm=True, seconds=TRIAL_SECONDS, show=False)
        answer.write_text("yes" if status == 0 else "no")
    return answer.read_text() == "yes"


def boot(command: list[str], use_kvm: bool, seconds: int = BOOT_SECONDS, show: bool = True) -> int:
    """Boots, runs the command in this directory, and returns its exit status."""
    EXCHANGE.mkdir(exist_ok=True)
    pid = os.getpid()
    files = Files(EXCHANGE / f"started-{pid}", EXCHANGE / f"status-{pid}", EXCHANGE / f"job-{pid}")
    files.job.write_text(job(command, files))
    words = virtme_words(files.job, use_kvm)
    try:
        early = run_on_a_terminal(words, files.started, seconds, show, command == SHELL)
        if show and not files.started.exists():
            print(early.decode(errors="replace"), file=sys.stderr)
            fail(
                f"the virtual machine did not run the command within {seconds} s, or ended before",
                "see above for what it said",
            )
        return int(files.status.read_text()) if files.status.exists() else 1
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def job(command: list[str], files: Files) -> str:
    """The shell script that the virtual machine runs."""
    return (
        f"export PATH={VENV}/bin:{PATH} VTI_UPDOWN_IN_VM=1\n"
        f"{exports()}"
        f"cd {shlex.quote(str(Path.cwd()))}\n"
        f": > {shlex.quote(str(files.started))}\n"
        f"{shlex.join(command)}\n"
        f"echo $? > {shlex.quote(str(files.status))}\n"
        "sync\n"
    )


def exports() -> str:
    lines = ""
    for name, value in os.environ.items():
        if name in PASSED_ON or name.startswith("VTI_UPDOWN_"):
            lines += f"export {name}={shlex.quote(value)}\n"
    return lines


def virtme_words(script: Path, use_kvm: bool) -> list[str]:
    words = [virtme()]
    if use_kvm:
        words += ["--cpus", "2"]
    else:
        # Emulated, two processors wait for each other most of the time, above all on a busy
        # machine: one is up to ten times faster.
        words += ["--disable-kvm", "--cpus", "1"]
    words += ["--force-9p", "--memory", "2G", "--user", "root"]
    for folder in ("/etc", "/var", "/usr"):
        words += ["--overlay-rwdir", folder]
    words += ["--rwdir", str(EXCHANGE)]
    words += ["--append", ROOT_FLAGS]
    words += ["--run", str(kernel()), "--exec", f"sh {script}"]
    return words
