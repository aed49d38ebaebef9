"""What replay memories have in common: raw samples with labels, drawn uniformly with replacement.

S seeds, B batch, M samples held, D bytes of a sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from trainables.rng import Draws
from trainables.stateful import Stateful
from trainables.streams import Batch, StreamInfo, Task
from trainables.streams.views import Views


class Memory(Stateful, ABC):
    """Samples of past tasks: inputs uint8 [S, M, D] without augmentation, labels uint8 [S, M].

    Which are drawn comes from the stream ``memory`` of each seed; the views of them, where the
    stream augments, from the stream ``memory views``.
    """

    def __init__(self, seeds: Sequence[int], stream: StreamInfo, device: torch.device) -> None:
        super().__init__(len(seeds), device)
        self.inputs = torch.empty(self.stack, 0, stream.inputs, dtype=torch.uint8, device=device)
        self.labels = torch.empty(self.stack, 0, dtype=torch.uint8, device=device)
        self.draws = Draws(seeds, "memory", device)
        self.views = Views(stream.augmentation, stream.shape, seeds, "memory views", device)
        self._seed = torch.arange(len(seeds), device=device).unsqueeze(1)
        self.keep("inputs", "labels", kind="memory")
        self.keep("draws", "views")

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples a seed holds."""

    def observe(self, batch: Batch) -> None:
        """See a batch of the stream, after it was trained on."""

    def end_task(self, task: Task) -> None:
        """See a finished task."""

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Return ``count`` samples of each seed, with replacement: inputs [S, count, D], labels
        int64 [S, count].
        """
        inputs, labels = self.gather(self.draw(count))
        return self.views(inputs), labels

    def draw(self, count: int) -> Tensor:
        """Choose slots, with replacement; [S, count]."""
        return (self.draws.uniform(count) * len(self)).long()

    @contextmanager
    def drawing(self, name: str) -> Iterator[None]:
        """Draw from the streams ``name`` and, for views, ``name views`` of each seed, from their
        beginning: what is drawn meanwhile changes nothing afterwards.
        """
        kept = self.draws, self.views.draws
        seeds, device = self.draws.seeds, self.draws.device
        self.draws = Draws(seeds, name, device)
        self.views.draws = Draws(seeds, f"{name} views", device)
        try:
            yield
        finally:
            self.draws, self.views.draws = kept

    def gather(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is held in these slots of each seed: inputs [S, B, D], labels [S, B]."""
        rows = torch.add(slots, self._seed, alpha=self.labels.shape[1]).flatten()
        width = self.inputs.shape[-1]
        inputs = self.inputs.flatten(0, 1).index_select(0, rows).view(*slots.shape, width)
        return inputs, self.labels.flatten().index_select(0, rows).view(slots.shape).long()

    def class_counts(self, classes: int) -> Tensor:
        """Number of samples held of each class; [S, classes]."""
        held = self.labels[:, : len(self)].long()
        counts = torch.zeros(len(held), classes, dtype=torch.long, device=held.device)
        return counts.scatter_add_(1, held, torch.ones_like(held))


class SlotMemory(Memory):
    """A memory of ``capacity`` slots that sees the stream batch by batch.

    Every tensor that it keeps has an axis of slots after that of the seeds.
    """

    def __init__(
        self, seeds: Sequence[int], stream: StreamInfo, device: torch.device, capacity: int
    ) -> None:
        super().__init__(seeds, stream, device)
        self.capacity, self.seen = capacity, 0
        # one slot more than held: what is not kept is written there
        self.inputs = self.inputs.new_zeros(len(seeds), capacity + 1, stream.inputs)
        self.labels = self.labels.new_zeros(len(seeds), capacity + 1)
        self._first = self._seed * (capacity + 1)  # in all seeds' slots, the first of each seed
        self.keep("seen")

    def __len__(self) -> int:
        return min(self.seen, self.capacity)

    def put(self, rows: Tensor, batch: Batch) -> None:
        """Store a batch in these rows of all seeds' slots."""
        width = batch.kept.shape[-1]
        # rows of 8-byte words are copied 7 times faster than rows of bytes
        word = torch.int64 if width % 8 == 0 else torch.uint8
        held, new = self.inputs.view(-1, width), batch.kept.reshape(-1, width)
        held.view(word).index_copy_(0, rows, new.view(word))
        self.labels.view(-1).index_copy_(0, rows, batch.labels.flatten().to(torch.uint8))

    def footprint(self) -> dict[str, int]:
        """Bytes of the filled slots of one seed: a free slot holds no past data."""
        held = super().footprint()
        return held | {"memory": held["memory"] // (self.capacity + 1) * len(self)}
