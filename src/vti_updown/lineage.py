"""Which reference a `down` ends. Pure: it sees what is recorded and the event, and knows no settings and no kernel.

charon gives no handle that is the same at `up` and at `down`. The unique ID changes with every rekey of the IKE_SA, and
no event tells of it; the endpoints change with MOBIKE, and with them a host-to-host tunnel's family and verb; a reqid is
used again by another CHILD_SA. What stays is the `identity` below, and that a charon's unique IDs only grow.
"""

from collections.abc import Collection
from typing import NamedTuple

from .event import Event


class Life(NamedTuple):
    """What a reference keeps of its `up` for its `down` to find it."""

    number: int
    """Of the reference; a later one is greater."""
    unique_id: int
    """The IKE_SA's, as of the last event that told of it."""
    virtual_ips: str
    me: str
    peer: str
    holds: bool = True
    """False where the `up` failed, so that nothing was set up for it."""


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
    """Whether two identities are one CHILD_SA's, made anew with other marks (`mark=%unique`, make before break)."""
    return (one[:3], one[5:]) == (other[:3], other[5:])


def life(number: int, event: Event) -> Life:
    return Life(number, event.unique_id, " ".join(map(str, event.virtual_ips)), str(event.me), str(event.peer))


def ends(candidates: Collection[Life], event: Event, known: bool) -> Ending:
    """The reference that this `down` ends, of `candidates`: those of the same charon and the same identity.

    `known` says whether an event before this one told of its unique ID. If so, only that IKE_SA's own references can be
    meant. If not, the IKE_SA was rekeyed since, so its ID was a lower one; the likeliest is the one that agrees in what
    MOBIKE and a new virtual IP may have changed, then the one with the greatest ID. Of equals, one that holds nothing
    goes first (in doubt, keep), then the oldest.
    """
    if known:
        possible = [one for one in candidates if one.unique_id == event.unique_id]
    else:
        possible = [one for one in candidates if one.unique_id < event.unique_id]
    if not possible:
        return Ending(None)
    told = life(0, event)

    def likeness(one: Life) -> tuple[bool, bool, int, bool, int]:
        same_path = (one.me, one.peer) == (told.me, told.peer)
        return one.virtual_ips == told.virtual_ips, same_path, one.unique_id, not one.holds, -one.number

    found = max(possible, key=likeness)
    return Ending(found.number, None if known else found.unique_id)
