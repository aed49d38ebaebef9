"""The variance of groups of scores against hand computation, statsmodels and known components."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import mixedlm, ols
from statsmodels.stats.anova import anova_lm

from analysis.statistics.components import one_way


def test_a_case_computed_by_hand():
    # means 2, 6; grand mean 4; MS between 2(4 + 4) / 1 = 16, within (1 + 1 + 1 + 1) / 2 = 2
    found = one_way([np.array([1.0, 3.0]), np.array([5.0, 7.0])])
    assert (found.between**2, found.within**2) == pytest.approx(((16 - 2) / 2, 2.0))
    assert found.share == pytest.approx(7 / 9)


def test_unequal_groups_computed_by_hand():
    # means 1, 4; grand mean 3; MS between 2 * 4 + 4 * 1 = 12, within (2 + 20) / 4 = 5.5
    # n_0 = 6 - (4 + 16) / 6 = 8 / 3
    found = one_way([np.array([0.0, 2.0]), np.array([1.0, 3.0, 5.0, 7.0])])
    assert (found.between**2, found.within**2) == pytest.approx(((12 - 5.5) / (8 / 3), 5.5))


def test_groups_closer_than_their_spread_explains_have_no_part_in_the_variance():
    found = one_way([np.array([0.0, 10.0]), np.array([0.1, 10.1])])
    assert (found.between, found.share) == (0.0, 0.0)
    assert found.within == pytest.approx(math.sqrt(50.0))


@pytest.mark.parametrize("groups", [[], [[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 2.0], []]])
def test_one_group_or_single_scores_cannot_be_split(groups):
    assert one_way([np.array(group) for group in groups]) is None


def test_equal_scores_have_no_share():
    found = one_way([np.full(3, 0.7), np.full(3, 0.7)])
    assert (found.between, found.within, found.share) == (0.0, 0.0, None)


def test_mean_squares_and_components_are_those_of_statsmodels():
    rng = np.random.default_rng(1)
    groups = [rng.normal(center, 1.0, 8) for center in (0.0, 3.0, 5.0, 9.0)]
    rows = pd.DataFrame(
        [(score, number) for number, group in enumerate(groups) for score in group],
        columns=["score", "sweep"],
    )
    mean_squares = anova_lm(ols("score ~ C(sweep)", rows).fit())["mean_sq"]
    found = one_way(groups)
    assert found.within**2 == pytest.approx(mean_squares["Residual"])
    assert found.between**2 == pytest.approx(
        (mean_squares["C(sweep)"] - mean_squares["Residual"]) / 8
    )
    # in a balanced layout with a positive estimate, REML gives the same
    reml = mixedlm("score ~ 1", rows, groups=rows["sweep"]).fit(reml=True)
    assert found.between**2 == pytest.approx(float(reml.cov_re.iloc[0, 0]), rel=1e-3)


@pytest.mark.parametrize(("between", "within"), [(1.0, 1.0), (2.0, 0.5), (0.0, 1.0)])
def test_known_components_are_found_on_average(between, within):
    rng = np.random.default_rng(2)
    sizes, found = (6, 10, 10, 14, 10), []
    for _ in range(2000):
        centers = rng.normal(0, between, len(sizes))
        groups = [rng.normal(center, within, n) for center, n in zip(centers, sizes, strict=True)]
        found.append(one_way(groups))
    variances = np.array([parts.between**2 for parts in found])
    assert np.mean([parts.within**2 for parts in found]) == pytest.approx(within**2, rel=0.02)
    if between:  # the cut at 0 lifts the mean a little, and more where seeds are noisier
        assert np.mean(variances) == pytest.approx(between**2, rel=0.1)
    else:
        assert np.median(variances) == 0.0
        assert np.mean(variances) < 0.05 * within**2
