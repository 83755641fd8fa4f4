"""`vti-updown report`: one file about this host for somebody else to read, without secrets."""

import glob
import os
import platform
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata

from .. import __version__, processes
from ..named_tuple import NamedTuple
from ..settings.choose import chosen_file
from ..settings.table import FlagWords
from ..text import Refusal, shown
from ..vici import charons
from .charon_files import IPSEC_CONF, SWANCTL_CONF
from .check_config import check
from .history import history, recorded
from .outcome import Outcome
from .screen import amount, counted
from .secrets import Cleaned, cleaned
from .status import Screens, screens

SECONDS = 20
"""How long a program may take."""
SECTION_CHARACTERS = 1 << 22
"""More of a section is left out: a host may have a million routes."""
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CONFIGURATION = (
    SWANCTL_CONF,
    "/etc/swanctl/conf.d/*.conf",
    IPSEC_CONF,
    "/etc/ipsec.d/*.conf",
    "/var/lib/strongswan/ipsec.conf.inc",
    "/etc/strongswan.conf",
    "/etc/strongswan.d/*.conf",
    "/etc/strongswan.d/charon/*.conf",
)
"""charon's own files, as strongSwan's and Debian's defaults have them."""
PACKAGES = ("pyroute2", "click")
SYSCTLS = ("ip_forward", "conf/*/rp_filter", "conf/*/forwarding", "conf/*/disable_policy")
COMMANDS = (
    "ip -d -s link show",
    "ip addr show",
    "ip rule show",
    "ip -6 rule show",
    "ip route show table all",
    "ip -6 route show table all",
    "ip xfrm policy show",
    "ip -s xfrm state list nokeys",
    "ip netns list",
    "nft list ruleset",
    "iptables-save",
    "ip6tables-save",
)
COUNTERS = ("/proc/net/xfrm_stat", "/proc/net/snmp", "/proc/net/netstat")


class Section(NamedTuple):
    """One part of the report."""

    title: str
    read: Callable[[str], str]
    """Its text, by its title. What it raises is told in its place."""


class Written(NamedTuple):
    """A section as it is in the file."""

    title: str
    cleaned: Cleaned


def report(paths: Sequence[str], flags: FlagWords) -> Outcome:
    """Writes the file, and says what is in it. A dry run says what would be.

    Raises Refusal if it cannot be written, or is there already.
    """
    if len(paths) > 1:
        raise Refusal("a report is one file", "name one, or none")
    path = paths[0] if paths else _default_path()
    sections = [_written(section) for section in _sections(flags)]
    text = "\n".join(_lines_of(sections))
    if "dry-run" in flags:
        return Outcome([f"{path} would have", *_told(sections)])
    _write(path, text)
    size = amount(len(text.encode("utf-8", "replace")))
    return Outcome([f"wrote {path}, {size}", *_told(sections)])


def _default_path() -> str:
    """A name that tells the host and the time, and that no file has yet."""
    now = time.strftime("%Y%m%d-%H%M%S")
    host = re.sub(r"\W", "-", socket.gethostname())
    stem = f"vti-updown-report-{host}-{now}"
    path = f"{stem}.txt"
    number = 1
    while os.path.lexists(path):
        number += 1
        path = f"{stem}-{number}.txt"
    return path


