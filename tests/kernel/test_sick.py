"""A tunnel that is sick, in any way, beside ten that are healthy: it stays its own trouble."""

import contextlib
import glob
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from conftest import Machine, sh
from view import records
from vti_updown.admin import cli as people
from vti_updown.netlink import Socket
from vti_updown.objects import mss
from vti_updown.records import records as all_records
from vti_updown.records import storage
from vti_updown.records.applied import TRIES
from vti_updown.records.storage import DIRECTORY

HEALTHY = 10
FIRST_SICK = 100
"""The number of the first connection that is sick: its mark, its unique ID, and part of its name."""


def tunnel(number: int) -> dict[str, Any]:
    """The variables of one connection with a peer, a mark and a virtual IP of its own."""
    mark = f"{number}/0xffffffff"
    return {
        "CONNECTION": f"c{number}",
        "UNIQUEID": number,
        "PEER": f"192.168.{number // 250}.{number % 250 + 3}",
        "PEER_ID": f"peer{number}",
        "MARK_IN": mark,
        "MARK_OUT": mark,
        "MY_CLIENT": f"{inner(number)}/32",
        "MY_SOURCEIP": inner(number),
        "MY_SOURCEIP4_1": inner(number),
        "MY_SOURCEIP6_1": None,
    }


def inner(number: int) -> str:
    """The virtual IP of a connection."""
    return f"10.{200 + number // 250}.{number % 250}.1"


def network(number: int) -> str:
    return f"10.{number}.0.0/16"


def edit_records(change: str) -> None:
    (file,) = glob.glob(f"{DIRECTORY}/*.sqlite")
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute(change)
        database.commit()


def set_unreadable(table: str, key: str) -> Callable[[int], None]:
    """Damages the record of one object of a tunnel."""

    def damage(number: int) -> None:
        like = key.format(number=number, last=number % 250 + 3)
        edit_records(f"UPDATE {table} SET object = '[\"Link\", 1]' WHERE key LIKE '{like}'")

    return damage


class Sickness(NamedTuple):
    """What a tunnel needs, and what befalls it. `{number}` is the tunnel's."""

    befalls: str | Callable[[int], None]
    needs: str = ""
    flags: tuple[str, ...] = ()


SICK = {
    "device gone": Sickness(
        "ip link del dev{number}", "ip link add dev{number} type dummy", ("--device", "dev{number}")
    ),
    "vrf gone": Sickness(
        "ip link del red{number}",
        "ip link add red{number} type vrf table {number}; ip link set red{number} up",
        ("--vrf", "red{number}"),
    ),
    "vrf is a bridge now": Sickness(
        "ip link del red{number}; ip link add red{number} type bridge; ip link del vti{number}",
        "ip link add red{number} type vrf table {number}; ip link set red{number} up",
        ("--vrf", "red{number}"),
    ),
    "netns gone": Sickness(
        "ip netns del net{number}", "ip netns add net{number}", ("--netns", "net{number}")
    ),
    "netns made anew": Sickness(
        "ip netns del net{number}; ip netns add net{number}",
        "ip netns add net{number}",
        ("--netns", "net{number}"),
    ),
    "netns is a file": Sickness(
        "ip netns del net{number}; touch /run/netns/net{number}",
        "ip netns add net{number}",
        ("--netns", "net{number}"),
    ),
    "netns is a pipe": Sickness(
        "ip netns del net{number}; mkfifo /run/netns/net{number}",
        "ip netns add net{number}",
        ("--netns", "net{number}"),
    ),
    "netns is a link to itself": Sickness(
        "ip netns del net{number}; ln -s net{number} /run/netns/net{number}",
        "ip netns add net{number}",
        ("--netns", "net{number}"),
    ),
    "link gone": Sickness("ip link del vti{number}"),
    "link renamed": Sickness(
        "ip link set vti{number} down; ip link set vti{number} name x{number}"
    ),
    "link moved away": Sickness(
        "ip netns add away{number}; ip link set vti{number} netns away{number}"
    ),
    "link in another's VRF": Sickness(
        "ip link add own{number} type vrf table {number}; ip link set vti{number} vrf own{number}"
    ),
    "link down, others' route": Sickness(
        "ip link set vti{number} down; ip route add 10.{number}.0.0/16 dev eth0"
    ),
    "wish of the link unreadable": Sickness(set_unreadable("wish", "vti % 192.168.0.{last}")),
    "wish of the route unreadable": Sickness(set_unreadable("wish", "route 10.{number}.%")),
    "link unreadable": Sickness(set_unreadable("applied", "vti % 192.168.0.{last}")),
    "route unreadable": Sickness(set_unreadable("applied", "route 10.{number}.%")),
    "nft fails": Sickness(lambda _: None, flags=("--mss", "1300")),
}


