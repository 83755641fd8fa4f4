"""A tunnel interface: what it is known by, how it is read, and the commands that it stands for."""

from ipaddress import ip_address
from shlex import quote
from typing import Any

from .. import state
from ..addresses import IPAddress
from ..named_tuple import NamedTuple
from ..netlink import attributes, nla, nlmsg, text
from .link_kinds import LINK_KINDS, LinkKind, end_in_words
from .object import Object

FALLBACK_LINKS = ("ip_vti0", "ip6_vti0")
"""Links that are in every namespace and are nobody's."""
IFF_UP, IFF_RUNNING, IFF_MULTICAST = 1, 0x40, 0x1000
IN6_ADDR_GEN_MODE_EUI64, IN6_ADDR_GEN_MODE_NONE = 0, 1


class VrfData(nla):  # type: ignore[misc]
    """if_link.h, IFLA_VRF_*."""

    __slots__ = ()
    nla_map = ((1, "IFLA_VRF_TABLE", "uint32"),)


def _data_layout(kind: LinkKind) -> Any:
    """The class by which pyroute2 encodes and decodes the IFLA_INFO_DATA of a kind."""
    fields = {"__slots__": (), "nla_map": kind.layout}
    return type(f"{kind.name}_data", (nla,), fields)


DATA_LAYOUTS = {name: _data_layout(kind) for name, kind in LINK_KINDS.items()}
DATA_LAYOUTS["vrf"] = VrfData


class ifinfmsg(nlmsg):  # type: ignore[misc]
    """rtnetlink.h and if_link.h."""

    __slots__ = ()
    fields = (
        ("family", "B"),
        ("__align", "x"),
        ("ifi_type", "H"),
        ("index", "i"),
        ("flags", "I"),
        ("change", "I"),
    )
    nla_map = (
        (3, "IFLA_IFNAME", "asciiz"),
        (4, "IFLA_MTU", "uint32"),
        (10, "IFLA_MASTER", "uint32"),
        (18, "IFLA_LINKINFO", "linkinfo"),
        (20, "IFLA_IFALIAS", "asciiz"),
        (26, "IFLA_AF_SPEC", "af_spec"),
        (27, "IFLA_GROUP", "uint32"),
        (28, "IFLA_NET_NS_FD", "uint32"),
        (37, "IFLA_LINK_NETNSID", "int32"),
    )

    class linkinfo(nla):  # type: ignore[misc]
        __slots__ = ()
        nla_map = ((1, "IFLA_INFO_KIND", "asciiz"), (2, "IFLA_INFO_DATA", "of_kind"))

        @staticmethod
        def of_kind(self: Any, *_: Any, **__: Any) -> Any:  # noqa: PLW0211 (as pyroute2 calls it)
            """The layout of IFLA_INFO_DATA depends on the kind, which stands before it."""
            name = self.get_attr("IFLA_INFO_KIND")
            return DATA_LAYOUTS.get(name, self.cdata)

    class af_spec(nla):  # type: ignore[misc]
        __slots__ = ()
        nla_map = ((2, "AF_INET", "inet"), (10, "AF_INET6", "inet6"))

        class inet6(nla):  # type: ignore[misc]
            __slots__ = ()
            nla_map = ((8, "IFLA_INET6_ADDR_GEN_MODE", "uint8"),)

        class inet(nla):  # type: ignore[misc]
            __slots__ = ()
            nla_map = ((1, "IFLA_INET_CONF", "conf"),)

            class conf(nla):  # type: ignore[misc]
                """Nested by IPV4_DEVCONF_* (ip.h); only the one we set.

                A dump carries an array here: not decoded.
                """

                __slots__ = ()
                nla_map = ((16, "IPV4_DEVCONF_NOPOLICY", "uint32"),)


class LinkFields(NamedTuple):
    kind: str
    """As in `ip link add … type KIND`; see `link_kinds`."""
    local: IPAddress | None
    """None for a kind without endpoints; unspecified: any."""
    remote: IPAddress | None
    name: str
    okey: int
    """Mark that packets sent through a VTI carry, for the outbound policy to match."""
    ikey: int
    alias: str
    if_id: int = 0
    device: str = ""
    """The underlying link; empty: none."""
    netns: str = ""
    """The network namespace that it is moved to, by the name that `ip netns` knows; empty: charon's
    own.
    """
    master: str = ""
    """The VRF that it belongs to."""
    mtu: int = 0
    """0: the kernel's choice."""
    multicast: bool = False
    own_link_local: bool = False
    """Whether the kernel shall make no IPv6 link-local address of its own."""
    mtu_is_chosen: bool = False
    """Whether the settings say the MTU. If not, it is what the path to the peer allows."""


