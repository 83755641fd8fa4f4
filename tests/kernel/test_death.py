"""An event that dies, or fails, at any of its changes of the kernel or the records loses nothing
and leaves nothing.
"""

import errno
import os
import sqlite3
from typing import NamedTuple

import pytest

import deaths
from view import View, records, view
from vti_updown import netlink as rt
from vti_updown.admin import standing
from vti_updown.objects.object import PROTOCOL


class Call(NamedTuple):
    verb: str
    flags: tuple[str, ...] = ()
    changed: dict[str, object] = {}  # noqa: RUF012


def call(verb, *flags, **changed):
    return Call(verb, flags, changed)


NET = ("--route", "10.2.0.0/16", "--route", "fec2::/16")
STAR = {"PEER": "192.168.0.3", "PEER_ID": "star", "CONNECTION": "star", "UNIQUEID": 2}
GATEWAY = {
    "MY_SOURCEIP": None,
    "MY_SOURCEIP4_1": None,
    "MY_SOURCEIP6_1": None,
    "MY_CLIENT": "10.1.0.0/24",
}
OLD, NEW = (
    {"MARK_IN": f"{mark}/0xffffffff", "MARK_OUT": f"{mark}/0xffffffff", "UNIQUEID": mark}
    for mark in (5, 6)
)
BESIDE = {"CONNECTION": "beside", "UNIQUEID": 1, "PEER_CLIENT": "10.9.0.0/16", **GATEWAY}

FULL = ("--route", "0.0.0.0/0", "--when-down", "block")
NAMED = (*NET, "--name", "t0")
ROAMED = {"PEER": "192.168.0.4", "UNIQUEID": 2}
WAYS = {"MARK_IN": None, "MARK_OUT": None, "IF_ID_IN": 7, "IF_ID_OUT": 8}
OFFICE = (*NET, "--netns", "office")

RESTART = call("restart")
RELEASE = call("release")

# The events before, the one that dies, and those that follow; after all of them everything is as it
# was before the first.
STORIES = {
    "first up": ((), call("up-client", *NET), (call("down-client"),)),
    "up of a second family": (
        (call("up-client", *NET),),
        call("up-client-v6", *NET),
        (call("down-client"), call("down-client-v6")),
    ),
    "up that takes a route from another link": (
        (call("up-client", *NET),),
        call("up-client", *NET, **STAR),
        (call("down-client", **STAR), call("down-client")),
    ),
    "up that changes the keys of the link": (
        (call("up-client", *NET, **OLD),),
        call("up-client", *NET, **NEW),
        (call("down-client", **OLD), call("down-client", **NEW)),
    ),
    "last down": (
        (call("up-client", *NET),),
        call("down-client"),
        (call("up-client", *NET, **STAR), call("down-client", **STAR)),
    ),
    "down that takes the last IPv4 address of a shared link": (
        (call("up-client", *NET), call("up-client", **BESIDE)),
        call("down-client"),
        (call("down-client", **BESIDE),),
    ),
    "down that gives a route and keys back": (
        (
            call("up-client", *NET, **OLD),
            call("up-client-v6", *NET, **OLD),
            call("up-client-v6", *NET, **NEW),
            call("up-client", *NET, **STAR),
            call("up-client", *NET, **NEW),
        ),
        call("down-client", **NEW),
        (
            call("down-client", **OLD),
            call("down-client", **STAR),
            call("down-client-v6", **NEW),
            call("down-client-v6", **OLD),
        ),
    ),
    "up after a restart of charon": (
        (call("up-client", *NET), call("up-client-v6", *NET, **STAR), RESTART),
        call("up-client", *NET, PEER="192.168.0.3"),
        (call("down-client", PEER="192.168.0.3"),),
    ),
    "up of a full tunnel that blocks while it is down": (
        (),
        call("up-client", *FULL),
        (call("down-client"), RELEASE),
    ),
    "up that moves a link in place": (
        (call("up-client", *NAMED), call("up-client-v6", *NAMED)),
        call("up-client", *NAMED, **ROAMED),
        (call("down-client"), call("down-client-v6"), call("down-client", **ROAMED)),
    ),
    "up of two if_ids in a namespace": (
        (),
        call("up-client", *OFFICE, **WAYS),
        (call("down-client", **WAYS),),
    ),
}
NOBODY = call("down-client", CONNECTION="nobody", UNIQUEID=9)


