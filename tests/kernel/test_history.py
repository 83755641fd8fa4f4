"""The history on a real kernel: an event that is killed, an upgrade, and who can read it."""

import glob
import json
import os
import sqlite3
import stat
from contextlib import closing

import pytest

import deaths
from vti_updown.admin import cli as people

NET = ("--route", "10.2.0.0/16", "--route", "fec2::/16")
BACK_TO_5 = """
DROP TABLE history;
DROP TABLE environment;
DROP INDEX reference_tunnel;
ALTER TABLE reference RENAME COLUMN tunnel TO of_no_use;
ALTER TABLE reference RENAME COLUMN log TO of_no_use_either;
PRAGMA user_version = 5;
"""
"""Makes records of this version those of the version before the history."""


@pytest.fixture
def history(capfd):
    """What `vti-updown history gw --json` prints, as an object."""

    def run():
        capfd.readouterr()
        assert people.run(["history", "gw", "--json"]) == 0
        (tunnel,) = json.loads(capfd.readouterr().out)["tunnels"]
        return tunnel

    return run


def test_an_event_that_died_half_way_is_told(machine, history):
    """It had begun, and did not end. What the next event mends is that one's."""
    before = machine.state()
    number = deaths.count(lambda: machine.up(*NET)).index("NEWROUTE")
    machine.down()
    assert deaths.killed(lambda: machine.up(*NET), number)
    died = history()["events"][-1]
    assert (died["verb"], died["seconds"], died["is_up"]) == ("up-client", None, None)
    machine.down()
    ended = history()["events"][-1]
    assert (ended["verb"], ended["was_up"], ended["is_up"]) == ("down-client", True, False)
    assert machine.state() == before


def test_a_tunnel_that_is_up_outlives_an_upgrade(machine, history):
    """Its records are read, so its down says what it always said, and is the first of its history."""
    before = machine.state()
    machine.up(*NET)
    (file,) = glob.glob("/run/vti-updown/*.sqlite")
    with closing(sqlite3.connect(file)) as records:
        records.executescript(BACK_TO_5)
    assert machine.down() == ["gw: vti1 down, 192.168.0.1 → 192.168.0.2"]
    assert machine.status == 0
    assert machine.state() == before
    (event,) = history()["events"]
    assert (event["verb"], event["was_up"], event["is_up"]) == ("down-client", True, False)


def test_the_history_changes_nothing_and_is_roots_alone(machine, history):
    """Neither the kernel nor a byte of the records, and nobody else can read them."""
    machine.up(*NET)
    (file,) = glob.glob("/run/vti-updown/*.sqlite")
    before = machine.state()
    with open(file, "rb") as opened:
        recorded = opened.read()
    (event,) = history()["events"]
    assert event["changed"].startswith("+link vti1, ")
    assert event["environment"]["PLUTO_CONNECTION"] == "gw"
    with open(file, "rb") as opened:
        assert opened.read() == recorded
    assert machine.state() == before
    modes = {stat.S_IMODE(os.stat(path).st_mode) for path in ("/run/vti-updown", file)}
    assert modes == {0o700, 0o600}
    machine.down()
