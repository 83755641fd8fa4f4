"""The history: what it keeps and drops, whatever comes, and how records of an earlier version are
read.
"""

import json
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from support.events import environment
from support.processes import fork
from vti_updown.admin.story import stories
from vti_updown.event import parse
from vti_updown.records import history
from vti_updown.records.history import KEPT, OFTEN, SELDOM, Came, Entry
from vti_updown.records.late import LateEvent, LateEvents
from vti_updown.records.matching import Caller, Tunnel, caller
from vti_updown.records.past import Past, everything, waiting
from vti_updown.records.records import SCHEMA_VERSION, Records, opened, snapshot
from vti_updown.records.storage import DatabaseError

from .test_difference import LINK

UP = caller("c", parse(environment()))
OK = Came(0.01, 0, "said", "+link vti1")
VERSION_5 = Path(__file__).with_name("schema-5.sql")
"""What version 5 of the records made its tables with."""


@pytest.fixture
def records() -> Records:
    return Records(sqlite3.connect(":memory:", isolation_level=None))


def entry_of(who: Caller, number: int = 0, verb: str = "up-client") -> Entry:
    return Entry(
        verb,
        1000.0 + number,
        who.tunnel,
        unique_id=who.unique_id,
        charon=who.charon,
        environ=json.dumps({"PLUTO_VERB": verb, "PLUTO_UNIQUEID": str(number)}),
    )


def road_warrior(number: int) -> Caller:
    return caller("c", parse(environment(PEER_ID=f"w{number}", UNIQUEID=number)))


def event(records: Records, who: Caller, number: int = 0, verb: str = "up-client") -> None:
    """An event that changes no reference."""
    records.history.begin(entry_of(who, number, verb))
    records.commit()
    records.end_history(OK)


def kept(records: Records) -> list[Past]:
    return everything(records.database)


# What it keeps


def test_an_event_has_begun_with_its_first_commit_and_ends_later(records):
    """So one that dies in between is seen."""
    records.history.begin(entry_of(UP))
    records.references.add(UP, [LINK])
    records.commit()
    (begun,) = kept(records)
    assert (begun.seconds, begun.was_up, begun.is_up) == (None, False, None)
    records.end_history(OK)
    (ended,) = kept(records)
    assert (ended.was_up, ended.is_up, ended.said, ended.changed) == (
        False,
        True,
        "said",
        "+link vti1",
    )
    assert ended.tunnel == Tunnel("gw", "sun", "")


def test_an_event_that_was_rolled_back_is_kept_all_the_same(records):
    """A refused `up` changes nothing, and is history."""
    records.history.begin(entry_of(UP))
    records.references.add(UP, [LINK])
    records.rollback()
    records.end_history(Came(0.1, 2, "error: no mark; add one", ""))
    (past,) = kept(records)
    assert (past.was_up, past.is_up, past.status) == (False, False, 2)


def test_what_was_not_committed_is_not_committed_by_the_history(records):
    """It ends an event, and does nothing in its stead."""
    records.history.begin(entry_of(UP))
    records.references.add(UP, [LINK])
    records.end_history(OK)
    assert records.references.every() == []
    (past,) = kept(records)
    assert past.is_up is False


def test_the_last_events_of_a_tunnel_are_kept(records):
    """Fifty, and the environments of four. Some more are there until somebody looks for them."""
    for number in range(2 * KEPT):
        event(records, UP, number)
        assert len(kept(records)) < KEPT + OFTEN
    (story,) = stories(kept(records))
    last = [1000.0 + number for number in range(KEPT, 2 * KEPT)]
    assert [each.called for each in story.events] == last
    assert not story.is_whole
    environs = [each.environ["PLUTO_UNIQUEID"] for each in kept(records) if each.environ]
    assert environs[-4:] == [str(number) for number in range(2 * KEPT - 4, 2 * KEPT)]
    assert len(environs) < 4 + OFTEN


def test_tunnels_that_take_turns_are_bounded_each(records):
    """Whatever the rhythm: nobody's rows are left out."""
    several = [road_warrior(number) for number in range(OFTEN)]
    for number in range((KEPT + OFTEN) * len(several)):
        event(records, several[number % len(several)], number)
    counts = Counter(each.tunnel for each in kept(records))
    assert len(counts) == len(several)
    assert max(counts.values()) <= KEPT + OFTEN


