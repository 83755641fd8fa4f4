"""`vti-updown explain`: the reasons of what an event would do.

That every step of every story has a reason, and the commands of `--dry-run`, is seen by the stage
itself: see `Story.event`.
"""

import io
import json
import os
import sys
import textwrap
from pathlib import Path

import pytest

from support.events import environment
from vti_updown.admin.charon_files import ConfiguredChild
from vti_updown.admin.live import Live

from .story import (
    FILE,
    NO_MARK,
    OVER_IPV6,
    PLUTO_MARK,
    SITE,
    SITE6,
    XFRM,
    Changes,
    Story,
    told,
)

PAGE = Path(__file__).parent.parent.parent / "docs/explain.md"
EVERYTHING: Changes = {**SITE, "MY_CLIENT": "0.0.0.0/0", "PEER_CLIENT": "0.0.0.0/0"}


def explained(story: Story, changed: Changes, *flags: str, verb: str = "up-client") -> str:
    """What is printed of an event that a person gives."""
    environ = environment(verb, **changed)
    return story.command("explain", "--config", FILE, *flags, environ=environ)


def reasons(story: Story, changed: Changes, *flags: str, verb: str = "up-client") -> dict[str, str]:
    """The reasons of each object, in one text, by what is done with which object."""
    environ = environment(verb, **changed)
    words = ["explain", "--json", "--config", FILE, *flags]
    document, _, _ = story.command(*words, environ=environ).partition("\nexit status: ")
    (event,) = json.loads(document)["events"]
    items = event["steps"] + event["without_step"]
    return {f"{item['doing']} {item['what']}": "; ".join(item["reasons"]) for item in items}


def test_each_step_has_its_reasons_and_its_command(story: Story) -> None:
    """A person reads what is done, why, and what to paste."""
    story.settings("""
        [connection.gw]
        mtu = 1400
    """)
    assert explained(story, SITE) == told("""
        From the environment.

        up-client of gw: 10.1.0.0/16 === 10.2.0.0/16, unique ID 1
          mtu = 1400 (vti-updown.toml [connection.gw])

        1. make link vti1
           - name not set: the first of its names that is free
           - kind not set: with a mark and IPv4 endpoints it is a vti
           - local not set: the IKE_SA's endpoint 192.168.0.1
           - remote not set: the IKE_SA's endpoint 192.168.0.2
           - the mark is the CHILD_SA's
           - mtu = 1400 ([connection.gw])
           ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2 okey 2 ikey 2
           ip link set vti1 up mtu 1400 alias 'vti-updown gw'

        2. make sysctl ipv4 disable_policy of vti1
           - its packets have passed a policy already, and are not to meet one again
           sysctl -w net.ipv4.conf.vti1.disable_policy=1

        3. make route 10.2.0.0/16 by vti1
           - routes not set: the peer's traffic selector 10.2.0.0/16
           ip route add 10.2.0.0/16 dev vti1 proto 50

        No step for:
        - not now: throw route 192.168.0.2/32 in table 7763050
          - it comes only with what nobody wishes for: rule 4 pref 15003 iif lo lookup
            7763050

        Not done, and what to know:
        - not a source of the routes: this host has no address within the local selector
          10.1.0.0/16
    """)


PLACES = [
    ("", "", "mtu not set: a path of 1500 bytes to 192.168.0.2 leaves 1406 beside ESP"),
    ("[default]\nmtu = 1300", "", "mtu = 1300 ([default])"),
    ("[default]\nmtu = 1300\n[connection.gw]\nmtu = 1400", "", "mtu = 1400 ([connection.gw])"),
    ("[default]\nmtu = 1300\n[connection.'g*']\nmtu = 1400", "", 'mtu = 1400 ([connection."g*"])'),
    ("[connection.gw]\nmtu = 1400", "--mtu=1350", "--mtu 1350"),
]


@pytest.mark.parametrize(("file", "flag", "reason"), PLACES, ids=[case[2] for case in PLACES])
def test_a_setting_tells_where_it_is_from(story: Story, file: str, flag: str, reason: str) -> None:
    """Another place of the same setting is another reason."""
    story.settings(file)
    why = reasons(story, SITE, *filter(None, [flag]))["make link vti1"]
    assert reason in why.split("; ")


