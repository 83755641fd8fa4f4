"""Every example with settings or an updown line, from its first event to its last: the file is
taken as a user copies it.

What each prints is in the folder `examples` beside this file. VTI_UPDOWN_WRITE=1 in the environment
writes it anew.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .story import NO_MARK, NO_VIRTUAL_IP, Changes, Story

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
EXPECTED = Path(__file__).parent / "examples"

UPDOWN = re.compile(r'(?m)^\s*(?:left)?updown ?= ?"?/usr/local/sbin/vti-updown ?([^"\n]*)"?$')
EVERYTHING: Changes = {**NO_VIRTUAL_IP, "MY_CLIENT": "0.0.0.0/0", "PEER_CLIENT": "0.0.0.0/0"}
EVERYTHING6: Changes = {**NO_VIRTUAL_IP, "MY_CLIENT": "::/0", "PEER_CLIENT": "::/0"}


class Call(NamedTuple):
    """Something that charon or the administrator does."""

    what: str
    """A verb of charon's, or prepare or release."""
    changed: Changes


class Example(NamedTuple):
    name: str
    settings: str
    """A file of settings in examples/; empty: none."""
    connections: str
    """A file of connections, with the updown line; empty: none."""
    calls: list[Call]

    @property
    def files(self) -> list[str]:
        return [file for file in (self.settings, self.connections) if file]


def mark(number: int) -> Changes:
    return {"MARK_IN": f"{number}/0xffffffff", "MARK_OUT": f"{number}/0xffffffff"}


def if_id(number: int) -> Changes:
    return {**NO_MARK, "IF_ID_IN": number, "IF_ID_OUT": number}


def between(me: str, peer: str) -> Changes:
    return {"ME": me, "PEER": peer}


def networks(mine: str, its: str) -> Changes:
    return {**NO_VIRTUAL_IP, "MY_CLIENT": mine, "PEER_CLIENT": its}


def virtual(family: int, network: str) -> Changes:
    """The selectors of a laptop with its virtual IP, and the network behind its peer."""
    return {"MY_CLIENT": "10.3.0.1/32" if family == 4 else "fec3::1/128", "PEER_CLIENT": network}


def ipv4(changed: Changes) -> list[Call]:
    """One pair of selectors comes up and goes down."""
    return [Call("up-client", changed), Call("down-client", changed)]


def both(first: Changes, second: Changes) -> list[Call]:
    """A pair of each family comes up, and both go down."""
    ups = [Call("up-client", first), Call("up-client-v6", second)]
    return [*ups, Call("down-client", first), Call("down-client-v6", second)]


def standing(calls: list[Call]) -> list[Call]:
    """The same with `prepare` before it and `release` behind it."""
    return [Call("prepare", {}), *calls, Call("release", {})]


def turns(first: list[Call], second: list[Call]) -> list[Call]:
    """Two connections that are up at once: the second comes after the first, and goes after it."""
    ups = [call for call in (*first, *second) if call.what.startswith("up")]
    return [*ups, *(call for call in (*first, *second) if call.what.startswith("down"))]


AWS1: Changes = {
    "CONNECTION": "aws1",
    **between("192.0.2.1", "203.0.113.1"),
    **mark(101),
    **EVERYTHING,
}
AWS2: Changes = {
    "CONNECTION": "aws2",
    **between("192.0.2.1", "198.51.100.1"),
    **mark(102),
    **EVERYTHING,
    "UNIQUEID": 2,
}
AZURE: Changes = {
    "CONNECTION": "azure",
    **between("192.0.2.1", "203.0.113.10"),
    **if_id(201),
    **EVERYTHING,
}
GOOGLE: Changes = {
    "CONNECTION": "google",
    **between("192.0.2.1", "203.0.113.20"),
    **mark(301),
    **EVERYTHING,
}
GOOGLE0: Changes = {
    "CONNECTION": "google0",
    **between("192.0.2.1", "203.0.113.21"),
    **if_id(310),
    **EVERYTHING,
}
GOOGLE1: Changes = {
    **GOOGLE0,
    "CONNECTION": "google1",
    "PEER": "198.51.100.21",
    **if_id(311),
    "UNIQUEID": 2,
}
GW: Changes = {"PEER": "192.0.2.1", **mark(2)}
ALICE: Changes = {
    "CONNECTION": "road",
    **between("192.0.2.1", "203.0.113.7"),
    **if_id(42),
    "PEER_ID": "alice",
}
BOB: Changes = {**ALICE, "PEER_ID": "bob", "UNIQUEID": 2}
LAPTOP: Changes = {"CONNECTION": "office", "PEER": "192.0.2.1", **if_id(42)}
OFFICE: Changes = {**between("192.0.2.1", "198.51.100.2"), "PEER_ID": "office.example.org"}
NETNS: Changes = {"CONNECTION": "office", "PEER": "203.0.113.7", **if_id(42)}
HQ: Changes = {"CONNECTION": "branch", **between("192.0.2.1", "198.51.100.2"), **if_id(42)}
BRANCH: Changes = {"CONNECTION": "hq", **between("198.51.100.2", "192.0.2.1"), **if_id(42)}
PARTNER: Changes = {"CONNECTION": "partner", **between("192.0.2.1", "198.51.100.2"), **if_id(42)}
MOON: Changes = {"CONNECTION": "sun", **between("192.0.2.1", "198.51.100.1"), **if_id(42)}
SUN: Changes = {"CONNECTION": "moon", **between("198.51.100.1", "192.0.2.1"), **if_id(42)}
BLUE: Changes = {"CONNECTION": "blue", "PEER": "203.0.113.7", **if_id(42)}
RED: Changes = {"CONNECTION": "red", "PEER": "198.51.100.7", **if_id(43), "UNIQUEID": 2}
CUSTOMER, CUSTOMER6 = networks("10.1.0.0/16", "10.2.0.0/16"), networks("fd00:1::/64", "fd00:2::/64")
SITE, SITE6 = networks("10.1.0.0/16", "10.2.0.0/16"), networks("fd00:1::/48", "fd00:2::/48")
BACK, BACK6 = networks("10.2.0.0/16", "10.1.0.0/16"), networks("fd00:2::/48", "fd00:1::/48")
WIDE6 = networks("fd00:1::/32", "fd00:2::/32")
GENERAL: Changes = {**between("192.0.2.1", "203.0.113.7"), **NO_VIRTUAL_IP}


