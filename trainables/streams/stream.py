"""Streams: tasks made for a stack of seeds, handed over batch by batch.

Inputs stay uint8 and are kept once on the device; batches are gathered by index.
S seeds, B batch, N samples of the pool, D features.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.errors import InputError, unknown
from trainables.options import SAMPLES, Options, option
from trainables.rng import generator
from trainables.streams.datasets import DATASETS, Split
from trainables.streams.scenario import Scenario
from trainables.streams.views import AUGMENTATIONS, Views

PHASES = ("tune", "confirm")
MOST_CLASSES = 256  # labels are kept in a byte
Rows = NDArray[np.bool_]


class StreamOptions(Options):
    """Options every stream has, in the table ``[stream]`` of a study file."""

    active_classes: str = option(
        "all",
        "outputs that compete in the training loss (class scenario): all, those of the tasks seen "
        "so far, or those of the sample's own task",
        choices=("all", "seen", "current"),
    )
    samples_per_task: int = option(
        0,
        "learn only the first so many samples of each task, in the data's order; 0: all",
        low=0,
        high=SAMPLES,
    )
    augmentation: str = option(
        "none",
        "random views of images for training; crop_flip: shifted by up to 4 pixels and mirrored",
        choices=AUGMENTATIONS,
    )


@dataclass(frozen=True)
class StreamInfo:
    """What a learner is told about its stream."""

    name: str
    scenario: str
    inputs: int  # features of one sample
    outputs: int  # columns of the logits
    scale: float  # multiplies a stored byte to give the network's input
    tasks: int | None  # None in a task-free stream: the learner is not to know
    shape: tuple[int, ...] = ()  # of one sample, channels last
    mean: tuple[float, ...] = (0.0,)  # of the scaled inputs, one number a channel
    std: tuple[float, ...] = (1.0,)
    augmentation: str = "none"  # random views that samples are trained on
    steps: int | None = None  # of a sample in time, the first axis of its shape; None: no sequence
    bits: int = 8  # that a number of a sample takes

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample without its label, packed."""
        return math.ceil(self.inputs * self.bits / 8)


@dataclass(frozen=True)
class Batch:
    """Samples of one task for every seed: inputs uint8 [S, B, D], labels int64 [S, B].

    Where the stream augments, ``inputs`` are random views of ``originals``; a memory keeps these.
    """

    inputs: Tensor
    labels: Tensor
    task: Task
    originals: Tensor | None = None

    @property
    def kept(self) -> Tensor:
        """What a memory keeps of the inputs: the samples without augmentation."""
        return self.inputs if self.originals is None else self.originals


