"""The updown line, read from strongSwan's own files."""

import pytest

from vti_updown.admin.charon_files import configured_children
from vti_updown.admin.updown_line import UNKNOWN, with_updown_line


@pytest.fixture
def etc(tmp_path):
    """Writes a file below the root that is read."""

    def write(path, text):
        file = tmp_path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write


@pytest.fixture
def read(tmp_path):
    """What is read below that root."""

    def reads(name="gw", **given):
        return with_updown_line(given, name, configured_children(str(tmp_path)))

    return reads


SWANCTL = """\
# a comment { with a brace
connections {
    moon {
        local_addrs = 192.0.2.1
        children {
            other { updown = /bin/true }
            gw {
                mark_in = 42  # of both
                updown = "/usr/local/sbin/vti-updown --route 10.2.0.0/16 --mtu 1400"
            }
        }
    }
}
secrets { ike-1 { secret = "a } b" } }
"""


def test_swanctls_line_is_found_with_its_place(etc, read):
    """The words behind our program's name are its flags."""
    etc("/etc/swanctl/swanctl.conf", SWANCTL)
    found = read()
    assert found.flags == {"route": ["10.2.0.0/16"], "mtu": ["1400"]}
    assert found.notes == ["the flags are those of /etc/swanctl/swanctl.conf:7"]


def test_included_files_are_read_beside_the_one_that_includes_them(etc, read):
    """As Debian's file includes conf.d/*.conf."""
    etc("/etc/swanctl/swanctl.conf", "include conf.d/*.conf\n")
    etc("/etc/swanctl/conf.d/a.conf", "connections {}\n")
    etc("/etc/swanctl/conf.d/b.conf", SWANCTL)
    assert read().notes == ["the flags are those of /etc/swanctl/conf.d/b.conf:7"]


def test_a_file_that_includes_itself_ends(etc, read):
    """As deep as files may reasonably be."""
    etc("/etc/swanctl/swanctl.conf", "include swanctl.conf\n")
    assert read().notes == [f"strongSwan's files have no updown line of gw; {UNKNOWN}"]


def test_another_program_and_a_wrong_flag_are_told(etc, read):
    """Nothing is guessed of either."""
    etc("/etc/swanctl/swanctl.conf", SWANCTL)
    assert read("other").flags == {}
    assert "swanctl.conf:6 calls another program: /bin/true; " in read("other").notes[0]
    etc("/etc/swanctl/swanctl.conf", SWANCTL.replace("--mtu", "--mtuu"))
    assert read().notes[0].startswith("/etc/swanctl/swanctl.conf:7: unknown flag --mtuu; ")


def test_the_line_may_be_that_of_a_template(etc, read):
    """A section that refers to another has what that says."""
    referring = SWANCTL.replace("gw {", "gw : templates.net {").replace('updown = "', 'x = "')
    template = "templates { net { updown = vti-updown --mtu 1280 } }\n"
    etc("/etc/swanctl/swanctl.conf", referring + template)
    assert read().flags == {"mtu": ["1280"]}


def test_two_connections_with_unlike_lines_are_told(etc, read):
    """A child of this name is in both."""
    twice = SWANCTL + SWANCTL.replace("moon", "sun").replace("1400", "1300")
    etc("/etc/swanctl/swanctl.conf", twice)
    assert "have different updown lines" in read().notes[0] and read().flags == {}
    etc("/etc/swanctl/swanctl.conf", SWANCTL + SWANCTL.replace("moon", "sun"))
    assert read().flags["mtu"] == ["1400"]


IPSEC = """\
config setup
conn %default
    leftupdown=/usr/local/sbin/vti-updown
conn net
    leftupdown="/usr/local/sbin/vti-updown --mtu 1300"  # a comment
conn gw
    also=net
    mark=42
conn plain
    mark=43
"""


@pytest.mark.parametrize(("name", "flags", "line"), [("gw", ["1300"], 6), ("plain", None, 9)])
def test_ipsec_confs_line_may_be_anothers(etc, read, name, flags, line):
    """By `also`, or of `%default`."""
    etc("/etc/ipsec.conf", IPSEC)
    found = read(name)
    assert found.flags.get("mtu") == flags
    assert found.notes == [f"the flags are those of /etc/ipsec.conf:{line}"]


def test_flags_that_are_given_stand_for_the_line(etc, read):
    """Only the file of settings is asked for beside it."""
    etc("/etc/swanctl/swanctl.conf", SWANCTL)
    assert read(mtu=["1200"]).flags == {"mtu": ["1200"]}
    assert read(config=["a"]).flags == {
        "config": ["a"],
        "route": ["10.2.0.0/16"],
        "mtu": ["1400"],
    }
    assert read("nobody").notes == [f"strongSwan's files have no updown line of nobody; {UNKNOWN}"]
