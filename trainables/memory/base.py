"""Base classes of replay memories: raw samples with labels, drawn uniformly with replacement.

S seeds, B batch, M samples held, D bytes per sample.
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
    """Samples of past tasks: inputs [S, M, D] as stored by the stream, without augmentation, and
    labels uint8 [S, M].

    The random stream ``memory`` of each seed chooses the samples; the random stream ``memory
    views`` augments them, if the task stream does.
    """

    def __init__(self, seeds: Sequence[int], stream: StreamInfo, device: torch.device) -> None:
        super().__init__(len(seeds), device)
        self.inputs = torch.empty(self.stack, 0, stream.inputs, dtype=stream.dtype, device=device)
        self.labels = torch.empty(self.stack, 0, dtype=torch.uint8, device=device)
        self.draws = Draws(seeds, "memory", device)
        self.views = Views(stream.augmentation, stream.shape, seeds, "memory views", device)
        self._seed_index = torch.arange(len(seeds), device=device).unsqueeze(1)
        self.keep("inputs", "labels", kind="memory")
        self.keep("draws", "views")

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples held per seed."""

    def observe(self, batch: Batch) -> None:
        """Update the memory with a batch, after the training step on that batch."""

    def end_task(self, task: Task) -> None:
        """Update the memory with a finished task."""

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Return ``count`` samples per seed, drawn with replacement: inputs [S, count, D], labels
        int64 [S, count].
        """
        inputs, labels = self.gather(self.draw(count))
        return self.views(inputs), labels

    def draw(self, count: int) -> Tensor:
        """Draw slots with replacement, [S, count]."""
        return (self.draws.uniform(count) * len(self)).long()

    @contextmanager
    def drawing(self, name: str) -> Iterator[None]:
        """Within this context, draw from the random streams ``name`` and, for views, ``name
        views``, each from its beginning. The memory's own random streams are left untouched.
        """
        own_draws = self.draws, self.views.draws
        seeds, device = self.draws.seeds, self.draws.device
        self.draws = Draws(seeds, name, device)
        self.views.draws = Draws(seeds, f"{name} views", device)
        try:
            yield
        finally:
            self.draws, self.views.draws = own_draws

    def gather(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Return the samples in the given slots, [S, B]: inputs [S, B, D], labels [S, B]."""
        rows = torch.add(slots, self._seed_index, alpha=self.labels.shape[1]).flatten()
        width = self.inputs.shape[-1]
        inputs = self.inputs.flatten(0, 1).index_select(0, rows).view(*slots.shape, width)
        return inputs, self.labels.flatten().index_select(0, rows).view(slots.shape).long()

    def class_counts(self, classes: int) -> Tensor:
        """Number of samples held of each class, [S, classes]."""
        labels = self.labels[:, : len(self)].long()
        counts = torch.zeros(len(labels), classes, dtype=torch.long, device=labels.device)
        return counts.scatter_add_(1, labels, torch.ones_like(labels))


class SlotMemory(Memory):
    """A memory of ``capacity`` slots that is updated batch by batch.

    The second axis of every tensor registered as memory is the axis of slots.
    """

    def __init__(
        self, seeds: Sequence[int], stream: StreamInfo, device: torch.device, capacity: int
    ) -> None:
        super().__init__(seeds, stream, device)
        self.capacity, self.seen = capacity, 0
        # one slot more than the capacity: samples that are not kept are written there
        self.inputs = self.inputs.new_zeros(len(seeds), capacity + 1, stream.inputs)
        self.labels = self.labels.new_zeros(len(seeds), capacity + 1)
        self._first_rows = self._seed_index * (capacity + 1)  # of each seed, among all seeds' slots
        self.keep("seen")

    def __len__(self) -> int:
        return min(self.seen, self.capacity)

    def put(self, rows: Tensor, batch: Batch) -> None:
        """Store a batch in the given rows, [S * B], of the slots of all seeds."""
        width = batch.unaugmented.shape[-1]
        # rows of 8-byte words are copied 7 times faster than rows of bytes
        whole_words = width * self.inputs.itemsize % torch.int64.itemsize == 0
        word = torch.int64 if whole_words else self.inputs.dtype
        slots, new = self.inputs.view(-1, width), batch.unaugmented.reshape(-1, width)
        slots.view(word).index_copy_(0, rows, new.view(word))
        self.labels.view(-1).index_copy_(0, rows, batch.labels.flatten().to(torch.uint8))

    def footprint(self) -> dict[str, int]:
        """Return the bytes per seed by kind; ``memory`` counts only the filled slots."""
        allocated = super().footprint()
        return allocated | {"memory": allocated["memory"] // (self.capacity + 1) * len(self)}
