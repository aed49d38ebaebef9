"""Paired tests on seeds and corrections for several of them.

Shape legend: S seeds, M methods; `differences` are [S], `p_values` one per comparison of a family.
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

RESAMPLES = 99_999  # all flips are enumerated where there are no more than these
RESAMPLING_SEED = 20_180_608


def sign_flip_p(differences: Array, resamples: int = RESAMPLES) -> float:
    """Two-sided p of the exact paired sign-flip permutation test on the mean difference.

    Args:
        differences: [S], not empty.
        resamples: flips from which on they are drawn instead of enumerated.

    Assumes only that under the null hypothesis the two methods are exchangeable within a seed.
    All 2^n flips where that is fewer than `resamples` (99,999: up to 16 seeds); above, as many
    random ones from a fixed generator, so that the same scores always give the same p.
    """
    values = np.asarray(differences, dtype=np.float64)
    scale = float(np.max(np.abs(values)))
    if scale == 0:
        return 1.0
    signs, drawn = _flips(len(values), resamples)
    # Flips that tie on paper must tie in floating point: a lost tie halves or doubles p.
    means = np.round(signs @ (values / scale) / len(values), 10)
    seen = np.round(np.mean(values / scale), 10)
    tails = [int((means <= seen).sum()), int((means >= seen).sum())]
    return min(1.0, 2 * (min(tails) + drawn) / (len(means) + drawn))


@functools.lru_cache(maxsize=4)
def _flips(n: int, resamples: int) -> tuple[Array, int]:
    """Signs [flips, n] of the test, shared by all tests of n seeds, and 1 where they are drawn: the
    flip that was seen then counts as one more, else p could be 0.
    """
    if 2**n <= resamples:
        negative = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        negative = np.random.default_rng(RESAMPLING_SEED).integers(0, 2, (resamples, n))
    signs: Array = np.where(negative, -1.0, 1.0)
    return signs, int(2**n > resamples)


def exact_floor(n: int) -> float:
    """Smallest p the sign-flip test can give with n seeds: 2^(1-n), or that of the resampling."""
    return max(2.0 ** (1 - n), 2 / (RESAMPLES + 1)) if 2**n > RESAMPLES else 2.0 ** (1 - n)


def attainable(n: int, comparisons: int, alpha: float) -> bool:
    """Whether n seeds can reach alpha at all after Holm over so many comparisons."""
    return comparisons * exact_floor(n) <= alpha


def seeds_for_exact_test(comparisons: int, alpha: float = 0.05) -> int:
    """Fewest seeds with which the exact test can reach alpha: ceil(1 + log2(m / alpha))."""
    return math.ceil(1 + math.log2(max(comparisons, 1) / alpha))


def paired_t_p(differences: Array) -> float:
    """Two-sided p of the paired t test; assumes normal differences, needs two that differ."""
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def tost_p(differences: Array, margin: float) -> float:
    """p of equivalence within +-margin: the larger of the two one-sided paired t tests.

    p <= alpha exactly when the (1 - 2 alpha) t-interval lies inside the margin.
    """
    n = len(differences)
    error = float(np.std(differences, ddof=1)) / math.sqrt(n)
    distance = margin - abs(float(np.mean(differences)))
    return float(stats.t.sf(distance / error, n - 1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm-adjusted p of a family fixed beforehand.

    A None is a comparison of the family without a test: it keeps its place in the count (as if its
    p were 1), so the others are not judged more mildly because it is missing.
    """
    return _adjust(p_values, "holm")


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """False-discovery-rate q values for exploratory comparisons; None is passed over."""
    known = iter(_adjust([p for p in p_values if p is not None], "fdr_bh"))
    return [None if p is None else next(known) for p in p_values]


def _adjust(p_values: Sequence[float | None], method: str) -> list[float | None]:
    if not p_values:
        return []
    filled = [1.0 if p is None else p for p in p_values]
    correct: Callable[..., tuple[Array, Array, float, float]] = multipletests
    adjusted = correct(filled, method=method)[1]
    return [None if p is None else float(q) for p, q in zip(p_values, adjusted, strict=True)]
