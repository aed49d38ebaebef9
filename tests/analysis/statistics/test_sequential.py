"""Anytime-valid tests against hand-computed cases, enumeration of all signs, and closed testing.

Simulations are short versions of `tests/benchmarks/error_rates_sequential.py`.
"""

from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from analysis.statistics import estimates, paired, sequential
from analysis.statistics.sequential import adjusted_e, difference_e, equivalence_e, one_sided_e

DECIDED = 20  # 1 / alpha
SEEDS = 30

sizes = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(np.array)


def all_signs(n):
    """Every sign of every seed, equally probable under the null hypothesis: [2^n, n]."""
    return np.array(list(itertools.product((1.0, -1.0), repeat=n)))


def test_examples_of_the_docstrings():
    assert doctest.testmod(sequential) == (0, 4)


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
    assert difference_e(d).mean(axis=0) == pytest.approx(1, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(sizes, st.floats(0, 1), st.floats(0, 1))
def test_mean_is_at_most_one_for_every_centre_up_to_the_bound(magnitudes, below, bound):
    d = all_signs(len(magnitudes)) * magnitudes + bound - below
    assert np.all(one_sided_e(d, bound).mean(axis=0) <= 1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(sizes, st.floats(-1, 1), st.floats(0.01, 1))
def test_mean_is_at_most_one_within_and_outside_the_margin(magnitudes, place, margin):
    noise = all_signs(len(magnitudes)) * magnitudes
    assert np.all(difference_e(noise + place * margin, margin).mean(axis=0) <= 1 + 1e-9)
    outside = math.copysign(1 + abs(place), place) * margin
    assert np.all(equivalence_e(noise + outside, margin).mean(axis=0) <= 1 + 1e-9)


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
    values = difference_e(d)
    stop = (wins >= 2) | (values > 3)  # knows nothing beyond seed n
    n = np.where(stop.any(axis=-1), stop.argmax(axis=-1), 9)
    assert values[np.arange(len(d)), n].mean() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("growth", [0.9, 1.0, 1.5])
def test_money_ever_reaches_20_in_at_most_one_study_of_20(growth):
    d = all_signs(14) * growth ** np.arange(14)
    share = np.mean(difference_e(d).max(axis=-1) >= DECIDED)
    assert 0.005 < share <= 1 / DECIDED


@settings(max_examples=60, deadline=None)
@given(sizes, st.floats(0.01, 100), st.integers(0, 2**16))
def test_units_and_direction_do_not_matter(magnitudes, unit, seed):
    d = magnitudes * np.random.default_rng(seed).choice([-1, 1], len(magnitudes)) / unit
    d = estimates.paired_differences(d, np.zeros(len(d)))
    assert difference_e(d * unit) == pytest.approx(difference_e(d), rel=1e-6)
    assert difference_e(-d) == pytest.approx(difference_e(d))
    assert difference_e(d, 0.1) == pytest.approx(difference_e(-d, 0.1))
    assert equivalence_e(d, 0.1) == pytest.approx(equivalence_e(-d, 0.1))


def test_bound_shifts_the_differences():
    d = np.random.default_rng(0).normal(0, 0.01, 20)
    assert one_sided_e(d + 0.005, 0.005) == pytest.approx(one_sided_e(d))


def test_later_seeds_leave_earlier_values_alone():
    d = np.random.default_rng(1).normal(0.5, 1, (3, SEEDS))
    e_values = difference_e(d)
    assert difference_e(d[:, :12]).tolist() == e_values[:, :12].tolist()
    assert equivalence_e(d[:, :12], 1.0).tolist() == equivalence_e(d, 1.0)[:, :12].tolist()
    assert adjusted_e(e_values[:, :12]).tolist() == adjusted_e(e_values)[:, :12].tolist()


def test_no_evidence_in_differences_of_zero_or_of_the_bound():
    assert difference_e(np.zeros(5)).tolist() == [1] * 5
    ties = np.array([0.105, 0.205, 0.305]) - np.array([0.1, 0.2, 0.3])  # 0.005 up to round-off
    assert one_sided_e(ties, 0.005).tolist() == [1] * 3
    assert difference_e(np.array([0.0, 0.0, 1.0]))[-1] == pytest.approx(1)


def test_an_outlier_does_not_decide():
    d = np.array([*[0.01] * 6, -5.0])
    before, after = difference_e(d)[5:]
    assert before > DECIDED > 1 > after
    assert np.all(np.isfinite(difference_e(np.array([1e-9, 1e9, -1e9]))))


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (2, 8), (4, 9), (10, 10)])
def test_seeds_that_must_agree(comparisons, seeds):
    family = np.zeros((comparisons, SEEDS))  # the other comparisons have lost all
    family[0] = difference_e(np.full(SEEDS, 0.02))
    assert int(np.argmax(adjusted_e(family)[0] >= DECIDED)) + 1 == seeds
    assert 0 <= seeds - paired.seeds_for_exact_test(comparisons) <= 1


