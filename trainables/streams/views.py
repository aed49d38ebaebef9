"""Augmentation: random views of a whole batch of images at once, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.rng import Draws
from trainables.stateful import Stateful

AUGMENTATIONS = ("none", "crop_flip")
PADDING = 4  # zero pixels around an image before cropping to the original size


class Views(Stateful):
    """Returns a new random view of every image, with a separate random stream for each seed.

    ``crop_flip`` shifts an image by up to 4 pixels, padded with zeros, and flips it horizontally
    with probability 1/2: torchvision's RandomCrop(padding=4) and RandomHorizontalFlip.

    Args:
        kind: one of ``AUGMENTATIONS``; ``none`` returns images unchanged.
        shape: height, width and channels of an image.
        seeds: seeds of the stack.
        name: name of the random stream.
    """

    def __init__(
        self,
        kind: str,
        shape: tuple[int, ...],
        seeds: Sequence[int],
        name: str,
        device: torch.device,
    ) -> None:
        super().__init__(len(seeds), device)
        self.kind, self.shape = kind, shape
        self.draws = Draws(seeds, name, device)
        self.keep("draws")

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return views, [S, B, D], of images [S, B, D]."""
        if self.kind == "none":
            return inputs
        stack, count, _ = inputs.shape
        drawn = self.draws.uniform(3 * count).reshape(stack * count, 3)
        shifts = (drawn[:, :2] * (2 * PADDING + 1)).long()
        height, width = self.shape[:2]
        channels = inputs.shape[2] // (height * width)  # `shape` of grey images lacks channels
        images = inputs.reshape(-1, height, width, channels)
        return crop_flip(images, shifts, drawn[:, 2] < 0.5).view(inputs.shape)


def crop_flip(images: Tensor, shifts: Tensor, mirrored: Tensor) -> Tensor:
    """Crop windows of the original size from the padded images, and flip some of the windows.

    Args:
        images: [N, height, width, channels].
        shifts: upper left corner of each window in the padded image, int64 [N, 2].
        mirrored: which images to flip horizontally, bool [N].
    """
    count, height, width, channels = images.shape
    device = images.device
    padded = F.pad(images, (0, 0, PADDING, PADDING, PADDING, PADDING)).flatten(2)
    # rows first, then columns within the rows: fewer and longer copies than pixel by pixel
    first = torch.arange(count, device=device).unsqueeze(1) * padded.shape[1]
    rows = first + shifts[:, :1] + torch.arange(height, device=device)
    band = padded.flatten(0, 1).index_select(0, rows.flatten()).view(count, height, padded.shape[2])
    across = torch.arange(width, device=device)
    columns = torch.where(mirrored.unsqueeze(1), width - 1 - across, across) + shifts[:, 1:]
    places = columns.unsqueeze(2) * channels + torch.arange(channels, device=device)
    return band.gather(2, places.flatten(1).unsqueeze(1).expand(-1, height, -1)).view(images.shape)
