"""Spike trains from HDF5 files in the layout of the Spiking Heidelberg Digits (SHD).

Source: Cramer et al. 2020, "The Heidelberg spiking data sets for the systematic evaluation of
spiking neural networks". A file has one row per sample in ``spikes/times`` (seconds) and
``spikes/units`` (channels), both ragged, ``labels`` and ``extra/speaker``; it may be gzipped.

In memory the spikes of all samples are concatenated, E spikes of N samples: ``times`` [E], in the
type of the file; ``units`` uint16 [E]; ``ends`` [N], the end of each sample's spikes; ``labels``
and ``speakers`` uint8 [N].
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
CHUNK = 64  # samples binned at once; fewer if they have more than 100 steps
PARTS = ("spikes/times", "spikes/units", "labels", "extra/speaker")
ARRAYS = ("times", "units", "ends", "labels", "speakers")
SHD_SITE = "https://zenkelab.org/datasets"


def read(path: Path, classes: int, speakers: int) -> SpikeTrains:
    """Return the spike trains of one file.

    Raises:
        InputError: the file is invalid; the message names the file and, if possible, the row.
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
    except Exception as error:  # h5py and gzip raise many types for a truncated file
        raise _unusable(path, " ".join(str(error).split())) from None
    times, units, labels, speaker = columns
    lengths = {name: len(column) for name, column in zip(PARTS, columns, strict=True)}
    if len(set(lengths.values())) > 1 or not len(labels):
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise _unusable(path, f"the columns must have equally many rows, at least one: {listed}")
    for row, (row_times, row_units) in enumerate(zip(times, units, strict=True)):
        if np.shape(row_times) != np.shape(row_units) or np.ndim(row_times) != 1:
            raise _unusable(
                path, f"row {row}: {np.size(row_times)} times, but {np.size(row_units)} units"
            )
    ends = np.cumsum([len(row) for row in times])
    trains = {"times": np.concatenate(times), "units": np.concatenate(units), "ends": ends}
    trains |= {"labels": labels, "speakers": speaker}
    if trains_fault := fault(trains, classes, speakers):
        raise _unusable(path, trains_fault)
    types = {"units": np.uint16, "labels": np.uint8, "speakers": np.uint8}
    return trains | {name: trains[name].astype(dtype) for name, dtype in types.items()}


def fault(trains: SpikeTrains, classes: int, speakers: int) -> str:
    """Return the fault in spike trains, and its row; empty if there is none."""
    ends, labels = trains["ends"], trains["labels"]
    if not len(labels):
        return "there are no samples"
    consistent = len(ends) == len(trains["speakers"]) == len(labels)
    consistent = consistent and ends[-1] == len(trains["times"]) == len(trains["units"])
    if not consistent or (np.diff(ends, prepend=0) < 0).any():
        return "the lengths of the arrays are inconsistent"
    columns_fault = (
        numbers_fault(labels, "label", classes)
        or labels_fault(labels)
        or numbers_fault(trains["speakers"], "speaker", speakers)
    )
    if columns_fault:
        return columns_fault
    for row, (first, end) in enumerate(itertools.pairwise([0, *ends])):
        if row_fault := _row_fault(trains["times"][first:end], trains["units"][first:end]):
            return f"row {row}: {row_fault}"
    return spikes_fault(trains["times"])


def _row_fault(times: Array, units: Array) -> str:
    if not np.issubdtype(times.dtype, np.floating):
        return f"the times are {times.dtype}, not floating-point seconds"
    if not np.issubdtype(units.dtype, np.integer):
        return f"the units are {units.dtype}, not whole numbers"
    seconds = times.astype(np.float32)
    if not np.isfinite(seconds).all() or (seconds < 0).any():
        return "a spike's time is negative or not finite; times are seconds"
    if (np.diff(seconds) < 0).any():
        return "the spikes are not in order of time"
    wrong = units[(units < 0) | (units >= CHANNELS)]
    if wrong.size:
        return f"unit {wrong[0]}; allowed: 0 to {CHANNELS - 1}"
    return duration_fault(seconds[-1]) if seconds.size else ""


def _unusable(path: Path, cause: str) -> InputError:
    return InputError(f"{path} cannot be used: {cause}. Replace the file by a valid one.")


def joined(parts: list[SpikeTrains]) -> SpikeTrains:
    """Concatenate the samples of several files."""
    shifts = np.cumsum([0, *(part["ends"][-1] for part in parts)])
    ends = [part["ends"] + shift for part, shift in zip(parts, shifts[:-1], strict=True)]
    columns = ("times", "units", "labels", "speakers")
    whole = {name: np.concatenate([part[name] for part in parts]) for name in columns}
    return whole | {"ends": np.concatenate(ends)}


