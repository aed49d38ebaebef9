"""Continual-learning metrics: confusion counts, the accuracy matrix, and one number per seed.

A metric is a function decorated with `@metric`. The function's name is the metric's name, the first
paragraph of the docstring is the metric's description in reports, and the argument names say which
data the metric needs.

Shape legend: S seeds, T tasks, I rows of the accuracy matrix (= T, one per learnt task), C classes,
N evaluations of a continually evaluated stream.

Every function is vectorised over seeds, leaves its input untouched and propagates NaN, so that a
seed without a score stays visible. In formulas tasks count from 1, and R[i,j] is the accuracy on
task j after learning task i; the argument `matrix` is R. Entries above the diagonal may be NaN;
only forward transfer reads them.
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


@dataclass(frozen=True)
class Metric:
    """A metric: the function that computes one number per seed [S], and the facts about it.

    >>> METRICS["forgetting"].higher_is_better
    False
    """

    function: Callable[..., Array]
    unit: str
    higher_is_better: bool
    worst: float | None  # the value of a failed seed; None: the chance level
    transfer: bool  # depends on accuracies during the stream: not defined for an offline bound

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def is_share(self) -> bool:
        """Whether values are shares, or differences of shares, which can be shown in percent."""
        return self.unit in (ACCURACY, CHANGE, SHARE)

    @property
    def description(self) -> str:
        return " ".join((inspect.getdoc(self.function) or "").split("\n\n")[0].split())

    @cached_property
    def needs(self) -> frozenset[str]:
        """The names of the function's arguments."""
        return frozenset(inspect.signature(self.function).parameters)

    def __call__(self, counts: Counts) -> Array:
        """Compute a primary metric from confusion counts [S, T, T, C, C].

        >>> PRIMARY["average_accuracy"](np.array([[[[[3, 1], [0, 4]]]]]))  # 1 seed, 1 task
        array([0.875])
        """
        return self.compute(from_counts(counts))

    def compute(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        """Compute the metric from arrays by argument name; further arrays are ignored."""
        return self.function(**{name: inputs[name] for name in self.needs})


class ReadoutMetric(NamedTuple):
    """A metric of one readout of a learner; an empty `readout` is the primary readout.

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
    """Register a function as a metric; the arguments are fields of `Metric`."""

    def register(function: Function) -> Function:
        METRICS[function.__name__] = Metric(function, unit, higher_is_better, worst, transfer)
        return function

    return register


def find_metric(name: str) -> Metric:
    """Return the primary metric of a name; a `ValueError` lists the allowed names."""
    if name not in PRIMARY:
        raise ValueError(unknown_name("metric", name, list(PRIMARY)))
    return PRIMARY[name]


def from_counts(counts: Counts) -> dict[str, NDArray[Any]]:
    """Return the inputs of primary metrics: confusion counts [S, I, T, C, C], accuracy matrix."""
    return {"counts": counts, "matrix": accuracy_matrix(counts)}


def accuracy_matrix(counts: Counts) -> Array:
    """Return the accuracy of each seed, after each learnt task, on each tested task.

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

    Every sample has the same weight; in `average_accuracy` every task has. `counts` are
    [S, T, T, C, C].
    """
    correct, samples = (_final_row(total).sum(axis=-1) for total in _correct_and_all(counts))
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
    """Mean over the stream of the accuracy on the tasks learnt so far:
    (1/T) sum_i ((1/i) sum_{j<=i} R[i,j]).

    As reported for iCaRL (Rebuffi et al. 2017).
    """
    return _mean(accuracy_curve(matrix))


@metric(ACCURACY)
def retention_old(matrix: Array) -> Array:
    """Final accuracy on all tasks but the newest: (1/(T-1)) sum_{j<T} R[T,j].

    Published "retention" is either this metric or the average accuracy over all tasks. NaN for
    T = 1.
    """
    return _mean(_final_row(matrix)[:, :-1])


@metric(ACCURACY)
def retention_first(matrix: Array) -> Array:
    """Final accuracy on the first task: R[T,1], for T > 1.

    NaN for T = 1, where no task is old.
    """
    final = _final_row(matrix)
    return final[:, 0].copy() if final.shape[-1] > 1 else np.full(len(final), np.nan)


@metric("ratio, 0 to 1.5", worst=0.0, transfer=True)
def retention_ratio(matrix: Array) -> Array:
    """Final accuracy on the old tasks, relative to the accuracy just after learning each task, at
    most 1.5 for a task: (1/(T-1)) sum_{j<T} min(1.5, R[T,j] / max(R[j,j], 1e-6)).

    The limit keeps a task that was hardly learnt from dominating the mean. NaN for T = 1.
    """
    ratio = _final_row(matrix) / np.maximum(_diagonal(matrix), 1e-6)
    return _mean(np.minimum(1.5, ratio)[:, :-1])


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
    """Change of the accuracy on the old tasks since each task was learnt:
    (1/(T-1)) sum_{j<T} (R[T,j] - R[j,j]).

    Negative values are forgetting (Lopez-Paz and Ranzato 2017, GEM). NaN for T = 1.
    """
    return _mean((_final_row(matrix) - _diagonal(matrix))[:, :-1])


@metric(CHANGE, higher_is_better=False, worst=1.0, transfer=True)
def forgetting(matrix: Array) -> Array:
    """Loss from the best earlier accuracy on the old tasks:
    (1/(T-1)) sum_{j<T} (max_{j<=i<T} R[i,j] - R[T,j]).

    The maximum leaves out the final row, so forgetting is negative where learning the last task
    improved the old tasks (Chaudhry et al. 2018). NaN for T = 1.
    """
    matrix = _square(matrix)
    tasks = matrix.shape[-1]
    learnt = np.tril(np.ones((tasks, tasks), dtype=bool))
    before_last = np.where(learnt, matrix, -np.inf)[:, :-1, :-1]  # [S, T-1, T-1]
    best = before_last.max(axis=1, initial=-np.inf)
    return _mean(best - matrix[:, -1, :-1])


@metric(CHANGE, transfer=True)
def forward_transfer(matrix: Array, initial: Array) -> Array:
    """Accuracy on each task just before it is learnt, above the accuracy b_j of the untrained
    network: (1/(T-1)) sum_{j>1} (R[j-1,j] - b_j).

    Args:
        matrix: R, the accuracy matrix [S, T, T], with the entries just above the diagonal.
        initial: b [S, T], the accuracy of the freshly initialised network on each task.

    Has no meaning for a single class-incremental head, where R[j-1,j] is zero by construction
    (Lopez-Paz and Ranzato 2017, GEM). NaN for T = 1.
    """
    matrix = _square(matrix)
    ahead = np.diagonal(matrix, offset=1, axis1=-2, axis2=-1)  # [S, T-1]
    return _mean(ahead - _per_task(initial, matrix, "initial")[:, 1:])


@metric(SHARE, higher_is_better=False)
def recency_bias(counts: Counts, task_classes: NDArray[np.bool_]) -> Array:
    """Share of the old tasks' test samples that are predicted as a class of the newest task, at the
    end of the stream: sum_{j<T} m_j / sum_{j<T} n_j, m_j of the n_j samples of task j.

    Args:
        counts: confusion counts [S, I, T, C, C].
        task_classes: [S, T, C], True where class c belongs to task t of this seed's stream.

    Meant for class-incremental streams: where tasks share classes, correct predictions count too.
    NaN for T = 1 and where the old tasks have no samples.
    """
    final = np.asarray(counts, dtype=np.float64)[:, -1]  # [S, T, true, predicted]
    predicted = final[:, :-1].sum(axis=(1, 2))  # [S, C]
    newest = np.where(np.asarray(task_classes, dtype=bool)[:, -1], predicted, 0.0).sum(axis=-1)
    samples = predicted.sum(axis=-1)
    return _share(newest, samples)


@metric(ACCURACY, transfer=True)
def min_accuracy(accuracies: Array, task_of_evaluation: NDArray[np.integer]) -> Array:
    """Mean over the old tasks of l_j, the lowest accuracy on task j at the end of that task or at
    any later evaluation: (1/(T-1)) sum_{j<T} l_j (De Lange et al. 2023).

    T is the task being learnt at the last evaluation.

    Args:
        accuracies: A [S, N, T], accuracy on each task at each evaluation.
        task_of_evaluation: [N], index from 0 of the task being learnt at each evaluation,
            ascending, without gaps.

    NaN while the first task is being learnt.
    """
    values, starts = _continual(accuracies, task_of_evaluation)
    lowest = [values[:, starts[j] :, j].min(axis=-1) for j in range(len(starts) - 1)]
    return _mean(np.stack(lowest, axis=-1) if lowest else values[:, 0, :0])


@metric(ACCURACY, transfer=True)
def worst_case_accuracy(accuracies: Array, task_of_evaluation: NDArray[np.integer]) -> Array:
    """Mean over all tasks of the accuracy on the newest task and, on each old task, of the lowest
    accuracy l_j of `min_accuracy`: (1/T) (R[T,T] + sum_{j<T} l_j) (De Lange et al. 2023).

    That is (1/T) R[T,T] + (1 - 1/T) min_accuracy, or R[1,1] while the first task is being learnt.
    Arguments as for `min_accuracy`.
    """
    values, starts = _continual(accuracies, task_of_evaluation)
    k = len(starts)
    now = values[:, -1, k - 1]
    if k == 1:
        return now.copy()
    return now / k + (1 - 1 / k) * min_accuracy(accuracies, task_of_evaluation)


@metric(SHARE, higher_is_better=False)
def cl_gap(accuracy: Array, upper: Array, lower: Array) -> Array:
    """Share of the way from joint training (0) to naive fine-tuning (1), in average accuracy ACC:
    (ACC_joint - ACC) / (ACC_joint - ACC_finetune); no mean if the two bounds agree on a seed.

    Args:
        accuracy: ACC [S], the average accuracy of a method.
        upper, lower: ACC_joint and ACC_finetune [S], the average accuracy of the two bounds on the
            same seeds.
    """
    return _share(upper - accuracy, upper - lower)


# the metrics that a study file may name as primary metric or objective
PRIMARY = {name: entry for name, entry in METRICS.items() if entry.needs <= {"counts", "matrix"}}

# the metrics that are tested beside the primary one, the most important first; the order is fixed,
# so that no data choose what is tested
SECONDARY = (
    "average_accuracy",
    "learning_accuracy",
    "forgetting",
    "average_incremental_accuracy",
    "retention_old",
)
MOST_SECONDARY_TESTS = 4  # metrics


def tested_metrics(primary: str) -> tuple[str, ...]:
    """Return the secondary metrics that are tested: the first four without the primary metric.

    >>> tested_metrics("forgetting")[:2]
    ('average_accuracy', 'learning_accuracy')
    """
    return tuple(name for name in SECONDARY if name != primary)[:MOST_SECONDARY_TESTS]


def chance(scenario: str, classes_total: int, classes_per_task: int) -> float:
    """Return the accuracy of guessing: 1/C_total where all classes compete, else 1/C_task.

    >>> chance("class", classes_total=10, classes_per_task=2)
    0.1

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
    """Return the error message for an unknown name: the allowed names and the nearest one."""
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return f"unknown {kind} `{name}`: allowed are {', '.join(sorted(allowed))}{hint}"


def _correct_and_all(counts: Counts) -> tuple[Array, Array]:
    """Return the number of correct predictions and the number of samples; both [S, I, T]."""
    array = np.asarray(counts, dtype=np.float64)
    if array.ndim != 5 or array.shape[-1] != array.shape[-2]:
        raise ValueError(f"confusion counts must have shape [S, I, T, C, C], not {array.shape}")
    return np.trace(array, axis1=-2, axis2=-1), array.sum(axis=(-2, -1))


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
    """Return part / whole, NaN where the whole is zero."""
    share = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=share, where=whole != 0)
    return share


def _mean(values: Array) -> Array:
    """Return the mean over the last axis; NaN without a warning where the axis is empty."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values.mean(axis=-1), dtype=np.float64)


def _continual(accuracies: Array, tasks: NDArray[np.integer]) -> tuple[Array, list[int]]:
    """Return checked accuracies [S, N, T], and the last evaluation during each learnt task."""
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
            "`task_of_evaluation` must ascend from 0 without a gap and stay below "
            f"{values.shape[2]}, not {order.tolist()}"
        )
    return values, [int(last) for last in np.searchsorted(order, learnt, side="right") - 1]
