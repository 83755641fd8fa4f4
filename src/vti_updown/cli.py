"""The one entry point: the hook where charon calls (PLUTO_VERB is set), else the commands for people.

As a hook it imports neither click nor what only people need.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from . import __version__
from .errors import Refusal
from .settings import FLAGS, Settings, SettingsError, flags
from .text import line, shown, wrapped

TYPE_CHECKING = False  # typing's own is not worth its import here
if TYPE_CHECKING:
    from .event import Event
    from .state import Step


def main() -> int:
    """Runs the command line; the exit status: 0 done, 1 the system refused, 2 the input or the settings are wrong."""
    if "PLUTO_VERB" in os.environ:
        return hook(sys.argv[1:], os.environ)
    try:
        from .people import people  # click costs more than all of the hook
    except ImportError as error:
        refusal = refused(error)
        say([error_line(refusal, {})])
        return refusal.status
    return people(sys.argv[1:])


def hook(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """One event: what `environ` tells of, with the flags `words`."""
    try:
        found = flags(words)
    except SettingsError as error:
        return _hook(environ, "--dry-run" in words, Found({}, error))
    if "version" in found or "help" in found:
        say([f"vti-updown {__version__}"] if "version" in found else usage())
        return 0
    return _hook(environ, "dry-run" in found, Found(found))


class Found(NamedTuple):
    flags: Mapping[str, Sequence[str]]
    wrong: SettingsError | None = None
    """An `up` fails by it. A `down` is done first: charon never asks for it again."""

    def settings(self, event: "Event") -> Settings:
        if self.wrong is not None:
            raise self.wrong
        from .configuration import settings_for  # a down does without

        return settings_for(self.flags, event)


def _hook(environ: Mapping[str, str], dry_run: bool, found: Found) -> int:
    try:
        from . import event  # most of a call's time: --version and --help go without
        from . import hook as events

        told = event.parse(environ)
        if dry_run:
            say(_rehearsed(*events.rehearse(told, found.settings)))
            status = 0
        else:
            report = events.run(told, found.settings, environ)
            say(report.lines)
            status = report.status
        if found.wrong is not None:
            raise found.wrong
    except (Refusal, OSError, ImportError) as error:
        refusal = refused(error)
        say([error_line(refusal, environ)])
        return refusal.status
    return status


def _rehearsed(steps: Sequence["Step"], names: Mapping[str, str], notes: Iterable[str]) -> list[str]:
    from .explain import commands

    lines = [command for step in steps for command in commands(step, names)]
    return [*(f"# {note}" for note in notes), *(lines or ["# nothing to change"])]


def refused(error: Exception) -> Refusal:
    """Whatever ended a command, as a refusal."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ImportError):
        missing = isinstance(error, ModuleNotFoundError)
        what = f"has no module {shown(error.name)}" if missing else f"cannot load {shown(error.name)}: {shown(error.msg, 60)}"
        # Ours come with the installation; a distribution's small Python may lack some of the standard library's.
        whole = str(error.name).partition(".")[0] not in sys.stdlib_module_names
        hint = "install vti-updown again" if whole else "install vti-updown with a whole Python, such as the distribution's"
        return Refusal(f"this Python {what}", hint, 1)
    return Refusal(f"the system refused: {shown(error, 80)}", "vti-updown repair looks again", 1)


def error_line(refusal: Refusal, environ: Mapping[str, str]) -> str:
    """`error: CONNECTION: MESSAGE; HINT` in one line: what to do is kept whole, if need be what is wrong is cut."""
    connection = environ.get("PLUTO_CONNECTION")
    about = f"{shown(connection, 30)}: " if connection else ""
    return line(f"error: {about}{refusal.message}", tail=f"; {refusal.hint}")


def usage() -> list[str]:
    """The help, for a call that has PLUTO_VERB set and so must do without click."""
    lines = ["Usage: leftupdown=/usr/local/sbin/vti-updown [FLAG]…   (strongSwan's updown hook)"]
    for flag in FLAGS:
        lines += [f"  {flag.usage}", *wrapped(flag.described, "      ")]
    return lines


def say(lines: Iterable[str]) -> None:
    """Prints for charon's log or a person. Nobody listening is no reason to fail."""
    try:
        os.write(1, "".join(f"{text}\n" for text in lines).encode("utf-8", "replace"))
    except OSError:
        pass
