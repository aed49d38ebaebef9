"""From paired scores to a verdict in words, by rules fixed before the data are seen.

Shape legend: S seeds. Printed differences are method - reference in metric units; whether a
positive one is good depends on the metric, and only the verdict and P(win) know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis import wording
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

FEWEST_FOR_TEST = 5  # below, an interval and no p
FEWEST_FOR_VERDICT = 6  # below, no exact test reaches 0.05


@dataclass(frozen=True)
class Rules:
    """What is fixed up front: direction, margin, level, size of the family."""

    higher_is_better: bool
    margin: float
    alpha: float
    comparisons: int
    unit: str = "seed"  # of pairing

    @property
    def sign(self) -> int:
        """+1 where a larger score is better, -1 where a smaller one is."""
        return 1 if self.higher_is_better else -1

    @property
    def confidence(self) -> float:
        """Level of the printed intervals."""
        return 1 - self.alpha

    @property
    def units(self) -> str:
        """What is paired, in the plural."""
        return wording.plural(self.unit)

    def capped(self, n: int) -> bool:
        """Whether n seeds can only suggest, because the exact test cannot reach alpha."""
        reachable = paired.attainable(n, self.comparisons, self.alpha)
        return n < FEWEST_FOR_VERDICT or not reachable


@dataclass(frozen=True)
class Comparison:
    """One method against the reference; None wherever the rules show nothing.

    `sd` is that of the differences, `mde` the smallest difference seen with 80 % power at alpha/m,
    `seeds_needed` the seeds that would show the observed difference, `p_floor` the smallest
    attainable exact p, `rho` the correlation of the pairs. Where the differences are `identical`,
    nothing that rests on their spread is defined: interval, t test, g_z, `mde`.
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
        """Seeds compared."""
        return len(self.seeds)


def compare_family(pairs: Sequence[Pairs], rules: Rules) -> tuple[Comparison, ...]:
    """Every comparison of the family, with Holm-adjusted p and verdict.

    The family is fixed beforehand: a comparison that the gate refuses keeps its place in Holm.

    Verdicts, in order of precedence:
        no verdict: the gate refuses, or 1-2 seeds (they are listed);
        identical differences: all are zero, so there is nothing to test;
        better, worse: Holm-adjusted exact p <= alpha and the interval excludes 0; "and
            practically" where it also lies beyond the margin. This outranks equivalence: a
            difference that is real but inside the margin is better, and the reason says so.
            Where every seed differs by the same amount, that amount stands for the interval;
        suggestive better, suggestive worse: instead of those, by the Holm-adjusted paired t test,
            where the exact test cannot reach alpha (5 seeds, or too many comparisons);
        equivalent: the (1 - 2 alpha) t-interval lies inside the margin, 6 seeds or more. Judged
            per comparison, without Holm, and on normal differences as all such tests are;
        inconclusive: everything else, and always at 3-4 seeds, or where the exact test cannot
            reach alpha and differences without spread leave the t test undefined.
    """
    measured = [measure(pair, rules) for pair in pairs]
    absent: list[float | None] = [None] * max(0, rules.comparisons - len(measured))
    exact = paired.holm([c.p_exact for c in measured] + absent)
    normal = paired.holm([c.p_t for c in measured] + absent)
    adjusted = zip(measured, exact, normal, strict=False)
    return tuple(judge(replace(c, p_holm=p, p_t_holm=q), rules) for c, p, q in adjusted)


def measure(pairs: Pairs, rules: Rules) -> Comparison:
    """Estimates, tests and effect sizes of one comparison, before Holm and the verdict."""
    bare = Comparison(**vars(pairs))
    if pairs.refusal or not pairs.seeds:
        unshared = f"no {rules.unit} is shared with the reference"
        return replace(bare, refusal=pairs.refusal or unshared)
    first, second = np.array(pairs.method_scores), np.array(pairs.reference_scores)
    d = estimates.paired_differences(first, second)
    estimate = estimates.estimate(d, rules.confidence)
    estimated = replace(
        bare,
        differences=tuple(d.tolist()),
        difference=estimate.mean,
        sd=estimate.sd,
        identical=estimates.all_identical(d),
    )
    if bare.n < estimates.FEWEST_FOR_INTERVAL:
        return estimated
    whole = replace(
        estimated,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        wins=estimates.probability_of_outperforming(rules.sign * d, rules.confidence),
        rho=estimates.correlation(first, second),
    )
    return _tested(whole, d, rules) if d.any() else whole


def _tested(comparison: Comparison, d: estimates.Array, rules: Rules) -> Comparison:
    n, spread = len(d), not comparison.identical
    powered = _powered(comparison, d, rules) if spread else comparison
    if n < FEWEST_FOR_TEST:
        return powered
    return replace(
        powered,
        p_floor=paired.exact_floor(n),
        p_exact=paired.sign_flip_p(d),
        p_t=paired.paired_t_p(d) if spread else None,
        p_tost=paired.tost_p(d, rules.margin) if spread and rules.margin > 0 else None,
    )


def _powered(comparison: Comparison, d: estimates.Array, rules: Rules) -> Comparison:
    """The comparison with what is measured in standard deviations of its differences."""
    n, mean, sd = len(d), float(np.mean(d)), float(np.std(d, ddof=1))
    level = rules.alpha / rules.comparisons
    effect = estimates.hedges_g(d, rules.confidence)
    seen = power.seeds_for_difference(mean, sd, n, level)
    fewest = paired.seeds_for_exact_test(rules.comparisons, rules.alpha)
    return replace(
        comparison,
        hedges_g=effect.g,
        g_low=effect.low,
        g_high=effect.high,
        mde=power.visible_effect(n, level) * sd,
        seeds_needed=None if seen is None else max(seen, fewest, FEWEST_FOR_VERDICT),
    )