LINKS: list[tuple[str, Changes, str, str]] = [
    ("", XFRM, "link xfrm42", "kind not set: with an if_id it is an XFRM interface"),
    ("", XFRM, "link xfrm42", "the if_id is the CHILD_SA's"),
    ("", OVER_IPV6, "link vti1", "with a mark and IPv6 endpoints it is a vti6"),
    ("kind = 'xfrm'\nif_id = 7", NO_MARK, "link xfrm7", 'kind = "xfrm" ([connection.gw])'),
    ("if_id = 7", NO_MARK, "link xfrm7", "if_id = 7 ([connection.gw]): no CHILD_SA says another"),
    ("mark = 7", NO_MARK, "link vti1", "mark = 7 ([connection.gw]): no CHILD_SA says another"),
    ("remote = 'any'", {}, "link vti1", 'remote = "any" ([connection.gw])'),
    ("name = 'office'", {}, "link office", 'name = "office" ([connection.gw])'),
    ("device = 'eth0'", {}, "link vti1", 'device = "eth0" ([connection.gw])'),
    ("multicast = true", {}, "link vti1", "multicast = true ([connection.gw])"),
    ("sysctl = {'ipv4.rp_filter' = 2}", {}, "sysctl ipv4 rp_filter of vti1", "sysctl = {"),
    ("address = '10.9.0.1'", {}, "address 10.9.0.1/32 of vti1", 'address = "10.9.0.1" ('),
    ("link_local = 'fe80::1/64'", {}, "address fe80::1/64 of vti1", "link_local = "),
    ("metric = 7", {}, "route 10.2.0.0/16 by vti1", "metric = 7 ([connection.gw]): the route has"),
    ("table = 7", {}, "route 10.2.0.0/16 by vti1 in table 7", "table = 7 ([connection.gw])"),
    ("mss = 'path'", {}, "the MSS clamp of vti1", "which the path allows"),
    ("mss = 'path'\nmtu = 1400", {}, "the MSS clamp of vti1", "mtu = 1400 ([connection.gw])"),
    ("mss = 1300", {}, "the MSS clamp of vti1", "mss = 1300 ([connection.gw])"),
    ("when_down = 'keep'", {}, "link vti1", "it stands while no CHILD_SA does"),
    (
        "when_down = 'block'",
        {},
        "unreachable route 10.2.0.0/16",
        "no packet goes another way while the route is not there",
    ),
]


@pytest.mark.parametrize(("file", "changed", "what", "reason"), LINKS, ids=[r[3] for r in LINKS])
def test_each_rule_is_told_where_it_was_followed(
    story: Story, file: str, changed: Changes, what: str, reason: str
) -> None:
    """The reason is at the object that it made so."""
    story.settings(f"[connection.gw]\n{file}")
    assert reason in reasons(story, {**SITE, **changed})[f"make {what}"]


def test_two_if_ids_are_two_links_with_a_loose_filter(story: Story) -> None:
    """Packets come in by the one, and leave by the other."""
    why = reasons(story, {**SITE, **XFRM, "IF_ID_IN": 43})
    assert "the way back is by the other" in why["make sysctl ipv4 rp_filter of xfrm43"]


def test_a_virtual_ip_is_the_source_of_routes(story: Story) -> None:
    """The peer gave it, and the route prefers it."""
    why = reasons(story, {"PEER_CLIENT": "10.2.0.0/16"})
    assert why["make address 10.3.0.1/32 of vti1"] == (
        "address not set: a virtual IP that the peer gave"
    )
    assert "the virtual IP 10.3.0.1 is its source" in why["make route 10.2.0.0/16 by vti1"]


def test_the_hosts_own_address_is_the_source_of_routes(story: Story) -> None:
    """It is within the local selector."""
    story.host.addresses.append("10.1.0.1")
    why = reasons(story, SITE)["make route 10.2.0.0/16 by vti1"]
    assert "its source 10.1.0.1 is this host's address within the local selector" in why


def test_a_full_tunnel_explains_its_tables_and_rules(story: Story) -> None:
    """ESP and charon's own packets stay outside."""
    story.settings("[connection.gw]\nroutes = ['0.0.0.0/0']")
    text = explained(story, EVERYTHING)
    for reason in (
        "full_table not set: a full tunnel's table for what this host forwards",
        "full_priority not set: beside a full tunnel, ESP goes its own way",
        "ike_ports not set: beside a full tunnel, what charon sends goes its own way",
        "beside a full tunnel, what the main table knows better goes there",
        "full_table not set: what else this host sends goes into the full tunnel",
        "what stays outside the full tunnel goes on from here",
        "a full tunnel of any connection would swallow this peer's ESP, too",
    ):
        assert reason in text


