"""Networks as a user would bring them."""

from __future__ import annotations

import math

from torch import Tensor, nn


def small(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """A convolution with batch normalisation and dropout: it draws random numbers in training."""
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(6 * (height // 2) * (width // 2), 32),
        nn.ReLU(),
        nn.Linear(32, outputs),
    )


class Choosy(nn.Module):
    """A module that looks at its numbers, and has a layer that it does not use."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.idle = nn.Linear(3, 5)
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1)
        logits: Tensor = self.layer(flat if flat.sum().item() > 0 else -flat)
        return logits


def choosy(shape: tuple[int, ...], outputs: int) -> nn.Module:
    return Choosy(math.prod(shape), outputs)


def failing(shape: tuple[int, ...], outputs: int) -> nn.Module:
    raise ZeroDivisionError("no\nluck")


nothing = 3
