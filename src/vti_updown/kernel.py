"""Takes steps in the kernel, and answers what is there. With `rtnetlink`, the only module that speaks netlink.

A step's object may be there already, made by us (an event that died) or by somebody else. Adding says which: whatever
is ours is taken over, whatever is not is left alone. `messages` says how ours is told.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from . import clamp
from . import rtnetlink as rt
from .bound import is_bound
from .errors import Refusal
from .messages import (
    AF,
    GROUP,
    IFF_MULTICAST,
    IFF_UP,
    IN6_ADDR_GEN_MODE_EUI64,
    IN6_ADDR_GEN_MODE_NONE,
    PROTOCOL,
    RTM_F_LOOKUP_TABLE,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    address,
    ip,
    link_info,
    link_local_mode,
    message,
    own_address,
    policy_off,
    read_address,
    read_link,
    read_route,
    read_rule,
    route,
    route_gone,
    rule,
    underlying,
)
from .namespace import home, names, opened, within
from .state import Address, Applied, Clamp, IPAddress, Link, Noun, Route, Rule, Setting, Step, about
from .text import shown

N = TypeVar("N", Address, Route)


ON_ITS_WAY = "vti-updown-new"
"""What a link is called that was made here and is to be moved. With a name of its own it cannot be taken for a tunnel that is
here to stay, and needs no name that is taken here."""


class Outcome(NamedTuple):
    """How a step ended that did not fail."""

    applied: Applied | None
    """What is now there and ours; None where nothing is."""
    foreign: str | None = None
    """What is there, and is not ours, so that the step was not taken; empty where that does no harm."""


class KernelError(Refusal):
    """A step that the kernel refused: status 1."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(what, HINTS.get(number, "try it by hand: run the hook with --dry-run"), 1)
        self.number = number


HINTS = {
    errno.EPERM: "the hook needs CAP_NET_ADMIN, as charon has",
    errno.EACCES: "is IPv6 off? see sysctl net.ipv6.conf.all.disable_ipv6",
    errno.EOPNOTSUPP: "load the module: modprobe ip_vti (IPv6 endpoints: ip6_vti; if_id: xfrm_interface)",
    errno.ENETDOWN: "set the link up: ip link set LINK up",
    errno.ENOBUFS: "the kernel is out of memory for it",
    errno.ENOMEM: "the kernel is out of memory for it",
}


