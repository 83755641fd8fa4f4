"""A session with a VICI socket: in order, and with peers that are slow, silent or no charon."""

import os
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import pytest

from vti_updown.vici import protocol
from vti_updown.vici.protocol import Malformed, Packet
from vti_updown.vici.session import Closed, NotPermitted, Refused, Session, Silent

from .fake_charon import (
    CONFIRM,
    SECONDS,
    Answer,
    FakeCharon,
    as_charon,
    event,
    framed,
    response,
    sent,
)

SOON = 0.2
"""A time limit that a test waits for."""
SAS: list[protocol.Message] = [{f"gw{number}": {"uniqueid": str(number)}} for number in range(3)]


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "charon.vici"


def lists(packet: Packet) -> Iterable[bytes]:
    return as_charon(packet, list_sas=SAS)


# In order


def test_a_request_is_answered(socket_path: Path) -> None:
    """The answer is a message."""
    with FakeCharon(socket_path, as_charon) as charon, Session(charon.path, SECONDS) as session:
        assert session.request("version") == {"version": "5.9.8"}
        assert session.peer == os.getpid()


def test_a_list_is_streamed_and_ends(socket_path: Path) -> None:
    """After it the session is as before."""
    with FakeCharon(socket_path, lists) as charon, Session(charon.path, SECONDS) as session:
        for _ in range(2):
            assert list(session.stream("list-sas", "list-sa")) == SAS
        assert session.request("version")["version"] == "5.9.8"
    assert charon.asked[:3] == [(3, "list-sa"), (0, "list-sas"), (4, "list-sa")]


def test_a_list_that_is_not_read_to_its_end_closes_the_session(socket_path: Path) -> None:
    """What else would come could not be told from the next answer."""
    with FakeCharon(socket_path, lists) as charon, Session(charon.path, SECONDS) as session:
        stream = session.stream("list-sas", "list-sa")
        assert next(stream) == SAS[0]
        stream.close()
        with pytest.raises(Closed):
            session.request("version")


def test_a_request_has_its_message(socket_path: Path) -> None:
    """As given, to the byte."""
    seen: list[Packet] = []

    def answer(packet: Packet) -> Iterable[bytes]:
        seen.append(packet)
        return as_charon(packet)

    wanted: protocol.Message = {"ike": "\udcfc", "list": ["a"], "section": {"k": "v"}}
    with FakeCharon(socket_path, answer) as charon, Session(charon.path, SECONDS) as session:
        session.request("version", wanted)
        list(session.stream("list-sas", "list-sa", {"noblock": "yes"}))
    assert seen[0].message == wanted and seen[2].message == {"noblock": "yes"}


def test_events_that_come_in_between_are_kept_in_order(socket_path: Path) -> None:
    """Before a confirmation, before an answer, and among a list."""
    up, down = event("ike-updown", {"up": "yes"}), event("ike-updown")

    def answer(packet: Packet) -> Iterable[bytes]:
        if packet.kind == protocol.EVENT_UNREGISTER:
            return [down, CONFIRM, event("ike-rekey")]
        return [up, *lists(packet)]

    with FakeCharon(socket_path, answer) as charon, Session(charon.path, SECONDS) as session:
        session.register("ike-updown")
        assert session.request("version")["version"] == "5.9.8"
        assert list(session.stream("list-sas", "list-sa")) == SAS
        heard = session.events()
        names = [next(heard) for _ in range(6)]
    assert names[:4] == [("ike-updown", {"up": "yes"})] * 4
    assert names[4:] == [("ike-updown", {}), ("ike-rekey", {})]


def test_events_end_when_charon_does(socket_path: Path) -> None:
    """All that were sent before come first."""

    def answer(_packet: Packet) -> Iterable[bytes]:
        yield CONFIRM
        yield event("ike-updown") * 3
        raise ConnectionError

    heard = []
    with FakeCharon(socket_path, answer) as charon, Session(charon.path, SECONDS) as session:
        session.register("ike-updown")
        with pytest.raises(Closed, match="closed the connection"):
            for name, _ in session.events():
                heard.append(name)
    assert heard == ["ike-updown"] * 3


