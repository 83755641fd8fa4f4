"""Which tunnels should be there, though they may be down: by the settings, and by charon's own."""

from collections.abc import Collection, Iterable, Sequence

from ..settings.choose import SettingsOfNames
from ..settings.table import REMOVE, UP, FlagWords, SettingsError, read_flags, values_of_flags
from ..text import shown
from ..vici.ask import Answer
from ..vici.sas import Connection
from .charon_files import ConfiguredChild
from .configured import PLAIN, TEMPLATE, TRAP, Configured
from .survey import Tunnel

LONGEST_HEADING = 200
"""As much of a table's heading as is shown."""


ANYBODY = ("0.0.0.0", "::")  # noqa: S104 (nothing is bound)
USUAL_SOCKETS = ("/run/charon.vici", "/var/run/charon.vici")


class Expectations:
    """What is configured, and what of it should be up."""

    def __init__(
        self,
        flags: FlagWords,
        answers: Sequence[Answer],
        children: Iterable[ConfiguredChild],
    ) -> None:
        """Reads the settings. Raises SettingsError where they cannot be read."""
        self._settings = SettingsOfNames(flags)
        self._by_name: dict[str, list[Configured]] = {}
        """By the name as the records have it: escaped, and cut if it is long."""
        self._has_told = any(answer.connections is not None for answer in answers)
        for answer in answers:
            for connection in answer.connections or ():
                self._add_connection(connection, answer)
        for child in children:
            self._add_child(child)
        for name in self._settings.names():
            if shown(name) not in self._by_name and self._is_for_long(name):
                self._by_name[shown(name)] = [Configured(name)]
        for there in self._by_name.values():
            there[:] = map(self._with_settings, there)

    # What is configured

    @property
    def all(self) -> list[Configured]:
        return [each for there in self._by_name.values() for each in there]

    def of(self, tunnel: Tunnel) -> list[Configured]:
        """What a tunnel is of. Several connections may each have a CHILD_SA of one name.

        They are told apart by the names of IKE_SAs, else by the peers. Where neither tells, it may
        be of each.
        """
        if tunnel.only is not None:
            return [tunnel.only]
        there = self._by_name.get(tunnel.name, [])
        if not there:
            return [self._with_settings(Configured(tunnel.name))]
        if len(there) == 1:
            return there
        names = {sa.ike.name for sa in tunnel.sas}
        named = [each for each in there if each.connection in names]
        peers = {reference.peer for reference in tunnel.references}
        with_peer = [each for each in there if peers & set(each.peers)]
        return named or with_peer or there

    def _add_connection(
        self,
        connection: Connection,
        answer: Answer,
    ) -> None:
        for child in connection.children:
            configured = Configured(
                name=child.name,
                connection=connection.name,
                peers=tuple(connection.remote_addrs),
                meant=_meant(connection.remote_addrs),
                is_loaded=True,
                socket="" if answer.socket in USUAL_SOCKETS else answer.socket,
            )
            self._by_name.setdefault(shown(child.name), []).append(configured)

    def _add_child(self, child: ConfiguredChild) -> None:
        """Adds what charon's files say of a CHILD_SA."""
        there = self._by_name.setdefault(shown(child.name), [])
        place = _place_of(child, there)
        if place is None:
            place = len(there)
            there.append(_only_in_files(child, self._has_told))
        configured = there[place]._replace(
            has_our_hook=child.words_of_hook is not None,
            by_ipsec=child.by_ipsec,
        )
        if child.start:
            configured = configured._replace(expected=f"{child.where} starts it")
        elif child.trap and configured.meant == PLAIN:
            configured = configured._replace(meant=TRAP)
        if _says_up(child.words_of_hook or ()):
            configured = configured._replace(expected=f"{child.where} has --expect {UP}")
        there[place] = configured

    # What the settings say

    def _is_for_long(self, name: str) -> bool:
        """Whether the settings say that it stands, or should be up."""
        when_down = self._settings.sourced(name, "when_down")
        stands = when_down is not None and when_down.value != REMOVE
        return stands or bool(self._says_up(name))

    def _with_settings(self, configured: Configured) -> Configured:
        """One that only a packet or a peer starts is never expected, whatever [default] says."""
        if configured.meant != PLAIN:
            return configured._replace(expected="")
        said = self._says_up(configured.name)
        if said:
            return configured._replace(expected=said)
        return configured

    def _says_up(self, name: str) -> str:
        expect = self._settings.sourced(name, "expect")
        if expect is None or expect.value != UP:
            return ""
        return f'{shown(expect.origin.table, LONGEST_HEADING)} says expect = "up"'


def _place_of(child: ConfiguredChild, there: Sequence[Configured]) -> int | None:
    """Which of those that charon has loaded a child of its files is. None: it has not.

    charon puts the CHILD_SAs of ipsec.conf that go to one peer into one connection, the first one.
    """
    for place, each in enumerate(there):
        if each.connection == child.connection:
            return place
    if child.by_ipsec and len(there) == 1:
        return 0
    return None


def _only_in_files(child: ConfiguredChild, has_told: bool) -> Configured:
    return Configured(
        name=child.name,
        connection=child.connection,
        peers=child.peers,
        meant=_meant(child.peers),
        is_loaded=False if has_told else None,
    )


def _says_up(words: Sequence[str]) -> bool:
    """Whether the words of an updown line say `--expect up`."""
    try:
        return values_of_flags(read_flags(words)).get("expect") == UP
    except SettingsError:
        return False  # The hook says what is wrong, each time that it is called.


def _meant(addresses: Collection[str]) -> str:
    """Whether these are no certain peer's: any, a subnet or a range."""
    if all(map(_is_anybody, addresses)):
        return TEMPLATE
    return PLAIN


def _is_anybody(address: str) -> bool:
    """A name of a host may have a dash. A range has one between addresses."""
    if address in ANYBODY or address.startswith("%") or "/" in address:
        return True
    return "-" in address and not set(address) - set("0123456789abcdef:.-")
