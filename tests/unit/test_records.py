"""The records: what is read is what was written, and what cannot be used is said or set aside."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from ipaddress import ip_address

import pytest

from support.events import environment
from vti_updown.event import parse
from vti_updown.kernel.kernel import Kernel
from vti_updown.objects.mss import MssClamp
from vti_updown.objects.object import Applied
from vti_updown.objects.registry import Step
from vti_updown.reconcile.difference import NOT_WISHED
from vti_updown.reconcile.reconcile import steps_over
from vti_updown.records import records as all_records
from vti_updown.records import unique_ids
from vti_updown.records.applied import TRIED_EACH, TRIES
from vti_updown.records.matching import caller
from vti_updown.records.records import Records, copied, opened
from vti_updown.records.storage import RecordsError, StorageError

from .test_difference import LINK, NET, ONE, OTHER, POLICY

UP = caller("c", parse(environment()))
ELSEWHERE = UP._replace(charon="d")


@pytest.fixture
def records():
    return Records(sqlite3.connect(":memory:", isolation_level=None))


def test_the_newest_reference_decides(records):
    """When it goes, the one before has its value back."""
    first = records.references.add(UP, [LINK])
    second = records.references.add(UP, [LINK._replace(okey=7)])
    assert records.references.wished([LINK.key]) == {LINK.key: LINK._replace(okey=7)}
    records.references.end(second)
    assert records.references.wished([LINK.key]) == {LINK.key: LINK}
    assert records.references.end(first) == [LINK.key]
    assert records.references.wished([LINK.key]) == {}


def test_a_step_in_progress_is_not_sure_and_keeps_the_ifindex(records):
    """A death in the middle finds the link by it."""
    records.applied.put(Applied(LINK, True, 7))
    changed = LINK._replace(okey=9)
    records.applied.expect([Step(LINK, changed)])
    assert records.applied.of([LINK.key]) == {LINK.key: Applied(changed, False, 7)}
    assert records.applied.in_doubt() == [LINK.key]


def test_all_that_stands_on_a_link_is_in_doubt_while_it_goes(records):
    """One request takes all of it away."""
    for wish in (LINK, POLICY, ONE, NET, OTHER):
        records.applied.put(Applied(wish))
    records.applied.expect([Step(LINK, None)])
    assert set(records.applied.in_doubt()) == {LINK.key, POLICY.key, ONE.key, NET.key}
    records.applied.removed(LINK)
    assert list(records.applied.of([LINK.key, POLICY.key, ONE.key, NET.key, OTHER.key])) == [
        OTHER.key
    ]


def test_a_borrowed_links_objects_go_by_their_own_steps(records):
    """What could not be taken from it still finds it on record."""
    records.applied.put(Applied(LINK, True, 7, borrowed=True))
    records.applied.put(Applied(ONE))
    records.applied.removed(LINK, borrowed=True)
    assert set(records.applied.of([LINK.key, ONE.key])) == {LINK.key, ONE.key}, (
        "the address could not be taken from it"
    )
    records.applied.removed(ONE)
    records.applied.removed(LINK, borrowed=True)
    assert records.applied.of([LINK.key, ONE.key]) == {}


def test_a_clamp_follows_its_moved_link_without_a_wish(records):
    """nft's table has the link's name: to remove the clamp under the old key would remove the new
    one.
    """
    clamp = MssClamp(LINK.key, LINK.name, 1300, 1280)
    for applied in (LINK, ONE, clamp):
        records.applied.put(Applied(applied, True, 7 if applied is LINK else None))
    moved = LINK._replace(remote=ip_address("192.168.0.9"))
    there = [
        moved.key,
        ONE._replace(link_key=moved.key).key,
        clamp._replace(link_key=moved.key).key,
    ]
    assert set(records.move(LINK.key, moved)) == set(there)
    assert set(records.applied.of(records.every_key())) == set(there)
    assert records.applied.of([moved.key]) == {moved.key: Applied(LINK, True, 7)}, (
        "the step is not taken yet"
    )


def test_a_rekeyed_ike_sas_references_are_its_new_ones(records):
    """All references of the old unique ID have the new one."""
    number = records.references.add(UP, [LINK])
    records.unique_ids.rekey("c", 1, 8)
    assert [(one.number, one.unique_id) for one in records.references.lives(UP)] == [(number, 8)]


def test_another_charons_references_are_not_meant(records):
    """Each charon's unique IDs are its own."""
    records.references.add(UP, [LINK])
    records.unique_ids.learn(UP)
    assert (
        records.references.lives(ELSEWHERE) == []
        and records.unique_ids.heard(ELSEWHERE) is None
        and records.unique_ids.heard(UP) is not None
    )


