"""What captions say about numbers: what a ± is, over what, and how configurations were chosen."""

from __future__ import annotations

from collections.abc import Iterable

from analysis import wording
from analysis.metrics import METRICS
from analysis.one_study.analyse import END_OF_STREAM, Analysis
from analysis.one_study.bounds import GAP

SEED_VARIES = (
    "a seed varies everything random (class order or permutation, initial weights, batches, "
    "memory, spikes)"
)

NOT_TUNED = "No method was tuned."
CHOSEN_BEFORE = "Nothing was tuned here: a study before chose the configurations, on the seeds {}."

LOWER = ("forgetting", "recency_bias", GAP)  # secondary metrics of which less is better

# of what is computed from more than the confusion counts
FURTHER = {
    "forward_transfer": "Accuracy on a task before it is learnt, above that of the untrained "
    "network: (1/(T-1)) sum_{j>1} (R[j-1,j] - b_j).",
    "recency_bias": "Share of the old tasks' test samples predicted as a class of the newest task, "
    "at the end.",
    "min_accuracy": "Lowest accuracy on the old tasks at any evaluation since they were learnt, "
    "mean over them (De Lange et al. 2023).",
    "worst_case_accuracy": "min_accuracy and the accuracy on the newest task, weighed by the tasks "
    "learnt (De Lange et al. 2023).",
    GAP: "Share of the way from joint training (0) to naive fine-tuning (1): "
    "(ACC_joint - ACC) / (ACC_joint - ACC_finetune); no mean where a seed has these two equal.",
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


def no_interval(analysis: Analysis, ends: Iterable[float | None]) -> str:
    """Why an interval is missing, where one is."""
    return f"No interval below 3 {units(analysis)}, nor where all agree." if None in ends else ""


def offline(analysis: Analysis) -> str:
    """Which methods are bounds, in a sentence; empty where none is."""
    names = [row.method for row in analysis.methods if row.is_offline]
    if not names:
        return ""
    return (
        f"{', '.join(names)}: an offline bound, trained on all tasks at once from the start, no "
        "method of continual learning."
    )


def outside(analysis: Analysis, bounds: Iterable[float | None]) -> str:
    """That an interval leaves the range of an accuracy, where one does."""
    beyond = any(x is not None and not 0 <= x <= 1 for x in bounds)
    if not beyond or analysis.metric.unit != METRICS["average_accuracy"].unit:
        return ""
    return "A t-interval may leave the range of an accuracy, 0 to 1."


def readouts(analysis: Analysis) -> str:
    """What `metric [readout]` means, where a method has several."""
    several = [m for m in analysis.record.methods if len(m.readouts) > 1]
    if not several:
        return ""
    primary = ", ".join(f"{m.readouts[0]} of {m.method}" for m in several)
    return (
        "metric [readout]: of another readout of the same learner than the primary one, which "
        f"everything else is about ({primary})."
    )


def optimism(analysis: Analysis) -> str:
    """What selection optimism is, or why there is none."""
    if analysis.record.protocol == END_OF_STREAM:
        return (
            "Selection optimism: how much better the best tuning mean looked than the confirmation "
            "mean."
        )
    return (
        "No selection optimism: under this protocol a sweep scores other tasks than the "
        "confirmation."
    )


def protocol(analysis: Analysis) -> str:
    """How the configurations were chosen, as every table of results says it."""
    if not analysis.was_tuned:
        seeds = analysis.record.tune_seeds
        return CHOSEN_BEFORE.format(wording.seed_list(seeds)) if seeds else NOT_TUNED
    return f"Tuning protocol: {analysis.record.protocol}."
