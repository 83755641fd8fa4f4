"""Processes of a test's own."""

import os
from collections.abc import Callable


def fork(call: Callable[[], object]) -> int:
    """A process that makes this call, and ends. Returns its PID."""
    child = os.fork()
    if child == 0:
        try:
            call()
        finally:
            os._exit(0)
    return child
