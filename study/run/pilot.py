"""How many seeds to train at once: a short timed trial of a few stack sizes."""

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
SECONDS = 0.25  # of timed steps, per size
WARM_UP = 5  # steps
BETWEEN = 5  # steps between two looks at the clock
LONG = 10.0  # seconds after which a size has taken so long that a larger one has nothing to gain


@dataclasses.dataclass(frozen=True)
class Pilot:
    """Seed-steps per second of each stack size that could be trained, and what stopped the next;
    ``ends``: seconds it takes a seed to end a task, such as to choose what is kept of it; ``steps``
    of a task.
    """

    rates: dict[int, float]
    problem: str = ""
    ends: dict[int, float] = dataclasses.field(default_factory=dict)
    steps: float = 1.0

    @property
    def fastest(self) -> int:
        """The stack size that takes a seed least time for a task; one seed where nothing could be
        timed, so that the trials themselves tell why.
        """

        def seconds(size: int) -> float:
            return self.steps / self.rates[size] + self.ends.get(size, 0.0)

        return min(self.rates, key=seconds, default=1)


def pilot_work(design: Design, method: Method, phase: str = "confirm") -> Assignment:
    """Return what a pilot trains: the published defaults on the stream of a phase, without a test
    set.
    """
    seeds = design.spec.tune_seeds or design.spec.confirm_seeds
    work = design.assignment(method, method.configuration({}), phase, seeds)
    return dataclasses.replace(work, phase="tune", tasks=None, evaluate_every=0)


def sizes(design: Design, method: Method) -> list[int]:
    """Return the stack sizes worth timing for a method of a study."""
    spec = design.spec
    given = spec.resources.seeds_per_stack
    if isinstance(given, int):
        return [given]
    seeds = max(len(spec.tune_seeds), len(spec.confirm_seeds))
    limit = min(seeds, method.kind.max_stack or seeds)
    return sorted({size for size in SIZES if size < limit} | {limit})


def measure(
    work: Assignment, sizes: Sequence[int], data: dict[str, Split], device: str = "cpu"
) -> Pilot:
    """Time training steps of a learner with stacks of growing size, until one takes long or cannot
    be trained: too large for the memory, or the learner raises.
    """
    rates: dict[int, float] = {}
    ends: dict[int, float] = {}
    steps = 1.0
    for size in sizes:
        started = time.perf_counter()
        try:
            step, ending, steps = _timed(Course(work, range(size), data, device))
        except Exception as error:
            return Pilot(rates, reason(error), ends, steps)
        rates[size], ends[size] = size / step, ending / size
        if time.perf_counter() - started > LONG:
            break
    return Pilot(rates, ends=ends, steps=steps)


def has_own_loop(learner: str) -> bool:
    """Whether a learner trains elsewhere than in its steps, where a pilot does not look."""
    kind = find_learner(learner)
    return kind.learn is not Learner.learn and not kind.offline


def steps_per_trial(course: Course, first: int = 0) -> int:
    """Number of optimisation steps a seed takes over the stream, from task ``first`` on."""
    batch: int = course.learner.config.batch_size
    every = range(first, course.tasks)
    return sum(course.learner.epochs(t) * course.stream.task(t).steps(batch) for t in every)


def _timed(course: Course) -> tuple[float, float, float]:
    """Return the seconds of a step of the second task, those it takes to end the first, and the
    steps of a task.

    While the first task is learnt, memories are empty and there is nothing to protect.
    """
    learner, first, second = course.learner, course.task(0), course.task(min(1, course.tasks - 1))
    steps = steps_per_trial(course) / course.tasks
    if first.free:
        _steps(course, first, WARM_UP, 0.0)
        return _steps(course, second, WARM_UP, SECONDS), 0.0, steps
    learner.begin_task(first)
    _steps(course, first, WARM_UP, 0.0)
    started = time.perf_counter()
    learner.end_task(first)
    _wait(course)
    ending = time.perf_counter() - started
    learner.begin_task(second)
    return _steps(course, second, WARM_UP, SECONDS), ending, steps


def _steps(course: Course, task: Task, unmeasured: int, seconds: float) -> float:
    """Take some steps unmeasured, then go on for so many seconds; return the seconds of a step."""
    size = course.learner.config.batch_size
    batches = (batch for _ in itertools.repeat(None) for batch in task.batches(1, size))
    for batch in itertools.islice(batches, unmeasured):
        course.learner.observe(batch)
    _wait(course)
    started, taken = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for batch in itertools.islice(batches, BETWEEN):
            course.learner.observe(batch)
        _wait(course)
        taken += BETWEEN
    return (time.perf_counter() - started) / max(taken, 1)


def _wait(course: Course) -> None:
    if course.stream.device.type == "cuda":
        torch.cuda.synchronize(course.stream.device)
