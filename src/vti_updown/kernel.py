"""Takes steps in the kernel, and answers what is there. With `rtnetlink`, the only module that speaks netlink.

A step's object may be there already, made by us (an event that died) or by somebody else. Adding says which: whatever
is ours is taken over, whatever is not is left alone. How ours is told: a link by its group, a route by its protocol number,
an address by its protocol number where the link is not ours.
"""

import array
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, NamedTuple, TypeVar

from . import rtnetlink as rt
from .errors import Refusal
from .state import Address, Applied, IPAddress, Link, Noun, Route, Setting, Step
from .text import shown

N = TypeVar("N", Address, Route)

PROTOCOL = 50
"""Our number in /etc/iproute2/rt_protos, of routes and addresses: ESP's own IP protocol number, free there."""
GROUP = 0x767469
"""The group of our links (IFLA_GROUP), "vti" in ASCII; unlike the alias it can be set at creation."""

RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RTN_UNICAST = 1
IFF_UP = 1
AF = {4: socket.AF_INET, 6: socket.AF_INET6}

ENDPOINT_BYTES = {"vti": 4, "vti6": 16}
"""The kinds of link, and how long their endpoints' addresses are."""
DEFAULT_METRIC = {4: 0, 6: 1024}
"""What a route has that was made with none: IP6_RT_PRIO_USER (ipv6_route.h)."""
FALLBACK_LINKS = ("ip_vti0", "ip6_vti0")
"""Links that are in every namespace and are nobody's."""
ANY_NAME = "vti%d"
"""Has the kernel take the first number that is free."""
SIOCGETTUNNEL = 0x89F0


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
    errno.EOPNOTSUPP: "load the module: modprobe ip_vti (IPv6 endpoints: ip6_vti)",
    errno.ENETDOWN: "set the link up: ip link set LINK up",
    errno.ENOBUFS: "the kernel is out of memory for it",
    errno.ENOMEM: "the kernel is out of memory for it",
}


