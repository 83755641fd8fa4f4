"""`history`: what happened to each tunnel, when it was down, and why, as far as that is known.

It changes nothing. It looks at a copy of the records, and holds no lock while it reads the log of
charon.
"""

import json
import os
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime

from .. import processes
from ..kernel.kernel import Kernel
from ..named_tuple import NamedTuple
from ..records.history import STALE
from ..records.late import LateEvents
from ..records.past import Past, everything, waiting
from ..records.records import snapshot
from ..records.storage import DIRECTORY
from ..text import Refusal, shown
from .charon_log import read_log
from .outcome import Outcome
from .screen import COLUMNS
from .story import Outage, Story, stories
from .why import Cause, causes

INDENT = "    "
NO_BREAK = "\N{NO-BREAK SPACE}"
"""No line ends between a date and its time."""
SCHEMA_VERSION = 1
"""Of what `--json` prints. See docs/history.md."""
LONGEST = 1000
"""As many characters of what others chose as are shown. The records keep fewer."""
NO_CAUSE = "the log does not tell"


class _Answer(NamedTuple):
    """What is shown."""

    stories: Sequence[Story]
    causes: Mapping[int, Cause]
    """Why an event came, by its number."""
    notes: Sequence[str]
    now: float


def history(
    names: Sequence[str],
    log_file: str | None,
    is_json: bool,
) -> Outcome:
    """Every tunnel in a line or, of those that are named, all that is kept.

    Raises Refusal if a name is unknown, the records or the log file cannot be read.
    """
    told = recorded()
    chosen = told
    if names:
        chosen = _named(names, told)
    answer = _Answer(chosen, {}, [], time.time())
    if names or log_file is not None:
        answer = _with_causes(answer, log_file)
    if is_json:
        return Outcome([json.dumps(_as_json(answer), indent=2, ensure_ascii=False)])
    if not told:
        return Outcome(["no event is kept; the history begins with the next one"])
    lines: list[str] = []
    for story in answer.stories:
        lines += _summary(story, answer.now)
        if names:
            lines += ["", *_events(story, answer), ""]
    for note in answer.notes:
        lines += _wrapped(note, "# ")
    while lines and not lines[-1]:
        lines.pop()
    return Outcome(lines)


def recorded() -> list[Story]:
    """What is on record in this network namespace. Raises Refusal if it may not be read."""
    if os.path.isdir(DIRECTORY) and not os.access(DIRECTORY, os.R_OK | os.X_OK):
        raise Refusal(f"cannot read {DIRECTORY}: permission denied", "run it again, as root", 1)
    with closing(Kernel()) as kernel:
        namespace = kernel.identity()
    with closing(snapshot(namespace)) as records:
        events = everything(records.database)
    return stories([*events, *waiting(LateEvents(namespace))])


def _named(names: Iterable[str], told: Iterable[Story]) -> list[Story]:
    """The tunnels of these names: a connection, or who the peer is. Raises Refusal."""
    chosen: list[Story] = []
    for name in names:
        meant = [story for story in told if name in story.tunnel]
        if not name or not meant:
            raise _unknown(name, told)
        chosen += [story for story in meant if story not in chosen]
    return chosen


def _unknown(name: str, told: Iterable[Story]) -> Refusal:
    known = sorted({shown(story.tunnel.connection) for story in told})
    there = ", ".join(known[:10])
    if len(known) > 10:
        there = f"{there} and {len(known) - 10} more"
    return Refusal(
        f"no history of {shown(name)}",
        f"there is one of: {there or 'nothing yet'}",
    )


def _with_causes(answer: _Answer, log_file: str | None) -> _Answer:
    """With why each `down` came. Raises Refusal if the file cannot be read."""
    downs = []
    for story in answer.stories:
        downs += [event for event in story.events if _has_cause(event)]
    if not downs:
        return answer
    log = read_log(log_file, [event.called for event in downs])
    return answer._replace(
        causes=causes(log, downs),
        notes=log.notes,
    )


def _has_cause(event: Past) -> bool:
    """Whether charon's log may tell why it came."""
    return event.is_down and event.is_event and not event.waits


# In lines


def _summary(story: Story, now: float) -> list[str]:
    """`NAME: up since …; 2 outages since …, the longest 3 min`."""
    text = f"{_name(story)}: {_state(story)}"
    outages = story.outages
    first = _local(story.events[0].called)
    kept = f"since {first}" if story.is_whole else f"in the last {len(story.events)} events"
    if not outages:
        text += f"; no outage {kept}"
    else:
        longest = max(outage.seconds(now) for outage in outages)
        number = "1 outage" if len(outages) == 1 else f"{len(outages)} outages"
        text += f"; {number} {kept}, the longest {_duration(longest)}"
    return _wrapped(text, "", INDENT)


def _name(story: Story) -> str:
    """The connection, and who the peer is."""
    tunnel = story.tunnel
    peer = tunnel.xauth_id or tunnel.peer_id
    connection = shown(tunnel.connection, 200)
    if peer:
        return f"{connection} ({shown(peer, 200)})"
    return connection


def _state(story: Story) -> str:
    if story.is_up is None:
        return "not known to be up"
    state = "down"
    if story.is_up:
        state = "up"
    if story.since is None:
        return f"{state}, longer than the events that are kept"
    return f"{state} since {_local(story.since)}"


