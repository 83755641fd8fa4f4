"""charon asked over VICI: which charons there are, what they tell, and what they wait for."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from support.host import Host
from support.namespaces import HOOK, ROOT, WAIT_SECONDS
from support.vici_frames import Asked, frames, written
from vti_updown.vici.ask import Answer, ask
from vti_updown.vici.charons import Charon, find, hooks
from vti_updown.vici.protocol import Value, unpack
from vti_updown.vici.sas import ChildSa, IkeSa
from vti_updown.vici.session import Closed, Refused, Session

from .conftest import SUN_STRONGSWAN, Pair

SECONDS = 90.0
"""A time limit that an emulated charon keeps, on a busy machine."""
SOON = 30.0
"""A time limit that a test waits for. What comes within it takes a fraction of a second."""
SECRETS = 'secrets {\n    ike-all {\n        secret = "for tests only"\n    }\n}\n'
CHARON = """charon {
    install_routes = no
    install_virtual_ip = no
}
"""
MOON = (
    f"""connections {{
    gw {{
        remote_addrs = 192.168.0.2
        vips = 0.0.0.0, ::
        local {{
            id = moon
            auth = psk
        }}
        remote {{
            id = sun
            auth = psk
        }}
        children {{
            gw {{
                remote_ts = 10.2.0.0/16, fd00:2::/32
                mark_in = 2
                mark_out = 2/0xff
                updown = {HOOK}
            }}
        }}
    }}
    sleepy {{
        remote_addrs = 192.168.0.2
        encap = yes
        local {{
            id = sleepy
            auth = psk
        }}
        remote {{
            id = sun
            auth = psk
        }}
        children {{
            sleepy {{
                local_ts = 10.1.0.0/16[tcp/http]
                remote_ts = 10.9.0.0/16[tcp]
                if_id_in = 42
                if_id_out = 43
                updown = UPDOWN
            }}
        }}
    }}
}}
"""
    + SECRETS
)
SUN = (
    """connections {
    gw {
        local_addrs = 192.168.0.2
        pools = four, six
        local {
            id = sun
            auth = psk
        }
        remote {
            id = moon
            auth = psk
        }
        children {
            gw {
                local_ts = 10.2.0.0/16, fd00:2::/32
            }
        }
    }
    sleepy {
        local_addrs = 192.168.0.2
        local {
            id = sun
            auth = psk
        }
        remote {
            id = sleepy
            auth = psk
        }
        children {
            sleepy {
                local_ts = 10.9.0.0/16[tcp]
                remote_ts = 10.1.0.0/16[tcp/http]
            }
        }
    }
}
pools {
    four {
        addrs = 10.3.0.1-10.3.0.9
    }
    six {
        addrs = fd00:3::1-fd00:3::9
    }
}
"""
    + SECRETS
)
SLEEPY = "/run/sleepy.sh"
WAITS = """#!/bin/sh
[ -e /run/go ] || touch /run/sleeps
until [ -e /run/go ]; do sleep 0.1; done
"""
"""A hook that runs until the test lets it go on."""


@pytest.fixture(scope="module")
def site(hosts: Pair) -> Iterator[Pair]:
    hosts.moon.file(SLEEPY, WAITS, 0o755)
    hosts.moon.run("touch", "/run/go")
    hosts.sun.charon(swanctl=SUN, charon=SUN_STRONGSWAN)
    hosts.moon.charon(swanctl=MOON.replace("UPDOWN", SLEEPY), charon=CHARON)
    yield hosts
    hosts.moon.stop_charon()
    hosts.sun.stop_charon()


Told = TypeVar("Told")


def told(values: list[Told] | None) -> list[Told]:
    """What an answer has, and must have."""
    assert values is not None
    return values


def network(host: Host) -> str:
    """The inode of a host's network namespace."""
    return re.findall(r"\d+", os.readlink(f"/proc/{host.pid}/ns/net"))[0]


def charon_of(host: Host) -> Charon:
    (charon,) = find(network(host)).ours
    return charon


def answer_of(host: Host, seconds: float = SECONDS) -> Answer:
    (answer,) = ask([charon_of(host)], seconds)
    return answer


@contextmanager
def up(host: Host, *children: str) -> Iterator[None]:
    """These connections are up meanwhile."""
    try:
        for child in children:
            host.run("swanctl", "--initiate", "--child", child)
        host.run("swanctl", "--list-sas")  # It waits for their hooks, as `--initiate` does not.
        yield
    finally:
        for child in children:
            host.run("swanctl", "--terminate", "--ike", child, check=False)


