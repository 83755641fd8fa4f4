"""What is said of an event: short lines for charon's log, since charon cuts a long one."""

from collections.abc import Iterable

from ..event import Event
from ..named_tuple import NamedTuple
from ..objects.link import Link
from ..objects.object import Object
from ..objects.route import Route
from ..reconcile.reconcile import Result
from ..records.references import STANDING
from ..settings.table import COMMANDS
from ..text import FURTHER, Refusal, fitted, in_head, noted, said, wrapped
from .begin import Change, needs_no_link
from .context import EventContext

MESSAGES = 3
"""What an event says at most, beside warnings. Each is a line, and more if it would be too long."""


class Report(NamedTuple):
    """What is said of an event."""

    lines: list[str]
    status: int = 0
    command: str = ""
    """The user's, to be run at the end, as `user_command` writes it."""
    ifname: str = ""
    """The name of the event's link."""
    error: Exception | None = None
    """Why the event could not be done. It is said before the lines."""
    changed: str = ""
    """What it put (+), changed (~) and took away (-)."""

    def with_warning(self, warning: str, hint: str = "") -> "Report":
        """`hint` is what to do, if the warning does not say so behind its last semicolon."""
        more = noted("warning: ", warning)
        if hint:
            more = said("warning: ", warning, hint)
        return self._replace(lines=self.lines + more)


def failed(error: Exception, lines: Iterable[str] = ()) -> Report:
    """What is said of an event that could not be done."""
    status = 1
    if isinstance(error, Refusal):
        status = error.status
    return Report(list(lines), status, error=error)


class FormerLink(NamedTuple):
    """The link that a reference had before its `down`."""

    link: Link
    is_borrowed: bool


def report_up(
    context: EventContext,
    change: Change,
    result: Result,
    remarks: list[str],
) -> Report:
    """`remarks` is what to tell the user of charon's own routes and look-ups."""
    event = context.event
    wished = context.records.references.wished(change.own)
    links = [wish for wish in wished.values() if isinstance(wish, Link)]
    link, *_ = links
    name = in_head(event.connection)
    ifnames = ", ".join(each.name for each in links)
    apart = link.tells_packets_apart_by
    head = f"{name}: {ifnames} up, {_ends(event, link)}, {apart}"
    items = _summaries(wished.values(), result.foreign)
    first_line = fitted(head, items)
    notes = [
        *remarks,
        *change.notes,
        *result.notes,
        *result.failures,
    ]
    return Report(
        lines=[first_line, *_commands(event, change, result), *_noted(event, notes)],
        command=change.command,
        ifname=link.name,
        changed=result.changed,
    )


def _ends(event: Event, link: Link) -> str:
    """The endpoints of the event, or of a VTI that is for more than one peer or address."""
    is_shared = link.of_kind.family is not None and link.has_any_end
    return link.ends if is_shared else f"{event.me} → {event.peer}"


def _summaries(wishes: Iterable[Object], foreign: frozenset[str]) -> list[str]:
    """What is said of the objects that we put on links."""
    summaries = []
    for wish in wishes:
        if not wish.link_key or wish.key in foreign:
            continue
        if wish.summary:
            summaries.append(wish.summary)
    return summaries


def report_nothing_to_do(event: Event, reason: Refusal) -> Report:
    head = f"{in_head(event.connection)}: "
    return Report(said(head, reason.message, reason.hint))


def report_down(
    context: EventContext,
    change: Change,
    former: FormerLink | None,
    result: Result,
) -> Report:
    """`former` is None if the reference had no link."""
    first = [_said_of_down(context, change, former, result)]
    if not change.own:
        reason = needs_no_link(context)
        if reason is not None:
            first = report_nothing_to_do(context.event, reason).lines
    notes = result.notes + result.failures
    event = context.event
    report = Report(
        lines=[*first, *_commands(event, change, result), *_noted(event, notes)],
        command=change.command,
        changed=result.changed,
    )
    if former is not None:
        report = report._replace(ifname=former.link.name)
    # What could not be done for another connection is that one's.
    if result.failed.isdisjoint(change.own):
        return report
    return report._replace(status=1)


def _said_of_down(
    context: EventContext,
    change: Change,
    former: FormerLink | None,
    result: Result,
) -> str:
    event = context.event
    records = context.records
    name = in_head(event.connection)
    if change.reference is None:
        unique_id = f"unique ID {event.unique_id}"
        return f"{name}: nothing is up for this {event.verb} ({unique_id})"
    if former is None:
        head = f"{name}: its up had failed, nothing to take away"
        return fitted(head, _blocked(context))
    link = former.link
    holders = records.references.holders(link.key)
    others = [holder for holder in holders if holder.charon != STANDING]
    if others:
        return _said_of_held(context, link, len(others), result)
    if holders:
        return f"{name}: {link.name} stays without a CHILD_SA, as when_down says"
    if records.applied.of([link.key]):
        return f"{name}: {link.name} could not be taken away, the next event tries again"
    ended = "down"
    if former.is_borrowed:
        ended = "stays, which was there before"
    head = f"{name}: {link.name} {ended}, {_ends(event, link)}"
    return fitted(head, _blocked(context))


def _said_of_held(
    context: EventContext,
    link: Link,
    holders: int,
    result: Result,
) -> str:
    """What has gone from a link that others hold."""
    wished = context.records.references.wished([link.key])
    held = wished[link.key]
    assert isinstance(held, Link)
    name = in_head(context.event.connection)
    head = f"{name}: {held.name} stays, held by {holders} more"
    removed: list[str] = []
    for step in result.steps:
        gone = step.object
        if step.new is not None or gone.link_key != link.key:
            continue
        if gone.summary:
            removed.append(f"without {gone.summary}")
    return fitted(head, removed)


def report_blocked(context: EventContext) -> list[str]:
    """What is said after the error of an `up` that failed."""
    blocked = _blocked(context)
    if not blocked:
        return []
    name = in_head(context.event.connection)
    return [fitted(f"{name}: as when_down says", blocked)]


def _blocked(context: EventContext) -> list[str]:
    """What stands in the way of packets from now on."""
    references = context.records.references
    standing: list[Object] = []
    for number in references.standing(context.caller):
        standing += references.wishes(number)
    blocked = []
    for wish in standing:
        if isinstance(wish, Route) and wish.is_unreachable:
            blocked.append(f"{wish.destination} blocked")
    return blocked


def _commands(
    event: Event,
    change: Change,
    result: Result,
) -> list[str]:
    """The commands that the event stood for, if the settings ask for them. None of them is cut."""
    if change.log != COMMANDS:
        return []
    head = f"{in_head(event.connection)}: "
    lines: list[str] = []
    for command in result.commands():
        lines += wrapped(command, head + FURTHER, first=head)
    return lines


def _noted(event: Event, notes: Iterable[str]) -> list[str]:
    """The lines of as many notes as there is room for, with a count of the others."""
    head = f"{in_head(event.connection)}: "
    told = list(notes)
    room = MESSAGES - 1
    more = len(told) - room
    if more > 0:
        told[room - 1] += f" (and {more} more)"
    lines: list[str] = []
    for note in told[:room]:
        lines += noted(head, note)
    return lines
