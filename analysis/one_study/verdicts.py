"""From paired scores to a verdict in words, by rules fixed before the data are seen.

Shape legend: S seeds. Differences are method - reference in metric units. Whether a positive
difference is good depends on the metric; only the verdict and P(win) take the direction into
account.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis import numbers
from analysis.forms import FRACTION, Form
from analysis.metrics import find_metric
from analysis.one_study.pairing import Pairs
from analysis.records import DECIDED
from analysis.statistics import estimates, paired, power
from analysis.statistics.paired import EXACT, PairedTest
from analysis.statistics.sequential import ANYTIME

BETTER = "better"
WORSE = "worse"
BY_MORE = " by more than the margin"
BY_LESS = ", but by less than the margin"
EQUIVALENT = "equivalent within the margin"
INCONCLUSIVE = "inconclusive"
IDENTICAL = "identical differences"
NO_VERDICT = "no verdict"
SUGGESTIVE = "suggestive: "

FEWEST_FOR_TEST = 5  # fewer seeds have an interval and no p-value
FEWEST_FOR_VERDICT = 6  # with fewer seeds the exact test cannot reach 0.05


@dataclass(frozen=True)
class Rules:
    """The rules fixed beforehand: direction, practical margin, level, size of the family, test."""

    higher_is_better: bool
    margin: float
    alpha: float
    family_size: int
    unit: str = "seed"  # of pairing
    test: PairedTest = EXACT
    form: Form = FRACTION  # of differences, in reasons

    @property
    def is_anytime(self) -> bool:
        """Whether seeds are added until the comparisons are decided."""
        return self.test is ANYTIME

    @property
    def sign(self) -> int:
        """+1 where a larger score is better, -1 where a smaller score is better."""
        return 1 if self.higher_is_better else -1

    @property
    def confidence(self) -> float:
        """Confidence level of an interval by itself."""
        return 1 - self.alpha

    @property
    def level(self) -> float:
        """Level of each comparison, alpha / m (Bonferroni): of its tests and of its interval."""
        return self.alpha / self.family_size

    @property
    def units(self) -> str:
        """The unit of pairing in the plural."""
        return numbers.plural(self.unit)

    @property
    def fewest_seeds(self) -> int:
        """The fewest seeds that allow a verdict stronger than a suggestion."""
        return max(self.test.fewest_seeds(self.family_size, self.alpha), FEWEST_FOR_VERDICT)

    def capped(self, n: int) -> bool:
        """Return whether n seeds allow only a suggestion: the test cannot reach alpha."""
        reachable = self.test.can_decide(n, self.family_size, self.alpha)
        return n < FEWEST_FOR_VERDICT or not reachable


def rules_of(
    metric: str,
    comparisons: Iterable[tuple[str, str]],
    *,
    margin: float,
    alpha: float,
    stop: str,
    unit: str,
    form: Form = FRACTION,
) -> Rules:
    """Return the rules of a study.

    Args:
        comparisons: (method, method to compare with) of the whole family; a pair counts once,
            whichever of the two comes first.
        stop: when seeds stop (`StudyRecord.stop`).
    """
    size = len({*map(frozenset, comparisons)}) or 1
    test = ANYTIME if stop == DECIDED else EXACT
    return Rules(find_metric(metric).higher_is_better, margin, alpha, size, unit, test, form)


@dataclass(frozen=True)
class Comparison:
    """One method against another, as a rule the reference; None for a number that is not defined.

    `ci_low` and `ci_high` are the simultaneous interval of the difference, from which the verdict
    is read: with probability 1 - alpha all intervals of the family hold their true differences.
    The interval belongs to the test of the rules; where the exact test cannot decide
    (`Rules.capped`), to the t test. `t_low` and `t_high` are the t-interval of this comparison by
    itself.

    `sd` is the standard deviation of the differences, `mde` the minimum detectable effect (the
    smallest true difference seen with 80 % power at alpha/m; None where the exact test cannot
    decide), `seeds_needed` the number of seeds that would show the observed difference, `p_floor`
    the smallest attainable exact p, `rho` the correlation of the paired scores. p-values named
    adjusted are m times p. For `identical` differences the intervals, the t test, g_z and `mde` are
    not defined, because all need a spread.

    `imputed` are the seeds on which one of the two methods failed and counts as `counted_as`, the
    worst score. Such a comparison has the exact test and P(win) only: whatever else is printed
    would be a statement about that score.
    """

    method: str
    reference: str
    seeds: tuple[int, ...]
    method_scores: tuple[float, ...]
    reference_scores: tuple[float, ...]
    refusal: str | None = None
    imputed: tuple[int, ...] = ()
    counted_as: float | None = None
    ended_by: str = ""
    differences: tuple[float, ...] = ()
    difference: float | None = None
    sd: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    t_low: float | None = None
    t_high: float | None = None
    identical: bool = False
    p_floor: float | None = None
    p_exact: float | None = None
    p_adjusted: float | None = None
    p_t: float | None = None
    p_t_adjusted: float | None = None
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
    """Return every comparison of the family with its verdict.

    Every word of a verdict is read off one interval per comparison, at the level 1 - alpha/m. The
    probability of any false statement in the whole family is therefore at most alpha, whatever the
    kinds of the statements, where differences are symmetric about their true centres (suggestive
    verdicts: normal). The family is fixed beforehand: a refused comparison still counts in m.

    Verdicts, in order of precedence:
        no verdict: the gate refuses, or 1-2 seeds (the scores are listed);
        identical differences: all differences are zero, so there is nothing to test;
        better, worse: the interval excludes 0. "by more than the margin": the interval lies beyond
            the margin. "but by less than the margin": the interval lies inside the margin;
        equivalent within the margin: the interval holds 0 and lies inside the margin;
        suggestive: one of these by the t-interval, where the exact test cannot reach alpha (3 to 5
            seeds, or too many comparisons);
        inconclusive: everything else. Always where the exact test cannot reach alpha and identical
            differences leave the t-interval undefined. If every seed differs by the same amount,
            that amount stands for the interval.

    Where failed seeds count as the worst score, there is no interval, and the words are better,
    worse and inconclusive, by the exact test alone. The test asks whether the two methods are
    exchangeable within a seed, failures included, and has the level alpha/m whatever a failure
    counts as. An interval shifts all differences by one amount until the test no longer rejects. A
    failure does not shift: the ends of the interval, and any word on the margin, would depend on
    the score that stands for a failure.

    Where seeds are added until the comparisons are decided (`Rules.is_anytime`), test and interval
    are anytime-valid: the guarantee holds after any number of seeds, whenever the study looks and
    stops. Nothing is suggested, and there is no t test and no power.
    """
    return tuple(_judge(_compare(pair, rules), rules) for pair in pairs)


def _compare(pairs: Pairs, rules: Rules) -> Comparison:
    """Return the estimates, tests and effect sizes of one comparison, before the verdict."""
    listed = Comparison(**vars(pairs))
    if pairs.refusal or not pairs.seeds:
        no_pairs = f"no {rules.unit} is shared with {pairs.reference}"
        return replace(listed, refusal=pairs.refusal or no_pairs)
    scores, reference_scores = np.array(pairs.method_scores), np.array(pairs.reference_scores)
    d = estimates.paired_differences(scores, reference_scores)
    estimate = estimates.estimate(d, rules.confidence)
    estimated = replace(
        listed,
        differences=tuple(d.tolist()),
        difference=estimate.mean,
        sd=None if listed.imputed else estimate.sd,
        identical=estimates.all_identical(d),
    )
    if listed.n < estimates.FEWEST_FOR_INTERVAL:
        return estimated
    wins = estimates.probability_of_outperforming(rules.sign * d, rules.confidence)
    tested = _with_test(replace(estimated, wins=wins), d, rules)
    if listed.imputed:
        return tested
    low, high = _interval(d, rules)
    with_intervals = replace(
        tested,
        ci_low=low,
        ci_high=high,
        t_low=None if rules.is_anytime else estimate.ci_low,
        t_high=None if rules.is_anytime else estimate.ci_high,
        rho=estimates.correlation(scores, reference_scores),
    )
    return with_intervals if tested.identical else _with_effect_sizes(with_intervals, d, rules)


def _with_test(comparison: Comparison, d: estimates.Array, rules: Rules) -> Comparison:
    """Return the comparison with the test, if there are differences and enough seeds."""
    if len(d) < FEWEST_FOR_TEST or not d.any():
        return comparison
    p = rules.test.p(d)
    return replace(
        comparison,
        p_floor=rules.test.floor(len(d)),
        p_exact=p,
        p_adjusted=paired.bonferroni(p, rules.family_size),
    )


def _interval(d: estimates.Array, rules: Rules) -> tuple[float | None, float | None]:
    """Return the simultaneous interval; None for differences without a spread."""
    if estimates.all_identical(d):
        return None, None
    known = None if rules.capped(len(d)) else rules.test.interval(d, 1 - rules.level)
    if known or rules.is_anytime:
        return known or (None, None)
    normal = estimates.estimate(d, 1 - rules.level)
    return normal.ci_low, normal.ci_high


def _with_effect_sizes(comparison: Comparison, d: estimates.Array, rules: Rules) -> Comparison:
    """Return the comparison with the statistics that rest on the spread of the differences: effect
    size, t test, power.
    """
    n, mean, sd = len(d), float(np.mean(d)), float(np.std(d, ddof=1))
    effect = estimates.hedges_g(d, rules.confidence)
    comparison = replace(comparison, hedges_g=effect.g, g_low=effect.low, g_high=effect.high)
    if rules.is_anytime:  # t test and power are of a number of seeds that is fixed beforehand
        return comparison
    p = paired.paired_t_p(d) if n >= FEWEST_FOR_TEST else None
    seeds_needed = power.seeds_for_difference(mean, sd, n, rules.level)
    return replace(
        comparison,
        p_t=p,
        p_t_adjusted=paired.bonferroni(p, rules.family_size),
        mde=None if rules.capped(n) else power.visible_effect(n, rules.level) * sd,
        seeds_needed=None if seeds_needed is None else max(seeds_needed, rules.fewest_seeds),
    )


def _judge(comparison: Comparison, rules: Rules) -> Comparison:
    """Return the comparison with verdict and reason (precedence: `compare_family`)."""
    verdict, reason = _verdict(comparison, rules)
    if comparison.ended_by and verdict in (INCONCLUSIVE, NO_VERDICT):
        verdict, reason = NO_VERDICT, comparison.ended_by
    elif _is_outside(comparison):
        reason += (
            "; the mean lies outside the interval: the differences are not symmetric about one "
            f"centre, so look at the {rules.units}"
        )
    test_dependent = _tests_disagree(comparison, rules)
    if test_dependent:
        reason += "; test-dependent: the exact test and the t test fall on different sides of alpha"
    return replace(comparison, verdict=verdict, reason=reason, test_dependent=test_dependent)


def _is_outside(c: Comparison) -> bool:
    """Return whether the mean of all seeds lies outside an interval that rests on every look."""
    if c.difference is None or c.ci_low is None or c.ci_high is None:
        return False
    return not c.ci_low <= c.difference <= c.ci_high


def _verdict(c: Comparison, rules: Rules) -> tuple[str, str]:
    if c.refusal:
        return NO_VERDICT, c.refusal
    if c.n < estimates.FEWEST_FOR_INTERVAL:
        return NO_VERDICT, f"{numbers.count(c.n, rules.unit)}: listed, not tested"
    if c.identical and not c.difference:
        return IDENTICAL, f"every {rules.unit} scores the same, so there is nothing to test"
    if rules.capped(c.n) and (c.imputed or c.identical or rules.is_anytime):
        clauses = [_imputed_clause(c, rules)] if c.imputed else []
        clauses += [_no_spread_clause(c, rules)] if c.identical else []
        return INCONCLUSIVE, "; ".join([*clauses, _fewest_seeds_clause(rules)])
    if c.imputed:
        return _by_the_exact_test(c, rules)
    word, clause = _read(_gains(c, rules), rules.margin)
    if word == INCONCLUSIVE:
        return INCONCLUSIVE, clause + _prospect(c, rules)
    if c.identical:
        clause = f"{_no_spread_clause(c, rules)}; {clause}"
    if word != EQUIVALENT:
        clause = f"{_test_clause(c, rules)}; {clause}"
    if rules.capped(c.n):
        return SUGGESTIVE + word, f"{clause}; {_fewest_seeds_clause(rules)}"
    return word, clause


def _by_the_exact_test(c: Comparison, rules: Rules) -> tuple[str, str]:
    """Return the verdict of a comparison without an interval, because seeds failed."""
    is_different = _required(c.p_adjusted) <= rules.alpha
    is_gain = rules.sign * _required(c.difference) > 0
    word = (BETTER if is_gain else WORSE) if is_different else INCONCLUSIVE
    return word, f"{_test_clause(c, rules)}; {_imputed_clause(c, rules)}"


def _gains(c: Comparison, rules: Rules) -> tuple[float, float]:
    """Return the interval of the difference with the sign that makes a gain positive."""
    ends = (c.difference, c.difference) if c.identical else (c.ci_low, c.ci_high)
    low, high = sorted(rules.sign * _required(end) for end in ends)
    return low, high


def _read(gains: tuple[float, float], margin: float) -> tuple[str, str]:
    """Return the word that an interval of gains allows, and a clause on the interval's place."""
    low, high = gains
    inside = margin > 0 and max(-low, high) <= margin - estimates.SMALLEST_DIFFERENCE
    if low <= 0 <= high:
        if inside:
            return EQUIVALENT, "the interval lies inside the margin"
        return INCONCLUSIVE, "the interval holds 0" + (
            " and reaches beyond the margin" if margin > 0 else ""
        )
    direction, nearest = (BETTER, low) if low > 0 else (WORSE, -high)
    if inside:
        return direction + BY_LESS, "the interval excludes 0 and lies inside the margin"
    if margin > 0 and nearest - margin >= estimates.SMALLEST_DIFFERENCE:
        return direction + BY_MORE, "the interval lies beyond the margin"
    unknown = "; whether by more than the margin is open" if margin > 0 else ""
    return direction, "the interval excludes 0" + unknown


