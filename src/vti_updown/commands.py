"""The user's own command after an event: `up` and `down` of the settings. It knows no tunnel."""

import os
import signal
from collections.abc import Mapping

from .text import shown

SECONDS = 10
"""How long a command may take. charon keeps a worker thread and the IKE_SA waiting meanwhile."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(command: str, environ: Mapping[str, str], link: str) -> str | None:
    """Runs it by /bin/sh, with PLUTO_* and the link's name, no stdin, a time limit; what went wrong, or None.

    What it prints goes into a file in memory, so that a child that it leaves behind does not hold charon's pipe open.
    """
    import subprocess  # few tunnels need it

    told = {name: value for name, value in environ.items() if name.startswith("PLUTO_")}
    output = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        process = subprocess.Popen(  # noqa: S603 (root's own words, from a file that only root can write)
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={**told, "PATH": PATH, "VTI_UPDOWN_IFNAME": link},
            start_new_session=True,
        )
        try:
            status = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"was killed after {SECONDS} s"
        said = os.pread(output, 4096, max(0, os.fstat(output).st_size - 4096)).decode("utf-8", "replace").split("\n")
    finally:
        os.close(output)
    if status == 0:
        return None
    last = next((text for text in reversed(said) if text.strip()), "")
    return f"ended with {f'status {status}' if status > 0 else f'signal {-status}'}{f': {shown(last, 50)}' if last else ''}"
