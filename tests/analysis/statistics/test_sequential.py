"""Anytime-valid tests against hand-computed cases and enumeration of all signs.

Simulations are short versions of `tests/benchmarks/error_rates_sequential.py`.
"""

from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analysis.statistics import estimates, paired, sequential
from analysis.statistics.sequential import (
    anytime_floor,
    anytime_interval,
    anytime_p,
    one_sided_e,
    seeds_for_anytime_test,
    seeds_until_decided,
)

ALPHA = 0.05
SEEDS = 30

sizes = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(np.array)


def all_signs(n):
    """Every sign of every seed, equally probable under the null hypothesis: [2^n, n]."""
    return np.array(list(itertools.product((1.0, -1.0), repeat=n)))


def differs(d, comparisons=1, margin=0.0):
    """Whether a difference beyond the margin is found after each seed, [..., S]."""
    e_values = np.maximum(one_sided_e(d, margin), one_sided_e(-d, margin))
    return np.maximum.accumulate(e_values, axis=-1) >= 2 * comparisons / ALPHA


def test_examples_of_the_docstrings():
    failed, tried = doctest.testmod(sequential)
    assert not failed
    assert tried >= 6


def test_hand_computed_case():
    def factor(x):
        return math.exp(x) / math.cosh(x)

    # d = 2, -1, 3: running means 2, 1.5, 2; ratios 1, -2/3, 1.5
    for bets in [(0.5,), (0.5, 1.0)]:
        products = [factor(b) * factor(-b * 2 / 3) * factor(b * 1.5) for b in bets]
        values = one_sided_e(np.array([2.0, -1.0, 3.0]), bets=bets)
        assert values[2] == pytest.approx(np.mean(products), rel=1e-12)
        assert values[0] == pytest.approx(np.mean([factor(b) for b in bets]), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_mean_over_all_signs_is_one_after_every_seed(magnitudes):
    d = all_signs(len(magnitudes)) * magnitudes
    assert one_sided_e(d).mean(axis=0) == pytest.approx(1, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(sizes, st.floats(0, 1), st.floats(0, 1))
def test_mean_is_at_most_one_for_every_centre_up_to_the_bound(magnitudes, below, bound):
    d = all_signs(len(magnitudes)) * magnitudes + bound - below
    assert np.all(one_sided_e(d, bound).mean(axis=0) <= 1 + 1e-9)


def test_one_sided_null_without_symmetry():
    """Further above the bound is never more probable than further below: the exact null."""
    values, weights = np.array([0.3, 0.1, -0.2, -0.9]), np.array([0.2, 0.3, 0.3, 0.2])
    paths = np.array(list(itertools.product(range(4), repeat=5)))
    probability = np.prod(weights[paths], axis=-1)
    assert np.all(probability @ one_sided_e(values[paths]) <= 1 + 1e-12)
    assert np.any(probability @ one_sided_e(-values[paths]) > 1.01)  # the reverse is no null


def test_spread_and_stopping_may_depend_on_all_seeds_before():
    """The size of a seed depends on the signs before, and the study stops by a rule of its own."""
    signs = all_signs(10)
    wins = np.cumsum(signs, axis=-1)
    d = signs * np.hstack([np.ones((len(signs), 1)), 1 + np.abs(wins[:, :-1]) ** 2])
    values = one_sided_e(d)
    stop = (wins >= 2) | (values > 3)  # knows nothing beyond seed n
    n = np.where(stop.any(axis=-1), stop.argmax(axis=-1), 9)
    assert values[np.arange(len(d)), n].mean() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("growth", [0.9, 1.0, 1.5])
def test_a_difference_is_ever_found_in_at_most_one_study_of_20(growth):
    d = all_signs(14) * growth ** np.arange(14)
    assert 0.005 < np.mean(differs(d)[:, -1]) <= ALPHA


@settings(max_examples=40, deadline=None)
@given(sizes, st.floats(0.01, 100), st.integers(0, 2**16))
def test_units_and_direction_do_not_matter(magnitudes, unit, seed):
    d = magnitudes * np.random.default_rng(seed).choice([-1, 1], len(magnitudes)) / unit
    d = estimates.paired_differences(d, np.zeros(len(d)))
    assert one_sided_e(d * unit) == pytest.approx(one_sided_e(d), rel=1e-6)
    assert anytime_p(-d) == anytime_p(d)


def test_bound_shifts_the_differences():
    d = np.random.default_rng(0).normal(0, 0.01, 20)
    assert one_sided_e(d + 0.005, 0.005) == pytest.approx(one_sided_e(d))


def test_later_seeds_leave_earlier_values_alone():
    d = np.random.default_rng(1).normal(0.5, 1, (3, SEEDS))
    assert one_sided_e(d[:, :12]).tolist() == one_sided_e(d)[:, :12].tolist()


def test_no_evidence_in_differences_of_zero_or_of_the_bound():
    assert one_sided_e(np.zeros(5)).tolist() == [1] * 5
    ties = np.array([0.105, 0.205, 0.305]) - np.array([0.1, 0.2, 0.3])  # 0.005 up to round-off
    assert one_sided_e(ties, 0.005).tolist() == [1] * 3
    assert anytime_p(np.zeros(5)) == 1


def test_an_outlier_takes_no_decision_back_and_decides_nothing():
    d = np.array([*[0.01] * 6, -5.0])
    assert one_sided_e(d)[6] < 1 < 2 / ALPHA < one_sided_e(d)[5]
    assert anytime_p(d) == pytest.approx(anytime_p(d[:6]))
    assert np.all(np.isfinite(one_sided_e(np.array([1e-9, 1e9, -1e9]))))


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (2, 8), (4, 9), (10, 10)])
def test_seeds_that_must_agree(comparisons, seeds):
    assert seeds_for_anytime_test(comparisons) == seeds
    decided = [comparisons * anytime_p(np.full(n, 0.02)) <= ALPHA for n in range(1, SEEDS)]
    assert decided.index(True) + 1 == seeds
    assert anytime_floor(seeds) == pytest.approx(anytime_p(np.full(seeds, 0.02)))
    assert 0 <= seeds - paired.seeds_for_exact_test(comparisons) <= 1


