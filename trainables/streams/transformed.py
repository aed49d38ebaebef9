"""Streams with the same classes in every task, and a different transformation of the images."""

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
from trainables.streams.datasets import MOST_CLASSES
from trainables.streams.stream import Stream, StreamOptions

CHUNK = 4096  # images rotated at once


class TransformedStream(Stream):
    """Every task contains all samples. Sample n of the data has the number ``task * N + n`` in a
    task.

    In the scenarios ``domain`` and ``task_free`` all tasks share one output per class of the data;
    in ``task`` and ``class`` every task has separate outputs (van de Ven and Tolias 2019).
    """

    scenarios = ("task", "domain", "class", "task_free")

    @classmethod
    def class_counts(cls, scenario: str, options: Any) -> tuple[int, int]:
        classes = cls.data_set(options).classes
        if scenario in ("domain", "task_free"):
            return classes, classes
        total = classes * cls.length(options)
        if total > MOST_CLASSES:
            raise InputError(
                f"{cls.length(options)} tasks of {classes} classes each are {total} classes in the "
                f"scenario '{scenario}'; allowed: at most {MOST_CLASSES}. Give fewer tasks."
            )
        return total, classes

    def assign_classes(self) -> Tensor:
        total, _ = self.class_counts(self.info.scenario, self.options)
        classes = torch.arange(total).view(-1, self.classes)
        return classes.expand(len(self.seeds), self.tasks, -1)

    def members(self, pools: Sequence[Tensor], index: int) -> list[dict[int, Tensor]]:
        size = self.size(pools)
        classes = self.task_classes[0, index].tolist()
        samples = {c: rows + index * size for c, rows in zip(classes, pools, strict=True)}
        return [samples] * len(self.seeds)

    def size(self, pools: Sequence[Tensor]) -> int:
        """Number of samples of the split that the pools belong to."""
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
        """Return the images [S, B, D] of some rows of a split, transformed as in some tasks.

        Args:
            rows, tasks: of each image, [S, B].
            source: index of the split in ``images``.
        """


class PermutedOptions(StreamOptions):
    """Options of a stream of permuted images."""

    tasks: int = option(
        10,
        "number of tasks, each with a pixel permutation; the first task has the original images",
        low=1,
        high=100,
    )
    augmentation: str = option(
        "none", "always none: permuted images cannot be shifted or flipped", choices=("none",)
    )


class PermutedStream(TransformedStream):
    """A random permutation of the pixels for each task and seed; the first task is unchanged."""

    tasks = 10
    Options = PermutedOptions

    @classmethod
    def varies(cls, options: Any) -> dict[str, bool]:
        return {**super().varies(options), "pixel permutation": True}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        permutations = torch.stack([self._draw(seed) for seed in self.seeds])  # [S, T, D]
        self._permutations = permutations.flatten(0, 1).to(self.device)
        first_rows = torch.arange(len(self.seeds), device=self.device) * self.tasks
        self._first_rows = first_rows.unsqueeze(1)  # of each seed in `_permutations`

    @classmethod
    def length(cls, options: Any) -> int:
        tasks: int = options.tasks
        return tasks

    def _draw(self, seed: int) -> Tensor:
        width = self.info.inputs
        drawn = [
            torch.randperm(width, generator=generator(seed, "order", task))
            for task in range(1, self.tasks)
        ]
        return torch.stack([torch.arange(width), *drawn])

    def transformed(self, rows: Tensor, tasks: Tensor, source: int) -> Tensor:
        shape = (*rows.shape, -1)
        images = self.images[source].index_select(0, rows.flatten()).view(shape)
        permutation_rows = (self._first_rows + tasks).flatten()
        return images.gather(2, self._permutations.index_select(0, permutation_rows).view(shape))


class RotatedOptions(StreamOptions):
    """Options of a stream of rotated images."""

    angles: tuple[int, ...] = option(
        (0, 45, 90, 135, 180),
        "angle of rotation of each task, in degrees counter-clockwise",
        low=-360,
        high=360,
        longest=100,
    )


class RotatedStream(TransformedStream):
    """A rotation of the images for each task, with bilinear interpolation, equal for all seeds."""

    tasks = 5
    Options = RotatedOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        height, width = self.info.shape
        self._rotated = [
            torch.stack([rotate(images.view(-1, height, width), a) for a in self.options.angles])
            for images in self.images
        ]

    @classmethod
    def length(cls, options: Any) -> int:
        if not options.angles:
            raise InputError("angles = [] leaves no task: give an angle for each task")
        return len(options.angles)

    def transformed(self, rows: Tensor, tasks: Tensor, source: int) -> Tensor:
        images = self._rotated[source]  # [T, N, height, width]
        flat = (tasks * images.shape[1] + rows).flatten()
        return images.flatten(0, 1).flatten(1).index_select(0, flat).view(*rows.shape, -1)


def rotate(images: Tensor, angle: int) -> Tensor:
    """Rotate images, uint8 [N, height, width], about their centre, padded with zeros."""
    if angle == 0:
        return images
    _, height, width = images.shape
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # the map from a pixel of the result to its source, in coordinates from -1 to 1
    rotation = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
    theta = torch.tensor([rotation], device=images.device)
    grid = F.affine_grid(theta, [1, 1, height, width], align_corners=False)
    parts = [_sampled(part, grid) for part in torch.split(images, CHUNK)]
    return torch.cat(parts)


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    shape = (len(images), *grid.shape[1:])
    floats = images.unsqueeze(1).to(torch.float32)
    rotated = F.grid_sample(floats, grid.expand(shape), align_corners=False)
    return rotated.squeeze(1).round_().to(torch.uint8)


class PermutedMNIST(PermutedStream):
    """Ten permutations of the pixels of MNIST (Goodfellow et al. 2013)."""

    name = "permuted_mnist"
    dataset = "mnist"


class RotatedMNIST(RotatedStream):
    """MNIST rotated by five angles (Lopez-Paz and Ranzato 2017)."""

    name = "rotated_mnist"
    dataset = "mnist"
