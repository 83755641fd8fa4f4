"""What is wrong with each tunnel, and what mends it. Pure: it judges what `survey` has seen."""

from collections.abc import Callable, Collection, Mapping, Sequence
from shlex import quote

from .. import processes as callers
from ..named_tuple import NamedTuple
from ..objects.link import Link
from ..objects.object import Object
from ..objects.registry import field_names
from ..records.references import Reference
from ..text import shown
from ..vici.ask import Answer
from .survey import Part, Survey, Tunnel

AS_WISHED, DIFFERS, UNKNOWN, DOWN = "ok", "differs", "unknown", "down"
SEVERITY = (AS_WISHED, DIFFERS, UNKNOWN, DOWN)
"""From the best to the worst."""
STATUS = {AS_WISHED: 0, DIFFERS: 1, DOWN: 2, UNKNOWN: 3}
"""The exit status that each gives."""
REPAIR = "vti-updown repair"
NOT_COMPARED = ("alias",)
"""Fields that a user may change, and nothing goes by."""


class Problem(NamedTuple):
    """Something that is not as it should be."""

    level: str
    what: str
    """What is wrong, in words."""
    remedy: str
    """What mends it: a command as it is to be typed, or words."""


class TunnelStatus(NamedTuple):
    """A tunnel, judged."""

    tunnel: Tunnel
    sa: str
    """`up`, `down`, or `unknown` if charon could not be asked."""
    expected: str
    """Why it should be up, in words. Empty: nobody has said so."""
    problems: tuple[Problem, ...]

    @property
    def level(self) -> str:
        levels = [problem.level for problem in self.problems]
        return max(levels, key=SEVERITY.index, default=AS_WISHED)


