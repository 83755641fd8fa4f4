"""Makes a link, finds the one that is in its place, changes it, and takes it away."""

import errno

from ..netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELLINK,
    RTM_NEWLINK,
    NetlinkError,
    attributes,
    message,
)
from ..objects.link import (
    IFF_MULTICAST,
    IFF_UP,
    IN6_ADDR_GEN_MODE_NONE,
    Link,
    ifinfmsg,
    kernels_choice,
    read_choice,
    vrf_table,
)
from ..objects.object import Applied
from ..text import Refusal, shown
from . import vti_ioctl
from .lookup import Lookup
from .namespace import Namespace, opened
from .observe import Observe

TYPE_CHECKING = False  # typing's own would be an import more for the hook
if TYPE_CHECKING:
    from typing import Any


class Links:
    """The links of one namespace.

    They are made in charon's own, `home`, where their outer packets are routed.
    """

    def __init__(
        self,
        observe: Observe,
        home: Observe,
        lookup: Lookup,
    ) -> None:
        self._observe = observe
        self._home = home
        self._lookup = lookup

    @property
    def _namespace(self) -> Namespace:
        return self._observe.namespace

    @property
    def _is_elsewhere(self) -> bool:
        """Whether the links are moved to another namespace than they are made in."""
        return self._namespace is not self._home.namespace

    @property
    def _on_its_way(self) -> str:
        """What a link is called that was made here and is to be moved: `vti-updown-1a2b`.

        With a name of its own it cannot be taken for a tunnel that is here to stay, and needs no
        name that is taken here, by another vti-updown perhaps.
        """
        return f"vti-updown-{self._home.namespace.group & 0xFFFF:04x}"

    def put(
        self,
        link: Link,
        old: Link | None,
        known: Applied | None,
    ) -> Applied:
        """Makes the link, or changes the one that is `known`.

        Raises OSError or Refusal where it cannot.
        """
        there = self._in_its_place(link, old, known)
        if there.borrowed:
            return there
        was, ifindex = there.object, there.ifindex
        assert isinstance(was, Link) and ifindex is not None
        if link.own_link_local != was.own_link_local or (old is None and link.own_link_local):
            self._set_link_local_mode(ifindex, link, there.before)
        wanted = link.with_undone(old, there.before)
        self._namespace.request(RTM_NEWLINK, self._change(wanted, was, ifindex))
        put = link._replace(name=was.name)
        return Applied(put, True, ifindex, before=there.before)

    def _in_its_place(
        self,
        link: Link,
        old: Link | None,
        known: Applied | None,
    ) -> Applied:
        """What is to become the link: the one that is known, one with its key, or one made now."""
        if known is None or (old is None and known.borrowed):
            return self._created(link)
        there = self._observe.as_it_is(known)
        if there is None:
            return self._created(link)
        if old is None and self._observe.is_bound_to_gone(known):
            # The kernel changes the device of no XFRM interface (xfrmi_changelink()).
            self.take_away(known)
            return self._created(link)
        if old is None:
            return known._replace(object=there)  # It is not known how much was done of it.
        return known

    def _set_link_local_mode(
        self,
        ifindex: int,
        link: Link,
        before: str | None,
    ) -> None:
        """Says which link-local address the kernel makes when the link is set up."""
        mode = IN6_ADDR_GEN_MODE_NONE
        if not link.own_link_local:
            mode = read_choice(before).link_local_mode
        inet6 = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", mode)]}
        wanted = message(ifinfmsg, index=ifindex)
        wanted["attrs"] = [("IFLA_AF_SPEC", {"attrs": [("AF_INET6", inet6)]})]
        self._namespace.request(RTM_NEWLINK, wanted)

    def _change(
        self,
        link: Link,
        was: Link,
        ifindex: int,
    ) -> "Any":
        """What makes `link` of the one that is there, and sets it up."""
        multicast = IFF_MULTICAST if link.multicast else 0
        wanted = message(ifinfmsg, index=ifindex, flags=IFF_UP | multicast)
        wanted["change"] = IFF_UP | IFF_MULTICAST
        master = info = None
        if link.changes_vrf(was):
            master = _ifindex_of_vrf(link.master, self._namespace)
        if link.kernel_identity != was.kernel_identity:
            info = link.info(self._lookup.device(link))
        wanted["attrs"] = attributes(
            (
                ("IFLA_IFALIAS", link.alias),
                ("IFLA_MTU", link.mtu or None),
                ("IFLA_MASTER", master),
                ("IFLA_LINKINFO", info),
            )
        )
        return wanted

    # Making one

    def _created(self, link: Link) -> Applied:
        """Makes the link, or finds the one that has its key."""
        if self._is_elsewhere:
            return self._created_elsewhere(link)
        if not self._is_bound_one_there(link):
            made = self._made(link, link.name)
            if made is not None:
                return made
        # It has the name of another, or there is one with its key: that, or one with a name of the
        # kernel's choice.
        there = self._observe.same_link(link) or self._made(link, f"{link.of_kind.stem}%d")
        if there is None:
            raise _held_out_of_sight(link)
        was = there.object
        assert isinstance(was, Link)
        if there.borrowed and was.marks != link.marks:
            is_anothers = self._namespace.is_anothers(there.ifindex)
            raise other_marks(was, 1, is_anothers)
        return there

    def _created_elsewhere(self, link: Link) -> Applied:
        """Makes the link here and moves it, or finds the one that has its key there."""
        there = self._observe.same_link(link)
        if there is None and not self._is_bound_one_there(link):
            there = self._made(link, self._on_its_way)
        if there is not None:
            return there
        if self.clear_way():
            return self._created_elsewhere(link)
        raise self._twin_here(link)

    def _is_bound_one_there(self, link: Link) -> bool:
        """Whether one that is bound to an underlying link would get the packets of this one."""
        if not link.of_kind.bound_is_another or link.device:
            return False
        return vti_ioctl.is_bound(link, self._lookup.way_out(link))

    def _twin_here(self, link: Link) -> Refusal:
        """A link for another namespace is made here first, and here is one like it."""
        here = self._home.same_link(link._replace(netns=""))
        if here is None:
            return _held_out_of_sight(link)
        twin = here.object
        assert isinstance(twin, Link)
        where = f"link {link.name} in {shown(link.netns, 20)}"
        what = f"cannot make {where}: {shown(twin.name)} has its endpoints or if_id"
        return Refusal(what, "a link can have them once, wherever it is moved to", 1)

    def _made(self, link: Link, name: str) -> Applied | None:
        """Makes the link under this name, of which the kernel fills in a %d.

        None where there is one with that name, or the key.
        """
        try:
            flags = NLM_F_CREATE | NLM_F_EXCL
            self._home.namespace.request(RTM_NEWLINK, self._creation(link, name), flags)
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            return None
        if self._is_elsewhere:
            self._move(link)
            name = link.name
        made = self._namespace.link(name)
        if made is not None:
            choice = kernels_choice(made)
            plain = link._replace(own_link_local=False)
            return Applied(plain, True, made["index"], before=str(choice))
        # The kernel has named it, or somebody, udev perhaps, has renamed it since.
        renamed = self._observe.same_link(link)
        if renamed is None:
            raise _vanished()
        return renamed

    def _creation(self, link: Link, name: str) -> "Any":
        wanted = ifinfmsg()
        wanted["attrs"] = attributes(
            (
                ("IFLA_IFNAME", name),
                ("IFLA_GROUP", self._home.namespace.group),
                ("IFLA_MASTER", _ifindex_of_vrf(link.master, self._home.namespace) or None),
                ("IFLA_LINKINFO", link.info(self._lookup.device(link))),
            )
        )
        return wanted

    def _move(self, link: Link) -> None:
        """Moves a link that was made here to its namespace, where it has its name, and goes on to
        use what lies here.
        """
        home = self._home.namespace
        made = home.link(self._on_its_way)
        if made is None or not home.is_made_by_us(made):
            raise _vanished()
        wanted = message(ifinfmsg, index=made["index"])
        try:
            with opened(link.netns) as there:
                wanted["attrs"] = [("IFLA_NET_NS_FD", there), ("IFLA_IFNAME", link.name)]
                home.request(RTM_NEWLINK, wanted)
        except OSError:
            home.request(RTM_DELLINK, message(ifinfmsg, index=made["index"]))
            raise

    # Taking one away

    def take_away(self, known: Applied | None) -> None:
        """Deletes the link, unless it is borrowed, or another has its ifindex by now."""
        if known is None or known.ifindex is None:
            if self._is_elsewhere:
                self.clear_way()
            return
        if not known.borrowed and self._observe.is_there(known):
            self._namespace.request(RTM_DELLINK, message(ifinfmsg, index=known.ifindex))

    def clear_way(self) -> bool:
        """Takes away what an event that died has made here and not yet moved to its namespace;
        whether there was any.
        """
        home = self._home.namespace
        half_made = home.link(self._on_its_way)
        if half_made is None or not home.is_made_by_us(half_made):
            return False
        home.request(RTM_DELLINK, message(ifinfmsg, index=half_made["index"]))
        return True


