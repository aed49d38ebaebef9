"""Published results against measured results: reproduced, not reproduced, or not comparable.

A result is reproduced if the published mean lies in the measured t-interval. The measured interval
is widened on both sides by half the published interval if the published standard deviation and
number of runs are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis import numbers
from analysis.metrics import METRICS, ReadoutMetric
from analysis.records import MethodRecord, PublishedRecord, StudyRecord
from analysis.statistics import estimates

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class PublishedRow:
    """A published result, the measured result of the same metric, and the verdict."""

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
    """Return a row for every published result of a study."""
    methods = {method.method: method for method in study.methods}
    return tuple(_row(result, methods.get(result.method), study) for result in study.published)


def _row(result: PublishedRecord, method: MethodRecord | None, study: StudyRecord) -> PublishedRow:
    scores = _scores(result, method, study)
    confidence = 1 - study.alpha
    estimate = estimates.estimate(np.array(list(scores.values()), dtype=float), confidence)
    half = _half_width(estimate.sd, estimate.n, confidence)
    low = high = None
    if half is not None and estimate.mean is not None:
        half += _half_width(result.sd, result.n, confidence) or 0.0
        low, high = estimate.mean - half, estimate.mean + half
    verdict, reason = _verdict(result, method, (low, high), study.unit)
    return PublishedRow(
        method=result.method,
        metric=result.metric,
        published=result.mean,
        published_sd=result.sd,
        published_n=result.n,
        source=result.source,
        n=estimate.n,
        mean=estimate.mean,
        sd=estimate.sd,
        low=low,
        high=high,
        verdict=verdict,
        reason=reason,
    )


def _scores(
    result: PublishedRecord, method: MethodRecord | None, study: StudyRecord
) -> dict[int, float]:
    """Return the measured scores of the published metric by seed; empty with a failed seed."""
    if method is None or method.failed_seeds:
        return {}
    if result.metric == ReadoutMetric(study.metric):
        return method.scores
    return method.other_metrics.get(result.metric, {})


def _half_width(sd: float | None, n: int | None, confidence: float) -> float | None:
    """Return half the width of a t-interval: 0 for identical runs, None for too few runs."""
    if sd is None or n is None or n < estimates.FEWEST_FOR_INTERVAL:
        return None
    return float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / math.sqrt(n)


def _verdict(
    result: PublishedRecord,
    method: MethodRecord | None,
    widened_interval: tuple[float | None, float | None],
    unit: str,
) -> tuple[str, str]:
    """Return the verdict and the reason for the verdict."""
    low, high = widened_interval
    if result.incomparable:
        return NOT_COMPARABLE, result.incomparable
    if method is None:
        return NOT_COMPARABLE, "the study has no such method"
    if method.unconfirmed:
        return NOT_COMPARABLE, method.unconfirmed
    if not method.attempted_seeds:
        return NOT_COMPARABLE, "nothing has been confirmed yet"
    if method.offline and METRICS[result.metric.metric].transfer:
        return NOT_COMPARABLE, "an offline bound has no such metric"
    if method.failed_seeds:
        return NOT_COMPARABLE, f"{numbers.count(len(method.failed_seeds), unit)} failed"
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return NOT_COMPARABLE, "no interval was measured for this metric"
    reason = f"the widened interval is {numbers.interval(low, high)}"
    distance = max(low - result.mean, result.mean - high)  # negative inside the interval
    return (NOT_REPRODUCED if distance >= estimates.SMALLEST_DIFFERENCE else REPRODUCED), reason
