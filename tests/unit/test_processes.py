"""Which charon called, and whether it lives, by a /proc that the tests write."""

import os
from pathlib import Path

import pytest

from vti_updown import processes

from .proc import INITIAL, Proc

CONTAINER, OTHER_CONTAINER = 4026532001, 4026532002


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    monkeypatch.setattr(processes, "PROC", str(tmp_path))
    return Proc(tmp_path)


@pytest.fixture
def host(proc: Proc) -> Proc:
    """The first PID namespace, with a charon that calls."""
    proc.add(1, "systemd", 0)
    proc.add(40, "charon-systemd")
    proc.add(41, "sh", 40)
    proc.hook(41)
    return proc


@pytest.fixture
def container(proc: Proc) -> Proc:
    """A container with PIDs of its own, and a /proc of its own."""
    proc.add(1, "charon", 0, namespace=CONTAINER)
    proc.add(2, "sh", 1, namespace=CONTAINER)
    proc.hook(2, namespace=CONTAINER)
    return proc


# Who called


def test_a_charon_is_named_with_its_pid_namespace(host: Proc) -> None:
    """A number says nothing in another one."""
    assert processes.charon() == f"40@500@{INITIAL}"


def test_without_a_charon_above_it_is_by_hand(proc: Proc) -> None:
    """A shell of a person has none."""
    proc.add(1, "systemd", 0)
    proc.add(41, "bash")
    proc.hook(41)
    assert processes.charon() == processes.BY_HAND


def test_without_proc_it_is_by_hand(proc: Proc) -> None:
    """So what it sets up stays: nobody can say that its charon is gone."""
    del proc
    assert processes.charon() == processes.BY_HAND


@pytest.mark.parametrize("name", ["charon", "charon-nm", "charon (1) x", "charon) S 1 ("])
def test_a_name_may_hold_anything(proc: Proc, name: str) -> None:
    """Blanks and parentheses do not shift the fields behind it."""
    proc.add(1, "systemd", 0)
    proc.add(40, name, start=123)
    proc.hook(40)
    assert processes.charon() == f"40@123@{INITIAL}"
    assert processes.alive(processes.charon()) is True


def test_a_proc_of_the_host_in_a_container_is_read_by_its_numbers(proc: Proc) -> None:
    """The parent has another number there than getppid() says."""
    proc.add(1, "systemd", 0)
    proc.add(4000, "charon", pids=(1,), namespace=CONTAINER)
    proc.add(4001, "sh", 4000, pids=(2,), namespace=CONTAINER)
    proc.hook(4001, pids=(3,), namespace=CONTAINER)
    assert processes.charon() == f"1@500@{CONTAINER}"
    assert processes.alive(processes.charon()) is True


def test_a_hook_that_may_not_look_takes_its_own_namespace(proc: Proc) -> None:
    """As without CAP_SYS_PTRACE. A descendant is in its charon's namespace."""
    proc.add(1, "systemd", 0, namespace=None)
    proc.add(40, "charon", namespace=None)
    proc.hook(40)
    assert processes.charon() == f"40@500@{INITIAL}"
    assert processes.alive(processes.charon()) is True


# Who lives


def test_a_charon_of_the_same_namespace_lives_or_is_gone(host: Proc) -> None:
    """One look at one file."""
    who = processes.charon()
    assert processes.alive(who) is True and not processes.gone(who)
    host.remove(40)
    assert processes.alive(who) is False and processes.gone(who)


def test_a_pid_that_is_used_again_is_another_process(host: Proc) -> None:
    """Its start time is another one."""
    assert processes.alive(f"40@499@{INITIAL}") is False


def test_another_start_in_another_time_namespace_says_nothing(host: Proc) -> None:
    """There each process has another start time."""
    host.add(50, "charon", time=9)
    assert processes.alive(f"50@499@{INITIAL}") is None


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_zombie_is_gone(host: Proc, state: str) -> None:
    """It runs no more, though it is listed."""
    host.add(50, "charon", state=state)
    assert processes.alive(f"50@500@{INITIAL}") is False


def test_the_host_sees_a_charon_in_a_container(host: Proc) -> None:
    """By the number that it has there."""
    host.add(4000, "charon", pids=(1,), namespace=CONTAINER)
    host.add(4001, "charon", pids=(1,), namespace=OTHER_CONTAINER, start=900)
    assert processes.alive(f"1@500@{CONTAINER}") is True
    assert processes.alive(f"1@500@{OTHER_CONTAINER}") is False
    assert processes.alive(f"2@500@{CONTAINER}") is False
    host.remove(4000)
    assert processes.alive(f"1@500@{CONTAINER}") is False


def test_a_container_cannot_see_a_charon_outside(container: Proc) -> None:
    """What cannot be seen is not called gone, though another process has the number."""
    assert processes.alive(processes.charon()) is True
    for who in (f"1@500@{INITIAL}", f"40@500@{INITIAL}", f"1@500@{OTHER_CONTAINER}"):
        assert processes.alive(who) is None and not processes.gone(who)


def test_who_may_not_look_tells_only_what_there_is_not(proc: Proc) -> None:
    """As without CAP_SYS_PTRACE: numbers are told, and namespaces are not."""
    proc.add(1, "systemd", 0, namespace=None)
    proc.hook(1)
    assert processes.alive(f"1@500@{CONTAINER}") is False
    proc.add(4000, "charon", pids=(1,), namespace=None)
    assert processes.alive(f"1@500@{CONTAINER}") is None
    assert processes.alive(f"2@500@{CONTAINER}") is False


def test_where_proc_hides_processes_no_container_is_seen(proc: Proc) -> None:
    """Not being found says nothing, then."""
    proc.hook(1)
    assert processes.alive(f"1@500@{CONTAINER}") is None


@pytest.mark.parametrize(
    "who", ["40", "40@500", "40@500@", "x@1@2", "@", "@@", "-1@5@6", "standing"]
)
def test_a_name_that_is_none_is_not_called_gone(host: Proc, who: str) -> None:
    """Whoever wrote that into the records."""
    assert processes.alive(who) is None and not processes.gone(who)


def test_a_process_that_proc_hides_is_not_called_gone(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with hidepid=2, for whoever is not root."""
    proc.hook(1)
    monkeypatch.setattr(os, "kill", _refusing)
    assert processes.alive(f"40@500@{INITIAL}") is None
    monkeypatch.setattr(os, "kill", _missing)
    assert processes.alive(f"40@500@{INITIAL}") is False


def test_a_process_that_may_not_be_read_is_not_called_gone(
    host: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with hidepid=1."""
    monkeypatch.setattr(processes, "_read", _refusing)
    assert processes.alive(f"40@500@{INITIAL}") is None


def _refusing(*_: object) -> None:
    raise PermissionError


def _missing(*_: object) -> None:
    raise ProcessLookupError


def test_the_usual_case_asks_for_no_list_of_processes(
    host: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked at every event, of every charon on record."""
    monkeypatch.setattr(os, "listdir", _refusing)
    assert processes.alive(f"40@500@{INITIAL}") is True
    assert processes.alive(f"77@500@{INITIAL}") is False


def test_charons_are_those_of_this_network_namespace(host: Proc) -> None:
    """Whatever PID namespace they are in."""
    host.add(4000, "charon", pids=(1,), namespace=CONTAINER)
    host.add(4001, "charon", net=99)
    host.add(4002, "charon", state="Z")
    assert sorted(processes.charons()) == [40, 4000]
