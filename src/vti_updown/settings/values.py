"""What a value may be, and how it is written in a message. The module knows no settings.

A parser takes what TOML made (text, numbers, lists, tables), and returns it typed or raises
`InvalidValue`. The words of a flag are first made into what TOML would have made.
"""

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..addresses import IPAddress, IPInterface, address, is_number
from ..constants import (
    IP_HEADER,
    LONGEST_PACKET,
    RT_TABLE_DEFAULT,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    TCP_HEADER,
    UINT32_MAX,
)
from ..named_tuple import NamedTuple
from ..text import shown

T = TypeVar("T")
Parse = Callable[[object], T]

LINK_NAME_BYTES = 15
"""IFNAMSIZ - 1 (if.h)."""
NETNS_NAME_BYTES = 255
"""NAME_MAX (limits.h). A namespace has the name of a file in /run/netns."""
COMMAND_BYTES = 131071
"""The longest argument of a program (MAX_ARG_STRLEN - 1, binfmts.h).

The command is an argument of /bin/sh.
"""
TABLES = {"main": RT_TABLE_MAIN, "default": RT_TABLE_DEFAULT}
"""Routing tables by the names that iproute2 gives them."""
MTU_LEAST = 68
"""Every link of IPv4 takes a packet of this length (RFC 791)."""
MSS_LEAST = 536
"""Every host takes a segment of this length (RFC 9293, section 3.7.1)."""
MSS_MOST = LONGEST_PACKET - IP_HEADER[4] - TCP_HEADER
PORT_MOST = 65535
PRIORITY_MOST = 32761
"""The rules of a full tunnel have five priorities, and the main table's rule has 32766."""
METRIC_MOST = UINT32_MAX - 1
"""The next one is for our unreachable routes."""
SECONDS_MOST = 60
"""The longest that a command of the user's may take. charon may be waiting for it."""
LINK_LOCAL = ipaddress.IPv6Network("fe80::/10")
BROADCAST = ipaddress.IPv4Address(UINT32_MAX)
HEXADECIMAL_DIGITS = frozenset("0123456789abcdefABCDEF")
VALUE_CHARACTERS = 24
"""As much of a value as a message shows."""
LIST_ITEMS = 4
"""As many items of a list as a message shows."""


class InvalidValue(Exception):
    """A value that cannot be.

    `value` and `problem` make the sentence, such as `20` and ` is not a number from 68 to 65535`.
    `part` says where it is within the setting. If there is no `hint`, the message shows the
    setting's own example.
    """

    def __init__(self, value: object, problem: str, hint: str = "", part: str = "") -> None:
        super().__init__(problem)
        self.value = value
        self.problem = problem
        self.hint = hint
        self.part = part


def parse_part(part: str, hint: str, parse: Parse[T], value: object) -> T:
    """A value that is part of a setting's value."""
    try:
        return parse(value)
    except InvalidValue as invalid:
        hint = invalid.hint or hint
        raise InvalidValue(invalid.value, invalid.problem, hint, part) from None


# Words and numbers


def text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValue(value, " is not text in quotes")
    if not value:
        raise InvalidValue(value, " is empty")
    return value


def choice(*words: str) -> Parse[str]:
    """A parser that takes one of these words."""
    problem = f" is not {any_of(words)}"

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise InvalidValue(value, problem)
        return value

    return parse


def any_of(words: Sequence[str]) -> str:
    """The words as a message lists them, such as `vti, vti6 or xfrm`."""
    *others, last = words
    return f"{', '.join(others)} or {last}"


def number(least: int, most: int, besides: str = "") -> Parse[int]:
    """A parser of numbers. The message says with `besides` what may stand there, too."""
    problem = f" is not {besides}a number from {least} to {most}"

    def parse(value: object) -> int:
        # To Python, True and False are numbers.
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidValue(value, problem)
        if not least <= value <= most:
            raise InvalidValue(value, problem)
        return value

    return parse


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue(value, " is neither true nor false")
    return value


def pair(value: object) -> tuple[int, int]:
    """A mark or an if_id, inbound and outbound: one number for both, or a list of two.

    Each may be text such as 0x2a.
    """
    both = value if isinstance(value, list) else [value, value]
    problem = f" is not one or two numbers from 1 to {UINT32_MAX}"
    return _two(value, both, _mark_or_if_id, problem)


def ports(value: object) -> tuple[int, int]:
    """The two UDP ports of IKE: without and with a NAT on the way."""
    both = value if isinstance(value, list) else []
    problem = f" is not two numbers from 1 to {PORT_MOST}"
    return _two(value, both, number(1, PORT_MOST), problem)


def _two(
    value: object,
    both: list[object],
    parse: Parse[int],
    problem: str,
) -> tuple[int, int]:
    """The two numbers that `value` says. Raises InvalidValue with the problem for anything else."""
    try:
        first, second = map(parse, both)
    except (InvalidValue, ValueError):
        raise InvalidValue(value, problem) from None
    return first, second


