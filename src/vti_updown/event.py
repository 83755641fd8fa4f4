"""The environment of an updown call as a typed `Event`.

Everything here comes from the peer or through it, so it is parsed strictly. A refusal names the
variable. The module knows nothing of settings, records or the kernel.

Source of the variables: strongSwan, src/libcharon/plugins/updown/updown_listener.c, invoke_once().
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from .addresses import IPAddress, IPNetwork, address, is_number, network
from .constants import UINT32_MAX
from .named_tuple import NamedTuple
from .text import Refusal, shown

T = TypeVar("T")

LAST_PORT = 0xFFFF
VARIABLE_BYTES = 4096
"""The longest value of a variable that we read, in bytes.

The longest that charon sets is an identity, which is far shorter.
"""


class EventError(Refusal):
    """A variable is missing, or has a value that charon would not write."""


class Verb(NamedTuple):
    up: bool
    family: int
    """The family of the local selector: 4 or 6."""


VERBS = {
    "up-host": Verb(up=True, family=4),
    "up-host-v6": Verb(up=True, family=6),
    "up-client": Verb(up=True, family=4),
    "up-client-v6": Verb(up=True, family=6),
    "down-host": Verb(up=False, family=4),
    "down-host-v6": Verb(up=False, family=6),
    "down-client": Verb(up=False, family=4),
    "down-client-v6": Verb(up=False, family=6),
}


class Mark(NamedTuple):
    value: int
    mask: int

    def __str__(self) -> str:
        if self.mask == UINT32_MAX:
            return str(self.value)
        return f"{self.value}/{self.mask:#x}"


class Selector(NamedTuple):
    """One traffic selector: a subnet, and what limits it.

    The protocol is 0 where none does, and the port is "0".
    """

    network: IPNetwork
    protocol: int
    port: str
    """`PORT`, `FROM:TO`, or an ICMP type or code, as charon writes it."""

    @property
    def limited(self) -> bool:
        """Whether it covers only one protocol or some ports, which a route cannot say."""
        return self.protocol != 0 or self.port != "0"

    def seen_from(self, endpoint: IPAddress | None) -> str:
        """The selector as text. The subnet of `endpoint` alone is `host`.

        MOBIKE may change that address, and even its family, before the `down`.
        """
        where = str(self.network)
        if self.is_host(endpoint):
            where = "host"
        if self.limited:
            return f"{where}[{self.protocol}/{self.port}]"
        return where

    def is_host(self, endpoint: IPAddress | None) -> bool:
        """Whether its subnet is that of `endpoint` alone."""
        if endpoint is None or self.network.num_addresses > 1:
            return False
        return self.network.network_address == endpoint


class Event(NamedTuple):
    """One call of charon's: a pair of traffic selectors of a CHILD_SA has come up, or goes down.

    `me` and `peer` are the IKE endpoints (local, remote). `my_…` is this host's side, and `peer_…`
    is the other side.
    """

    verb: str
    up: bool
    family: int
    connection: str
    unique_id: int
    me: IPAddress | None
    peer: IPAddress | None
    my_id: str
    peer_id: str
    my_selector: Selector
    peer_selector: Selector
    virtual_ips: tuple[IPAddress, ...]
    """This host's virtual IPs of both families, in charon's order."""
    mark_in: Mark | None
    mark_out: Mark | None
    if_id_in: int | None
    if_id_out: int | None
    xauth_id: str = ""


# What a variable may hold. Each parser raises ValueError, which says what it wants.


def _number(text: str) -> int:
    return _number_up_to(UINT32_MAX, text)


def _number_up_to(most: int, text: str) -> int:
    if not is_number(text, 10) or int(text) > most:
        raise ValueError(f"a number from 0 to {most}")
    return int(text)


def _mark(text: str) -> Mark:
    value, slash, mask = text.partition("/")
    try:
        if not slash:
            return Mark(_number(value), UINT32_MAX)
        return Mark(_number(value), _mask(mask))
    except ValueError:
        raise ValueError("a mark such as 2/0xffffffff") from None


def _mask(text: str) -> int:
    digits = text.removeprefix("0x")
    if digits == text or not text.isascii() or not digits.isalnum() or len(digits) > 8:
        raise ValueError
    return int(text, 16)


def _port(text: str) -> str:
    start, colon, end = text.partition(":")
    _number_up_to(LAST_PORT, start)
    if colon:
        _number_up_to(LAST_PORT, end)
    return text


def _endpoint(text: str) -> IPAddress | None:
    """An address, or None where charon knows none (`%any`), as it may once a tunnel goes down."""
    if text in ("%any", "%any6"):
        return None
    return address(text)


class _Variables:
    """Reads `PLUTO_NAME`. A refusal says which variable it is, and what it should hold."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    def read(self, name: str, parse: Callable[[str], T]) -> T | None:
        """The value parsed, or None where the variable is absent or empty.

        `parse` raises ValueError, which says what it wants.
        """
        value = self.environ.get(f"PLUTO_{name}")
        if not value:
            return None
        if len(value) > VARIABLE_BYTES:
            what = f"PLUTO_{name} is longer than {VARIABLE_BYTES} bytes"
            raise EventError(what, "call the hook from charon only")
        try:
            return parse(value)
        except ValueError as wanted:
            what = f"PLUTO_{name}={shown(value, 30)} is not {wanted}"
            raise EventError(what, "call the hook from charon, or correct it") from None

    def required(self, name: str, parse: Callable[[str], T]) -> T:
        value = self.read(name, parse)
        if value is None:
            hint = f"call the hook from charon (leftupdown=), or set PLUTO_{name}"
            raise EventError(f"PLUTO_{name} is not set", hint)
        return value

    def text(self, name: str) -> str:
        """The value as it is. It is empty where the variable is absent."""
        return self.read(name, str) or ""

    def verb(self) -> tuple[str, Verb]:
        word = self.required("VERB", str)
        verb = VERBS.get(word)
        if verb is None:
            hint = "known are up- and down-, host and client, with and without -v6"
            raise EventError(f"unknown PLUTO_VERB {shown(word)}", hint)
        return word, verb

    def endpoint(self, name: str, verb: Verb) -> IPAddress | None:
        """An IKE endpoint. Only an `up` needs it."""
        if verb.up:
            return self.required(name, address)
        return self.read(name, _endpoint)

    def selector(self, side: str) -> Selector:
        return Selector(
            network=self.required(f"{side}_CLIENT", network),
            protocol=self.read(f"{side}_PROTOCOL", _number) or 0,
            port=self.read(f"{side}_PORT", _port) or "0",
        )

    def virtual_ips(self) -> tuple[IPAddress, ...]:
        """The numbered variables of both families.

        PLUTO_MY_SOURCEIP counts only where charon sets no others.
        """
        names = [*self._numbered("MY_SOURCEIP4_"), *self._numbered("MY_SOURCEIP6_")]
        different: dict[IPAddress, None] = {}
        for name in names or ["MY_SOURCEIP"]:
            ip = self.read(name, _endpoint)
            if ip is not None:
                different[ip] = None
        return tuple(different)

    def _numbered(self, stem: str) -> list[str]:
        """`stem1`, `stem2`, … as far as they are set without a gap."""
        names: list[str] = []
        name = f"{stem}1"
        while f"PLUTO_{name}" in self.environ:
            names.append(name)
            name = f"{stem}{len(names) + 1}"
        return names


