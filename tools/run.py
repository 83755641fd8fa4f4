#!/usr/bin/env python3
"""Runs a part of the tests. Its reports are .lab/PART.xml (JUnit) and .lab/PART-coverage.txt.

run.py PART PYTEST-ARGUMENTS…
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".lab"
ASKED = "VTI_UPDOWN_COVERAGE" in os.environ
MEASURED = ["unit", "kernel", "oldest"] if ASKED else ["unit"]
"""Parts whose coverage is measured: it takes a third of the time where there is no KVM."""
COVERAGE = [sys.executable, "-m", "coverage"]


def main(part: str, words: list[str]) -> int:
    REPORTS.mkdir(exist_ok=True)
    variables = {
        **os.environ,
        "COVERAGE_FILE": str(REPORTS / f"{part}.coverage"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    report = f"--junitxml={REPORTS / f'{part}.xml'}"
    pytest = ["-m", "pytest", "-p", "no:cacheprovider", report, *words]
    if part not in MEASURED:
        return run([sys.executable, *pytest], variables)
    status = run([*COVERAGE, "run", *pytest], variables)
    write_coverage(part, variables)
    return status


def run(command: list[str], variables: dict[str, str]) -> int:
    return subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode


def write_coverage(part: str, variables: dict[str, str]) -> None:
    words = [*COVERAGE, "report", "--skip-empty"]
    done = subprocess.run(
        words, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True, check=False
    )
    (REPORTS / f"{part}-coverage.txt").write_text(done.stdout)
    total = done.stdout.split()[-1:] or ["?"]
    print(f"{part}: coverage {total[0]}, without the processes that the tests start;", end=" ")
    print(f"see .lab/{part}-coverage.txt")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
