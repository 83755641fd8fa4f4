"""The stage on which stories are played: the product's own code, between charon's events and a
kernel made of paper.

A story gives settings and events, and gets text. What an event prints with `--dry-run` comes first,
then the lines of charon's log, which begin with `log:`, then the user's own command, which begins
with `run:`, and last `exit status:` where it is not 0.

This is the only file of the stories that knows what the product is made of inside.
"""

import json
import os
import shlex
import shutil
import sqlite3
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.events import environment
from support.schema import checked
from vti_updown import cli, processes, state
from vti_updown.addresses import IPAddress
from vti_updown.admin import charon_files, event_sources, status, survey
from vti_updown.admin import history as admin_history
from vti_updown.admin import session as admin_session
from vti_updown.admin.charon_files import ConfiguredChild
from vti_updown.admin.live import Live
from vti_updown.hook import late as hook_late
from vti_updown.hook import rehearse as hook_rehearse
from vti_updown.hook import run as hook_run
from vti_updown.hook import user_command
from vti_updown.kernel import namespace
from vti_updown.kernel.apply import KernelError
from vti_updown.kernel.counters import Counted, Counters
from vti_updown.objects.address import Address
from vti_updown.objects.link import Link
from vti_updown.objects.mss import MssClamp
from vti_updown.objects.object import HARMLESS, Applied, Foreign, Object, Outcome
from vti_updown.objects.registry import Step, commands
from vti_updown.objects.route import HostRoute, HostRoutes, OuterPacket, Route
from vti_updown.objects.sysctl import Sysctl
from vti_updown.records import references
from vti_updown.records.late import LateEvents
from vti_updown.records.records import Records
from vti_updown.records.storage import HeldError
from vti_updown.text import Refusal
from vti_updown.vici.ask import Answer
from vti_updown.vici.charons import Charon, Charons, Hook
from vti_updown.vici.sas import ChildSa, Connection, ConnectionChild, IkeSa

FILE = "vti-updown.toml"
"""The file of settings, in the folder that the stories run in."""
SINCE = "2026-07-01T12:00:00Z"
"""The time, as the records have it."""
GROUP = 1987313665
"""Of our links, whatever machine the stories are played on."""
MAIN_TABLE = 254
CHARONS_TABLE = 220

Network = IPv4Network | IPv6Network
Changes = dict[str, object]
"""Variables PLUTO_<name> that differ from the recorded event's, which is one of connection gw with
mark 2 from 192.168.0.1 to 192.168.0.2, with the virtual IPs 10.3.0.1 and fec3::1, and 0.0.0.0/0 or
::/0 behind the peer.
"""

NO_VIRTUAL_IP: Changes = {"MY_SOURCEIP": None, "MY_SOURCEIP4_1": None, "MY_SOURCEIP6_1": None}
SITE: Changes = {**NO_VIRTUAL_IP, "MY_CLIENT": "10.1.0.0/16", "PEER_CLIENT": "10.2.0.0/16"}
"""Two sites, each with a network behind its gateway."""
SITE6: Changes = {**NO_VIRTUAL_IP, "MY_CLIENT": "fd00:1::/48", "PEER_CLIENT": "fd00:2::/48"}
NO_MARK: Changes = {"MARK_IN": None, "MARK_OUT": None}
XFRM: Changes = {**NO_MARK, "IF_ID_IN": 42, "IF_ID_OUT": 42}
OVER_IPV6: Changes = {"ME": "2001:db8::1", "PEER": "2001:db8::2"}
PLUTO: Changes = {"CONNECTION": "pluto", "PEER": "192.168.0.3", "PEER_ID": "pluto", "UNIQUEID": 2}
"""Another connection, with another peer."""
PLUTO_MARK: Changes = {**PLUTO, "MARK_IN": 3, "MARK_OUT": 3}


def told(text: str) -> str:
    """The text of a story's literal, without what its place in the file adds."""
    return textwrap.dedent(text).strip()


class Device(NamedTuple):
    """A link that the host has."""

    ifindex: int
    name: str
    netns: str
    ours: bool
    link: Link | None = None
    """What it is, where it is a tunnel interface."""


