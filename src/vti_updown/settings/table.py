"""What the user asks for: `Settings`, and the one table of them, FLAGS.

The hook parses its flags by that table, without click, whose import costs more than the rest of the
hook. `file` reads the file's keys by it, and the help and click's options are made from it. The
module knows no file, event, records or kernel.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..addresses import IPAddress, IPInterface
from ..named_tuple import NamedTuple
from ..objects.link_kinds import LINK_KINDS
from ..text import Refusal, shown
from . import lists, values
from .lists import ConfiguredRoute, ConfiguredSysctl, InnerAddress
from .values import InvalidValue, Parse

DEFAULT_FILE = "/etc/vti-updown.toml"
AUTO = "auto"
KIND_NAMES = (AUTO, *LINK_KINDS)
REMOVE, BLOCK, KEEP = "remove", "block", "keep"
LINES, COMMANDS = "lines", "commands"

FILES, LINKS, NAMESPACES, TABLES = "files", "links", "namespaces", "tables"
"""What a shell may complete a value with, beside words: see `Flag.completes`."""
ANYTHING, UP = "anything", "up"

FlagWords = Mapping[str, Sequence[str]]
"""The flags that are given, each with its words."""
FULL_TABLE = 0x767469
"""The first table of full tunnels, "vti" in ASCII. Nobody else uses it.

It is always the same, so that charon can be told to ignore it.
"""
FULL_PRIORITY = 15000
"""The priority of the first of their rules.

They stand behind a VRF's (1000), charon's own (220) and Tailscale's (5210 and on), and before the
main table's (32766).
"""
IKE_PORTS = (500, 4500)
"""The ports that charon sends from (RFC 7296, section 2.23; strongswan.conf port, port_nat_t)."""


class SettingsError(Refusal):
    """A file, a key, a flag or a value that cannot be."""


class Settings(NamedTuple):
    """The settings of one connection. Each field but the last is a key of the file and a flag."""

    name: str | None = None
    """The template of the link's name. None stands for the default."""
    kind: str = AUTO
    """A kind of link, or `auto`: the CHILD_SA's if_id, mark and endpoints decide."""
    local: IPAddress | None = None
    """The link's endpoint. The unspecified address of either family stands for any.

    None stands for the event's.
    """
    remote: IPAddress | None = None
    device: str | None = None
    """The underlying link that the tunnel is bound to, as in `ip link add … dev`."""
    mark: tuple[int, int] | None = None
    """Inbound and outbound, for a link that stands before its CHILD_SA does.

    None stands for the event's.
    """
    if_id: tuple[int, int] | None = None
    routes: tuple[ConfiguredRoute, ...] | None = None
    """The networks to route, of both families. None stands for the peer's traffic selector."""
    address: tuple[InnerAddress, ...] | None = None
    """The addresses of the link, of both families. None stands for the virtual IPs."""
    mtu: int | None = None
    """Bytes. None stands for what the path leaves."""
    mss: int | None = None
    """Bytes that TCP connections through the link are clamped to. None stands for no clamp.

    0 stands for what the route's MTU leaves.
    """
    metric: int = 0
    """0 stands for the family's default."""
    table: int | None = None
    """None stands for the main table, and for tables of our own if it is a full tunnel."""
    full_table: int = FULL_TABLE
    """The first of the two tables of full tunnels."""
    full_priority: int = FULL_PRIORITY
    """The first of the priorities of their rules."""
    ike_ports: tuple[int, int] = IKE_PORTS
    """The UDP ports that charon sends from, without and with a NAT on the way."""
    ike_mark: int | None = None
    """The mark of charon's own packets. None if it sets none."""
    vrf: str | None = None
    netns: str | None = None
    multicast: bool = False
    link_local: IPInterface | None = None
    """The link's IPv6 link-local address. None stands for the kernel's choice."""
    sysctl: tuple[ConfiguredSysctl, ...] = ()
    when_down: str = REMOVE
    """What stands while no CHILD_SA does.

    It is nothing (remove), unreachable routes (block), or the link and its routes (keep).
    """
    expect: str = ANYTHING
    """What `vti-updown status` expects of the tunnel: `up`, or anything. No event heeds it."""
    up: str | None = None
    """A command of the user's, for /bin/sh, after each `up`."""
    down: str | None = None
    command_seconds: int | None = None
    """How long a command may take. None stands for the default."""
    command_detach: bool = False
    """Whether charon does not wait for a command."""
    log: str = LINES
    """What is printed of an event: its lines, or each command that it stood for as well."""
    section: str = ""
    """The NAME of the most specific [connection.NAME] that matched. It is empty without one."""


