"""What a number of seeds can and cannot show.

By the paired t test, whose power the exact sign-flip test nearly has from 8 seeds on, except where
it needs unanimous seeds: there by the exact test itself, which is the one that decides.

Power is computed here from the non-central t: statsmodels' `TTestPower.solve_power` returns wrong
effects without a word for few seeds and small alpha.
"""

from __future__ import annotations

import math

from scipy import optimize, special, stats

from analysis.statistics.estimates import noncentral_t_cdf, sd_upper_limit

TARGET_POWER = 0.8
MOST_SEEDS = 10_000  # beyond, a study of seeds is not the way to see the difference


def paired_power(effect: float, n: int, alpha: float = 0.05) -> float:
    """Power of the two-sided paired t test for a true d_z = `effect` with n seeds."""
    critical = float(stats.t.ppf(1 - alpha / 2, n - 1))
    shift = effect * math.sqrt(n)
    above = 1 - noncentral_t_cdf(critical, n - 1, shift)
    return above + noncentral_t_cdf(-critical, n - 1, shift)


def detectable_effect(n: int, alpha: float = 0.05, power: float = TARGET_POWER) -> float:
    """Smallest true d_z that n seeds show with that power; times s_d it is in metric units.

    Args:
        n: seeds, at least 2.
        alpha: two-sided level; alpha / m for m comparisons (Bonferroni, the first step of Holm).
        power: chance of seeing the effect.
    """
    upper = 1.0
    while paired_power(upper, n, alpha) < power:
        upper *= 2
    return float(optimize.brentq(lambda d: paired_power(d, n, alpha) - power, 0.0, upper))


def unanimous_effect(n: int, alpha: float = 0.05, power: float = TARGET_POWER) -> float | None:
    """Smallest true d_z that the exact sign-flip test shows where it needs unanimous signs.

    The k-th most extreme of all flips has p = k 2^(1-n). Where only k = 1 is at most alpha, the
    test rejects if and only if all n seeds agree in sign, with power Phi(d)^n + Phi(-d)^n for
    normal differences: clearly less than the t test has. None where alpha is out of reach, or
    within reach of more flips.
    """
    if not 1 <= math.ldexp(alpha, min(n - 1, 1000)) < 2:
        return None

    def shortfall(d: float) -> float:
        return float(special.ndtr(d) ** n + special.ndtr(-d) ** n) - power

    return float(optimize.brentq(shortfall, 0.0, 40.0))


def visible_effect(n: int, alpha: float = 0.05, power: float = TARGET_POWER) -> float:
    """Smallest true d_z that n seeds show with that power in the exact test, which decides."""
    return unanimous_effect(n, alpha, power) or detectable_effect(n, alpha, power)


def seeds_to_show(effect: float, alpha: float = 0.05, power: float = TARGET_POWER) -> int | None:
    """Fewest seeds that show a true d_z = `effect` in the exact test; None beyond 10,000."""
    seeds = seeds_for_effect(effect, alpha, power)
    while seeds is not None and (unanimous_effect(seeds, alpha, power) or 0.0) > abs(effect):
        seeds += 1
    return seeds


def seeds_for_effect(effect: float, alpha: float = 0.05, power: float = TARGET_POWER) -> int | None:
    """Fewest seeds that show a true d_z = `effect` with that power; None beyond 10,000."""
    size = abs(effect)
    if paired_power(size, MOST_SEEDS, alpha) < power:
        return None
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        enough = paired_power(size, middle, alpha) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def seeds_for_difference(
    difference: float, sd: float, n: int, alpha: float = 0.05, power: float = TARGET_POWER
) -> int | None:
    """Seeds needed if the observed difference were the true one.

    Args:
        difference: mean difference seen with n seeds.
        sd: standard deviation of the n differences; its upper 80 % limit is used, because a small
            sample often underestimates it.
        n: seeds seen.
        alpha: two-sided level, alpha / m for m comparisons.
        power: chance of seeing the difference.
    """
    return seeds_to_show(difference / sd_upper_limit(sd, n), alpha, power)
