"""Where this host's records are, and the group by which the links that they know are told.

A container may have a /run of its own, and the host's network. Then there are two states in one
network namespace, each with its own records, and neither knows what the other one has. So the links
of each have a group of their own. A group is set in the request that makes a link, so a link is
never without it.
"""

import os

DIRECTORY = "/run/vti-updown"
FILE = "state"
"""The file beside the records that has the number, once it is written down."""
GROUPS = 0x7674
"""The upper half of every state's group, "vt" in ASCII. The lower half tells the states apart."""
NUMBER_BITS = 16


def group(directory: str = DIRECTORY) -> int:
    """The group of our links (IFLA_GROUP)."""
    return GROUPS << NUMBER_BITS | _number(directory)


def is_group(number: int | None) -> bool:
    """Whether this is the group of any state."""
    return number is not None and number >> NUMBER_BITS == GROUPS


def keep(directory: str) -> None:
    """Writes the number down beside the records.

    Whoever has this directory, by a bind mount perhaps, then has the same number.
    """
    try:
        with open(f"{directory}/{FILE}", "x", encoding="utf-8") as file:
            number = _derived(directory)
            file.write(str(number))
    except OSError:
        pass  # It is there already, or there is no room for it. Then it is derived.


def _number(directory: str) -> int:
    """What tells this state from others."""
    try:
        with open(f"{directory}/{FILE}", encoding="utf-8") as file:
            number = int(file.read())
    except (OSError, ValueError):
        return _derived(directory)
    return number % (1 << NUMBER_BITS)


def _derived(directory: str) -> int:
    """The number if none is written down: from the file system and the inode of /run.

    It is the same after the records were lost. Where the directory itself is a mount, it does not
    go with the records, and tells more.
    """
    import zlib  # only the first event needs it

    place = directory if _is_mount(directory) else os.path.dirname(directory)
    try:
        status = os.stat(place)
    except OSError:
        return 0
    identity = f"{status.st_dev} {status.st_ino}"
    return zlib.crc32(identity.encode()) % (1 << NUMBER_BITS)


def _is_mount(directory: str) -> bool:
    """Whether something is mounted there, by proc(5), /proc/PID/mountinfo.

    os.path.ismount() sees no bind mount from the same file system.
    """
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            return any(mount.split()[4] == directory for mount in mounts)
    except OSError:
        return False
