"""What the kernel has counted on each link (IFLA_STATS64). It changes nothing."""

import struct

from ..named_tuple import NamedTuple
from ..netlink import RTM_GETLINK
from ..objects.link import ifinfmsg
from .lookup import attributes_of
from .namespace import Namespace

IFINFOMSG, IFINFOMSG_END = struct.Struct("=16xBxHiII"), 32
"""Behind the header: the family, the type, the ifindex, the flags and what has changed."""
IFLA_IFNAME, IFLA_STATS64 = 3, 23


class Counters(NamedTuple):
    """The first of struct rtnl_link_stats64, in its order (if_link.h)."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


class Counted(NamedTuple):
    """A link as it is there."""

    name: str
    counters: Counters


STATS64 = struct.Struct(f"={len(Counters._fields)}Q")


def counters(namespace: Namespace) -> dict[int, Counted]:
    """The name and the counters of each link of a namespace, by its ifindex.

    Only they are decoded: a host may have thousands of links. Raises OSError where there is no such
    namespace.
    """
    counted = {}
    for data in namespace.raw_dump(RTM_GETLINK, ifinfmsg()):
        _, _, ifindex, _, _ = IFINFOMSG.unpack_from(data)
        attributes = attributes_of(data, IFINFOMSG_END)
        name = attributes.get(IFLA_IFNAME, b"").rstrip(b"\0")
        stats = attributes.get(IFLA_STATS64)
        if stats is not None:
            there = Counters(*STATS64.unpack_from(stats))
            counted[ifindex] = Counted(name.decode("utf-8", "replace"), there)
    return counted
