"""How many seeds a study needs, and what a number of seeds can show, in the study's own units:
numbers and sentences.

The spread comes from the paired differences seen so far and is itself uncertain: everything is
given for the estimate and for its upper 80 % limit (1.6 times as much at 5 seeds; Colas et al. 2018
take an upper value too). Before any are seen, sizes are in standard deviations of the differences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis import wording
from analysis.one_study.analyse import Analysis
from analysis.one_study.verdicts import FEWEST_FOR_VERDICT
from analysis.statistics import estimates, paired, power
from analysis.statistics.estimates import Array
from analysis.statistics.power import TARGET_POWER

SEEDS = (6, 8, 10, 15, 20, 30)
SIZES = (0.5, 0.8, 1.0, 1.5, 2.0)  # in standard deviations, where the spread is unknown


@dataclass(frozen=True)
class Spread:
    """Spread of the paired differences seen so far: estimate (ddof 1) and upper 80 % limit."""

    n: int
    sd: float
    sd_upper: float


@dataclass(frozen=True)
class Detectable:
    """The smallest true difference that n seeds show with the wanted power.

    `size` is in standard deviations of the differences, at alpha / m; the others are in metric
    units, for the spread seen and for its upper limit.
    """

    n: int
    size: float
    difference: float | None
    difference_upper: float | None
    attainable: bool  # whether n seeds can give a verdict beyond a suggestion
    planned: bool  # whether n is the study's own


@dataclass(frozen=True)
class Needed:
    """Seeds that show one true difference; None: more than 10,000.

    `difference` is in metric units (None without a spread), `size` in standard deviations, `seeds`
    for the spread seen and `seeds_upper` for its upper limit.
    """

    difference: float | None
    size: float
    seeds: int | None
    seeds_upper: int | None


@dataclass(frozen=True)
class Plan:
    """What a study can show and what it would need, for a renderer that computes nothing."""

    planned: int
    comparisons: int
    alpha: float
    power: float
    unit: str  # of pairing
    spread: Spread | None
    fewest_seeds: int  # with which a verdict is possible at all
    detectable: tuple[Detectable, ...]
    needed: tuple[Needed, ...]
    sentences: tuple[str, ...]


def plan_seeds(
    planned: int,
    comparisons: int,
    seen: Sequence[float] | Array = (),
    differences: Sequence[float] = (),
    alpha: float = 0.05,
    target: float = TARGET_POWER,
    unit: str = "seed",
) -> Plan:
    """What the planned seeds can show, a table over further n, and the seeds needed.

    Args:
        planned: confirmation seeds of the study.
        comparisons: size m of the family; each is tested at alpha / m (the first step of Holm).
        seen: paired differences of one method against the reference, one per seed, in metric
            units; empty before there are any.
        differences: true differences to be shown, in metric units; need differences seen.
        alpha: two-sided level of the family.
        target: power.
        unit: of pairing, for the sentences.

    Never fewer seeds are called enough than the exact test can reach alpha with, and never fewer
    than 6. Power: see `analysis.statistics.power`.
    """
    m = max(comparisons, 1)
    spread, remark = measure_spread(seen, unit)
    fewest = max(paired.seeds_for_exact_test(m, alpha), FEWEST_FOR_VERDICT)
    ns = sorted({*SEEDS, *([planned] if planned > 1 else [])})
    rule = _Rule(alpha, m, target, fewest, unit)
    table = tuple(_detectable(n, n == planned, spread, rule) for n in ns)
    needed = tuple(_needed(d, spread, rule) for d in differences) if spread else _sizes(rule)
    sentences = [remark, *_shown(planned, table, rule), *_wanted(differences, needed, spread, rule)]
    return Plan(
        planned=planned,
        comparisons=m,
        alpha=alpha,
        power=target,
        unit=unit,
        spread=spread,
        fewest_seeds=fewest,
        detectable=table,
        needed=needed,
        sentences=tuple(sentence for sentence in sentences if sentence),
    )


def plans(analysis: Analysis, seen: Mapping[str, Sequence[float]]) -> dict[str, Plan]:
    """Plan each comparison of a study, with the paired differences seen of each method, and the
    margin as the difference that matters.
    """
    record, rules = analysis.record, analysis.rules
    return {
        c.method: plan_seeds(
            len(record.planned_seeds),
            rules.comparisons,
            seen=seen.get(c.method, ()),
            differences=margins(rules.margin),
            alpha=rules.alpha,
            unit=record.unit,
        )
        for c in analysis.comparisons
    }


def margins(margin: float) -> Sequence[float]:
    """The difference that matters, where one is set."""
    return (margin,) if margin > 0 else ()


def measure_spread(
    differences: Sequence[float] | Array, unit: str = "seed"
) -> tuple[Spread | None, str]:
    """The spread of the differences seen, with a sentence about it, or None and why."""
    given = np.asarray(differences, dtype=np.float64)
    d = given[np.isfinite(given)]
    scale = "sizes are in standard deviations (sd) of the paired differences"
    if len(d) < 2:
        return None, f"No spread is known yet (it takes 2 paired differences or more): {scale}."
    if estimates.all_identical(d):
        return (
            None,
            f"All {len(d)} paired differences are identical, so they give no spread: {scale}.",
        )
    sd = float(np.std(d, ddof=1))
    spread = Spread(len(d), sd, estimates.sd_upper_limit(sd, len(d)))
    failed = len(given) - len(d)
    lost = f"; {wording.count(failed, f'failed {unit}')} left out" if failed else ""
    return spread, (
        f"Spread of the paired differences: sd {_size(spread.sd)} from "
        f"{wording.count(len(d), unit)}, upper 80 % limit {_size(spread.sd_upper)}{lost}."
    )


@dataclass(frozen=True)
class _Rule:
    alpha: float
    comparisons: int
    target: float
    fewest: int
    unit: str

    @property
    def units(self) -> str:
        return wording.plural(self.unit)

    @property
    def level(self) -> float:
        return self.alpha / self.comparisons

    @property
    def family(self) -> str:
        return wording.count(self.comparisons, "comparison")

    def allows_verdict(self, n: int) -> bool:
        reachable = paired.attainable(n, self.comparisons, self.alpha)
        return reachable and n >= FEWEST_FOR_VERDICT


def _detectable(n: int, planned: bool, spread: Spread | None, rule: _Rule) -> Detectable:
    size = power.visible_effect(n, rule.level, rule.target)
    return Detectable(
        n=n,
        size=size,
        difference=size * spread.sd if spread else None,
        difference_upper=size * spread.sd_upper if spread else None,
        attainable=rule.allows_verdict(n),
        planned=planned,
    )


def _needed(difference: float, spread: Spread, rule: _Rule) -> Needed:
    return Needed(
        difference=difference,
        size=abs(difference) / spread.sd,
        seeds=_seeds(difference / spread.sd, rule),
        seeds_upper=_seeds(difference / spread.sd_upper, rule),
    )


def _sizes(rule: _Rule) -> tuple[Needed, ...]:
    return tuple(Needed(None, size, _seeds(size, rule), None) for size in SIZES)


def _seeds(size: float, rule: _Rule) -> int | None:
    if not math.isfinite(size):
        return None
    seeds = power.seeds_to_show(size, rule.level, rule.target)
    return None if seeds is None else max(seeds, rule.fewest)


def _shown(planned: int, table: Sequence[Detectable], rule: _Rule) -> list[str]:
    """What the study's own number of seeds can show."""
    if planned < 2:
        return [f"{wording.count(planned, rule.unit)}: differences are listed, nothing is tested."]
    row = next(row for row in table if row.planned)
    sentences = [
        f"With {planned} {rule.units} and {rule.family} (at {rule.alpha:g}/"
        f"{rule.comparisons}), a true difference of {_difference(row)} is seen with "
        f"{wording.percent(rule.target)} power."
    ]
    if not row.attainable:
        sentences.append(
            f"Whatever the difference, {planned} {rule.units} give no verdict beyond a suggestion "
            f"for {rule.family}; {rule.fewest} {rule.units} can."
        )
    if power.unanimous_effect(planned, rule.level) is not None:
        sentences.append(
            f"The exact test rejects only if all {planned} {rule.units} agree in sign."
        )
    return sentences


