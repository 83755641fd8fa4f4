#!/usr/bin/env python3
"""Random lives of charons, to count how often a `down` ends the right reference. It knows nothing
of the kernel.

lives.py [LIVES [SEED]]     prints the table of a run

A *life* is one charon's: IKE_SAs come, are rekeyed, roam, are reauthenticated, die unseen and go.
Each CHILD_SA calls once per pair of selectors. A rekey of an IKE_SA gives it a new unique ID and no
event; an address change gives no event, and the later `down` is another. In some lives `up`s fail,
`down`s come twice, or events get lost. Source: what was recorded of strongSwan's events, and its
updown_listener.c.

The life knows which reference each `down` means (the truth) and compares it with the one that was
ended (the choice):

| verdict | the choice |
| --- | --- |
| right | is the truth, or of *equal effect*: same identity, endpoints, virtual IPs, and both hold |
| undecidable | is another, but nothing in the environment tells them apart: see `_unseen` |
| aftermath | is another, and would be known as wrong had no choice before it been undecidable |
| wrong | is another, and the events told so |

and two things that hurt: *outages*, where the last reference of a live tunnel was ended, and
*leaks*, references that are left at the end though their `down`s were all delivered.
"""

import ipaddress
import multiprocessing
import random
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple, Protocol

from vti_updown.addresses import IPAddress
from vti_updown.event import UINT32_MAX, Event, Mark, Selector
from vti_updown.objects.sysctl import Sysctl
from vti_updown.records import matching, records

HERE = [ipaddress.ip_address(text) for text in ("192.0.2.1", "192.0.2.2", "2001:db8::1")]
THERE = [ipaddress.ip_address(text) for text in ("198.51.100.1", "198.51.100.2", "2001:db8:1::1")]
POOL = [ipaddress.ip_address(f"10.3.0.{host}") for host in range(1, 5)]
NETWORKS = [
    ipaddress.ip_network(text)
    for text in ("10.1.0.0/16", "10.2.0.0/16", "10.9.0.0/16", "0.0.0.0/0", "::/0")
]
HOST: dict[IPAddress, Selector] = {
    ip: Selector(ipaddress.ip_network(ip), 0, "0") for ip in (*HERE, *THERE, *POOL)
}
NETS = [Selector(network, 0, "0") for network in NETWORKS]
MARKS = [Mark(value, UINT32_MAX) for value in range(1000)]
STEPS = 12
"""How many things happen in a life, on average."""


class Records(Protocol):
    """What the records and the hook do with an event, without settings and kernel."""

    def up(self, charon: str, event: Event, holds: bool) -> int:
        """Records an `up` and returns its number, which grows. `holds` is False where it failed."""

    def down(self, charon: str, event: Event) -> int | None:
        """Ends a reference and returns its number."""


class Kept(NamedTuple):
    charon: str
    identity: tuple[object, ...]
    life: matching.Life


def _life(number: int, caller: matching.Caller, holds: bool) -> matching.Life:
    return matching.Life(
        number,
        caller.unique_id,
        caller.virtual_ips,
        caller.me,
        caller.peer,
        holds,
        caller.unique_id,
    )


class InMemory:
    """`Records` and `hook.begin.begin_down` in dictionaries: the same answers, fast."""

    def __init__(self) -> None:
        self.number = 0
        self.kept: dict[int, Kept] = {}
        self.known: dict[tuple[str, int], dict[tuple[object, ...], matching.Heard]] = defaultdict(
            dict
        )

    def up(self, charon: str, event: Event, holds: bool) -> int:
        self.number += 1
        told = matching.identity(event)
        self.kept[self.number] = Kept(
            charon, told, _life(self.number, matching.caller(charon, event), holds)
        )
        self._learn(charon, event, told)
        return self.number

    def down(self, charon: str, event: Event) -> int | None:
        told = matching.identity(event)
        candidates = [
            one.life for one in self.kept.values() if one.identity == told and one.charon == charon
        ]
        ending = matching.ends(
            candidates,
            matching.caller(charon, event),
            self.known[charon, event.unique_id].get(told),
        )
        if ending.reference is None:
            return None
        self._learn(charon, event, told)
        if ending.rekeyed is not None:
            self._rekey(charon, ending.rekeyed, event.unique_id)
        del self.kept[ending.reference]
        return ending.reference

    def _learn(self, charon: str, event: Event, told: tuple[object, ...]) -> None:
        known = self.known[charon, event.unique_id]
        before = known.get(told, matching.Heard(0))
        known[told] = before._replace(open=before.open + (1 if event.up else -1))

    def _rekey(self, charon: str, old: int, new: int) -> None:
        for number, one in self.kept.items():
            if one.charon == charon and one.life.unique_id == old:
                self.kept[number] = one._replace(life=one.life._replace(unique_id=new))
        known = self.known[charon, old]
        known.update({told: heard._replace(became=new) for told, heard in known.items()})


