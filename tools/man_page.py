#!/usr/bin/env python3
"""Writes docs/vti-updown.8, the manual page, from the tables of settings and commands.

    man_page.py            write the page
    man_page.py --check    change nothing; exit status 1 where the page is not what would be written

What stands around the tables is below. It needs nothing but Python's standard library. A library that
makes a page of click's commands, such as click-man, knows nothing of the hook and of the settings' keys.

In a text, `backquotes` are what one types, and _underlines_ what one puts something in place of.
"""

import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/vti-updown.8"
HOW_TO = "run: make man"

sys.path.insert(0, str(ROOT / "src"))  # this checkout, whatever else is installed

if TYPE_CHECKING:
    from vti_updown.admin.commands import Command
    from vti_updown.settings.table import Flag

DATE = "2026-11-27"
"""When the texts below were changed last."""
LINE_CHARACTERS = 78
NAME = "strongSwan's updown hook for route-based tunnels"
HOOK = "/usr/local/sbin/vti-updown"
DESCRIPTION = (
    "strongSwan negotiates tunnels, and leaves the interface of a route-based one to you: the link itself, its"
    " addresses, its routes, its sysctls. `vti-updown` does that. strongSwan's daemon, charon, calls it whenever a"
    " CHILD_SA comes up or goes down.",
    "A CHILD_SA with a mark gets a VTI, and one with an if_id an XFRM interface. What tunnels have in common, they"
    " share: the newest one decides, and the last `down` takes it away. What somebody else has made stays as it is.",
    "People call the commands, such as `vti-updown repair`. A command's name makes a call a command, whatever is in"
    " the environment.",
)
AS_HOOK = (
    "One line of the connection names the hook. In `ipsec.conf` it is `leftupdown=`, in a child of `swanctl.conf`"
    " it is `updown =`. The line may have the options of an event below; each is a key of the file of settings, too,"
    " and the line counts before the file.",
    "charon sets `PLUTO_VERB` and other variables. Without them, and without the name of a command, there is no"
    " event. Leave routes and virtual IPs to the hook: `charon.install_routes = no` and"
    " `charon.install_virtual_ip = no`.",
)
SETTINGS = ("Each is an option of an event, and a key of the file of settings.",)
FILE_OF_SETTINGS = (
    "`[default]` is for every connection, and `[connection.`_NAME_`]` for the CHILD_SAs of that name. _NAME_ may be"
    " a pattern, and then stands in quotes. A table with `connection`, `peer`, `peer_id` or `xauth_id` is for those"
    " CHILD_SAs that have all of these. The most specific table that has a key decides. A change counts from the"
    " next `up`.",
)
MESSAGES = (
    "An event's lines are in charon's log, behind `updown:`. An error begins with `error:`, and ends with what to do."
    " An `up` with an error has changed nothing. docs/messages.md has each message with its cause and its cure.",
)
ENVIRONMENT = {
    "PLUTO_*": "The event, as charon tells it. `PLUTO_VERB` makes a call without a command's name an event.",
    "VTI_UPDOWN_IFNAME": "The name of the link, for the commands `up` and `down` of your own.",
}
FILES = {
    "/etc/vti-updown.toml": "The settings. Only root may be able to write it.",
    "/run/vti-updown/": "The records of what is set up: one file for each network namespace, for root alone.",
}
EXIT_STATUS = {
    "0": "It is done.",
    "1": "The kernel or the system refused something, or charon runs and has tunnels.",
    "2": "The words of the call, the event or the settings are wrong. An `up` has changed nothing then.",
}
EXAMPLES = (
    (
        "A connection of ipsec.conf, with two networks behind the peer:",
        f"""\
conn gw
    leftupdown="{HOOK} --route 10.2.0.0/16 --route fd00:2::/32"
    left=%defaultroute
    leftsourceip=%config4,%config6
    rightsubnet=0.0.0.0/0,::/0
    right=203.0.113.7
    mark=2
""",
    ),
    (
        "A child of swanctl.conf:",
        f"""\
net {{
    updown = {HOOK}
    if_id_in = 42
    if_id_out = 42
}}
""",
    ),
    (
        "The same settings in /etc/vti-updown.toml:",
        """\
[default]
mss = "path"

[connection.gw]
routes = ["10.2.0.0/16", "fd00:2::/32"]
""",
    ),
    (
        "What an event would do, tried by hand. Nothing is changed:",
        """\
PLUTO_VERB=up-client PLUTO_CONNECTION=gw PLUTO_UNIQUEID=1 \\
PLUTO_ME=192.168.0.1 PLUTO_PEER=192.168.0.2 \\
PLUTO_MY_CLIENT=10.3.0.1/32 PLUTO_PEER_CLIENT=0.0.0.0/0 \\
PLUTO_MARK_IN=2 PLUTO_MARK_OUT=2 \\
vti-updown --route 10.2.0.0/16 --dry-run
""",
    ),
    ("Somebody has deleted a route of a tunnel:", "vti-updown repair\n"),
    ("charon has crashed, and its links are still there:", "vti-updown flush --stale\n"),
)
SEE_ALSO = (
    ("ipsec.conf", 5),
    ("strongswan.conf", 5),
    ("swanctl.conf", 5),
    ("ip-link", 8),
    ("ip-route", 8),
    ("ip-rule", 8),
    ("ip-xfrm", 8),
)


# roff


def escaped(text: str) -> str:
    """A text as roff prints it, whatever is in it. A hyphen stays one that can be searched for."""
    for character, escape in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga")):
        text = text.replace(character, escape)
    text = text.replace("^", "\\(ha").replace("~", "\\(ti").replace('"', "\\(dq")
    text = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return re.sub(r"(?m)^\.", r"\\&.", text)


