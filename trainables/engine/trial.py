"""The Ray Tune trainable of all learners; one step is one task. Only this file imports Ray."""

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
import ray
import torch
from ray import tune

from analysis.metrics import METRICS
from trainables import find_learner
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.engine.foundation import joined
from trainables.engine.machine import host, processor
from trainables.engine.outcome import (
    OBJECTIVES_IN_BYTES,
    OBJECTIVES_IN_DIAGNOSTICS,
    Outcome,
    stacked,
)
from trainables.engine.pilot import device_model, run_pilot
from trainables.errors import reason

CHECKPOINT_SECONDS = 1.0  # least time between checkpoints, each of which takes about 0.1 s

FILE = "learners.pt"  # of the learners' states in a checkpoint
# an incomplete checkpoint, or one of an earlier version
UNREADABLE = (
    OSError,
    KeyError,
    TypeError,
    RuntimeError,
    ValueError,
    EOFError,
    pickle.UnpicklingError,
)


class Trial(tune.Trainable):  # type: ignore[misc]
    """Trains all seeds of one configuration, one stack after the other.

    Configuration:
        work: fields of an :class:`Assignment`.
        name: name of the trial's folder.
        data: a list of one reference to the splits that the trial may read, in Ray's object store.
            A trial of a sweep has no reference to test data.
        pretrained: a list of at most one reference to a :class:`Foundation` for the first task.
        stack: seeds trained at once; ``stacks`` has other sizes by model of the device.
        cpus, gpus: number of CPUs and GPUs, or the share of one.
        objectives: metrics that a sweep optimises.
        storage: folder of the experiment.
        foundation: whether to report the foundation, for other trials.
        pilot: stack sizes to time for a moment, instead of running the trial.

    Every step reports ``task`` (tasks learnt), ``scores`` (objectives so far, means over seeds),
    ``score`` (the first objective), ``curve`` (the first objective after each task), ``outcome``
    (all measurements so far), ``resumed`` (tasks learnt before this worker took over),
    ``foundation``, ``torch`` (its version), ``device`` (its model), ``host`` and ``processor`` (of
    the machine). An exception in a learner is reported as ``failure`` (traceback) and ``reason``
    (one line). A fatal signal, such as a segmentation fault, is recorded in
    ``<storage>/<name>.crash``. A pilot has a single step, which reports ``pilot``: an encoded
    :class:`Pilot`.
    """

    crash_file: io.TextIOBase | None = None

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return what a trial asks of Ray."""
        return tune.PlacementGroupFactory([{"CPU": config["cpus"], "GPU": config["gpus"]}])

    def setup(self, config: dict[str, Any]) -> None:
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._start(new_config)
        return True

    def _start(self, config: dict[str, Any]) -> None:
        self.settings = config
        self.work = Assignment(**config["work"])
        self.device = torch.device("cuda" if config.get("gpus") else "cpu")
        # nothing of the trial before stays: it may have had test data
        self.courses: list[Course] = []
        [self.data] = map(fetched, config["data"])
        self.pretrained = next(map(fetched, config.get("pretrained", [])), None)
        self.failure = self.reason = ""
        self.resumed = 0  # tasks learnt before this worker took over
        self.saved_at = time.monotonic()
        self._report_crashes()
        if config.get("pilot"):
            return
        try:
            self._resume()
        except (Exception, SystemExit) as error:
            self._fail(error)

    def _report_crashes(self) -> None:
        """Let Python record a fatal signal in a file: the driver does not learn which signal ended
        the process.
        """
        if self.crash_file is not None:
            self.crash_file.close()
        path = Path(self.settings["storage"]) / f"{self.settings['name']}.crash"
        with contextlib.suppress(OSError):  # the record is optional
            self.crash_file = path.open("w", encoding="utf-8")
            faulthandler.enable(self.crash_file)

    def _fail(self, error: BaseException) -> None:
        self.failure, self.reason = traceback.format_exc(), reason(error)

    def _stack_size(self) -> int:
        """Return the number of seeds to train at once."""
        limit = find_learner(self.work.learner).max_stack or len(self.work.seeds)
        by_model = self.settings.get("stacks", {})
        size = by_model.get(device_model(self.device), self.settings["stack"])
        return int(max(min(size, limit), 1))

    def _build(self, size: int) -> None:
        stacks = [self.work.seeds[i : i + size] for i in range(0, len(self.work.seeds), size)]
        foundation = self.pretrained
        self.courses = [
            Course(self.work, stack, self.data, self.device, foundation and foundation.of(stack))
            for stack in stacks
        ]

    def step(self) -> dict[str, Any]:
        if sizes := self.settings.get("pilot"):
            return {"done": True, "score": float("nan"), "pilot": self._time_stacks(sizes)}
        if not self.failure:
            try:
                return self._advance()
            except (Exception, SystemExit) as error:  # `exit()` in a learner must not end a worker
                self._fail(error)
        return {
            "done": True,
            "failure": self.failure,
            "reason": self.reason,
            "score": float("nan"),
            "task": 0,
        }

    def _time_stacks(self, sizes: list[int]) -> str:
        share = min(self.settings["gpus"], 1.0) or 1.0
        return run_pilot(self.work, sizes, self.data, self.device.type, share).encoded()

    def _advance(self) -> dict[str, Any]:
        for course in self.courses:
            course.advance()
        outcome = stacked([course.outcome() for course in self.courses])
        objectives = self.settings["objectives"]
        scores = objective_values(outcome, objectives, outcome.rows)
        shared = self.settings.get("foundation")
        foundations = [course.foundation() for course in self.courses] if shared else []
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
            "should_checkpoint": self._checkpoint_is_due(),
            "resumed": self.resumed,
            "foundation": joined(foundations).to_bytes() if foundations else b"",
            "torch": torch.__version__,
            "device": device_model(self.device),
            "host": host(),
            "processor": processor(),
        }

    def _checkpoint_is_due(self) -> bool:
        old = time.monotonic() - self.saved_at > CHECKPOINT_SECONDS
        return old and not self.courses[0].done

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        folder = Path(checkpoint_dir)
        outcome = stacked([course.outcome() for course in self.courses])
        (folder / "outcome.h5").write_bytes(outcome.to_bytes())
        states = [course.learner.state() for course in self.courses]
        torch.save({"stack": len(self.courses[0].learner.seeds), "states": states}, folder / FILE)
        self.saved_at = time.monotonic()

    def load_checkpoint(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        outcome = Outcome.from_bytes((folder / "outcome.h5").read_bytes())
        saved = torch.load(folder / FILE, weights_only=True, map_location=self.device)
        # A pilot may have ended since. One seed at a time is asked for where memory ran out.
        size = self._stack_size()
        self._build(size if size == 1 else saved["stack"])
        states = saved["states"]
        self.resumed = outcome.rows
        first = 0
        for course, state in zip(self.courses, states, strict=True):
            size = len(course.learner.seeds)
            course.restore(outcome.seeds_from(first, first + size), state)
            first += size

    def _resume(self) -> None:
        """Continue from the last complete checkpoint of an interrupted run, if there is one."""
        storage = Path(self.settings["storage"])
        folders = storage.glob(f"{self.settings['name']}*/checkpoint_*")
        for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True):
            try:
                self.load_checkpoint(str(folder))
                return
            except UNREADABLE:
                self.resumed = 0
                continue  # or of other stacks: try the checkpoint before
        self._build(self._stack_size())


def fetched(reference: Any) -> Any:
    """Return the object behind a reference of Ray; anything else, as in a test, is returned as it
    is.
    """
    return ray.get(reference) if isinstance(reference, ray.ObjectRef) else reference


def objective_values(outcome: Outcome, objectives: list[str], tasks: int) -> list[float]:
    """Return the mean over seeds of each objective after ``tasks`` tasks; NaN once a seed has
    diverged, except for bytes.
    """
    counts = next(iter(outcome.counts.values()))[:, :tasks, :tasks]
    finite = outcome.finite[:, :tasks].all()
    values = []
    for name in objectives:
        if name in OBJECTIVES_IN_BYTES:
            held = outcome.footprint[OBJECTIVES_IN_BYTES[name]]
            values.append(float(held[:, tasks - 1].mean()))
        elif name in OBJECTIVES_IN_DIAGNOSTICS:
            of_each = outcome.extras[OBJECTIVES_IN_DIAGNOSTICS[name]]
            values.append(float(of_each[:, tasks - 1].mean()) if finite else np.nan)
        else:
            values.append(float(np.mean(METRICS[name](counts))) if finite else np.nan)
    return values
