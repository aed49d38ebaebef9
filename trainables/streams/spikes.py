"""Spike trains from HDF5 files in the layout of the Spiking Heidelberg Digits (SHD).

Source: Cramer et al. 2020, "The Heidelberg spiking data sets for the systematic evaluation of
spiking neural networks". In a file, ragged rows ``spikes/times`` (seconds) and ``spikes/units``
(channels), ``labels`` and ``extra/speaker``, one each a sample; a file may be gzipped.

In memory the spikes of all samples stand one after the other: ``times``, in the file's own type,
and ``units`` uint16 [E]; ``ends`` [N], where each sample's spikes end; ``labels`` and ``speakers``
uint8 [N].
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.errors import InputError
from trainables.files import write_whole
from trainables.streams.checks import duration_fault, labels_fault, numbers_fault, spikes_fault

Array = NDArray[Any]
SpikeTrains = dict[str, Array]

CHANNELS = 700  # of the cochlea model
PARTS = ("spikes/times", "spikes/units", "labels", "extra/speaker")
ARRAYS = ("times", "units", "ends", "labels", "speakers")
SHD_SITE = "https://zenkelab.org/datasets"


def read(path: Path, classes: int, speakers: int) -> SpikeTrains:
    """Return the spike trains of one file.

    Raises:
        InputError: naming the file and, where there is one, the row that is not as it must be.
    """
    import h5py

    try:
        content = io.BytesIO(gzip.decompress(path.read_bytes())) if path.suffix == ".gz" else path
        with h5py.File(content) as file:
            missing = [name for name in PARTS if name not in file]
            if missing:
                raise _unusable(path, f"it has no '{missing[0]}'; needed: {', '.join(PARTS)}")
            columns = [file[name][:] for name in PARTS]
    except InputError:
        raise
    except Exception as error:  # h5py and gzip have many for a file that is cut off
        raise _unusable(path, " ".join(str(error).split())) from None
    times, units, labels, speaker = columns
    lengths = {name: len(column) for name, column in zip(PARTS, columns, strict=True)}
    if len(set(lengths.values())) > 1 or not len(labels):
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise _unusable(path, f"its columns must have as many rows, at least one: {listed}")
    for row, (when, where) in enumerate(zip(times, units, strict=True)):
        if np.shape(when) != np.shape(where) or np.ndim(when) != 1:
            raise _unusable(path, f"row {row}: {np.size(when)} times, but {np.size(where)} units")
    ends = np.cumsum([len(row) for row in times])
    trains = {"times": np.concatenate(times), "units": np.concatenate(units), "ends": ends}
    trains |= {"labels": labels, "speakers": speaker}
    if found := fault(trains, classes, speakers):
        raise _unusable(path, found)
    kinds = {"units": np.uint16, "labels": np.uint8, "speakers": np.uint8}
    return trains | {name: trains[name].astype(kind) for name, kind in kinds.items()}


def fault(trains: SpikeTrains, classes: int, speakers: int) -> str:
    """What is wrong with spike trains, and in which row; nothing where they are as they must be."""
    ends, labels = trains["ends"], trains["labels"]
    if not len(labels):
        return "it has no samples"
    fitting = len(ends) == len(trains["speakers"]) == len(labels)
    fitting = fitting and ends[-1] == len(trains["times"]) == len(trains["units"])
    if not fitting or (np.diff(ends, prepend=0) < 0).any():
        return "its arrays do not fit together"
    found = (
        numbers_fault(labels, "label", classes)
        or labels_fault(labels)
        or numbers_fault(trains["speakers"], "speaker", speakers)
    )
    if found:
        return found
    for row, (first, end) in enumerate(itertools.pairwise([0, *ends])):
        if found := _row_fault(trains["times"][first:end], trains["units"][first:end]):
            return f"row {row}: {found}"
    return spikes_fault(trains["times"])


def _row_fault(times: Array, units: Array) -> str:
    if not np.issubdtype(times.dtype, np.floating):
        return f"its times are {times.dtype}, not numbers of seconds"
    if not np.issubdtype(units.dtype, np.integer):
        return f"its units are {units.dtype}, not whole numbers"
    seconds = times.astype(np.float32)
    if not np.isfinite(seconds).all() or (seconds < 0).any():
        return "a spike's time is negative or not finite; times are seconds"
    if (np.diff(seconds) < 0).any():
        return "its spikes are not in order of time"
    wrong = units[(units < 0) | (units >= CHANNELS)]
    if wrong.size:
        return f"unit {wrong[0]}; allowed: 0 to {CHANNELS - 1}"
    return duration_fault(seconds[-1]) if seconds.size else ""


def _unusable(path: Path, why: str) -> InputError:
    return InputError(f"{path} cannot be used: {why}. Put a whole file in its place.")


def joined(parts: list[SpikeTrains]) -> SpikeTrains:
    """Join files: the samples of the first, then those of the second."""
    shifts = np.cumsum([0, *(part["ends"][-1] for part in parts)])
    ends = [part["ends"] + shift for part, shift in zip(parts, shifts[:-1], strict=True)]
    columns = ("times", "units", "labels", "speakers")
    whole = {name: np.concatenate([part[name] for part in parts]) for name in columns}
    return whole | {"ends": np.concatenate(ends)}


def selected(trains: SpikeTrains, rows: Array) -> SpikeTrains:
    """Return the samples that ``rows``, bool [N], marks."""
    lengths = np.diff(trains["ends"], prepend=0)
    spikes = np.repeat(rows, lengths)
    chosen = {name: trains[name][spikes] for name in ("times", "units")}
    of_samples = {name: trains[name][rows] for name in ("labels", "speakers")}
    return chosen | of_samples | {"ends": np.cumsum(lengths[rows])}


def groups(trains: Mapping[str, Array]) -> Array:
    """Number each sample's pair of speaker and label, [N]: what splits are balanced over."""
    pairs: Array = trains["speakers"].astype(np.int64) * 256 + trains["labels"]
    return pairs


