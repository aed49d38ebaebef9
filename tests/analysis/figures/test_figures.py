"""What the figures draw is what the analysis holds, the odd studies included."""

from __future__ import annotations

import math
from dataclasses import replace

import figures_factory as factory
import numpy as np
import pytest
from figures_factory import (
    analysis_of,
    collection,
    drawn,
    line,
    lines,
    names,
    panel,
    picture,
    texts,
    with_method,
)
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.text import Text

from analysis.figures import common, layout, matrix_picture, pictures
from analysis.figures.memory import pictures as memory_pictures
from analysis.one_study.analyse import analyse

pytestmark = pytest.mark.filterwarnings("error")

IN_ORDER = [
    "answer",
    "paired-seeds",
    "forest",
    "accuracy-after-each-task",
    "accuracy-matrix",
    "held-accuracy",
    "memory-accuracy",
    "search-history",
    "importance",
    "slices",
    "diagnostics-spikes",
]


# --- which figures there are ----------------------------------------------------------------------


def test_all_figures_in_report_order():
    assert names(analysis_of()) == IN_ORDER
    both = names(analysis_of(objectives=2))
    assert both == [*IN_ORDER[:8], "pareto", *IN_ORDER[8:]]


def test_nothing_to_show():
    assert names(analysis_of(seeds=0, trials=0)) == []
    assert names(analysis_of(seeds=0)) == ["search-history", "importance", "slices"]
    alone = names(analysis_of(methods=2, names=["only"], trials=0, tasks=1))
    assert alone == ["answer", "accuracy-matrix", "diagnostics-spikes"]


# --- what is drawn --------------------------------------------------------------------------------


def test_the_answer_shows_every_seed_and_the_interval_that_the_verdict_is_read_off():
    analysis = analysis_of()
    figure = drawn(analysis, "answer")
    (axes,) = figure.axes
    competitors = [row for row in analysis.methods if not row.is_offline]
    ranked = sorted(competitors, key=lambda row: -row.mean)
    assert [label.get_text() for label in axes.get_yticklabels()] == [r.method for r in ranked]
    reference = line(axes, "reference").get_xdata()[0]
    compared = {c.method: c for c in analysis.comparisons}
    for place, row in enumerate(ranked):
        seeds = line(axes, row.method)
        assert list(seeds.get_xdata()) == list(row.scores.values())
        assert all(abs(y - place) < 0.5 for y in seeds.get_ydata())
        at = [x for x in axes.get_lines() if list(x.get_ydata()) == [place, place]]
        if row.is_reference:
            assert reference == row.mean
            assert not at
            continue
        ends = [x - reference for x in at[0].get_xdata()]
        c = compared[row.method]
        assert ends == pytest.approx([c.ci_low, c.ci_high])
    assert c.verdict in " ".join(texts(figure)).replace("\n", " ")


def test_the_answer_marks_the_margin_around_the_reference_and_the_bounds():
    methods = factory.study().methods
    bound = replace(methods[-1], offline=True)
    analysis = analyse(replace(factory.study(), methods=[*methods[:-1], bound]))
    figure = drawn(analysis, "answer")
    (axes,) = figure.axes
    reference = next(row for row in analysis.methods if row.is_reference)
    (band,) = [p for p in axes.patches if p.get_label() == "margin"]
    left = band.get_x()
    assert left == pytest.approx(reference.mean - analysis.rules.margin)
    assert band.get_width() == pytest.approx(2 * analysis.rules.margin)
    row = next(row for row in analysis.methods if row.is_offline)
    assert line(axes, row.method).get_xdata()[0] == row.mean
    assert row.method not in [label.get_text() for label in axes.get_yticklabels()]


def test_without_a_common_reference_the_answer_has_intervals_of_the_means():
    names_of = [m.method for m in factory.study().methods]
    pairs = ((names_of[1], names_of[0]), (names_of[2], names_of[1]))
    analysis = analyse(replace(factory.study(), comparisons=pairs))
    (axes,) = drawn(analysis, "answer").axes
    assert not lines(axes, "reference")
    first = max(analysis.methods, key=lambda row: row.mean)
    (found,) = [x for x in axes.get_lines() if list(x.get_ydata()) == [0, 0]]
    assert list(found.get_xdata()) == [first.ci_low, first.ci_high]
    assert "say nothing of differences" in picture(analysis, "answer").caption


