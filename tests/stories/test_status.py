"""What `vti-updown status` finds, beside the screens of its page."""

import pytest

from vti_updown.admin.screen import COLUMNS, width

from .screens import GW, HOME, NO_MARKS, PLUTO_SA, PLUTO_SITE, STANDS, up
from .story import FILE, PLUTO, SITE, XFRM, Story, child_sa, connection, ike_sa, in_file

AS_WISHED, DIFFERS, DOWN, NOT_SEEN = 0, 1, 2, 3


def problems(story: Story, *words: str) -> list[str]:
    """What is wrong, of the host and of all tunnels."""
    document = story.document(*words)
    found = [each["what"] for each in document["problems"]]
    for tunnel in document["tunnels"]:
        found += [each["what"] for each in tunnel["problems"]]
    return found


def levels(story: Story) -> dict[str, str]:
    return {tunnel["name"]: tunnel["level"] for tunnel in story.document()["tunnels"]}


def states(story: Story) -> dict[str, str]:
    """The word that a person sees of each tunnel, by its name."""
    lines = story.status().splitlines()
    head = next(place for place, line in enumerate(lines) if line.startswith("STATE"))
    column = lines[head].index("TUNNEL")
    rows = [line for line in lines[head + 1 :] if not line.startswith((" ", "exit"))]
    return {row[column:].split()[0]: row[:column].strip() for row in rows}


def remedies(story: Story) -> list[str]:
    document = story.document()
    found = [each["remedy"] for each in document["problems"]]
    for tunnel in document["tunnels"]:
        found += [each["remedy"] for each in tunnel["problems"]]
    return found


# What is expected


@pytest.mark.parametrize(
    ("settings", "line", "peer", "level"),
    [
        ("", {"action": "start"}, HOME, "down"),
        ("", {"action": "trap"}, HOME, "ok"),
        ("", {}, HOME, "ok"),
        ("", {"action": "start"}, "%any", "ok"),
        ("", {"updown": "/usr/local/sbin/vti-updown --expect up"}, HOME, "down"),
        ("", {"updown": "vti-updown --expect up", "action": "trap"}, HOME, "ok"),
        ("", {"updown": "vti-updown --expect up --no-such-flag"}, HOME, "ok"),
        ('[connection.gw]\nexpect = "up"', {}, HOME, "down"),
        ('[connection."g*"]\nexpect = "up"', {}, HOME, "down"),
        ('[default]\nexpect = "up"', {}, HOME, "down"),
        ('[default]\nexpect = "up"', {"action": "trap"}, HOME, "ok"),
        ('[default]\nexpect = "up"', {}, "%any", "ok"),
        ('[default]\nexpect = "up"', {}, "10.0.0.0/8", "ok"),
        ('[default]\nexpect = "up"', {}, "10.0.0.1-10.0.0.9", "ok"),
        ('[default]\nexpect = "up"', {}, "vpn-1.example.org", "down"),
        ('[default]\nexpect = "up"\n[connection.gw]\nexpect = "anything"', {}, HOME, "ok"),
    ],
)
def test_who_says_that_a_tunnel_should_be_up(
    story: Story, settings: str, line: dict[str, str], peer: str, level: str
) -> None:
    """A trap and a template never should, whatever the settings say."""
    story.settings(settings)
    action = line.pop("action", "")
    story.children = [in_file("gw", 4, action, **line)]
    story.tells(connections=[connection("gw", peer, "gw")])
    assert levels(story) == {"gw": level}


def test_what_the_settings_expect_is_there_without_charon(story: Story) -> None:
    """Also where no charon runs."""
    story.settings('[connection.gw]\nexpect = "up"')
    assert levels(story) == {"gw": "down"}
    assert remedies(story) == ["swanctl --initiate --child gw"]


def test_one_that_charon_has_not_loaded_is_told_so(story: Story) -> None:
    """Initiating it would not help."""
    story.children = [in_file("gw", 4, "start")]
    story.tells(connections=[])
    assert levels(story) == {"gw": "down"}
    assert remedies(story) == ["swanctl --load-all, since charon has not loaded it"]


def test_one_of_ipsec_conf_is_started_by_ipsec(story: Story) -> None:
    """Debian has swanctl in another package."""
    story.children = [in_file("gw", 4, "start", by_ipsec=True)]
    story.tells(connections=[connection("first", HOME, "gw")])
    assert remedies(story) == ["ipsec up gw"]


def test_a_command_names_a_socket_that_is_not_the_usual_one(story: Story) -> None:
    """swanctl would ask the other charon."""
    story.children = [in_file("gw", 4, "start")]
    story.tells(connections=[connection("gw", HOME, "gw")], socket="/run/other.vici")
    (remedy,) = remedies(story)
    assert remedy == "swanctl --initiate --child gw --uri unix:///run/other.vici"


