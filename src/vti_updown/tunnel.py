"""Which link an event asks for: its kind, endpoints, keys, name and MTU."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from itertools import chain

from .answers import Answers, PlanError
from .event import Event, IPAddress
from .kind import KINDS
from .settings import Settings, link_name
from .state import Link
from .text import shown
from .values import IPV6_MIN_MTU

ALIAS_BYTES = 255
"""What IFLA_IFALIAS holds (IFALIASZ - 1)."""
OUTER_HEADER = {4: 20, 6: 40}
"""Bytes of the outer IP header (RFC 791, RFC 8200), by family."""
UDP_HEADER = 8
"""Of ESP in UDP (RFC 3948), which MOBIKE may begin at any time, without an event."""
ESP_HEADER, ESP_TRAILER, ESP_BLOCK = 8, 2, 16
"""SPI and sequence number; pad length and next header; what is padded to with AES-CBC (RFC 4303, RFC 3602)."""
ESP_IV, ESP_ICV = 16, 32
"""The longest initialization vector (AES-CBC) and check value (HMAC-SHA-512-256, RFC 4868) that strongSwan proposes."""

GRE = 47
"""Its protocol number (RFC 2784). A GRE link is made by hand, and a CHILD_SA in transport mode protects its packets."""


def inner_mtu(path_mtu: int, family: int) -> int:
    """Bytes that fit into ESP to a peer of this family whatever the cipher, with NAT in between or not."""
    room = path_mtu - OUTER_HEADER[family] - UDP_HEADER - ESP_HEADER - ESP_IV - ESP_ICV
    return max(room // ESP_BLOCK * ESP_BLOCK - ESP_TRAILER, IPV6_MIN_MTU)


def links(event: Event, settings: Settings, ask: Answers) -> tuple[list[Link], list[str]]:
    """The link that packets leave by, then that which they come in by where it is another; and what to tell the user.

    Raises PlanError, or SettingsError for a name that the kernel would not take.
    """
    kind = KINDS[_kind(event, settings)]
    if settings.netns:
        ask.netns(settings.netns)
    link = Link(
        kind=kind.name,
        local=_end(settings.local, event.me, kind.family),
        remote=_end(settings.remote, event.peer, kind.family),
        name="",
        okey=0,
        ikey=0,
        alias=shown(f"vti-updown {event.connection}", ALIAS_BYTES // 4),
        device=settings.device or "",
        netns=settings.netns or "",
        master=settings.vrf or "",
        mtu=_mtu(event, settings, ask),
        multicast=settings.multicast,
        own_link_local=settings.link_local is not None,
    )
    if kind.family is None:
        made = [link._replace(if_id=if_id) for if_id in dict.fromkeys(filter(None, _if_ids(event, settings)))]
    else:
        okey, ikey = _marks(event, settings)
        made = [link._replace(okey=okey, ikey=ikey)]
    return _named(made, event, settings, ask)


def _kind(event: Event, settings: Settings) -> str:
    if any(_if_ids(event, settings)) and settings.kind in ("auto", "xfrm"):
        return "xfrm"
    if settings.kind == "xfrm":
        raise PlanError("kind = xfrm, but the CHILD_SA has no if_id", "add if_id_in and if_id_out to it")
    if not any(_marks(event, settings)):
        if event.my_selector.protocol == event.peer_selector.protocol == GRE:
            raise PlanError("it protects a GRE link, which is made without the hook", "take the hook out of this CHILD_SA")
        what = "neither mark nor if_id" if settings.kind == "auto" else "no mark"
        raise PlanError(f"the CHILD_SA has {what}", "add mark=NUMBER to it, unique to the peer (swanctl: mark_in, mark_out)")
    end = event.me or event.peer
    if end is None:
        raise PlanError("a VTI has endpoints", "add local and remote to the settings")
    kind = "vti" if end.version == 4 else "vti6"
    if settings.kind not in ("auto", kind):
        raise PlanError(f"kind = {settings.kind}, but {end} is an IPv{end.version} endpoint", "leave kind out")
    return kind


def _if_ids(event: Event, settings: Settings) -> tuple[int, int]:
    """Outbound and inbound; 0: none."""
    inbound, outbound = settings.if_id or (0, 0)
    return (event.if_id_out or 0, event.if_id_in or 0) if event.if_id_out or event.if_id_in else (outbound, inbound)


def _marks(event: Event, settings: Settings) -> tuple[int, int]:
    """Outbound and inbound; 0: none."""
    inbound, outbound = settings.mark or (0, 0)
    if event.mark_out is None and event.mark_in is None:
        return outbound, inbound
    return event.mark_out.value if event.mark_out else 0, event.mark_in.value if event.mark_in else 0


def _end(chosen: IPAddress | None, told: IPAddress | None, family: int | None) -> IPAddress | None:
    """An endpoint of a kind that has them: what the settings say, where they do."""
    if family is None:
        return None
    end = told if chosen is None else chosen
    if end is None:
        raise PlanError("a VTI has two endpoints", "add local and remote to the settings")
    if end.is_unspecified:
        return ip_address(bytes(4 if family == 4 else 16))
    if end.version != family:
        raise PlanError(f"{end} is no IPv{family} address, as the other endpoint is", "correct local or remote")
    return end


def _mtu(event: Event, settings: Settings, ask: Answers) -> int:
    if settings.mtu is not None:
        if event.family == 6 and settings.mtu < IPV6_MIN_MTU:
            raise PlanError(f"mtu = {settings.mtu} is too small for IPv6", f"make it {IPV6_MIN_MTU} or more")
        return settings.mtu
    path = ask.path_mtu(event.peer) if event.peer is not None and not event.peer.is_unspecified else None
    return 0 if path is None or event.peer is None else inner_mtu(path, event.peer.version)


def _named(made: list[Link], event: Event, settings: Settings, ask: Answers) -> tuple[list[Link], list[str]]:
    named: list[Link] = []
    notes: list[str] = []
    for link in made:
        chosen = None if settings.name is None else link_name(settings.name, _values(event, link))
        if any(chosen == other.name for other in named):
            chosen = None  # the template does not tell the two apart
        name = ask.free_name(link, _default_names(event, link), chosen)
        if chosen not in (None, name):
            notes.append(f"the link is {name}, not {chosen}, for as long as it is up")
        named.append(link._replace(name=name))
    return named, notes


def _values(event: Event, link: Link) -> dict[str, str]:
    return {
        "connection": event.connection,
        "uniqueid": str(event.unique_id),
        "mark": str(link.okey or link.ikey),
        "if_id": str(link.if_id),
        "if_id:08x": f"{link.if_id:08x}",
        "peer": str(event.peer),
    }


def _default_names(event: Event, link: Link) -> Iterable[str]:
    if link.if_id:
        return _from("xfrm", link.if_id)
    return _from("vti", event.unique_id or link.okey or link.ikey)


def _from(stem: str, number: int) -> Iterator[str]:
    """vti1, and names further and further away for where that is taken, so that a crowd of old links costs a few look-ups."""
    return (f"{stem}{number + step}" for step in chain((0,), (1 << n for n in range(32))))
