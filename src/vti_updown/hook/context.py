"""An event, who called, and what it is worked on with."""

from collections.abc import Callable

from ..event import Event
from ..kernel.kernel import Kernel
from ..named_tuple import NamedTuple
from ..records.matching import Caller
from ..records.records import Records
from ..settings.table import Settings

LoadSettings = Callable[[Event], Settings]
"""Reads the settings of an event's connection, or raises Refusal.

A `down` needs them only if its `up` is on no record.
"""


class EventContext(NamedTuple):
    """What every part of an event's work has in common."""

    event: Event
    caller: Caller
    """Worked out once, from the event and the charon that called."""
    load_settings: LoadSettings
    records: Records
    kernel: Kernel
