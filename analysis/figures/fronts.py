"""The trials of sweeps with several objectives, and the front among them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import wording
from analysis.figures import common, layout
from analysis.figures.common import Look
from analysis.figures.layout import Entry, Grid
from analysis.one_study.analyse import Analysis
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
    """One method's complete trials: objectives of those on the front, and of the dominated."""

    method: str
    front: list[Values]
    dominated: list[Values]


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """A panel for each method and each objective beside the first."""
    if trials(analysis):
        yield Picture(
            "pareto", "Objectives of the sweeps", _caption(analysis), partial(_draw, analysis)
        )


def trials(analysis: Analysis) -> list[Trials]:
    """The trials of each method with a front."""
    taken = {
        method.method: {trial.number: trial.values for trial in method.tuning.history}
        for method in analysis.record.methods
    }
    return [_trials(front, taken[front.method]) for front in analysis.fronts if front.points]


def _trials(front: Front, values: dict[int, Values]) -> Trials:
    beaten = [values[number] for number in front.dominated]
    return Trials(front.method, [point.values for point in front.points], beaten)


def _caption(analysis: Analysis) -> str:
    record = analysis.record
    better = [
        f"{common.words(name)} ({'less' if direction == 'minimize' else 'more'} is better)"
        for name, direction in zip(record.objectives, record.directions, strict=True)
    ]
    counts = {row.seeds_per_trial for row in analysis.tuning if row.trials}
    text = (
        f"Complete trials of each sweep by {', '.join(better)}, each the mean over "
        f"{common.several(counts or {0}, 'tuning seed')} on validation data. Filled: the "
        "front, where no other trial is at least as good in everything and better in something. "
        "Grey rings: dominated. Neighbours on a front may change places on fresh "
        f"{wording.plural(record.unit)}."
    )
    if len(record.objectives) > 2:
        text += " Each column sets one objective beside the first; the front is that of all."
    return text


@common.styled
def _draw(analysis: Analysis) -> Figure:
    shown, others = trials(analysis), len(analysis.record.objectives) - 1
    columns = layout.columns_for(len(shown)) if others == 1 else _columns(len(shown), others)
    high = {1: 2.1, 2: 1.4, 3: 1.0}.get(columns, 0.85)
    cells = len(shown) * others
    key: list[Entry] = [
        ("dominated", DOMINATED),
        ("front", {"color": common.INK, "marker": "s", "linestyle": "none"}),
    ]
    bottom = 0.5 + layout.key_height([label for label, _ in key])
    grid = Grid(cells, columns, high, bottom=bottom, down=0.24)
    figure = grid.sheet()
    looks = common.method_looks(analysis.record)
    for index, axes in enumerate(grid.panels(figure)):
        place, other = index // others, 1 + index % others
        _panel(axes, shown[place], other, looks[shown[place].method])
        if others == 1:
            _stairs(axes, shown[place], analysis.record.directions[1])
        name = analysis.record.objectives[other]
        _frame(axes, shown, other, name)
        if other == 1:
            layout.panel_title(axes, shown[place].method, grid.width + 0.05)
    _labels(figure, grid, analysis.record.objectives)
    layout.draw_key(figure, key)
    return figure


def _columns(methods: int, others: int) -> int:
    """One or several methods side by side, each with a column for each further objective."""
    beside = max(1, 4 // others) if methods > 3 else 1
    return beside * others


def _panel(axes: Axes, of: Trials, other: int, look: Look) -> None:
    axes.plot(*_places(of.dominated, other), label="dominated", **DOMINATED)
    axes.plot(*_places(of.front, other), label=of.method, **look.point())


def _stairs(axes: Axes, of: Trials, direction: Direction) -> None:
    """What the front reaches: between two of its points, no more than the one that costs less."""
    style = "steps-post" if direction == "minimize" else "steps-pre"
    x, y = _places(sorted(of.front, key=lambda values: values[1]), 1)
    axes.plot(x, y, color=common.GREY, linewidth=0.8, drawstyle=style, label="front")


def _places(values: list[Values], other: int) -> tuple[list[float], list[float]]:
    return [of[other] for of in values], [of[0] for of in values]


def _frame(axes: Axes, shown: list[Trials], other: int, name: str) -> None:
    everything = [values for one in shown for values in (*one.front, *one.dominated)]
    everything = [values for values in everything if all(map(math.isfinite, values))]
    label = layout.size_label if name.endswith("bytes") else layout.brief
    layout.end_ticks(axes, [values[other] for values in everything], label)
    axes.set_ylim(layout.limits(values[0] for values in everything))
    layout.simple_ticks(axes.yaxis, 4)
    layout.light_grid(axes)


def _labels(figure: Figure, grid: Grid, objectives: tuple[str, ...]) -> None:
    layout.side_label(figure, grid, common.words(objectives[0]))
    if len(objectives) == 2:
        layout.below_label(figure, grid, common.words(objectives[1]))
        return
    for column in range(grid.columns):
        middle = grid.left + column * (grid.width + grid.across) + grid.width / 2
        name = common.shorten(
            common.words(objectives[1 + column % (len(objectives) - 1)]), grid.width + 0.1
        )
        height = (grid.bottom - 0.36) / grid.total
        figure.text(
            middle / common.WIDTH, height, name, ha="center", va="center", fontsize=common.SMALL
        )
