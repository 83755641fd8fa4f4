"""A connection to a VICI socket, with one time limit for all that is done with it.

    with Session("/run/charon.vici", seconds=3) as session:
        version = session.request("version")
        for sa in session.stream("list-sas", "list-sa"):
            ...

A session must not be left open unread while it is registered for events: charon keeps them in its
memory without limit, and does not end before they are read.

An event may come at any time, even before a registration is confirmed. So each event that nobody
waits for is kept, and `events` gives it later, in the order in which they came.

Never call this while holding a lock that the hook may wait for: charon waits for the hook, and
answers nothing about its IKE_SA meanwhile.
"""

import os
import socket
import struct
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from types import TracebackType
from typing import Self

from ..text import shown
from . import protocol
from .protocol import Malformed, Message, Packet, Value, VICIError

PEER_CREDENTIALS = struct.Struct("3i")
"""PID, user and group (unix(7), SO_PEERCRED)."""
TIMEVAL = struct.Struct("ll")
"""Seconds and microseconds (socket(7), SO_SNDTIMEO)."""


class Silent(VICIError):
    """charon did not answer within the time limit."""


class Closed(VICIError):
    """The socket cannot be opened, or charon has closed it."""


class NotPermitted(Closed):
    """This user may not open the socket. It is root's."""


class Refused(VICIError):
    """charon does not know the command or the event, or answered `success = no`."""


