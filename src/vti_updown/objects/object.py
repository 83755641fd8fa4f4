"""What an object of a tunnel is: something in the kernel that has a key and a value. It knows no
kind of object.

The key is a line of text that names the object and nothing else, as the kernel knows it. Two
objects of one key differ in their values. `registry` lists the kinds, and each kind is a file
beside this one.
"""

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar

from ..addresses import IPAddress
from ..named_tuple import NamedTuple
from ..netlink import NetlinkError

TYPE_CHECKING = False  # typing's own would be an import more for the hook
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Protocol, Self

    class Namespace(Protocol):
        """A network namespace, as far as an object must know it.

        See `kernel.namespace.Namespace`.
        """

        name: str

        def request(self, kind: int, message: Any, flags: int = 0) -> list[Any]: ...

        def dump(self, kind: int, message: Any) -> list[Any]: ...

        def ifname(self, ifindex: int | None) -> str: ...

        def is_ours(self, name_or_index: str | int | None) -> bool: ...

        def is_anothers(self, name_or_index: str | int | None) -> bool: ...

        def has_others(self) -> bool: ...

        def within(self) -> AbstractContextManager[None]: ...

else:
    Namespace = object

PROTOCOL = 50
"""Our number in /etc/iproute2/rt_protos, of routes, rules and addresses: ESP's own IP protocol
number, free there.
"""


class Object(ABC):
    """The base of every kind. A kind is a named tuple of its fields, and this."""

    __slots__ = ()
    PARSERS: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """How a field is read that is written down as text."""
    GOES_WITH_LINK: ClassVar[bool] = True
    """Whether the kernel takes it away together with its link."""
    MERGED: ClassVar[Mapping[str, str]] = {}
    """The fields that `with_opinion_of` merges, each with its rule in words: what counts."""
    FOLLOWS_LINK: ClassVar[bool] = False
    """Whether its value depends on its link's, whoever wishes for either: see `following`."""
    UNTOLD: ClassVar[tuple[str, ...]] = ()
    """The fields that the kernel does not tell, or that a user may change."""

    @property
    @abstractmethod
    def key(self) -> str:
        """What the kernel knows it by."""

    @property
    @abstractmethod
    def link_key(self) -> str:
        """The key of the link that it is about; empty: none."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What it is called in a line, such as `route 10.2.0.0/16`."""

    def title(self, ifname: str) -> str:
        """What it is called in a list of many, on the link `ifname`."""
        del ifname
        return self.label

    @abstractmethod
    def commands(self, old: "Self | None", ifname: str) -> list[str]:
        """The commands that put it in the place of `old`, on the link `ifname`."""

    @abstractmethod
    def removal_commands(self, ifname: str) -> list[str]:
        """The commands that take it away."""

    @property
    def summary(self) -> str:
        """What a report shows of it; empty: nothing."""
        return ""

    @property
    def netns(self) -> str:
        """The network namespace that it is in, by name; empty: charon's own."""
        return netns_of(self.link_key)

    @property
    def stands_on(self) -> str:
        """The key of the link that it goes away with; empty: none."""
        return self.link_key if self.GOES_WITH_LINK else ""

    @property
    def ip(self) -> IPAddress | None:
        """The address of this host that it puts there, or depends on."""
        return None

    @property
    def order(self) -> int:
        """Its place among those of its kind: lower ones are put first, and taken away last."""
        return 0

    @property
    def only_with(self) -> str:
        """The key that must be wished for, too; else nobody wishes for this. Empty: none."""
        return ""

    def as_before(self, before: str | None) -> "Self | None":
        """What was there before us, for a kind that the kernel always has a value for.

        None if there was nothing, so that undo takes it away. `before` is as in `Applied`.
        """
        del before
        return None

    @property
    def opinion(self) -> str:
        """What it says of fields that are merged with those of other wishes for its key.

        Empty: nothing. Of the wishes with one opinion, the newest stands for all.
        """
        return ""

    def with_opinion_of(self, older: "Object") -> "Self":
        """The object, merged with an older wish for its key, each field by its own rule."""
        del older
        return self

    def following(self, link: "Object") -> "Self":
        """The object as it is on its link, as that is wished for."""
        del link
        return self

    def with_undone(self, old: "Self | None", before: str | None) -> "Self":
        """The object with what `old` had changed, and it leaves to the kernel, as it was before."""
        del old, before
        return self

    def with_untold(self, recorded: "Object") -> "Self":
        """The object as the kernel tells it, with the rest as it was recorded."""
        untold = {field: getattr(recorded, field) for field in self.UNTOLD}
        whole: Self = self._replace(**untold)  # type: ignore[attr-defined]
        return whole

    def goes_along(self, lost: "Object", staying: Collection["Object"]) -> bool:
        """Whether the kernel takes it away, or spoils it, when `lost` is removed while `staying`
        stays.
        """
        del lost, staying
        return False

    def on_moved_link(self, old_key: str, link_key: str) -> "Self | None":
        """The object once its link has another key; None where it is not about that link."""
        if self.link_key != old_key:
            return None
        moved: Self = self._replace(link_key=link_key)  # type: ignore[attr-defined]
        return moved


