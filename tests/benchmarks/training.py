"""Training speed of seed stacks, beside a bare loop and the matrix-multiply rate of the same core.

    python tests/benchmarks/training.py           a table
    python tests/benchmarks/training.py --json    the same for a script

One thread; processor time; medians of interleaved rounds, because machines are noisy. Only the new
samples of a step count, replayed ones do not. The bare loop is one seed, hand-written, with nothing
but what a step needs: the same work without our layers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables import STREAMS, find_learner
from trainables.streams import Stream
from trainables.streams.datasets import DATASETS, Dataset, Split

STACKS = (1, 2, 5, 10, 30)
ROUNDS = 5
SECONDS = 0.4  # of processor time, per measurement


@dataclass(frozen=True)
class Setting:
    """A network and a batch size; 1,000 samples are remembered, as many replayed as new."""

    network: str
    inputs: int
    hidden: int
    batch: int

    def flops(self, learner: str) -> int:
        """Operations of a step per new sample: forward, weight and hidden gradients."""
        first, second = self.inputs * self.hidden, self.hidden * 10
        rows = 2 if learner == "replay" else 1
        return rows * 2 * (2 * first + 3 * second)


SETTINGS = (Setting("784-128-10", 784, 128, 64), Setting("64-64-10", 64, 64, 16))


def noise_stream(
    inputs: int, per_class: int, stack: int, device: torch.device | str = "cpu"
) -> Stream:
    """Return a split stream of ten classes of noise: speed does not depend on the images."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10, dtype=np.uint8), per_class)
    images = rng.integers(0, 256, (len(labels), inputs), dtype=np.uint8)
    DATASETS["noise"] = Dataset(
        "noise", "noise", 10, (inputs,), 1 / 255, (0.0,), (1.0,), lambda root: {}
    )
    members = {"dataset": "noise", "name": "noise"}
    kind: type[Stream] = type("noise", (STREAMS["split_mnist"],), members)
    data: dict[str, Split] = {"train": {"images": images, "labels": labels}}
    return kind(data, "class", range(stack), "tune", kind.Options.parse({}), device)


def learner_step(name: str, setting: Setting, stack: int) -> Callable[[int], None]:
    """Return a function that takes so many steps of a learner, its memory full."""
    stream = noise_stream(setting.inputs, 6000, stack)
    kind = find_learner(name)
    values: dict[str, Any] = {"hidden": [setting.hidden], "batch_size": setting.batch}
    if name == "replay":
        values["memory_policy"] = "reservoir"  # filled without the end of a task
    learner = kind(kind.Config.parse(values), stream.info, stream.seeds)
    batches = (batch for _ in iter(int, 1) for batch in stream.task(0).batches(1, setting.batch))

    def steps(count: int) -> None:
        for _ in range(count):
            learner.observe(next(batches))

    steps(1000 // setting.batch + 5)
    return steps


def bare_step(name: str, setting: Setting) -> Callable[[int], None]:
    """Return a function that takes so many steps of the bare loop."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(60_000, setting.inputs, generator=generator)
    labels = torch.randint(10, (60_000,), generator=generator)
    memory, memory_labels = images[:1000].clone(), labels[:1000].clone()
    w1 = (torch.rand(setting.inputs, setting.hidden, generator=generator) - 0.5) * 0.07
    w2 = (torch.rand(setting.hidden, 10, generator=generator) - 0.5) * 0.18
    weights = [w.requires_grad_() for w in (w1, torch.zeros(setting.hidden), w2, torch.zeros(10))]
    optimiser = torch.optim.Adam(weights, lr=1e-3, fused=True)
    batch = setting.batch

    def step(first: int) -> None:
        x, y = images[first : first + batch], labels[first : first + batch]
        if name == "replay":
            old = torch.randint(1000, (batch,), generator=generator)
            x, y = torch.cat([x, memory[old]]), torch.cat([y, memory_labels[old]])
        hidden: Tensor = torch.addmm(weights[1], x, weights[0]).relu()
        loss = F.cross_entropy(torch.addmm(weights[3], hidden, weights[2]), y)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if name == "replay":
            slots = torch.randint(60_000, (batch,), generator=generator)
            kept = slots < 1000
            memory[slots[kept]], memory_labels[slots[kept]] = x[:batch][kept], y[:batch][kept]

    def steps(count: int) -> None:
        for k in range(count):
            step(k * batch % 50_000)

    steps(5)
    return steps


def matmul_gflops() -> float:
    """Return the core's rate at a large matrix product, in 1e9 operations a second."""
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    out = torch.empty_like(a)
    count = 8
    started = time.process_time()
    for _ in range(count):
        torch.mm(a, b, out=out)
    return 2 * 1024**3 * count / (time.process_time() - started) / 1e9


def rate(steps: Callable[[int], None]) -> float:
    """Return steps per second of processor time."""
    started, done, count = time.process_time(), 0, 5
    while (spent := time.process_time() - started) < SECONDS:
        steps(count)
        done += count
        count = min(count * 2, 200)
    return done / spent


def measure(learner: str, setting: Setting) -> list[dict[str, Any]]:
    """Measure one learner at every stack size, the bare loop and the matrix product, in turns."""
    stacked = {stack: learner_step(learner, setting, stack) for stack in STACKS}
    bare = bare_step(learner, setting)
    rounds: list[dict[Any, float]] = []
    for _ in range(ROUNDS):
        found: dict[Any, float] = {"matmul": matmul_gflops(), "bare": rate(bare)}
        rounds.append(found | {stack: rate(steps) * stack for stack, steps in stacked.items()})
    middle = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
    return [
        {
            "learner": learner,
            "network": setting.network,
            "stack": stack,
            "seed_samples_per_cpu_second": middle[stack] * setting.batch,
            "gflops": middle[stack] * setting.batch * setting.flops(learner) / 1e9,
            "matmul_gflops": middle["matmul"],
            "bare_loop": middle["bare"] * setting.batch,
        }
        for stack in STACKS
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--learners", nargs="+", default=["finetune", "replay"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for s in SETTINGS for name in arguments.learners for row in measure(name, s)]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    print("learner    network      stack  seed-samples/s  of bare loop  of matmul  of stack 1")
    for row in rows:
        speed, first = (
            row["seed_samples_per_cpu_second"],
            rows[rows.index(row) - STACKS.index(row["stack"])],
        )
        print(
            f"{row['learner']:10} {row['network']:12} {row['stack']:5} {speed:15,.0f} "
            f"{speed / row['bare_loop']:13.2f} {row['gflops'] / row['matmul_gflops']:10.2f} "
            f"{speed / first['seed_samples_per_cpu_second']:11.2f}"
        )


if __name__ == "__main__":
    main()
