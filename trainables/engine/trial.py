"""The Ray Tune trainable: one for all learners, one step a task. Only this file knows of Ray."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import pickle
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import tune

from analysis.metrics import METRICS
from trainables import find_learner
from trainables.engine.assignment import Assignment, foundation_key
from trainables.engine.course import Course
from trainables.engine.foundation import joined
from trainables.engine.outcome import Outcome, stacked
from trainables.errors import reason

CHECKPOINT_SECONDS = 1.0  # a checkpoint costs about a tenth of that


class Trial(tune.Trainable):  # type: ignore[misc]
    """Trains all seeds of one configuration, in stacks one after the other.

    Configuration: ``work`` (fields of an :class:`Assignment`), ``name`` (of its folder), ``stack``
    (seeds trained at once), ``objectives`` (what a sweep optimises), ``storage`` (folder of the
    experiment), ``foundation`` (whether others want what the first task leaves behind). ``data``
    and ``pretrained`` (first tasks that were learnt before, by :func:`foundation_key`) come from
    the object store.

    Each step reports ``task`` (tasks learnt), ``scores`` (the objectives so far, means over seeds),
    ``score`` (the first one), ``curve`` (the first one after each task), ``outcome`` (everything
    measured so far), ``torch`` (its version) and ``device`` (its model); the last one of a
    pre-training ``foundation`` too. An exception inside a learner is a result too: ``failure`` (its
    traceback) and ``reason`` (a line). A signal that ends the process, as of a segmentation fault,
    leaves word of itself in ``<storage>/<name>.crash``.
    """

    crash_file: io.TextIOBase | None = None

    def setup(self, config: dict[str, Any], data: Any = None, pretrained: Any = None) -> None:
        self.data, self.pretrained = data, pretrained or {}
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._start(new_config)
        return True

    def _start(self, config: dict[str, Any]) -> None:
        self.settings = config
        self.work = Assignment(**config["work"])
        self.device = torch.device("cuda" if config.get("gpus") else "cpu")
        self.courses: list[Course] = []
        self.failure = self.reason = ""
        self.resumed = 0  # tasks that were learnt when this worker took over
        self.saved = time.monotonic()
        self._report_crashes()
        try:
            self._resume()
        except (Exception, SystemExit) as error:
            self._fail(error)

    def _report_crashes(self) -> None:
        """Let Python write down which signal ends this process: nobody else is told of it."""
        if self.crash_file is not None:
            self.crash_file.close()
        path = Path(self.settings["storage"]) / f"{self.settings['name']}.crash"
        with contextlib.suppress(OSError):  # it is of use, and not needed
            self.crash_file = path.open("w", encoding="utf-8")
            faulthandler.enable(self.crash_file)

    def _fail(self, error: BaseException) -> None:
        self.failure, self.reason = traceback.format_exc(), reason(error)

    def _build(self) -> None:
        limit = find_learner(self.work.learner).max_stack or len(self.work.seeds)
        size = max(min(self.settings["stack"], limit), 1)
        stacks = [self.work.seeds[i : i + size] for i in range(0, len(self.work.seeds), size)]
        found = self.pretrained.get(foundation_key(self.work))
        self.courses = [
            Course(self.work, stack, self.data, self.device, found and found.of(stack))
            for stack in stacks
        ]

    def step(self) -> dict[str, Any]:
        if not self.failure:
            try:
                return self._advance()
            except (Exception, SystemExit) as error:  # `exit()` in a learner ends no worker
                self._fail(error)
        return {
            "done": True,
            "failure": self.failure,
            "reason": self.reason,
            "score": float("nan"),
            "task": 0,
        }

    def _advance(self) -> dict[str, Any]:
        for course in self.courses:
            course.advance()
        outcome = stacked([course.outcome() for course in self.courses])
        objectives = self.settings["objectives"]
        scores = objective_values(outcome, objectives, outcome.rows)
        due = time.monotonic() - self.saved > CHECKPOINT_SECONDS
        wanted = self.settings.get("foundation")
        parts = [course.foundation() for course in self.courses] if wanted else []
        return {
            "task": outcome.rows,
            "score": scores[0],
            "scores": scores,
            "curve": [
                objective_values(outcome, objectives[:1], tasks)[0]
                for tasks in range(1, outcome.rows + 1)
            ],
            "outcome": outcome.to_bytes(),
            "done": self.courses[0].done,
            "should_checkpoint": due and not self.courses[0].done,
            "resumed": self.resumed,
            "foundation": joined(parts).to_bytes() if parts else b"",
            "torch": torch.__version__,
            "device": device_model(self.device),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        folder = Path(checkpoint_dir)
        outcome = stacked([course.outcome() for course in self.courses])
        (folder / "outcome.h5").write_bytes(outcome.to_bytes())
        torch.save([course.learner.state() for course in self.courses], folder / "learners.pt")
        self.saved = time.monotonic()

    def load_checkpoint(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        outcome = Outcome.from_bytes((folder / "outcome.h5").read_bytes())
        states = torch.load(folder / "learners.pt", weights_only=True, map_location=self.device)
        self._build()
        self.resumed = outcome.rows
        first = 0
        for course, state in zip(self.courses, states, strict=True):
            size = len(course.learner.seeds)
            course.restore(outcome.seeds_from(first, first + size), state)
            first += size

    def _resume(self) -> None:
        """Go on from the last whole checkpoint an interrupted run of this trial left, if any."""
        storage = Path(self.settings["storage"])
        found = storage.glob(f"{self.settings['name']}*/checkpoint_*")
        for folder in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
            try:
                self.load_checkpoint(str(folder))
                return
            except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
                continue  # cut off while it was written: the one before will do
        self._build()


def device_model(device: torch.device) -> str:
    """Return what a device is called by its maker; of a CPU that it is one."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def objective_values(outcome: Outcome, objectives: list[str], tasks: int) -> list[float]:
    """Mean over seeds of each objective after so many tasks; NaN once a seed diverged."""
    counts = next(iter(outcome.counts.values()))[:, :tasks, :tasks]
    finite = outcome.finite[:, :tasks].all()
    values = []
    for name in objectives:
        if name == "memory_bytes":
            values.append(float(outcome.footprint["memory"][tasks - 1]))
        else:
            values.append(float(np.mean(METRICS[name](counts))) if finite else np.nan)
    return values
