"""What an environment may say, and what is refused with the variable's name."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.events import environment
from vti_updown.event import EventError, Mark, parse
from vti_updown.text import Refusal


def refused(**changed):
    with pytest.raises(EventError) as caught:
        parse(environment(**changed))
    return caught.value.message


def test_a_recorded_environment_is_read_whole():
    """Each variable of a real event has its field."""
    event = parse(environment())
    assert (event.up, event.family, event.connection, event.unique_id) == (True, 4, "gw", 1)
    assert (str(event.me), str(event.peer), event.my_id, event.peer_id) == (
        "192.168.0.1",
        "192.168.0.2",
        "moon",
        "sun",
    )
    assert (str(event.my_selector.network), str(event.peer_selector.network)) == (
        "10.3.0.1/32",
        "0.0.0.0/0",
    )
    assert [str(ip) for ip in event.virtual_ips] == ["10.3.0.1", "fec3::1"]
    assert event.mark_in == event.mark_out == Mark(2, 0xFFFFFFFF)
    assert event.if_id_in is event.if_id_out is None


@pytest.mark.parametrize(
    ("verb", "up", "family"),
    [
        ("up-client", True, 4), ("up-client-v6", True, 6), ("up-host", True, 4), ("up-host-v6", True, 6),
        ("down-client", False, 4), ("down-client-v6", False, 6), ("down-host", False, 4), ("down-host-v6", False, 6),
    ],
)  # fmt: skip
def test_each_verb_says_which_way_and_which_family(verb, up, family):
    """All eight verbs are known."""
    event = parse(environment(verb))
    assert (event.up, event.family) == (up, family)


@pytest.mark.parametrize(
    "verb", ["", "up", "prepare-client", "up-client-v4", "UP-CLIENT", "up-client\n"]
)
def test_other_verbs_are_refused(verb):
    """A verb that charon does not have is an error."""
    assert "PLUTO_VERB" in refused(VERB=verb)


def test_all_virtual_ips_are_read():
    """The old variable counts only where the numbered ones are missing."""
    event = parse(environment(MY_SOURCEIP4_2="10.3.0.2", MY_SOURCEIP="10.9.9.9"))
    assert [str(ip) for ip in event.virtual_ips] == ["10.3.0.1", "10.3.0.2", "fec3::1"]
    event = parse(environment(MY_SOURCEIP4_1=None, MY_SOURCEIP6_1=None, MY_SOURCEIP="10.9.9.9"))
    assert [str(ip) for ip in event.virtual_ips] == ["10.9.9.9"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ME", "192.168.0.1%eth0"), ("ME", "fe80::1%eth0\nFAKE: x"), ("ME", "192.168.0.256"), ("ME", "١٩٢.168.0.1"), ("ME", "3232235521"),
        ("PEER", "%any"), ("PEER", "sun"), ("PEER", "192.168.0.2 "), ("UNIQUEID", "1_0"), ("UNIQUEID", " 7 "), ("UNIQUEID", "-1"),
        ("UNIQUEID", "٧"), ("UNIQUEID", "4294967296"), ("MARK_IN", "2/"), ("MARK_IN", "2/0x1ffffffff"), ("MARK_IN", "0x2"),
        ("MARK_OUT", "2/0xzz"), ("MARK_OUT", "4294967296/0xffffffff"), ("IF_ID_IN", "-5"), ("IF_ID_OUT", "4294967296"),
        ("MY_CLIENT", "10.3.0.1"), ("MY_CLIENT", "10.3.0.1/24"), ("MY_CLIENT", "10.3.0.1/33"), ("PEER_CLIENT", "fe80::%1/64"),
        ("PEER_CLIENT", "10.0.0.0/255.0.0.0"), ("MY_PORT", "65536"), ("MY_PORT", "1:"), ("MY_PROTOCOL", "x"),
        ("MY_SOURCEIP4_1", "10.3.0.1/32"), ("UNIQUEID", "00000000001"), ("PEER_CLIENT", "10.2.0.0/0016"), ("PEER_PORT", "1:65536"),
        ("MARK_IN", "2/ffffffff"), ("MARK_IN", "2/0x"), ("MARK_IN", "2/0x٢"), ("MARK_IN", "2/0xf_f"), ("MARK_IN", "2/0x0f0000000"),
    ],
)  # fmt: skip
def test_what_charon_would_not_write_is_refused_by_name(name, value):
    """The error names the variable, its value and what it should be."""
    message = refused(**{name: value})
    assert message.startswith(f"PLUTO_{name}=")
    assert message.isprintable()


@pytest.mark.parametrize(
    "name", ["VERB", "CONNECTION", "UNIQUEID", "ME", "PEER", "MY_CLIENT", "PEER_CLIENT"]
)
def test_what_an_up_cannot_do_without_is_asked_for_by_name(name):
    """A missing variable is named."""
    assert refused(**{name: None}) == f"PLUTO_{name} is not set"


def test_a_down_needs_no_endpoints():
    """charon may know none any more."""
    event = parse(environment("down-client", ME=None, PEER="%any"))
    assert event.me is event.peer is None


@pytest.mark.parametrize(
    ("text", "told"),
    [("80", "80"), ("1024:65535", "1024:65535"), ("65535:0", "65535:0"), ("0", "0")],
)
def test_ports_are_kept_as_charon_writes_them(text, told):
    """They identify a selector and are never computed with."""
    assert parse(environment(PEER_PORT=text)).peer_selector.port == told


def test_a_mapped_address_is_the_ipv4_address():
    """::ffff:192.0.2.1 means 192.0.2.1."""
    assert parse(environment(ME="::ffff:192.168.0.1")).me == ipaddress.ip_address("192.168.0.1")


def test_an_endpoints_own_address_is_the_host_itself():
    """MOBIKE may change it, and its family, before the down."""
    event = parse(environment("up-host", MY_CLIENT="192.168.0.1/32"))
    assert event.my_selector.seen_from(event.me) == "host"
    event = parse(
        environment(
            "down-host-v6",
            MY_CLIENT="fec0::1/128",
            PEER_CLIENT="fec0::2/128",
            ME="fec0::1",
            PEER="fec0::2",
        )
    )
    assert event.my_selector.seen_from(event.me) == "host"
    assert event.peer_selector.seen_from(event.peer) == "host"


@given(
    st.dictionaries(
        st.sampled_from(sorted(environment())), st.text(min_size=0, max_size=40), max_size=4
    )
)
def test_any_value_gives_an_event_or_one_printable_line(changed):
    """Whatever a peer sends, nothing else comes out."""
    try:
        parse(environment() | changed)
    except Refusal as refusal:
        assert refusal.message.isprintable() and refusal.hint.isprintable()
        assert refusal.message.startswith("PLUTO_") or refusal.message.startswith(
            "unknown PLUTO_VERB"
        )


@given(st.binary(min_size=1, max_size=60))
def test_bytes_that_are_no_text_are_escaped(raw):
    """The line in the log stays readable."""
    value = raw.replace(b"\0", b"").decode("utf-8", "surrogateescape")
    with pytest.raises(EventError) as caught:
        parse(environment(ME=value + "x"))
    assert caught.value.message.isprintable()
    caught.value.message.encode("utf-8")


def test_a_variable_that_is_too_long_is_refused():
    """charon's own are far shorter."""
    assert refused(PEER_ID="x" * 5000) == "PLUTO_PEER_ID is longer than 4096 bytes"


