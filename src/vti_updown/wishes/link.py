"""Which link an event asks for: its kind, endpoints, keys, name and MTU."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from ..addresses import IPAddress
from ..constants import IPV6_MIN_MTU
from ..event import Event, Mark
from ..named_tuple import NamedTuple
from ..objects.link import Link
from ..objects.link_kinds import LINK_KINDS, LinkKind
from ..objects.route import OuterPacket
from ..settings.table import AUTO, Settings, fill_in
from ..text import NOTHING_TO_DO, shown
from .mtu import inner_mtu
from .questions import PlanError, Questions, Reason

ALIAS_BYTES = 255
"""What IFLA_IFALIAS holds (IFALIASZ - 1)."""
UTF8_BYTES = 4
"""The most that a character has in UTF-8 (RFC 3629)."""
ALIAS_LENGTH = ALIAS_BYTES // UTF8_BYTES
"""As many characters fit into an alias whatever they are."""
GRE = 47
"""The protocol number of GRE (RFC 2784).

A GRE link is made by hand, and a CHILD_SA in transport mode protects its packets.
"""
ANY_ADDRESS = {4: "0.0.0.0", 6: "::"}  # noqa: S104 (nothing is bound to it)
"""The endpoint that stands for every address, by family."""
NAME_ENDPOINTS = "add local and remote to the settings"
FURTHER_SETTINGS = ("device", "netns", "vrf", "multicast", "link_local")
"""Settings of a link that change nothing unless they are given."""
BY_IF_ID = Reason("with an if_id it is an XFRM interface", ("kind",))
MARKS_TOLD = Reason("the mark is the CHILD_SA's")
MARKS_CHOSEN = Reason("no CHILD_SA says another", ("mark",))
IF_IDS_TOLD = Reason("the if_id is the CHILD_SA's")
IF_IDS_CHOSEN = Reason("no CHILD_SA says another", ("if_id",))
PEER_UNKNOWN = Reason("the peer's address is not known, so the kernel chooses", ("mtu",))
NAME_STEPS = 32
"""How often a name further away is tried for a link. The last is 2 ** 31 away."""


class NamedLink(NamedTuple):
    """A link with its name, and what came of that."""

    link: Link
    note: str = ""
    """What to tell the user of the name."""
    moved: Link | None = None
    """Our link of this name that is to be changed into this one."""
    reasons: tuple[Reason, ...] = ()

    def with_reasons(self, more: Iterable[Reason]) -> "NamedLink":
        return self._replace(reasons=(*self.reasons, *more))


class _Keys(NamedTuple):
    """What tells a CHILD_SA's packets from others: marks or if_ids. 0 is none."""

    out: int
    in_: int
    reason: Reason

    @property
    def given(self) -> bool:
        return bool(self.out or self.in_)

    @property
    def different(self) -> list[int]:
        """The keys that are not 0, each once."""
        keys = dict.fromkeys((self.out, self.in_))
        return [key for key in keys if key]


def links(
    event: Event,
    settings: Settings,
    ask: Questions,
) -> list[NamedLink]:
    """The link that packets leave by, then that which they come in by if it is another.

    Raises PlanError, or SettingsError for a name that the kernel would not take.
    """
    kind, why_kind = _kind(event, settings)
    local, why_local = _end("local", settings, event.me, kind.family)
    remote, why_remote = _end("remote", settings, event.peer, kind.family)
    mtu, why_mtu = _mtu(event, settings, ask)
    alias = f"vti-updown {event.connection}"
    link = Link(
        kind=kind.name,
        local=local,
        remote=remote,
        name="",
        okey=0,
        ikey=0,
        alias=shown(alias, ALIAS_LENGTH),
        device=settings.device or "",
        netns=settings.netns or "",
        master=settings.vrf or "",
        mtu=mtu,
        multicast=settings.multicast,
        own_link_local=settings.link_local is not None,
        mtu_is_chosen=settings.mtu is not None,
    )
    keyed, why_keyed = _keyed(link, event, settings)
    reasons = [why_kind, *why_local, *why_remote, why_keyed, why_mtu]
    for key in FURTHER_SETTINGS:
        if getattr(settings, key):
            reasons.append(Reason("", (key,)))
    named = _named(keyed, event, settings, ask)
    return [each.with_reasons(reasons) for each in named]


def _keyed(
    link: Link,
    event: Event,
    settings: Settings,
) -> tuple[list[Link], Reason]:
    """The link with its keys, and where they are from.

    A kind that is known by its if_id has one link for each of the two.
    """
    if link.of_kind.keyed_by == "mark":
        marks = _marks(event, settings)
        keyed = link._replace(okey=marks.out, ikey=marks.in_)
        return [keyed], marks.reason
    if_ids = _if_ids(event, settings)
    links = [link._replace(if_id=if_id) for if_id in if_ids.different]
    return links, if_ids.reason


