"""A route through a link, or one that says that a network cannot be reached."""

import errno
from collections.abc import Collection, Iterator
from ipaddress import ip_address, ip_network
from shlex import quote
from typing import Any

from ..addresses import IPAddress, IPNetwork
from ..constants import RT_TABLE_MAIN
from ..named_tuple import NamedTuple
from ..netlink import (
    RTM_DELROUTE,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    NetlinkError,
    attributes,
    message,
    nla,
    nlmsg,
)
from ..text import shown
from .address import AF, Address
from .by_netlink import ByNetlink
from .object import HARMLESS, PROTOCOL, Foreign, LinkThere, Namespace, Object, Outcome, Place

DEFAULT_METRIC = {4: 0, 6: 1024}
"""What a route has that was made with none, by family. A `Route` with it has 0.

IPv6's is IP6_RT_PRIO_USER (ipv6_route.h).
"""
NAT_PORT = 4500
"""The port of IKE and of ESP in UDP behind a NAT (RFC 3948)."""
NO_LINK = ""
"""The link of a route that leads nowhere: unreachable, or one that throws."""

RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
RTN_UNICAST, RTN_LOCAL, RTN_UNREACHABLE, RTN_THROW = 1, 2, 7, 9
_WORDS = {RTN_UNREACHABLE: "unreachable", RTN_THROW: "throw"}
"""What `ip route` calls the types of route that lead nowhere."""
LARGEST_TABLE_IN_HEADER = 255
"""A greater number of a table stands in RTA_TABLE alone (rtnetlink.h)."""


class rtmsg(nlmsg):  # type: ignore[misc]
    """rtnetlink.h."""

    __slots__ = ()
    fields = (
        ("family", "B"),
        ("dst_len", "B"),
        ("src_len", "B"),
        ("tos", "B"),
        ("table", "B"),
        ("proto", "B"),
        ("scope", "B"),
        ("type", "B"),
        ("flags", "I"),
    )
    nla_map = (
        (1, "RTA_DST", "cdata"),
        (2, "RTA_SRC", "cdata"),
        (4, "RTA_OIF", "uint32"),
        (5, "RTA_GATEWAY", "cdata"),
        (6, "RTA_PRIORITY", "uint32"),
        (7, "RTA_PREFSRC", "cdata"),
        (8, "RTA_METRICS", "metrics"),
        (15, "RTA_TABLE", "uint32"),
        (16, "RTA_MARK", "uint32"),
        (27, "RTA_IP_PROTO", "uint8"),
        (28, "RTA_SPORT", "be16"),
        (29, "RTA_DPORT", "be16"),
    )

    class metrics(nla):  # type: ignore[misc]
        __slots__ = ()
        nla_map = ((2, "RTAX_MTU", "uint32"),)


class OuterPacket(NamedTuple):
    """A packet of a tunnel's outside, as far as its way depends on it."""

    destination: IPAddress
    source: IPAddress | None = None
    mark: int = 0
    port: int = NAT_PORT
    """The one that it is sent from, if it is ESP in UDP."""


class HostRoute(NamedTuple):
    """A route that the host has, and that is not ours."""

    network: IPNetwork
    metric: int
    by: str
    """The link that it leads to."""
    is_connected: bool
    """Whether its network is on that link, without a gateway."""


class HostRoutes(NamedTuple):
    """What a table of the host says of a network."""

    routes: tuple[HostRoute, ...] = ()
    """Those that have an address in common with it."""
    next_hops: tuple[IPAddress, ...] = ()
    """The gateways within the network, of any route."""


class RouteFields(NamedTuple):
    destination: IPNetwork
    table: int
    metric: int
    """0: the family's default."""
    link_key: str
    """Or NO_LINK."""
    source: IPAddress | None
    """Preferred source of the host's own packets."""
    netns: str = ""
    throws: bool = False
    """Whether the look-up goes on with the next rule, as if the table had no route (RTN_THROW)."""
    only_with: str = ""
    """As `Object.only_with`."""


