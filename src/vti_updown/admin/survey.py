"""What is there, looked at once: the records, the kernel, charon and the settings, by tunnel.

It changes nothing, and holds no lock. An event may be at work meanwhile, so whoever finds something
wrong looks again: see `tunnel_status`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing

from .. import processes as callers
from ..hook.late import adopt_lost
from ..kernel import namespace
from ..kernel.counters import Counted, Counters
from ..kernel.kernel import Kernel
from ..kernel.namespace import OWN
from ..named_tuple import NamedTuple
from ..objects.link import Link
from ..objects.object import Applied, Object
from ..objects.registry import Step, commands
from ..records.late import LateEvents
from ..records.matching import ADOPTED
from ..records.records import Records, copied
from ..records.references import STANDING, Reference
from ..text import shown
from ..vici.ask import Answer
from ..vici.sas import ChildSa, IkeSa
from .configured import Configured

ALIAS = "vti-updown "
"""What the alias of our links begins with, before the connection's name."""
NAMELESS = "?"
"""The name of what is on no link, if its records were lost."""


class Sa(NamedTuple):
    """A CHILD_SA, and the IKE_SA that it is of."""

    ike: IkeSa
    child: ChildSa
    charon: str = ""
    """What the records call its charon. Empty if that is not known."""

    @property
    def name(self) -> str:
        """Its name as the records have it: escaped, and cut if it is long."""
        return shown(self.child.name)

    @property
    def peer(self) -> str:
        return shown(self.ike.remote_host or "")


class Part(NamedTuple):
    """One object of a tunnel."""

    wished: Object
    """As it should be: merged from all wishes for its key, or as it was applied."""
    applied: Applied | None
    """None if it is not in the kernel for us: not yet, or somebody else's does its work."""
    there: Object | None
    """As it is in the kernel. None if it is gone, or a link that is set down."""
    fault: str = ""
    """What was said when it could not be done. Empty: nothing."""
    is_set_down: bool = False
    """Whether it is a link that is there, and set down."""

    @property
    def key(self) -> str:
        return self.wished.key


class Tunnel(NamedTuple):
    """What is there by one connection's name, on one link or, with two if_ids, on two."""

    name: str
    """Of the connection, as charon calls the CHILD_SA."""
    references: tuple[Reference, ...]
    """Those that are up, and those that stand, the oldest first."""
    links: tuple[Part, ...]
    """Each is a Link. None if nothing was set up for it."""
    parts: tuple[Part, ...]
    """All of its objects, links first."""
    sas: tuple[Sa, ...]
    """Its live CHILD_SAs, as far as charon tells."""
    others: tuple[str, ...] = ()
    """The names of other connections that have wishes for its links."""
    failed: int = 0
    """How many of its ups have set nothing up."""
    only: Configured | None = None
    """What it is, if it is configured, and nothing is there."""

    @property
    def up(self) -> list[Reference]:
        """What came up and has not gone down yet."""
        return [each for each in self.references if each.charon != STANDING]

    @property
    def standing(self) -> list[Reference]:
        return [each for each in self.references if each.charon == STANDING]


class Survey(NamedTuple):
    """All that was seen."""

    tunnels: tuple[Tunnel, ...]
    counters: Mapping[str, Counters]
    """What the kernel has counted on each link, by the link's key."""
    out_of_sight: Mapping[str, str]
    """Why a namespace cannot be looked into, by its name."""
    gone_namespaces: frozenset[str]
    """The names of namespaces that something was put into, and that are no more."""
    leftovers: tuple[Part, ...]
    """What nobody wishes for any more, and could not be taken away yet."""
    waiting: int
    """How many events wait for the records."""
    were_lost: bool
    """Whether there were no records of links that the kernel has of ours."""
    left_alone: tuple[str, ...]
    """What to tell of links of another vti-updown."""


Answers = Sequence[Answer]


def survey(kernel: Kernel, answers: Answers) -> Survey:
    """Looks at all there is. Raises RecordsError where the records cannot be read."""
    with closing(copied(kernel.identity())) as records:
        was_empty = records.is_fresh
        adopt_lost(callers.BY_HAND, records, kernel)
        look = _Look(records, kernel)
        tunnels = look.tunnels()
        were_lost = was_empty and bool(tunnels)
        joined = _with_sas(tunnels, answers)
        kernel.look_for_others()
        return Survey(
            tunnels=tuple(joined),
            counters=look.counters(),
            out_of_sight=look.out_of_sight(),
            gone_namespaces=look.gone_namespaces(),
            leftovers=look.leftovers(tunnels),
            waiting=len(LateEvents(kernel.identity()).names()),
            were_lost=were_lost,
            left_alone=tuple(kernel.left_alone()),
        )


Place = tuple[str, ...]
"""A connection's name, and the keys of its links."""


