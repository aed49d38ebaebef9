"""The one result object: what every rendering of a study reads.

`analyse` turns a `StudyRecord` into an `Analysis`; tables, report and figures compute nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from analysis.metrics import Metric, ReadoutMetric, find_metric
from analysis.one_study import bounds, notes, pairing, published, searches, trajectories
from analysis.one_study.published import PublishedRow
from analysis.one_study.searches import Search, TuningRow
from analysis.one_study.trajectories import Diagnostic, MapPanel, Trajectory
from analysis.one_study.verdicts import FEWEST_FOR_VERDICT, Comparison, Rules, compare_family
from analysis.records import MethodRecord, StudyRecord, TuningRecord
from analysis.statistics import estimates, paired, pareto
from analysis.statistics.pareto import Front, Point

Item = TypeVar("Item")
END_OF_STREAM = "end_of_stream"  # the protocol that tunes on the whole stream of the study
EXPLORATORY_RESAMPLES = 9_999  # there are hundreds of exploratory tests in a large study

__all__ = [
    "Analysis",
    "Comparison",
    "Failure",
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

    `n` counts the seeds in `scores`. A method with a failed seed under the rule `error` has no mean
    and no interval: those of its survivors would flatter it. `memory_samples` is how many raw
    samples with labels take as much as its memory (None: unknown).
    """

    method: str
    learner: str
    is_reference: bool
    n: int
    failed: int
    mean: float | None
    sd: float | None
    ci_low: float | None
    ci_high: float | None
    scores: dict[int, float]
    configuration: dict[str, Any]
    footprint: dict[str, int]
    memory_samples: float | None
    is_offline: bool = False  # an offline bound


@dataclass(frozen=True)
class SecondaryRow:
    """One further metric of one method: exploratory, with a false-discovery-rate q, no verdict.

    `difference` is method - reference on the seeds both have; `q` is given from 6 seeds on.
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
    """A seed that failed in the confirmation, or, without a seed, a method that has nothing to
    confirm; `counted_as` None: it blocks the verdict.
    """

    method: str
    seed: int | None
    reason: str
    counted_as: float | None


@dataclass(frozen=True)
class MemoryPoint:
    """A method's memory, in bytes and raw samples, beside its mean; whether none beats both."""

    method: str
    memory: int
    samples: float | None
    mean: float
    ci_low: float | None
    ci_high: float | None
    on_front: bool