def stories(quick: str) -> pytest.MarkDecorator:
    """All of them, and all but one are slow."""
    marks = {name: () if name == quick else pytest.mark.slow for name in STORIES}
    return pytest.mark.parametrize(
        "story", [pytest.param(name, marks=marks[name]) for name in STORIES]
    )


@pytest.fixture
def machine(machine):
    machine.run("ip", "addr", "add", "10.1.0.1/24", "dev", "lan")
    machine.run("ip", "netns", "add", "office")
    yield machine
    machine.run("ip", "netns", "del", "office")


def send(machine, one):
    if one.verb == "restart":
        machine.restart_charon()
        return []
    if one.verb == "release":
        return standing.release(())
    return machine.event(one.verb, *one.flags, **one.changed)


def send_all(machine, calls):
    for one in calls:
        send(machine, one)
        assert machine.status == 0


def start_again(machine, before):
    """Takes everything away by a restart of charon, and sees that nothing is left."""
    machine.restart_charon()
    send(machine, RELEASE)
    send(machine, NOBODY)
    send(machine, NOBODY)
    assert not view().against(before)
    assert records() == ((), (), ())
    machine.dead.clear()


class Told(NamedTuple):
    """What the story leads to when nothing dies."""

    before: object
    without: tuple[object, object]
    """State and records if the event that is to die never comes, after one that has nothing to do
    with it.
    """
    after: tuple[object, object]
    failed: object
    """The state if the event fails: without it, but for what the settings block all the same."""
    names: list[str]
    """Its changes."""


def told(machine, story):
    earlier, event, later = STORIES[story]
    before = view()
    send_all(machine, (*earlier, NOBODY))
    without = now()
    start_again(machine, before)
    send_all(machine, earlier)
    names = deaths.count(lambda: send_all(machine, (event,)))
    send(machine, NOBODY)
    after = now()
    assert after != without
    failed = without[0]
    if "block" in event.flags:
        send_all(machine, [one for one in later if one != RELEASE])
        failed = view()
        send(machine, RELEASE)
    else:
        send_all(machine, later)
    assert not view().against(before)
    start_again(machine, before)
    return Told(before, without, after, failed, names)


def now():
    return view(), records().applied


def same(told):
    """Whether the state is the one told of: the kernel's, and what the records say of it."""
    found = now()
    difference = found[0].against(told[0])
    assert not difference, difference
    assert found[1] == told[1]


def say(capfd, text):
    with capfd.disabled():
        print(f"\n{text} ", end="", flush=True)


@stories("down that takes the last IPv4 address of a shared link")
def test_the_next_event_mends_one_that_died_at_any_instant(machine, capfd, story):
    """The hook may be killed before any change, and the next event leaves the kernel as wished."""
    earlier, event, later = STORIES[story]
    normal = told(machine, story)
    say(capfd, f"{story}: {len(normal.names) + 1} deaths: {' '.join(normal.names)}")
    for number in range(len(normal.names) + 1):
        recorded = number > normal.names.index("db COMMIT")
        for next_event in (True, False):
            send_all(machine, earlier)
            killed = deaths.killed(lambda: send(machine, event), number)
            assert killed == (number < len(normal.names))
            if next_event:
                send(machine, NOBODY)
                # An event that died before it could record anything is as one that never came.
                same(normal.after if recorded else normal.without)
            send_all(machine, later)
            if recorded or event.verb.startswith("up"):
                assert not view().against(normal.before)
            start_again(machine, normal.before)


