"""repair and flush, and the surroundings in which records cannot be kept, on a real kernel."""

import contextlib
import glob
import os
import sqlite3
import subprocess
import sys

import pytest

from support.events import environment
from support.namespaces import INSTALLED
from support.slow import slow_but
from view import records
from vti_updown import processes as process
from vti_updown import state
from vti_updown.admin import cli as people

NET = ("--route", "10.2.0.0/16", "--route", "fec2::/16")


@pytest.fixture
def command(capfd):
    """Runs `vti-updown WORDS…` here, as a person would; returns its exit status and the lines it
    printed.
    """

    def run(*words):
        capfd.readouterr()
        status = people.run(words)
        out, err = capfd.readouterr()
        assert not err
        return status, out.splitlines()

    return run


# Rehearsals


@pytest.mark.parametrize("order", slow_but(["behind"], ["before", "behind"]))
@pytest.mark.parametrize(
    "words", ["flush", "flush --stale", "repair", "release", "prepare --config {settings}"]
)
def test_a_dry_run_prints_what_the_command_then_does(machine, command, tmp_path, words, order):
    """For repair, flush, prepare and release; nothing is changed meanwhile."""
    settings = tmp_path / "settings.toml"
    settings.write_text(
        '[connection.held]\nwhen_down = "keep"\nroutes = ["10.8.0.0/16"]\nlocal = "192.168.0.1"\nremote = "192.168.0.8"\n'
        'mark = 8\naddress = "10.3.0.8"\n'
    )
    if words == "release":
        machine.up("--route", "10.9.0.0/16", "--when-down", "block", CONNECTION="other", UNIQUEID=2)
    machine.up(*NET)
    machine.run("ip", "route", "del", "10.2.0.0/16")
    if words == "release":
        machine.down(CONNECTION="other", UNIQUEID=2)
    machine.restart_charon()
    before, recorded = machine.state(), records()
    real = words.format(settings=settings).split()
    status, said = command(*(["--dry-run", *real] if order == "before" else [*real, "--dry-run"]))
    assert status == 0 and said[0].split()[0] in ("ip", "sysctl")
    assert machine.state() == before and records() == recorded
    assert command(*real) == (0, said)
    assert machine.state() != before


def test_a_dry_run_of_flush_refuses_what_flush_would(machine, command):
    """A living charon's tunnels are named in the rehearsal, too."""
    machine.up(*NET)
    before = machine.state()
    assert command("--dry-run", "flush") == command("flush") and command("flush")[0] == 1
    assert command("--dry-run", "flush", "--force")[1] == ["ip link del vti1"]
    assert machine.state() == before


# repair


def test_repair_finds_nothing_where_all_is_as_it_was_made(machine, command):
    """Right after an up there is nothing to mend."""
    assert command("repair") == (0, ["nothing to repair"])
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    made = machine.state()
    assert command("repair") == (0, ["nothing to repair"])
    assert machine.state() == made


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("ip route del 10.2.0.0/16", ["ip route add 10.2.0.0/16 dev vti1 proto 50 src 10.3.0.1"]),
        ("ip -6 route del fec2::/16", ["ip -6 route add fec2::/16 dev vti1 proto 50 src fec3::1"]),
        (
            "ip addr del fec3::1/128 dev vti1",
            ["ip addr add fec3::1/128 dev vti1 nodad", "ip -6 route add fec2::/16 dev vti1 proto 50 src fec3::1"],
        ),
        ("ip route flush proto 50", ["ip route add 10.2.0.0/16 dev vti1 proto 50 src 10.3.0.1"]),
        ("echo 0 > /proc/sys/net/ipv4/conf/vti1/disable_policy", ["sysctl -w net.ipv4.conf.vti1.disable_policy=1"]),
        ("echo 0 > /proc/sys/net/ipv6/conf/vti1/disable_policy", ["sysctl -w net.ipv6.conf.vti1.disable_policy=1"]),
    ],
)  # fmt: skip
def test_repair_puts_back_one_thing_and_says_which(machine, command, damage, said):
    """It prints the command that it stood for."""
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    made = machine.state()
    machine.run("sh", "-ec", damage)
    assert machine.state() != made
    assert command("repair") == (0, said)
    assert machine.state() == made


