"""Streams of spike trains: a speaker who is new, a class that is new, classes one by one.

Source: Dequino et al. 2024, "Compressed latent replays for lightweight continual learning on
spiking neural networks", and its code. The first task is everything that comes before: networks
are pre-trained on it.

A sample is the number of spikes of each channel in each step, [steps * channels], kept packed.
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
from trainables.streams.datasets import DATASETS, Split
from trainables.streams.split import ClassStream
from trainables.streams.stream import MOST_CLASSES, Stream, StreamInfo, StreamOptions


class SpikingOptions(StreamOptions):
    """Options of a stream of spike trains."""

    steps: int = option(
        100, "time steps of a sample, the first of which has no spikes", low=2, high=STEPS
    )
    seconds: float = option(1.4, "how much of a sample is seen", low=0.01, high=LONGEST)
    bits: int = option(
        3,
        "bits kept of the number of spikes of a channel in a step: 1 says whether there was one, "
        "3 counts up to 7",
        low=1,
        high=8,
    )
    augmentation: str = option(
        "none", "none: spike trains are not shifted or mirrored", choices=("none",)
    )


class SpikingStream(Stream):
    """A stream of a data set in the layout of :mod:`trainables.streams.spikes`."""

    Options: ClassVar[type[StreamOptions]] = SpikingOptions

    def __init__(self, *given: Any, **named: Any) -> None:
        self.speakers: list[Tensor] = []  # of the splits held
        super().__init__(*given, **named)

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
    """Return spike trains as a stream keeps them: numbers of spikes in each step, packed.

    Raises:
        InputError: when no spike is within the seconds that are seen.
    """
    times = trains["times"]
    if len(times) and float(times.min()) >= options.seconds:
        raise InputError(
            f"stream.seconds = {options.seconds:g}: every spike is later, the earliest at "
            f"{times.min():.3g} s and the latest at {times.max():.3g} s. Set it to a time between "
            "them, or later; times are seconds."
        )
    parts = spikes.counts(trains, options.steps, options.seconds, 2**options.bits - 1)
    images = np.concatenate([pack(part, options.bits) for part in parts])
    return {"images": images} | {name: trains[name] for name in ("labels", "speakers")}


def checked(prepared: Split, options: Any) -> Split:
    """Return what :func:`binned` made, or raise ValueError where it was for other options."""
    width = options.bits * math.ceil(options.steps * spikes.CHANNELS / 8)
    if prepared["images"].shape[1] != width:
        raise ValueError(f"samples of {prepared['images'].shape[1]} bytes in place of {width}")
    return prepared


class OneLeftOut(SpikingOptions):
    """Options of a stream that leaves one out of its first task, which is its second."""

    left_out: int | None = option(
        None,
        "which one; none: each seed its own, the seed modulo their number, and results are those "
        "of what was left out and not of seeds",
        low=0,
        high=MOST_CLASSES - 1,
    )


class OneLeftOutStream(SpikingStream):
    """Two tasks: all but one (speaker or class), then that one."""

    tasks = 2
    Options = OneLeftOut
    kind: ClassVar[str]  # what is left out

    @classmethod
    def number(cls) -> int:
        """How many there are to leave out."""
        dataset = DATASETS[cls.dataset]
        return dataset.speakers if cls.kind == "speaker" else dataset.classes

    @classmethod
    def unit(cls, options: Any) -> str:
        return "seed" if options.left_out is not None else cls.kind

    @classmethod
    def unit_of(cls, seed: int, options: Any) -> int:
        return seed if options.left_out is not None else seed % cls.number()

    @classmethod
    def class_counts(cls, scenario: str, options: Any) -> tuple[int, int]:
        given: int | None = options.left_out
        if given is not None and given >= cls.number():
            raise InputError(
                f"stream.left_out = {given}: {cls.dataset} has no such {cls.kind}; allowed: 0 to "
                f"{cls.number() - 1}."
            )
        classes = DATASETS[cls.dataset].classes
        return classes, classes if cls.kind == "speaker" else classes - 1

    def left_out(self, seed: int) -> int:
        """What a seed leaves out."""
        given: int | None = self.options.left_out
        return seed % self.number() if given is None else given


class SpeakerIncremental(OneLeftOutStream):
    """All classes as all speakers but one speak them, then as that one does."""

    scenarios = ("domain",)
    kind = "speaker"

    def assign_classes(self) -> Tensor:
        return torch.arange(self.classes).expand(len(self.seeds), self.tasks, -1)

    def members(self, pools: Sequence[Tensor], index: int) -> list[dict[int, Tensor]]:
        return [self._spoken(pools, index, self.left_out(seed)) for seed in self.seeds]

    def _spoken(self, pools: Sequence[Tensor], index: int, left_out: int) -> dict[int, Tensor]:
        """Samples of each class in a task of a stream that leaves a speaker out."""
        speakers = self.speakers[0 if pools is self.pools_learnt else -1]
        mine = (speakers[rows] == left_out for rows in pools)
        return {
            c: rows[m if index else ~m] for c, (rows, m) in enumerate(zip(pools, mine, strict=True))
        }

    def candidates(self, pools: Sequence[Tensor], index: int) -> dict[str, dict[int, Tensor]]:
        outs = sorted({self.left_out(seed) for seed in self.seeds})
        return {f" (speaker {out} left out)": self._spoken(pools, index, out) for out in outs}

    @property
    def remedy(self) -> str:
        """What to do where a class of a task has no sample, with whom it would have one."""
        pools, tasks = (self.pools_learnt, self.pools_scored), range(self.tasks)
        allowed = [
            str(out)
            for out in range(self.number())
            if all(len(r) for p in pools for t in tasks for r in self._spoken(p, t, out).values())
        ]
        whom = ", ".join(allowed) or "none, with these data"
        return (
            f"Speakers that can be left out, with stream.left_out or by the seeds: {whom}. "
            f"{super().remedy}"
        )

    def sizes(self, index: int) -> Tensor:
        """Samples to learn of each class, whichever speaker is left out, [speakers, C]."""
        outs = range(self.number())
        classes = (self.cut(self._spoken(self.pools_learnt, index, out)) for out in outs)
        return torch.tensor([[len(rows) for rows in each.values()] for each in classes])

    def smallest_of(self, index: int) -> int:
        sizes = self.sizes(index)
        possible = sizes.min(1).values > 0  # a speaker who lacks a class cannot be left out
        return int(sizes[possible].min())

    @functools.cached_property
    def smallest_class(self) -> int:
        return min(map(self.smallest_of, range(self.tasks)))

    def largest(self, pools: Sequence[Tensor], index: int) -> int:
        return int(self.sizes(index).sum(1).max())


class ClassIncrementalOne(OneLeftOutStream, ClassStream):
    """All classes but one, then that one."""

    scenarios = ("class",)
    kind = "class"

    @property
    def settled(self) -> bool:
        return self.options.left_out is not None

    def assign_classes(self) -> Tensor:
        classes = torch.arange(self.classes)
        outs = map(self.left_out, self.seeds)
        orders = [torch.cat([classes[classes != out], classes[[out]]]) for out in outs]
        return one_by_one(torch.stack(orders), self.classes - 1)


class ProgressiveOptions(SpikingOptions):
    """Options of a stream of classes that come one by one."""

    first: int | None = option(
        None, "classes of the first task; none: half of them", low=1, high=MOST_CLASSES - 1
    )
    class_order: str = option("fixed", "order of the classes", choices=("fixed", "shuffled"))


class ProgressiveClasses(SpikingStream, ClassStream):
    """Half of the classes, then the others one by one."""

    scenarios = ("class",)
    Options = ProgressiveOptions

    @classmethod
    def first(cls, options: Any) -> int:
        """Number of classes of the first task."""
        classes = DATASETS[cls.dataset].classes
        first: int = classes // 2 if options.first is None else options.first
        if first >= classes:
            raise InputError(
                f"stream.first = {first}: {cls.dataset} has {classes} classes, and none is left to "
                f"learn later; allowed: 1 to {classes - 1}."
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
    """Give the first task so many classes and each later one the next; [S, C] to [S, T, first].

    A task of one class names it as often as the first task has classes.
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
