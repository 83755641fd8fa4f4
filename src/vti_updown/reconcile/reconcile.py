"""The kernel follows the records over some keys.

The difference is taken step by step, and what came of it is written down.
"""

from collections.abc import Collection, Iterable

from ..kernel.kernel import Kernel
from ..kernel.namespace import OutOfSight
from ..named_tuple import NamedTuple
from ..objects.address import Address
from ..objects.link import Link
from ..objects.object import Applied, Object, Outcome
from ..objects.registry import Step, commands
from ..records.records import Records
from ..records.storage import DatabaseError
from ..text import Refusal, shown
from .difference import AppliedByKey, Keys, WishByKey, difference

Links = dict[str, Applied]
"""Links by their keys, each with the ifindex that it has now."""


class Result(NamedTuple):
    """What came of the steps."""

    steps: list[Step]
    ifnames: dict[str, str]
    """The name of each link that they touch, by its key."""
    notes: list[str]
    """What was left alone, and why."""
    failures: list[str]
    """What could not be done. The next event tries again."""
    refused: Refusal | None
    """Why a step that the event cannot do without was not taken."""
    foreign: frozenset[str]
    """Keys of what was there already and is not ours."""
    failed: frozenset[str] = frozenset()
    """Keys of what could not be done."""
    spoilt: frozenset[str] = frozenset()
    """Keys of the links on which something could not be put."""
    borrowed: frozenset[str] = frozenset()
    """Keys of the links that somebody else made: they were not changed."""

    def commands(self) -> list[str]:
        """The commands that the steps stood for which changed something."""
        unchanged = self.foreign | self.failed | self.borrowed
        done: list[str] = []
        for step in self.steps:
            if step.object.key not in unchanged:
                done += commands(step, self.ifnames)
        return done

    @property
    def changed(self) -> str:
        """What was put (+), changed (~) and taken away (-), for people."""
        changes: dict[str, None] = {}
        for step in self.steps:
            changed = step.object
            if changed.key not in self.failed and changed.key not in self.foreign:
                changes[f"{step.sign}{changed.label}"] = None
        return ", ".join(changes)

    def and_then(self, later: "Result") -> "Result":
        """These steps and then the later ones."""
        return self._replace(
            steps=self.steps + later.steps,
            ifnames=self.ifnames | later.ifnames,
            notes=self.notes + later.notes,
            failures=self.failures + later.failures,
            foreign=self.foreign | later.foreign,
            failed=self.failed | later.failed,
            borrowed=self.borrowed | later.borrowed,
        )


def reconcile(
    keys: Iterable[str],
    records: Records,
    kernel: Kernel,
    own: Keys = (),
) -> Result:
    """Takes the steps over `keys`.

    A step that is refused ends it if the object is the event's `own`. What else fails is said once,
    and waits. Something that cannot be put may stand on what others have taken away or spoilt. Then
    all of its link is put once more.
    """
    keys = list(keys)
    first = _Attempt(
        records=records,
        kernel=kernel,
        asked=keys,
        own=own,
        is_last=False,
    )
    result = first.over(keys)
    if not result.spoilt:
        return result
    on_spoilt: list[str] = []
    for link_key in result.spoilt:
        on_spoilt += records.applied.on_link(link_key)
    records.applied.doubt(on_spoilt)
    last = _Attempt(
        records=records,
        kernel=kernel,
        asked=keys,
        own=own,
        is_last=True,
    )
    again = last.over(keys + on_spoilt)
    return again._replace(
        steps=result.steps + again.steps,
        ifnames=result.ifnames | again.ifnames,
    )


class _Ended(NamedTuple):
    """A step that did not fail."""

    step: Step
    outcome: Outcome | None
    """None if it was not taken."""

    @property
    def note(self) -> str:
        """What was left alone, in words. Empty if there is nothing to say."""
        if self.outcome is None or self.outcome.foreign is None:
            return ""
        description = self.outcome.foreign.description
        if not description:
            return ""
        return f"left alone: {description}"

    @property
    def is_foreign(self) -> bool:
        """Whether the object was there already, and is not ours."""
        if self.outcome is None or self.step.new is None:
            return False
        return self.outcome.applied is None


