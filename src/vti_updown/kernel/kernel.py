"""The kernel as one event sees it: what looks and what changes, in each namespace, on one set of
sockets.
"""

from collections.abc import Collection, Mapping

from ..objects.object import Applied, Object, Outcome, Placed
from ..objects.registry import Step
from ..text import Refusal, shown
from . import namespace
from .apply import Apply, place_of
from .links import Links
from .lookup import Lookup
from .namespace import OWN, Namespace, OutOfSight
from .observe import Observe

TYPE_CHECKING = False  # typing's own would be an import more for the hook
if TYPE_CHECKING:
    from .counters import Counted


class Kernel:
    """Opens a socket in each namespace that is asked for, and closes them all in the end."""

    def __init__(self) -> None:
        self._namespaces: dict[str, Namespace] = {}
        self._home = self._namespace(OWN)
        self.lookup = Lookup(self._home)

    def identity(self) -> str:
        """What tells charon's own namespace from every other, of this boot and of others.

        The namespace that a machine boots with has the same cookie each time.
        """
        cookie = self._home.socket.namespace()
        return f"{cookie}-{namespace.this_boot()}"

    def observe(self, netns: str = OWN) -> Observe:
        """What looks at a namespace."""
        return Observe(self._namespace(netns), self.lookup)

    def take(
        self,
        step: Step,
        known: Mapping[str, Applied],
        sure: bool = True,
        last: bool = False,
    ) -> Outcome:
        """Takes a step in the namespace that its object is in. See `Apply.take`."""
        netns = step.object.netns
        if step.new is not None and netns and not namespace.exists(netns):
            message, hint = namespace.missing(netns)
            raise Refusal(message, hint, 1)
        observe = self.observe(netns)
        links = Links(observe, self.observe(), self.lookup)
        outcome = Apply(observe.namespace, links).take(
            step,
            known,
            sure,
            last,
        )
        return _with_cookie(outcome, observe.namespace)

    def now(
        self,
        step: Step,
        known: Mapping[str, Applied],
    ) -> str | None:
        """What is in the place of an object that is to be put there, as `Applied.before` has it."""
        new = step.new
        link = known.get(step.object.link_key)
        if not isinstance(new, Placed) or link is None or link.ifindex is None:
            return None
        place = place_of(self._namespace(new.netns), link)
        return new.now(place)

    def is_there(self, link: Applied) -> bool:
        """Whether a link that was applied is there, whatever its name is now.

        Raises OutOfSight if its namespace cannot be looked into.
        """
        netns = link.object.netns
        self._namespace(netns).look()
        return self.observe(netns).is_there(link)

    def is_bound_to_gone(self, link: Applied) -> bool:
        """Whether a link that is there must be made anew, since its device came back.

        Of a namespace that cannot be looked into, it is not known.
        """
        try:
            self._namespace(link.object.netns).look()
        except OutOfSight:
            return False
        return self.observe(link.object.netns).is_bound_to_gone(link)

    def is_made_anew(self, was: Applied) -> bool:
        """Whether the namespace of what is on no link has gone since, and another has its name."""
        netns = was.object.netns
        if was.object.link_key or not netns or was.ifindex is None:
            return False
        try:
            return self._namespace(netns).socket.namespace() != was.ifindex
        except OSError:
            return False  # It is not there at all.

    def is_anothers(self, link: Applied) -> bool:
        """Whether another vti-updown has made a link."""
        return self._namespace(link.object.netns).is_anothers(link.ifindex)

    def ours(self, recorded: Collection[str] = ()) -> list[Applied]:
        """All of ours, in every namespace that has a name: once in each, though it has several.

        `recorded` are names of namespaces, and are taken before others.
        """
        ours = self.observe().ours()
        seen = {namespace.identity(OWN)}
        for netns in sorted(namespace.names(), key=lambda name: name not in recorded):
            identity = namespace.identity(netns)
            if identity in seen:
                continue
            seen.add(identity)
            try:
                ours += self.observe(netns).ours()
            except OSError:
                continue  # It is not a namespace, or it has gone since.
        return ours

    def left_alone(self) -> list[str]:
        """What to tell the user of links of another vti-updown that were met."""
        told = []
        for each in self._namespaces.values():
            if each.others:
                name, *more = each.others
                told.append(_left_alone(each.name, name, len(more)))
        return told

    def look_for_others(self) -> None:
        """Meets all links of another vti-updown in charon's own namespace."""
        self._home.has_others()

    def astray(self, applied: Mapping[str, Applied]) -> list[str]:
        """The keys of what is not there as it was applied: gone, changed, or a link that was set
        down.
        """
        keys: list[str] = []
        for netns, there in _by_netns(applied).items():
            try:
                self._namespace(netns).look()
                keys += self.observe(netns).astray(there)
            except OutOfSight:
                keys += there
        return keys

    def there(self, applied: Mapping[str, Applied]) -> dict[str, Object]:
        """What of `applied` is there, by key, as it is. A link that was set down is left out.

        What is in a namespace that cannot be looked into is left out, too: see `out_of_sight`.
        """
        there: dict[str, Object] = {}
        for netns, of_it in _by_netns(applied).items():
            if not self.out_of_sight(netns):
                there.update(self.observe(netns).there(of_it))
        return there

    def out_of_sight(self, netns: str) -> str:
        """Why a namespace cannot be looked into. Empty if it can, or if there is none."""
        try:
            self._namespace(netns).look()
        except OutOfSight as refusal:
            return refusal.message
        return ""

    def counters(self, netns: str) -> "dict[int, Counted]":
        """What is counted on each link of a namespace, by its ifindex."""
        from .counters import counters  # no event needs it

        try:
            return counters(self._namespace(netns))
        except OSError:
            return {}

    def _namespace(self, name: str) -> Namespace:
        if name not in self._namespaces:
            self._namespaces[name] = Namespace(name)
        return self._namespaces[name]

    def close(self) -> None:
        for opened in self._namespaces.values():
            opened.close()


def _by_netns(applied: Mapping[str, Applied]) -> dict[str, dict[str, Applied]]:
    by_netns: dict[str, dict[str, Applied]] = {}
    for key, was in applied.items():
        by_netns.setdefault(was.object.netns, {})[key] = was
    return by_netns


def _left_alone(
    netns: str,
    name: str,
    more: int,
) -> str:
    links = shown(name)
    if more:
        links = f"{links} (and {more} more)"
    ip = "ip"
    if netns:
        ip = f"ip -n {shown(netns, 15)}"
    remedy = f"if that is gone for good: {ip} link del {shown(name)}"
    return f"left alone: {links}, another vti-updown's; {remedy}"


def _with_cookie(outcome: Outcome, there: Namespace) -> Outcome:
    """What is on no link, in a namespace with a name, has its cookie in place of an ifindex."""
    applied = outcome.applied
    if applied is None or applied.object.link_key or not there.name:
        return outcome
    cookie = there.socket.namespace()
    return outcome._replace(applied=applied._replace(ifindex=cookie))