def test_equal_names_of_several_connections_are_told_apart(story: Story) -> None:
    """swanctl users often call each child `net`. One of two is up."""
    story.children = [
        in_file("net", 4, "start", connection="moon"),
        in_file("net", 30, "start", connection="sun"),
    ]
    loaded = [connection("moon", HOME, "net"), connection("sun", "192.168.0.3", "net")]
    story.up(**{**SITE, "CONNECTION": "net"})
    story.tells(ike_sa("moon", 1, HOME, child_sa("net", 1)), connections=loaded)
    (down, is_up) = story.document()["tunnels"]
    assert [down["level"], is_up["level"]] == ["down", "ok"]
    assert [each["connection"] for each in down["configured"]] == ["sun"]
    assert down["problems"][0]["what"].endswith("swanctl.conf:30 starts it")


# Its SA


def test_one_on_record_without_its_sa_differs(story: Story) -> None:
    """charon gave it up without a down, or the records are wrong."""
    story.up(**SITE)
    story.tells()
    assert problems(story) == ["it is on record as up, and charon has no such CHILD_SA"]


def test_an_sa_is_found_after_rekeying_and_mobike(story: Story) -> None:
    """Unique ID and address are others then, and the mark is the same."""
    story.up(**SITE)
    story.tells(ike_sa("home", 9, "192.168.0.77", child_sa("gw", 12)))
    assert states(story) == {"gw": "up"}


def test_road_warriors_with_one_mark_have_each_their_own_sa(story: Story) -> None:
    """They have one name and one mark, and a VTI each. One has rekeyed, and one has moved since."""
    sas = []
    for number, (now, peer) in enumerate([(1, 11), (8, 12), (9, 77)], 1):
        who = {"PEER": f"192.168.0.{number + 10}", "UNIQUEID": number, "PEER_ID": f"rw{number}"}
        client = f"10.3.0.{number}/32"
        story.up(**{**SITE, **who, "CONNECTION": "rw", "PEER_CLIENT": client})
        sas.append(ike_sa("rw", now, f"192.168.0.{peer}", child_sa("rw", now, client)))
    story.tells(*reversed(sas))
    found = [
        (each["links"][0]["remote"], each["sas"][0]["ike_unique_id"])
        for each in story.document()["tunnels"]
    ]
    assert sorted(found) == [("192.168.0.11", 1), ("192.168.0.12", 8), ("192.168.0.13", 9)]


def test_a_unique_mark_that_changed_loses_no_sa(story: Story) -> None:
    """Of two IKE_SAs by mark=%unique the link has the newer one's mark, and both are up."""
    story.up(**SITE)
    story.up(**{**SITE, "MARK_IN": 7, "MARK_OUT": 7, "UNIQUEID": 2})
    newer = child_sa("gw", 2, mark_in=(7, 7), mark_out=(7, 7))
    story.tells(GW, ike_sa("home", 2, HOME, newer))
    (tunnel,) = story.document()["tunnels"]
    assert len(tunnel["sas"]) == 2
    assert tunnel["level"] == "ok"


def test_two_if_ids_are_one_tunnel_on_two_links(story: Story) -> None:
    """It has one CHILD_SA."""
    story.up(**{**SITE, **XFRM, "IF_ID_IN": 42, "IF_ID_OUT": 43})
    story.tells(
        ike_sa(
            "home", 1, HOME, child_sa("gw", 1, "10.2.0.0/16", if_id_in=42, if_id_out=43, **NO_MARKS)
        )
    )
    (tunnel,) = story.document()["tunnels"]
    assert sorted(link["if_id"] for link in tunnel["links"]) == [42, 43]
    assert len(tunnel["sas"]) == 1
    assert tunnel["level"] == "ok"


def test_two_connections_on_one_link_name_each_other(story: Story) -> None:
    """The link's counters are of both, so each has those of its own SAs."""
    story.up(**SITE, **XFRM)
    story.up(**{**SITE, **XFRM, **PLUTO, "PEER_CLIENT": "10.9.0.0/16"})
    first, second = story.document()["tunnels"]
    assert first["shared_with"] == ["pluto"]
    assert second["shared_with"] == ["gw"]
    assert "  shared   with pluto\n" in story.status("gw")


def test_an_sa_for_one_cpu_is_left_out(story: Story) -> None:
    """No hook is called for it."""
    story.up(**SITE)
    story.tells(ike_sa("home", 1, HOME, child_sa("gw", 1), child_sa("gw", 2, cpu=1)))
    (tunnel,) = story.document()["tunnels"]
    assert len(tunnel["sas"]) == 1


def test_a_standing_tunnel_that_is_up_is_one_tunnel(story: Story) -> None:
    """What blocks while it is down is not told of as another one."""
    for what in ("keep", "block"):
        story.settings(STANDS.format(what=what))
        story.prepare()
        story.up(**SITE)
        story.answers.clear()
        story.tells(GW)
        assert states(story) == {"gw": "up"}, what
        story.down(**SITE)
        story.answers.clear()
        story.tells()
        assert states(story) == {"gw": "stands"}, what
        story.release()


# What is wrong with it


