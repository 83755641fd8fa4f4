"""What was lost: references for what the kernel has of ours, and nobody has on record."""

import sqlite3
from collections.abc import Collection, Iterable

from ..objects.address import Address
from ..objects.link import Link
from ..objects.object import Applied, Object
from ..objects.route import Route
from .applied import AppliedObjects
from .matching import ADOPTED
from .references import STANDING, References, now


class Adoption:
    """References that no event made. Their identity is ADOPTED."""

    def __init__(
        self,
        database: sqlite3.Connection,
        references: References,
        applied: AppliedObjects,
    ) -> None:
        self._db = database
        self._references = references
        self._applied = applied

    def adopt(self, charon: str, there: Iterable[Applied]) -> None:
        """Makes a reference for each link that is there; it wishes for all that is on the link.

        Rules and unreachable routes are on none. A reference that stands has them, so that no clear
        packet slips out.
        """
        self._references.add_charon(charon)
        numbers: dict[str, int] = {}
        for applied in there:
            self._applied.put(applied)
            adopted = applied.object
            if adopted.link_key not in numbers:
                numbers[adopted.link_key] = self._insert(charon, adopted)
            self._references.wish(numbers[adopted.link_key], [adopted])

    def _insert(self, charon: str, adopted: Object) -> int:
        """A reference for a link, or for what stands on none."""
        if isinstance(adopted, Link):
            known = (adopted.alias, str(adopted.local), str(adopted.remote))
            return self._insert_row(None, charon, *known)
        return self._insert_row(self._references.next_standing(), STANDING)

    def _insert_row(
        self,
        number: int | None,
        charon: str,
        connection: str = "",
        me: str = "",
        peer: str = "",
    ) -> int:
        """`number` is None for the next one."""
        cursor = self._db.execute(
            "INSERT INTO reference"
            " (number, charon, identity, connection, me, peer, since, unique_id, born, virtual_ips)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, '')",
            (number, charon, ADOPTED, connection, me, peer, now()),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def adopted(self, link_key: str) -> int | None:
        """The reference that adopted this link."""
        row = self._db.execute(
            "SELECT number FROM wish JOIN reference ON number = reference"
            " WHERE key = ? AND identity = ?",
            (link_key, ADOPTED),
        ).fetchone()
        if row is None:
            return None
        (number,) = row
        return int(number)

    def give_up(self, number: int, keys: Collection[str]) -> list[str]:
        """Takes these wishes from what was adopted, and returns the keys that were wished for.

        The reference ends with its last address and route.
        """
        adopted = "SELECT number FROM reference WHERE identity = ?"
        for key in keys:
            removal = f"DELETE FROM wish WHERE key = ? AND reference IN ({adopted})"
            self._db.execute(removal, (key, ADOPTED))
        self._db.execute(
            "DELETE FROM reference WHERE identity = ?"
            " AND number NOT IN (SELECT reference FROM wish)",
            (ADOPTED,),
        )
        left = self._references.wishes(number)
        if any(isinstance(wish, Address | Route) for wish in left):
            return list(keys)
        return [*keys, *self._references.end(number)]
