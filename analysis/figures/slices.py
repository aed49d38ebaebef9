"""Slice plots: the objective of each trial against the value of an option."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import common, layout
from analysis.figures.common import Look
from analysis.figures.layout import Grid
from analysis.one_study.analyse import Analysis
from analysis.one_study.sweeps import Slice
from analysis.report.blocks import Picture

COLUMNS = 4
ROWS = 8  # most rows of panels on a page


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield a figure with one panel per method and important option."""
    if any(search.slices for search in analysis.searches):
        yield Picture(
            "slices", "Options and objective", _caption(analysis), partial(_draw, analysis)
        )


def options_shown(methods: int) -> int:
    """Return the number of options of each method that a page has room for."""
    return 4 if methods <= ROWS else 2 if methods <= 2 * ROWS else 1


def _caption(analysis: Analysis) -> str:
    shown = [search for search in analysis.searches if search.slices]
    most = options_shown(len(shown))
    slices = [option for search in shown for option in search.slices[:most]]
    options = "the most important option" if most == 1 else f"at most {most} important options"
    known = all(option.importance is not None for option in slices)
    unknown = "" if known else " (where no importance is known, the first)"
    text = (
        f"{common.words(analysis.record.metric).capitalize()} of each complete trial on "
        f"validation data against the value of an option, for {options} of each method{unknown}."
    )
    if any(map(_is_logarithmic, slices)):
        text += " Axes are logarithmic where the search was."
    if not all(map(_is_numeric, slices)):
        text += " Categories are in alphabetical order (labelled: all, or the first and the last)."
    return text


@common.styled
def _draw(analysis: Analysis) -> Figure:
    shown = [search for search in analysis.searches if search.slices]
    most = options_shown(len(shown))
    most_options = max(len(search.slices[:most]) for search in shown)
    columns = most_options if most == COLUMNS else COLUMNS
    panels_per_method = columns if most == COLUMNS else most
    cells = len(shown) * panels_per_method
    grid = Grid(cells, columns, 0.72, right=0.06, across=0.1, bottom=0.42, down=0.62)
    figure = grid.sheet()
    looks = common.method_looks(analysis.record)
    scores = [y for search in shown for option in search.slices[:most] for _, y in option.points]
    for row, search in enumerate(shown):
        method = search.method
        for offset, option in enumerate(search.slices[:most]):
            index = row * panels_per_method + offset
            axes = grid.panel(figure, index)
            _panel(axes, option, looks[method], grid.width)
            axes.set_ylim(layout.limits(scores))
            layout.simple_ticks(axes.yaxis, 3, scale=analysis.form.scale)
            axes.tick_params(labelleft=index % columns == 0)
            axes.set_gid(common.method_id(method))
            if offset == 0:
                layout.panel_title(axes, method, panels_per_method * grid.width)
    layout.side_label(figure, grid, analysis.form.heading)
    return figure


def _panel(axes: Axes, option: Slice, look: Look, width: float) -> None:
    values, scores = [value for value, _ in option.points], [score for _, score in option.points]
    numbers = _numbers(values)
    if numbers is None:
        _categories(axes, values, scores, look, width)
    else:
        axes.plot(numbers, scores, label=option.option, alpha=0.7, markersize=3, **look.point())
        layout.end_ticks(axes, numbers, wide=_is_logarithmic(option))
    name = common.shorten(option.option, width + 0.1)
    axes.set_xlabel(name, fontsize=common.SMALL, labelpad=2)
    layout.light_grid(axes)


def _numbers(values: Sequence[object]) -> list[float] | None:
    """Return the values as finite numbers; None if any value is not a finite number."""
    numbers = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        numbers.append(float(value))
    return numbers if all(map(math.isfinite, numbers)) else None


def _is_numeric(option: Slice) -> bool:
    return _numbers([value for value, _ in option.points]) is not None


def _is_logarithmic(option: Slice) -> bool:
    """Return whether the axis is logarithmic: as the search, or for values of many sizes."""
    values = _numbers([value for value, _ in option.points]) or []
    if option.log is None:
        return layout.is_wide(values)
    return option.log and min(values, default=0.0) > 0


def _categories(
    axes: Axes, values: Sequence[object], scores: list[float], look: Look, width: float
) -> None:
    names = sorted({str(value) for value in values})
    positions = [names.index(str(value)) for value in values]
    axes.plot(positions, scores, alpha=0.7, markersize=3, **look.point())
    axes.set_xlim(-0.5, len(names) - 0.5)
    room = width / len(names) - 0.04
    if all(common.text_width(name) <= room for name in names):
        axes.set_xticks(range(len(names)), list(map(common.clean, names)))
        return
    ends = sorted({0, len(names) - 1})
    axes.set_xticks(ends, [common.shorten(names[end], width / len(ends) - 0.04) for end in ends])
