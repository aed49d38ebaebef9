"""Rehearsal of spiking networks: what compressed latent replay is compared with."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from trainables.errors import InputError
from trainables.memory.compressed import CompressedMemory, Packed
from trainables.methods.spiking.spiking_naive import SpikingNaive
from trainables.options import BYTES, SAMPLES, STEPS, option
from trainables.rehearsal import Keeping
from trainables.streams import StreamInfo, Task

ORDERS = ("sequential", "interleaved", "mixed")


class SpikingRehearsal(Keeping, SpikingNaive):
    """All weights learn the new task, and samples of the old ones as they came, or with the spikes
    of a window added up and put at its first step.
    """

    name = "spiking_rehearsal"
    reference = "rehearsal of Dequino et al. 2024, Compressed Latent Replays"

    class Config(SpikingNaive.Config):
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

    @classmethod
    def check(cls, config: Any, stream: StreamInfo) -> None:
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
    def check_memory(cls, config: Any, stream: StreamInfo) -> None:
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
    def held_of_each(cls, config: Any, stream: StreamInfo, classes: int) -> int:
        """Samples held of each class when so many have been seen."""
        total: int = config.memory_total
        if config.memory_bytes is not None:
            size = cls.codec(config, stream, config.ratio).size
            eights, rest = divmod(config.memory_bytes, size + 8)  # eight samples share bytes
            total = 8 * eights + max(rest - size, 0)
        elif config.memory_per_class is not None:
            return int(config.memory_per_class)
        return total // classes

    memory: CompressedMemory

    def prepare(self) -> None:
        codec = self.codec(self.config, self.stream, self.config.ratio)
        share = functools.partial(self.held_of_each, self.config, self.stream)
        self.memory = CompressedMemory(self.seeds, codec, self.device, share, self.compressed)

    def end_task(self, task: Task) -> None:
        self.memory.end_task(task)

    def parts(self, new: Packed, *key: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        if self.config.order == "mixed":
            yield from self._mixed(new, *key)
            return
        old = self.memory.held
        size = min(self.config.batch_size, max(len(new), len(old)))
        steps = math.ceil(len(old) / size)
        fresh = super().parts(new, *key)
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
