"""A file of settings that is wrong: the line that the hook prints, and that nothing but such a line
comes of it.
"""

import os
import tomllib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from support.events import environment
from vti_updown.cli import hook
from vti_updown.event import parse
from vti_updown.hook.flags import FlagsGiven
from vti_updown.output import error_lines
from vti_updown.settings import choose
from vti_updown.settings import file as settings_file
from vti_updown.settings.choose import chosen_file, settings_by_name, settings_for
from vti_updown.settings.file import MATCHES
from vti_updown.settings.table import KEYS, SettingsError, read_flags

ENVIRON = environment("up-client")
EVENT = parse(ENVIRON)
FILE = "/etc/vti-updown.toml"


@pytest.fixture
def said(monkeypatch):
    """The line that a file of these bytes makes the hook print for an `up`, and its exit status."""

    def read(data, *words):
        monkeypatch.setattr(
            settings_file, "contents", lambda _: data if isinstance(data, bytes) else data.encode()
        )
        with pytest.raises(SettingsError) as caught:
            FlagsGiven(read_flags(words)).load_settings(EVENT)
        return "\n".join(error_lines(caught.value, ENVIRON)), caught.value.status

    return read


WRONG = [
    # No TOML.
    ("a = ", f"error: gw: {FILE} end of document: Invalid value; correct it there"),
    ("[connection.gw]\nmtu = 14 00",
     f"error: gw: {FILE} line 2, column 10: Expected newline or end of document after a statement\n"
     "error: gw:   correct it there"),
    ("[connection.rw-*]\nvrf = 'blue'",
     f"error: gw: {FILE} line 1, column 16: Expected ']' at the end of a table declaration; correct it there"),
    ("[connection.gw]\n[connection.gw]",
     f"error: gw: {FILE} line 2, column 15: Cannot declare ('connection', 'gw') twice; correct it there"),
    (b"[default]\n# b\xfcro", f"error: gw: {FILE} line 2 is not UTF-8; correct it there"),
    (b"\n# b\xfcro", f"error: gw: {FILE} line 2 is not UTF-8; correct it there"),
    ("a = " + "[" * 100_000,
     f"error: gw: {FILE} has a number too long, or tables too deep; correct it there"),
    ("a = " + "9" * 5000,
     f"error: gw: {FILE} has a number too long, or tables too deep; correct it there"),
    # No tables of ours.
    ("[conection.gw]", f"error: gw: {FILE} [conection] is unknown; write it under [default] or [connection.NAME]"),
    ("mtu = 1400", f"error: gw: {FILE} mtu outside of a table is unknown; write it under [default] or [connection.NAME]"),
    ('"\\u001b[31m" = 1',
     f"error: gw: {FILE} \\x1b[31m outside of a table is unknown; write it under [default] or [connection.NAME]"),
    ("connection = 1", f"error: gw: {FILE} connection is no table; write [connection.NAME]"),
    ("default = 1", f"error: gw: {FILE} default is no table; write it in brackets: [connection.NAME] or [default]"),
    ("[[connection.gw]]\nmtu = 1400",
     f"error: gw: {FILE} connection.gw is no table; write it in brackets: [connection.NAME] or [default]"),
    ('[connection.""]', f'error: gw: {FILE} [connection.""] has no name; write [connection.NAME]'),
    # No keys of ours, whether the table matches or not.
    ("[connection.other]\nmetrik = 5", f"error: gw: {FILE} [connection.other] metrik is unknown; write metric"),
    ("[connection.gw]\nwhen-down = 'keep'", f"error: gw: {FILE} [connection.gw] when-down is unknown; write when_down"),
    ("[connection.gw]\nroute = '10.2.0.0/16'", f"error: gw: {FILE} [connection.gw] route is unknown; write routes"),
    ("[connection.gw]\nbandwidth = 5",
     f"error: gw: {FILE} [connection.gw] bandwidth is unknown; vti-updown --help lists what there is"),
    ("[connection.gw]\nmetrics = 5", f"error: gw: {FILE} [connection.gw] metrics is unknown; write metric"),
    (f"[default]\n{'x' * 21} = 5",
     f"error: gw: {FILE} [default] {'x' * 19}… is unknown; vti-updown --help lists what there is"),
    ('[connection."büro"]\nbandwidth = 5',
     f'error: gw: {FILE} [connection."büro"] bandwidth is unknown; vti-updown --help lists what there is'),
    ("[connection.a.b]\nmtu = 1400",
     f'error: gw: {FILE} [connection.a] b is unknown; quote a name with a dot in it: [connection."A.B"]'),
    ("[default]\npeer = '192.0.2.1'",
     f"error: gw: {FILE} [default] peer is unknown; what is matched stands in [connection.NAME]"),
    # Nothing that could match.
    ("[connection.a]\npeer = '10.2.0.1/16'",
     f'error: gw: {FILE} [connection.a] peer = "10.2.0.1/16" is no address or subnet\n'
     'error: gw:   write peer = "203.0.113.0/24"'),
    ("[connection.a]\npeer_id = ''", f'error: gw: {FILE} [connection.a] peer_id = "" is empty; write peer_id = "*@example.org"'),
    ("[connection.a]\nxauth_id = 5",
     f'error: gw: {FILE} [connection.a] xauth_id = 5 is not text in quotes; write xauth_id = "alice"'),
    # No values.
    ("[default]\nname = 5", f'error: gw: {FILE} [default] name = 5 is not text in quotes; write name = "vpn{{uniqueid}}"'),
    ("[default]\nname = 'a b'",
     f'error: gw: {FILE} [default] name = "a b" has \' \' in it, which no link name may have\n'
     "error: gw:   use letters, digits, - and _"),
    ("[default]\nname = 'vpn{peer_id}'",
     f'error: gw: {FILE} [default] name = "vpn{{peer_id}}": unknown {{peer_id}}\n'
     f"error: gw:   known are {{connection}} {{uniqueid}} {{mark}} {{if_id}} {{if_id:08x}} {{peer}}"),
    ("[default]\nkind = 'gre'",
     f'error: gw: {FILE} [default] kind = "gre" is not auto, vti, vti6 or xfrm; write kind = "auto"'),
    ("[default]\nlocal = 'moon'",
     f'error: gw: {FILE} [default] local = "moon" is not an IP address or any; write local = "192.0.2.1"'),
    ("[default]\nremote = '224.0.0.1'",
     f'error: gw: {FILE} [default] remote = "224.0.0.1" is not an address of one host\n'
     'error: gw:   write remote = "203.0.113.7"'),
    ("[default]\nlocal = 'fe80::1%eth0'",
     f'error: gw: {FILE} [default] local = "fe80::1%eth0" is not an IP address or any; write local = "192.0.2.1"'),
    ("[default]\ndevice = 'a-name-of-16-chr'",
     f'error: gw: {FILE} [default] device = "a-name-of-16-chr" is longer than 15 bytes; write device = "eth0"'),
    ("[default]\nmark = 0", f"error: gw: {FILE} [default] mark = 0 is not one or two numbers from 1 to 4294967295; write mark = 42"),
    ("[default]\nif_id = [1, 4294967296]",
     f"error: gw: {FILE} [default] if_id = [1, 4294967296] is not one or two numbers from 1 to 4294967295\n"
     "error: gw:   write if_id = 42"),
    ("[default]\nmark = '42'",
     f'error: gw: {FILE} [default] mark = "42" is not one or two numbers from 1 to 4294967295; write mark = 42'),
    ("[default]\nroutes = [{}]",
     f'error: gw: {FILE} [default] routes = {{}} has no network; write to = "10.2.0.0/16"'),
    ("[default]\nroutes = [{ metric = 5, table = 3 }]",
     f'error: gw: {FILE} [default] routes = {{…}} has no network; write to = "10.2.0.0/16"'),
    ("[default]\nroutes = [{ metric = [5] }]",
     f'error: gw: {FILE} [default] routes = {{…}} has no network; write to = "10.2.0.0/16"'),
    ("[default]\nmtu = 18446744073709551615",
     f"error: gw: {FILE} [default] mtu = 18446744073709551615 is not a number from 68 to 65535; write mtu = 1400"),
    ("[default]\nmtu = 18446744073709551616",
     f"error: gw: {FILE} [default] mtu = a number that long is not a number from 68 to 65535; write mtu = 1400"),
    ("[default]\nif_id = true",
     f"error: gw: {FILE} [default] if_id = true is not one or two numbers from 1 to 4294967295; write if_id = 42"),
    ("[default]\nroutes = ['10.2.0.1/16']",
     f'error: gw: {FILE} [default] routes = "10.2.0.1/16" is not a subnet such as 10.2.0.0/16\n'
     "error: gw:   write NET/PREFIX with no host bits set"),
    ("[default]\nroutes = [{ metric = 5 }]",
     f'error: gw: {FILE} [default] routes = {{ "metric" = 5 }} has no network; write to = "10.2.0.0/16"'),
    ("[default]\nroutes = [{ to = '10.2.0.0/16', via = '10.1.0.1' }]",
     f'error: gw: {FILE} [default] routes = "via" is no part of a route; its keys are to, metric, table and src'),
    ("[default]\nroutes = [{ to = '10.2.0.0/16', metric = -1 }]",
     f"error: gw: {FILE} [default] routes.metric = -1 is not a number from 0 to 4294967294\n"
     "error: gw:   write a number such as 100"),
    ("[default]\naddress = '10.3.0.0/16'",
     f'error: gw: {FILE} [default] address = "10.3.0.0/16" is a network, not an address in it\n'
     'error: gw:   write address = "169.254.21.2/30"'),
    ("[default]\naddress = '10.3.0.1 peer fd00::1'",
     f'error: gw: {FILE} [default] address = "10.3.0.1 peer fd00::1" needs two addresses of one family\n'
     "error: gw:   write ADDRESS peer ADDRESS"),
    ("[default]\naddress = '10.3.0.1/24 peer 10.3.0.2'",
     f'error: gw: {FILE} [default] address = "10.3.0.1/24 peer 10.3.0…" has a prefix and a peer\n'
     "error: gw:   leave one of the two out"),
    ("[default]\nmtu = 67", f"error: gw: {FILE} [default] mtu = 67 is not a number from 68 to 65535; write mtu = 1400"),
    ("[default]\nmtu = '1400'", f'error: gw: {FILE} [default] mtu = "1400" is not a number from 68 to 65535; write mtu = 1400'),
    ("[default]\nmtu = 1400.0", f"error: gw: {FILE} [default] mtu = 1400.0 is not a number from 68 to 65535; write mtu = 1400"),
    ("[default]\nmss = 535",
     f'error: gw: {FILE} [default] mss = 535 is not path, none or a number from 536 to 65495; write mss = "path"'),
    ("[default]\nmetric = 4294967295",
     f"error: gw: {FILE} [default] metric = 4294967295 is not a number from 0 to 4294967294; write metric = 100"),
    ("[default]\ntable = 'local'", f'error: gw: {FILE} [default] table = "local" is the kernel\'s own table; write table = 100'),
    ("[default]\ntable = 0x" + "f" * 9000,
     f"error: gw: {FILE} [default] table = a number that long is not main, default or a number from 1 to\n"
     "error: gw:   4294967295\n"
     "error: gw:   write table = 100"),
    ("[default]\nvrf = ''", f'error: gw: {FILE} [default] vrf = "" is empty; write vrf = "blue"'),
    ("[default]\nnetns = '../x'",
     f'error: gw: {FILE} [default] netns = "../x" is no name of a network namespace; write netns = "office"'),
    ("[default]\nmulticast = 'yes'",
     f'error: gw: {FILE} [default] multicast = "yes" is neither true nor false; write multicast = true'),
    ("[default]\nlink_local = 'fd00::1'",
     f'error: gw: {FILE} [default] link_local = "fd00::1" is not in fe80::/10; write link_local = "fe80::1/64"'),
    ("[default]\nsysctl = 2",
     f'error: gw: {FILE} [default] sysctl = 2 is no table; write sysctl = {{ "ipv4.rp_filter" = 2 }}'),
    ("[default.sysctl]\nrp_filter = 2",
     f'error: gw: {FILE} [default] sysctl = "rp_filter" is no sysctl of a link; write ipv4.NAME or ipv6.NAME'),
    ("[default.sysctl]\nipv4.rp_filter = '2'",
     f'error: gw: {FILE} [default] sysctl.ipv4.rp_filter = "2" is not a number from -2147483648 to 2147483647\n'
     "error: gw:   write a whole number"),
    ("[default.sysctl]\nipv4.rp_filter = 2\n'ipv4.rp_filter' = 1",
     f'error: gw: {FILE} [default] sysctl = "ipv4.rp_filter" is given twice; leave one out'),
    ("[default]\nwhen_down = false",
     f'error: gw: {FILE} [default] when_down = false is not remove, block or keep; write when_down = "keep"'),
    ("[default]\nexpect = 'down'",
     f'error: gw: {FILE} [default] expect = "down" is not up or anything; write expect = "up"'),
    ("[default]\nexpect = true",
     f'error: gw: {FILE} [default] expect = true is not up or anything; write expect = "up"'),
    ("[default]\nup = ' '", f'error: gw: {FILE} [default] up = " " is no command; write up = "logger up"'),
    ("[default]\ndown = ['true']",
     f'error: gw: {FILE} [default] down = ["true"] is not text in quotes; write down = "logger down"'),
    ("[default]\ncommand_seconds = 0",
     f"error: gw: {FILE} [default] command_seconds = 0 is not a number from 1 to 60; write command_seconds = 5"),
    ("[default]\ncommand_seconds = 1.5",
     f"error: gw: {FILE} [default] command_seconds = 1.5 is not a number from 1 to 60; write command_seconds = 5"),
    ("[default]\nlog = 'all'",
     f'error: gw: {FILE} [default] log = "all" is not lines or commands; write log = "commands"'),
    ("[default]\ncommand_detach = 'yes'",
     f'error: gw: {FILE} [default] command_detach = "yes" is neither true nor false; write command_detach = true'),
    # No value at all for this connection: printed is escaped.
    ("[connection.\"*\\u001b[31m\"]\nconnection = 'g*'\nnetns = \"\\n\"",
     f'error: gw: {FILE} [connection."*\\x1b[31m"] netns = "\\n" is no name of a network namespace\n'
     'error: gw:   write netns = "office"'),
    # What cannot be together.
    ("[default]\nlocal = 'any'\nremote = '::'",
     f"error: gw: {FILE} [default] local and remote are both any; write an address in one of them"),
    ("[default]\nlocal = '192.0.2.1'\nremote = 'fd00::1'",
     f"error: gw: {FILE} [default] local is IPv4, but remote is IPv6; write addresses of one family"),
    ("[default]\nlocal = 'fd00::1'\nremote = '192.0.2.1'",
     f"error: gw: {FILE} [default] local is IPv6, but remote is IPv4; write addresses of one family"),
    ("[default]\nkind = 'xfrm'\nremote = '192.0.2.1'",
     f"error: gw: {FILE} [default] remote: an xfrm interface has no endpoints; leave remote out, or kind = xfrm"),
    ("[default]\nkind = 'vti'\n[connection.gw]\nlocal = 'fd00::1'",
     f"error: gw: {FILE} [connection.gw] local is IPv6, but vti wants IPv4 (kind: [default])\n"
     "error: gw:   leave kind or local out"),
    ("[default]\nkind = 'vti6'\nremote = '192.0.2.1'",
     f"error: gw: {FILE} [default] remote is IPv4, but vti6 wants IPv6; leave kind or remote out"),
    ("[default]\nkind = 'vti'\nif_id = 42",
     f"error: gw: {FILE} [default] if_id makes an xfrm interface, but kind is vti; leave kind or if_id out"),
    ("[default]\nkind = 'xfrm'\nmark = 42",
     f"error: gw: {FILE} [default] mark makes a vti or vti6, but kind is xfrm; leave kind or mark out"),
    ("[default]\nvrf = 'blue'\n[connection.gw]\nnetns = 'office'",
     f"error: gw: {FILE} [default] vrf and netns exclude each other (netns: [connection.gw]); leave one out"),
    ("[default]\nvrf = 'blue'\ntable = 100",
     f"error: gw: {FILE} [default] table is set, but the routes of a vrf go to its own; leave table or vrf out"),
    ("[default]\nmtu = 1400\nmss = 1361",
     f"error: gw: {FILE} [default] mss = 1361 is more than the 1360 that mtu = 1400 leaves; write less, or path"),
    ("[default]\nlink_local = 'fe80::1'\nmtu = 1279",
     f"error: gw: {FILE} [default] link_local needs mtu = 1280 at least, not 1279; raise mtu"),
    ("[default]\nlink_local = 'fe80::1'\nsysctl = { 'ipv6.disable_ipv6' = -1 }",
     f"error: gw: {FILE} [default] link_local needs IPv6, which sysctl disables; leave one out"),
    ("[default]\nlink_local = 'fe80::1'\nsysctl = { 'ipv6.disable_ipv6' = 1 }",
     f"error: gw: {FILE} [default] link_local needs IPv6, which sysctl disables; leave one out"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "line"), WRONG, ids=[line[32:70] for _, line in WRONG])
