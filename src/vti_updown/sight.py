"""Answers what is in the kernel, and whose. It changes nothing: that is for `kernel`, which is built on it."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import clamp
from . import rtnetlink as rt
from .kind import ip
from .messages import (
    AF,
    GROUP,
    IFF_UP,
    PROTOCOL,
    RTM_F_LOOKUP_TABLE,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    message,
    own_address,
    read_address,
    read_link,
    read_route,
    read_rule,
    underlying,
)
from .namespace import home, names, opened, within
from .state import Address, Applied, Clamp, IPAddress, Link, Noun, Route, Rule, Setting
from .text import shown


class Sight:
    """The network namespace of this process. `links` maps the key of each known link to what was applied for it."""

    def __init__(self) -> None:
        self._sockets = {"": rt.Socket()}
        self.links: dict[str, Applied] = {}

    def namespace(self) -> int:
        return self._sockets[""].namespace()

    def _request(self, netns: str, kind: int, wanted: Any, flags: int = 0) -> list[Any]:
        if netns not in self._sockets:
            with within(netns):
                self._sockets[netns] = rt.Socket()
        return self._sockets[netns].request(kind, wanted, flags)

    # What is there

    def link_exists(self, name_or_index: str | int, netns: str = "") -> bool:
        return self._link(name_or_index, netns) is not None

    def is_ours(self, name: str, netns: str = "") -> bool:
        """Whether the link of this name is there, and ours."""
        found = self._link(name, netns)
        return found is not None and self._is_ours(found, netns)

    def is_there(self, link: Applied) -> bool:
        """Whether a link that was applied is there, whatever its name is now.

        Another may have its ifindex by now: somebody gave it that, or the machine or the namespace has begun to count anew.
        """
        noun = link.noun
        assert isinstance(noun, Link)
        found = None if link.ifindex is None else self._link(link.ifindex, noun.netns)
        there = None if found is None else self._read(found, noun)
        if found is None or there is None or there.kind != noun.kind:
            return False
        if link.borrowed:
            return there.key == noun.key and self._is_at_home(found, noun.netns)
        # One of ours that is in doubt may have the endpoints that it had, or those that it was to have.
        return (there.key == noun.key or not link.sure) and self._is_ours(found, noun.netns)

    def _is_ours(self, found: Any, netns: str) -> bool:
        return bool(found.get_attr("IFLA_GROUP") == GROUP) and self._is_at_home(found, netns)

    def _is_at_home(self, found: Any, netns: str) -> bool:
        """Whether a link that is in the namespace `netns` was made in this one, where its outer packets go."""
        return bool(found.get_attr("IFLA_LINK_NETNSID") == self._number_in(netns))

    def _number_in(self, netns: str) -> int | None:
        """What this namespace is called in another (ip-netns(8), "nsid"); None: it is the same; -1: it is not known there."""
        if not netns:
            return None
        with home() as here, opened(netns) as there:
            if os.path.sameopenfile(here, there):
                return None
            wanted = rt.rtgenmsg()
            wanted["attrs"] = [("NETNSA_FD", here)]
            return int(self._request(netns, rt.RTM_GETNSID, wanted)[0].get_attr("NETNSA_NSID"))

    def table_of(self, destination: IPAddress) -> int:
        """The table whose route packets to `destination` take; 0 where there is no route."""
        found = self._way_to(destination)
        return 0 if found is None else int(found.get_attr("RTA_TABLE") or found["table"])

    def path_mtu(self, destination: IPAddress) -> int | None:
        """Bytes that a packet to `destination` may have: what its route says or has learned, else its link; None where there is
        no route.
        """
        found = self._way_to(destination)
        if found is None:
            return None
        metrics = found.get_attr("RTA_METRICS")
        if metrics is not None and (mtu := metrics.get_attr("RTAX_MTU")):
            return int(mtu)
        link = self._link(found.get_attr("RTA_OIF") or 0)
        return None if link is None else int(link.get_attr("IFLA_MTU"))

    def vrf_table(self, name: str) -> int | None:
        """The table of a VRF; None where no link of this name is one."""
        found = self._link(name)
        info = found.get_attr("IFLA_LINKINFO") if found is not None else None
        if info is None or info.get_attr("IFLA_INFO_KIND") != "vrf":
            return None
        return int(info.get_attr("IFLA_INFO_DATA").get_attr("IFLA_VRF_TABLE"))

    def next_hop(self, destination: IPAddress) -> IPAddress | None:
        """The gateway on the way to `destination`; None where it is on a link, or cannot be reached."""
        return self._looked_up(destination, "RTA_GATEWAY")

    def source(self, net: Any, unfit: Callable[[IPAddress], bool]) -> IPAddress | None:
        """An address of this host within `net`, as charon's install_routes would take for its routes; None without one.

        Where the network is wider than the host's own subnet in it, `unfit` says which addresses may not be it.
        """
        found = self._looked_up(net[1] if net.num_addresses > 2 else net[0], "RTA_PREFSRC")
        if found is not None and found in net:
            return found
        # The network is wider than the subnet that the host has in it: only the list of all addresses tells.
        for one in self._dump(rt.RTM_GETADDR, message(rt.ifaddrmsg, family=AF[net.version])):
            raw = own_address(one)
            if raw is not None and (found := ip(raw)) in net and not unfit(found):
                return found
        return None

    def _looked_up(self, destination: IPAddress, attribute: str) -> IPAddress | None:
        found = self._way_to(destination)
        raw = None if found is None else found.get_attr(attribute)
        return None if raw is None else ip(raw)

    def _way_to(self, destination: IPAddress, source: IPAddress | None = None) -> Any | None:
        """What the kernel's own look-up of a route says; None where there is none."""
        bits = destination.max_prefixlen
        wanted = message(rt.rtmsg, family=AF[destination.version], dst_len=bits, src_len=bits if source else 0)
        if destination.version == 4:  # IPv6 tells the table by itself, and takes no such flag
            wanted["flags"] = RTM_F_LOOKUP_TABLE
        wanted["attrs"] = rt.attributes((("RTA_DST", destination.packed), ("RTA_SRC", source and source.packed)))
        try:
            return self._request("", rt.RTM_GETROUTE, wanted)[0]
        except rt.NetlinkError:  # unreachable, or `source` is not this host's
            return None

    def _way_out(self, link: Link) -> int:
        """The ifindex of the link by which the packets of an unbound VTI leave; 0 where it cannot be told."""
        if link.local is None or link.remote is None or link.local.is_unspecified or link.remote.is_unspecified:
            return 0
        found = self._way_to(link.remote, link.local)
        return 0 if found is None else int(found.get_attr("RTA_OIF") or 0)

    def _link(self, name_or_index: str | int, netns: str = "") -> Any | None:
        wanted = rt.ifinfmsg()
        if isinstance(name_or_index, int):
            wanted["index"] = name_or_index
        else:
            wanted["attrs"] = [("IFLA_IFNAME", name_or_index)]
        try:
            return self._request(netns, rt.RTM_GETLINK, wanted)[0]
        except FileNotFoundError:  # the namespace is gone, and all in it
            return None
        except rt.NetlinkError as error:
            if error.errno in (errno.ENODEV, errno.EINVAL):
                return None
            raise

    def _dump(self, kind: int, wanted: Any, netns: str = "") -> list[Any]:
        return self._request(netns, kind, wanted, rt.NLM_F_DUMP)

    def same_link(self, link: Link) -> Applied | None:
        """A link that is there with this one's key, whatever its name, and whether it is borrowed."""
        netns = link.netns
        wanted = rt.ifinfmsg()
        wanted["attrs"] = [("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", link.kind)]})]
        device = self._name_to_index(link.device)
        try:
            there = self._dump(rt.RTM_GETLINK, wanted, netns)
        except FileNotFoundError:
            return None
        bound: Applied | None = None
        for found in there:
            same = self._read(found, link)
            if same is None or same.key != link.key or not self._is_at_home(found, netns):
                continue
            there_is = Applied(same, True, found["index"], not self._is_ours(found, netns))
            # The underlying link is part of what a VTI is known by, but not of what an XFRM interface is.
            on = underlying(found)
            # Where that is gone, the tunnel that was bound to it still has its number.
            if link.local is None or on == device or (device is None and on and not self._name(on)):
                return there_is
            # Bound where ours would not be, it gets ours' packets all the same, and so is in its place.
            if device == 0 and (link.kind == "vti6" or on == self._way_out(link)):
                bound = there_is._replace(borrowed=True)
        return bound

    def _read(self, found: Any, link: Link) -> Link | None:
        """The tunnel interface that a message tells of, on the underlying link of `link` and in its namespace."""
        read = read_link(found, link.netns)
        return read and read._replace(device=link.device, master=self._name(found.get_attr("IFLA_MASTER"), link.netns))

    def _name_to_index(self, name: str) -> int | None:
        """The ifindex of an underlying link; 0 for no name, None where it is not there."""
        found = self._link(name) if name else {"index": 0}
        return None if found is None else int(found["index"])

    def ours(self) -> list[Applied]:
        """All of ours, by group and protocol number: links, their settings, what is on them. In other namespaces, what is where
        a link of ours is: the rest may be of a hook there.
        """
        found = self._ours("")
        for netns in names():
            try:
                found += self._ours(netns)
            except OSError:  # no namespace, or gone
                continue
        return found

    def _ours(self, netns: str) -> list[Applied]:
        links = [
            Applied(self._with_places(link, found), True, found["index"])
            for found in self._dump(rt.RTM_GETLINK, rt.ifinfmsg(), netns)
            if self._is_ours(found, netns) and (link := read_link(found, netns)) is not None
        ]
        if netns and not links:
            return []
        settings = [
            Applied(setting)
            for one in links
            for family in ("ipv4", "ipv6")
            if self._setting(setting := Setting(one.noun.key, family, "disable_policy", 1), one) == setting.value
        ]
        standing = self._standing({one.ifindex: one.noun.key for one in links if one.ifindex is not None}, netns)
        clamps = [Applied(found) for one in links if (found := self._clamp_of(one)) is not None]
        return [*links, *settings, *(Applied(noun) for noun, protocol in standing if protocol == PROTOCOL), *clamps]

    def _with_places(self, link: Link, found: Any) -> Link:
        return link._replace(device=self._name(underlying(found)), master=self._name(found.get_attr("IFLA_MASTER"), link.netns))

    def _clamp_of(self, link: Applied) -> Clamp | None:
        """The clamp that is on a link."""
        noun = link.noun
        assert isinstance(noun, Link)
        with within(noun.netns):
            sizes = clamp.sizes(noun.name)
        return None if sizes is None else Clamp(noun.key, noun.name, *sizes, noun.netns)

    def astray(self, applied: Mapping[str, Applied]) -> list[str]:
        """The keys of what is not there as it was applied: gone, changed, or a link that was set down."""
        lost: list[str] = []
        for netns in {netns_of_noun(one.noun, applied) for one in applied.values()}:
            mine = {key: one for key, one in applied.items() if netns_of_noun(one.noun, applied) == netns}
            try:
                there = self._there(mine, netns)
            except FileNotFoundError:
                there = {}
            lost += [key for key, one in mine.items() if there.get(key) != one.noun]
        return lost

    def _there(self, applied: Mapping[str, Applied], netns: str) -> dict[str, Noun]:
        """What of `applied`, all in one namespace, is there, by key; what the user may change is as it was applied."""
        names = {one.ifindex: key for key, one in applied.items() if one.ifindex is not None}
        there: dict[str, Noun] = {noun.key: noun for noun, _ in self._standing(names, netns)}
        for found in self._dump(rt.RTM_GETLINK, rt.ifinfmsg(), netns):
            key = names.get(found["index"])
            if key is not None and found["flags"] & IFF_UP and (link := read_link(found, netns)) is not None:
                was = applied[key].noun
                assert isinstance(was, Link)
                free = {name: getattr(was, name) for name in ("name", "alias", "device", "own_link_local")}
                link = link._replace(
                    **free, master=self._name(found.get_attr("IFLA_MASTER"), netns), mtu=link.mtu if was.mtu else 0
                )
                there[key] = was if applied[key].borrowed else link
        for key, one in applied.items():
            if isinstance(one.noun, Clamp):
                with within(netns):
                    sizes = clamp.sizes(one.noun.name)
                there |= {} if sizes is None else {key: one.noun._replace(ipv4=sizes[0], ipv6=sizes[1])}
            elif isinstance(one.noun, Setting) and self._setting(one.noun, applied.get(one.noun.link)) == one.noun.value:
                there[key] = one.noun
        return there

    def _name(self, index: int | None, netns: str = "") -> str:
        """The name of a link; empty for none."""
        found = self._link(index, netns) if index else None
        return "" if found is None else str(found.get_attr("IFLA_IFNAME"))

    def _standing(self, names: Mapping[int, str], netns: str = "") -> Iterator[tuple[Address | Route | Rule, int | None]]:
        """The addresses on these links (key by ifindex), the routes of ours through them or unreachable, and our rules, with
        their protocol numbers.
        """
        for found in self._dump(rt.RTM_GETADDR, rt.ifaddrmsg(), netns):
            if own_address(found) and (link := names.get(found["index"])) is not None:
                yield read_address(found, link), found.get_attr("IFA_PROTO")
        for found in self._dump(rt.RTM_GETROUTE, rt.rtmsg(), netns):
            if found["proto"] != PROTOCOL:
                continue
            if found["type"] == RTN_UNREACHABLE:
                yield read_route(found, "", netns), PROTOCOL
            elif found["type"] == RTN_UNICAST and (link := names.get(found.get_attr("RTA_OIF"))) is not None:
                yield read_route(found, link, netns), PROTOCOL
        for found in self._dump(rt.RTM_GETRULE, rt.fib_rule_hdr(), netns):
            if found.get_attr("FRA_PROTOCOL") == PROTOCOL and (noun := read_rule(found)) is not None:
                yield noun, PROTOCOL

    def _setting(self, setting: Setting, where: Applied | None) -> int | None:
        netns = netns_of(where)
        link = self._link(where.ifindex, netns) if where is not None and where.ifindex is not None else None
        if link is None:
            return None
        try:
            with within(netns), open(sysctl_path(setting, link), encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    # Whose it is

    def _look_at_address(self, noun: Address) -> str | None:
        """Whose the address on that link is: None if it is ours, else what it is. On a link of ours it is ours."""
        where = self.links[noun.link]
        if not where.borrowed:
            return None
        wanted = message(rt.ifaddrmsg, family=AF[noun.address.version], index=where.ifindex)
        for found in self._dump(rt.RTM_GETADDR, wanted, netns_of(where)):
            if found["index"] == where.ifindex and read_address(found, noun.link) == noun:
                return None if found.get_attr("IFA_PROTO") == PROTOCOL else ""
        return ""

    def _look_at_route(self, noun: Route) -> str | None:
        """Whose the route in this one's place is: None if it is ours, empty if it leads where ours would, else what it is."""
        where = self.links.get(noun.link)
        for found in self._routes(noun):
            if found["proto"] == PROTOCOL:
                return None
            other = found.get_attr("RTA_OIF")
            if (where is not None and other == where.ifindex) or (not noun.link and found["type"] != RTN_UNICAST):
                return ""
            link = self._link(other, noun.netns) if other else None
            return f"a route to {noun.destination} by {shown(link.get_attr('IFLA_IFNAME')) if link else 'another link'}"
        return f"a route to {noun.destination}"

    def _has(self, noun: Route) -> bool:
        """Whether the route is there and ours. Another may have taken its place, and is not to be replaced."""
        where = self.links.get(noun.link)
        return any(found["proto"] == PROTOCOL for found in self._routes(noun, PROTOCOL, where and where.ifindex))

    def _routes(self, noun: Route, protocol: int = 0, index: int | None = None) -> Iterator[Any]:
        """The routes with this one's key. The kernel itself leaves out those of other protocols and links."""
        family = AF[noun.destination.version]
        wanted = message(rt.rtmsg, family=family, proto=protocol)
        wanted["attrs"] = rt.attributes((("RTA_TABLE", noun.table), ("RTA_OIF", index)))
        for found in self._dump(rt.RTM_GETROUTE, wanted, noun.netns):
            if found["family"] == family and read_route(found, noun.link, noun.netns).key == noun.key:
                yield found

    def close(self) -> None:
        for one in self._sockets.values():
            one.close()


def netns_of(where: Applied | None) -> str:
    """The namespace of a link."""
    return where.noun.netns if where is not None and isinstance(where.noun, Link) else ""


def netns_of_noun(noun: Noun, applied: Mapping[str, Applied]) -> str:
    """The namespace that an object is in."""
    if isinstance(noun, Link | Route | Clamp):
        return noun.netns
    return netns_of(applied.get(noun.link))


def sysctl_path(setting: Setting, link: Any) -> str:
    return f"/proc/sys/net/{setting.family}/conf/{link.get_attr('IFLA_IFNAME')}/{setting.name}"
