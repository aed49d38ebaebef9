"""CutMix (Yun et al. 2019): images with a box of another image in them."""

from __future__ import annotations

import torch
from torch import Tensor


def cutmix(
    images: Tensor, shape: tuple[int, ...], drawn: Tensor, rate: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Paste a box of a partner into every image of a batch; some seeds' batches stay as they are.

    A box takes the share 1 - lambda of an image, lambda uniform (Beta(1, 1)), about a random
    centre; what is beyond the edges is lost. One box and one shuffle of partners a batch.

    Args:
        images: [S, B, D].
        shape: of one image; height and width come first.
        drawn: uniform numbers, [S, 4 + B].
        rate: probability that a batch is mixed.

    Returns:
        the images; the partner of each, [S, B]; the share of each image that is its own, [S].
    """
    mixed, side = drawn[:, 0] < rate, (1 - drawn[:, 1]).sqrt()
    partners = drawn[:, 4:].argsort(1)
    down, across = (
        span(size, side, centre)
        for size, centre in zip(shape[:2], (drawn[:, 2], drawn[:, 3]), strict=True)
    )
    box = down.unsqueeze(2) & across.unsqueeze(1) & mixed.view(-1, 1, 1)  # [S, height, width]
    channels = images.shape[2] // box[0].numel()
    inside = box.flatten(1).repeat_interleave(channels, 1).unsqueeze(1)
    others = images.gather(1, partners.unsqueeze(2).expand_as(images))
    return torch.where(inside, others, images), partners, 1 - box.flatten(1).float().mean(1)


def span(size: int, side: Tensor, centre: Tensor) -> Tensor:
    """Mark the places along an axis that a box covers, [S, size]; side and centre as shares."""
    half, middle = (size * side).long() // 2, (size * centre).long()
    place = torch.arange(size, device=side.device)
    first, last = (middle - half).unsqueeze(1), (middle + half).unsqueeze(1)
    return (place >= first) & (place < last)
