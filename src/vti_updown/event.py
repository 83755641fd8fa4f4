"""The environment of an updown call as a typed `Event`. It knows nothing of settings, records or the kernel.

Everything here comes from the peer or through it, so it is parsed strictly: `int()` and `ipaddress` let more through
than charon ever writes (scope IDs with newlines in them, `1_0`, Arabic digits), and a refusal names the variable.

Source of the variables: strongSwan, src/libcharon/plugins/updown/updown_listener.c, invoke_once().
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from .errors import Refusal
from .text import shown

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

T = TypeVar("T")

UINT32_MAX = 0xFFFFFFFF
VARIABLE_BYTES = 4096
"""Longest value of a variable that we read, in bytes; charon's own longest, an identity, is far below it."""


class EventError(Refusal):
    """A variable that is missing or that charon would not write."""


class Verb(NamedTuple):
    up: bool
    family: int
    """Of the local selector: 4 or 6."""


VERBS = {
    f"{way}-{side}{suffix}": Verb(way == "up", family)
    for way in ("up", "down")
    for side in ("host", "client")
    for suffix, family in (("", 4), ("-v6", 6))
}


class Mark(NamedTuple):
    value: int
    mask: int

    def __str__(self) -> str:
        return str(self.value) if self.mask == UINT32_MAX else f"{self.value}/{self.mask:#x}"


class Selector(NamedTuple):
    """One traffic selector: a subnet, and what limits it (0 and "0" where nothing does)."""

    network: IPNetwork
    protocol: int
    port: str
    """`PORT`, `FROM:TO`, or an ICMP type or code, as charon writes it."""

    @property
    def limited(self) -> bool:
        """Whether it covers only one protocol or some ports, which a route cannot say."""
        return self.protocol != 0 or self.port != "0"

    def seen_from(self, endpoint: IPAddress | None) -> str:
        """The selector as text. `endpoint`'s own address is `host`: MOBIKE may change it, and its family, before the down."""
        itself = endpoint is not None and self.network.num_addresses == 1 and self.network.network_address == endpoint
        where = "host" if itself else str(self.network)
        return f"{where}[{self.protocol}/{self.port}]" if self.limited else where


class Event(NamedTuple):
    """One call of charon's: a pair of traffic selectors of one CHILD_SA has come up or goes down.

    `me` and `peer` are the IKE endpoints (local, remote); `my_…` is this host's side, `peer_…` the other's.
    """

    verb: str
    up: bool
    family: int
    connection: str
    unique_id: int
    me: IPAddress | None
    peer: IPAddress | None
    my_id: str
    peer_id: str
    my_selector: Selector
    peer_selector: Selector
    virtual_ips: tuple[IPAddress, ...]
    """This host's virtual IPs of both families, in charon's order."""
    mark_in: Mark | None
    mark_out: Mark | None
    if_id_in: int | None
    if_id_out: int | None
    xauth_id: str = ""


def _number(text: str, limit: int = UINT32_MAX) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10) or int(text) > limit:
        raise ValueError(f"a number from 0 to {limit}")
    return int(text)


def address(text: str) -> IPAddress:
    """An IP address without a scope ID; an IPv4 address mapped into IPv6 is unwrapped."""
    try:
        if not text.isascii() or "%" in text:
            raise ValueError
        parsed = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("an IP address") from None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def network(text: str) -> IPNetwork:
    """A subnet in CIDR notation with no host bits set."""
    try:
        base, slash, prefix = text.partition("/")
        if not (text.isascii() and slash and prefix.isdigit() and len(prefix) <= 3) or "%" in base:
            raise ValueError
        return ipaddress.ip_network(f"{ipaddress.ip_address(base)}/{int(prefix)}")
    except ValueError:
        raise ValueError("a subnet such as 10.2.0.0/16") from None


def _mark(text: str) -> Mark:
    value, slash, mask = text.partition("/")
    try:
        if slash and not (mask.isascii() and mask.startswith("0x") and mask[2:].isalnum() and len(mask) <= 10):
            raise ValueError
        return Mark(_number(value), int(mask, 16) if slash else UINT32_MAX)
    except ValueError:
        raise ValueError("a mark such as 2/0xffffffff") from None


