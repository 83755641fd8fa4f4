"""Messages of netlink, as bytes."""

from ipaddress import ip_interface, ip_network
from typing import Any

import pytest

from vti_updown.constants import RT_TABLE_MAIN
from vti_updown.netlink import flat
from vti_updown.objects.address import Address
from vti_updown.objects.by_netlink import ByNetlink
from vti_updown.objects.link import ifinfmsg
from vti_updown.objects.object import Applied, Place
from vti_updown.objects.route import NO_LINK, Route
from vti_updown.objects.rule import FR_ACT_GOTO, FR_ACT_TO_TBL, Rule

from .test_difference import LINK

HEADER_BYTES = 16
OBJECTS: list[ByNetlink] = [
    Route(ip_network("10.2.0.0/16"), RT_TABLE_MAIN, 0, LINK.key, None),
    Route(ip_network("fd00:2::/32"), 7763049, 77, LINK.key, ip_interface("fd00:1::1").ip),
    Route(ip_network("203.0.113.7/32"), 7763050, 0, NO_LINK, None, throws=True),
    Address(LINK.key, ip_interface("fd00:3::1/128")),
    Rule(4, 15003, FR_ACT_TO_TBL, 7763050, suppress=0),
    Rule(6, 15000, FR_ACT_GOTO, 15004, mark=0x77),
]


def by_pyroute2(message: Any) -> bytes:
    """What follows the header."""
    message["header"] = {"type": 24, "flags": 5, "sequence_number": 1}
    message.encode()
    return bytes(message.data)[HEADER_BYTES:]


@pytest.mark.parametrize("there", OBJECTS, ids=[f"{each.key}" for each in OBJECTS])
def test_a_plain_message_is_what_pyroute2_makes_of_it(there: ByNetlink) -> None:
    """To put the object, and to take it away."""
    place = Place(None, Applied(LINK, ifindex=7), LINK.name)  # type: ignore[arg-type]
    for message in (there.message(place), there.removal_message(place)):
        assert flat(message) == by_pyroute2(message)


def test_a_message_with_nested_attributes_is_pyroute2s() -> None:
    """As that of a link is."""
    message = ifinfmsg()
    message["attrs"] = [("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "vti")]})]
    assert flat(message) is None
