"""Paired tests on seeds, and corrections for multiple comparisons.

Shape legend: S seeds; `differences` are [S], `p_values` one per comparison of a family.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import (  # type: ignore[import-untyped, unused-ignore]
    multipletests,
)

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
    signs, drawn = _flips(len(values), resamples)
    # Flips that tie on paper must tie in floating point: a lost tie halves or doubles p.
    means = np.round(signs @ (values / scale) / len(values), 10)
    observed = np.round(np.mean(values / scale), 10)
    tails = [int((means <= observed).sum()), int((means >= observed).sum())]
    return min(1.0, 2 * (min(tails) + drawn) / (len(means) + drawn))


@functools.lru_cache(maxsize=4)
def _flips(n: int, resamples: int) -> tuple[Array, int]:
    """Return the signs [flips, n], shared by all tests of n seeds, and 1 for random flips, else 0.

    With random flips the observed signs count as one further flip, because p must not be 0.
    """
    if 2**n <= resamples:
        negative = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        negative = np.random.default_rng(RESAMPLING_SEED).integers(0, 2, (resamples, n))
    signs: Array = np.where(negative, -1.0, 1.0)
    return signs, int(2**n > resamples)


def exact_floor(n: int) -> float:
    """Return the smallest p of the sign-flip test with n seeds: 2^(1-n), or 2 / 100,000 for random
    flips.
    """
    return max(2.0 ** (1 - n), 2 / (RESAMPLES + 1)) if 2**n > RESAMPLES else 2.0 ** (1 - n)


def attainable(n: int, comparisons: int, alpha: float) -> bool:
    """Return whether the exact test with n seeds can reach alpha after the Holm adjustment."""
    return comparisons * exact_floor(n) <= alpha


def seeds_for_exact_test(comparisons: int, alpha: float = 0.05) -> int:
    """Return the fewest seeds with which the exact test can reach alpha: ceil(1 + log2(m / alpha)).

    >>> seeds_for_exact_test(comparisons=1), seeds_for_exact_test(comparisons=5)
    (6, 8)
    """
    return math.ceil(1 + math.log2(max(comparisons, 1) / alpha))


def paired_t_p(differences: Array) -> float:
    """Return the two-sided p of the paired t test; assumes normal, not identical differences."""
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def tost_p(differences: Array, margin: float) -> float:
    """Return the p of equivalence within +-margin: the larger p of two one-sided paired t tests.

    p <= alpha exactly if the (1 - 2 alpha) t-interval lies inside the margin.
    """
    n = len(differences)
    error = float(np.std(differences, ddof=1)) / math.sqrt(n)
    distance = margin - abs(float(np.mean(differences)))
    return float(stats.t.sf(distance / error, n - 1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the Holm-adjusted p-values of a family fixed beforehand.

    None is a comparison without a test. The comparison still counts, as if p were 1, so that a
    missing test does not make the other tests milder.

    >>> holm([0.01, None, 0.02])
    [0.03, None, 0.04]
    """
    return _adjust(p_values, "holm")


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the false-discovery-rate q-values of exploratory comparisons; None does not count."""
    q_values = iter(_adjust([p for p in p_values if p is not None], "fdr_bh"))
    return [None if p is None else next(q_values) for p in p_values]


def _adjust(p_values: Sequence[float | None], method: str) -> list[float | None]:
    if not p_values:
        return []
    complete = [1.0 if p is None else p for p in p_values]
    correct: Callable[..., tuple[Array, Array, float, float]] = multipletests
    adjusted = correct(complete, method=method)[1]
    return [None if p is None else float(q) for p, q in zip(p_values, adjusted, strict=True)]