class Origin(NamedTuple):
    """Where a value is from: a table of the file, or a flag (both fields are empty)."""

    file: str = ""
    """The file's path as a message shows it."""
    table: str = ""
    """The table's heading, such as `[default]`."""

    def named(self, key: str) -> str:
        if self.file:
            return f"{self.file} {self.table} {key}"
        return f"--{KEYS[key].name}"


class Sourced(NamedTuple):
    """A value, or several by key, with the place that it is from."""

    value: Any
    origin: Origin


class Flag(NamedTuple):
    """One row of the table: a flag, and the key of the file that is the same setting."""

    name: str
    metavar: str | None
    """What its value is called in the help. None stands for a flag without one."""
    help: str
    default: str = ""
    """What holds without the flag, in the words of the help."""
    example: object = None
    """A value that is right, as TOML makes it."""
    parse: Parse[object] | None = None
    """Makes the typed value from what TOML made, or raises InvalidValue.

    None stands for a flag that is not a setting of a connection.
    """
    words: Callable[[Sequence[str]], object] = values.one_word
    """Makes from the flag's words what TOML would have made, or raises InvalidValue."""
    many: bool = False
    """Whether it may be given several times."""
    alone: str = ""
    """What the flag means without a value. It is empty for a flag that needs one."""
    choices: tuple[str, ...] = ()
    """The words that its value may be. Numbers and names may be right beside them."""
    completes: str = ""
    """What a shell completes its value with: FILES, LINKS, NAMESPACES or TABLES of the file."""

    @property
    def key(self) -> str:
        """Its key in the file, and the field of `Settings`."""
        if self.name == "route":
            return "routes"
        return self.name.replace("-", "_")

    @property
    def usage(self) -> str:
        if self.metavar is None:
            return f"--{self.name}"
        if self.alone:
            return f"--{self.name}[={self.metavar}]"
        return f"--{self.name} {self.metavar}"

    @property
    def takes_next_word(self) -> bool:
        """Whether the next word is its value, if none stands behind an equals sign."""
        return self.metavar is not None and not self.alone

    @property
    def described(self) -> str:
        """The help, with what holds without the flag."""
        sentences = [self.help]
        if self.many:
            sentences.append("May be given several times.")
        if self.default:
            sentences.append(f"Default: {self.default}.")
        return " ".join(sentences)

    def typed(self, value: object) -> object:
        """The typed value that TOML's stands for. Raises InvalidValue."""
        assert self.parse is not None
        return self.parse(value)


