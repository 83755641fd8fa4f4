"""Nouns as rtnetlink messages, and messages as nouns. It sends nothing.

Whose an object is: a link is ours by its group, a route or a rule by its protocol number, and so is an address where the
link is not ours.
"""

import socket
from ipaddress import ip_interface, ip_network
from typing import Any

from . import rtnetlink as rt
from .kind import DEVICE, KINDS, ip
from .state import DEFAULT_METRIC, Address, Link, Route, Rule

PROTOCOL = 50
"""Our number in /etc/iproute2/rt_protos, of routes, rules and addresses: ESP's own IP protocol number, free there."""
GROUP = 0x767469
"""The group of our links (IFLA_GROUP), "vti" in ASCII; unlike the alias it can be set at creation."""

RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
RTN_UNICAST, RTN_UNREACHABLE = 1, 7
RTM_F_LOOKUP_TABLE = 0x1000
"""Asks for the table that a looked-up route is in."""
FR_ACT_TO_TBL, FR_ACT_UNREACHABLE = 1, 7
IFF_UP, IFF_MULTICAST = 1, 0x1000
IFA_F_NODAD = 0x02
OWN_PACKETS = "lo"
"""The incoming interface of what this host itself sends (ip-rule(8))."""
IN6_ADDR_GEN_MODE_EUI64, IN6_ADDR_GEN_MODE_NONE = 0, 1
AF = {4: socket.AF_INET, 6: socket.AF_INET6}
FALLBACK_LINKS = ("ip_vti0", "ip6_vti0")
"""Links that are in every namespace and are nobody's."""


def message(layout: Any, **fields: Any) -> Any:
    made = layout()
    for name, value in fields.items():
        made[name] = value
    return made


# Links


def link_info(link: Link, device: int | None) -> Any:
    data = {"attrs": rt.attributes(KINDS[link.kind].data(link, device))}
    return {"attrs": [("IFLA_INFO_KIND", link.kind), ("IFLA_INFO_DATA", data)]}


def read_link(found: Any, netns: str = "") -> Link | None:
    """The tunnel interface that a link message tells of; None for a link of another kind, and for those that are nobody's.

    Its master and its underlying link are not read: `underlying` has the latter's ifindex.
    """
    info = found.get_attr("IFLA_LINKINFO")
    kind, name = KINDS.get(info and info.get_attr("IFLA_INFO_KIND")), found.get_attr("IFLA_IFNAME")
    data = info.get_attr("IFLA_INFO_DATA") if kind else None
    if kind is None or not data or name in FALLBACK_LINKS:
        return None
    return Link(
        kind=kind.name,
        name=name,
        alias=found.get_attr("IFLA_IFALIAS") or "",
        netns=netns,
        mtu=found.get_attr("IFLA_MTU") or 0,
        multicast=bool(found["flags"] & IFF_MULTICAST),
        **kind.fields(data),
    )


def underlying(found: Any) -> int:
    """The ifindex of the link that a tunnel is bound to; 0 for none."""
    data = found.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    return next((int(index) for name in DEVICE if (index := data.get_attr(name))), 0)


def policy_off(index: int, value: int) -> Any:
    """Sets IPv4's disable_policy, which has an attribute; IPv6's has none."""
    conf = {"attrs": [("IPV4_DEVCONF_NOPOLICY", value)]}
    made = message(rt.ifinfmsg, index=index)
    made["attrs"] = [("IFLA_AF_SPEC", {"attrs": [("AF_INET", {"attrs": [("IFLA_INET_CONF", conf)]})]})]
    return made


