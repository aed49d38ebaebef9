"""Memory replay for spiking networks, in the order of its source.

Source: "Memory replay for continual learning with spiking neural networks" (2023) and its code. A
convolutional spiking network learns one task after the other; samples of old tasks are stored and
trained on again. Class-incremental, every task has a head of its own: the outputs of its classes,
among which its samples compete (``head_loss`` = own). After a task the weights of its head are
aligned (Zhao et al. 2020): with |w| the norm of an output's weights,

    gamma = mean |w| of old outputs / mean |w| of new outputs;   w <- gamma w   of new outputs

Task-free, there is one head and no alignment. The source replays at the start of an epoch, with
an optimiser of its own; by default, each step here joins new and old samples, with one optimiser.
What its code does otherwise than its text are options, so that their effect can be measured:
``state``, ``encoding`` and ``ties`` (:mod:`trainables.methods.spiking.leaky`), ``replay_labels``,
``replay_updates``, ``first_outputs``, ``alignment`` and ``optimiser_per_task``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainables.errors import InputError
from trainables.learner import descend
from trainables.memory import BalancedMemory, Memory, ReservoirMemory, check_budget
from trainables.memory.encoded import EncodedTask, encoded_stream, pack_bits, unpack_bits
from trainables.methods.replay import Replay
from trainables.methods.spiking.leaky import LeakyLearner, LeakyOptions
from trainables.options import LEARNING_RATE, SAMPLES, option
from trainables.rng import Draws
from trainables.streams import Batch, StreamInfo, Task


class SpikingReplay(LeakyLearner["SpikingReplay.Config"], Replay):
    """A feed-forward spiking network with a memory of old samples, or of their spikes."""

    name = "spiking_replay"
    reference = "Memory replay for continual learning with spiking neural networks (2023)"

    diagnostics: ClassVar = LeakyLearner.diagnostics | Replay.diagnostics

    class Config(LeakyOptions, Replay.Config):
        """Options of spiking replay. ``memory_bytes`` overrides ``memory_batches``, which overrides
        ``memory_per_task``, which overrides ``memory_total``.
        """

        memory_batches: int | None = option(
            None,
            "memory capacity in mini-batches per task, as in the source; 0: no replay",
            low=0,
            high=SAMPLES,
        )
        stored: str = option(
            "raw",
            "what is stored of a sample; raw: its inputs, encoded anew for each replay; encoded: "
            "its spikes, in bits",
            choices=("raw", "encoded"),
        )
        replay_schedule: str = option(
            "interleaved",
            "interleaved: each step joins new and replayed samples, in the ratio replay_ratio; "
            "epoch_start: all samples held are replayed before each epoch, task by task, as in the "
            "source",
            choices=("interleaved", "epoch_start"),
        )
        replay_lr: float = option(
            1e-4,
            "learning rate of replay at the start of an epoch, which has an optimiser of its own",
            low=0.0,
            high=LEARNING_RATE,
        )
        head_loss: str = option(
            "own",
            "outputs that compete in the loss of the scenario class; own: those of the sample's "
            "task; seen: of the tasks so far; all: of all tasks",
            choices=("own", "seen", "all"),
        )
        alignment: str = option(
            "after",
            "weights of a new head in the scenario class; after: aligned after its task; late: "
            "before the next task, as in the source, so that the newest head is tested unaligned; "
            "off",
            choices=("after", "late", "off"),
        )
        optimiser_per_task: bool = option(
            False,
            "begin each task with a new optimiser, as in the class-incremental code of the source",
        )
        replay_labels: str = option(
            "true",
            "labels of replayed samples; true; last: the last class of their task for all, as in "
            "the class-incremental code of the source",
            choices=("true", "last"),
        )
        replay_updates: str = option(
            "all",
            "weights that replay at the start of an epoch trains; all; features: those below the "
            "outputs, as in the class-incremental code of the source",
            choices=("all", "features"),
        )
        first_outputs: str = option(
            "as_others",
            "outputs that compete for replayed samples of the first task if head_loss is own; "
            "as_others: as for those of other tasks; seen: those of the tasks so far, as in the "
            "source",
            choices=("as_others", "seen"),
        )

    # -- the memory

    @classmethod
    def check(cls, config: Any, stream: StreamInfo) -> None:
        super().check(config, stream)
        if config.stored == "encoded" and (config.encoding == "direct" or config.units == "relu"):
            raise InputError(
                "stored = 'encoded' needs spikes: set encoding to 'rate' or 'static', and units to "
                "'leaky'"
            )
        if config.replay_schedule == "epoch_start" and stream.tasks is None:
            raise InputError(
                "replay_schedule = 'epoch_start': a task-free stream has no epochs; use "
                "'interleaved'"
            )
        if stream.scenario != "class" and (
            config.replay_labels != "true" or config.first_outputs != "as_others"
        ):
            raise InputError(
                "replay_labels = 'last' and first_outputs = 'seen' need a head for each task, as "
                "in the scenario 'class'"
            )
        if config.memory_batches != 0 or config.memory_bytes is not None:
            is_shared = config.memory_policy == "balanced"
            check_budget(cls.budget(config), cls.held(config, stream), shared=is_shared)

    @classmethod
    def budget(cls, config: Config) -> Config:
        """Return the configuration with a memory in batches as one in samples."""
        if not config.memory_batches:
            return config
        return replace(config, memory_per_task=config.memory_batches * config.batch_size)

    @classmethod
    def held(cls, config: Config, stream: StreamInfo) -> StreamInfo:
        """Return the facts of the samples that the memory holds."""
        if config.stored == "raw":
            return stream
        return encoded_stream(stream, config.steps if config.encoding == "rate" else 1)

    def build_memory(self, config: Any, stream: StreamInfo) -> Memory:
        held = self.held(config, stream)
        if config.memory_batches == 0 and config.memory_bytes is None:
            return BalancedMemory(self.seeds, held, self.device, lambda tasks: 0)
        return super().build_memory(self.budget(config), held)

    def packed(self, inputs: Tensor) -> Tensor:
        """Return stored inputs as the memory holds them."""
        if self.config.stored == "raw":
            return inputs
        return pack_bits(self.frames(inputs, self.storing))

    def unpacked(self, inputs: Tensor) -> Tensor:
        """Return what the memory holds as frames [S, F, B, D]."""
        if self.config.stored == "raw":
            return self.frames(inputs, self.replaying)
        return unpack_bits(inputs, self.frames_drawn, self.stream.inputs)

    def prepare(self) -> None:
        super().prepare()
        config, outputs = self.config, self.stream.outputs
        # the task of each output, [S, C]; -1 before its task
        self.head = torch.full((len(self.seeds), outputs), -1, device=self.device)
        self.storing = Draws(self.seeds, "encoding of stored samples", self.device)
        self.replaying = Draws(self.seeds, "encoding of replayed samples", self.device)
        self.keep("head", "storing", "replaying")
        if config.optimiser_per_task and self.stream.tasks is not None:
            del self.kept["optimiser"]
        if config.replay_schedule == "epoch_start":
            network, is_all = self.network, config.replay_updates == "all"
            weights = [*network.parameters()] if is_all else network.below_readout
            self.replay_optimiser = self.optimiser_of(weights, config.replay_lr)
            self.keep("replay_optimiser")

    # -- learning

    def begin_task(self, task: Task) -> None:
        if self.config.alignment == "late":
            self.align(task.id - 1)
        is_new = task.outputs.squeeze(1) & (self.head < 0)
        self.head = torch.where(is_new, task.id, self.head)
        if self.config.optimiser_per_task:
            self.optimiser = self.build_optimiser(self.network)

    def observe(self, batch: Batch) -> Tensor:
        """Take a step on new samples and, if interleaved, on replayed ones."""
        config, task = self.config, batch.task
        frames, labels = self.frames(batch.inputs, self.draws), batch.labels
        new = labels.shape[1]
        count = round(config.replay_ratio * new)
        if config.replay_schedule == "epoch_start":
            if not task.steps_done % task.steps(config.batch_size):
                self.replay(task)
        elif len(self.memory) and count:
            old, old_labels = self.memory.sample(count)
            frames = torch.cat([frames, self.unpacked(old)], 2)
            labels = torch.cat([labels, self.relabelled(old_labels)], 1)
        loss = self.losses_of(self.run(frames).record, labels, self.mask(task, labels, new))
        losses = self.descend(loss)
        if isinstance(self.memory, ReservoirMemory):
            stored = self.packed(batch.unaugmented)
            self.memory.observe(replace(batch, inputs=stored, originals=None))
        return losses

    def replay(self, task: Task) -> None:
        """Take a step on each mini-batch of the memory, task by task."""
        for slots in self.held_batches():
            inputs, labels = self.memory.gather(slots)
            labels = self.relabelled(labels)
            record = self.run(self.unpacked(self.memory.views(inputs))).record
            loss = self.losses_of(record, labels, self.mask(task, labels, 0))
            descend(loss, self.replay_optimiser)

    def held_batches(self) -> Iterator[Tensor]:
        """Yield the slots of the mini-batches of each task in the memory, [S, B]."""
        memory, first = self.memory, 0
        for share in memory.shares if isinstance(memory, BalancedMemory) else [len(memory)]:
            for start in range(first, first + share, self.config.batch_size):
                end = min(start + self.config.batch_size, first + share)
                yield torch.arange(start, end, device=self.device).expand(len(self.seeds), -1)
            first += share

    def relabelled(self, labels: Tensor) -> Tensor:
        """Return the labels that replayed samples are trained with, [S, B]."""
        if self.config.replay_labels == "true":
            return labels
        together = self.head.unsqueeze(1) == self.head.unsqueeze(2)  # classes of one task
        last = (together * torch.arange(self.head.shape[1], device=self.device)).amax(2)
        return last.gather(1, labels)

    def mask(self, task: Task, labels: Tensor, new: int) -> Tensor | None:
        """Return the outputs that compete in the loss, bool [S, B or 1, C]; None for all.

        Args:
            new: number of new samples; the others are replayed.
        """
        if self.stream.scenario != "class":
            return task.loss_mask(labels)
        seen = self.head.unsqueeze(1) >= 0
        if self.config.head_loss != "own":
            return seen if self.config.head_loss == "seen" else None
        heads = self.head.gather(1, labels).unsqueeze(2)
        own = self.head.unsqueeze(1) == heads
        if self.config.first_outputs == "seen":
            own[:, new:] |= (heads[:, new:] == 0) & seen
        return own

    # -- heads

    def end_task(self, task: Task) -> None:
        if self.config.alignment == "after":
            self.align(task.id)
        held: Any = EncodedTask(task, self.packed) if self.config.stored == "encoded" else task
        self.memory.end_task(held)

    @torch.no_grad()
    def align(self, task: int) -> None:
        """Scale the weights of a task's outputs so that their mean norm is that of older ones, in
        the scenario class.
        """
        if self.stream.scenario != "class":
            return
        weight = self.network.readout.weight  # [S, in, C]
        is_new, is_old = self.head == task, (self.head >= 0) & (self.head < task)
        norms = weight.norm(dim=1)
        new, old = ((norms * of).sum(1) / of.sum(1).clamp(min=1) for of in (is_new, is_old))
        scales = is_new & is_old.any(1, keepdim=True)
        weight.mul_(torch.where(scales, (old / new).unsqueeze(1), 1.0).unsqueeze(1))

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        return LeakyLearner.diagnose(self) | Replay.diagnose(self)
