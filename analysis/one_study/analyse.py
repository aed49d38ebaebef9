"""The result of a study: `analyse` turns a `StudyRecord` into an `Analysis`.

Tables, reports and figures read the `Analysis` and compute nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from analysis.forms import Form
from analysis.metrics import Metric, ReadoutMetric, find_metric, tested_metrics
from analysis.one_study import bounds, notes, pairing, published, sweeps, trajectories
from analysis.one_study.cautions import Caution, cautions_of
from analysis.one_study.luck import TuningLuck, tuning_luck
from analysis.one_study.published import PublishedRow
from analysis.one_study.sweeps import SweepHistory, TuningRow
from analysis.one_study.trajectories import Diagnostic, MapPanel, Trajectory
from analysis.one_study.verdicts import (
    FEWEST_FOR_VERDICT,
    Comparison,
    Rules,
    compare_family,
    rules_of,
)
from analysis.records import MethodRecord, StudyRecord, TuningRecord
from analysis.statistics import estimates, paired, pareto
from analysis.statistics.pareto import Front, Point

Item = TypeVar("Item")
# places of a method's mean among those of methods that hold as many bytes or fewer
ON_THE_FRONT = "on the front"  # its interval is better than each of theirs
DOMINATED = "dominated"  # one of their intervals is better
UNDECIDED = "undecided"
END_OF_STREAM = "end_of_stream"  # the protocol that tunes on the whole stream of the study
EXPLORATORY_RESAMPLES = 9_999  # fewer, because a large study has hundreds of exploratory tests

__all__ = [
    "Analysis",
    "Comparison",
    "Failure",
    "Gap",
    "MemoryPoint",
    "MethodRecord",
    "MethodRow",
    "Rules",
    "SecondaryRow",
    "StudyRecord",
    "TuningRecord",
    "TuningRow",
    "analyse",
]


@dataclass(frozen=True)
class MethodRow:
    """One method's primary metric over its confirmation seeds.

    `n` is the number of seeds in `scores`. Under the rule `error` a method with a failed seed has
    no mean and no interval: a mean over the surviving seeds would flatter the method. Under the
    rule `worst` each failed seed counts as `counted_as`: the method has a mean, which ranks it, and
    no standard deviation and no interval, because both would describe that number.
    `memory_samples` is the number of raw samples with labels that take as many bytes as the memory
    (None: unknown).
    """

    method: str
    learner: str
    is_reference: bool
    n: int
    failed: int
    counted_as: float | None  # None: no failed seed, or the failed seeds block the verdict
    mean: float | None
    sd: float | None
    ci_low: float | None
    ci_high: float | None
    scores: dict[int, float]
    configuration: dict[str, Any]
    footprint: dict[str, int]
    memory_samples: float | None
    seconds: float | None = None  # of training, for each seed
    is_offline: bool = False  # an offline bound

    @property
    def held(self) -> int | None:
        """Bytes that the method holds beside its network; None if they are not known."""
        if "memory" not in self.footprint:
            return None
        return sum(size for kind, size in self.footprint.items() if kind != "parameters")


@dataclass(frozen=True)
class SecondaryRow:
    """A secondary metric of one method: exploratory, without a verdict.

    `difference` is method - reference on the shared seeds. `q` is a false-discovery-rate q of the
    metrics in `tested_metrics`; it needs 6 seeds. All other metrics are listed without a test.
    """

    method: str
    metric: ReadoutMetric
    n: int
    mean: float | None
    sd: float | None
    difference: float | None
    p_exact: float | None
    q: float | None


@dataclass(frozen=True)
class Failure:
    """A failed confirmation seed; with `seed` None, a method without a configuration to confirm.

    `counted_as` is the score of the failed seed; None: the failure blocks the verdict.
    """

    method: str
    seed: int | None
    reason: str
    configuration: dict[str, Any]  # empty without one
    counted_as: float | None


@dataclass(frozen=True)
class Gap:
    """The distance of a method from an offline bound: bound - method, with its t-interval.

    A gap is an estimate and no claim: nothing is tested, and the interval is that of this gap by
    itself. `difference` is None if the seeds of the two cannot be compared. There is no interval
    where failed seeds count as the worst score.
    """

    bound: str
    method: str
    n: int
    difference: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class MemoryPoint:
    """What a method holds beside its network at the end of the stream, and its mean primary metric.

    `held` counts everything, in bytes: past data, importances, teachers, features. `memory` is the
    part of past data, `samples` the number of raw samples of the same size. `place` is the method's
    place among those that hold as much or less.
    """

    method: str
    held: int
    memory: int
    samples: float | None
    mean: float
    ci_low: float | None
    ci_high: float | None
    place: str


@dataclass(frozen=True)
class Analysis:
    """The complete content of a report about one study."""

    record: StudyRecord
    metric: Metric
    rules: Rules
    methods: tuple[MethodRow, ...]
    comparisons: tuple[Comparison, ...]
    gaps: tuple[Gap, ...]
    tuning: tuple[TuningRow, ...]
    secondary: tuple[SecondaryRow, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    cautions: tuple[Caution, ...] = ()
    trajectories: tuple[Trajectory, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    maps: tuple[MapPanel, ...] = ()
    memory: tuple[MemoryPoint, ...] = ()
    searches: tuple[SweepHistory, ...] = ()
    fronts: tuple[Front, ...] = ()  # of sweeps with several objectives
    published: tuple[PublishedRow, ...] = ()
    luck: TuningLuck = field(default_factory=TuningLuck)

    @property
    def form(self) -> Form:
        """How values of the primary metric are written."""
        return self.record.form

    @property
    def common_reference(self) -> str | None:
        """The method that all comparisons have in common; None if they differ."""
        return self.record.common_reference

    def label(self, comparison: Comparison) -> str:
        """Return a short name of a comparison: the method, unless the references differ."""
        if self.common_reference:
            return comparison.method
        return f"{comparison.method} against {comparison.reference}"

    def score_of(self, method: str, metric: str) -> SecondaryRow | None:
        """Return a metric of a method's primary readout beside the primary metric."""
        key = ReadoutMetric(metric)
        rows = (row for row in self.secondary if (row.method, row.metric) == (method, key))
        return next(rows, None)

    @property
    def was_tuned(self) -> bool:
        """Whether any method has trials, or the study file asks for trials."""
        return any(m.tuning.trials or m.tuning.asked_trials for m in self.record.methods)


