"""libreswan as the peer: initiator and responder, rekeys by either side, and down by either side."""

from collections.abc import Iterator

import pytest

from daemons import pluto
from hosts import Capture, Host, wire
from recipes import Recipe

from ..conftest import Calls, nothing_left

LINKS = {"swanctl.conf": "xfrm42", "swanctl-vti.conf": "vti-office"}
INSIDE = (("10.1.0.1", "10.2.0.1"), ("fd00:1::1", "fd00:2::1"))


class Site:
    """moon is the headquarters, 192.0.2.1, sun is the office, 198.51.100.2; a router is between them."""

    def __init__(self, moon: Host, sun: Host, router: Host, conf: str) -> None:
        self.moon, self.sun = moon, sun
        self.calls = Calls(moon)
        self.link = LINKS[conf]
        self.recipe = Recipe("libreswan")
        for host, name, mine, gateway in ((moon, "hq", "192.0.2.1/24", "192.0.2.254"),
                                          (sun, "office", "198.51.100.2/24", "198.51.100.254")):  # fmt: skip
            wire(host, router, name, [(mine, f"{gateway}/24")])
            host.run("ip", "route", "add", "default", "via", gateway)
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for host, addresses in ((moon, ("10.1.0.1/16", "fd00:1::1/32")), (sun, ("10.2.0.1/16", "fd00:2::1/32"))):
            for address in addresses:
                host.run("ip", "addr", "add", address, "dev", "lo")
        # Plain policies take packets that have some route; fd00:1::/32 is nobody's on the router.
        sun.run("ip", "route", "add", "fd00:1::/32", "dev", "office")
        self.recipe.install(moon, conf, "charon.conf")
        self.recipe.install(sun, "libreswan.conf", "libreswan.secrets")
        pluto(sun)
        moon.start_charon()
        self.before = moon.network_state()

    def both_ways(self) -> None:
        """Packets of both families pass in both directions, through the link and as ESP."""
        received, sent = self.moon.counters(self.link)
        with Capture(self.moon, "hq", "esp") as esp:
            for mine, its in INSIDE:
                assert self.moon.ping(its, source=mine) == 3
                assert self.sun.ping(mine, source=its) == 3
        assert esp.count == 24
        assert self.moon.counters(self.link) == (received + 12, sent + 12)

    def sas(self) -> tuple[list[int], list[int]]:
        return self.moon.until_sas("office", 1, 2)

    def anew(self, host: Host, *command: str, ike: bool = False) -> None:
        """After the command the IKE_SA, or the CHILD_SA `office`, is another one, no hook was called, and packets pass."""
        ikes, _ = self.sas()
        child = self.moon.newest("office", child=True)
        host.run(*command)
        if ike:
            self.moon.until_sas("office", 1, 2, without_ike=ikes)
        else:
            self.moon.until_sas("office", 1, 2, without=[child])
        assert self.calls.more(1) == []
        self.both_ways()

    def ups(self) -> None:
        said = sorted(line.split(" up,")[0] for line in self.calls.events(2))
        assert said == [f"office6: {self.link}", f"office: {self.link}"]

    def downs(self) -> None:
        first, last = self.calls.events(2)
        assert f"{self.link} stays, held by 1 more" in first
        assert f"{self.link} down," in last


@pytest.fixture(
    scope="module", params=["swanctl.conf", pytest.param("swanctl-vti.conf", marks=pytest.mark.slow)], ids=["xfrm", "vti"]
)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with Host("moon") as moon, Host("sun", "libreswan") as sun, Host("router") as router:
        yield Site(moon, sun, router, request.param)


@pytest.fixture(autouse=True)
def as_before(site: Site) -> Iterator[None]:
    yield
    nothing_left(site.moon, site.before)


@pytest.mark.slow
@pytest.mark.recipe("libreswan", "strongSwan", "libreswan")
def test_libreswan_responds(site: Site) -> None:
    """strongSwan initiates: both families both ways, also after CHILD_SA and IKE_SA rekeys by either side; strongSwan ends it."""
    site.recipe.run(site.moon, "swanctl --initiate --child office")
    site.recipe.run(site.moon, "swanctl --initiate --child office6")
    site.ups()
    site.both_ways()
    site.anew(site.moon, "swanctl", "--rekey", "--child", "office")
    site.anew(site.sun, "ipsec", "whack", "--rekey-ipsec", "--name", "hq")
    site.anew(site.moon, "swanctl", "--rekey", "--ike", "office", ike=True)
    site.anew(site.sun, "ipsec", "whack", "--rekey-ike", "--name", "hq", ike=True)
    site.moon.run("swanctl", "--terminate", "--ike", "office")
    site.downs()


@pytest.mark.slow
@pytest.mark.recipe("libreswan", "strongSwan", "libreswan")
def test_libreswan_initiates(site: Site) -> None:
    """libreswan initiates and rekeys, strongSwan reauthenticates, libreswan ends it: both families both ways after each."""
    site.recipe.run(site.sun, "ipsec auto --up hq")
    site.recipe.run(site.sun, "ipsec auto --up hq6")
    site.ups()
    site.both_ways()
    site.anew(site.sun, "ipsec", "whack", "--rekey-ipsec", "--name", "hq")
    site.moon.run("swanctl", "--rekey", "--ike", "office", "--reauth")
    site.downs()
    site.ups()
    site.sas()
    site.both_ways()
    site.sun.run("sh", "-c", "ipsec auto --down hq; ipsec auto --down hq6")
    site.downs()
