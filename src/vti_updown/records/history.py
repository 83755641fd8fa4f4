"""What happened to each tunnel: the tables `history` and `environment`, as events and commands
write them.

A row comes with the first commit of an event, and says that it has begun. A last commit completes
it. So an event that dies in between is seen to have begun and not to have ended. Every 16th row
drops what is too old. Nothing but `records.past` reads it: no event goes by it.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator

from ..named_tuple import NamedTuple

KEPT = 50
"""How many events of a tunnel are kept."""
ENVIRONS_KEPT = 4
"""Of how many events of a tunnel the environment is kept."""
ALL_KEPT = 20_000
"""How many events are kept in all. They take some 7 MB, with the environments."""
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


LOST = Came(seconds=0, status=0, said="its charon was gone", changed="")
"""What came of a tunnel whose charon was killed."""


class History:
    """The tables `history` and `environment`, for one event after another."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self.is_gone: Callable[[str], bool] = lambda _charon: False
        """Whether a charon is known to have ended, as far as somebody can tell who looks."""
        self._gone: dict[str, bool] = {}
        """What it said of each."""
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
        own = "" if self._entry is None else self._entry.tunnel
        if tunnel in ("", own) or tunnel in self._was_up or tunnel in self._pending:
            return
        self._pending[tunnel] = self.is_up(tunnel) or self._was_told_up(tunnel)

    def committed(self) -> None:
        """What was touched has changed."""
        self._was_up |= self._pending
        self._pending.clear()

    def rolled_back(self) -> None:
        """What was touched, and not committed, has not changed."""
        self._pending.clear()

    def is_up(self, tunnel: str) -> bool:
        """Whether a CHILD_SA of the tunnel is up, as far as the references tell.

        What stands is none, one whose `up` failed has no wish, and one of a charon that is gone is
        no more.
        """
        return any(self._lives(charon) for charon in self._charons(tunnel))

    def _charons(self, tunnel: str) -> Iterator[str]:
        """The charon of each CHILD_SA of the tunnel."""
        rows = self._db.execute(
            "SELECT charon FROM reference WHERE tunnel = ? AND number > 0"
            " AND EXISTS (SELECT 1 FROM wish WHERE reference = number)",
            (tunnel,),
        )
        for (charon,) in rows:
            yield charon

    def _lives(self, charon: str) -> bool:
        if self._entry is not None and charon == self._entry.charon:
            return True
        if charon not in self._gone:
            self._gone[charon] = self.is_gone(charon)
        return not self._gone[charon]

    def _was_told_up(self, tunnel: str) -> bool:
        """Whether the tunnel was up after the last event of it that ended."""
        ask = (
            "SELECT is_up FROM history WHERE tunnel = ? AND is_up IS NOT NULL"
            " ORDER BY number DESC LIMIT 1"
        )
        row = self._db.execute(ask, (tunnel,)).fetchone()
        return row is not None and bool(row[0])

    # An event

    def begin(self, entry: Entry) -> None:
        """An event begins. Its row is written with its first commit."""
        self._was_up.clear()
        self._entry = entry
        self._own_was_up = self.is_up(entry.tunnel)
        if not self._own_was_up:
            self._end_stale(entry)
        self._number = self._insert(entry, self._own_was_up)

    def _end_stale(self, entry: Entry) -> None:
        """Says that the tunnel went with its charon, if nobody has said so. None of it lives."""
        has_stale = any(True for _ in self._charons(entry.tunnel))
        if has_stale and self._was_told_up(entry.tunnel):
            number = self._insert(
                Entry(STALE, entry.called, entry.tunnel),
                was_up=True,
            )
            self._complete(number, LOST, entry.tunnel)

    def end(self, came: Came) -> None:
        """The event that has begun is over. It is for the caller to commit.

        Tunnels that it has ended beside its own were those of a charon that is gone.
        """
        entry = self._entry
        if entry is None:
            return
        if not self._complete(self._number, came, entry.tunnel):
            # The event was rolled back, and its row with it.
            number = self._insert(entry, self._own_was_up)
            self._complete(number, came, entry.tunnel)
        self.add(Entry(STALE, entry.called), LOST)
        self._entry = None

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

    def _insert(
        self,
        entry: Entry,
        was_up: bool,
    ) -> int:
        cursor = self._db.execute(
            "INSERT INTO history (tunnel, verb, called, late, unique_id, charon, was_up)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                entry.tunnel,
                entry.verb,
                entry.called,
                entry.late,
                entry.unique_id,
                entry.charon,
                was_up,
            ),
        )
        number = cursor.lastrowid or 0
        if 0 < len(entry.environ) <= ENVIRON_CHARACTERS:
            row = (number, entry.environ)
            self._db.execute("INSERT OR REPLACE INTO environment VALUES (?, ?)", row)
        if number % OFTEN == 0:
            self._drop_old(number)
        if number % SELDOM == 0:
            self._drop_old_of_all()
        return number

    def _drop_old(self, number: int) -> None:
        """Drops what is too old of the tunnels that the last rows are of."""
        before = number - OFTEN
        for table, kept in (("environment", ENVIRONS_KEPT), ("history", KEPT)):
            old = "number IN (SELECT number FROM aged WHERE age > ?2)"
            self._db.execute(
                f"{AGED} DELETE FROM {table} WHERE {old}",
                (before, kept),
            )

    def _drop_old_of_all(self) -> None:
        for table, kept in (("environment", ALL_ENVIRONS_KEPT), ("history", ALL_KEPT)):
            last = f"SELECT number FROM {table} ORDER BY number DESC LIMIT 1 OFFSET ?"
            self._db.execute(
                f"WITH last AS ({last})"
                f" DELETE FROM {table} WHERE number <= (SELECT number FROM last)",
                (kept,),
            )

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
