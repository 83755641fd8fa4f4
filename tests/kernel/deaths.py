"""Every change that an event makes, in the kernel and in the records, as a numbered point where it
can die or fail.
"""

import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from vti_updown import netlink as rt
from vti_updown.objects import sysctl as kernel_module

CHANGES = {
    rt.RTM_NEWLINK: "NEWLINK",
    rt.RTM_DELLINK: "DELLINK",
    rt.RTM_NEWADDR: "NEWADDR",
    rt.RTM_DELADDR: "DELADDR",
    rt.RTM_NEWROUTE: "NEWROUTE",
    rt.RTM_DELROUTE: "DELROUTE",
    rt.RTM_NEWRULE: "NEWRULE",
    rt.RTM_DELRULE: "DELRULE",
}
WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT")

Do = Callable[[str], None]


class Points:
    """Calls `at` before each change, with its number and its name.

    Between two changes nothing happens that could be lost: a death before each of them, and one
    after the last, are all deaths there are.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, at: Callable[[int, str], None] = lambda number, name: None
    ) -> None:
        self.names: list[str] = []
        points = self
        self._at = at
        request = rt.Socket.request

        def counted_request(
            socket: rt.Socket, kind: int, message: Any, flags: int = 0
        ) -> list[Any]:
            if kind in CHANGES:
                points.point(CHANGES[kind])
            return request(socket, kind, message, flags)

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if sql.startswith(WRITES):
                    points.point(f"db {sql.split(maxsplit=1)[0]}")
                return super().execute(sql, *values)

            def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
                points.point(f"db {sql.split(maxsplit=1)[0]}")
                return super().executemany(sql, *values)

        def counted_open(path: Any, mode: str = "r", **more: Any) -> Any:
            if "w" in mode:
                points.point("sysctl")
            return open(path, mode, **more)

        connect = sqlite3.connect
        patch.setattr(rt.Socket, "request", counted_request)
        patch.setattr(
            sqlite3,
            "connect",
            lambda *words, **more: connect(*words, **{"factory": Connection, **more}),
        )
        patch.setattr(kernel_module, "open", counted_open, raising=False)

    def point(self, name: str) -> None:
        self.names.append(name)
        self._at(len(self.names) - 1, name)


def count(call: Callable[[], object]) -> list[str]:
    """The changes that `call` makes, by name; it is run."""
    with pytest.MonkeyPatch.context() as patch:
        points = Points(patch)
        call()
    return points.names


def killed(call: Callable[[], object], number: int) -> bool:
    """Runs `call` in a process of its own that is killed before its change `number`; whether it
    came that far.
    """

    def die(now: int, _name: str) -> None:
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            Points(pytest.MonkeyPatch(), die)
            call()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def failing(
    call: Callable[[], object], first: int, times: int, alike: bool, error: Callable[[], Exception]
) -> int:
    """Runs `call`, in which change number `first`, and those after it, raise an error instead,
    `times` in all. How many did.

    `alike` leaves out those with another name; the records never fail with the kernel.
    """
    raised: list[str] = []

    def fail(number: int, name: str) -> None:
        meant = number == first or (
            number > first and name == raised[0] if alike else not name.startswith("db")
        )
        if number >= first and meant and len(raised) < times:
            raised.append(name)
            raise error()

    with pytest.MonkeyPatch.context() as patch:
        Points(patch, fail)
        call()
    return len(raised)
