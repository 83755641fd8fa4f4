"""charon, its hook and whoever holds the records die or stop in every order around the lock, and
events wait meanwhile. After one more event the kernel has what the living charons' ups wish for.
"""

import contextlib
import errno
import functools
import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

import deaths
from conftest import sh
from support.events import environment
from support.processes import fork
from support.slow import slow_but
from test_setups import config, is_blocked, person
from view import records, view
from vti_updown import cli
from vti_updown import netlink as rt
from vti_updown import processes as process
from vti_updown.admin import session
from vti_updown.hook import run as hook_run
from vti_updown.kernel.kernel import Kernel
from vti_updown.records.records import opened

NET = ("--route", "10.2.0.0/16")
STAR = {"CONNECTION": "star", "PEER": "192.168.0.3", "PEER_ID": "star", "UNIQUEID": 2}
MOON = {"CONNECTION": "moon", "PEER": "192.168.0.4", "PEER_ID": "moon2", "UNIQUEID": 3}
NOBODY = {"CONNECTION": "nobody", "UNIQUEID": 9}


@pytest.fixture
def machine(machine, monkeypatch):
    """It waits for a short time only. Its own addresses are there."""
    sh("until ip -6 route show table local | grep -q fec0::1; do sleep 0.05; done")
    monkeypatch.setattr(hook_run, "LOCK_SECONDS", 0.2)
    return machine


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def stopped(machine, monkeypatch, number, verb, *flags, **changed):
    """A process that stops itself before its change of this number of an event, or has ended."""

    def stop(now, _name):
        if now == number:
            os.kill(os.getpid(), signal.SIGSTOP)

    def work():
        deaths.Points(monkeypatch, stop)
        cli.hook(flags, environment(verb, **changed))

    child = fork(work)
    _, status = os.waitpid(child, os.WUNTRACED)
    return child if os.WIFSTOPPED(status) else None


@contextlib.contextmanager
def held(machine):
    """Another process holds the records, and is killed in the end."""
    there, here = os.pipe()

    def hold():
        with opened(own_namespace(), seconds=5):
            os.write(here, b"x")
            time.sleep(600)

    holder = fork(hold)
    os.read(there, 1)
    yield holder
    kill(holder)


def own_namespace():
    with contextlib.closing(Kernel()) as kernel:
        return kernel.identity()


def late_files():
    return sh("ls /run/vti-updown/*.late 2>/dev/null || :").split()


# Events that wait


def test_ups_and_downs_that_wait_are_done_in_order(machine):
    """An up, its down and another up: the next event does all three before itself."""
    before = view()
    with held(machine) as holder:
        for verb, changed in (("up-client", {}), ("down-client", {}), ("up-client", STAR)):
            (line,) = machine.event(verb, *NET, **changed)
            assert f"PID {holder} has held our records" in line and machine.status == 1
        assert len(late_files()) == 3 and not view().against(before)
    lines = machine.event("up-client", "--route", "10.4.0.0/16", **MOON)
    assert [line.split(",")[0] for line in lines] == [
        "gw: vti1 up",
        "gw: vti1 down",
        "star: vti2 up",
        "moon: vti3 up",
    ]
    assert machine.links() == ["vti2", "vti3"] and late_files() == []
    machine.down(**STAR)
    machine.down(**MOON)
    assert not view().against(before) and records() == ((), (), ())


@pytest.mark.parametrize("command", [["repair"], ["flush", "--stale"], ["release"]])
def test_a_command_for_people_does_what_waits(machine, capfd, command):
    """Nobody need wait for the next event."""
    before = view()
    machine.up(*NET)
    with held(machine):
        machine.event("down-client")
    status, lines = person(capfd, *command)
    assert status == 0 and lines[0].startswith("# gw: vti1 down")
    assert not view().against(before) and late_files() == []


def test_a_holder_that_goes_on_does_what_came_meanwhile(machine, monkeypatch):
    """It was only slow: no event need come after it."""
    before = view()
    holder = stopped(machine, monkeypatch, 3, "up-client", *NET)
    machine.event("up-client", "--route", "10.4.0.0/16", **STAR)
    machine.event("down-client")
    assert len(late_files()) == 2
    os.kill(holder, signal.SIGCONT)
    os.waitpid(holder, 0)
    assert machine.links() == ["vti2"] and late_files() == []
    machine.down(**STAR)
    assert not view().against(before)


