"""A stream of data of one's own, from an HDF5 file."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.errors import InputError
from trainables.options import option
from trainables.rng import generator
from trainables.streams import own_file
from trainables.streams.datasets import MOST_CLASSES, Dataset, Split
from trainables.streams.own_file import FileFacts
from trainables.streams.split import SplitOptions
from trainables.streams.stream import Stream, fewest_first

Cells = dict[tuple[int, int, int], Tensor]  # samples by unit, number and class
ARRAYS = {"class": "labels", "task": "task", "group": "group"}  # what `split_by` divides


class FileOptions(SplitOptions):
    """Options of a stream of one's own data."""

    file: str = option(
        "", "HDF5 file of the data, its path relative to the study file; see docs/extending.md"
    )
    split_by: str = option(
        "class",
        "what makes a task; class: equally many classes; task: the samples with the same number in "
        "the array `task`, in the order of the numbers; group: the samples with the same number in "
        "the array `group`, in a random order for each seed",
        choices=("class", "task", "group"),
    )
    tasks: int | None = option(
        None,
        "number of tasks with split_by = 'class', which divides the number of classes; none: 5",
        low=1,
        high=MOST_CLASSES,
    )
    contents: str = option("", "facts of the file, which the program reads from it")

    def plain(self) -> dict[str, Any]:
        """Return the values that results depend on: not the place of the file."""
        return {name: value for name, value in super().plain().items() if name != "file"}


