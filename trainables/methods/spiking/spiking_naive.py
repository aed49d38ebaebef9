"""Recurrent spiking networks that are pre-trained on the first task and then learn the others: the
common ground of latent replay and its baselines.

Source: Dequino et al. 2024, "Compressed latent replays for lightweight continual learning on
spiking neural networks", and its code, whose values are the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainables.errors import InputError
from trainables.learner import Learner, cross_entropy, descend
from trainables.memory.compressed import AT_ONCE, Codec, Packed
from trainables.nn.adamax import Adamax
from trainables.nn.recurrent import Dynamics, RecurrentNetwork
from trainables.options import EPOCHS, FACTOR, LEARNING_RATE, SAMPLES, Options, option
from trainables.rng import generator
from trainables.streams import Batch, StreamInfo, Task
from trainables.streams.stream import wrap

DEEPEST = 16  # most recurrent layers


class Pretraining(Options):
    """Options that decide what the first task leaves: learners with the same start from the same
    networks.
    """

    hidden: tuple[int, ...] = option(
        (200, 100, 50), "units of the recurrent layers", low=1, high=4096, longest=DEEPEST
    )
    synapse_decay: float = option(
        0.8187307530779818, "of a synaptic current in a step, exp(-1/5)", low=0.0, high=1.0
    )
    membrane_decay: float = option(
        0.9048374180359595, "of a membrane in a step, exp(-1/10)", low=0.0, high=1.0
    )
    slope: float = option(100.0, "steepness of the surrogate gradient", low=0.0, high=FACTOR)
    weight_scale: float = option(
        0.2,
        "deviation of a weight at first, over the root of the units it adds up",
        low=0.0,
        high=100.0,
    )
    optimiser: str = option("adamax", "how weights are updated", choices=("adamax", "adam", "sgd"))
    batch_size: int = option(
        64, "samples a step; all of a task that has fewer", low=1, high=SAMPLES
    )
    pretrain_lr: float = option(
        2e-4, "learning rate of the first task", low=0.0, high=LEARNING_RATE
    )
    pretrain_epochs: int = option(200, "passes over the data of the first task", low=1, high=EPOCHS)


class SpikingNaive(Learner):
    """Pre-trained on the first task, then all weights learn each new task and nothing else."""

    name = "spiking_naive"
    reference = "lower bound of Dequino et al. 2024, Compressed Latent Replays"
    scenarios = ("domain", "class")
    version = 2

    class Config(Pretraining):
        """Options of pre-training and of what follows."""

        lr: float = option(2e-4, "learning rate of later tasks", low=0.0, high=LEARNING_RATE)
        epochs: int = option(50, "passes over the data of a later task", low=1, high=EPOCHS)
        new_class_mean: float = option(
            0.003, "mean of the readout's weights of a new class", low=-100.0, high=100.0
        )
        new_class_std: float = option(0.003, "their deviation", low=0.0, high=100.0)

    network: RecurrentNetwork
    cut: int = -1  # below it nothing is learnt after the first task

    @classmethod
    def check(cls, config: Any, stream: StreamInfo) -> None:
        if not config.hidden:
            raise InputError("hidden = [] leaves no layer; give the units of at least one")
        if stream.steps is None:
            raise InputError(
                f"stream '{stream.name}' has no sequences in time, which {cls.name} needs; "
                "`python -m study streams` lists those of spike trains, such as "
                "class_incremental_one_spoken_digits"
            )

    def build_network(self, name: str) -> RecurrentNetwork:
        config, stream = self.config, self.stream
        how = Dynamics(config.synapse_decay, config.membrane_decay, config.slope)
        draws = [generator(seed, name) for seed in self.seeds]
        sizes = (stream.shape[-1], config.hidden, stream.outputs)
        return RecurrentNetwork(*sizes, draws, how, config.weight_scale).to(self.device)

    def build_optimiser(self, network: nn.Module, lr: float | None = None) -> torch.optim.Optimizer:
        return self.optimiser_of(network.parameters(), self.config.pretrain_lr)

    def optimiser_of(self, weights: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Return a new optimiser of some weights; all of them are element-wise."""
        if self.config.optimiser == "adamax":
            return Adamax(weights, lr)
        if self.config.optimiser == "adam":
            return torch.optim.Adam(weights, lr, fused=True)
        return torch.optim.SGD(weights, lr, fused=True)

    # -- learning
    # ---------------------------------------------------------------------------------------------

    def learn(self, task: Task) -> None:
        self.begin_task(task)
        if task.id:
            self.go_on(task)
        elif self.pretrained is None:
            self.pretrain(task)
        else:
            self.adopt(task, self.pretrained)
        self.end_task(task)

    def epochs(self, index: int) -> int:
        epochs: int = self.config.epochs if index else self.config.pretrain_epochs
        return epochs

    def pretrain(self, task: Task) -> None:
        """Learn the first task, with all weights."""
        for batch in task.batches(self.epochs(0), self.config.batch_size):
            self.learn_batch(batch)

    def adopt(self, task: Task, weights: Mapping[str, Tensor]) -> None:
        """Take what pre-training leaves, and count it."""
        self.network.load_state_dict(weights)
        size = self.config.batch_size
        samples = self.epochs(0) * task.steps(size) * task.samples_a_step(size)
        task.samples += samples
        self.trained += samples

    def begin_task(self, task: Task) -> None:
        """After the first task: draw the readout's weights of new classes and begin with a new
        optimiser of what is above the cut.
        """
        if task.id:
            if self.stream.scenario != "domain":
                self.draw_new_classes(task)
            weights = self.network.weights_above(self.cut)
            self.optimiser = self.optimiser_of(weights, self.config.lr)

    @torch.no_grad()
    def draw_new_classes(self, task: Task) -> None:
        """Draw the readout's weights of a task's classes anew."""
        config, readout = self.config, self.network.readout
        drawn = torch.stack(
            [
                torch.randn(readout.shape[1:], generator=generator(s, "new classes", task.id))
                for s in self.seeds
            ]
        ).to(self.device)
        drawn = drawn * config.new_class_std + config.new_class_mean
        readout.copy_(torch.where(task.outputs, drawn, readout))

    def go_on(self, task: Task) -> None:
        """Learn a later task. What is below the cut does not change, so it is asked once."""
        new = self.packed(task)
        for epoch in range(self.epochs(task.id)):
            for sequences, labels, fresh in self.parts(new, task.id, epoch):
                passed = sequences.transpose(1, 2).contiguous()
                self.losses += self.descend_on(task, passed, labels, self.cut)
                task.stepped(fresh)

    def packed(self, task: Task) -> Packed:
        """What the samples of a task pass on at the cut, as it is."""
        batch, codec = task.sample(task.size, "asked"), self.codec(self.config, self.stream)
        labels = batch.labels.to(torch.uint8)
        passed = self.compressed(batch.inputs, codec)
        named = zip(passed, torch.split(labels, AT_ONCE, dim=1), strict=True)
        return Packed(codec, len(self.seeds), self.device, named)

    def parts(self, new: Packed, *key: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yield the batches of an epoch of a later task: sequences [S, B, T, units], labels [S, B],
        and how many of them are new.
        """
        size = min(self.config.batch_size, len(new))
        for slots in self.orders("batches", len(new), math.ceil(len(new) / size), size, *key):
            yield *new.gather(slots), size

    def orders(self, name: str, count: int, steps: int, size: int, *key: int) -> Tensor:
        """Shuffle numbers below ``count`` for each seed, and hand them out in batches, [steps, S,
        size]; a shuffle that ends early is gone through again.
        """
        drawn = [torch.randperm(count, generator=generator(s, name, *key)) for s in self.seeds]
        rows = torch.stack([wrap(row, steps * size) for row in drawn])
        return rows.view(len(drawn), steps, size).transpose(0, 1).contiguous().to(self.device)

    def observe(self, batch: Batch) -> Tensor:
        """Take a step on a batch of the stream."""
        cut = self.cut if batch.task.id else -1
        with torch.no_grad():
            passed = self.network.below(self.encode(batch.inputs), cut)
        return self.descend_on(batch.task, passed, batch.labels, cut)

    def descend_on(self, task: Task, passed: Tensor, labels: Tensor, cut: int) -> Tensor:
        """Take a step on what was passed on at a cut, [S, T, B, units]."""
        self.trained += labels.shape[1]
        loss = cross_entropy(self.network.above(passed, cut), labels, task.loss_mask(labels))
        return descend(loss, self.optimiser)

    # -- what is passed on at the cut
    # ---------------------------------------------------------------------------------------------

    @classmethod
    def codec(cls, config: Any, stream: StreamInfo, ratio: int = 1) -> Codec:
        """How what is passed on at the cut is kept."""
        steps, channels = stream.shape
        return Codec("amounts", steps, channels, ratio, stream.bits)

    def compressed(self, inputs: Tensor, codec: Codec) -> Iterator[Tensor]:
        """Compress what inputs, uint8 [S, B, D], pass on at the cut: bits [S, n, size] of some
        samples at a time.
        """
        for part in torch.split(inputs, AT_ONCE, dim=1):
            with torch.no_grad():
                passed = self.network.below(self.encode(part), self.cut)
            yield codec.compress(passed.transpose(1, 2))

    def encode(self, inputs: Tensor) -> Tensor:
        """Turn samples, uint8 [S, B, D], into sequences, [S, T, B, channels]."""
        steps = inputs.view(*inputs.shape[:2], *self.stream.shape).transpose(1, 2)
        return steps.contiguous().to(torch.float32)

    # -- testing, and what is held
    # ---------------------------------------------------------------------------------------------

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        parts = torch.split(inputs, AT_ONCE, dim=1)
        return torch.cat([self.network(self.encode(part)) for part in parts], dim=1)

    @classmethod
    def pretraining(cls, config: Any) -> tuple[str, dict[str, Any]]:
        plain = config.plain()
        return SpikingNaive.name, {name: plain[name] for name in Pretraining.fields()}

    def foundation(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    def state(self) -> dict[str, Any]:
        """The optimiser is not part of it: every task begins with a new one."""
        return {"network": self.network.state_dict(), "trained": self.trained}

    def load(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.trained = state["trained"]