class _Look:
    """The records and the kernel, read as a whole: a host may have thousands of tunnels."""

    def __init__(
        self,
        records: Records,
        kernel: Kernel,
    ) -> None:
        self._kernel = kernel
        keys = records.every_key()
        self._references = records.references.listed()
        self._wishes = records.references.every_wish()
        self._wished = records.references.wished(keys)
        self._applied = records.applied.of(keys)
        self._faults = records.applied.faults(keys)
        self._there = kernel.there(self._applied)
        self._counted = self._count()
        self._name_links()
        self._holders: dict[str, dict[str, None]] = {}
        """The names of the connections that have a wish for each link, by its key."""

    def tunnels(self) -> list[Tunnel]:
        by_tunnel: dict[Place, list[Reference]] = {}
        for reference in self._references:
            name = _name_of(reference)
            links = self._links_of(reference)
            by_tunnel.setdefault((name, *links), []).append(reference)
            for key in links:
                self._holders.setdefault(key, {})[name] = None
        return [
            self._tunnel(name, link_keys, references)
            for (name, *link_keys), references in _joined(by_tunnel).items()
        ]

    def _links_of(self, reference: Reference) -> list[str]:
        wishes = self._wishes.get(reference.number, [])
        return [wish.key for wish in wishes if isinstance(wish, Link)]

    def _tunnel(
        self,
        name: str,
        link_keys: Collection[str],
        references: Sequence[Reference],
    ) -> Tunnel:
        different: dict[str, Object] = {}
        for reference in references:
            for wish in self._wishes.get(reference.number, []):
                different[wish.key] = wish
        parts = [self._part(key, wish) for key, wish in different.items() if self._counts(key)]
        others: dict[str, None] = {}
        for key in link_keys:
            others |= self._holders[key]
        others.pop(name, None)
        parts.sort(key=_links_first)
        return Tunnel(
            name=name,
            references=tuple(references),
            links=tuple(part for part in parts if isinstance(part.wished, Link)),
            parts=tuple(parts),
            sas=(),
            others=tuple(others),
            failed=sum(self._has_failed(reference) for reference in references),
        )

    def _has_failed(self, reference: Reference) -> bool:
        return reference.charon != STANDING and reference.number not in self._wishes

    def _counts(self, key: str) -> bool:
        """Whether it is wished for at all, as what must come with something else may not be."""
        return key in self._wished or key in self._applied

    def _part(
        self,
        key: str,
        wish: Object,
    ) -> Part:
        return Part(
            wished=self._wished.get(key, wish),
            applied=self._applied.get(key),
            there=self._there.get(key),
            fault=self._faults.get(key, ""),
            is_set_down=self._is_set_down(key),
        )

    def _is_set_down(self, key: str) -> bool:
        was = self._applied.get(key)
        if was is None or not isinstance(was.object, Link) or key in self._there:
            return False
        return not self._kernel.out_of_sight(was.object.netns) and self._kernel.is_there(was)

    def leftovers(self, tunnels: Collection[Tunnel]) -> tuple[Part, ...]:
        keys = dict.fromkeys(self._applied)
        for tunnel in tunnels:
            for part in tunnel.parts:
                keys.pop(part.key, None)
        return tuple(self._part(key, self._applied[key].object) for key in keys)

    def counters(self) -> dict[str, Counters]:
        return {key: link.counters for key, link in self._counted.items()}

    def _count(self) -> dict[str, Counted]:
        """What is counted on each link that is there, by its key."""
        counted: dict[str, Counted] = {}
        by_netns: dict[str, Mapping[int, Counted]] = {}
        for key, was in self._applied.items():
            if not isinstance(was.object, Link) or was.ifindex is None or key not in self._there:
                continue
            netns = was.object.netns
            if netns not in by_netns:
                by_netns[netns] = self._kernel.counters(netns)
            if was.ifindex in by_netns[netns]:
                counted[key] = by_netns[netns][was.ifindex]
        return counted

    def _name_links(self) -> None:
        """Each link that is there has the name that it has by now: a user may rename it."""
        for key, counted in self._counted.items():
            link = self._there[key]
            assert isinstance(link, Link)
            self._there[key] = link._replace(name=counted.name)

    def _namespaces(self) -> set[str]:
        return {was.object.netns for was in self._applied.values()}

    def out_of_sight(self) -> dict[str, str]:
        troubles = {netns: self._kernel.out_of_sight(netns) for netns in self._namespaces()}
        return {netns: why for netns, why in troubles.items() if why}

    def gone_namespaces(self) -> frozenset[str]:
        names = self._namespaces() - {OWN}
        return frozenset(name for name in names if not namespace.exists(name))


def _name_of(reference: Reference) -> str:
    """The connection's name. Of what was adopted, the alias of its link has it."""
    if reference.identity == ADOPTED:
        return shown(reference.connection.removeprefix(ALIAS)) or NAMELESS
    return reference.connection


