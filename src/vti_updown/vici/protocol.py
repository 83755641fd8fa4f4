"""VICI's packets as bytes, both ways. It does no I/O.

A packet is a type, for some types a name, and for some types a message. A message is a tree of
sections. Each section holds values, lists of values, and further sections. The layers are described
in strongSwan's src/libcharon/plugins/vici/README.md.

    >>> pack(CMD_REQUEST, "list-sas", {"noblock": "yes"})
    b'\\x00\\x08list-sas\\x03\\x07noblock\\x00\\x03yes'

Text need not be UTF-8: what is not is kept as Python keeps such file names (surrogateescape), so
the same bytes come out again. Print such text by `text.shown` only.
"""

from collections.abc import Mapping
from typing import TypeAlias

from ..named_tuple import NamedTuple

CMD_REQUEST, CMD_RESPONSE, CMD_UNKNOWN = 0, 1, 2
EVENT_REGISTER, EVENT_UNREGISTER, EVENT_CONFIRM, EVENT_UNKNOWN, EVENT = 3, 4, 5, 6, 7
"""The types of packets (vici_dispatcher.h, vici_operation_t)."""
NAMED = {CMD_REQUEST, EVENT_REGISTER, EVENT_UNREGISTER, EVENT}
WITH_MESSAGE = {CMD_REQUEST, CMD_RESPONSE, EVENT}
TYPES = {*NAMED, *WITH_MESSAGE, CMD_UNKNOWN, EVENT_CONFIRM, EVENT_UNKNOWN}

SECTION_START, SECTION_END, KEY_VALUE, LIST_START, LIST_ITEM, LIST_END = 1, 2, 3, 4, 5, 6
"""The types of a message's elements (vici_message.h, vici_type_t)."""

LENGTH_BYTES = 4
"""What stands before a packet: its length, in network order."""
PACKET_BYTES = 512 * 1024
"""The longest packet without its length (vici_socket.h, VICI_MESSAGE_SIZE_MAX).

charon leaves out what would be longer, and logs that.
"""
NAME_BYTES = 0xFF
VALUE_BYTES = 0xFFFF
DEPTH = 32
"""As many sections as we follow into each other. charon's lists need four."""

Value: TypeAlias = "str | list[str] | Message"
Message: TypeAlias = "dict[str, Value]"
"""A section: a value is text, a list of texts, or a section.

If a key is there twice, the last one counts.
"""


class VICIError(Exception):
    """Asking charon did not work. It says why, in one line without control characters."""


class Malformed(VICIError):
    """Bytes are no VICI packet, or a message cannot be written as one."""


class Packet(NamedTuple):
    kind: int
    """One of TYPES."""
    name: str
    """Of the command or the event. Empty for a type that has no name."""
    message: Message
    """Empty for a type that has none."""


# Writing


def pack(
    kind: int,
    name: str = "",
    message: Mapping[str, Value] | None = None,
) -> bytes:
    """A packet without its length. Raises Malformed if a part of it is too long."""
    packed = bytes([kind])
    if kind in NAMED:
        packed += _short(name)
    if kind in WITH_MESSAGE:
        packed += pack_message(message or {})
    if len(packed) > PACKET_BYTES:
        raise Malformed(f"a packet of {len(packed)} bytes is too long")
    return packed


def pack_message(message: Mapping[str, Value]) -> bytes:
    """The elements of a section. Raises Malformed if a part of it is too long."""
    packed = b""
    for key, value in message.items():
        packed += _element(key, value)
    return packed


def _element(key: str, value: Value) -> bytes:
    name = _short(key)
    if isinstance(value, str):
        return bytes([KEY_VALUE]) + name + _long(value)
    if isinstance(value, list):
        items = b"".join(bytes([LIST_ITEM]) + _long(item) for item in value)
        return bytes([LIST_START]) + name + items + bytes([LIST_END])
    return bytes([SECTION_START]) + name + pack_message(value) + bytes([SECTION_END])


def _short(text: str) -> bytes:
    """A name behind its length of one byte."""
    return _with_length(text, NAME_BYTES, 1)


def _long(text: str) -> bytes:
    """A value behind its length of two bytes."""
    return _with_length(text, VALUE_BYTES, 2)


def _with_length(
    text: str,
    limit: int,
    size: int,
) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) > limit:
        raise Malformed(f"a text of {len(raw)} bytes is too long, {limit} is the most")
    return len(raw).to_bytes(size, "big") + raw


# Reading


def unpack(raw: bytes) -> Packet:
    """The packet of these bytes, which stand behind its length. Raises Malformed."""
    reader = _Reader(raw)
    kind = reader.number(1)
    if kind not in TYPES:
        raise Malformed(f"packets of type {kind} are unknown")
    name = ""
    message: Message = {}
    if kind in NAMED:
        name = reader.text(1)
    if kind in WITH_MESSAGE:
        message = _message(reader)
    if not reader.is_at_end:
        raise Malformed(f"a packet of type {kind} has more bytes than it should")
    return Packet(kind, name, message)


def unpack_message(raw: bytes) -> Message:
    """The message of these elements. Raises Malformed."""
    return _message(_Reader(raw))


class _Reader:
    """Takes one piece after another off the front of some bytes."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._raw)

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def text(self, size_of_length: int) -> str:
        """The text behind its own length."""
        length = self.number(size_of_length)
        return self._take(length).decode("utf-8", "surrogateescape")

    def _take(self, count: int) -> bytes:
        piece = self._raw[self._at : self._at + count]
        if len(piece) < count:
            raise Malformed(f"the packet ends {count - len(piece)} bytes too early")
        self._at += count
        return piece


def _message(reader: _Reader) -> Message:
    """All that is left, as a message."""
    root: Message = {}
    within = [root]
    while not reader.is_at_end:
        section = within[-1]
        element = reader.number(1)
        if element == KEY_VALUE:
            key = reader.text(1)
            section[key] = reader.text(2)
        elif element == LIST_START:
            key = reader.text(1)
            section[key] = _items(reader)
        elif element == SECTION_START:
            within.append(_new_section(reader, within))
        elif element == SECTION_END and len(within) > 1:
            within.pop()
        else:
            raise Malformed(f"an element of type {element} cannot stand there")
    if len(within) > 1:
        raise Malformed("a section has no end")
    return root


def _new_section(reader: _Reader, within: list[Message]) -> Message:
    """The section that begins here, in the innermost of those that it is within."""
    if len(within) > DEPTH:
        raise Malformed(f"more than {DEPTH} sections are within each other")
    section: Message = {}
    within[-1][reader.text(1)] = section
    return section


def _items(reader: _Reader) -> list[str]:
    """The items of the list that begins here, up to its end."""
    items: list[str] = []
    while (element := reader.number(1)) == LIST_ITEM:
        items.append(reader.text(2))
    if element != LIST_END:
        raise Malformed(f"an element of type {element} cannot stand in a list")
    return items
