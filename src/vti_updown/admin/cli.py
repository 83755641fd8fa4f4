"""The command line for people, on click.

The options are the hook's own, from the one table of settings.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..output import error_line, refused, say
from ..settings.choose import chosen_file
from ..settings.table import DEFAULT_FILE, FLAGS, Flag
from ..text import Refusal

if TYPE_CHECKING:
    from .session import Outcome

PROLOGUE = """Route-based tunnels for strongSwan: the updown hook that builds and removes the VTI of
a CHILD_SA.

charon calls it by one line of its configuration, leftupdown= in ipsec.conf or updown = in
swanctl.conf:

\b
    leftupdown=/usr/local/sbin/vti-updown
    leftupdown="/usr/local/sbin/vti-updown --route 10.2.0.0/16"

To see what an event would do, give it by hand: PLUTO_VERB=up-client PLUTO_ME=… vti-updown --dry-run
"""
INTERRUPTED = 130
"""What a shell gives for a command that Ctrl-C ended: 128 and SIGINT."""


def _event_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Every flag of the hook as an option."""
    for flag in reversed(FLAGS):
        if flag.name in ("version", "help"):
            continue
        option = click.option(
            f"--{flag.name}",
            help=flag.described,
            **_kind(flag),
        )
        command = option(command)
    version = click.version_option(
        __version__,
        prog_name="vti-updown",
        message="%(prog)s %(version)s",
    )
    return version(command)


def _kind(flag: Flag) -> dict[str, Any]:
    """How click is to take a flag's value."""
    if not flag.metavar:
        return {"is_flag": True}
    kind: dict[str, Any] = {
        "metavar": flag.metavar,
        "multiple": flag.many,
    }
    if flag.alone:
        kind["is_flag"] = False
        kind["flag_value"] = flag.alone
    return kind


@click.group(
    help=PROLOGUE,
    invoke_without_command=True,
    context_settings={"max_content_width": 100},
)
@_event_options
@click.pass_context
def _command(context: click.Context, /, **given: Any) -> None:
    command = context.invoked_subcommand
    if command is not None:
        _refuse_ignored(command, given)
        return
    if any(given.values()):
        hint = "see vti-updown --help on how to give one by hand"
        raise Refusal("PLUTO_VERB is not set, so there is no event", hint)
    click.echo(context.get_help())


def _refuse_ignored(command: str, given: dict[str, Any]) -> None:
    """Raises Refusal for a flag in front of a command that does not heed it."""
    heeded = {"dry_run"}
    if command in ("prepare", "check-config"):
        heeded.add("config")
    for flag in FLAGS:
        name = flag.name.replace("-", "_")
        if name in heeded:
            continue
        if given.get(name):
            what = f"--{flag.name} goes with an event, not with {command}"
            raise Refusal(what, "leave it out")


def _dry_run(
    context: click.Context,
    _option: click.Parameter,
    given: bool,
) -> bool:
    """Whether the flag is given, wherever on the line it stands."""
    in_front = context.find_root().params.get("dry_run")
    return given or bool(in_front)


_DRY_RUN = click.option(
    "--dry-run",
    is_flag=True,
    callback=_dry_run,
    help="Print the commands, and change nothing.",
)


@_command.command()
@_DRY_RUN
def repair(dry_run: bool) -> int:
    """Put back what a tunnel needs and somebody took away or changed; print the commands that it
    stood for.
    """
    from . import repair as commands

    return _said(commands.repair(dry_run))


@_command.command()
@click.option(
    "--stale",
    is_flag=True,
    help="Only what belongs to a charon that is gone, as after a crash.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Even while charon is running: its tunnels go.",
)
@_DRY_RUN
def flush(
    stale: bool,
    force: bool,
    dry_run: bool,
) -> int:
    """Take away all that the hook has set up; print the commands that it stood for."""
    from . import repair as commands

    return _said(commands.flush(stale, force, dry_run))


def _said(outcome: "Outcome") -> int:
    """Prints what a command has done, then what failed. Returns the exit status."""
    say(outcome.lines)
    say(error_line(error, {}) for error in outcome.errors)
    return outcome.status


_CONFIG = click.option(
    "--config",
    metavar="FILE",
    help=f"The file of settings. Default: {DEFAULT_FILE}.",
)


def _config(context: click.Context, config: str | None) -> dict[str, list[str]]:
    """The flag as the settings read it, wherever on the line it stands."""
    in_front = context.find_root().params.get("config")
    file = config or in_front
    if not file:
        return {}
    return {"config": [file]}


@_command.command()
@click.argument("connection", nargs=-1)
@_CONFIG
@_DRY_RUN
@click.pass_context
def prepare(
    context: click.Context,
    /,
    connection: tuple[str, ...],
    config: str | None,
    dry_run: bool,
) -> int:
    """Set up what stands while no CHILD_SA does, as when_down = "keep" and "block" say; print the
    commands.

    CONNECTION is a table [connection.NAME] of the settings; without one, all of them.
    """
    from ..settings.choose import settings_by_name
    from . import standing

    flags = _config(context, config)
    settings_of = settings_by_name(flags)
    return _said(standing.prepare(settings_of, connection, dry_run))


@_command.command()
@click.argument("connection", nargs=-1)
@_DRY_RUN
def release(connection: tuple[str, ...], dry_run: bool) -> int:
    """Let go of what stands while no CHILD_SA does; print the commands. What is up stays up."""
    from . import standing

    return _said(standing.release(connection, dry_run))


@_command.command("check-config")
@_CONFIG
@click.pass_context
def check_config(context: click.Context, /, config: str | None) -> int:
    """Read the file of settings, and print every fault of it, or what each of its tables
    matches.
    """
    from .check_config import check

    flags = _config(context, config)
    file = chosen_file(flags)
    checked = check(file)
    say(checked.lines)
    return checked.status


def run(words: Sequence[str]) -> int:
    """Runs a command for a person, and returns the exit status.

    A wrong command line is one line, as every error is.
    """
    try:
        status = _command.main(
            list(words),
            prog_name="vti-updown",
            standalone_mode=False,
        )
    except click.ClickException as error:
        message = error.format_message()
        refusal = Refusal(message.rstrip("."), "see vti-updown --help")
    except (Refusal, OSError, ImportError) as error:
        refusal = refused(error)
    except click.Abort:
        return INTERRUPTED
    else:
        if isinstance(status, int):
            return status
        return 0
    say([error_line(refusal, {})])
    return refusal.status
