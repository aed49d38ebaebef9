"""The same classes in every task, their images transformed by each task in its own way."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.errors import InputError
from trainables.options import option
from trainables.rng import generator
from trainables.streams.datasets import DATASETS
from trainables.streams.stream import MOST_CLASSES, Stream, StreamOptions

CHUNK = 4096  # images rotated at once


class TransformedStream(Stream):
    """Every task has all samples. Sample n of the data is number ``task * N + n`` in a task.

    Scenarios ``domain`` and ``task_free`` have one output a class of the data; in ``task`` and
    ``class`` every task has outputs of its own (van de Ven and Tolias 2019).
    """

    scenarios = ("task", "domain", "class", "task_free")

    @classmethod
    def class_counts(cls, scenario: str, options: Any) -> tuple[int, int]:
        classes = DATASETS[cls.dataset].classes
        if scenario in ("domain", "task_free"):
            return classes, classes
        total = classes * cls.length(options)
        if total > MOST_CLASSES:
            raise InputError(
                f"{cls.length(options)} tasks of {classes} classes each are {total} classes in the "
                f"scenario '{scenario}'; allowed: {MOST_CLASSES}. Give fewer tasks."
            )
        return total, classes

    def assign_classes(self) -> Tensor:
        total, _ = self.class_counts(self.info.scenario, self.options)
        classes = torch.arange(total).view(-1, self.classes)
        return classes.expand(len(self.seeds), self.tasks, -1)

    def members(self, pools: Sequence[Tensor], index: int) -> list[dict[int, Tensor]]:
        size = self.size(pools)
        named = self.task_classes[0, index].tolist()
        mine = {c: rows + index * size for c, rows in zip(named, pools, strict=True)}
        return [mine] * len(self.seeds)

    def size(self, pools: Sequence[Tensor]) -> int:
        """Number of samples held of the split that these are of."""
        return len(self.labels[0 if pools is self.pools_learnt else -1])

    def gather(self, index: Tensor, scored: bool = False) -> tuple[Tensor, Tensor]:
        source = -1 if scored else 0
        size = len(self.labels[source])
        rows, tasks = index % size, index // size
        classes = self.labels[source].index_select(0, rows.flatten()).view(index.shape)
        if self.task_classes.shape[2] < self.scenario.outputs:
            classes = classes + tasks * self.classes
        return self.transformed(rows, tasks, source), self.scenario.labels(classes)

    @abstractmethod
    def transformed(self, rows: Tensor, tasks: Tensor, source: int) -> Tensor:
        """Images [S, B, D] of these rows of a split, as they are in these tasks; both [S, B]."""


class PermutedOptions(StreamOptions):
    """Options of a stream of permuted images."""

    tasks: int = option(
        10, "number of permutations, the first of which changes nothing", low=1, high=100
    )
    augmentation: str = option(
        "none", "none: a permuted image cannot be shifted or mirrored", choices=("none",)
    )


class PermutedStream(TransformedStream):
    """The pixels of each task in an order of its own, drawn by each seed; the first as they are."""

    tasks = 10
    Options = PermutedOptions

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        orders = torch.stack([self._orders(seed) for seed in self.seeds])  # [S, T, D]
        self._orders_of = orders.flatten(0, 1).to(self.device)
        first = torch.arange(len(self.seeds), device=self.device) * self.tasks
        self._first = first.unsqueeze(1)

    @classmethod
    def length(cls, options: Any) -> int:
        tasks: int = options.tasks
        return tasks

    def _orders(self, seed: int) -> Tensor:
        width = self.info.inputs
        drawn = [
            torch.randperm(width, generator=generator(seed, "order", task))
            for task in range(1, self.tasks)
        ]
        return torch.stack([torch.arange(width), *drawn])

    def transformed(self, rows: Tensor, tasks: Tensor, source: int) -> Tensor:
        shape = (*rows.shape, -1)
        images = self.images[source].index_select(0, rows.flatten()).view(shape)
        orders = self._orders_of.index_select(0, (self._first + tasks).flatten()).view(shape)
        return images.gather(2, orders)


class RotatedOptions(StreamOptions):
    """Options of a stream of rotated images."""

    angles: tuple[int, ...] = option(
        (0, 45, 90, 135, 180),
        "rotation of each task, in degrees counter-clockwise",
        low=-360,
        high=360,
        longest=100,
    )


class RotatedStream(TransformedStream):
    """The images of each task turned by its angle, bilinearly; the same for all seeds."""

    tasks = 5
    Options = RotatedOptions

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        height, width = self.info.shape
        self._turned = [
            torch.stack([rotate(images.view(-1, height, width), a) for a in self.options.angles])
            for images in self.images
        ]

    @classmethod
    def length(cls, options: Any) -> int:
        if not options.angles:
            raise InputError("angles = [] leaves no task: give an angle for each")
        return len(options.angles)

    def transformed(self, rows: Tensor, tasks: Tensor, source: int) -> Tensor:
        images = self._turned[source]  # [T, N, height, width]
        flat = (tasks * images.shape[1] + rows).flatten()
        return images.flatten(0, 1).flatten(1).index_select(0, flat).view(*rows.shape, -1)


def rotate(images: Tensor, angle: int) -> Tensor:
    """Turn images, uint8 [N, height, width], about their centre; what comes in is zero."""
    if angle == 0:
        return images
    _, height, width = images.shape
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # rows of the map from a pixel of the result to the place it comes from, both in [-1, 1]
    turn = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
    theta = torch.tensor([turn], device=images.device)
    grid = F.affine_grid(theta, [1, 1, height, width], align_corners=False)
    parts = [_sampled(part, grid) for part in torch.split(images, CHUNK)]
    return torch.cat(parts)


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    shape = (len(images), *grid.shape[1:])
    floats = images.unsqueeze(1).to(torch.float32)
    turned = F.grid_sample(floats, grid.expand(shape), align_corners=False)
    return turned.squeeze(1).round_().to(torch.uint8)


class PermutedMNIST(PermutedStream):
    """Ten permutations of the pixels of MNIST (Goodfellow et al. 2013)."""

    name = "permuted_mnist"
    dataset = "mnist"


class RotatedMNIST(RotatedStream):
    """MNIST turned by five angles (Lopez-Paz and Ranzato 2017)."""

    name = "rotated_mnist"
    dataset = "mnist"
