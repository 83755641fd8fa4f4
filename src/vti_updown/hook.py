"""One event from start to end: lock, record, apply, roll back, report. The order of things is here, and nothing else."""

from collections.abc import Collection, Iterable
from contextlib import closing
from typing import NamedTuple

from . import lineage, process
from .errors import Refusal
from .event import Event, IPAddress, IPNetwork
from .kernel import Kernel, Outcome
from .ledger import DatabaseError, Ledger, StorageError, opened, snapshot
from .plan import Answers, PlanError, plan
from .settings import Settings
from .state import Address, Applied, Link, Route, Setting, Step, difference, link_key
from .text import fitted, line, shown

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
    replaces: tuple[int, ...] = ()
    """References that go once this one stands."""
    notes: tuple[str, ...] = ()


class Taken(NamedTuple):
    """What came of the steps."""

    steps: list[Step]
    names: dict[str, str]
    """The name of each link that they touch, by its key."""
    notes: list[str]
    """What was left alone, and why."""
    failures: list[str]
    """What could not be done; the next event tries again."""
    refused: Refusal | None
    """Why a step that the event cannot do without was not taken."""
    foreign: frozenset[str]
    """Keys of what was there already and is not ours."""
    spoilt: frozenset[str] = frozenset()
    """Keys of the links on which something could not be put."""


class Report(NamedTuple):
    """What is said of an event."""

    lines: list[str]
    status: int = 0


def run(event: Event, settings: Settings | Refusal) -> Report:
    """Does what the event asks for, and returns what to say. Raises Refusal where it could not.

    Settings that are wrong are given as the Refusal that says so: an `up` fails by it, a `down` needs none.
    """
    with closing(Kernel()) as kernel:
        try:
            with opened(kernel.namespace()) as ledger:
                # What the records raise, they raise before the first step: see take().
                try:
                    return _event(event, settings, ledger, kernel)
                except DatabaseError as error:
                    ledger.recover(error)
                try:
                    return _event(event, settings, ledger, kernel)
                except DatabaseError as error:
                    return _unrecorded(event, settings, kernel, f"{shown(error)}; is there room on /run?")
        except StorageError as error:
            return _unrecorded(event, settings, kernel, f"{error.message}; {error.hint}")


def _event(event: Event, settings: Settings | Refusal, ledger: Ledger, kernel: Kernel) -> Report:
    charon = process.charon()
    adopt_lost(charon, ledger, kernel)
    report = _up(event, settings, charon, ledger, kernel) if event.up else _down(event, settings, charon, ledger, kernel)
    if not ledger.damaged:
        return report
    return _warned(report, "the records were damaged, so they were set aside and made anew from the kernel")


def _unrecorded(event: Event, settings: Settings | Refusal, kernel: Kernel, why: str) -> Report:
    """Does the event on a copy of the records in memory. What a later event has to know it adopts from the kernel."""
    with closing(snapshot(kernel.namespace())) as ledger:
        report = _event(event, settings, ledger, kernel)
    return _warned(report, f"not recorded: {why}")


def _warned(report: Report, warning: str) -> Report:
    return report._replace(lines=[*report.lines[: LINES - 1], line(f"warning: {warning}")])


def adopt_lost(charon: str, ledger: Ledger, kernel: Kernel) -> None:
    """Makes the records of what the kernel has of ours, where there are none: they were lost, or could not be kept."""
    if ledger.fresh:
        ledger.adopt(charon, kernel.ours())


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


def _up(event: Event, settings: Settings | Refusal, charon: str, ledger: Ledger, kernel: Kernel) -> Report:
    try:
        change = _begin_up(event, settings, charon, ledger, kernel)
    except Refusal:
        ledger.rollback()
        if charon:  # its `down` will come, and must not end another's reference
            ledger.add(charon, event, ())
            ledger.commit()
        raise
    assert change.reference is not None
    taken = take(change.keys, ledger, kernel, change.own)
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


def _down(event: Event, settings: Settings | Refusal, charon: str, ledger: Ledger, kernel: Kernel) -> Report:
    change = _begin_down(event, settings, charon, ledger, kernel)
    link = next((one.noun for one in ledger.applied(change.own).values() if isinstance(one.noun, Link)), None)
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
            _refuse_other_marks(event, noun, ledger, kernel)
    replaces = () if charon else tuple(ledger.equal(charon, event))
    number = ledger.add(charon, event, made.wishes)
    return Change(keys, number, tuple(noun.key for noun in made.wishes), replaces, made.notes)


def _begin_down(event: Event, settings: Settings | Refusal, charon: str, ledger: Ledger, kernel: Kernel) -> Change:
    """Finds the reference that the `down` ends, and ends it."""
    ending = lineage.ends(ledger.lives(charon, event), event, ledger.heard(charon, event))
    if ending.reference is None:
        return _give_up(event, settings, charon, ledger, kernel) or Change(ledger.clear_stale(process.alive, []), None)
    ledger.learn(charon, event)
    if ending.rekeyed is not None:
        ledger.rekey(charon, ending.rekeyed, event.unique_id)
    keys = ledger.end(ending.reference)
    return Change([*keys, *ledger.clear_stale(process.alive, keys)], ending.reference, tuple(keys))


