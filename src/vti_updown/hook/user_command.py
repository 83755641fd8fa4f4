"""The user's own command after an event: `up` and `down` of the settings. It knows no tunnel."""

import os
import signal
from collections.abc import Mapping

from ..text import shown

SECONDS = 10
"""How long a command may take. charon keeps a worker thread and the IKE_SA waiting meanwhile."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_BYTES = 4096
"""As much of the end of its output as is looked at."""


def run(command: str, environ: Mapping[str, str], ifname: str) -> str | None:
    """Runs a command by /bin/sh, and returns what went wrong, or None.

    It gets PLUTO_* and the link's name, no standard input, and a time limit. What it prints goes
    into a file in memory. So a child that it leaves behind does not hold charon's pipe open.
    """
    environment = _environment(environ, ifname)
    output = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        status = _status(command, environment, output)
        last_line = _last_line(output)
    finally:
        os.close(output)
    if status is None:
        return f"was killed after {SECONDS} s"
    if status == 0:
        return None
    fault = f"ended with status {status}"
    if status < 0:
        fault = f"ended with signal {-status}"
    if not last_line:
        return fault
    said = shown(last_line, 50)
    return f"{fault}: {said}"


def _environment(environ: Mapping[str, str], ifname: str) -> dict[str, str]:
    environment = {}
    for name, value in environ.items():
        if name.startswith("PLUTO_"):
            environment[name] = value
    environment["PATH"] = PATH
    environment["VTI_UPDOWN_IFNAME"] = ifname
    return environment


def _status(
    command: str,
    environment: Mapping[str, str],
    output: int,
) -> int | None:
    """The exit status of a command, or a negative signal.

    None if it took too long, and was killed with all its children.
    """
    import subprocess  # few tunnels need it

    process = subprocess.Popen(  # noqa: S603 (root's own words, from a file that only root can write)
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        env=environment,
        start_new_session=True,
    )
    try:
        return process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def _last_line(output: int) -> str:
    """The last line of the output that is not blank. Empty if there is none."""
    size = os.fstat(output).st_size
    start = max(0, size - OUTPUT_BYTES)
    end = os.pread(output, OUTPUT_BYTES, start)
    text = end.decode("utf-8", "replace")
    for line in reversed(text.split("\n")):
        if line.strip():
            return line
    return ""
