"""Each kind of link × IPv4 and IPv6 inside × ipsec.conf and swanctl.conf, on two charons that both
have the hook.

moon is the initiator, with virtual IPs or with a subnet of its own, and sun the responder, with a
subnet. Each connection has both inner families at once. docs/supported.md has this as a table.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

import pytest

from support.capture import Capture
from support.host import Host
from support.namespaces import HOOK
from support.site import PINGS, Calls, has

from .conftest import Pair

pytestmark = pytest.mark.usefixtures("as_before")

CHARON = """charon {
    install_routes = no
    install_virtual_ip = no
    make_before_break = yes
}
"""
SECRETS = ': PSK "for tests only"\n'
OUTER = {4: ("192.168.0.1", "192.168.0.2"), 6: ("fec0::1", "fec0::2")}
SUBNETS = {
    "virtual IPs": ("10.3.0.1/32", "fd00:3::1/128"),
    "subnet": ("10.7.0.0/24", "fd00:7::/64"),
}
BEHIND_SUN = ("10.2.0.0/16", "fd00:2::/64")
INNER = (4, 6)
OURS = {"virtual IPs": {4: "10.3.0.1", 6: "fd00:3::1"}, "subnet": {4: "10.7.0.1", 6: "fd00:7::1"}}
ITS = {4: "10.2.0.1", 6: "fd00:2::1"}


class Cell(NamedTuple):
    """A cell of the table; its name is the connection's, the CHILD_SA's and moon's identity."""

    kind: str
    outer: int
    file: str
    """ipsec.conf or swanctl.conf."""
    moons: str
    """What moon has inside: virtual IPs or subnet."""
    key: str
    """The mark, or the if_id."""

    @property
    def name(self) -> str:
        return f"{self.kind}{self.outer}{self.file[0]}{self.moons[0]}"

    def __str__(self) -> str:
        return f"{self.kind}-IPv{self.outer}-{self.file}-{self.moons.replace(' ', '-')}"


KINDS = (("vti", 4), ("vti6", 6), ("xfrm", 4), ("xfrm", 6))
CELLS = [
    Cell(kind, outer, file, moons, str(10 + number))
    for number, (kind, outer, file, moons) in enumerate(
        (kind, outer, file, moons)
        for kind, outer in KINDS
        for file in ("ipsec.conf", "swanctl.conf")
        for moons in SUBNETS
        if kind != "xfrm" or file == "swanctl.conf"  # ipsec.conf has no if_id
    )
]
QUICK = (
    "vti-IPv4-ipsec.conf-virtual-IPs",
    "vti6-IPv6-swanctl.conf-subnet",
    "xfrm-IPv4-swanctl.conf-virtual-IPs",
)
EACH_CELL = pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, marks=() if str(cell) in QUICK else pytest.mark.slow, id=str(cell))
        for cell in CELLS
    ],
)
UNIQUE = [
    Cell("xfrm", 4, "swanctl.conf", moons, key)
    for moons, key in (("virtual IPs", "%unique"), ("subnet", "%unique-dir"))
]


def ipsec_conf(cells: Iterable[Cell], moon: bool) -> str:
    """moon's ipsec.conf, or sun's."""
    text = f"config setup\n uniqueids=no\n\nconn %default\n authby=psk\n auto=add\n leftupdown={HOOK}\n"
    for cell in cells:
        mine, its = OUTER[cell.outer] if moon else OUTER[cell.outer][::-1]
        left, right = ("left", "right") if moon else ("right", "left")
        pool = (
            "%config4,%config6"
            if moon
            else ",".join(one.partition("/")[0] for one in SUBNETS["virtual IPs"])
        )
        inside = (
            f"{left}sourceip={pool}"
            if cell.moons == "virtual IPs"
            else f"{left}subnet={','.join(SUBNETS['subnet'])}"
        )
        text += (
            f"\nconn {cell.name}\n left={mine}\n right={its}\n {left}id={cell.name}\n {right}id=sun\n {inside}\n"
            f" {right}subnet={','.join(BEHIND_SUN)}\n mark={cell.key}\n"
        )
    return text


def swanctl_conf(cells: Iterable[Cell], moon: bool, name: str = "") -> str:
    """moon's swanctl.conf, or sun's. `name` is in the place of the cell's."""
    connections = ""
    for cell in cells:
        called = name or cell.name
        mine, its = OUTER[cell.outer] if moon else OUTER[cell.outer][::-1]
        my_id, its_id = (called, "sun") if moon else ("sun", called)
        keys = ("if_id_in", "if_id_out") if cell.kind == "xfrm" else ("mark_in", "mark_out")
        my_ts, its_ts = ("local_ts", "remote_ts") if moon else ("remote_ts", "local_ts")
        pools = (
            ("vips = 0.0.0.0, ::" if moon else "pools = four, six")
            if cell.moons == "virtual IPs"
            else ""
        )
        subnet = f"{my_ts} = {', '.join(SUBNETS['subnet'])}" if cell.moons == "subnet" else ""
        connections += f"""
    {called} {{
        local_addrs = {mine}
        remote_addrs = {its}
        {pools}
        local {{
            auth = psk
            id = {my_id}
        }}
        remote {{
            auth = psk
            id = {its_id}
        }}
        children {{
            {called} {{
                {subnet}
                {its_ts} = {", ".join(BEHIND_SUN)}
                {keys[0]} = {cell.key}
                {keys[1]} = {cell.key}
                updown = {HOOK}
            }}
        }}
    }}"""
    four, six = SUBNETS["virtual IPs"]
    pools = (
        ""
        if moon
        else f"pools {{\n four {{\n addrs = {four}\n }}\n six {{\n addrs = {six}\n }}\n}}\n"
    )
    return f"connections {{{connections}\n}}\n{pools}"


