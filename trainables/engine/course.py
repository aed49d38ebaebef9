"""A learner's course through a stream: learn a task, evaluate, record. Without Ray."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables import find_learner, find_stream
from trainables.contract import (
    check_diagnosis,
    check_footprint,
    check_foundation,
    check_learnt,
    check_state,
)
from trainables.engine.assignment import Assignment
from trainables.engine.evaluation import Evaluation, evaluate
from trainables.engine.foundation import Foundation
from trainables.engine.outcome import Array, Outcome, united
from trainables.errors import InputError
from trainables.learner import Learner
from trainables.streams import Task
from trainables.streams.datasets import Split


class Course:
    """The course of one stack of seeds through a stream, task by task.

    Args:
        work: the assignment.
        seeds: the seeds of the stack.
        data: the splits that the phase may read.
        pretrained: the foundation of another trial, arrays [S, ...] by name; None: the first task
            is learnt here.
    """

    def __init__(
        self,
        work: Assignment,
        seeds: Sequence[int],
        data: Mapping[str, Split],
        device: torch.device | str = "cpu",
        pretrained: Mapping[str, Array] | None = None,
    ) -> None:
        kind, stream = find_learner(work.learner), find_stream(work.stream)
        self.work = work
        options = stream.Options.parse(work.options)
        self.stream = stream(data, work.scenario, seeds, work.phase, options, device)
        config = kind.Config.parse(work.configuration)
        self.learner = kind(config, self.stream.info, seeds, device)
        if pretrained is not None:
            self.learner.pretrained = {
                name: torch.tensor(array, device=device) for name, array in pretrained.items()
            }
        self.tasks = work.tasks or self.stream.tasks
        self._initial: dict[str, Array] = {}
        self._counts: list[dict[str, Array]] = []
        self._finite: list[Array] = []
        self._rows: list[dict[str, float]] = []  # seconds, samples, trained of each task
        self._footprints: list[dict[str, Array]] = []
        self._between: list[tuple[int, Array]] = []
        self._extras: list[dict[str, Array]] = []

    @property
    def done(self) -> bool:
        return len(self._rows) >= self.tasks

    def advance(self) -> None:
        """Learn the next task and evaluate on all tasks."""
        started, index, learner = time.perf_counter(), len(self._rows), self.learner
        if not self._initial:
            self._initial = _arrays(evaluate(learner, self.stream, self._tasks_learnt(0)))
        trained = learner.trained
        task = self.task(index)
        if self.work.evaluate_every:
            task.after_step = self._evaluate_within
        learner.losses.zero_()
        self.learn(task)
        check_learnt(learner, trained)
        if not index:
            check_state(learner, learner.state())
        result = evaluate(learner, self.stream, self._tasks_learnt(index + 1))
        self._counts.append(_arrays(result))
        finite = result.finite & learner.losses.isfinite() & finite_weights(learner)
        self._finite.append(finite.cpu().numpy())
        self._extras.append(self._diagnostics())
        self._footprints.append(self._footprint())
        row = {"samples": task.samples, "trained": learner.trained - trained}
        self._rows.append({"seconds": time.perf_counter() - started, **row})

    def task(self, index: int) -> Task:
        """Return a task for the learner; for an offline learner, with the samples of all tasks."""
        return self.stream.task(index, union=self.tasks if self.learner.offline else 0)

    def _tasks_learnt(self, tasks: int) -> int:
        return self.tasks if self.learner.offline else tasks

    def learn(self, task: Task) -> None:
        """Train on a task. A method of its own, so that benchmarks can time the training alone."""
        self.learner.learn(task)

    def _footprint(self) -> dict[str, Array]:
        """Return the bytes of each seed by kind, [S]."""
        footprint = self.learner.footprint()
        check_footprint(self.learner, footprint)
        stack = len(self.learner.seeds)
        return {kind: np.full(stack, held, dtype=np.int64) for kind, held in footprint.items()}

    def _evaluate_within(self, task: Task) -> None:
        """Evaluate the primary readout within a task, if the step is due."""
        if task.steps_done % self.work.evaluate_every == 0:
            index = len(self._rows)
            evaluation = evaluate(self.learner, self.stream, self._tasks_learnt(index + 1))
            self._between.append((index, _arrays(evaluation)[self.learner.readouts[0]]))

    def _diagnostics(self) -> dict[str, Array]:
        diagnostics = _labelled_diagnostics(self.learner)
        for name, values in diagnostics.items():
            for shape in (row[name].shape for row in self._extras if name in row):
                if shape != values.shape:
                    raise InputError(
                        f"diagnostic '{name}': shape {values.shape} after this task, but {shape} "
                        "after another; the shape of a label must not change."
                    )
        return diagnostics

    def outcome(self) -> Outcome:
        """Return the measurements so far."""
        columns = {name: np.array([row[name] for row in self._rows]) for name in self._rows[0]}
        size = self.stream.info.outputs
        stack = len(self.learner.seeds)
        within = [counts for _, counts in self._between]
        empty = np.zeros((stack, 0, self.stream.tasks, size, size), dtype=np.uint32)
        return Outcome(
            seeds=np.array(self.learner.seeds),
            counts=_columns(self._counts),
            initial=self._initial,
            finite=np.stack(self._finite, axis=1),
            seconds=columns.pop("seconds"),
            samples=columns.pop("samples"),
            trained=columns.pop("trained"),
            footprint=_columns(self._footprints),
            between={
                "task": np.array([index for index, _ in self._between], dtype=int),
                "counts": np.stack(within, axis=1) if within else empty,
            },
            extras={
                name: np.stack(values, axis=1)
                for name, values in united(self._extras, [(stack,)] * len(self._extras)).items()
            },
        )

    def foundation(self) -> Foundation:
        """Return the foundation that the first task leaves behind. Call after the first task and
        before the second.
        """
        tensors = self.learner.foundation()
        check_foundation(self.learner, tensors)
        return Foundation(
            seeds=np.array(self.learner.seeds),
            arrays={name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()},
        )

    def restore(self, outcome: Outcome, state: Mapping[str, Any]) -> None:
        """Continue after the tasks in an outcome.

        Args:
            state: the learner's state after those tasks.
        """
        self.learner.load(state)
        self._initial = dict(outcome.initial)
        rows = range(outcome.rows)
        self._counts = [{name: c[:, i] for name, c in outcome.counts.items()} for i in rows]
        self._finite = [outcome.finite[:, i] for i in rows]
        self._extras = [{name: x[:, i] for name, x in outcome.extras.items()} for i in rows]
        columns = {
            "seconds": outcome.seconds,
            "samples": outcome.samples,
            "trained": outcome.trained,
        }
        self._footprints = [{name: f[:, i] for name, f in outcome.footprint.items()} for i in rows]
        self._rows = [{name: column[i].item() for name, column in columns.items()} for i in rows]
        tasks, counts = outcome.between["task"], outcome.between["counts"]
        self._between = [(int(task), counts[:, e]) for e, task in enumerate(tasks)]


def finite_weights(learner: Learner) -> Tensor:
    """Mark the seeds whose weights are all finite, bool [S]. Checked besides the outputs, because
    spiking units have finite outputs even for weights that are not finite.
    """
    finite = torch.ones(len(learner.seeds), dtype=torch.bool, device=learner.device)
    for weight in learner.network.parameters():
        # the weights of a learner with max_stack 1 may lack the axis of seeds
        if weight.numel():
            finite &= weight.detach().reshape(len(finite), -1).isfinite().all(1)
    return finite


def _labelled_diagnostics(learner: Learner) -> dict[str, Array]:
    diagnosis = learner.diagnose()
    check_diagnosis(learner, diagnosis)
    return {
        # a copy, because the learner may go on to change the tensor
        f"{name}: {label}": values.detach().cpu().numpy().copy()
        for name, labels in diagnosis.items()
        for label, values in labels.items()
    }


def _columns(rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Return the arrays [S, ...] of each task, by name, as [S, I, ...]."""
    return {name: np.stack([row[name] for row in rows], axis=1) for name in rows[0]}


def _arrays(evaluation: Evaluation) -> dict[str, Array]:
    return {name: c.cpu().numpy().astype(np.uint32) for name, c in evaluation.counts.items()}