# The kind


def _kind(event: Event, settings: Settings) -> tuple[LinkKind, Reason]:
    """The kind that the CHILD_SA is fit for, and why.

    An if_id comes before marks, which an XFRM interface leaves alone.
    """
    chosen = LINK_KINDS.get(settings.kind)
    if chosen is None:
        return _fitting_kind(event, settings)
    why = Reason("", ("kind",))
    if chosen.keyed_by == "if_id":
        if_ids = _if_ids(event, settings)
        if if_ids.given:
            return chosen, why
        what = f"kind = {chosen.name}, but the CHILD_SA has no if_id"
        raise PlanError(what, "add if_id_in and if_id_out to it")
    end = _marked_end(event, settings)
    if chosen != _first_kind("mark", end.version):
        is_version = f"is an IPv{end.version} endpoint"
        what = f"kind = {settings.kind}, but {end} {is_version}"
        raise PlanError(what, "leave kind out")
    return chosen, why


def _fitting_kind(event: Event, settings: Settings) -> tuple[LinkKind, Reason]:
    """The kind for what the CHILD_SA has, and why."""
    if_ids = _if_ids(event, settings)
    if if_ids.given:
        return _first_kind("if_id", None), BY_IF_ID
    end = _marked_end(event, settings)
    kind = _first_kind("mark", end.version)
    why = Reason(
        "with a mark and IPv{} endpoints it is a {}",
        settings=("kind",),
        values=(end.version, kind.name),
    )
    return kind, why


def _marked_end(event: Event, settings: Settings) -> IPAddress:
    """An endpoint of a CHILD_SA that has marks. Raises PlanError if it has none, or no mark."""
    marks = _marks(event, settings)
    if not marks.given:
        no_link = needs_no_link(event, settings)
        if no_link is not None:
            raise no_link
        raise _without_keys(settings)
    end = event.me or event.peer
    if end is None:
        raise PlanError("the endpoints of the VTI are not known", NAME_ENDPOINTS)
    return end


def _first_kind(keyed_by: str, family: int | None) -> LinkKind:
    for kind in LINK_KINDS.values():
        if (kind.keyed_by, kind.family) == (keyed_by, family):
            return kind
    raise LookupError(f"no kind of link for {keyed_by} and family {family}")


def needs_no_link(event: Event, settings: Settings) -> PlanError | None:
    """What to tell the user of a CHILD_SA that is fine without a link. None if it is not.

    It is one in transport mode, by all that charon tells: no variable names the mode.
    """
    if settings.kind != AUTO:
        return None
    if _if_ids(event, settings).given or _marks(event, settings).given:
        return None
    if not _is_between_endpoints(event):
        return None
    what = "between the endpoints alone, without mark or if_id, no link is needed"
    return PlanError(what, "leave leftupdown / updown out", NOTHING_TO_DO)


def _is_between_endpoints(event: Event) -> bool:
    """Whether it protects packets of the two endpoints only, or those of a GRE link."""
    mine = event.my_selector
    its = event.peer_selector
    if mine.protocol == its.protocol == GRE:
        return True
    return mine.is_host(event.me) and its.is_host(event.peer)


def _without_keys(settings: Settings) -> PlanError:
    lacks = "no mark"
    if settings.kind == AUTO:
        lacks = "neither mark nor if_id"
    what = f"the CHILD_SA has {lacks}"
    hint = "add mark=NUMBER to it, unique to the peer (swanctl: mark_in, mark_out)"
    return PlanError(what, hint)


def _if_ids(event: Event, settings: Settings) -> _Keys:
    """The if_ids of the CHILD_SA, else those of the settings."""
    outbound = event.if_id_out or 0
    inbound = event.if_id_in or 0
    if not outbound and not inbound:
        inbound, outbound = settings.if_id or (0, 0)
        return _Keys(outbound, inbound, IF_IDS_CHOSEN)
    return _Keys(outbound, inbound, IF_IDS_TOLD)


def _marks(event: Event, settings: Settings) -> _Keys:
    """The marks of the CHILD_SA, else those of the settings."""
    if event.mark_out is None and event.mark_in is None:
        inbound, outbound = settings.mark or (0, 0)
        return _Keys(outbound, inbound, MARKS_CHOSEN)
    outbound = _value_of(event.mark_out)
    inbound = _value_of(event.mark_in)
    return _Keys(outbound, inbound, MARKS_TOLD)


def _value_of(mark: Mark | None) -> int:
    if mark is None:
        return 0
    return mark.value


# Endpoints and MTU


