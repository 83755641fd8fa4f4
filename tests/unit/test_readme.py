"""README.md fits two screens, and its commands do what it says. tests/kernel/test_readme.py has
those that need VTI.
"""

import os
import shlex
import subprocess

import pytest

from support import readme
from support.namespaces import ROOT

LINES, COLUMNS = 100, 100


def test_the_readme_fits_two_screens():
    """At most a hundred lines, and none but those of tables is longer than a screen."""
    lines = readme.PAGE.read_text().splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines if len(line) > COLUMNS and not line.startswith("|")] == []


def test_each_command_of_the_readme_is_tried():
    """A command that is new on the page needs a test of its own."""
    others = {one.words for one in readme.commands() if not one.words.startswith("PLUTO_VERB=")}
    assert others == {"make install", "make demo", "make test"}


@pytest.mark.parametrize("target", ["install", "uninstall", "demo", "test", "help"])
def test_make_has_the_readmes_targets(target):
    """`make demo` itself is run by tests/strongswan/test_examples.py."""
    assert f"make {target}" in readme.PAGE.read_text()
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_make_install_and_uninstall(tmp_path):
    """The hook is there after the one, and nothing after the other.

    It needs a package index, as users do.
    """
    places = [f"PREFIX={tmp_path}/opt", f"BINDIR={tmp_path}/sbin"]
    alone = {**os.environ, "VTI_UPDOWN_LAB": f"{tmp_path}/lab"}
    subprocess.run(["make", "install", *places], cwd=ROOT, env=alone, check=True)
    version = subprocess.run(
        [f"{tmp_path}/sbin/vti-updown", "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.startswith("vti-updown ")
    # It takes away the tunnels of the network namespace, which must not be the host's own.
    apart = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-ec"]
    uninstall = shlex.join(["make", "uninstall", *places])
    script = f"mount -t tmpfs tmpfs /run; {uninstall}"
    subprocess.run([*apart, script], cwd=ROOT, env=alone, check=True)
    assert not (tmp_path / "opt").exists()
    assert not list((tmp_path / "sbin").iterdir())
