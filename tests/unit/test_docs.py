"""The documents name what there is."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_every_test_that_the_table_names_exists():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/events.md").read_text()))
    there = {name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert named and not named - there


def test_readme_has_a_row_for_every_flag():
    from vti_updown.settings import FLAGS

    readme = (ROOT / "README.md").read_text()
    assert [flag.name for flag in FLAGS if f"`--{flag.name}" not in readme] == []
