"""Each kind of link and each setting, on the kernel: what is there while a tunnel is up, and that
nothing is left of it.
"""

import re

import pytest

from conftest import sh
from support.host import changes
from support.slow import slow_rows_but
from vti_updown import state
from vti_updown.admin import cli as people
from vti_updown.hook.user_command import ASKS_CHARON
from vti_updown.kernel.apply import KernelError
from vti_updown.kernel.kernel import Kernel
from vti_updown.objects.rule import Rule
from vti_updown.settings.table import FULL_TABLE

NET = ("--route", "10.2.0.0/16")
XFRM: dict[str, object] = {"MARK_IN": None, "MARK_OUT": None, "IF_ID_IN": 42, "IF_ID_OUT": 42}
BY_KIND: dict[str, dict[str, object]] = {
    "vti": {},
    "vti6": {"ME": "fec0::1", "PEER": "fec0::2"},
    "xfrm": XFRM,
}
TUNNELS = tuple(BY_KIND)


def lines_of(script):
    return [re.sub(r"\s+", " ", line).strip() for line in sh(script).splitlines()]


def ifindex(link):
    return sh(f"ip link show {link}").partition(":")[0]


def is_blocked(destination):
    return "answers: " in sh(f"ip route get {destination} 2>&1 || :")


def alike(state):
    """A network state without what differs each time a link is made: its number, its link-local
    address and the secret of it.
    """
    return re.sub(r"(?m)^\d+: |fe80:\S+|stable_secret:.*", "", state)


def person(capfd, *words):
    """A command for people, as it is typed; its exit status and lines."""
    capfd.readouterr()
    status = people.run(list(words))
    return status, capfd.readouterr().out.splitlines()


@pytest.mark.parametrize("verb", ["up-client", "up-client-v6"])
def test_an_if_id_has_an_xfrm_interface(machine, verb):
    """A CHILD_SA with an if_id needs no mark."""
    before = machine.state()
    assert machine.up(*NET, "--route", "fd00:2::/32", verb=verb, **XFRM)[0].startswith(
        "gw: xfrm42 up, 192.168.0.1 → 192.168.0.2, if_id 42, "
    )
    assert "xfrm if_id 0x2a" in sh("ip -d link show xfrm42")
    assert machine.setting(4 if verb == "up-client" else 6, "xfrm42") == "1"
    assert machine.routes("xfrm42", 4 if verb == "up-client" else 6)
    machine.down(verb=verb.replace("up", "down"), **XFRM)
    assert machine.state() == before


def test_an_xfrm_interface_is_shared_and_the_last_one_takes_it(machine):
    """All peers of one if_id are on one link."""
    before = machine.state()
    machine.up(*NET, **XFRM)
    machine.up("--route", "10.9.0.0/16", PEER="192.168.0.3", PEER_ID="pluto", UNIQUEID=2, **XFRM)
    assert machine.routes("xfrm42") == [
        "10.2.0.0/16 proto 50 scope link src 10.3.0.1",
        "10.9.0.0/16 proto 50 scope link src 10.3.0.1",
    ]
    machine.down(**XFRM)
    assert machine.routes("xfrm42") == ["10.9.0.0/16 proto 50 scope link src 10.3.0.1"]
    machine.down(PEER="192.168.0.3", PEER_ID="pluto", UNIQUEID=2, **XFRM)
    assert machine.state() == before


def test_two_if_ids_have_a_link_each_way(machine):
    """Packets leave by one and come in by the other."""
    before = machine.state()
    ids = XFRM | {"IF_ID_IN": 7, "IF_ID_OUT": 8}
    machine.up(*NET, **ids)
    assert (
        machine.routes("xfrm8") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
        and machine.routes("xfrm7") == []
    )
    assert machine.setting(4, "xfrm7", "rp_filter") == "2"
    machine.down(**ids)
    assert machine.state() == before


def test_the_administrators_xfrm_interface_is_borrowed(machine):
    """It is used, and neither changed nor deleted."""
    sh("ip link add ipsec0 type xfrm if_id 42; ip link set ipsec0 up")
    before = machine.state()
    assert machine.up(*NET, **XFRM)[0].startswith("gw: ipsec0 up")
    machine.down(**XFRM)
    assert machine.state() == before


@pytest.mark.parametrize("kind", TUNNELS)
def test_a_tunnel_is_bound_to_an_underlying_link(machine, kind):
    """`device` is what `ip link add … dev` means."""
    before = machine.state()
    changed = BY_KIND[kind]
    machine.up(*NET, "--device", "eth0", "--name", "t0", **changed)
    assert "t0@eth0" in sh("ip link show t0")
    machine.down(**changed)
    assert machine.state() == before


