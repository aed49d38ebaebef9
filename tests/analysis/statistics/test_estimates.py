"""Estimates and effect sizes against the reference table, scipy, statsmodels and pingouin."""

from __future__ import annotations

import math

import numpy as np
import pingouin
import pytest
from scipy import stats

from analysis.statistics import estimates

GOLDEN = np.array([0.012, 0.021, 0.008, 0.017, 0.015])


def test_golden_case():
    found = estimates.estimate(GOLDEN)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.008479, 0.020721), abs=1e-6)
    assert found.mean / found.sd == pytest.approx(2.96, abs=0.005)


@pytest.mark.parametrize("n", [3, 5, 12])
def test_interval_agrees_with_scipy(n):
    d = np.random.default_rng(n).normal(0.3, 1, n)
    low, high = stats.ttest_1samp(d, 0).confidence_interval(0.9)
    found = estimates.estimate(d, 0.9)
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))
    assert found.sd == pytest.approx(math.sqrt(((d - d.mean()) ** 2).sum() / (n - 1)))


@pytest.mark.parametrize(
    ("n", "half_width"),
    [(3, 2.48), (4, 1.59), (5, 1.24), (6, 1.05), (8, 0.84), (10, 0.72), (30, 0.37)],
)
def test_half_width_in_standard_deviations(n, half_width):
    d = np.random.default_rng(n).normal(size=n)
    found = estimates.estimate(d)
    assert (found.ci_high - found.mean) / found.sd == pytest.approx(half_width, abs=0.005)


@pytest.mark.filterwarnings("error")
def test_few_seeds_have_no_interval():
    assert estimates.estimate(np.array([])) == estimates.Estimate(0, None, None, None, None)
    assert estimates.estimate(np.array([0.5])) == estimates.Estimate(1, 0.5, None, None, None)
    two = estimates.estimate(np.array([0.5, 0.7]))
    assert two.sd == pytest.approx(math.sqrt(0.02))
    assert two.ci_low is None


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 1 / 3, 12345.6])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_values_that_do_not_vary_have_a_mean_and_no_interval(value, n):
    # 0.1 + 0.2 is not 0.3, and ten times 0.1 is not 1
    found = estimates.estimate(np.full(n, value) * (1 + 1e-15 * (np.arange(n) % 2)))
    assert found == estimates.Estimate(n, value, 0.0, None, None)


def test_differences_keep_what_they_are_on_paper():
    thirds = np.arange(20.0)[:, None] / 30 - np.arange(20.0) / 30
    d = estimates.paired_differences(np.arange(20.0)[:, None] / 30, np.arange(20.0) / 30)
    assert d == pytest.approx(thirds, abs=1e-15)
    assert estimates.all_identical(np.diagonal(d, 7))  # 7/30, 20 times less 7
    assert (np.diagonal(d) == 0).all()


def test_equal_scores_differ_by_nothing():
    a, b = np.array([0.1 + 0.2, 0.8]), np.array([0.3, 0.7])
    assert (a - b)[0] != 0
    assert estimates.paired_differences(a, b).tolist() == [0.0, pytest.approx(0.1)]
    near = estimates.paired_differences(np.array([0.5, 0.5]), np.array([0.5 + 4e-11, 0.5 + 6e-11]))
    assert near.tolist() == [0.0, pytest.approx(-6e-11)]


def test_identical_differences():
    assert estimates.all_identical(np.array([0.3, 0.1 + 0.2, 0.3]))
    assert not estimates.all_identical(np.array([0.3, 0.3, 0.3001]))
    assert not estimates.all_identical(np.array([0.3]))


@pytest.mark.parametrize(("n", "factor"), [(5, 1.56), (3, 2.12), (10, 1.29)])
def test_upper_limit_of_the_standard_deviation(n, factor):
    assert estimates.sd_upper_limit(2.0, n) == pytest.approx(2 * factor, abs=0.01)
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(20_000, n)).std(axis=1, ddof=1)
    covered = np.mean([s * estimates.sd_upper_limit(1.0, n) >= 1 for s in seen])
    assert covered == pytest.approx(0.8, abs=0.01)


def test_non_central_t_interval_of_the_text():
    assert estimates.standardised_interval(3.76, 5) == pytest.approx((1.12, 6.40), abs=0.005)


