"""What charon's log tells of why a tunnel went down, and that nothing else is told."""

import json
import re
import stat
import time
from datetime import datetime
from pathlib import Path

import pytest

from vti_updown.admin.charon_log import (
    FILE_BYTES,
    Log,
    LogLine,
    journal_line,
    parsed,
    read_log,
)
from vti_updown.admin.why import causes
from vti_updown.records.matching import Tunnel
from vti_updown.records.past import Past
from vti_updown.text import Refusal

RECORDED = Path(__file__).parent / "logs/charon-5.9.8.log"
"""What a charon logged, without the packets that it sent; its hook took seconds."""
LAST = datetime(2026, 11, 27, 20, 27, 10).timestamp()
SAID = "gw: vti1 down, 192.168.0.1 → 192.168.0.2"
DOWN = Past(
    1, Tunnel("gw", "sun", ""), "down-client", 1000.0, None, 7, "c", True, False, 0.1, 0, SAID
)


def recorded() -> list[LogLine]:
    return parsed(RECORDED.read_text(encoding="utf-8").splitlines(), LAST)


def downs(lines: list[LogLine], unique_ids: list[int]) -> list[Past]:
    """The events of a log whose hook takes some seconds."""
    told = [line for line in lines if re.match(r"updown: gw: vti\d+ down", line.message)]
    assert len(told) == len(unique_ids)
    events = []
    for number, (line, unique_id) in enumerate(zip(told, unique_ids, strict=True)):
        said = line.message.removeprefix("updown: ")
        events.append(
            DOWN._replace(number=number, called=line.time - 1, unique_id=unique_id, said=said)
        )
    return events


def test_a_recorded_log_tells_of_each_down():
    """By its hook's line, the thread of it, and what that thread did before."""
    lines = recorded()
    events = downs(lines, [2, 2, 3, 3, 4, 5, 6])
    told = causes(Log(lines, "log"), events)
    assert [(told[each.number].words, told[each.number].line.message) for each in events] == [
        ("the peer deleted the CHILD_SA", "received DELETE for ESP CHILD_SA with SPI c143c4fe"),
        ("the peer deleted the IKE_SA", "received DELETE for IKE_SA net[2]"),
        ("somebody on this side asked for it", "vici terminate CHILD_SA 'gw'"),
        ("somebody on this side asked for it", "vici terminate IKE_SA 'net'"),
        ("the IKE_SA was reauthenticated", "reauthenticating IKE_SA net[4]"),
        ("the peer did not answer", "giving up after 2 retransmits"),
        ("charon was stopped", "SIGTERM received, shutting down"),
    ]


def test_a_log_without_packets_and_without_the_signal_tells_less():
    """What is not logged is not guessed: this side's delete stays this side's delete."""
    hidden = ("received packet", "parsed ", "vici ", "SIGTERM", "reauthenticating")
    lines = [line for line in recorded() if not line.message.startswith(hidden)]
    events = downs(lines, [2, 2, 3, 3, 4, 5, 6])
    told = causes(Log(lines, "log"), events)
    assert [told[each.number].words for each in events] == [
        "the peer deleted the CHILD_SA",
        "the peer deleted the IKE_SA",
        "this side deleted it",
        "this side deleted it",
        "this side deleted it",
        "the peer did not answer",
        "this side deleted it",
    ]


def test_without_the_hooks_lines_only_a_named_ike_sa_tells():
    """Retransmits without a name may be those of any other tunnel."""
    lines = recorded()
    events = downs(lines, [2, 2, 3, 3, 4, 5, 6])
    silent = [line for line in lines if not line.message.startswith("updown: ")]
    told = causes(Log(silent, "log"), events)
    assert {number: cause.words for number, cause in told.items()} == {
        1: "the peer deleted the IKE_SA",
        4: "the IKE_SA was reauthenticated",
    }


def log_of(*lines: tuple[float, str, str], sa: int | None = None) -> Log:
    return Log([LogLine(moment, thread, text, sa) for moment, thread, text in lines], "log")