@pytest.mark.parametrize("mends", ["repair", "up"])
@pytest.mark.parametrize("kind", TUNNELS)
def test_a_link_whose_device_came_back_is_bound_to_it(machine, kind, mends, capfd):
    """The new device has another ifindex. The link is made anew, with all that is on it."""
    before = machine.state()
    sh("ip link add eth9 type dummy")
    changed = BY_KIND[kind]
    machine.up(*NET, "--route", "10.9.0.0/16", "--device", "eth9", "--name", "t0", **changed)
    sh("ip link del eth9; ip link add eth9 type dummy")
    again = changed | {"UNIQUEID": 2, "MY_CLIENT": "10.8.0.0/16"}
    if mends == "repair":
        status, printed = person(capfd, "repair")
        assert (status, printed[0]) == (0, "ip link del t0")
        assert person(capfd, "repair") == (0, ["nothing to repair"])
    else:
        machine.up(*NET, "--device", "eth9", "--name", "t0", **again)
    assert "t0@eth9" in sh("ip link show t0")
    assert machine.links() == ([] if kind == "xfrm" else ["t0"])
    assert [route.split()[0] for route in machine.routes("t0")] == ["10.2.0.0/16", "10.9.0.0/16"]
    if mends == "up":
        machine.down(**again)
    machine.down(**changed)
    sh("ip link del eth9")
    assert machine.state() == before


def test_a_link_whose_device_came_back_goes_at_its_last_down(machine):
    """Nothing is made anew for that."""
    before = machine.state()
    sh("ip link add eth9 type dummy")
    machine.up(*NET, "--device", "eth9", **XFRM)
    sh("ip link del eth9; ip link add eth9 type dummy")
    machine.down(**XFRM)
    sh("ip link del eth9")
    assert machine.state() == before


def test_an_underlying_link_that_is_not_there_is_an_error(machine):
    """The line says which setting to correct."""
    before = machine.state()
    (line,) = machine.event("up-client", *NET, "--device", "wan7")
    assert (
        line
        == "error: gw: there is no link wan7 to bind the tunnel to; correct device in the settings"
    )
    assert machine.status == 1 and machine.state() == before


@pytest.mark.parametrize("order", ["smaller first", "smaller last"])
def test_a_shared_link_has_the_smallest_mtu_of_its_clients(machine, order):
    """A client over IPv6 has less room. When it goes, the other one has all of its own."""
    before = machine.state()
    over_ipv4 = XFRM | {"PEER_ID": "four"}
    over_ipv6 = XFRM | {"ME": "fec0::1", "PEER": "fec0::2", "PEER_ID": "six", "UNIQUEID": 2}
    clients = [over_ipv6, over_ipv4]
    for client in clients if order == "smaller first" else clients[::-1]:
        machine.up("--no-routes", **client)
    assert " mtu 1390 " in sh("ip link show xfrm42")
    machine.down(**over_ipv6)
    assert " mtu 1406 " in sh("ip link show xfrm42")
    machine.down(**over_ipv4)
    assert machine.state() == before


@pytest.mark.parametrize("changed", [{}, {"ME": "fec0::1", "PEER": "fec0::2"}], ids=["vti", "vti6"])
def test_one_link_for_all_peers(machine, changed):
    """With remote = any one VTI serves every peer."""
    before = machine.state()
    machine.up("--remote", "any", "--route", "10.3.0.7/32", **changed)
    other = changed | {
        "PEER": "fec0::3" if changed else "192.168.0.3",
        "PEER_ID": "pluto",
        "UNIQUEID": 2,
    }
    machine.up("--remote", "any", "--route", "10.3.0.8/32", **other)
    assert "remote any" in sh("ip -d link show vti1") and machine.links() == ["vti1"]
    machine.down(**changed)
    assert machine.routes("vti1") == ["10.3.0.8 proto 50 scope link src 10.3.0.1"]
    machine.down(**other)
    assert machine.state() == before


FULL = ("--route", "0.0.0.0/0", "--route", "::/0")


def test_a_full_tunnel_leaves_the_lan_and_the_peer_outside(machine):
    """In both families the LAN answers and IKE goes by the uplink."""
    before = machine.state()
    machine.up(*FULL)
    machine.up(*FULL, verb="up-client-v6")
    assert "dev vti1 table" in sh("ip route get 8.8.8.8") and "dev vti1 table" in sh(
        "ip -6 route get 2001:db8::1"
    )
    for outside in ("192.168.0.2", "192.168.0.9"):
        assert "dev eth0" in sh(f"ip route get {outside}")
    assert lines_of("ip rule") == [
        "0: from all lookup local",
        "15000: from all iif lo ipproto esp goto 15004 proto 50",
        "15000: from all iif lo ipproto udp sport 500 goto 15004 proto 50",
        "15000: from all iif lo ipproto udp sport 4500 goto 15004 proto 50",
        "15002: from all lookup main suppress_prefixlength 0 proto 50",
        f"15003: from all iif lo lookup {FULL_TABLE + 1} proto 50",
        f"15003: not from all iif lo lookup {FULL_TABLE} proto 50",
        "15004: from all nop proto 50",
        "32766: from all lookup main",
        "32767: from all lookup default",
    ]
    machine.down()
    machine.down(verb="down-client-v6")
    assert machine.state() == before


def asides():
    """The peers that are kept out of full tunnels."""
    return re.findall(
        r"throw (\S+) table 776\d+", sh("ip route show table all; ip -6 route show table all")
    )


