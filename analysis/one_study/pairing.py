"""The integrity gate: the seeds on which two methods are compared, or the refusal to compare.

A failed seed is a result, not a gap. Under the rule `error` a failed seed blocks the verdict; under
`worst` a failed seed counts as the worst value. For an accuracy the worst value is the chance
level, or the lowest score in the study if that score is lower (failing must never pay); for the
other metrics the bad end of the range (`Metric.worst`). A seed that never ran is a gap and blocks
the verdict under both rules. Where seeds are added until a comparison is decided, a gap or a
failed seed ends the seeds of the comparison instead, and a verdict reached before it stands.

A side of a comparison may be the difference of two methods, which is paired as if it were a method:
its seeds are those that have run for both. No failed seed counts as its worst value, because a
difference has none: a failed seed blocks the verdict under both rules.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from analysis import numbers
from analysis.metrics import find_metric, unknown_name
from analysis.records import DECIDED, MethodRecord, StudyRecord, methods_of, scores_of

FAILED_RULES = ("error", "worst")
NO_SCORES = "no confirmation scores yet"


@dataclass(frozen=True)
class Pairs:
    """The shared seeds of the two sides of a comparison, and the scores of both.

    `method` and `reference` are methods, or differences of two methods, such as `a - b`.

    `refusal` is the reason against a comparison; None: the scores may be compared. `imputed` are
    the seeds on which at least one of the two failed and counts as `counted_as`. `ended_by` is the
    failure that ended the seeds of a comparison whose seeds are added until it is decided: a
    verdict reached before the failure stands, and there is none otherwise.
    """

    method: str
    reference: str
    seeds: tuple[int, ...]
    method_scores: tuple[float, ...]
    reference_scores: tuple[float, ...]
    refusal: str | None = None
    imputed: tuple[int, ...] = ()
    counted_as: float | None = None
    ended_by: str = ""


def find_side(study: StudyRecord, side: str) -> MethodRecord | None:
    """Return a method, or the difference of two as if it were one; None if the study lacks one."""
    methods = {m.method: m for m in study.methods}
    names = methods_of(side)
    if not methods.keys() >= {*names}:
        return None
    first, *others = (methods[name] for name in names)
    return _difference(side, first, *others) if others else first


def _difference(side: str, first: MethodRecord, second: MethodRecord) -> MethodRecord:
    scores = {method.method: method.scores for method in (first, second)}
    return replace(
        first,
        method=side,
        scores=scores_of(side, scores),
        failures=second.failures | first.failures,
        diverged=second.diverged | first.diverged,
        unconfirmed=first.unconfirmed or second.unconfirmed,
        offline=first.offline or second.offline,
    )


def _counts_failures(study: StudyRecord, side: MethodRecord) -> bool:
    """Return whether a failed seed counts as the worst value."""
    return study.failed_rule == "worst" and len(methods_of(side.method)) == 1


def usable_scores(study: StudyRecord, method: MethodRecord) -> dict[int, float]:
    """Return the scores by seed, with failed seeds left out or replaced, as the rule says."""
    if study.failed_rule not in FAILED_RULES:
        raise ValueError(unknown_name("rule `failed`", study.failed_rule, list(FAILED_RULES)))
    failed, counted_as = method.failed_seeds, imputed_score(study, method)
    scores = {seed: x for seed, x in method.scores.items() if seed not in failed}
    if counted_as is not None:
        scores |= dict.fromkeys(failed, counted_as)
    return dict(sorted(scores.items()))


def imputed_score(study: StudyRecord, *methods: MethodRecord) -> float | None:
    """Return the score that each failed seed of the methods counts as; None if no failed seed
    counts.
    """
    counts = any(_counts_failures(study, method) and method.failed_seeds for method in methods)
    return worst_score(study) if counts else None


def worst_score(study: StudyRecord) -> float:
    """Return the score of a failed seed under the rule `worst`."""
    metric = find_metric(study.metric)
    scores = [x for m in study.methods for x in m.scores.values() if math.isfinite(x)]
    scores.append(study.chance if metric.worst is None else metric.worst)
    return min(scores) if metric.higher_is_better else max(scores)


def seeds_noun(study: StudyRecord) -> str:
    """Return the noun for the seeds that tuning and confirmation must not share: `seeds`, or
    `seeds of speakers`.
    """
    units = numbers.plural(study.unit)
    return f"seeds of {units}" if study.unit_seeds else units


def pair(study: StudyRecord, method: MethodRecord, reference: MethodRecord) -> Pairs:
    """Return the shared seeds of two methods in ascending order, and the refusal, if any.

    Where seeds are added until a comparison is decided, the seeds end before the first that has not
    run for both, or failed: the order of the seeds is fixed, and no seed is skipped.
    """
    scores, reference_scores = usable_scores(study, method), usable_scores(study, reference)
    seeds = tuple(seed for seed in scores if seed in reference_scores)
    ended_by = ""
    if study.stop == DECIDED:
        order = sorted({*study.planned_seeds, *study.asked_seeds})
        seeds = tuple(itertools.takewhile(set(seeds).__contains__, order))
        ended_by = _failure_at([method, reference], order[len(seeds) :], study)
    counted_as = imputed_score(study, method, reference)
    failed = {} if counted_as is None else {**method.failed_seeds, **reference.failed_seeds}
    return Pairs(
        method=method.method,
        reference=reference.method,
        seeds=seeds,
        method_scores=tuple(scores[seed] for seed in seeds),
        reference_scores=tuple(reference_scores[seed] for seed in seeds),
        refusal=_refusal(study, method, reference),
        imputed=tuple(seed for seed in seeds if seed in failed),
        counted_as=counted_as,
        ended_by=ended_by,
    )


def _failure_at(methods: list[MethodRecord], seeds: list[int], study: StudyRecord) -> str:
    """Return what failed on the first of the seeds; empty if nothing did."""
    failed = [m for m in methods if seeds and seeds[0] in m.failed_seeds]
    return "; ".join(_failed_clause(study, method) for method in failed)


def remedy(methods: Iterable[MethodRecord], unit: str) -> str:
    """Return what to do about failed seeds: only a crash may end otherwise if it runs again."""
    crashed = any(method.failures for method in methods)
    diverged = any(method.failed_seeds.keys() - method.failures.keys() for method in methods)
    advice = ["`run --retry-failed` runs again what crashed"] if crashed else []
    advice += [f"a diverged {unit} would diverge again in this configuration"] if diverged else []
    return "; ".join(advice)


def _refusal(study: StudyRecord, method: MethodRecord, reference: MethodRecord) -> str | None:
    both = (method, reference)
    if not any(m.attempted_seeds for m in both):
        return NO_SCORES
    if find_metric(study.metric).transfer and any(m.offline for m in both):
        bound = next(m.method for m in both if m.offline)
        return f"{bound} is an offline bound, of which {study.metric} says nothing"
    if study.phase != "confirm":
        return f"the scores are from phase `{study.phase}`; only phase `confirm` is judged"
    units = numbers.plural(study.unit)
    tuned_on = study.tuned_on & (method.attempted_seeds | reference.attempted_seeds)
    if tuned_on:
        shared = numbers.seed_list(tuned_on)
        return f"{seeds_noun(study)} used for tuning and for confirmation: {shared}"
    if study.stop == DECIDED:  # a comparison may be looked at after any number of seeds
        return "; ".join(filter(None, (_missing_clause(m, set(), units) for m in both))) or None
    expected = set(study.planned_seeds) | (method.attempted_seeds & reference.attempted_seeds)
    reasons = [_failed_clause(study, m) for m in both]
    reasons += [_missing_clause(m, expected, units) for m in both]
    return "; ".join(reason for reason in reasons if reason) or None


def _failed_clause(study: StudyRecord, method: MethodRecord) -> str:
    failed = method.failed_seeds
    if not failed or _counts_failures(study, method):
        return ""
    causes = ", ".join(sorted(set(failed.values())))
    can_count = study.stop != DECIDED and len(methods_of(method.method)) == 1
    advice = '; to count them: study.failed = "worst"' if can_count else ""
    return (
        f"failed {numbers.plural(study.unit)} of {method.method}: {numbers.seed_list(failed)} "
        f"({causes}); {remedy([method], study.unit)}{advice}"
    )


def _missing_clause(method: MethodRecord, expected: set[int], units: str) -> str:
    missing = expected - method.attempted_seeds
    if method.unconfirmed:
        return f"{method.method}: {method.unconfirmed}"
    if not missing:
        return ""
    return f"planned {units} that have not run for {method.method}: {numbers.seed_list(missing)}"
