"""An event, who called, and what it is worked on with."""

from collections.abc import Callable, Mapping, Sequence

from ..event import Event
from ..kernel.kernel import Kernel
from ..named_tuple import NamedTuple
from ..records.matching import Caller
from ..records.records import Records
from ..settings.table import Settings
from .flags import FlagsGiven

LoadSettings = Callable[[Event], Settings]
"""Reads the settings of an event's connection, or raises Refusal.

A `down` needs them only if its `up` is on no record.
"""


class Call(NamedTuple):
    """One call of the hook: the event, and all else that is known before anything is waited for."""

    event: Event
    charon: str
    """Who called. It may be gone by the time that the records are free."""
    flags: FlagsGiven
    environ: Mapping[str, str]
    words: Sequence[str]
    """The command line, of which the flags are made."""
    called: float
    """When charon called, in seconds since the epoch."""
    began: float
    """When this process began with it, on the monotonic clock."""


def plutos(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that charon sets. What else is there may be a secret of somebody's."""
    return {name: value for name, value in environ.items() if name.startswith("PLUTO_")}


class EventContext(NamedTuple):
    """What every part of an event's work has in common."""

    event: Event
    caller: Caller
    """Worked out once, from the event and the charon that called."""
    load_settings: LoadSettings
    records: Records
    kernel: Kernel
