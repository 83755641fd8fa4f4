"""What swanctl.conf and ipsec.conf say of a CHILD_SA, in whatever form they are written."""

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vti_updown.admin import charon_files
from vti_updown.admin.charon_files import ConfiguredChild, configured_children

SWANCTL = "etc/swanctl/swanctl.conf"
Read = Callable[..., list[ConfiguredChild]]
ODD = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


@pytest.fixture
def read(tmp_path) -> Read:
    """Reads files, which are given by their names, below a root."""

    def write_and_read(swanctl="", ipsec="", **more):
        files = {SWANCTL: swanctl, "etc/ipsec.conf": ipsec, **more}
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return configured_children(str(tmp_path))

    return write_and_read


def test_a_usual_file_of_swanctl(read):
    """Name, place, connection, peers, hook, and what starts it."""
    children = read("""
connections {
    gw {
        remote_addrs = 203.0.113.7, 203.0.113.8
        local {
            id = moon
        }
        children {
            net { # the office
                updown = "/usr/local/sbin/vti-updown --route 10.2.0.0/16"
                start_action = trap|start
            }
            lab {
                updown = /usr/lib/ipsec/_updown iptables
                start_action = trap
            }
        }
    }
}
""")
    assert children == [
        ConfiguredChild(
            "net",
            "/etc/swanctl/swanctl.conf:9",
            "gw",
            ("203.0.113.7", "203.0.113.8"),
            "/usr/local/sbin/vti-updown --route 10.2.0.0/16",
            start=True,
            trap=True,
        ),
        ConfiguredChild(
            "lab",
            "/etc/swanctl/swanctl.conf:13",
            "gw",
            ("203.0.113.7", "203.0.113.8"),
            "/usr/lib/ipsec/_updown iptables",
            trap=True,
        ),
    ]
    assert children[0].words_of_hook == ["--route", "10.2.0.0/16"]
    assert children[1].words_of_hook is None


ONE = "connections { gw { children { net { %s } } } }"


@pytest.mark.parametrize(
    ("text", "updown"),
    [
        (ONE % "updown = /x/vti-updown --mtu 1400", "/x/vti-updown --mtu 1400"),
        (ONE % "updown=/x/vti-updown", "/x/vti-updown"),
        (ONE % 'updown = "/x/vti-updown --up \\"a b\\""', '/x/vti-updown --up "a b"'),
        (ONE % 'updown = "a # b"', "a # b"),
        (ONE % "updown = a # b\n", "a"),
        (ONE % 'updown = "a } b"', "a } b"),
        (ONE % 'updown = "two\nlines"', "two\nlines"),
        (ONE % "updown = a\n updown = b\n", "b"),
        (ONE % "updown = a\n updown = \n", ""),
        (ONE % "updown =\n start_action = none\n", ""),
        ("connections{gw{children{net{updown=a\n}}}}", "a"),
        ("connections\n{\ngw\n{\nchildren\n{\nnet\n{\nupdown\n=\na\n}}}}", ""),
        (ONE % "updown = a" + "\nconnections { gw { children { net { updown = b } } } }", "b"),
        ("base { updown = b }\n" + ONE.replace("net {", "net : base {") % "", "b"),
        (ONE.replace("net {", "net : base, other {") % "" + "\nbase { x = 1 }\nother { updown = c }", "c"),
        ("base { updown = b }\n" + ONE.replace("net {", "net : base {") % "updown = a", "a"),
        ("base { children { net { updown = b } } }\nconnections { gw : base { } }", "b"),
        (
            "base { children { net { updown = b } } }\n"
            "connections { gw : base { children { net { start_action = start } } } }",
            "b",
        ),
        ("connections { gw { children { net : connections.gw.children.net { updown = a } } } }", "a"),
        ("connections { gw : connections { children { net { updown = a } } } }", "a"),
        ("a : b { updown = x }\nb : a { }\n" + ONE.replace("net {", "net : b {") % "", "x"),
        (ONE % "updown = a\n" + "}}}}}", "a"),
        (ONE % "updown = a\n nested { " + "{" * 50, "a"),
    ],
)  # fmt: skip
def test_the_forms_of_a_value_and_a_section(read, text, updown):
    """As strongswan.conf(5) describes them."""
    first, *_ = read(text)
    assert (first.name, first.updown) == ("net", updown)


def test_files_that_include_each_other(read):
    """By patterns, from the folder of the file, or from the root."""
    child = ONE.replace("net", "%s") % ("%s", "updown = %s")
    children = read(
        "include conf.d/*.conf\nconnections { include more/children.conf }\ninclude nowhere",
        **{
            "etc/swanctl/conf.d/b.conf": child.replace("gw", "b") % ("b", "b"),
            "etc/swanctl/conf.d/a.conf": "include /srv/a.conf",
            "etc/swanctl/conf.d/not-this": "connections { no { children { no { } } } }",
            "srv/a.conf": child.replace("gw", "a") % ("a", "a"),
            "etc/swanctl/more/children.conf": "c { children { c { updown = c } } }",
        },
    )
    assert [(each.name, each.updown) for each in children] == [("a", "a"), ("b", "b"), ("c", "c")]
    assert children[0].where == "/srv/a.conf:1"


