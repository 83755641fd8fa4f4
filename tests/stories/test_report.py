"""`vti-updown report`: one file for somebody else, with everything and no secret."""

import os
import stat
from pathlib import Path

import pytest

from vti_updown.admin import report

from .story import FILE, SITE, Story

SECRET = "S3cr3tW0rd"
CONF = f"""
connections {{ gw {{ children {{ gw {{ updown = /usr/local/sbin/vti-updown }} }} }} }}
secrets {{ ike {{ secret = "{SECRET}" }} }}
"""


@pytest.fixture
def file() -> Path:
    path = Path("report.txt")
    path.unlink(missing_ok=True)
    return path


def written(story: Story, file: Path, *words: str) -> str:
    """What stands in the file; what is printed is kept in `story.said`."""
    told = story.command("report", str(file), "--config", FILE, *words)
    assert told.startswith(f"wrote {file}, ")
    return file.read_text()


def test_a_report_has_what_one_asks_for_first(story: Story, file: Path) -> None:
    """Versions, the status of each tunnel, its history, and what the host has."""
    story.settings('[connection.gw]\nmtu = 1400\nup = "curl --token SOMETHING1"')
    story.up(**SITE)
    text = written(story, file)
    sections = [line[6:-6] for line in text.splitlines() if line.startswith("===== ")]
    assert sections[:6] == [
        "versions",
        "vti-updown status",
        "vti-updown status, every tunnel",
        "vti-updown history",
        "vti-updown check-config",
        FILE,
    ]
    assert set(report.COMMANDS) <= set(sections)
    for part in ("vti-updown 0.", "gw: ", "up-client", "mtu = 1400"):
        assert part in text


def test_a_report_has_no_secret(
    story: Story,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Neither of charon's configuration nor of our own."""
    conf = tmp_path / "swanctl.conf"
    conf.write_text(CONF)
    hidden = tmp_path / "ipsec.secrets"
    hidden.write_text(f": PSK {SECRET}")
    monkeypatch.setattr(report, "CONFIGURATION", (str(conf), str(hidden)))
    story.settings(f'[connection.gw]\nup = "curl --token={SECRET} https://example.org"')
    told = story.command("report", str(file), "--config", FILE)
    text = file.read_text()
    assert SECRET not in text + told
    assert "updown = /usr/local/sbin/vti-updown" in text and "ipsec.secrets" not in text
    assert "secrets { (left out) }" in text
    assert "are left out, in " in told


def test_a_link_of_a_container_leads_to_none_of_our_files(tmp_path: Path) -> None:
    """Its root is where an absolute link begins, and what is named so holds secrets."""
    etc = tmp_path / "root/etc"
    etc.mkdir(parents=True)
    (etc / "ours.conf").symlink_to("/etc/shadow")
    (etc / "psk.conf").symlink_to("ipsec.secrets")
    root = str(tmp_path / "root")
    assert report._files(root, "/etc/*.conf") == [f"{root}/etc/shadow"]


def test_nobody_else_may_read_it_and_it_takes_no_files_place(story: Story, file: Path) -> None:
    """It has names and addresses of the host."""
    written(story, file)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    before = file.read_text()
    told = story.command("report", str(file), "--config", FILE)
    assert told == (
        "error: cannot write report.txt: File exists; name another file: vti-updown report FILE"
        "\nexit status: 1"
    )
    assert file.read_text() == before


def test_a_section_that_cannot_be_had_stops_no_other(story: Story, file: Path) -> None:
    """Wrong settings are a section, too."""
    story.settings("[connection.gw]\nmtu = 'x'")
    text = written(story, file)
    assert "===== ip rule show =====" in text
    assert "could not look: " in text


def test_a_report_is_one_file(story: Story) -> None:
    told = story.command("report", "a", "b")
    assert told == "error: a report is one file; name one, or none\nexit status: 2"
