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


RECHECK = {100: 0.6, 101: 0.7, 102: 0.8}  # mean 0.7, standard deviation 0.1


def rechecked(values=(0.6, 0.8), scores=None, recheck=None, seeds=2):
    """A sweep whose last trial won, with its recheck and its confirmation."""
    best = {"best_number": len(values) - 1, "seeds_per_trial": seeds}
    recheck = RECHECK if recheck is None else recheck
    confirmed = {seed: score for seed, score in (scores or {}).items() if seed in recheck}
    return method(values, recheck=recheck, rechecked=confirmed, **best)


def test_selection_is_what_the_sweep_promised_and_fresh_seeds_did_not_keep():
    row = tuning_row(rechecked(), 1, has_shift=True)
    assert row.selection == pytest.approx(0.1)
    assert row.selection_error == pytest.approx(0.1 * np.sqrt(1 / 2 + 1 / 3))
    assert tuning_row(rechecked(), -1, has_shift=True).selection == pytest.approx(-0.1)
    assert row.default_value == 0.6


def test_shift_is_between_equal_seeds():
    """Differences 0.1, 0.2 and 0.3 (standard deviation 0.1); 103 has no recheck."""
    record = rechecked(scores={100: 0.5, 101: 0.5, 102: 0.5, 103: 0.0})
    for sign in (1, -1):
        row = tuning_row(record, sign, has_shift=True)
        assert row.shift == pytest.approx(sign * 0.2)
        assert row.shift_error == pytest.approx(0.1 / np.sqrt(3))
    row = tuning_row(record, 1, has_shift=False)
    assert (row.shift, row.shift_error) == (None, None)
    assert row.selection == pytest.approx(0.1)


def test_selection_and_shift_add_up_to_the_fall_from_tuning_to_confirmation():
    row = tuning_row(rechecked(scores={100: 0.4, 101: 0.6, 102: 0.65}), 1, has_shift=True)
    assert row.selection + row.shift == pytest.approx(row.best_value - 0.55)


@pytest.mark.parametrize("recheck", [{}, {**RECHECK, 103: np.nan}], ids=["not run", "failed"])
def test_no_selection_without_a_whole_recheck(recheck):
    row = tuning_row(
        rechecked(recheck=recheck, scores=dict.fromkeys(range(100, 104), 0.5)), 1, True
    )
    assert (row.selection, row.selection_error, row.shift, row.shift_error) == (None,) * 4


def test_no_shift_where_a_seed_of_the_confirmation_failed():
    row = tuning_row(rechecked(scores={100: 0.5, 101: np.nan, 102: 0.5}), 1, has_shift=True)
    assert row.shift is None
    assert row.selection == pytest.approx(0.1)


def test_a_single_seed_has_no_error():
    row = tuning_row(rechecked(recheck={100: 0.7}, scores={100: 0.6}), 1, has_shift=True)
    assert (row.selection_error, row.shift_error) == (None, None)
    assert (row.selection, row.shift) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize(("trials", "expected"), [(1, 0.0), (5, 1.163), (10, 1.539), (20, 1.867)])
def test_selection_is_the_expected_maximum_of_equal_configurations(trials, expected):
    """E[max of N normals] sd / sqrt(k) (tabulated, Harter 1961); 0 for a sweep of one trial."""
    rng, sd, seeds, sweeps = np.random.default_rng(trials), 0.02, 3, 2000
    found = []
    for _ in range(sweeps):
        means = rng.normal(0.8, sd, (trials, seeds)).mean(axis=1)
        fresh = dict(enumerate(rng.normal(0.8, sd, 10), start=100))
        found.append(tuning_row(rechecked(sorted(means), recheck=fresh, seeds=seeds), 1, True))
    luck = np.mean([row.selection for row in found]) / (sd / np.sqrt(seeds))
    assert luck == pytest.approx(expected, abs=5 / np.sqrt(sweeps))
    if trials == 1:  # within two standard errors of 0, as often as a t with 9 degrees of freedom
        within = np.mean([abs(row.selection) < 2.262 * row.selection_error for row in found])
        assert within == pytest.approx(0.95, abs=0.02)


def test_the_distinct_configurations_are_counted():
    trials = tuple(TrialRecord(i, "complete", {"lr": i % 2}, (0.5,)) for i in range(4))
    record = MethodRecord("replay", "replay", {}, {}, tuning=TuningRecord(history=trials))
    assert tuning_row(record, 1, has_shift=True).configurations == 2
