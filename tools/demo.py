#!/usr/bin/env python3
"""The demo: moon, a laptop with the article's ipsec.conf and this hook, and sun, its VPN gateway.

Each has a charon of its own. The demo prints what it does at each step. Its last line says whether
all of it held.
"""

import sys
import time

from support.capture import Capture
from support.events import environment
from support.host import Host, wire
from support.namespaces import HOOK, ROOT, Failed

SUN_CONF = """
conn vpn
    left=192.168.0.2
    leftid=sun
    leftauth=psk
    leftsubnet=0.0.0.0/0,::/0
    right=%any
    rightid=moon
    rightauth=psk
    rightsourceip=10.3.0.1,fd00:3::1
    auto=add
"""
SECRETS = 'moon sun : PSK "demonstration only"\n'
MARKED = (
    ("<vpngw_ip>", "192.168.0.2"),
    ("<vpngw_id>", "sun"),
    ("<our_id>", "moon"),
    ("<vpngw>", "gw"),
)
PINGS = 5

failed: list[str] = []


def example(name: str) -> str:
    """A file of examples/, with its placeholders filled in."""
    text = (ROOT / "examples" / name).read_text()
    for placeholder, value in MARKED:
        text = text.replace(placeholder, value)
    return text


def step(text: str) -> None:
    print(f"\n== {text}", flush=True)


def show(host: Host, *words: str) -> str:
    """Runs a command that a person would, and prints it with its output."""
    output = host.run(*words)
    print(f"{host.name}# {' '.join(words)}\n{output}", end="", flush=True)
    return output


def check(text: str, truth: object) -> None:
    if not truth:
        failed.append(text)
    print(f"   {'ok' if truth else 'FAILED'}: {text}", flush=True)


def two_hosts(moon: Host, sun: Host) -> None:
    """A cable between them, networks behind sun, and moon's default route by it."""
    wire(moon, sun, addresses=[("192.168.0.1/24", "192.168.0.2/24"), ("fec0::1/16", "fec0::2/16")])
    moon.run("ip", "route", "add", "default", "via", "192.168.0.2")
    sun.run("ip", "addr", "add", "10.2.0.1/16", "dev", "lo")
    sun.run("ip", "addr", "add", "fd00:2::1/128", "dev", "lo")


def article(moon: Host, sun: Host) -> None:
    step("Two hosts: moon 192.168.0.1, and sun 192.168.0.2 with 10.2.0.1 and fd00:2::1 behind it")
    two_hosts(moon, sun)
    print((ROOT / "examples/ipsec.conf").read_text())
    sun.charon(conf=SUN_CONF, secrets=SECRETS, charon="charon {\n}\n")
    moon.charon(conf=example("ipsec.conf"), secrets=SECRETS, charon=example("charon.conf"))
    before = moon.network_state()

    step("What the hook would do, by hand and with --dry-run")
    variables = environment(MY_SOURCEIP6_1=None, PEER_CLIENT="0.0.0.0/0") | {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"
    }
    print(moon.run(HOOK, "--dry-run", "--route", "10.2.0.0/16", env=variables), end="")
    check("it has changed nothing", moon.network_state() == before)

    step("ipsec up gw")
    moon.run("ipsec", "up", "gw")
    said = moon.hook_log(at_least=2)
    print("\n".join(said))
    link = said[0].split(" up,")[0].removeprefix("gw: ") if said else ""
    show(moon, "ip", "-d", "link", "show", link)
    show(moon, "ip", "addr", "show", link)
    show(moon, "ip", "route", "show", "dev", link)
    show(moon, "ip", "-6", "route", "show", "dev", link, "proto", "50")
    check(
        "IPv4's disable_policy is set",
        moon.run("cat", f"/proc/sys/net/ipv4/conf/{link}/disable_policy") == "1\n",
    )
    check(
        "IPv6's disable_policy is set",
        moon.run("cat", f"/proc/sys/net/ipv6/conf/{link}/disable_policy") == "1\n",
    )

    for family, inner, source in ((4, "10.2.0.1", "10.3.0.1"), (6, "fd00:2::1", "fd00:3::1")):
        step(
            f"IPv{family} through the tunnel: {PINGS} pings from moon to {inner},"
            f" and back to {source}"
        )
        rx, tx = moon.counters(link)
        with Capture(moon, "eth0", f"esp or host {inner}") as wired:
            there = moon.ping(inner, PINGS)
            back = sun.ping(source, PINGS, source=inner)
        received, sent = (
            now - then for now, then in zip(moon.counters(link), (rx, tx), strict=True)
        )
        esp = sum("ESP(" in line for line in wired.lines)
        clear = wired.count - esp
        print(
            f"   {link}: {sent} packets out, {received} in;"
            f" on the wire: {esp} ESP, {clear} in clear"
        )
        check(
            f"all {PINGS} pings were answered, and all {PINGS} in the other direction",
            there == back == PINGS,
        )
        check(f"{link} carried each of them, and each answer", sent == received == 2 * PINGS)
        check(
            "each was an ESP packet on the wire, and none went in clear",
            esp == 4 * PINGS and clear == 0,
        )

    step("ipsec down gw")
    moon.run("ipsec", "down", "gw")
    print("\n".join(moon.hook_log(at_least=len(said) + 2)[len(said) :]))
    time.sleep(0.5)
    check(
        "moon's links, addresses, rules, routes and settings are exactly as before",
        same(before, moon.network_state()),
    )


def same(before: str, after: str) -> bool:
    """Whether two network states are equal; prints what differs."""
    one, other = before.splitlines(), after.splitlines()
    for sign, here, there in (("-", one, other), ("+", other, one)):
        for text in here:
            if text not in there:
                print(f"   {sign} {text}")
    return before == after


def main() -> int:
    failed.clear()
    try:
        with Host("moon") as moon, Host("sun") as sun:
            try:
                article(moon, sun)
            except Failed:
                print(moon.log())
                raise
    except Failed as failure:
        print(failure)
        check("every command worked", False)
    print(f"\n{'It all held.' if not failed else 'It did NOT all hold: see FAILED above.'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
