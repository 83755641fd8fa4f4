"""Routing daemons and libreswan on a test's hosts, as Debian starts them: a host made with the package has them."""

import re

from hosts import Host

FRR_DAEMONS = ("zebra", "bgpd", "ospfd", "ospf6d", "staticd")
FRR_USERS = {
    "/etc/passwd": "frr:x:65432:65432::/nonexistent:/usr/sbin/nologin\n",
    "/etc/group": "frr:x:65432:\nfrrvty:x:65431:frr\n",
}
"""What the package's installation adds."""


def bird(host: Host, conf: str = "") -> None:
    """Starts BIRD with /etc/bird/bird.conf, which `conf` is written to if it is given."""
    if conf:
        host.file("/etc/bird/bird.conf", conf)
    host.run("mkdir", "-p", "/run/bird")
    host.start("/usr/sbin/bird", "-f")
    host.until("birdc show status >/dev/null")


def frr(host: Host, conf: str = "", daemons: tuple[str, ...] = ("bgpd",)) -> None:
    """Starts zebra and `daemons` of FRR with /etc/frr/frr.conf, which `conf` is written to if it is given."""
    if conf:
        host.file("/etc/frr/frr.conf", conf)
    if "frr:" not in host.run("cat", "/etc/passwd"):
        for path, lines in FRR_USERS.items():
            host.file(path, host.run("cat", path) + lines)
    host.run("install", "-d", "-o", "frr", "-g", "frr", "/run/frr")
    for daemon in ("zebra", *daemons):
        host.start(f"/usr/lib/frr/{daemon}")
        host.until(f"test -S /run/frr/{daemon}.vty")
    host.run("vtysh", "-b")


def pluto(host: Host, conf: str = "", secrets: str = "") -> None:
    """Starts libreswan's pluto; `conf` and `secrets` are further files of /etc/ipsec.d, if they are given."""
    for path, text in (("/etc/ipsec.d/more.conf", conf), ("/etc/ipsec.d/more.secrets", secrets)):
        if text:
            host.file(path, text, 0o600)
    host.run("mkdir", "-p", "/run/pluto", "/run/nss")
    host.run("ipsec", "initnss", "--nssdir", "/run/nss")
    words = ["--nofork", "--config", "/etc/ipsec.conf", "--nssdir", "/run/nss", "--logfile", "/run/pluto.log"]
    host.start("/usr/libexec/ipsec/pluto", *words)
    # It answers when it has started addconn, which loads the connections.
    host.until("ipsec whack --trafficstatus >/dev/null 2>&1 && ! pgrep -x addconn >/dev/null")


def stop(host: Host, daemon: str) -> None:
    """Ends a daemon as systemd does, and waits for its end."""
    host.run("pkill", "-TERM", "-x", daemon)
    host.until(f"! pgrep -x {daemon} >/dev/null")


def birdc(host: Host, *words: str) -> str:
    """What BIRD answers to a command."""
    return host.run("birdc", *words).partition("ready.\n")[2]


def bgp_session(host: Host, neighbour: str) -> str:
    """The TCP connection to a neighbour, by its ports: as long as they are the same, the session is."""
    return " ".join(host.run("ss", "-Htn", "state", "established", "dst", neighbour).split()[2:])


def routes_of(text: str) -> set[str]:
    """The networks in what `birdc show route` or `vtysh -c "show … "` print."""
    return set(re.findall(r"(?m)\b(?:\d+\.){3}\d+/\d+|\b[0-9a-f:]+::/\d+", text))
