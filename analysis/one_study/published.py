"""Published results against measured results: reproduced, not reproduced, or not to be told yet.

A result is reproduced if the true difference between the two is within a tolerance that is fixed
beforehand: the published standard deviation, or the study's margin if none is published. The rule
reads the t-interval of the difference (measured - published) at the level 1 - alpha, as a test of
equivalence does:

    reproduced                  the interval lies within the tolerance, on both sides of 0 or not;
    not reproduced              the interval lies beyond the tolerance, on one side;
    cannot tell with n seeds    everything else: the interval is too wide, or reaches over the edge.

Where the truth lies on the edge of the tolerance, either claim has probability alpha/2 at most for
normal scores, and more on one side for clearly skewed ones (exponential scores: 12 % with 5 seeds,
7 % with 30). The opposite rule, "the published mean lies in the measured interval", calls
everything reproduced that was measured badly. Without a tolerance nothing can be reproduced, but an
interval that excludes 0 is not reproduced.

The published mean has an error of its own, which widens the interval (Welch's t) if the published
standard deviation and number of runs are known. With 6 published runs or fewer that error alone is
as large as their standard deviation, so that no number of seeds can say "reproduced". A published
mean without standard deviation or number of runs is taken as exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis import numbers
from analysis.forms import Ends, Form
from analysis.metrics import METRICS, ReadoutMetric
from analysis.records import MethodRecord, PublishedRecord, StudyRecord
from analysis.statistics import estimates
from analysis.statistics.estimates import SMALLEST_DIFFERENCE, Estimate

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
CANNOT_TELL = "cannot tell"  # with n seeds
NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class PublishedRow:
    """A published result, the measured result of the same metric, and the verdict.

    `low` and `high` are the interval of the difference measured - published. `tolerance` is the
    largest difference of a reproduced result; 0: there is none.
    """

    method: str
    metric: ReadoutMetric
    published: float
    published_sd: float | None
    published_n: int | None
    source: str
    n: int
    mean: float | None
    sd: float | None
    difference: float | None
    low: float | None
    high: float | None
    tolerance: float
    verdict: str
    reason: str


def compare(study: StudyRecord) -> tuple[PublishedRow, ...]:
    """Return a row for every published result of a study."""
    methods = {method.method: method for method in study.methods}
    return tuple(_row(result, methods.get(result.method), study) for result in study.published)


def _row(result: PublishedRecord, method: MethodRecord | None, study: StudyRecord) -> PublishedRow:
    scores = _scores(result, method, study)
    measured = estimates.estimate(np.array(list(scores.values()), dtype=float))
    # the margin is in units of the primary metric
    tolerance = result.sd or (study.margin if result.metric.metric == study.metric else 0.0)
    low, high = _interval(measured, result, 1 - study.alpha)
    form = study.form_of(result.metric.metric)
    word, reason = _verdict(result, tolerance, (low, high), 1 - study.alpha, form)
    if obstacle := _obstacle(result, method, measured, study.unit):
        word, reason = NOT_COMPARABLE, obstacle
    seeds = f" with {numbers.count(measured.n, study.unit)}" if word == CANNOT_TELL else ""
    return PublishedRow(
        method=result.method,
        metric=result.metric,
        published=result.mean,
        published_sd=result.sd,
        published_n=result.n,
        source=result.source,
        n=measured.n,
        mean=measured.mean,
        sd=measured.sd,
        difference=None if measured.mean is None else measured.mean - result.mean,
        low=low,
        high=high,
        tolerance=tolerance,
        verdict=word + seeds,
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


def _interval(measured: Estimate, result: PublishedRecord, confidence: float) -> Ends:
    """Return the interval of the difference measured - published; None for too few seeds.

    Measured seeds that all score the same have no error.
    """
    if measured.mean is None or measured.sd is None or measured.n < estimates.FEWEST_FOR_INTERVAL:
        return None, None
    half = _half_width([(measured.sd, measured.n), *_published_runs(result)], confidence)
    difference = measured.mean - result.mean
    return difference - half, difference + half


def _published_runs(result: PublishedRecord) -> list[tuple[float, int]]:
    """Return the standard deviation and the number of the published runs; empty if unknown."""
    is_known = result.sd is not None and result.n is not None and result.n > 1
    return [(result.sd or 0.0, result.n or 0)] if is_known else []


def _half_width(runs: Sequence[tuple[float, int]], confidence: float) -> float:
    """Return half the width of the t-interval of a sum of means (Welch), from (sd, n) of each."""
    variances = [(sd**2 / n, n) for sd, n in runs]
    total = sum(variance for variance, _ in variances)
    if not total:
        return 0.0
    df = total**2 / sum(variance**2 / (n - 1) for variance, n in variances)
    return float(stats.t.ppf((1 + confidence) / 2, df)) * math.sqrt(total)


def _obstacle(
    result: PublishedRecord, method: MethodRecord | None, measured: Estimate, unit: str
) -> str:
    """Return the reason against a comparison; empty if the results are comparable."""
    if result.incomparable:
        return result.incomparable
    if method is None:
        return "the study has no such method"
    if method.unconfirmed:
        return method.unconfirmed
    if not method.attempted_seeds:
        return "nothing has been confirmed yet"
    if method.offline and METRICS[result.metric.metric].transfer:
        return "an offline bound has no such metric"
    if method.failed_seeds:
        return f"{numbers.count(len(method.failed_seeds), unit)} failed"
    if measured.mean is None or not math.isfinite(measured.mean):
        return "this metric was not measured"
    return ""


def _verdict(
    result: PublishedRecord, tolerance: float, ends: Ends, confidence: float, form: Form
) -> tuple[str, str]:
    """Return the word that the interval of the difference allows, and a clause on the tolerance."""
    if not tolerance:
        clause = (
            "no tolerance: no standard deviation is published, and no margin is set for this metric"
        )
    else:
        source = "published sd" if result.sd else "margin"
        clause = f"tolerance {form.points(tolerance)}, the {source}"
    low, high = ends
    if low is None or high is None:
        return CANNOT_TELL, clause
    if tolerance and max(-low, high) <= tolerance + SMALLEST_DIFFERENCE:
        return REPRODUCED, clause
    if max(low, -high) >= tolerance + SMALLEST_DIFFERENCE:
        return NOT_REPRODUCED, clause
    if _half_width(_published_runs(result), confidence) >= tolerance > 0:
        clause += f"; {result.n} published runs are too few, whatever is measured"
    return CANNOT_TELL, clause
