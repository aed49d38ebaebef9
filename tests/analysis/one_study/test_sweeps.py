"""How a sweep went: best so far, expected best against brute force, options by importance."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.one_study.sweeps import expected_best, sweep_history, tuning_row
from analysis.records import MethodRecord, TrialRecord, TuningRecord


def method(values, sampler="random", states=None, **tuning):
    """A sweep whose trials reached these values, None for one without."""
    history = tuple(
        TrialRecord(
            number,
            states[number] if states else "failed" if value is None else "complete",
            {"lr": 10.0 ** -(number + 1)},
            () if value is None else (value,),
        )
        for number, value in enumerate(values)
    )
    record = TuningRecord(
        trials=len(values), values=list(values), sampler=sampler, history=history, **tuning
    )
    return MethodRecord("replay", "replay", {}, {}, tuning=record)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.sampled_from([1, -1]))
def test_the_expected_best_is_the_mean_over_all_subsets(values, sign):
    best = max if sign == 1 else min
    for n, found in enumerate(expected_best(values, sign), start=1):
        subsets = [best(chosen) for chosen in itertools.combinations(values, n)]
        assert found == pytest.approx(np.mean(subsets), abs=1e-9)


def test_the_defaults_are_no_random_draw():
    found = sweep_history(method([0.9, 0.1, 0.3]), 1)
    assert found.expected == pytest.approx((0.2, 0.3))
    assert found.best_so_far == (0.9, 0.9, 0.9)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (method([0.1, 0.2, 0.3], sampler="tpe"), "tpe does not draw configurations independently"),
        (method([0.1, 0.2, None]), "some trials have no value"),
        (method([0.1, 0.2]), "fewer than 2 random trials"),
    ],
)
def test_where_it_is_not_valid_there_is_a_reason_and_no_curve(record, why):
    found = sweep_history(record, 1)
    assert found.expected == ()
    assert why in found.not_expected


def test_a_smaller_objective_may_be_the_better_one():
    assert sweep_history(method([0.5, 0.2, None, 0.4]), -1).best_so_far == (0.5, 0.2, 0.2, 0.2)


def test_nothing_is_best_before_the_first_value():
    assert sweep_history(method([None, 0.2]), 1).best_so_far == (None, 0.2)


def test_options_come_by_importance_with_what_each_complete_trial_took():
    record = method([0.1, 0.2, None, float("nan")])
    history = tuple(
        replace(t, params={**t.params, "ratio": t.number}) for t in record.tuning.history
    )
    tuning = replace(record.tuning, history=history, importance={"ratio": 0.7, "lr": 0.3})
    first, second = sweep_history(replace(record, tuning=tuning), 1).slices
    assert (first.option, first.importance) == ("ratio", 0.7)
    assert first.points == ((0, 0.1), (1, 0.2))
    assert second.points == ((0.1, 0.1), (0.01, 0.2))


def test_there_is_no_search_where_nothing_was_tuned():
    assert sweep_history(method([]), 1) is None


def test_optimism_is_what_tuning_promised_and_fresh_seeds_did_not_keep():
    record = method([0.6, 0.8], best_number=1)
    assert tuning_row(record, 0.7, 1).optimism == pytest.approx(0.1)
    assert tuning_row(record, 0.9, -1).optimism == pytest.approx(0.1)
    assert tuning_row(record, None, 1).optimism is None
    assert tuning_row(record, 0.7, 1).default_value == 0.6


def test_the_distinct_configurations_are_counted():
    trials = tuple(TrialRecord(i, "complete", {"lr": i % 2}, (0.5,)) for i in range(4))
    record = MethodRecord("replay", "replay", {}, {}, tuning=TuningRecord(history=trials))
    assert tuning_row(record, None, 1).configurations == 2
