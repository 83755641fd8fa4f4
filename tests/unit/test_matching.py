"""Which reference a `down` ends: the recorded orders of events, and random lives."""

import os
from typing import Any

import pytest

from vti_updown.event import Event, parse
from vti_updown.records import matching

from .lives import InMemory, InSqlite, Records, run, table

LIVES = int(os.environ.get("VTI_UPDOWN_LIVES", "20000"))
SEED = int(os.environ.get("VTI_UPDOWN_SEED", "1"))


def event(verb: str, uid: int, **variables: str) -> Event:
    """An event of the recorded gateway, but for `variables` (without PLUTO_, in lower case)."""
    usual = {
        "connection": "gw",
        "me": "192.168.0.1",
        "peer": "192.168.0.2",
        "my_id": "moon",
        "peer_id": "sun",
        "my_client": "10.3.0.1/32",
        "peer_client": "0.0.0.0/0",
        "my_sourceip4_1": "10.3.0.1",
        "mark_in": "2/0xffffffff",
        "mark_out": "2/0xffffffff",
    }
    if verb.endswith("-v6"):
        usual |= {"my_client": "fec3::1/128", "peer_client": "::/0"}
    environ = {f"PLUTO_{name.upper()}": value for name, value in (usual | variables).items()}
    return parse({**environ, "PLUTO_VERB": verb, "PLUTO_UNIQUEID": str(uid)})


class Told:
    """Tells records of events, of one charon. `up` and `down` return the reference's number."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def up(self, uid: int, verb: str = "up-client", holds: bool = True, **variables: str) -> int:
        return self.records.up("1 1", event(verb, uid, **variables), holds)

    def down(self, uid: int, verb: str = "down-client", **variables: str) -> int | None:
        return self.records.down("1 1", event(verb, uid, **variables))


@pytest.fixture(params=[InMemory, InSqlite])
def told(request: pytest.FixtureRequest) -> Told:
    return Told(request.param())


B: dict[str, Any] = {"connection": "b", "peer_client": "10.9.0.0/16"}
ELSEWHERE: dict[str, Any] = {"peer": "192.168.0.3"}


def test_down_after_an_ike_rekey_ends_its_own_selectors_up(told: Told) -> None:
    """The unique ID is new, the selectors are not."""
    a, a6, b = told.up(1), told.up(1, "up-client-v6"), told.up(1, **B)
    assert (told.down(2, **B), told.down(2), told.down(2, "down-client-v6")) == (b, a, a6)


def test_down_after_make_before_break_leaves_the_new_one(told: Told) -> None:
    """Two references are equal but for their unique IDs."""
    old = told.up(1), told.up(1, **B)
    new = told.up(3), told.up(3, **B)
    assert (told.down(2), told.down(2, **B)) == old
    assert (told.down(3), told.down(3, **B)) == new


def test_down_and_up_of_break_before_make_are_told_apart(told: Told) -> None:
    """The old IKE_SA's down may come late."""
    old = told.up(1)
    assert told.down(2) == old
    new = told.up(3)
    assert told.down(2) is None
    assert told.down(3) == new


def test_two_ike_sas_after_a_dpd_restart_end_each_its_own(told: Told) -> None:
    """Both stay up, and their ups came in the wrong order."""
    first = told.up(1)
    assert told.down(1) == first
    third, second = told.up(3), told.up(2)
    assert (told.down(2), told.down(3)) == (second, third)


def test_ike_sa_that_both_sides_initiated_ends_only_itself(told: Told) -> None:
    """The other one stays up."""
    mine = told.up(1)
    assert told.down(1) == mine
    theirs = told.up(2)
    assert told.down(1) is None
    assert told.down(2) == theirs


def test_identical_child_sas_have_a_down_each(told: Told) -> None:
    """Two equal ups are two references."""
    both = {told.up(1), told.up(1)}
    assert {told.down(2), told.down(2)} == both
    assert told.down(2) is None


