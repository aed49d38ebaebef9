"""Maps: which panels are drawn where, in which colours, and what the caption says of them."""

from __future__ import annotations

from dataclasses import replace

import figures_factory as factory
import numpy as np
import pytest
from figures_factory import collection, drawn, names, panel, picture
from matplotlib.collections import QuadMesh
from matplotlib.text import Text

from analysis.figures import common
from analysis.one_study.analyse import analyse
from analysis.records import MapRecord

pytestmark = pytest.mark.filterwarnings("error")

SEEDS = range(100, 106)
LABELS = ("layer 1 before", "layer 1 after", "layer 1 difference")
SIX = (*LABELS, *(label.replace("1", "2") for label in LABELS))


def panels(labels=LABELS, shape=(3, 10), seeds=SEEDS, offset=0.0, tasks=4):
    rng = np.random.default_rng(5)
    lower = offset if offset else -1.0
    return {
        label: {seed: rng.uniform(lower, offset + 1, (tasks, *shape)) for seed in seeds}
        for label in labels
    }


def a_map(of=None, averaged=True, name="activity", **fields):
    whole = {"title": "change of activity", "unit": "spikes", "rows": "layer", "columns": "class"}
    of = panels() if of is None else of
    return MapRecord(name, averaged=averaged, panels=of, **{**whole, **fields})


def analysis_of(*maps, **fields):
    """A study whose first methods have a map each."""
    record = factory.study(**fields)
    for place, one in enumerate(maps):
        record = factory.with_method(record, place, maps=(one,))
    return analyse(record)


def last_mean(of, label):
    return np.mean([values[-1] for values in of[label].values()], axis=0)


def cells(figure, label):
    """What each panel of a label shows."""
    axes = [a for a in figure.axes if a.get_title(loc="left") == label]
    return [np.ma.filled(collection(a, QuadMesh).get_array(), np.nan) for a in axes]


def test_means_over_seeds_after_the_last_task():
    of = panels()
    analysis = analysis_of(a_map(of), methods=1)
    figure = drawn(analysis, "maps-activity")
    for label in LABELS:
        (shown,) = cells(figure, label)
        np.testing.assert_allclose(shown, last_mean(of, label))
    found = picture(analysis, "maps-activity")
    assert found.title == "Change of activity after the last task"
    assert found.caption.startswith(
        "Change of activity of method_00, in spikes, by layer (row) and class (column), after the "
        "last of 4 tasks: mean over 6 seeds; seeds differ"
    )
    assert "Blank" not in found.caption
    assert "Not shown" not in found.caption  # of methods without such a map


def test_the_first_seed_where_a_mean_has_no_meaning():
    of = panels()
    analysis = analysis_of(a_map(of, averaged=False), methods=2)
    (shown,) = cells(drawn(analysis, "maps-activity"), LABELS[1])
    np.testing.assert_array_equal(shown, of[LABELS[1]][100][-1])
    caption = picture(analysis, "maps-activity").caption
    assert "seed 100 alone, the first of 6 seeds" in caption
    assert "mean over" not in caption


def test_methods_stand_one_below_the_other_in_the_same_colours():
    one, other = panels(), {k: {s: 5 * v for s, v in of.items()} for k, of in panels().items()}
    figure = drawn(analysis_of(a_map(one), a_map(other)), "maps-activity")
    first, second = (axes for axes in figure.axes if axes.get_title(loc="left") == LABELS[0])
    assert first.get_position().y0 > second.get_position().y1
    assert first.get_position().x0 == second.get_position().x0
    norms = [collection(axes, QuadMesh).norm for axes in (first, second)]
    assert norms[0].vmax == norms[1].vmax == max(np.abs(last_mean(other, k)).max() for k in LABELS)
    shown = {text.get_text() for text in figure.texts}
    assert {"method_00", "method_01"} <= shown
    np.testing.assert_allclose(cells(figure, LABELS[2])[1], last_mean(other, LABELS[2]))


def test_each_row_of_panels_has_its_own_colours():
    of = panels(SIX)
    for label in SIX[3:]:
        of[label] = {seed: 100 * values for seed, values in of[label].items()}
    analysis = analysis_of(a_map(of))
    figure = drawn(analysis, "maps-activity")
    most = [collection(panel(figure, label), QuadMesh).norm.vmax for label in SIX]
    assert most[0] == most[1] == most[2] < 2 < most[3] == most[4] == most[5]
    assert "Each row of panels has its own colours." in picture(analysis, "maps-activity").caption


def test_values_of_both_signs_diverge_from_a_grey_0_and_others_do_not():
    signed = collection(panel(drawn(analysis_of(a_map()), "maps-activity"), LABELS[0]), QuadMesh)
    assert signed.norm.vmin == -signed.norm.vmax
    red, green, blue, _ = signed.cmap(signed.norm(0.0))
    assert max(red, green, blue) - min(red, green, blue) < 0.02
    assert 0.8 < red < 0.9  # no white: that is a cell without a value
    of = panels(offset=3.0)
    plain = collection(panel(drawn(analysis_of(a_map(of)), "maps-activity"), LABELS[0]), QuadMesh)
    means = [last_mean(of, label) for label in LABELS]
    assert (plain.norm.vmin, plain.norm.vmax) == (np.min(means), np.max(means))
    assert plain.cmap.name != signed.cmap.name


