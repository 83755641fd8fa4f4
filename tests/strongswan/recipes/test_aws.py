"""examples/aws: two tunnels to AWS, BGP by BIRD, and what is lost when one of them dies, beside a
set-up made by hand.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.daemons import bgp_session, bird
from support.host import Host
from support.namespaces import HOOK
from support.recipes import Recipe
from support.site import has
from support.stream import Stream

from ..conftest import Figures
from .cloud import CLEAR_ROUTES, CloudVpn, connection

RECIPE = Recipe("aws")
TUNNELS = {"aws1": ("203.0.113.1", 101, 1), "aws2": ("198.51.100.1", 102, 5)}
"""Of each tunnel: AWS's outside address, our mark, and the last byte of AWS's inside address."""

# AWS's defaults: it waits to be called, DPD every 10 s, and a tunnel that ends loses its routes
# ("DPD timeout action: clear").
IKE = {
    "proposals": "aes256gcm16-prfsha256-ecp256, aes128-sha256-modp2048",
    "rekey_time": 28800,
    "dpd_delay": 10,
}
CHILD = {
    "esp_proposals": "aes256gcm16-ecp256, aes128-sha256-modp2048",
    "rekey_time": 3600,
    "updown": "/etc/clear-routes",
}
AWS_SECRETS = """
secrets {
    ike-1 {
        id = 203.0.113.1
        secret = "the key of tunnel 1"
    }
    ike-2 {
        id = 198.51.100.1
        secret = "the key of tunnel 2"
    }
}
"""
AWS_BIRD = """
router id 203.0.113.1;
protocol device {
}
protocol kernel {
    ipv4 {
        export filter {
            if source != RTS_BGP then reject;
            krt_prefsrc = 10.2.0.1;
            accept;
        };
    };
}
protocol static vpc {
    ipv4;
    route 10.2.0.0/16 unreachable;
}
template bgp tunnel {
    local as 64512;
    hold time 30;
    ipv4 {
        import all;
        export where proto = "vpc";
    };
}
protocol bgp aws1 from tunnel {
    neighbor 169.254.10.2 as 65000;
}
protocol bgp aws2 from tunnel {
    neighbor 169.254.10.6 as 65000;
}
"""


class AwsVpn(CloudVpn):
    """aws has both endpoints, and 10.2.0.1 of the VPC behind them."""

    HOSTS = ("moon bird2", "aws bird2")
    RECIPE = RECIPE
    BY_STARTER = True

    def set_up(self) -> None:
        super().set_up()
        aws = self.aws
        self.moon.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
        has(aws, "10.2.0.1/16")
        connections = ""
        for number, (name, (address, _, _)) in enumerate(TUNNELS.items(), 1):
            has(aws, f"{address}/32")
            self.link(
                aws,
                name,
                f"local {address} remote 192.0.2.1 key {number}",
                f"169.254.10.{number * 4 - 3}/30",
            )
            aws.run("ip", "link", "set", name, "down")
            connections += connection(
                name, address, IKE, {**CHILD, "mark_in": number, "mark_out": number}
            )
        aws.run("nft", "add table ip dead; add chain ip dead in { type filter hook prerouting priority raw; };"
                       "add chain ip dead out { type filter hook postrouting priority 300; }")  # fmt: skip
        aws.file("/etc/clear-routes", CLEAR_ROUTES, 0o755)
        bird(aws, AWS_BIRD)
        aws.charon(swanctl=f"connections {{{connections}}}{AWS_SECRETS}")

    @staticmethod
    def link(host: Host, name: str, vti: str, address: str) -> None:
        """A link made by hand."""
        host.run("sh", "-c", f"ip link add {name} type vti {vti}; ip addr add {address} dev {name};"
                             f"sysctl -qw net.ipv4.conf.{name}.disable_policy=1 net.ipv4.conf.{name}.rp_filter=2;"
                             f"ip link set {name} mtu 1406 up")  # fmt: skip

    @contextmanager
    def by_the_recipe(self) -> Iterator[None]:
        """The recipe's files, and the commands of its page."""
        with super().by_the_recipe():
            self._both_up()
            yield
        self._forgotten()

    @contextmanager
    def by_hand(self) -> Iterator[None]:
        """The same strongSwan and BIRD on links that stand as well, but nobody calls a hook."""
        RECIPE.install(self.moon)
        conf = (RECIPE.folder / "ipsec.conf").read_text()
        assert HOOK in conf
        self.moon.file("/etc/ipsec.conf", re.sub(r"(?m)^\tleftupdown=.*\n", "", conf))
        for name, (address, mark, inside) in TUNNELS.items():
            self.link(
                self.moon,
                name,
                f"local 192.0.2.1 remote {address} key {mark}",
                f"169.254.10.{inside + 1}/30",
            )
        with self.running():
            self._both_up()
            yield
        self._forgotten()
        for name in TUNNELS:
            self.moon.run("ip", "link", "del", name)

    def _both_up(self) -> None:
        for name in TUNNELS:
            self.established(name)
        self.both_use("aws1")

    def _forgotten(self) -> None:
        """Waits until AWS has heard that moon's strongSwan has ended."""
        self.aws.until("! swanctl --list-sas | grep -q ESTABLISHED")

    def established(self, name: str) -> None:
        for host in (self.moon, self.aws):
            host.until(f"birdc show protocols {name} | grep -q Established")

    def both_use(self, name: str) -> None:
        """Waits until packets go through that tunnel, both ways."""
        self.moon.until(f"ip route get 10.2.0.1 | grep -q 'dev {name} src 10.1.0.1'")
        self.aws.until(f"ip route get 10.1.0.1 | grep -q 'dev {name} src 10.2.0.1'")

    def dies(self, name: str) -> None:
        """The endpoint falls silent, and AWS itself knows."""
        address = TUNNELS[name][0]
        self.aws.run(
            "nft",
            f"add rule ip dead in ip daddr {address} drop; add rule ip dead out ip saddr {address} drop",
        )
        self.aws.run("swanctl", "--terminate", "--ike", name, "--force")

    def lives(self) -> None:
        self.aws.run("nft", "flush table ip dead")

    def indexes(self) -> dict[str, int]:
        links = json.loads(self.moon.run("ip", "-j", "link"))
        return {link["ifname"]: link["ifindex"] for link in links if link["ifname"] in TUNNELS}

    def stream(self) -> Stream:
        return Stream(self.moon, "10.1.0.1", "10.2.0.1")