def _give_up(event: Event, settings: Settings | Refusal, charon: str, ledger: Ledger, kernel: Kernel) -> Change | None:
    """Ends what an event like this one would wish for, as far as it was adopted: its own record was lost."""
    if event.me is None or event.peer is None:
        return None
    key = link_key("vti" if event.me.version == 4 else "vti6", event.me, event.peer)
    if not ledger.applied([key]):  # perhaps it was made while nothing could be recorded
        ledger.adopt(charon, (one for one in kernel.ours() if one.noun.link == key))
    number = ledger.adopted(key)
    if number is None:
        return None
    try:
        made = plan(event, Settings() if isinstance(settings, Refusal) else settings, _answers(ledger, kernel))
    except Refusal:
        return None
    keys = ledger.give_up(number, [noun.key for noun in made.wishes if not isinstance(noun, Link)])
    return Change(keys, number, (*keys, made.wishes[0].link))


def _refuse_other_marks(event: Event, link: Link, ledger: Ledger, kernel: Kernel) -> None:
    """A VTI has one pair of keys: another mark is another peer behind the same address, unless it is this very CHILD_SA.

    Those of a borrowed link are not ours to change.
    """
    mine = lineage.identity(event)
    there = ledger.applied([link.key]).get(link.key)
    if there is not None and there.borrowed and isinstance(there.noun, Link):
        name, keys = there.noun.name, (there.noun.okey, there.noun.ikey)
        if keys != (link.okey, link.ikey) and there.ifindex is not None and kernel.link_exists(there.ifindex):
            raise PlanError(
                f"{shown(name)} has these endpoints but okey {keys[0]}, ikey {keys[1]}",
                f"give it the mark, or delete it: ip link del {shown(name)}",
            )
    for connection, other, wish in ledger.holders(link.key):
        assert isinstance(wish, Link)
        if (wish.okey, wish.ikey) != (link.okey, link.ikey) and not lineage.same_but_for_mark(mine, other):
            raise PlanError(
                f"{shown(connection, 20)} holds {wish.name} to {link.remote} with mark {wish.okey or wish.ikey}, this is "
                f"{link.okey or link.ikey}",
                "use if_id",
            )


def _answers(ledger: Ledger, kernel: Kernel) -> Answers:
    def free_name(link: Link, names: Iterable[str], chosen: str | None) -> str:
        there = ledger.applied([link.key]).get(link.key)
        if there is not None and isinstance(there.noun, Link):
            name = there.noun.name  # unless it was taken away, and another has the name by now
            if (there.ifindex is not None and kernel.link_exists(there.ifindex)) or not kernel.link_exists(name):
                return name
        if chosen is not None:
            if not kernel.link_exists(chosen):
                return chosen
            if (same := kernel.same_link(link)) is not None and isinstance(same.noun, Link):
                return same.noun.name
            if not kernel.is_ours(chosen):  # else an old tunnel of ours has it still, and this one must not wait
                what = f"the name {shown(chosen)} is taken by another link"
                raise PlanError(what, "choose another --name, such as vpn{uniqueid}")
        return next(name for name in names if not kernel.link_exists(name))

    def source(link: str, net: IPNetwork) -> IPAddress | None:
        return kernel.source(net, lambda ip: ledger.elsewhere(str(ip), link))

    def held(link: str, ip: IPAddress) -> Address | None:
        for noun in ledger.beside([link], ()):
            if isinstance(noun, Address) and noun.address.ip == ip:
                return noun
        return None

    return Answers(free_name, source, kernel.next_hop, held)


def _with_doubts(keys: Iterable[str], ledger: Ledger, kernel: Kernel) -> list[str]:
    """`keys`, and those that an earlier event left in doubt, and all that stands on a link that somebody took away."""
    found = dict.fromkeys([*keys, *ledger.unsure()])
    for key, was in ledger.applied(found).items():
        if not isinstance(was.noun, Link):
            continue
        if was.sure:
            gone = was.ifindex is not None and not kernel.link_exists(was.ifindex)
        else:  # where it is, and whose, may have been lost
            there = kernel.same_link(was.noun)
            ledger.locate(key, there)
            gone = there is None
        if gone:
            on_it = ledger.on_link(key)
            ledger.doubt(on_it)
            # What was left alone on a borrowed link is on no record, and is not there on the one that is made anew.
            found.update(dict.fromkeys([*on_it, *ledger.wished_beside(key)]))
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
    """Takes the steps over `keys`. A refused one stops it if it is of the event's `own`; the others wait for the next event.

    Something that cannot be put may stand on what others have taken away or spoilt: once, all of its link is put again.
    """
    keys = list(keys)
    taken = _try(keys, ledger, kernel, own)
    if not taken.spoilt:
        return taken
    on_them = [key for link in taken.spoilt for key in ledger.on_link(link)]
    ledger.doubt(on_them)
    again = _try([*keys, *on_them], ledger, kernel, own, last=True)
    return again._replace(steps=[*taken.steps, *again.steps], names=taken.names | again.names)


