"""Where `explain` has its events from: an environment, a saved one, or what is known of a name."""

import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ..event import Event, parse
from ..named_tuple import NamedTuple
from ..records.past import Past
from ..settings.choose import settings_by_name
from ..settings.table import FlagWords, Settings, SettingsError
from ..text import Refusal, shown
from . import charon_files
from .history import recorded
from .live import live
from .standing import event_asleep
from .updown_line import with_updown_line

FILE_BYTES = 1 << 20
"""No environment is larger (ARG_MAX leaves less)."""
ENVIRONMENT = "the environment"
STDIN = "-"
DIRECTIONS = ("up", "down")
EVENTS = 16
"""As many events of a connection are explained."""
NO_FLAGS: FlagWords = MappingProxyType({})
NO_RECORDS = (
    "the records are for root alone, so this is what is found without them:"
    " nobody knows who else has a tunnel; run it as root"
)
HINT = "name a connection, give --event FILE, or set PLUTO_VERB and its like"


class Told(NamedTuple):
    """Events to explain."""

    events: Sequence[Event]
    source: str
    """Where they are from, in words."""
    notes: Sequence[str] = ()
    """What is not known of them."""
    flags: FlagWords = NO_FLAGS
    """Those by which the events are explained."""


# An environment


def from_environment(
    environ: Mapping[str, str],
    flags: FlagWords,
    source: str = ENVIRONMENT,
) -> Told:
    """The one event of an environment, which may have been saved. Raises EventError."""
    if "PLUTO_VERB" not in environ:
        raise Refusal(f"{source} has no PLUTO_VERB, so there is no event", HINT)
    return Told([parse(environ)], source, flags=flags)


def from_file(path: str, flags: FlagWords) -> Told:
    """The event of a saved environment, with lines as `env` prints them. `-` is standard input.

    Raises Refusal if it cannot be read, or tells of no event.
    """
    source = "standard input"
    if path != STDIN:
        source = shown(path)
    text = _contents(path, source)
    environ = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.startswith("PLUTO_"):
            environ[name] = value
    told = from_environment(environ, flags, source)
    (event,) = told.events
    updown = with_updown_line(flags, event.connection, charon_files.of_charons([]))
    return told._replace(flags=updown.flags, notes=updown.notes)


def _contents(path: str, source: str) -> str:
    try:
        if path == STDIN:
            data = sys.stdin.buffer.read(FILE_BYTES)
        else:
            with open(path, "rb") as file:
                data = file.read(FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        what = f"{source} cannot be read: {shown(reason)}"
        raise Refusal(what, "save it by env >FILE in an up command") from None
    return data.decode("utf-8", "surrogateescape")


# A connection by its name


def from_name(words: Sequence[str], flags: FlagWords) -> Told:
    """What charon tells of a connection's CHILD_SAs.

    Without one, it is its last event on record, and without that, what its settings know. `words`
    are the name, and perhaps `up` or `down`. Raises Refusal if none of them knows enough.
    """
    name, is_up = direction(words)
    told = live(name, is_up)
    line = with_updown_line(flags, name, charon_files.of_charons(told.answers))
    notes = [*told.notes, *line.notes]
    if not told.environments:
        asleep = from_history(name, is_up, line.flags) or from_settings(name, is_up, line.flags)
        return asleep._replace(notes=[*notes, *asleep.notes])
    shown_ones = told.environments[:EVENTS]
    more = len(told.environments) - len(shown_ones)
    if more:
        notes.append(
            f"only {EVENTS} of its pairs of traffic selectors are explained, and {more} not"
        )
    events = [parse(environ) for environ in shown_ones]
    source = f"what {told.charon} tells of its live CHILD_SAs"
    return Told(events, source, notes, line.flags)


def direction(words: Sequence[str]) -> tuple[str, bool]:
    """The connection and whether its `up` is meant, of the words behind the command."""
    name, *rest = words
    wanted = rest or ["up"]
    if len(wanted) > 1 or wanted[0] not in DIRECTIONS:
        what = f"{shown(' '.join(rest))} behind the connection's name is neither up nor down"
        raise Refusal(what, "write: vti-updown explain CONNECTION [up|down]")
    return name, wanted[0] == "up"


def from_history(
    name: str,
    is_up: bool,
    flags: FlagWords,
) -> Told | None:
    """The last events of a connection of which the environment is kept. None if there is none.

    A CHILD_SA has one for each pair of selectors.
    """
    kept = _kept(name, is_up)
    if not kept:
        return None
    last = kept[-1]
    same = [event for event in kept if event.unique_id == last.unique_id][-EVENTS:]
    events = [parse(event.environ or {}) for event in same]
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last.called))
    notes = ["no CHILD_SA of this name is up: this is what was told the last time"]
    return Told(events, f"the history, {moment}", notes, flags)