def test_every_tunnels_peer_is_outside_while_a_full_tunnel_is_up(machine):
    """In every order of coming and going; without a full tunnel nothing is there for it."""
    site = {"PEER": "192.168.0.3", "PEER_ID": "pluto", "UNIQUEID": 2, "MARK_IN": 3, "MARK_OUT": 3}
    before = machine.state()
    machine.up(*NET, **site)
    assert asides() == []
    machine.up(*FULL)
    assert asides() == ["192.168.0.2", "192.168.0.3"]
    machine.down(**site)
    assert asides() == ["192.168.0.2"]
    machine.up(*NET, **site)
    assert asides() == ["192.168.0.2", "192.168.0.3"]
    machine.down()
    assert asides() == []
    machine.down(**site)
    assert machine.state() == before


def test_a_full_tunnels_failed_up_leaves_no_way_around_it(machine, monkeypatch):
    """What came with its rules goes with them."""
    site = {"PEER": "192.168.0.3", "PEER_ID": "pluto", "UNIQUEID": 2, "MARK_IN": 3, "MARK_OUT": 3}
    machine.up(*NET, **site)
    before = machine.state()
    real = Kernel.take

    def no_rules(self, step, *known):
        if isinstance(step.new, Rule):
            raise KernelError(1, "no rules")
        return real(self, step, *known)

    with monkeypatch.context() as patch:
        patch.setattr(Kernel, "take", no_rules)
        machine.event("up-client", *FULL)
    assert machine.status == 1 and machine.state() == before


FAR = {"PEER": "203.0.113.7"}
FAR6 = {"ME": "fec0::1", "PEER": "2001:db8:7::7"}