def mark(value: object) -> int:
    """One mark, a number or text such as 0x77."""
    try:
        return _mark_or_if_id(value)
    except InvalidValue:
        raise InvalidValue(value, f" is not a number from 1 to {UINT32_MAX}") from None


def _mark_or_if_id(value: object) -> int:
    if isinstance(value, str):
        value = _hexadecimal(value)
    return number(1, UINT32_MAX)(value)


def _hexadecimal(word: str) -> int | None:
    """The number that a word such as 0x2a says."""
    digits = word.removeprefix("0x")
    if digits == word or not 1 <= len(digits) <= 8:
        return None
    if not HEXADECIMAL_DIGITS.issuperset(digits):
        return None
    return int(digits, 16)


def mss(value: object) -> int | None:
    """Bytes. 0 stands for `path`, and None for `none`."""
    if value == "path":
        return 0
    if value == "none":
        return None
    return number(MSS_LEAST, MSS_MOST, "path, none or ")(value)


mtu = number(MTU_LEAST, LONGEST_PACKET)
metric = number(0, METRIC_MOST)
priority = number(1, PRIORITY_MOST)
full_table = number(1, UINT32_MAX - 1)
seconds = number(1, SECONDS_MOST)


def table(value: object) -> int:
    """The number of a routing table, or the name of one that every host has."""
    if value in ("local", RT_TABLE_LOCAL):
        raise InvalidValue(value, " is the kernel's own table")
    if isinstance(value, str) and value in TABLES:
        return TABLES[value]
    return number(1, UINT32_MAX, "main, default or ")(value)


def command(value: object) -> str:
    """What /bin/sh is given."""
    words = text(value)
    if not words.strip() or "\0" in words:
        raise InvalidValue(value, " is no command")
    try:
        size = len(words.encode())
    except UnicodeEncodeError:
        raise InvalidValue(value, " is no UTF-8", "put it into a script") from None
    if size > COMMAND_BYTES:
        problem = f" is longer than {COMMAND_BYTES} bytes"
        raise InvalidValue(value, problem, "put it into a script")
    return words


# Addresses


def endpoint(value: object) -> IPAddress:
    """An endpoint of a link.

    `any` is the unspecified address of IPv4, which stands for that of IPv6, too.
    """
    if value == "any":
        return ipaddress.IPv4Address(0)
    return one_address(value, " is not an IP address or any")


def one_address(value: object, problem: str = " is not an IP address") -> IPAddress:
    """An IP address that one host can have, or the unspecified one."""
    if not isinstance(value, str):
        raise InvalidValue(value, problem)
    try:
        parsed = address(value)
    except ValueError:
        raise InvalidValue(value, problem) from None
    if parsed.is_multicast or parsed == BROADCAST:
        raise InvalidValue(value, " is not an address of one host")
    return parsed


def interface(value: object) -> IPInterface:
    """An address with its prefix. Without one it stands alone (/32 or /128)."""
    problem = " is not an address such as 10.3.0.1 or 169.254.21.2/30"
    if not isinstance(value, str):
        raise InvalidValue(value, problem)
    base, slash, prefix = value.partition("/")
    if not base:
        raise InvalidValue(value, problem)
    ip = one_address(base, problem)
    if ip.is_unspecified or (slash and not is_number(prefix, 3)):
        raise InvalidValue(value, problem)
    if not slash:
        return ipaddress.ip_interface(ip)
    try:
        parsed = ipaddress.ip_interface(f"{ip}/{int(prefix)}")
    except ValueError:
        raise InvalidValue(value, problem) from None
    if parsed.network.num_addresses > 2 and parsed.ip == parsed.network.network_address:
        raise InvalidValue(value, " is a network, not an address in it")
    return parsed


def link_local(value: object) -> IPInterface | None:
    """An IPv6 link-local address, with /64 where it has no prefix. None stands for `auto`."""
    if value == "auto":
        return None
    with_prefix = value
    if isinstance(value, str) and "/" not in value:
        with_prefix = f"{value}/64"
    parsed = interface(with_prefix)
    if parsed.version != 6 or not parsed.network.subnet_of(LINK_LOCAL):
        raise InvalidValue(value, f" is not in {LINK_LOCAL}")
    return parsed


# Names


def netns(value: object) -> str:
    """The name of a network namespace, as `ip netns` takes it (ipnetns.c, is_basename())."""
    name = text(value)
    is_file_name = "/" not in name and name not in (".", "..")
    # A name that cannot be printed may not be UTF-8 either, so it is not encoded.
    if not is_file_name or not name.isprintable() or len(name.encode()) > NETNS_NAME_BYTES:
        raise InvalidValue(value, " is no name of a network namespace")
    return name


def link(value: object) -> str:
    """The name of a link that is there already."""
    name = text(value)
    problem = link_name_problem(name)
    if problem:
        raise InvalidValue(value, f" {problem}")
    return name


def link_name_problem(name: str) -> str:
    """Why the kernel would not take `name` for a link. It is empty where the kernel would.

    See dev_valid_name() and sysctl_dev_name_is_allowed().
    """
    if not name:
        return "is empty"
    problem = _character_problem(name)
    if problem:
        return problem
    if name in (".", "..", "all", "default"):
        return "is no name"
    if len(name) > LINK_NAME_BYTES:
        return f"is longer than {LINK_NAME_BYTES} bytes"
    return ""


