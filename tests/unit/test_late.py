"""Events that are written down since another process holds the records: the files, and that each
event is done once whoever dies or stops at whatever instant.
"""

import errno
import fcntl
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from support.events import environment
from support.processes import fork
from vti_updown import cli
from vti_updown import processes as callers
from vti_updown.admin import session
from vti_updown.event import parse
from vti_updown.hook import late as hook_late
from vti_updown.hook import run as hook_run
from vti_updown.hook.context import Call
from vti_updown.hook.flags import FlagsGiven
from vti_updown.hook.report import Report
from vti_updown.reconcile.reconcile import Result
from vti_updown.records import late
from vti_updown.records.late import LateEvent, LateEvents
from vti_updown.records.matching import caller
from vti_updown.records.records import Records, opened
from vti_updown.records.storage import RecordsError, keep_room

WAITING = LateEvent(
    {"PLUTO_VERB": "down-client", "PLUTO_MY_ID": "m\udcfcller\n"},
    ["--mtu", "1400"],
    "/",
    "7@8",
    1767225600.5,
)


@pytest.fixture
def directory(tmp_path: Path) -> str:
    """The folder of the records."""
    (tmp_path / "records").mkdir(0o700)
    return str(tmp_path / "records")


# The files


def test_what_is_read_is_what_was_written(directory: str) -> None:
    """Whatever the variables hold."""
    events = LateEvents("1", directory)
    assert events.names() == []
    name = events.write(WAITING)
    assert events.names() == [name]
    assert events.read(name) == WAITING
    events.remove(name)
    assert events.names() == []


def test_names_are_in_the_order_of_time(directory: str) -> None:
    """Also beyond a digit more of the clock."""
    events = LateEvents("1", directory)
    names = [events.write(WAITING._replace(since=float(number))) for number in range(20)]
    assert events.names() == names
    assert [events.read(name).since for name in names] == [float(number) for number in range(20)]


def test_nobody_else_can_read_late_events(directory: str) -> None:
    """They are for root alone, and a folder that is not ours alone takes none."""
    events = LateEvents("1", directory)
    name = events.write(WAITING)
    folder = Path(directory, "1.late")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / name).stat().st_mode & 0o777 == 0o600
    folder.chmod(0o777)
    with pytest.raises(RecordsError):
        events.write(WAITING)