def test_peers_behind_one_nat_are_told_apart(told: Told) -> None:
    """Their identities differ."""
    carol, dave = told.up(1, peer_id="carol"), told.up(2, peer_id="dave")
    assert (told.down(4, peer_id="carol"), told.down(3, peer_id="dave")) == (carol, dave)


def test_down_finds_a_host_that_roamed_to_another_family(told: Told) -> None:
    """Addresses, selectors and verb are all others by then."""
    four: dict[str, Any] = {
        "my_client": "192.168.0.1/32",
        "peer_client": "192.168.0.2/32",
        "my_sourceip4_1": "",
    }
    six: dict[str, Any] = {
        "me": "fec0::1",
        "peer": "fec0::2",
        "my_client": "fec0::1/128",
        "peer_client": "fec0::2/128",
        "my_sourceip4_1": "",
    }
    assert told.up(1, "up-host", **four) == told.down(1, "down-host-v6", **six)


def test_hosts_that_differ_in_their_virtual_ip_are_told_apart(told: Told) -> None:
    """Nothing else tells them apart."""
    wide: dict[str, Any] = {"my_client": "10.3.0.0/24"}
    one, other = (told.up(uid, my_sourceip4_1=f"10.3.0.{uid}", **wide) for uid in (1, 2))
    assert told.down(4, my_sourceip4_1="10.3.0.1", **wide) == one
    assert told.down(3, my_sourceip4_1="10.3.0.2", **wide) == other


def test_a_road_warriors_late_down_leaves_his_new_tunnel(told: Told) -> None:
    """The old address's down comes minutes after the new up."""
    old, new = told.up(1), told.up(5, **ELSEWHERE)
    assert told.down(3) == old
    assert told.down(7, **ELSEWHERE) == new


def test_down_of_a_failed_up_ends_no_neighbour(told: Told) -> None:
    """A failed up leaves a reference for its own down."""
    failed, neighbour = told.up(1, holds=False), told.up(1)
    assert told.down(2) == failed
    assert told.down(2) == neighbour
    neighbour, failed = told.up(3), told.up(3, holds=False)
    assert told.down(4) == failed
    assert told.down(4) == neighbour


def test_second_down_for_one_up_ends_nobody_else(told: Told) -> None:
    """charon sends some downs twice."""
    other, one = told.up(1), told.up(2)
    assert told.down(3) == one
    assert told.down(3) is None
    assert told.down(1) == other


def test_child_sa_started_after_an_ike_rekey_hides_no_older_one(told: Told) -> None:
    """It makes the new unique ID known, and the older one still has the old ID."""
    a = told.up(1)
    b = told.up(2, **B)
    assert (told.down(2, **B), told.down(2)) == (b, a)


def test_child_sa_restarted_between_ike_rekeys_has_its_down(told: Told) -> None:
    """Each rekey gives a new unique ID."""
    a, b = told.up(1), told.up(1, **B)
    assert told.down(1, **B) == b
    b = told.up(2, **B)
    assert (told.down(3), told.down(3, **B)) == (a, b)


def test_wrong_guess_between_equals_is_made_good(told: Told) -> None:
    """Two IKE_SAs that nothing tells apart: one `down` has a new ID, and the next tells whose it
    cannot have been.
    """
    both = {told.up(1), told.up(2)}
    assert {told.down(3), told.down(2)} == both
    both = {told.up(4), told.up(5)}
    assert {told.down(6), told.down(4)} == both


def test_child_sa_of_a_mistaken_ike_sa_has_its_down(told: Told) -> None:
    """The first IKE_SA is now 4, the second, with one CHILD_SA more, 3; the first one's `down` is
    taken for the second's.
    """
    first, second, b = told.up(1), told.up(2), told.up(2, **B)
    assert told.down(4) == second
    assert told.down(3, **B) == b
    assert told.down(3) == first


