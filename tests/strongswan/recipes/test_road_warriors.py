"""A gateway for road warriors, who come with a password or a certificate, from behind one NAT."""

import pytest

from hosts import NO_CERTIFICATES, Capture, Host, wire
from recipes import Recipe

from ..conftest import Calls, behind_nat, nothing_left

EAP, PKI = "libcharon-extauth-plugins", "strongswan-pki"
CA, MADE = "/etc/swanctl/x509ca/ca.pem", "/etc/swanctl/ca"


def network(gate: Host, nat: Host, server: Host, *road: Host) -> None:
    """gate is 192.0.2.1 and server 10.1.0.10 behind it; the others are 10.66.1.2, 10.66.2.2 … behind nat."""
    wire(nat, gate, addresses=[("192.0.2.254/24", "192.0.2.1/24")])
    wire(gate, server, "lan", [("10.1.0.1/16", "10.1.0.10/16"), ("fd00:1::1/48", "fd00:1::10/48")])
    gate.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    gate.run("ip", "route", "add", "default", "via", "192.0.2.254")
    server.run("ip", "route", "add", "10.3.0.0/24", "via", "10.1.0.1")
    server.run("ip", "route", "add", "fd00:3::/112", "via", "fd00:1::1")
    behind_nat(nat, *road)


def certificates(recipe: Recipe, gate: Host) -> None:
    """Runs the page's commands that make them."""
    for line in recipe.page.splitlines():
        command = line.removeprefix("    # ")
        if command != line and (command.startswith("pki ") or MADE in command):
            recipe.run(gate, command)


@pytest.mark.slow
@pytest.mark.recipe("gateway", "strongSwan")
@pytest.mark.recipe("road-warrior-password", "strongSwan")
@pytest.mark.recipe("road-warrior-certificate", "strongSwan")
def test_road_warriors_with_a_password_and_with_a_certificate_share_the_gateways_link() -> None:
    """Both, behind one NAT, reach the office in both families and the office them, and the first goes without the other's notice."""
    with (
        Host("gate", EAP, PKI) as gate, Host("nat") as nat, Host("server") as server, Host("alice", EAP) as alice, Host("bob") as bob,
    ):  # fmt: skip
        network(gate, nat, server, alice, bob)
        before = {host: host.network_state() for host in (gate, alice, bob)}
        recipe = Recipe("gateway")
        recipe.install(gate)
        certificates(recipe, gate)
        assert "road" in recipe.run(gate, "vti-updown check-config")
        gate.start_charon(certificates=True)
        calls = Calls(gate)
        names = {alice: "password", bob: "certificate"}
        for number, (laptop, name) in enumerate(names.items(), 1):
            page = Recipe(f"road-warrior-{name}")
            page.install(laptop)
            laptop.file(CA, gate.run("cat", CA))
            if laptop is bob:
                laptop.file("/etc/swanctl/x509/bob.pem", gate.run("cat", f"{MADE}/bob.pem"))
                laptop.file("/etc/swanctl/private/bob.pem", gate.run("cat", f"{MADE}/bob-key.pem"), 0o600)
            laptop.start_charon(certificates=True)
            page.run(laptop, "swanctl --initiate --child office")
            ups = sorted(calls.events(2))
            assert [up.split(",")[0] for up in ups] == ["road: road up"] * 2
            assert f"10.3.0.{number}/32" in ups[0]
            said = sorted(laptop.hook_log(at_least=2))
            assert said[0] == f"office: xfrm42 up, 10.66.{number}.2 → 192.0.2.1, if_id 42, 10.3.0.{number}/32, 10.1.0.0/16"
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
            calls.events(2)
            assert other is None or other.ping("10.1.0.10") == 3
        nothing_left(gate, before[gate])