def counts(trains: Mapping[str, Array], steps: int, seconds: float, most: int) -> Iterator[Array]:
    """Yield the number of spikes of each step and channel, uint8 [n, steps * CHANNELS], for some
    samples at a time.

    The authors' bins: a time falls into step ``digitize(t, linspace(0, seconds, steps))``, so step
    0 stays empty; spikes after ``seconds`` are left out. More than ``most`` count as so many.
    """
    edges, cells = np.linspace(0, seconds, steps), steps * CHANNELS
    starts, some = np.concatenate([[0], trains["ends"]]), max(CHUNK * 100 // max(steps, 100), 1)
    for first in range(0, len(trains["ends"]), some):
        bounds = starts[first : first + some + 1]
        spikes = slice(bounds[0], bounds[-1])
        sample = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        step = np.digitize(trains["times"][spikes].astype(np.float32), edges)
        cell = sample * cells + step * CHANNELS + trains["units"][spikes]
        found = np.bincount(cell[step < steps], minlength=(len(bounds) - 1) * cells)
        yield np.minimum(found, most).astype(np.uint8).reshape(-1, cells)


CHUNK = 64  # samples binned at once; fewer where they have more than 100 steps


def spoken_digits(root: Path) -> dict[str, SpikeTrains]:
    """The spoken digits under the data root, with the split they come with."""
    folder = root / "spoken_digits"
    return {split: read(_found(folder, split), 10, 6) for split in ("train", "test")}


def shd(root: Path) -> dict[str, SpikeTrains]:
    """SHD, downloaded on first use; both files joined as in the source, then split by sample.

    Of each speaker's samples of a class, in the order of the joined file, every fifth is for
    testing. The official test set, most of it of two speakers, is not kept apart.
    """
    folder = root / "shd"
    names = ("shd_train", "shd_test")
    if not all(_there(folder, name) for name in names):
        _download(folder, [f"{name}.h5.gz" for name in names])
    whole = joined([read(_found(folder, name), 20, 12) for name in names])
    test = every_fifth(groups(whole))
    return {"train": selected(whole, ~test), "test": selected(whole, test)}


def every_fifth(group: Array) -> Array:
    """Mark the fifth, tenth, ... member of each group, in order; bool [N]."""
    marked = np.zeros(len(group), dtype=bool)
    for each in np.unique(group):
        marked[np.flatnonzero(group == each)[4::5]] = True
    return marked


def _there(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{suffix}" for suffix in (".h5", ".h5.gz"))
    return next((path for path in paths if path.exists()), None)


def _found(folder: Path, name: str) -> Path:
    path = _there(folder, name)
    if path is None:
        raise InputError(
            f"{folder / name}.h5 (or .h5.gz) is not there. Put it there, or name another data root "
            "with --data or STUDY_DATA."
        )
    return path


def _download(folder: Path, names: list[str]) -> None:
    """Fetch files of the data set's site, checked against the sums it publishes."""
    try:
        contents = {name: _sound(name) for name in names}
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_whole(folder / name, content)
    except Exception as error:  # the network's, the disk's, or the site's
        raise InputError(
            f"SHD is not under {folder} and could not be downloaded "
            f"({' '.join(str(error).split())}). Put {' and '.join(names)} of {SHD_SITE} there, or "
            "name another data root with --data or STUDY_DATA."
        ) from None


def _sound(name: str) -> bytes:
    """Fetch a file, and raise ValueError unless its sum is the one that is published."""
    listed = _fetched("md5sums.txt").decode().splitlines()
    sums = {line.split()[1].lstrip("*"): line.split()[0] for line in listed if line.strip()}
    content = _fetched(name)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != sums.get(name):
        raise ValueError(f"{name} does not have the published checksum")
    return content


def _fetched(name: str) -> bytes:
    with urllib.request.urlopen(f"{SHD_SITE}/{name}", timeout=60) as answer:
        content: bytes = answer.read()
    return content
