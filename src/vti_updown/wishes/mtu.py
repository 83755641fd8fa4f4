"""How many bytes go through a tunnel: its MTU, and the greatest TCP segment."""

from ..constants import IP_HEADER, IPV6_MIN_MTU
from ..objects.mss import sizes_within

UDP_HEADER = 8
"""Of ESP in UDP (RFC 3948), which MOBIKE may begin at any time, without an event."""
ESP_HEADER = 8
"""SPI and sequence number (RFC 4303)."""
ESP_TRAILER = 2
"""Pad length and next header (RFC 4303)."""
ESP_BLOCK = 16
"""A packet is padded to whole blocks of AES-CBC (RFC 3602)."""
ESP_IV = 16
"""The longest initialization vector that strongSwan proposes (AES-CBC)."""
ESP_ICV = 32
"""The longest check value that strongSwan proposes (HMAC-SHA-512-256, RFC 4868)."""
ESP_OVERHEAD = ESP_HEADER + ESP_IV + ESP_ICV
ETHERNET_MTU = 1500


def inner_mtu(path_mtu: int, family: int) -> int:
    """Bytes that fit into ESP to a peer of this family.

    They fit whatever the cipher, and with NAT in between or not.
    """
    headers = IP_HEADER[family] + UDP_HEADER + ESP_OVERHEAD
    blocks = (path_mtu - headers) // ESP_BLOCK
    room = blocks * ESP_BLOCK - ESP_TRAILER
    return max(room, IPV6_MIN_MTU)


def mss_of(chosen: int, mtu: int) -> tuple[int, int]:
    """The greatest TCP segments through a link, for IPv4 and IPv6, in bytes.

    `chosen` is 0 if the MTU decides. `mtu` is 0 if it is the kernel's choice.
    """
    if chosen:
        return chosen, chosen
    if not mtu:
        mtu = inner_mtu(ETHERNET_MTU, 6)
    return sizes_within(mtu)
