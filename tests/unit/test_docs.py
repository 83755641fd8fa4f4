"""The documents name what there is."""

import re
import subprocess
import sys
from pathlib import Path

from recipes import placed

ROOT = Path(__file__).parent.parent.parent


def test_every_test_that_the_table_names_exists():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/events.md").read_text()))
    there = {name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert named and not named - there


def test_readme_has_a_row_for_every_flag():
    from vti_updown.settings import FLAGS

    readme = (ROOT / "README.md").read_text()
    assert [flag.name for flag in FLAGS if f"`--{flag.name}" not in readme] == []


def test_every_cell_of_what_is_supported_is_a_test_and_each_kind_has_its_cell():
    text = (ROOT / "README.md").read_text().partition("## What is supported\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(test_[^`]+)`", text))
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/strongswan"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    there = set(re.findall(r"(?m)^tests/strongswan/\S+::(test_.+)$", collected))
    assert named - there - {one.partition("[")[0] for one in there} == set()
    assert {one for one in there if one.startswith("test_packets_pass[")} <= named


def test_the_page_of_recipes_lists_each_test_of_a_recipe_and_each_recipe_has_one():
    page = (ROOT / "docs/recipes.md").read_text()
    named = subprocess.run(
        [sys.executable, "tests/recipes.py", "names"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    rows = [line for line in page.splitlines(keepends=True) if line.startswith("| [")]
    assert re.sub(r"\b(Linux|strongSwan|BIRD|FRR|libreswan) \d[^ ,|]*", r"\1", "".join(rows)) == named, "run: make recipes"
    folders = {file.parent.name for file in (ROOT / "examples").glob("*/README.md")}
    assert folders == set(re.findall(r"(?m)^\| \[([\w-]+)\]", named))


def test_every_scenario_of_strongswans_own_has_a_test_that_exists():
    text = (ROOT / "docs/scenarios.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    there = set(re.findall(r"def (test_\w+)", (ROOT / "tests/strongswan/test_scenarios.py").read_text()))
    assert named == there
    assert len(re.findall(r"(?m)^\| (?:net2net|rw-shared)-\S+ \|.*\| `test_\w+` \|$", text)) == 8


def test_every_example_says_where_it_goes_and_one_with_a_secret_that_nobody_else_may_read_it():
    files = [file for file in (ROOT / "examples").rglob("*") if file.is_file() and file.name != "README.md"]
    for file in files:
        _, mode = placed(file)
        lines = file.read_text().splitlines()
        secret = any(re.search(r'secret = "|: PSK "', line) for line in lines if not line.startswith("#"))
        assert (mode == 0o600) == secret, file
    assert len(files) > 30