def _try(keys: Iterable[str], ledger: Ledger, kernel: Kernel, own: Collection[str], last: bool = False) -> Taken:
    keys = _with_doubts(keys, ledger, kernel)
    before = ledger.applied(keys)
    steps = _steps(keys, ledger)
    names = link_names(steps, ledger)
    kernel.links = ledger.applied(names)
    ledger.expect(steps)
    ledger.commit()
    notes: list[str] = []
    failures: list[str] = []
    refused: Refusal | None = None
    ended: list[tuple[Step, Outcome | None]] = []
    spoilt: set[str] = set()
    for step in steps:
        if refused is not None:
            ended.append((step, None))
            continue
        was = before.get(step.noun.key)
        try:
            ended.append((step, kernel.take(step, was is None or was.sure, last)))
        except Refusal as refusal:
            if step.new is not None:
                spoilt.add(step.noun.link)
            if step.new is not None and step.noun.key in own:
                refused = refusal
            else:
                failures.append(refusal.message)
    foreign = {step.noun.key for step, outcome in ended if outcome and outcome.applied is None and step.new is not None}
    notes += [f"left alone: {outcome.foreign}" for _, outcome in ended if outcome and outcome.foreign]
    try:
        for step, outcome in ended:
            _record(step, outcome, before.get(step.noun.key), ledger)
        if refused is None:  # else the roll back goes on from here, and a death before it leaves all of it in doubt
            ledger.commit()
    except DatabaseError as error:
        ledger.rollback()  # all of it stays in doubt
        notes.append(f"not recorded ({shown(error)}), so the next event looks again")
    return Taken(steps, names, notes, failures, refused, frozenset(foreign), frozenset(spoilt))


def _record(step: Step, outcome: Outcome | None, was: Applied | None, ledger: Ledger) -> None:
    """Writes down what came of a step; None: it was not taken."""
    if outcome is None:
        ledger.restore(step.noun.key, was)
    elif outcome.applied is not None:
        now = outcome.applied
        if now.noun != step.new and isinstance(step.new, Link):
            ledger.found(step.new, now.noun)
        ledger.done(step._replace(new=now.noun), now.ifindex, now.borrowed)
    elif step.new is not None:
        ledger.restore(step.noun.key, None)
    else:
        ledger.done(step, borrowed=was is not None and was.borrowed)


def link_names(steps: Iterable[Step], ledger: Ledger) -> dict[str, str]:
    """The name of each link that the steps touch."""
    found = {step.noun.key: step.noun.name for step in steps if isinstance(step.noun, Link)}
    there = ledger.applied({noun.link for step in steps for noun in step if noun is not None} - set(found))
    return {**found, **{key: was.noun.name for key, was in there.items() if isinstance(was.noun, Link)}}


# What is said


def _report_up(event: Event, change: Change, taken: Taken, ledger: Ledger) -> Report:
    wished = ledger.wished(change.own)
    head = shown(event.connection)
    items: list[str] = []
    for noun in wished.values():
        if isinstance(noun, Link):
            head += f": {noun.name} up, {noun.local} → {noun.remote}, mark {noun.okey or noun.ikey}"
        elif not isinstance(noun, Setting) and noun.key not in taken.foreign:
            items.append(_said(noun))
    return Report(_lines(event, fitted(head, items), [*change.notes, *taken.notes, *taken.failures]))


def _report_down(event: Event, change: Change, link: Link | None, taken: Taken, ledger: Ledger) -> Report:
    name = shown(event.connection)
    items: list[str] = []
    if change.reference is None:
        head = f"{name}: nothing is up for this {event.verb} (unique ID {event.unique_id})"
    elif link is None:
        head = f"{name}: its up had failed, nothing to take away"
    elif holders := len(ledger.holders(link.key)):
        now = ledger.wished([link.key])[link.key]
        assert isinstance(now, Link)
        head = f"{name}: {now.name} stays, held by {holders} more"
        gone = (step.noun for step in taken.steps if step.new is None and step.noun.link == link.key)
        items = [f"without {_said(noun)}" for noun in gone if isinstance(noun, Address | Route)]
    elif ledger.applied([link.key]):
        head = f"{name}: {link.name} could not be taken away, the next event tries again"
    else:
        head = f"{name}: {link.name} down, {link.local} → {link.remote}"
    return Report(_lines(event, fitted(head, items), [*taken.notes, *taken.failures]), 1 if taken.failures else 0)


def _said(noun: Address | Route) -> str:
    return str(noun.address if isinstance(noun, Address) else noun.destination)


def _lines(event: Event, first: str, notes: Iterable[str]) -> list[str]:
    told = [f"{shown(event.connection)}: {note}" for note in notes]
    kept, more = told[: LINES - 1], len(told) - (LINES - 1)
    tails = [""] * len(kept)
    if more > 0:
        tails[-1] = f" (and {more} more)"
    return [line(first), *(line(text, tail) for text, tail in zip(kept, tails, strict=True))]
