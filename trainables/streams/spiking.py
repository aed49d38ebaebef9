"""Streams of spike trains: a new speaker, a new class, or classes one by one.

Source: Dequino et al. 2024, "Compressed latent replays for lightweight continual learning on
spiking neural networks", and its code. The first task is the data for pre-training.

A sample is the number of spikes per step and channel, [steps * channels], stored packed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from trainables.errors import InputError
from trainables.options import STEPS, option
from trainables.streams import spikes
from trainables.streams.bits import pack, unpack
from trainables.streams.checks import LONGEST
from trainables.streams.datasets import DATASETS, MOST_CLASSES, Split
from trainables.streams.split import ClassStream
from trainables.streams.stream import Stream, StreamInfo, StreamOptions


class SpikingOptions(StreamOptions):
    """Options of a stream of spike trains."""

    steps: int = option(
        100, "time steps per sample; the first is always without spikes", low=2, high=STEPS
    )
    seconds: float = option(
        1.4, "duration of a sample in seconds; later spikes are dropped", low=0.01, high=LONGEST
    )
    bits: int = option(
        3,
        "bits per spike count of a channel in a step; larger counts are clipped; 1: spike or no "
        "spike; 3: counts up to 7",
        low=1,
        high=8,
    )
    augmentation: str = option(
        "none", "always none: spike trains are not augmented", choices=("none",)
    )


class SpikingStream(Stream):
    """A stream of a data set in the format of :mod:`trainables.streams.spikes`."""

    Options: ClassVar[type[StreamOptions]] = SpikingOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.speakers: list[Tensor] = []  # of each split
        super().__init__(*args, **kwargs)

    @classmethod
    def describe(cls, scenario: str, options: Any) -> StreamInfo:
        return replace(
            super().describe(scenario, options),
            inputs=options.steps * spikes.CHANNELS,
            shape=(options.steps, spikes.CHANNELS),
            steps=options.steps,
            bits=options.bits,
        )

    @classmethod
    def prepare(cls, data: Mapping[str, Split], options: Any) -> dict[str, Split]:
        return {
            split: checked(arrays, options) if "images" in arrays else binned(arrays, options)
            for split, arrays in data.items()
        }

    def hold(self, split: Split) -> None:
        super().hold(split)
        self.speakers.append(torch.from_numpy(split["speakers"]).long())

    def groups(self, split: Split) -> Any:
        return spikes.groups(split)

    def gather(self, index: Tensor, scored: bool = False) -> tuple[Tensor, Tensor]:
        octets, labels = super().gather(index, scored)
        return unpack(octets, self.info.inputs, self.options.bits), labels


def binned(trains: Split, options: Any) -> Split:
    """Return spike trains in the format of a stream: spike counts per step, packed.

    Raises:
        InputError: no spike is within ``options.seconds``.
    """
    times = trains["times"]
    if len(times) and float(times.min()) >= options.seconds:
        raise InputError(
            f"stream.seconds = {options.seconds:g}: every spike is later, from {times.min():.3g} s "
            f"to {times.max():.3g} s. Set seconds to a later time, and make sure that the times of "
            "the data are in seconds."
        )
    parts = spikes.counts(trains, options.steps, options.seconds, 2**options.bits - 1)
    images = np.concatenate([pack(part, options.bits) for part in parts])
    return {"images": images} | {name: trains[name] for name in ("labels", "speakers")}


def checked(prepared: Split, options: Any) -> Split:
    """Return data that :func:`binned` prepared; raise ValueError if prepared for other options."""
    width = options.bits * math.ceil(options.steps * spikes.CHANNELS / 8)
    if prepared["images"].shape[1] != width:
        raise ValueError(f"samples of {prepared['images'].shape[1]} bytes instead of {width}")
    return prepared


class OneLeftOut(SpikingOptions):
    """Options of a stream with a speaker or class left out of its first task."""

    left_out: int | None = option(
        None,
        "number of the speaker or class that the first task leaves out and the second task "
        "consists of; none: the seed modulo the number of speakers or classes, and the units of "
        "the tests are then speakers or classes instead of seeds",
        low=0,
        high=MOST_CLASSES - 1,
    )


class OneLeftOutStream(SpikingStream):
    """Two tasks: all speakers or classes but one, then that one."""

    tasks = 2
    Options = OneLeftOut
    kind: ClassVar[str]  # "speaker" or "class"

    @classmethod
    def kind_count(cls) -> int:
        """Number of speakers or classes of the data set."""
        dataset = DATASETS[cls.dataset]
        return dataset.speakers if cls.kind == "speaker" else dataset.classes

    @classmethod
    def unit(cls, options: Any) -> str:
        return "seed" if options.left_out is not None else cls.kind

    @classmethod
    def unit_of(cls, seed: int, options: Any) -> int:
        return seed if options.left_out is not None else seed % cls.kind_count()

    @classmethod
    def class_counts(cls, scenario: str, options: Any) -> tuple[int, int]:
        left_out: int | None = options.left_out
        if left_out is not None and left_out >= cls.kind_count():
            raise InputError(
                f"stream.left_out = {left_out}: {cls.dataset} has no such {cls.kind}; allowed: 0 "
                f"to {cls.kind_count() - 1}."
            )
        classes = DATASETS[cls.dataset].classes
        return classes, classes if cls.kind == "speaker" else classes - 1

    def left_out(self, seed: int) -> int:
        """Number of the speaker or class that a seed leaves out."""
        left_out: int | None = self.options.left_out
        return seed % self.kind_count() if left_out is None else left_out


class SpeakerIncremental(OneLeftOutStream):
    """All classes from all speakers but one, then all classes from that speaker."""

    scenarios = ("domain",)
    kind = "speaker"

    def assign_classes(self) -> Tensor:
        return torch.arange(self.classes).expand(len(self.seeds), self.tasks, -1)

    def members(self, pools: Sequence[Tensor], index: int) -> list[dict[int, Tensor]]:
        return [self._by_class(pools, index, self.left_out(seed)) for seed in self.seeds]

    def _by_class(self, pools: Sequence[Tensor], index: int, left_out: int) -> dict[int, Tensor]:
        """Return the samples of each class in a task, for a speaker left out."""
        speakers = self.speakers[0 if pools is self.pools_learnt else -1]
        samples = {}
        for label, rows in enumerate(pools):
            spoken = speakers[rows] == left_out
            samples[label] = rows[spoken if index else ~spoken]
        return samples

    def candidates(self, pools: Sequence[Tensor], index: int) -> dict[str, dict[int, Tensor]]:
        speakers = sorted({self.left_out(seed) for seed in self.seeds})
        return {f" (speaker {s} left out)": self._by_class(pools, index, s) for s in speakers}

    @property
    def remedy(self) -> str:
        """Advice for data in which a class of a task has no sample: the speakers that can be left
        out.
        """
        allowed = [str(s) for s in range(self.kind_count()) if self._is_complete(s)]
        speakers = ", ".join(allowed) or "none, with these data"
        return (
            f"Speakers that can be left out, with stream.left_out or by the seeds: {speakers}. "
            f"{super().remedy}"
        )

    def _is_complete(self, left_out: int) -> bool:
        """Whether every class of every task has samples to learn and to score."""
        return all(
            len(rows)
            for pools in (self.pools_learnt, self.pools_scored)
            for index in range(self.tasks)
            for rows in self._by_class(pools, index, left_out).values()
        )

    def sizes(self, index: int) -> Tensor:
        """Number of samples to learn of each class, for every speaker left out, [speakers, C]."""
        tasks = (
            self.limited(self._by_class(self.pools_learnt, index, speaker))
            for speaker in range(self.kind_count())
        )
        return torch.tensor([[len(rows) for rows in classes.values()] for classes in tasks])

    def smallest_class_of(self, index: int) -> int:
        sizes = self.sizes(index)
        possible = sizes.min(1).values > 0  # speakers without samples of a class cannot be left out
        return int(sizes[possible].min())

    @functools.cached_property
    def smallest_class(self) -> int:
        return min(map(self.smallest_class_of, range(self.tasks)))

    def largest_size(self, pools: Sequence[Tensor], index: int) -> int:
        return int(self.sizes(index).sum(1).max())


class ClassIncrementalOne(OneLeftOutStream, ClassStream):
    """All classes but one, then that one."""

    scenarios = ("class",)
    kind = "class"

    @classmethod
    def varies(cls, options: Any) -> dict[str, bool]:
        return {"class order": options.left_out is None}

    @property
    def fixed_order(self) -> bool:
        return self.options.left_out is not None

    def assign_classes(self) -> Tensor:
        classes = torch.arange(self.classes)
        orders = [
            torch.cat([classes[classes != left_out], classes[[left_out]]])
            for left_out in map(self.left_out, self.seeds)
        ]
        return one_by_one(torch.stack(orders), self.classes - 1)


class ProgressiveOptions(SpikingOptions):
    """Options of a stream with one new class per later task."""

    first: int | None = option(
        None,
        "number of classes in the first task; none: half of the classes",
        low=1,
        high=MOST_CLASSES - 1,
    )
    class_order: str = option(
        "fixed",
        "order of the classes over the tasks; fixed: as in the data; shuffled: at random for each "
        "seed",
        choices=("fixed", "shuffled"),
    )


class ProgressiveClasses(SpikingStream, ClassStream):
    """Half of the classes, then the other classes one by one."""

    scenarios = ("class",)
    Options = ProgressiveOptions

    @classmethod
    def first(cls, options: Any) -> int:
        """Return the number of classes of the first task."""
        classes = DATASETS[cls.dataset].classes
        first: int = classes // 2 if options.first is None else options.first
        if first >= classes:
            raise InputError(
                f"stream.first = {first}: {cls.dataset} has {classes} classes, and a second task "
                f"needs at least one; allowed: 1 to {classes - 1}."
            )
        return first

    @classmethod
    def length(cls, options: Any) -> int:
        return 1 + DATASETS[cls.dataset].classes - cls.first(options)

    @classmethod
    def class_counts(cls, scenario: str, options: Any) -> tuple[int, int]:
        return DATASETS[cls.dataset].classes, cls.first(options)

    def assign_classes(self) -> Tensor:
        return one_by_one(self.orders(), self.first(self.options))


def one_by_one(orders: Tensor, first: int) -> Tensor:
    """Return the classes of each task, [S, T, first]: the first ``first`` classes, then one class
    per task, repeated ``first`` times.

    >>> one_by_one(torch.tensor([[4, 5, 6, 7]]), 2).tolist()
    [[[4, 5], [6, 6], [7, 7]]]

    Args:
        orders: order of the classes of each seed, [S, C].
    """
    later = orders[:, first:].unsqueeze(2).expand(-1, -1, first)
    return torch.cat([orders[:, :first].unsqueeze(1), later], dim=1)


class SpeakerIncrementalSHD(SpeakerIncremental):
    """A new speaker of the Spiking Heidelberg Digits."""

    name = "speaker_incremental_shd"
    dataset = "shd"


class SpeakerIncrementalSpokenDigits(SpeakerIncremental):
    """A new speaker of the Free Spoken Digit Dataset."""

    name = "speaker_incremental_spoken_digits"
    dataset = "spoken_digits"


class ClassIncrementalOneSHD(ClassIncrementalOne):
    """A new class of the Spiking Heidelberg Digits."""

    name = "class_incremental_one_shd"
    dataset = "shd"


class ClassIncrementalOneSpokenDigits(ClassIncrementalOne):
    """A new class of the Free Spoken Digit Dataset."""

    name = "class_incremental_one_spoken_digits"
    dataset = "spoken_digits"


class ProgressiveClassesSHD(ProgressiveClasses):
    """Half of the classes, then the others one by one, of the Spiking Heidelberg Digits."""

    name = "progressive_classes_shd"
    dataset = "shd"
    tasks = 11


class ProgressiveClassesSpokenDigits(ProgressiveClasses):
    """Half of the classes, then the others one by one, of the Free Spoken Digit Dataset."""

    name = "progressive_classes_spoken_digits"
    dataset = "spoken_digits"
    tasks = 6
