"""Settings that cannot be together, whichever tables and flags they are from.

What the kinds of link differ in is in their registry. The module knows no file and no event.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ..constants import IP_HEADER, IPV6_MIN_MTU, TCP_HEADER
from ..named_tuple import NamedTuple
from ..objects.link_kinds import LINK_KINDS, LinkKind
from .table import SettingsError, Sourced

VOWELS = ("a", "e", "i", "o", "x")
"""How a word begins that has `an` in front. The x of xfrm is spoken like one of them."""

Chosen = Mapping[str, Any]
"""The values of the settings that somebody chose, by key."""


class Conflict(NamedTuple):
    key: str
    """The setting that the message begins with."""
    other: str
    problem: str
    """What is said of the first setting."""
    hint: str


def conflicts(settings: Mapping[str, Sourced]) -> Iterator[SettingsError]:
    """The settings that cannot be together, as errors that say where each is from."""
    for conflict in _all_conflicts(settings):
        origin = settings[conflict.key].origin
        message = origin.named(conflict.key) + conflict.problem
        other = settings[conflict.other].origin
        if other != origin:
            place = other.table or other.named(conflict.other)
            message += f" ({conflict.other}: {place})"
        yield SettingsError(message, conflict.hint)


def _all_conflicts(settings: Mapping[str, Sourced]) -> Iterator[Conflict]:
    chosen = {key: sourced.value for key, sourced in settings.items()}
    yield from _between_endpoints(chosen)
    kind = LINK_KINDS.get(chosen.get("kind", ""))
    if kind is not None:
        yield from _of_endpoints(kind, chosen)
        yield from _of_mark_and_if_id(kind, settings)
    yield from _of_vrf(chosen)
    yield from _of_mss(chosen)
    if chosen.get("link_local"):
        yield from _of_link_local(chosen)


def _between_endpoints(chosen: Chosen) -> Iterator[Conflict]:
    local = chosen.get("local")
    remote = chosen.get("remote")
    if local is None or remote is None:
        return
    if local.is_unspecified and remote.is_unspecified:
        yield Conflict(
            key="local",
            other="remote",
            problem=" and remote are both any",
            hint="write an address in one of them",
        )
    if local.is_unspecified or remote.is_unspecified:
        return
    if local.version != remote.version:
        yield Conflict(
            key="local",
            other="remote",
            problem=f" is IPv{local.version}, but remote is IPv{remote.version}",
            hint="write addresses of one family",
        )


# What a kind of link cannot be together with


def _of_endpoints(kind: LinkKind, chosen: Chosen) -> Iterator[Conflict]:
    for key in ("local", "remote"):
        end = chosen.get(key)
        if end is None or end.is_unspecified:
            continue
        if kind.family is None:
            yield Conflict(
                key=key,
                other="kind",
                problem=f": {_with_article(kind)} has no endpoints",
                hint=f"leave {key} out, or kind = {kind.name}",
            )
        elif kind.family != end.version:
            yield Conflict(
                key=key,
                other="kind",
                problem=f" is IPv{end.version}, but {kind.name} wants IPv{kind.family}",
                hint=f"leave kind or {key} out",
            )


def _of_mark_and_if_id(kind: LinkKind, settings: Mapping[str, Sourced]) -> Iterator[Conflict]:
    """Both make a link of some kind, so another kind cannot be asked for beside them.

    In two tables they may be together. For example, [default] may have a kind that holds for the
    connections without an if_id.
    """
    origin = settings["kind"].origin
    for key, makes in _kinds_by_key().items():
        if key == kind.keyed_by or key not in settings:
            continue
        if settings[key].origin == origin:
            yield Conflict(
                key=key,
                other="kind",
                problem=f" makes {_with_article(*makes)}, but kind is {kind.name}",
                hint=f"leave kind or {key} out",
            )


def _kinds_by_key() -> dict[str, list[LinkKind]]:
    """The kinds that each setting makes, such as vti and vti6 by `mark`."""
    kinds: dict[str, list[LinkKind]] = {}
    for kind in LINK_KINDS.values():
        kinds.setdefault(kind.keyed_by, []).append(kind)
    return kinds


def _with_article(*kinds: LinkKind) -> str:
    """One of these kinds in a sentence, such as `a vti or vti6` and `an xfrm interface`."""
    names = " or ".join(map(_noun, kinds))
    if names.startswith(VOWELS):
        return f"an {names}"
    return f"a {names}"


def _noun(kind: LinkKind) -> str:
    """Without endpoints it is not a tunnel, but an interface."""
    if kind.family is None:
        return f"{kind.name} interface"
    return kind.name


# Where the link is, and sizes


def _of_vrf(chosen: Chosen) -> Iterator[Conflict]:
    if "vrf" not in chosen:
        return
    if "netns" in chosen:
        yield Conflict(
            key="vrf",
            other="netns",
            problem=" and netns exclude each other",
            hint="leave one out",
        )
    if "table" in chosen:
        yield Conflict(
            key="table",
            other="vrf",
            problem=" is set, but the routes of a vrf go to its own",
            hint="leave table or vrf out",
        )


def _of_mss(chosen: Chosen) -> Iterator[Conflict]:
    mtu = chosen.get("mtu")
    mss = chosen.get("mss")
    if not mtu or not mss:
        return
    headers = IP_HEADER[4] + TCP_HEADER
    room = mtu - headers
    if mss > room:
        yield Conflict(
            key="mss",
            other="mtu",
            problem=f" = {mss} is more than the {room} that mtu = {mtu} leaves",
            hint="write less, or path",
        )


def _of_link_local(chosen: Chosen) -> Iterator[Conflict]:
    mtu = chosen.get("mtu")
    if mtu and mtu < IPV6_MIN_MTU:
        yield Conflict(
            key="link_local",
            other="mtu",
            problem=f" needs mtu = {IPV6_MIN_MTU} at least, not {mtu}",
            hint="raise mtu",
        )
    if any(sysctl.disables_ipv6 for sysctl in chosen.get("sysctl", ())):
        yield Conflict(
            key="link_local",
            other="sysctl",
            problem=" needs IPv6, which sysctl disables",
            hint="leave one out",
        )
