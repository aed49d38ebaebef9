"""Continual-learning metrics: from confusion counts to an accuracy matrix to numbers per seed.

A function under `@metric` is one: its name is the metric's, the first paragraph of its docstring is
what reports say of it, and its arguments are what it needs to know.

Shape legend: S seeds, T tasks, I rows of the accuracy matrix (= T, one per learnt task), C classes,
N evaluations of a continually evaluated stream.

Every function is vectorised over seeds, leaves its input untouched and lets NaN through: a seed
that could not be scored stays visible. In formulas tasks count from 1 and R[i,j] is the accuracy on
task j after learning task i; as an argument R is called `matrix`. Entries above the diagonal may be
NaN; only forward transfer reads them.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.generic]
Function = TypeVar("Function", bound=Callable[..., Array])

ACCURACY = "accuracy, 0 to 1"
CHANGE = "accuracy difference, -1 to 1"
SHARE = "share, 0 to 1"
RATIO_FLOOR = 1e-6  # keeps the retention ratio finite for a task that was never learnt
RATIO_LIMITS = (0.0, 1.5)


@dataclass(frozen=True)
class Metric:
    """A number for each seed [S]: the function to it, and what is known of it."""

    function: Callable[..., Array]
    unit: str
    higher_is_better: bool
    worst: float | None  # what a failed seed counts as; None: the chance level
    transfer: bool  # about a task while others are learnt: an offline bound has no such metric

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def description(self) -> str:
        return " ".join((inspect.getdoc(self.function) or "").split("\n\n")[0].split())

    @cached_property
    def needs(self) -> frozenset[str]:
        """The arguments of the function."""
        return frozenset(inspect.signature(self.function).parameters)

    def __call__(self, counts: Counts) -> Array:
        """A primary metric from confusion counts [S, T, T, C, C]."""
        return self.of(from_counts(counts))

    def of(self, known: Mapping[str, NDArray[Any]]) -> Array:
        """The metric from what it needs, by name."""
        return self.function(**{name: known[name] for name in self.needs})


class ReadoutMetric(NamedTuple):
    """A metric of one of a learner's readouts; the primary one has no name here.

    >>> str(ReadoutMetric("forgetting", "slow"))
    'forgetting [slow]'
    """

    metric: str
    readout: str = ""

    def __str__(self) -> str:
        return f"{self.metric} [{self.readout}]" if self.readout else self.metric


METRICS: dict[str, Metric] = {}


def metric(
    unit: str, higher_is_better: bool = True, worst: float | None = None, transfer: bool = False
) -> Callable[[Function], Function]:
    """Register a function as a metric; for the arguments, see `Metric`."""

    def register(function: Function) -> Function:
        METRICS[function.__name__] = Metric(function, unit, higher_is_better, worst, transfer)
        return function

    return register


def find_metric(name: str) -> Metric:
    """The primary metric of that name; a `ValueError` lists the allowed ones."""
    if name not in PRIMARY:
        raise ValueError(unknown_name("metric", name, list(PRIMARY)))
    return PRIMARY[name]


def from_counts(counts: Counts) -> dict[str, NDArray[Any]]:
    """What metrics learn from confusion counts [S, I, T, C, C]: these and the accuracy matrix."""
    return {"counts": counts, "matrix": accuracy_matrix(counts)}


def accuracy_matrix(counts: Counts) -> Array:
    """Accuracy of each seed, after each task, on each task.

    Args:
        counts: confusion counts [S, I, T, C, C], indexed (seed, learnt task, tested task, true
            class, predicted class).

    Returns:
        R [S, I, T] in [0, 1]; NaN where a task has no samples.
    """
    return _share(*_correct_and_all(counts))


@metric(ACCURACY)
def average_accuracy(matrix: Array) -> Array:
    """Mean accuracy over all tasks at the end of the stream: (1/T) sum_j R[T,j]."""
    return _mean(_final_row(matrix))


@metric(ACCURACY)
def pooled_accuracy(counts: Counts) -> Array:
    """Accuracy over the test samples of all tasks together at the end of the stream:
    sum_j n_j R[T,j] / sum_j n_j, n_j test samples of task j.

    Each sample counts the same, where `average_accuracy` has each task count the same. Needs the
    counts [S, T, T, C, C].
    """
    correct, samples = (_final_row(of).sum(axis=-1) for of in _correct_and_all(counts))
    return _share(correct, samples)


def accuracy_curve(matrix: Array) -> Array:
    """A_i [S, T] = (1/i) sum_{j<=i} R[i,j]: mean accuracy over the tasks learnt so far."""
    matrix = _square(matrix)
    tasks = matrix.shape[-1]
    learnt = np.tril(np.ones((tasks, tasks), dtype=bool))
    total: Array = np.where(learnt, matrix, 0.0).sum(axis=-1)
    return total / np.arange(1, tasks + 1)


@metric(ACCURACY, transfer=True)
def average_incremental_accuracy(matrix: Array) -> Array:
    """Mean over the stream of the accuracy on the tasks learnt so far: (1/T) sum_i A_i.

    As reported for iCaRL (Rebuffi et al. 2017).
    """
    return _mean(accuracy_curve(matrix))


@metric(ACCURACY)
def retention_old(matrix: Array) -> Array:
    """Final accuracy on all tasks but the newest: (1/(T-1)) sum_{j<T} R[T,j].

    Not the average accuracy over all tasks: published "retention" means either. NaN for T = 1.
    """
    return _mean(_final_row(matrix)[:, :-1])


@metric(ACCURACY)
def retention_first(matrix: Array) -> Array:
    """Final accuracy on the first task: R[T,1].

    NaN for T = 1.
    """
    final = _final_row(matrix)
    return final[:, 0].copy() if final.shape[-1] > 1 else np.full(len(final), np.nan)


@metric("ratio, 0 to 1.5", worst=0.0, transfer=True)
def retention_ratio(matrix: Array) -> Array:
    """Final accuracy relative to that just after learning, old tasks:
    (1/(T-1)) sum_{j<T} R[T,j]/R[j,j].

    Each ratio is over max(R[j,j], 1e-6) and cut to [0, 1.5], which keeps a task that was hardly
    learnt from ruling the mean. NaN for T = 1.
    """
    ratio = _final_row(matrix) / np.maximum(_diagonal(matrix), RATIO_FLOOR)
    return _mean(np.clip(ratio, *RATIO_LIMITS)[:, :-1])


@metric(ACCURACY, transfer=True)
def learning_accuracy(matrix: Array) -> Array:
    """Accuracy on each task just after learning it: (1/T) sum_j R[j,j]."""
    return _mean(_diagonal(matrix))


@metric(ACCURACY)
def newest_accuracy(matrix: Array) -> Array:
    """Accuracy on the newest task just after learning it: R[T,T]."""
    return _diagonal(matrix)[:, -1].copy()


@metric(CHANGE, worst=-1.0, transfer=True)
def backward_transfer(matrix: Array) -> Array:
    """Change of the old tasks' accuracy since they were learnt:
    (1/(T-1)) sum_{j<T} (R[T,j] - R[j,j]).

    Negative values are forgetting (Lopez-Paz and Ranzato 2017, GEM). NaN for T = 1.
    """
    return _mean((_final_row(matrix) - _diagonal(matrix))[:, :-1])


@metric(CHANGE, higher_is_better=False, worst=1.0, transfer=True)
def forgetting(matrix: Array) -> Array:
    """Loss from the best earlier accuracy on the old tasks:
    (1/(T-1)) sum_{j<T} (max_{j<=i<T} R[i,j] - R[T,j]).

    The maximum leaves out the final row, so it is negative where the last task helped the old ones
    (Chaudhry et al. 2018). NaN for T = 1.
    """
    matrix = _square(matrix)
    tasks = matrix.shape[-1]
    learnt = np.tril(np.ones((tasks, tasks), dtype=bool))
    before_last = np.where(learnt, matrix, -np.inf)[:, :-1, :-1]  # [S, T-1, T-1]
    best = before_last.max(axis=1, initial=-np.inf)
    return _mean(best - matrix[:, -1, :-1])


@metric(CHANGE, transfer=True)
def forward_transfer(matrix: Array, initial: Array) -> Array:
    """Accuracy on a task before it is learnt, above that of the untrained network:
    (1/(T-1)) sum_{j>1} (R[j-1,j] - b_j).

    Args:
        matrix: R, the accuracy matrix [S, I, T], the entries just above the diagonal filled.
        initial: b [S, T], the accuracy of the freshly initialised network on each task.

    Meaningless for a single class-incremental head, where R[j-1,j] is zero by construction
    (Lopez-Paz and Ranzato 2017, GEM). NaN for T = 1.
    """
    matrix = _square(matrix)
    ahead = np.diagonal(matrix, offset=1, axis1=-2, axis2=-1)  # [S, T-1]
    return _mean(ahead - _per_task(initial, matrix, "initial")[:, 1:])


@metric(SHARE, higher_is_better=False)
def recency_bias(counts: Counts, task_classes: NDArray[np.bool_]) -> Array:
    """Share of the old tasks' test samples predicted as a class of the newest task, at the end.

    Args:
        counts: confusion counts [S, I, T, C, C].
        task_classes: [S, T, C], True where class c belongs to task t of this seed's stream.

    0 is none. Made for class-incremental streams: where tasks share classes, a right answer counts
    too. NaN for T = 1 and where the old tasks have no samples.
    """
    final = np.asarray(counts, dtype=np.float64)[:, -1]  # [S, T, true, predicted]
    predicted = final[:, :-1].sum(axis=(1, 2))  # [S, C]
    newest = np.where(np.asarray(task_classes, dtype=bool)[:, -1], predicted, 0.0).sum(axis=-1)
    samples = predicted.sum(axis=-1)
    return _share(newest, samples)


@metric(ACCURACY, transfer=True)
def min_accuracy(accuracies: Array, task_of_evaluation: NDArray[np.integer]) -> Array:
    """Lowest accuracy on the old tasks at any evaluation since they were learnt, mean over them
    (De Lange et al. 2023).

    (1/(k-1)) sum_{j<k} min_n A(j, n), with k the task being learnt at the last evaluation and n
    running over the evaluations since task j was learnt: the last one made while it was being
    learnt, and all later ones.

    Args:
        accuracies: A [S, N, T], accuracy on each task at each evaluation.
        task_of_evaluation: [N], index from 0 of the task being learnt at each evaluation,
            ascending, every task up to the last one present.

    NaN while the first task is being learnt.
    """
    values, starts = _continual(accuracies, task_of_evaluation)
    lowest = [values[:, starts[j] :, j].min(axis=-1) for j in range(len(starts) - 1)]
    return _mean(np.stack(lowest, axis=-1) if lowest else values[:, 0, :0])


@metric(ACCURACY, transfer=True)
def worst_case_accuracy(accuracies: Array, task_of_evaluation: NDArray[np.integer]) -> Array:
    """min_accuracy and the accuracy on the newest task, weighed by the tasks learnt (De Lange et
    al. 2023).

    (1/k) A(k, now) + (1 - 1/k) min_accuracy at the last evaluation. Arguments as for
    `min_accuracy`. While the first task is being learnt it is A(1, now).
    """
    values, starts = _continual(accuracies, task_of_evaluation)
    k = len(starts)
    now = values[:, -1, k - 1]
    if k == 1:
        return now.copy()
    return now / k + (1 - 1 / k) * min_accuracy(accuracies, task_of_evaluation)


@metric(SHARE, higher_is_better=False)
def cl_gap(accuracy: Array, upper: Array, lower: Array) -> Array:
    """Share of the way from joint training (0) to naive fine-tuning (1):
    (ACC_joint - ACC) / (ACC_joint - ACC_finetune); no mean where a seed has these two equal.

    Args:
        accuracy: ACC [S], the average accuracy of a method.
        upper, lower: those of the bounds, on the same seeds.
    """
    return _share(upper - accuracy, upper - lower)


# which a study may name as its primary metric or objective
PRIMARY = {name: of for name, of in METRICS.items() if of.needs <= {"counts", "matrix"}}


def chance(scenario: str, classes_total: int, classes_per_task: int) -> float:
    """Accuracy of guessing: 1/C_total where all classes compete, else 1/C_task.

    Args:
        scenario: `class` or `task_free` (all classes compete), `task` or `domain`.
        classes_total: classes of the whole stream.
        classes_per_task: classes of one task.
    """
    competing = {
        "class": classes_total,
        "task_free": classes_total,
        "task": classes_per_task,
        "domain": classes_per_task,
    }
    if scenario not in competing:
        raise ValueError(unknown_name("scenario", scenario, list(competing)))
    return 1.0 / competing[scenario]


def unknown_name(kind: str, name: str, allowed: list[str]) -> str:
    """The sentence for a name that does not exist: what is allowed, and the nearest valid one."""
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return f"unknown {kind} `{name}`: allowed are {', '.join(sorted(allowed))}{hint}"


def _correct_and_all(counts: Counts) -> tuple[Array, Array]:
    """Right answers, and samples, of each seed after each task on each task; both [S, I, T]."""
    whole = np.asarray(counts, dtype=np.float64)
    if whole.ndim != 5 or whole.shape[-1] != whole.shape[-2]:
        raise ValueError(f"confusion counts must have shape [S, I, T, C, C], not {whole.shape}")
    return np.trace(whole, axis1=-2, axis2=-1), whole.sum(axis=(-2, -1))


def _square(matrix: Array) -> Array:
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 3 or matrix.shape[1] != matrix.shape[2] or matrix.shape[2] == 0:
        raise ValueError(f"the accuracy matrix must have shape [S, T, T], not {matrix.shape}")
    return matrix


def _final_row(matrix: Array) -> Array:
    return _square(matrix)[:, -1]  # [S, T]


def _diagonal(matrix: Array) -> Array:
    return np.diagonal(_square(matrix), axis1=-2, axis2=-1)  # [S, T]


def _per_task(values: Array, matrix: Array, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    expected = (matrix.shape[0], matrix.shape[2])
    if array.shape != expected:
        raise ValueError(f"`{name}` must have shape [S, T] = {expected}, not {array.shape}")
    return array


def _share(part: Array, whole: Array) -> Array:
    """part / whole, NaN where the whole is zero."""
    share = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=share, where=whole != 0)
    return share


def _mean(values: Array) -> Array:
    """Mean over the last axis, NaN (without a warning) where it is empty."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values.mean(axis=-1), dtype=np.float64)


def _continual(accuracies: Array, tasks: NDArray[np.integer]) -> tuple[Array, list[int]]:
    """Checked accuracies [S, N, T], and for each learnt task its last own evaluation."""
    values, order = np.asarray(accuracies, dtype=np.float64), np.asarray(tasks)
    if values.ndim != 3 or order.shape != values.shape[1:2] or order.size == 0:
        raise ValueError(
            "continual evaluation needs accuracies [S, N, T] and the task of each of the N "
            f"evaluations, not {values.shape} and {order.shape}"
        )
    learnt = np.unique(order)
    complete = np.array_equal(learnt, np.arange(len(learnt))) and len(learnt) <= values.shape[2]
    if not complete or np.any(np.diff(order) < 0):
        raise ValueError(
            "`task_of_evaluation` must ascend from 0 without leaving a task out, "
            f"and stay below {values.shape[2]}; it is {order.tolist()}"
        )
    return values, [int(last) for last in np.searchsorted(order, learnt, side="right") - 1]
