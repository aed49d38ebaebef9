"""Sentences shared by captions: on ±, intervals, bounds, and the choice of configurations."""

from __future__ import annotations

from collections.abc import Iterable

from analysis import numbers
from analysis.metrics import METRICS, ReadoutMetric
from analysis.one_study.analyse import END_OF_STREAM, Analysis, StudyRecord

TUNED_ON = {
    "end_of_stream": "the whole stream",
    "first_tasks": "the first tasks",
    "held_out_stream": "another stream",
}
NOT_TUNED = "No method was tuned."
CHOSEN_BEFORE = (
    "Nothing was tuned here: an earlier study chose the configurations, on the seeds {}."
)


def definitions(metrics: Iterable[ReadoutMetric]) -> list[str]:
    """Return `name: description` of each metric, once for all readouts."""
    names = dict.fromkeys(key.metric for key in metrics)
    return [f"{name}: {METRICS[name].description}" for name in names]


def units(analysis: Analysis) -> str:
    """Return the unit of pairing in the plural."""
    return numbers.plural(analysis.record.unit)


def seeds_vary(record: StudyRecord) -> str:
    """Return a clause on what differs between seeds, and what does not."""
    return (
        f"seeds differ in {numbers.enumeration(record.varied)}, and not in "
        f"{numbers.enumeration(record.unvaried)}"
    )


def spread(analysis: Analysis) -> str:
    """Return a sentence on ±: the standard deviation, over which units, and what a unit varies."""
    varies = f"; {seeds_vary(analysis.record)}" if analysis.record.unit == "seed" else ""
    return (
        "± is the sample standard deviation (ddof 1) over n confirmation "
        f"{units(analysis)}{varies}."
    )


def no_interval(analysis: Analysis, ends: Iterable[float | None]) -> str:
    """Return a sentence on missing intervals; empty if every interval has both ends."""
    if None not in ends:
        return ""
    reasons = f"fewer than 3 {units(analysis)} or for identical values"
    if any(row.counted_as is not None for row in analysis.methods):
        reasons += f", nor sd or interval where failed {units(analysis)} count as a score"
    return f"No interval for {reasons}."


def offline_bounds(analysis: Analysis) -> str:
    """Return a sentence on the offline bounds; empty for a study without offline bounds."""
    names = [row.method for row in analysis.methods if row.is_offline]
    if not names:
        return ""
    return (
        f"{', '.join(names)}: an offline bound, trained on all tasks at once from the start; not a "
        "continual-learning method."
    )


def out_of_range(analysis: Analysis, ends: Iterable[float | None]) -> str:
    """Return a sentence on intervals beyond the range of an accuracy; empty without such ends."""
    beyond = any(x is not None and not 0 <= x <= 1 for x in ends)
    if not beyond or analysis.metric.unit != METRICS["average_accuracy"].unit:
        return ""
    return f"A t-interval may leave the range of an accuracy, 0 to {analysis.form.scale:g}."


def readouts(analysis: Analysis) -> str:
    """Return a sentence on `metric [readout]`; empty if no method has several readouts."""
    methods = [m for m in analysis.record.methods if len(m.readouts) > 1]
    if not methods:
        return ""
    primary = ", ".join(f"{m.readouts[0]} of {m.method}" for m in methods)
    return (
        "metric [readout]: the metric of a further readout of the learner; all other numbers are "
        f"of the primary readout ({primary})."
    )


def selection_and_shift(analysis: Analysis) -> str:
    """Return sentences on selection and shift, and on what is missing."""
    sentences = [
        "selection: by how much best is better than the mean of the recheck, which trains the same "
        "configuration on fresh seeds and scores it as the sweep does: the luck of "
        "the tuning seeds. In brackets: the standard error; after a single trial, selection is 0 "
        "up to this error.",
        "shift: by how much the recheck is better than the confirmation on the same "
        "seeds, with the standard error of the mean difference: the confirmation also "
        "learns the validation data, and is scored on test data."
        if analysis.record.protocol == END_OF_STREAM
        else "No shift: under this protocol tuning and confirmation are scored on different tasks.",
    ]
    unknown = [row.method for row in analysis.tuning if row.trials and row.selection is None]
    if unknown:
        sentences.append(
            f"No selection for {', '.join(unknown)}: the recheck has not run, or part of it failed."
        )
    return " ".join(sentences)


def name_of_test(analysis: Analysis) -> str:
    """Return the name of the test that decides; it is exact with few seeds only."""
    kind = analysis.rules.test.kind
    return "sign-flip test" if kind == "exact" else f"{kind} test"


def protocol(analysis: Analysis) -> str:
    """Return a sentence on the choice of configurations, for every table of results."""
    if not analysis.was_tuned:
        seeds = analysis.record.tune_seeds
        return CHOSEN_BEFORE.format(numbers.seed_list(seeds)) if seeds else NOT_TUNED
    kept = analysis.record.protocol
    return f"Tuned on validation data of {TUNED_ON.get(kept, kept)}."
