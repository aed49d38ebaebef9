"""Speed of sliced networks, beside whole layers with masks as the source of SynapticNet has them.

    PYTHONPATH=. python tests/benchmarks/slices.py

One thread; processor time; medians of interleaved rounds. A step on the last of four tasks of a
stack of S seeds is compared with a step of S networks with masks, one after the other: the same
units, batches and optimiser, and as in the source the gradients of other tasks' units are set to
zero. Testing is a forward pass for the first task.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from trainables.nn.sliced import SlicedNetwork, kaiming
from trainables.rng import Draws

sys.path.append(str(Path(__file__).parents[1] / "trainables" / "nn"))
from masked import Masked  # type: ignore[import-not-found]

STACKS = (1, 4)
TASKS, CLASSES, BATCH, ROUNDS = 4, 10, 64, 7
SHAPE = (32, 32, 3)
SIZES = {"16 channels, 128 units": (16, 128), "64 channels, 512 units": (64, 512)}


def sliced(size: tuple[int, int], stack: int, cumulative: bool) -> SlicedNetwork:
    """Return a network with slices of one size for four tasks."""
    draws = Draws(range(stack), "dropout", torch.device("cpu"))
    network = SlicedNetwork(SHAPE, 4, 1, cumulative, 3, 0.0, draws)
    channels, hidden = size
    units = torch.tensor([[*[channels] * 4, hidden, CLASSES]] * stack)
    for task in range(TASKS):
        start = [kaiming(torch.Generator().manual_seed(seed)) for seed in range(stack)]
        network.resize(task, units, start)
    return network


def sliced_step(network: SlicedNetwork, testing: bool) -> Callable[[], None]:
    """Return a step on the last task, or a forward pass for the first."""
    for task in range(TASKS - 1):
        for weight in network.slice_of(task):
            weight.requires_grad_(False)
    optimiser = torch.optim.Adam(network.slice_of(TASKS - 1), lr=1e-3, fused=True)
    inputs = torch.rand(network.stack, BATCH, torch.Size(SHAPE).numel())
    labels = torch.randint(CLASSES, (network.stack, BATCH))

    def step() -> None:
        if testing:
            with torch.no_grad():
                network(inputs, 0, 1)
            return
        logits = network(inputs, TASKS - 1, TASKS)
        optimiser.zero_grad()
        F.cross_entropy(logits.mT, labels, reduction="none").mean(1).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def masked_step(network: SlicedNetwork, testing: bool) -> Callable[[], None]:
    """Return the same for whole layers with masks."""
    members = [Masked(network, seed) for seed in range(network.stack)]
    optimisers = [torch.optim.Adam(m.parameters(), lr=1e-3, fused=True) for m in members]
    inputs = torch.rand(network.stack, BATCH, torch.Size(SHAPE).numel())
    labels = torch.randint(CLASSES, (network.stack, BATCH)) + CLASSES * (TASKS - 1)

    def step() -> None:
        for member, optimiser, x, y in zip(members, optimisers, inputs, labels, strict=True):
            if testing:
                with torch.no_grad():
                    member(x, 0)
                continue
            optimiser.zero_grad()
            F.cross_entropy(member(x, TASKS - 1), y).backward()  # type: ignore[no-untyped-call]
            for weight, bias, ids in zip(
                member.weights, member.biases, member.tasks_of, strict=True
            ):
                weight.grad[ids != TASKS - 1] = 0
                bias.grad[ids != TASKS - 1] = 0
            optimiser.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    """Return the processor time of a step."""
    started = time.process_time()
    step()
    return time.process_time() - started


def ratio(network: SlicedNetwork, testing: bool) -> tuple[float, float]:
    """Return the speed of slices over that of masks, and milliseconds of a step."""
    steps = sliced_step(network, testing), masked_step(network, testing)
    for step in steps:
        step()
    rounds = [[seconds(step) for step in steps] for _ in range(ROUNDS)]
    return (
        statistics.median(masks / slices for slices, masks in rounds),
        statistics.median(slices for slices, _ in rounds) * 1e3,
    )


def main() -> None:
    torch.set_num_threads(1)
    print("| slices | mode | seeds | ms a step | speed over masks | in testing |")
    print("|---|---|---|---|---|---|")
    for name, size in SIZES.items():
        for mode in ("isolated", "cumulative"):
            for stack in STACKS:
                network = sliced(size, stack, mode == "cumulative")
                training, milliseconds = ratio(network, testing=False)
                testing, _ = ratio(network, testing=True)
                print(
                    f"| {name} | {mode} | {stack} | {milliseconds:.0f} | {training:.1f} | "
                    f"{testing:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
