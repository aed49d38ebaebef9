"""Streams: the tasks of a stack of seeds, delivered batch by batch.

Inputs are stored on the device once, most as uint8; batches are gathered by index.
S seeds, T tasks, K classes per task, B batch, N samples, D features.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.metrics import chance
from trainables.errors import InputError, unknown
from trainables.options import SAMPLES, Options, option
from trainables.rng import generator
from trainables.streams.datasets import Dataset, Split, find_dataset
from trainables.streams.scenario import Scenario
from trainables.streams.views import AUGMENTATIONS, Views

PHASES = ("tune", "confirm")
# largest product of tasks and outputs: a seed's results are a confusion matrix for each pair of
# tasks, at this size 200 MB
MOST_RESULTS = 5000
Rows = NDArray[np.bool_]


class StreamOptions(Options):
    """Options of every stream, in the table ``[stream]`` of a study file."""

    active_classes: str = option(
        "all",
        "outputs in the softmax of the training loss (class scenario); all: those of all tasks; "
        "seen: those of the tasks so far; current: those of the sample's own task",
        choices=("all", "seen", "current"),
    )
    samples_per_task: int = option(
        0,
        "number of training samples per task, the first in the order of the data; 0: all samples",
        low=0,
        high=SAMPLES,
    )
    augmentation: str = option(
        "none",
        "augmentation of training images; crop_flip: random shifts by up to 4 pixels, and random "
        "horizontal flips",
        choices=AUGMENTATIONS,
    )


@dataclass(frozen=True)
class StreamInfo:
    """The facts of a stream that a learner may know."""

    name: str
    scenario: str
    inputs: int  # features per sample, D
    outputs: int  # columns of the logits
    scale: float  # factor from a stored feature to the network's input
    tasks: int | None  # number of tasks; None in a task-free stream, which hides the number
    shape: tuple[int, ...] = ()  # of a sample, channels last
    mean: tuple[float, ...] = (0.0,)  # of the scaled inputs, one number per channel
    std: tuple[float, ...] = (1.0,)
    augmentation: str = "none"  # one of `AUGMENTATIONS`
    steps: int | None = None  # time steps per sample, the first axis of `shape`; None: no sequence
    bits: int = 8  # bits per feature
    dtype: torch.dtype = torch.uint8  # of a stored feature
    extremes: tuple[float, float] = (0.0, 1.0)  # the smallest and the largest scaled input
    training: tuple[tuple[str, Any], ...] = ()  # options of training that fit the stream

    @property
    def sample_bytes(self) -> int:
        """Bytes of a packed sample without its label."""
        return math.ceil(self.inputs * self.bits / 8)

    @property
    def held_bytes(self) -> int:
        """Bytes of a sample with its label in a memory."""
        return self.inputs * self.dtype.itemsize + 1

    @property
    def image(self) -> tuple[int, int, int] | None:
        """Channels, height and width of a sample; None if samples are no images."""
        if len(self.shape) < 2 or self.steps is not None:
            return None
        height, width, channels = (*self.shape, 1)[:3]
        return channels, height, width


@dataclass(frozen=True)
class Batch:
    """A mini-batch of samples of one task for every seed: inputs [S, B, D] as stored (uint8, or
    float32 in a stream of features), labels int64 [S, B].

    If the stream augments, ``inputs`` are random views of ``originals``; a memory stores the
    originals.
    """

    inputs: Tensor
    labels: Tensor
    task: Task
    originals: Tensor | None = None

    @property
    def unaugmented(self) -> Tensor:
        """The inputs without augmentation, for a memory."""
        return self.inputs if self.originals is None else self.originals


class Stream(ABC):
    """A sequence of tasks for a stack of seeds, in one phase.

    Phase ``tune`` trains on ``fit`` and scores ``validation`` (the last 10 % of each class of the
    training set); phase ``confirm`` trains on both and scores ``test``.

    Args:
        data: the splits that the phase needs (no test split in phase ``tune``), as returned by
            ``Dataset.load`` or :meth:`prepare`.
        options: an instance of the class's ``Options``.

    Attributes:
        training: options of training, such as the widths of the network, that fit the stream where
            a method has no value of its own.

    Raises:
        InputError: a class of a task has no sample to learn or to score.
    """

    name: ClassVar[str]
    dataset: ClassVar[str]  # name of a data set, unless `data_set` is overridden
    tasks: int  # number of tasks: of the class, the default
    scenarios: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[StreamOptions]] = StreamOptions
    training: ClassVar[Mapping[str, Any]] = {}
    # increase when results change: the ledger then runs every trial again
    version: ClassVar[int] = 1

    def __init__(
        self,
        data: Mapping[str, Split],
        scenario: str,
        seeds: Sequence[int],
        phase: str,
        options: StreamOptions | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.seeds, self.device = tuple(seeds), torch.device(device)
        self.options: Any = options or self.Options.parse({})
        self.classes = self.data_set(self.options).classes
        self.info = self.describe(scenario, self.options)
        self.tasks = self.length(self.options)
        splits, learnt, scored = self.roles(data, phase)
        if splits[0] == splits[-1] and (learnt & scored).any():
            raise ValueError(f"{self.name} would be scored on training samples, in phase '{phase}'")
        self.images: list[Tensor] = []  # of each split: the first is learnt, the last scored
        self.labels: list[Tensor] = []
        for split in splits:
            self.hold(self.prepare({split: data[split]}, self.options)[split])
        self.pools_learnt = self._pools(data[splits[0]]["labels"], learnt)
        self.pools_scored = self._pools(data[splits[-1]]["labels"], scored)
        self.task_classes = self.assign_classes()
        self._check_classes(phase)
        self._check_limit(phase)
        self.scenario = Scenario(
            scenario,
            self.task_classes.to(self.device),
            self.class_counts(scenario, self.options)[0],
            self.options.active_classes,
        )

    @classmethod
    def title(cls, options: Any) -> str:
        """Return the name of a stream with these options in reports."""
        return cls.name

    @classmethod
    def data_set(cls, options: Any) -> Dataset:
        """Return the data set of a stream with these options: its facts, and how to load it."""
        return find_dataset(cls.dataset)

    @classmethod
    def prepare(cls, data: Mapping[str, Split], options: Any) -> dict[str, Split]:
        """Return the data in the format in which streams with these options store them, with
        ``images`` [N, ...] of ``StreamInfo.dtype``; many streams can share the result. Prepared
        data are returned unchanged.
        """
        return dict(data)

    def hold(self, split: Split) -> None:
        """Store a prepared split on the device."""
        images, labels = split["images"], split["labels"]
        self.images.append(_tensor(images.reshape(len(labels), -1)).to(self.device))
        self.labels.append(_tensor(labels).to(self.device, torch.long))

    @classmethod
    def length(cls, options: Any) -> int:
        """Number of tasks with these options."""
        return cls.tasks

    @classmethod
    def unit(cls, options: Any) -> str:
        """Name of the unit of the paired tests, in the singular: "seed", or the property that seeds
        sample, such as the speaker or the class left out of the first task.

        A result of such a unit is the mean over its seeds, and n is the number of units.
        """
        return "seed"

    @classmethod
    def unit_of(cls, seed: int, options: Any) -> int:
        """Number of a seed's unit, as shown in a report."""
        return seed

    @classmethod
    @abstractmethod
    def class_counts(cls, scenario: str, options: Any) -> tuple[int, int]:
        """Number of classes to distinguish over all tasks, and within one task."""

    @classmethod
    def chance(cls, scenario: str, options: Any) -> float:
        """Return the accuracy of guessing, the mean over tasks."""
        if scenario == "task":
            return fmean(1 / size for size in cls.task_sizes(options))
        return chance(scenario, *cls.class_counts(scenario, options))

    @classmethod
    def task_sizes(cls, options: Any) -> list[int]:
        """Number of classes of each task; one number where all tasks have equally many."""
        return [cls.class_counts("task", options)[1]]

    @classmethod
    def varies(cls, options: Any) -> dict[str, bool]:
        """Return the parts of the stream that seeds may draw, and whether they differ by seed."""
        augmented = {"augmentation": True} if options.augmentation != "none" else {}
        return {"class order": False, **augmented}

    @classmethod
    def describe(cls, scenario: str, options: Any) -> StreamInfo:
        """Return the facts that a learner may know; needs no data."""
        dataset = cls.data_set(options)
        classes, classes_per_task = cls.class_counts(scenario, options)
        dtype: torch.dtype = getattr(torch, dataset.dtype)
        info = StreamInfo(
            name=cls.name,
            scenario=scenario,
            inputs=dataset.features,
            outputs=classes_per_task if scenario == "domain" else classes,
            scale=dataset.scale,
            tasks=None if scenario == "task_free" else cls.length(options),
            shape=dataset.shape,
            mean=dataset.mean,
            std=dataset.std,
            augmentation=options.augmentation,
            bits=8 * dtype.itemsize,
            dtype=dtype,
            extremes=dataset.extremes,
            training=tuple(cls.training.items()),
        )
        if info.augmentation != "none" and info.image is None:
            raise InputError(
                f"stream.augmentation = '{info.augmentation}' needs images; the samples of "
                f"{cls.title(options)} have the shape {list(info.shape)}: set it to 'none'"
            )
        size = cls.length(options) * info.outputs
        if size > MOST_RESULTS:
            raise InputError(
                f"{cls.title(options)} has {cls.length(options)} tasks and {info.outputs} outputs, "
                f"whose product is {size}; allowed: up to {MOST_RESULTS}, because the results of a "
                "seed are a confusion matrix for each pair of tasks. Give fewer tasks"
            )
        return info

    @abstractmethod
    def assign_classes(self) -> Tensor:
        """Return the classes of each task, [S, T, K]."""

    @abstractmethod
    def members(self, pools: Sequence[Tensor], index: int) -> list[dict[int, Tensor]]:
        """Return the samples of each class of a task, for each seed.

        Args:
            pools: samples of each class of the data.
            index: of the task.

        Returns:
            for each seed, the numbers of the samples by class. If tasks share samples, the number
            of a sample also encodes the task.
        """

    def candidates(self, pools: Sequence[Tensor], index: int) -> dict[str, dict[int, Tensor]]:
        """Return the samples of each class that a task may contain, for the checks of the data.

        The key of the outer dictionary describes a condition for the error message, and is empty
        if the classes are the same for all seeds. The task contains K of the classes.
        """
        return {"": dict(enumerate(pools))}

    @property
    def remedy(self) -> str:
        """Advice for data in which a class of a task has no sample."""
        return (
            f"Every class of {self.data_set(self.options).name} needs at least two training "
            "samples, the last of which is for validation, and a test sample: provide such data"
        )

    def _check_classes(self, phase: str) -> None:
        """Raise if a class of a task has no sample to learn, or no sample to score."""
        for index in range(self.tasks):
            for purpose, pools in (("learn", self.pools_learnt), ("score", self.pools_scored)):
                for condition, classes in self.candidates(pools, index).items():
                    empty = [label for label, rows in classes.items() if not len(rows)]
                    if empty:
                        raise InputError(
                            f"{self.name}, task {index + 1}{condition}, phase '{phase}': class "
                            f"{empty[0]} has no sample to {purpose}. {self.remedy}."
                        )

    def _check_limit(self, phase: str) -> None:
        """Raise if ``samples_per_task`` may leave a class without a sample to learn."""
        limit, together = self.options.samples_per_task, self.task_classes.shape[2]
        if not limit:
            return
        first = {
            (index, condition, label): place
            for index in range(self.tasks)
            for condition, classes in self.candidates(self.pools_learnt, index).items()
            for label, place in _first_places(classes, together).items()
        }
        for (index, condition, label), place in first.items():
            if place > limit:
                raise InputError(
                    f"stream.samples_per_task = {limit} leaves class {label} without a sample to "
                    f"learn: {self.name}, task {index + 1}{condition}, phase '{phase}'. Set "
                    f"samples_per_task to {max(first.values())} or more, or to 0 for all samples."
                )

    def roles(self, data: Mapping[str, Split], phase: str) -> tuple[tuple[str, ...], Rows, Rows]:
        """Return the names of the splits to store, the rows to learn in the first split, and the
        rows to score in the last.
        """
        train = data["train"]["labels"]
        if phase == "tune":
            validation = validation_rows(self.groups(data["train"]))
            return ("train",), ~validation, validation
        if phase == "confirm":
            test = data["test"]["labels"]
            return (
                ("train", "test"),
                np.ones(len(train), dtype=bool),
                np.ones(len(test), dtype=bool),
            )
        raise unknown("phase", phase, PHASES)

    def groups(self, split: Split) -> NDArray[Any]:
        """Return the group of each sample, [N], here the class: the validation data are the last
        10 % of each group.
        """
        return split["labels"]

    def task(self, index: int, union: int = 0) -> Task:
        """Return task ``index``; with ``union``, the batches come from the union of the first
        ``union`` tasks.
        """
        return Task(self, index, union)

    def pool(self, index: int) -> tuple[list[Tensor], int]:
        """Return the samples to learn in a task: the indices of each seed, and the common size from
        which the number of steps follows.
        """
        pools = [torch.cat(list(m.values())) for m in self.learnt_by_class(index)]
        size, limit = self.largest_size(pools, index), self.options.samples_per_task
        return pools, min(size, limit) if limit else size

    def largest_size(self, pools: Sequence[Tensor], index: int) -> int:
        """Number of samples in the largest possible version of a task, so that the number of steps
        is equal for all seeds and no seed misses a sample.
        """
        return len(pools[0])

    def learnt_by_class(self, index: int) -> list[dict[int, Tensor]]:
        """Return the samples to learn in a task, by class, for each seed."""
        return [self.limited(classes) for classes in self.members(self.pools_learnt, index)]

    def limited(self, classes: dict[int, Tensor]) -> dict[int, Tensor]:
        """Return the samples of a task within the limit ``samples_per_task``."""
        limit = self.options.samples_per_task
        return _first(classes, limit) if limit else classes

    def smallest_class_of(self, index: int) -> int:
        """Lower bound, for every seed, on the number of samples to learn of a class of a task."""
        return self.smallest_class

    @functools.cached_property
    def smallest_class(self) -> int:
        """Lower bound on the number of samples to learn of any class, for any division of the
        classes over the tasks.
        """
        limit, others = self.options.samples_per_task, self.task_classes.shape[2] - 1
        pools = self.pools_learnt
        if not limit:
            return min(map(len, pools))
        return min(
            fewest_first(pool, [p for p in pools if p is not pool], others, limit) for pool in pools
        )

    def scored(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the samples to score in a task: indices [S, N], padded, and which are valid."""
        rows = [torch.cat(list(m.values())) for m in self.members(self.pools_scored, index)]
        indices, valid = padded(rows)
        return indices.to(self.device), valid.to(self.device)

    def gather(self, index: Tensor, scored: bool = False) -> tuple[Tensor, Tensor]:
        """Return inputs [S, B, D] and labels [S, B] of the samples at indices [S, B]."""
        source = -1 if scored else 0
        flat = index.reshape(-1)
        images = self.images[source]
        inputs = images.index_select(0, flat).view(*index.shape, images.shape[1])
        return inputs, self.scenario.labels(
            self.labels[source].index_select(0, flat).view(index.shape)
        )

    def _pools(self, labels: NDArray[np.uint8], chosen: Rows) -> list[Tensor]:
        return [
            torch.from_numpy(np.flatnonzero(chosen & (labels == c))) for c in range(self.classes)
        ]


class Task:
    """One task of a stream, restricted to the facts that the scenario reveals to a learner."""

    def __init__(self, stream: Stream, index: int, union: int = 0) -> None:
        self._stream, self._index, self._union = stream, index, union
        self._pool, self.size = stream.pool(index)
        self._held_out: list[Tensor] = []  # samples of each seed, see `hold_out`
        self.steps_done = 0  # mini-batches so far
        self.samples = 0  # samples per seed so far
        self.after_step: Callable[[Task], None] | None = None

    @property
    def free(self) -> bool:
        """Whether the stream is task-free: no task boundaries, one pass."""
        return self._stream.info.scenario == "task_free"

    @property
    def id(self) -> int:
        """Index of the task.

        Raises:
            LookupError: the stream is task-free.
        """
        if self.free:
            raise LookupError(
                "a task-free stream hides the index of a task; this method needs another scenario"
            )
        return self._index

    @property
    def union_size(self) -> int:
        """Number of samples in the union of tasks that batches come from; 0 without a union."""
        pools = [self._stream.pool(t)[0] for t in range(self._union)]
        return max((sum(map(len, rows)) for rows in zip(*pools, strict=True)), default=0)

    def loss_mask(self, labels: Tensor) -> Tensor | None:
        """Return the outputs in the softmax of the loss for labels [S, B]; bool [S, B or 1,
        outputs], None for all.
        """
        return self._stream.scenario.loss_mask(labels, None if self._union else self._index)

    @property
    def outputs(self) -> Tensor:
        """Outputs of the classes of this task, bool [S, 1, outputs]."""
        return self._stream.scenario.outputs_of(self.id)

    @property
    def old_outputs(self) -> list[Tensor]:
        """Outputs of earlier tasks, in groups that compete in testing; bool [S, 1, outputs]."""
        return self._stream.scenario.old_outputs(self.id)

    @property
    def smallest_class(self) -> int:
        """Lower bound on the number of samples of any class of the stream.

        The bound is equal for all tasks, seeds and class orders. Like the number of classes, the
        bound is known before the stream begins and reveals nothing about future tasks.
        """
        return self._stream.smallest_class

    @property
    def classes(self) -> int:
        """Number of classes of this task."""
        return len(self._stream.members(self._stream.pools_learnt, self._index)[0])

    @property
    def smallest_task_class(self) -> int:
        """Lower bound on the number of samples of any class of this task, equal for every seed."""
        return self._stream.smallest_class_of(self._index)

    def by_class(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield each class of the task: labels [S], samples [S, N, D], and a mask of the
        valid samples, bool [S, N], because the class sizes of seeds may differ. Too slow for use
        within a training step.
        """
        stream = self._stream
        for rows in zip(*(m.values() for m in stream.learnt_by_class(self._index)), strict=True):
            index, valid = padded(rows)
            inputs, labels = stream.gather(index.to(stream.device))
            yield labels[:, 0], inputs, valid.to(stream.device)

    def steps(self, batch_size: int) -> int:
        """Number of mini-batches per epoch."""
        return math.ceil(self.size / batch_size)

    def samples_per_step(self, batch_size: int) -> int:
        """Number of samples per mini-batch: the batch size, or the whole task if it has fewer."""
        return min(batch_size, self.size)

    def batches(self, epochs: int, batch_size: int) -> Iterator[Batch]:
        """Yield the mini-batches of the task: ``steps(batch_size)`` per epoch with
        ``samples_per_step(batch_size)`` samples each, augmented if the stream augments.

        Samples are shuffled separately for each epoch and seed. A seed with fewer samples repeats
        its shuffled samples from the beginning, so that all seeds take the same number of steps.
        A task-free stream has one epoch, whatever ``epochs``.
        """
        info, stream = self._stream.info, self._stream
        name = f"views/{self._index}"
        views = Views(info.augmentation, info.shape, stream.seeds, name, stream.device)
        for index in self._orders(1 if self.free else epochs, batch_size):
            batch = self._batch(index)
            yield replace(batch, inputs=views(batch.inputs), originals=batch.inputs)
            self.stepped(self.samples_per_step(batch_size))

    def stepped(self, samples: int) -> None:
        """Count a step on ``samples`` samples per seed. :meth:`batches` does so by itself; a
        learner that iterates over stored samples without :meth:`batches` must call this method.
        """
        self.steps_done += 1
        self.samples += samples
        if self.after_step is not None:
            self.after_step(self)

    def hold_out(self, share: float) -> None:
        """Set samples of the task aside, the last of each class: ``batches`` then yields only the
        others.

        Args:
            share: of each class, rounded down to a number of samples, but at least one sample of a
                class that has two.

        Raises:
            InputError: for a seed no class has two samples.
        """
        stream = self._stream
        parts = [
            [_divided(rows, share) for rows in classes.values()]
            for classes in stream.learnt_by_class(self._index)
        ]
        self._pool = [torch.cat([learnt for learnt, _ in classes]) for classes in parts]
        self._held_out = [torch.cat([held for _, held in classes]) for classes in parts]
        if not all(map(len, self._held_out)):
            raise InputError(
                f"{stream.name}, task {self._index + 1}: no class has two samples, of which one "
                "could be held out. Raise stream.samples_per_task, or set held_out to 0"
            )
        # at most so many are left for any seed, so that all seeds take equally many steps
        fewest = self.smallest_task_class
        of_each = max(int(fewest * share), 1) if fewest > 1 else 0
        rounded = math.floor((1 - share) * self.size + self.classes)
        self.size = min(rounded, self.size - of_each * self.classes)

    def held_out(self, count: int) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the samples that :meth:`hold_out` set aside, ``count`` at a time, and which of them
        are valid, bool [S, B]: seeds may have different numbers of them.
        """
        index, valid = padded(self._held_out)
        device = self._stream.device
        for part, is_valid in zip(
            torch.split(index, count, 1), torch.split(valid, count, 1), strict=True
        ):
            yield self._batch(part.to(device)), is_valid.to(device)

    def sample(self, count: int, name: str) -> Batch:
        """Return ``count`` samples per seed, or the whole task if it has fewer, drawn without
        replacement from the random stream ``name``.
        """
        count = min(count, self.size)
        rows = [self._shuffle(row, count, seed, name) for row, seed in self._rows()]
        return self._batch(torch.stack(rows).to(self._stream.device))

    def _batch(self, index: Tensor) -> Batch:
        inputs, labels = self._stream.gather(index)
        return Batch(inputs, labels, self)

    def _rows(self) -> Iterator[tuple[Tensor, int]]:
        return zip(self._pool, self._stream.seeds, strict=True)

    def _shuffle(self, row: Tensor, count: int, seed: int, name: str, *key: int) -> Tensor:
        order = torch.randperm(len(row), generator=generator(seed, name, self._index, *key))
        return wrap(row[order], count)

    def _orders(self, epochs: int, batch_size: int) -> Iterator[Tensor]:
        if self._union:
            yield from _union_orders(self._stream, self._union, self._index, epochs, batch_size)
            return
        steps, size = self.steps(batch_size), self.samples_per_step(batch_size)
        for epoch in range(epochs):
            rows = [self._shuffle(r, steps * size, s, "batches", epoch) for r, s in self._rows()]
            order = torch.stack(rows).view(len(rows), steps, size).transpose(0, 1)
            yield from order.contiguous().to(self._stream.device)


def _union_orders(
    stream: Stream, tasks: int, task: int, epochs: int, batch_size: int
) -> Iterator[Tensor]:
    """Yield the mini-batches of task ``task`` from the union of the first ``tasks`` tasks: the
    task's share of a sequence of shuffles of the union.
    """
    pools = [stream.pool(t) for t in range(tasks)]
    step_samples = [min(batch_size, size) for _, size in pools]
    epoch_samples = [
        math.ceil(size / batch_size) * step
        for (_, size), step in zip(pools, step_samples, strict=True)
    ]
    union = [torch.cat(rows) for rows in zip(*(rows for rows, _ in pools), strict=True)]
    for epoch in range(epochs):
        first = epochs * sum(epoch_samples[:task]) + epoch * epoch_samples[task]
        rows = [
            _shuffled_rounds(samples, first, epoch_samples[task], seed)
            for samples, seed in zip(union, stream.seeds, strict=True)
        ]
        order = torch.stack(rows).view(len(rows), -1, step_samples[task]).transpose(0, 1)
        yield from order.contiguous().to(stream.device)


def _shuffled_rounds(samples: Tensor, first: int, count: int, seed: int) -> Tensor:
    """Return ``count`` samples from place ``first`` of an endless sequence of shuffles."""
    size = len(samples)
    rounds = range(first // size, math.ceil((first + count) / size))
    orders = [torch.randperm(size, generator=generator(seed, "batches", r)) for r in rounds]
    start = first - rounds.start * size
    return samples[torch.cat(orders)[start : start + count]]


def _first(classes: Mapping[int, Tensor], limit: int) -> dict[int, Tensor]:
    """Return the first ``limit`` samples of a task, in the order of their numbers, by class."""
    rows = torch.cat(list(classes.values()))
    if len(rows) <= limit:
        return dict(classes)
    last = rows.sort().values[limit - 1]
    return {label: row[row <= last] for label, row in classes.items()}


def _divided(rows: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Divide samples into those before the last share of them, and those of it."""
    held = min(max(int(len(rows) * share), 1), len(rows) - 1)
    return rows[: len(rows) - held], rows[len(rows) - held :]


def fewest_first(own: Tensor, pools: Sequence[Tensor], others: int, limit: int) -> int:
    """Return the smallest possible number of a class's samples among the first ``limit`` samples of
    a task, over all choices of the other classes in the task.

    Args:
        own: samples of the class, in order.
        pools: samples of each other class of the data, in order.
        others: number of other classes in the task.
    """
    place = torch.arange(1, len(own) + 1)
    if others:
        before = torch.stack([torch.searchsorted(pool, own) for pool in pools])  # [classes, N]
        place = place + before.topk(others, dim=0).values.sum(0)
    return int((place <= limit).sum())


def _first_places(classes: Mapping[int, Tensor], together: int) -> dict[int, int]:
    """Return, for each class, the last possible place (from 1) of its first sample in a task of
    ``together`` classes, over all choices of the other classes. Samples are in order.
    """
    pools = list(classes.values())
    first = torch.stack([pool[0] for pool in pools])
    before = torch.stack([torch.searchsorted(pool, first) for pool in pools])  # own class: 0
    most = before.topk(min(together, len(pools)) - 1, dim=0).values.sum(0)
    return dict(zip(classes, (1 + most).tolist(), strict=True))


def wrap(row: Tensor, length: int) -> Tensor:
    """Repeat a row from its beginning up to a length, or truncate the row.

    >>> wrap(torch.tensor([5, 6, 7]), 5)
    tensor([5, 6, 7, 5, 6])
    """
    return row.repeat(math.ceil(length / max(len(row), 1)))[:length]


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack rows, wrapped to the length of the longest; return also a mask of the valid items."""
    longest = max(map(len, rows))
    valid = torch.arange(longest) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
    return torch.stack([wrap(row, longest) for row in rows]), valid


def validation_rows(groups: NDArray[Any]) -> Rows:
    """Mark the last 10 % (at least one) of each group, in file order.

    Args:
        groups: group of each sample, [N].
    """
    chosen = np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        chosen[rows[-max(len(rows) // 10, 1) :]] = True
    return chosen


def _tensor(array: NDArray[Any]) -> Tensor:
    """Wrap an array without copying, also a read-only array from Ray: streams never write to it."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))