class Stream(ABC):
    """A sequence of tasks for a stack of seeds, in one phase.

    Phase ``tune`` learns ``fit`` and scores ``validation`` (the last 10 % of each class of the
    training set); phase ``confirm`` learns both and scores ``test``.

    Args:
        data: the splits the phase needs (no test split in phase ``tune``), as ``datasets.load`` or
            :meth:`prepare` returns them.
        options: an instance of the class's ``Options``.

    Raises:
        InputError: when a class of a task has no sample to learn or to score.
    """

    name: ClassVar[str]
    dataset: ClassVar[str]
    tasks: int  # of the class: how many by default; of a stream: how many it has
    scenarios: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[StreamOptions]] = StreamOptions
    version: ClassVar[int] = (
        1  # raise it when results change: the ledger then runs everything again
    )

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
        self.classes = DATASETS[self.dataset].classes
        self.info = self.describe(scenario, self.options)
        self.tasks = self.length(self.options)
        held, learnt, scored = self.roles(data, phase)
        if held[0] == held[-1] and (learnt & scored).any():
            raise ValueError(
                f"{self.name} would be scored on samples it has learnt, in phase '{phase}'"
            )
        self.images: list[Tensor] = []  # of the splits held: learnt first, scored last
        self.labels: list[Tensor] = []
        for split in held:
            self.hold(self.prepare({split: data[split]}, self.options)[split])
        self.pools_learnt = self._pools(data[held[0]]["labels"], learnt)
        self.pools_scored = self._pools(data[held[-1]]["labels"], scored)
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
    def prepare(cls, data: Mapping[str, Split], options: Any) -> dict[str, Split]:
        """Return the data as streams with these options keep them, ``images`` uint8 [N, ...], for
        many streams to share; what is prepared comes back as it is.
        """
        return dict(data)

    def hold(self, split: Split) -> None:
        """Keep a split, as :meth:`prepare` returns it, on the device."""
        images, labels = split["images"], split["labels"]
        self.images.append(_tensor(images.reshape(len(labels), -1)).to(self.device))
        self.labels.append(_tensor(labels).to(self.device, torch.long))

    @classmethod
    def length(cls, options: Any) -> int:
        """Number of tasks with these options."""
        return cls.tasks

    @classmethod
    def unit(cls, options: Any) -> str:
        """What the tests pair, in the singular: a seed, or what several seeds draw samples of,
        such as the speaker or the class that a seed leaves out of the first task.

        Results are then those of the units, each the mean of its seeds, and their number is n.
        """
        return "seed"

    @classmethod
    def unit_of(cls, seed: int, options: Any) -> int:
        """The number of a seed's unit, as the report shows it."""
        return seed

    @classmethod
    @abstractmethod
    def class_counts(cls, scenario: str, options: Any) -> tuple[int, int]:
        """Number of classes that are told apart over all tasks, and in one task."""

    @classmethod
    def describe(cls, scenario: str, options: Any) -> StreamInfo:
        """Return what a learner is told of the stream; needs no data."""
        dataset = DATASETS[cls.dataset]
        classes, of_a_task = cls.class_counts(scenario, options)
        return StreamInfo(
            name=cls.name,
            scenario=scenario,
            inputs=dataset.features,
            outputs=of_a_task if scenario == "domain" else classes,
            scale=dataset.scale,
            tasks=None if scenario == "task_free" else cls.length(options),
            shape=dataset.shape,
            mean=dataset.mean,
            std=dataset.std,
            augmentation=options.augmentation,
        )

    @abstractmethod
    def assign_classes(self) -> Tensor:
        """Return the classes of each task, [S, T, K]."""

    @abstractmethod
    def members(self, pools: Sequence[Tensor], index: int) -> list[dict[int, Tensor]]:
        """Samples of each class of a task, for each seed, out of those of each class of the data.

        A sample is named by a number, which tells its task too where tasks share samples.
        """

    def candidates(self, pools: Sequence[Tensor], index: int) -> dict[str, dict[int, Tensor]]:
        """Samples of each class that a task may be made of, out of those of each class of the data,
        by the circumstances in words (none where it is the same for all seeds). As many of these
        classes are in the task as ``task_classes`` names.
        """
        return {"": dict(enumerate(pools))}

    @property
    def remedy(self) -> str:
        """What to do where a class of a task has no sample."""
        return (
            f"Every class of {self.dataset} needs two training samples at least, the last of which "
            "is for validation, and a test sample: put such data in place"
        )

    def _check_classes(self, phase: str) -> None:
        """Refuse data in which a class of a task has no sample to learn, or none to score."""
        for index in range(self.tasks):
            for purpose, pools in (("learn", self.pools_learnt), ("score", self.pools_scored)):
                for when, classes in self.candidates(pools, index).items():
                    lacking = [label for label, rows in classes.items() if not len(rows)]
                    if lacking:
                        raise InputError(
                            f"{self.name}, task {index + 1}{when}, phase '{phase}': class "
                            f"{lacking[0]} has no sample to {purpose}. {self.remedy}."
                        )

    def _check_limit(self, phase: str) -> None:
        """Refuse to learn so few samples of a task that a class of it may have none."""
        most, at_once = self.options.samples_per_task, self.task_classes.shape[2]
        if not most:
            return
        first = {
            (index, when, label): place
            for index in range(self.tasks)
            for when, classes in self.candidates(self.pools_learnt, index).items()
            for label, place in _first_places(classes, at_once).items()
        }
        for (index, when, label), place in first.items():
            if place > most:
                raise InputError(
                    f"stream.samples_per_task = {most} leaves class {label} without a sample to "
                    f"learn: {self.name}, task {index + 1}{when}, phase '{phase}'. Set it to "
                    f"{max(first.values())} or more, or to 0 for all."
                )

    def roles(self, data: Mapping[str, Split], phase: str) -> tuple[tuple[str, ...], Rows, Rows]:
        """Return the splits held, which rows of the first are learnt, of the last scored."""
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
        """What the validation data are the last 10 % of, a number for each sample: its class."""
        return split["labels"]

    def task(self, index: int, union: int = 0) -> Task:
        """Return task ``index``; with ``union``, its steps draw from the first so many tasks."""
        return Task(self, index, union)

    def pool(self, index: int) -> tuple[list[Tensor], int]:
        """Samples to learn in a task: indices of each seed, and the size that fixes the steps."""
        chosen = [torch.cat(list(m.values())) for m in self.learnt_by_class(index)]
        largest, most = self.largest(chosen, index), self.options.samples_per_task
        return chosen, min(largest, most) if most else largest

    def largest(self, pools: Sequence[Tensor], index: int) -> int:
        """Number of samples of a task, that of the largest there can be: no seed misses one."""
        return len(pools[0])

    def learnt_by_class(self, index: int) -> list[dict[int, Tensor]]:
        """Samples to learn in a task, by class, for each seed."""
        return [self.cut(classes) for classes in self.members(self.pools_learnt, index)]

    def cut(self, classes: dict[int, Tensor]) -> dict[int, Tensor]:
        """The samples of a task that are learnt."""
        most = self.options.samples_per_task
        return _first(classes, most) if most else classes

    def smallest_of(self, index: int) -> int:
        """Number of samples to learn that any class of a task has at least, whatever the seed."""
        return self.smallest_class

    @functools.cached_property
    def smallest_class(self) -> int:
        """Number of samples to learn of the smallest class, whichever classes share its task."""
        most, others = self.options.samples_per_task, self.task_classes.shape[2] - 1
        pools = self.pools_learnt
        if not most:
            return min(map(len, pools))
        return min(
            _fewest_first(mine, [p for p in pools if p is not mine], others, most) for mine in pools
        )

    def scored(self, index: int) -> tuple[Tensor, Tensor]:
        """Samples to score in a task: indices [S, N], padded, and which of them count."""
        rows = [torch.cat(list(m.values())) for m in self.members(self.pools_scored, index)]
        chosen, counts = padded(rows)
        return chosen.to(self.device), counts.to(self.device)

    def gather(self, index: Tensor, scored: bool = False) -> tuple[Tensor, Tensor]:
        """Return inputs uint8 [S, B, D] and labels [S, B] of the samples at these indices."""
        source = -1 if scored else 0
        flat = index.reshape(-1)
        inputs = self.images[source].index_select(0, flat).view(*index.shape, -1)
        return inputs, self.scenario.labels(
            self.labels[source].index_select(0, flat).view(index.shape)
        )

    def _pools(self, labels: NDArray[np.uint8], chosen: Rows) -> list[Tensor]:
        return [
            torch.from_numpy(np.flatnonzero(chosen & (labels == c))) for c in range(self.classes)
        ]


