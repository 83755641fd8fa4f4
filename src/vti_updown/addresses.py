"""IP addresses, networks and plain numbers: parsers that are stricter than the standard library's.

`ipaddress` accepts scope IDs with newlines in them, and it leaves IPv4 addresses wrapped in IPv6.
`int` accepts `1_0` and Arabic digits. Nothing that comes from a peer or a user may pass that way.
"""

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_number(text: str, most_digits: int) -> bool:
    """Whether `text` is a decimal number in ASCII digits, and not longer than that."""
    return text.isascii() and text.isdigit() and len(text) <= most_digits


def address(text: str) -> IPAddress:
    """An IP address without a scope ID. An IPv4 address mapped into IPv6 is unwrapped."""
    try:
        if not text.isascii() or "%" in text:
            raise ValueError
        parsed = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("an IP address") from None
    if isinstance(parsed, ipaddress.IPv6Address):
        return parsed.ipv4_mapped or parsed
    return parsed


def network(text: str) -> IPNetwork:
    """A subnet in CIDR notation with no host bits set."""
    base, _, prefix = text.partition("/")
    try:
        if not base.isascii() or "%" in base or not is_number(prefix, 3):
            raise ValueError
        parsed = ipaddress.ip_address(base)
        return ipaddress.ip_network(f"{parsed}/{int(prefix)}")
    except ValueError:
        raise ValueError("a subnet such as 10.2.0.0/16") from None


def address_in(subnet: IPNetwork) -> IPAddress:
    """An address that a host in this subnet can have.

    It is the first one, but for the address that names the subnet.
    """
    if subnet.num_addresses > 2:
        return subnet[1]
    return subnet[0]