def test_a_full_disk_leaves_nothing_half_written(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room that is kept for that is used, and nothing waits that was not written whole."""
    keep_room(f"{directory}/1.sqlite")
    room = Path(directory, "1.sqlite.room")
    rename = os.rename

    def full(source: str, target: str) -> None:
        if room.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    events = LateEvents("1", directory)
    name = events.write(WAITING)
    assert os.listdir(f"{directory}/1.late") == [name]
    assert not room.exists()


def test_a_full_disk_without_room_is_an_error(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller says then that the event was not done."""

    def full(*_words: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space"):
        LateEvents("1", directory).write(WAITING)
    assert os.listdir(f"{directory}/1.late") == []


def test_what_a_writer_left_that_died_is_removed_in_time(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that writes still is left alone."""
    events = LateEvents("1", directory)
    monkeypatch.setattr(os, "rename", lambda *_: os._exit(0))
    child = os.fork()
    if child == 0:
        events.write(WAITING)
    os.waitpid(child, 0)
    (left,) = os.listdir(f"{directory}/1.late")
    assert events.names() == []
    events.clear_unfinished()
    assert os.listdir(f"{directory}/1.late") == [left]
    monkeypatch.setattr(late, "LONGEST_WRITE", 0)
    events.clear_unfinished()
    assert os.listdir(f"{directory}/1.late") == []


# Processes


class PaperKernel:
    """It has nothing, and nothing is asked of it."""

    def identity(self) -> str:
        return "1"

    def ours(self) -> list[object]:
        return []

    def close(self) -> None:
        """There is no socket."""


class Host:
    """Processes that wait for one lock. An event is a reference that comes, and nothing else."""

    def __init__(self, directory: str, patch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.at: Callable[[str], None] = lambda _name: None
        """Called before each system call that counts, with its name."""
        patch.setattr(hook_run, "Kernel", PaperKernel)
        patch.setattr(hook_run, "done", self._done)
        patch.setattr(hook_late, "opened", self._opened)
        patch.setattr(hook_late, "LateEvents", lambda name: LateEvents(name, directory))
        patch.setattr(hook_run, "LOCK_SECONDS", 0.02)
        patch.setattr(hook_late, "GIVE_WAY_SECONDS", 0.005)
        patch.setattr(callers, "alive", lambda _who: True)
        for module, name in ((fcntl, "flock"), (os, "rename"), (os, "unlink")):
            self._watch(patch, module, name)

    def _watch(self, patch: pytest.MonkeyPatch, module: object, name: str) -> None:
        call = getattr(module, name)

        def watched(*words: object) -> object:
            self.at(name)
            return call(*words)

        patch.setattr(module, name, watched)

    @contextmanager
    def _opened(self, namespace: str, seconds: float) -> Iterator[Records]:
        with opened(namespace, self.directory, seconds) as records:
            yield records
            self.at("close")
        self.at("free")

    def _done(self, call: Call, records: Records, _kernel: object) -> Report:
        records.references.add(caller(call.charon, call.event), ())
        self.at("before commit")
        records.commit()
        self.at("after commit")
        return Report([call.event.connection])

    def event(self, number: int, charon: str = "1@1") -> list[str]:
        """One event, and the events that were done with it: what is said of each."""
        environ = environment(CONNECTION=f"c{number}", UNIQUEID=number)
        call = Call(parse(environ), charon, FlagsGiven({}), environ, [], 0.0, 0.0)
        return [line for ended in hook_run.run(call) for line in ended.report.lines]

    def counts(self) -> Counter[str]:
        """How often each event was done."""
        with closing(sqlite3.connect(f"{self.directory}/1.sqlite")) as database:
            rows = database.execute("SELECT connection FROM reference ORDER BY number")
            return Counter(name for (name,) in rows)

    def waiting(self) -> list[str]:
        return LateEvents("1", self.directory).names()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Another process holds the records, and is killed in the end."""
        there, here = os.pipe()

        def hold() -> None:
            with opened("1", self.directory, 5):
                os.write(here, b"x")
                time.sleep(60)

        holder = fork(hold)
        os.read(there, 1)
        os.close(there)
        os.close(here)
        try:
            yield
        finally:
            os.kill(holder, signal.SIGKILL)
            os.waitpid(holder, 0)


def at_point(number: int, signal_number: int) -> Callable[[str], None]:
    """Sends itself a signal at the system call of this number."""
    count = iter(range(number + 1))

    def at(_name: str) -> None:
        if next(count, None) == number:
            os.kill(os.getpid(), signal_number)

    return at


@pytest.fixture
def host(directory: str, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(directory, monkeypatch)
    made.event(0)
    return made


def test_the_caller_is_known_before_anything_is_waited_for(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """charon dies while its hook waits. Its event is its own all the same, and not nobody's."""
    above = iter(["7@8"])
    monkeypatch.setattr(callers, "charon", lambda: next(above, ""))
    with host.held():
        assert cli.hook([], environment("down-client")) == 1
    (name,) = host.waiting()
    assert LateEvents("1", host.directory).read(name).charon == "7@8"
    host.event(3)
    with closing(sqlite3.connect(f"{host.directory}/1.sqlite")) as database:
        rows = database.execute("SELECT charon FROM reference WHERE connection = 'gw'")
        assert list(rows) == [("7@8",)]


POINTS = 12
"""One more than a process has that finds two events waiting."""


def test_two_that_wait_in_vain_are_done_in_their_order(host: Host) -> None:
    """By the next event, which comes last."""
    with host.held():
        assert host.event(1) == []
        assert host.event(2) == []
    assert host.event(3) == ["c1", "c2", "c3"]
    assert host.waiting() == []
    assert list(host.counts()) == ["c0", "c1", "c2", "c3"]


@pytest.mark.parametrize("point", range(POINTS))
def test_whoever_does_what_waits_may_be_killed(host: Host, point: int) -> None:
    """Before any of its system calls. The next event does the rest, and nothing twice."""
    with host.held():
        host.event(1)
        host.event(2)

    def dies() -> None:
        host.at = at_point(point, signal.SIGKILL)
        host.event(3)

    _, status = os.waitpid(fork(dies), 0)
    host.event(4)
    counts = host.counts()
    assert host.waiting() == []
    assert (counts["c1"], counts["c2"], counts["c4"]) == (1, 1, 1)
    assert counts["c3"] <= 1 if status else counts["c3"] == 1


@pytest.mark.parametrize("point", range(5))
def test_one_that_writes_itself_down_may_be_killed(host: Host, point: int) -> None:
    """Its event is done once or, if it was not written down yet, never."""

    def dies() -> None:
        host.at = at_point(point, signal.SIGKILL)
        host.event(1)

    with host.held():
        os.waitpid(fork(dies), 0)
        written = len(host.waiting())
        host.event(2)
    host.event(3)
    counts = host.counts()
    assert host.waiting() == []
    assert (counts["c1"], counts["c2"], counts["c3"]) == (written, 1, 1)


@pytest.mark.parametrize("point", range(POINTS))
def test_a_holder_that_is_stopped_loses_no_wake_up(host: Host, point: int) -> None:
    """Another event comes meanwhile, and both are done though none comes after them."""

    def stops() -> None:
        host.at = at_point(point, signal.SIGSTOP)
        host.event(1)

    holder = fork(stops)
    _, status = os.waitpid(holder, os.WUNTRACED)
    host.event(2)
    if os.WIFSTOPPED(status):
        os.kill(holder, signal.SIGCONT)
        os.waitpid(holder, 0)
    counts = host.counts()
    assert host.waiting() == []
    assert (counts["c1"], counts["c2"]) == (1, 1)


@pytest.mark.parametrize("point", range(5))
def test_a_writer_that_is_stopped_loses_no_wake_up(host: Host, point: int) -> None:
    """The records come free between any two of its system calls."""

    def stops() -> None:
        host.at = at_point(point, signal.SIGSTOP)
        host.event(1)

    with host.held():
        writer = fork(stops)
        _, status = os.waitpid(writer, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        os.kill(writer, signal.SIGCONT)
        os.waitpid(writer, 0)
        assert host.waiting() == []
    host.event(2)
    assert host.counts() == Counter(c0=1, c1=1, c2=1)


def test_a_command_for_people_lets_an_event_in(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives the records up between two parts, long enough for one that waits."""
    monkeypatch.setattr(hook_run, "LOCK_SECONDS", 30)
    monkeypatch.setattr(session, "HOLD_SECONDS", 0.02)
    command = session.Session(PaperKernel(), "", "repair", False)  # type: ignore[arg-type]
    there, here = os.pipe()

    def comes_while_it_is_held() -> None:
        os.read(there, 1)
        host.event(1)

    event = fork(comes_while_it_is_held)
    left: list[int] = []

    def part(number: int, records: Records) -> Result:
        if number == 0:
            os.write(here, b"x")
        if records.references.every()[-1] == (1, "1@1"):
            time.sleep(0.002)
        else:
            left.append(number)
        return session.nothing_failed()

    command.each(range(5000), part)
    os.waitpid(event, 0)
    assert host.counts() == Counter(c0=1, c1=1)
    assert left, "the event came in between"


def work(host: Host, charon: int, numbers: range, chance: random.Random) -> None:
    """The events of one charon, one after the other."""

    def dawdle(_name: str) -> None:
        if chance.random() < 0.1:
            time.sleep(chance.random() * 0.03)

    host.at = dawdle
    for number in numbers:
        host.event(number, f"{charon}@1")


def test_a_crowd_does_each_event_once_and_in_order(host: Host) -> None:
    """Six charons call at once, and wait too short a time for it."""
    seed = int(os.environ.get("VTI_UPDOWN_SEED", "0")) or random.SystemRandom().randrange(
        1, 1 << 32
    )
    chance = random.Random(seed)
    children = []
    for charon in range(1, 7):
        numbers = range(charon * 100, charon * 100 + 15)
        own = random.Random(chance.random())
        children.append(fork(partial(work, host, charon, numbers, own)))
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert host.waiting() == [], seed
    counts = host.counts()
    assert set(counts.values()) == {1}, (seed, counts)
    assert len(counts) == 6 * 15 + 1, seed
    for charon in range(1, 7):
        own_ones = [name for name in counts if name.startswith(f"c{charon}")]
        assert own_ones == sorted(own_ones), (seed, own_ones)
