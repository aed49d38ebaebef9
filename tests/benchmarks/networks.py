"""Training speed and memory of convolutional networks, beside a loop over plain modules of torch.

    python tests/benchmarks/networks.py

One thread; processor time; medians of interleaved rounds. A step of a stack of S seeds is compared
with a step of S plain networks, one after the other: the same layers, batches and optimiser, and
nothing but what a step needs. Memory is the most that a process has held beyond what it held before
the network was built.
"""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.learner import Learner
from trainables.methods.finetune import Finetune
from trainables.nn import backbones
from trainables.streams import Batch, StreamInfo

STACKS = (1, 2, 4)
ROUNDS = 7
SETTINGS: dict[str, tuple[tuple[int, ...], int, dict[str, Any]]] = {  # image, batch, options
    "conv, 28 x 28": ((28, 28), 64, {"network": "conv", "hidden": [128]}),
    "conv, 32 x 32 x 3": ((32, 32, 3), 64, {"network": "conv", "hidden": [128]}),
    "resnet18, 32 x 32 x 3": ((32, 32, 3), 32, {"network": "resnet18"}),
}


class NoTask:
    """A task in which all outputs compete."""

    def loss_mask(self, labels: Tensor) -> None:
        return None


def learner_of(name: str, stack: int) -> Learner:
    """Return finetune with a network and so many seeds."""
    shape, batch, options = SETTINGS[name]
    size = torch.Size(shape).numel()
    info = StreamInfo("noise", "class", size, 10, 1 / 255, 5, shape)
    config = Finetune.Config.parse({**options, "batch_size": batch})
    return Finetune(config, info, range(stack))


def stacked(name: str, stack: int) -> Callable[[], None]:
    """Return a step of a stack."""
    learner, batch = learner_of(name, stack), SETTINGS[name][1]
    inputs = torch.randint(0, 256, (stack, batch, learner.stream.inputs), dtype=torch.uint8)
    given: Any = Batch(inputs, torch.randint(10, (stack, batch)), NoTask())  # type: ignore[arg-type]

    def step() -> None:
        learner.observe(given)

    return step


class PlainBlock(nn.Module):
    """A residual block of plain layers."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()

        def part(inputs: int, kernel: int, stride: int) -> nn.Module:
            conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(outputs))

        self.first, self.second = part(inputs, 3, stride), part(outputs, 3, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else part(inputs, 1, stride)

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(images))) + self.shortcut(images))


def plain_network(name: str) -> nn.Module:
    """Return the network in plain layers of torch."""
    (height, width, *channels), _, options = SETTINGS[name]
    inputs = channels[0] if channels else 1
    if options["network"] == "conv":
        return nn.Sequential(
            *(nn.Conv2d(inputs, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(64 * (height // 4) * (width // 4), 128), nn.ReLU(), nn.Linear(128, 10)),
        )
    stem = nn.Sequential(
        nn.Conv2d(inputs, 20, 3, padding=1, bias=False), nn.BatchNorm2d(20), nn.ReLU()
    )
    widths = [20, 20, 20, 40, 40, 80, 80, 160, 160]
    blocks = [PlainBlock(a, b, 1 if a == b else 2) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(160, 10))


def plain(name: str, stack: int) -> Callable[[], None]:
    """Return a step of as many plain networks, one after the other."""
    shape, batch, _ = SETTINGS[name]
    networks = [plain_network(name) for _ in range(stack)]
    optimisers = [torch.optim.Adam(n.parameters(), lr=1e-3, fused=True) for n in networks]
    height, width, channels = (*shape, 1)[:3]
    images = torch.rand(stack, batch, channels, height, width)
    labels = torch.randint(10, (stack, batch))

    def step() -> None:
        for network, optimiser, x, y in zip(networks, optimisers, images, labels, strict=True):
            optimiser.zero_grad()
            F.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    """Return the processor time of a step."""
    started = time.process_time()
    step()
    return time.process_time() - started


def ratios(name: str, stack: int) -> tuple[float, float]:
    """Return the speed of a stack over that of plain networks, and milliseconds of a step."""
    steps = plain(name, stack), stacked(name, stack)
    for step in steps:
        step()
    rounds = [[seconds(step) for step in steps] for _ in range(ROUNDS)]
    ratio = statistics.median(theirs / ours for theirs, ours in rounds)
    return ratio, statistics.median(ours for _, ours in rounds) * 1e3


def peak(make: Callable[[str, int], Callable[[], None]], name: str, stack: int) -> float:
    """Return the MiB that three steps have held, measured in a process of their own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (make, name, stack))


def _peak(make: Callable[[str, int], Callable[[], None]], name: str, stack: int) -> float:
    torch.set_num_threads(1)
    _ = backbones, torch.rand(8, 8) @ torch.rand(8, 8)
    before = _most_held()
    step = make(name, stack)
    for _ in range(3):
        step()
    return _most_held() - before


def _most_held() -> float:
    """Return the most MiB that this process has held (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return float(line.split()[1]) / 1024


def main() -> None:
    torch.set_num_threads(1)
    print("| network | seeds | ms a step | speed over plain ones | MiB | of plain ones |")
    print("|---|---|---|---|---|---|")
    for name in SETTINGS:
        for stack in STACKS:
            ratio, milliseconds = ratios(name, stack)
            held = [peak(make, name, stack) for make in (stacked, plain)]
            print(
                f"| {name} | {stack} | {milliseconds:.0f} | {ratio:.2f} | {held[0]:.0f} | "
                f"{held[1]:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
