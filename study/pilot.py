"""How many seeds to train at once: a short timed trial of a few stack sizes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import torch

from trainables.course import Assignment, Course
from trainables.streams.datasets import Split

SIZES = (1, 2, 5, 10, 20, 30, 50, 100)
SECONDS = 0.25  # of timed steps, per size
WARM_UP = 5  # steps


def candidates(seeds: int, max_stack: int | None) -> list[int]:
    """Return the stack sizes worth timing for so many seeds."""
    limit = min(seeds, max_stack or seeds)
    return sorted({size for size in SIZES if size < limit} | {limit})


def measure(
    work: Assignment, sizes: Sequence[int], data: dict[str, Split], device: str = "cpu"
) -> dict[int, float]:
    """Time training steps of a learner; return seed-steps per second of each stack size that fits
    in memory.
    """
    rates: dict[int, float] = {}
    for size in sizes:
        try:
            rates[size] = size / _seconds_per_step(Course(work, range(size), data, device))
        except (torch.OutOfMemoryError, MemoryError):
            break
    return rates


def fastest(rates: dict[int, float]) -> int:
    """Return the stack size with the most seed-steps per second."""
    return max(rates, key=lambda size: rates[size])


def steps_per_trial(course: Course) -> int:
    """Number of optimisation steps a seed takes over the whole stream."""
    config: Any = course.learner.config
    sizes = [course.stream.task(t).size for t in range(course.tasks)]
    return sum(config.epochs * -(-size // config.batch_size) for size in sizes)


def _seconds_per_step(course: Course) -> float:
    learner, task = course.learner, course.stream.task(0, union=course.learner.offline)
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
