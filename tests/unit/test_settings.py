"""The settings: each as a key of the file and as a flag, and which of several decides."""

import ipaddress
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.events import environment
from vti_updown.cli import hook, usage
from vti_updown.event import parse
from vti_updown.settings import choose, values
from vti_updown.settings.choose import settings_by_name, settings_for
from vti_updown.settings.file import MATCHES
from vti_updown.settings.lists import ConfiguredRoute, InnerAddress
from vti_updown.settings.table import FLAGS, KEYS, Settings, SettingsError, fill_in, read_flags

ROOT = Path(__file__).parent.parent.parent
EVENT = parse(environment("up-client"))
NET = ipaddress.ip_network("10.2.0.0/16")
NET6 = ipaddress.ip_network("fd00:2::/32")
ip, interface = ipaddress.ip_address, ipaddress.ip_interface


@pytest.fixture(autouse=True)
def no_file_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(choose, "DEFAULT_FILE", str(tmp_path / "vti-updown.toml"))


def settings(*words, event=EVENT):
    return settings_for(read_flags(words), event)


@pytest.fixture
def file(tmp_path):
    """The settings that a file of this text gives, with flags `words`, to an event."""

    def read(text, *words, reader=settings_for, **changed):
        path = tmp_path / "vti-updown.toml"
        path.touch(0o600)
        path.write_text(text)
        if reader is settings_by_name:
            return settings_by_name(read_flags(words))
        return reader(read_flags(words), parse(environment("up-client", **changed)))

    return read


def test_no_flags_and_no_file_are_the_defaults():
    """The hook needs no settings."""
    assert settings() == Settings()


def test_each_field_of_settings_is_a_key_and_a_flag():
    """One table has them all."""
    assert {*KEYS, "section"} == set(Settings._fields)


def test_flags_are_read_in_both_spellings():
    """--flag VALUE and --flag=VALUE."""
    assert settings(
        "--route", "10.2.0.0/16", "--route=fd00:2::/32", "--name=vpn{uniqueid}"
    ) == Settings(routes=(ConfiguredRoute(NET), ConfiguredRoute(NET6)), name="vpn{uniqueid}")


def test_no_routes_is_an_empty_list():
    """It means the same as --route none."""
    assert settings("--no-routes").routes == ()