def analyse(record: StudyRecord) -> Analysis:
    """Analyse a study: estimates, the tests of the family, verdicts, tuning fairness and notes.

    The family is `StudyRecord.family`, on the primary metric. Incomplete data (no confirmation yet,
    failed or missing seeds, one method, an absent reference) give empty fields and a note. Raises
    `ValueError` for an unknown metric or failure rule.
    """
    metric = find_metric(record.metric)
    record = bounds.without_transfer(bounds.with_gap(record))
    rules = rules_of(
        record.metric,
        (*record.family, *record.planned_comparisons),
        margin=record.margin,
        alpha=record.alpha,
        stop=record.stop,
        unit=record.unit,
        form=record.form,
    )
    sides = [[pairing.find_side(record, side) for side in sides] for sides in record.family]
    pairs = [pairing.pair(record, one, other) for one, other in sides if one and other]
    rows = tuple(_method_row(record, method) for method in record.methods)
    comparisons = compare_family(pairs, rules)
    return Analysis(
        record=record,
        metric=metric,
        rules=rules,
        methods=rows,
        comparisons=comparisons,
        gaps=tuple(_gaps(record, rules)),
        tuning=tuple(
            sweeps.tuning_row(m, rules.sign, record.protocol == END_OF_STREAM)
            for m in record.methods
        ),
        secondary=_secondary(record, comparisons),
        failures=tuple(_failures(record)),
        notes=tuple(notes.notes_of(record, comparisons, rules)),
        cautions=cautions_of(record, comparisons, rules),
        trajectories=_without_none(
            trajectories.trajectory(m, rules.confidence) for m in record.methods
        ),
        diagnostics=tuple(
            row for m in record.methods for row in trajectories.diagnostics(m, rules.confidence)
        ),
        maps=tuple(panel for m in record.methods for panel in trajectories.map_panels(m)),
        memory=_memory(rows, rules),
        searches=_without_none(sweeps.sweep_history(m, rules.sign) for m in record.methods),
        fronts=_fronts(record),
        published=published.compare(record),
        luck=tuning_luck(record, comparisons, rules),
    )