def test_files_that_include_themselves_are_read_a_few_times(read, monkeypatch):
    """Three files that include each other would be read without end."""
    monkeypatch.setattr(charon_files, "FILES", 50)
    both = "include *.conf\nconnections { gw { children { net { } } } }"
    names = {f"etc/swanctl/{name}.conf": both for name in "xyz"}
    assert [each.name for each in read(both, **names)] == ["net"]


def test_links_lead_to_files_below_the_root(read, tmp_path):
    """An absolute one in a container does not lead into the host."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/swanctl").symlink_to("/data/swanctl")
    (tmp_path / "data/swanctl").mkdir(parents=True)
    (tmp_path / "data/swanctl/swanctl.conf").write_text("include conf.d/*.conf")
    (tmp_path / "data/swanctl/conf.d").mkdir()
    (tmp_path / "data/swanctl/conf.d/a.conf").write_text(ONE % "updown = a")
    assert [each.where for each in configured_children(str(tmp_path))] == [
        "/etc/swanctl/conf.d/a.conf:1"
    ]


def test_a_usual_file_of_ipsec(read):
    """What a section lacks it has by `also`, in its order, and then by %default."""
    children = read(
        ipsec="""
# a comment
config setup
    charondebug = "ike 1"

conn %default
    leftupdown="/usr/local/sbin/vti-updown --up 'a # b'"
    right = 203.0.113.7

conn gw
\tauto=start
    also=peer  # of two
    also = more

conn\tpeer
    right=203.0.113.9

conn more
    right=203.0.113.10
    leftupdown=/other
    auto = route
"""
    )
    found = {each.name: each for each in children}
    assert found.keys() == {"gw", "peer", "more"}
    assert found["gw"] == ConfiguredChild(
        "gw", "/etc/ipsec.conf:10", "gw", ("203.0.113.9",), "/other", start=True, by_ipsec=True
    )
    assert found["peer"].words_of_hook == ["--up", "a # b"]
    assert (found["more"].trap, found["more"].start) == (True, False)


def test_includes_of_ipsec(read):
    """Each file may go on with a section, or begin another."""
    children = read(
        ipsec='include /etc/ipsec.d/*.conf\ninclude "more.conf"\nconn gw\n    auto=start\n',
        **{
            "etc/ipsec.d/a.conf": "conn a\n    auto=start\ninclude a.conf\n",
            "etc/more.conf": "conn gw\n    leftupdown=vti-updown\n",
        },
    )
    assert [(each.name, each.start, each.updown) for each in children] == [
        ("a", True, ""),
        ("gw", True, "vti-updown"),
    ]


def test_sections_that_name_each_other_end(read):
    """5,000 of them in a ring."""
    ring = "".join(f"conn c{n}\n    also=c{(n + 1) % 5000}\n" for n in range(5000))
    children = read(ipsec=ring + "conn c7\n    auto=start\n")
    assert len(children) == 5000
    assert children[0].start


def test_what_is_no_file_is_skipped(tmp_path):
    """A pipe would never end, and a folder has no text."""
    (tmp_path / "etc/swanctl/swanctl.conf").mkdir(parents=True)
    os.mkfifo(tmp_path / "etc/ipsec.conf")
    assert configured_children(str(tmp_path)) == []


def test_a_charon_without_starter_has_no_ipsec_conf(read, tmp_path):
    """One that is left from before would make false alarms."""
    read(ipsec="conn old\n    auto=start\n")
    assert configured_children(str(tmp_path), with_ipsec=False) == []


PIECES = st.sampled_from(
    ["connections", "gw", "children", "net", "{", "}", "=", ":", ",", '"', "#", "\\", "\n", " ",
     "\t", "include", "*", "[", "/", "..", "updown", "start_action", "start", "conn", "%default",
     "also", "auto", "\0", "\udcff", "中", "a" * 300]
)  # fmt: skip


@ODD
@given(st.lists(PIECES, max_size=60).map("".join))
@example('connections { gw { children { net { updown = "')
@example("a {" * 5000)
@example("a : a {" * 30 + "}" * 30)
@example("connections : connections { connections : connections { } }")
@example("x = " + '"' * 999)
@example("conn\n also\n also=also\nconn also\n also=,also,\n")
@example("include \0\ninclude [\ninclude\n include = x\n")
def test_nothing_that_a_file_contains_raises(read, text):
    """Whoever wrote it may have made any mistake."""
    for child in read(text, text):
        _ = child.words_of_hook
