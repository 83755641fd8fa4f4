"""The command line for people, on click, made from the table of commands."""

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from textwrap import wrap
from typing import Any

import click

from .. import __version__
from ..output import error_lines, refused, say
from ..settings.table import FLAGS, Flag, add_value
from ..text import Refusal, shown
from .commands import (
    COMMANDS,
    EVERY_FLAG,
    Call,
    Command,
    command_line,
    ignored,
    unknown_command,
)

PROLOGUE = """strongSwan's updown hook for route-based tunnels: it makes the link of a CHILD_SA, its
addresses and its routes, and takes them away again.

charon calls it by one line of the connection, leftupdown= in ipsec.conf or updown = in
swanctl.conf. Without flags it goes by /etc/vti-updown.toml, or by the CHILD_SA alone:

\b
    leftupdown=/usr/local/sbin/vti-updown
    leftupdown="/usr/local/sbin/vti-updown --route 10.2.0.0/16"

The commands are for you. The manual page vti-updown(8) has examples, and says how to try an event
by hand.
"""
INTERRUPTED = 130
"""What a shell gives for a command that Ctrl-C ended: 128 and SIGINT."""
MESSAGE_CHARACTERS = 200
"""As much of click's message as is shown."""
NO_VARIABLE = "="
"""No variable has this name. With one, click would complete words, and the command would not run.

Its own, _VTI_UPDOWN_COMPLETE, may be inherited from a shell.
"""


class _Option(click.Option):
    """A flag, which the help shows as every other place does."""

    def __init__(self, flag: Flag, **more: Any) -> None:
        super().__init__([f"--{flag.name}"], **more)
        self._usage = flag.usage

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return record and (self._usage, record[1])


class _Formatter(click.HelpFormatter):
    """The help breaks no word at its hyphen: `--command-detach` would be two."""

    def write_dl(
        self,
        rows: Iterable[tuple[str, str]],
        col_max: int = 30,
        col_spacing: int = 2,
    ) -> None:
        del col_max  # No name of a flag is that long.
        rows = list(rows)
        indent = " " * self.current_indent
        first_column = max(len(first) for first, _ in rows) + col_spacing
        for first, second in rows:
            head = f"{indent}{first}".ljust(len(indent) + first_column)
            lines = wrap(
                second,
                self.width,
                initial_indent=head,
                subsequent_indent=" " * len(head),
                break_on_hyphens=False,
            )
            self.write("\n".join([*lines, ""]))


class _Context(click.Context):
    formatter_class = _Formatter


class _Command(click.Command):
    context_class = _Context


class _Group(click.Group):
    """The help lists the commands first: they are few, and the flags are many."""

    context_class = _Context

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        records = [param.get_help_record(ctx) for param in self.get_params(ctx)]
        with formatter.section("Options of an event, for the updown line"):
            formatter.write_dl([record for record in records if record])


def _command_of(command: Command) -> click.Command:
    """Click's command for one of ours."""
    params = _params(command.flags, command.name)
    if command.argument:
        words = click.Argument(["connections"], nargs=-1, metavar=f"[{command.argument}]...")
        params.append(words)
    return _Command(
        command.name,
        params=params,
        callback=partial(_run, command),
        help=command.help,
        short_help=command.summary,
    )


def _params(heeded: Collection[str], command: str) -> list[click.Parameter]:
    """Every flag that there is as an option, which is heeded or refused."""
    params: list[click.Parameter] = []
    for flag in EVERY_FLAG:
        if flag.name in heeded:
            params.append(_option(flag))
        elif flag.name not in ("version", "help"):
            refuse = partial(_refuse, flag, command)
            params.append(_option(flag, callback=refuse, hidden=True, expose_value=False))
    version = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_version,
        help="Print the version.",
    )
    return [*params, version]


def _option(flag: Flag, **more: Any) -> click.Option:
    """A flag as an option. It takes every value, so that a second one is not dropped."""
    kind: dict[str, Any] = {"is_flag": True}
    if flag.metavar:
        kind = {"metavar": flag.metavar, "multiple": True}
    if flag.alone:
        kind["is_flag"] = False
        kind["flag_value"] = flag.alone
    return _Option(flag, help=flag.described, **kind, **more)


def _refuse(
    flag: Flag,
    command: str,
    _context: click.Context,
    _option: click.Parameter,
    given: Any,
) -> None:
    """Raises Refusal for a flag that the command does not heed."""
    if given:
        raise ignored(flag, command)


def _print_version(context: click.Context, _option: click.Parameter, given: bool) -> None:
    if given:
        say([f"vti-updown {__version__}"])
        context.exit()


def _run(command: Command, /, connections: Sequence[str] = (), **given: Any) -> int:
    """Calls a command as click has read its words, and returns the exit status."""
    flags: dict[str, list[str]] = {}
    for flag in EVERY_FLAG:
        value = given.get(flag.name.replace("-", "_"))
        if not value:
            continue
        if flag.metavar is None:
            flags[flag.name] = []
            continue
        for word in value:
            add_value(flags, flag, word)
    outcome = command.run(Call(connections, flags))
    say(outcome.lines)
    for error in outcome.errors:
        say(error_lines(error, {}))
    return outcome.status


@click.pass_context
def _no_event(context: click.Context, /, **given: Any) -> None:
    """There is neither a command's name nor an event."""
    if context.invoked_subcommand is not None:
        return
    if any(given.values()):
        hint = "see vti-updown --help on how to give one by hand"
        raise Refusal("PLUTO_VERB is not set, so there is no event", hint)
    click.echo(context.get_help())


_HOOK_FLAGS = [flag.name for flag in FLAGS if flag.name not in ("version", "help")]
_GROUP = _Group(
    params=_params(_HOOK_FLAGS, "an event"),
    callback=_no_event,
    commands=[_command_of(command) for command in COMMANDS.values()],
    help=PROLOGUE,
    invoke_without_command=True,
    context_settings={"max_content_width": 100},
)


def run(words: Sequence[str]) -> int:
    """Runs a command for a person, and returns the exit status.

    A wrong command line is an error as every other is.
    """
    try:
        return _status(words)
    except click.ClickException as error:
        message = shown(error.format_message(), MESSAGE_CHARACTERS)
        refusal = Refusal(message.rstrip("."), "see vti-updown --help")
    except (Refusal, OSError, ImportError) as error:
        refusal = refused(error)
    except click.Abort:
        return INTERRUPTED
    say(error_lines(refusal, {}))
    return _failed_status(words) or refusal.status


def _failed_status(words: Sequence[str]) -> int:
    """The exit status that a command has for all that it cannot do. 0: none of its own."""
    name = command_line(words).command
    if name not in COMMANDS:
        return 0
    return COMMANDS[name].failed_status


def _status(words: Sequence[str]) -> int:
    """The exit status of a command line. A flag may stand on either side of the command's name."""
    command, others = command_line(words)
    if command is not None:
        if command not in COMMANDS:
            raise unknown_command(command)
        others = [command, *others]
    status = _GROUP.main(
        others,
        prog_name="vti-updown",
        complete_var=NO_VARIABLE,
        standalone_mode=False,
    )
    if isinstance(status, int):
        return status
    return 0
