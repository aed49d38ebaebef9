"""Reservoir sampling (Vitter 1985): a uniform sample of the stream, without task boundaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.memory.base import SlotMemory
from trainables.rng import Draws
from trainables.streams import Batch, StreamInfo

AHEAD = 4096  # samples whose slots are computed at once: a training step only looks slots up


class ReservoirMemory(SlotMemory):
    """Holds ``capacity`` samples. Sample n of the stream (from 0) takes a free slot while n <
    capacity; afterwards slot r ~ U{0..n}, if r < capacity. A batch is inserted at once, with the
    same result as sample by sample. The slot of sample n comes from number n of the seed's random
    stream ``reservoir``.
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
        """Return the rows of the next samples among the slots of all seeds, [S, count]."""
        if self.seen + count > self._start + self._ahead.shape[1]:
            self._look_ahead(max(count, AHEAD))
        first = self.seen - self._start
        self.seen += count
        batch = slice(first, first + count)
        # of several samples for the same slot, the last is kept
        replaced = self._next[:, batch] < first + count
        return torch.where(replaced, self._first_rows + self.capacity, self._ahead[:, batch])

    def _look_ahead(self, count: int) -> None:
        """Compute the rows of the next ``count`` samples, and for each sample the next sample with
        the same slot.
        """
        self._start = self._arrivals.position = self.seen
        number = torch.arange(self.seen, self.seen + count, device=self.inputs.device)
        slots = (self._arrivals.uniform(count).double() * (number + 1)).long()
        slots = torch.where(number < self.capacity, number, slots).clamp_(max=self.capacity)
        order = slots.argsort(dim=1, stable=True)
        same = slots.gather(1, order).diff(dim=1) == 0
        following = torch.where(same, order[:, 1:], count)
        self._next = torch.full_like(slots, count).scatter_(1, order[:, :-1], following)
        self._ahead = self._first_rows + slots

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self._look_ahead(AHEAD)
