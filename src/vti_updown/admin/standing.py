"""`prepare` and `release`: what stands while no CHILD_SA does, as `when_down` says.

Each prints the commands that it stood for.
"""

from collections.abc import Collection, Mapping
from ipaddress import ip_network

from .. import processes
from ..addresses import IPAddress, address_in
from ..constants import UINT32_MAX
from ..event import Event, Mark, Selector
from ..hook.ask import Ask
from ..hook.begin import Change, Move
from ..kernel.kernel import Kernel
from ..named_tuple import NamedTuple
from ..objects.address import Address
from ..objects.link import Link
from ..objects.object import Object
from ..objects.route import Route
from ..reconcile.reconcile import Result
from ..records.matching import Caller
from ..records.matching import caller as caller_of
from ..records.records import Records
from ..records.references import References
from ..settings.table import Settings, SettingsError
from ..text import Refusal, shown
from ..wishes.plan import Plan, plan
from .outcome import Outcome
from .session import Session, session
from .tunnels import tunnels

EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}

SettingsByName = Mapping[str, Settings | SettingsError]
"""The settings of each table that is one connection's, or its fault, by the connection's name."""


def prepare(
    settings_of: SettingsByName,
    connections: Collection[str],
    is_dry_run: bool = False,
) -> Outcome:
    """Sets up what stands while no CHILD_SA does.

    It does so for these connections or, with none, for all whose `when_down` says so. One that
    cannot be prepared is left as it was, and the others are prepared. Raises Refusal if the records
    cannot be had.
    """
    names = list(connections)
    if not names:
        names = _names_that_stand(settings_of)
    with session("prepare", is_dry_run) as work:

        def stand(name: str, records: Records) -> Result:
            settings = _settings_that_stand(name, settings_of)
            try:
                return _prepared(name, settings, work, records)
            except Refusal as refusal:
                what = f"{shown(name)}: {refusal.message}"
                raise Refusal(what, refusal.hint, refusal.status) from None

        work.each(names, stand)
        return work.outcome("nothing to prepare")


def _prepared(
    name: str,
    settings: Settings,
    work: Session,
    records: Records,
) -> Result:
    preparation = _Preparation(work.kernel, records)
    preparation.add(name, settings)
    change = preparation.change()
    result = work.settle(change, records)
    for note in preparation.notes:
        work.note(note)
    return result


def _names_that_stand(settings_of: SettingsByName) -> list[str]:
    names = []
    for name, settings in settings_of.items():
        # Nobody knows what a table that is wrong says, so that is told.
        if isinstance(settings, SettingsError) or settings.when_down != "remove":
            names.append(name)
    return names


def _settings_that_stand(name: str, settings_of: SettingsByName) -> Settings:
    """Raises Refusal if there are none."""
    settings = settings_of.get(name)
    if settings is None:
        what = f"the settings have no table [connection.{shown(name)}]"
        raise Refusal(what, "see vti-updown check-config")
    if isinstance(settings, SettingsError):
        raise settings
    if settings.when_down == "remove":
        what = f"{shown(name)}: when_down is remove, so nothing stands"
        raise Refusal(what, "make it keep or block in the settings")
    return settings


class _Planned(NamedTuple):
    """What is to stand for the events of one family."""

    family: int
    caller: Caller
    plan: Plan

    @property
    def stands(self) -> bool:
        """Whether something does: rules and sysctls are nothing without a link or a route."""
        return any(isinstance(wish, Link | Route) for wish in self.plan.standing)


class _Preparation:
    """What `prepare` changes in the records for one connection."""

    def __init__(self, kernel: Kernel, records: Records) -> None:
        self._kernel = kernel
        self._records = records
        self._own: list[str] = []
        self._adds: list[int] = []
        self._replaces: list[int] = []
        self._moved: dict[Move, list[str]] = {}
        """Links that have other endpoints from now on, with the keys of what is on them."""
        self.notes: list[str] = []
        """What to tell the user."""

    def add(self, name: str, settings: Settings) -> None:
        """Records what is to stand for the connection. Raises Refusal if nothing can."""
        references = self._records.references
        for planned in self._planned(name, settings):
            caller = planned.caller
            source = self._source(planned, settings)
            standing = [_with_source(wish, source) for wish in planned.plan.standing]
            self._replaces += references.standing(caller)
            number = references.stand(name, caller, standing)
            self._adds.append(number)
            self._own += [wish.key for wish in standing]

    def _source(self, planned: _Planned, settings: Settings) -> IPAddress | None:
        """The preferred source of the routes. None if the kernel's own choice is as good.

        Only an event tells the local selector. Until then it is the one private address that this
        host has beside its uplink's, as a gateway has in its LAN.
        """
        if settings.vrf or settings.netns:
            return None
        if any(isinstance(wish, Address) for wish in planned.plan.standing):
            return None  # The kernel takes that of the link itself.
        outside = settings.remote
        if outside is None or outside.is_unspecified:
            outside = address_in(ip_network(EVERYTHING[planned.family]))
        return self._kernel.lookup.inner_address(planned.family, outside)

    def change(self) -> Change:
        """What all of this does to the references."""
        keys = list(self._own)
        for on_moved in self._moved.values():
            keys += on_moved
        different = dict.fromkeys(keys)
        return Change(
            keys=list(different),
            reference=None,
            own=tuple(self._own),
            adds=tuple(self._adds),
            replaces=tuple(self._replaces),
            moved=tuple(self._moved),
        )

    def _planned(self, name: str, settings: Settings) -> list[_Planned]:
        """What is to stand for a connection, by family."""
        planned: list[_Planned] = []
        for family in (4, 6):
            event = event_asleep(name, settings, family)
            caller = caller_of(processes.BY_HAND, event)
            wished = self._plan(event, caller, settings)
            one_family = _Planned(family, caller, wished)
            if one_family.stands:
                planned.append(one_family)
        if not planned:
            raise Refusal("there is no route to block", "list its routes in the settings")
        self.notes += _notes_of(name, settings, planned)
        return planned

    def _plan(
        self,
        event: Event,
        caller: Caller,
        settings: Settings,
    ) -> Plan:
        ask = Ask(caller, settings, self._records, self._kernel)
        wished = plan(event, settings, ask)
        for old, new in wished.moved:
            self._moved[old, new] = self._records.move(old.key, new)
        return wished


