"""What is in the kernel and in the records, read in this process: comparing takes milliseconds, not
a process start.
"""

import contextlib
import glob
import ipaddress
import socket
import sqlite3
from typing import Any, NamedTuple

from vti_updown import netlink as rt
from vti_updown.kernel import namespace
from vti_updown.objects.address import ifaddrmsg
from vti_updown.objects.link import ifinfmsg
from vti_updown.objects.route import rtmsg
from vti_updown.objects.rule import fib_rule_hdr
from vti_updown.records.storage import DIRECTORY

FALLBACK_LINKS = ("ip_vti0", "ip6_vti0", "ip6tnl0", "tunl0", "sit0")
"""Links that come with the modules, whoever loaded them."""
TUNNELS = ("vti", "vti6", "xfrm")
IFF_UP = 1


class LinkView(NamedTuple):
    name: str
    kind: str
    local: str
    remote: str
    okey: int
    ikey: int
    up: bool
    alias: str
    group: int
    if_id: int


class AddressView(NamedTuple):
    link: str
    address: str
    protocol: int


class RouteView(NamedTuple):
    destination: str
    table: int
    metric: int
    link: str
    source: str
    gateway: str
    protocol: int
    type: int


class View(NamedTuple):
    """The network state; equal if nothing changed.

    Link-local addresses, random at each creation of a link, are left out.
    """

    links: frozenset[LinkView]
    addresses: frozenset[AddressView]
    routes: frozenset[RouteView]
    settings: frozenset[tuple[str, str, str]]
    """disable_policy of each tunnel: name, IPv4's, IPv6's."""
    rules: frozenset[str]

    def against(self, other: "View") -> str:
        """What this has that the other has not, and the other way round, a line each."""
        lines = [
            f"{sign} {one}"
            for mine, theirs in zip(self, other, strict=True)
            for sign, some in (("+", mine - theirs), ("-", theirs - mine))
            for one in sorted(some, key=str)
        ]
        return "\n".join(lines)


def view() -> View:
    """Of this namespace and all that have a name; what is in one of those has it in front of its
    link's.
    """
    seen = [_view(netns) for netns in ("", *namespace.names())]
    return View(
        *(frozenset().union(*(getattr(one, part) for one in seen)) for part in View._fields)
    )


def _view(netns: str) -> View:
    with namespace.within(netns), contextlib.closing(rt.Socket()) as kernel:
        names, links = _links(kernel)
        settings = _settings(links)
        prefix = f"{netns}/" if netns else ""
        names = {index: prefix + name for index, name in names.items()}
        return View(
            frozenset(one._replace(name=prefix + one.name) for one in links),
            frozenset(_addresses(kernel, names)),
            frozenset(_routes(kernel, names)),
            frozenset((prefix + name, ipv4, ipv6) for name, ipv4, ipv6 in settings),
            frozenset(f"{prefix} {one}" for one in _rules(kernel)),
        )


def _rules(kernel: rt.Socket) -> list[str]:
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        layout = fib_rule_hdr()
        layout["family"] = family
        for message in kernel.request(rt.RTM_GETRULE, layout, rt.NLM_F_DUMP):
            told = [(name, message.get_attr(name)) for _, name, _ in fib_rule_hdr.nla_map]
            found.append(f"{family} {message['action']} {told}")
    return found


def links() -> dict[str, LinkView]:
    with contextlib.closing(rt.Socket()) as kernel:
        return {one.name: one for one in _links(kernel)[1]}


