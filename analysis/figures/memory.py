"""The bytes that methods hold, and the past data among them, against the primary metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.figures import common, layout
from analysis.figures.common import Look
from analysis.figures.layout import Grid
from analysis.forms import Form
from analysis.one_study.analyse import ON_THE_FRONT, Analysis, MemoryPoint
from analysis.report.blocks import Picture


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield a figure of all bytes held and one of past data alone, with one point per method with a
    mean, if any method holds anything.
    """
    if any(point.held > 0 for point in analysis.memory):
        draw = partial(_draw, analysis, attrgetter("held"))
        yield Picture("held-accuracy", "Bytes held and accuracy", _held_caption(analysis), draw)
    if any(point.memory > 0 for point in analysis.memory):
        draw = partial(_draw, analysis, attrgetter("memory"), of_past_data=True)
        text = (
            f"Mean {common.words(analysis.record.metric)} against the bytes of past data alone, "
            "without importances, teachers and features. Markers as before."
        )
        caption = text + _points_caption(analysis)
        yield Picture("memory-accuracy", "Past data and accuracy", caption, draw)


def _held_caption(analysis: Analysis) -> str:
    return (
        f"Mean {common.words(analysis.record.metric)} against the bytes that a method holds beside "
        "its network: past data, importances, teachers, features. Filled markers, joined by a "
        "line: the front, whose intervals are better than those of all methods that hold as much "
        "or less. Hollow: dominated, or undecided because intervals overlap."
    ) + _points_caption(analysis)


def _points_caption(analysis: Analysis) -> str:
    record, points = analysis.record, analysis.memory
    counts = {row.n for row in analysis.methods if row.ci_low is not None}
    text = f" Bars: {common.t_interval(record, counts)}." if counts else ""
    text += common.no_interval(record, [p.method for p in points if p.ci_low is None])
    offline = [row.method for row in analysis.methods if row.is_offline]
    if offline:
        names = common.name_list(offline)
        text += f" {names}: the offline bound, whose memory is the whole data."
    return text + common.not_shown(record, [p.method for p in points])


@common.styled
def _draw(
    analysis: Analysis, size: Callable[[MemoryPoint], int], of_past_data: bool = False
) -> Figure:
    points = analysis.memory
    names = [point.method for point in points]
    grid = Grid(1, 1, 2.3, top=0.1, bottom=0.5 + layout.key_height(names), right=0.2)
    figure = grid.sheet()
    (axes,) = grid.panels(figure)
    looks = common.method_looks(analysis.record)
    if not of_past_data:  # the front is that of all bytes held
        _front(axes, [point for point in points if point.place == ON_THE_FRONT])
    for point in points:
        _point(axes, point, size(point), looks[point.method], analysis.form)
    _bytes_axis(axes, [size(point) for point in points])
    axes.set_ylim(layout.limits([x for p in points for x in (p.mean, p.ci_low, p.ci_high)]))
    layout.simple_ticks(axes.yaxis, 5, scale=analysis.form.scale)
    layout.light_grid(axes)
    layout.side_label(figure, grid, analysis.form.heading)
    label = "past data (bytes)" if of_past_data else "held beside the network (bytes)"
    layout.below_label(figure, grid, label)
    entries = [(p.method, looks[p.method].point(p.place == ON_THE_FRONT)) for p in points]
    layout.draw_key(figure, entries)
    return figure


def _front(axes: Axes, points: list[MemoryPoint]) -> None:
    ordered = sorted(points, key=lambda p: p.held)
    axes.plot(
        [p.held for p in ordered],
        [p.mean for p in ordered],
        color=common.GREY,
        linewidth=0.8,
        drawstyle="steps-post",
        label="front",
    )


def _point(axes: Axes, point: MemoryPoint, size: int, look: Look, form: Form) -> None:
    if point.ci_low is not None and point.ci_high is not None:
        ends = [point.ci_low, point.ci_high]
        bar = common.method_id(point.method)
        axes.plot([size] * 2, ends, color=look.colour, linewidth=0.9, gid=bar)
    marker = look.point(filled=point.place == ON_THE_FRONT)
    tip = f"{point.method}: {form.value(point.mean)}, {layout.size_label(size)}"
    gid = common.method_id(point.method, [tip])
    axes.plot(size, point.mean, label=point.method, markersize=5.5, gid=gid, **marker)


def _bytes_axis(axes: Axes, sizes: list[int]) -> None:
    """Make the horizontal axis logarithmic, with a place for 0 if a method keeps no data."""
    positive = [size for size in sizes if size > 0]
    least = 10.0 ** math.floor(math.log10(min(positive)) + 1e-9)
    if min(sizes) > 0:
        axes.set_xscale("log")
        axes.set_xlim(layout.log_limits(map(float, sizes)))
        if max(sizes) < 10 * min(sizes):  # the range may hold no decade
            axes.xaxis.set_major_locator(FixedLocator(sorted({min(sizes), max(sizes)})))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            layout.log_ticks(axes.xaxis, 6)
    else:
        axes.set_xscale("symlog", linthresh=least, linscale=0.6)
        axes.set_xlim(-0.15 * least, 2 * max(sizes))
        decades = range(round(math.log10(least)), math.floor(math.log10(max(sizes))) + 1)
        step = -(-len(decades) // 5)
        axes.xaxis.set_major_locator(FixedLocator([0, *(10.0**d for d in decades[::step])]))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(layout.size_label))
