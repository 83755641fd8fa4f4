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
    Object,
    Outcome,
    Place,
    Placed,
    Recorded,
    no_such_device,
)

DISABLE_POLICY = "disable_policy"
"""No policy is looked for on the link itself: its packets were decrypted by one already."""
FAMILIES = ("ipv4", "ipv6")
DEFAULT = "default"
"""What stands in the place of a link's name for what new links get."""


class SysctlFields(NamedTuple):
    link_key: str
    family: str
    """ipv4 or ipv6."""
    name: str
    value: int
    is_chosen: bool = False
    """Whether the settings say the value."""


class Sysctl(SysctlFields, Placed):
    """A sysctl of a link."""

    __slots__ = ()
    MERGED = {"value": "the newest of the settings; without one, the newest"}

    @property
    def key(self) -> str:
        return f"sysctl {self.family} {self.name} of {self.link_key}"

    @property
    def label(self) -> str:
        return f"{self.family} {self.name}"

    def title(self, ifname: str) -> str:
        return f"sysctl {self.label} of {ifname}"

    @property
    def opinion(self) -> str:
        return str(self.value) if self.is_chosen else ""

    def with_opinion_of(self, older: Object) -> "Sysctl":
        """The newest value that was chosen; without one, the newest."""
        if self.is_chosen or not isinstance(older, Sysctl) or not older.is_chosen:
            return self
        return self._replace(value=older.value, is_chosen=True)

    def commands(self, old: "Sysctl | None", ifname: str) -> list[str]:
        del old
        return [self._command(ifname, self.value)]

    def removal_commands(self, ifname: str) -> list[str]:
        """It cannot be taken away: see `as_before`."""
        del ifname
        return []

    def _command(self, ifname: str, value: int) -> str:
        separator = "/" if "." in ifname else "."
        words = ["net", self.family, "conf", quote(ifname), f"{self.name}={value}"]
        return f"sysctl -w {separator.join(words)}"

    def as_before(self, before: str | None) -> "Sysctl":
        """A link has 0 where it is not known what it had."""
        return self._replace(value=int(before or 0))

    def now(self, place: Place) -> str | None:
        """The value that the link has. None if it cannot be read."""
        ifname = place.namespace.ifname(place.known_ifindex)
        value = self._read(place.namespace, ifname)
        if value is None:
            return None
        return str(value)

    def put(
        self,
        place: Place,
        old: "Sysctl | None",
        last: bool,
    ) -> Outcome:
        del old, last
        ifindex = place.ifindex
        if place.is_borrowed:
            return Outcome(None, HARMLESS)
        before = self._before_us(place)
        try:
            self._set(place, ifindex, self.value)
        except NetlinkError:
            raise
        except OSError as error:
            # No netlink attribute sets it, and in a container /proc/sys is read-only.
            return Outcome(None, Foreign(f"{self.label} as it was ({error.strerror})"))
        return Outcome(Applied(self, before=before))

    def _before_us(self, place: Place) -> str | None:
        """What the link had before us.

        An event that died may have set it on a link that it had just made. Such a link had the
        namespace's default.
        """
        recorded = place.recorded
        if recorded is None:
            return self.now(place)
        if recorded.before is not None or recorded.is_sure:
            return recorded.before
        default = self._read(place.namespace, DEFAULT)
        return None if default is None else str(default)

    def take_away(self, place: Place, sure: bool) -> None:
        """Sets what the link had before us, unless somebody else has set another value since."""
        ifindex = place.ifindex
        if place.is_borrowed:
            return
        if sure and self.now(place) not in (None, str(self.value)):
            return
        recorded = place.recorded or Recorded()
        undone = self.as_before(recorded.before)
        undone._set(place, ifindex, undone.value)

    def _set(
        self,
        place: Place,
        ifindex: int,
        value: int,
    ) -> None:
        if (self.family, self.name) == ("ipv4", DISABLE_POLICY):
            place.namespace.request(RTM_NEWLINK, _disable_policy(ifindex, value))
            return
        ifname = place.namespace.ifname(ifindex)
        if not ifname:
            raise no_such_device()
        with place.namespace.within(), open(self._path(ifname), "w", encoding="utf-8") as file:
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
        """The value of a link, or of DEFAULT. None if it cannot be read."""
        try:
            with namespace.within(), open(self._path(ifname), encoding="utf-8") as file:
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
