"""What an `up` wishes for: an event and the settings made into objects.

It does no I/O and changes nothing.
"""

from ipaddress import ip_interface, ip_network

from ..addresses import IPAddress
from ..event import Event
from ..named_tuple import NamedTuple
from ..objects.address import Address
from ..objects.link import Link
from ..objects.mss import MssClamp
from ..objects.object import Object
from ..objects.route import Route
from ..objects.rule import Rule
from ..objects.sysctl import DISABLE_POLICY, Sysctl
from ..settings.lists import InnerAddress
from ..settings.table import Settings
from . import automatic, routes
from . import link as link_wishes
from .mtu import mss_of
from .questions import PlanError, Questions, Reason, Reasons

RP_FILTER_LOOSE = 2
"""Any route back will do (ip-sysctl.rst). The greater of this and `all` holds."""

POLICY_FOUND = Reason("its packets have passed a policy already, and are not to meet one again")
SYSCTL_CHOSEN = Reason("", ("sysctl",))
ASYMMETRIC = Reason("packets come in by this link, and the way back is by the other")
GIVEN_BY_PEER = Reason("a virtual IP that the peer gave", ("address",))
ADDRESS_CHOSEN = Reason("", ("address",))
LINK_LOCAL_CHOSEN = Reason("", ("link_local",))
SOURCE_OF_ROUTE = Reason("routes of ours have it as their source, so it stays as long")
NO_SOURCE = "this host has no address within the local selector {}"
STANDS = Reason("it stands while no CHILD_SA does", ("when_down",))
BLOCKS = Reason("no packet goes another way while the route is not there", ("when_down",))
MSS_CHOSEN = Reason("", ("mss",))
MSS_OF_MTU = Reason("it follows the link's MTU", ("mss", "mtu"))
MSS_OF_PATH = Reason("it follows the link's MTU, which the path allows", ("mss",))

IPs = list[IPAddress]
Ways = list[routes.Way]


class Plan(NamedTuple):
    """What an `up` wishes for."""

    wishes: tuple[Object, ...]
    standing: tuple[Object, ...]
    """What is wished for even while no CHILD_SA is up."""
    notes: tuple[str, ...]
    """What the user may miss, and what to write to have it."""
    reasons: Reasons
    """Why each of these is wished for."""
    moved: tuple[tuple[Link, Link], ...] = ()
    """Links that have other endpoints from now on: before and after."""


NOTHING = Plan((), (), (), Reasons())


class Source(NamedTuple):
    """The preferred source of routes, and why it is this one."""

    ip: IPAddress
    reason: Reason


class _Parts(NamedTuple):
    """The objects of a plan by their kind."""

    links: list[Link]
    sysctls: list[Sysctl]
    addresses: list[Address]
    routes: list[Route]
    rules: list[Rule]
    clamps: list[MssClamp]

    def all(self) -> list[Object]:
        """The objects in the order of their kinds. An address that is there twice is one."""
        addresses = dict.fromkeys(self.addresses)
        return [
            *self.links,
            *self.sysctls,
            *addresses,
            *self.routes,
            *self.rules,
            *self.clamps,
        ]


def plan(
    event: Event,
    settings: Settings,
    ask: Questions,
) -> Plan:
    """The wishes of an `up`.

    Raises PlanError, or SettingsError for a name that the kernel would not take.
    """
    settings = _in_one_namespace(settings, ask)
    reasons = Reasons()
    named = link_wishes.links(event, settings, ask)
    links = [reasons.of(each.link, *each.reasons) for each in named]
    link, *_ = links
    virtual_ips = _virtual_ips(event, settings, ask)
    addresses = _addresses(link, event, settings, virtual_ips, reasons)
    ways, route_notes = routes.ways(event, settings, ask, reasons)
    source = None
    if ways:
        source = _source(link, event, ask, virtual_ips, reasons)
    if source is not None and source.ip not in virtual_ips:
        ours = ask.our_address(link.key, source.ip)
        if ours is not None:
            addresses.append(reasons.of(ours, SOURCE_OF_ROUTE))
    parts = _Parts(
        links=links,
        sysctls=_sysctls(links, event, settings, reasons),
        addresses=addresses,
        routes=_routes(link, ways, source, reasons),
        rules=routes.rules(ways, event, settings, reasons),
        clamps=_clamps(links, settings, reasons),
    )
    standing = _standing(parts, ways, virtual_ips, settings, reasons)
    return Plan(
        wishes=(*parts.all(), *routes.aside(event, settings, reasons)),
        standing=tuple(standing),
        notes=(*_notes(named), *route_notes),
        moved=tuple(_moved(named)),
        reasons=reasons,
    )


