"""Matrices that methods measured about themselves, after the last task, as heat maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import wording
from analysis.figures import common, heat, layout
from analysis.figures.heat import Colours
from analysis.figures.layout import Grid
from analysis.one_study.analyse import Analysis
from analysis.one_study.trajectories import MapPanel
from analysis.report.blocks import Picture

MOST_COLUMNS = 3  # of panels
TITLE = 0.22  # inches above a row of panels
HEADING = 0.2  # more above the panels of a method, where there are several
FOOT = 0.5
TICKS = 0.18  # for tick labels
LINE = 0.16  # for a number in a cell
BAR = heat.GAP + heat.WIDE + 0.15  # room for a colour bar without its labels
LOW, HIGH = 0.45, 2.6  # least and greatest height of a panel


def pictures(analysis: Analysis) -> Iterator[Picture]:
    """One figure for each map that has a value after the last task."""
    taken: set[str] = set()
    for panels in by_map(analysis):
        of = panels[0].of
        title = common.clean(of.title) or common.words(of.name)
        yield Picture(
            common.own_name(f"maps-{common.slug(of.name)}", taken),
            wording.begin(f"{title} after the last task"),
            _caption(analysis, panels),
            partial(_draw, panels),
        )


def by_map(analysis: Analysis) -> list[list[MapPanel]]:
    """The panels to draw of each map, in the order of the study."""
    found: dict[tuple[str, bool], list[MapPanel]] = {}
    for panel in analysis.maps:
        if _values([panel]):
            found.setdefault((panel.of.name, panel.of.averaged), []).append(panel)
    return list(found.values())


def _values(panels: Sequence[MapPanel]) -> list[float]:
    """All values after the last task."""
    return [x for panel in panels for row in panel.values[-1] for x in layout.finite(row)]


def _caption(analysis: Analysis, panels: Sequence[MapPanel]) -> str:
    of, methods = panels[0].of, dict.fromkeys(panel.method for panel in panels)
    title = common.clean(of.title) or common.words(of.name)
    whose = "" if len(methods) > 1 else f" of {common.listed(methods)}"
    unit = f", in {common.clean(of.unit)}" if of.unit else ""
    tasks = common.several({len(panel.values) for panel in panels}, "task")
    text = (
        f"{wording.begin(title)}{whose}{unit}, by {common.clean(of.rows)} (row) and "
        f"{common.clean(of.columns)} (column), after the last of {tasks}: "
        f"{_over(analysis, panels)}."
    )
    if any(x is None for panel in panels for row in panel.values[-1] for x in row):
        text += " Blank: no value."
    if len(_labels(panels)) > MOST_COLUMNS:
        text += " Each row of panels has its own colours."
    without = [m.method for m in analysis.record.methods if of.name not in {r.name for r in m.maps}]
    return text + common.not_shown(analysis.record, {*methods, *without})


def _over(analysis: Analysis, panels: Sequence[MapPanel]) -> str:
    """Over which seeds the values are means, or of which one they are."""
    record = analysis.record
    if panels[0].of.averaged:
        counts = {int(n) for panel in panels for n in panel.counts[-1].flat if n}
        return f"mean over {common.several(counts, record.unit)}; {common.varies(record)}"
    seeds = sorted({panel.seed for panel in panels if panel.seed is not None})
    first = f"{record.unit} {' or '.join(map(str, seeds))}"
    if record.unit_seeds:
        own = " or ".join(str(record.unit_seeds[seed][0]) for seed in seeds)
        first = f"seed {own} of {first}"
    every = common.several({panel.n for panel in panels}, record.unit)
    return f"{first} alone, the first of {every}, whose mean would have no meaning"


@common.styled
def _draw(panels: Sequence[MapPanel]) -> Figure:
    methods = list(dict.fromkeys(panel.method for panel in panels))
    labels = _labels(panels)
    colours = _colours(panels, labels)
    grids = _grids(panels, methods, labels, colours)
    figure = grids[0].sheet()
    for method, grid in zip(methods, grids, strict=True):
        own = {labels.index(panel.label): panel for panel in panels if panel.method == method}
        _fill(figure, grid, own, colours)
        layout.side_label(figure, grid, panels[0].of.rows)
        if len(methods) > 1:
            _heading(figure, grid, method)
    layout.below_label(figure, grids[-1], panels[0].of.columns)
    return figure


def _labels(panels: Sequence[MapPanel]) -> list[str]:
    """Those of the panels, in the learner's order, which a method may have but in part."""
    shown = {panel.label for panel in panels}
    return [x for x in dict.fromkeys(x for panel in panels for x in panel.of.panels) if x in shown]


