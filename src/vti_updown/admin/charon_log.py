"""The lines that charon has logged, from a file of its own, of syslog, or from the journal.

It knows how a line looks, and not what it means. strongSwan writes `THREAD[GROUP] MESSAGE`, or
with `ike_name = yes` `THREAD[GROUP] <NAME|ID> MESSAGE` (file_logger.c, sys_logger.c).
charon-systemd gives the journal thread and ID as fields of their own (charon-systemd.c).
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from ..named_tuple import NamedTuple
from ..text import Refusal, shown

FILE_BYTES = 64 << 20
"""As much of the end of a file as is read."""
SECONDS = 5.0
"""How long the journal is asked, in all."""
BEFORE_SECONDS = 240.0
"""How long before an event the lines begin that may tell why.

For so long a DELETE is sent again that nobody answers.
"""
BEHIND_SECONDS = 90.0
"""How long behind its beginning an event has said its lines, with a command of the user's."""
JOURNAL = "the journal"
IDENTIFIERS = ("charon", "charon-systemd", "ipsec", "ipsec_starter")
LINE = re.compile(
    r"(?P<before>.*?)(?P<thread>\d{2,})\[[A-Z]{3}\d?\]"
    r"(?: <(?:.*?\|)?(?P<sa>\d+)>)? (?P<message>.*)"
)
DATE = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T ]"
    r"(?P<clock>\d\d:\d\d:\d\d)(?:[.,]\d+)?(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
DAY_OF_YEAR = re.compile(r"(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d)")
CLOCK = re.compile(r"(?P<clock>\d\d:\d\d:\d\d)")
MONTHS = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]
A_DAY = timedelta(days=1)
CLOCKS_MAY_DIFFER = timedelta(hours=2)
"""As much as a later line may show an earlier time: summer time ends, or a clock is set."""

Span = tuple[float, float]
"""From and until, in seconds since the epoch."""


class LogLine(NamedTuple):
    time: float
    """In seconds since the epoch, mostly a whole number."""
    thread: str
    message: str
    sa: int | None = None
    """The unique ID of its IKE_SA, if the log has it."""


class Log(NamedTuple):
    """What was read of it."""

    lines: Sequence[LogLine]
    """In their order."""
    where: str
    """What it is called, for people."""
    notes: Sequence[str] = ()
    """What could not be read."""


def read_log(file: str | None, times: Iterable[float]) -> Log:
    """The log around these times: of a file if one is given, else of the journal.

    Raises Refusal if the file cannot be read.
    """
    spans = _merged(times)
    if file is not None:
        return _of_file(file)
    return _of_journal(spans)


def _merged(times: Iterable[float]) -> list[Span]:
    """The spans around these times, those that overlap as one. The latest comes first."""
    spans: list[Span] = []
    for each in sorted(times, reverse=True):
        begin, end = each - BEFORE_SECONDS, each + BEHIND_SECONDS
        if spans and end >= spans[-1][0]:
            spans[-1] = (begin, spans[-1][1])
        else:
            spans.append((begin, end))
    return spans


# A file


