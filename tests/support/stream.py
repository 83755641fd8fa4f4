"""Packets that are sent through a tunnel all the time, and how many were lost."""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable

from .host import Host, inside
from .namespaces import WAIT_SECONDS, Failed


def comes_true(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> bool:
    """Waits until the condition is true; whether it is."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return true


ANSWER = r"icmp_seq=(\d+) ttl"
STREAM_SECONDS = 0.01
"""From one packet to the next: what a policy-based tunnel carries without loss, even emulated."""
DEAF_SECONDS = 5
"""A tunnel that has answered nothing of what was sent for so long carries no packets."""


class Stream:
    """A ping every 10 ms through a tunnel that carries packets, between `with` and its end.

    Then `lost` of `sent` were not answered, at most `row` of them in a row, and `tail` at the end:
    0 where the tunnel carries packets still. How long an answer takes does not matter.
    """

    def __init__(self, host: Host, source: str, address: str, netns: str = "") -> None:
        self._file = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the stream ends
        # Without the process namespace nsenter does not fork, so that the signals below reach ping.
        ping = ["ping", "-n", "-i", str(STREAM_SECONDS), "-I", source, address]
        self._words = ["nsenter", "-t", str(host.pid), "-m", "-n", *inside(netns), *ping]
        self._name = f"{host.name}: {source} → {address}"
        self.sent = self.lost = self.row = self.tail = 0

    def __enter__(self) -> "Stream":
        self._ping = subprocess.Popen(
            self._words,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if not comes_true(lambda: self._answered() > 0):
            self._ping.kill()
            self._ping.wait()
            raise Failed(f"{self._name}: no packet passes\n{self._text()}")
        return self

    def __exit__(self, *_: object) -> None:
        self._ping.send_signal(signal.SIGQUIT)  # has it say `ANSWERED/SENT packets, …`
        carries = comes_true(self._carries, DEAF_SECONDS)
        self._ping.send_signal(signal.SIGINT)
        self._ping.wait(WAIT_SECONDS)
        text, last = self._text(), self._answered()
        self._file.close()
        said = re.search(r"(\d+) packets transmitted", text)
        if said is None:
            raise Failed(f"{self._name}: ping said nothing\n{text}")
        self.sent = last if carries else int(said[1])
        self.tail = self.sent - last
        answered = {int(number) for number in re.findall(ANSWER, text)}
        row = 0
        for number in range(1, self.sent + 1):
            row = 0 if number in answered else row + 1
            self.lost += number not in answered
            self.row = max(self.row, row)

    def _carries(self) -> bool:
        """Whether a packet was answered that was sent after ping had been asked for its count."""
        said = re.search(r"\d+/(\d+) packets,", self._text())
        return said is not None and self._answered() > int(said[1])

    def _answered(self) -> int:
        """The number of the last packet that was answered."""
        return max((int(number) for number in re.findall(ANSWER, self._text())), default=0)

    def _text(self) -> str:
        # ping writes at the place that the file is at: it is read without moving there.
        number = self._file.fileno()
        return os.pread(number, os.fstat(number).st_size, 0).decode()

    def __str__(self) -> str:
        return f"{self.lost} of {self.sent}" + (f", {self.row} in a row" if self.row > 1 else "")
