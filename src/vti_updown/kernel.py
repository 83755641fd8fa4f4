"""Takes steps in the kernel. With `sight` and `rtnetlink`, the only module that speaks netlink.

A step's object may be there already, made by us (an event that died) or by somebody else. Adding says which: whatever
is ours is taken over, whatever is not is left alone. `messages` says how ours is told.
"""

import errno
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from . import clamp
from . import rtnetlink as rt
from .bound import is_bound
from .errors import Refusal
from .messages import (
    AF,
    GROUP,
    IFF_MULTICAST,
    IFF_UP,
    IN6_ADDR_GEN_MODE_EUI64,
    IN6_ADDR_GEN_MODE_NONE,
    PROTOCOL,
    RTN_UNREACHABLE,
    address,
    labelled,
    link_info,
    link_local_mode,
    message,
    policy_off,
    read_rule,
    route,
    route_gone,
    rule,
)
from .namespace import is_there, missing, opened, within
from .sight import Sight, netns_of, netns_of_noun, sysctl_path
from .state import Address, Applied, Clamp, Link, Noun, Route, Rule, Setting, Step, about
from .text import shown

N = TypeVar("N", Address, Route)


ON_ITS_WAY = "vti-updown-new"
"""What a link is called that was made here and is to be moved. With a name of its own it cannot be taken for a tunnel that is
here to stay, and needs no name that is taken here."""


class Outcome(NamedTuple):
    """How a step ended that did not fail."""

    applied: Applied | None
    """What is now there and ours; None where nothing is."""
    foreign: str | None = None
    """What is there, and is not ours, so that the step was not taken; empty where that does no harm."""


