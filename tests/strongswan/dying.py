"""The hook, killed before one of its changes of the kernel: dying.py NUMBER FLAG…"""

import os
import signal
import sys
from typing import Any

from vti_updown import cli
from vti_updown import netlink as rt

CHANGES = (
    rt.RTM_NEWLINK,
    rt.RTM_DELLINK,
    rt.RTM_NEWADDR,
    rt.RTM_DELADDR,
    rt.RTM_NEWROUTE,
    rt.RTM_DELROUTE,
)


def main(number: int) -> int:
    request = rt.Socket.request
    left = number

    def counted(socket: rt.Socket, kind: int, message: Any, flags: int = 0) -> list[Any]:
        nonlocal left
        if kind in CHANGES:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return request(socket, kind, message, flags)

    rt.Socket.request = counted  # type: ignore[assignment,method-assign]
    return cli.main()


if __name__ == "__main__":
    sys.argv.pop(0)
    sys.exit(main(int(sys.argv[0])))