def play(machine: Machine, monkeypatch: pytest.MonkeyPatch, sick: dict[str, Sickness]) -> None:
    """Ten healthy tunnels come and go, and people repair and flush, beside those that are sick."""
    for number in range(1, HEALTHY + 1):
        machine.up("--route", network(number), **tunnel(number))
    numbers = dict(enumerate(sick.values(), FIRST_SICK))
    for number, sickness in numbers.items():
        sh(sickness.needs.format(number=number))
        flags = [word.format(number=number) for word in sickness.flags]
        machine.up("--route", network(number), *flags, **tunnel(number))
    for number, sickness in numbers.items():
        if callable(sickness.befalls):
            sickness.befalls(number)
        else:
            sh(sickness.befalls.format(number=number))
    monkeypatch.setattr(mss, "_nft", nft_fails)
    for number in numbers:
        machine.event("up-client", "--route", network(number), **tunnel(number))  # finds it sick
    others = [line for _ in range(TRIES + 1) for line in healthy_events(machine)]
    for name in (f"c{number}" for number in numbers):
        assert not [line for line in others if line.startswith(f"{name}:")]
    quiet = healthy_events(machine)
    assert [line for line in quiet if "cannot" in line] == [], "it was said already"
    everything_is_right(machine)
    sh("ip route del 10.1.0.0/16; ip link del vti2")
    people.run(["repair"])
    everything_is_right(machine)
    people.run(["flush", "--force"])
    for number in range(1, HEALTHY + 1):
        assert f"vti{number}" not in machine.links()
        assert sh(f"ip route show {network(number)}") == ""
    left = set(records().references)
    assert left == set()


def nft_fails(_script: str) -> str:
    raise OSError(0, "no memory")


def healthy_events(machine: Machine) -> list[str]:
    """A new selector pair for each healthy tunnel, and its end; each succeeds."""
    lines = []
    for number in range(1, HEALTHY + 1):
        other = {**tunnel(number), "MY_CLIENT": f"10.19{number % 10}.0.0/24"}
        lines += machine.up("--no-routes", **other)
        lines += machine.down(**other)
    return lines


def everything_is_right(machine: Machine) -> None:
    """Of each healthy tunnel there is all."""
    for number in range(1, HEALTHY + 1):
        assert machine.addresses(f"vti{number}") == [f"{inner(number)}/32"]
        assert f"dev vti{number}" in sh(f"ip route show {network(number)}")


def test_all_the_sick_beside_ten_healthy(machine, monkeypatch):
    """Whatever befalls others, ups, downs, repair and flush of the healthy go on."""
    play(machine, monkeypatch, SICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", SICK)
def test_one_that_is_sick_beside_ten_healthy(machine, monkeypatch, name):
    """The same for each sickness alone."""
    play(machine, monkeypatch, {name: SICK[name]})


def test_an_event_costs_what_it_costs_beside_ten_thousand(machine, monkeypatch):
    """It asks the kernel and the records as much as alone, also while one of them is sick."""
    sh("ip link add dev99 type dummy")
    machine.up("--route", "10.99.0.0/16", "--device", "dev99", **tunnel(99))
    alone = cost(machine, monkeypatch)
    fill_records(machine, 10_000)
    assert cost(machine, monkeypatch) == pytest.approx(alone, rel=0.1)
    sh("ip link del dev99; ip link del vti99")
    machine.event("up-client", "--route", "10.99.0.0/16", "--device", "dev99", **tunnel(99))
    for _ in range(TRIES):
        machine.up("--no-routes", **tunnel(1))
        machine.down(**tunnel(1))
    assert cost(machine, monkeypatch) == pytest.approx(alone, rel=0.1)


def cost(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """What the kernel answers to an up and a down, in messages; and SQLite's instructions."""
    messages: list[object] = []
    instructions: list[object] = []
    request, connect = Socket.request, storage.connect

    def counted_request(self: Socket, kind: int, message: object, flags: int = 0) -> list[object]:
        answers = request(self, kind, message, flags)
        messages.extend([kind, *answers])
        return answers

    def counted_connect(file: str) -> sqlite3.Connection:
        database = connect(file)
        database.set_progress_handler(lambda: instructions.append(1), 10)  # type: ignore[arg-type]
        return database

    with monkeypatch.context() as patch:
        patch.setattr(Socket, "request", counted_request)
        patch.setattr(all_records, "connect", counted_connect)
        machine.up("--route", "10.1.0.0/16", **tunnel(1))
        machine.down(**tunnel(1))
    return len(messages), len(instructions)


def fill_records(machine: Machine, count: int) -> None:
    """As many tunnels are on record, of this charon; the kernel has none of them."""
    (file,) = glob.glob(f"{DIRECTORY}/*.sqlite")
    with contextlib.closing(sqlite3.connect(file)) as database:
        for table, row in (
            ("reference", "NULL, charon, ?, 7, 7, ?, '', '', '', '', '', '', ''"),
            ("wish", "?, 1000, ?, '', NULL"),
            ("applied", "?, ?, 'link', NULL, NULL, 1, 1000, 0, NULL, NULL, 0"),
        ):
            rows = ((f"key {number}", f"text {number}") for number in range(count))
            made = f"INSERT INTO {table} VALUES ({row})".replace("charon", repr(machine.charon))
            database.executemany(made, rows)
        database.commit()
