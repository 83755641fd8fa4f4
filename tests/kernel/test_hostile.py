"""What comes from a peer, or from nonsense, changes nothing but what was asked, and reaches the log
printable and short.
"""

import ctypes
import os
import subprocess
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.events import environment
from support.namespaces import INSTALLED
from vti_updown.kernel.kernel import Kernel
from vti_updown.records.storage import DIRECTORY
from vti_updown.text import LINE_BYTES

EXAMPLES = int(os.environ.get("VTI_UPDOWN_EXAMPLES", "60"))

CORPUS = [
    "", " ", "\n", "\r\nFAKE: updown: ok", "\x1b[31mred", "\x07", "\u202egnp.exe", "\ud8ff".encode("utf-8", "surrogatepass").decode("latin1"),
    "../../../etc/passwd", "/etc/shadow", "..", ".", "%d%s%n", "{connection}", "{0.__class__}", "$(touch /run/pwned)", "`id`", "; rm -rf /",
    "' or 1=1 --", '"', "\\", "x" * 10_000, "ü" * 3_000, "-1", "0", "1", "4294967295", "4294967296", "99999999999999999999", "1_0", "٧", "0x10",
    "1e3", "127.0.0.1", "127.0.0.1/8", "0.0.0.0", "0.0.0.0/0", "255.255.255.255", "224.0.0.5", "192.168.0.1", "192.168.0.2", "192.168.0.254",
    "::", "::/0", "::1", "ff02::1", "fe80::1%eth0", "fe80::1%eth0\nFAKE: x", "::ffff:127.0.0.1", "::ffff:0:0/96", "10.0.0.0/7", "10.9.0.0/16",
    "%any", "2/0xffffffff", "0/0x0", "2/0x0", "4294967295/0xffffffff", "65535:0", "1:2:3", "host", "vti1", "eth0", "lo",
]  # fmt: skip
NAMES = sorted(
    environment()
    | {
        "PLUTO_IF_ID_IN": "",
        "PLUTO_IF_ID_OUT": "",
        "PLUTO_MY_SOURCEIP4_2": "",
        "PLUTO_XAUTH_ID": "",
    }
)
values = (
    st.sampled_from(CORPUS)
    | st.text(max_size=30)
    | st.binary(max_size=30).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))
)
changes = st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=3)
verbs = st.sampled_from(["up-client", "up-client-v6", "up-host", "down-client", "down-client-v6"])


def ours():
    with closing(Kernel()) as kernel:
        return {one.object for one in kernel.ours()}


def checked(lines):
    """Every line as it may be: three messages at most, each with two further lines at most."""
    assert lines and len(lines) <= 9
    for line in lines:
        assert line.isprintable(), line
        assert len(line.encode()) <= LINE_BYTES, line


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False
)
@given(
    verb=verbs,
    changed=changes,
    flags=st.lists(values.filter(lambda text: text not in ("--help", "--version")), max_size=1),
)
def test_no_environment_and_no_flag_does_harm(machine, verb, changed, flags):
    """Random input gives an event or one printable line, and leaves nothing."""
    files = sorted(os.listdir("/run"))
    machine.charon_is_new()
    lines = machine.event_of({**environment(verb), **changed}, *flags)
    checked(lines)
    if machine.status:
        assert lines[-1].startswith("error: ")
        assert ours() == set()
        return
    checked(
        machine.event_of(
            {**environment(verb), **changed, "PLUTO_VERB": f"down{verb[verb.index('-') :]}"}, *flags
        )
    )
    assert ours() == set()
    assert sorted(set(os.listdir("/run")) - set(files)) in ([], ["vti-updown"])


def test_a_thousand_variables_and_long_identities_do_no_harm(machine):
    """They cost nothing and appear nowhere."""
    before = machine.state()
    many = {f"PLUTO_JUNK_{n}": "x" * 100 for n in range(1000)} | {
        f"PLUTO_DNS4_{n}": "\n" for n in range(50)
    }
    checked(machine.event_of({**environment(PEER_ID="CN=" + "x" * 4000), **many}))
    assert machine.status == 0
    checked(machine.event_of({**environment("down-client", PEER_ID="CN=" + "x" * 4000), **many}))
    assert machine.state() == before


@pytest.mark.parametrize("name", ["PLUTO_ME", "PLUTO_PEER_CLIENT", "PLUTO_UNIQUEID"])
def test_the_installed_hook_escapes_bytes_that_are_not_text(machine, name):
    """The error names the variable and is printable."""
    before = machine.state()
    variables = {os.fsencode(key): os.fsencode(value) for key, value in environment().items()}
    variables |= {
        name.encode(): b"\xff\xfe\x1b[2J\n\x80",
        b"PATH": b"/usr/sbin:/usr/bin:/sbin:/bin",
    }
    done = subprocess.run(
        [str(INSTALLED)],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 2
    checked(done.stdout.decode().splitlines())
    assert name in done.stdout.decode() and machine.state() == before


def test_a_variable_given_twice_is_one_event(machine):
    """The environment may hold a name twice; the process sees one of them, and nothing breaks."""
    before = machine.state()
    strings = [f"{name}={value}".encode() for name, value in environment().items()]
    strings += [b"PLUTO_ME=192.168.0.77", b"PLUTO_ME=nonsense", b"PATH=/usr/bin:/bin"]
    pid = os.fork()
    if pid == 0:
        words = (ctypes.c_char_p * 2)(os.fsencode(INSTALLED), None)
        variables = (ctypes.c_char_p * (len(strings) + 1))(*strings, None)
        ctypes.CDLL(None).execve(os.fsencode(INSTALLED), words, variables)
        os._exit(99)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 2)
    machine.by_hand()
    machine.down()
    assert machine.state() == before


def test_nobody_else_can_read_write_or_hold_the_records(machine):
    """Another user cannot read tunnels or block events."""
    machine.up()
    as_user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c"]
    for attempt in (
        "ls /run/vti-updown",
        "cat /run/vti-updown/*",
        "flock -n /run/vti-updown true",
        ": > /run/vti-updown/1.lock",
    ):
        done = subprocess.run(
            [*as_user, attempt], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        assert done.returncode != 0, attempt
    # Should somebody open the directory, the files in it are closed all the same, and the next
    # event closes it again.
    os.chmod(DIRECTORY, 0o755)
    for file in os.listdir(DIRECTORY):
        for attempt in ("cat", "flock -n", ": >>"):
            words = [
                *as_user,
                f"{attempt} {DIRECTORY}/{file}{' true' if 'flock' in attempt else ''}",
            ]
            done = subprocess.run(
                words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            )
            assert done.returncode != 0, words
    machine.down()
    assert os.stat(DIRECTORY).st_mode & 0o777 == 0o700