@contextmanager
def hooks_sleep(host: Host) -> Iterator[None]:
    """Meanwhile the hook of `sleepy` runs on, until /run/go is there."""
    host.run("rm", "-f", "/run/go", "/run/sleeps")
    try:
        yield
    finally:
        host.run("touch", "/run/go")


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.05)


# What swanctl says of the same


WORD = re.compile(r"[\w-]+=|[{}\[\]]|[^\s{}\[\]=]+(?:\[[^\]]*\])?")
"""A key, a bracket, or a value, which may end in brackets of its own: `10.1.0.0/16[tcp/http]`."""


def raw(host: Host) -> dict[str, Any]:
    """The IKE_SAs by their names, as `swanctl --list-sas --raw` tells them."""
    sas: dict[str, Any] = {}
    for line in host.run("swanctl", "--list-sas", "--raw").splitlines():
        words = WORD.findall(line)
        if words[:2] == ["list-sa", "event"]:
            sas |= section(iter(words[3:]))
    return sas


def section(words: Iterator[str]) -> dict[str, Any]:
    """What stands between two braces: `key=value`, `key=[value value]` and `name {…}`."""
    found: dict[str, Any] = {}
    for word in words:
        if word == "}":
            break
        following = next(words)
        if following == "{":
            found[word] = section(words)
        elif following == "[":
            found[word.removesuffix("=")] = list(iter(lambda: next(words), "]"))
        else:
            found[word.removesuffix("=")] = following
    return found


IKE = {
    "uniqueid": "unique_id",
    "version": "version",
    "state": "state",
    "local-host": "local_host",
    "local-port": "local_port",
    "remote-host": "remote_host",
    "remote-port": "remote_port",
    "local-id": "local_id",
    "remote-id": "remote_id",
    "local-vips": "local_vips",
    "remote-vips": "remote_vips",
    "established": "established",
    "rekey-time": "rekey_in",
    "reauth-time": "reauth_in",
}
CHILD = {
    "name": "name",
    "uniqueid": "unique_id",
    "reqid": "reqid",
    "state": "state",
    "mode": "mode",
    "protocol": "protocol",
    "bytes-in": "bytes_in",
    "bytes-out": "bytes_out",
    "packets-in": "packets_in",
    "packets-out": "packets_out",
    "use-in": "last_in",
    "use-out": "last_out",
    "install-time": "installed",
    "rekey-time": "rekey_in",
    "life-time": "life_time",
    "local-ts": "local_ts",
    "remote-ts": "remote_ts",
}
HEX = {
    "spi-in": "spi_in",
    "spi-out": "spi_out",
    "if-id-in": "if_id_in",
    "if-id-out": "if_id_out",
}
MOVES = {"established", "rekey-time", "reauth-time", "install-time", "life-time"}
MOVES |= {"use-in", "use-out"}
LISTS = {"local-vips", "remote-vips"}


def assert_between(sa: IkeSa | ChildSa, fields: dict[str, str], before: Any, after: Any) -> None:
    """Each field of an SA is what swanctl told before and after; times are between."""
    for key, field in fields.items():
        ours = getattr(sa, field)
        texts = [each.get(key, [] if key in LISTS else None) for each in (before, after)]
        if key in MOVES and texts[0] is not None:
            least, most = sorted(map(int, texts))
            assert least <= ours <= most, key
        elif isinstance(ours, int):
            assert [str(ours)] * 2 == texts, key
        else:
            assert [ours] * 2 == texts, key


def test_sas_are_what_swanctl_lists(site):
    """Each value that charon tells of them is read, with its unit and its base."""
    with up(site.moon, "gw", "sleepy"):
        assert site.moon.ping("10.2.0.1", source="10.3.0.1") == 3
        before, answer, after = raw(site.moon), answer_of(site.moon), raw(site.moon)
    assert answer.trouble == "" and answer.is_complete
    assert {sa.name for sa in told(answer.sas)} == set(before) == {"gw", "sleepy"}
    for sa in told(answer.sas):
        assert_between(sa, IKE, before[sa.name], after[sa.name])
        (child,) = sa.children
        ((_, its_before),) = before[sa.name]["child-sas"].items()
        ((_, its_after),) = after[sa.name]["child-sas"].items()
        assert_between(child, CHILD, its_before, its_after)
        for key, field in HEX.items():
            number = getattr(child, field)
            assert (number and f"{number:08x}") == its_before.get(key), key
        assert child.is_live
        assert child.encap == ("encap" in its_before)
    gw, sleepy = sorted(told(answer.sas))
    assert gw.children[0].mark_in == (2, 0xFFFFFFFF) and gw.children[0].mark_out == (2, 0xFF)
    assert gw.children[0].packets_out == 3 and gw.children[0].last_out is not None
    assert sleepy.children[0].local_ts == ["10.1.0.0/16[tcp/http]"]
    assert (sleepy.children[0].if_id_in, sleepy.children[0].if_id_out) == (42, 43)
    assert sleepy.children[0].last_in is None


