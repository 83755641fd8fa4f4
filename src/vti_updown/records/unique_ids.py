"""What is known of unique IDs: which were heard of, with which identity, and what became of them.

A unique ID is a counter of a charon's IKE_SAs. A rekeyed IKE_SA has a new one, of which only a
`down` tells.
"""

import sqlite3

from .matching import Caller, Heard

IDS_KEPT = 1 << 12
"""How far back unique IDs count as known.

Older ones are forgotten, so that the records do not grow for ever.
"""


class UniqueIds:
    """The table `known`, and the unique ID of each reference."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def heard(self, caller: Caller) -> Heard | None:
        """What events before this one have told of its identity under its unique ID."""
        row = self._db.execute(
            "SELECT open, became FROM known WHERE charon = ? AND unique_id = ? AND identity = ?",
            (caller.charon, caller.unique_id, caller.identity),
        ).fetchone()
        return None if row is None else Heard(*row)

    def learn(self, caller: Caller) -> None:
        """Counts an `up`, or a `down` that ended a reference."""
        change = 1 if caller.is_up else -1
        self._db.execute(
            "INSERT INTO known (charon, unique_id, identity, open) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET open = open + excluded.open",
            (caller.charon, caller.unique_id, caller.identity, change),
        )
        self._db.execute(
            "DELETE FROM known WHERE charon = ? AND unique_id < ?",
            (caller.charon, caller.unique_id - IDS_KEPT),
        )

    def rekey(
        self,
        charon: str,
        old: int,
        new: int,
    ) -> None:
        """The IKE_SA `old` was rekeyed to `new`: all its references are now the new one's."""
        self._db.execute(
            "UPDATE reference SET unique_id = ? WHERE charon = ? AND unique_id = ?",
            (new, charon, old),
        )
        self._db.execute(
            "UPDATE known SET became = ? WHERE charon = ? AND unique_id = ?",
            (new, charon, old),
        )

    def forget(self, charon: str) -> None:
        """This charon is gone, and another counts from 1 again."""
        self._db.execute("DELETE FROM known WHERE charon = ?", (charon,))

    def forget_all(self) -> None:
        self._db.execute("DELETE FROM known")
