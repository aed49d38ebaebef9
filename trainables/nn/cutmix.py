"""CutMix (Yun et al. 2019): a box of another image is pasted into every image."""

from __future__ import annotations

import torch
from torch import Tensor


def cutmix(
    images: Tensor, shape: tuple[int, ...], drawn: Tensor, rate: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Paste a box of a partner into every image of a batch; a seed's batch is mixed with
    probability ``rate``.

    The box covers the share 1 - lambda of an image around a random centre, with lambda uniform
    (Beta(1, 1)); it is cut at the edges of the image. Each seed has one box and one random
    permutation of partners per batch.

    Args:
        images: [S, B, D].
        shape: shape of one image; height and width come first.
        drawn: uniform random numbers, [S, 4 + B].
        rate: probability that a batch is mixed.

    Returns:
        the images, [S, B, D]; the index of each image's partner, [S, B]; the share of an image that
        the box does not cover, [S].
    """
    mixed, side = drawn[:, 0] < rate, (1 - drawn[:, 1]).sqrt()
    partners = drawn[:, 4:].argsort(1)
    down, across = (
        covered(size, side, centre)
        for size, centre in zip(shape[:2], (drawn[:, 2], drawn[:, 3]), strict=True)
    )
    box = down.unsqueeze(2) & across.unsqueeze(1) & mixed.view(-1, 1, 1)  # [S, height, width]
    channels = images.shape[2] // box[0].numel()
    inside = box.flatten(1).repeat_interleave(channels, 1).unsqueeze(1)
    pasted = images.gather(1, partners.unsqueeze(2).expand_as(images))
    return torch.where(inside, pasted, images), partners, 1 - box.flatten(1).float().mean(1)


def covered(size: int, side: Tensor, centre: Tensor) -> Tensor:
    """Mark the pixels along an axis that a box covers, bool [S, size].

    Args:
        side, centre: of the box, as shares of the axis, [S].
    """
    half, middle = (size * side).long() // 2, (size * centre).long()
    place = torch.arange(size, device=side.device)
    first, last = (middle - half).unsqueeze(1), (middle + half).unsqueeze(1)
    return (place >= first) & (place < last)
