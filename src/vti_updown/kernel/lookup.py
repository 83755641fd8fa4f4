"""How the kernel routes a packet of this host: what `ip route get` tells. It changes nothing."""

import errno
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from ..addresses import IPAddress, IPNetwork, address, address_in
from ..netlink import RTM_GETADDR, RTM_GETROUTE, RTM_GETRULE, NetlinkError, aligned, message
from ..objects.address import AF, ifaddrmsg, own_address
from ..objects.link import Link, vrf_table
from ..objects.object import PROTOCOL
from ..objects.route import (
    DEFAULT_METRIC,
    NAT_PORT,
    RTN_LOCAL,
    RTN_UNICAST,
    HostRoute,
    HostRoutes,
    OuterPacket,
    rtmsg,
    table_of,
)
from ..objects.rule import FIB_RULE_INVERT, fib_rule_hdr, looked_up
from ..text import Refusal, shown
from .namespace import Namespace

RTM_F_LOOKUP_TABLE = 0x1000
"""Asks for the table that a looked-up route is in."""
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
REFUSED = (errno.EINVAL, errno.EOPNOTSUPP)
"""What the kernel answers to a question that it does not take, or about a foreign source."""
RESOLV_CONFS = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
"""The files that name the name servers.

The second one has those that systemd-resolved asks, for the first may name its own stub alone.
"""
RESOLV_CONF_BYTES = 1 << 16
"""More of a file is not read."""


# Where the parts of a route's message are (rtnetlink.h). See `_HostRoutes`.
RTMSG, RTMSG_END = struct.Struct("=16xBBxxxBxBI"), 28
"""The family, the length of the prefix, the protocol, the type and the flags."""
RTATTR = struct.Struct("=HH")
TABLE_BYTES = 4
RTNEXTHOP = struct.Struct("=HBBi")
RTM_F_CLONED = 0x200
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_MULTIPATH = 1, 4, 5, 6, 9
RTA_TABLE, RTA_VIA, RTA_NH_ID = 15, 18, 30

Attributes = dict[int, bytes]
Hop = tuple[int, bytes]
"""A link and the gateway on it, which is empty for none."""


