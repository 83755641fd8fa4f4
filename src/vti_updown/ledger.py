"""The records of one network namespace: references, their wishes, and what was applied. It knows no netlink.

One SQLite file for each namespace, under a directory that only root can enter. An event holds the lock from its first
read to its last write, and commits twice: before the kernel is touched (the new references, and each key that is about
to change marked as not sure), and after it. Whatever instant it dies at, the next event finds the keys that are not
sure and looks at the kernel for them.
"""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from .event import Event
from .lineage import ADOPTED, Heard, Life, asleep, identity
from .state import Address, Applied, Clamp, Link, Noun, Route, Rule, Step, about, read, write
from .storage import (
    DIRECTORY,
    LOCK_SECONDS,
    DatabaseError,
    StorageError,
    connect,
    connect_anew,
    give_up_room,
    is_damage,
    keep_room,
    own_directory,
    take_lock,
)
from .text import shown

STALE_EACH = 8
"""How many references of a charon that is gone an event clears beside those that touch its own keys."""
IDS_KEPT = 1 << 12
"""How far back unique IDs count as known; older ones are forgotten, so that the records do not grow for ever."""

STANDING = "standing"
"""Whose references are that hold what stands while no CHILD_SA does. No charon has this name."""
FIRST_STANDING = -(1 << 40)

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE reference (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- newer is greater; below 0: standing, older than all others
    charon TEXT NOT NULL,                     -- who called: a row of charon, or STANDING
    identity TEXT NOT NULL,                   -- lineage.identity() as JSON
    unique_id INTEGER NOT NULL,
    born INTEGER NOT NULL,                    -- unique_id at its up
    connection TEXT NOT NULL,
    virtual_ips TEXT NOT NULL,
    me TEXT NOT NULL,
    peer TEXT NOT NULL,
    since TEXT NOT NULL,                      -- UTC, for people
    command TEXT NOT NULL DEFAULT ''          -- the user's own, for its down
);
CREATE TABLE charon (name TEXT PRIMARY KEY) WITHOUT ROWID; -- PID and start time; empty by hand
CREATE INDEX reference_identity ON reference (charon, identity);
CREATE INDEX reference_unique_id ON reference (charon, unique_id);
CREATE TABLE wish (
    key TEXT NOT NULL, reference INTEGER NOT NULL, noun TEXT NOT NULL,
    PRIMARY KEY (key, reference)
) WITHOUT ROWID;
CREATE INDEX wish_reference ON wish (reference);
CREATE TABLE applied (
    key TEXT PRIMARY KEY,
    noun TEXT NOT NULL,
    link TEXT NOT NULL,                       -- key of the link it stands on
    ip TEXT,                                  -- an address's own, a route's preferred source
    sure INTEGER NOT NULL,
    ifindex INTEGER,
    borrowed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX applied_link ON applied (link);
CREATE INDEX applied_ip ON applied (ip) WHERE ip IS NOT NULL;
CREATE INDEX applied_unsure ON applied (key) WHERE NOT sure;
CREATE TABLE known (
    charon TEXT NOT NULL, unique_id INTEGER NOT NULL, identity TEXT NOT NULL,
    open INTEGER NOT NULL,                    -- ups less downs with this ID
    became INTEGER NOT NULL DEFAULT 0,        -- its next ID, as far as we could tell
    PRIMARY KEY (charon, unique_id, identity)
) WITHOUT ROWID;
"""


class Holder(NamedTuple):
    """A reference that wishes for a key."""

    charon: str
    connection: str
    identity: tuple[object, ...]
    noun: Noun


class Ledger:
    """The records, open and, unless they are in memory, locked. Every key is a noun's `key`."""

    def __init__(self, database: sqlite3.Connection, file: str | None = None) -> None:
        self._file = file
        self.damaged = False
        """Whether there were records that could not be read."""
        self._use(database)

    def _use(self, database: sqlite3.Connection) -> None:
        self._db = database
        # Only a killed process is to be survived: the file is on a tmpfs that no power cut survives.
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA journal_mode = PERSIST")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        self.fresh = version == 0
        """Whether there were no records: whatever of ours the kernel holds is to be adopted."""
        if self.fresh:
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            self._db.close()
            raise DatabaseError(f"records of version {version}")
        self._db.execute("BEGIN IMMEDIATE")

    def recover(self, error: DatabaseError) -> None:
        """Drops what was not committed, and goes on: with no records where they are damaged, else with more room."""
        if self._file is None:
            raise error
        if is_damage(error):
            self._db.close()
            self.damaged = True
            self._use(connect_anew(self._file))
        else:
            give_up_room(self._file)
            self.rollback()

    def commit(self) -> None:
        """Writes what has changed, and goes on with the next change."""
        self._db.execute("COMMIT")
        self._db.execute("BEGIN IMMEDIATE")

    def rollback(self) -> None:
        """Drops what was not committed, and goes on with the next change."""
        if self._db.in_transaction:  # a disk that is full ends it
            self._db.execute("ROLLBACK")
        self._db.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Drops what was not committed."""
        self._db.close()

    # References

    def add(self, charon: str, event: Event, wishes: Iterable[Noun], command: str = "") -> int:
        """Records an `up` with its wishes and the user's command for its `down`, and returns its number."""
        self._db.execute("INSERT OR IGNORE INTO charon VALUES (?)", (charon,))
        number = self._insert((None, charon, event.connection), identity(event), event, wishes)
        self._db.execute("UPDATE reference SET command = ? WHERE number = ?", (command, number))
        self.learn(charon, event)
        return number

    def stand(self, connection: str, event: Event, wishes: Iterable[Noun]) -> int:
        """Records what stands for this event's CHILD_SA while it is down, and returns its number."""
        told = asleep(event)
        return self._insert((self._next_standing(), STANDING, connection), told, event, wishes)

    def _next_standing(self) -> int:
        (newest,) = self._db.execute("SELECT max(number) FROM reference WHERE number < 0").fetchone()
        return FIRST_STANDING if newest is None else int(newest) + 1

    def _insert(
        self, whose: tuple[int | None, str, str], told: tuple[object, ...], event: Event, wishes: Iterable[Noun]
    ) -> int:
        """`whose` is the number (None: the next one), the charon and the connection."""
        number, charon, connection = whose
        ips = " ".join(map(str, event.virtual_ips))
        values = (number, charon, json.dumps(told), event.unique_id, event.unique_id, shown(connection), ips)
        cursor = self._db.execute(
            "INSERT INTO reference (number, charon, identity, unique_id, born, connection, virtual_ips, me, peer, since)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, str(event.me), str(event.peer), _now()),
        )
        made = cursor.lastrowid
        assert made is not None
        self._db.executemany("INSERT INTO wish VALUES (?, ?, ?)", ((n.key, made, write(n)) for n in wishes))
        return made

    def standing(self, event: Event) -> list[int]:
        """The references that stand for this event's CHILD_SA."""
        return self._alike(STANDING, asleep(event))

    def stood(self) -> list[tuple[int, str]]:
        """Every reference that stands, and the connection that it is for."""
        return list(self._db.execute("SELECT number, connection FROM reference WHERE charon = ?", (STANDING,)))

    def wishes(self, number: int) -> list[Noun]:
        """The wishes of a reference."""
        return [read(noun) for (noun,) in self._db.execute("SELECT noun FROM wish WHERE reference = ?", (number,))]

    def command(self, number: int) -> str:
        """The user's command for the `down` of a reference; empty without one, or where its `up` failed."""
        if not self.wishes(number):
            return ""
        return str(self._db.execute("SELECT command FROM reference WHERE number = ?", (number,)).fetchone()[0])

    def equal(self, charon: str, event: Event) -> list[int]:
        """The references that an event like this one has left."""
        return self._alike(charon, identity(event))

    def _alike(self, charon: str, told: tuple[object, ...]) -> list[int]:
        ask = "SELECT number FROM reference WHERE charon = ? AND identity = ?"
        return [number for (number,) in self._db.execute(ask, (charon, json.dumps(told)))]

    def lives(self, charon: str, event: Event) -> list[Life]:
        """The references that a `down` may mean: those of the same charon and identity."""
        rows = self._db.execute(
            "SELECT number, unique_id, virtual_ips, me, peer, EXISTS (SELECT 1 FROM wish WHERE reference = number), born"
            " FROM reference WHERE charon = ? AND identity = ? ORDER BY number",
            (charon, json.dumps(identity(event))),
        )
        return [Life(number, uid, ips, me, peer, bool(holds), born) for number, uid, ips, me, peer, holds, born in rows]

    def drop_wishes(self, number: int) -> list[str]:
        """Takes the wishes of a reference away, and returns their keys."""
        keys = [key for (key,) in self._db.execute("SELECT key FROM wish WHERE reference = ?", (number,))]
        self._db.execute("DELETE FROM wish WHERE reference = ?", (number,))
        return keys

    def end_all(self) -> list[str]:
        """Ends every reference, and returns the keys that were wished for."""
        keys = [key for (key,) in self._db.execute("SELECT DISTINCT key FROM wish")]
        for table in ("wish", "reference", "known", "charon"):
            self._db.execute(f"DELETE FROM {table}")
        return keys

    def end(self, number: int) -> list[str]:
        """Ends a reference, and returns the keys that it wished for."""
        self._db.execute("DELETE FROM reference WHERE number = ?", (number,))
        return self.drop_wishes(number)

    def holders(self, key: str) -> list[Holder]:
        """Every reference that wishes for `key`, the newest first."""
        rows = self._db.execute(
            "SELECT charon, connection, identity, noun FROM wish JOIN reference ON number = reference"
            " WHERE key = ? ORDER BY number DESC",
            (key,),
        )
        return [Holder(who, connection, tuple(json.loads(told)), read(noun)) for who, connection, told, noun in rows]

    def named(self, name: str, netns: str) -> Link | None:
        """A link of ours by its name, in a namespace."""
        for (noun,) in self._db.execute("SELECT noun FROM applied WHERE key = link AND NOT borrowed"):
            link = read(noun)
            if isinstance(link, Link) and (link.name, link.netns) == (name, netns):
                return link
        return None

    def move(self, old: str, new: Link) -> list[str]:
        """The link with the key `old` is to have the endpoints (or the if_id) of `new` from now on, and all on it stays on it.

        Returns the keys that it and what is on it have now.
        """
        keys: dict[str, None] = {}
        for number, text in list(
            self._db.execute(
                "SELECT reference, noun FROM wish WHERE reference IN (SELECT reference FROM wish WHERE key = ?)", (old,)
            )
        ):
            noun = read(text)
            if (there := _moved(noun, old, new)) is not None:
                self._db.execute("DELETE FROM wish WHERE reference = ? AND key = ?", (number, noun.key))
                self._db.execute("INSERT OR REPLACE INTO wish VALUES (?, ?, ?)", (there.key, number, write(there)))
                keys[there.key] = None
        rows = f"{self._ROWS} WHERE link = ? OR key = ?"
        for key, *row in list(self._db.execute(rows, (old, f"clamp on {old}"))):
            was = _applied(tuple(row))
            there = _moved(was.noun, old, new)
            assert there is not None
            self._db.execute("DELETE FROM applied WHERE key = ?", (key,))
            # A link is as it was, under its new key, until the step is taken.
            self._put(was if isinstance(was.noun, Link) else was._replace(noun=there), there.key, new.key)
            keys[there.key] = None
        return list(keys)

    # What was lost

    def adopt(self, charon: str, found: Iterable[Applied]) -> None:
        """Makes a reference for each link in `found`, which the kernel holds; it wishes for all that is on the link.

        Rules and unreachable routes are on none: a reference that stands has them, so that no clear packet slips out.
        """
        self._db.execute("INSERT OR IGNORE INTO charon VALUES (?)", (charon,))
        numbers: dict[str, int] = {}
        for one in found:
            noun, on = one.noun, about(one.noun)
            self._put(one)
            if on not in numbers:
                link = noun if isinstance(noun, Link) else None
                told = (link.alias, str(link.local), str(link.remote)) if link else ("", "", "")
                whose = (None, charon) if link else (self._next_standing(), STANDING)
                cursor = self._db.execute(
                    "INSERT INTO reference (number, charon, identity, connection, me, peer, since, unique_id,"
                    " born, virtual_ips) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, '')",
                    (*whose, json.dumps(ADOPTED), *told, _now()),
                )
                assert cursor.lastrowid is not None
                numbers[on] = cursor.lastrowid
            self._db.execute("INSERT INTO wish VALUES (?, ?, ?)", (noun.key, numbers[on], write(noun)))

    def adopted(self, link: str) -> int | None:
        """The reference that adopted this link."""
        row = self._db.execute(
            "SELECT number FROM wish JOIN reference ON number = reference WHERE key = ? AND identity = ?",
            (link, json.dumps(ADOPTED)),
        ).fetchone()
        return None if row is None else int(row[0])

    def give_up(self, number: int, keys: Collection[str]) -> list[str]:
        """Takes these wishes from what was adopted; the reference ends with its last address and route. Returns the keys."""
        adopted, told = "SELECT number FROM reference WHERE identity = ?", json.dumps(ADOPTED)
        for key in keys:
            self._db.execute(f"DELETE FROM wish WHERE key = ? AND reference IN ({adopted})", (key, told))
        self._db.execute("DELETE FROM reference WHERE identity = ? AND number NOT IN (SELECT reference FROM wish)", (told,))
        if any(isinstance(noun, Address | Route) for noun in self.wishes(number)):
            return list(keys)
        return [*keys, *self.end(number)]

    # Unique IDs

    def heard(self, charon: str, event: Event) -> Heard | None:
        """What events before this one have told of its identity under its unique ID."""
        row = self._db.execute(
            "SELECT open, became FROM known WHERE charon = ? AND unique_id = ? AND identity = ?",
            (charon, event.unique_id, json.dumps(identity(event))),
        ).fetchone()
        return None if row is None else Heard(*row)

    def learn(self, charon: str, event: Event) -> None:
        """Counts an `up`, or a `down` that ended a reference."""
        self._db.execute(
            "INSERT INTO known (charon, unique_id, identity, open) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET open = open + excluded.open",
            (charon, event.unique_id, json.dumps(identity(event)), 1 if event.up else -1),
        )
        self._db.execute("DELETE FROM known WHERE charon = ? AND unique_id < ?", (charon, event.unique_id - IDS_KEPT))

    def rekey(self, charon: str, old: int, new: int) -> None:
        """The IKE_SA `old` was rekeyed to `new`: all its references are now the new one's."""
        self._db.execute("UPDATE reference SET unique_id = ? WHERE charon = ? AND unique_id = ?", (new, charon, old))
        self._db.execute("UPDATE known SET became = ? WHERE charon = ? AND unique_id = ?", (new, charon, old))

    # A charon that is gone

    def clear_stale(self, alive: Callable[[str], bool], keys: Sequence[str], each: int = STALE_EACH) -> list[str]:
        """Ends references of charons that are gone: those that wish for one of `keys`, and `each` others. Returns their keys.

        -1 is all others.

        References made by hand belong to no charon and stay.
        """
        freed: list[str] = []
        for charon in self.charons():
            if alive(charon):
                continue
            marks = ", ".join("?" * len(keys))
            mine = self._db.execute(
                f"SELECT DISTINCT number FROM wish JOIN reference ON number = reference WHERE charon = ? AND key IN ({marks})"
                " UNION SELECT number FROM (SELECT number FROM reference WHERE charon = ? LIMIT ?)",
                (charon, *keys, charon, each),
            )
            for (number,) in list(mine):
                freed += self.end(number)
            if self._db.execute("SELECT 1 FROM reference WHERE charon = ? LIMIT 1", (charon,)).fetchone() is None:
                self._db.execute("DELETE FROM known WHERE charon = ?", (charon,))
                self._db.execute("DELETE FROM charon WHERE name = ?", (charon,))
        return freed

    def charons(self) -> list[str]:
        """Every charon that has called; not what was done by hand."""
        return [charon for (charon,) in self._db.execute("SELECT name FROM charon WHERE name != ''")]

    # Wishes and what was applied

    def wished(self, keys: Iterable[str]) -> dict[str, Noun]:
        """The value of each key that somebody wishes for: the newest reference's."""
        found = {}
        for key in keys:
            row = self._db.execute("SELECT noun FROM wish WHERE key = ? ORDER BY reference DESC LIMIT 1", (key,)).fetchone()
            if row is not None:
                found[key] = read(row[0])
        return found

    def wished_beside(self, key: str) -> list[str]:
        """The keys that those references wish for that wish for `key`: a link's, all that is to stand on it."""
        rows = self._db.execute(
            "SELECT DISTINCT key FROM wish WHERE reference IN (SELECT reference FROM wish WHERE key = ?)", (key,)
        )
        return [found for (found,) in rows]

    def applied(self, keys: Iterable[str]) -> dict[str, Applied]:
        """What was applied for each of the keys, as far as something was."""
        found = {}
        for key in keys:
            row = self._db.execute(f"{self._APPLIED} WHERE key = ?", (key,)).fetchone()
            if row is not None:
                found[key] = _applied(row)
        return found

    _APPLIED = "SELECT noun, sure, ifindex, borrowed FROM applied"
    _ROWS = "SELECT key, noun, sure, ifindex, borrowed FROM applied"

    def unsure(self) -> list[str]:
        """The keys that an event which died, or failed, has left in doubt."""
        return [key for (key,) in self._db.execute("SELECT key FROM applied WHERE NOT sure")]

    def beside(self, links: Iterable[str], ips: Iterable[str]) -> list[Noun]:
        """What was applied on these links, or has one of these addresses as its preferred source."""
        found: dict[str, Noun] = {}
        for column, values in (("link", links), ("ip", ips)):
            for value in values:
                for (noun,) in self._db.execute(f"SELECT noun FROM applied WHERE {column} = ?", (value,)):
                    parsed = read(noun)
                    found[parsed.key] = parsed
        return list(found.values())

    def every_key(self) -> list[str]:
        """The keys of all that is wished for or was applied."""
        return [key for (key,) in self._db.execute("SELECT key FROM wish UNION SELECT key FROM applied")]

    def on_link(self, link: str) -> list[str]:
        """The keys of what was applied on a link, its own among them."""
        return [key for (key,) in self._db.execute("SELECT key FROM applied WHERE link = ?", (link,))]

    def has_made(self, link: Applied) -> bool:
        """Whether this link of the kernel's is on record, whatever its key."""
        if not isinstance(link.noun, Link):
            return False
        rows = self._db.execute("SELECT noun FROM applied WHERE ifindex = ?", (link.ifindex,))
        return any(noun.netns == link.noun.netns for (text,) in rows if isinstance(noun := read(text), Link))

    def locate(self, key: str, found: Applied | None) -> None:
        """Where the link is that was in doubt, and whose."""
        place = (found.ifindex, found.borrowed) if found is not None else (None, False)
        self._db.execute("UPDATE applied SET ifindex = ?, borrowed = ? WHERE key = ?", (*place, key))

    def elsewhere(self, ip: str, link: str) -> bool:
        """Whether this is an address that we have put on another link than this one."""
        rows = self._db.execute("SELECT noun FROM applied WHERE ip = ? AND link != ?", (ip, link))
        return any(isinstance(read(noun), Address) for (noun,) in rows)

    def doubt(self, keys: Iterable[str]) -> None:
        """The kernel may no longer hold what was applied for these keys."""
        self._db.executemany("UPDATE applied SET sure = 0 WHERE key = ?", ((key,) for key in keys))

    def expect(self, steps: Iterable[Step]) -> None:
        """From now on the kernel may hold what these steps start from, what they lead to, or nothing."""
        for step in steps:
            if step.new is None:
                # What stands on a link goes with it, without a step of its own.
                where = "link" if isinstance(step.noun, Link) else "key"
                self._db.execute(f"UPDATE applied SET sure = 0 WHERE {where} = ?", (step.noun.key,))
            else:
                noun = step.new
                self._db.execute(
                    "INSERT INTO applied VALUES (?, ?, ?, ?, 0, NULL, 0) ON CONFLICT (key)"
                    " DO UPDATE SET noun = excluded.noun, link = excluded.link, ip = excluded.ip, sure = 0",
                    (noun.key, write(noun), noun.link, _ip(noun)),
                )

    def done(self, step: Step, ifindex: int | None = None, borrowed: bool = False) -> None:
        """The kernel holds what the step leads to. `ifindex` and `borrowed` are a link's, in or out."""
        key = step.noun.key
        if step.new is not None:
            self._put(Applied(step.new, True, ifindex, borrowed))
        elif not isinstance(step.noun, Link):
            self._db.execute("DELETE FROM applied WHERE key = ?", (key,))
        elif not borrowed:
            self._db.execute("DELETE FROM applied WHERE link = ?", (key,))
        elif self.on_link(key) == [key]:  # else what could not be taken from it waits, and must find it
            self._db.execute("DELETE FROM applied WHERE key = ?", (key,))

    def restore(self, key: str, was: Applied | None) -> None:
        """The step was not taken, or not for us to take: `key` is as it was."""
        self._db.execute("DELETE FROM applied WHERE key = ?", (key,))
        if was is not None:
            self._put(was, key, key if isinstance(was.noun, Link) else was.noun.link)

    def _put(self, applied: Applied, key: str | None = None, link: str | None = None) -> None:
        """`key` and `link` are the noun's own but for a link that is to be moved."""
        noun = applied.noun
        place = noun.key if key is None else key, write(noun), noun.link if link is None else link
        self._db.execute(
            "INSERT OR REPLACE INTO applied VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*place, _ip(noun), applied.sure, applied.ifindex, applied.borrowed),
        )

    def found(self, wished: Noun, noun: Noun) -> None:
        """What was wished for was there already, and is `noun`: a link that has another name."""
        self._db.execute("UPDATE wish SET noun = ? WHERE key = ? AND noun = ?", (write(noun), noun.key, write(wished)))


def _moved(noun: Noun, old: str, new: Link) -> Noun | None:
    """The noun as it is once the link `old` has the key of `new`; None for what is not on it."""
    if isinstance(noun, Link):
        if noun.key not in (old, new.key):
            return None
        return noun._replace(local=new.local, remote=new.remote, if_id=new.if_id, device=new.device)
    if isinstance(noun, Clamp):
        return noun._replace(on=new.key) if noun.on == old else None
    return noun._replace(link=new.key) if not isinstance(noun, Rule) and noun.link == old else None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _ip(noun: Noun) -> str | None:
    """An address's own, or a route's preferred source."""
    ip = noun.address.ip if isinstance(noun, Address) else noun.source if isinstance(noun, Route) else None
    return None if ip is None else str(ip)


def _applied(row: tuple[str, int, int | None, int]) -> Applied:
    noun, sure, ifindex, borrowed = row
    return Applied(read(noun), bool(sure), ifindex, bool(borrowed))


@contextlib.contextmanager
def opened(namespace: int, directory: str = DIRECTORY, seconds: float = LOCK_SECONDS) -> Iterator[Ledger]:
    """The ledger of a network namespace (by its cookie), locked. Raises LedgerError where it cannot be had.

    A file that is damaged, or of another version, is set aside under `.damaged`.
    """
    old_mask = os.umask(0o077)
    try:
        own_directory(directory)
        lock = os.open(f"{directory}/{namespace}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        os.umask(old_mask)
        raise StorageError(f"cannot write {directory}: {error.strerror}", "the hook keeps its records there, as root") from None
    file = f"{directory}/{namespace}.sqlite"
    try:
        take_lock(lock, seconds)
        ledger = _open(file)
        try:
            yield ledger
        finally:
            ledger.close()
    except sqlite3.Error as error:
        raise StorageError(f"cannot use {file}: {shown(error)}", "see to it that there is room on /run") from None
    finally:
        os.umask(old_mask)
        os.close(lock)


def snapshot(namespace: int, directory: str = DIRECTORY) -> Ledger:
    """A copy in memory of the records of a network namespace; empty where there are none, or none that we may read."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    try:
        with contextlib.closing(sqlite3.connect(f"file:{directory}/{namespace}.sqlite?mode=ro", uri=True)) as original:
            original.backup(copy)
        return Ledger(copy)
    except sqlite3.Error:
        return Ledger(sqlite3.connect(":memory:", isolation_level=None))


def _open(file: str) -> Ledger:
    keep_room(file)
    try:
        return Ledger(connect(file), file)
    except DatabaseError as error:
        if not is_damage(error):
            raise
        ledger = Ledger(connect_anew(file), file)
        ledger.damaged = True
        return ledger
