"""The MSS of TCP connections through a link, clamped by a table of nftables' for each link, with the `nft` command.

netlink has no attribute for it, and forwarded connections know no route's `advmss`. Source: nft(8), "tcp option maxseg".
"""

from .text import shown

SECONDS = 10
"""How long `nft` may take."""
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def takes(link: str) -> bool:
    """Whether nft takes the name of a link as it is: it knows no way to write a quotation mark, and `*` matches anything."""
    return link.isascii() and all(c.isalnum() or c in "-_." for c in link)


def table(link: str) -> str:
    return f"vti-updown-{link}"


def script(link: str, ipv4: int, ipv6: int) -> str:
    """What nft is to do to clamp both directions to these sizes, in bytes.

    nftables never raises a size (net/netfilter/nft_exthdr.c, nft_exthdr_tcp_set_eval()).
    """
    name = table(link)
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority mangle; "
        + "".join(
            f'{way} "{link}" meta nfproto ipv{family} tcp flags & (syn | rst) == syn tcp option maxseg size set {size}; '
            for family, size in ((4, ipv4), (6, ipv6))
        )
        + "}; "
        for hook, way in (("postrouting", "oifname"), ("prerouting", "iifname"))
    )
    return f"{removal(link)}; table inet {name} {{ {chains}}}"


def removal(link: str) -> str:
    """What nft is to do to take the table away, whether it is there or not."""
    name = table(link)
    return f"table inet {name}; delete table inet {name}"


def put(link: str, ipv4: int, ipv6: int) -> str | None:
    """Clamps; what stands in the way, or None. Raises OSError where nft refuses."""
    if not takes(link):
        return f"no MSS clamp, as nft cannot name the link {shown(link)}: use letters, digits, - and _"
    return None if _nft(script(link, ipv4, ipv6)) is not None else "no MSS clamp, as there is no nft: install nftables"


def remove(link: str) -> None:
    """Raises OSError where nft refuses."""
    _nft(removal(link))


def sizes(link: str) -> tuple[int, int] | None:
    """The sizes that `put` has set for IPv4 and IPv6; None where the table is not there, or not as it was put."""
    try:
        words = (_nft(f"list table inet {table(link)}") or "").split() if takes(link) else []
    except OSError:
        return None
    found = [int(words[at + 2]) for at, word in enumerate(words[:-2]) if word == "size" and words[at + 2].isdigit()]
    return (found[0], found[1]) if len(found) == 4 and found[:2] == found[2:] else None


def _nft(what: str) -> str | None:
    """Its output; None where there is no nft."""
    import subprocess  # few tunnels need it

    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=what, capture_output=True, text=True, timeout=SECONDS, check=False,  # noqa: S607
            env={"PATH": PATH},
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        raise OSError(0, f"nft took longer than {SECONDS} s") from None
    if done.returncode:
        raise OSError(0, (done.stderr.splitlines() or ["nft failed"])[0])
    return done.stdout
