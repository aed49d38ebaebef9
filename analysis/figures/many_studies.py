"""The same methods on several streams: interval strips and a critical-difference diagram."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from analysis import numbers
from analysis.figures import common, layout
from analysis.figures.common import Look
from analysis.figures.layout import Grid
from analysis.many_studies.compare import Interval, ManyStudies, Ranking
from analysis.report.blocks import Picture

ROW = 0.24  # inches of a strip
LEVEL = 0.2  # inches between two methods of the diagram
Strip = tuple[str, Interval]


def pictures(across: ManyStudies) -> Iterator[Picture]:
    """Yield the figures of a comparison over streams: normalised scores, P(win), ranks."""
    if across.standings:
        yield Picture(
            "iqm",
            "Interquartile mean over all streams",
            _iqm_caption(across),
            partial(_draw_iqm, across),
        )
    if across.contrasts:
        yield Picture(
            "p-win",
            "Probability of outperforming the reference",
            _win_caption(across),
            partial(_draw_wins, across),
        )
    if across.ranking is not None:
        yield Picture(
            "critical-difference",
            "Average ranks over the streams",
            _rank_caption(across.ranking),
            partial(_draw_ranks, across),
        )


# --- strips ---------------------------------------------------------------------------------------


def _iqm_caption(across: ManyStudies) -> str:
    return (
        f"Interquartile mean of the normalised scores (0: guessing, 1: the best possible) over all "
        f"{numbers.plural(across.unit)} of {_scope(across)}. "
        + _lines(across, [s.iqm for s in across.standings], "stratified bootstrap")
    )


def _win_caption(across: ManyStudies) -> str:
    text = (
        f"Mean over {_scope(across)} of the paired probability of outperforming "
        f"{common.clean(across.reference or '')} (ties count half). "
    )
    method = "stratified bootstrap, or Wilson's where every resample gives the same value"
    text += _lines(across, [c.p_win for c in across.contrasts], method)
    return f"{text} Solid line: 0.5, no difference."


def _lines(across: ManyStudies, intervals: Sequence[Interval], method: str) -> str:
    """Return the sentences of a caption on the intervals, found by a method."""
    count = sum(interval.low is not None for interval in intervals)
    if not count:
        return "Hollow markers: no interval."
    text = (
        f"Lines: {numbers.percent(across.confidence)} intervals ({method}) that resample "
        f"{common.count_range(set(map(len, across.seeds)), across.unit)} within each stream; the "
        f"intervals cover new {numbers.plural(across.unit)}, not further streams."
    )
    return text + (" Hollow markers: no interval." if count < len(intervals) else "")


def _scope(across: ManyStudies) -> str:
    return f"{len(across.streams)} streams ({common.name_list(across.streams)})"


@common.styled
def _draw_iqm(across: ManyStudies) -> Figure:
    strips = [(standing.method, standing.iqm) for standing in across.standings]
    figure, axes = _strips(strips, across, "interquartile mean of normalised scores")
    axes.set_xlim(layout.limits(_ends(strips)))
    return figure


@common.styled
def _draw_wins(across: ManyStudies) -> Figure:
    strips = [(contrast.method, contrast.p_win) for contrast in across.contrasts]
    figure, axes = _strips(strips, across, f"P(win) against {across.reference}")
    axes.axvline(0.5, color=common.INK, linewidth=0.7, label="no difference")
    axes.set_xlim(-0.03, 1.03)
    axes.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    return figure


def _ends(strips: Sequence[Strip]) -> list[float | None]:
    return [x for _, interval in strips for x in (interval.value, interval.low, interval.high)]


def _strips(strips: Sequence[Strip], across: ManyStudies, label: str) -> tuple[Figure, Axes]:
    names = [common.shorten(name, 1.3) for name, _ in strips]
    left = 0.14 + max(map(common.text_width, names))
    grid = Grid(1, 1, max(ROW * len(strips), 0.4), left=left, top=0.08, right=0.15)
    figure = grid.sheet()
    (axes,) = grid.panels(figure)
    looks = common.looks(across.methods, across.reference)
    for row, (name, interval) in enumerate(strips):
        _strip(axes, row, name, interval, looks[name])
    layout.simple_ticks(axes.xaxis, 5)
    axes.set_ylim(len(strips) - 0.5, -0.5)
    axes.set_yticks(range(len(strips)), names)
    axes.tick_params(axis="y", length=0)
    layout.below_label(figure, grid, common.shorten(label, common.WIDTH - left, common.TEXT))
    return figure, axes


def _strip(axes: Axes, row: int, name: str, interval: Interval, look: Look) -> None:
    has_interval = interval.low is not None and interval.high is not None
    if has_interval:
        ends = common.floats([interval.low, interval.high])
        axes.plot(ends, [row, row], color=look.colour, linewidth=5, alpha=0.4)
    axes.plot(interval.value, row, label=name, **look.point(filled=has_interval))


# --- critical difference --------------------------------------------------------------------------


def _rank_caption(ranking: Ranking) -> str:
    return (
        f"Average rank of each method over {ranking.streams} streams (1 is best). A bar joins "
        f"methods that cannot be told apart. {ranking.summary}"
    )


@common.styled
def _draw_ranks(across: ManyStudies) -> Figure:
    ranking = across.ranking
    if ranking is None:
        raise ValueError(across.no_ranking)
    count = len(ranking.methods)
    side = -(-count // 2)
    depth = len(ranking.groups) + side + 0.5  # rows below the axis
    names = [common.shorten(name, 1.0) for name in ranking.methods]
    edge = 0.16 + max(map(common.text_width, names))
    grid = Grid(1, 1, depth * LEVEL, left=edge, right=edge, top=0.62, bottom=0.05)
    figure = grid.sheet()
    (axes,) = grid.panels(figure)
    axes.set(xlim=(1, count), ylim=(depth, 0))
    _rank_axis(axes)
    looks = common.looks(across.methods, across.reference)
    for index, name in enumerate(ranking.methods):
        _elbow(axes, ranking, index, names[index], looks[name])
    _bars(axes, ranking)
    _distance(axes, ranking, grid.height)
    return figure


def _rank_axis(axes: Axes) -> None:
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.yaxis.set_visible(False)
    axes.xaxis.tick_top()
    layout.simple_ticks(axes.xaxis, 8, integer=True)
    axes.tick_params(axis="x", labeltop=True, labelbottom=False, bottom=False)


def _elbow(axes: Axes, ranking: Ranking, index: int, text: str, look: Look) -> None:
    """Draw a line from a method's rank down and out to the name; better half at the left."""
    count = len(ranking.methods)
    is_left = index < -(-count // 2)
    row = len(ranking.groups) + 0.5 + (index if is_left else count - 1 - index)
    rank = ranking.ranks[index]
    side = 1.0 if is_left else float(count)
    axes.plot(
        [rank, rank, side],
        [0, row, row],
        color=look.colour,
        linewidth=0.8,
        label=ranking.methods[index],
        clip_on=False,
    )
    axes.plot(rank, 0, clip_on=False, **look.point())
    offset = (-4 if is_left else 4, 0)
    axes.annotate(
        text,
        (side, row),
        offset,
        textcoords="offset points",
        fontsize=common.SMALL,
        ha="right" if is_left else "left",
        va="center_baseline",
        annotation_clip=False,
    )


def _bars(axes: Axes, ranking: Ranking) -> None:
    ranks = dict(zip(ranking.methods, ranking.ranks, strict=True))
    for level, group in enumerate(ranking.groups):
        ends = [ranks[group[0]], ranks[group[-1]]]
        axes.plot(
            ends,
            [level + 0.7] * 2,
            color=common.INK,
            linewidth=3.2,
            label="group",
            solid_capstyle="butt",
        )


def _distance(axes: Axes, ranking: Ranking, inches: float) -> None:
    """Draw the length of the critical difference, above the axis."""
    last = float(len(ranking.methods))
    end = min(1 + ranking.critical_difference, last)
    text = f"critical difference {ranking.critical_difference:.2f}"
    if ranking.critical_difference > last - 1:
        text += " (longer than the axis)"
    height = 1 + 0.4 / inches
    transform = axes.get_xaxis_transform()
    axes.plot(
        [1, end],
        [height] * 2,
        color=common.INK,
        linewidth=1.2,
        marker="|",
        clip_on=False,
        transform=transform,
        label="critical difference",
    )
    axes.annotate(
        text,
        (1, height),
        (0, 4),
        xycoords=transform,
        textcoords="offset points",
        fontsize=common.SMALL,
        annotation_clip=False,
    )