@pytest.mark.parametrize(("family", "far", "lan"), [(4, FAR, "10.77.0.9"), (6, FAR6, "fec7::9")])
def test_what_is_forwarded_never_goes_around_a_full_tunnel(machine, family, far, lan):
    """To the peer, from any port: only this host's own outer packets do."""
    sh("ip -6 route add default dev eth0; ip link add lan0 type dummy; ip link set lan0 up")
    sh("ip addr add 10.77.0.1/24 dev lan0; ip addr add fec7::1/64 dev lan0 nodad")
    sh("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    machine.up(*FULL, verb="up-client" if family == 4 else "up-client-v6", **far)
    look_up = f"ip -{family} route get {far['PEER']}"
    for packet in ("", "ipproto udp sport 500 dport 9", "ipproto udp sport 4500 dport 500"):
        assert "dev eth0" in sh(f"{look_up} {packet}")
        assert "dev vti1" in sh(f"{look_up} from {lan} iif lan0 {packet}")


def test_a_users_own_rule_decides_of_outer_packets(machine):
    """One uplink for the office's tunnel, say: its rule is behind ours, and still holds."""
    sh("ip link add wan2 type dummy; ip link set wan2 up; ip addr add 198.51.100.1/24 dev wan2")
    sh("ip route add default dev wan2 table 202; ip rule add to 203.0.113.7 lookup 202")
    machine.up(*FULL, PEER="203.0.113.7")
    for how in ("", "ipproto udp sport 4500 dport 4500"):
        assert "dev wan2" in sh(f"ip route get 203.0.113.7 {how}")
    assert "dev vti1" in sh("ip route get 8.8.8.8")


OTHERS_RULES = """
ip link add wan2 type dummy; ip link set wan2 up; ip addr add 198.51.100.1/24 dev wan2
ip link add lan0 type dummy; ip link set lan0 up; ip addr add 10.77.0.1/24 dev lan0
sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.lan0.rp_filter=0
ip route add default dev wan2 table 2
ip rule add pref 1002 iif wan2 lookup main
ip rule add pref 2002 fwmark 0x200/0x3f00 lookup 2
ip rule add pref 3002 fwmark 0x200/0x3f00 unreachable
ip link add ts0 type dummy; ip link set ts0 up; ip addr add 100.64.0.1/32 dev ts0
ip route add 100.64.0.7 dev ts0 table 52
ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup main
ip rule add pref 5230 fwmark 0x80000/0xff0000 lookup default
ip rule add pref 5250 fwmark 0x80000/0xff0000 unreachable
ip rule add pref 5270 lookup 52
ip link add vrf1 type vrf table 301; ip link set vrf1 up
ip link add red type dummy; ip link set red master vrf1; ip link set red up
ip addr add 10.78.0.1/24 dev red; ip route add default dev red table 301
ip rule add pref 1000 l3mdev 2>/dev/null || :
"""
"""As mwan3, Tailscale and a VRF have them."""
FORWARDED = "from 10.77.0.9 iif lan0"
MWAN3S, TAILSCALES = "mark 0x200", "mark 0x80000"


@pytest.mark.parametrize("first", ["15000", "1500"])
def test_a_full_tunnel_beside_the_rules_of_others(machine, first):
    """Those of mwan3, Tailscale and a VRF go on working, and ours have what they leave."""
    sh(OTHERS_RULES)
    ways = {f"203.0.113.9 {packet}": "vti1" for packet in ("", FORWARDED)}
    ways |= {
        f"203.0.113.9 {TAILSCALES}": "eth0",
        "100.64.0.7": "ts0",
        f"100.64.0.7 {FORWARDED}": "ts0",
        "203.0.113.9 vrf vrf1": "red",
        "203.0.113.9 from 10.78.0.9 iif red": "red",
        "192.168.0.2": "eth0",
        "192.168.0.2 ipproto udp sport 4500 dport 4500": "eth0",
        f"192.168.0.2 {FORWARDED}": "eth0",
        f"203.0.113.9 {MWAN3S}": "wan2",
        f"203.0.113.9 {MWAN3S} {FORWARDED}": "wan2",
    }
    if first == "1500":
        # The tunnel has what mwan3 would spread over the uplinks, and what is for Tailscale.
        ways |= {
            f"203.0.113.9 {TAILSCALES}": "vti1",
            "100.64.0.7": "vti1",
            f"100.64.0.7 {FORWARDED}": "vti1",
            f"203.0.113.9 {MWAN3S}": "vti1",
            f"203.0.113.9 {MWAN3S} {FORWARDED}": "vti1",
            # Outer packets have their uplink from mwan3 all the same.
            f"203.0.113.9 {MWAN3S} ipproto udp sport 4500 dport 4500": "wan2",
        }
    machine.up(*FULL, "--full-priority", first)
    taken = {packet: way_of(packet) for packet in ways}
    assert taken == ways
    machine.down()


def way_of(packet):
    """The link by which a packet leaves, as a look-up tells."""
    return sh(f"ip route get {packet}").partition(" dev ")[2].split()[0]


def test_a_peer_is_never_reached_through_its_own_tunnel(machine):
    """While the uplink is away its packets go nowhere."""
    machine.up(*FULL)
    sh("ip link set eth0 down")
    assert is_blocked("192.168.0.2")


def test_the_newest_full_tunnel_has_the_traffic(machine):
    """The other one has it back when that goes."""
    before = machine.state()
    other = {"PEER": "192.168.0.3", "PEER_ID": "pluto", "UNIQUEID": 2, "MARK_IN": 3, "MARK_OUT": 3}
    machine.up(*FULL)
    machine.up(*FULL, **other)
    assert "dev vti2" in sh("ip route get 8.8.8.8")
    assert all("dev eth0" in sh(f"ip route get 192.168.0.{last}") for last in (2, 3))
    machine.down(**other)
    assert "dev vti1" in sh("ip route get 8.8.8.8") and "192.168.0.3" not in asides()
    machine.down()
    assert machine.state() == before


def test_metrics_choose_between_two_gateways(machine):
    """Both routes stand, and the lower metric is used."""
    before = machine.state()
    other = {"PEER": "192.168.0.3", "PEER_ID": "pluto", "UNIQUEID": 2}
    machine.up(*NET, "--metric", "10")
    machine.up(*NET, "--metric", "20", **other)
    assert "dev vti1" in sh("ip route get 10.2.0.1")
    machine.down()
    assert "dev vti2" in sh("ip route get 10.2.0.1")
    machine.down(**other)
    assert machine.state() == before


def test_routes_have_the_table_metric_and_source_asked_for(machine):
    """What a route says of itself comes before the connection's settings."""
    before = machine.state()
    sh("ip addr add 10.1.0.1/32 dev lo")
    machine.up(
        "--route",
        "10.2.0.0/16,table=77,metric=5,src=10.1.0.1",
        "--route",
        "10.9.0.0/16",
        "--table",
        "78",
    )
    assert lines_of("ip route show table 77") == [
        "10.2.0.0/16 dev vti1 proto 50 scope link src 10.1.0.1 metric 5"
    ]
    assert lines_of("ip route show table 78") == [
        "10.9.0.0/16 dev vti1 proto 50 scope link src 10.3.0.1"
    ]
    machine.down()
    sh("ip addr del 10.1.0.1/32 dev lo")
    assert machine.state() == before


def test_addresses_of_the_settings_stand_in_for_the_virtual_ip(machine):
    """A cloud's inner addresses are set by hand."""
    before = machine.state()
    machine.up(
        "--no-routes",
        "--address",
        "169.254.21.2/30",
        "--address",
        "10.99.0.1 peer 10.99.0.2",
        "--address",
        "fd00:9::1/64",
    )
    assert [line.partition(" scope")[0] for line in lines_of("ip addr show vti1") if line.startswith("inet ")] == [
        "inet 169.254.21.2/30", "inet 10.99.0.1 peer 10.99.0.2/32"
    ]  # fmt: skip
    machine.up("--no-routes", "--address", "fd00:9::1/64", verb="up-client-v6")
    assert "fd00:9::1/64" in machine.addresses("vti1")
    machine.down()
    machine.down(verb="down-client-v6")
    assert machine.state() == before


def test_the_mtu_leaves_room_for_esp_unless_it_is_set(machine):
    """The settings have the last word."""
    machine.up(*NET)
    assert "mtu 1406" in sh("ip link show vti1")
    machine.up(*NET, "--mtu", "1380", UNIQUEID=2)
    assert "mtu 1380" in sh("ip link show vti1")
    machine.down(UNIQUEID=2)
    assert "mtu 1406" in sh("ip link show vti1")


def test_a_route_with_an_mtu_of_its_own_makes_the_links_smaller(machine):
    """The path's MTU counts, not only the uplink's."""
    sh("ip route add 192.168.0.2 dev eth0 mtu 1428")
    machine.up(*NET)
    assert "mtu 1342" in sh("ip link show vti1")


def test_the_mss_is_clamped_and_the_table_goes_with_the_tunnel(machine):
    """nftables has our table only while the tunnel is up."""
    before = machine.state()
    machine.up(*NET, "--mss", "path")
    assert "size set 1366" in sh("nft list table inet vti-updown-vti1")
    machine.down()
    assert machine.state() == before and sh("nft list tables") == ""


def test_a_vrf_has_the_link_and_its_routes(machine):
    """The routes go into the VRF's own table."""
    sh("ip link add blue type vrf table 100; ip link set blue up")
    before = machine.state()
    machine.up(*NET, "--vrf", "blue")
    assert "master blue" in sh("ip link show vti1")
    assert "10.2.0.0/16 dev vti1 proto 50 scope link src 10.3.0.1" in lines_of(
        "ip route show table 100"
    )
    machine.down()
    assert machine.state() == before


def test_a_link_that_changes_its_vrf_keeps_what_is_on_it(machine):
    """The kernel takes addresses and routes away, and they are put back."""
    sh("ip link add blue type vrf table 100; ip link set blue up")
    before = machine.state()
    machine.up(*NET)
    machine.up(*NET, "--vrf", "blue", UNIQUEID=2)
    assert "10.2.0.0/16 dev vti1 proto 50 scope link src 10.3.0.1" in lines_of(
        "ip route show table 100"
    )
    assert machine.addresses("vti1") == ["10.3.0.1/32"]
    machine.down(UNIQUEID=2)
    assert machine.routes("vti1") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    machine.down(UNIQUEID=1)
    assert machine.state() == before


def test_a_vrf_that_is_not_there_is_an_error(machine):
    """The line says how to make it."""
    before = machine.state()
    (line,) = machine.event("up-client", *NET, "--vrf", "blue")
    assert (
        line == "error: gw: there is no VRF blue; make it: ip link add blue type vrf table NUMBER"
    )
    assert machine.state() == before


@pytest.mark.parametrize("changed", [{}, XFRM], ids=["vti", "xfrm"])
def test_a_link_in_a_namespace_has_all_that_is_on_it_there(machine, changed):
    """Its outer packets are still routed here."""
    sh("ip netns add red; ip -n red link set lo up")
    before = machine.state()
    machine.up(*FULL, "--netns", "red", "--name", "t0", **changed)
    assert "t0" not in sh("ip link")
    assert lines_of("ip -n red route") == ["default dev t0 proto 50 scope link src 10.3.0.1"]
    assert "10.3.0.1/32" in sh("ip -n red addr show t0") and "UP" in sh("ip -n red link show t0")
    assert sh("ip netns exec red cat /proc/sys/net/ipv4/conf/t0/disable_policy") == "1\n"
    machine.up(*FULL, "--netns", "red", "--name", "t0", verb="up-client-v6", **changed)
    assert sh("ip netns exec red cat /proc/sys/net/ipv6/conf/t0/disable_policy") == "1\n"
    machine.down(**changed)
    machine.down(verb="down-client-v6", **changed)
    assert machine.state() == before and "t0" not in sh("ip -n red link")
    sh("ip netns del red")


def test_a_missing_namespace_is_an_error_for_an_up_only(machine):
    """A tunnel whose namespace has gone is gone with it."""
    before = machine.state()
    (line,) = machine.event("up-client", *NET, "--netns", "red")
    assert (
        line == "error: gw: there is no network namespace red; make it: ip netns add red"
        and machine.status == 2
    )
    assert machine.state() == before
    machine.down()
    sh("ip netns add red")
    machine.up(*NET, "--netns", "red")
    sh("ip netns del red")
    machine.down()
    assert machine.state() == before


def test_multicast_link_local_and_sysctls(machine):
    """What OSPF and Babel need is set on the link."""
    before = machine.state()
    machine.up(*NET, "--multicast", "--link-local", "fe80::7", "--sysctl", "ipv4.rp_filter=2")
    assert "MULTICAST" in sh("ip link show vti1")
    assert [line.split()[1] for line in lines_of("ip -6 addr show vti1") if "inet6" in line] == [
        "fe80::7/64"
    ]
    assert machine.setting(4, "vti1", "rp_filter") == "2"
    machine.down()
    assert machine.state() == before


def test_block_leaves_no_way_but_the_tunnel(machine, capfd):
    """While it is down its networks cannot be reached in clear."""
    before = machine.state()
    machine.up(*NET, "--when-down", "block")
    assert "dev vti1" in sh("ip route get 10.2.0.1")
    sh("ip link del vti1")  # whatever happens to the link
    assert is_blocked("10.2.0.1")
    assert machine.down() == ["gw: vti1 down, 192.168.0.1 → 192.168.0.2, 10.2.0.0/16 blocked"]
    assert machine.routes() == [
        "default via 192.168.0.254 dev eth0",
        "unreachable 10.2.0.0/16 proto 50 metric 4294967295",
    ]
    machine.restart_charon()
    assert person(capfd, "flush", "--stale")[0] == 0
    assert is_blocked("10.2.0.1")
    assert person(capfd, "release", "gw") == (
        0,
        ["ip route del unreachable 10.2.0.0/16 proto 50 metric 4294967295"],
    )
    assert machine.state() == before


def test_a_blocked_full_tunnel_lets_only_lan_and_peer_out(machine, capfd):
    """A kill switch for all traffic."""
    before = machine.state()
    for verb in ("up-client", "up-client-v6"):
        machine.up(*FULL, "--when-down", "block", verb=verb)
    for verb in ("down-client", "down-client-v6"):
        machine.down(verb=verb)
    assert is_blocked("8.8.8.8") and is_blocked("2001:db8::1")
    assert "dev eth0" in sh("ip route get 192.168.0.2") and "dev eth0" in sh(
        "ip route get 192.168.0.9"
    )
    machine.up(*FULL, "--when-down", "block")
    assert "dev vti1" in sh("ip route get 8.8.8.8")
    machine.down()
    assert person(capfd, "release")[0] == 0
    assert machine.state() == before


def test_keep_leaves_the_link_its_ifindex_and_its_routes(machine, capfd):
    """Firewalls and routing daemons hold on to the ifindex."""
    before = machine.state()
    keep = (*NET, "--when-down", "keep", "--address", "169.254.21.2/30")
    machine.up(*keep)
    index = ifindex("vti1")
    assert machine.down() == ["gw: vti1 stays without a CHILD_SA, as when_down says"]
    assert machine.addresses("vti1") == ["169.254.21.2/30"] and machine.routes("vti1") == [
        "10.2.0.0/16 proto 50 scope link"
    ]
    machine.up(*keep, UNIQUEID=9, MARK_IN=9, MARK_OUT=9)  # mark=%unique: the keys follow
    assert "okey 0.0.0.9" in sh("ip -d link show vti1") and ifindex("vti1") == index
    machine.down(UNIQUEID=9, MARK_IN=9, MARK_OUT=9)
    assert person(capfd, "release", "gw")[0] == 0
    assert machine.state() == before


def test_settings_that_no_longer_keep_let_go_at_the_next_up(machine):
    """The settings of the newest up decide what stands."""
    before = machine.state()
    machine.up(*NET, "--when-down", "keep")
    machine.down()
    machine.up(*NET, UNIQUEID=2)
    machine.down(UNIQUEID=2)
    assert machine.state() == before


def config(text):
    sh("mkdir -p /run/test; chmod 755 /run/test")
    with open("/run/test/vti-updown.toml", "w") as file:
        file.write(text)
    return ("--config", "/run/test/vti-updown.toml")


GW = """
[connection.gw]
local = "192.168.0.1"
remote = "192.168.0.2"
mark = 2
routes = ["10.2.0.0/16", "fd00:2::/32"]
"""


def test_what_prepare_sets_up_an_up_takes_over(machine, capfd):
    """release takes it away in the end."""
    before = machine.state()
    file = config(GW + 'when_down = "keep"\n')
    status, lines = person(capfd, "prepare", *file)
    assert (status, lines[0]) == (
        0, f"ip link add vti2 group {state.group()} type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2"
    )  # fmt: skip
    index = ifindex("vti2")
    assert machine.routes("vti2") == ["10.2.0.0/16 proto 50 scope link"]
    assert machine.routes("vti2", 6) == ["fd00:2::/32 proto 50 metric 1024 pref medium"]
    assert person(capfd, "prepare", "gw", *file) == (0, ["nothing to prepare"])
    assert machine.up(*file)[0].startswith("gw: vti2 up")
    assert machine.routes("vti2") == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    assert ifindex("vti2") == index
    machine.down()
    assert machine.routes("vti2") == ["10.2.0.0/16 proto 50 scope link"]
    assert person(capfd, "release")[0] == 0
    assert machine.state() == before


def test_release_of_a_tunnel_that_is_up_leaves_it_up(machine, capfd):
    """Only what stands without a CHILD_SA is let go."""
    before = machine.state()
    file = config(GW + 'when_down = "block"\n')
    person(capfd, "prepare", *file)
    machine.up(*file)
    assert person(capfd, "release", "gw")[0] == 0
    assert "dev vti1" in sh("ip route get 10.2.0.1") and "unreachable" not in sh("ip route")
    machine.down()
    assert machine.state() == before


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        (GW, ["gw"], "error: gw: when_down is remove, so nothing stands; make it keep or block in the settings"),
        (GW, ["office"], "error: the settings have no table [connection.office]; see vti-updown check-config"),
        ('[connection.gw]\nmark = 2\nwhen_down = "keep"', [], "error: gw: the endpoints of the VTI are not known; add local and remote to the settings"),
        ('[connection.gw]\nlocal = "192.168.0.1"\nremote = "192.168.0.2"\nwhen_down = "keep"', [],
         "error: gw: the CHILD_SA has neither mark nor if_id\n"
         "error:   add mark=NUMBER to it, unique to the peer (swanctl: mark_in, mark_out)"),
        ('[connection.gw]\nif_id = 4\nwhen_down = "block"', [],
         "error: gw: when_down = block with routes = auto and a selector of everything blocks nothing\n"
         'error:   list what to block, such as routes = ["0.0.0.0/0", "::/0"]'),
        ('[connection.gw]\nif_id = 4\nwhen_down = "block"\nroutes = ["0.0.0.0/0"]', [],
         "error: gw: 0.0.0.0/0 is a full tunnel, and the peer's address is not known; add remote to the settings"),
    ],
)  # fmt: skip
def test_what_cannot_be_prepared_is_told_and_changes_nothing(machine, capfd, text, words, line):
    """The line says what is missing in the settings."""
    before = machine.state()
    assert person(capfd, "prepare", *words, *config(text)) == (2, line.split("\n"))
    assert machine.state() == before


