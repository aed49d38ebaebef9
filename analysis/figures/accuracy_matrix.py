"""Accuracy after each task on each task, as heat maps on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from analysis.blocks import Picture
from analysis.figures import common, layout
from analysis.figures.layout import Grid
from analysis.results import Analysis
from analysis.trajectories import Numbers

Matrix = Sequence[Numbers]
LEVELS = 40  # a colour bar with more is drawn as pixels
NUMBER = 0.25  # inches that a cell's number takes
SCALE = Normalize(0, 1)
BAR = 0.5


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """The mean matrix of each method."""
    if analysis.trajectories:
        yield matrix_picture(analysis)


def matrix_picture(analysis: Analysis, seed: int | None = None) -> Picture:
    """The accuracy matrices of all methods: means over their seeds, or those of one given seed."""
    unit = analysis.record.unit
    if not matrices(analysis, seed):
        which = "no matrix" if seed is None else f"no matrix of {unit} {seed}"
        raise ValueError(f"the study has {which}")
    return Picture(
        "accuracy-matrix" if seed is None else f"accuracy-matrix-{unit}-{seed}",
        "Accuracy matrix" if seed is None else f"Accuracy matrix of {unit} {seed}",
        _caption(analysis, seed),
        partial(_draw, analysis, seed),
    )


def matrices(analysis: Analysis, seed: int | None = None) -> dict[str, Matrix]:
    """The matrix of each method that has one."""
    if seed is None:
        return {t.method: t.matrix for t in analysis.trajectories}
    return {t.method: t.seeds[seed] for t in analysis.trajectories if seed in t.seeds}


def _caption(analysis: Analysis, seed: int | None) -> str:
    record, shown = analysis.record, matrices(analysis, seed)
    counts = {t.n for t in analysis.trajectories}
    whose = (
        f"mean over {common.several(counts, record.unit)}; {common.varies(record)}"
        if seed is None
        else f"{record.unit} {seed} alone"
    )
    text = f"Accuracy on each task (column) after learning each task (row): {whose}."
    if any(x is None for matrix in shown.values() for row in matrix for x in row):
        text += " Hatched: not tested."
    bounds = [row.method for row in analysis.methods if row.is_offline and row.method in shown]
    if bounds:
        text += f" {common.listed(bounds)}: an offline bound, given all tasks at every step."
    return text + common.not_shown(record, shown)


@common.styled
def _draw(analysis: Analysis, seed: int | None) -> Figure:
    shown = matrices(analysis, seed)
    columns = layout.columns_for(len(shown))
    grid = _grid(len(shown), columns, next(iter(shown.values())))
    figure = grid.sheet()
    colours = matplotlib.colormaps["cividis"].resampled(LEVELS)
    for axes, (name, matrix) in zip(grid.panels(figure), shown.items(), strict=True):
        _heat(axes, matrix, colours)
        cell = min(grid.width / len(matrix[0]), grid.height / len(matrix))
        if cell >= NUMBER:
            _write(axes, matrix, colours)
        layout.panel_title(axes, name, grid.width + 0.05)
    layout.side_label(figure, grid, "tasks learnt")
    layout.below_label(figure, grid, "task tested")
    _bar(figure, grid, colours)
    return figure


def _grid(count: int, columns: int, matrix: Matrix) -> Grid:
    shape = Grid(count, columns, 1.0, left=0.45, right=0.1 + BAR)
    ratio = min(1.0, len(matrix) / max(1, len(matrix[0])))
    height = min(shape.width * (0.75 if columns == 1 else 1.0) * ratio, 2.6)
    return Grid(count, columns, max(height, 0.4), left=0.45, right=0.1 + BAR, down=0.24)


def _heat(axes: Axes, matrix: Matrix, colours: Colormap) -> QuadMesh:
    values = np.array([common.numbers(row) for row in matrix], dtype=float)
    if not np.all(np.isfinite(values)):
        axes.patch.set(hatch="/////", edgecolor=common.GREY, facecolor="none", linewidth=0)
    rows, columns = values.shape
    mesh = axes.pcolormesh(
        np.arange(columns + 1) + 0.5,
        np.arange(rows + 1) + 0.5,
        np.ma.masked_invalid(values),
        cmap=colours,
        norm=SCALE,
        edgecolors="face",
        linewidth=0.5,
    )
    axes.set(xlim=(0.5, columns + 0.5), ylim=(rows + 0.5, 0.5))
    for axis in (axes.xaxis, axes.yaxis):
        layout.simple_ticks(axis, 5, integer=True)
    axes.tick_params(length=0)
    return mesh


def _write(axes: Axes, matrix: Matrix, colours: Colormap) -> None:
    for row, values in enumerate(matrix, start=1):
        for column, value in enumerate(values, start=1):
            if value is not None:
                axes.text(
                    column,
                    row,
                    _short(value),
                    ha="center",
                    va="center",
                    fontsize=common.SMALL,
                    color=_contrast(colours(SCALE(value))),
                )


def _short(value: float) -> str:
    text = f"{value:.2f}"
    return text[1:] if text.startswith("0") else text


def _contrast(colour: Sequence[float]) -> str:
    red, green, blue = colour[:3]
    light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
    return common.NEAR_BLACK if light else "white"


def _bar(figure: Figure, grid: Grid, colours: Colormap) -> None:
    height = min(grid.total - grid.top - grid.bottom, 2.0)
    left = common.WIDTH - grid.right + 0.12
    bottom = grid.total - grid.top - height
    place = (left / common.WIDTH, bottom / grid.total, 0.1 / common.WIDTH, height / grid.total)
    axes = figure.add_axes(place)
    figure.colorbar(ScalarMappable(SCALE, colours), cax=axes)
    layout.simple_ticks(axes.yaxis, 4)
    edge = 1 - 0.03 / common.WIDTH
    below = (bottom - 0.08) / grid.total
    figure.text(edge, below, "accuracy", ha="right", va="top", fontsize=common.SMALL)