def test_what_is_not_done_is_told_with_what_to_write(story: Story) -> None:
    """No route is made of a selector of everything."""
    text = explained(story, EVERYTHING)
    assert text.endswith(
        told("""
        Not done, and what to know:
        - no route made, as the selector 0.0.0.0/0 is everything; add --route NET, or
          --no-routes
    """)
    )


def test_what_is_of_the_other_family_is_told_as_left_out(story: Story) -> None:
    """Its pair of selectors has an event of its own."""
    story.settings("[connection.gw]\nroutes = ['fd00:2::/32']\naddress = 'fd00:1::1/64'")
    text = explained(story, SITE)
    other = "this event is of the other family, which has an event of its own"
    left_out = f"- not fd00:1::1/64: {other} - not fd00:2::/32: {other}"
    assert " ".join(text.split()).endswith(left_out)


def test_routes_without_a_source_say_why(story: Story) -> None:
    """This host has no address within the local selector."""
    text = explained(story, SITE)
    assert "not a source of the routes: this host has no address within the local" in text


def test_a_tunnel_that_is_up_is_explained_as_it_is(story: Story) -> None:
    """Nothing is to be changed: why it stands, and who has it."""
    story.up(**SITE)
    text = explained(story, {**SITE, "UNIQUEID": 9})
    assert "Nothing to change." in text
    assert "- as it is: route 10.2.0.0/16 by vti1" in text
    assert "gw (since 2026-07-01T12:00:00Z) wishes for it as well" in text
    assert "- gw has it on vti1 since 2026-07-01T12:00:00Z" in text


def test_a_down_tells_what_goes_and_what_goes_along(story: Story) -> None:
    """The link has a command, and its route needs none."""
    story.up(**SITE)
    why = reasons(story, SITE, verb="down-client")
    assert why == {
        "take away link vti1": "nobody wishes for it any more;"
        " this down-client ends the last reference that wished for it",
        "gone: sysctl ipv4 disable_policy of vti1": "it goes along with its link",
        "gone: route 10.2.0.0/16 by vti1": "it goes along with its link",
    }


def test_a_down_tells_who_keeps_what_stays(story: Story) -> None:
    """Another connection with the same peer holds the link."""
    story.up(**SITE)
    story.up(**{**SITE, "CONNECTION": "office", "UNIQUEID": 2, "PEER_CLIENT": "10.9.0.0/16"})
    why = reasons(story, SITE, verb="down-client")
    assert why["as it is: link vti1"].startswith("office (since 2026-07-01T12:00:00Z) wishes")
    assert why["as it is: link vti1"].endswith(", so it stays")
    assert why["take away route 10.2.0.0/16 by vti1"].startswith("nobody wishes for it any more")


def test_a_merged_value_tells_the_rule_and_whose_it_is(story: Story) -> None:
    """The smallest MTU that a path allows counts, and not the newest."""
    story.host.path_mtu = 1400
    story.up(**{**SITE, "CONNECTION": "office", "PEER_CLIENT": "10.9.0.0/16"})
    story.host.path_mtu = 1500
    why = reasons(story, SITE)["change link vti1"]
    assert (
        "mtu 1310 is what office (since 2026-07-01T12:00:00Z) wishes for, as this counts:"
        " the newest of the settings; without one, the smallest that a path allows"
    ) in why


def test_a_change_tells_the_field_that_changes(story: Story) -> None:
    """The newest setting counts."""
    story.up(**SITE)
    story.settings("[connection.gw]\nmtu = 1300")
    why = reasons(story, {**SITE, "UNIQUEID": 2})["change link vti1"]
    assert "it is there with other values: mtu 1406 becomes 1300" in why


def test_what_is_replaced_has_a_reason_to_go(story: Story) -> None:
    """An event by hand takes the place of one like it, with the routes that it had."""
    story.by_hand()
    story.line = "--route 10.8.0.0/16"
    story.up(**SITE)
    why = reasons(story, SITE)["take away route 10.8.0.0/16 by vti1"]
    assert "an older reference of this connection wished for it, and is replaced" in why


