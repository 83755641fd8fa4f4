"""Where the lab keeps things, and the lock on them."""

import fcntl
import os
from pathlib import Path

from .output import progress

ROOT = Path(__file__).resolve().parent.parent.parent
LAB = Path(os.environ.get("VTI_UPDOWN_LAB", "/var/lib/vti-updown-lab"))
EXCHANGE = ROOT / ".lab"
"""Where a virtual machine leaves its results. It sees all other files, and changes none of them."""


def wait_for_other_runs() -> None:
    """Takes the lock until this process ends: two runs would make the same things anew."""
    LAB.mkdir(parents=True, exist_ok=True)
    lock = os.open(LAB / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        progress("waiting for another run to end")
        fcntl.flock(lock, fcntl.LOCK_EX)
