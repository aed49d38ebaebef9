"""A memory with an equal share for each task finished so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.memory.base import Memory
from trainables.streams import StreamInfo, Task


class BalancedMemory(Memory):
    """After task t, ``share(t)`` random samples of each of the t tasks.

    A task's samples are stored in random order, so a smaller share is its first part: no second
    draw.

    Args:
        share: how many samples are held of each task, by the number of finished tasks.
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
        self._known: Any = (None, None)  # what the last even draw was laid out for, and how
        self.keep("shares")

    def __len__(self) -> int:
        return sum(self.shares)

    def end_task(self, task: Task) -> None:
        share = self.share(len(self.shares) + 1)
        new = task.sample(min(share, task.size), "kept")
        inputs = [block[:, :share] for block in torch.split(self.inputs, self.shares, dim=1)]
        labels = [block[:, :share] for block in torch.split(self.labels, self.shares, dim=1)]
        self.shares = [min(held, share) for held in self.shares] + [new.labels.shape[1]]
        self.inputs = torch.cat([*inputs, new.inputs], dim=1)
        self.labels = torch.cat([*labels, new.labels.to(torch.uint8)], dim=1)

    def draw_evenly(self, count: int) -> Tensor:
        """Choose slots, [S, count]: as many of each task, without replacement; what is left over
        from the first task on; with replacement only where there are not enough.
        """
        owners, first = self._layout(count)
        # sorting random keys within each task puts its slots in random order
        keys = self.draws.uniform(len(self)) + owners
        chosen = keys.argsort(dim=1, stable=True)[:, first]
        missing = count - chosen.shape[1]
        return torch.cat([chosen, self.draw(missing)], 1) if missing else chosen

    def _layout(self, count: int) -> tuple[Tensor, Tensor]:
        """The task of each slot, and which slots of a task in order an even draw takes. They are
        found once for a memory as it is: a step copies nothing to the device.
        """
        key = (count, tuple(self.shares))
        if self._known[0] != key:
            wanted = even_shares(count, self.shares)
            starts = [sum(self.shares[:task]) for task in range(len(wanted))]
            first = [torch.arange(a, a + n) for a, n in zip(starts, wanted, strict=True)]
            owners = torch.arange(len(self.shares)).repeat_interleave(torch.tensor(self.shares))
            device = self.inputs.device
            self._known = (key, (owners.to(device), torch.cat(first).to(device)))
        owners, slots = self._known[1]
        return owners, slots


def even_shares(count: int, held: Sequence[int]) -> list[int]:
    """Samples to draw of each task: equal shares, what is left over from the first task on."""
    wanted = [min(max(1, count // len(held)), each) for each in held][:count]
    for task, share in enumerate(wanted):
        wanted[task] += min(count - sum(wanted), held[task] - share)
    return wanted
