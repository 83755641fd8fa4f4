"""when_down = "block": whatever dies, not one packet to the tunnel's networks leaves in clear, and
the LAN stays reachable.

A ping every 10 ms, in both families, runs throughout, and tcpdump watches the wire for all that is
neither ESP nor IKE nor the LAN's own.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import demo
from support.capture import Capture
from support.host import Host
from support.namespaces import HOOK, WAIT_SECONDS, Failed
from support.site import default_route, has, nothing_left
from support.slow import slow_but

from .conftest import SUN_STRONGSWAN, Pair

HERE = Path(__file__).parent
SECRETS = 'moon sun : PSK "for tests only"\n'
FILE = "/run/vti-updown.toml"
WRAPPER = "/run/hook"
SETTINGS = """
[default]
when_down = "block"
local = "192.168.0.1"
remote = "192.168.0.2"

[connection.routed]
mark = 2
routes = ["10.2.0.0/16", "fd00:2::/32"]

[connection.full]
mark = 3
routes = ["0.0.0.0/0", "::/0"]

[connection.full-xfrm]
if_id = 42
routes = ["0.0.0.0/0", "::/0"]
"""
# moon gives a silent peer up soon.
MOON_CHARON = """charon {
    install_routes = no
    install_virtual_ip = no
    retransmit_timeout = 3
    retransmit_tries = 1
    retransmit_base = 1
}
"""
MOON_CONF = f"""
conn %default
    leftupdown="{WRAPPER} --config {FILE}"
    left=%defaultroute
    leftid=moon
    leftsourceip=%config4,%config6
    right=192.168.0.2
    rightid=sun
    rightsubnet=0.0.0.0/0,::/0
    authby=psk
    dpdaction=clear
    dpddelay=2s
    auto=add

conn routed
    mark=2

# Unequal to the one above in what matters to nobody but charon, so that it has IKE_SAs of its own.
conn full
    mark=3
    ikelifetime=5h
"""
SWANCTL_CONF = f"""connections {{
    full-xfrm {{
        local_addrs = 192.168.0.1
        remote_addrs = 192.168.0.2
        vips = 0.0.0.0, ::
        dpd_delay = 2s
        local {{
            auth = psk
            id = moon
        }}
        remote {{
            auth = psk
            id = sun
        }}
        children {{
            full-xfrm {{
                remote_ts = 0.0.0.0/0, ::/0
                if_id_in = 42
                if_id_out = 42
                dpd_action = clear
                updown = {WRAPPER} --config {FILE}
            }}
        }}
    }}
}}
"""
LAN = ("192.168.0.9", "fec0::9")
FAR = ("203.0.113.9", "2001:db8::9")
INNER = {"routed": ("10.2.0.1", "fd00:2::1"), "full": FAR, "full-xfrm": FAR}
CLEAR = (
    "not esp and not (udp and (port 500 or port 4500)) and not arp and not dst net 192.168.0.0/24 and not dst net fec0::/16"
    " and not dst net fe80::/10 and not ip6 multicast and not ip multicast"
)
ENOUGH = 5
"""Packets to each address that tell what comes of them."""


@pytest.fixture(scope="module")
def site(hosts: Pair) -> Iterator[Pair]:
    moon, sun = hosts.moon, hosts.sun
    has(sun, f"{LAN[0]}/24", f"{LAN[1]}/16", link="eth0")
    has(sun, "203.0.113.9/32", "2001:db8::9/128")
    default_route(moon, "fec0::2")
    sun.charon(conf=demo.SUN_CONF, secrets=SECRETS, charon=SUN_STRONGSWAN)
    moon.run("sh", "-c", f"umask 077; cat > {FILE} <<'END'\n{SETTINGS}\nEND")
    hook(moon)
    start(hosts)
    yield hosts
    for host in (moon, sun):
        host.stop_charon()
    moon.run("ip", "-6", "route", "del", "default", "via", "fec0::2")


def start(site: Pair) -> None:
    site.moon.charon(conf=MOON_CONF, secrets=SECRETS, charon=MOON_CHARON)
    site.moon.file("/etc/swanctl/swanctl.conf", SWANCTL_CONF, 0o600)
    site.moon.run("swanctl", "--load-all")
    site.calls.forget()


def hook(moon: Host, dies_at: int | None = None) -> None:
    """Has charon call the hook, or one that is killed before so many changes of the kernel."""
    command = HOOK if dies_at is None else f"{sys.executable} {HERE / 'dying.py'} {dies_at}"
    moon.run(
        "sh",
        "-c",
        f"printf '#!/bin/sh\\nexec {command} \"$@\"\\n' > {WRAPPER}.new; chmod 755 {WRAPPER}.new; mv {WRAPPER}.new {WRAPPER}",
    )


class Knocking:
    """Pings on a host, to a tunnel's networks and to the LAN, for as long as the `with` lasts."""

    FILE = "/run/knocked"

    def __init__(self, host: Host, inner: tuple[str, ...], lan: tuple[str, ...]) -> None:
        self.host, self.inner, self.lan = host, inner, lan
        self.counts: dict[str, dict[str, int]] = {}

    def __enter__(self) -> "Knocking":
        self.host.run("rm", "-f", self.FILE)
        # Without the process namespace nsenter does not fork, so that the signal below reaches it.
        words = f"nsenter -t {self.host.pid} -m -n {sys.executable} {HERE / 'knock.py'}".split()
        words += [self.FILE, *self.inner, "--", *self.lan]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        self.host.until(f"test -e {self.FILE}")
        return self

    def __exit__(self, *_: object) -> None:
        self.look()
        self._process.terminate()
        self._process.wait(WAIT_SECONDS)

    def look(self) -> dict[str, dict[str, int]]:
        self.counts = json.loads(self.host.run("cat", self.FILE))
        return self.counts

    def passes(self) -> None:
        """From now on packets to the tunnel's networks and to the LAN are answered."""
        self._until("answered", (*self.inner, *self.lan))

    def blocked(self) -> None:
        """From now on packets to the tunnel's networks are refused, and those to the LAN are
        answered.
        """
        self._until("refused", self.inner)
        before = self.look()
        self._until("answered", self.lan)
        after = self.look()
        assert [after[one]["answered"] - before[one]["answered"] for one in self.inner] == [0, 0]

    def _until(self, what: str, addresses: tuple[str, ...]) -> None:
        first = self.look()
        end = time.monotonic() + WAIT_SECONDS
        while any(self.counts[one][what] - first[one][what] < ENOUGH for one in addresses):
            if time.monotonic() > end:
                raise Failed(f"not {what}: {first} became {self.counts}\n{self.host.log()[-4000:]}")
            time.sleep(0.2)
            self.look()


