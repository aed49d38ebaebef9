"""The paired scores of each comparison: the reference and a method on the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from analysis import numbers
from analysis.figures import common, layout
from analysis.figures.common import Look
from analysis.figures.layout import Grid
from analysis.one_study.analyse import Analysis, Comparison, MethodRow
from analysis.report.blocks import Picture

SHOWN_MARGINS = 4  # smallest range of a panel, so that small differences do not look large
MOST_LABELLED = 3  # columns with room for the labels of both sides


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield a figure with one panel per comparison that has a shared seed."""
    shown = [c for c in analysis.comparisons if c.seeds]
    if shown:
        title = f"Paired {numbers.plural(analysis.record.unit)}"
        yield Picture("paired-seeds", title, _caption(analysis, shown), partial(_draw, analysis))


def _caption(analysis: Analysis, shown: list[Comparison]) -> str:
    record = analysis.record
    unit, units = record.unit, numbers.plural(record.unit)
    count = common.count_range({c.n for c in shown}, unit)
    scale = f", {SHOWN_MARGINS} practical margins high or more" if record.margin > 0 else ""
    sides = (
        f"{common.clean(analysis.common_reference)} (left) and of the method named above the panel "
        "(right)"
        if analysis.common_reference
        else "the two methods named above the panel, the second at the left"
    )
    counted_as = next((c.counted_as for c in shown if c.imputed), None)
    failed = (
        ""
        if counted_as is None
        else f" Failed {units} are drawn at {record.form.with_unit(counted_as)}."
    )
    return (
        f"{common.words(record.metric).capitalize()} of {sides}, "
        f"over {count}; {common.variation(record)}. A line joins the two "
        f"scores of one {unit}. Bars beside the points: means over the same {units}. Each panel "
        f"has its own scale{scale}.{failed}"
    )


@common.styled
def _draw(analysis: Analysis) -> Figure:
    shown = [c for c in analysis.comparisons if c.seeds]
    columns = layout.columns_for(len(shown))
    height = {1: 2.3, 2: 1.6, 3: 1.2, 4: 0.8}[columns]
    grid = Grid(len(shown), columns, height, across=0.42, down=0.28, bottom=0.32, right=0.2)
    figure = grid.sheet()
    looks = common.method_looks(analysis.record)
    rows = {row.method: row for row in analysis.methods}
    for index, (axes, comparison) in enumerate(zip(grid.panels(figure), shown, strict=True)):
        _panel(axes, comparison, looks, rows)
        layout.simple_ticks(axes.yaxis, 3, scale=analysis.form.scale)
        axes.set_ylim(layout.limits(_values(comparison), SHOWN_MARGINS * analysis.rules.margin))
        axes.tick_params(labelleft=True, labelbottom=grid.is_lowest(index))
        axes.set_gid(common.method_id(comparison.method))
        layout.panel_title(axes, analysis.label(comparison), grid.width + grid.right)
        if columns > MOST_LABELLED:
            axes.set_xticklabels([])
    layout.side_label(figure, grid, analysis.form.heading)
    return figure


def _values(comparison: Comparison) -> tuple[float, ...]:
    return (*comparison.reference_scores, *comparison.method_scores)


def _panel(
    axes: Axes, comparison: Comparison, looks: dict[str, Look], rows: dict[str, MethodRow]
) -> None:
    pairs = zip(comparison.reference_scores, comparison.method_scores, strict=True)
    lines = [[(0.0, reference), (1.0, score)] for reference, score in pairs]
    axes.add_collection(LineCollection(lines, colors=common.GREY, linewidths=0.6, alpha=0.7))
    sides = (
        (0, comparison.reference, comparison.reference_scores),
        (1, comparison.method, comparison.method_scores),
    )
    for x, name, scores in sides:
        look = looks[name]
        axes.plot([x] * len(scores), scores, label=name, alpha=0.75, markersize=3.2, **look.point())
        _mean(axes, x, rows.get(name), comparison.seeds, look)
    axes.set_xlim(-0.45, 1.45)
    axes.xaxis.set_major_locator(FixedLocator([0, 1]))
    axes.set_xticks([0, 1], ["ref.", "method"])


def _mean(axes: Axes, x: int, row: MethodRow | None, seeds: tuple[int, ...], look: Look) -> None:
    """Draw a bar at the method's mean, if the mean is over exactly these seeds."""
    if row is None or row.mean is None or set(row.scores) != set(seeds):
        return
    ends = [-0.36, -0.14] if x == 0 else [1.14, 1.36]
    axes.plot(ends, [row.mean] * 2, color=look.colour, linewidth=2.2, label=f"mean of {row.method}")
