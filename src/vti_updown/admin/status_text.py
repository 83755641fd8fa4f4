"""`status` for a person: 80 columns, the worst first. Pure."""

from collections.abc import Iterable

from ..kernel.counters import Counters
from ..named_tuple import NamedTuple
from ..objects.link import Link
from ..objects.mss import MssClamp
from ..objects.object import Object
from ..records.references import STANDING, Reference
from ..text import shown
from .configured import TEMPLATE, TRAP
from .screen import (
    BOLD,
    DIM,
    GREEN,
    NOTHING,
    RED,
    YELLOW,
    Column,
    Row,
    amount,
    brief_amount,
    brief_duration,
    counted,
    duration,
    fitted,
    folded,
    painted,
    table,
)
from .survey import Part, Sa, Survey, Tunnel, commands_of
from .tunnel_status import (
    AS_WISHED,
    DIFFERS,
    DOWN,
    UNKNOWN,
    HostStatus,
    Problem,
    TunnelStatus,
    holder_in_words,
)

COLUMNS = (
    Column("STATE"),
    Column("TUNNEL"),
    Column("LINK", moves=2),
    Column("PEER", moves=1),
    Column("SA UP", moves=6),
    Column("IN", moves=4),
    Column("OUT", moves=3),
    Column("LAST IN", moves=5),
)
INDENT = "  "
LABEL = 9
"""The width of what a line of the details begins with."""
NAME = 40
"""As many columns as a connection's name takes."""
SHOWN_HOLDERS = 5
"""As many of those who hold a link as are shown: there may be hundreds."""
SHOWN_SAS = 3
SHOWN_OBJECTS = 20
KIND_WORDS: dict[type[Object], str] = {MssClamp: "mss"}
"""Of those whose class has another name."""
MEANT = {TRAP: "trap", TEMPLATE: "waits"}
"""What one is that need not be up: a packet will start it, or a peer."""
WORDS = {DOWN: "DOWN", DIFFERS: "DIFFERS", UNKNOWN: "UNKNOWN"}
COLOURS = {DOWN: RED, DIFFERS: YELLOW, UNKNOWN: YELLOW}


class Traffic(NamedTuple):
    """What went through a tunnel."""

    received: int
    """Bytes."""
    sent: int


# The overview


def overview(
    host: HostStatus,
    seen: Survey,
    has_colour: bool = False,
) -> list[str]:
    """A line for each tunnel, and what is wrong below it."""
    lines = _of_host(host)
    lines.append(_summary(host))
    if not host.tunnels:
        return lines
    rows = [_row(each, seen, has_colour) for each in host.tunnels]
    return [*lines, "", *table(COLUMNS, rows)]


def _of_host(host: HostStatus) -> list[str]:
    """What is wrong with none of the tunnels alone, before all else."""
    lines: list[str] = []
    for problem in host.problems:
        lines += folded(
            f"{WORDS[problem.level]} {problem.what}",
            INDENT,
            "",
        )
        lines += folded(
            f"mend it: {problem.remedy}",
            INDENT * 2,
            INDENT,
        )
    for note in host.notes:
        lines += folded(note, INDENT, "")
    return lines


def _summary(host: HostStatus) -> str:
    if not host.tunnels:
        return "no tunnel is up, stands or is configured"
    counts = dict.fromkeys(
        (
            DOWN,
            UNKNOWN,
            DIFFERS,
            AS_WISHED,
        ),
        0,
    )
    for each in host.tunnels:
        counts[each.level] += 1
    words = {
        DOWN: "down that should be up",
        UNKNOWN: "not known",
        DIFFERS: "not as set up",
        AS_WISHED: "as wished, as far as is known" if host.problems else "as wished",
    }
    parts = [f"{count:,} {words[level]}" for level, count in counts.items() if count]
    return f"{counted(len(host.tunnels), 'tunnel')}: {', '.join(parts)}"


def _row(
    status: TunnelStatus,
    seen: Survey,
    has_colour: bool,
) -> Row:
    tunnel = status.tunnel
    traffic = _traffic(tunnel, seen)
    received = sent = NOTHING
    if traffic is not None:
        received = brief_amount(traffic.received)
        sent = brief_amount(traffic.sent)
    cells = (
        state(status),
        fitted(tunnel.name, NAME),
        ", ".join(_ifnames(tunnel)) or NOTHING,
        _peer(status) or NOTHING,
        _age_of_sas(tunnel),
        received,
        sent,
        _last_in(tunnel),
    )
    return Row(
        cells,
        _colour(status) if has_colour else "",
        _said(status.problems),
    )


