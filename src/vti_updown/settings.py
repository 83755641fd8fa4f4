"""What the user asks for: the flags of the updown line as `Settings`. It knows no event, no records and no kernel.

FLAGS is the one table of settings: the hook parses its flags by it (without click, whose import costs more than the
rest of the hook), `cli` makes its help from it, and `people` click's options.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .errors import Refusal
from .event import Event, IPAddress, IPNetwork, network
from .text import shown

IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class SettingsError(Refusal):
    """A flag or a value that cannot be."""


class Flag(NamedTuple):
    name: str
    metavar: str | None
    """What its value is called in the help; None for a flag without one."""
    help: str
    many: bool = False


FLAGS = (
    Flag("route", "NET", "Network to route through the tunnel, such as 10.2.0.0/16; may be given several times. "
         "Without it, the network that the peer's traffic selector names.", many=True),
    Flag("no-routes", None, "Make no route, not even the one that the traffic selector names."),
    Flag("name", "TEMPLATE", "Name of the link, from {connection}, {uniqueid}, {mark} and {peer}. Default: vti{uniqueid}, "
         "or another number where that name is taken."),
    Flag("dry-run", None, "Print the ip and sysctl commands that the call stands for, and change nothing."),
    Flag("version", None, "Print the version."),
    Flag("help", None, "Print this help."),
)  # fmt: skip

PLACEHOLDERS = ("connection", "uniqueid", "mark", "peer")
LINK_NAME_BYTES = 15
"""IFNAMSIZ - 1 (if.h)."""


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
    """Of the link, in the event's stead; unspecified: any. None: the event's."""
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


def flags(words: Sequence[str]) -> dict[str, list[str]]:
    """The flags in `words`, each with its values (none for a flag without). Raises SettingsError for what is no flag."""
    table = {f"--{flag.name}": flag for flag in FLAGS}
    found: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        flag = table.get(name)
        if flag is None:
            raise SettingsError(f"unknown flag {shown(word)}", "see vti-updown --help")
        if flag.metavar is None:
            if equals:
                raise SettingsError(f"{name} takes no value", f"write {name} alone")
            found[flag.name] = []
            continue
        if not equals:
            value = next(rest, "")
        if not value:
            raise SettingsError(f"{name} has no value", f"write {name} {flag.metavar}")
        if flag.name in found and not flag.many:
            raise SettingsError(f"{name} is given twice", "leave one out")
        found.setdefault(flag.name, []).append(value)
    return found


def settings_for(found: Mapping[str, Sequence[str]], event: Event) -> Settings:
    """The settings of an event's connection: what `flags` found. Raises SettingsError for a value that cannot be."""
    if "route" in found and "no-routes" in found:
        raise SettingsError("--route and --no-routes exclude each other", "leave one of them out")
    routes = tuple(dict.fromkeys(_route(value) for value in found.get("route", [])))
    names = found.get("name")
    return Settings(
        routes=() if "no-routes" in found else tuple(map(WantedRoute, routes)) or None,
        name=_template(names[0]) if names else None,
    )


def _route(text: str) -> IPNetwork:
    try:
        return network(text)
    except ValueError as wanted:
        raise SettingsError(f"--route {shown(text)} is not {wanted}", "write NET/PREFIX with no host bits set") from None


def _template(text: str) -> str:
    for literal, placeholder in template_parts(text):
        if (fault := _fault(literal)) is not None:
            raise SettingsError(f"--name {shown(text)} {fault}", "use letters, digits, - and _")
        if placeholder is not None and placeholder not in PLACEHOLDERS:
            known = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise SettingsError(f"--name {shown(text, 30)}: unknown {{{shown(placeholder, 15)}}}", f"known are {known}")
    return text


def template_parts(template: str) -> Iterator[tuple[str, str | None]]:
    """Pairs of literal text and the placeholder behind it (None at the end). Raises SettingsError for a lone brace."""
    rest = template
    while rest:
        literal, brace, rest = rest.partition("{")
        placeholder, closed, rest = rest.partition("}")
        if (brace and not closed) or "}" in literal or "{" in placeholder:
            raise SettingsError(f"--name {shown(template)} has a brace without its pair", "write {uniqueid}, say")
        yield literal, placeholder if brace else None


def link_name(template: str, values: dict[str, str]) -> str:
    """The name that `template` makes of `values`. Raises SettingsError where the kernel would not take it (dev_valid_name)."""
    name = "".join(literal + (values[place] if place is not None else "") for literal, place in template_parts(template))
    fault = "is empty" if not name else _fault(name)
    if name in (".", ".."):
        fault = "is no name"
    if len(name.encode("utf-8", "surrogateescape")) > LINK_NAME_BYTES:
        fault = f"is longer than {LINK_NAME_BYTES} bytes"
    if fault is not None:
        raise SettingsError(f"link name {shown(name)} {fault}", "choose another --name, such as vpn{uniqueid}")
    return name


def _fault(piece: str) -> str | None:
    for c in piece:
        if c in "/:%" or not c.isascii() or not c.isprintable() or c.isspace():
            return f"has {shown(c)!r} in it, which no link name may have"
    return None