def test_classes_are_numbered_from_0_and_others_from_1():
    for word, first in (("class", 0), ("component", 1)):
        axes = panel(drawn(analysis_of(a_map(columns=word)), "maps-activity"), LABELS[0])
        assert axes.get_xlim() == (first - 0.5, first + 9.5)
        assert axes.get_ylim() == (3.5, 0.5)


def test_cells_without_a_value_are_blank_and_counted():
    of = panels()
    for label in LABELS:
        for seed in of[label]:
            of[label][seed][:, 0, 3] = np.nan
        for seed in (100, 101):
            of[label][seed][:, 2, 5] = np.nan
    analysis = analysis_of(a_map(of))
    (shown,) = cells(drawn(analysis, "maps-activity"), LABELS[0])
    assert np.argwhere(np.isnan(shown)).tolist() == [[0, 3]]
    caption = picture(analysis, "maps-activity").caption
    assert "mean over 4 to 6 seeds" in caption
    assert "Blank: no value." in caption


def test_numbers_where_there_is_room():
    small, large = panels(("a",), (3, 10)), panels(LABELS, (10, 10))
    axes = panel(drawn(analysis_of(a_map(small)), "maps-activity"), "a")
    assert len(axes.texts) == 30
    value = last_mean(small, "a")[0, 0]
    (text,) = [t.get_text() for t in axes.texts if t.get_position() == (0, 1)]
    assert float(text.replace("−", "-")) == pytest.approx(value, abs=0.051)
    assert not panel(drawn(analysis_of(a_map(large)), "maps-activity"), LABELS[0]).texts


def test_panels_without_a_value_are_left_out():
    of = panels()
    empty = {seed: np.full((4, 3, 10), np.nan) for seed in SEEDS}
    figure = drawn(analysis_of(a_map({**of, LABELS[1]: empty}), a_map(of)), "maps-activity")
    assert len(cells(figure, LABELS[0])) == len(cells(figure, LABELS[2])) == 2
    assert len(cells(figure, LABELS[1])) == 1
    figure.draw_without_rendering()
    nothing = a_map(dict.fromkeys(LABELS, empty))
    assert "maps-activity" not in names(analysis_of(nothing))


def test_what_was_there_only_before_the_last_task_is_not_shown():
    of = panels()
    for label in LABELS:
        for seed in of[label]:
            of[label][seed][-1] = np.nan
    assert "maps-activity" not in names(analysis_of(a_map(of)))


def test_no_maps_no_figure():
    assert not any(name.startswith("maps") for name in names(analysis_of()))


def test_a_failed_seed():
    record = factory.study()
    for place in (0, 1):
        record = factory.with_method(record, place, maps=(a_map(),))
    scores = record.methods[1].scores | {102: float("nan")}
    analysis = analyse(factory.with_method(record, 1, scores=scores))
    assert len(cells(drawn(analysis, "maps-activity"), LABELS[0])) == 1
    told = picture(analysis, "maps-activity").caption
    assert told.endswith("because a seed failed or nothing was measured: method_01.")


def test_maps_with_odd_names_do_not_share_a_file():
    maps = tuple(a_map(name=name) for name in ("a/b", "a b", "A:B"))
    record = factory.with_method(factory.study(methods=1), 0, maps=maps)
    found = [name for name in names(analyse(record)) if name.startswith("maps")]
    assert found == ["maps-a-b", "maps-a-b-2", "maps-A-B-3"]


def test_panels_of_other_sizes_have_tick_labels_of_their_own():
    of = panels(("x",), (3, 10)) | panels(("y",), (5, 4)) | panels(("z",), (1, 1))
    figure = drawn(analysis_of(a_map(of), methods=1), "maps-activity")
    for label in of:
        ticks = panel(figure, label).get_yticklabels()
        assert any(tick.get_visible() and tick.get_text() for tick in ticks), label
    alike = drawn(analysis_of(a_map(), methods=1), "maps-activity")
    seen = [panel(alike, label).yaxis.get_tick_params()["labelleft"] for label in LABELS]
    assert seen == [True, False, False]


@pytest.mark.parametrize(
    ("count", "shape", "scale", "seeds"),
    [
        (1, (1, 1), 0.0, 1),
        (1, (10, 10), 1.0, 6),
        (3, (3, 10), -1e-6, 6),
        (4, (2, 100), 12345.0, 1),
        (5, (10, 2), -12.345, 6),
        (6, (3, 10), 1.0, 1),
        (6, (10, 10), 1e-4, 6),
    ],
)
def test_everything_is_inside_the_figure(count, shape, scale, seeds):
    of = panels(SIX[:count], shape, range(100, 100 + seeds), tasks=1)
    of = {k: {s: scale * v for s, v in one.items()} for k, one in of.items()}
    both = (a_map(of, title=""), a_map(of, title=""))
    analysis = analysis_of(*both, seeds=seeds, tasks=1, names=["n" * 99, "b", "c"])
    with common.style():
        figure = drawn(analysis, "maps-activity")
        box = figure.get_tightbbox()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.get_figwidth()
    assert box.y1 <= figure.get_figheight()
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 8


def test_the_title_of_a_difference_is_whole():
    figure = drawn(analysis_of(a_map(panels(SIX))), "maps-activity")
    assert {a.get_title(loc="left") for a in figure.axes} >= set(SIX)


def test_a_map_as_a_file_is_the_same_each_time(tmp_path):
    one = picture(analysis_of(a_map()), "maps-activity")
    again = replace(one)
    common.save(one, tmp_path / "1")
    common.save(again, tmp_path / "2")
    first, second = (sorted((tmp_path / folder).iterdir()) for folder in "12")
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
