"""What was applied: a row for each key that we have put into the kernel, or may have."""

import sqlite3
from collections.abc import Iterable
from typing import Any

from ..objects.address import Address
from ..objects.link import Link
from ..objects.object import Applied, Object
from ..objects.registry import Step, Unreadable, read, write

Row = tuple[str, int, int | None, int, str | None]
"""object, sure, ifindex, borrowed, before."""
COLUMNS = "key, object, link, about, ip, sure, ifindex, borrowed, before"
"""Those of the table that an object has, in the order in which a row is inserted."""
TRIES = 3
"""How often events of others try again what could not be done.

After that it waits for an event that is about it, and for `repair` and `flush`.
"""
TRIED_EACH = 8
"""How much of what could not be done an event of others tries again."""


class AppliedObjects:
    """The table `applied`."""

    def __init__(self, database: sqlite3.Connection, unreadable: set[str]) -> None:
        self._db = database
        self._unreadable = unreadable
        """The keys of what is on record and cannot be read, as far as somebody asked."""

    def of(self, keys: Iterable[str]) -> dict[str, Applied]:
        """What was applied for each of the keys, as far as something was."""
        ask = "SELECT object, sure, ifindex, borrowed, before FROM applied WHERE key = ?"
        applied: dict[str, Applied] = {}
        for key in keys:
            row = self._db.execute(ask, (key,)).fetchone()
            if row is None:
                continue
            try:
                applied[key] = _applied(row)
            except Unreadable:
                self._unreadable.add(key)
        return applied

    def in_doubt(self) -> list[str]:
        """The keys that an event which died has left in doubt, and some that could not be done."""
        died = self._keys("SELECT key FROM applied WHERE NOT sure AND fault IS NULL")
        failed = self._keys(
            "SELECT key FROM applied WHERE NOT sure AND fault IS NOT NULL AND tried < ?"
            " ORDER BY tried LIMIT ?",
            TRIES,
            TRIED_EACH,
        )
        return died + failed

    def unsure(self) -> list[str]:
        """The keys of all that is in doubt, or could not be done."""
        return self._keys("SELECT key FROM applied WHERE NOT sure")

    def faults(self, keys: Iterable[str]) -> dict[str, str]:
        """What was said of the keys for which something could not be done."""
        ask = "SELECT fault FROM applied WHERE key = ? AND fault IS NOT NULL"
        faults = {}
        for key in keys:
            row = self._db.execute(ask, (key,)).fetchone()
            if row is not None:
                (faults[key],) = row
        return faults

    def on_link(self, link_key: str) -> list[str]:
        """The keys of what was applied on a link, its own among them."""
        return self._keys("SELECT key FROM applied WHERE link = ?", link_key)

    def about(self, link_key: str) -> list[str]:
        """The keys of what was applied about a link, and does not go away with it."""
        return self._keys("SELECT key FROM applied WHERE about = ?", link_key)

    def _keys(self, ask: str, *values: str | int) -> list[str]:
        return [key for (key,) in self._db.execute(ask, values)]

    def beside(self, link_keys: Iterable[str], ips: Iterable[str]) -> list[Object]:
        """What was applied on these links, or with one of these addresses as preferred source."""
        beside: dict[str, Object] = {}
        for column, values in (("link", link_keys), ("ip", ips)):
            for value in values:
                for applied in self._objects(f"{column} = ?", value):
                    beside[applied.key] = applied
        return list(beside.values())

    def has_made(self, link: Applied) -> bool:
        """Whether this link of the kernel's is on record, whatever its key."""
        if not isinstance(link.object, Link):
            return False
        netns = link.object.netns
        recorded = self._objects("ifindex = ?", link.ifindex)
        return any(isinstance(each, Link) and each.netns == netns for each in recorded)

    def named(self, name: str, netns: str) -> Link | None:
        """A link of ours by its name, in a namespace."""
        for link in self._objects("key = link AND NOT borrowed"):
            if isinstance(link, Link) and (link.name, link.netns) == (name, netns):
                return link
        return None

    def namespaces(self) -> set[str]:
        """The names of the network namespaces that links of ours are in."""
        links = self._objects("key = link")
        return {link.netns for link in links if link.netns}

    def elsewhere(self, ip: str, link_key: str) -> bool:
        """Whether this is an address that we have put on another link than this one."""
        others = self._objects("ip = ? AND link != ?", ip, link_key)
        return any(isinstance(other, Address) for other in others)

    def _objects(self, where: str, *values: Any) -> list[Object]:
        ask = f"SELECT key, object FROM applied WHERE {where}"
        objects = []
        for key, text in self._db.execute(ask, values):
            try:
                objects.append(read(text))
            except Unreadable:
                self._unreadable.add(key)
        return objects

    # What changes

    def locate(self, key: str, there: Applied | None) -> None:
        """Where the link is that was in doubt, and whose."""
        ifindex = None if there is None else there.ifindex
        borrowed = there is not None and there.borrowed
        change = "UPDATE applied SET ifindex = ?, borrowed = ? WHERE key = ?"
        self._db.execute(change, (ifindex, borrowed, key))

    def doubt(self, keys: Iterable[str]) -> None:
        """The kernel may no longer hold what was applied for these keys."""
        rows = ((key,) for key in keys)
        self._db.executemany("UPDATE applied SET sure = 0 WHERE key = ?", rows)

    def expect(self, steps: Iterable[Step]) -> None:
        """From now on the kernel may hold what a step starts from, what it leads to, or nothing."""
        for step in steps:
            if step.new is not None:
                self._expect_put(step.new, step.before)
            else:
                self._expect_removal(step.object)

    def _expect_put(self, new: Object, before: str | None) -> None:
        self._db.execute(
            f"INSERT INTO applied ({COLUMNS}) VALUES (?, ?, ?, ?, ?, 0, NULL, 0, ?)"
            " ON CONFLICT (key) DO UPDATE SET object = excluded.object,"
            " link = excluded.link, about = excluded.about, ip = excluded.ip, sure = 0",
            (new.key, write(new), new.stands_on, _about(new), _ip(new), before),
        )

    def _expect_removal(self, old: Object) -> None:
        """What stands on a link goes with it, without a step of its own."""
        column = "link" if isinstance(old, Link) else "key"
        self._db.execute(f"UPDATE applied SET sure = 0 WHERE {column} = ?", (old.key,))

    def failed(self, key: str, fault: str) -> None:
        """What was to be done for `key` could not be done. It stays in doubt."""
        change = "UPDATE applied SET sure = 0, fault = ?, tried = 0 WHERE key = ?"
        self._db.execute(change, (fault, key))

    def failed_again(self, key: str, fault: str) -> None:
        """It could not be done by an event of others, either."""
        change = "UPDATE applied SET sure = 0, fault = ?, tried = tried + 1 WHERE key = ?"
        self._db.execute(change, (fault, key))

    def removed(self, old: Object, borrowed: bool = False) -> None:
        """The kernel holds it no more. A `borrowed` link stays there, and is ours no more."""
        key = old.key
        if not isinstance(old, Link):
            self._delete(key)
        elif not borrowed:
            self._db.execute("DELETE FROM applied WHERE link = ?", (key,))
        elif self.on_link(key) == [key]:
            # Nothing is left on it. What could not be taken from a borrowed link yet must find it.
            self._delete(key)

    def restore(self, key: str, was: Applied | None) -> None:
        """The step was not taken, or not for us to take: `key` is as it was."""
        self._delete(key)
        if was is not None:
            stands_on = key if isinstance(was.object, Link) else was.object.stands_on
            self._put_as(was, key, stands_on)

    def _delete(self, key: str) -> None:
        self._db.execute("DELETE FROM applied WHERE key = ?", (key,))

    def put(self, applied: Applied) -> None:
        """Records what was applied, under its own key."""
        self._put_as(applied, applied.object.key, applied.object.stands_on)

    def _put_as(
        self,
        applied: Applied,
        key: str,
        stands_on: str,
    ) -> None:
        """`key` and `stands_on` are the object's own, but for a link that is to be moved."""
        self._db.execute(
            f"INSERT OR REPLACE INTO applied ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                write(applied.object),
                stands_on,
                _about(applied.object),
                _ip(applied.object),
                applied.sure,
                applied.ifindex,
                applied.borrowed,
                applied.before,
            ),
        )

    def drop_unreadable(self) -> None:
        """Forgets what cannot be read. `flush` finds in the kernel what is left of it."""
        keys = self._keys("SELECT key FROM applied")
        readable = self.of(keys)
        for key in keys:
            if key not in readable:
                self._delete(key)

    def move(self, old_key: str, new: Link) -> list[str]:
        """The link `old_key` is to have the key of `new`, and what is about it follows.

        Returns the keys that they have now. The link itself is as it was, under its new key, until
        the step is taken.
        """
        ask = "SELECT key FROM applied WHERE link = ? OR about = ?"
        about = self._keys(ask, old_key, old_key)
        moved_keys = []
        for key, was in self.of(about).items():
            self._delete(key)
            if isinstance(was.object, Link):
                self._put_as(was, new.key, new.key)
                moved_keys.append(new.key)
                continue
            moved = was.object.on_moved_link(old_key, new.key)
            assert moved is not None
            self.put(was._replace(object=moved))
            moved_keys.append(moved.key)
        return moved_keys


def _about(wish: Object) -> str | None:
    """The key of the link that it is about, where it does not go away with that."""
    if wish.stands_on == wish.link_key:
        return None
    return wish.link_key


def _ip(wish: Object) -> str | None:
    return None if wish.ip is None else str(wish.ip)


def _applied(row: Row) -> Applied:
    text, sure, ifindex, borrowed, before = row
    return Applied(read(text), bool(sure), ifindex, bool(borrowed), before)
