"""Reservoir sampling (Vitter 1985): a uniform sample of everything seen, without knowing tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.memory.base import SlotMemory
from trainables.rng import Draws
from trainables.streams import Batch, StreamInfo

AHEAD = 4096  # samples whose slots are found at once: a training step only looks them up


class ReservoirMemory(SlotMemory):
    """Holds ``capacity`` samples; the n-th sample of the stream (from 0) takes a free slot while n
    < capacity, else slot r ~ U{0..n} if r < capacity. A whole batch is inserted at once, with the
    result of one at a time. The slots come from the stream ``reservoir`` of each seed, number n for
    sample n.
    """

    def __init__(
        self, seeds: Sequence[int], stream: StreamInfo, device: torch.device, capacity: int
    ) -> None:
        super().__init__(seeds, stream, device, capacity)
        self._arrivals = Draws(seeds, "reservoir", device)
        self._look_ahead(AHEAD)

    def observe(self, batch: Batch) -> None:
        self.put(self.rows(batch.labels.shape[1]).flatten(), batch)

    def rows(self, count: int) -> Tensor:
        """Where the next samples go, as rows of all seeds' slots; [S, count]."""
        if self.seen + count > self._start + self._ahead.shape[1]:
            self._look_ahead(max(count, AHEAD))
        first = self.seen - self._start
        self.seen += count
        batch = slice(first, first + count)
        # of several samples that fall on one slot the last one stays
        replaced = self._next[:, batch] < first + count
        return torch.where(replaced, self._first + self.capacity, self._ahead[:, batch])

    def _look_ahead(self, count: int) -> None:
        """Find the slots of the next ``count`` samples, and which of them takes each slot next."""
        self._start = self._arrivals.position = self.seen
        number = torch.arange(self.seen, self.seen + count, device=self.inputs.device)
        slots = (self._arrivals.uniform(count).double() * (number + 1)).long()
        slots = torch.where(number < self.capacity, number, slots).clamp_(max=self.capacity)
        order = slots.argsort(dim=1, stable=True)
        same = slots.gather(1, order).diff(dim=1) == 0
        following = torch.where(same, order[:, 1:], count)
        self._next = torch.full_like(slots, count).scatter_(1, order[:, :-1], following)
        self._ahead = self._first + slots

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self._look_ahead(AHEAD)
