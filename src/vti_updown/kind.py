"""The kinds of tunnel interface: what each is made of, on the wire of rtnetlink and in words. The one place to add a kind.

Sources: include/uapi/linux/if_tunnel.h (IFLA_VTI_…), if_link.h (IFLA_XFRM_…); net/ipv4/ip_vti.c, net/ipv6/ip6_vti.c and
net/xfrm/xfrm_interface_core.c.
"""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, NamedTuple

from .state import IPAddress, Link

Pairs = tuple[tuple[str, Any], ...]
"""Attributes of IFLA_INFO_DATA; None: left out."""


class Kind(NamedTuple):
    name: str
    """As in `ip link add … type NAME`."""
    family: int | None
    """Of the endpoints, 4 or 6; None for a kind without them."""
    data: Callable[[Link, int | None], Pairs]
    """What makes the link, with the ifindex of the underlying one."""
    fields: Callable[[Any], dict[str, Any]]
    """Fields of `Link` that a message's IFLA_INFO_DATA tells of."""
    words: Callable[[Link], str]
    """What stands behind `ip link add NAME type`."""


def _vti_data(link: Link, device: int | None) -> Pairs:
    assert link.local is not None and link.remote is not None
    return (
        ("IFLA_VTI_LINK", device),
        ("IFLA_VTI_IKEY", link.ikey),
        ("IFLA_VTI_OKEY", link.okey),
        ("IFLA_VTI_LOCAL", link.local.packed),
        ("IFLA_VTI_REMOTE", link.remote.packed),
    )


def _vti_fields(size: int) -> Callable[[Any], dict[str, Any]]:
    def fields(data: Any) -> dict[str, Any]:
        local, remote = (ip(data.get_attr(f"IFLA_VTI_{end}") or bytes(size)) for end in ("LOCAL", "REMOTE"))
        okey, ikey = (data.get_attr(f"IFLA_VTI_{end}") or 0 for end in ("OKEY", "IKEY"))
        return {"local": local, "remote": remote, "okey": okey, "ikey": ikey}

    return fields


def _vti_words(link: Link) -> str:
    words = f"{link.kind} local {_any(link.local)} remote {_any(link.remote)} okey {link.okey} ikey {link.ikey}"
    return f"{words} dev {link.device}" if link.device else words


def _any(end: IPAddress | None) -> str:
    return "any" if end is None or end.is_unspecified else str(end)


def _xfrm_data(link: Link, device: int | None) -> Pairs:
    return (("IFLA_XFRM_LINK", device), ("IFLA_XFRM_IF_ID", link.if_id))


def _xfrm_fields(data: Any) -> dict[str, Any]:
    return {"local": None, "remote": None, "okey": 0, "ikey": 0, "if_id": data.get_attr("IFLA_XFRM_IF_ID") or 0}


def _xfrm_words(link: Link) -> str:
    return f"xfrm {f'dev {link.device} ' if link.device else ''}if_id {link.if_id:#x}"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("vti", 4, _vti_data, _vti_fields(4), _vti_words),
        Kind("vti6", 6, _vti_data, _vti_fields(16), _vti_words),
        Kind("xfrm", None, _xfrm_data, _xfrm_fields, _xfrm_words),
    )
}
DEVICE = ("IFLA_VTI_LINK", "IFLA_XFRM_LINK")
"""Where each kind's data has the underlying link's ifindex."""


def ip(raw: bytes) -> IPAddress:
    return ip_address(bytes(raw))
