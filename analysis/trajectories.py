"""How accuracy moves along the stream: curves, accuracy matrices, single tasks, diagnostics.

Shape legend: S seeds, I tasks learnt (rows), T tasks, K values of a diagnostic. A method with a
failed seed has no means here: those of its survivors would flatter it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis import effects
from analysis.effects import Array
from analysis.metrics import accuracy_curve
from analysis.records import DiagnosticRecord, MethodRecord

Numbers = tuple[float | None, ...]


@dataclass(frozen=True)
class Band:
    """Means over seeds with their spread and t-intervals; None where nothing is defined."""

    mean: Numbers
    sd: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class Trajectory:
    """One method along the stream.

    `curve` is the accuracy on the tasks learnt so far, after each task [I]; `tasks` the final
    accuracy on each task [T]; `matrix` the mean accuracy matrix [I, T], `seeds` that of each seed.
    """

    method: str
    n: int
    curve: Band
    tasks: Band
    matrix: tuple[Numbers, ...]
    seeds: dict[int, tuple[Numbers, ...]]


@dataclass(frozen=True)
class Diagnostic:
    """One value of one method's diagnostic, after each task [I]."""

    method: str
    name: str
    title: str
    unit: str
    label: str
    n: int
    band: Band


def trajectory(method: MethodRecord, confidence: float) -> Trajectory | None:
    """One method's way along the stream; None where a seed failed or nothing has been measured."""
    if method.failed_seeds or not method.matrices:
        return None
    matrices = dict(sorted(method.matrices.items()))
    stack = np.stack(list(matrices.values()))
    return Trajectory(
        method=method.method,
        n=len(matrices),
        curve=band(accuracy_curve(stack[:, :, : stack.shape[1]]), confidence),
        tasks=band(stack[:, -1], confidence),
        matrix=_rows(stack.mean(axis=0)),
        seeds={seed: _rows(matrix) for seed, matrix in matrices.items()},
    )


def diagnostics(method: MethodRecord, confidence: float) -> list[Diagnostic]:
    """Every value of a method's diagnostics over its seeds."""
    if method.failed_seeds:
        return []
    known = [record for record in method.diagnostics if record.values]
    return [row for record in known for row in _diagnostic(method, record, confidence)]


def _diagnostic(
    method: MethodRecord, record: DiagnosticRecord, confidence: float
) -> list[Diagnostic]:
    values = np.stack([record.values[seed] for seed in sorted(record.values)])
    return [
        Diagnostic(
            method.method,
            record.name,
            record.title,
            record.unit,
            label,
            len(values),
            band(values[:, :, k], confidence),
        )
        for k, label in enumerate(record.labels)
    ]


def band(values: Array, confidence: float) -> Band:
    """Estimates of each column of [S, N] over its seeds."""
    found = [effects.estimate(column, confidence) for column in values.T]
    return Band(
        mean=_numbers([e.mean for e in found]),
        sd=_numbers([e.sd for e in found]),
        low=_numbers([e.ci_low for e in found]),
        high=_numbers([e.ci_high for e in found]),
    )


def _rows(matrix: Array) -> tuple[Numbers, ...]:
    return tuple(_numbers(row.tolist()) for row in matrix)


def _numbers(values: Sequence[float | None]) -> Numbers:
    return tuple(None if x is None or not np.isfinite(x) else float(x) for x in values)