class Kernel:
    """The network namespace of this process. `links` maps the key of each known link to what was applied for it."""

    def __init__(self) -> None:
        self._socket = rt.Socket()
        self.links: dict[str, Applied] = {}

    def namespace(self) -> int:
        return self._socket.namespace()

    # What is there

    def link_exists(self, name_or_index: str | int) -> bool:
        return self._link(name_or_index) is not None

    def is_ours(self, name: str) -> bool:
        """Whether the link of this name is there, and ours."""
        found = self._link(name)
        return found is not None and found.get_attr("IFLA_GROUP") == GROUP

    def next_hop(self, destination: IPAddress) -> IPAddress | None:
        """The gateway on the way to `destination`; None where it is on a link, or cannot be reached."""
        return self._looked_up("RTA_GATEWAY", destination)

    def source(self, net: Any, unfit: Callable[[IPAddress], bool]) -> IPAddress | None:
        """An address of this host within `net`, as charon's install_routes would take for its routes; None without one.

        Where the network is wider than the host's own subnet in it, `unfit` says which addresses may not be it.
        """
        ip = self._looked_up("RTA_PREFSRC", net[1] if net.num_addresses > 2 else net[0])
        if ip is not None and ip in net:
            return ip
        # The network is wider than the subnet that the host has in it: only the list of all addresses tells.
        for message in self._dump(rt.RTM_GETADDR, _message(rt.ifaddrmsg, family=AF[net.version])):
            raw = _own_address(message)
            if raw is not None and (found := _ip(raw)) in net and not unfit(found):
                return found
        return None

    def _looked_up(self, attribute: str, destination: IPAddress) -> IPAddress | None:
        raw = self._way(destination, attribute)
        return None if raw is None else _ip(raw)

    def _way(self, destination: IPAddress, attribute: str, source: IPAddress | None = None) -> Any | None:
        """What the route of packets to `destination` says for `attribute`; None where it says nothing, or there is none."""
        bits = destination.max_prefixlen
        message = _message(rt.rtmsg, family=AF[destination.version], dst_len=bits, src_len=bits if source else 0)
        message["attrs"] = rt.attributes((("RTA_DST", destination.packed), ("RTA_SRC", source and source.packed)))
        try:
            return self._socket.request(rt.RTM_GETROUTE, message)[0].get_attr(attribute)
        except rt.NetlinkError:  # unreachable, or `source` is not this host's
            return None

    def _link(self, name_or_index: str | int) -> Any | None:
        message = rt.ifinfmsg()
        if isinstance(name_or_index, int):
            message["index"] = name_or_index
        else:
            message["attrs"] = [("IFLA_IFNAME", name_or_index)]
        try:
            replies = self._socket.request(rt.RTM_GETLINK, message)
        except rt.NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return replies[0]

    def _dump(self, kind: int, message: Any) -> list[Any]:
        return self._socket.request(kind, message, rt.NLM_F_DUMP)

    def same_link(self, link: Link) -> Applied | None:
        """A link that is there with this one's endpoints, whatever its name, and whether it is borrowed.

        Those that are bound to an underlying link, which is none of ours, come last.
        """
        message = rt.ifinfmsg()
        message["attrs"] = [("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", link.kind)]})]
        bound: Applied | None = None
        for found in self._dump(rt.RTM_GETLINK, message):
            same = _read_link(found)
            if same is None or same.key != link.key:
                continue
            if not (underlying := _underlying(found)):
                return Applied(same, True, found["index"], found.get_attr("IFLA_GROUP") != GROUP)
            if link.kind == "vti6" or underlying == self._way_out(link):
                bound = Applied(same, True, found["index"], borrowed=True)
        return bound

    def _way_out(self, link: Link) -> int:
        """The ifindex of the link by which the peer is reached; 0 where it cannot be told."""
        return int(self._way(link.remote, "RTA_OIF", link.local) or 0)

    def ours(self) -> list[Applied]:
        """All of ours that is there, told by group and protocol number: links, then what is on them."""
        links = [
            Applied(link, True, message["index"])
            for message in self._dump(rt.RTM_GETLINK, rt.ifinfmsg())
            if message.get_attr("IFLA_GROUP") == GROUP and (link := _read_link(message)) is not None
        ]
        standing = self._standing({one.ifindex: one.noun.key for one in links if one.ifindex is not None})
        return [*links, *(Applied(noun) for noun, protocol in standing if protocol == PROTOCOL)]

    def astray(self, applied: Mapping[str, Applied]) -> list[str]:
        """The keys of what is not there as it was applied: gone, changed, or a link that was set down."""
        names = {one.ifindex: key for key, one in applied.items() if one.ifindex is not None}
        there: dict[str, Noun] = {noun.key: noun for noun, _ in self._standing(names)}
        for message in self._dump(rt.RTM_GETLINK, rt.ifinfmsg()):
            key = names.get(message["index"])
            if key is not None and message["flags"] & IFF_UP and (link := _read_link(message)) is not None:
                was = applied[key].noun
                # Name and alias are the user's to change; a borrowed link is his altogether.
                same = isinstance(was, Link) and (applied[key].borrowed or was[:3] + was[4:6] == link[:3] + link[4:6])
                there[key] = was if same else link
        for key, one in applied.items():
            if isinstance(one.noun, Setting) and self._setting(one.noun, applied.get(one.noun.link)) == one.noun.value:
                there[key] = one.noun
        return [key for key, one in applied.items() if there.get(key) != one.noun]

    def _standing(self, names: Mapping[int, str]) -> Iterator[tuple[Address | Route, int | None]]:
        """The addresses on these links (key by ifindex), and the routes of ours through them, with their protocol numbers."""
        for message in self._dump(rt.RTM_GETADDR, rt.ifaddrmsg()):
            raw = _own_address(message)
            if raw and (link := names.get(message["index"])) is not None:
                yield Address(link, ip_interface((bytes(raw), message["prefixlen"]))), message.get_attr("IFA_PROTO")
        for message in self._dump(rt.RTM_GETROUTE, rt.rtmsg()):
            link = names.get(message.get_attr("RTA_OIF"))
            if link is not None and message["proto"] == PROTOCOL and message["type"] == RTN_UNICAST:
                yield _read_route(message, link), PROTOCOL

    def _setting(self, setting: Setting, where: Applied | None) -> int | None:
        link = self._link(where.ifindex) if where is not None and where.ifindex is not None else None
        if link is None:
            return None
        try:
            with open(_sysctl(setting, link), encoding="ascii") as file:
                return int(file.read())
        except OSError:
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
        where = self.links.get(noun.link)
        if where is None or where.ifindex is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        if isinstance(noun, Setting):
            return Outcome(None, "") if where.borrowed else self._put_setting(noun, where.ifindex)
        if isinstance(noun, Address):
            message = lambda: _address_message(noun, where.ifindex)  # noqa: E731
            return self._add(noun, rt.RTM_NEWADDR, message, self._look_at_address, old is None)
        new = not (isinstance(old, Route) and self._has(old))
        try:
            return self._add(noun, rt.RTM_NEWROUTE, lambda: _route_message(noun, where.ifindex), self._look_at_route, new)
        except rt.NetlinkError as error:
            if not (last and noun.source and error.errno == errno.EINVAL):
                raise
        return self._put(noun._replace(source=None), old, last)

    def _add(
        self, noun: N, request: int, build: Callable[[], Any], look: Callable[[N, Applied], str | None], new: bool
    ) -> Outcome:
        """Adds an address or a route. If one is there already: ours is replaced, another's is left, as `look` tells."""
        if new:
            try:
                self._socket.request(request, build(), rt.NLM_F_CREATE | rt.NLM_F_EXCL)
                return Outcome(Applied(noun))
            except rt.NetlinkError as error:
                if error.errno != errno.EEXIST:
                    raise
            if (foreign := look(noun, self.links[noun.link])) is not None:
                return Outcome(None, foreign)
        self._socket.request(request, build(), rt.NLM_F_CREATE | rt.NLM_F_REPLACE)
        return Outcome(Applied(noun))

    def _put_link(self, link: Link, new: bool) -> Outcome:
        known = self.links.get(link.key)
        if not new and known is not None and known.ifindex is not None:
            found = known
        else:
            found = self._created(link)
            if found.borrowed:
                self.links[link.key] = found
                return Outcome(found)
        was = found.noun
        assert isinstance(was, Link)
        keys = None if (was.okey, was.ikey) == (link.okey, link.ikey) else _link_info(link)
        message = _message(rt.ifinfmsg, index=found.ifindex, flags=IFF_UP, change=IFF_UP)
        message["attrs"] = rt.attributes((("IFLA_IFALIAS", link.alias), ("IFLA_LINKINFO", keys)))
        self._socket.request(rt.RTM_NEWLINK, message)
        self.links[link.key] = Applied(link._replace(name=was.name), True, found.ifindex)
        return Outcome(self.links[link.key])

    def _created(self, link: Link) -> Applied:
        """Makes the link, or finds the one that has its endpoints. Where another has the name by now, it takes a free one."""
        bound = link.kind == "vti" and _is_bound(link, self._way_out(link))
        if not bound and (made := self._made(link, link.name)) is not None:
            return made
        found = self.same_link(link) or self._made(link, ANY_NAME)
        if found is None:
            raise rt.NetlinkError(errno.EEXIST, os.strerror(errno.EEXIST))
        assert isinstance(found.noun, Link)
        if found.borrowed and (found.noun.okey, found.noun.ikey) != (link.okey, link.ikey):
            raise Refusal(
                f"{shown(found.noun.name)} has these endpoints but okey {found.noun.okey}, ikey {found.noun.ikey}",
                f"give it the mark, or delete it: ip link del {shown(found.noun.name)}",
                1,
            )
        return found

    def _made(self, link: Link, name: str) -> Applied | None:
        """Makes the link under this name; None where a link is there with the name, or the endpoints."""
        message = rt.ifinfmsg()
        message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_GROUP", GROUP), ("IFLA_LINKINFO", _link_info(link))]
        try:
            self._socket.request(rt.RTM_NEWLINK, message, rt.NLM_F_CREATE | rt.NLM_F_EXCL)
        except rt.NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            return None
        made = self._link(name)
        if made is not None:
            return Applied(link, True, made["index"])
        # The kernel has named it, or somebody, udev perhaps, has renamed it since.
        if (renamed := self.same_link(link)) is None:
            raise OSError(errno.ENODEV, "it vanished as soon as it was made")
        return renamed

    def _put_setting(self, setting: Setting, index: int) -> Outcome:
        try:
            self._set(setting, index)
        except rt.NetlinkError:
            raise
        except OSError as error:  # no netlink attribute sets it, and in a container /proc/sys is read-only
            return Outcome(None, f"{setting.family} {setting.name} as it was ({error.strerror})")
        return Outcome(Applied(setting))

    def _set(self, setting: Setting, index: int) -> None:
        if (setting.family, setting.name) == ("ipv4", "disable_policy"):
            conf = {"attrs": [("IPV4_DEVCONF_NOPOLICY", setting.value)]}
            message = _message(rt.ifinfmsg, index=index)
            message["attrs"] = [("IFLA_AF_SPEC", {"attrs": [("AF_INET", {"attrs": [("IFLA_INET_CONF", conf)]})]})]
            self._socket.request(rt.RTM_NEWLINK, message)
            return
        link = self._link(index)
        if link is None:
            raise rt.NetlinkError(errno.ENODEV, os.strerror(errno.ENODEV))
        with open(_sysctl(setting, link), "w", encoding="ascii") as file:
            file.write(str(setting.value))

    def _remove(self, noun: Noun, sure: bool) -> None:
        """Takes an object away; one that is gone already is taken away."""
        where = self.links.get(noun.link)
        gone: tuple[int, ...] = ()
        if isinstance(noun, Link):
            if where is None or where.ifindex is None or where.borrowed:
                return
            request, message = rt.RTM_DELLINK, _message(rt.ifinfmsg, index=where.ifindex)
        elif isinstance(noun, Route):  # by its key and our number, wherever it leads
            request, message, gone = rt.RTM_DELROUTE, _route_message(noun, None), (errno.ESRCH, errno.ENETUNREACH)
        elif where is None or where.ifindex is None or (isinstance(noun, Setting) and where.borrowed):
            return
        elif isinstance(noun, Setting):
            try:
                self._set(noun._replace(value=0), where.ifindex)
            except OSError as error:
                if error.errno not in (errno.ENODEV, errno.ENOENT):  # the link is gone, or has no IPv6
                    raise
            return
        else:
            if not sure and self._look_at_address(noun, where) is not None:
                return
            request, message = rt.RTM_DELADDR, _address_message(noun, where.ifindex)
            gone = (errno.EADDRNOTAVAIL,)
        try:
            self._socket.request(request, message)
        except rt.NetlinkError as error:
            if error.errno not in (*gone, errno.ENODEV):
                raise

    # Whose it is

    def _look_at_address(self, noun: Address, where: Applied) -> str | None:
        """Whose the address on that link is: None if it is ours, else what it is. On a link of ours it is ours."""
        if not where.borrowed:
            return None
        message = _message(rt.ifaddrmsg, family=AF[noun.address.version], index=where.ifindex)
        for found in self._dump(rt.RTM_GETADDR, message):
            raw = _own_address(found)
            if raw == noun.address.packed and found["index"] == where.ifindex:
                return None if found.get_attr("IFA_PROTO") == PROTOCOL else ""
        return ""

    def _look_at_route(self, noun: Route, where: Applied) -> str | None:
        """Whose the route in this one's place is: None if it is ours, empty if it leads to our link, else what it is."""
        for found in self._routes(noun):
            if found["proto"] == PROTOCOL:
                return None
            other = found.get_attr("RTA_OIF")
            if other == where.ifindex:
                return ""
            link = self._link(other) if other else None
            return f"a route to {noun.destination} by {shown(link.get_attr('IFLA_IFNAME')) if link else 'another link'}"
        return f"a route to {noun.destination}"

    def _has(self, noun: Route) -> bool:
        """Whether the route is there and ours. Another may have taken its place, and is not to be replaced."""
        where = self.links.get(noun.link)
        return any(found["proto"] == PROTOCOL for found in self._routes(noun, PROTOCOL, where and where.ifindex))

    def _routes(self, noun: Route, protocol: int = 0, index: int | None = None) -> Iterator[Any]:
        """The routes with this one's key. The kernel itself leaves out those of other protocols and links."""
        family = AF[noun.destination.version]
        message = _message(rt.rtmsg, family=family, proto=protocol)
        message["attrs"] = rt.attributes((("RTA_TABLE", noun.table), ("RTA_OIF", index)))
        for found in self._dump(rt.RTM_GETROUTE, message):
            if found["family"] == family and _read_route(found, noun.link).key == noun.key:
                yield found

    def close(self) -> None:
        self._socket.close()


