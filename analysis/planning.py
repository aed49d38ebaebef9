"""How many seeds a study needs, and what a number of seeds can show, in the study's own units.

The spread comes from a pilot's paired differences and is itself uncertain: everything is given for
the estimate and for its upper 80 % limit (1.6 times as much at 5 seeds; Colas et al. 2018 take an
upper value too). Without a pilot, sizes are in standard deviations of the paired differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis import effects, inference, power, wording
from analysis.effects import Array
from analysis.power import TARGET_POWER
from analysis.verdicts import FEWEST_FOR_VERDICT

SEEDS = (6, 8, 10, 15, 20, 30)
SIZES = (0.5, 0.8, 1.0, 1.5, 2.0)  # in standard deviations, where there is no pilot


@dataclass(frozen=True)
class Pilot:
    """Spread of the paired differences seen so far: estimate (ddof 1) and upper 80 % limit."""

    n: int
    sd: float
    sd_upper: float


@dataclass(frozen=True)
class Detectable:
    """The smallest true difference that n seeds show with the wanted power.

    `size` is in standard deviations of the differences, at alpha / m; the others are in metric
    units, for the pilot's spread and for its upper limit.
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

    `difference` is in metric units (None without a pilot), `size` in standard deviations, `seeds`
    for the pilot's spread and `seeds_upper` for its upper limit.
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
    pilot: Pilot | None
    fewest_seeds: int  # with which a verdict is possible at all
    detectable: tuple[Detectable, ...]
    needed: tuple[Needed, ...]
    sentences: tuple[str, ...]


def plan_seeds(
    planned: int,
    comparisons: int,
    pilot: Sequence[float] | Array = (),
    differences: Sequence[float] = (),
    alpha: float = 0.05,
    target: float = TARGET_POWER,
) -> Plan:
    """What the planned seeds can show, a table over further n, and the seeds needed.

    Args:
        planned: confirmation seeds of the study.
        comparisons: size m of the family; each is tested at alpha / m (the first step of Holm).
        pilot: paired differences of one method against the reference, one per seed, in metric
            units; empty before there are any.
        differences: true differences to be shown, in metric units; need a pilot.
        alpha: two-sided level of the family.
        target: power.

    Never fewer seeds are called enough than the exact test can reach alpha with, and never fewer
    than 6. Power: see `analysis.power`.
    """
    m = max(comparisons, 1)
    spread, remark = measure_pilot(pilot)
    fewest = max(inference.seeds_for_exact_test(m, alpha), FEWEST_FOR_VERDICT)
    ns = sorted({*SEEDS, *([planned] if planned > 1 else [])})
    rule = _Rule(alpha, m, target, fewest)
    table = tuple(_detectable(n, n == planned, spread, rule) for n in ns)
    needed = tuple(_needed(d, spread, rule) for d in differences) if spread else _sizes(rule)
    sentences = [remark, *_shown(planned, table, rule), *_wanted(differences, needed, spread, rule)]
    return Plan(
        planned=planned,
        comparisons=m,
        alpha=alpha,
        power=target,
        pilot=spread,
        fewest_seeds=fewest,
        detectable=table,
        needed=needed,
        sentences=tuple(sentence for sentence in sentences if sentence),
    )


def measure_pilot(differences: Sequence[float] | Array) -> tuple[Pilot | None, str]:
    """The spread of a pilot's differences with a sentence about it, or None and why."""
    given = np.asarray(differences, dtype=np.float64)
    d = given[np.isfinite(given)]
    unit = "sizes are in standard deviations (sd) of the paired differences"
    if len(d) < 2:
        return None, f"No spread is known yet (it takes 2 pilot differences or more): {unit}."
    if effects.all_identical(d):
        return (
            None,
            f"All {len(d)} pilot differences are identical, so they give no spread: {unit}.",
        )
    sd = float(np.std(d, ddof=1))
    pilot = Pilot(len(d), sd, effects.sd_upper_limit(sd, len(d)))
    failed = len(given) - len(d)
    lost = f"; {wording.count(failed, 'failed seed')} left out" if failed else ""
    return pilot, (
        f"Spread of the paired differences: sd {_size(pilot.sd)} from {len(d)} pilot seeds, upper "
        f"80 % limit {_size(pilot.sd_upper)}{lost}."
    )


@dataclass(frozen=True)
class _Rule:
    alpha: float
    comparisons: int
    target: float
    fewest: int

    @property
    def level(self) -> float:
        return self.alpha / self.comparisons

    @property
    def family(self) -> str:
        return wording.count(self.comparisons, "comparison")

    def allows_verdict(self, n: int) -> bool:
        reachable = inference.attainable(n, self.comparisons, self.alpha)
        return reachable and n >= FEWEST_FOR_VERDICT


def _detectable(n: int, planned: bool, pilot: Pilot | None, rule: _Rule) -> Detectable:
    size = power.visible_effect(n, rule.level, rule.target)
    return Detectable(
        n=n,
        size=size,
        difference=size * pilot.sd if pilot else None,
        difference_upper=size * pilot.sd_upper if pilot else None,
        attainable=rule.allows_verdict(n),
        planned=planned,
    )


def _needed(difference: float, pilot: Pilot, rule: _Rule) -> Needed:
    return Needed(
        difference=difference,
        size=abs(difference) / pilot.sd,
        seeds=_seeds(difference / pilot.sd, rule),
        seeds_upper=_seeds(difference / pilot.sd_upper, rule),
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
        return [f"{wording.count(planned, 'seed')}: differences are listed, nothing is tested."]
    row = next(row for row in table if row.planned)
    sentences = [
        f"With {planned} seeds and {rule.family} (at {rule.alpha:g}/"
        f"{rule.comparisons}), a true difference of {_difference(row)} is seen with "
        f"{wording.percent(rule.target)} power."
    ]
    if not row.attainable:
        sentences.append(
            f"Whatever the difference, {planned} seeds give no verdict beyond a suggestion for "
            f"{rule.family}; {rule.fewest} seeds can."
        )
    if power.unanimous_effect(planned, rule.level) is not None:
        sentences.append(f"The exact test rejects only if all {planned} seeds agree in sign.")
    return sentences


def _difference(row: Detectable) -> str:
    if row.difference is None or row.difference_upper is None:
        return f"{row.size:.2f} sd"
    return (
        f"{_size(row.difference)} ({_size(row.difference_upper)} at the upper limit of the spread)"
    )


def _wanted(
    differences: Sequence[float], needed: Sequence[Needed], pilot: Pilot | None, rule: _Rule
) -> list[str]:
    """The seeds that the wanted differences need."""
    if pilot is None:
        listed = ", ".join(f"{_count(row.seeds)} for {row.size:g} sd" for row in needed)
        sentences = [f"Seeds needed for {rule.family}: {listed}."]
        if differences:
            sentences.append(
                "How many seeds a difference in metric units needs is known only after a pilot."
            )
        return sentences
    return [
        f"A true difference of {_size(abs(row.difference or 0.0))} needs {_count(row.seeds)} "
        f"seeds, {_count(row.seeds_upper)} at the upper limit of the spread."
        for row in needed
    ]


def _count(seeds: int | None) -> str:
    return f"more than {power.MOST_SEEDS:,}" if seeds is None else f"{seeds:,}"


def _size(value: float) -> str:
    """Three significant digits: a spread may be far below the four decimals of a score."""
    return f"{value:.3g}"