FLAGS = (
    Flag(
        name="route",
        metavar="NET",
        help="Network to route through the tunnel:"
        " NET[,metric=N][,table=N][,src=IP], auto or none.",
        default="auto, the network of the peer's traffic selector",
        example=["10.2.0.0/16"],
        parse=lists.routes,
        words=lists.words_of_routes,
        many=True,
        choices=(AUTO, "none"),
    ),
    Flag(
        name="no-routes",
        metavar=None,
        help="Make no route, as --route none.",
    ),
    Flag(
        name="name",
        metavar="TEMPLATE",
        help="Name of the link, with any of"
        " {connection}, {uniqueid}, {mark}, {if_id}, {if_id:08x} and {peer} in it.",
        default="vti{uniqueid} or xfrm{if_id}, or another number where that is taken",
        example="vpn{uniqueid}",
        parse=values.template,
    ),
    Flag(
        name="kind",
        metavar="KIND",
        help=f"Kind of the link: {values.any_of(KIND_NAMES)}.",
        default="auto, by the CHILD_SA's if_id, mark and endpoints",
        example=AUTO,
        parse=values.choice(*KIND_NAMES),
        choices=KIND_NAMES,
    ),
    Flag(
        name="local",
        metavar="ADDRESS",
        help="This host's endpoint of the link, or any.",
        default="the CHILD_SA's",
        example="192.0.2.1",
        parse=values.endpoint,
        choices=("any",),
    ),
    Flag(
        name="remote",
        metavar="ADDRESS",
        help="The peer's endpoint of the link, or any.",
        default="the CHILD_SA's",
        example="203.0.113.7",
        parse=values.endpoint,
        choices=("any",),
    ),
    Flag(
        name="device",
        metavar="LINK",
        help="The underlying link that the tunnel is bound to.",
        default="none",
        example="eth0",
        parse=values.link,
        completes=LINKS,
    ),
    Flag(
        name="mark",
        metavar="MARK",
        help="Mark of a link that is there before any CHILD_SA: a number, or inbound and outbound.",
        default="the CHILD_SA's",
        example=42,
        parse=values.pair,
        words=values.one_or_two_numbers,
    ),
    Flag(
        name="if-id",
        metavar="IF_ID",
        help="Interface ID of a link that is there before any CHILD_SA:"
        " a number, or inbound and outbound.",
        default="the CHILD_SA's",
        example=42,
        parse=values.pair,
        words=values.one_or_two_numbers,
    ),
    Flag(
        name="address",
        metavar="ADDRESS",
        help="Address of the link, such as 169.254.21.2/30, 10.3.0.1 or 10.3.0.1 peer 10.3.0.2.",
        default="the virtual IPs",
        example="169.254.21.2/30",
        parse=lists.addresses,
        words=values.every_word,
        many=True,
    ),
    Flag(
        name="mtu",
        metavar="BYTES",
        help="MTU of the link.",
        default="what the path leaves",
        example=1400,
        parse=values.mtu,
        words=values.one_number,
    ),
    Flag(
        name="mss",
        metavar="BYTES",
        help="Longest TCP segment to allow: a number, path (what the MTU leaves) or none.",
        default="none",
        example="path",
        parse=values.mss,
        words=values.one_number,
        choices=("path", "none"),
    ),
    Flag(
        name="metric",
        metavar="NUMBER",
        help="Metric of the routes that have none of their own.",
        default="0, the family's default",
        example=100,
        parse=values.metric,
        words=values.one_number,
    ),
    Flag(
        name="table",
        metavar="TABLE",
        help="Table of the routes that have none of their own: a number, main or default.",
        default="main; a full tunnel has two of its own, and rules",
        example=100,
        parse=values.table,
        words=values.one_number,
        choices=("main", "default"),
    ),
    Flag(
        name="full-table",
        metavar="NUMBER",
        help="First of the two tables of full tunnels, the same for all connections.",
        default=str(FULL_TABLE),
        example=1000,
        parse=values.full_table,
        words=values.one_number,
    ),
    Flag(
        name="full-priority",
        metavar="NUMBER",
        help="First of the five priorities of rules of full tunnels, the same for all connections.",
        default=str(FULL_PRIORITY),
        example=5000,
        parse=values.priority,
        words=values.one_number,
    ),
    Flag(
        name="ike-ports",
        metavar="PORT,PORT",
        help="UDP ports that charon sends from: charon.port and charon.port_nat_t.",
        default="500,4500",
        example=[500, 4500],
        parse=values.ports,
        words=values.one_or_two_numbers,
    ),
    Flag(
        name="ike-mark",
        metavar="MARK",
        help="Mark of charon's own packets, as charon.plugins.socket-default.fwmark says.",
        default="none",
        example=119,
        parse=values.mark,
        words=values.one_number,
    ),
    Flag(
        name="vrf",
        metavar="LINK",
        help="The VRF that the link belongs to.",
        default="none",
        example="blue",
        parse=values.link,
        completes=LINKS,
    ),
    Flag(
        name="netns",
        metavar="NAME",
        help="The network namespace, as ip netns names it, that the link is moved to.",
        default="charon's",
        example="office",
        parse=values.netns,
        completes=NAMESPACES,
    ),
    Flag(
        name="multicast",
        metavar="yes|no",
        help="Multicast on the link, for OSPF, Babel and their like.",
        default="no",
        example=True,
        parse=values.boolean,
        words=values.yes_or_no,
        alone="yes",
        choices=("yes", "no"),
    ),
    Flag(
        name="link-local",
        metavar="ADDRESS",
        help="IPv6 link-local address of the link, or auto.",
        default="auto, the kernel's choice",
        example="fe80::1/64",
        parse=values.link_local,
        choices=(AUTO,),
    ),
    Flag(
        name="sysctl",
        metavar="NAME=NUMBER",
        help="Sysctl of the link, ipv4.NAME or ipv6.NAME.",
        default="the kernel's defaults",
        example={"ipv4.rp_filter": 2},
        parse=lists.sysctls,
        words=lists.words_of_sysctls,
        many=True,
    ),
    Flag(
        name="when-down",
        metavar="WHAT",
        help="What stays while the tunnel is down: nothing (remove), unreachable routes (block),"
        " or the link (keep).",
        default=REMOVE,
        example=KEEP,
        parse=values.choice(REMOVE, BLOCK, KEEP),
        choices=(REMOVE, BLOCK, KEEP),
    ),
    Flag(
        name="expect",
        metavar="WHAT",
        help="What vti-updown status expects of the tunnel: up, or anything.",
        default=ANYTHING,
        example=UP,
        parse=values.choice(UP, ANYTHING),
    ),
    Flag(
        name="up",
        metavar="COMMAND",
        help="Command of your own for /bin/sh, after each up.",
        default="none",
        example="logger up",
        parse=values.command,
    ),
    Flag(
        name="down",
        metavar="COMMAND",
        help="Command of your own for /bin/sh, after each down.",
        default="none",
        example="logger down",
        parse=values.command,
    ),
    Flag(
        name="command-seconds",
        metavar="SECONDS",
        help="How long an up or down command may take. Then it is killed.",
        default="3, or 60 with --command-detach",
        example=5,
        parse=values.seconds,
        words=values.one_number,
    ),
    Flag(
        name="command-detach",
        metavar="yes|no",
        help="Do not wait for an up or down command. charon goes on, and syslog gets what fails.",
        default="no",
        example=True,
        parse=values.boolean,
        words=values.yes_or_no,
        alone="yes",
        choices=("yes", "no"),
    ),
    Flag(
        name="log",
        metavar="WHAT",
        help="What charon's log has of an event: lines, or commands, which it stood for, as well.",
        default=LINES,
        example=COMMANDS,
        parse=values.choice(LINES, COMMANDS),
    ),
    Flag(
        name="config",
        metavar="FILE",
        help="The file of settings.",
        default=DEFAULT_FILE,
        completes=FILES,
    ),
    Flag(
        name="settings",
        metavar="NAME",
        help="Take [connection.NAME] of the file of settings, whatever it matches.",
        default="the tables that match",
        completes=TABLES,
    ),
    Flag(
        name="dry-run",
        metavar=None,
        help="Print the ip and sysctl commands that the call stands for, and change nothing.",
    ),
    Flag(
        name="version",
        metavar=None,
        help="Print the version.",
    ),
    Flag(
        name="help",
        metavar=None,
        help="Print this help.",
    ),
)
KEYS = {flag.key: flag for flag in FLAGS if flag.parse is not None}
"""The flags that are settings of a connection, by their key in the file."""


