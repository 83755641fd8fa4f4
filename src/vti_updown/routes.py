"""Which routes and rules an event asks for. Networks that the peer chose are looked at closely, those of the settings are not.

A full tunnel, which is everything or contains the peer, is routed in a table of its own by rules of four priorities:
packets to the peer, and IKE's own to wherever, go by the main table (1) or nowhere (2), what the main table knows better
than by its default route goes there (3), and all else through the tunnel (4). All full tunnels share them; the newest has
the table's default route. Sources: wg-quick(8) for (3); a tunnel's outer packets are routed by the same rules, and MOBIKE
(RFC 4555, section 3.10) tries all addresses of the peer, so that IKE would find its way into the tunnel.
"""

from ipaddress import ip_network
from typing import NamedTuple

from .answers import Answers, PlanError
from .event import Event, IPAddress, IPNetwork
from .settings import Settings, WantedRoute
from .state import DEFAULT_METRIC, RT_TABLE_MAIN, Route, Rule

FULL_TABLE = 0x767469
"""The table of full tunnels, "vti" in ASCII: nobody else's, and always the same, so that charon can be told to ignore it."""
FULL_PRIORITY = 15000
"""Of the first of the four rules; behind a VRF's (1000) and charon's own (220), before the main table's (32766)."""
IKE_PORTS = (500, 4500)
"""That charon sends from (RFC 7296, section 2.23; strongswan.conf port, port_nat_t)."""
FULL_METRIC = 1 << 31
"""charon's install_routes = yes has it look for the peer in all tables, by prefix and then by metric, whatever the rules
(kernel_netlink_net.c get_route()). With this much added to a full tunnel's metric it takes the uplink's route."""
BLOCK_METRIC = 0xFFFFFFFF
"""Of unreachable routes: they stand behind every other."""
WIDEST = 8
"""A peer may narrow 0.0.0.0/0 to two halves; no site's network has a shorter prefix than this."""

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


class Way(NamedTuple):
    """A network to route through the tunnel."""

    network: IPNetwork
    table: int
    metric: int
    source: IPAddress | None
    full: bool = False

    def through(self, link: str, source: IPAddress | None, netns: str) -> Route:
        return Route(self.network, self.table, self.metric, link, self.source or source, netns)

    def blocked(self, netns: str) -> Route:
        """What stands behind the route, so that no packet goes another way while it is not there."""
        return Route(self.network, self.table, BLOCK_METRIC, "", None, netns)


def ways(event: Event, settings: Settings, ask: Answers) -> tuple[list[Way], list[str]]:
    """The networks to route, and what to tell the user of them. Raises PlanError for a selector that no peer may choose."""
    if settings.routes is None:
        return _selected(event, settings, ask)
    mine = [route for route in settings.routes if route.network.version == event.family]
    found = [_way(route, event, settings, ask) for route in mine]
    # Two routes of the settings are one if they differ only in what one of them says and the other leaves to a default.
    return list({(way.network, way.table, way.metric): way for way in reversed(found)}.values())[::-1], []


def rules(found: list[Way], event: Event) -> list[Rule]:
    """The rules of the full tunnels among these."""
    tables = dict.fromkeys(way.table for way in found if way.full)
    if not tables:
        return []
    peer = event.peer if event.peer is not None and event.peer.version == event.family else None
    outside = [Rule(event.family, FULL_PRIORITY, ip_network(peer), RT_TABLE_MAIN)] if peer else []
    outside += [Rule(event.family, FULL_PRIORITY, None, RT_TABLE_MAIN, port=port) for port in IKE_PORTS]
    nowhere = [rule._replace(priority=FULL_PRIORITY + 1, table=0) for rule in outside]
    nearer = Rule(event.family, FULL_PRIORITY + 2, None, RT_TABLE_MAIN, suppress=0)
    return [*outside, *nowhere, nearer, *(Rule(event.family, FULL_PRIORITY + 3, None, table) for table in tables)]


def never(net: IPNetwork) -> str | None:
    """What in the network is no host's address."""
    return next((what for what, other in NEVER_UNICAST if other.version == net.version and other.overlaps(net)), None)


def outside(net: IPNetwork, event: Event, ask: Answers) -> str | None:
    """What in the network has to be reached outside the tunnel."""
    if event.peer is not None and event.peer in net:
        return "the peer's own address"
    if event.me is not None and event.me in net:
        return "our own address"
    hop = ask.next_hop(event.peer) if event.peer is not None else None
    return "the next hop's address" if hop is not None and hop in net else None


def _way(route: WantedRoute, event: Event, settings: Settings, ask: Answers) -> Way:
    net, metric = route.network, settings.metric if route.metric is None else route.metric
    if metric == DEFAULT_METRIC[net.version]:
        metric = 0
    if settings.vrf or settings.netns:  # the outer packets are routed elsewhere
        table = ask.vrf_table(settings.vrf) if settings.vrf else settings.table
        return Way(net, route.table or table or RT_TABLE_MAIN, metric, route.source)
    full = net.prefixlen == 0 or (event.peer is not None and event.peer in net)
    if full and (event.peer is None or event.peer.is_unspecified):
        raise PlanError(f"{net} is a full tunnel, and the peer's address is not known", "add remote to the settings")
    table = route.table or settings.table or (FULL_TABLE if full else RT_TABLE_MAIN)
    if full and table == RT_TABLE_MAIN:
        raise PlanError(f"{net} in the main table would send the peer's own packets into the tunnel", "leave table out")
    return Way(net, table, min(metric + FULL_METRIC, BLOCK_METRIC - 1) if full else metric, route.source, full)


def _selected(event: Event, settings: Settings, ask: Answers) -> tuple[list[Way], list[str]]:
    """The network that the peer's traffic selector names."""
    selector = event.peer_selector
    net = selector.network
    why = None
    if net.prefixlen == 0:
        why = "is everything"
    elif selector.limited:
        why = "is limited by protocol or port"
    elif net.prefixlen < WIDEST:
        why = f"is wider than a /{WIDEST}"
    elif what := never(net):
        raise PlanError(f"the peer's traffic selector {net} covers {what} addresses", "correct remote_ts / rightsubnet")
    elif what := outside(net, event, ask):
        why = f"contains {what}"
    if why is None:
        return [_way(WantedRoute(net), event, settings, ask)], []
    return [], [f"no route made, as the selector {net} {why}; add --route NET, or --no-routes"]