def _events(story: Story, answer: _Answer) -> list[str]:
    outages = {outage.down.number: outage for outage in story.outages}
    lines: list[str] = []
    for event in story.events:
        outage = outages.get(event.number)
        lines += _event(event, outage, answer)
    return lines


def _event(
    event: Past,
    outage: Outage | None,
    answer: _Answer,
) -> list[str]:
    """One event: a line with time, verb, duration and result, and what there is to say of it."""
    took = "" if event.seconds is None else _duration(event.seconds)
    verb = shown(event.verb, 14)
    head = f"{_local(event.called)}  {verb:14} {took:>8}  {_result(event, outage, answer.now)}"
    lines = _wrapped(head, "", INDENT)
    if event.late is not None:
        lines += _detail(f"it waited for the records, and was begun at {_local(event.late)}")
    if _has_cause(event):
        lines += _why(event, answer)
    if event.status:
        for said in event.said.splitlines():
            lines += _detail(shown(said, LONGEST))
    elif event.changed:
        lines += _detail(shown(event.changed, LONGEST))
    else:
        first, _, _ = event.said.partition("\n")
        lines += _detail(shown(first, LONGEST))
    return lines


def _result(
    event: Past,
    outage: Outage | None,
    now: float,
) -> str:
    """What came of an event, in few words."""
    if event.waits:
        return "waits for the records"
    if event.is_up is None:
        return "died, or runs still"
    if event.status and event.is_event:
        return f"failed (exit status {event.status})"
    if outage is not None:
        seconds = _duration(outage.seconds(now))
        return f"down, for {seconds}" if outage.up is not None else f"down, {seconds} so far"
    if not event.is_event:
        return "failed" if event.status else "done"
    still = "still "
    if event.was_up != event.is_up:
        still = ""
    return f"{still}up" if event.is_up else f"{still}down"


def _why(event: Past, answer: _Answer) -> list[str]:
    cause = answer.causes.get(event.number)
    if cause is not None:
        log = f"{_local(cause.line.time)} {shown(cause.line.message, 200)}"
        return [
            *_detail(f"why: {cause.words}"),
            *_detail(f"log: {log}"),
        ]
    ended = ""
    if event.charon and processes.gone(event.charon):
        pid, _, _ = event.charon.partition("@")
        ended = f"; its charon (PID {pid}) has ended since"
    return _detail(f"why: {NO_CAUSE}{ended}")


def _detail(text: str) -> list[str]:
    if text:
        return _wrapped(text, INDENT, INDENT + "  ")
    return []


def _wrapped(
    text: str,
    first: str,
    further: str | None = None,
) -> list[str]:
    """The text in lines of 80 columns. A word that is longer has a line of its own."""
    lines = textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=first,
        subsequent_indent=first if further is None else further,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(NO_BREAK, " ") for line in lines]


def _local(moment: float) -> str:
    """A time as this host's clock shows it, with its distance from UTC (ISO 8601, RFC 3339)."""
    text = datetime.fromtimestamp(moment).astimezone().isoformat(timespec="seconds")
    return text.replace("T", NO_BREAK)


def _duration(seconds: float) -> str:
    """Two units at most."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, unit, smaller, less in UNITS:
        if whole >= size:
            rest = whole % size // smaller
            if rest:
                return f"{whole // size} {unit} {rest} {less}"
            return f"{whole // size} {unit}"
    return f"{whole} s"


UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


# As JSON


def _as_json(answer: _Answer) -> dict[str, object]:
    return {
        "version": SCHEMA_VERSION,
        "tunnels": [_story_as_json(story, answer) for story in answer.stories],
        "notes": list(answer.notes),
    }


def _story_as_json(story: Story, answer: _Answer) -> dict[str, object]:
    return {
        **story.tunnel._asdict(),
        "is_up": story.is_up,
        "since": None if story.since is None else _utc(story.since),
        "is_whole": story.is_whole,
        "outages": [_outage_as_json(outage, answer) for outage in story.outages],
        "events": [_event_as_json(event, answer) for event in story.events],
    }


def _outage_as_json(outage: Outage, answer: _Answer) -> dict[str, object]:
    return {
        "from": _utc(outage.down.called),
        "until": None if outage.up is None else _utc(outage.up.called),
        "seconds": round(outage.seconds(answer.now), 3),
        "began_with": outage.down.verb,
        **_cause_as_json(outage.down, answer),
    }


def _event_as_json(event: Past, answer: _Answer) -> dict[str, object]:
    return {
        "called": _utc(event.called),
        "begun_late": None if event.late is None else _utc(event.late),
        "verb": event.verb,
        "unique_id": event.unique_id,
        "charon": event.charon,
        "waits": event.waits,
        "was_up": event.was_up,
        "is_up": event.is_up,
        "seconds": None if event.seconds is None else round(event.seconds, 6),
        "status": event.status,
        "said": event.said.splitlines(),
        "changed": event.changed,
        **_cause_as_json(event, answer),
        "environment": event.environ,
    }


def _cause_as_json(event: Past, answer: _Answer) -> dict[str, object]:
    cause = answer.causes.get(event.number)
    if cause is not None:
        return {"why": cause.words, "log": cause.line.message}
    return {
        "why": event.said if event.verb == STALE else None,
        "log": None,
    }


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