def _links(kernel: rt.Socket) -> tuple[dict[int, str], list[LinkView]]:
    names: dict[int, str] = {}
    found: list[LinkView] = []
    for message in kernel.request(rt.RTM_GETLINK, ifinfmsg(), rt.NLM_F_DUMP):
        name = names[message["index"]] = message.get_attr("IFLA_IFNAME")
        if name in FALLBACK_LINKS:
            continue
        info = message.get_attr("IFLA_LINKINFO")
        kind = (info and info.get_attr("IFLA_INFO_KIND")) or ""
        data = info.get_attr("IFLA_INFO_DATA") if kind in TUNNELS else None
        ends = ("", "", 0, 0)
        if data is not None and kind != "xfrm":
            raw = [
                data.get_attr(f"IFLA_VTI_{end}") or bytes(4 if kind == "vti" else 16)
                for end in ("LOCAL", "REMOTE")
            ]
            okey, ikey = (data.get_attr(f"IFLA_VTI_{key}") or 0 for key in ("OKEY", "IKEY"))
            ends = (_ip(raw[0]), _ip(raw[1]), okey, ikey)
        if_id = data.get_attr("IFLA_XFRM_IF_ID") if data is not None and kind == "xfrm" else 0
        flags, alias, group = (
            message["flags"],
            message.get_attr("IFLA_IFALIAS") or "",
            message.get_attr("IFLA_GROUP"),
        )
        found.append(LinkView(name, kind, *ends, bool(flags & IFF_UP), alias, group, if_id))
    return names, found


def _addresses(kernel: rt.Socket, names: dict[int, str]) -> list[AddressView]:
    found = []
    for message in kernel.request(rt.RTM_GETADDR, ifaddrmsg(), rt.NLM_F_DUMP):
        raw = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        address = ipaddress.ip_interface((bytes(raw), message["prefixlen"]))
        if not address.is_link_local and message["index"] in names:
            found.append(
                AddressView(
                    names[message["index"]], str(address), message.get_attr("IFA_PROTO") or 0
                )
            )
    return [one for one in found if one.link not in FALLBACK_LINKS]


def _routes(kernel: rt.Socket, names: dict[int, str]) -> list[RouteView]:
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        layout = rtmsg()
        layout["family"] = family
        for message in kernel.request(rt.RTM_GETROUTE, layout, rt.NLM_F_DUMP):
            raw = message.get_attr("RTA_DST") or bytes(4 if family == socket.AF_INET else 16)
            destination = ipaddress.ip_network((bytes(raw), message["dst_len"]))
            if destination.is_link_local or destination.is_multicast:
                continue
            source, gateway, out = (
                message.get_attr(f"RTA_{name}") for name in ("PREFSRC", "GATEWAY", "OIF")
            )
            view = RouteView(
                str(destination),
                message.get_attr("RTA_TABLE"),
                message.get_attr("RTA_PRIORITY") or 0,
                names.get(out, "") if out else "",
                _ip(source) if source else "",
                _ip(gateway) if gateway else "",
                message["proto"],
                message["type"],
            )
            found.append(view)
    return [one for one in found if one.link not in FALLBACK_LINKS]


def _settings(links: list[LinkView]) -> frozenset[tuple[str, str, str]]:
    return frozenset(
        (one.name, setting(4, one.name), setting(6, one.name))
        for one in links
        if one.kind in TUNNELS
    )


def setting(family: int, link: str) -> str:
    try:
        with open(
            f"/proc/sys/net/ipv{family}/conf/{link}/disable_policy", encoding="ascii"
        ) as file:
            return file.read().strip()
    except OSError:  # no IPv6 on a link whose MTU is too small
        return ""


def _ip(raw: Any) -> str:
    return str(ipaddress.ip_address(bytes(raw)))


class Records(NamedTuple):
    """What the records hold that another order of the same events may not change: no numbers, no
    times, no ifindex.
    """

    applied: tuple[tuple[str, str, int, int], ...]
    wishes: tuple[tuple[str, str], ...]
    references: tuple[tuple[str, str, int], ...]


def records() -> Records:
    """The records of this namespace, read without its lock.

    A journal that a death left is rolled back, as by any reader.
    """
    files = glob.glob(f"{DIRECTORY}/*.sqlite")
    if not files:
        return Records((), (), ())
    (file,) = files
    with contextlib.closing(sqlite3.connect(file)) as database:
        ask = database.execute
        return Records(
            tuple(ask("SELECT key, object, sure, borrowed FROM applied ORDER BY key")),
            tuple(ask("SELECT key, object FROM wish ORDER BY key, reference")),
            tuple(ask("SELECT connection, charon, unique_id FROM reference ORDER BY number")),
        )
