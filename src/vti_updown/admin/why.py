"""Why a tunnel went down, as far as charon's log tells. It never guesses.

charon runs the hook in the thread that ends a CHILD_SA, and waits for it. So the hook's own line in
the log has the number of that thread, and the lines of this thread right before it say what ended
the CHILD_SA. If the log lacks the hook's line, only those count that name the unique ID of the
IKE_SA.

The messages are those of strongSwan 5.9.8 and 6.0, src/libcharon/sa: task_manager_v1.c,
task_manager_v2.c, ike_delete.c, child_delete.c, isakmp_delete.c, quick_delete.c, ike_sa.c and
ike_sa_manager.c; and dpd_timeout_job.c, inactivity_job.c, charon.c and charon-systemd.c.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from ..named_tuple import NamedTuple
from ..records.past import Past
from .charon_log import BEFORE_SECONDS, BEHIND_SECONDS, Log, LogLine

SAME_MOMENT = 1.6
"""Seconds between two lines of one piece of work, as far as whole seconds tell."""
HOOK_SECONDS = 60.0
"""How long a busy host may take to start the hook, or to run the one before it in the same piece of
work. The thread does nothing else meanwhile.
"""
MAIN_THREAD = "00"
"""charon's own. From its end on, it does nothing else."""
HOOK = "updown: "
NEXT_MESSAGE = ("received packet:", "parsed ")
"""With these a thread begins with a message of the peer's, and so with other work."""


class Cause(NamedTuple):
    """Why a tunnel went down."""

    words: str
    line: LogLine
    """What says so."""


class Sign(NamedTuple):
    """A message that tells why."""

    pattern: re.Pattern[str]
    """Its group `id` is the unique ID of the IKE_SA, and `child` the CHILD_SA's name."""
    words: str
    is_anybodys: bool = False
    """Whether it stands for itself, whatever IKE_SA the line is of."""

    def tells_of(
        self,
        line: LogLine,
        event: Past,
    ) -> bool:
        """Whether the line is this sign, and not that of another IKE_SA or CHILD_SA."""
        found = self.pattern.search(line.message)
        if found is None:
            return False
        if self.is_anybodys:
            return True
        if line.sa not in (None, event.unique_id):
            return False
        named = found.groupdict()
        if named.get("id") not in (None, str(event.unique_id)):
            return False
        return named.get("child") in (None, event.tunnel.connection)


def _sign(
    pattern: str,
    words: str,
    is_anybodys: bool = False,
) -> Sign:
    return Sign(re.compile(pattern), words, is_anybodys)


SIGNS = (
    _sign(r"^SIG(TERM|INT) received, shutting down", "charon was stopped", True),
    _sign(r"^giving up after \d+ retransmits", "the peer did not answer"),
    _sign(r"^DPD check timed out, enforcing DPD action", "the peer did not answer"),
    _sign(r"^giving up after \d+ path probings", "there was no path to the peer"),
    _sign(r"^received DELETE for IKE_SA .*\[(?P<id>\d+)\]", "the peer deleted the IKE_SA"),
    _sign(r"^received \S+ notify error, destroying IKE_SA", "the peer refused"),
    _sign(r"^reauthenticating IKE_SA .*\[(?P<id>\d+)\]", "the IKE_SA was reauthenticated"),
    _sign(r"^destroying duplicate IKE_SA for peer", "the peer came anew"),
    _sign(r"^deleting duplicate IKE_SA for peer", "the peer came anew"),
    _sign(r"^deleting (IKE|CHILD)_SA after \d+ seconds of .*inactivity", "nothing passed for long"),
    _sign(r"^closing expired CHILD_SA (?P<child>.*)\{\d+\}", "the CHILD_SA's lifetime was over"),
    _sign(r"^destroying IKE_SA in state \S+ without", "this side dropped the IKE_SA"),
)
"""What says why, the weightiest first."""
PEER_CLOSES = re.compile(r"^received DELETE for (ESP|AH) CHILD_SA with SPI")
CLOSES_CHILD = re.compile(r"^closing CHILD_SA (?P<child>.*)\{\d+\} with SPIs")
SENDS_DELETE = re.compile(r"^(sending DELETE for|deleting) IKE_SA .*\[(?P<id>\d+)\]")
ENDED = re.compile(r"^(IKE_SA deleted|CHILD_SA .*closed|sending DELETE for)")
ASKED_FOR = re.compile(r"^(vici|received stroke:) terminate ")


