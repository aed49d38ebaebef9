"""Accuracy after each task on each task, as heat maps on one scale."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.figure import Figure

from analysis.figures import common, heat, layout
from analysis.figures.layout import Grid
from analysis.forms import Form
from analysis.one_study.analyse import Analysis
from analysis.one_study.trajectories import Matrix
from analysis.report.blocks import Picture

COLOUR_SCALE = heat.sequential(0, 1)
BAR = 0.5  # inches for the colour bar with labels


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield one figure with the mean matrix of each method."""
    if analysis.trajectories:
        yield matrix_picture(analysis)


def matrix_picture(analysis: Analysis, seed: int | None = None) -> Picture:
    """Return a figure of the accuracy matrices of all methods: means over seeds, or of one seed.

    Raises `ValueError` if the study has no such matrix.
    """
    unit = analysis.record.unit
    if not matrices(analysis, seed):
        of_seed = "" if seed is None else f" of {unit} {seed}"
        raise ValueError(f"the study has no matrix{of_seed}")
    return Picture(
        "accuracy-matrix" if seed is None else f"accuracy-matrix-{unit}-{seed}",
        "Accuracy matrix" if seed is None else f"Accuracy matrix of {unit} {seed}",
        _caption(analysis, seed),
        partial(_draw, analysis, seed),
    )


def matrices(analysis: Analysis, seed: int | None = None) -> dict[str, Matrix]:
    """Return the mean matrix of each method, or the matrix of one seed."""
    if seed is None:
        return {t.method: t.matrix for t in analysis.trajectories}
    return {t.method: t.seeds[seed] for t in analysis.trajectories if seed in t.seeds}


def _caption(analysis: Analysis, seed: int | None) -> str:
    record, shown = analysis.record, matrices(analysis, seed)
    counts = {t.n for t in analysis.trajectories}
    source = (
        f"mean over {common.count_range(counts, record.unit)}; {common.variation(record)}"
        if seed is None
        else f"{record.unit} {seed} alone"
    )
    text = f"Accuracy on each task (column) after learning each task (row): {source}."
    if any(x is None for matrix in shown.values() for row in matrix for x in row):
        text += " Hatched: not tested."
    bounds = [row.method for row in analysis.methods if row.is_offline and row.method in shown]
    if bounds:
        text += f" {common.name_list(bounds)}: an offline bound, given all tasks at every step."
    return text + common.not_shown(record, shown)


@common.styled
def _draw(analysis: Analysis, seed: int | None) -> Figure:
    shown, form = matrices(analysis, seed), analysis.record.form_of_accuracy
    columns = layout.columns_for(len(shown))
    grid = _grid(len(shown), columns, next(iter(shown.values())))
    figure = grid.sheet()
    for axes, (name, matrix) in zip(grid.panels(figure), shown.items(), strict=True):
        if any(value is None for row in matrix for value in row):
            axes.patch.set(hatch="/////", edgecolor=common.GREY, facecolor="none", linewidth=0)
        heat.draw_cells(axes, matrix, COLOUR_SCALE)
        cell = min(grid.width / len(matrix[0]), grid.height / len(matrix))
        if cell >= heat.NUMBER:
            heat.write_numbers(axes, matrix, COLOUR_SCALE, partial(_cell, form))
        layout.method_panel(axes, name, grid.width + 0.05)
    layout.side_label(figure, grid, "tasks learnt")
    layout.below_label(figure, grid, "task tested")
    _bar(figure, grid, form)
    return figure


def _grid(count: int, columns: int, matrix: Matrix) -> Grid:
    shape = Grid(count, columns, 1.0, left=0.45, right=0.1 + BAR)
    ratio = min(1.0, len(matrix) / max(1, len(matrix[0])))
    height = min(shape.width * (0.75 if columns == 1 else 1.0) * ratio, 2.6)
    return Grid(count, columns, max(height, 0.4), left=0.45, right=0.1 + BAR, down=0.24)


def _cell(form: Form, value: float) -> str:
    """Return two digits of an accuracy."""
    return f"{100 * value:.0f}" if form.in_percent else heat.without_zero(f"{value:.2f}")


def _bar(figure: Figure, grid: Grid, form: Form) -> None:
    height = min(grid.total - grid.top - grid.bottom, 2.0)
    bottom = grid.total - grid.top - height
    heat.colour_bar(figure, grid, COLOUR_SCALE, bottom, height, form.scale)
    edge = 1 - 0.03 / common.WIDTH
    below = (bottom - 0.08) / grid.total
    label = "in %" if form.in_percent else "accuracy"  # no wider than the colour bar
    figure.text(edge, below, label, ha="right", va="top", fontsize=common.SMALL)
