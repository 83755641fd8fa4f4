"""What an `up` or a `down` does to the references, before the kernel follows.

It changes records only.
"""

from collections.abc import Iterable

from .. import processes
from ..kernel.links import other_marks
from ..named_tuple import NamedTuple
from ..objects.link import Link
from ..objects.object import Applied, Object
from ..objects.sysctl import Sysctl
from ..records import matching
from ..records.records import Records
from ..records.references import ForDown, Holder
from ..settings.table import Settings
from ..text import Refusal, shown
from .context import EventContext

TYPE_CHECKING = False  # a `down` needs no plan, so it does without what makes one
if TYPE_CHECKING:
    from ..wishes.plan import Plan
    from ..wishes.questions import Reasons
    from .ask import Ask

Move = tuple[Link, Link]
"""A link before and after its endpoints change."""


class Change(NamedTuple):
    """What an event does to the references, before the kernel follows."""

    keys: list[str]
    """The keys whose wishes may have changed."""
    reference: int | None
    """The reference that came or went. None if a `down` found none."""
    own: tuple[str, ...] = ()
    """The keys that the reference wishes for, or did."""
    adds: tuple[int, ...] = ()
    """The references that came: its own, and what stands while there is no CHILD_SA."""
    blocks: int | None = None
    """The one of these that stays if the `up` fails: nothing else stands in the way yet."""
    replaces: tuple[int, ...] = ()
    """References that go once this one stands."""
    moved: tuple[Move, ...] = ()
    """Links that have other endpoints from now on: before and after."""
    notes: tuple[str, ...] = ()
    command: str = ""
    """The user's, to be run at the end, as `user_command` writes it."""
    log: str = ""
    """What is printed of the event: the setting `log`, that of the `up` for a `down`."""
    stale: tuple[str, ...] = ()
    """The keys that references of a charon that is gone wished for. They have ended."""
    reasons: "Reasons | None" = None
    """Why the event wishes for what it does. None if it made no plan."""


# An up


def begin_up(context: EventContext) -> Change:
    """Records the reference. Raises Refusal, with nothing recorded, if there can be none."""
    caller, records = context.caller, context.records
    references = records.references
    settings = context.load_settings(context.event)
    wished = _planned(context, settings)
    own = _keys_of(wished.wishes + wished.standing)
    stale = references.clear_stale(processes.gone, own)
    for link in _links_of(wished.wishes):
        _refuse_other_marks_of_borrowed(link, context)
        _refuse_other_marks(link, context)
    on_moved = _move(wished.moved, records)
    replaces = references.standing(caller)
    is_missing = _is_missing(wished.standing, context)
    if not caller.charon:
        replaces += references.equal(caller)
    for_down = ForDown(_command("down", settings), settings.log)
    number = references.add(caller, wished.wishes, for_down)
    records.unique_ids.learn(caller)
    adds = [number]
    blocks = None
    if wished.standing:
        standing = _stand(context, settings, wished.standing)
        adds.append(standing)
        if settings.when_down == "block" and is_missing:
            blocks = standing
    return Change(
        keys=own + stale + on_moved,
        reference=number,
        own=tuple(own),
        adds=tuple(adds),
        blocks=blocks,
        replaces=tuple(replaces),
        moved=wished.moved,
        notes=wished.notes,
        command=_command("up", settings),
        log=settings.log,
        stale=tuple(stale),
        reasons=wished.reasons,
    )


def _move(moved: Iterable[Move], records: Records) -> list[str]:
    """The links have their new endpoints on record. Returns the keys of all that is on them."""
    keys: list[str] = []
    for old, new in moved:
        keys += records.move(old.key, new)
    return keys


def _command(setting: str, settings: Settings) -> str:
    """The user's own command for an event of this direction. Empty if there is none."""
    words: str | None = getattr(settings, setting)
    if words is None:
        return ""
    from .user_command import UserCommand  # few tunnels have one

    command = UserCommand(
        setting,
        words,
        settings.command_seconds,
        settings.command_detach,
    )
    return command.write()


