"""Verdicts: the rules case by case, and how often they are wrong in simulated studies."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.one_study import verdicts
from analysis.one_study.pairing import Pairs
from analysis.statistics import estimates, paired

pytestmark = pytest.mark.filterwarnings("error")


def rules(comparisons=1, margin=0.01, higher=True):
    return verdicts.Rules(higher, margin, 0.05, comparisons)


def pairs(differences, base=0.5):
    n = len(differences)
    scores = tuple(base + float(d) for d in differences)
    return Pairs("ewc", "replay", tuple(range(n)), scores, (base,) * n)


def one(differences, **fixed):
    (found,) = verdicts.compare_family([pairs(differences)], rules(**fixed))
    return found


STEADY = np.array([0.05, 0.06, 0.04, 0.055, 0.045, 0.05, 0.052, 0.048])
NOISY = np.array([0.05, -0.06, 0.04, -0.055, 0.045, -0.05, 0.052, -0.02])


@pytest.mark.parametrize(
    ("differences", "margin", "verdict", "reason"),
    [
        (STEADY, 0.01, "better by more than the margin", "lies beyond the margin"),
        (-STEADY, 0.01, "worse by more than the margin", "lies beyond the margin"),
        (STEADY, 0.05, "better", "by more than the margin is open"),
        (-STEADY, 0.05, "worse", "by more than the margin is open"),
        (STEADY, 0.10, "better, but by less than the margin", "excludes 0 and lies inside"),
        (-STEADY, 0.10, "worse, but by less than the margin", "excludes 0 and lies inside"),
        (STEADY, 0.0, "better", "adjusted p = 0.008 (exact test); the interval excludes 0"),
        (NOISY, 0.10, "equivalent within the margin", "the interval lies inside the margin"),
        (NOISY, 0.01, "inconclusive", "80 % power"),
        (NOISY, 0.0, "inconclusive", "80 % power"),
        (STEADY[:5], 0.01, "suggestive: better by more than the margin", "(t test, which assumes"),
        (-STEADY[:5], 0.05, "suggestive: worse", "the exact test needs 6 seeds"),
        (STEADY[:5], 0.10, "suggestive: better, but by less than the margin", "6 seeds"),
        (NOISY[:5], 0.20, "suggestive: equivalent within the margin", "6 seeds"),
        (
            STEADY[:3],
            0.01,
            "suggestive: better by more than the margin",
            "t-interval, which assumes",
        ),
    ],
)
def test_the_words(differences, margin, verdict, reason):
    found = one(differences, margin=margin)
    assert found.verdict == verdict
    assert reason in found.reason


def test_every_word_changes_where_the_margin_meets_an_end_of_the_interval():
    low, high = one(STEADY).ci_low, one(STEADY).ci_high
    assert one(STEADY, margin=low * 0.999).verdict == "better by more than the margin"
    assert one(STEADY, margin=low * 1.001).verdict == "better"
    assert one(STEADY, margin=high * 0.999).verdict == "better"
    assert one(STEADY, margin=high * 1.001).verdict == "better, but by less than the margin"
    edge = max(abs(one(NOISY).ci_low), abs(one(NOISY).ci_high))
    assert one(NOISY, margin=edge * 1.001).verdict == "equivalent within the margin"
    assert one(NOISY, margin=edge * 0.999).verdict == "inconclusive"


def test_the_interval_is_at_the_level_of_the_family():
    for m in (1, 3):
        found = verdicts.compare_family([pairs(STEADY)], rules(m))[0]
        assert (found.ci_low, found.ci_high) == paired.sign_flip_interval(STEADY, 1 - 0.05 / m)
    crowd = verdicts.compare_family([pairs(STEADY)], rules(30))[0]  # 8 seeds decide at most 6
    interval = stats.ttest_1samp(STEADY, 0).confidence_interval(1 - 0.05 / 30)
    assert (crowd.ci_low, crowd.ci_high) == pytest.approx((interval.low, interval.high))
    alone = stats.ttest_1samp(STEADY, 0).confidence_interval(0.95)
    assert (crowd.t_low, crowd.t_high) == pytest.approx((alone.low, alone.high))


def test_lower_is_better_turns_the_verdict_and_not_the_difference():
    found = one(STEADY, higher=False)
    assert found.verdict == "worse by more than the margin"
    assert found.difference == pytest.approx(STEADY.mean())
    assert found.hedges_g > 0
    assert found.wins.losses == 8
    assert one(-STEADY, higher=False).verdict == "better by more than the margin"


def test_golden_case_is_capped():
    found = one(np.array([0.012, 0.021, 0.008, 0.017, 0.015]))
    assert found.p_exact == found.p_adjusted == found.p_floor == 0.0625
    assert found.p_t == pytest.approx(0.0026960, abs=5e-8)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.008479, 0.020721), abs=1e-6)
    assert found.verdict == "suggestive: better"
    assert "the exact test needs 6 seeds for 1 comparison" in found.reason


def test_too_large_a_family_caps_too():
    family = [pairs(STEADY), *[pairs(NOISY)] * 7]
    found = verdicts.compare_family(family, rules(8, margin=0))
    assert found[0].p_adjusted == pytest.approx(8 / 128)
    assert found[0].verdict == "suggestive: better"
    assert found[1].verdict == "inconclusive"


def test_five_seeds_never_conclude():
    tiny = np.array([0.001, -0.001, 0.0005, 0.0, -0.0004])
    assert one(tiny).verdict == "suggestive: equivalent within the margin"
    assert one(np.append(tiny, 0.0002)).verdict == "equivalent within the margin"


@pytest.mark.parametrize("n", [3, 4])
def test_three_or_four_seeds_give_an_interval_and_no_p(n):
    found = one(STEADY[:n])
    assert found.verdict.startswith("suggestive: ")
    assert found.ci_low is not None
    assert found.mde is None  # no test, no smallest effect that it detects
    assert (found.p_exact, found.p_adjusted, found.p_t, found.p_t_adjusted) == (None,) * 4


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_seeds_are_listed(n):
    found = one(STEADY[:n])
    assert found.verdict == "no verdict"
    assert found.differences == pytest.approx(tuple(STEADY[:n]))
    assert (found.ci_low, found.p_t, found.hedges_g, found.mde, found.wins) == (None,) * 5


def test_equal_scores_have_no_p():
    found = one(np.zeros(8))
    assert found.verdict == "identical differences"
    assert found.identical
    assert (found.p_exact, found.p_adjusted, found.p_t, found.t_low, found.hedges_g) == (None,) * 5
    assert (found.difference, found.sd, found.ci_low) == (0, 0, None)
    assert found.wins.ties == 8


# The same difference on every seed: the exact test stands, what rests on the spread is undefined.


@pytest.mark.parametrize(
    ("difference", "n", "higher", "verdict"),
    [
        (0.05, 10, True, "better by more than the margin"),
        (-0.0375, 7, True, "worse by more than the margin"),
        (-0.2, 8, False, "better by more than the margin"),
        (0.004, 6, True, "better, but by less than the margin"),
        (-0.004, 19, True, "worse, but by less than the margin"),
    ],
)
def test_the_same_difference_on_every_seed_is_judged_by_the_exact_test(
    difference, n, higher, verdict
):
    found = one(np.full(n, difference), higher=higher)
    assert found.verdict == verdict
    flips = itertools.product((1, -1), repeat=min(n, 12))
    extreme = sum(abs(sum(signs)) == len(signs) for signs in flips)
    expected = extreme / 2 ** min(n, 12) if n <= 12 else pytest.approx(2 / 99_999, abs=8e-5)
    assert found.p_exact == found.p_adjusted == expected
    if n <= 12:
        assert found.p_exact == pytest.approx(stats.binomtest(n, n).pvalue)  # unanimous signs
    assert found.difference == pytest.approx(difference)
    assert (found.wins.wins, found.wins.losses) == ((n, 0) if verdict[0] == "b" else (0, n))
    undefined = ("ci_low", "ci_high", "t_low", "t_high", "p_t", "p_t_adjusted", "hedges_g", "g_low")
    assert {getattr(found, name) for name in (*undefined, "g_high", "mde", "seeds_needed")} == {
        None
    }
    assert not found.test_dependent
    assert f"every seed differs by {difference:.4g}, which leaves no spread" in found.reason


@pytest.mark.parametrize(
    ("margin", "verdict", "reason"),
    [
        (0.0499, "better by more than the margin", "lies beyond the margin"),
        (0.05, "better", "by more than the margin is open"),  # though 0.55 - 0.5 > 0.05
        (0.0501, "better, but by less than the margin", "lies inside the margin"),
        (0.0, "better", "the interval excludes 0"),
    ],
)
def test_the_same_difference_on_every_seed_against_the_margin(margin, verdict, reason):
    assert 0.55 - 0.5 > 0.05
    (found,) = verdicts.compare_family([pairs(np.full(10, 0.05))], rules(margin=margin))
    assert found.verdict == verdict
    assert found.reason.endswith(reason)


@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_the_same_difference_on_too_few_seeds_says_that_no_test_can_tell(n):
    found = verdicts.compare_family([pairs(np.full(n, 0.05))] * 3, rules(3))[0]
    assert found.verdict == "inconclusive"
    assert found.reason.endswith("effect size; the exact test needs 7 seeds for 3 comparisons")
    assert found.p_exact == (2 / 2**n if n >= 5 else None)
    assert one(np.full(n, 0.05)).verdict == (
        "inconclusive" if n < 6 else "better by more than the margin"
    )


def test_the_same_difference_on_every_seed_takes_its_place_in_the_family():
    constant, steady, _ = verdicts.compare_family(
        [pairs(np.full(8, 0.05)), pairs(STEADY), pairs(NOISY)], rules(3)
    )
    assert constant.p_exact == steady.p_exact == 2 / 2**8
    assert constant.p_adjusted == steady.p_adjusted == 3 * constant.p_exact
    assert steady.p_t_adjusted == 3 * steady.p_t
    assert constant.verdict == steady.verdict == "better by more than the margin"


def test_the_same_difference_is_known_where_it_has_no_decimal_fraction():
    reference = tuple(k / 30 for k in (7, 11, 20, 8, 25, 13, 16, 19))
    method = tuple((k + 1) / 30 for k in (7, 11, 20, 8, 25, 13, 16, 19))
    pair = Pairs("ewc", "replay", tuple(range(8)), method, reference)
    (found,) = verdicts.compare_family([pair], rules())
    assert found.identical
    assert found.verdict == "better by more than the margin"
    assert found.hedges_g is None


@settings(max_examples=60, deadline=None)
@given(
    st.integers(6, 14),
    st.floats(-0.3, 0.3),
    st.sampled_from([1e-12, 1e-10, 1e-9]),
    st.integers(0, 2**32 - 1),
)
def test_a_spread_next_to_nothing_changes_no_verdict(n, difference, noise, seed):
    assume(abs(difference) > 1e-6)
    assume(abs(abs(difference) - 0.01) > 1e-6)
    rng = np.random.default_rng(seed)
    base, jitter = rng.uniform(0.3, 0.6, n), noise * rng.uniform(-1, 1, n)
    exact, noisy = (
        verdicts.compare_family(
            [Pairs("ewc", "replay", tuple(range(n)), tuple(scores), tuple(base))], rules()
        )[0]
        for scores in (base + difference, base + difference + jitter)
    )
    assert exact.identical
    assert (exact.verdict, exact.p_exact) == (noisy.verdict, noisy.p_exact)
    numbers = [v for v in vars(noisy).values() if isinstance(v, float)]
    assert all(math.isfinite(v) for v in numbers)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(3, 25), st.integers(-3, 5)), min_size=5, max_size=8),
    st.sampled_from([30, 7, 1797]),
)
def test_p_is_that_of_the_scores_on_paper(of_seeds, size):
    theirs, mine = zip(*[(base, base + gain) for base, gain in of_seeds], strict=True)
    pair = Pairs(
        *("ewc", "replay", tuple(range(len(mine)))),
        tuple(k / size for k in mine),
        tuple(k / size for k in theirs),
    )
    (found,) = verdicts.compare_family([pair], rules())
    d = [Fraction(a - b, size) for a, b in zip(mine, theirs, strict=True)]
    flips = list(itertools.product((1, -1), repeat=len(d)))
    sums = [abs(sum(sign * x for sign, x in zip(signs, d, strict=True))) for signs in flips]
    expected = sum(total >= abs(sum(d)) for total in sums) / len(flips)
    assert found.p_exact == (pytest.approx(expected) if any(d) else None)


def test_round_off_does_not_make_a_difference():
    found = one(np.array([1, -1, 2, -2, 3, 4, 1, -1]) * 1e-12)
    assert found.verdict == "identical differences"
    assert found.wins.ties == 8


def test_a_refused_comparison_keeps_its_place_in_the_family():
    refused = Pairs("lwf", "replay", (), (), (), "failed seeds of lwf: 3")
    found = verdicts.compare_family([pairs(STEADY), refused], rules(2))
    assert found[0].p_adjusted == 2 * found[0].p_exact
    assert found[1].verdict == "no verdict"
    assert found[1].reason == "failed seeds of lwf: 3"
    assert found[1].difference is None


def test_no_shared_seed():
    found = one(np.array([]))
    assert found.verdict == "no verdict"
    assert "no seed is shared" in found.reason


def test_test_dependent_where_the_two_tests_disagree():
    outlier = np.array([0.01, 0.012, 0.011, 0.013, 0.009, 0.2])
    found = one(outlier, margin=0)
    assert found.p_adjusted <= 0.05 < found.p_t_adjusted
    assert found.test_dependent
    assert "test-dependent" in found.reason
    assert found.verdict == "better"  # by the exact test, which decides
    assert not one(STEADY).test_dependent
    assert not one(outlier[1:], margin=0).test_dependent  # capped: the exact test cannot speak


@pytest.mark.parametrize(("n", "comparisons"), [(3, 1), (5, 1), (6, 2), (8, 7)])
def test_where_the_exact_test_cannot_decide_no_smallest_effect_is_told(n, comparisons):
    found = one(NOISY[:n], comparisons=comparisons)
    assert found.mde is None
    assert found.verdict == "inconclusive"
    assert "80 % power" not in found.reason
    fewest = paired.seeds_for_exact_test(comparisons)
    assert f"the exact test needs {fewest} seeds" in found.reason
    needed = f"about {found.seeds_needed} seeds" if found.seeds_needed else "no feasible number"
    assert needed in found.reason


def test_inconclusive_says_how_many_seeds_would_do():
    found = one(np.array([0.05, -0.02, 0.03, 0.01, -0.01, 0.02]), margin=0)
    assert found.verdict == "inconclusive"
    assert found.seeds_needed > 6
    assert f"about {found.seeds_needed} seeds" in found.reason
    assert found.mde > abs(found.difference)


def test_seeds_needed_satisfy_the_exact_test_too():
    clear = STEADY[:4]
    assert one(clear).seeds_needed == 6
    found = verdicts.compare_family([pairs(clear)] * 8, rules(8))
    assert found[0].seeds_needed >= paired.seeds_for_exact_test(8)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.integers(-20, 20), min_size=1, max_size=9),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.02]),
    st.booleans(),
)
def test_any_data_give_a_known_word_and_no_nan(integers, comparisons, margin, higher):
    found = one(
        np.array(integers) / 100,
        comparisons=comparisons,
        margin=margin,
        higher=higher,
    )
    directions = [
        direction + ending
        for direction in ("better", "worse")
        for ending in ("", " by more than the margin", ", but by less than the margin")
    ]
    read = {*directions, "equivalent within the margin"}
    rest = {"inconclusive", "identical differences", "no verdict"}
    assert found.verdict in read | {f"suggestive: {word}" for word in read} | rest
    assert found.reason
    numbers = [v for v in vars(found).values() if isinstance(v, float)]
    assert all(math.isfinite(v) for v in numbers)
    if found.verdict in directions:
        assert found.p_adjusted <= 0.05
        assert found.identical or found.ci_low > 0 or found.ci_high < 0
        assert len(integers) >= 6


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(-20, 30), min_size=3, max_size=12),
    st.integers(1, 12),
    st.integers(0, 20),
)
def test_no_printed_interval_contradicts_its_verdict(integers, comparisons, margin):
    found = one(np.array(integers) / 100, comparisons=comparisons, margin=(margin + 0.5) / 100)
    if found.ci_low is None:
        return
    word, edge = found.verdict.removeprefix("suggestive: "), (margin + 0.5) / 100
    assert word.startswith("better") == (found.ci_low > 0)
    assert word.startswith("worse") == (found.ci_high < 0)
    beyond = found.ci_low > edge or found.ci_high < -edge
    assert word.endswith("by more than the margin") == beyond
    inside = -edge < found.ci_low and found.ci_high < edge
    assert (word.endswith(", but by less than the margin") or "equivalent" in word) == inside


# Failed seeds that count as the worst score: the exact test stands, numbers on the score do not.


def with_failures(differences, failed, **fixed):
    """A comparison in which seeds of the method failed and count as 0.1; the reference has 0.5."""
    values = [-0.4 if seed in failed else x for seed, x in enumerate(differences)]
    given = replace(pairs(values), imputed=tuple(failed), counted_as=0.1)
    (found,) = verdicts.compare_family([given], rules(**fixed))
    return found


def test_failed_seeds_that_count_leave_the_exact_test_and_nothing_that_rests_on_their_score():
    found = with_failures(-STEADY, [2, 5])
    assert found.p_exact == paired.sign_flip_p(np.array(found.differences)) == 2 / 2**8
    assert found.verdict == "worse"  # not "by more than the margin", though by at least 0.04
    assert found.reason == (
        "adjusted p = 0.008 (exact test); 2 of 8 seeds failed, each counted as 0.1000, so "
        "there is no interval"
    )
    assert (found.wins.losses, found.wins.ties) == (8, 0)
    undefined = {
        *("sd", "ci_low", "ci_high", "t_low", "t_high", "p_t", "p_t_adjusted", "hedges_g"),
        *("g_low", "g_high", "rho", "mde", "seeds_needed"),
    }
    assert {getattr(found, name) for name in undefined} == {None}
    assert not found.test_dependent


def test_failures_weigh_against_a_method_that_is_better_otherwise():
    assert one(STEADY).verdict == "better by more than the margin"
    found = with_failures(STEADY, [2, 5])
    assert found.verdict == "inconclusive"
    assert "80 % power" not in found.reason


@pytest.mark.parametrize(("n", "comparisons"), [(3, 1), (5, 1), (6, 2)])
def test_failed_seeds_among_too_few_leave_no_suggestion(n, comparisons):
    found = with_failures(-STEADY[:n], [1], comparisons=comparisons)
    assert found.verdict == "inconclusive"
    fewest = paired.seeds_for_exact_test(comparisons)
    assert f"1 of {n} seeds failed, each counted as 0.1000" in found.reason
    assert f"the exact test needs {fewest} seeds" in found.reason


@pytest.mark.parametrize("counted_as", [0.1, -5.0])
def test_a_word_on_better_or_worse_is_seldom_false_whatever_a_failure_counts_as(counted_as):
    rng, studies, wrong = np.random.default_rng(3), 1000, 0
    for _ in range(studies):
        scores = rng.normal(0.5, 0.05, (2, 10))
        failed = rng.random((2, 10)) < 0.15  # equally often in both methods
        scores[failed] = counted_as
        seeds = tuple(range(10))
        of_both = [tuple(row.tolist()) for row in scores]
        imputed = tuple(np.flatnonzero(failed.any(axis=0)).tolist())
        given = Pairs("ewc", "replay", seeds, of_both[0], of_both[1], None, imputed, counted_as)
        (found,) = verdicts.compare_family([given], rules())
        wrong += found.verdict.startswith(("better", "worse"))
    assert wrong / studies <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / studies)


# How often verdicts are wrong, over a study's whole family. Where every method has the same law,
# with seeds that share a component, any "better" or "worse" is an error; where every method is
# better by exactly the margin, so is any statement that places a difference beyond or inside the
# margin.
# `tests/benchmarks/error_rates.py` has more seeds, families and laws.


def simulated_study(rng, n, comparisons, law="normal", gain=0.0):
    shared = rng.normal(0.8, 0.02, n)
    scores = shared + rng.normal(0, 0.01, (comparisons + 1, n))
    if law == "skewed":  # equally in every method, so that their differences are symmetric
        scores = 0.8 - rng.exponential(0.02, (comparisons + 1, n))
    scores[1:] += gain
    reference = tuple(scores[0].tolist())
    return [
        Pairs(f"m{i}", "replay", tuple(range(n)), tuple(row.tolist()), reference)
        for i, row in enumerate(scores[1:])
    ]


def error_rate(n, comparisons, studies, words, seed=1, law="normal", margin=0.005, gain=0.0):
    """The share of studies with a verdict that has one of the words, suggestions included."""
    rng = np.random.default_rng(seed)
    fixed = rules(comparisons, margin=margin)
    wrong = 0
    for _ in range(studies):
        family = simulated_study(rng, n, comparisons, law, gain)
        found = [c.verdict for c in verdicts.compare_family(family, fixed)]
        wrong += any(word in verdict for verdict in found for word in words)
    return wrong / studies


@pytest.fixture
def no_power_analysis(monkeypatch):
    """Leave out what no verdict reads and what takes most of the time."""
    monkeypatch.setattr(verdicts.power, "visible_effect", lambda n, alpha: 1.0)
    monkeypatch.setattr(verdicts.power, "seeds_for_difference", lambda *of: 10)
    monkeypatch.setattr(verdicts.estimates, "hedges_g", lambda *of: estimates.Effect(0.0, 0.0, 0.0))


@pytest.mark.usefixtures("no_power_analysis")
@pytest.mark.parametrize(
    ("n", "comparisons", "studies", "expected"),
    [
        (6, 1, 1500, 0.031),
        (8, 1, 1200, 0.043),
        (8, 4, 400, None),
        (10, 1, 800, 0.049),
        (10, 4, 250, None),
    ],
)
def test_null_studies_are_seldom_called_different(n, comparisons, studies, expected):
    rate = error_rate(n, comparisons, studies, ("better", "worse"))
    spread = math.sqrt(0.05 * 0.95 / studies)
    assert rate <= 0.05 + 2.5 * spread
    if expected:
        assert rate == pytest.approx(expected, abs=3 * spread)


@pytest.mark.usefixtures("no_power_analysis")
@pytest.mark.parametrize(("n", "studies"), [(6, 1000), (8, 1000), (10, 600), (30, 60)])
def test_equally_skewed_methods_are_seldom_called_different(n, studies):
    rate = error_rate(n, 1, studies, ("better", "worse"), law="skewed")
    assert rate <= 0.06
    assert rate >= 0.01  # not merely timid


@pytest.mark.usefixtures("no_power_analysis")
def test_a_capped_family_is_only_and_seldom_suggested_to_differ():
    rng = np.random.default_rng(1)
    found = verdicts.compare_family(simulated_study(rng, 6, 4, gain=0.1), rules(4))
    assert {c.verdict for c in found} == {"suggestive: better by more than the margin"}
    suggested = error_rate(6, 4, 300, ("better", "worse"))
    assert suggested <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.usefixtures("no_power_analysis")
@pytest.mark.parametrize("law", ["normal", "skewed"])
@pytest.mark.parametrize(("n", "comparisons"), [(6, 1), (6, 5), (8, 3), (10, 10)])
@pytest.mark.parametrize("words", [("by more",), ("by less", "equivalent")])
def test_at_the_margin_no_kind_of_statement_is_made_too_often(n, comparisons, law, words):
    # wide enough against the noise that the interval does not reach zero or the other end
    studies = 300
    rate = error_rate(n, comparisons, studies, words, law=law, margin=0.15, gain=0.15)
    assert rate <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.usefixtures("no_power_analysis")
def test_equivalence_is_claimed_where_it_holds():
    rng = np.random.default_rng(5)
    found = [one(rng.normal(0, 0.004, 8), margin=0.01).verdict for _ in range(200)]
    assert sum("equivalent" in verdict or "by less" in verdict for verdict in found) > 150


@pytest.mark.usefixtures("no_power_analysis")
def test_a_true_difference_is_found_as_often_as_the_reference_table_says():
    rng = np.random.default_rng(6)
    found = [one(rng.normal(1, 1, 8), margin=0).verdict for _ in range(1000)]
    assert found.count("better") / 1000 == pytest.approx(0.651, abs=0.045)
