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


# The formulas that reports print, evaluated by loops; indices run from 1, and a sum or a maximum
# reaches over the product behind it.
FORMULAS = {
    "average_accuracy": "(1/T) sum_j R[T,j]",
    "pooled_accuracy": "sum_j n_j R[T,j] / sum_j n_j",
    "average_incremental_accuracy": "(1/T) sum_i ((1/i) sum_{j<=i} R[i,j])",
    "retention_old": "(1/(T-1)) sum_{j<T} R[T,j]",
    "retention_first": "R[T,1]",
    "retention_ratio": "(1/(T-1)) sum_{j<T} min(1.5, R[T,j] / max(R[j,j], 1e-6))",
    "learning_accuracy": "(1/T) sum_j R[j,j]",
    "newest_accuracy": "R[T,T]",
    "backward_transfer": "(1/(T-1)) sum_{j<T} (R[T,j] - R[j,j])",
    "forgetting": "(1/(T-1)) sum_{j<T} (max_{j<=i<T} R[i,j] - R[T,j])",
    "forward_transfer": "(1/(T-1)) sum_{j>1} (R[j-1,j] - b_j)",
    "recency_bias": "sum_{j<T} m_j / sum_{j<T} n_j",
    "min_accuracy": "(1/(T-1)) sum_{j<T} l_j",
    "worst_case_accuracy": "(1/T) (R[T,T] + sum_{j<T} l_j)",
    "cl_gap": "(ACC_joint - ACC) / (ACC_joint - ACC_finetune)",
}
_INSIDE = r"(?:[^()]|\((?:[^()]|\([^()]*\))*\))*"  # brackets in brackets in brackets
_FACTOR = rf"(?:(?:min|max)?\({_INSIDE}\)|R\[[^]]*\]|[a-z]_j)"
_BIG = re.compile(rf"(sum|max)_(?:\{{(.+?)\}}|([ij])) ({_FACTOR}(?: \* {_FACTOR})*)")


def python_of(formula, outer=""):
    """A printed formula as an expression of Python; `outer` is the index that is bound already."""

    def loop(found):
        operator, condition, index, body = found.groups()
        index = index or next(letter for letter in "ij" if letter in condition and letter != outer)
        loops = f"for {index} in range(1, T + 1) if {condition or True}"
        return f"{operator}({python_of(body, index)} {loops})"

    product = re.sub(r"(?<=[])]) (?=[(\w])|(?<=n_j) (?=R)", " * ", formula)
    return re.sub(r"\b([a-z])_j", r"\1[j]", _BIG.sub(loop, product))


class FromOne:
    """An array whose indices run from 1, as in the formulas."""

    def __init__(self, values):
        self.values = values

    def __getitem__(self, index):
        return self.values[tuple(i - 1 for i in np.atleast_1d(index))]


def printed(name, tasks, **arrays):
    """The value of the formula that a metric's description prints."""
    assert FORMULAS[name] in metrics.METRICS[name].description
    known = {key: FromOne(np.asarray(values)) for key, values in arrays.items()}
    return eval(python_of(FORMULAS[name]), {"T": tasks, **known})


def test_every_metric_prints_a_formula_and_loops_evaluate_it():
    assert set(FORMULAS) == set(metrics.METRICS)
    assert python_of("(1/T) sum_i ((1/i) sum_{j<=i} R[i,j])") == (
        "(1/T) * sum(((1/i) * sum(R[i,j] for j in range(1, T + 1) if j<=i))"
        " for i in range(1, T + 1) if True)"
    )


@pytest.mark.parametrize("name", metrics.PRIMARY)
@settings(max_examples=40, deadline=None)
@given(matrix=matrices())
def test_the_printed_formula_is_computed(name, matrix):
    tasks = matrix.shape[-1]
    expected = [printed(name, tasks, R=of_seed, n=np.arange(1, tasks + 1)) for of_seed in matrix]
    assert metrics.PRIMARY[name](counts_with(matrix)) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(matrix=matrices(), data=st.data())
def test_the_printed_formula_of_forward_transfer_is_computed(matrix, data):
    seeds, tasks, _ = matrix.shape
    initial = data.draw(arrays(np.float64, (seeds, tasks), elements=st.floats(0, 1, width=32)))
    expected = [
        printed("forward_transfer", tasks, R=of_seed, b=b)
        for of_seed, b in zip(matrix, initial, strict=True)
    ]
    assert metrics.forward_transfer(matrix, initial) == pytest.approx(expected, abs=1e-12)


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
        hits, totals = [0] * TASKS, [0] * TASKS
        for j in range(TASKS):
            for true in range(4):
                for predicted in range(4):
                    totals[j] += counts[s, -1, j, true, predicted]
                    hits[j] += counts[s, -1, j, true, predicted] * classes[s, -1, predicted]
        expected = printed("recency_bias", TASKS, m=hits, n=totals)
        assert metrics.recency_bias(counts, classes)[s] == pytest.approx(expected)


def test_recency_bias_by_hand():
    counts = np.zeros((1, 2, 2, 2, 2))
    counts[0, 1, 0] = [[6, 4], [0, 0]]  # ten samples of the old class, four called new
    counts[0, 1, 1] = [[0, 0], [3, 7]]  # the newest task itself does not count
    classes = np.array([[[True, False], [False, True]]])
    assert metrics.recency_bias(counts, classes) == pytest.approx([0.4])
    assert np.isnan(metrics.recency_bias(counts[:, :1, :1], classes[:, :1]))[0]


def worst_case_by_loops(accuracies, order):
    tasks, lows = max(order) + 1, []
    for j in range(tasks - 1):
        end = max(n for n, task in enumerate(order) if task == j)
        lows.append(min(accuracies[n, j] for n in range(end, len(order))))
    final = np.zeros((tasks, tasks))
    final[-1] = accuracies[-1, :tasks]
    return [printed(n, tasks, R=final, l=lows) for n in ("min_accuracy", "worst_case_accuracy")]


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
    formula = FORMULAS["cl_gap"]
    assert formula in metrics.METRICS["cl_gap"].description
    for gap, *bounds in zip(gaps[:2], accuracy, upper, lower, strict=False):
        names = ("ACC", "ACC_joint", "ACC_finetune")
        assert gap == pytest.approx(eval(formula, dict(zip(names, bounds, strict=True))))


def test_the_secondary_metrics_to_test_are_four_of_a_fixed_order_without_the_primary_one():
    first = ("learning_accuracy", "forgetting", "average_incremental_accuracy", "retention_old")
    assert metrics.tested_metrics("average_accuracy") == first
    assert metrics.tested_metrics("forgetting") == ("average_accuracy", first[0], *first[2:])
    assert metrics.tested_metrics("pooled_accuracy") == ("average_accuracy", *first[:3])
    assert set(metrics.SECONDARY) <= set(metrics.PRIMARY)  # measured in every study


def test_a_readout_is_in_brackets_unless_it_is_the_primary_one():
    assert str(metrics.ReadoutMetric("forgetting")) == "forgetting"
    assert str(metrics.ReadoutMetric("forgetting", "slow")) == "forgetting [slow]"
