"""A rule of the routing policy."""

import socket
from collections.abc import Collection, Iterator
from typing import Any

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

FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP = 1, 2, 3
FIB_RULE_INVERT = 0x2
NO_SUPPRESSION = 0xFFFFFFFF
"""What FRA_SUPPRESS_PREFIXLEN has in a rule without one (fib_rules.c)."""
WHOLE_MARK = 0xFFFFFFFF
"""What FRA_FWMASK has in a rule whose mark is given alone."""
PROTOCOLS = {socket.IPPROTO_ESP: "esp", socket.IPPROTO_UDP: "udp"}
"""What ip-rule(8) calls them."""
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
        (4, "FRA_GOTO", "uint32"),
        (6, "FRA_PRIORITY", "uint32"),
        (10, "FRA_FWMARK", "uint32"),
        (14, "FRA_SUPPRESS_PREFIXLEN", "uint32"),
        (15, "FRA_TABLE", "uint32"),
        (16, "FRA_FWMASK", "uint32"),
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
    action: int
    """FR_ACT_…: what it does with the packets that it is for."""
    target: int = 0
    """Of FR_ACT_TO_TBL: the table. Of FR_ACT_GOTO: the priority of the rule to go on with."""
    suppress: int | None = None
    """Routes with a prefix of this length or shorter do not count (suppress_prefixlength)."""
    own: bool | None = None
    """For packets of this host itself, or for those that it forwards; None: for both."""
    protocol: int = 0
    """For packets of this protocol only, a key of PROTOCOLS; 0: of all."""
    port: int | None = None
    """For packets from this port only; None: from all."""
    mark: int | None = None
    """For packets with this mark only; None: with any."""


class Rule(RuleFields, ByNetlink):
    """A rule. Two that differ in anything are two, of one priority or not."""

    __slots__ = ()
    NEW, DELETE = RTM_NEWRULE, RTM_DELRULE
    REPLACED_IN_PLACE = False

    @property
    def key(self) -> str:
        return " ".join(["rule", str(self.family), *self._words()])

    @property
    def link_key(self) -> str:
        """It is about none."""
        return ""

    @property
    def label(self) -> str:
        return f"rule {self.priority}"

    def title(self, ifname: str) -> str:
        del ifname
        return f"IPv{self.family} {self.label}"

    @property
    def order(self) -> int:
        """What others go on with comes before them: until it is there, they would do nothing."""
        if self.action == FR_ACT_NOP:
            return 0
        return self.priority

    def commands(self, old: "Rule | None", ifname: str) -> list[str]:
        del old, ifname
        return [self._command("add")]

    def removal_commands(self, ifname: str) -> list[str]:
        del ifname
        return [self._command("del")]

    def _command(self, doing: str) -> str:
        program = ["ip", "rule", doing]
        if self.family == 6:
            program = ["ip", "-6", "rule", doing]
        return " ".join([*program, *self._words(), "proto", str(PROTOCOL)])

    def _words(self) -> list[str]:
        """What ip-rule(8) calls all of it, but for its family and whose it is."""
        words = ["pref", str(self.priority), *self._selector(), *self._action()]
        if self.suppress is not None:
            words += ["suppress_prefixlength", str(self.suppress)]
        return words

    def _selector(self) -> list[str]:
        """The packets that it is for."""
        words = []
        if self.own is False:
            words += ["not"]
        if self.own is not None:
            words += ["iif", OWN_PACKETS]
        if self.mark is not None:
            words += ["fwmark", f"{self.mark:#x}"]
        if self.protocol:
            words += ["ipproto", PROTOCOLS[self.protocol]]
        if self.port is not None:
            words += ["sport", str(self.port)]
        return words

    def _action(self) -> list[str]:
        if self.action == FR_ACT_TO_TBL:
            return ["lookup", str(self.target)]
        if self.action == FR_ACT_GOTO:
            return ["goto", str(self.target)]
        return ["nop"]

    def message(self, place: Place) -> Any:
        del place
        looks_up = self.action == FR_ACT_TO_TBL
        table = self.target if looks_up else 0
        made = message(
            fib_rule_hdr,
            family=AF[self.family],
            table=table if table <= LARGEST_TABLE_IN_HEADER else 0,
            action=self.action,
            flags=FIB_RULE_INVERT if self.own is False else 0,
        )
        ports = None if self.port is None else {"start": self.port, "end": self.port}
        made["attrs"] = attributes(
            (
                ("FRA_IIFNAME", None if self.own is None else OWN_PACKETS),
                ("FRA_FWMARK", self.mark),
                ("FRA_IP_PROTO", self.protocol or None),
                ("FRA_SPORT_RANGE", ports),
                ("FRA_PRIORITY", self.priority),
                ("FRA_SUPPRESS_PREFIXLEN", self.suppress),
                ("FRA_TABLE", table or None),
                ("FRA_GOTO", self.target if self.action == FR_ACT_GOTO else None),
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
    action = told["action"]
    if not _is_like_ours(told):
        return None
    suppress = told.get_attr("FRA_SUPPRESS_PREFIXLEN")
    target = looked_up(told)
    if action == FR_ACT_GOTO:
        target = told.get_attr("FRA_GOTO")
    ports = told.get_attr("FRA_SPORT_RANGE")
    own = None
    if told.get_attr("FRA_IIFNAME"):
        own = not told["flags"] & FIB_RULE_INVERT
    return Rule(
        family=4 if told["family"] == AF[4] else 6,
        priority=told.get_attr("FRA_PRIORITY") or 0,
        action=action,
        target=target,
        suppress=None if suppress == NO_SUPPRESSION else suppress,
        own=own,
        protocol=told.get_attr("FRA_IP_PROTO") or 0,
        port=ports["start"] if ports else None,
        mark=told.get_attr("FRA_FWMARK") or None,
    )


def looked_up(told: Any) -> int:
    """The table that a rule's message tells of; 0 for a rule that looks up none."""
    if told["action"] != FR_ACT_TO_TBL:
        return 0
    return int(told.get_attr("FRA_TABLE") or told["table"])


def _is_like_ours(told: Any) -> bool:
    """Whether a rule says nothing that no rule of ours says."""
    link = told.get_attr("FRA_IIFNAME")
    ports = told.get_attr("FRA_SPORT_RANGE")
    unlike = (
        told["action"] not in (FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP),
        told.get_attr("FRA_DST") or told.get_attr("FRA_SRC"),
        link not in (None, OWN_PACKETS),
        told["flags"] & FIB_RULE_INVERT and link is None,
        told.get_attr("FRA_FWMASK") not in (None, 0, WHOLE_MARK),
        (told.get_attr("FRA_IP_PROTO") or 0) not in (0, *PROTOCOLS),
        ports and ports["start"] != ports["end"],
    )
    return not any(unlike)