def _columns(labels: Sequence[str]) -> int:
    return min(layout.columns_for(len(labels)), MOST_COLUMNS)


def _colours(panels: Sequence[MapPanel], labels: Sequence[str]) -> list[Colours]:
    """The colours of each row of panels: of one kind everywhere, the same for all methods."""
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
    """The panels of each method, one method below the other on one sheet."""
    right = BAR + max(common.text_width(layout.brief(x)) for of in colours for x in _ends(of))
    apart = 0.0 if _alike(panels) else TICKS
    down = TITLE + apart
    shape = Grid(
        *(len(labels), _columns(labels), 1.0),
        left=0.45,
        right=right,
        across=0.12 + apart,
        down=down,
    )
    height = _height(panels, shape)
    above = TITLE + (HEADING if len(methods) > 1 else 0.0)
    block = above + shape.rows * height + (shape.rows - 1) * down + TICKS
    last = len(methods) - 1
    return [
        replace(shape, height=height, top=i * block + above, bottom=(last - i) * block + FOOT)
        for i in range(len(methods))
    ]


def _height(panels: Sequence[MapPanel], shape: Grid) -> float:
    """Height of a panel: cells are squares, as far as that is neither flat nor high."""
    ratio: float = max(panel.counts.shape[1] / panel.counts.shape[2] for panel in panels)
    wide = shape.width * (0.75 if shape.columns == 1 else 1.0)
    return min(max(wide * min(ratio, 1.0), LOW), HIGH)


def _alike(panels: Sequence[MapPanel]) -> bool:
    """Whether one set of tick labels serves all panels."""
    return len({(panel.counts.shape[1:], panel.of.first_column) for panel in panels}) == 1


def _fill(
    figure: Figure, grid: Grid, own: Mapping[int, MapPanel], colours: Sequence[Colours]
) -> None:
    """The panels of a method by their places, which another method may have more of."""
    alike = _alike(list(own.values()))
    for index, panel in own.items():
        axes = grid.panel(figure, index)
        _cells(axes, panel, grid, colours[index // grid.columns])
        is_last = (index + 1) % grid.columns == 0  # a title may reach over the colour bar
        beside = grid.right - 0.05 if is_last else grid.across
        layout.panel_title(axes, panel.label, grid.width + beside)
        is_left = index % grid.columns == 0 or index - 1 not in own
        is_low = index + grid.columns not in own
        axes.tick_params(labelleft=is_left or not alike, labelbottom=is_low or not alike)
    for row in {index // grid.columns for index in own}:
        bottom = grid.total - grid.top - (row + 1) * grid.height - row * grid.down
        axes = heat.bar(figure, grid, colours[row], bottom, grid.height)
        ends = _ends(colours[row])
        axes.set_yticks(ends, [layout.brief(x) for x in ends])


def _cells(axes: Axes, panel: MapPanel, grid: Grid, colours: Colours) -> None:
    matrix, first = panel.values[-1], panel.of.first_column
    heat.draw(axes, matrix, colours, first)
    if grid.columns > 1:
        layout.simple_ticks(axes.xaxis, 4, integer=True)
    digits = _decimals(colours)
    widest = max(common.text_width(_number(x, digits)) for x in _ends(colours))
    if widest + 0.03 <= grid.width / len(matrix[0]) and grid.height / len(matrix) >= LINE:
        heat.write(axes, matrix, colours, partial(_number, decimals=digits), first)


def _decimals(colours: Colours) -> int:
    """Of numbers in cells, so that the largest has two digits."""
    most = max(map(abs, _ends(colours)))
    return max(0, 1 - math.floor(math.log10(most))) if most else 0


def _number(value: float, decimals: int) -> str:
    return heat.short(wording.number(value, decimals).replace("-", "−"))


def _ends(colours: Colours) -> list[float]:
    """Where a colour bar has ticks: at both ends, as far apart as they can be, and at 0."""
    low, high = colours.norm.vmin or 0.0, colours.norm.vmax or 0.0
    return [low, 0.0, high] if low < 0 < high else [low, high]


def _heading(figure: Figure, grid: Grid, method: str) -> None:
    short = common.shorten(method, 0.85 * common.WIDTH, common.TEXT)  # bold is wider
    height = 1 - (grid.top - TITLE - 0.02) / grid.total
    figure.text(0.01, height, short, va="bottom", fontsize=common.TEXT, weight="bold")
