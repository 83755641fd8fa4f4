"""strongSwan on a host: started, ended, asked for its SAs, and what it logged of the hook."""

import re
import time
from collections.abc import Iterable

from .namespaces import WAIT_SECONDS, Failed, Namespaces

LOGGING = """charon {
    filelog {
        log {
            path = /run/charon.log
            flush_line = yes
            time_format = %H:%M:%S
        }
    }
}
"""
NO_CERTIFICATES = """swanctl {
    load = random nonce
}
"""
"""Where it has no certificates to read: loading what reads them is most of its time."""
STOP_CHARON = """
charon=$(cat /run/charon.pid)
kill -9 $(cat /run/starter.charon.pid 2>/dev/null) 2>/dev/null
kill "$charon"
while grep -qs '^State:.[^Z]' "/proc/$charon/status"; do sleep 0.1; done
# Sockets that are left would look like the next charon's.
rm -f /run/starter.charon.pid /run/charon.vici /run/charon.ctl
"""
"""Starter ends first: it would kill a charon whose hooks take longer than ten seconds."""


class StrongSwan(Namespaces):
    """Namespaces that strongSwan can run in."""

    def charon(
        self, conf: str = "", swanctl: str = "", secrets: str = "", charon: str = ""
    ) -> None:
        """Starts strongSwan with ipsec.conf and ipsec.secrets, or swanctl.conf, and charon.conf."""
        self.file("/etc/strongswan.d/charon.conf", charon or "charon {\n install_routes = no\n}\n")
        if swanctl:
            self.file("/etc/swanctl/swanctl.conf", swanctl, 0o600)
        else:
            self.file("/etc/ipsec.conf", conf)
            self.file("/etc/ipsec.secrets", secrets, 0o600)
        self.start_charon(starter=not swanctl)

    def start_charon(self, starter: bool = False, certificates: bool = False) -> None:
        """Starts strongSwan with the files of its /etc, by starter or loaded by swanctl."""
        self.file(
            "/etc/strongswan.d/charon-logging.conf",
            LOGGING + ("" if certificates else NO_CERTIFICATES),
        )
        if starter:
            self.daemon = self.start("/usr/sbin/ipsec", "start", "--nofork")
            self.until("test -S /run/charon.ctl && ipsec status >/dev/null 2>&1")
            self.until("test -S /run/charon.vici")
        else:
            self.daemon = self.start("/usr/lib/ipsec/charon")
            self.until("test -S /run/charon.vici")
            self.run("swanctl", "--load-all")

    def kill_charon(self) -> None:
        """Ends strongSwan as a crash does: it runs no more code, and tells nobody."""
        pids = "$(cat /run/starter.charon.pid /run/charon.pid 2>/dev/null)"
        self.run("sh", "-c", f"kill -9 {pids}; rm -f /run/charon.vici /run/charon.ctl /run/*.pid")
        self.daemon.wait(WAIT_SECONDS)

    def sas(self, connection: str) -> tuple[list[int], list[int]]:
        """The numbers of a connection's IKE_SAs and CHILD_SAs that are up."""
        text = self.run("swanctl", "--list-sas", "--ike", connection)
        ike = re.findall(r"(?m)^\S+: #(\d+), ESTABLISHED", text)
        return [int(number) for number in ike], [
            int(number) for number in re.findall(r"(?m)^  \S+: #(\d+), .*INSTALLED", text)
        ]

    def newest(self, connection: str, child: bool = False) -> int:
        """The number of the IKE_SA (or CHILD_SA) whose CHILD_SA was established last."""
        found = re.findall(
            rf"IKE_SA {connection}\[(\d+)\] established"
            rf"|CHILD_SA {connection}\{{(\d+)\}} established",
            self.log(),
        )
        ike_sa = child_sa = ""
        for ike, sa in found:
            ike_sa, child_sa = ike or ike_sa, sa or child_sa
        return int(child_sa if child else ike_sa)

    def until_sas(
        self,
        connection: str,
        ike: int,
        child: int,
        without: Iterable[int] = (),
        without_ike: Iterable[int] = (),
    ) -> tuple[list[int], list[int]]:
        """Waits for so many IKE_SAs and CHILD_SAs, none of those `without`; their numbers."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            found = self.sas(connection)
            new = not set(found[0]) & set(without_ike) and not set(found[1]) & set(without)
            if new and (len(found[0]), len(found[1])) == (ike, child):
                return sorted(found[0]), sorted(found[1])
            time.sleep(0.2)
            if time.monotonic() > end:
                raise Failed(
                    f"{self.name}: {connection} has {found}, not {ike} and {child} new SAs\n"
                    f"{self.log()[-4000:]}"
                )

    def rekey(self, connection: str, what: str) -> None:
        """Rekeys the CHILD_SA (child) or the IKE_SA (ike) of a connection that has one of each.

        Waits until the new one is there alone.
        """
        ike, child = self.sas(connection)
        self.run("swanctl", "--rekey", f"--{what}", connection)
        old, old_ike = (child, ()) if what == "child" else ((), ike)
        self.until_sas(connection, 1, 1, without=old, without_ike=old_ike)

    def stop_charon(self) -> None:
        """Ends strongSwan in an orderly way, however long its hooks take."""
        self.run("sh", "-c", STOP_CHARON, check=False)
        self.daemon.wait(WAIT_SECONDS)

    def log(self) -> str:
        return self.run("cat", "/run/charon.log", check=False)

    def hook_log(self, at_least: int = 0, seconds: float = WAIT_SECONDS) -> list[str]:
        """What the hook printed, as charon logged it.

        Waits for `at_least` lines, as charon's commands do not.
        """
        end = time.monotonic() + seconds
        while (
            len(said := re.findall(r"updown: (.*)", self.log())) < at_least
            and time.monotonic() < end
        ):
            time.sleep(0.1)
        return said
