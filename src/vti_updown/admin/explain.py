"""`vti-updown explain`: what an event would do, and why. It changes nothing.

The steps are those of a rehearsal. The reasons were kept by what found them: the plan says why it
wishes for each object, the difference why the kernel must change, and the records who else wishes
for it. Here they are only put into words.
"""

import os
import time
from collections.abc import Iterator, Sequence

from .. import processes
from ..event import Event
from ..hook.context import Call, EventContext
from ..hook.flags import FlagsGiven
from ..hook.rehearse import copied, foresee, notes_of_waiting
from ..hook.run import context_of
from ..objects.link import Link
from ..objects.object import Applied, Object
from ..objects.registry import Step, commands, field_names
from ..objects.route import DEFAULT_METRIC, Route
from ..reconcile.difference import NOT_THERE, NOT_WISHED
from ..reconcile.reconcile import ifnames_of
from ..records.references import STANDING, Holder
from ..records.storage import DIRECTORY
from ..settings.choose import Chosen, chosen_for
from ..settings.table import KEYS, FlagWords
from ..settings.values import as_toml, as_word
from ..text import Refusal, shown
from ..wishes.questions import Reason
from .event_sources import NO_RECORDS, Told
from .explanation import Answer, Explanation, Item, SettingGiven, as_json, lines
from .outcome import Outcome

NOT_IN_KERNEL = ("mtu_is_chosen", "is_chosen", "firmness", "only_with")
"""Fields of objects that only the records know."""
HOLDERS = 3
"""As many others who wish for the same are named."""
WORD_CHARACTERS = 120
"""As much of a value of the peer's is shown."""
DONE_BEFORE = "the event before does it"
GOES_ALONG = "it goes along with its link"
Foretold = set[tuple[str, Object | None]]
"""The steps of the events before: each key with its new object."""


def explain(told: Told, is_json: bool) -> Outcome:
    """Explains events, each as if those before it had been done.

    Raises Refusal if nothing can be said.
    """
    events: list[Explanation] = []
    with copied() as (kernel, records):
        notes = [*told.notes, *notes_of_waiting(kernel)]
        if not _may_read_records():
            notes.append(NO_RECORDS)
        foretold: Foretold = set()
        for event in told.events:
            call = Call(
                event=event,
                charon=processes.charon(),
                flags=FlagsGiven(told.flags),
                environ={},
                words=(),
                called=time.time(),
                began=time.monotonic(),
            )
            context = context_of(call, records, kernel)
            work = _Work(context, told.flags, foretold)
            explanation = work.explanation()
            events.append(explanation)
    answer = Answer(told.source, notes, events)
    return _outcome(answer, is_json)


def _may_read_records() -> bool:
    if not os.path.exists(DIRECTORY):
        return True
    return os.access(DIRECTORY, os.R_OK)


def _outcome(answer: Answer, is_json: bool) -> Outcome:
    """An event that would fail is an error, which JSON has within."""
    errors = []
    worst = 0
    for event in answer.events:
        if event.error is not None:
            errors.append(event.error)
            worst = max(worst, event.error.status)
    if is_json:
        return Outcome(as_json(answer), status_of_lines=worst)
    return Outcome(lines(answer), errors)


class Words:
    """Puts the reasons of a plan into words, with the place of each setting."""

    def __init__(
        self,
        chosen: Chosen | None,
        flags: FlagWords,
    ) -> None:
        self._chosen = chosen
        self._flags = flags

    def of(self, reason: Reason) -> str:
        values = [shown(value, WORD_CHARACTERS) for value in reason.values]
        rule = reason.rule.format(*values)
        settings = [self._setting(key) for key in reason.settings]
        parts = [", ".join(settings), rule]
        return ": ".join(part for part in parts if part)

    def given(self) -> Iterator[SettingGiven]:
        """The settings that are not the default, in the order of the table."""
        for key in KEYS:
            given = self._given(key)
            if given is not None:
                yield given

    def _setting(self, key: str) -> str:
        given = self._given(key)
        if given is None:
            return f"{key} not set"
        if not given.table:
            return given.written
        return f"{given.written} ({given.table})"

    def _given(self, key: str) -> SettingGiven | None:
        if self._chosen is None:
            return None
        given = self._chosen.given(key)
        if given is None:
            return None
        origin, value = given
        if not origin.file:
            return SettingGiven(key, self._flag(key))
        written = f"{key} = {as_toml(value)}"
        return SettingGiven(key, written, origin.file, origin.table)

    def _flag(self, key: str) -> str:
        """The flag as the command line has it."""
        flag = KEYS[key]
        if flag.name not in self._flags:
            return "--no-routes"
        words = [f"--{flag.name} {as_word(value)}" for value in self._flags[flag.name]]
        return " ".join(words)