FORMS = [
    # key, as the file has it, as the flags have it, what it is
    ("name", '"{connection}-{if_id:08x}"', ["--name={connection}-{if_id:08x}"], "{connection}-{if_id:08x}"),
    ("name", '"{mark}{if_id}{uniqueid}{peer}"', ["--name", "{mark}{if_id}{uniqueid}{peer}"], "{mark}{if_id}{uniqueid}{peer}"),
    ("kind", '"vti6"', ["--kind", "vti6"], "vti6"),
    ("local", '"192.0.2.1"', ["--local", "192.0.2.1"], ip("192.0.2.1")),
    ("local", '"any"', ["--local", "any"], ip("0.0.0.0")),
    ("local", '"::"', ["--local=::"], ip("::")),
    ("remote", '"2001:db8::1"', ["--remote", "2001:db8::1"], ip("2001:db8::1")),
    ("remote", '"::ffff:192.0.2.1"', ["--remote=::ffff:192.0.2.1"], ip("192.0.2.1")),
    ("device", '"eth0"', ["--device", "eth0"], "eth0"),
    ("mark", "42", ["--mark", "42"], (42, 42)),
    ("mark", '["0x2A", 7]', ["--mark", "0x2A,7"], (42, 7)),
    ("if_id", "[1, 4294967295]", ["--if-id", "1,4294967295"], (1, 4294967295)),
    ("if_id", '"0x2a"', ["--if-id", "0x2a"], (42, 42)),
    ("mark", '"0x0000002a"', ["--mark", "0x0000002a"], (42, 42)),
    ("mark", '["0x2", "0xffffffff"]', ["--mark", "0x2,0xffffffff"], (2, 4294967295)),
    ("routes", '"auto"', ["--route", "auto"], None),
    ("routes", '"none"', ["--route", "none"], ()),
    ("routes", "[]", ["--no-routes"], ()),
    ("routes", '"10.2.0.0/16"', ["--route", "10.2.0.0/16"], (ConfiguredRoute(NET),)),
    ("routes", '["10.2.0.0/16", { to = "fd00:2::/32" }, "10.2.0.0/16"]', ["--route=10.2.0.0/16", "--route=fd00:2::/32"],
     (ConfiguredRoute(NET), ConfiguredRoute(NET6))),
    ("routes", '[{ to = "10.2.0.0/16", metric = 4294967294, table = "main", src = "10.1.0.1" }]',
     ["--route", "10.2.0.0/16,metric=4294967294,table=main,src=10.1.0.1"],
     (ConfiguredRoute(NET, 4294967294, 254, ip("10.1.0.1")),)),
    ("routes", '["10.2.0.0/16", { to = "10.2.0.0/16", metric = 5 }]', ["--route=10.2.0.0/16", "--route=10.2.0.0/16,metric=5"],
     (ConfiguredRoute(NET), ConfiguredRoute(NET, 5))),
    ("address", '"169.254.21.2/30"', ["--address", "169.254.21.2/30"], (InnerAddress(interface("169.254.21.2/30")),)),
    ("address", '["10.3.0.1", "fd00::1/64"]', ["--address=10.3.0.1", "--address=fd00::1/64"],
     (InnerAddress(interface("10.3.0.1/32")), InnerAddress(interface("fd00::1/64")))),
    ("address", '"169.254.21.2 peer 169.254.21.1"', ["--address", "169.254.21.2 peer 169.254.21.1"],
     (InnerAddress(interface("169.254.21.2/32"), ip("169.254.21.1")),)),
    ("address", '"169.254.21.2 peer 169.254.21.1/32"', ["--address", "169.254.21.2 peer 169.254.21.1/32"],
     (InnerAddress(interface("169.254.21.2/32"), ip("169.254.21.1")),)),
    ("address", '"10.0.0.0/31"', ["--address", "10.0.0.0/31"], (InnerAddress(interface("10.0.0.0/31")),)),
    ("address", '"10.3.0.1/32"', ["--address", "10.3.0.1/32"], (InnerAddress(interface("10.3.0.1/32")),)),
    ("address", '"169.254.21.1 peer 169.254.21.2"', ["--address", "169.254.21.1 peer 169.254.21.2"],
     (InnerAddress(interface("169.254.21.1/32"), ip("169.254.21.2")),)),
    ("address", '"fd00::1/128"', ["--address", "fd00::1/128"], (InnerAddress(interface("fd00::1/128")),)),
    ("mtu", "68", ["--mtu", "68"], 68),
    ("mtu", "65535", ["--mtu=65535"], 65535),
    ("mss", '"path"', ["--mss", "path"], 0),
    ("mss", '"none"', ["--mss", "none"], None),
    ("mss", "536", ["--mss", "536"], 536),
    ("mss", "65495", ["--mss", "65495"], 65495),
    ("metric", "0", ["--metric", "0"], 0),
    ("metric", "4294967294", ["--metric", "4294967294"], 4294967294),
    ("table", "4294967295", ["--table", "4294967295"], 4294967295),
    ("table", "1", ["--table", "1"], 1),
    ("table", '"main"', ["--table", "main"], 254),
    ("table", '"default"', ["--table", "default"], 253),
    ("vrf", '"blue"', ["--vrf", "blue"], "blue"),
    ("vrf", '"a-name-of-15-by"', ["--vrf", "a-name-of-15-by"], "a-name-of-15-by"),
    ("netns", '"büro 1"', ["--netns", "büro 1"], "büro 1"),
    ("multicast", "true", ["--multicast"], True),
    ("multicast", "true", ["--multicast=yes"], True),
    ("multicast", "false", ["--multicast=no"], False),
    ("link_local", '"fe80::1"', ["--link-local", "fe80::1"], interface("fe80::1/64")),
    ("link_local", '"fe80::1/128"', ["--link-local", "fe80::1/128"], interface("fe80::1/128")),
    ("link_local", '"auto"', ["--link-local", "auto"], None),
    ("sysctl", '{ "ipv4.rp_filter" = 2, "ipv6.accept_ra" = 0 }', ["--sysctl=ipv4.rp_filter=2", "--sysctl", "ipv6.accept_ra=0"],
     (("ipv4", "rp_filter", 2), ("ipv6", "accept_ra", 0))),
    ("netns", f'"{"x" * 255}"', ["--netns", "x" * 255], "x" * 255),
    ("sysctl", '{ "ipv4.a" = -2147483648, "ipv6.b" = 2147483647 }', ["--sysctl=ipv4.a=-2147483648", "--sysctl=ipv6.b=2147483647"],
     (("ipv4", "a", -2147483648), ("ipv6", "b", 2147483647))),
    ("sysctl", "{ ipv4.rp_filter = -1, ipv4.disable_policy = 0 }", ["--sysctl=ipv4.rp_filter=-1", "--sysctl=ipv4.disable_policy=0"],
     (("ipv4", "rp_filter", -1), ("ipv4", "disable_policy", 0))),
    ("full_table", "1000", ["--full-table", "1000"], 1000),
    ("full_priority", "5000", ["--full-priority", "5000"], 5000),
    ("ike_ports", "[1500, 14500]", ["--ike-ports", "1500,14500"], (1500, 14500)),
    ("ike_mark", "119", ["--ike-mark", "119"], 119),
    ("ike_mark", '"0x77"', ["--ike-mark", "0x77"], 0x77),
    ("when_down", '"block"', ["--when-down", "block"], "block"),
    ("expect", '"up"', ["--expect", "up"], "up"),
    ("up", '"a; b"', ["--up", "a; b"], "a; b"),
    ("up", f'"{"x" * 131071}"', ["--up", "x" * 131071], "x" * 131071),
    ("down", "'''\na\nb'''", ["--down", "a\nb"], "a\nb"),
    ("command_seconds", "60", ["--command-seconds", "60"], 60),
    ("command_detach", "true", ["--command-detach"], True),
    ("command_detach", "false", ["--command-detach=no"], False),
    ("log", '"commands"', ["--log", "commands"], "commands"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "toml", "words", "value"), FORMS, ids=[form[0] for form in FORMS])
