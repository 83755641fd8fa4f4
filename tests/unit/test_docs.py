"""The documents name what there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.recipes import placed

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/*.md")]
)
HEADINGS = ["What you get", "Files", "Set up", "Check", "Good to know", "When something is wrong"]
"""Of each recipe's page, in this order."""


def test_every_test_that_a_page_names_exists():
    """A page says what is so, and names the test that shows it."""
    files = (ROOT / "tests").rglob("test_*.py")
    there = found_in(files, r"(?m)^def (test_\w+)")
    named = found_in(PAGES, r"`(test_\w+)(?:\[[^`]*\])?`")
    assert len(named) > 100
    assert named - there == {EXAMPLE_OF_A_NAME}


EXAMPLE_OF_A_NAME = "test_the_last_down_takes_the_link_away"
"""In CONTRIBUTING.md, which says how tests are named."""


def found_in(files, pattern):
    return {name for file in files for name in re.findall(pattern, file.read_text())}


def anchors(page):
    """What a link may name behind a `#`: the headings, as forges make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_relative_link_of_a_page_leads_somewhere(page):
    """To a file or a folder, and where it names a heading, to that one."""
    text = re.sub(r"`[^`\n]*`", "", page.read_text())
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path) if path else page
        if not target.exists() or (heading and heading not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_file_that_a_page_for_developers_names_is_there():
    """CONTRIBUTING.md names files by their path, the page of the architecture from the package on."""
    places = {
        ROOT / "CONTRIBUTING.md": ROOT,
        ROOT / "docs/architecture.md": ROOT / "src/vti_updown",
    }
    lost = set()
    for page, folder in places.items():
        names = found_in([page], r"`([\w-]+(?:/[\w.-]*)+)`")
        lost |= {
            name for name in names if not (folder / name).exists() and not (ROOT / name).exists()
        }
    assert lost == {"src/vti_updown/objects/KIND.py"}


def test_the_page_of_settings_is_what_their_table_says():
    """What `make settings` writes, for every row of the table."""
    script = [sys.executable, "tools/settings_page.py", "--check"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_of_docs_is_linked_in_the_readme():
    """Nobody finds a page that the README does not name."""
    readme = (ROOT / "README.md").read_text()
    links = {f"](docs/{page.name})": page.name for page in (ROOT / "docs").glob("*.md")}
    assert [name for link, name in links.items() if link not in readme] == []


@pytest.mark.parametrize(
    "page", sorted((ROOT / "examples").glob("*/README.md")), ids=lambda page: page.parent.name
)
def test_recipes_have_the_same_headings(page):
    """Who has followed one knows where to look in another."""
    title, *rest = re.findall(r"(?m)^#+ .+$", page.read_text())
    assert title.startswith("# ")
    assert rest == [f"## {heading}" for heading in HEADINGS]


def test_every_cell_of_what_is_supported_is_a_test():
    """Each cell of the page is a test, and each test of a kind has its cell."""
    text = (ROOT / "docs/supported.md").read_text()
    named = set(re.findall(r"`(test_[^`]+)`", text))
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/strongswan"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    there = set(re.findall(r"(?m)^tests/strongswan/\S+::(test_.+)$", collected))
    assert named - there - {one.partition("[")[0] for one in there} == set()
    assert {one for one in there if one.startswith("test_packets_pass[")} <= named


def test_the_page_of_recipes_lists_each_recipes_tests():
    """And every folder of examples with a page has a test."""
    page = (ROOT / "docs/recipes.md").read_text()
    named = subprocess.run(
        [sys.executable, "tools/recipes_page.py", "names"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = [line for line in page.splitlines(keepends=True) if line.startswith("| [")]
    assert (
        re.sub(r"\b(Linux|strongSwan|BIRD|FRR|libreswan) \d[^ ,|]*", r"\1", "".join(rows)) == named
    ), "run: make recipes"
    folders = {file.parent.name for file in (ROOT / "examples").glob("*/README.md")}
    assert folders == set(re.findall(r"(?m)^\| \[([\w-]+)\]", named))


def test_every_strongswan_scenario_has_a_test():
    """The page of scenarios names tests that exist."""
    text = (ROOT / "docs/scenarios.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    there = set(
        re.findall(r"def (test_\w+)", (ROOT / "tests/strongswan/test_scenarios.py").read_text())
    )
    assert named == there
    assert len(re.findall(r"(?m)^\| (?:net2net|rw-shared)-\S+ \|.*\| `test_\w+` \|$", text)) == 8


def test_every_example_says_where_it_goes():
    """One with a secret also says that nobody else may read it."""
    files = [
        file
        for file in (ROOT / "examples").rglob("*")
        if file.is_file() and file.name != "README.md"
    ]
    for file in files:
        _, mode = placed(file)
        lines = file.read_text().splitlines()
        secret = any(
            re.search(r'secret = "|: PSK "', line) for line in lines if not line.startswith("#")
        )
        assert (mode == 0o600) == secret, file
    assert len(files) > 30
