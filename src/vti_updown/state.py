"""What a host's tunnels are made of, and the steps from what is to what is wished. It knows no event and no kernel.

A *wish* is a key and a value: what one object of the kernel is known by, and what it shall be. Each noun below holds
both; its `key` is a line of text that names the object and nothing else. Values differ where the nouns do.
"""

import ipaddress
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

RT_TABLE_MAIN = 254
DEFAULT_METRIC = {4: 0, 6: 1024}
"""What a route has that was made with none, by family: IP6_RT_PRIO_USER (ipv6_route.h). A `Route` with it has 0."""


class Link(NamedTuple):
    """A tunnel interface. A VTI is known by its endpoints: a second one with the same is EEXIST, whatever its keys. An XFRM
    interface is known by its if_id.
    """

    kind: str
    """As in `ip link add … type KIND`; see `kind.py`."""
    local: IPAddress | None
    """None for a kind without endpoints; unspecified: any."""
    remote: IPAddress | None
    name: str
    okey: int
    """Mark that packets sent through a VTI carry, for the outbound policy to match."""
    ikey: int
    alias: str
    if_id: int = 0
    device: str = ""
    """The underlying link; empty: none."""
    netns: str = ""
    """The network namespace that it is moved to, by the name that `ip netns` knows; empty: charon's own."""
    master: str = ""
    """The VRF that it belongs to."""
    mtu: int = 0
    """0: the kernel's choice."""
    multicast: bool = False
    own_link_local: bool = False
    """Whether the kernel shall make no IPv6 link-local address of its own."""

    @property
    def key(self) -> str:
        ends = (self.if_id,) if self.local is None else (self.local, self.remote)
        where = ("dev", self.device) if self.device and self.local is not None else ()
        return " ".join(map(str, (self.kind, *ends, *where, *(("netns", self.netns) if self.netns else ()))))

    @property
    def link(self) -> str:
        return self.key


class Setting(NamedTuple):
    """A sysctl of a link, as in net/FAMILY/conf/LINK/NAME."""

    link: str
    family: str
    """ipv4 or ipv6."""
    name: str
    value: int

    @property
    def key(self) -> str:
        return f"setting {self.family} {self.name} of {self.link}"


class Address(NamedTuple):
    """An address of a link."""

    link: str
    address: IPInterface
    peer: IPAddress | None = None
    """The other side's, on a link that is point to point."""

    @property
    def key(self) -> str:
        return f"address {self.address} {f'peer {self.peer} ' if self.peer else ''}of {self.link}"


class Route(NamedTuple):
    """A route through a link. Its link is its value, not its key: a host has one such route, and the newest wish leads it."""

    destination: IPNetwork
    table: int
    metric: int
    """0: the family's default."""
    link: str
    """Empty: unreachable."""
    source: IPAddress | None
    """Preferred source of the host's own packets."""
    netns: str = ""

    @property
    def key(self) -> str:
        where = f" netns {self.netns}" if self.netns else ""
        return f"route {self.destination} table {self.table} metric {self.metric}{where}"


class Rule(NamedTuple):
    """A rule of the routing policy. Two that differ in anything are two, of one priority or not."""

    family: int
    """4 or 6."""
    priority: int
    to: IPNetwork | None
    """None: all."""
    table: int
    """To look up; 0: unreachable."""
    suppress: int | None = None
    """Routes with a prefix of this length or shorter do not count (suppress_prefixlength)."""
    port: int | None = None
    """Only this host's own UDP packets from this port; None: all."""

    @property
    def key(self) -> str:
        what = f"{self.priority} to {self.to} from port {self.port}"
        return f"rule {self.family} {what} table {self.table} suppress {self.suppress}"

    @property
    def link(self) -> str:
        """It stands on none."""
        return ""


class Clamp(NamedTuple):
    """The greatest segment size of the TCP connections through a link."""

    on: str
    """Key of the link."""
    name: str
    """The link's name, which the packet filter matches."""
    ipv4: int
    """Bytes."""
    ipv6: int
    netns: str = ""

    @property
    def key(self) -> str:
        return f"clamp on {self.on}"

    @property
    def link(self) -> str:
        """It is no part of its link, and does not go with it."""
        return ""


Noun = Link | Setting | Address | Route | Rule | Clamp
ORDER: tuple[type[Noun], ...] = (Link, Setting, Address, Route, Rule, Clamp)
"""Each is put after what it stands on, and taken away before it."""


def about(noun: Noun) -> str:
    """The key of the link that a noun is about, whether it goes with it or not; empty: none."""
    return noun.on if isinstance(noun, Clamp) else noun.link


class Applied(NamedTuple):
    """What we have put into the kernel for one key."""

    noun: Noun
    sure: bool = True
    """False from before a step is taken until it is known to be done: the kernel may hold the old, the new or nothing."""
    ifindex: int | None = None
    """A link's ifindex. A namespace never gives one out twice by itself, so it stays true when somebody renames the link."""
    borrowed: bool = False
    """A link that somebody else made: it is used, never changed and never deleted."""


