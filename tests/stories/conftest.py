"""Every story has a host of its own; all of them have one folder, which is empty but for the file
of settings.
"""

from pathlib import Path

import pytest

from .story import FILE, Story


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the file of settings is. Nobody else may write it, or the product refuses it."""
    made = tmp_path_factory.mktemp("stories")
    (made / FILE).touch()
    (made / FILE).chmod(0o600)
    return made


@pytest.fixture
def story(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Story:
    """A host with nothing on it.

    Messages show the short name of the file of settings, since this is the folder.
    """
    monkeypatch.chdir(folder)
    return Story(folder, monkeypatch, capfd)
