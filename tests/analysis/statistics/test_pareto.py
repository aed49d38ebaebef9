"""Fronts and hypervolumes against Optuna, counting of cells and definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna import create_study, create_trial
from optuna._hypervolume import compute_hypervolume

from analysis.statistics import pareto
from analysis.statistics.pareto import Point, study_fronts

pytestmark = pytest.mark.filterwarnings("error")

BOTH = ("maximize", "minimize")


def points(*values):
    return [Point(number, tuple(map(float, of))) for number, of in enumerate(values)]


def numbers(front):
    return [point.number for point in front.points]


def test_a_front_by_hand():
    trials = points((0.9, 5), (0.7, 2), (0.8, 5), (0.6, 1), (0.6, 3))
    (front,) = study_fronts({"ewc": trials}, BOTH)
    assert numbers(front) == [0, 1, 3]
    assert front.dominated == (2, 4)
    assert front.left_out == ()
    assert front.reference == (0.6, 5)
    assert front.hypervolume == pytest.approx(0.1 * 3)  # only trial 1 is off the edges
    assert front.share == pytest.approx(0.3 / (0.3 * 4))


def test_points_that_differ_by_round_off_do_not_dominate_each_other():
    (front,) = study_fronts({"ewc": points((0.3, 5), (0.1 + 0.2, 5), (0.29, 5))}, BOTH)
    assert (sorted(numbers(front)), front.dominated) == ([0, 1], (2,))


def test_all_methods_are_measured_from_one_reference_point():
    trials = {"ewc": points((0.9, 5), (0.8, 2)), "si": points((0.5, 1), (0.6, 9))}
    ewc, si = study_fronts(trials, BOTH)
    assert ewc.reference == si.reference == (0.5, 9)
    assert ewc.hypervolume == pytest.approx(0.4 * 4 + 0.3 * 3)
    assert si.hypervolume == 0  # each is worst in one objective
    assert ewc.share == pytest.approx(ewc.hypervolume / (0.4 * 8))
    alone = study_fronts({"ewc": trials["ewc"]}, BOTH)[0]
    assert alone.reference == (0.8, 5)


def test_equal_points_do_not_dominate_each_other():
    trials = points((0.9, 5), (0.9, 5), (0.9, 6), (0.5, 6), (0.9, 5))
    (front,) = study_fronts({"ewc": trials}, BOTH)
    assert numbers(front) == [0, 1, 4]
    assert front.dominated == (2, 3)
    once = study_fronts({"ewc": trials[1:4]}, BOTH)[0]
    assert front.hypervolume == once.hypervolume == pytest.approx(0.4)


def test_unfinished_objectives_are_left_out_and_move_nothing():
    trials = points((0.9, 5), (0.7, 2), (0.5, 7))
    bad = [Point(7, (math.nan, 1.0)), Point(5, (0.95, math.inf)), Point(6, (-math.inf, 0.0))]
    (front,) = study_fronts({"ewc": [*bad, *trials]}, BOTH)
    (plain,) = study_fronts({"ewc": trials}, BOTH)
    assert front.left_out == (5, 6, 7)
    assert (front.points, front.reference) == (plain.points, plain.reference)
    assert front.hypervolume == plain.hypervolume > 0


def test_no_complete_trial():
    nothing, failed, other = study_fronts(
        {"ewc": [], "si": [Point(3, (math.nan, 1.0))], "lwf": points((0.5, 1))}, BOTH
    )
    assert (nothing.points, nothing.dominated, nothing.hypervolume) == ((), (), 0)
    assert failed.left_out == (3,)
    assert failed.reference == other.reference == (0.5, 1)
    assert other.share is None  # one point makes no box
    (alone,) = study_fronts({"ewc": []}, BOTH)
    assert (alone.reference, alone.share, alone.hypervolume) == (None, None, 0)
    assert study_fronts({}, BOTH) == ()


def test_one_objective():
    (front,) = study_fronts({"ewc": points((0.7,), (0.9,), (0.9,), (0.4,))}, ("maximize",))
    assert numbers(front) == [1, 2]
    assert front.hypervolume == pytest.approx(0.5)
    assert front.share == pytest.approx(1)


def test_the_front_is_ordered_by_its_objectives_then_by_trial():
    trials = points((1, 3, 3), (1, 2, 4), (2, 1, 1), (1, 2, 4), (0, 9, 9))
    for order in itertools.permutations(trials):
        (front,) = study_fronts({"ewc": order}, ("minimize",) * 3)
        assert numbers(front) == [4, 1, 3, 0, 2]


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (("maximize",), "trial 4 of ewc has 2 objectives; the study has 1"),
        ((), "needs minimize or maximize for each objective, not nothing"),
        (("maximize", "max"), "not max"),
    ],
)
def test_objectives_that_do_not_fit_are_an_error(directions, message):
    with pytest.raises(ValueError, match=message):
        study_fronts({"ewc": [Point(4, (0.5, 1.0))]}, directions)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 30])
def test_hypervolume_agrees_with_optuna(objectives, count):
    rng = np.random.default_rng(10 * objectives + count)
    for losses in (
        rng.random((count, objectives)),
        rng.integers(0, 4, (count, objectives)).astype(float),
    ):
        reference = np.full(objectives, 0.9 * losses.max() + 0.2)
        inside = losses[np.all(losses <= reference, axis=1)]  # Optuna refuses the others
        expected = compute_hypervolume(inside, reference) if len(inside) else 0
        assert pareto.hypervolume(losses, reference) == pytest.approx(expected)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4), st.data())
def test_hypervolume_counts_the_cells_of_a_grid(objectives, data):
    edge = 4
    point = st.tuples(*[st.integers(0, edge + 1)] * objectives)
    losses = np.array(data.draw(st.lists(point, min_size=1, max_size=8)), dtype=float)
    cells = itertools.product(range(edge), repeat=objectives)
    covered = sum(any(all(p <= c) for p in losses) for c in map(np.array, cells))
    assert pareto.hypervolume(losses, np.full(objectives, float(edge))) == covered


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=10))
def test_the_front_is_that_of_optuna(values):
    directions = ["maximize", "minimize", "maximize"]
    (front,) = study_fronts({"ewc": points(*values)}, directions)
    study = create_study(directions=directions)
    study.add_trials([create_trial(values=list(map(float, of))) for of in values])
    assert sorted(numbers(front)) == sorted(trial.number for trial in study.best_trials)
    assert sorted([*numbers(front), *front.dominated]) == list(range(len(values)))


def test_direction_only_turns_the_sign():
    rng = np.random.default_rng(0)
    values = rng.random((20, 3))
    (up,) = study_fronts({"a": points(*values)}, ("maximize",) * 3)
    (down,) = study_fronts({"a": points(*-values)}, ("minimize",) * 3)
    assert numbers(up) == numbers(down)
    assert up.hypervolume == pytest.approx(down.hypervolume)
    assert up.reference == pytest.approx([-x for x in down.reference])


def test_a_large_front():
    rng = np.random.default_rng(0)
    directions = rng.random((150, 3))
    sphere = 1 - directions / np.linalg.norm(directions, axis=1, keepdims=True)
    volume = pareto.hypervolume(sphere, np.ones(3))
    assert volume == pytest.approx(compute_hypervolume(sphere, np.ones(3)))
    assert not any(pareto.dominated(sphere))
