"""Data of one's own: an HDF5 file of samples, and the facts that a stream needs to know of it.

The groups ``train`` and ``test`` have, for N samples each:

- ``inputs``: images, uint8 [N, height, width] or [N, height, width, channels], or features,
  float32 [N, features];
- ``labels``: whole numbers from 0, [N];
- optionally ``task``, ``group`` and ``unit``: whole numbers from 0, [N].
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.errors import InputError, cause
from trainables.streams.checks import CHUNK, images_fault, labels_fault, numbers_fault
from trainables.streams.datasets import MOST_CLASSES

Array = NDArray[Any]

NUMBERS = ("task", "group", "unit")  # the optional arrays
DTYPES = ("uint8", "float32")


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file without its samples.

    Attributes:
        digest: hash of all arrays, which tells files apart.
        classes: number of classes.
        shape: of a sample, channels last.
        dtype: ``uint8`` or ``float32``.
        mean, std: of the inputs to learn (bytes as fractions of 255): of each channel of images,
            else one number for all features.
        low, high: the smallest and the largest of these inputs.
        tasks, groups: classes of each task and group; empty without such numbers.
        units: number of units; 0 without such numbers.
    """

    digest: str
    classes: int
    shape: tuple[int, ...]
    dtype: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: float
    high: float
    tasks: tuple[tuple[int, ...], ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    units: int = 0

    @property
    def scale(self) -> float:
        """Factor from a stored feature to the network's input."""
        return scale_of(self.dtype)

    def text(self) -> str:
        """Return the facts as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    @functools.cache
    def of(cls, text: str) -> FileFacts:
        """Return the facts that a text has."""
        values: dict[str, Any] = json.loads(text)
        return cls(**{name: _as_tuple(value) for name, value in values.items()})


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def scale_of(dtype: str) -> float:
    """Return the factor from a stored feature to the network's input."""
    return 1 / 255 if dtype == "uint8" else 1.0


def facts_of(path: Path) -> FileFacts:
    """Return the facts of a file.

    Raises:
        InputError: the file cannot be read, or is not as described above; with the file, the group
            and the row.
    """
    data = read(path)
    train = data["train"]
    inputs, labels = train["images"], train["labels"]
    classes, scale = int(labels.max()) + 1, scale_of(str(inputs.dtype))
    channels = inputs.shape[3] if inputs.ndim == 4 else 1
    mean, std = _moments(inputs.reshape(-1, channels), scale)
    return FileFacts(
        digest=_digest(data),
        classes=classes,
        shape=inputs.shape[1:],
        dtype=str(inputs.dtype),
        mean=mean,
        std=std,
        low=float(inputs.min()) * scale,
        high=float(inputs.max()) * scale,
        tasks=_classes_by(train.get("task"), labels),
        groups=_classes_by(train.get("group"), labels),
        units=int(train["unit"].max()) + 1 if "unit" in train else 0,
    )


def read(path: Path) -> dict[str, dict[str, Array]]:
    """Return the arrays of a file by split; the inputs are called ``images``, and all numbers are
    bytes.

    Raises:
        InputError: as :func:`facts_of` does.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            data = {split: _split(file, split, path) for split in ("train", "test")}
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(
            f"stream.file: there is no file {path}. A path is relative to the study file."
        ) from None
    except Exception as error:  # h5py raises many types for an invalid file
        raise InputError(
            f"stream.file: {path} cannot be read ({cause(error)}). An HDF5 file is needed; "
            "docs/extending.md shows how to write one."
        ) from None
    _compare(data, path)
    return data


def _split(file: Any, split: str, path: Path) -> dict[str, Array]:
    for name in ("inputs", "labels"):
        if not hasattr(file.get(f"{split}/{name}"), "shape"):
            raise _fault(path, f"{split}/{name}", "there is no such array")
    inputs = _inputs(file[f"{split}/inputs"], path, split)
    found = {"images": inputs}
    for name in ("labels", *NUMBERS):
        if f"{split}/{name}" in file:
            where = f"{split}/{name}"
            found[name] = _numbers(file[where][()], len(inputs), path, where)
    if fault := labels_fault(found["labels"]):
        raise _fault(path, f"{split}/labels", fault)
    return found


def _inputs(stored: Any, path: Path, split: str) -> Array:
    where, shape = f"{split}/inputs", tuple(stored.shape)
    if str(stored.dtype) not in DTYPES:
        raise _fault(
            path, where, f"{stored.dtype}; allowed: uint8 (images, 0 to 255) or float32 (features)"
        )
    if len(shape) not in (2, 3, 4) or not prod(shape):
        raise _fault(
            path,
            where,
            f"the shape {list(shape)}; allowed: [samples, features], [samples, height, width] or "
            "[samples, height, width, channels], without an empty axis",
        )
    inputs: Array = stored[()]
    if inputs.dtype == np.float32:
        finite = np.isfinite(inputs).reshape(len(inputs), -1).all(1)
        if not finite.all():
            raise _fault(path, where, f"row {int(np.argmin(finite))} is not finite")
    if fault := images_fault(inputs, scale_of(str(inputs.dtype))):
        raise _fault(path, where, fault)
    return inputs


def _numbers(column: Array, count: int, path: Path, where: str) -> Array:
    name = where.rpartition("/")[2].removesuffix("s")
    if fault := numbers_fault(column, name, MOST_CLASSES):
        raise _fault(path, where, fault)
    if len(column) != count:
        raise _fault(path, where, f"{len(column)} numbers for {count} inputs")
    return column.astype(np.uint8)


def _compare(data: dict[str, dict[str, Array]], path: Path) -> None:
    """Raise :class:`InputError` if the splits are not of one kind."""
    train, test = data["train"], data["test"]
    kinds = [f"{s['images'].dtype} of shape {list(s['images'].shape[1:])}" for s in (train, test)]
    if kinds[0] != kinds[1]:
        raise _fault(path, "test/inputs", f"samples are {kinds[1]}, in train/inputs {kinds[0]}")
    for name in ("labels", *NUMBERS):
        if (name in train) != (name in test):
            lacking = "train" if name in test else "test"
            raise _fault(path, f"{lacking}/{name}", "only the other split has such an array")
        if name in train:
            _check_all_there(train[name], test[name], name, path)


def _check_all_there(train: Array, test: Array, name: str, path: Path) -> None:
    """Raise for numbers that are left out in training, or that only the test split has."""
    word = name.removesuffix("s")
    missing = np.setdiff1d(np.arange(int(train.max()) + 1), train)
    if len(missing):
        raise _fault(
            path,
            f"train/{name}",
            f"no sample has {word} {missing[0]}, though {word} {train.max()} exists: number them "
            "from 0 without a gap",
        )
    if fault := numbers_fault(test, word, int(train.max()) + 1):
        raise _fault(path, f"test/{name}", f"{fault}, as in train/{name}")


def _fault(path: Path, where: str, fault: str) -> InputError:
    return InputError(f"stream.file: {path}, {where}: {fault}.")


def _classes_by(numbers: Array | None, labels: Array) -> tuple[tuple[int, ...], ...]:
    """Return the classes that have samples with each number."""
    if numbers is None:
        return ()
    return tuple(
        tuple(map(int, np.unique(labels[numbers == n]))) for n in range(int(numbers.max()) + 1)
    )


def _digest(data: dict[str, dict[str, Array]]) -> str:
    digest = hashlib.sha256()
    for split, arrays in data.items():
        for name, array in arrays.items():
            digest.update(f"{split}/{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:8]


def _moments(rows: Array, scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each column, [N, channels], of scaled values."""
    parts = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    mean = sum(part.sum(0, dtype=np.float64) for part in parts) / len(rows)
    square = sum(np.square(part - mean).sum(0) for part in parts) / len(rows)
    # a channel of one value is left at 0
    std = np.where(square > 0, np.sqrt(square) * scale, 1.0)
    return tuple((mean * scale).tolist()), tuple(std.tolist())