def brute_force_interval(d, confidence):
    """The hull of the centres that no look rejects, from a fine grid of centres."""
    span = np.ptp(d)
    centres = np.linspace(d.min() - 30 * span, d.max() + 30 * span, 60_001)[:, None]
    limit = 2 / (1 - confidence)
    up = one_sided_e(d, centres).max(axis=-1)
    down = one_sided_e(-d, -centres).max(axis=-1)
    kept_up, kept_down = centres[up < limit, 0], centres[down < limit, 0]
    return kept_up.min(), kept_down.max()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("confidence", [0.95, 0.995])
def test_interval_against_a_fine_grid(seed, confidence):
    d = np.random.default_rng(seed).normal(0.3, 1, 12 + seed)
    low, high = anytime_interval(d, confidence)
    assert (low, high) == pytest.approx(brute_force_interval(d, confidence), abs=2e-3 * np.ptp(d))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=8, max_size=20).map(np.array), st.floats(-0.5, 0.5))
def test_p_and_interval_agree(d, shift):
    d = d + shift
    assume(np.ptp(d) > 1e-3)
    found = anytime_interval(d, 1 - ALPHA)
    excludes_zero = found is not None and not found[0] <= 0 <= found[1]
    assert excludes_zero == (anytime_p(d) <= ALPHA)


def test_more_seeds_never_widen_an_interval_nor_take_a_decision_back():
    d = np.random.default_rng(5).normal(0.6, 1, (20, SEEDS))
    for row in d:
        found = [anytime_interval(row[:n], 1 - ALPHA) for n in range(8, SEEDS + 1)]
        ends = np.array([(-np.inf, np.inf) if each is None else each for each in found])
        tolerance = 1e-3 * np.ptp(row)  # of the search among bounds
        assert np.all(np.diff(ends[:, 0]) >= -tolerance)
        assert np.all(np.diff(ends[:, 1]) <= tolerance)
        p = [anytime_p(row[:n]) for n in range(8, SEEDS + 1)]
        assert np.all(np.diff(p) <= 1e-9)


def test_seeds_that_leave_no_centre_keep_the_interval_before_them():
    """Eight seeds near 1, then seeds near -1: no centre of symmetric differences fits both."""
    noise = np.random.default_rng(6).normal(0, 0.01, 50)
    d = np.where(np.arange(50) < 8, 1.0, -1.0) + noise
    kept = anytime_interval(d, 0.95)
    assert kept in [anytime_interval(d[:n], 0.95) for n in range(8, 50)]
    assert kept[0] > 0  # better, as after eight seeds
    assert anytime_p(d) <= ALPHA


def test_too_few_seeds_have_no_interval():
    assert anytime_interval(np.array([0.1, 0.2, 0.15, 0.12, 0.11]), 0.95) is None


def differences(shape, draw="normal", seed=0):
    """Differences [studies, comparisons, seeds] from a shared reference, sd 1, symmetric."""
    rng = np.random.default_rng(seed)
    kinds = {"normal": rng.normal, "laplace": rng.laplace, "exponential": rng.exponential}
    scores = kinds[draw](size=(shape[0], shape[1] + 1, SEEDS))
    noise = scores[:, 1:] - scores[:, :1]
    return noise / noise.std()


@pytest.mark.parametrize("draw", ["normal", "laplace", "exponential"])
@pytest.mark.parametrize("comparisons", [1, 3, 11])
def test_false_decisions_of_a_family(draw, comparisons):
    d = differences((3000, comparisons), draw)
    assert 0.005 < np.mean(differs(d, comparisons).any(axis=(1, 2))) <= 0.05


@pytest.mark.parametrize("comparisons", [1, 3])
def test_an_interval_ever_misses_the_truth_in_few_studies(comparisons):
    d = differences((400, comparisons)) + 0.7
    level = 1 - ALPHA / comparisons
    missed = [
        any(not low <= 0.7 <= high for low, high in (anytime_interval(row, level) for row in study))
        for study in d
    ]
    assert np.mean(missed) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_false_statements_with_the_truth_on_the_margin(margin):
    d = differences((3000, 3)) + margin
    beyond = differs(d, 3, margin)
    inside = (one_sided_e(d, -margin) >= 120) & (one_sided_e(-d, -margin) >= 120)
    for found in (beyond, inside):
        assert np.mean(found.any(axis=(1, 2))) <= 0.05


def test_skewed_differences_with_mean_zero_are_no_null():
    d = 1 - np.random.default_rng(3).exponential(size=(3000, SEEDS))
    assert 0.07 < np.mean(differs(d)[:, -1]) < 0.14


@pytest.mark.parametrize(("effect", "least", "seeds"), [(1, 0.85, 20.5), (2, 1, 12), (3, 1, 11)])
def test_power_for_eleven_comparisons(effect, least, seeds):
    found = differs(differences((500, 11)) + effect, 11)
    used = np.where(found.any(axis=-1), found.argmax(axis=-1) + 1, SEEDS)
    assert found[..., -1].mean() >= least
    assert used.mean() < seeds
    share, mean = seeds_until_decided(effect, SEEDS, ALPHA / 11)
    assert share == pytest.approx(found[..., -1].mean(), abs=0.04)
    assert mean == pytest.approx(used.mean(), abs=0.6)
