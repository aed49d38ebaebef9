"""What replay memories have in common: raw samples with labels, drawn uniformly with replacement.

S seeds, B batch, M samples held, D bytes of a sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.rng import Draws
from trainables.streams import Batch, Task


class Memory(ABC):
    """Samples of past tasks: inputs uint8 [S, M, D] as they came, labels uint8 [S, M].

    All random numbers come from the stream ``memory`` of each seed.
    """

    def __init__(self, seeds: Sequence[int], width: int, device: torch.device) -> None:
        self.inputs = torch.empty(len(seeds), 0, width, dtype=torch.uint8, device=device)
        self.labels = torch.empty(len(seeds), 0, dtype=torch.uint8, device=device)
        self.draws = Draws(seeds, "memory", device)
        self._seed = torch.arange(len(seeds), device=device).unsqueeze(1)

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
        stack, slots, width = self.inputs.shape
        chosen = (self.draws.uniform(count) * len(self)).long()
        rows = chosen.add_(self._seed, alpha=slots).flatten()
        inputs = self.inputs.view(-1, width).index_select(0, rows).view(stack, count, width)
        return inputs, self.labels.view(-1).index_select(0, rows).view(stack, count).long()

    def class_counts(self, classes: int) -> Tensor:
        """Number of samples held of each class; [S, classes]."""
        held = self.labels[:, : len(self)].long()
        counts = torch.zeros(len(held), classes, dtype=torch.long, device=held.device)
        return counts.scatter_add_(1, held, torch.ones_like(held))

    def footprint(self) -> int:
        """Bytes one seed holds, labels included."""
        return len(self) * (self.inputs.shape[-1] + 1)

    def state(self) -> dict[str, Any]:
        """Return everything needed to continue."""
        return {"inputs": self.inputs, "labels": self.labels, "position": self.draws.position}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` returned."""
        self.inputs = state["inputs"].to(self.inputs.device)
        self.labels = state["labels"].to(self.labels.device)
        self.draws.position = state["position"]
