"""What happened to each tunnel: the table `history`, as events and commands write it.

A row comes with the first commit of an event, and says that it has begun. A last commit completes
it. So an event that dies in between is seen to have begun and not to have ended. Every 16th row
drops what is too old. Nothing but `records.past` reads it: no event goes by it.
"""

import sqlite3
from collections.abc import Iterable

from ..named_tuple import NamedTuple

KEPT = 50
"""How many events of a tunnel are kept."""
ENVIRONS_KEPT = 4
"""Of how many events of a tunnel the environment is kept."""
ALL_KEPT = 20_000
"""How many events are kept in all. They take some 5 MB."""
ALL_ENVIRONS_KEPT = 2_000
OFTEN, SELDOM = 16, 64
"""After how many rows it is looked for old ones of their tunnels, and for old ones of all."""
SAID_CHARACTERS = 600
"""As much of what an event said, or changed, as is kept."""
ENVIRON_CHARACTERS = 8192
"""A longer environment is not kept. charon's have about 900 characters."""
STALE = "stale"
"""The verb of what was ended since its charon is gone. charon called no hook for it."""


AGED = """
WITH aged AS (
    SELECT number, row_number() OVER (PARTITION BY tunnel ORDER BY number DESC) AS age FROM history
    WHERE tunnel IN (SELECT tunnel FROM history WHERE number > ?1)
)
"""
"""The rows of those tunnels that have one behind this number. Each latest one has age 1."""
LAST = "WITH last AS (SELECT number FROM history ORDER BY number DESC LIMIT 1 OFFSET ?1)"
"""The number of the latest row that is too much."""


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
        self._number = 0
        """Of its row."""
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

    def _insert(self, entry: Entry, was_up: bool) -> int:
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
        number = cursor.lastrowid or 0
        if number % OFTEN == 0:
            self._drop_old(number)
        if number % SELDOM == 0:
            self._drop_old_of_all()
        return number

    def _drop_old(self, number: int) -> None:
        """Drops what is too old of the tunnels that the last rows are of."""
        before = number - OFTEN
        drop = "DELETE FROM history WHERE number IN (SELECT number FROM aged WHERE age > ?2)"
        self._db.execute(f"{AGED} {drop}", (before, KEPT))
        strip = (
            "UPDATE history SET environ = NULL WHERE environ IS NOT NULL"
            " AND number IN (SELECT number FROM aged WHERE age > ?2)"
        )
        self._db.execute(f"{AGED} {strip}", (before, ENVIRONS_KEPT))

    def _drop_old_of_all(self) -> None:
        drop = "DELETE FROM history WHERE number <= (SELECT number FROM last)"
        self._db.execute(f"{LAST} {drop}", (ALL_KEPT,))
        strip = (
            "UPDATE history SET environ = NULL WHERE environ IS NOT NULL"
            " AND number <= (SELECT number FROM last)"
        )
        self._db.execute(f"{LAST} {strip}", (ALL_ENVIRONS_KEPT,))

    def _complete(
        self,
        number: int,
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
