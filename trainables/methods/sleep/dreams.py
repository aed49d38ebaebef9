"""What drives a sleeping network: not data, but inputs that spike at the rates of a mean image, of
which each step sees a part. S seeds, D features.
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

STEP = 1e-3  # seconds
CHUNK = 64  # steps whose inputs are drawn at once
IMAGES = 8192  # of a seed whose means are taken at once, or as many as one mean is of


class Dreams(Stateful):
    """Spiking inputs for each step of a sleep, and the past data that they are drawn from.

    Args:
        encode: turns samples, uint8 [S, N, D], into inputs from 0 to 1.
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
        # what is kept of past data: a mean image with the number of its samples, or all samples
        keeps_mean, size = keeps_mean_image(config), stream.inputs
        self.mean = torch.zeros(self.stack, size if keeps_mean else 0, device=device)
        self.count = torch.zeros(self.stack, 1 if keeps_mean else 0, device=device)
        self.past = torch.zeros(self.stack, 0, size, dtype=torch.uint8, device=device)
        self.keep("mean", "count", "past", kind="memory")

    def samples(self, task: Task) -> Tensor:
        """Samples that a sleep may look at, uint8 [S, N, D]; the mean image learns of them."""
        new = task.sample(task.size, "asleep").inputs
        if self.config.sleep_data == "seen":
            self.past = new = torch.cat([self.past, new], 1)
        if self.config.sleep_data == "mean":
            share = new.shape[1] / (self.count + new.shape[1])
            self.mean += share * (self.encode(new).mean(1) - self.mean)
            self.count += new.shape[1]
        return new

    def inputs(self, task: Task, samples: Tensor, steps: int) -> Iterator[Tensor]:
        """Yield which inputs spike, bool [S, D], for so many steps."""
        draws = {
            name: Draws(self.seeds, f"sleep {name}/{task.id}", self.device)
            for name in ("spikes", "mask", "images")
        }
        size = self.stream.inputs
        mean = None if self.images_drawn else self.mean_image(samples)
        for start in range(0, steps, CHUNK):
            count = min(CHUNK, steps - start)
            rates = self.drawn_means(samples, draws["images"], count) if mean is None else mean
            chance = (2 * STEP * self.config.max_rate * rates).clamp(max=1.0)
            chance = chance * self.part_seen(draws["mask"], count)
            drawn = draws["spikes"].uniform(count * size).view(self.stack, count, size)
            yield from (drawn < chance).unbind(1)

    @property
    def images_drawn(self) -> bool:
        """Whether each step has a mean image of its own."""
        return self.config.sleep_data == "current" and self.config.images_per_step > 0

    def mean_image(self, samples: Tensor) -> Tensor:
        """Mean of what was seen, [S, 1, D]."""
        mean = self.mean if self.config.sleep_data == "mean" else self.encode(samples).mean(1)
        return mean.unsqueeze(1)

    def drawn_means(self, samples: Tensor, draws: Draws, count: int) -> Tensor:
        """Means of random samples, with replacement; [S, count, D]."""
        each, (stack, held, size) = self.config.images_per_step, samples.shape
        rows = (draws.uniform(count * each) * held).long()
        rows += torch.arange(stack, device=self.device).unsqueeze(1) * held
        rows, pool = rows.view(stack, count, each), samples.flatten(0, 1)
        means = []
        for some in torch.split(rows, max(IMAGES // each, 1), dim=1):
            drawn = self.encode(pool.index_select(0, some.flatten()))
            means.append(drawn.view(*some.shape, size).mean(2))
        return torch.cat(means, dim=1)

    def part_seen(self, draws: Draws, count: int) -> Tensor:
        """Which inputs each step sees, [S, count, D]."""
        size = self.stream.inputs
        if self.config.mask == "pixels":
            kept = draws.uniform(count * size) < self.config.mask_keep
            return kept.view(self.stack, count, size)
        high, wide, *channels = self.stream.shape
        down, right = draws.uniform(2 * count).view(self.stack, count, 2).unbind(2)
        rows = within(down, self.config.mask_window, high)
        columns = within(right, self.config.mask_window, wide)
        seen = rows.unsqueeze(3) & columns.unsqueeze(2)
        return seen.unsqueeze(4).expand(*seen.shape, math.prod(channels)).flatten(2)

    def brightest_rate(self) -> float:
        """Spikes that the brightest input has in a step on average, as far as a window shows all
        parts alike.
        """
        if self.config.mask == "pixels":
            share = self.config.mask_keep
        else:
            share = self.config.mask_window**2 / math.prod(self.stream.shape[:2])
        return 2 * STEP * self.config.max_rate * share


def within(drawn: Tensor, side: int, length: int) -> Tensor:
    """Which of ``length`` places lie in a window, whose start is drawn from [0, 1), for each of
    [S, N] numbers; [S, N, length].
    """
    first = (drawn * (length - side + 1)).long().unsqueeze(2)
    place = torch.arange(length, device=drawn.device)
    return (place >= first) & (place < first + side)
