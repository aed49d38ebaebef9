"""Heat maps: a matrix as coloured cells, with numbers where there is room, and its colour bar."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from analysis.figures import common, layout
from analysis.figures.layout import Grid
from analysis.one_study.trajectories import Matrix

LEVELS = 40  # a colour bar with more is drawn as pixels
NUMBER = 0.25  # inches that a cell's number takes
GAP = 0.12  # between panels and colour bar
WIDE = 0.1  # of a colour bar


@dataclass(frozen=True)
class Colours:
    """The colour of each value."""

    map: Colormap
    norm: Normalize

    def contrast(self, value: float) -> str:
        """The colour of a number on that of its value."""
        red, green, blue = self.map(self.norm(value))[:3]
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        return common.NEAR_BLACK if light else "white"


def one_way(low: float, high: float) -> Colours:
    """Colours from dark to light."""
    return Colours(matplotlib.colormaps["cividis"].resampled(LEVELS), Normalize(low, high))


def both_ways(most: float) -> Colours:
    """Colours of two signs around 0, which is grey: a cell without a value is no colour at all."""
    return Colours(matplotlib.colormaps["coolwarm"].resampled(LEVELS + 1), Normalize(-most, most))


def colours_for(values: Iterable[float], signed: bool) -> Colours:
    """Colours that just span the values."""
    known = list(values) or [0.0]
    if signed:
        return both_ways(max(map(abs, known)) or 1.0)
    low, high = min(known), max(known)
    return one_way(low, high) if low < high else one_way(*layout.limits(known))


def draw(axes: Axes, matrix: Matrix, colours: Colours, first_column: int = 1) -> QuadMesh:
    """The cells; rows are counted from 1 downwards, columns from `first_column`."""
    values = np.array([common.numbers(row) for row in matrix], dtype=float)
    rows, columns = values.shape
    left = first_column - 0.5
    mesh = axes.pcolormesh(
        np.arange(columns + 1) + left,
        np.arange(rows + 1) + 0.5,
        np.ma.masked_invalid(values),
        cmap=colours.map,
        norm=colours.norm,
        edgecolors="face",
        linewidth=0.5,
    )
    axes.set(xlim=(left, columns + left), ylim=(rows + 0.5, 0.5))
    for axis in (axes.xaxis, axes.yaxis):
        layout.simple_ticks(axis, 5, integer=True)
    axes.tick_params(length=0)
    return mesh


def write(
    axes: Axes,
    matrix: Matrix,
    colours: Colours,
    text: Callable[[float], str],
    first_column: int = 1,
) -> None:
    """A number in each cell that has a value."""
    for row, values in enumerate(matrix, start=1):
        for column, value in enumerate(values, start=first_column):
            if value is not None:
                axes.text(
                    column,
                    row,
                    text(value),
                    ha="center",
                    va="center",
                    fontsize=common.SMALL,
                    color=colours.contrast(value),
                )


def short(text: str) -> str:
    """A number without the zero before its point."""
    return text.replace("0.", ".", 1) if text.removeprefix("−").startswith("0.") else text


def bar(figure: Figure, grid: Grid, colours: Colours, bottom: float, height: float) -> Axes:
    """The colour bar at the right of the panels, in inches from below."""
    left = common.WIDTH - grid.right + GAP
    width, total = common.WIDTH, grid.total
    axes = figure.add_axes((left / width, bottom / total, WIDE / width, height / total))
    figure.colorbar(ScalarMappable(colours.norm, colours.map), cax=axes)
    layout.simple_ticks(axes.yaxis, 4)
    return axes
