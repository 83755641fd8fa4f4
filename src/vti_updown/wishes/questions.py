"""What a plan asks of the kernel and the records, and how it says no. It knows neither of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from ..addresses import IPAddress, IPNetwork
from ..named_tuple import NamedTuple
from ..objects.address import Address
from ..objects.link import Link
from ..objects.route import HostRoutes, OuterPacket, Route
from ..text import Refusal


class PlanError(Refusal):
    """An event that cannot have a tunnel: nothing of it is set up."""


class LinkName(NamedTuple):
    """The name that a link shall have."""

    name: str
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
