"""What is wrong with each tunnel, and what mends it. Pure: it judges what `survey` has seen."""

from collections.abc import Callable, Collection, Mapping, Sequence
from shlex import quote

from .. import processes as callers
from ..named_tuple import NamedTuple
from ..objects.object import Object
from ..objects.registry import field_names
from ..records.matching import ADOPTED
from ..records.references import Reference
from ..text import shown
from ..vici.ask import Answer
from .configured import PLAIN, Configured
from .survey import Part, Survey, Tunnel, sas_apart_by

AS_WISHED, DIFFERS, UNKNOWN, DOWN = "ok", "differs", "unknown", "down"
SEVERITY = (
    AS_WISHED,
    DIFFERS,
    UNKNOWN,
    DOWN,
)
"""From the best to the worst."""
STATUS = {AS_WISHED: 0, DIFFERS: 1, DOWN: 2, UNKNOWN: 3}
"""The exit status that each gives."""
REPAIR = "vti-updown repair"
NOT_COMPARED = ("alias", "name")
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
    configured: tuple[Configured, ...] = ()
    """What it is of, as far as can be told."""

    @property
    def meant(self) -> str:
        """How all of it is meant: see `expected`."""
        kinds = {each.meant for each in self.configured}
        if len(kinds) == 1:
            return kinds.pop()
        return PLAIN

    @property
    def level(self) -> str:
        levels = [problem.level for problem in self.problems]
        return max(
            levels,
            key=SEVERITY.index,
            default=AS_WISHED,
        )


