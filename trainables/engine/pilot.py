"""Time a few stack sizes for a moment, to choose how many seeds to train at once."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from trainables import find_learner
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.errors import reason
from trainables.learner import Learner
from trainables.streams import Task
from trainables.streams.datasets import Split

SECONDS = 0.25  # of timed steps for each size
WARM_UP = 5  # steps
BETWEEN = 5  # steps between two readings of the clock
LONG = 10.0  # seconds for one size, after which a larger size cannot be worth timing


@dataclasses.dataclass(frozen=True)
class Pilot:
    """The measurements of a pilot.

    Attributes:
        rates: seed-steps per second of each stack size that could be trained.
        problem: why no size could be trained; empty if one could.
        end_seconds: time of a seed to end a task, such as to fill its memory, by stack size.
        steps: steps of a task.
        peak_bytes: the most memory of a GPU that each stack size held.
        device: model of the device.
    """

    rates: dict[int, float]
    problem: str = ""
    end_seconds: dict[int, float] = dataclasses.field(default_factory=dict)
    steps: float = 1.0
    peak_bytes: dict[int, int] = dataclasses.field(default_factory=dict)
    device: str = "cpu"

    @property
    def fastest(self) -> int:
        """The stack size with the least time per seed and task.

        1 if no size could be timed: the trials will then show the problem.
        """

        def seconds(size: int) -> float:
            return self.steps / self.rates[size] + self.end_seconds.get(size, 0.0)

        return min(self.rates, key=seconds, default=1)

    def encoded(self) -> str:
        """Return the measurements as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def decoded(cls, text: str) -> Pilot:
        """Return the measurements that are encoded in a text."""
        values = json.loads(text)
        by_size = {name: _by_number(x) for name, x in values.items() if isinstance(x, dict)}
        return cls(**(values | by_size))


def _by_number(values: Mapping[str, Any]) -> dict[int, Any]:
    """Return values whose keys are numbers again; JSON has only texts as keys."""
    return {int(size): value for size, value in values.items()}


def run_pilot(
    work: Assignment,
    sizes: Sequence[int],
    data: dict[str, Split],
    device: str = "cpu",
    share: float = 1.0,
) -> Pilot:
    """Time training steps of a learner with stacks of growing size.

    Stops at a size that takes long, or that cannot be trained: it needs more memory than a trial
    may use, or the learner raises.

    Args:
        share: of the memory of a GPU that a trial may use; 1 for a whole GPU or more.
    """
    rates: dict[int, float] = {}
    end_seconds: dict[int, float] = {}
    peaks: dict[int, int] = {}
    steps, problem = 1.0, ""
    for size in sizes:
        started = time.perf_counter()
        try:
            with _peak_memory(device, share) as peak:
                step, ending, steps = _time_training(Course(work, range(size), data, device))
        except (Exception, SystemExit) as error:  # `exit()` in a learner must not end a worker
            problem = "" if rates else reason(error)
            break
        rates[size], end_seconds[size] = size / step, ending / size
        if peak:
            peaks[size] = peak[0]
        if time.perf_counter() - started > LONG:
            break
    return Pilot(rates, problem, end_seconds, steps, peaks, device_model(device))


@contextlib.contextmanager
def _peak_memory(device: str, share: float) -> Iterator[list[int]]:
    """Yield a list that holds the most bytes of a GPU that a block used, once the block has ended.

    Raises:
        MemoryError: if that is more than the share of a trial.
    """
    peak: list[int] = []
    if device == "cpu":
        yield peak
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield peak
    peak.append(torch.cuda.max_memory_reserved())
    limit = share * torch.cuda.get_device_properties(0).total_memory
    if peak[0] > limit:
        raise MemoryError(f"{peak[0]} bytes of a GPU, of which a trial may use {limit:.0f}")


def device_model(device: torch.device | str) -> str:
    """Return the model name of a GPU, or "cpu"."""
    name = torch.device(device)
    return torch.cuda.get_device_name(name) if name.type == "cuda" else "cpu"


def has_own_loop(learner: str) -> bool:
    """Whether a learner overrides the training loop, which a pilot does not time."""
    kind = find_learner(learner)
    return kind.learn is not Learner.learn and not kind.offline


def steps_per_trial(course: Course, first: int = 0) -> int:
    """Return the number of optimisation steps of a seed over the stream, from task ``first`` on."""
    batch: int = course.learner.config.batch_size
    tasks = range(first, course.tasks)
    return sum(course.learner.epochs(t) * course.stream.task(t).steps(batch) for t in tasks)


def _time_training(course: Course) -> tuple[float, float, float]:
    """Return the seconds of a step of the second task, the seconds to end the first task, and the
    steps of a task.

    Steps of the first task are not typical: memories are empty and no earlier task is protected.
    """
    learner, first, second = course.learner, course.task(0), course.task(min(1, course.tasks - 1))
    steps = steps_per_trial(course) / course.tasks
    if first.free:
        _seconds_per_step(course, first, WARM_UP, 0.0)
        return _seconds_per_step(course, second, WARM_UP, SECONDS), 0.0, steps
    learner.begin_task(first)
    _seconds_per_step(course, first, WARM_UP, 0.0)
    started = time.perf_counter()
    learner.end_task(first)
    _synchronise(course)
    ending = time.perf_counter() - started
    learner.begin_task(second)
    return _seconds_per_step(course, second, WARM_UP, SECONDS), ending, steps


def _seconds_per_step(course: Course, task: Task, unmeasured: int, seconds: float) -> float:
    """Take steps for some seconds, after some unmeasured steps; return the seconds of a step."""
    size = course.learner.config.batch_size
    batches = (batch for _ in itertools.repeat(None) for batch in task.batches(1, size))
    for batch in itertools.islice(batches, unmeasured):
        course.learner.observe(batch)
    _synchronise(course)
    started, taken = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for batch in itertools.islice(batches, BETWEEN):
            course.learner.observe(batch)
        _synchronise(course)
        taken += BETWEEN
    return (time.perf_counter() - started) / max(taken, 1)


def _synchronise(course: Course) -> None:
    if course.stream.device.type == "cuda":
        torch.cuda.synchronize(course.stream.device)
