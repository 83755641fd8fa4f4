"""A gateway for road warriors, who come with a password or a certificate, from behind one NAT."""

import pytest

from support.capture import Capture
from support.host import Host, wire
from support.recipes import Recipe
from support.site import Site, behind_nat, default_route, forwards, has, nothing_left, way
from support.strongswan import NO_CERTIFICATES

EAP, PKI = "libcharon-extauth-plugins", "strongswan-pki"
CA, MADE = "/etc/swanctl/x509ca/ca.pem", "/etc/swanctl/ca"


class Office(Site):
    """gate is 192.0.2.1 and server 10.1.0.10 behind it; the others are 10.66.1.2, 10.66.2.2 …
    behind nat.
    """

    def __init__(self, *road: str) -> None:
        super().__init__()
        self.HOSTS = (f"gate {EAP} {PKI}", "nat", "server", *road)
        self.recipe = Recipe("gateway")

    def set_up(self) -> None:
        gate, nat, server, *road = self.hosts.values()
        inner = [("10.1.0.1/16", "10.1.0.10/16"), ("fd00:1::1/48", "fd00:1::10/48")]
        wire(nat, gate, addresses=[("192.0.2.254/24", "192.0.2.1/24")])
        wire(gate, server, "lan", inner)
        forwards(gate)
        default_route(gate, "192.0.2.254")
        server.run("ip", "route", "add", "10.3.0.0/24", "via", "10.1.0.1")
        server.run("ip", "route", "add", "fd00:3::/112", "via", "fd00:1::1")
        behind_nat(nat, *road)
        self.recipe.install(gate)
        self._certificates()

    def _certificates(self) -> None:
        """Runs the page's commands that make them."""
        for line in self.recipe.page.splitlines():
            command = line.removeprefix("    # ")
            if command != line and (command.startswith("pki ") or MADE in command):
                self.recipe.run(self.gate, command)

    def start(self, host: Host) -> None:
        """Starts strongSwan on a host, which knows the office's CA."""
        if host is not self.gate:
            host.file(CA, self.gate.run("cat", CA))
        host.start_charon(certificates=True)

    def replace(self, host: Host, path: str, old: str, new: str) -> None:
        """Changes a file of a recipe that has secrets in it."""
        host.file(path, host.run("cat", path).replace(old, new), 0o600)


@pytest.mark.slow
@pytest.mark.recipe("gateway", "strongSwan")
@pytest.mark.recipe("road-warrior-password", "strongSwan")
@pytest.mark.recipe("road-warrior-certificate", "strongSwan")
def test_road_warriors_share_the_gateways_link() -> None:
    """Both, behind one NAT, reach the office in both families and the office them, and the first
    goes without the other's notice.
    """
    with Office(f"alice {EAP}", "bob") as site, site.leaves_nothing():
        gate, server, alice, bob, recipe = site.gate, site.server, site.alice, site.bob, site.recipe
        before = {host: host.network_state() for host in (alice, bob)}
        assert "road" in recipe.run(gate, "vti-updown check-config")
        site.start(gate)
        names = {alice: "password", bob: "certificate"}
        for number, (laptop, name) in enumerate(names.items(), 1):
            page = Recipe(f"road-warrior-{name}")
            page.install(laptop)
            if laptop is bob:
                laptop.file("/etc/swanctl/x509/bob.pem", gate.run("cat", f"{MADE}/bob.pem"))
                laptop.file(
                    "/etc/swanctl/private/bob.pem", gate.run("cat", f"{MADE}/bob-key.pem"), 0o600
                )
            site.start(laptop)
            page.run(laptop, "swanctl --initiate --child office")
            ups = sorted(site.events(2))
            assert [up.split(",")[0] for up in ups] == ["road: road up"] * 2
            assert f"10.3.0.{number}/32" in ups[0]
            said = sorted(laptop.hook_log(at_least=2))
            assert (
                said[0]
                == f"office: xfrm42 up, 10.66.{number}.2 → 192.0.2.1, if_id 42, 10.3.0.{number}/32, 10.1.0.0/16"
            )
        for number, laptop in enumerate(names, 1):
            assert laptop.ping("10.1.0.10") == laptop.ping("fd00:1::10") == 3
            assert server.ping(f"10.3.0.{number}") == server.ping(f"fd00:3::{number}") == 3
        routes = recipe.run(gate, "ip route show dev road")
        assert "10.3.0.1 proto 50" in routes and "10.3.0.2 proto 50" in routes
        assert len(gate.run("ip", "-brief", "link", "show", "type", "xfrm").splitlines()) == 1
        for laptop, other in ((alice, bob), (bob, None)):
            page = Recipe(f"road-warrior-{names[laptop]}")
            page.run(laptop, "swanctl --terminate --ike office")
            laptop.hook_log(at_least=4)
            nothing_left(laptop, before[laptop])
            site.events(2)
            assert other is None or other.ping("10.1.0.10") == 3


