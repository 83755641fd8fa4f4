"""What is asked of the kernel, as rtnetlink messages."""

from ipaddress import ip_interface

import pytest

from vti_updown import messages
from vti_updown.state import Address


@pytest.mark.parametrize(("own", "label"), [("10.3.0.1/32", "vti1"), ("fec3::1/128", None)])
def test_an_ipv4_address_has_the_links_name_as_its_label_as_ip_addr_add_gives_it(own, label):
    noun = Address("vti 192.168.0.1 192.168.0.2", ip_interface(own))
    assert dict(messages.labelled(noun, 7, "vti1")["attrs"]).get("IFA_LABEL") == label
    assert "IFA_LABEL" not in dict(messages.address(noun, 7)["attrs"])