class _Attempt:
    """One attempt at the steps over some keys."""

    def __init__(
        self,
        records: Records,
        kernel: Kernel,
        asked: Keys,
        own: Keys,
        is_last: bool,
    ) -> None:
        self._records = records
        self._kernel = kernel
        self._asked = asked
        self._own = own
        self._is_last = is_last
        self._ended: list[_Ended] = []
        self._failures: list[str] = []
        self._refused: Refusal | None = None
        self._faults: dict[str, str] = {}
        """What is to be said of each key that something could not be done for."""
        self._spoilt: set[str] = set()
        self._out_of_sight: dict[str, Refusal] = {}
        """The namespaces that cannot be looked into, by name."""

    def over(self, keys: Iterable[str]) -> Result:
        records = self._records
        keys = with_doubts(keys, records, self._kernel)
        before = records.applied.of(keys)
        found = steps_from(before, keys, records, self._kernel)
        ifnames = ifnames_of(found, records)
        links = self._links(ifnames)
        steps = [self._with_what_is_there(step, links, before) for step in found]
        records.applied.expect(steps)
        records.commit()
        for step in steps:
            key = step.object.key
            was = before.get(key)
            self._take(step, links, was)
        notes = self._notes()
        notes += self._record(before)
        return Result(
            steps=steps,
            ifnames=ifnames,
            notes=notes,
            failures=self._failures,
            refused=self._refused,
            foreign=self._foreign(),
            failed=frozenset(self._faults),
            spoilt=frozenset(self._spoilt),
            borrowed=self._borrowed(before),
        )

    def _links(self, keys: Iterable[str]) -> Links:
        """The links that the steps are about. A link that is gone has no ifindex."""
        links = self._records.applied.of(keys)
        for key, link in links.items():
            try:
                is_there = self._kernel.is_there(link)
            except OutOfSight as refusal:
                self._out_of_sight[link.object.netns] = refusal
                continue
            if not is_there:
                links[key] = link._replace(ifindex=None)
        return links

    def _with_what_is_there(
        self,
        step: Step,
        links: Links,
        before: AppliedByKey,
    ) -> Step:
        """The step with what is there before us, if it is the first of ours."""
        changed = step.object
        if step.new is None or changed.key in before or changed.netns in self._out_of_sight:
            return step
        now = self._kernel.now(step, links)
        return step._replace(before=now)

    def _take(
        self,
        step: Step,
        links: Links,
        was: Applied | None,
    ) -> None:
        """Takes a step, unless one was refused that the event cannot do without."""
        if self._refused is not None:
            not_taken = _Ended(step, None)
            self._ended.append(not_taken)
            return
        if self._lacks_link(step, links):
            self._faults[step.object.key] = ""
            return
        out_of_sight = self._out_of_sight.get(step.object.netns)
        if out_of_sight is not None:
            self._note_failure(step, out_of_sight)
            return
        is_sure = was is None or was.sure
        try:
            outcome = self._kernel.take(step, links, is_sure, self._is_last)
        except Refusal as refusal:
            self._note_failure(step, refusal)
            return
        ended = _Ended(step, outcome)
        self._ended.append(ended)
        if isinstance(step.new, Link) and outcome.applied is not None:
            key = step.new.key
            links[key] = outcome.applied

    def _lacks_link(self, step: Step, links: Links) -> bool:
        """Whether it belongs on a link that could not be made, which is said already."""
        if step.new is None:
            return False
        link_key = step.new.link_key
        if link_key not in self._faults:
            return False
        link = links.get(link_key)
        return link is None or link.ifindex is None

    def _note_failure(self, step: Step, refusal: Refusal) -> None:
        changed = step.object
        is_put = step.new is not None
        self._faults[changed.key] = refusal.message
        if is_put and changed.stands_on:
            self._spoilt.add(changed.stands_on)
        if is_put and changed.key in self._own:
            self._refused = refusal
            return
        if self._was_said(changed.key, refusal.message):
            return
        if refusal.message not in self._failures:
            self._failures.append(refusal.message)

    def _was_said(self, key: str, fault: str) -> bool:
        """Whether an event before this one has said so, and nobody asks for it again."""
        if key in self._asked:
            return False
        faults = self._records.applied.faults([key])
        return faults.get(key) == fault

    def _notes(self) -> list[str]:
        notes = []
        for ended in self._ended:
            if ended.note:
                notes.append(ended.note)
        return notes

    def _foreign(self) -> frozenset[str]:
        keys = set()
        for ended in self._ended:
            if ended.is_foreign:
                foreign = ended.step.object
                keys.add(foreign.key)
        return frozenset(keys)

    def _borrowed(self, before: AppliedByKey) -> frozenset[str]:
        """The keys of the links that are, or were, somebody else's."""
        applied = dict(before)
        for ended in self._ended:
            if ended.outcome is not None and ended.outcome.applied is not None:
                applied[ended.step.object.key] = ended.outcome.applied
        return frozenset(key for key, was in applied.items() if was.borrowed)

    def _record(self, before: AppliedByKey) -> list[str]:
        """Writes down what came of the steps. If that fails, all of it stays in doubt."""
        try:
            for ended in self._ended:
                key = ended.step.object.key
                was = before.get(key)
                _record(ended, was, self._records)
            self._record_faults()
            # After a refused step, the roll back goes on from here. A death before it leaves all of
            # it in doubt.
            if self._refused is None:
                self._records.commit()
        except DatabaseError as error:
            self._records.rollback()
            fault = shown(error)
            return [f"not recorded ({fault}), so the next event looks again"]
        return []

    def _record_faults(self) -> None:
        applied = self._records.applied
        for key, fault in self._faults.items():
            if key in self._asked:
                applied.failed(key, fault)
            else:
                applied.failed_again(key, fault)


