"""The records of one network namespace: references, their wishes, and what was applied. It knows no netlink.

One SQLite file for each namespace, under a directory that only root can enter. An event holds the lock from its first
read to its last write, and commits twice: before the kernel is touched (the new references, and each key that is about
to change marked as not sure), and after it. Whatever instant it dies at, the next event finds the keys that are not
sure and looks at the kernel for them.
"""

import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from types import FrameType

from .errors import Refusal
from .event import Event
from .lineage import ADOPTED, Heard, Life, identity
from .state import Address, Applied, Link, Noun, Route, Step, read, write
from .text import shown

DIRECTORY = "/run/vti-updown"
LOCK_SECONDS = 30
"""How long an event waits for another. charon keeps a worker thread and the IKE_SA waiting meanwhile."""
STALE_EACH = 8
"""How many references of a charon that is gone an event clears beside those that touch its own keys."""
IDS_KEPT = 1 << 12
"""How far back unique IDs count as known; older ones are forgotten, so that the records do not grow for ever."""

ROOM_BYTES = 1 << 17
"""How much room is kept for when there is no other."""

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE reference (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- newer is greater
    charon TEXT NOT NULL,                     -- who called: a row of charon
    identity TEXT NOT NULL,                   -- lineage.identity() as JSON
    unique_id INTEGER NOT NULL,
    born INTEGER NOT NULL,                    -- unique_id at its up
    connection TEXT NOT NULL,
    virtual_ips TEXT NOT NULL,
    me TEXT NOT NULL,
    peer TEXT NOT NULL,
    since TEXT NOT NULL                       -- UTC, for people
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


DatabaseError = sqlite3.DatabaseError
"""What SQLite raises while the records are used."""


class LedgerError(Refusal):
    """The records cannot be had: status 1."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint, 1)


class StorageError(LedgerError):
    """The records cannot be kept where they should be. An event can still do its work, on a copy in memory."""


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

    def add(self, charon: str, event: Event, wishes: Iterable[Noun]) -> int:
        """Records an `up` with its wishes, and returns its number."""
        told = json.dumps(identity(event))
        self._db.execute("INSERT OR IGNORE INTO charon VALUES (?)", (charon,))
        cursor = self._db.execute(
            "INSERT INTO reference (charon, identity, unique_id, born, connection, virtual_ips, me, peer, since)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                charon,
                told,
                event.unique_id,
                event.unique_id,
                shown(event.connection),
                " ".join(map(str, event.virtual_ips)),
                str(event.me),
                str(event.peer),
                _now(),
            ),
        )
        number = cursor.lastrowid
        assert number is not None
        self._db.executemany("INSERT INTO wish VALUES (?, ?, ?)", ((n.key, number, write(n)) for n in wishes))
        self.learn(charon, event)
        return number

    def equal(self, charon: str, event: Event) -> list[int]:
        """The references that an event like this one has left."""
        told = json.dumps(identity(event))
        rows = self._db.execute("SELECT number FROM reference WHERE charon = ? AND identity = ?", (charon, told))
        return [number for (number,) in rows]

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

    def holders(self, key: str) -> list[tuple[str, tuple[object, ...], Noun]]:
        """Connection, identity and wish of every reference that wishes for `key`, the newest first."""
        rows = self._db.execute(
            "SELECT connection, identity, noun FROM wish JOIN reference ON number = reference"
            " WHERE key = ? ORDER BY number DESC",
            (key,),
        )
        return [(connection, tuple(json.loads(told)), read(noun)) for connection, told, noun in rows]

    # What was lost

    def adopt(self, charon: str, found: Iterable[Applied]) -> None:
        """Makes a reference for each link in `found`, which the kernel holds; it wishes for all that is on the link."""
        self._db.execute("INSERT OR IGNORE INTO charon VALUES (?)", (charon,))
        numbers: dict[str, int] = {}
        for one in found:
            noun = one.noun
            self._put(one)
            if isinstance(noun, Link):
                cursor = self._db.execute(
                    "INSERT INTO reference VALUES (NULL, ?, ?, 0, 0, ?, '', ?, ?, ?)",
                    (charon, json.dumps(ADOPTED), noun.alias, str(noun.local), str(noun.remote), _now()),
                )
                assert cursor.lastrowid is not None
                numbers[noun.key] = cursor.lastrowid
            self._db.execute("INSERT INTO wish VALUES (?, ?, ?)", (noun.key, numbers[noun.link], write(noun)))

    def adopted(self, link: str) -> int | None:
        """The reference that adopted this link."""
        row = self._db.execute(
            "SELECT number FROM wish JOIN reference ON number = reference WHERE key = ? AND identity = ?",
            (link, json.dumps(ADOPTED)),
        ).fetchone()
        return None if row is None else int(row[0])

    def give_up(self, number: int, keys: Collection[str]) -> list[str]:
        """Takes these wishes from an adopted reference, and ends it with its last address and route. Returns the keys."""
        for key in keys:
            self._db.execute("DELETE FROM wish WHERE reference = ? AND key = ?", (number, key))
        left = [read(noun) for (noun,) in self._db.execute("SELECT noun FROM wish WHERE reference = ?", (number,))]
        if any(isinstance(noun, Address | Route) for noun in left):
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
            self._put(was)

    def _put(self, applied: Applied) -> None:
        noun = applied.noun
        self._db.execute(
            "INSERT OR REPLACE INTO applied VALUES (?, ?, ?, ?, ?, ?, ?)",
            (noun.key, write(noun), noun.link, _ip(noun), applied.sure, applied.ifindex, applied.borrowed),
        )

    def found(self, wished: Noun, noun: Noun) -> None:
        """What was wished for was there already, and is `noun`: a link that has another name."""
        self._db.execute("UPDATE wish SET noun = ? WHERE key = ? AND noun = ?", (write(noun), noun.key, write(wished)))


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
        _own_directory(directory)
        lock = os.open(f"{directory}/{namespace}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        os.umask(old_mask)
        raise StorageError(f"cannot write {directory}: {error.strerror}", "the hook keeps its records there, as root") from None
    file = f"{directory}/{namespace}.sqlite"
    try:
        _locked(lock, seconds)
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


def _own_directory(directory: str) -> None:
    """Makes the directory, or sees that nobody else can put anything into it."""
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        found = os.lstat(directory)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            what = f"{directory} is not ours alone"
            raise StorageError(what, "see who made it, and what is in it; then remove it") from None
        if found.st_mode & 0o077:
            os.chmod(directory, 0o700)


def is_damage(error: DatabaseError) -> bool:
    """Whether the file itself is to blame, rather than room, rights or another process."""
    return type(error) is DatabaseError


def connect(file: str) -> sqlite3.Connection:
    if os.path.islink(file):  # never ours, and never followed
        os.unlink(file)
    return sqlite3.connect(file, isolation_level=None)


def connect_anew(file: str) -> sqlite3.Connection:
    """Sets aside a file that is damaged, and begins another."""
    os.replace(file, f"{file}.damaged")
    return connect(file)


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


def keep_room(file: str) -> None:
    """Keeps room for the events to come, should the disk be full then: a `down` is never asked for again."""
    try:
        room = os.open(f"{file}.room", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:  # there already, or there is no room for it now
        return
    try:
        os.posix_fallocate(room, 0, ROOM_BYTES)
    except OSError:
        os.unlink(f"{file}.room")
    finally:
        os.close(room)


def give_up_room(file: str) -> None:
    try:
        os.unlink(f"{file}.room")
    except OSError:
        pass


class _TimeUpError(Exception):
    pass


def _time_up(_number: int, _frame: FrameType | None) -> None:
    raise _TimeUpError


def _locked(lock: int, seconds: float) -> None:
    """Takes the lock; the kernel wakes waiters in their order. Raises LedgerError after `seconds`, naming the holder."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        pass
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})  # a parent may have blocked it
    old = signal.signal(signal.SIGALRM, _time_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except _TimeUpError:
        who = _holder(lock)
        raise LedgerError(
            f"{who} has held our records for {seconds:g} s", f"see what it does; kill {who} if it hangs"
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def _holder(lock: int) -> str:
    """The process that holds the lock, from /proc/locks (`1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`)."""
    inode = str(os.fstat(lock).st_ino)
    try:
        with open("/proc/locks", encoding="ascii") as lines:
            for fields in map(str.split, lines):
                if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
                    return f"PID {fields[4]}"
    except OSError:
        pass
    return "another process"
