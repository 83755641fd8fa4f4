"""Two vti-updowns in one network namespace: whose is what, seen on a kernel made of paper."""

from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from vti_updown import state
from vti_updown.hook.ask import Ask
from vti_updown.kernel import kernel as kernel_module
from vti_updown.kernel import namespace as namespaces
from vti_updown.kernel.apply import Apply
from vti_updown.kernel.kernel import Kernel
from vti_updown.netlink import (
    NLM_F_EXCL,
    RTM_DELROUTE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_GETRULE,
    RTM_NEWADDR,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    NetlinkError,
)
from vti_updown.objects.address import Address
from vti_updown.objects.link import Link
from vti_updown.objects.object import HARMLESS, PROTOCOL, Applied, Object
from vti_updown.objects.registry import Step
from vti_updown.objects.route import NO_LINK, Route
from vti_updown.objects.rule import FR_ACT_TO_TBL, Rule
from vti_updown.settings.table import Settings

from .test_apply import HERE, OLD, PEER, PaperMessage, PaperNamespace, attribute

OURS, THEIRS, ADMINS = 7, 8, 9
"""Ifindexes of our link, another vti-updown's, and the administrator's."""
UNICAST, NOWHERE = 1, 7
PUTS = (RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWRULE)
NETWORK = ip_network("10.2.0.0/16")
ROUTE = Route(NETWORK, 254, 0, OLD.key, None)
BLOCK = ROUTE._replace(link_key=NO_LINK)
RULE = Rule(4, 15000, FR_ACT_TO_TBL, 254)
ADDRESS = Address(OLD.key, ip_interface("10.3.0.1/32"))


class Paper(PaperNamespace):
    """A namespace with these three links, and one object in the place of ours."""

    def __init__(self, there: PaperMessage | None = None, has_others: bool = True) -> None:
        super().__init__("", self._told)
        self.there = there
        self.links = [paper_link(OURS, self.group), paper_link(ADMINS, 0)]
        if has_others:
            self.links.append(paper_link(THEIRS, self.group ^ 1))

    def _told(self, kind: int, wanted: Any) -> list[Any]:
        if kind == RTM_GETLINK:
            index = wanted["index"]
            return [link for link in self.links if index in (None, 0, link["index"])]
        if kind in (RTM_GETROUTE, RTM_GETRULE, RTM_GETADDR):
            return [self.there] if self.there else []
        return []

    def request(self, kind: int, wanted: Any, flags: int = 0) -> list[Any]:
        told = super().request(kind, wanted, flags)
        if self.there and kind in PUTS and flags & NLM_F_EXCL:
            raise NetlinkError(17, "File exists")
        return told


def paper_link(index: int, group: int) -> PaperMessage:
    return PaperMessage(index=index, flags=0, IFLA_GROUP=group, IFLA_IFNAME=f"vti{index}")


def paper_route(oif: int = 0, kind: int = UNICAST) -> PaperMessage:
    return PaperMessage(
        family=2,
        proto=PROTOCOL,
        dst_len=16,
        table=254,
        type=kind,
        RTA_DST=NETWORK.network_address.packed,
        RTA_TABLE=254,
        RTA_OIF=oif or None,
    )


def paper_rule() -> PaperMessage:
    return PaperMessage(
        family=2, dst_len=0, action=1, flags=0, table=254, FRA_PRIORITY=15000, FRA_PROTOCOL=PROTOCOL
    )


def paper_address(index: int) -> PaperMessage:
    packed = ADDRESS.ip.packed
    return PaperMessage(index=index, prefixlen=32, IFA_LOCAL=packed, IFA_PROTO=PROTOCOL)


def take(paper: Paper, step: Step, ifindex: int = OURS, **more: Any) -> Any:
    known = {OLD.key: Applied(OLD, True, ifindex, ifindex != OURS)}
    return Apply(paper, None).take(step, known, **more)  # type: ignore[arg-type]


# What is in our place


@pytest.mark.parametrize(("wish", "oif"), [(ROUTE, THEIRS), (BLOCK, THEIRS)])
def test_a_route_by_anothers_link_is_left_and_named(wish: Object, oif: int) -> None:
    """Though it has our protocol number."""
    paper = Paper(paper_route(oif))
    outcome = take(paper, Step(None, wish))
    assert outcome.applied is None and outcome.foreign is not None
    assert outcome.foreign.description == "a route to 10.2.0.0/16 by vti8"
    assert len(paper.sent(RTM_NEWROUTE)) == 1


def test_a_route_by_our_own_link_is_taken_over() -> None:
    """An event that died may have left it."""
    paper = Paper(paper_route(OURS))
    assert take(paper, Step(None, ROUTE)).applied == Applied(ROUTE)