def test_a_busy_tunnel_takes_nothing_from_a_quiet_one(records):
    """Each has its own fifty."""
    quiet = road_warrior(1)
    event(records, quiet)
    for number in range(3 * KEPT):
        event(records, UP, number)
    assert [each.tunnel.peer_id for each in kept(records)].count("w1") == 1


def test_all_tunnels_together_are_bounded(records):
    """Road warriors come and go for years. The oldest events go first, and environments before."""
    insert = (
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 25000)"
        " INSERT INTO history (tunnel, verb, called, charon, was_up)"
        """ SELECT '["rw", "w' || n || '", ""]', 'up-client', n, 'c', 0 FROM n"""
    )
    records.database.execute(insert)
    records.database.execute("INSERT INTO environment SELECT number, '{}' FROM history")
    for number in range(2 * SELDOM):
        event(records, road_warrior(number), number)
    ask = "SELECT count(*), max(number) FROM history"
    count, newest = records.database.execute(ask).fetchone()
    (environs,) = records.database.execute("SELECT count(*) FROM environment").fetchone()
    assert newest == 25000 + 2 * SELDOM
    assert history.ALL_KEPT <= count < history.ALL_KEPT + SELDOM
    assert history.ALL_ENVIRONS_KEPT <= environs < history.ALL_ENVIRONS_KEPT + SELDOM
    (oldest,) = records.database.execute("SELECT min(number) FROM history").fetchone()
    assert oldest == newest - count + 1


@pytest.mark.parametrize(
    ("environ", "is_kept"), [("{}", True), ('{"A": "%s"}' % ("a" * 9000), False), ("", False)]
)
def test_an_environment_of_no_charon_is_not_kept(records, environ, is_kept):
    """One that is far too long may fill /run."""
    records.history.begin(entry_of(UP)._replace(environ=environ))
    records.commit()
    (past,) = kept(records)
    assert (past.environ is not None) == is_kept


def test_a_long_story_is_cut(records):
    """Others choose what an event says."""
    records.history.begin(entry_of(UP))
    records.commit()
    records.end_history(Came(0, 1, "x" * 10000, "y" * 10000))
    (past,) = kept(records)
    assert len(past.said) == len(past.changed) == history.SAID_CHARACTERS


def test_a_tunnel_is_up_as_long_as_one_of_its_references_is(records):
    """Its second selector pair goes, and it is still up. What stands is no CHILD_SA."""
    other_pair = caller("c", parse(environment("up-client-v6")))
    assert other_pair.tunnel == UP.tunnel
    first = records.references.add(UP, [LINK])
    second = records.references.add(other_pair, [LINK])
    records.references.stand("gw", UP, [LINK])
    records.references.end(first)
    assert records.history.is_up(UP.tunnel)
    records.references.end(second)
    assert not records.history.is_up(UP.tunnel)


def test_an_up_that_failed_is_not_up(records):
    """Its reference waits for its `down`, without a wish."""
    records.references.add(UP, [])
    assert not records.history.is_up(UP.tunnel)


def test_what_a_dead_charon_left_is_not_up(records):
    """That it went is told once, by the first event that finds it so."""
    first = UP._replace(charon="gone")
    records.history.begin(entry_of(first))
    records.references.add(first, [LINK])
    records.commit()
    records.end_history(OK)
    records.history.is_gone = lambda who: who == "gone"
    for _ in range(2):
        event(records, UP, verb="down-client")
    told = [(each.verb, each.was_up, each.is_up) for each in kept(records)]
    assert told == [
        ("up-client", False, True),
        (history.STALE, True, False),
        ("down-client", False, False),
        ("down-client", False, False),
    ]


@pytest.mark.parametrize("is_committed", [True, False])
def test_what_is_cleared_beside_an_event_is_told(records, is_committed):
    """Another tunnel's charon was gone. If that was rolled back, it is still up."""
    lost = road_warrior(7)._replace(charon="gone")
    records.references.add(lost, [LINK])
    records.commit()
    records.history.begin(entry_of(UP))
    records.references.clear_stale(lambda who: who == "gone", [])
    if is_committed:
        records.commit()
    records.end_history(OK)
    stale = [each for each in kept(records) if each.verb == history.STALE]
    assert len(stale) == int(is_committed)
    for each in stale:
        assert each.tunnel.peer_id == "w7"
        assert each.begins_outage