class Session:
    """A connection to the VICI socket at a path. Open it by `with`.

    All methods raise a VICIError. After Silent, Closed and Malformed the session is of no more use.
    Malformed is what another daemon's socket gives, or one of charon's other sockets.
    """

    def __init__(
        self,
        path: str,
        seconds: float,
    ) -> None:
        self._path = path
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._events: deque[tuple[str, Message]] = deque()

    def __enter__(self) -> Self:
        try:
            self._connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """charon forgets the registrations of a connection that ends."""
        self._socket.close()

    @property
    def peer(self) -> int:
        """The PID of the process that listens. 0 if it has none in our PID namespace."""
        size = PEER_CREDENTIALS.size
        raw = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid, _user, _group = PEER_CREDENTIALS.unpack(raw)
        return int(pid)

    # Asking

    def request(
        self,
        command: str,
        message: Mapping[str, Value] | None = None,
    ) -> Message:
        """charon's answer to a command.

        Raises Refused if charon does not know the command, or answers `success = no`.
        """
        self._send(protocol.CMD_REQUEST, command, message)
        return _answer(command, self._reply())

    def stream(
        self,
        command: str,
        event: str,
        message: Mapping[str, Value] | None = None,
    ) -> Generator[Message, None, None]:
        """The messages of an event that a command raises until it is answered.

        They come as charon tells them. If they are not read to the end, the session is closed,
        since nobody could tell its further messages apart.
        """
        self.register(event)
        try:
            self._send(protocol.CMD_REQUEST, command, message)
            while (packet := self._packet()).kind == protocol.EVENT:
                if packet.name == event:
                    yield packet.message
                else:
                    self._events.append((packet.name, packet.message))
        except GeneratorExit:
            self.close()
            raise
        self.unregister(event)
        _answer(command, packet)

    # Listening

    def register(self, event: str) -> None:
        """From now on charon tells this event, until `unregister` or the session's end."""
        self._send(protocol.EVENT_REGISTER, event)
        _confirmed(event, self._reply())

    def unregister(self, event: str) -> None:
        """charon tells this event no more."""
        self._send(protocol.EVENT_UNREGISTER, event)
        _confirmed(event, self._reply())

    def events(self) -> Iterator[tuple[str, Message]]:
        """Name and message of each event that is told, those that came meanwhile first.

        It ends by Silent when the time is over, and by Closed when charon ends.
        """
        while True:
            while self._events:
                yield self._events.popleft()
            self._keep(self._packet())

    # Packets

    def _reply(self) -> Packet:
        """The next packet that is no event. Events that come before it are kept."""
        while (packet := self._packet()).kind == protocol.EVENT:
            self._keep(packet)
        return packet

    def _keep(self, packet: Packet) -> None:
        if packet.kind != protocol.EVENT:
            raise Malformed(f"it sent a packet of type {packet.kind} that nobody asked for")
        self._events.append((packet.name, packet.message))

    def _packet(self) -> Packet:
        length = int.from_bytes(self._read(protocol.LENGTH_BYTES), "big")
        if length > protocol.PACKET_BYTES:
            raise Malformed(f"it announced a packet of {length} bytes")
        try:
            return protocol.unpack(self._read(length))
        except Malformed as error:
            raise Malformed(f"it sent what is no VICI: {error}") from error

    # Bytes

    def _connect(self) -> None:
        """Waits while the queue of the socket is full, as that of a charon that has stopped."""
        rest = self._rest()
        microseconds = max(1, int(rest * 1_000_000))
        limit = TIMEVAL.pack(*divmod(microseconds, 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        try:
            opened = os.open(
                self._path,
                os.O_PATH | os.O_CLOEXEC,
            )
        except (OSError, ValueError) as error:
            raise _closed(error) from error
        try:
            # A path of a socket has at most 107 bytes (unix(7)), and those of /proc are longer.
            self._socket.connect(f"/proc/self/fd/{opened}")
        except BlockingIOError as error:
            raise self._silent() from error
        except OSError as error:
            raise _closed(error) from error
        finally:
            os.close(opened)

    def _send(
        self,
        kind: int,
        name: str,
        message: Mapping[str, Value] | None = None,
    ) -> None:
        packet = protocol.pack(kind, name, message)
        length = len(packet).to_bytes(protocol.LENGTH_BYTES, "big")
        try:
            self._socket.settimeout(self._rest())
            self._socket.sendall(length + packet)
        except TimeoutError as error:
            raise self._silent() from error
        except OSError as error:
            raise _closed(error) from error

    def _read(self, count: int) -> bytes:
        pieces: list[bytes] = []
        missing = count
        while missing:
            piece = self._piece(missing)
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def _piece(self, at_most: int) -> bytes:
        try:
            self._socket.settimeout(self._rest())
            piece = self._socket.recv(at_most)
        except TimeoutError as error:
            raise self._silent() from error
        except OSError as error:
            raise _closed(error) from error
        if not piece:
            raise Closed("it closed the connection")
        return piece

    def _rest(self) -> float:
        """The seconds that are left. Raises Silent if none are."""
        rest = self._end - time.monotonic()
        if rest <= 0:
            raise self._silent()
        return rest

    def _silent(self) -> Silent:
        return Silent(f"it did not answer within {self._seconds:g} s")


def _closed(error: Exception) -> Closed:
    """What the system said to opening the socket, or to using it."""
    if isinstance(error, PermissionError):
        return NotPermitted("only root may open its socket")
    if isinstance(error, FileNotFoundError):
        return Closed("its socket is not there")
    if isinstance(error, ConnectionRefusedError):
        return Closed("nobody listens on its socket")
    reason = getattr(error, "strerror", None) or str(error)
    return Closed(f"its socket does not work: {reason}")


def _confirmed(event: str, reply: Packet) -> None:
    if reply.kind == protocol.EVENT_UNKNOWN:
        raise Refused(f"it does not know the event {shown(event)}")
    if reply.kind != protocol.EVENT_CONFIRM:
        raise Malformed(f"it answered a registration by a packet of type {reply.kind}")


def _answer(command: str, reply: Packet) -> Message:
    """The message of an answer. Raises Refused and Malformed."""
    if reply.kind == protocol.CMD_UNKNOWN:
        raise Refused(f"it does not know the command {shown(command)}")
    if reply.kind != protocol.CMD_RESPONSE:
        raise Malformed(f"it answered a command by a packet of type {reply.kind}")
    if reply.message.get("success") == "no":
        reason = reply.message.get("errmsg", "no reason told")
        raise Refused(f"it refused {shown(command)}: {shown(reason, 80)}")
    return reply.message
