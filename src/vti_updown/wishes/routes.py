"""Which routes and rules an event asks for.

Networks that the peer chose are looked at closely (see `automatic`), those of the settings are not.
A full tunnel is everything, or contains the peer. It has two tables of its own, and rules (see
`rules`).
"""

from ipaddress import ip_network
from socket import IPPROTO_ESP, IPPROTO_UDP

from ..addresses import IPAddress, IPNetwork
from ..constants import RT_TABLE_MAIN
from ..event import Event
from ..named_tuple import NamedTuple
from ..objects.route import DEFAULT_METRIC, NO_LINK, Route
from ..objects.rule import FR_ACT_GOTO, FR_ACT_NOP, FR_ACT_TO_TBL, Rule
from ..settings.lists import ConfiguredRoute
from ..settings.table import Settings
from . import automatic
from .automatic import is_in
from .link import outer_packet
from .questions import PlanError, Questions, Reason, Reasons

FULL_METRIC = 1 << 31
"""What is added to a full tunnel's metric, so that charon takes the uplink's route to the peer.

With install_routes = yes, charon looks for the peer in all tables, by prefix and then by metric,
whatever the rules (kernel_netlink_net.c get_route()).
"""
BLOCK_METRIC = 0xFFFFFFFF
"""The metric of unreachable routes. They stand behind every other."""
HALF = 1
"""The prefix of 0.0.0.0/1 and 128.0.0.0/1, which others write instead of a default route."""
BEHIND = 4
"""How far behind the first rule of full tunnels the user's own rules begin."""


LISTED = Reason("", ("routes",))
OTHER_FAMILY = Reason("this event is of the other family, which has an event of its own")
METRIC_CHOSEN = Reason("the route has none of its own", ("metric",))
TABLE_CHOSEN = Reason("the route has none of its own", ("table",))
OF_VRF = Reason("the route is in the VRF's table", ("vrf",))
FULL_FORWARDED = Reason("a full tunnel's table for what this host forwards", ("full_table",))
FULL_OWN = Reason("a full tunnel's table for what this host sends itself", ("full_table",))
OUTER_ESP = Reason("beside a full tunnel, ESP goes its own way", ("full_priority",))
OUTER_MARKED = Reason("beside a full tunnel, what charon sends goes its own way", ("ike_mark",))
OUTER_PORT = Reason("beside a full tunnel, what charon sends goes its own way", ("ike_ports",))
NEARER = Reason("beside a full tunnel, what the main table knows better goes there")
OWN_PACKETS = Reason("what else this host sends goes into the full tunnel", ("full_table",))
FORWARDED = Reason("what this host forwards goes into the full tunnel", ("full_table",))
BEHIND_RULES = Reason("what stays outside the full tunnel goes on from here")
ASIDE = Reason("a full tunnel of any connection would swallow this peer's ESP, too")


class Way(NamedTuple):
    """A network to route through the tunnel."""

    network: IPNetwork
    table: int
    metric: int
    source: IPAddress | None
    is_full: bool = False
    """Whether it is a full tunnel, which needs rules."""
    reasons: tuple[Reason, ...] = ()

    def because(self, *more: Reason) -> "Way":
        """With these reasons before those that it has."""
        return self._replace(reasons=(*more, *self.reasons))

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
            NO_LINK,
            None,
            netns,
        )


WaysAndNotes = tuple[list[Way], list[str]]
"""The networks to route, and what to tell the user of them."""


def ways(
    event: Event,
    settings: Settings,
    ask: Questions,
    reasons: Reasons,
) -> WaysAndNotes:
    """The networks to route.

    Raises PlanError for a selector that no peer may choose.
    """
    if settings.routes is None:
        return _selected(event, settings, ask)
    # Two routes of the settings are one if they differ only in what one of them says and the other
    # leaves to a default.
    different: dict[object, Way] = {}
    notes: list[str] = []
    for route in settings.routes:
        if route.network.version != event.family:
            reasons.leave_out(route.network, OTHER_FAMILY)
            continue
        for found in _ways_of(route, event, settings, ask):
            way = found.because(LISTED)
            place = (way.network, way.table, way.metric)
            different.setdefault(place, way)
        notes += _notes_of(route, event, settings, ask)
    return list(different.values()), notes