def test_two_that_wait_at_once_are_both_done(machine, monkeypatch):
    """Two charons call; each is written down, and the holder that hung is killed."""
    before = view()
    machine.up(*NET)
    holder = stopped(machine, monkeypatch, 1, "up-client", "--route", "10.4.0.0/16", **MOON)
    calls: list[tuple[str, dict[str, object]]] = [("down-client", {}), ("up-client", STAR)]
    hooks = [
        fork(functools.partial(cli.hook, NET, environment(verb, **changed)))
        for verb, changed in calls
    ]
    for hook in hooks:
        os.waitpid(hook, 0)
    assert len(late_files()) == 2
    kill(holder)
    machine.event("down-client", **NOBODY)
    assert late_files() == [] and "10.2.0.0/16" in machine.routes("vti2")[0]
    machine.down(**STAR)
    machine.down(**MOON)
    assert not view().against(before)


# Deaths


def orders():
    """Of three deaths. All but the first are slow."""
    for number, order in enumerate(itertools.permutations(("charon", "hook", "holder"))):
        yield pytest.param(order, id="-".join(order), marks=pytest.mark.slow if number else ())


@pytest.mark.parametrize("order", list(orders()))
@pytest.mark.parametrize("verb", ["up-client", "down-client"])
def test_deaths_in_every_order_around_the_lock(machine, monkeypatch, order, verb):
    """A hook waits for the records. It, its charon and the holder die one after the other."""
    monkeypatch.setattr(hook_run, "LOCK_SECONDS", 60)
    before = view()
    if verb == "down-client":
        machine.up(*NET)
    dead = "/run/charon-is-dead"
    monkeypatch.setattr(
        process,
        "alive",
        lambda who: who not in machine.dead and not (who == "1@1" and os.path.exists(dead)),
    )
    holder = stopped(machine, monkeypatch, 1, "up-client", "--route", "10.4.0.0/16", **STAR)
    assert holder is not None
    waiter = fork(lambda: cli.hook(NET, environment(verb)))
    alive = {"hook": waiter, "holder": holder}
    wait_for_waiter(waiter)
    for name in order:
        if name == "charon":
            sh(f"touch {dead}")
        else:
            kill(alive.pop(name))
        time.sleep(0.1)
    machine.restart_charon()
    machine.event("down-client", **NOBODY)
    machine.event("down-client", **NOBODY)
    assert late_files() == []
    assert not view().against(before) and records() == ((), (), ())


def wait_for_waiter(pid):
    """Until this process waits for a lock."""
    for _ in range(600):
        if f" {pid} " in " ".join(
            line for line in sh("cat /proc/locks").splitlines() if "->" in line
        ):
            return
        time.sleep(0.1)
    raise AssertionError("it does not wait")


@pytest.mark.parametrize(
    "point",
    slow_but([6], range(0, 24, 3)),
)
def test_one_that_does_what_waits_may_die_at_any_change(machine, point):
    """The next event does the rest, and nothing twice."""
    before = view()
    machine.up(*NET)
    with held(machine):
        machine.event("down-client")
        machine.event("up-client", "--route", "10.4.0.0/16", **STAR)
    deaths.killed(lambda: machine.event("down-client", **NOBODY), point)
    machine.event("down-client", **NOBODY)
    assert machine.links() == ["vti2"] and late_files() == []
    assert [name for name, _, _ in records().references] == ["star"]
    machine.down(**STAR)
    assert not view().against(before) and records() == ((), (), ())


CHARON = """
import os, sys
sys.path[:0] = {path!r}
with open('/proc/self/comm', 'w') as name:
    name.write('charon')
from vti_updown import cli
from vti_updown import netlink as rt
child = os.fork()
if child == 0:
    os.execvpe('sh', ['sh', '-c', {hook!r}], {environ!r})
os.waitpid(child, 0)
import time
time.sleep(600)
"""


def test_an_up_whose_charon_dies_while_it_waits_belongs_to_it(machine, monkeypatch):
    """The caller is known before the wait, so that its reference is never nobody's."""
    monkeypatch.undo()
    before = view()
    code = f"import sys; sys.path[:0] = {sys.path!r}; from vti_updown import cli; sys.exit(cli.hook({list(NET)!r}, {environment()!r}))"
    hook = f'{sys.executable} -c "$CODE" > /run/said 2>&1; true'
    script = CHARON.format(
        path=sys.path, hook=hook, environ={"CODE": code, "PATH": os.environ["PATH"]}
    )
    with held(machine):
        charon = subprocess.Popen([sys.executable, "-c", script])
        wait_for_any_waiter()
        charon.kill()
        charon.wait()
    for _ in range(300):
        if "charon" in sh("cat /run/said"):
            break
        time.sleep(0.1)
    assert f"charon (PID {charon.pid}) is gone" in sh("cat /run/said")
    cli.hook([], environment("down-client", **NOBODY))
    assert not view().against(before) and records() == ((), (), ())


def wait_for_any_waiter():
    for _ in range(600):
        if "->" in sh("cat /proc/locks"):
            return
        time.sleep(0.1)
    raise AssertionError("nobody waits")


