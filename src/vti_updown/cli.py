"""The one entry point: the hook if charon calls, else the commands for people.

charon sets PLUTO_VERB, and gives flags only. A command's name makes the call a command, whatever
the environment says. As a hook it imports neither click nor what only people need.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from . import __version__
from .named_tuple import NamedTuple
from .output import comments, error_lines, refused, say
from .settings.table import FLAGS, Settings, SettingsError, read_flags
from .text import Refusal, wrapped

TYPE_CHECKING = False  # The one of typing is not worth its import here.
if TYPE_CHECKING:
    from .event import Event
    from .hook.run import Rehearsal


def main() -> int:
    """Runs the command line, and returns the exit status.

    It is 0 if all is done, 1 if the system refused, 2 if the input or the settings are wrong.
    """
    try:
        return _main(sys.argv[1:])
    except Exception as error:
        # A fault of our own is a line in charon's log, too, and not a traceback in twenty.
        refusal = refused(error)
        say(error_lines(refusal, os.environ))
        return refusal.status


def _main(words: Sequence[str]) -> int:
    if "PLUTO_VERB" in os.environ and _is_event(words):
        return hook(words, os.environ)
    try:
        from .admin.cli import run  # click costs more than all of the hook
    except ImportError as error:
        refusal = refused(error)
        say(error_lines(refusal, {}))
        return refusal.status
    return run(words)


def _is_event(words: Sequence[str]) -> bool:
    """Whether the words name no command.

    A user's own `up` command inherits PLUTO_VERB, and may call `vti-updown repair`.
    """
    try:
        read_flags(words)
    except SettingsError:
        from .admin.commands import command_line  # there is a word that is no flag, or a wrong one

        return command_line(words).command is None
    return True


def hook(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """One event: what `environ` tells of, with the flags `words`."""
    try:
        given = read_flags(words)
    except SettingsError as error:
        wrong = FlagsGiven({}, error)
        return _hook(environ, "--dry-run" in words, wrong)
    if "version" in given:
        say([f"vti-updown {__version__}"])
        return 0
    if "help" in given:
        say(usage())
        return 0
    return _hook(environ, "dry-run" in given, FlagsGiven(given))


class FlagsGiven(NamedTuple):
    """The flags of a call."""

    flags: Mapping[str, Sequence[str]]
    wrong: SettingsError | None = None
    """An `up` fails by it. A `down` is done first: charon never asks for it again."""

    def load_settings(self, event: "Event") -> Settings:
        if self.wrong is not None:
            raise self.wrong
        from .settings.choose import settings_for  # a `down` does without

        return settings_for(self.flags, event)


def _hook(
    environ: Mapping[str, str],
    dry_run: bool,
    given: FlagsGiven,
) -> int:
    try:
        status = _event(environ, dry_run, given)
        if given.wrong is not None:
            raise given.wrong
    except (Refusal, OSError, ImportError) as error:
        refusal = refused(error)
        say(error_lines(refusal, environ))
        return refusal.status
    return status


def _event(
    environ: Mapping[str, str],
    dry_run: bool,
    given: FlagsGiven,
) -> int:
    from . import event  # most of a call's time: --version and --help go without
    from .hook import run as hook_run

    told = event.parse(environ)
    if dry_run:
        rehearsal = hook_run.rehearse(told, given.load_settings)
        say(_rehearsed(rehearsal))
        return 0
    report = hook_run.run(told, given.load_settings, environ)
    say(report.lines)
    return report.status


def _rehearsed(rehearsal: "Rehearsal") -> list[str]:
    """The notes as comments, and the commands that the steps stand for."""
    from .objects.registry import commands

    notes = comments(rehearsal.notes)
    lines: list[str] = []
    for step in rehearsal.steps:
        lines += commands(step, rehearsal.ifnames)
    if not lines:
        lines = _nothing(rehearsal.why_nothing)
    return notes + lines


def _nothing(why: str) -> list[str]:
    if not why:
        return ["# nothing to change"]
    return comments([f"nothing to change: {why}"])


def usage() -> list[str]:
    """The help, for a call that has PLUTO_VERB set and so must do without click."""
    lines = ["Usage: leftupdown=/usr/local/sbin/vti-updown [FLAG]…   (strongSwan's updown hook)"]
    for flag in FLAGS:
        lines.append(f"  {flag.usage}")
        lines += wrapped(flag.described, "      ")
    return lines
