"""Records that an earlier version of the hook wrote, made into those of this one.

A tunnel that is up while the hook is upgraded keeps its record. What is not here is set aside, and
made anew from the kernel. That is so whenever an object has got another field.
"""

import json
import sqlite3

from .matching import Tunnel

FROM_5 = """
ALTER TABLE reference ADD COLUMN log TEXT NOT NULL DEFAULT '';
ALTER TABLE reference ADD COLUMN tunnel TEXT NOT NULL DEFAULT '';
UPDATE reference SET tunnel = tunnel_of(identity);
"""
"""References say which tunnel they are of, and what a `down` prints.

The other new tables are in the schema.
"""
UPGRADES = {5: FROM_5}
"""By version: what makes it the next one."""


def upgrade(
    database: sqlite3.Connection,
    version: int,
    schema: str,
    wanted: int,
) -> bool:
    """Makes records of `version` those of `wanted`, all at once.

    Returns False, with nothing changed, if it cannot: they may be of a version that was never
    released, whose tables are others. Raises DatabaseError.
    """
    steps = [UPGRADES.get(each) for each in range(version, wanted)]
    known = [step for step in steps if step is not None]
    if not steps or len(known) < len(steps):
        return False
    database.create_function("tunnel_of", 1, _tunnel_of)
    changes = "".join(known)
    script = f"BEGIN IMMEDIATE; {changes} {schema} PRAGMA user_version = {wanted}; COMMIT;"
    try:
        database.executescript(script)
    except sqlite3.OperationalError as error:
        if database.in_transaction:  # a disk that is full ends it
            database.execute("ROLLBACK")
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            return False
        raise
    return True


def _tunnel_of(identity: str) -> str:
    """The tunnel of a reference, by its identity, which has no XAuth identity.

    It is empty for a reference that was made anew from the kernel.
    """
    known = json.loads(identity)
    try:
        connection, _, peer_id, *_ = known
    except ValueError:
        return ""
    return json.dumps(Tunnel(connection, peer_id, ""))
