"""Several charons asked at once: what they tell, and what is said of those that do not."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from vti_updown.vici import ask as asking
from vti_updown.vici import charons, protocol
from vti_updown.vici.ask import Answer, ask
from vti_updown.vici.charons import Charon, Hook, Socket
from vti_updown.vici.protocol import Message, Packet

from .fake_charon import SECONDS, FakeCharon, as_charon

SOON = 0.5
"""A time limit that a test waits for."""
SAS: list[Message] = [
    {"gw": {"uniqueid": "1", "child-sas": {"net-1": {"name": "net", "state": "INSTALLED"}}}},
    {"gw": {"uniqueid": "2"}},
]
CONNECTIONS: list[Message] = [{"gw": {"version": "IKEv2"}}, {"rw": {"version": "IKEv2"}}]


def full(packet: Packet) -> Iterable[bytes]:
    """What a charon with two SAs answers."""
    return as_charon(packet, list_sas=SAS, list_conns=CONNECTIONS)


def only(path: Path | str, seconds: float = SECONDS) -> Answer:
    (answer,) = ask([str(path)], seconds)
    return answer


def charon_at(path: str, pid: int) -> Charon:
    return Charon(pid, "charon", "", "", (Socket("/run/charon.vici", path, "7"),))


def test_a_charon_tells_all(tmp_path: Path) -> None:
    """And who it is: the kernel says which process listens."""
    with FakeCharon(tmp_path / "a", full) as charon:
        answer = only(charon.path)
    assert (answer.trouble, answer.remark, answer.hooks) == ("", "", [])
    assert (answer.version, answer.plugins) == ("5.9.8", ["vici", "updown"])
    assert [sa.unique_id for sa in answer.sas or []] == [1, 2] and answer.is_complete
    assert [each.name for each in answer.connections or []] == ["gw", "rw"]
    assert answer.charon.pid == os.getpid() and answer.socket == charon.path
    assert (protocol.CMD_REQUEST, "list-sas") in charon.asked


def test_a_charon_without_sas_is_no_silent_one(tmp_path: Path) -> None:
    """An empty list is another answer than none."""
    with FakeCharon(tmp_path / "a", as_charon) as charon:
        answer = only(charon.path)
    assert (answer.sas, answer.connections, answer.is_complete) == ([], [], True)


def test_charons_are_asked_side_by_side(tmp_path: Path) -> None:
    """None is answered before all have been asked."""
    together = threading.Barrier(3)

    def waits(packet: Packet) -> Iterable[bytes]:
        if packet.name == "version":
            together.wait(SECONDS)
        return full(packet)

    with (
        FakeCharon(tmp_path / "a", waits) as first,
        FakeCharon(tmp_path / "b", waits) as second,
        FakeCharon(tmp_path / "c", waits) as third,
    ):
        answers = ask([first.path, second.path, third.path], SECONDS)
    assert [answer.trouble for answer in answers] == [""] * 3
    assert [answer.socket for answer in answers] == [first.path, second.path, third.path]


def test_a_silent_charon_spoils_no_others_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one that is not there, or no charon."""
    monkeypatch.setattr(charons, "hooks", lambda _pid: [])
    with (
        FakeCharon(tmp_path / "a", lambda _packet: silent.never()) as silent,
        FakeCharon(tmp_path / "b", full) as good,
        FakeCharon(tmp_path / "c", lambda _packet: [b"HTTP/1.1 400\r\n"]) as web,
    ):
        answers = ask([silent.path, good.path, web.path, str(tmp_path / "d")], 3)
    assert [answer.trouble for answer in answers] == [
        "it did not answer within 3.0 s",
        "",
        "it announced a packet of 1213486160 bytes",
        "its socket is not there",
    ]
    assert answers[0].sas is None and answers[0].connections is None
    assert answers[1].is_complete


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Hook:
    hook = Hook(123, "vti-updown", 12.3)
    monkeypatch.setattr(charons, "hooks", lambda _pid: [hook])
    return hook


