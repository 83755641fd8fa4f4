"""What happened to each tunnel: the table `history`, as events and commands write it.

A row comes with the first commit of an event, and says that it has begun. A last commit completes
it. So an event that dies in between is seen to have begun and not to have ended. Triggers of the
schema drop what is too old. Nothing but `records.past` reads it: no event goes by it.
"""

import sqlite3
from collections.abc import Iterable

from ..named_tuple import NamedTuple

SAID_CHARACTERS = 600
"""As much of what an event said, or changed, as is kept."""
ENVIRON_CHARACTERS = 8192
"""A longer environment is not kept. charon's have about 900 characters."""
STALE = "stale"
"""The verb of what was ended since its charon is gone. charon called no hook for it."""


class Entry(NamedTuple):
    """What is known of an event when it begins."""

    verb: str
    """PLUTO_VERB, the name of a command for people, or STALE."""
    called: float
    """When charon called, or a person, in seconds since the epoch."""
    tunnel: str = ""
    """`matching.Tunnel` as JSON."""
    late: float | None = None
    """When it was begun, if it had to be written down before."""
    unique_id: int | None = None
    """None for a command for people."""
    charon: str = ""
    environ: str = ""
    """PLUTO_* as JSON."""


class Came(NamedTuple):
    """What came of an event, or of a command for people."""

    seconds: float
    """How long it took."""
    status: int
    said: str
    """Its lines, or why it failed."""
    changed: str
    """What it put, changed and took away."""


class History:
    """The table `history`, for one event after another."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self._entry: Entry | None = None
        """The event that has begun."""
        self._number: int | None = None
        self._own_was_up = False
        """Whether the tunnel of the event was up before."""
        self._was_up: dict[str, bool] = {}
        """The same of each other tunnel whose references have changed."""
        self._pending: dict[str, bool] = {}
        """Those of which that is not committed yet."""

    def touch(self, tunnel: str) -> None:
        """Its references are about to change. Those that were made anew are of no tunnel."""
        if not tunnel or tunnel in self._was_up or tunnel in self._pending:
            return
        self._pending[tunnel] = self.is_up(tunnel)

    def committed(self) -> None:
        """What was touched has changed."""
        self._was_up |= self._pending
        self._pending.clear()

    def rolled_back(self) -> None:
        """What was touched, and not committed, has not changed."""
        self._pending.clear()

    def is_up(self, tunnel: str) -> bool:
        """Whether a CHILD_SA of the tunnel is up, as far as the references tell.

        What stands is none, and one whose `up` failed has no wish.
        """
        ask = (
            "SELECT 1 FROM reference WHERE tunnel = ? AND number > 0"
            " AND EXISTS (SELECT 1 FROM wish WHERE reference = number) LIMIT 1"
        )
        return self._db.execute(ask, (tunnel,)).fetchone() is not None

    # An event

    def begin(self, entry: Entry) -> None:
        """An event begins. Its row is written with its first commit."""
        self._was_up.clear()
        self._own_was_up = self.is_up(entry.tunnel)
        self._entry = entry
        self._number = self._insert(entry, self._own_was_up)

    def end(self, came: Came) -> None:
        """The event that has begun is over. It is for the caller to commit.

        Tunnels that it has ended beside its own were those of a charon that is gone.
        """
        entry = self._entry
        if entry is None:
            return
        self._entry = None
        if not self._complete(self._number, came, entry.tunnel):
            # The event was rolled back, and its row with it.
            number = self._insert(entry, self._own_was_up)
            self._complete(number, came, entry.tunnel)
        self._was_up.pop(entry.tunnel, None)
        self.add(Entry(STALE, entry.called), Came(0, 0, "its charon was gone", ""))

    # What is no event

    def add(
        self,
        entry: Entry,
        came: Came,
        tunnels: Iterable[str] = (),
    ) -> None:
        """Adds a row for each tunnel whose references have changed, and for these.

        `entry` has no tunnel yet.
        """
        changed = {tunnel: self.is_up(tunnel) for tunnel in tunnels} | self._was_up
        self._was_up.clear()
        for tunnel, was_up in changed.items():
            number = self._insert(entry._replace(tunnel=tunnel), was_up)
            self._complete(number, came, tunnel)

    # The rows

    def _insert(self, entry: Entry, was_up: bool) -> int | None:
        environ = None
        if 0 < len(entry.environ) <= ENVIRON_CHARACTERS:
            environ = entry.environ
        cursor = self._db.execute(
            "INSERT INTO history"
            " (tunnel, verb, called, late, unique_id, charon, environ, was_up)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.tunnel,
                entry.verb,
                entry.called,
                entry.late,
                entry.unique_id,
                entry.charon,
                environ,
                was_up,
            ),
        )
        return cursor.lastrowid

    def _complete(
        self,
        number: int | None,
        came: Came,
        tunnel: str,
    ) -> bool:
        """Whether there is such a row, which is complete now."""
        cursor = self._db.execute(
            "UPDATE history SET seconds = ?, status = ?, said = ?, changed = ?, is_up = ?"
            " WHERE number = ?",
            (
                came.seconds,
                came.status,
                came.said[:SAID_CHARACTERS],
                came.changed[:SAID_CHARACTERS],
                self.is_up(tunnel),
                number,
            ),
        )
        return cursor.rowcount > 0
