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
from .history import History
from .matching import Caller, Life
from .unique_ids import UniqueIds

STALE_EACH = 8
"""How many references of a charon that is gone an event clears, beside those that it touches."""
ALL = -1
"""As a number of references: all."""
STANDING = "standing"
"""Whose references are that hold what stands while no CHILD_SA does. No charon has this name."""
NEWEST_FIRST = "SELECT object FROM wish WHERE key = ? ORDER BY reference DESC"
NEWEST_OF_EACH = """
WITH RECURSIVE held (opinion) AS (
    SELECT min(opinion) FROM wish WHERE key = ?1
    UNION ALL
    SELECT (SELECT min(wish.opinion) FROM wish WHERE key = ?1 AND wish.opinion > held.opinion)
    FROM held WHERE held.opinion IS NOT NULL
), newest (opinion, reference) AS (
    SELECT opinion,
        (SELECT max(reference) FROM wish WHERE key = ?1 AND wish.opinion = held.opinion)
    FROM held WHERE opinion IS NOT NULL
)
SELECT object FROM newest
JOIN wish ON key = ?1 AND wish.opinion = newest.opinion AND wish.reference = newest.reference
ORDER BY wish.reference DESC
"""
"""The newest wish of each opinion on a key. It goes from one opinion to the next by the index, so
the number of references does not count.
"""
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


class ForDown(NamedTuple):
    """What an `up` leaves for its `down`, which does without the settings."""

    command: str = ""
    """The user's own, as `user_command` writes it. Empty if there is none."""
    log: str = ""
    """What is printed of an event: the setting `log`."""


NOTHING_FOR_DOWN = ForDown()


class Reference(NamedTuple):
    """A row of the table, for those who show all of them."""

    number: int
    charon: str
    """Who called: see `hook.caller`; STANDING for what stands."""
    identity: str
    """As in `Holder`."""
    unique_id: int
    connection: str
    virtual_ips: str
    me: str
    peer: str
    since: str


