"""Two hosts with a charon each, shared by the tests of a module: moon with the hook, and sun, a
gateway without it.
"""

from collections.abc import Iterator
from typing import ClassVar

import pytest

from support.host import wire
from support.site import Site, default_route, has
from support.stream import Stream

SECRETS = 'moon sun : PSK "for tests only"\n'

MOON_STRONGSWAN = """charon {
    install_routes = no
    install_virtual_ip = no
    make_before_break = %s
}
"""
SUN_STRONGSWAN = "charon {\n}\n"


class Pair(Site):
    """moon and sun, wired: 192.168.0.1 and .2, fec0::1 and ::2; 10.2.0.1, 10.9.0.1 and fd00:2::1
    are behind sun.
    """

    INSIDE: ClassVar = {4: ("10.3.0.1", "10.2.0.1"), 6: ("fd00:3::1", "fd00:2::1")}
    """moon's virtual IP and an address behind sun."""

    def set_up(self) -> None:
        outer = [("192.168.0.1/24", "192.168.0.2/24"), ("fec0::1/16", "fec0::2/16")]
        wire(self.moon, self.sun, addresses=outer)
        default_route(self.moon, "192.168.0.2")
        has(self.sun, "10.2.0.1/16", "10.9.0.1/16", "fd00:2::1/128")

    def passes(self, family: int = 4) -> None:
        """Packets pass through the tunnel in both directions."""
        self.both_ways(self.INSIDE[family])


class Figures:
    """What each scenario lost in packets, for a table at the end of the session."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    def add(
        self,
        scenario: str,
        hook: Stream,
        policy: Stream | None = None,
        hand_made: Stream | None = None,
    ) -> None:
        """Beside the hook's stream: one through a tunnel without a link, or through a link made by
        hand, with no hook.
        """
        beside = "" if policy is None else str(policy)
        self.rows.append(
            (scenario, str(hook), beside if hand_made is None else f"{hand_made} (by hand)")
        )


FIGURES = pytest.StashKey[Figures]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Figures()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    rows = config.stash[FIGURES].rows
    if not rows:
        return
    terminalreporter.section("packets lost of those sent, one every 10 ms")
    table = [("event", "vti-updown", "policy-based, or by hand"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for row in table:
        terminalreporter.write_line(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        )


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    return request.config.stash[FIGURES]


hosts = Pair.fixture(scope="session")


@pytest.fixture
def as_before(site: Site) -> Iterator[None]:
    """The test has to leave the site's hosts as it found them."""
    with site.leaves_nothing():
        yield