@pytest.mark.parametrize(
    ("number", "unit", "scale"), [("percent", " (%)", 100), ("fraction", "", 1)]
)
def test_labels_and_ticks_are_in_percent_or_fractions(number, unit, scale):
    analysis = analyse(replace(factory.study(), number=number))
    for name in ("answer", "paired-seeds", "held-accuracy", "search-history", "slices"):
        figure = drawn(analysis, name)
        assert f"average accuracy{unit}" in texts(figure)
        axes = figure.axes[0]
        axis = axes.xaxis if name == "answer" else axes.yaxis
        figure.draw_without_rendering()
        shown = [float(label.get_text().replace("−", "-")) for label in axis.get_ticklabels()]
        assert shown == pytest.approx([scale * x for x in axis.get_ticklocs()])


def test_paired_seeds():
    analysis = analysis_of()
    figure = drawn(analysis, "paired-seeds")
    for comparison in analysis.comparisons:
        axes = panel(figure, comparison.method)
        pairs = collection(axes, LineCollection).get_segments()
        assert [segment[0][1] for segment in pairs] == list(comparison.reference_scores)
        assert [segment[1][1] for segment in pairs] == list(comparison.method_scores)
        for name in (comparison.method, comparison.reference):
            (row,) = [row for row in analysis.methods if row.method == name]
            assert list(line(axes, f"mean of {name}").get_ydata()) == [row.mean] * 2
            low, high = axes.get_ylim()
            assert all(low < score < high for score in row.scores.values())


def test_small_differences_are_not_blown_up():
    record = factory.study(methods=2, margin=0.05)
    scores = {100 + i: 0.8 + 1e-4 * i for i in range(6)}
    record = with_method(with_method(record, 0, scores=scores), 1, scores=scores)
    low, high = panel(drawn(analyse(record), "paired-seeds"), "method_01").get_ylim()
    assert high - low >= 4 * 0.05


def test_no_mean_over_other_seeds():
    record = factory.study(methods=2)
    scores = dict(list(record.methods[1].scores.items())[:3])
    axes = panel(drawn(analyse(with_method(record, 1, scores=scores)), "paired-seeds"), "method_01")
    assert len(line(axes, "method_01").get_ydata()) == 3
    assert not lines(axes, "mean of method_00")
    assert lines(axes, "mean of method_01")


def test_forest():
    analysis = analysis_of()
    (axes,) = drawn(analysis, "forest").axes
    for row, comparison in enumerate(analysis.comparisons):
        point = line(axes, comparison.method)
        assert point.get_xydata().tolist() == [[comparison.difference, row]]
        ends = [x.get_xdata() for x in axes.get_lines() if list(x.get_ydata()) == [row, row]]
        assert [list(x) for x in ends] == [[comparison.ci_low, comparison.ci_high]]
        assert axes.get_yticklabels()[row].get_text() == comparison.method
    verdicts = [text.get_text().replace("\n", " ") for text in axes.texts]
    (bound,) = (gap for gap in analysis.gaps if gap.method == analysis.record.reference)
    assert verdicts == [*(c.verdict for c in analysis.comparisons), "bound, not tested"]
    place = len(analysis.comparisons)
    assert line(axes, bound.bound).get_xydata().tolist() == [[bound.difference, place]]
    assert line(axes, "bounds below").get_ydata()[0] == place - 0.5
    (band,) = [patch for patch in axes.patches if patch.get_label() == "margin"]
    assert band.get_extents().transformed(axes.transData.inverted()).intervalx == pytest.approx(
        [-0.01, 0.01]
    )


def test_forest_says_which_side_is_better():
    assert "← worse · better →" in texts(drawn(analysis_of(), "forest"))
    lower = analysis_of(metric="forgetting")
    assert "← better · worse →" in texts(drawn(lower, "forest"))


def test_forest_without_a_margin():
    (axes,) = drawn(analysis_of(margin=0.0), "forest").axes
    assert not axes.patches
    assert "margin" not in picture(analysis_of(margin=0.0), "forest").caption


@pytest.mark.parametrize("methods", [4, 12])
def test_accuracy_after_each_task(methods):
    analysis = analysis_of(methods=methods)
    figure = drawn(analysis, "accuracy-after-each-task")
    for trajectory in analysis.trajectories:
        axes = figure.axes[0] if methods == 4 else panel(figure, trajectory.method)
        curve = line(axes, trajectory.method)
        assert list(curve.get_ydata()) == list(trajectory.curve.mean)
        assert list(curve.get_xdata()) == [1, 2, 3, 4]
        (band,) = [c for c in axes.collections if c.get_label() == trajectory.method]
        assert isinstance(band, PolyCollection)
        corners = {(x, y) for x, y in band.get_paths()[0].vertices.tolist()}
        for bound in (trajectory.curve.low, trajectory.curve.high):
            assert set(enumerate(bound, start=1)) <= corners


