"""Numbers that the Internet's protocols and the kernel fix, and that several modules need."""

UINT32_MAX = 0xFFFFFFFF

IP_HEADER = {4: 20, 6: 40}
"""Bytes of an IP header without options (RFC 791, RFC 8200), by family."""
TCP_HEADER = 20
"""Bytes of a TCP header without options (RFC 9293, section 3.1)."""
LONGEST_PACKET = 65535
"""Bytes of the longest IPv4 packet with its header (RFC 791)."""
IPV6_MIN_MTU = 1280
"""With less, the kernel takes IPv6 off the link.

See RFC 8200, section 5, and net/ipv6/addrconf.c, addrconf_notify().
"""

RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL = 253, 254, 255
"""The routing tables that every host has (rtnetlink.h)."""
