"""Random lives of a host on a real kernel, beside a model of one sentence: for each key, the newest
reference's wish.

The model keeps the references, and knows of the kernel only what a user would be told. After every
rule the whole kernel is compared with it. What somebody else took away from us (`loose`) may be
there or not until an event touches it, but it is never anything else. Which reference a `down` ends
is asked of records/matching.py: unit/lives.py tries that.

VTI_UPDOWN_EXAMPLES lives are tried (default 6: about a minute without KVM) of at most 25 rules
each, with VTI_UPDOWN_SEED (default: a new one).
"""

import contextlib
import os
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import deaths
from support.events import environment
from unit.lives import InMemory
from view import AddressView, LinkView, RouteView, View, records, view
from vti_updown import event, state
from vti_updown.objects.object import PROTOCOL
from vti_updown.records.storage import DIRECTORY

EXAMPLES = int(os.environ.get("VTI_UPDOWN_EXAMPLES", "6"))
SEED = int(os.environ.get("VTI_UPDOWN_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
RULES = 25


class Ends(NamedTuple):
    """What a VTI is known by."""

    kind: str
    local: str
    remote: str


class Connection(NamedTuple):
    name: str
    ends: Ends
    mark: int
    """0: another with each CHILD_SA, as with mark=%unique."""
    routes: Mapping[int, tuple[str, ...]]
    virtual: bool = True


ONE, TWO, SIX = (
    Ends("vti", "192.168.0.1", "192.168.0.2"),
    Ends("vti", "192.168.0.1", "192.168.0.3"),
    Ends("vti6", "fec0::1", "fec0::2"),
)
SHARED = {4: ("10.50.0.0/16",), 6: ("fd50::/16",)}
CONNECTIONS = (
    Connection("a", ONE, 2, {4: ("10.2.0.0/16",), 6: ("fd02::/16",)}),
    Connection("b", ONE, 2, {4: ("10.9.0.0/16", *SHARED[4]), 6: SHARED[6]}),
    Connection("gateway", ONE, 2, {4: ("10.10.0.0/16",), 6: ("fd10::/16",)}, virtual=False),
    Connection("unique", TWO, 0, SHARED, virtual=False),
    Connection("six", SIX, 4, SHARED),
    Connection("other-mark", ONE, 9, SHARED),
)
VIRTUAL = {4: "10.3.0.1/32", 6: "fec3::1/128"}
OWN = {4: ("10.1.0.1", "10.1.0.0/24"), 6: ("fd01::1", "fd01::/64")}
BORROWED = {ONE: 2, SIX: 4}
"""Marks of a user's own links with our endpoints."""
DESTINATIONS = sorted({net for one in CONNECTIONS for nets in one.routes.values() for net in nets})

Key = tuple[Any, ...]


class Child:
    """A pair of selectors of a CHILD_SA, as charon sees it."""

    def __init__(self, connection: Connection, family: int, mark: int, ike: dict[str, int]) -> None:
        self.connection, self.family, self.mark, self.ike = connection, family, mark, ike

    def environment(self, direction: str) -> tuple[str, dict[str, object]]:
        one = self.connection
        changed: dict[str, object] = {
            "CONNECTION": one.name,
            "ME": one.ends.local,
            "PEER": one.ends.remote,
            "PEER_ID": one.ends.remote,
            "UNIQUEID": self.ike["id"],
            "MARK_IN": f"{self.mark}/0xffffffff",
            "MARK_OUT": f"{self.mark}/0xffffffff",
        }
        if not one.virtual:
            changed |= {"MY_SOURCEIP": None, "MY_SOURCEIP4_1": None, "MY_SOURCEIP6_1": None}
            changed["MY_CLIENT"] = OWN[self.family][1]
        return f"{direction}-client{'-v6' if self.family == 6 else ''}", changed

    def flags(self) -> list[str]:
        return [word for net in self.connection.routes[self.family] for word in ("--route", net)]

    def wishes(self) -> dict[Key, object]:
        one, family = self.connection, self.family
        found: dict[Key, object] = {
            ("link", one.ends): (self.mark, f"vti-updown {one.name}"),
            ("setting", one.ends, family): 1,
        }
        if one.virtual:
            found["address", one.ends, VIRTUAL[family]] = 1
        source = VIRTUAL[family].partition("/")[0] if one.virtual else OWN[family][0]
        return found | {("route", net): (one.ends, source) for net in one.routes[family]}


class Reference(NamedTuple):
    charon: str
    child: Child
    wishes: dict[Key, object]


class Killed(BaseException):
    """Stands for SIGKILL."""


class Host(RuleBasedStateMachine):
    machine: Any
    """The machine fixture: set by the test."""

    def __init__(self) -> None:
        super().__init__()
        clean(self.machine)
        self.machine.dead.clear()
        self.machine.restart_charon()
        self.start = view()
        self.memory = InMemory()
        self.references: dict[int, Reference] = {}
        self.children: list[Child] = []
        self.ikes: list[dict[str, int]] = []
        self.last_id = self.last_mark = 0
        self.loose: set[Key] = set()
        self.settled = True
        """Whether no event died since the last one that ended well."""
        self.foreign_routes: set[str] = set()
        self.foreign_links: dict[str, Ends] = {}
        self.foreign_addresses: dict[Ends, str] = {}

    # What is wished for

    def wished(self) -> dict[Key, Any]:
        found: dict[Key, Any] = {}
        for _, reference in sorted(self.references.items()):
            found |= reference.wishes
        return found

    def link_of(self, key: Key, value: Any) -> Ends:
        ends = value[0] if key[0] == "route" else key[1]
        assert isinstance(ends, Ends)
        return ends

    def is_loose(self, key: Key, value: Any) -> bool:
        return key in self.loose or ("link", self.link_of(key, value)) in self.loose

    def borrowed(self, ends: Ends) -> bool:
        return ends in self.foreign_links.values()

    # Events

    def send(self, direction: str, child: Child, dies_at: int | None) -> tuple[bool, list[str]]:
        """Calls the hook; whether what it did was recorded, and what it said."""
        verb, changed = child.environment(direction)
        lines: list[str] = []

        def die(number: int, _name: str) -> None:
            if number == dies_at:
                raise Killed

        with pytest.MonkeyPatch.context() as patch:
            points = deaths.Points(patch, die)
            try:
                lines = self.machine.event(verb, *child.flags(), **changed)
            except Killed:
                self.settled = False
                return "db COMMIT" in behind_adoption(points.names[:-1]), lines
        return True, lines

    def told(self, direction: str, child: Child) -> event.Event:
        verb, changed = child.environment(direction)
        return event.parse(environment(verb, **changed))

    def forget_stale(self) -> dict[Key, object]:
        """Ends the references of charons that are gone; what they wished for."""
        gone = {
            number: one
            for number, one in self.references.items()
            if one.charon != self.machine.charon
        }
        for number in gone:
            del self.references[number]
        return {key: value for one in gone.values() for key, value in one.wishes.items()}

    def settle(self, before: dict[Key, Any], touched: set[Key]) -> None:
        """What an event over the keys `touched` has put right of what others had spoilt."""
        after = self.wished()
        for key in list(self.loose):
            if key not in after or (key in touched and before.get(key) != after[key]):
                self.loose.discard(key)
        for _, ends in [key for key in touched if key[0] == "link"]:
            other = self.borrowed(ends) and after.get(("link", ends), (0,))[0] != BORROWED[ends]
            if ("link", ends) in self.loose and not other:
                self.loose -= {
                    key
                    for key in self.loose
                    if key in after and self.link_of(key, after[key]) == ends
                }
        for ends in list(self.foreign_addresses):
            if ("link", ends) not in after and not self.borrowed(ends):
                del self.foreign_addresses[ends]

    def refusal(self, child: Child) -> bool:
        """Whether the link is another peer's, or a user's, with another mark."""
        if self.borrowed(child.connection.ends) and child.mark != BORROWED[child.connection.ends]:
            return True
        held = [one.child for one in self.references.values() if one.charon == self.machine.charon]
        return any(
            one.connection.ends == child.connection.ends
            and one.mark != child.mark
            and one.connection != child.connection
            for one in held
        )

    @precondition(lambda self: len(self.children) < 7)
    @rule(
        connection=st.sampled_from(CONNECTIONS),
        family=st.sampled_from((4, 6)),
        same_ike=st.booleans(),
        dies_at=st.one_of(st.none(), st.none(), st.integers(0, 30)),
    )
    def up(self, connection: Connection, family: int, same_ike: bool, dies_at: int | None) -> None:
        ikes = [
            one
            for one in self.ikes
            if any(c.ike is one and c.connection.ends == connection.ends for c in self.children)
        ]
        if not (same_ike and ikes):
            self.last_id += 1
            ikes = [{"id": self.last_id}]
            self.ikes += ikes
        mark = connection.mark
        if not mark:
            self.last_mark += 1
            mark = 100 + self.last_mark
        child = Child(connection, family, mark, ikes[-1])
        before = self.wished()
        refused = self.refusal(child)
        recorded, lines = self.send("up", child, dies_at)
        dead = not self.settled and not lines
        if not recorded:
            return
        if dead or self.machine.status == 0:
            assert not refused or dead, lines
        else:
            assert refused, lines
        self.children.append(child)
        number = self.memory.up(self.machine.charon, self.told("up", child), not refused)
        if refused:
            return
        stale = self.forget_stale()
        self.references[number] = Reference(self.machine.charon, child, child.wishes())
        if not dead:
            self.settled = True
        self.settle(before, {*stale, *child.wishes()})

    @precondition(lambda self: self.children)
    @rule(which=st.integers(0, 6), dies_at=st.one_of(st.none(), st.none(), st.integers(0, 24)))
    def down(self, which: int, dies_at: int | None) -> None:
        self.end(self.children.pop(which % len(self.children)), dies_at)

    def end(self, child: Child, dies_at: int | None = None) -> None:
        before = self.wished()
        recorded, lines = self.send("down", child, dies_at)
        if not recorded:
            return
        assert not lines or self.machine.status == 0, lines
        stale = self.forget_stale()
        ended = self.memory.down(self.machine.charon, self.told("down", child))
        reference = self.references.pop(ended, None) if ended is not None else None
        if lines:
            self.settled = True
        self.settle(before, {*stale, *(reference.wishes if reference else ())})

    @rule()
    def down_of_nobody(self) -> None:
        self.end(Child(Connection("nobody", TWO, 2, {4: ()}), 4, 2, {"id": 1}))

    @precondition(lambda self: self.ikes)
    @rule(which=st.integers(0, 6))
    def rekey(self, which: int) -> None:
        self.last_id += 1
        self.ikes[which % len(self.ikes)]["id"] = self.last_id

    @rule(sure=st.integers(0, 3))
    def restart_charon(self, sure: int) -> None:
        if sure == 0:
            self.machine.restart_charon()
            self.children.clear()
            self.ikes.clear()
            self.last_id = 0

    # Neighbours

    def ours(self) -> list[LinkView]:
        return sorted(one for one in view().links if one.group == state.group())

    def ip(self, *lines: str) -> None:
        self.machine.run("sh", "-ec", "\n".join(f"ip {line}" for line in lines))

    def on(self, ends: Ends) -> set[Key]:
        return {key for key, value in self.wished().items() if self.link_of(key, value) == ends}

    @precondition(lambda self: self.settled and self.references)
    @rule(which=st.integers(0, 3), how=st.sampled_from(("delete", "bounce", "rename", "readdress")))
    def user_at_a_link(self, which: int, how: str) -> None:
        links = self.ours()
        if not links:
            return
        link = links[which % len(links)]
        ends = Ends(link.kind, link.local, link.remote)
        if how == "delete":
            self.ip(f"link del {link.name}")
            self.loose |= self.on(ends)
            self.foreign_addresses.pop(ends, None)
        elif how == "readdress":
            if ends not in self.foreign_addresses:
                self.foreign_addresses[ends] = f"10.66.0.{which}/32"
                self.ip(f"addr add {self.foreign_addresses[ends]} dev {link.name}")
        else:
            name = f"{link.name}x" if how == "rename" and len(link.name) < 15 else link.name
            self.ip(
                f"link set {link.name} down",
                f"link set {link.name} name {name}",
                f"link set {name} up",
            )
            self.loose |= {
                key
                for key in self.on(ends)
                if key[0] == "route" or (key[0] == "address" and ":" in str(key[2]))
            }

    @precondition(lambda self: self.settled and self.references)
    @rule(which=st.integers(0, 5))
    def user_deletes_an_address_of_ours(self, which: int) -> None:
        there = sorted(one for one in view().addresses if one.protocol == PROTOCOL)
        if there:
            one = there[which % len(there)]
            (ends,) = (Ends(*link[1:4]) for link in view().links if link.name == one.link)
            self.ip(f"addr del {one.address} dev {one.link}")
            self.loose |= {("address", ends, one.address)}
            self.loose |= {
                key for key in self.wished() if key[0] == "route"
            }  # those that go along, and their equals

    @precondition(lambda self: self.settled and self.references)
    @rule(which=st.integers(0, 5))
    def user_deletes_a_route_of_ours(self, which: int) -> None:
        there = sorted(one.destination for one in view().routes if one.protocol == PROTOCOL)
        if there:
            net = there[which % len(there)]
            self.ip(f"-{6 if ':' in net else 4} route del {net} proto {PROTOCOL}")
            self.loose.add(("route", net))

    @precondition(lambda self: self.settled)
    @rule(net=st.sampled_from(DESTINATIONS))
    def user_has_a_route_of_his_own(self, net: str) -> None:
        if net in self.foreign_routes:
            self.foreign_routes.discard(net)
            self.loose.add(("route", net))
            self.ip(f"-{6 if ':' in net else 4} route del {net} dev lan")
        elif net not in {one.destination for one in view().routes}:
            self.foreign_routes.add(net)
            self.ip(f"-{6 if ':' in net else 4} route add {net} dev lan")

    @precondition(lambda self: self.settled)
    @rule(name=st.sampled_from(("vti1", "vti2", "mine1", "mine2")))
    def user_has_a_link_of_his_own(self, name: str) -> None:
        """With a name that would be ours, or the endpoints."""
        ends = {"mine1": ONE, "mine2": SIX}.get(name)
        links = view().links
        if name in self.foreign_links:
            del self.foreign_links[name]
            self.ip(f"link del {name}")
            if ends:
                self.loose |= self.on(ends)
        elif name in {one.name for one in links} or (
            ends and ends in {Ends(*one[1:4]) for one in links}
        ):
            return
        elif ends is None:
            self.ip(f"link add {name} type dummy")
            self.foreign_links[name] = Ends("dummy", name, "")
        else:
            add = f"link add {name} type {ends.kind} local {ends.local} remote {ends.remote} key {BORROWED[ends]}"
            self.ip(add, f"link set {name} up")
            self.foreign_links[name] = ends
            self.loose |= self.on(ends)

    # The comparison

    @invariant()
    def the_kernel_holds_the_newest_wish_of_each_key(self) -> None:
        if self.settled:
            wrong = "\n".join(self.differences(view()))
            assert not wrong, wrong

    def differences(self, seen: View) -> list[str]:
        wished = self.wished()
        names = {Ends(*one[1:4]): one.name for one in seen.links if one.kind.startswith("vti")}
        wrong = (
            self._links(seen, wished)
            + self._addresses(seen, wished, names)
            + self._routes(seen, wished, names)
        )
        policies = {
            (name, family): value
            for name, *both in seen.settings
            for family, value in zip((4, 6), both, strict=True)
        }
        for ends, name in names.items():
            for family in (4, 6):
                key = ("setting", ends, family)
                allowed = {"1"} if key in wished and not self.borrowed(ends) else {"0"}
                if key in wished and self.is_loose(key, 1):
                    allowed = {"0", "1"}
                if policies[name, family] not in allowed:
                    wrong.append(f"disable_policy of {name}, IPv{family}: {policies[name, family]}")
        return wrong

    def _links(self, seen: View, wished: dict[Key, Any]) -> list[str]:
        wrong = []
        ours = [one for one in seen.links if one.group == state.group()]
        for one in ours:
            key = ("link", Ends(*one[1:4]))
            if key not in wished or self.borrowed(key[1]):
                wrong.append(f"left behind: {one}")
            elif (one.okey, one.alias) != wished[key] or one.ikey != one.okey or not one.up:
                wrong.append(f"{one} is not {wished[key]}")
        there = {Ends(*one[1:4]) for one in ours}
        wrong += [
            f"missing: {key}"
            for key, value in wished.items()
            if key[0] == "link"
            and key[1] not in there
            and not self.borrowed(key[1])
            and not self.is_loose(key, value)
        ]
        names = {one.name for one in seen.links} - {one.name for one in ours}
        foreign = {one.name for one in self.start.links} | set(self.foreign_links)
        return wrong + [f"others' links: {sorted(names ^ foreign)}"] * (names != foreign)

    def _addresses(self, seen: View, wished: dict[Key, Any], names: dict[Ends, str]) -> list[str]:
        ends = {name: one for one, name in names.items()}
        ours = {
            ("address", ends[one.link], one.address)
            for one in seen.addresses
            if one.protocol == PROTOCOL
        }
        wanted = {key for key in wished if key[0] == "address"}
        wrong = [f"left behind: {key}" for key in ours - wanted]
        wrong += [f"missing: {key}" for key in wanted - ours if not self.is_loose(key, 1)]
        foreign = {one for one in seen.addresses if one.protocol != PROTOCOL}
        expected = self.start.addresses | {
            AddressView(names.get(e, "?"), text, 0) for e, text in self.foreign_addresses.items()
        }
        return wrong + [f"others' addresses: {foreign ^ expected}"] * (foreign != expected)

    def _routes(self, seen: View, wished: dict[Key, Any], names: dict[Ends, str]) -> list[str]:
        wrong = []
        ours = {("route", one.destination): one for one in seen.routes if one.protocol == PROTOCOL}
        for key, one in ours.items():
            if key not in wished:
                wrong.append(f"left behind: {one}")
                continue
            ends, source = wished[key]
            sources = {source, ""} if self.is_loose(key, wished[key]) else {source}
            if one.link != names.get(ends) or one.source not in sources:
                wrong.append(f"{one} is not by {names.get(ends)} from {source}")
        for key, value in wished.items():
            if (
                key[0] == "route"
                and key not in ours
                and key[1] not in self.foreign_routes
                and not self.is_loose(key, value)
            ):
                wrong.append(f"missing: {key} {value}")
        foreign = {one.destination for one in seen.routes if one.link == "lan"}
        expected = {
            one.destination for one in self.start.routes if one.link == "lan"
        } | self.foreign_routes
        return wrong + [f"others' routes: {foreign ^ expected}"] * (foreign != expected)

    def teardown(self) -> None:
        """At the end all goes down, and nothing is left but what others have."""
        try:
            while self.children:
                self.end(self.children.pop())
            self.machine.restart_charon()
            self.down_of_nobody()
            self.down_of_nobody()
            wrong = "\n".join(self.differences(view()))
            assert not wrong, wrong
            assert records() == ((), (), ()), records()
        finally:
            clean(self.machine)


def behind_adoption(names: list[str]) -> list[str]:
    """What an event changes behind what it finds on a host without records, which it commits first."""
    adopted = ["db INSERT", "db COMMIT"]
    return names[2:] if names[:2] == adopted else names


def clean(machine: Any) -> None:
    """Back to an empty host, whatever is there."""
    seen = view()
    lines = [
        f"ip link del {one.name}" for one in seen.links if one.kind in ("vti", "vti6", "dummy")
    ]
    lines += [
        f"ip -{6 if ':' in one.destination else 4} route del {one.destination} dev lan"
        for one in own_routes(seen)
    ]
    if lines:
        machine.run("sh", "-c", "\n".join(lines))
    with contextlib.suppress(FileNotFoundError):
        for file in os.listdir(DIRECTORY):
            os.unlink(f"{DIRECTORY}/{file}")


def own_routes(seen: View) -> list[RouteView]:
    return [one for one in seen.routes if one.destination in DESTINATIONS and one.link == "lan"]


def test_the_kernel_follows_the_newest_wish_whatever_happens(machine, capfd):
    """Random events, kills and users: after each the kernel is what the model says."""
    machine.run("ip", "addr", "add", "10.1.0.1/24", "dev", "lan")
    machine.run("ip", "addr", "add", "fd01::1/64", "dev", "lan", "nodad")
    with capfd.disabled():
        print(f"\nVTI_UPDOWN_SEED={SEED} VTI_UPDOWN_EXAMPLES={EXAMPLES} ", end="", flush=True)
    run = seed(SEED)(type("Run", (Host,), {"machine": machine}))
    quick = settings(
        max_examples=EXAMPLES,
        stateful_step_count=RULES,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    run_state_machine_as_test(run, settings=quick)