def test_other_methods_in_grey():
    analysis = analysis_of(methods=9)
    axes = panel(drawn(analysis, "accuracy-after-each-task"), "method_05")
    others = [c for c in axes.collections if c.get_label() == "others"]
    assert len(others[0].get_segments()) == 9
    assert line(axes, "method_00").get_color() == common.INK


def test_accuracy_matrix():
    analysis = analysis_of()
    figure = drawn(analysis, "accuracy-matrix")
    for trajectory in analysis.trajectories:
        axes = panel(figure, trajectory.method)
        mesh = collection(axes, QuadMesh)
        values = np.ma.filled(mesh.get_array(), np.nan)
        assert np.array_equal(
            values, [common.floats(row) for row in trajectory.matrix], equal_nan=True
        )
        assert (mesh.norm.vmin, mesh.norm.vmax) == (0, 1)
        assert axes.patch.get_hatch()
        assert len(axes.texts) == 10  # a number in each cell of the triangle, and in no other


def test_accuracy_matrix_of_one_seed():
    analysis = analysis_of()
    found = matrix_picture(analysis, seed=103)
    assert found.name == "accuracy-matrix-seed-103"
    assert "seed 103 alone" in found.caption
    mesh = collection(panel(found.draw(), "method_02"), QuadMesh)
    last = np.ma.filled(mesh.get_array(), np.nan)[-1]
    assert list(last) == list(analysis.trajectories[2].seeds[103][-1])
    with pytest.raises(ValueError, match="no matrix of seed 7"):
        matrix_picture(analysis, seed=7)


def test_no_numbers_in_small_cells():
    figure = drawn(analysis_of(methods=12, tasks=10), "accuracy-matrix")
    assert not any(axes.texts for axes in figure.axes)


def test_memory():
    analysis = analysis_of()
    for name, size in (("memory-accuracy", "memory"), ("held-accuracy", "held")):
        (axes,) = drawn(analysis, name).axes
        for point in analysis.memory:
            marker, place = line(axes, point.method), getattr(point, size)
            assert marker.get_xydata().tolist() == [[place, point.mean]]
            assert (marker.get_markerfacecolor() != "none") is (point.place == "on the front")
            bars = [x for x in axes.get_lines() if list(x.get_xdata()) == [place] * 2]
            assert [point.ci_low, point.ci_high] in [list(bar.get_ydata()) for bar in bars]
    learning = picture(analysis, "accuracy-after-each-task").caption
    assert "method_02: an offline bound; before the last task its line is the learning" in learning
    assert axes.get_xscale() == "symlog"
    front = line(axes, "front").get_xydata().tolist()
    assert front == sorted([p.held, p.mean] for p in analysis.memory if p.place == "on the front")
    assert "method_02: the offline bound" in picture(analysis, "memory-accuracy").caption


def test_memory_without_a_method_that_keeps_nothing():
    analysis = analysis_of()
    some = replace(analysis, memory=tuple(p for p in analysis.memory if p.memory))
    none = replace(analysis, memory=tuple(p for p in analysis.memory if not p.memory))
    (axes,) = next(memory_pictures(some)).draw().axes
    assert axes.get_xscale() == "log"
    assert list(memory_pictures(none)) == []


def test_diagnostics():
    analysis = analysis_of()
    figure = drawn(analysis, "diagnostics-spikes")
    for row in analysis.diagnostics:
        shown = line(panel(figure, row.method), row.label)
        assert list(shown.get_ydata()) == list(row.band.mean)
    assert "in spikes" in picture(analysis, "diagnostics-spikes").caption


def test_diagnostics_with_odd_names_do_not_share_a_file():
    record = factory.study(methods=1)
    (kept,) = record.methods[0].diagnostics
    odd = tuple(replace(kept, name=name) for name in ("a/b", "a b", "A:B", "../x", "$"))
    found = names(analyse(with_method(record, 0, diagnostics=odd)))[-5:]
    assert found == [
        "diagnostics-a-b",
        "diagnostics-a-b-2",
        "diagnostics-A-B-3",
        "diagnostics-x",
        "diagnostics-figure",
    ]


# --- looks and captions ---------------------------------------------------------------------------


def test_a_method_looks_the_same_everywhere():
    analysis = analysis_of()
    found = set()
    for name in ("forest", "memory-accuracy", "accuracy-after-each-task", "pareto"):
        figure = drawn(analysis_of(objectives=2) if name == "pareto" else analysis, name)
        for axes in figure.axes:
            found |= {(x.get_color(), x.get_marker()) for x in lines(axes, "method_02")}
    look = common.method_looks(analysis.record)["method_02"]
    assert found == {(look.colour, look.marker)}


