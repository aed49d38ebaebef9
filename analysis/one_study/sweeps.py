"""The sweep of each method: cost, result, history and searched options.

Shape legend: N trials of a sweep, by number; trial 0 has the published defaults.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.records import MethodRecord, TrialRecord, TuningRecord
from analysis.statistics.estimates import Estimate, estimate


@dataclass(frozen=True)
class TuningRow:
    """Cost and result of one method's sweep.

    `selection` is the best tuning value minus the mean of the recheck, `shift` the mean of the
    recheck minus that of the confirmation on the same seeds; both with the opposite sign for a
    metric where lower is better. A positive selection means that the best configuration was lucky
    in its tuning seeds, a positive shift that it scored better on the data of tuning.
    """

    method: str
    sampler: str
    trials: int
    seeds_per_trial: int
    failed: int
    pruned: int
    seconds: float
    samples: int
    default_value: float | None
    best_value: float | None
    selection: float | None
    selection_error: float | None  # standard error
    shift: float | None
    shift_error: float | None  # standard error
    values: tuple[float | None, ...]
    configurations: int  # number of distinct configurations among the trials


@dataclass(frozen=True)
class Slice:
    """One searched option of a method: the option's value and the objective in each trial.

    `default` is the published value (None: no trial had the defaults), `chosen` the value of the
    confirmed configuration.
    """

    method: str
    option: str
    importance: float | None  # share of the importance for reaching the best trials
    default: Any
    chosen: Any
    points: tuple[tuple[object, float], ...]  # (value, first objective) of each complete trial
    log: bool | None = None  # whether the search was logarithmic; None: the space is not known


@dataclass(frozen=True)
class SweepHistory:
    """The best objective after each trial of a sweep, and the searched options.

    `expected` is the expected best of n random configurations, n = 1, 2, …; empty where not
    defined, with the reason in `not_expected`.
    """

    method: str
    best_so_far: tuple[float | None, ...]
    expected: tuple[float, ...]
    not_expected: str
    slices: tuple[Slice, ...]


def has_search_space(tuning: TuningRecord) -> bool:
    """Return whether any trial of a sweep has a searched option."""
    return any(trial.params for trial in tuning.history)


def tuning_row(method: MethodRecord, sign: int, has_shift: bool) -> TuningRow:
    """Return the row of a method's sweep.

    Args:
        method: the record of the method.
        sign: +1 where higher is better, -1 where lower is better.
        has_shift: whether tuning and confirmation are scored on the same tasks.
    """
    tuning = method.tuning
    best = _value_of(tuning, tuning.best_number)
    selection, selection_error = _selection(tuning, best, sign)
    shift, shift_error = _shift(tuning, sign) if has_shift else (None, None)
    return TuningRow(
        method=method.method,
        sampler=tuning.sampler,
        trials=tuning.trials,
        seeds_per_trial=tuning.seeds_per_trial,
        failed=tuning.failed,
        pruned=tuning.pruned,
        seconds=tuning.seconds,
        samples=tuning.samples,
        default_value=_value_of(tuning, 0) if tuning.has_default else None,
        best_value=best,
        selection=selection,
        selection_error=selection_error,
        shift=shift,
        shift_error=shift_error,
        values=tuple(_value_of(tuning, i) for i in range(len(tuning.values))),
        configurations=len({json.dumps(t.params, sort_keys=True) for t in tuning.history}),
    )


def _selection(
    tuning: TuningRecord, best: float | None, sign: int
) -> tuple[float | None, float | None]:
    """Return by how much the best tuning value exceeds the mean of the recheck, and the error.

    The standard error is that of a sweep of a single trial: the best value is then a mean over the
    tuning seeds of the same law as the recheck, s sqrt(1/k + 1/n).
    """
    fresh = _estimate(tuning.recheck.values())
    if best is None or fresh.mean is None:
        return None, None
    seeds = tuning.seeds_per_trial
    error = None if fresh.sd is None else fresh.sd * math.sqrt(1 / seeds + 1 / fresh.n)
    return sign * (best - fresh.mean), error


def _shift(tuning: TuningRecord, sign: int) -> tuple[float | None, float | None]:
    """Return by how much the recheck exceeds the confirmation on the same seeds, and the error."""
    d = _estimate(tuning.recheck[seed] - score for seed, score in tuning.rechecked.items())
    if d.mean is None:
        return None, None
    return sign * d.mean, None if d.sd is None else d.sd / math.sqrt(d.n)


def _estimate(values: Iterable[float]) -> Estimate:
    """Return the estimate of the seeds; an empty one if a seed failed."""
    scores = np.array([*values], dtype=float)
    return estimate(scores if np.all(np.isfinite(scores)) else scores[:0])


def sweep_history(method: MethodRecord, sign: int) -> SweepHistory | None:
    """Return the history of a method's sweep; None for a method without trials."""
    tuning = method.tuning
    if not tuning.history:
        return None
    values = [_value_of(tuning, i) for i in range(len(tuning.values))]
    expected, reason = _expected(tuning, sign)
    return SweepHistory(
        method=method.method,
        best_so_far=tuple(_best_so_far(values, sign)),
        expected=expected,
        not_expected=reason,
        slices=_slices(method),
    )