def test_references_of_another_charon_are_never_ended(told: Told) -> None:
    """Each charon counts its own unique IDs."""
    told.records.up("2 2", event("up-client", 1), True)
    assert told.down(1) is None
    assert told.down(2) is None


def life(number: int, unique_id: int, **known: Any) -> matching.Life:
    """A reference of the caller below."""
    usual = {"virtual_ips": "10.3.0.1", "me": "192.168.0.1", "peer": "192.168.0.2"}
    return matching.Life(number, unique_id, **{"born": unique_id, **usual, **known})


def ended(unique_id: int, *lives: matching.Life, heard: matching.Heard | None = None) -> Any:
    """What a `down` with this unique ID ends, and what ID its own has replaced.

    It does not depend on the order of the candidates.
    """
    caller = matching.caller("1 1", event("down-client", unique_id))
    ending = matching.ends(lives, caller, heard)
    assert matching.ends(lives[::-1], caller, heard) == ending
    return tuple(ending)


def test_a_down_with_a_new_id_ends_an_older_ike_sas() -> None:
    """Unique IDs only grow, so a reference with a greater one is another IKE_SA's."""
    assert ended(3, life(1, 2), life(2, 5)) == (1, 2)
    assert ended(3, life(1, 5)) == (None, None)
    assert ended(3) == (None, None)


def test_its_own_id_decides_before_all_else() -> None:
    """Where there is a reference of this very IKE_SA, no other is looked at."""
    assert ended(3, life(1, 2), life(2, 3, peer="192.168.0.9")) == (2, None)
    assert ended(3, life(1, 5), life(2, 3, peer="192.168.0.9")) == (2, None)


def test_an_id_that_was_guessed_counts_less_than_a_told_one() -> None:
    """Only where no reference has a lower ID may a guess have been wrong."""
    assert ended(3, life(1, 2), life(2, 5, born=1)) == (1, 2)
    assert ended(3, life(2, 5, born=1)) == (2, 5)


def test_a_down_under_an_id_of_which_all_is_over_ends_nothing() -> None:
    """It is a second `down`, whatever its ID was taken for."""
    for balance in (0, -1):
        assert ended(3, life(1, 4), heard=matching.Heard(balance, became=5)) == (None, None)


def test_an_id_that_was_taken_for_another_has_its_down() -> None:
    """It ends what could have been meant when that went wrong, and nothing newer."""
    heard = matching.Heard(1, became=5)
    assert ended(3, life(1, 5), life(2, 6), heard=heard) == (1, 5)
    assert ended(3, life(1, 4), life(2, 6), heard=heard) == (1, 4)
    assert ended(3, life(1, 6), heard=heard) == (None, None)
    assert ended(3, life(1, 1), heard=matching.Heard(1)) == (None, None)


@pytest.mark.parametrize(
    "other", [{"virtual_ips": "10.3.0.0"}, {"virtual_ips": "10.3.0.2"}, {"me": "192.168.0.0"},
              {"me": "192.168.0.9"}, {"peer": "192.168.0.1"}, {"peer": "192.168.0.9"}]
)  # fmt: skip
def test_a_down_ends_what_agrees_in_virtual_ip_and_endpoints(other: dict[str, str]) -> None:
    """Even beside a newer reference, and one that holds nothing."""
    assert ended(9, life(1, 2), life(2, 5, holds=False, **other)) == (1, 2)


def test_of_equals_one_that_holds_nothing_goes_then_the_oldest() -> None:
    """In doubt, a tunnel is kept."""
    assert ended(2, life(1, 2), life(2, 2, holds=False)) == (2, None)
    assert ended(2, life(1, 2, holds=False), life(2, 2)) == (1, None)
    assert ended(2, life(1, 2), life(2, 2)) == (1, None)