class Step(NamedTuple):
    """One change of the kernel: from `old` (None: not there) to `new` (None: taken away). Both the same: put it back."""

    old: Noun | None
    new: Noun | None

    @property
    def noun(self) -> Noun:
        noun = self.new or self.old
        assert noun is not None
        return noun


def difference(
    applied: Mapping[str, Applied], wished: Mapping[str, Noun], beside: Collection[Noun] = (), borrowed: Collection[str] = ()
) -> list[Step]:
    """The steps from `applied` to `wished`, in an order that loses nothing.

    Both are of the keys that changed. `beside` is what stands unchanged, and is wished for, where a removal may reach it:
    on the same links, or with an address that goes as its preferred source. `borrowed` holds the keys of borrowed links.
    """
    puts = [
        Step(was.noun if was and was.sure else None, noun)
        for key, noun in wished.items()
        if (was := applied.get(key)) is None or not was.sure or (was.noun != noun and key not in borrowed)
    ]
    gone = [was.noun for key, was in applied.items() if key not in wished]
    deleted = {noun.key for noun in gone if isinstance(noun, Link) and noun.key not in borrowed}
    # What stands on a link goes with it. What is not sure may stand elsewhere, and has a step of its own.
    removals = [noun for noun in gone if isinstance(noun, Link) or noun.link not in deleted or not applied[noun.key].sure]
    lost_addresses = [noun for noun in gone if isinstance(noun, Address)]
    moved = {step.noun.key for step in puts if is_moved(step)}
    standing = [*beside, *wished.values()]
    # An address that goes along is put back, but is away for a moment, and others with it if it was the last one left.
    staying = [noun for noun in standing if not any(_is_secondary(noun, lost) for lost in lost_addresses)]
    back = [
        Step(noun, noun)
        for noun in standing
        if (noun.link in moved and not isinstance(noun, Link))
        or any(goes_along(noun, lost, staying) for lost in lost_addresses)
    ]
    return [
        *sorted(puts, key=lambda step: rank(step.noun)),
        *sorted((Step(noun, None) for noun in removals), key=lambda step: rank(step.noun), reverse=True),
        *sorted(back, key=lambda step: rank(step.noun)),
    ]


def rank(noun: Noun) -> tuple[int, int]:
    """Rules in the order of their priorities: those that let packets out come before the one that sends them in."""
    return ORDER.index(type(noun)), noun.priority if isinstance(noun, Rule) else 0


def is_moved(step: Step) -> bool:
    """Whether a link changes its VRF, by which it loses all addresses and routes (net/core/dev.c, vrf_cycle())."""
    return isinstance(step.old, Link) and isinstance(step.new, Link) and step.old.master != step.new.master


def goes_along(noun: Noun, lost: Address, standing: Collection[Noun]) -> bool:
    """Whether the kernel takes `noun` away, or spoils it, when the address `lost` is removed. `standing` stays.

    Sources: net/ipv4/devinet.c __inet_del_ifa() (secondaries), net/ipv4/fib_frontend.c fib_inetaddr_event() (the last
    IPv4 address takes all IPv4 routes of its link along) and fib_semantics.c fib_sync_down_addr() (preferred source);
    net/ipv6/route.c rt6_remove_prefsrc() (an IPv6 route stays, without its source).
    """
    version = lost.address.version
    if isinstance(noun, Route) and noun.destination.version == version:
        last = not any(isinstance(n, Address) and n.link == lost.link and n.address.version == version for n in standing)
        return noun.source == lost.address.ip or (version == 4 and noun.link == lost.link and last)
    return _is_secondary(noun, lost)


def _is_secondary(noun: Noun, lost: Address) -> bool:
    """Whether `noun` is an IPv4 address in the subnet of `lost`, which may be its primary. The other side's counts, if any."""
    if not isinstance(noun, Address) or noun.address.version != 4:
        return False
    return noun.link == lost.link and (noun.peer or noun.address.network) == (lost.peer or lost.address.network)


# How a noun is written down: its fields in order behind its class's name. Addresses are text.

_PARSERS: dict[str, tuple[type[Noun], dict[str, Callable[[Any], Any]]]] = {
    "Link": (Link, {"local": ipaddress.ip_address, "remote": ipaddress.ip_address}),
    "Setting": (Setting, {}),
    "Address": (Address, {"address": ipaddress.ip_interface, "peer": ipaddress.ip_address}),
    "Route": (Route, {"destination": ipaddress.ip_network, "source": ipaddress.ip_address}),
    "Rule": (Rule, {"to": ipaddress.ip_network}),
    "Clamp": (Clamp, {}),
}


def write(noun: Noun) -> str:
    return json.dumps([type(noun).__name__, *noun], default=str)


def read(text: str) -> Noun:
    """The noun that `write` wrote. Raises ValueError or KeyError where it did not."""
    word, *values = json.loads(text)
    kind, parsers = _PARSERS[word]
    pairs = zip(kind._fields, values, strict=True)
    return kind(*(parsers[name](value) if value is not None and name in parsers else value for name, value in pairs))
