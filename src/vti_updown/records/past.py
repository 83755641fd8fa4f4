"""What `records.history` has written, read for people."""

import json
import sqlite3
from collections.abc import Mapping

from ..named_tuple import NamedTuple
from .history import STALE
from .late import LateEvents
from .matching import Tunnel


class Past(NamedTuple):
    """One event of a tunnel, or a command for people that was about it."""

    number: int
    """In the order in which they began. Below 0 if it waits still."""
    tunnel: Tunnel
    verb: str
    """PLUTO_VERB, the name of a command, or `STALE`."""
    called: float
    """When charon called, in seconds since the epoch."""
    late: float | None
    """When it was begun, if it had to be written down before."""
    unique_id: int | None
    charon: str
    was_up: bool | None
    """Whether a CHILD_SA of the tunnel was up before. None if it waits still."""
    is_up: bool | None = None
    """The same afterwards. None if the event has not ended."""
    seconds: float | None = None
    """How long it took. None if it has not ended."""
    status: int | None = None
    said: str = ""
    changed: str = ""
    environ: Mapping[str, str] | None = None
    """PLUTO_*, if they are kept still."""

    @property
    def waits(self) -> bool:
        """Whether it is written down, and nobody has begun with it."""
        return self.was_up is None

    @property
    def is_event(self) -> bool:
        """Whether charon called the hook, or somebody by hand in its place."""
        return self.unique_id is not None

    @property
    def is_down(self) -> bool:
        return self.verb.startswith("down-") or self.verb == STALE

    @property
    def begins_outage(self) -> bool:
        """Whether the tunnel's last CHILD_SA went."""
        return self.was_up is True and self.is_up is False

    @property
    def ends_outage(self) -> bool:
        """Whether a CHILD_SA came while there was none."""
        return self.was_up is False and self.is_up is True


def everything(database: sqlite3.Connection) -> list[Past]:
    """All that is kept, the oldest first."""
    rows = database.execute(
        "SELECT number, tunnel, verb, called, late, unique_id, charon, was_up, is_up,"
        " seconds, status, said, changed, variables"
        " FROM history LEFT JOIN environment USING (number) ORDER BY number"
    )
    past = []
    for number, tunnel, verb, called, late, unique_id, charon, was_up, is_up, *rest in rows:
        seconds, status, said, changed, environ = rest
        past.append(
            Past(
                number=number,
                tunnel=Tunnel(*json.loads(tunnel)),
                verb=verb,
                called=called,
                late=late,
                unique_id=unique_id,
                charon=charon,
                was_up=bool(was_up),
                is_up=None if is_up is None else bool(is_up),
                seconds=seconds,
                status=status,
                said=said or "",
                changed=changed or "",
                environ=json.loads(environ) if environ else None,
            )
        )
    return past


def waiting(events: LateEvents) -> list[Past]:
    """The events that are written down, and not done yet, in their order."""
    past: list[Past] = []
    for name in events.names():
        try:
            late = events.read(name)
        except (OSError, ValueError):
            continue  # It was done meanwhile, or cannot be read.
        if not isinstance(late.since, float):
            continue
        environ = late.environ
        unique_id = environ.get("PLUTO_UNIQUEID", "")
        tunnel = Tunnel(
            environ.get("PLUTO_CONNECTION", ""),
            environ.get("PLUTO_PEER_ID", ""),
            environ.get("PLUTO_XAUTH_ID", ""),
        )
        past.append(
            Past(
                number=-1 - len(past),
                tunnel=tunnel,
                verb=environ.get("PLUTO_VERB", ""),
                called=late.since,
                late=None,
                unique_id=int(unique_id) if unique_id.isdecimal() else None,
                charon=late.charon,
                was_up=None,
                environ=environ,
            )
        )
    return past