def test_a_setting_is_the_same_in_the_file_and_as_a_flag(file, key, toml, words, value):
    """Both give the same value."""
    assert settings(*words) == Settings(**{key: value})
    assert file(f"[connection.gw]\n{key} = {toml}") == Settings(**{key: value}, section="gw")


def test_every_setting_is_tried_in_both_forms():
    """A new setting needs a row in this test."""
    assert {key for key, *_ in FORMS} == set(KEYS)


@pytest.mark.parametrize("flag", KEYS.values(), ids=list(KEYS))
def test_the_example_that_a_hint_shows_is_right(file, flag):
    """What a hint advises must be accepted."""
    file(f"[connection.gw]\n{flag.key} = {values.as_toml(flag.example)}")
    if not flag.alone:
        settings(f"--{flag.name}", values.as_word(flag.example))


def test_a_flag_without_a_value_leaves_the_next_word_alone():
    """--multicast and --command-detach take one only behind an equals sign."""
    assert settings("--multicast", "--mtu", "1400") == Settings(multicast=True, mtu=1400)
    assert settings("--command-detach", "--mtu", "1400") == Settings(command_detach=True, mtu=1400)
    assert settings("--no-routes", "--mtu", "1400") == Settings(routes=(), mtu=1400)


# Which of several decides.


def test_each_key_is_the_most_specific_tables(file):
    """Then come the defaults, and flags win over both."""
    text = """
        [connection."*"]
        mtu = 1
        metric = 2
        table = 3
        [connection.gw]
        mtu = 1400
        mss = "none"
        [default]
        mss = "path"
        metric = 9
        up = "default"
        [connection.other]
        mtu = 68
        device = "eth9"
    """.replace("mtu = 1\n", "mtu = 1200\n")
    assert file(text, "--mtu", "1300") == Settings(
        mtu=1300, mss=None, metric=2, table=3, up="default", section="gw"
    )
    assert file(text) == Settings(mtu=1400, mss=None, metric=2, table=3, up="default", section="gw")


def test_auto_takes_a_less_specific_tables_value_back(file):
    """routes = auto is a value like any other."""
    text = '[default]\nroutes = "none"\nlink_local = "fe80::1"\n[connection.gw]\nroutes = "auto"\nlink_local = "auto"'
    assert file(text) == Settings(section="gw")


def test_a_list_or_a_table_replaces_another_whole(file):
    """Nothing is added to what a less specific table says."""
    text = '[default]\nsysctl = { "ipv4.rp_filter" = 2 }\n[connection.gw]\nsysctl = { "ipv6.accept_ra" = 0 }'
    assert file(text).sysctl == (("ipv6", "accept_ra", 0),)


def test_without_a_match_the_defaults_hold(file):
    """And no section is named."""
    assert file("[default]\nmtu = 1400\n[connection.other]\nmtu = 1300") == Settings(mtu=1400)