def _port(text: str) -> str:
    start, colon, end = text.partition(":")
    for part in (start, end) if colon else (start,):
        _number(part, 0xFFFF)
    return text


def _endpoint(text: str) -> IPAddress | None:
    """An address, or None where charon knows none (`%any`), as it may once a tunnel goes down."""
    return None if text in ("%any", "%any6") else address(text)


class _Variables:
    """Reads `PLUTO_NAME`; a refusal says which variable it is, what it holds and what it should hold."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    def read(self, name: str, parse: Callable[[str], T]) -> T | None:
        """The value parsed; None where the variable is absent or empty. `parse` raises ValueError with what it wants."""
        value = self.environ.get(f"PLUTO_{name}")
        if not value:
            return None
        if len(value) > VARIABLE_BYTES:
            raise EventError(f"PLUTO_{name} is longer than {VARIABLE_BYTES} bytes", "call the hook from charon only")
        try:
            return parse(value)
        except ValueError as wanted:
            raise EventError(
                f"PLUTO_{name}={shown(value, 30)} is not {wanted}", "call the hook from charon, or correct it"
            ) from None

    def required(self, name: str, parse: Callable[[str], T]) -> T:
        value = self.read(name, parse)
        if value is None:
            raise EventError(f"PLUTO_{name} is not set", f"call the hook from charon (leftupdown=), or set PLUTO_{name}")
        return value

    def selector(self, side: str) -> Selector:
        return Selector(
            self.required(f"{side}_CLIENT", network),
            self.read(f"{side}_PROTOCOL", _number) or 0,
            self.read(f"{side}_PORT", _port) or "0",
        )

    def virtual_ips(self) -> tuple[IPAddress, ...]:
        """The numbered variables of both families; PLUTO_MY_SOURCEIP alone where a charon sets no others."""
        names = [name for family in (4, 6) for name in _numbered(self.environ, f"MY_SOURCEIP{family}_")]
        found = (self.read(name, _endpoint) for name in names or ["MY_SOURCEIP"])
        return tuple(dict.fromkeys(ip for ip in found if ip is not None))


def _numbered(environ: Mapping[str, str], stem: str) -> list[str]:
    """`stem1`, `stem2`, … as far as they are set without a gap."""
    names: list[str] = []
    while f"PLUTO_{stem}{len(names) + 1}" in environ:
        names.append(f"{stem}{len(names) + 1}")
    return names


def parse(environ: Mapping[str, str]) -> Event:
    """The event that `environ` tells of. Raises EventError, which names the variable, where it tells of none."""
    variables = _Variables(environ)
    read, required = variables.read, variables.required
    verb = VERBS.get(word := required("VERB", str))
    if verb is None:
        raise EventError(f"unknown PLUTO_VERB {shown(word)}", "known are up- and down-, host and client, with and without -v6")
    endpoint = required if verb.up else read
    mine, its = variables.selector("MY"), variables.selector("PEER")
    if mine.network.version != its.network.version:
        raise EventError(f"PLUTO_MY_CLIENT and PLUTO_PEER_CLIENT={its.network} are not of one family", "correct them")
    return Event(
        verb=word,
        up=verb.up,
        family=verb.family,
        connection=required("CONNECTION", str),
        unique_id=required("UNIQUEID", _number),
        me=endpoint("ME", address if verb.up else _endpoint),
        peer=endpoint("PEER", address if verb.up else _endpoint),
        my_id=read("MY_ID", str) or "",
        peer_id=read("PEER_ID", str) or "",
        my_selector=mine,
        peer_selector=its,
        virtual_ips=variables.virtual_ips(),
        mark_in=read("MARK_IN", _mark),
        mark_out=read("MARK_OUT", _mark),
        if_id_in=read("IF_ID_IN", _number) or None,
        if_id_out=read("IF_ID_OUT", _number) or None,
        xauth_id=read("XAUTH_ID", str) or "",
    )
