"""The command line for people, on click. The options are the hook's own, from the one table of settings."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from . import __version__
from .cli import error_line, refused, say
from .configuration import file_of
from .errors import Refusal
from .settings import FILE, FLAGS

PROLOGUE = """Route-based tunnels for strongSwan: the updown hook that builds and removes the VTI of a CHILD_SA.

charon calls it by one line of its configuration, leftupdown= in ipsec.conf or updown = in swanctl.conf:

\b
    leftupdown=/usr/local/sbin/vti-updown
    leftupdown="/usr/local/sbin/vti-updown --route 10.2.0.0/16"

To see what an event would do, give it by hand: PLUTO_VERB=up-client PLUTO_ME=… vti-updown --dry-run
"""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for flag in reversed(FLAGS):
        if flag.name in ("version", "help"):
            continue
        takes: dict[str, Any] = {"metavar": flag.metavar, "multiple": flag.many} if flag.metavar else {"is_flag": True}
        if flag.alone:
            takes |= {"is_flag": False, "flag_value": flag.alone}
        command = click.option(f"--{flag.name}", help=flag.described, **takes)(command)
    return click.version_option(__version__, prog_name="vti-updown", message="%(prog)s %(version)s")(command)


@click.group(help=PROLOGUE, invoke_without_command=True, context_settings={"max_content_width": 100})
@_options
@click.pass_context
def _command(context: click.Context, /, **given: Any) -> None:
    if (command := context.invoked_subcommand) is not None:
        _refuse_ignored(command, given)
        return
    if any(given.values()):
        raise Refusal("PLUTO_VERB is not set, so there is no event", "see vti-updown --help on how to give one by hand")
    click.echo(context.get_help())


def _refuse_ignored(command: str, given: dict[str, Any]) -> None:
    """A flag in front of a command that the command does not heed."""
    heeded = {"dry_run", "config"} if command in ("prepare", "check-config") else {"dry_run"}
    for flag in FLAGS:
        name = flag.name.replace("-", "_")
        if given.get(name) and name not in heeded:
            raise Refusal(f"--{flag.name} goes with an event, not with {command}", "leave it out")


def _dry_run(context: click.Context, _option: click.Parameter, given: bool) -> bool:
    """Whether the flag is given, wherever on the line it stands."""
    return given or bool(context.find_root().params.get("dry_run"))


_DRY_RUN = click.option("--dry-run", is_flag=True, callback=_dry_run, help="Print the commands, and change nothing.")


@_command.command()
@_DRY_RUN
def repair(dry_run: bool) -> None:
    """Put back what a tunnel needs and somebody took away or changed; print the commands that it stood for."""
    from . import upkeep

    say(upkeep.repair(dry_run))


@_command.command()
@click.option("--stale", is_flag=True, help="Only what belongs to a charon that is gone, as after a crash.")
@click.option("--force", is_flag=True, help="Even while charon is running: its tunnels go.")
@_DRY_RUN
def flush(stale: bool, force: bool, dry_run: bool) -> None:
    """Take away all that the hook has set up; print the commands that it stood for."""
    from . import upkeep

    say(upkeep.flush(stale, force, dry_run))


_CONFIG = click.option("--config", metavar="FILE", help=f"The file of settings. Default: {FILE}.")


def _config(context: click.Context, config: str | None) -> dict[str, list[str]]:
    """The flag as the settings read it, wherever on the line it stands."""
    config = config or context.find_root().params.get("config")
    return {"config": [config]} if config else {}


@_command.command()
@click.argument("connection", nargs=-1)
@_CONFIG
@_DRY_RUN
@click.pass_context
def prepare(context: click.Context, /, connection: tuple[str, ...], config: str | None, dry_run: bool) -> None:
    """Set up what stands while no CHILD_SA does, as when_down = "keep" and "block" say; print the commands.

    CONNECTION is a table [connection.NAME] of the settings; without one, all of them.
    """
    from . import upkeep
    from .configuration import held

    say(upkeep.prepare(held(_config(context, config)), connection, dry_run))


@_command.command()
@click.argument("connection", nargs=-1)
@_DRY_RUN
def release(connection: tuple[str, ...], dry_run: bool) -> None:
    """Let go of what stands while no CHILD_SA does; print the commands. What is up stays up."""
    from . import upkeep

    say(upkeep.release(connection, dry_run))


@_command.command("check-config")
@_CONFIG
@click.pass_context
def check_config(context: click.Context, /, config: str | None) -> int:
    """Read the file of settings, and print every fault of it, or what each of its tables matches."""
    from .check import check

    checked = check(file_of(_config(context, config)))
    say(checked.lines)
    return checked.status


def people(words: Sequence[str]) -> int:
    """Runs a command for a person; the exit status. A wrong command line is one line, as every error is."""
    try:
        status = _command.main(list(words), prog_name="vti-updown", standalone_mode=False)
    except click.ClickException as error:
        refusal = Refusal(error.format_message().rstrip("."), "see vti-updown --help")
    except (Refusal, OSError, ImportError) as error:
        refusal = refused(error)
    except click.Abort:
        return 130
    else:
        return status if isinstance(status, int) else 0
    say([error_line(refusal, {})])
    return refusal.status
