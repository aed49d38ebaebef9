"""Classes split over the tasks (Zenke et al. 2017; van de Ven and Tolias 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.options import option
from trainables.rng import generator
from trainables.streams.datasets import DATASETS
from trainables.streams.stream import Stream, StreamOptions
from trainables.streams.views import AUGMENTATIONS


class SplitOptions(StreamOptions):
    """Options of a stream whose tasks share the classes out."""

    class_order: str = option(
        "fixed", "order of the classes over the tasks", choices=("fixed", "shuffled")
    )


class PhotographOptions(SplitOptions):
    """Options of a stream of photographs, which are mirrored and shifted for training."""

    augmentation: str = option(
        "crop_flip",
        "random views of images for training; crop_flip: shifted by up to 4 pixels and mirrored",
        choices=AUGMENTATIONS,
    )


class SplitStream(Stream):
    """Five tasks of two classes each, in the data's own order or in an order of each seed's own."""

    tasks = 5
    scenarios = ("task", "domain", "class", "task_free")
    Options = SplitOptions

    @classmethod
    def class_counts(cls, scenario: str, options: Any) -> tuple[int, int]:
        classes = DATASETS[cls.dataset].classes
        return classes, classes // cls.tasks

    def assign_classes(self) -> Tensor:
        if self.options.class_order == "fixed":
            orders = [torch.arange(self.classes) for _ in self.seeds]
        else:
            orders = [
                torch.randperm(self.classes, generator=generator(s, "order")) for s in self.seeds
            ]
        return torch.stack(orders).view(len(self.seeds), self.tasks, -1)

    def members(self, pools: Sequence[Tensor], index: int) -> list[dict[int, Tensor]]:
        return [{c: pools[c] for c in row} for row in self.task_classes[:, index].tolist()]

    def largest(self, pools: Sequence[Tensor]) -> int:
        if self.options.class_order == "fixed":
            return len(pools[0])
        sizes = sorted(map(len, self.pools_learnt))
        return sum(sizes[-self.task_classes.shape[2] :])

    @staticmethod
    def of(
        dataset: str, name: str, options: type[SplitOptions] = SplitOptions
    ) -> type[SplitStream]:
        """Return the stream of a data set, under a name."""
        source = DATASETS[dataset].source
        members = {"dataset": dataset, "name": name, "reference": source, "Options": options}
        return type(name, (SplitStream,), members)
