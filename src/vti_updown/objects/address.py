"""An address of a link."""

import os
import socket
from collections.abc import Collection, Iterator
from ipaddress import ip_address, ip_interface
from shlex import quote
from typing import Any

from ..addresses import IPAddress, IPInterface
from ..named_tuple import NamedTuple
from ..netlink import RTM_DELADDR, RTM_GETADDR, RTM_NEWADDR, attributes, message, nlmsg
from .by_netlink import ByNetlink
from .object import HARMLESS, PROTOCOL, Foreign, LinkThere, Namespace, Object, Place

AF = {4: socket.AF_INET, 6: socket.AF_INET6}
IFA_F_NODAD = 0x02


class ifaddrmsg(nlmsg):  # type: ignore[misc]
    """if_addr.h."""

    __slots__ = ()
    fields = (
        ("family", "B"),
        ("prefixlen", "B"),
        ("flags", "B"),
        ("scope", "B"),
        ("index", "I"),
    )
    nla_map = (
        (1, "IFA_ADDRESS", "cdata"),
        (2, "IFA_LOCAL", "cdata"),
        (3, "IFA_LABEL", "asciiz"),
        (11, "IFA_PROTO", "uint8"),
    )


class AddressFields(NamedTuple):
    link_key: str
    address: IPInterface
    peer: IPAddress | None = None
    """The other side's, on a link that is point to point."""


class Address(AddressFields, ByNetlink):
    """An address of a link."""

    __slots__ = ()
    NEW, DELETE = RTM_NEWADDR, RTM_DELADDR
    PARSERS = {"address": ip_interface, "peer": ip_address}

    @property
    def key(self) -> str:
        peer = f"peer {self.peer} " if self.peer else ""
        return f"address {self.address} {peer}of {self.link_key}"

    @property
    def label(self) -> str:
        return f"address {self.address}"

    def title(self, ifname: str) -> str:
        return f"{self.label} of {ifname}"

    @property
    def summary(self) -> str:
        return str(self.address)

    @property
    def ip(self) -> IPAddress:
        return self.address.ip

    def goes_along(self, lost: Object, staying: Collection[Object]) -> bool:
        """Whether it is an IPv4 address in the subnet of one that is removed, which may be its
        primary.

        The other side's counts, if any. Source: net/ipv4/devinet.c __inet_del_ifa().
        """
        del staying
        if not isinstance(lost, Address) or self.address.version != 4:
            return False
        return self.link_key == lost.link_key and self._subnet == lost._subnet

    @property
    def _subnet(self) -> object:
        return self.peer or self.address.network

    def commands(self, old: "Address | None", ifname: str) -> list[str]:
        doing = "replace" if old else "add"
        nodad = " nodad" if self.address.version == 6 else ""
        return [f"ip addr {doing} {self._words} dev {quote(ifname)}{nodad}"]

    def removal_commands(self, ifname: str) -> list[str]:
        return [f"ip addr del {self._words} dev {quote(ifname)}"]

    @property
    def _words(self) -> str:
        if self.peer is None:
            return str(self.address)
        return f"{self.address.ip} peer {self.peer}"

    def message(self, place: Place) -> Any:
        """An IPv4 address has its link's name as its label, as `ip addr add` gives it.

        IPv6 has no labels.
        """
        made = self.removal_message(place)
        if self.address.version == 4:
            # By the name that it has now: somebody may have renamed the link.
            made["attrs"] += [("IFA_LABEL", place.namespace.ifname(place.ifindex) or place.ifname)]
        return made

    def removal_message(self, place: Place) -> Any:
        own = self.address
        made = message(
            ifaddrmsg,
            family=AF[own.version],
            prefixlen=own.network.prefixlen,
            index=place.ifindex,
        )
        # No duplicate is looked for on a tunnel. Without this flag the address is tentative until a
        # worker of the kernel's has seen that, and no route may have it as its source meanwhile
        # (net/ipv6/addrconf.c ipv6_add_addr(), route.c).
        made["flags"] = IFA_F_NODAD if own.version == 6 else 0
        other = self.peer or own.ip
        made["attrs"] = attributes(
            (
                ("IFA_LOCAL", own.packed),
                ("IFA_ADDRESS", other.packed),
                ("IFA_PROTO", PROTOCOL),
            )
        )
        return made

    def in_its_place(self, place: Place) -> Foreign | None:
        """On a link of ours it is ours; on a borrowed one the protocol number says whose it is.

        Another vti-updown has the same number, so on its link what is there already is its own.
        """
        if not place.is_borrowed:
            return None
        if place.is_anothers:
            return HARMLESS
        wanted = message(ifaddrmsg, family=AF[self.address.version], index=place.ifindex)
        for told in place.namespace.dump(RTM_GETADDR, wanted):
            if told["index"] == place.ifindex and read_address(told, self.link_key) == self:
                return None if told.get_attr("IFA_PROTO") == PROTOCOL else HARMLESS
        return HARMLESS

    def take_away(self, place: Place, sure: bool) -> None:
        """On a borrowed link, somebody else may have put the same address since."""
        trusted = sure and not (place.is_borrowed and _tells_protocols())
        super().take_away(place, trusted)

    @classmethod
    def there(
        cls,
        namespace: Namespace,
        links: Collection[LinkThere],
        known: Collection["Address"] | None,
    ) -> Iterator[tuple["Address", bool]]:
        del known
        keys = {link.ifindex: link.key for link in links}
        for told in namespace.dump(RTM_GETADDR, ifaddrmsg()):
            link_key = keys.get(told["index"])
            if link_key is not None and own_address(told):
                is_ours = told.get_attr("IFA_PROTO") == PROTOCOL
                yield read_address(told, link_key), is_ours


def _tells_protocols() -> bool:
    """Whether the kernel keeps the protocol number of an address, as from Linux 5.18 on.

    A release may read `5.15.0-91-generic`, `6.2-rc1` or `6.2+`.
    """
    major, _, rest = os.uname().release.partition(".")
    minor = rest.replace("-", ".").replace("+", ".").partition(".")[0]
    return (int(major), int(minor)) >= (5, 18)


def own_address(told: Any) -> Any:
    """The host's own address in a message: IFA_ADDRESS may be the peer's, and IPv6 has no IFA_LOCAL
    without one.
    """
    return told.get_attr("IFA_LOCAL") or told.get_attr("IFA_ADDRESS")


def read_address(told: Any, link_key: str) -> Address:
    """The address that a message tells of, on the link with this key."""
    raw = bytes(own_address(told))
    other = bytes(told.get_attr("IFA_ADDRESS") or raw)
    peer = None if other == raw else ip_address(other)
    return Address(link_key, ip_interface((raw, told["prefixlen"])), peer)
