"""The methods' own measurements, after each task."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.figure import Figure

from analysis import numbers
from analysis.figures import common, layout
from analysis.figures.after_each_task import curve
from analysis.figures.layout import Grid
from analysis.one_study.analyse import Analysis
from analysis.one_study.trajectories import Diagnostic
from analysis.report.blocks import Picture


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield one figure for each diagnostic that has a value."""
    used_names: set[str] = set()
    for name, rows in by_name(analysis).items():
        title = f"{common.clean(rows[0].title) or common.words(name)} after each task"
        yield Picture(
            common.unique_name(f"diagnostics-{common.slug(name)}", used_names),
            numbers.begin(title),
            _caption(analysis, rows),
            partial(_draw, analysis, name),
        )


def by_name(analysis: Analysis) -> dict[str, list[Diagnostic]]:
    """Return the rows with values of each diagnostic, in the order of the study."""
    rows: dict[str, list[Diagnostic]] = {}
    for row in analysis.diagnostics:
        if layout.finite(row.band.mean):
            rows.setdefault(row.name, []).append(row)
    return rows


def _caption(analysis: Analysis, rows: list[Diagnostic]) -> str:
    record = analysis.record
    unit = f", in {common.clean(rows[0].unit)}" if rows[0].unit else ""
    method = "" if len({row.method for row in rows}) > 1 else f" of {common.clean(rows[0].method)}"
    text = f"Mean after each task{method}{unit}."
    if len({row.n for row in rows}) > 1:
        text += f" Only {numbers.plural(record.unit)} that have a value count."
    counts = {row.n for row in rows if layout.finite(row.band.low)}
    if counts:
        text += f" Bands: {common.t_interval(record, counts)}."
    without = dict.fromkeys(row.method for row in rows if not layout.finite(row.band.low))
    return text + common.no_interval(record, list(without))


@common.styled
def _draw(analysis: Analysis, name: str) -> Figure:
    rows = by_name(analysis)[name]
    methods = list(dict.fromkeys(row.method for row in rows))
    labels = list(dict.fromkeys(row.label for row in rows))
    looks = {label: common.numbered_look(number) for number, label in enumerate(labels)}
    columns = layout.columns_for(len(methods))
    height = {1: 2.1, 2: 1.3, 3: 1.0, 4: 0.85}[columns]
    grid = Grid(len(methods), columns, height, bottom=0.5 + layout.key_height(labels), down=0.24)
    figure = grid.sheet()
    bounds = [x for row in rows for x in (*row.band.mean, *row.band.low, *row.band.high)]
    whole = layout.finite(x for row in rows for x in row.band.mean)
    tasks = max(len(row.band.mean) for row in rows)
    for axes, method in zip(grid.panels(figure), methods, strict=True):
        for row in rows:
            if row.method == method:
                curve(axes, row.band, looks[row.label], row.label, markersize=3)
        axes.set_ylim(layout.limits(bounds))
        layout.task_ticks(axes, tasks, {1: 10, 2: 6}.get(columns, 4))
        layout.simple_ticks(axes.yaxis, 4, integer=all(x.is_integer() for x in whole))
        layout.light_grid(axes)
        layout.method_panel(axes, method, grid.width + 0.05)
    layout.side_label(figure, grid, rows[0].unit or common.words(rows[0].title))
    layout.below_label(figure, grid, "tasks learnt")
    layout.draw_key(figure, [(label, looks[label].line) for label in labels])
    return figure