def test_events_that_nobody_raises_end_with_the_time(socket_path: Path) -> None:
    """There is no waiting without a limit."""
    with FakeCharon(socket_path, as_charon) as charon, Session(charon.path, SOON) as session:
        session.register("ike-updown")
        with pytest.raises(Silent, match=r"within 0\.2 s"):
            next(session.events())


# What charon refuses


@pytest.mark.parametrize(
    "reply, why",
    [
        (sent(protocol.CMD_UNKNOWN), r"does not know the command list-x\\n"),
        (response({"success": "no", "errmsg": "bad\nidea"}), r"refused list-x\\n: bad\\nidea$"),
        (response({"success": "no"}), "no reason told"),
    ],
)
def test_a_refusal_says_why_in_one_line(socket_path: Path, reply: bytes, why: str) -> None:
    """Whatever charon says of it. The session goes on."""

    def answer(packet: Packet) -> Iterable[bytes]:
        return [reply] if packet.name.startswith("list-x") else as_charon(packet)

    with FakeCharon(socket_path, answer) as charon, Session(charon.path, SECONDS) as session:
        with pytest.raises(Refused, match=why):
            session.request("list-x\n")
        assert session.request("version")["version"] == "5.9.8"


def test_an_unknown_event_is_refused(socket_path: Path) -> None:
    """As `alert` before strongSwan 6.0.3."""

    def answer(packet: Packet) -> Iterable[bytes]:
        return [sent(protocol.EVENT_UNKNOWN)] if packet.name == "alert" else as_charon(packet)

    with FakeCharon(socket_path, answer) as charon, Session(charon.path, SECONDS) as session:
        with pytest.raises(Refused, match="does not know the event alert"):
            session.register("alert")
        session.register("ike-updown")


# Peers that are no good


def always(*pieces: bytes) -> Answer:
    return lambda packet: pieces


@pytest.mark.parametrize(
    "pieces, why",
    [
        ([b"HTTP/1.1 400 Bad Request\r\n"], "announced a packet of 1213486160 bytes"),
        ([(protocol.PACKET_BYTES + 1).to_bytes(4, "big")], "announced a packet of 524289 bytes"),
        ([framed(b"")], "no VICI: the packet ends 1 bytes too early"),
        ([framed(b"\x09")], "no VICI: packets of type 9 are unknown"),
        ([framed(b"\x01\x01\x01a")], "no VICI: a section has no end"),
        ([CONFIRM], "answered a command by a packet of type 5"),
    ],
)
def test_what_is_no_vici_is_said(socket_path: Path, pieces: list[bytes], why: str) -> None:
    """Such as stroke's socket, or another daemon's."""
    with (
        FakeCharon(socket_path, always(*pieces)) as charon,
        Session(charon.path, SECONDS) as session,
        pytest.raises(Malformed, match=why),
    ):
        session.request("version")


def test_an_answer_where_an_event_should_be_is_no_vici(socket_path: Path) -> None:
    """And a registration is not answered as a command is."""
    with FakeCharon(socket_path, always(response())) as charon:
        no_vici = pytest.raises(Malformed, match="registration by a packet of type 1")
        with Session(charon.path, SECONDS) as session, no_vici:
            session.register("ike-updown")
        no_vici = pytest.raises(Malformed, match="type 1 that nobody asked for")
        with Session(charon.path, SECONDS) as session, no_vici:
            session._send(protocol.CMD_REQUEST, "version")
            next(session.events())


def test_the_longest_message_is_read_in_whatever_pieces(socket_path: Path) -> None:
    """512 KiB, the first of it byte by byte."""
    values = ["v" * 65000] * 8
    rest = protocol.PACKET_BYTES - len(protocol.pack(protocol.CMD_RESPONSE, "", {"k": values}))
    message: protocol.Message = {"k": [*values, "v" * (rest - 3)]}
    raw = response(message)
    assert len(raw) == protocol.PACKET_BYTES + 4

    def answer(_packet: Packet) -> Iterable[bytes]:
        yield from (raw[at : at + 1] for at in range(1000))
        yield raw[1000:]

    with FakeCharon(socket_path, answer) as charon, Session(charon.path, SECONDS) as session:
        assert session.request("version") == message


