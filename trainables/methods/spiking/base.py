"""What spiking learners that are pre-trained on the first task have in common, in the order of the
paper: the network, pre-training, later tasks, and the replay of samples in later tasks.

Source: Dequino et al. 2024, "Compressed latent replays for lightweight continual learning on
spiking neural networks", and its code, whose values are the defaults. The network is cut in two:
after pre-training what is below the cut stays as it is. A learner without replay, or that replays
samples as they came, has its cut at the inputs (-1), and learns with all weights.
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
from trainables.memory.compressed import AT_ONCE, Codec, CompressedMemory, Packed
from trainables.nn.adamax import Adamax
from trainables.nn.recurrent import Dynamics, RecurrentNetwork
from trainables.options import BYTES, EPOCHS, FACTOR, LEARNING_RATE, SAMPLES, STEPS, Options, option
from trainables.rng import generator
from trainables.streams import Batch, StreamInfo, Task
from trainables.streams.stream import wrap

DEEPEST = 16  # most recurrent layers
ORDERS = ("sequential", "interleaved", "mixed")


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


class SpikingOptions(Pretraining):
    """Options of pre-training and of what follows."""

    lr: float = option(2e-4, "learning rate of later tasks", low=0.0, high=LEARNING_RATE)
    epochs: int = option(50, "passes over the data of a later task", low=1, high=EPOCHS)
    new_class_mean: float = option(
        0.003, "mean of the readout's weights of a new class", low=-100.0, high=100.0
    )
    new_class_std: float = option(0.003, "their deviation", low=0.0, high=100.0)


class ReplayOptions(SpikingOptions):
    """Options of replay. ``memory_bytes`` goes before ``memory_per_class``, which goes before
    ``memory_total``.
    """

    memory_total: int = option(2560, "samples held, as many of each class", low=1, high=SAMPLES)
    memory_per_class: int | None = option(
        None,
        "samples held of each class of each task; takes the place of memory_total",
        low=1,
        high=SAMPLES,
    )
    memory_bytes: int | None = option(
        None,
        "bytes held, a byte for each label included; takes the place of the numbers of samples",
        low=1,
        high=BYTES,
    )
    ratio: int = option(
        1, "steps of a window of which one number a unit is kept", low=1, high=STEPS
    )
    order: str = option(
        "sequential",
        "of an epoch: new batches and then replayed ones, both in turn, or batches that have "
        "their share of both",
        choices=ORDERS,
    )


SpikingConfigT = TypeVar("SpikingConfigT", bound=SpikingOptions, default=Any)
ReplayConfigT = TypeVar("ReplayConfigT", bound=ReplayOptions, default=Any)


# these have not all options of `Training`, which a learner of a dense network has
class SpikingLearner(Learner[Any], Generic[SpikingConfigT]):
    """A recurrent spiking network: all weights learn the first task, and those above the cut each
    later one.
    """

    scenarios = ("domain", "class")
    version = 2

    config: SpikingConfigT
    network: RecurrentNetwork
    cut: int = -1

    def prepare(self) -> None:
        del self.kept["optimiser"]  # every task begins with a new one

    @classmethod
    def check(cls, config: SpikingConfigT, stream: StreamInfo) -> None:
        if not config.hidden:
            raise InputError("hidden = [] leaves no layer; give the units of at least one")
        if stream.steps is None:
            raise InputError(
                f"stream '{stream.name}' has no sequences in time, which {cls.name} needs; "
                "`python -m study streams` lists those of spike trains, such as "
                "class_incremental_one_spoken_digits"
            )

    # -- the network

    def build_network(self) -> RecurrentNetwork:
        config, stream = self.config, self.stream
        how = Dynamics(config.synapse_decay, config.membrane_decay, config.slope)
        draws = [generator(seed, "weights") for seed in self.seeds]
        units, outputs = stream.shape[-1], stream.outputs
        network = RecurrentNetwork(units, config.hidden, outputs, draws, how, config.weight_scale)
        return network.to(self.device)

    def build_optimiser(self, network: nn.Module, lr: float | None = None) -> torch.optim.Optimizer:
        return self.optimiser_of(network.parameters(), self.config.pretrain_lr)

    def optimiser_of(self, weights: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Return a new optimiser of some weights; all of them are element-wise."""
        if self.config.optimiser == "adamax":
            return Adamax(weights, lr)
        if self.config.optimiser == "adam":
            return torch.optim.Adam(weights, lr, fused=True)
        return torch.optim.SGD(weights, lr, fused=True)

    def encode(self, inputs: Tensor) -> Tensor:
        """Turn samples, uint8 [S, B, D], into sequences, [S, T, B, channels]."""
        steps = inputs.view(*inputs.shape[:2], *self.stream.shape).transpose(1, 2)
        return steps.contiguous().to(torch.float32)

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        parts = torch.split(inputs, AT_ONCE, dim=1)
        return torch.cat([self.network(self.encode(part)) for part in parts], dim=1)

    def learn(self, task: Task) -> None:
        """Pre-train on the first task, or take what another trial's pre-training left; learn a
        later task from what crosses the cut.
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
    def pretraining(cls, config: SpikingConfigT) -> tuple[str, dict[str, Any]]:
        plain = config.plain()
        return "spiking_naive", {name: plain[name] for name in Pretraining.fields()}

    def foundation(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    def adopt(self, task: Task, weights: Mapping[str, Tensor]) -> None:
        """Take what pre-training leaves, and count it."""
        self.network.load_state_dict(weights)
        size = self.config.batch_size
        samples = self.epochs(0) * task.steps(size) * task.samples_a_step(size)
        task.samples += samples
        self.trained += samples

    def observe(self, batch: Batch) -> Tensor:
        """Take a step of pre-training, with all weights."""
        return self.step(batch.task, self.encode(batch.inputs), batch.labels, cut=-1)

    def step(self, task: Task, passed: Tensor, labels: Tensor, cut: int) -> Tensor:
        """Take a step on what crosses a cut, [S, T, B, units], with the weights above it."""
        self.trained += labels.shape[1]
        loss = cross_entropy(self.network.above(passed, cut), labels, task.loss_mask(labels))
        return descend(loss, self.optimiser)

    # -- later tasks

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

    def learn_later(self, task: Task) -> None:
        """Learn a later task. What is below the cut does not change, so that what crosses it is
        computed once.
        """
        new = self.latents(task)
        for epoch in range(self.epochs(task.id)):
            for sequences, labels, fresh in self.batches(new, task.id, epoch):
                passed = sequences.transpose(1, 2).contiguous()
                self.losses += self.step(task, passed, labels, self.cut)
                task.stepped(fresh)

    def latents(self, task: Task) -> Packed:
        """What crosses the cut of each sample of a task, at full length."""
        batch, codec = task.sample(task.size, "asked"), self.codec(self.config, self.stream)
        labels = batch.labels.to(torch.uint8)
        passed = self.compressed(batch.inputs, codec)
        named = zip(passed, torch.split(labels, AT_ONCE, dim=1), strict=True)
        return Packed(codec, self.stack, self.device, named)

    @classmethod
    def codec(cls, config: SpikingConfigT, stream: StreamInfo, ratio: int = 1) -> Codec:
        """How what crosses the cut is kept, with a number for every ``ratio`` steps."""
        steps, channels = stream.shape
        return Codec("amounts", steps, channels, ratio, stream.bits)

    def compressed(self, inputs: Tensor, codec: Codec) -> Iterator[Tensor]:
        """Compress what crosses the cut of inputs, uint8 [S, B, D]: bits [S, n, size] of some
        samples at a time.
        """
        for part in torch.split(inputs, AT_ONCE, dim=1):
            with torch.no_grad():
                passed = self.network.below(self.encode(part), self.cut)
            yield codec.compress(passed.transpose(1, 2))

    def batches(self, new: Packed, *key: int) -> Iterator[tuple[Tensor, Tensor, int]]:
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


class SpikingReplay(SpikingLearner[ReplayConfigT]):
    """Later tasks are learnt together with old samples: of each, what crossed the cut is kept,
    compressed in time and packed.
    """

    memory: CompressedMemory

    @classmethod
    def check(cls, config: ReplayConfigT, stream: StreamInfo) -> None:
        super().check(config, stream)
        if stream.steps is not None and stream.steps % config.ratio:
            fit = [n for n in range(1, stream.steps + 1) if stream.steps % n == 0]
            raise InputError(
                f"ratio = {config.ratio} does not divide the {stream.steps} steps of the stream; "
                f"allowed: {', '.join(map(str, fit))}"
            )
        if config.order == "mixed" and config.batch_size < 2:
            raise InputError("batch_size = 1: a batch of mixed order has a new and an old sample")
        cls.check_memory(config, stream)

    @classmethod
    def check_memory(cls, config: ReplayConfigT, stream: StreamInfo) -> None:
        """Refuse a memory that cannot hold a sample of each class."""
        tasks = (stream.tasks or 1) if stream.scenario == "domain" else 1
        classes = stream.outputs * tasks
        if not cls.held_of_each(config, stream, classes):
            key = "memory_total" if config.memory_bytes is None else "memory_bytes"
            size = cls.codec(config, stream, config.ratio).size
            raise InputError(
                f"{key} = {getattr(config, key)} is less than a sample of each of the {classes} "
                f"classes{' of all tasks' if tasks > 1 else ''} ({size} bits and a label each)"
            )

    @classmethod
    def held_of_each(cls, config: ReplayConfigT, stream: StreamInfo, classes: int) -> int:
        """Samples held of each class when so many have been seen."""
        total = config.memory_total
        if config.memory_bytes is not None:
            size = cls.codec(config, stream, config.ratio).size
            eights, rest = divmod(config.memory_bytes, size + 8)  # eight samples share bytes
            total = 8 * eights + max(rest - size, 0)
        elif config.memory_per_class is not None:
            return config.memory_per_class
        return total // classes

    def prepare(self) -> None:
        super().prepare()
        codec = self.codec(self.config, self.stream, self.config.ratio)
        share = functools.partial(self.held_of_each, self.config, self.stream)
        self.memory = CompressedMemory(self.seeds, codec, self.device, share, self.compressed)
        self.keep("memory")

    def end_task(self, task: Task) -> None:
        self.memory.end_task(task)

    def batches(self, new: Packed, *key: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        if self.config.order == "mixed":
            yield from self._mixed(new, *key)
            return
        old = self.memory.held
        size = min(self.config.batch_size, max(len(new), len(old)))
        steps = math.ceil(len(old) / size)
        fresh = super().batches(new, *key)
        replayed = ((*old.gather(s), 0) for s in self.orders("replay", len(old), steps, size, *key))
        for replays in self._turns(math.ceil(len(new) / size), steps):
            yield next(replayed if replays else fresh)

    def _turns(self, new: int, old: int) -> list[bool]:
        """Which steps of an epoch replay, of so many with new and with old samples."""
        if self.config.order == "sequential":
            return [False] * new + [True] * old
        places = [((k + 0.5) / new, False) for k in range(new)]
        places += [((k + 0.5) / old, True) for k in range(old)]
        return [replays for _, replays in sorted(places)]

    def _mixed(self, new: Packed, *key: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Batches with as large a share of new samples as there are among all, but with one of
        each kind at least.
        """
        old = self.memory.held
        size = min(self.config.batch_size, len(new) + len(old))
        share = round(size * len(new) / (len(new) + len(old)))
        fresh = max(min(share, size - 1), 1)
        steps = math.ceil(len(new) / fresh)
        mine = self.orders("batches", len(new), steps, fresh, *key)
        theirs = self.orders("replay", len(old), steps, size - fresh, *key)
        for slots, others in zip(mine, theirs, strict=True):
            both = zip(new.gather(slots), old.gather(others), strict=True)
            sequences, labels = (torch.cat(pair, dim=1) for pair in both)
            yield sequences, labels, fresh