RANKS = [
    ("more keys beat fewer", 'connection = "gw"', 'connection = "*"\npeer_id = "*"'),
    ("an exact text beats a pattern", 'connection = "g[w]"', 'connection = "gw"'),
    ("an exact text beats a longer pattern", 'peer_id = "su[n]*"', 'connection = "gw"'),
    ("more literal characters beat fewer", 'connection = "g*"', 'connection = "gw*"'),
    ("a set of characters is no literal", 'connection = "[gGhHiI]?"', 'connection = "g*"'),
    (
        "a negated set is no literal, and may hold a bracket",
        'connection = "[!]abcdef]?"',
        'connection = "g*"',
    ),
    ("a longer prefix beats a shorter", 'peer = "192.168.0.0/16"', 'peer = "192.168.0.0/24"'),
    ("one address beats a subnet", 'peer = "192.168.0.0/31"', 'peer = "192.168.0.2"'),
    ("one address beats a pattern", 'connection = "gw*"', 'peer = "192.168.0.2"'),
    ("a literal character beats a prefix", 'peer = "192.168.0.0/24"', 'connection = "g*"'),
    ("a prefix beats a pattern without a literal", 'connection = "*"', 'peer = "192.0.0.0/8"'),
    ("a set of one character is no literal", 'connection = "[g]?"', 'connection = "g*"'),
    ("a negated set of one character is no literal", 'connection = "[!a]?"', 'connection = "g*"'),
    ("a bracket at a set's start is of the set", 'connection = "[]g]?"', 'connection = "g*"'),
    ("a character behind a set is a literal", 'connection = "?[w]"', 'connection = "[g]w"'),
]


@pytest.mark.parametrize(
    ("loser", "winner"), [rank[1:] for rank in RANKS], ids=[rank[0] for rank in RANKS]
)
def test_the_more_specific_table_wins_wherever_it_stands(file, loser, winner):
    """The order in the file counts only among equals."""
    tables = [
        f"[connection.loser]\nmtu = 1300\n{loser}",
        f"[connection.winner]\nmtu = 1400\n{winner}",
    ]
    for text in ("\n".join(tables), "\n".join(reversed(tables))):
        assert file(text) == Settings(mtu=1400, section="winner")


def test_a_bracket_without_its_pair_stands_for_itself(file):
    """Such as in a name that only begins like a set."""
    tables = [
        '[connection.a]\nmtu = 1300\nconnection = "[g*"',
        '[connection.b]\nmtu = 1400\nconnection = "?*"',
    ]
    for text in ("\n".join(tables), "\n".join(reversed(tables))):
        assert file(text, CONNECTION="[gw").section == "a"


def test_of_equals_the_one_further_down_wins(file):
    """As people expect of a file."""
    tables = [
        '[connection.a]\nmtu = 1300\npeer_id = "sun"',
        '[connection.b]\nmtu = 1400\npeer_id = "sun"',
    ]
    assert file("\n".join(tables)).section == "b"
    assert file("\n".join(reversed(tables))).section == "a"


@pytest.mark.parametrize(
    ("match", "changed", "fits"),
    [
        ('connection = "g?"', {}, True),
        ('connection = "G?"', {}, False),
        ('peer = "192.168.0.2"', {}, True),
        ('peer = "192.168.0.0/24"', {}, True),
        ('peer = "192.168.1.0/24"', {}, False),
        ('peer = "::/0"', {}, False),
        ('peer = "0.0.0.0/0"', {"ME": "fec0::1", "PEER": "fec0::2"}, False),
        ('peer_id = "CN=sun, O=*"', {"PEER_ID": "CN=sun, O=x"}, True),
        ('peer_id = "*"', {"PEER_ID": None}, False),
        ('xauth_id = "*"', {}, False),
        ('xauth_id = "alice"', {"XAUTH_ID": "alice"}, True),
        ('connection = "gw"\npeer_id = "moon"', {}, False),
        ('connection = "gw"\npeer_id = "sun"\npeer = "192.168.0.2"', {}, True),
    ],
)
def test_a_table_matches_by_all_the_keys_that_it_gives(file, match, changed, fits):
    """One that does not match is enough."""
    assert (
        file(f"[connection.office]\nmtu = 1400\n{match}", **changed)
        == Settings(mtu=1400, section="office")
    ) is fits


def test_a_table_that_matches_by_keys_does_not_match_by_its_name(file):
    """Its name is only a name then."""
    assert file('[connection.gw]\nmtu = 1400\npeer_id = "moon"') == Settings()


def test_a_connections_name_is_no_pattern(file):
    """Only the file has patterns."""
    assert file("[connection.gw]\nmtu = 1400", CONNECTION="*") == Settings()
    assert file('[connection."[*]"]\nmtu = 1400', CONNECTION="*").mtu == 1400


