"""What leaves the program: lines on standard output.

Whatever ended a call is one of them.
"""

import os
import sys
from collections.abc import Iterable, Mapping

from .text import Refusal, line, shown


def say(lines: Iterable[str]) -> None:
    """Prints for charon's log or a person. Nobody listening is no reason to fail."""
    text = "".join(f"{each}\n" for each in lines)
    try:
        os.write(1, text.encode("utf-8", "replace"))
    except OSError:
        pass


def said(
    lines: Iterable[str],
    error: Exception | None,
    environ: Mapping[str, str],
) -> list[str]:
    """What is printed of an event: why it failed, if it did, and its lines."""
    if error is None:
        return list(lines)
    refusal = refused(error)
    return [error_line(refusal, environ), *lines]


def refused(error: Exception) -> Refusal:
    """Whatever ended a command, as a refusal."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ImportError):
        return _not_imported(error)
    message = shown(error, 80)
    what = f"the system refused: {message}"
    return Refusal(what, "vti-updown repair looks again", 1)


def _not_imported(error: ImportError) -> Refusal:
    name = shown(error.name)
    message = shown(error.msg, 60)
    what = f"cannot load {name}: {message}"
    if isinstance(error, ModuleNotFoundError):
        what = f"has no module {name}"
    hint = "install vti-updown again"
    package, _, _ = str(error.name).partition(".")
    if package in sys.stdlib_module_names:
        # Our modules come with the installation. A distribution's small Python may lack some of the
        # standard library's.
        hint = "install vti-updown with a whole Python, such as the distribution's"
    return Refusal(f"this Python {what}", hint, 1)


def error_line(refusal: Refusal, environ: Mapping[str, str]) -> str:
    """`error: CONNECTION: MESSAGE; HINT` in one line.

    The hint is kept whole. If the line is too long, the message is cut.
    """
    text = refusal.message
    connection = environ.get("PLUTO_CONNECTION")
    if connection:
        name = shown(connection, 30)
        text = f"{name}: {text}"
    return line(f"error: {text}", tail=f"; {refusal.hint}")
