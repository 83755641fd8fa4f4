"""A sysctl of a link, as in net/FAMILY/conf/LINK/NAME."""

from collections.abc import Collection, Iterator
from shlex import quote
from typing import Any

from ..named_tuple import NamedTuple
from ..netlink import RTM_NEWLINK, NetlinkError, message
from .link import ifinfmsg
from .object import (
    HARMLESS,
    Applied,
    Foreign,
    LinkThere,
    Namespace,
    Outcome,
    Place,
    Placed,
    no_such_device,
)

DISABLE_POLICY = "disable_policy"
"""No policy is looked for on the link itself: its packets were decrypted by one already."""
FAMILIES = ("ipv4", "ipv6")


class SysctlFields(NamedTuple):
    link_key: str
    family: str
    """ipv4 or ipv6."""
    name: str
    value: int


class Sysctl(SysctlFields, Placed):
    """A sysctl of a link."""

    __slots__ = ()

    @property
    def key(self) -> str:
        return f"sysctl {self.family} {self.name} of {self.link_key}"

    @property
    def label(self) -> str:
        return f"{self.family} {self.name}"

    def commands(self, old: "Sysctl | None", ifname: str) -> list[str]:
        del old
        return [self._command(ifname, self.value)]

    def removal_commands(self, ifname: str) -> list[str]:
        return [self._command(ifname, 0)]

    def _command(self, ifname: str, value: int) -> str:
        separator = "/" if "." in ifname else "."
        words = ["net", self.family, "conf", quote(ifname), f"{self.name}={value}"]
        return f"sysctl -w {separator.join(words)}"

    def put(self, place: Place, old: "Sysctl | None", last: bool) -> Outcome:
        del old, last
        ifindex = place.ifindex
        if place.is_borrowed:
            return Outcome(None, HARMLESS)
        try:
            self._set(place, ifindex, self.value)
        except NetlinkError:
            raise
        except OSError as error:
            # No netlink attribute sets it, and in a container /proc/sys is read-only.
            return Outcome(None, Foreign(f"{self.label} as it was ({error.strerror})"))
        return Outcome(Applied(self))

    def take_away(self, place: Place, sure: bool) -> None:
        del sure
        ifindex = place.ifindex
        if not place.is_borrowed:
            self._set(place, ifindex, 0)

    def _set(self, place: Place, ifindex: int, value: int) -> None:
        if (self.family, self.name) == ("ipv4", DISABLE_POLICY):
            place.namespace.request(RTM_NEWLINK, _disable_policy(ifindex, value))
            return
        ifname = place.namespace.ifname(ifindex)
        if not ifname:
            raise no_such_device()
        with place.namespace.within(), open(self._path(ifname), "w", encoding="ascii") as file:
            file.write(str(value))

    def _path(self, ifname: str) -> str:
        return f"/proc/sys/net/{self.family}/conf/{ifname}/{self.name}"

    @classmethod
    def there(
        cls,
        namespace: Namespace,
        links: Collection[LinkThere],
        known: Collection["Sysctl"] | None,
    ) -> Iterator[tuple["Sysctl", bool]]:
        """Without records only disable_policy can be told to be ours: on a link of ours, by its
        value.
        """
        names = {link.key: link.ifname for link in links}
        if known is None:
            known = _disabled_policies(links)
        for sysctl in known:
            ifname = names.get(sysctl.link_key)
            value = None if ifname is None else sysctl._read(namespace, ifname)
            if value is not None:
                yield sysctl._replace(value=value), value == sysctl.value

    def _read(self, namespace: Namespace, ifname: str) -> int | None:
        try:
            with namespace.within(), open(self._path(ifname), encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None


def _disabled_policies(links: Collection[LinkThere]) -> list[Sysctl]:
    return [Sysctl(link.key, family, DISABLE_POLICY, 1) for link in links for family in FAMILIES]


def _disable_policy(ifindex: int, value: int) -> Any:
    """Sets IPv4's disable_policy, which has an attribute; IPv6's has none."""
    conf = {"attrs": [("IPV4_DEVCONF_NOPOLICY", value)]}
    inet = {"attrs": [("IFLA_INET_CONF", conf)]}
    made = message(ifinfmsg, index=ifindex)
    made["attrs"] = [("IFLA_AF_SPEC", {"attrs": [("AF_INET", inet)]})]
    return made
