"""What is configured for a CHILD_SA, as far as `status` must know it."""

from shlex import quote

from ..named_tuple import NamedTuple
from ..text import shown

TRAP, TEMPLATE, PLAIN = "trap", "template", ""
"""How a connection may be meant that is not to be up by itself: its first packet starts it, or its
peers do.
"""


class Configured(NamedTuple):
    """What is configured for one CHILD_SA."""

    name: str
    """As charon has it, so print it by `shown`."""
    connection: str = ""
    """The name of its IKE connection. Empty if only our settings name it."""
    peers: tuple[str, ...] = ()
    """As charon has them, such as `203.0.113.7` or `%any`."""
    meant: str = PLAIN
    expected: str = ""
    """Why it should be up, in words. Empty: nobody has said so."""
    has_our_hook: bool | None = None
    """Whether its updown line names vti-updown. None if that cannot be read."""
    is_loaded: bool | None = None
    """Whether charon has it. None if charon did not tell."""
    by_ipsec: bool = False
    """Whether it is in ipsec.conf."""
    socket: str = ""
    """By which its charon can be asked. Empty: by the usual one, or it is not known."""

    @property
    def start(self) -> str:
        """The command that starts it, or words where its name cannot be typed."""
        if not self.name.isprintable():
            return f"start it by hand; its name has odd characters: {shown(self.name)}"
        name = quote(self.name)
        if self.is_loaded is False:
            load = "swanctl --load-all"
            if self.by_ipsec:
                load = "ipsec reload"
            return f"{load}, since charon has not loaded it"
        if self.by_ipsec:
            return f"ipsec up {name}"
        uri = ""
        if self.socket:
            uri = f" --uri {quote('unix://' + self.socket)}"
        return f"swanctl --initiate --child {name}{uri}"
