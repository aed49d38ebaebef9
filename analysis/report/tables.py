"""Tables of the confirmation.

Tables of comparisons are in `comparison_tables`, of sweeps in `tuning_tables`, and tables only of
files, such as the numbers behind the figures, in `file_tables`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Any

from analysis import numbers
from analysis.forms import Form
from analysis.metrics import (
    METRICS,
    ReadoutMetric,
    tested_metrics,
)
from analysis.one_study.analyse import Analysis, Failure, MethodRow, SecondaryRow
from analysis.one_study.planning import Plan
from analysis.one_study.published import PublishedRow
from analysis.one_study.trajectories import Diagnostic, Trajectory
from analysis.records import StudyRecord
from analysis.report import captions
from analysis.report.blocks import Table
from analysis.report.captions import definitions, protocol, spread, units
from analysis.report.columns import (
    Column,
    configuration_text,
    item_of,
    merged,
    number_column,
    plus_minus_of_any_size,
    thousands,
    two_decimals,
)


def method_table(analysis: Analysis) -> Table:
    """Return each method's primary metric over the confirmation seeds."""
    failed = partial(_failed, analysis.form)
    rows = [row for row in analysis.methods if row.mean is not None]
    ends = [end for row in rows for end in (row.ci_low, row.ci_high)]
    better, form = "Higher" if analysis.metric.higher_is_better else "Lower", analysis.form
    return Table(
        "Methods",
        (
            Column("method"),
            Column("", "method", _marked_method),
            number_column("n", "n", format=str),
            number_column("", "failed", attrgetter("failed", "n", "counted_as"), failed),
            *merged(form.heading, form.plus_minus, "mean", "sd"),
            *merged(f"{_level(analysis)} CI of the mean", form.interval, "ci_low", "ci_high"),
            *map(Column, ("configuration", "footprint", "learner", "failed")),
        ),
        analysis.methods,
        f"{spread(analysis)} The interval is the t-interval of the mean. {better} is better. "
        f"{protocol(analysis)} {captions.offline_bounds(analysis)} "
        f"{captions.no_interval(analysis, ends)} {captions.out_of_range(analysis, ends)}",
        "methods",
    )


def per_task_table(analysis: Analysis) -> Table:
    """Return each method's final accuracy on each task."""
    tasks = max((len(t.tasks.mean) for t in analysis.trajectories), default=0)
    shown = {trajectory.method for trajectory in analysis.trajectories}
    absent = [m.method for m in analysis.methods if m.method not in shown]
    reason = f"because of a failed {analysis.record.unit} or a missing accuracy matrix"
    missing = f" Not shown, {reason}: {', '.join(absent)}." if absent else ""
    form = analysis.record.form_of_accuracy
    return Table(
        "Final accuracy on each task",
        (
            Column("method", "method"),
            number_column("n", "n", format=str),
            *(
                number_column("", f"task {j + 1}{form.unit}", partial(_on_task, j), form.plus_minus)
                for j in range(tasks)
            ),
        ),
        analysis.trajectories,
        f"Accuracy on each task after the last one has been learnt. {spread(analysis)}{missing}",
        "per_task",
    )


def memory_table(analysis: Analysis) -> Table:
    """Return what each method holds beside its network, with the primary metric."""
    places = {point.method: point.place for point in analysis.memory}
    ends = [end for point in analysis.memory for end in (point.ci_low, point.ci_high)]
    placed, form = tuple(row for row in analysis.methods if row.method in places), analysis.form
    absent = [row for row in analysis.methods if row.method not in places and (row.n or row.failed)]
    return Table(
        "Bytes held and accuracy",
        (
            Column("method", "method"),
            number_column("held", "held (bytes)", format=thousands),
            number_column("memory", "past data (bytes)", item_of("footprint", "memory"), thousands),
            number_column("samples", "past data (samples)", attrgetter("memory_samples"), _samples),
            number_column("mean", form.heading, format=form.mean),
            *merged(f"{_level(analysis)} CI of the mean", form.interval, "ci_low", "ci_high"),
            Column("place", "place", lambda row: places.get(row.method)),
        ),
        (*placed, *absent) if placed else (),
        "Held: everything beside the network at the end of the stream (past data, importances, "
        f"teachers, features). {_sample_size(analysis)} The mean is over confirmation "
        f"{units(analysis)}, with its t-interval. On the front: the interval is better than that "
        "of each method that holds as much or less; dominated: one of theirs is better; otherwise "
        f"undecided. {captions.no_interval(analysis, ends)} "
        f"{captions.out_of_range(analysis, ends)}",
        "memory",
        file_rows=placed,
    )


