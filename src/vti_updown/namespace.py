"""Entering a named network namespace for a moment, as `ip netns exec` does. Only tunnels that the settings move need it."""

import contextlib
import os
from collections.abc import Iterator

FOLDER = "/run/netns"
"""Where `ip netns` keeps its names."""
CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def within(name: str) -> Iterator[None]:
    """This thread is in the namespace meanwhile; empty is where it is. Raises OSError where there is no such namespace."""
    if not name:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with opened(name) as there:
            _enter(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


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