site = AwsVpn.fixture(scope="function")


def died_and_came_back(site: AwsVpn) -> tuple[Stream, Stream]:
    """The endpoint in use dies, and is there again: what each lost."""
    indexes, second = site.indexes(), bgp_session(site.moon, "169.254.10.5")
    assert ":179" in second
    with site.stream() as dying:
        site.dies("aws1")
        site.both_use("aws2")
    with site.stream() as coming_back:
        site.lives()
        site.established("aws1")
        site.both_use("aws1")
    site.moon.until_sas("aws1", 1, 1)
    assert (dying.tail, coming_back.tail) == (0, 0)
    assert (site.indexes(), bgp_session(site.moon, "169.254.10.5")) == (indexes, second)
    return dying, coming_back


def ended_and_started(site: AwsVpn) -> tuple[Stream, Stream]:
    """The tunnel in use is taken down in order, and up again: what each lost."""
    with site.stream() as ending:
        RECIPE.run(site.moon, "swanctl --terminate --ike aws1")
        site.both_use("aws2")
    with site.stream() as starting:
        RECIPE.run(site.moon, "swanctl --initiate --child aws1")
        site.established("aws1")
        site.both_use("aws1")
    assert (ending.tail, starting.tail) == (0, 0)
    return ending, starting


@pytest.mark.slow
@pytest.mark.recipe("aws", "strongSwan", "BIRD")
def test_aws_tunnel_2_takes_over_while_an_endpoint_is_dead(site: AwsVpn, figures: Figures) -> None:
    """A stream to the VPC goes on through tunnel 2 when DPD finds the endpoint of tunnel 1 dead,
    and back when it lives.
    """
    with site.by_the_recipe():
        assert sorted(site.indexes()) == ["aws1", "aws2"]
        for command in (
            "swanctl --list-sas",
            "birdc show protocols",
            "birdc show route",
            "ip route get 10.2.0.10",
        ):
            RECIPE.run(site.moon, command)
        site.aws.run("ip", "route", "add", "10.1.0.1/32", "dev", "aws2")
        assert (
            site.moon.ping("10.2.0.1", source="10.1.0.1") == 3
        )  # answers come through the other tunnel
        site.aws.run("ip", "route", "del", "10.1.0.1/32", "dev", "aws2")
        ours = died_and_came_back(site)
    with site.by_hand():
        theirs = died_and_came_back(site)
    figures.add("an endpoint of AWS dies, tunnel 2 takes over", ours[0], hand_made=theirs[0])
    figures.add("the endpoint is back, and so is its traffic", ours[1], hand_made=theirs[1])


@pytest.mark.slow
@pytest.mark.recipe("aws", "strongSwan", "BIRD")
def test_aws_tunnel_2_takes_over_at_once_from_one_that_ends(site: AwsVpn, figures: Figures) -> None:
    """A stream to the VPC loses a few packets when tunnel 1 is terminated: BIRD is told, and does
    not wait for its hold time.
    """
    with site.by_the_recipe():
        ours = ended_and_started(site)
    with site.by_hand():
        theirs = ended_and_started(site)
    figures.add("a tunnel to AWS is terminated, tunnel 2 takes over", ours[0], hand_made=theirs[0])
    figures.add("the tunnel is initiated again", ours[1], hand_made=theirs[1])
    assert ours[0].lost * 4 < theirs[0].lost
