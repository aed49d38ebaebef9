"""What an `Analysis` says about the sweeps, as neutral tables of strings."""

from __future__ import annotations

import json
from typing import Any

from analysis import wording
from analysis.formats.data import OPTION_FIELDS, option_rows, plain, point_rows
from analysis.metrics import METRICS
from analysis.one_study.analyse import Analysis
from analysis.report.blocks import Table
from analysis.report.captions import optimism, protocol, units
from analysis.statistics.pareto import Front

BUDGETS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 100, 200, 500)  # at which the expected best is given
MOST_POINTS = 60  # beyond, dominated trials are listed by number only


def tuning_table(analysis: Analysis) -> Table:
    """What each method's sweep cost and found; without rows where no method was tuned."""
    return Table(
        "Tuning",
        (
            "method",
            "trials",
            "distinct",
            "failed, pruned",
            "seconds",
            "samples",
            "defaults",
            "best",
            "selection optimism",
        ),
        tuple(
            (
                row.method,
                str(row.trials),
                str(row.configurations),
                f"{row.failed}, {row.pruned}",
                f"{row.seconds:.0f}",
                f"{row.samples:,}",
                wording.number(row.default_value),
                wording.number(row.best_value),
                wording.number(row.optimism),
            )
            for row in analysis.tuning
            if analysis.was_tuned
        ),
        f"{_sweeps(analysis)} distinct: configurations among the trials. defaults (the first "
        "trial, where it has the published values) and best are means over the tuning seeds on "
        "validation data. "
        f"{optimism(analysis)} {protocol(analysis)}",
        "tuning",
    )


def expected_best_table(analysis: Analysis) -> Table:
    """What a smaller budget of random trials would have found, where that can be said."""
    known = [search for search in analysis.searches if search.expected]
    most = max((len(search.expected) for search in known), default=0)
    budgets = [n for n in BUDGETS if n <= most]
    return Table(
        "Expected best of n random trials",
        ("method", *(f"n = {n}" for n in budgets)),
        tuple((search.method, *(_at(search.expected, n) for n in budgets)) for search in known),
        "Mean over all subsets of n of a sweep's random trials of their best objective, on the "
        "tuning seeds; the published defaults are not among them.",
        "expected_best",
    )


def hypervolume_table(analysis: Analysis) -> Table:
    """Each sweep with several objectives in a line."""
    reference = next((front.reference for front in analysis.fronts if front.reference), None)
    names = analysis.record.objectives
    pairs = zip(reference, names, strict=True) if reference else ()
    corner = ", ".join(quantity(*pair) for pair in pairs) or "there is none"
    return Table(
        "Pareto fronts",
        ("method", "on the front", "dominated", "left out", "hypervolume", "share of the box"),
        tuple(_front_row(front) for front in analysis.fronts),
        f"Objectives: {', '.join(_objectives(analysis))}. Hypervolume: what the front dominates, "
        "up to the worst value of each objective among all trials of this study "
        f"({corner}); its share is of the box from there to the best values. It compares "
        "methods of this study only. Left out: trials with an objective that is not a number.",
        "hypervolume",
    )


def pareto_table(analysis: Analysis) -> Table:
    """The trials of sweeps with several objectives, dominated ones marked."""
    rows = point_rows(analysis)
    whole = len(rows) <= MOST_POINTS
    shown = rows if whole else [row for row in rows if row["place"] == "front"]
    names = analysis.record.objectives
    return Table(
        "Trials of the sweeps with several objectives",
        ("method", "trial", *_objectives(analysis), "place"),
        tuple(
            (
                row["method"],
                str(row["trial"]),
                *(quantity(row[name], name) for name in names),
                row["place"],
            )
            for row in shown
        ),
        "Objectives are means over the tuning seeds: neighbours may change places on fresh "
        f"{units(analysis)}. Dominated: another trial of the same method is as good in all and "
        "better in one. "
        + ("" if whole else f"The front only; all {len(rows)} trials are in the CSV file."),
        "pareto",
    )


def importance_table(analysis: Analysis) -> Table:
    """Each searched option: how much it mattered, its default, and what was chosen."""
    return Table(
        "Hyper-parameter importance",
        tuple(OPTION_FIELDS),
        tuple(
            (
                row["method"],
                row["option"],
                wording.number(row["importance"], 2),
                _value(row["default"]),
                _value(row["chosen"]),
            )
            for row in option_rows(analysis)
        ),
        "importance: how much the option matters for being among the best trials of the sweep "
        "(PED-ANOVA; sums to 1 over a method's options); with few trials a rough guide only. "
        "default: the published value (-: the sweep had no trial of the defaults).",
        "importance",
    )


def quantity(value: float | None, objective: str) -> str:
    """An objective: whole numbers with separators, a metric to four decimals."""
    if value is None:
        return wording.MISSING
    if float(value).is_integer() and objective not in METRICS:
        return f"{value:,.0f}"
    return wording.number(value) if abs(value) < 1000 else f"{value:,.1f}"


def _sweeps(analysis: Analysis) -> str:
    """How the sweeps were made, where there were any."""
    tuned = [row for row in analysis.tuning if row.trials]
    samplers = ", ".join(dict.fromkeys(row.sampler for row in tuned if row.sampler))
    seeds = ", ".join(dict.fromkeys(str(row.seeds_per_trial) for row in tuned))
    return f"Sampler: {samplers or 'none'}; tuning seeds per trial: {seeds}." if tuned else ""


def _at(expected: tuple[float, ...], n: int) -> str:
    return wording.number(expected[n - 1]) if n <= len(expected) else wording.MISSING


def _objectives(analysis: Analysis) -> list[str]:
    better = {"minimize": "lower is better", "maximize": "higher is better"}
    pairs = zip(analysis.record.objectives, analysis.record.directions, strict=True)
    return [f"{name} ({better[direction]})" for name, direction in pairs]


def _front_row(front: Front) -> tuple[str, ...]:
    return (
        front.method,
        str(len(front.points)),
        str(len(front.dominated)),
        wording.seed_list(front.left_out),
        f"{front.hypervolume:.4g}",
        wording.MISSING if front.share is None else wording.percent(front.share),
    )


def _value(value: Any) -> str:
    if value is None:
        return wording.MISSING
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:.4g}" if isinstance(value, int | float) else json.dumps(plain(value))
