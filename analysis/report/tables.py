"""What an `Analysis` says about the confirmation, as neutral tables of strings.

A `Table` is what a terminal and every format of the report draw: nothing in it is escaped or
styled. The tables of the sweeps are in `tuning_tables`, the same numbers as data in `data`.
"""

from __future__ import annotations

import json

from analysis import wording
from analysis.formats.data import plain
from analysis.one_study.analyse import Analysis, MemoryPoint, MethodRow
from analysis.one_study.published import NOT_COMPARABLE, PublishedRow
from analysis.one_study.trajectories import Trajectory
from analysis.report import captions
from analysis.report.blocks import Table
from analysis.report.captions import LOWER, definitions, plus_minus, protocol, spread, units
from analysis.report.comparison_tables import comparison_table, evidence_table, verdict_table
from analysis.report.tuning_tables import tuning_table

__all__ = [
    "Table",
    "comparison_table",
    "configuration_table",
    "diagnostic_table",
    "evidence_table",
    "failure_table",
    "footprint_table",
    "memory_table",
    "method_table",
    "per_task_table",
    "published_table",
    "secondary_table",
    "seed_table",
    "tuning_table",
    "verdict_table",
]


def method_table(analysis: Analysis) -> Table:
    """Each method's primary metric over its confirmation seeds."""
    level = wording.percent(analysis.rules.confidence)
    known = [row for row in analysis.methods if row.mean is not None]
    ends = [end for row in known for end in (row.ci_low, row.ci_high)]
    remarks = (captions.no_interval(analysis, ends), captions.outside(analysis, ends))
    more = " ".join((captions.offline(analysis), *remarks))
    direction = "higher" if analysis.metric.higher_is_better else "lower"
    return Table(
        "Methods",
        ("method", "n", "failed", f"{analysis.metric.name} (mean ± sd)", f"{level} CI of the mean"),
        tuple(
            (
                row.method
                + (" (reference)" if row.is_reference else "")
                + (" (offline bound)" if row.is_offline else ""),
                str(row.n),
                str(row.failed),
                plus_minus(row.mean, row.sd),
                wording.interval(row.ci_low, row.ci_high),
            )
            for row in analysis.methods
        ),
        f"{spread(analysis)} The interval is the t-interval of the mean. "
        f"{direction.capitalize()} is better. {protocol(analysis)} {more}",
        "methods",
    )


def per_task_table(analysis: Analysis) -> Table:
    """Each method's final accuracy on each task."""
    tasks = max((len(t.tasks.mean) for t in analysis.trajectories), default=0)
    absent = [m.method for m in analysis.methods if m.method not in _travelled(analysis)]
    why = f"for a failed {analysis.record.unit} or no matrix"
    missing = f" Not shown, {why}: {', '.join(absent)}." if absent else ""
    return Table(
        "Final accuracy on each task",
        ("method", "n", *(f"task {j}" for j in range(1, tasks + 1))),
        tuple(_task_row(trajectory, tasks) for trajectory in analysis.trajectories),
        f"Accuracy on each task after the last one has been learnt. {spread(analysis)}{missing}",
        "per_task",
    )


def memory_table(analysis: Analysis) -> Table:
    """Bytes of past data beside the primary metric."""
    level, shown = _level(analysis), {point.method for point in analysis.memory}
    ends = [end for point in analysis.memory for end in (point.ci_low, point.ci_high)]
    absent = [row for row in analysis.methods if row.method not in shown and (row.n or row.failed)]
    return Table(
        "Memory and accuracy",
        (
            *("method", "memory (bytes)", "memory (samples)", analysis.metric.name),
            *(f"{level} CI of the mean", "front"),
        ),
        (*map(_memory_row, analysis.memory), *map(_no_mean, absent)) if shown else (),
        f"Past data a method keeps at the end of the stream. {_sample(analysis)} The mean is over "
        f"confirmation {units(analysis)}, with its t-interval. Dominated: another method "
        "needs no more memory and a mean no worse, and is better in one of the two; the intervals "
        f"may overlap. {captions.no_interval(analysis, ends)} {captions.outside(analysis, ends)}",
        "memory",
    )


def secondary_table(analysis: Analysis) -> Table:
    """The other metrics: exploratory, without verdicts."""
    return Table(
        "Secondary metrics",
        ("method", "metric", "n", "mean ± sd", "difference", "q"),
        tuple(
            (
                row.method,
                row.metric,
                str(row.n),
                plus_minus(row.mean, row.sd),
                wording.number(row.difference),
                wording.p_value(row.q).replace("p <", "q <"),
            )
            for row in analysis.secondary
            if row.n
        ),
        f"Exploratory. {spread(analysis)} q: sign-flip p against the reference (from 14 "
        f"{units(analysis)} on by 9,999 random flips) after Benjamini-Hochberg over this table. "
        f"{_better(analysis)} {captions.readouts(analysis)} "
        + ("An offline bound has no metrics of transfer." if captions.offline(analysis) else ""),
        "secondary",
    )


def diagnostic_table(analysis: Analysis) -> Table:
    """What the methods measured about themselves, at the end of the stream."""
    return Table(
        "Method diagnostics after the last task",
        ("method", "diagnostic", "of", "n", "mean ± sd", "unit"),
        tuple(
            (
                row.method,
                row.title,
                row.label or wording.MISSING,
                str(row.n),
                plus_minus(row.band.mean[-1], row.band.sd[-1]),
                row.unit or wording.MISSING,
            )
            for row in analysis.diagnostics
            if row.band.mean
        ),
        spread(analysis),
        "diagnostics",
    )


