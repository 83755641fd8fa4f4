"""The flags of one call of the hook, and the settings that they make of the file."""

import os
from collections.abc import Mapping, Sequence

from ..named_tuple import NamedTuple
from ..settings.table import Settings, SettingsError, read_flags

TYPE_CHECKING = False  # The one of typing is not worth its import here.
if TYPE_CHECKING:
    from ..event import Event


class FlagsGiven(NamedTuple):
    """The flags of a call."""

    flags: Mapping[str, Sequence[str]]
    wrong: SettingsError | None = None
    """An `up` fails by it. A `down` is done first: charon never asks for it again."""

    def load_settings(self, event: "Event") -> Settings:
        if self.wrong is not None:
            raise self.wrong
        from ..settings.choose import settings_for  # a `down` does without

        return settings_for(self.flags, event)


def flags_given(words: Sequence[str], folder: str = "") -> FlagsGiven:
    """The flags of a command line, which was given in `folder`.

    If a word is wrong, a dry run is one still.
    """
    try:
        flags = read_flags(words)
    except SettingsError as error:
        flags = {}
        if "--dry-run" in words:
            flags["dry-run"] = []
        return FlagsGiven(flags, error)
    if "config" in flags:
        (file,) = flags["config"]
        flags["config"] = [os.path.join(folder, file)]
    return FlagsGiven(flags)
