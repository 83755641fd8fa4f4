"""A rule of the routing policy."""

import socket
from collections.abc import Collection, Iterator
from ipaddress import ip_network
from typing import Any

from ..addresses import IPNetwork
from ..named_tuple import NamedTuple
from ..netlink import (
    NLM_F_CREATE,
    RTM_DELRULE,
    RTM_GETRULE,
    RTM_NEWRULE,
    attributes,
    message,
    nla,
    nlmsg,
)
from .address import AF
from .by_netlink import ByNetlink
from .object import HARMLESS, PROTOCOL, Applied, Foreign, LinkThere, Namespace, Outcome, Place
from .route import LARGEST_TABLE_IN_HEADER

FR_ACT_TO_TBL, FR_ACT_UNREACHABLE = 1, 7
NO_SUPPRESSION = 0xFFFFFFFF
"""What FRA_SUPPRESS_PREFIXLEN has in a rule without one (fib_rules.c)."""
ANOTHERS = Foreign("a rule of another vti-updown")
OWN_PACKETS = "lo"
"""The incoming interface of what this host itself sends (ip-rule(8))."""


class fib_rule_hdr(nlmsg):  # type: ignore[misc]
    """fib_rules.h."""

    __slots__ = ()
    fields = (
        ("family", "B"),
        ("dst_len", "B"),
        ("src_len", "B"),
        ("tos", "B"),
        ("table", "B"),
        ("res1", "B"),
        ("res2", "B"),
        ("action", "B"),
        ("flags", "I"),
    )
    nla_map = (
        (1, "FRA_DST", "cdata"),
        (2, "FRA_SRC", "cdata"),
        (3, "FRA_IIFNAME", "asciiz"),
        (6, "FRA_PRIORITY", "uint32"),
        (10, "FRA_FWMARK", "uint32"),
        (14, "FRA_SUPPRESS_PREFIXLEN", "uint32"),
        (15, "FRA_TABLE", "uint32"),
        (21, "FRA_PROTOCOL", "uint8"),
        (22, "FRA_IP_PROTO", "uint8"),
        (23, "FRA_SPORT_RANGE", "port_range"),
    )

    class port_range(nla):  # type: ignore[misc]
        """struct fib_rule_port_range."""

        __slots__ = ()
        fields = (("start", "H"), ("end", "H"))


class RuleFields(NamedTuple):
    family: int
    """4 or 6."""
    priority: int
    to: IPNetwork | None
    """None: all."""
    table: int
    """To look up; 0: unreachable."""
    suppress: int | None = None
    """Routes with a prefix of this length or shorter do not count (suppress_prefixlength)."""
    port: int | None = None
    """Only this host's own UDP packets from this port; None: all."""