def rules(
    found: list[Way],
    event: Event,
    settings: Settings,
    reasons: Reasons,
) -> list[Rule]:
    """The rules of the full tunnels among these.

    Outer packets take the way that they take without the full tunnel. So they go on behind its
    rules, where the user's own are, and the main table:

    1. ESP, and what charon sends, go on with 5.
    2. What the main table knows better than by its default route goes there (see wg-quick(8)).
    3. What else this host sends goes through the tunnel, but for what goes to a peer (see `aside`).
    4. What it forwards goes through the tunnel, to a peer, too.
    5. The user's own rules are behind this one, which does nothing.

    The kernel looks for a CHILD_SA's peer as for any address, and tells the protocol since Linux
    6.1.115. All full tunnels share the rules, and the newest has the tables' default route.
    """
    if not any(way.is_full for way in found):
        return []
    family = event.family
    first = settings.full_priority
    behind = first + BEHIND
    outer = _rules_of_outer_packets(family, behind, settings, reasons)
    nearer = Rule(family, first + 2, FR_ACT_TO_TBL, RT_TABLE_MAIN, suppress=0)
    own = _rule_of_own_packets(family, settings)
    forwarded = own._replace(target=settings.full_table, own=False)
    target = Rule(family, behind, FR_ACT_NOP)
    reasons.of(nearer, NEARER)
    reasons.of(own, OWN_PACKETS)
    reasons.of(forwarded, FORWARDED)
    reasons.of(target, BEHIND_RULES)
    return [*outer, nearer, own, forwarded, target]


def _rules_of_outer_packets(
    family: int,
    behind: int,
    settings: Settings,
    reasons: Reasons,
) -> list[Rule]:
    """ESP, and what charon sends: by its mark if it has one, else by its ports."""
    own = Rule(
        family,
        settings.full_priority,
        FR_ACT_GOTO,
        behind,
        own=True,
    )
    esp = own._replace(protocol=IPPROTO_ESP)
    reasons.of(esp, OUTER_ESP)
    if settings.ike_mark is not None:
        marked = own._replace(mark=settings.ike_mark)
        return [esp, reasons.of(marked, OUTER_MARKED)]
    of_ike = []
    for port in dict.fromkeys(settings.ike_ports):
        rule = own._replace(protocol=IPPROTO_UDP, port=port)
        of_ike.append(reasons.of(rule, OUTER_PORT))
    return [esp, *of_ike]


def _rule_of_own_packets(family: int, settings: Settings) -> Rule:
    """What sends this host's own packets into a full tunnel."""
    return Rule(
        family,
        settings.full_priority + 3,
        FR_ACT_TO_TBL,
        settings.full_table + 1,
        own=True,
    )


def aside(
    event: Event,
    settings: Settings,
    reasons: Reasons,
) -> list[Route]:
    """What keeps this host's own packets to the peer out of every full tunnel, while there is one.

    The peers of all tunnels have such a route, since a full tunnel would swallow their ESP, too.
    """
    peer = event.peer
    if peer is None or peer.is_unspecified:
        return []
    rule = _rule_of_own_packets(peer.version, settings)
    route = Route(
        destination=ip_network(peer),
        table=rule.target,
        metric=0,
        link_key=NO_LINK,
        source=None,
        throws=True,
        only_with=rule.key,
    )
    return [reasons.of(route, ASIDE)]


