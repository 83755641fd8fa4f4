"""From what a user has to what he wants: from the bash script to the hook, from a mark to an if_id."""

import re

import pytest

from bench import SCRIPT
from demo import SUN_CONF
from support.capture import Capture
from support.host import changes, wire
from support.recipes import Recipe
from support.site import INNER, Site, default_route, has, nothing_left

SUN = SUN_CONF.replace("192.168.0.2", "192.0.2.1")
SECRETS = 'moon sun : PSK "change me"\n'
SCRIPT_PATH = "/etc/ipsec-vti.sh"


class Moved(Site):
    """moon is 192.0.2.2; sun is 192.0.2.1, the gateway of 10.2.0.1 and fd00:2::1, and keeps its
    configuration throughout.
    """

    def set_up(self) -> None:
        wire(self.moon, self.sun, addresses=[("192.0.2.2/24", "192.0.2.1/24")])
        default_route(self.moon, "192.0.2.1")
        has(self.sun, "10.2.0.1/16", "fd00:2::1/128")
        self.sun.charon(conf=SUN, secrets=SECRETS, charon="charon {\n}\n")

    def packets_pass(self) -> None:
        with Capture(self.moon, "eth0", INNER) as clear:
            assert self.moon.ping("10.2.0.1") == self.moon.ping("fd00:2::1") == 3
            assert self.sun.ping("10.3.0.1", source="10.2.0.1") == 3
        assert clear.lines == []

    def vtis(self) -> set[str]:
        links = self.moon.run("ip", "-brief", "link", "show", "type", "vti").splitlines()
        return {line.split("@")[0] for line in links} - {"ip_vti0"}


site = Moved.fixture(scope="function")


@pytest.mark.slow
@pytest.mark.recipe("from-bash-script", "strongSwan")
def test_one_line_takes_the_bash_scripts_place(site: Moved) -> None:
    """The script leaves a link at an IKE rekey; the page's steps take that away, and the hook's
    tunnel leaves nothing.
    """
    moon, recipe = site.moon, Recipe("from-bash-script")
    clean = moon.network_state()
    recipe.install(moon)
    old, new = (
        re.search(rf"(?m)^    {re.escape(sign)}\t(leftupdown=.+)$", recipe.page) for sign in "-+"
    )
    assert old and new
    after = (recipe.folder / "ipsec.conf").read_text()
    assert f"\t{new[1]}\n" in after
    moon.file("/etc/ipsec.conf", after.replace(new[1], old[1]))
    moon.file(SCRIPT_PATH, SCRIPT, 0o755)
    moon.start_charon(starter=True)
    moon.run("ipsec", "up", "gw")
    moon.until("grep -q 'updown: .*vti1.disable_policy' /run/charon.log")
    assert site.vtis() == {"vti1"}
    moon.run("swanctl", "--rekey", "--ike", "gw")
    moon.until_sas("gw", 1, 1, without_ike=[1])
    recipe.run(moon, "ipsec down gw")
    moon.until("grep -q 'updown: .*ip tunnel\\|updown: .*vti2' /run/charon.log")
    assert site.vtis() == {"vti1"}  # what the script has left
    assert "vti1" in recipe.run(moon, "ip -brief link show type vti")
    recipe.run(moon, "ip link del vti1")
    assert changes(clean, moon.network_state()) == []
    recipe.install(moon, "ipsec.conf")
    recipe.run(moon, "ipsec update")
    recipe.run(moon, "ipsec up gw")
    moon.until("[ $(grep -c 'updown: gw: vti. up' /run/charon.log) = 2 ]")
    site.packets_pass()
    moon.run("swanctl", "--rekey", "--ike", "gw")
    moon.until_sas("gw", 1, 1, without_ike=[1, 2, 3])
    recipe.run(moon, "ipsec down gw")
    moon.until("grep -q 'updown: gw: vti. down' /run/charon.log")
    assert site.vtis() == set()
    nothing_left(moon, clean)


@pytest.mark.slow
@pytest.mark.recipe("from-mark-to-if-id", "strongSwan")
def test_an_if_id_takes_the_marks_place(site: Moved) -> None:
    """The link was a VTI and is an XFRM interface, both families pass as before, and the peer has
    changed nothing.
    """
    moon, recipe = site.moon, Recipe("from-mark-to-if-id")
    clean = moon.network_state()
    recipe.install(moon)
    gone, come = (
        re.findall(rf"(?m)^       {re.escape(sign)}\t(\w+ = \d+)$", recipe.page) for sign in "-+"
    )
    assert len(gone) == len(come) == 2
    before = (recipe.folder / "swanctl.conf").read_text()
    for mark, if_id in zip(gone, come, strict=True):
        assert if_id in before
        before = before.replace(if_id, mark)
    moon.file(recipe.target("swanctl.conf"), before, 0o600)
    moon.start_charon()
    moon.run("swanctl", "--initiate", "--child", "gw")
    moon.hook_log(at_least=2)
    site.packets_pass()
    assert site.vtis() == {"vti1"}
    recipe.install(moon, "swanctl.conf")
    recipe.run(moon, "swanctl --load-all")
    recipe.run(moon, "swanctl --terminate --ike gw")
    moon.hook_log(at_least=4)
    nothing_left(moon, clean)
    recipe.run(moon, "swanctl --initiate --child gw")
    assert (
        "gw: xfrm42 up, 192.0.2.2 → 192.0.2.1, if_id 42, 10.3.0.1/32, 10.2.0.0/16"
        in moon.hook_log(at_least=6)
    )
    site.packets_pass()
    assert "xfrm42" in recipe.run(moon, "ip -brief link show type xfrm")
    assert site.vtis() == set()
    recipe.run(moon, "swanctl --terminate --ike gw")
    moon.hook_log(at_least=8)
    nothing_left(moon, clean)
