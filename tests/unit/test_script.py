"""The script bin/vti-updown itself, around a package that only tells how it is run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "bin/vti-updown"
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
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    folder = tmp_path / "lib" / version / "site-packages/vti_updown"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "cli.py").write_text(PACKAGE)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(os.path.realpath(sys.executable))
    shutil.copy(SCRIPT, tmp_path / "bin/vti-updown")
    done = subprocess.run(
        [tmp_path / "bin/vti-updown"],
        env={"PATH": os.environ["PATH"], **event},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, said, "")
