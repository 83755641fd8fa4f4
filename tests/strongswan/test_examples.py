"""The examples as they stand, with their placeholders filled in."""

import pytest

import demo
from support.host import Host
from support.namespaces import HOOK

from .conftest import SECRETS, SUN_STRONGSWAN


def test_the_demo_holds(capfd):
    """ipsec.conf and charon.conf of examples/, ipsec up, packets counted on the link and on the
    wire, ipsec down.
    """
    status = demo.main()
    assert status == 0, capfd.readouterr().out


def test_swanctl_conf_makes_the_same_tunnel():
    """The example for swanctl builds what the one for ipsec.conf builds."""
    with Host("moon") as moon, Host("sun") as sun:
        demo.two_hosts(moon, sun)
        sun.charon(conf=demo.SUN_CONF, secrets=SECRETS, charon=SUN_STRONGSWAN)
        conf = demo.example("swanctl.conf").replace("…", "for tests only")
        moon.charon(swanctl=conf, charon=demo.example("charon.conf"))
        before = moon.network_state()
        moon.run("swanctl", "--initiate", "--child", "gw")
        assert moon.hook_log(at_least=2) == [
            "gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, 10.3.0.1/32, 10.2.0.0/16",
            "gw: vti1 up, 192.168.0.1 → 192.168.0.2, mark 2, fd00:3::1/128, fd00:2::/32",
        ]
        for inner in ("10.2.0.1", "fd00:2::1"):
            assert moon.ping(inner) == 3
        assert moon.counters("vti1")[1] >= 6
        moon.run("swanctl", "--terminate", "--ike", "gw")
        assert len(moon.hook_log(at_least=4)) == 4
        assert moon.network_state() == before


@pytest.mark.parametrize("name", ["ipsec.conf", "swanctl.conf"])
def test_examples_name_the_hook_where_make_install_puts_it(name):
    """A path that is copied must exist."""
    assert f"{HOOK} --route" in demo.example(name)
