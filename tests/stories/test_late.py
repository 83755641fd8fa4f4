"""Another process holds the records for long: what cannot be done now is written down, and whoever
has the records next does it.
"""

import pytest

from vti_updown.admin import session

from .story import PLUTO, PLUTO_MARK, SITE, Story, told

KEEP = """
    [connection.gw]
    local = "192.168.0.1"
    remote = "192.168.0.2"
    mark = 2
    routes = ["10.2.0.0/16"]
    when_down = "keep"
    [connection.pluto]
    local = "192.168.0.1"
    remote = "192.168.0.3"
    mark = 3
    routes = ["10.9.0.0/16"]
    when_down = "keep"
"""


def test_a_down_that_waits_in_vain_is_done_by_the_next_event(story: Story) -> None:
    """The line names the holder, and the next event does it before itself, with its own line."""
    story.up(**SITE)
    story.hold()
    assert story.event_alone("down-client", **SITE) == told("""
        log: error: gw: PID 7 has held our records for 5 s, so the next event does this down; kill PID 7 if it hangs
        exit status: 1
    """)
    assert story.left() != []
    story.let_go()
    assert story.event_alone("up-client", **SITE, **PLUTO_MARK) == told("""
        ip link del vti1
        ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.3 okey 3 ikey 3
        ip link set vti2 up mtu 1406 alias 'vti-updown pluto'
        sysctl -w net.ipv4.conf.vti2.disable_policy=1
        ip route add 10.2.0.0/16 dev vti2 proto 50
        log: gw: vti1 down, 192.168.0.1 → 192.168.0.2
        log: pluto: vti2 up, 192.168.0.1 → 192.168.0.3, mark 3, 10.2.0.0/16
    """)
    assert story.late_files() == []


def test_an_up_and_its_down_wait_and_keep_their_order(story: Story) -> None:
    """Done in turn, they leave nothing."""
    story.hold()
    assert story.event_alone("up-client", **SITE) == told("""
        log: error: gw: PID 7 has held our records for 5 s, so the next event does this up; kill PID 7 if it hangs
        exit status: 1
    """)
    assert story.event_alone("down-client", **SITE) == told("""
        log: error: gw: PID 7 has held our records for 5 s, so the next event does this down; kill PID 7 if it hangs
        exit status: 1
    """)
    assert len(story.late_files()) == 2
    story.let_go()
    assert story.repair() == told("""
        # gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16
        # gw: vti1 down, 192.168.0.1 → 192.168.0.2
        nothing to repair
    """)
    assert story.left() == []
    assert story.late_files() == []


@pytest.mark.parametrize("command", ["repair", "flush --stale", "prepare", "release"])
def test_a_command_for_people_does_what_waits(story: Story, command: str) -> None:
    """Before its own work, and says so in comments."""
    story.settings("")
    story.hold()
    story.event_alone("up-client", **SITE)
    story.let_go()
    first, *_ = story.person(command).splitlines()
    assert first == "# gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16"
    assert story.late_files() == []


def test_a_dry_run_does_not_do_what_waits(story: Story) -> None:
    """It says that something waits, and changes nothing."""
    story.hold()
    story.event_alone("up-client", **SITE)
    assert story.person("repair --dry-run") == told("""
        nothing to repair
        # this comes after what waits for the records; events that wait: 1
    """)
    assert story.rehearsal("up-client", **SITE, **PLUTO)[0] == (
        "# this comes after what waits for the records; events that wait: 1"
    )
    assert len(story.late_files()) == 1
    assert story.left() == []


def test_a_late_up_of_a_charon_that_is_gone_is_left_out(story: Story) -> None:
    """Nobody would call its down."""
    story.hold()
    story.event_alone("up-client", **SITE)
    story.restart_charon()
    story.let_go()
    assert story.event_alone("down-client", **SITE, **PLUTO).splitlines()[0] == (
        "log: error: gw: charon (PID 1) is gone, so nothing is set up for it; start it again"
    )
    assert story.left() == []


def test_a_late_down_is_the_one_of_the_charon_that_called(story: Story) -> None:
    """The hook of another charon does it in the other's name."""
    story.up(**SITE)
    story.hold()
    story.event_alone("down-client", **SITE)
    story.let_go()
    story.by_hand()
    assert story.repair() == told("""
        # gw: vti1 down, 192.168.0.1 → 192.168.0.2
        nothing to repair
    """)
    assert story.left() == []


