"""Plans against the power tables, statsmodels and simulated studies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from analysis.one_study import planning
from analysis.one_study.planning import plan_seeds
from analysis.statistics import estimates, paired, power

pytestmark = pytest.mark.filterwarnings("error")

SEEN = (0.012, 0.021, 0.008, 0.017, 0.015)
SD = float(np.std(SEEN, ddof=1))


def row(plan, n):
    return next(row for row in plan.detectable if row.n == n)


@pytest.mark.parametrize(
    ("n", "one", "five"),
    [
        (6, 1.79, None),  # the t test has 1.44; the exact one needs unanimous seeds, or more
        (8, 1.16, 1.92),  # 1.60 likewise
        (10, 1.00, 1.33),
        (15, 0.78, 1.00),
        (20, 0.66, 0.84),
        (30, 0.53, 0.66),
    ],
)
def test_detectable_sizes_of_the_table(n, one, five):
    assert row(plan_seeds(10, 1), n).size == pytest.approx(one, abs=0.006)
    assert row(plan_seeds(10, 5), n).size == pytest.approx(five, abs=0.006)
    solved = TTestPower().solve_power(nobs=n, alpha=0.05 / 3, power=0.8)
    assert row(plan_seeds(10, 3), n).size == (pytest.approx(solved, rel=1e-5) if five else None)


def test_the_table_includes_the_studys_own_seeds_once():
    assert [r.n for r in plan_seeds(10, 1).detectable] == [6, 8, 10, 15, 20, 30]
    own = plan_seeds(12, 1)
    assert [r.n for r in own.detectable] == [6, 8, 10, 12, 15, 20, 30]
    assert [r.n for r in own.detectable if r.planned] == [12]


def test_differences_seen_give_metric_units_for_their_spread_and_its_upper_limit():
    found = plan_seeds(10, 2, SEEN)
    factor = math.sqrt(4 / stats.chi2.ppf(0.2, 4))
    assert factor == pytest.approx(1.56, abs=0.005)
    assert found.spread.n == 5
    assert found.spread.sd == pytest.approx(SD)
    assert found.spread.sd_upper == pytest.approx(factor * SD)
    for r in found.detectable[1:]:  # 6 seeds do not decide 2 comparisons
        assert r.difference == pytest.approx(r.size * SD)
        assert r.difference_upper == pytest.approx(r.size * factor * SD)


@pytest.mark.parametrize("comparisons", [1, 4])
def test_the_detectable_difference_is_seen_as_often_as_promised(comparisons):
    found = plan_seeds(10, comparisons, SEEN)
    rng = np.random.default_rng(comparisons)
    d = rng.normal(row(found, 10).difference, SD, (20_000, 10))
    t = d.mean(axis=1) / d.std(axis=1, ddof=1) * math.sqrt(10)
    critical = stats.t.ppf(1 - 0.05 / comparisons / 2, 9)
    assert np.mean(np.abs(t) > critical) == pytest.approx(0.8, abs=0.01)


def test_the_upper_limit_guards_against_a_lucky_spread():
    rng = np.random.default_rng(0)
    spreads = [plan_seeds(10, 1, rng.normal(0.02, 0.01, 5)).spread for _ in range(300)]
    assert np.mean([spread.sd_upper >= 0.01 for spread in spreads]) == pytest.approx(0.8, abs=0.06)
    assert np.mean([spread.sd >= 0.01 for spread in spreads]) < 0.5


@pytest.mark.parametrize("difference", [0.006, 0.004, -0.004])
def test_seeds_needed_are_the_fewest_with_the_power(difference):
    found = plan_seeds(10, 2, SEEN, [difference])
    (needed,) = found.needed
    assert needed.size == pytest.approx(abs(difference) / SD)
    for seeds, sd in ((needed.seeds, SD), (needed.seeds_upper, found.spread.sd_upper)):
        size, level = abs(difference) / sd, 0.05 / 2
        assert (
            TTestPower().power(size, seeds, level)
            >= 0.8
            > TTestPower().power(size, seeds - 1, level)
        )
    assert needed.seeds < needed.seeds_upper


def test_a_huge_difference_still_needs_the_seeds_of_the_exact_test():
    for comparisons, fewest in ((1, 6), (3, 7), (5, 8), (10, 9)):
        found = plan_seeds(10, comparisons, SEEN, [10.0])
        assert found.fewest_seeds == found.needed[0].seeds == fewest
        assert found.needed[0].seeds_upper == fewest
        assert all(r.attainable == (r.n >= fewest) for r in found.detectable)


def test_without_a_spread_sizes_are_in_standard_deviations():
    found = plan_seeds(10, 1)
    assert found.spread is None
    assert {needed.size: needed.seeds for needed in found.needed} == {
        0.5: 34,
        0.8: 15,
        1.0: 10,
        1.5: 7,  # 6 by the t test, where the exact one needs unanimous seeds and 1.79 sd
        2.0: 6,  # 5 by the t test, but the exact test needs 6
    }
    assert all(r.difference is r.difference_upper is None for r in found.detectable)
    assert all(n.difference is n.seeds_upper is None for n in found.needed)
    assert found.sentences[0].startswith("No spread is known yet")
    assert "1.00 sd is seen with 80 % power" in found.sentences[1]
    assert "34 for 0.5 sd" in found.sentences[2]


def test_metric_differences_without_a_spread_are_not_taken_for_standard_deviations():
    found = plan_seeds(10, 1, (), [0.01])
    assert [needed.difference for needed in found.needed] == [None] * 5
    assert "depends on the spread" in found.sentences[-1]


@pytest.mark.parametrize("seen", [(), (0.01,), (0.02, math.nan), (0.1 + 0.2, 0.3, 0.3), (0, 0, 0)])
def test_differences_that_give_no_spread(seen):
    found = plan_seeds(10, 2, seen, [0.01])
    assert found.spread is None
    assert "standard deviations" in found.sentences[0]
    assert ("identical" in found.sentences[0]) == (len(seen) == 3)


def test_failed_seeds_are_counted():
    found = plan_seeds(10, 1, (*SEEN, math.nan))
    assert found.spread == plan_seeds(10, 1, SEEN).spread
    assert "from 5 seeds" in found.sentences[0]
    assert "1 failed seed left out" in found.sentences[0]


def test_what_is_seen_is_any_array_and_stays_as_it_is():
    seen = np.array(SEEN)
    before = seen.copy()
    assert plan_seeds(10, 1, seen) == plan_seeds(10, 1, list(SEEN))
    assert np.array_equal(seen, before)
    measured, _ = planning.measure_spread(seen)
    assert measured.sd_upper == estimates.sd_upper_limit(measured.sd, 5)


def test_the_sentences_of_a_study():
    found = plan_seeds(10, 2, SEEN, [0.004])
    assert found.sentences == (
        "Spread of the paired differences: sd 0.00493 from 5 seeds, upper 80 % limit 0.00768.",
        "With 10 seeds and 2 comparisons (at 0.05/2), a true difference of 0.00561 "
        "(0.00874 at the upper limit of the spread) is seen with 80 % power.",
        "A true difference of 0.004 needs 18 seeds, 38 at the upper limit of the spread.",
    )


def test_a_difference_that_no_study_can_see():
    found = plan_seeds(10, 2, SEEN, [0.0, 1e-6])
    assert [needed.seeds for needed in found.needed] == [None, None]
    assert "needs more than 10,000 seeds, more than 10,000 at the upper" in found.sentences[-1]


@pytest.mark.parametrize("planned", [0, 1])
def test_hardly_any_seed(planned):
    found = plan_seeds(planned, 3, SEEN)
    assert not any(r.planned for r in found.detectable)
    assert "nothing is tested" in found.sentences[1]


@pytest.mark.parametrize("planned", [2, 3, 5, 6])
def test_seeds_too_few_for_a_verdict(planned):
    found = plan_seeds(planned, 4)
    assert not row(found, planned).attainable
    assert "8 seeds do" in found.sentences[1]
    assert row(found, planned).size is None  # no test, no smallest difference that it sees
    assert "80 % power" not in "".join(found.sentences)


def test_five_seeds_give_no_verdict_even_where_the_exact_test_reaches_alpha():
    assert paired.EXACT.can_decide(5, 1, 0.1)
    assert not row(plan_seeds(5, 1, alpha=0.1), 5).attainable


@pytest.mark.parametrize(("n", "comparisons"), [(6, 1), (8, 5), (9, 10)])
def test_unanimous_sizes_have_the_power_in_the_exact_test(n, comparisons):
    found = plan_seeds(n, comparisons)
    size = row(found, n).size
    assert size > power.detectable_effect(n, 0.05 / comparisons)
    assert f"all {n} seeds agree in sign" in found.sentences[2]
    rng = np.random.default_rng(n)
    reps = 1000
    p = [paired.sign_flip_p(d) for d in rng.normal(size, 1, (reps, n))]
    error = math.sqrt(0.8 * 0.2 / reps)
    assert np.mean(np.array(p) <= 0.05 / comparisons) == pytest.approx(0.8, abs=3 * error)


def test_no_comparison_counts_as_one():
    assert plan_seeds(10, 0) == plan_seeds(10, 1)
    assert "10 seeds and 1 comparison (" in plan_seeds(10, 0).sentences[1]
