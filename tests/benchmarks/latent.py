"""What pre-training and one increment of latent replay cost, alone and four seeds at once, beside
the matrix products they cannot do without; and the memory of a data set of SHD's size.

    python tests/benchmarks/latent.py DATA       spoken digits, DATA holding spoken_digits
    python tests/benchmarks/latent.py --memory 4 so many seeds at once, on files of random spikes

700-200-100-50, batches of 64. One thread; processor time of a step and seed. Without tests.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from trainables import STREAMS
from trainables.engine.evaluation import evaluate
from trainables.methods.spiking.latent_replay import LatentReplay
from trainables.streams import Stream
from trainables.streams.datasets import Split, load
from trainables.streams.spikes import CHANNELS

STACKS = (1, 4)
STEPS = 8  # of pre-training that are timed
SPIKES = 8_000  # of a sample of SHD, about


def seconds(work: Callable[[], Any]) -> float:
    """Processor time of some work."""
    started = time.process_time()
    work()
    return time.process_time() - started


def products(stack: int, steps: int, hidden: tuple[int, ...] = (200, 100, 50)) -> float:
    """Seconds a seed of the matrix products of a pre-training step: forward, and for gradients of
    the weights and of what they are applied to.
    """
    below = (CHANNELS, *hidden[:-1])
    total = 0.0
    for inputs, units in [*zip(below, hidden, strict=True), *zip(hidden, hidden, strict=True)]:
        x, w = torch.randn(stack, steps * 64, inputs), torch.randn(stack, inputs, units)
        y = x @ w
        rounds = 2 if inputs == CHANNELS else 3  # no gradient of the inputs
        work = [lambda: x @ w, lambda: x.mT @ y, lambda: y @ w.mT][:rounds]  # noqa: B023
        total += sum(min(seconds(each) for _ in range(3)) for each in work)
    return total / stack


def measure(data: dict[str, Split], stack: int, depth: int) -> None:
    """Print a line: pre-training, and an increment at a depth."""
    kind = STREAMS["class_incremental_one_spoken_digits"]
    options = kind.Options.parse({"steps": 50, "seconds": 0.7})
    stream = kind(data, "class", range(stack), "confirm", options)
    config = {"memory_total": 900, "depth": depth, "epochs": 2}
    learner = LatentReplay(LatentReplay.Config.parse(config), stream.info, stream.seeds)
    batches = stream.task(0).batches(1, 64)
    learner.observe(next(batches))
    step = seconds(lambda: [learner.observe(next(batches)) for _ in range(STEPS)]) / STEPS / stack
    learner.end_task(stream.task(0))
    increment = stream.task(1)
    later = seconds(lambda: learner.learn(increment)) / stack / increment.steps_done
    least = products(stack, 50)
    print(
        f"stack {stack}  pre-training {1e3 * step:6.1f} ms a step, its products {1e3 * least:5.1f} "
        f"({least / step:.2f})  increment at depth {depth} {1e3 * later:5.1f} ({later / step:.2f})",
        flush=True,
    )


def write_like_shd(folder: Path) -> None:
    """Write files of random spikes, as many samples as SHD has, of as many classes and speakers."""
    draws, ragged = np.random.default_rng(0), h5py.special_dtype
    folder.mkdir()
    for name, samples in (("shd_train", 8_156), ("shd_test", 2_264)):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            times = file.create_dataset("spikes/times", samples, ragged(vlen=np.float16))
            units = file.create_dataset("spikes/units", samples, ragged(vlen=np.uint16))
            for row in range(samples):
                times[row] = np.sort(draws.uniform(0, 1.37, SPIKES)).astype(np.float16)
                units[row] = draws.integers(0, CHANNELS, SPIKES, dtype=np.uint16)
            file["labels"] = np.arange(samples) % 20
            file["extra/speaker"] = np.arange(samples) // 20 % 12


def memory(stack: int) -> None:
    """Print the memory of a process that reads such files, holds all samples and learns."""
    with tempfile.TemporaryDirectory() as root:
        write_like_shd(Path(root) / "shd")
        data = load("shd", Path(root))
    print(f"spikes: {sum(a.nbytes for s in data.values() for a in s.values()) / 1e9:.2f} GB")
    kind = STREAMS["speaker_incremental_shd"]
    started = time.perf_counter()
    data = kind.prepare(data, kind.Options.parse({}))
    size, taken = sum(s["images"].nbytes for s in data.values()), time.perf_counter() - started
    print(f"binned and packed: {size / 1e9:.2f} GB, in {taken:.0f} s")
    stream: Stream = kind(data, "domain", range(stack), "confirm")
    config = LatentReplay.Config.parse({"epochs": 1})
    learner = LatentReplay(config, stream.info, stream.seeds)
    for batch in itertools.islice(stream.task(0).batches(1, 64), STEPS):
        learner.observe(batch)
    learner.end_task(stream.task(0))
    learner.learn(stream.task(1))
    evaluate(learner, stream, 2)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"stack {stack}: most at once, with steps of each task and a test: {most:.2f} GB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--memory", type=int, metavar="STACK")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        memory(arguments.memory)
    if arguments.data is not None:
        data = load("spoken_digits", arguments.data)
        for stack in STACKS:
            for depth in (1, 2, 3):
                measure(data, stack, depth)


if __name__ == "__main__":
    main()
