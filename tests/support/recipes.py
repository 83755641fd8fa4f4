"""The recipes of examples/, as tests use them.

A recipe is a folder with a README.md and the files that a user copies. The first line of each file
says where it goes: `# /etc/swanctl/conf.d/aws.conf: what it is`. Tests take them as they stand, and
run what the README says to run.
"""

import re
from pathlib import Path

from .host import Host
from .namespaces import ROOT


def placed(file: Path) -> tuple[str, int]:
    """Where an example's first line says that it goes, and its mode.

    The line is `# PATH: …`, which means 0644, or `# PATH, mode 600: …`.
    """
    told = re.match(r"[#!] (/etc/[^\s:,]+)(?:, mode (600))?:", file.read_text())
    assert told, f"{file} does not say in its first line where it goes"
    return told[1], int(told[2] or "644", 8)


class Recipe:
    """A folder of examples/."""

    def __init__(self, name: str) -> None:
        self.folder = ROOT / "examples" / name
        self.page = (self.folder / "README.md").read_text()

    def target(self, name: str) -> str:
        """Where the file's first line says that it goes."""
        return placed(self.folder / name)[0]

    def install(self, host: Host, *names: str) -> None:
        """Copies the files to where they go; all but the page where none is named."""
        for name in names or sorted(
            file.name for file in self.folder.iterdir() if file.name != "README.md"
        ):
            path, mode = placed(self.folder / name)
            host.file(path, (self.folder / name).read_text(), mode)

    def run(self, host: Host, command: str) -> str:
        """Runs a command line that the page has in a block of its own, with `# ` before it."""
        assert f"    # {command}\n" in self.page, (
            f"{self.folder.name}/README.md does not say: {command}"
        )
        return host.run("sh", "-c", command)