class Host:
    """What the machine has that is not ours, as far as a tunnel asks."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        """Addresses on its own links."""
        self.next_hop: str | None = None
        """The gateway on the way to every peer."""
        self.path_mtu: int | None = 1500
        self.vrfs: dict[str, int] = {}
        """The table of each VRF."""
        self.namespaces: set[str] = set()
        self.networks: list[str] = []
        """Networks that it is connected to by eth0."""
        self.name_servers: list[str] = []
        self.routes: set[str] = set()
        """Networks that it routes by eth0 since a moment ago, so that a look did not see them."""
        self.charons_mark = 0
        """What its kernel-netlink.fwmark has behind the `!`."""
        self.charon_routes = False
        """Whether charon makes routes of its own (install_routes = yes)."""
        self.refuses: dict[str, int] = {}
        """Words of commands that the kernel refuses, with the number of the error."""
        self.devices: dict[int, Device] = {}
        self.bound_to_gone: set[str] = set()
        """Links that are bound to a device that was taken away since, and came back."""
        self.set_down: set[str] = set()
        """Links that a user has set down."""
        self.out_of_sight: dict[str, str] = {}
        """Why a namespace cannot be looked into, by its name."""
        self.newest = 1

    def add_link(self, name: str) -> None:
        """A link of somebody else's, such as a bridge."""
        self.add(name, "", False)

    def add_vti(self, name: str, local: str, remote: str, mark: int) -> None:
        """A VTI that the administrator made."""
        link = Link("vti", ip_address(local), ip_address(remote), name, mark, mark, "")
        self.add(name, "", False, link)

    def add(self, name: str, netns: str, ours: bool, link: Link | None = None) -> Device:
        self.newest += 1
        device = Device(self.newest, name, netns, ours, link)
        self.devices[device.ifindex] = device
        return device

    def find(self, name_or_index: str | int, netns: str = "") -> Device | None:
        for device in self.devices.values():
            if device.netns == netns and name_or_index in (device.name, device.ifindex):
                return device
        return None


class PaperObserve:
    """What a namespace of the host has."""

    def __init__(self, kernel: "PaperKernel", netns: str) -> None:
        self._kernel = kernel
        self._netns = netns

    def link_exists(self, name_or_index: str | int) -> bool:
        return self._kernel.host.find(name_or_index, self._netns) is not None

    def is_ours(self, name: str) -> bool:
        device = self._kernel.host.find(name, self._netns)
        return device is not None and device.ours

    def same_link(self, link: Link) -> Applied | None:
        return self._kernel.same_link(link)

    def host_routes(self, network: Network, table: int) -> HostRoutes:
        """The host's own namespace has its networks by eth0 in the main table, and no other."""
        if self._netns or table != MAIN_TABLE:
            return HostRoutes()
        there = []
        for text in self._kernel.host.networks:
            other = ip_network(text)
            if other.version == network.version and network.overlaps(other):
                there.append(HostRoute(other, 0, "eth0", True))
        return HostRoutes(tuple(there))


class PaperLookup:
    """How the host routes a packet."""

    def __init__(self, kernel: "PaperKernel") -> None:
        self._kernel = kernel

    def path_mtu(self, _packet: OuterPacket) -> int | None:
        return self._kernel.host.path_mtu

    def next_hop(self, _packet: OuterPacket) -> IPAddress | None:
        hop = self._kernel.host.next_hop
        return None if hop is None else ip_address(hop)

    def source(self, network: Network, is_unfit: Callable[[IPAddress], bool]) -> IPAddress | None:
        ours = [
            each.address.ip for each in self._kernel.objects.values() if isinstance(each, Address)
        ]
        for ip in [*map(ip_address, self._kernel.host.addresses), *ours]:
            if ip in network and not is_unfit(ip):
                return ip
        return None

    def inner_address(self, family: int, _outside: IPAddress) -> IPAddress | None:
        inner = [ip for ip in map(ip_address, self._kernel.host.addresses) if ip.version == family]
        return inner[0] if len(inner) == 1 else None

    def is_own_address(self, ip: IPAddress) -> bool:
        return str(ip) in self._kernel.host.addresses

    def name_servers(self) -> tuple[IPAddress, ...]:
        return tuple(map(ip_address, self._kernel.host.name_servers))

    def vrf_table(self, name: str) -> int | None:
        return self._kernel.host.vrfs.get(name)

    def inverted_mark_of_rule_to(self, _table: int, _family: int) -> int:
        return self._kernel.host.charons_mark

    def own_source(self, destination: IPAddress, mark: int = 0, port: int = 0) -> IPAddress | None:
        """IKE has the uplink's address. Other packets have one of the link's, if it has any."""
        del mark
        ours = [
            each.address.ip for each in self._kernel.objects.values() if isinstance(each, Address)
        ]
        for ip in ours:
            if ip.version == destination.version and not port:
                return ip
        return None

    def table_of(self, _destination: IPAddress) -> int:
        return CHARONS_TABLE if self._kernel.host.charon_routes else MAIN_TABLE


