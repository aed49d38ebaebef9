"""Tests, intervals and corrections against enumeration, scipy, statsmodels and pingouin."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.statistics import paired

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
    assert paired.EXACT.can_decide(seeds, comparisons, 0.05)
    assert not paired.EXACT.can_decide(seeds - 1, comparisons, 0.05)


@pytest.mark.parametrize("n", [3, 5, 12])
def test_paired_t_agrees_with_scipy_and_pingouin(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.2, 1, n), rng.normal(0, 1, n)
    p = paired.paired_t_p(a - b)
    assert p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert p == pytest.approx(float(pingouin.ttest(a, b, paired=True)["p_val"].iloc[0]))


def kept_centres(integers, level):
    """The centres that enumeration does not reject, in exact arithmetic, lowest and highest.

    Only at means of some of the differences can the test's decision change.
    """
    subsets = (
        chosen
        for size in range(1, len(integers) + 1)
        for chosen in itertools.combinations(integers, size)
    )
    centres = sorted({Fraction(sum(chosen), len(chosen)) for chosen in subsets})
    kept = [c for c in centres if two_tails([x - c for x in integers]) > level]
    return kept[0], kept[-1]


def two_tails(values):
    flips = itertools.product((1, -1), repeat=len(values))
    sums = [sum(s * x for s, x in zip(signs, values, strict=True)) for signs in flips]
    observed = sum(values)
    tail = min(sum(x >= observed for x in sums), sum(x <= observed for x in sums))
    return 2 * Fraction(tail, len(sums))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=6, max_size=7), st.sampled_from([0.05, 0.1, 0.3]))
def test_the_interval_holds_the_centres_that_enumeration_does_not_reject(integers, level):
    low, high = paired.sign_flip_interval(np.array(integers) / 360, 1 - level)
    expected = kept_centres(integers, level)
    assert (low, high) == pytest.approx(tuple(float(c) / 360 for c in expected), abs=1e-11)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(-30, 40), min_size=6, max_size=20),
    st.sampled_from([0.05, 0.01, 0.05 / 3]),
    st.booleans(),
)
def test_the_interval_excludes_zero_where_the_test_rejects(integers, level, drawn):
    d, resamples = np.array(integers) / 360, 500 if drawn else 2_000
    found = paired.sign_flip_interval(d, 1 - level, resamples)
    rejected = d.any() and paired.sign_flip_p(d, resamples) <= level + 1e-12
    assert rejected == (found is not None and not found[0] <= 0 <= found[1])


def test_the_interval_of_six_seeds_is_their_range_and_of_five_is_none():
    assert paired.sign_flip_interval(np.append(GOLDEN, 0.01), 0.95) == (0.008, 0.021)
    assert paired.sign_flip_interval(GOLDEN, 0.95) is None
    assert paired.sign_flip_interval(np.append(GOLDEN, 0.01), 0.975) is None


@pytest.mark.parametrize("law", ["normal", "laplace", "uniform"])
@pytest.mark.parametrize(("n", "level"), [(6, 0.05), (10, 0.05), (10, 0.01), (20, 0.05)])
def test_the_interval_covers_the_centre_of_symmetric_differences(law, n, level):
    data = getattr(np.random.default_rng(n), law)(size=(2000, n))
    data += 3 - (law == "uniform") / 2
    ends = [paired.sign_flip_interval(d, 1 - level, 4_999) for d in data]
    missed = np.mean([not low <= 3 <= high for low, high in ends])
    nominal = 2 * math.floor(level / 2 * 2**n) / 2**n if n <= 10 else level
    assert missed == pytest.approx(nominal, abs=4 * math.sqrt(nominal / 2000))


def test_corrections_of_the_text():
    q = paired.benjamini_hochberg([0.0011, 0.0627, 0.02, 0.2])
    assert q == pytest.approx([0.0044, 0.0836, 0.04, 0.2], abs=5e-5)
    assert [paired.bonferroni(p, 4) for p in (0.0011, 0.2, 0.3)] == pytest.approx([0.0044, 0.8, 1])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_corrections_agree_with_statsmodels(p):
    for name, found in (
        ("bonferroni", [paired.bonferroni(x, len(p)) for x in p]),
        ("fdr_bh", paired.benjamini_hochberg(p)),
    ):
        assert found == pytest.approx(multipletests(p, method=name)[1].tolist())


def test_a_missing_test_has_no_adjusted_p():
    assert paired.bonferroni(None, 3) is None
    assert paired.benjamini_hochberg([0.01, None]) == [pytest.approx(0.01), None]
    assert paired.benjamini_hochberg([]) == []
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
