"""What `vti-updown history` prints, from the events that came before."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.events import environment
from vti_updown import cli
from vti_updown.admin import history as admin_history
from vti_updown.text import said

from .story import FILE, NO_MARK, PLUTO_MARK, SITE, SITE6, Story, told

NOON = 1782907200.0
"""2026-07-01T12:00:00Z."""
CAROL = {**SITE, "CONNECTION": "rw", "PEER_ID": "carol", "PEER": "192.168.0.4", "MARK_IN": 7}
CAROL |= {"MARK_OUT": 7, "PEER_CLIENT": "10.4.0.0/24"}
DAVE = {**CAROL, "PEER_ID": "dave", "PEER": "192.168.0.5", "PEER_CLIENT": "10.5.0.0/24"}
STANDS = """
    [connection.gw]
    mark = 2
    local = "192.168.0.1"
    remote = "192.168.0.2"
    routes = ["10.2.0.0/16"]
    when_down = "keep"
"""


class Clock:
    """The host's clock, and that of the log beside it."""

    def __init__(self) -> None:
        self.now = NOON

    def later(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """A host in Berlin, where each event takes no time at all."""
    made = Clock()
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: made.now)
    monkeypatch.setattr(time, "monotonic", lambda: 1.0)
    yield made
    monkeypatch.undo()
    time.tzset()


def history(story: Story, *words: str) -> str:
    """What the command prints. It changes nothing, and what it prints fits a terminal."""
    before = story.left()
    text = story.command("history", *words)
    assert story.left() == before
    assert all(len(line) <= 80 for line in text.splitlines())
    return text


def test_before_the_first_event_there_is_none(story: Story) -> None:
    """And that is no error."""
    assert history(story) == "no event is kept; the history begins with the next one"


def test_every_tunnel_is_a_line_the_latest_last(story: Story, clock: Clock) -> None:
    """Road warriors of one connection are told apart by who they are."""
    story.up(**SITE)
    clock.later(60)
    story.up(**CAROL)
    story.up(**DAVE)
    clock.later(3600)
    story.down(**SITE)
    clock.later(90)
    story.up(**SITE)
    clock.later(30)
    story.down(**CAROL)
    clock.later(86400 * 2)
    assert history(story) == told("""
        rw (dave): up since 2026-07-01 14:01:00+02:00; no outage since
            2026-07-01 14:01:00+02:00
        gw (sun): up since 2026-07-01 15:02:30+02:00; 1 outage since
            2026-07-01 14:00:00+02:00, the longest 1 min 30 s
        rw (carol): down since 2026-07-01 15:03:00+02:00; 1 outage since
            2026-07-01 14:01:00+02:00, the longest 2 d
    """)


def test_a_tunnel_by_name_has_its_events_and_why(
    story: Story, clock: Clock, tmp_path: Path
) -> None:
    """The log's line is there, so that nobody must believe the words."""
    story.up(**SITE)
    clock.later(3600)
    story.down(**SITE)
    clock.later(75)
    story.up(**SITE)
    clock.later(5)
    file = tmp_path / "charon.log"
    file.write_text(
        "2026-07-01T14:59:59+02:00 09[IKE] giving up after 5 retransmits\n"
        "2026-07-01T15:00:00+02:00 09[CHD] updown: gw: vti1 down, 192.168.0.1 → 192.168.0.2\n",
        encoding="utf-8",
    )
    assert history(story, "gw", "--charon-log", str(file)) == told("""
        gw (sun): up since 2026-07-01 15:01:15+02:00; 1 outage since
            2026-07-01 14:00:00+02:00, the longest 1 min 15 s

        2026-07-01 14:00:00+02:00  up-client          0 ms  up
            +link vti1, +ipv4 disable_policy, +route 10.2.0.0/16
        2026-07-01 15:00:00+02:00  down-client        0 ms  down, for 1 min 15 s
            why: the peer did not answer
            log: 2026-07-01 14:59:59+02:00 giving up after 5 retransmits
            -link vti1
        2026-07-01 15:01:15+02:00  up-client          0 ms  up
            +link vti1, +ipv4 disable_policy, +route 10.2.0.0/16
    """)


def test_where_the_log_does_not_tell_nothing_is_guessed(
    story: Story, clock: Clock, tmp_path: Path
) -> None:
    """That the charon has ended since is known, and is no reason."""
    story.up(**SITE)
    story.down(**SITE)
    file = tmp_path / "charon.log"
    file.write_text("2026-07-01T14:00:00+02:00 09[IKE] giving up after 5 retransmits\n")
    text = history(story, "gw", "--charon-log", str(file))
    assert "    why: the log does not tell\n" in text
    story.restart_charon()
    text = history(story, "gw", "--charon-log", str(file))
    assert "    why: the log does not tell; its charon (PID 1) has ended since\n" in text