def test_thirty_methods_differ_by_more_than_colour():
    looks = common.looks([f"m{i}" for i in range(31)], "m7")
    assert len({(look.colour, look.marker) for look in looks.values()}) == 31
    assert [name for name, look in looks.items() if look.colour == common.INK] == ["m7"]


@pytest.mark.parametrize("unit", ["seed", "class", "speaker"])
def test_captions_say_what_a_band_is(unit):
    analysis = analysis_of(unit=unit)
    plural = {"class": "classes"}.get(unit, f"{unit}s")
    for name in ("answer", "forest", *IN_ORDER[3:6]):
        caption = picture(analysis, name).caption
        assert f"6 {plural}" in caption
        assert ("seeds differ in initial weights and batches, and not in" in caption) is (
            unit == "seed"
        )
        simultaneous = name in ("answer", "forest")
        kind = "simultaneous 95 % intervals" if simultaneous else "95 % t-interval"
        assert kind in caption or name == "accuracy-matrix"
        assert caption.endswith(".")
    assert f"6 {plural}" in picture(analysis, "paired-seeds").caption


def test_captions_name_the_level():
    caption = picture(analysis_of(alpha=0.1), "forest").caption
    assert "simultaneous 90 % intervals" in caption


# --- edge cases -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_give_points_and_no_band(seeds):
    analysis = analysis_of(seeds=seeds)
    figure = drawn(analysis, "accuracy-after-each-task")
    assert not figure.axes[0].collections
    assert (
        "No interval, because of fewer than 3 seeds"
        in picture(analysis, "accuracy-after-each-task").caption
    )
    (axes,) = drawn(analysis, "forest").axes
    hollow = [line(axes, c.method).get_markerfacecolor() for c in analysis.comparisons]
    assert set(hollow) == {"none"}
    assert "Hollow: fewer than 3 seeds" in picture(analysis, "forest").caption
    assert "simultaneous" not in picture(analysis, "forest").caption


def test_failed_seeds_that_count_are_drawn_where_they_count_and_without_an_interval():
    sound = analysis_of().record
    reference, broken, *others = sound.methods
    broken = replace(broken, failures={min(broken.scores): "killed"})
    record = replace(sound, methods=[reference, broken, *others], failed_rule="worst")
    analysis = analyse(record)
    (axes,) = drawn(analysis, "forest").axes
    assert line(axes, broken.method).get_markerfacecolor() == "none"
    assert (
        "or failed seeds that count as a score, no interval" in picture(analysis, "forest").caption
    )
    counted_as = next(row.counted_as for row in analysis.methods if row.counted_as is not None)
    told = f"Failed seeds are drawn at {100 * counted_as:.1f} %."
    assert told in picture(analysis, "paired-seeds").caption
    assert "Failed" not in picture(analysis_of(), "paired-seeds").caption