@pytest.mark.parametrize(
    ("has_others", "sure", "is_ours"),
    [(False, True, True), (True, True, False), (True, False, True)],
)
def test_a_block_is_anothers_if_there_is_one_and_no_record(
    has_others: bool, sure: bool, is_ours: bool
) -> None:
    """Nothing else tells whose a route is that leads nowhere."""
    paper = Paper(paper_route(kind=NOWHERE), has_others)
    outcome = take(paper, Step(None, BLOCK), sure=sure)
    assert (outcome.applied is not None) == is_ours
    assert is_ours or outcome.foreign == HARMLESS


def test_a_rule_beside_anothers_is_put_once_more() -> None:
    """So each takes one away, and neither takes the other's."""
    paper = Paper(paper_rule())
    outcome = take(paper, Step(None, RULE))
    assert outcome.applied == Applied(RULE)
    (_, first), (_, second) = paper.sent(RTM_NEWRULE)
    assert first & NLM_F_EXCL and not second & NLM_F_EXCL


@pytest.mark.parametrize(("has_others", "sure"), [(False, True), (True, False)])
def test_a_rule_of_ours_is_not_put_twice(has_others: bool, sure: bool) -> None:
    """Without another vti-updown it can be ours only; and so can one on our record."""
    paper = Paper(paper_rule(), has_others)
    assert take(paper, Step(None, RULE), sure=sure).applied == Applied(RULE)
    assert len(paper.sent(RTM_NEWRULE)) == 1


@pytest.mark.parametrize("sure", [True, False])
def test_an_address_on_anothers_link_is_its_own(sure: bool) -> None:
    """On the administrator's it is ours by the protocol number."""
    theirs, admins = Paper(paper_address(THEIRS)), Paper(paper_address(ADMINS))
    assert take(theirs, Step(None, ADDRESS), THEIRS, sure=sure).foreign == HARMLESS
    assert take(admins, Step(None, ADDRESS), ADMINS, sure=sure).applied == Applied(ADDRESS)


@pytest.mark.parametrize("wish", [ROUTE, BLOCK, RULE, ADDRESS])
def test_what_is_put_into_a_free_place_looks_for_no_others(wish: Object) -> None:
    """What an event costs does not grow with the number of links."""
    paper = Paper()
    take(paper, Step(None, wish))
    take(paper, Step(wish, None))
    assert paper.sent(RTM_GETLINK) == [] or wish == ADDRESS
    assert all(message["index"] for message, _ in paper.sent(RTM_GETLINK))


# What is taken away


@pytest.mark.parametrize(("oif", "goes"), [(OURS, True), (THEIRS, False)])
@pytest.mark.parametrize("sure", [True, False])
def test_only_a_route_by_a_link_of_ours_goes(oif: int, goes: bool, sure: bool) -> None:
    """Our own link is gone, or it is not known where the route leads."""
    paper = Paper(paper_route(oif))
    take(paper, Step(ROUTE, None), None, sure=sure)  # type: ignore[arg-type]
    assert bool(paper.sent(RTM_DELROUTE)) == goes


def test_a_route_in_a_named_namespace_is_of_the_hook_there() -> None:
    """It may lead through a link that the administrator made there."""
    paper = Paper(paper_route(ADMINS), has_others=False)
    route = ROUTE._replace(netns="red")
    take(paper, Step(route, None), None, sure=False)  # type: ignore[arg-type]
    assert paper.sent(RTM_DELROUTE) == []


# Who is told of


def test_others_are_told_of_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were met, in one line of at most 120 bytes for each namespace."""
    monkeypatch.setattr(kernel_module, "Namespace", lambda name: Paper())
    kernel = Kernel()
    assert kernel.left_alone() == []
    kernel.look_for_others()
    remedy = "if that is gone for good: ip link del vti8"
    assert kernel.left_alone() == [f"left alone: vti8, another vti-updown's; {remedy}"]


# The number of a state


def test_lost_records_have_the_same_group_again(tmp_path: Path) -> None:
    """It goes by /run, not by what is in it."""
    directory = tmp_path / "vti-updown"
    before = state.group(str(directory))
    directory.mkdir()
    state.keep(str(directory))
    assert state.group(str(directory)) == before and state.is_group(before)
    (directory / state.FILE).unlink()
    assert state.group(str(directory)) == before


def test_another_run_is_another_state(tmp_path: Path) -> None:
    """As a container's, or one that is mounted over it."""
    groups = set()
    for name in ("host", "container"):
        (tmp_path / name).mkdir()
        groups.add(state.group(f"{tmp_path}/{name}/vti-updown"))
    assert len(groups) == 2 and all(map(state.is_group, groups))