def _without_none(items: Iterable[Item | None]) -> tuple[Item, ...]:
    return tuple(item for item in items if item is not None)


def _gaps(record: StudyRecord, rules: Rules) -> Iterator[Gap]:
    """Yield the distance of each competitor from each offline bound."""
    for bound in (m for m in record.methods if m.offline):
        for method in (m for m in record.methods if not m.offline):
            if {bound.method, method.method} in map(set, record.family):
                continue  # tested, because the study file says so
            pair = pairing.pair(record, bound, method)
            d = estimates.paired_differences(
                np.array(pair.method_scores), np.array(pair.reference_scores)
            )
            gap = estimates.estimate(d if not pair.refusal else d[:0], rules.confidence)
            low, high = (None, None) if pair.imputed else (gap.ci_low, gap.ci_high)
            yield Gap(bound.method, method.method, gap.n, gap.mean, low, high)


def _memory(rows: tuple[MethodRow, ...], rules: Rules) -> tuple[MemoryPoint, ...]:
    """Return what each method holds and its mean; the offline bound, which holds all data, too."""
    known = [
        (row, row.mean, row.held) for row in rows if row.mean is not None and row.held is not None
    ]
    points = [
        MemoryPoint(
            method=row.method,
            held=held,
            memory=row.footprint["memory"],
            samples=row.memory_samples,
            mean=mean,
            ci_low=row.ci_low,
            ci_high=row.ci_high,
            place=UNDECIDED,
        )
        for row, mean, held in known
    ]
    return tuple(replace(point, place=_place(point, points, rules.sign)) for point in points)


def _place(point: MemoryPoint, points: Sequence[MemoryPoint], sign: int) -> str:
    """Return a point's place: only intervals that do not overlap decide."""
    others = [p for p in points if p is not point and p.held <= point.held]
    clear = [_is_better(point, other, sign) for other in others]
    if any(_is_better(other, point, sign) for other in others):
        return DOMINATED
    return ON_THE_FRONT if all(clear) else UNDECIDED


def _is_better(one: MemoryPoint, other: MemoryPoint, sign: int) -> bool:
    """Return whether the whole interval of one mean is better than the other's."""
    if None in (one.ci_low, one.ci_high, other.ci_low, other.ci_high):
        return False
    ends = [sorted(sign * end for end in (p.ci_low or 0.0, p.ci_high or 0.0)) for p in (one, other)]
    return ends[0][0] > ends[1][1]


def _fronts(record: StudyRecord) -> tuple[Front, ...]:
    if len(record.objectives) < 2:
        return ()
    trials = {
        method.method: [
            Point(trial.number, trial.values)
            for trial in method.tuning.history
            if trial.state == "complete" and trial.feasible
        ]
        for method in record.methods
    }
    return pareto.study_fronts(trials, record.directions)