def _kept(name: str, is_up: bool) -> list[Past]:
    """The events of a connection with their environments, the oldest first.

    There are none for somebody who may not read them.
    """
    verb = "up" if is_up else "down"
    try:
        stories = recorded()
    except Refusal:
        return []
    kept = []
    for story in stories:
        if story.tunnel.connection == name:
            kept += [each for each in story.events if each.environ and each.verb.startswith(verb)]
    return sorted(kept, key=lambda event: event.number)


def from_settings(
    name: str,
    is_up: bool,
    flags: FlagWords,
) -> Told:
    """What an event of this connection would say, as far as its table of the settings knows.

    Raises Refusal if that is not enough for a link.
    """
    settings = settings_by_name(flags).get(name)
    if isinstance(settings, SettingsError):
        raise settings
    if settings is None or not (settings.mark or settings.if_id):
        raise _unknown(name, settings)
    missing = []
    for side in ("local", "remote"):
        if getattr(settings, side) is None and not settings.if_id:
            missing.append(side)
    if missing:
        what = (
            f"charon has no CHILD_SA {shown(name)}, and its settings lack {' and '.join(missing)}"
        )
        raise Refusal(what, "bring it up, or add what is missing to the settings")
    families = _families(settings)
    events = [_asleep(name, settings, family, is_up) for family in families]
    notes = ["no CHILD_SA of this name is up: its selectors, virtual IPs and IDs are not known"]
    if settings.routes is None:
        notes.append("routes = auto is known only once the CHILD_SA is up; list them")
    source = f"the settings, [connection.{shown(name)}]"
    # Its table may match by what only a CHILD_SA would tell.
    return Told(events, source, notes, {"settings": [name], **flags})


def _unknown(name: str, settings: Settings | None) -> Refusal:
    hint = "bring it up, or add mark or if_id, local and remote to the settings"
    if settings is None:
        what = (
            f"nothing is known of {shown(name)}: charon has no such CHILD_SA,"
            f" and the settings have no table [connection.{shown(name)}]"
        )
        return Refusal(what, hint)
    what = (
        f"nothing is known of {shown(name)}: charon has no such CHILD_SA,"
        " and its settings have neither mark nor if_id"
    )
    return Refusal(what, hint)


def _families(settings: Settings) -> list[int]:
    """The families that the settings tell something of."""
    families = {route.network.version for route in settings.routes or ()}
    families |= {each.address.version for each in settings.address or ()}
    return sorted(families or {4})


def _asleep(
    name: str,
    settings: Settings,
    family: int,
    is_up: bool,
) -> Event:
    """What the hook would be told. Mark and if_id are left to the settings, which say them."""
    verb = "down-client"
    if is_up:
        verb = "up-client"
    if family == 6:
        verb += "-v6"
    event = event_asleep(name, settings, family)
    return event._replace(
        verb=verb,
        up=is_up,
        mark_in=None,
        mark_out=None,
        if_id_in=None,
        if_id_out=None,
    )