class Lookup:
    """Route look-ups in charon's own namespace, where all outer packets are routed."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def table_of(self, destination: IPAddress) -> int:
        """The table whose route packets to `destination` take; 0 where there is no route."""
        route = self._route_to(destination)
        if route is None:
            return 0
        return table_of(route)

    def path_mtu(self, packet: OuterPacket) -> int | None:
        """Bytes that a packet may have: what its route says or has learned, else its link.

        None where there is no route.
        """
        route = self._route_of(packet)
        if route is None:
            return None
        metrics = route.get_attr("RTA_METRICS")
        if metrics is not None and metrics.get_attr("RTAX_MTU"):
            return int(metrics.get_attr("RTAX_MTU"))
        link = self._namespace.link(route.get_attr("RTA_OIF"))
        if link is None:
            return None
        return int(link.get_attr("IFLA_MTU"))

    def next_hop(self, packet: OuterPacket) -> IPAddress | None:
        """The gateway that a packet takes; None where its destination is on a link, or cannot be
        reached.
        """
        return _address(self._route_of(packet), "RTA_GATEWAY")

    def is_own_address(self, ip: IPAddress) -> bool:
        """Whether packets to an address stay on this host."""
        route = self._route_to(ip)
        return route is not None and route["type"] == RTN_LOCAL

    def name_servers(self) -> tuple[IPAddress, ...]:
        """The name servers of this host. A file that cannot be read names none."""
        different: dict[IPAddress, None] = {}
        for path in RESOLV_CONFS:
            for ip in _name_servers(path):
                different[ip] = None
        return tuple(different)

    def source(self, network: IPNetwork, is_unfit: Callable[[IPAddress], bool]) -> IPAddress | None:
        """An address of this host within `network`, as charon's install_routes would take for its
        routes; None without one.

        Where the network is wider than the host's own subnet in it, `is_unfit` says which addresses
        may not be it.
        """
        preferred = _address(self._route_to(address_in(network)), "RTA_PREFSRC")
        if preferred is not None and preferred in network:
            return preferred
        # The network is wider than the subnet that the host has in it: only the list of all
        # addresses tells.
        wanted = message(ifaddrmsg, family=AF[network.version])
        for told in self._namespace.dump(RTM_GETADDR, wanted):
            own = _ip(own_address(told))
            if own is not None and own in network and not is_unfit(own):
                return own
        return None

    def inner_address(self, family: int, outside: IPAddress) -> IPAddress | None:
        """The one private address that this host has beside those of its uplink and of our links.

        None where there is none, or several. The uplink is what packets to `outside` leave by.
        """
        route = self._route_to(outside)
        uplink = None if route is None else route.get_attr("RTA_OIF")
        found = []
        for told in self._namespace.dump(RTM_GETADDR, message(ifaddrmsg, family=AF[family])):
            own = _ip(own_address(told))
            if own is None or not _is_private(own) or told["index"] == uplink:
                continue
            if self._namespace.is_in_use(told["index"]):
                found.append(own)
        if len(found) != 1:
            return None
        return found[0]

    def has_rule_to(self, table: int, family: int) -> bool:
        """Whether any rule looks up this table."""
        wanted = message(fib_rule_hdr, family=AF[family])
        return any(looked_up(told) == table for told in self._namespace.dump(RTM_GETRULE, wanted))

    def inverted_mark_of_rule_to(self, table: int, family: int) -> int:
        """The mark of a rule that looks up this table for packets without it; 0 for none."""
        wanted = message(fib_rule_hdr, family=AF[family])
        for told in self._namespace.dump(RTM_GETRULE, wanted):
            if looked_up(told) == table and told["flags"] & FIB_RULE_INVERT:
                return int(told.get_attr("FRA_FWMARK") or 0)
        return 0

    def own_source(
        self,
        destination: IPAddress,
        mark: int = 0,
        port: int = 0,
    ) -> IPAddress | None:
        """The source that the kernel chooses for a packet of this host; None where it has no way.

        `port` is that of UDP. With 0, no protocol is told.
        """
        wanted = _question(destination)
        if mark:
            wanted["attrs"].append(("RTA_MARK", mark))
        if port:
            wanted["attrs"] += _udp(port)
        try:
            route = self._namespace.request(RTM_GETROUTE, wanted)[0]
        except NetlinkError:
            return None
        return _address(route, "RTA_PREFSRC")

    def vrf_table(self, name: str) -> int | None:
        """The table of a VRF; None where no link of this name is one."""
        return vrf_table(self._namespace.link(name))

    def device(self, link: Link) -> int | None:
        """The ifindex of the underlying link; None for none.

        Raises Refusal where it is not there.
        """
        ifindex = self.ifindex(link.device)
        if ifindex is None:
            what = f"there is no link {shown(link.device)} to bind the tunnel to"
            raise Refusal(what, "correct device in the settings", 1)
        return ifindex or None

    def ifindex(self, name: str) -> int | None:
        """The ifindex of an underlying link; 0 for no name, None where it is not there."""
        if not name:
            return 0
        told = self._namespace.link(name)
        if told is None:
            return None
        return int(told["index"])

    def ifname(self, ifindex: int) -> str:
        """The name of a link; empty for none, and where it is not there."""
        return self._namespace.ifname(ifindex)

    def way_out(self, link: Link) -> int:
        """The ifindex of the link by which the packets of an unbound VTI leave; 0 where it cannot
        be told.
        """
        if link.has_any_end:
            return 0
        assert link.remote is not None
        route = self._route_to(link.remote, link.local)
        if route is None:
            return 0
        return int(route.get_attr("RTA_OIF") or 0)

    def _route_of(self, packet: OuterPacket) -> Any | None:
        """The route of an outer packet; None where there is none.

        It is asked for as UDP, since the kernel takes no ESP in a question, and rules for ports
        are for this. The peer's port is not known. IPv4 takes no source that is not an address of
        this host, as may be while it changes. Linux before 4.19 takes no protocol.
        """
        whole = _question(packet.destination, packet.source)
        whole["attrs"] += _udp(packet.port)
        without_ports = _question(packet.destination, packet.source)
        without_source = _question(packet.destination)
        for wanted in (whole, without_ports, without_source):
            if packet.mark:
                wanted["attrs"].append(("RTA_MARK", packet.mark))
            try:
                return self._namespace.request(RTM_GETROUTE, wanted)[0]
            except NetlinkError as error:
                if error.errno not in REFUSED:
                    return None  # It is unreachable.
        return None

    def _route_to(self, destination: IPAddress, source: IPAddress | None = None) -> Any | None:
        """What the kernel's own look-up of a route says; None where there is none."""
        wanted = _question(destination, source)
        try:
            return self._namespace.request(RTM_GETROUTE, wanted)[0]
        except NetlinkError:
            return None  # It is unreachable, or `source` is not this host's.


