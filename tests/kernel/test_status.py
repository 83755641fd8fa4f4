"""`vti-updown status` on a real kernel: what it shows, and that it changes nothing."""



from vti_updown.admin.screen import COLUMNS

from .conftest import Machine, sh


def shown(machine: Machine, *words: str) -> str:
    """What `status` prints. It changes neither the network nor the records."""
    before = machine.state()
    lines = machine.command("status", *words)
    assert machine.state() == before
    assert all(len(line) <= COLUMNS for line in lines), lines
    return "\n".join(lines)


def test_a_tunnel_as_it_was_set_up(machine: Machine) -> None:
    machine.up()
    t = [shown(machine), shown(machine, "gw"), "\n".join(machine.command("status", "--json"))]
    sh("ip route del 10.2.0.0/16")
    sh("ip link set vti1 mtu 1300")
    t += [shown(machine), shown(machine, "gw")]
    sh("ip link del vti1")
    t += [shown(machine), shown(machine, "gw")]
    raise AssertionError("\n======\n".join(t))