def test_settings_names_the_table_whatever_matches(file):
    """--settings NAME takes that one."""
    text = '[default]\nmss = "path"\n[connection.gw]\nmtu = 1300\n[connection.office]\nmtu = 1400\npeer_id = "nobody"'
    assert file(text, "--settings", "office") == Settings(mtu=1400, mss=0, section="office")


def test_config_names_another_file(file, tmp_path):
    """--config FILE is read instead."""
    (other := tmp_path / "other.toml").touch(0o600)
    other.write_text("[connection.gw]\nmtu = 1400")
    assert file("[connection.gw]\nmtu = 1300", "--config", str(other)).mtu == 1400


def test_a_wrong_value_in_another_table_does_no_harm(file):
    """It fails only the connections that the table matches."""
    assert file("[connection.other]\nmtu = 1\n[connection.gw]\nmtu = 1400").mtu == 1400


def test_settings_by_name_have_each_table_with_the_defaults(file):
    """Tables that are patterns are left out."""
    text = """
        [default]
        mss = "path"
        [connection.gw]
        mtu = 1400
        [connection."rw-*"]
        mtu = 1300
        [connection."*"]
        vrf = "blue"
        [connection.office]
        connection = "net*"
        local = "192.0.2.1"
    """
    assert file(text, "--mtu", "68", reader=settings_by_name) == {
        "gw": Settings(mtu=1400, mss=0, section="gw"),
        "office": Settings(local=ip("192.0.2.1"), mss=0, section="office"),
    }


def test_settings_by_name_are_empty_without_a_file():
    """There is nothing to prepare then."""
    assert settings_by_name({}) == {}


def test_a_symbolic_link_counts_as_what_it_leads_to(file, tmp_path):
    """Its target's owner and mode are looked at."""
    (target := tmp_path / "target").touch(0o600)
    target.write_text("[connection.gw]\nmtu = 1400")
    (tmp_path / "link").symlink_to(target)
    assert file("", "--config", str(tmp_path / "link")).mtu == 1400


def test_a_down_reads_no_file_unless_it_asks_for_settings(monkeypatch, tmp_path):
    """The hook asks only where the `up` is on no record, so that a file broken since keeps no
    tunnel up.
    """
    from vti_updown.hook import run as events

    (broken := tmp_path / "broken.toml").touch(0o600)
    broken.write_text("[")
    ran = []

    def run(call):
        ran.append(call.event.verb)
        return [events.Ended(call.environ, events.Report([]))]

    monkeypatch.setattr(events, "run", run)
    assert hook(["--config", str(broken)], environment("down-client")) == 0
    assert ran == ["down-client"]


@pytest.mark.parametrize(
    "text",
    [
        'link_local = "fe80::1"\nmtu = 1280',
        'link_local = "fe80::1"\nsysctl = { "ipv6.disable_ipv6" = 0, "ipv4.disable_ipv6" = 1 }',
        "mtu = 1400\nmss = 1360",
        'mtu = 576\nmss = "path"',
        'kind = "xfrm"\nif_id = 42\nlocal = "any"',
        'kind = "vti6"\nlocal = "any"\nremote = "2001:db8::1"',
        'kind = "vti"\nlocal = "192.0.2.1"\nremote = "::"\nmark = 42',
        'kind = "auto"\nif_id = 42\nmark = 42',
        'link_local = "fe80::1"\nsysctl = { "ipv6.accept_ra" = 1, "ipv6.mtu" = 1400 }',
        'vrf = "blue"\nroutes = [{ to = "10.2.0.0/16", table = 254 }]',
        'netns = "office"\ntable = 100',
    ],
)
def test_what_can_be_together_is_taken(file, text):
    """A conflict is only told where there is one."""
    assert file(f"[connection.gw]\n{text}").section == "gw"


