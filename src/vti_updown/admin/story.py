"""A tunnel's history, made of its events: when it was up and down, and how often."""

from collections.abc import Iterable, Sequence

from ..named_tuple import NamedTuple
from ..records.history import KEPT
from ..records.matching import Tunnel
from ..records.past import Past


class Outage(NamedTuple):
    """A time in which no CHILD_SA of a tunnel was up, though one had been before."""

    down: Past
    """The event with which it began."""
    up: Past | None
    """The event that ended it. None if it lasts."""

    def seconds(self, now: float) -> float:
        """How long it lasted, or has lasted by `now`."""
        end = now if self.up is None else self.up.called
        return max(0.0, end - self.down.called)


class Story(NamedTuple):
    """What is known of one tunnel."""

    tunnel: Tunnel
    events: Sequence[Past]
    """The oldest first. Some more than KEPT may be there still, which are not shown."""
    is_whole: bool = True
    """Whether nothing of it was dropped for its age."""

    @property
    def outages(self) -> list[Outage]:
        """A renewal is none: its new CHILD_SA is up before the old one goes."""
        outages: list[Outage] = []
        down: Past | None = None
        for event in self.events:
            if event.begins_outage:
                down = event
            elif event.ends_outage and down is not None:
                outages.append(Outage(down, event))
                down = None
        if down is not None:
            outages.append(Outage(down, None))
        return outages

    @property
    def is_up(self) -> bool | None:
        """Whether it is up. None if no event has ended that says so."""
        for event in reversed(self.events):
            if event.is_up is not None:
                return event.is_up
        return None

    @property
    def since(self) -> float | None:
        """Since when it is up or down. None if that began before the oldest event that is kept."""
        for event in reversed(self.events):
            if event.is_up is not None and event.is_up != event.was_up:
                return event.called
        return None


def stories(events: Iterable[Past]) -> list[Story]:
    """A story for each tunnel, the one with the latest event last.

    What a command did for a connection, whoever the peer is, belongs to each tunnel of that
    connection.
    """
    of_tunnel: dict[Tunnel, list[Past]] = {}
    for event in events:
        of_tunnel.setdefault(event.tunnel, []).append(event)
    told = []
    for tunnel, own in of_tunnel.items():
        anybodys = of_tunnel.get(
            Tunnel(tunnel.connection, "", ""),
            [],
        )
        if own is anybodys:
            continue
        there = {(event.verb, event.called) for event in own}
        more = [event for event in anybodys if (event.verb, event.called) not in there]
        told.append(
            _story(
                tunnel,
                [*own, *more],
            )
        )
    connections = {story.tunnel.connection for story in told}
    for tunnel, own in of_tunnel.items():
        if tunnel.connection not in connections:
            told.append(_story(tunnel, own))
    return sorted(told, key=_latest)


def _story(tunnel: Tunnel, events: Iterable[Past]) -> Story:
    ordered = sorted(events, key=_order)
    return Story(
        tunnel,
        ordered[-KEPT:],
        is_whole=len(ordered) <= KEPT,
    )


def _order(event: Past) -> tuple[bool, int]:
    """What waits comes last, in its own order."""
    return event.waits, abs(event.number)


def _latest(story: Story) -> tuple[bool, int]:
    return _order(story.events[-1])