def test_a_wrong_file_says_where_and_what_would_be_right(said, data, line):
    """With file, table and key. A long one has its remedy in a line of its own."""
    assert said(data) == (line, 2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("[default]\nmark = [1, 2, 3, 4]", "mark = [1, 2, 3, 4] is not one or two numbers"),
        ("[default]\nmark = [1, 2, 3, 4, 5]", "mark = [1, 2, 3, 4, …] is not one or two numbers"),
        ("[default]\nmark = [[1], 2]", "mark = […, 2] is not one or two numbers"),
        ("[default]\nroutes = 'office'", 'routes = "office" is not a subnet'),
        ('[default]\nup = "a\\u0000b"', 'up = "a\\x00b" is no command'),
        (f"{'x' * 21} = 1", f" {'x' * 19}… outside of a table is unknown"),
    ],
)
def test_a_message_shows_the_value_and_cuts_a_long_one(monkeypatch, data, words):
    """Of a list it shows the first four items."""
    monkeypatch.setattr(settings_file, "contents", lambda _: data.encode())
    with pytest.raises(SettingsError) as caught:
        settings_for({}, EVENT)
    assert words in caught.value.message


def test_a_flag_and_the_file_that_cannot_be_together_name_both(said):
    """So that both places can be found."""
    expected = f"error: gw: --vrf and netns exclude each other (netns: {FILE} [default])".replace(
        f"{FILE} ", ""
    )
    assert said("[default]\nnetns = 'office'", "--vrf", "blue") == (f"{expected}; leave one out", 2)
    expected = f"error: gw: {FILE} [default] vrf and netns exclude each other (netns: --netns); leave one out"
    assert said("[default]\nvrf = 'blue'", "--netns", "office") == (expected, 2)


