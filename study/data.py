"""The data of a study, by phase: a sweep is never given a test set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from study.design import Design
from trainables.streams import datasets
from trainables.streams.datasets import Split

Data = dict[str, Split]


@dataclass(frozen=True)
class StudyData:
    """What the sweeps and the confirmation of a study may read, as it was loaded."""

    design: Design
    tune: Data
    confirm: Data

    @classmethod
    def load(cls, design: Design, root: Path) -> StudyData:
        """Read the data sets of a study from a data root."""
        confirming = datasets.load(design.stream.dataset, root)
        if not _held_out(design):
            return cls(design, {"train": confirming["train"]}, confirming)
        tuning = datasets.load(design.streams["tune"].dataset, root, ("train",))
        return cls(design, tuning, confirming)

    def of(self, phase: str) -> Data:
        """Return what trials of a phase may read."""
        return self.tune if phase == "tune" else self.confirm

    def prepared(self) -> StudyData:
        """Return the data as the study's streams keep them: done once, and not by every trial."""
        confirming = self.design.stream.prepare(self.confirm)
        if not _held_out(self.design):
            return StudyData(self.design, {"train": confirming["train"]}, confirming)
        tuning = self.design.streams["tune"].prepare(self.tune)
        return StudyData(self.design, tuning, confirming)

    def try_streams(self) -> None:
        """Build the streams of the study, so that data which a seed cannot learn are refused before
        any trial begins.
        """
        self._try_stream("confirm")
        if self.design.spec.tune.trials:
            self._try_stream("tune")

    def _try_stream(self, phase: str) -> None:
        stream, seeds = self.design.streams[phase], self.design.seeds(phase)
        # what is refused is the same for all seeds of a unit
        units = {stream.unit_of(seed): seed for seed in seeds}
        tried: Sequence[int] = seeds[:1] if stream.unit == "seed" else list(units.values())
        stream.build(self.of(phase), tried, phase)

    def suspicions(self) -> list[str]:
        """Return sentences on what is odd about the data, as the streams keep them."""
        by_name = self._by_name().items()
        return [text for name, data in by_name for text in datasets.suspicions(name, data)]

    def hashes(self) -> dict[str, str]:
        """Return a hash of the arrays of each data set."""
        return {name: _digest(data) for name, data in self._by_name().items()}

    def _by_name(self) -> dict[str, Data]:
        streams = self.design.streams
        return {streams["tune"].dataset: self.tune, streams["confirm"].dataset: self.confirm}


def _held_out(design: Design) -> bool:
    return design.spec.tune.protocol == "held_out_stream"


def _digest(data: Mapping[str, Split]) -> str:
    digest = hashlib.sha256()
    for name, split in sorted(data.items()):
        for part, array in sorted(split.items()):
            digest.update(f"{name}/{part} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
