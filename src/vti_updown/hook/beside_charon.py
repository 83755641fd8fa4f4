"""What charon makes of the routes of an `up`, and what to tell the user of that.

Its own look-ups and routes are none of the hook's (kernel_netlink_net.c get_route()).
"""

from collections.abc import Collection, Iterator

from ..addresses import IPAddress, address_in
from ..kernel.lookup import Lookup
from ..objects.link import Link
from ..objects.object import Object
from ..objects.route import Route
from ..objects.rule import FR_ACT_TO_TBL, Rule
from ..reconcile.reconcile import Result
from .begin import Change
from .context import EventContext

CHARON_TABLE = 220
"""Where charon puts its own routes, before the main table (strongswan.conf routing_table)."""
ANY_MARK = 0x77
"""The mark that a hint names, as good as any other."""

Wishes = Collection[Object]


def remarks(
    change: Change,
    result: Result,
    context: EventContext,
) -> list[str]:
    """What to tell the user of an `up`, whose wishes are what is there by now."""
    wished = context.records.references.wished(change.own).values()
    lookup = context.kernel.lookup
    overruled = _overruled(wished, lookup)
    if overruled:
        return overruled
    return _source_of_ike(wished, result, lookup)


def _overruled(wished: Wishes, lookup: Lookup) -> list[str]:
    """What to say if charon's own routes come before ours, and packets go out in clear.

    One such route is enough to say so.
    """
    for route in _routes(wished):
        destination = address_in(route.destination)
        if lookup.table_of(destination) == CHARON_TABLE:
            hint = "set charon.install_routes = no"
            return [f"packets to {route.destination} take charon's own route; {hint}"]
    return []


def _routes(wished: Wishes) -> Iterator[Route]:
    """Those through a link in charon's own namespace."""
    for wish in wished:
        if isinstance(wish, Route) and wish.link_key and not wish.netns:
            yield wish


def _source_of_ike(
    wished: Wishes,
    result: Result,
    lookup: Lookup,
) -> list[str]:
    """What to say if a new IKE_SA would have an address of the tunnel's as its source.

    It is said once, by the `up` that makes the rules of full tunnels.
    """
    ports = [wish.port for wish in wished if isinstance(wish, Rule) and wish.port]
    rule = _new_rule(result)
    if rule is None or not ports:
        return []  # With `ike_mark` there is a rule for that, and none for ports.
    mark = lookup.inverted_mark_of_rule_to(CHARON_TABLE, rule.family)
    if not mark and not _looks_as_the_kernel_does(wished):
        return []
    source = _wrong_source(wished, rule, mark, ports[0], lookup)
    if source is None:
        return []
    what = f"without local_addrs, a new IKE_SA to another peer comes from {source}"
    return [f"{what}; {_hint(mark)}"]


def _new_rule(result: Result) -> Rule | None:
    """The rule that sends this host's own packets into full tunnels, if it has just come."""
    for step in result.steps:
        rule = step.new
        if isinstance(rule, Rule) and rule.own and rule.action == FR_ACT_TO_TBL:
            return rule
    return None


def _looks_as_the_kernel_does(wished: Wishes) -> bool:
    """Whether charon's look-ups are the kernel's, which heed rules.

    They are so with install_routes = no, and nothing tells that to the hook. But a VTI works with
    nothing else.
    """
    links = [wish for wish in wished if isinstance(wish, Link)]
    return any(link.of_kind.keyed_by == "mark" for link in links)


def _wrong_source(
    wished: Wishes,
    rule: Rule,
    mark: int,
    port: int,
    lookup: Lookup,
) -> IPAddress | None:
    """The source that charon is told for a peer that no route knows. None if that is right.

    It asks without a protocol, so it is told what other packets of this host have.
    """
    for route in _routes(wished):
        if route.table != rule.target:
            continue
        peer = address_in(route.destination)
        told = lookup.own_source(peer, mark)
        if told != lookup.own_source(peer, mark, port):
            return told
    return None


def _hint(mark: int) -> str:
    if mark:
        return f"set ike_mark = {mark:#x} in the settings, as charon has it"
    chosen = f"{ANY_MARK:#x}"
    in_charon = f"kernel-netlink.fwmark = !{chosen} and socket-default.fwmark = {chosen} in charon"
    return f"set {in_charon}, ike_mark = {chosen} here"
