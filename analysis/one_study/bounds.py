"""The two bounds of continual learning, and where a method stands between them.

The upper bound trains on all tasks at once, the lower one on one after the other without a defence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from analysis.metrics import METRICS, ReadoutMetric, cl_gap
from analysis.records import MethodRecord, StudyRecord
from analysis.statistics.estimates import SMALLEST_DIFFERENCE

GAP, ACCURACY = ReadoutMetric("cl_gap"), ReadoutMetric("average_accuracy")


def without_transfer(record: StudyRecord) -> StudyRecord:
    """The study without metrics of transfer for methods that were given all tasks at once."""
    return replace(
        record, methods=[_without_transfer(m) if m.offline else m for m in record.methods]
    )


def with_gap(record: StudyRecord) -> StudyRecord:
    """The study with the metric `cl_gap` of each method, where it has both bounds.

    It is undefined on a seed where the bounds agree, or where one failed.
    """
    first = {m.bound: _accuracies(m, record) for m in reversed(record.methods)}
    upper, lower = first.get("upper"), first.get("lower")
    if not upper or not lower:
        return record
    methods = [m if m.bound else _with_gap(m, record, upper, lower) for m in record.methods]
    return replace(record, methods=methods)


def _without_transfer(method: MethodRecord) -> MethodRecord:
    kept = {
        of: scores for of, scores in method.other_metrics.items() if not METRICS[of.metric].transfer
    }
    return replace(method, other_metrics=kept)


def _with_gap(
    method: MethodRecord,
    record: StudyRecord,
    upper: Mapping[int, float],
    lower: Mapping[int, float],
) -> MethodRecord:
    scores = _accuracies(method, record)
    best, worst = (
        np.array([bound.get(seed, math.nan) for seed in scores]) for bound in (upper, lower)
    )
    worst[abs(best - worst) < SMALLEST_DIFFERENCE] = math.nan
    gaps = cl_gap(np.array(list(scores.values())), best, worst)
    found = dict(zip(scores, gaps.tolist(), strict=True))
    return replace(method, other_metrics={**method.other_metrics, GAP: found})


def _accuracies(method: MethodRecord, record: StudyRecord) -> Mapping[int, float]:
    if record.metric == ACCURACY.metric:
        return method.scores
    return method.other_metrics.get(ACCURACY, {})
