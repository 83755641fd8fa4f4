"""rtnetlink requests and replies on pyroute2's netlink layer. It knows nothing of tunnels.

Each object's file holds the layout of its own messages; the few that all of them need are here.

`import pyroute2` runs the package's `__init__`, which imports everything pyroute2 has and costs
four times the bash script that this hook replaces. Only `pyroute2.netlink`, the layer that encodes
and decodes messages, is needed here; `_netlink()` is the one place that imports it by itself.
Layouts and numbers: include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h and netlink.h of the
kernel.
"""

import importlib.machinery
import importlib.util
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any


def _netlink() -> ModuleType:
    """`pyroute2.netlink` without its package's `__init__`.

    The package stays importable for whoever wants all of it.
    """
    if "pyroute2" in sys.modules:
        return importlib.import_module("pyroute2.netlink")
    spec = importlib.machinery.PathFinder.find_spec("pyroute2")
    if spec is None:
        raise ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2")
    sys.modules["pyroute2"] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module("pyroute2.netlink")
    finally:
        del sys.modules["pyroute2"]


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
RTM_GETNSID = 90

SOL_NETLINK = 270
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12
SO_NETNS_COOKIE = 71
NLMSGHDR = struct.Struct("=IHHII")
"""Length, type, flags, sequence number and port."""
NLMSGERR = struct.Struct("=16xi")
"""A message's header, and the error."""
NLATTR = struct.Struct("=HH")
"""Length and type of an attribute."""
NUMBERS = {"uint8": struct.Struct("=B"), "uint32": struct.Struct("=I")}
"""The attributes that `flat` packs, by pyroute2's words for them."""
REPLY_BYTES = 1 << 17
DUMPS = 5
"""How often a dump is tried that others' changes interrupt, so that it may lack what is there
(NLM_F_DUMP_INTR).
"""
REPLY_SECONDS = 20
"""How long a reply may take.

The kernel answers at once, or when another holder of its rtnl lock lets go.
"""


class rtgenmsg(nlmsg):  # type: ignore[misc]
    """net_namespace.h.

    The family is one byte, and attributes begin at the next multiple of four.
    """

    __slots__ = ()
    fields = (("family", "I"),)
    nla_map = ((1, "NETNSA_NSID", "int32"), (3, "NETNSA_FD", "uint32"))


class nlmsgerr(nlmsg):  # type: ignore[misc]
    """With NETLINK_CAP_ACK the request's header follows the error, and its payload does not."""

    __slots__ = ()
    fields = (
        ("error", "i"),
        ("length", "I"),
        ("type", "H"),
        ("request_flags", "H"),
        ("sequence", "I"),
        ("port", "I"),
    )
    nla_map = ((1, "NLMSGERR_ATTR_MSG", "asciiz"),)


class NetlinkError(OSError):
    """What the kernel answered: `errno`, and its own words (extended ack) where it has any."""