def test_a_renewal_is_no_outage(story: Story, clock: Clock) -> None:
    """Make before break: the new CHILD_SA is up before the old one goes."""
    story.up(**SITE)
    clock.later(60)
    story.up(**SITE, UNIQUEID=2)
    story.down(**SITE)
    text = history(story)
    assert "up since 2026-07-01 14:00:00+02:00; no outage since" in text
    lines = [line.split("ms  ")[1] for line in history(story, "gw").splitlines() if "ms  " in line]
    assert lines == ["up", "still up", "still up"]


def test_a_pair_of_selectors_that_goes_is_no_outage(story: Story, clock: Clock) -> None:
    """A tunnel of both families is down with its last pair."""
    story.up(**SITE)
    story.up6(**SITE6)
    clock.later(10)
    story.down(**SITE)
    assert "no outage" in history(story)
    story.down6(**SITE6)
    assert "1 outage" in history(story)


def test_an_up_that_is_refused_is_told(story: Story, clock: Clock) -> None:
    """With its error, and what to do."""
    story.up(**SITE, **NO_MARK)
    assert history(story, "sun") == told("""
        gw (sun): down, longer than the events that are kept; no outage since
            2026-07-01 14:00:00+02:00

        2026-07-01 14:00:00+02:00  up-client          0 ms  failed (exit status 2)
            error: the CHILD_SA has neither mark nor if_id; add mark=NUMBER to it,
              unique to the peer (swanctl: mark_in, mark_out)
    """)


def test_an_up_that_the_kernel_refuses_is_told(story: Story, clock: Clock) -> None:
    """It was begun, and rolled back."""
    story.host.refuses["ip route add 10.2.0.0/16"] = 1
    story.up(**SITE)
    text = history(story, "gw")
    assert "failed (exit status 1)" in text
    assert "error: " in text
    assert "; no outage" in text


def test_a_down_of_nothing_is_told(story: Story, clock: Clock) -> None:
    """It did nothing, and that is what happened."""
    story.down(**SITE)
    text = history(story, "gw")
    assert "0 ms  still down" in text
    assert "gw: nothing is up for this down-client (unique ID 1)" in text


def test_an_event_that_waits_and_one_that_waited_are_told(story: Story, clock: Clock) -> None:
    """Its time is that of charon's call, and it is told when it was begun."""
    story.hold()
    story.event_alone("up-client", **SITE)
    waits = history(story, "gw")
    assert waits.endswith(
        "2026-07-01 14:00:00+02:00  up-client                waits for the records"
    )
    assert waits.startswith("gw (sun): not known to be up; no outage")
    story.let_go()
    clock.later(20)
    story.event_alone("up-client", **PLUTO_MARK, **SITE)
    _, events = history(story, "gw").split("\n\n")
    assert events.splitlines()[:2] == [
        "2026-07-01 14:00:00+02:00  up-client          0 ms  up",
        "    it waited for the records, and was begun at 2026-07-01 14:00:20+02:00",
    ]


def test_a_tunnel_whose_charon_was_killed_is_told(story: Story, clock: Clock) -> None:
    """The next event clears it, and nobody called a hook for it."""
    story.up(**SITE)
    story.restart_charon()
    clock.later(60)
    story.event_alone("up-client", **PLUTO_MARK, **SITE)
    text = history(story, "gw")
    assert "2026-07-01 14:01:00+02:00  stale              0 ms  down, 0 ms so far" in text
    assert text.endswith("    its charon was gone")
    assert "why:" not in text


def test_a_tunnel_that_comes_back_after_its_charon_was_killed(story: Story, clock: Clock) -> None:
    """It was down in between, though no hook was called for that, and nobody knows since when."""
    story.up(**SITE)
    story.restart_charon()
    clock.later(60)
    story.event_alone("up-client", **SITE)
    story.event_alone("up-client-v6", **SITE6)
    results = [
        line.split("ms  ")[1] for line in history(story, "gw").splitlines() if "ms  " in line
    ]
    assert results == ["up", "down, for 0 ms", "up", "still up"]
    story.event_alone("down-client", **SITE)
    story.event_alone("down-client-v6", **SITE6)
    assert "2 outages" in history(story)


def test_what_people_did_is_told_by_the_commands_name(story: Story, clock: Clock) -> None:
    """prepare, repair, flush and release, each with what it changed."""
    story.settings(STANDS)
    story.prepare("gw")
    story.line = ""
    story.up(**SITE)
    story.lose_routes()
    story.repair()
    story.by_hand()
    story.flush("--force")
    verbs = [line.split() for line in history(story, "gw").splitlines() if "ms  " in line]
    assert [(words[2], *words[5:]) for words in verbs] == [
        ("prepare", "done"),
        ("up-client", "up"),
        ("repair", "done"),
        ("flush", "down,", "0", "ms", "so", "far"),
    ]
    assert "+route 10.2.0.0/16" in history(story, "gw")
    story.prepare("gw")
    story.release("gw")
    assert " release " in history(story, "gw").splitlines()[-2]