class InSqlite:
    """The records themselves, called as `hook.begin.begin_down` calls it."""

    WISH = Sysctl("link", "ipv4", "disable_policy", 1)

    def __init__(self) -> None:
        self.records = records.Records(sqlite3.connect(":memory:", isolation_level=None))

    def up(self, charon: str, event: Event, holds: bool) -> int:
        caller = matching.caller(charon, event)
        number = self.records.references.add(caller, [self.WISH] if holds else [])
        self.records.unique_ids.learn(caller)
        return number

    def down(self, charon: str, event: Event) -> int | None:
        caller = matching.caller(charon, event)
        candidates = self.records.references.lives(caller)
        ending = matching.ends(candidates, caller, self.records.unique_ids.heard(caller))
        if ending.reference is None:
            return None
        self.records.unique_ids.learn(caller)
        if ending.rekeyed is not None:
            self.records.unique_ids.rekey(charon, ending.rekeyed, event.unique_id)
        self.records.references.end(ending.reference)
        return ending.reference


# What charon has


def _verb(up: bool, host: bool, family: int) -> str:
    way = "up" if up else "down"
    side = "host" if host else "client"
    return f"{way}-{side}-v6" if family == 6 else f"{way}-{side}"


class Child(NamedTuple):
    """The configuration of a CHILD_SA."""

    name: str
    selectors: tuple[tuple[Selector | None, Selector | None], ...]
    """Pairs (ours, theirs); None is the endpoint itself."""
    mark: int
    """0: %unique."""
    dynamic: bool
    """Our selector is the virtual IP, if we have one."""


class Peering(NamedTuple):
    """The configuration of an IKE_SA and the peer that it is with."""

    children: tuple[Child, ...]
    my_id: str
    peer_id: str
    me: IPAddress
    peer: IPAddress
    virtual: bool
    """We ask for a virtual IP."""
    roams: bool


Effect = tuple[object, ...]
"""What a reference does to the host, as far as it can matter which of two is ended."""


class IkeSa:
    def __init__(
        self, peering: Peering, unique_id: int, virtual_ips: tuple[IPAddress, ...]
    ) -> None:
        self.peering = peering
        self.unique_id = unique_id
        self.me, self.peer = peering.me, peering.peer
        self.virtual_ips = virtual_ips
        self.child_sas: list[ChildSa] = []
        self.zombie = False
        """Its peer has left it: nothing but its end can happen to it."""
        self.muddled = False
        """An undecidable choice took its reference for another's, or another's for its."""
        # What the events told of it so far.
        self.heard_id = 0
        self.heard_at = 0
        self.heard_path: tuple[IPAddress, IPAddress] | None = None


class ChildSa:
    def __init__(self, ike_sa: IkeSa, config: Child, mark: Mark) -> None:
        self.ike_sa, self.config, self.mark = ike_sa, config, mark
        self.pairs = [Pair(self, mine, theirs) for mine, theirs in config.selectors]
        self.doubled = False
        """Once rekeyed, and the old one's DELETE got lost: charon calls `down` once more when the
        IKE_SA goes.
        """


class Pair:
    """A pair of selectors of one CHILD_SA: what calls `up` and `down`."""

    def __init__(self, child_sa: ChildSa, mine: Selector | None, theirs: Selector | None) -> None:
        self.child_sa, self.mine, self.theirs = child_sa, mine, theirs
        self.alive = True
        self.reference: int | None = None
        """The truth: what its `down` is to end."""
        self.effect: Effect | None = None

    def event(self, up: bool) -> Event:
        child_sa, ike_sa = self.child_sa, self.child_sa.ike_sa
        mine, theirs = self.mine or HOST[ike_sa.me], self.theirs or HOST[ike_sa.peer]
        family = mine.network.version
        host = self.mine is None
        return Event(
            _verb(up, host, family),
            up,
            family,
            child_sa.config.name,
            ike_sa.unique_id,
            ike_sa.me,
            ike_sa.peer,
            ike_sa.peering.my_id,
            ike_sa.peering.peer_id,
            mine,
            theirs,
            ike_sa.virtual_ips,
            child_sa.mark,
            child_sa.mark,
            None,
            None,
        )


