"""What the user asks for: `Settings`, and the one table of them. It knows no file, no event, no records and no kernel.

FLAGS is that table: the hook parses its flags by it (without click, whose import costs more than the rest of the hook),
`configuration` the file's keys, `cli` makes its help from it, and `people` click's options.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from . import values
from .errors import Refusal
from .event import IPAddress, IPNetwork, network
from .text import shown
from .values import Fault, IPInterface, name_fault, template_parts, within

FILE = "/etc/vti-updown.toml"


class SettingsError(Refusal):
    """A file, a key, a flag or a value that cannot be."""


class WantedRoute(NamedTuple):
    """A network that the settings send through the tunnel. None: what the connection's `metric`, `table` or the plan say."""

    network: IPNetwork
    metric: int | None = None
    table: int | None = None
    source: IPAddress | None = None


class InnerAddress(NamedTuple):
    """An address of the link that the settings name, with the other side's where it is point to point."""

    address: IPInterface
    peer: IPAddress | None = None


class Settings(NamedTuple):
    """The settings of one connection. Each field but the last is a key of the file and a flag."""

    name: str | None = None
    """Template of the link's name; None: the default."""
    kind: str = "auto"
    """auto (from if_id, marks and endpoints), vti, vti6 or xfrm."""
    local: IPAddress | None = None
    """Of the link, in the event's stead; unspecified, of whichever family: any. None: the event's."""
    remote: IPAddress | None = None
    device: str | None = None
    """The underlying link that the tunnel is bound to, as in `ip link add … dev`."""
    mark: tuple[int, int] | None = None
    """Inbound and outbound, for a link that stands before its CHILD_SA does; None: the event's."""
    if_id: tuple[int, int] | None = None
    routes: tuple[WantedRoute, ...] | None = None
    """The networks to route, of both families; None: the peer's traffic selector; empty: none."""
    address: tuple[InnerAddress, ...] | None = None
    """Of the link, of both families; None: the virtual IPs."""
    mtu: int | None = None
    """Bytes; None: what the path leaves."""
    mss: int | None = None
    """Bytes that TCP connections through the link are clamped to; 0: what the route's MTU leaves. None: no clamp."""
    metric: int = 0
    """0: the family's default."""
    table: int | None = None
    """None: main, and for a full tunnel our own."""
    vrf: str | None = None
    netns: str | None = None
    multicast: bool = False
    link_local: IPInterface | None = None
    """The link's IPv6 link-local address; None: the kernel's choice."""
    sysctl: tuple[tuple[str, str, int], ...] = ()
    """Family (ipv4, ipv6), name and value, as in net/FAMILY/conf/LINK/NAME."""
    when_down: str = "remove"
    """What stands while no CHILD_SA does: remove (nothing), block (unreachable routes) or keep (link and routes)."""
    up: str | None = None
    """A command of the user's, for /bin/sh, after each `up`."""
    down: str | None = None
    section: str = ""
    """The table of the file that the settings are from: that of the most specific match; empty without one."""


# The values that are more than one word or number.


def _routes(value: object) -> tuple[WantedRoute, ...] | None:
    """None for `auto`, nothing for `none`."""
    if value in ("auto", "none"):
        return None if value == "auto" else ()
    found: dict[tuple[IPNetwork, int | None, int | None], WantedRoute] = {}
    for one in value if isinstance(value, list) else [value]:
        route = _route(one)
        if found.setdefault(route[:3], route) != route:
            raise Fault(str(route.network), " has two sources", "leave one of the two out")
    return tuple(found.values())


def _route(value: object) -> WantedRoute:
    parts = value if isinstance(value, dict) else {"to": value}
    if "to" not in parts:
        raise Fault(value, " has no network", 'write to = "10.2.0.0/16"')
    for part in parts:
        if part not in ("to", "metric", "table", "src"):
            raise Fault(part, " is no part of a route", "a route has to, metric, table and src")
    net = _network(parts["to"])
    metric = within("metric", "write a number such as 100", values.metric, parts["metric"]) if "metric" in parts else None
    table = within("table", "write a number such as 100", values.table, parts["table"]) if "table" in parts else None
    source = within("src", "write an address of this host", values.one_address, parts["src"]) if "src" in parts else None
    if source is not None and (source.version != net.version or source.is_unspecified):
        raise Fault(str(source), f" is no IPv{net.version} address of a host", "write an address of this host", "src")
    return WantedRoute(net, metric, table, source)


def _network(value: object) -> IPNetwork:
    try:
        return network(value if isinstance(value, str) else "")
    except ValueError as wanted:
        raise Fault(value, f" is not {wanted}", "write NET/PREFIX with no host bits set") from None


def _addresses(value: object) -> tuple[InnerAddress, ...]:
    return tuple(dict.fromkeys(_inner(one) for one in (value if isinstance(value, list) else [value])))


