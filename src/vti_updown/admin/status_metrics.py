"""`status --metrics`: for Prometheus, in its text format. docs/monitoring.md describes it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..named_tuple import NamedTuple
from ..objects.link import Link
from ..vici.ask import Answer
from .survey import Sa, Survey
from .tunnel_status import AS_WISHED, HostStatus, TunnelStatus

PREFIX = "vti_updown"
Labels = Mapping[str, str]
Samples = Sequence[tuple[Labels, float]]
NO_LABELS: Labels = {}


class Metric(NamedTuple):
    """One metric, with a value for each set of labels."""

    name: str
    kind: str
    """`gauge` or `counter`."""
    help: str
    samples: Samples


def lines(
    host: HostStatus,
    seen: Survey,
    answers: Sequence[Answer],
) -> list[str]:
    """The metrics that there are values for."""
    printed: list[str] = []
    for metric in [*_of_host(host, seen, answers), *_of_tunnels(host), *_of_links(host, seen)]:
        if not metric.samples:
            continue
        name = f"{PREFIX}_{metric.name}"
        printed.append(f"# HELP {name} {metric.help}")
        printed.append(f"# TYPE {name} {metric.kind}")
        for labels, value in metric.samples:
            printed.append(f"{name}{_written(labels)} {value:.17g}")
    return printed


def _written(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = [f'{name}="{_escaped(value)}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _of_host(
    host: HostStatus,
    seen: Survey,
    answers: Sequence[Answer],
) -> list[Metric]:
    charons: list[tuple[Labels, float]] = []
    for answer in answers:
        labels = {
            "socket": _utf8(answer.socket),
            "pid": str(answer.charon.pid),
        }
        charons.append((labels, float(answer.is_complete)))
    return [
        Metric(
            "charon_answers",
            "gauge",
            "Whether charon told all of its SAs in time.",
            charons,
        ),
        _alone(
            "host_problems",
            "What is wrong on this host with none of the tunnels alone.",
            len(host.problems),
        ),
        _alone("waiting_events", "Events that wait for the records.", seen.waiting),
        _alone(
            "exit_status",
            "0: as wished, 1: something differs, 2: a tunnel is down, 3: not all was seen.",
            host.exit_status,
        ),
        _alone("looked_timestamp_seconds", "When this was looked at.", time.time()),
    ]


def _alone(
    name: str,
    text: str,
    value: float,
) -> Metric:
    return Metric(
        name,
        "gauge",
        text,
        [(NO_LABELS, float(value))],
    )


def _of_tunnels(host: HostStatus) -> list[Metric]:
    labelled = _labelled(host.tunnels)
    metrics = []
    for name, text, value in OF_TUNNELS:
        samples = []
        for labels, each in labelled:
            found = value(each)
            if found is not None:
                samples.append((labels, float(found)))
        metrics.append(
            Metric(
                name,
                "gauge",
                text,
                samples,
            )
        )
    return metrics


def _established(each: TunnelStatus) -> float | None:
    ages = [sa.ike.established for sa in each.tunnel.sas if sa.ike.established is not None]
    if ages:
        return time.time() - max(ages)
    return None


def _last_received(each: TunnelStatus) -> float | None:
    ages = [age for age in map(_silence, each.tunnel.sas) if age is not None]
    if ages:
        return time.time() - min(ages)
    return None


def _is_expected(each: TunnelStatus) -> bool:
    return bool(each.expected)


def _is_as_wished(each: TunnelStatus) -> bool:
    return each.level == AS_WISHED


def _holders(each: TunnelStatus) -> int:
    return len(each.tunnel.up)


def _silence(sa: Sa) -> int | None:
    """For how many seconds an SA has had no packet. A rekeyed one has had none at first."""
    if sa.child.last_in is None:
        return sa.child.installed
    return sa.child.last_in


def _live_sas(each: TunnelStatus) -> int | None:
    """None if charon could not be asked."""
    if each.sa == "unknown":
        return None
    return len(each.tunnel.sas)


OF_TUNNELS: tuple[tuple[str, str, Callable[[TunnelStatus], float | None]], ...] = (
    ("tunnel_up", "CHILD_SAs of the tunnel that carry packets.", _live_sas),
    ("tunnel_expected", "Whether the tunnel should be up.", _is_expected),
    ("tunnel_as_wished", "Whether nothing is wrong with the tunnel.", _is_as_wished),
    ("tunnel_holders", "How often the tunnel came up, and has not gone down.", _holders),
    (
        "tunnel_established_timestamp_seconds",
        "When the oldest of its IKE_SAs came up.",
        _established,
    ),
    (
        "tunnel_last_receive_timestamp_seconds",
        "When the last packet came in, or when its CHILD_SA came if that has had none.",
        _last_received,
    ),
)
"""The name, the help and the value of each metric of tunnels. None: there is no value."""


def _labelled(tunnels: Iterable[TunnelStatus]) -> list[tuple[Labels, TunnelStatus]]:
    """Each tunnel with what tells it apart: one name may be on several links.

    No labels are there twice, as Prometheus would take none of the file then. The worst one counts,
    which comes first.
    """
    labelled: dict[tuple[str, ...], tuple[Labels, TunnelStatus]] = {}
    for each in tunnels:
        wished = [part.wished for part in each.tunnel.links]
        names = [link.name for link in wished if isinstance(link, Link)]
        labels = {
            "tunnel": each.tunnel.name,
            "link": ",".join(names),
            "netns": ",".join(dict.fromkeys(link.netns for link in wished)),
            "connection": ",".join(_connections(each)),
        }
        labelled.setdefault(
            tuple(labels.values()),
            (labels, each),
        )
    return list(labelled.values())


def _connections(each: TunnelStatus) -> list[str]:
    return [_utf8(one.connection) for one in each.configured if one.connection]


OF_LINKS = (
    ("rx_bytes", "link_receive_bytes_total", "Bytes that came out of the tunnel."),
    ("tx_bytes", "link_transmit_bytes_total", "Bytes that went into the tunnel."),
    ("rx_packets", "link_receive_packets_total", "Packets that came out of the tunnel."),
    ("tx_packets", "link_transmit_packets_total", "Packets that went into the tunnel."),
    ("rx_errors", "link_receive_errors_total", "Packets that came in and were wrong."),
    ("tx_errors", "link_transmit_errors_total", "Packets that could not be sent."),
)
"""The counter, and the name and the help of its metric."""


def _of_links(host: HostStatus, seen: Survey) -> Iterable[Metric]:
    """The kernel's counters. A link that several tunnels share is there once."""
    links: dict[str, Link] = {}
    for each in host.tunnels:
        for part in each.tunnel.links:
            link = part.there or part.wished
            if isinstance(link, Link):
                links[part.key] = link
    for field, name, text in OF_LINKS:
        samples: list[tuple[Labels, float]] = []
        for key, link in links.items():
            if key in seen.counters:
                labels = {
                    "link": link.name,
                    "kind": link.kind,
                    "netns": link.netns,
                }
                samples.append((labels, float(getattr(seen.counters[key], field))))
        yield Metric(
            name,
            "counter",
            text,
            samples,
        )


def _utf8(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
