"""From paired scores to a verdict in words, by rules fixed before the data are seen.

Shape legend: S seeds. Differences are method - reference in metric units. Whether a positive
difference is good depends on the metric; only the verdict and P(win) take the direction into
account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis import numbers
from analysis.one_study.pairing import Pairs
from analysis.statistics import estimates, paired, power

BETTER = "better"
WORSE = "worse"
EQUIVALENT = "equivalent"
INCONCLUSIVE = "inconclusive"
IDENTICAL = "identical differences"
NO_VERDICT = "no verdict"
PRACTICALLY = " and practically"
SUGGESTIVE = "suggestive "

FEWEST_FOR_TEST = 5  # fewer seeds have an interval and no p-value
FEWEST_FOR_VERDICT = 6  # with fewer seeds the exact test cannot reach 0.05


@dataclass(frozen=True)
class Rules:
    """The rules fixed beforehand: direction, practical margin, level, size of the family."""

    higher_is_better: bool
    margin: float
    alpha: float
    family_size: int
    unit: str = "seed"  # of pairing

    @property
    def sign(self) -> int:
        """+1 where a larger score is better, -1 where a smaller score is better."""
        return 1 if self.higher_is_better else -1

    @property
    def confidence(self) -> float:
        """Confidence level of the intervals."""
        return 1 - self.alpha

    @property
    def units(self) -> str:
        """The unit of pairing in the plural."""
        return numbers.plural(self.unit)

    @property
    def fewest_seeds(self) -> int:
        """The fewest seeds that allow a verdict stronger than a suggestion."""
        return max(paired.seeds_for_exact_test(self.family_size, self.alpha), FEWEST_FOR_VERDICT)

    def capped(self, n: int) -> bool:
        """Return whether n seeds allow only a suggestion: the exact test cannot reach alpha."""
        reachable = paired.attainable(n, self.family_size, self.alpha)
        return n < FEWEST_FOR_VERDICT or not reachable


@dataclass(frozen=True)
class Comparison:
    """One method against the reference; None for every number that is not defined.

    `sd` is the standard deviation of the differences, `mde` the minimum detectable effect (the
    smallest true difference seen with 80 % power at alpha/m), `seeds_needed` the number of seeds
    that would show the observed difference, `p_floor` the smallest attainable exact p, `rho` the
    correlation of the paired scores. For `identical` differences the interval, the t test, g_z and
    `mde` are not defined, because all need a spread.
    """

    method: str
    reference: str
    seeds: tuple[int, ...]
    method_scores: tuple[float, ...]
    reference_scores: tuple[float, ...]
    refusal: str | None = None
    differences: tuple[float, ...] = ()
    difference: float | None = None
    sd: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    identical: bool = False
    p_floor: float | None = None
    p_exact: float | None = None
    p_holm: float | None = None
    p_t: float | None = None
    p_t_holm: float | None = None
    p_tost: float | None = None
    hedges_g: float | None = None
    g_low: float | None = None
    g_high: float | None = None
    wins: estimates.Wins | None = None
    rho: float | None = None
    mde: float | None = None
    seeds_needed: int | None = None
    test_dependent: bool = False
    verdict: str = NO_VERDICT
    reason: str = ""

    @property
    def n(self) -> int:
        """Number of shared seeds."""
        return len(self.seeds)


def compare_family(pairs: Sequence[Pairs], rules: Rules) -> tuple[Comparison, ...]:
    """Return every comparison of the family, with Holm-adjusted p-values and verdicts.

    The family is fixed beforehand: a refused comparison still counts in the Holm adjustment.

    Verdicts, in order of precedence:
        no verdict: the gate refuses, or 1-2 seeds (the scores are listed);
        identical differences: all differences are zero, so there is nothing to test;
        better, worse: Holm-adjusted exact p <= alpha and the interval excludes 0; "and
            practically" if the interval also lies beyond the margin. Better and worse outrank
            equivalence: a significant difference inside the margin is better or worse, and the
            reason names the margin. If every seed differs by the same amount, that amount stands
            for the interval;
        suggestive better, suggestive worse: the same by the Holm-adjusted paired t test, where the
            exact test cannot reach alpha (5 seeds, or too many comparisons);
        equivalent: the (1 - 2 alpha) t-interval lies inside the margin, 6 seeds or more. Tested
            per comparison, without Holm, under the assumption of normal differences;
        inconclusive: everything else. Always at 3-4 seeds, and where the exact test cannot reach
            alpha and identical differences leave the t test undefined.
    """
    untested = [_compare(pair, rules) for pair in pairs]
    absent: list[float | None] = [None] * max(0, rules.family_size - len(untested))
    exact = paired.holm([c.p_exact for c in untested] + absent)
    normal = paired.holm([c.p_t for c in untested] + absent)
    adjusted = zip(untested, exact, normal, strict=False)
    return tuple(_judge(replace(c, p_holm=p, p_t_holm=q), rules) for c, p, q in adjusted)


def _compare(pairs: Pairs, rules: Rules) -> Comparison:
    """Return the estimates, tests and effect sizes of one comparison, before Holm and verdict."""
    listed = Comparison(**vars(pairs))
    if pairs.refusal or not pairs.seeds:
        no_pairs = f"no {rules.unit} is shared with the reference"
        return replace(listed, refusal=pairs.refusal or no_pairs)
    scores, reference_scores = np.array(pairs.method_scores), np.array(pairs.reference_scores)
    d = estimates.paired_differences(scores, reference_scores)
    estimate = estimates.estimate(d, rules.confidence)
    estimated = replace(
        listed,
        differences=tuple(d.tolist()),
        difference=estimate.mean,
        sd=estimate.sd,
        identical=estimates.all_identical(d),
    )
    if listed.n < estimates.FEWEST_FOR_INTERVAL:
        return estimated
    with_interval = replace(
        estimated,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        wins=estimates.probability_of_outperforming(rules.sign * d, rules.confidence),
        rho=estimates.correlation(scores, reference_scores),
    )
    return _with_tests(with_interval, d, rules) if d.any() else with_interval


def _with_tests(comparison: Comparison, d: estimates.Array, rules: Rules) -> Comparison:
    """Return the comparison with effect sizes and p-values, as far as the differences allow."""
    n, has_spread = len(d), not comparison.identical
    if has_spread:
        comparison = _with_effect_sizes(comparison, d, rules)
    if n < FEWEST_FOR_TEST:
        return comparison
    return replace(
        comparison,
        p_floor=paired.exact_floor(n),
        p_exact=paired.sign_flip_p(d),
        p_t=paired.paired_t_p(d) if has_spread else None,
        p_tost=paired.tost_p(d, rules.margin) if has_spread and rules.margin > 0 else None,
    )


def _with_effect_sizes(comparison: Comparison, d: estimates.Array, rules: Rules) -> Comparison:
    """Return the comparison with the effect size and the power of its number of seeds."""
    n, mean, sd = len(d), float(np.mean(d)), float(np.std(d, ddof=1))
    level = rules.alpha / rules.family_size
    effect = estimates.hedges_g(d, rules.confidence)
    seeds_needed = power.seeds_for_difference(mean, sd, n, level)
    return replace(
        comparison,
        hedges_g=effect.g,
        g_low=effect.low,
        g_high=effect.high,
        mde=power.visible_effect(n, level) * sd,
        seeds_needed=None if seeds_needed is None else max(seeds_needed, rules.fewest_seeds),
    )


def _judge(comparison: Comparison, rules: Rules) -> Comparison:
    """Return the comparison with verdict and reason (precedence: `compare_family`)."""
    verdict, reason = _verdict(comparison, rules)
    test_dependent = _tests_disagree(comparison, rules)
    if test_dependent:
        reason += "; test-dependent: the exact test and the t test fall on different sides of alpha"
    return replace(comparison, verdict=verdict, reason=reason, test_dependent=test_dependent)


def _verdict(c: Comparison, rules: Rules) -> tuple[str, str]:
    if c.refusal:
        return NO_VERDICT, c.refusal
    if c.n < estimates.FEWEST_FOR_INTERVAL:
        return NO_VERDICT, f"{numbers.count(c.n, rules.unit)}: listed, not tested"
    if c.identical and not c.difference:
        return IDENTICAL, f"every {rules.unit} scores the same, so there is nothing to test"
    if c.n < FEWEST_FOR_TEST and not c.identical:
        untested = f"{c.n} {rules.units} give an interval and no test"
        return INCONCLUSIVE, untested + _prospect(c, rules)
    ends = (c.difference, c.difference) if c.identical else (c.ci_low, c.ci_high)
    gain_low, gain_high = sorted(rules.sign * _required(end) for end in ends)
    capped = rules.capped(c.n)
    p = c.p_t_holm if capped else c.p_holm
    if p is not None and p <= rules.alpha and (gain_low > 0 or gain_high < 0):
        direction = BETTER if gain_low > 0 else WORSE
        nearest, farthest = sorted((abs(gain_low), abs(gain_high)))
        return _directional_verdict(c, rules, direction, (nearest, farthest))
    if c.identical:
        return INCONCLUSIVE, f"{_no_spread_clause(c, rules)}; {_exact_test_clause(rules)}"
    if _is_equivalent(c, rules):
        level = numbers.percent(1 - 2 * rules.alpha)
        return EQUIVALENT, f"the {level} interval lies inside the practical margin"
    return INCONCLUSIVE, _inconclusive_reason(c, rules)


def _directional_verdict(
    c: Comparison, rules: Rules, direction: str, distances: tuple[float, float]
) -> tuple[str, str]:
    """Return the verdict better or worse, and the reason with the position against the margin.

    `distances` are those of the nearest and the farthest end of the interval from 0.
    """
    if rules.capped(c.n):
        return SUGGESTIVE + direction, _capped_reason(c, rules)
    nearest, farthest = distances
    p = f"Holm-adjusted exact {numbers.p_clause(_required(c.p_holm))}"
    if c.identical:
        p = f"{_no_spread_clause(c, rules)}; {p}"
    if rules.margin > 0 and nearest - rules.margin >= estimates.SMALLEST_DIFFERENCE:
        noun = "difference" if c.identical else "whole interval"
        return direction + PRACTICALLY, f"{p}; the {noun} lies beyond the practical margin"
    if rules.margin > 0 and (c.identical or farthest < rules.margin or _is_equivalent(c, rules)):
        return direction, f"{p}, but within the practical margin"
    if rules.margin > 0:
        undecided = "the interval does not exclude a difference inside the practical margin"
        return direction, f"{p}; {undecided}"
    return direction, p


def _is_equivalent(c: Comparison, rules: Rules) -> bool:
    return c.n >= FEWEST_FOR_VERDICT and c.p_tost is not None and c.p_tost <= rules.alpha


def _tests_disagree(c: Comparison, rules: Rules) -> bool:
    if c.p_holm is None or c.p_t_holm is None or rules.capped(c.n):
        return False
    return (c.p_holm <= rules.alpha) != (c.p_t_holm <= rules.alpha)


def _capped_reason(c: Comparison, rules: Rules) -> str:
    p = numbers.p_clause(_required(c.p_t_holm))
    return f"t test (assumes normal differences), Holm-adjusted {p}; {_exact_test_clause(rules)}"


def _exact_test_clause(rules: Rules) -> str:
    family = numbers.count(rules.family_size, "comparison")
    return f"the exact test needs {rules.fewest_seeds} {rules.units} for {family}"


def _no_spread_clause(c: Comparison, rules: Rules) -> str:
    amount = f"every {rules.unit} differs by {_required(c.difference):.4g}"
    return f"{amount}, which leaves no interval, t test or effect size"


def _inconclusive_reason(c: Comparison, rules: Rules) -> str:
    if rules.margin > 0 and c.p_tost is not None and c.p_tost <= rules.alpha:
        too_few = f"{c.n} {rules.units} are too few for it"
        return f"the difference is within the practical margin, but {too_few}"
    return f"{c.n} {rules.units} show neither a difference nor equivalence{_prospect(c, rules)}"


def _prospect(c: Comparison, rules: Rules) -> str:
    """Return a clause on the power of these seeds and on the seeds that the difference needs."""
    needed = f"; no feasible number of {rules.units} would show the observed difference"
    if c.seeds_needed is not None:
        needed = f"; about {c.seeds_needed} {rules.units} would show the observed difference"
        needed = needed if c.seeds_needed > c.n else ""
    if c.n < FEWEST_FOR_TEST:
        return needed
    return f"; a true difference of {numbers.number(c.mde)} would be seen with 80 % power{needed}"


def _required(value: float | None) -> float:
    if value is None:
        raise ValueError("a comparison to test lacks an estimate")
    return value
