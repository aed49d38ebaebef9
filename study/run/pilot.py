"""Choose how many seeds to train at once: time a few stack sizes for a moment."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence

import torch

from study.design import Design, Method
from trainables import find_learner
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.errors import reason
from trainables.learner import Learner
from trainables.streams import Task
from trainables.streams.datasets import Split

SIZES = (1, 2, 5, 10, 20, 30, 50, 100)
SECONDS = 0.25  # of timed steps for each size
WARM_UP = 5  # steps
BETWEEN = 5  # steps between two readings of the clock
LONG = 10.0  # seconds for one size, after which a larger size cannot be worth timing


@dataclasses.dataclass(frozen=True)
class Pilot:
    """The measurements of a pilot.

    Attributes:
        rates: seed-steps per second of each stack size that could be trained.
        problem: why the next size could not be trained.
        end_seconds: time of a seed to end a task, such as to fill its memory, by stack size.
        steps: steps of a task.
    """

    rates: dict[int, float]
    problem: str = ""
    end_seconds: dict[int, float] = dataclasses.field(default_factory=dict)
    steps: float = 1.0

    @property
    def fastest(self) -> int:
        """The stack size with the least time per seed and task.

        1 if no size could be timed: the trials will then show the problem.
        """

        def seconds(size: int) -> float:
            return self.steps / self.rates[size] + self.end_seconds.get(size, 0.0)

        return min(self.rates, key=seconds, default=1)


def pilot_work(design: Design, method: Method, phase: str = "confirm") -> Assignment:
    """Return the assignment of a pilot: the published defaults on a phase's stream, with
    validation data in place of test data.
    """
    seeds = design.spec.tune_seeds or design.spec.confirm_seeds
    work = design.assignment(method, method.configuration({}), phase, seeds)
    return dataclasses.replace(work, phase="tune", tasks=None, evaluate_every=0)


def stack_sizes(design: Design, method: Method) -> list[int]:
    """Return the stack sizes worth timing for a method of a study."""
    spec = design.spec
    fixed = spec.resources.seeds_per_stack
    if isinstance(fixed, int):
        return [fixed]
    seeds = max(len(spec.tune_seeds), len(spec.confirm_seeds))
    limit = min(seeds, method.kind.max_stack or seeds)
    return sorted({size for size in SIZES if size < limit} | {limit})


def run_pilot(
    work: Assignment, sizes: Sequence[int], data: dict[str, Split], device: str = "cpu"
) -> Pilot:
    """Time training steps of a learner with stacks of growing size.

    Stops at a size that takes long, or that cannot be trained: the stack is too large for the
    memory, or the learner raises.
    """
    rates: dict[int, float] = {}
    end_seconds: dict[int, float] = {}
    steps = 1.0
    for size in sizes:
        started = time.perf_counter()
        try:
            step, ending, steps = _time_training(Course(work, range(size), data, device))
        except Exception as error:
            return Pilot(rates, reason(error), end_seconds, steps)
        rates[size], end_seconds[size] = size / step, ending / size
        if time.perf_counter() - started > LONG:
            break
    return Pilot(rates, end_seconds=end_seconds, steps=steps)


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
