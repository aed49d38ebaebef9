"""The importance of each option of a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import common, layout
from analysis.figures.layout import Grid
from analysis.one_study.analyse import Analysis
from analysis.one_study.sweeps import SweepHistory
from analysis.report.blocks import Picture

BAR = 0.19  # height in inches
MANY_METHODS = 8
MOST_OPTIONS = 6
MOST_OPTIONS_OF_MANY = 3
COLOUR = common.METHOD_COLOURS[0]


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield a figure with one panel of bars per sweep with known importances."""
    shown = shares(analysis)
    if shown:
        yield Picture(
            "importance",
            "Importance of the options",
            _caption(analysis, shown),
            partial(_draw, analysis),
        )


def shares(analysis: Analysis) -> dict[str, list[tuple[str, float]]]:
    """Return the most important options of each method with their shares, in descending order."""
    by_method = {search.method: _importances(search) for search in analysis.searches}
    by_method = {method: options for method, options in by_method.items() if options}
    most = MOST_OPTIONS_OF_MANY if len(by_method) > MANY_METHODS else MOST_OPTIONS
    return {method: options[:most] for method, options in by_method.items()}


def _importances(search: SweepHistory) -> list[tuple[str, float]]:
    shares = [(s.option, s.importance) for s in search.slices if s.importance is not None]
    return [(option, share) for option, share in shares if layout.finite([share])]


def _caption(analysis: Analysis, shown: dict[str, list[tuple[str, float]]]) -> str:
    text = (
        "How much each option matters for being among the best trials of a sweep (PED-ANOVA; sums "
        "to 1 over a method's options). Small sweeps give a rough estimate only."
    )
    if any(len(_importances(s)) > len(shown.get(s.method, ())) for s in analysis.searches):
        text += f" The {max(map(len, shown.values()))} most important options of each method."
    return text


@common.styled
def _draw(analysis: Analysis) -> Figure:
    shown = shares(analysis)
    columns = min(layout.columns_for(len(shown)), 3)
    bars = max(map(len, shown.values()))
    grid = Grid(
        len(shown), columns, bars * BAR, left=0.1, right=0.14, bottom=0.46, across=0.16, down=0.26
    )
    figure = grid.sheet()
    for axes, (method, options) in zip(grid.panels(figure), shown.items(), strict=True):
        _panel(axes, options, bars, grid.width)
        layout.panel_title(axes, method, grid.width)
    layout.below_label(figure, grid, "relative importance")
    return figure


def _panel(axes: Axes, options: list[tuple[str, float]], bars: int, width: float) -> None:
    rows = range(len(options))
    axes.barh(rows, [share for _, share in options], height=0.84, color=COLOUR, alpha=0.4)
    for row, (option, share) in zip(rows, options, strict=True):
        name = common.shorten(option, width - 0.5)
        axes.text(0.02, row, name, va="center_baseline", fontsize=common.SMALL)
        percent = f"{100 * share:.0f} %"
        axes.text(1, row, percent, va="center_baseline", ha="right", fontsize=common.SMALL)
    axes.set(xlim=(0, 1), ylim=(bars - 0.5, -0.5))
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([])
