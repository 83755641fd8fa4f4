"""What a value may be, as the file's TOML has it; a flag's words are made into the same first. It knows no settings.

A parser takes what TOML made (text, numbers, lists, tables) and returns it typed, or raises `Fault`.
"""

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from .event import UINT32_MAX, IPAddress, address
from .text import shown

T = TypeVar("T")
IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Parse = Callable[[object], T]

LINK_NAME_BYTES = 15
"""IFNAMSIZ - 1 (if.h)."""
NETNS_NAME_BYTES = 255
"""NAME_MAX (limits.h): a namespace's name is that of a file in /run/netns."""
COMMAND_BYTES = 131071
"""What one argument of a program may have (MAX_ARG_STRLEN - 1, binfmts.h), as the command is one of /bin/sh's."""
IPV6_MIN_MTU = 1280
"""With less, the kernel takes IPv6 off the link (RFC 8200, section 5; net/ipv6/addrconf.c addrconf_notify())."""
TABLES = {"main": 254, "default": 253}
"""RT_TABLE_MAIN and RT_TABLE_DEFAULT (rtnetlink.h), by iproute2's names."""
RT_TABLE_LOCAL = 255
MSS_LEAST, MSS_MOST = 536, 65495
"""What every host takes (RFC 9293, section 3.7.1), and what the longest IPv4 packet leaves (65535 less two headers of 20)."""
LINK_LOCAL = ipaddress.IPv6Network("fe80::/10")
VALUE_CHARACTERS = 24
"""As much of a value as a message shows of it."""


class Fault(Exception):
    """A value that cannot be. `value` and `what` make the sentence, such as `20` and ` is not a number from 68 to 65535`.

    `part` is where it is within the setting; without a `hint`, the setting's own example is what would be right.
    """

    def __init__(self, value: object, what: str, hint: str = "", part: str = "") -> None:
        super().__init__(what)
        self.value = value
        self.what = what
        self.hint = hint
        self.part = part


def within(part: str, hint: str, parse: Parse[T], value: object) -> T:
    """A value that is part of a setting's."""
    try:
        return parse(value)
    except Fault as fault:
        raise Fault(fault.value, fault.what, fault.hint or hint, part) from None


def text(value: object) -> str:
    if not isinstance(value, str):
        raise Fault(value, " is not text in quotes")
    if not value:
        raise Fault(value, " is empty")
    return value