class Life:
    """One charon, at random. `tally` counts what became of its `down`s."""

    def __init__(self, chance: random.Random, records: Records, tally: Counter[str]) -> None:
        self.chance, self.records, self.tally = chance, records, tally
        self.charon = "1 1"
        self.last_id = 0
        self.last_mark = 100
        self.clock = 0
        self.ike_sas: list[IkeSa] = []
        self.holder: dict[int, Pair] = {}
        self.effects: dict[int, Effect] = {}
        self.lost: Counter[Effect] = Counter()
        self.first_heard: dict[int, int] = {}
        self.told: dict[tuple[int, tuple[object, ...]], list[bool]] = {}
        """By unique ID and identity, whether each event heard was an `up`."""
        self.born: dict[int, int] = {}
        """By reference, the unique ID of its `up`."""
        self.ended: dict[tuple[int, tuple[object, ...]], set[int]] = defaultdict(set)
        """By unique ID and identity of a `down`, what `born` says of the references that it ended.
        """
        self.fails = chance.random() < 0.25
        self.doubles = chance.random() < 0.2
        self.loses = chance.random() < 0.2
        self.peerings = self._peerings()

    @property
    def kind(self) -> str:
        """Whether each pair of this life has one `up` and one `down`, or which of them get lost or
        doubled.
        """
        return "some lost" if self.loses else "some doubled" if self.doubles else "balanced"

    # Configuration

    def _peerings(self) -> list[Peering]:
        found: list[Peering] = []
        for number in range(self.chance.randint(1, 4)):
            found += self._connection(f"c{number}")
        return found

    def _connection(self, name: str) -> list[Peering]:
        """One connection, with one peer or two."""
        chance = self.chance
        kind = chance.choice(("site", "site", "host", "client", "gateway", "gateway"))
        mark = chance.choice((0, 1, 2))
        names = [name] * 3 if chance.random() < 0.4 else [f"{name}-{child}" for child in range(3)]
        count = 1 if kind == "host" else chance.choice((1, 1, 2, 3))
        me, peer = chance.choice(HERE), chance.choice(THERE)
        roams = chance.random() < 0.6
        peers = 2 if kind in ("gateway", "host") and chance.random() < 0.4 else 1
        same_id = chance.random() < 0.2
        same_address, dynamic = chance.random() < 0.5, chance.random() < 0.7
        found = []
        for number in range(peers):
            children = []
            for child in range(count):
                theirs: Selector | None
                mine: Selector | None
                pairs = []
                for pair in range(chance.choice((1, 1, 2))):
                    mine, theirs = NETS[child], NETS[3 + pair]
                    if kind == "host":
                        mine, theirs = None, None
                    elif kind == "gateway":
                        theirs = HOST[POOL[number]]
                    if kind not in ("site", "client") and pair:
                        break
                    pairs.append((mine, theirs))
                children.append(Child(names[child], tuple(pairs), mark, dynamic))
            address = peer if same_address else chance.choice(THERE)
            peer_id = "peer" if same_id else f"peer{number}"
            found.append(
                Peering(tuple(children), "me", peer_id, me, address, kind == "client", roams)
            )
        return found

    # What happens

    def run(self) -> None:
        """The life from start to end, its verdicts in the tally."""
        happenings = (
            (self._initiate, 5),
            (self._rekey, 5),
            (self._rekey_child, 1),
            (self._another_child, 3),
            (self._terminate_child, 2),
            (self._terminate, 2),
            (self._break_before_make, 1),
            (self._make_before_break, 3),
            (self._roam, 3),
            (self._restart, 1),
            (self._both_initiate, 1),
            (self._come_back, 2),
            (self._bury, 2),
            (self._die, 0.1),
        )
        names, weights = [name for name, _ in happenings], [weight for _, weight in happenings]
        self._initiate()
        for happening in self.chance.choices(
            names, weights, k=self.chance.randint(2, 2 * STEPS - 2)
        ):
            happening()
        self.chance.shuffle(self.ike_sas)
        while self.ike_sas:
            self._end(self.ike_sas[-1])
        left = Counter(self.effects.values())
        self.tally["leaks"] += sum(
            max(0, count - self.lost[effect]) for effect, count in left.items()
        )
        self.tally["lives"] += 1

    def _some(self, roaming: bool = False) -> IkeSa | None:
        """One of the IKE_SAs that live at both ends."""
        found = [
            one for one in self.ike_sas if not one.zombie and (one.peering.roams or not roaming)
        ]
        return self.chance.choice(found) if found else None

    def _new_id(self) -> int:
        """IKE_SAs that never come to anything have IDs too."""
        self.last_id += 1 + (self.chance.random() < 0.2)
        return self.last_id

    def _establish(self, peering: Peering, like: IkeSa | None = None) -> IkeSa:
        """A new IKE_SA, from where an earlier one has roamed to if there was one."""
        ips: tuple[IPAddress, ...] = ()
        if peering.virtual:
            ips = (
                like.virtual_ips
                if like is not None and self.chance.random() < 0.7
                else (self.chance.choice(POOL),)
            )
        ike_sa = IkeSa(peering, self._new_id(), ips)
        if like is not None:
            ike_sa.me, ike_sa.peer = like.me, like.peer
        self.ike_sas.append(ike_sa)
        return ike_sa

    def _start(self, ike_sa: IkeSa, configs: tuple[Child, ...] | None = None) -> None:
        configs = ike_sa.peering.children if configs is None else configs
        for config in self.chance.sample(configs, len(configs)):
            self._start_child(ike_sa, config)

    def _start_child(self, ike_sa: IkeSa, config: Child) -> None:
        if not config.mark:
            self.last_mark += 1
        child_sa = ChildSa(ike_sa, config, MARKS[config.mark or self.last_mark])
        if ike_sa.virtual_ips and config.dynamic:
            for pair in child_sa.pairs:
                pair.mine = HOST[ike_sa.virtual_ips[0]]
        ike_sa.child_sas.append(child_sa)
        for pair in child_sa.pairs:
            self._up(pair)

    def _end(self, ike_sa: IkeSa) -> None:
        self.ike_sas.remove(ike_sa)
        again = [one for one in ike_sa.child_sas if one.doubled]
        for child_sa in self.chance.sample(ike_sa.child_sas, len(ike_sa.child_sas)):
            self._end_child(child_sa)
        for child_sa in again:
            for pair in child_sa.pairs:
                self._down(pair)

    def _end_child(self, child_sa: ChildSa) -> None:
        child_sa.ike_sa.child_sas.remove(child_sa)
        for pair in child_sa.pairs:
            self._down(pair)

    def _initiate(self) -> None:
        up = [one.peering for one in self.ike_sas]
        down = [one for one in self.peerings if one not in up]
        if down:
            peering = self.chance.choice(down)
            some = self.chance.sample(
                peering.children, self.chance.randint(1, len(peering.children))
            )
            self._start(self._establish(peering), tuple(some))

    def _rekey(self) -> None:
        if (ike_sa := self._some()) is not None:
            ike_sa.unique_id = self._new_id()

    def _rekey_child(self) -> None:
        """No event; but the old one's DELETE may get lost."""
        if self.doubles and (ike_sa := self._some()) is not None and ike_sa.child_sas:
            self.chance.choice(ike_sa.child_sas).doubled = True

    def _another_child(self) -> None:
        """Initiated later, or fired by a trap; now and then it is one that is there already."""
        if (ike_sa := self._some()) is not None:
            there = [one.config for one in ike_sa.child_sas]
            absent = [one for one in ike_sa.peering.children if one not in there]
            if absent or self.chance.random() < 0.15:
                self._start_child(ike_sa, self.chance.choice(absent or ike_sa.peering.children))

    def _terminate_child(self) -> None:
        if (ike_sa := self._some()) is not None and ike_sa.child_sas:
            self._end_child(self.chance.choice(ike_sa.child_sas))

    def _terminate(self) -> None:
        if (ike_sa := self._some()) is not None:
            self._end(ike_sa)

    def _break_before_make(self) -> None:
        if (ike_sa := self._some()) is not None:
            configs = tuple(one.config for one in ike_sa.child_sas)
            self._end(ike_sa)
            self._start(self._establish(ike_sa.peering, ike_sa), configs)

    def _make_before_break(self) -> None:
        """The old one goes at once, or when its DELETE has timed out."""
        if (ike_sa := self._some()) is not None:
            self._start(
                self._establish(ike_sa.peering, ike_sa),
                tuple(one.config for one in ike_sa.child_sas),
            )
            ike_sa.zombie = True
            if self.chance.random() < 0.7:
                self._end(ike_sa)

    def _roam(self) -> None:
        if (ike_sa := self._some(roaming=True)) is not None:
            family = ike_sa.me.version if self.chance.random() < 0.7 else 10 - ike_sa.me.version
            what = self.chance.random()
            if family != ike_sa.me.version or what < 0.6:
                ike_sa.me = self.chance.choice(HERE)
            if family != ike_sa.me.version or what > 0.4:
                ike_sa.peer = self.chance.choice(THERE)

    def _restart(self) -> None:
        """The peer was silent (DPD). charon may make two IKE_SAs in its place, and the later one is
        up first.
        """
        if (ike_sa := self._some()) is not None:
            configs = tuple(one.config for one in ike_sa.child_sas)
            self._end(ike_sa)
            new = [
                self._establish(ike_sa.peering, ike_sa) for _ in range(self.chance.choice((1, 2)))
            ]
            for one in reversed(new):
                one.virtual_ips = new[0].virtual_ips
                self._start(one, configs)

    def _both_initiate(self) -> None:
        """Two IKE_SAs for one peering; the first may go at once."""
        if (ike_sa := self._some()) is not None:
            self._start(self._establish(ike_sa.peering, ike_sa))
            if self.chance.random() < 0.4:
                self._end(ike_sa)

    def _come_back(self) -> None:
        """The peer, or we ourselves, come from a new address while the old IKE_SA is not given up
        yet.
        """
        if (ike_sa := self._some()) is not None:
            ike_sa.zombie = True
            new = self._establish(ike_sa.peering, ike_sa)
            new.virtual_ips = ike_sa.virtual_ips
            if ike_sa.peering.virtual:
                new.me = self.chance.choice(HERE)
            else:
                new.peer = self.chance.choice(THERE)
            self._start(new, tuple(one.config for one in ike_sa.child_sas))

    def _bury(self) -> None:
        zombies = [one for one in self.ike_sas if one.zombie]
        if zombies:
            self._end(self.chance.choice(zombies))

    def _die(self) -> None:
        """charon is killed and started again: no `down`s, and unique IDs from 1."""
        self.ike_sas.clear()
        self.holder.clear()
        self.effects.clear()
        self.first_heard.clear()
        self.told.clear()
        self.lost.clear()
        self.last_id = 0
        self.charon = f"{int(self.charon.split()[0]) + 1} 1"

    # What charon calls, and what is right

    def _hear(self, ike_sa: IkeSa, event: Event, told: tuple[object, ...]) -> None:
        self.clock += 1
        ike_sa.heard_id, ike_sa.heard_at, ike_sa.heard_path = (
            ike_sa.unique_id,
            self.clock,
            (ike_sa.me, ike_sa.peer),
        )
        self.first_heard.setdefault(event.unique_id, self.clock)
        self.told.setdefault((event.unique_id, told), []).append(event.up)

    def _up(self, pair: Pair) -> None:
        if self.loses and self.chance.random() < 0.05:
            return
        holds = not (self.fails and self.chance.random() < 0.1)
        event = pair.event(True)
        told = matching.identity(event)
        number = self.records.up(self.charon, event, holds)
        pair.reference = number
        self.holder[number] = pair
        self.effects[number] = pair.effect = (told, event.me, event.peer, event.virtual_ips, holds)
        self.born[number] = event.unique_id
        self._hear(pair.child_sa.ike_sa, event, told)

    def _down(self, pair: Pair) -> None:
        pair.alive = False
        truth, pair.reference = pair.reference, None
        if self.loses and self.chance.random() < 0.05:
            if truth is not None:
                self.lost[self.effects[truth]] += 1
            return
        event = pair.event(False)
        told = matching.identity(event)
        choice = self.records.down(self.charon, event)
        assert choice is None or choice in self.holder, (
            "a reference of another charon, or one that had ended"
        )
        self.tally["downs"] += 1
        self._judge(pair, choice, truth, event, told)
        self._hear(pair.child_sa.ike_sa, event, told)
        if choice is not None:
            effect = self.effects.pop(choice)
            self.ended[event.unique_id, told].add(self.born[choice])
            del self.holder[choice]
            if choice != truth and effect not in self.effects.values():
                self.tally["outages"] += bool(effect[-1]) and any(
                    one.effect == effect for one in self._pairs()
                )

    def _judge(
        self,
        pair: Pair,
        choice: int | None,
        truth: int | None,
        event: Event,
        told: tuple[object, ...],
    ) -> None:
        verdict = self._verdict(pair, choice, truth, event, told)
        self.tally[verdict] += 1
        if choice in (None, truth):
            return
        victim = self.holder[choice]
        victim.reference = None
        if verdict != "wrong" and truth is not None:
            # The events tell the other story just as well. From now on it is the one that counts.
            self.holder[truth] = victim
            if victim.alive:
                victim.reference = truth

    def _verdict(
        self,
        pair: Pair,
        choice: int | None,
        truth: int | None,
        event: Event,
        told: tuple[object, ...],
    ) -> str:
        if choice == truth:
            return "right"
        if choice is not None and truth is not None and self.effects[choice] == self.effects[truth]:
            self.tally["equal"] += 1
            return "right"
        ike_sas = [
            pair.child_sa.ike_sa,
            *(self.holder[one].child_sa.ike_sa for one in (choice, truth) if one is not None),
        ]
        if self._unseen(choice, event, told) <= self._unseen(truth, event, told):
            for one in ike_sas:
                one.muddled = True
            return "undecidable"
        return "aftermath" if any(one.muddled for one in ike_sas) else "wrong"

    def _unseen(self, reference: int | None, event: Event, told: tuple[object, ...]) -> float:
        """How many things must have happened unseen if `event` ends this reference; infinite where
        it cannot be.

        Rekeys do not count: they are never seen. Two references that need equally many cannot be
        told apart.
        """
        if reference is None:
            return 1  # an `up` or an earlier `down` that was lost, or a `down` too many
        ike_sa = self.holder[reference].child_sa.ike_sa
        if ike_sa.virtual_ips != event.virtual_ips:
            return float("inf")  # they stay for as long as the IKE_SA lives
        first = self.first_heard.get(event.unique_id, self.clock + 1)
        if ike_sa.heard_id != event.unique_id and (
            ike_sa.heard_id > event.unique_id or ike_sa.heard_at > first
        ):
            return float("inf")  # it spoke under its own ID when the event's was in use by another
        roamed = ike_sa.heard_path != (event.me, event.peer)
        key = event.unique_id, told
        heard = self.told.get(key)
        # That ID has had as many `down`s as `up`s: the IKE_SA had this CHILD_SA once more, started
        # under another ID.
        twice = (
            heard is not None
            and 2 * sum(heard) <= len(heard)
            and self.born[reference] not in self.ended[key]
        )
        return roamed + twice

    def _pairs(self) -> list[Pair]:
        return [
            pair
            for ike_sa in self.ike_sas
            for child_sa in ike_sa.child_sas
            for pair in child_sa.pairs
            if pair.alive
        ]


