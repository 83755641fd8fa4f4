"""A VICI socket that answers as a test says."""

import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

from vti_updown.vici import protocol
from vti_updown.vici.protocol import Message, Packet, Value, pack, unpack

SECONDS = 60
"""A time limit that no test runs into unless something hangs."""
Answer = Callable[[Packet], Iterable[bytes]]
"""What follows a packet: the bytes that are sent one after the other, with their lengths."""


def sent(kind: int, name: str = "", message: Mapping[str, Value] | None = None) -> bytes:
    """A packet with its length."""
    return framed(pack(kind, name, message))


def framed(packet: bytes) -> bytes:
    return len(packet).to_bytes(4, "big") + packet


def response(message: Mapping[str, Value] | None = None) -> bytes:
    return sent(protocol.CMD_RESPONSE, "", message)


def event(name: str, message: Mapping[str, Value] | None = None) -> bytes:
    return sent(protocol.EVENT, name, message)


CONFIRM = sent(protocol.EVENT_CONFIRM)
VERSION, STATS = {"version": "5.9.8"}, {"plugins": ["vici", "updown"]}


def as_charon(packet: Packet, **lists: list[Message]) -> list[bytes]:
    """What a charon without SAs answers, but for the messages of `list_sas` and `list_conns`."""
    if packet.kind != protocol.CMD_REQUEST:
        return [CONFIRM]
    if packet.name == "version":
        return [response(VERSION)]
    if packet.name == "stats":
        return [response(STATS)]
    name = packet.name.removesuffix("s")
    messages = lists.get(packet.name.replace("-", "_"), [])
    return [*(event(name, message) for message in messages), response()]


class FakeCharon:
    """Listens at a path as long as the `with` lasts, and answers each packet by a function."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = str(path)
        self.asked: list[tuple[int, str]] = []
        """Type and name of each packet that came."""
        self.over = threading.Event()
        """Set at the end. An answer that never comes waits for it."""
        self._answer = answer
        self._listening = socket.socket(socket.AF_UNIX)
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listening.bind(self.path)
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for each in (self._listening, *self._connections):
            self._end(each)
            each.close()

    def never(self) -> Iterable[bytes]:
        """An answer that does not come."""
        self.over.wait()
        return []

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection.makefile("rb") as received:
                while length := received.read(4):
                    packet = unpack(received.read(int.from_bytes(length, "big")))
                    self.asked.append((packet.kind, packet.name))
                    for piece in self._answer(packet):
                        connection.sendall(piece)
        except (OSError, ValueError):
            pass  # The client has gone, or the answer ends the connection.
        finally:
            self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