def _in_one_namespace(settings: Settings, ask: Questions) -> Settings:
    """The settings with the one name of their namespace, since it may have several."""
    if not settings.netns:
        return settings
    netns = ask.namespace(settings.netns)
    return settings._replace(netns=netns)


def blocking(
    event: Event,
    settings: Settings,
    ask: Questions,
) -> Plan:
    """What keeps packets from going another way, as far as settings and event tell it.

    It is a plan that wishes for nothing else. Raises PlanError if it cannot be known.
    """
    settings = _in_one_namespace(settings, ask)
    reasons = Reasons()
    ways, _ = routes.ways(event, settings, ask, reasons)
    rules = routes.rules(ways, event, settings, reasons)
    standing = _blocking(ways, rules, settings.netns or "", reasons)
    return Plan((), tuple(standing), (), reasons=reasons)


def _notes(named: list[link_wishes.NamedLink]) -> list[str]:
    return [each.note for each in named if each.note]


def _moved(named: list[link_wishes.NamedLink]) -> list[tuple[Link, Link]]:
    """Our links that are to be changed into these: before and after."""
    moved = []
    for each in named:
        if each.moved is not None:
            moved.append((each.moved, each.link))
    return moved


def _routes(
    link: Link,
    ways: Ways,
    source: Source | None,
    reasons: Reasons,
) -> list[Route]:
    ip = None
    why_source: list[Reason] = []
    if source is not None:
        ip = source.ip
        why_source = [source.reason]
    found = []
    for way in ways:
        route = way.through(link.key, ip, link.netns)
        found.append(route)
        if way.source is None:
            reasons.of(route, *way.reasons, *why_source)
        else:
            reasons.of(route, *way.reasons)
    return found


# Addresses


def _virtual_ips(
    event: Event,
    settings: Settings,
    ask: Questions,
) -> IPs:
    """The virtual IPs of the event's family, unless the settings have addresses.

    Raises PlanError for one that cannot be.
    """
    if settings.address is not None:
        return []
    ips = [ip for ip in event.virtual_ips if ip.version == event.family]
    packet = link_wishes.outer_packet(event, settings)
    for ip in ips:
        alone = ip_network(ip)
        harm = automatic.never(alone)
        if not harm:
            harm = automatic.outside(alone, event, packet, ask)
        if harm:
            what = f"the peer gave the virtual IP {ip}, which is {harm}"
            raise PlanError(what, "correct the peer's address pool")
    return ips


def _addresses(
    link: Link,
    event: Event,
    settings: Settings,
    virtual_ips: IPs,
    reasons: Reasons,
) -> list[Address]:
    """The virtual IPs, and the addresses of the settings in the event's family."""
    inner = [(InnerAddress(ip_interface(ip)), GIVEN_BY_PEER) for ip in virtual_ips]
    for each in settings.address or ():
        if each.address.version == event.family:
            inner.append((each, ADDRESS_CHOSEN))
        else:
            reasons.leave_out(each.address, routes.OTHER_FAMILY)
    if settings.link_local is not None:
        own = InnerAddress(settings.link_local)
        inner.append((own, LINK_LOCAL_CHOSEN))
    addresses = []
    for each, reason in inner:
        address = Address(link.key, each.address, each.peer)
        addresses.append(reasons.of(address, reason))
    return addresses