def kind_of(host: Host, link: str) -> str:
    (found,) = json.loads(host.run("ip", "-d", "-j", "link", "show", link))
    return str(found["linkinfo"]["info_kind"])


class Ends(Pair):
    """moon and sun, with a hook each."""

    def set_up(self) -> None:
        super().set_up()
        self.ends = self.moon, self.sun
        self.suns_calls = Calls(self.sun)
        has(self.moon, "10.7.0.1/32", "fd00:7::1/128")
        ipsec, swanctl = (
            [cell for cell in CELLS if cell.file == file] for file in ("ipsec.conf", "swanctl.conf")
        )
        for host in (self.sun, self.moon):
            moon = host is self.moon
            host.charon(conf=ipsec_conf(ipsec, moon), secrets=SECRETS, charon=CHARON)
            conf = swanctl_conf(swanctl, moon)
            for cell, name in zip(UNIQUE, ("unique", "uniquedir"), strict=True):
                conf += swanctl_conf([cell], moon, name).partition("pools {\n")[0]
            host.file("/etc/swanctl/swanctl.conf", conf, 0o600)
            host.run("swanctl", "--load-all")

    def unchanging(self) -> tuple[Host, ...]:
        return self.ends

    def of_both(self, count: int) -> tuple[list[str], list[str]]:
        """The next lines of both hooks."""
        return self.events(count), self.suns_calls.events(count)

    def start(self, child: str) -> tuple[list[str], list[str]]:
        return self.up(child, 2), self.suns_calls.events(2)

    def end(self, ike: str) -> tuple[list[str], list[str]]:
        return self.down(ike, 2), self.suns_calls.events(2)

    def ping(self, cell: Cell, back: bool = True) -> int:
        """Pings in each family, from moon and, with `back`, from sun; how many.

        All are answered.
        """
        for family in INNER:
            ours, its = OURS[cell.moons][family], ITS[family]
            assert self.moon.ping(its, PINGS) == PINGS, (cell, its, self.moon.log()[-4000:])
            assert not back or self.sun.ping(ours, PINGS, source=its) == PINGS, (cell, ours)
        return PINGS * len(INNER) * (2 if back else 1)


site = Ends.fixture()


@EACH_CELL
def test_packets_pass(site: Ends, cell: Cell) -> None:
    """Each packet goes through the link at both ends and is one ESP packet on the wire, before and
    after a rekey.
    """
    said = site.start(cell.name)
    links = [lines[0].split(" ")[1] for lines in said]
    outer = OUTER[cell.outer]
    key = f"{'if_id' if cell.kind == 'xfrm' else 'mark'} {cell.key}"
    inside, behind = SUBNETS[cell.moons], BEHIND_SUN
    for family in (0, 1):
        own = f"{inside[family]}, " if cell.moons == "virtual IPs" else ""
        assert (
            said[0][family]
            == f"{cell.name}: {links[0]} up, {outer[0]} → {outer[1]}, {key}, {own}{behind[family]}"
        )
        assert (
            said[1][family]
            == f"{cell.name}: {links[1]} up, {outer[1]} → {outer[0]}, {key}, {inside[family]}"
        )
    assert [kind_of(host, link) for host, link in zip(site.ends, links, strict=True)] == [
        cell.kind
    ] * 2

    before = [host.counters(link) for host, link in zip(site.ends, links, strict=True)]
    with Capture(site.moon, "eth0", "esp or net 10.0.0.0/8 or net fd00::/16") as wire:
        count = site.ping(cell)
        site.moon.rekey(cell.name, "child")
        count += site.ping(cell, back=False)
    after = [host.counters(link) for host, link in zip(site.ends, links, strict=True)]
    carried = [
        tuple(now - then for now, then in zip(*both, strict=True))
        for both in zip(after, before, strict=True)
    ]
    assert carried == [(count, count)] * 2
    assert [line for line in wire.lines if "ESP(" not in line] == []
    assert wire.count == 2 * count

    for lines, link in zip(site.end(cell.name), links, strict=True):
        assert lines[1].startswith(f"{cell.name}: {link} down, ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "name"),
    [*zip(UNIQUE, ("unique", "uniquedir"), strict=True)],
    ids=[cell.key for cell in UNIQUE],
)
def test_unique_if_ids_keep_their_packets_over_make_before_break(
    site: Ends, cell: Cell, name: str
) -> None:
    """Reauthentication, make before break, with if_id = %unique and with a link each way for
    %unique-dir.
    """
    said = site.start(name)
    ways = 2 if cell.key == "%unique-dir" else 1
    for host, lines in zip(site.ends, said, strict=True):
        links = lines[0].split(": ")[1].split(" up,")[0].split(", ")
        assert [kind_of(host, link) for link in links] == ["xfrm"] * ways
    site.ping(cell)
    site.moon.rekey(name, "child")
    site.ping(cell)
    old_ike, old = site.moon.sas(name)
    site.moon.run("swanctl", "--rekey", "--ike", name, "--reauth")
    site.moon.until_sas(name, 1, 1, without=old, without_ike=old_ike)
    for lines in site.of_both(4):
        assert [" up, " in line for line in lines] == [True, True, False, False], lines
    site.ping(cell)
    for lines in site.end(name):
        assert " down, " in lines[1]
