"""How many seeds to train at once: a short timed trial of a few stack sizes."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import Any

import torch

from study import plan
from study.plan import Method
from study.spec import Spec
from trainables import find_learner
from trainables.course import Assignment, Course
from trainables.streams.datasets import Split

SIZES = (1, 2, 5, 10, 20, 30, 50, 100)
SECONDS = 0.25  # of timed steps, per size
WARM_UP = 5  # steps


@dataclasses.dataclass(frozen=True)
class Pilot:
    """Seed-steps per second of each stack size that could be trained, and what stopped the next."""

    rates: dict[int, float]
    problem: str = ""

    @property
    def fastest(self) -> int:
        """The stack size with the most seed-steps per second; one seed where nothing could be
        timed, so that the trials themselves tell why.
        """
        return max(self.rates, key=lambda size: self.rates[size], default=1)


def pilot_work(spec: Spec, method: Method, phase: str = "confirm") -> Assignment:
    """Return what a pilot trains: the published defaults on the stream of a phase, without a test
    set.
    """
    seeds = spec.tune_seeds or spec.confirm_seeds
    work = plan.assignment(spec, method, plan.configuration(method, {}), "tune", seeds)
    stream = plan.tune_stream(spec) if phase == "tune" else spec.study.stream
    return dataclasses.replace(work, stream=stream, tasks=None)


def sizes(spec: Spec, method: Method) -> list[int]:
    """Return the stack sizes worth timing for a method of a study."""
    given = spec.resources.seeds_per_stack
    if isinstance(given, int):
        return [given]
    seeds = max(len(spec.tune_seeds), len(spec.confirm_seeds))
    limit = min(seeds, find_learner(method.learner).max_stack or seeds)
    return sorted({size for size in SIZES if size < limit} | {limit})


def measure(
    work: Assignment, sizes: Sequence[int], data: dict[str, Split], device: str = "cpu"
) -> Pilot:
    """Time training steps of a learner with stacks of growing size, until one cannot be trained:
    too large for the memory, or the learner raises.
    """
    rates: dict[int, float] = {}
    for size in sizes:
        try:
            rates[size] = size / _seconds_per_step(Course(work, range(size), data, device))
        except Exception as error:
            return Pilot(rates, f"{type(error).__name__}: {error}")
    return Pilot(rates)


def steps_per_trial(course: Course) -> int:
    """Number of optimisation steps a seed takes over the whole stream."""
    config: Any = course.learner.config
    sizes = [course.stream.task(t).size for t in range(course.tasks)]
    return sum(config.epochs * -(-size // config.batch_size) for size in sizes)


def _seconds_per_step(course: Course) -> float:
    learner, task = course.learner, course.task(0)
    if not task.free:
        learner.begin_task(task)
    again = itertools.repeat(None)
    steps, started = 0, 0.0
    for batch in (b for _ in again for b in task.batches(1, learner.config.batch_size)):
        learner.observe(batch)
        steps += 1
        if steps == WARM_UP:
            _wait(course)
            started = time.perf_counter()
        if steps > WARM_UP and steps % 5 == 0:
            _wait(course)
            if time.perf_counter() - started > SECONDS:
                break
    return (time.perf_counter() - started) / (steps - WARM_UP)


def _wait(course: Course) -> None:
    if course.stream.device.type == "cuda":
        torch.cuda.synchronize(course.stream.device)
