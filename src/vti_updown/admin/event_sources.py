"""Where `explain` has its events from: an environment, a saved one, or what is known of a name."""

import os
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from ..constants import UINT32_MAX
from ..event import Event, Mark, Selector, parse
from ..named_tuple import NamedTuple
from ..settings.choose import settings_by_name
from ..settings.table import FlagWords, Settings, SettingsError
from ..text import Refusal, shown

FILE_BYTES = 1 << 20
"""No environment is larger (ARG_MAX leaves less)."""
STDIN = "-"
DIRECTIONS = ("up", "down")
EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}
HINT = "name a connection, give --event FILE, or set PLUTO_VERB and its like"


class Told(NamedTuple):
    """Events to explain."""

    events: Sequence[Event]
    source: str
    """Where they are from, in words."""
    notes: Sequence[str] = ()
    """What is not known of them."""


# An environment


def from_environment(environ: Mapping[str, str], source: str = "the environment") -> Told:
    """The one event of an environment, which may have been saved. Raises EventError."""
    if "PLUTO_VERB" not in environ:
        raise Refusal(f"{source} has no PLUTO_VERB, so there is no event", HINT)
    return Told([parse(environ)], source)


def from_file(path: str) -> Told:
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
    return from_environment(environ, source)


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


# The settings of a connection that is asleep


def direction(words: Sequence[str]) -> tuple[str, bool]:
    """The connection and whether its `up` is meant, of the words behind the command."""
    name, *rest = words
    wanted = rest or ["up"]
    if len(wanted) > 1 or wanted[0] not in DIRECTIONS:
        what = f"{shown(' '.join(rest))} behind the connection's name is neither up nor down"
        raise Refusal(what, "write: vti-updown explain CONNECTION [up|down]")
    return name, wanted[0] == "up"


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
        what = f"[connection.{shown(name)}] lacks {' and '.join(missing)}, and charon has no such SA"
        raise Refusal(what, f"bring {shown(name)} up, or add what lacks to the settings")
    families = _families(settings)
    events = [_asleep(name, settings, family, is_up) for family in families]
    notes = ["no CHILD_SA of this name is up: endpoints, selectors and IDs are not known"]
    if settings.routes is None:
        notes.append("routes = auto is known only once the CHILD_SA is up; list them")
    source = f"the settings, [connection.{shown(name)}]"
    return Told(events, source, notes)


def _unknown(name: str, settings: Settings | None) -> Refusal:
    what = f"nothing is known of {shown(name)}: charon has no such CHILD_SA, and"
    if settings is None:
        what = f"{what} the settings have no table [connection.{shown(name)}]"
    else:
        what = f"{what} its settings have neither mark nor if_id"
    return Refusal(what, "bring it up, or add mark or if_id, local and remote to the settings")


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
    network = ip_network(EVERYTHING[family])
    everything = Selector(network, protocol=0, port="0")
    mark_in, mark_out = settings.mark or (None, None)
    if_id_in, if_id_out = settings.if_id or (None, None)
    verb = "up-client" if is_up else "down-client"
    if family == 6:
        verb += "-v6"
    return Event(
        verb=verb,
        up=is_up,
        family=family,
        connection=name,
        unique_id=0,
        me=settings.local,
        peer=settings.remote,
        my_id="",
        peer_id="",
        my_selector=everything,
        peer_selector=everything,
        virtual_ips=(),
        mark_in=_whole_mark(mark_in),
        mark_out=_whole_mark(mark_out),
        if_id_in=if_id_in,
        if_id_out=if_id_out,
    )


def _whole_mark(value: int | None) -> Mark | None:
    if value is None:
        return None
    return Mark(value, UINT32_MAX)
