"""Which charons there are, their sockets and their hooks, by a /proc that the tests write."""

import time
from pathlib import Path

import pytest

from vti_updown import processes
from vti_updown.vici import charons
from vti_updown.vici.charons import Charon, Socket

from .proc import INITIAL, Proc

NET, OTHER_NET = 7, 99
VICI = "00000000ce90b000: 00000002 00000000 00010000 0001 01 {} {}"
"""A line of /proc/net/unix: a stream that listens."""


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    monkeypatch.setattr(processes, "PROC", str(tmp_path))
    proc = Proc(tmp_path)
    proc.add(1, "systemd", 0)
    proc.hook(1, net=NET)
    return proc


def add_charon(proc: Proc, pid: int, *paths: str, name: str = "charon", net: int = NET) -> None:
    """A charon that listens at these paths, by inodes that begin with its PID."""
    proc.add(pid, name, net=net)
    inodes = {path: str(pid * 10 + number) for number, path in enumerate(paths)}
    lines = [VICI.format(inode, path) for path, inode in inodes.items()]
    proc.opens(pid, _0="/dev/null", _1="pipe:[5]", _2="pipe:[5]")
    descriptors = {
        f"_{number}": f"socket:[{each}]" for number, each in enumerate(inodes.values(), 3)
    }
    proc.opens(pid, **descriptors)
    proc.listens(pid, *lines)
    proc.root(pid)


def paths(charon: Charon) -> list[str]:
    return [socket.path for socket in charon.sockets]


# Which there are


def test_charons_of_our_namespace_are_ours(proc: Proc) -> None:
    """The others are told as well."""
    add_charon(proc, 40, "/run/charon.vici", name="charon-systemd")
    add_charon(proc, 41, "/run/charon.vici", net=OTHER_NET)
    proc.add(42, "charon", state="Z")
    proc.add(43, "swanctl")
    found = charons.find()
    assert [charon.pid for charon in found.ours] == [40]
    assert [charon.pid for charon in found.others] == [41]
    (ours,) = found.ours
    assert (ours.name, ours.who) == ("charon-systemd", f"40@500@{INITIAL}")
    assert str(ours) == "charon-systemd (PID 40)"
    assert [charon.pid for charon in charons.find(str(OTHER_NET)).ours] == [41]


def test_a_charon_whose_files_may_not_be_seen_has_no_socket(proc: Proc) -> None:
    """As for whoever is not root."""
    proc.add(40, "charon", net=NET)
    (charon,) = charons.find().ours
    assert charon.sockets == ()