@pytest.mark.parametrize("shift", [0.0, 0.4, -1.5])
@pytest.mark.parametrize("n", [3, 6, 25])
def test_hedges_g_agrees_with_pingouin_and_its_limits_with_the_definition(n, shift):
    d = np.random.default_rng(n).normal(shift, 1, n)
    found = estimates.hedges_g(d)
    t, factor = stats.ttest_1samp(d, 0).statistic, estimates.hedges_correction(n - 1)
    assert found.g == pytest.approx(factor * t / math.sqrt(n))
    assert stats.nct.sf(t, n - 1, found.low / factor * math.sqrt(n)) == pytest.approx(
        0.025, abs=1e-6
    )
    assert stats.nct.cdf(t, n - 1, found.high / factor * math.sqrt(n)) == pytest.approx(
        0.025, abs=1e-6
    )


@pytest.mark.parametrize("n", [10, 30])
def test_d_z_agrees_with_pingouin(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(1, 1, n), rng.normal(0, 1, n)
    d_z = pingouin.compute_effsize(a - b, 0, eftype="cohen")
    g = pingouin.compute_effsize(a - b, 0, eftype="hedges")
    assert estimates.hedges_g(a - b).g / estimates.hedges_correction(n - 1) == pytest.approx(d_z)
    assert estimates.hedges_g(a - b).g == pytest.approx(g, rel=0.01)


@pytest.mark.parametrize("df", [2, 4, 9, 30, 200])
def test_hedges_correction(df):
    exact = math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)
    assert estimates.hedges_correction(df) == pytest.approx(exact)
    assert estimates.hedges_correction(df) == pytest.approx(1 - 3 / (4 * df - 1), abs=0.01)


def test_hedges_correction_removes_the_bias():
    rng = np.random.default_rng(1)
    d = rng.normal(1.0, 1, (20_000, 6))
    d_z = d.mean(axis=1) / d.std(axis=1, ddof=1)
    assert np.mean(d_z) > 1.15
    assert np.mean(d_z) * estimates.hedges_correction(5) == pytest.approx(1.0, abs=0.015)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-9, 1e-5, 1e-3])
def test_a_huge_effect_has_finite_limits(scale):
    d = 1 + scale * np.array([0.1, -0.3, 0.2])
    found = estimates.hedges_g(d)
    assert 0 < found.low < found.g < found.high < math.inf


@pytest.mark.parametrize("n", [3, 10, 30])
def test_the_limits_of_a_huge_effect_grow_with_it(n):
    below, above = (estimates.standardised_interval(d, n) for d in (999.0, 1001.0))
    assert above == pytest.approx([limit * 1001 / 999 for limit in below], rel=2e-5)
    for d_z in (3e5, -4e9):
        low, high = estimates.standardised_interval(d_z, n)
        # a mean without noise: its distance in sd is as uncertain as the sd alone
        sd = [math.sqrt((n - 1) / stats.chi2.ppf(p, n - 1)) for p in (0.975, 0.025)]
        assert sorted([d_z / sd[0], d_z / sd[1]]) == pytest.approx([low, high])


@pytest.mark.parametrize(
    ("wins", "n", "low", "high"),
    [
        (5, 5, 0.566, 1),
        (4, 5, 0.376, 0.964),
        (8, 8, 0.676, 1),
        (9, 10, 0.596, 0.982),
        (25, 30, 0.664, 0.927),
    ],
)
def test_wilson_examples_of_the_text(wins, n, low, high):
    assert estimates.wilson_interval(wins, n) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize(("x", "n"), [(0, 4), (2.5, 7), (6, 6), (13, 20)])
def test_wilson_limits_solve_the_score_equation(x, n):
    z = stats.norm.ppf(0.975)
    for limit in estimates.wilson_interval(x, n):
        assert abs(x / n - limit) == pytest.approx(z * math.sqrt(limit * (1 - limit) / n), abs=1e-9)


def test_probability_of_outperforming_counts_ties_half():
    found = estimates.probability_of_outperforming(np.array([1.0, 2.0, 0.0, -1.0]))
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    assert found.share == 2.5 / 4
    assert (found.low, found.high) == estimates.wilson_interval(2.5, 4)


@pytest.mark.filterwarnings("error")
def test_correlation():
    rng = np.random.default_rng(2)
    a = rng.normal(size=9)
    b = a + rng.normal(size=9)
    assert estimates.correlation(a, b) == pytest.approx(stats.pearsonr(a, b).statistic)
    assert estimates.correlation(a, np.full(9, 0.1)) is None
    assert estimates.correlation(a[:2], b[:2]) is None


def test_coverage_of_the_interval():
    rng = np.random.default_rng(11)
    for n in (5, 10):
        found = [estimates.estimate(rng.normal(1, 2, n)) for _ in range(4000)]
        assert np.mean([e.ci_low < 1 < e.ci_high for e in found]) == pytest.approx(0.95, abs=0.011)
