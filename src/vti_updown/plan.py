"""What an `up` wishes for: an event and the settings made into nouns. It does no I/O and changes nothing.

What only the kernel or the records can tell is asked of `Answers`, which the caller holds under the lock.
"""

from ipaddress import ip_interface, ip_network
from typing import NamedTuple

from . import routes, tunnel
from .answers import Answers, PlanError
from .event import Event, IPAddress
from .settings import InnerAddress, Settings
from .state import Address, Clamp, Link, Noun, Route, Setting

RP_FILTER_LOOSE = 2
"""Any route back will do (ip-sysctl.rst); the greater of this and `all` holds."""

ETHERNET_MTU = 1500
TCP_OVER_IPV4, TCP_OVER_IPV6 = 40, 60
"""Bytes of an IP and a TCP header without options (RFC 9293, section 3.7.1)."""


class Plan(NamedTuple):
    wishes: tuple[Noun, ...]
    standing: tuple[Noun, ...]
    """What is wished for even while no CHILD_SA is up."""
    notes: tuple[str, ...]
    """What the user may miss, and what to write to have it."""


def plan(event: Event, settings: Settings, ask: Answers) -> Plan:
    """The wishes of an `up`. Raises PlanError, or SettingsError for a name that the kernel would not take."""
    links, names = tunnel.links(event, settings, ask)
    link = links[0]
    virtual_ips = _virtual_ips(event, ask) if settings.address is None else []
    inner = [InnerAddress(ip_interface(ip)) for ip in virtual_ips] + _of_settings(event, settings)
    addresses = [Address(link.key, one.address, one.peer) for one in inner]
    ways, notes = routes.ways(event, settings, ask)
    source = virtual_ips[0] if virtual_ips else None
    if ways and source is None and not (settings.vrf or settings.netns) and event.my_selector.network.prefixlen:
        source = ask.source(link.key, event.my_selector.network)
        if source is not None and (held := ask.held(link.key, source)):
            addresses.append(held)  # a route of ours hangs on it, so it stays as long as the route
    through = [way.through(link.key, source, link.netns) for way in ways]
    rules = routes.rules(ways, event)
    clamps = [clamp for one in links for clamp in _clamps(one, settings)]
    own = _settings(links, event, settings)
    standing: list[Noun] = []
    if settings.when_down == "block":
        standing = [*dict.fromkeys(way.blocked(link.netns) for way in ways), *rules]
    elif settings.when_down == "keep":
        lasting = [one for one in addresses if one.address.ip not in virtual_ips]
        standing = [*links, *own, *lasting, *(_lasting(route, virtual_ips) for route in through), *rules, *clamps]
    wishes: list[Noun] = [*links, *own, *dict.fromkeys(addresses), *through, *rules, *clamps]
    return Plan(tuple(wishes), tuple(standing), (*names, *notes))


def _lasting(route: Route, virtual_ips: list[IPAddress]) -> Route:
    """The route as it can be while there is no virtual IP."""
    return route._replace(source=None) if route.source in virtual_ips else route


def _settings(links: list[Link], event: Event, settings: Settings) -> list[Setting]:
    made = {
        noun.key: noun
        for link in links
        for noun in (
            Setting(link.key, f"ipv{event.family}", "disable_policy", 1),
            *(Setting(link.key, family, name, value) for family, name, value in settings.sysctl),
        )
    }
    for link in links[1:]:  # packets come in by it, and the way back is by the other
        noun = Setting(link.key, "ipv4", "rp_filter", RP_FILTER_LOOSE)
        made.setdefault(noun.key, noun)
    return list(made.values())


def _clamps(link: Link, settings: Settings) -> list[Clamp]:
    if settings.mss is None:
        return []
    room = link.mtu or tunnel.inner_mtu(ETHERNET_MTU, 6)
    sizes = (settings.mss, settings.mss) if settings.mss else (room - TCP_OVER_IPV4, room - TCP_OVER_IPV6)
    return [Clamp(link.key, link.name, *sizes, link.netns)]


def _of_settings(event: Event, settings: Settings) -> list[InnerAddress]:
    found = [one for one in settings.address or () if one.address.version == event.family]
    return found if settings.link_local is None else [*found, InnerAddress(settings.link_local)]


def _virtual_ips(event: Event, ask: Answers) -> list[IPAddress]:
    ips = [ip for ip in event.virtual_ips if ip.version == event.family]
    for ip in ips:
        if what := routes.never(ip_network(ip)) or routes.outside(ip_network(ip), event, ask):
            raise PlanError(f"the peer gave the virtual IP {ip}, which is {what}", "correct the peer's address pool")
    return ips