def choice(*words: str) -> Parse[str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise Fault(value, f" is not {', '.join(words[:-1])} or {words[-1]}")
        return value

    return parse


def number(least: int, most: int, besides: str = "") -> Parse[int]:
    """`besides`: what else may stand there, for the message."""

    def parse(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Fault(value, f" is not {besides}a number from {least} to {most}")
        return value

    return parse


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise Fault(value, " is neither true nor false")
    return value


def pair(value: object) -> tuple[int, int]:
    """A mark or an if_id, inbound and outbound: one number for both, or a list of two; each may be text such as 0x2a."""
    both = value if isinstance(value, list) else [value, value]
    numbers = [_hexadecimal(one) if isinstance(one, str) else one for one in both]
    try:
        inbound, outbound = map(number(1, UINT32_MAX), numbers)
    except (Fault, ValueError):
        raise Fault(value, f" is not one or two numbers from 1 to {UINT32_MAX}") from None
    return inbound, outbound


def _hexadecimal(word: str) -> int | None:
    digits = word[2:]
    if not (word.startswith("0x") and digits and len(digits) <= 8 and set(digits) <= set("0123456789abcdefABCDEF")):
        return None
    return int(digits, 16)


def endpoint(value: object) -> IPAddress:
    """An endpoint of a link; `any` is the unspecified address of IPv4, which stands for that of IPv6, too."""
    if value == "any":
        return ipaddress.IPv4Address(0)
    return one_address(value, " is not an IP address or any")


def one_address(value: object, what: str = " is not an IP address") -> IPAddress:
    """An IP address that one host can have, or the unspecified one."""
    try:
        found = address(value if isinstance(value, str) else "")
    except ValueError:
        raise Fault(value, what) from None
    if found.is_multicast or found == ipaddress.IPv4Address(UINT32_MAX):
        raise Fault(value, " is not an address of one host")
    return found


def interface(value: object) -> IPInterface:
    """An address with its prefix; without one, the address alone (/32 or /128)."""
    what = " is not an address such as 10.3.0.1 or 169.254.21.2/30"
    base, slash, prefix = value.partition("/") if isinstance(value, str) else ("", "", "")
    ip = one_address(base, what) if base else None
    if ip is None or ip.is_unspecified or (slash and not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3)):
        raise Fault(value, what)
    try:
        found = ipaddress.ip_interface(f"{ip}/{int(prefix)}" if slash else ip)
    except ValueError:
        raise Fault(value, what) from None
    if found.network.num_addresses > 2 and found.ip == found.network.network_address:
        raise Fault(value, " is a network, not an address in it")
    return found


def link_local(value: object) -> IPInterface | None:
    """An IPv6 link-local address, with /64 where it has no prefix; None for `auto`."""
    if value == "auto":
        return None
    found = interface(f"{value}/64" if isinstance(value, str) and "/" not in value else value)
    if found.version != 6 or not found.network.subnet_of(LINK_LOCAL):
        raise Fault(value, " is not in fe80::/10")
    return found


def mss(value: object) -> int | None:
    """Bytes; 0 for `path`, None for `none`."""
    if value in ("path", "none"):
        return 0 if value == "path" else None
    return number(MSS_LEAST, MSS_MOST, "path, none or ")(value)


metric = number(0, UINT32_MAX - 1)  # the last is our unreachable routes' own


def table(value: object) -> int:
    """The number of a routing table, or iproute2's name of one that every host has. The local one is the kernel's."""
    if value in ("local", RT_TABLE_LOCAL):
        raise Fault(value, " is the kernel's own table")
    if isinstance(value, str) and value in TABLES:
        return TABLES[value]
    return number(1, UINT32_MAX, "main, default or ")(value)


def command(value: object) -> str:
    """What /bin/sh is given."""
    words = text(value)
    if not words.strip() or "\0" in words:
        raise Fault(value, " is no command")
    try:
        size = len(words.encode())
    except UnicodeEncodeError:
        raise Fault(value, " is no UTF-8", "put it into a script") from None
    if size > COMMAND_BYTES:
        raise Fault(value, f" is longer than {COMMAND_BYTES} bytes", "put it into a script")
    return words


def netns(value: object) -> str:
    """The name of a network namespace, as `ip netns` takes it (ipnetns.c, is_basename())."""
    name = text(value)
    if "/" in name or name in (".", "..") or not name.isprintable() or len(name.encode("utf-8")) > NETNS_NAME_BYTES:
        raise Fault(value, " is no name of a network namespace")
    return name


def link(value: object) -> str:
    """The name of a link that is there already."""
    name = text(value)
    if (what := name_fault(name)) is not None:
        raise Fault(value, f" {what}")
    return name


def name_fault(name: str) -> str | None:
    """Why the kernel would not take `name` for a link (dev_valid_name(), sysctl_dev_name_is_allowed())."""
    if not name:
        return "is empty"
    if (what := character_fault(name)) is not None:
        return what
    if name in (".", "..", "all", "default"):
        return "is no name"
    return f"is longer than {LINK_NAME_BYTES} bytes" if len(name) > LINK_NAME_BYTES else None


def character_fault(piece: str) -> str | None:
    for c in piece:
        if c in "/:%" or not c.isascii() or not c.isprintable() or c.isspace():
            return f"has {shown(c)!r} in it, which no link name may have"
    return None


PLACEHOLDERS = ("connection", "uniqueid", "mark", "if_id", "if_id:08x", "peer")


def template(value: object) -> str:
    """The template of a link's name: text with placeholders in braces."""
    name = text(value)
    parts = list(template_parts(name))
    for literal, place in parts:
        if (what := character_fault(literal)) is not None:
            raise Fault(value, f" {what}", "use letters, digits, - and _")
        if place is not None and place not in PLACEHOLDERS:
            known = " ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            raise Fault(value, f": unknown {{{shown(place, 15)}}}", f"known are {known}")
    letters = "".join(literal for literal, _ in parts)
    if (len(letters) > LINK_NAME_BYTES or letters == name) and (what := name_fault(letters)) is not None:
        raise Fault(value, f" {what}", "a link name has at most 15 letters, digits, - and _")
    return name


def template_parts(name: str) -> Iterator[tuple[str, str | None]]:
    """Pairs of literal text and the placeholder behind it (None at the end). Raises Fault for a lone brace."""
    rest = name
    while rest:
        literal, brace, rest = rest.partition("{")
        place, closed, rest = rest.partition("}")
        if (brace and not closed) or "}" in literal or "{" in place:
            raise Fault(name, " has a brace without its pair", "write {uniqueid}, say")
        yield literal, place if brace else None


def is_pattern(text: str) -> bool:
    """Whether it is one for `fnmatch`, rather than the text itself."""
    return any(c in text for c in "*?[")


# What the words of a flag would be in the file.


def one_word(words: Sequence[str]) -> object:
    return words[0]


def one_number(words: Sequence[str]) -> object:
    return _number(words[0])


def one_or_two(words: Sequence[str]) -> object:
    """`42`, `0x2a` or `IN,OUT`."""
    numbers = [_number(word) for word in words[0].split(",")]
    return numbers if len(numbers) > 1 else numbers[0]


def every_word(words: Sequence[str]) -> object:
    return list(words)


def yes_or_no(words: Sequence[str]) -> object:
    if words[0] not in ("yes", "no"):
        raise Fault(words[0], " is neither yes nor no", "write =yes or =no")
    return words[0] == "yes"


def _number(word: str) -> int | str:
    """A number where it is one in plain digits; else the word, which a parser of numbers refuses."""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 10 else word


def options(word: str) -> dict[str, object]:
    """`FIRST,name=value,…` as a table, with the first as `to`."""
    first, *rest = word.split(",")
    found: dict[str, object] = {"to": first}
    for option in rest:
        name, equals, value = option.partition("=")
        if not equals or name in found:
            raise Fault(word, f": {shown(option, 15)!r} is no option, or given twice", "write NET,metric=N,table=N,src=IP")
        found[name] = _number(value)
    return found


def named_number(word: str) -> tuple[str, object]:
    """`name=value`."""
    name, _, value = word.partition("=")
    negative = value.startswith("-")
    found = _number(value.removeprefix("-"))
    return name, (-found if negative else found) if isinstance(found, int) else value


# How a value is written in a message.


def toml(value: object) -> str:
    """A value as the file has it; cut where it is long."""
    if isinstance(value, str):
        return f'"{shown(value, VALUE_CHARACTERS)}"'
    if isinstance(value, list):
        inner = ", ".join("…" if isinstance(one, list | dict) else toml(one) for one in value[:4])
        return f"[{shown(inner, VALUE_CHARACTERS)}{', …' if len(value) > 4 else ''}]"
    if isinstance(value, dict):
        pairs = [f"{toml(key)} = {toml(one)}" for key, one in value.items() if not isinstance(one, list | dict)]
        return f"{{ {pairs[0]} }}" if len(pairs) == len(value) == 1 else "{…}" if value else "{}"
    return _scalar(value)


def word(value: object) -> str:
    """A value as a flag has it; cut where it is long."""
    if isinstance(value, list):
        return ",".join(map(word, value))
    if isinstance(value, dict):
        return ",".join(f"{word(key)}={word(one)}" for key, one in value.items())
    return shown(value, 40) if isinstance(value, str) else _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number that long"
    return shown(value, VALUE_CHARACTERS)
