"""Which tunnels should be there, though they may be down: by the settings, and by charon's own."""

from collections.abc import Collection, Iterable, Sequence

from ..named_tuple import NamedTuple
from ..settings.choose import SettingsOfNames
from ..settings.table import REMOVE, UP, FlagWords
from ..text import shown
from ..vici.ask import Answer
from ..vici.sas import Connection
from .charon_files import ConfiguredChild

TRAP, TEMPLATE, PLAIN = "trap", "template", ""
"""How a connection may be meant that is not to be up by itself: its first packet starts it, or its
peers do.
"""


class Configured(NamedTuple):
    """What is configured by one CHILD_SA's name."""

    name: str
    peer: str = ""
    """As charon has it, such as `203.0.113.7` or `%any`."""
    meant: str = PLAIN
    starts: str = ""
    """Where charon is told to start it, such as `/etc/swanctl/swanctl.conf:12`. Empty: nowhere."""


class Expectations:
    """What is configured, by name, and what of it should be up."""

    def __init__(
        self,
        flags: FlagWords,
        answers: Sequence[Answer],
        children: Iterable[ConfiguredChild],
    ) -> None:
        """Reads the settings. Raises SettingsError where they cannot be read."""
        self._settings = SettingsOfNames(flags)
        self.configured: dict[str, Configured] = {}
        """By the name as the records have it: escaped, and cut if it is long."""
        for answer in answers:
            for connection in answer.connections or ():
                self._add(connection)
        for child in children:
            there = self._of(shown(child.name), child.name)
            if child.start:
                there = there._replace(starts=child.where)
            if child.trap and not child.start:
                there = there._replace(meant=TRAP)
            self.configured[shown(child.name)] = there
        for name in self._settings.names():
            when_down = self._settings.sourced(name, "when_down")
            stands = when_down is not None and when_down.value != REMOVE
            expect = self._settings.sourced(name, "expect")
            if stands or (expect is not None and expect.value == UP):
                self.configured.setdefault(shown(name), Configured(name))

    def _add(self, connection: Connection) -> None:
        peer = ", ".join(connection.remote_addrs)
        meant = TEMPLATE if _is_anybody(connection.remote_addrs) else PLAIN
        for child in connection.children:
            self.configured[shown(child.name)] = Configured(child.name, peer, meant)

    def _of(self, shown_name: str, name: str) -> Configured:
        return self.configured.get(shown_name, Configured(name))

    def why(self, name: str) -> str:
        """Why a connection should be up. Empty: nobody has said so.

        One that only a packet or a peer starts is never expected, whatever [default] says.
        """
        configured = self._of(name, name)
        if configured.meant in (TRAP, TEMPLATE):
            return ""
        expect = self._settings.sourced(configured.name, "expect")
        if expect is not None and expect.value == UP:
            return f'{expect.origin.table} says expect = "up"'
        if configured.starts:
            return f"{configured.starts} starts it"
        return ""


def _is_anybody(addresses: Collection[str]) -> bool:
    """Whether these are no certain peer's: any, a subnet or a range."""
    return all(set(address) & set("%/-*") for address in addresses)
