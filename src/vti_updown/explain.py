"""Steps as the `ip` and `sysctl` commands that they stand for, ready to paste. It changes nothing."""

from collections.abc import Callable, Mapping
from shlex import quote

from .kernel import GROUP, PROTOCOL
from .state import RT_TABLE_MAIN, Address, Link, Noun, Route, Setting, Step


def commands(step: Step, names: Mapping[str, str]) -> list[str]:
    """The commands of one step. `names` maps the key of each link to its name."""
    render: dict[type[Noun], Callable[..., list[str]]] = {Link: _link, Setting: _setting, Address: _address, Route: _route}
    return render[type(step.noun)](step, step.noun, names[step.noun.link])


def _link(step: Step, link: Link, name: str) -> list[str]:
    if step.new is None:
        return [f"ip link del {quote(name)}"]
    data = f"type {link.kind} local {link.local} remote {link.remote} okey {link.okey} ikey {link.ikey}"
    finish = f"ip link set {quote(name)} up alias {quote(link.alias)}"
    if step.old is None:
        return [f"ip link add {quote(name)} group {GROUP} {data}", finish]
    return [f"ip link set {quote(name)} {data}", finish]


def _setting(step: Step, setting: Setting, name: str) -> list[str]:
    value = setting.value if step.new else 0
    separator = "/" if "." in name else "."
    return ["sysctl -w " + separator.join(["net", setting.family, "conf", quote(name), f"{setting.name}={value}"])]


def _address(step: Step, address: Address, name: str) -> list[str]:
    if step.new is None:
        return [f"ip addr del {address.address} dev {quote(name)}"]
    return [f"ip addr {'replace' if step.old else 'add'} {address.address} dev {quote(name)}"]


def _route(step: Step, route: Route, name: str) -> list[str]:
    words = ["ip", *(["-6"] if route.destination.version == 6 else []), "route"]
    words += ["del" if step.new is None else "replace" if step.old else "add", str(route.destination), "dev", quote(name)]
    words += ["proto", str(PROTOCOL)]
    if route.table != RT_TABLE_MAIN:
        words += ["table", str(route.table)]
    if route.metric:
        words += ["metric", str(route.metric)]
    if route.source is not None and step.new is not None:
        words += ["src", str(route.source)]
    return [" ".join(words)]
