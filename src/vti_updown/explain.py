"""Steps as the `ip`, `sysctl` and `nft` commands that they stand for, ready to paste. It changes nothing."""

from collections.abc import Callable, Mapping
from shlex import quote

from . import clamp
from .kind import KINDS
from .messages import GROUP, OWN_PACKETS, PROTOCOL
from .state import RT_TABLE_MAIN, Address, Clamp, Link, Noun, Route, Rule, Setting, Step


def commands(step: Step, names: Mapping[str, str]) -> list[str]:
    """The commands of one step. `names` maps the key of each link to its name."""
    render: dict[type[Noun], Callable[..., list[str]]] = {
        Link: _link,
        Setting: _setting,
        Address: _address,
        Route: _route,
        Rule: _rule,
        Clamp: _clamp,
    }
    noun = step.noun
    netns = noun.netns if isinstance(noun, Link | Route | Clamp) else _netns(noun.link)
    made = render[type(noun)](step, noun, names.get(noun.link, ""))
    if isinstance(noun, Link) and netns and step.old is None:  # made here, then moved
        return [made[0], f"ip link set {quote(names[noun.key])} netns {quote(netns)}", *(_in(netns, one) for one in made[1:])]
    return [_in(netns, one) for one in made]


def _netns(link: str) -> str:
    """The namespace of a link by its key."""
    return link.partition(" netns ")[2]


def _in(netns: str, command: str) -> str:
    if not netns:
        return command
    if command.startswith("ip "):
        return f"ip -n {quote(netns)} {command[3:]}"
    return f"ip netns exec {quote(netns)} {command}"


def _link(step: Step, link: Link, name: str) -> list[str]:
    name = quote(name)
    if step.new is None:
        return [f"ip link del {name}"]
    kind = f"type {KINDS[link.kind].words(link)}"
    mtu = f" mtu {link.mtu}" if link.mtu else ""
    way = (" multicast on" if link.multicast else "") + mtu
    finish = f"ip link set {name} up{way} alias {quote(link.alias)}"
    if step.old is None:
        vrf = f" vrf {quote(link.master)}" if link.master else ""
        quiet = [f"ip link set {name} addrgenmode none"] if link.own_link_local else []
        return [f"ip link add {name} group {GROUP} {kind}", *([f"ip link set {name}{vrf}"] if vrf else []), *quiet, finish]
    old = step.old
    assert isinstance(old, Link)
    made = [] if KINDS[old.kind].words(old) == KINDS[link.kind].words(link) else [f"ip link set {name} {kind}"]
    if old.master != link.master:
        made.append(f"ip link set {name} {f'vrf {quote(link.master)}' if link.master else 'nomaster'}")
    return [*made, finish]


def _setting(step: Step, setting: Setting, name: str) -> list[str]:
    value = setting.value if step.new else 0
    separator = "/" if "." in name else "."
    return ["sysctl -w " + separator.join(["net", setting.family, "conf", quote(name), f"{setting.name}={value}"])]


def _address(step: Step, address: Address, name: str) -> list[str]:
    what = f"{address.address}" if address.peer is None else f"{address.address.ip} peer {address.peer}"
    doing = "del" if step.new is None else "replace" if step.old else "add"
    nodad = " nodad" if step.new is not None and address.address.version == 6 else ""
    return [f"ip addr {doing} {what} dev {quote(name)}{nodad}"]


def _route(step: Step, route: Route, name: str) -> list[str]:
    words = ["ip", *(["-6"] if route.destination.version == 6 else []), "route"]
    words.append("del" if step.new is None else "replace" if step.old else "add")
    words += [str(route.destination), "dev", quote(name)] if route.link else ["unreachable", str(route.destination)]
    words += ["proto", str(PROTOCOL)]
    if route.table != RT_TABLE_MAIN:
        words += ["table", str(route.table)]
    if route.metric:
        words += ["metric", str(route.metric)]
    if route.source is not None and step.new is not None:
        words += ["src", str(route.source)]
    return [" ".join(words)]


def _rule(step: Step, rule: Rule, _name: str) -> list[str]:
    words = ["ip", *(["-6"] if rule.family == 6 else []), "rule", "del" if step.new is None else "add"]
    words += ["pref", str(rule.priority), *(["to", str(rule.to)] if rule.to else [])]
    words += ["iif", OWN_PACKETS, "ipproto", "udp", "sport", str(rule.port)] if rule.port else []
    words += ["lookup", str(rule.table)] if rule.table else ["type", "unreachable"]
    if rule.suppress is not None:
        words += ["suppress_prefixlength", str(rule.suppress)]
    return [" ".join([*words, "proto", str(PROTOCOL)])]


def _clamp(step: Step, noun: Clamp, _name: str) -> list[str]:
    script = clamp.removal(noun.name) if step.new is None else clamp.script(noun.name, noun.ipv4, noun.ipv6)
    return [f"nft {quote(script)}"]
