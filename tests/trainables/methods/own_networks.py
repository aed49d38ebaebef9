"""Networks as a user would bring them."""

from __future__ import annotations

from torch import nn


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


def failing(shape: tuple[int, ...], outputs: int) -> nn.Module:
    raise ZeroDivisionError("no\nluck")


nothing = 3
