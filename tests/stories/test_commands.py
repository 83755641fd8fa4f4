"""Every command for people with every flag there is, in front of its name and behind it."""

import itertools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.events import environment
from vti_updown import __version__
from vti_updown.admin.commands import COMMANDS, EVERY_FLAG, Command
from vti_updown.settings.table import FLAGS, Flag
from vti_updown.settings.values import as_word

from .story import FILE, PLUTO, SITE, Changes, Story

EVENT = "event.env"
"""A file with a saved environment."""
STANDS = """
    [connection.{name}]
    mark = 2
    local = "192.168.0.1"
    remote = "192.168.0.2"
    routes = ["10.2.0.0/16"]
    when_down = "keep"
"""
ONE_CALL = {
    "check-config": ["check-config", "--config", FILE],
    "explain": ["explain", "--config", FILE, "--event", EVENT],
    "prepare": ["prepare", "--config", FILE],
    "report": ["report", "report.txt"],
    "status": ["status", "--config", FILE],
}
"""The words of a call, where that is not the name alone."""
FRONT, BEHIND = "in front", "behind"
PAIRS = list(itertools.product(COMMANDS.values(), EVERY_FLAG, (FRONT, BEHIND)))


def call_of(command: Command) -> list[str]:
    return ONE_CALL.get(command.name, [command.name])


def placed(call: list[str], words: list[str], place: str) -> list[str]:
    """A call with more words, on either side of the command's name."""
    name, *others = call
    if place == FRONT:
        return [*words, name, *others]
    return [name, *words, *others]


def words_of(flag: Flag) -> list[str]:
    """The flag as a user gives it, with a value that is right."""
    if flag.metavar is None:
        return [f"--{flag.name}"]
    return [f"--{flag.name}={as_word(flag.example or FILE)}"]


def save_event(changed: Changes) -> None:
    """As `env >FILE` of an `up` command does. All stories run in their own folder."""
    lines = [f"{name}={value}" for name, value in environment("up-client", **changed).items()]
    Path(EVENT).write_text("\n".join(["PATH=/bin", *lines]))


def with_work(story: Story, command: Command) -> None:
    """A host on which the command has something to do."""
    story.settings(STANDS.format(name="gw"))
    save_event(SITE)
    if command.name == "release":
        story.prepare("gw")
    if command.name in ("repair", "flush"):
        story.up(**SITE)
        story.lose_routes()
    if command.name == "flush":
        story.by_hand()


# What it looks like when a command obeys a flag


def obeys_dry_run(story: Story, command: Command, place: str) -> None:
    """What is printed is what is done without the flag, and nothing changes before."""
    with_work(story, command)
    call = call_of(command)
    before = story.left()
    foretold = story.command(*placed(call, ["--dry-run"], place))
    assert story.left() == before
    if command.name == "report":
        assert foretold.startswith("report.txt would have\n") and not os.path.exists("report.txt")
        return
    assert story.command(*placed(call, ["--dry-run"], place)) == foretold, "the records changed"
    assert story.command(*call) == foretold
    assert story.left() != before or command.name in ("check-config", "explain", "status")


def text_of_report() -> str:
    """What stands in the file, which is taken away. Empty if there is none."""
    file = Path("report.txt")
    if not file.exists():
        return ""
    text = file.read_text()
    file.unlink()
    return text


def obeys_config(story: Story, command: Command, place: str) -> None:
    """The file that it names is the one that is read."""
    story.settings(STANDS.format(name="other"), file="other.toml")
    call = [command.name]
    if command.name == "explain":
        save_event({"CONNECTION": "other"})
        call += ["--event", EVENT]
    if command.name == "report":
        call = call_of(command)
    told = story.command(*placed(call, ["--config", "other.toml"], place))
    told += text_of_report()
    known = {"prepare": "vti-updown other", "status": "down   other"}
    shown = known.get(command.name, "[connection.other]")
    assert shown in told


