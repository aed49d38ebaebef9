"""Accuracy along the stream: curves, accuracy matrices, single tasks; and the diagnostics.

Shape legend: S seeds, I tasks learnt (rows), T tasks, K values of a diagnostic, R x C cells of a
map. A method with a failed seed has no means here: means over the surviving seeds would flatter the
method.
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
    """Means over seeds, standard deviations and t-intervals; None where undefined."""

    mean: Numbers
    sd: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class Trajectory:
    """One method along the stream.

    `curve` is the mean accuracy on the tasks learnt so far, after each task [I]; `tasks` the final
    accuracy on each task [T]; `matrix` the mean accuracy matrix [I, T]; `seeds` the accuracy matrix
    of each seed.
    """

    method: str
    n: int
    curve: Band
    tasks: Band
    matrix: Matrix
    seeds: dict[int, Matrix]


@dataclass(frozen=True)
class Diagnostic:
    """One value of one method's diagnostic, after each task [I], over the seeds that have a value;
    `n` of them have one after the last task.
    """

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

    `values` are means over the seeds with a value in the cell. Where a mean has no meaning,
    `values` are those of one seed, the first seed, and `seed` is its number.
    """

    method: str
    record: MapRecord
    label: str
    n: int  # seeds with the panel
    seed: int | None
    values: tuple[Matrix, ...]  # [I, R, C]
    counts: Array  # [I, R, C], number of seeds with a value


def trajectory(method: MethodRecord, confidence: float) -> Trajectory | None:
    """Return one method's trajectory; None for a method with a failed seed or without matrices."""
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
    """Return every value of a method's diagnostics, estimated over the seeds."""
    if method.failed_seeds:
        return []
    measured = [record for record in method.diagnostics if record.values]
    return [row for record in measured for row in _diagnostic(method, record, confidence)]


def _diagnostic(
    method: MethodRecord, record: DiagnosticRecord, confidence: float
) -> list[Diagnostic]:
    values = np.stack([record.values[seed] for seed in sorted(record.values)])
    return [
        Diagnostic(
            method=method.method,
            name=record.name,
            title=record.title,
            unit=record.unit,
            label=label,
            n=int(np.isfinite(values[:, -1, k]).sum()),
            band=band(values[:, :, k], confidence, only_finite=True),
        )
        for k, label in enumerate(record.labels)
    ]


def map_panels(method: MethodRecord) -> list[MapPanel]:
    """Return every panel of a method's maps that has a value."""
    if method.failed_seeds:
        return []
    return [
        _panel(method.method, record, label)
        for record in method.maps
        for label, arrays in record.panels.items()
        if arrays
    ]


def _panel(method: str, record: MapRecord, label: str) -> MapPanel:
    arrays = record.panels[label]
    first_seed = min(seed for panel in record.panels.values() for seed in panel)
    seed = None if record.averaged else first_seed
    empty = np.full(next(iter(arrays.values())).shape, np.nan)
    selected = list(arrays.values()) if seed is None else [arrays.get(seed, empty)]
    stack = np.stack(selected).astype(np.float64)  # [S, I, R, C]
    finite = np.isfinite(stack)
    counts = finite.sum(axis=0)
    sums = np.where(finite, stack, 0.0).sum(axis=0)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    values = tuple(_rows(matrix) for matrix in means)
    return MapPanel(method, record, label, len(arrays), seed, values, counts)


def band(values: Array, confidence: float, only_finite: bool = False) -> Band:
    """Return the estimates over seeds of each column of [S, N].

    Args:
        only_finite: leave out values that are not finite, which otherwise make a column undefined.
    """
    kept = [column[np.isfinite(column) | (not only_finite)] for column in values.T]
    columns = [estimates.estimate(column, confidence) for column in kept]
    return Band(
        mean=_numbers([e.mean for e in columns]),
        sd=_numbers([e.sd for e in columns]),
        low=_numbers([e.ci_low for e in columns]),
        high=_numbers([e.ci_high for e in columns]),
    )


def _rows(matrix: Array) -> Matrix:
    return tuple(_numbers(row.tolist()) for row in matrix)


def _numbers(values: Sequence[float | None]) -> Numbers:
    return tuple(None if x is None or not np.isfinite(x) else float(x) for x in values)