def other_marks(
    there: Link,
    status: int,
    is_anothers: bool = False,
) -> Refusal:
    """A link that somebody else made can be borrowed only with the mark that it has.

    `status` is 2 where the plan sees it, and 1 where the kernel does. `is_anothers`: it is of
    another vti-updown, in whose use it is.
    """
    name = shown(there.name)
    what = f"{name} has these endpoints but okey {there.okey}, ikey {there.ikey}"
    if is_anothers:
        what = f"{name} of another vti-updown has okey {there.okey}, ikey {there.ikey}"
        return Refusal(what, "use if_id, or end that tunnel where it was made", status)
    return Refusal(what, f"give it the mark, or delete it: ip link del {name}", status)


def _ifindex_of_vrf(name: str, namespace: Namespace) -> int:
    """The ifindex of a VRF that a setting names; 0 for no name.

    A link of another kind may have its name by now.
    """
    if not name:
        return 0
    told = namespace.link(name)
    if told is None or vrf_table(told) is None:
        raise OSError(errno.ENODEV, f"there is no VRF {shown(name)}")
    return int(told["index"])


def _vanished() -> OSError:
    return OSError(errno.ENODEV, "it vanished as soon as it was made")


def _held_out_of_sight(link: Link) -> Refusal:
    """Why the kernel says that there is such a link, and shows none.

    One that was made here keeps its key wherever it is, and a namespace without a name is there as
    long as a process is in it.
    """
    what = f"cannot make link {link.name}: one like it is in another namespace"
    return Refusal(what, "end what runs there (lsns -t net)", 1)
