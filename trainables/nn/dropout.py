"""Dropout with random numbers of each seed's own."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.rng import Draws


class Dropout(nn.Module):
    """In training, zero each activation with probability ``rate`` and scale up the others.

    ``draws.position`` is state: a learner saves it with what it has learnt.
    """

    def __init__(self, rate: float, draws: Draws) -> None:
        super().__init__()
        self.rate, self.draws = rate, draws

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return inputs
        _, count, width = inputs.shape
        kept = self.draws.uniform(count * width).view(inputs.shape) >= self.rate
        return inputs * kept / (1 - self.rate)