class _Work:
    """Explains one event on a copy of the records."""

    def __init__(
        self,
        context: EventContext,
        flags: FlagWords,
        foretold: Foretold,
    ) -> None:
        event = context.event
        records = context.records
        foreseen = foresee(context)
        change = foreseen.change
        self._event = event
        self._kernel = context.kernel
        self._references = records.references
        self._applied = records.applied
        self._foretold = foretold
        self._foreseen = foreseen
        self._change = change
        self._steps = foreseen.steps
        chosen = _chosen(flags, event)
        self._words = Words(chosen, flags)
        self._own: dict[str, Object] = {}
        """What the event itself wishes for, by key. A `down` has nothing any more."""
        for number in change.adds:
            for wish in records.references.wishes(number):
                self._own.setdefault(wish.key, wish)
        self._reasons: dict[str, list[Reason]] = {}
        if change.reasons is not None:
            self._reasons = change.reasons.by_key()
        self._ifnames = ifnames_of(self._with_step(), records)

    def _with_step(self) -> list[Step]:
        """The steps, and what has none as if it had one, for the names of links."""
        steps = list(self._steps)
        for wish in self._own.values():
            step = Step(None, wish)
            steps.append(step)
        return steps

    def explanation(self) -> Explanation:
        event = self._event
        steps = []
        others = []
        for step in self._steps:
            item = self._item(step)
            if item.commands:
                steps.append(item)
            else:
                others.append(item)
        for step in self._steps:
            key = step.object.key
            self._foretold.add((key, step.new))
        others += self._without_step()
        notes = self._notes()
        why_nothing = self._foreseen.why_nothing
        if why_nothing and not steps:
            notes.append(why_nothing)
        settings: list[SettingGiven] = []
        if event.up:
            settings += self._words.given()
        return Explanation(
            verb=event.verb,
            connection=shown(event.connection),
            selectors=_selectors(event),
            unique_id=event.unique_id,
            settings=settings,
            steps=steps,
            others=others,
            notes=notes,
            error=self._foreseen.error,
        )

    def _notes(self) -> list[str]:
        notes = list(self._change.notes)
        reasons = self._change.reasons
        if reasons is not None:
            for what, reason in reasons.left_out:
                why = self._words.of(reason)
                notes.append(f"not {shown(what)}: {why}")
        return notes

    # What has a step

    def _item(self, step: Step) -> Item:
        key = step.object.key
        title = self._title(step.object)
        if (key, step.new) in self._foretold:
            return Item("done already:", title, [DONE_BEFORE])
        in_the_way = self._in_the_way(step)
        if in_the_way:
            return Item("leave alone", title, [in_the_way])
        reasons = list(self._why_now(step))
        if step.new is not None:
            reasons += self._wished(step.new)
        return Item(
            doing=_doing(step),
            what=title,
            reasons=reasons,
            commands=commands(step, self._ifnames),
        )

    def _title(self, thing: Object) -> str:
        ifname = self._ifnames.get(thing.link_key, "its link")
        return thing.title(ifname)

    def _why_now(self, step: Step) -> Iterator[str]:
        """Why the kernel must change."""
        key = step.object.key
        foreseen = self._foreseen
        if step.why not in (NOT_THERE, NOT_WISHED):
            yield f"{step.why}{_differences(step)}"
        looked_at = foreseen.looked_at.get(key, "")
        if looked_at:
            yield looked_at
        if step.new is not None:
            return
        yield step.why
        if key in foreseen.replaced:
            yield "an older reference of this connection wished for it, and is replaced"
        elif key in foreseen.change.stale:
            yield "it belonged to a charon that is gone, and calls no down for it"
        elif key in foreseen.change.own:
            yield f"this {self._event.verb} ends the last reference that wished for it"

    def _wished(self, wished: Object) -> Iterator[str]:
        """Why the event wishes for an object, who else does, and what that makes of it."""
        key = wished.key
        for reason in self._reasons.get(key, ()):
            yield self._words.of(reason)
        others = self._other_holders(key)
        if others:
            yield _held_by(others, key in self._own)
        own = self._own.get(key)
        if own is not None:
            yield from _merged(own, wished, others)

    def _other_holders(self, key: str) -> list[Holder]:
        own = self._change.adds
        holders = self._references.holders(key)
        return [holder for holder in holders if holder.number not in own]

    def _in_the_way(self, step: Step) -> str:
        """What of somebody else's keeps a step from being taken. Empty if nothing does."""
        new = step.new
        if new is None:
            return self._why_it_stays(step.object)
        if step.old is not None:
            return ""
        observe = self._kernel.observe(new.netns)
        if isinstance(new, Link):
            return _borrowed(observe.same_link(new))
        if not isinstance(new, Route) or not new.link_key:
            return ""
        there = observe.host_routes(new.destination, new.table)
        metric = new.metric or DEFAULT_METRIC[new.destination.version]
        for other in there.routes:
            if (other.network, other.metric) == (new.destination, metric):
                return f"there is a route by {other.by}, which is not ours"
        return ""

    def _why_it_stays(self, old: Object) -> str:
        """Why something is not taken away. Empty if it is."""
        recorded = self._applied.of([old.key])
        applied = recorded.get(old.key)
        if applied is None or not applied.borrowed:
            return ""
        return "it was there before us, so it stays"

    # What has none

    def _without_step(self) -> Iterator[Item]:
        """What the event is about, and the kernel has already, or loses by itself."""
        own = dict.fromkeys(self._change.own)
        for step in self._steps:
            own.pop(step.object.key, None)
        keys = list(own)
        wished = self._references.wished(keys)
        applied = self._applied.of(keys)
        for key in keys:
            if key in wished:
                thing = wished[key]
                yield Item(
                    "as it is:",
                    self._title(thing),
                    list(self._wished(thing)),
                )
            elif key in self._own:
                thing = self._own[key]
                reasons = [f"it comes only with what nobody wishes for: {thing.only_with}"]
                yield Item("not now:", self._title(thing), reasons)
            elif key in applied:
                thing = applied[key].object
                yield Item("gone:", self._title(thing), [GOES_ALONG])


