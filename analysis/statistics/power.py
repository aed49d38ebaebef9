"""Power: the effects that a number of seeds can show.

The verdict is by the exact sign-flip test. From 8 seeds on its power is nearly that of the paired t
test, so the power here is that of the t test. Where the exact test rejects only if all seeds agree
in sign, the power is that of the exact test.

Power is computed from the non-central t, because statsmodels' `TTestPower.solve_power` silently
returns wrong effects for few seeds and small alpha.
"""

from __future__ import annotations

import math
from bisect import bisect_left

from scipy import optimize, special, stats

from analysis.statistics.estimates import noncentral_t_cdf, sd_upper_limit

TARGET_POWER = 0.8
MOST_SEEDS = 10_000  # an effect that needs more seeds is not worth a study


def paired_power(effect: float, n: int, alpha: float = 0.05) -> float:
    """Return the power of the two-sided paired t test for a true d_z = `effect` with n seeds."""
    critical = float(stats.t.ppf(1 - alpha / 2, n - 1))
    shift = effect * math.sqrt(n)
    above = 1 - noncentral_t_cdf(critical, n - 1, shift)
    return above + noncentral_t_cdf(-critical, n - 1, shift)


def detectable_effect(n: int, alpha: float = 0.05, power: float = TARGET_POWER) -> float:
    """Return the smallest true d_z that the t test on n seeds shows with the given power.

    Times the standard deviation of the differences, the effect is in metric units.

    Args:
        n: number of seeds, at least 2.
        alpha: two-sided level; alpha / m for m comparisons.
        power: probability of rejecting the null hypothesis.
    """
    upper = 1.0
    while paired_power(upper, n, alpha) < power:
        upper *= 2
    return float(optimize.brentq(lambda d: paired_power(d, n, alpha) - power, 0.0, upper))


def unanimous_effect(n: int, alpha: float = 0.05, power: float = TARGET_POWER) -> float | None:
    """Return the smallest true d_z that the exact test shows where unanimous signs are needed.

    The k-th most extreme of all flips has p = k 2^(1-n). If only k = 1 has p <= alpha, the test
    rejects if and only if all n seeds agree in sign. For normal differences the power is then
    Phi(d)^n + Phi(-d)^n, clearly less than the power of the t test. None if no flip, or more than
    one, has p <= alpha.
    """
    if not 1 <= math.ldexp(alpha, min(n - 1, 1000)) < 2:
        return None

    def shortfall(d: float) -> float:
        return float(special.ndtr(d) ** n + special.ndtr(-d) ** n) - power

    return float(optimize.brentq(shortfall, 0.0, 40.0))


def visible_effect(n: int, alpha: float = 0.05, power: float = TARGET_POWER) -> float:
    """Return the smallest true d_z that the exact test on n seeds shows with the given power."""
    return unanimous_effect(n, alpha, power) or detectable_effect(n, alpha, power)


def seeds_to_show(effect: float, alpha: float = 0.05, power: float = TARGET_POWER) -> int | None:
    """Return the fewest seeds on which the exact test shows a true d_z = `effect`.

    None if more than 10,000 seeds are needed.
    """
    seeds = seeds_for_effect(effect, alpha, power)
    while seeds is not None and (unanimous_effect(seeds, alpha, power) or 0.0) > abs(effect):
        seeds += 1
    return seeds


def seeds_for_effect(effect: float, alpha: float = 0.05, power: float = TARGET_POWER) -> int | None:
    """Return the fewest seeds on which the t test shows a true d_z = `effect`.

    None if more than 10,000 seeds are needed.

    >>> seeds_for_effect(1.0)
    10
    """
    counts = range(2, MOST_SEEDS + 1)  # power grows with the number of seeds
    found = bisect_left(counts, True, key=lambda n: paired_power(abs(effect), n, alpha) >= power)
    return counts[found] if found < len(counts) else None


def seeds_for_difference(difference: float, sd: float, n: int, alpha: float = 0.05) -> int | None:
    """Return the number of seeds needed if the observed difference is the true difference.

    Args:
        difference: mean difference seen with n seeds.
        sd: standard deviation of the n differences. The calculation uses its upper 80 % limit,
            because a small sample often underestimates the standard deviation.
        n: number of seeds seen.
        alpha: two-sided level, alpha / m for m comparisons.
    """
    return seeds_to_show(difference / sd_upper_limit(sd, n), alpha)
