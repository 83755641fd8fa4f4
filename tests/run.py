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


def main(part: str, words: list[str]) -> int:
    REPORTS.mkdir(exist_ok=True)
    environment = {**os.environ, "COVERAGE_FILE": str(REPORTS / f"{part}.coverage"), "PYTHONDONTWRITEBYTECODE": "1"}
    pytest = [
        "-m",
        "coverage",
        "run",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        f"--junitxml={REPORTS / f'{part}.xml'}",
        *words,
    ]
    status = subprocess.run([sys.executable, *pytest], cwd=ROOT, env=environment, check=False).returncode
    report = subprocess.run(
        [sys.executable, "-m", "coverage", "report", "--skip-empty"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    (REPORTS / f"{part}-coverage.txt").write_text(report.stdout)
    total = report.stdout.split()[-1:] or ["?"]
    print(f"{part}: coverage {total[0]}, without the processes that the tests start; see .lab/{part}-coverage.txt")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
