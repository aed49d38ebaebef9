"""Verdicts: the rules case by case, and how often they are wrong in simulated studies."""

from __future__ import annotations

import itertools
import math
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
        (STEADY, 0.01, "better and practically", "beyond the practical margin"),
        (-STEADY, 0.01, "worse and practically", "beyond the practical margin"),
        (STEADY, 0.05, "better", "does not exclude"),
        (STEADY, 0.10, "better", "but within the practical margin"),
        (-STEADY, 0.10, "worse", "but within the practical margin"),
        (STEADY, 0.0, "better", "p = 0.008"),
        (NOISY, 0.10, "equivalent", "90 % interval"),
        (NOISY, 0.01, "inconclusive", "80 % power"),
        (NOISY, 0.0, "inconclusive", "80 % power"),
    ],
)
def test_the_words(differences, margin, verdict, reason):
    found = one(differences, margin=margin)
    assert found.verdict == verdict
    assert reason in found.reason


def test_equivalence_begins_where_the_margin_holds_the_ninety_percent_interval():
    reach = estimates.estimate(NOISY, 0.90)
    edge = max(abs(reach.ci_low), abs(reach.ci_high))
    assert one(NOISY, margin=edge * 1.001).verdict == "equivalent"
    assert one(NOISY, margin=edge * 0.999).verdict == "inconclusive"


def test_practical_relevance_begins_where_the_interval_clears_the_margin():
    low = estimates.estimate(STEADY).ci_low
    assert one(STEADY, margin=low * 0.999).verdict == "better and practically"
    assert one(STEADY, margin=low * 1.001).verdict == "better"


def test_lower_is_better_turns_the_verdict_and_not_the_difference():
    found = one(STEADY, higher=False)
    assert found.verdict == "worse and practically"
    assert found.difference == pytest.approx(STEADY.mean())
    assert found.hedges_g > 0
    assert found.wins.losses == 8
    assert one(-STEADY, higher=False).verdict == "better and practically"


def test_golden_case_is_capped():
    found = one(np.array([0.012, 0.021, 0.008, 0.017, 0.015]))
    assert found.p_exact == found.p_holm == found.p_floor == 0.0625
    assert found.p_t == pytest.approx(0.0026960, abs=5e-8)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.008479, 0.020721), abs=1e-6)
    assert found.verdict == "suggestive better"
    assert "the exact test needs 6 seeds for 1 comparison" in found.reason


def test_too_large_a_family_caps_too():
    family = [pairs(STEADY), *[pairs(NOISY)] * 7]
    found = verdicts.compare_family(family, rules(8, margin=0))
    assert found[0].p_holm == pytest.approx(8 / 128)
    assert found[0].verdict == "suggestive better"
    assert found[1].verdict == "inconclusive"


def test_five_seeds_never_conclude():
    tiny = np.array([0.001, -0.001, 0.0005, 0.0, -0.0004])
    assert one(tiny).verdict == "inconclusive"
    assert "too few" in one(tiny).reason
    assert one(np.append(tiny, 0.0002)).verdict == "equivalent"


@pytest.mark.parametrize("n", [3, 4])
def test_three_or_four_seeds_give_an_interval_and_no_p(n):
    found = one(STEADY[:n])
    assert found.verdict == "inconclusive"
    assert found.ci_low is not None
    assert found.mde is not None
    assert (found.p_exact, found.p_holm, found.p_t, found.p_t_holm) == (None,) * 4


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
    assert (found.p_exact, found.p_holm, found.p_t, found.p_tost, found.hedges_g) == (None,) * 5
    assert (found.difference, found.sd, found.ci_low) == (0, 0, None)
    assert found.wins.ties == 8


# The same difference on every seed: the exact test stands, what rests on the spread is undefined.