class KernelsChoice(NamedTuple):
    """What the kernel chose for a link when it was made, and settings may change."""

    mtu: int
    link_local_mode: int
    """Which IPv6 link-local address the kernel makes (IFLA_INET6_ADDR_GEN_MODE)."""

    def __str__(self) -> str:
        return f"{self.mtu} {self.link_local_mode}"


def read_choice(written: str | None) -> KernelsChoice:
    """What `str` made of a choice. Without it, the MTU is 0: not known."""
    if written is None:
        return KernelsChoice(0, IN6_ADDR_GEN_MODE_EUI64)
    mtu, mode = written.split()
    return KernelsChoice(int(mtu), int(mode))


class Link(LinkFields, Object):
    """A tunnel interface. A VTI is known by its endpoints: a second one with the same is EEXIST,
    whatever its keys.

    An XFRM interface is known by its if_id.
    """

    __slots__ = ()
    PARSERS = {"local": ip_address, "remote": ip_address}
    MERGED = {
        "mtu": "the newest of the settings; without one, the smallest that a path allows",
        "multicast": "that of those that ask for it",
        "own_link_local": "that of those that ask for it",
        "device": "the newest that is named",
    }
    UNTOLD = ("name", "alias", "device", "own_link_local", "mtu_is_chosen")

    @property
    def key(self) -> str:
        words = [self.kind, self.name_of_ends]
        if self.device and self.is_known_by_device:
            words += ["dev", self.device]
        if self.netns:
            words += ["netns", self.netns]
        return " ".join(words)

    @property
    def is_known_by_device(self) -> bool:
        """Whether the underlying link is part of what it is known by: of a VTI it is, of an XFRM
        interface not.
        """
        return self.of_kind.family is not None

    @property
    def name_of_ends(self) -> str:
        """What one of its kind is known by, as text."""
        if self.of_kind.family is None:
            return str(self.if_id)
        return f"{self.local} {self.remote}"

    @property
    def link_key(self) -> str:
        return self.key

    @property
    def ends(self) -> str:
        """Its endpoints in words, such as `192.0.2.1 → any`."""
        return f"{end_in_words(self.local)} → {end_in_words(self.remote)}"

    @property
    def label(self) -> str:
        return f"link {self.name}"

    @property
    def of_kind(self) -> LinkKind:
        return LINK_KINDS[self.kind]

    @property
    def tells_packets_apart_by(self) -> str:
        """The mark or if_id by which the kernel tells its packets from others', in words."""
        if self.of_kind.keyed_by == "if_id":
            return f"if_id {self.if_id}"
        return f"mark {self.okey or self.ikey}"

    @property
    def marks(self) -> tuple[int, int]:
        """Outbound and inbound."""
        return self.okey, self.ikey

    @property
    def kernel_identity(self) -> tuple[object, ...]:
        """What IFLA_LINKINFO tells of it, but for the underlying link."""
        return (self.kind, self.local, self.remote, self.okey, self.ikey, self.if_id)

    @property
    def has_any_end(self) -> bool:
        """Whether an endpoint is a wildcard, or is not there at all."""
        ends = (self.local, self.remote)
        return any(end is None or end.is_unspecified for end in ends)

    def changes_vrf(self, old: "Link") -> bool:
        """Whether it changes its VRF, by which it loses all addresses and routes (net/core/dev.c,
        vrf_cycle()).
        """
        return old.master != self.master

    def on_moved_link(self, old_key: str, link_key: str) -> "Link | None":
        """A link itself is moved by `moved_to`."""
        del old_key, link_key
        return None

    def moved_to(self, new: "Link") -> "Link":
        """The link as it is with the endpoints, or the if_id, of `new`."""
        return self._replace(
            local=new.local,
            remote=new.remote,
            if_id=new.if_id,
            device=new.device,
        )

    @property
    def opinion(self) -> str:
        merged = (
            self.mtu,
            self.mtu_is_chosen,
            self.multicast,
            self.own_link_local,
            self.device,
        )
        if not any(merged):
            return ""
        return " ".join(str(value) for value in merged)

    def with_opinion_of(self, older: Object) -> "Link":
        """What either asks for is there. The newest device that is named counts."""
        if not isinstance(older, Link):
            return self
        merged = self._with_mtu_of(older)
        return merged._replace(
            multicast=self.multicast or older.multicast,
            own_link_local=self.own_link_local or older.own_link_local,
            device=self.device or older.device,
        )

    def with_opinions_as(self, other: "Link") -> "Link":
        """The link with the merged fields of another."""
        return self._replace(
            mtu=other.mtu,
            mtu_is_chosen=other.mtu_is_chosen,
            multicast=other.multicast,
            own_link_local=other.own_link_local,
            device=other.device,
        )

    def _with_mtu_of(self, older: "Link") -> "Link":
        """The newest MTU that was chosen; without one, the smallest that the paths allow."""
        if self.mtu_is_chosen:
            return self
        if older.mtu_is_chosen:
            return self._replace(mtu=older.mtu, mtu_is_chosen=True)
        allowed = [mtu for mtu in (self.mtu, older.mtu) if mtu]
        return self._replace(mtu=min(allowed, default=0))

    def with_untold(self, recorded: Object) -> "Link":
        """An MTU that was the kernel's choice may be any."""
        whole = super().with_untold(recorded)
        if isinstance(recorded, Link) and not recorded.mtu:
            return whole._replace(mtu=0)
        return whole

    def with_undone(self, old: "Link | None", before: str | None) -> "Link":
        """The MTU goes back to the kernel's choice, if a setting had changed it."""
        if self.mtu or old is None or not old.mtu:
            return self
        return self._replace(mtu=read_choice(before).mtu)

    def commands(self, old: "Link | None", ifname: str) -> list[str]:
        name = quote(ifname)
        multicast = " multicast on" if self.multicast else ""
        mtu = f" mtu {self.mtu}" if self.mtu else ""
        finish = f"ip link set {name} up{multicast}{mtu} alias {quote(self.alias)}"
        if old is None:
            return [*self._creation_commands(name), finish]
        return [*self._change_commands(old, name), finish]

    def _creation_commands(self, name: str) -> list[str]:
        commands = [f"ip link add {name} group {state.group()} type {self.of_kind.words(self)}"]
        if self.master:
            commands.append(f"ip link set {name} vrf {quote(self.master)}")
        if self.own_link_local:
            commands.append(f"ip link set {name} addrgenmode none")
        return commands

    def _change_commands(self, old: "Link", name: str) -> list[str]:
        commands = []
        words = self.of_kind.words(self)
        if words != old.of_kind.words(old):
            commands.append(f"ip link set {name} type {words}")
        if self.changes_vrf(old):
            vrf = f"vrf {quote(self.master)}" if self.master else "nomaster"
            commands.append(f"ip link set {name} {vrf}")
        return commands

    def removal_commands(self, ifname: str) -> list[str]:
        return [f"ip link del {quote(ifname)}"]

    def info(self, device: int | None) -> Any:
        """IFLA_LINKINFO, with the ifindex of the underlying link."""
        data = {"attrs": attributes(self.of_kind.data(self, device))}
        return {"attrs": [("IFLA_INFO_KIND", self.kind), ("IFLA_INFO_DATA", data)]}


