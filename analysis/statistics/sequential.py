"""Anytime-valid paired test and interval: seeds may be added after looking at the results.

An e-value is the money of a gambler who starts with 1 and bets against a null hypothesis, in a game
that is fair under the null. Each seed is one round, and the sign of its difference is the coin. By
Ville's inequality the money ever reaches 1 / alpha with probability at most alpha. So a study may
look after every seed, stop when it likes and go on later. A hypothesis whose money once reached
1 / alpha is rejected for good. The null hypothesis is that of the sign-flip test
(`paired.sign_flip_p`): symmetric differences.

Two conditions:
- The order of the seeds is fixed beforehand, for example ascending, and no seed is skipped.
- Differences are symmetric under the null hypothesis. A mean of 0 is not enough. If one method
  alone loses much on one seed in ten, most differences have the same sign, and the test finds this
  sign: a false difference of means in one study of ten where such seeds lie 5 standard deviations
  lower, in half of the studies where they lie 20 lower.

`tests/benchmarks/error_rates_sequential.py` simulates error rates, power and asymmetry.

Sources: Ramdas, Ruf, Larsson, Koolen 2020 (Admissible anytime-valid sequential inference, arXiv
2009.03167) and Vovk, Wang 2024 (Nonparametric e-tests of symmetry, arXiv 2208.08925).

Shape legend: S seeds. `differences` are [..., S], one number per seed in the order of the seeds;
leading axes hold separate comparisons or bounds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import special

from analysis.statistics import estimates
from analysis.statistics.estimates import Array, paired_differences
from analysis.statistics.paired import PairedTest

# In units of 1 / mean |d|. For normal differences with standardised mean d_z the best bet is
# d_z E|d| / sd: 0.75 where d_z is 0.75, 2.5 where d_z is 1.6; larger effects need few seeds with
# either. In simulation (d_z 0.7 to 3, three laws, 1 and 11 comparisons) larger bets, (1, 3), need
# 2 % fewer seeds and leave 5 points more undecided at d_z = 0.7; smaller bets, (0.5, 1), leave 4
# points fewer undecided and need 8 % more seeds. Six seeds that agree can decide one comparison, as
# in the exact test; (0.5, 1, 2) needs seven.
BETS = (0.75, 2.5)
BOUNDS = 200  # candidates for an end of an interval, in each of three rounds
SIMULATION_SEED = 20_200_903
FARTHEST = 1e4  # candidate below the differences, in units of their range


def one_sided_e(
    differences: Array, bound: float | Array = 0.0, bets: Sequence[float] = BETS
) -> Array:
    """Return the e-values against "differences are at most `bound`" after each seed, [..., S].

    Args:
        differences: [..., S].
        bound: in metric units, one or [..., 1]. For "at least `bound`", negate both differences and
            bound.
        bets: positive numbers. The e-value is the mean over the bets.

    E_n = mean over bets of prod_i exp(bet x_i / s_i) / cosh(bet x_i / s_i), where x_i = d_i - bound
    and s_i is the mean of |x_1|, ..., |x_i|.

    The null hypothesis, exactly: given all seeds before, a difference lies more than t above the
    bound with at most the probability that it lies more than t below, for every t >= 0. This holds
    for differences symmetric about any centre up to the bound, whose spread may change from seed to
    seed. A mean or a median up to the bound does not imply it.

    Where we differ: the usual scale s_i leaves seed i out. With seed i the e-value is as valid,
    because only the sign of x_i is random given its size. The first seed then needs no rule of its
    own (x_1 / s_1 is its sign), and a first difference near 0 does no harm.

    >>> one_sided_e(np.array([0.02, 0.01, 0.03])).round(2)  # a seed at most doubles the e-value
    array([1.81, 3.11, 6.  ])
    """
    excess = paired_differences(differences, np.asarray(bound))  # 0 where equal to the bound
    sizes = np.cumsum(np.abs(excess), axis=-1) / np.arange(1, excess.shape[-1] + 1)
    ratios = np.divide(excess, sizes, out=np.zeros_like(excess), where=sizes > 0)
    # exp(y) / cosh(y) = 1 + tanh(y) = 2 expit(2 y). Given the past, h(x_i) = tanh(bet x_i / s_i) is
    # odd in x_i and never falls. So E[h(x_i)], the integral of P(x_i > t) - P(x_i < -t) over dh(t)
    # for t >= 0, is at most 0 under the null hypothesis, and 0 for x_i symmetric about 0. Each
    # factor has mean at most 1 given the past: the product is a supermartingale that starts at 1.
    factors = 2 * special.expit(2 * np.multiply.outer(np.asarray(bets), ratios))  # [bets, ..., S]
    e_values: Array = np.cumprod(factors, axis=-1).mean(axis=0)
    return e_values


def anytime_p(differences: Array) -> float:
    """Return the two-sided anytime-valid p against "no difference", from [S] differences.

    p = 2 / e, with the largest one-sided e-value so far: valid after any number of seeds, whenever
    the study looks. p agrees with the interval: p <= alpha if and only if `anytime_interval` at the
    confidence 1 - alpha excludes 0.

    >>> round(anytime_p(np.full(6, 0.02)), 3), anytime_p(np.zeros(6))
    (0.05, 1.0)
    """
    p = 1.0
    for each in (differences, -differences):
        bounds = _bounds(each)
        p = min(p, 2 / float(_largest_e(each, bounds[bounds <= 0]).min()))
    return p


def anytime_interval(differences: Array, confidence: float) -> tuple[float, float] | None:
    """Return the interval of all centres that no look so far rejects at 1 - `confidence`.

    Args:
        differences: [S], not all the same.
        confidence: level of the interval, which holds for all numbers of seeds at once.

    A centre c is rejected from below once the one-sided e-value against "at most c" has reached
    2 / (1 - confidence), and from above likewise. The interval reaches from the smallest to the
    largest centre that is not rejected. More seeds never widen an interval. Seeds that leave no
    centre at all show that the differences are not symmetric about one: the interval is then the
    last one before them. None: so few seeds reject no centre.

    >>> d = np.array([0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.2, 0.1])
    >>> low, high = anytime_interval(d, 0.95)
    >>> round(low, 3), round(high, 3)
    (0.095, 0.275)
    """
    limit = 2 / (1 - confidence)
    for n in range(len(differences), 0, -1):
        seen = differences[:n]
        low, minus_high = (_lower_end(each, limit) for each in (seen, -seen))
        if low is None or minus_high is None:
            return None
        if low <= -minus_high:
            return low, -minus_high
    return None


def anytime_floor(n: int) -> float:
    """Return the smallest anytime-valid p of n seeds: that of n equal differences.

    >>> [round(anytime_floor(n), 4) for n in (5, 6, 10)]
    [0.0938, 0.0496, 0.0037]
    """
    return min(1.0, 2 / float(one_sided_e(np.ones(n))[-1])) if n else 1.0


def seeds_for_anytime_test(comparisons: int, alpha: float = 0.05) -> int:
    """Return the fewest seeds with which the test can reach alpha, if all agree.

    >>> seeds_for_anytime_test(comparisons=1), seeds_for_anytime_test(comparisons=10)
    (6, 10)
    """
    counts = itertools.count(1)
    return next(n for n in counts if max(comparisons, 1) * anytime_floor(n) <= alpha)


def seeds_until_decided(
    effect: float, most: int, alpha: float, studies: int = 2_000
) -> tuple[float, float]:
    """Return the share of studies that find a difference, and the mean number of seeds they need.

    Args:
        effect: true difference in standard deviations of the differences, which are normal.
        most: the largest number of seeds, which counts where no difference is found.
        alpha: level of the comparison.
        studies: number of simulated studies, from a generator with a fixed seed.
    """
    d = np.random.default_rng(SIMULATION_SEED).normal(effect, 1, (studies, most))
    decided = np.maximum(one_sided_e(d), one_sided_e(-d)) >= 2 / alpha
    seeds = np.where(decided.any(axis=-1), decided.argmax(axis=-1) + 1, most)
    return float(decided.any(axis=-1).mean()), float(seeds.mean())


def _lower_end(differences: Array, limit: float) -> float | None:
    """Return the smallest bound whose e-values stayed below the limit; None if there is none.

    The e-value need not fall as the bound rises. The end is therefore searched among many bounds,
    and then twice among bounds around the one that was found.
    """
    bounds, first = _bounds(differences), 0
    for _ in range(3):
        first = int(np.argmax(_largest_e(differences, bounds) < limit))
        if first == 0:
            return None
        bounds = np.linspace(bounds[first - 1], bounds[first], BOUNDS)
    return round(float(bounds[-1]), estimates.DECIMALS + 2)


def _bounds(differences: Array) -> Array:
    """Return candidates for the ends of an interval: 0, and bounds within and far below the
    differences.
    """
    least, greatest = float(np.min(differences)), float(np.max(differences))
    span = (greatest - least) or 1.0
    far = least - span * np.geomspace(1e-3, FARTHEST, BOUNDS)
    return np.unique([*far, *np.linspace(least, greatest, BOUNDS), 0.0])


def _largest_e(differences: Array, bounds: Array) -> Array:
    """Return the largest e-value so far against each bound, [bounds]."""
    largest: Array = one_sided_e(differences, bounds[:, None]).max(axis=-1)
    return largest


ANYTIME = PairedTest(
    "anytime-valid", anytime_p, anytime_interval, anytime_floor, seeds_for_anytime_test
)
