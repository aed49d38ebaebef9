"""Estimates with uncertainty: means, differences, standardised effects, shares of wins.

Shape legend: S seeds; `values` and `differences` are [S], one number per seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats
from statsmodels.stats.proportion import (  # type: ignore[import-untyped, unused-ignore]
    proportion_confint,
)

Array = NDArray[np.float64]

DECIMALS = 10  # of a score; further decimals are round-off
SMALLEST_DIFFERENCE = 0.5 * 10.0**-DECIMALS  # scores closer than this are equal

LARGE_EFFECT = 1000.0  # d_z beyond which only the uncertainty of the standard deviation matters
FEWEST_FOR_INTERVAL = 3  # fewer seeds are listed, without an interval
SPREAD_LEVEL = 0.8  # of the upper limit of a standard deviation


@dataclass(frozen=True)
class Estimate:
    """Mean of n seeds, sample standard deviation (ddof 1), t-interval; None where undefined."""

    n: int
    mean: float | None
    sd: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class Effect:
    """Hedges' g_z and the interval of g_z."""

    g: float
    low: float
    high: float


@dataclass(frozen=True)
class Wins:
    """Seeds won, tied and lost, and the paired probability of outperforming with an interval."""

    wins: int
    ties: int
    losses: int
    share: float  # P(win)
    low: float
    high: float


def estimate(
    values: Array, confidence: float = 0.95, fewest: int = FEWEST_FOR_INTERVAL
) -> Estimate:
    """Return mean, standard deviation (ddof 1) and t-interval of the seeds.

    Args:
        values: [S], finite.
        confidence: level of the interval mean +- t_{n-1} sd / sqrt(n).
        fewest: values that the interval needs, 2 or more.

    The mean needs 1 seed, the standard deviation 2, the interval 3. Identical values have no
    interval, because an interval without width would look like certainty. The interval has its
    nominal coverage for normal seeds and is a little narrow for skewed seeds (89 to 93 % at 5
    seeds).

    >>> estimate(np.array([1.0, 2.0, 3.0])).mean
    2.0
    """
    n = len(values)
    if n == 0:
        return Estimate(0, None, None, None, None)
    if all_identical(values):
        return Estimate(n, float(values[0]), 0.0, None, None)
    mean = float(np.mean(values))
    sd = float(np.std(values, ddof=1)) if n > 1 else None
    if sd is None or n < fewest:
        return Estimate(n, mean, sd, None, None)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half, mean + half)


def paired_differences(first: Array, second: Array) -> Array:
    """Return first - second [S], exactly zero where both agree to 10 decimals.

    Scores that are equal on paper then tie in spite of round-off. Other differences are not
    rounded: differences that are equal or cancel out on paper, such as 1/30 + 1/30 and 2/30, would
    no longer do so. (Nor is there a grid to round to: a mean over tasks of unequal size is no
    multiple of one over the number of test samples.)
    """
    d = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return np.where(np.abs(d) < SMALLEST_DIFFERENCE, 0.0, d)


def all_identical(values: Array) -> bool:
    """Return whether two or more values agree up to round-off, and so have no spread."""
    if len(values) < 2:
        return False
    return bool(np.ptp(values) <= 1e-12 * max(1.0, float(np.max(np.abs(values)))))


def sd_upper_limit(sd: float, n: int) -> float:
    """Return the upper 80 % limit of the standard deviation: sd sqrt((n-1) / chi2_{0.2, n-1})."""
    return sd * math.sqrt((n - 1) / float(stats.chi2.ppf(1 - SPREAD_LEVEL, n - 1)))


def hedges_correction(df: int) -> float:
    """Return J(df) = Gamma(df/2) / (sqrt(df/2) Gamma((df-1)/2)), about 1 - 3/(4 df - 1)."""
    if df < 2:
        return 0.0  # the gamma function in the denominator is infinite
    logarithm = special.gammaln(df / 2) - special.gammaln((df - 1) / 2)
    return float(np.exp(logarithm) / math.sqrt(df / 2))


def standardised_interval(d_z: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of the uncorrected d_z = mean / sd of n differences (non-central t).

    For |d_z| of 1000 and more (differences with almost no spread) the interval is that of the limit
    d_z sqrt(chi2_{n-1} / (n-1)): the non-central t takes minutes there and loses all digits.
    """
    if abs(d_z) >= LARGE_EFFECT:
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        ends = d_z * np.sqrt(stats.chi2.ppf(tails, n - 1) / (n - 1))
        return float(np.min(ends)), float(np.max(ends))
    t = d_z * math.sqrt(n)
    reach = 5 * abs(t) + 40  # far beyond either limit for three seeds or more

    def limit(probability: float) -> float:
        root = optimize.brentq(
            lambda shift: noncentral_t_cdf(t, n - 1, shift) - probability,
            -reach,
            reach,
            maxiter=1000,
        )
        return float(root) / math.sqrt(n)

    return limit((1 + confidence) / 2), limit((1 - confidence) / 2)


def hedges_g(differences: Array, confidence: float = 0.95) -> Effect:
    """Return Hedges' g_z = J(n-1) mean / sd of paired differences, and the interval of g_z.

    Args:
        differences: [S], at least 3, not all identical.
        confidence: level of the interval.

    The limits are the limits of d_z (non-central t) times J. The unit of g_z is the standard
    deviation of the differences, so g_z grows with the correlation of the pairs: read g_z together
    with the difference.
    """
    n = len(differences)
    d_z = float(np.mean(differences) / np.std(differences, ddof=1))
    correction = hedges_correction(n - 1)
    low, high = standardised_interval(d_z, n, confidence)
    return Effect(correction * d_z, correction * low, correction * high)


def probability_of_outperforming(gains: Array, confidence: float = 0.95) -> Wins:
    """Return P(win) = (wins + ties/2) / n with the Wilson interval.

    Args:
        gains: [S], one difference per seed, with the sign that makes a win positive.
        confidence: level of the interval.
    """
    wins, losses = int(np.sum(gains > 0)), int(np.sum(gains < 0))
    ties = len(gains) - wins - losses
    low, high = wilson_interval(wins + ties / 2, len(gains), confidence)
    return Wins(wins, ties, losses, (wins + ties / 2) / len(gains), low, high)


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a share; ties may make `successes` half-integer."""
    low, high = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    return max(0.0, float(low)), min(1.0, float(high))


def correlation(first: Array, second: Array) -> float | None:
    """Return the Pearson correlation of paired scores; None below 3 pairs or for constant scores.

    The correlation measures the gain from pairing: the higher the correlation, the smaller the
    variance of the differences.
    """
    if len(first) < FEWEST_FOR_INTERVAL:
        return None
    a, b = first - np.mean(first), second - np.mean(second)
    scale = math.sqrt(float(a @ a) * float(b @ b))
    round_off = 1e-24 * len(a) * max(float(np.max(np.abs([first, second]))) ** 2, 1.0)
    if min(float(a @ a), float(b @ b)) <= round_off:
        return None
    return max(-1.0, min(1.0, float(a @ b) / scale))


def noncentral_t_cdf(t: float, df: int, shift: float) -> float:
    """Return P(T <= t) of the non-central t; in tails beyond scipy's reach the limit, 0 or 1."""
    value = float(special.nctdtr(df, shift, t))
    return value if math.isfinite(value) else float(shift < t)
