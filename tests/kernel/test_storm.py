"""Many events at once, from processes of their own: none is lost, none waits for ever, and nothing
is left behind.
"""

import functools
import os
import random
import signal
import time

import pytest

import deaths
from support.events import environment
from support.processes import fork
from support.slow import slow_but
from view import records, view
from vti_updown import cli
from vti_updown.hook import run as hook

PROCESSES = 16


def life(number, chance):
    """The four events of a tunnel in charon's order; some share a network with others, some are
    rekeyed between.
    """
    changed = {
        "PEER": f"192.168.0.{100 + number}",
        "CONNECTION": f"c{number}",
        "PEER_ID": f"p{number}",
    }
    route = {"": f"10.{number % 7 + 60}.0.0/16", "-v6": f"fd{number % 7 + 60}::/16"}
    ups, downs = (
        [(f"{verb}-client{suffix}", suffix) for suffix in ("", "-v6")] for verb in ("up", "down")
    )
    chance.shuffle(ups)
    chance.shuffle(downs)
    rekeyed = number + 1000 if chance.random() < 0.3 else number
    return [
        (verb, ("--route", route[suffix]), {**changed, "UNIQUEID": unique_id})
        for some, unique_id in ((ups, number), (downs, rekeyed))
        for verb, suffix in some
    ]


def shuffled(lives, chance):
    """All events in random order, but each life in its own."""
    order = [number for number, events in enumerate(lives) for _ in events]
    chance.shuffle(order)
    left = [iter(events) for events in lives]
    return [next(left[number]) for number in order]


def work(machine, events, file):
    """One process's events: their number, the failures and the longest one's seconds are left in
    `file`.
    """
    failures, longest = [], 0.0
    for verb, flags, changed in events:
        start = time.monotonic()
        lines = machine.event(verb, *flags, **changed)
        longest = max(longest, time.monotonic() - start)
        waits = any("so the next event does this" in line for line in lines)
        if any("cannot" in line for line in lines) or (machine.status and not waits):
            failures += [f"{verb} {changed}: {lines}"]
    with open(file, "w", encoding="utf-8") as out:
        out.write("\n".join([f"{longest:.1f}", *failures]))


@pytest.mark.parametrize("events", slow_but([48], [48, 200]))
def test_events_at_once_leave_nothing_and_none_fails(machine, capfd, monkeypatch, events):
    """16 processes wait for one lock in turn. What waits for too long is done by another."""
    seed = int(os.environ.get("VTI_UPDOWN_SEED", "0")) or random.SystemRandom().randrange(
        1, 1 << 32
    )
    chance = random.Random(seed)
    before = view()
    lives = [life(number, chance) for number in range(1, events // 4 + 1)]
    shares = [shuffled(lives[first::PROCESSES], chance) for first in range(PROCESSES)]
    assert sum(map(len, shares)) == events

    def start_of(first):
        # What a process prints goes to a file of its own: all have the one that pytest captures.
        def quiet(verb, *flags, **changed):
            out = os.open(f"/run/out{first}", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.close(out)
            machine.status = cli.hook(flags, environment(verb, **changed))
            with open(f"/run/out{first}", encoding="utf-8") as said:
                return said.read().splitlines()

        monkeypatch.setattr(machine, "event", quiet)
        work(machine, shares[first], f"/run/storm{first}")

    begin = time.monotonic()
    children = [fork(functools.partial(start_of, first)) for first in range(PROCESSES)]
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    seconds = time.monotonic() - begin
    longest = 0.0
    failures: list[str] = []
    for first in range(PROCESSES):
        with open(f"/run/storm{first}", encoding="utf-8") as said:
            head, *more = said.read().splitlines()
        longest, failures = max(longest, float(head)), failures + more
    with capfd.disabled():
        print(
            f"\nVTI_UPDOWN_SEED={seed} {events} events in {seconds:.1f} s, the longest {longest:.1f} s ",
            end="",
            flush=True,
        )
    assert not failures, failures
    assert not view().against(before)
    assert records() == ((), (), ())


def test_a_stopped_holder_is_named_after_a_bounded_wait(machine, monkeypatch):
    """Its death frees all who wait."""
    before = view()
    route = ("--route", "10.2.0.0/16")

    def stop(_number, name):
        if name == "NEWADDR":
            os.kill(os.getpid(), signal.SIGSTOP)

    def held():
        deaths.Points(monkeypatch, stop)
        machine.event("up-client", *route)

    holder = fork(held)
    assert os.WIFSTOPPED(os.waitpid(holder, os.WUNTRACED)[1])
    with monkeypatch.context() as patch:
        patch.setattr(hook, "LOCK_SECONDS", 0.5)
        lines = machine.event("up-client-v6", "--route", "fd02::/16")
    assert machine.status == 1
    assert lines == [
        f"error: gw: PID {holder} has held our records for 0.5 s, so the next event does this up; kill PID {holder} if it hangs",
    ]
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    lines = machine.event("down-client", CONNECTION="nobody", UNIQUEID=9)
    assert lines[0].startswith("gw: vti1 up, ")
    assert machine.addresses("vti1") == ["10.3.0.1/32", "fec3::1/128"]
    assert machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    machine.down()
    machine.down(verb="down-client-v6")
    assert not view().against(before)