def _of_file(file: str) -> Log:
    try:
        with open(file, "rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            opened.seek(max(0, size - FILE_BYTES))
            text = opened.read().decode("utf-8", "replace")
            changed = os.fstat(opened.fileno()).st_mtime
    except OSError as error:
        what = f"cannot read {shown(file)}: {error.strerror}"
        raise Refusal(
            what, "name the file that charon logs to (filelog in strongswan.conf)"
        ) from None
    notes = []
    if size > FILE_BYTES:
        what = f"only the last {FILE_BYTES >> 20} MiB of {shown(file)} were read"
        notes.append(f"{what}; for events before, name an older file by --charon-log")
    lines = parsed(text.splitlines(), changed)
    if not lines:
        notes.append(
            f"{shown(file)} has no line of charon's with a time; set time_format of filelog"
        )
    return Log(lines, shown(file), notes)


def parsed(texts: Sequence[str], last: float) -> list[LogLine]:
    """The lines of a file. `last` is when it was written to last, in seconds since the epoch.

    What a line does not say of its date is that of the line behind it.
    """
    behind = datetime.fromtimestamp(last)
    lines: list[LogLine] = []
    for text in reversed(texts):
        found = LINE.match(text)
        if found is None:
            continue
        moment = _moment(found["before"], behind)
        if moment is None:
            continue
        behind = moment.astimezone().replace(tzinfo=None)
        sa = _number(found["sa"])
        lines.append(
            LogLine(
                moment.timestamp(),
                found["thread"],
                found["message"],
                sa,
            )
        )
    lines.reverse()
    return lines


def _moment(text: str, behind: datetime) -> datetime | None:
    """The time that a line begins with. `behind` is that of the next line, in local time."""
    whole = DATE.search(text)
    if whole is not None:
        zone = (whole["zone"] or "").replace("Z", "+00:00")
        day = f"{whole['year']}-{whole['month']}-{whole['day']}"
        return _read_moment(f"{day}T{whole['clock']}{zone}")
    of_year = DAY_OF_YEAR.search(text)
    if of_year is not None and of_year["month"] in MONTHS:
        return _of_year(of_year, behind)
    clock = CLOCK.search(text)
    if clock is None:
        return None
    moment = _read_moment(f"{behind:%Y-%m-%d}T{clock['clock']}")
    if moment is not None and moment > behind + CLOCKS_MAY_DIFFER:
        return moment - A_DAY
    return moment


def _of_year(found: re.Match[str], behind: datetime) -> datetime | None:
    month = MONTHS.index(found["month"]) + 1
    day = f"{month:02}-{int(found['day']):02}"
    moment = _read_moment(f"{behind.year}-{day}T{found['clock']}")
    if moment is None or moment > behind + CLOCKS_MAY_DIFFER:
        return _read_moment(f"{behind.year - 1}-{day}T{found['clock']}")
    return moment


def _read_moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


# The journal


def _of_journal(spans: Iterable[Span]) -> Log:
    """Each span is asked for by itself: a journal may have millions of lines."""
    end = time.monotonic() + SECONDS
    read: list[list[LogLine]] = []
    notes: list[str] = []
    for begin, until in spans:
        try:
            read.append(
                _journal(
                    begin,
                    until,
                    end - time.monotonic(),
                )
            )
        except subprocess.TimeoutExpired:
            notes.append(
                f"the journal did not answer within {SECONDS:g} s; name a file by --charon-log"
            )
            break
        except OSError as error:
            notes.append(f"there is no journal ({error.strerror}); name a file by --charon-log")
            break
    lines = [line for span in reversed(read) for line in span]
    if not lines and not notes:
        notes.append(
            "the journal has no line of charon's of that time; name a file by --charon-log"
        )
    return Log(lines, JOURNAL, notes)


def _journal(
    begin: float,
    until: float,
    seconds: float,
) -> list[LogLine]:
    words = ["journalctl", "--quiet", "--no-pager", "--output=json"]
    words += [f"--identifier={name}" for name in IDENTIFIERS]
    words += [
        f"--since=@{begin:.0f}",
        f"--until=@{until:.0f}",
    ]
    asked = subprocess.run(  # noqa: S603 (a program of the host's, with words of ours)
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=max(0.0, seconds),
        check=False,
    )
    lines = []
    for text in asked.stdout.splitlines():
        line = journal_line(text)
        if line is not None:
            lines.append(line)
    return lines


def journal_line(text: str | bytes) -> LogLine | None:
    """A line of `journalctl --output=json`. None if charon has not written it."""
    try:
        entry = json.loads(text)
        moment = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        message = _text(entry["MESSAGE"])
    except (ValueError, KeyError, TypeError):
        return None
    if "THREAD" in entry:
        thread = int(entry["THREAD"])
        return LogLine(
            moment,
            f"{thread:02}",
            message,
            _number(entry.get("IKE_SA_UNIQUE_ID")),
        )
    found = LINE.fullmatch(message)
    if found is None:
        return None
    return LogLine(
        moment,
        found["thread"],
        found["message"],
        _number(found["sa"]),
    )


def _text(message: str | list[int] | None) -> str:
    """A message of the journal. One that is no UTF-8 is a list of its bytes."""
    if isinstance(message, list):
        return bytes(message).decode("utf-8", "replace")
    return message or ""


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    return int(text)
