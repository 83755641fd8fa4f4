"""The tests' Python: an environment of its own with the hook in it."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .output import progress, run_quietly
from .packages import ALONE, install, unpacked_alone
from .places import LAB, ROOT

OLDEST = ["pyroute2==0.7.2", "click==8.1.0"] if os.environ.get("VTI_UPDOWN_OLDEST") else []
"""The oldest versions that pyproject.toml allows, for VTI_UPDOWN_OLDEST=1."""
VENV = LAB / ("venv-oldest" if OLDEST else "venv")
NOT_COPIED = (
    ".git",
    ".lab",
    "build",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
)


def python() -> str:
    """A Python that the virtual machine has, too: the distribution's own where there is one."""
    if Path("/usr/bin/python3").exists():
        return "/usr/bin/python3"
    return sys.executable


def make_venv(folder: Path) -> None:
    """Makes an empty Python environment."""
    words = [python(), "-c", "import ensurepip, venv"]
    probe = subprocess.run(words, stderr=subprocess.DEVNULL, check=False)
    if probe.returncode:
        install(["python3-venv"])
    run_quietly(python(), "-m", "venv", str(folder))


def pip_install(folder: Path, *words: str) -> None:
    interpreter = str(folder / "bin/python")
    quietly = ("--quiet", "--disable-pip-version-check")
    run_quietly(interpreter, "-m", "pip", "install", *quietly, *words)


def prepare_environment() -> None:
    """Makes the environment, anew where pyproject.toml has changed, and installs the hook in it."""
    stamp = VENV / "made-of"
    made_of = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + python().encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != made_of:
        progress(f"making a Python environment in {VENV}")
        shutil.rmtree(VENV, ignore_errors=True)
        LAB.mkdir(parents=True, exist_ok=True)
        make_venv(VENV)
        pip_install(VENV, "setuptools>=68", "wheel", f"{ROOT}[test]", *OLDEST)
        stamp.write_text(made_of)
    install_the_hook()


def install_the_hook() -> None:
    # From a copy, since pip leaves a build folder beside the sources.
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(ROOT, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
        pip_install(VENV, "--no-build-isolation", "--no-deps", "--force-reinstall", copy)
    run_quietly(str(VENV / "bin/python"), "-I", str(ROOT / "tools/launcher.py"), str(VENV))


def variables() -> dict[str, str]:
    """Those of a command that is to find this Python first."""
    path = os.environ.get("PATH", "")
    programs = [f"{unpacked_alone(package)}/usr/bin" for package in ALONE]
    places = [f"{VENV}/bin", path, "/usr/sbin", "/sbin", *programs]
    return {**os.environ, "PATH": ":".join(places)}