class HostStatus(NamedTuple):
    """All tunnels, the worst first, and what is wrong with none of them alone."""

    tunnels: tuple[TunnelStatus, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def exit_status(self) -> int:
        levels = [tunnel.level for tunnel in self.tunnels]
        levels += [problem.level for problem in self.problems]
        worst = max(
            levels,
            key=SEVERITY.index,
            default=AS_WISHED,
        )
        return STATUS[worst]


ConfiguredOf = Callable[[Tunnel], Sequence[Configured]]
"""What a tunnel is of."""
Answers = Sequence[Answer]


def judge(
    seen: Survey,
    answers: Answers,
    configured_of: ConfiguredOf,
) -> HostStatus:
    """Judges what was seen."""
    living = _living(seen.tunnels)
    judged = []
    for tunnel in seen.tunnels:
        configured = configured_of(tunnel)
        judged.append(
            _Judge(
                tunnel,
                seen,
                answers,
                configured,
                living,
            ).status()
        )
    judged.sort(key=_worst_first)
    problems = [_of_charon(answer) for answer in answers if answer.trouble]
    problems += _of_host(seen)
    remarks = [f"{answer.charon}: {answer.remark}" for answer in answers if answer.remark]
    return HostStatus(
        tuple(judged),
        tuple(problems),
        (*remarks, *seen.left_alone),
    )


def _living(tunnels: Sequence[Tunnel]) -> dict[str, bool | None]:
    """Whether each charon that has called lives. None: it cannot be seen from here."""
    called = {reference.charon for tunnel in tunnels for reference in tunnel.up}
    return {charon: callers.alive(charon) for charon in called}


def _worst_first(status: TunnelStatus) -> tuple[int, str]:
    return -SEVERITY.index(status.level), status.tunnel.name


def _of_charon(answer: Answer) -> Problem:
    what = f"{answer.charon}: {answer.trouble}"
    remedy = "look again when it has ended"
    if not answer.hooks:
        remedy = "see whether its plugin vici runs: swanctl --stats"
    return Problem(
        UNKNOWN,
        what,
        remedy,
    )


def _of_host(seen: Survey) -> list[Problem]:
    problems = []
    if seen.waiting:
        what = f"events that wait for the records: {seen.waiting}"
        problems.append(
            Problem(
                DIFFERS,
                what,
                REPAIR,
            )
        )
    if seen.were_lost:
        what = "the records were lost, so who has what is not known"
        problems.append(
            Problem(
                DIFFERS,
                what,
                REPAIR,
            )
        )
    for why in seen.out_of_sight.values():
        problems.append(
            Problem(
                UNKNOWN,
                why,
                "run it as root, in the host's PID namespace",
            )
        )
    for left in seen.leftovers:
        what = f"{left.wished.label} is left over, and nobody wishes for it"
        if left.fault:
            what = left.fault
        problems.append(
            Problem(
                DIFFERS,
                what,
                REPAIR,
            )
        )
    return problems


class _Judge:
    """One tunnel."""

    def __init__(
        self,
        tunnel: Tunnel,
        seen: Survey,
        answers: Answers,
        configured: Sequence[Configured],
        living: Mapping[str, bool | None],
    ) -> None:
        self._tunnel = tunnel
        self._seen = seen
        self._answers = answers
        self._configured = configured
        self._living = living
        self._callers = {each.charon for each in tunnel.up}

    def status(self) -> TunnelStatus:
        """A charon that is gone leaves all as it was, so nothing else counts of what it had."""
        left = self._left_by_charon()
        problems = [
            *self._of_sa(),
            *(left or self._of_parts()),
        ]
        return TunnelStatus(
            tunnel=self._tunnel,
            sa=self._sa(),
            expected=self._expected(),
            problems=tuple(problems),
            configured=tuple(self._configured),
        )

    def _expected(self) -> str:
        reasons = [each.expected for each in self._configured if each.expected]
        if reasons:
            return reasons[0]
        return ""

    def _start(self) -> str:
        """The command that starts it."""
        expected = [each for each in self._configured if each.expected]
        first, *_ = expected or self._configured or [Configured(self._tunnel.name)]
        return first.start

    def _start_anew(self) -> str:
        stop = f"swanctl --terminate --child {quote(self._tunnel.name)}"
        return f"see its error in charon's log, then: {stop}; {self._start()}"

    # Its SA

    def _sa(self) -> str:
        if self._tunnel.sas:
            return "up"
        if self._is_asked():
            return "down"
        return "unknown"

    def _is_asked(self) -> bool:
        """Whether every charon that may have an SA of it has told all of its own."""
        if not all(answer.is_complete for answer in self._answers):
            return False
        return not self._silent_callers()

    def _silent_callers(self) -> set[str]:
        """The charons that have called the hook for it, are not known to be gone, and told nothing.

        An event by hand has no charon.
        """
        told = {answer.charon.who for answer in self._answers if answer.is_complete}
        if "" in told:
            return set()  # Which charon listens on a socket that was named cannot be seen.
        may_live = {each for each in self._callers if self._living.get(each) is not False}
        return may_live - told - {callers.BY_HAND}

    def _of_sa(self) -> list[Problem]:
        """What is wrong with its SA. An event by hand has none."""
        sa = self._sa()
        if sa == "unknown":
            return self._of_unknown()
        if sa == "up":
            return self._of_hook()
        if self._expected():
            what = f"it is down and should be up: {self._expected()}"
            return [
                Problem(
                    DOWN,
                    what,
                    self._start(),
                )
            ]
        if self._callers - {callers.BY_HAND}:
            what = "it is on record as up, and charon has no such CHILD_SA"
            return [
                Problem(
                    DIFFERS,
                    what,
                    self._start(),
                )
            ]
        return []

    def _of_unknown(self) -> list[Problem]:
        """Why it is not known whether it is up, unless a charon has said why it does not tell."""
        silent = sorted(self._silent_callers())
        if any(answer.trouble for answer in self._answers) or not silent:
            return []
        pid, _, _ = silent[0].partition("@")
        what = f"charon (PID {shown(pid)}) has it, and cannot be asked from here"
        return [
            Problem(
                UNKNOWN,
                what,
                "name its VICI socket: --vici SOCKET",
            )
        ]

    def _of_hook(self) -> list[Problem]:
        """What is wrong if it is up, and the hook has set nothing up for it.

        Another hook's tunnels are none of ours.
        """
        tunnel = self._tunnel
        if tunnel.failed:
            what = "the hook failed when it came up, so nothing is set up for that"
            return [
                Problem(
                    DIFFERS,
                    what,
                    self._start_anew(),
                )
            ]
        if tunnel.references or not any(each.has_our_hook for each in self._configured):
            return []
        if not any(sas_apart_by(sa.child) for sa in tunnel.sas):
            what = "its CHILD_SA has neither mark nor if_id, so its hook sets no link up"
            remedy = "give it an if_id or a mark, or leave vti-updown out of its updown line"
            return [
                Problem(
                    DIFFERS,
                    what,
                    remedy,
                )
            ]
        what = "it is up, and its hook has set nothing up"
        return [
            Problem(
                DIFFERS,
                what,
                self._start_anew(),
            )
        ]

    # What it had, and has

    def _left_by_charon(self) -> list[Problem]:
        gone = sorted(each for each in self._callers if self._living.get(each) is False)
        if not gone:
            return []
        pid, _, _ = gone[0].partition("@")
        what = f"charon (PID {shown(pid)}) is gone, and what it had is still there"
        return [
            Problem(
                DIFFERS,
                what,
                "vti-updown flush --stale",
            )
        ]

    def _of_parts(self) -> list[Problem]:
        """What the kernel has otherwise. What is on a link that is gone goes unsaid."""
        lost = {part.key for part in self._tunnel.links if part.applied and not part.there}
        problems: dict[str, Problem] = {}
        for part in self._tunnel.parts:
            netns = part.wished.netns
            if netns in self._seen.out_of_sight:
                continue
            if netns in self._seen.gone_namespaces:
                what = f"the network namespace {shown(netns)} is gone, with all that was in it"
                remedy = f"ip netns add {quote(netns)}, then: {REPAIR}"
                problems[what] = Problem(
                    DIFFERS,
                    what,
                    remedy,
                )
                continue
            if part.key not in lost and part.wished.link_key in lost:
                continue
            what = part.fault or difference_of(part)
            if what:
                problems[what] = Problem(
                    DIFFERS,
                    what,
                    REPAIR,
                )
        return list(problems.values())


# What differs


def difference_of(part: Part) -> str:
    """How the kernel differs from what was applied, in words. Empty if it does not."""
    was = part.applied
    if was is None:
        return ""
    label = part.wished.label
    if part.there is None:
        if part.is_set_down:
            return f"{label} is set down"
        return f"{label} is gone"
    if not was.sure:
        return f"{label} is in doubt: an event died at it"
    changed = _changed_fields(was.object, part.there)
    if not changed:
        return ""
    return f"{label} differs: {', '.join(changed)}"


def _changed_fields(was: Object, there: Object) -> list[str]:
    """`FIELD is THERE, not WAS` for each field that differs."""
    changed = []
    for field in field_names(type(was)):
        before, now = getattr(was, field), getattr(there, field)
        words = field.replace("_", " ")
        if before != now and field not in NOT_COMPARED:
            changed.append(f"{words} is {shown(now)}, not {shown(before)}")
    return changed


def same_problems(one: HostStatus, other: HostStatus) -> bool:
    """Whether both found the same, so that no event was at work between them."""
    return _found(one) == _found(other)


def _found(status: HostStatus) -> Mapping[object, Collection[Problem]]:
    found: dict[object, Collection[Problem]] = {"": status.problems}
    for each in status.tunnels:
        keys = tuple(part.key for part in each.tunnel.links)
        connections = tuple(one.connection for one in each.configured)
        found[each.tunnel.name, keys, connections] = each.problems
    return found


def holder_in_words(reference: Reference) -> str:
    """Who holds it: `charon 1234, IKE_SA 4`, or `by hand`."""
    if reference.identity == ADOPTED:
        return "nobody on record"
    if reference.charon == callers.BY_HAND:
        return "by hand"
    pid, _, _ = reference.charon.partition("@")
    return f"charon {shown(pid)}, IKE_SA {reference.unique_id}"