def test_a_variable_of_the_greatest_length_is_read():
    """One byte more is refused."""
    assert parse(environment(PEER_ID="x" * 4096)).peer_id == "x" * 4096
    assert refused(PEER_ID="x" * 4097) == "PLUTO_PEER_ID is longer than 4096 bytes"


def test_the_greatest_numbers_are_read():
    """All that 32 bits hold."""
    most = "4294967295"
    event = parse(environment(UNIQUEID=most, IF_ID_IN=most, MARK_IN=f"{most}/0xffffffff"))
    assert event.unique_id == event.if_id_in == 0xFFFFFFFF
    assert event.mark_in == Mark(0xFFFFFFFF, 0xFFFFFFFF)


def test_an_if_id_of_zero_is_none():
    """charon takes it so, too."""
    event = parse(environment(IF_ID_IN="0", IF_ID_OUT="0"))
    assert event.if_id_in is event.if_id_out is None


def test_a_mark_is_written_with_its_mask_unless_that_is_whole():
    """Marks that differ only in their masks are two."""
    assert str(Mark(2, 0xFFFFFFFF)) == "2"
    assert str(Mark(2, 0xFF)) == "2/0xff"
    assert parse(environment(MARK_IN="2/0xFF")).mark_in == Mark(2, 0xFF)
    assert parse(environment(MARK_IN="2")).mark_in == Mark(2, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("mine", "its"), [("10.3.0.1/32", "fd00:2::/32"), ("fec3::1/128", "10.2.0.0/16")]
)
def test_selectors_of_two_families_are_refused(mine, its):
    """No policy of the kernel's can have them."""
    message = refused(MY_CLIENT=mine, PEER_CLIENT=its)
    assert message == f"PLUTO_MY_CLIENT and PLUTO_PEER_CLIENT={its} are not of one family"


@pytest.mark.parametrize(
    ("protocol", "port", "told"),
    [
        ("0", "0", "10.2.0.0/16"),
        ("1", "0", "10.2.0.0/16[1/0]"),
        ("1", "8", "10.2.0.0/16[1/8]"),
        ("0", "500", "10.2.0.0/16[0/500]"),
    ],
)
def test_a_selector_is_told_with_what_limits_it(protocol, port, told):
    """A protocol or a port limits it, and either is enough."""
    event = parse(environment(PEER_CLIENT="10.2.0.0/16", PEER_PROTOCOL=protocol, PEER_PORT=port))
    assert event.peer_selector.seen_from(event.peer) == told
    assert event.peer_selector.limited is (told != "10.2.0.0/16")


@pytest.mark.parametrize("net", ["192.168.0.1/32", "192.168.0.3/32", "192.168.0.2/31"])
def test_a_selector_of_another_address_is_not_the_host(net):
    """Nor is a subnet that begins with the host's own."""
    event = parse(environment(PEER_CLIENT=net))
    assert event.peer_selector.seen_from(event.peer) == net
    assert event.peer_selector.seen_from(None) == net


def test_a_long_value_is_shown_in_part():
    """What it should have been is on the line, too."""
    assert refused(ME="x" * 31) == f"PLUTO_ME={'x' * 29}… is not an IP address"
    assert refused(ME="x" * 30) == f"PLUTO_ME={'x' * 30} is not an IP address"
