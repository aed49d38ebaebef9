"""How a trial tells of what went wrong; what it learns is tested with courses and whole studies."""

from __future__ import annotations

import math

import pytest

from trainables.engine.trial import Trial, reason


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("too hot\nsecond line"), "ValueError: too hot"),
        (ValueError("\n  too hot"), "ValueError: too hot"),
        (KeyError("name"), "KeyError: 'name'"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_reason_is_the_type_and_the_first_line(error, told):
    assert reason(error) == told


class Broken:
    """A course that cannot go on, or whose outcome cannot be kept."""

    def __init__(self, where):
        self.where = where

    def advance(self):
        if self.where == "advance":
            raise ValueError("too hot\nby far")

    def outcome(self):
        raise TypeError("no outcome")


@pytest.mark.parametrize(
    ("where", "told"), [("advance", "ValueError: too hot"), ("outcome", "TypeError: no outcome")]
)
def test_whatever_is_raised_in_a_step_is_a_result(where, told):
    trial = Trial.__new__(Trial)
    trial.courses, trial.failure, trial.reason = [Broken(where)], "", ""
    for _ in range(2):
        result = trial.step()
        assert (result["done"], result["task"], result["reason"]) == (True, 0, told)
        assert result["failure"].startswith("Traceback")
        assert math.isnan(result["score"])
