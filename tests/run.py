#!/usr/bin/env python3
"""Runs a part of the tests, and leaves its reports in .lab/: PART.xml (JUnit) and PART-coverage.txt.

run.py PART PYTEST-ARGUMENTS…
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".lab"
UNMEASURED = ("strongswan", "recipes-a-m", "recipes-n-z")
"""Parts whose code runs in other processes only."""


def main(part: str, words: list[str]) -> int:
    REPORTS.mkdir(exist_ok=True)
    environment = {**os.environ, "COVERAGE_FILE": str(REPORTS / f"{part}.coverage"), "PYTHONDONTWRITEBYTECODE": "1"}
    measured = part not in UNMEASURED
    coverage = [sys.executable, "-m", "coverage"]
    pytest = ["-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={REPORTS / f'{part}.xml'}", *words]
    command = [*coverage, "run", *pytest] if measured else [sys.executable, *pytest]
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    if measured:
        report = subprocess.run(
            [*coverage, "report", "--skip-empty"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
        ).stdout
        (REPORTS / f"{part}-coverage.txt").write_text(report)
        total = report.split()[-1:] or ["?"]
        print(f"{part}: coverage {total[0]}, without the processes that the tests start; see .lab/{part}-coverage.txt")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
