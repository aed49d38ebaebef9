"""Ranks over streams: Friedman's test with Iman-Davenport, and Nemenyi's critical difference.

Shape legend: k (M) methods, N (B) streams. The blocks are streams, never seeds (Demsar 2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis import numbers
from analysis.statistics.estimates import Array

FEWEST_STREAMS_FOR_RANKS = 5
FEWEST_METHODS_FOR_RANKS = 3


@dataclass(frozen=True)
class Ranking:
    """Average ranks over streams (1 is best), best first, and groups of indistinguishable methods.

    `groups` are the bars of a critical-difference diagram: maximal runs of methods with rank
    differences below `critical_difference`. If Friedman's test does not reject, one group holds all
    methods.
    """

    methods: tuple[str, ...]
    ranks: tuple[float, ...]
    streams: int
    chi_square: float
    f: float  # infinite if all streams agree
    p: float
    alpha: float
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]
    summary: str


def rank_methods(
    methods: Sequence[str], means: Array, alpha: float = 0.05
) -> tuple[Ranking | None, str]:
    """Rank methods: Friedman with Iman-Davenport, Nemenyi's critical difference (Demsar 2006).

    Args:
        methods: names [M].
        means: mean over seeds of each method on each stream [M, B]; larger is better.
        alpha: level of both tests.

    Returns:
        The ranking and an empty text, or None and the reason.
    """
    streams = means.shape[-1]
    if streams < FEWEST_STREAMS_FOR_RANKS:
        return None, f"Ranks need {FEWEST_STREAMS_FOR_RANKS} streams or more, not {streams}."
    if len(methods) < FEWEST_METHODS_FOR_RANKS:
        return None, f"Ranks need {FEWEST_METHODS_FOR_RANKS} methods or more, not {len(methods)}."
    # Means that are equal but for the order of summation must tie.
    ranks = np.asarray(stats.rankdata(-np.round(means, 12), axis=0), dtype=np.float64)  # [M, B]
    if np.all(np.ptp(ranks, axis=0) == 0):
        return None, "All methods tie on every stream, so there is nothing to rank."
    return _ranking(methods, ranks, alpha), ""


def _ranking(methods: Sequence[str], ranks: Array, alpha: float) -> Ranking:
    k, streams = ranks.shape
    chi_square = float(stats.friedmanchisquare(*ranks).statistic)
    f, p = iman_davenport(chi_square, k, streams)
    average = ranks.mean(axis=1)
    order = [int(i) for i in np.argsort(average, kind="stable")]
    ordered = [float(average[i]) for i in order]
    distance = critical_difference(k, streams, alpha)
    runs = indistinguishable(ordered, distance) if p <= alpha else [(0, k)]
    names = tuple(methods[i] for i in order)
    return Ranking(
        methods=names,
        ranks=tuple(ordered),
        streams=streams,
        chi_square=chi_square,
        f=f,
        p=p,
        alpha=alpha,
        critical_difference=distance,
        groups=tuple(names[first:end] for first, end in runs),
        summary=_summary(p, alpha, distance, streams),
    )


def _summary(p: float, alpha: float, distance: float, streams: int) -> str:
    test = f"Friedman's test over {streams} streams (Iman-Davenport, {numbers.p_clause(p)})"
    if p > alpha:
        return f"{test} finds no difference between the methods, so their ranks show none."
    return (
        f"{test} finds differences between the methods; two are told apart where their average "
        f"ranks differ by {numbers.number(distance, 2)} or more (Nemenyi at {alpha:g})."
    )


def iman_davenport(chi_square: float, methods: int, streams: int) -> tuple[float, float]:
    """Return F = (N-1) chi2 / (N (k-1) - chi2), with k-1 and (k-1)(N-1) degrees of freedom, and p.

    Less conservative than Friedman's chi2 (Iman and Davenport 1980). If all N streams agree, F is
    infinite and p would be 0; p is therefore never below (k!)^(1-N), the smallest p of the
    permutation test.
    """
    denominator = streams * (methods - 1) - chi_square
    smallest_p = math.exp((1 - streams) * math.lgamma(methods + 1))
    if denominator <= 1e-9:
        return math.inf, smallest_p
    f = (streams - 1) * chi_square / denominator
    p = float(stats.f.sf(f, methods - 1, (methods - 1) * (streams - 1)))
    return f, max(p, smallest_p)


def critical_difference(methods: int, streams: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference: q_alpha sqrt(k (k+1) / (6 N)).

    q_alpha is the quantile of the studentised range (k, inf) divided by sqrt 2.
    """
    q = float(stats.studentized_range.ppf(1 - alpha, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * streams))


def indistinguishable(ranks: Sequence[float], distance: float) -> list[tuple[int, int]]:
    """Return the maximal runs (first, end) of ascending ranks that span less than `distance`.

    A run has two ranks or more; `end` is exclusive.

    >>> indistinguishable([1.0, 1.5, 4.0], distance=1.0)
    [(0, 2)]
    """
    reach = [sum(rank - start < distance for rank in ranks) for start in ranks]
    runs = [(first, end) for first, end in enumerate(reach) if end - first > 1]
    return [(first, end) for first, end in runs if first == 0 or reach[first - 1] < end]