def secondary_table(analysis: Analysis) -> Table:
    """Return the secondary metrics: a row for each method, a column for each metric."""
    by_method: dict[str, dict[ReadoutMetric, SecondaryRow]] = {}
    for row in analysis.secondary:
        if row.n:
            by_method.setdefault(row.method, {})[row.metric] = row
    metrics = dict.fromkeys(metric for rows in by_method.values() for metric in rows)
    return Table(
        "Secondary metrics",
        (
            Column("", "method", itemgetter(0)),
            *(
                number_column(
                    "",
                    _heading(analysis, metric),
                    partial(_score, analysis, metric),
                    str,
                    lower_is_better=not METRICS[metric.metric].higher_is_better,
                )
                for metric in metrics
            ),
        ),
        tuple(by_method.items()),
        f"Exploratory, without verdicts. {spread(analysis)} ↑: higher is better; ↓: lower is "
        f"better. *: q ≤ {analysis.rules.alpha:g}, the sign-flip p of the difference to the "
        f"reference (from 14 {units(analysis)} on by 9,999 random flips) after Benjamini-Hochberg "
        f"over the metrics that are tested: {', '.join(tested_metrics(analysis.metric.name))} "
        f"(numbers in secondary.csv). {captions.readouts(analysis)} "
        + ("An offline bound has no metrics of transfer." if _has_offline_bound(analysis) else ""),
        "secondary",
    )


def diagnostic_table(analysis: Analysis) -> Table:
    """Return the methods' own measurements at the end of the stream."""
    return Table(
        "Method diagnostics after the last task",
        (
            Column("method", "method"),
            Column("title", "diagnostic"),
            Column("", "of", lambda row: row.label or None),
            number_column("n", "n", format=str),
            number_column("", "mean ± sd", _last_of_band, plus_minus_of_any_size),
            Column("", "unit", lambda row: row.unit or None),
        ),
        tuple(row for row in analysis.diagnostics if row.n),
        f"{spread(analysis)} n: {numbers.plural(analysis.record.unit)} with a value.",
        "diagnostics",
    )


def _last_of_band(row: Diagnostic) -> tuple[float | None, float | None]:
    """Return the mean and the standard deviation after the last task."""
    return row.band.mean[-1], row.band.sd[-1]


def footprint_table(analysis: Analysis) -> Table:
    """Return the bytes that each method holds, by kind."""
    kinds = dict.fromkeys(kind for row in analysis.methods for kind in row.footprint)
    return Table(
        "Footprint",
        (
            Column("method", "method"),
            *(number_column(kind, kind, item_of("footprint", kind), thousands) for kind in kinds),
            number_column("memory_samples", "memory (samples)", format=_samples),
        ),
        tuple(row for row in analysis.methods if row.footprint),
        f"Bytes held at the end of the stream, mean over {numbers.plural(analysis.record.unit)}. "
        f"{_sample_size(analysis)}",
        "footprint",
    )


def configuration_table(analysis: Analysis) -> Table:
    """Return the configuration of each method in the confirmation."""
    unconfirmed = {method.method for method in analysis.record.methods if method.unconfirmed}
    return Table(
        "Configurations",
        (
            Column("method", "method"),
            Column("learner", "learner"),
            Column("configuration", "configuration", format=configuration_text),
        ),
        tuple(row for row in analysis.methods if row.method not in unconfirmed),
        "The configuration of each method in the confirmation: options that have a value, "
        "fractions with four digits (exact ones in configurations.csv).",
        "configurations",
        file_rows=analysis.methods,
    )


def failure_table(analysis: Analysis) -> Table:
    """Return every failed confirmation seed, and every method without a confirmation."""
    form = analysis.form
    only_seeds = all(failure.seed is not None for failure in analysis.failures)
    return Table(
        "Failures",
        (
            Column("method", "method"),
            Column("seed"),
            Column("", analysis.record.unit, _failed_seed, is_number=only_seeds),
            Column("reason", "reason"),
            Column(
                "configuration",
                "configuration",
                lambda row: row.configuration or None,
                configuration_text,
            ),
            number_column("counted_as", f"counted as{form.unit}", format=form.mean),
        ),
        analysis.failures,
        "A failure without a score in the last column blocks the verdict. What crashed may end "
        "otherwise: `run --retry-failed` runs it again. What diverged would diverge again in the "
        "same configuration.",
        "failures",
    )


def seed_table(analysis: Analysis) -> Table:
    """Return the score of every seed."""
    seeds = sorted({seed for row in analysis.methods for seed in row.scores})
    return Table(
        f"Raw {units(analysis)}",
        (
            Column("method", "method"),
            *(number_column("", str(s), item_of("scores", s), analysis.form.value) for s in seeds),
        ),
        tuple(row for row in analysis.methods if row.scores),
        f"{numbers.begin(analysis.form.heading)} of each confirmation {analysis.record.unit}; "
        "compare down a column.",
        "seeds",
    )