def _refused(step: Step, error: OSError) -> KernelError:
    doing = "take away" if step.new is None else "make" if step.old is None else "change"
    why = shown(error.strerror or error, 60)  # a reply that does not come has no number
    return KernelError(error.errno or 0, f"cannot {doing} {_named(step.noun)}: {why}")


def _named(noun: Noun) -> str:
    if isinstance(noun, Link):
        return f"link {noun.name}"
    if isinstance(noun, Setting):
        return f"{noun.family} {noun.name}"
    return f"address {noun.address}" if isinstance(noun, Address) else f"route {noun.destination}"


def _message(layout: Any, **fields: Any) -> Any:
    message = layout()
    for name, value in fields.items():
        message[name] = value
    return message


def _sysctl(setting: Setting, link: Any) -> str:
    return f"/proc/sys/net/{setting.family}/conf/{link.get_attr('IFLA_IFNAME')}/{setting.name}"


def _read_link(message: Any) -> Link | None:
    """The VTI that a link message tells of; None for a link of another kind, and for those that are nobody's."""
    info = message.get_attr("IFLA_LINKINFO")
    kind, name = info and info.get_attr("IFLA_INFO_KIND"), message.get_attr("IFLA_IFNAME")
    data = info.get_attr("IFLA_INFO_DATA") if kind in ENDPOINT_BYTES else None
    if not data or name in FALLBACK_LINKS:
        return None
    unset = bytes(ENDPOINT_BYTES[kind])
    local, remote = (_ip(data.get_attr(f"IFLA_VTI_{end}") or unset) for end in ("LOCAL", "REMOTE"))
    okey, ikey = (data.get_attr(f"IFLA_VTI_{end}") or 0 for end in ("OKEY", "IKEY"))
    return Link(kind, local, remote, name, okey, ikey, message.get_attr("IFLA_IFALIAS") or "")


