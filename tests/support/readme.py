"""README.md as tests follow it: its commands, what they print, the connection, and the log."""

import re
from typing import NamedTuple

from .namespaces import ROOT

PAGE = ROOT / "README.md"
CONTINUED = " \\\n"


class Command(NamedTuple):
    """A command of the page, and what the page says that it prints."""

    words: str
    prints: list[str]


def blocks() -> list[list[str]]:
    """The code blocks of the page, without their indentation."""
    found = re.findall(r"(?m)(?:^ {4}.*\n)+", PAGE.read_text())
    return [dedented(block.splitlines()) for block in found]


def dedented(lines: list[str]) -> list[str]:
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    return [line[margin:] for line in lines]


def commands() -> list[Command]:
    """What stands behind a `# ` in a block; the lines below it are its output."""
    found: list[Command] = []
    for block in blocks():
        text = "\n".join(block).replace(CONTINUED, " ")
        for line in text.splitlines():
            if line.startswith("# "):
                found.append(Command(" ".join(line[2:].split()), []))
            elif text.startswith("# "):
                found[-1].prints.append(line)
    return found


def connection() -> dict[str, str]:
    """The example's connection: `left`, `mark` and the like."""
    (block,) = (block for block in blocks() if block[0].startswith("conn "))
    pairs = (line.strip().partition("=") for line in block[1:])
    return {name: value.strip('"') for name, _, value in pairs}


def log() -> list[str]:
    """The lines of the example's log, without what charon puts before them."""
    (block,) = (block for block in blocks() if block[0].startswith("updown: "))
    return [line.removeprefix("updown: ") for line in block]