def road(who: Changes, host: int) -> list[Call]:
    """What the gateway sees of a road warrior with these virtual IPs."""
    first = {**who, **networks("10.1.0.0/16", f"10.3.0.{host}/32")}
    return both(first, {**who, **networks("fd00:1::/48", f"fd00:3::{host}/128")})


def gw(changed: Changes) -> list[Call]:
    """The connection of the guides: virtual IPs, and everything behind the peer."""
    return both({**changed, **virtual(4, "0.0.0.0/0")}, {**changed, **virtual(6, "::/0")})


def laptop() -> list[Call]:
    return both({**LAPTOP, **virtual(4, "10.1.0.0/16")}, {**LAPTOP, **virtual(6, "fd00:1::/48")})


def office(identifier: Changes) -> list[Call]:
    """libreswan has a CHILD_SA for each family."""
    first = {**OFFICE, **identifier, "CONNECTION": "office", **SITE}
    return both(first, {**OFFICE, **identifier, "CONNECTION": "office6", **WIDE6})


def general() -> Iterator[Call]:
    """The connections of the file that shows every setting."""
    yield from ipv4({**GENERAL, "CONNECTION": "aws", **mark(42), **EVERYTHING})
    branch = {**GENERAL, "CONNECTION": "branch", **NO_MARK, "IF_ID_IN": 42, "IF_ID_OUT": 43}
    yield from both({**branch, **SITE}, {**branch, **WIDE6})
    yield from ipv4(
        {**GENERAL, "CONNECTION": "rw-alice", **mark(7), **networks("10.1.0.0/16", "10.3.0.1/32")}
    )
    net = {
        "CONNECTION": "net",
        "PEER": "198.51.100.9",
        "PEER_ID": "sun@example.org",
        "XAUTH_ID": "alice",
        **if_id(44),
    }
    yield from ipv4({**net, **virtual(4, "10.9.0.0/16")})
    yield Call("release", {})


