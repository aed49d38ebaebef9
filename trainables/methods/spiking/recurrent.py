"""Base classes of spiking learners that are pre-trained on the first task, in the order of the
paper: the network, pre-training, later tasks, and replay in later tasks.

Source: Dequino et al. 2024, "Compressed latent replays for lightweight continual learning on
spiking neural networks", and its code, whose values are the defaults. A cut divides the network;
the part below the cut is frozen after pre-training. A learner without replay, or with replay of
input samples, has its cut at the inputs (-1) and trains all weights.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from trainables.errors import InputError
from trainables.learner import Learner, cross_entropy, descend
from trainables.memory.compressed import CHUNK, Codec, CompressedMemory, Packed
from trainables.nn.optimisers import Adam, Adamax
from trainables.nn.recurrent import Dynamics, RecurrentNetwork
from trainables.options import BYTES, EPOCHS, FACTOR, LEARNING_RATE, SAMPLES, STEPS, Options, option
from trainables.rng import generator
from trainables.streams import Batch, StreamInfo, Task
from trainables.streams.stream import wrap

DEEPEST = 16  # largest number of recurrent layers
ORDERS = ("sequential", "interleaved", "mixed")


class Pretraining(Options):
    """Options that determine the result of the first task: learners with equal values share it."""

    hidden: tuple[int, ...] = option(
        (200, 100, 50), "units of the recurrent layers", low=1, high=4096, longest=DEEPEST
    )
    synapse_decay: float = option(
        0.8187307530779818,
        "factor of the synaptic current per step, exp(-1/5) by default",
        low=0.0,
        high=1.0,
    )
    membrane_decay: float = option(
        0.9048374180359595,
        "factor of the membrane potential per step, exp(-1/10) by default",
        low=0.0,
        high=1.0,
    )
    slope: float = option(100.0, "slope of the surrogate gradient", low=0.0, high=FACTOR)
    weight_scale: float = option(
        0.2,
        "scale of the initial weights: their standard deviation is weight_scale / sqrt(fan-in)",
        low=0.0,
        high=100.0,
    )
    optimiser: str = option("adamax", "optimiser", choices=("adamax", "adam", "sgd"))
    batch_size: int = option(
        64,
        "mini-batch size: samples per step; the whole task if it has fewer",
        low=1,
        high=SAMPLES,
    )
    pretrain_lr: float = option(
        2e-4, "learning rate of pre-training (the first task)", low=0.0, high=LEARNING_RATE
    )
    pretrain_epochs: int = option(
        200, "epochs of pre-training (the first task)", low=1, high=EPOCHS
    )


class RecurrentOptions(Pretraining):
    """Options of pre-training and of later tasks."""

    lr: float = option(2e-4, "learning rate of later tasks", low=0.0, high=LEARNING_RATE)
    epochs: int = option(50, "epochs per later task", low=1, high=EPOCHS)
    new_class_mean: float = option(
        0.003, "mean of the initial readout weights of a new class", low=-100.0, high=100.0
    )
    new_class_std: float = option(
        0.003,
        "standard deviation of the initial readout weights of a new class",
        low=0.0,
        high=100.0,
    )


class ReplayOptions(RecurrentOptions):
    """Options of replay. ``memory_bytes`` overrides ``memory_per_class``, which overrides
    ``memory_total``.
    """

    memory_total: int = option(
        2560, "memory capacity in samples, divided equally among the classes", low=1, high=SAMPLES
    )
    memory_per_class: int | None = option(
        None,
        "memory capacity in samples per class of each task; overrides memory_total",
        low=1,
        high=SAMPLES,
    )
    memory_bytes: int | None = option(
        None,
        "memory capacity in bytes, with one byte per label; overrides memory_total and "
        "memory_per_class",
        low=1,
        high=BYTES,
    )
    ratio: int = option(
        1,
        "compression ratio in time: window of this many steps, stored as one number per unit",
        low=1,
        high=STEPS,
    )
    order: str = option(
        "sequential",
        "order of an epoch; sequential: all new mini-batches, then all replayed ones; interleaved: "
        "new and replayed mini-batches alternate; mixed: each mini-batch has new and replayed "
        "samples",
        choices=ORDERS,
    )


RecurrentConfigT = TypeVar("RecurrentConfigT", bound=RecurrentOptions, default=Any)
ReplayConfigT = TypeVar("ReplayConfigT", bound=ReplayOptions, default=Any)


# Learner[Any], because the options do not include those of `Training`
class RecurrentLearner(Learner[Any], Generic[RecurrentConfigT]):
    """A recurrent spiking network: all weights are trained on the first task, and the weights above
    the cut on later tasks.
    """

    scenarios = ("domain", "class")
    version = 3

    config: RecurrentConfigT
    network: RecurrentNetwork
    cut: int = -1

    def prepare(self) -> None:
        del self.kept["optimiser"]  # every task begins with a new optimiser

    @classmethod
    def check(cls, config: RecurrentConfigT, stream: StreamInfo) -> None:
        if not config.hidden:
            raise InputError("hidden = [] leaves no layer; give the units of at least one")
        if stream.steps is None:
            raise InputError(
                f"stream '{stream.name}' has no sequences in time, which {cls.name} needs; "
                "`python -m study streams` lists the streams of spike trains, such as "
                "class_incremental_one_spoken_digits"
            )

    # -- the network

    def build_network(self) -> RecurrentNetwork:
        config, stream = self.config, self.stream
        network = RecurrentNetwork(
            stream.shape[-1],
            config.hidden,
            stream.outputs,
            [generator(seed, "weights") for seed in self.seeds],
            Dynamics(config.synapse_decay, config.membrane_decay, config.slope),
            config.weight_scale,
        )
        return network.to(self.device)

    def build_optimiser(self, network: nn.Module, lr: float | None = None) -> torch.optim.Optimizer:
        return self.optimiser_of(network.parameters(), self.config.pretrain_lr)

    def optimiser_of(self, weights: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Return a new optimiser of some weights. All choices are element-wise, so seeds are
        independent.
        """
        if self.config.optimiser == "adamax":
            return Adamax(weights, lr)
        if self.config.optimiser == "adam":
            return Adam(weights, lr)
        return torch.optim.SGD(weights, lr, foreach=True)

    def encode(self, inputs: Tensor) -> Tensor:
        """Convert samples, uint8 [S, B, D], to sequences, float32 [S, T, B, channels]."""
        steps = inputs.view(*inputs.shape[:2], *self.stream.shape).transpose(1, 2)
        return steps.contiguous().to(torch.float32)

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        parts = torch.split(inputs, CHUNK, dim=1)
        return torch.cat([self.network(self.encode(part)) for part in parts], dim=1)

    def learn(self, task: Task) -> None:
        """Pre-train on the first task, or load the foundation of another trial; train the part
        above the cut on later tasks.
        """
        if not task.id and self.pretrained is None:
            super().learn(task)
            return
        self.begin_task(task)
        if not task.id and self.pretrained is not None:
            self.adopt(task, self.pretrained)
        else:
            self.learn_later(task)
        self.end_task(task)

    def epochs(self, index: int) -> int:
        return self.config.epochs if index else self.config.pretrain_epochs

    # -- pre-training

    @classmethod
    def pretraining(cls, config: RecurrentConfigT) -> tuple[str, dict[str, Any]]:
        plain = config.plain()
        return "spiking_naive", {name: plain[name] for name in Pretraining.fields()}

    def foundation(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    def adopt(self, task: Task, weights: Mapping[str, Tensor]) -> None:
        """Load the weights of another trial's pre-training, and count the samples of training."""
        self.network.load_state_dict(weights)
        size = self.config.batch_size
        samples = self.epochs(0) * task.steps(size) * task.samples_per_step(size)
        task.samples += samples
        self.trained += samples

    def observe(self, batch: Batch) -> Tensor:
        """Take a step of pre-training on all weights."""
        return self.step(batch.task, self.encode(batch.inputs), batch.labels, cut=-1)

    def step(self, task: Task, latents: Tensor, labels: Tensor, cut: int) -> Tensor:
        """Take a step on the weights above a cut; return the loss, [S].

        Args:
            latents: sequences passed at the cut, [S, T, B, units].
        """
        self.trained += labels.shape[1]
        loss = cross_entropy(self.network.above(latents, cut), labels, task.loss_mask(labels))
        return descend(loss, self.optimiser)

    # -- later tasks

    def begin_task(self, task: Task) -> None:
        """For a later task, draw the readout weights of the new classes, and start a new optimiser
        of the weights above the cut.
        """
        if task.id:
            if self.stream.scenario != "domain":
                self.draw_new_classes(task)
            weights = self.network.weights_above(self.cut)
            self.optimiser = self.optimiser_of(weights, self.config.lr)

    @torch.no_grad()
    def draw_new_classes(self, task: Task) -> None:
        """Draw new initial readout weights for the classes of a task."""
        config, readout = self.config, self.network.readout
        drawn = torch.stack(
            [
                torch.randn(readout.shape[1:], generator=generator(s, "new classes", task.id))
                for s in self.seeds
            ]
        ).to(self.device)
        drawn = drawn * config.new_class_std + config.new_class_mean
        readout.copy_(torch.where(task.outputs, drawn, readout))

    def learn_later(self, task: Task) -> None:
        """Train on a later task. The part below the cut is frozen, so that the latents are computed
        only once.
        """
        new = self.latents(task)
        for epoch in range(self.epochs(task.id)):
            for sequences, labels, new_samples in self.batches(new, task.id, epoch):
                latents = sequences.transpose(1, 2).contiguous()
                self.losses += self.step(task, latents, labels, self.cut)
                task.stepped(new_samples)

    def latents(self, task: Task) -> Packed:
        """Return the latents of a task: the sequences of all samples at the cut, uncompressed in
        time.
        """
        batch, codec = task.sample(task.size, "asked"), self.codec(self.config, self.stream)
        labels = batch.labels.to(torch.uint8)
        bits = self.compressed(batch.inputs, codec)
        parts = zip(bits, torch.split(labels, CHUNK, dim=1), strict=True)
        return Packed(codec, self.stack, self.device, parts)

    @classmethod
    def codec(cls, config: RecurrentConfigT, stream: StreamInfo, ratio: int = 1) -> Codec:
        """Return the storage format of latents, with one number for every ``ratio`` steps."""
        steps, channels = stream.shape
        return Codec("amounts", steps, channels, ratio, stream.bits)

    def compressed(self, inputs: Tensor, codec: Codec) -> Iterator[Tensor]:
        """Yield the compressed latents of inputs, uint8 [S, B, D], in chunks of bits, [S, n,
        size].
        """
        for part in torch.split(inputs, CHUNK, dim=1):
            with torch.no_grad():
                latents = self.network.below(self.encode(part), self.cut)
            yield codec.compress(latents.transpose(1, 2))

    def batches(self, new: Packed, *key: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yield the mini-batches of an epoch of a later task: sequences [S, B, T, units], labels
        [S, B], and the number of new samples among them.
        """
        size = min(self.config.batch_size, len(new))
        for slots in self.orders("batches", len(new), math.ceil(len(new) / size), size, *key):
            sequences, labels = new.gather(slots)
            yield sequences, labels, size

    def orders(self, name: str, count: int, steps: int, size: int, *key: int) -> Tensor:
        """Return random orders of the numbers below ``count``, in mini-batches, [steps, S, size];
        an order that is too short is repeated.
        """
        drawn = [torch.randperm(count, generator=generator(s, name, *key)) for s in self.seeds]
        rows = torch.stack([wrap(row, steps * size) for row in drawn])
        return rows.view(len(drawn), steps, size).transpose(0, 1).contiguous().to(self.device)


class RecurrentReplay(RecurrentLearner[ReplayConfigT]):
    """Later tasks are learnt together with latents of old samples, stored compressed in time and
    packed.
    """

    memory: CompressedMemory

    @classmethod
    def check(cls, config: ReplayConfigT, stream: StreamInfo) -> None:
        super().check(config, stream)
        if stream.steps is not None and stream.steps % config.ratio:
            divisors = [n for n in range(1, stream.steps + 1) if stream.steps % n == 0]
            raise InputError(
                f"ratio = {config.ratio} does not divide the {stream.steps} steps of the stream; "
                f"allowed: {', '.join(map(str, divisors))}"
            )
        if config.order == "mixed" and config.batch_size < 2:
            raise InputError(
                'batch_size = 1: with order = "mixed" a mini-batch needs at least two samples'
            )
        cls.check_memory(config, stream)

    @classmethod
    def check_memory(cls, config: ReplayConfigT, stream: StreamInfo) -> None:
        """Raise for a memory that cannot hold a sample of each class."""
        tasks = (stream.tasks or 1) if stream.scenario == "domain" else 1
        classes = stream.outputs * tasks
        if not cls.samples_per_class(config, stream, classes):
            key = "memory_total" if config.memory_bytes is None else "memory_bytes"
            size = cls.codec(config, stream, config.ratio).size
            raise InputError(
                f"{key} = {getattr(config, key)} is less than one sample for each of the {classes} "
                f"classes{' of all tasks' if tasks > 1 else ''} ({size} bits and a label each)"
            )

    @classmethod
    def samples_per_class(cls, config: ReplayConfigT, stream: StreamInfo, classes: int) -> int:
        """Number of samples held per class after ``classes`` classes."""
        total = config.memory_total
        if config.memory_bytes is not None:
            size = cls.codec(config, stream, config.ratio).size
            eights, rest = divmod(config.memory_bytes, size + 8)  # eight samples share their bytes
            total = 8 * eights + max(rest - size, 0)
        elif config.memory_per_class is not None:
            return config.memory_per_class
        return total // classes

    def prepare(self) -> None:
        super().prepare()
        codec = self.codec(self.config, self.stream, self.config.ratio)
        share = functools.partial(self.samples_per_class, self.config, self.stream)
        self.memory = CompressedMemory(self.seeds, codec, self.device, share, self.compressed)
        self.keep("memory")

    def end_task(self, task: Task) -> None:
        self.memory.end_task(task)

    def batches(self, new: Packed, *key: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        if self.config.order == "mixed":
            yield from self._mixed_batches(new, *key)
            return
        old = self.memory.held
        size = min(self.config.batch_size, max(len(new), len(old)))
        steps = math.ceil(len(old) / size)
        new_batches = super().batches(new, *key)
        old_batches = (
            (*old.gather(slots), 0) for slots in self.orders("replay", len(old), steps, size, *key)
        )
        for replays in self._replay_steps(math.ceil(len(new) / size), steps):
            yield next(old_batches if replays else new_batches)

    def _replay_steps(self, new_steps: int, old_steps: int) -> list[bool]:
        """Mark the steps of an epoch that replay."""
        if self.config.order == "sequential":
            return [False] * new_steps + [True] * old_steps
        places = [((k + 0.5) / new_steps, False) for k in range(new_steps)]
        places += [((k + 0.5) / old_steps, True) for k in range(old_steps)]
        return [replays for _, replays in sorted(places)]

    def _mixed_batches(self, new: Packed, *key: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yield mini-batches in which new samples have the same share as among all samples, with at
        least one new and one old sample.
        """
        old = self.memory.held
        size = min(self.config.batch_size, len(new) + len(old))
        share = round(size * len(new) / (len(new) + len(old)))
        new_samples = max(min(share, size - 1), 1)
        steps = math.ceil(len(new) / new_samples)
        new_orders = self.orders("batches", len(new), steps, new_samples, *key)
        old_orders = self.orders("replay", len(old), steps, size - new_samples, *key)
        for new_slots, old_slots in zip(new_orders, old_orders, strict=True):
            new_sequences, new_labels = new.gather(new_slots)
            old_sequences, old_labels = old.gather(old_slots)
            sequences = torch.cat([new_sequences, old_sequences], dim=1)
            labels = torch.cat([new_labels, old_labels], dim=1)
            yield sequences, labels, new_samples