def test_the_users_commands_get_the_event_and_the_link(machine):
    """They see PLUTO_* and the link's name."""
    sh("mkdir -p /run/test")
    machine.up(
        *NET,
        "--up",
        'echo "$PLUTO_VERB $VTI_UPDOWN_IFNAME" >> /run/test/log',
        "--down",
        "env >> /run/test/log",
    )
    machine.down("--down", "false")  # that of its up is run
    told = sh("cat /run/test/log").splitlines()
    assert (
        told[0] == "up-client vti1"
        and "PLUTO_VERB=down-client" in told
        and "VTI_UPDOWN_IFNAME=vti1" in told
    )
    assert {line.partition("=")[0] for line in told[1:] if not line.startswith("PLUTO_")} <= {
        "PATH",
        "VTI_UPDOWN_IFNAME",
        "PWD",
        "_",
        "SHLVL",
        "OLDPWD",
    }


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("echo oh no; exit 3", ["ended with status 3: oh no"]),
        ("kill -9 $$", ["ended with signal 9"]),
        ("sleep 60", ["was killed after 1 s", f"warning:   {ASKS_CHARON}"]),
        ("sleep 60 & exit 1", ["ended with status 1"]),
    ],
)
def test_a_command_that_fails_is_told_and_the_tunnel_stays(machine, command, fault):
    """The exit status is 1, and the last line that it printed is shown."""
    lines = machine.event("up-client", *NET, "--command-seconds", "1", "--up", command)
    said, *hint = fault
    told = [f"warning: its up command {said}", *hint]
    assert lines[-len(told) :] == told and machine.status == 1
    assert machine.links() == ["vti1"]


