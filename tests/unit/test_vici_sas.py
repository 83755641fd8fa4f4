"""What charon says of SAs and connections, as types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vti_updown.vici.protocol import Message
from vti_updown.vici.sas import ChildSa, connections, ike_sas

from .test_vici_protocol import MESSAGES

CHILD: Message = {
    "name": "net",
    "uniqueid": "12",
    "reqid": "3",
    "state": "INSTALLED",
    "mode": "TUNNEL",
    "protocol": "ESP",
    "encap": "yes",
    "spi-in": "c0ffee01",
    "spi-out": "00000abc",
    "mark-in": "00000002",
    "mark-out": "0000000a",
    "mark-mask-out": "000000ff",
    "if-id-in": "0000002a",
    "if-id-out": "0000002b",
    "encr-alg": "AES_GCM_16",
    "bytes-in": "18446744073709551615",
    "packets-in": "5",
    "use-in": "7",
    "bytes-out": "0",
    "packets-out": "0",
    "rekey-time": "-3",
    "life-time": "3600",
    "install-time": "100",
    "local-ts": ["10.1.0.0/16[tcp/http]"],
    "remote-ts": ["10.2.0.0..10.2.0.9", "fd00:2::/32"],
}
IKE: Message = {
    "uniqueid": "7",
    "version": "2",
    "state": "ESTABLISHED",
    "local-host": "192.0.2.1",
    "local-port": "4500",
    "local-id": "CN=moon, O=Ünique",
    "remote-host": "fe80::1%eth0",
    "remote-port": "4500",
    "remote-id": "sun",
    "remote-eap-id": "alice",
    "initiator": "yes",
    "established": "60",
    "rekey-time": "13000",
    "reauth-time": "9000",
    "local-vips": ["10.3.0.1", "fd00:3::1"],
    "tasks-queued": ["CHILD_REKEY"],
    "tasks-active": ["IKE_REKEY", "IKE_MOBIKE"],
    "child-sas": {"net-12": CHILD},
}


def test_an_ike_sa_is_read() -> None:
    """Field by field."""
    (sa,) = ike_sas({"up": "yes", "gw": IKE})
    (child,) = sa.children
    assert sa._replace(children=[])._asdict() == {
        "name": "gw",
        "unique_id": 7,
        "version": 2,
        "state": "ESTABLISHED",
        "local_host": "192.0.2.1",
        "local_port": 4500,
        "remote_host": "fe80::1%eth0",
        "remote_port": 4500,
        "local_id": "CN=moon, O=Ünique",
        "remote_id": "sun",
        "remote_xauth_or_eap_id": "alice",
        "local_vips": ["10.3.0.1", "fd00:3::1"],
        "remote_vips": [],
        "established": 60,
        "rekey_in": 13000,
        "reauth_in": 9000,
        "tasks": ["IKE_REKEY", "IKE_MOBIKE", "CHILD_REKEY"],
        "children": [],
    }
    assert child._asdict() == {
        "name": "net",
        "unique_id": 12,
        "reqid": 3,
        "state": "INSTALLED",
        "mode": "TUNNEL",
        "protocol": "ESP",
        "encap": True,
        "spi_in": 0xC0FFEE01,
        "spi_out": 0xABC,
        "mark_in": (2, 0xFFFFFFFF),
        "mark_out": (10, 0xFF),
        "if_id_in": 42,
        "if_id_out": 43,
        "bytes_in": 2**64 - 1,
        "bytes_out": 0,
        "packets_in": 5,
        "packets_out": 0,
        "last_in": 7,
        "last_out": None,
        "installed": 100,
        "rekey_in": -3,
        "life_time": 3600,
        "local_ts": ["10.1.0.0/16[tcp/http]"],
        "remote_ts": ["10.2.0.0..10.2.0.9", "fd00:2::/32"],
        "cpu": None,
    }


def child_of(child: Message) -> ChildSa:
    (sa,) = ike_sas({"gw": {"child-sas": {"net-1": child}}})
    return sa.children[0]


@pytest.mark.parametrize(
    "state, is_live",
    [
        ("INSTALLED", True),
        ("REKEYING", True),
        ("REKEYED", False),
        ("DELETING", False),
        ("DELETED", False),
        ("INSTALLING", False),
        ("", False),
    ],
)
def test_a_child_sa_lives_in_two_states(state: str, is_live: bool) -> None:
    """A rekeyed one stays for some seconds, and carries nothing of ours."""
    assert child_of({"state": state}).is_live is is_live


def test_what_strongswan_6_tells_beyond_is_ignored_or_read() -> None:
    """`cpu`, and additional key exchanges (vici_query.c, list_child_ipsec, list_ake)."""
    child = child_of({**CHILD, "per-cpu-sas": "yes", "cpu": "0", "ake1": "MLKEM_768"})
    assert child._replace(cpu=None) == child_of(CHILD) and child.cpu == 0
    (sa,) = ike_sas({"gw": {**IKE, "ake1": "MLKEM_768", "ppk": "yes"}})
    assert (sa,) == tuple(ike_sas({"gw": IKE}))


def test_an_ike_sa_that_is_being_made_has_little() -> None:
    """CONNECTING, with neither times nor children. A zero mark with a mask is one."""
    (sa,) = ike_sas({"gw": {"uniqueid": "1", "state": "CONNECTING", "child-sas": {}}})
    assert (sa.established, sa.rekey_in, sa.children, sa.tasks) == (None, None, [], [])
    child = child_of({"state": "CREATED", "mark-in": "00000000", "mark-mask-in": "0000ffff"})
    assert (child.name, child.mark_in, child.mark_out) == ("net-1", (0, 0xFFFF), None)


def test_two_sas_of_one_name_are_two_messages() -> None:
    """IKEv1 has XAuth where IKEv2 has EAP."""
    (first,) = ike_sas({"gw": {"version": "1", "remote-xauth-id": "bob"}})
    (second,) = ike_sas({"gw": {"version": "2", "remote-eap-id": "alice"}})
    assert (first.remote_xauth_or_eap_id, second.remote_xauth_or_eap_id) == ("bob", "alice")


@pytest.mark.parametrize("number", ["", "-", "+1", "1_0", " 7", "٣", "1.5", "0x1", "9" * 21, "--1"])
def test_a_number_that_is_none_is_not_told(number: str) -> None:
    """Python's own int() would take some of them."""
    assert child_of({"uniqueid": number}).unique_id is None