# Wrong flags.


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--rout", "10.2.0.0/16"], "unknown flag --rout", "see vti-updown --help"),
        (["10.2.0.0/16"], "unknown flag 10.2.0.0/16", "see vti-updown --help"),
        (["--when_down", "keep"], "unknown flag --when_down", "write --when-down"),
        (["--route"], "--route has no value", "write --route NET"),
        (["--route="], "--route has no value", "write --route NET"),
        (["--route", "10.2.0.1/16"], "--route 10.2.0.1/16 is not a subnet such as 10.2.0.0/16", "write NET/PREFIX with no host bits set"),
        (["--route", "office"], "--route office is not a subnet such as 10.2.0.0/16", "write NET/PREFIX with no host bits set"),
        (["--route", "10.2.0.0/16", "--no-routes"], "--route and --no-routes exclude each other", "leave one of them out"),
        (["--route", "10.2.0.0/16", "--route", "auto"], "--route auto stands alone", "leave the other --route out"),
        (["--route", "10.2.0.0/16,metric=4294967295"], "--route metric=4294967295 is not a number from 0 to 4294967294",
         "write a number such as 100"),
        (["--route", "10.2.0.0/16,via=10.1.0.1"], "--route via is no part of a route", "its keys are to, metric, table and src"),
        (["--route", "10.2.0.0/16,metric"], "--route 10.2.0.0/16,metric: 'metric' is no option, or given twice",
         "write NET,metric=N,table=N,src=IP"),
        (["--route", "10.2.0.0/16,src=fd00::1"], "--route src=fd00::1 is no IPv4 address of a host", "write an address of this host"),
        (["--route", "10.2.0.0/16,src=10.1.0.1", "--route", "10.2.0.0/16"], "--route 10.2.0.0/16 has two sources",
         "leave one of the two out"),
        (["--route", "10.2.0.0/16,src=0.0.0.0"], "--route src=0.0.0.0 is no IPv4 address of a host", "write an address of this host"),
        (["--address", "10.3.0.1 peer 10.3.0.1"], "--address 10.3.0.1 peer 10.3.0.1 needs two addresses of one family",
         "write ADDRESS peer ADDRESS"),
        (["--table", "255"], "--table 255 is the kernel's own table", "write --table 100"),
        (["--no-routes=yes"], "--no-routes takes no value", "write --no-routes alone"),
        (["--name", "a", "--name", "b"], "--name is given twice", "leave one out"),
        (["--name", "a/b"], "--name a/b has '/' in it, which no link name may have", "use letters, digits, - and _"),
        (["--name", "vpn{peer_id}"], "--name vpn{peer_id}: unknown {peer_id}",
         "known are {connection} {uniqueid} {mark} {if_id} {if_id:08x} {peer}"),
        (["--name", "vpn{if_id:8x}"], "--name vpn{if_id:8x}: unknown {if_id:8x}",
         "known are {connection} {uniqueid} {mark} {if_id} {if_id:08x} {peer}"),
        (["--name", "vpn{mark"], "--name vpn{mark has a brace without its pair", "write {uniqueid}, say"),
        (["--name", "vpn}"], "--name vpn} has a brace without its pair", "write {uniqueid}, say"),
        (["--name", "all"], "--name all is no name", "a link name has at most 15 letters, digits, - and _"),
        (["--name", "a-name-of-16-chr{mark}"], "--name a-name-of-16-chr{mark} is longer than 15 bytes",
         "a link name has at most 15 letters, digits, - and _"),
        (["--\x1b[31m"], "unknown flag --\\x1b[31m", "see vti-updown --help"),
        (["--multicast=maybe"], "--multicast maybe is neither yes nor no", "write =yes or =no"),
        (["--multicast="], "--multicast has no value", "write --multicast[=yes|no]"),
        (["--mtu", "1_400"], "--mtu 1_400 is not a number from 68 to 65535", "write --mtu 1400"),
        (["--mtu", "٣٣٣"], "--mtu ٣٣٣ is not a number from 68 to 65535", "write --mtu 1400"),
        (["--mark", "1,2,3"], "--mark 1,2,3 is not one or two numbers from 1 to 4294967295", "write --mark 42"),
        (["--if-id", "0x2a_1"], "--if-id 0x2a_1 is not one or two numbers from 1 to 4294967295", "write --if-id 42"),
        (["--sysctl", "ipv4.rp_filter"], "--sysctl ipv4.rp_filter= is not a number from -2147483648 to 2147483647",
         "write a whole number"),
        (["--sysctl", "ipv4.a=1", "--sysctl", "ipv4.a=2"], "--sysctl ipv4.a is given twice", "leave one out"),
        (["--sysctl", "ipv4.../all/x=1"], "--sysctl ipv4.../all/x is no sysctl of a link",
         "write ipv4.NAME or ipv6.NAME"),
        (["--vrf", "blue", "--netns", "x"], "--vrf and netns exclude each other", "leave one out"),
        (["--up", " "], "--up   is no command", "write --up logger up"),
        (["--up", "x" * 131072], f"--up {'x' * 39}… is longer than 131071 bytes", "put it into a script"),
        (["--route", "10.2.0.0/16,metric=1,metric=2"], "--route 10.2.0.0/16,metric=1,metric=2: 'metric=2' is no option, or given twice",
         "write NET,metric=N,table=N,src=IP"),
        (["--route", "10.2.0.0/16,to=10.3.0.0/16"], "--route 10.2.0.0/16,to=10.3.0.0/16: 'to=10.3.0.0/16' is no option, or given twice",
         "write NET,metric=N,table=N,src=IP"),
        (["--route", f"10.2.0.0/16,{'x' * 16}"], f"--route 10.2.0.0/16,{'x' * 16}: '{'x' * 14}…' is no option, or given twice",
         "write NET,metric=N,table=N,src=IP"),
        (["--route", "fd00::/32,src=10.1.0.1"], "--route src=10.1.0.1 is no IPv6 address of a host", "write an address of this host"),
        (["--route", "10.2.0.0/16,src=10.1.0.1", "--route", "10.2.0.0/16,src=10.1.0.2"], "--route 10.2.0.0/16 has two sources",
         "leave one of the two out"),
        (["--route", "10.2.0.0/16,src=10.1.0.2", "--route", "10.2.0.0/16,src=10.1.0.1"], "--route 10.2.0.0/16 has two sources",
         "leave one of the two out"),
        (["--route", "10.2.0.0/16", "--no-routes", "--route", "10.3.0.0/16"], "--route and --no-routes exclude each other",
         "leave one of them out"),
        (["--address", "fd00::1 peer 10.3.0.1"], "--address fd00::1 peer 10.3.0.1 needs two addresses of one family",
         "write ADDRESS peer ADDRESS"),
        (["--address", "10.3.0.1 peer 0.0.0.0"], "--address 10.3.0.1 peer 0.0.0.0 needs two addresses of one family",
         "write ADDRESS peer ADDRESS"),
        (["--address", "10.3.0.1/31 peer 10.3.0.9"], "--address 10.3.0.1/31 peer 10.3.0.9 has a prefix and a peer",
         "leave one of the two out"),
        (["--address", "/24"], "--address /24 is not an address such as 10.3.0.1 or 169.254.21.2/30", "write --address 169.254.21.2/30"),
        (["--address", "0.0.0.0/8"], "--address 0.0.0.0/8 is not an address such as 10.3.0.1 or 169.254.21.2/30",
         "write --address 169.254.21.2/30"),
        (["--address", "10.3.0.1/0024"], "--address 10.3.0.1/0024 is not an address such as 10.3.0.1 or 169.254.21.2/30",
         "write --address 169.254.21.2/30"),
        (["--address", "10.3.0.1/33"], "--address 10.3.0.1/33 is not an address such as 10.3.0.1 or 169.254.21.2/30",
         "write --address 169.254.21.2/30"),
        (["--table", "blue"], "--table blue is not main, default or a number from 1 to 4294967295", "write --table 100"),
        (["--mss", "zero"], "--mss zero is not path, none or a number from 536 to 65495", "write --mss path"),
        (["--remote", "255.255.255.255"], "--remote 255.255.255.255 is not an address of one host", "write --remote 203.0.113.7"),
        (["--mark", "2a"], "--mark 2a is not one or two numbers from 1 to 4294967295", "write --mark 42"),
        (["--mark", "0x00000002a"], "--mark 0x00000002a is not one or two numbers from 1 to 4294967295", "write --mark 42"),
        (["--mtu", "00000001400"], "--mtu 00000001400 is not a number from 68 to 65535", "write --mtu 1400"),
        (["--mtu", "65536"], "--mtu 65536 is not a number from 68 to 65535", "write --mtu 1400"),
        (["--sysctl", "ipv4.=1"], "--sysctl ipv4. is no sysctl of a link", "write ipv4.NAME or ipv6.NAME"),
        (["--sysctl", "ipv4.a=-2147483649"], "--sysctl ipv4.a=-2147483649 is not a number from -2147483648 to 2147483647",
         "write a whole number"),
        (["--sysctl", "ipv4.a=--1"], "--sysctl ipv4.a=--1 is not a number from -2147483648 to 2147483647", "write a whole number"),
        (["--name", "a{{mark}}"], "--name a{{mark}} has a brace without its pair", "write {uniqueid}, say"),
        (["--name", "a}{mark}"], "--name a}{mark} has a brace without its pair", "write {uniqueid}, say"),
        (["--name", f"{{{'x' * 16}}}"], f"--name {{{'x' * 16}}}: unknown {{{'x' * 14}…}}",
         "known are {connection} {uniqueid} {mark} {if_id} {if_id:08x} {peer}"),
        (["--netns", "."], "--netns . is no name of a network namespace", "write --netns office"),
        (["--netns", "x" * 256], f"--netns {'x' * 39}… is no name of a network namespace", "write --netns office"),
        (["--link-local", "192.0.2.1/24"], "--link-local 192.0.2.1/24 is not in fe80::/10", "write --link-local fe80::1/64"),
        (["--up", "\udcff"], "--up \\udcff is no UTF-8", "put it into a script"),
    ],
)  # fmt: skip
def test_a_wrong_flag_says_what_is_wrong_and_what_would_be_right(words, message, hint):
    """One line, with a value that would be taken."""
    with pytest.raises(SettingsError) as caught:
        settings(*words)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@given(
    st.lists(
        st.one_of(
            st.builds(
                lambda flag, equals, value: (
                    f"--{flag.name}={value}" if equals else f"--{flag.name}"
                ),
                st.sampled_from(FLAGS),
                st.booleans(),
                st.text()
                | st.sampled_from(
                    [
                        "0",
                        "-1",
                        "0x",
                        "any",
                        "auto",
                        "10.0.0.0/8,a=b",
                        "fe80::1%x",
                        "[]",
                        "ipv4.x={}",
                        "{if_id:08x}",
                    ]
                ),
            ),
            st.text(),
        ),
        max_size=4,
    )
)
def test_no_flag_raises_anything_but_a_settings_error(words):
    """Whatever is written on the updown line."""
    try:
        settings_for(read_flags(words), EVENT)
    except SettingsError as error:
        assert error.status == 2 and (error.message + error.hint).isprintable()


