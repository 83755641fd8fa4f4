"""rtnetlink requests and replies on pyroute2's netlink layer. It knows message layouts, and nothing of tunnels.

`import pyroute2` runs the package's `__init__`, which imports everything pyroute2 has and costs four times the bash
script that this hook replaces. Only `pyroute2.netlink`, the layer that encodes and decodes messages, is needed here;
`_netlink()` is the one place that imports it by itself. Layouts and numbers: include/uapi/linux/rtnetlink.h,
if_link.h, if_addr.h and netlink.h of the kernel.
"""

import importlib.machinery
import importlib.util
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, ClassVar


def _netlink() -> ModuleType:
    """`pyroute2.netlink` without its package's `__init__`; the package stays importable for whoever wants all of it."""
    if "pyroute2" not in sys.modules:
        spec = importlib.machinery.PathFinder.find_spec("pyroute2")
        if spec is None:
            raise ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2")
        sys.modules["pyroute2"] = importlib.util.module_from_spec(spec)
        try:
            return importlib.import_module("pyroute2.netlink")
        finally:
            del sys.modules["pyroute2"]
    return importlib.import_module("pyroute2.netlink")


_pyroute2_netlink = _netlink()
nla: Any = _pyroute2_netlink.nla
nlmsg: Any = _pyroute2_netlink.nlmsg

NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_DUMP, NLM_F_DUMP_INTR = 0x300, 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTM_NEWNSID, RTM_GETNSID = 88, 90

SOL_NETLINK = 270
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12
SO_NETNS_COOKIE = 71
REPLY_BYTES = 1 << 17
DUMPS = 5
"""How often a dump is tried that others' changes interrupt, so that it may lack what is there (NLM_F_DUMP_INTR)."""
REPLY_SECONDS = 20
"""How long a reply may take. The kernel answers at once, or when another holder of its rtnl lock lets go."""


class ifinfmsg(nlmsg):  # type: ignore[misc]
    __slots__ = ()
    fields = (("family", "B"), ("__align", "x"), ("ifi_type", "H"), ("index", "i"), ("flags", "I"), ("change", "I"))
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
            layouts = {"vti": self.vti, "vti6": self.vti, "xfrm": self.xfrm, "vrf": self.vrf}
            return layouts.get(self.get_attr("IFLA_INFO_KIND"), self.cdata)

        class vti(nla):  # type: ignore[misc]
            """if_tunnel.h, IFLA_VTI_*: addresses in network order, keys big-endian. vti6 has the same numbers."""

            __slots__ = ()
            nla_map = (
                (1, "IFLA_VTI_LINK", "uint32"),
                (2, "IFLA_VTI_IKEY", "be32"),
                (3, "IFLA_VTI_OKEY", "be32"),
                (4, "IFLA_VTI_LOCAL", "cdata"),
                (5, "IFLA_VTI_REMOTE", "cdata"),
            )

        class xfrm(nla):  # type: ignore[misc]
            """if_link.h, IFLA_XFRM_*."""

            __slots__ = ()
            nla_map = ((1, "IFLA_XFRM_LINK", "uint32"), (2, "IFLA_XFRM_IF_ID", "uint32"))

        class vrf(nla):  # type: ignore[misc]
            __slots__ = ()
            nla_map = ((1, "IFLA_VRF_TABLE", "uint32"),)

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
                """Nested by IPV4_DEVCONF_* (ip.h); only the one we set. A dump carries an array here: not decoded."""

                __slots__ = ()
                nla_map = ((16, "IPV4_DEVCONF_NOPOLICY", "uint32"),)


class ifaddrmsg(nlmsg):  # type: ignore[misc]
    __slots__ = ()
    fields = (("family", "B"), ("prefixlen", "B"), ("flags", "B"), ("scope", "B"), ("index", "I"))
    nla_map = (
        (1, "IFA_ADDRESS", "cdata"),
        (2, "IFA_LOCAL", "cdata"),
        (3, "IFA_LABEL", "asciiz"),
        (11, "IFA_PROTO", "uint8"),
    )


class rtmsg(nlmsg):  # type: ignore[misc]
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
    )

    class metrics(nla):  # type: ignore[misc]
        __slots__ = ()
        nla_map = ((2, "RTAX_MTU", "uint32"),)