class Kernel:
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
        """Whether a link that was applied is there, whatever its name is now."""
        noun = link.noun
        assert isinstance(noun, Link)
        found = None if link.ifindex is None else self._link(link.ifindex, noun.netns)
        if found is None or not noun.netns:
            return found is not None
        # The namespace may be another one of that name, which gives the same numbers out.
        there = read_link(found) if self._is_at_home(found, noun.netns) else None
        return there is not None and there.kind == noun.kind

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
        device = self._device(link)
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
            if link.local is None or on == (device or 0):
                return there_is
            # Bound where ours would not be, it gets ours' packets all the same, and so is in its place.
            if not device and (link.kind == "vti6" or on == self._way_out(link)):
                bound = there_is._replace(borrowed=True)
        return bound

    def _read(self, found: Any, link: Link) -> Link | None:
        """The tunnel interface that a message tells of, on the underlying link of `link` and in its namespace."""
        read = read_link(found, link.netns)
        return read and read._replace(device=link.device, master=self._name(found.get_attr("IFLA_MASTER"), link.netns))

    def _clear_way(self) -> bool:
        """Takes away what an event that died has made here and not yet moved to its namespace; whether there was any."""
        half = self._link(ON_ITS_WAY)
        if half is None or not self._is_ours(half, ""):
            return False
        self._request("", rt.RTM_DELLINK, message(rt.ifinfmsg, index=half["index"]))
        return True

    def _device(self, link: Link) -> int | None:
        """The ifindex of the underlying link; None for none. Raises Refusal where it is not there."""
        if not link.device:
            return None
        found = self._link(link.device)
        if found is None:
            raise Refusal(f"there is no link {shown(link.device)} to bind the tunnel to", "correct device in the settings", 1)
        return int(found["index"])

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
        for netns in {_netns(one.noun, applied) for one in applied.values()}:
            mine = {key: one for key, one in applied.items() if _netns(one.noun, applied) == netns}
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
        netns = _netns_of(where)
        link = self._link(where.ifindex, netns) if where is not None and where.ifindex is not None else None
        if link is None:
            return None
        try:
            with within(netns), open(_sysctl(setting, link), encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    # Steps

    def take(self, step: Step, sure: bool = True, last: bool = False) -> Outcome:
        """Takes one step. `sure` is False where it is not known whether the object is there, or whose it is; `last` is True
        where a route is better made without its preferred source, if no link of this host has that any more, than not at all.

        Raises KernelError where the kernel refuses it; the object is then as it was, or (a link) half made.
        """
        noun = step.noun
        try:
            if step.new is None:
                self._remove(noun, sure)
                return Outcome(None)
            return self._put(noun, step.old, last)
        except OSError as error:
            raise _refused(step, error) from None

    def _put(self, noun: Noun, old: Noun | None, last: bool) -> Outcome:
        if isinstance(noun, Link):
            return self._put_link(noun, old is None)
        if isinstance(noun, Rule):
            return self._put_rule(noun)
        if isinstance(noun, Route):
            return self._put_route(noun, old, last)
        where = self._where(about(noun))
        if isinstance(noun, Clamp):
            return self._put_clamp(noun, where)
        if isinstance(noun, Setting):
            return Outcome(None, "") if where.borrowed else self._put_setting(noun, where)
        return self._add(noun, lambda: address(noun, where.ifindex), old is None)

    def _where(self, link: str) -> Applied:
        """The link with this key. Raises OSError where it is not there."""
        where = self.links.get(link)
        if where is None or where.ifindex is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return where

    def _put_route(self, noun: Route, old: Noun | None, last: bool) -> Outcome:
        index = self._where(noun.link).ifindex if noun.link else None
        new = not (isinstance(old, Route) and self._has(old))
        try:
            return self._add(noun, lambda: route(noun, index), new)
        except rt.NetlinkError as error:
            if not (last and noun.source and error.errno == errno.EINVAL):
                raise
        return self._put_route(noun._replace(source=None), old, last)

    def _add(self, noun: N, build: Callable[[], Any], new: bool) -> Outcome:
        """Adds an address or a route. If one is there already: ours is replaced, another's is left."""
        netns, request = _netns(noun, self.links), rt.RTM_NEWADDR if isinstance(noun, Address) else rt.RTM_NEWROUTE
        if new:
            try:
                self._request(netns, request, build(), rt.NLM_F_CREATE | rt.NLM_F_EXCL)
                return Outcome(Applied(noun))
            except rt.NetlinkError as error:
                if error.errno != errno.EEXIST:
                    raise
            foreign = self._look_at_address(noun) if isinstance(noun, Address) else self._look_at_route(noun)
            if foreign is not None:
                return Outcome(None, foreign)
        self._request(netns, request, build(), rt.NLM_F_CREATE | rt.NLM_F_REPLACE)
        return Outcome(Applied(noun))

    def _put_rule(self, noun: Rule) -> Outcome:
        try:
            self._request("", rt.RTM_NEWRULE, rule(noun), rt.NLM_F_CREATE | rt.NLM_F_EXCL)
        except rt.NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            wanted = message(rt.fib_rule_hdr, family=AF[noun.family])
            same = [found for found in self._dump(rt.RTM_GETRULE, wanted) if read_rule(found) == noun]
            if not any(found.get_attr("FRA_PROTOCOL") == PROTOCOL for found in same):
                return Outcome(None, "")  # somebody else's says the same
        return Outcome(Applied(noun))

    def _put_clamp(self, noun: Clamp, where: Applied) -> Outcome:
        assert isinstance(where.noun, Link)
        made = noun._replace(name=where.noun.name)
        with within(noun.netns):
            why = clamp.put(made.name, made.ipv4, made.ipv6)
        return Outcome(Applied(made)) if why is None else Outcome(None, why)

    def _put_link(self, link: Link, new: bool) -> Outcome:
        known = self.links.get(link.key)
        found = None
        if known is not None and known.ifindex is not None and not (new and known.borrowed):
            found = self._as_it_is(known, link) if new else known
        if found is None:
            found = self._created(link)
            if found.borrowed:
                self.links[link.key] = found
                return Outcome(found)
        was, index = found.noun, found.ifindex
        assert isinstance(was, Link) and index is not None
        if link.own_link_local != was.own_link_local or (new and link.own_link_local):
            mode = IN6_ADDR_GEN_MODE_NONE if link.own_link_local else IN6_ADDR_GEN_MODE_EUI64
            self._request(link.netns, rt.RTM_NEWLINK, link_local_mode(index, mode))
        wanted = message(rt.ifinfmsg, index=index, flags=IFF_UP | (IFF_MULTICAST if link.multicast else 0))
        wanted["change"] = IFF_UP | IFF_MULTICAST
        same = (was.kind, was.local, was.remote, was.okey, was.ikey, was.if_id) == link[:3] + link[4:6] + (link.if_id,)
        wanted["attrs"] = rt.attributes(
            (
                ("IFLA_IFALIAS", link.alias),
                ("IFLA_MTU", link.mtu or None),
                ("IFLA_MASTER", None if was.master == link.master else self._index(link.master, link.netns)),
                ("IFLA_LINKINFO", None if same else link_info(link, self._device(link))),
            )
        )
        self._request(link.netns, rt.RTM_NEWLINK, wanted)
        self.links[link.key] = Applied(link._replace(name=was.name), True, index)
        return Outcome(self.links[link.key])

    def _as_it_is(self, known: Applied, link: Link) -> Applied | None:
        """The link that is to become `link`, whatever was done of it; None where it is gone."""
        found = self._link(known.ifindex, link.netns) if known.ifindex is not None and self.is_there(known) else None
        there = None if found is None else self._read(found, link)
        return None if there is None else known._replace(noun=there)

    def _index(self, name: str, netns: str) -> int:
        """The ifindex of a link that a setting names; 0 for no name."""
        if not name:
            return 0
        found = self._link(name, netns)
        if found is None:
            raise OSError(errno.ENODEV, f"there is no link {shown(name)}")
        return int(found["index"])

    def _created(self, link: Link) -> Applied:
        """Makes the link, or finds the one that has its key. Where another has the name by now, it takes a free one."""
        if link.netns and (there := self.same_link(link)) is not None:
            return there
        bound = link.kind == "vti" and not link.device and is_bound(link, self._way_out(link))
        if not bound and (made := self._made(link, ON_ITS_WAY if link.netns else link.name)) is not None:
            return made
        if link.netns:
            return self._created(link) if self._clear_way() else self._refuse_twin(link)
        found = self.same_link(link) or self._made(link, f"{'xfrm' if link.if_id else 'vti'}%d")
        if found is None:
            raise rt.NetlinkError(errno.EEXIST, os.strerror(errno.EEXIST))
        was = found.noun
        assert isinstance(was, Link)
        if found.borrowed and (was.okey, was.ikey) != (link.okey, link.ikey):
            raise Refusal(
                f"{shown(was.name)} has these endpoints but okey {was.okey}, ikey {was.ikey}",
                f"give it the mark, or delete it: ip link del {shown(was.name)}",
                1,
            )
        return found

    def _refuse_twin(self, link: Link) -> Applied:
        """A link for another namespace is made here first, and here is one like it."""
        here = self.same_link(link._replace(netns=""))
        if here is None:
            raise rt.NetlinkError(errno.EEXIST, os.strerror(errno.EEXIST))
        name = shown(here.noun.name) if isinstance(here.noun, Link) else ""
        what = f"cannot make link {link.name} in {shown(link.netns, 20)}: {name} has its endpoints or if_id"
        raise Refusal(what, "a link can have them once, wherever it is moved to", 1)

    def _made(self, link: Link, name: str) -> Applied | None:
        """Makes the link under this name, of which the kernel fills in a %d; None where there is one with it, or the key."""
        wanted = rt.ifinfmsg()
        wanted["attrs"] = rt.attributes(
            (
                ("IFLA_IFNAME", name),
                ("IFLA_GROUP", GROUP),
                ("IFLA_MASTER", self._index(link.master, "") or None),
                ("IFLA_LINKINFO", link_info(link, self._device(link))),
            )
        )
        try:
            self._request("", rt.RTM_NEWLINK, wanted, rt.NLM_F_CREATE | rt.NLM_F_EXCL)
        except rt.NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            return None
        if link.netns:
            self._move(link)
        made = self._link(link.name if link.netns else name, link.netns)
        if made is not None:
            return Applied(link._replace(own_link_local=False), True, made["index"])
        # The kernel has named it, or somebody, udev perhaps, has renamed it since.
        if (renamed := self.same_link(link)) is None:
            raise OSError(errno.ENODEV, "it vanished as soon as it was made")
        return renamed

    def _move(self, link: Link) -> None:
        """Moves a link that was made here to its namespace, where it has its name, and goes on to use what lies here."""
        made = self._link(ON_ITS_WAY)
        if made is None:
            raise OSError(errno.ENODEV, "it vanished as soon as it was made")
        wanted = message(rt.ifinfmsg, index=made["index"])
        try:
            with opened(link.netns) as there:
                wanted["attrs"] = [("IFLA_NET_NS_FD", there), ("IFLA_IFNAME", link.name)]
                self._request("", rt.RTM_NEWLINK, wanted)
        except OSError:
            self._request("", rt.RTM_DELLINK, message(rt.ifinfmsg, index=made["index"]))
            raise

    def _put_setting(self, setting: Setting, where: Applied) -> Outcome:
        try:
            self._set(setting, where)
        except rt.NetlinkError:
            raise
        except OSError as error:  # no netlink attribute sets it, and in a container /proc/sys is read-only
            return Outcome(None, f"{setting.family} {setting.name} as it was ({error.strerror})")
        return Outcome(Applied(setting))

    def _set(self, setting: Setting, where: Applied) -> None:
        assert where.ifindex is not None
        netns = _netns_of(where)
        if (setting.family, setting.name) == ("ipv4", "disable_policy"):
            self._request(netns, rt.RTM_NEWLINK, policy_off(where.ifindex, setting.value))
            return
        link = self._link(where.ifindex, netns)
        if link is None:
            raise rt.NetlinkError(errno.ENODEV, os.strerror(errno.ENODEV))
        with within(netns), open(_sysctl(setting, link), "w", encoding="ascii") as file:
            file.write(str(setting.value))

    def _remove(self, noun: Noun, sure: bool) -> None:
        """Takes an object away; one that is gone already is taken away."""
        try:
            self._take_away(noun, sure)
        except OSError as error:
            gone = (errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)
            if error.errno not in gone:
                raise

    def _take_away(self, noun: Noun, sure: bool) -> None:
        where = self.links.get(noun.link)
        if isinstance(noun, Route):
            self._remove_route(noun, where, sure)
        elif isinstance(noun, Rule):
            self._request("", rt.RTM_DELRULE, rule(noun))
        elif isinstance(noun, Clamp):
            with within(noun.netns):
                clamp.remove(noun.name)
        elif where is None or where.ifindex is None:
            if isinstance(noun, Link) and noun.netns:
                self._clear_way()
        elif isinstance(noun, Link):
            if not where.borrowed:
                self._request(noun.netns, rt.RTM_DELLINK, message(rt.ifinfmsg, index=where.ifindex))
        elif isinstance(noun, Setting):
            if not where.borrowed:
                self._set(noun._replace(value=0), where)
        elif sure or self._look_at_address(noun) is None:
            self._request(_netns_of(where), rt.RTM_DELADDR, address(noun, where.ifindex))

    def _remove_route(self, noun: Route, where: Applied | None, sure: bool) -> None:
        """Deletes the route of ours with this key: through its link or, where that is not sure, wherever it leads."""
        if sure and (not noun.link or (where is not None and where.ifindex is not None)):
            index = where.ifindex if where is not None and noun.link else None
            self._request(noun.netns, rt.RTM_DELROUTE, route_gone(noun, index))
            return
        for found in list(self._routes(noun, PROTOCOL)):
            led = noun if found["type"] == RTN_UNREACHABLE else noun._replace(link=noun.link or "?")
            index = None if found["type"] == RTN_UNREACHABLE else found.get_attr("RTA_OIF")
            self._request(noun.netns, rt.RTM_DELROUTE, route_gone(led, index))

    # Whose it is

    def _look_at_address(self, noun: Address) -> str | None:
        """Whose the address on that link is: None if it is ours, else what it is. On a link of ours it is ours."""
        where = self.links[noun.link]
        if not where.borrowed:
            return None
        wanted = message(rt.ifaddrmsg, family=AF[noun.address.version], index=where.ifindex)
        for found in self._dump(rt.RTM_GETADDR, wanted, _netns_of(where)):
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


def _netns_of(where: Applied | None) -> str:
    """The namespace of a link."""
    return where.noun.netns if where is not None and isinstance(where.noun, Link) else ""


def _netns(noun: Noun, applied: Mapping[str, Applied]) -> str:
    """The namespace that an object is in."""
    if isinstance(noun, Link | Route | Clamp):
        return noun.netns
    return _netns_of(applied.get(noun.link))


def _refused(step: Step, error: OSError) -> KernelError:
    doing = "take away" if step.new is None else "make" if step.old is None else "change"
    why = shown(error.strerror or error, 60)  # a reply that does not come has no number
    return KernelError(error.errno or 0, f"cannot {doing} {_named(step.noun)}: {why}")


def _named(noun: Noun) -> str:
    if isinstance(noun, Link):
        return f"link {noun.name}"
    if isinstance(noun, Setting):
        return f"{noun.family} {noun.name}"
    if isinstance(noun, Rule):
        return f"rule {noun.priority}"
    if isinstance(noun, Clamp):
        return f"the MSS clamp of {noun.name}"
    return f"address {noun.address}" if isinstance(noun, Address) else f"route {noun.destination}"


def _sysctl(setting: Setting, link: Any) -> str:
    return f"/proc/sys/net/{setting.family}/conf/{link.get_attr('IFLA_IFNAME')}/{setting.name}"