OWN = (1001.0, "05", f"updown: {SAID}")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        pytest.param([(999.5, "05", "giving up after 5 retransmits")], "the peer did not answer", id="DPD"),
        pytest.param([(999.5, "05", "DPD check timed out, enforcing DPD action")], "the peer did not answer", id="IKEv1 DPD"),
        pytest.param([(999.5, "05", "giving up after 6 path probings")], "there was no path to the peer", id="MOBIKE"),
        pytest.param([(999.5, "06", "giving up after 5 retransmits")], None, id="another thread"),
        pytest.param([(900.0, "05", "giving up after 5 retransmits")], None, id="long ago"),
        pytest.param([(999.5, "05", "received DELETE for IKE_SA gw[8]")], None, id="another IKE_SA"),
        pytest.param([(999.5, "05", "received DELETE for IKE_SA a b[7]")], "the peer deleted the IKE_SA", id="a name with a space"),
        pytest.param([(999.0, "05", "giving up after 5 retransmits"), (999.5, "05", "received packet: from 1.2.3.4")], None, id="other work since"),
        pytest.param([(985.0, "05", "giving up after 5 retransmits"), (999.0, "05", "updown: gw: vti1 stays, held by 1 more")], "the peer did not answer", id="the second pair of selectors"),
        pytest.param([(999.5, "05", "closing expired CHILD_SA gw{3} with SPIs c1_i c2_o")], "the CHILD_SA's lifetime was over", id="expired"),
        pytest.param([(999.5, "05", "closing expired CHILD_SA other{3} with SPIs c1_i c2_o")], None, id="another CHILD_SA expired"),
        pytest.param([(999.4, "05", "destroying duplicate IKE_SA for peer 'sun', received INITIAL_CONTACT")], "the peer came anew", id="initial contact"),
        pytest.param([(999.0, "05", "received DELETE for ESP CHILD_SA with SPI c1"), (999.0, "05", "closing CHILD_SA gw{3} with SPIs c2_i c1_o"), (999.1, "05", "CHILD_SA gw{3} closed")], "the peer deleted the CHILD_SA", id="strongSwan 6, the peer"),
        pytest.param([(990.0, "09", "closing CHILD_SA gw{3} with SPIs c2_i c1_o"), (999.0, "05", "received DELETE for ESP CHILD_SA with SPI c1"), (999.1, "05", "CHILD_SA gw{3} closed")], "this side deleted it", id="strongSwan 6, this side"),
        pytest.param([(990.0, "09", "deleting CHILD_SA after 60 seconds of inactivity"), (990.0, "09", "closing CHILD_SA gw{3} with SPIs c2_i c1_o"), (999.1, "05", "CHILD_SA closed")], "nothing passed for long", id="inactivity"),
        pytest.param([(990.0, "09", "received stroke: terminate 'gw'"), (990.2, "10", "deleting IKE_SA gw[7] between a...b"), (999.1, "05", "IKE_SA deleted")], "somebody on this side asked for it", id="ipsec down"),
        pytest.param([(999.5, "05", "SIGINT received, shutting down")], "charon was stopped", id="starter stops it"),
        pytest.param([], None, id="nothing"),
    ],
)  # fmt: skip
def test_what_the_log_tells(lines, words):
    """Of the thread that called the hook, right before it did."""
    told = causes(log_of(*lines, OWN), [DOWN])
    assert (told[1].words if told else None) == words


def test_charons_end_is_told_of_the_last_of_many_tunnels():
    """Its main thread ends one after the other, and each hook takes its time."""
    lines = [(900.0, "00", "SIGTERM received, shutting down")]
    lines += [(900.0 + n, "00", f"updown: other{n}: vti{n} down") for n in range(10, 90)]
    told = causes(log_of(*lines, (1001.0, "00", f"updown: {SAID}")), [DOWN])
    assert told[1].words == "charon was stopped"


def test_an_event_that_waited_has_not_the_reason_of_the_one_that_did_it():
    """Its lines come from another hook, in a thread that knows nothing of it."""
    log = log_of((999.5, "05", "giving up after 5 retransmits"), OWN)
    assert causes(log, [DOWN._replace(late=1000.5)]) == {}


@pytest.mark.parametrize(("sa", "is_told"), [(7, True), (8, False)])
def test_the_ike_sa_of_a_line_decides_where_the_log_has_it(sa, is_told):
    """With `ike_name = yes`, and in the journal of charon-systemd."""
    log = log_of((999.5, "05", "giving up after 5 retransmits"), OWN, sa=sa)
    assert bool(causes(log, [DOWN])) == is_told


# How a line is read


@pytest.mark.parametrize(
    ("before", "moment"),
    [
        ("20:27:01 ", "2026-11-27T20:27:01"),
        ("20:29:01 ", "2026-11-27T20:29:01"),
        ("23:59:59 ", "2026-11-26T23:59:59"),
        ("Nov 27 20:27:01 ", "2026-11-27T20:27:01"),
        ("Dec  1 20:27:01 moon charon: ", "2025-12-01T20:27:01"),
        ("2026-11-01 20:27:01 ", "2026-11-01T20:27:01"),
        ("2026-11-27T20:27:01.123456+02:00 moon charon[12]: ", "2026-11-27T20:27:01+02:00"),
        ("2026-11-27T20:27:01Z ", "2026-11-27T20:27:01+00:00"),
        ("", None),
        ("Nov 31 20:27:01 ", None),
    ],
)
def test_the_time_of_a_line_is_read_as_people_set_it(before, moment):
    """What it lacks of the date is that of the lines behind it."""
    lines = parsed([f"{before}05[IKE] IKE_SA deleted"], LAST)
    if moment is None:
        assert lines == []
        return
    (line,) = lines
    assert line == LogLine(datetime.fromisoformat(moment).timestamp(), "05", "IKE_SA deleted")


