"""One event from start to end: lock, record, apply, roll back, report. The order of things is here, and nothing else."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import NamedTuple

from . import commands, lineage, namespace, process
from .answers import Answers, PlanError
from .errors import Refusal
from .event import Event, IPAddress, IPNetwork
from .follow import Taken, link_names, steps_over, take, with_doubts
from .kernel import Kernel
from .ledger import STANDING, Ledger, opened, snapshot
from .plan import Plan, plan
from .settings import Settings
from .state import Address, Link, Route, Setting, Step, about
from .storage import DatabaseError, StorageError
from .text import fitted, line, shown
from .values import is_pattern

Wanted = Callable[[Event], Settings]
"""Reads the settings of an event's connection, or raises Refusal. A `down` reads them only where its `up` is on no record."""

CHARON_TABLE = 220
"""Where charon's install_routes = yes puts its routes, which come before all others (strongswan.conf, charon.routing_table)."""
LINES = 3
"""How many lines an event may print."""


class Change(NamedTuple):
    """What an event does to the references, before the kernel follows."""

    keys: list[str]
    """The keys whose wishes may have changed."""
    reference: int | None
    """The reference that came or went; None where a `down` found none."""
    own: tuple[str, ...] = ()
    """The keys that the reference wishes for, or did."""
    adds: tuple[int, ...] = ()
    """The references that came: its own, and what stands while there is no CHILD_SA."""
    replaces: tuple[int, ...] = ()
    """References that go once this one stands."""
    moved: tuple[tuple[Link, Link], ...] = ()
    """Links that have other endpoints from now on: before and after."""
    notes: tuple[str, ...] = ()
    command: str = ""
    """The user's, to be run at the end."""


class Report(NamedTuple):
    """What is said of an event."""

    lines: list[str]
    status: int = 0
    command: str = ""
    link: str = ""
    """The name of the event's link."""


def run(event: Event, wanted: Wanted, environ: Mapping[str, str]) -> Report:
    """Does what the event asks for, and returns what to say. Raises Refusal where it could not.

    `environ` is what the user's own command gets, after all else is done and the records are free.
    """
    report = _run(event, wanted)
    if not report.command:
        return report
    fault = commands.run(report.command, environ, report.link)
    return (
        report if fault is None else _warned(report, f"its {'up' if event.up else 'down'} command {fault}")._replace(status=1)
    )


def _run(event: Event, wanted: Wanted) -> Report:
    with closing(Kernel()) as kernel:
        try:
            with opened(kernel.namespace()) as ledger:
                # What the records raise, they raise before the first step: see take().
                try:
                    return _event(event, wanted, ledger, kernel)
                except DatabaseError as error:
                    ledger.recover(error)
                try:
                    return _event(event, wanted, ledger, kernel)
                except DatabaseError as error:
                    return _unrecorded(event, wanted, kernel, f"{shown(error)}; is there room on /run?")
        except StorageError as error:
            return _unrecorded(event, wanted, kernel, f"{error.message}; {error.hint}")


def _event(event: Event, wanted: Wanted, ledger: Ledger, kernel: Kernel) -> Report:
    charon = process.charon()
    adopt_lost(charon, ledger, kernel)
    report = _up(event, wanted, charon, ledger, kernel) if event.up else _down(event, wanted, charon, ledger, kernel)
    if not ledger.damaged:
        return report
    return _warned(report, "the records were damaged, so they were set aside and made anew from the kernel")


def _unrecorded(event: Event, wanted: Wanted, kernel: Kernel, why: str) -> Report:
    """Does the event on a copy of the records in memory. What a later event has to know it adopts from the kernel."""
    with closing(snapshot(kernel.namespace())) as ledger:
        report = _event(event, wanted, ledger, kernel)
    return _warned(report, f"not recorded: {why}")


def _warned(report: Report, warning: str) -> Report:
    return report._replace(lines=[*report.lines[: LINES - 1], line(f"warning: {warning}")])


def adopt_lost(charon: str, ledger: Ledger, kernel: Kernel) -> None:
    """Makes the records of what the kernel has of ours, where there are none: they were lost, or could not be kept."""
    if ledger.fresh:
        ledger.adopt(charon, kernel.ours())


