"""TCP transfers both ways: what a client sends is counted, and as much is sent back.

transfer.py serve PORT                  any number of clients, one after the other
transfer.py fetch ADDRESS PORT BYTES    prints how many bytes came back
"""

import socket
import sys

CHUNK = bytes(65536)
SECONDS = 60
"""How long nothing may come before it counts as a black hole."""


def received(connection: socket.socket) -> int:
    total = 0
    while data := connection.recv(len(CHUNK)):
        total += len(data)
    return total


def send(connection: socket.socket, count: int) -> None:
    while count:
        count -= connection.send(CHUNK[:count])
    connection.shutdown(socket.SHUT_WR)


def serve(port: str) -> None:
    with socket.create_server(
        ("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True
    ) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(SECONDS)
                try:
                    send(connection, received(connection))
                except OSError as error:
                    print(error, file=sys.stderr)


def fetch(address: str, port: str, count: str) -> None:
    with socket.create_connection((address, int(port)), SECONDS) as connection:
        send(connection, int(count))
        print(received(connection))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "serve":
        serve(*arguments)
    else:
        fetch(*arguments)