def _joined(by_tunnel: Mapping[Place, list[Reference]]) -> dict[Place, list[Reference]]:
    """Each that has no link goes with one of its name that has: such as one that failed."""
    with_link: dict[str, Place] = {}
    for name, *links in by_tunnel:
        if links:
            with_link.setdefault(name, (name, *links))
    joined: dict[Place, list[Reference]] = {}
    for place, references in by_tunnel.items():
        name, *links = place
        whole = place if links else with_link.get(name, place)
        joined.setdefault(whole, []).extend(references)
    return joined


def _links_first(part: Part) -> bool:
    return not isinstance(part.wished, Link)


def commands_of(part: Part, tunnel: Tunnel) -> list[str]:
    """The commands that an object stands for, as if it were put now."""
    ifnames = {}
    for each in tunnel.links:
        link = each.there or each.wished
        assert isinstance(link, Link)
        ifnames[each.key] = link.name
    return commands(Step(None, part.wished), ifnames)


# The SAs of each tunnel


def _with_sas(tunnels: Sequence[Tunnel], answers: Answers) -> list[Tunnel]:
    """The tunnels with their SAs, and those of which charon alone knows."""
    places = _Places(tunnels)
    unknown: dict[str, list[Sa]] = {}
    unsure: list[Sa] = []
    for answer in answers:
        for sa in _live(answer):
            if not places.put(sa):
                unsure.append(sa)
    for sa in unsure:
        if not places.put_anywhere(sa):
            unknown.setdefault(sa.name, []).append(sa)
    joined = []
    for tunnel, sas in zip(tunnels, places.sas, strict=True):
        joined.append(tunnel._replace(sas=tuple(sas)))
    for name, theirs in unknown.items():
        joined.append(
            Tunnel(
                name=name,
                references=(),
                links=(),
                parts=(),
                sas=tuple(theirs),
            )
        )
    return joined


def _live(answer: Answer) -> Iterator[Sa]:
    """The CHILD_SAs that carry packets. No hook is called for one that is for a single CPU."""
    for ike in answer.sas or ():
        for child in ike.children:
            if child.is_live and child.cpu is None:
                yield Sa(ike, child, answer.charon.who)


class _Places:
    """Which tunnel an SA is of, by the name and what tells packets apart.

    Several tunnels may have both in common, such as road warriors with a VTI each. Of those it is
    the one that has the unique ID on record, or the endpoints. Both may have changed since, by a
    rekey and by MOBIKE. Then it is one that has no other SA.
    """

    def __init__(self, tunnels: Sequence[Tunnel]) -> None:
        self.sas: list[list[Sa]] = [[] for _ in tunnels]
        """Those of each tunnel."""
        self._sure: dict[tuple[object, ...], int] = {}
        self._possible: dict[tuple[object, ...], list[int]] = {}
        for place, tunnel in enumerate(tunnels):
            for reference in tunnel.up:
                by_id = (tunnel.name, reference.charon, reference.unique_id)
                self._sure[by_id] = place
            for part in tunnel.links:
                link = part.wished
                assert isinstance(link, Link)
                apart = _apart_by(link)
                self._sure[tunnel.name, apart, str(link.remote)] = place
                self._possible.setdefault((tunnel.name, apart), []).append(place)

    def put(self, sa: Sa) -> bool:
        """Puts an SA to the tunnel that it is surely of, and says whether there is one."""
        keys: list[tuple[object, ...]] = [(sa.name, sa.charon, sa.ike.unique_id)]
        for apart in sas_apart_by(sa.child):
            keys.append((sa.name, apart, sa.ike.remote_host))
        for key in keys:
            if key in self._sure:
                self.sas[self._sure[key]].append(sa)
                return True
        return False

    def put_anywhere(self, sa: Sa) -> bool:
        """Puts an SA to a tunnel that it may be of, and says whether there is one."""
        for apart in sas_apart_by(sa.child):
            possible = self._possible.get((sa.name, apart), [])
            while len(possible) > 1 and self.sas[possible[-1]]:
                possible.pop()
            if possible:
                self.sas[possible[-1]].append(sa)
                return True
        return False


def _apart_by(link: Link) -> tuple[str, int]:
    """What tells the packets of a link apart."""
    if link.of_kind.keyed_by == "if_id":
        return "if_id", link.if_id
    return "mark", link.okey or link.ikey


def sas_apart_by(child: ChildSa) -> list[tuple[str, int]]:
    """What tells the packets of a CHILD_SA apart, in the same words. Empty: nothing does."""
    apart = []
    for if_id in (child.if_id_out, child.if_id_in):
        if if_id:
            apart.append(("if_id", if_id))
    for mark in (child.mark_out, child.mark_in):
        if mark is not None:
            value, _ = mark
            apart.append(("mark", value))
    return apart
