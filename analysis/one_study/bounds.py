"""The two bounds of continual learning, and where a method stands between them.

The upper bound trains on all tasks at once, the lower one on one after the other without a defence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from analysis.records import MethodRecord, StudyRecord
from analysis.statistics.estimates import SMALLEST_DIFFERENCE

OFFLINE, NAIVE = "joint", "finetune"  # the learners that are the bounds
GAP = "cl_gap"
_METRIC = "average_accuracy"
TRANSFER = (  # metrics of what happens to a task while others are learnt
    *("average_incremental_accuracy", "learning_accuracy", "retention_ratio"),
    *("backward_transfer", "forward_transfer", "forgetting"),
    *("min_accuracy", "worst_case_accuracy"),
)


def without_transfer(record: StudyRecord) -> StudyRecord:
    """The study without metrics of transfer for methods that were given all tasks at once."""
    return replace(record, methods=[_still(m) if m.offline else m for m in record.methods])


def _still(method: MethodRecord) -> MethodRecord:
    kept = {
        name: values
        for name, values in method.other_metrics.items()
        if name.partition(" [")[0] not in TRANSFER
    }
    return replace(method, other_metrics=kept)


def with_gap(record: StudyRecord) -> StudyRecord:
    """The study with the metric `cl_gap` of each method, where it has both bounds.

    (ACC_joint - ACC) / (ACC_joint - ACC_finetune) of each seed: 0 is as good as joint training, 1
    as bad as naive fine-tuning; undefined on a seed where the two agree, or where one failed.
    """
    first = {m.learner: _accuracies(m, record) for m in reversed(record.methods)}
    if not first.get(OFFLINE) or not first.get(NAIVE):
        return record
    methods = [
        m if m.learner in (OFFLINE, NAIVE) else _measured(m, record, first[OFFLINE], first[NAIVE])
        for m in record.methods
    ]
    return replace(record, methods=methods)


def _measured(
    method: MethodRecord,
    record: StudyRecord,
    upper: Mapping[int, float],
    lower: Mapping[int, float],
) -> MethodRecord:
    gaps = {
        seed: _gap(x, upper.get(seed, math.nan), lower.get(seed, math.nan))
        for seed, x in _accuracies(method, record).items()
    }
    return replace(method, other_metrics={**method.other_metrics, GAP: gaps})


def _gap(accuracy: float, upper: float, lower: float) -> float:
    room = upper - lower
    return (upper - accuracy) / room if abs(room) >= SMALLEST_DIFFERENCE else math.nan


def _accuracies(method: MethodRecord, record: StudyRecord) -> Mapping[int, float]:
    if record.metric == _METRIC:
        return method.scores
    return method.other_metrics.get(_METRIC, {})