def expected_best(values: Sequence[float], sign: int = 1) -> list[float]:
    """Return the expected best of n draws without replacement from N values, for n = 1 … N.

    E[n] = sum_{i>=n} v_(i) C(i-1, n-1) / C(N, n), values ascending: the mean over all subsets of
    size n, unbiased for independent draws (Tang et al. 2020). With sign = -1 the smallest value is
    the best.

    >>> expected_best([0.0, 3.0])
    [1.5, 3.0]
    """
    ordered = sorted(sign * value for value in values)
    total = len(ordered)
    return [
        sign
        * sum(
            value * math.comb(rank, n - 1) / math.comb(total, n)
            for rank, value in enumerate(ordered)
        )
        for n in range(1, total + 1)
    ]


def _expected(tuning: TuningRecord, sign: int) -> tuple[tuple[float, ...], str]:
    """Return the expected-best curve of the random trials, or an empty one and the reason."""
    random_trials = [trial for trial in tuning.history if trial.number > 0]
    if tuning.sampler != "random":
        reason = f"the sampler {tuning.sampler} does not draw configurations independently"
        return (), f"no expected-best curve: {reason}"
    if any(trial.state != "complete" for trial in random_trials):
        return (), "no expected-best curve: some trials have no value"
    if len(random_trials) < 2:
        return (), "no expected-best curve: fewer than 2 random trials"
    return tuple(expected_best([trial.values[0] for trial in random_trials], sign)), ""


def _best_so_far(values: Sequence[float | None], sign: int) -> list[float | None]:
    best_values: list[float | None] = []
    best: float | None = None
    for value in values:
        if value is not None and (best is None or sign * value > sign * best):
            best = value
        best_values.append(best)
    return best_values


def _slices(method: MethodRecord) -> tuple[Slice, ...]:
    tuning = method.tuning
    first_params = next((trial.params for trial in tuning.history if trial.number == 0), {})
    defaults = first_params if tuning.has_default else {}
    complete = [trial for trial in tuning.history if _has_objective(trial)]
    options = dict.fromkeys(name for trial in complete for name in trial.params)
    scales = {searched.option: searched.log for searched in tuning.space}
    slices = [
        Slice(
            method=method.method,
            option=option,
            importance=tuning.importance.get(option),
            default=defaults.get(option),
            chosen=method.configuration.get(option),
            points=tuple((t.params[option], t.values[0]) for t in complete if option in t.params),
            log=scales.get(option),
        )
        for option in options
    ]
    return tuple(sorted(slices, key=lambda s: -(s.importance or 0.0)))


def _has_objective(trial: TrialRecord) -> bool:
    return trial.state == "complete" and bool(trial.values) and math.isfinite(trial.values[0])


def _value_of(tuning: TuningRecord, number: int | None) -> float | None:
    """Return the first objective of a trial by number; None for a trial without a finite value."""
    if number is None or not 0 <= number < len(tuning.values):
        return None
    value = tuning.values[number]
    return value if value is not None and math.isfinite(value) else None