def test_a_list_that_waits_for_a_hook_is_asked_for_without_it(tmp_path: Path, hook: Hook) -> None:
    """What charon works on is missing, and the hook is named."""

    def busy(packet: Packet) -> Iterable[bytes]:
        if packet.name == "list-sas" and "noblock" not in packet.message:
            yield from list(full(packet))[:1]
            yield from charon.never()
        yield from full(packet)

    with FakeCharon(tmp_path / "a", busy) as charon:
        answer = only(charon.path, SOON)
    assert [sa.unique_id for sa in answer.sas or []] == [1, 2] and not answer.is_complete
    assert answer.hooks == [hook]
    assert answer.trouble == (
        "it did not answer within 0.3 s, since it waits for its hook: PID 123, vti-updown,"
        " for 12 s; SAs that it works on are missing"
    )


def test_a_charon_that_is_silent_for_good_names_the_hook(tmp_path: Path, hook: Hook) -> None:
    """What came before is there: here, a part of the list."""

    def stuck(packet: Packet) -> Iterable[bytes]:
        if packet.name == "list-sas":
            yield from list(full(packet))[:1]
            yield from charon.never()
        yield from full(packet)

    with FakeCharon(tmp_path / "a", stuck) as charon:
        answer = only(charon.path, SOON)
    assert answer.version == "5.9.8" and len(answer.connections or []) == 2
    assert [sa.unique_id for sa in answer.sas or []] == [1] and not answer.is_complete
    assert answer.hooks == [hook]
    assert "within 0.5 s, since it waits for its hook: PID 123" in answer.trouble


def test_a_charon_without_a_socket_says_what_it_takes() -> None:
    """It is not left out."""
    (answer,) = ask([Charon(7, "charon", "", "", ())], SECONDS)
    assert answer.trouble == asking.NO_SOCKET and answer.socket == ""


def test_the_first_socket_that_is_vici_is_taken(tmp_path: Path) -> None:
    """Where strongswan.conf has given it a name of its own, each is tried."""
    with (
        FakeCharon(tmp_path / "a", lambda _packet: [b"HTTP/1.1 400\r\n"]) as web,
        FakeCharon(tmp_path / "b", full) as good,
    ):
        sockets = tuple(Socket(path, path, "") for path in (web.path, good.path))
        (answer,) = ask([Charon(os.getpid(), "charon", "", "", sockets)], SECONDS)
    assert (answer.socket, answer.trouble, answer.is_complete) == (good.path, "", True)


def test_anothers_socket_at_the_path_is_not_asked(tmp_path: Path) -> None:
    """Such as that of a second charon with the same path."""
    with FakeCharon(tmp_path / "a", full) as charon:
        (answer,) = ask([charon_at(charon.path, pid=1)], SECONDS)
    assert answer.trouble == f"PID {os.getpid()} listens on its socket instead"
    assert answer.sas is None and charon.asked == []


def test_a_socket_that_may_be_anothers_is_asked_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from an inner PID namespace, where the kernel tells no PID."""
    monkeypatch.setattr("vti_updown.vici.session.Session.peer", 0)
    with FakeCharon(tmp_path / "a", full) as charon:
        (answer,) = ask([charon_at(charon.path, pid=1)], SECONDS)
    assert answer.is_complete and "cannot be told" in answer.remark


def test_a_fault_of_ours_is_the_trouble_of_one_charon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' answers are there."""

    def fail(_message: Message) -> list[object]:
        raise KeyError("x")

    monkeypatch.setattr(asking, "connections", fail)
    with FakeCharon(tmp_path / "a", full) as one, FakeCharon(tmp_path / "b", as_charon) as other:
        answers = ask([one.path, other.path], SECONDS)
    assert "a fault of its own: KeyError" in answers[0].trouble
    assert answers[1].is_complete


def test_nobody_is_asked_where_there_is_nobody() -> None:
    """An empty list is fine."""
    assert ask([], SECONDS) == []