@pytest.mark.slow
@pytest.mark.recipe("road-warrior-password", "strongSwan")
def test_all_traffic_of_a_road_warrior_goes_through_the_office() -> None:
    """With the page's two changes the whole internet is behind the tunnel, but not the laptop's own LAN."""
    with Host("gate", EAP, PKI) as gate, Host("nat") as nat, Host("server") as server, Host("alice", EAP) as alice:
        network(gate, nat, server, alice)
        before = alice.network_state()
        gate.run("ip", "addr", "add", "198.51.100.80/32", "dev", "lo")  # the internet, as the gateway sees it
        recipe, page = Recipe("gateway"), Recipe("road-warrior-password")
        recipe.install(gate)
        certificates(recipe, gate)
        offer = "local_ts = 0.0.0.0/0, ::/0"
        assert f"`{offer}`" in page.page
        target = recipe.target("swanctl.conf")
        gate.file(target, gate.run("cat", target).replace("local_ts = 10.1.0.0/16, fd00:1::/48", offer), 0o600)
        gate.start_charon(certificates=True)
        page.install(alice)
        alice.file(CA, gate.run("cat", CA))
        settings = "".join(
            f"{line[4:]}\n"
            for line in page.page.splitlines()
            if line.startswith(("    [conn", "    remote = ", "    if_id = ", "    routes = "))
        )
        alice.file("/etc/vti-updown.toml", settings)
        target, ask = page.target("swanctl.conf"), "remote_ts = 0.0.0.0/0, ::/0"
        assert f"    {ask}\n" in page.page
        alice.file(target, alice.run("cat", target).replace("remote_ts = 10.1.0.0/16, fd00:1::/48", ask), 0o600)
        alice.start_charon(certificates=True)
        page.run(alice, "swanctl --initiate --child office")
        alice.hook_log(at_least=2)
        with Capture(nat, "eth0", "icmp") as clear:
            assert alice.ping("198.51.100.80") == alice.ping("10.1.0.10") == alice.ping("fd00:1::10") == 3
            assert alice.ping("10.66.1.1") == 3
        assert clear.count == 0
        assert alice.run("ip", "route", "get", "198.51.100.80").split(" dev ")[1].split()[0] == "xfrm42"
        assert alice.run("ip", "route", "get", "10.66.1.1").split(" dev ")[1].split()[0] == "lan1"
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
    """Twenty come, and go at once: each has packets, the link has as many routes, and then the gateway is as before."""
    with Host("gate", EAP, PKI) as gate, Host("nat") as nat, Host("server") as server, Host("crowd", EAP) as crowd:
        network(gate, nat, server, crowd)
        before = gate.network_state()
        recipe = Recipe("gateway")
        recipe.install(gate)
        certificates(recipe, gate)
        gate.start_charon(certificates=True)
        calls = Calls(gate)
        crowd.file(CA, gate.run("cat", CA))
        passwords = "".join(PASSWORD % (n, n) for n in range(MANY))
        gate.file("/etc/swanctl/conf.d/crowd.conf", f"secrets {{\n{passwords}}}\n", 0o600)
        gate.run("swanctl", "--load-creds")
        members = "".join(ONE_OF_THEM % (n, n, n) for n in range(MANY))
        crowd.file("/etc/swanctl/swanctl.conf", CROWD % (members, passwords), 0o600)
        crowd.start_charon(certificates=True)
        crowd.file("/etc/strongswan.d/swanctl.conf", NO_CERTIFICATES)  # it has read them
        crowd.run("sh", "-ec", f"for n in $(seq 0 {MANY - 1}); do swanctl --initiate --child office$n; done", timeout=400)
        calls.events(MANY)
        addresses = {f"10.3.0.{number}" for number in range(1, MANY + 1)}
        assert {line.split()[0] for line in gate.run("ip", "route", "show", "dev", "road").splitlines()} == addresses
        assert [server.ping(address, count=1) for address in sorted(addresses)] == [1] * MANY
        crowd.stop_charon()
        calls.events(MANY, seconds=300)
        nothing_left(gate, before)
