"""Classes split over the tasks (Zenke et al. 2017; van de Ven and Tolias 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.rng import generator
from trainables.streams.datasets import DATASETS
from trainables.streams.stream import Stream


class SplitStream(Stream):
    """Five tasks of two classes each, in the data's own order or in an order of each seed's own."""

    tasks = 5
    scenarios = ("task", "domain", "class", "task_free")

    def assign_classes(self) -> Tensor:
        if self.options.class_order == "fixed":
            orders = [torch.arange(self.classes) for _ in self.seeds]
        else:
            orders = [
                torch.randperm(self.classes, generator=generator(s, "order")) for s in self.seeds
            ]
        return torch.stack(orders).view(len(self.seeds), self.tasks, -1)

    @staticmethod
    def of(dataset: str, name: str) -> type[SplitStream]:
        """Return the stream of a data set, under a name."""
        members = {"dataset": dataset, "name": name, "reference": DATASETS[dataset].source}
        return type(name, (SplitStream,), members)