@pytest.mark.parametrize("flags", [(), ("--command-detach",)])
def test_a_command_may_call_the_hook_itself(machine, flags):
    """The records are free while it runs, and nobody who waits for it has inherited the lock."""
    sh("mkdir -p /run/test")
    takes_the_lock = "for lock in /run/vti-updown/*.lock; do flock -n $lock echo free; done"
    up = f"{{ {takes_the_lock}; }} >/run/test/up.new; mv /run/test/up.new /run/test/up"
    machine.up(*NET, *flags, "--up", up)
    sh("until [ -e /run/test/up ]; do sleep 0.1; done")
    assert sh("cat /run/test/up") == "free\n"


def test_a_failed_up_runs_no_command_and_neither_does_its_down(machine):
    """There is no tunnel that the command could be about."""
    sh("mkdir -p /run/test")
    machine.event(
        "up-client",
        *NET,
        "--vrf",
        "blue",
        "--up",
        "touch /run/test/up",
        "--down",
        "touch /run/test/down",
    )
    machine.down()
    assert sh("ls /run/test") == ""


def test_a_tunnel_whose_settings_broke_since_goes_down(machine):
    """A down goes by what its up recorded."""
    before = machine.state()
    file = config(GW)
    machine.up(*file)
    config("[connection.gw")
    machine.event("up-client", *file, UNIQUEID=2)
    assert machine.status == 2
    machine.down(*file, UNIQUEID=2)
    machine.down(*file)
    assert machine.state() == before


