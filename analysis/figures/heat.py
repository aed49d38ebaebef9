"""Heat maps: a matrix as coloured cells, with numbers in large cells, and a colour bar."""

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

LEVELS = 40  # colours; a colour bar with more colours is drawn as pixels
NUMBER = 0.25  # inches of a cell with room for a number
GAP = 0.12  # inches between panels and colour bar
WIDE = 0.1  # width of a colour bar in inches


@dataclass(frozen=True)
class Colours:
    """The colour of each value."""

    map: Colormap
    norm: Normalize

    def contrast(self, value: float) -> str:
        """Return the colour of a number on the cell of its value."""
        red, green, blue = self.map(self.norm(value))[:3]
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        return common.NEAR_BLACK if light else "white"


def sequential(low: float, high: float) -> Colours:
    """Return a sequential map, from dark to light."""
    return Colours(matplotlib.colormaps["cividis"].resampled(LEVELS), Normalize(low, high))


def diverging(largest: float) -> Colours:
    """Return a diverging map around 0, which is grey; a cell without a value has no colour."""
    colour_map = matplotlib.colormaps["coolwarm"].resampled(LEVELS + 1)
    return Colours(colour_map, Normalize(-largest, largest))


def colours_for(values: Iterable[float], signed: bool) -> Colours:
    """Return a map over the range of the values."""
    numbers = list(values) or [0.0]
    if signed:
        return diverging(max(map(abs, numbers)) or 1.0)
    low, high = min(numbers), max(numbers)
    return sequential(low, high) if low < high else sequential(*layout.limits(numbers))


def draw_cells(axes: Axes, matrix: Matrix, colours: Colours, first_column: int = 1) -> QuadMesh:
    """Draw the cells; rows are counted from 1 downwards, columns from `first_column`."""
    values = np.array([common.floats(row) for row in matrix], dtype=float)
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


def write_numbers(
    axes: Axes,
    matrix: Matrix,
    colours: Colours,
    format: Callable[[float], str],
    first_column: int = 1,
) -> None:
    """Write a number in each cell that has a value."""
    for row, values in enumerate(matrix, start=1):
        for column, value in enumerate(values, start=first_column):
            if value is not None:
                axes.text(
                    column,
                    row,
                    format(value),
                    ha="center",
                    va="center",
                    fontsize=common.SMALL,
                    color=colours.contrast(value),
                )


def without_zero(text: str) -> str:
    """Return a number without the zero before the decimal point: `.25`, `−.25`."""
    return text.replace("0.", ".", 1) if text.removeprefix("−").startswith("0.") else text


def colour_bar(
    figure: Figure,
    grid: Grid,
    colours: Colours,
    bottom: float,
    height: float,
    scale: float = 1.0,
) -> Axes:
    """Draw the colour bar at the right of the panels.

    Args:
        bottom: in inches, as is the height.
        scale: of the labels; see `layout.simple_ticks`.
    """
    left = common.WIDTH - grid.right + GAP
    width, total = common.WIDTH, grid.total
    axes = figure.add_axes((left / width, bottom / total, WIDE / width, height / total))
    figure.colorbar(ScalarMappable(colours.norm, colours.map), cax=axes)
    layout.simple_ticks(axes.yaxis, 4, scale=scale)
    return axes