def _said(problems: Iterable[Problem]) -> list[str]:
    """What is wrong, and below it what mends it: once for all that one command mends."""
    by_remedy: dict[str, list[str]] = {}
    for problem in problems:
        by_remedy.setdefault(problem.remedy, []).append(problem.what)
    indent = INDENT * 2
    lines: list[str] = []
    for remedy, faults in by_remedy.items():
        for what in faults:
            lines += folded(what, indent, first=INDENT)
        lines += folded(f"mend it: {remedy}", indent, first=INDENT)
    return lines


def state(status: TunnelStatus) -> str:
    """One word for how a tunnel is."""
    tunnel = status.tunnel
    if status.level in WORDS:
        return WORDS[status.level]
    if tunnel.sas:
        return "up"
    if status.sa == "unknown":
        return "not told"
    if tunnel.up:
        return "by hand"
    if tunnel.standing:
        return "stands"
    return MEANT.get(status.meant, "down")


def _colour(status: TunnelStatus) -> str:
    if status.tunnel.sas:
        return COLOURS.get(status.level, GREEN)
    return COLOURS.get(status.level, DIM)


def _ifnames(tunnel: Tunnel) -> list[str]:
    return [_link(part).name for part in tunnel.links]


def _link(part: Part) -> Link:
    link = part.there or part.wished
    assert isinstance(link, Link)
    return link


def _peer(status: TunnelStatus) -> str:
    """Who it is with or, if it is with nobody, whom it is for."""
    tunnel = status.tunnel
    peers = dict.fromkeys(sa.peer for sa in tunnel.sas)
    if not peers:
        peers = dict.fromkeys(reference.peer for reference in tunnel.references)
    if not peers:
        configured = [peer for each in status.configured for peer in each.peers]
        peers = dict.fromkeys(map(shown, configured))
    if len(peers) > 1:
        return f"{len(peers):,} peers"
    return next(iter(peers), "")


def _age_of_sas(tunnel: Tunnel) -> str:
    """How long the oldest of its IKE_SAs is up."""
    ages = [sa.ike.established for sa in tunnel.sas if sa.ike.established is not None]
    if not ages:
        return NOTHING
    return brief_duration(max(ages))


def _last_in(tunnel: Tunnel) -> str:
    """How long ago its last packet came, as far as charon tells."""
    ages = [sa.child.last_in for sa in tunnel.sas if sa.child.last_in is not None]
    if not ages:
        return NOTHING
    return brief_duration(min(ages))


def _traffic(tunnel: Tunnel, seen: Survey) -> Traffic | None:
    """What its links have carried. Of a link that others share, what its SAs have since a rekey."""
    counted_on = [seen.counters[part.key] for part in tunnel.links if part.key in seen.counters]
    if counted_on and not tunnel.others:
        received = sum(counters.rx_bytes for counters in counted_on)
        sent = sum(counters.tx_bytes for counters in counted_on)
        return Traffic(received, sent)
    if not tunnel.sas:
        return None
    received = sum(sa.child.bytes_in or 0 for sa in tunnel.sas)
    sent = sum(sa.child.bytes_out or 0 for sa in tunnel.sas)
    return Traffic(received, sent)


# The details


def details(
    host: HostStatus,
    seen: Survey,
    has_colour: bool = False,
) -> list[str]:
    """A block for each tunnel."""
    lines = _of_host(host)
    for each in host.tunnels:
        if lines:
            lines.append("")
        lines += _block(each, seen, has_colour)
    return lines


def _block(
    status: TunnelStatus,
    seen: Survey,
    has_colour: bool,
) -> list[str]:
    tunnel = status.tunnel
    heading = f"{tunnel.name}: {state(status)}"
    if has_colour:
        heading = painted(
            heading,
            f"{BOLD};{_colour(status)}",
        )
    lines = [heading, *_said(status.problems)]
    if status.expected:
        lines += _entry("expected", status.expected)
    lines += _of_sas(status)
    if tunnel.sas and not tunnel.references:
        lines += _entry("hook", _hook_in_words(status))
    for part in tunnel.links:
        lines += _entry("link", _link_in_words(part))
        if part.key in seen.counters:
            lines += _entry(
                "",
                _counters_in_words(seen.counters[part.key]),
            )
    if tunnel.others:
        lines += _entry(
            "shared",
            f"with {', '.join(tunnel.others)}",
        )
    return [
        *lines,
        *_of_objects(tunnel, seen),
        *_of_holders(tunnel),
    ]


def _of_objects(tunnel: Tunnel, seen: Survey) -> list[str]:
    lines: list[str] = []
    objects = [part for part in tunnel.parts if not isinstance(part.wished, Link)]
    for part in objects[:SHOWN_OBJECTS]:
        lines += _entry(
            _kind(part),
            _object_in_words(part, tunnel, seen),
        )
    return lines + _more(len(objects) - SHOWN_OBJECTS)


def _more(count: int) -> list[str]:
    if count > 0:
        return _entry("", f"and {count:,} more")
    return []


