"""Power of a study: the number of seeds a study needs, and the differences that its seeds can show.

The spread (standard deviation) comes from the paired differences seen so far and is itself
uncertain. Every number is therefore given for the estimate and for the upper 80 % limit (1.6 times
the estimate at 5 seeds; Colas et al. 2018 take an upper value too). Before any differences are
seen, sizes are in standard deviations of the differences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis import numbers
from analysis.forms import FRACTION, Form
from analysis.one_study.analyse import Analysis
from analysis.one_study.verdicts import FEWEST_FOR_VERDICT
from analysis.statistics import estimates, paired, power, sequential
from analysis.statistics.estimates import Array
from analysis.statistics.power import TARGET_POWER

SEEDS = (6, 8, 10, 15, 20, 30)  # rows of the table, beside the planned number of seeds
SIZES = (0.5, 0.8, 1.0, 1.5, 2.0)  # in standard deviations, for an unknown spread


@dataclass(frozen=True)
class Spread:
    """Spread of the paired differences seen so far: estimate (ddof 1) and upper 80 % limit."""

    n: int
    sd: float
    sd_upper: float


@dataclass(frozen=True)
class Detectable:
    """The smallest true difference that n seeds show with the target power.

    `size` is in standard deviations of the differences, at alpha / m; None where the exact test
    cannot decide. `difference` is in metric units for the spread seen, `difference_upper` for the
    upper limit of the spread.
    """

    n: int
    size: float | None
    difference: float | None
    difference_upper: float | None
    attainable: bool  # whether n seeds allow a verdict stronger than a suggestion
    planned: bool  # whether n is the planned number of seeds


@dataclass(frozen=True)
class Needed:
    """The number of seeds that show one true difference; None: more than 10,000.

    `difference` is in metric units (None without a spread), `size` in standard deviations. `seeds`
    is for the spread seen, `seeds_upper` for the upper limit of the spread.
    """

    difference: float | None
    size: float
    seeds: int | None
    seeds_upper: int | None


@dataclass(frozen=True)
class Plan:
    """The power of one comparison of a study, as numbers and sentences."""

    planned: int
    comparisons: int
    alpha: float
    power: float
    unit: str  # of pairing
    spread: Spread | None
    fewest_seeds: int  # that allow a verdict
    detectable: tuple[Detectable, ...]
    needed: tuple[Needed, ...]
    sentences: tuple[str, ...]


def plan_seeds(
    planned: int,
    comparisons: int,
    seen_differences: Sequence[float] | Array = (),
    true_differences: Sequence[float] = (),
    alpha: float = 0.05,
    unit: str = "seed",
    form: Form = FRACTION,
) -> Plan:
    """Return the smallest difference that the planned and other numbers of seeds show with 80 %
    power, and the number of seeds that given differences need.

    Args:
        planned: number of confirmation seeds of the study.
        comparisons: size m of the family; each comparison is tested at alpha / m.
        seen_differences: paired differences of one method against the reference, one per seed, in
            metric units; empty before any are seen.
        true_differences: differences to plan for, in metric units; without seen differences, the
            plan is for sizes in standard deviations instead.
        alpha: two-sided level of the family.
        unit: of pairing, for the sentences.
        form: of differences in the sentences.

    The number of seeds needed is at least 6, and at least the number with which the exact test can
    reach alpha. Power: see `analysis.statistics.power`.

    >>> plan_seeds(10, 2, seen_differences=[0.03, 0.01, 0.02, 0.04]).sentences[0]
    'Spread of the paired differences: sd 0.0129 from 4 seeds, upper 80 % limit 0.0223.'
    """
    m = max(comparisons, 1)
    spread, remark = measure_spread(seen_differences, unit, form)
    fewest = max(paired.seeds_for_exact_test(m, alpha), FEWEST_FOR_VERDICT)
    ns = sorted({*SEEDS, *([planned] if planned > 1 else [])})
    rule = _Rule(alpha, m, fewest, unit, form)
    table = tuple(_detectable(n, n == planned, spread, rule) for n in ns)
    if spread:
        needed = tuple(_needed(difference, spread, rule) for difference in true_differences)
    else:
        needed = tuple(Needed(None, size, _seeds(size, rule), None) for size in SIZES)
    sentences = [
        remark,
        *_planned_sentences(planned, table, rule),
        *_needed_sentences(true_differences, needed, spread, rule),
    ]
    return Plan(
        planned=planned,
        comparisons=m,
        alpha=alpha,
        power=TARGET_POWER,
        unit=unit,
        spread=spread,
        fewest_seeds=fewest,
        detectable=table,
        needed=needed,
        sentences=tuple(sentence for sentence in sentences if sentence),
    )


def plan_until_decided(
    most: int, comparisons: int, alpha: float = 0.05, unit: str = "seed"
) -> Plan:
    """Return how many seeds the comparisons need where seeds are added until all are decided.

    Args:
        most: the largest number of seeds.
        comparisons: size m of the family.
        alpha: two-sided level of the family.
        unit: of pairing, for the sentences.

    >>> plan_until_decided(30, 3).sentences[0]
    'Seeds are added until each of 3 comparisons is decided: 8 at least, 30 at most.'
    """
    m, units = max(comparisons, 1), numbers.plural(unit)
    fewest = max(sequential.seeds_for_anytime_test(m, alpha), FEWEST_FOR_VERDICT)
    found = {size: sequential.seeds_until_decided(size, most, alpha / m) for size in SIZES}
    sizes = "; ".join(
        f"{size:g} sd: {100 * share:.0f} % of studies, {mean:.0f} {units} on average"
        for size, (share, mean) in found.items()
    )
    return Plan(
        planned=most,
        comparisons=m,
        alpha=alpha,
        power=TARGET_POWER,
        unit=unit,
        spread=None,
        fewest_seeds=fewest,
        detectable=(),
        needed=(),
        sentences=(
            f"{numbers.begin(units)} are added until each of {numbers.count(m, 'comparison')} is "
            f"decided: {fewest} at least, {most} at most.",
            "How often a true difference is found, in standard deviations (sd) of the paired "
            f"differences (simulated: normal differences, a look after each seed): {sizes}.",
        ),
    )


def plans(
    analysis: Analysis, seen_differences: Mapping[tuple[str, str], Sequence[float]]
) -> dict[str, Plan]:
    """Return a plan for each comparison of a study, by its label.

    Args:
        analysis: of the study; the margin is the difference to plan for.
        seen_differences: (method, method to compare with) -> paired differences.
    """
    record, rules = analysis.record, analysis.rules
    if rules.is_anytime:
        most = len({*record.planned_seeds, *record.asked_seeds})
        plan = plan_until_decided(most, rules.family_size, rules.alpha, record.unit)
        return {"all comparisons": plan}
    return {
        analysis.label(c): plan_seeds(
            len(record.planned_seeds),
            rules.family_size,
            seen_differences.get((c.method, c.reference), ()),
            margins(rules.margin),
            alpha=rules.alpha,
            unit=record.unit,
            form=record.form,
        )
        for c in analysis.comparisons
    }


def margins(margin: float) -> Sequence[float]:
    """Return the margin as a difference to plan for; empty without a margin."""
    return (margin,) if margin > 0 else ()


def measure_spread(
    differences: Sequence[float] | Array, unit: str = "seed", form: Form = FRACTION
) -> tuple[Spread | None, str]:
    """Return the spread of the differences and a sentence about the spread; None and the reason for
    fewer than 2 differences or identical ones.
    """
    d = np.asarray(differences, dtype=np.float64)
    failed = int(np.sum(~np.isfinite(d)))
    d = d[np.isfinite(d)]
    scale = "sizes are in standard deviations (sd) of the paired differences"
    if len(d) < 2:
        return None, f"No spread is known yet (2 paired differences or more are needed): {scale}."
    if estimates.all_identical(d):
        return (
            None,
            f"All {len(d)} paired differences are identical, so they give no spread: {scale}.",
        )
    sd = float(np.std(d, ddof=1))
    spread = Spread(len(d), sd, estimates.sd_upper_limit(sd, len(d)))
    left_out = f"; {numbers.count(failed, f'failed {unit}')} left out" if failed else ""
    return spread, (
        f"Spread of the paired differences: sd {form.points(spread.sd)} from "
        f"{numbers.count(len(d), unit)}, upper 80 % limit {form.points(spread.sd_upper)}{left_out}."
    )


@dataclass(frozen=True)
class _Rule:
    alpha: float
    comparisons: int
    fewest: int
    unit: str
    form: Form

    @property
    def units(self) -> str:
        return numbers.plural(self.unit)

    @property
    def level(self) -> float:
        return self.alpha / self.comparisons

    @property
    def family(self) -> str:
        return numbers.count(self.comparisons, "comparison")

    def allows_verdict(self, n: int) -> bool:
        reachable = paired.EXACT.can_decide(n, self.comparisons, self.alpha)
        return reachable and n >= FEWEST_FOR_VERDICT


def _detectable(n: int, planned: bool, spread: Spread | None, rule: _Rule) -> Detectable:
    attainable = rule.allows_verdict(n)
    size = power.visible_effect(n, rule.level) if attainable else None
    return Detectable(
        n=n,
        size=size,
        difference=size * spread.sd if spread and size else None,
        difference_upper=size * spread.sd_upper if spread and size else None,
        attainable=attainable,
        planned=planned,
    )


def _needed(difference: float, spread: Spread, rule: _Rule) -> Needed:
    return Needed(
        difference=difference,
        size=abs(difference) / spread.sd,
        seeds=_seeds(difference / spread.sd, rule),
        seeds_upper=_seeds(difference / spread.sd_upper, rule),
    )


def _seeds(size: float, rule: _Rule) -> int | None:
    """Return the number of seeds that show a size in standard deviations; None: no such number."""
    if not math.isfinite(size):
        return None
    seeds = power.seeds_to_show(size, rule.level)
    return None if seeds is None else max(seeds, rule.fewest)


def _planned_sentences(planned: int, table: Sequence[Detectable], rule: _Rule) -> list[str]:
    """Return sentences on the difference that the planned seeds can show."""
    if planned < 2:
        return [f"{numbers.count(planned, rule.unit)}: differences are listed, nothing is tested."]
    row = next(row for row in table if row.planned)
    if not row.attainable:
        return [
            f"Whatever the difference, {planned} {rule.units} allow no verdict stronger than a "
            f"suggestion for {rule.family}; {rule.fewest} {rule.units} do."
        ]
    sentences = [
        f"With {planned} {rule.units} and {rule.family} (at {rule.alpha:g}/"
        f"{rule.comparisons}), a true difference of {_difference(row, rule.form)} is seen with "
        f"{numbers.percent(TARGET_POWER)} power."
    ]
    if power.unanimous_effect(planned, rule.level) is not None:
        sentences.append(
            f"The exact test rejects only if all {planned} {rule.units} agree in sign."
        )
    return sentences


def _difference(row: Detectable, form: Form) -> str:
    if row.difference is None or row.difference_upper is None:
        return f"{numbers.number(row.size, 2)} sd"
    upper = form.points(row.difference_upper)
    return f"{form.points(row.difference)} ({upper} at the upper limit of the spread)"


def _needed_sentences(
    true_differences: Sequence[float],
    needed: Sequence[Needed],
    spread: Spread | None,
    rule: _Rule,
) -> list[str]:
    """Return sentences on the number of seeds that the true differences need."""
    if spread is None:
        counts = ", ".join(f"{_count(row.seeds)} for {row.size:g} sd" for row in needed)
        sentences = [f"{numbers.begin(rule.units)} needed for {rule.family}: {counts}."]
        if true_differences:
            sentences.append(
                f"The number of {rule.units} that a difference in metric units needs depends on "
                "the spread."
            )
        return sentences
    return [
        f"A true difference of {rule.form.points(abs(row.difference or 0.0))} needs "
        f"{_count(row.seeds)} {rule.units}, {_count(row.seeds_upper)} at the upper limit of the "
        "spread."
        for row in needed
    ]


def _count(seeds: int | None) -> str:
    return f"more than {power.MOST_SEEDS:,}" if seeds is None else f"{seeds:,}"