def test_days_and_years_are_counted_back_from_the_last_line():
    """Four nights of a log that has the time of day alone."""
    texts = [f"{hour:02}:00:00 05[IKE] x" for _ in range(4) for hour in (1, 12, 23)]
    last = datetime(2026, 11, 27, 23, 0, 1).timestamp()
    days = [datetime.fromtimestamp(line.time).day for line in parsed(texts, last)]
    assert days == [24] * 3 + [25] * 3 + [26] * 3 + [27] * 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("20:27:01 05[IKE2] <gw|7> x", ("05", "x", 7)),
        ("20:27:01 05[IKE] <7> x", ("05", "x", 7)),
        ("20:27:01 05[IKE] <a> b|7> x", ("05", "x", 7)),
        ("20:27:01 123[IKE] x", ("123", "x", None)),
        ("20:27:01 sshd[12]: x", None),
    ],
)
def test_a_line_is_told_from_those_of_others(text, line):
    """With levels and names, in a log that others write, too."""
    lines = [(each.thread, each.message, each.sa) for each in parsed([text], LAST)]
    assert lines == ([] if line is None else [line])


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"MESSAGE": "05[IKE] IKE_SA deleted"}, LogLine(1.5, "05", "IKE_SA deleted")),
        ({"MESSAGE": "05[IKE] <gw|7> x"}, LogLine(1.5, "05", "x", 7)),
        ({"MESSAGE": "x", "THREAD": "5", "IKE_SA_UNIQUE_ID": "7"}, LogLine(1.5, "05", "x", 7)),
        ({"MESSAGE": list(b"05[IKE] \xff"), "THREAD": "5"}, LogLine(1.5, "05", "05[IKE] \ufffd")),
        ({"MESSAGE": None}, None),
        ({"MESSAGE": "Starting strongSwan"}, None),
        ({}, None),
    ],
)
def test_an_entry_of_the_journal_is_read(entry, line):
    """As syslog's charon writes it, and as charon-systemd does."""
    text = json.dumps({"__REALTIME_TIMESTAMP": "1500000", **entry})
    assert journal_line(text) == line
    assert journal_line("{") is None


# Where it is read from


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    """It says which, and what to name."""
    with pytest.raises(Refusal, match=r"cannot read .*No such file") as caught:
        read_log(str(tmp_path / "none"), [1.0])
    assert "filelog" in caught.value.hint


def test_a_file_without_times_is_told(tmp_path):
    """strongSwan's default has none."""
    file = tmp_path / "log"
    file.write_text("05[IKE] IKE_SA deleted\n")
    log = read_log(str(file), [1.0])
    assert list(log.lines) == []
    assert "set time_format of filelog" in log.notes[0]


def test_of_a_huge_file_the_end_is_read(tmp_path, monkeypatch):
    """And a line says so."""
    monkeypatch.setattr("vti_updown.admin.charon_log.FILE_BYTES", 1 << 20)
    assert FILE_BYTES > 1 << 20
    file = tmp_path / "log"
    file.write_text("20:00:00 05[IKE] early\n" + "x\n" * (1 << 20) + "20:00:00 05[IKE] late\n")
    log = read_log(str(file), [1.0])
    assert [line.message for line in log.lines] == ["late"]
    assert log.notes[0].startswith("only the last 1 MiB of ")


def journalctl(folder: Path, script: str) -> None:
    file = folder / "journalctl"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_the_journal_is_asked_for_what_is_around_the_events(tmp_path, monkeypatch):
    """Events that are near each other are asked for once."""
    asked = tmp_path / "asked"
    journalctl(
        tmp_path,
        f'echo "$*" >>{asked}; echo \'{{"__REALTIME_TIMESTAMP":"1","MESSAGE":"05[IKE] x"}}\'',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    log = read_log(None, [100000.0, 100010.0, 5000.0])
    spans = [
        re.findall(r"--(?:since|until)=@(\d+)", line) for line in asked.read_text().splitlines()
    ]
    assert spans == [["99760", "100100"], ["4760", "5090"]]
    assert "--identifier=charon-systemd" in asked.read_text()
    assert [line.message for line in log.lines] == ["x", "x"]
    assert list(log.notes) == []


def test_a_journal_that_hangs_is_given_up(tmp_path, monkeypatch):
    """In all it may take a few seconds, whatever is asked."""
    journalctl(tmp_path, "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("vti_updown.admin.charon_log.SECONDS", 0.2)
    begin = time.monotonic()
    log = read_log(None, [1e5, 2e5, 3e5])
    assert time.monotonic() - begin < 30
    assert log.notes[0].startswith("the journal did not answer within 0.2 s; name a file")


def test_a_host_without_a_journal_is_told(tmp_path, monkeypatch):
    """What to do is said."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (note,) = read_log(None, [1.0]).notes
    assert note == "there is no journal (No such file or directory); name a file by --charon-log"
    journalctl(tmp_path, ":")
    (note,) = read_log(None, [1.0]).notes
    assert note.startswith("the journal has no line of charon's of that time; name a file")