def _end(
    side: str,
    settings: Settings,
    told: IPAddress | None,
    family: int | None,
) -> tuple[IPAddress | None, list[Reason]]:
    """An endpoint, for a kind of link that has them. What the settings say comes first.

    `side` is the setting's key, local or remote.
    """
    if family is None:
        return None, []
    end: IPAddress | None = getattr(settings, side)
    why = Reason("", (side,))
    if end is None:
        end = told
        why = Reason("the IKE_SA's endpoint {}", (side,), (told,))
    if end is None:
        raise PlanError("one of the two endpoints of the VTI is not known", NAME_ENDPOINTS)
    if end.is_unspecified:
        return ip_address(ANY_ADDRESS[family]), [why]
    if end.version != family:
        what = f"{end} is no IPv{family} address, as the other endpoint is"
        raise PlanError(what, "correct local or remote")
    return end, [why]


def _mtu(
    event: Event,
    settings: Settings,
    ask: Questions,
) -> tuple[int, Reason]:
    """The MTU in bytes. 0 if the path is not known, so that the kernel chooses."""
    mtu = settings.mtu
    if mtu is None:
        return _path_mtu(event, settings, ask)
    if event.family == 6 and mtu < IPV6_MIN_MTU:
        what = f"mtu = {mtu} is too small for IPv6"
        raise PlanError(what, f"make it {IPV6_MIN_MTU} or more")
    return mtu, Reason("", ("mtu",))


def _path_mtu(
    event: Event,
    settings: Settings,
    ask: Questions,
) -> tuple[int, Reason]:
    """The MTU for the path to the peer, as it is now. 0 if it is not known."""
    packet = outer_packet(event, settings)
    if packet is None:
        return 0, PEER_UNKNOWN
    path = ask.path_mtu(packet)
    if path is None:
        return 0, Reason("nothing leads to {}, so the kernel chooses", ("mtu",), (event.peer,))
    mtu = inner_mtu(path, packet.destination.version)
    why = Reason(
        "a path of {} bytes to {} leaves {} beside ESP",
        settings=("mtu",),
        values=(path, event.peer, mtu),
    )
    return mtu, why


def outer_packet(event: Event, settings: Settings) -> OuterPacket | None:
    """A packet to the peer as the tunnel sends it. None if the peer's address is not known."""
    peer = event.peer
    if peer is None or peer.is_unspecified:
        return None
    source = event.me
    if source is not None and (source.is_unspecified or source.version != peer.version):
        source = None
    _, nat_port = settings.ike_ports
    return OuterPacket(
        destination=peer,
        source=source,
        mark=_mark_of_outer_packets(event, settings),
        port=nat_port,
    )


def _mark_of_outer_packets(event: Event, settings: Settings) -> int:
    """A VTI's packets have its outbound mark when they are routed. An XFRM interface has none.

    See vti_tunnel_xmit() in net/ipv4/ip_vti.c.
    """
    chosen = LINK_KINDS.get(settings.kind)
    keyed_by_if_id = _if_ids(event, settings).given
    if chosen is not None:
        keyed_by_if_id = chosen.keyed_by == "if_id"
    if keyed_by_if_id:
        return 0
    return _marks(event, settings).out


# The name


def _named(
    unnamed: list[Link],
    event: Event,
    settings: Settings,
    ask: Questions,
) -> list[NamedLink]:
    named: list[NamedLink] = []
    for link in unnamed:
        chosen = _chosen_name(link, event, settings)
        names = [other.link.name for other in named]
        if chosen in names:
            chosen = None  # The template does not tell the two apart.
        defaults = _default_names(event, link)
        given = ask.link_name(link, defaults, chosen)
        note = ""
        if chosen not in (None, given.name):
            note = f"the link is {given.name}, not {chosen}, for as long as it is up"
        with_name = link._replace(name=given.name)
        named.append(NamedLink(with_name, note, given.moved, (given.reason,)))
    return named


def _chosen_name(
    link: Link,
    event: Event,
    settings: Settings,
) -> str | None:
    if settings.name is None:
        return None
    values = _values(event, link)
    return fill_in(settings.name, values)


def _values(event: Event, link: Link) -> dict[str, str]:
    """What the placeholders of a name stand for."""
    return {
        "connection": event.connection,
        "uniqueid": str(event.unique_id),
        "mark": str(link.okey or link.ikey),
        "if_id": str(link.if_id),
        "if_id:08x": f"{link.if_id:08x}",
        "peer": str(event.peer),
    }


def _default_names(event: Event, link: Link) -> Iterator[str]:
    """vti1, and names further and further away in case that is taken.

    So a crowd of old links costs a few look-ups.
    """
    stem = link.of_kind.stem
    mark = link.okey or link.ikey
    number = link.if_id or event.unique_id or mark
    yield f"{stem}{number}"
    for step in range(NAME_STEPS):
        further = number + (1 << step)
        yield f"{stem}{further}"