def _source(
    link: Link,
    event: Event,
    ask: Questions,
    virtual_ips: IPs,
    reasons: Reasons,
) -> Source | None:
    """The preferred source of the routes.

    It is the virtual IP, else an address of this host within the local selector.
    """
    if virtual_ips:
        first, *_ = virtual_ips
        return Source(first, Reason("the virtual IP {} is its source", (), (first,)))
    if link.master or link.netns:
        return None
    local = event.my_selector.network
    if local.prefixlen == 0:
        return None
    ip = ask.source(link.key, local)
    if ip is None:
        reasons.leave_out("a source of the routes", Reason(NO_SOURCE, (), (local,)))
        return None
    why = Reason(
        "its source {} is this host's address within the local selector {}",
        values=(ip, local),
    )
    return Source(ip, why)


# What stands while no CHILD_SA is up


def _standing(
    parts: _Parts,
    ways: Ways,
    virtual_ips: IPs,
    settings: Settings,
    reasons: Reasons,
) -> list[Object]:
    if settings.when_down == "block":
        link, *_ = parts.links
        return _blocking(ways, parts.rules, link.netns, reasons)
    if settings.when_down == "keep":
        lasting = _lasting(parts, virtual_ips)
        return [reasons.of(each, STANDS) for each in lasting]
    return []


def _blocking(
    ways: Ways,
    rules: list[Rule],
    netns: str,
    reasons: Reasons,
) -> list[Object]:
    """What keeps packets from going another way."""
    blocked = []
    for way in ways:
        route = way.blocked(netns)
        blocked.append(reasons.of(route, BLOCKS, *way.reasons))
    different = dict.fromkeys(blocked)
    return [*different, *(reasons.of(rule, STANDS) for rule in rules)]


def _lasting(parts: _Parts, virtual_ips: IPs) -> list[Object]:
    """All that there can be while there is no virtual IP."""
    addresses = []
    for address in parts.addresses:
        ip = address.address.ip
        if ip not in virtual_ips:
            addresses.append(address)
    lasting = parts._replace(
        addresses=addresses,
        routes=[_lasting_route(route, virtual_ips) for route in parts.routes],
    )
    return lasting.all()


def _lasting_route(route: Route, virtual_ips: IPs) -> Route:
    """The route as it can be while there is no virtual IP."""
    if route.source in virtual_ips:
        return route._replace(source=None)
    return route


# Sysctls and clamps


def _sysctls(
    links: list[Link],
    event: Event,
    settings: Settings,
    reasons: Reasons,
) -> list[Sysctl]:
    """The sysctls of each link.

    The settings may say otherwise of disable_policy and rp_filter.
    """
    wished: dict[str, tuple[Sysctl, Reason]] = {}
    own_family = f"ipv{event.family}"
    for link in links:
        own = Sysctl(link.key, own_family, DISABLE_POLICY, 1)
        wished[own.key] = own, POLICY_FOUND
        for family, name, value in settings.sysctl:
            chosen = Sysctl(link.key, family, name, value, is_chosen=True)
            wished[chosen.key] = chosen, SYSCTL_CHOSEN
    _, *inbound = links
    for link in inbound:
        loose = Sysctl(link.key, "ipv4", "rp_filter", RP_FILTER_LOOSE)
        wished.setdefault(loose.key, (loose, ASYMMETRIC))
    return [reasons.of(sysctl, reason) for sysctl, reason in wished.values()]


def _clamps(
    links: list[Link],
    settings: Settings,
    reasons: Reasons,
) -> list[MssClamp]:
    if settings.mss is None:
        return []
    clamps = []
    for link in links:
        ipv4, ipv6 = mss_of(settings.mss, link.mtu)
        reason = _why_clamped(settings, link)
        clamp = MssClamp(
            link.key,
            link.name,
            ipv4,
            ipv6,
            link.netns,
            is_chosen=bool(settings.mss),
        )
        clamps.append(reasons.of(clamp, reason))
    return clamps


def _why_clamped(settings: Settings, link: Link) -> Reason:
    """What the sizes of a clamp come from."""
    if settings.mss:
        return MSS_CHOSEN
    return MSS_OF_MTU if link.mtu_is_chosen else MSS_OF_PATH
