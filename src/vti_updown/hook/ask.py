"""The plan's questions, answered from the kernel and the records. It changes nothing."""

from collections.abc import Iterable

from ..addresses import IPAddress, IPNetwork
from ..kernel import namespace
from ..kernel.kernel import Kernel
from ..objects.address import Address
from ..objects.link import Link
from ..objects.route import HostRoutes, OuterPacket, Route
from ..records import matching
from ..records.matching import Caller
from ..records.records import Records
from ..records.references import STANDING, Holder
from ..settings.table import Settings
from ..settings.values import is_pattern
from ..text import shown
from ..wishes.questions import LinkName, PlanError, Questions, Reason

NAME_KEPT = Reason("the link has its name already, or had it", ("name",))
NAME_CHOSEN = Reason("", ("name",))
NAME_MOVED = Reason("our link of this name gets these endpoints, and stays", ("name",))
NAME_FREE = Reason("the first of its names that is free", ("name",))


class Ask(Questions):
    """Answers the questions of one connection's plan."""

    def __init__(
        self,
        caller: Caller,
        settings: Settings,
        records: Records,
        kernel: Kernel,
    ) -> None:
        self._caller = caller
        self._settings = settings
        self._applied = records.applied
        self._references = records.references
        self._kernel = kernel

    # The name of a link

    def link_name(
        self,
        link: Link,
        defaults: Iterable[str],
        chosen: str | None,
    ) -> LinkName:
        kept = self._name_that_it_has(link)
        if kept is not None:
            return LinkName(kept, NAME_KEPT)
        if chosen is not None:
            given = self._chosen_name(link, chosen)
            if given is not None:
                return given
        free = self._first_free_name(link, defaults)
        return LinkName(free, NAME_FREE)

    def _name_that_it_has(self, link: Link) -> str | None:
        """The name of a link that is there, or was.

        None if it was taken away, and another link has the name by now.
        """
        recorded = self._applied.of([link.key])
        applied = recorded.get(link.key)
        if applied is None or not isinstance(applied.object, Link):
            return None
        name = applied.object.name
        if self._kernel.is_there(applied):
            return name
        if self._exists(name, link):
            return None
        return name

    def _chosen_name(self, link: Link, chosen: str) -> LinkName | None:
        """The name that the user chose. None if a link of ours has it that is about to go."""
        observe = self._kernel.observe(link.netns)
        if not observe.link_exists(chosen):
            return LinkName(chosen, NAME_CHOSEN)
        same = observe.same_link(link)
        if same is not None and isinstance(same.object, Link):
            return LinkName(same.object.name, NAME_KEPT)
        old = self._movable(link, chosen)
        if old is not None:
            return LinkName(chosen, NAME_MOVED, moved=old)
        if not observe.is_ours(chosen):
            what = f"the name {shown(chosen)} is taken by another link"
            raise PlanError(what, "choose another --name, such as vpn{uniqueid}")
        # An old tunnel of ours has it still, and this one must not wait for that to go.
        return None

    def _first_free_name(self, link: Link, names: Iterable[str]) -> str:
        free = (name for name in names if not self._exists(name, link))
        return next(free)

    def _exists(self, name: str, link: Link) -> bool:
        observe = self._kernel.observe(link.netns)
        return observe.link_exists(name)

    def _movable(self, link: Link, name: str) -> Link | None:
        """The link of this name, if only this connection with this peer holds it.

        Its endpoints have changed, then.
        """
        old = self._applied.named(name, link.netns)
        if old is None:
            return None
        if old.kind != link.kind:
            return None
        for holder in self._references.holders(old.key):
            if not self._is_this_connection(holder):
                return None
        return old

    def _is_this_connection(self, holder: Holder) -> bool:
        if holder.charon == STANDING:
            name = held_as(self._caller.connection, self._settings)
            return holder.connection == shown(name)
        return matching.same_but_for_mark(self._caller.identity, holder.identity)

    # Addresses and routes

    def source(self, link_key: str, network: IPNetwork) -> IPAddress | None:
        def is_of_another_tunnel(ip: IPAddress) -> bool:
            return self._applied.elsewhere(str(ip), link_key)

        return self._kernel.lookup.source(network, is_of_another_tunnel)

    def next_hop(self, packet: OuterPacket) -> IPAddress | None:
        return self._kernel.lookup.next_hop(packet)

    def host_routes(self, route: Route) -> HostRoutes:
        observe = self._kernel.observe(route.netns)
        return observe.host_routes(route.destination, route.table)

    def is_own_address(self, ip: IPAddress) -> bool:
        return self._kernel.lookup.is_own_address(ip)

    def name_servers(self) -> tuple[IPAddress, ...]:
        return self._kernel.lookup.name_servers()

    def our_address(self, link_key: str, ip: IPAddress) -> Address | None:
        on_link = self._applied.beside([link_key], ())
        for applied in on_link:
            if not isinstance(applied, Address):
                continue
            if applied.address.ip == ip:
                return applied
        return None

    def path_mtu(self, packet: OuterPacket) -> int | None:
        return self._kernel.lookup.path_mtu(packet)

    def has_rule_to(self, table: int, family: int) -> bool:
        return self._kernel.lookup.has_rule_to(table, family)

    # What the settings name

    def vrf_table(self, name: str) -> int:
        table = self._kernel.lookup.vrf_table(name)
        if table is None:
            vrf = shown(name)
            what = f"there is no VRF {vrf}"
            hint = f"make it: ip link add {vrf} type vrf table NUMBER"
            raise PlanError(what, hint)
        return table

    def namespace(self, name: str) -> str:
        if not namespace.exists(name):
            message, hint = namespace.missing(name)
            raise PlanError(message, hint)
        names = namespace.namesakes(name)
        if len(names) > 1 and namespace.OWN not in names:
            recorded = self._applied.namespaces()
            names = [each for each in names if each in recorded] or names
        first, *_ = names
        return first


def held_as(connection: str, settings: Settings) -> str:
    """The name by which a standing reference is released.

    It is the table of the settings if that is one connection's, else the connection's own name.
    """
    section = settings.section
    if not section or is_pattern(section):
        return connection
    return section
