"""A memory with an equal share for each task finished so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from trainables.memory.base import Memory
from trainables.streams import Task


class BalancedMemory(Memory):
    """After task t, ``total // t`` random samples of each of the t tasks; or, given ``per_task``,
    that many of each.

    A task's samples are stored in random order, so a smaller share is its first part: no second
    draw.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        width: int,
        device: torch.device,
        total: int,
        per_task: int | None = None,
    ) -> None:
        super().__init__(seeds, width, device)
        self.total, self.per_task = total, per_task
        self.shares: list[int] = []  # samples held of each task

    def __len__(self) -> int:
        return sum(self.shares)

    def end_task(self, task: Task) -> None:
        share = self.per_task or self.total // (len(self.shares) + 1)
        new = task.sample(min(share, task.size), "kept")
        inputs = [block[:, :share] for block in torch.split(self.inputs, self.shares, dim=1)]
        labels = [block[:, :share] for block in torch.split(self.labels, self.shares, dim=1)]
        self.shares = [min(held, share) for held in self.shares] + [new.labels.shape[1]]
        self.inputs = torch.cat([*inputs, new.inputs], dim=1)
        self.labels = torch.cat([*labels, new.labels.to(torch.uint8)], dim=1)

    def state(self) -> dict[str, Any]:
        return super().state() | {"shares": self.shares}

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self.shares = list(state["shares"])
