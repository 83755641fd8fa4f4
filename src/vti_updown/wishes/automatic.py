"""Whether a network that the peer chose may be routed without a word of the user's.

A route that is made by itself takes nothing away: not from networks that the host routes already,
not from its next hops, and not from what must be reached outside the tunnel.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from ..addresses import IPAddress, IPNetwork
from ..constants import RT_TABLE_MAIN
from ..event import Event
from ..named_tuple import NamedTuple
from ..objects.route import DEFAULT_METRIC, HostRoute, HostRoutes, OuterPacket, Route
from ..settings.table import Settings
from .questions import PlanError, Questions

WIDEST = {4: 8, 6: 16}
"""No site's network has a shorter prefix, by family. A peer may narrow 0.0.0.0/0 to two halves.

Of IPv6, the largest providers have a /19 or so. All of 2000::/3 is 8,192 networks of a /16.
"""
UNIQUE_LOCAL = ip_network("fc00::/7")
WIDEST_UNIQUE_LOCAL = 8
"""fd00::/8 is a site's way to say "all that is private" (RFC 4193), as 10.0.0.0/8 is."""
WIDEST_DEFAULT = {4: 1, 6: 4}
"""A host's route with such a prefix or a shorter one is a default route, by family.

VPNs split their default route into halves. IPv6's is also written as 2000::/3, or its halves.
"""

NO_HOST = {
    "unspecified": ("0.0.0.0/8", "::/128"),
    "loopback": ("127.0.0.0/8", "::1/128", "::ffff:0:0/96"),
    "broadcast": ("255.255.255.255/32",),
}
"""What no peer may have in a selector.

A network must not overlap any of these: `is_loopback` and its like see its first address only.
"""
MULTICAST = {"multicast": ("224.0.0.0/4", "ff00::/8")}
"""Routing daemons have it in their selectors, and no peer may hand it out."""
OF_ONE_LINK = {**MULTICAST, "link-local": ("169.254.0.0/16", "fe80::/10")}
"""What is right in a selector and wrong in a route: each link has its own."""
SPECIAL = {
    "reserved": ("240.0.0.0/4",),
    "protocol": ("192.0.0.0/24",),
    "discard-only": ("100::/64",),
}
"""What is not a site's network (RFC 6890).

Left out are networks that a tunnel may well lead to: those behind a carrier's NAT (100.64.0.0/10),
NAT64 (64:ff9b::/96), 6to4, Teredo, and those for benchmarks and documentation.
"""

Networks = Mapping[str, tuple[str, ...]]

HINT = "add --route NET, or --no-routes"
TO_THE_PEER = "leave mark or if_id out of a CHILD_SA for the peer itself"
NO_ADVICE = ""


class Unrouted(NamedTuple):
    """Why no route is made by itself."""

    reason: str
    """What follows "the selector NET"."""
    hint: str = HINT

    def note(self, net: IPNetwork) -> str:
        said = f"no route made, as the selector {net} {self.reason}"
        if not self.hint:
            return said
        return f"{said}; {self.hint}"


def by_itself(
    event: Event,
    settings: Settings,
    packet: OuterPacket | None,
    ask: Questions,
) -> Unrouted | None:
    """Why the peer's traffic selector makes no route, whatever the host routes.

    Raises PlanError for one that no peer may choose. `packet` is an outer packet to the peer.
    """
    net = event.peer_selector.network
    if net.prefixlen == 0:
        return _everything(settings)
    if event.peer_selector.limited:
        return _limited(net)
    unfit = _unfit(net)
    if unfit is not None or settings.vrf or settings.netns:
        return unfit  # There the outer packets are routed elsewhere, and so are the host's own.
    if net.num_addresses == 1:
        return _one_address(net, event, packet, ask)
    harm = outside(net, event, packet, ask)
    if harm is None:
        return None
    return Unrouted(f"contains {harm}")


def _unfit(net: IPNetwork) -> Unrouted | None:
    """Why no host routes a network that a peer chose. Raises PlanError for an impossible one."""
    of_one_link = _is_within(net, OF_ONE_LINK)
    if of_one_link:
        return Unrouted(f"is {of_one_link}", NO_ADVICE)
    if net.prefixlen < widest(net):
        return Unrouted(f"is wider than a /{widest(net)}")
    forbidden = _overlapped(net, NO_HOST)
    if forbidden:
        what = f"the peer's traffic selector {net} covers {forbidden} addresses"
        raise PlanError(what, "correct remote_ts / rightsubnet")
    special = _overlapped(net, OF_ONE_LINK) or _overlapped(net, SPECIAL)
    if special:
        return Unrouted(f"covers {special} addresses")
    return None


def _everything(settings: Settings) -> Unrouted:
    """Raises PlanError if the user counts on a route that blocks."""
    if settings.when_down == "block":
        what = "when_down = block with routes = auto and a selector of everything blocks nothing"
        raise PlanError(what, 'list what to block, such as routes = ["0.0.0.0/0", "::/0"]')
    return Unrouted("is everything")