@pytest.mark.parametrize("number", ["", "-1", "0x1", "1_0", " 7", "g", "f" * 21, "٣"])
def test_a_hexadecimal_number_that_is_none_is_not_told(number: str) -> None:
    """And neither is a mark with such a value."""
    child = child_of({"spi-in": number, "mark-in": number})
    assert (child.spi_in, child.mark_in) == (None, None)


CONNECTION: Message = {
    "local_addrs": ["%any"],
    "remote_addrs": ["192.0.2.2", "peer.example"],
    "version": "IKEv2",
    "local-1": {"class": "public key", "id": "moon", "groups": []},
    "remote-1": {"class": "public key", "id": "sun", "certs": []},
    "remote-2": {"class": "EAP", "id": "%any"},
    "remote-3": {"class": "EAP"},
    "children": {
        "net": {
            "mode": "TUNNEL",
            "dpd_action": "restart",
            "close_action": "none",
            "local-ts": ["dynamic"],
            "remote-ts": ["0.0.0.0/0", "::/0"],
        },
        "bare": {},
    },
}


def test_a_connection_is_read() -> None:
    """With the identities of each round of authentication."""
    (found,) = connections({"gw": CONNECTION})
    net, bare = found.children
    assert found._replace(children=[])._asdict() == {
        "name": "gw",
        "version": "IKEv2",
        "local_addrs": ["%any"],
        "remote_addrs": ["192.0.2.2", "peer.example"],
        "local_ids": ["moon"],
        "remote_ids": ["sun", "%any"],
        "children": [],
    }
    assert net._asdict() == {
        "name": "net",
        "mode": "TUNNEL",
        "local_ts": ["dynamic"],
        "remote_ts": ["0.0.0.0/0", "::/0"],
        "dpd_action": "restart",
        "close_action": "none",
    }
    assert bare._asdict() == {
        "name": "bare",
        "mode": "",
        "local_ts": [],
        "remote_ts": [],
        "dpd_action": None,
        "close_action": None,
    }


KEYS = st.sampled_from([*IKE, *CHILD, *CONNECTION, "gw"])
ODD = st.recursive(
    st.one_of(st.text(max_size=5), st.lists(st.text(max_size=5), max_size=2)),
    lambda inner: st.dictionaries(KEYS, inner, max_size=6),
)


@given(st.one_of(MESSAGES, st.dictionaries(KEYS, ODD)))
def test_whatever_a_message_holds_is_read(message: Message) -> None:
    """What is of another kind than it should be is as if it were not there."""
    sections = [name for name, value in message.items() if isinstance(value, dict)]
    assert [sa.name for sa in ike_sas(message)] == sections
    assert [connection.name for connection in connections(message)] == sections
