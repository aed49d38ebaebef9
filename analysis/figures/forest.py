"""The differences of the family, each with its interval, against the margin."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import numbers
from analysis.figures import common, layout
from analysis.figures.common import Look
from analysis.figures.layout import Grid
from analysis.forms import Form
from analysis.one_study.analyse import Analysis
from analysis.report.blocks import Picture

BOUND = "bound, not tested"
LINE = 0.125  # inches for one line of a verdict
VERDICT = 1.3  # inches for the column of verdicts
LETTERS = 20  # of a verdict in one line


@dataclass(frozen=True)
class Row:
    """One row of the figure: a comparison, or the distance of an offline bound."""

    method: str
    label: str
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    word: str  # at the right: the verdict, or that nothing was tested

    @property
    def has_interval(self) -> bool:
        """Whether the row has a line."""
        return self.ci_low is not None and self.ci_high is not None

    @property
    def lines(self) -> list[str]:
        """The word at the right, in lines."""
        return textwrap.wrap(self.word, LETTERS)


def rows_of(analysis: Analysis) -> list[Row]:
    """Return the comparisons, then the differences of the offline bounds to the reference."""
    comparisons = [
        Row(c.method, analysis.label(c), c.difference, c.ci_low, c.ci_high, c.verdict)
        for c in analysis.comparisons
    ]
    bounds = [
        Row(gap.bound, gap.bound, gap.difference, gap.ci_low, gap.ci_high, BOUND)
        for gap in analysis.gaps
        if gap.method == analysis.common_reference and gap.difference is not None
    ]
    return comparisons + bounds


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield a figure with one row per comparison, if any comparison has a difference."""
    if any(c.difference is not None for c in analysis.comparisons):
        yield Picture(
            "forest",
            "Differences",
            _caption(analysis),
            partial(_draw, analysis),
        )


def _caption(analysis: Analysis) -> str:
    record, unit = analysis.record, analysis.record.unit
    measured = [c for c in analysis.comparisons if c.difference is not None]
    with_interval = [c for c in measured if c.ci_low is not None]
    reference = common.clean(analysis.common_reference or "the method it is compared with")
    text = (
        f"Difference in {common.words(record.metric)}: mean of method − {reference} over shared "
        f"{numbers.plural(unit)}."
    )
    if with_interval:
        level = numbers.percent(analysis.rules.confidence)
        counted = common.count_range({c.n for c in with_interval}, unit)
        text += (
            f" Lines: simultaneous {level} intervals over {counted}, from which the verdicts are "
            f"read; {common.variation(record)}."
        )
    if any(row.word == BOUND for row in rows_of(analysis)):
        text += " Below the dashed line: offline bounds, with t-intervals of their own."
    if record.margin > 0:
        text += f" Grey band: the margin, ±{record.form.points(record.margin)}."
    if len(with_interval) < len(measured):
        imputed = any(c.imputed for c in measured)
        counted = f" or failed {numbers.plural(unit)} that count as a score" if imputed else ""
        text += (
            f" Hollow: fewer than 3 {numbers.plural(unit)} or the same difference on every {unit}"
            f"{counted}, no interval."
        )
    return f"{text} The verdicts are at the right."


@common.styled
def _draw(analysis: Analysis) -> Figure:
    rows = rows_of(analysis)
    labels = [common.shorten(row.label, 1.15) for row in rows]
    left = 0.14 + max(map(common.text_width, labels))
    most_lines = max(2, *(len(row.lines) for row in rows))
    height = max((most_lines + 0.5) * LINE * len(rows), 0.5)
    grid = Grid(1, 1, height, left=left, right=VERDICT, top=0.08, bottom=0.62)
    figure = grid.sheet()
    (axes,) = grid.panels(figure)
    looks, form = common.method_looks(analysis.record), analysis.form
    _frame(axes, analysis, rows)
    for place, row in enumerate(rows):
        _draw_row(axes, place, row, looks[row.method], form)
    if len(rows) > len(analysis.comparisons):
        above = len(analysis.comparisons) - 0.5
        axes.axhline(above, color=common.GREY, linewidth=0.7, linestyle="--", label="bounds below")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), labels)
    layout.below_label(figure, grid, f"difference in {form.name}{form.unit_of_differences}")
    layout.below_label(figure, grid, _direction(analysis), drop=0.52)
    return figure


def _frame(axes: Axes, analysis: Analysis, rows: Sequence[Row]) -> None:
    margin = analysis.rules.margin
    if margin > 0:
        axes.axvspan(-margin, margin, color=common.GREY, alpha=0.25, linewidth=0, label="margin")
    axes.axvline(0, color=common.INK, linewidth=0.7, label="zero")
    ends = [x for row in rows for x in (row.difference, row.ci_low, row.ci_high)]
    axes.set_xlim(layout.limits([*ends, 0.0, margin, -margin]))
    layout.simple_ticks(axes.xaxis, 4, scale=analysis.form.scale)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _draw_row(axes: Axes, place: int, row: Row, look: Look, form: Form) -> None:
    right = axes.get_yaxis_transform()
    text = "\n".join(row.lines)
    axes.text(1.03, place, text, transform=right, va="center", fontsize=common.SMALL)
    if row.difference is None:
        return
    if row.has_interval:
        ends = common.floats([row.ci_low, row.ci_high])
        axes.plot(ends, [place, place], gid=common.method_id(row.method), **look.interval)
    point = look.point(filled=row.has_interval)
    gid = common.method_id(row.method, [f"{row.label}: {form.value(row.difference)}"])
    axes.plot(row.difference, place, label=row.method, markersize=4, gid=gid, **point)


def _direction(analysis: Analysis) -> str:
    return "← worse · better →" if analysis.rules.higher_is_better else "← better · worse →"