def test_connections_are_told_while_they_are_down(site):
    """With what says that only the peer can initiate it."""
    answer = answer_of(site.moon)
    assert answer.sas == [] and answer.is_complete
    gw, sleepy = sorted(told(answer.connections))
    assert (gw.name, gw.version, gw.remote_addrs) == ("gw", "IKEv1/2", ["192.168.0.2"])
    assert (gw.local_ids, gw.remote_ids) == (["moon"], ["sun"])
    (child,) = gw.children
    assert (child.name, child.mode) == ("gw", "TUNNEL")
    assert (child.local_ts, child.remote_ts) == (["dynamic"], ["10.2.0.0/16", "fd00:2::/32"])
    assert sleepy.children[0].local_ts == ["10.1.0.0/16[tcp/http]"]
    templates = told(answer_of(site.sun).connections)
    assert [template.remote_addrs for template in templates] == [["%any"]] * 2
    assert {"vici", "updown"} <= set(told(answer.plugins))
    assert answer.version in site.moon.run("swanctl", "--version")


def test_two_charons_are_told_apart_by_their_namespaces(site):
    """Each is reached by its own root, though both have their socket at the same path."""
    found = find(network(site.moon))
    (moon,) = found.ours
    sun = charon_of(site.sun)
    assert moon.name == sun.name == "charon"
    assert sun in found.others and moon.pid != sun.pid
    assert [socket.path for socket in moon.sockets] == [socket.path for socket in sun.sockets]
    assert find().ours == [], "there is no charon in the namespace of the tests"
    with up(site.moon, "gw"):
        answers = ask([sun, moon], SECONDS)
    assert [answer.trouble for answer in answers] == ["", ""]
    ids = [[sa.local_id for sa in told(answer.sas)] for answer in answers]
    assert ids == [["sun"], ["moon"]]
    assert [answer.charon for answer in answers] == [sun, moon]
    assert [answer.remark for answer in answers] == ["", ""]


def test_within_the_host_it_is_found_as_well(site):
    """There it has other numbers, those of the host's own PID namespace."""
    program = (
        f"import sys; sys.path[:0] = {[str(ROOT / 'src')]!r};"
        "from vti_updown.vici import ask, charons;"
        "(answer,) = ask.ask(charons.find().ours, 60);"
        "print(answer.charon.pid, answer.is_complete, answer.remark)"
    )
    pid = site.moon.run("cat", "/run/charon.pid").strip()
    said = site.moon.run("python3", "-c", program)
    assert said.split() == [pid, "True"]


def test_a_charon_whose_hook_sleeps_is_said_to_wait_for_it(site):
    """The answer comes while the hook still runs, and lacks only what the hook is about."""
    with up(site.moon, "gw"), hooks_sleep(site.moon):
        site.moon.start("swanctl", "--initiate", "--child", "sleepy")
        site.moon.until("test -e /run/sleeps")
        answer = answer_of(site.moon, SOON)
        (hook,) = answer.hooks
        its_words = Path(f"/proc/{hook.pid}/cmdline").read_text().split("\0")
        site.moon.run("touch", "/run/go")
        assert its_words[:2] == ["/bin/sh", SLEEPY]
        assert hook.name == "sleepy.sh" and hook.seconds > 0
        assert f"PID {hook.pid}, sleepy.sh" in answer.trouble
        assert [sa.name for sa in told(answer.sas)] == ["gw"] and not answer.is_complete
        assert len(told(answer.connections)) == 2
        wait_until(lambda: "sleepy" in raw(site.moon))
        answer = answer_of(site.moon)
        assert len(told(answer.sas)) == 2 and answer.is_complete and answer.hooks == []
        site.moon.run("swanctl", "--terminate", "--ike", "sleepy")


