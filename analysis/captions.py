"""What captions say about numbers: what a ± is, over what, and how configurations were chosen."""

from __future__ import annotations

from analysis import wording
from analysis.metrics import METRICS
from analysis.results import Analysis

SEED_VARIES = (
    "a seed varies everything random (class order or permutation, initial weights, batches, "
    "memory, spikes)"
)


# of what is computed from more than the accuracy matrix
FURTHER = {
    "forward_transfer": "Accuracy on a task before it is learnt, above that of the untrained "
    "network: (1/(T-1)) sum_{j>1} (R[j-1,j] - b_j).",
    "recency_bias": "Share of the old tasks' test samples predicted as a class of the newest task, "
    "at the end.",
    "min_accuracy": "Lowest accuracy on the old tasks at any evaluation since they were learnt, "
    "mean over them (De Lange et al. 2023).",
    "worst_case_accuracy": "min_accuracy and the accuracy on the newest task, weighed by the tasks "
    "learnt (De Lange et al. 2023).",
}


def definitions(metrics: list[str]) -> list[str]:
    """`name: what it is` of each metric that has a definition, readouts in brackets left out."""
    bare = dict.fromkeys(name.partition(" [")[0] for name in metrics)
    known = {name: metric.description for name, metric in METRICS.items()} | FURTHER
    return [f"{name}: {known[name]}" for name in bare if name in known]


def plus_minus(mean: float | None, sd: float | None) -> str:
    """`mean ± sd`; the mean alone for one seed."""
    if mean is None or sd is None:
        return wording.number(mean)
    return f"{wording.number(mean)} ± {wording.number(sd)}"


def units(analysis: Analysis) -> str:
    """What is paired, in the plural."""
    return wording.plural(analysis.record.unit)


def spread(analysis: Analysis) -> str:
    """What ± is, over what, and what that varies."""
    varies = f"; {SEED_VARIES}" if analysis.record.unit == "seed" else ""
    return (
        "± is the sample standard deviation (ddof 1) over n confirmation "
        f"{units(analysis)}{varies}."
    )


def protocol(analysis: Analysis) -> str:
    """How the configurations were chosen, as every table of results says it."""
    return f"Tuning protocol: {analysis.record.protocol}."