def test_a_dry_run_is_no_history(story: Story, clock: Clock) -> None:
    """Nothing has happened."""
    story.rehearse("up-client", **SITE)
    story.settings(STANDS)
    story.command("prepare", "--dry-run", "--config", FILE)
    assert history(story) == "no event is kept; the history begins with the next one"


def test_an_event_that_died_is_told(story: Story, clock: Clock, monkeypatch) -> None:
    """It had begun, and nobody knows more."""
    story.up(**SITE)
    with monkeypatch.context() as patch:
        patch.setattr("vti_updown.records.records.Records.end_history", lambda *_: None)
        story.down(**SITE)
    text = history(story, "gw")
    assert "  down-client              died, or runs still" in text
    assert text.startswith("gw (sun): up since")


def test_an_unknown_name_is_an_error_that_names_those_there_are(story: Story) -> None:
    """In one line."""
    story.up(**SITE)
    story.up(**CAROL)
    assert history(story, "office") == (
        "error: no history of office; there is one of: gw, rw\nexit status: 2"
    )
    for number in range(12):
        story.up(**{**DAVE, "CONNECTION": f"c{number}", "PEER": f"192.168.1.{number}"})
    text = story.command("history", "office")
    assert text.replace("error:   ", "").count("\n") <= 2
    assert "and 4 more" in text


def test_an_unknown_name_without_any_history(story: Story) -> None:
    assert history(story, "x") == (
        "error: no history of x; there is one of: nothing yet\nexit status: 2"
    )


def test_only_root_can_read_it(story: Story, monkeypatch, tmp_path: Path) -> None:
    """It says so, and does not say that there is nothing."""
    monkeypatch.setattr(admin_history, "DIRECTORY", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    lines = said("error: ", f"cannot read {tmp_path}: permission denied", "run it again, as root")
    assert story.command("history").splitlines() == [*lines, "exit status: 1"]


def test_json_has_all_of_it(story: Story, clock: Clock, tmp_path: Path) -> None:
    """With the environments, for `root` alone can read them."""
    story.up(**SITE)
    clock.later(3600)
    story.down(**SITE)
    clock.later(75)
    story.up(**SITE)
    file = tmp_path / "charon.log"
    file.write_text(
        "2026-07-01T14:59:59+02:00 09[IKE] giving up after 5 retransmits\n"
        "2026-07-01T15:00:00+02:00 09[CHD] updown: gw: vti1 down, 192.168.0.1 → 192.168.0.2\n",
        encoding="utf-8",
    )
    answer = json.loads(story.command("history", "gw", "--json", "--charon-log", str(file)))
    assert answer["version"] == 1
    (tunnel,) = answer["tunnels"]
    assert (tunnel["connection"], tunnel["peer_id"], tunnel["xauth_id"]) == ("gw", "sun", "")
    assert (tunnel["is_up"], tunnel["since"]) == (True, "2026-07-01T13:01:15.000+00:00")
    assert tunnel["outages"] == [
        {
            "from": "2026-07-01T13:00:00.000+00:00",
            "until": "2026-07-01T13:01:15.000+00:00",
            "seconds": 75.0,
            "began_with": "down-client",
            "why": "the peer did not answer",
            "log": "giving up after 5 retransmits",
        }
    ]
    up, down, _ = tunnel["events"]
    assert (up["was_up"], up["is_up"], up["changed"]) == (
        False,
        True,
        "+link vti1, +ipv4 disable_policy, +route 10.2.0.0/16",
    )
    assert down["said"] == ["gw: vti1 down, 192.168.0.1 → 192.168.0.2"]
    assert down["environment"]["PLUTO_VERB"] == "down-client"
    assert {name[:6] for name in down["environment"]} == {"PLUTO_"}


def test_only_what_charon_sets_is_kept(story: Story, folder: Path) -> None:
    """Whoever calls the hook by hand may have a secret in the environment."""
    environ = environment("up-client", **SITE) | {"PASSWORD": "hunter2", "PATH": "/bin"}
    cli.hook(["--config", FILE], environ)
    (tunnel,) = json.loads(story.command("history", "gw", "--json"))["tunnels"]
    (event,) = tunnel["events"]
    kept = {name: value for name, value in environ.items() if name.startswith("PLUTO_")}
    assert event["environment"] == kept
    assert "hunter2" not in json.dumps(tunnel)


def test_what_others_chose_is_escaped(story: Story) -> None:
    """A peer's identity may hold anything."""
    story.up(**SITE, PEER_ID="e\x1b[31m\nvil")
    text = story.command("history", "gw")
    assert "e\\x1b[31m\\nvil" in text
    assert "\x1b" not in text