class PaperKernel:
    """Answers and obeys as the kernel does. What it holds of ours is a dictionary."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.lookup = PaperLookup(self)
        self.objects: dict[str, Object] = {}
        """What it holds of ours, by key."""
        self.taken: list[str] = []
        """The commands of the steps that were taken."""
        self.surprised = False
        """Whether a step went as nobody could know before: it was refused, or what it is about is
        somebody else's.
        """

    def close(self) -> None:
        """There is no socket."""

    def identity(self) -> str:
        return "1-boot"

    def is_bound_to_gone(self, link: Applied) -> bool:
        assert isinstance(link.object, Link)
        return link.object.name in self.host.bound_to_gone

    def is_anothers(self, _link: Applied) -> bool:
        return False

    def is_made_anew(self, _was: Applied) -> bool:
        return False

    def look_for_others(self) -> None:
        """There are none on paper."""

    def left_alone(self) -> list[str]:
        return []

    # Answers

    def observe(self, netns: str = "") -> "PaperObserve":
        return PaperObserve(self, netns)

    def is_there(self, link: Applied) -> bool:
        return link.ifindex is not None and self.observe(link.object.netns).link_exists(
            link.ifindex
        )

    def same_link(self, link: Link) -> Applied | None:
        for device in self.host.devices.values():
            if device.link is not None and device.link.key == link.key:
                return Applied(device.link, True, device.ifindex, not device.ours)
        return None

    def ours(self, _recorded: Collection[str] = ()) -> list[Applied]:
        ours = [Applied(each, True, self._index(each)) for each in self.objects.values()]
        return sorted(ours, key=lambda applied: not isinstance(applied.object, Link))

    def astray(self, applied: Mapping[str, Applied]) -> list[str]:
        return [key for key, was in applied.items() if self.objects.get(key) != was.object]

    def there(self, applied: Mapping[str, Applied]) -> dict[str, Object]:
        there = {}
        for key in applied.keys() & self.objects.keys():
            each = self.objects[key]
            is_down = isinstance(each, Link) and each.name in self.host.set_down
            if not is_down and not self.out_of_sight(each.netns):
                there[key] = each
        for key, was in applied.items():
            if was.borrowed and was.ifindex in self.host.devices:
                there[key] = was.object
        return there

    def out_of_sight(self, netns: str) -> str:
        return self.host.out_of_sight.get(netns, "")

    def counters(self, netns: str) -> dict[int, Counted]:
        """The first link has carried most."""
        counted = {}
        for device in self.host.devices.values():
            if device.netns == netns:
                share = 4_000_000 // device.ifindex
                packets = share // 600
                numbers = Counters(
                    rx_packets=packets,
                    tx_packets=packets // 2,
                    rx_bytes=share,
                    tx_bytes=share // 8,
                    rx_errors=0,
                    tx_errors=0,
                    rx_dropped=0,
                    tx_dropped=0,
                )
                counted[device.ifindex] = Counted(device.name, numbers)
        return counted

    def _index(self, each: Object) -> int | None:
        device = self.host.find(each.name, each.netns) if isinstance(each, Link) else None
        return None if device is None else device.ifindex

    # Steps

    def now(self, _step: Step, _known: Mapping[str, Applied]) -> None:
        """Nothing is there before us, and a sysctl is 0."""

    def take(
        self, step: Step, known: Mapping[str, Applied], _sure: bool = True, _last: bool = False
    ) -> Outcome:
        said = self._commands(step, known)
        where = known.get(step.object.link_key)
        try:
            self._refuse(step, said)
            outcome = (
                self._remove(step.object, where) if step.new is None else self._put(step.new, where)
            )
        except Refusal:
            self.surprised = True
            raise
        if outcome.applied is None and step.new is not None:
            self.surprised = True
        else:
            self.taken += said
        return outcome

    def _refuse(self, step: Step, said: Sequence[str]) -> None:
        for words, number in self.host.refuses.items():
            if any(words in command for command in said):
                raise KernelError(number, f"cannot do what has: {words}")
        netns = step.object.netns
        if step.new is not None and netns and netns not in self.host.namespaces:
            raise Refusal(*namespace.missing(netns), 1)

    def _commands(self, step: Step, known: Mapping[str, Applied]) -> list[str]:
        names = {}
        for key, link in known.items():
            if isinstance(link.object, Link):
                names[key] = link.object.name
        if isinstance(step.object, Link):
            names[step.object.key] = step.object.name
        return commands(step, names)

    def _put(self, wish: Object, where: Applied | None) -> Outcome:
        if isinstance(wish, Link):
            return self._put_link(wish, where)
        if isinstance(wish, Sysctl) and where is not None and where.borrowed:
            return Outcome(None, HARMLESS)
        if isinstance(wish, Route) and str(wish.destination) in self.host.routes:
            return Outcome(None, Foreign(f"a route to {wish.destination} by eth0"))
        if isinstance(wish, MssClamp) and where is not None and isinstance(where.object, Link):
            wish = wish._replace(ifname=where.object.name)
        self.objects[wish.key] = wish
        return Outcome(Applied(wish))

    def _put_link(self, link: Link, there: Applied | None) -> Outcome:
        if there is not None and self.is_bound_to_gone(there):
            self.host.bound_to_gone.remove(link.name)
            self.lose_link(link.name, link.netns)
        if there is None or there.borrowed or there.ifindex not in self.host.devices:
            there = self.same_link(link)
        if there is not None and there.borrowed:
            self.surprised = True
            self._refuse_other_keys(there.object, link)
            return Outcome(there)
        if there is None or there.ifindex is None:
            device = self.host.add(link.name, link.netns, True)
        else:
            device = self.host.devices[there.ifindex]
            assert device.link is not None
            self.objects.pop(device.link.key, None)
            link = link._replace(name=device.name)
        self.host.devices[device.ifindex] = device._replace(link=link)
        self.objects[link.key] = link
        return Outcome(Applied(link, True, device.ifindex))

    @staticmethod
    def _refuse_other_keys(there: Object, link: Link) -> None:
        """As the kernel's module does, since a borrowed link is not to be changed."""
        assert isinstance(there, Link)
        if (there.okey, there.ikey) != (link.okey, link.ikey):
            what = f"{there.name} has these endpoints but okey {there.okey}, ikey {there.ikey}"
            raise Refusal(what, f"give it the mark, or delete it: ip link del {there.name}", 1)

    def _remove(self, old: Object, where: Applied | None) -> Outcome:
        if not isinstance(old, Link):
            self.objects.pop(old.key, None)
            return Outcome(None)
        if where is not None and where.borrowed:
            self.surprised = True
        elif where is not None and where.ifindex in self.host.devices:
            self.lose_link(self.host.devices[where.ifindex].name, old.netns)
        return Outcome(None)

    def lose_link(self, name: str, netns: str = "") -> None:
        """The link goes, and with it what stands on it."""
        device = self.host.find(name, netns)
        assert device is not None, f"there is no link {name}"
        del self.host.devices[device.ifindex]
        if device.link is not None:
            key = device.link.key
            self.objects = {
                own: each for own, each in self.objects.items() if each.stands_on != key
            }