class Route(RouteFields, ByNetlink):
    """A route.

    Its link is its value, not its key: a host has one such route, and the newest wish leads it.
    """

    __slots__ = ()
    NEW, DELETE = RTM_NEWROUTE, RTM_DELROUTE
    PARSERS = {"destination": ip_network, "source": ip_address}
    MERGED = {"source": "the newest that there is, for the link of the newest route"}
    UNTOLD = ("only_with",)

    @property
    def key(self) -> str:
        where = f" netns {self.netns}" if self.netns else ""
        return f"route {self.destination} table {self.table} metric {self.metric}{where}"

    @property
    def label(self) -> str:
        return f"route {self.destination}"

    def title(self, ifname: str) -> str:
        title = f"{self.label} by {ifname}"
        if self._type != RTN_UNICAST:
            title = f"{_WORDS[self._type]} {self.label}"
        if self.table != RT_TABLE_MAIN:
            title += f" in table {self.table}"
        return title

    @property
    def summary(self) -> str:
        return str(self.destination)

    @property
    def is_unreachable(self) -> bool:
        return self._type == RTN_UNREACHABLE

    @property
    def _type(self) -> int:
        if self.throws:
            return RTN_THROW
        if self.link_key == NO_LINK:
            return RTN_UNREACHABLE
        return RTN_UNICAST

    @property
    def ip(self) -> IPAddress | None:
        return self.source

    @property
    def opinion(self) -> str:
        if self.source is None:
            return ""
        return f"{self.source} {self.link_key}"

    def with_opinion_of(self, older: Object) -> "Route":
        """The newest preferred source. That of a route by another link is no opinion on this one:
        the packets would not fit its selectors.
        """
        if self.source is not None or not isinstance(older, Route):
            return self
        if older.link_key != self.link_key:
            return self
        return self._replace(source=older.source)

    @property
    def _family(self) -> int:
        return self.destination.version

    def goes_along(self, lost: Object, staying: Collection[Object]) -> bool:
        """Whether it goes with an address that is removed.

        The last IPv4 address takes all IPv4 routes of its link along, and an address the routes
        that prefer it; an IPv6 route stays, without its source. Sources: net/ipv4/fib_frontend.c
        fib_inetaddr_event(), fib_semantics.c fib_sync_down_addr(); net/ipv6/route.c
        rt6_remove_prefsrc().
        """
        if not isinstance(lost, Address) or lost.address.version != self._family:
            return False
        if self.source == lost.address.ip:
            return True
        if self._family == 6 or self.link_key != lost.link_key:
            return False
        return not any(_is_ipv4_address_of(other, lost.link_key) for other in staying)

    def commands(self, old: "Route | None", ifname: str) -> list[str]:
        words = self._words("replace" if old else "add", ifname)
        if self.source is not None:
            words += ["src", str(self.source)]
        return [" ".join(words)]

    def removal_commands(self, ifname: str) -> list[str]:
        return [" ".join(self._words("del", ifname))]

    def _words(self, doing: str, ifname: str) -> list[str]:
        words = ["ip", "route", doing]
        if self._family == 6:
            words = ["ip", "-6", "route", doing]
        if self._type == RTN_UNICAST:
            words += [str(self.destination), "dev", quote(ifname)]
        else:
            words += [_WORDS[self._type], str(self.destination)]
        words += ["proto", str(PROTOCOL)]
        if self.table != RT_TABLE_MAIN:
            words += ["table", str(self.table)]
        if self.metric:
            words += ["metric", str(self.metric)]
        return words

    def put(
        self,
        place: Place,
        old: "Route | None",
        last: bool,
    ) -> Outcome:
        """If no link of this host has the preferred source any more, a poorer route is made without
        it.
        """
        try:
            return super().put(place, old, last)
        except NetlinkError as error:
            if not (last and self.source and error.errno == errno.EINVAL):
                raise
        return self._replace(source=None).put(place, old, last)

    def message(self, place: Place) -> Any:
        leads_somewhere = self._type == RTN_UNICAST
        made = self._header(self._type)
        made["scope"] = RT_SCOPE_UNIVERSE
        if self._family == 4 and leads_somewhere:
            made["scope"] = RT_SCOPE_LINK
        oif = place.ifindex if leads_somewhere else None
        source = self.source.packed if self.source else None
        made["attrs"] += attributes((("RTA_OIF", oif), ("RTA_PREFSRC", source)))
        return made

    def removal_message(self, place: Place) -> Any:
        oif = place.known_ifindex if self._type == RTN_UNICAST else None
        return self._removal(oif, self._type)

    def _removal(self, oif: int | None, kind: int) -> Any:
        """What deletes the route of ours with this key, through this link where it is given."""
        made = self._header(kind)
        made["scope"] = RT_SCOPE_NOWHERE  # fib_table_delete() compares the scope unless it is this
        made["attrs"] += attributes((("RTA_OIF", oif),))
        return made

    def _header(self, kind: int) -> Any:
        made = message(
            rtmsg,
            family=AF[self._family],
            dst_len=self.destination.prefixlen,
            table=self.table if self.table <= LARGEST_TABLE_IN_HEADER else 0,
            proto=PROTOCOL,
            type=kind,
        )
        made["attrs"] = attributes(
            (
                ("RTA_DST", self.destination.network_address.packed),
                ("RTA_TABLE", self.table),
                ("RTA_PRIORITY", self.metric or DEFAULT_METRIC[self._family] or None),
            )
        )
        return made

    def in_its_place(self, place: Place) -> Foreign | None:
        for told in self._with_its_key(place):
            if told["proto"] == PROTOCOL and self._is_ours(told, place):
                return None
            oif = told.get_attr("RTA_OIF")
            if self.is_unreachable and told["type"] not in (RTN_UNICAST, RTN_THROW):
                return HARMLESS
            if self.throws and told["type"] == RTN_THROW:
                return HARMLESS
            if oif is not None and oif == place.known_ifindex:
                return HARMLESS
            by = shown(place.namespace.ifname(oif)) or "another link"
            return Foreign(f"a route to {self.destination} by {by}")
        return Foreign(f"a route to {self.destination}")

    def is_there(self, place: Place) -> bool:
        same = self._with_its_key(place, PROTOCOL, place.known_ifindex)
        return any(told["proto"] == PROTOCOL for told in same)

    def take_away(self, place: Place, sure: bool) -> None:
        """Where it is not sure that it stands, or where it leads, every route of ours with its key
        goes.
        """
        if sure and (self._type != RTN_UNICAST or place.known_ifindex is not None):
            place.namespace.request(RTM_DELROUTE, self.removal_message(place))
            return
        for told in list(self._with_its_key(place, PROTOCOL)):
            if not self._is_ours(told, place):
                continue
            oif = told.get_attr("RTA_OIF") if told["type"] == RTN_UNICAST else None
            place.namespace.request(RTM_DELROUTE, self._removal(oif, told["type"]))

    def _is_ours(self, told: Any, place: Place) -> bool:
        """Whether a route of our protocol number is ours: its link says so.

        Another vti-updown has the number, too, and so has a hook that runs in this namespace.
        """
        if told["type"] != RTN_UNICAST:
            return place.holds_ours()
        oif = told.get_attr("RTA_OIF")
        if place.namespace.is_ours(oif):
            return True
        if place.namespace.is_anothers(oif):
            return False
        # A borrowed link says nothing. In a named namespace it may be a hook there that uses it.
        if self.netns:
            return bool(oif == place.known_ifindex)
        return place.holds_ours()

    def _with_its_key(
        self,
        place: Place,
        protocol: int = 0,
        oif: int | None = None,
    ) -> Iterator[Any]:
        """The routes with its key.

        The kernel itself leaves out those of other protocols and links.
        """
        family = AF[self._family]
        wanted = message(rtmsg, family=family, proto=protocol)
        wanted["attrs"] = attributes((("RTA_TABLE", self.table), ("RTA_OIF", oif)))
        for told in place.namespace.dump(RTM_GETROUTE, wanted):
            if told["family"] != family:
                continue
            if read_route(told, self.link_key, self.netns).key == self.key:
                yield told

    @classmethod
    def there(
        cls,
        namespace: Namespace,
        links: Collection[LinkThere],
        known: Collection["Route"] | None,
    ) -> Iterator[tuple["Route", bool]]:
        """Only ours: a host may have a million others."""
        del known
        keys = {link.ifindex: link.key for link in links}
        for told in namespace.dump(RTM_GETROUTE, rtmsg()):
            if told["proto"] != PROTOCOL:
                continue
            if told["type"] in _WORDS:
                yield read_route(told, NO_LINK, namespace.name), True
            elif told["type"] == RTN_UNICAST:
                link_key = keys.get(told.get_attr("RTA_OIF"))
                if link_key is not None:
                    yield read_route(told, link_key, namespace.name), True


def _is_ipv4_address_of(other: Object, link_key: str) -> bool:
    return isinstance(other, Address) and other.link_key == link_key and other.address.version == 4


def read_route(
    told: Any,
    link_key: str,
    netns: str = "",
) -> Route:
    """The route that a message tells of, through the link with this key or NO_LINK."""
    family = 4 if told["family"] == AF[4] else 6
    nothing = bytes(4 if family == 4 else 16)
    raw = bytes(told.get_attr("RTA_DST") or nothing)
    metric = told.get_attr("RTA_PRIORITY") or 0
    source = told.get_attr("RTA_PREFSRC")
    return Route(
        destination=ip_network((raw, told["dst_len"])),
        table=table_of(told),
        metric=0 if metric == DEFAULT_METRIC[family] else metric,
        link_key=link_key,
        source=ip_address(bytes(source)) if source else None,
        netns=netns,
        throws=told["type"] == RTN_THROW,
    )


def table_of(told: Any) -> int:
    """The table that a route's message tells of."""
    return int(told.get_attr("RTA_TABLE") or told["table"])
