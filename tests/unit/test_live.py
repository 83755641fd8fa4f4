"""The events that charon's live SAs stand for."""

import pytest

from vti_updown.admin.live import environments_of, selector
from vti_updown.event import parse
from vti_updown.text import Refusal
from vti_updown.vici.ask import Answer
from vti_updown.vici.charons import Charon
from vti_updown.vici.protocol import Message
from vti_updown.vici.sas import ike_sas

CHARON = Charon(7, "charon", "7@1", "1", ())
CHILD: Message = {
    "name": "gw",
    "uniqueid": "3",
    "reqid": "1",
    "state": "INSTALLED",
    "mode": "TUNNEL",
    "mark-in": "2a",
    "mark-mask-in": "ff",
    "mark-out": "2a",
    "local-ts": ["10.3.0.1/32", "fec3::1/128"],
    "remote-ts": ["0.0.0.0/0", "::/0"],
}
IKE_SA: Message = {
    "uniqueid": "5",
    "state": "ESTABLISHED",
    "local-host": "192.168.0.1",
    "remote-host": "192.168.0.2",
    "local-id": "moon",
    "remote-id": "sun",
    "remote-eap-id": "alice",
    "local-vips": ["10.3.0.1", "fec3::1", "10.3.0.7"],
}


def answer(child, **more):
    children: Message = {"gw-3": {**CHILD, **child}}
    sa: Message = {**IKE_SA, **more, "child-sas": children}
    sas = ike_sas({"moon-sun": sa})
    return Answer(CHARON, "", "5.9.8", [], [], sas, True, [], "", "")


def test_each_pair_of_one_family_is_an_event_as_the_hook_gets_it():
    """The variables are those of the table in charon's own words."""
    first, second = environments_of(answer({}), "gw", True)
    assert first == {
        "PLUTO_VERB": "up-client",
        "PLUTO_CONNECTION": "gw",
        "PLUTO_UNIQUEID": "5",
        "PLUTO_REQID": "1",
        "PLUTO_ME": "192.168.0.1",
        "PLUTO_PEER": "192.168.0.2",
        "PLUTO_MY_ID": "moon",
        "PLUTO_PEER_ID": "sun",
        "PLUTO_XAUTH_ID": "alice",
        "PLUTO_MARK_IN": "42/0xff",
        "PLUTO_MARK_OUT": "42/0xffffffff",
        "PLUTO_MY_SOURCEIP4_1": "10.3.0.1",
        "PLUTO_MY_SOURCEIP6_1": "fec3::1",
        "PLUTO_MY_SOURCEIP4_2": "10.3.0.7",
        "PLUTO_MY_CLIENT": "10.3.0.1/32",
        "PLUTO_MY_PROTOCOL": "0",
        "PLUTO_MY_PORT": "0",
        "PLUTO_PEER_CLIENT": "0.0.0.0/0",
        "PLUTO_PEER_PROTOCOL": "0",
        "PLUTO_PEER_PORT": "0",
    }
    assert second["PLUTO_VERB"] == "up-client-v6" and second["PLUTO_PEER_CLIENT"] == "::/0"
    assert parse(first).mark_in == (42, 255)


def test_an_endpoint_alone_is_a_host_and_a_down_is_one():
    """The verb says what the local selector is."""
    child = {"local-ts": ["192.168.0.1/32"], "remote-ts": ["10.2.0.0/16"], "if-id-in": "2a"}
    (told,) = environments_of(answer(child), "gw", False)
    assert told["PLUTO_VERB"] == "down-host" and told["PLUTO_IF_ID_IN"] == "42"


@pytest.mark.parametrize("child", [{"state": "REKEYED"}, {"name": "other"}, {"cpu": "1"}])
def test_what_is_not_live_or_has_no_hook_is_left_out(child):
    """A rekeyed one stays for some seconds, and an SA of one CPU has no hook."""
    assert list(environments_of(answer(child), "gw", True)) == []


def test_selectors_with_unlike_protocols_are_no_pair():
    """charon makes no policy of them."""
    child = {"local-ts": ["10.1.0.0/16[tcp]", "10.1.0.0/16"], "remote-ts": ["10.2.0.0/16[udp]"]}
    (told,) = environments_of(answer(child), "gw", True)
    assert told["PLUTO_MY_PROTOCOL"] == "0" and told["PLUTO_PEER_PROTOCOL"] == "17"


SELECTORS = [
    ("10.1.0.0/16", "10.1.0.0/16", 0, "0"),
    ("10.1.0.0/16[tcp/http]", "10.1.0.0/16", 6, "80"),
    ("10.1.0.0/16[udp/4000]", "10.1.0.0/16", 17, "4000"),
    ("10.1.0.0/16[tcp/1024-2048]", "10.1.0.0/16", 6, "1024:2048"),
    ("10.1.0.0/16[89]", "10.1.0.0/16", 89, "0"),
    ("fe80::/10[ipv6-icmp/135]", "fe80::/10", 58, "135"),
    ("10.1.0.3..10.1.0.9", "10.1.0.0/28", 0, "0"),
    ("10.1.0.0..10.1.0.255[tcp]", "10.1.0.0/24", 6, "0"),
]


@pytest.mark.parametrize(("text", "network", "protocol", "port"), SELECTORS)
def test_a_selector_is_read_as_charon_prints_it(text, network, protocol, port):
    """A range is rounded up, as charon does for the hook."""
    told = selector(text)
    assert (str(told.network), told.protocol, told.port) == (network, protocol, port)


@pytest.mark.parametrize(
    "text", ["dynamic", "10.1.0.0/16[nonsense]", "10.1.0.0/16[tcp/nothing-such]"]
)
def test_a_selector_that_cannot_be_read_is_told(text):
    """It is not taken for another one."""
    with pytest.raises(Refusal, match="cannot be read"):
        selector(text)
