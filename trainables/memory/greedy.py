"""A class-balanced random sample of the stream so far, in one pass and without task boundaries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.memory.base import SlotMemory
from trainables.rng import Draws
from trainables.streams import Batch, StreamInfo

KEY_BYTES = 4  # bytes of the key of a sample


class GreedyMemory(SlotMemory):
    """Every sample receives a random key on arrival. The samples of a class are ranked by key; the
    memory holds the ``capacity`` samples of lowest rank over all classes, equal ranks ordered by
    key.

    The samples held of a class are therefore a uniform sample of that class. The class counts
    differ by at most one, except for classes that are held completely. A sample that was discarded
    would never enter again, so inserting a whole batch gives the same result as inserting its
    samples one by one. The n-th sample of a seed has key n of the random stream ``arrivals``.

    Difference from Prabhu et al. (2020): the published sampler adds a sample while its class is
    below its share, in place of a random sample of the largest class, and so keeps the first
    samples of a class. Here every sample of a class is equally likely to be kept.
    """

    def __init__(
        self, seeds: Sequence[int], stream: StreamInfo, device: torch.device, capacity: int
    ) -> None:
        super().__init__(seeds, stream, device, capacity)
        self.keys = torch.zeros(len(seeds), capacity + 1, device=device)
        self._arrivals = Draws(seeds, "arrivals", device)
        self._classes = torch.arange(stream.outputs, device=device).repeat(len(seeds), 1)
        self.keep("keys", kind="memory")
        self.keep("_arrivals")

    def observe(self, batch: Batch) -> None:
        keys = self._arrivals.uniform(batch.labels.shape[1])
        rows = (self._first_rows + self.slots_for(keys, batch.labels)).flatten()
        self.seen += keys.shape[1]
        self.put(rows, batch)
        self.keys.view(-1).index_copy_(0, rows, keys.flatten())

    def slots_for(self, keys: Tensor, labels: Tensor) -> Tensor:
        """Return the slots of new samples, [S, B]; the extra slot for samples that are not kept.

        Args:
            keys, labels: of the new samples, [S, B].
        """
        size, free = len(self), self.capacity - len(self)
        old_keys, old_labels = self.keys[:, :size], self.labels[:, :size].long()
        kept = self.lowest_ranked(
            torch.cat([old_keys, keys], 1), torch.cat([old_labels, labels], 1)
        )
        new_kept = kept[:, size:]
        # free slots first, then the slots of discarded samples
        order = kept[:, :size].long().argsort(dim=1, stable=True)
        free_slots = torch.arange(size, size + free, device=order.device).expand(len(order), -1)
        open_slots = torch.cat([free_slots, order], 1)
        index = (new_kept.cumsum(1) - 1).clamp_(min=0)
        return torch.where(new_kept, open_slots.gather(1, index), self.capacity)

    def lowest_ranked(self, keys: Tensor, labels: Tensor) -> Tensor:
        """Mark the ``capacity`` samples of lowest rank within their class, bool [S, N]."""
        # keys are below 1: a single sort orders by class, and by key within a class
        ordered, order = (labels + keys.double()).sort(dim=1)
        classes = labels.gather(1, order)
        class_starts = torch.searchsorted(ordered, self._classes.double())
        place = torch.arange(keys.shape[1], device=keys.device)
        priority = place - class_starts.gather(1, classes) + keys.gather(1, order).double()
        chosen = order.gather(1, priority.argsort(dim=1)[:, : self.capacity])
        return torch.zeros_like(keys, dtype=torch.bool).scatter_(1, chosen, True)
