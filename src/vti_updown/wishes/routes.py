"""Which routes and rules an event asks for.

Networks that the peer chose are looked at closely (see `automatic`), those of the settings are not.
A full tunnel is everything, or contains the peer. It has a table of its own, and four rules (see
`rules`).
"""

from ipaddress import ip_network

from ..addresses import IPAddress, IPNetwork
from ..constants import RT_TABLE_MAIN
from ..event import Event
from ..named_tuple import NamedTuple
from ..objects.route import DEFAULT_METRIC, UNREACHABLE, Route
from ..objects.rule import Rule
from ..settings.lists import ConfiguredRoute
from ..settings.table import Settings
from . import automatic
from .link import outer_packet
from .questions import PlanError, Questions

FULL_TABLE = 0x767469
"""The table of full tunnels, "vti" in ASCII. Nobody else uses it.

It is always the same, so that charon can be told to ignore it.
"""
FULL_PRIORITY = 15000
"""The priority of the first of the four rules.

They stand behind a VRF's (1000) and charon's own (220), and before the main table's (32766).
"""
IKE_PORTS = (500, 4500)
"""The ports that charon sends from (RFC 7296, section 2.23; strongswan.conf port, port_nat_t)."""
FULL_METRIC = 1 << 31
"""What is added to a full tunnel's metric, so that charon takes the uplink's route to the peer.

With install_routes = yes, charon looks for the peer in all tables, by prefix and then by metric,
whatever the rules (kernel_netlink_net.c get_route()).
"""
BLOCK_METRIC = 0xFFFFFFFF
"""The metric of unreachable routes. They stand behind every other."""


class Way(NamedTuple):
    """A network to route through the tunnel."""

    network: IPNetwork
    table: int
    metric: int
    source: IPAddress | None
    is_full: bool = False
    """Whether it is a full tunnel, which needs rules."""

    def through(self, link_key: str, source: IPAddress | None, netns: str) -> Route:
        own_source = self.source or source
        return Route(
            self.network,
            self.table,
            self.metric,
            link_key,
            own_source,
            netns,
        )

    def blocked(self, netns: str) -> Route:
        """What stands behind the route.

        So no packet goes another way while the route is not there.
        """
        return Route(
            self.network,
            self.table,
            BLOCK_METRIC,
            UNREACHABLE,
            None,
            netns,
        )


WaysAndNotes = tuple[list[Way], list[str]]
"""The networks to route, and what to tell the user of them."""


def ways(
    event: Event,
    settings: Settings,
    ask: Questions,
) -> WaysAndNotes:
    """The networks to route.

    Raises PlanError for a selector that no peer may choose.
    """
    if settings.routes is None:
        return _selected(event, settings, ask)
    # Two routes of the settings are one if they differ only in what one of them says and the other
    # leaves to a default.
    different: dict[object, Way] = {}
    for route in settings.routes:
        if route.network.version != event.family:
            continue
        way = _way(route, event, settings, ask)
        place = (way.network, way.table, way.metric)
        different.setdefault(place, way)
    return list(different.values()), []


def rules(found: list[Way], event: Event) -> list[Rule]:
    """The rules of the full tunnels among these.

    They have four priorities:

    1. Packets to the peer, and IKE's own to wherever, go by the main table.
    2. If the main table has no route for them, they go nowhere.
    3. What the main table knows better than by its default route goes there (see wg-quick(8)).
    4. All else goes through the tunnel.

    A tunnel's outer packets are routed by the same rules. MOBIKE (RFC 4555, section 3.10) tries all
    addresses of the peer, so without the first two, IKE would find its way into the tunnel. All
    full tunnels share the rules, and the newest has the table's default route.
    """
    full = [way.table for way in found if way.is_full]
    tables = dict.fromkeys(full)
    if not tables:
        return []
    by_main = _rules_of_outer_packets(event)
    nowhere = []
    for rule in by_main:
        dead_end = rule._replace(priority=FULL_PRIORITY + 1, table=0)
        nowhere.append(dead_end)
    nearer = Rule(
        event.family,
        FULL_PRIORITY + 2,
        None,
        RT_TABLE_MAIN,
        suppress=0,
    )
    into = []
    for table in tables:
        rule = Rule(event.family, FULL_PRIORITY + 3, None, table)
        into.append(rule)
    return [*by_main, *nowhere, nearer, *into]


def _rules_of_outer_packets(event: Event) -> list[Rule]:
    """Packets to the peer, and IKE's own, go by the main table."""
    by_main = []
    every = Rule(event.family, FULL_PRIORITY, None, RT_TABLE_MAIN)
    peer = event.peer
    if peer is not None and peer.version == event.family:
        to_peer = every._replace(to=ip_network(peer))
        by_main.append(to_peer)
    for port in IKE_PORTS:
        of_ike = every._replace(port=port)
        by_main.append(of_ike)
    return by_main


def _is_in(ip: IPAddress | None, net: IPNetwork) -> bool:
    return ip is not None and ip in net


def _way(
    route: ConfiguredRoute,
    event: Event,
    settings: Settings,
    ask: Questions,
) -> Way:
    net = route.network
    metric = _metric(route, settings)
    if settings.vrf or settings.netns:
        # The outer packets are routed elsewhere, so nothing of this can catch them.
        table = _table_elsewhere(route, settings, ask)
        return Way(net, table, metric, route.source)
    if not _is_full(net, event):
        table = route.table or settings.table or RT_TABLE_MAIN
        return Way(net, table, metric, route.source)
    if event.peer is None or event.peer.is_unspecified:
        what = f"{net} is a full tunnel, and the peer's address is not known"
        raise PlanError(what, "add remote to the settings")
    table = route.table or settings.table or FULL_TABLE
    if table == RT_TABLE_MAIN:
        what = f"{net} in the main table would send the peer's own packets into the tunnel"
        raise PlanError(what, "leave table out")
    behind_uplink = metric + FULL_METRIC
    before_block = BLOCK_METRIC - 1
    return Way(
        network=net,
        table=table,
        metric=min(behind_uplink, before_block),
        source=route.source,
        is_full=True,
    )


def _metric(route: ConfiguredRoute, settings: Settings) -> int:
    """The metric of a route. 0 if it is the kernel's default anyway."""
    metric = route.metric
    if metric is None:
        metric = settings.metric
    if metric == DEFAULT_METRIC[route.network.version]:
        return 0
    return metric


def _table_elsewhere(
    route: ConfiguredRoute,
    settings: Settings,
    ask: Questions,
) -> int:
    """The table of a route in a VRF, or in another namespace."""
    table = settings.table
    if settings.vrf:
        table = ask.vrf_table(settings.vrf)
    return route.table or table or RT_TABLE_MAIN


def _is_full(net: IPNetwork, event: Event) -> bool:
    """Whether it is everything, or contains the peer."""
    return net.prefixlen == 0 or _is_in(event.peer, net)


def _selected(
    event: Event,
    settings: Settings,
    ask: Questions,
) -> WaysAndNotes:
    """The network that the peer's traffic selector names.

    Raises PlanError for one that no peer may choose.
    """
    net = event.peer_selector.network
    packet = outer_packet(event, settings)
    unrouted = automatic.by_itself(event, settings, packet, ask)
    if unrouted is not None:
        return [], [unrouted.note(net)]
    way = _way(ConfiguredRoute(net), event, settings, ask)
    wished = way.through("", None, settings.netns or "")
    unrouted = automatic.beside_the_hosts(wished, settings, ask)
    if unrouted is not None:
        return [], [unrouted.note(net)]
    return [way], []
