"""One event from start to end: lock, record, apply, roll back, report. The order of things is here, and nothing else."""

from collections.abc import Collection, Iterable
from contextlib import closing
from typing import NamedTuple

from . import lineage, process
from .errors import Refusal
from .event import Event, IPAddress
from .kernel import Kernel
from .ledger import Ledger, StorageError, opened, snapshot
from .plan import Answers, PlanError, plan
from .settings import Settings
from .state import Address, Link, Noun, Route, Setting, Step, difference, link_key
from .text import fitted, line, shown

LINES = 3
"""How many lines an event may print."""


class Change(NamedTuple):
    """What an event does to the references, before the kernel follows."""

    keys: list[str]
    """The keys whose wishes may have changed."""
    reference: int | None
    """The reference that came or went; None where a `down` found none."""
    wishes: tuple[Noun, ...] = ()
    """What the reference wishes for."""
    replaces: tuple[int, ...] = ()
    """References that go once this one stands."""
    notes: tuple[str, ...] = ()


class Taken(NamedTuple):
    """What came of the steps."""

    steps: list[Step]
    names: dict[str, str]
    """The name of each link that they touch, by its key."""
    notes: list[str]
    refused: Refusal | None = None
    """Why a step that the event cannot do without was not taken."""
    foreign: frozenset[str] = frozenset()
    """Keys of what was there already and is not ours."""


def run(event: Event, settings: Settings | Refusal) -> list[str]:
    """Does what the event asks for, and returns the lines to print. Raises Refusal where it could not.

    Settings that are wrong are given as the Refusal that says so: an `up` fails by it, a `down` needs none.
    """
    with closing(Kernel()) as kernel:
        try:
            with opened(kernel.namespace()) as ledger:
                return _event(event, settings, ledger, kernel)
        except StorageError as error:
            # The tunnel comes up all the same. What a later event has to know then is adopted from the kernel.
            with closing(snapshot(kernel.namespace())) as ledger:
                lines = _event(event, settings, ledger, kernel)
            return [*lines[: LINES - 1], line(f"warning: not recorded: {error.message}", f"; {error.hint}")]


def _event(event: Event, settings: Settings | Refusal, ledger: Ledger, kernel: Kernel) -> list[str]:
    charon = process.charon()
    adopt_lost(charon, ledger, kernel)
    if event.up:
        return _up(event, settings, charon, ledger, kernel)
    return _down(event, settings, charon, ledger, kernel)


def adopt_lost(charon: str, ledger: Ledger, kernel: Kernel) -> None:
    """Makes the records of what the kernel has of ours, where there are none: they were lost, or cannot be kept."""
    if ledger.fresh and (found := kernel.ours()):
        ledger.adopt(charon, found)


def rehearse(event: Event, settings: Settings | Refusal) -> tuple[list[Step], dict[str, str], tuple[str, ...]]:
    """The steps that `run` would take, the name of each link by its key, and notes; on a copy of the records.

    By hand, a `down` may mean a reference of any charon.
    """
    charon = process.charon()
    with closing(Kernel()) as kernel, closing(snapshot(kernel.namespace())) as ledger:
        adopt_lost(charon, ledger, kernel)
        if event.up:
            change = _begin_up(event, settings, charon, ledger, kernel)
            for number in change.replaces:
                change.keys.extend(ledger.end(number))
        else:
            owners = (charon,) if charon else ("", *ledger.charons())
            changes = (_begin_down(event, settings, owner, ledger, kernel) for owner in owners)
            change = next((found for found in changes if found.reference is not None), Change([], None))
        keys = _with_doubts(change.keys, ledger, kernel)
        steps = _steps(keys, ledger)
        return steps, link_names(steps, ledger), change.notes


def _up(event: Event, settings: Settings | Refusal, charon: str, ledger: Ledger, kernel: Kernel) -> list[str]:
    try:
        change = _begin_up(event, settings, charon, ledger, kernel)
    except Refusal:
        ledger.rollback()
        if charon:  # its `down` will come, and must not end another's reference
            ledger.add(charon, event, ())
            ledger.commit()
        raise
    own = {noun.key for noun in change.wishes}
    assert change.reference is not None
    taken = take(change.keys, ledger, kernel, own)
    if taken.refused is not None:
        if charon:
            ledger.drop_wishes(change.reference)
        else:
            ledger.end(change.reference)
        take(change.keys, ledger, kernel)
        raise taken.refused
    replaced = [key for number in change.replaces for key in ledger.end(number)]
    if replaced:
        take(replaced, ledger, kernel)
    return _report_up(event, change, taken, ledger)


