"""The layout of a figure, in inches: panels of equal size, axis limits, ticks, keys."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from analysis.figures.common import (
    GREY,
    SMALL,
    TEXT,
    WIDTH,
    clean,
    method_id,
    shorten,
    text_width,
)
from analysis.numbers import size

Entry = tuple[str, Mapping[str, Any]]  # of a key: label and `Line2D` properties
KEY_ROW = 0.17
KEY_SAMPLE = 0.3
LONG_KEY = 10  # a key with more entries has two columns, even if labels must be shortened
WIDE = 100  # ratio of the largest to the smallest value; beyond, an axis is logarithmic


@dataclass(frozen=True)
class Grid:
    """Panels row by row on a sheet, sizes in inches; `height` is the height of a panel."""

    count: int
    columns: int
    height: float
    left: float = 0.72
    right: float = 0.1
    top: float = 0.26
    bottom: float = 0.5
    across: float = 0.12
    down: float = 0.3

    @property
    def rows(self) -> int:
        """Number of rows of panels."""
        return -(-self.count // self.columns)

    @property
    def width(self) -> float:
        """Width of a panel."""
        free = WIDTH - self.left - self.right - (self.columns - 1) * self.across
        return free / self.columns

    @property
    def total(self) -> float:
        """Height of the sheet."""
        inside = self.rows * self.height + (self.rows - 1) * self.down
        return self.top + inside + self.bottom

    def sheet(self) -> Figure:
        """Return an empty figure of the size of the sheet."""
        return Figure(figsize=(WIDTH, self.total))

    def panel(self, figure: Figure, index: int) -> Axes:
        """Add the axes of one panel."""
        row, column = divmod(index, self.columns)
        left = self.left + column * (self.width + self.across)
        bottom = self.total - self.top - (row + 1) * self.height - row * self.down
        return figure.add_axes(
            (left / WIDTH, bottom / self.total, self.width / WIDTH, self.height / self.total)
        )

    def panels(self, figure: Figure) -> list[Axes]:
        """Add the axes of all panels, with tick labels only at the left and the lower edge."""
        panels = [self.panel(figure, index) for index in range(self.count)]
        for index, axes in enumerate(panels):
            axes.tick_params(labelleft=index % self.columns == 0, labelbottom=self.is_lowest(index))
        return panels

    def is_lowest(self, index: int) -> bool:
        """Return whether there is no panel below a panel."""
        return index + self.columns >= self.count


def columns_for(count: int) -> int:
    """Return the number of columns of a grid with `count` panels."""
    return count if count <= 3 else 2 if count == 4 else 3 if count <= 9 else 4


def panel_title(axes: Axes, name: str, width: float) -> None:
    """Write the name above a panel, at the left edge, shortened to a width in inches."""
    axes.set_title(shorten(name, width, SMALL), loc="left", fontsize=SMALL)


def method_panel(axes: Axes, method: str, width: float) -> None:
    """Give a panel to one method: the method's name is the title, and hides the panel."""
    panel_title(axes, method, width)
    axes.set_gid(method_id(method))


def side_label(figure: Figure, grid: Grid, text: str) -> None:
    """Write the label of the vertical axes of all panels."""
    middle = (grid.bottom + (grid.total - grid.top - grid.bottom) / 2) / grid.total
    room = 2 * min(middle, 1 - middle) * grid.total - 0.1  # the text is centred on the middle
    short = shorten(text, max(room, 1.2), TEXT)
    figure.text(0.01, middle, short, rotation=90, ha="left", va="center", fontsize=TEXT)


def below_label(figure: Figure, grid: Grid, text: str, drop: float = 0.36) -> None:
    """Write the label of the horizontal axes of all panels, `drop` inches below the panels."""
    middle = (grid.left + (WIDTH - grid.left - grid.right) / 2) / WIDTH
    height = (grid.bottom - drop) / grid.total
    figure.text(middle, height, clean(text), ha="center", va="center", fontsize=TEXT)


# --- axes -----------------------------------------------------------------------------------------


def finite(values: Iterable[float | None]) -> list[float]:
    """Return the finite values."""
    return [value for value in values if value is not None and math.isfinite(value)]


def limits(
    values: Iterable[float | None], least: float = 0.0, room: float = 0.06
) -> tuple[float, float]:
    """Return axis limits around the values.

    Args:
        values: values on the axis; None and NaN are ignored.
        least: smallest span of the values.
        room: free space on either side, relative to the span.
    """
    numbers = finite(values)
    if not numbers:
        return 0.0, 1.0
    low, high = min(numbers), max(numbers)
    span = max(high - low, least, 1e-3 * abs(high) or 1e-3)
    middle = (low + high) / 2
    return middle - (0.5 + room) * span, middle + (0.5 + room) * span


def is_wide(values: Iterable[float | None]) -> bool:
    """Return whether all values are positive and span more than two decades."""
    numbers = finite(values)
    return bool(numbers) and min(numbers) > 0 and max(numbers) > WIDE * min(numbers)


