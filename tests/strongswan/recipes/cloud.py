"""What the clouds' recipes share: the cables, a cloud's side of a connection, the run of a recipe, and full-size packets."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from daemons import bird, stop
from hosts import HOOK, Capture, Host, wire
from recipes import Recipe

from ..conftest import nothing_left

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
up-*) ip link set "$PLUTO_CONNECTION" up; [ "$PLUTO_CONNECTION" != classic ] || ip route replace 10.1.0.0/16 dev classic ;;
down-*) ip link set "$PLUTO_CONNECTION" down ;;
esac
"""
"""A tunnel that is down has no routes at a cloud: its updown script there. Google's `classic` has a static one."""

Keys = Mapping[str, object]


def connection(name: str, address: str, ike: Keys, child: Keys) -> str:
    """A cloud's connection to moon in swanctl.conf, with these keys in it and in its child."""
    lines = ("\n".join(f"{key} = {value}" for key, value in keys.items()) for keys in (ike, child))
    return CONNECTION.format(name=name, address=address, **dict(zip(("ike", "child"), lines, strict=True)))


def wired(moon: Host, cloud: Host) -> None:
    """moon is 192.0.2.1 with 10.1.0.1 behind it, and the cloud its default route."""
    wire(moon, cloud, addresses=[("192.0.2.1/24", "192.0.2.254/24")])
    moon.run("sh", "-c", f"ip route add default via 192.0.2.254; ip addr add {HERE}/16 dev lo")


@contextmanager
def running(moon: Host, *, with_bird: bool = True, starter: bool = False) -> Iterator[None]:
    """BIRD and strongSwan run on moon meanwhile, with the files of its /etc."""
    if with_bird:
        bird(moon)
    moon.start_charon(starter=starter)
    yield
    if with_bird:
        stop(moon, "bird")
    moon.stop_charon()


@contextmanager
def by_the_recipe(moon: Host, recipe: Recipe, *, with_bird: bool = True, starter: bool = False) -> Iterator[None]:
    """moon has the recipe's files and what its page says to run, meanwhile; then it is as before."""
    before = moon.network_state()
    recipe.install(moon)
    recipe.run(moon, "vti-updown check-config")
    recipe.run(moon, "vti-updown prepare")
    with running(moon, with_bird=with_bird, starter=starter):
        yield
    moon.run(HOOK, "release")
    nothing_left(moon, before)


def carries_full_packets(moon: Host, cloud: Host, address: str, mtu: int) -> None:
    """Packets pass both ways as ESP and not in clear, also those of the link's MTU; longer ones are refused here."""
    full = ("ping", "-n", "-c", "1", "-W", "5", "-M", "do", "-I", HERE, address, "-s")
    headers = 28  # of IPv4 and ICMP
    with Capture(moon, "eth0", "esp") as esp, Capture(moon, "eth0", "net 10.0.0.0/8") as clear:
        assert moon.ping(address, source=HERE) == 3
        assert cloud.ping(HERE, source=address) == 3
        moon.run(*full, str(mtu - headers))
    assert esp.count >= 14 and clear.count == 0
    assert f"message too long, mtu={mtu}" in moon.run(*full, str(mtu + 1 - headers), check=False)