@pytest.mark.parametrize(
    "damage",
    [
        "ip link set vti1 down",
        "ip link set vti1 down; ip link set vti1 up",
        "ip addr flush dev vti1 scope global",
        "ip link set vti1 type vti local 192.168.0.1 remote 192.168.0.2 okey 9 ikey 9",
        "for f in 4 6; do echo 0 > /proc/sys/net/ipv$f/conf/vti1/disable_policy; done",
    ],
)
def test_repair_puts_back_all_that_went_along(machine, command, damage):
    """The kernel takes away more than a user asked for."""
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    machine.run("sh", "-ec", damage)
    status, said = command("repair")
    assert status == 0 and said != ["nothing to repair"]
    assert machine.addresses("vti1") == ["10.3.0.1/32", "fec3::1/128"]
    assert machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    assert "fec2::/16 proto 50 src fec3::1 metric 1024 pref medium" in machine.routes("vti1", 6)
    link = machine.run("ip", "-d", "link", "show", "vti1")
    assert "ikey 0.0.0.2 okey 0.0.0.2" in link and ",UP" in link
    assert machine.setting(4, "vti1") == machine.setting(6, "vti1") == "1"
    assert command("repair") == (0, ["nothing to repair"])


def test_repair_sets_a_link_up_that_was_set_down(machine, command):
    """It may have lost nothing else."""
    machine.up("--no-routes")
    made = machine.state()
    machine.run("ip", "link", "set", "vti1", "down")
    assert machine.addresses("vti1") == ["10.3.0.1/32"]
    assert command("repair")[1][-1] == "ip link set vti1 up mtu 1406 alias 'vti-updown gw'"
    assert machine.state() == made


def test_repair_makes_a_deleted_link_anew_with_all_on_it(machine, command):
    """As the next event would."""
    before = machine.state()
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    machine.run("ip", "link", "del", "vti1")
    status, said = command("repair")
    assert status == 0
    assert (
        said[0]
        == f"ip link add vti1 group {state.group()} type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2"
    )
    assert machine.addresses("vti1") == ["10.3.0.1/32", "fec3::1/128"]
    machine.down()
    machine.down(verb="down-client-v6")
    assert machine.state() == before


def test_repair_leaves_a_name_that_the_user_gave(machine, command):
    """A renamed link works as well."""
    machine.up(*NET)
    machine.run(
        "sh", "-ec", "ip link set vti1 down; ip link set vti1 name office; ip link set office up"
    )
    assert command("repair")[0] == 0
    assert machine.routes("office") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    assert machine.links() == ["office"]


# flush


def test_flush_refuses_while_charon_lives(machine, command):
    """With --force it takes all away."""
    before = machine.state()
    machine.up(*NET)
    machine.up(*NET, PEER="192.168.0.9", UNIQUEID=2)
    made = machine.state()
    assert command("flush") == (
        1,
        [
            "error: charon (PID 1) is running and its tunnels would go; stop it first, or use --stale, or --force"
        ],
    )
    assert machine.state() == made
    assert command("flush", "--force") == (0, ["ip link del vti1", "ip link del vti2"])
    assert machine.state() == before
    assert command("flush") == (0, ["nothing to take away"])


def test_flush_stale_takes_only_a_dead_charons_objects(machine, command):
    """The living charon's tunnels stay up."""
    machine.up(*NET)
    assert command("flush", "--stale") == (0, ["nothing to take away"])
    machine.restart_charon()
    machine.up(*NET, PEER="192.168.0.9", UNIQUEID=5)
    made = machine.links()
    for number in range(3, 6):
        machine.up(*NET, PEER=f"192.168.0.{number}", UNIQUEID=number)
    assert len(machine.links()) > len(made)
    machine.restart_charon()
    assert command("flush", "--stale")[0] == 0
    assert machine.links() == []