def published_table(analysis: Analysis) -> Table:
    """Return published results beside the measured results."""
    record = analysis.record
    published, measured = ("published", "published_sd", "published_n"), ("mean", "sd", "n")
    return Table(
        "Published against measured",
        (
            Column("method", "method"),
            Column("metric", value=lambda row: str(row.metric)),
            Column("", "metric", partial(_published_metric, record)),
            *map(Column, (*published, "source", "n", "mean", "sd", "difference", "low", "high")),
            *map(Column, ("tolerance", "verdict", "reason")),
            _with_runs(record, "published (mean ± sd)", published),
            _with_runs(record, "measured (mean ± sd)", measured),
            number_column(
                "",
                f"measured - published, {_level(analysis)} interval",
                lambda row: record.form_of(row.metric.metric).interval((row.low, row.high)),
                str,
            ),
            Column("", "verdict", attrgetter("verdict", "reason"), ": ".join),
            Column("", "source", attrgetter("source")),
        ),
        analysis.published,
        "n: number of runs. Reproduced: the t-interval of the difference, with the published "
        "error if that is known, lies within the tolerance; not reproduced: it lies beyond; "
        "everything else cannot be told with these "
        f"{units(analysis)}. {' '.join(definitions(row.metric for row in analysis.published))} "
        f"{_published_readouts(analysis)}",
        "published",
    )


def _published_metric(record: StudyRecord, row: PublishedRow) -> str:
    return f"{row.metric}{record.form_of(row.metric.metric).unit}"


def _with_runs(record: StudyRecord, heading: str, keys: tuple[str, str, str]) -> Column[Any]:
    """Return a column of `mean ± sd (n = runs)`."""

    def text(row: PublishedRow) -> str | None:
        mean, sd, n = attrgetter(*keys)(row)
        written = record.form_of(row.metric.metric).plus_minus((mean, sd))
        return f"{written} (n = {n})" if n and written else written

    return number_column("", heading, text, str)


def power_table(method: str, plan: Plan, form: Form) -> Table:
    """Return the smallest difference that n seeds show, for several n."""
    units = numbers.plural(plan.unit)
    return Table(
        f"{numbers.begin(units)} for {method}",
        (
            Column("", units, lambda row: f"{row.n} (planned)" if row.planned else str(row.n)),
            number_column("size", "in sd", format=two_decimals),
            number_column("difference", f"difference{form.unit_of_differences}", format=form.value),
            number_column(
                "difference_upper", "at the upper limit of the spread", format=form.value
            ),
            Column("attainable", "verdict possible", format=_verdict_possible),
        ),
        plan.detectable,
        f"Smallest true difference to the reference that is seen with {plan.power:.0%} power at "
        f"{plan.alpha:g}/{plan.comparisons}. sd: standard deviation of the paired differences.",
        f"power-{method}",
    )


def _verdict_possible(attainable: bool) -> str:
    return "yes" if attainable else "suggestion only"


def _level(analysis: Analysis) -> str:
    return numbers.percent(analysis.rules.confidence)


def _failed(form: Form, counts: tuple[int, int, float | None]) -> str:
    """Return the number of failed seeds, and where they count: of how many, and as which score."""
    failed, n, counted_as = counts
    return (
        str(failed)
        if counted_as is None
        else f"{failed} of {n}, as {form.with_unit(counted_as)} each"
    )


def _failed_seed(failure: Failure) -> int | str:
    return "none ran" if failure.seed is None else failure.seed


def _marked_method(row: MethodRow) -> str:
    """Return a method's name, with a mark on the reference and on offline bounds."""
    reference = " (reference)" if row.is_reference else ""
    return row.method + reference + (" (offline bound)" if row.is_offline else "")


def _on_task(task: int, row: Trajectory) -> tuple[float | None, float | None]:
    tasks = zip(row.tasks.mean, row.tasks.sd, strict=True)
    return next(islice(tasks, task, None), (None, None))


def _published_readouts(analysis: Analysis) -> str:
    has_readout = any(row.metric.readout for row in analysis.published)
    return captions.readouts(analysis) if has_readout else ""


def _heading(analysis: Analysis, metric: ReadoutMetric) -> str:
    """Return the name of a metric with an arrow towards better values."""
    of = METRICS[metric.metric]
    readout = f" [{metric.readout}]" if metric.readout else ""
    heading = analysis.record.form_of(metric.metric).heading
    return f"{heading}{readout} {'↑' if of.higher_is_better else '↓'}"


def _score(
    analysis: Analysis,
    metric: ReadoutMetric,
    item: tuple[str, Mapping[ReadoutMetric, SecondaryRow]],
) -> str | None:
    row = item[1].get(metric)
    if row is None:
        return None
    text = analysis.record.form_of(metric.metric).plus_minus((row.mean, row.sd))
    is_different = row.q is not None and row.q <= analysis.rules.alpha
    return f"{text}*" if text and is_different else text


def _has_offline_bound(analysis: Analysis) -> bool:
    return any(row.is_offline for row in analysis.methods)


def _sample_size(analysis: Analysis) -> str:
    """Return a sentence on memory in samples."""
    size = analysis.record.sample_bytes
    if not size:
        return "The size of a raw sample is not known, so memory is not given in samples."
    return (
        f"Memory in samples: the number of raw samples, {size:,} bytes each with the label, that "
        "take the same space."
    )


def _samples(amount: float) -> str:
    return f"{amount:,.0f}" if amount.is_integer() else f"{amount:,.1f}"