def _method_row(record: StudyRecord, method: MethodRecord) -> MethodRow:
    scores = pairing.usable_scores(record, method)
    failed, counted_as = len(method.failed_seeds), pairing.imputed_score(record, method)
    is_ranked = not failed or counted_as is not None
    size = record.sample_bytes
    has_size = size > 0 and "memory" in method.footprint
    estimate = estimates.estimate(np.array(list(scores.values()), dtype=float), 1 - record.alpha)
    return MethodRow(
        method=method.method,
        learner=method.learner,
        is_reference=method.method == record.reference,
        n=len(scores),
        failed=failed,
        counted_as=counted_as,
        mean=estimate.mean if is_ranked else None,
        sd=None if failed else estimate.sd,
        ci_low=None if failed else estimate.ci_low,
        ci_high=None if failed else estimate.ci_high,
        scores=scores,
        configuration=method.configuration,
        footprint=method.footprint,
        memory_samples=method.footprint["memory"] / size if has_size else None,
        seconds=method.seconds,
        is_offline=method.offline,
    )


def _failures(record: StudyRecord) -> list[Failure]:
    failed_seeds = [
        Failure(m.method, seed, reason, m.configuration, pairing.imputed_score(record, m))
        for m in record.methods
        for seed, reason in m.failed_seeds.items()
    ]
    failed_methods = [
        Failure(method.method, None, method.unconfirmed, {}, None)
        for method in record.methods
        if method.unconfirmed and method.tuning.trials >= method.tuning.asked_trials
    ]
    return failed_seeds + failed_methods


def _secondary(
    record: StudyRecord, comparisons: tuple[Comparison, ...]
) -> tuple[SecondaryRow, ...]:
    reference_name = record.common_reference or record.reference
    reference = next((m for m in record.methods if m.method == reference_name), None)
    judged = {c.method for c in comparisons if c.reference == reference_name and not c.refusal}
    tested = set(map(ReadoutMetric, tested_metrics(record.metric)))
    rows = [
        _secondary_row(
            method, metric, reference if method.method in judged else None, metric in tested
        )
        for method in record.methods
        for metric in method.other_metrics
        if metric != ReadoutMetric(record.metric)
    ]
    adjusted = paired.benjamini_hochberg([row.p_exact for row in rows])
    return tuple(replace(row, q=q) for row, q in zip(rows, adjusted, strict=True))


def _secondary_row(
    method: MethodRecord, metric: ReadoutMetric, reference: MethodRecord | None, is_tested: bool
) -> SecondaryRow:
    scores = method.other_metrics[metric]
    reference_scores = reference.other_metrics.get(metric, {}) if reference else {}
    finite = [x for x in scores.values() if math.isfinite(x)]
    # no mean over the surviving seeds of a method with a failed seed
    complete = len(finite) == len(scores) and not method.failed_seeds
    estimate = estimates.estimate(np.array(finite, dtype=float))
    shared = sorted(set(scores) & set(reference_scores))
    d = estimates.paired_differences(
        np.array([scores[seed] for seed in shared]),
        np.array([reference_scores[seed] for seed in shared]),
    )
    comparable = complete and not (reference and reference.failed_seeds)
    usable = comparable and len(d) > 0 and bool(np.all(np.isfinite(d)))
    enough = usable and len(d) >= FEWEST_FOR_VERDICT and bool(d.any())
    # the same hypothesis must not count twice
    testable = is_tested and enough and reference and not _is_primary(metric, (method, reference))
    return SecondaryRow(
        method=method.method,
        metric=metric,
        n=len(finite),
        mean=estimate.mean if complete else None,
        sd=estimate.sd if complete else None,
        difference=float(np.mean(d)) if usable else None,
        p_exact=paired.sign_flip_p(d, EXPLORATORY_RESAMPLES) if testable else None,
        q=None,
    )


def _is_primary(metric: ReadoutMetric, methods: tuple[MethodRecord, MethodRecord]) -> bool:
    """Return whether both methods have the scores of the primary metric under another name.

    Pooled accuracy equals average accuracy where all tasks have the same size, for example.
    """
    return all(_rounded(m.other_metrics.get(metric, {})) == _rounded(m.scores) for m in methods)


def _rounded(scores: Mapping[int, float]) -> dict[int, float]:
    return {seed: round(score, estimates.DECIMALS) for seed, score in scores.items()}
