"""`vti-updown status`: every tunnel of this host, the worst first. It changes nothing."""

import time
from collections.abc import Collection, Sequence
from contextlib import closing

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
LOOKS = 4
"""How often what is wrong is looked at, until two looks have found the same."""
BETWEEN_LOOKS = 0.25
"""Seconds. An event takes less, mostly."""
ALONE = ("json", "metrics")


class Seen(NamedTuple):
    """All that is printed, in whichever form."""

    host: HostStatus
    survey: Survey
    expectations: Expectations
    answers: Answers


def status(names: Collection[str], flags: FlagWords) -> Outcome:
    """What is there, of these connections or, with none, of all.

    Raises Refusal if it cannot look, or if there is no such connection.
    """
    if all(flag in flags for flag in ALONE):
        raise Refusal("--json and --metrics exclude each other", "leave one of them out")
    with closing(Kernel()) as kernel:
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


def _seen(kernel: Kernel, flags: FlagWords) -> Seen:
    """Looks until two looks have found the same: an event may be at work."""
    looked = _looked(kernel, flags)
    for _ in range(LOOKS - 1):
        if not looked.host.exit_status:
            break
        time.sleep(BETWEEN_LOOKS)
        again = _looked(kernel, flags)
        is_steady = same_problems(looked.host, again.host)
        looked = again
        if is_steady:
            break
    return looked


def _looked(kernel: Kernel, flags: FlagWords) -> Seen:
    answers = ask.ask(flags.get("vici") or charons.find().ours, CHARON_SECONDS)
    expectations = Expectations(flags, answers, charon_files.configured_children())
    found = survey(kernel, answers)
    found = found._replace(tunnels=_with_configured(found.tunnels, expectations))
    host = judge(found, answers, expectations.why)
    return Seen(host, found, expectations, answers)


def _with_configured(
    tunnels: Sequence[Tunnel],
    expectations: Expectations,
) -> tuple[Tunnel, ...]:
    """The tunnels, and what is configured and not there."""
    there = {shown(tunnel.name) for tunnel in tunnels}
    more = []
    for name in expectations.configured:
        if name not in there:
            more.append(Tunnel(name, (), (), (), ()))
    return (*tunnels, *more)


def _of_names(host: HostStatus, names: Collection[str]) -> HostStatus:
    """The status of these tunnels. Raises Refusal if one is not there."""
    if not names:
        return host
    wanted = {shown(name) for name in names}
    chosen = tuple(each for each in host.tunnels if each.tunnel.name in wanted)
    for name in wanted - {each.tunnel.name for each in chosen}:
        known = sorted({each.tunnel.name for each in host.tunnels})
        raise Refusal(f"there is no tunnel {name}", f"known are {', '.join(known) or 'none'}")
    return host._replace(tunnels=chosen)
