"""What each sweep cost and found, and how it got there.

Shape legend: N trials of a sweep, by number; trial 0 has the published defaults.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.records import MethodRecord, TrialRecord, TuningRecord


@dataclass(frozen=True)
class TuningRow:
    """What one method's sweep cost and found.

    `optimism` is the best tuning value minus the confirmation mean, with the sign turned for a
    metric where lower is better: positive means that tuning promised more than fresh seeds kept.
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
    optimism: float | None
    values: tuple[float | None, ...]
    configurations: int  # distinct ones among the trials


@dataclass(frozen=True)
class Slice:
    """One option of a method's search: what each complete trial took and reached.

    `default` is the published value (None: no trial had the defaults), `chosen` what was confirmed.
    """

    method: str
    option: str
    importance: float | None  # relative, for being among the best trials; sums to 1
    default: Any
    chosen: Any
    points: tuple[tuple[object, float], ...]  # (value taken, first objective)


@dataclass(frozen=True)
class Search:
    """How a sweep went: the best objective after each trial, and its options.

    `expected` is the expected best of n random configurations, n = 1, 2, …; empty where it is not
    valid, with the reason in `not_expected`.
    """

    method: str
    best_so_far: tuple[float | None, ...]
    expected: tuple[float, ...]
    not_expected: str
    slices: tuple[Slice, ...]


def searched(tuning: TuningRecord) -> bool:
    """Whether a sweep had anything to vary."""
    return any(trial.params for trial in tuning.history)


def tuning_row(method: MethodRecord, confirmed: float | None, sign: int) -> TuningRow:
    """The row of a method whose confirmation mean is `confirmed`; None where that is of something
    else than what was tuned.
    """
    tuning = method.tuning
    best = _value_of(tuning, tuning.best_number)
    optimism = None
    if best is not None and confirmed is not None:
        optimism = sign * (best - confirmed)
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
        optimism=optimism,
        values=tuple(_value_of(tuning, i) for i in range(len(tuning.values))),
        configurations=len({json.dumps(t.params, sort_keys=True) for t in tuning.history}),
    )


def search(method: MethodRecord, sign: int) -> Search | None:
    """How a method's sweep went; None where there was none."""
    tuning = method.tuning
    if not tuning.history:
        return None
    values = [_value_of(tuning, i) for i in range(len(tuning.values))]
    expected, reason = _expected(tuning, sign)
    return Search(
        method=method.method,
        best_so_far=tuple(_best_so_far(values, sign)),
        expected=expected,
        not_expected=reason,
        slices=_slices(method),
    )


def expected_best(values: Sequence[float], sign: int = 1) -> list[float]:
    """Expected best of n draws without replacement from N values, for n = 1 … N.

    E[n] = sum_{i>=n} v_(i) C(i-1, n-1) / C(N, n), values ascending: the mean over all subsets of
    size n, unbiased (Tang et al. 2020) where the values are independent draws. With sign = -1 the
    expected smallest.
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
    drawn = [trial for trial in tuning.history if trial.number > 0]
    if tuning.sampler != "random":
        why = f"the sampler {tuning.sampler} does not draw configurations independently"
        return (), f"no expected-best curve: {why}"
    if any(trial.state != "complete" for trial in drawn):
        return (), "no expected-best curve: some trials have no value"
    if len(drawn) < 2:
        return (), "no expected-best curve: fewer than 2 random trials"
    return tuple(expected_best([trial.values[0] for trial in drawn], sign)), ""


def _best_so_far(values: Sequence[float | None], sign: int) -> list[float | None]:
    found: list[float | None] = []
    best: float | None = None
    for value in values:
        if value is not None and (best is None or sign * value > sign * best):
            best = value
        found.append(best)
    return found


def _slices(method: MethodRecord) -> tuple[Slice, ...]:
    tuning = method.tuning
    first = next((trial.params for trial in tuning.history if trial.number == 0), {})
    defaults = first if tuning.has_default else {}
    complete = [trial for trial in tuning.history if _usable(trial)]
    options = dict.fromkeys(name for trial in complete for name in trial.params)
    slices = [
        Slice(
            method=method.method,
            option=option,
            importance=tuning.importance.get(option),
            default=defaults.get(option),
            chosen=method.configuration.get(option),
            points=tuple((t.params[option], t.values[0]) for t in complete if option in t.params),
        )
        for option in options
    ]
    return tuple(sorted(slices, key=lambda s: -(s.importance or 0.0)))


def _usable(trial: TrialRecord) -> bool:
    return trial.state == "complete" and bool(trial.values) and math.isfinite(trial.values[0])


def _value_of(tuning: TuningRecord, trial: int | None) -> float | None:
    if trial is None or not 0 <= trial < len(tuning.values):
        return None
    value = tuning.values[trial]
    return value if value is not None and math.isfinite(value) else None
