"""Whether there is a VTI that is bound to an underlying link: one ioctl, however many links there
are.

To the kernel it is another than an unbound one with the same endpoints, so both can be made. But it
gets the packets of both (net/ipv4/ip_tunnel.c, ip_tunnel_lookup()). vti6_locate() in
net/ipv6/ip6_vti.c knows no such difference.
"""

import array
import fcntl
import socket
import struct

from ..objects.link import FALLBACK_LINKS, Link

SIOCGETTUNNEL = 0x89F0
LINK_AT = slice(16, 20)
"""Where struct ip_tunnel_parm has the ifindex of the underlying link."""


def is_bound(link: Link, underlying: int) -> bool:
    """Whether a VTI with these endpoints is bound to the link with the ifindex `underlying`."""
    assert link.local is not None and link.remote is not None
    # struct ip_tunnel_parm (if_tunnel.h): name, link, i_flags, o_flags, i_key, o_key, and a struct
    # iphdr.
    ends = struct.pack("12x4s4s", link.local.packed, link.remote.packed)
    parameters = array.array("B", struct.pack("=16xi12x", underlying) + ends)
    fallback_link, *_ = FALLBACK_LINKS
    address, _ = parameters.buffer_info()
    request = struct.pack("16sP16x", fallback_link.encode(), address)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
            fcntl.ioctl(any_socket, SIOCGETTUNNEL, request)
    except OSError:
        # No VTI yet in this namespace, or net.core.fb_tunnels_only_for_init_net keeps it from being
        # asked.
        return False
    # The fallback link answers for itself where it knows of none.
    return underlying != 0 and parameters[LINK_AT].tobytes() == struct.pack("=i", underlying)
