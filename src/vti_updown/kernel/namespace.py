"""Network namespaces: their names, entering one for a moment as `ip netns exec` does, a netlink
socket in each, and whose the links there are.

Only tunnels that the settings move need another than charon's own.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any

from .. import state
from ..netlink import (
    NLM_F_DUMP,
    RTM_GETLINK,
    RTM_GETNSID,
    NetlinkError,
    Socket,
    rtgenmsg,
    text,
)
from ..objects.link import IFF_RUNNING, ifinfmsg
from ..text import Refusal, shown

FOLDER = "/run/netns"
"""Where `ip netns` keeps its names."""
NAME_MAX = 255
"""The longest name of a file (limits.h)."""
CLONE_NEWNET = 0x40000000
OWN = ""
"""The name of the namespace that this process is in: charon's own."""


BOOT_ID = "/proc/sys/kernel/random/boot_id"
"""A number that is drawn anew at each boot (random(4))."""
BOOT_ID_LETTERS = 8
"""As much of it as tells one boot from the next."""


class Namespace:
    """A network namespace, and a socket in it. It meets `objects.object.Namespace`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.group = state.group()
        """Of our links."""
        self.others: dict[str, None] = {}
        """The names of the links of others that were met here; see `is_anothers`."""
        self._opened: Socket | None = None

    @property
    def socket(self) -> Socket:
        """Opened when it is first needed. Raises OSError where there is no such namespace."""
        if self._opened is None:
            with self.within():
                self._opened = Socket()
        return self._opened

    def look(self) -> None:
        """Raises OutOfSight where it is there, and we cannot look into it."""
        try:
            _ = self.socket
        except FileNotFoundError:
            return
        except OSError as error:
            if self.name == OWN:
                raise
            raise _out_of_sight(self.name, error) from None

    def request(
        self,
        kind: int,
        wanted: Any,
        flags: int = 0,
    ) -> list[Any]:
        """Raises OSError where the kernel refuses, or the namespace is not there."""
        return self.socket.request(kind, wanted, flags)

    def dump(self, kind: int, wanted: Any) -> list[Any]:
        """All objects of a kind, or those that the message asks for."""
        return self.request(kind, wanted, NLM_F_DUMP)

    def raw_dump(self, kind: int, wanted: Any) -> list[bytes]:
        """The same, not decoded."""
        return self.socket.raw(kind, wanted, NLM_F_DUMP)

    def link(self, name_or_index: str | int | None) -> Any | None:
        """The message of a link, by its name or its ifindex; None where it is not there.

        No name and no ifindex is no link.
        """
        if not name_or_index:
            return None
        wanted = ifinfmsg()
        if isinstance(name_or_index, int):
            wanted["index"] = name_or_index
        else:
            wanted["attrs"] = [("IFLA_IFNAME", name_or_index)]
        try:
            return self.request(RTM_GETLINK, wanted)[0]
        except FileNotFoundError:
            return None  # The namespace is gone, and all in it.
        except NetlinkError as error:
            if error.errno in (errno.ENODEV, errno.EINVAL):
                return None
            raise

    def ifname(self, ifindex: int | None) -> str:
        """The name that a link has now; empty where it is not there."""
        told = self.link(ifindex)
        if told is None:
            return ""
        return text(told.get_attr("IFLA_IFNAME"))

    # Whose a link is

    def is_made_by_us(self, told: Any) -> bool:
        """Whether a link that a message tells of is ours."""
        return bool(told.get_attr("IFLA_GROUP") == self.group) and self.is_at_home(told)

    def is_in_use(self, ifindex: int) -> bool:
        """Whether a link that is not ours is up, and has a carrier."""
        told = self.link(ifindex)
        return told is not None and bool(told["flags"] & IFF_RUNNING) and not self.is_ours(ifindex)

    def is_ours(self, name_or_index: str | int | None) -> bool:
        """Whether the link is there, and ours."""
        told = self.link(name_or_index)
        return told is not None and self.is_made_by_us(told)

    def is_anothers(self, name_or_index: str | int | None) -> bool:
        """Whether another vti-updown has made the link.

        That has its records elsewhere, or it runs in this namespace and we do not.
        """
        told = self.link(name_or_index)
        return told is not None and self.is_made_by_another(told)

    def is_made_by_another(self, told: Any) -> bool:
        """The same of a link that a message tells of."""
        is_anothers = state.is_group(told.get_attr("IFLA_GROUP")) and not self.is_made_by_us(told)
        if is_anothers:
            self.others[text(told.get_attr("IFLA_IFNAME"))] = None
        return is_anothers

    def has_others(self) -> bool:
        """Whether another vti-updown has any link here.

        What it costs grows with the number of links.
        """
        links = self.dump(RTM_GETLINK, ifinfmsg())
        others = [told for told in links if self.is_made_by_another(told)]
        return bool(others)

    def is_at_home(self, told: Any) -> bool:
        """Whether a link here was made in charon's own namespace, where its outer packets go."""
        return bool(told.get_attr("IFLA_LINK_NETNSID") == self._number_of_home())

    def _number_of_home(self) -> int | None:
        """What charon's namespace is called in this one (ip-netns(8), "nsid").

        None: it is the same. -1: it is not known here.
        """
        if self.name == OWN:
            return None
        with home() as here, opened(self.name) as there:
            if os.path.sameopenfile(here, there):
                return None
            wanted = rtgenmsg()
            wanted["attrs"] = [("NETNSA_FD", here)]
            answer, *_ = self.request(RTM_GETNSID, wanted)
            return int(answer.get_attr("NETNSA_NSID"))

    def within(self) -> contextlib.AbstractContextManager[None]:
        """This thread is in the namespace meanwhile."""
        return within(self.name)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()


