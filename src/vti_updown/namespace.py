"""Entering a named network namespace for a moment, as `ip netns exec` does. Only tunnels that the settings move need it."""

import contextlib
import errno
import os
from collections.abc import Iterator

from .text import shown

FOLDER = "/run/netns"
"""Where `ip netns` keeps its names."""
CLONE_NEWNET = 0x40000000


def names() -> list[str]:
    """All that `ip netns` knows."""
    try:
        return sorted(os.listdir(FOLDER))
    except OSError:
        return []


def is_there(name: str) -> bool:
    """Whether there is a namespace of this name."""
    return os.path.exists(f"{FOLDER}/{name}")


def missing(name: str) -> tuple[str, str]:
    """What to say where there is no namespace of this name, and what to do."""
    return f"there is no network namespace {shown(name, 40)}", f"make it: ip netns add {shown(name, 40)}"


@contextlib.contextmanager
def home() -> Iterator[int]:
    """A file descriptor of the namespace that this thread is in."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield here
    finally:
        os.close(here)


@contextlib.contextmanager
def within(name: str) -> Iterator[None]:
    """This thread is in the namespace meanwhile; empty is where it is. Raises OSError where there is no such namespace."""
    if not name:
        yield
        return
    with home() as here:
        with opened(name) as there:
            try:
                _enter(there)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # A file without a namespace: `ip netns` leaves one behind where its mount is lost.
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        try:
            yield
        finally:
            _enter(here)


@contextlib.contextmanager
def opened(name: str) -> Iterator[int]:
    """A file descriptor of the namespace."""
    there = os.open(f"{FOLDER}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield there
    finally:
        os.close(there)


def _enter(namespace: int) -> None:
    import ctypes  # os.setns() is of Python 3.12

    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
