"""The integrity gate: which seeds of two methods may be compared, and when none may.

A failed seed is a result, not a gap. Under the rule `error` it blocks the verdict; under `worst` it
counts as the worst value: for an accuracy the chance level, or the lowest score seen anywhere in
the study where that is lower still (failing must never pay); for the other metrics the bad end of
their range (`Metric.worst`). A seed that never ran is a gap and blocks the verdict under either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis import wording
from analysis.metrics import find_metric, unknown_name
from analysis.records import MethodRecord, StudyRecord

FAILED_RULES = ("error", "worst")
NO_SCORES = "no confirmation scores yet"


@dataclass(frozen=True)
class Pairs:
    """The shared seeds of a method and the reference, their scores, and why they may not count."""

    method: str
    reference: str
    seeds: tuple[int, ...]
    method_scores: tuple[float, ...]
    reference_scores: tuple[float, ...]
    refusal: str | None = None


def usable_scores(study: StudyRecord, method: MethodRecord) -> dict[int, float]:
    """Score of each seed that enters the analysis, by seed, failed seeds treated by the rule."""
    if study.failed_rule not in FAILED_RULES:
        raise ValueError(unknown_name("rule `failed`", study.failed_rule, list(FAILED_RULES)))
    failed = method.failed_seeds
    scores = {seed: x for seed, x in method.scores.items() if seed not in failed}
    if study.failed_rule == "worst" and failed:
        scores |= dict.fromkeys(failed, worst_score(study))
    return dict(sorted(scores.items()))


def worst_score(study: StudyRecord) -> float:
    """What a failed seed counts as under the rule `worst`."""
    metric = find_metric(study.metric)
    seen = [x for m in study.methods for x in m.scores.values() if math.isfinite(x)]
    start = study.chance if metric.worst is None else metric.worst
    return min([start, *seen]) if metric.higher_is_better else max([start, *seen])


def seeds_noun(study: StudyRecord) -> str:
    """What tuning and confirmation must not share, in the plural: seeds, or those of the units."""
    units = wording.plural(study.unit)
    return f"seeds of {units}" if study.unit_seeds else units


def pair(study: StudyRecord, method: MethodRecord, reference: MethodRecord) -> Pairs:
    """The seeds both methods have, in ascending order, with the gate's refusal if there is one."""
    first, second = usable_scores(study, method), usable_scores(study, reference)
    seeds = tuple(seed for seed in first if seed in second)
    return Pairs(
        method.method,
        reference.method,
        seeds,
        tuple(first[seed] for seed in seeds),
        tuple(second[seed] for seed in seeds),
        _refusal(study, method, reference),
    )


def _refusal(study: StudyRecord, method: MethodRecord, reference: MethodRecord) -> str | None:
    both = (method, reference)
    if not any(m.attempted for m in both):
        return NO_SCORES
    if find_metric(study.metric).transfer and any(m.offline for m in both):
        bound = next(m.method for m in both if m.offline)
        return f"{bound} is an offline bound, of which {study.metric} says nothing"
    if study.phase != "confirm":
        return f"the scores are from phase `{study.phase}`; only phase `confirm` is judged"
    units = wording.plural(study.unit)
    tuned_on = study.tuned_on & (method.attempted | reference.attempted)
    if tuned_on:
        shared = wording.seed_list(tuned_on)
        return f"{seeds_noun(study)} used for tuning and for confirmation: {shared}"
    expected = set(study.planned_seeds) | (method.attempted & reference.attempted)
    reasons = [_failed(study, m) for m in both] + [_missing(m, expected, units) for m in both]
    return "; ".join(reason for reason in reasons if reason) or None


def _failed(study: StudyRecord, method: MethodRecord) -> str:
    failed = method.failed_seeds
    if not failed or study.failed_rule == "worst":
        return ""
    causes = ", ".join(sorted(set(failed.values())))
    return (
        f"failed {wording.plural(study.unit)} of {method.method}: {wording.seed_list(failed)} "
        f'({causes}); run them again, or declare failed = "worst"'
    )


def _missing(method: MethodRecord, expected: set[int], units: str) -> str:
    missing = expected - method.attempted
    if method.unconfirmed:
        return f"{method.method}: {method.unconfirmed}"
    if not missing:
        return ""
    return f"planned {units} that have not run for {method.method}: {wording.seed_list(missing)}"