class Fault(NamedTuple):
    first: int
    """Number of the change that fails."""
    code: int
    """What the kernel refuses it with; 0 for a full disk."""
    times: int = 1
    """How many of the same kind fail; a change that fails once is tried again."""

    @property
    def lasts(self):
        """Whether all later ones of the kernel fail."""
        return self.times > 2

    def error(self):
        return (
            rt.NetlinkError(self.code, os.strerror(self.code))
            if self.code
            else sqlite3.OperationalError("disk is full")
        )


EXISTS = (("NEWROUTE", errno.EEXIST), ("NEWRULE", errno.EEXIST))
ERRORS = (errno.EPERM, errno.EEXIST, errno.ENOBUFS, errno.ENODEV, errno.ENOSPC)


def faults(names):
    for number, name in enumerate(names):
        if name.startswith("db"):
            yield Fault(number, 0)
            continue
        for code in ERRORS:
            # What is taken away and gone already is answered so; and what somebody else has made:
            # test_hook.py.
            if (name[:3], code) != ("DEL", errno.ENODEV) and (name, code) not in EXISTS:
                yield Fault(number, code, 2)
        yield Fault(number, errno.ENOBUFS)
        yield Fault(number, errno.EPERM, 1000)


def last_route(names):
    """The number of the change that puts the last route. In a block it is the unreachable one."""
    return max((number for number, name in enumerate(names) if name == "NEWROUTE"), default=0)


def unlike(name, seen):
    """Of what is ours in `seen`, all that a change of this name is not about."""
    if name.endswith("LINK"):  # all else may stand on it
        return View(*(frozenset() for _ in seen))
    return seen._replace(
        addresses=frozenset(one for one in seen.addresses if not name.endswith("ADDR")),
        routes=frozenset(
            one for one in seen.routes if one.protocol == PROTOCOL and not name.endswith("ROUTE")
        ),
        rules=frozenset() if name.endswith("RULE") else seen.rules,
    )


@stories("first up")
def test_an_up_that_fails_rolls_back_and_a_down_goes_on(machine, capfd, story):
    """Any change may fail: an up leaves the state before it, and a down takes the rest away."""
    earlier, event, later = STORIES[story]
    normal = told(machine, story)
    tried = list(faults(normal.names))
    say(capfd, f"{story}: {len(tried)} faults")
    wrong = []
    for fault in tried:
        send_all(machine, earlier)
        assert deaths.failing(
            lambda: send(machine, event), fault.first, fault.times, not fault.lasts, fault.error
        )
        about = f"{normal.names[fault.first]} {fault}"
        failed_up = event.verb.startswith("up") and machine.status != 0
        failed = normal.failed
        is_block_refused = "block" in event.flags and fault.first >= last_route(normal.names)
        if is_block_refused and normal.names[fault.first] in ("NEWROUTE", "NEWRULE"):
            failed = normal.without[0]  # Half of a block may be worse than none.
        seen = []
        # After a fault that lasts, or a restart before, the rest is for the next event.
        is_put_again = "block" in event.flags and normal.names[fault.first] == "NEWROUTE"
        if failed_up and not fault.lasts and RESTART not in earlier and not is_put_again:
            seen.append(("at once", view().against(failed)))
        if event.verb.startswith("down") and fault.code and not fault.lasts:
            done, whole = (
                unlike(normal.names[fault.first], one) for one in (view(), normal.after[0])
            )
            seen.append(("left by a down that has to go on", done.against(whole)))
        send(machine, NOBODY)
        expected = failed if failed_up else normal.after[0]
        found = view()
        if normal.names[fault.first] == "sysctl":  # an up does without it
            found, expected = (one._replace(settings=frozenset()) for one in (found, expected))
        seen.append(("after the next event", found.against(expected)))
        seen.append(
            ("in doubt", "\n".join(key for key, _, sure, _ in records().applied if not sure))
        )
        send_all(machine, later)
        seen.append(("at the end", view().against(normal.before)))
        wrong += [f"{about}: {when}:\n{what}" for when, what in seen if what]
        start_again(machine, normal.before)
    assert not wrong, "\n".join(wrong)
