"""Random views of images for training: a whole batch at once, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.rng import Draws
from trainables.stateful import Stateful

AUGMENTATIONS = ("none", "crop_flip")
PADDING = 4  # pixels of zero around an image before it is cropped to its own size


class Views(Stateful):
    """Draws a new view of every image it is given; each seed from a random stream of its own.

    ``crop_flip`` shifts an image by up to 4 pixels, what comes in from outside being zero, and
    mirrors every other one: torchvision's RandomCrop(padding=4) and RandomHorizontalFlip.

    Args:
        kind: one of ``AUGMENTATIONS``; ``none`` gives images back as they are.
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
        """Return views, uint8 [S, B, D], of images [S, B, D]."""
        if self.kind == "none":
            return inputs
        stack, count, _ = inputs.shape
        drawn = self.draws.uniform(3 * count).reshape(stack * count, 3)
        shifts = (drawn[:, :2] * (2 * PADDING + 1)).long()
        height, width = self.shape[:2]
        channels = inputs.shape[2] // (height * width)  # the shape of grey images has none
        images = inputs.reshape(-1, height, width, channels)
        return crop_flip(images, shifts, drawn[:, 2] < 0.5).view(inputs.shape)


def crop_flip(images: Tensor, shifts: Tensor, mirrored: Tensor) -> Tensor:
    """Cut a window of the images' own size out of the padded images, and mirror some.

    Args:
        images: uint8 [N, height, width, channels].
        shifts: upper left corner of each window in its padded image, int64 [N, 2].
        mirrored: which to mirror, left to right, bool [N].
    """
    count, height, width, channels = images.shape
    device = images.device
    padded = F.pad(images, (0, 0, PADDING, PADDING, PADDING, PADDING)).flatten(2)
    # whole rows first, then the columns within them: far fewer, longer pieces than pixel by pixel
    first = torch.arange(count, device=device).unsqueeze(1) * padded.shape[1]
    rows = first + shifts[:, :1] + torch.arange(height, device=device)
    band = padded.flatten(0, 1).index_select(0, rows.flatten()).view(count, height, padded.shape[2])
    across = torch.arange(width, device=device)
    columns = torch.where(mirrored.unsqueeze(1), width - 1 - across, across) + shifts[:, 1:]
    places = columns.unsqueeze(2) * channels + torch.arange(channels, device=device)
    return band.gather(2, places.flatten(1).unsqueeze(1).expand(-1, height, -1)).view(images.shape)
