"""Our named tuple does what typing's own does, wherever the product uses it."""

import copy
import typing

import pytest

from vti_updown.named_tuple import NamedTuple


class Ours(NamedTuple):
    number: int
    text: str = "default"

    @property
    def doubled(self) -> int:
        return self.number * 2


class Theirs(typing.NamedTuple):
    number: int
    text: str = "default"


def test_a_named_tuple_is_made_as_typings_own() -> None:
    """By position, by name, and with defaults."""
    for values, named in (((1, "a"), {}), ((1,), {"text": "b"}), ((1,), {}), ((), {"number": 2})):
        assert tuple(Ours(*values, **named)) == tuple(Theirs(*values, **named))


def test_what_typings_own_refuses_is_refused() -> None:
    """A field too many, one that is missing, and one that is not there."""
    for values, named in (
        ((1, "a", 2), {}),
        ((), {}),
        ((1,), {"other": 1}),
        ((1,), {"number": 1}),
        ((1, "a"), {"text": "b"}),
    ):
        for kind in (Ours, Theirs):
            with pytest.raises(TypeError):
                kind(*values, **named)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no field text, or has it twice"):
        Ours(1, "a", text="b")  # type: ignore[misc]
    for kind in (Ours, Theirs):
        with pytest.raises(ValueError, match="other"):
            kind(1)._replace(other=1)  # type: ignore[call-arg]


def test_a_named_tuple_reads_and_changes_as_typings_own() -> None:
    """Fields, repr, _replace, _asdict and properties."""
    ours, theirs = Ours(1), Theirs(1)
    assert (ours.number, ours.text, ours.doubled) == (1, "default", 2)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert tuple(ours._replace(text="x")) == tuple(theirs._replace(text="x"))
    assert type(ours._replace(text="x")) is Ours
    assert ours._asdict() == theirs._asdict()
    assert Ours._make([1, "x"]) == Ours(1, "x") and type(Ours._make([1, "x"])) is Ours
    assert copy.copy(ours) == ours and type(copy.copy(ours)) is Ours
    assert Ours._fields == Theirs._fields and Ours._field_defaults == Theirs._field_defaults
    assert hash(ours) == hash(tuple(ours)) and ours == Ours(1) and ours != Ours(2)
    with pytest.raises(AttributeError):
        ours.number = 2  # type: ignore[misc]