def _tests_disagree(c: Comparison, rules: Rules) -> bool:
    if c.p_adjusted is None or c.p_t_adjusted is None or rules.capped(c.n):
        return False
    return (c.p_adjusted <= rules.alpha) != (c.p_t_adjusted <= rules.alpha)


def _test_clause(c: Comparison, rules: Rules) -> str:
    """Return the adjusted p of the test that decides; for too few seeds, the interval's law."""
    if not rules.capped(c.n):
        return f"adjusted {numbers.p_clause(_required(c.p_adjusted))} ({rules.test.kind} test)"
    normal = "which assumes normal differences"
    if c.p_t_adjusted is None:
        return f"t-interval, {normal}"
    return f"adjusted {numbers.p_clause(c.p_t_adjusted)} (t test, {normal})"


def _fewest_seeds_clause(rules: Rules) -> str:
    family = numbers.count(rules.family_size, "comparison")
    return f"the {rules.test.kind} test needs {rules.fewest_seeds} {rules.units} for {family}"


def _no_spread_clause(c: Comparison, rules: Rules) -> str:
    amount = f"every {rules.unit} differs by {rules.form.points(_required(c.difference))}"
    return f"{amount}, which leaves no spread, t test or effect size"


def _imputed_clause(c: Comparison, rules: Rules) -> str:
    failed = f"{len(c.imputed)} of {numbers.count(c.n, rules.unit)} failed"
    return (
        f"{failed}, each counted as {rules.form.with_unit(c.counted_as)}, so there is no interval"
    )


def _prospect(c: Comparison, rules: Rules) -> str:
    """Return a clause on the power of these seeds and on the seeds that the difference needs."""
    needed = f"; no feasible number of {rules.units} would show the observed difference"
    if c.seeds_needed is not None:
        needed = f"; about {c.seeds_needed} {rules.units} would show the observed difference"
        needed = needed if c.seeds_needed > c.n else ""
    if rules.is_anytime:
        return ""
    if c.mde is None:
        return f"; {_fewest_seeds_clause(rules)}{needed}"
    return (
        f"; a true difference of {rules.form.points(c.mde)} would be seen with 80 % power{needed}"
    )


def _required(value: float | None) -> float:
    if value is None:
        raise ValueError("a comparison to test lacks an estimate")
    return value