def parse(environ: Mapping[str, str]) -> Event:
    """The event that `environ` tells of. Raises EventError, which names the variable."""
    variables = _Variables(environ)
    word, verb = variables.verb()
    mine = variables.selector("MY")
    its = variables.selector("PEER")
    if mine.network.version != its.network.version:
        what = f"PLUTO_MY_CLIENT and PLUTO_PEER_CLIENT={its.network} are not of one family"
        raise EventError(what, "give both as IPv4, or both as IPv6")
    return Event(
        verb=word,
        up=verb.up,
        family=verb.family,
        connection=variables.required("CONNECTION", str),
        unique_id=variables.required("UNIQUEID", _number),
        me=variables.endpoint("ME", verb),
        peer=variables.endpoint("PEER", verb),
        my_id=variables.text("MY_ID"),
        peer_id=variables.text("PEER_ID"),
        my_selector=mine,
        peer_selector=its,
        virtual_ips=variables.virtual_ips(),
        mark_in=variables.read("MARK_IN", _mark),
        mark_out=variables.read("MARK_OUT", _mark),
        if_id_in=variables.read("IF_ID_IN", _number) or None,
        if_id_out=variables.read("IF_ID_OUT", _number) or None,
        xauth_id=variables.text("XAUTH_ID"),
    )
