"""What people and units do to the records and the kernel beside events: `repair`, `flush`, `prepare` and `release`.

Each prints the commands that it stood for, and none needs an event. With `dry_run` the commands are those that it would take,
and nothing changes.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, closing
from ipaddress import ip_network
from itertools import chain

from . import process
from .errors import Refusal
from .event import UINT32_MAX, Event, Mark, Selector
from .explain import commands
from .follow import Taken, link_names, steps_over, take, with_doubts
from .hook import Change, adopt_lost, answers, settle
from .kernel import Kernel
from .ledger import Ledger, opened, snapshot
from .plan import plan
from .settings import Settings
from .state import Link, Noun, Route, Step
from .text import shown


def repair(dry_run: bool = False) -> list[str]:
    """Puts back what is wished for and gone or changed, and takes away what an event left half done.

    Returns the lines to print. Raises Refusal where the records cannot be had, or something could not be done.
    """
    with closing(Kernel()) as kernel, _records(kernel, dry_run) as ledger:
        adopt_lost(process.charon(), ledger, kernel)
        keys = ledger.every_key()
        ledger.doubt(kernel.astray(ledger.applied(keys)))
        return _report(_take(keys, ledger, kernel, dry_run), "nothing to repair")


def flush(stale: bool, force: bool, dry_run: bool = False) -> list[str]:
    """Takes away all of ours; with `stale` only what belongs to a charon that is gone.

    Returns the lines to print. Raises Refusal while a charon lives whose tunnels would go, unless `force`; and where
    the records cannot be had, or something could not be taken away.
    """
    with closing(Kernel()) as kernel, _records(kernel, dry_run) as ledger:
        adopt_lost(process.charon(), ledger, kernel)
        if stale:
            keys = ledger.clear_stale(process.alive, [], each=-1)
        else:
            living = [*process.charons(), *(one.partition("@")[0] for one in ledger.charons() if process.alive(one))]
            if living and not force:
                who = f"charon (PID {living[0]}) is running"
                raise Refusal(f"{who} and its tunnels would go", "stop it first, or use --stale, or --force", 1)
            ledger.end_all()
            for one in kernel.ours():
                if not ledger.applied([one.noun.key]):  # left by something that is on no record
                    ledger.done(Step(None, one.noun), one.ifindex)
            keys = ledger.every_key()
        return _report(_take(keys, ledger, kernel, dry_run), "nothing to take away")


def prepare(found: Mapping[str, Settings], connections: Collection[str], dry_run: bool = False) -> list[str]:
    """Sets up what stands while no CHILD_SA does, for these connections or, with none, all whose `when_down` says so.

    `found` has the settings of each table that is one connection's. Returns the lines to print. Raises Refusal, with
    nothing changed, for a connection that cannot be prepared; and where the records cannot be had, or the kernel refuses.
    """
    names = list(connections) or [name for name, settings in found.items() if settings.when_down != "remove"]
    for name in names:
        if name not in found:
            raise Refusal(f"the settings have no table [connection.{shown(name)}]", "see vti-updown check-config")
        if found[name].when_down == "remove":
            raise Refusal(f"{shown(name)}: when_down is remove, so nothing stands", "make it keep or block in the settings")
    with closing(Kernel()) as kernel, _records(kernel, dry_run) as ledger:
        adopt_lost(process.charon(), ledger, kernel)
        own: list[str] = []
        notes: list[str] = []
        adds: list[int] = []
        replaces: list[int] = []
        moved: dict[tuple[Link, Link], list[str]] = {}
        for name in names:
            made, told = _prepared(name, found[name], ledger, kernel, moved)
            notes += told
            for event, standing in made:
                replaces += ledger.standing(event)
                adds.append(ledger.stand(name, event, standing))
                own += [noun.key for noun in standing]
        keys = list(dict.fromkeys(chain(own, *moved.values())))
        if dry_run:
            keys += [key for number in replaces for key in ledger.end(number)]
            taken = _take(keys, ledger, kernel, dry_run)
        else:
            taken = settle(Change(keys, None, tuple(own), tuple(adds), tuple(replaces), tuple(moved)), "", ledger, kernel)
        return [*_report(taken, "nothing to prepare"), *(f"# {note}" for note in notes)]


def _prepared(
    name: str, settings: Settings, ledger: Ledger, kernel: Kernel, moved: dict[tuple[Link, Link], list[str]]
) -> tuple[list[tuple[Event, tuple[Noun, ...]]], list[str]]:
    """What is to stand for a connection, by family, and what to tell the user. Links that have other endpoints from now on
    go into `moved`, with the keys of what is on them.
    """
    made: list[tuple[Event, tuple[Noun, ...]]] = []
    notes: dict[str, None] = {}
    for family in (4, 6):
        event = _asleep(name, settings, family)
        move: list[tuple[Link, Link]] = []
        try:
            planned = plan(event, settings, answers(event, settings, ledger, kernel, move))
        except Refusal as refusal:
            raise Refusal(f"{shown(name)}: {refusal.message}", refusal.hint, refusal.status) from None
        for old, new in move:
            moved[old, new] = ledger.move(old.key, new)
        if settings.routes is None:
            notes[f"{shown(name)}: routes = auto is known only once the CHILD_SA is up; list them"] = None
        if any(isinstance(noun, Link | Route) for noun in planned.standing):
            made.append((event, planned.standing))
            notes.update(dict.fromkeys(planned.notes if settings.routes is not None else ()))
    if not made:
        raise Refusal(f"{shown(name)}: there is no route to block", "list its routes in the settings")
    return made, list(notes)


def _asleep(name: str, settings: Settings, family: int) -> Event:
    """What an `up` of this connection would say, as far as the settings know."""
    everything = Selector(ip_network("0.0.0.0/0" if family == 4 else "::/0"), 0, "0")
    mark_in, mark_out = settings.mark or (None, None)
    if_id_in, if_id_out = settings.if_id or (None, None)
    return Event(
        verb="prepare",
        up=True,
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
        mark_in=None if mark_in is None else Mark(mark_in, UINT32_MAX),
        mark_out=None if mark_out is None else Mark(mark_out, UINT32_MAX),
        if_id_in=if_id_in,
        if_id_out=if_id_out,
    )


def release(connections: Collection[str], dry_run: bool = False) -> list[str]:
    """Lets go of what stands while no CHILD_SA does, for these connections or, with none, all. What is up stays up.

    Returns the lines to print. Raises Refusal for a connection that nothing stands for, with nothing changed.
    """
    with closing(Kernel()) as kernel, _records(kernel, dry_run) as ledger:
        adopt_lost(process.charon(), ledger, kernel)
        stood = ledger.stood()
        for name in connections:
            if shown(name) not in (connection for _, connection in stood):
                known = ", ".join(sorted({connection for _, connection in stood if connection})) or "nobody"
                raise Refusal(f"nothing stands for {shown(name)}", f"something stands for: {known}")
        wanted = {shown(name) for name in connections}
        keys = [key for number, name in stood if not wanted or name in wanted for key in ledger.end(number)]
        return _report(_take(keys, ledger, kernel, dry_run), "nothing to release")


def _records(kernel: Kernel, dry_run: bool) -> AbstractContextManager[Ledger]:
    """The records, locked; for a rehearsal a copy of them in memory."""
    return closing(snapshot(kernel.namespace())) if dry_run else opened(kernel.namespace())


def _take(keys: Iterable[str], ledger: Ledger, kernel: Kernel, dry_run: bool) -> Taken:
    """Takes the steps over `keys`, or only finds them."""
    if not dry_run:
        return take(keys, ledger, kernel)
    steps = steps_over(with_doubts(keys, ledger, kernel), ledger)
    return Taken(steps, link_names(steps, ledger), notes=[], failures=[], refused=None, foreign=frozenset())


def _report(taken: Taken, nothing: str) -> list[str]:
    if taken.failures:
        rest = f" (and {len(taken.failures) - 1} more)" if len(taken.failures) > 1 else ""
        raise Refusal(f"{taken.failures[0]}{rest}", "run it again, as root", 1)
    done = [step for step in taken.steps if step.noun.key not in taken.foreign]
    lines = [command for step in done for command in commands(step, taken.names)]
    return [*(lines or [nothing]), *(f"# {note}" for note in taken.notes)]
