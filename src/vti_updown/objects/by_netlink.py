"""Objects that rtnetlink puts, lists and takes away by one message each.

It knows no kind of them.
"""

import errno
from abc import abstractmethod
from typing import Any, ClassVar

from ..netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NetlinkError
from .object import Applied, Foreign, Outcome, Place, Placed

TYPE_CHECKING = False  # typing's own would be an import more for the hook
if TYPE_CHECKING:
    from typing import Self


class ByNetlink(Placed):
    """An object that is one message of rtnetlink."""

    __slots__ = ()
    NEW: ClassVar[int]
    """The request that makes it: RTM_NEW…"""
    DELETE: ClassVar[int]
    """The request that takes it away: RTM_DEL…"""
    REPLACED_IN_PLACE: ClassVar[bool] = True
    """Whether NLM_F_REPLACE changes the one that is there, rather than add another."""

    @abstractmethod
    def message(self, place: Place) -> Any:
        """What makes it. Raises OSError where its link is not there."""

    @abstractmethod
    def removal_message(self, place: Place) -> Any:
        """What takes it away. Raises OSError where its link is not there."""

    @abstractmethod
    def in_its_place(self, place: Place) -> Foreign | None:
        """What the kernel has in its place; None where that is ours."""

    def put(
        self,
        place: Place,
        old: "Self | None",
        last: bool,
    ) -> Outcome:
        del last
        if old is None:
            if self._is_added(place):
                return Outcome(Applied(self))
            foreign = self.in_its_place(place)
            if foreign is not None:
                return Outcome(None, foreign)
        if self.REPLACED_IN_PLACE:
            flags = NLM_F_CREATE | NLM_F_REPLACE
            place.namespace.request(self.NEW, self.message(place), flags)
        return Outcome(Applied(self))

    def _is_added(self, place: Place) -> bool:
        """Adds it, and says whether it did: False where something has its key already."""
        try:
            place.namespace.request(self.NEW, self.message(place), NLM_F_CREATE | NLM_F_EXCL)
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            return False
        return True

    def take_away(self, place: Place, sure: bool) -> None:
        if sure or self.in_its_place(place) is None:
            place.namespace.request(self.DELETE, self.removal_message(place))