def test_a_peer_that_never_answers_is_silent(socket_path: Path) -> None:
    """It took the request, and that is all."""
    with (
        FakeCharon(socket_path, lambda _packet: charon.never()) as charon,
        Session(charon.path, SOON) as session,
        pytest.raises(Silent, match=r"did not answer within 0\.2 s"),
    ):
        session.request("version")


def test_a_byte_now_and_then_does_not_extend_the_limit(socket_path: Path) -> None:
    """Without the one limit, this answer would take a quarter of an hour."""
    raw = response({"k": "v" * 60000})

    def answer(_packet: Packet) -> Iterable[bytes]:
        for at in range(len(raw)):
            time.sleep(SOON / 15)
            yield raw[at : at + 1]

    start = time.monotonic()
    with (
        FakeCharon(socket_path, answer) as charon,
        Session(charon.path, SOON) as session,
        pytest.raises(Silent),
    ):
        session.request("version")
    assert time.monotonic() - start < SECONDS


def test_events_without_end_do_not_extend_the_limit(socket_path: Path) -> None:
    """Not even if each comes at once."""

    def answer(packet: Packet) -> Iterable[bytes]:
        if packet.kind != protocol.CMD_REQUEST:
            yield CONFIRM
        while not charon.over.is_set():
            yield event("ike-updown")

    with (
        FakeCharon(socket_path, answer) as charon,
        Session(charon.path, SOON) as session,
        pytest.raises(Silent),
    ):
        session.request("version")


def test_a_peer_that_reads_nothing_is_silent(tmp_path: Path) -> None:
    """A request that does not fit into the socket's memory waits for its reader."""
    with socket.socket(socket.AF_UNIX) as listening:
        path = str(tmp_path / "socket")
        listening.bind(path)
        listening.listen()
        big: protocol.Message = {"k": ["v" * 65000] * 8}
        with Session(path, SOON) as session, pytest.raises(Silent):
            for _ in range(100):
                session._send(protocol.CMD_REQUEST, "version", big)


def test_a_socket_whose_queue_is_full_is_silent(tmp_path: Path) -> None:
    """As that of a charon that has been stopped by a signal."""
    path = str(tmp_path / "socket")
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(path)
        listening.listen(0)
        full = False
        while not full:
            client = opened.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            full = client.connect_ex(path) != 0
        with pytest.raises(Silent), Session(path, SOON):
            pass


def test_a_socket_that_is_not_there_or_dead_is_closed(tmp_path: Path) -> None:
    """And what is no socket at all."""
    with pytest.raises(Closed, match="its socket is not there"), Session(str(tmp_path / "x"), 1):
        pass
    dead = tmp_path / "dead"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(dead))
    for path in (dead, tmp_path):
        with pytest.raises(Closed, match="nobody listens"), Session(str(path), 1):
            pass
    with pytest.raises(Closed, match="does not work"), Session("a\0b", 1):
        pass


def test_who_may_not_open_the_socket_is_told_who_may(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is root's."""

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(NotPermitted, match="only root"), Session(str(socket_path), 1):
        pass


def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    """A socket's own address holds 107 bytes."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    here = folder / "charon.vici"
    with FakeCharon(tmp_path / "charon.vici", as_charon) as charon:
        os.rename(charon.path, here)
        with Session(str(here), SECONDS) as session:
            assert session.request("version")["version"] == "5.9.8"


def test_a_session_leaves_no_descriptor_open(socket_path: Path) -> None:
    """Neither one that worked nor one that did not."""

    def descriptors() -> set[str]:
        return set(os.listdir("/proc/self/fd"))

    before = len(descriptors())
    with pytest.raises(Closed), Session(str(socket_path), 1):
        pass
    assert len(descriptors()) == before