def _difference(row: Detectable) -> str:
    if row.difference is None or row.difference_upper is None:
        return f"{row.size:.2f} sd"
    return (
        f"{_size(row.difference)} ({_size(row.difference_upper)} at the upper limit of the spread)"
    )


def _wanted(
    differences: Sequence[float], needed: Sequence[Needed], spread: Spread | None, rule: _Rule
) -> list[str]:
    """The seeds that the wanted differences need."""
    if spread is None:
        listed = ", ".join(f"{_count(row.seeds)} for {row.size:g} sd" for row in needed)
        sentences = [f"{wording.begin(rule.units)} needed for {rule.family}: {listed}."]
        if differences:
            sentences.append(
                f"How many {rule.units} a difference in metric units needs is known only once a "
                "spread is."
            )
        return sentences
    return [
        f"A true difference of {_size(abs(row.difference or 0.0))} needs {_count(row.seeds)} "
        f"{rule.units}, {_count(row.seeds_upper)} at the upper limit of the spread."
        for row in needed
    ]


def _count(seeds: int | None) -> str:
    return f"more than {power.MOST_SEEDS:,}" if seeds is None else f"{seeds:,}"


def _size(value: float) -> str:
    """Three significant digits: a spread may be far below the four decimals of a score."""
    return f"{value:.3g}"
