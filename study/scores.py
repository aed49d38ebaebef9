"""The metrics of an outcome, as a number for each seed."""

from __future__ import annotations

import numpy as np

from analysis.metrics import METRICS, PRIMARY, ReadoutMetric, accuracy_matrix, from_counts
from trainables.engine.outcome import Array, Outcome


def seed_scores(outcome: Outcome, metric: str, readout: str | None = None) -> list[float]:
    """Return a primary metric for each seed; NaN for a seed that diverged.

    Args:
        readout: default, the primary readout.
    """
    counts = outcome.counts[readout] if readout else next(iter(outcome.counts.values()))
    return _masked(outcome, PRIMARY[metric](counts[:, :, : outcome.rows]))


def all_scores(outcome: Outcome, scenario: str) -> dict[ReadoutMetric, list[float]]:
    """Return every metric that is defined for an outcome, as a number for each seed."""
    readouts = ["", *list(outcome.counts)[1:]]  # the empty name stands for the primary readout
    primary = {
        ReadoutMetric(metric, readout): seed_scores(outcome, metric, readout)
        for readout in readouts
        for metric in PRIMARY
    }
    inputs = _metric_inputs(outcome, scenario)
    others = {
        ReadoutMetric(name): _masked(outcome, metric.compute(inputs))
        for name, metric in METRICS.items()
        if name not in PRIMARY and metric.needs <= inputs.keys()
    }
    return primary | others


def _masked(outcome: Outcome, scores: Array) -> list[float]:
    """Return the scores, with NaN for a seed that diverged."""
    masked: list[float] = np.where(np.all(outcome.finite, axis=1), scores, np.nan).tolist()
    return masked


def _metric_inputs(outcome: Outcome, scenario: str) -> dict[str, Array]:
    """Return the inputs of metrics that are defined for the primary readout, by name."""
    counts = next(iter(outcome.counts.values()))
    inputs = from_counts(counts[:, :, : outcome.rows])
    if scenario in ("task", "domain") and outcome.rows == counts.shape[2]:
        initial = next(iter(outcome.initial.values()))
        inputs["initial"] = accuracy_matrix(initial[:, None])[:, 0]
    if scenario == "class":
        inputs["task_classes"] = (counts[:, -1].sum(axis=-1) > 0)[:, : outcome.rows]
    if len(outcome.between["task"]):
        inputs |= _evaluations(outcome, accuracy_matrix(counts))
    return inputs


def _evaluations(outcome: Outcome, matrix: Array) -> dict[str, Array]:
    """Return the accuracies at all N evaluations in order, [S, N, T], and their tasks, [N]."""
    tasks = np.concatenate([outcome.between["task"], np.arange(outcome.rows)])
    # stable: evaluations within a task precede the one at its end
    order = np.argsort(tasks, kind="stable")
    values = np.concatenate([accuracy_matrix(outcome.between["counts"]), matrix], axis=1)
    return {"accuracies": values[:, order], "task_of_evaluation": tasks[order]}
