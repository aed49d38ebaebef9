"""Figures of the sweeps: history, importance, slices and fronts."""

from __future__ import annotations

import math
from dataclasses import replace

import figures_factory as factory
import pytest
from figures_factory import (
    analysis_of,
    drawn,
    line,
    lines,
    panel,
    picture,
    with_method,
)

from analysis.figures import common
from analysis.one_study.analyse import analyse

pytestmark = pytest.mark.filterwarnings("error")


def test_search_history():
    analysis = analysis_of()
    figure = drawn(analysis, "search-history")
    rows = {row.method: row for row in analysis.tuning}
    for search in analysis.searches:
        axes, row = panel(figure, search.method), rows[search.method]
        assert line(axes, "trial").get_ydata().tolist() == pytest.approx(
            common.floats(row.values), nan_ok=True
        )
        assert list(line(axes, "best so far").get_ydata()) == list(search.best_so_far)
        default = line(axes, "defaults")
        assert default.get_xydata().tolist() == [[0, row.default_value]]
        assert not default.get_clip_on()  # at the edge of its panel
        assert list(line(axes, "no value").get_xdata()) == [3]
        assert not lines(axes, "expected best")
    caption = picture(analysis, "search-history").caption
    assert "No expected-best curve: the sampler tpe" in caption
    assert "3 tuning seeds" in caption


def test_expected_best():
    analysis = analysis_of(trials=3, sampler="random")
    axes = panel(drawn(analysis, "search-history"), "method_01")
    expected = line(axes, "expected best")
    assert expected.get_xydata().tolist() == [
        [n, value] for n, value in enumerate(analysis.searches[1].expected, start=1)
    ]
    assert "Dashed" in picture(analysis, "search-history").caption
    assert "No expected-best" not in picture(analysis, "search-history").caption


def test_importance():
    analysis = analysis_of()
    figure = drawn(analysis, "importance")
    for search in analysis.searches:
        axes = panel(figure, search.method)
        shares = [one.importance for one in search.slices]
        assert [bar.get_width() for bar in axes.patches] == shares
        assert [text.get_text() for text in axes.texts][:2] == ["lr", "50 %"]
    many = analysis_of(methods=10)
    assert len(panel(drawn(many, "importance"), "method_09").patches) == 3
    assert "The 3 most important options" in picture(many, "importance").caption


def test_slices():
    analysis = analysis_of()
    figure = drawn(analysis, "slices")
    assert len(figure.axes) == 16  # 4 methods, their 4 most important options
    first = dict(zip(["lr", "ratio", "optimiser", "online"], figure.axes[:4], strict=True))
    points = {one.option: one.points for one in analysis.searches[0].slices}
    for option in ("lr", "ratio"):
        assert list(map(tuple, line(first[option], option).get_xydata())) == list(points[option])
    assert (first["lr"].get_xscale(), first["ratio"].get_xscale()) == ("log", "linear")
    assert [label.get_text() for label in first["online"].get_xticklabels()] == ["False", "True"]
    (marks,) = first["online"].get_lines()
    assert list(marks.get_xdata()) == [int(value) for value, _ in points["online"]]
    assert [axes.get_xlabel() for axes in figure.axes[:4]] == list(first)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((1, "1", None), ["1", "None"]),
        ((True, False, 1), ["1", "False", "True"]),
        ((math.inf, 1.0, 2.0), ["1.0", "2.0", "inf"]),
        ((5, 5, 5), ["5"]),
        ((0.21, 0.5, 0.87), ["0.2", "0.9"]),
        ((0, -10, 500), ["−10", "500"]),
        ((1e-6, 1e-3, 3e-2), ["1e−6", "0.1"]),
    ],
)
def test_slices_of_odd_values(values, ticks):
    record = factory.study(methods=1, trials=3)
    tuning = record.methods[0].tuning
    history = tuple(
        replace(trial, params={"x": value})
        for trial, value in zip(tuning.history, values, strict=True)
    )
    changed = with_method(record, 0, tuning=replace(tuning, history=history))
    (axes,) = drawn(analyse(changed), "slices").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ticks


@pytest.mark.parametrize("methods", [4, 12, 30])
def test_slices_stay_on_a_page(methods):
    assert drawn(analysis_of(methods=methods), "slices").get_figheight() < 12


def test_pareto():
    analysis = analysis_of(objectives=2)
    figure = drawn(analysis, "pareto")
    for front, method in zip(analysis.fronts, analysis.record.methods, strict=True):
        axes = panel(figure, front.method)
        values = {trial.number: trial.values for trial in method.tuning.history}
        assert line(axes, front.method).get_xydata().tolist() == [
            [point.values[1], point.values[0]] for point in front.points
        ]
        assert line(axes, "dominated").get_xydata().tolist() == [
            [values[n][1], values[n][0]] for n in front.dominated
        ]
        assert line(axes, "dominated").get_color() == common.GREY
    assert "memory bytes (less is better)" in picture(analysis, "pareto").caption


def test_pareto_of_three_objectives():
    analysis = analysis_of(objectives=3)
    figure = drawn(analysis, "pareto")
    assert len(figure.axes) == 8  # 4 methods, the first objective against 2
    assert (
        "Each column shows one objective against the first" in picture(analysis, "pareto").caption
    )
