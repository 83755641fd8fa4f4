"""What README.md says that the installed hook does and prints."""

import re
import shlex
import subprocess

from support import readme
from support.events import environment
from support.namespaces import HOOK, INSTALLED
from vti_updown import state

PATH = f"{INSTALLED.parent}:/usr/sbin:/usr/bin:/sbin:/bin"


def said(command, variables):
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": PATH, **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_event_by_hand_prints_what_the_readme_says(machine):
    """And it changes nothing."""
    before = machine.state()
    (event,) = (one for one in readme.commands() if "vti-updown" in one.words)
    group = f"group {state.group()}"
    assert said(event.words, {}) == [re.sub(r"group \d+", group, line) for line in event.prints]
    assert machine.state() == before


def test_the_readmes_connection_gives_the_readmes_log(machine):
    """Two families come up and go, as charon calls for the connection of the page."""
    connection = readme.connection()
    assert connection["leftupdown"].startswith(f"{HOOK} ")
    hook = shlex.join([str(INSTALLED), *shlex.split(connection["leftupdown"])[1:]])
    told = {"ME": "192.0.2.1", "PEER": connection["right"], "MY_SOURCEIP6_1": "fd00:3::1"}
    told |= {f"MARK_{way}": f"{connection['mark']}/0xffffffff" for way in ("IN", "OUT")}
    before = machine.state()
    lines = []
    for verb in ("up-client", "up-client-v6", "down-client", "down-client-v6"):
        own = {"MY_CLIENT": "fd00:3::1/128"} if verb.endswith("-v6") else {}
        lines += said(hook, environment(verb, **told, **own))
    assert lines == readme.log()
    assert machine.state() == before
