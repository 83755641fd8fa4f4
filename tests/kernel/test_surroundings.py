"""Surroundings that lack what a host has: rights, a clock that only goes forward, a whole Python."""

import os
import shlex
import subprocess
import sys
import time

import pytest

from support.events import environment
from support.namespaces import INSTALLED
from support.slow import slow_but
from view import records, view

NET = ("--route", "10.2.0.0/16", "--route", "fec2::/16")
IPV6_ENDS = {"ME": "fec0::1", "PEER": "fec0::2"}


# A container of a user who is not root

CONTAINER = """
echo charon > /proc/$$/comm
{run}
# Neither an address that is still being tried nor one that is random.
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; echo 1 > /proc/sys/net/ipv6/conf/default/addr_gen_mode
ip link set lo up; ip link add eth0 type veth peer lan; ip link set lan up; ip link set eth0 up
ip addr add 192.168.0.1/24 dev eth0; ip addr add fec0::1/16 dev eth0 nodad; ip route add default via 192.168.0.254
state() {{
    ip -br link | grep -v -e vti0 -e ip6tnl0; ip -br addr | grep -v -e vti0 -e ip6tnl0
    for family in 4 6; do ip -$family route show table all; done | grep -v -e vti0 -e ip6tnl0
}}
before=$(state)
{up}
ip -d link show vti1; ip addr show vti1; ip route; ip -6 route; sysctl net.ipv4.conf.vti1.disable_policy
{down}
ls -A /run/vti-updown 2>/dev/null || true
diff <(echo "$before") <(state)
"""


@pytest.mark.parametrize("ends", slow_but([{}], [{}, IPV6_ENDS]), ids=["vti", "vti6"])
@pytest.mark.parametrize(
    "own", [True, False], ids=["with a /run of its own", "with a /run that it may not write"]
)
def test_a_tunnel_comes_up_and_goes_in_a_rootless_container(own, ends):
    """A user and a network namespace are enough."""

    def events(verb):
        for suffix in ("", "-v6"):
            variables = shlex.join(
                f"{name}={value}"
                for name, value in environment(f"{verb}-client{suffix}", **ends).items()
            )
            yield f"env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin {variables} {INSTALLED} {shlex.join(NET)} 2>&1"

    run = "mount -t tmpfs tmpfs /run" if own else "[ ! -w /run ]"
    script = CONTAINER.format(run=run, up="\n".join(events("up")), down="\n".join(events("down")))
    as_user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    words = [
        *as_user,
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "--mount",
        "bash",
        "-ec",
        script,
    ]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    said = done.stdout
    assert done.returncode == 0, said
    local, remote = ends.get("ME", "192.168.0.1"), ends.get("PEER", "192.168.0.2")
    assert said.startswith(f"gw: vti1 up, {local} → {remote}, mark 2, 10.3.0.1/32, 10.2.0.0/16\n")
    for part in (
        "inet 10.3.0.1/32 ",
        "inet6 fec3::1/128 ",
        "10.2.0.0/16 dev vti1 proto 50 ",
        "fec2::/16 dev vti1 proto 50 ",
        "net.ipv4.conf.vti1.disable_policy = 1",
        f"gw: vti1 down, {local} → {remote}\n",
    ):
        assert part in said, said
    assert said.count("warning: not recorded: cannot write /run/vti-updown") == (0 if own else 4), (
        said
    )
    assert ("sqlite" in said) == own, said


# A clock that goes back


@pytest.fixture
def set_back(monkeypatch):
    """Sets the clock of this process back by a day."""

    def a_day() -> None:
        then = time.time() - 86400
        monkeypatch.setattr(time, "time", lambda: then)
        real = time.gmtime
        monkeypatch.setattr(
            time, "gmtime", lambda seconds=None: real(then if seconds is None else seconds)
        )

    return a_day


def test_a_clock_set_back_between_up_and_down_changes_nothing(machine, set_back):
    """The order of events is counted, not timed."""
    before = view()
    machine.up(*NET)
    set_back()
    assert machine.down() == ["gw: vti1 down, 192.168.0.1 → 192.168.0.2"]
    assert not view().against(before) and records() == ((), (), ())


def test_the_newest_up_decides_though_the_clock_was_set_back(machine, set_back):
    """Make before break, with a unique mark: the link's keys follow the newest, and the old one's
    down changes nothing.
    """
    before = view()
    machine.up(*NET)
    set_back()
    newer = {"MARK_IN": "6/0xffffffff", "MARK_OUT": "6/0xffffffff", "UNIQUEID": 2}
    machine.up(*NET, **newer)
    made = view()
    assert [(one.okey, one.ikey) for one in made.links if one.name == "vti1"] == [(6, 6)]
    machine.down()
    assert not view().against(made)
    machine.down(**newer)
    assert not view().against(before) and records() == ((), (), ())


# A Python that lacks a part


@pytest.mark.parametrize(
    ("breakage", "said"),
    [
        ("sys.modules['sqlite3'] = None", "has no module sqlite3"),
        ("sys.modules['_sqlite3'] = None", "has no module _sqlite3"),
        (
            "sys.path.insert(0, tempfile.mkdtemp()); open(sys.path[0] + '/_sqlite3.so', 'w').close()",
            "cannot load _sqlite3: ",
        ),
    ],
)
@pytest.mark.parametrize(
    "words", slow_but([("repair",)], [("--route", "10.2.0.0/16"), ("repair",)])
)
def test_a_python_without_sqlite_is_told(machine, breakage, said, words):
    """It says what to install, and nothing is changed."""
    before = machine.state()
    script = f"import sys, tempfile; {breakage}; from vti_updown import cli; sys.exit(cli.main())"
    variables = os.environ | (environment() if words[0].startswith("--") else {})
    done = subprocess.run(
        [sys.executable, "-c", script, *words], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    first, last = lines[0], lines[-1]
    about = "gw: " if words[0].startswith("--") else ""
    assert first.startswith(f"error: {about}this Python {said}"), first
    assert last.endswith("install vti-updown with a whole Python, such as the distribution's"), last
    assert done.returncode == 1 and machine.state() == before


def test_people_without_click_get_a_line_and_the_hook_needs_none(machine):
    """The hook itself does not import click."""
    script = (
        "import sys; sys.modules['click'] = None; from vti_updown import cli; sys.exit(cli.main())"
    )
    call = [sys.executable, "-c", script]
    done = subprocess.run(
        [*call, "flush"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (
        1,
        "error: this Python has no module click; install vti-updown again\n",
    )
    subprocess.run(call, env=os.environ | environment(), check=True)
    assert machine.links() == ["vti1"]
