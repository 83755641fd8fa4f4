"""The records of one network namespace, as one file of SQLite: opened and locked, or copied.

An event holds the lock from its first read to its last write, and commits twice. The first commit,
before the kernel is touched, has the new references, and each key that is about to change as not
sure. The second one has what came of it. Whatever instant the event dies at, the next one finds the
keys that are not sure, and looks at the kernel for them.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator

from .. import state
from ..objects.link import Link
from ..text import shown
from .applied import AppliedObjects
from .history import Came, History
from .references import References
from .storage import (
    DIRECTORY,
    LOCK_SECONDS,
    DatabaseError,
    StorageError,
    connect,
    connect_anew,
    forget_earlier_boots,
    give_up_room,
    is_damage,
    keep_room,
    locked,
)
from .unique_ids import UniqueIds

TYPE_CHECKING = False  # typing's own would be an import more for the hook
if TYPE_CHECKING:
    from collections.abc import Callable

    from .adoption import Adoption

COPY_SECONDS = 3.0
"""How long a copy waits for whoever writes."""
SCHEMA_VERSION = 6
"""With another one, the records are set aside and made anew, unless `upgrade` knows the way."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS reference (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- newer is greater; below 0: standing, older than all
    charon TEXT NOT NULL,                     -- who called: a row of charon, or STANDING
    identity TEXT NOT NULL,                   -- JSON: matching.Identity, StandingIdentity, ADOPTED
    unique_id INTEGER NOT NULL,
    born INTEGER NOT NULL,                    -- unique_id at its up
    connection TEXT NOT NULL,
    virtual_ips TEXT NOT NULL,
    me TEXT NOT NULL,
    peer TEXT NOT NULL,
    since TEXT NOT NULL,                      -- UTC, for people
    command TEXT NOT NULL DEFAULT '',         -- the user's own, for its down
    log TEXT NOT NULL DEFAULT '',             -- what its down prints: the setting of its up
    tunnel TEXT NOT NULL DEFAULT ''           -- JSON: matching.Tunnel; empty: made anew
);
CREATE TABLE IF NOT EXISTS charon (
    name TEXT PRIMARY KEY                     -- see processes; empty by hand
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reference_identity ON reference (charon, identity);
CREATE INDEX IF NOT EXISTS reference_unique_id ON reference (charon, unique_id);
CREATE INDEX IF NOT EXISTS reference_tunnel ON reference (tunnel);
CREATE TABLE IF NOT EXISTS wish (
    key TEXT NOT NULL, reference INTEGER NOT NULL, object TEXT NOT NULL,
    opinion TEXT NOT NULL,                    -- the object's: what is merged with other wishes
    only_with TEXT,                           -- the key that must be wished for, too
    PRIMARY KEY (key, opinion, reference)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS wish_reference ON wish (reference, key);
CREATE INDEX IF NOT EXISTS wish_only_with ON wish (only_with) WHERE only_with IS NOT NULL;
CREATE TABLE IF NOT EXISTS applied (
    key TEXT PRIMARY KEY,
    object TEXT NOT NULL,
    link TEXT NOT NULL,                       -- key of the link it stands on, and goes away with
    about TEXT,                               -- key of the link it is about, if it stands on none
    ip TEXT,                                  -- an address's own, a route's preferred source
    sure INTEGER NOT NULL,
    ifindex INTEGER,
    borrowed INTEGER NOT NULL,
    before TEXT,                              -- what was there before us, and undo goes back to
    fault TEXT,                               -- what was said when a step for it failed
    tried INTEGER NOT NULL DEFAULT 0          -- how often one did
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS applied_link ON applied (link);
CREATE INDEX IF NOT EXISTS applied_about ON applied (about) WHERE about IS NOT NULL;
CREATE INDEX IF NOT EXISTS applied_ip ON applied (ip) WHERE ip IS NOT NULL;
CREATE INDEX IF NOT EXISTS applied_unsure ON applied (fault, tried) WHERE NOT sure;
CREATE TABLE IF NOT EXISTS known (
    charon TEXT NOT NULL, unique_id INTEGER NOT NULL, identity TEXT NOT NULL,
    open INTEGER NOT NULL,                    -- ups less downs with this ID
    became INTEGER NOT NULL DEFAULT 0,        -- its next ID, as far as we could tell
    PRIMARY KEY (charon, unique_id, identity)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS late (
    name TEXT PRIMARY KEY                     -- it was done, though its file is there still
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    number INTEGER PRIMARY KEY,               -- in the order in which they began
    tunnel TEXT NOT NULL,                     -- JSON: matching.Tunnel
    verb TEXT NOT NULL,                       -- PLUTO_VERB, a command's name, or history.STALE
    called REAL NOT NULL,                     -- when, in seconds since the epoch
    late REAL,                                -- when it was begun, if it had to be written down
    unique_id INTEGER,
    charon TEXT NOT NULL,
    was_up INTEGER NOT NULL,                  -- whether a CHILD_SA of the tunnel was up before
    is_up INTEGER,                            -- and afterwards; NULL with all below: not ended
    seconds REAL,
    status INTEGER,
    said TEXT,
    changed TEXT
);
CREATE INDEX IF NOT EXISTS history_tunnel ON history (tunnel, number);
CREATE TABLE IF NOT EXISTS environment (
    number INTEGER PRIMARY KEY,               -- of the row of history; of the last ones only
    variables TEXT NOT NULL                   -- JSON: PLUTO_*
);
"""


class Records:
    """The records, open and, unless they are in memory, locked. Every key is an object's `key`."""

    def __init__(self, database: sqlite3.Connection, file: str | None = None) -> None:
        self._file = file
        self.is_damaged = False
        """Whether there were records that could not be read."""
        self.late = ""
        """The name of the late event that is being done, if one is. The next commit says that it
        was done, so that no death makes it be done twice.
        """
        self._use(database)

    def _use(self, database: sqlite3.Connection) -> None:
        self._db = database
        # Only a killed process is to be survived: the file is on a tmpfs that no power cut
        # survives.
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA journal_mode = PERSIST")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        self.is_fresh = version == 0
        """Whether there were no records: whatever of ours the kernel holds is to be adopted."""
        if self.is_fresh:
            database.executescript(f"BEGIN; {SCHEMA} COMMIT;")
        elif version != SCHEMA_VERSION and not _upgraded(database, version):
            database.close()
            raise DatabaseError(f"records of version {version}")
        self._begin()
        self.unreadable: set[str] = set()
        """The keys of what is on record and cannot be read, as far as somebody asked."""
        self.unique_ids = UniqueIds(database)
        self.history = History(database)
        self.references = References(
            database,
            self.unique_ids,
            self.history,
            self.unreadable,
        )
        self.applied = AppliedObjects(database, self.unreadable)

    @property
    def adoption(self) -> "Adoption":
        from .adoption import Adoption  # needed only where records were lost

        return Adoption(self._db, self.references, self.applied)

    # The transaction

    def _begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        if self.is_fresh:
            # It is written down with what is adopted. A death before that leaves them fresh.
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def recover(self, error: DatabaseError) -> None:
        """Drops what was not committed, and goes on after `error`.

        Where the records are damaged, it goes on with none; if not, with more room.
        """
        if self._file is None:
            raise error
        if is_damage(error):
            self._db.close()
            self.is_damaged = True
            self._use(connect_anew(self._file))
        else:
            give_up_room(self._file)
            self.rollback()

    def commit(self) -> None:
        """Writes what has changed, and goes on with the next change."""
        if self.late:
            self._db.execute("INSERT OR IGNORE INTO late VALUES (?)", (self.late,))
        self._db.execute("COMMIT")
        self.history.committed()
        self._begin()

    def rollback(self) -> None:
        """Drops what was not committed, and goes on with the next change."""
        if self._db.in_transaction:  # a disk that is full ends it
            self._db.execute("ROLLBACK")
        self.history.rolled_back()
        self._begin()

    def end_history(self, came: Came) -> None:
        """Completes the history of the event that has begun, and commits nothing else.

        Raises DatabaseError. The records can be used all the same.
        """
        try:
            self.rollback()
            self.history.end(came)
            self.commit()
        except DatabaseError:
            self.rollback()
            raise

    def close(self) -> None:
        """Drops what was not committed."""
        self._db.close()

    # Late events

    def late_done(self) -> set[str]:
        """The names of the late events that were done."""
        return {name for (name,) in self._db.execute("SELECT name FROM late")}

    def forget_late(self, name: str) -> None:
        """The file of a late event is gone."""
        self._db.execute("DELETE FROM late WHERE name = ?", (name,))

    # What is about several tables

    @property
    def database(self) -> sqlite3.Connection:
        """The tables themselves, to be read."""
        return self._db

    def every_key(self) -> list[str]:
        """The keys of all that is wished for or was applied."""
        rows = self._db.execute("SELECT key FROM wish UNION SELECT key FROM applied")
        return [key for (key,) in rows]

    def move(self, old_key: str, new: Link) -> list[str]:
        """The link `old_key` is to have the endpoints, or the if_id, of `new`; all stays on it.

        Returns the keys that it and what is on it have now.
        """
        wished = self.references.move(old_key, new)
        applied = self.applied.move(old_key, new)
        return list(dict.fromkeys([*wished, *applied]))


def _upgraded(database: sqlite3.Connection, version: int) -> bool:
    """Whether the records of an earlier version are those of this one by now."""
    from .upgrade import upgrade  # needed once

    return upgrade(database, version, SCHEMA, SCHEMA_VERSION)


@contextlib.contextmanager
def opened(
    namespace: str,
    directory: str = DIRECTORY,
    seconds: float = LOCK_SECONDS,
) -> Iterator[Records]:
    """The records of a network namespace (see `Kernel.identity`), locked.

    A file that is damaged, or of another version, is set aside under `.damaged`. Raises
    RecordsError where the records cannot be had.
    """
    file = f"{directory}/{namespace}.sqlite"
    try:
        with locked(directory, namespace, seconds), contextlib.closing(_open(file)) as records:
            if records.is_fresh:
                forget_earlier_boots(directory, namespace)
            state.keep(directory)
            yield records
    except sqlite3.Error as error:
        what = f"cannot use {file}: {shown(error)}"
        raise StorageError(what, "see to it that there is room on /run") from None


def _open(file: str) -> Records:
    keep_room(file)
    try:
        return Records(connect(file), file)
    except DatabaseError as error:
        if not is_damage(error):
            raise
        records = Records(connect_anew(file), file)
        records.is_damaged = True
        return records


def _give_up_in_time() -> "Callable[[int, int, int], None]":
    """For a copy, which would wait without end for an event that was stopped as it wrote."""
    end = time.monotonic() + COPY_SECONDS

    def check(status: int, _left: int, _pages: int) -> None:
        if status == sqlite3.SQLITE_BUSY and time.monotonic() > end:
            what = f"another process has been writing the records for {COPY_SECONDS:g} s"
            raise StorageError(what, "see which one hangs: ps -C vti-updown")

    return check


def snapshot(namespace: str, directory: str = DIRECTORY) -> Records:
    """A copy in memory of the records of a network namespace.

    It is empty where there are none, or none that we may read. What an event has left half written
    that died is taken back first, as by whoever reads it next. Without the right to write, SQLite
    could not read it at all (sqlite.org/lockingv3.html, "Dealing with hot journals").
    """
    try:
        return copied(namespace, directory)
    except StorageError:
        return Records(sqlite3.connect(":memory:", isolation_level=None))


def copied(namespace: str, directory: str = DIRECTORY) -> Records:
    """A copy in memory of the records of a network namespace, empty where there are none.

    Raises StorageError where there are some that cannot be read.
    """
    path = f"{directory}/{namespace}.sqlite"
    copy = sqlite3.connect(":memory:", isolation_level=None)
    try:
        os.stat(path)
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as original:
            original.backup(copy, progress=_give_up_in_time())
        return Records(copy)
    except FileNotFoundError:
        return Records(copy)
    except OSError as error:
        what = f"cannot read {directory}: {error.strerror}"
        raise StorageError(what, "run it again, as root") from None
    except sqlite3.Error as error:
        what = f"cannot read {path}: {shown(error)}"
        raise StorageError(what, "vti-updown repair makes records of what is there") from None
