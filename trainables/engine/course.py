"""A learner on its way through a stream: learn a task, test, keep what was measured. No Ray."""

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
    """One stack of seeds on its way through a stream, task by task.

    Args:
        work: what is computed.
        seeds: those of the stack.
        data: what the phase may read of the data set.
        pretrained: what the first task left behind in another trial, [S, ...], by name; None: it
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
        self._rows: list[dict[str, float]] = []  # seconds, samples, trained, footprint of each task
        self._between: list[tuple[int, Array]] = []
        self._extras: list[dict[str, Array]] = []

    @property
    def done(self) -> bool:
        return len(self._rows) >= self.tasks

    def advance(self) -> None:
        """Learn the next task and test on all of them."""
        started, index, learner = time.perf_counter(), len(self._rows), self.learner
        if not self._initial:
            self._initial = _arrays(evaluate(learner, self.stream, self._learnt(0)))
        trained = learner.trained
        task = self.task(index)
        if self.work.evaluate_every:
            task.after_step = self._watch
        learner.losses.zero_()
        self.learn(task)
        check_learnt(learner, trained)
        if not index:
            check_state(learner, learner.state())
        result = evaluate(learner, self.stream, self._learnt(index + 1))
        self._counts.append(_arrays(result))
        finite = result.finite & learner.losses.isfinite() & finite_weights(learner)
        self._finite.append(finite.cpu().numpy())
        self._extras.append(self._diagnosed())
        row = {"samples": task.samples, "trained": learner.trained - trained, **self._held()}
        self._rows.append({"seconds": time.perf_counter() - started, **row})

    def task(self, index: int) -> Task:
        """Return a task as the learner is given it: an offline one sees all of them at once."""
        return self.stream.task(index, union=self.tasks if self.learner.offline else 0)

    def _learnt(self, tasks: int) -> int:
        return self.tasks if self.learner.offline else tasks

    def learn(self, task: Task) -> None:
        """Train on a task; apart from the rest so that its share of the time can be measured."""
        self.learner.learn(task)

    def _held(self) -> dict[str, int]:
        """Bytes a seed holds, by kind."""
        held = self.learner.footprint()
        check_footprint(self.learner, held)
        return held

    def _watch(self, task: Task) -> None:
        if task.steps_done % self.work.evaluate_every == 0:
            index = len(self._rows)
            counts = _arrays(evaluate(self.learner, self.stream, self._learnt(index + 1)))[
                self.learner.readouts[0]
            ]
            self._between.append((index, counts))

    def _diagnosed(self) -> dict[str, Array]:
        found = _labelled(self.learner)
        for name, values in found.items():
            for known in (row[name].shape for row in self._extras if name in row):
                if known != values.shape:
                    raise InputError(
                        f"diagnostic '{name}': of shape {values.shape} after this task and "
                        f"{known} after another; a label has one size."
                    )
        return found

    def outcome(self) -> Outcome:
        """Return what was measured so far."""
        column = {name: np.array([row[name] for row in self._rows]) for name in self._rows[0]}
        names, size = self.learner.readouts, self.stream.info.outputs
        stack = len(self.learner.seeds)
        within = [counts for _, counts in self._between]
        empty = np.zeros((stack, 0, self.stream.tasks, size, size), dtype=np.uint32)
        return Outcome(
            seeds=np.array(self.learner.seeds),
            counts={name: np.stack([row[name] for row in self._counts], axis=1) for name in names},
            initial=self._initial,
            finite=np.stack(self._finite, axis=1),
            seconds=column.pop("seconds"),
            samples=column.pop("samples"),
            trained=column.pop("trained"),
            footprint=column,
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
        """Return what the first task left behind; to be asked after it, and before the second."""
        found = self.learner.foundation()
        check_foundation(self.learner, found)
        return Foundation(
            seeds=np.array(self.learner.seeds),
            arrays={label: tensor.detach().cpu().numpy().copy() for label, tensor in found.items()},
        )

    def restore(self, outcome: Outcome, state: Mapping[str, Any]) -> None:
        """Continue after the tasks an outcome covers, with the learner's state then."""
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
        columns |= outcome.footprint
        self._rows = [{name: column[i].item() for name, column in columns.items()} for i in rows]
        tasks, counts = outcome.between["task"], outcome.between["counts"]
        self._between = [(int(task), counts[:, e]) for e, task in enumerate(tasks)]


def finite_weights(learner: Learner) -> Tensor:
    """Which seeds have nothing but finite weights, [S]: units that answer to a threshold give
    finite outputs whatever their weights.
    """
    finite = torch.ones(len(learner.seeds), dtype=torch.bool, device=learner.device)
    for weight in learner.network.parameters():
        # a learner of one seed may have weights without an axis for it
        finite &= weight.detach().reshape(len(finite), -1).isfinite().all(1)
    return finite


def _labelled(learner: Learner) -> dict[str, Array]:
    diagnosis = learner.diagnose()
    check_diagnosis(learner, diagnosis)
    return {
        # a copy: it may be what the learner goes on with
        f"{name}: {label}": values.detach().cpu().numpy().copy()
        for name, labels in diagnosis.items()
        for label, values in labels.items()
    }


def _arrays(evaluation: Evaluation) -> dict[str, Array]:
    return {name: c.cpu().numpy().astype(np.uint32) for name, c in evaluation.counts.items()}