class Applied(NamedTuple):
    """What we have put into the kernel for one key."""

    object: Object
    sure: bool = True
    """False from before a step is taken until it is known to be done: the kernel may hold the old,
    the new or nothing.
    """
    ifindex: int | None = None
    """A link's ifindex. A namespace gives it out again only once the link is gone.

    Of what is on no link, in a namespace with a name: that namespace's cookie.
    """
    borrowed: bool = False
    """A link that somebody else made: it is used, never changed and never deleted."""
    before: str | None = None
    """What was there before us, in words of the object's kind: undo goes back to it.

    None if there was nothing, or if it is not known.
    """


class Foreign(NamedTuple):
    """Something that is in an object's place, and is not ours."""

    description: str
    """Empty where it does no harm: it is what we would have put there."""


HARMLESS = Foreign("")


class Outcome(NamedTuple):
    """How a step ended that did not fail."""

    applied: Applied | None
    """What is now there and ours; None where nothing is."""
    foreign: Foreign | None = None
    """What is there, and is not ours, so that the step was not taken."""


class LinkThere(NamedTuple):
    """A tunnel's link in a namespace, for those who look at what is on it."""

    key: str
    ifindex: int
    ifname: str


class Recorded(NamedTuple):
    """What the records have of an object, as far as a step must know it."""

    is_sure: bool = True
    """False if an event that died may have been at work."""
    before: str | None = None
    """What was there before us, as `Applied` has it."""


class Place:
    """Where a step is taken: a namespace, and the link that the object is about."""

    __slots__ = ("ifname", "link", "namespace", "recorded")

    def __init__(
        self,
        namespace: Namespace,
        link: Applied | None,
        ifname: str = "",
        recorded: Recorded | None = None,
    ) -> None:
        self.namespace = namespace
        self.link = link
        self.ifname = ifname
        """The link's name, as far as is known."""
        self.recorded = recorded
        """Of the object. None if it is not on record."""

    @property
    def known_ifindex(self) -> int | None:
        """The link's ifindex; None where it is not known, or there is no link."""
        if self.link is None:
            return None
        return self.link.ifindex

    @property
    def ifindex(self) -> int:
        """The link's ifindex. Raises OSError where it is not there."""
        known = self.known_ifindex
        if known is None:
            raise no_such_device()
        return known

    @property
    def is_borrowed(self) -> bool:
        return self.link is not None and self.link.borrowed

    @property
    def is_anothers(self) -> bool:
        """Whether the link is borrowed from another vti-updown, which puts things there, too."""
        return self.is_borrowed and self.namespace.is_anothers(self.known_ifindex)

    def holds_ours(self) -> bool:
        """Whether something with our number that no link tells of is ours.

        Another vti-updown has the same number. What it costs grows with the number of links.
        """
        return self.recorded is not None or not self.namespace.has_others()


class Placed(Object):
    """An object that is put into a place. Only a link is not: it is the place."""

    __slots__ = ()

    @abstractmethod
    def put(
        self,
        place: Place,
        old: "Self | None",
        last: bool,
    ) -> Outcome:
        """Puts it in the place of `old` (None: nothing of ours is known to be there). Raises
        OSError.

        `last` is True where something poorer is better than nothing: it is not tried again.
        """

    def now(self, place: Place) -> str | None:
        """What is there before it is put for the first time, as `Applied.before` has it."""
        del place
        return None

    def is_there(self, place: Place) -> bool:
        """Whether it still is as we have put it, in its own place.

        Another may have taken it since, and is not to be replaced.
        """
        del place
        return True

    @abstractmethod
    def take_away(self, place: Place, sure: bool) -> None:
        """Takes it away.

        Raises OSError. `sure` is False where it may not be there, or not be ours.
        """

    @classmethod
    @abstractmethod
    def there(
        cls,
        namespace: Namespace,
        links: Collection[LinkThere],
        known: "Collection[Self] | None",
    ) -> "Iterator[tuple[Self, bool]]":
        """Those of this kind that are in a namespace, on these links or on none; and whether each
        is ours.

        A kind that the kernel does not list looks for the ones that are `known`, which may be none
        at all. Where the records were lost, `known` is None, and it looks for what is likely.
        """


def netns_of(link_key: str) -> str:
    """The namespace of a link by its key, which ends with it."""
    return link_key.partition(" netns ")[2]


def no_such_device() -> NetlinkError:
    return NetlinkError(errno.ENODEV, os.strerror(errno.ENODEV))
