"""How the kernel routes a packet of this host: what `ip route get` tells. It changes nothing."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from ..addresses import IPAddress, IPNetwork, address_in
from ..netlink import RTM_GETADDR, RTM_GETROUTE, RTM_GETRULE, NetlinkError, message
from ..objects.address import AF, ifaddrmsg, own_address
from ..objects.link import Link, vrf_table
from ..objects.route import rtmsg, table_of
from ..objects.rule import fib_rule_hdr, looked_up
from ..text import Refusal, shown
from .namespace import Namespace

RTM_F_LOOKUP_TABLE = 0x1000
"""Asks for the table that a looked-up route is in."""


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

    def path_mtu(self, destination: IPAddress) -> int | None:
        """Bytes that a packet to `destination` may have: what its route says or has learned, else
        its link.

        None where there is no route.
        """
        route = self._route_to(destination)
        if route is None:
            return None
        metrics = route.get_attr("RTA_METRICS")
        if metrics is not None and metrics.get_attr("RTAX_MTU"):
            return int(metrics.get_attr("RTAX_MTU"))
        link = self._namespace.link(route.get_attr("RTA_OIF"))
        if link is None:
            return None
        return int(link.get_attr("IFLA_MTU"))

    def next_hop(self, destination: IPAddress) -> IPAddress | None:
        """The gateway on the way to `destination`; None where it is on a link, or cannot be
        reached.
        """
        return _address(self._route_to(destination), "RTA_GATEWAY")

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

    def has_rule_to(self, table: int, family: int) -> bool:
        """Whether any rule looks up this table."""
        wanted = message(fib_rule_hdr, family=AF[family])
        return any(looked_up(told) == table for told in self._namespace.dump(RTM_GETRULE, wanted))

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

    def _route_to(self, destination: IPAddress, source: IPAddress | None = None) -> Any | None:
        """What the kernel's own look-up of a route says; None where there is none."""
        bits = destination.max_prefixlen
        wanted = message(rtmsg, family=AF[destination.version], dst_len=bits)
        wanted["attrs"] = [("RTA_DST", destination.packed)]
        if source is not None:
            wanted["src_len"] = bits
            wanted["attrs"].append(("RTA_SRC", source.packed))
        if destination.version == 4:
            # IPv6 tells the table by itself, and takes no such flag.
            wanted["flags"] = RTM_F_LOOKUP_TABLE
        try:
            return self._namespace.request(RTM_GETROUTE, wanted)[0]
        except NetlinkError:
            return None  # It is unreachable, or `source` is not this host's.


def _address(route: Any | None, attribute: str) -> IPAddress | None:
    if route is None:
        return None
    return _ip(route.get_attr(attribute))


def _ip(raw: Any | None) -> IPAddress | None:
    """The address that these bytes are; None for none."""
    if raw is None:
        return None
    return ip_address(bytes(raw))
