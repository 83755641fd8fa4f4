"""What leaves the program: lines on standard output.

Whatever ended a call is one of them.
"""

import os
import sys
from collections.abc import Iterable, Mapping

from .text import Refusal, in_head, noted, said, shown


def say(lines: Iterable[str]) -> None:
    """Prints for charon's log or a person. Nobody listening is no reason to fail."""
    text = "".join(f"{each}\n" for each in lines)
    try:
        os.write(1, text.encode("utf-8", "replace"))
    except OSError:
        pass


def event_lines(
    lines: Iterable[str],
    error: Exception | None,
    environ: Mapping[str, str],
) -> list[str]:
    """What is printed of an event: why it failed, if it did, and its lines."""
    if error is None:
        return list(lines)
    refusal = refused(error)
    return [*error_lines(refusal, environ), *lines]


def refused(error: Exception) -> Refusal:
    """Whatever ended a command, as a refusal."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ImportError):
        return _not_imported(error)
    message = shown(error, 160)
    if isinstance(error, OSError):
        what = f"the system refused: {message}"
        return Refusal(what, "vti-updown repair looks again", 1)
    what = f"vti-updown has a fault of its own: {type(error).__name__}: {message} ({_place(error)})"
    return Refusal(what, "please report it; vti-updown repair goes on from what is there", 1)


def _place(error: Exception) -> str:
    """The line of the code that an error comes from."""
    trace = error.__traceback__
    if trace is None:
        return "no trace"
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = os.path.basename(trace.tb_frame.f_code.co_filename)
    return f"{file}:{trace.tb_lineno}"


def _not_imported(error: ImportError) -> Refusal:
    name = shown(error.name)
    message = shown(error.msg, 160)
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


def error_lines(refusal: Refusal, environ: Mapping[str, str]) -> list[str]:
    """`error: CONNECTION: MESSAGE; HINT`, in as many lines as it takes."""
    head = "error: "
    connection = environ.get("PLUTO_CONNECTION")
    if connection:
        head = f"error: {in_head(connection)}: "
    return said(head, refusal.message, refusal.hint)


def comments(notes: Iterable[str]) -> list[str]:
    """What is noted beside commands that are printed, as comments of a shell."""
    lines: list[str] = []
    for note in notes:
        lines += noted("# ", note)
    return lines
