"""How much is tuning luck: other configurations of the same sweep, and other sweeps.

The verdicts of a study are about one configuration of each method: the best one of its first sweep.
Everything here is exploratory, and belongs to no family.

Shape legend: K sweeps of a method.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.one_study import pairing
from analysis.one_study.verdicts import INCONCLUSIVE, NO_VERDICT, Comparison, Rules, compare_family
from analysis.records import AlternativeRecord, MethodRecord, StudyRecord, methods_of
from analysis.statistics.components import one_way
from analysis.statistics.estimates import Estimate, estimate

FEWEST_SWEEPS = 2  # for an interval whose unit is the sweep


@dataclass(frozen=True)
class Choice:
    """A comparison, with the chosen configurations or with another one of one of the two methods.

    The verdict of another one is what the verdict would have been. `method` has the other
    configuration, which is that of `trial`, with `value` in the sweep; None: both have the chosen.
    """

    comparison: Comparison
    method: str | None = None
    trial: int | None = None
    value: float | None = None
    changed: bool = False  # whether the verdict is another one than that of the study


@dataclass(frozen=True)
class VarianceSplit:
    """The scores of a method over K independent sweeps, split into sweeps and seeds.

    `mean` is that over the sweeps with its t-interval, whose unit is the sweep. `sd_sweeps` is the
    standard deviation between sweeps without the part of the seeds, `sd_seeds` that between the
    seeds of a sweep, `share` the part of the sweeps in the variance of a score. There are no
    numbers if any sweep has failed, or a seed of it: a mean over the others would flatter the
    method.
    """

    method: str
    sweeps: int  # with confirmed seeds
    seeds: int  # of all sweeps
    failed: int  # sweeps with a failed seed, or without a configuration to confirm
    means: tuple[float, ...] = ()
    mean: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    sd_sweeps: float | None = None
    sd_seeds: float | None = None
    share: float | None = None


@dataclass(frozen=True)
class RepeatedComparison:
    """A comparison over K sweeps: the mean difference with its t-interval, whose unit is the sweep.

    `verdicts` are those that each sweep by itself would give. There is no difference if that of any
    sweep is missing, and no interval where failed seeds count as a score.
    """

    method: str
    reference: str
    verdicts: tuple[str, ...]
    difference: float | None
    ci_low: float | None
    ci_high: float | None

    @property
    def sweeps(self) -> int:
        """Number of sweeps that both methods have begun to confirm."""
        return len(self.verdicts)

    @property
    def counts(self) -> str:
        """How many sweeps give each verdict, such as `worse in 2 of 3, inconclusive in 1 of 3`."""
        counted = Counter(self.verdicts).most_common()
        return ", ".join(f"{verdict} in {n} of {self.sweeps}" for verdict, n in counted)


@dataclass(frozen=True)
class TuningLuck:
    """What other choices would have given; empty unless the study file asks for them."""

    choices: tuple[Choice, ...] = ()
    splits: tuple[VarianceSplit, ...] = ()
    comparisons: tuple[RepeatedComparison, ...] = ()


def tuning_luck(record: StudyRecord, comparisons: Sequence[Comparison], rules: Rules) -> TuningLuck:
    """Return what other configurations and other sweeps would have given."""
    records = (record, *record.repeats)
    if len(records) < FEWEST_SWEEPS:
        return TuningLuck(choices=tuple(_choices(record, comparisons, rules)))
    return TuningLuck(
        choices=tuple(_choices(record, comparisons, rules)),
        splits=tuple(_split(records, m.method, rules) for m in record.methods),
        comparisons=tuple(_repeated(records, c, rules) for c in comparisons),
    )


def _choices(
    record: StudyRecord, comparisons: Sequence[Comparison], rules: Rules
) -> Iterator[Choice]:
    """Yield each comparison, followed by the same one with each alternative of its methods."""
    methods = {m.method: m for m in record.methods}
    for chosen in comparisons:
        others = [
            _choice(record, chosen, method, alternative, rules)
            for name in _methods_of(chosen)
            for method in [methods[name]]
            for alternative in method.alternatives
            if alternative.scores or alternative.failures
        ]
        if others:
            yield from [Choice(chosen), *others]


def _methods_of(comparison: Comparison) -> list[str]:
    return [*methods_of(comparison.method), *methods_of(comparison.reference)]


def _choice(
    record: StudyRecord,
    chosen: Comparison,
    method: MethodRecord,
    alternative: AlternativeRecord,
    rules: Rules,
) -> Choice:
    comparison = _compare(_with_alternative(record, method, alternative), chosen, rules)
    both = {chosen.verdict, comparison.verdict}
    if rules.is_anytime and comparison.verdict == INCONCLUSIVE:
        both = {INCONCLUSIVE}  # more seeds might still decide
    return Choice(
        comparison,
        method.method,
        alternative.trial,
        alternative.value,
        changed=len(both) == 2 and NO_VERDICT not in both,
    )


def _with_alternative(
    record: StudyRecord, method: MethodRecord, alternative: AlternativeRecord
) -> StudyRecord:
    """Return a study in which a method has another configuration of its sweep."""
    changed = replace(
        method,
        configuration=alternative.configuration,
        scores=alternative.scores,
        failures=alternative.failures,
        diverged={},
    )
    return replace(record, methods=[changed if m is method else m for m in record.methods])


def _compare(record: StudyRecord, comparison: Comparison, rules: Rules) -> Comparison:
    """Return a comparison with the scores of another record, by the same rules."""
    sides = [pairing.find_side(record, side) for side in (comparison.method, comparison.reference)]
    method, reference = (side for side in sides if side)
    return compare_family([pairing.pair(record, method, reference)], rules)[0]


def _split(records: Sequence[StudyRecord], method: str, rules: Rules) -> VarianceSplit:
    sweeps = [m for record in records for m in record.methods if m.method == method]
    groups = [np.array([*m.scores.values()]) for m in sweeps if m.scores]
    failed = sum(bool(m.failed_seeds) or _is_unconfirmed(m) for m in sweeps)
    counted = VarianceSplit(method, len(groups), sum(map(len, groups)), failed)
    if failed or not groups:
        return counted
    means = [float(np.mean(group)) for group in groups]
    over_sweeps, parts = _over_sweeps(means, rules), one_way(groups)
    return replace(
        counted,
        means=tuple(means),
        mean=over_sweeps.mean,
        ci_low=over_sweeps.ci_low,
        ci_high=over_sweeps.ci_high,
        sd_sweeps=parts.between if parts else None,
        sd_seeds=parts.within if parts else None,
        share=parts.share if parts else None,
    )


def _is_unconfirmed(method: MethodRecord) -> bool:
    """Return whether a whole sweep gave no configuration to confirm."""
    return bool(method.unconfirmed) and method.tuning.trials >= method.tuning.asked_trials


def _over_sweeps(values: Sequence[float], rules: Rules) -> Estimate:
    return estimate(np.array(values), rules.confidence, fewest=FEWEST_SWEEPS)


def _repeated(
    records: Sequence[StudyRecord], chosen: Comparison, rules: Rules
) -> RepeatedComparison:
    names = _methods_of(chosen)
    further = [
        _compare(record, chosen, rules)
        for record in records[1:]
        if all(m.attempted_seeds or _is_unconfirmed(m) for m in record.methods if m.method in names)
    ]
    comparisons = [chosen, *further]
    found = [c.difference for c in comparisons if c.difference is not None and not c.refusal]
    over_sweeps = _over_sweeps(found if len(found) == len(comparisons) else [], rules)
    has_interval = not any(c.imputed for c in comparisons)
    return RepeatedComparison(
        chosen.method,
        chosen.reference,
        verdicts=tuple(c.verdict for c in comparisons),
        difference=over_sweeps.mean,
        ci_low=over_sweeps.ci_low if has_interval else None,
        ci_high=over_sweeps.ci_high if has_interval else None,
    )