def test_what_a_dead_charon_left_has_a_reason_to_go(story: Story) -> None:
    """It calls no `down` for it."""
    story.up(**{**SITE, **PLUTO_MARK})
    story.restart_charon()
    why = reasons(story, SITE)["take away link vti2"]
    assert "it belonged to a charon that is gone, and calls no down for it" in why


def test_what_somebody_took_away_is_made_anew_with_a_reason(story: Story) -> None:
    """The link was deleted, and all on it is looked at."""
    story.up(**SITE)
    story.up(**{**SITE, **PLUTO_MARK, "PEER_CLIENT": "10.9.0.0/16"})
    story.lose_link("vti1")
    why = reasons(story, {**SITE, "UNIQUEID": 3})
    assert "nobody knows whether it is there" in why["make route 10.2.0.0/16 by vti1"]


def test_what_goes_along_with_an_address_is_put_back(story: Story) -> None:
    """The kernel takes the routes of a link along with its last address."""
    story.settings("[connection.gw]\naddress = '10.9.0.1'")
    story.up(**SITE)
    story.settings("")
    story.up(**{**SITE, "CONNECTION": "office", "UNIQUEID": 2, "PEER_CLIENT": "10.9.0.0/16"})
    why = reasons(story, SITE, verb="down-client")
    assert "along with an address" in why["put back route 10.9.0.0/16 by vti1"]


def test_a_link_that_moves_with_its_name_says_so(story: Story) -> None:
    """The gateway has a new address, and the settings chose the name."""
    story.settings("[connection.gw]\nname = 'office'")
    story.up(**SITE)
    why = reasons(story, {**SITE, "PEER": "192.168.0.9", "UNIQUEID": 2})
    assert (
        'name = "office" ([connection.gw]): our link of this name gets these endpoints, and stays'
    ) in why["change link office"]


def test_what_comes_with_anothers_full_tunnel_says_so(story: Story) -> None:
    """The peers of all tunnels are kept out of it."""
    story.settings("[connection.pluto]\nroutes = ['0.0.0.0/0']")
    story.up(**SITE)
    why = reasons(story, {**EVERYTHING, **PLUTO_MARK})
    thrown = why["make throw route 192.168.0.2/32 in table 7763050"]
    assert thrown.startswith("it comes and goes with another one of these; gw (since ")


def test_a_link_that_changes_its_vrf_loses_all_on_it(story: Story) -> None:
    """It is put back, and the reason is the VRF."""
    story.host.vrfs["blue"] = 10
    story.up(**SITE)
    story.settings("[connection.office]\nvrf = 'blue'\nroutes = ['10.9.0.0/16']")
    why = reasons(story, {**SITE, "CONNECTION": "office", "UNIQUEID": 2})
    assert why["put back route 10.2.0.0/16 by vti1"].startswith("its link changes the VRF")
    assert 'vrf = "blue" ([connection.office]): the route is in the VRF' in str(why)


def test_what_an_event_could_not_do_is_tried_again_with_a_reason(story: Story) -> None:
    """The next event looks at it, whatever it is about."""
    story.up(**SITE)
    story.host.refuses["ip link del"] = 16
    story.down(**SITE)
    story.host.refuses.clear()
    why = reasons(story, {**SITE, **PLUTO_MARK})["take away link vti1"]
    assert why.startswith("an earlier event could not do it, or died at it; nobody wishes for it")


def test_somebody_elses_link_is_used_and_told(story: Story) -> None:
    """It is never changed, so there is no command for it."""
    story.host.add_vti("mine", "192.168.0.1", "192.168.0.2", 2)
    why = reasons(story, SITE)
    assert why["leave alone link vti1"].startswith("mine is it already, which somebody else made")


def test_a_wrong_event_is_one_line(story: Story) -> None:
    """As for the hook."""
    assert explained(story, {**SITE, "PEER": "x"}) == told("""
        error: PLUTO_PEER=x is not an IP address; call the hook from charon, or correct it
        exit status: 2
    """)


def test_an_up_that_fails_says_so_and_what_blocks(story: Story) -> None:
    """What `when_down` blocks is explained before the error."""
    story.settings("[connection.gw]\nwhen_down = 'block'\nvrf = 'blue'\nroutes = ['10.2.0.0/16']")
    text = explained(story, SITE)
    assert text.endswith(
        "error: there is no VRF blue; make it: ip link add blue type vrf table NUMBER\n"
        "exit status: 2"
    )