@pytest.mark.slow
def test_vti_updown_is_named_as_the_hook(site):
    """Its process is called after its interpreter, or after itself."""
    charon = charon_of(site.moon)
    names: set[str] = set()
    site.moon.start("swanctl", "--initiate", "--child", "gw")

    def runs() -> bool:
        names.update(hook.name for hook in hooks(charon.pid))
        return "vti-updown" in names

    wait_until(runs)
    wait_until(lambda: "gw" in raw(site.moon))
    site.moon.run("swanctl", "--terminate", "--ike", "gw")


@pytest.mark.slow
def test_events_are_heard(site):
    """As long as somebody listens, a command on the same session among them."""
    (socket,) = charon_of(site.moon).sockets
    with Session(socket.reached_by, 60) as session:
        session.register("ike-updown")
        with up(site.moon, "gw"):
            (listed,) = session.stream("list-sas", "list-sa")
        heard = session.events()
        first, second = next(heard), next(heard)
        assert [name for name, _ in (first, second)] == ["ike-updown"] * 2
        assert first[1]["up"] == "yes" and "up" not in second[1]
        assert "gw" in first[1] and "gw" in listed
        with pytest.raises(Refused, match="does not know the event dragon"):
            session.register("dragon")
        with pytest.raises(Refused, match="does not know the command dragon"):
            session.request("dragon")
        with pytest.raises(Refused, match="not found"):
            session.request("unload-conn", {"name": "dragon"})


@pytest.mark.slow
def test_what_charon_sends_is_as_recorded(site):
    """The record is what the tests without a charon read. VTI_UPDOWN_WRITE=1 writes it anew."""
    (socket,) = charon_of(site.moon).sockets
    with up(site.moon, "gw", "sleepy"):
        site.moon.ping("10.2.0.1", source="10.3.0.1")
        sent = frames(socket.reached_by)
    version = answer_of(site.moon).version
    if os.environ.get("VTI_UPDOWN_WRITE"):
        (ROOT / f".lab/vici-{version}.json").write_text(written(sent))
    record = ROOT / f"tests/unit/vici-{version}.json"
    if not record.exists():
        pytest.skip(f"nothing is recorded of strongSwan {version}")
    assert keys(sent) == keys(json.loads(record.read_text()))


def keys(asked: Asked) -> dict[str, list[Any]]:
    """What each message has, without the values. Two SAs may come in either order."""
    found = {}
    for step, packets in asked.items():
        messages = [unpack(bytes.fromhex(packet)).message for packet in packets]
        found[step] = sorted(map(shape, messages), key=str)
    return found


def shape(value: Value) -> Any:
    """The keys of a section, without the numbers of an SA."""
    if isinstance(value, dict):
        return {
            key.split("-", 1)[0] if key[-1].isdigit() else key: shape(each)
            for key, each in value.items()
        }
    return type(value).__name__


@pytest.mark.slow
def test_a_charon_ends_though_clients_were_there(site):
    """One that listens and reads hears all downs, and then the end."""
    moon = site.moon
    charon = charon_of(moon)
    (socket,) = charon.sockets
    moon.run("swanctl", "--initiate", "--child", "gw")
    moon.run("swanctl", "--list-sas")
    assert answer_of(moon).is_complete
    with Session(socket.reached_by, SECONDS) as session:
        session.register("ike-updown")
    with Session(socket.reached_by, SECONDS) as session:
        stream = session.stream("list-sas", "list-sa")
        next(stream)
        stream.close()
    heard: list[str] = []
    ended = threading.Event()

    def listen(session: Session) -> None:
        try:
            for name, _ in session.events():
                heard.append(name)
        except Closed:
            ended.set()

    with Session(socket.reached_by, 2 * WAIT_SECONDS) as session:
        session.register("ike-updown")
        thread = threading.Thread(target=listen, args=(session,))
        thread.start()
        os.kill(charon.pid, signal.SIGTERM)
        moon.daemon.wait(WAIT_SECONDS)
        thread.join()
    assert ended.is_set() and heard == ["ike-updown"]
    (answer,) = ask([charon], SECONDS)
    assert answer.trouble == "its socket is not there" and answer.sas is None
    assert find(network(moon)).ours == []
    moon.run("rm", "-f", "/run/charon.vici")
    moon.start_charon()
