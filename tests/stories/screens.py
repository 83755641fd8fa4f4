"""What `vti-updown status` shows of each state: the screens of docs/status.md.

Each is a story that ends with a call of `status`.
"""

from collections.abc import Callable
from typing import NamedTuple

from vti_updown.vici.charons import Charon, Hook

from .story import (
    PLUTO,
    PLUTO_MARK,
    SITE,
    XFRM,
    Changes,
    Story,
    child_sa,
    connection,
    ike_sa,
    in_file,
)

HOME = "192.168.0.2"
STANDS = """
    [connection.gw]
    mark = 2
    local = "192.168.0.1"
    remote = "192.168.0.2"
    routes = ["10.2.0.0/16"]
    when_down = "{what}"
"""
PLUTO_SITE = {**SITE, **PLUTO_MARK, "PEER_CLIENT": "10.9.0.0/16"}
GW = ike_sa("home", 1, HOME, child_sa("gw", 1))
PLUTO_SA = ike_sa(
    "pluto",
    2,
    "192.168.0.3",
    child_sa("pluto", 2, "10.9.0.0/16", mark_in=(3, 7), mark_out=(3, 7), last_in=None),
    age=44,
)
NO_MARKS: Changes = {"mark_in": None, "mark_out": None}


class Screen(NamedTuple):
    """One screen."""

    name: str
    play: Callable[[Story], str]
    words: str = ""
    """What stands behind `vti-updown status`."""


def up(story: Story) -> str:
    story.up(**SITE)
    story.up(**PLUTO_SITE)
    story.tells(GW, PLUTO_SA)
    return story.status()


def details(story: Story) -> str:
    story.up(**SITE)
    story.tells(GW)
    return story.status("gw")


def down(story: Story) -> str:
    """One is down that should be up by charon's file, one by our settings, and one is up."""
    story.settings('[connection.office]\nexpect = "up"\n')
    story.up(**SITE)
    story.children = [in_file("gw", 4, "start"), in_file("branch", 31, "start")]
    loaded = [
        connection("gw", HOME, "gw"),
        connection("branch", "198.51.100.9", "branch"),
        connection("office", "203.0.113.7", "office"),
    ]
    story.tells(GW, connections=loaded)
    return story.status()


def configured(story: Story) -> str:
    """Nobody expects them: one is for a packet, one for clients, and one is started by hand."""
    story.children = [in_file("trap", 4, "trap")]
    loaded = [
        connection("trap", HOME, "trap"),
        connection("clients", "%any", "rw"),
        connection("lab", "198.51.100.9", "lab"),
    ]
    story.tells(connections=loaded)
    return story.status()


def drifted(story: Story) -> str:
    story.up(**SITE)
    story.up(**PLUTO_SITE)
    story.up(**SITE, **XFRM, **{**PLUTO, "CONNECTION": "star", "UNIQUEID": 3})
    story.lose_routes()
    story.change("vti 192.168.0.1 192.168.0.2", mtu=1300)
    story.set_down("vti2")
    story.lose_link("xfrm42")
    star = child_sa("star", 3, "10.2.0.0/16", if_id_in=42, if_id_out=42, **NO_MARKS)
    story.tells(GW, PLUTO_SA, ike_sa("star", 3, "192.168.0.3", star))
    return story.status()


def drifted_details(story: Story) -> str:
    story.up(**SITE)
    story.lose_routes()
    story.tells(GW)
    return story.status("gw")


def keep(story: Story) -> str:
    story.settings(STANDS.format(what="keep"))
    story.prepare()
    story.tells()
    return story.status()


def block(story: Story) -> str:
    story.settings(STANDS.format(what="block"))
    story.prepare()
    story.tells()
    return story.status("gw")


def shared(story: Story) -> str:
    """500 clients on one XFRM interface."""
    sas = []
    for number in range(1, 501):
        peer = f"198.51.{100 + number // 250}.{number % 250 + 1}"
        client = f"10.3.{number // 250}.{number % 250 + 1}/32"
        who = {"CONNECTION": "rw", "PEER": peer, "PEER_ID": peer, "UNIQUEID": number}
        story.event_alone("up-client", **{**SITE, **XFRM, **who, "PEER_CLIENT": client})
        child = child_sa("rw", number, client, if_id_in=42, if_id_out=42, **NO_MARKS)
        sas.append(ike_sa("rw", number, peer, child, age=number))
    story.tells(*sas, connections=[connection("rw", "%any", "rw")])
    return story.status()


def shared_details(story: Story) -> str:
    shared(story)
    return story.status("rw")


def in_namespace(story: Story) -> str:
    story.settings('[connection.gw]\nnetns = "office"\n')
    story.host.namespaces.add("office")
    story.up(**SITE)
    story.tells(GW)
    return story.status("gw")


def namespace_gone(story: Story) -> str:
    in_namespace(story)
    story.lose_namespace("office")
    return story.status()


def borrowed(story: Story) -> str:
    story.host.add_vti("mine", "192.168.0.1", HOME, 2)
    story.up(**SITE)
    story.tells(GW)
    return story.status("gw")


def dead(story: Story) -> str:
    story.up(**SITE)
    story.restart_charon()
    story.tells()
    return story.status()


def silent(story: Story) -> str:
    """A hook that sleeps, and charon with it."""
    story.up(**SITE)
    hook = Hook(4711, "vti-updown", 5.0)
    trouble = f"it did not answer within 3.0 s, since it waits for its hook: {hook}"
    story.tells(trouble=trouble, hooks=[hook])
    return story.status()


def two_charons(story: Story) -> str:
    story.up(**SITE)
    story.tells(GW)
    story.another_charon("2@2")
    story.up(**PLUTO_SITE)
    other = Charon(2, "charon-systemd", "2@2", "4026531840", ())
    story.tells(PLUTO_SA, charon=other, socket="/run/other.vici")
    return story.status()


def by_hand(story: Story) -> str:
    story.by_hand()
    story.up(**SITE)
    return story.status()


def records_lost(story: Story) -> str:
    story.up(**SITE)
    story.tells(GW)
    story.lose_records()
    return story.status()


def not_ours(story: Story) -> str:
    """Another hook's, one that our hook failed at, and one without mark or if_id."""
    story.children = [
        in_file("other", 4, updown="/usr/lib/ipsec/_updown"),
        in_file("failed", 20),
        in_file("policy", 40),
    ]
    loaded = [
        connection("other", HOME, "other"),
        connection("failed", "192.168.0.3", "failed"),
        connection("policy", "192.168.0.4", "policy"),
    ]
    story.tells(
        ike_sa("other", 1, HOME, child_sa("other", 1)),
        ike_sa("failed", 2, "192.168.0.3", child_sa("failed", 2)),
        ike_sa("policy", 3, "192.168.0.4", child_sa("policy", 3, "10.2.0.0/16", **NO_MARKS)),
        connections=loaded,
    )
    return story.status()


SCREENS = (
    Screen("up", up),
    Screen("details", details, "gw"),
    Screen("down", down),
    Screen("configured", configured),
    Screen("drifted", drifted),
    Screen("drifted-details", drifted_details, "gw"),
    Screen("keep", keep),
    Screen("block", block, "gw"),
    Screen("shared", shared),
    Screen("shared-details", shared_details, "rw"),
    Screen("namespace", in_namespace, "gw"),
    Screen("namespace-gone", namespace_gone),
    Screen("borrowed", borrowed, "gw"),
    Screen("dead", dead),
    Screen("silent", silent),
    Screen("two-charons", two_charons),
    Screen("by-hand", by_hand),
    Screen("records-lost", records_lost),
    Screen("not-ours", not_ours),
)
