"""libreswan as the peer: initiator and responder, rekeys by either side, and down by either side."""

from collections.abc import Iterator

import pytest

from support.daemons import pluto
from support.host import Host, wire
from support.recipes import Recipe
from support.site import Site, default_route, has

LINKS = {"swanctl.conf": "xfrm42", "swanctl-vti.conf": "vti-office"}
INSIDE = (("10.1.0.1", "10.2.0.1"), ("fd00:1::1", "fd00:2::1"))


pytestmark = pytest.mark.usefixtures("as_before")


class WithLibreswan(Site):
    """moon is the headquarters, 192.0.2.1, sun is the office, 198.51.100.2; a router is between
    them.
    """

    HOSTS = ("moon", "sun libreswan", "router")

    def __init__(self, conf: str) -> None:
        super().__init__()
        self._conf, self.link = conf, LINKS[conf]
        self.recipe = Recipe("libreswan")

    def set_up(self) -> None:
        moon, sun = self.moon, self.sun
        for host, name, mine, gateway in ((moon, "hq", "192.0.2.1/24", "192.0.2.254"),
                                          (sun, "office", "198.51.100.2/24", "198.51.100.254")):  # fmt: skip
            wire(host, self.router, name, [(mine, f"{gateway}/24")])
            default_route(host, gateway)
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        has(moon, "10.1.0.1/16", "fd00:1::1/32")
        has(sun, "10.2.0.1/16", "fd00:2::1/32")
        # Plain policies take packets that have some route; fd00:1::/32 is nobody's on the router.
        sun.run("ip", "route", "add", "fd00:1::/32", "dev", "office")
        self.recipe.install(moon, self._conf, "charon.conf")
        self.recipe.install(sun, "libreswan.conf", "libreswan.secrets")
        pluto(sun)
        moon.start_charon()

    def passes(self) -> None:
        """Packets of both families pass in both directions, through the link and as ESP."""
        self.both_ways(*INSIDE, bound=True, link=self.link, uplink="hq")

    def sas(self) -> tuple[list[int], list[int]]:
        return self.moon.until_sas("office", 1, 2)

    def anew(self, host: Host, *command: str, ike: bool = False) -> None:
        """After the command the IKE_SA, or the CHILD_SA `office`, is another one, no hook was
        called, and packets pass.
        """
        ikes, _ = self.sas()
        child = self.moon.newest("office", child=True)
        host.run(*command)
        if ike:
            self.moon.until_sas("office", 1, 2, without_ike=ikes)
        else:
            self.moon.until_sas("office", 1, 2, without=[child])
        self.no_events()
        self.passes()

    def ups(self) -> None:
        said = sorted(line.split(" up,")[0] for line in self.events(2))
        assert said == [f"office6: {self.link}", f"office: {self.link}"]

    def downs(self) -> None:
        first, last = self.events(2)
        assert f"{self.link} stays, held by 1 more" in first
        assert f"{self.link} down," in last


@pytest.fixture(
    scope="module",
    params=["swanctl.conf", pytest.param("swanctl-vti.conf", marks=pytest.mark.slow)],
    ids=["xfrm", "vti"],
)
def site(request: pytest.FixtureRequest) -> Iterator[WithLibreswan]:
    with WithLibreswan(request.param) as site:
        yield site


@pytest.mark.slow
@pytest.mark.recipe("libreswan", "strongSwan", "libreswan")
def test_libreswan_responds(site: WithLibreswan) -> None:
    """strongSwan initiates: both families both ways, also after CHILD_SA and IKE_SA rekeys by
    either side; strongSwan ends it.
    """
    site.recipe.run(site.moon, "swanctl --initiate --child office")
    site.recipe.run(site.moon, "swanctl --initiate --child office6")
    site.ups()
    site.passes()
    site.anew(site.moon, "swanctl", "--rekey", "--child", "office")
    site.anew(site.sun, "ipsec", "whack", "--rekey-ipsec", "--name", "hq")
    site.anew(site.moon, "swanctl", "--rekey", "--ike", "office", ike=True)
    site.anew(site.sun, "ipsec", "whack", "--rekey-ike", "--name", "hq", ike=True)
    site.moon.run("swanctl", "--terminate", "--ike", "office")
    site.downs()


@pytest.mark.slow
@pytest.mark.recipe("libreswan", "strongSwan", "libreswan")
def test_libreswan_initiates(site: WithLibreswan) -> None:
    """libreswan initiates and rekeys, strongSwan reauthenticates, libreswan ends it: both families
    both ways after each.
    """
    site.recipe.run(site.sun, "ipsec auto --up hq")
    site.recipe.run(site.sun, "ipsec auto --up hq6")
    site.ups()
    site.passes()
    site.anew(site.sun, "ipsec", "whack", "--rekey-ipsec", "--name", "hq")
    site.moon.run("swanctl", "--rekey", "--ike", "office", "--reauth")
    site.downs()
    site.ups()
    site.sas()
    site.passes()
    site.sun.run("sh", "-c", "ipsec auto --down hq; ipsec auto --down hq6")
    site.downs()
