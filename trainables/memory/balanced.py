"""A memory with an equal share for each finished task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.memory.base import Memory
from trainables.streams import StreamInfo, Task


class BalancedMemory(Memory):
    """After task t, holds ``share(t)`` random samples of each of the t tasks.

    The samples of a task are stored in random order: shrinking a share keeps the first samples,
    without another random draw.

    Args:
        share: maps the number of finished tasks to the number of samples held per task.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        stream: StreamInfo,
        device: torch.device,
        share: Callable[[int], int],
    ) -> None:
        super().__init__(seeds, stream, device)
        self.share = share
        self.shares: list[int] = []  # samples held of each task
        self._cached_layout: Any = (None, None)  # key and value of the last `_layout`
        self.keep("shares")

    def __len__(self) -> int:
        return sum(self.shares)

    def end_task(self, task: Task) -> None:
        share = self.share(len(self.shares) + 1)
        new = task.sample(min(share, task.size), "kept")
        inputs = [block[:, :share] for block in torch.split(self.inputs, self.shares, dim=1)]
        labels = [block[:, :share] for block in torch.split(self.labels, self.shares, dim=1)]
        self.shares = [min(old_share, share) for old_share in self.shares] + [new.labels.shape[1]]
        self.inputs = torch.cat([*inputs, new.inputs], dim=1)
        self.labels = torch.cat([*labels, new.labels.to(torch.uint8)], dim=1)

    def draw_evenly(self, count: int) -> Tensor:
        """Draw slots, [S, count], evenly over the tasks and without replacement; the earliest tasks
        provide the remainder. Draws with replacement only if the memory has too few samples.
        """
        owners, first = self._layout(count)
        # sorting random keys within each task puts its slots in random order
        keys = self.draws.uniform(len(self)) + owners
        chosen = keys.argsort(dim=1, stable=True)[:, first]
        missing = count - chosen.shape[1]
        return torch.cat([chosen, self.draw(missing)], 1) if missing else chosen

    def _layout(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the task of each slot, and the places of an even draw among the slots shuffled
        within each task. Cached until the shares change, so that a step copies nothing to the
        device.
        """
        key = (count, tuple(self.shares))
        if self._cached_layout[0] != key:
            counts = even_counts(count, self.shares)
            starts = [sum(self.shares[:task]) for task in range(len(counts))]
            first = [torch.arange(a, a + n) for a, n in zip(starts, counts, strict=True)]
            owners = torch.arange(len(self.shares)).repeat_interleave(torch.tensor(self.shares))
            device = self.inputs.device
            self._cached_layout = (key, (owners.to(device), torch.cat(first).to(device)))
        owners, places = self._cached_layout[1]
        return owners, places


def even_counts(count: int, shares: Sequence[int]) -> list[int]:
    """Return the number of samples to draw of each task: equal numbers, the remainder taken from
    the earliest tasks.

    >>> even_counts(7, [5, 5, 1])
    [4, 2, 1]

    Args:
        shares: samples held of each task.
    """
    counts = [min(max(1, count // len(shares)), share) for share in shares][:count]
    for task, drawn in enumerate(counts):
        counts[task] += min(count - sum(counts), shares[task] - drawn)
    return counts
