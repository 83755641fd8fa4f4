"""The commands for people, and the flags that each of them heeds: one table, COMMANDS.

click's commands are made from it. It needs no click itself, so that the entry can tell a command
from an event. What a command does is imported only when it is called.
"""

import os
from collections.abc import Callable, Sequence

from ..named_tuple import NamedTuple
from ..settings.table import FILES, FLAGS, Flag, FlagWords, SettingsError
from ..text import Refusal, shown
from .outcome import Outcome


class Call(NamedTuple):
    """How a command was called."""

    connections: Sequence[str]
    flags: FlagWords
    """The flags that are given, of those that it heeds."""


CONNECTIONS, PREPARED, STANDING = "connections", "prepared", "standing"
"""What a shell may complete the words of a command with: see `Command.completes`."""


class Command(NamedTuple):
    """One row of the table."""

    name: str
    help: str
    """Its first sentence is all that the list of commands has of it."""
    flags: tuple[str, ...]
    """The flags that it heeds, besides --version and --help. It refuses all others."""
    run: Callable[[Call], Outcome]
    argument: str = ""
    """What its words are called in the help. It is empty for a command that takes none."""
    completes: str = CONNECTIONS
    """What its words are: all CONNECTIONS that are known, those of the settings that can be
    PREPARED, those that something is STANDING for, or FILES.
    """
    failed_status: int = 0
    """The exit status if it cannot be done, whatever the reason. 0: the one of the reason."""

    @property
    def summary(self) -> str:
        first, _, _ = self.help.partition(". ")
        return f"{first.removesuffix('.')}."


def _repair(call: Call) -> Outcome:
    from . import repair

    return repair.repair("dry-run" in call.flags)


def _flush(call: Call) -> Outcome:
    from . import repair

    stale = "stale" in call.flags
    force = "force" in call.flags
    if stale and force:
        what = "--stale spares the tunnels of a charon that runs, and --force does not"
        raise SettingsError(what, "leave one of them out")
    return repair.flush(stale, force, "dry-run" in call.flags)


def _prepare(call: Call) -> Outcome:
    from ..settings.choose import settings_by_name
    from . import standing

    settings_of = settings_by_name(call.flags)
    return standing.prepare(settings_of, call.connections, "dry-run" in call.flags)


def _release(call: Call) -> Outcome:
    from . import standing

    return standing.release(call.connections, "dry-run" in call.flags)


def _history(call: Call) -> Outcome:
    from .history import history

    (log_file,) = call.flags.get("charon-log", [None])
    return history(call.connections, log_file, "json" in call.flags)


def _status(call: Call) -> Outcome:
    """It changes nothing, so its dry run is itself."""
    from .status import status

    return status(call.connections, call.flags)


def _report(call: Call) -> Outcome:
    from .report import report

    return report(call.connections, call.flags)


def _check_config(call: Call) -> Outcome:
    """It changes nothing, so its dry run is itself."""
    from ..settings.choose import chosen_file
    from .check_config import check

    file = chosen_file(call.flags)
    checked = check(file)
    return Outcome(checked.lines, status_of_lines=checked.status)


def _explain(call: Call) -> Outcome:
    """It changes nothing, so its dry run is itself."""
    from . import event_sources
    from .explain import explain

    ours = ("dry-run", *(flag.name for flag in FLAGS_OF_COMMANDS))
    flags = {name: words for name, words in call.flags.items() if name not in ours}
    if call.connections and "event" in call.flags:
        what = "a connection and --event are two sources of one event"
        raise SettingsError(what, "leave one of them out")
    if call.connections:
        told = event_sources.from_name(call.connections, flags)
    elif "event" in call.flags:
        (file,) = call.flags["event"]
        told = event_sources.from_file(file, flags)
    else:
        told = event_sources.from_environment(os.environ, flags)
    return explain(told, "json" in call.flags)