class KernelError(Refusal):
    """A step that the kernel refused: status 1."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(what, HINTS.get(number, "try it by hand: run the hook with --dry-run"), 1)
        self.number = number


HINTS = {
    errno.EPERM: "the hook needs CAP_NET_ADMIN, as charon has",
    errno.EACCES: "is IPv6 off? see sysctl net.ipv6.conf.all.disable_ipv6",
    errno.EOPNOTSUPP: "load the module: modprobe ip_vti (IPv6 endpoints: ip6_vti; if_id: xfrm_interface)",
    errno.ENETDOWN: "set the link up: ip link set LINK up",
    errno.ENOBUFS: "the kernel is out of memory for it",
    errno.ENOMEM: "the kernel is out of memory for it",
}


class Kernel(Sight):
    """The network namespace of this process, and how to change it."""

    # Steps

    def stand_on(self, links: Mapping[str, Applied]) -> None:
        """The links that the next steps are about. One that is no longer there has no place any more."""
        self.links = {key: one if self.is_there(one) else one._replace(ifindex=None) for key, one in links.items()}

    def has_place(self, link: str) -> bool:
        """Whether the link with this key was there, or has been made."""
        where = self.links.get(link)
        return where is not None and where.ifindex is not None

    def take(self, step: Step, sure: bool = True, last: bool = False) -> Outcome:
        """Takes one step. `sure` is False where it is not known whether the object is there, or whose it is; `last` is True
        where a route is better made without its preferred source, if no link of this host has that any more, than not at all.

        Raises KernelError where the kernel refuses it; the object is then as it was, or (a link) half made.
        """
        noun = step.noun
        netns = "" if step.new is None else netns_of_noun(noun, self.links)
        if netns and not is_there(netns):
            raise Refusal(*missing(netns), 1)
        try:
            if step.new is None:
                self._remove(noun, sure)
                return Outcome(None)
            return self._put(noun, step.old, last)
        except OSError as error:
            raise _refused(step, error) from None

    def _put(self, noun: Noun, old: Noun | None, last: bool) -> Outcome:
        if isinstance(noun, Link):
            return self._put_link(noun, old is None)
        if isinstance(noun, Rule):
            return self._put_rule(noun)
        if isinstance(noun, Route):
            return self._put_route(noun, old, last)
        where = self._where(about(noun))
        if isinstance(noun, Clamp):
            return self._put_clamp(noun, where)
        if isinstance(noun, Setting):
            return Outcome(None, "") if where.borrowed else self._put_setting(noun, where)
        # By the name that it has now: somebody may have renamed the link.
        name = self._name(where.ifindex, netns_of(where)) if noun.address.version == 4 else ""
        return self._add(noun, lambda: labelled(noun, where.ifindex, name), old is None)

    def _where(self, link: str) -> Applied:
        """The link with this key. Raises OSError where it is not there."""
        where = self.links.get(link)
        if where is None or where.ifindex is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return where

    def _put_route(self, noun: Route, old: Noun | None, last: bool) -> Outcome:
        index = self._where(noun.link).ifindex if noun.link else None
        new = not (isinstance(old, Route) and self._has(old))
        try:
            return self._add(noun, lambda: route(noun, index), new)
        except rt.NetlinkError as error:
            if not (last and noun.source and error.errno == errno.EINVAL):
                raise
        return self._put_route(noun._replace(source=None), old, last)

    def _add(self, noun: N, build: Callable[[], Any], new: bool) -> Outcome:
        """Adds an address or a route. If one is there already: ours is replaced, another's is left."""
        netns, request = netns_of_noun(noun, self.links), rt.RTM_NEWADDR if isinstance(noun, Address) else rt.RTM_NEWROUTE
        if new:
            try:
                self._request(netns, request, build(), rt.NLM_F_CREATE | rt.NLM_F_EXCL)
                return Outcome(Applied(noun))
            except rt.NetlinkError as error:
                if error.errno != errno.EEXIST:
                    raise
            foreign = self._look_at_address(noun) if isinstance(noun, Address) else self._look_at_route(noun)
            if foreign is not None:
                return Outcome(None, foreign)
        self._request(netns, request, build(), rt.NLM_F_CREATE | rt.NLM_F_REPLACE)
        return Outcome(Applied(noun))

    def _put_rule(self, noun: Rule) -> Outcome:
        try:
            self._request("", rt.RTM_NEWRULE, rule(noun), rt.NLM_F_CREATE | rt.NLM_F_EXCL)
        except rt.NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            wanted = message(rt.fib_rule_hdr, family=AF[noun.family])
            same = [found for found in self._dump(rt.RTM_GETRULE, wanted) if read_rule(found) == noun]
            if not any(found.get_attr("FRA_PROTOCOL") == PROTOCOL for found in same):
                return Outcome(None, "")  # somebody else's says the same
        return Outcome(Applied(noun))

    def _put_clamp(self, noun: Clamp, where: Applied) -> Outcome:
        assert isinstance(where.noun, Link)
        made = noun._replace(name=where.noun.name)
        with within(noun.netns):
            why = clamp.put(made.name, made.ipv4, made.ipv6)
        return Outcome(Applied(made)) if why is None else Outcome(None, why)

    def _put_link(self, link: Link, new: bool) -> Outcome:
        known = self.links.get(link.key)
        found = None
        if known is not None and not (new and known.borrowed) and self.is_there(known):
            found = self._as_it_is(known, link) if new else known
        if found is None:
            found = self._created(link)
            if found.borrowed:
                self.links[link.key] = found
                return Outcome(found)
        was, index = found.noun, found.ifindex
        assert isinstance(was, Link) and index is not None
        if link.own_link_local != was.own_link_local or (new and link.own_link_local):
            mode = IN6_ADDR_GEN_MODE_NONE if link.own_link_local else IN6_ADDR_GEN_MODE_EUI64
            self._request(link.netns, rt.RTM_NEWLINK, link_local_mode(index, mode))
        wanted = message(rt.ifinfmsg, index=index, flags=IFF_UP | (IFF_MULTICAST if link.multicast else 0))
        wanted["change"] = IFF_UP | IFF_MULTICAST
        same = (was.kind, was.local, was.remote, was.okey, was.ikey, was.if_id) == link[:3] + link[4:6] + (link.if_id,)
        wanted["attrs"] = rt.attributes(
            (
                ("IFLA_IFALIAS", link.alias),
                ("IFLA_MTU", link.mtu or None),
                ("IFLA_MASTER", None if was.master == link.master else self._index(link.master, link.netns)),
                ("IFLA_LINKINFO", None if same else link_info(link, self._device(link))),
            )
        )
        self._request(link.netns, rt.RTM_NEWLINK, wanted)
        self.links[link.key] = Applied(link._replace(name=was.name), True, index)
        return Outcome(self.links[link.key])

    def _as_it_is(self, known: Applied, link: Link) -> Applied | None:
        """The link that is to become `link`, whatever was done of it; None where it is gone."""
        found = None if known.ifindex is None else self._link(known.ifindex, link.netns)
        there = None if found is None else self._read(found, link)
        return None if there is None else known._replace(noun=there)

    def _device(self, link: Link) -> int | None:
        """The ifindex of the underlying link; None for none. Raises Refusal where it is not there."""
        index = self._name_to_index(link.device)
        if index is None:
            raise Refusal(f"there is no link {shown(link.device)} to bind the tunnel to", "correct device in the settings", 1)
        return index or None

    def _index(self, name: str, netns: str) -> int:
        """The ifindex of a link that a setting names; 0 for no name."""
        if not name:
            return 0
        found = self._link(name, netns)
        if found is None:
            raise OSError(errno.ENODEV, f"there is no link {shown(name)}")
        return int(found["index"])

    def _created(self, link: Link) -> Applied:
        """Makes the link, or finds the one that has its key. Where another has the name by now, it takes a free one."""
        if link.netns and (there := self.same_link(link)) is not None:
            return there
        bound = link.kind == "vti" and not link.device and is_bound(link, self._way_out(link))
        if not bound and (made := self._made(link, ON_ITS_WAY if link.netns else link.name)) is not None:
            return made
        if link.netns:
            return self._created(link) if self._clear_way() else self._refuse_twin(link)
        found = self.same_link(link) or self._made(link, f"{'xfrm' if link.if_id else 'vti'}%d")
        if found is None:
            raise _held_out_of_sight(link)
        was = found.noun
        assert isinstance(was, Link)
        if found.borrowed and (was.okey, was.ikey) != (link.okey, link.ikey):
            raise Refusal(
                f"{shown(was.name)} has these endpoints but okey {was.okey}, ikey {was.ikey}",
                f"give it the mark, or delete it: ip link del {shown(was.name)}",
                1,
            )
        return found

    def _refuse_twin(self, link: Link) -> Applied:
        """A link for another namespace is made here first, and here is one like it."""
        here = self.same_link(link._replace(netns=""))
        if here is None:
            raise _held_out_of_sight(link)
        name = shown(here.noun.name) if isinstance(here.noun, Link) else ""
        what = f"cannot make link {link.name} in {shown(link.netns, 20)}: {name} has its endpoints or if_id"
        raise Refusal(what, "a link can have them once, wherever it is moved to", 1)

    def _made(self, link: Link, name: str) -> Applied | None:
        """Makes the link under this name, of which the kernel fills in a %d; None where there is one with it, or the key."""
        wanted = rt.ifinfmsg()
        wanted["attrs"] = rt.attributes(
            (
                ("IFLA_IFNAME", name),
                ("IFLA_GROUP", GROUP),
                ("IFLA_MASTER", self._index(link.master, "") or None),
                ("IFLA_LINKINFO", link_info(link, self._device(link))),
            )
        )
        try:
            self._request("", rt.RTM_NEWLINK, wanted, rt.NLM_F_CREATE | rt.NLM_F_EXCL)
        except rt.NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            return None
        if link.netns:
            self._move(link)
        made = self._link(link.name if link.netns else name, link.netns)
        if made is not None:
            return Applied(link._replace(own_link_local=False), True, made["index"])
        # The kernel has named it, or somebody, udev perhaps, has renamed it since.
        if (renamed := self.same_link(link)) is None:
            raise OSError(errno.ENODEV, "it vanished as soon as it was made")
        return renamed

    def _move(self, link: Link) -> None:
        """Moves a link that was made here to its namespace, where it has its name, and goes on to use what lies here."""
        made = self._link(ON_ITS_WAY)
        if made is None:
            raise OSError(errno.ENODEV, "it vanished as soon as it was made")
        wanted = message(rt.ifinfmsg, index=made["index"])
        try:
            with opened(link.netns) as there:
                wanted["attrs"] = [("IFLA_NET_NS_FD", there), ("IFLA_IFNAME", link.name)]
                self._request("", rt.RTM_NEWLINK, wanted)
        except OSError:
            self._request("", rt.RTM_DELLINK, message(rt.ifinfmsg, index=made["index"]))
            raise

    def _put_setting(self, setting: Setting, where: Applied) -> Outcome:
        try:
            self._set(setting, where)
        except rt.NetlinkError:
            raise
        except OSError as error:  # no netlink attribute sets it, and in a container /proc/sys is read-only
            return Outcome(None, f"{setting.family} {setting.name} as it was ({error.strerror})")
        return Outcome(Applied(setting))

    def _set(self, setting: Setting, where: Applied) -> None:
        assert where.ifindex is not None
        netns = netns_of(where)
        if (setting.family, setting.name) == ("ipv4", "disable_policy"):
            self._request(netns, rt.RTM_NEWLINK, policy_off(where.ifindex, setting.value))
            return
        link = self._link(where.ifindex, netns)
        if link is None:
            raise rt.NetlinkError(errno.ENODEV, os.strerror(errno.ENODEV))
        with within(netns), open(sysctl_path(setting, link), "w", encoding="ascii") as file:
            file.write(str(setting.value))

    def _remove(self, noun: Noun, sure: bool) -> None:
        """Takes an object away; one that is gone already is taken away."""
        try:
            self._take_away(noun, sure)
        except OSError as error:
            gone = (errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)
            if error.errno not in gone:
                raise

    def _take_away(self, noun: Noun, sure: bool) -> None:
        where = self.links.get(noun.link)
        if isinstance(noun, Route):
            self._remove_route(noun, where, sure)
        elif isinstance(noun, Rule):
            self._request("", rt.RTM_DELRULE, rule(noun))
        elif isinstance(noun, Clamp):
            with within(noun.netns):
                clamp.remove(noun.name)
        elif where is None or where.ifindex is None:
            if isinstance(noun, Link) and noun.netns:
                self._clear_way()
        elif isinstance(noun, Link):
            if not where.borrowed and self.is_there(where):
                self._request(noun.netns, rt.RTM_DELLINK, message(rt.ifinfmsg, index=where.ifindex))
        elif isinstance(noun, Setting):
            if not where.borrowed:
                self._set(noun._replace(value=0), where)
        elif sure or self._look_at_address(noun) is None:
            self._request(netns_of(where), rt.RTM_DELADDR, address(noun, where.ifindex))

    def _remove_route(self, noun: Route, where: Applied | None, sure: bool) -> None:
        """Deletes the route of ours with this key: through its link or, where that is not sure, wherever it leads."""
        if sure and (not noun.link or (where is not None and where.ifindex is not None)):
            index = where.ifindex if where is not None and noun.link else None
            self._request(noun.netns, rt.RTM_DELROUTE, route_gone(noun, index))
            return
        for found in list(self._routes(noun, PROTOCOL)):
            led = noun if found["type"] == RTN_UNREACHABLE else noun._replace(link=noun.link or "?")
            index = None if found["type"] == RTN_UNREACHABLE else found.get_attr("RTA_OIF")
            self._request(noun.netns, rt.RTM_DELROUTE, route_gone(led, index))

    def _clear_way(self) -> bool:
        """Takes away what an event that died has made here and not yet moved to its namespace; whether there was any."""
        half = self._link(ON_ITS_WAY)
        if half is None or not self._is_ours(half, ""):
            return False
        self._request("", rt.RTM_DELLINK, message(rt.ifinfmsg, index=half["index"]))
        return True


def _refused(step: Step, error: OSError) -> KernelError:
    doing = "take away" if step.new is None else "make" if step.old is None else "change"
    why = shown(error.strerror or error, 60)  # a reply that does not come has no number
    return KernelError(error.errno or 0, f"cannot {doing} {_named(step.noun)}: {why}")


def _held_out_of_sight(link: Link) -> Refusal:
    """Why the kernel says that there is such a link, and shows none: one that was made here keeps its key wherever it is, and
    a namespace without a name is there as long as a process is in it.
    """
    what = f"cannot make link {link.name}: one like it is in another namespace"
    return Refusal(what, "end what runs there (lsns -t net)", 1)


def _named(noun: Noun) -> str:
    if isinstance(noun, Link):
        return f"link {noun.name}"
    if isinstance(noun, Setting):
        return f"{noun.family} {noun.name}"
    if isinstance(noun, Rule):
        return f"rule {noun.priority}"
    if isinstance(noun, Clamp):
        return f"the MSS clamp of {noun.name}"
    return f"address {noun.address}" if isinstance(noun, Address) else f"route {noun.destination}"
