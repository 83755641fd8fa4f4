"""What the clouds' recipes share: the cables, a cloud's side of a connection, the run of a recipe,
and full-size packets.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from support.capture import Capture
from support.daemons import bird, stop
from support.host import wire
from support.namespaces import HOOK
from support.recipes import Recipe
from support.site import Site, default_route, has

HERE = "10.1.0.1"
"""moon's address in the network behind it."""
CONNECTION = """
    {name} {{
        version = 2
        local_addrs = {address}
        remote_addrs = 192.0.2.1
        mobike = no
        {ike}
        local {{
            id = {address}
            auth = psk
        }}
        remote {{
            id = 192.0.2.1
            auth = psk
        }}
        children {{
            {name} {{
                local_ts = 0.0.0.0/0
                remote_ts = 0.0.0.0/0
                {child}
            }}
        }}
    }}
"""
CLEAR_ROUTES = """#!/bin/sh
case $PLUTO_VERB in
up-*)
    ip link set "$PLUTO_CONNECTION" up
    [ "$PLUTO_CONNECTION" != classic ] || ip route replace 10.1.0.0/16 dev classic
    ;;
down-*) ip link set "$PLUTO_CONNECTION" down ;;
esac
"""
"""A tunnel that is down has no routes at a cloud: its updown script there.

Google's `classic` has a static one.
"""

Keys = Mapping[str, object]


def connection(name: str, address: str, ike: Keys, child: Keys) -> str:
    """A cloud's connection to moon in swanctl.conf, with these keys in it and in its child."""
    lines = ("\n".join(f"{key} = {value}" for key, value in keys.items()) for keys in (ike, child))
    return CONNECTION.format(
        name=name, address=address, **dict(zip(("ike", "child"), lines, strict=True))
    )


class CloudVpn(Site):
    """moon is 192.0.2.1 with 10.1.0.1 behind it; the cloud is its default route."""

    RECIPE: Recipe
    WITH_BIRD = True
    """Whether moon has BIRD beside strongSwan."""
    BY_STARTER = False
    """Whether moon's strongSwan reads ipsec.conf."""

    def set_up(self) -> None:
        _, self.cloud = self.hosts.values()
        wire(self.moon, self.cloud, addresses=[("192.0.2.1/24", "192.0.2.254/24")])
        default_route(self.moon, "192.0.2.254")
        has(self.moon, f"{HERE}/16")

    @contextmanager
    def running(self) -> Iterator[None]:
        """BIRD and strongSwan run on moon meanwhile, with the files of its /etc."""
        if self.WITH_BIRD:
            bird(self.moon)
        self.moon.start_charon(starter=self.BY_STARTER)
        yield
        if self.WITH_BIRD:
            stop(self.moon, "bird")
        self.moon.stop_charon()

    @contextmanager
    def by_the_recipe(self) -> Iterator[None]:
        """moon has the recipe's files and what its page says to run, meanwhile; then it is as
        before.
        """
        with self.leaves_nothing():
            self.RECIPE.install(self.moon)
            self.RECIPE.run(self.moon, "vti-updown check-config")
            self.RECIPE.run(self.moon, "vti-updown prepare")
            with self.running():
                yield
            self.moon.run(HOOK, "release")

    def carries_full_packets(self, address: str, mtu: int) -> None:
        """Packets pass both ways as ESP and not in clear, also those of the link's MTU; longer ones
        are refused here.
        """
        moon = self.moon
        full = ("ping", "-n", "-c", "1", "-W", "5", "-M", "do", "-I", HERE, address, "-s")
        headers = 28  # of IPv4 and ICMP
        with Capture(moon, "eth0", "esp") as esp, Capture(moon, "eth0", "net 10.0.0.0/8") as clear:
            self.both_ways((HERE, address), far=self.cloud, bound=True)
            moon.run(*full, str(mtu - headers))
        assert esp.count >= 14 and clear.count == 0
        too_long = moon.run(*full, str(mtu + 1 - headers), check=False)
        assert f"message too long, mtu={mtu}" in too_long
