"""What a plan asks of the kernel and the records, and how it says why and no.

It knows neither of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TypeVar

from ..addresses import IPAddress, IPNetwork
from ..named_tuple import NamedTuple
from ..objects.address import Address
from ..objects.link import Link
from ..objects.object import Object
from ..objects.route import HostRoutes, OuterPacket, Route
from ..text import Refusal


class PlanError(Refusal):
    """An event that cannot have a tunnel: nothing of it is set up."""


class Reason(NamedTuple):
    """Why something is wished for, or is not. Only `explain` makes a text of it."""

    rule: str
    """A rule in words, with `{}` for each of the values. It is empty if the settings say it all."""
    settings: tuple[str, ...] = ()
    """The keys of the settings that it goes by."""
    values: tuple[object, ...] = ()


Wish = TypeVar("Wish", bound=Object)


class Reasons:
    """Why a plan wishes for each of its objects, kept as the plan finds it."""

    def __init__(self) -> None:
        self._given: list[tuple[Object, tuple[Reason, ...]]] = []
        self.left_out: list[tuple[object, Reason]] = []
        """What the settings have and the plan does not wish for, and why."""

    def of(self, wish: Wish, *reasons: Reason) -> Wish:
        """Keeps the reasons of a wish, beside those that it has already. Returns the wish."""
        self._given.append((wish, reasons))
        return wish

    def leave_out(self, what: object, reason: Reason) -> None:
        """Keeps why something of the settings is not wished for."""
        self.left_out.append((what, reason))

    def by_key(self) -> dict[str, list[Reason]]:
        """All reasons for each key, each reason once."""
        by_key: dict[str, list[Reason]] = {}
        for wish, reasons in self._given:
            known = by_key.setdefault(wish.key, [])
            known += [reason for reason in reasons if reason not in known]
        return by_key


class LinkName(NamedTuple):
    """The name that a link shall have."""

    name: str
    reason: Reason
    """Why it is this one."""
    moved: Link | None = None
    """Our link that has this name with other endpoints, and is to be changed into this one."""


class Questions(ABC):
    """Who answers holds the lock, and changes nothing."""

    @abstractmethod
    def link_name(
        self,
        link: Link,
        defaults: Iterable[str],
        chosen: str | None,
    ) -> LinkName:
        """The name of this link, whose own is empty.

        It is what it has if it is there, else the one that the user chose, else the first of
        `defaults` that is free. Raises PlanError if another's link has the chosen one.
        """

    @abstractmethod
    def source(self, link_key: str, network: IPNetwork) -> IPAddress | None:
        """An address of this host within the network, for a route through the link with this key.

        An address of another tunnel's counts only if the network is about that.
        """

    @abstractmethod
    def next_hop(self, packet: OuterPacket) -> IPAddress | None:
        """The gateway that a packet of the tunnel takes."""

    @abstractmethod
    def host_routes(self, route: Route) -> HostRoutes:
        """What the host routes in a route's table and namespace, as far as it is about its network.

        Routes of ours, and those through our links, are not the host's.
        """

    @abstractmethod
    def is_own_address(self, ip: IPAddress) -> bool:
        """Whether packets to an address stay on this host."""

    @abstractmethod
    def name_servers(self) -> tuple[IPAddress, ...]:
        """The addresses that this host asks for names."""

    @abstractmethod
    def our_address(self, link_key: str, ip: IPAddress) -> Address | None:
        """The address of this link that we have put there ourselves, if it is this one."""

    @abstractmethod
    def path_mtu(self, packet: OuterPacket) -> int | None:
        """Bytes that a packet of the tunnel may have. None if it reaches nobody."""

    @abstractmethod
    def has_rule_to(self, table: int, family: int) -> bool:
        """Whether any rule looks up this table. `family` is 4 or 6."""

    @abstractmethod
    def vrf_table(self, name: str) -> int:
        """The table of a VRF by its name. Raises PlanError if there is none."""

    @abstractmethod
    def namespace(self, name: str) -> str:
        """The one name that a network namespace has with us, by any of its names.

        It is empty for charon's own. Raises PlanError if there is none of this name.
        """
