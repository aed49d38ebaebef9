"""What a metric makes of an outcome: a number for each seed."""

from __future__ import annotations

import numpy as np

from analysis.metrics import (
    METRICS,
    accuracy_matrix,
    forward_transfer,
    min_accuracy,
    recency_bias,
    worst_case_accuracy,
)
from trainables.engine.outcome import Array, Outcome


def of_readout(metric: str, readout: str) -> str:
    """Name a metric of another readout than the primary one."""
    return f"{metric} [{readout}]"


def seed_scores(outcome: Outcome, metric: str, readout: str | None = None) -> list[float]:
    """Return a metric of each seed; NaN for a seed that diverged."""
    counts = outcome.counts[readout] if readout else next(iter(outcome.counts.values()))
    return _masked(outcome, METRICS[metric](counts[:, :, : outcome.rows]))


def _masked(outcome: Outcome, scores: Array) -> list[float]:
    """Return the scores, NaN for a seed that diverged."""
    masked: list[float] = np.where(np.all(outcome.finite, axis=1), scores, np.nan).tolist()
    return masked


def all_scores(outcome: Outcome, scenario: str) -> dict[str, list[float]]:
    """Return every metric that is defined for an outcome, of each seed."""
    scores = {name: seed_scores(outcome, name) for name in METRICS}
    for readout in list(outcome.counts)[1:]:
        scores |= {
            of_readout(name, readout): seed_scores(outcome, name, readout) for name in METRICS
        }
    counts = next(iter(outcome.counts.values()))
    matrix = accuracy_matrix(counts)
    further: dict[str, Array] = {}
    if scenario in ("task", "domain") and outcome.rows == matrix.shape[2]:
        initial = accuracy_matrix(next(iter(outcome.initial.values()))[:, None])[:, 0]
        further["forward_transfer"] = forward_transfer(matrix, initial)
    if scenario == "class":
        own_classes = counts[:, -1].sum(axis=-1) > 0
        further["recency_bias"] = recency_bias(
            counts[:, :, : outcome.rows], own_classes[:, : outcome.rows]
        )
    if len(outcome.between["task"]):
        evaluations = _evaluations(outcome, matrix)
        further["min_accuracy"] = min_accuracy(*evaluations)
        further["worst_case_accuracy"] = worst_case_accuracy(*evaluations)
    return scores | {name: _masked(outcome, values) for name, values in further.items()}


def _evaluations(outcome: Outcome, matrix: Array) -> tuple[Array, Array]:
    """Return the accuracies at all evaluations in order, [S, N, T], and the task of each, [N]."""
    tasks = np.concatenate([outcome.between["task"], np.arange(outcome.rows)])
    order = np.argsort(tasks, kind="stable")  # of one task, those within it come first
    values = np.concatenate([accuracy_matrix(outcome.between["counts"]), matrix], axis=1)
    return values[:, order], tasks[order]