class Dead:
    """sun, whose charon and SAs hear nothing any more; the rest of its LAN is there."""

    def __init__(self, sun: Host) -> None:
        self.sun = sun

    def __enter__(self) -> None:
        self.sun.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
        self.sun.run("tc", "filter", "add", "dev", "eth0", "ingress", "protocol", "ip", "u32",
                     "match", "ip", "dst", "192.168.0.2/32", "action", "drop")  # fmt: skip

    def __exit__(self, *_: object) -> None:
        self.sun.run("tc", "qdisc", "del", "dev", "eth0", "clsact")


@pytest.mark.parametrize(
    "name",
    slow_but(["full"], ["full", "routed", "full-xfrm"]),
)
def test_not_one_clear_packet_whatever_dies(site: Pair, name: str) -> None:
    """Before up, up, rekey, the peer's death, the hook's at up and at down, charon's death and
    restart, and down.
    """
    moon = site.moon
    before = moon.network_state()
    inner = INNER[name]
    with Capture(moon, "eth0", CLEAR) as wire:
        moon.run(HOOK, "prepare", name, "--config", FILE)
        with Knocking(moon, inner, LAN) as knocking:
            knocking.blocked()
            up(site, name)
            knocking.passes()

            moon.rekey(name, "child")
            knocking.passes()

            with Dead(site.sun):
                assert " down, " in site.events(2)[1]  # dead peer detection's
                knocking.blocked()
            up(site, name)
            knocking.passes()

            hook(moon, dies_at=1)
            assert "Killed" in site.down(name, 2)
            hook(moon)
            up(site, name)  # takes up what that left
            knocking.passes()
            site.down(name, 2)
            knocking.blocked()
            hook(moon, dies_at=2)
            assert site.up(name, 2) == ["Killed"] * 2
            hook(moon)
            site.down(name, 2)
            knocking.blocked()

            up(site, name)
            moon.kill_charon()
            start(site)
            moon.run(HOOK, "flush", "--stale")
            knocking.blocked()
            up(site, name)
            knocking.passes()

            site.down(name, 2)
            knocking.blocked()
    assert wire.lines == []
    print(f"{name}: {knocking.counts}")

    with Capture(moon, "eth0", CLEAR) as wire, Knocking(moon, inner, LAN):
        moon.run(HOOK, "release")
        moon.run("sleep", "1")
    assert wire.count > 0, "the capture does not see what it is for"
    nothing_left(moon, before)


def up(site: Pair, name: str) -> None:
    said = site.up(name, 2)
    assert [line.startswith(f"{name}: ") and " up, " in line for line in said] == [True, True], said
