"""VICI's packets, written and read. What charon really sends is in test_vici_recorded.py."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vti_updown.vici import protocol
from vti_updown.vici.protocol import Malformed, Message, Packet, pack, unpack


def texts(longest: int) -> st.SearchStrategy[str]:
    """Any bytes, as we keep them: those of UTF-8, and those of nothing."""
    raw = st.one_of(
        st.text(max_size=longest // 4).map(lambda text: text.encode("utf-8", "replace")),
        st.binary(max_size=longest),
    )
    return raw.map(lambda each: each.decode("utf-8", "surrogateescape"))


NAMES = texts(protocol.NAME_BYTES)
VALUES = texts(300)


def sections(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    return st.dictionaries(NAMES, values, max_size=4)


MESSAGES = sections(
    st.recursive(st.one_of(VALUES, st.lists(VALUES, max_size=4)), sections, max_leaves=20)
)
PACKETS = st.one_of(
    st.builds(Packet, st.sampled_from([protocol.CMD_REQUEST, protocol.EVENT]), NAMES, MESSAGES),
    st.builds(Packet, st.just(protocol.CMD_RESPONSE), st.just(""), MESSAGES),
    st.builds(
        Packet,
        st.sampled_from([protocol.EVENT_REGISTER, protocol.EVENT_UNREGISTER]),
        NAMES,
        st.just({}),
    ),
    st.builds(
        Packet,
        st.sampled_from(
            [protocol.CMD_UNKNOWN, protocol.EVENT_CONFIRM, protocol.EVENT_UNKNOWN],
        ),
        st.just(""),
        st.just({}),
    ),
)


@given(PACKETS)
def test_a_packet_is_read_as_it_was_written(packet: Packet) -> None:
    """Whatever its text."""
    assert unpack(pack(*packet)) == packet


@given(st.one_of(st.binary(max_size=300), st.lists(st.integers(0, 7), max_size=60).map(bytes)))
def test_any_bytes_are_a_packet_or_malformed(raw: bytes) -> None:
    """What is read can be written again."""
    try:
        packet = unpack(raw)
    except Malformed as error:
        assert str(error).isprintable()
    else:
        assert unpack(pack(*packet)) == packet


@given(PACKETS, st.data())
def test_a_packet_that_is_cut_is_no_packet_of_more(packet: Packet, data: st.DataObject) -> None:
    """It is malformed, or says less: a whole element may be what is cut off."""
    raw = pack(*packet)
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    try:
        assert unpack(cut) != packet
    except Malformed:
        pass


def test_the_example_of_strongswans_page() -> None:
    """README.md of its plugin, "Encoding example": written here as there, byte for byte."""
    message: Message = {
        "key1": "value1",
        "section1": {"sub-section": {"key2": "value2"}, "list1": ["item1", "item2"]},
    }
    raw = (
        b"\x03\x04key1\x00\x06value1"
        b"\x01\x08section1"
        b"\x01\x0bsub-section"
        b"\x03\x04key2\x00\x06value2"
        b"\x02"
        b"\x04\x05list1\x05\x00\x05item1\x05\x00\x05item2\x06"
        b"\x02"
    )
    assert protocol.pack_message(message) == raw
    assert protocol.unpack_message(raw) == message


@pytest.mark.parametrize(
    "raw, why",
    [
        (b"", "ends 1 bytes too early"),
        (b"\x08", "type 8 are unknown"),
        (b"\x00", "ends 1 bytes too early"),
        (b"\x00\x05abc", "ends 2 bytes too early"),
        (b"\x05x", "more bytes than it should"),
        (b"\x01\x00", "type 0 cannot stand there"),
        (b"\x01\x02", "type 2 cannot stand there"),
        (b"\x01\x05\x00\x00", "type 5 cannot stand there"),
        (b"\x01\x01\x01a", "a section has no end"),
        (b"\x01\x04\x01a", "ends 1 bytes too early"),
        (b"\x01\x04\x01a\x03\x01b\x00\x00", "type 3 cannot stand in a list"),
        (b"\x01\x03\x01a\x00\x05bcd", "ends 2 bytes too early"),
        (b"\x01" + b"\x01\x01a" * 33 + b"\x02" * 33, "more than 32 sections"),
    ],
)
def test_what_is_malformed_is_said(raw: bytes, why: str) -> None:
    """In one line."""
    with pytest.raises(Malformed, match=why):
        unpack(raw)


def test_sections_may_be_as_deep_as_we_follow() -> None:
    """One less than what is refused."""
    raw = b"\x01" + b"\x01\x01a" * 32 + b"\x02" * 32
    assert pack(*unpack(raw)) == raw


def test_the_last_of_two_equal_keys_counts() -> None:
    """charon never does so."""
    assert unpack(b"\x01\x03\x01a\x00\x01b\x03\x01a\x00\x01c").message == {"a": "c"}


@pytest.mark.parametrize(
    "longest, too_long",
    [
        (("x" * 255, {}), ("x" * 256, {})),
        (("x", {"k" * 255: ""}), ("x", {"k" * 256: ""})),
        (("x", {"k": "v" * 65535}), ("x", {"k": "v" * 65536})),
        (("x", {"k": ["ü" * 32767]}), ("x", {"k": ["ü" * 32768]})),
        (("x", {"k": ["v" * 65000] * 8}), ("x", {"k": ["v" * 65000] * 9})),
    ],
)
def test_what_is_too_long_cannot_be_written(
    longest: tuple[str, Message], too_long: tuple[str, Message]
) -> None:
    """A length has one or two bytes, and a packet 512 KiB."""
    assert unpack(pack(protocol.CMD_REQUEST, *longest)).message == longest[1]
    with pytest.raises(Malformed, match="too long"):
        pack(protocol.CMD_REQUEST, *too_long)


def test_text_that_is_no_utf8_comes_out_as_it_went_in() -> None:
    """Such as a name in Latin-1."""
    raw = b"\x01\x03\x01a\x00\x01\xfc"
    packet = unpack(raw)
    assert packet.message == {"a": "\udcfc"} and pack(*packet) == raw
