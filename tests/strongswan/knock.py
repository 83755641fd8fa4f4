"""Pings addresses without end and whatever comes of it, and writes down for each how many were
sent, refused and answered.

knock.py FILE ADDRESS… -- ADDRESS…

One packet leaves every 10 ms: nine to the first addresses in turn, then one to the others in turn.
The file is written twice a second.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice

ECHO = {4: (8, 0), 6: (128, 129)}
"""Types of a request and of its reply (RFC 792, RFC 4443)."""
IDENT = os.getpid() & 0xFFFF


def request(version: int, number: int) -> bytes:
    """An echo request without data. The kernel makes ICMPv6's checksum, but not ICMP's."""
    total = (ECHO[version][0] << 8) + IDENT + number
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return b"".join(
        word.to_bytes(2, "big") for word in (ECHO[version][0] << 8, checksum, IDENT, number)
    )


def sockets() -> dict[int, socket.socket]:
    made = {
        4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
    }
    for one in made.values():
        one.setblocking(False)
    return made


def answers(one: socket.socket, version: int) -> list[str]:
    """Who has answered since the last look."""
    found = []
    try:
        while True:
            packet, address = one.recvfrom(2048)
            icmp = packet[(packet[0] & 15) * 4 :] if version == 4 else packet
            if icmp[0] == ECHO[version][1] and int.from_bytes(icmp[4:6], "big") == IDENT:
                found.append(address[0])
    except OSError:
        return found


def turns(words: Sequence[str]) -> Iterator[str]:
    """Whom each packet is for."""
    at = words.index("--")
    often, seldom = cycle(words[:at]), cycle(words[at + 1 :])
    while True:
        yield from islice(often, 9)
        yield next(seldom)


def main(file: str, *words: str) -> None:
    by_version = sockets()
    counts = {
        address: {"sent": 0, "refused": 0, "answered": 0} for address in words if address != "--"
    }
    written = 0.0
    for number, to in enumerate(turns(words)):
        version = 6 if ":" in to else 4
        counts[to]["sent"] += 1
        try:
            by_version[version].sendto(request(version, number & 0xFFFF), (to, 0))
        except OSError:
            counts[to]["refused"] += 1
        for version, one in by_version.items():
            for address in answers(one, version):
                if address in counts:
                    counts[address]["answered"] += 1
        if (now := time.monotonic()) > written + 0.5:
            written = now
            with open(f"{file}.new", "w") as new:
                json.dump(counts, new)
            os.rename(f"{file}.new", file)
        time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