class References:
    """The tables `reference`, `wish` and `charon`."""

    def __init__(
        self,
        database: sqlite3.Connection,
        unique_ids: UniqueIds,
        history: History,
        unreadable: set[str],
    ) -> None:
        self._db = database
        self._unique_ids = unique_ids
        self._history = history
        self._unreadable = unreadable
        """The keys of what is on record and cannot be read, as far as somebody asked."""

    # What comes

    def add(
        self,
        caller: Caller,
        wishes: Iterable[Object],
        for_down: ForDown = NOTHING_FOR_DOWN,
    ) -> int:
        """Records an `up` with its wishes, and returns its number."""
        self.add_charon(caller.charon)
        number = self._insert(
            caller,
            charon=caller.charon,
            identity=caller.identity,
            connection=caller.connection,
            for_down=for_down,
        )
        self.wish(number, wishes)
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
        self.wish(number, wishes)
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
        for_down: ForDown = NOTHING_FOR_DOWN,
    ) -> int:
        number = self.next_standing() if charon == STANDING else None
        self._history.touch(caller.tunnel)
        cursor = self._db.execute(
            "INSERT INTO reference"
            " (number, charon, identity, unique_id, born,"
            " connection, virtual_ips, me, peer, since, command, log, tunnel)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                *for_down,
                caller.tunnel,
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def wish(self, number: int, wishes: Iterable[Object]) -> None:
        """Adds wishes to a reference."""
        rows = (_row(number, wish) for wish in wishes)
        self._db.executemany("INSERT INTO wish VALUES (?, ?, ?, ?, ?)", rows)

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

    def listed(self) -> list[Reference]:
        """Every reference, as it is on record."""
        ask = f"SELECT {', '.join(Reference._fields)} FROM reference ORDER BY number"
        return [Reference(*row) for row in self._db.execute(ask)]

    def every_wish(self) -> dict[int, list[Object]]:
        """The wishes of each reference, by its number. What many have in common is read once."""
        wishes: dict[int, list[Object]] = {}
        read_before: dict[str, Object | None] = {}
        for number, key, text in self._db.execute("SELECT reference, key, object FROM wish"):
            if text not in read_before:
                read_before[text] = self._read(key, text)
            wish = read_before[text]
            if wish is not None:
                wishes.setdefault(number, []).append(wish)
        return wishes

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

    def for_down(self, number: int) -> ForDown:
        """What the `up` of a reference left for its `down`. Nothing if it failed."""
        row = self._db.execute(
            "SELECT command, log FROM reference"
            " WHERE number = ? AND EXISTS (SELECT 1 FROM wish WHERE reference = number)",
            (number,),
        ).fetchone()
        if row is None:
            return NOTHING_FOR_DOWN
        return ForDown(*row)

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
        """The value of each key that somebody wishes for: what all wishes for it come to."""
        wished = {}
        for key in keys:
            wish = self._merged(key)
            if wish is not None and self._holds(wish):
                wished[key] = self._on_its_link(wish)
        return wished

    def _on_its_link(self, wish: Object) -> Object:
        """The wish as it is on its link."""
        if not wish.FOLLOWS_LINK:
            return wish
        link = self._merged(wish.link_key)
        return wish if link is None else wish.following(link)

    def _holds(self, wish: Object) -> bool:
        """Whether it is wished for at all: what it must come with may not be."""
        return not wish.only_with or self._is_wished(wish.only_with)

    def _is_wished(self, key: str) -> bool:
        ask = "SELECT 1 FROM wish WHERE key = ? LIMIT 1"
        return self._db.execute(ask, (key,)).fetchone() is not None

    def coming_or_going_with(self, key: str) -> list[str]:
        """What is wished for only together with this key, and is not applied as that is by now."""
        ask = (
            "SELECT DISTINCT key FROM wish WHERE only_with = ?1"
            " AND (key IN (SELECT key FROM applied))"
            " != EXISTS (SELECT 1 FROM wish WHERE key = ?1)"
        )
        return [with_it for (with_it,) in self._db.execute(ask, (key,))]

    def _merged(self, key: str) -> Object | None:
        """What the wishes for a key come to: the newest, merged with the older ones.

        Thousands of clients may share a link, and few opinions. So the newest of each opinion is
        read. If one of them cannot be read, an older one stands for its opinion.
        """
        wishes = [self._read(key, text) for (text,) in self._db.execute(NEWEST_OF_EACH, (key,))]
        if None in wishes:
            every = self._db.execute(NEWEST_FIRST, (key,))
            wishes = [self._read(key, text) for (text,) in every]
        merged = None
        for wish in wishes:
            if wish is None:
                continue
            merged = wish if merged is None else merged.with_opinion_of(wish)
        return merged

    def unclear(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that somebody wishes for in words that cannot be read.

        `wished` was asked for all of them before.
        """
        unreadable = self._unreadable.intersection(keys)
        return [key for key in unreadable if self._is_wished(key) and self._merged(key) is None]

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

    def replace_wish(self, there: Link) -> None:
        """The newest wish for a link is `there` already: it has another name, or is borrowed.

        What is merged stays as the wish says it.
        """
        key = there.key
        for (text,) in self._db.execute(f"{NEWEST_FIRST} LIMIT 1", (key,)).fetchall():
            wish = self._read(key, text)
            if isinstance(wish, Link):
                replaced = there.with_opinions_as(wish)
                change = "UPDATE wish SET object = ? WHERE key = ? AND object = ?"
                self._db.execute(change, (write(replaced), key, text))

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
            row = _row(number, moved)
            self._db.execute("INSERT OR REPLACE INTO wish VALUES (?, ?, ?, ?, ?)", row)
            moved_keys.append(moved.key)
        return moved_keys

    # What goes

    def drop_wishes(self, number: int) -> list[str]:
        """Takes the wishes of a reference away, and returns their keys."""
        self._touch(number)
        rows = self._db.execute("SELECT key FROM wish WHERE reference = ?", (number,))
        keys = [key for (key,) in rows]
        self._db.execute("DELETE FROM wish WHERE reference = ?", (number,))
        return keys

    def end(self, number: int) -> list[str]:
        """Ends a reference, and returns the keys that it wished for."""
        self._touch(number)
        self._db.execute("DELETE FROM reference WHERE number = ?", (number,))
        return self.drop_wishes(number)

    def _touch(self, number: int) -> None:
        """The tunnel of a reference is about to change."""
        ask = "SELECT tunnel FROM reference WHERE number = ?"
        for (tunnel,) in self._db.execute(ask, (number,)).fetchall():
            self._history.touch(tunnel)

    def tunnels(self, keys: Iterable[str]) -> list[str]:
        """The tunnels that have a reference which wishes for one of the keys."""
        ask = (
            "SELECT DISTINCT tunnel FROM wish JOIN reference ON number = reference"
            " WHERE key = ? AND tunnel != ''"
        )
        tunnels: dict[str, None] = {}
        for key in keys:
            for (tunnel,) in self._db.execute(ask, (key,)):
                tunnels[tunnel] = None
        return list(tunnels)

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


def _row(number: int, wish: Object) -> tuple[str, int, str, str, str | None]:
    """The row of `wish` for a wish of this reference."""
    return wish.key, number, write(wish), wish.opinion, wish.only_with or None


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