ALL = [
    Example("all-settings", "vti-updown.toml", "", list(general())),
    Example("ipsec-conf", "", "ipsec.conf", gw(GW)),
    Example("swanctl-conf", "", "swanctl.conf", gw(GW)),
    Example(
        "aws", "aws/vti-updown.toml", "aws/ipsec.conf", standing(turns(ipv4(AWS1), ipv4(AWS2)))
    ),
    Example("azure", "azure/vti-updown.toml", "azure/swanctl.conf", standing(ipv4(AZURE))),
    Example("from-bash-script", "", "from-bash-script/ipsec.conf", gw(GW)),
    Example("from-mark-to-if-id", "", "from-mark-to-if-id/swanctl.conf", gw({**GW, **if_id(42)})),
    Example(
        "gateway",
        "gateway/vti-updown.toml",
        "gateway/swanctl.conf",
        turns(road(ALICE, 1), road(BOB, 2)),
    ),
    Example("google", "google/vti-updown.toml", "google/swanctl.conf", standing(ipv4(GOOGLE))),
    Example(
        "google-ha",
        "google-ha/vti-updown.toml",
        "google-ha/swanctl.conf",
        standing(turns(ipv4(GOOGLE0), ipv4(GOOGLE1))),
    ),
    Example("libreswan", "", "libreswan/swanctl.conf", office(if_id(42))),
    Example("libreswan-vti", "", "libreswan/swanctl-vti.conf", office(mark(42))),
    Example("netns", "netns/vti-updown.toml", "netns/swanctl.conf", gw(NETNS)),
    Example(
        "ospf-hq",
        "ospf/hq.vti-updown.toml",
        "ospf/hq.swanctl.conf",
        standing(both({**HQ, **EVERYTHING}, {**HQ, **EVERYTHING6})),
    ),
    Example(
        "ospf-branch",
        "ospf/branch.vti-updown.toml",
        "ospf/branch.swanctl.conf",
        standing(both({**BRANCH, **EVERYTHING}, {**BRANCH, **EVERYTHING6})),
    ),
    Example(
        "redistribute",
        "redistribute/vti-updown.toml",
        "redistribute/swanctl.conf",
        both({**PARTNER, **SITE}, {**PARTNER, **WIDE6}),
    ),
    Example("road-warrior-certificate", "", "road-warrior-certificate/swanctl.conf", laptop()),
    Example("road-warrior-password", "", "road-warrior-password/swanctl.conf", laptop()),
    Example(
        "site-to-site-moon",
        "site-to-site/moon-vti-updown.toml",
        "site-to-site/moon-swanctl.conf",
        standing(both({**MOON, **SITE}, {**MOON, **SITE6})),
    ),
    Example(
        "site-to-site-sun",
        "site-to-site/sun-vti-updown.toml",
        "site-to-site/sun-swanctl.conf",
        standing(both({**SUN, **BACK}, {**SUN, **BACK6})),
    ),
    Example(
        "vrf",
        "vrf/vti-updown.toml",
        "vrf/swanctl.conf",
        turns(
            both({**BLUE, **CUSTOMER}, {**BLUE, **CUSTOMER6}),
            both({**RED, **CUSTOMER}, {**RED, **CUSTOMER6}),
        ),
    ),
]


def updown_lines(file: str) -> set[str]:
    """The flags of each updown line in a file of connections."""
    return set(UPDOWN.findall((EXAMPLES / file).read_text()))


def play(story: Story, calls: list[Call]) -> Iterator[str]:
    """What happens, each call with what it prints."""
    administrator = {"prepare": story.prepare, "release": story.release}
    for call in calls:
        if call.what in administrator:
            yield f"## vti-updown {call.what}\n{administrator[call.what]()}\n"
        else:
            yield f"## {call.what} of {call.changed.get('CONNECTION', 'gw')}\n{story.event(call.what, **call.changed)}\n"


@pytest.mark.parametrize("example", ALL, ids=[example.name for example in ALL])
def test_an_example_does_what_is_written_down(story: Story, example: Example) -> None:
    """Settings and flags are read from the example's files, and nothing is left at the end."""
    story.host.addresses = ["10.1.0.1", "fd00:1::1"]
    story.host.vrfs = {"blue": 100, "red": 200}
    story.host.namespaces = {"office"}
    if example.settings:
        story.settings((EXAMPLES / example.settings).read_text())
    if example.connections:
        (story.line,) = updown_lines(example.connections)
    said = "\n".join(play(story, example.calls))
    expected = EXPECTED / f"{example.name}.txt"
    if os.environ.get("VTI_UPDOWN_WRITE"):
        expected.write_text(said)
    assert said == expected.read_text()
    assert story.left() == []


CONNECTED = [example for example in ALL if example.connections]


@pytest.mark.parametrize("example", CONNECTED, ids=[example.name for example in CONNECTED])
def test_an_event_has_the_marks_of_its_example(example: Example) -> None:
    """Marks, if_ids and names of the events are those of the file of connections."""
    text = (EXAMPLES / example.connections).read_text()
    for _, changed in example.calls:
        number = changed.get("IF_ID_IN") or str(changed.get("MARK_IN", "")).partition("/")[0]
        word = "if_id_in" if changed.get("IF_ID_IN") else "mark(?:_in)?"
        assert not number or re.search(rf"\b{word} ?= ?{number}\b", text), number
        name = changed.get("CONNECTION")
        assert not name or re.search(rf"(?m)^(?:conn |\s*){name}\b", text), name


def test_every_example_has_its_story() -> None:
    """A file with settings or an updown line that no story reads would change unseen."""
    files = [file for file in EXAMPLES.rglob("*") if file.suffix in (".toml", ".conf")]
    telling = [file for file in files if file.suffix == ".toml" or UPDOWN.search(file.read_text())]
    there = {str(file.relative_to(EXAMPLES)) for file in telling}
    assert there == {file for example in ALL for file in example.files}
    assert {file.stem for file in EXPECTED.iterdir()} == {example.name for example in ALL}
