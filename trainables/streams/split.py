"""Streams that split the classes over the tasks (Zenke et al. 2017; van de Ven and Tolias 2019)."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainables.errors import InputError
from trainables.options import option
from trainables.rng import generator
from trainables.streams.stream import Stream, StreamOptions
from trainables.streams.views import AUGMENTATIONS


class SplitOptions(StreamOptions):
    """Options of a stream that splits the classes over the tasks."""

    class_order: str = option(
        "fixed",
        "order of the classes over the tasks; fixed: as in the data; shuffled: at random for each "
        "seed",
        choices=("fixed", "shuffled"),
    )


class PhotographOptions(SplitOptions):
    """Options of a stream of photographs, with augmentation by default."""

    augmentation: str = option(
        "crop_flip",
        "augmentation of training images; crop_flip: random shifts by up to 4 pixels, and random "
        "horizontal flips",
        choices=AUGMENTATIONS,
    )


class ClassStream(Stream):
    """A stream that splits the classes of the data over the tasks, as in ``task_classes``."""

    @classmethod
    def varies(cls, options: Any) -> dict[str, bool]:
        return {**super().varies(options), "class order": options.class_order != "fixed"}

    @property
    def fixed_order(self) -> bool:
        """Whether the order of the classes is the same for all seeds."""
        return bool(self.options.class_order == "fixed")

    def members(self, pools: Sequence[Tensor], index: int) -> list[dict[int, Tensor]]:
        return [{c: pools[c] for c in row} for row in self.task_classes[:, index].tolist()]

    def candidates(self, pools: Sequence[Tensor], index: int) -> dict[str, dict[int, Tensor]]:
        if self.fixed_order:
            return {"": self.members(pools, index)[0]}
        return {" (for some class order)": dict(enumerate(pools))}

    def largest_size(self, pools: Sequence[Tensor], index: int) -> int:
        if self.fixed_order:
            return len(pools[0])
        classes = len(set(self.task_classes[0, index].tolist()))
        return sum(sorted(map(len, self.pools_learnt))[-classes:])

    @functools.cached_property
    def smallest_class(self) -> int:
        if not self.fixed_order:
            return super().smallest_class
        return min(map(self.smallest_class_of, range(self.tasks)))

    def smallest_class_of(self, index: int) -> int:
        if not self.fixed_order:
            return self.smallest_class
        return min(map(len, self.learnt_by_class(index)[0].values()))

    def orders(self) -> Tensor:
        """Return the class order of each seed, [S, C]."""
        if self.fixed_order:
            return torch.arange(self.classes).expand(len(self.seeds), -1)
        drawn = [torch.randperm(self.classes, generator=generator(s, "order")) for s in self.seeds]
        return torch.stack(drawn)


class SplitStream(ClassStream):
    """Tasks of equally many classes, in the order of the data or in a random order per seed."""

    tasks = 5
    scenarios = ("task", "domain", "class", "task_free")
    Options: ClassVar[type[StreamOptions]] = SplitOptions

    @classmethod
    def class_counts(cls, scenario: str, options: Any) -> tuple[int, int]:
        classes, tasks = cls.data_set(options).classes, cls.length(options)
        if classes % tasks:
            raise InputError(f"stream.tasks = {tasks} does not divide {classes} classes equally")
        return classes, classes // tasks

    def assign_classes(self) -> Tensor:
        return self.orders().reshape(len(self.seeds), self.tasks, -1)


class SplitDigits(SplitStream):
    """Five pairs of scikit-learn's handwritten digits."""

    name = "split_digits"
    dataset = "digits"
    # 400-400, batches of 128 and 4 epochs, as for MNIST, are 8 to 12 steps for a task of 230 to 290
    # images: finetune then ends a task at chance (0.2), with these values at 0.96
    training: ClassVar[Mapping[str, Any]] = {"hidden": [100], "epochs": 10, "batch_size": 16}


class SplitMNIST(SplitStream):
    """Five pairs of the digits of MNIST."""

    name = "split_mnist"
    dataset = "mnist"


class SplitFashionMNIST(SplitStream):
    """Five pairs of the classes of Fashion-MNIST."""

    name = "split_fashion_mnist"
    dataset = "fashion_mnist"


class SplitCIFAR10(SplitStream):
    """Five pairs of the classes of CIFAR-10."""

    name = "split_cifar10"
    dataset = "cifar10"
    Options = PhotographOptions


class ManyClassesOptions(PhotographOptions):
    """Options of a stream of photographs with many classes."""

    tasks: int = option(10, "number of tasks, which divides the number of classes", low=2, high=100)


class SplitCIFAR100(SplitStream):
    """The 100 classes of CIFAR-100 in 10 tasks, or in 2, 4, 5, 20, 25, 50, 100."""

    name = "split_cifar100"
    dataset = "cifar100"
    tasks = 10
    Options = ManyClassesOptions

    @classmethod
    def length(cls, options: Any) -> int:
        return int(options.tasks)


class SplitTinyImageNet(SplitCIFAR100):
    """The 200 classes of Tiny ImageNet in 10 tasks, or in 2, 4, 5, 8, 20, 25, 40, 50, 100."""

    name = "split_tiny_imagenet"
    dataset = "tiny_imagenet"


class SplitCIFAR100Superclasses(SplitCIFAR100):
    """The 20 superclasses of CIFAR-100 in 10 tasks, or in 2, 4, 5, 20."""

    name = "split_cifar100_superclasses"
    dataset = "cifar100_superclasses"
