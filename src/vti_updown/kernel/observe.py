"""Looks at what is in one network namespace, and whose it is. It changes nothing: that is for
`apply`.

Whose an object is: a link is ours by its group, a route or a rule by its protocol number. An
address is ours by its protocol number where the link is not ours. Another vti-updown has the same
protocol number: what is on its links is its own, and so is what is on none.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ..addresses import IPNetwork
from ..netlink import RTM_GETLINK
from ..objects.link import IFF_UP, Link, ifinfmsg, kernels_choice, read_link, underlying
from ..objects.object import Applied, LinkThere, Object
from ..objects.registry import PLACED
from ..objects.route import HostRoutes
from .lookup import Lookup, host_routes
from .namespace import OWN, Namespace


class Observe:
    """What is in a namespace.

    `lookup` is of charon's own, where the outer packets of every tunnel are routed.
    """

    def __init__(
        self,
        namespace: Namespace,
        lookup: Lookup,
    ) -> None:
        self.namespace = namespace
        self._lookup = lookup

    # Links

    def link_exists(self, name_or_index: str | int) -> bool:
        return self.namespace.link(name_or_index) is not None

    def is_ours(self, name: str) -> bool:
        """Whether the link of this name is there, and ours."""
        return self.namespace.is_ours(name)

    def is_there(self, applied: Applied) -> bool:
        """Whether a link that was applied is there, whatever its name is now.

        Another may have its ifindex by now: a bridge, somebody's own tunnel, or a link in a
        namespace that was made anew.
        """
        return self.as_it_is(applied) is not None

    def as_it_is(self, applied: Applied) -> Link | None:
        """The link that was applied, with what the kernel has of it now; None where it is not
        there.
        """
        return self._as_told(applied, self.namespace.link(applied.ifindex))

    def _as_told(self, applied: Applied, told: Any | None) -> Link | None:
        """The link that was applied, if that is what a message tells of."""
        link = applied.object
        assert isinstance(link, Link)
        there = self.read(told, link)
        if there is None or there.kind != link.kind:
            return None
        # An event that died may have left a link of ours with its old endpoints.
        may_have_old_ends = not applied.sure and not applied.borrowed
        if there.name_of_ends != link.name_of_ends and not may_have_old_ends:
            return None
        if not self.namespace.is_at_home(told):
            return None
        if not applied.borrowed and not self.namespace.is_made_by_us(told):
            return None
        return there

    def is_bound_to_gone(self, applied: Applied) -> bool:
        """Whether a link of ours that is there is bound to a device that is gone, while another
        has its name: it came back, or a new one took its place.
        """
        link = applied.object
        assert isinstance(link, Link)
        if applied.borrowed or not link.device:
            return False
        told = self.namespace.link(applied.ifindex)
        device = self._lookup.ifindex(link.device)
        if told is None or device is None:
            return False
        number = underlying(told)
        return number not in (0, device) and not self._lookup.ifname(number)

    def same_link(self, link: Link) -> Applied | None:
        """A link that has this one's key, whatever its name; and whether it is borrowed."""
        wanted = ifinfmsg()
        wanted["attrs"] = [("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", link.kind)]})]
        device = self._lookup.ifindex(link.device)
        try:
            there = self.namespace.dump(RTM_GETLINK, wanted)
        except FileNotFoundError:
            return None
        bound: Applied | None = None
        for told in there:
            same = self.read(told, link)
            if same is None or same.key != link.key or not self.namespace.is_at_home(told):
                continue
            borrowed = not self.namespace.is_made_by_us(told)
            if borrowed:
                self.namespace.is_made_by_another(told)  # It is to be told of.
            applied = Applied(same, True, told["index"], borrowed)
            if not link.is_known_by_device or self._is_bound_to(told, device):
                return applied
            if device == 0 and self._takes_packets_of_unbound(link, underlying(told)):
                bound = applied._replace(borrowed=True)
        return bound

    def _is_bound_to(
        self,
        told: Any,
        device: int | None,
    ) -> bool:
        """Whether a tunnel is bound to this underlying link.

        Where that is gone, it still has its number.
        """
        number = underlying(told)
        if device is not None:
            return number == device
        return number != 0 and not self._lookup.ifname(number)

    def _takes_packets_of_unbound(
        self,
        link: Link,
        device: int,
    ) -> bool:
        """Whether one that is bound to `device` stands in the place of an equal one that is not."""
        return not link.of_kind.bound_is_another or device == self._lookup.way_out(link)

    def read(
        self,
        told: Any | None,
        link: Link,
    ) -> Link | None:
        """The tunnel interface that a message tells of, on the underlying link of `link`.

        None for a link that is not a tunnel, and for no message.
        """
        there = read_link(told, link.netns)
        if there is None:
            return None
        return there._replace(
            device=link.device,
            master=self._master(told),
        )

    def _master(self, told: Any) -> str:
        """The name of the VRF that a link belongs to; empty for none."""
        return self.namespace.ifname(told.get_attr("IFLA_MASTER"))

    # What is not ours

    def host_routes(
        self,
        network: IPNetwork,
        table: int,
    ) -> HostRoutes:
        """What a table of this namespace says of a network."""
        return host_routes(self.namespace, network, table)

    # All of ours

    def ours(self) -> list[Applied]:
        """All of ours, by group and protocol number: links, their sysctls, and what is on them.

        In another namespace only where a link of ours is: the rest may be of a hook there. What is
        on no link may be of another vti-updown, where there is one.
        """
        ours: list[Applied] = []
        links: list[LinkThere] = []
        for told, link in self._our_links():
            ifindex = told["index"]
            # Nobody knows whose choice its MTU was, so it is what was there before us.
            before = str(kernels_choice(told))
            applied = Applied(
                object=link._replace(mtu=0),
                sure=True,
                ifindex=ifindex,
                before=before,
            )
            ours.append(applied)
            links.append(LinkThere(link.key, ifindex, link.name))
        if self.namespace.name != OWN and not links:
            return []
        has_others = self.namespace.has_others()
        for kind in PLACED:
            for placed, is_ours in kind.there(self.namespace, links, None):
                if is_ours and (placed.link_key or not has_others):
                    ours.append(Applied(placed))
        return ours

    def _links(self) -> list[Any]:
        return self.namespace.dump(RTM_GETLINK, ifinfmsg())

    def _our_links(self) -> Iterator[tuple[Any, Link]]:
        for told in self._links():
            link = read_link(told, self.namespace.name)
            if link is not None and self.namespace.is_made_by_us(told):
                # The underlying link is where the link was made, which is charon's own namespace.
                device = self._lookup.ifname(underlying(told))
                yield told, link._replace(device=device, master=self._master(told))

    # What is astray

    def astray(self, applied: Mapping[str, Applied]) -> list[str]:
        """The keys of what is not there as it was applied: gone, changed, or a link that was set
        down.

        All of `applied` is in this namespace.
        """
        there = self.there(applied)
        return [key for key, was in applied.items() if not _is_as_applied(there.get(key), was)]

    def there(self, applied: Mapping[str, Applied]) -> dict[str, Object]:
        """What of `applied` is there, by key, as it is. A link that was set down is left out.

        All of `applied` is in this namespace.
        """
        try:
            return dict(self._as_they_are(applied))
        except FileNotFoundError:
            return {}

    def _as_they_are(self, applied: Mapping[str, Applied]) -> Iterator[tuple[str, Object]]:
        """What of `applied` is there, by key."""
        links: list[LinkThere] = []
        keys = {was.ifindex: key for key, was in applied.items()}
        for told in self._links():
            ifindex = told["index"]
            link = read_link(told, self.namespace.name)
            if link is None or ifindex not in keys:
                continue
            key = keys[ifindex]
            links.append(LinkThere(key, ifindex, link.name))
            is_it = self._as_told(applied[key], told) is not None
            if told["flags"] & IFF_UP and is_it:
                yield key, link._replace(master=self._master(told))
        for kind in PLACED:
            known = [was.object for was in applied.values() if type(was.object) is kind]
            for placed, _ in kind.there(self.namespace, links, known):
                yield placed.key, placed


def _is_as_applied(there: Object | None, was: Applied) -> bool:
    """Whether what is there for a key is what was applied, as far as the kernel tells."""
    if there is None:
        return False
    return was.borrowed or there.with_untold(was.object) == was.object
