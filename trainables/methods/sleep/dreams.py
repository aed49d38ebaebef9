"""Inputs of a sleeping network: spikes with the rates of a random part of a mean image, instead of
data. S seeds, D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from trainables.methods.sleep.options import SleepOptions, keeps_mean_image
from trainables.rng import Draws
from trainables.stateful import Stateful
from trainables.streams import StreamInfo, Task

STEP = 1e-3  # seconds per step
CHUNK = 64  # steps whose inputs are drawn at once
IMAGES = 8192  # images per seed averaged at once, but at least those of one mean image


class Dreams(Stateful):
    """Spiking inputs for each step of a sleep, and the past data that they are derived from.

    Args:
        encode: maps samples, [S, N, D], to inputs from 0 to 1.
    """

    def __init__(
        self,
        config: SleepOptions,
        stream: StreamInfo,
        seeds: Sequence[int],
        device: torch.device,
        encode: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(len(seeds), device)
        self.config, self.stream, self.seeds, self.encode = config, stream, tuple(seeds), encode
        # past data: a mean image and its number of samples, or all samples, or nothing
        keeps_mean, size = keeps_mean_image(config), stream.inputs
        self.mean = torch.zeros(self.stack, size if keeps_mean else 0, device=device)
        self.count = torch.zeros(self.stack, 1 if keeps_mean else 0, device=device)
        self.past = torch.zeros(self.stack, 0, size, dtype=stream.dtype, device=device)
        self.keep("mean", "count", "past", kind="memory")

    def samples(self, task: Task) -> Tensor:
        """Return the samples available to a sleep, [S, N, D], and update the past data."""
        new = task.sample(task.size, "asleep").inputs
        if self.config.sleep_data == "seen":
            self.past = new = torch.cat([self.past, new], 1)
        if self.config.sleep_data == "mean":
            share = new.shape[1] / (self.count + new.shape[1])
            self.mean += share * (self.encode(new).mean(1) - self.mean)
            self.count += new.shape[1]
        return new

    def inputs(self, task: Task, samples: Tensor, steps: int) -> Iterator[Tensor]:
        """Yield the spikes of the inputs, bool [S, D], for each of ``steps`` steps."""
        draws = {
            name: Draws(self.seeds, f"sleep {name}/{task.id}", self.device)
            for name in ("spikes", "mask", "images")
        }
        size = self.stream.inputs
        mean = None if self.images_drawn else self.mean_image(samples)
        for start in range(0, steps, CHUNK):
            count = min(CHUNK, steps - start)
            rates = self.drawn_means(samples, draws["images"], count) if mean is None else mean
            probability = (2 * STEP * self.config.max_rate * rates).clamp(max=1.0)
            probability = probability * self.random_mask(draws["mask"], count)
            drawn = draws["spikes"].uniform(count * size).view(self.stack, count, size)
            yield from (drawn < probability).unbind(1)

    @property
    def images_drawn(self) -> bool:
        """Whether each step has a separate mean image."""
        return self.config.sleep_data == "current" and self.config.images_per_step > 0

    def mean_image(self, samples: Tensor) -> Tensor:
        """Return the mean image of the whole sleep, [S, 1, D]."""
        mean = self.mean if self.config.sleep_data == "mean" else self.encode(samples).mean(1)
        return mean.unsqueeze(1)

    def drawn_means(self, samples: Tensor, draws: Draws, count: int) -> Tensor:
        """Return ``count`` means of random samples, drawn with replacement, [S, count, D]."""
        images, (stack, available, size) = self.config.images_per_step, samples.shape
        rows = (draws.uniform(count * images) * available).long()
        rows += torch.arange(stack, device=self.device).unsqueeze(1) * available
        rows, pool = rows.view(stack, count, images), samples.flatten(0, 1)
        means = []
        for chunk in torch.split(rows, max(IMAGES // images, 1), dim=1):
            drawn = self.encode(pool.index_select(0, chunk.flatten()))
            means.append(drawn.view(*chunk.shape, size).mean(2))
        return torch.cat(means, dim=1)

    def random_mask(self, draws: Draws, count: int) -> Tensor:
        """Mark the inputs that drive each of ``count`` steps, bool [S, count, D]."""
        size = self.stream.inputs
        if self.config.mask == "pixels":
            kept = draws.uniform(count * size) < self.config.mask_keep
            return kept.view(self.stack, count, size)
        height, width, *channels = self.stream.shape
        down, right = draws.uniform(2 * count).view(self.stack, count, 2).unbind(2)
        rows = window(down, self.config.mask_window, height)
        columns = window(right, self.config.mask_window, width)
        mask = rows.unsqueeze(3) & columns.unsqueeze(2)
        return mask.unsqueeze(4).expand(*mask.shape, math.prod(channels)).flatten(2)

    def brightest_rate(self) -> float:
        """Expected spikes per step of an input of value 1, if windows cover all pixels equally."""
        if self.config.mask == "pixels":
            share = self.config.mask_keep
        else:
            share = self.config.mask_window**2 / math.prod(self.stream.shape[:2])
        return 2 * STEP * self.config.max_rate * share


def window(drawn: Tensor, side: int, length: int) -> Tensor:
    """Mark the pixels of a window along an axis, bool [S, N, length].

    Args:
        drawn: uniform random numbers that place each window, [S, N].
        side: pixels of the window.
        length: pixels of the axis.
    """
    first = (drawn * (length - side + 1)).long().unsqueeze(2)
    place = torch.arange(length, device=drawn.device)
    return (place >= first) & (place < first + side)