def ike_sa(name: str, number: int, peer: str, *children: ChildSa, age: int = 11520) -> IkeSa:
    """An IKE_SA as charon tells of it. Its age is in seconds."""
    return IkeSa(
        name=name,
        unique_id=number,
        version=2,
        state="ESTABLISHED",
        local_host="192.168.0.1",
        local_port=4500,
        remote_host=peer,
        remote_port=4500,
        local_id="moon",
        remote_id=name,
        remote_xauth_or_eap_id=None,
        local_vips=[],
        remote_vips=[],
        established=age,
        rekey_in=14400 - age,
        reauth_in=None,
        tasks=[],
        children=list(children),
    )


def child_sa(name: str, number: int, selector: str = "10.2.0.0/16", **fields: object) -> ChildSa:
    """A CHILD_SA as charon tells of it, with mark 2 unless `fields` say otherwise."""
    told: dict[str, object] = {
        **dict.fromkeys(ChildSa._fields),
        "name": name,
        "unique_id": number,
        "reqid": number,
        "state": "INSTALLED",
        "mode": "TUNNEL",
        "protocol": "ESP",
        "encap": False,
        "mark_in": (2, 0xFFFFFFFF),
        "mark_out": (2, 0xFFFFFFFF),
        "bytes_in": 8400,
        "bytes_out": 16800,
        "packets_in": 100,
        "packets_out": 200,
        "last_in": 3,
        "last_out": 1,
        "installed": 2520,
        "rekey_in": 780,
        "local_ts": ["10.1.0.0/16"],
        "remote_ts": [selector],
        **fields,
    }
    return ChildSa(**told)  # type: ignore[arg-type]


