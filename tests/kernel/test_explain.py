"""`vti-updown explain` on a real kernel: it changes nothing, and needs root only for the records."""

import json
import os
import subprocess
import sys

import pytest

from support.events import environment
from support.namespaces import INSTALLED
from view import records
from vti_updown import cli

NET = ("--route", "10.2.0.0/16", "--mss", "path")
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


@pytest.fixture
def explain(capfd, monkeypatch):
    """What is printed of an event that stands in the environment."""

    def explained(*words, verb="up-client", **changed):
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["vti-updown", "explain", *words])
            patch.setattr(os, "environ", environment(verb, **changed))
            assert cli.main() == 0
        return capfd.readouterr().out

    return explained


def test_nothing_is_changed_whatever_is_explained(machine, explain):
    """The whole network state and the records are equal before and after."""
    empty = machine.state(), records()
    text = explain(*NET)
    assert "1. make link vti1" in text
    assert (machine.state(), records()) == empty
    machine.up(*NET)
    up = machine.state(), records()
    assert "Nothing to change." in explain(*NET)
    assert "make route 10.7.0.0/16 by vti1" in explain("--route=10.7.0.0/16", UNIQUEID=2)
    assert "change link vti1" in explain(*NET, "--mtu=1300", UNIQUEID=2)
    assert "1. take away" in explain(verb="down-client")
    assert json.loads(explain("--json", verb="down-client"))["events"][0]["steps"]
    assert (machine.state(), records()) == up
    machine.down()
    assert machine.state() == empty[0]


def test_a_route_of_somebody_elses_is_told_before_it_is_left_alone(machine, explain):
    """The event says the same when it has met it."""
    machine.run("ip", "route", "add", "10.2.0.0/16", "dev", "eth0")
    text = explain(*NET)
    assert "- leave alone route 10.2.0.0/16 by vti1" in text
    assert "- there is a route by eth0, which is not ours" in text
    assert "ip route add 10.2.0.0/16" not in text
    assert "left alone: a route to 10.2.0.0/16 by eth0" in " ".join(machine.up(*NET))


def test_a_link_of_somebody_elses_is_told_before_it_is_borrowed(machine, explain):
    """It is used, and has no command of ours."""
    machine.add_vti("mine")
    text = explain(*NET)
    assert "mine is it already, which somebody else made" in " ".join(text.split())
    assert "ip link add" not in text


def test_it_works_without_root_but_for_the_records(machine):
    """What is found without them is said, and that it is."""
    machine.up(*NET)
    variables = [f"{name}={value}" for name, value in environment("up-client").items()]
    words = [*NOBODY, "env", *variables, str(INSTALLED), "explain", *NET]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    assert "the records are for root alone" in text and "link vti1" in text