class SplitFile(Stream):
    """Data of one's own, split by class, or by the numbers of the samples.

    Tasks that share no class are learnt in every scenario; tasks that all have the same classes in
    the scenarios ``domain`` and ``task_free``. If the samples have numbers ``unit``, seed s learns
    those of unit s modulo the number of units, and the statistical tests pair units.
    """

    name = "split_file"
    dataset = "a file of your own"
    tasks = 5
    scenarios = ("task", "domain", "class", "task_free")
    Options = FileOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._numbers: list[Tensor] = []  # of each split: what `split_by` divides
        self._units: list[Tensor] = []
        super().__init__(*args, **kwargs)

    # -- facts

    @classmethod
    def facts(cls, options: Any) -> FileFacts:
        """Return the facts of the file."""
        if not options.contents:
            raise InputError(
                "stream.file: the stream 'split_file' needs the path of a file, such as "
                '[stream] file = "features.h5"'
            )
        return FileFacts.of(options.contents)

    @classmethod
    def title(cls, options: Any) -> str:
        name, tasks = Path(options.file).name or "file", cls.length(options)
        words = "1 task" if tasks == 1 else f"{tasks} tasks"
        return f"{name} ({cls.facts(options).digest[:4]}), {words} by {options.split_by}"

    @classmethod
    def data_set(cls, options: Any) -> Dataset:
        facts, path = cls.facts(options), Path(options.file)
        return Dataset(
            f"file {facts.digest}",
            f"the file {path}",
            classes=facts.classes,
            shape=facts.shape,
            scale=facts.scale,
            mean=facts.mean,
            std=facts.std,
            dtype=facts.dtype,
            extremes=(facts.low, facts.high),
            build=lambda root: own_file.read(path),
            cached=False,
        )

    @classmethod
    def task_lists(cls, options: Any) -> list[tuple[int, ...]]:
        """Return the classes of each task, or group, in the order of the data."""
        facts = cls.facts(options)
        if options.split_by == "class":
            tasks = options.tasks or cls.tasks
            if facts.classes % tasks:
                raise InputError(
                    f"stream.tasks = {tasks} does not divide the {facts.classes} classes of the "
                    "file equally"
                )
            each = facts.classes // tasks
            return [tuple(range(t * each, (t + 1) * each)) for t in range(tasks)]
        for name, default in (("tasks", None), ("class_order", "fixed")):
            if getattr(options, name) != default:
                raise InputError(f"stream.{name}: only with split_by = 'class'. Remove the key.")
        found = facts.tasks if options.split_by == "task" else facts.groups
        if not found:
            raise InputError(
                f"stream.split_by = '{options.split_by}': the file has no array "
                f"'{options.split_by}' in train and test"
            )
        return list(found)

    @classmethod
    def length(cls, options: Any) -> int:
        return len(cls.task_lists(options))

    @classmethod
    def class_counts(cls, scenario: str, options: Any) -> tuple[int, int]:
        lists = cls.task_lists(options)
        _check_lists(lists, scenario, options.split_by)
        return cls.facts(options).classes, max(cls.task_sizes(options))

    @classmethod
    def task_sizes(cls, options: Any) -> list[int]:
        return list(map(len, cls.task_lists(options)))

    @classmethod
    def unit(cls, options: Any) -> str:
        return "unit" if cls.facts(options).units else "seed"

    @classmethod
    def unit_of(cls, seed: int, options: Any) -> int:
        units = cls.facts(options).units
        return seed % units if units else seed

    @classmethod
    def varies(cls, options: Any) -> dict[str, bool]:
        drawn = {
            "class": {"class order": options.class_order != "fixed"},
            "task": {"class order": False},
            "group": {"class order": False, "order of the groups": True},
        }
        return super().varies(options) | drawn[options.split_by]

    # -- samples

    def hold(self, split: Split) -> None:
        super().hold(split)
        self._arrays = set(split)
        self._numbers.append(torch.from_numpy(split[ARRAYS[self.options.split_by]]).long())
        units = split.get("unit")
        self._units.append(
            torch.zeros(len(split["labels"]), dtype=torch.long)
            if units is None
            else torch.from_numpy(units).long()
        )

    def groups(self, split: Split) -> Any:
        names = [name for name in ("labels", *own_file.NUMBERS) if name in split]
        codes = [split[name].astype(int) * MOST_CLASSES**i for i, name in enumerate(names)]
        return np.sum(codes, axis=0)

    @property
    def remedy(self) -> str:
        """Advice for data in which a class of a task has no sample."""
        parts = [name for name in own_file.NUMBERS if name in self._arrays]
        each = f" in each {' and '.join(parts)} that has it" if parts else ""
        return (
            f"Every class needs at least two training samples{each}, the last of which is for "
            "validation, and a test sample: provide such data"
        )

    @functools.cached_property
    def orders(self) -> list[list[int]]:
        """The numbers of the tasks, or the classes, of each seed in the order of learning."""
        by_class = self.options.split_by == "class"
        count = self.classes if by_class else self.tasks
        shuffled = self.options.class_order == "shuffled" or self.options.split_by == "group"
        return [
            torch.randperm(count, generator=generator(seed, "order")).tolist()
            if shuffled
            else list(range(count))
            for seed in self.seeds
        ]

    def task_numbers(self, order: Sequence[int], index: int) -> list[int]:
        """Return the numbers that samples of a task have, in an order of the numbers."""
        each = len(order) // self.tasks
        return list(order[index * each : (index + 1) * each])

    def assign_classes(self) -> Tensor:
        return torch.tensor(
            [
                [self._padded(self.task_numbers(order, index)) for index in range(self.tasks)]
                for order in self.orders
            ]
        )

    def _padded(self, numbers: Sequence[int]) -> list[int]:
        """Return the classes of a task; the last class fills the places of a smaller task."""
        classes = self._classes_of(numbers)
        most = max(self.task_sizes(self.options))
        return classes + classes[-1:] * (most - len(classes))

    def _classes_of(self, numbers: Sequence[int]) -> list[int]:
        if self.options.split_by == "class":
            return list(numbers)
        return list(self.task_lists(self.options)[numbers[0]])

    def members(self, pools: Sequence[Tensor], index: int) -> list[dict[int, Tensor]]:
        return [
            self._chosen(pools, self.task_numbers(order, index), self.unit_of(seed, self.options))
            for seed, order in zip(self.seeds, self.orders, strict=True)
        ]

    def _chosen(
        self, pools: Sequence[Tensor], numbers: Sequence[int], unit: int
    ) -> dict[int, Tensor]:
        """Return the samples of a unit with some numbers, by class."""
        learnt, scored = self._cells
        cells, none = learnt if pools is self.pools_learnt else scored, torch.empty(0).long()
        # a seed of a stream without units has a unit of its own, and all samples are of unit 0
        whose = unit if self.unit(self.options) == "unit" else 0
        by_class = self.options.split_by == "class"
        return {
            c: cells.get((whose, c if by_class else numbers[0], c), none)
            for c in self._classes_of(numbers)
        }

    @functools.cached_property
    def _cells(self) -> tuple[Cells, Cells]:
        """The samples to learn and to score by unit, number and class."""
        return (
            cells_of(self.pools_learnt, self._units[0], self._numbers[0]),
            cells_of(self.pools_scored, self._units[-1], self._numbers[-1]),
        )

    def candidates(self, pools: Sequence[Tensor], index: int) -> dict[str, dict[int, Tensor]]:
        units = sorted({self.unit_of(seed, self.options) for seed in self.seeds})
        return dict(self._versions(pools, index, units))

    def _versions(
        self, pools: Sequence[Tensor], index: int, units: Sequence[int]
    ) -> Iterator[tuple[str, dict[int, Tensor]]]:
        """Yield the samples by class that a task may have, each with a condition in words."""
        kind, of_units = self.options.split_by, self.unit(self.options) == "unit"
        possible = {"": self.task_numbers(self.orders[0], index)}
        if kind == "group":
            possible = {f" (group {g})": [g] for g in range(self.tasks)}
        elif kind == "class" and self.options.class_order == "shuffled":
            possible = {" (for some class order)": list(range(self.classes))}
        for unit in units if of_units else (0,):
            whose = f" (unit {unit})" if of_units else ""
            for condition, numbers in possible.items():
                yield condition + whose, self._chosen(pools, numbers, unit)

    def _all_versions(self, index: int) -> list[list[Tensor]]:
        """Return the samples to learn by class in each version of a task, for any seed. Units that
        lack a class of the task cannot be learnt.
        """
        units = range(max(self.facts(self.options).units, 1))
        versions = self._versions(self.pools_learnt, index, units)
        found = [list(classes.values()) for _, classes in versions]
        return [pools for pools in found if all(map(len, pools))]

    def largest_size(self, pools: Sequence[Tensor], index: int) -> int:
        most = self.task_classes.shape[2]
        return max(sum(sorted(map(len, v))[-most:]) for v in self._all_versions(index))

    def smallest_class_of(self, index: int) -> int:
        # units that the limit on samples leaves without a class cannot be learnt either
        return min(filter(None, map(self._smallest, self._all_versions(index))))

    @functools.cached_property
    def smallest_class(self) -> int:
        return min(map(self.smallest_class_of, range(self.tasks)))

    def _smallest(self, pools: Sequence[Tensor]) -> int:
        """Return a lower bound on the number of samples of a class in one version of a task."""
        limit, together = self.options.samples_per_task, min(self.task_classes.shape[2], len(pools))
        if not limit:
            return min(map(len, pools))
        return min(
            fewest_first(pool, [p for p in pools if p is not pool], together - 1, limit)
            for pool in pools
        )