def _entry(label: str, text: str) -> list[str]:
    first = f"{INDENT}{label.ljust(LABEL)}"
    return folded(text, " " * len(first), first)


def _of_sas(status: TunnelStatus) -> list[str]:
    tunnel = status.tunnel
    if not tunnel.sas:
        text = "down"
        if status.sa == "unknown":
            text = "not known: its charon did not tell"
        return _entry("SA", text)
    lines: list[str] = []
    for sa in tunnel.sas[:SHOWN_SAS]:
        lines += _entry("SA", _sa_in_words(sa))
        lines += _entry("", _selectors(sa))
        lines += _entry("data", _data_in_words(sa))
    return lines + _more(len(tunnel.sas) - SHOWN_SAS)


def _hook_in_words(status: TunnelStatus) -> str:
    """What is known of the hook of one that the records do not have."""
    known = {each.has_our_hook for each in status.configured}
    if True in known:
        return "vti-updown, which has set nothing up"
    if known == {False}:
        return "not vti-updown, which has nothing to do with it"
    return "vti-updown has set nothing up, and charon's files do not say whether it should"


def _selectors(sa: Sa) -> str:
    mine = ", ".join(map(shown, sa.child.local_ts))
    theirs = ", ".join(map(shown, sa.child.remote_ts))
    return f"{mine} === {theirs}"


def _sa_in_words(sa: Sa) -> str:
    parts = []
    if sa.ike.established is not None:
        parts.append(f"up for {duration(sa.ike.established)}")
    parts.append(f"IKE_SA {shown(sa.ike.name)} #{sa.ike.unique_id}")
    parts.append(f"CHILD_SA #{sa.child.unique_id}")
    parts.append(f"{shown(sa.ike.local_host or 'any')} → {sa.peer}")
    if sa.child.encap:
        parts.append("in UDP")
    if sa.child.rekey_in is not None:
        parts.append(f"rekey due in {duration(sa.child.rekey_in)}")
    return ", ".join(parts)


def _data_in_words(sa: Sa) -> str:
    child = sa.child
    parts = [
        _flow(
            "in",
            child.packets_in,
            child.bytes_in,
            child.last_in,
        ),
        _flow(
            "out",
            child.packets_out,
            child.bytes_out,
            child.last_out,
        ),
    ]
    return "; ".join(parts)


def _flow(
    direction: str,
    packets: int | None,
    size: int | None,
    last: int | None,
) -> str:
    text = f"{direction} {counted(packets or 0, 'packet')}, {amount(size or 0)}"
    if last is not None:
        text = f"{text}, the last {duration(last)} ago"
    return text


def _link_in_words(part: Part) -> str:
    link = _link(part)
    words = [link.name, link.kind]
    if link.local is not None:
        words.append(link.ends)
    words.append(link.tells_packets_apart_by)
    if part.is_set_down:
        words.append("set down")
    elif part.applied is not None and part.there is None:
        words.append("not there")
    if link.mtu:
        words.append(f"MTU {link.mtu}")
    if link.master:
        words.append(f"in VRF {link.master}")
    if link.netns:
        words.append(f"in namespace {link.netns}")
    if part.applied is not None and part.applied.borrowed:
        words.append("made by somebody else, so it stays")
    return ", ".join(words)


def _counters_in_words(counters: Counters) -> str:
    text = (
        f"in {counted(counters.rx_packets, 'packet')}, {amount(counters.rx_bytes)};"
        f" out {counted(counters.tx_packets, 'packet')}, {amount(counters.tx_bytes)}"
    )
    errors = counters.rx_errors + counters.tx_errors + counters.rx_dropped + counters.tx_dropped
    if errors:
        text = f"{text}; errors {errors:,}"
    return text


def _object_in_words(
    part: Part,
    tunnel: Tunnel,
    seen: Survey,
) -> str:
    """The command that an object stands for, and whether it is there."""
    command = "; ".join(commands_of(part, tunnel))
    if part.wished.netns in seen.out_of_sight:
        return f"{command} (not known)"
    if part.applied is None:
        return f"{command} (not set up by us)"
    if part.there is not None:
        return command
    return f"{command} (gone)"


def _kind(part: Part) -> str:
    """What kind of object it is, in a word: `route`."""
    return KIND_WORDS.get(
        type(part.wished),
        type(part.wished).__name__.lower(),
    )


def _of_holders(tunnel: Tunnel) -> list[str]:
    lines: list[str] = []
    for reference in tunnel.references[:SHOWN_HOLDERS]:
        lines += _entry("held by", _holder(reference))
    return lines + _more(len(tunnel.references) - SHOWN_HOLDERS)


def _holder(reference: Reference) -> str:
    if reference.charon == STANDING:
        return f"when_down, since {reference.since}"
    return f"{holder_in_words(reference)}, since {reference.since}"
