"""The command line for people, as far as it needs no kernel."""

import pytest

from vti_updown.admin import cli as people


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--route 10.2.0.0/16 repair", "--route goes with an event, not with repair; leave it out"),
        ("--no-routes flush", "--no-routes goes with an event, not with flush; leave it out"),
        ("--config x.toml repair", "--config goes with an event, not with repair; leave it out"),
        (
            "--when-down keep --config x.toml prepare",
            "--when-down goes with an event, not with prepare; leave it out",
        ),
        ("--name a check-config", "--name goes with an event, not with check-config; leave it out"),
    ],
)
def test_a_flag_that_a_command_would_ignore_is_refused(capfd, words, said):
    """A flag is obeyed or refused, never ignored."""
    assert people.run(words.split()) == 2
    assert capfd.readouterr().out == f"error: {said}\n"


@pytest.mark.parametrize(
    "words", ["--config {file} check-config", "--dry-run check-config --config {file}"]
)
def test_check_config_takes_flags_from_before_it(capfd, tmp_path, words):
    """Its dry run is itself, since it changes nothing."""
    file = tmp_path / "settings.toml"
    file.write_text("[connection.a]\nmtu = 1400\n")
    assert people.run(words.format(file=file).split()) == 0
    assert capfd.readouterr().out.endswith("1 connection, no faults\n")