def test_kind_and_if_id_of_two_tables_may_be_together(monkeypatch):
    """A default may be overruled by a more specific table."""
    text = b"[default]\nkind = 'vti'\n[connection.gw]\nif_id = 42"
    monkeypatch.setattr(settings_file, "contents", lambda _: text)
    assert settings_for({}, EVENT).if_id == (42, 42)
    text = b"[default]\nif_id = 42\n[connection.gw]\nkind = 'vti'"
    assert settings_for({}, EVENT).if_id == (42, 42)


def test_a_table_that_settings_names_has_to_be_there(said):
    """A typo must not mean the defaults."""
    line = f"error: gw: --settings office: {FILE} has no such table; vti-updown check-config lists them"
    assert said("[connection.gw]", "--settings", "office") == (line, 2)
    assert said("[default]", "--settings", "office") == (line, 2)
    assert said("[connection.zoo]", "--settings", "office") == (line, 2)


@pytest.mark.parametrize("name", ["net", "büro" * 100, "\x1b" * 50, "a" * 200])
def test_no_line_is_cut_by_charon(said, name):
    """However long the values are."""
    quoted = "".join(f"\\u{ord(c):04x}" for c in name)
    for text in (
        f'mtu = "{quoted}"',
        f'"{quoted}" = 1',
        f'vrf = "blue"\nnetns = "x"\nmtu = {9**19}',
        f'peer = "{quoted}"',
    ):
        told, status = said(f'[connection."{quoted}"]\nconnection = "*"\n{text}')
        assert status == 2
        for line in told.split("\n"):
            assert len(line.encode()) <= 120 and line.isprintable()
            assert line.startswith("error: gw: ")


