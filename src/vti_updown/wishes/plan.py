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
from .questions import PlanError, Questions

RP_FILTER_LOOSE = 2
"""Any route back will do (ip-sysctl.rst). The greater of this and `all` holds."""

IPs = list[IPAddress]
Ways = list[routes.Way]


class Plan(NamedTuple):
    """What an `up` wishes for."""

    wishes: tuple[Object, ...]
    standing: tuple[Object, ...]
    """What is wished for even while no CHILD_SA is up."""
    notes: tuple[str, ...]
    """What the user may miss, and what to write to have it."""
    moved: tuple[tuple[Link, Link], ...] = ()
    """Links that have other endpoints from now on: before and after."""


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
    named = link_wishes.links(event, settings, ask)
    links = [each.link for each in named]
    link, *_ = links
    virtual_ips = _virtual_ips(event, settings, ask)
    addresses = _addresses(link, event, settings, virtual_ips)
    ways, route_notes = routes.ways(event, settings, ask)
    source = None
    if ways:
        source = _source(link, event, settings, ask, virtual_ips)
    if source is not None and source not in virtual_ips:
        ours = ask.our_address(link.key, source)
        if ours is not None:
            addresses.append(ours)  # A route of ours hangs on it, so it stays as long as the route.
    parts = _Parts(
        links=links,
        sysctls=_sysctls(links, event, settings),
        addresses=addresses,
        routes=_routes(link, ways, source),
        rules=routes.rules(ways, event, settings),
        clamps=_clamps(links, settings),
    )
    name_notes = [each.note for each in named if each.note]
    standing = _standing(parts, ways, virtual_ips, settings)
    return Plan(
        wishes=(*parts.all(), *routes.aside(event, settings)),
        standing=tuple(standing),
        notes=(*name_notes, *route_notes),
        moved=tuple(_moved(named)),
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
) -> tuple[Object, ...]:
    """What keeps packets from going another way, as far as settings and event tell it.

    There may be no plan otherwise. Raises PlanError if it cannot be known.
    """
    settings = _in_one_namespace(settings, ask)
    ways, _ = routes.ways(event, settings, ask)
    rules = routes.rules(ways, event, settings)
    return tuple(_blocking(ways, rules, settings.netns or ""))


def _moved(named: list[link_wishes.NamedLink]) -> list[tuple[Link, Link]]:
    """Our links that are to be changed into these: before and after."""
    moved = []
    for link, _, old in named:
        if old is not None:
            moved.append((old, link))
    return moved


def _routes(
    link: Link,
    ways: Ways,
    source: IPAddress | None,
) -> list[Route]:
    return [way.through(link.key, source, link.netns) for way in ways]


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
) -> list[Address]:
    """The virtual IPs, and the addresses of the settings in the event's family."""
    inner = [InnerAddress(ip_interface(ip)) for ip in virtual_ips]
    for each in settings.address or ():
        if each.address.version == event.family:
            inner.append(each)
    if settings.link_local is not None:
        own = InnerAddress(settings.link_local)
        inner.append(own)
    return [Address(link.key, each.address, each.peer) for each in inner]


def _source(
    link: Link,
    event: Event,
    settings: Settings,
    ask: Questions,
    virtual_ips: IPs,
) -> IPAddress | None:
    """The preferred source of the routes.

    It is the virtual IP, else an address of this host within the local selector.
    """
    if virtual_ips:
        first, *_ = virtual_ips
        return first
    if settings.vrf or settings.netns:
        return None
    local = event.my_selector.network
    if local.prefixlen == 0:
        return None
    return ask.source(link.key, local)


# What stands while no CHILD_SA is up


def _standing(
    parts: _Parts,
    ways: Ways,
    virtual_ips: IPs,
    settings: Settings,
) -> list[Object]:
    if settings.when_down == "block":
        link, *_ = parts.links
        return _blocking(ways, parts.rules, link.netns)
    if settings.when_down == "keep":
        return _lasting(parts, virtual_ips)
    return []


def _blocking(
    ways: Ways,
    rules: list[Rule],
    netns: str,
) -> list[Object]:
    """What keeps packets from going another way."""
    blocked = [way.blocked(netns) for way in ways]
    different = dict.fromkeys(blocked)
    return [*different, *rules]


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
) -> list[Sysctl]:
    """The sysctls of each link.

    The settings may say otherwise of disable_policy and rp_filter.
    """
    wished: dict[str, Sysctl] = {}
    own_family = f"ipv{event.family}"
    for link in links:
        own = Sysctl(link.key, own_family, DISABLE_POLICY, 1)
        wished[own.key] = own
        for family, name, value in settings.sysctl:
            chosen = Sysctl(link.key, family, name, value, is_chosen=True)
            wished[chosen.key] = chosen
    _, *inbound = links
    for link in inbound:
        # Packets come in by it, and the way back is by the other.
        loose = Sysctl(link.key, "ipv4", "rp_filter", RP_FILTER_LOOSE)
        wished.setdefault(loose.key, loose)
    return list(wished.values())


def _clamps(links: list[Link], settings: Settings) -> list[MssClamp]:
    if settings.mss is None:
        return []
    clamps = []
    for link in links:
        ipv4, ipv6 = mss_of(settings.mss, link.mtu)
        clamp = MssClamp(
            link.key,
            link.name,
            ipv4,
            ipv6,
            link.netns,
            is_chosen=bool(settings.mss),
        )
        clamps.append(clamp)
    return clamps
