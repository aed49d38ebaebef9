"""What an `Analysis` says about the confirmation, as neutral tables of strings.

A `Table` is what a terminal and every format of the report draw: nothing in it is escaped or
styled. The tables of the sweeps are in `tuning_tables`, the same numbers as data in `data`.
"""

from __future__ import annotations

import json

from analysis import wording
from analysis.blocks import Table
from analysis.captions import definitions, plus_minus, protocol, spread, units
from analysis.comparison_tables import comparison_table, evidence_table, verdict_table
from analysis.data import plain, to_csv, to_json
from analysis.published import PublishedRow
from analysis.results import Analysis, MemoryPoint, MethodRow
from analysis.trajectories import Trajectory
from analysis.tuning_tables import tuning_table

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
    "to_csv",
    "to_json",
    "tuning_table",
    "verdict_table",
]


def method_table(analysis: Analysis) -> Table:
    """Each method's primary metric over its confirmation seeds."""
    level = wording.percent(analysis.rules.confidence)
    direction = "higher" if analysis.metric.higher_is_better else "lower"
    return Table(
        "Methods",
        ("method", "n", "failed", f"{analysis.metric.name} (mean ± sd)", f"{level} CI of the mean"),
        tuple(
            (
                row.method + (" (reference)" if row.is_reference else ""),
                str(row.n),
                str(row.failed),
                plus_minus(row.mean, row.sd),
                wording.interval(row.ci_low, row.ci_high),
            )
            for row in analysis.methods
        ),
        f"{spread(analysis)} The interval is the t-interval of the mean. "
        f"{direction.capitalize()} is better. {protocol(analysis)}",
        "methods",
    )


def per_task_table(analysis: Analysis) -> Table:
    """Each method's final accuracy on each task."""
    tasks = max((len(t.tasks.mean) for t in analysis.trajectories), default=0)
    absent = [m.method for m in analysis.methods if m.method not in _travelled(analysis)]
    missing = f" Not shown, for a failed seed or no matrix: {', '.join(absent)}." if absent else ""
    return Table(
        "Final accuracy on each task",
        ("method", "n", *(f"task {j}" for j in range(1, tasks + 1))),
        tuple(_task_row(trajectory, tasks) for trajectory in analysis.trajectories),
        f"Accuracy on each task after the last one has been learnt. {spread(analysis)}{missing}",
        "per_task",
    )


def memory_table(analysis: Analysis) -> Table:
    """Bytes of past data beside the primary metric."""
    level = _level(analysis)
    return Table(
        "Memory and accuracy",
        ("method", "memory (bytes)", analysis.metric.name, f"{level} CI of the mean", "front"),
        tuple(_memory_row(point) for point in analysis.memory),
        "Bytes of past data a method keeps, and its mean over confirmation "
        f"{units(analysis)} with the t-interval. Dominated: another method needs no more memory "
        "and a mean no worse, and is better in one of the two; the intervals may overlap.",
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
        "seeds on by 9,999 random flips) after Benjamini-Hochberg over this table. Lower is better "
        "for forgetting and recency_bias, higher for the others.",
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
        ("method", *kinds),
        tuple(
            (row.method, *(_bytes(row, kind) for kind in kinds))
            for row in analysis.methods
            if row.footprint
        ),
        "Bytes held at the end of the stream.",
        "footprint",
    )


def configuration_table(analysis: Analysis) -> Table:
    """The configuration each method was confirmed with."""
    return Table(
        "Configurations",
        ("method", "learner", "configuration"),
        tuple(
            (row.method, row.learner, json.dumps(plain(row.configuration), ensure_ascii=False))
            for row in analysis.methods
        ),
        "What each method was confirmed with.",
        "configurations",
    )


def failure_table(analysis: Analysis) -> Table:
    """Every confirmation seed that failed."""
    return Table(
        "Failures",
        ("method", analysis.record.unit, "reason", "counted as"),
        tuple(
            (f.method, str(f.seed), f.reason, wording.number(f.counted_as))
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
            *("method", "metric", "published (mean ± sd)", "source"),
            *("measured (mean ± sd)", "widened interval", "verdict", "reason"),
        ),
        tuple(_published_row(row) for row in analysis.published),
        "n: runs behind a figure. Reproduced: the published mean lies in our "
        f"{_level(analysis)} t-interval, widened on both sides by half the published interval "
        f"where that is known. {' '.join(definitions(names))}".strip(),
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
        wording.number(point.mean),
        wording.interval(point.ci_low, point.ci_high),
        "on the front" if point.on_front else "dominated",
    )


def _published_row(row: PublishedRow) -> tuple[str, ...]:
    return (
        row.method,
        row.metric,
        _counted(row.published, row.published_sd, row.published_n),
        row.source,
        _counted(row.mean, row.sd, row.n),
        wording.interval(row.low, row.high),
        row.verdict,
        row.reason,
    )


def _counted(mean: float | None, sd: float | None, n: int | None) -> str:
    text = plus_minus(mean, sd)
    return f"{text} (n = {n})" if n and mean is not None else text


def _bytes(row: MethodRow, kind: str) -> str:
    return f"{row.footprint[kind]:,}" if kind in row.footprint else wording.MISSING
