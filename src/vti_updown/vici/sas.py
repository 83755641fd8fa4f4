"""What charon says of SAs and connections, as types.

`ike_sas` reads the messages of `list-sas`, and those of the events `ike-updown`, `child-updown`
and their like. `connections` reads those of `list-conns`. What a message lacks is None or empty,
and what it has beyond is ignored, so strongSwan 5.9 and 6.0 are read alike (vici_query.c).

Texts are as charon prints them. They may hold anything, so print them by `text.shown`.
"""

from collections.abc import Iterator

from ..constants import UINT32_MAX
from ..named_tuple import NamedTuple
from .protocol import Message

Mark = tuple[int, int]
"""A value and its mask."""
LIVE = {"INSTALLED", "REKEYING"}
"""The states of a CHILD_SA in which it carries packets.

REKEYED and DELETED ones stay for some seconds, so that packets on their way are still decrypted.
"""
TASKS = ("tasks-active", "tasks-queued", "tasks-passive")
LONGEST_NUMBER = 20
"""Digits of the largest number of 64 bits."""
HEX_DIGITS = set("0123456789abcdef")


class ChildSa(NamedTuple):
    """From `spi_in` to `life_time`, charon tells values of SAs only that the kernel has or had."""

    name: str
    """Of its configuration: the hook's PLUTO_CONNECTION."""
    unique_id: int | None
    reqid: int | None
    state: str
    """Such as INSTALLED."""
    mode: str
    """Such as TUNNEL."""
    protocol: str | None
    """ESP or AH."""
    encap: bool
    """Whether its packets are in UDP."""
    spi_in: int | None
    spi_out: int | None
    mark_in: Mark | None
    mark_out: Mark | None
    if_id_in: int | None
    if_id_out: int | None
    bytes_in: int | None
    bytes_out: int | None
    packets_in: int | None
    packets_out: int | None
    last_in: int | None
    """Seconds since the last packet. None if there was none."""
    last_out: int | None
    installed: int | None
    """Seconds since it was installed."""
    rekey_in: int | None
    """Seconds until it is rekeyed. Negative if it is late."""
    life_time: int | None
    """Seconds until it expires."""
    local_ts: list[str]
    """Traffic selectors as charon prints them, such as `10.1.0.0/16[tcp/http]`."""
    remote_ts: list[str]
    cpu: int | None
    """The CPU that it is for (strongSwan 6.0). No hook is called for such a one."""

    @property
    def is_live(self) -> bool:
        return self.state in LIVE


class IkeSa(NamedTuple):
    name: str
    """Of the connection. The hook never gets it."""
    unique_id: int | None
    """The hook's PLUTO_UNIQUEID."""
    version: int | None
    """Of IKE: 1 or 2."""
    state: str
    """Such as ESTABLISHED."""
    local_host: str | None
    local_port: int | None
    remote_host: str | None
    remote_port: int | None
    local_id: str | None
    remote_id: str | None
    remote_xauth_or_eap_id: str | None
    """None if it equals `remote_id`."""
    local_vips: list[str]
    """Virtual IPs of this host, of both families."""
    remote_vips: list[str]
    """Virtual IPs that were given to the peer."""
    established: int | None
    """Seconds since then. None if it is not established, or is just being deleted."""
    rekey_in: int | None
    """Seconds until it is rekeyed. Negative if it is late."""
    reauth_in: int | None
    tasks: list[str]
    """What charon does, and then wants to do, such as `IKE_REKEY`."""
    children: list[ChildSa]


class ConnectionChild(NamedTuple):
    """The configuration of a CHILD_SA. charon tells neither its hook nor its mark and if_id."""

    name: str
    mode: str
    local_ts: list[str]
    """`dynamic` stands for the host's own address, or its virtual IP."""
    remote_ts: list[str]
    dpd_action: str | None
    """What follows when the peer is silent, in charon's words, such as `restart` or `start`."""
    close_action: str | None
    """What follows when the peer deletes it."""


class Connection(NamedTuple):
    name: str
    version: str | None
    """Such as `IKEv2`."""
    local_addrs: list[str]
    remote_addrs: list[str]
    """`%any` is a connection that only the peer can initiate."""
    local_ids: list[str]
    remote_ids: list[str]
    children: list[ConnectionChild]


def ike_sas(message: Message) -> list[IkeSa]:
    """The IKE_SAs of a message: whatever section there is at its top."""
    return [_ike_sa(name, section) for name, section in _sections(message)]


def connections(message: Message) -> list[Connection]:
    """The connections of a message of `list-conn`."""
    return [_connection(name, section) for name, section in _sections(message)]


