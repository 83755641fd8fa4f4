"""What is asked of the kernel before it is changed, seen on a kernel made of paper."""

import os
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from vti_updown.kernel import links as kernel_links
from vti_updown.kernel.apply import Apply
from vti_updown.kernel.kernel import Kernel
from vti_updown.kernel.namespace import Namespace
from vti_updown.netlink import NLM_F_EXCL, RTM_GETROUTE, RTM_NEWLINK, RTM_NEWROUTE
from vti_updown.objects import address, mss, sysctl
from vti_updown.objects.link import Link
from vti_updown.objects.object import PROTOCOL, Applied, LinkThere
from vti_updown.objects.registry import Step
from vti_updown.objects.route import Route
from vti_updown.text import Refusal

HERE, PEER = ip_address("192.0.2.1"), ip_address("203.0.113.7")
OLD = Link("vti", HERE, PEER, "vti1", 1, 1, "")
NEW = Link("vti", HERE, ip_address("203.0.113.8"), "vti2", 2, 2, "")
ROUTE = Route(ip_network("10.2.0.0/16"), 254, 0, OLD.key, None)


class PaperNamespace(Namespace):
    """Keeps what is asked of it, and answers by a function."""

    def __init__(self, name: str, answer: Callable[[int, Any], list[Any]]) -> None:
        super().__init__(name)
        self._answer = answer
        self.requests: list[tuple[int, Any, int]] = []

    def request(self, kind: int, wanted: Any, flags: int = 0) -> list[Any]:
        self.requests.append((kind, wanted, flags))
        return self._answer(kind, wanted)

    def sent(self, kind: int) -> list[tuple[Any, int]]:
        """The messages of one kind, with their flags."""
        return [(message, flags) for sent, message, flags in self.requests if sent == kind]


def attribute(message: Any, name: str) -> Any:
    return dict(message["attrs"]).get(name)


def test_a_route_is_looked_for_on_the_link_that_it_had() -> None:
    """It moves to another link in one step, and only ours is replaced."""

    def answer(kind: int, wanted: Any) -> list[Any]:
        if kind == RTM_GETROUTE and attribute(wanted, "RTA_OIF") == 7:
            return [paper_route()]
        return []

    namespace = PaperNamespace("", answer)
    known = {OLD.key: Applied(OLD, True, 7), NEW.key: Applied(NEW, True, 8)}
    apply = Apply(namespace, None)  # type: ignore[arg-type]
    moved = ROUTE._replace(link_key=NEW.key)
    outcome = apply.take(Step(ROUTE, moved), known)
    assert outcome.applied == Applied(moved)
    ((message, flags),) = namespace.sent(RTM_NEWROUTE)
    assert attribute(message, "RTA_OIF") == 8
    assert not flags & NLM_F_EXCL


class PaperMessage(dict[str, Any]):
    def get_attr(self, name: str) -> Any:
        return self.get(name)


def paper_route() -> PaperMessage:
    return PaperMessage(
        family=2,
        proto=PROTOCOL,
        dst_len=16,
        table=254,
        type=1,
        RTA_DST=ROUTE.destination.network_address.packed,
        RTA_TABLE=254,
        RTA_OIF=7,
    )


@pytest.mark.parametrize("netns", ["", "office"])
def test_no_vti_is_made_beside_a_bound_one(monkeypatch: pytest.MonkeyPatch, netns: str) -> None:
    """The bound one gets the packets of both, wherever the other would be moved to."""
    monkeypatch.setattr(kernel_links.vti_ioctl, "is_bound", lambda link, underlying: True)
    monkeypatch.setattr("vti_updown.kernel.namespace.exists", lambda name: True)
    kernel = Kernel()
    namespaces = {name: PaperNamespace(name, lambda kind, wanted: []) for name in ("", netns)}
    for namespace in namespaces.values():
        monkeypatch.setattr(namespace, "link", lambda name_or_index: None)
    monkeypatch.setattr(kernel, "_namespaces", namespaces)
    monkeypatch.setattr(kernel, "_home", namespaces[""])
    monkeypatch.setattr(kernel, "lookup", kernel_links.Lookup(namespaces[""]))
    monkeypatch.setattr(kernel.lookup, "way_out", lambda link: 0)
    with pytest.raises(Refusal):
        kernel.take(Step(None, OLD._replace(netns=netns)), {})
    names = [attribute(message, "IFLA_IFNAME") for message, _ in namespaces[""].sent(RTM_NEWLINK)]
    assert OLD.name not in names and not any(name.startswith("vti-updown-") for name in names)


@pytest.mark.parametrize("kind", [mss.MssClamp, sysctl.Sysctl])
def test_nothing_is_guessed_where_nothing_is_on_record(
    monkeypatch: pytest.MonkeyPatch, kind: type[mss.MssClamp] | type[sysctl.Sysctl]
) -> None:
    """repair asks nft, and /proc, only for what was applied; lost records make it guess."""
    asked: list[str] = []
    monkeypatch.setattr(mss, "_sizes", asked.append)
    monkeypatch.setattr(sysctl.Sysctl, "_read", lambda self, namespace, name: asked.append(name))
    namespace = PaperNamespace("", lambda kind, wanted: [])
    links = [LinkThere(OLD.key, 7, OLD.name)]
    assert list(kind.there(namespace, links, ())) == [] and asked == []
    assert list(kind.there(namespace, links, None)) == [] and set(asked) == {OLD.name}


@pytest.mark.parametrize(
    ("release", "tells"),
    [
        ("5.15.0-91-generic", False),
        ("5.17+", False),
        ("5.18.0", True),
        ("6.1.0-56-amd64", True),
        ("6.2-rc1", True),
        ("6.2+", True),
    ],
)
def test_any_kernels_release_is_read(
    monkeypatch: pytest.MonkeyPatch, release: str, tells: bool
) -> None:
    """A kernel that somebody built has a `+` behind its number."""
    system = os.uname()
    told = os.uname_result((system[0], system[1], release, system[3], system[4]))
    monkeypatch.setattr(os, "uname", lambda: told)
    assert address._tells_protocols() is tells
