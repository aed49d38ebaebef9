"""What a metric makes of an outcome: a number for each seed."""

from __future__ import annotations

import numpy as np

from analysis.metrics import METRICS, PRIMARY, ReadoutMetric, accuracy_matrix, from_counts
from trainables.engine.outcome import Array, Outcome


def seed_scores(outcome: Outcome, metric: str, readout: str | None = None) -> list[float]:
    """Return a primary metric of each seed; NaN for a seed that diverged."""
    counts = outcome.counts[readout] if readout else next(iter(outcome.counts.values()))
    return _masked(outcome, PRIMARY[metric](counts[:, :, : outcome.rows]))


def all_scores(outcome: Outcome, scenario: str) -> dict[ReadoutMetric, list[float]]:
    """Return every metric that is defined for an outcome, of each seed."""
    names = ["", *list(outcome.counts)[1:]]  # of readouts
    scores = {
        ReadoutMetric(metric, name): seed_scores(outcome, metric, name)
        for name in names
        for metric in PRIMARY
    }
    known = _known(outcome, scenario)
    further = {
        ReadoutMetric(name): _masked(outcome, metric.compute(known))
        for name, metric in METRICS.items()
        if name not in PRIMARY and metric.needs <= known.keys()
    }
    return scores | further


def _masked(outcome: Outcome, scores: Array) -> list[float]:
    """Return the scores, NaN for a seed that diverged."""
    masked: list[float] = np.where(np.all(outcome.finite, axis=1), scores, np.nan).tolist()
    return masked


def _known(outcome: Outcome, scenario: str) -> dict[str, Array]:
    """Return what metrics may need of the primary readout, as far as it is defined."""
    counts = next(iter(outcome.counts.values()))
    known = from_counts(counts[:, :, : outcome.rows])
    if scenario in ("task", "domain") and outcome.rows == counts.shape[2]:
        initial = next(iter(outcome.initial.values()))
        known["initial"] = accuracy_matrix(initial[:, None])[:, 0]
    if scenario == "class":
        known["task_classes"] = (counts[:, -1].sum(axis=-1) > 0)[:, : outcome.rows]
    if len(outcome.between["task"]):
        known |= _evaluations(outcome, accuracy_matrix(counts))
    return known


def _evaluations(outcome: Outcome, matrix: Array) -> dict[str, Array]:
    """Return the accuracies at all evaluations in order, [S, N, T], and the task of each, [N]."""
    tasks = np.concatenate([outcome.between["task"], np.arange(outcome.rows)])
    order = np.argsort(tasks, kind="stable")  # of one task, those within it come first
    values = np.concatenate([accuracy_matrix(outcome.between["counts"]), matrix], axis=1)
    return {"accuracies": values[:, order], "task_of_evaluation": tasks[order]}
