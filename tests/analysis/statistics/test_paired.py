"""Tests and corrections against enumeration, scipy, statsmodels and pingouin."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from analysis.statistics import estimates, paired

GOLDEN = np.array([0.012, 0.021, 0.008, 0.017, 0.015])


def enumerated_p(integers):
    """Share of all sign flips whose sum is at least as far from zero, in exact arithmetic."""
    observed = abs(sum(integers))
    flips = itertools.product((1, -1), repeat=len(integers))
    sums = [abs(sum(s * d for s, d in zip(signs, integers, strict=True))) for signs in flips]
    return sum(total >= observed for total in sums) / len(sums)


def test_golden_case():
    assert paired.sign_flip_p(GOLDEN) == 0.0625
    assert paired.paired_t_p(GOLDEN) == pytest.approx(0.0026960, abs=5e-8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-12, 12), min_size=2, max_size=9))
def test_sign_flips_agree_with_enumeration_ties_and_all(integers):
    d = np.array(integers) * (1 / 360)  # not representable: equal sums differ by round-off
    assert paired.sign_flip_p(d) == pytest.approx(enumerated_p(integers), abs=1e-12)


@pytest.mark.parametrize("n", range(5, 13))
def test_floor_is_what_the_most_extreme_data_give(n):
    d = np.arange(1.0, n + 1)
    assert paired.sign_flip_p(d) == paired.exact_floor(n) == 2 / 2**n


def test_floors_of_the_text():
    table = {3: 0.25, 4: 0.125, 5: 0.0625, 6: 0.03125, 8: 0.0078125, 10: 0.001953125}
    assert {n: paired.exact_floor(n) for n in table} == table
    assert paired.exact_floor(30) == 2e-5  # that of the resampling
    assert paired.exact_floor(2000) == 2e-5  # 2^2000 is no floating-point number


def test_many_seeds_are_resampled_reproducibly_and_close_to_t():
    d = np.random.default_rng(0).normal(0.5, 1, 25)
    first = paired.sign_flip_p(d)
    assert first == paired.sign_flip_p(d.copy())
    assert first == pytest.approx(paired.paired_t_p(d), rel=0.15)
    extreme = paired.sign_flip_p(np.arange(1.0, 31))
    assert extreme == paired.exact_floor(30)


@pytest.mark.parametrize("n", [2, 9, 16, 17, 30])
def test_sign_flips_agree_with_scipy(n):
    d = np.random.default_rng(n).normal(0.4, 1, n)
    drawn = n > 16
    theirs = stats.permutation_test(
        (d,),
        np.mean,
        permutation_type="samples",
        n_resamples=paired.RESAMPLES,
        batch=10_000,
        rng=np.random.default_rng(1),
    )
    # two independent draws of 99,999 flips: five standard errors of their difference
    error = 5 * np.sqrt(2 * theirs.pvalue / paired.RESAMPLES) if drawn else 1e-12
    assert paired.sign_flip_p(d) == pytest.approx(theirs.pvalue, abs=error)


def test_sixteen_seeds_are_still_enumerated():
    d = np.arange(1.0, 17)
    assert paired.sign_flip_p(d) == 2.0**-15 == paired.exact_floor(16)


@pytest.mark.parametrize(
    "integers", [[5, -2, 4, -4, -3], [-3, 3, 1, 1, 5, -5, -2], [-5, -6, 6, -2, 0, 6, 4, -3]]
)
def test_sums_that_vanish_on_paper_tie_in_floating_point(integers):
    assert paired.sign_flip_p(np.array(integers) / 360) == enumerated_p(integers) == 1


@pytest.mark.filterwarnings("error")
def test_nothing_but_ties():
    assert paired.sign_flip_p(np.zeros(8)) == 1.0
    assert paired.sign_flip_p(np.array([1.0, -1.0] * 4)) == 1.0


def test_direction_does_not_matter_and_input_is_untouched():
    d = np.array([3.0, -1.0, 2.0, 5.0, 4.0, 0.5])
    before = d.copy()
    assert paired.sign_flip_p(d) == paired.sign_flip_p(-d) == paired.sign_flip_p(d * 1e-7)
    assert np.array_equal(d, before)


@pytest.mark.parametrize(
    ("comparisons", "seeds"), [(1, 6), (2, 7), (3, 7), (4, 8), (5, 8), (10, 9), (25, 10)]
)
def test_seeds_for_the_exact_test(comparisons, seeds):
    assert paired.seeds_for_exact_test(comparisons, 0.05) == seeds
    assert paired.attainable(seeds, comparisons, 0.05)
    assert not paired.attainable(seeds - 1, comparisons, 0.05)


@pytest.mark.parametrize("n", [3, 5, 12])
def test_paired_t_agrees_with_scipy_and_pingouin(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.2, 1, n), rng.normal(0, 1, n)
    p = paired.paired_t_p(a - b)
    assert p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert p == pytest.approx(float(pingouin.ttest(a, b, paired=True)["p_val"].iloc[0]))


@pytest.mark.parametrize("margin", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("n", [4, 6, 15])
def test_equivalence_agrees_with_statsmodels_pingouin_and_its_interval(n, margin):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.1, 0.5, n), rng.normal(0, 0.5, n)
    p = paired.tost_p(a - b, margin)
    assert p == pytest.approx(ttost_paired(a, b, -margin, margin)[0])
    theirs = pingouin.tost(a, b, bound=margin, paired=True)
    assert p == pytest.approx(float(theirs.filter(regex="p.?val").iloc[0, 0]))
    interval = estimates.estimate(a - b, 0.90)
    inside = -margin < interval.ci_low and interval.ci_high < margin
    assert (p <= 0.05) == inside


def test_corrections_of_the_text():
    p = [0.0011, 0.0627, 0.02, 0.2]
    assert paired.holm(p) == pytest.approx([0.0044, 0.1254, 0.06, 0.2], abs=5e-5)
    q = paired.benjamini_hochberg(p)
    assert q == pytest.approx([0.0044, 0.0836, 0.04, 0.2], abs=5e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_corrections_agree_with_their_definitions(p):
    m = len(p)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate([(m - i) * p[k] for i, k in enumerate(order)])
    expected = np.empty(m)
    expected[order] = np.minimum(steps, 1)
    assert paired.holm(p) == pytest.approx(expected.tolist())
    assert paired.holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())
    expected = stats.false_discovery_control(p).tolist()
    assert paired.benjamini_hochberg(p) == pytest.approx(expected)


def test_a_missing_test_keeps_its_place_in_holm_only():
    assert paired.holm([0.01, None, 0.2]) == [pytest.approx(0.03), None, pytest.approx(0.4)]
    assert paired.benjamini_hochberg([0.01, None]) == [pytest.approx(0.01), None]
    assert paired.holm([]) == paired.benjamini_hochberg([]) == []
    assert paired.benjamini_hochberg([None]) == [None]


def test_no_test_rejects_a_true_null_too_often():
    rng = np.random.default_rng(7)
    reps = 1500
    data = rng.normal(size=(reps, 8))
    exact = np.mean([paired.sign_flip_p(d) <= 0.05 for d in data])
    normal = np.mean([paired.paired_t_p(d) <= 0.05 for d in data])
    error = math.sqrt(0.05 * 0.95 / reps)
    assert exact == pytest.approx(0.043, abs=3 * error)  # 11 of 256 flips at most
    assert normal == pytest.approx(0.05, abs=3 * error)