def _record(
    ended: _Ended,
    was: Applied | None,
    records: Records,
) -> None:
    """Writes down what came of a step."""
    step = ended.step
    outcome = ended.outcome
    applied = records.applied
    key = step.object.key
    if outcome is None:
        applied.restore(key, was)
        return
    if outcome.applied is not None:
        _record_put(step, outcome.applied, records)
        return
    if step.new is not None:
        applied.restore(key, None)
        return
    was_borrowed = was is not None and was.borrowed
    applied.removed(step.object, was_borrowed)


def _record_put(step: Step, put: Applied, records: Records) -> None:
    """Writes down what is there now. A link may be there otherwise than it was wished for."""
    if isinstance(put.object, Link) and put.object != step.new:
        records.references.replace_wish(put.object)
    records.applied.put(put._replace(sure=True))


ASKED = ""
COMES_OR_GOES_WITH = "it comes and goes with another one of these"
LEFT_IN_DOUBT = "an earlier event could not do it, or died at it"
LOST_WITH_LINK = "its link was taken away by somebody, or is bound to a device that came back"
"""Why a key is looked at."""


def with_doubts(
    keys: Iterable[str],
    records: Records,
    kernel: Kernel,
) -> dict[str, str]:
    """`keys`, and what else must be looked at: why, by key.

    That is what an earlier event left in doubt, all that stands on a link that somebody took away
    or that is bound to a device that is gone and came back, what comes and goes with one of them,
    and what follows a link.
    """
    all_keys = dict.fromkeys(keys, ASKED)
    for key in list(all_keys):
        with_it = records.references.coming_or_going_with(key)
        for other in with_it + records.applied.about(key):
            all_keys.setdefault(other, COMES_OR_GOES_WITH)
    for key in records.applied.in_doubt():
        all_keys.setdefault(key, LEFT_IN_DOUBT)
    recorded = records.applied.of(all_keys)
    for link_key, was in recorded.items():
        lost = _lost_with(link_key, was, records, kernel)
        for key in lost:
            all_keys.setdefault(key, LOST_WITH_LINK)
    return all_keys


def _lost_with(
    key: str,
    was: Applied,
    records: Records,
    kernel: Kernel,
) -> list[str]:
    """The keys of what was lost with this, if it is a link that somebody took away.

    What was lost with its namespace is no longer on record.
    """
    link = was.object
    if not isinstance(link, Link):
        if kernel.is_made_anew(was):
            records.applied.restore(key, None)
        return []
    try:
        if kernel.is_there(was):
            return _lost_with_device(key, was, records, kernel)
    except OutOfSight:
        return []
    same = None
    if not was.sure:
        # The records may not know where a link in doubt is, or whose. In a namespace that was made
        # anew, another link may have its old number.
        observe = kernel.observe(link.netns)
        same = observe.same_link(link)
    records.applied.locate(key, same)
    if same is not None:
        return []
    return _doubted_on(key, records)