def test_flush_takes_unrecorded_objects_and_leaves_strangers(machine, command):
    """Ours are known by group and protocol number."""
    before = machine.state()
    machine.up(*NET)
    machine.run("sh", "-ec", "rm -r /run/vti-updown")
    machine.run(
        "ip",
        "link",
        "add",
        "mine",
        "type",
        "vti",
        "local",
        "192.168.0.1",
        "remote",
        "192.168.0.77",
        "key",
        "5",
    )
    machine.by_hand()
    assert command("flush") == (0, ["ip link del vti1"])
    assert machine.links() == ["mine"]
    machine.run("ip", "link", "del", "mine")
    assert machine.state() == before


def test_flush_returns_a_borrowed_link(machine, command):
    """It is left as it was before."""
    machine.add_vti("mine")
    machine.run("ip", "link", "set", "mine", "up")
    before = machine.state()
    machine.up(*NET)
    assert command("flush", "--force")[0] == 0
    assert machine.state() == before


# Records that cannot be kept, or were lost


@pytest.fixture(params=["read-only", "full", "a file in the way"])
def no_room(request, machine):
    """/run as it must not be."""
    if request.param == "read-only":
        machine.run("mount", "-o", "remount,ro", "/run")
    elif request.param == "full":
        machine.run("mount", "-o", "remount,size=8k", "/run")
        machine.run("sh", "-c", "dd if=/dev/zero of=/run/full bs=4k count=100 2>/dev/null")
    else:
        machine.run("touch", "/run/vti-updown")
        machine.cannot_look = "a file is in the place of the records' folder"
    return machine


def test_a_tunnel_comes_up_and_goes_without_records(no_room):
    """/run may be read-only, full, or in the way."""
    before = no_room.state()
    for verb in ("up-client", "up-client-v6"):
        lines = no_room.up(*NET, verb=verb)
        assert lines[0].startswith("gw: vti1 up,") and lines[1].startswith(
            "warning: not recorded: "
        )
    assert no_room.addresses("vti1") == ["10.3.0.1/32", "fec3::1/128"]
    no_room.down(*NET)
    assert no_room.addresses("vti1") == ["fec3::1/128"] and no_room.routes("vti1") == []
    no_room.down(*NET, verb="down-client-v6", UNIQUEID=3)
    assert no_room.state() == before


SET_ASIDE = [
    "warning: the records were damaged, so they were set aside and made anew from the kernel"
]


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("rm -r /run/vti-updown", []),
        (
            "for f in /run/vti-updown/*.sqlite; do dd if=/dev/urandom of=$f bs=4096 seek=1 count=20 conv=notrunc; done",
            SET_ASIDE,
        ),
        (
            "for f in /run/vti-updown/*.sqlite; do echo nonsense, and enough of it to be none > $f; done",
            SET_ASIDE,
        ),
        ("for f in /run/vti-updown/*.sqlite; do truncate -s 5000 $f; done", SET_ASIDE),
        ("for f in /run/vti-updown/*.sqlite; do : > $f; done", []),
    ],
)
def test_lost_records_are_made_anew_from_the_kernel(machine, loss, said):
    """The down of a tunnel that is on no record takes it away."""
    before = machine.state()
    machine.up(*NET)
    machine.up(*NET, verb="up-client-v6")
    made = machine.state()
    machine.run("sh", "-ec", loss)
    assert machine.up(*NET, UNIQUEID=2)[1:] == said
    assert machine.state() == made
    assert len(machine.down(*NET, UNIQUEID=2)) == 1
    assert machine.state() == made
    machine.down(*NET)
    assert machine.addresses("vti1") == ["fec3::1/128"] and machine.routes("vti1") == []
    machine.down(*NET, verb="down-client-v6")
    assert machine.state() == before


def test_the_mtu_of_a_link_whose_records_were_lost_is_no_paths(machine):
    """The next up's path decides, also where that carries more. It is as before once that goes."""
    before = machine.state()
    machine.up(*NET, "--mtu", "1300")
    machine.run("sh", "-ec", "rm /run/vti-updown/*.sqlite")
    machine.up(*NET, UNIQUEID=2)
    assert " mtu 1406 " in machine.run("ip", "link", "show", "vti1")
    machine.down(*NET, UNIQUEID=2)
    assert " mtu 1300 " in machine.run("ip", "link", "show", "vti1")
    machine.down(*NET)
    assert machine.state() == before


