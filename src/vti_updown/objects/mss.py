"""The greatest TCP segment through a link, clamped by a table of nftables' for each link, with the
`nft` command.

netlink has no attribute for it, and forwarded connections know no route's `advmss`. Source: nft(8),
"tcp option maxseg".
"""

from collections.abc import Collection, Iterator
from shlex import quote

from ..constants import IP_HEADER, TCP_HEADER
from ..named_tuple import NamedTuple
from ..text import shown
from .link import Link
from .object import (
    Applied,
    Foreign,
    LinkThere,
    Namespace,
    Object,
    Outcome,
    Place,
    Placed,
    no_such_device,
)

NFT_SECONDS = 3
"""How long `nft` may take. Meanwhile charon answers no peer, and the records are locked."""
NFT_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
OURS = "vti-updown"
"""The comment of our tables, by which they are told from others of the same name."""
SIZE_RULES = 4
"""Rules of our table that set a size: for each family, out and in."""


class MssClampFields(NamedTuple):
    link_key: str
    ifname: str
    """The link's name, which the packet filter matches."""
    ipv4: int
    """Bytes."""
    ipv6: int
    netns: str = ""
    is_chosen: bool = False
    """Whether the settings say the sizes. If not, they are what the link's MTU leaves."""


class MssClamp(MssClampFields, Placed):
    """The greatest segment size of the TCP connections through a link.

    It does not go with its link.
    """

    __slots__ = ()
    GOES_WITH_LINK = False
    MERGED = {
        "ipv4": "the newest of an mss that says a number; else what the link's MTU leaves",
        "ipv6": "the newest of an mss that says a number; else what the link's MTU leaves",
    }
    FOLLOWS_LINK = True
    UNTOLD = ("is_chosen",)

    @property
    def key(self) -> str:
        return f"clamp on {self.link_key}"

    @property
    def label(self) -> str:
        return f"the MSS clamp of {self.ifname}"

    @property
    def opinion(self) -> str:
        return f"{self.ipv4} {self.ipv6}" if self.is_chosen else ""

    def with_opinion_of(self, older: Object) -> "MssClamp":
        """The newest sizes that were chosen."""
        if self.is_chosen or not isinstance(older, MssClamp) or not older.is_chosen:
            return self
        return self._replace(ipv4=older.ipv4, ipv6=older.ipv6, is_chosen=True)

    def following(self, link: Object) -> "MssClamp":
        """The sizes of what the link's MTU leaves, whoever asked for that. An MTU of the kernel's
        choice is not known.
        """
        if self.is_chosen or not isinstance(link, Link) or not link.mtu:
            return self
        ipv4, ipv6 = sizes_within(link.mtu)
        return self._replace(ipv4=ipv4, ipv6=ipv6)

    def commands(self, old: "MssClamp | None", ifname: str) -> list[str]:
        del old, ifname
        return [f"nft {quote(self._script)}"]

    def removal_commands(self, ifname: str) -> list[str]:
        del ifname
        return [f"nft {quote(self._removal_script)}"]

    @property
    def _script(self) -> str:
        """What nft is to do to clamp both directions. nftables never raises a size
        (nft_exthdr_tcp_set_eval()).
        """
        out = self._chain("postrouting", "oifname")
        back = self._chain("prerouting", "iifname")
        table = f"table inet {_table(self.ifname)}"
        return f'{self._removal_script}; {table} {{ comment "{OURS}"; {out}{back}}}'

    def _chain(self, hook: str, way: str) -> str:
        rules = self._rule(way, 4, self.ipv4) + self._rule(way, 6, self.ipv6)
        return f"chain {hook} {{ type filter hook {hook} priority mangle; {rules}}}; "

    def _rule(
        self,
        way: str,
        family: int,
        size: int,
    ) -> str:
        packets = f'{way} "{self.ifname}" meta nfproto ipv{family} tcp flags & (syn | rst) == syn'
        return f"{packets} tcp option maxseg size set {size}; "

    @property
    def _removal_script(self) -> str:
        """What nft is to do to take the table away, whether it is there or not."""
        table = _table(self.ifname)
        return f"table inet {table}; delete table inet {table}"

    def put(
        self,
        place: Place,
        old: "MssClamp | None",
        last: bool,
    ) -> Outcome:
        """The link may have another name than was wished for, and the packet filter goes by the
        name.
        """
        del old, last
        if place.known_ifindex is None:
            raise no_such_device()
        clamp = self._replace(ifname=place.ifname)
        if place.is_anothers:
            return _no_clamp(f"{shown(clamp.ifname)} is another vti-updown's")
        if not _takes(clamp.ifname):
            hint = "use letters, digits, - and _"
            return _no_clamp(f"nft cannot name the link {shown(clamp.ifname)}: {hint}")
        with place.namespace.within():
            if _has_foreign_table(clamp.ifname):
                return _no_clamp(f"nft has a table {_table(clamp.ifname)} that is not ours")
            answer = _nft(clamp._script)
        if answer is None:
            return _no_clamp("there is no nft: install nftables")
        return Outcome(Applied(clamp))

    def take_away(self, place: Place, sure: bool) -> None:
        """Our link may be gone, and another vti-updown may have its name, and a table by that."""
        del sure
        if place.namespace.is_anothers(self.ifname):
            return
        with place.namespace.within():
            if not _has_foreign_table(self.ifname):
                _nft(self._removal_script)

    @classmethod
    def there(
        cls,
        namespace: Namespace,
        links: Collection[LinkThere],
        known: Collection["MssClamp"] | None,
    ) -> Iterator[tuple["MssClamp", bool]]:
        """nft lists one table at a time, so those that are known are looked for, or one for each
        link.
        """
        if known is None:
            known = [cls(link.key, link.ifname, 0, 0, namespace.name) for link in links]
        for clamp in known:
            with namespace.within():
                sizes = _sizes(clamp.ifname)
            if sizes is not None:
                ipv4, ipv6 = sizes
                yield cls(clamp.link_key, clamp.ifname, ipv4, ipv6, clamp.netns), True


