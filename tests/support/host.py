"""Hosts for tests and the demo, the cables between them, and their network's state."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterable

from .strongswan import StrongSwan

FALLBACK_LINKS = "ip_vti0|ip6_vti0|ip6tnl0|tunl0|gre0|gretap0|erspan0|sit0|ip6gre0"


class Host(StrongSwan):
    """One host. `run` runs a command on it; `charon` starts strongSwan on it."""

    def network_state(self, netns: str = "") -> str:
        """The whole network state as text, which is equal if nothing changed.

        It has links, addresses, rules, all tables' routes, and settings. `netns` is a network
        namespace of this host, by the name that `ip netns` knows. So it is below.
        """
        script = (
            # IPv6 addresses that are looked for on the wire still are in no table of local ones.
            "n=0; while [ $n -lt 50 ] && ip -6 addr show tentative | grep -q .;"
            "do n=$((n+1)); sleep 0.1; done;"
            r"printf 'link\naddr\nrule\nroute show table all\nxfrm policy\n' | ip -d -batch -;"
            r"printf 'rule\nroute show table all\n' | ip -6 -d -batch -;"
            "cd /proc/sys/net;"
            "grep -rs . $PWD/ipv4/conf $PWD/ipv6/conf $PWD/ipv4/ip_forward; true"
        )
        text = self.run(*inside(netns), "sh", "-c", script)
        text = re.sub(r"(valid_lft|preferred_lft|expires) \S+( sec)?", "", text)  # they run down
        text = re.sub(
            r"(?m)^220:\tfrom all lookup 220.*\n", "", text
        )  # charon's own, there as long as it runs
        text = re.sub(r"(?m)^src \S+ dst \S+ *\n\tsocket .*\n", "", text)  # of charon's own sockets
        # Links that a module brings along are there as soon as anyone has loaded it.
        text = re.sub(rf"(?m)^\d+: ({FALLBACK_LINKS})[@:].*\n(?:    .*\n)*", "", text)
        return re.sub(rf"(?m)^/proc/sys/net/ipv./conf/({FALLBACK_LINKS})/.*\n", "", text)

    def counters(self, link: str) -> tuple[int, int]:
        """Packets received and sent by a link."""
        (found,) = json.loads(self.run("ip", "-s", "-j", "link", "show", link))
        return found["stats64"]["rx"]["packets"], found["stats64"]["tx"]["packets"]

    def ping(self, address: str, count: int = 3, source: str = "", netns: str = "") -> int:
        """Sends pings, and returns how many were answered."""
        words = f"ping -n -q -i 0.2 -W 2 -c {count}".split()
        words += [*(["-I", source] if source else []), address]
        found = re.search(r"(\d+) received", self.run(*inside(netns), *words, check=False))
        return int(found[1]) if found else 0


def inside(netns: str) -> list[str]:
    """What stands before a command that is to run in a network namespace."""
    return ["ip", "netns", "exec", netns] if netns else []


def changes(before: str, after: str) -> list[str]:
    """What one network state has and another has not, a line each, in whatever order."""
    old, new = Counter(before.splitlines()), Counter(after.splitlines())
    return [*(f"- {line}" for line in old - new), *(f"+ {line}" for line in new - old)]


def wire(
    one: Host, other: Host, name: str = "eth0", addresses: Iterable[tuple[str, str]] = ()
) -> None:
    """A cable between two hosts, `name` at both ends, with pairs of addresses."""
    # Only the network namespace is entered, so that `netns` finds the other host's process.
    words = f"nsenter -t {one.pid} -n ip link add {name} type veth peer {name} netns {other.pid}"
    subprocess.run(words.split(), check=True)
    for host in (one, other):
        host.run("ip", "link", "set", name, "up")
    for mine, its in addresses:
        for host, address in ((one, mine), (other, its)):
            no_delay = ["nodad"] if ":" in address else []
            host.run("ip", "addr", "add", address, "dev", name, *no_delay)