SETUPS = [
    (FULL, {}),
    ((*FULL, "--when-down", "block"), XFRM),
    ((*NET, "--when-down", "keep", "--mss", "1200", "--address", "10.99.0.1 peer 10.99.0.2"), XFRM),
    (
        (*NET, "--multicast", "--mtu", "1300", "--sysctl", "ipv4.rp_filter=2"),
        XFRM | {"IF_ID_IN": 7, "IF_ID_OUT": 8},
    ),
    ((*NET, "--device", "eth0"), {}),
    (("--remote", "any", *NET), {}),
]


@pytest.mark.parametrize(("flags", "changed"), slow_rows_but(SETUPS[1::2], SETUPS))
def test_a_dry_runs_commands_make_what_the_hook_makes(machine, flags, changed):
    """For every kind of set-up, pasted into a shell."""
    before = machine.state()
    script = machine.event("up-client", *flags, "--dry-run", **changed)
    assert machine.state() == before
    sh("\n".join(line.replace("sysctl -w", "sysctl -q -w") for line in script))
    pasted = machine.state()
    for line in reversed(script):
        if line.startswith("ip link add"):
            sh(f"ip link del {line.split()[3]}")
    sh(
        "ip rule flush proto 50; ip route flush table all proto 50 2>/dev/null || :; nft flush ruleset"
    )
    assert machine.state() == before
    machine.up(*flags, **changed)
    assert changes(alike(pasted), alike(machine.state())) == []


