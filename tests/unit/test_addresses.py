"""Addresses and networks, read more strictly than Python does it."""

from ipaddress import ip_network

import pytest

from vti_updown.addresses import address, address_in, is_number, network


@pytest.mark.parametrize(
    ("net", "first"),
    [
        ("10.1.0.0/24", "10.1.0.1"),
        ("10.1.0.0/30", "10.1.0.1"),
        ("10.1.0.0/31", "10.1.0.0"),
        ("10.1.0.7/32", "10.1.0.7"),
        ("fd00:1::/64", "fd00:1::1"),
        ("fd00:1::7/128", "fd00:1::7"),
    ],
)
def test_a_host_has_the_first_address_that_is_not_the_networks(net, first):
    """A network of one or two addresses has none that names it (RFC 3021)."""
    assert str(address_in(ip_network(net))) == first


@pytest.mark.parametrize("text", ["", "1_0", "+1", " 1", "٧", "1234"])
def test_a_number_is_some_ascii_digits_only(text):
    """And no more of them than may be."""
    assert is_number("123", 3)
    assert not is_number(text, 3)


@pytest.mark.parametrize(
    "text", ["fe80::1%eth0", "fe80::1%", "١٩٢.0.2.1", "192.0.2.1/32", "192.0.2", "3232235521", ""]
)
def test_what_is_not_one_plain_address_is_refused(text):
    """A scope ID may hold anything, even a new line."""
    with pytest.raises(ValueError, match="an IP address"):
        address(text)


@pytest.mark.parametrize(
    "text",
    [
        "10.2.0.0",
        "10.2.0.0/",
        "10.2.0.1/16",
        "10.2.0.0/0016",
        "10.2.0.0/255.255.0.0",
        "10.2.0.0/33",
        "١٠.2.0.0/16",
        "fe80::%1/64",
        "fd00::/129",
    ],
)
def test_what_is_not_a_plain_subnet_is_refused(text):
    """Its prefix is a number, and the bits behind it are zero."""
    with pytest.raises(ValueError, match="a subnet such as"):
        network(text)


def test_a_subnet_of_either_family_is_read():
    """Up to one address alone."""
    for text in ("0.0.0.0/0", "10.2.0.0/16", "10.2.0.1/32", "::/0", "fd00:2::1/128"):
        assert str(network(text)) == text
