"""Lets the hook run on a kernel without VTI: what asks for a VTI asks for another link instead.

`bench.py` has the hook import this before anything else. All that it knows of the hook is that it
talks rtnetlink through `socket.socket`, with `sendto` and `recv`. What is sent asks for the
stand-in, and what is received tells of the VTI that the hook has asked for. Layouts:
include/uapi/linux/netlink.h, rtnetlink.h and if_link.h.
"""

import os
import socket
from collections.abc import Iterator
from struct import Struct
from typing import Any

VTI = b"vti\0"
STAND_IN = os.environb.get(b"STAND_IN_KIND", b"dummy") + b"\0"
PARAMETERS = "/run/stand-in"
"""Where the parameters of the VTI are kept while its stand-in is there."""

RTM_NEWLINK, RTM_GETLINK = 16, 18
IFLA_LINKINFO = 18
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
HEADER = Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
LINK_MESSAGE_BYTES = 16
"""struct ifinfomsg."""
ATTRIBUTE = Struct("=HH")
"""struct nlattr: length and type."""


class Socket(socket.socket):
    """A socket that changes link messages on their way."""

    def sendto(self, data: Any, *arguments: Any) -> int:
        if VTI in data:
            data = with_kind(bytes(data), VTI, STAND_IN)
        return super().sendto(data, *arguments)

    def recv(self, *arguments: Any) -> bytes:
        data = super().recv(*arguments)
        if STAND_IN not in data:
            return data
        return b"".join(with_kind(message, STAND_IN, VTI) for message in messages(data))


def messages(datagram: bytes) -> Iterator[bytes]:
    while datagram:
        length = HEADER.unpack_from(datagram)[0]
        yield datagram[:length]
        datagram = datagram[padded(length) :]


def with_kind(message: bytes, old: bytes, new: bytes) -> bytes:
    """The message of a link, with another kind where it has that of `old`."""
    _, message_type, flags, sequence, port = HEADER.unpack_from(message)
    if message_type not in (RTM_NEWLINK, RTM_GETLINK):
        return message
    start = HEADER.size + LINK_MESSAGE_BYTES
    body = message[HEADER.size : start]
    for attribute, value in attributes(message[start:]):
        is_kind = attribute == IFLA_LINKINFO
        body += encoded(attribute, link_info(value, old, new) if is_kind else value)
    return HEADER.pack(HEADER.size + len(body), message_type, flags, sequence, port) + body


def link_info(info: bytes, old: bytes, new: bytes) -> bytes:
    found = dict(attributes(info))
    if found.get(IFLA_INFO_KIND) != old:
        return info
    kind = encoded(IFLA_INFO_KIND, new)
    if new == VTI:
        return kind + encoded(IFLA_INFO_DATA, kept_parameters())
    if IFLA_INFO_DATA in found:
        keep_parameters(found[IFLA_INFO_DATA])
    return kind


def keep_parameters(data: bytes) -> None:
    with open(PARAMETERS, "wb") as file:
        file.write(data)


def kept_parameters() -> bytes:
    with open(PARAMETERS, "rb") as file:
        return file.read()


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        length, attribute = ATTRIBUTE.unpack_from(data)
        yield attribute & 0x3FFF, data[ATTRIBUTE.size : length]
        data = data[padded(length) :]


def encoded(attribute: int, value: bytes) -> bytes:
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, attribute) + value + bytes(padded(length) - length)


def padded(length: int) -> int:
    return (length + 3) & ~3


socket.socket = Socket  # type: ignore[misc]
