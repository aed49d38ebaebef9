"""Backbones: convolutional networks that turn images into features, for a stack of S seeds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.nn.convolution import Convolution, Pooling, normalisation
from trainables.nn.members import is_faster_one_by_one, one_by_one

SMALLEST_SIDE = 4  # of an image after pooling, in pixels


class Backbone(nn.Module):
    """Layers that turn images, flattened to [S, B, H * W * C], into features [S, B, width].

    Args:
        layers: from images [S, B, C, H, W] to features.
        shape: shape of an image: height, width, and channels unless there is one.
        width: number of features.
    """

    def __init__(self, layers: nn.Module, shape: Sequence[int], width: int) -> None:
        super().__init__()
        self.layers, self.shape, self.width = layers, tuple(shape), width

    def forward(self, inputs: Tensor) -> Tensor:
        images = inputs.view(*inputs.shape[:2], *self.shape[:2], -1).movedim(-1, 2)
        if is_faster_one_by_one(inputs):
            return one_by_one(self.layers, images)
        features: Tensor = self.layers(images)
        return features


class Pixels(nn.Module):
    """All pixels as features, [S, B, H * W * C]: channels last, as they lie in memory."""

    def forward(self, images: Tensor) -> Tensor:
        return images.movedim(2, -1).flatten(2)


class Means(nn.Module):
    """The mean of each channel over the pixels as a feature, [S, B, C]."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((3, 4))


def conv(
    shape: Sequence[int],
    channels: Sequence[int],
    kernel: int,
    pooling: str,
    norm: str,
    generators: Sequence[torch.Generator],
) -> Backbone:
    """Return a small network: for each number of channels a convolution and ReLU, with 2 x 2
    pooling after the first of them (:func:`pooled_layers`).
    """
    layers: list[nn.Module] = []
    pooled, inputs = pooled_layers(shape, len(channels)), (*shape, 1)[2]
    height, width = (side >> pooled for side in shape[:2])
    # a maximum and ReLU may change places: ReLU then sees a quarter of the pixels
    ends = [Pooling("max"), nn.ReLU()] if pooling == "max" else [nn.ReLU(), Pooling("average")]
    for number, outputs in enumerate(channels):
        layers += [
            Convolution(inputs, outputs, kernel, generators, bias=norm == "none"),
            normalisation(norm, outputs, len(generators)),
            *(ends if number < pooled else [nn.ReLU()]),
        ]
        inputs = outputs
    return Backbone(nn.Sequential(*layers, Pixels()), shape, inputs * height * width)


def pooled_layers(shape: Sequence[int], layers: int) -> int:
    """Return the number of layers, of so many, with pooling: each halves an image, down to sides of
    four pixels at least.

    >>> [pooled_layers((side, side), 4) for side in (8, 28, 32)]
    [1, 2, 3]
    """
    halvings = (min(shape[:2]) // SMALLEST_SIDE).bit_length() - 1
    return min(max(halvings, 0), layers)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, added to their input (He et al. 2016)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        norm: str,
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()

        def convolution(inputs: int, kernel: int, stride: int) -> nn.Sequential:
            bias = norm == "none"  # normalisation has a shift of its own
            return nn.Sequential(
                Convolution(inputs, outputs, kernel, generators, stride, bias),
                normalisation(norm, outputs, len(generators)),
            )

        self.first, self.second = convolution(inputs, 3, stride), convolution(outputs, 3, 1)
        keeps_shape = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if keeps_shape else convolution(inputs, 1, stride)

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(images))) + self.shortcut(images))


def resnet18(
    shape: Sequence[int], width: int, norm: str, generators: Sequence[torch.Generator]
) -> Backbone:
    """Return the reduced ResNet-18 of continual learning (Lopez-Paz and Ranzato 2017): a 3 x 3
    convolution, then eight blocks with 1, 1, 2, 2, 4, 4, 8, 8 times ``width`` channels.
    """
    inputs, stack = (*shape, 1)[2], len(generators)
    layers: list[nn.Module] = [
        Convolution(inputs, width, 3, generators, bias=norm == "none"),
        normalisation(norm, width, stack),
        nn.ReLU(),
    ]
    inputs = width
    for factor in (1, 2, 4, 8):
        for stride in (1 if factor == 1 else 2, 1):
            layers.append(ResidualBlock(inputs, factor * width, stride, norm, generators))
            inputs = factor * width
    return Backbone(nn.Sequential(*layers, Means()), shape, inputs)