def _ways_of(
    route: ConfiguredRoute,
    event: Event,
    settings: Settings,
    ask: Questions,
) -> list[Way]:
    """The routes that one network needs. Raises PlanError if it would send a tunnel into itself."""
    net = route.network
    metric, why_metric = _metric(route, settings)
    if settings.vrf or settings.netns:
        # The outer packets are routed elsewhere, so nothing of this can catch them.
        table, why_table = _table_elsewhere(route, settings, ask)
        way = Way(net, table, metric, route.source)
        return [way.because(*why_metric, *why_table)]
    chosen = route.table or settings.table
    if chosen == RT_TABLE_MAIN and is_in(event.peer, net):
        what = f"{net} in the main table would send the peer's own packets into the tunnel"
        raise PlanError(what, "leave table out")
    if chosen or not _is_full(net, event):
        way = Way(net, chosen or RT_TABLE_MAIN, metric, route.source)
        return [way.because(*why_metric, *_why_table(route, settings))]
    return _full(route, metric, event, settings)


def _full(
    route: ConfiguredRoute,
    metric: int,
    event: Event,
    settings: Settings,
) -> list[Way]:
    """A full tunnel's routes: for what this host forwards, and for what it sends itself."""
    net = route.network
    peer = event.peer
    if peer is None or peer.is_unspecified:
        what = f"{net} is a full tunnel, and the peer's address is not known"
        raise PlanError(what, "add remote to the settings")
    if net == ip_network(peer):
        what = f"{net} is the peer itself, and its ESP cannot go through its own tunnel"
        raise PlanError(what, automatic.TO_THE_PEER)
    behind_uplink = metric + FULL_METRIC
    before_block = BLOCK_METRIC - 1
    forwarded = Way(
        network=net,
        table=settings.full_table,
        metric=min(behind_uplink, before_block),
        source=route.source,
        is_full=True,
    )
    own = forwarded._replace(table=settings.full_table + 1)
    return [forwarded.because(FULL_FORWARDED), own.because(FULL_OWN)]


def _notes_of(
    route: ConfiguredRoute,
    event: Event,
    settings: Settings,
    ask: Questions,
) -> list[str]:
    """What to tell of a full tunnel."""
    net = route.network
    if settings.vrf or settings.netns or not _is_full(net, event):
        return []
    table = route.table or settings.table
    if table:
        if table == RT_TABLE_MAIN or ask.has_rule_to(table, event.family):
            return []
        family = "-6 " if event.family == 6 else ""
        hint = f"choose what does: ip {family}rule add from NET lookup {table}"
        return [f"no rule uses table {table}, which has the route to {net}; {hint}"]
    if net.prefixlen > HALF:
        return [f"{net} goes through the tunnel, all but {event.peer}"]
    return []


def _metric(route: ConfiguredRoute, settings: Settings) -> tuple[int, list[Reason]]:
    """The metric of a route, and why. 0 if it is the kernel's default anyway."""
    metric = route.metric
    why = []
    if metric is None:
        metric = settings.metric
        why = [METRIC_CHOSEN]
    if metric in (0, DEFAULT_METRIC[route.network.version]):
        return 0, []
    return metric, why


def _table_elsewhere(
    route: ConfiguredRoute,
    settings: Settings,
    ask: Questions,
) -> tuple[int, list[Reason]]:
    """The table of a route in a VRF, or in another namespace, and why."""
    table = settings.table
    why = _why_table(route, settings)
    if settings.vrf:
        table = ask.vrf_table(settings.vrf)
        why = [OF_VRF]
    if route.table:
        return route.table, []
    return table or RT_TABLE_MAIN, why


def _why_table(route: ConfiguredRoute, settings: Settings) -> list[Reason]:
    if route.table or not settings.table:
        return []
    return [TABLE_CHOSEN]


def _is_full(net: IPNetwork, event: Event) -> bool:
    """Whether it is everything, a half of it, or contains the peer."""
    return net.prefixlen <= HALF or is_in(event.peer, net)


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
    (way,) = _ways_of(ConfiguredRoute(net), event, settings, ask)
    wished = way.through("", None, settings.netns or "")
    unrouted = automatic.beside_the_hosts(wished, settings, ask)
    if unrouted is not None:
        return [], [unrouted.note(net)]
    why = Reason("the peer's traffic selector {}", ("routes",), (net,))
    return [way.because(why)], []
