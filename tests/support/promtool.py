"""Prometheus' own tool, which checks metrics and rules. `make unit` fetches it."""

import shutil
import subprocess
from pathlib import Path

import pytest

MISSING = "promtool is missing: run make unit, or install Debian's prometheus"


def promtool(*words: str | Path, text: str = "") -> str:
    """What it says, if it finds no fault."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip(MISSING)
    done = subprocess.run(
        [program, *words],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