def test_a_history_that_cannot_be_written_ends_no_event(records):
    """The next one works with the records all the same."""
    records.history.begin(entry_of(UP))
    records.commit()
    records.database.execute(
        "CREATE TRIGGER broken BEFORE UPDATE ON history BEGIN SELECT RAISE (ABORT, 'full'); END"
    )
    records.commit()
    with pytest.raises(DatabaseError, match="full"):
        records.end_history(OK)
    records.references.add(UP, [LINK])
    records.commit()
    assert len(records.references.every()) == 1


def test_what_an_event_left_half_written_hides_no_history(tmp_path):
    """It was killed while SQLite wrote. A copy of the records is as before that event."""
    directory = str(tmp_path / "records")
    with opened("1", directory) as records:
        event(records, UP)

    def dies() -> None:
        with opened("1", directory) as records:
            records.database.execute("PRAGMA cache_size = 1")
            for number in range(500):
                records.history.begin(entry_of(road_warrior(number)))
            os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(fork(dies), 0)
    journal = tmp_path / "records/1.sqlite-journal"
    assert any(journal.read_bytes()[:8]), "nothing is half written"
    assert [each.verb for each in kept(snapshot("1", directory))] == ["up-client"]


# What waits


def test_an_event_that_waits_for_the_records_is_told(tmp_path):
    """It is behind all that was done. What an earlier version wrote down has no time."""
    (tmp_path / "records").mkdir(0o700)
    events = LateEvents("1", str(tmp_path / "records"))
    late = LateEvent(environment("down-client"), [], "/", "7@8", 1234.5)
    events.write(late)
    events.write(late._replace(since="2026-01-01T00:00:00Z"))
    (past,) = waiting(events)
    assert past.waits and past.is_down and not past.begins_outage
    assert (past.tunnel, past.called) == (Tunnel("gw", "sun", ""), 1234.5)


# What it comes to


def past_of(states: Iterable[tuple[bool, bool]]) -> list[Past]:
    """Events of one tunnel, by whether it was up before and afterwards."""
    told = []
    for number, (was_up, is_up) in enumerate(states, 1):
        verb = "up-client" if is_up else "down-client"
        told.append(
            Past(
                number,
                Tunnel("gw", "sun", ""),
                verb,
                100.0 * number,
                None,
                1,
                "c",
                was_up,
                is_up,
                0.01,
                0,
            )
        )
    return told


UP_NOW, MORE, DOWN = (False, True), (True, True), (True, False)


@pytest.mark.parametrize(
    ("states", "outages", "since"),
    [
        pytest.param([UP_NOW], [], 100, id="up"),
        pytest.param([UP_NOW, DOWN], [(200, None)], 200, id="down"),
        pytest.param([UP_NOW, DOWN, UP_NOW], [(200, 300)], 300, id="up again"),
        pytest.param([UP_NOW, MORE, MORE], [], 100, id="make before break"),
        pytest.param([UP_NOW, DOWN, UP_NOW, MORE, DOWN], [(200, 300), (500, None)], 500, id="two"),
        pytest.param([MORE, MORE], [], None, id="up before what is kept"),
        pytest.param([(False, False)], [], None, id="never up"),
        pytest.param([DOWN, UP_NOW], [(100, 200)], 200, id="the up is not kept"),
        pytest.param([UP_NOW, DOWN, (False, False)], [(200, None)], 200, id="tried in vain"),
    ],
)
def test_outages_are_told_from_renewals(states, outages, since):
    """An outage lasts from the last reference's end to the next reference."""
    (story,) = stories(past_of(states))
    told = [
        (each.down.called, None if each.up is None else each.up.called) for each in story.outages
    ]
    assert told == outages
    assert story.since == since
    assert story.is_up is states[-1][1]


def test_an_event_without_an_end_says_nothing_of_the_tunnel():
    """What the last one that ended says holds."""
    begun, died = past_of([UP_NOW, DOWN])
    (story,) = stories([begun, died._replace(is_up=None, seconds=None, status=None)])
    assert story.is_up is True
    assert story.outages == []