def test_a_late_event_that_fails_stops_no_other(story: Story) -> None:
    """Its error has its own name, and it is not tried again."""
    story.hold()
    story.line = "--mtu 9"
    story.event_alone("up-client", **SITE)
    story.line = ""
    story.event_alone("up-client", **SITE, **PLUTO_MARK)
    story.let_go()
    assert story.event_alone("down-client", **SITE).splitlines() == [
        "ip link add vti2 group 1987313665 type vti local 192.168.0.1 remote 192.168.0.3 okey 3 ikey 3",
        "ip link set vti2 up mtu 1406 alias 'vti-updown pluto'",
        "sysctl -w net.ipv4.conf.vti2.disable_policy=1",
        "ip route add 10.2.0.0/16 dev vti2 proto 50",
        "log: error: gw: --mtu 9 is not a number from 68 to 65535; write --mtu 1400",
        "log: pluto: vti2 up, 192.168.0.1 → 192.168.0.3, mark 3, 10.2.0.0/16",
        "log: gw: its up had failed, nothing to take away",
    ]
    assert story.late_files() == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1, 2]", b"\xff\xfe", b'["", {}, [], "", "", ""]', b"null"]
)
def test_a_damaged_late_event_is_set_aside_once(story: Story, content: bytes) -> None:
    """A line says where it is. Those behind it, and the event itself, are done."""
    story.hold()
    story.event_alone("down-client", **SITE)
    story.event_alone("up-client", **SITE)
    first, _ = story.late_files()
    first.write_bytes(content)
    story.let_go()
    lines = story.event_alone("up-client", **SITE, **PLUTO).splitlines()
    said = [line for line in lines if line.startswith("log: ")]
    *warned, gw, pluto = said
    warning = "".join(line.removeprefix("log: warning:").strip() for line in warned)
    assert warning.startswith("a waiting event cannot be read")
    assert warning.endswith(f"{first.name}.damaged")
    assert gw.startswith("log: gw: vti1 up")
    assert pluto.startswith("log: pluto: vti2 up")
    lines = story.event_alone("down-client", **SITE, **PLUTO).splitlines()
    assert not [line for line in lines if "warning" in line]


def test_a_late_events_own_command_runs_at_the_end(story: Story) -> None:
    """With its own link, after the records are free, and before that of the event itself."""
    story.settings('[connection.gw]\nup = "logger gw"\n[connection.pluto]\nup = "logger pluto"')
    story.hold()
    story.event_alone("up-client", **SITE)
    story.let_go()
    lines = story.event_alone("up-client", **SITE, **PLUTO_MARK).splitlines()
    assert lines[-2:] == [
        "run in the background: VTI_UPDOWN_IFNAME=vti1 logger gw",
        "run: VTI_UPDOWN_IFNAME=vti2 logger pluto",
    ]


def test_an_event_whose_holder_lets_go_meanwhile_does_itself(story: Story) -> None:
    """Between the end of its wait and its being written down: no wake-up is lost."""
    story.hold()
    story.let_go_after(1)
    assert story.event_alone("up-client", **SITE).splitlines()[-1] == (
        "log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16"
    )
    assert story.late_files() == []


def test_a_holder_does_what_is_written_down_while_it_works(story: Story) -> None:
    """It looks once more after it has let go, so that nothing waits for an event to come."""
    story.while_held(lambda: story.event_alone("up-client", **SITE, **PLUTO_MARK))
    lines = story.event_alone("up-client", **SITE).splitlines()
    assert [line for line in lines if line.startswith("log: ")] == [
        "log: pluto: vti2 up, 192.168.0.1 → 192.168.0.3, mark 3, 10.2.0.0/16",
        "log: gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.2.0.0/16",
    ]
    assert story.late_files() == []


def test_an_event_that_cannot_be_written_down_says_so(story: Story) -> None:
    """There is no room left, so it is the error of one that is lost."""
    story.up(**SITE)
    story.hold()
    story.forbid_writing_down()
    assert story.event_alone("down-client", **SITE) == told("""
        log: error: gw: PID 7 has held our records for 5 s; see what it does; kill PID 7 if it hangs
        exit status: 1
    """)


def test_an_event_is_done_once_though_its_file_stays(story: Story) -> None:
    """Its process died before it removed the file, and the records say that it was done."""
    story.hold()
    story.event_alone("up-client", **SITE)
    (file,) = story.late_files()
    content = file.read_bytes()
    story.let_go()
    story.event_alone("down-client", **SITE, **PLUTO)
    file.write_bytes(content)
    assert story.event_alone("down-client", **SITE).splitlines()[-1] == (
        "log: gw: vti1 down, 192.168.0.1 → 192.168.0.2"
    )
    assert story.late_files() == []
    assert story.left() == []


@pytest.mark.parametrize("command", ["prepare", "repair", "flush --force", "release"])
def test_a_command_lets_others_in_between_tunnels(
    story: Story, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """What is written down while it works on one tunnel is done before it works on the next."""
    monkeypatch.setattr(session, "HOLD_SECONDS", 0)
    story.settings(KEEP)
    if command != "prepare":
        story.prepare()
    if command == "repair":
        story.lose_routes()
    third = {
        **SITE,
        "CONNECTION": "third",
        "PEER": "192.168.0.4",
        "PEER_CLIENT": "10.4.0.0/16",
        "UNIQUEID": 4,
    }
    story.while_held(lambda: story.event_alone("up-client", **third), turn=3)
    lines = story.person(command).splitlines()
    assert "third: vti4 up" in lines[0]
    links = []
    for done in story.done:
        links += [name for name in ("vti2", "vti3", "vti4") if name in done.split()]
    assert list(dict.fromkeys(links)) == ["vti2", "vti4", "vti3"], story.done
    assert story.late_files() == []