class HostStatus(NamedTuple):
    """All tunnels, the worst first, and what is wrong with none of them alone."""

    tunnels: tuple[TunnelStatus, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def exit_status(self) -> int:
        levels = [tunnel.level for tunnel in self.tunnels]
        levels += [problem.level for problem in self.problems]
        worst = max(levels, key=SEVERITY.index, default=AS_WISHED)
        return STATUS[worst]


Why = Callable[[str], str]
"""Says why a connection should be up, by its name. Empty: nobody has said so."""
Answers = Sequence[Answer]


def judge(
    seen: Survey,
    answers: Answers,
    why_expected: Why,
) -> HostStatus:
    """Judges what was seen."""
    judged = []
    for tunnel in seen.tunnels:
        judged.append(_Judge(tunnel, seen, answers, why_expected).status())
    judged.sort(key=_worst_first)
    problems = [_of_charon(answer) for answer in answers if answer.trouble]
    problems += _of_host(seen)
    return HostStatus(tuple(judged), tuple(problems), seen.left_alone)


def _worst_first(status: TunnelStatus) -> tuple[int, str]:
    return -SEVERITY.index(status.level), status.tunnel.name


def _of_charon(answer: Answer) -> Problem:
    return Problem(UNKNOWN, answer.trouble, "status goes by the kernel and the records")


def _of_host(seen: Survey) -> list[Problem]:
    problems = []
    if seen.waiting:
        what = f"events that wait for the records: {seen.waiting}"
        problems.append(Problem(DIFFERS, what, REPAIR))
    if seen.were_lost:
        what = "the records were lost, so who has what is not known"
        problems.append(Problem(DIFFERS, what, REPAIR))
    for why in seen.out_of_sight.values():
        problems.append(Problem(UNKNOWN, why, "be root"))
    for left in seen.leftovers:
        what = f"{left.wished.label} is left over, and nobody wishes for it"
        if left.fault:
            what = left.fault
        problems.append(Problem(DIFFERS, what, REPAIR))
    return problems


class _Judge:
    """One tunnel."""

    def __init__(
        self,
        tunnel: Tunnel,
        seen: Survey,
        answers: Answers,
        why_expected: Why,
    ) -> None:
        self._tunnel = tunnel
        self._seen = seen
        self._answers = answers
        self._expected = why_expected(tunnel.name)
        self._alive = [each for each in tunnel.up if callers.alive(each.charon) is not False]

    def status(self) -> TunnelStatus:
        """A charon that is gone leaves all as it was, so nothing else counts of what it had."""
        left = self._left_by_charon()
        problems = [*self._of_sa(), *(left or self._of_parts())]
        return TunnelStatus(self._tunnel, self._sa(), self._expected, tuple(problems))

    def _sa(self) -> str:
        if self._tunnel.sas:
            return "up"
        return "down" if self._is_asked() else "unknown"

    def _is_asked(self) -> bool:
        """Whether every charon that may have an SA of it has told all of its own."""
        if not all(answer.is_complete for answer in self._answers):
            return False
        told = {answer.charon.who for answer in self._answers}
        if "" in told:
            return True  # Which charon listens on a socket that was named cannot be seen.
        callers_of_it = {each.charon for each in self._alive} - {callers.BY_HAND}
        return callers_of_it <= told

    def _of_sa(self) -> list[Problem]:
        """What is wrong if it is down. An event by hand has no SA."""
        if self._sa() == "unknown":
            return self._of_unknown()
        if self._sa() == "up":
            return []
        name = quote(self._tunnel.name)
        if self._expected:
            what = f"it is down and should be up: {self._expected}"
            return [Problem(DOWN, what, f"swanctl --initiate --child {name}")]
        if any(each.charon != callers.BY_HAND for each in self._alive):
            what = "it is on record as up, and charon has no such CHILD_SA"
            return [Problem(DIFFERS, what, f"swanctl --initiate --child {name}")]
        return []

    def _of_unknown(self) -> list[Problem]:
        """Why it is not known whether it is up, unless a charon has said why it does not tell."""
        if any(answer.trouble for answer in self._answers):
            return []
        silent = [each.charon for each in self._alive if each.charon != callers.BY_HAND]
        pid, _, _ = silent[0].partition("@")
        what = f"charon (PID {shown(pid)}) has it, and cannot be asked from here"
        return [Problem(UNKNOWN, what, "name its VICI socket: --vici SOCKET")]

    def _left_by_charon(self) -> list[Problem]:
        gone = [each for each in self._tunnel.up if callers.alive(each.charon) is False]
        if not gone:
            return []
        pid, _, _ = gone[0].charon.partition("@")
        what = f"charon (PID {shown(pid)}) is gone, and what it had is still there"
        return [Problem(DIFFERS, what, "vti-updown flush --stale")]

    def _of_parts(self) -> list[Problem]:
        """What the kernel has otherwise. What is on a link that is gone goes unsaid."""
        lost = {part.key for part in self._tunnel.links if part.applied and not part.there}
        problems: dict[str, Problem] = {}
        for part in self._tunnel.parts:
            if part.wished.netns in self._seen.out_of_sight:
                continue
            if part.key not in lost and part.wished.link_key in lost:
                continue
            what = part.fault or difference_of(part)
            if what:
                problems[what] = Problem(DIFFERS, what, REPAIR)
        return list(problems.values())


# What differs


def difference_of(part: Part) -> str:
    """How the kernel differs from what was applied, in words. Empty if it does not."""
    was = part.applied
    if was is None:
        return ""
    label = part.wished.label
    if part.there is None:
        is_link = isinstance(part.wished, Link)
        return f"{label} is gone, or set down" if is_link else f"{label} is gone"
    if not was.sure:
        return f"{label} is in doubt: an event died at it"
    changed = _changed_fields(was.object, part.there)
    if not changed:
        return ""
    return f"{label} is changed: {', '.join(changed)}"


def _changed_fields(was: Object, there: Object) -> list[str]:
    """`FIELD is THERE and was WAS` for each field that differs."""
    changed = []
    for field in field_names(type(was)):
        before, now = getattr(was, field), getattr(there, field)
        if before != now and field not in NOT_COMPARED:
            changed.append(f"{field} is {shown(now)} and was {shown(before)}")
    return changed


def same_problems(one: HostStatus, other: HostStatus) -> bool:
    """Whether both found the same, so that no event was at work between them."""
    return _found(one) == _found(other)


def _found(status: HostStatus) -> Mapping[object, Collection[Problem]]:
    found: dict[object, Collection[Problem]] = {"": status.problems}
    for each in status.tunnels:
        numbers = tuple(reference.number for reference in each.tunnel.references)
        found[each.tunnel.name, numbers] = each.problems
    return found


def holder_in_words(reference: Reference) -> str:
    """Who holds it: `charon 1234, IKE_SA 4`, or `by hand`."""
    if reference.charon == callers.BY_HAND:
        return "by hand"
    pid, _, _ = reference.charon.partition("@")
    return f"charon {shown(pid)}, IKE_SA {reference.unique_id}"