@pytest.mark.parametrize("mine", ["10.1.0.0/24", "10.9.0.0/24"])
def test_what_stands_is_known_by_its_selector(mine: str) -> None:
    """Only the selector of a virtual IP may be another one next time."""
    ours = matching.caller("1 1", event("up-client", 1, my_client=mine))
    again = matching.caller("1 1", event("up-client", 2, my_client=mine, my_sourceip4_1="10.3.0.9"))
    assert ours.standing_identity == again.standing_identity and mine in ours.standing_identity
    one = matching.caller("1 1", event("up-client", 1))
    nine: dict[str, Any] = {"my_client": "10.3.0.9/32", "my_sourceip4_1": "10.3.0.9"}
    other = matching.caller("1 1", event("up-client", 2, **nine))
    assert one.standing_identity == other.standing_identity
    assert one.identity != other.identity


def test_marks_that_differ_in_their_masks_are_two_identities() -> None:
    """A CHILD_SA has both its marks for its whole life."""
    told = {
        matching.caller("1 1", event("up-client", 1, mark_in=mark)).identity
        for mark in ("2/0xffffffff", "2/0x0000000f", "3/0xffffffff", "")
    }
    assert len(told) == 4


def test_what_stands_may_be_the_same_but_for_its_mark() -> None:
    """A standing link may hold another mark than the `up` that comes has (`mark=%unique`)."""
    one, other = (
        matching.caller("1 1", event("up-client", 1)),
        matching.caller("1 1", event("up-client", 1, peer_id="dave")),
    )
    assert matching.same_but_for_mark(one.identity, one.standing_identity)
    assert not matching.same_but_for_mark(one.identity, other.standing_identity)
    assert not matching.same_but_for_mark(other.identity, one.standing_identity)
    assert matching.same_but_for_mark(one.identity, matching.ADOPTED)


def test_random_lives_end_no_reference_that_can_be_told_apart(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The table of verdicts is printed, with the seed."""
    tallies = run(LIVES, SEED)
    with capfd.disabled():
        print(f"\nVTI_UPDOWN_LIVES={LIVES} VTI_UPDOWN_SEED={SEED}\n{table(tallies)}", flush=True)
    # Highest share of the `down`s, two to five times what a million lives show: (not right, wrong,
    # outages, leaks).
    limits = {
        "balanced": (0.008, 0.0003, 0.001, 0.005),
        "some doubled": (0.01, 0.0005, 0.0015, 0.006),
        "some lost": (0.03, 0.003, 0.012, 0.006),
    }
    for kind, (not_right, wrong, outages, leaks) in limits.items():
        tally = tallies[kind]
        downs = tally["downs"] + 1000  # few lives vary more
        assert tally["downs"] - tally["right"] <= not_right * downs, kind
        assert tally["wrong"] <= wrong * downs, kind
        assert tally["outages"] <= outages * downs, kind
        assert tally["leaks"] <= leaks * downs, kind


class SameIdElseOldest(InMemory):
    """A plausible rule: the same unique ID, else the same endpoints, else the oldest."""

    def down(self, charon: str, event: Event) -> int | None:
        told, here = matching.identity(event), matching.caller(charon, event)
        found = [
            one.life for one in self.kept.values() if one.identity == told and one.charon == charon
        ]
        if not found:
            return None
        path = here.me, here.peer
        best = min(
            found,
            key=lambda one: (
                one.unique_id != here.unique_id,
                (one.me, one.peer) != path,
                one.number,
            ),
        )
        del self.kept[best.number]
        return best.number


def test_random_lives_tell_a_worse_rule_from_ours() -> None:
    """The simulation can tell a good rule from a bad one."""
    ours, worse = run(2000, SEED)["balanced"], run(2000, SEED, SameIdElseOldest)["balanced"]
    assert worse["wrong"] > ours["wrong"] + worse["downs"] * 0.003
    assert worse["outages"] > ours["outages"] + worse["downs"] * 0.003


def test_random_lives_go_the_same_way_in_the_records() -> None:
    """The fast model and SQLite give the same answers."""
    assert run(300, SEED, InSqlite) == run(300, SEED)