def _with_source(wish: Object, source: IPAddress | None) -> Object:
    """A route through a link with this preferred source, if it has none."""
    if isinstance(wish, Route) and wish.link_key and wish.source is None:
        return wish._replace(source=source)
    return wish


def _notes_of(
    name: str,
    settings: Settings,
    planned: Collection[_Planned],
) -> list[str]:
    """What to tell the user of a connection, each note once."""
    if settings.routes is None:
        unknown = "routes = auto is known only once the CHILD_SA is up; list them"
        return [f"{shown(name)}: {unknown}"]
    notes: list[str] = []
    for each in planned:
        notes += each.plan.notes
    different = dict.fromkeys(notes)
    return list(different)


def event_asleep(
    name: str,
    settings: Settings,
    family: int,
) -> Event:
    """What an `up` of this connection would say, as far as the settings know."""
    network = ip_network(EVERYTHING[family])
    everything = Selector(network, protocol=0, port="0")
    mark_in, mark_out = settings.mark or (None, None)
    if_id_in, if_id_out = settings.if_id or (None, None)
    return Event(
        verb="prepare",
        up=True,
        family=family,
        connection=name,
        unique_id=0,
        me=settings.local,
        peer=settings.remote,
        my_id="",
        peer_id="",
        my_selector=everything,
        peer_selector=everything,
        virtual_ips=(),
        mark_in=_whole_mark(mark_in),
        mark_out=_whole_mark(mark_out),
        if_id_in=if_id_in,
        if_id_out=if_id_out,
    )


def _whole_mark(value: int | None) -> Mark | None:
    if value is None:
        return None
    return Mark(value, UINT32_MAX)


def release(
    connections: Collection[str],
    is_dry_run: bool = False,
) -> Outcome:
    """Lets go of what stands while no CHILD_SA does.

    It does so for these connections or, with none, for all. What is up stays up. Raises Refusal,
    with nothing changed, for a connection that nothing stands for.
    """
    released = {shown(connection) for connection in connections}
    with session("release", is_dry_run) as work:
        copy = work.look()
        standing = copy.references.stood()
        names = {name for _, name in standing}
        _refuse_unknown(connections, names)
        numbers = _numbers_of(released, copy.references)
        parts = tunnels(numbers, copy.references)
        copy.close()

        def let_go(numbers: list[int], records: Records) -> Result:
            still = _numbers_of(released, records.references)
            stands = [number for number in numbers if number in still]
            return _let_go(stands, work, records)

        work.each(parts, let_go)
        return work.outcome("nothing to release")


def _numbers_of(released: Collection[str], references: References) -> list[int]:
    """The references that stand for these connections, or with none, for any."""
    numbers = []
    for number, name in references.stood():
        if not released or name in released:
            numbers.append(number)
    return numbers


def _let_go(
    numbers: list[int],
    work: Session,
    records: Records,
) -> Result:
    """Takes away what these wish for. Each stays, without a wish, until that has gone.

    So what could not be taken away can be released once more.
    """
    references = records.references
    keys: list[str] = []
    for number in numbers:
        keys += references.drop_wishes(number) or _left_over(records)
    result = work.reconcile(keys, records)
    if result.failed.isdisjoint(keys):
        for number in numbers:
            references.end(number)
        records.commit()
    return result


def _left_over(records: Records) -> list[str]:
    """The keys of what could not be taken away when it was released before."""
    unsure = records.applied.unsure()
    wished = records.references.wished(unsure)
    return [key for key in unsure if key not in wished]


def _refuse_unknown(connections: Collection[str], names: set[str]) -> None:
    """`names` are those of the connections that something stands for."""
    for connection in connections:
        name = shown(connection)
        if name in names:
            continue
        known = ", ".join(sorted(filter(None, names)))
        hint = "there is nothing to release"
        if known:
            hint = f"something stands for: {known}"
        raise Refusal(f"nothing stands for {name}", hint)