def _question(destination: IPAddress, source: IPAddress | None = None) -> Any:
    """The message that asks for the route of a packet."""
    bits = destination.max_prefixlen
    wanted = message(rtmsg, family=AF[destination.version], dst_len=bits)
    wanted["attrs"] = [("RTA_DST", destination.packed)]
    if source is not None:
        wanted["src_len"] = bits
        wanted["attrs"].append(("RTA_SRC", source.packed))
    if destination.version == 4:
        # IPv6 tells the table by itself, and takes no such flag.
        wanted["flags"] = RTM_F_LOOKUP_TABLE
    return wanted


def _udp(port: int) -> list[tuple[str, int]]:
    """What a question has of a packet of UDP from this port."""
    return [
        ("RTA_IP_PROTO", socket.IPPROTO_UDP),
        ("RTA_SPORT", port),
        ("RTA_DPORT", NAT_PORT),
    ]


def _is_private(ip: IPAddress) -> bool:
    """Whether it is of a site (RFC 1918, RFC 4193)."""
    return any(ip in ip_network(net) for net in PRIVATE if ip.version == ip_network(net).version)


def _name_servers(path: str) -> list[IPAddress]:
    """The addresses of a resolv.conf(5)."""
    try:
        with open(path, "rb") as file:
            raw = file.read(RESOLV_CONF_BYTES)
    except OSError:
        return []
    servers = []
    for line in raw.decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            servers.append(address(words[1]))
        except ValueError:
            continue  # It has a scope ID, as link-local addresses have.
    return servers


def _address(route: Any | None, attribute: str) -> IPAddress | None:
    if route is None:
        return None
    return _ip(route.get_attr(attribute))


def _ip(raw: Any | None) -> IPAddress | None:
    """The address that these bytes are; None for none."""
    if raw is None:
        return None
    return ip_address(bytes(raw))


# The routes that the host has


def host_routes(
    namespace: Namespace,
    network: IPNetwork,
    table: int,
) -> HostRoutes:
    """What a table of a namespace says of a network, but for what is ours."""
    wanted = message(rtmsg, family=AF[network.version], type=RTN_UNICAST)
    wanted["attrs"] = [("RTA_TABLE", table)]
    try:
        told = namespace.raw_dump(RTM_GETROUTE, wanted)
    except OSError:
        return HostRoutes()  # There is no such table, or no such namespace.
    reading = _HostRoutes(namespace, network, table)
    for data in told:
        reading.read(data)
    return HostRoutes(tuple(reading.routes), tuple(reading.next_hops()))


