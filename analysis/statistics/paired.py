"""Paired tests on seeds, their intervals, and corrections for multiple comparisons.

Shape legend: S seeds; `differences` are [S], `p_values` one per comparison of a family.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics import estimates

Array = NDArray[np.float64]

RESAMPLES = 99_999  # number of random flips; up to this number, all flips are enumerated
RESAMPLING_SEED = 20_180_608


def sign_flip_p(differences: Array, resamples: int = RESAMPLES) -> float:
    """Return the two-sided p of the exact paired sign-flip permutation test on the mean difference.

    Args:
        differences: [S], not empty.
        resamples: number of random flips, if the test has more flips than this number.

    Assumes only that under the null hypothesis the two methods are exchangeable within a seed. The
    test enumerates all 2^n flips up to `resamples` flips (99,999: up to 16 seeds). Beyond, the test
    draws `resamples` random flips from a generator with a fixed seed, so that the same scores
    always give the same p.

    >>> sign_flip_p(np.array([0.1, 0.2, 0.1, 0.3, 0.2, 0.1]))  # 6 seeds agree: p = 2 / 2**6
    0.03125
    """
    values = np.asarray(differences, dtype=np.float64)
    scale = float(np.max(np.abs(values)))
    if scale == 0:
        return 1.0
    negative, drawn = _flips(len(values), resamples)
    # Flips that tie on paper must tie in floating point: a lost tie halves or doubles p.
    means = np.round(np.mean(values / scale) - 2 * (negative @ (values / scale)) / len(values), 10)
    observed = np.round(np.mean(values / scale), 10)
    tails = [int((means <= observed).sum()), int((means >= observed).sum())]
    return min(1.0, 2 * (min(tails) + drawn) / (len(means) + drawn))


def sign_flip_interval(
    differences: Array, confidence: float, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Return the interval of all centres that `sign_flip_p` does not reject at 1 - `confidence`.

    Args:
        differences: [S], not empty.
        confidence: level of the interval.
        resamples: as for `sign_flip_p`, so that test and interval use the same flips.

    A flip of the seeds in a set A is at least as extreme as the observed signs, for a centre c, if
    the mean of the differences in A is at most c. The ends are therefore order statistics of the
    means of all sets of seeds (Hartigan 1969, Using Subsample Values as Typical Values). The
    interval covers the centre of symmetric differences with the level promised, whatever their law.
    None: so few seeds reject no centre at all.

    >>> sign_flip_interval(np.array([0.1, 0.2, 0.1, 0.3, 0.2, 0.1]), 0.95)
    (0.1, 0.3)
    """
    values = np.asarray(differences, dtype=np.float64)
    negative, drawn = _flips(len(values), resamples)
    sizes = negative.sum(axis=1)
    means = np.round((negative @ values)[sizes > 0] / sizes[sizes > 0], estimates.DECIMALS + 2)
    always = len(sizes) - len(means) + drawn  # extreme for every centre
    allowed = math.floor((1 - confidence) / 2 * (len(sizes) + drawn) + 1e-9)
    if allowed < always:
        return None
    rank = allowed - always  # of the first mean that the test does not reject, from either end
    ordered = np.partition(means, [rank, len(means) - 1 - rank])
    return float(ordered[rank]), float(ordered[len(means) - 1 - rank])


@functools.lru_cache(maxsize=4)
def _flips(n: int, resamples: int) -> tuple[Array, int]:
    """Return which seeds each flip turns, 0 or 1 [flips, n], shared by all tests of n seeds; and 1
    for random flips, else 0.

    With random flips the observed signs count as one further flip, because p must not be 0.
    """
    if 2**n <= resamples:
        negative = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        negative = np.random.default_rng(RESAMPLING_SEED).integers(0, 2, (resamples, n))
    return negative.astype(np.float64), int(2**n > resamples)


def exact_floor(n: int) -> float:
    """Return the smallest p of the sign-flip test with n seeds: 2^(1-n), or 2 / 100,000 for random
    flips.
    """
    return max(2.0 ** (1 - n), 2 / (RESAMPLES + 1)) if 2**n > RESAMPLES else 2.0 ** (1 - n)


def seeds_for_exact_test(comparisons: int, alpha: float = 0.05) -> int:
    """Return the fewest seeds with which the exact test can reach alpha: ceil(1 + log2(m / alpha)).

    >>> seeds_for_exact_test(comparisons=1), seeds_for_exact_test(comparisons=5)
    (6, 8)
    """
    return math.ceil(1 + math.log2(max(comparisons, 1) / alpha))


@dataclass(frozen=True)
class PairedTest:
    """A paired test of symmetric differences, its interval, and what few seeds can reach.

    Attributes:
        kind: "exact", for a number of seeds that is fixed beforehand, or "anytime-valid".
        p: differences [S] -> two-sided p.
        interval: differences [S] and a confidence -> ends; None where no centre is rejected.
        floor: number of seeds -> the smallest p that these seeds can reach.
        fewest_seeds: number of comparisons and alpha -> the fewest seeds that can reach alpha / m.
    """

    kind: str
    p: Callable[[Array], float]
    interval: Callable[[Array, float], tuple[float, float] | None]
    floor: Callable[[int], float]
    fewest_seeds: Callable[[int, float], int]

    def can_decide(self, n: int, comparisons: int, alpha: float) -> bool:
        """Return whether n seeds can reach alpha / m for m comparisons."""
        return comparisons * self.floor(n) <= alpha


EXACT = PairedTest("exact", sign_flip_p, sign_flip_interval, exact_floor, seeds_for_exact_test)


def paired_t_p(differences: Array) -> float:
    """Return the two-sided p of the paired t test; assumes normal, not identical differences."""
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def bonferroni(p: float | None, comparisons: int) -> float | None:
    """Return p adjusted for the m comparisons of a family: m p, at most 1; None without a test.

    Holm's procedure would reject a little more often and has no simple intervals. A verdict is
    read off an interval at the level 1 - alpha / m instead, and this p agrees with the interval.

    >>> bonferroni(0.01, comparisons=3)
    0.03
    """
    return None if p is None else min(1.0, p * comparisons)


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the false-discovery-rate q-values of exploratory comparisons; None does not count."""
    known = [p for p in p_values if p is not None]
    q_values = iter(stats.false_discovery_control(known) if known else ())
    return [None if p is None else float(next(q_values)) for p in p_values]
