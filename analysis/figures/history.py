"""How each sweep went, trial by trial."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import common, layout
from analysis.figures.layout import Entry, Grid
from analysis.one_study.analyse import Analysis, TuningRow
from analysis.one_study.searches import Search
from analysis.report.blocks import Picture

TRIAL: dict[str, Any] = {
    "color": common.COLOURS[0],
    "marker": "o",
    "linestyle": "none",
    "markersize": 3,
}
VALUELESS: dict[str, Any] = {
    "color": common.COLOURS[1],
    "marker": "x",
    "linestyle": "none",
    "markersize": 4,
}
BEST: dict[str, Any] = {"color": common.COLOURS[0], "linewidth": 1.2, "drawstyle": "steps-post"}
DEFAULT: dict[str, Any] = {
    "color": common.INK,
    "marker": "D",
    "markerfacecolor": "none",
    "linestyle": "none",
    "markersize": 6,
}
EXPECTED: dict[str, Any] = {"color": common.COLOURS[2], "linewidth": 1.2, "linestyle": "--"}
TRIAL_LABEL, BEST_LABEL = "trial", "best so far"
DEFAULT_LABEL, EXPECTED_LABEL = "published defaults", "expected best"
VALUELESS_LABEL = "no value"


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """A panel for each sweep with a trial that has a value."""
    shown = sweeps(analysis)
    if shown:
        yield Picture(
            "search-history", "Search history", _caption(analysis), partial(_draw, analysis)
        )


def sweeps(analysis: Analysis) -> list[tuple[Search, TuningRow]]:
    """Each search with its trials' values, where there is one to draw."""
    rows = {row.method: row for row in analysis.tuning}
    found = [(search, rows[search.method]) for search in analysis.searches]
    return [(search, row) for search, row in found if layout.finite(row.values)]


def _caption(analysis: Analysis) -> str:
    record, shown = analysis.record, sweeps(analysis)
    counts = {row.seeds_per_trial for _, row in shown}
    text = (
        f"Objective of each trial in the order of the sweep: {common.words(record.metric)} on "
        f"validation data, the mean over {common.several(counts, 'tuning seed')}."
    )
    if any(row.default_value is not None for _, row in shown):
        text += " Diamond: the published defaults (trial 0)."
    if any(None in row.values for _, row in shown):
        text += " Crosses at the lower edge: trials without a value (failed, diverged or pruned)."
    if any(search.expected for search, _ in shown):
        text += " Dashed: the expected best of so many random configurations."
    without = [
        row.method for row in analysis.tuning if row.trials and not layout.finite(row.values)
    ]
    if without:
        text += f" Not shown, because no trial has a value: {common.listed(without)}."
    return text + _reasons([search for search, _ in shown])


def _reasons(shown: list[Search]) -> str:
    """Why a method has no expected-best curve, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for search in shown:
        if not search.expected and search.not_expected:
            by_reason.setdefault(search.not_expected, []).append(search.method)
    whole = len(by_reason) == 1 and len(next(iter(by_reason.values()))) == len(shown)
    return "".join(
        f" {reason[:1].upper()}{reason[1:]}{'' if whole else f' ({common.listed(names)})'}."
        for reason, names in by_reason.items()
    )


@common.styled
def _draw(analysis: Analysis) -> Figure:
    shown = sweeps(analysis)
    key = _key(shown)
    columns = layout.columns_for(len(shown))
    bottom = 0.5 + layout.key_height([label for label, _ in key])
    high = {1: 2.1, 2: 1.3, 3: 1.0, 4: 0.8}[columns]
    grid = Grid(len(shown), columns, high, bottom=bottom, down=0.24)
    figure = grid.sheet()
    low_high = layout.limits([x for s, row in shown for x in (*row.values, *s.expected)])
    longest = max(len(row.values) for _, row in shown)
    for axes, (search, row) in zip(grid.panels(figure), shown, strict=True):
        _panel(axes, search, row)
        axes.set(ylim=low_high, xlim=(-0.5 - 0.02 * longest, longest - 0.5 + 0.02 * longest))
        layout.simple_ticks(axes.xaxis, 4, integer=True)
        layout.simple_ticks(axes.yaxis, 4)
        layout.light_grid(axes)
        layout.panel_title(axes, search.method, grid.width + 0.05)
    layout.side_label(figure, grid, common.words(analysis.record.metric))
    layout.below_label(figure, grid, "trial")
    layout.draw_key(figure, key)
    return figure


def _key(shown: list[tuple[Search, TuningRow]]) -> list[Entry]:
    entries: list[Entry] = [(TRIAL_LABEL, TRIAL), (BEST_LABEL, _solid(BEST))]
    if any(row.default_value is not None for _, row in shown):
        entries.append((DEFAULT_LABEL, DEFAULT))
    if any(None in row.values for _, row in shown):
        entries.append((VALUELESS_LABEL, VALUELESS))
    if any(search.expected for search, _ in shown):
        entries.append((EXPECTED_LABEL, EXPECTED))
    return entries


def _solid(look: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in look.items() if key != "drawstyle"}


def _panel(axes: Axes, search: Search, row: TuningRow) -> None:
    trials = range(len(row.values))
    axes.plot(trials, common.numbers(search.best_so_far), label=BEST_LABEL, **BEST)
    axes.plot(trials, common.numbers(row.values), label=TRIAL_LABEL, **TRIAL)
    if row.default_value is not None:
        axes.plot(0, row.default_value, label=DEFAULT_LABEL, clip_on=False, **DEFAULT)
    if search.expected:
        first = range(1, len(search.expected) + 1)  # trial 0 was not drawn at random
        axes.plot(first, search.expected, label=EXPECTED_LABEL, **EXPECTED)
    without = [number for number, value in enumerate(row.values) if value is None]
    if without:
        axes.plot(
            without,
            [0.04] * len(without),
            transform=axes.get_xaxis_transform(),
            label=VALUELESS_LABEL,
            **VALUELESS,
        )