class Socket:
    """One rtnetlink socket: a request at a time, each answered before the next one goes out."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.settimeout(REPLY_SECONDS)
        self._sequence = 0
        self._interrupted = False
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            try:
                self._socket.setsockopt(SOL_NETLINK, option, 1)
            except OSError:
                pass  # A kernel before 4.20 has no words of its own, and does not filter dumps.

    def namespace(self) -> int:
        """The network namespace's cookie, never used again while this kernel runs.

        Linux before 5.14 has none, so there it is the namespace's inode.
        """
        try:
            raw = self._socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
        except OSError:
            return os.stat("/proc/self/ns/net").st_ino
        return int.from_bytes(raw, sys.byteorder)

    def request(self, kind: int, message: Any, flags: int = 0) -> list[Any]:
        """Sends a request and returns its replies, which have the request's own layout.

        A change has none. Raises NetlinkError as the kernel refuses it.
        """
        layout = type(message)
        return [_decoded(layout, data) for data in self.raw(kind, message, flags)]

    def raw(self, kind: int, message: Any, flags: int = 0) -> list[bytes]:
        """Sends a request and returns the bytes of its replies, headers and all.

        To decode a reply takes much longer than to get it, and a host may have many routes.
        """
        data = self._encoded(kind, message, flags)
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

    def _encoded(self, kind: int, message: Any, flags: int) -> bytes:
        self._sequence += 1
        wanted = 0 if _is_question(kind) else NLM_F_ACK
        whole_flags = NLM_F_REQUEST | flags | wanted
        packed = flat(message)
        if packed is not None:
            length = NLMSGHDR.size + len(packed)
            return NLMSGHDR.pack(length, kind, whole_flags, self._sequence, 0) + packed
        message["header"] = {
            "type": kind,
            "flags": whole_flags,
            "sequence_number": self._sequence,
        }
        message.encode()
        return bytes(message.data)

    def _replies(self, dump: bool) -> Iterator[bytes]:
        while True:
            for kind, data in self._messages():
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    _raise_error(data)
                    return
                yield data
                if not dump:
                    return

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        """The messages of one datagram that answer the last request: type and bytes of each.

        Each begins with a struct nlmsghdr: length, type, flags, sequence number (netlink.h).
        """
        datagram = self._socket.recv(REPLY_BYTES)
        start = 0
        while start < len(datagram):
            length, kind, flags, sequence, _ = NLMSGHDR.unpack_from(datagram, start)
            if sequence == self._sequence:
                if flags & NLM_F_DUMP_INTR:
                    self._interrupted = True
                yield kind, datagram[start : start + length]
            start += aligned(length)

    def close(self) -> None:
        self._socket.close()


def _is_question(kind: int) -> bool:
    """Whether a request asks, rather than changes: RTM_NEW…, DEL…, GET… follow each other
    (rtnetlink.h).
    """
    return kind % 4 == RTM_GETLINK % 4


def _decoded(layout: Any, data: bytes) -> Any:
    message = layout(data)
    message.decode()
    return message


def _raise_error(data: bytes) -> None:
    """Raises NetlinkError for a message that tells of one; an acknowledgement has the error 0."""
    (error,) = NLMSGERR.unpack_from(data)
    if not error:
        return
    message = nlmsgerr(data)
    message.decode()
    number = -error
    raise NetlinkError(number, message.get_attr("NLMSGERR_ATTR_MSG") or os.strerror(number))


def aligned(length: int) -> int:
    """NLMSG_ALIGN (netlink.h)."""
    return (length + 3) & ~3


def flat(message: Any) -> bytes | None:
    """What follows the header of a message with plain attributes only. None for another.

    pyroute2 encodes every message, and takes seven times as long. A full tunnel may need 10,000.
    """
    layout = _layout(type(message))
    values = [message[name] or 0 for name in layout.names]
    parts = [layout.fields.pack(*values)]
    for name, value in message["attrs"]:
        number, kind = layout.attributes[name]
        if kind in NUMBERS:
            raw = NUMBERS[kind].pack(value)
        elif kind == "cdata":
            raw = value
        else:
            return None
        length = NLATTR.size + len(raw)
        padding = bytes(aligned(length) - length)
        parts += [NLATTR.pack(length, number), raw, padding]
    return b"".join(parts)


class _Layout:
    """What `flat` needs of a class of messages."""

    __slots__ = ("attributes", "fields", "names")

    def __init__(self, layout: Any) -> None:
        codes = [code for _, code in layout.fields]
        self.fields = struct.Struct("=" + "".join(codes))
        self.names = [name for name, code in layout.fields if code != "x"]
        self.attributes = {name: (number, kind) for number, name, kind in layout.nla_map}


_layouts: dict[Any, _Layout] = {}


def _layout(layout: Any) -> _Layout:
    known = _layouts.get(layout)
    if known is None:
        known = _layouts[layout] = _Layout(layout)
    return known


def text(value: Any) -> str:
    """A name that the kernel tells. It may be any bytes, and pyroute2 leaves those as they are.

    No name is empty.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value or ""


def message(layout: Any, **fields: Any) -> Any:
    """A message of this layout with these fields of its header."""
    made = layout()
    for name, value in fields.items():
        made[name] = value
    return made


def attributes(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """An attribute list without those that are None."""
    return [(name, value) for name, value in pairs if value is not None]
