"""Sites: hosts that are wired, the calls of the hook on one of them, and what passes between them.

A test file derives the site that it needs. `HOSTS` says who is there, and `set_up` wires them.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, Self

import pytest

from .capture import Capture
from .host import Host, changes, wire
from .namespaces import WAIT_SECONDS

PINGS = 3
INNER = "net 10.0.0.0/8 or net fd00::/16"
"""What is behind a tunnel, and may not be seen on the wire."""
COUNT_RECORDS = """
import glob, sqlite3
(file,) = glob.glob("/run/vti-updown/*.sqlite")
records = sqlite3.connect(file)
tables = ("reference", "wish", "applied")
print([records.execute("select count(*) from " + table).fetchone()[0] for table in tables])
"""

Addresses = tuple[str, str]
"""Of the near host, and of the far one."""


class Calls:
    """What the hook prints on a host, from one look to the next."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._read = 0

    def events(self, count: int, seconds: float = WAIT_SECONDS) -> list[str]:
        """Waits for the hook's next `count` lines in the log, and returns them."""
        new = self._new(self.host.hook_log(at_least=self._read + count, seconds=seconds))
        assert len(new) == count, (new, self.host.log()[-4000:])
        return new

    def more(self, seconds: float) -> list[str]:
        """The hook's lines of the next `seconds`, or less where some have come."""
        return self._new(self.host.hook_log(at_least=self._read + 1, seconds=seconds))

    def forget(self) -> None:
        """Counts from here, as a new charon logs from the start again."""
        self._read = len(self.host.hook_log())

    def _new(self, log: list[str]) -> list[str]:
        new = log[self._read :]
        self._read = len(log)
        return new


class Site:
    """Hosts by their names, while the `with` lasts. The first of them has the hook."""

    HOSTS: tuple[str, ...] = ("moon", "sun")
    """Their names, each with the packages that it has beside those of the machine."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.before = ""
        """The network state that `as_before` compares with."""

    @classmethod
    def fixture(cls, scope: Literal["function", "module", "session"] = "module") -> Any:
        """A fixture of pytest: such a site, which a module's tests share."""

        @pytest.fixture(scope=scope)
        def site() -> Iterator[Any]:
            with cls() as made:
                yield made

        return site

    def set_up(self) -> None:
        """Wires the hosts, and starts what runs on them."""

    def __enter__(self) -> Self:
        with ExitStack() as hosts:
            for words in self.HOSTS:
                name, *packages = words.split()
                self.hosts[name] = hosts.enter_context(Host(name, *packages))
            self.hooked = next(iter(self.hosts.values()))
            self.calls = Calls(self.hooked)
            self.set_up()
            self._hosts = hosts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._hosts.close()

    def __getattr__(self, name: str) -> Host:
        """A host by its name."""
        try:
            return self.__dict__["hosts"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(name) from None

    def events(self, count: int) -> list[str]:
        """The next lines of the hook."""
        return self.calls.events(count)

    def no_events(self) -> None:
        """Nothing has called the hook since the last `events`."""
        assert self.calls.more(1) == []

    def up(self, child: str, count: int = 1) -> list[str]:
        """Initiates a CHILD_SA; what the hook says to it."""
        self.hooked.run("swanctl", "--initiate", "--child", child)
        return self.events(count)

    def down(self, ike: str, count: int = 1) -> list[str]:
        """Ends an IKE_SA; what the hook says to it."""
        self.hooked.run("swanctl", "--terminate", "--ike", ike)
        return self.events(count)

    def both_ways(
        self,
        *pairs: Addresses,
        near: Host | None = None,
        far: Host | None = None,
        bound: bool = False,
        link: str = "",
        uplink: str = "",
    ) -> None:
        """Pings between the addresses of each pair are answered in both directions.

        `near` is the host with the hook, and `far` is sun, where nothing else is said. `near`
        chooses its source address by itself, unless it is `bound` to that of the pair. All packets
        pass `link` of the hook's host, and on its `uplink` they are ESP alone.
        """
        near, far = near or self.hooked, far or self.sun
        with ExitStack() as checks:
            if uplink:
                checks.enter_context(self.only_esp(uplink, 4 * PINGS * len(pairs)))
            if link:
                checks.enter_context(self.carried(link, 2 * PINGS * len(pairs)))
            for mine, its in pairs:
                assert near.ping(its, source=mine if bound else "") == PINGS, (near.name, its)
                assert far.ping(mine, source=its) == PINGS, (far.name, mine)

    @contextmanager
    def carried(self, link: str, count: int) -> Iterator[None]:
        """Meanwhile so many packets come in, and as many go out, by a link of the hook's host."""
        received, sent = self.hooked.counters(link)
        yield
        assert self.hooked.counters(link) == (received + count, sent + count)

    @contextmanager
    def only_esp(self, uplink: str, count: int, inner: str = INNER) -> Iterator[None]:
        """Meanwhile so many packets are on an uplink of the hook's host, all of them ESP."""
        with Capture(self.hooked, uplink, f"esp or {inner}") as seen:
            yield
        assert [line for line in seen.lines if "ESP(" not in line] == []
        assert seen.count == count, seen.lines

    def unchanging(self) -> tuple[Host, ...]:
        """The hosts that a test has to leave as it found them."""
        return (self.hooked,)

    @contextmanager
    def leaves_nothing(self) -> Iterator[None]:
        """At the end the hosts' network states are what they were, and nothing is on record."""
        before = {host: host.network_state() for host in self.unchanging()}
        self.before = before[self.hooked]
        yield
        for host, state in before.items():
            nothing_left(host, state)

    def as_before(self) -> None:
        """The same, while a test is under way."""
        time.sleep(0.3)
        nothing_left(self.hooked, self.before)


def nothing_left(host: Host, before: str) -> None:
    """The host's whole network state is `before`, and nothing is on record."""
    assert changes(before, host.network_state()) == []
    assert host.run("python3", "-c", COUNT_RECORDS) == "[0, 0, 0]\n"


def forwards(*hosts: Host) -> None:
    """They are routers."""
    for host in hosts:
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


def has(host: Host, *addresses: str, link: str = "lo") -> None:
    """The host has these addresses; on lo they stand for a network behind it."""
    for address in addresses:
        host.run("ip", "addr", "add", address, "dev", link)


def default_route(host: Host, *hops: str) -> None:
    """The host sends what it knows no other way for to these."""
    for hop in hops:
        host.run("ip", "route", "add", "default", "via", hop)


def behind_nat(nat: Host, *peers: Host) -> None:
    """The peers are 10.66.1.2, 10.66.2.2 …; nat lets them out of its eth0 with its address."""
    for number, peer in enumerate(peers, 1):
        wire(peer, nat, f"lan{number}", [(f"10.66.{number}.2/24", f"10.66.{number}.1/24")])
        default_route(peer, f"10.66.{number}.1")
    nat.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    nat.run(
        "nft",
        "add table ip nat;"
        "add chain ip nat out { type nat hook postrouting priority 100; };"
        "add rule ip nat out oifname eth0 masquerade",
    )


def way(host: Host, *to: str) -> str:
    """The link that packets to an address leave by."""
    return host.run("ip", "route", "get", *to).split(" dev ")[1].split()[0]
