"""The trials of sweeps with several objectives, and the front among them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import numbers
from analysis.figures import common, layout
from analysis.figures.common import Look
from analysis.figures.layout import Entry, Grid
from analysis.forms import Form
from analysis.metrics import METRICS
from analysis.one_study.analyse import Analysis
from analysis.records import StudyRecord
from analysis.report.blocks import Picture
from analysis.statistics.pareto import Direction, Front

DOMINATED: dict[str, Any] = {
    "color": common.GREY,
    "marker": "o",
    "markerfacecolor": "none",
    "linestyle": "none",
    "markersize": 3,
}
Values = tuple[float, ...]


@dataclass(frozen=True)
class Trials:
    """The objectives of one method's complete trials: on the front, and dominated."""

    method: str
    front: list[Values]
    dominated: list[Values]


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield a figure with one panel per method and objective other than the first."""
    if trials(analysis):
        yield Picture(
            "pareto", "Objectives of the sweeps", _caption(analysis), partial(_draw, analysis)
        )


def trials(analysis: Analysis) -> list[Trials]:
    """Return the trials of each method with a front."""
    values = {
        method.method: {trial.number: trial.values for trial in method.tuning.history}
        for method in analysis.record.methods
    }
    return [_trials(front, values[front.method]) for front in analysis.fronts if front.points]


def _trials(front: Front, values: dict[int, Values]) -> Trials:
    dominated = [values[number] for number in front.dominated]
    return Trials(front.method, [point.values for point in front.points], dominated)


def _caption(analysis: Analysis) -> str:
    record = analysis.record
    better = [
        f"{common.words(name)} ({'less' if direction == 'minimize' else 'more'} is better)"
        for name, direction in zip(record.objectives, record.directions, strict=True)
    ]
    counts = {row.seeds_per_trial for row in analysis.tuning if row.trials}
    text = (
        f"Complete trials of each sweep by {', '.join(better)}, each the mean over "
        f"{common.count_range(counts or {0}, 'tuning seed')} on validation data. Filled: the "
        "front; no other trial is at least as good in all objectives and better in one. "
        "Grey rings: dominated. Neighbours on a front may change places on fresh "
        f"{numbers.plural(record.unit)}."
    )
    if len(record.objectives) > 2:
        text += " Each column shows one objective against the first; the front is over all."
    return text


@common.styled
def _draw(analysis: Analysis) -> Figure:
    shown, others = trials(analysis), len(analysis.record.objectives) - 1
    columns = layout.columns_for(len(shown)) if others == 1 else _columns(len(shown), others)
    height = {1: 2.1, 2: 1.4, 3: 1.0}.get(columns, 0.85)
    key: list[Entry] = [
        ("dominated", DOMINATED),
        ("front", {"color": common.INK, "marker": "s", "linestyle": "none"}),
    ]
    bottom = 0.5 + layout.key_height([label for label, _ in key])
    grid = Grid(len(shown) * others, columns, height, bottom=bottom, down=0.24)
    figure = grid.sheet()
    looks = common.method_looks(analysis.record)
    for index, axes in enumerate(grid.panels(figure)):
        of_method, objective = shown[index // others], 1 + index % others
        _panel(axes, of_method, objective, looks[of_method.method])
        if others == 1:
            _stairs(axes, of_method, analysis.record.directions[1])
        _frame(axes, shown, objective, analysis.record)
        axes.set_gid(common.method_id(of_method.method))
        if objective == 1:
            layout.panel_title(axes, of_method.method, grid.width + 0.05)
    _labels(figure, grid, [form.heading for form in _forms(analysis.record)])
    layout.draw_key(figure, key)
    return figure


def _columns(methods: int, others: int) -> int:
    """Return the number of columns: one per further objective, for each method side by side."""
    methods_per_row = max(1, 4 // others) if methods > 3 else 1
    return methods_per_row * others


def _panel(axes: Axes, trials: Trials, objective: int, look: Look) -> None:
    x, y = _coordinates(trials.dominated, objective)
    axes.plot(x, y, label="dominated", **DOMINATED)
    x, y = _coordinates(trials.front, objective)
    axes.plot(x, y, label=trials.method, **look.point())


def _stairs(axes: Axes, trials: Trials, direction: Direction) -> None:
    """Draw the front as stairs: between two points, the value of the point with the lower cost."""
    style = "steps-post" if direction == "minimize" else "steps-pre"
    x, y = _coordinates(sorted(trials.front, key=lambda values: values[1]), 1)
    axes.plot(x, y, color=common.GREY, linewidth=0.8, drawstyle=style, label="front")


def _coordinates(points: list[Values], objective: int) -> tuple[list[float], list[float]]:
    return [values[objective] for values in points], [values[0] for values in points]


def _forms(record: StudyRecord) -> list[Form]:
    """Return the form of each objective."""
    return [
        record.form_of(name) if name in METRICS else Form(common.clean(name), in_percent=False)
        for name in record.objectives
    ]


def _frame(axes: Axes, shown: list[Trials], objective: int, record: StudyRecord) -> None:
    forms, name = _forms(record), record.objectives[objective]
    points = [values for trials in shown for values in (*trials.front, *trials.dominated)]
    points = [values for values in points if all(map(math.isfinite, values))]
    scale = forms[objective].scale
    label = layout.size_label if name.endswith("bytes") else partial(_scaled_label, scale)
    layout.end_ticks(axes, [values[objective] for values in points], label)
    axes.set_ylim(layout.limits(values[0] for values in points))
    layout.simple_ticks(axes.yaxis, 4, scale=forms[0].scale)
    layout.light_grid(axes)


def _scaled_label(scale: float, value: float) -> str:
    return layout.brief_label(scale * value)


def _labels(figure: Figure, grid: Grid, objectives: Sequence[str]) -> None:
    layout.side_label(figure, grid, objectives[0])
    if len(objectives) == 2:
        layout.below_label(figure, grid, objectives[1])
        return
    for column in range(grid.columns):
        middle = grid.left + column * (grid.width + grid.across) + grid.width / 2
        name = common.shorten(objectives[1 + column % (len(objectives) - 1)], grid.width + 0.1)
        height = (grid.bottom - 0.36) / grid.total
        figure.text(
            middle / common.WIDTH, height, name, ha="center", va="center", fontsize=common.SMALL
        )