def _down(event: Event, settings: Settings | Refusal, charon: str, ledger: Ledger, kernel: Kernel) -> list[str]:
    change = _begin_down(event, settings, charon, ledger, kernel)
    link = next((one.noun for one in ledger.applied(change.keys).values() if isinstance(one.noun, Link)), None)
    taken = take(change.keys, ledger, kernel)
    return _report_down(event, change, link, taken, ledger)


def _begin_up(event: Event, settings: Settings | Refusal, charon: str, ledger: Ledger, kernel: Kernel) -> Change:
    """Records the reference. Raises Refusal, with nothing recorded, where there can be none."""
    if isinstance(settings, Refusal):
        raise settings
    made = plan(event, settings, _answers(ledger, kernel))
    keys = [noun.key for noun in made.wishes]
    keys += ledger.clear_stale(process.alive, keys)
    for noun in made.wishes:
        if isinstance(noun, Link):
            _refuse_other_marks(event, noun, ledger)
    replaces = () if charon else tuple(ledger.equal(charon, event))
    number = ledger.add(charon, event, made.wishes)
    return Change(keys, number, made.wishes, replaces, made.notes)


def _begin_down(event: Event, settings: Settings | Refusal, charon: str, ledger: Ledger, kernel: Kernel) -> Change:
    """Finds the reference that the `down` ends, and ends it."""
    ending = lineage.ends(ledger.lives(charon, event), event, ledger.heard(charon, event))
    if ending.reference is None:
        return _give_up(event, settings, ledger, kernel) or Change(ledger.clear_stale(process.alive, []), None)
    ledger.learn(charon, event)
    if ending.rekeyed is not None:
        ledger.rekey(charon, ending.rekeyed, event.unique_id)
    keys = ledger.end(ending.reference)
    return Change([*keys, *ledger.clear_stale(process.alive, keys)], ending.reference)


def _give_up(event: Event, settings: Settings | Refusal, ledger: Ledger, kernel: Kernel) -> Change | None:
    """Ends what an event like this one would wish for, as far as it was adopted: its own record was lost."""
    if event.me is None or event.peer is None:
        return None
    number = ledger.adopted(link_key("vti" if event.me.version == 4 else "vti6", event.me, event.peer))
    if number is None:
        return None
    try:
        made = plan(event, Settings() if isinstance(settings, Refusal) else settings, _answers(ledger, kernel))
    except Refusal:
        return None
    return Change(ledger.give_up(number, [noun.key for noun in made.wishes if not isinstance(noun, Link)]), number)


def _refuse_other_marks(event: Event, link: Link, ledger: Ledger) -> None:
    """A VTI has one pair of keys: another mark is another peer behind the same address, unless it is this very CHILD_SA."""
    mine = lineage.identity(event)
    for connection, other, wish in ledger.holders(link.key):
        assert isinstance(wish, Link)
        if (wish.okey, wish.ikey) != (link.okey, link.ikey) and not lineage.same_but_for_mark(mine, other):
            raise PlanError(
                f"{shown(connection, 20)} holds {wish.name} to {link.remote} with mark {wish.okey or wish.ikey}, this is "
                f"{link.okey or link.ikey}",
                "use if_id",
            )


def _answers(ledger: Ledger, kernel: Kernel) -> Answers:
    def free_name(link: Link, names: Iterable[str], chosen: bool) -> str:
        there = ledger.applied([link.key]).get(link.key)
        if there is not None and isinstance(there.noun, Link):
            return there.noun.name
        name = ""
        for name in names:
            if not kernel.link_exists(name):
                return name
        if chosen and (same := kernel.same_link(link)) is not None and isinstance(same.noun, Link):
            return same.noun.name
        raise PlanError(f"the name {shown(name)} is taken by another link", "choose another --name, such as vpn{uniqueid}")

    def held(link: str, ip: IPAddress) -> Address | None:
        for noun in ledger.beside([link], ()):
            if isinstance(noun, Address) and noun.address.ip == ip:
                return noun
        return None

    return Answers(free_name, kernel.source, kernel.next_hop, held)


def _with_doubts(keys: Iterable[str], ledger: Ledger, kernel: Kernel) -> list[str]:
    """`keys`, and those that an earlier event left in doubt, and all that stood on a link that somebody took away."""
    found = dict.fromkeys([*keys, *ledger.unsure()])
    for was in list(ledger.applied(found).values()):
        if isinstance(was.noun, Link) and was.ifindex is not None and not kernel.link_exists(was.ifindex):
            on_it = ledger.on_link(was.noun.key)
            ledger.doubt(on_it)
            found.update(dict.fromkeys(on_it))
    return list(found)