def bold(text: str) -> str:
    return f"\\fB{escaped(text)}\\fR"


def italic(text: str) -> str:
    return f"\\fI{escaped(text)}\\fR"


def marked(text: str) -> str:
    """A text of this file: `bold`, and _italic_ where the underlines stand between words."""
    pieces = re.split(r"(`[^`]+`|(?<!\w)_[A-Z]+_(?!\w))", text)
    return "".join(map(_marked_piece, pieces))


def _marked_piece(piece: str) -> str:
    if piece.startswith("`"):
        return bold(piece.strip("`"))
    if piece.startswith("_") and piece.endswith("_"):
        return italic(piece.strip("_"))
    return escaped(piece)


def section(heading: str, texts: Iterable[str], macro: str = ".SH") -> list[str]:
    """A heading, and the paragraphs below it."""
    lines = [f"{macro} {heading}"]
    for text in texts:
        lines += [filled(marked(text)), ".PP"]
    return lines if lines[-1] != ".PP" else lines[:-1]


def filled(text: str) -> str:
    """Short lines, each sentence on one of its own: that is what a difference shows best."""
    sentences = re.split(r"(?<=[a-z0-9)\]R][.:;]) (?=\S)", text)
    return "\n".join(line for sentence in sentences for line in wrap(sentence, LINE_CHARACTERS))


def wrap(sentence: str, most: int) -> list[str]:
    """A sentence in lines, none of which begins as a request of roff does."""
    return [
        rf"\&{line}" if line.startswith(".") else line
        for line in textwrap.wrap(sentence, most, break_long_words=False, break_on_hyphens=False)
    ]


def tagged(tag: str, text: str) -> list[str]:
    """A paragraph with a tag in front. Both are roff already."""
    return [".TP", tag, filled(text)]


def example(text: str) -> list[str]:
    return [".IP", ".nf", escaped(text).rstrip("\n"), ".fi"]


# The page


def page() -> str:
    from vti_updown import __version__
    from vti_updown.admin.commands import COMMANDS, FLAGS_OF_COMMANDS
    from vti_updown.settings.table import FLAGS

    settings = [flag for flag in FLAGS if flag.parse is not None]
    others = [flag for flag in FLAGS if flag.parse is None]
    lines = [
        '.\\" Made by tools/man_page.py: change the tables in src/, or the texts there, and run make man.',
        f'.TH VTI\\-UPDOWN 8 {DATE} "vti\\-updown {escaped(__version__)}" "System Administration"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"vti\\-updown \\- {escaped(NAME)}",
        ".SH SYNOPSIS",
        *synopsis(COMMANDS.values()),
        *section("DESCRIPTION", DESCRIPTION),
        *section("As the hook", AS_HOOK, ".SS"),
        *section("Messages", MESSAGES, ".SS"),
        ".SH COMMANDS",
        *[line for command in COMMANDS.values() for line in of_command(command)],
        ".SH OPTIONS OF COMMANDS",
        *[line for flag in FLAGS_OF_COMMANDS for line in of_flag(flag)],
        ".SH OPTIONS OF AN EVENT",
        *[line for flag in others for line in of_flag(flag)],
        *section("SETTINGS", SETTINGS),
        *[line for flag in settings for line in of_flag(flag)],
        *section("The file of settings", FILE_OF_SETTINGS, ".SS"),
        *around(),
    ]
    return "\n".join(lines) + "\n"


def around() -> list[str]:
    """What stands behind the tables."""
    lines = []
    for heading, rows in (
        ("EXIT STATUS", EXIT_STATUS),
        ("ENVIRONMENT", ENVIRONMENT),
        ("FILES", FILES),
    ):
        lines.append(f".SH {heading}")
        for tag, text in rows.items():
            lines += tagged(bold(tag), marked(text))
    lines.append(".SH EXAMPLES")
    for number, (text, typed) in enumerate(EXAMPLES):
        lines += [*([".PP"] if number else []), filled(marked(text)), *example(typed)]
    also = [f".BR {escaped(name)} ({section})" for name, section in SEE_ALSO]
    return [*lines, ".SH SEE ALSO", ",\n".join(also).replace("),", "),")]


def synopsis(commands: "Iterable[Command]") -> list[str]:
    lines = [f"{bold('vti-updown')} [{italic('OPTION')}...]"]
    for command in commands:
        lines += [".br", call_of(command)]
    return lines


def call_of(command: "Command") -> str:
    """How a command is called."""
    from vti_updown.admin.commands import EVERY_FLAG

    words = [bold("vti-updown"), bold(command.name)]
    words += [f"[{usage(flag)}]" for flag in EVERY_FLAG if flag.name in command.flags]
    if command.argument:
        words.append(f"[{italic(command.argument)}...]")
    return " ".join(words)


def of_command(command: "Command") -> list[str]:
    return tagged(call_of(command), escaped(command.help))


def of_flag(flag: "Flag") -> list[str]:
    from vti_updown.settings import values

    text = escaped(flag.described)
    if flag.parse is not None:
        text += f" In the file: {bold(f'{flag.key} = {values.as_toml(flag.example)}')}."
    return tagged(usage(flag), text)


def usage(flag: "Flag") -> str:
    """The flag as it is written: what one types is bold, and what is put in a place is italic."""
    name = bold(f"--{flag.name}")
    if flag.metavar is None:
        return name
    if flag.alone:
        return f"{name}[{bold('=')}{italic(flag.metavar)}]"
    return f"{name} {italic(flag.metavar)}"


def main(words: Sequence[str]) -> int:
    wanted = page()
    if "--check" in words:
        is_right = PAGE.exists() and PAGE.read_text() == wanted
        if not is_right:
            print(f"{PAGE.relative_to(ROOT)} is not what the tables say; {HOW_TO}")
        return int(not is_right)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