def _inner(value: object) -> InnerAddress:
    """`ADDRESS`, `ADDRESS/PREFIX`, or `ADDRESS peer ADDRESS` with no prefix (ip-address(8))."""
    words = value.split() if isinstance(value, str) else []
    if len(words) != 3 or words[1] != "peer":
        return InnerAddress(values.interface(value))
    mine, its = values.interface(words[0]), values.one_address(words[2])
    if mine.version != its.version or mine.ip == its or its.is_unspecified:
        raise Fault(value, " needs two addresses of one family", "write ADDRESS peer ADDRESS")
    if mine.network.num_addresses > 1:
        raise Fault(value, " has a prefix and a peer", "leave one of the two out")
    return InnerAddress(mine, its)


def _sysctl(value: object) -> tuple[tuple[str, str, int], ...]:
    """A table of `"FAMILY.NAME" = VALUE`; without the quotes it is a table in a table."""
    if not isinstance(value, dict):
        raise Fault(value, " is no table")
    found: dict[tuple[str, str], int] = {}
    for key, one in value.items():
        named = [(f"{key}.{name}", inner) for name, inner in one.items()] if isinstance(one, dict) else [(key, one)]
        for name, inner in named:
            _add_sysctl(found, name, inner)
    return tuple((family, name, number) for (family, name), number in found.items())


def _add_sysctl(found: dict[tuple[str, str], int], key: str, value: object) -> None:
    family, _, name = key.partition(".")
    if family not in ("ipv4", "ipv6") or not name or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_"):
        raise Fault(key, " is no sysctl of a link", "write ipv4.NAME or ipv6.NAME")
    if (family, name) in found:
        raise Fault(key, " is given twice", "leave one out")
    found[family, name] = within(shown(key), "write a whole number", values.number(-(1 << 31), (1 << 31) - 1), value)


def _words_of_routes(words: Sequence[str]) -> object:
    for word in words:
        if word in ("auto", "none") and len(words) > 1:
            raise Fault(word, " stands alone", "leave the other --route out")
    return words[0] if words[0] in ("auto", "none") else [values.options(word) for word in words]


def _words_of_sysctl(words: Sequence[str]) -> object:
    found: dict[str, object] = {}
    for name, value in map(values.named_number, words):
        if name in found:
            raise Fault(name, " is given twice", "leave one out")
        found[name] = value
    return found


class Flag(NamedTuple):
    """One row of the table: a flag, and the key of the file that is the same setting."""

    name: str
    metavar: str | None
    """What its value is called in the help; None for a flag without one."""
    help: str
    default: str = ""
    example: object = None
    """A value that is right, as TOML makes it."""
    parse: Callable[[object], object] | None = None
    """The value, typed, from what TOML made; None for a flag that is no setting of a connection. Raises Fault."""
    words: Callable[[Sequence[str]], object] = values.one_word
    """What TOML would have made of the flag's words. Raises Fault."""
    many: bool = False
    """Whether it may be given several times."""
    alone: str = ""
    """What the flag means without a value; empty: it needs one."""

    @property
    def key(self) -> str:
        """Its key in the file, and the field of `Settings`."""
        return "routes" if self.name == "route" else self.name.replace("-", "_")

    @property
    def usage(self) -> str:
        if self.metavar is None:
            return f"--{self.name}"
        return f"--{self.name}[={self.metavar}]" if self.alone else f"--{self.name} {self.metavar}"

    @property
    def described(self) -> str:
        """The help, with what holds without the flag."""
        several = " May be given several times." if self.many else ""
        return f"{self.help}{several}" + (f" Default: {self.default}." if self.default else "")