def _is_bound(link: Link, underlying: int) -> bool:
    """Whether a VTI with these endpoints is bound to the link `underlying`. One ioctl, however many links there are.

    To the kernel it is another than an unbound one with the same endpoints, so both can be made, but it gets the packets
    of both (ip_tunnel_lookup() in net/ipv4/ip_tunnel.c). vti6_locate() in net/ipv6/ip6_vti.c knows no such difference.
    """
    # struct ip_tunnel_parm (if_tunnel.h): name, link, i_flags, o_flags, i_key, o_key, and a struct iphdr.
    ends = struct.pack("12x4s4s", link.local.packed, link.remote.packed)
    parameters = array.array("B", struct.pack("=16xi12x", underlying) + ends)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
            request = struct.pack("16sP16x", FALLBACK_LINKS[0].encode(), parameters.buffer_info()[0])
            fcntl.ioctl(any_socket, SIOCGETTUNNEL, request)
    except OSError:  # no VTI yet in this namespace, or net.core.fb_tunnels_only_for_init_net keeps it from being asked
        return False
    # The fallback link answers for itself where it knows of none.
    return underlying != 0 and bytes(parameters)[16:20] == struct.pack("=i", underlying)


def _own_address(message: Any) -> Any:
    """The host's own address in an address message: IFA_ADDRESS may be the peer's, and IPv6 has no IFA_LOCAL."""
    return message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")


