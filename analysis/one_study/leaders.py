"""The methods that the tests do not tell apart from the best one."""

from __future__ import annotations

from analysis.one_study.analyse import Analysis

Ends = tuple[float, float]


def leaders(analysis: Analysis) -> tuple[str, ...]:
    """Return the method with the best mean, and those that may be as good; empty if unknown.

    Every simultaneous interval holds the true difference of its method to the reference, all with
    probability 1 - alpha. Where the whole interval of a method is worse than the whole interval of
    the best method, the method is therefore worse, and all such statements are true with
    probability 1 - alpha. The interval of the reference itself is 0.

    Nothing is known without a common reference, without an interval of each competitor, or where
    there are too few seeds for a verdict.
    """
    sign = analysis.rules.sign
    scores = {row.method: row.mean for row in analysis.methods if not row.is_offline}
    means = {method: sign * mean for method, mean in scores.items() if mean is not None}
    gains = _gains(analysis)
    if not gains or not scores.keys() <= means.keys() & gains.keys():
        return ()
    ranked = sorted(means, key=lambda method: -means[method])
    least = gains[ranked[0]][0]
    return tuple(method for method in ranked if gains[method][1] >= least)


def _gains(analysis: Analysis) -> dict[str, Ends]:
    """Return the interval of each method's gain over the reference; empty if any is unknown."""
    reference, sign = analysis.common_reference, analysis.rules.sign
    if reference is None:
        return {}
    gains = {reference: (0.0, 0.0)}
    for c in analysis.comparisons:
        ends = (c.difference, c.difference) if c.identical else (c.ci_low, c.ci_high)
        known = [sign * end for end in ends if end is not None]
        if len(known) < len(ends) or analysis.rules.capped(c.n):
            return {}
        gains[c.method] = (min(known), max(known))
    return gains
