"""The history of each sweep, trial by trial."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import numbers
from analysis.figures import common, layout
from analysis.figures.layout import Entry, Grid
from analysis.one_study.analyse import Analysis, TuningRow
from analysis.one_study.sweeps import SweepHistory
from analysis.report.blocks import Picture

TRIAL: dict[str, Any] = {
    "color": common.METHOD_COLOURS[0],
    "marker": "o",
    "linestyle": "none",
    "markersize": 3,
}
VALUELESS: dict[str, Any] = {
    "color": common.METHOD_COLOURS[1],
    "marker": "x",
    "linestyle": "none",
    "markersize": 4,
}
BEST: dict[str, Any] = {
    "color": common.METHOD_COLOURS[0],
    "linewidth": 1.2,
    "drawstyle": "steps-post",
}
DEFAULT: dict[str, Any] = {
    "color": common.INK,
    "marker": "D",
    "markerfacecolor": "none",
    "linestyle": "none",
    "markersize": 6,
}
EXPECTED: dict[str, Any] = {"color": common.METHOD_COLOURS[2], "linewidth": 1.2, "linestyle": "--"}
TRIAL_LABEL, BEST_LABEL = "trial", "best so far"
DEFAULT_LABEL, EXPECTED_LABEL = "defaults", "expected best"
VALUELESS_LABEL = "no value"


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield a figure with one panel per sweep that has a value."""
    if sweeps(analysis):
        yield Picture(
            "search-history", "Search history", _caption(analysis), partial(_draw, analysis)
        )


def sweeps(analysis: Analysis) -> list[tuple[SweepHistory, TuningRow]]:
    """Return the history and the tuning row of each sweep that has a value."""
    rows = {row.method: row for row in analysis.tuning}
    pairs = [(search, rows[search.method]) for search in analysis.searches]
    return [(search, row) for search, row in pairs if layout.finite(row.values)]


def _caption(analysis: Analysis) -> str:
    record, shown = analysis.record, sweeps(analysis)
    counts = {row.seeds_per_trial for _, row in shown}
    text = (
        f"Objective of each trial in the order of the sweep: {common.words(record.metric)} on "
        f"validation data, the mean over {common.count_range(counts, 'tuning seed')}."
    )
    if any(row.default_value is not None for _, row in shown):
        text += " Diamond: the defaults (trial 0)."
    if any(None in row.values for _, row in shown):
        text += " Crosses at the lower edge: trials without a value (failed, diverged or pruned)."
    if any(search.expected for search, _ in shown):
        text += " Dashed: the expected best of the same number of random configurations."
    without = [
        row.method for row in analysis.tuning if row.trials and not layout.finite(row.values)
    ]
    if without:
        text += f" Not shown, because no trial has a value: {common.name_list(without)}."
    return text + _reasons([search for search, _ in shown])


def _reasons(shown: list[SweepHistory]) -> str:
    """Return each reason against an expected-best curve, with the methods unless all share one."""
    methods_by_reason: dict[str, list[str]] = {}
    for search in shown:
        if not search.expected and search.not_expected:
            methods_by_reason.setdefault(search.not_expected, []).append(search.method)
    sentences = ""
    for reason, methods in methods_by_reason.items():
        names = "" if len(methods) == len(shown) else f" ({common.name_list(methods)})"
        sentences += f" {numbers.begin(reason)}{names}."
    return sentences


@common.styled
def _draw(analysis: Analysis) -> Figure:
    shown = sweeps(analysis)
    key = _key(shown)
    columns = layout.columns_for(len(shown))
    bottom = 0.5 + layout.key_height([label for label, _ in key])
    height = {1: 2.1, 2: 1.3, 3: 1.0, 4: 0.8}[columns]
    grid = Grid(len(shown), columns, height, bottom=bottom, down=0.24)
    figure = grid.sheet()
    y_limits = layout.limits([x for s, row in shown for x in (*row.values, *s.expected)])
    longest = max(len(row.values) for _, row in shown)
    x_limits = (-0.5 - 0.02 * longest, longest - 0.5 + 0.02 * longest)
    for axes, (search, row) in zip(grid.panels(figure), shown, strict=True):
        _panel(axes, search, row)
        axes.set(xlim=x_limits, ylim=y_limits)
        layout.simple_ticks(axes.xaxis, 4, integer=True)
        layout.simple_ticks(axes.yaxis, 4, scale=analysis.form.scale)
        layout.light_grid(axes)
        layout.method_panel(axes, search.method, grid.width + 0.05)
    layout.side_label(figure, grid, analysis.form.heading)
    layout.below_label(figure, grid, "trial")
    layout.draw_key(figure, key)
    return figure


def _key(shown: list[tuple[SweepHistory, TuningRow]]) -> list[Entry]:
    entries: list[Entry] = [(TRIAL_LABEL, TRIAL), (BEST_LABEL, _without_steps(BEST))]
    if any(row.default_value is not None for _, row in shown):
        entries.append((DEFAULT_LABEL, DEFAULT))
    if any(None in row.values for _, row in shown):
        entries.append((VALUELESS_LABEL, VALUELESS))
    if any(search.expected for search, _ in shown):
        entries.append((EXPECTED_LABEL, EXPECTED))
    return entries


def _without_steps(look: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in look.items() if key != "drawstyle"}


def _panel(axes: Axes, search: SweepHistory, row: TuningRow) -> None:
    trials = range(len(row.values))
    axes.plot(trials, common.floats(search.best_so_far), label=BEST_LABEL, **BEST)
    axes.plot(trials, common.floats(row.values), label=TRIAL_LABEL, **TRIAL)
    if row.default_value is not None:
        axes.plot(0, row.default_value, label=DEFAULT_LABEL, clip_on=False, **DEFAULT)
    if search.expected:
        random_trials = range(1, len(search.expected) + 1)  # trial 0 has the published defaults
        axes.plot(random_trials, search.expected, label=EXPECTED_LABEL, **EXPECTED)
    valueless = [number for number, value in enumerate(row.values) if value is None]
    if valueless:
        axes.plot(
            valueless,
            [0.04] * len(valueless),
            transform=axes.get_xaxis_transform(),
            label=VALUELESS_LABEL,
            **VALUELESS,
        )