def cells_of(pools: Sequence[Tensor], units: Tensor, numbers: Tensor) -> Cells:
    """Return the samples, in order, with each unit, number and class.

    Args:
        pools: samples of each class.
        units, numbers: of each sample of the data, [N].
    """
    cells: Cells = {}
    for label, rows in enumerate(pools):
        codes = units[rows] * MOST_CLASSES + numbers[rows]
        order = codes.argsort(stable=True)
        found, counts = torch.unique(codes, return_counts=True)
        parts = torch.split(rows[order], counts.tolist())
        for code, part in zip(found.tolist(), parts, strict=True):
            cells[(*divmod(code, MOST_CLASSES), label)] = part
    return cells


def _check_lists(lists: Sequence[tuple[int, ...]], scenario: str, split_by: str) -> None:
    """Raise :class:`InputError` for classes of tasks that a scenario cannot have."""
    shared = sum(map(len, lists)) > len(set().union(*lists))
    if not shared:
        if split_by == "group" and len({len(classes) for classes in lists}) > 1:
            raise InputError(
                "stream.split_by = 'group': groups need equally many classes, because seeds learn "
                "them in different orders. Give the samples an array 'task' instead"
            )
        return
    for number, classes in enumerate(lists):
        if classes != lists[0]:
            only_one = min(set(lists[0]) ^ set(classes))
            raise InputError(
                f"stream.split_by = '{split_by}': some {split_by}s share classes, but only one of "
                f"{split_by} 0 and {split_by} {number} has class {only_one}. Allowed: the same "
                "classes in all of them, or no class in two of them"
            )
    if scenario not in ("domain", "task_free"):
        raise InputError(
            f"study.scenario = '{scenario}': all {split_by}s of the file have the same classes. "
            "Use 'domain' or 'task_free', or number the labels by task"
        )
