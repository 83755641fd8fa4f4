"""The screens of docs/status.md. `make screens` writes them anew."""

import os
from pathlib import Path

import pytest

from support.promtool import promtool
from vti_updown.admin.screen import COLUMNS, width

from .screens import SCREENS, Screen
from .story import Story

PAGE = Path(__file__).resolve().parents[2] / "docs/status.md"


def marks(screen: Screen) -> tuple[str, str]:
    return f"<!-- screen {screen.name}: begin -->\n", f"<!-- screen {screen.name}: end -->\n"


def block(screen: Screen, told: str) -> str:
    """The screen as the page has it, with the command."""
    lines = [f"# vti-updown status {screen.words}".rstrip(), *told.splitlines()]
    return "\n" + "".join(f"    {line}".rstrip() + "\n" for line in lines) + "\n"


@pytest.mark.parametrize("screen", SCREENS, ids=[screen.name for screen in SCREENS])
def test_a_screen_of_the_docs_is_what_is_shown(story: Story, screen: Screen) -> None:
    """The page never shows what the command does not."""
    told = screen.play(story)
    assert all(width(line) <= COLUMNS for line in told.splitlines()), told
    page = PAGE.read_text()
    begin, end = marks(screen)
    before, found, rest = page.partition(begin)
    there, also, after = rest.partition(end)
    assert found and also, f"docs/status.md has not: {begin}"
    wanted = block(screen, told)
    if os.environ.get("VTI_UPDOWN_WRITE"):
        PAGE.write_text(before + begin + wanted + end + after)
        return
    assert there == wanted, "run: make screens"


@pytest.mark.parametrize("screen", SCREENS, ids=[screen.name for screen in SCREENS])
def test_programs_are_told_of_each_state(story: Story, screen: Screen) -> None:
    """The document is as its schema says, and no metric is there twice."""
    screen.play(story)
    assert story.document()["tunnels"]
    told, _, _ = story.status("--metrics").partition("exit status: ")
    promtool("check", "metrics", text=told.rstrip() + "\n")
    lines = told.splitlines()
    samples = [line.rpartition(" ")[0] for line in lines if line.startswith("vti_updown_")]
    assert len(samples) == len(set(samples)), samples


def test_the_page_has_no_other_screens() -> None:
    """One that nobody makes would lie some day."""
    assert PAGE.read_text().count("<!-- screen ") == 2 * len(SCREENS)
