"""Two vti-updowns in one network namespace, each with records of its own, and charons in containers:
each leaves the other's alone, and says so.
"""

import contextlib
import itertools
import os
import random
import shutil
import subprocess
import sys

import pytest

from conftest import CLONE_NEWNS, _checked, libc, sh
from support.events import environment
from support.namespaces import INSTALLED
from support.slow import slow_but
from support.stream import comes_true
from test_setups import FULL, NET, XFRM, person
from view import view
from vti_updown import processes, state
from vti_updown.kernel import namespace
from vti_updown.settings.table import FULL_TABLE

STAR = {"PEER": "192.168.0.3", "PEER_ID": "star", "CONNECTION": "star", "UNIQUEID": 2}
BARE = {"MY_SOURCEIP": None, "MY_SOURCEIP4_1": None, "MY_SOURCEIP6_1": None}
PYTHON = [sys.executable, "-c"]


class Sidecar:
    """A container with the host's network and a /run of its own."""

    def __init__(self, mount):
        home = self._opened()
        _checked(libc.unshare(CLONE_NEWNS))
        try:
            sh(mount)
            self._there = self._opened()
        finally:
            self._enter(home)
            os.close(home)

    @staticmethod
    def _opened():
        return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    @staticmethod
    def _enter(mounts):
        folder = os.getcwd()
        _checked(libc.setns(mounts, 0))
        os.chdir(folder)

    @contextlib.contextmanager
    def within(self):
        """Events and commands are in the container meanwhile."""
        home = self._opened()
        self._enter(self._there)
        try:
            yield
        finally:
            self._enter(home)
            os.close(home)

    def close(self):
        os.close(self._there)


RUNS = {
    "run": "mount -t tmpfs -o mode=755 tmpfs /run",
    "directory": "mkdir -p -m 700 /run/vti-updown /run/other; mount --bind /run/other /run/vti-updown",
}


@pytest.fixture(params=slow_but(["run"], RUNS))
def sidecar(machine, request):
    container = Sidecar(RUNS[request.param])
    yield container
    container.close()


def at(place):
    """Where something is done: in a sidecar, or on the host."""
    return contextlib.nullcontext() if place is None else place.within()


def tunnels():
    """The peers that have a link, and the networks that are routed by one."""
    seen = view()
    peers = {link.remote for link in seen.links if link.kind == "vti" and link.remote != "0.0.0.0"}
    networks = {route.destination for route in seen.routes if route.protocol == 50}
    return peers, networks


# Two states


@pytest.mark.parametrize("seed", slow_but([1], range(2)))
def test_two_states_leave_each_other_alone_in_any_order(machine, sidecar, capfd, seed):
    """Ups, downs, repair, flush and lost records of one change nothing of the other's."""
    chance = random.Random(seed)
    before = machine.state()
    own: dict[Sidecar | None, set[int]] = {None: set(), sidecar: set()}
    numbers = {None: (11, 12, 13), sidecar: (21, 22, 23)}

    def check():
        up = own[None] | own[sidecar]
        assert tunnels() == (
            {f"192.168.0.{number}" for number in up},
            {f"10.{number}.0.0/16" for number in up},
        )

    for _ in range(30):
        place = chance.choice([None, sidecar])
        number = chance.choice(numbers[place])
        event: dict[str, object] = {**BARE, "PEER": f"192.168.0.{number}"}
        event |= {"CONNECTION": f"c{number}"}
        event |= {
            "PEER_ID": f"p{number}",
            "MARK_IN": number,
            "MARK_OUT": number,
            "UNIQUEID": number,
        }
        flags = ("--route", f"10.{number}.0.0/16")
        with at(place):
            match chance.randrange(8):
                case 0:
                    assert person(capfd, "repair")[0] == 0
                case 1:
                    assert person(capfd, "flush", "--force")[0] == 0
                    own[place].clear()
                case 2:
                    sh("rm -rf /run/vti-updown/*")
                    assert person(capfd, "repair")[0] == 0
                case _ if number in own[place]:
                    machine.down(*flags, **event)
                    own[place].remove(number)
                case _:
                    machine.up(*flags, **event)
                    own[place].add(number)
        check()
    for place, up in own.items():
        with at(place):
            person(capfd, "flush", "--force")
            up.clear()
        check()
    assert machine.state() == before


def test_a_command_names_the_links_of_another_state(machine, sidecar, capfd):
    """With what to do if that is gone for good."""
    machine.up(*NET, **BARE)
    made = machine.state()
    with sidecar.within():
        for words in (["repair"], ["flush", "--force"], ["flush", "--force", "--dry-run"]):
            status, lines = person(capfd, *words)
            remedy = "if that is gone for good: ip link del vti1"
            assert status == 0
            assert lines[1:] == [f"# left alone: vti1, another vti-updown's; {remedy}"]
    assert machine.state() == made
    assert person(capfd, "flush", "--force") == (0, ["ip link del vti1"])