# The file itself.


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The path of a file in the current folder, so that the lines do not depend on where that is."""
    monkeypatch.chdir(tmp_path)
    (path := tmp_path / "a.toml").touch(0o600)
    return path


def up():
    with pytest.raises(SettingsError) as caught:
        FlagsGiven(read_flags(["--config", "a.toml"])).load_settings(EVENT)
    return "\n".join(error_lines(caught.value, ENVIRON))


def test_a_file_that_others_can_write_is_refused(file):
    """It decides what root runs."""
    for mode in (0o620, 0o602, 0o666):
        file.chmod(mode)
        assert (
            up()
            == "error: gw: a.toml can be written by its group or by others; take that away: chmod go-w"
        )


@pytest.mark.usefixtures("file")
def test_a_file_of_somebody_elses_is_refused(monkeypatch):
    """Its owner could change it."""
    real = os.fstat
    monkeypatch.setattr(
        os, "fstat", lambda handle: os.stat_result([*real(handle)[:4], 1000, *real(handle)[5:]])
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    assert (
        up()
        == "error: gw: a.toml belongs to user 1000, who could change it; give it to root: chown root"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert settings_for(read_flags(["--config", "a.toml"]), EVENT).section == ""


@pytest.mark.usefixtures("file")
def test_a_file_of_roots_is_read_by_anybody(monkeypatch):
    """root may do all that the file can say."""
    real = os.fstat
    monkeypatch.setattr(
        os, "fstat", lambda handle: os.stat_result([*real(handle)[:4], 0, *real(handle)[5:]])
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert settings_for(read_flags(["--config", "a.toml"]), EVENT).section == ""


def test_what_is_not_a_file_is_refused_and_not_waited_for(file):
    """A pipe would hang the hook."""
    file.unlink()
    os.mkfifo("a.toml", 0o600)
    assert up() == "error: gw: a.toml is no regular file; put the settings into one"
    file.unlink()
    file.mkdir()
    assert up() == "error: gw: a.toml is no regular file; put the settings into one"
    file.rmdir()
    assert up() == "error: gw: a.toml is not there; name a file that is, or leave --config out"
    file.symlink_to("a.toml")
    assert (
        up()
        == "error: gw: a.toml cannot be read: Too many levels of symbolic links; correct its path or its mode"
    )
    file.unlink()
    file.symlink_to("/dev/zero")
    assert up() == "error: gw: a.toml is no regular file; put the settings into one"


def test_a_file_of_more_than_a_mebibyte_is_refused(file):
    """It would be read at every event."""
    file.write_bytes(b"#" * (1 << 20))
    assert settings_for(read_flags(["--config", "a.toml"]), EVENT).section == ""
    file.write_bytes(b"#" * ((1 << 20) + 1))
    assert (
        up()
        == "error: gw: a.toml is longer than 1048576 bytes; make it shorter, by patterns and [default]"
    )


def test_a_file_that_the_system_does_not_read_out_is_refused(file, monkeypatch):
    """The system's own words are in the line."""

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    assert (
        up() == "error: gw: a.toml cannot be read: Input/output error; correct its path or its mode"
    )
    assert file.exists()


