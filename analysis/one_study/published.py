"""Published figures beside ours: reproduced, not reproduced, or not comparable.

A figure is reproduced when the published mean lies in our t-interval, widened on both sides by half
the published interval where its standard deviation and number of runs are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis import wording
from analysis.metrics import METRICS, ReadoutMetric
from analysis.records import MethodRecord, PublishedRecord, StudyRecord
from analysis.statistics import estimates

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class PublishedRow:
    """A published figure, what was measured under the same definition, and the verdict."""

    method: str
    metric: ReadoutMetric
    published: float
    published_sd: float | None
    published_n: int | None
    source: str
    n: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    verdict: str
    reason: str


def compare(study: StudyRecord) -> tuple[PublishedRow, ...]:
    """Every published figure of a study beside the measured one."""
    methods = {method.method: method for method in study.methods}
    return tuple(_row(given, methods.get(given.method), study) for given in study.published)


def _row(given: PublishedRecord, method: MethodRecord | None, study: StudyRecord) -> PublishedRow:
    scores = _scores(given, method, study)
    confidence = 1 - study.alpha
    estimate = estimates.estimate(np.array(list(scores.values()), dtype=float), confidence)
    half = _half_width(estimate.sd, estimate.n, confidence)
    low = high = None
    if half is not None and estimate.mean is not None:
        half += _half_width(given.sd, given.n, confidence) or 0.0
        low, high = estimate.mean - half, estimate.mean + half
    verdict, reason = _verdict(given, method, (low, high), study.unit)
    return PublishedRow(
        method=given.method,
        metric=given.metric,
        published=given.mean,
        published_sd=given.sd,
        published_n=given.n,
        source=given.source,
        n=estimate.n,
        mean=estimate.mean,
        sd=estimate.sd,
        low=low,
        high=high,
        verdict=verdict,
        reason=reason,
    )


def _scores(
    given: PublishedRecord, method: MethodRecord | None, study: StudyRecord
) -> dict[int, float]:
    if method is None or method.failed_seeds:
        return {}
    if given.metric == ReadoutMetric(study.metric):
        return method.scores
    return method.other_metrics.get(given.metric, {})


def _half_width(sd: float | None, n: int | None, confidence: float) -> float | None:
    """Half of a t-interval; 0 where the runs do not vary, None where they are too few."""
    if sd is None or n is None or n < estimates.FEWEST_FOR_INTERVAL:
        return None
    return float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / math.sqrt(n)


def _verdict(
    given: PublishedRecord,
    method: MethodRecord | None,
    widened: tuple[float | None, float | None],
    unit: str,
) -> tuple[str, str]:
    low, high = widened
    if given.incomparable:
        return NOT_COMPARABLE, given.incomparable
    if method is None:
        return NOT_COMPARABLE, "the study has no such method"
    if method.unconfirmed:
        return NOT_COMPARABLE, method.unconfirmed
    if not method.attempted:
        return NOT_COMPARABLE, "nothing has been confirmed yet"
    if method.offline and METRICS[given.metric.metric].transfer:
        return NOT_COMPARABLE, "an offline bound has no such metric"
    if method.failed_seeds:
        return NOT_COMPARABLE, f"{wording.count(len(method.failed_seeds), unit)} failed"
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return NOT_COMPARABLE, "no interval was measured for this metric"
    where = f"the widened interval is {wording.interval(low, high)}"
    outside = max(low - given.mean, given.mean - high)
    return (NOT_REPRODUCED if outside >= estimates.SMALLEST_DIFFERENCE else REPRODUCED), where