def test_what_was_prepared_is_told_of_each_peer():
    """`prepare` knows a connection, and nobody's identity."""
    (up,) = past_of([UP_NOW])
    prepared = up._replace(number=2, tunnel=Tunnel("gw", "", ""), verb="prepare", unique_id=None)
    alone = prepared._replace(number=3, tunnel=Tunnel("other", "", ""))
    one, other = stories([up, prepared, alone])
    assert [each.verb for each in one.events] == ["up-client", "prepare"]
    assert one.tunnel == Tunnel("gw", "sun", "")
    assert other.tunnel == Tunnel("other", "", "")


# Records of an earlier version


def version_5(file: Path, version: int = 5) -> None:
    """A file as the version before the history left it, with a tunnel up and one that stands."""
    with sqlite3.connect(file, isolation_level=None) as database:
        database.executescript(VERSION_5.read_text())
        records = "INSERT INTO reference VALUES (?, ?, ?, 1, 1, 'gw', '', '', '', '', '')"
        database.execute(records, (1, "c", UP.identity))
        database.execute(records, (-1, "standing", UP.standing_identity))
        database.execute(records, (2, "c", json.dumps(["adopted"])))
        database.execute("INSERT INTO wish VALUES ('k', 1, 'o', '', NULL)")
        database.execute(f"PRAGMA user_version = {version}")
    database.close()


def test_records_of_the_version_before_are_read(tmp_path):
    """A tunnel that is up during an upgrade is still known by its `down`, and has a history."""
    directory = tmp_path / "records"
    directory.mkdir(0o700)
    version_5(directory / "1.sqlite")
    with opened("1", str(directory)) as records:
        assert not records.is_fresh and not records.is_damaged
        assert [life.number for life in records.references.lives(UP)] == [1]
        assert records.history.is_up(UP.tunnel)
        event(records, UP, verb="down-client")
    assert not (directory / "1.sqlite.damaged").exists()
    with sqlite3.connect(directory / "1.sqlite") as database:
        rows = database.execute("SELECT tunnel FROM reference ORDER BY number")
        assert [tunnel for (tunnel,) in rows] == [UP.tunnel, UP.tunnel, ""]
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    database.close()
    copy = snapshot("1", str(directory))
    assert [each.verb for each in kept(copy)] == ["down-client"]


def test_records_with_other_tables_are_set_aside(tmp_path):
    """A version that was never released had that number, too. No event fails for it."""
    directory = tmp_path / "records"
    directory.mkdir(0o700)
    version_5(directory / "1.sqlite")
    with sqlite3.connect(directory / "1.sqlite") as database:
        database.execute("ALTER TABLE reference ADD COLUMN log TEXT")
    database.close()
    with opened("1", str(directory)) as records:
        assert records.is_damaged and records.is_fresh
    with sqlite3.connect(directory / "1.sqlite.damaged") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (5,)
        assert database.execute("SELECT count(*) FROM reference").fetchone() == (3,)
    database.close()


def test_upgraded_records_have_what_new_ones_have(tmp_path):
    """Every table, index and trigger."""
    directory = tmp_path / "records"
    directory.mkdir(0o700)
    version_5(directory / "1.sqlite")
    made = []
    for name in ("1", "2"):
        with opened(name, str(directory)) as records:
            records.commit()
            ask = (
                "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
            )
            columns = records.database.execute("SELECT name FROM pragma_table_info('reference')")
            made.append((records.database.execute(ask).fetchall(), columns.fetchall()))
    old, new = made
    assert old == new


def test_a_copy_of_earlier_records_is_read_and_the_file_stays(tmp_path):
    """A command that only looks upgrades nothing."""
    version_5(tmp_path / "1.sqlite")
    before = (tmp_path / "1.sqlite").read_bytes()
    copy = snapshot("1", str(tmp_path))
    assert [life.number for life in copy.references.lives(UP)] == [1]
    assert kept(copy) == []
    assert (tmp_path / "1.sqlite").read_bytes() == before


@pytest.mark.parametrize("version", [4, SCHEMA_VERSION + 1])
def test_records_that_nobody_knows_how_to_read_are_set_aside(tmp_path, version):
    """Much older ones, and those of a newer version."""
    directory = tmp_path / "records"
    directory.mkdir(0o700)
    version_5(directory / "1.sqlite", version)
    with opened("1", str(directory)) as records:
        assert records.is_fresh
    assert (directory / "1.sqlite.damaged").exists()