def sizes_within(mtu: int) -> tuple[int, int]:
    """The greatest TCP segments in packets of this size, for IPv4 and IPv6, in bytes."""
    room = mtu - TCP_HEADER
    ipv4 = room - IP_HEADER[4]
    ipv6 = room - IP_HEADER[6]
    return ipv4, ipv6


def _no_clamp(why: str) -> Outcome:
    return Outcome(None, Foreign(f"no MSS clamp, as {why}"))


def _takes(ifname: str) -> bool:
    """Whether nft takes the name of a link as it is: it has no way to write a quotation mark, and
    `*` matches anything.
    """
    return ifname.isascii() and all(c.isalnum() or c in "-_." for c in ifname)


def _table(ifname: str) -> str:
    return f"vti-updown-{ifname}"


def _has_foreign_table(ifname: str) -> bool:
    """Whether there is a table in the place of ours, and somebody else made it."""
    listing = _listing(ifname)
    return bool(listing) and f'comment "{OURS}"' not in listing


def _listing(ifname: str) -> str:
    """The table of a clamp, as nft lists it. Empty if there is none."""
    try:
        return _nft(f"list table inet {_table(ifname)}") or ""
    except OSError:
        return ""


def _sizes(ifname: str) -> tuple[int, int] | None:
    """The sizes that a clamp has set for IPv4 and IPv6; None where its table is not there, or not
    as it was put.
    """
    if not _takes(ifname):
        return None
    listing = _listing(ifname)
    sizes = _numbers_behind("size", "set", listing.split())
    if len(sizes) != SIZE_RULES:
        return None
    out4, out6, back4, back6 = sizes
    return (out4, out6) if (out4, out6) == (back4, back6) else None


def _numbers_behind(
    first: str,
    second: str,
    words: list[str],
) -> list[int]:
    """Each number that stands behind these two words."""
    numbers = []
    for before, word, number in zip(words, words[1:], words[2:], strict=False):
        if (before, word) == (first, second) and number.isdigit():
            numbers.append(int(number))
    return numbers


def _nft(script: str) -> str | None:
    """What nft prints; None where there is no nft. Raises OSError where it refuses."""
    import subprocess  # few tunnels need it

    try:
        done = subprocess.run(
            ["nft", "-f", "-"],  # noqa: S607 (by PATH below)
            input=script,
            capture_output=True,
            text=True,
            timeout=NFT_SECONDS,
            check=False,
            env={"PATH": NFT_PATH},
        )
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        raise OSError(0, f"nft took longer than {NFT_SECONDS} s") from None
    if done.returncode:
        first_line, *_ = [*done.stderr.splitlines(), "nft failed"]
        raise OSError(0, first_line)
    return done.stdout
