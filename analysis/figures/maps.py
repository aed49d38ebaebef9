"""The maps measured by methods, after the last task, as heat maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import numbers
from analysis.figures import common, heat, layout
from analysis.figures.heat import Colours
from analysis.figures.layout import Grid
from analysis.one_study.analyse import Analysis
from analysis.one_study.trajectories import MapPanel
from analysis.report.blocks import Picture

MOST_COLUMNS = 3  # of panels
TITLE = 0.22  # inches above a row of panels
HEADING = 0.2  # inches above the panels of a method, if there are several methods
FOOT = 0.5
TICKS = 0.18  # inches for tick labels
LINE = 0.16  # inches for a number in a cell
BAR = heat.GAP + heat.WIDE + 0.15  # inches for a colour bar without labels
LOW, HIGH = 0.45, 2.6  # smallest and greatest height of a panel


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """Yield one figure for each map that has a value after the last task."""
    used_names: set[str] = set()
    for panels in by_map(analysis):
        record = panels[0].record
        title = common.clean(record.title) or common.words(record.name)
        yield Picture(
            common.unique_name(f"maps-{common.slug(record.name)}", used_names),
            numbers.begin(f"{title} after the last task"),
            _caption(analysis, panels),
            partial(_draw, panels),
        )


def by_map(analysis: Analysis) -> list[list[MapPanel]]:
    """Return the panels with values of each map, in the order of the study."""
    panels: dict[tuple[str, bool], list[MapPanel]] = {}
    for panel in analysis.maps:
        if _values([panel]):
            panels.setdefault((panel.record.name, panel.record.averaged), []).append(panel)
    return list(panels.values())


def _values(panels: Sequence[MapPanel]) -> list[float]:
    """Return all values after the last task."""
    return [x for panel in panels for row in panel.values[-1] for x in layout.finite(row)]


def _caption(analysis: Analysis, panels: Sequence[MapPanel]) -> str:
    record, methods = panels[0].record, dict.fromkeys(panel.method for panel in panels)
    title = common.clean(record.title) or common.words(record.name)
    method = "" if len(methods) > 1 else f" of {common.name_list(methods)}"
    unit = f", in {common.clean(record.unit)}" if record.unit else ""
    tasks = common.count_range({len(panel.values) for panel in panels}, "task")
    text = (
        f"{numbers.begin(title)}{method}{unit}, by {common.clean(record.rows)} (row) and "
        f"{common.clean(record.columns)} (column), after the last of {tasks}: "
        f"{_seeds_clause(analysis, panels)}."
    )
    if any(x is None for panel in panels for row in panel.values[-1] for x in row):
        text += " Blank: no value."
    if len(_labels(panels)) > MOST_COLUMNS:
        text += " Each row of panels has its own colours."
    without_map = [
        method.method
        for method in analysis.record.methods
        if record.name not in {map_record.name for map_record in method.maps}
    ]
    return text + common.not_shown(analysis.record, {*methods, *without_map})


def _seeds_clause(analysis: Analysis, panels: Sequence[MapPanel]) -> str:
    """Return a clause on the seeds of a mean, or on the one seed behind the values."""
    record = analysis.record
    if panels[0].record.averaged:
        counts = {int(n) for panel in panels for n in panel.counts[-1].flat if n}
        return f"mean over {common.count_range(counts, record.unit)}; {common.variation(record)}"
    units = sorted({panel.seed for panel in panels if panel.seed is not None})
    first = f"{record.unit} {' or '.join(map(str, units))}"
    if record.unit_seeds:
        seeds = " or ".join(str(record.unit_seeds[unit][0]) for unit in units)
        first = f"seed {seeds} of {first}"
    count = common.count_range({panel.n for panel in panels}, record.unit)
    return f"{first} alone, the first of {count}: a mean would have no meaning"


@common.styled
def _draw(panels: Sequence[MapPanel]) -> Figure:
    methods = list(dict.fromkeys(panel.method for panel in panels))
    labels = _labels(panels)
    colours = _colours(panels, labels)
    grids = _grids(panels, methods, labels, colours)
    figure = grids[0].sheet()
    for method, grid in zip(methods, grids, strict=True):
        by_index = {labels.index(panel.label): panel for panel in panels if panel.method == method}
        _draw_panels(figure, grid, by_index, colours)
        layout.side_label(figure, grid, panels[0].record.rows)
        if len(methods) > 1:
            _heading(figure, grid, method)
    layout.below_label(figure, grids[-1], panels[0].record.columns)
    return figure


def _labels(panels: Sequence[MapPanel]) -> list[str]:
    """Return the labels of all panels in the learner's order; a method may lack some of them."""
    shown = {panel.label for panel in panels}
    in_order = dict.fromkeys(label for panel in panels for label in panel.record.panels)
    return [label for label in in_order if label in shown]


def _columns(labels: Sequence[str]) -> int:
    return min(layout.columns_for(len(labels)), MOST_COLUMNS)