def footprint_table(analysis: Analysis) -> Table:
    """Bytes each method holds, by kind."""
    kinds = list(dict.fromkeys(kind for row in analysis.methods for kind in row.footprint))
    return Table(
        "Footprint",
        ("method", *kinds, "memory (samples)"),
        tuple(
            (row.method, *(_bytes(row, kind) for kind in kinds), _samples(row.memory_samples))
            for row in analysis.methods
            if row.footprint
        ),
        f"Bytes held at the end of the stream. {_sample(analysis)}",
        "footprint",
    )


def configuration_table(analysis: Analysis) -> Table:
    """The configuration each method was confirmed with."""
    nothing = {method.method for method in analysis.record.methods if method.unconfirmed}
    return Table(
        "Configurations",
        ("method", "learner", "configuration"),
        tuple(
            (row.method, row.learner, json.dumps(plain(row.configuration), ensure_ascii=False))
            for row in analysis.methods
            if row.method not in nothing
        ),
        "What each method was confirmed with.",
        "configurations",
    )


def failure_table(analysis: Analysis) -> Table:
    """Every confirmation seed that failed, and every method that has nothing to confirm."""
    return Table(
        "Failures",
        ("method", analysis.record.unit, "reason", "counted as"),
        tuple(
            (
                f.method,
                "none ran" if f.seed is None else str(f.seed),
                f.reason,
                wording.number(f.counted_as),
            )
            for f in analysis.failures
        ),
        "A failure that counts as no score blocks the verdict.",
        "failures",
    )


def seed_table(analysis: Analysis) -> Table:
    """Every paired score: the raw seeds behind the means."""
    seeds = sorted({seed for row in analysis.methods for seed in row.scores})
    return Table(
        f"Raw {units(analysis)}",
        ("method", *(str(seed) for seed in seeds)),
        tuple(
            (row.method, *(wording.number(row.scores.get(seed)) for seed in seeds))
            for row in analysis.methods
            if row.scores
        ),
        f"{analysis.metric.name} of each confirmation {analysis.record.unit}; compare down a "
        "column.",
        "seeds",
    )


def published_table(analysis: Analysis) -> Table:
    """Published figures beside the measured ones."""
    names = list(dict.fromkeys(row.metric for row in analysis.published))
    return Table(
        "Published against measured",
        (
            *("method", "metric", "published (mean ± sd)", "measured (mean ± sd)"),
            *("verdict", "widened interval", "source"),
        ),
        tuple(_published_row(row) for row in analysis.published),
        "n: runs behind a figure. Reproduced: the published mean lies in our "
        f"{_level(analysis)} t-interval, widened on both sides by half the published interval "
        f"where that is known. {' '.join(definitions(names))} {_brackets(analysis)}",
        "published",
    )


def _level(analysis: Analysis) -> str:
    return wording.percent(analysis.rules.confidence)


def _travelled(analysis: Analysis) -> set[str]:
    return {trajectory.method for trajectory in analysis.trajectories}


def _task_row(trajectory: Trajectory, tasks: int) -> tuple[str, ...]:
    band = trajectory.tasks
    known = [plus_minus(*pair) for pair in zip(band.mean, band.sd, strict=True)]
    padding = [wording.MISSING] * (tasks - len(known))
    return (trajectory.method, str(trajectory.n), *known, *padding)


def _memory_row(point: MemoryPoint) -> tuple[str, ...]:
    return (
        point.method,
        f"{point.memory:,}",
        _samples(point.samples),
        wording.number(point.mean),
        wording.interval(point.ci_low, point.ci_high),
        "on the front" if point.on_front else "dominated",
    )


def _no_mean(row: MethodRow) -> tuple[str, ...]:
    """A method without a mean, for a failed seed."""
    samples = _samples(row.memory_samples)
    return (row.method, _bytes(row, "memory"), samples, *[wording.MISSING] * 3)


def _brackets(analysis: Analysis) -> str:
    named = any("[" in row.metric for row in analysis.published)
    return captions.readouts(analysis) if named else ""


def _published_row(row: PublishedRow) -> tuple[str, ...]:
    return (
        row.method,
        row.metric,
        _counted(row.published, row.published_sd, row.published_n),
        _counted(row.mean, row.sd, row.n),
        f"{row.verdict}: {row.reason}" if row.verdict == NOT_COMPARABLE else row.verdict,
        wording.interval(row.low, row.high),
        row.source,
    )


def _counted(mean: float | None, sd: float | None, n: int | None) -> str:
    text = plus_minus(mean, sd)
    return f"{text} (n = {n})" if n and mean is not None else text


def _better(analysis: Analysis) -> str:
    shown = {row.metric.partition(" [")[0] for row in analysis.secondary if row.n}
    lower = [name for name in LOWER if name in shown]
    if not lower:
        return "Higher is better."
    return f"Lower is better for {', '.join(lower)}, higher for the others."


def _sample(analysis: Analysis) -> str:
    """What memory in samples is."""
    size = analysis.record.sample_bytes
    if not size:
        return "The size of a raw sample is not known, so memory has no number of samples."
    return f"Memory in samples: as many raw ones, {size:,} bytes each with the label, take as much."


def _samples(amount: float | None) -> str:
    if amount is None:
        return wording.MISSING
    return f"{amount:,.0f}" if amount.is_integer() else f"{amount:,.1f}"


def _bytes(row: MethodRow, kind: str) -> str:
    return f"{row.footprint[kind]:,}" if kind in row.footprint else wording.MISSING
