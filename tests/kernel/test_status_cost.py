"""What `vti-updown status` asks for, by the number of tunnels. Time is not measured."""

import pytest

from conftest import Machine
from vti_updown import netlink
from vti_updown.admin import survey
from vti_updown.objects import sysctl
from vti_updown.records.records import Records


class Cost:
    """What is asked for while one `status` runs."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.requests = 0
        self.statements = 0
        self.files = 0
        raw = netlink.Socket.raw
        copied = survey.copied
        read = sysctl.Sysctl._read

        def counted(*words: object, **named: object) -> object:
            self.requests += 1
            return raw(*words, **named)  # type: ignore[arg-type]

        def opened(namespace: str) -> Records:
            records = copied(namespace)
            records._db.set_trace_callback(self._statement)
            return records

        def opened_file(*words: object) -> object:
            self.files += 1
            return read(*words)  # type: ignore[arg-type]

        patch.setattr(netlink.Socket, "raw", counted)
        patch.setattr(survey, "copied", opened)
        patch.setattr(sysctl.Sysctl, "_read", opened_file)

    def _statement(self, _text: str) -> None:
        self.statements += 1


def cost(machine: Machine) -> Cost:
    with pytest.MonkeyPatch.context() as patch:
        counted = Cost(patch)
        machine.command("status")
    assert machine.status == 0
    return counted


@pytest.mark.slow
def test_the_cost_grows_with_the_number_of_tunnels_alone(machine: Machine) -> None:
    """The kernel is asked as often for 60 tunnels as for 20, and the records three times as often."""
    machine.by_hand()
    costs = {}
    for number in range(1, 61):
        peer = f"192.168.0.{number + 10}"
        machine.up(
            CONNECTION=f"gw{number}",
            PEER=peer,
            UNIQUEID=number,
            PEER_CLIENT=f"10.2.{number}.0/24",
            MARK_IN=number,
            MARK_OUT=number,
            MY_SOURCEIP=None,
            MY_SOURCEIP4_1=None,
            MY_SOURCEIP6_1=None,
        )
        if number in (20, 60):
            costs[number] = cost(machine)
    few, many = costs[20], costs[60]
    assert many.requests == few.requests
    assert many.files == 3 * few.files
    assert many.statements <= 3 * few.statements
    assert few.statements > 20
