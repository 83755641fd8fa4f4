"""The kinds of tunnel interface, an entry each: when it is chosen, its layout, its attributes and
its words.

Sources: include/uapi/linux/if_tunnel.h (IFLA_VTI_…), if_link.h (IFLA_XFRM_…); net/ipv4/ip_vti.c,
net/ipv6/ip6_vti.c and net/xfrm/xfrm_interface_core.c.
"""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from ..addresses import IPAddress
from ..named_tuple import NamedTuple

TYPE_CHECKING = False  # a circle of imports, but for types
if TYPE_CHECKING:
    from .link import Link

Layout = tuple[tuple[int, str, str], ...]
"""The attributes of IFLA_INFO_DATA: number, name, and how pyroute2 calls the type.

It is plain data, so that the settings can read the registry without importing pyroute2.
"""
Pairs = tuple[tuple[str, Any], ...]
"""Attributes of IFLA_INFO_DATA; None: left out."""


class LinkKind(NamedTuple):
    """One kind. Everything in which the kinds differ is in its entry."""

    name: str
    """As in `ip link add … type NAME`."""
    family: int | None
    """Of the endpoints, 4 or 6; None for a kind without them."""
    keyed_by: str
    """What of a CHILD_SA makes it this kind, and tells its packets from others': `mark` or `if_id`.
    """
    stem: str
    """Its names begin with this, unless the settings say otherwise."""
    module: str
    """The kernel's module that brings it."""
    layout: Layout
    device_attribute: str
    """Which attribute has the underlying link's ifindex."""
    bound_is_another: bool
    """Whether one that is bound to an underlying link may stand beside an equal one that is not
    bound.
    """
    data: Callable[["Link", int | None], Pairs]
    """The attributes that make the link, with the ifindex of the underlying one."""
    read: Callable[[Any], dict[str, Any]]
    """The fields of `Link` that a message's IFLA_INFO_DATA tells of."""
    words: Callable[["Link"], str]
    """What stands behind `ip link add NAME type`."""


VTI_LAYOUT: Layout = (
    (1, "IFLA_VTI_LINK", "uint32"),
    (2, "IFLA_VTI_IKEY", "be32"),
    (3, "IFLA_VTI_OKEY", "be32"),
    (4, "IFLA_VTI_LOCAL", "cdata"),
    (5, "IFLA_VTI_REMOTE", "cdata"),
)
"""Addresses are in network order, and keys are big-endian. vti6 has the same numbers."""
XFRM_LAYOUT: Layout = (
    (1, "IFLA_XFRM_LINK", "uint32"),
    (2, "IFLA_XFRM_IF_ID", "uint32"),
)


def _vti_data(link: "Link", device: int | None) -> Pairs:
    assert link.local is not None and link.remote is not None
    return (
        ("IFLA_VTI_LINK", device),
        ("IFLA_VTI_IKEY", link.ikey),
        ("IFLA_VTI_OKEY", link.okey),
        ("IFLA_VTI_LOCAL", link.local.packed),
        ("IFLA_VTI_REMOTE", link.remote.packed),
    )


def _read_vti(data: Any) -> dict[str, Any]:
    return _read_endpoints(data, unspecified=bytes(4))


def _read_vti6(data: Any) -> dict[str, Any]:
    return _read_endpoints(data, unspecified=bytes(16))


def _read_endpoints(data: Any, unspecified: bytes) -> dict[str, Any]:
    """An endpoint that is not there is unspecified: any."""
    local = data.get_attr("IFLA_VTI_LOCAL") or unspecified
    remote = data.get_attr("IFLA_VTI_REMOTE") or unspecified
    return {
        "local": ip_address(bytes(local)),
        "remote": ip_address(bytes(remote)),
        "okey": data.get_attr("IFLA_VTI_OKEY") or 0,
        "ikey": data.get_attr("IFLA_VTI_IKEY") or 0,
    }


def _vti_words(link: "Link") -> str:
    ends = f"local {end_in_words(link.local)} remote {end_in_words(link.remote)}"
    words = f"{link.kind} {ends} okey {link.okey} ikey {link.ikey}"
    return f"{words} dev {link.device}" if link.device else words


def end_in_words(end: IPAddress | None) -> str:
    """An endpoint as `ip` takes and prints it."""
    return "any" if end is None or end.is_unspecified else str(end)


def _xfrm_data(link: "Link", device: int | None) -> Pairs:
    return (("IFLA_XFRM_LINK", device), ("IFLA_XFRM_IF_ID", link.if_id))


def _read_xfrm(data: Any) -> dict[str, Any]:
    if_id = data.get_attr("IFLA_XFRM_IF_ID") or 0
    return {"local": None, "remote": None, "okey": 0, "ikey": 0, "if_id": if_id}


def _xfrm_words(link: "Link") -> str:
    device = f"dev {link.device} " if link.device else ""
    return f"xfrm {device}if_id {link.if_id:#x}"


VTI = LinkKind(
    name="vti",
    family=4,
    keyed_by="mark",
    stem="vti",
    module="ip_vti",
    layout=VTI_LAYOUT,
    device_attribute="IFLA_VTI_LINK",
    bound_is_another=True,  # net/ipv4/ip_tunnel.c, ip_tunnel_find()
    data=_vti_data,
    read=_read_vti,
    words=_vti_words,
)
VTI6 = VTI._replace(
    name="vti6",
    family=6,
    module="ip6_vti",
    bound_is_another=False,  # net/ipv6/ip6_vti.c, vti6_locate()
    read=_read_vti6,
)
XFRM = LinkKind(
    name="xfrm",
    family=None,
    keyed_by="if_id",
    stem="xfrm",
    module="xfrm_interface",
    layout=XFRM_LAYOUT,
    device_attribute="IFLA_XFRM_LINK",
    bound_is_another=False,
    data=_xfrm_data,
    read=_read_xfrm,
    words=_xfrm_words,
)

LINK_KINDS = {kind.name: kind for kind in (VTI, VTI6, XFRM)}