def selected(trains: SpikeTrains, rows: Array) -> SpikeTrains:
    """Return the samples marked in ``rows``, bool [N]."""
    lengths = np.diff(trains["ends"], prepend=0)
    spikes = np.repeat(rows, lengths)
    chosen = {name: trains[name][spikes] for name in ("times", "units")}
    chosen |= {name: trains[name][rows] for name in ("labels", "speakers")}
    return chosen | {"ends": np.cumsum(lengths[rows])}


def groups(trains: Mapping[str, Array]) -> Array:
    """Return the group of each sample, its pair of speaker and label, as a number, [N]; every split
    has the same share of each group.
    """
    pairs: Array = trains["speakers"].astype(np.int64) * 256 + trains["labels"]
    return pairs


def counts(trains: Mapping[str, Array], steps: int, seconds: float, most: int) -> Iterator[Array]:
    """Yield the number of spikes per step and channel, uint8 [n, steps * CHANNELS], for chunks of n
    samples.

    The bins are those of the authors' code: a spike at time t falls into step ``digitize(t,
    linspace(0, seconds, steps))``, so that step 0 is always empty; spikes after ``seconds`` are
    dropped. Counts are clipped at ``most``.
    """
    edges, cells = np.linspace(0, seconds, steps), steps * CHANNELS
    starts, size = np.concatenate([[0], trains["ends"]]), max(CHUNK * 100 // max(steps, 100), 1)
    for first in range(0, len(trains["ends"]), size):
        bounds = starts[first : first + size + 1]
        spikes = slice(bounds[0], bounds[-1])
        sample = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        step = np.digitize(trains["times"][spikes].astype(np.float32), edges)
        cell = sample * cells + step * CHANNELS + trains["units"][spikes]
        totals = np.bincount(cell[step < steps], minlength=(len(bounds) - 1) * cells)
        yield np.minimum(totals, most).astype(np.uint8).reshape(-1, cells)


def spoken_digits(root: Path) -> dict[str, SpikeTrains]:
    """Return the spoken digits under the data root, in their official splits."""
    folder = root / "spoken_digits"
    return {split: read(_existing_file(folder, split), 10, 6) for split in ("train", "test")}


def shd(root: Path) -> dict[str, SpikeTrains]:
    """Return SHD, downloaded on first use: both files joined as in the source, then split anew.

    The test split is every fifth sample of each pair of speaker and class, in the order of the
    joined files. The official test set, which is mostly of two speakers, is not kept separate.
    """
    folder = root / "shd"
    names = ("shd_train", "shd_test")
    if not all(_find_file(folder, name) for name in names):
        _download(folder, [f"{name}.h5.gz" for name in names])
    whole = joined([read(_existing_file(folder, name), 20, 12) for name in names])
    test = every_fifth(groups(whole))
    return {"train": selected(whole, ~test), "test": selected(whole, test)}


def every_fifth(group: Array) -> Array:
    """Mark the fifth, tenth, ... member of each group, in order, bool [N]."""
    marked = np.zeros(len(group), dtype=bool)
    for each in np.unique(group):
        marked[np.flatnonzero(group == each)[4::5]] = True
    return marked


def _find_file(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{suffix}" for suffix in (".h5", ".h5.gz"))
    return next((path for path in paths if path.exists()), None)


def _existing_file(folder: Path, name: str) -> Path:
    path = _find_file(folder, name)
    if path is None:
        raise InputError(
            f"{folder / name}.h5 (or .h5.gz) does not exist. Put the file there, or name another "
            "data root with --data or STUDY_DATA."
        )
    return path


def _download(folder: Path, names: list[str]) -> None:
    """Download files of SHD, and verify their published checksums."""
    try:
        contents = {name: _verified_download(name) for name in names}
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_whole(folder / name, content)
    except Exception as error:  # from the network, the disk or the site
        raise InputError(
            f"SHD is not under {folder} and could not be downloaded "
            f"({' '.join(str(error).split())}). Put {' and '.join(names)} from {SHD_SITE} there, "
            "or name another data root with --data or STUDY_DATA."
        ) from None


def _verified_download(name: str) -> bytes:
    """Download a file; raise ValueError unless it has the published checksum."""
    lines = _downloaded("md5sums.txt").decode().splitlines()
    sums = {line.split()[1].lstrip("*"): line.split()[0] for line in lines if line.strip()}
    content = _downloaded(name)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != sums.get(name):
        raise ValueError(f"{name} does not have the published checksum")
    return content


def _downloaded(name: str) -> bytes:
    with urllib.request.urlopen(f"{SHD_SITE}/{name}", timeout=60) as answer:
        content: bytes = answer.read()
    return content
