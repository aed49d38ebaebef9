"""Power, detectable effects and seeds needed, against statsmodels, a table and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from analysis.statistics import estimates, power


@pytest.mark.parametrize("n", [4, 6, 10, 30])
@pytest.mark.parametrize("effect", [0.0, 0.3, 1.0])
def test_power_agrees_with_statsmodels(n, effect):
    expected = TTestPower().power(effect, n, 0.05, alternative="two-sided")
    assert power.paired_power(effect, n) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("n", "at_80", "at_90", "five_comparisons"),
    [
        (3, 3.26, 3.92, 7.32),  # a million simulated studies with 7.32: power 0.801
        (4, 2.13, 2.51, 3.72),  # and with 3.72: 0.800
        (5, 1.68, 1.97, 2.63),
        (6, 1.44, 1.67, 2.11),
        (8, 1.16, 1.34, 1.60),
        (10, 1.00, 1.16, 1.33),
        (15, 0.78, 0.90, 1.00),
        (20, 0.66, 0.76, 0.84),
        (30, 0.53, 0.61, 0.66),
    ],
)
def test_detectable_effects_of_the_table(n, at_80, at_90, five_comparisons):
    assert power.detectable_effect(n) == pytest.approx(at_80, abs=0.006)
    assert power.detectable_effect(n, power=0.9) == pytest.approx(at_90, abs=0.006)
    assert power.detectable_effect(n, 0.05 / 5) == pytest.approx(five_comparisons, abs=0.006)
    solved = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
    assert power.detectable_effect(n) == pytest.approx(solved, rel=1e-5)


@pytest.mark.parametrize(("n", "alpha"), [(3, 0.001), (4, 0.001), (10, 0.001), (6, 1e-5)])
def test_small_alpha_still_gives_the_wanted_power(n, alpha):
    effect = power.detectable_effect(n, alpha)
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    rng = np.random.default_rng(n)
    d = rng.normal(effect, 1, (20_000, n))
    t = d.mean(axis=1) / d.std(axis=1, ddof=1) * np.sqrt(n)
    assert np.mean(np.abs(t) > critical) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("effect", "seeds"),
    [(0.3, 90), (0.5, 34), (0.8, 15), (1.0, 10), (1.2, 8), (1.5, 6), (2, 5), (3, 4)],
)
def test_seeds_needed_of_the_table(effect, seeds):
    assert power.seeds_for_effect(effect) == power.seeds_for_effect(-effect) == seeds
    assert power.paired_power(effect, seeds) >= 0.8 > power.paired_power(effect, seeds - 1)


@pytest.mark.filterwarnings("error")
def test_a_difference_no_study_can_see():
    assert power.seeds_for_effect(0.0) is None
    assert power.seeds_for_effect(1e-4) is None
    assert power.seeds_for_effect(1e6) == 2


def test_seeds_for_a_difference_allow_for_an_underestimated_spread():
    spread = estimates.sd_upper_limit(1.0, 5)
    assert power.seeds_for_difference(1.0, 1.0, 5) == power.seeds_for_effect(1 / spread)
    assert power.seeds_for_difference(1.0, 1.0, 5) > power.seeds_for_effect(1.0)


@pytest.mark.parametrize(
    ("n", "alpha", "known"),
    [(6, 0.05, True), (6, 0.07, False), (5, 0.05, False), (8, 0.01, True), (10, 0.05, False)],
)
def test_unanimous_effect_only_where_nothing_else_rejects(n, alpha, known):
    for target in (0.8, 0.1):
        found = power.unanimous_effect(n, alpha, target)
        assert (found is not None) == known
        if found is not None:
            p = stats.norm.cdf(found)
            assert p**n + (1 - p) ** n == pytest.approx(target)


def test_unanimous_effects_explain_the_simulated_power_of_the_exact_test():
    assert power.unanimous_effect(6, power=0.871) == pytest.approx(2.0, abs=0.01)
    assert power.unanimous_effect(6) == pytest.approx(1.79, abs=0.01)
