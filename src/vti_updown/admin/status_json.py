"""`status --json`: everything that was seen, for programs. docs/status.schema.json describes it."""

import json
from collections.abc import Sequence
from typing import Any

from ..kernel.counters import Counters
from ..objects.link import Link
from ..records.references import STANDING, Reference
from ..vici.ask import Answer
from .configured import Configured
from .survey import Part, Sa, Survey, Tunnel, commands_of
from .tunnel_status import HostStatus, Problem, TunnelStatus

VERSION = 1
"""Of the schema. It grows when something goes or means something else, not when something comes."""

Json = dict[str, Any]


def lines(
    host: HostStatus,
    seen: Survey,
    answers: Sequence[Answer],
) -> list[str]:
    """The document, with a line for each tunnel: a host may have thousands."""
    head = {
        "version": VERSION,
        "exit_status": host.exit_status,
        "problems": [_problem(each) for each in host.problems],
        "notes": list(host.notes),
        "waiting_events": seen.waiting,
        "charons": [_charon(answer) for answer in answers],
    }
    printed = [f"{_written(key)}: {_written(value)}," for key, value in head.items()]
    tunnels = [_written(_tunnel(each, seen)) for each in host.tunnels]
    last = [f"{tunnel}," for tunnel in tunnels[:-1]] + tunnels[-1:]
    return [
        "{",
        *printed,
        '"tunnels": [',
        *last,
        "]",
        "}",
    ]


def _written(value: object) -> str:
    return json.dumps(_readable(value))


def _readable(value: Any) -> Any:
    """The same, with texts that each program can read: those of charon may be no UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {key: _readable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_readable(each) for each in value]
    return value


def _problem(problem: Problem) -> Json:
    return problem._asdict()


def _charon(answer: Answer) -> Json:
    return {
        "pid": answer.charon.pid or None,
        "socket": answer.socket,
        "version": answer.version,
        "answered": answer.is_complete,
        "trouble": answer.trouble,
    }


def _tunnel(status: TunnelStatus, seen: Survey) -> Json:
    tunnel = status.tunnel
    return {
        "name": tunnel.name,
        "level": status.level,
        "sa": status.sa,
        "meant": status.meant or "plain",
        "expected": status.expected,
        "configured": [_configured(each) for each in status.configured if each.connection],
        "problems": [_problem(each) for each in status.problems],
        "sas": [_sa(each) for each in tunnel.sas],
        "links": [_link(each, seen) for each in tunnel.links],
        "objects": _objects(tunnel),
        "held_by": [_reference(each) for each in tunnel.references],
        "shared_with": list(tunnel.others),
    }


def _configured(configured: Configured) -> Json:
    return {
        "connection": configured.connection,
        "child": configured.name,
        "peers": list(configured.peers),
        "meant": configured.meant or "plain",
        "is_loaded": configured.is_loaded,
        "has_our_hook": configured.has_our_hook,
    }


def _sa(sa: Sa) -> Json:
    ike, child, _ = sa
    return {
        "ike_name": ike.name,
        "ike_unique_id": ike.unique_id,
        "ike_state": ike.state,
        "local": ike.local_host,
        "remote": ike.remote_host,
        "local_id": ike.local_id,
        "remote_id": ike.remote_id,
        "established_seconds": ike.established,
        "ike_rekey_seconds": ike.rekey_in,
        "unique_id": child.unique_id,
        "reqid": child.reqid,
        "state": child.state,
        "encap": child.encap,
        "spi_in": child.spi_in,
        "spi_out": child.spi_out,
        "rekey_seconds": child.rekey_in,
        "packets_in": child.packets_in,
        "packets_out": child.packets_out,
        "bytes_in": child.bytes_in,
        "bytes_out": child.bytes_out,
        "last_in_seconds": child.last_in,
        "last_out_seconds": child.last_out,
        "local_ts": child.local_ts,
        "remote_ts": child.remote_ts,
    }


def _link(part: Part, seen: Survey) -> Json:
    link = part.there or part.wished
    assert isinstance(link, Link)
    is_borrowed = part.applied is not None and part.applied.borrowed
    return {
        "name": link.name,
        "kind": link.kind,
        "local": None if link.local is None else str(link.local),
        "remote": None if link.remote is None else str(link.remote),
        "okey": link.okey,
        "ikey": link.ikey,
        "if_id": link.if_id,
        "device": link.device,
        "netns": link.netns,
        "vrf": link.master,
        "mtu": link.mtu,
        "is_there": part.there is not None,
        "is_set_down": part.is_set_down,
        "is_borrowed": is_borrowed,
        "counters": _counters(seen.counters.get(part.key)),
    }


def _counters(counters: Counters | None) -> Json | None:
    if counters is None:
        return None
    return counters._asdict()


def _objects(tunnel: Tunnel) -> list[Json]:
    objects = [part for part in tunnel.parts if not isinstance(part.wished, Link)]
    return [_object(part, tunnel) for part in objects]


def _object(part: Part, tunnel: Tunnel) -> Json:
    return {
        "kind": type(part.wished).__name__.lower(),
        "label": part.wished.label,
        "commands": commands_of(part, tunnel),
        "is_applied": part.applied is not None,
        "is_there": part.there is not None,
        "fault": part.fault,
    }


def _reference(reference: Reference) -> Json:
    return {
        "charon": reference.charon,
        "is_standing": reference.charon == STANDING,
        "unique_id": reference.unique_id,
        "local": reference.me,
        "remote": reference.peer,
        "virtual_ips": reference.virtual_ips.split(),
        "since": reference.since,
    }