# Poor surroundings


def test_an_event_is_written_down_on_a_full_disk(machine):
    """The room that is kept for that is used."""
    before = view()
    machine.up(*NET)
    machine.run("mount", "-o", "remount,size=600k", "/run")
    sh("dd if=/dev/zero of=/run/full bs=4k count=1000 2>/dev/null || :")
    with held(machine):
        machine.event("down-client")
        assert len(late_files()) == 1
    machine.event("down-client", **NOBODY)
    assert not view().against(before)


def test_a_damaged_late_event_stops_no_other(machine):
    """It is set aside, with a line."""
    before = view()
    machine.up(*NET)
    with held(machine):
        machine.event("up-client", **STAR)
        machine.event("down-client")
    first, _ = late_files()
    sh(f"echo nonsense > $(ls /run/vti-updown/*.late/{first})")
    lines = machine.event("down-client", **NOBODY)
    assert lines[0].startswith("warning: a waiting event cannot be read")
    assert not view().against(before)
    assert late_files() == [f"{first}.damaged"]


# Commands for people


PREPARED = "".join(
    f'[connection.c{number}]\nlocal = "192.168.0.1"\nremote = "192.168.1.{number}"\nmark = {number}\n'
    f'routes = ["10.{100 + number}.0.0/16"]\nwhen_down = "keep"\n'
    for number in range(1, 9)
)


def test_events_come_in_while_commands_for_people_run(machine, capfd, monkeypatch):
    """Commands give the records up between tunnels; each event is done, now or by them."""
    before = machine.state()
    monkeypatch.setattr(session, "HOLD_SECONDS", 0)
    file = config(PREPARED)
    for words in (["prepare", *file], ["repair"], ["release"]):
        if words == ["repair"]:
            sh("ip route flush proto 50")

        def events():
            for verb in ("up-client", "down-client"):
                cli.hook(NET, environment(verb))

        child = fork(functools.partial(quietly, events))
        assert person(capfd, *words)[0] == 0
        os.waitpid(child, 0)
        assert late_files() == []
    assert machine.state() == before and records().references == ()


def quietly(call):
    out = os.open("/run/out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    call()


BLOCK = (*NET, "--when-down", "block")


@pytest.mark.parametrize(
    "changed",
    [{"MY_SOURCEIP4_1": "224.0.0.1"}, {"MARK_IN": None, "MARK_OUT": None}, {}],
    ids=["bad virtual IP", "no mark", "the kernel refuses"],
)
def test_a_first_up_that_fails_leaves_the_block(machine, capfd, changed):
    """Nothing else, and nothing more by its down. release takes it away."""
    before = machine.state()
    with pytest.MonkeyPatch.context() as patch:
        if not changed:
            deaths.Points(patch, refuse("NEWADDR"))
        lines = machine.event("up-client", *BLOCK, **changed)
    assert machine.status and lines[-1] == "gw: as when_down says, 10.2.0.0/16 blocked"
    assert machine.links() == [] and is_blocked("10.2.0.1")
    machine.down(**changed)
    assert is_blocked("10.2.0.1")
    assert person(capfd, "repair") == (0, ["nothing to repair"])
    assert person(capfd, "release", "gw")[0] == 0
    assert machine.state() == before


def test_prepare_sets_up_the_others_if_one_cannot_be(machine, capfd):
    """The sick one is named, and the status is its own."""
    before = machine.state()
    text = PREPARED.replace("mark = 3\n", 'mark = 3\nvrf = "gone"\n')
    status, lines = person(capfd, "prepare", *config(text))
    assert status == 2 and lines[-1].startswith("error: c3: there is no VRF gone")
    assert len(machine.links()) == 7
    assert person(capfd, "release")[0] == 0
    assert machine.state() == before


def test_a_release_that_failed_can_be_repeated(machine, capfd):
    """What could not be taken away is still known by its name."""
    before = machine.state()
    file = config(
        '[connection.gw]\nlocal = "192.168.0.1"\nremote = "192.168.0.2"\nmark = 2\nroutes = ["10.2.0.0/16"]\nwhen_down = "block"\n'
    )
    assert person(capfd, "prepare", *file)[0] == 0

    with pytest.MonkeyPatch.context() as patch:
        deaths.Points(patch, refuse("DELROUTE"))
        for _ in range(2):
            status, lines = person(capfd, "release", "gw")
            assert status == 1 and lines[-1].startswith("error: cannot take away")
    assert person(capfd, "release", "gw")[0] == 0
    assert machine.state() == before


def refuse(refused):
    """The kernel refuses all changes of this name."""

    def at(_number, name):
        if name == refused:
            raise rt.NetlinkError(errno.EPERM, "Operation not permitted")

    return at