def _planned(context: EventContext, settings: Settings) -> "Plan":
    from ..wishes.plan import plan

    ask = _ask(context, settings)
    return plan(context.event, settings, ask)


def _ask(context: EventContext, settings: Settings) -> "Ask":
    from .ask import Ask

    return Ask(
        context.caller,
        settings,
        context.records,
        context.kernel,
    )


def begin_failed_up(context: EventContext) -> Change:
    """Records an `up` that failed: its `down` will come, and must not end another's reference.

    What `when_down` blocks is blocked all the same.
    """
    caller = context.caller
    records = context.records
    if caller.charon != processes.BY_HAND:
        records.references.add(caller, ())
        records.unique_ids.learn(caller)
    nothing = Change([], reference=None)
    try:
        settings = context.load_settings(context.event)
        blocking = _blocking(context, settings)
    except Refusal:
        return nothing  # Nobody knows what to block.
    if not _is_missing(blocking.standing, context):
        return nothing
    standing = _stand(context, settings, blocking.standing)
    keys = _keys_of(blocking.standing)
    return Change(
        keys=keys,
        reference=None,
        own=tuple(keys),
        adds=(standing,),
        reasons=blocking.reasons,
    )


def _blocking(context: EventContext, settings: Settings) -> "Plan":
    """What keeps packets from going another way. Raises Refusal if that cannot be known."""
    from ..wishes.plan import NOTHING, blocking

    if settings.when_down != "block":
        return NOTHING
    ask = _ask(context, settings)
    return blocking(context.event, settings, ask)


def _is_missing(standing: Iterable[Object], context: EventContext) -> bool:
    """Whether something of this does not stand yet for this caller."""
    references = context.records.references
    stood: list[Object] = []
    for number in references.standing(context.caller):
        stood += references.wishes(number)
    known = _keys_of(stood)
    return any(key not in known for key in _keys_of(standing))


def _stand(
    context: EventContext,
    settings: Settings,
    standing: Iterable[Object],
) -> int:
    """Records what stands while there is no CHILD_SA, and returns the number of its reference."""
    from .ask import held_as

    name = held_as(context.event.connection, settings)
    references = context.records.references
    return references.stand(name, context.caller, standing)


def _keys_of(wishes: Iterable[Object]) -> list[str]:
    """Their keys, each once."""
    keys = [wish.key for wish in wishes]
    return _different(keys)


def _links_of(wishes: Iterable[Object]) -> list[Link]:
    return [wish for wish in wishes if isinstance(wish, Link)]


def _different(keys: Iterable[str]) -> list[str]:
    different = dict.fromkeys(keys)
    return list(different)


def _refuse_other_marks(link: Link, context: EventContext) -> None:
    """A VTI has one pair of keys.

    Another mark is another peer behind the same address, unless it is this very CHILD_SA.
    """
    identity = context.caller.identity
    references = context.records.references
    for holder in references.holders(link.key):
        held = holder.object
        assert isinstance(held, Link)
        if held.marks == link.marks:
            continue
        if not matching.same_but_for_mark(identity, holder.identity):
            raise _other_mark(link, held, holder)


def _other_mark(
    link: Link,
    held: Link,
    holder: Holder,
) -> Refusal:
    connection = shown(holder.connection, 20)
    their_mark = held.okey or held.ikey
    our_mark = link.okey or link.ikey
    who = f"{connection} holds {held.name} to {link.remote}"
    what = f"{who} with mark {their_mark}, this is {our_mark}"
    return Refusal(what, "give both one mark, or use if_id")


def _refuse_other_marks_of_borrowed(link: Link, context: EventContext) -> None:
    """The marks of a borrowed link are not ours to change."""
    applied = _applied_link(link.key, context)
    if applied is None or not applied.borrowed:
        return
    borrowed = applied.object
    assert isinstance(borrowed, Link)
    if borrowed.marks == link.marks:
        return
    if not context.kernel.is_there(applied):
        return
    is_anothers = context.kernel.is_anothers(applied)
    raise other_marks(borrowed, 2, is_anothers)