def test_a_link_of_another_state_is_borrowed_and_named(machine, sidecar):
    """Either may end first; nothing is left in the end."""
    before = machine.state()
    for first in (None, sidecar):
        machine.up(*NET, **BARE)
        with sidecar.within():
            lines = machine.up("--route", "10.9.0.0/16", **BARE)
            assert lines[0].startswith("gw: vti1 up, ")
            assert "left alone: vti1, another vti-updown's" in lines[-1]
        second = sidecar if first is None else None
        for place in (first, second):
            with at(place):
                machine.down(**BARE)
        assert machine.state() == before


def test_a_link_of_another_state_with_another_mark_is_refused(machine, sidecar):
    """It is in use there, so nobody is told to delete it."""
    machine.up(*NET, **BARE)
    made = machine.state()
    with sidecar.within():
        (line, *_) = machine.event("up-client", *NET, **BARE, MARK_IN=9, MARK_OUT=9)
        what = "vti1 of another vti-updown has okey 2, ikey 2"
        assert line == f"error: gw: {what}; use if_id, or end that tunnel where it was made"
        machine.event("down-client", *NET, **BARE, MARK_IN=9, MARK_OUT=9)
    assert machine.state() == made


@pytest.mark.parametrize("first", ["host", "sidecar"])
def test_rules_of_two_full_tunnels_go_with_their_own(machine, sidecar, first):
    """Equal rules are there twice, and each takes away one."""
    before = machine.state()
    machine.up(*FULL)
    alone = sorted(sh("ip rule").splitlines())
    with sidecar.within():
        lines = machine.up(*FULL, **STAR)
    assert any("left alone: a route to 0.0.0.0/0 by vti1" in line for line in lines)
    if first == "host":
        machine.down(*FULL)
        assert f"15003:\tnot from all iif lo lookup {FULL_TABLE} proto 50" in sh("ip rule")
        with sidecar.within():
            machine.down(*FULL, **STAR)
    else:
        with sidecar.within():
            machine.down(*FULL, **STAR)
        assert sorted(sh("ip rule").splitlines()) == alone
        machine.down(*FULL)
    assert machine.state() == before


def test_lost_records_adopt_no_rules_beside_another_state(machine, sidecar, capfd):
    """A rule has no owner, so what one has lost is the other's."""
    before = machine.state()
    machine.up(*FULL, "--when-down", "block")
    made = machine.state()
    with sidecar.within():
        machine.up(*NET, **BARE, **STAR)
        sh("rm -rf /run/vti-updown/*")
        assert person(capfd, "flush", "--force")[0] == 0
        assert machine.state() == made
        assert person(capfd, "flush", "--force")[0] == 0
    assert machine.state() == made
    assert person(capfd, "flush", "--force")[0] == 0
    assert machine.state() == before


def test_who_shares_the_directory_is_one_state(machine, capfd):
    """As the remedy for a sidecar: the host's /run/vti-updown, bound into it."""
    before = machine.state()
    machine.up(*NET, **BARE)
    shared = Sidecar(
        "mount -t tmpfs tmpfs /mnt; mkdir /mnt/vti-updown;"
        "mount --bind /run/vti-updown /mnt/vti-updown; mount --rbind /mnt /run"
    )
    try:
        with shared.within():
            assert person(capfd, "repair") == (0, ["nothing to repair"])
            machine.down(**BARE)
    finally:
        shared.close()
    assert machine.state() == before


def test_a_link_in_flight_of_another_state_stays(machine, sidecar):
    """Its name is that state's own."""
    sh("ip netns add red")
    with sidecar.within():
        others = state.group()
    name = f"vti-updown-{others & 0xFFFF:04x}"
    sh(f"ip link add {name} group {others} type dummy")
    before = machine.state()
    machine.up(*NET, **BARE, **STAR)
    machine.up("--netns", "red", "--name", "t0", **BARE)
    machine.down(**BARE)
    machine.down(**BARE, **STAR)
    assert machine.state() == before
    sh("ip netns del red")


# A hook in a namespace, and a hook that moves links there


def test_a_route_of_the_hook_in_a_namespace_made_anew_stays(machine):
    """Ours was in the one that is gone, and has the same key."""
    sh("ip netns add red; ip -n red link set lo up")
    machine.up(*NET, "--netns", "red", "--name", "t0", **BARE)
    sh("ip netns del red; ip netns add red; ip -n red link set lo up")
    sh(
        "ip -n red link add eth0 type dummy; ip -n red link set eth0 up; ip -n red addr add 192.168.0.1/24 dev eth0"
    )
    with namespace.within("red"):
        machine.up(*NET, **BARE, **STAR)
        made = machine.state()
    machine.event("down-client", **BARE)
    with namespace.within("red"):
        assert machine.state() == made
        machine.down(**BARE, **STAR)
    sh("ip netns del red")