def connection(name: str, peer: str, *children: str) -> Connection:
    """A connection that charon has loaded, with the names of its CHILD_SAs."""
    return Connection(
        name=name,
        version="IKEv2",
        local_addrs=["192.168.0.1"],
        remote_addrs=[peer],
        local_ids=["moon"],
        remote_ids=[name],
        children=[
            ConnectionChild(child, "TUNNEL", ["10.1.0.0/16"], ["10.2.0.0/16"], None, None)
            for child in children
        ],
    )


def in_file(name: str, line: int, action: str = "", **fields: object) -> ConfiguredChild:
    """A CHILD_SA of swanctl.conf, with vti-updown as its hook."""
    told: dict[str, object] = {
        "connection": name,
        "peers": ("192.168.0.2",),
        "updown": "/usr/local/sbin/vti-updown",
        "start": action == "start",
        "trap": action == "trap",
        **fields,
    }
    where = f"/etc/swanctl/swanctl.conf:{line}"
    return ConfiguredChild(name=name, where=where, **told)  # type: ignore[arg-type]


def _in_memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


class Story:
    """One host with the hook, and what charon and the administrator do."""

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
    ) -> None:
        self.host = Host()
        self.line = ""
        """What stands behind `vti-updown` on the updown line."""
        self._folder = folder
        self._capture = capture
        self._charon = "1@1"
        """Who calls; empty by hand."""
        self._living: set[str] = set()
        """Charons that live, though they are not the one who calls."""
        self._unseen: set[str] = set()
        """The charons of which nobody can tell whether they live."""
        self._kernel = PaperKernel(self.host)
        self._records = _in_memory()
        self._ran: list[str] = []
        self._holder = ""
        self._tries: int | None = None
        self._during: Callable[[], object] | None = None
        self._turn = 0
        self.live = Live([], "", [], [])
        """What charons tell by VICI of the connection that is asked for."""
        self.answers: list[Answer] = []
        """What charons tell by VICI; see `tells`."""
        self.children: list[charon_files.ConfiguredChild] = []
        """What charon's files say."""
        self.on_asked: Callable[[], object] = lambda: None
        """What happens when charon is asked."""
        self.asked: list[object] = []
        """The charons that were asked last."""
        self.done: list[str] = []
        """The commands that the last command for people stood for, and what came between."""
        self.settings("")
        self._clear_late_events()
        self._take_the_place_of_the_system(patch)

    def _take_the_place_of_the_system(self, patch: pytest.MonkeyPatch) -> None:
        for module in (hook_run, hook_rehearse, admin_session, admin_history):
            patch.setattr(module, "Kernel", lambda: self._kernel)
            patch.setattr(module, "snapshot", self._snapshot)
        patch.setattr(status, "Kernel", lambda: self._kernel)
        patch.setattr(status, "BETWEEN_LOOKS", 0)
        patch.setattr(status.charons, "find", lambda: Charons([], []))
        patch.setattr(status.ask, "ask", self._ask)
        patch.setattr(charon_files, "of_charons", lambda _answers: list(self.children))
        patch.setattr(survey, "copied", self._snapshot)
        patch.setattr(state, "group", lambda: GROUP)
        patch.setattr(event_sources, "live", lambda *_: self.live)
        patch.setattr(hook_late, "opened", self._opened)
        for module in (hook_rehearse, hook_late, admin_history, survey):
            patch.setattr(module, "LateEvents", self._late_events)
        patch.setattr(processes, "charon", lambda: self._charon)
        patch.setattr(
            processes, "charons", lambda: [self._charon.partition("@")[0]] if self._charon else []
        )
        patch.setattr(processes, "alive", self._alive)
        patch.setattr(namespace, "exists", lambda name: name in self.host.namespaces)
        patch.setattr(user_command, "run", self._ran_by_the_shell)
        patch.setattr(references, "now", lambda: SINCE)

    def _alive(self, who: str) -> bool | None:
        if who in self._unseen:
            return None
        return who in ("", self._charon, *self._living)

    def _late_events(self, namespace: str) -> LateEvents:
        return LateEvents(namespace, str(self._folder / "records"))

    @contextmanager
    def _opened(self, _namespace: str, seconds: float) -> Iterator[Records]:
        """The records, in memory: what was not committed is dropped at the end."""
        self._wait(seconds)
        self._hold_and_do()
        opened = Records(self._records)
        try:
            yield opened
        finally:
            self._records.execute("ROLLBACK")

    def _snapshot(self, _namespace: str) -> Records:
        copy = _in_memory()
        self._records.backup(copy)
        return Records(copy)

    def _ran_by_the_shell(
        self, written: str, _environ: Mapping[str, str], link: str, is_late: bool = False
    ) -> None:
        command = user_command.read(written)
        how = "run in the background" if command.is_detached or is_late else "run"
        if command.seconds is not None:
            how = f"{how} for {command.seconds} s"
        self._ran.append(f"{how}: VTI_UPDOWN_IFNAME={link} {command.words}")

    def _clear_late_events(self) -> None:
        """All stories have one folder."""
        folder = self._folder / "records"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(0o700)

    # What another process does

    def hold(self, holder: str = "PID 7") -> None:
        """It holds the records, and does not let them go."""
        self._holder = holder

    def let_go(self) -> None:
        self._holder = ""

    def let_go_after(self, tries: int) -> None:
        """It lets the records go once so many have tried to have them."""
        self._tries = tries

    def while_held(self, during: Callable[[], object], turn: int = 1) -> None:
        """This happens while another holds the records: the next one who does, or a later turn."""
        self._during = during
        self._turn = turn

    def _hold_and_do(self) -> None:
        self._turn -= 1
        if self._during is None or self._turn:
            return
        during, self._during = self._during, None
        taken, self._kernel.taken = self._kernel.taken, []
        self._holder = "PID 7"
        during()
        self._holder = ""
        self._kernel.taken = taken

    def _wait(self, seconds: float) -> None:
        if not self._holder:
            return
        if self._tries == 0:
            self.let_go()
            self._tries = None
            return
        if self._tries is not None:
            self._tries -= 1
        raise HeldError(self._holder, seconds)

    def forbid_writing_down(self) -> None:
        """There is no room for late events: a file is in the way of their folder."""
        (self._folder / "records" / "1-boot.late").write_text("")

    def late_files(self) -> list[Path]:
        """The events that are written down, in their order."""
        return sorted((self._folder / "records").glob("*.late/*"))

    # What the administrator does

    def settings(self, text: str, file: str = FILE) -> None:
        """The text of /etc/vti-updown.toml, or of another file."""
        path = self._folder / file
        path.touch(0o600)
        path.write_text(textwrap.dedent(text))

    def prepare(self, *connections: str) -> str:
        return self.command("prepare", "--config", FILE, *connections)

    def release(self, *connections: str) -> str:
        return self.command("release", *connections)

    def repair(self) -> str:
        return self.command("repair")

    def put_back(self) -> None:
        """An event puts back what somebody took away."""
        records = self._snapshot("")
        for key, was in records.applied.of(records.every_key()).items():
            self._kernel.objects[key] = was.object

    def flush(self, *flags: str) -> str:
        return self.command("flush", *flags)

    def person(self, line: str) -> str:
        """A command for people. Where it reads settings, it reads the story's."""
        words = line.split()
        if words[0] == "prepare":
            words += ["--config", FILE]
        return self.command(*words)

    def command(self, *words: str, environ: Mapping[str, str] | None = None) -> str:
        """A command for people, as its words are, in an environment of its own."""
        self._capture.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["vti-updown", *words])
            patch.setattr(os, "environ", environ or {})
            status = cli.main()
        self.done, self._kernel.taken = self._kernel.taken, []
        self._kernel.surprised = False
        return "\n".join([*self._capture.readouterr().out.splitlines(), *_ended(status)])

    def status(self, *words: str) -> str:
        """What `vti-updown status` prints, with the story's settings. It changes nothing."""
        before = self._kernel.objects.copy(), self._dumped()
        told = self.command("status", "--config", FILE, *words)
        assert (self._kernel.objects, self._dumped()) == before, "status changed something"
        assert not self.done, "status took steps"
        return told

    def document(self, *words: str) -> dict[str, Any]:
        """What `vti-updown status --json` prints, which is as its schema says."""
        told, _, status = self.status("--json", *words).partition("\nexit status: ")
        found = checked(told)
        assert found["exit_status"] == int(status or 0)
        return found

    def _ask(self, charons: Iterable[object], _seconds: float) -> list[Answer]:
        self.asked = list(charons)
        self.on_asked()
        return list(self.answers)

    def _dumped(self) -> list[str]:
        return list(self._records.iterdump())

    # What charon tells

    def tells(
        self,
        *sas: IkeSa,
        connections: Sequence[Connection] = (),
        trouble: str = "",
        hooks: Sequence[Hook] = (),
        **fields: object,
    ) -> None:
        """From now on charon tells of these SAs, or says why it does not."""
        pid = int(self._charon.partition("@")[0] or 0)
        answer = Answer(
            charon=Charon(pid, "charon", self._charon, "4026531840", ()),
            socket="/run/charon.vici",
            version="5.9.8",
            plugins=["updown", "vici"],
            connections=list(connections),
            sas=list(sas),
            is_complete=not trouble,
            hooks=list(hooks),
            trouble=trouble,
            remark="",
        )
        self.answers.append(answer._replace(**fields))  # type: ignore[arg-type]

    # What happens to the host

    def lose_link(self, name: str) -> None:
        """Somebody deletes a link."""
        self._kernel.lose_link(name)

    def set_down(self, name: str) -> None:
        """Somebody sets a link down."""
        self.host.set_down.add(name)

    def rename(self, name: str, new: str) -> None:
        """Somebody gives a link another name."""
        device = self.host.find(name)
        assert device is not None
        self.host.devices[device.ifindex] = device._replace(name=new)

    def change(self, key: str, **fields: object) -> None:
        """Somebody changes fields of what has this key."""
        there = self._kernel.objects[key]
        self._kernel.objects[key] = there._replace(**fields)  # type: ignore[attr-defined]

    def lose_namespace(self, name: str) -> None:
        """A network namespace goes, and all in it."""
        self.host.namespaces.remove(name)
        for device in list(self.host.devices.values()):
            if device.netns == name:
                self._kernel.lose_link(device.name, name)

    def lose_routes(self) -> None:
        """Somebody deletes all routes of ours, as systemd-networkd does when it starts."""
        routes = [key for key, each in self._kernel.objects.items() if isinstance(each, Route)]
        for key in routes:
            del self._kernel.objects[key]

    def lose_records(self) -> None:
        """/run is emptied."""
        self._records = _in_memory()

    def restart_charon(self) -> None:
        """charon is killed and started again. It calls no hook for what was up."""
        pid = int(self._charon.partition("@")[0]) + 1
        self._charon = f"{pid}@{pid}"

    def another_charon(self, charon: str) -> None:
        """Another charon calls from now on, while the first one goes on."""
        self._living.add(self._charon)
        self._charon = charon

    def lose_sight_of_charon(self) -> None:
        """What comes now is done in a container with PIDs of its own, or on another one's host."""
        self._unseen.add(self._charon)
        self.restart_charon()

    def by_hand(self) -> None:
        """From now on it is not charon who calls the hook."""
        self._charon = ""

    def left(self) -> list[str]:
        """What the kernel has of ours."""
        return sorted(self._kernel.objects)

    # What charon does

    def up(self, **changed: object) -> str:
        return self.event("up-client", **changed)

    def up6(self, **changed: object) -> str:
        return self.event("up-client-v6", **changed)

    def down(self, **changed: object) -> str:
        return self.event("down-client", **changed)

    def down6(self, **changed: object) -> str:
        return self.event("down-client-v6", **changed)

    def event(self, verb: str, **changed: object) -> str:
        """The recorded event with this verb and PLUTO_<name> changed; None leaves one out."""
        environ = environment(verb, **changed)
        rehearsed, foretold = self._call(["--dry-run"], environ)
        assert not self._kernel.taken, "--dry-run changed something"
        explained = self.explain(environ)
        said, status = self._call([], environ)
        done, self._kernel.taken = self._kernel.taken, []
        ran, self._ran = self._ran, []
        assert foretold in (0, status), (
            f"--dry-run ends with {foretold}, and the event with {status}"
        )
        self._compare(rehearsed, said, done)
        if not self._kernel.surprised:
            promised = [line for line in rehearsed if line[:1] not in "#e"]
            assert explained in (None, promised), "explain has other commands than --dry-run"
        self._kernel.surprised = False
        rehearsed = [line for line in _without_reasons(rehearsed) if not line.startswith("error: ")]
        return "\n".join([*rehearsed, *(f"log: {line}" for line in said), *ran, *_ended(status)])

    def explain(self, environ: Mapping[str, str]) -> list[str] | None:
        """The commands of `explain` for an event. Everything that it lists has a reason.

        None if the updown line or the event itself is wrong.
        """
        before = self.left()
        words = ["explain", "--json", "--config", FILE, *shlex.split(self.line)]
        printed = self.command(*words, environ=environ)
        assert self.left() == before and not self.done, "explain changed something"
        if printed.startswith("error: "):
            return None
        document, _, _ = printed.partition("\nexit status: ")
        (event,) = json.loads(document)["events"]
        commands: list[str] = []
        for item in event["steps"] + event["without_step"]:
            assert item["reasons"] and all(item["reasons"]), f"no reason: {item}"
            commands += item["commands"]
        return commands

    def rehearse(self, verb: str, **changed: object) -> str:
        """What a person sees who gives the event by hand with `--dry-run`, with all comments."""
        charon, self._charon = self._charon, ""
        self._living.add(charon)
        lines, status = self._call(["--dry-run"], environment(verb, **changed))
        self._charon = charon
        self._living.remove(charon)
        return "\n".join([*lines, *_ended(status)])

    def event_alone(self, verb: str, **changed: object) -> str:
        """The event without a rehearsal, which knows nothing of late events: what is done first."""
        said, status = self._call([], environment(verb, **changed))
        done, self._kernel.taken = self._kernel.taken, []
        ran, self._ran = self._ran, []
        self._kernel.surprised = False
        return "\n".join([*done, *(f"log: {line}" for line in said), *ran, *_ended(status)])

    def rehearsal(self, verb: str, **changed: object) -> list[str]:
        """What the event prints with `--dry-run`."""
        lines, _ = self._call(["--dry-run"], environment(verb, **changed))
        return lines

    def _compare(self, rehearsed: Sequence[str], said: Sequence[str], done: Iterable[str]) -> None:
        """What is rehearsed is what is done. What only the kernel can say, no rehearsal knows."""
        errors = [line for line in rehearsed if line.startswith("error: ")]
        assert errors == [line for line in said if line in errors], (
            "--dry-run does not say what is wrong"
        )
        if not self._kernel.surprised:
            promised = [
                line for line in rehearsed if line not in errors and not line.startswith("#")
            ]
            assert sorted(done) == sorted(promised), (
                f"--dry-run prints {promised}, and this is done: {done}"
            )

    def _call(self, flags: Sequence[str], environ: Mapping[str, str]) -> tuple[list[str], int]:
        """One call of the hook: the lines that it prints, and its exit status."""
        self._capture.readouterr()
        status = cli.hook([*flags, "--config", FILE, *shlex.split(self.line)], environ)
        return self._capture.readouterr().out.splitlines(), status


def _without_reasons(rehearsed: Iterable[str]) -> Iterator[str]:
    """The lines without the reason why nothing would change: the log says what happened."""
    nothing = "# nothing to change"
    has_reason = False
    for line in rehearsed:
        if has_reason and line.startswith("#   "):
            continue
        has_reason = line.startswith(f"{nothing}: ")
        yield nothing if has_reason else line


def _ended(status: int) -> list[str]:
    return [f"exit status: {status}"] if status else []