class Rule(RuleFields, ByNetlink):
    """A rule. Two that differ in anything are two, of one priority or not."""

    __slots__ = ()
    NEW, DELETE = RTM_NEWRULE, RTM_DELRULE
    REPLACED_IN_PLACE = False
    PARSERS = {"to": ip_network}

    @property
    def key(self) -> str:
        packets = f"{self.priority} to {self.to} from port {self.port}"
        return f"rule {self.family} {packets} table {self.table} suppress {self.suppress}"

    @property
    def link_key(self) -> str:
        """It is about none."""
        return ""

    @property
    def label(self) -> str:
        return f"rule {self.priority}"

    @property
    def is_unreachable(self) -> bool:
        return self.table == 0

    def commands(self, old: "Rule | None", ifname: str) -> list[str]:
        del old, ifname
        return [self._command("add")]

    def removal_commands(self, ifname: str) -> list[str]:
        del ifname
        return [self._command("del")]

    def _command(self, doing: str) -> str:
        words = ["ip", "rule", doing, "pref", str(self.priority)]
        if self.family == 6:
            words.insert(1, "-6")
        if self.to:
            words += ["to", str(self.to)]
        if self.port:
            words += ["iif", OWN_PACKETS, "ipproto", "udp", "sport", str(self.port)]
        if self.is_unreachable:
            words += ["type", "unreachable"]
        else:
            words += ["lookup", str(self.table)]
        if self.suppress is not None:
            words += ["suppress_prefixlength", str(self.suppress)]
        return " ".join([*words, "proto", str(PROTOCOL)])

    def message(self, place: Place) -> Any:
        del place
        made = message(
            fib_rule_hdr,
            family=AF[self.family],
            dst_len=self.to.prefixlen if self.to else 0,
            table=self.table if self.table <= LARGEST_TABLE_IN_HEADER else 0,
            action=FR_ACT_UNREACHABLE if self.is_unreachable else FR_ACT_TO_TBL,
        )
        own: tuple[tuple[str, Any], ...] = ()
        if self.port:
            own = (
                ("FRA_IIFNAME", OWN_PACKETS),
                ("FRA_IP_PROTO", socket.IPPROTO_UDP),
                ("FRA_SPORT_RANGE", {"start": self.port, "end": self.port}),
            )
        made["attrs"] = attributes(
            (
                ("FRA_DST", self.to.network_address.packed if self.to else None),
                *own,
                ("FRA_PRIORITY", self.priority),
                ("FRA_SUPPRESS_PREFIXLEN", self.suppress),
                ("FRA_TABLE", self.table or None),
                ("FRA_PROTOCOL", PROTOCOL),
            )
        )
        return made

    def removal_message(self, place: Place) -> Any:
        return self.message(place)

    def put(
        self,
        place: Place,
        old: "Rule | None",
        last: bool,
    ) -> Outcome:
        """Beside an equal one of another vti-updown it is put once more: each takes away its own.

        The kernel takes one of two equal rules away at a time (fib_rules.c, fib_nl_delrule()).
        """
        outcome = super().put(place, old, last)
        if outcome.foreign != ANOTHERS:
            return outcome
        place.namespace.request(self.NEW, self.message(place), NLM_F_CREATE)
        return Outcome(Applied(self))

    def in_its_place(self, place: Place) -> Foreign | None:
        """Somebody else's that says the same does the same."""
        wanted = message(fib_rule_hdr, family=AF[self.family])
        for told in place.namespace.dump(RTM_GETRULE, wanted):
            if told.get_attr("FRA_PROTOCOL") == PROTOCOL and read_rule(told) == self:
                return None if place.holds_ours() else ANOTHERS
        return HARMLESS

    def is_there(self, place: Place) -> bool:
        """Nothing of it can be changed, so it is always added."""
        del place
        return False

    def take_away(self, place: Place, sure: bool) -> None:
        """The message names all of it, our protocol number, too."""
        del sure
        place.namespace.request(RTM_DELRULE, self.removal_message(place))

    @classmethod
    def there(
        cls,
        namespace: Namespace,
        links: Collection[LinkThere],
        known: Collection["Rule"] | None,
    ) -> Iterator[tuple["Rule", bool]]:
        del links, known
        for told in namespace.dump(RTM_GETRULE, fib_rule_hdr()):
            rule = read_rule(told)
            if rule is not None and told.get_attr("FRA_PROTOCOL") == PROTOCOL:
                yield rule, True


def read_rule(told: Any) -> Rule | None:
    """The rule that a message tells of; None for one that is unlike any of ours."""
    to = told.get_attr("FRA_DST")
    suppress = told.get_attr("FRA_SUPPRESS_PREFIXLEN")
    ports = told.get_attr("FRA_SPORT_RANGE")
    looks_up = told["action"] == FR_ACT_TO_TBL
    rule = Rule(
        family=4 if told["family"] == AF[4] else 6,
        priority=told.get_attr("FRA_PRIORITY") or 0,
        to=ip_network((bytes(to), told["dst_len"])) if to else None,
        table=(told.get_attr("FRA_TABLE") or told["table"]) if looks_up else 0,
        suppress=None if suppress == NO_SUPPRESSION else suppress,
        port=ports["start"] if ports else None,
    )
    if told["action"] not in (FR_ACT_TO_TBL, FR_ACT_UNREACHABLE):
        return None
    if told.get_attr("FRA_SRC") or told.get_attr("FRA_FWMARK"):
        return None
    packets = (
        told.get_attr("FRA_IIFNAME"),
        told.get_attr("FRA_IP_PROTO") or 0,
        ports["end"] if ports else None,
    )
    own_packets = (OWN_PACKETS, socket.IPPROTO_UDP, rule.port)
    every_packet = (None, 0, None)
    return rule if packets == (own_packets if rule.port else every_packet) else None
