"""What an `up` wishes for: an event and the settings made into nouns. It does no I/O and changes nothing.

What only the kernel or the records can tell is asked of `Answers`, which the caller holds under the lock.
"""

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_interface, ip_network
from itertools import chain
from typing import NamedTuple

from .errors import Refusal
from .event import Event, IPAddress, IPNetwork
from .settings import Settings, link_name
from .state import RT_TABLE_MAIN, Address, Link, Noun, Route, Setting
from .text import shown

ALIAS_BYTES = 255
"""What IFLA_IFALIAS holds (IFALIASZ - 1)."""

NEVER_UNICAST: tuple[tuple[str, IPNetwork], ...] = tuple(
    (what, ip_network(net))
    for what, nets in (
        ("unspecified", ("0.0.0.0/8", "::/128")),
        ("loopback", ("127.0.0.0/8", "::1/128", "::ffff:0:0/96")),
        ("multicast", ("224.0.0.0/4", "ff00::/8")),
        ("broadcast", ("255.255.255.255/32",)),
    )
    for net in nets
)
"""What no peer may hand out or have routed: by overlap, since `is_loopback` and its like look at the first address only."""


class PlanError(Refusal):
    """An event that cannot have a tunnel: nothing of it is set up."""


class Answers(NamedTuple):
    """What the plan has to ask."""

    free_name: Callable[[Link, Iterable[str], str | None], str]
    """The name of this link, whose own is empty: what it has if it is there, else the one that the user chose, else the
    first of the names that is free. Raises PlanError where another's link has the chosen one."""
    source: Callable[[str, IPNetwork], IPAddress | None]
    """An address of this host within the network, for a route through the link with this key; of another tunnel's only one
    that the network is about."""
    next_hop: Callable[[IPAddress], IPAddress | None]
    """The gateway on the way to an address."""
    held: Callable[[str, IPAddress], Address | None]
    """The address of the link with this key that we have put there ourselves, if it is this one."""


class Plan(NamedTuple):
    wishes: tuple[Noun, ...]
    notes: tuple[str, ...]
    """What the user may miss, and what to write to have it."""


def plan(event: Event, settings: Settings, ask: Answers) -> Plan:
    """The wishes of an `up`. Raises PlanError, or SettingsError for a name that the kernel would not take."""
    link, names = _link(event, settings, ask)
    addresses = [Address(link.key, ip_interface(ip)) for ip in _virtual_ips(event, ask)]
    destinations, notes = _destinations(event, settings, ask)
    source = addresses[0].address.ip if addresses else None
    if destinations and source is None and event.my_selector.network.prefixlen:
        source = ask.source(link.key, event.my_selector.network)
        if source is not None and (held := ask.held(link.key, source)):
            addresses.append(held)  # a route of ours hangs on it, so it stays as long as the route
    routes = [Route(net, RT_TABLE_MAIN, 0, link.key, source) for net in destinations]
    policy = Setting(link.key, f"ipv{event.family}", "disable_policy", 1)
    return Plan((link, policy, *addresses, *routes), (*names, *notes))


def _link(event: Event, settings: Settings, ask: Answers) -> tuple[Link, tuple[str, ...]]:
    """The link, and what to tell the user of its name."""
    me, peer = event.me, event.peer
    assert me is not None and peer is not None  # event.parse() refuses an up without them
    if event.mark_in is None and event.mark_out is None:
        if event.if_id_in or event.if_id_out:
            raise PlanError("an if_id needs an XFRM interface, which is not supported yet", "use mark=NUMBER instead")
        raise PlanError("the CHILD_SA has no mark", "add mark=NUMBER to it, unique to the peer (swanctl: mark_in, mark_out)")
    okey, ikey = (mark.value if mark else 0 for mark in (event.mark_out, event.mark_in))
    link = Link(
        kind="vti" if me.version == 4 else "vti6",
        local=me,
        remote=peer,
        name="",
        okey=okey,
        ikey=ikey,
        alias=shown(f"vti-updown {event.connection}", ALIAS_BYTES // 4),
    )
    values = {
        "connection": event.connection,
        "uniqueid": str(event.unique_id),
        "mark": str(okey or ikey),
        "peer": str(peer),
    }
    chosen = None if settings.name is None else link_name(settings.name, values)
    name = ask.free_name(link, _default_names(event.unique_id), chosen)
    notes = (f"the link is {name}, not {chosen}, for as long as it is up",) if chosen not in (None, name) else ()
    return link._replace(name=name), notes


def _default_names(unique_id: int) -> Iterator[str]:
    """vti1, and names further and further away for where that is taken, so that a crowd of old links costs a few look-ups."""
    return (f"vti{unique_id + step}" for step in chain((0,), (1 << n for n in range(32))))


def _virtual_ips(event: Event, ask: Answers) -> list[IPAddress]:
    ips = [ip for ip in event.virtual_ips if ip.version == event.family]
    for ip in ips:
        if what := _never(ip_network(ip)):
            raise PlanError(f"the peer gave the virtual IP {ip}, which is {what}", "correct the peer's address pool")
        if what := _outside(ip_network(ip), event, ask):
            raise PlanError(f"the peer gave the virtual IP {ip}, which is {what}", "correct the peer's address pool")
    return ips


def _destinations(event: Event, settings: Settings, ask: Answers) -> tuple[list[IPNetwork], tuple[str, ...]]:
    """The networks to route through the tunnel, and what to tell the user of them."""
    if settings.routes is not None:
        nets = [route.network for route in settings.routes if route.network.version == event.family]
        for net in nets:
            if event.peer in net:
                raise PlanError(f"--route {net} contains the peer {event.peer}, so its own packets would loop",
                                "route smaller networks")  # fmt: skip
        return nets, ()
    selector = event.peer_selector
    net = selector.network
    why = None
    if net.prefixlen == 0:
        why = "is everything"
    elif selector.limited:
        why = "is limited by protocol or port"
    elif what := _never(net):
        raise PlanError(f"the peer's traffic selector {net} covers {what} addresses", "correct remote_ts / rightsubnet")
    elif what := _outside(net, event, ask):
        why = f"contains {what}"
    if why is None:
        return [net], ()
    return [], (f"no route made, as the selector {net} {why}; add --route NET, or --no-routes",)


def _never(net: IPNetwork) -> str | None:
    return next((what for what, other in NEVER_UNICAST if other.version == net.version and other.overlaps(net)), None)


def _outside(net: IPNetwork, event: Event, ask: Answers) -> str | None:
    """What in `net` has to be reached outside the tunnel."""
    assert event.me is not None and event.peer is not None
    if event.peer in net:
        return "the peer's own address"
    if event.me in net:
        return "our own address"
    hop = ask.next_hop(event.peer)
    return "the next hop's address" if hop is not None and hop in net else None