def test_records_of_another_version_are_made_anew(machine):
    """Another version has other columns, too: nothing of it is read."""
    before = machine.state()
    machine.up(*NET)
    (file,) = glob.glob("/run/vti-updown/*.sqlite")
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.executescript(
            "PRAGMA user_version = 99; ALTER TABLE reference RENAME COLUMN born TO first_id"
        )
    assert machine.down(*NET)[1:] == SET_ASIDE
    assert machine.state() == before


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("path", [None, ""])
def test_the_installed_hook_runs_without_a_path(path):
    """PATH may be empty or absent."""
    variables = environment() | ({} if path is None else {"PATH": path})
    done = subprocess.run(
        ["/bin/sh", "-c", f"2>&1 {INSTALLED}"],
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("gw: vti1 up") and done.returncode == 0


def test_cap_net_admin_alone_is_enough(machine):
    """A charon that has dropped root: the records cannot be kept, which a line says; the tunnel
    comes up and goes.
    """
    before = machine.state()
    as_user = [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--inh-caps",
        "-all,+net_admin",
    ]
    as_user += ["--ambient-caps", "+net_admin", "--bounding-set", "-all,+net_admin"]
    for verb, said in (("up-client", "gw: vti1 up"), ("down-client", "gw: vti1 down")):
        call = [*as_user, "/bin/sh", "-c", f"2>&1 {INSTALLED} --route 10.2.0.0/16"]
        variables = environment(verb) | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        done = subprocess.run(call, env=variables, stdout=subprocess.PIPE, text=True, check=False)
        assert done.stdout.startswith(said) and done.returncode == 0, done.stdout
        assert "\nwarning: not recorded: " in done.stdout
    assert machine.state() == before


def test_no_rights_at_all_is_one_line_that_says_what_is_missing(machine):
    """Without CAP_NET_ADMIN nothing can be done."""
    before = machine.state()
    call = [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "/bin/sh",
        "-c",
        f"2>&1 {INSTALLED}",
    ]
    variables = environment() | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(call, env=variables, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stdout
        == "error: gw: cannot make link vti1: Operation not permitted; the hook needs CAP_NET_ADMIN, as charon has\n"
    )
    assert machine.state() == before


def test_a_charon_above_is_found_whatever_is_between(tmp_path):
    """charon runs the hook through a shell; the nearest ancestor of that name is it, told by its
    start time, too.
    """
    charon = tmp_path / "charon-systemd"
    charon.symlink_to("/bin/bash")
    code = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}; from vti_updown import processes as p;"
    code += "w = p.charon(); print(w, p.alive(w), p.alive(w.replace('@', '@1', 1)))"
    words = [str(charon), "-c", 'echo $$; sh -c "python3 -I -c \\"$CODE\\"; true"; true']
    done = subprocess.run(
        words, env=os.environ | {"CODE": code}, stdout=subprocess.PIPE, text=True, check=True
    )
    pid, who, alive, other = done.stdout.split()
    assert who.startswith(f"{pid}@") and (alive, other) == ("True", "False")
    assert not process.alive(who)


def test_repair_beside_what_is_not_ours_is_no_failure(machine, command):
    """A stranger's route in our place is left and named."""
    machine.run("ip", "route", "add", "10.2.0.0/16", "via", "192.168.0.254")
    machine.up(*NET)
    assert command("repair") == (
        0,
        ["nothing to repair", "# left alone: a route to 10.2.0.0/16 by eth0"],
    )


def test_a_down_on_a_full_disk_is_recorded_in_reserved_room(machine, command):
    """What is taken away is written down twice over, as it was and as it is: that is what the room
    is for.
    """
    before = machine.state()
    machine.run("mount", "-o", "remount,size=600k", "/run")
    machine.up(
        *(word for number in range(100) for word in ("--route", f"10.{100 + number}.0.0/16"))
    )
    machine.up(*NET, verb="up-client-v6")
    machine.run("sh", "-c", "dd if=/dev/zero of=/run/full bs=4k count=1000 2>/dev/null")
    for verb in ("down-client", "down-client-v6"):
        assert len(machine.down(verb=verb)) == 1
    assert machine.state() == before
    assert command("repair") == (0, ["nothing to repair"])