def test_an_up_that_failed_is_told(story: Story) -> None:
    """charon keeps the CHILD_SA, though nothing was set up."""
    story.host.refuses["ip link add"] = 12
    story.up(**SITE)
    story.tells(GW)
    assert problems(story) == ["the hook failed when it came up, so nothing is set up for that"]
    assert story.document()["exit_status"] == DIFFERS


def test_an_sa_of_which_no_file_tells_is_none_of_ours(story: Story) -> None:
    """Another hook may be called for it, or none."""
    story.tells(GW)
    assert states(story) == {"gw": "up"}
    assert "vti-updown has set nothing up, and charon's files do not say" in story.status("gw")


def test_a_charon_that_is_not_seen_is_not_dead(story: Story) -> None:
    """Whether its tunnel is up cannot be known from here."""
    story.up(**SITE)
    story.lose_sight_of_charon()
    story.tells()
    document = story.document()
    assert document["exit_status"] == NOT_SEEN
    assert problems(story) == ["charon (PID 1) has it, and cannot be asked from here"]


def test_the_worst_comes_first_and_gives_the_exit_status(story: Story) -> None:
    """A tunnel that is down counts more than one that cannot be seen, and that more than a route."""
    story.settings('[connection.zz]\nexpect = "up"')
    up(story)
    story.lose_link("vti1")
    assert list(levels(story).items()) == [("zz", "down"), ("gw", "differs"), ("pluto", "ok")]
    assert story.document()["exit_status"] == DOWN
    assert story.document("pluto")["exit_status"] == AS_WISHED


def test_events_that_wait_are_told(story: Story) -> None:
    """The next event does them, and `repair`."""
    story.hold()
    story.event_alone("up-client", **SITE)
    story.let_go()
    assert "events that wait for the records: 1" in problems(story)


def test_an_event_that_is_at_work_is_no_fault(story: Story) -> None:
    """What is wrong is looked at again before it is told."""
    up(story)
    story.lose_routes()
    looks = []

    def ask(*_words: object) -> None:
        looks.append(1)
        if len(looks) == 2:
            story.put_back()

    story.on_asked = ask
    told = story.command("status", "--config", FILE)
    assert told.startswith("2 tunnels: 2 as wished\n")


def test_what_charon_told_counts_when_it_falls_silent(story: Story) -> None:
    """Its hook may begin between two looks."""
    up(story)
    story.lose_routes()
    asked = []

    def fall_silent() -> None:
        asked.append(1)
        if len(asked) == 2:
            story.answers[:] = [
                each._replace(is_complete=False, sas=None, trouble="it is silent")
                for each in story.answers
            ]

    story.on_asked = fall_silent
    told = story.command("status", "--config", FILE)
    assert len(asked) == 2
    assert "silent" not in told
    assert "DIFFERS  gw      vti1  192.168.0.2  3h12m" in told


def test_a_name_that_is_not_there_is_an_error(story: Story) -> None:
    """The line suggests one that is."""
    up(story)
    told = story.status("plato")
    assert told == "error: there is no tunnel plato; write pluto\nexit status: 3"


def test_two_forms_exclude_each_other(story: Story) -> None:
    """Of wrong usage the status is that of not having looked."""
    told = story.status("--json", "--metrics")
    assert told == (
        "error: --json and --metrics exclude each other; leave one of them out\nexit status: 3"
    )


def test_a_file_of_settings_that_is_wrong_is_an_error(story: Story) -> None:
    """What is expected is not known then."""
    story.settings("[connection.gw]\nexpect = 7")
    told = story.status()
    assert told.startswith("error: vti-updown.toml [connection.gw] expect = 7 is not up")
    assert told.endswith("exit status: 3")


@pytest.mark.parametrize(
    "name",
    ["x" * 200, "\x1b[31mred\nDOWN", "\udcff\udcfe", "a b'c", "中文" * 30, "-rf", "$(reboot)"],
)
def test_a_hostile_name_is_shown_and_does_no_harm(story: Story, name: str) -> None:
    """No line but a command is longer than the terminal, and no command is one of the name's."""
    story.up(**{**SITE, "CONNECTION": name})
    story.children = [in_file(name, 4, "start")]
    story.tells(connections=[connection(name, HOME, name)])
    told = story.status()
    assert told.isprintable() or set(told) - {"\n"} == set(filter(str.isprintable, told))
    for line in told.splitlines():
        assert width(line) <= COLUMNS or name in line, line
    (tunnel,) = story.document()["tunnels"]
    assert tunnel["level"] == "down"
    story.tells(ike_sa(name, 1, HOME, child_sa(name, 1)), connections=[])
    story.answers.pop(0)
    (tunnel,) = story.document()["tunnels"]
    assert tunnel["sa"] == "up"
    assert story.status("--metrics").encode()


def test_one_of_another_socket_alone_is_asked(story: Story) -> None:
    """The other charon's tunnels are not known then."""
    story.up(**SITE)
    story.another_charon("2@2")
    story.up(**PLUTO_SITE)
    story.tells(PLUTO_SA)
    assert levels(story) == {"gw": "unknown", "pluto": "ok"}