@dataclass(frozen=True)
class Analysis:
    """Everything a report says about one study."""

    record: StudyRecord
    metric: Metric
    rules: Rules
    methods: tuple[MethodRow, ...]
    comparisons: tuple[Comparison, ...]
    tuning: tuple[TuningRow, ...]
    secondary: tuple[SecondaryRow, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    trajectories: tuple[Trajectory, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    maps: tuple[MapPanel, ...] = ()
    memory: tuple[MemoryPoint, ...] = ()
    searches: tuple[Search, ...] = ()
    fronts: tuple[Front, ...] = ()  # of sweeps with several objectives
    published: tuple[PublishedRow, ...] = ()

    @property
    def was_tuned(self) -> bool:
        """Whether methods have trials, or are to have some."""
        return any(m.tuning.trials or m.tuning.asked for m in self.record.methods)


def analyse(record: StudyRecord) -> Analysis:
    """Judge a study: estimates, the family's tests, tuning fairness, and what to know beside them.

    The family is the reference against each other method, on the primary metric. Odd data (no
    confirmation yet, failed or missing seeds, one method, an absent reference) give empty fields
    and a note; an unknown metric or failure rule is a `ValueError`.
    """
    metric = find_metric(record.metric)
    record = bounds.without_transfer(bounds.with_gap(record))
    names = [m.method for m in record.methods]
    others = [m for m in record.methods if m.method != record.reference]
    direction, family = metric.higher_is_better, _family(record)
    rules = Rules(direction, record.margin, record.alpha, family, record.unit)
    pairs = []
    if record.reference in names:
        reference = record.methods[names.index(record.reference)]
        pairs = [pairing.pair(record, method, reference) for method in others]
    rows = tuple(_method_row(record, method) for method in record.methods)
    comparisons = compare_family(pairs, rules)
    return Analysis(
        record=record,
        metric=metric,
        rules=rules,
        methods=rows,
        comparisons=comparisons,
        tuning=tuple(
            searches.tuning_row(m, row.mean if _same_task(record) else None, rules.sign)
            for m, row in zip(record.methods, rows, strict=True)
        ),
        secondary=_secondary(record, comparisons),
        failures=tuple(_failures(record)),
        notes=tuple(notes.write(record, comparisons, rules)),
        trajectories=_some(trajectories.trajectory(m, rules.confidence) for m in record.methods),
        diagnostics=tuple(
            row for m in record.methods for row in trajectories.diagnostics(m, rules.confidence)
        ),
        maps=tuple(panel for m in record.methods for panel in trajectories.map_panels(m)),
        memory=_memory(rows, rules),
        searches=_some(searches.search(m, rules.sign) for m in record.methods),
        fronts=_fronts(record),
        published=published.compare(record),
    )


def _same_task(record: StudyRecord) -> bool:
    """Whether the sweeps reach for what the confirmation measures."""
    return record.protocol == END_OF_STREAM


def _family(record: StudyRecord) -> int:
    """Number of comparisons: a method that was planned and left out keeps its place in Holm."""
    names = {*record.planned_methods, *(m.method for m in record.methods)}
    return len(names - {record.reference}) or 1


def _some(items: Iterable[Item | None]) -> tuple[Item, ...]:
    return tuple(item for item in items if item is not None)


def _memory(rows: tuple[MethodRow, ...], rules: Rules) -> tuple[MemoryPoint, ...]:
    """The methods by bytes of memory and mean; the offline bound holds all data and is one too."""
    known = [(row, row.mean) for row in rows if row.mean is not None and "memory" in row.footprint]
    losses = [[row.footprint["memory"], -rules.sign * mean] for row, mean in known]
    beaten = pareto.dominated(np.array(losses, dtype=float).reshape(len(known), 2))
    return tuple(
        MemoryPoint(
            row.method,
            row.footprint["memory"],
            row.memory_samples,
            mean,
            row.ci_low,
            row.ci_high,
            not worse,
        )
        for (row, mean), worse in zip(known, beaten, strict=True)
    )


def _fronts(record: StudyRecord) -> tuple[Front, ...]:
    if len(record.objectives) < 2:
        return ()
    trials = {
        method.method: [
            Point(trial.number, trial.values)
            for trial in method.tuning.history
            if trial.state == "complete"
        ]
        for method in record.methods
    }
    return pareto.study_fronts(trials, record.directions)


def _method_row(record: StudyRecord, method: MethodRecord) -> MethodRow:
    scores = pairing.usable_scores(record, method)
    failed = len(method.failed_seeds)
    whole = record.failed_rule == "worst" or not failed
    size = record.sample_bytes
    known = size > 0 and "memory" in method.footprint
    estimate = estimates.estimate(np.array(list(scores.values()), dtype=float), 1 - record.alpha)
    return MethodRow(
        method=method.method,
        learner=method.learner,
        is_reference=method.method == record.reference,
        n=len(scores),
        failed=failed,
        mean=estimate.mean if whole else None,
        sd=estimate.sd if whole else None,
        ci_low=estimate.ci_low if whole else None,
        ci_high=estimate.ci_high if whole else None,
        scores=scores,
        configuration=method.configuration,
        footprint=method.footprint,
        memory_samples=method.footprint["memory"] / size if known else None,
        is_offline=method.offline,
    )


def _failures(record: StudyRecord) -> list[Failure]:
    counted = pairing.worst_score(record) if record.failed_rule == "worst" else None
    seeds = [
        Failure(method.method, seed, reason, counted)
        for method in record.methods
        for seed, reason in method.failed_seeds.items()
    ]
    over = [m for m in record.methods if m.unconfirmed and m.tuning.trials >= m.tuning.asked]
    return seeds + [Failure(method.method, None, method.unconfirmed, None) for method in over]


def _secondary(
    record: StudyRecord, comparisons: tuple[Comparison, ...]
) -> tuple[SecondaryRow, ...]:
    reference = next((m for m in record.methods if m.method == record.reference), None)
    judged = {c.method for c in comparisons if not c.refusal}
    rows = [
        _secondary_row(method, metric, reference if method.method in judged else None)
        for method in record.methods
        for metric in method.other_metrics
        if metric != ReadoutMetric(record.metric)
    ]
    adjusted = paired.benjamini_hochberg([row.p_exact for row in rows])
    return tuple(replace(row, q=q) for row, q in zip(rows, adjusted, strict=True))


def _secondary_row(
    method: MethodRecord, metric: ReadoutMetric, reference: MethodRecord | None
) -> SecondaryRow:
    scores = method.other_metrics[metric]
    theirs = reference.other_metrics.get(metric, {}) if reference else {}
    finite = [x for x in scores.values() if math.isfinite(x)]
    # a failed seed is never averaged away
    whole = len(finite) == len(scores) and not method.failed_seeds
    estimate = estimates.estimate(np.array(finite, dtype=float))
    shared = sorted(set(scores) & set(theirs))
    d = estimates.paired_differences(
        *(np.array([of[s] for s in shared]) for of in (scores, theirs))
    )
    judged = whole and not (reference and reference.failed_seeds)
    usable = judged and len(d) > 0 and bool(np.all(np.isfinite(d)))
    enough = usable and len(d) >= FEWEST_FOR_VERDICT and bool(d.any())
    # the same hypothesis must not count twice
    testable = enough and reference and not _repeats(metric, (method, reference))
    return SecondaryRow(
        method=method.method,
        metric=metric,
        n=len(finite),
        mean=estimate.mean if whole else None,
        sd=estimate.sd if whole else None,
        difference=float(np.mean(d)) if usable else None,
        p_exact=paired.sign_flip_p(d, EXPLORATORY_RESAMPLES) if testable else None,
        q=None,
    )


def _repeats(metric: ReadoutMetric, methods: tuple[MethodRecord, MethodRecord]) -> bool:
    """Whether a metric tells of both methods what the primary one or one before it does.

    `cl_gap` is average accuracy on another scale; pooled accuracy is average accuracy where tasks
    are of one size, and has the same scores there.
    """
    if metric == bounds.GAP:
        return True
    names = list(methods[0].other_metrics)
    mine = [_rounded(m.other_metrics.get(metric, {})) for m in methods]
    before = [[_rounded(m.scores) for m in methods]] + [
        [_rounded(m.other_metrics.get(name, {})) for m in methods]
        for name in names[: names.index(metric)]
    ]
    return mine in before


def _rounded(scores: Mapping[int, float]) -> dict[int, float]:
    return {seed: round(score, estimates.DECIMALS) for seed, score in scores.items()}