@pytest.mark.parametrize(
    ("difference", "n", "higher", "verdict"),
    [
        (0.05, 10, True, "better and practically"),
        (-0.0375, 7, True, "worse and practically"),
        (-0.2, 8, False, "better and practically"),
        (0.004, 6, True, "better"),
        (-0.004, 19, True, "worse"),
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
    assert found.p_exact == found.p_holm == expected
    if n <= 12:
        assert found.p_exact == pytest.approx(stats.binomtest(n, n).pvalue)  # unanimous signs
    assert found.difference == pytest.approx(difference)
    assert (found.wins.wins, found.wins.losses) == ((n, 0) if verdict[0] == "b" else (0, n))
    undefined = ("ci_low", "ci_high", "p_t", "p_t_holm", "p_tost", "hedges_g", "g_low", "g_high")
    assert {getattr(found, name) for name in (*undefined, "mde", "seeds_needed")} == {None}
    assert not found.test_dependent
    assert f"every seed differs by {difference:.4g}, which leaves no interval" in found.reason


@pytest.mark.parametrize(
    ("margin", "verdict", "reason"),
    [
        (0.0499, "better and practically", "the difference lies beyond the practical margin"),
        (0.05, "better", "but within the practical margin"),  # though 0.55 - 0.5 > 0.05
        (0.0501, "better", "but within the practical margin"),
        (0.0, "better", "p = 0.002"),
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
    assert one(np.full(n, 0.05)).verdict == ("inconclusive" if n < 6 else "better and practically")


def test_the_same_difference_on_every_seed_takes_its_place_in_holm():
    constant, steady, _ = verdicts.compare_family(
        [pairs(np.full(8, 0.05)), pairs(STEADY), pairs(NOISY)], rules(3)
    )
    assert constant.p_exact == steady.p_exact == 2 / 2**8
    assert constant.p_holm == steady.p_holm == 3 * constant.p_exact
    assert steady.p_t_holm == 3 * steady.p_t  # the one without a t test counts as p = 1
    assert constant.verdict == steady.verdict == "better and practically"


def test_the_same_difference_is_known_where_it_has_no_decimal_fraction():
    reference = tuple(k / 30 for k in (7, 11, 20, 8, 25, 13, 16, 19))
    method = tuple((k + 1) / 30 for k in (7, 11, 20, 8, 25, 13, 16, 19))
    pair = Pairs("ewc", "replay", tuple(range(8)), method, reference)
    (found,) = verdicts.compare_family([pair], rules())
    assert found.identical
    assert found.verdict == "better and practically"
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
    assert found[0].p_holm == 2 * found[0].p_exact
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
    assert found.p_holm <= 0.05 < found.p_t_holm
    assert found.test_dependent
    assert "test-dependent" in found.reason
    assert found.verdict == "inconclusive"  # the interval holds zero
    assert not one(STEADY).test_dependent
    assert not one(outlier[1:], margin=0).test_dependent  # capped: the exact test cannot speak


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
    both = {"better", "worse", "better and practically", "worse and practically"}
    few = {"suggestive better", "suggestive worse"}
    rest = {"equivalent", "inconclusive", "identical differences", "no verdict"}
    assert found.verdict in both | few | rest
    assert found.reason
    numbers = [v for v in vars(found).values() if isinstance(v, float)]
    assert all(math.isfinite(v) for v in numbers)
    if found.verdict in both:
        assert found.p_holm <= 0.05
        assert found.identical or found.ci_low > 0 or found.ci_high < 0
        assert len(integers) >= 6


# How often verdicts are wrong. The studies are null: every method has the same law, with seeds that
# share a component, so any "better" or "worse" is an error, and Holm bounds the chance of even one.


def null_study(rng, n, comparisons, law="normal"):
    shared = rng.normal(0.8, 0.02, n)
    scores = shared + rng.normal(0, 0.01, (comparisons + 1, n))
    if law == "skewed":  # equally in every method, so that their differences are symmetric
        scores = 0.8 - rng.exponential(0.02, (comparisons + 1, n))
    reference = tuple(scores[0].tolist())
    return [
        Pairs(f"m{i}", "replay", tuple(range(n)), tuple(row.tolist()), reference)
        for i, row in enumerate(scores[1:])
    ]


def error_rate(n, comparisons, studies, words, seed=1, law="normal"):
    rng = np.random.default_rng(seed)
    fixed = rules(comparisons, margin=0.005)
    wrong = 0
    for _ in range(studies):
        family = verdicts.compare_family(null_study(rng, n, comparisons, law), fixed)
        wrong += any(c.verdict.startswith(words) for c in family)
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
def test_a_capped_family_is_never_called_different_and_seldom_suggested():
    assert error_rate(6, 4, 300, ("better", "worse")) == 0
    suggested = error_rate(6, 4, 300, ("suggestive",))
    assert suggested <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.usefixtures("no_power_analysis")
def test_equivalence_is_seldom_claimed_at_the_margin():
    rng = np.random.default_rng(4)
    studies, wrong = 1500, 0
    for _ in range(studies):  # noisy enough that "better" seldom comes first
        wrong += one(rng.normal(0.01, 0.0085, 8), margin=0.01).verdict == "equivalent"
    assert 0.02 < wrong / studies <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.usefixtures("no_power_analysis")
def test_equivalence_is_claimed_where_it_holds():
    rng = np.random.default_rng(5)
    found = [one(rng.normal(0, 0.004, 8), margin=0.01).verdict for _ in range(200)]
    assert found.count("equivalent") > 150


@pytest.mark.usefixtures("no_power_analysis")
def test_a_true_difference_is_found_as_often_as_the_reference_table_says():
    rng = np.random.default_rng(6)
    found = [one(rng.normal(1, 1, 8), margin=0).verdict for _ in range(1000)]
    assert found.count("better") / 1000 == pytest.approx(0.651, abs=0.045)
