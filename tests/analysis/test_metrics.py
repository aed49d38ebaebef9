"""Metrics against hand-computed cases, loop-based brute force and their identities."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis import metrics

SEEDS, TASKS = 2, 3


@st.composite
def matrices(draw, fewest_tasks=2):
    tasks = draw(st.integers(fewest_tasks, 5))
    seeds = draw(st.integers(1, 3))
    return draw(arrays(np.float64, (seeds, tasks, tasks), elements=st.floats(0, 1, width=32)))


HAND = np.array([[[0.9, 0.1, 0.0], [0.6, 0.8, 0.2], [0.3, 0.5, 1.0]]])


HAND_VALUES = {
    "average_accuracy": 1.8 / 3,
    "pooled_accuracy": (1 * 0.3 + 2 * 0.5 + 3 * 1.0) / 6,
    "average_incremental_accuracy": (0.9 + 0.7 + 0.6) / 3,
    "retention_old": 0.4,
    "retention_first": 0.3,
    "retention_ratio": (0.3 / 0.9 + 0.5 / 0.8) / 2,
    "learning_accuracy": 0.9,
    "newest_accuracy": 1.0,
    "backward_transfer": (-0.6 - 0.3) / 2,
    "forgetting": (0.6 + 0.3) / 2,
}


def counts_with(matrix):
    """Confusion counts [S, I, T, 2, 2] of these accuracies: j samples of task j, none where NaN."""
    right = np.nan_to_num(matrix)
    wrong = np.where(np.isnan(matrix), 0.0, 1 - right)
    counts = np.zeros((*matrix.shape, 2, 2))
    counts[..., 0, 0], counts[..., 0, 1] = right, wrong
    return counts * np.arange(1, matrix.shape[-1] + 1)[:, None, None]


@pytest.mark.parametrize(("name", "value"), HAND_VALUES.items())
def test_a_hand_computed_case(name, value):
    assert metrics.PRIMARY[name](counts_with(HAND)) == pytest.approx([value])


def test_pooled_accuracy_by_hand():
    counts = np.zeros((1, 2, 2, 3, 3))
    counts[0, 0, 0] = [[9, 0, 0], [0, 9, 0], [0, 0, 0]]  # not of the end: does not count
    counts[0, 1, 0] = [[40, 5, 5], [0, 20, 20], [0, 0, 0]]  # 90 samples, 60 right
    counts[0, 1, 1] = [[0, 0, 0], [0, 0, 0], [1, 0, 9]]  # 10 samples, 9 right
    [pooled] = metrics.PRIMARY["pooled_accuracy"](counts)
    [average] = metrics.PRIMARY["average_accuracy"](counts)
    assert (pooled, average) == pytest.approx((69 / 100, (60 / 90 + 9 / 10) / 2))


def test_pooled_accuracy_is_the_average_where_tasks_are_of_one_size():
    right = np.random.default_rng(0).integers(0, 51, (4, 3, 3))
    counts = np.zeros((4, 3, 3, 2, 2), dtype=np.uint32)
    counts[..., 0, 0], counts[..., 0, 1] = right, 50 - right
    expected = metrics.PRIMARY["average_accuracy"](counts)
    assert metrics.PRIMARY["pooled_accuracy"](counts) == pytest.approx(expected)


@pytest.mark.parametrize("metric", metrics.PRIMARY.values(), ids=lambda m: m.name)
def test_a_metric_is_refused_where_tasks_were_not_learnt(metric):
    with pytest.raises(ValueError, match=r"\[S, T, T\]"):
        metric(counts_with(HAND)[:, :2])


def test_every_primary_metric_has_a_hand_computed_case():
    assert set(HAND_VALUES) == set(metrics.PRIMARY)


def test_metrics_with_further_arguments_by_hand():
    initial = np.array([[0.3, 0.05, 0.1]])
    assert metrics.forward_transfer(HAND, initial) == pytest.approx([(0.05 + 0.1) / 2])


def test_the_best_earlier_accuracy_need_not_be_the_first():
    matrix = np.array([[[0.5, 0.0, 0.0], [0.8, 0.9, 0.0], [0.6, 0.9, 1.0]]])
    assert metrics.forgetting(matrix) == pytest.approx([0.1])
    assert metrics.backward_transfer(matrix) == pytest.approx([0.05])


def test_forgetting_is_negative_where_the_last_task_helps():
    assert metrics.forgetting(np.array([[[0.5, 0.0], [0.7, 1.0]]])) == pytest.approx([-0.2])


def brute(matrix, name):
    """Each metric with plain loops, indices as in the formulas (from 1)."""
    tasks = matrix.shape[0]

    def r(i, j):
        return matrix[i - 1, j - 1]

    curve = [sum(r(i, j) for j in range(1, i + 1)) / i for i in range(1, tasks + 1)]
    old = range(1, tasks)
    return {
        "average_accuracy": sum(r(tasks, j) for j in range(1, tasks + 1)) / tasks,
        "pooled_accuracy": sum(j * r(tasks, j) for j in range(1, tasks + 1))
        / sum(range(1, tasks + 1)),
        "average_incremental_accuracy": sum(curve) / tasks,
        "retention_old": sum(r(tasks, j) for j in old) / (tasks - 1),
        "retention_first": r(tasks, 1),
        "retention_ratio": sum(min(max(r(tasks, j) / max(r(j, j), 1e-6), 0), 1.5) for j in old)
        / (tasks - 1),
        "newest_accuracy": r(tasks, tasks),
        "learning_accuracy": sum(r(j, j) for j in range(1, tasks + 1)) / tasks,
        "backward_transfer": sum(r(tasks, j) - r(j, j) for j in old) / (tasks - 1),
        "forgetting": sum(max(r(i, j) for i in range(j, tasks)) - r(tasks, j) for j in old)
        / (tasks - 1),
    }[name]


@pytest.mark.parametrize("name", metrics.PRIMARY)
@settings(max_examples=40, deadline=None)
@given(matrix=matrices())
def test_brute_force_agrees(name, matrix):
    expected = [brute(matrix, name) for matrix in matrix]
    assert metrics.PRIMARY[name](counts_with(matrix)) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(matrix=matrices(), data=st.data())
def test_brute_force_agrees_with_further_arguments(matrix, data):
    seeds, tasks, _ = matrix.shape
    more = data.draw(arrays(np.float64, (seeds, tasks), elements=st.floats(0, 1, width=32)))
    ahead = [
        sum(matrix[s, j - 1, j] - more[s, j] for j in range(1, tasks)) / (tasks - 1)
        for s in range(seeds)
    ]
    assert metrics.forward_transfer(matrix, more) == pytest.approx(ahead, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(matrix=matrices())
def test_identities(matrix):
    tasks = matrix.shape[-1]
    acc, bwt = metrics.average_accuracy(matrix), metrics.backward_transfer(matrix)
    assert acc == pytest.approx(
        metrics.learning_accuracy(matrix) + (tasks - 1) / tasks * bwt, abs=1e-12
    )
    assert np.all(metrics.forgetting(matrix) >= -bwt - 1e-12)
    whole = ((tasks - 1) * metrics.retention_old(matrix) + matrix[:, -1, -1]) / tasks
    assert acc == pytest.approx(whole, abs=1e-12)
    assert metrics.accuracy_curve(matrix)[:, -1] == pytest.approx(acc, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(diagonal=arrays(np.float64, (2, 4), elements=st.floats(0, 1, width=32)))
def test_perfect_forgetting(diagonal):
    matrix = np.einsum("st,tu->stu", diagonal, np.eye(4))
    assert metrics.average_accuracy(matrix) == pytest.approx(diagonal[:, -1] / 4)
    assert metrics.backward_transfer(matrix) == pytest.approx(-diagonal[:, :-1].mean(axis=1))
    assert metrics.retention_old(matrix) == pytest.approx([0, 0])


@pytest.mark.parametrize("metric", metrics.PRIMARY.values(), ids=lambda m: m.name)
@settings(max_examples=20, deadline=None)
@given(matrix=matrices())
def test_seeds_do_not_mix_and_input_is_untouched(metric, matrix):
    counts = counts_with(matrix)
    before = counts.copy()
    whole = metric(counts)
    alone = [metric(counts[s : s + 1])[0] for s in range(len(matrix))]
    assert whole.shape == (len(matrix),)
    assert whole.tolist() == alone
    assert np.array_equal(counts, before)


@pytest.mark.parametrize(
    "function",
    [
        *(metrics.average_accuracy, metrics.retention_old, metrics.retention_first),
        *(metrics.learning_accuracy, metrics.newest_accuracy, metrics.forgetting),
    ],
)
def test_a_result_is_no_window_into_the_matrix(function):
    matrix = HAND.copy()
    found = function(matrix)
    found += 1
    assert np.array_equal(matrix, HAND)


@pytest.mark.parametrize("metric", metrics.PRIMARY.values(), ids=lambda m: m.name)
def test_a_lost_seed_stays_visible_and_alone(metric):
    matrix = np.concatenate([HAND, HAND * np.nan])
    assert np.isnan(metric(counts_with(matrix))).tolist() == [False, True]


@pytest.mark.parametrize("metric", metrics.PRIMARY.values(), ids=lambda m: m.name)
def test_unseen_tasks_may_be_undefined(metric):
    matrix = np.where(np.tril(np.ones((3, 3), dtype=bool)), HAND, np.nan)
    assert metric(counts_with(matrix)) == pytest.approx(metric(counts_with(HAND)))


@pytest.mark.filterwarnings("error")
def test_a_stream_of_one_task():
    matrix = np.array([[[0.7]], [[0.9]]])
    undefined = {
        name
        for name, metric in metrics.PRIMARY.items()
        if np.all(np.isnan(metric(counts_with(matrix))))
    }
    assert undefined == {
        "retention_old",
        "retention_first",
        "retention_ratio",
        "backward_transfer",
        "forgetting",
    }
    assert metrics.average_accuracy(matrix).tolist() == [0.7, 0.9]
    assert np.isnan(metrics.forward_transfer(matrix, np.array([[0.1], [0.1]]))).all()


def test_a_task_never_learnt_does_not_rule_the_retention_ratio():
    matrix = np.array([[[0.0, 0.0, 0.0], [0.0, 0.8, 0.0], [0.9, 0.4, 1.0]]])
    assert metrics.retention_ratio(matrix) == pytest.approx([(1.5 + 0.5) / 2])


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\[S, T, T\]"):
        metrics.average_accuracy(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"\[S, I, T, C, C\]"):
        metrics.accuracy_matrix(np.ones((2, 3, 3)))
    with pytest.raises(ValueError, match="initial"):
        metrics.forward_transfer(HAND, np.ones((1, 2)))


def counts_of(rng):
    return rng.integers(0, 6, (SEEDS, TASKS, TASKS, 4, 4))


@pytest.mark.filterwarnings("error")
def test_accuracy_matrix_counts_one_by_one():
    counts = counts_of(np.random.default_rng(3))
    counts[1, 2, 0] = 0
    before = counts.copy()
    matrix = metrics.accuracy_matrix(counts)
    for index in np.ndindex(SEEDS, TASKS, TASKS):
        right = sum(counts[index][c, c] for c in range(4))
        total = sum(counts[index][c, d] for c in range(4) for d in range(4))
        if total:
            assert matrix[index] == right / total
        else:
            assert np.isnan(matrix[index])
    assert np.isnan(matrix[1, 2, 0])
    assert np.array_equal(counts, before)


def test_recency_bias_counts_one_by_one():
    rng = np.random.default_rng(5)
    counts = counts_of(rng)
    classes = rng.random((SEEDS, TASKS, 4)) < 0.5
    for s in range(SEEDS):
        hits = total = 0
        for j in range(TASKS - 1):
            for true in range(4):
                for predicted in range(4):
                    total += counts[s, -1, j, true, predicted]
                    hits += counts[s, -1, j, true, predicted] * classes[s, -1, predicted]
        assert metrics.recency_bias(counts, classes)[s] == pytest.approx(hits / total)


def test_recency_bias_by_hand():
    counts = np.zeros((1, 2, 2, 2, 2))
    counts[0, 1, 0] = [[6, 4], [0, 0]]  # ten samples of the old class, four called new
    counts[0, 1, 1] = [[0, 0], [3, 7]]  # the newest task itself does not count
    classes = np.array([[[True, False], [False, True]]])
    assert metrics.recency_bias(counts, classes) == pytest.approx([0.4])
    assert np.isnan(metrics.recency_bias(counts[:, :1, :1], classes[:, :1]))[0]


def worst_case_by_loops(accuracies, order):
    k = max(order) + 1
    lows = []
    for j in range(k - 1):
        end = max(n for n, task in enumerate(order) if task == j)
        lows.append(min(accuracies[n, j] for n in range(end, len(order))))
    lowest = sum(lows) / (k - 1)
    return lowest, accuracies[-1, k - 1] / k + (1 - 1 / k) * lowest


@settings(max_examples=60, deadline=None)
@given(
    per_task=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_continual_evaluation_agrees_with_loops(per_task, seed):
    order = np.repeat(np.arange(len(per_task)), per_task)
    accuracies = np.random.default_rng(seed).random((2, len(order), len(per_task) + 1))
    expected = [worst_case_by_loops(a, order.tolist()) for a in accuracies]
    assert metrics.min_accuracy(accuracies, order) == pytest.approx([low for low, _ in expected])
    assert metrics.worst_case_accuracy(accuracies, order) == pytest.approx(
        [wc for _, wc in expected]
    )


def test_the_stability_gap_is_seen():
    order = np.array([0, 0, 1, 1, 1])
    accuracies = np.array([[[0.2, 0], [0.9, 0], [0.1, 0.5], [0.7, 0.8], [0.8, 0.9]]])
    assert metrics.min_accuracy(accuracies, order) == pytest.approx([0.1])  # the dip, not the start
    assert metrics.worst_case_accuracy(accuracies, order) == pytest.approx([0.9 / 2 + 0.1 / 2])


@pytest.mark.filterwarnings("error")
def test_continual_evaluation_of_the_first_task():
    accuracies, order = np.array([[[0.4, 0.0], [0.6, 0.0]]]), np.array([0, 0])
    assert np.isnan(metrics.min_accuracy(accuracies, order))[0]
    assert metrics.worst_case_accuracy(accuracies, order) == pytest.approx([0.6])


@pytest.mark.parametrize("order", [[0, 2], [1, 0], [1, 1], [0], [0, 5]])
def test_continual_evaluation_refuses_a_broken_order(order):
    with pytest.raises(ValueError, match="evaluation"):
        metrics.min_accuracy(np.ones((1, 2, 3)), np.array(order))


def test_chance():
    assert metrics.chance("class", 10, 2) == 0.1
    assert metrics.chance("task_free", 10, 2) == 0.1
    assert metrics.chance("task", 10, 2) == 0.5
    assert metrics.chance("domain", 10, 2) == 0.5
    with pytest.raises(ValueError, match=r"did you mean `domain`"):
        metrics.chance("domian", 10, 2)


def test_what_is_known_of_each_metric():
    found = metrics.METRICS
    assert all(name == metric.name for name, metric in found.items())
    lower = {name for name, metric in found.items() if not metric.higher_is_better}
    assert lower == {"forgetting", "recency_bias", "cl_gap"}
    assert found["forward_transfer"].needs == {"matrix", "initial"}
    for metric in found.values():
        assert re.fullmatch(r"\w[^\n]*\.", metric.description), metric.name


def test_a_primary_metric_is_one_of_the_counts_alone():
    more = {"forward_transfer", "recency_bias", "min_accuracy", "worst_case_accuracy", "cl_gap"}
    assert set(metrics.METRICS) - set(metrics.PRIMARY) == more
    for name in more:
        with pytest.raises(ValueError, match="unknown metric"):
            metrics.find_metric(name)
    with pytest.raises(ValueError, match=r"did you mean `forgetting`"):
        metrics.find_metric("forgeting")


def test_a_function_becomes_a_metric_in_one_place(monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", dict(metrics.METRICS))

    @metrics.metric("accuracy, 0 to 1", transfer=True)
    def accuracy_on_the_second_task(matrix):
        """Final accuracy on the second
        task: R[T,2].

        More of it.
        """
        return matrix[:, -1, 1]

    made = metrics.METRICS["accuracy_on_the_second_task"]
    assert made(counts_with(HAND)) == pytest.approx([0.5])
    assert made.description == "Final accuracy on the second task: R[T,2]."
    assert (made.needs, made.transfer, made.higher_is_better) == ({"matrix"}, True, True)


def test_the_gap_between_the_bounds_by_hand():
    accuracy, upper, lower = np.array([[0.6, 0.9, 0.5], [0.8, 0.9, 0.7], [0.4, 0.5, 0.7]])
    gaps = metrics.cl_gap(accuracy, upper, lower)
    assert gaps == pytest.approx([0.5, 0.0, np.nan], nan_ok=True)


def test_a_readout_is_in_brackets_unless_it_is_the_primary_one():
    assert str(metrics.ReadoutMetric("forgetting")) == "forgetting"
    assert str(metrics.ReadoutMetric("forgetting", "slow")) == "forgetting [slow]"
