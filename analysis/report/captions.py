"""What captions say about numbers: what a ± is, over what, and how configurations were chosen."""

from __future__ import annotations

from collections.abc import Iterable

from analysis import wording
from analysis.metrics import METRICS, ReadoutMetric
from analysis.one_study.analyse import END_OF_STREAM, Analysis

SEED_VARIES = (
    "a seed varies everything random (class order or permutation, initial weights, batches, "
    "memory, spikes)"
)

NOT_TUNED = "No method was tuned."
CHOSEN_BEFORE = "Nothing was tuned here: a study before chose the configurations, on the seeds {}."


def definitions(metrics: Iterable[ReadoutMetric]) -> list[str]:
    """`name: what it is` of each metric, once for all its readouts."""
    names = dict.fromkeys(of.metric for of in metrics)
    return [f"{name}: {METRICS[name].description}" for name in names]


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
