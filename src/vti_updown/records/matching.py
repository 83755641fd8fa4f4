"""Which reference a `down` ends. Pure: it sees the event and what is recorded, and nothing else.

charon gives no handle that is the same at `up` and at `down`. The unique ID changes with every
rekey of the IKE_SA, and no event tells of it; the endpoints change with MOBIKE, and with them a
host-to-host tunnel's family and verb; a reqid is used again by another CHILD_SA. What stays is the
`Identity` below, and that a charon's unique IDs only grow.
"""

import json
from collections.abc import Collection
from ipaddress import ip_network

from ..event import Event, Mark, Selector
from ..named_tuple import NamedTuple


class Identity(NamedTuple):
    """What an `up` and its `down` have in common, whatever happened between them."""

    connection: str
    my_id: str
    peer_id: str
    mark_in: str | None
    mark_out: str | None
    if_id_in: int | None
    if_id_out: int | None
    my_selector: str
    peer_selector: str


class StandingIdentity(NamedTuple):
    """What stays of an `Identity` from one CHILD_SA to the next.

    Marks and if_ids do not (`%unique`), and virtual IPs need not.
    """

    connection: str
    my_id: str
    peer_id: str
    family: int
    my_selector: str
    peer_selector: str


class Tunnel(NamedTuple):
    """What a person calls one tunnel, however often its CHILD_SA is made anew.

    Road warriors have one connection, and are told apart by who they are.
    """

    connection: str
    peer_id: str
    xauth_id: str
    """The peer's EAP or XAuth identity. Empty if it is none but `peer_id`."""


class Caller(NamedTuple):
    """Who called, and for what: worked out once for each event, and handed to the records."""

    charon: str
    """See `processes`; empty by hand."""
    connection: str
    unique_id: int
    is_up: bool
    identity: str
    """`Identity` as JSON, as the records have it."""
    standing_identity: str
    """`StandingIdentity` as JSON."""
    virtual_ips: str
    me: str
    peer: str
    tunnel: str
    """`Tunnel` as JSON."""


ADOPTED = json.dumps(["adopted"])
"""The identity of a reference that no event made.

It has what was found in the kernel when the records had been lost.
"""


def caller(charon: str, event: Event) -> Caller:
    """What the records must know of an event. `charon` is who called."""
    known = identity(event)
    tunnel = Tunnel(event.connection, event.peer_id, event.xauth_id)
    return Caller(
        charon=charon,
        connection=event.connection,
        unique_id=event.unique_id,
        is_up=event.up,
        identity=json.dumps(known),
        standing_identity=json.dumps(_standing_identity(event, known)),
        virtual_ips=" ".join(map(str, event.virtual_ips)),
        me=str(event.me),
        peer=str(event.peer),
        tunnel=json.dumps(tunnel),
    )


def identity(event: Event) -> Identity:
    """What the `down` of this `up`, or the `up` of this `down`, has in common with it."""
    return Identity(
        connection=event.connection,
        my_id=event.my_id,
        peer_id=event.peer_id,
        mark_in=_text(event.mark_in),
        mark_out=_text(event.mark_out),
        if_id_in=event.if_id_in,
        if_id_out=event.if_id_out,
        my_selector=event.my_selector.seen_from(event.me),
        peer_selector=event.peer_selector.seen_from(event.peer),
    )


def _text(mark: Mark | None) -> str | None:
    return str(mark) if mark else None


def _standing_identity(event: Event, known: Identity) -> StandingIdentity:
    my_selector = known.my_selector
    if any(event.my_selector.network == ip_network(ip) for ip in event.virtual_ips):
        my_selector = _virtual(event.my_selector)
    return StandingIdentity(
        connection=known.connection,
        my_id=known.my_id,
        peer_id=known.peer_id,
        family=event.family,
        my_selector=my_selector,
        peer_selector=known.peer_selector,
    )


def _virtual(selector: Selector) -> str:
    """The selector of a virtual IP, whichever that is."""
    return f"virtual[{selector.protocol}/{selector.port}]"


def same_but_for_mark(one: str, other: str) -> bool:
    """Whether one connection with one peer may be made anew with another mark (`mark=%unique`).

    Both are JSON, of an `Identity` or a `StandingIdentity`. Their selectors do not count: a
    CHILD_SA with several pairs calls once for each, and the first call changes the mark.
    """
    if ADOPTED in (one, other):
        return True  # Nobody knows whose it was, so it may be this one's.
    return _who(one) == _who(other)


def _who(known: str) -> tuple[str, str, str]:
    """The connection and both IDs, which come first in an identity of either kind."""
    connection, my_id, peer_id, *_ = json.loads(known)
    return connection, my_id, peer_id


class Life(NamedTuple):
    """What a reference keeps of its `up` for its `down` to find it."""

    number: int
    """Of the reference; a later one is greater."""
    unique_id: int
    """The IKE_SA's, as far as the events tell.

    It is that of its `up`, or a later one that a `down` was taken to tell of.
    """
    virtual_ips: str
    me: str
    peer: str
    holds: bool = True
    """False where the `up` failed, so that nothing was set up for it."""
    born: int = 0
    """The unique ID of its `up`. Never a guess."""


class Heard(NamedTuple):
    """What events with a `down`'s unique ID have told of its identity before."""

    open: int
    """How many more `up`s than `down`s."""
    became: int = 0
    """The unique ID that a `down` was taken to tell of as this one's next; 0: none was."""


class Ending(NamedTuple):
    """What a `down` ends."""

    reference: int | None
    """None where there is none."""
    rekeyed: int | None = None
    """The unique ID that the event's has replaced, where the IKE_SA was rekeyed.

    All references of the old ID are the new one's.
    """


def ends(
    candidates: Collection[Life],
    caller: Caller,
    heard: Heard | None,
) -> Ending:
    """The reference that this `down` ends.

    `candidates` are those of the same charon and the same identity. `heard` is what was told under
    the event's unique ID of this identity; None where nothing was.

    Of those that can be meant, the likeliest is the one that agrees in virtual IPs and endpoints.
    MOBIKE may have moved another there, but need not have. Next comes the one with the greatest ID,
    since old IKE_SAs are the ones given up. Of equals, one that holds nothing goes first (in doubt,
    keep), then the oldest.
    """
    possible = _possible(candidates, caller.unique_id, heard)
    if not possible:
        return Ending(None)

    def likeness(life: Life) -> tuple[bool, bool, int, bool, int]:
        same_ips = life.virtual_ips == caller.virtual_ips
        same_path = (life.me, life.peer) == (caller.me, caller.peer)
        return same_ips, same_path, life.unique_id, not life.holds, -life.number

    ended = max(possible, key=likeness)
    if ended.unique_id == caller.unique_id:
        return Ending(ended.number)
    return Ending(ended.number, rekeyed=ended.unique_id)


def _possible(
    candidates: Collection[Life],
    unique_id: int,
    heard: Heard | None,
) -> list[Life]:
    """Those that can be meant by a `down` with this unique ID."""
    own = [life for life in candidates if life.unique_id == unique_id]
    if own:
        return own
    if heard is None:
        # The IKE_SA was rekeyed since that `up`, so the `up` had a lower ID. Perhaps we took that
        # ID for another's.
        lower = [life for life in candidates if life.unique_id < unique_id]
        return lower or [life for life in candidates if life.born < unique_id]
    if heard.open > 0:
        # An IKE_SA that was rekeyed never speaks under its old ID again. This one does, so its
        # reference was ended in another's stead. That other's is left: it was among those that
        # could be meant then.
        return [life for life in candidates if life.unique_id <= heard.became]
    return []  # It is a second `down`.