def _ike_sa(name: str, sa: Message) -> IkeSa:
    tasks = []
    for queue in TASKS:
        tasks += _texts(sa, queue)
    children = _sections(_section(sa, "child-sas"))
    return IkeSa(
        name=name,
        unique_id=_number(sa, "uniqueid"),
        version=_number(sa, "version"),
        state=_text(sa, "state") or "",
        local_host=_text(sa, "local-host"),
        local_port=_number(sa, "local-port"),
        remote_host=_text(sa, "remote-host"),
        remote_port=_number(sa, "remote-port"),
        local_id=_text(sa, "local-id"),
        remote_id=_text(sa, "remote-id"),
        remote_xauth_or_eap_id=_text(sa, "remote-xauth-id") or _text(sa, "remote-eap-id"),
        local_vips=_texts(sa, "local-vips"),
        remote_vips=_texts(sa, "remote-vips"),
        established=_number(sa, "established"),
        rekey_in=_number(sa, "rekey-time"),
        reauth_in=_number(sa, "reauth-time"),
        tasks=tasks,
        children=[_child_sa(section, child) for section, child in children],
    )


def _child_sa(section: str, sa: Message) -> ChildSa:
    """`section` is the name only where the CHILD_SA does not tell it."""
    return ChildSa(
        name=_text(sa, "name") or section,
        unique_id=_number(sa, "uniqueid"),
        reqid=_number(sa, "reqid"),
        state=_text(sa, "state") or "",
        mode=_text(sa, "mode") or "",
        protocol=_text(sa, "protocol"),
        encap=_text(sa, "encap") == "yes",
        spi_in=_hex(sa, "spi-in"),
        spi_out=_hex(sa, "spi-out"),
        mark_in=_mark(sa, "in"),
        mark_out=_mark(sa, "out"),
        if_id_in=_hex(sa, "if-id-in"),
        if_id_out=_hex(sa, "if-id-out"),
        bytes_in=_number(sa, "bytes-in"),
        bytes_out=_number(sa, "bytes-out"),
        packets_in=_number(sa, "packets-in"),
        packets_out=_number(sa, "packets-out"),
        last_in=_number(sa, "use-in"),
        last_out=_number(sa, "use-out"),
        installed=_number(sa, "install-time"),
        rekey_in=_number(sa, "rekey-time"),
        life_time=_number(sa, "life-time"),
        local_ts=_texts(sa, "local-ts"),
        remote_ts=_texts(sa, "remote-ts"),
        cpu=_number(sa, "cpu"),
    )


def _mark(sa: Message, direction: str) -> Mark | None:
    """The mask is left out if it has all bits."""
    value = _hex(sa, f"mark-{direction}")
    if value is None:
        return None
    mask = _hex(sa, f"mark-mask-{direction}")
    if mask is None:
        return (value, UINT32_MAX)
    return (value, mask)


def _connection(name: str, connection: Message) -> Connection:
    children = _sections(_section(connection, "children"))
    return Connection(
        name=name,
        version=_text(connection, "version"),
        local_addrs=_texts(connection, "local_addrs"),
        remote_addrs=_texts(connection, "remote_addrs"),
        local_ids=_ids(connection, "local-"),
        remote_ids=_ids(connection, "remote-"),
        children=[_connection_child(child, section) for child, section in children],
    )


def _ids(connection: Message, prefix: str) -> list[str]:
    """The identities of one side, of each round of authentication: `local-1`, `local-2` …"""
    rounds = [section for key, section in _sections(connection) if key.startswith(prefix)]
    identities = [_text(section, "id") for section in rounds]
    return [identity for identity in identities if identity is not None]


def _connection_child(name: str, child: Message) -> ConnectionChild:
    return ConnectionChild(
        name=name,
        mode=_text(child, "mode") or "",
        local_ts=_texts(child, "local-ts"),
        remote_ts=_texts(child, "remote-ts"),
        dpd_action=_text(child, "dpd_action"),
        close_action=_text(child, "close_action"),
    )


# Values of a section. What is of another kind than it should be is as if it were not there.


def _sections(message: Message) -> Iterator[tuple[str, Message]]:
    for name, value in message.items():
        if isinstance(value, dict):
            yield name, value


def _section(message: Message, key: str) -> Message:
    value = message.get(key)
    if isinstance(value, dict):
        return value
    return {}


def _texts(message: Message, key: str) -> list[str]:
    value = message.get(key)
    if isinstance(value, list):
        return value
    return []


def _text(message: Message, key: str) -> str | None:
    value = message.get(key)
    if isinstance(value, str):
        return value
    return None


def _number(message: Message, key: str) -> int | None:
    text = _text(message, key) or ""
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > LONGEST_NUMBER:
        return None
    return int(text)


def _hex(message: Message, key: str) -> int | None:
    """A number of charon that is written without 0x."""
    text = _text(message, key) or ""
    if not text or len(text) > LONGEST_NUMBER or set(text.lower()) - HEX_DIGITS:
        return None
    return int(text, 16)