def test_of_a_long_path_the_end_is_shown():
    """The end tells more."""
    assert (
        chosen_file({"config": ["/" + "a" * 100 + "/vti.toml"]}).shown
        == "…" + "a" * 30 + "/vti.toml"
    )


def test_a_path_that_just_fits_is_shown_whole():
    """40 characters."""
    path = "/" + "a" * 30 + "/vti.toml"
    assert len(path) == 40 and chosen_file({"config": [path]}).shown == path
    assert chosen_file({"config": [f"/{path}"]}).shown == "…" + path[1:]


def test_the_file_that_is_not_named_need_not_be_there(monkeypatch, tmp_path):
    """Nobody needs a file of settings."""
    monkeypatch.setattr(choose, "DEFAULT_FILE", str(tmp_path / "none.toml"))
    assert settings_for({}, EVENT).section == ""


def test_an_up_with_a_broken_file_fails_and_changes_nothing(file, monkeypatch, capfd):
    """The whole hook, with its records and its kernel in the place of which nothing is called."""
    from vti_updown.hook import run as events

    file.write_text("[connection.gw]\nmtu = 20")
    monkeypatch.setattr(events, "run", lambda call: call.flags.load_settings(call.event))
    assert hook(["--config", "a.toml"], ENVIRON) == 2
    assert capfd.readouterr().out == (
        "error: gw: a.toml [connection.gw] mtu = 20 is not a number from 68 to 65535; write mtu = 1400\n"
    )