FLAGS = (
    Flag("route", "NET", "Network to route through the tunnel: NET[,metric=N][,table=N][,src=IP], auto or none.",
         "auto, the network of the peer's traffic selector", ["10.2.0.0/16"], _routes, _words_of_routes, many=True),
    Flag("no-routes", None, "Make no route, as --route none."),
    Flag("name", "TEMPLATE", "Name of the link, of {connection}, {uniqueid}, {mark}, {if_id}, {if_id:08x} and {peer}.",
         "vti{uniqueid} or xfrm{if_id}, or another number where that is taken", "vpn{uniqueid}", values.template),
    Flag("kind", "KIND", "Kind of the link: auto, vti, vti6 or xfrm.",
         "auto, by the CHILD_SA's if_id, mark and endpoints", "auto", values.choice("auto", "vti", "vti6", "xfrm")),
    Flag("local", "ADDRESS", "This host's endpoint of the link, or any.",
         "the CHILD_SA's", "192.0.2.1", values.endpoint),
    Flag("remote", "ADDRESS", "The peer's endpoint of the link, or any.",
         "the CHILD_SA's", "203.0.113.7", values.endpoint),
    Flag("device", "LINK", "The underlying link that the tunnel is bound to.",
         "none", "eth0", values.link),
    Flag("mark", "MARK", "Mark of a link that stands before its CHILD_SA: a number, or inbound and outbound.",
         "the CHILD_SA's", 42, values.pair, values.one_or_two),
    Flag("if-id", "IF_ID", "Interface ID of a link that stands before its CHILD_SA: a number, or inbound and outbound.",
         "the CHILD_SA's", 42, values.pair, values.one_or_two),
    Flag("address", "ADDRESS", "Address of the link, such as 169.254.21.2/30, 10.3.0.1 or 10.3.0.1 peer 10.3.0.2.",
         "the virtual IPs", "169.254.21.2/30", _addresses, values.every_word, many=True),
    Flag("mtu", "BYTES", "MTU of the link.",
         "what the path leaves", 1400, values.number(68, 65535), values.one_number),
    Flag("mss", "BYTES", "Longest TCP segment to allow: a number, path (what the MTU leaves) or none.",
         "none", "path", values.mss, values.one_number),
    Flag("metric", "NUMBER", "Metric of the routes that have none of their own.",
         "0, the family's default", 100, values.metric, values.one_number),
    Flag("table", "TABLE", "Table of the routes that have none of their own: a number, main or default.",
         "main; a full tunnel has its own", 100, values.table, values.one_number),
    Flag("vrf", "LINK", "The VRF that the link belongs to.",
         "none", "blue", values.link),
    Flag("netns", "NAME", "The network namespace, as ip netns names it, that the link is moved to.",
         "charon's", "office", values.netns),
    Flag("multicast", "yes|no", "Multicast on the link, for OSPF, Babel and their like.",
         "no", True, values.boolean, values.yes_or_no, alone="yes"),
    Flag("link-local", "ADDRESS", "IPv6 link-local address of the link, or auto.",
         "auto, the kernel's choice", "fe80::1/64", values.link_local),
    Flag("sysctl", "NAME=NUMBER", "Sysctl of the link, ipv4.NAME or ipv6.NAME.",
         "the kernel's defaults", {"ipv4.rp_filter": 2}, _sysctl, _words_of_sysctl, many=True),
    Flag("when-down", "WHAT", "What stands while the CHILD_SA does not: remove, block or keep.",
         "remove", "keep", values.choice("remove", "block", "keep")),
    Flag("up", "COMMAND", "Command for /bin/sh after each up.",
         "none", "logger up", values.command),
    Flag("down", "COMMAND", "Command for /bin/sh after each down.",
         "none", "logger down", values.command),
    Flag("config", "FILE", "The file of settings.", FILE),
    Flag("settings", "NAME", "Take [connection.NAME] of that file, whatever it matches.",
         "the tables that match"),
    Flag("dry-run", None, "Print the ip and sysctl commands that the call stands for, and change nothing."),
    Flag("version", None, "Print the version."),
    Flag("help", None, "Print this help."),
)  # fmt: skip
KEYS = {flag.key: flag for flag in FLAGS if flag.parse is not None}


def flags(words: Sequence[str]) -> dict[str, list[str]]:
    """The flags in `words`, each with its values (none for a flag without). Raises SettingsError for what is no flag."""
    table = {f"--{flag.name}": flag for flag in FLAGS}
    found: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        flag = table.get(name)
        if flag is None:
            known = f"--{name[2:].replace('_', '-')}"
            raise SettingsError(f"unknown flag {shown(word)}", f"write {known}" if known in table else "see vti-updown --help")
        if flag.metavar is None:
            if equals:
                raise SettingsError(f"{name} takes no value", f"write {name} alone")
            found[flag.name] = []
            continue
        if not equals:
            value = flag.alone or next(rest, "")
        if not value:
            raise SettingsError(f"{name} has no value", f"write {flag.usage}")
        if flag.name in found and not flag.many:
            raise SettingsError(f"{name} is given twice", "leave one out")
        found.setdefault(flag.name, []).append(value)
    return found


def of_flags(found: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """The values, by key, of what `flags` found. Raises SettingsError for a value that cannot be."""
    if "route" in found and "no-routes" in found:
        raise SettingsError("--route and --no-routes exclude each other", "leave one of them out")
    given = {key: _of_flag(flag, found[flag.name]) for key, flag in KEYS.items() if flag.name in found}
    return {**given, "routes": ()} if "no-routes" in found else given


def _of_flag(flag: Flag, words: Sequence[str]) -> object:
    assert flag.parse is not None
    try:
        return flag.parse(flag.words(words))
    except Fault as fault:
        part = f"{fault.part}=" if fault.part else ""
        hint = fault.hint or f"write --{flag.name} {values.word(flag.example)}"
        raise SettingsError(f"--{flag.name} {part}{values.word(fault.value)}{fault.what}", hint) from None


def link_name(template: str, known: Mapping[str, str]) -> str:
    """The name that `template` makes of what is `known` (a placeholder that is not: 0).

    Raises SettingsError where the kernel would not take it.
    """
    name = "".join(literal + ("" if place is None else known.get(place, "0")) for literal, place in template_parts(template))
    if (what := name_fault(name)) is not None:
        raise SettingsError(f"link name {shown(name)} {what}", "choose another name, such as vpn{uniqueid}")
    return name