class OutOfSight(Refusal):
    """A namespace that is there, and that we cannot look into: status 1."""


def _out_of_sight(name: str, error: OSError) -> OutOfSight:
    netns = shown(name, 20)
    what = f"cannot look into network namespace {netns}: {shown(error.strerror, 40)}"
    return OutOfSight(what, f"see ls -l {FOLDER}/{netns}; it needs CAP_SYS_ADMIN", 1)


def this_boot() -> str:
    """What tells this boot from others. Empty if /proc does not say."""
    try:
        with open(BOOT_ID, encoding="utf-8") as file:
            return file.read(BOOT_ID_LETTERS)
    except OSError:
        return ""


def names() -> list[str]:
    """All that `ip netns` knows."""
    try:
        return sorted(os.listdir(FOLDER))
    except OSError:
        return []


def namesakes(name: str) -> list[str]:
    """All names of the namespace of this name, in order. OWN comes first."""
    there = identity(name)
    if there is None:
        return [name]
    return [other for other in (OWN, *names()) if identity(other) == there]


def identity(name: str) -> tuple[int, int] | None:
    """What tells a namespace from every other that is there now. None where there is none."""
    file = "/proc/thread-self/ns/net" if name == OWN else f"{FOLDER}/{name}"
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def exists(name: str) -> bool:
    """Whether there is a namespace of this name."""
    return os.path.exists(f"{FOLDER}/{name}")


def missing(name: str) -> tuple[str, str]:
    """What to say where there is no namespace of this name, and what to do."""
    whole = shown(name, NAME_MAX)  # A command that is cut is no remedy.
    return f"there is no network namespace {shown(name)}", f"make it: ip netns add {whole}"


@contextlib.contextmanager
def home() -> Iterator[int]:
    """A file descriptor of the namespace that this thread is in."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield here
    finally:
        os.close(here)


@contextlib.contextmanager
def opened(name: str) -> Iterator[int]:
    """A file descriptor of a namespace. Raises OSError where there is none of this name."""
    # What is no namespace may be a pipe, which would be waited for.
    there = os.open(f"{FOLDER}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield there
    finally:
        os.close(there)


@contextlib.contextmanager
def within(name: str) -> Iterator[None]:
    """This thread is in the namespace meanwhile.

    Raises OSError where there is none of this name.
    """
    if name == OWN:
        yield
        return
    with home() as here:
        with opened(name) as there:
            _enter_named(there)
        try:
            yield
        finally:
            _enter(here)


def _enter_named(namespace: int) -> None:
    """Where its mount is lost, `ip netns` leaves a file behind without a namespace."""
    try:
        _enter(namespace)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None


def _enter(namespace: int) -> None:
    import ctypes  # os.setns() is of Python 3.12

    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