class Task:
    """One step of a stream, as far as the scenario lets a learner see it."""

    def __init__(self, stream: Stream, index: int, union: int = 0) -> None:
        self._stream, self._index, self._union = stream, index, union
        self._pool, self.size = stream.pool(index)
        self.steps_done = 0  # batches handed over so far
        self.samples = 0  # samples of each seed handed over so far
        self.after_step: Callable[[Task], None] | None = None

    @property
    def free(self) -> bool:
        """Whether the stream is task-free: no boundaries, one pass."""
        return self._stream.info.scenario == "task_free"

    @property
    def id(self) -> int:
        """Index of the task. Asking a task-free task raises: no method may depend on it."""
        if self.free:
            raise LookupError(
                "a task-free stream does not tell its tasks; this method needs another scenario"
            )
        return self._index

    @property
    def union_size(self) -> int:
        """Number of samples of all the tasks that a seed draws from at once."""
        pools = [self._stream.pool(t)[0] for t in range(self._union)]
        return max((sum(map(len, rows)) for rows in zip(*pools, strict=True)), default=0)

    def loss_mask(self, labels: Tensor) -> Tensor | None:
        """Outputs that compete in the loss of these labels; [S, B or 1, outputs], None for all."""
        return self._stream.scenario.loss_mask(labels, None if self._union else self._index)

    @property
    def outputs(self) -> Tensor:
        """Outputs that answer for this task; bool [S, 1, outputs]."""
        return self._stream.scenario.outputs_of(self.id)

    @property
    def old_outputs(self) -> list[Tensor]:
        """Outputs of earlier tasks, in groups that compete when tested; bool [S, 1, outputs]."""
        return self._stream.scenario.old_outputs(self.id)

    @property
    def smallest_class(self) -> int:
        """Number of samples that any class of the stream has at least.

        The same in every task, for every seed and any order of the classes: like the number of
        classes it is known before the stream begins, and tells nothing of what comes next.
        """
        return self._stream.smallest_class

    @property
    def classes(self) -> int:
        """Number of classes of this task."""
        return len(self._stream.members(self._stream.pools_learnt, self._index)[0])

    @property
    def smallest_here(self) -> int:
        """Number of samples that any class of this task has at least, the same for every seed."""
        return self._stream.smallest_of(self._index)

    def by_class(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield each class of the task: its label [S], its samples uint8 [S, N, D], and which of
        them count [S, N], as seeds may have classes of unlike size. Not for use in a step.
        """
        stream = self._stream
        for rows in zip(*(m.values() for m in stream.learnt_by_class(self._index)), strict=True):
            index, counts = padded(rows)
            inputs, labels = stream.gather(index.to(stream.device))
            yield labels[:, 0], inputs, counts.to(stream.device)

    def steps(self, batch_size: int) -> int:
        """Number of batches of an epoch."""
        return math.ceil(self.size / batch_size)

    def samples_a_step(self, batch_size: int) -> int:
        """Samples of a batch: so many, or all of a task that has fewer."""
        return min(batch_size, self.size)

    def batches(self, epochs: int, batch_size: int) -> Iterator[Batch]:
        """Yield ``steps(batch_size)`` batches of ``samples_a_step(batch_size)`` samples an epoch,
        augmented where the stream does that.

        Shuffled anew for each epoch and seed; a shuffle that ends early is gone through again from
        its front, so every seed takes the same number of steps. A task-free stream is passed over
        once, whatever ``epochs``.
        """
        info, stream = self._stream.info, self._stream
        name = f"views/{self._index}"
        views = Views(info.augmentation, info.shape, stream.seeds, name, stream.device)
        for index in self._orders(1 if self.free else epochs, batch_size):
            batch = self._batch(index)
            yield replace(batch, inputs=views(batch.inputs), originals=batch.inputs)
            self.stepped(self.samples_a_step(batch_size))

    def stepped(self, samples: int) -> None:
        """Count a step on so many samples of the task: by those who keep them, and go through them
        without :meth:`batches`.
        """
        self.steps_done += 1
        self.samples += samples
        if self.after_step is not None:
            self.after_step(self)

    def sample(self, count: int, name: str) -> Batch:
        """Return ``count`` samples for each seed, or all where the task has fewer, drawn without
        replacement under ``name``.
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
        steps, size = self.steps(batch_size), self.samples_a_step(batch_size)
        for epoch in range(epochs):
            rows = [self._shuffle(r, steps * size, s, "batches", epoch) for r, s in self._rows()]
            order = torch.stack(rows).view(len(rows), steps, size).transpose(0, 1)
            yield from order.contiguous().to(self._stream.device)


def _union_orders(
    stream: Stream, tasks: int, task: int, epochs: int, batch_size: int
) -> Iterator[Tensor]:
    """Shuffles of the samples of the first ``tasks`` tasks, one after the other; task ``task``
    takes its share of the steps from them.
    """
    pools = [stream.pool(t) for t in range(tasks)]
    sizes = [min(batch_size, size) for _, size in pools]  # of a step
    epoch_of = [
        math.ceil(size / batch_size) * step for (_, size), step in zip(pools, sizes, strict=True)
    ]
    everything = [torch.cat(rows) for rows in zip(*(rows for rows, _ in pools), strict=True)]
    for epoch in range(epochs):
        first = epochs * sum(epoch_of[:task]) + epoch * epoch_of[task]
        rows = [
            _in_rounds(samples, first, epoch_of[task], seed)
            for samples, seed in zip(everything, stream.seeds, strict=True)
        ]
        order = torch.stack(rows).view(len(rows), -1, sizes[task]).transpose(0, 1)
        yield from order.contiguous().to(stream.device)


def _in_rounds(samples: Tensor, first: int, count: int, seed: int) -> Tensor:
    """So many of the shuffles of some samples, one after the other, from place ``first`` on."""
    size = len(samples)
    rounds = range(first // size, math.ceil((first + count) / size))
    orders = [torch.randperm(size, generator=generator(seed, "batches", r)) for r in rounds]
    start = first - rounds.start * size
    return samples[torch.cat(orders)[start : start + count]]


def _first(classes: Mapping[int, Tensor], most: int) -> dict[int, Tensor]:
    """The first samples of some classes, in the order of their numbers, ``most`` in all."""
    rows = torch.cat(list(classes.values()))
    if len(rows) <= most:
        return dict(classes)
    last = rows.sort().values[most - 1]
    return {label: row[row <= last] for label, row in classes.items()}


def _fewest_first(mine: Tensor, pools: Sequence[Tensor], others: int, most: int) -> int:
    """Number of a class's samples among the first ``most`` of a task that it shares with ``others``
    of some classes: with those that have most samples before its own. Samples are in order.
    """
    before = torch.stack([torch.searchsorted(pool, mine) for pool in pools])  # [classes, N]
    place = torch.arange(1, len(mine) + 1) + before.topk(others, dim=0).values.sum(0)
    return int((place <= most).sum())


def _first_places(classes: Mapping[int, Tensor], at_once: int) -> dict[int, int]:
    """Place of each class's first sample in a task, from 1 on, that it shares with those
    ``at_once - 1`` of the classes that have most samples before it. Samples are in order.
    """
    pools = list(classes.values())
    first = torch.stack([pool[0] for pool in pools])
    before = torch.stack([torch.searchsorted(pool, first) for pool in pools])  # of its own: none
    most = before.topk(min(at_once, len(pools)) - 1, dim=0).values.sum(0)
    return dict(zip(classes, (1 + most).tolist(), strict=True))


def wrap(row: Tensor, length: int) -> Tensor:
    """Repeat a row from its front until it has the wanted length, or cut it."""
    return row.repeat(math.ceil(length / max(len(row), 1)))[:length]


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack rows, wrapped to the length of the longest, and say which of their items count."""
    longest = max(map(len, rows))
    counts = torch.arange(longest) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
    return torch.stack([wrap(row, longest) for row in rows]), counts


def validation_rows(labels: NDArray[Any]) -> Rows:
    """Mark the last 10 % (at least one) of each class, in file order."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen[rows[-max(len(rows) // 10, 1) :]] = True
    return chosen


def _tensor(array: NDArray[np.uint8]) -> Tensor:
    """Wrap an array without copying. Ray shares arrays read-only; nothing writes to them."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))