def _write(path: str, text: str) -> None:
    """Nobody else may read it, and it takes no other file's place."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(path, flags, 0o600), "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        what = f"cannot write {shown(path, 100)}: {error.strerror}"
        raise Refusal(what, "name another file: vti-updown report FILE", 1) from None


def _told(sections: Sequence[Written]) -> list[str]:
    """What is in the file, and what its reader learns."""
    lines = []
    left_out = 0
    for section in sections:
        count = len(section.cleaned.text.splitlines())
        lines.append(f"  {section.title} ({counted(count, 'line')})")
        left_out += section.cleaned.left_out
    secrets = f"keys, passwords and other secrets are left out, in {counted(left_out, 'place')}"
    return [
        *lines,
        secrets,
        "it has addresses, names and routes of this host: look through it before you send it",
    ]


def _lines_of(sections: Sequence[Written]) -> Iterator[str]:
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    yield f"vti-updown report of {now}. Secrets are left out, addresses and names are not."
    for section in sections:
        yield f"\n===== {section.title} =====\n"
        yield section.cleaned.text.rstrip("\n")
    yield ""


def _written(section: Section) -> Written:
    try:
        text = section.read(section.title)
    except Refusal as refusal:
        text = f"could not look: {refusal.message}"
    except (OSError, subprocess.SubprocessError) as error:
        text = f"could not look: {error}"
    if len(text) > SECTION_CHARACTERS:
        text = f"{text[:SECTION_CHARACTERS]}\n(cut: it has {amount(len(text))})"
    return Written(section.title, cleaned(text))


# What is in it


def _sections(flags: FlagWords) -> list[Section]:
    """The most telling first."""
    reader = _Reader(flags)
    sections = [
        Section("versions", _versions),
        Section("vti-updown status", reader.status),
        Section("vti-updown status, every tunnel", reader.details),
        Section("vti-updown history", reader.history),
        Section("vti-updown check-config", reader.check_config),
        Section(reader.file.path, _file),
    ]
    for root in _roots():
        for pattern in CONFIGURATION:
            sections += [Section(path, _file) for path in _files(root, pattern)]
    sections.append(Section("sysctls", _sysctls))
    sections += [Section(path, _file) for path in COUNTERS]
    sections += [Section(command, _output) for command in COMMANDS]
    return sections


class _Reader:
    """What our own commands say, with these flags."""

    def __init__(self, flags: FlagWords) -> None:
        self._flags = flags
        self._screens: Screens | None = None
        self.file = chosen_file(flags)

    def status(self, _title: str) -> str:
        return "\n".join(self._look().overview)

    def details(self, _title: str) -> str:
        return "\n".join(self._look().details)

    def _look(self) -> Screens:
        """There is one look at the host for both."""
        if self._screens is None:
            self._screens = screens(self._flags)
        return self._screens

    def history(self, _title: str) -> str:
        names = {story.tunnel.connection for story in recorded()}
        outcome = history(sorted(names), log_file=None, is_json=False)
        return "\n".join(outcome.lines)

    def check_config(self, _title: str) -> str:
        return "\n".join(check(self.file).lines)


def _roots() -> list[str]:
    """Our own root, and that of each charon that has another one, as in a container."""
    own = processes.namespace_of("self", "mnt")
    roots = [""]
    for charon in charons.find().ours:
        if processes.namespace_of(charon.pid, "mnt") != own:
            roots.append(f"{processes.PROC}/{charon.pid}/root")
    return roots


def _versions(_title: str) -> str:
    packages = [f"{package} {_version_of(package)}" for package in PACKAGES]
    lines = [
        f"vti-updown {__version__}",
        f"Python {platform.python_version()} ({sys.executable})",
        *packages,
        f"Linux {platform.release()} {platform.version()} {platform.machine()}",
        _name_of_system(),
        _output("ip -V"),
        _output("nft --version"),
        _output("dpkg-query -W strongswan* charon-systemd libcharon* iproute2 nftables"),
    ]
    return "\n".join(lines)


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "is not installed"


def _name_of_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "a system without os-release"


def _files(root: str, pattern: str) -> list[str]:
    """The files of a pattern below a root, but for those that hold nothing but secrets.

    A symbolic link of a container leads to what is below its root, and not to a file of ours.
    """
    paths = sorted(glob.glob(f"{root}{pattern}"))
    files = [charons.within(root, path.removeprefix(root)) for path in paths]
    return [path for path in files if "secret" not in os.path.basename(path)]


def _file(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(SECTION_CHARACTERS + 1)


def _sysctls(_title: str) -> str:
    lines = []
    for family in ("ipv4", "ipv6"):
        for pattern in SYSCTLS:
            for path in sorted(glob.glob(f"/proc/sys/net/{family}/{pattern}")):
                value = _file(path).strip()
                lines.append(f"{path.removeprefix('/proc/sys/')} = {value}")
    return "\n".join(lines)


def _output(command: str) -> str:
    """What a command prints, and how it failed. One that is not there is no failure."""
    words = command.split()
    try:
        done = subprocess.run(  # noqa: S603 (the commands are in the table above)
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return f"there is no {words[0]} here"
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        text = f"{text}\n(exit status {done.returncode})"
    return text
