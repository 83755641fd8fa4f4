"""`vti-updown status`: every tunnel of this host, the worst first. It changes nothing."""

import difflib
import gc
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager

from ..kernel.kernel import Kernel
from ..named_tuple import NamedTuple
from ..settings.table import FlagWords
from ..text import Refusal, shown
from ..vici import ask, charons
from . import charon_files, status_json, status_metrics, status_text
from .expected import Expectations
from .outcome import Outcome
from .screen import has_colour
from .survey import Survey, Tunnel, survey
from .tunnel_status import Answers, HostStatus, judge, same_problems

CHARON_SECONDS = 3.0
"""How long charon may take. It answers nobody while a hook runs."""
AGAIN_SECONDS = 1.0
"""For so long after the first look, what is wrong is looked at again, until two looks agree."""
BETWEEN_LOOKS = 0.25
"""Seconds. An event takes less, mostly."""
SIMILAR = 3
"""As many names as are suggested for one that is not there."""
ALONE = ("json", "metrics")


class Seen(NamedTuple):
    """All that is printed, in whichever form."""

    host: HostStatus
    survey: Survey
    answers: Answers


def status(names: Collection[str], flags: FlagWords) -> Outcome:
    """What is there, of these connections or, with none, of all.

    Raises Refusal if it cannot look, or if there is no such connection.
    """
    if all(flag in flags for flag in ALONE):
        raise Refusal("--json and --metrics exclude each other", "leave one of them out")
    with _without_collection(), closing(Kernel()) as kernel:
        seen = _seen(kernel, flags)
    host = _of_names(seen.host, names)
    seen = seen._replace(host=host)
    if "json" in flags:
        lines = status_json.lines(host, seen.survey, seen.answers)
    elif "metrics" in flags:
        lines = status_metrics.lines(host, seen.survey, seen.answers)
    elif names:
        lines = status_text.details(host, seen.survey, has_colour())
    else:
        lines = status_text.overview(host, seen.survey, has_colour())
    return Outcome(lines, status_of_lines=host.exit_status)


class Screens(NamedTuple):
    """What a person sees of all tunnels, from one look."""

    overview: list[str]
    details: list[str]


def screens(flags: FlagWords) -> Screens:
    """All that `status` shows, without colour. Raises Refusal if it cannot look."""
    with _without_collection(), closing(Kernel()) as kernel:
        seen = _seen(kernel, flags)
    return Screens(
        overview=status_text.overview(seen.host, seen.survey),
        details=status_text.details(seen.host, seen.survey),
    )


@contextmanager
def _without_collection() -> Iterator[None]:
    """Garbage collection looks through all that is read, again and again, and finds nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _seen(kernel: Kernel, flags: FlagWords) -> Seen:
    """Looks until two looks have found the same: an event may be at work.

    charon has CHARON_SECONDS for all looks together.
    """
    asked = flags.get("vici") or charons.find().ours
    end_of_asking = time.monotonic() + CHARON_SECONDS
    answers: Answers = ask.ask(asked, CHARON_SECONDS)
    children = charon_files.of_charons(answers)
    looked = _looked(kernel, Expectations(flags, answers, children), answers)
    end = time.monotonic() + AGAIN_SECONDS
    while looked.host.exit_status and time.monotonic() < end:
        time.sleep(BETWEEN_LOOKS)
        answers = _asked_again(asked, answers, end_of_asking)
        again = _looked(kernel, Expectations(flags, answers, children), answers)
        is_steady = same_problems(looked.host, again.host)
        looked = again
        if is_steady:
            break
    return looked


def _asked_again(
    asked: Collection[str | charons.Charon],
    answers: Answers,
    end: float,
) -> Answers:
    """What charon tells by now. Where it does not tell all in time, what it told before counts."""
    rest = end - time.monotonic()
    if rest <= 0 or not all(answer.is_complete for answer in answers):
        return answers
    again = ask.ask(asked, rest)
    return again if all(answer.is_complete for answer in again) else answers


def _looked(
    kernel: Kernel,
    expectations: Expectations,
    answers: Answers,
) -> Seen:
    found = survey(kernel, answers)
    found = found._replace(tunnels=_with_configured(found.tunnels, expectations))
    host = judge(found, answers, expectations.of)
    return Seen(host, found, answers)


def _with_configured(
    tunnels: Sequence[Tunnel],
    expectations: Expectations,
) -> tuple[Tunnel, ...]:
    """The tunnels, and what is configured and not there."""
    there = {configured for tunnel in tunnels for configured in expectations.of(tunnel)}
    missing = [each for each in expectations.all if each not in there]
    more = [
        Tunnel(
            shown(each.name),
            (),
            (),
            (),
            (),
            only=each,
        )
        for each in missing
    ]
    return (*tunnels, *more)


def _of_names(host: HostStatus, names: Collection[str]) -> HostStatus:
    """The status of these tunnels. Raises Refusal if one is not there."""
    if not names:
        return host
    wanted = {shown(name) for name in names}
    chosen = tuple(each for each in host.tunnels if each.tunnel.name in wanted)
    for name in wanted - {each.tunnel.name for each in chosen}:
        raise _unknown(name, [each.tunnel.name for each in host.tunnels])
    return host._replace(tunnels=chosen)


def _unknown(name: str, known: Sequence[str]) -> Refusal:
    similar = difflib.get_close_matches(name, set(known), SIMILAR)
    hint = "vti-updown status lists what there is"
    if similar:
        hint = f"write {' or '.join(similar)}"
    return Refusal(f"there is no tunnel {name}", hint)