# check-config.


def checked(capfd, *words):
    from vti_updown.admin.cli import run as people

    status = people(["check-config", *words])
    return capfd.readouterr().out.splitlines(), status


def test_check_config_prints_every_fault(file, capfd):
    """One line each, and exit status 2."""
    file.write_text("""
        [default]
        vrf = "blue"
        mtu = 20
        sysctl = { "ipv4.x" = "1", "ipv5.y" = 1 }
        [connection.a]
        routes = ["10.2.0.1/16", "10.3.0.0/16", "office"]
        peer = "moon"
        bandwidth = 5
        [connection.b]
        netns = "office"
        table = 0
        local = "any"
        remote = "any"
        [conection.c]
    """)
    assert checked(capfd, "--config", "a.toml") == (
        [
            "error: a.toml [conection] is unknown; write it under [default] or [connection.NAME]",
            "error: a.toml [connection.a] bandwidth is unknown; vti-updown --help lists what there is",
            'error: a.toml [connection.a] peer = "moon" is no address or subnet; write peer = "203.0.113.0/24"',
            "error: a.toml [default] mtu = 20 is not a number from 68 to 65535; write mtu = 1400",
            'error: a.toml [default] sysctl.ipv4.x = "1" is not a number from -2147483648 to 2147483647; write a whole number',
            'error: a.toml [default] sysctl = "ipv5.y" is no sysctl of a link; write ipv4.NAME or ipv6.NAME',
            'error: a.toml [connection.a] routes = "10.2.0.1/16" is not a subnet such as 10.2.0.0/16',
            "error:   write NET/PREFIX with no host bits set",
            'error: a.toml [connection.a] routes = "office" is not a subnet such as 10.2.0.0/16',
            "error:   write NET/PREFIX with no host bits set",
            "error: a.toml [connection.b] table = 0 is not main, default or a number from 1 to 4294967295; write table = 100",
            "error: a.toml [connection.b] local and remote are both any; write an address in one of them",
            "error: a.toml [default] vrf and netns exclude each other (netns: [connection.b]); leave one out",
        ],
        2,
    )