def read_link(told: Any | None, netns: str = "") -> Link | None:
    """The tunnel interface that a link message tells of; None for a link of another kind, and for
    those that are nobody's.

    Its master and its underlying link are not read: `underlying` has the latter's ifindex.
    """
    info = _info(told)
    if told is None or info is None:
        return None
    ifname = text(told.get_attr("IFLA_IFNAME"))
    kind = LINK_KINDS.get(info.get_attr("IFLA_INFO_KIND"))
    data = info.get_attr("IFLA_INFO_DATA")
    if kind is None or not data or ifname in FALLBACK_LINKS:
        return None
    return Link(
        kind=kind.name,
        name=ifname,
        alias=text(told.get_attr("IFLA_IFALIAS")),
        netns=netns,
        mtu=told.get_attr("IFLA_MTU") or 0,
        multicast=bool(told["flags"] & IFF_MULTICAST),
        **kind.read(data),
    )


def kernels_choice(told: Any) -> KernelsChoice:
    """What the message of a link tells of the kernel's choice."""
    inet6 = told.get_attr("IFLA_AF_SPEC").get_attr("AF_INET6")
    mode = None
    if inet6 is not None:
        mode = inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE")
    return KernelsChoice(told.get_attr("IFLA_MTU"), mode or IN6_ADDR_GEN_MODE_EUI64)


def underlying(told: Any) -> int:
    """The ifindex of the link that a tunnel is bound to; 0 for none."""
    info = told.get_attr("IFLA_LINKINFO")
    kind = LINK_KINDS[info.get_attr("IFLA_INFO_KIND")]
    return int(info.get_attr("IFLA_INFO_DATA").get_attr(kind.device_attribute) or 0)


def vrf_table(told: Any | None) -> int | None:
    """The table of the VRF that a link message tells of; None for a link of another kind."""
    info = _info(told)
    if info is None or info.get_attr("IFLA_INFO_KIND") != "vrf":
        return None
    return int(info.get_attr("IFLA_INFO_DATA").get_attr("IFLA_VRF_TABLE"))


def _info(told: Any | None) -> Any | None:
    """IFLA_LINKINFO of a link message; None where there is none."""
    if told is None:
        return None
    return told.get_attr("IFLA_LINKINFO")