@pytest.mark.slow
@pytest.mark.recipe("road-warrior-password", "strongSwan")
def test_all_traffic_of_a_road_warrior_goes_through_the_office() -> None:
    """With the page's two changes the whole internet is behind the tunnel, but not the laptop's own
    LAN.
    """
    with Office(f"alice {EAP}") as site:
        gate, alice, recipe = site.gate, site.alice, site.recipe
        before = alice.network_state()
        has(gate, "198.51.100.80/32")  # the internet, as the gateway sees it
        page = Recipe("road-warrior-password")
        offer = "local_ts = 0.0.0.0/0, ::/0"
        assert f"`{offer}`" in page.page
        target = recipe.target("swanctl.conf")
        site.replace(gate, target, "local_ts = 10.1.0.0/16, fd00:1::/48", offer)
        site.start(gate)
        page.install(alice)
        settings = "".join(
            f"{line[4:]}\n"
            for line in page.page.splitlines()
            if line.startswith(("    [conn", "    remote = ", "    if_id = ", "    routes = "))
        )
        alice.file("/etc/vti-updown.toml", settings)
        target, ask = page.target("swanctl.conf"), "remote_ts = 0.0.0.0/0, ::/0"
        assert f"    {ask}\n" in page.page
        site.replace(alice, target, "remote_ts = 10.1.0.0/16, fd00:1::/48", ask)
        site.start(alice)
        page.run(alice, "swanctl --initiate --child office")
        alice.hook_log(at_least=2)
        with Capture(site.nat, "eth0", "icmp") as clear:
            assert (
                alice.ping("198.51.100.80")
                == alice.ping("10.1.0.10")
                == alice.ping("fd00:1::10")
                == 3
            )
            assert alice.ping("10.66.1.1") == 3
        assert clear.count == 0
        assert way(alice, "198.51.100.80") == "xfrm42"
        assert way(alice, "10.66.1.1") == "lan1"
        page.run(alice, "swanctl --terminate --ike office")
        alice.hook_log(at_least=4)
        nothing_left(alice, before)


CROWD = """connections {
%s}
secrets {
%s}
"""
ONE_OF_THEM = """    office%d {
        remote_addrs = 192.0.2.1
        vips = 0.0.0.0
        local {
            auth = eap-mschapv2
            id = road%d
        }
        remote {
            auth = pubkey
            id = gateway.example.org
        }
        children {
            office%d {
                remote_ts = 10.1.0.0/16
            }
        }
    }
"""
PASSWORD = """    eap-road%d {
        id = road%d
        secret = "change me"
    }
"""
MANY = 20


@pytest.mark.slow
@pytest.mark.recipe("gateway", "strongSwan")
def test_many_road_warriors_share_the_gateways_link() -> None:
    """Twenty come, and go at once: each has packets, the link has as many routes, and then the
    gateway is as before.
    """
    with Office(f"crowd {EAP}") as site, site.leaves_nothing():
        gate, server, crowd = site.gate, site.server, site.crowd
        site.start(gate)
        passwords = "".join(PASSWORD % (n, n) for n in range(MANY))
        gate.file("/etc/swanctl/conf.d/crowd.conf", f"secrets {{\n{passwords}}}\n", 0o600)
        gate.run("swanctl", "--load-creds")
        members = "".join(ONE_OF_THEM % (n, n, n) for n in range(MANY))
        crowd.file("/etc/swanctl/swanctl.conf", CROWD % (members, passwords), 0o600)
        site.start(crowd)
        crowd.file("/etc/strongswan.d/swanctl.conf", NO_CERTIFICATES)  # it has read them
        crowd.run(
            "sh",
            "-ec",
            f"for n in $(seq 0 {MANY - 1}); do swanctl --initiate --child office$n; done",
            timeout=400,
        )
        site.events(MANY)
        addresses = {f"10.3.0.{number}" for number in range(1, MANY + 1)}
        assert {
            line.split()[0] for line in gate.run("ip", "route", "show", "dev", "road").splitlines()
        } == addresses
        assert [server.ping(address, count=1) for address in sorted(addresses)] == [1] * MANY
        crowd.stop_charon()
        site.calls.events(MANY, seconds=300)