FLAGS_OF_EVENTS = tuple(flag.name for flag in FLAGS if flag.name not in ("version", "help"))
COMMANDS = {
    command.name: command
    for command in (
        Command(
            name="check-config",
            help="Check the file of settings. It prints every fault, or what each table matches.",
            flags=("config", "dry-run"),
            run=_check_config,
        ),
        Command(
            name="explain",
            help="Say what an event would do, and why. The event is that of the environment's"
            " PLUTO_*, of a saved environment, or of a connection by its name and up or down. The"
            " flags are those of its updown line. It changes nothing.",
            flags=(*FLAGS_OF_EVENTS, "event", "json"),
            run=_explain,
            argument="CONNECTION",
        ),
        Command(
            name="flush",
            help="Take away all that the hook has set up. It refuses while charon is running with"
            " tunnels. It prints the commands that it stood for.",
            flags=("stale", "force", "dry-run"),
            run=_flush,
        ),
        Command(
            name="history",
            help="Show what happened to each tunnel. It says since when it is up or down, how often"
            " it was down, and for how long. With NAME, a connection or who its peer is, it shows"
            " every event that is kept, and why it went down, as far as charon's log tells.",
            flags=("charon-log", "json"),
            run=_history,
            argument="NAME",
        ),
        Command(
            name="prepare",
            help="Set up what stays while a tunnel is down. That is what when_down = block or keep"
            " asks for. CONNECTION is a table [connection.NAME] of the settings; without one, it"
            " does so for all. It prints the commands that it stood for.",
            flags=("config", "dry-run"),
            run=_prepare,
            argument="CONNECTION",
            completes=PREPARED,
        ),
        Command(
            name="release",
            help="Take away what stays while a tunnel is down. It is the opposite of prepare, and"
            " what is up stays up. Without a CONNECTION, it does so for all. It prints the commands"
            " that it stood for.",
            flags=("dry-run",),
            run=_release,
            argument="CONNECTION",
            completes=STANDING,
        ),
        Command(
            name="repair",
            help="Put back what somebody took away or changed. It also takes away what a killed"
            " event has left half done. It prints the commands that it stood for.",
            flags=("dry-run",),
            run=_repair,
        ),
        Command(
            name="report",
            help="Write a file about this host to send to somebody else. It has versions, settings,"
            " status, history, rules, routes, links, nftables and charon's configuration. Keys and"
            " passwords are left out. It prints what is in it. With FILE, that is the file.",
            flags=("vici", "config", "dry-run"),
            run=_report,
            argument="FILE",
            completes=FILES,
        ),
        Command(
            name="status",
            help="Show every tunnel of this host, the worst first. It compares what is configured,"
            " what charon has and what the kernel has, and says what mends it. With NAME, it shows"
            " all of that. The exit"
            " status is 0 if all is as wished, 1 if something differs, 2 if a tunnel is down that"
            " should be up, and 3 if it could not look.",
            flags=("json", "metrics", "vici", "config", "dry-run"),
            run=_status,
            argument="NAME",
            failed_status=3,
        ),
    )
}
FLAGS_OF_COMMANDS = (
    Flag(
        name="stale",
        metavar=None,
        help="Only what belongs to a charon that is gone, as after a crash.",
    ),
    Flag(
        name="force",
        metavar=None,
        help="Even while charon is running: its tunnels go.",
    ),
    Flag(
        name="event",
        metavar="FILE",
        help="A saved environment, one NAME=VALUE a line as env prints it; - is standard input.",
    ),
    Flag(
        name="json",
        metavar=None,
        help="Print JSON for programs.",
    ),
    Flag(
        name="charon-log",
        metavar="FILE",
        help="Where charon logs to, if that is not the journal: a file of its own or of syslog.",
        example="/var/log/charon.log",
    ),
    Flag(
        name="metrics",
        metavar=None,
        help="For Prometheus, in its text format.",
    ),
    Flag(
        name="vici",
        metavar="SOCKET",
        help="Ask the charon that listens there, and no other.",
        default="every charon of this network namespace",
        example="/run/charon.vici",
        many=True,
    ),
)
EVERY_FLAG = (*FLAGS, *FLAGS_OF_COMMANDS)


class CommandLine(NamedTuple):
    """The words of a command line."""

    command: str | None
    """The name of a command, known or not. None if there is none."""
    others: list[str]
    """All other words. What stands in front of the name is as good as behind it."""


def command_line(words: Sequence[str]) -> CommandLine:
    """Finds a command's name: the first word that is neither a flag nor the value of one.

    Behind an unknown flag it must be a name that is known, since it may be that flag's value.
    """
    known = {f"--{flag.name}": flag for flag in EVERY_FLAG}
    is_value = False
    may_be_value = False
    for place, word in enumerate(words):
        before = list(words[:place])
        behind = words[place + 1 :]
        if is_value:
            is_value = False
        elif word == "--" and behind:
            command, *others = behind
            return CommandLine(command, before + others)
        elif word.startswith("-") and word != "-":
            name, equals, _ = word.partition("=")
            flag = known.get(name)
            may_be_value = may_be_value or flag is None
            is_value = flag is not None and flag.takes_next_word and not equals
        elif word in COMMANDS or not may_be_value:
            return CommandLine(word, before + list(behind))
    return CommandLine(None, list(words))


def unknown_command(name: str) -> Refusal:
    import difflib

    hint = f"known are {', '.join(COMMANDS)}; an event takes flags only"
    for similar in difflib.get_close_matches(name, COMMANDS, 1):
        hint = f"write {similar}"
    return Refusal(f"unknown command {shown(name)}", hint)


def ignored(flag: Flag, command: str) -> Refusal:
    """The error of a flag that a command does not heed."""
    heeded_by = "an event"
    if flag in FLAGS_OF_COMMANDS:
        heeding = [each.name for each in COMMANDS.values() if flag.name in each.flags]
        heeded_by = " and ".join(heeding)
    what = f"--{flag.name} goes with {heeded_by}, not with {command}"
    return Refusal(what, "leave it out")