def _underlying(message: Any) -> int:
    """The ifindex of the link that a VTI is bound to; 0 for none."""
    data = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    return int(data.get_attr("IFLA_VTI_LINK") or 0)


def _read_route(message: Any, link: str) -> Route:
    family = 4 if message["family"] == AF[4] else 6
    raw = bytes(message.get_attr("RTA_DST") or bytes(4 if family == 4 else 16))
    metric = message.get_attr("RTA_PRIORITY") or 0
    source = message.get_attr("RTA_PREFSRC")
    return Route(
        destination=ip_network((raw, message["dst_len"])),
        table=message.get_attr("RTA_TABLE") or message["table"],
        metric=0 if metric == DEFAULT_METRIC[family] else metric,
        link=link,
        source=None if source is None else _ip(source),
    )


def _address_message(noun: Address, index: int | None) -> Any:
    message = _message(rt.ifaddrmsg, family=AF[noun.address.version], prefixlen=noun.address.network.prefixlen, index=index)
    raw = noun.address.packed
    message["attrs"] = [("IFA_LOCAL", raw), ("IFA_ADDRESS", raw), ("IFA_PROTO", PROTOCOL)]
    return message


def _link_info(link: Link) -> Any:
    data = {
        "attrs": [
            ("IFLA_VTI_IKEY", link.ikey),
            ("IFLA_VTI_OKEY", link.okey),
            ("IFLA_VTI_LOCAL", link.local.packed),
            ("IFLA_VTI_REMOTE", link.remote.packed),
        ]
    }
    return {"attrs": [("IFLA_INFO_KIND", link.kind), ("IFLA_INFO_DATA", data)]}


def _route_message(noun: Route, index: int | None) -> Any:
    """The route to add through the link `index`; to delete, with none, whichever of our number has its key."""
    version = noun.destination.version
    message = _message(
        rt.rtmsg,
        family=AF[version],
        dst_len=noun.destination.prefixlen,
        table=noun.table if noun.table < 256 else 0,
        proto=PROTOCOL,
        # fib_table_delete() compares scope and type unless they are "nowhere" and "unspec".
        scope=255 if index is None else RT_SCOPE_LINK if version == 4 else RT_SCOPE_UNIVERSE,
        type=0 if index is None else RTN_UNICAST,
    )
    message["attrs"] = rt.attributes(
        (
            ("RTA_DST", noun.destination.network_address.packed),
            ("RTA_TABLE", noun.table),
            ("RTA_PRIORITY", noun.metric or None),
            ("RTA_OIF", index),
            ("RTA_PREFSRC", noun.source.packed if noun.source and index is not None else None),
        )
    )
    return message


def _ip(raw: bytes) -> IPAddress:
    return ip_address(bytes(raw))
