"""Data sets as plain arrays, cached once as one HDF5 file each: ``<root>/<name>.h5``.

Groups ``train`` and ``test``; in each, ``images`` uint8 [N, ...] and ``labels`` uint8 [N].
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.errors import InputError, unknown

Split = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set without loading it."""

    name: str
    source: str
    classes: int
    features: int
    scale: float  # multiplies a stored byte to give the network's input
    build: Callable[[Path], dict[str, Split]]
    bundled: bool = False  # comes with an installed package: nothing to download or cache


def load(name: str, root: Path, splits: tuple[str, ...] = ("train", "test")) -> dict[str, Split]:
    """Return the wanted splits of a data set, building its cache on first use.

    Raises:
        InputError: when the data is neither under ``root`` nor to be downloaded, or the cache is
            damaged.
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    dataset = DATASETS[name]
    if dataset.bundled:
        built = dataset.build(root)
        return {split: built[split] for split in splits}
    return _read(prepare(name, root), splits)


def prepare(name: str, root: Path) -> Path:
    """Build the cache file of a data set unless it is there, and return its path."""
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    path = root / f"{name}.h5"
    if not path.exists() and not DATASETS[name].bundled:
        _write(path, DATASETS[name].build(root))
    return path


def _read(path: Path, splits: tuple[str, ...]) -> dict[str, Split]:
    import h5py

    try:
        with h5py.File(path) as file:
            return {s: {key: file[s][key][:] for key in ("images", "labels")} for s in splits}
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path} is damaged ({error}). Delete it; it is built again on the next run."
        ) from None


def _write(path: Path, data: Mapping[str, Split]) -> None:
    import h5py

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
        os.close(handle)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error}). Choose another data root with --data."
        ) from None
    try:
        with h5py.File(partial, "w") as file:
            for split, arrays in data.items():
                for key, array in arrays.items():
                    file.create_dataset(f"{split}/{key}", data=array, compression="lzf")
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _digits(root: Path) -> dict[str, Split]:
    """scikit-learn's digits; without an official test set, the last third of each class is it."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    rank = np.zeros(len(labels), dtype=int)
    for label in range(10):
        rank[labels == label] = np.arange((labels == label).sum())
    test = rank >= np.bincount(labels)[labels] * 2 // 3
    parts = {"train": ~test, "test": test}
    return {
        split: {"images": images[chosen], "labels": labels[chosen]}
        for split, chosen in parts.items()
    }


def _torchvision(kind: str) -> Callable[[Path], dict[str, Split]]:
    def build(root: Path) -> dict[str, Split]:
        import torchvision

        data_set = getattr(torchvision.datasets, kind)
        present = _try_torchvision(data_set, root, download=False)
        return present or _download(data_set, kind, root)

    return build


def _try_torchvision(data_set: Any, root: Path, download: bool) -> dict[str, Split] | None:
    try:
        parts = {
            s: data_set(str(root), train=s == "train", download=download) for s in ("train", "test")
        }
    except RuntimeError:
        return None
    return {
        split: {"images": np.asarray(part.data), "labels": np.asarray(part.targets, dtype=np.uint8)}
        for split, part in parts.items()
    }


def _download(data_set: Any, kind: str, root: Path) -> dict[str, Split]:
    hint = (
        f"{kind} is not under {root} and could not be downloaded. "
        f"Put torchvision's files into {root}/{kind}/raw, "
        "or name a folder that has them with --data or STUDY_DATA."
    )
    try:
        root.mkdir(parents=True, exist_ok=True)
        found = _try_torchvision(data_set, root, download=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{hint} ({type(error).__name__})") from None
    if found is None:
        raise InputError(hint)
    return found


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "digits",
            "scikit-learn's handwritten digits (UCI, 1998), 8x8",
            10,
            64,
            1 / 16,
            _digits,
            bundled=True,
        ),
        Dataset(
            "mnist",
            "MNIST (LeCun, Cortes, Burges 1998), 28x28",
            10,
            784,
            1 / 255,
            _torchvision("MNIST"),
        ),
    )
}