def closed(e_values):
    """The smallest mean over all sets with the comparison, by enumeration: [M]."""
    members = range(len(e_values))
    sets = [s for k in members for s in itertools.combinations(members, k + 1)]
    return [min(np.mean([e_values[i] for i in s]) for s in sets if m in s) for m in members]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=7))
def test_adjustment_is_closed_testing(e_values):
    adjusted = adjusted_e(np.array(e_values)[:, None])[:, 0]
    assert adjusted == pytest.approx(closed(e_values))
    bonferroni = np.array(e_values) / len(e_values)
    assert np.all(adjusted >= bonferroni * (1 - 1e-12))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=7))
def test_adjustment_is_never_weaker_than_holm_on_the_p_values(e_values):
    p_values = [min(1.0, 1 / e) for e in e_values]
    holm = multipletests(p_values, method="holm")[1] <= 1 / DECIDED
    assert np.all(adjusted_e(np.array(e_values)[:, None])[holm, 0] >= DECIDED * (1 - 1e-9))


def test_decisions_stay_and_families_are_separate():
    e_values = np.exp(np.random.default_rng(2).normal(0, 2, (5, 4, SEEDS)))
    adjusted = adjusted_e(e_values)
    assert np.all(np.diff(adjusted, axis=-1) >= 0)
    for family, values in zip(adjusted, e_values, strict=True):
        assert family.tolist() == adjusted_e(values).tolist()
    running = np.maximum.accumulate(e_values[:, :1], axis=-1)
    assert adjusted_e(e_values[:, :1]).tolist() == running.tolist()


def differences(shape, draw="normal", seed=0):
    """Differences [studies, comparisons, seeds] from a shared reference, sd 1, symmetric."""
    rng = np.random.default_rng(seed)
    kinds = {"normal": rng.normal, "laplace": rng.laplace, "exponential": rng.exponential}
    scores = kinds[draw](size=(shape[0], shape[1] + 1, SEEDS))
    noise = scores[:, 1:] - scores[:, :1]
    return noise / noise.std()


def decided(e_values):
    return adjusted_e(e_values) >= DECIDED


@pytest.mark.parametrize("draw", ["normal", "laplace", "exponential"])
@pytest.mark.parametrize("comparisons", [1, 3, 11])
def test_false_decisions_of_a_family(draw, comparisons):
    d = differences((3000, comparisons), draw)
    assert 0.01 < np.mean(decided(difference_e(d)).any(axis=(1, 2))) <= 0.05


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_false_statements_with_the_truth_on_the_margin(margin):
    d = differences((3000, 3)) + margin
    for e_values in (difference_e(d, margin), equivalence_e(d, margin)):
        assert np.mean(decided(e_values).any(axis=(1, 2))) <= 0.05


def test_differences_that_are_real_leave_the_other_comparisons_protected():
    d = differences((3000, 5))
    d[:, :2] += 2
    found = decided(difference_e(d)).any(axis=-1)
    assert found[:, :2].mean() > 0.99
    assert np.mean(found[:, 2:].any(axis=-1)) <= 0.05


def test_skewed_differences_with_mean_zero_are_no_null():
    d = 1 - np.random.default_rng(3).exponential(size=(3000, SEEDS))
    assert 0.07 < np.mean(difference_e(d).max(axis=-1) >= DECIDED) < 0.14


@pytest.mark.parametrize(("effect", "least", "seeds"), [(1, 0.95, 16.5), (2, 1, 8.5), (3, 1, 7.5)])
def test_power_for_eleven_comparisons(effect, least, seeds):
    found = decided(difference_e(differences((500, 11)) + effect))
    used = np.where(found.any(axis=-1), found.argmax(axis=-1) + 1, SEEDS)
    assert found[..., -1].mean() >= least
    assert used.mean() < seeds


def test_beyond_the_margin_comes_after_a_difference_and_never_with_equivalence():
    d = differences((3000, 1)) + 2.0
    beyond = decided(difference_e(d, 0.5))
    assert beyond[..., -1].mean() > 0.99
    assert not np.any(beyond & ~decided(difference_e(d)))
    assert not np.any(decided(equivalence_e(d, 0.5))[..., -1] & beyond[..., -1])
