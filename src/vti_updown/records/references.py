"""References and their wishes.

A reference is an `up` that has had no `down` yet, or what stands while there is no CHILD_SA.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence

from ..named_tuple import NamedTuple
from ..objects.link import Link
from ..objects.object import Object
from ..objects.registry import Unreadable, read, write
from ..text import shown
from .matching import Caller, Life
from .unique_ids import UniqueIds

STALE_EACH = 8
"""How many references of a charon that is gone an event clears, beside those that it touches."""
ALL = -1
"""As a number of references: all."""
STANDING = "standing"
"""Whose references are that hold what stands while no CHILD_SA does. No charon has this name."""
FIRST_STANDING = -(1 << 40)
"""The number of the first one that stands: they are older than all others."""


class Holder(NamedTuple):
    """A reference that wishes for a key."""

    charon: str
    connection: str
    identity: str
    """As JSON: `matching.Identity`, `StandingIdentity` or ADOPTED."""
    object: Object
    number: int
    """Of the reference; a later one is greater."""
    since: str
    """When it came, for people."""


class References:
    """The tables `reference`, `wish` and `charon`."""

    def __init__(
        self,
        database: sqlite3.Connection,
        unique_ids: UniqueIds,
        unreadable: set[str],
    ) -> None:
        self._db = database
        self._unique_ids = unique_ids
        self._unreadable = unreadable
        """The keys of what is on record and cannot be read, as far as somebody asked."""

    # What comes

    def add(
        self,
        caller: Caller,
        wishes: Iterable[Object],
        command: str = "",
    ) -> int:
        """Records an `up` with its wishes, and returns its number.

        `command` is the user's own, for its `down`.
        """
        self.add_charon(caller.charon)
        number = self._insert(
            caller,
            charon=caller.charon,
            identity=caller.identity,
            connection=caller.connection,
            command=command,
        )
        self._wish(number, wishes)
        return number

    def stand(
        self,
        connection: str,
        caller: Caller,
        wishes: Iterable[Object],
    ) -> int:
        """Records what stands for this caller's CHILD_SA while it is down. Returns its number."""
        number = self._insert(
            caller,
            charon=STANDING,
            identity=caller.standing_identity,
            connection=connection,
        )
        self._wish(number, wishes)
        return number

    def add_charon(self, charon: str) -> None:
        self._db.execute("INSERT OR IGNORE INTO charon VALUES (?)", (charon,))

    def next_standing(self) -> int:
        """The number of the next reference that stands: below 0, so older than all others."""
        ask = "SELECT max(number) FROM reference WHERE number < 0"
        (newest,) = self._db.execute(ask).fetchone()
        return FIRST_STANDING if newest is None else int(newest) + 1

    def _insert(
        self,
        caller: Caller,
        *,
        charon: str,
        identity: str,
        connection: str,
        command: str = "",
    ) -> int:
        number = self.next_standing() if charon == STANDING else None
        cursor = self._db.execute(
            "INSERT INTO reference"
            " (number, charon, identity, unique_id, born,"
            " connection, virtual_ips, me, peer, since, command)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                charon,
                identity,
                caller.unique_id,
                caller.unique_id,
                shown(connection),
                caller.virtual_ips,
                caller.me,
                caller.peer,
                now(),
                command,
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _wish(self, number: int, wishes: Iterable[Object]) -> None:
        rows = (row_of_wish(wish, number) for wish in wishes)
        self._db.executemany("INSERT INTO wish VALUES (?, ?, ?, ?)", rows)

    # What is there

    def standing(self, caller: Caller) -> list[int]:
        """The references that stand for this caller's CHILD_SA."""
        return self._alike(STANDING, caller.standing_identity)

    def equal(self, caller: Caller) -> list[int]:
        """The references that an event like this one has left."""
        return self._alike(caller.charon, caller.identity)

    def _alike(self, charon: str, identity: str) -> list[int]:
        ask = "SELECT number FROM reference WHERE charon = ? AND identity = ?"
        return [number for (number,) in self._db.execute(ask, (charon, identity))]

    def stood(self) -> list[tuple[int, str]]:
        """Every reference that stands, and the connection that it is for."""
        ask = "SELECT number, connection FROM reference WHERE charon = ?"
        return list(self._db.execute(ask, (STANDING,)))

    def every(self) -> list[tuple[int, str]]:
        """Every reference, and the charon that it is of."""
        return list(self._db.execute("SELECT number, charon FROM reference ORDER BY number"))

    def lives(self, caller: Caller) -> list[Life]:
        """The references that a `down` may mean: those of the same charon and identity."""
        rows = self._db.execute(
            "SELECT number, unique_id, virtual_ips, me, peer,"
            " EXISTS (SELECT 1 FROM wish WHERE reference = number), born"
            " FROM reference WHERE charon = ? AND identity = ? ORDER BY number",
            (caller.charon, caller.identity),
        )
        return [
            Life(number, unique_id, ips, me, peer, bool(holds), born)
            for number, unique_id, ips, me, peer, holds, born in rows
        ]

    def wishes(self, number: int) -> list[Object]:
        """The wishes of a reference."""
        rows = self._db.execute("SELECT key, object FROM wish WHERE reference = ?", (number,))
        wishes = [self._read(key, text) for key, text in rows]
        return [wish for wish in wishes if wish is not None]

    def _read(self, key: str, text: str) -> Object | None:
        """The wish for a key. None if it cannot be read."""
        try:
            wish = read(text)
        except Unreadable:
            wish = None
        if wish is None or wish.key != key:
            self._unreadable.add(key)
            return None
        return wish

    def command(self, number: int) -> str:
        """The user's command for the `down` of a reference; empty: none, or its `up` failed."""
        row = self._db.execute(
            "SELECT command FROM reference"
            " WHERE number = ? AND EXISTS (SELECT 1 FROM wish WHERE reference = number)",
            (number,),
        ).fetchone()
        if row is None:
            return ""
        (command,) = row
        return str(command)

    def holders(self, key: str) -> list[Holder]:
        """Every reference that wishes for `key`, the newest first."""
        rows = self._db.execute(
            "SELECT charon, connection, identity, object, number, since"
            " FROM wish JOIN reference ON number = reference"
            " WHERE key = ? ORDER BY number DESC",
            (key,),
        )
        holders = []
        for charon, connection, identity, text, number, since in rows:
            wish = self._read(key, text)
            if wish is not None:
                holders.append(Holder(charon, connection, identity, wish, number, since))
        return holders

    def charons(self) -> list[str]:
        """Every charon that has called; not what was done by hand."""
        return [name for (name,) in self._db.execute("SELECT name FROM charon WHERE name != ''")]

    # What is wished for

    def wished(self, keys: Iterable[str]) -> dict[str, Object]:
        """The value of each key that somebody wishes for: the newest reference's."""
        wished = {}
        for key in keys:
            wish = self._newest(key)
            if wish is not None and self._holds(wish):
                wished[key] = wish
        return wished

    def _holds(self, wish: Object) -> bool:
        """Whether it is wished for at all: what it must come with may not be."""
        return not wish.only_with or self._is_wished(wish.only_with)

    def _is_wished(self, key: str) -> bool:
        ask = "SELECT 1 FROM wish WHERE key = ? LIMIT 1"
        return self._db.execute(ask, (key,)).fetchone() is not None

    def coming_or_going_with(self, key: str) -> list[str]:
        """What is wished for only together with this key, and is not applied as that is by now."""
        is_applied = "IN" if not self._is_wished(key) else "NOT IN"
        ask = (
            "SELECT DISTINCT key FROM wish WHERE only_with = ?"
            f" AND key {is_applied} (SELECT key FROM applied)"
        )
        return [with_it for (with_it,) in self._db.execute(ask, (key,))]

    def _newest(self, key: str) -> Object | None:
        """The newest wish for a key. What it leaves open is as the one before wishes for."""
        newest = None
        rows = self._db.execute(
            "SELECT object FROM wish WHERE key = ? ORDER BY reference DESC", (key,)
        )
        for (text,) in rows:
            wish = self._read(key, text)
            if wish is None:
                continue
            newest = wish if newest is None else newest.with_opinion_of(wish)
            if not newest.leaves_open:
                break
        return newest

    def unclear(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that somebody wishes for in words that cannot be read."""
        return [key for key in keys if self._is_wished(key) and self._newest(key) is None]

    def wished_beside(self, key: str) -> list[str]:
        """All keys of the references that wish for `key`: for a link's, what is to stand on it."""
        rows = self._db.execute(
            "SELECT DISTINCT key FROM wish"
            " WHERE reference IN (SELECT reference FROM wish WHERE key = ?)",
            (key,),
        )
        return [beside for (beside,) in rows]

    def _every_key(self) -> list[str]:
        return [key for (key,) in self._db.execute("SELECT DISTINCT key FROM wish")]

    def replace_wish(self, wished: Object, there: Object) -> None:
        """What was wished for is `there` already: a link that has another name."""
        change = "UPDATE wish SET object = ? WHERE key = ? AND object = ?"
        self._db.execute(change, (write(there), there.key, write(wished)))

    def move(self, old_key: str, new: Link) -> list[str]:
        """The link `old_key` is to have the key of `new`, and all wishes for what is on it follow.

        Returns the keys that they have now.
        """
        rows = self._db.execute(
            "SELECT reference, key, object FROM wish"
            " WHERE reference IN (SELECT reference FROM wish WHERE key = ?)",
            (old_key,),
        )
        moved_keys = []
        for number, key, text in list(rows):
            wish = self._read(key, text)
            if wish is None:
                continue
            moved = _moved(wish, old_key, new)
            if moved is None:
                continue
            removal = "DELETE FROM wish WHERE reference = ? AND key = ?"
            self._db.execute(removal, (number, wish.key))
            row = row_of_wish(moved, number)
            self._db.execute("INSERT OR REPLACE INTO wish VALUES (?, ?, ?, ?)", row)
            moved_keys.append(moved.key)
        return moved_keys

    # What goes

    def drop_wishes(self, number: int) -> list[str]:
        """Takes the wishes of a reference away, and returns their keys."""
        rows = self._db.execute("SELECT key FROM wish WHERE reference = ?", (number,))
        keys = [key for (key,) in rows]
        self._db.execute("DELETE FROM wish WHERE reference = ?", (number,))
        return keys

    def end(self, number: int) -> list[str]:
        """Ends a reference, and returns the keys that it wished for."""
        self._db.execute("DELETE FROM reference WHERE number = ?", (number,))
        return self.drop_wishes(number)

    def end_all(self) -> list[str]:
        """Ends every reference, and returns the keys that were wished for."""
        keys = self._every_key()
        for table in ("wish", "reference", "charon"):
            self._db.execute(f"DELETE FROM {table}")
        self._unique_ids.forget_all()
        return keys

    def clear_stale(
        self,
        is_gone: Callable[[str], bool],
        keys: Sequence[str],
        each: int = STALE_EACH,
    ) -> list[str]:
        """Ends references of charons that are gone, and returns their keys.

        Of each charon these are all that wish for one of `keys`, and `each` others, or ALL.
        References made by hand belong to no charon and stay. A charon that cannot be seen from here
        is not gone.
        """
        freed: list[str] = []
        for charon in self.charons():
            if not is_gone(charon):
                continue
            for number in self._stale(charon, keys, each):
                freed += self.end(number)
            self._forget_if_ended(charon)
        return freed

    def _stale(
        self,
        charon: str,
        keys: Sequence[str],
        each: int,
    ) -> list[int]:
        marks = ", ".join("?" * len(keys))
        rows = self._db.execute(
            "SELECT DISTINCT number FROM wish JOIN reference ON number = reference"
            f" WHERE charon = ? AND key IN ({marks})"
            " UNION SELECT number FROM (SELECT number FROM reference WHERE charon = ? LIMIT ?)",
            (charon, *keys, charon, each),
        )
        return [number for (number,) in rows]

    def _forget_if_ended(self, charon: str) -> None:
        """A charon without references is forgotten, with its unique IDs."""
        ask = "SELECT 1 FROM reference WHERE charon = ? LIMIT 1"
        if self._db.execute(ask, (charon,)).fetchone() is None:
            self._unique_ids.forget(charon)
            self._db.execute("DELETE FROM charon WHERE name = ?", (charon,))


def row_of_wish(wish: Object, number: int) -> tuple[str, int, str, str | None]:
    """A row of the table `wish`, for the reference of this number."""
    return wish.key, number, write(wish), wish.only_with or None


def _moved(
    wish: Object,
    old_key: str,
    new: Link,
) -> Object | None:
    """The wish as it is once the link `old_key` has the key of `new`; None: not about that link."""
    if isinstance(wish, Link):
        return wish.moved_to(new) if wish.key in (old_key, new.key) else None
    return wish.on_moved_link(old_key, new.key)


def now() -> str:
    """For people; nothing goes by it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