def test_a_charon_that_ends_meanwhile_is_left_out(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was on the list a moment ago."""
    monkeypatch.setattr(processes, "all_charons", lambda: [40])
    assert charons.find() == ([], [])


# Sockets


def test_only_the_own_listening_streams_are_its_sockets(proc: Proc) -> None:
    """/proc/net/unix has those of all processes in the namespace, and connections as well."""
    add_charon(proc, 40, "/run/charon.vici")
    proc.opens(40, _10="socket:[1]", _11="socket:[2]", _12="socket:[3]", _13="socket:[4]")
    lines = [
        VICI.format(400, "/run/charon.vici"),
        VICI.format(999, "/run/other.vici"),
        VICI.format(1, "/run/a.vici").replace("00010000", "00000000"),
        VICI.format(2, "/run/b.vici").replace(" 0001 ", " 0002 "),
        VICI.format(3, "@/run/c.vici"),
        VICI.format(4, "").rstrip(),
        VICI.format(1, "/run/d.vici").replace(" 0001 ", " no-number "),
        "garbage",
    ]
    (proc.folder / "40/net/unix").write_text("\n".join(lines))
    (charon,) = charons.find().ours
    root = f"{proc.folder}/40/root"
    assert charon.sockets == (Socket("/run/charon.vici", f"{root}/run/charon.vici", "400"),)


@pytest.mark.parametrize(
    "listening, asked",
    [
        (["/run/charon.ctl", "/run/charon.vici", "/run/x"], ["/run/charon.vici"]),
        (["/run/charon.ctl", "/run/charon.lkp", "/run/a b"], ["/run/a b"]),
        (["/run/charon.ctl", "/run/charon.wlst", "/run/charon.dck"], []),
        (["/run/one.vici", "/run/two.vici"], ["/run/one.vici", "/run/two.vici"]),
    ],
)
def test_sockets_of_other_plugins_are_not_asked(
    proc: Proc, listening: list[str], asked: list[str]
) -> None:
    """They speak something else. VICI's may have another name in strongswan.conf."""
    add_charon(proc, 40, *listening)
    (charon,) = charons.find().ours
    assert paths(charon) == asked


@pytest.mark.parametrize(
    "links, path, where",
    [
        ({}, "/run/charon.vici", "/run/charon.vici"),
        ({"var/run": "/run"}, "/var/run/charon.vici", "/run/charon.vici"),
        ({"var/run": "../run"}, "/var/run/charon.vici", "/run/charon.vici"),
        ({"var/run": "../../../../run"}, "/var/run/charon.vici", "/run/charon.vici"),
        ({"a": "/b", "b": "c", "c": "/run"}, "/a//./x", "/run/x"),
        ({"run/here": "/run/../run/there"}, "/run/here", "/run/there"),
        ({}, "/run/../../etc/x", "/etc/x"),
    ],
)
def test_a_path_is_followed_within_the_charons_root(
    proc: Proc, links: dict[str, str], path: str, where: str
) -> None:
    """An absolute link would else lead into our own root, and `..` out of the charon's."""
    proc.add(40, "charon")
    root = proc.root(40)
    (root / "run").mkdir()
    for link, target in links.items():
        (root / link).parent.mkdir(exist_ok=True)
        (root / link).symlink_to(target)
    assert charons.within_root(40, path) == f"{root}{where}"


def test_a_circle_of_links_ends(proc: Proc) -> None:
    """What is left is not there, and is said to be so when it is opened."""
    proc.add(40, "charon")
    root = proc.root(40)
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    assert charons.within_root(40, "/a/x").startswith(str(root))


def test_a_socket_is_its_charons_if_the_kernel_says_so(proc: Proc) -> None:
    """Or if who opened it has it still, as systemd does. 0 is a process that we cannot see."""
    add_charon(proc, 40, "/run/charon.vici")
    (charon,) = charons.find().ours
    (socket,) = charon.sockets
    assert charons.is_its_socket(charon, socket, 40) is True
    assert charons.is_its_socket(charon, socket, 0) is None
    assert charons.is_its_socket(charon, socket, 1) is False
    proc.opens(1, _30="socket:[400]")
    assert charons.is_its_socket(charon, socket, 1) is True


def test_numbers_of_another_pid_namespace_say_nothing(proc: Proc) -> None:
    """As in a container that has the host's /proc."""
    add_charon(proc, 40, "/run/charon.vici")
    (proc.folder / "900/ns/pid").unlink()
    (proc.folder / "900/ns/pid").symlink_to("pid:[4026532001]")
    (charon,) = charons.find().ours
    assert charons.is_its_socket(charon, charon.sockets[0], 41) is None


def test_a_socket_that_was_named_by_hand_is_taken_as_it_is(proc: Proc) -> None:
    """Until the kernel says whose it is."""
    charon = charons.by_hand("/run/x.vici")
    assert charons.by_hand("unix:///run/x.vici") == charon
    assert str(charon) == "/run/x.vici" and charon.network == ""
    assert charons.is_its_socket(charon, charon.sockets[0], 77) is True
    assert charons.at(77, charon.sockets[0]) == charon
    add_charon(proc, 77, "/run/charon.vici")
    known = charons.at(77, charon.sockets[0])
    assert (known.pid, known.network, known.sockets) == (77, str(NET), charon.sockets)


# What charon waits for


@pytest.fixture
def busy(proc: Proc) -> Proc:
    """Charon 40 reads from pipe 70 what a shell and a program print, which it started."""
    add_charon(proc, 40, "/run/charon.vici")
    proc.reads(40, _9="pipe:[70]", _10="pipe:[71]")
    proc.add(41, "sh", 40, start=600)
    proc.runs(41, "/bin/sh", "-c", "2>&1 /usr/local/sbin/vti-updown --route 10.2.0.0/16")
    proc.opens(41, _1="pipe:[70]", _2="pipe:[70]")
    return proc


def run_hook(proc: Proc, pid: int, name: str, *words: str, start: int = 600) -> None:
    proc.add(pid, name, 41, start=start)
    proc.runs(pid, *words)
    proc.opens(pid, _0="/dev/null", _1="pipe:[70]", _2="pipe:[70]")


def names(pid: int = 40) -> list[tuple[int, str]]:
    return [(hook.pid, hook.name) for hook in charons.hooks(pid)]


def test_a_charon_that_waits_for_nothing_has_no_hook(proc: Proc) -> None:
    """Pipes that it writes to, or has from the start, lead to no hook."""
    add_charon(proc, 40, "/run/charon.vici")
    proc.reads(40, _9="pipe:[70]")
    proc.reads(40, _12="pipe:[5]")
    (proc.folder / "40/fdinfo/12").write_text("pos:\t0\nflags:\t0100001\n")
    proc.opens(1, _1="pipe:[5]")
    proc.add(41, "detached", 40)
    proc.opens(41, _1="/dev/null", _9="pipe:[70]")
    proc.add(42, "feeder", 1)
    proc.opens(42, _1="pipe:[6]")
    (proc.folder / "40/fd/0").unlink()
    proc.reads(40, _0="pipe:[6]")
    assert names() == []


def test_the_hook_is_what_the_shell_started(busy: Proc) -> None:
    """Of its own children, such as a user's command, none is named."""
    run_hook(busy, 42, "vti-updown", "python3", "-I", "-S", "/opt/vti-updown/bin/vti-updown")
    run_hook(busy, 43, "sleep", "sleep", "9", start=601)
    assert names() == [(42, "vti-updown")]


def test_a_hook_by_its_interpreters_name_is_known(busy: Proc) -> None:
    """A process that a shell became is called python3."""
    run_hook(busy, 42, "python3", "python3", "-I", "-S", "/usr/local/sbin/vti-updown", "--mtu")
    assert names() == [(42, "vti-updown")]


def test_another_script_has_its_own_name(busy: Proc) -> None:
    """As /proc tells it."""
    run_hook(busy, 42, "my-updown", "/bin/bash", "/etc/my-updown")
    assert names() == [(42, "my-updown")]


def test_a_shell_is_the_hook_as_long_as_it_is_alone(busy: Proc) -> None:
    """It has not started the program yet, or does all itself."""
    assert names() == [(41, "vti-updown")]
    (busy.folder / "41/cmdline").write_text("/bin/sh\0-c\0002>&1 read x\0")
    assert names() == [(41, "sh")]


def test_what_outlives_the_hook_and_holds_its_output_is_waited_for(busy: Proc) -> None:
    """charon waits for the end of the output, not for that of the process."""
    busy.remove(41)
    busy.add(44, "daemon", 1)
    busy.opens(44, _2="pipe:[70]")
    assert names() == [(44, "daemon")]


def test_two_programs_at_once_are_two(busy: Proc) -> None:
    """Not two hooks: one of them is another plugin's, such as ext-auth."""
    busy.add(50, "ext-auth", 40)
    busy.opens(50, _1="pipe:[71]")
    assert sorted(names()) == [(41, "vti-updown"), (50, "ext-auth")]


def test_a_hook_has_run_since_its_start(busy: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock that process start times are told in."""
    monkeypatch.setattr(
        time, "clock_gettime", lambda clock: 18.0 if clock == time.CLOCK_BOOTTIME else 0
    )
    monkeypatch.setattr(charons, "TICKS", 100)
    (hook,) = charons.hooks(40)
    assert hook.seconds == 12.0
    assert str(hook) == "PID 41, vti-updown, for 12 s"


def test_an_ended_process_is_no_hook(busy: Proc) -> None:
    """Its parent has not taken notice of it yet."""
    busy.remove(41)
    busy.add(41, "sh", 40, state="Z")
    busy.opens(41, _1="pipe:[70]")
    assert names() == []
