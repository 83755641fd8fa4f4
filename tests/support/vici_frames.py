"""What a charon sends over VICI, byte for byte: tests/unit/vici-VERSION.json is such a record."""

import json
import socket
from collections.abc import Iterator
from typing import Any

from vti_updown.vici import protocol
from vti_updown.vici.protocol import Message

SECONDS = 60
Asked = dict[str, list[str]]
"""For each step of a conversation the packets that charon sent, in hexadecimal digits."""


def frames(path: str) -> Asked:
    """One conversation with the charon behind this socket.

    It asks for what has each shape that a message can have, and for what charon does not know.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(path)
        ask = protocol.CMD_REQUEST
        register = protocol.EVENT_REGISTER
        steps: dict[str, tuple[Any, ...]] = {
            "version": (ask, "version"),
            "stats": (ask, "stats"),
            "register list-conn": (register, "list-conn"),
            "list-conns": (ask, "list-conns"),
            "register list-sa": (register, "list-sa"),
            "list-sas": (ask, "list-sas"),
            "unregister list-sa": (protocol.EVENT_UNREGISTER, "list-sa"),
            "unknown command": (ask, "list-dragons"),
            "unknown event": (register, "dragon"),
            "refused": (ask, "unload-conn", {"name": "dragon"}),
        }
        return {step: list(_answers(connection, *words)) for step, words in steps.items()}


def _answers(connection: socket.socket, kind: int, name: str, *message: Message) -> Iterator[str]:
    packet = protocol.pack(kind, name, *message)
    connection.sendall(len(packet).to_bytes(4, "big") + packet)
    last = protocol.EVENT
    while last == protocol.EVENT:
        length = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
        raw = connection.recv(length, socket.MSG_WAITALL)
        last = raw[0]
        yield raw.hex()


def written(asked: Asked) -> str:
    """As the file has it."""
    return json.dumps(asked, indent=1) + "\n"
