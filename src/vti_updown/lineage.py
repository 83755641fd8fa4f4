"""Which reference a `down` ends. Pure: it sees what is recorded and the event, and knows no settings and no kernel.

charon gives no handle that is the same at `up` and at `down`. The unique ID changes with every rekey of the IKE_SA, and
no event tells of it; the endpoints change with MOBIKE, and with them a host-to-host tunnel's family and verb; a reqid is
used again by another CHILD_SA. What stays is the `identity` below, and that a charon's unique IDs only grow.
"""

from collections.abc import Collection
from ipaddress import ip_network
from typing import NamedTuple

from .event import Event

ADOPTED = ("adopted",)
"""The identity of a reference that no event made: what was found in the kernel when its records had been lost."""


class Life(NamedTuple):
    """What a reference keeps of its `up` for its `down` to find it."""

    number: int
    """Of the reference; a later one is greater."""
    unique_id: int
    """The IKE_SA's, as far as the events tell: that of its `up`, or a later one that a `down` was taken to tell of."""
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
    """The unique ID that a `down` was taken to tell of as this one's next; 0 where there was none."""


class Ending(NamedTuple):
    reference: int | None
    """The reference that the `down` ends; None where there is none."""
    rekeyed: int | None = None
    """The unique ID that the event's has replaced: the IKE_SA was rekeyed, and all references of the old ID are its."""


def identity(event: Event) -> tuple[object, ...]:
    """What an `up` and its `down` have in common, whatever happened between them."""
    return (
        event.connection,
        event.my_id,
        event.peer_id,
        *(str(mark) if mark else None for mark in (event.mark_in, event.mark_out)),
        event.if_id_in,
        event.if_id_out,
        event.my_selector.seen_from(event.me),
        event.peer_selector.seen_from(event.peer),
    )


def same_but_for_mark(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Whether two identities are one connection's with one peer, made anew with another mark (`mark=%unique`).

    Their selectors do not count: a CHILD_SA with several pairs calls once for each, and the first call changes the mark.
    Whose an adopted link was is not known, so it may be this one's.
    """
    return ADOPTED in (one, other) or one[:3] == other[:3]


def asleep(event: Event) -> tuple[object, ...]:
    """What stays of an identity from one CHILD_SA to the next: not the marks and if_ids (`%unique`), nor virtual IPs."""
    told = identity(event)
    virtual = any(event.my_selector.network == ip_network(ip) for ip in event.virtual_ips)
    mine = f"virtual[{event.my_selector.protocol}/{event.my_selector.port}]" if virtual else told[7]
    return (*told[:3], event.family, mine, told[8])


def life(number: int, event: Event) -> Life:
    unique_id, ips = event.unique_id, " ".join(map(str, event.virtual_ips))
    return Life(number, unique_id, ips, str(event.me), str(event.peer), born=unique_id)


def ends(candidates: Collection[Life], event: Event, heard: Heard | None) -> Ending:
    """The reference that this `down` ends, of `candidates`: those of the same charon and the same identity.

    `heard` is what was told under the event's unique ID of this identity; None where nothing was. Of those that can be
    meant, the likeliest is the one that agrees in virtual IPs and endpoints (MOBIKE may have moved another there, but
    need not have), then the one with the greatest ID (old IKE_SAs are the ones given up). Of equals, one that holds
    nothing goes first (in doubt, keep), then the oldest.
    """
    possible = _possible(candidates, event.unique_id, heard)
    if not possible:
        return Ending(None)
    told = life(0, event)

    def likeness(one: Life) -> tuple[bool, bool, int, bool, int]:
        same_path = (one.me, one.peer) == (told.me, told.peer)
        return one.virtual_ips == told.virtual_ips, same_path, one.unique_id, not one.holds, -one.number

    found = max(possible, key=likeness)
    return Ending(found.number, None if found.unique_id == event.unique_id else found.unique_id)


def _possible(candidates: Collection[Life], unique_id: int, heard: Heard | None) -> list[Life]:
    own = [one for one in candidates if one.unique_id == unique_id]
    if own:
        return own
    if heard is None:
        # The IKE_SA was rekeyed since that `up`, so the `up` had a lower ID; perhaps one that we took for another's.
        lower = [one for one in candidates if one.unique_id < unique_id]
        return lower or [one for one in candidates if one.born < unique_id]
    if heard.open > 0:
        # An IKE_SA that was rekeyed never speaks under its old ID again. This one does, so its reference was ended in
        # another's stead, and that one's is left: it was among those that could be meant then.
        return [one for one in candidates if one.unique_id <= heard.became]
    return []  # a second `down`