def test_check_config_says_a_fault_of_the_defaults_once(file, capfd):
    """Although every table inherits it."""
    file.write_text("[default]\nvrf = 'a'\nnetns = 'b'\n[connection.a]\n[connection.b]")
    assert checked(capfd, "--config", "a.toml") == (
        ["error: a.toml [default] vrf and netns exclude each other; leave one out"],
        2,
    )


def test_check_config_says_what_each_table_matches(file, capfd):
    """And which of them another one outdoes."""
    file.write_text("""
        [connection."rw-*"]
        [connection.one]
        peer = "192.0.2.7"
        peer_id = "*@example.org"
        [connection.two]
        peer_id = "*@example.org"
        peer = "192.0.2.7/32"
        [connection.gw]
        [default]
        mtu = 1400
    """)
    assert checked(capfd, "--config", "a.toml") == (
        [
            "[default]: every connection",
            '[connection."rw-*"]: connection rw-*',
            "[connection.one]: peer 192.0.2.7/32, peer_id *@example.org",
            "[connection.two]: peer 192.0.2.7/32, peer_id *@example.org",
            "[connection.gw]: connection gw",
            "warning: a.toml [connection.one] matches the same as [connection.two] behind it; the later wins",
            "a.toml: 4 connections, no faults",
        ],
        0,
    )