def _steps(keys: Collection[str], ledger: Ledger) -> list[Step]:
    """The difference over `keys`."""
    applied, wished = ledger.applied(keys), ledger.wished(keys)
    lost = [was.noun for key, was in applied.items() if key not in wished and isinstance(was.noun, Address)]
    reach = ledger.beside({noun.link for noun in lost}, {str(noun.address.ip) for noun in lost})
    beside = ledger.wished(noun.key for noun in reach if noun.key not in wished)
    links = ledger.applied({was.noun.link for was in applied.values()})
    return difference(applied, wished, beside.values(), {key for key, link in links.items() if link.borrowed})


def take(keys: Iterable[str], ledger: Ledger, kernel: Kernel, own: Collection[str] = ()) -> Taken:
    """Takes the steps over `keys`. A refused one stops it if it is of the event's `own`; the others wait for the next event."""
    keys = _with_doubts(keys, ledger, kernel)
    before = ledger.applied(keys)
    steps = _steps(keys, ledger)
    names = link_names(steps, ledger)
    kernel.links = ledger.applied(names)
    ledger.expect(steps)
    ledger.commit()
    notes: list[str] = []
    foreign: set[str] = set()
    refused: Refusal | None = None
    for step in steps:
        key = step.noun.key
        was = before.get(key)
        if refused is not None:
            ledger.restore(key, was)
            continue
        try:
            outcome = kernel.take(step, sure=was is None or was.sure)
        except Refusal as refusal:
            if step.new is not None and key in own:
                refused = refusal
            else:
                notes.append(refusal.message)
            continue
        if outcome.applied is None and step.new is not None:
            ledger.restore(key, None)
            foreign.add(key)
            if outcome.foreign:
                notes.append(f"left alone: {outcome.foreign}")
        elif outcome.applied is None:
            ledger.done(step, borrowed=was is not None and was.borrowed)
        else:
            now = outcome.applied
            if now.noun != step.new and step.new is not None:
                ledger.found(step.new, now.noun)
            ledger.done(step._replace(new=now.noun), now.ifindex, now.borrowed)
    if refused is None:  # else the roll back goes on from here, and a death before it leaves all of it in doubt
        ledger.commit()
    return Taken(steps, names, notes, refused, frozenset(foreign))


def link_names(steps: Iterable[Step], ledger: Ledger) -> dict[str, str]:
    """The name of each link that the steps touch."""
    found = {step.noun.key: step.noun.name for step in steps if isinstance(step.noun, Link)}
    there = ledger.applied({step.noun.link for step in steps} - set(found))
    return {**found, **{key: was.noun.name for key, was in there.items() if isinstance(was.noun, Link)}}


# What is said


def _report_up(event: Event, change: Change, taken: Taken, ledger: Ledger) -> list[str]:
    wished = ledger.wished(noun.key for noun in change.wishes)
    head = shown(event.connection)
    items: list[str] = []
    for noun in wished.values():
        if isinstance(noun, Link):
            head += f": {noun.name} up, {noun.local} → {noun.remote}, mark {noun.okey or noun.ikey}"
        elif not isinstance(noun, Setting) and noun.key not in taken.foreign:
            items.append(_said(noun))
    return _lines(event, fitted(head, items), [*change.notes, *taken.notes])


def _report_down(event: Event, change: Change, link: Link | None, taken: Taken, ledger: Ledger) -> list[str]:
    name = shown(event.connection)
    if change.reference is None:
        return _lines(event, f"{name}: nothing is up for this {event.verb} (unique ID {event.unique_id})", taken.notes)
    if link is None:
        return _lines(event, f"{name}: its up had failed, nothing to take away", taken.notes)
    gone = [step.noun for step in taken.steps if step.new is None]
    holders = len(ledger.holders(link.key))
    if holders:
        head = f"{name}: {link.name} stays, held by {holders} more"
        items = [f"without {_said(noun)}" for noun in gone if isinstance(noun, Address | Route)]
    else:
        head = f"{name}: {link.name} down, {link.local} → {link.remote}"
        items = []
    return _lines(event, fitted(head, items), taken.notes)


def _said(noun: Address | Route) -> str:
    return str(noun.address if isinstance(noun, Address) else noun.destination)


def _lines(event: Event, first: str, notes: Iterable[str]) -> list[str]:
    lines = [line(first), *(line(f"{shown(event.connection)}: {note}") for note in notes)]
    return lines if len(lines) <= LINES else [*lines[: LINES - 1], line(f"{lines[LINES - 1]} (and {len(lines) - LINES} more)")]
