"""Tables of the sweeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from analysis import numbers
from analysis.metrics import METRICS
from analysis.one_study.analyse import Analysis
from analysis.records import StudyRecord
from analysis.report.blocks import Table
from analysis.report.captions import protocol, selection_and_shift, units
from analysis.report.columns import (
    Column,
    item_of,
    merged,
    number_column,
    option_value,
    thousands,
    two_decimals,
)

BUDGETS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 100, 200, 500)  # columns of the expected best
MOST_POINTS = 60  # of a page; with more trials, the page shows the front only


class PlacedTrial(NamedTuple):
    """A complete trial of a sweep with several objectives."""

    method: str
    trial: int
    values: tuple[float, ...]
    place: str  # front, dominated or left out


def tuning_table(analysis: Analysis) -> Table:
    """Return the cost and result of each sweep; without rows if no method was tuned."""
    form, points = analysis.form, analysis.form.unit_of_differences
    return Table(
        "Tuning",
        (
            Column("method", "method"),
            number_column("trials", "trials", format=str),
            number_column("", "distinct", lambda row: row.configurations, str),
            *merged("failed, pruned", "{0[0]}, {0[1]}".format, "failed", "pruned"),
            number_column("seconds", "seconds", format="{:.0f}".format),
            number_column("samples", "samples", format=thousands),
            *map(Column, ("sampler", "seeds_per_trial", "configurations")),
            number_column("default_value", f"defaults{form.unit}", format=form.value),
            number_column("best_value", f"best{form.unit}", format=form.value),
            *merged(f"selection{points}", form.with_error, "selection", "selection_error"),
            *merged(f"shift{points}", form.with_error, "shift", "shift_error"),
        ),
        analysis.tuning if analysis.was_tuned else (),
        f"{_sweeps(analysis)} distinct: number of different configurations. defaults (the first "
        "trial, if its values are in the space) and best are means over the tuning seeds on "
        "validation data. "
        f"{selection_and_shift(analysis)} {protocol(analysis)}",
        "tuning",
        file_rows=analysis.tuning,
    )


def expected_best_table(analysis: Analysis) -> Table:
    """Return the expected best of smaller budgets of random trials."""
    searches = tuple(search for search in analysis.searches if search.expected)
    most = max((len(search.expected) for search in searches), default=0)
    return Table(
        "Expected best of n random trials",
        (
            Column("method", "method"),
            *(
                number_column("", f"n = {n}", item_of("expected", n - 1), analysis.form.value)
                for n in BUDGETS
                if n <= most
            ),
        ),
        searches,
        f"Best {analysis.form.heading} among n random trials of a sweep, as the mean over all "
        "subsets of n "
        "trials, on the tuning seeds; the trial of the defaults is left out.",
        "expected_best",
    )


def hypervolume_table(analysis: Analysis) -> Table:
    """Return the front and hypervolume of each sweep with several objectives."""
    reference = next((front.reference for front in analysis.fronts if front.reference), None)
    record = analysis.record
    pairs = zip(reference, record.objectives, strict=True) if reference else ()
    corner = ", ".join(quantity(record, *pair) for pair in pairs) or "there is none"
    return Table(
        "Pareto fronts",
        (
            Column("method", "method"),
            number_column(
                "front", "on the front", lambda row: [p.number for p in row.points], _size
            ),
            number_column("dominated", "dominated", format=_size),
            Column("left_out", "left out", format=numbers.seed_list),
            Column("reference"),
            number_column("hypervolume", "hypervolume", format="{:.4g}".format),
            number_column("share", "share of the box", format=numbers.percent),
        ),
        analysis.fronts,
        f"Objectives: {'; '.join(_objectives(analysis))}. Hypervolume: the volume that the "
        "front dominates, up to the worst value of each objective among all trials of this study "
        f"({corner}). Share of the box: the hypervolume relative to the box from the worst to the "
        "best values. Both compare methods of this study only. Left out: trials with an objective "
        "that is not a number.",
        "hypervolume",
    )


def pareto_table(analysis: Analysis) -> Table:
    """Return the trials of sweeps with several objectives, and their place: front or dominated."""
    trials = tuple(_placed_trials(analysis))
    show_all = len(trials) <= MOST_POINTS
    objectives = zip(analysis.record.objectives, _objectives(analysis), strict=True)
    return Table(
        "Trials of the sweeps with several objectives",
        (
            Column("method", "method"),
            number_column("trial", "trial", format=str),
            *(
                number_column(
                    name,
                    heading,
                    item_of("values", i),
                    partial(quantity, analysis.record, objective=name),
                )
                for i, (name, heading) in enumerate(objectives)
            ),
            Column("place", "place"),
        ),
        tuple(row for row in trials if show_all or row.place == "front"),
        "Objectives are means over the tuning seeds: neighbours may change places on fresh "
        f"{units(analysis)}. Dominated: another trial of the same method is at least as good in "
        "all objectives and better in one. "
        + ("" if show_all else f"The front only; all {len(trials)} trials are in the CSV file."),
        "pareto",
        file_rows=trials,
    )


def importance_table(analysis: Analysis) -> Table:
    """Return the importance, default and chosen value of each searched option."""
    options = tuple(option for search in analysis.searches for option in search.slices)
    return Table(
        "Hyper-parameter importance",
        (
            Column("method", "method"),
            Column("option", "option"),
            number_column("importance", "importance", format=two_decimals),
            Column(
                "default", "default", None, option_value, _are_numbers(o.default for o in options)
            ),
            Column("chosen", "chosen", None, option_value, _are_numbers(o.chosen for o in options)),
        ),
        options,
        "importance: how much the option matters for being among the best trials of the sweep "
        "(PED-ANOVA; sums to 1 over a method's options); with few trials a rough guide only. "
        "default: the published value, or that of the stream (-: no trial had the defaults).",
        "importance",
    )


def quantity(record: StudyRecord, value: float, objective: str) -> str:
    """Return the value of an objective: a metric in its form, a whole number with separators of
    thousands.
    """
    if objective in METRICS:
        return record.form_of(objective).value(value)
    if float(value).is_integer():
        return f"{value:,.0f}"
    return numbers.number(value) if abs(value) < 1000 else f"{value:,.1f}"


def _sweeps(analysis: Analysis) -> str:
    """Return a sentence on sampler and seeds of the sweeps; empty without sweeps."""
    tuned = [row for row in analysis.tuning if row.trials]
    samplers = ", ".join(dict.fromkeys(row.sampler for row in tuned if row.sampler))
    seeds = ", ".join(dict.fromkeys(str(row.seeds_per_trial) for row in tuned))
    return f"Sampler: {samplers or 'none'}; tuning seeds per trial: {seeds}." if tuned else ""


def _size(trials: tuple[int, ...]) -> str:
    return str(len(trials))


def _objectives(analysis: Analysis) -> list[str]:
    better = {"minimize": "lower is better", "maximize": "higher is better"}
    pairs = zip(analysis.record.objectives, analysis.record.directions, strict=True)
    return [f"{_heading(analysis, name)}, {better[direction]}" for name, direction in pairs]


def _heading(analysis: Analysis, objective: str) -> str:
    if objective in METRICS:
        return analysis.record.form_of(objective).heading
    return objective.replace("_", " ")


def _placed_trials(analysis: Analysis) -> Iterator[PlacedTrial]:
    """Yield every complete trial, method by method: front, dominated, left out."""
    histories = {m.method: {t.number: t for t in m.tuning.history} for m in analysis.record.methods}
    for front in analysis.fronts:
        places = {
            "front": [point.number for point in front.points],
            "dominated": front.dominated,
            "left out": front.left_out,
        }
        for place, trials in places.items():
            for number in trials:
                values = histories[front.method][number].values
                yield PlacedTrial(front.method, number, values, place)


def _setting(name: str, rows: Sequence[Any]) -> Column[Any]:
    """Return a column with a value of each option; numbers if all values are."""
    are_numbers = _are_numbers(getattr(row, name) for row in rows)
    return Column(name, name, None, option_value, are_numbers)


def _are_numbers(values: Iterable[Any]) -> bool:
    """Return whether all values other than None are numbers."""
    return all(
        isinstance(value, int | float) and not isinstance(value, bool)
        for value in values
        if value is not None
    )
