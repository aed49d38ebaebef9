"""What a sleep costs beside the training of the same task, alone and ten seeds at once.

    python tests/benchmarks/sleep.py DATA              the port's settings, DATA holding MNIST
    python tests/benchmarks/sleep.py DATA --tasks 1    the first task alone

784-4000-4000-10, 5,000 images a task, two epochs in batches of 100; sleeps of 500 steps and more.
One thread; processor time a seed. Without tests.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from trainables import STREAMS
from trainables.methods.sleep.sleep import Sleep
from trainables.methods.sleep.sleep_replay import SleepReplay
from trainables.nn import MLP
from trainables.streams import Task
from trainables.streams.datasets import Split, load

STACKS = (1, 10)


class TimedSleep(Sleep):
    """A sleep that knows how many seconds the last one took."""

    seconds = 0.0

    def sleep(self, task: Task, network: MLP, steps: int) -> None:
        """Sleep, by the clock."""
        started = time.process_time()
        super().sleep(task, network, steps)
        self.seconds = time.process_time() - started


class Timed(SleepReplay):
    """Sleep replay with a sleep that is timed."""

    asleep: TimedSleep

    def prepare(self) -> None:
        """Hold the timed sleep."""
        super().prepare()
        config, stream = self.config, self.stream
        self.asleep = TimedSleep(config, stream, self.seeds, self.device, self.encode)


def measure(data: dict[str, Split], stack: int, tasks: int) -> None:
    """Print a line a task."""
    kind = STREAMS["split_mnist"]
    options = kind.Options.parse({"samples_per_task": 5000})
    stream = kind(data, "class", range(stack), "confirm", options)
    learner = Timed(Timed.Config.parse({}), stream.info, stream.seeds)
    for index in range(tasks):
        started = time.process_time()
        learner.learn(stream.task(index))
        asleep = learner.asleep.seconds / stack
        awake = (time.process_time() - started) / stack - asleep
        spikes = sum(float(n.mean()) for n in learner.asleep.spikes)
        print(
            f"stack {stack:2d}  task {index + 1}  awake {awake:6.2f} s  asleep {asleep:6.2f} s  "
            f"asleep/awake {asleep / awake:.2f}  spikes {spikes:.0f}",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--tasks", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load("mnist", arguments.data)
    for stack in STACKS:
        measure(data, stack, arguments.tasks)


if __name__ == "__main__":
    main()