def obeys_setting(name: str) -> Callable[[Story, Command, str], None]:
    """It is listed among the settings, with the flag as its place."""

    def obeys(story: Story, command: Command, place: str) -> None:
        save_event(SITE)
        flag = next(flag for flag in EVERY_FLAG if flag.name == name)
        words = words_of(flag)
        told = story.command(*placed(["explain", "--event", EVENT], words, place))
        shown = " ".join(words).replace("=", " ", 1)
        assert shown in told

    return obeys


def obeys_settings(story: Story, command: Command, place: str) -> None:
    """The table that it names is the one that is read."""
    story.settings(STANDS.format(name="other"))
    save_event(SITE)
    call = ["explain", "--config", FILE, "--event", EVENT]
    assert "[connection.other]" in story.command(*placed(call, ["--settings", "other"], place))


def obeys_event(story: Story, command: Command, place: str) -> None:
    """The event of the file is explained, and not that of the environment."""
    save_event({**SITE, "CONNECTION": "saved"})
    words = placed(["explain"], ["--event", EVENT], place)
    told = story.command(*words, environ=environment(CONNECTION="now"))
    assert "up-client of saved: 10.1.0.0/16 === 10.2.0.0/16, unique ID 1" in told


def obeys_stale(story: Story, command: Command, place: str) -> None:
    """Of two tunnels, that of the charon that is gone goes."""
    for number in range(9):  # one more than the next event clears
        gone = {"CONNECTION": f"gone{number}", "PEER": f"192.168.1.{number}"}
        story.up(**{**SITE, **gone, "PEER_CLIENT": f"10.3.{number}.0/24"})
    story.restart_charon()
    story.up(**SITE, **PLUTO)
    told = story.command(*placed([command.name], ["--stale"], place))
    assert told.splitlines()[0].startswith("ip link del vti")
    assert " down, 192.168.0.1 → 192.168.0.3" in story.down(**SITE, **PLUTO)
    assert story.left() == []


def obeys_force(story: Story, command: Command, place: str) -> None:
    """While charon is running, everything goes."""
    story.up(**SITE)
    assert story.command(command.name).startswith("error: charon (PID 1) is running")
    assert "ip link del vti1" in story.command(*placed([command.name], ["--force"], place))
    assert story.left() == []


def obeys_metrics(story: Story, command: Command, place: str) -> None:
    """It is what Prometheus reads."""
    told = story.command(*placed(call_of(command), ["--metrics"], place))
    assert "\nvti_updown_exit_status 0\n" in told


def obeys_vici(story: Story, command: Command, place: str) -> None:
    """The charon behind that socket is asked."""
    story.command(*placed(call_of(command), ["--vici", "/run/other.vici"], place))
    assert story.asked == ["/run/other.vici"]
    text_of_report()


def obeys_version(story: Story, command: Command, place: str) -> None:
    with_work(story, command)
    before = story.left()
    told = story.command(*placed(call_of(command), ["--version"], place))
    assert story.left() == before
    assert told == f"vti-updown {__version__}"


def obeys_help(story: Story, command: Command, place: str) -> None:
    """It is the help of that command, with the flags that it heeds and no others."""
    told = story.command(*placed(call_of(command), ["--help"], place))
    assert told.startswith(f"Usage: vti-updown {command.name} ")
    shown = re.findall(r"(?m)^  (?:-\w, )?--([\w-]+)(?:\[=yes\|no\])? ", told)
    listed = {flag.name for flag in EVERY_FLAG if flag.name in shown}
    assert listed == {*command.flags, "version", "help"}


def obeys_json(story: Story, command: Command, place: str) -> None:
    """What is printed is JSON, with all that there is.

    `status` ends with 3: no charon is there that would tell whether the tunnel is up.
    """
    story.up(**SITE)
    save_event(SITE)
    printed = story.command(*placed(call_of(command), ["--json"], place))
    document, end = json.JSONDecoder().raw_decode(printed)
    assert document["version"] == 1
    assert printed[end:] == ("\nexit status: 3" if command.name == "status" else "")