# From the words of a command line to values


def read_flags(words: Sequence[str]) -> dict[str, list[str]]:
    """The flags in `words`, each with its values. Raises SettingsError for any other word.

    A flag without a metavar has no values.
    """
    known = {f"--{flag.name}": flag for flag in FLAGS}
    given: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        name, equals, _ = word.partition("=")
        flag = known.get(name)
        if flag is None:
            raise _unknown_flag(word, name, known)
        if flag.metavar is None:
            if equals:
                raise SettingsError(f"{name} takes no value", f"write {name} alone")
            given[flag.name] = []
            continue
        value = _value_of(flag, word, rest)
        add_value(given, flag, value)
    return given


def add_value(given: dict[str, list[str]], flag: Flag, value: str) -> None:
    """Adds a flag's value to those that are given. Raises SettingsError if it cannot be there."""
    if not value:
        raise SettingsError(f"--{flag.name} has no value", f"write {flag.usage}")
    if flag.name in given and not flag.many:
        raise SettingsError(f"--{flag.name} is given twice", "leave one out")
    given.setdefault(flag.name, []).append(value)


def _value_of(flag: Flag, word: str, rest: Iterator[str]) -> str:
    """The value behind the equals sign, or else the next word."""
    _, equals, value = word.partition("=")
    if equals:
        return value
    if flag.takes_next_word:
        return next(rest, "")
    return flag.alone


def _unknown_flag(word: str, name: str, known: Mapping[str, Flag]) -> SettingsError:
    similar = f"--{name[2:].replace('_', '-')}"
    hint = f"write {similar}" if similar in known else "see vti-updown --help"
    return SettingsError(f"unknown flag {shown(word)}", hint)


def values_of_flags(given: FlagWords) -> dict[str, object]:
    """The typed values, by key, of the flags. Raises SettingsError for a value that cannot be."""
    if "route" in given and "no-routes" in given:
        what = "--route and --no-routes exclude each other"
        raise SettingsError(what, "leave one of them out")
    typed: dict[str, object] = {}
    for key, flag in KEYS.items():
        if flag.name in given:
            typed[key] = _typed_words(flag, given[flag.name])
    if "no-routes" in given:
        typed["routes"] = ()
    return typed


def _typed_words(flag: Flag, words: Sequence[str]) -> object:
    try:
        return flag.typed(flag.words(words))
    except InvalidValue as invalid:
        part = f"{invalid.part}=" if invalid.part else ""
        what = f"--{flag.name} {part}{values.as_word(invalid.value)}{invalid.problem}"
        example = f"write --{flag.name} {values.as_word(flag.example)}"
        raise SettingsError(what, invalid.hint or example) from None


# The name of a link


def fill_in(template: str, known: Mapping[str, str]) -> str:
    """The link name that `template` makes of what is `known`. An unknown placeholder is 0.

    Raises SettingsError where the kernel would not take the name.
    """
    name = ""
    for part in values.template_parts(template):
        name += part.literal
        if part.placeholder is not None:
            name += known.get(part.placeholder, "0")
    problem = values.link_name_problem(name)
    if problem:
        hint = "choose another name, such as vpn{uniqueid}"
        raise SettingsError(f"link name {shown(name)} {problem}", hint)
    return name
