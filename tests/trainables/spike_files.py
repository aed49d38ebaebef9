"""Small files in the layout of the Spiking Heidelberg Digits, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np


@dataclass(frozen=True)
class Sample:
    """Spikes of a sample in order of time: seconds and channels."""

    times: np.ndarray
    units: np.ndarray
    label: int
    speaker: int

    def dense(self, steps: int, seconds: float, most: int) -> np.ndarray:
        """Count spikes one by one, uint8 [steps, 700]: a spike is in the step after as many edges
        as are not after it; edges are evenly spaced, the first at 0, the last at ``seconds``.
        """
        edges = np.linspace(0, seconds, steps)
        found = np.zeros((steps, 700), dtype=np.int64)
        for time, unit in zip(self.times.astype(np.float32), self.units, strict=True):
            step = sum(1 for edge in edges if edge <= time)
            if step < steps:
                found[step, unit] += 1
        return np.minimum(found, most).astype(np.uint8)


def drawn(rng: np.random.Generator, label: int, speaker: int, spikes: int = 12) -> Sample:
    """A sample of random spikes; more than one may fall on the same step and channel."""
    times = np.sort(rng.uniform(0, 1.45, spikes)).astype(np.float16)
    units = rng.integers(0, 700, spikes)
    units[1::3] = units[0::3][: len(units[1::3])]
    return Sample(times, units.astype(np.uint16), label, speaker)


def columns(samples: list[Sample]) -> dict[str, list[object]]:
    """What is written of some samples, a row each."""
    return {
        "spikes/times": [s.times for s in samples],
        "spikes/units": [s.units for s in samples],
        "labels": [s.label for s in samples],
        "extra/speaker": [s.speaker for s in samples],
    }


TYPES = {
    "spikes/times": h5py.vlen_dtype(np.float16),
    "spikes/units": h5py.vlen_dtype(np.uint16),
    "labels": np.uint16,
    "extra/speaker": np.uint16,
}


def write(
    path: Path, rows: dict[str, list[object]], types: dict[str, object] | None = None
) -> Path:
    """Write columns to a file, ragged ones by their type; one left out is not in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, column in rows.items():
            kind = (types or {}).get(name, TYPES[name])
            ragged = h5py.check_vlen_dtype(np.dtype(kind)) not in (None, str)  # words are one each
            width = np.shape(column[0]) if column and not ragged else ()
            dataset = file.create_dataset(name, (len(column), *width), kind)
            for row, value in enumerate(column):
                dataset[row] = value
    return path


def speech(speakers: int, words: int = 10, each: int = 1) -> dict[str, dict[str, np.ndarray]]:
    """Ten spikes for each of some samples of each word of each speaker, as a loaded data set."""
    rng = np.random.default_rng(1)
    count = words * speakers * each
    split = {
        "times": np.sort(rng.uniform(0.1, 0.6, (count, 10)), axis=1).astype(np.float16).ravel(),
        "units": rng.integers(0, 700, 10 * count).astype(np.uint16),
        "ends": 10 * np.arange(1, count + 1),
        "labels": np.tile(np.arange(words).repeat(speakers), each).astype(np.uint8),
        "speakers": np.tile(np.arange(speakers), words * each).astype(np.uint8),
    }
    return {"train": split, "test": split}
