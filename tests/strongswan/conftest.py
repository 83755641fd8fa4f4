"""Two hosts with a charon each, shared by the tests of a module: moon with the hook, and sun, a gateway without it."""

import time
from collections.abc import Iterator

import pytest

from hosts import WAIT_SECONDS, Host, Stream, changes, wire

SECRETS = 'moon sun : PSK "for tests only"\n'

MOON_STRONGSWAN = """charon {
    install_routes = no
    install_virtual_ip = no
    make_before_break = %s
}
"""
SUN_STRONGSWAN = "charon {\n}\n"


class Calls:
    """What the hook prints on a host, from one look to the next."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._read = 0

    def events(self, count: int, seconds: float = WAIT_SECONDS) -> list[str]:
        """Waits for the hook's next `count` lines in the log, and returns them."""
        log = self.host.hook_log(at_least=self._read + count, seconds=seconds)
        new = log[self._read :]
        self._read = len(log)
        assert len(new) == count, (new, self.host.log()[-4000:])
        return new

    def more(self, seconds: float) -> list[str]:
        """The hook's lines of the next `seconds`, or less where some have come."""
        end = time.monotonic() + seconds
        while len(log := self.host.hook_log()) == self._read and time.monotonic() < end:
            time.sleep(0.1)
        new = log[self._read :]
        self._read = len(log)
        return new

    def forget(self) -> None:
        """Counts from here, as a new charon logs from the start again."""
        self._read = len(self.host.hook_log())


class Pair:
    """moon and sun, wired: 192.168.0.1 and .2, fec0::1 and ::2; 10.2.0.1, 10.9.0.1 and fd00:2::1 are behind sun."""

    def __init__(self, moon: Host, sun: Host) -> None:
        self.moon, self.sun = moon, sun
        self.before = ""
        self.calls = Calls(moon)
        wire(moon, sun, addresses=[("192.168.0.1/24", "192.168.0.2/24"), ("fec0::1/16", "fec0::2/16")])
        moon.run("ip", "route", "add", "default", "via", "192.168.0.2")
        for address in ("10.2.0.1/16", "10.9.0.1/16", "fd00:2::1/128"):
            sun.run("ip", "addr", "add", address, "dev", "lo")

    def events(self, count: int) -> list[str]:
        return self.calls.events(count)

    def more(self, seconds: float) -> list[str]:
        return self.calls.more(seconds)

    def forget(self) -> None:
        self.calls.forget()

    def no_events(self) -> None:
        """Nothing has called the hook since the last `events`."""
        assert self.more(1) == []

    def up(self, name: str, count: int = 1) -> list[str]:
        self.moon.run("swanctl", "--initiate", "--child", name)
        return self.events(count)

    def down(self, name: str, count: int = 1) -> list[str]:
        """Ends the IKE_SA."""
        self.moon.run("swanctl", "--terminate", "--ike", name)
        return self.events(count)

    def both_ways(self, family: int = 4) -> None:
        """Packets pass through the tunnel in both directions."""
        inner, virtual = ("10.2.0.1", "10.3.0.1") if family == 4 else ("fd00:2::1", "fd00:3::1")
        assert self.moon.ping(inner) == 3
        assert self.sun.ping(virtual, source=inner) == 3

    def as_before(self) -> None:
        """moon's whole network state is what it was before the tunnels, and nothing is on record."""
        time.sleep(0.3)
        nothing_left(self.moon, self.before)


def behind_nat(nat: Host, *peers: Host) -> None:
    """The peers are 10.66.1.2, 10.66.2.2 … on cables to nat, which lets them out of its eth0 with its own address."""
    for number, peer in enumerate(peers, 1):
        wire(peer, nat, f"lan{number}", [(f"10.66.{number}.2/24", f"10.66.{number}.1/24")])
        peer.run("ip", "route", "add", "default", "via", f"10.66.{number}.1")
    nat.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    nat.run("nft", "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; };"
                   "add rule ip nat out oifname eth0 masquerade")  # fmt: skip


def nothing_left(host: Host, before: str) -> None:
    """The host's whole network state is `before`, and nothing is on record."""
    assert changes(before, host.network_state()) == []
    count = "import glob,sqlite3; f,=glob.glob('/run/vti-updown/*.sqlite'); c=sqlite3.connect(f);"
    count += "print([c.execute('select count(*) from '+t).fetchone()[0] for t in ('reference','wish','applied')])"
    assert host.run("python3", "-c", count) == "[0, 0, 0]\n"


class Figures:
    """What each scenario lost in packets, for a table at the end of the session."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    def add(self, scenario: str, hook: Stream, policy: Stream | None = None, hand_made: Stream | None = None) -> None:
        """Beside the hook's stream: one through a tunnel without a link, or through a link made by hand, with no hook."""
        beside = "" if policy is None else str(policy)
        self.rows.append((scenario, str(hook), beside if hand_made is None else f"{hand_made} (by hand)"))


FIGURES = pytest.StashKey[Figures]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Figures()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[FIGURES].rows
    if not rows:
        return
    terminalreporter.section("packets lost of those sent, one every 10 ms")
    table = [("event", "vti-updown", "policy-based, or by hand"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for row in table:
        terminalreporter.write_line("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    return request.config.stash[FIGURES]


@pytest.fixture(scope="session")
def hosts() -> Iterator[Pair]:
    with Host("moon") as moon, Host("sun") as sun:
        yield Pair(moon, sun)


@pytest.fixture
def as_before(pair: Pair) -> Iterator[None]:
    """The test has to leave moon as it found it."""
    pair.before = pair.moon.network_state()
    yield
    pair.as_before()