def rehearse(event: Event, wanted: Wanted) -> tuple[list[Step], dict[str, str], tuple[str, ...]]:
    """The steps that `run` would take, the name of each link by its key, and notes; on a copy of the records.

    By hand, a `down` may mean a reference of any charon.
    """
    charon = process.charon()
    with closing(Kernel()) as kernel, closing(snapshot(kernel.namespace())) as ledger:
        adopt_lost(charon, ledger, kernel)
        if event.up:
            change = _begin_up(event, wanted, charon, ledger, kernel)
            for number in change.replaces:
                change.keys.extend(ledger.end(number))
        else:
            owners = (charon,) if charon else ("", *ledger.charons())
            changes = (_begin_down(event, wanted, owner, ledger, kernel) for owner in owners)
            change = next((found for found in changes if found.reference is not None), Change([], None))
        steps = steps_over(with_doubts(change.keys, ledger, kernel), ledger)
        return steps, link_names(steps, ledger), change.notes


def _up(event: Event, wanted: Wanted, charon: str, ledger: Ledger, kernel: Kernel) -> Report:
    try:
        change = _begin_up(event, wanted, charon, ledger, kernel)
    except Refusal:
        ledger.rollback()
        if charon:  # its `down` will come, and must not end another's reference
            ledger.add(charon, event, ())
            ledger.commit()
        raise
    taken = settle(change, charon, ledger, kernel)
    return _report_up(event, change, taken, _overruled(change, ledger, kernel), ledger)


def settle(change: Change, charon: str, ledger: Ledger, kernel: Kernel) -> Taken:
    """The kernel follows; what the change replaces goes once the new stands. Raises Refusal, with all as it was before."""
    taken = take(change.keys, ledger, kernel, change.own)
    if taken.refused is not None:
        _withdraw(change, charon, ledger)
        take([*change.keys, *(old.key for old, _ in change.moved)], ledger, kernel)
        raise taken.refused
    replaced = [key for number in change.replaces for key in ledger.end(number)]
    return taken.and_then(take(replaced, ledger, kernel)) if replaced else taken


def _overruled(change: Change, ledger: Ledger, kernel: Kernel) -> list[str]:
    """What to tell the user where charon's own routes come before ours, and packets go out in clear."""
    for noun in ledger.wished(change.own).values():
        if isinstance(noun, Route) and noun.link and not noun.netns:
            first = noun.destination[1] if noun.destination.num_addresses > 2 else noun.destination[0]
            if kernel.table_of(first) == CHARON_TABLE:
                return [f"packets to {noun.destination} take charon's own route; set charon.install_routes = no"]
    return []


def _withdraw(change: Change, charon: str, ledger: Ledger) -> None:
    """Takes back what a failed `up` has changed in the records; its own reference stays, without wishes, for its `down`."""
    for number in change.adds:
        if charon and number == change.reference:
            ledger.drop_wishes(number)
        else:
            ledger.end(number)
    for old, new in change.moved:
        change.keys.extend(ledger.move(new.key, old))


def _down(event: Event, wanted: Wanted, charon: str, ledger: Ledger, kernel: Kernel) -> Report:
    change = _begin_down(event, wanted, charon, ledger, kernel)
    links = [(one.noun, one.borrowed) for one in ledger.applied(change.own).values() if isinstance(one.noun, Link)]
    # Where there are two, that by which packets leave is the one that the `up` was told of.
    was = next((one for one in links if one[0].if_id == event.if_id_out), links[0] if links else None)
    taken = take(change.keys, ledger, kernel)
    return _report_down(event, change, was, taken, ledger)


def _begin_up(event: Event, wanted: Wanted, charon: str, ledger: Ledger, kernel: Kernel) -> Change:
    """Records the reference. Raises Refusal, with nothing recorded, where there can be none."""
    settings = wanted(event)
    moved: list[tuple[Link, Link]] = []
    made = plan(event, settings, answers(event, settings, ledger, kernel, moved))
    own = tuple(dict.fromkeys(noun.key for noun in (*made.wishes, *made.standing)))
    keys = [*own, *ledger.clear_stale(process.alive, own)]
    for noun in made.wishes:
        if isinstance(noun, Link):
            _refuse_other_marks(event, noun, ledger, kernel)
    for old, new in moved:
        keys += ledger.move(old.key, new)
    replaces = [*ledger.standing(event), *(() if charon else ledger.equal(charon, event))]
    number = ledger.add(charon, event, made.wishes, settings.down or "")
    adds = (number, *((ledger.stand(held_as(event, settings), event, made.standing),) if made.standing else ()))
    return Change(keys, number, own, adds, tuple(replaces), tuple(moved), made.notes, settings.up or "")


def held_as(event: Event, settings: Settings) -> str:
    """The name by which a standing reference is released: the table of the settings where it is one connection's, else the
    connection's own.
    """
    return settings.section if settings.section and not is_pattern(settings.section) else event.connection