def _character_problem(piece: str) -> str:
    for character in piece:
        if character in "/:%" or character.isspace() or not _is_printable_ascii(character):
            return f"has {shown(character)!r} in it, which no link name may have"
    return ""


def _is_printable_ascii(character: str) -> bool:
    return character.isascii() and character.isprintable()


PLACEHOLDERS = ("connection", "uniqueid", "mark", "if_id", "if_id:08x", "peer")


class TemplatePart(NamedTuple):
    literal: str
    placeholder: str | None
    """What stands in braces behind the literal text. The last part may have none."""


def template(value: object) -> str:
    """The template of a link's name: text with placeholders in braces."""
    name = text(value)
    parts = list(template_parts(name))
    for part in parts:
        _check_template_part(part, name)
    literals = [part.literal for part in parts]
    literal = "".join(literals)
    # The placeholders may fill in what a short literal text lacks.
    if literal == name or len(literal) > LINK_NAME_BYTES:
        problem = link_name_problem(literal)
        if problem:
            hint = f"a link name has at most {LINK_NAME_BYTES} letters, digits, - and _"
            raise InvalidValue(value, f" {problem}", hint)
    return name


def _check_template_part(part: TemplatePart, name: str) -> None:
    problem = _character_problem(part.literal)
    if problem:
        raise InvalidValue(name, f" {problem}", "use letters, digits, - and _")
    if part.placeholder is None or part.placeholder in PLACEHOLDERS:
        return
    known = [f"{{{placeholder}}}" for placeholder in PLACEHOLDERS]
    hint = f"known are {' '.join(known)}"
    unknown = shown(part.placeholder, 15)
    raise InvalidValue(name, f": unknown {{{unknown}}}", hint)


def template_parts(template: str) -> Iterator[TemplatePart]:
    """The template taken to pieces. Raises InvalidValue for a lone brace."""
    rest = template
    while rest:
        literal, opened, rest = rest.partition("{")
        placeholder, closed, rest = rest.partition("}")
        if (opened and not closed) or "}" in literal or "{" in placeholder:
            problem = " has a brace without its pair"
            raise InvalidValue(template, problem, "write {uniqueid}, say")
        yield TemplatePart(literal, placeholder if opened else None)


def is_pattern(text: str) -> bool:
    """Whether the text is a pattern for `fnmatch`, and does not stand for itself."""
    return not set("*?[").isdisjoint(text)


# What TOML would have made of a flag's words


def one_word(words: Sequence[str]) -> object:
    (word,) = words
    return word


def one_number(words: Sequence[str]) -> object:
    (word,) = words
    return number_or_word(word)


def one_or_two_numbers(words: Sequence[str]) -> object:
    """`42`, `0x2a` or `IN,OUT`."""
    (word,) = words
    if "," in word:
        return [number_or_word(piece) for piece in word.split(",")]
    return number_or_word(word)


def every_word(words: Sequence[str]) -> object:
    return list(words)


def yes_or_no(words: Sequence[str]) -> object:
    (word,) = words
    if word not in ("yes", "no"):
        raise InvalidValue(word, " is neither yes nor no", "write =yes or =no")
    return word == "yes"


def number_or_word(word: str) -> int | str:
    """The number, if it is one in plain digits. A parser of numbers refuses any other word."""
    if is_number(word, 10):
        return int(word)
    return word


# How a value is written in a message. It is cut where it is long.


def as_toml(value: object) -> str:
    """A value as the file has it."""
    if isinstance(value, str):
        return f'"{shown(value, VALUE_CHARACTERS)}"'
    if isinstance(value, list):
        return _list_as_toml(value)
    if isinstance(value, dict):
        return _table_as_toml(value)
    return _scalar(value)


def _list_as_toml(values: list[object]) -> str:
    items = map(_inner_as_toml, values[:LIST_ITEMS])
    text = shown(", ".join(items), VALUE_CHARACTERS)
    if len(values) > LIST_ITEMS:
        return f"[{text}, …]"
    return f"[{text}]"


def _table_as_toml(table: dict[str, object]) -> str:
    if not table:
        return "{}"
    if len(table) > 1:
        return "{…}"
    ((key, value),) = table.items()
    if isinstance(value, list | dict):
        return "{…}"
    return f"{{ {as_toml(key)} = {as_toml(value)} }}"


def _inner_as_toml(value: object) -> str:
    if isinstance(value, list | dict):
        return "…"
    return as_toml(value)


def as_word(value: object) -> str:
    """A value as a flag has it."""
    if isinstance(value, list):
        return ",".join(map(as_word, value))
    if isinstance(value, dict):
        pairs = [f"{as_word(key)}={as_word(inner)}" for key, inner in value.items()]
        return ",".join(pairs)
    if isinstance(value, str):
        return shown(value)
    return _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number that long"
    return shown(value, VALUE_CHARACTERS)