def _lost_with_device(
    key: str,
    was: Applied,
    records: Records,
    kernel: Kernel,
) -> list[str]:
    """The keys of a link and what is on it, if it is bound to a device that is gone.

    If somebody wishes for the link, and the device is back, the link is made anew.
    """
    if not kernel.is_bound_to_gone(was) or not records.references.wished([key]):
        return []
    return _doubted_on(key, records)


def _doubted_on(key: str, records: Records) -> list[str]:
    """The keys of what was on a link that is to be made anew, which are in doubt from now on."""
    on_it = records.applied.on_link(key)
    records.applied.doubt(on_it)
    # What was left alone on a borrowed link is on no record. It is not on the link that is made
    # anew.
    beside = records.references.wished_beside(key)
    return on_it + beside


def steps_over(
    keys: Keys,
    records: Records,
    kernel: Kernel,
) -> list[Step]:
    """The difference over `keys`."""
    applied = records.applied.of(keys)
    return steps_from(applied, keys, records, kernel)


def steps_from(
    before: AppliedByKey,
    keys: Keys,
    records: Records,
    kernel: Kernel,
) -> list[Step]:
    """The same, where it is known what was applied for `keys`."""
    applied = dict(before)
    wished = records.references.wished(keys)
    not_wished = [key for key in applied if key not in wished]
    for key in records.references.unclear(not_wished):
        del applied[key]  # Somebody wishes for it, and nobody knows how. So it stays as it is.
    beside = _beside(applied, wished, records)
    borrowed = _borrowed_links(applied, records)
    steps = difference(applied, wished, beside, borrowed)
    return [_instead_of_bound(step, applied, kernel) for step in steps]


def _instead_of_bound(
    step: Step,
    applied: AppliedByKey,
    kernel: Kernel,
) -> Step:
    """The step with the link that must go first, since its device is gone and came back."""
    was = applied.get(step.object.key)
    if was is None or was.sure or step.new is None or not isinstance(was.object, Link):
        return step
    if not kernel.is_bound_to_gone(was):
        return step
    return step._replace(instead_of=was.object)


def _beside(
    applied: AppliedByKey,
    wished: WishByKey,
    records: Records,
) -> Collection[Object]:
    """What stays wished for, and may be lost with an address or by a move to another VRF."""
    links: set[str] = set()
    ips: set[str] = set()
    for key, was in applied.items():
        wish = wished.get(key)
        if wish is not None:
            step = Step(was.object, wish)
            if step.changes_vrf:
                links.add(key)
        elif isinstance(was.object, Address):
            lost = was.object
            links.add(lost.link_key)
            ips.add(str(lost.ip))
    reached = records.applied.beside(links, ips)
    keys = [each.key for each in reached if each.key not in wished]
    beside = records.references.wished(keys)
    return beside.values()


def _borrowed_links(applied: AppliedByKey, records: Records) -> set[str]:
    """The keys of the borrowed links that these stand on."""
    link_keys = {was.object.stands_on for was in applied.values()}
    links = records.applied.of(link_keys)
    borrowed = set()
    for key, link in links.items():
        if link.borrowed:
            borrowed.add(key)
    return borrowed


def ifnames_of(steps: Iterable[Step], records: Records) -> dict[str, str]:
    """The name of each link that the steps touch, by its key."""
    ifnames: dict[str, str] = {}
    touched: set[str] = set()
    for step in steps:
        link = step.object
        if isinstance(link, Link):
            ifnames[link.key] = link.name
        for changed in (step.old, step.new):
            if changed is not None:
                touched.add(changed.link_key)
    unnamed = touched - set(ifnames)
    recorded = records.applied.of(unnamed)
    for key, was in recorded.items():
        if isinstance(was.object, Link):
            ifnames[key] = was.object.name
    return ifnames
