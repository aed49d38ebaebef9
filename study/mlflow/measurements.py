"""The measurements of a trial, or of one of its seeds, as the points of metrics in MLflow.

A step is the number of tasks learnt. The last point of a metric is its value at the end.

Shape legend: S seeds, I tasks learnt, T tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from analysis.metrics import accuracy_curve, accuracy_matrix
from study.ledger import Entry
from study.mlflow.names import SPREAD, accuracy_on, data_of, metric_name, scored
from study.scores import all_scores
from trainables.engine.outcome import Array, Outcome

FEWEST_FOR_SPREAD = 2  # seeds of a standard deviation


class Point(NamedTuple):
    """The value of a metric after so many tasks."""

    metric: str
    step: int
    value: float


def points_of_trial(entry: Entry, outcome: Outcome | None, objective: str) -> list[Point]:
    """Return the points of a trial: means over its seeds, and their standard deviations.

    Args:
        outcome: the measurements; None for a failed trial, which has none.
        objective: the metric with a point after each task that the trial reported.
    """
    points = [*_reported(entry, objective)]
    if outcome is not None:
        points += _scores(entry, outcome, range(len(entry.seeds)))
        points += _present(_diagnostics(outcome))
        points += _held(outcome)
    last = outcome.rows if outcome else len(entry.steps)
    points += [Point("seconds", last, entry.seconds), Point("samples", last, float(entry.samples))]
    found: dict[tuple[str, int], Point] = {}
    for point in points:  # what was reported after a task is among the scores, too
        found.setdefault((point.metric, point.step), point)
    return [*found.values()]


def points_of_seed(entry: Entry, outcome: Outcome, position: int) -> list[Point]:
    """Return the points of the seed at a position in a trial."""
    return _scores(entry, outcome, [position])


def _reported(entry: Entry, objective: str) -> Iterator[Point]:
    """Yield the objective after each task, as the trial reported it; without diverged ones."""
    name = scored(data_of(entry.phase), objective)
    return _present(Point(name, int(task), score) for task, score in entry.steps.items())


def _held(outcome: Outcome) -> Iterator[Point]:
    """Yield the bytes of a seed at the end, by kind."""
    for kind, held in outcome.footprint.items():
        yield Point(metric_name(f"bytes.{kind}"), outcome.rows, float(held[:, -1].mean()))


def _scores(entry: Entry, outcome: Outcome, positions: Sequence[int]) -> list[Point]:
    """Return the metrics at the end and the accuracies after each task, over some seeds."""
    data, last = data_of(entry.phase), outcome.rows
    points = []
    for metric, values in all_scores(outcome, entry.work["scenario"]).items():
        name, of_seeds = scored(data, *metric), [values[position] for position in positions]
        points.append(Point(name, last, float(np.mean(of_seeds))))
        if len(of_seeds) >= FEWEST_FOR_SPREAD:
            points.append(Point(f"{name}{SPREAD}", last, float(np.std(of_seeds, ddof=1))))
    return [*points, *_present(_accuracies(data, outcome, positions))]


def _accuracies(data: str, outcome: Outcome, positions: Sequence[int]) -> Iterator[Point]:
    """Yield the accuracy on each task from its learning on, and the mean over the tasks so far.

    The last mean is left out: it is a metric at the end, like any other.
    """
    matrix = _finite_matrix(outcome)[positions]  # [S, I, T]
    mean = accuracy_curve(matrix[:, :, : outcome.rows]).mean(axis=0)  # [I]
    of_tasks = matrix.mean(axis=0)  # [I, T]
    for row in range(outcome.rows):
        if row + 1 < outcome.rows:
            yield Point(scored(data, "average_accuracy"), row + 1, float(mean[row]))
        for task in range(row + 1):
            yield Point(scored(data, accuracy_on(task + 1)), row + 1, float(of_tasks[row, task]))


def _finite_matrix(outcome: Outcome) -> Array:
    """Return the accuracy matrix of the primary readout; NaN from where a seed diverged."""
    matrix = accuracy_matrix(next(iter(outcome.counts.values())))[:, : outcome.rows]
    finite = np.logical_and.accumulate(outcome.finite[:, : outcome.rows], axis=1)
    masked: Array = np.where(finite[:, :, None], matrix, np.nan)
    return masked


def _diagnostics(outcome: Outcome) -> Iterator[Point]:
    """Yield the method's own numbers after each task: means over the seeds that have one."""
    for name, values in outcome.extras.items():
        if values.ndim > 2:  # a map
            continue
        present = np.isfinite(values)
        totals, counts = np.where(present, values, 0.0).sum(axis=0), present.sum(axis=0)
        means = np.divide(totals, counts, out=np.full(len(totals), np.nan), where=counts > 0)
        for task, mean in enumerate(means.tolist(), start=1):
            yield Point(metric_name(name.replace(": ", ".")), task, mean)


def _present(points: Iterable[Point]) -> Iterator[Point]:
    """Leave out points without a value, which a diverged seed has."""
    return (point for point in points if not np.isnan(point.value))