def test_a_dead_charons_references_are_cleared_a_few_at_a_time(records):
    """Those that touch the event's keys go first."""
    for _ in range(20):
        records.references.add(UP._replace(charon="gone"), [OTHER])
    records.references.add(UP._replace(charon="gone"), [LINK])
    records.references.add(UP._replace(charon=""), [LINK])
    records.references.add(UP._replace(charon="here"), [LINK])
    freed = records.references.clear_stale(lambda who: who == "gone", [LINK.key], each=3)
    assert sorted(freed) == sorted([LINK.key] + 3 * [OTHER.key])
    assert len(records.references.holders(LINK.key)) == 2
    while records.references.clear_stale(lambda who: who == "gone", [], each=3):
        pass
    assert records.references.charons() == ["here"]


def test_known_ids_are_forgotten_in_time(records):
    """The records do not grow for ever."""
    records.unique_ids.learn(UP)
    records.unique_ids.learn(UP._replace(unique_id=1 + unique_ids.IDS_KEPT))
    assert records.unique_ids.heard(UP) is not None
    records.unique_ids.learn(UP._replace(unique_id=2 + unique_ids.IDS_KEPT))
    assert records.unique_ids.heard(UP) is None


# What could not be done, and what cannot be read


def test_what_failed_is_tried_by_others_a_few_times(records):
    """What an event that died has left is looked at by the next one, however much it is."""
    died = [NET._replace(metric=number) for number in range(20)]
    failed = [NET._replace(metric=100 + number) for number in range(20)]
    for wish in (*died, *failed):
        records.applied.put(Applied(wish, sure=False))
    for wish in failed:
        records.applied.failed(wish.key, "no room")
    for _ in range(TRIES):
        doubted = records.applied.in_doubt()
        assert set(doubted[: len(died)]) == {wish.key for wish in died}
        assert len(doubted) == len(died) + TRIED_EACH
        for wish in failed:
            records.applied.failed_again(wish.key, "no room")
    assert set(records.applied.in_doubt()) == {wish.key for wish in died}
    assert records.applied.faults([died[0].key, failed[0].key]) == {failed[0].key: "no room"}


def test_what_could_be_done_after_all_has_no_fault(records):
    """It is on record as if it had never failed."""
    records.applied.put(Applied(NET, sure=False))
    records.applied.failed(NET.key, "no room")
    records.applied.put(Applied(NET))
    assert records.applied.faults([NET.key]) == {} and records.applied.in_doubt() == []


def test_a_first_value_is_kept_through_later_steps(records):
    """Undo goes to what was before the first of them."""
    records.applied.expect([Step(None, POLICY, "7")])
    records.applied.expect([Step(POLICY, POLICY._replace(value=2), None)])
    assert records.applied.of([POLICY.key])[POLICY.key].before == "7"


UNREADABLE = [
    "",
    "nonsense",
    "[]",
    "{}",
    "null",
    '["Link", 1]',
    '["Star", 1, 2]',
    '["Address", 1, 2, 3]',
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_cannot_be_read_is_left_out_and_named(records, text):
    """Its neighbours on record are read."""
    number = records.references.add(UP, [LINK, ONE])
    records.applied.put(Applied(LINK, True, 7))
    records.applied.put(Applied(ONE))
    for table in ("wish", "applied"):
        records._db.execute(f"UPDATE {table} SET object = ? WHERE key = ?", (text, LINK.key))
    assert records.references.wished([LINK.key, ONE.key]) == {ONE.key: ONE}
    assert records.references.wishes(number) == [ONE]
    assert records.references.holders(LINK.key) == []
    assert records.applied.of([LINK.key, ONE.key]) == {ONE.key: Applied(ONE)}
    assert records.applied.beside([LINK.key], ()) == [ONE]
    assert records.unreadable == {LINK.key}
    with closing(Kernel()) as kernel:
        steps = steps_over([LINK.key, ONE.key], records, kernel)
        assert steps == [], "somebody may wish for it"
        records.references.end(number)
        assert steps_over([ONE.key], records, kernel) == [Step(ONE, None, why=NOT_WISHED)]


# The file


def test_only_what_was_committed_is_there_next_time(tmp_path):
    """A process that dies loses what it had not committed."""
    directory = str(tmp_path / "records")
    with opened("1", directory) as records:
        records.references.add(UP, [LINK])
        records.commit()
        records.references.add(UP, [LINK])
    with opened("1", directory) as records:
        assert len(records.references.lives(UP)) == 1
    with opened("2", directory) as records:
        assert records.references.lives(UP) == []


def test_only_the_owner_can_enter_or_read(tmp_path):
    """Directory and files are for one user alone."""
    directory = tmp_path / "records"
    with opened("1", str(directory)) as records:
        records.commit()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a database at all, and long enough to be none" * 100,
        b"SQLite format 3\0" + b"\xff" * 4000,
    ],
)
def test_a_damaged_file_is_set_aside(tmp_path, content):
    """Nothing is lost: it stays beside the new one."""
    directory = tmp_path / "records"
    directory.mkdir(0o700)
    (directory / "1.sqlite").write_bytes(content)
    with opened("1", str(directory)) as records:
        records.references.add(UP, [LINK])
        records.commit()
    assert (directory / "1.sqlite.damaged").exists() == bool(content)