def _begin_down(event: Event, wanted: Wanted, charon: str, ledger: Ledger, kernel: Kernel) -> Change:
    """Finds the reference that the `down` ends, and ends it."""
    ending = lineage.ends(ledger.lives(charon, event), event, ledger.heard(charon, event))
    if ending.reference is None:
        return _give_up(event, wanted, charon, ledger, kernel) or Change(ledger.clear_stale(process.alive, []), None)
    ledger.learn(charon, event)
    if ending.rekeyed is not None:
        ledger.rekey(charon, ending.rekeyed, event.unique_id)
    command = ledger.command(ending.reference)
    keys = ledger.end(ending.reference)
    return Change([*keys, *ledger.clear_stale(process.alive, keys)], ending.reference, tuple(keys), command=command)


def _give_up(event: Event, wanted: Wanted, charon: str, ledger: Ledger, kernel: Kernel) -> Change | None:
    """Ends what an event like this one would wish for, as far as it was adopted: its own record was lost.

    Not the settings: who else of that family has need of them was lost, too, so they go with the link.
    """
    try:
        settings, made = _would_be(event, wanted, ledger, kernel)
    except Refusal:
        return None
    links = [noun.key for noun in made.wishes if isinstance(noun, Link)]
    if not ledger.applied(links):  # perhaps it was made while nothing could be recorded
        ours = [one for one in kernel.ours() if about(one.noun) in links]
        if not any(ledger.has_made(one) for one in ours):  # else it is to have other endpoints, and has these still
            ledger.adopt(charon, ours)
    numbers = [number for key in links if (number := ledger.adopted(key)) is not None]
    if not numbers:
        return None
    if made.standing and not ledger.standing(event):  # it was lost, too
        ledger.stand(held_as(event, settings), event, made.standing)
    on_it = [noun.key for noun in made.wishes if not isinstance(noun, Link | Setting)]
    keys = [key for number in numbers for key in ledger.give_up(number, on_it)]
    keys = list(dict.fromkeys([*keys, *(noun.key for noun in made.standing)]))
    return Change(keys, numbers[0], (*keys, *links))


def _would_be(event: Event, wanted: Wanted, ledger: Ledger, kernel: Kernel) -> tuple[Settings, Plan]:
    """What an event like this one wishes for; without the settings where those are wrong, since a `down` must not wait."""
    try:
        settings = wanted(event)
    except Refusal:
        settings = Settings()
    return settings, plan(event, settings, answers(event, settings, ledger, kernel, []))


def _refuse_other_marks(event: Event, link: Link, ledger: Ledger, kernel: Kernel) -> None:
    """A VTI has one pair of keys: another mark is another peer behind the same address, unless it is this very CHILD_SA.

    Those of a borrowed link are not ours to change.
    """
    mine = lineage.identity(event)
    there = ledger.applied([link.key]).get(link.key)
    if there is not None and there.borrowed and isinstance(there.noun, Link):
        name, keys = there.noun.name, (there.noun.okey, there.noun.ikey)
        if keys != (link.okey, link.ikey) and kernel.is_there(there):
            raise PlanError(
                f"{shown(name)} has these endpoints but okey {keys[0]}, ikey {keys[1]}",
                f"give it the mark, or delete it: ip link del {shown(name)}",
            )
    for holder in ledger.holders(link.key):
        wish = holder.noun
        assert isinstance(wish, Link)
        if (wish.okey, wish.ikey) != (link.okey, link.ikey) and not lineage.same_but_for_mark(mine, holder.identity):
            marks = f"mark {wish.okey or wish.ikey}, this is {link.okey or link.ikey}"
            raise PlanError(f"{shown(holder.connection, 20)} holds {wish.name} to {link.remote} with {marks}", "use if_id")