@pytest.mark.parametrize(("flags", "changed"), slow_rows_but(SETUPS[::2], SETUPS))
def test_repair_puts_back_everything_of_every_setup(machine, capfd, flags, changed):
    """Whatever of a set-up is taken away comes back."""
    machine.up(*flags, **changed)
    made = machine.state()
    sh(
        "ip rule flush proto 50; ip route flush table all proto 50 2>/dev/null || :; nft flush ruleset"
    )
    for link in re.findall(r"^\d+: ((?:vti|xfrm)\d+)[@:]", sh("ip link"), re.M):
        sh(f"ip link del {link}")
    assert person(capfd, "repair")[0] == 0
    assert changes(alike(made), alike(machine.state())) == []
    assert person(capfd, "repair") == (0, ["nothing to repair"])
    machine.down(**changed)
    assert person(capfd, "flush", "--force")[0] == 0
    assert not re.search("vti1|xfrm[78]|xfrm42", sh("ip link")) and "proto 50" not in sh(
        "ip rule; ip route show table all"
    )


def test_kind_and_local_end_are_those_of_the_settings(machine):
    """The settings come before the event."""
    before = machine.state()
    both = {"IF_ID_IN": 42, "IF_ID_OUT": 42}
    machine.up(*NET, "--kind", "vti", "--local", "any", **both)
    assert "vti remote 192.168.0.2 local any" in sh("ip -d link show vti1")
    machine.down(**both)
    machine.up(*NET, **both)
    assert "xfrm if_id 0x2a" in sh("ip -d link show xfrm42")
    machine.down(**both)
    assert machine.state() == before


def test_prepare_of_an_if_id_needs_no_endpoints(machine, capfd):
    """An XFRM interface has none."""
    before = machine.state()
    file = config(
        '[connection.gw]\nif_id = [42, 43]\nroutes = ["10.2.0.0/16"]\nwhen_down = "keep"\nname = "x{if_id:08x}"\n'
    )
    assert person(capfd, "prepare", *file)[0] == 0
    assert machine.routes("x0000002b") == [
        "10.2.0.0/16 proto 50 scope link"
    ] and "xfrm if_id 0x2a" in sh("ip -d link show x0000002a")
    ids = XFRM | {"IF_ID_IN": 42, "IF_ID_OUT": 43}
    assert machine.up(*file, **ids)[0].startswith("gw: x0000002b, x0000002a up")
    machine.down(**ids)
    assert person(capfd, "release")[0] == 0
    assert machine.state() == before


@pytest.mark.parametrize("name", [(), ("--name", "office")], ids=["default", "chosen"])
def test_a_kept_link_follows_an_if_id_that_is_new_each_time(machine, capfd, name):
    """if_id = %unique: there is one link, and with a chosen name it is the same one."""
    before = machine.state()
    old, new = (XFRM | {"IF_ID_IN": n, "IF_ID_OUT": n, "UNIQUEID": n} for n in (7, 8))
    keep = (*NET, "--when-down", "keep", *name)
    machine.up(*keep, **old)
    link = "office" if name else "xfrm7"
    index = ifindex(link)
    machine.down(**old)
    machine.up(*keep, **new)
    link = "office" if name else "xfrm8"
    assert "xfrm if_id 0x8" in sh(f"ip -d link show {link}") and "if_id 0x7" not in sh("ip -d link")
    assert machine.routes(link) == ["10.2.0.0/16 proto 50 scope link src 10.3.0.1"]
    assert (ifindex(link) == index) == bool(name)
    machine.down(**new)
    assert machine.routes(link) == ["10.2.0.0/16 proto 50 scope link"]
    assert person(capfd, "release")[0] == 0
    assert machine.state() == before


def test_make_before_break_with_unique_if_ids_loses_no_route(machine):
    """The newest link has the route, and the old one's down does not take it along; in both
    families.
    """
    before = machine.state()
    old, new = (XFRM | {"IF_ID_IN": n, "IF_ID_OUT": n, "UNIQUEID": n} for n in (7, 8))
    both = (*NET, "--route", "fd00:2::/32")
    for ids in (old, new):
        machine.up(*both, **ids)
        machine.up(*both, verb="up-client-v6", **ids)
    machine.down(**old)
    machine.down(verb="down-client-v6", **old)
    assert "dev xfrm8" in sh("ip route get 10.2.0.1") and "dev xfrm8" in sh(
        "ip -6 route get fd00:2::1"
    )
    machine.down(**new)
    machine.down(verb="down-client-v6", **new)
    assert machine.state() == before
