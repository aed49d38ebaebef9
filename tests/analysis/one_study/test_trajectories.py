"""Curves, matrices and diagnostics over seeds, by hand and by loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.one_study.trajectories import band, diagnostics, map_panels, trajectory
from analysis.records import DiagnosticRecord, MapRecord, MethodRecord

NAN = float("nan")
MATRICES = {
    7: np.array([[0.9, NAN], [0.5, 0.8]]),
    3: np.array([[0.7, NAN], [0.3, 0.6]]),
    5: np.array([[0.8, NAN], [0.1, 0.7]]),
}


def method(**fields):
    values = {"matrices": MATRICES, "scores": dict.fromkeys(MATRICES, 0.5), **fields}
    return MethodRecord("ewc", "ewc", {}, **values)


def test_the_curve_is_the_mean_over_tasks_learnt_and_then_over_seeds():
    found = trajectory(method(), 0.95)
    assert found.n == 3
    assert found.curve.mean == pytest.approx((0.8, (0.65 + 0.45 + 0.4) / 3))
    assert found.curve.sd == pytest.approx((0.1, np.std([0.65, 0.45, 0.4], ddof=1)))
    low, high = stats.t.interval(0.95, 2, loc=0.8, scale=0.1 / np.sqrt(3))
    assert (found.curve.low[0], found.curve.high[0]) == pytest.approx((low, high))


def test_single_tasks_are_the_last_row():
    found = trajectory(method(), 0.95)
    assert found.tasks.mean == pytest.approx((0.3, 0.7))
    assert found.tasks.sd == pytest.approx((0.2, 0.1))


def test_what_was_not_tested_stays_empty():
    found = trajectory(method(), 0.95)
    assert found.matrix[0] == (pytest.approx(0.8), None)
    assert list(found.seeds) == [3, 5, 7]
    assert found.seeds[3] == ((0.7, None), (0.3, 0.6))


@pytest.mark.parametrize(
    "fields", [{"failures": {9: "boom"}}, {"scores": {7: NAN}}, {"matrices": {}}]
)
def test_survivors_of_a_failure_make_no_curve(fields):
    assert trajectory(method(**fields), 0.95) is None


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_have_no_band(seeds):
    few = dict(list(MATRICES.items())[:seeds])
    found = trajectory(method(matrices=few, scores=dict.fromkeys(few, 0.5)), 0.95)
    assert found.curve.low == (None, None)
    assert found.curve.sd[0] is None if seeds == 1 else found.curve.sd[0] > 0


def test_each_value_of_a_diagnostic_has_a_band_of_its_own():
    values = {s: np.array([[s, 10.0], [2 * s, 20.0]]) for s in (1, 2, 6)}
    record = DiagnosticRecord("spikes", "Spikes", "a step", ("layer 1", "layer 2"), values)
    one, two = diagnostics(method(diagnostics=(record,)), 0.95)
    assert (one.label, one.n, one.title, one.unit) == ("layer 1", 3, "Spikes", "a step")
    assert one.band.mean == pytest.approx((3.0, 6.0))
    assert two.band.mean == (10.0, 20.0)
    assert diagnostics(method(diagnostics=(record,), failures={9: "boom"}), 0.95) == []


def test_a_diagnostic_of_some_seeds_is_their_mean():
    values = {s: np.array([[NAN, NAN], [NAN if s == 6 else s, NAN]]) for s in (1, 2, 6)}
    record = DiagnosticRecord("asked", "Accuracy", "", ("growth 1", "growth 2"), values)
    one, two = diagnostics(method(diagnostics=(record,)), 0.95)
    assert (one.n, one.band.mean) == (2, (None, 1.5))
    assert (two.n, two.band.mean) == (0, (None, None))


def test_a_band_of_nothing_is_empty():
    assert band(np.full((3, 2), NAN), 0.95).mean == (None, None)


def map_of(panels, averaged=True):
    return MapRecord("activity", "Activity", "spikes", "layer", "class", averaged, panels)


ASLEEP = {  # seed -> [I, R, C] = [2, 1, 3]
    7: np.array([[[1.0, NAN, NAN]], [[1.0, 2.0, NAN]]], dtype=np.float32),
    3: np.array([[[4.0, NAN, NAN]], [[5.0, NAN, NAN]]], dtype=np.float32),
}


def test_a_cell_of_a_map_is_the_mean_of_the_seeds_that_have_a_value():
    (panel,) = map_panels(method(maps=(map_of({"asleep": ASLEEP}),)))
    assert (panel.method, panel.label, panel.n, panel.seed) == ("ewc", "asleep", 2, None)
    assert panel.values == (((2.5, None, None),), ((3.0, 2.0, None),))
    assert panel.counts.tolist() == [[[2, 0, 0]], [[2, 1, 0]]]


def test_a_map_without_a_meaningful_mean_is_that_of_the_first_seed():
    panels = {"before": ASLEEP, "after": {7: ASLEEP[7]}, "never": {}}
    before, after = map_panels(method(maps=(map_of(panels, averaged=False),)))
    assert (before.seed, before.n, after.seed, after.n) == (3, 2, 3, 1)
    assert before.values[-1] == ((5.0, None, None),)
    assert after.values[-1] == ((None, None, None),)  # not another seed's


@pytest.mark.parametrize("averaged", [True, False])
def test_survivors_of_a_failure_make_no_map(averaged):
    record = map_of({"asleep": ASLEEP}, averaged)
    assert map_panels(method(maps=(record,), failures={9: "boom"})) == []


def test_columns_of_classes_begin_at_0():
    assert map_of({}).first_column == 0
    other = MapRecord("x", "", "", "class", "component", True, {})
    assert other.first_column == 1
