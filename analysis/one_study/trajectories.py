"""How accuracy moves along the stream: curves, accuracy matrices, single tasks, diagnostics.

Shape legend: S seeds, I tasks learnt (rows), T tasks, K values of a diagnostic, R x C cells of a
map. A method with a failed seed has no means here: those of its survivors would flatter it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.metrics import accuracy_curve
from analysis.records import DiagnosticRecord, MapRecord, MethodRecord
from analysis.statistics import estimates
from analysis.statistics.estimates import Array

Numbers = tuple[float | None, ...]
Matrix = tuple[Numbers, ...]


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
    matrix: Matrix
    seeds: dict[int, Matrix]


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


@dataclass(frozen=True)
class MapPanel:
    """One panel of one method's map, after each task.

    `values` are means over those of the `n` seeds that have a value in a cell, `counts` of them, or
    where a mean has no meaning those of one `seed`, the first.
    """

    method: str
    of: MapRecord
    label: str
    n: int
    seed: int | None
    values: tuple[Matrix, ...]  # [I, R, C]
    counts: Array  # [I, R, C]


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


def map_panels(method: MethodRecord) -> list[MapPanel]:
    """Every panel of a method's maps."""
    if method.failed_seeds:
        return []
    return [
        _panel(method.method, record, label)
        for record in method.maps
        for label, known in record.panels.items()
        if known
    ]


def _panel(method: str, record: MapRecord, label: str) -> MapPanel:
    known = record.panels[label]
    first = min(seed for of in record.panels.values() for seed in of)
    one = None if record.averaged else first
    nothing = np.full(next(iter(known.values())).shape, np.nan)
    shown = list(known.values()) if one is None else [known.get(one, nothing)]
    stack = np.stack(shown).astype(np.float64)  # [S, I, R, C]
    finite = np.isfinite(stack)
    counts = finite.sum(axis=0)
    sums = np.where(finite, stack, 0.0).sum(axis=0)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    values = tuple(_rows(matrix) for matrix in means)
    return MapPanel(method, record, label, len(known), one, values, counts)


def band(values: Array, confidence: float) -> Band:
    """Estimates of each column of [S, N] over its seeds."""
    found = [estimates.estimate(column, confidence) for column in values.T]
    return Band(
        mean=_numbers([e.mean for e in found]),
        sd=_numbers([e.sd for e in found]),
        low=_numbers([e.ci_low for e in found]),
        high=_numbers([e.ci_high for e in found]),
    )


def _rows(matrix: Array) -> Matrix:
    return tuple(_numbers(row.tolist()) for row in matrix)


def _numbers(values: Sequence[float | None]) -> Numbers:
    return tuple(None if x is None or not np.isfinite(x) else float(x) for x in values)