def answers(event: Event, settings: Settings, ledger: Ledger, kernel: Kernel, moved: list[tuple[Link, Link]]) -> Answers:
    """Who answers the plan. Into `moved` goes the link that has the chosen name with other endpoints, and shall have these."""

    def free_name(link: Link, names: Iterable[str], chosen: str | None) -> str:
        there = ledger.applied([link.key]).get(link.key)
        if there is not None and isinstance(there.noun, Link):
            name = there.noun.name  # unless it was taken away, and another has the name by now
            if kernel.is_there(there) or not kernel.link_exists(name, link.netns):
                return name
        if chosen is not None:
            if not kernel.link_exists(chosen, link.netns):
                return chosen
            if (same := kernel.same_link(link)) is not None and isinstance(same.noun, Link):
                return same.noun.name
            if (old := _movable(link, chosen)) is not None:
                moved.append((old, link._replace(name=chosen)))
                return chosen
            if not kernel.is_ours(chosen, link.netns):  # else an old tunnel of ours has it still, and this one must not wait
                what = f"the name {shown(chosen)} is taken by another link"
                raise PlanError(what, "choose another --name, such as vpn{uniqueid}")
        return next(name for name in names if not kernel.link_exists(name, link.netns))

    def _movable(link: Link, name: str) -> Link | None:
        """The link of this name, if all that hold it are this connection with this peer, whose endpoints have changed."""
        old = ledger.named(name, link.netns)
        if old is None or old.kind != link.kind:
            return None
        mine, held = lineage.identity(event), held_as(event, settings)
        same = (
            one.connection == shown(held) if one.charon == STANDING else lineage.same_but_for_mark(mine, one.identity)
            for one in ledger.holders(old.key)
        )
        return old if all(same) else None

    def source(link: str, net: IPNetwork) -> IPAddress | None:
        return kernel.source(net, lambda ip: ledger.elsewhere(str(ip), link))

    def held(link: str, ip: IPAddress) -> Address | None:
        for noun in ledger.beside([link], ()):
            if isinstance(noun, Address) and noun.address.ip == ip:
                return noun
        return None

    def vrf_table(name: str) -> int:
        table = kernel.vrf_table(name)
        if table is None:
            raise PlanError(f"there is no VRF {shown(name)}", f"make it: ip link add {shown(name)} type vrf table NUMBER")
        return table

    def netns(name: str) -> None:
        if not namespace.is_there(name):
            raise PlanError(*namespace.missing(name))

    return Answers(free_name, source, kernel.next_hop, held, kernel.path_mtu, vrf_table, netns)


# What is said


def _report_up(event: Event, change: Change, taken: Taken, overruled: list[str], ledger: Ledger) -> Report:
    wished = ledger.wished(change.own).values()
    links = [noun for noun in wished if isinstance(noun, Link)]
    names = ", ".join(link.name for link in links)
    head = f"{shown(event.connection)}: {names} up, {event.me} → {event.peer}, {_key(links[0])}"
    items = [
        _said(noun) for noun in wished if isinstance(noun, Address | Route) and noun.link and noun.key not in taken.foreign
    ]
    lines = _lines(event, fitted(head, items), [*overruled, *change.notes, *taken.notes, *taken.failures])
    return Report(lines, 0, change.command, links[0].name)


def _key(link: Link) -> str:
    return f"if_id {link.if_id}" if link.if_id else f"mark {link.okey or link.ikey}"


def _report_down(event: Event, change: Change, was: tuple[Link, bool] | None, taken: Taken, ledger: Ledger) -> Report:
    """`was` is the link that the reference had, and whether it was borrowed."""
    name = shown(event.connection)
    link, borrowed = was or (None, False)
    items: list[str] = []
    standing = [noun for number in ledger.standing(event) for noun in ledger.wishes(number)]
    if change.reference is None:
        head = f"{name}: nothing is up for this {event.verb} (unique ID {event.unique_id})"
    elif link is None:
        head = f"{name}: its up had failed, nothing to take away"
    elif holders := len([holder for holder in ledger.holders(link.key) if holder.charon != STANDING]):
        now = ledger.wished([link.key])[link.key]
        assert isinstance(now, Link)
        head = f"{name}: {now.name} stays, held by {holders} more"
        gone = (step.noun for step in taken.steps if step.new is None and step.noun.link == link.key)
        items = [f"without {_said(noun)}" for noun in gone if isinstance(noun, Address | Route)]
    elif ledger.holders(link.key):
        head = f"{name}: {link.name} stays without a CHILD_SA, as when_down says"
    elif ledger.applied([link.key]):
        head = f"{name}: {link.name} could not be taken away, the next event tries again"
    else:
        head = f"{name}: {link.name} {'stays, which was there before' if borrowed else 'down'}, {event.me} → {event.peer}"
        items = [f"{noun.destination} blocked" for noun in standing if isinstance(noun, Route) and not noun.link]
    lines = _lines(event, fitted(head, items), [*taken.notes, *taken.failures])
    # What an event of another connection could not do is that one's.
    status = 0 if taken.failed.isdisjoint(change.keys) else 1
    return Report(lines, status, change.command, link.name if link else "")


def _said(noun: Address | Route) -> str:
    return str(noun.address if isinstance(noun, Address) else noun.destination)


def _lines(event: Event, first: str, notes: Iterable[str]) -> list[str]:
    told = [f"{shown(event.connection)}: {note}" for note in notes]
    kept, more = told[: LINES - 1], len(told) - (LINES - 1)
    tails = [""] * len(kept)
    if more > 0:
        tails[-1] = f" (and {more} more)"
    return [line(first), *(line(text, tail) for text, tail in zip(kept, tails, strict=True))]