class fib_rule_hdr(nlmsg):  # type: ignore[misc]
    """fib_rules.h."""

    __slots__ = ()
    fields = (
        ("family", "B"),
        ("dst_len", "B"),
        ("src_len", "B"),
        ("tos", "B"),
        ("table", "B"),
        ("res1", "B"),
        ("res2", "B"),
        ("action", "B"),
        ("flags", "I"),
    )
    nla_map = (
        (1, "FRA_DST", "cdata"),
        (2, "FRA_SRC", "cdata"),
        (3, "FRA_IIFNAME", "asciiz"),
        (6, "FRA_PRIORITY", "uint32"),
        (10, "FRA_FWMARK", "uint32"),
        (14, "FRA_SUPPRESS_PREFIXLEN", "uint32"),
        (15, "FRA_TABLE", "uint32"),
        (21, "FRA_PROTOCOL", "uint8"),
        (22, "FRA_IP_PROTO", "uint8"),
        (23, "FRA_SPORT_RANGE", "port_range"),
    )

    class port_range(nla):  # type: ignore[misc]
        """struct fib_rule_port_range."""

        __slots__ = ()
        fields = (("start", "H"), ("end", "H"))


class rtgenmsg(nlmsg):  # type: ignore[misc]
    """net_namespace.h. The family is one byte, and attributes begin at the next multiple of four."""

    __slots__ = ()
    fields = (("family", "I"),)
    nla_map = ((1, "NETNSA_NSID", "int32"), (3, "NETNSA_FD", "uint32"))


class nlmsgerr(nlmsg):  # type: ignore[misc]
    """With NETLINK_CAP_ACK the request's header follows the error, and its payload does not."""

    __slots__ = ()
    fields = (("error", "i"), ("length", "I"), ("type", "H"), ("request_flags", "H"), ("sequence", "I"), ("port", "I"))
    nla_map = ((1, "NLMSGERR_ATTR_MSG", "asciiz"),)


class NetlinkError(OSError):
    """What the kernel answered: `errno`, and its own words (extended ack) where it has any."""


class Socket:
    """One rtnetlink socket: a request at a time, each answered before the next one goes out."""

    LAYOUTS: ClassVar[dict[int, Any]] = {
        RTM_NEWLINK: ifinfmsg,
        RTM_NEWADDR: ifaddrmsg,
        RTM_NEWROUTE: rtmsg,
        RTM_NEWRULE: fib_rule_hdr,
        RTM_NEWNSID: rtgenmsg,
        NLMSG_ERROR: nlmsgerr,
    }

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(REPLY_SECONDS)
        self._sequence = 0
        self._interrupted = False
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            try:
                self._socket.setsockopt(SOL_NETLINK, option, 1)
            except OSError:  # a kernel before 4.20: no kernel's own words, unfiltered dumps
                pass

    def namespace(self) -> int:
        """The network namespace's cookie, never used again while this kernel runs; its inode before Linux 5.14."""
        try:
            raw = self._socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
            return int.from_bytes(raw, sys.byteorder)
        except OSError:
            return os.stat("/proc/self/ns/net").st_ino

    def request(self, kind: int, message: Any, flags: int = 0) -> list[Any]:
        """Sends a request and returns its replies, none for a change. Raises NetlinkError as the kernel refuses it."""
        self._sequence += 1
        reply_wanted = kind in (RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETRULE, RTM_GETNSID)
        message["header"] = {
            "type": kind,
            "flags": NLM_F_REQUEST | flags | (0 if reply_wanted else NLM_F_ACK),
            "sequence_number": self._sequence,
        }
        message.encode()
        data = bytes(message.data)
        if flags & NLM_F_DUMP != NLM_F_DUMP:
            self._socket.sendto(data, (0, 0))
            return list(self._replies(dump=False))
        for _ in range(DUMPS):
            self._interrupted = False
            self._socket.sendto(data, (0, 0))
            replies = list(self._replies(dump=True))
            if not self._interrupted:
                break
        return replies

    def _replies(self, dump: bool) -> Iterator[Any]:
        while True:
            for kind, data in self._messages():
                if kind == NLMSG_DONE:
                    return
                layout = self.LAYOUTS.get(kind)
                if layout is None:
                    continue
                message = layout(data)
                message.decode()
                if kind == NLMSG_ERROR:
                    if message["error"]:
                        number = -message["error"]
                        raise NetlinkError(number, message.get_attr("NLMSGERR_ATTR_MSG") or os.strerror(number))
                    return
                yield message
                if not dump:
                    return

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        """The messages of one datagram that answer the last request: type and bytes of each."""
        datagram = self._socket.recv(REPLY_BYTES)
        while datagram:
            length = int.from_bytes(datagram[0:4], sys.byteorder)
            if int.from_bytes(datagram[8:12], sys.byteorder) == self._sequence:
                if int.from_bytes(datagram[6:8], sys.byteorder) & NLM_F_DUMP_INTR:
                    self._interrupted = True
                yield int.from_bytes(datagram[4:6], sys.byteorder), datagram[:length]
            datagram = datagram[(length + 3) & ~3 :]

    def close(self) -> None:
        self._socket.close()


def attributes(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """An attribute list without those that are None."""
    return [(name, value) for name, value in pairs if value is not None]
