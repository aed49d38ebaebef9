"""Convolutions, normalisation and pooling for a stack of S seeds; images are [S, B, C, H, W].

Each layer is one call of torch for all seeds: the seeds become channels, [B, S * C, H, W], and a
convolution has S groups. A stack of one seed is thus computed as without a stack. On a CPU, where
groups are slow, :func:`trainables.nn.members.one_by_one` runs a whole network seed by seed.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.nn.dense import Stacked

PATCH_NUMBERS = 1 << 24  # numbers held at once for squared gradients: 64 MiB


def folded(images: Tensor) -> Tensor:
    """Make channels of the seeds: [S, B, C, H, W] to [B, S * C, H, W]; a view of what a layer
    returned.
    """
    # `squeeze` keeps the strides of a single channel, from which torch chooses its kernel
    return images.squeeze(0) if len(images) == 1 else images.transpose(0, 1).flatten(1, 2)


def unfolded(images: Tensor, stack: int) -> Tensor:
    """Return to an axis of seeds: [B, S * C, H, W] to [S, B, C, H, W]."""
    if stack == 1:
        return images.unsqueeze(0)
    batch, _, *sides = images.shape
    return images.view(batch, stack, -1, *sides).transpose(0, 1)


class Convolution(Stacked):
    """A convolution: weight [S, out, in, k, k], bias [S, out].

    Args:
        kernel: k, an odd number.
        generators: random generator of each seed; initial values are those of ``nn.Conv2d``,
            U(-b, b) with b = 1/sqrt(in k^2).
        padding: zeros around an image; None for as many as keep its size.
    """

    shares_weights = True

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        generators: Sequence[torch.Generator],
        stride: int = 1,
        bias: bool = True,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, kernel // 2 if padding is None else padding
        bound = (inputs * kernel**2) ** -0.5

        def drawn(*shape: int) -> nn.Parameter:
            values = [torch.empty(shape).uniform_(-bound, bound, generator=g) for g in generators]
            return nn.Parameter(torch.stack(values))

        self.weight = drawn(outputs, inputs, kernel, kernel)
        self.bias = drawn(outputs) if bias else None

    def forward(self, images: Tensor) -> Tensor:
        stack, stride = len(self.weight), self.stride
        if stride > 1 and not self.padding:
            # only these pixels count; torch 2.14 corrupts memory on a CPU in the gradient of a
            # 1 x 1 convolution with a stride, of few channels that lie last
            images, stride = images[..., ::stride, ::stride], 1
        bias = None if self.bias is None else self.bias.flatten()
        weight = self.weight.flatten(0, 1)
        result = F.conv2d(folded(images), weight, bias, stride, self.padding, groups=stack)
        return unfolded(result, stack)

    def squared_gradients(self, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
        kernel = self.weight.shape[-1]
        each = self.weight[0].numel() + self.weight[0, 0].numel() * gradient[0, 0, 0].numel()
        size = max(PATCH_NUMBERS // (len(inputs) * each), 1)
        total = torch.zeros_like(self.weight)
        parts = zip(torch.split(inputs, size, 1), torch.split(gradient, size, 1), strict=True)
        for images, of_outputs in parts:
            patches = F.unfold(
                images.flatten(0, 1), kernel, padding=self.padding, stride=self.stride
            )
            per_sample = of_outputs.flatten(0, 1).flatten(2) @ patches.mT
            squares = per_sample.square().view(*images.shape[:2], -1).sum(1)
            total += squares.view_as(total)
        if self.bias is None:
            return [total]
        return [total, gradient.sum((3, 4)).square().sum(1)]


class Normalisation(Stacked):
    """Normalised images times a scale, plus a shift, each [S, C]."""

    shares_weights = True

    def __init__(self, channels: int, stack: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(stack, channels))
        self.bias = nn.Parameter(torch.zeros(stack, channels))

    def forward(self, images: Tensor) -> Tensor:
        result = self.normalised(folded(images), self.weight.flatten(), self.bias.flatten())
        return unfolded(result, len(self.weight))

    @abstractmethod
    def normalised(self, images: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Return normalised images [B, S * C, H, W]."""

    def squared_gradients(self, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
        normal = unfolded(self.normalised(folded(inputs), None, None), len(self.weight))
        sums = (normal * gradient).sum((3, 4)), gradient.sum((3, 4))
        return [each.square().sum(1) for each in sums]


class BatchNorm(Normalisation):
    """Batch normalisation with statistics per seed, as ``nn.BatchNorm2d``; squared gradients are
    those of evaluation, where the samples of a batch do not depend on each other. A single value in
    a channel, whose variance is 0, is normalised as in evaluation.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, stack: int) -> None:
        super().__init__(channels, stack)
        self.register_buffer("running_mean", torch.zeros(stack, channels))
        self.register_buffer("running_var", torch.ones(stack, channels))

    def normalised(self, images: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        # views, which training updates in place
        mean, variance = self.running_mean.view(-1), self.running_var.view(-1)
        is_single = images[:, 0].numel() == 1
        return F.batch_norm(images, mean, variance, weight, bias, self.training and not is_single)


class GroupNorm(Normalisation):
    """Group normalisation, as ``nn.GroupNorm``: no sample depends on its batch.

    Args:
        groups: at most so many groups; the largest number that divides the channels.
    """

    def __init__(self, channels: int, stack: int, groups: int = 8) -> None:
        super().__init__(channels, stack)
        self.groups = math.gcd(channels, groups)

    def normalised(self, images: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return F.group_norm(images, len(self.weight) * self.groups, weight, bias)


class Pooling(nn.Module):
    """The maximum or the mean of each 2 x 2 pixels."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, images: Tensor) -> Tensor:
        pool = F.max_pool2d if self.kind == "max" else F.avg_pool2d
        return unfolded(pool(folded(images), 2), len(images))


NORMS = ("batch", "group", "none")


def normalisation(kind: str, channels: int, stack: int) -> nn.Module:
    """Return a layer of normalisation by name."""
    if kind == "none":
        return nn.Identity()
    return (BatchNorm if kind == "batch" else GroupNorm)(channels, stack)