def log_limits(values: Iterable[float | None]) -> tuple[float, float]:
    """Return limits of a logarithmic axis around the values."""
    low, high = limits(map(math.log10, finite(values)))
    return 10**low, 10**high


def plain_number(value: float, _: object = None) -> str:
    """Return a tick label without trailing zeros, with a true minus sign."""
    return f"{value:g}".replace("-", "−")


def simple_ticks(axis: Axis, most: int = 4, integer: bool = False, scale: float = 1.0) -> None:
    """Set a few plain ticks, whose labels are the values times a scale."""
    axis.set_major_locator(MaxNLocator(most, integer=integer, min_n_ticks=1))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(scale * value)))


def log_ticks(axis: Axis, most: int) -> None:
    """Set a few plain ticks at decades."""
    axis.set_major_locator(LogLocator(numticks=most))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(plain_number))


def brief_label(value: float) -> str:
    """Return a short tick label: 0.05, 1e-5, 1200."""
    size = abs(value)
    digits = ".0f" if 100 <= size < 1e4 else ".0e" if 0 < size < 1e-3 else ".2g"
    text = f"{value:{digits}}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return text.replace("-", "−")


def end_ticks(
    axes: Axes,
    values: Iterable[float],
    label: Callable[[float], str] = brief_label,
    wide: bool | None = None,
) -> None:
    """Set two ticks on a horizontal axis, with labels clear of the neighbouring panels.

    The ticks are round numbers around the values, or decades on a logarithmic axis.

    Args:
        wide: whether the axis is logarithmic; None: if the values span more than two decades.
    """
    numbers = finite(values) or [0.0]
    low, high = min(numbers), max(numbers)
    wide = is_wide(numbers) if wide is None else wide
    if low < high:
        low, high = _rounded(low, math.floor, wide), _rounded(high, math.ceil, wide)
    ends = sorted({low, high})
    axes.set(xscale="log" if wide else "linear", xlim=log_limits(ends) if wide else limits(ends))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ends, [label(end) for end in ends])
    labels = axes.get_xticklabels()
    if len(labels) > 1:
        labels[0].set_horizontalalignment("left")
        labels[-1].set_horizontalalignment("right")


def _rounded(value: float, direction: Callable[[float], int], to_decade: bool) -> float:
    """Return the value rounded up or down to one digit or to a decade; a round value stays."""
    if value == 0:
        return 0.0
    slack = 1e-9 if direction is math.floor else -1e-9
    power = math.log10(abs(value))
    if to_decade:
        return 10.0 ** direction(power + slack)
    digits = math.floor(power + 1e-9)
    return float(f"{direction(value / 10.0**digits + slack)}e{digits}")


def size_label(amount: float, _: object = None) -> str:
    """Return the tick label of an axis of bytes."""
    return size(amount)


def task_ticks(axes: Axes, tasks: int, most: int) -> None:
    """Set ticks on a horizontal axis that counts tasks from 1."""
    axes.set_xlim(0.7, tasks + 0.3)
    step = -(-tasks // most)
    axes.xaxis.set_major_locator(FixedLocator(list(range(1, tasks + 1, step))))
    axes.xaxis.set_major_formatter(FuncFormatter(plain_number))


def light_grid(axes: Axes) -> None:
    """Draw faint lines at the ticks of the vertical axis."""
    axes.grid(axis="y", color=GREY, alpha=0.3, linewidth=0.5)


# --- keys -----------------------------------------------------------------------------------------


def key_height(labels: Sequence[str]) -> float:
    """Return the height of a key below the panels."""
    return -(-len(labels) // _key_columns(labels)) * KEY_ROW + 0.06


def draw_key(figure: Figure, entries: Sequence[Entry]) -> None:
    """Draw the key at the lower edge of the figure, row by row."""
    columns = _key_columns([label for label, _ in entries])
    rows = -(-len(entries) // columns)
    width, total = (WIDTH - 0.2) / columns, figure.get_figheight()
    for index, (label, look) in enumerate(entries):
        row, column = divmod(index, columns)
        left, height = 0.1 + column * width, (0.03 + (rows - row - 0.5) * KEY_ROW) / total
        _sample(figure, left, height, look)
        short = shorten(label, width - KEY_SAMPLE - 0.1)
        start = (left + KEY_SAMPLE + 0.06) / WIDTH
        figure.text(start, height, short, va="center_baseline", fontsize=SMALL)


def _sample(figure: Figure, left: float, height: float, look: Mapping[str, Any]) -> None:
    x = [(left + part * KEY_SAMPLE) / WIDTH for part in (0, 0.5, 1)]
    if look.get("linestyle") == "none":
        x = x[1:2]
    middle = [len(x) // 2]
    line = Line2D(x, [height] * len(x), transform=figure.transFigure, markevery=middle, **look)
    figure.add_artist(line)


def _key_columns(labels: Sequence[str]) -> int:
    fewest = 2 if len(labels) > LONG_KEY else 1
    widest = max((text_width(clean(label)) for label in labels), default=1.0)
    fitting = int((WIDTH - 0.2) / (widest + KEY_SAMPLE + 0.16))
    return max(fewest, min(4, fitting, len(labels)))