def judge(comparison: Comparison, rules: Rules) -> Comparison:
    """The comparison with its verdict and the reason for it (precedence: `compare_family`)."""
    word, reason = _verdict(comparison, rules)
    split = _disagree(comparison, rules)
    if split:
        reason += "; test-dependent: the exact test and the t test fall on different sides of alpha"
    return replace(comparison, verdict=word, reason=reason, test_dependent=split)


def _verdict(c: Comparison, rules: Rules) -> tuple[str, str]:
    if c.refusal:
        return NO_VERDICT, c.refusal
    if c.n < estimates.FEWEST_FOR_INTERVAL:
        return NO_VERDICT, f"{wording.count(c.n, rules.unit)}: listed, not tested"
    if c.identical and not c.difference:
        return IDENTICAL, f"every {rules.unit} scores the same, so there is nothing to test"
    if c.n < FEWEST_FOR_TEST and not c.identical:
        untested = f"{c.n} {rules.units} give an interval and no test"
        return INCONCLUSIVE, untested + _prospect(c, rules)
    ends = (c.difference, c.difference) if c.identical else (c.ci_low, c.ci_high)
    gain_low, gain_high = sorted(rules.sign * _known(end) for end in ends)
    capped = rules.capped(c.n)
    p = c.p_t_holm if capped else c.p_holm
    if p is not None and p <= rules.alpha and (gain_low > 0 or gain_high < 0):
        word = BETTER if gain_low > 0 else WORSE
        near, far = sorted((abs(gain_low), abs(gain_high)))
        return _directed(c, rules, word, (near, far))
    if c.identical:
        return INCONCLUSIVE, f"{_no_spread(c, rules)}; {_exact_test_needs(rules)}"
    if _equivalent(c, rules):
        level = wording.percent(1 - 2 * rules.alpha)
        return EQUIVALENT, f"the {level} interval lies inside the practical margin"
    return INCONCLUSIVE, _open_question(c, rules)


def _directed(
    c: Comparison, rules: Rules, word: str, sizes: tuple[float, float]
) -> tuple[str, str]:
    """Better or worse, and how the interval's size (nearest, farthest) stands to the margin."""
    if rules.capped(c.n):
        return SUGGESTIVE + word, _why_capped(c, rules)
    p = f"Holm-adjusted exact {wording.p_clause(_known(c.p_holm))}"
    if c.identical:
        p = f"{_no_spread(c, rules)}; {p}"
    if rules.margin > 0 and sizes[0] - rules.margin >= estimates.SMALLEST_DIFFERENCE:
        what = "difference" if c.identical else "whole interval"
        return word + PRACTICALLY, f"{p}; the {what} lies beyond the practical margin"
    if rules.margin > 0 and (c.identical or sizes[1] < rules.margin or _equivalent(c, rules)):
        return word, f"{p}, but within the practical margin"
    if rules.margin > 0:
        return word, f"{p}; the interval does not exclude a difference inside the practical margin"
    return word, p


def _equivalent(c: Comparison, rules: Rules) -> bool:
    return c.n >= FEWEST_FOR_VERDICT and c.p_tost is not None and c.p_tost <= rules.alpha


def _disagree(c: Comparison, rules: Rules) -> bool:
    if c.p_holm is None or c.p_t_holm is None or rules.capped(c.n):
        return False
    return (c.p_holm <= rules.alpha) != (c.p_t_holm <= rules.alpha)


def _why_capped(c: Comparison, rules: Rules) -> str:
    p = wording.p_clause(_known(c.p_t_holm))
    return f"t test (assumes normal differences), Holm-adjusted {p}; {_exact_test_needs(rules)}"


def _exact_test_needs(rules: Rules) -> str:
    fewest = max(paired.seeds_for_exact_test(rules.comparisons, rules.alpha), FEWEST_FOR_VERDICT)
    family = wording.count(rules.comparisons, "comparison")
    return f"the exact test needs {fewest} {rules.units} for {family}"


def _no_spread(c: Comparison, rules: Rules) -> str:
    each = f"every {rules.unit} differs by {_known(c.difference):.4g}"
    return f"{each}, which leaves no interval, t test or effect size"


def _open_question(c: Comparison, rules: Rules) -> str:
    if rules.margin > 0 and c.p_tost is not None and c.p_tost <= rules.alpha:
        few = f"{c.n} {rules.units} are too few for it"
        return f"the difference is within the practical margin, but {few}"
    return f"{c.n} {rules.units} show neither a difference nor equivalence{_prospect(c, rules)}"


def _prospect(c: Comparison, rules: Rules) -> str:
    """What these seeds could have shown, and how many would show the observed difference."""
    needed = f"; no feasible number of {rules.units} would show the observed difference"
    if c.seeds_needed is not None:
        needed = f"; about {c.seeds_needed} {rules.units} would show the observed difference"
        needed = needed if c.seeds_needed > c.n else ""
    if c.n < FEWEST_FOR_TEST:
        return needed
    return f"; a true difference of {wording.number(c.mde)} would be seen with 80 % power{needed}"


def _known(value: float | None) -> float:
    if value is None:
        raise ValueError("a comparison to test lacks an estimate")
    return value