def test_a_directory_that_is_a_mount_is_a_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though both containers have one /run below it."""
    directory = tmp_path / "vti-updown"
    directory.mkdir()
    below = state.group(str(directory))
    monkeypatch.setattr(state, "_is_mount", lambda path: path == str(directory))
    assert state.group(str(directory)) != below


def test_who_shares_the_directory_shares_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bind mount of the host's directory, in a container, is the host's state."""
    directory = tmp_path / "vti-updown"
    directory.mkdir()
    on_the_host = state.group(str(directory))
    state.keep(str(directory))
    monkeypatch.setattr(state, "_is_mount", lambda path: path == str(directory))
    assert state.group(str(directory)) == on_the_host


@pytest.mark.parametrize("text", ["", "x", "1.5"])
def test_a_number_that_is_none_is_derived(tmp_path: Path, text: str) -> None:
    """As a full disk leaves it."""
    directory = tmp_path / "vti-updown"
    before = state.group(str(directory))
    directory.mkdir()
    (directory / state.FILE).write_text(text)
    assert state.group(str(directory)) == before


# One namespace, several names


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Gives a namespace a name; namespaces are files, with hard links for names."""
    monkeypatch.setattr(namespaces, "FOLDER", str(tmp_path))

    def name(new: str, old: str = "") -> None:
        if old:
            (tmp_path / new).hardlink_to(tmp_path / old)
        else:
            (tmp_path / new).touch()

    return name


def test_two_names_of_one_namespace_are_namesakes(named: Callable[..., None]) -> None:
    """In order; and what is not there has its own name."""
    named("red")
    named("blue", "red")
    named("green")
    assert namespaces.namesakes("red") == namespaces.namesakes("blue") == ["blue", "red"]
    assert namespaces.namesakes("green") == ["green"]
    assert namespaces.namesakes("missing") == ["missing"]


def test_ours_looks_into_each_namespace_once(
    named: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name that is on record, and never into charon's own by another name."""
    named("red")
    named("blue", "red")
    named("own")
    identity = namespaces.identity
    monkeypatch.setattr(
        namespaces, "identity", lambda name: identity("own") if name == "" else identity(name)
    )
    looked: list[str] = []

    class Look:
        def __init__(self, name: str) -> None:
            looked.append(name)

        def ours(self) -> list[Applied]:
            return []

    kernel = Kernel()
    monkeypatch.setattr(kernel, "observe", lambda netns="": Look(netns))
    kernel.ours()
    kernel.ours({"red"})
    assert looked == ["", "blue", "", "red"]


def test_a_link_is_made_with_the_group_of_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the one request that makes it."""
    monkeypatch.setattr(state, "group", lambda: 1987313665)
    link = Link("vti", HERE, PEER, "vti1", 1, 1, "")
    assert link.commands(None, "vti1")[0].startswith("ip link add vti1 group 1987313665 ")


def test_nothing_is_sent_for_an_address_that_is_there_on_anothers_link() -> None:
    """Neither put again nor taken away, where the records are not sure."""
    paper = Paper(paper_address(THEIRS))
    take(paper, Step(ADDRESS, None), THEIRS, sure=False)
    sent = [attribute(message, "IFA_LOCAL") for message, _ in paper.sent(RTM_NEWADDR)]
    assert sent == []


class Recorded:
    """Records of links in these namespaces."""

    def __init__(self, *names: str) -> None:
        self.applied = self.references = self
        self._names = set(names)

    def namespaces(self) -> set[str]:
        return self._names


@pytest.mark.parametrize(
    ("recorded", "name"), [((), "blue"), (("red",), "red"), (("blue", "red"), "blue")]
)
def test_a_namespace_has_the_name_that_is_on_record(
    named: Callable[..., None], recorded: tuple[str, ...], name: str
) -> None:
    """A name that it gets later changes nothing; without a record it is the first one."""
    named("red")
    named("blue", "red")
    ask = Ask(None, Settings(), Recorded(*recorded), None)  # type: ignore[arg-type]
    assert ask.namespace("red") == ask.namespace("blue") == name


def test_charons_own_namespace_has_no_name(
    named: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is on record."""
    named("home")
    identity = namespaces.identity
    monkeypatch.setattr(
        namespaces, "identity", lambda name: identity("home") if name == "" else identity(name)
    )
    ask = Ask(None, Settings(), Recorded("home"), None)  # type: ignore[arg-type]
    assert ask.namespace("home") == ""
