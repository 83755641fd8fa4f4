"""The records: what is read is what was written, and what cannot be used is said or set aside."""

import os
import sqlite3
import subprocess
import sys

import pytest

from events import environment
from vti_updown import ledger as records
from vti_updown.event import parse
from vti_updown.ledger import Ledger, opened
from vti_updown.state import Applied, Step
from vti_updown.storage import LedgerError

from .test_state import LINK, NET, ONE, OTHER, POLICY

UP = parse(environment())


@pytest.fixture
def ledger():
    return Ledger(sqlite3.connect(":memory:", isolation_level=None))


def test_the_newest_reference_decides(ledger):
    first = ledger.add("c", UP, [LINK])
    second = ledger.add("c", UP, [LINK._replace(okey=7)])
    assert ledger.wished([LINK.key]) == {LINK.key: LINK._replace(okey=7)}
    ledger.end(second)
    assert ledger.wished([LINK.key]) == {LINK.key: LINK}
    assert ledger.end(first) == [LINK.key]
    assert ledger.wished([LINK.key]) == {}


def test_a_step_in_progress_is_not_sure_and_keeps_the_ifindex(ledger):
    ledger.done(Step(None, LINK), ifindex=7)
    changed = LINK._replace(okey=9)
    ledger.expect([Step(LINK, changed)])
    assert ledger.applied([LINK.key]) == {LINK.key: Applied(changed, False, 7)}
    assert ledger.unsure() == [LINK.key]


def test_all_that_stands_on_a_link_is_in_doubt_while_it_goes(ledger):
    for noun in (LINK, POLICY, ONE, NET, OTHER):
        ledger.done(Step(None, noun))
    ledger.expect([Step(LINK, None)])
    assert set(ledger.unsure()) == {LINK.key, POLICY.key, ONE.key, NET.key}
    ledger.done(Step(LINK, None))
    assert list(ledger.applied([LINK.key, POLICY.key, ONE.key, NET.key, OTHER.key])) == [OTHER.key]


def test_a_borrowed_link_that_goes_leaves_what_stands_on_it_to_its_own_steps(ledger):
    ledger.done(Step(None, LINK), 7, borrowed=True)
    ledger.done(Step(None, ONE))
    ledger.done(Step(LINK, None), borrowed=True)
    assert set(ledger.applied([LINK.key, ONE.key])) == {LINK.key, ONE.key}, "the address could not be taken from it"
    ledger.done(Step(ONE, None))
    ledger.done(Step(LINK, None), borrowed=True)
    assert ledger.applied([LINK.key, ONE.key]) == {}


def test_a_rekeyed_ike_sas_references_are_its_new_ones(ledger):
    number = ledger.add("c", UP, [LINK])
    ledger.rekey("c", 1, 8)
    assert [(one.number, one.unique_id) for one in ledger.lives("c", UP)] == [(number, 8)]


def test_another_charons_references_are_not_meant(ledger):
    ledger.add("c", UP, [LINK])
    assert ledger.lives("d", UP) == [] and ledger.heard("d", UP) is None and ledger.heard("c", UP) is not None


def test_references_of_a_charon_that_is_gone_are_cleared_by_key_and_a_few_at_a_time(ledger):
    for _ in range(20):
        ledger.add("gone", UP, [OTHER])
    ledger.add("gone", UP, [LINK])
    ledger.add("", UP, [LINK])
    ledger.add("here", UP, [LINK])
    freed = ledger.clear_stale(lambda who: who in ("here", ""), [LINK.key], each=3)
    assert sorted(freed) == sorted([LINK.key] + 3 * [OTHER.key])
    assert len(ledger.holders(LINK.key)) == 2
    while ledger.clear_stale(lambda who: who in ("here", ""), [], each=3):
        pass
    assert ledger.charons() == ["here"]


def test_known_ids_are_forgotten_in_time(ledger):
    ledger.learn("c", UP)
    ledger.learn("c", UP._replace(unique_id=1 + records.IDS_KEPT))
    assert ledger.heard("c", UP) is not None
    ledger.learn("c", UP._replace(unique_id=2 + records.IDS_KEPT))
    assert ledger.heard("c", UP) is None


# The file


def test_what_was_committed_is_there_next_time_and_what_was_not_is_not(tmp_path):
    directory = str(tmp_path / "records")
    with opened(1, directory) as ledger:
        ledger.add("c", UP, [LINK])
        ledger.commit()
        ledger.add("c", UP, [LINK])
    with opened(1, directory) as ledger:
        assert len(ledger.lives("c", UP)) == 1
    with opened(2, directory) as ledger:
        assert ledger.lives("c", UP) == []


def test_only_the_owner_can_enter_or_read(tmp_path):
    directory = tmp_path / "records"
    with opened(1, str(directory)) as ledger:
        ledger.commit()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "content", [b"", b"not a database at all, and long enough to be none" * 100, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_damaged_file_is_set_aside(tmp_path, content):
    directory = tmp_path / "records"
    directory.mkdir(0o700)
    (directory / "1.sqlite").write_bytes(content)
    with opened(1, str(directory)) as ledger:
        ledger.add("c", UP, [LINK])
        ledger.commit()
    assert (directory / "1.sqlite.damaged").exists() == bool(content)


def test_a_file_of_another_version_is_set_aside(tmp_path):
    directory = tmp_path / "records"
    with opened(1, str(directory)):
        pass
    with sqlite3.connect(directory / "1.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    with opened(1, str(directory)) as ledger:
        assert ledger.unsure() == []
    assert (directory / "1.sqlite.damaged").exists()


def test_a_directory_that_others_can_write_is_refused(tmp_path):
    directory = tmp_path / "records"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(LedgerError, match="is not ours alone"), opened(1, str(directory)):
        pass


@pytest.mark.parametrize("planted", ["1.lock", "1.sqlite"])
def test_a_planted_symlink_is_not_followed(tmp_path, planted):
    target = tmp_path / "target"
    directory = tmp_path / "records"
    directory.mkdir(0o700)
    (directory / planted).symlink_to(target)
    try:
        with opened(1, str(directory)) as ledger:
            ledger.commit()
    except LedgerError as error:
        assert planted == "1.lock" and error.message.startswith("cannot write")
    assert not target.exists()


def test_a_holder_that_hangs_is_named_after_a_bounded_wait(tmp_path):
    directory = str(tmp_path / "records")
    code = f"import sys\nsys.path[:0] = {sys.path!r}\nfrom vti_updown.ledger import opened\n"
    code += f"with opened(1, {directory!r}):\n print('held', flush=True)\n sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LedgerError) as caught, opened(1, directory, seconds=0.2):
            pass
        assert caught.value.message == f"PID {holder.pid} has held our records for 0.2 s"
        holder.kill()
    with opened(1, directory, seconds=5) as ledger:
        assert ledger.unsure() == []


def test_a_directory_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot write"), opened(1, str(tmp_path / "file" / "records")):
        pass
    assert os.listdir(tmp_path) == ["file"]
