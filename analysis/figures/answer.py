"""The answer in one figure: every seed, mean and interval of each method, the best first."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import numbers
from analysis.figures import common, layout
from analysis.figures.common import Look
from analysis.figures.layout import Grid
from analysis.one_study.analyse import Analysis, Comparison, MethodRow
from analysis.report.blocks import Picture
from analysis.report.results import Result, sorted_results

Ends = tuple[float, float]

LINE = 0.125  # inches for one line of a verdict
VERDICT = 1.15  # inches for the column of verdicts
LETTERS = 17  # of a verdict in one line
NAMES = 1.15  # inches for the names of methods
SPREAD = 0.26  # of the seeds of a method, upwards and downwards, in rows


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield a figure with one row per method, if any method has a score."""
    if any(row.scores for row in analysis.methods):
        yield Picture("answer", "Results", _caption(analysis), partial(_draw, analysis))


def interval_of(result: Result, has_reference: bool) -> Ends | None:
    """Return the interval to draw at a method's mean: that of the difference, moved there, or of
    the mean; None without one.
    """
    row, compared = result.method, result.comparison
    if row.mean is None:
        return None
    if not has_reference:
        return _of_ends(row.ci_low, row.ci_high)
    if not isinstance(compared, Comparison) or compared.difference is None:
        return None
    return _of_ends(compared.ci_low, compared.ci_high, row.mean - compared.difference)


def _of_ends(low: float | None, high: float | None, shift: float = 0.0) -> Ends | None:
    return None if low is None or high is None else (shift + low, shift + high)


def _caption(analysis: Analysis) -> str:
    record, reference = analysis.record, analysis.common_reference
    units = numbers.plural(record.unit)
    counted = common.count_range({row.n for row in analysis.methods if row.scores}, record.unit)
    text = f"Small points: {counted}; {common.variation(record)}. Large points: means, best first."
    level = numbers.percent(analysis.rules.confidence)
    if reference:
        text += (
            f" Lines: simultaneous {level} intervals of the differences to "
            f"{common.clean(reference)}, drawn at the means: a method is better or worse if its "
            "line does not meet the vertical one"
        )
        text += (
            f", and by more than the margin (±{record.form.points(record.margin)}) if it does not "
            "meet the grey band."
            if record.margin > 0
            else "."
        )
    else:
        text += f" Lines: {level} t-intervals of the means; they say nothing of differences."
    bounds = [row.method for row in analysis.methods if row.is_offline and row.mean is not None]
    if bounds:
        text += f" Dashed: {common.name_list(bounds)}, trained on all tasks at once."
    without = [row.method for row in analysis.methods if row.scores and row.mean is None]
    if without:
        text += f" Without a mean, because {units} failed: {common.name_list(without)}."
    return text


@common.styled
def _draw(analysis: Analysis) -> Figure:
    results = [r for r in sorted_results(analysis) if r.method.scores]
    shown = [r for r in results if not r.method.is_offline] or results
    bounds = [r.method for r in results if r.method.is_offline and r not in shown]
    labels = [common.shorten(r.method.method, NAMES) for r in shown]
    entries = [(row.method, _bound_look(i)) for i, row in enumerate(bounds)]
    grid = _grid(shown, labels, [name for name, _ in entries])
    figure = grid.sheet()
    (axes,) = grid.panels(figure)
    _frame(axes, analysis, shown, bounds)
    looks = common.method_looks(analysis.record)
    for place, result in enumerate(shown):
        _draw_row(axes, place, result, analysis, looks[result.method.method])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_yticks(range(len(shown)), labels)
    for text, result in zip(axes.get_yticklabels(), shown, strict=True):
        text.set_gid(common.method_id(result.method.method))
    layout.below_label(figure, grid, analysis.form.heading)
    if entries:
        layout.draw_key(figure, entries)
    return figure


def _grid(shown: Sequence[Result], labels: Sequence[str], key: Sequence[str]) -> Grid:
    most_lines = max(2, *(len(_lines(result)) for result in shown))
    return Grid(
        1,
        1,
        max((most_lines + 0.6) * LINE * len(shown), 0.6),
        left=0.14 + max(map(common.text_width, labels)),
        right=VERDICT if any(result.verdict for result in shown) else 0.1,
        top=0.06,
        bottom=0.5 + (layout.key_height(key) if key else 0.0),
    )


def _lines(result: Result) -> list[str]:
    """Return the verdict in lines."""
    return textwrap.wrap(result.verdict or "", LETTERS)


def _bound_look(number: int) -> dict[str, Any]:
    dashes = ("--", ":", "-.")
    return {"color": common.INK, "linestyle": dashes[number % len(dashes)], "linewidth": 0.9}


def _frame(
    axes: Axes, analysis: Analysis, shown: Sequence[Result], bounds: Sequence[MethodRow]
) -> None:
    """Draw the reference, the margin and the offline bounds, and set the axes."""
    margin = analysis.rules.margin
    intervals = [interval_of(r, bool(analysis.common_reference)) for r in shown]
    ends = [x for r in shown for x in r.method.scores.values()]
    ends += [end for interval in intervals if interval for end in interval]
    reference = next((r.method.mean for r in shown if r.is_reference), None)
    if reference is not None:
        low, high = reference - margin, reference + margin
        if margin > 0:
            axes.axvspan(low, high, color=common.GREY, alpha=0.25, linewidth=0, label="margin")
        axes.axvline(reference, color=common.INK, linewidth=0.7, label="reference")
        ends += [low, high]
    for number, row in enumerate(bounds):
        at = row.mean or 0.0
        axes.axvline(at, label=row.method, gid=common.method_id(row.method), **_bound_look(number))
        ends.append(at)
    axes.set_xlim(layout.limits(ends))
    layout.simple_ticks(axes.xaxis, 4, scale=analysis.form.scale)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _draw_row(axes: Axes, place: int, result: Result, analysis: Analysis, look: Look) -> None:
    row, form = result.method, analysis.form
    gid = common.method_id(row.method)
    seeds = list(row.scores.values())
    heights = place + (np.linspace(-SPREAD, SPREAD, len(seeds)) if len(seeds) > 1 else 0.0)
    tiny = look.point() | {"marker": "o", "markeredgewidth": 0}
    tips = [
        f"{row.method}, {analysis.record.unit} {seed}: {form.value(x)}"
        for seed, x in row.scores.items()
    ]
    dots = common.method_id(row.method, tips)
    axes.plot(seeds, heights, alpha=0.5, markersize=2.6, label=row.method, gid=dots, **tiny)
    found = interval_of(result, bool(analysis.common_reference))
    if found:
        axes.plot(found, [place, place], gid=gid, **look.interval)
    if row.mean is not None:
        point = look.point() | {"markeredgecolor": "white", "markeredgewidth": 0.5}
        mean = common.method_id(row.method, [f"{row.method}: {form.value(row.mean)}"])
        axes.plot(row.mean, place, markersize=5.5, gid=mean, **point)
    right, text = axes.get_yaxis_transform(), "\n".join(_lines(result))
    axes.text(1.03, place, text, transform=right, va="center", fontsize=common.SMALL, gid=gid)
