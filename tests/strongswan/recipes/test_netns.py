"""examples/netns: charon outside, its link in a namespace that has no other network."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.capture import Capture
from support.host import changes, wire
from support.recipes import Recipe
from support.site import Site, default_route, has
from support.stream import Stream

from ..conftest import Figures

OFFICE = "office"
INTERNET = ("198.51.100.1", "2001:db8::1")
CLEAR = " or ".join(f"host {address}" for address in INTERNET)
SUN = """
connections {
    office {
        pools = four, six
        local {
            auth = psk
            id = sun.example.org
        }
        remote {
            auth = psk
            id = moon.example.org
        }
        children {
            office {
                local_ts = 0.0.0.0/0, ::/0
                if_id_in = 42
                if_id_out = 42
            }
        }
    }
}
pools {
    four {
        addrs = 10.3.0.1
    }
    six {
        addrs = fd00:3::1
    }
}
secrets {
    ike-office {
        secret = "put your own here"
    }
}
"""
UP = [
    "office: xfrm42 up, 203.0.113.1 → 203.0.113.7, if_id 42, 10.3.0.1/32, 0.0.0.0/0",
    "office: xfrm42 up, 203.0.113.1 → 203.0.113.7, if_id 42, fd00:3::1/128, ::/0",
]


pytestmark = pytest.mark.usefixtures("as_before")


class LinkElsewhere(Site):
    """moon, 203.0.113.1, follows the recipe; sun, 203.0.113.7, is a gateway with a link made by
    hand, and the internet.
    """

    def set_up(self) -> None:
        moon, sun = self.moon, self.sun
        self.recipe = Recipe("netns")
        wire(moon, sun, addresses=[("203.0.113.1/24", "203.0.113.7/24")])
        default_route(moon, "203.0.113.7")
        has(sun, *INTERNET)
        sun.run("sh", "-c", "ip link add xfrm0 type xfrm if_id 42; ip link set xfrm0 up;"
                            "ip route add 10.3.0.1 dev xfrm0; ip route add fd00:3::1 dev xfrm0")  # fmt: skip
        sun.charon(swanctl=SUN)
        self.recipe.install(moon)
        moon.start_charon()

    @contextmanager
    def leaves_nothing(self) -> Iterator[None]:
        """The host has to be as before, and the namespace as it was made."""
        with super().leaves_nothing():
            self.make_namespace()
            made = self.moon.network_state(OFFICE)
            yield
            assert changes(made, self.moon.network_state(OFFICE)) == []
            self.moon.run("ip", "netns", "del", OFFICE)

    def make_namespace(self) -> None:
        """As the page says, which is what the unit does."""
        unit = (self.recipe.folder / "netns-office.service").read_text()
        for command in ("ip netns add office", "ip -n office link set lo up"):
            assert f"/usr/sbin/{command}\n" in unit
            self.recipe.run(self.moon, command)

    def start(self) -> None:
        """As the page says."""
        self.recipe.run(self.moon, "swanctl --initiate --child office")
        assert self.events(2) == UP

    def answered(self) -> list[int]:
        """How many of three pings in each family the internet answers to the namespace."""
        return [self.moon.ping(address, netns=OFFICE) for address in INTERNET]


site = LinkElsewhere.fixture()


@pytest.mark.slow
@pytest.mark.recipe("netns", "strongSwan")
def test_a_namespace_reaches_the_tunnel_or_nothing(site: LinkElsewhere, figures: Figures) -> None:
    """In both families all packets of a namespace go through the tunnel, across a CHILD_SA and an
    IKE_SA rekey; before and after it none leaves at all.
    """
    moon = site.moon
    with Capture(moon, "eth0", CLEAR) as clear:
        assert site.answered() == [0, 0]
        site.start()
        assert "10.3.0.1/32" in site.recipe.run(moon, "ip -n office addr show xfrm42")
        assert "default dev xfrm42" in site.recipe.run(moon, "ip -n office route")
        assert "xfrm42" not in moon.run("ip", "link")
        assert moon.run("ip", "netns", "exec", OFFICE, "ip", "xfrm", "state") == ""
        with Capture(moon, "eth0", "esp") as esp:
            assert site.answered() == [3, 3]
        assert esp.count == 12
        with Stream(moon, "10.3.0.1", INTERNET[0], netns=OFFICE) as stream:
            moon.rekey("office", "child")
            moon.rekey("office", "ike")
        assert site.answered() == [3, 3]
        assert "office: xfrm42 down, " in site.down(OFFICE, 2)[-1]
        assert site.answered() == [0, 0]
    assert (clear.lines, stream.tail) == ([], 0)
    figures.add("the link in a namespace: a CHILD_SA rekey, then an IKE_SA rekey", stream)


@pytest.mark.slow
@pytest.mark.recipe("netns", "strongSwan")
def test_a_namespace_that_is_not_there_yet_is_told(site: LinkElsewhere) -> None:
    """A tunnel that comes up before its namespace is one line with the command that makes it; after
    that, down and up again bring it there.
    """
    moon = site.moon
    moon.run("ip", "netns", "del", OFFICE)
    before = moon.run("ip", "-br", "link")
    site.recipe.run(moon, "swanctl --initiate --child office")
    told = "error: office: there is no network namespace office; make it: ip netns add office"
    assert site.events(2) == [told, told]
    assert moon.run("ip", "-br", "link") == before
    site.make_namespace()
    site.recipe.run(moon, "swanctl --terminate --child office")
    assert site.events(2) == ["office: its up had failed, nothing to take away"] * 2
    site.start()
    assert site.answered() == [3, 3]
    site.down(OFFICE, 2)


@pytest.mark.slow
@pytest.mark.recipe("netns", "strongSwan")
@pytest.mark.parametrize("way", ["down-and-up", "repair"])
def test_a_namespace_made_anew_has_its_tunnel_again(site: LinkElsewhere, way: str) -> None:
    """Where the namespace is deleted while its tunnel is up, a down goes through, and an up or a
    repair brings the tunnel into the one made anew.
    """
    moon = site.moon
    site.start()
    moon.run("ip", "netns", "del", OFFICE)
    if way == "down-and-up":
        first, why, last = site.down(OFFICE, 3)
        assert (
            first.startswith("office: xfrm42 stays, held by 1 more")
            and "office: xfrm42 down, " in last
        )
        assert why == "office: there is no network namespace office"
        site.make_namespace()
        site.start()
    else:
        site.make_namespace()
        site.recipe.run(moon, "vti-updown repair")
    assert site.answered() == [3, 3]
    site.down(OFFICE, 2)