def _applied_link(key: str, context: EventContext) -> Applied | None:
    recorded = context.records.applied.of([key])
    applied = recorded.get(key)
    if applied is None or not isinstance(applied.object, Link):
        return None
    return applied


# A down


def begin_down(context: EventContext) -> Change:
    """Finds the reference that the `down` ends, and ends it."""
    caller = context.caller
    references = context.records.references
    unique_ids = context.records.unique_ids
    candidates = references.lives(caller)
    heard = unique_ids.heard(caller)
    ending = matching.ends(candidates, caller, heard)
    if ending.reference is None:
        return _begin_lost_down(context)
    unique_ids.learn(caller)
    if ending.rekeyed is not None:
        unique_ids.rekey(
            caller.charon,
            ending.rekeyed,
            caller.unique_id,
        )
    for_down = references.for_down(ending.reference)
    own = references.end(ending.reference)
    stale = references.clear_stale(processes.gone, own)
    return Change(
        keys=own + stale,
        reference=ending.reference,
        own=tuple(own),
        command=for_down.command,
        log=for_down.log,
        stale=tuple(stale),
    )


def _begin_lost_down(context: EventContext) -> Change:
    """Ends what may have been this event's, whose own record was lost, or was never made."""
    change = _give_up(context)
    if change is not None:
        return change
    references = context.records.references
    stale = references.clear_stale(processes.gone, [])
    return Change(stale, reference=None, stale=tuple(stale))


def _give_up(context: EventContext) -> Change | None:
    """Ends what an event like this one would wish for, as far as it was adopted.

    The sysctls are left out. The records of who else of that family needs them were lost, too, so
    they go with the link.
    """
    records = context.records
    references = records.references
    settings = _settings_if_right(context)
    try:
        wished = _planned(context, settings)
    except Refusal:
        return None
    links = [link.key for link in _links_of(wished.wishes)]
    numbers = _adopted(links, context)
    if not numbers:
        return None
    if wished.standing and not references.standing(context.caller):
        _stand(context, settings, wished.standing)  # It was lost, too.
    on_links: list[str] = []
    for wish in wished.wishes:
        if not isinstance(wish, Link | Sysctl):
            on_links.append(wish.key)
    given_up: list[str] = []
    for number in numbers:
        given_up += records.adoption.give_up(number, on_links)
    keys = _different(given_up + _keys_of(wished.standing))
    first, *_ = numbers
    return Change(
        keys=keys,
        reference=first,
        own=(*keys, *links),
        reasons=wished.reasons,
    )


def needs_no_link(context: EventContext) -> Refusal | None:
    """What to tell the user of a CHILD_SA that is fine without a link.

    None if it is not, or if the settings are wrong, so that nobody knows.
    """
    from ..wishes import link

    try:
        settings = context.load_settings(context.event)
    except Refusal:
        return None
    return link.needs_no_link(context.event, settings)


def _adopted(links: list[str], context: EventContext) -> list[int]:
    """The references under which these links were adopted."""
    records = context.records
    if not records.applied.of(links):
        _adopt_links(links, context)
    numbers = []
    for key in links:
        number = records.adoption.adopted(key)
        if number is not None:
            numbers.append(number)
    return numbers


def _settings_if_right(context: EventContext) -> Settings:
    """The settings, or the defaults if those are wrong.

    A `down` must not wait for somebody to correct them.
    """
    try:
        return context.load_settings(context.event)
    except Refusal:
        return Settings()


def _adopt_links(links: list[str], context: EventContext) -> None:
    """Adopts these links, which may have been made while nothing could be recorded."""
    records = context.records
    ours = []
    recorded = records.applied.namespaces()
    for applied in context.kernel.ours(recorded):
        if applied.object.link_key in links:
            ours.append(applied)
    # A link on record still has these endpoints, and shall have others.
    is_on_record = any(records.applied.has_made(applied) for applied in ours)
    if not is_on_record:
        records.adoption.adopt(context.caller.charon, ours)