# The name of a link.

VALUES = {
    "connection": "gw",
    "uniqueid": "7",
    "mark": "2",
    "peer": "192.168.0.2",
    "if_id": "42",
    "if_id:08x": "0000002a",
}


def test_a_template_is_filled_in():
    """Each placeholder stands for its value."""
    assert fill_in("{connection}-{mark}x{uniqueid}", VALUES) == "gw-2x7"
    assert fill_in("x{if_id}-{if_id:08x}", VALUES) == "x42-0000002a"


@pytest.mark.parametrize(
    ("template", "connection", "fault"),
    [
        ("{connection}", "a-connection-of-16", "is longer than 15 bytes"),
        ("{connection}", "a b", "has ' ' in it, which no link name may have"),
        ("{connection}", "../x", "has '/' in it, which no link name may have"),
        ("{connection}", "vpn%d", "has '%' in it, which no link name may have"),
        ("{connection}", "büro", "has 'ü' in it, which no link name may have"),
        ("{connection}", "a:b", "has ':' in it, which no link name may have"),
        ("{connection}", "a\x7fb", "in it, which no link name may have"),
        ("{connection}", "..", "is no name"),
        ("{connection}", "all", "is no name"),
        ("{connection}{connection}", "", "is empty"),
    ],
)
def test_a_name_that_the_kernel_would_not_take_is_refused(template, connection, fault):
    """The kernel's rules for names are known before."""
    with pytest.raises(SettingsError) as caught:
        fill_in(template, VALUES | {"connection": connection})
    assert caught.value.message.endswith(fault)


# What people read.


def test_every_flag_has_a_help():
    """A flag without one would be a riddle."""
    assert all(flag.help.endswith(".") for flag in FLAGS)
    assert all(flag.default for flag in KEYS.values())


def test_the_help_tells_what_holds_without_the_flag():
    """--version and --help have no default."""
    described = {flag.name: flag.described for flag in FLAGS}
    assert described["mss"].endswith(" Default: none.")
    assert "Default" not in described["version"]


def test_the_help_that_the_hook_prints_fits_into_charons_lines():
    """charon cuts longer lines."""
    assert max(len(line.encode()) for line in usage()) <= 120


def test_the_example_has_every_key_and_no_fault(file):
    """It is what people copy."""
    text = (ROOT / "examples/vti-updown.toml").read_text()
    found = tomllib.loads(text)
    tables = [found["default"], *found["connection"].values()]
    assert {key for table in tables for key in table} == {*KEYS, *MATCHES}
    assert {"aws", "branch", "office", "out"} == file(text, reader=settings_by_name).keys()
    assert file(text, CONNECTION="rw-1").vrf == "blue"
