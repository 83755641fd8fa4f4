"""Whatever a peer selects, and whatever the host has: what was reachable there stays so."""

from ipaddress import IPv4Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from support.events import environment
from vti_updown.addresses import IPAddress, IPNetwork
from vti_updown.event import parse
from vti_updown.objects.route import HostRoute, HostRoutes, OuterPacket, Route
from vti_updown.settings.table import Settings
from vti_updown.wishes.automatic import outside
from vti_updown.wishes.plan import plan

from .test_plan import NO_VIRTUAL_IP, Answers

PLACE = int(IPv4Network("10.64.0.0/10").network_address)
"""Where all of it happens, so that networks meet."""


def networks(shortest: int) -> st.SearchStrategy[IPNetwork]:
    def network(number: int, prefixlen: int) -> IPNetwork:
        host_bits = 32 - prefixlen
        return ip_network(((PLACE + number) >> host_bits << host_bits, prefixlen))

    return st.builds(network, st.integers(0, (1 << 22) - 1), st.integers(shortest, 32))


SETTINGS = [
    Settings(metric=metric, table=table) for metric in (0, 50, 200) for table in (None, 100)
]

connected = st.builds(
    HostRoute,
    network=networks(12),
    metric=st.sampled_from([0, 100]),
    by=st.sampled_from(["eth0", "lan"]),
    is_connected=st.just(True),
)


class Host(Answers):
    """A host that tells of its routes as the kernel does."""

    def __init__(self, routes: list[HostRoute], gateways: list[IPAddress]) -> None:
        super().__init__(None, None, None, 1500)
        self._routes = routes
        self._gateways = gateways

    def host_routes(self, route: Route) -> HostRoutes:
        if route.table != 254:
            return HostRoutes()
        net = route.destination
        about = [each for each in self._routes if each.network.overlaps(net)]
        within = [ip for ip in self._gateways if ip in net]
        return HostRoutes(tuple(about), tuple(within))


def way(ip: IPAddress, routes: list[HostRoute]) -> str:
    """The link that a packet takes: by the longest prefix, then by the smallest metric."""
    fitting = [each for each in routes if ip in each.network]
    if not fitting:
        return ""
    best = max(fitting, key=lambda each: (each.network.prefixlen, -each.metric))
    return best.by


def wished(selector: IPNetwork, host: Host, settings: Settings) -> list[Route]:
    event = parse(
        environment(
            "up-client", MY_CLIENT="10.1.0.0/16", PEER_CLIENT=str(selector), **NO_VIRTUAL_IP
        )
    )
    made = [each for each in plan(event, settings, host).wishes if isinstance(each, Route)]
    return [each for each in made if not each.throws]


@given(
    st.lists(connected, max_size=4),
    st.lists(networks(32), max_size=2),
    networks(8),
    st.sampled_from(SETTINGS),
    st.data(),
)
def test_what_was_reachable_on_a_connected_network_stays_so(
    there, gateways, selector, settings, data
):
    """A packet to a connected network, or to a gateway, goes where it went before."""
    hops = [each.network_address for each in gateways]
    ours = wished(selector, Host(there, hops), settings)
    after = list(there)
    for route in ours:
        own = HostRoute(route.destination, route.metric, "vti1", is_connected=True)
        after.append(own)
    targets = [*hops]
    for each in there:
        number = data.draw(st.integers(0, each.network.num_addresses - 1))
        targets.append(each.network[number])
    for ip in targets:
        if settings.table is None:
            assert way(ip, after) == way(ip, there)
        else:
            assert all(ip not in route.destination for route in ours)


@given(networks(8))
def test_what_the_host_does_not_know_is_routed(selector):
    """The rules above must not refuse everything."""
    assert [each.destination for each in wished(selector, Host([], []), Settings())] == [selector]


def test_an_unknown_peer_has_no_next_hop():
    """There is no packet to ask for."""
    event = parse(environment("up-client", PEER_CLIENT="10.2.0.0/16"))
    host = Host([], [])
    assert outside(ip_network("10.2.0.0/16"), event, None, host) is None
    assert host.packets == []
    assert OuterPacket(ip_network("10.2.0.0/16")[1]).mark == 0
