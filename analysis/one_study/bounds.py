"""The two bounds of continual learning, and the position of each method between the bounds.

The upper bound trains on all tasks at once (joint training), the lower bound on one task after the
other without any measure against forgetting (naive fine-tuning).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from analysis.metrics import METRICS, ReadoutMetric, cl_gap
from analysis.records import DECIDED, MethodRecord, StudyRecord
from analysis.statistics.estimates import SMALLEST_DIFFERENCE

GAP, ACCURACY = ReadoutMetric("cl_gap"), ReadoutMetric("average_accuracy")


def without_transfer(record: StudyRecord) -> StudyRecord:
    """Return the study without metrics of transfer for the offline bounds."""
    return replace(
        record, methods=[_without_transfer(m) if m.offline else m for m in record.methods]
    )


def with_gap(record: StudyRecord) -> StudyRecord:
    """Return the study with the metric `cl_gap` of each method, if the study has both bounds.

    `cl_gap` is NaN on a seed where the bounds agree or a bound failed. The first bound of a kind
    counts.
    """
    accuracies = {m.bound: _accuracies(m, record) for m in reversed(record.methods)}
    upper, lower = accuracies.get("upper"), accuracies.get("lower")
    if not upper or not lower:
        return record
    methods = [m if m.bound else _with_gap(m, record, upper, lower) for m in record.methods]
    return replace(record, methods=methods)


def _without_transfer(method: MethodRecord) -> MethodRecord:
    other_metrics = {
        key: scores
        for key, scores in method.other_metrics.items()
        if not METRICS[key.metric].transfer
    }
    return replace(method, other_metrics=other_metrics)


def _with_gap(
    method: MethodRecord,
    record: StudyRecord,
    upper: Mapping[int, float],
    lower: Mapping[int, float],
) -> MethodRecord:
    scores = _accuracies(method, record)
    if record.stop == DECIDED:  # bounds run the first seeds alone
        scores = {seed: x for seed, x in scores.items() if seed in upper and seed in lower}
    best = np.array([upper.get(seed, math.nan) for seed in scores])
    worst = np.array([lower.get(seed, math.nan) for seed in scores])
    worst[abs(best - worst) < SMALLEST_DIFFERENCE] = math.nan
    gaps = cl_gap(np.array(list(scores.values())), best, worst)
    gap_by_seed = dict(zip(scores, gaps.tolist(), strict=True))
    return replace(method, other_metrics={**method.other_metrics, GAP: gap_by_seed})


def _accuracies(method: MethodRecord, record: StudyRecord) -> Mapping[int, float]:
    if record.metric == ACCURACY.metric:
        return method.scores
    return method.other_metrics.get(ACCURACY, {})