def link_local_mode(index: int, mode: int) -> Any:
    """Says which link-local address the kernel makes when the link is set up."""
    made = message(rt.ifinfmsg, index=index)
    made["attrs"] = [("IFLA_AF_SPEC", {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", mode)]})]})]
    return made


# Addresses


def address(noun: Address, index: int | None) -> Any:
    own = noun.address
    made = message(rt.ifaddrmsg, family=AF[own.version], prefixlen=own.network.prefixlen, index=index)
    # No duplicate is looked for on a tunnel, but without this the address is tentative until a worker of the kernel's has seen
    # that, and no route may have it as its source meanwhile (net/ipv6/addrconf.c ipv6_add_addr(), route.c).
    made["flags"] = IFA_F_NODAD if own.version == 6 else 0
    other = own.packed if noun.peer is None else noun.peer.packed
    made["attrs"] = [("IFA_LOCAL", own.packed), ("IFA_ADDRESS", other), ("IFA_PROTO", PROTOCOL)]
    return made


def labelled(noun: Address, index: int | None, name: str) -> Any:
    """The address to add. An IPv4 one has its link's name as its label, as `ip addr add` gives it; to IPv6 there is none."""
    made = address(noun, index)
    made["attrs"] += [("IFA_LABEL", name)] if noun.address.version == 4 else []
    return made


def own_address(found: Any) -> Any:
    """The host's own address in an address message: IFA_ADDRESS may be the peer's, and IPv6 has no IFA_LOCAL without one."""
    return found.get_attr("IFA_LOCAL") or found.get_attr("IFA_ADDRESS")


def read_address(found: Any, link: str) -> Address:
    raw, other = own_address(found), found.get_attr("IFA_ADDRESS")
    return Address(link, ip_interface((bytes(raw), found["prefixlen"])), ip(other) if other and other != raw else None)


# Routes


def route(noun: Route, index: int | None) -> Any:
    """The route to add: through the link with this ifindex, or unreachable."""
    version = noun.destination.version
    made = _route(noun)
    made["scope"] = RT_SCOPE_LINK if version == 4 and index is not None else RT_SCOPE_UNIVERSE
    made["attrs"] += rt.attributes((("RTA_OIF", index), ("RTA_PREFSRC", noun.source.packed if noun.source else None)))
    return made


def route_gone(noun: Route, index: int | None) -> Any:
    """The route to delete, of our number, through this link where it is given."""
    made = _route(noun)
    made["scope"] = RT_SCOPE_NOWHERE  # fib_table_delete() compares the scope unless it is this
    made["attrs"] += rt.attributes((("RTA_OIF", index),))
    return made


def _route(noun: Route) -> Any:
    version = noun.destination.version
    made = message(
        rt.rtmsg,
        family=AF[version],
        dst_len=noun.destination.prefixlen,
        table=noun.table if noun.table < 256 else 0,
        proto=PROTOCOL,
        type=RTN_UNICAST if noun.link else RTN_UNREACHABLE,
    )
    metric = noun.metric or DEFAULT_METRIC[version] or None
    made["attrs"] = rt.attributes(
        (("RTA_DST", noun.destination.network_address.packed), ("RTA_TABLE", noun.table), ("RTA_PRIORITY", metric))
    )
    return made


def read_route(found: Any, link: str, netns: str = "") -> Route:
    """The route that a message tells of, through `link` (empty: unreachable)."""
    family = 4 if found["family"] == AF[4] else 6
    raw = bytes(found.get_attr("RTA_DST") or bytes(4 if family == 4 else 16))
    metric = found.get_attr("RTA_PRIORITY") or 0
    source = found.get_attr("RTA_PREFSRC")
    return Route(
        destination=ip_network((raw, found["dst_len"])),
        table=found.get_attr("RTA_TABLE") or found["table"],
        metric=0 if metric == DEFAULT_METRIC[family] else metric,
        link=link,
        source=None if source is None else ip(source),
        netns=netns,
    )


# Rules


def rule(noun: Rule) -> Any:
    made = message(
        rt.fib_rule_hdr,
        family=AF[noun.family],
        dst_len=noun.to.prefixlen if noun.to else 0,
        table=noun.table if noun.table < 256 else 0,
        action=FR_ACT_TO_TBL if noun.table else FR_ACT_UNREACHABLE,
    )
    made["attrs"] = rt.attributes(
        (
            ("FRA_DST", noun.to.network_address.packed if noun.to else None),
            ("FRA_IIFNAME", OWN_PACKETS if noun.port else None),
            ("FRA_IP_PROTO", socket.IPPROTO_UDP if noun.port else None),
            ("FRA_SPORT_RANGE", {"start": noun.port, "end": noun.port} if noun.port else None),
            ("FRA_PRIORITY", noun.priority),
            ("FRA_SUPPRESS_PREFIXLEN", noun.suppress),
            ("FRA_TABLE", noun.table or None),
            ("FRA_PROTOCOL", PROTOCOL),
        )
    )
    return made


def read_rule(found: Any) -> Rule | None:
    """The rule that a message tells of; None for one that is unlike any of ours."""
    to, suppress, ports = (found.get_attr(f"FRA_{name}") for name in ("DST", "SUPPRESS_PREFIXLEN", "SPORT_RANGE"))
    read = Rule(
        family=4 if found["family"] == AF[4] else 6,
        priority=found.get_attr("FRA_PRIORITY") or 0,
        to=ip_network((bytes(to), found["dst_len"])) if to else None,
        table=(found.get_attr("FRA_TABLE") or found["table"]) if found["action"] == FR_ACT_TO_TBL else 0,
        suppress=None if suppress in (None, 0xFFFFFFFF) else suppress,
        port=ports["start"] if ports else None,
    )
    told = (found.get_attr("FRA_IIFNAME"), found.get_attr("FRA_IP_PROTO") or 0, ports and ports["end"])
    ours = (OWN_PACKETS, socket.IPPROTO_UDP, read.port) if read.port else (None, 0, None)
    others = found.get_attr("FRA_SRC") or found.get_attr("FRA_FWMARK")
    return None if others or told != ours or found["action"] not in (FR_ACT_TO_TBL, FR_ACT_UNREACHABLE) else read
