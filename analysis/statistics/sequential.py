"""Anytime-valid paired tests: seeds may be added after looking at the results.

An e-value is the money of a gambler who starts with 1 and bets against a null hypothesis, in a game
that is fair under the null. Each seed is one round, and the sign of its difference is the coin. By
Ville's inequality the money ever reaches 1 / alpha with probability at most alpha. So a study may
look after every seed, stop when it likes and go on later. An e-value of 1 / alpha decides for good;
1 / e, with the largest e-value so far, is an anytime-valid p-value. The null hypothesis is that of
the sign-flip test (`paired.sign_flip_p`): symmetric differences.

Two conditions:
- The order of the seeds is fixed beforehand, for example ascending, and no seed is skipped.
- Differences are symmetric under the null hypothesis. A mean of 0 is not enough. If one method
  alone loses much on one seed in ten, most differences have the same sign, and the test finds this
  sign: a false difference of means in one study of ten where such seeds lie 5 standard deviations
  lower, in half of the studies where they lie 20 lower.

`tests/benchmarks/error_rates_sequential.py` simulates error rates, power and asymmetry.

Sources: for symmetry Ramdas, Ruf, Larsson, Koolen 2020 (Admissible anytime-valid sequential
inference, arXiv 2009.03167) and Vovk, Wang 2024 (Nonparametric e-tests of symmetry, arXiv
2208.08925); for families Vovk, Wang 2021 (E-values: calibration, combination and applications,
Annals of Statistics 49) and Hartog, Lei 2025 (Family-wise error rate control with e-values, arXiv
2501.09015).

Shape legend: S seeds, M comparisons. `differences` are [..., S], one number per seed in the order
of the seeds; leading axes hold separate comparisons. Results are [..., S]: the e-value after each
seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from analysis.statistics.estimates import Array, paired_differences

# In units of 1 / mean |d|. For normal differences with standardised mean d_z the best bet is
# d_z E|d| / sd: 0.75 where d_z is 0.75, 2.5 where d_z is 1.6; larger effects need few seeds with
# either. In simulation (d_z 0.7 to 3, three laws, 1 and 11 comparisons) larger bets, (1, 3), need
# 2 % fewer seeds and leave 5 points more undecided at d_z = 0.7; smaller bets, (0.5, 1), leave 4
# points fewer undecided and need 8 % more seeds. Six seeds that agree can decide one comparison, as
# in the exact test; (0.5, 1, 2) needs seven.
BETS = (0.75, 2.5)


def one_sided_e(differences: Array, bound: float = 0.0, bets: Sequence[float] = BETS) -> Array:
    """Return the e-values against "differences are at most `bound`", [..., S].

    Args:
        differences: [..., S].
        bound: in metric units. For "at least `bound`", negate both differences and bound.
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


def difference_e(differences: Array, margin: float = 0.0) -> Array:
    """Return the e-values against "no difference, or none beyond +-`margin`", [..., S].

    Args:
        differences: [..., S].
        margin: in metric units, 0 for any difference.

    The null hypothesis: the differences are symmetric about a centre within +-margin. The e-value
    is the mean of the two one-sided e-values, both valid under the null. The larger one tells the
    direction.

    >>> difference_e(np.full(6, 0.02)).round(1)  # 20 decides one comparison at alpha = 0.05
    array([ 1. ,  1.7,  3.1,  5.7, 10.7, 20.1])
    """
    return (one_sided_e(differences, margin) + one_sided_e(-differences, margin)) / 2


def equivalence_e(differences: Array, margin: float) -> Array:
    """Return the e-values against "a difference of `margin` or more, up or down", [..., S].

    Args:
        differences: [..., S].
        margin: in metric units, above 0.

    The null hypothesis: the differences are symmetric about a centre of margin or more, or about a
    centre of -margin or less. One of the two one-sided e-values is valid, so the smaller one is.

    >>> equivalence_e(np.array([0.001, -0.002, 0.0, 0.001, -0.001]), margin=0.01).round(1)
    array([ 1.8,  3.2,  6. , 11.3, 21. ])
    """
    return np.minimum(one_sided_e(differences, -margin), one_sided_e(-differences, -margin))


def adjusted_e(e_values: Array) -> Array:
    """Return the e-values of a family fixed beforehand, adjusted for its size, [..., M, S].

    Args:
        e_values: [..., M, S], one row per comparison; a column holds all of them after the same
            number of seeds. Only a decided comparison may stop, and repeats its last value. (One
            that waits undecided could wait for what others show on the next seeds, where all share
            the score of the reference.) A comparison without a test is a row of ones.

    Who decides every comparison whose adjusted e-value reaches 1 / alpha makes any false decision,
    at any time, with probability at most alpha, however the comparisons depend on each other.

    This is e-Holm as Hartog and Lei define it, by Algorithm 1 of Vovk and Wang: closed testing that
    rejects a set of null hypotheses where the mean of their e-values reaches 1 / alpha. The hardest
    set for a comparison adds the smallest other e-values. Where all comparisons are clear, each
    needs hardly more than 1 / alpha. (Holm's step-down on the p-values 1 / e needs M / alpha for
    the first, and never decides more on the same e-values.)

    Where we differ: the result is the running maximum over seeds, so that a decision stays. The
    maximum is taken last, because the mean of running maxima is no e-value.

    >>> adjusted_e(np.array([[4.0, 30.0, 10.0], [1.0, 2.0, 28.0]]))
    array([[ 2.5, 16. , 16. ],
           [ 1. ,  2. , 19. ]])
    """
    order = np.argsort(e_values, axis=-2)
    ascending = np.take_along_axis(e_values, order, axis=-2)
    least = ascending.copy()  # mean over any set with this comparison
    for others in range(1, e_values.shape[-2]):
        smallest = ascending[..., :others, :].sum(axis=-2, keepdims=True)
        means = (ascending[..., others:, :] + smallest) / (others + 1)
        least[..., others:, :] = np.minimum(least[..., others:, :], means)
    adjusted = np.empty_like(least)
    np.put_along_axis(adjusted, order, least, axis=-2)
    return np.maximum.accumulate(adjusted, axis=-1)
