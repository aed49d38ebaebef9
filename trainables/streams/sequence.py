"""A stream of whole data sets, one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainables.errors import InputError
from trainables.options import option
from trainables.streams.checks import CHUNK
from trainables.streams.datasets import Dataset, Split, find_dataset
from trainables.streams.split import ClassStream, SplitOptions

SIDE, CHANNELS = 32, 3  # of every image
ORDER = ("mnist", "fashion_mnist", "cifar10", "cifar100")


class SequenceOptions(SplitOptions):
    """Options of a stream of whole data sets."""

    datasets: tuple[str, ...] = option(
        ORDER, "the data sets in the order of learning, a task each", choices=ORDER, longest=4
    )
    class_order: str = option(
        "fixed", "always fixed: a task has all classes of a data set", choices=("fixed",)
    )


class VisionSequence(ClassStream):
    """MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100, in this or another order, or some of them.

    All images have 32 x 32 pixels in colour: grey ones are enlarged with bilinear interpolation,
    and all three channels are the grey one. As in the source of SynapticNet, a method that
    standardises its inputs does so with mean and standard deviation 0.5. The output of class c of a
    data set is c plus the number of classes of the data sets before it.

    Differs from the source: the images are resized once for all trials, which share the result.
    """

    name = "vision_sequence"
    dataset = "MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100, one after the other"
    tasks = 4
    scenarios = ("task", "class", "task_free")
    Options = SequenceOptions

    @classmethod
    def parts(cls, options: Any) -> list[Dataset]:
        """Return the data sets in the order of learning."""
        names = options.datasets
        if not names:
            raise InputError("stream.datasets = [] leaves no task: name at least one data set")
        if len({*names}) < len(names):
            raise InputError(f"stream.datasets = {list(names)} names a data set twice")
        return [find_dataset(name) for name in names]

    @classmethod
    def title(cls, options: Any) -> str:
        return " then ".join(part.name for part in cls.parts(options))

    @classmethod
    def data_set(cls, options: Any) -> Dataset:
        parts = cls.parts(options)
        return Dataset(
            " + ".join(part.name for part in parts),
            "; ".join(part.source for part in parts),
            classes=sum(part.classes for part in parts),
            shape=(SIDE, SIDE, CHANNELS),
            scale=1 / 255,
            mean=(0.5,) * CHANNELS,
            std=(0.5,) * CHANNELS,
            build=partial(joined, parts),
            cached=False,
        )

    @classmethod
    def length(cls, options: Any) -> int:
        return len(cls.parts(options))

    @classmethod
    def class_counts(cls, scenario: str, options: Any) -> tuple[int, int]:
        counts = cls.task_sizes(options)
        return sum(counts), max(counts)

    @classmethod
    def task_sizes(cls, options: Any) -> list[int]:
        return [part.classes for part in cls.parts(options)]

    def assign_classes(self) -> Tensor:
        counts = self.task_sizes(self.options)
        rows = [
            # the last class fills the places of a smaller task
            torch.arange(first, first + max(counts)).clamp(max=first + count - 1)
            for first, count in zip(firsts(counts), counts, strict=True)
        ]
        return torch.stack(rows).expand(len(self.seeds), -1, -1)


def firsts(counts: Sequence[int]) -> list[int]:
    """Return the number of the first class of each data set.

    >>> firsts([10, 10, 100])
    [0, 10, 20]
    """
    return [0, *itertools.accumulate(counts)][: len(counts)]


def joined(parts: Sequence[Dataset], root: Path) -> dict[str, Split]:
    """Return data sets as one, with images of one size and labels one after the other."""
    loaded, found = [part.load(root) for part in parts], {}
    for split in ("train", "test"):
        splits = [data[split] for data in loaded]
        images = np.empty((sum(len(s["labels"]) for s in splits), SIDE, SIDE, CHANNELS), np.uint8)
        labels, row = [], 0
        for first, each in zip(firsts([part.classes for part in parts]), splits, strict=True):
            labels.append(each["labels"] + np.uint8(first))
            for chunk in np.split(each["images"], range(CHUNK, len(each["images"]), CHUNK)):
                images[row : row + len(chunk)] = coloured(chunk)
                row += len(chunk)
        found[split] = {"images": images, "labels": np.concatenate(labels)}
    return found


def coloured(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images, [N, height, width] or [N, height, width, 3], as [N, 32, 32, 3]."""
    pixels = torch.from_numpy(images).view(*images.shape[:3], -1).permute(0, 3, 1, 2)
    if pixels.shape[2:] != (SIDE, SIDE):
        resized = F.interpolate(pixels.float(), size=(SIDE, SIDE), mode="bilinear")
        pixels = resized.round_().to(torch.uint8)
    return pixels.expand(-1, CHANNELS, -1, -1).permute(0, 2, 3, 1).numpy()
