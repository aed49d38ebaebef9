"""The differences of the family, each with its interval, against the practical margin."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import numbers
from analysis.figures import common, layout
from analysis.figures.common import Look
from analysis.figures.layout import Grid
from analysis.one_study.analyse import Analysis, Comparison
from analysis.report.blocks import Picture

ROW = 0.3  # inches for two lines of a verdict
VERDICT = 1.08  # inches for the column of verdicts


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield a figure with one row per comparison, if any comparison has a difference."""
    if any(c.difference is not None for c in analysis.comparisons):
        yield Picture(
            "forest",
            "Differences to the reference",
            _caption(analysis),
            partial(_draw, analysis),
        )


def _caption(analysis: Analysis) -> str:
    record, unit = analysis.record, analysis.record.unit
    measured = [c for c in analysis.comparisons if c.difference is not None]
    with_interval = [c for c in measured if c.ci_low is not None]
    text = (
        f"Difference in {common.words(record.metric)}: mean of method − "
        f"{common.clean(record.reference)} over shared {numbers.plural(unit)}."
    )
    if with_interval:
        text += f" Lines: paired {common.t_interval(record, {c.n for c in with_interval})}."
    if record.margin > 0:
        text += f" Grey band: the practical margin, ±{record.margin:g}."
    if len(with_interval) < len(measured):
        text += (
            f" Hollow: fewer than 3 {numbers.plural(unit)} or the same difference on every {unit}, "
            "no interval."
        )
    return f"{text} The verdicts are at the right."


@common.styled
def _draw(analysis: Analysis) -> Figure:
    comparisons = analysis.comparisons
    labels = [common.shorten(c.method, 1.15) for c in comparisons]
    left = 0.14 + max(map(common.text_width, labels))
    height = max(ROW * len(comparisons), 0.5)
    grid = Grid(1, 1, height, left=left, right=VERDICT, top=0.08, bottom=0.62)
    figure = grid.sheet()
    (axes,) = grid.panels(figure)
    looks = common.method_looks(analysis.record)
    _frame(axes, analysis)
    for row, comparison in enumerate(comparisons):
        _row(axes, row, comparison, looks[comparison.method])
    axes.set_ylim(len(comparisons) - 0.5, -0.5)
    axes.set_yticks(range(len(comparisons)), labels)
    layout.below_label(figure, grid, f"difference in {common.words(analysis.record.metric)}")
    layout.below_label(figure, grid, _direction(analysis), drop=0.52)
    return figure


def _frame(axes: Axes, analysis: Analysis) -> None:
    margin = analysis.rules.margin
    if margin > 0:
        axes.axvspan(-margin, margin, color=common.GREY, alpha=0.25, linewidth=0, label="margin")
    axes.axvline(0, color=common.INK, linewidth=0.7, label="zero")
    ends = [x for c in analysis.comparisons for x in (c.difference, c.ci_low, c.ci_high)]
    axes.set_xlim(layout.limits([*ends, 0.0, margin, -margin]))
    layout.simple_ticks(axes.xaxis, 4)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _row(axes: Axes, row: int, comparison: Comparison, look: Look) -> None:
    text = "\n".join(textwrap.wrap(comparison.verdict, 15))
    axes.text(
        1.03, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=common.SMALL
    )
    if comparison.difference is None:
        return
    has_interval = comparison.ci_low is not None and comparison.ci_high is not None
    if has_interval:
        ends = common.floats([comparison.ci_low, comparison.ci_high])
        axes.plot(ends, [row, row], color=look.colour, linewidth=1.6, solid_capstyle="butt")
    point = look.point(filled=has_interval)
    axes.plot(comparison.difference, row, label=comparison.method, markersize=4, **point)


def _direction(analysis: Analysis) -> str:
    return "← worse · better →" if analysis.rules.higher_is_better else "← better · worse →"
