"""The settings that are lists or tables: routes, addresses and sysctls.

Each has a parser of what TOML made, and one of a flag's words. The module knows no other settings.
"""

from collections.abc import Iterator, Sequence

from ..addresses import IPAddress, IPInterface, IPNetwork, network
from ..named_tuple import NamedTuple
from ..text import shown
from . import values
from .values import InvalidValue, Parse, T, parse_part

INT32_MOST = (1 << 31) - 1
INT32_LEAST = -INT32_MOST - 1
SYSCTL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


class ConfiguredRoute(NamedTuple):
    """A network that the settings send through the tunnel.

    Where something is None, the connection's `metric` or `table`, or the plan, says it.
    """

    network: IPNetwork
    metric: int | None = None
    table: int | None = None
    source: IPAddress | None = None


class InnerAddress(NamedTuple):
    """An address of the link that the settings name.

    It has the address of the other side where it is point to point.
    """

    address: IPInterface
    peer: IPAddress | None = None


class ConfiguredSysctl(NamedTuple):
    """A sysctl of the link, as in net/FAMILY/conf/LINK/NAME."""

    family: str
    """ipv4 or ipv6."""
    name: str
    value: int

    @property
    def disables_ipv6(self) -> bool:
        return self.family == "ipv6" and self.name == "disable_ipv6" and self.value != 0


# Routes


def routes(value: object) -> tuple[ConfiguredRoute, ...] | None:
    """The routes. None stands for `auto`, and none at all for `none`."""
    if value == "auto":
        return None
    if value == "none":
        return ()
    different: dict[ConfiguredRoute, ConfiguredRoute] = {}
    for item in _items(value):
        route = _route(item)
        without_source = route._replace(source=None)
        same = different.setdefault(without_source, route)
        if same != route:
            network = str(route.network)
            raise InvalidValue(network, " has two sources", "leave one of the two out")
    return tuple(different.values())


def _items(value: object) -> list[object]:
    """The items of a list. Any other value is a list of itself."""
    if isinstance(value, list):
        return value
    return [value]


def _route(value: object) -> ConfiguredRoute:
    if not isinstance(value, dict):
        return ConfiguredRoute(_network(value))
    parts: dict[str, object] = value
    if "to" not in parts:
        raise InvalidValue(value, " has no network", 'write to = "10.2.0.0/16"')
    for part in parts:
        if part not in ("to", "metric", "table", "src"):
            hint = "its keys are to, metric, table and src"
            raise InvalidValue(part, " is no part of a route", hint)
    route = ConfiguredRoute(
        network=_network(parts["to"]),
        metric=_optional(parts, "metric", values.metric, "write a number such as 100"),
        table=_optional(parts, "table", values.table, "write a number such as 100"),
        source=_optional(parts, "src", values.one_address, "write an address of this host"),
    )
    _check_source(route)
    return route


def _optional(parts: dict[str, object], part: str, parse: Parse[T], hint: str) -> T | None:
    if part not in parts:
        return None
    return parse_part(part, hint, parse, parts[part])


def _check_source(route: ConfiguredRoute) -> None:
    source = route.source
    if source is None:
        return
    version = route.network.version
    if source.version != version or source.is_unspecified:
        problem = f" is no IPv{version} address of a host"
        raise InvalidValue(str(source), problem, "write an address of this host", "src")


def _network(value: object) -> IPNetwork:
    text = value if isinstance(value, str) else ""
    try:
        return network(text)
    except ValueError as wanted:
        hint = "write NET/PREFIX with no host bits set"
        raise InvalidValue(value, f" is not {wanted}", hint) from None


def words_of_routes(words: Sequence[str]) -> object:
    for word in words:
        if word in ("auto", "none"):
            if len(words) > 1:
                raise InvalidValue(word, " stands alone", "leave the other --route out")
            return word
    return [_words_of_route(word) for word in words]


def _words_of_route(word: str) -> dict[str, object]:
    """`NET,name=value,…` as a table."""
    net, *options = word.split(",")
    parts: dict[str, object] = {"to": net}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or name in parts:
            problem = f": {shown(option, 15)!r} is no option, or given twice"
            raise InvalidValue(word, problem, "write NET,metric=N,table=N,src=IP")
        parts[name] = values.number_or_word(value)
    return parts


# Addresses


def addresses(value: object) -> tuple[InnerAddress, ...]:
    different = dict.fromkeys(map(_inner_address, _items(value)))
    return tuple(different)


def _inner_address(value: object) -> InnerAddress:
    """`ADDRESS`, `ADDRESS/PREFIX`, or `ADDRESS peer ADDRESS` for two hosts (ip-address(8))."""
    words = value.split() if isinstance(value, str) else []
    match words:
        case [own, "peer", peer]:
            return _point_to_point(value, own, peer)
    return InnerAddress(values.interface(value))


def _point_to_point(value: object, own_word: str, peer_word: str) -> InnerAddress:
    own = values.interface(own_word)
    peer_base, slash, peer_prefix = peer_word.partition("/")
    peer = values.one_address(peer_base)
    if own.version != peer.version or own.ip == peer or peer.is_unspecified:
        hint = "write ADDRESS peer ADDRESS"
        raise InvalidValue(value, " needs two addresses of one family", hint)
    # `ip addr` prints the peer as a host: 169.254.21.1/32.
    has_prefix = slash and peer_prefix != str(peer.max_prefixlen)
    if has_prefix or own.network.num_addresses > 1:
        raise InvalidValue(value, " has a prefix and a peer", "leave one of the two out")
    return InnerAddress(own, peer)


# Sysctls


def sysctls(value: object) -> tuple[ConfiguredSysctl, ...]:
    """A table of `"FAMILY.NAME" = VALUE`. Without the quotes it is a table in a table."""
    if not isinstance(value, dict):
        raise InvalidValue(value, " is no table")
    different: dict[str, ConfiguredSysctl] = {}
    for name, number in _with_whole_names(value):
        if name in different:
            raise InvalidValue(name, " is given twice", "leave one out")
        different[name] = _sysctl(name, number)
    return tuple(different.values())


def _with_whole_names(table: dict[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if not isinstance(value, dict):
            yield key, value
            continue
        for name, number in value.items():
            yield f"{key}.{name}", number


def _sysctl(key: str, value: object) -> ConfiguredSysctl:
    family, _, name = key.partition(".")
    if family not in ("ipv4", "ipv6") or not _is_sysctl(name):
        raise InvalidValue(key, " is no sysctl of a link", "write ipv4.NAME or ipv6.NAME")
    parse = values.number(INT32_LEAST, INT32_MOST)
    number = parse_part(shown(key), "write a whole number", parse, value)
    return ConfiguredSysctl(family, name, number)


def _is_sysctl(name: str) -> bool:
    return name != "" and SYSCTL_CHARACTERS.issuperset(name)


def words_of_sysctls(words: Sequence[str]) -> object:
    given: dict[str, object] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name in given:
            raise InvalidValue(name, " is given twice", "leave one out")
        given[name] = _whole_number(value)
    return given


def _whole_number(word: str) -> int | str:
    """The number that a word such as -1 says. A parser of numbers refuses any other word."""
    number = values.number_or_word(word.removeprefix("-"))
    if isinstance(number, str):
        return word
    if word.startswith("-"):
        return -number
    return number