def test_flush_leaves_what_the_hook_in_a_namespace_has(machine, capfd):
    """Though both have one /run, and one group."""
    sh("ip netns add red; ip -n red link set lo up")
    sh(
        "ip -n red link add eth0 type dummy; ip -n red link set eth0 up; ip -n red addr add 192.168.0.1/24 dev eth0"
    )
    with namespace.within("red"):
        machine.up(*FULL, "--when-down", "block", **STAR)
        made = machine.state()
    machine.up(*NET, "--netns", "red", "--name", "t0", **BARE, **XFRM)
    assert person(capfd, "flush", "--force")[0] == 0
    with namespace.within("red"):
        assert machine.state() == made
        assert person(capfd, "flush", "--force")[0] == 0
    sh("ip netns del red")


# A charon in a container


@pytest.fixture
def charon(tmp_path):
    """A program of this name, which runs a shell's script."""
    program = tmp_path / "charon"
    shutil.copy("/bin/bash", program)
    return program


def in_container(charon, script, **variables):
    """A charon with PIDs of its own, which runs the script and stays."""
    words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", str(charon), "-c"]
    return subprocess.Popen(
        [*words, f"{script}; while :; do sleep 0.1; done"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | variables,
    )


def test_a_charon_in_a_container_is_seen_from_the_host_only(charon):
    """From another container it is neither alive nor gone."""
    code = "from vti_updown import processes as c; import sys;"
    container = in_container(
        charon,
        'sh -c "\\"$P\\" -c \\"$CODE\\"; :"; :',
        P=sys.executable,
        CODE=f"{code} print(c.charon(), c.alive(c.charon()))",
    )
    try:
        who, alive = container.stdout.readline().split()
        assert who.startswith("1@") and alive == "True"
        ask = [*PYTHON, f"{code} print(c.alive(sys.argv[1]))", who]
        inside = ["unshare", "--pid", "--fork", "--mount-proc"]
        paths = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

        def asked(*before):
            return subprocess.run(
                [*before, *ask], stdout=subprocess.PIPE, text=True, check=True, env=paths
            ).stdout.strip()

        is_first = processes.namespace_of_proc() == processes.INITIAL
        assert asked() == ("True" if is_first else "None")
        assert asked(*inside) == "None"
        container.kill()
        container.wait()
        assert asked() == ("False" if is_first else "None")
        # A new one may get the inode of the one that has ended, and then knows that it has.
        assert asked(*inside) in ("None", "False")
    finally:
        container.kill()
        container.wait()


def test_flush_on_the_host_leaves_a_containers_live_tunnel(machine, charon):
    """flush --stale takes it once that charon is gone."""
    before = machine.state()
    variables = environment("up-client", **BARE)
    container = in_container(charon, f'sh -c "{INSTALLED} --route 10.2.0.0/16"', **variables)

    def host(*words):
        done = subprocess.run(
            [str(INSTALLED), *words], stdout=subprocess.PIPE, text=True, check=False
        )
        return done.returncode, done.stdout.splitlines()

    try:
        assert "vti1 up" in container.stdout.readline()
        made = machine.state()
        assert host("flush", "--stale") == (0, ["nothing to take away"])
        assert host("flush")[0] == 1
        assert machine.state() == made
    finally:
        container.kill()
        container.wait()
    assert comes_true(lambda: host("flush", "--stale")[1] == ["ip link del vti1"])
    assert machine.state() == before


def test_every_order_of_two_states_ends_clean(machine, sidecar):
    """Two tunnels, each up and down in one state, in all orders."""
    before = machine.state()
    events = [(None, "up"), (None, "down"), (sidecar, "up"), (sidecar, "down")]
    for order in itertools.permutations(events):
        if any(
            order.index((place, "up")) > order.index((place, "down")) for place in (None, sidecar)
        ):
            continue
        for place, what in order:
            tunnel = {} if place is None else STAR
            with at(place):
                if what == "up":
                    machine.up(*NET, **BARE, **tunnel)
                else:
                    machine.down(*NET, **BARE, **tunnel)
        assert machine.state() == before


def test_a_block_in_a_namespace_made_anew_is_made_anew(machine, capfd):
    """What stood in the one that is gone is not taken for what stands in this one."""
    sh("ip netns add red; ip -n red link set lo up")
    there = ("--netns", "red", "--name", "t0", "--when-down", "block")
    block = "unreachable 10.2.0.0/16 proto 50"
    machine.up(*NET, *there, **BARE)
    assert block in sh("ip -n red route")
    sh("ip netns del red; ip netns add red; ip -n red link set lo up")
    machine.up(*NET, *there, **BARE, UNIQUEID=2)
    assert block in sh("ip -n red route")
    sh("ip netns del red; ip netns add red; ip -n red link set lo up")
    sh(f"ip -n red route add {block} metric 4294967295")
    assert person(capfd, "release", "gw")[0] == 0
    assert block in sh("ip -n red route")
    sh("ip netns del red")