class _HostRoutes:
    """Reads the messages of a table's routes, which may be thousands.

    So nothing is decoded but what is needed, and what many have in common is read once.
    """

    def __init__(
        self,
        namespace: Namespace,
        network: IPNetwork,
        table: int,
    ) -> None:
        self._namespace = namespace
        self._network = network
        self._number = int(network.network_address)
        self._table = table
        length = RTATTR.size + network.max_prefixlen // 8
        self._dst = RTATTR.pack(length, RTA_DST)
        """How the attribute of a route's network begins."""
        self._seen: set[bytes] = set()
        self._hops: dict[Hop, None] = {}
        self._ours: dict[int, bool] = {}
        self._has_part = False
        """Whether a route through a gateway is there to a part of the network. One is enough."""
        self.routes: list[HostRoute] = []

    def read(self, data: bytes) -> None:
        family, prefixlen, protocol, kind, flags = RTMSG.unpack_from(data)
        if protocol == PROTOCOL or kind != RTN_UNICAST or flags & RTM_F_CLONED:
            return
        if family != AF[self._network.version]:
            return
        raw, rest = self._split(data)
        if rest not in self._seen:
            self._seen.add(rest)
            self._read_hops(rest)
        if self._overlaps(raw, prefixlen):
            self._add(raw, prefixlen, attributes_of(rest))

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        """The bytes of the network, and the other attributes, which many routes have in common.

        The kernel puts the network behind the table. A default route has none.
        """
        start = RTMSG_END + RTATTR.size + TABLE_BYTES
        end = start + len(self._dst)
        if data[start:end] != self._dst:
            attributes = attributes_of(data[RTMSG_END:])
            return attributes.get(RTA_DST, b""), data[RTMSG_END:]
        behind = end + self._network.max_prefixlen // 8
        return data[end:behind], data[RTMSG_END:start] + data[behind:]

    def _read_hops(self, rest: bytes) -> None:
        attributes = attributes_of(rest)
        if _int(attributes.get(RTA_TABLE)) == self._table:
            self._hops.update(dict.fromkeys(_hops(attributes)))

    def _overlaps(self, raw: bytes, prefixlen: int) -> bool:
        """Whether the shorter of the two prefixes is that of both networks."""
        shorter = min(prefixlen, self._network.prefixlen)
        different = int.from_bytes(raw, "big") ^ self._number
        return different >> (self._network.max_prefixlen - shorter) == 0

    def _add(
        self,
        raw: bytes,
        prefixlen: int,
        attributes: Attributes,
    ) -> None:
        if _int(attributes.get(RTA_TABLE)) != self._table:
            return  # Linux before 4.20 tells of all tables.
        hops = list(_hops(attributes))
        is_connected = _is_connected(attributes, hops)
        is_another_part = prefixlen > self._network.prefixlen and not is_connected
        if is_another_part and self._has_part:
            return
        ifindexes = [ifindex for ifindex, _ in hops]
        if ifindexes and all(map(self._is_ours, ifindexes)):
            return
        self._has_part = self._has_part or is_another_part
        nothing = bytes(self._network.max_prefixlen // 8)
        metric = _int(attributes.get(RTA_PRIORITY)) or DEFAULT_METRIC[self._network.version]
        route = HostRoute(
            network=ip_network((raw or nothing, prefixlen)),
            metric=metric,
            by=self._name(ifindexes),
            is_connected=is_connected,
        )
        self.routes.append(route)

    def _name(self, ifindexes: list[int]) -> str:
        """The name of the first of these links, as a line has it."""
        for ifindex in ifindexes:
            return shown(self._namespace.ifname(ifindex)) or "another link"
        return "another link"

    def next_hops(self) -> Iterator[IPAddress]:
        """The gateways within the network. Those on our links are not the host's."""
        for ifindex, gateway in self._hops:
            if not gateway or not self._overlaps(gateway, self._network.max_prefixlen):
                continue
            if not self._is_ours(ifindex):
                yield ip_address(gateway)

    def _is_ours(self, ifindex: int) -> bool:
        if ifindex not in self._ours:
            self._ours[ifindex] = self._namespace.is_ours(ifindex)
        return self._ours[ifindex]


def attributes_of(data: bytes, start: int = 0) -> Attributes:
    """The attributes from this place on, by their number."""
    found: Attributes = {}
    while start < len(data):
        length, kind = RTATTR.unpack_from(data, start)
        found[kind] = data[start + RTATTR.size : start + length]
        start += aligned(length)
    return found


def _is_connected(attributes: Attributes, hops: list[Hop]) -> bool:
    """Whether a route leads to its network without a gateway."""
    if RTA_VIA in attributes or RTA_NH_ID in attributes:
        return False
    return not any(gateway for _, gateway in hops)


def _hops(attributes: Attributes) -> Iterator[Hop]:
    """Each way that a route has."""
    if RTA_OIF in attributes:
        yield _int(attributes[RTA_OIF]), attributes.get(RTA_GATEWAY, b"")
    several = attributes.get(RTA_MULTIPATH, b"")
    while several:
        length, _, _, ifindex = RTNEXTHOP.unpack_from(several)
        own = attributes_of(several[:length], RTNEXTHOP.size)
        yield ifindex, own.get(RTA_GATEWAY, b"")
        several = several[aligned(length) :]


def _int(raw: bytes | None) -> int:
    return int.from_bytes(raw or b"", sys.byteorder)
