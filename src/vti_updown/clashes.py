"""Settings that cannot be together, whichever tables and flags they are from. It knows no file and no event."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .settings import KEYS, SettingsError
from .values import IPV6_MIN_MTU

IPV4_HEADER, TCP_HEADER = 20, 20
"""Bytes (RFC 791, RFC 9293)."""


class Place(NamedTuple):
    """Where a value is from: a file and its table as a message names it, or a flag (both empty)."""

    file: str = ""
    table: str = ""

    def named(self, key: str) -> str:
        return f"{self.file} {self.table} {key}" if self.file else f"--{KEYS[key].name}"


class Given(NamedTuple):
    value: Any
    place: Place


def impossible(given: Mapping[str, Given]) -> Iterator[SettingsError]:
    """What cannot be together."""
    for key, other, what, hint in _clashes(given):
        place, others = given[key].place, given[other].place
        where = "" if place == others else f" ({other}: {others.table or others.named(other)})"
        yield SettingsError(f"{place.named(key)}{what}{where}", hint)


Clash = tuple[str, str, str, str]
"""The key whose place is named, the other one, what is said of the first, and the hint."""


def _clashes(given: Mapping[str, Given]) -> Iterator[Clash]:
    yield from _ends(given)
    yield from _kinds(given)
    yield from _places(given)
    yield from _sizes(given)


def _value(given: Mapping[str, Given], key: str) -> Any:
    return given[key].value if key in given else None


def _ends(given: Mapping[str, Given]) -> Iterator[Clash]:
    local, remote = _value(given, "local"), _value(given, "remote")
    if local is None or remote is None:
        return
    if local.is_unspecified and remote.is_unspecified:
        yield "local", "remote", " and remote are both any", "write an address in one of them"
    elif not local.is_unspecified and not remote.is_unspecified and local.version != remote.version:
        yield "local", "remote", f" is IPv{local.version}, but remote is IPv{remote.version}", "write addresses of one family"


def _kinds(given: Mapping[str, Given]) -> Iterator[Clash]:
    kind = _value(given, "kind")
    family = {"vti": 4, "vti6": 6}.get(kind)
    for key in ("local", "remote"):
        end = _value(given, key)
        if end is None or end.is_unspecified:
            continue
        if kind == "xfrm":
            yield key, "kind", ": an xfrm interface has no endpoints", f"leave {key} out, or kind = xfrm"
        elif family not in (None, end.version):
            yield key, "kind", f" is IPv{end.version}, but {kind} wants IPv{family}", f"leave kind or {key} out"
    key, maker = ("if_id", "an xfrm interface") if family else ("mark", "a vti or vti6")
    if kind not in (None, "auto") and key in given and given[key].place == given["kind"].place:
        yield key, "kind", f" makes {maker}, but kind is {kind}", f"leave kind or {key} out"


def _places(given: Mapping[str, Given]) -> Iterator[Clash]:
    if "vrf" in given and "netns" in given:
        yield "vrf", "netns", " and netns exclude each other", "leave one out"
    if "vrf" in given and "table" in given:
        yield "table", "vrf", " is set, but the routes of a vrf go to its own", "leave table or vrf out"


def _sizes(given: Mapping[str, Given]) -> Iterator[Clash]:
    mtu, mss = _value(given, "mtu"), _value(given, "mss")
    if mtu and mss and mss > (most := mtu - IPV4_HEADER - TCP_HEADER):
        yield "mss", "mtu", f" = {mss} is more than the {most} that mtu = {mtu} leaves", "write less, or path"
    if not _value(given, "link_local"):
        return
    if mtu and mtu < IPV6_MIN_MTU:
        yield "link_local", "mtu", f" needs mtu = {IPV6_MIN_MTU} at least, not {mtu}", "raise mtu"
    if any(family == "ipv6" and name == "disable_ipv6" and number for family, name, number in _value(given, "sysctl") or ()):
        yield "link_local", "sysctl", " needs IPv6, which sysctl disables", "leave one out"
