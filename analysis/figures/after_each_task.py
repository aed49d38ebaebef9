"""Mean accuracy on the tasks learnt so far, after each task."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from analysis.figures import common, layout
from analysis.figures.common import Look
from analysis.figures.layout import Grid
from analysis.forms import Form
from analysis.one_study.analyse import Analysis
from analysis.one_study.trajectories import Band, Numbers
from analysis.report import captions
from analysis.report.blocks import Picture

MOST_IN_ONE_PANEL = 7  # methods; beyond, each method has a panel
LABEL = "accuracy on tasks so far"


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield a figure with one line per method, for two tasks or more."""
    if any(len(layout.finite(t.curve.mean)) > 1 for t in analysis.trajectories):
        yield Picture(
            "accuracy-after-each-task",
            "Accuracy after each task",
            _caption(analysis),
            partial(_draw, analysis),
        )


def _caption(analysis: Analysis) -> str:
    record, shown = analysis.record, analysis.trajectories
    text = "Mean accuracy on the tasks learnt so far, after each task."
    with_interval = [t for t in shown if layout.finite(t.curve.low)]
    if with_interval:
        text += f" Bands: {common.t_interval(record, {t.n for t in with_interval})}."
        ends = [x for t in with_interval for x in (*t.curve.low, *t.curve.high)]
        text += f" {captions.out_of_range(analysis, ends)}".rstrip()
    text += common.no_interval(record, [t.method for t in shown if t not in with_interval])
    if len(shown) > MOST_IN_ONE_PANEL:
        reference = common.clean(record.reference)
        text += f" Each panel shows one method; grey: all others; black circles: {reference}."
    bounds = [row.method for row in analysis.methods if row.is_offline]
    if {t.method for t in shown} & {*bounds}:
        text += (
            f" {common.name_list(bounds)}: an offline bound; before the last task its line is the "
            "learning curve of training on all tasks at once."
        )
    return text + common.not_shown(record, [t.method for t in shown])


@common.styled
def _draw(analysis: Analysis) -> Figure:
    if len(analysis.trajectories) > MOST_IN_ONE_PANEL:
        return _panel_per_method(analysis)
    return _one_panel(analysis)


def _one_panel(analysis: Analysis) -> Figure:
    shown = analysis.trajectories
    names = [t.method for t in shown]
    grid = Grid(1, 1, 2.3, top=0.1, bottom=0.5 + layout.key_height(names))
    figure = grid.sheet()
    (axes,) = grid.panels(figure)
    looks, form = common.method_looks(analysis.record), analysis.record.form_of_accuracy
    for trajectory in shown:
        name, mean = trajectory.method, trajectory.curve.mean
        tips = [
            f"{name}, {i} learnt: {form.value(x)}" for i, x in enumerate(mean, 1) if x is not None
        ]
        gid = common.method_id(name, tips)
        curve(axes, trajectory.curve, looks[name], name, gid)
    _frame(axes, analysis)
    _labels(figure, grid, form)
    layout.draw_key(figure, [(name, looks[name].line) for name in names])
    return figure


def _panel_per_method(analysis: Analysis) -> Figure:
    shown = analysis.trajectories
    grid = Grid(len(shown), layout.columns_for(len(shown)), 0.85, down=0.22)
    figure = grid.sheet()
    looks = common.method_looks(analysis.record)
    lines = [list(enumerate(common.floats(t.curve.mean), start=1)) for t in shown]
    reference = next((t for t in shown if t.method == analysis.record.reference), None)
    for axes, trajectory in zip(grid.panels(figure), shown, strict=True):
        axes.add_collection(
            LineCollection(lines, colors=common.GREY, linewidths=0.5, alpha=0.35, label="others")
        )
        if reference is not None and reference is not trajectory:
            look = looks[reference.method]
            _line(axes, reference.curve, look, reference.method, markersize=1.5, linewidth=0.7)
        look = looks[trajectory.method]
        curve(axes, trajectory.curve, look, trajectory.method, markersize=2.8)
        _frame(axes, analysis)
        layout.method_panel(axes, trajectory.method, grid.width + 0.05)
    _labels(figure, grid, analysis.record.form_of_accuracy)
    return figure


def curve(
    axes: Axes, band: Band, look: Look, label: str, gid: str | None = None, **line: float
) -> None:
    """Draw a mean after each task with the band of the interval; a bar for a single task.

    Args:
        gid: of what is drawn; see `common.method_id`.
        line: further properties of `Line2D`.
    """
    x = range(1, len(band.mean) + 1)
    low, high = common.floats(_ends(band, band.low)), common.floats(_ends(band, band.high))
    if len(band.mean) == 1:
        axes.plot([1, 1], [low[0], high[0]], color=look.colour, linewidth=1, gid=gid)
    elif layout.finite(band.low):
        axes.fill_between(
            x, low, high, color=look.colour, alpha=common.BAND, linewidth=0, label=label, gid=gid
        )
    _line(axes, band, look, label, gid, **line)


def _ends(band: Band, side: Numbers) -> Numbers:
    """Return one side of a band, with the mean in place of missing ends."""
    return tuple(m if x is None else x for x, m in zip(side, band.mean, strict=True))


def _line(
    axes: Axes, band: Band, look: Look, label: str, gid: str | None = None, **line: float
) -> None:
    x = range(1, len(band.mean) + 1)
    axes.plot(x, common.floats(band.mean), label=label, gid=gid, **(look.line | line))


def _frame(axes: Axes, analysis: Analysis) -> None:
    shown, scale = analysis.trajectories, analysis.record.form_of_accuracy.scale
    tasks = max(len(t.curve.mean) for t in shown)
    bounds = [x for t in shown for x in (*t.curve.mean, *t.curve.low, *t.curve.high)]
    low, high = layout.limits(bounds, room=0.03)
    axes.set_ylim(max(low, -0.02), min(high, 1.02))
    layout.task_ticks(axes, tasks, 10 if len(shown) <= MOST_IN_ONE_PANEL else 4)
    layout.simple_ticks(axes.yaxis, 5 if len(shown) <= MOST_IN_ONE_PANEL else 3, scale=scale)
    layout.light_grid(axes)


def _labels(figure: Figure, grid: Grid, form: Form) -> None:
    layout.side_label(figure, grid, LABEL + form.unit)
    layout.below_label(figure, grid, "tasks learnt")
