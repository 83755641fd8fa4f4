"""Whose files count: those in the root of each charon that was asked."""

from pathlib import Path

import pytest

from vti_updown import processes
from vti_updown.admin import charon_files
from vti_updown.admin.charon_files import ConfiguredChild, of_charons
from vti_updown.vici.ask import Answer
from vti_updown.vici.charons import Charon

SWANCTL = "connections { %s { children { %s { start_action = start } } } }"
IPSEC = "conn %s\n    auto=start\n"


def answer(pid: int) -> Answer:
    return Answer(
        charon=Charon(pid, "charon", "", "", ()),
        socket="",
        version=None,
        plugins=None,
        connections=None,
        sas=None,
        is_complete=False,
        hooks=[],
        trouble="",
        remark="",
    )


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc with charon 7, which starter 6 has started, and charon 8, which systemd has."""
    monkeypatch.setattr(processes, "PROC", str(tmp_path))
    for pid, name, parent in (
        (1, "systemd", 0),
        (6, "starter", 1),
        (7, "charon", 6),
        (8, "charon", 1),
    ):
        folder = tmp_path / str(pid)
        (folder / "root/etc/swanctl").mkdir(parents=True)
        rest = " ".join(["S", str(parent), *["0"] * 20])
        (folder / "stat").write_text(f"{pid} ({name}) {rest}\n")
        (folder / "root/etc/swanctl/swanctl.conf").write_text(SWANCTL % (f"s{pid}", f"s{pid}"))
        (folder / "root/etc/ipsec.conf").write_text(IPSEC % f"i{pid}")
    return tmp_path


def test_each_charon_has_its_own_files(proc: Path) -> None:
    """And ipsec.conf only if `starter` has read it."""
    found = of_charons([answer(7), answer(8)])
    assert [child.name for child in found] == ["s7", "i7", "s8"]


def test_files_that_two_charons_see_count_once(proc: Path) -> None:
    """They are in one root."""
    (proc / "8/root").rename(proc / "8/old")
    (proc / "8/root").symlink_to(proc / "7/root")
    found = of_charons([answer(7), answer(8)])
    assert [child.name for child in found] == ["s7", "i7"]


@pytest.mark.parametrize("answers", [[], [answer(0)]])
def test_without_a_charon_the_hosts_own_files_count(
    monkeypatch: pytest.MonkeyPatch, answers: list[Answer]
) -> None:
    """It may have ended, and its tunnels should be up still."""
    roots = []

    def read(*words: object) -> list[ConfiguredChild]:
        roots.append(words)
        return []

    monkeypatch.setattr(charon_files, "configured_children", read)
    of_charons(answers)
    assert roots == [("", True)]
