"""What a real charon sent, byte for byte, is read.

vici-5.9.8.json was recorded by tests/strongswan/test_vici.py, with VTI_UPDOWN_WRITE=1. It has the
packets of one conversation, in hexadecimal digits: see tests/support/vici_frames.py.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from vti_updown.vici.ask import ask
from vti_updown.vici.protocol import EVENT_REGISTER, EVENT_UNREGISTER, Packet, pack, unpack
from vti_updown.vici.session import Refused, Session

from .fake_charon import SECONDS, FakeCharon, framed

SENT: dict[str, list[str]] = json.loads(Path(__file__).with_name("vici-5.9.8.json").read_text())
STEPS = {EVENT_REGISTER: "register ", EVENT_UNREGISTER: "unregister "}
UNKNOWN = {"list-dragons": "unknown command", "dragon": "unknown event", "unload-conn": "refused"}


def recorded(packet: Packet) -> Iterable[bytes]:
    """What charon answered to the same. It confirmed each registration alike."""
    step = UNKNOWN.get(packet.name) or STEPS.get(packet.kind, "") + packet.name
    packets = SENT.get(step, SENT["register list-sa"])
    return [framed(bytes.fromhex(each)) for each in packets]


@pytest.mark.parametrize("step", SENT)
def test_each_packet_is_written_as_charon_writes_it(step: str) -> None:
    """Read and written again, it is the same bytes."""
    for digits in SENT[step]:
        raw = bytes.fromhex(digits)
        assert pack(*unpack(raw)) == raw


def test_a_real_conversation_is_understood(tmp_path: Path) -> None:
    """Two SAs, one of them with virtual IPs and marks, the other one with if_ids."""
    with FakeCharon(tmp_path / "charon.vici", recorded) as charon:
        (answer,) = ask([charon.path], SECONDS)
    assert (answer.version, answer.trouble, answer.is_complete) == ("5.9.8", "", True)
    assert {"vici", "updown"} <= set(answer.plugins or [])
    assert answer.charon.pid == os.getpid()
    gw, sleepy = sorted(answer.sas or [])
    assert (gw.name, gw.state, gw.local_id, gw.remote_id) == ("gw", "ESTABLISHED", "moon", "sun")
    assert gw.local_vips == ["10.3.0.1", "fd00:3::1"]
    (child,) = gw.children
    assert (child.mark_in, child.mark_out) == ((2, 0xFFFFFFFF), (2, 0xFF))
    assert (child.packets_in, child.packets_out, child.bytes_in) == (3, 3, 252)
    assert child.is_live and not child.encap
    (child,) = sleepy.children
    assert (child.if_id_in, child.if_id_out, child.mark_in) == (42, 43, None)
    assert child.local_ts == ["10.1.0.0/16[tcp/http]"] and child.encap
    names = [(each.name, each.remote_addrs, each.local_ids) for each in answer.connections or []]
    assert names == [("gw", ["192.168.0.2"], ["moon"]), ("sleepy", ["192.168.0.2"], ["sleepy"])]


def test_what_charon_does_not_know_is_refused(tmp_path: Path) -> None:
    """In the words of charon, where it has any."""
    with (
        FakeCharon(tmp_path / "charon.vici", recorded) as charon,
        Session(charon.path, SECONDS) as session,
    ):
        with pytest.raises(Refused, match="command list-dragons"):
            session.request("list-dragons")
        with pytest.raises(Refused, match="event dragon"):
            session.register("dragon")
        with pytest.raises(Refused, match="unload: connection 'dragon' not found"):
            session.request("unload-conn", {"name": "dragon"})
