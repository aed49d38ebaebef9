"""What a step of every learner costs, alone and ten seeds at once, and what it does after a task.

    python tests/benchmarks/learners.py                       a table
    python tests/benchmarks/learners.py --learners fssg gem   of some

Default configurations but for equal networks and batches (784-400-400-10, 64), in the second task
of a class-incremental stream of 2,000 noise images a task: memories are filled, teachers are there.
One thread; processor time a seed, beside a step of finetune alone in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from training import noise_stream, rate

from trainables import LEARNERS, Learner
from trainables.streams import Batch, Stream

STACKS = (1, 10)
ROUNDS = 3
COMMON = {"hidden": [400, 400], "batch_size": 64, "memory_total": 1000, "memory_per_task": None}


def in_second_task(name: str, stack: int) -> tuple[Learner, Stream, float]:
    """Return a learner that has learnt one task, and the seconds a seed it took after the last
    step: end of the task, and the first answer.
    """
    stream = noise_stream(784, 1000, stack)
    kind = LEARNERS[name]
    fields = kind.Config.fields()
    values: dict[str, Any] = {k: v for k, v in COMMON.items() if k in fields}
    learner = kind(kind.Config.parse(values), stream.info, stream.seeds)
    task = stream.task(0, union=stream.tasks if learner.offline else 0)
    learner.begin_task(task)
    for batch in task.batches(1, 64):
        learner.observe(batch)
    started = time.process_time()
    learner.end_task(task)
    with torch.no_grad():
        learner.predict(stream.gather(stream.scored(0)[0][:, :64], scored=True)[0], None)
    return learner, stream, (time.process_time() - started) / stack


def endless(learner: Learner, stream: Stream) -> Iterator[Batch]:
    """Begin the second task and go round it for ever."""
    task = stream.task(1, union=stream.tasks if learner.offline else 0)
    learner.begin_task(task)
    while True:
        yield from task.batches(1, 64)


def measure(name: str, stack: int) -> tuple[float, float]:
    """Milliseconds of a step, and seconds after a task, both a seed."""
    learner, stream, after = in_second_task(name, stack)
    batches = endless(learner, stream)

    def steps(count: int) -> None:
        for _ in range(count):
            learner.observe(next(batches))

    steps(15)
    return statistics.median(1e3 / rate(steps) / stack for _ in range(ROUNDS)), after


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS), choices=list(LEARNERS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    unit, _ = measure("finetune", 1)
    print("milliseconds of a step a seed; of finetune alone; seconds a seed after a task")
    for name in arguments.learners:
        for stack in STACKS:
            step, after = measure(name, stack)
            print(f"{name:10} stack {stack:3}  {step:8.2f}  {step / unit:6.2f}  {after:8.2f}")


if __name__ == "__main__":
    main()
