"""The one entry point: the hook if charon calls, else the commands for people.

charon sets PLUTO_VERB, and gives flags only. A command's name makes the call a command, whatever
the environment says. As a hook it imports neither click nor what only people need.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence

from . import __version__, processes
from .output import comments, error_lines, event_lines, refused, say
from .text import Refusal, wrapped

TYPE_CHECKING = False  # The one of typing is not worth its import here.
if TYPE_CHECKING:
    from .hook.context import Call
    from .hook.flags import FlagsGiven
    from .hook.rehearse import Rehearsal


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
    from .settings.table import SettingsError, read_flags

    try:
        read_flags(words)
    except SettingsError:
        from .admin.commands import command_line  # there is a word that is no flag, or a wrong one

        return command_line(words).command is None
    return True


def hook(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """One event: what `environ` tells of, with the flags `words`."""
    charon = processes.charon()  # It may die at any time, so that comes before all else.
    from .hook.flags import flags_given

    given = flags_given(words)
    if "version" in given.flags:
        say([f"vti-updown {__version__}"])
        return 0
    if "help" in given.flags:
        say(usage())
        return 0
    try:
        call = _call(words, environ, charon, given)
        status = _done(call)
        if given.wrong is not None:
            raise given.wrong
    except (Refusal, OSError, ImportError) as error:
        refusal = refused(error)
        say(error_lines(refusal, environ))
        return refusal.status
    return status


def _call(
    words: Sequence[str],
    environ: Mapping[str, str],
    charon: str,
    given: "FlagsGiven",
) -> "Call":
    called, began = time.time(), time.monotonic()
    from . import event  # most of a call's time: --version and --help go without
    from .hook.context import Call

    return Call(
        event=event.parse(environ),
        charon=charon,
        flags=given,
        environ=environ,
        words=words,
        called=called,
        began=began,
    )


def _done(call: "Call") -> int:
    """Does the event, or rehearses it, and says what came of it. Returns its exit status."""
    if "dry-run" in call.flags.flags:
        return _rehearse(call)
    from .hook import run as hook_run

    *others, own = hook_run.run(call)
    for ended in others:
        report = ended.report
        say(event_lines(report.lines, report.error, ended.environ))
    report = own.report
    wrong = call.flags.wrong
    if wrong is not None and report.error is wrong:
        raise wrong  # It is said once.
    say(event_lines(report.lines, report.error, call.environ))
    return report.status


def _rehearse(call: "Call") -> int:
    """Prints what the event would do. Raises Refusal if it would fail."""
    from .hook import rehearse

    rehearsal = rehearse.rehearse(call)
    say(_rehearsed(rehearsal))
    if rehearsal.error is not None:
        raise rehearsal.error
    return 0


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
    from .settings.table import FLAGS

    lines = ["Usage: leftupdown=/usr/local/sbin/vti-updown [FLAG]…   (strongSwan's updown hook)"]
    for flag in FLAGS:
        lines.append(f"  {flag.usage}")
        lines += wrapped(flag.described, "      ")
    return lines
