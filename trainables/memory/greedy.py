"""A class-balanced random sample of everything seen, from one pass, without knowing tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.memory.base import SlotMemory
from trainables.rng import Draws
from trainables.streams import Batch, StreamInfo

KEY_BYTES = 4  # kept with each sample


class GreedyMemory(SlotMemory):
    """Every sample gets a random key as it arrives. Of each class those with the smallest keys are
    held: over all classes, the ``capacity`` samples of lowest rank within their class, the smaller
    key first where ranks are equal.

    So what is held of a class is a uniform sample of it, and class counts differ by at most one,
    save for classes that are held whole. A sample once let go would never have been held again, so
    a batch is inserted at once with the result of one at a time. Key n of the stream ``arrivals``
    of a seed is that of its n-th sample.

    The sampler of Prabhu et al. (2020) takes in a sample while its class has less than its share,
    in place of a random one of the largest class: it holds the first samples of a class, ours any.
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
        rows = (self._first + self.slots(keys, batch.labels)).flatten()
        self.seen += keys.shape[1]
        self.put(rows, batch)
        self.keys.view(-1).index_copy_(0, rows, keys.flatten())

    def slots(self, keys: Tensor, labels: Tensor) -> Tensor:
        """Where new samples go, [S, B]; the slot after the last for those that are not held."""
        filled, free = len(self), self.capacity - len(self)
        old, old_labels = self.keys[:, :filled], self.labels[:, :filled].long()
        kept = self.lowest(torch.cat([old, keys], 1), torch.cat([old_labels, labels], 1))
        taken = kept[:, filled:]
        # free slots, then those let go
        order = kept[:, :filled].long().argsort(dim=1, stable=True)
        fresh = torch.arange(filled, filled + free, device=order.device).expand(len(order), -1)
        open_slots = torch.cat([fresh, order], 1)
        which = (taken.cumsum(1) - 1).clamp_(min=0)
        return torch.where(taken, open_slots.gather(1, which), self.capacity)

    def lowest(self, keys: Tensor, labels: Tensor) -> Tensor:
        """Mark the ``capacity`` samples of lowest rank within their class; [S, N]."""
        # keys are below 1: one sort puts classes in order and their samples too
        ordered, order = (labels + keys.double()).sort(dim=1)
        kinds = labels.gather(1, order)
        firsts = torch.searchsorted(ordered, self._classes.double())
        place = torch.arange(keys.shape[1], device=keys.device)
        priority = place - firsts.gather(1, kinds) + keys.gather(1, order).double()
        chosen = order.gather(1, priority.argsort(dim=1)[:, : self.capacity])
        return torch.zeros_like(keys, dtype=torch.bool).scatter_(1, chosen, True)