def test_check_config_warns_of_an_expect_that_says_nothing(file, capfd):
    """A tunnel that is down has no peer that a table could match."""
    file.write_text("""
        [connection.one]
        expect = "up"
        [connection.two]
        connection = "net"
        expect = "up"
        [connection.three]
        peer = "192.0.2.7"
        expect = "up"
    """)
    lines, status = checked(capfd, "--config", "a.toml")
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert warnings == [
        "warning: a.toml [connection.three] expect says nothing, as a tunnel that is down has but its name",
        "warning:   put it into a table that matches by the connection alone",
    ]
    assert status == 0


def test_check_config_of_an_empty_file_and_of_none(file, capfd, monkeypatch):
    """Neither is a fault."""
    assert checked(capfd, "--config", "a.toml") == (["a.toml: 0 connections, no faults"], 0)
    file.write_text("[connection.gw]")
    assert checked(capfd, "--config", "a.toml")[0][-1] == "a.toml: 1 connection, no faults"
    monkeypatch.setattr(choose, "DEFAULT_FILE", "none.toml")
    assert checked(capfd) == (["none.toml is not there, so the defaults hold"], 0)
    assert checked(capfd, "--config", "none.toml") == (
        ["error: none.toml is not there; name a file that is, or leave --config out"],
        2,
    )


def test_check_config_takes_the_file_on_either_side_of_its_name(file, capfd):
    """--config may stand before or behind the command."""
    from vti_updown.admin.cli import run as people

    file.write_text("[")
    assert people(["--config", "a.toml", "check-config"]) == 2
    assert capfd.readouterr().out.startswith("error: a.toml ")


# Anything.

WORDS = st.sampled_from(
    ("any", "auto", "none", "path", "xfrm", "vti", "keep", "main", "to", "src", "*", "[!", "[z-a]", "0x2a", "{if_id}",
     "ipv4.rp_filter", "10.2.0.0/16", "0.0.0.0/0", "::/0", "192.0.2.1", "169.254.21.2/30", "fe80::1", "fe80::/10",
     "10.3.0.1 peer 10.3.0.2")
)  # fmt: skip
SCALARS = st.one_of(
    WORDS,
    st.text(max_size=20),
    st.integers(),
    st.booleans(),
    st.floats(),
    st.dates(),
    st.times(),
    st.datetimes(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(), inner, max_size=3)
    ),
)
TABLE = st.dictionaries(
    st.sampled_from([*KEYS, *MATCHES]) | st.text(max_size=5), VALUES, max_size=6
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "default": TABLE | VALUES,
        "connection": st.dictionaries(
            st.sampled_from(["gw", "*", "g[w]", "", "[z-a]"]) | st.text(), TABLE, max_size=3
        )
        | VALUES,
        "other": VALUES,
    },
)


def readers(data):
    """What reads a file, with the file's bytes in the place of its reading."""
    from vti_updown.admin.check_config import check

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings_file, "contents", lambda _: data() if callable(data) else data)
        for reader in (
            lambda: settings_for({}, EVENT),
            lambda: settings_by_name({}),
            lambda: settings_for({"settings": ["gw"]}, EVENT),
        ):
            try:
                reader()
            except SettingsError as error:
                assert error.status == 2
                for line in error_lines(error, ENVIRON):
                    assert line.isprintable() and len(line.encode()) <= 120
        checked = check(chosen_file({}))
        assert (
            all(line.isprintable() and len(line.encode()) <= 120 for line in checked.lines)
            and checked.lines
        )


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.binary()
    | st.text().map(str.encode)
    | st.text("[]{}=.,\"'\n#a1 \\-:_default", max_size=60).map(str.encode)
)
@example(b"[connection.gw]\nmark = 1" + b"0" * 4000)
def test_no_bytes_raise_anything_but_a_settings_error(data):
    """Any file gives settings or a line."""
    readers(data)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(DOCUMENTS)
def test_no_document_raises_anything_but_a_settings_error(document):
    """As tomllib would have read it: what TOML can say is what these strategies make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tomllib, "loads", lambda _: document)
        readers(b"")