def _chosen(flags: FlagWords, event: Event) -> Chosen | None:
    """The settings with their places. None if they are wrong: then an `up` says so."""
    try:
        return chosen_for(flags, event)
    except Refusal:
        return None


def _selectors(event: Event) -> str:
    mine = event.my_selector.seen_from(None)
    its = event.peer_selector.seen_from(None)
    return f"{mine} === {its}"


def _doing(step: Step) -> str:
    if step.new is None:
        return "take away"
    if step.old is None:
        return "make"
    if step.old == step.new:
        return "put back"
    return "change"


def _differences(step: Step) -> str:
    """The fields in which the old and the new object differ, such as `: mtu 1374, not 1400`."""
    if step.old is None or step.new is None or step.old == step.new:
        return ""
    fields = field_names(type(step.new))
    changed = []
    for field in fields:
        old = getattr(step.old, field)
        new = getattr(step.new, field)
        if old != new and field not in NOT_IN_KERNEL:
            changed.append(f"{field} {shown(old)} becomes {shown(new)}")
    return f": {', '.join(changed)}"


def _merged(
    own: Object,
    wished: Object,
    others: Sequence[Holder],
) -> Iterator[str]:
    """The fields that other wishes for the key decide."""
    for field, rule in own.MERGED.items():
        value = getattr(wished, field)
        if value == getattr(own, field):
            continue
        deciding = [each for each in others if getattr(each.object, field) == value]
        who = _names(deciding) or "another"
        yield f"{field} {shown(value)} is what {who} wishes for, as this counts: {rule}"


def _held_by(others: Sequence[Holder], is_wished: bool) -> str:
    if is_wished:
        return f"{_names(others)} wishes for it as well"
    return f"{_names(others)} wishes for it, so it stays"


def _names(holders: Sequence[Holder]) -> str:
    """Who wishes for something, and since when."""
    names: dict[str, None] = {}
    for holder in holders:
        connection = shown(holder.connection, 30)
        name = f"{connection} (since {holder.since})"
        if holder.charon == STANDING:
            name = f"{connection} (standing since {holder.since})"
        names[name] = None
    told = list(names)
    text = ", ".join(told[:HOLDERS])
    if len(told) > HOLDERS:
        text += f" and {len(told) - HOLDERS} more"
    return text


def _borrowed(there: Applied | None) -> str:
    if there is None or not there.borrowed:
        return ""
    link = there.object
    assert isinstance(link, Link)
    return f"{link.name} is it already, which somebody else made: it is used, and never changed"
