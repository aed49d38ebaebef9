"""What stacking seeds is worth on a GPU, beside one core; and whether both learn the same.

    python tests/benchmarks/devices.py                          every learner
    python tests/benchmarks/devices.py --learners replay fssg   some

Seed-steps a second by stack size, in the second task of a stream (memories are filled, teachers
are there): wall-clock time, the device waited for. Networks 784-400-400-10 and batches of 64 of
noise images; of spiking learners 700-200-100-50-20, batches of 16 of noise spikes. "same": the
largest difference between the accuracies after each task of two seeds on both devices, on a small
stream that can be learnt.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from training import noise_stream

from analysis.metrics import accuracy_matrix
from trainables import LEARNERS, find_stream
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.streams import Batch, Stream
from trainables.streams.datasets import Split

STACKS = (1, 10, 30, 100, 300)
ON_CPU = (1, 10)
SECONDS = 0.5  # of steps, per measurement
SPIKING = "class_incremental_one_spoken_digits"
COMMON = {"hidden": [400, 400], "batch_size": 64, "memory_total": 1000, "epochs": 1}
SPIKES = {"batch_size": 16, "memory_total": 160, "epochs": 1, "pretrain_epochs": 1}


def spikes(device: torch.device | str, stack: int) -> Stream:
    """Return a stream of noise spikes: 30 samples of each class, 4,000 spikes each."""
    draws, count, each = np.random.default_rng(0), 300, 4000
    trains: Split = {
        "times": np.sort(draws.random((count, each)) * 0.6, axis=1).ravel().astype(np.float16),
        "units": draws.integers(0, 700, count * each).astype(np.uint16),
        "ends": np.arange(1, count + 1) * each,
        "labels": np.tile(np.arange(10, dtype=np.uint8), count // 10),
        "speakers": np.repeat(np.arange(6, dtype=np.uint8), count // 6),
    }
    kind = find_stream(SPIKING)
    options = kind.Options.parse({})
    data = kind.prepare({"train": trains}, options)
    return kind(data, "class", range(stack), "tune", options, device)


def endless(name: str, stack: int, device: str) -> Iterator[Any]:
    """Yield steps to take in the second task of a learner, for ever."""
    kind = LEARNERS[name]
    spiking = "pretrain_epochs" in kind.Config.fields()
    stream = spikes(device, stack) if spiking else noise_stream(784, 1000, stack, device)
    wanted: dict[str, Any] = SPIKES if spiking else COMMON
    values = {k: v for k, v in wanted.items() if k in kind.Config.fields()}
    learner = kind(kind.Config.parse(values), stream.info, stream.seeds, device)
    union = stream.tasks if learner.offline else 0
    first, second = stream.task(0, union), stream.task(1, union)
    learner.begin_task(first)
    for batch in itertools.islice(first.batches(1, values["batch_size"]), 20):
        learner.observe(batch)
    learner.end_task(first)
    learner.begin_task(second)

    def step(batch: Batch) -> None:
        learner.observe(batch)

    while True:
        for batch in second.batches(1, values["batch_size"]):
            yield lambda batch=batch: step(batch)


def rate(name: str, stack: int, device: str) -> float:
    """Return seed-steps a second."""

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    steps = endless(name, stack, device)
    for step in itertools.islice(steps, 5):
        step()
    wait()
    started, taken = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        for step in itertools.islice(steps, 5):
            step()
        wait()
        taken += 5
    return stack * taken / (time.perf_counter() - started)


def learnt(name: str, device: str) -> Any:
    """Return the accuracies of two seeds after each task of a small stream, [S, T, T]."""
    kind, draws = LEARNERS[name], np.random.default_rng(1)
    once = kind.Config.fields()["epochs"].metadata["high"] == 1  # of GDumb
    labels = np.tile(np.arange(10, dtype=np.uint8), 60)
    images = draws.integers(0, 17, (10, 8, 8))[labels] // 2 + draws.integers(0, 9, (600, 8, 8))
    data = {"train": {"images": images.astype(np.uint8), "labels": labels}}
    fields = kind.Config.fields()
    wanted: dict[str, Any] = {"hidden": [32], "epochs": 1 if once else 4, "batch_size": 16}
    if "memory_total" in fields:
        wanted["memory_total"] = 100
    values = kind.Config.parse({k: v for k, v in wanted.items() if k in fields}).plain()
    work = Assignment(name, values, "split_digits", "class", {}, "tune", (0, 1))
    course = Course(work, work.seeds, data, device)
    while not course.done:
        course.advance()
    return accuracy_matrix(next(iter(course.outcome().counts.values())))


def row(name: str) -> str:
    """Measure a learner; what cannot be run is told in its place."""
    found = {f"cpu {stack}": rate(name, stack, "cpu") for stack in ON_CPU}
    for stack in STACKS:
        try:
            found[f"gpu {stack}"] = rate(name, stack, "cuda")
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
    same = ""
    if "pretrain_epochs" not in LEARNERS[name].Config.fields():
        same = f"{np.nanmax(np.abs(learnt(name, 'cpu') - learnt(name, 'cuda'))):.3f}"
    numbers = " ".join(f"{speed:10,.0f}" for speed in found.values())
    gained = max(found.values()) / found["cpu 1"]
    return f"{name:18} {numbers}  {gained:8.1f}  {same}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS), choices=list(LEARNERS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}; seed-steps a second")
    columns = [*(f"cpu {s}" for s in ON_CPU), *(f"gpu {s}" for s in STACKS)]
    print(f"{'':18} {' '.join(f'{c:>10}' for c in columns)}  {'of cpu 1':>8}  same")
    for name in arguments.learners:
        try:
            print(row(name), flush=True)
        except Exception as error:
            told = str(error).splitlines() or [""]
            print(f"{name:18} {type(error).__name__}: {told[0]}", flush=True)


if __name__ == "__main__":
    main()