def _colours(panels: Sequence[MapPanel], labels: Sequence[str]) -> list[Colours]:
    """Return the colours of each row of panels: one kind of map, the same for all methods."""
    values, columns = _values(panels), _columns(labels)
    signed = min(values) < 0 < max(values)
    rows = [labels[start : start + columns] for start in range(0, len(labels), columns)]
    shown = [_values([panel for panel in panels if panel.label in row]) for row in rows]
    return [heat.colours_for(row, signed) for row in shown]


def _grids(
    panels: Sequence[MapPanel],
    methods: Sequence[str],
    labels: Sequence[str],
    colours: Sequence[Colours],
) -> list[Grid]:
    """Return the grid of each method, one method below the other on one sheet."""
    bar_labels = [layout.brief_label(end) for row in colours for end in _ends(row)]
    right = BAR + max(map(common.text_width, bar_labels))
    ticks = 0.0 if _have_equal_axes(panels) else TICKS
    down = TITLE + ticks
    columns, across = _columns(labels), 0.12 + ticks
    shape = Grid(len(labels), columns, 1.0, left=0.45, right=right, across=across, down=down)
    height = _height(panels, shape)
    above = TITLE + (HEADING if len(methods) > 1 else 0.0)
    block = above + shape.rows * height + (shape.rows - 1) * down + TICKS
    last = len(methods) - 1
    return [
        replace(shape, height=height, top=i * block + above, bottom=(last - i) * block + FOOT)
        for i in range(len(methods))
    ]


def _height(panels: Sequence[MapPanel], shape: Grid) -> float:
    """Return the height of a panel with square cells, within limits."""
    ratio: float = max(panel.counts.shape[1] / panel.counts.shape[2] for panel in panels)
    width = shape.width * (0.75 if shape.columns == 1 else 1.0)
    return min(max(width * min(ratio, 1.0), LOW), HIGH)


def _have_equal_axes(panels: Sequence[MapPanel]) -> bool:
    """Return whether all panels have the same tick labels."""
    return len({(panel.counts.shape[1:], panel.record.first_column) for panel in panels}) == 1


def _draw_panels(
    figure: Figure, grid: Grid, panels: Mapping[int, MapPanel], colours: Sequence[Colours]
) -> None:
    """Draw the panels of a method by index in the grid, and a colour bar for each row."""
    equal_axes = _have_equal_axes(list(panels.values()))
    for index, panel in panels.items():
        axes = grid.panel(figure, index)
        _draw_panel(axes, panel, grid, colours[index // grid.columns])
        is_last = (index + 1) % grid.columns == 0  # a title may extend above the colour bar
        beside = grid.right - 0.05 if is_last else grid.across
        layout.panel_title(axes, panel.label, grid.width + beside)
        is_left = index % grid.columns == 0 or index - 1 not in panels
        is_lowest = index + grid.columns not in panels
        axes.tick_params(
            labelleft=is_left or not equal_axes, labelbottom=is_lowest or not equal_axes
        )
    for row in {index // grid.columns for index in panels}:
        bottom = grid.total - grid.top - (row + 1) * grid.height - row * grid.down
        axes = heat.colour_bar(figure, grid, colours[row], bottom, grid.height)
        ends = _ends(colours[row])
        axes.set_yticks(ends, [layout.brief_label(end) for end in ends])


def _draw_panel(axes: Axes, panel: MapPanel, grid: Grid, colours: Colours) -> None:
    matrix, first_column = panel.values[-1], panel.record.first_column
    heat.draw_cells(axes, matrix, colours, first_column)
    if grid.columns > 1:
        layout.simple_ticks(axes.xaxis, 4, integer=True)
    number = partial(_number, decimals=_decimals(colours))
    widest = max(common.text_width(number(end)) for end in _ends(colours))
    if widest + 0.03 <= grid.width / len(matrix[0]) and grid.height / len(matrix) >= LINE:
        heat.write_numbers(axes, matrix, colours, number, first_column)


def _decimals(colours: Colours) -> int:
    """Return the decimals of numbers in cells that give the largest number two digits."""
    largest = max(map(abs, _ends(colours)))
    return max(0, 1 - math.floor(math.log10(largest))) if largest else 0


def _number(value: float, decimals: int) -> str:
    return heat.without_zero(numbers.number(value, decimals).replace("-", "−"))


def _ends(colours: Colours) -> list[float]:
    """Return the ticks of a colour bar: both ends, and 0 between them."""
    low, high = colours.norm.vmin or 0.0, colours.norm.vmax or 0.0
    return [low, 0.0, high] if low < 0 < high else [low, high]


def _heading(figure: Figure, grid: Grid, method: str) -> None:
    short = common.shorten(method, 0.85 * common.WIDTH, common.TEXT)  # bold is wider
    height = 1 - (grid.top - TITLE - 0.02) / grid.total
    figure.text(0.01, height, short, va="bottom", fontsize=common.TEXT, weight="bold")
