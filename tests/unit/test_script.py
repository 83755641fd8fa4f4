"""The script bin/vti-updown itself, around a package that only tells how it is run."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "bin/vti-updown"
name_the_interpreter = runpy.run_path(str(ROOT / "tools/launcher.py"))["name_the_interpreter"]
PACKAGE = """
import atexit, gc, os

def main():
    atexit.register(os.write, 1, b"tidied up")
    os.write(1, b"collected " if gc.isenabled() else b"")
    return 3
"""


@pytest.mark.parametrize(("event", "said"), [({"PLUTO_VERB": "up-client"}, ""), ({}, "tidied up")])
def test_a_hook_ends_at_once_and_nothing_collects_garbage(tmp_path, event, said):
    """Python's own end takes longer than much of what a hook does; a command for people ends in
    peace.
    """
    environment(tmp_path)
    assert called(tmp_path, event) == (3, said, "")


@pytest.mark.parametrize("linked", [False, True])
def test_a_hook_with_its_interpreter_in_its_first_line(tmp_path, linked):
    """It starts no shell, and is the same otherwise."""
    environment(tmp_path)
    name_the_interpreter(tmp_path)
    hook = tmp_path / "bin/vti-updown"
    if linked:
        hook.symlink_to(hook.rename(tmp_path / "bin/real"))
    first, *rest = hook.read_text().splitlines()
    assert first == f"#!{tmp_path}/bin/python3 -IS"
    assert rest == SCRIPT.read_text().splitlines()[1:]
    assert called(tmp_path, {"PLUTO_VERB": "up-client"}) == (3, "", "")


@pytest.mark.parametrize("name", ["a place with spaces", "/".join(["deep" * 10] * 7)])
def test_a_place_that_no_first_line_can_name(tmp_path, name):
    """The shell looks for the interpreter then, as it does in what pip installs."""
    folder = tmp_path / name
    environment(folder)
    name_the_interpreter(folder)
    assert (folder / "bin/vti-updown").read_text() == SCRIPT.read_text()
    assert called(folder, {}) == (3, "tidied up", "")


def environment(folder):
    """What pip makes of the package."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    package = folder / "lib" / version / "site-packages/vti_updown"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "cli.py").write_text(PACKAGE)
    (folder / "bin").mkdir()
    (folder / "bin/python3").symlink_to(os.path.realpath(sys.executable))
    shutil.copy(SCRIPT, folder / "bin/vti-updown")


def called(folder, event):
    """The exit status, and what it wrote to either stream."""
    done = subprocess.run(
        [folder / "bin/vti-updown"],
        env={"PATH": os.environ["PATH"], **event},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