def test_no_event_is_one_line_with_what_to_do(story: Story) -> None:
    """Neither an environment, nor a file, nor a name."""
    assert story.command("explain") == told("""
        error: the environment has no PLUTO_VERB, so there is no event
        error:   name a connection, give --event FILE, or set PLUTO_VERB and its like
        exit status: 2
    """)


def test_a_saved_event_is_read_from_standard_input(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its PLUTO_* count, and a value may have any character."""
    lines = [f"{name}={value}" for name, value in environment("up-client", **SITE).items()]
    saved = "\n".join(["HOME=/root", *lines, "PLUTO_MY_ID=C=DE, CN=m\u00f6on", "no variable"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(saved.encode())))
    text = story.command("explain", "--event", "-", environ={"PLUTO_VERB": "down-client"})
    assert text.startswith("From standard input.") and "up-client of gw: 10.1.0.0/16" in text


def test_a_saved_event_that_is_not_there_is_one_line(story: Story) -> None:
    """It says how one is saved."""
    assert story.command("explain", "--event", "nowhere.env") == told("""
        error: nowhere.env cannot be read: No such file or directory; save it by env >FILE in an up command
        exit status: 2
    """)


def test_two_sources_of_an_event_are_refused(story: Story) -> None:
    """It is either a connection's or a saved one."""
    assert story.command("explain", "gw", "--event", "a.env").startswith(
        "error: a connection and --event are two sources of one event; leave one of them out"
    )


# By a connection's name

STANDS = """
    [connection.office]
    mark = 7
    local = "192.168.0.1"
    remote = "192.168.0.9"
    routes = ["10.7.0.0/16", "fd00:7::/32"]
    peer_id = "office@example.org"
"""


def test_a_name_is_explained_by_its_settings_when_it_is_down(story: Story) -> None:
    """One event for each family of its routes, the second with what the first leaves to do."""
    story.settings(STANDS)
    text = story.command("explain", "office", "--config", FILE)
    assert text.startswith("From the settings, [connection.office].\n")
    assert "- no CHILD_SA of this name is up" in text
    assert "- strongSwan's files have no updown line of office; the flags" in text
    assert "- mark = 7 ([connection.office]): no CHILD_SA says another\n" in text
    assert "stands for" not in text, "it says why nothing is to be done, and something is"
    assert "ip route add 10.7.0.0/16 dev vti7 proto 50" in text
    assert "ip -6 route add fd00:7::/32 dev vti7 proto 50" in text
    assert text.count("ip link add vti7") == 1
    assert "- done already: link vti7\n  - the event before does it" in text


def test_a_live_name_is_explained_for_each_pair_of_selectors(story: Story) -> None:
    """charon tells the values that the hook gets, and its configuration the flags."""
    story.live = Live(
        [environment("up-client", **SITE), environment("up-client-v6", **SITE6)],
        "charon (PID 7)",
        [],
        ["charon (PID 8): it did not answer"],
    )
    where = "/etc/swanctl/swanctl.conf:6"
    hook = "/usr/local/sbin/vti-updown --metric 7"
    story.children = [ConfiguredChild("gw", where, updown=hook)]
    text = story.command("explain", "gw")
    assert text.startswith("From what charon (PID 7) tells of its live CHILD_SAs.\n")
    assert "- charon (PID 8): it did not answer" in text
    assert "- the flags are those of /etc/swanctl/swanctl.conf:6\n" in text
    assert "ip route add 10.2.0.0/16 dev vti1 proto 50 metric 7" in text
    assert "ip -6 route add fd00:2::/48 dev vti1 proto 50 metric 7" in text
    assert text.count("--metric 7: the route has none of its own") == 2
    assert "--mtu 1400" in story.command("explain", "gw", "--mtu", "1400")


def test_a_name_that_is_down_is_explained_by_its_last_event(story: Story) -> None:
    """The history keeps what charon told, for root."""
    story.up(**SITE)
    story.up6(**SITE6)
    story.down(**SITE)
    story.down6(**SITE6)
    text = story.command("explain", "gw")
    assert text.startswith("From the history, ")
    assert "- no CHILD_SA of this name is up: this is what was told the last time\n" in text
    assert "ip route add 10.2.0.0/16 dev vti1 proto 50" in text
    assert "ip -6 route add fd00:2::/48 dev vti1 proto 50" in text
    assert "down-client of gw: " in story.command("explain", "gw", "down")


def test_a_name_with_too_little_says_what_is_missing(story: Story) -> None:
    """A mark alone makes no VTI."""
    story.settings("[connection.office]\nmark = 7\nlocal = '192.168.0.1'")
    assert story.command("explain", "office", "--config", FILE) == told("""
        error: charon has no CHILD_SA office, and its settings lack remote
        error:   bring it up, or add what is missing to the settings
        exit status: 2
    """).replace("\nerror:   ", "; ")


def test_a_name_that_nobody_knows_says_so(story: Story) -> None:
    """Neither charon nor the settings."""
    text = story.command("explain", "nobody", "--config", FILE)
    assert "nothing is known of nobody: charon has no such CHILD_SA, and the settings have" in text
    assert text.endswith("exit status: 2")


def test_a_third_word_is_neither_up_nor_down(story: Story) -> None:
    """A connection's name is followed by a direction at most."""
    assert story.command("explain", "gw", "sideways").startswith(
        "error: sideways behind the connection's name is neither up nor down"
    )


# log = "commands"


def test_the_log_has_the_commands_that_an_event_stood_for(story: Story) -> None:
    """The setting of the `up` holds for its `down`, which reads no settings."""
    story.settings("[connection.gw]\nlog = 'commands'")
    said = [line for line in story.up(**SITE).splitlines() if line.startswith("log: ")]
    assert said == [
        "log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16",
        "log: gw: ip link add vti1 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.2"
        " okey 2 ikey 2",
        "log: gw: ip link set vti1 up mtu 1406 alias 'vti-updown gw'",
        "log: gw: sysctl -w net.ipv4.conf.vti1.disable_policy=1",
        "log: gw: ip route add 10.2.0.0/16 dev vti1 proto 50",
    ]
    story.settings("")
    assert story.down(**SITE) == told("""
        ip link del vti1
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
        log: gw: ip link del vti1
    """)


def test_a_long_command_is_broken_between_words_and_never_cut(story: Story) -> None:
    """charon cuts a line of more than 127 bytes in the middle of a character."""
    story.settings("[default]\nlog = 'commands'\nmss = 'path'")
    lines = story.up(**SITE).splitlines()
    logged = [line.removeprefix("log: ") for line in lines if line.startswith("log: ")]
    assert all(len(line.encode()) <= 120 for line in logged)
    (command,) = [line for line in lines if line.startswith("nft ")]
    said = " ".join(line.removeprefix("gw: ").strip() for line in logged)
    assert command in said


def test_the_log_has_no_command_for_somebody_elses_link(story: Story) -> None:
    """It was not changed, neither at the up nor at the down."""
    story.settings("[connection.gw]\nlog = 'commands'")
    story.host.add_vti("mine", "192.168.0.1", "192.168.0.2", 2)
    assert "log: gw: ip link" not in story.up(**SITE)
    assert "log: gw: ip link" not in story.down(**SITE)


def test_ipv6_is_explained_as_ipv4_is(story: Story) -> None:
    """The second pair of a CHILD_SA needs only what the first did not make."""
    story.up(**SITE)
    why = reasons(story, SITE6, verb="up-client-v6")
    assert why["make route fd00:2::/48 by vti1"].startswith("routes not set: ")
    assert "as it is: link vti1" in why


# The page


def shown_on_page(name: str, text: str) -> None:
    """Compares what the page has between two comments, or writes it anew: VTI_UPDOWN_WRITE=1."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, _, rest = PAGE.read_text().partition(begin)
    there, _, behind = rest.partition(end)
    block = textwrap.indent(f"{text}\n", "    ")
    if os.environ.get("VTI_UPDOWN_WRITE"):
        PAGE.write_text(f"{before}{begin}{block}{end}{behind}")
        return
    assert there == block, "VTI_UPDOWN_WRITE=1 writes it anew"


def test_the_page_shows_what_explain_prints(story: Story) -> None:
    """The output on the page is real."""
    story.settings("[connection.gw]\nmtu = 1400")
    printed = explained(story, SITE).replace("vti-updown.toml", "/etc/vti-updown.toml")
    shown_on_page("explained", printed)


def test_the_page_shows_what_the_log_has(story: Story) -> None:
    """Without the time and the thread, which charon puts in front."""
    story.settings("[connection.gw]\nlog = 'commands'")
    lines = story.up(**SITE).splitlines()
    logged = [line.removeprefix("log: ") for line in lines if line.startswith("log: ")]
    shown_on_page("logged", "\n".join(logged))
