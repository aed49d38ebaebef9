"""Dropout with separate random numbers for each seed."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.rng import Draws


class Dropout(nn.Module):
    """Zeroes each activation with probability ``rate`` in training.

    Args:
        draws: random numbers; they have a state, which the learner must register.
        inverted: scale the other activations by 1 / (1 - rate) in training; otherwise scale all
            activations by 1 - rate in testing.
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