@pytest.mark.parametrize("seeds", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("tasks", [1, 2])
def test_small_studies_can_be_drawn(seeds, tasks):
    analysis = analysis_of(seeds=seeds, tasks=tasks, objectives=2, methods=3)
    shown = [name for name in IN_ORDER if tasks > 1 or name != "accuracy-after-each-task"]
    assert sorted(names(analysis)) == sorted([*shown, "pareto"])
    for found in pictures(analysis):
        figure = found.draw()
        figure.draw_without_rendering()
        assert any(axes.has_data() for axes in figure.axes), found.name


def test_a_failed_seed():
    record = factory.study()
    scores = record.methods[1].scores | {102: math.nan}
    analysis = analyse(with_method(record, 1, scores=scores))
    (axes,) = drawn(analysis, "forest").axes
    assert not lines(axes, "method_01")
    assert axes.texts[0].get_text() == "no verdict"
    for name in ("accuracy-after-each-task", "accuracy-matrix", "memory-accuracy"):
        assert "method_01" in picture(analysis, name).caption
        drawn(analysis, name).draw_without_rendering()
    assert (
        len(line(panel(drawn(analysis, "paired-seeds"), "method_01"), "method_01").get_ydata()) == 5
    )


def test_values_that_are_not_defined_leave_gaps():
    record = factory.study(methods=1)
    matrices = {seed: of.copy() for seed, of in record.methods[0].matrices.items()}
    spikes = record.methods[0].diagnostics[0]
    for seed, of in matrices.items():
        of[1] = np.nan
        spikes.values[seed][2, 0] = np.nan
    analysis = analyse(with_method(record, 0, matrices=matrices))
    shown = line(drawn(analysis, "accuracy-after-each-task").axes[0], "method_00").get_ydata()
    assert np.isnan(shown).tolist() == [False, True, False, False]
    shown = line(drawn(analysis, "diagnostics-spikes").axes[0], "one").get_ydata()
    assert np.isnan(shown).tolist() == [False, False, True, False]


def test_identical_scores():
    record = factory.study(methods=3)
    same = dict.fromkeys(record.methods[0].scores, 0.5)
    flat = {seed: np.full((4, 4), 0.5) for seed in same}
    record = replace(
        record, methods=[replace(m, scores=same, matrices=flat) for m in record.methods]
    )
    analysis = analyse(record)
    for found in pictures(analysis):
        found.draw().draw_without_rendering()
    assert "identical\ndifferences" in texts(drawn(analysis, "forest"))


def test_the_same_difference_on_every_seed_is_drawn_without_an_interval():
    record = factory.study(methods=2)
    better = {seed: score + 0.05 for seed, score in record.methods[0].scores.items()}
    analysis = analyse(with_method(record, 1, scores=better))
    (axes,) = drawn(analysis, "forest").axes
    point = line(axes, "method_01")
    assert point.get_xdata()[0] == pytest.approx(0.05)
    assert point.get_markerfacecolor() == "none"
    assert "better by more than\nthe margin" in texts(drawn(analysis, "forest"))
    assert "or the same difference on every seed, no int" in picture(analysis, "forest").caption


def test_a_band_has_no_width_where_the_seeds_agree():
    record = factory.study(methods=1)
    matrices = {seed: of.copy() for seed, of in record.methods[0].matrices.items()}
    for of in matrices.values():
        of[0, 0] = 1.0
    analysis = analyse(with_method(record, 0, matrices=matrices))
    (trajectory,) = analysis.trajectories
    assert trajectory.curve.low[0] is None
    (axes,) = drawn(analysis, "accuracy-after-each-task").axes
    corners = collection(axes, PolyCollection).get_paths()[0].vertices
    assert [1.0, 1.0] in corners.tolist()  # the band begins at the point, without a gap


def test_odd_names_stand_as_they_are():
    analysis = analysis_of(names=list(factory.ODD))
    figure = drawn(analysis, "forest")
    shown = texts(figure)
    assert "tab and nul" in shown
    assert "_under %#~" in shown
    with common.style():  # ticks are made when they are first asked for
        figure = drawn(analysis, "forest")
        assert not any(text.get_parse_math() for text in figure.findobj(Text))
    assert "_under %#~" in texts(drawn(analysis, "accuracy-after-each-task"))


@pytest.mark.parametrize("methods", [1, 4, 30])
def test_text_is_readable_and_inside_the_figure(methods):
    for found in pictures(analysis_of(methods=methods, objectives=2)):
        with common.style():
            figure = found.draw()
            figure.draw_without_rendering()
        assert figure.get_figwidth() <= 7
        shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text()]
        assert min(text.get_fontsize() for text in shown) >= 8
        page = figure.bbox
        for text in (t for t in shown if t in figure.texts or t in _titles(figure)):
            box = text.get_window_extent()
            assert box.x0 >= page.x0 - 1, text
            assert box.x1 <= page.x1 + 1, text


def test_a_long_title_stays_on_the_sheet():
    record = factory.study(methods=1)
    (spikes,) = record.methods[0].diagnostics
    long = replace(spikes, title="What the weights of all the layers have in common " * 2, unit="")
    with common.style():
        figure = drawn(analyse(with_method(record, 0, diagnostics=[long])), "diagnostics-spikes")
        figure.draw_without_rendering()
    (label,) = (text for text in figure.texts if text.get_rotation() == 90)
    box = label.get_window_extent()
    assert box.y0 >= figure.bbox.y0
    assert box.y1 <= figure.bbox.y1


def _titles(figure):
    return [axes.title for axes in figure.axes] + [axes._left_title for axes in figure.axes]


def test_shortened_names_keep_their_ends():
    short = common.shorten("replay_with_a_very_long_name_100", 1.0)
    assert short.startswith("repl")
    assert short.endswith("100")
    assert common.text_width(short) <= 1.0
    assert common.shorten("ewc", 1.0) == "ewc"


def test_sizes_in_decimal_units():
    sizes = [0, 500, 1000, 2e7, 3.5e9]
    assert [layout.size_label(size) for size in sizes] == ["0", "500 B", "1 kB", "20 MB", "3.5 GB"]