def _limited(net: IPNetwork) -> Unrouted:
    """OSPF and router advertisements are often limited by protocol, and need no advice."""
    hint = HINT
    if _is_within(net, OF_ONE_LINK):
        hint = NO_ADVICE
    return Unrouted("is limited by protocol or port", hint)


def _one_address(
    net: IPNetwork,
    event: Event,
    packet: OuterPacket | None,
    ask: Questions,
) -> Unrouted | None:
    """Why one address is not routed. No advice leads to a route that would do nothing."""
    ip = net.network_address
    if ip == event.peer:
        return Unrouted("is the peer's own address", TO_THE_PEER)
    if ip == event.me or ask.is_own_address(ip):
        return Unrouted("is our own address", NO_ADVICE)
    harm = outside(net, event, packet, ask)
    if harm is not None:
        return Unrouted(f"is {harm}")
    if ip in ask.name_servers():
        return Unrouted("is a name server of this host")
    return None


def widest(net: IPNetwork) -> int:
    """The shortest prefix that a route may have which is made by itself."""
    if net.version == 6 and net.network_address in UNIQUE_LOCAL:
        return WIDEST_UNIQUE_LOCAL
    return WIDEST[net.version]


def never(net: IPNetwork) -> str | None:
    """What in the network is not the address of one host."""
    return _overlapped(net, NO_HOST) or _overlapped(net, MULTICAST)


def _overlapped(net: IPNetwork, special: Networks) -> str | None:
    """What of these the network overlaps."""
    for what, other in _of_family(net, special):
        if other.overlaps(net):
            return what
    return None


def _is_within(net: IPNetwork, special: Networks) -> str | None:
    """What of these the network is part of."""
    for what, other in _of_family(net, special):
        if _is_part_of(net, other):
            return what
    return None


def _of_family(net: IPNetwork, special: Networks) -> Iterator[tuple[str, IPNetwork]]:
    for what, networks in special.items():
        for text in networks:
            other = ip_network(text)
            if other.version == net.version:
                yield what, other


def outside(
    net: IPNetwork,
    event: Event,
    packet: OuterPacket | None,
    ask: Questions,
) -> str | None:
    """What in the network must be reached outside the tunnel."""
    if is_in(event.peer, net):
        return "the peer's own address"
    if is_in(event.me, net):
        return "our own address"
    if packet is None:
        return None
    hop = ask.next_hop(packet)
    if is_in(hop, net):
        return "the next hop's address"
    return None


def is_in(ip: IPAddress | None, net: IPNetwork) -> bool:
    return ip is not None and ip in net


# What the host routes already


def beside_the_hosts(
    route: Route,
    settings: Settings,
    ask: Questions,
) -> Unrouted | None:
    """Why a route would take something away from those that the host has.

    A network that is part of the route's own stays where it is: the longer prefix wins. That does
    not hold for a table of its own, which may come before the main table.
    """
    there = ask.host_routes(route)
    reason = taken_away(route, there)
    if reason is None and route.table != RT_TABLE_MAIN and not settings.vrf:
        in_main = route._replace(table=RT_TABLE_MAIN)
        reason = _hidden(ask.host_routes(in_main))
    if reason is None:
        return None
    return Unrouted(reason)


def taken_away(route: Route, there: HostRoutes) -> str | None:
    """What a route takes away from those in its table."""
    net = route.destination
    for other in there.routes:
        if _is_default(other) or not _is_part_of(net, other.network):
            continue
        if net != other.network:
            return f"is part of {other.network}, which the host routes by {other.by}"
        if _metric(route) <= other.metric:
            return f"has a route by {other.by}"
    for hop in there.next_hops:
        if not _is_connected(hop, net, there):
            return f"contains {hop}, a next hop of this host"
    return None


def _hidden(in_main: HostRoutes) -> str | None:
    """What a route in a table before the main one takes away."""
    for other in in_main.routes:
        if not _is_default(other):
            return f"overlaps {other.network}, which the host routes by {other.by}"
    for hop in in_main.next_hops:
        return f"contains {hop}, a next hop of this host"
    return None


def _is_default(route: HostRoute) -> bool:
    return route.network.prefixlen <= WIDEST_DEFAULT[route.network.version]


def _is_part_of(net: IPNetwork, other: IPNetwork) -> bool:
    return other.prefixlen <= net.prefixlen and net.network_address in other


def _is_connected(hop: IPAddress, net: IPNetwork, there: HostRoutes) -> bool:
    """Whether a more specific route than the network's leads to the next hop on its link."""
    for other in there.routes:
        if other.network.prefixlen <= net.prefixlen or not other.is_connected:
            continue
        if hop in other.network:
            return True
    return False


def _metric(route: Route) -> int:
    return route.metric or DEFAULT_METRIC[route.destination.version]
