"""Speed and memory of spiking networks, beside a plain training loop of snnTorch.

    PYTHONPATH=. python tests/benchmarks/spikes.py

One thread; processor time; medians of interleaved rounds. A training step of a stack of S seeds of
the network of spiking_replay (28 x 28 pixels, 12 and 64 channels, 30 steps) is compared with a step
of S networks of ``snntorch.Leaky``, one after the other and step by step in time: the same weights,
batches, loss and optimiser. The third column has the layers of the stack, computed for all steps at
once, with ``snntorch.Leaky`` for their units. Memory is the largest that a process holds in three
steps beyond what it held before them (Linux).
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import snntorch
import torch
import torch.nn.functional as F
from snntorch import surrogate
from torch import Tensor

from trainables.nn.leaky import LeakyUnits, SpikingNetwork
from trainables.nn.optimisers import Adam

sys.path.append(str(Path(__file__).parents[1] / "trainables" / "nn"))
from plain_snntorch import Plain  # type: ignore[import-not-found]

STACKS, BATCHES = (1, 4), (16, 64)
ROUNDS = 7
UNITS = LeakyUnits(30, 0.99, 1.0, "fast_sigmoid", 25.0)
GRADIENT = surrogate.fast_sigmoid(25)
Step = Callable[[], None]


class WithLeaky(LeakyUnits):
    """The units of snnTorch, step by step."""

    def __call__(self, current: Tensor) -> tuple[Tensor, Tensor]:
        layer = snntorch.Leaky(self.beta, threshold=self.threshold, spike_grad=GRADIENT)
        membrane, spikes, potentials = layer.reset_mem(), [], []
        for t in range(self.steps):
            spike, membrane = layer(current[t if len(current) > 1 else 0], membrane)
            spikes.append(spike)
            potentials.append(membrane)
        return torch.stack(spikes), torch.stack(potentials).detach()


def network(stack: int, units: LeakyUnits) -> SpikingNetwork:
    draws = [torch.Generator().manual_seed(seed) for seed in range(stack)]
    return SpikingNetwork((28, 28), (12, 64), 5, (), 10, draws, units)


def data(stack: int, batch: int, frames: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    values = torch.rand(stack, frames, batch, 784, generator=draws)
    inputs = values if frames == 1 else (values < 0.3).float()
    return inputs, torch.randint(10, (stack, batch), generator=draws)


def stacked_step(stack: int, batch: int, frames: int, units: LeakyUnits) -> Step:
    """Return a training step of a stack."""
    made, (inputs, labels) = network(stack, units), data(stack, batch, frames)
    optimiser = Adam(made.parameters(), 1e-3)

    def step() -> None:
        counts = made(inputs).record.sum(1)
        losses = F.cross_entropy(counts.mT, labels, reduction="none").mean(1)
        optimiser.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def plain_step(stack: int, batch: int, frames: int) -> Step:
    """Return a training step of plain networks, one after the other."""
    made, (inputs, labels) = network(stack, UNITS), data(stack, batch, frames)
    members = [Plain(made, seed, UNITS, GRADIENT) for seed in range(stack)]
    optimisers = [torch.optim.Adam(m.parameters(), lr=1e-3, foreach=True) for m in members]
    images = inputs.expand(-1, UNITS.steps, -1, -1).view(stack, UNITS.steps, batch, 1, 28, 28)

    def step() -> None:
        for member, optimiser, x, y in zip(members, optimisers, images, labels, strict=True):
            loss = F.cross_entropy(member(x).sum(0), y)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    return step


def seconds(step: Step) -> float:
    """Return the processor time of a step."""
    started = time.process_time()
    step()
    return time.process_time() - started


def held(build: Callable[..., Step], *given: object) -> float:
    """Return the megabytes that three steps need, measured in a process of their own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_held, (build, given))


def _held(build: Callable[..., Step], given: tuple[object, ...]) -> float:
    torch.set_num_threads(1)
    step = build(*given)
    Path("/proc/self/clear_refs").write_text("5")  # of Linux: begin anew to look for the largest
    before = _kilobytes("VmRSS")
    for _ in range(3):
        step()
    return (_kilobytes("VmHWM") - before) / 1024


def _kilobytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def main() -> None:
    torch.set_num_threads(1)
    leaky = WithLeaky(30, 0.99, 1.0, "fast_sigmoid", 25.0)
    print(
        "| encoding | seeds | batch | ms a step | speed over plain snnTorch | with its units | MB "
        "a step | of plain snnTorch |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for encoding, frames in (("direct", 1), ("rate", UNITS.steps)):
        for stack in STACKS:
            for batch in BATCHES:
                size = stack, batch, frames
                steps = stacked_step(*size, UNITS), plain_step(*size), stacked_step(*size, leaky)
                for step in steps:
                    step()
                rounds = [[seconds(step) for step in steps] for _ in range(ROUNDS)]
                mine = statistics.median(r[0] for r in rounds)
                speeds = [statistics.median(r[1] / r[n] for r in rounds) for n in (0, 2)]
                memory = held(stacked_step, *size, UNITS), held(plain_step, *size)
                print(
                    f"| {encoding} | {stack} | {batch} | {mine * 1e3:.0f} | {speeds[0]:.1f} | "
                    f"{speeds[1]:.1f} | {memory[0]:.0f} | {memory[1]:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
