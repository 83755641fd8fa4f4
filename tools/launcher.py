#!/usr/bin/env python3
"""Names the interpreter in the first line of an installed hook, so that charon starts no shell.

    launcher.py FOLDER   the environment that pip installed it in

Before, the hook is a shell script that looks for the interpreter beside it. When a wheel is made,
nobody knows yet where that will be. The hook works in either form.
"""

import sys
from pathlib import Path

LONGEST = 250
"""Bytes of a first line. Linux reads 256 (BINPRM_BUF_SIZE in linux/binfmts.h)."""


def name_the_interpreter(folder: Path) -> None:
    launcher = folder / "bin/vti-updown"
    _, _, rest = launcher.read_text().partition("\n")
    first = f"#!{folder / 'bin/python3'} -IS"
    if any(character.isspace() for character in str(folder)) or len(first.encode()) > LONGEST:
        return  # A first line cannot say that.
    mode = launcher.stat().st_mode
    beside = launcher.with_name("vti-updown.new")
    beside.write_text(f"{first}\n{rest}")
    beside.chmod(mode)
    beside.replace(launcher)  # An event may start it at any instant.


if __name__ == "__main__":
    name_the_interpreter(Path(sys.argv[1]).absolute())
