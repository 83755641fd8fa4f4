"""Takes the steps: the one place where the kernel is changed.

A step's object may be there already, made by us (an event that died) or by somebody else. Adding
says which: whatever is ours is taken over, whatever is not is left alone.
"""

import errno
from collections.abc import Mapping

from ..objects.link import Link
from ..objects.link_kinds import LINK_KINDS
from ..objects.object import Applied, Outcome, Place, Placed, Recorded
from ..objects.registry import Step
from ..text import Refusal, shown
from .links import Links
from .namespace import Namespace

GONE = (errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)
"""What the kernel answers where there is nothing to take away."""


class KernelError(Refusal):
    """A step that the kernel refused: status 1."""

    def __init__(self, number: int, what: str) -> None:
        hint = _HINTS.get(number, "try it by hand: run the hook with --dry-run")
        super().__init__(what, hint, 1)
        self.number = number


def _modules() -> str:
    """`ip_vti (IPv6 endpoints: ip6_vti; if_id: xfrm_interface)`: the modules of all kinds of link,
    and when each is needed.
    """
    first, *others = LINK_KINDS.values()
    needed = []
    for kind in others:
        reason = kind.keyed_by if kind.family is None else f"IPv{kind.family} endpoints"
        needed.append(f"{reason}: {kind.module}")
    return f"{first.module} ({'; '.join(needed)})"


_HINTS = {
    errno.EPERM: "the hook needs CAP_NET_ADMIN, as charon has",
    errno.EACCES: "is IPv6 off? see sysctl net.ipv6.conf.all.disable_ipv6",
    errno.EOPNOTSUPP: f"load the module: modprobe {_modules()}",
    errno.ENETDOWN: "set the link up: ip link set LINK up",
    errno.ENOBUFS: "the kernel is out of memory: free some, and try again",
    errno.ENOMEM: "the kernel is out of memory: free some, and try again",
}


class Apply:
    """Changes what is in one namespace."""

    def __init__(self, namespace: Namespace, links: Links) -> None:
        self._namespace = namespace
        self._links = links

    def take(
        self,
        step: Step,
        known: Mapping[str, Applied],
        sure: bool = True,
        last: bool = False,
    ) -> Outcome:
        """Takes one step. `known` has what was applied for each link, by its key.

        `sure` is False where it is not known whether the object is there, or whose it is. `last` is
        True where a route is better made without its preferred source than not at all.

        Raises Refusal where the kernel refuses it; the object is then as it was, or (a link) half
        made.
        """
        try:
            if step.new is None:
                self._take_away(step, known, sure)
                return Outcome(None)
            return self._put(step, known, sure, last)
        except OSError as error:
            raise _refused(step, error) from None

    def _put(
        self,
        step: Step,
        known: Mapping[str, Applied],
        sure: bool,
        last: bool,
    ) -> Outcome:
        new, old = step.new, step.old
        link = known.get(step.object.link_key)
        if isinstance(new, Link):
            assert old is None or isinstance(old, Link)
            return Outcome(self._links.put(new, old, link))
        assert isinstance(new, Placed) and (old is None or isinstance(old, Placed))
        if old is not None:
            # A route may change its link, and is looked for on the one that it had.
            old_link = known.get(old.link_key)
            if not old.is_there(place_of(self._namespace, old_link)):
                old = None
        recorded = _recorded(step, sure)
        place = place_of(self._namespace, link, recorded)
        return new.put(place, old, last)

    def _take_away(
        self,
        step: Step,
        known: Mapping[str, Applied],
        sure: bool,
    ) -> None:
        """Takes an object away. One that is gone already is taken away."""
        old = step.object
        link = known.get(old.link_key)
        try:
            if isinstance(old, Link):
                self._links.take_away(link)
            elif isinstance(old, Placed):
                recorded = Recorded(sure, step.before)
                place = place_of(self._namespace, link, recorded)
                old.take_away(place, sure)
        except OSError as error:
            if error.errno not in GONE:
                raise


def place_of(
    namespace: Namespace,
    link: Applied | None,
    recorded: Recorded | None = None,
) -> Place:
    """The place of an object on this link, or on none."""
    ifname = ""
    if link is not None and isinstance(link.object, Link):
        ifname = link.object.name
    return Place(namespace, link, ifname, recorded)


def _recorded(step: Step, sure: bool) -> Recorded | None:
    """What the records have of the object of a step. None if it is new to them."""
    if step.old is None and sure:
        return None
    return Recorded(sure, step.before)


def _refused(step: Step, error: OSError) -> KernelError:
    doing = "change"
    if step.new is None:
        doing = "take away"
    elif step.old is None:
        doing = "make"
    why = shown(error.strerror or error, 60)  # A reply that does not come has no number.
    return KernelError(error.errno or 0, f"cannot {doing} {step.object.label}: {why}")