COLUMNS = (
    "lives",
    "downs",
    "right",
    "equal",
    "undecidable",
    "aftermath",
    "wrong",
    "outages",
    "leaks",
)
Tallies = dict[str, Counter[str]]


def run(
    lives: int, seed: int, records: Callable[[], Records] = InMemory, first: int = 0
) -> Tallies:
    """What became of the `down`s of `lives` lives, by the kind of life.

    The same seed gives the same lives.
    """
    tallies: Tallies = {}
    for number in range(first, first + lives):
        tally: Counter[str] = Counter()
        life = Life(random.Random(f"{seed}/{number}"), records(), tally)
        life.run()
        tallies.setdefault(life.kind, Counter()).update(tally)
    return tallies


def table(tallies: Tallies) -> str:
    rows: list[tuple[str, ...]] = [("events", *COLUMNS)]
    rows += [
        (kind, *(f"{tally[column]:,}" for column in COLUMNS))
        for kind, tally in sorted(tallies.items())
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def main(lives: int = 20_000, seed: int = 1) -> None:
    share = 2_000
    tallies: Tallies = defaultdict(Counter)
    with multiprocessing.Pool() as pool:
        shares = [
            (min(share, lives - first), seed, InMemory, first) for first in range(0, lives, share)
        ]
        for part in pool.starmap(run, shares):
            for kind, tally in part.items():
                tallies[kind].update(tally)
    print(f"seed {seed}")
    print(table(tallies))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
