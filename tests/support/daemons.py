"""Routing daemons and libreswan as Debian starts them, on hosts that have the package."""

import re

from .host import Host

FRR_USERS = {
    "/etc/passwd": "frr:x:65432:65432::/nonexistent:/usr/sbin/nologin\n",
    "/etc/group": "frr:x:65432:\nfrrvty:x:65431:frr\n",
}
"""What the package's installation adds."""


PLUTO = (
    "/usr/libexec/ipsec/pluto --nofork --config /etc/ipsec.conf --nssdir /run/nss"
    " --logfile /run/pluto.log"
)


def bird(host: Host, conf: str = "") -> None:
    """Starts BIRD with /etc/bird/bird.conf, which `conf` is written to if it is given."""
    if conf:
        host.file("/etc/bird/bird.conf", conf)
    host.run("mkdir", "-p", "/run/bird")
    host.start("/usr/sbin/bird", "-f")
    host.until("birdc show status >/dev/null")


def frr(host: Host, daemons: tuple[str, ...] = ("bgpd",)) -> None:
    """Starts zebra and `daemons` of FRR with the host's /etc/frr/frr.conf."""
    if "frr:" not in host.run("cat", "/etc/passwd"):
        for path, lines in FRR_USERS.items():
            host.file(path, host.run("cat", path) + lines)
    host.run("install", "-d", "-o", "frr", "-g", "frr", "/run/frr")
    for daemon in ("zebra", *daemons):
        host.start(f"/usr/lib/frr/{daemon}")
        host.until(f"test -S /run/frr/{daemon}.vty")
    host.run("vtysh", "-b")


def pluto(host: Host) -> None:
    """Starts libreswan's pluto with the host's /etc/ipsec.conf and what that includes."""
    host.run("mkdir", "-p", "/run/pluto", "/run/nss")
    host.run("ipsec", "initnss", "--nssdir", "/run/nss")
    host.start(*PLUTO.split())
    # It answers when it has started addconn, which loads the connections.
    host.until("ipsec whack --trafficstatus >/dev/null 2>&1 && ! pgrep -x addconn >/dev/null")


def stop(host: Host, daemon: str) -> None:
    """Ends a daemon as systemd does, and waits for its end."""
    host.run("pkill", "-TERM", "-x", daemon)
    host.until(f"! pgrep -x {daemon} >/dev/null")


def routes(host: Host) -> set[str]:
    """The networks that the host's BIRD has routes to."""
    return set(
        re.findall(
            r"(?m)^(?:(?:\d+\.){3}\d+/\d+|[0-9a-f:]+::/\d+)", host.run("birdc", "show", "route")
        )
    )


def bgp_session(host: Host, neighbour: str) -> str:
    """The ports of the TCP connection to a neighbour: while they are the same, the session is."""
    return " ".join(host.run("ss", "-Htn", "state", "established", "dst", neighbour).split()[2:])
