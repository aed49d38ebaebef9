"""The data of a study, by phase: a sweep never gets a test set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from study.design import Design
from trainables.streams.datasets import Split, suspicions

Data = dict[str, Split]


@dataclass(frozen=True)
class StudyData:
    """The data that the sweeps and the confirmation of a study may read."""

    design: Design
    tune: Data
    confirm: Data

    @classmethod
    def load(cls, design: Design, root: Path) -> StudyData:
        """Read the data sets of a study from a data root."""
        confirming = design.stream.data_set.load(root)
        if not _held_out(design):
            return cls(design, {"train": confirming["train"]}, confirming)
        tuning = design.streams["tune"].data_set.load(root, ("train",))
        return cls(design, tuning, confirming)

    def of(self, phase: str) -> Data:
        """Return the data that trials of a phase may read."""
        return self.confirm if phase == "confirm" else self.tune

    def prepared(self) -> StudyData:
        """Return the data in the form that the streams keep: computed once for all trials."""
        confirming = self.design.stream.prepare(self.confirm)
        if not _held_out(self.design):
            return StudyData(self.design, {"train": confirming["train"]}, confirming)
        tuning = self.design.streams["tune"].prepare(self.tune)
        return StudyData(self.design, tuning, confirming)

    def try_streams(self) -> None:
        """Build the streams of the study, to refuse unusable data before any trial begins."""
        self._try_stream("confirm", self._seeds("confirm"))
        if self.design.spec.tune.trials:
            self._try_stream("tune", self._seeds("tune") + self._seeds("recheck"))

    def _seeds(self, phase: str) -> tuple[int, ...]:
        """Return the seeds of a phase, of all sweeps of a method."""
        repeats = range(self.design.spec.tune.repeats)
        return tuple(seed for repeat in repeats for seed in self.design.seeds(phase, repeat))

    def _try_stream(self, phase: str, seeds: tuple[int, ...]) -> None:
        stream = self.design.streams[phase]
        # one seed per unit is enough: the seeds of a unit are refused together
        by_unit = {stream.unit_of(seed): seed for seed in seeds}
        sample: Sequence[int] = seeds[:1] if stream.unit == "seed" else list(by_unit.values())
        stream.build(self.of(phase), sample, phase)

    def suspicions(self) -> list[str]:
        """Return sentences on oddities of the data."""
        streams = {stream.dataset: stream for stream in self.design.streams.values()}
        by_name = self._by_name().items()
        return [text for name, data in by_name for text in suspicions(streams[name].data_set, data)]

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
