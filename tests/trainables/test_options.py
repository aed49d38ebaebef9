"""Options: typed, limited, and named in every complaint."""

from __future__ import annotations

import dataclasses
import math

import pytest

from trainables import InputError
from trainables.options import Options, option


class Toy(Options):
    """One option of each kind."""

    rate: float = option(0.1, "a number", low=0.0, high=1.0)
    count: int = option(3, "a whole number", low=1)
    widths: tuple[int, ...] = option((4, 4), "whole numbers", low=1)
    limit: int | None = option(None, "a whole number or none", low=1)
    flag: bool = option(False, "true or false")
    kind: str = option("one", "a word", choices=("one", "two"))


class Unlimited(Toy):
    """Numbers without limits, or with one."""

    free: float = option(0.0, "any number")
    maybe: float | None = option(None, "a number or none", low=0.0)


class Wider(Toy):
    """Options of a subclass."""

    rate: float = option(0.5, "a number with another default", low=0.0)
    extra: int = option(7, "one more")


def test_defaults_hold_and_subclasses_add_and_replace():
    assert Toy.parse({}).plain() == {
        "rate": 0.1,
        "count": 3,
        "widths": [4, 4],
        "limit": None,
        "flag": False,
        "kind": "one",
    }
    assert Wider.parse({"rate": 5.0}).plain() == {**Toy.parse({}).plain(), "rate": 5.0, "extra": 7}


def test_values_take_their_declared_type():
    found = Toy.parse({"rate": 1, "widths": [8], "limit": 2, "flag": True, "kind": "two"})
    assert (found.rate, type(found.rate)) == (1.0, float)
    assert (found.widths, found.limit, found.flag, found.kind) == ((8,), 2, True, "two")
    assert Toy.parse({"widths": []}).widths == ()


def test_equal_values_are_equal_configurations():
    assert Toy.parse({"rate": 1, "widths": [8]}) == Toy.parse({"widths": (8,), "rate": 1.0})
    assert hash(Toy.parse({"widths": [8]})) == hash(Toy.parse({"widths": (8,)}))


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Toy.parse({}).rate = 0.2


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rates": 0.1}, "Did you mean 'rate'"),
        ({"rate": "0.1"}, "rate = '0.1' is not a number; allowed: 0.0 to 1.0"),
        ({"rate": True}, "rate = True is not a number"),
        ({"rate": None}, "rate = None is not a number"),
        ({"rate": 1.5}, "rate = 1.5 is out of range; allowed: 0.0 to 1.0"),
        ({"rate": math.nan}, "rate = nan is not a finite number; allowed: 0.0 to 1.0"),
        ({"rate": math.inf}, "rate = inf is not a finite number"),
        ({"free": math.inf}, "free = inf is not a finite number"),
        ({"free": -math.inf}, "free = -inf is not a finite number"),
        ({"free": math.nan}, "free = nan is not a finite number"),
        ({"maybe": math.inf}, "maybe = inf is not a finite number; allowed: 0.0 or more"),
        ({"count": math.inf}, "count = inf is not a whole number"),
        ({"count": 1.0}, "count = 1.0 is not a whole number"),
        ({"count": True}, "count = True is not a whole number"),
        ({"count": 0}, "count = 0 is out of range; allowed: 1 or more"),
        ({"widths": 4}, "widths = 4 is not a list of whole numbers"),
        ({"widths": [4, 2.0]}, "widths = .* is not a list of whole numbers"),
        ({"widths": [4, 0]}, "widths = 0 is out of range"),
        ({"limit": 0}, "limit = 0 is out of range"),
        ({"limit": "none"}, "limit = 'none' is not a whole number"),
        ({"flag": 1}, "flag = 1 is not true or false"),
        ({"kind": "tow"}, "kind: .*Did you mean 'two'.*Allowed: one, two"),
    ],
    ids=str,
)
def test_a_bad_value_is_refused_with_what_is_allowed(values, said):
    with pytest.raises(InputError, match=f"^methods.toy: .*{said}"):
        (Unlimited if values.keys() & {"free", "maybe"} else Toy).parse(values, where="methods.toy")


def test_a_whole_number_beyond_the_largest_float_is_not_finite():
    with pytest.raises(InputError, match=r"^free = 10* is not a finite number"):
        Unlimited(free=10**400)
