"""The events that charon's live SAs stand for: what the hook was told of them.

charon runs the hook once for each pair of traffic selectors (updown_listener.c, updown_event()).
"""

import socket
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from itertools import product

from ..addresses import IPAddress, IPNetwork
from ..event import Selector
from ..named_tuple import NamedTuple
from ..text import Refusal, shown
from ..vici import charons as vici_charons
from ..vici.ask import Answer, ask
from ..vici.sas import ChildSa, IkeSa, Mark

SECONDS = 5.0
"""As long as all charons together may take to answer."""


class Live(NamedTuple):
    """What charons tell of the CHILD_SAs with one name."""

    environments: list[dict[str, str]]
    """The `PLUTO_*` that the hook would get, one for each pair of selectors of each CHILD_SA."""
    charon: str
    """Who tells it, in words. Empty if nobody does."""
    answers: list[Answer]
    """All that charons told."""
    notes: list[str]
    """Which charon did not tell all, and why."""


def live(connection: str, is_up: bool) -> Live:
    """What this host's charons tell of a connection's live CHILD_SAs."""
    try:
        charons = vici_charons.find().ours
    except OSError:
        charons = []
    notes: list[str] = []
    answers = ask(charons, SECONDS)
    found = Live([], "", answers, notes)
    for answer in answers:
        who = str(answer.charon)
        if answer.trouble:
            notes.append(f"{who}: {answer.trouble}")
        environments = list(environments_of(answer, connection, is_up))
        if environments and not found.environments:
            found = Live(environments, who, answers, notes)
    return found


def environments_of(
    answer: Answer,
    connection: str,
    is_up: bool,
) -> Iterator[dict[str, str]]:
    """The environments of the hook for the live CHILD_SAs with this name."""
    for sa in answer.sas or ():
        for child in sa.children:
            # No hook is called for an SA of one CPU.
            if child.name == connection and child.is_live and child.cpu is None:
                yield from _environments(sa, child, is_up)


def _environments(
    sa: IkeSa,
    child: ChildSa,
    is_up: bool,
) -> Iterator[dict[str, str]]:
    common = _common(sa, child)
    for mine, its in product(child.local_ts, child.remote_ts):
        local = selector(mine)
        remote = selector(its)
        if not _is_pair(local, remote):
            continue
        side = "client"
        if local.is_host(_endpoint(sa.local_host)):
            side = "host"
        verb = f"{'up' if is_up else 'down'}-{side}"
        if local.network.version == 6:
            verb += "-v6"
        yield {
            "PLUTO_VERB": verb,
            **common,
            **_variables("MY", local),
            **_variables("PEER", remote),
        }


def _is_pair(local: Selector, remote: Selector) -> bool:
    """Whether a policy is made of the two (child_sa.c, policy_enumerate())."""
    if local.network.version != remote.network.version:
        return False
    return local.protocol == remote.protocol or 0 in (local.protocol, remote.protocol)


def _endpoint(host: str | None) -> IPAddress | None:
    if host is None:
        return None
    return ip_address(host)


def _common(sa: IkeSa, child: ChildSa) -> dict[str, str]:
    """What all events of a CHILD_SA have in common."""
    told: dict[str, object] = {
        "CONNECTION": child.name,
        "UNIQUEID": sa.unique_id,
        "REQID": child.reqid,
        "ME": sa.local_host,
        "PEER": sa.remote_host,
        "MY_ID": sa.local_id,
        "PEER_ID": sa.remote_id,
        "XAUTH_ID": sa.remote_xauth_or_eap_id,
        "MARK_IN": _mark(child.mark_in),
        "MARK_OUT": _mark(child.mark_out),
        "IF_ID_IN": child.if_id_in,
        "IF_ID_OUT": child.if_id_out,
    }
    told |= _virtual_ips(sa.local_vips)
    return {f"PLUTO_{name}": str(value) for name, value in told.items() if value is not None}


def _mark(mark: Mark | None) -> str | None:
    if mark is None:
        return None
    value, mask = mark
    return f"{value}/{mask:#x}"


def _virtual_ips(told: Iterable[str]) -> dict[str, object]:
    """As charon numbers them: those of each family by themselves."""
    numbered: dict[str, object] = {}
    counts = {4: 0, 6: 0}
    for ip in map(ip_address, told):
        counts[ip.version] += 1
        numbered[f"MY_SOURCEIP{ip.version}_{counts[ip.version]}"] = ip
    return numbered


def _variables(side: str, told: Selector) -> dict[str, str]:
    return {
        f"PLUTO_{side}_CLIENT": str(told.network),
        f"PLUTO_{side}_PROTOCOL": str(told.protocol),
        f"PLUTO_{side}_PORT": told.port,
    }


# Traffic selectors


def selector(text: str) -> Selector:
    """A traffic selector as charon prints it (traffic_selector.c, traffic_selector_printf_hook()).

    It is such as `10.1.0.0/16`, `10.1.0.3..10.1.0.9` or `10.1.0.0/16[tcp/http]`. Raises Refusal for
    one that cannot be read.
    """
    addresses, bracket, rest = text.partition("[")
    try:
        network = _network(addresses)
        if not bracket:
            return Selector(network, 0, "0")
        protocol, _, port = rest.rstrip("]").partition("/")
        return Selector(network, _protocol(protocol), _port(port, protocol))
    except (ValueError, OSError):
        what = f"charon's traffic selector {shown(text)} cannot be read"
        raise Refusal(what, "give the event by --event FILE", 1) from None


def _network(text: str) -> IPNetwork:
    """A range is rounded up to a subnet, as charon does for the hook."""
    first, dots, last = text.partition("..")
    if not dots:
        return ip_network(first)
    start = ip_address(first)
    network = ip_network(start)
    while ip_address(last) not in network:
        network = network.supernet()
    return network


def _protocol(word: str) -> int:
    if word.isdecimal():
        return int(word)
    return socket.getprotobyname(word)


def _port(text: str, protocol: str) -> str:
    """As the hook gets it: `0` for all, `FROM:TO` for some, and of ICMP the type."""
    if not text:
        return "0"
    first, dash, last = text.partition("-")
    if dash and first.isdecimal():
        return f"{first}:{last}"
    if text.isdecimal():
        return text
    if "(" in text:
        return text.partition("(")[0]
    return str(socket.getservbyname(text, protocol))