def obeys_charon_log(story: Story, command: Command, place: str) -> None:
    """It is the file that is read, also where no tunnel is named."""
    story.up(**SITE)
    story.down(**SITE)
    words = ["--charon-log", "missing.log"]
    told = story.command(*placed([command.name], words, place))
    assert told.startswith("error: cannot read missing.log: No such file")
    assert told.endswith("\nexit status: 2")


OBEYED: dict[str, Callable[[Story, Command, str], None]] = {
    **{flag.name: obeys_setting(flag.name) for flag in FLAGS},
    "settings": obeys_settings,
    "event": obeys_event,
    "dry-run": obeys_dry_run,
    "config": obeys_config,
    "stale": obeys_stale,
    "force": obeys_force,
    "json": obeys_json,
    "charon-log": obeys_charon_log,
    "metrics": obeys_metrics,
    "vici": obeys_vici,
    "version": obeys_version,
    "help": obeys_help,
}


@pytest.mark.parametrize(
    ("command", "flag", "place"),
    [pytest.param(*pair, id=f"{pair[0].name}-{pair[1].name}-{pair[2]}") for pair in PAIRS],
)
def test_a_command_obeys_or_refuses_a_flag(
    story: Story, command: Command, flag: Flag, place: str
) -> None:
    """A flag that a command would ignore is refused with one line, and nothing changes."""
    if flag.name in (*command.flags, "version", "help"):
        OBEYED[flag.name](story, command, place)
        return
    with_work(story, command)
    before = story.left()
    told = story.command(*placed(call_of(command), words_of(flag), place))
    assert told.startswith(f"error: --{flag.name} goes with ")
    status = command.failed_status or 2
    assert told.endswith(f", not with {command.name}; leave it out\nexit status: {status}")
    assert story.left() == before


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("places", list(itertools.product((FRONT, BEHIND), repeat=2)))
def test_a_flag_that_is_given_twice_means_the_same_everywhere(
    story: Story, command: Command, places: tuple[str, str]
) -> None:
    """One with a value is refused, as for an event, and one without is as good as once."""
    with_work(story, command)
    for name in command.flags:
        once, twice = places
        flag = next(flag for flag in EVERY_FLAG if flag.name == name)
        words = words_of(flag)
        call = call_of(command)[:1]
        told = story.command(*placed(placed(call, words, once), words, twice))
        if flag.metavar and not flag.many:
            status = command.failed_status or 2
            assert told == f"error: --{name} is given twice; leave one out\nexit status: {status}"
        elif command.name == "explain":
            assert "is given twice" not in told
        else:
            assert not told.startswith("error: ")


def test_stale_and_force_are_not_both_obeyed(story: Story) -> None:
    """The one spares what the other takes."""
    story.up(**SITE)
    assert story.flush("--force", "--stale") == (
        "error: --stale spares the tunnels of a charon that runs, and --force does not;"
        " leave one of them out\nexit status: 2"
    )
    assert story.left()


@pytest.mark.parametrize("flag", EVERY_FLAG, ids=[flag.name for flag in EVERY_FLAG])
def test_no_flag_is_ignored_without_a_command(story: Story, flag: Flag) -> None:
    """There is no event, so a flag would mean nothing."""
    told = story.command(*words_of(flag))
    if flag.name == "version":
        assert told == f"vti-updown {__version__}"
    elif flag.name == "help":
        assert told.startswith("Usage: vti-updown [OPTIONS]")
    else:
        assert told.startswith("error: ")
        assert told.endswith("\nexit status: 2")


def test_repair_in_the_environment_of_an_event_is_no_event(story: Story) -> None:
    """A user's `up` command inherits all of PLUTO_*, and its `repair` must not leave a reference."""
    story.up(**SITE)
    whole = story.left()
    story.lose_routes()
    told = story.command("repair", environ=environment("up-client", **SITE))
    assert told == "ip route add 10.2.0.0/16 dev vti1 proto 50"
    assert story.left() == whole
    story.down(**SITE)
    assert story.left() == []
