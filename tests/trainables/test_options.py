"""Options: typed, limited, and named in every complaint."""

from __future__ import annotations

import dataclasses
import math
import typing

import pytest
import torch
from own_data import NEEDED

from trainables import LEARNERS, STREAMS, InputError
from trainables.options import FLOAT32, Options, option
from trainables.streams import StreamInfo


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
    whole: int = option(0, "any whole number")
    listed: tuple[int, ...] = option((), "any whole numbers")


class Limited(Toy):
    """Numbers with upper limits, and a list with a longest."""

    strength: float = option(1.0, "a number", low=0.0, high=1e15)
    factor: float = option(1.0, "a number", low=0.0, high=1e6)
    passes: int = option(1, "a whole number", low=1, high=10_000)
    layers: tuple[int, ...] = option((4,), "whole numbers", low=1, high=512, longest=3)


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


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"free": 1e300}, "free = 1e[+]300 is not representable in float32; allowed: 0 and "),
        ({"free": -3.5e38}, r"allowed: 0 and magnitudes from 1.2e-38 to 3.4e[+]38$"),
        ({"free": 10**39}, "free = 1e[+]39 is not representable in float32"),
        ({"free": 1e-60}, "free = 1e-60 is not representable in float32"),
        ({"free": -1e-45}, "free = -1e-45 is not representable in float32"),
        ({"maybe": 1e-50}, "maybe = 1e-50 is not representable in float32"),
        ({"rate": 1e-50}, "rate = 1e-50 is not representable in float32"),
        (
            {"whole": 2**63},
            f"whole = {2**63} is out of range; allowed: -{2**63 - 1} to {2**63 - 1}",
        ),
        ({"listed": [1, -(2**70)]}, f"listed = -{2**70} is out of range"),
        ({"strength": 1e300}, "strength = 1e[+]300 is out of range; allowed: 0.0 to 1e[+]15$"),
        ({"strength": 2e15}, "strength = 2000000000000000.0 is out of range"),
        ({"factor": 1e7}, r"factor = 10000000.0 is out of range; allowed: 0.0 to 1e[+]06$"),
        ({"passes": 10_001}, "passes = 10001 is out of range; allowed: 1 to 10000$"),
        ({"passes": 10**400}, "passes = 10{400} is out of range; allowed: 1 to 10000$"),
        ({"layers": [4, 513]}, "layers = 513 is out of range; allowed: 1 to 512$"),
        ({"layers": [1, 2, 3, 4]}, "layers is a list of 4 numbers; allowed: at most 3$"),
    ],
    ids=str,
)
def test_a_number_that_cannot_be_meant_is_refused_with_what_is_allowed(values, said):
    kind = Unlimited if values.keys() <= Unlimited.fields().keys() else Limited
    with pytest.raises(InputError, match=f"^methods.toy: .*{said}"):
        kind.parse(values, where="methods.toy")


def test_every_number_that_float32_holds_in_full_is_taken():
    """Its smallest and largest are those of torch, and neither they nor 0 are lost in a tensor."""
    known = torch.finfo(torch.float32)
    assert (known.tiny, known.max) == FLOAT32
    for value in (0.0, *FLOAT32, -FLOAT32[1], 2**63 - 1):
        assert torch.tensor(Unlimited(free=value).free).item() == pytest.approx(value, rel=1e-6)
    assert Unlimited(whole=2**63 - 1, listed=[1 - 2**63]).listed == (1 - 2**63,)
    assert Limited(layers=[1, 2, 512], strength=1e15).layers == (1, 2, 512)


# -- the options there are


def kinds_of_options():
    """Every class of options of a learner or a stream, by name."""
    learners = {name: kind.Config for name, kind in LEARNERS.items()}
    return learners | {name: kind.Options for name, kind in STREAMS.items()}


def numbers(kind):
    """Options that are numbers or lists of them: name, type of the number, limits."""
    for name, hint in kind.kinds().items():
        types = {hint, *typing.get_args(hint)} & {int, float}
        if types:
            yield name, types.pop(), kind.fields()[name].metadata


@pytest.mark.parametrize("name", kinds_of_options())
def test_every_number_of_a_learner_or_stream_has_limits(name):
    kind = kinds_of_options()[name]
    found = list(numbers(kind))
    assert found
    for key, _, limits in found:
        assert limits["low"] is not None, f"{key} has no lower limit"
        assert limits["high"] is not None, f"{key} has no upper limit"
        listed = isinstance(kind.fields()[key].default, tuple)
        assert (limits["longest"] is not None) == listed, f"{key}: a list has a longest"


@pytest.mark.parametrize("name", kinds_of_options())
def test_the_limits_are_taken_and_what_is_beyond_is_refused(name):
    kind = kinds_of_options()[name]
    for key, number, limits in numbers(kind):
        listed = isinstance(kind.fields()[key].default, tuple)
        for end, beyond in (("low", -1), ("high", 1)):
            last = number(limits[end])
            over = last + beyond if number is int else last + beyond * max(abs(last), 1.0)
            assert kind.parse({key: [last] if listed else last})
            with pytest.raises(InputError, match=rf"^here: {key} = .* allowed: .+ to .+$"):
                kind.parse({key: [over] if listed else over}, "here")
        if listed:
            kind.parse({key: [limits["low"]] * limits["longest"]})
            with pytest.raises(InputError, match=rf"{key} is a list of \d+ numbers; allowed: at "):
                kind.parse({key: [limits["low"]] * (limits["longest"] + 1)})


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("name", LEARNERS)
def test_published_values_are_within_the_limits(name, stream):
    kind, source = LEARNERS[name], STREAMS[stream]
    for scenario in set(kind.scenarios) & set(source.scenarios):
        info = source.describe(scenario, source.Options.parse(NEEDED.get(stream, {})))
        assert isinstance(info, StreamInfo)
        kind.Config.parse(kind.published(info))


def test_a_whole_number_beyond_the_largest_float_is_not_finite():
    with pytest.raises(InputError, match=r"^free = 10* is not a finite number"):
        Unlimited(free=10**400)
