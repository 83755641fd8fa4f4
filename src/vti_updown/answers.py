"""What a plan has to ask of the kernel and the records, and how it says no. It knows neither of them."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from .errors import Refusal
from .event import IPAddress, IPNetwork
from .state import Address, Link


class PlanError(Refusal):
    """An event that cannot have a tunnel: nothing of it is set up."""


class Answers(NamedTuple):
    """The questions; who answers them holds the lock."""

    free_name: Callable[[Link, Iterable[str], str | None], str]
    """The name of this link, whose own is empty: what it has if it is there, else the one that the user chose, else the
    first of the names that is free. Raises PlanError where another's link has the chosen one."""
    source: Callable[[str, IPNetwork], IPAddress | None]
    """An address of this host within the network, for a route through the link with this key; of another tunnel's only one
    that the network is about."""
    next_hop: Callable[[IPAddress], IPAddress | None]
    """The gateway on the way to an address."""
    held: Callable[[str, IPAddress], Address | None]
    """The address of the link with this key that we have put there ourselves, if it is this one."""
    path_mtu: Callable[[IPAddress], int | None]
    """Bytes that a packet to an address may have; None where it cannot be reached."""
    vrf_table: Callable[[str], int]
    """The table of a VRF by its name. Raises PlanError where there is none."""
    netns: Callable[[str], None]
    """Whether there is a network namespace of this name. Raises PlanError where there is none."""