class _Told:
    """The lines of a log, and what they tell of an event."""

    def __init__(self, log: Log) -> None:
        self._lines = log.lines
        self._times = [line.time for line in log.lines]

    def of(self, event: Past) -> Cause | None:
        """Why this `down` came. None if the log does not tell."""
        own = self._own_line(event)
        if own is not None:
            work = self._work_before(own, event)
            return self._told_by(work, event) or self._by_this_side(work, event)
        named = [line for line in self._shortly_before(event) if _names(line, event)]
        return self._told_by(named, event)

    def _between(
        self,
        begin: float,
        end: float,
    ) -> Sequence[tuple[int, LogLine]]:
        first = bisect_left(self._times, begin)
        last = bisect_left(self._times, end)
        return [(place, self._lines[place]) for place in range(first, last)]

    def _own_line(self, event: Past) -> int | None:
        """The place of the first line that the hook has printed for the event.

        What is said of an event that had to wait comes from the hook of another one.
        """
        if event.late is not None:
            return None
        first, _, _ = event.said.partition("\n")
        said = HOOK + first
        for place, line in self._between(event.called - 1, event.called + BEHIND_SECONDS):
            if line.message == said:
                return place
        return None

    def _work_before(
        self,
        own: int,
        event: Past,
    ) -> list[LogLine]:
        """The lines of the work that the hook was called in, the latest first."""
        thread = self._lines[own].thread
        since = event.called - HOOK_SECONDS
        work = []
        for place in range(own - 1, -1, -1):
            line = self._lines[place]
            if line.time < event.called - BEFORE_SECONDS:
                break
            if line.thread != thread:
                continue
            if line.time < since and thread != MAIN_THREAD:
                break
            work.append(line)
            if line.message.startswith(NEXT_MESSAGE):
                break
            is_hooks = line.message.startswith(HOOK)
            since = line.time - (HOOK_SECONDS if is_hooks else SAME_MOMENT)
        return work

    def _shortly_before(self, event: Past) -> list[LogLine]:
        found = self._between(
            event.called - HOOK_SECONDS,
            event.called + 1,
        )
        return [line for _, line in reversed(found)]

    def _told_by(
        self,
        work: Sequence[LogLine],
        event: Past,
    ) -> Cause | None:
        for sign in SIGNS:
            for line in work:
                if sign.tells_of(line, event):
                    return Cause(sign.words, line)
        return _closed_by_peer(work, event)

    def _by_this_side(
        self,
        work: Sequence[LogLine],
        event: Past,
    ) -> Cause | None:
        """What began an exchange whose end the work is: a DELETE that this side has sent."""
        if not any(ENDED.match(line.message) for line in work):
            return None
        earlier = self._between(
            event.called - BEFORE_SECONDS,
            event.called + 1,
        )
        for place, line in reversed(earlier):
            if _begins_delete(line, event):
                return self._asked_for(place, event)
        return None

    def _asked_for(
        self,
        place: int,
        event: Past,
    ) -> Cause:
        """Who asked for the DELETE whose line is there, if that stands right before it."""
        line = self._lines[place]
        before = self._between(
            line.time - SAME_MOMENT,
            line.time + 0.1,
        )
        for number, earlier in reversed(before):
            if number > place:
                continue
            if earlier.thread == line.thread:
                told = self._told_by([earlier], event)
                if told is not None:
                    return told
            if ASKED_FOR.match(earlier.message):
                return Cause("somebody on this side asked for it", earlier)
        return Cause("this side deleted it", line)


def _names(line: LogLine, event: Past) -> bool:
    """Whether a line says by itself which IKE_SA it is of, and it is the event's."""
    if line.sa is not None:
        return line.sa == event.unique_id
    return f"[{event.unique_id}]" in line.message


def _closed_by_peer(work: Sequence[LogLine], event: Past) -> Cause | None:
    """The peer has asked for it if its DELETE comes before this side closes the CHILD_SA.

    The answer to a DELETE of this side's has one, too, and comes behind.
    """
    is_closed = False
    for line in work:
        closes = CLOSES_CHILD.match(line.message)
        if closes is not None and closes["child"] == event.tunnel.connection:
            is_closed = True
        if is_closed and PEER_CLOSES.match(line.message):
            return Cause("the peer deleted the CHILD_SA", line)
    return None


def _begins_delete(line: LogLine, event: Past) -> bool:
    """Whether this side begins to delete the event's IKE_SA or CHILD_SA here."""
    deletes = SENDS_DELETE.match(line.message)
    if deletes is not None:
        return deletes["id"] == str(event.unique_id)
    closes = CLOSES_CHILD.match(line.message)
    return closes is not None and closes["child"] == event.tunnel.connection


def causes(log: Log, events: Iterable[Past]) -> dict[int, Cause]:
    """Why each of these events came, by its number, as far as the log tells."""
    told = _Told(log)
    found = {}
    for event in events:
        cause = told.of(event)
        if cause is not None:
            found[event.number] = cause
    return found
