"""What is there for Prometheus: the rules, and the unit that writes the metrics."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.promtool import promtool

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROMETHEUS = EXAMPLES / "prometheus"
UNITS = [EXAMPLES / "systemd" / f"vti-updown-metrics.{kind}" for kind in ("service", "timer")]
METRICS = "vti_updown_looked_timestamp_seconds 1\n"


def test_the_rules_are_right():
    """As Prometheus reads them."""
    promtool("check", "rules", PROMETHEUS / "vti-updown.rules.yml")


def test_each_alert_fires_when_it_should():
    """And not before. The test of the rules has each of them."""
    promtool("test", "rules", PROMETHEUS / "vti-updown.rules.test.yml")
    alerts = re.findall(r"- alert: (\w+)", (PROMETHEUS / "vti-updown.rules.yml").read_text())
    tests = (PROMETHEUS / "vti-updown.rules.test.yml").read_text()
    assert [alert for alert in alerts if f"alertname: {alert}\n" not in tests] == []


def test_the_rules_know_only_metrics_that_there_are():
    """A metric that is called otherwise would never fire."""
    rules = (PROMETHEUS / "vti-updown.rules.yml").read_text()
    source = EXAMPLES.parent / "src/vti_updown/admin/status_metrics.py"
    for name in set(re.findall(r"vti_updown_(\w+)", rules)):
        assert f'"{name}"' in source.read_text()


class Unit:
    """The command of the unit, with a program in place of vti-updown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "program"
        text = UNITS[0].read_text()
        found = re.search(r"^ExecStart=/bin/sh -c '(.*?)'\n", text, re.DOTALL | re.MULTILINE)
        assert found is not None
        words = found[1].replace("\\\n", "").replace("$$", "$")
        self.script = words.replace("/usr/local/sbin/vti-updown", str(self.program))

    def run(self, prints: str, status: int) -> int:
        self.program.write_text(f"#!/bin/sh\nprintf '%s' '{prints}'\nexit {status}\n")
        self.program.chmod(0o755)
        environ = {**os.environ, "FOLDER": str(self.folder)}
        return subprocess.run(["sh", "-c", self.script], env=environ, check=False).returncode

    def files(self) -> dict[str, str]:
        there = [file for file in self.folder.iterdir() if file != self.program]
        return {file.name: file.read_text() for file in there}


@pytest.mark.parametrize("status", [0, 1, 2, 3])
def test_the_unit_writes_whatever_the_metrics_say(tmp_path, status):
    """That a tunnel is down is no failure of the unit."""
    unit = Unit(tmp_path)
    assert unit.run(METRICS, status) == 0
    assert unit.files() == {"vti-updown.prom": METRICS}


def test_an_error_leaves_the_old_metrics(tmp_path):
    """Their age is an alert then, and the unit has failed."""
    unit = Unit(tmp_path)
    unit.run(METRICS, 0)
    assert unit.run("error: cannot look", 3) == 1
    assert unit.files() == {"vti-updown.prom": METRICS}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_the_units_are_right():
    """As systemd reads them."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *UNITS],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    ours = [line for line in done.stdout.splitlines() if "vti-updown-metrics" in line]
    assert ours == []