def test_a_file_of_another_version_is_set_aside(tmp_path):
    """An upgrade must not stop a tunnel."""
    directory = tmp_path / "records"
    with opened("1", str(directory)):
        pass
    with sqlite3.connect(directory / "1.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    with opened("1", str(directory)) as records:
        assert records.applied.in_doubt() == []
    assert (directory / "1.sqlite.damaged").exists()


def test_a_directory_that_others_can_write_is_refused(tmp_path):
    """Somebody else could plant records."""
    directory = tmp_path / "records"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(RecordsError, match="is not ours alone"), opened("1", str(directory)):
        pass


@pytest.mark.parametrize("planted", ["1.lock", "1.sqlite"])
def test_a_planted_symlink_is_not_followed(tmp_path, planted):
    """Root must not write where somebody else wants."""
    target = tmp_path / "target"
    directory = tmp_path / "records"
    directory.mkdir(0o700)
    (directory / planted).symlink_to(target)
    try:
        with opened("1", str(directory)) as records:
            records.commit()
    except RecordsError as error:
        assert planted == "1.lock" and error.message.startswith("cannot write")
    assert not target.exists()


def test_a_holder_that_hangs_is_named_after_a_bounded_wait(tmp_path):
    """The error has its PID."""
    directory = str(tmp_path / "records")
    code = (
        f"import sys\nsys.path[:0] = {sys.path!r}\nfrom vti_updown.records.records import opened\n"
    )
    code += f"with opened('1', {directory!r}):\n print('held', flush=True)\n sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RecordsError) as caught, opened("1", directory, seconds=0.2):
            pass
        assert caught.value.message == f"PID {holder.pid} has held our records for 0.2 s"
        holder.kill()
    with opened("1", directory, seconds=5) as records:
        assert records.applied.in_doubt() == []


def test_a_directory_that_cannot_be_made_says_so(tmp_path):
    """And nothing else is made."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RecordsError, match="cannot write"),
        opened("1", str(tmp_path / "file" / "records")),
    ):
        pass
    assert os.listdir(tmp_path) == ["file"]


def test_records_of_an_earlier_boot_are_removed(tmp_path):
    """Files of others, and of another namespace of this boot, stay."""
    directory = tmp_path / "records"
    directory.mkdir(mode=0o700)
    for name in ("1-old.sqlite", "1-old.lock", "2-old.sqlite.room", "1.sqlite"):
        (directory / name).write_text("")
    (directory / "3-old.late").mkdir()
    (directory / "3-old.late" / "1.json").write_text("")
    for name in ("2-new.sqlite", "notes.txt", "my-own"):
        (directory / name).write_text("")
    with opened("1-new", str(directory)):
        pass
    own = {f"1-new.{end}" for end in ("sqlite", "sqlite-journal", "sqlite.room", "lock")}
    assert set(os.listdir(directory)) == own | {"state", "2-new.sqlite", "notes.txt", "my-own"}


def test_records_are_fresh_until_something_is_committed(tmp_path):
    """A death before what the kernel has was adopted leaves it to the next event."""
    directory = str(tmp_path / "records")
    for _ in range(2):
        with opened("1", directory) as records:
            assert records.is_fresh
    with opened("1", directory) as records:
        records.commit()
    with opened("1", directory) as records:
        assert not records.is_fresh


def test_a_copy_waits_for_no_writer_that_was_stopped(tmp_path, monkeypatch):
    """SQLite itself would wait without end. The line says what to look for."""
    monkeypatch.setattr(all_records, "COPY_SECONDS", 0.1)
    with opened("1", str(tmp_path / "records")):
        pass
    writer = sqlite3.connect(tmp_path / "records/1.sqlite", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="another process has been writing the records"):
        copied("1", str(tmp_path / "records"))
    writer.execute("ROLLBACK")
    copied("1", str(tmp_path / "records")).close()
    writer.close()


def test_a_copy_of_what_is_no_database_is_an_error(tmp_path):
    """It is not as if there were no tunnels."""
    (tmp_path / "1.sqlite").write_text("no database" * 1000)
    with pytest.raises(StorageError, match=r"cannot read .*1\.sqlite"):
        copied("1", str(tmp_path))
    assert copied("2", str(tmp_path)).is_fresh
