"""Dropout with random numbers of each seed's own."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.rng import Draws


class Dropout(nn.Module):
    """In training, zero each activation with probability ``rate`` and scale up the others; or, not
    ``inverted``, leave them and scale all down in testing.

    ``draws.position`` is state: a learner saves it with what it has learnt.
    """

    def __init__(self, rate: float, draws: Draws, inverted: bool = True) -> None:
        super().__init__()
        self.rate, self.draws, self.inverted = rate, draws, inverted

    def forward(self, inputs: Tensor) -> Tensor:
        if self.rate == 0 or (self.inverted and not self.training):
            return inputs
        if not self.training:
            return inputs * (1 - self.rate)
        _, count, width = inputs.shape
        kept = self.draws.uniform(count * width).view(inputs.shape) >= self.rate
        return inputs * kept / (1 - self.rate) if self.inverted else inputs * kept
