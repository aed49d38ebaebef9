"""The objective against what each trial took for an option."""

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
from analysis.one_study.searches import Search, Slice
from analysis.report.blocks import Picture

COLUMNS = 4
ROWS = 8  # at most, so that the figure stays on a page


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """A panel for each of the most important options of each method."""
    shown = [search for search in analysis.searches if search.slices]
    if shown:
        yield Picture(
            "slices", "Options and objective", _caption(analysis), partial(_draw, analysis)
        )


def options_shown(methods: int) -> int:
    """How many options of each method there is room for."""
    return 4 if methods <= ROWS else 2 if methods <= 2 * ROWS else 1


def chosen(search: Search, most: int) -> tuple[Slice, ...]:
    """The first slices: the most important ones."""
    return search.slices[:most]


def _caption(analysis: Analysis) -> str:
    shown = [search for search in analysis.searches if search.slices]
    most = options_shown(len(shown))
    which = "most important option" if most == 1 else f"up to {most} most important options"
    known = [s.importance for search in shown for s in chosen(search, most)]
    unknown = "" if None not in known else " (where no importance is known, the first)"
    text = (
        f"{common.words(analysis.record.metric).capitalize()} of each complete trial on "
        f"validation data against the value it took, for the {which} of each method{unknown}."
    )
    if any(_logarithmic(s) for search in shown for s in chosen(search, most)):
        text += " Values that span more than two decades have a logarithmic axis."
    if any(not _numeric(s) for search in shown for s in chosen(search, most)):
        text += " Categories stand in alphabetical order (named: all, or the first and the last)."
    return text


@common.styled
def _draw(analysis: Analysis) -> Figure:
    shown = [search for search in analysis.searches if search.slices]
    most = options_shown(len(shown))
    used = max(len(chosen(search, most)) for search in shown)
    columns = used if most == COLUMNS else COLUMNS
    cells = len(shown) * (columns if most == COLUMNS else most)
    grid = Grid(cells, columns, 0.72, right=0.06, across=0.1, bottom=0.42, down=0.62)
    figure = grid.sheet()
    looks = common.method_looks(analysis.record)
    everything = [y for s in shown for one in chosen(s, most) for _, y in one.points]
    stride = columns if most == COLUMNS else most
    for place, search in enumerate(shown):
        for offset, one in enumerate(chosen(search, most)):
            index = place * stride + offset
            axes = grid.panel(figure, index)
            _panel(axes, one, looks[search.method], grid.width)
            axes.set_ylim(layout.limits(everything))
            layout.simple_ticks(axes.yaxis, 3)
            axes.tick_params(labelleft=index % columns == 0)
            if offset == 0:
                layout.panel_title(axes, search.method, stride * grid.width)
    layout.side_label(figure, grid, common.words(analysis.record.metric))
    return figure


def _panel(axes: Axes, one: Slice, look: Look, width: float) -> None:
    values, scores = [value for value, _ in one.points], [score for _, score in one.points]
    found = _numbers(values)
    if found is None:
        _categories(axes, values, scores, look, width)
    else:
        axes.plot(found, scores, label=one.option, alpha=0.7, markersize=3, **look.point())
        layout.end_ticks(axes, found)
    name = common.shorten(one.option, width + 0.1)
    axes.set_xlabel(name, fontsize=common.SMALL, labelpad=2)
    layout.light_grid(axes)


def _numbers(values: Sequence[object]) -> list[float] | None:
    """The values as finite numbers, or None where one of them is something else."""
    found = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        found.append(float(value))
    return found if all(map(math.isfinite, found)) else None


def _numeric(one: Slice) -> bool:
    return _numbers([value for value, _ in one.points]) is not None


def _logarithmic(one: Slice) -> bool:
    return layout.is_wide(_numbers([value for value, _ in one.points]) or [])


def _categories(
    axes: Axes, values: Sequence[object], scores: list[float], look: Look, width: float
) -> None:
    names = sorted({str(value) for value in values})
    places = [names.index(str(value)) for value in values]
    axes.plot(places, scores, alpha=0.7, markersize=3, **look.point())
    axes.set_xlim(-0.5, len(names) - 0.5)
    room = width / len(names) - 0.04
    if all(common.text_width(name) <= room for name in names):
        axes.set_xticks(range(len(names)), list(map(common.clean, names)))
        return
    ends = sorted({0, len(names) - 1})
    axes.set_xticks(ends, [common.shorten(names[end], width / len(ends) - 0.04) for end in ends])
