"""The flags of the updown line."""

import ipaddress

import pytest

from events import environment
from vti_updown.event import parse
from vti_updown.settings import FLAGS, Settings, SettingsError, WantedRoute, flags, link_name, settings_for

EVENT = parse(environment("up-client"))
NET = ipaddress.ip_network("10.2.0.0/16")
NET6 = ipaddress.ip_network("fd00:2::/32")


def settings(*words):
    return settings_for(flags(words), EVENT)


def test_no_flags_are_the_defaults():
    assert settings() == Settings()


def test_flags_are_read_in_both_spellings():
    assert settings("--route", "10.2.0.0/16", "--route=fd00:2::/32", "--name=vpn{uniqueid}") == Settings(
        routes=(WantedRoute(NET), WantedRoute(NET6)), name="vpn{uniqueid}"
    )


def test_no_routes_is_an_empty_list():
    assert settings("--no-routes").routes == ()


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--rout", "10.2.0.0/16"], "unknown flag --rout", "see vti-updown --help"),
        (["10.2.0.0/16"], "unknown flag 10.2.0.0/16", "see vti-updown --help"),
        (["--route"], "--route has no value", "write --route NET"),
        (["--route="], "--route has no value", "write --route NET"),
        (["--route", "10.2.0.1/16"], "--route 10.2.0.1/16 is not a subnet such as 10.2.0.0/16", "write NET/PREFIX with no host bits set"),
        (["--route", "office"], "--route office is not a subnet such as 10.2.0.0/16", "write NET/PREFIX with no host bits set"),
        (["--route", "10.2.0.0/16", "--no-routes"], "--route and --no-routes exclude each other", "leave one of them out"),
        (["--no-routes=yes"], "--no-routes takes no value", "write --no-routes alone"),
        (["--name", "a", "--name", "b"], "--name is given twice", "leave one out"),
        (["--name", "a/b"], "--name a/b has '/' in it, which no link name may have", "use letters, digits, - and _"),
        (["--name", "vpn{peer_id}"], "--name vpn{peer_id}: unknown {peer_id}",
         "known are {connection} {uniqueid} {mark} {peer}"),
        (["--name", "vpn{mark"], "--name vpn{mark has a brace without its pair", "write {uniqueid}, say"),
        (["--name", "vpn}"], "--name vpn} has a brace without its pair", "write {uniqueid}, say"),
        (["--\x1b[31m"], "unknown flag --\\x1b[31m", "see vti-updown --help"),
    ],
)  # fmt: skip
def test_a_wrong_flag_says_what_is_wrong_and_what_would_be_right(words, message, hint):
    with pytest.raises(SettingsError) as caught:
        settings(*words)
    assert (caught.value.message, caught.value.hint) == (message, hint)


VALUES = {"connection": "gw", "uniqueid": "7", "mark": "2", "peer": "192.168.0.2"}


def test_a_template_is_filled_in():
    assert link_name("{connection}-{mark}x{uniqueid}", VALUES) == "gw-2x7"


@pytest.mark.parametrize(
    ("template", "connection", "fault"),
    [
        ("{connection}", "a-connection-of-16", "is longer than 15 bytes"),
        ("{connection}", "a b", "has ' ' in it, which no link name may have"),
        ("{connection}", "../x", "has '/' in it, which no link name may have"),
        ("{connection}", "vpn%d", "has '%' in it, which no link name may have"),
        ("{connection}", "büro", "has 'ü' in it, which no link name may have"),
        ("{connection}", "..", "is no name"),
        ("{connection}{connection}", "", "is empty"),
    ],
)
def test_a_name_that_the_kernel_would_not_take_is_refused(template, connection, fault):
    with pytest.raises(SettingsError) as caught:
        link_name(template, VALUES | {"connection": connection})
    assert caught.value.message.endswith(fault)


def test_every_flag_has_a_help():
    assert all(flag.help.endswith(".") for flag in FLAGS)
