"""Data sets as plain arrays, cached once as one HDF5 file each: ``<root>/<name>.h5``.

Groups ``train`` and ``test``; in each, ``images`` uint8 [N, ...] and ``labels`` uint8 [N], or
the arrays of spike trains (:mod:`trainables.streams.spikes`).
"""

from __future__ import annotations

import io
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.errors import InputError, cause, unknown
from trainables.files import write_whole
from trainables.streams import spikes
from trainables.streams.checks import blank, images_fault, labels_fault, numbers_fault

Split = dict[str, NDArray[Any]]

ELSEWHERE = "name another data root with --data or STUDY_DATA"
SUSPICIOUS = 0.01  # share of the samples above which it is said that something is odd
HALF = 0.5  # of what an input can be; images that stay below it are of another range


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set without loading it."""

    name: str
    source: str
    classes: int
    shape: tuple[int, ...]  # of one sample, channels last
    scale: float  # multiplies a stored byte to give the network's input
    mean: tuple[float, ...]  # of the scaled training data, one number a channel
    std: tuple[float, ...]
    build: Callable[[Path], dict[str, Split]]
    bundled: str = ""  # the installed package it comes with: nothing to download or cache
    arrays: tuple[str, ...] = ("images", "labels")  # of each split
    speakers: int = 0  # of speech: who spoke; 0: not speech

    @property
    def features(self) -> int:
        """Numbers of one sample."""
        return prod(self.shape)


def load(name: str, root: Path, splits: tuple[str, ...] = ("train", "test")) -> dict[str, Split]:
    """Return the wanted splits of a data set, building its cache on first use.

    Raises:
        InputError: when the data is neither under ``root`` nor to be downloaded, may not be read,
            is damaged, or is such that nothing can be learnt from it.
    """
    path = prepare(name, root)
    if path is not None:
        return _read(path, name, splits)
    built = DATASETS[name].build(root)
    return {split: built[split] for split in splits}


def prepare(name: str, root: Path) -> Path | None:
    """Build the cache file of a data set unless it is there, and return its path; None for a data
    set that comes with an installed package.

    Raises:
        InputError: when the data is neither under ``root`` nor to be downloaded, may not be read,
            is damaged, or the cache cannot be written.
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    if DATASETS[name].bundled:
        return None
    path = cache_path(name, root)
    if not is_cached(name, root):
        _write(path, DATASETS[name].build(root))
    return path


def cache_path(name: str, root: Path) -> Path:
    """Return where the cache file of a data set is, or will be."""
    return root / f"{name}.h5"


def is_cached(name: str, root: Path) -> bool:
    """Say whether the cache file of a data set is there; refuse a root that cannot have one."""
    try:
        cache_path(name, root).stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(
            f"the data root {root} cannot be used ({cause(error)}). Mend that, or {ELSEWHERE}."
        ) from None
    return True


def _read(path: Path, name: str, splits: tuple[str, ...]) -> dict[str, Split]:
    import h5py

    try:
        with h5py.File(path) as file:
            data = {s: {key: file[s][key][:] for key in DATASETS[name].arrays} for s in splits}
        return _checked(data, name)
    except Exception as error:  # h5py has many for a file that is not as expected
        mend = "Delete it; it is built again on the next run."
        raise _unusable(path, error, mend) from None


def _write(path: Path, data: Mapping[str, Split]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _hdf5(data))
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({cause(error)}). Mend that, or {ELSEWHERE}."
        ) from None


def _hdf5(data: Mapping[str, Split]) -> memoryview:
    """Return the cache file; made in memory, because HDF5 ends the process when a disk is full."""
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for split, arrays in data.items():
            for key, array in arrays.items():
                file.create_dataset(f"{split}/{key}", data=array, compression="lzf")
    return content.getbuffer()


def _checked(data: dict[str, Split], name: str) -> dict[str, Split]:
    """Return the arrays as they are, or raise ValueError where they are not this data set's."""
    dataset = DATASETS[name]
    for split, arrays in data.items():
        if dataset.speakers:
            found = spikes.fault(arrays, dataset.classes, dataset.speakers)
        else:
            found = _fault(arrays["images"], arrays["labels"], dataset)
        if found:
            raise ValueError(f"{split}: {found}")
    return data


def _fault(images: NDArray[Any], labels: NDArray[Any], dataset: Dataset) -> str:
    """What is wrong with a split of a data set of images; nothing where it is as it must be."""
    if images.dtype != np.uint8 or labels.dtype != np.uint8:
        return f"{images.dtype} and {labels.dtype} in place of uint8"
    if images.ndim < 2 or prod(images.shape[1:]) != dataset.features:
        return f"images {images.shape} in place of {dataset.features} bytes"
    if labels.shape != images.shape[:1] or not labels.size:
        return f"{len(images)} images, but labels {labels.shape}"
    return (
        numbers_fault(labels, "label", dataset.classes)
        or labels_fault(labels)
        or images_fault(images, dataset.scale)
    )


def suspicions(name: str, data: Mapping[str, Split]) -> list[str]:
    """Return sentences on what is probably wrong with data that can be learnt from all the same.

    Args:
        data: as :func:`load` returns it, or as a stream keeps it.
    """
    found, seen, dataset = [], set[int](), DATASETS[name]
    for split, arrays in data.items():
        empty, contents = blank(arrays), [hash(sample) for sample in _samples(arrays)]
        told = [content for content, none in zip(contents, empty, strict=True) if not none]
        amounts = {
            "are empty (no spike, or one value throughout)": int(empty.sum()),
            "are copies of others": len(told) - len(set(told) - seen),
        }
        seen.update(told)
        found += [
            f"{name}, {split}: {amount:,} of {len(empty):,} samples "
            f"({amount / len(empty):.1%}) {what}."
            for what, amount in amounts.items()
            if amount > SUSPICIOUS * len(empty)
        ]
        if not dataset.speakers and arrays["images"].max() * dataset.scale < HALF:
            most = round(1 / dataset.scale)
            found.append(f"{name}, {split}: no value is above {arrays['images'].max()} of {most}.")
    return found


def _samples(arrays: Split) -> Iterator[bytes]:
    """Yield what is kept of each sample without its label."""
    if "images" in arrays:
        yield from (image.tobytes() for image in arrays["images"])
        return
    for first, end in itertools.pairwise([0, *arrays["ends"]]):
        yield arrays["times"][first:end].tobytes() + arrays["units"][first:end].tobytes()


def _unusable(path: Path, error: Exception, mend: str) -> InputError:
    """Return the sentence for a file that the system does not give, or that is damaged."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None):
        return InputError(f"{path} cannot be read ({cause(error)}). Mend that, or {ELSEWHERE}.")
    return InputError(f"{path} is damaged ({cause(error)}). {mend}")


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


def _torchvision(name: str, kind: str, folder: str) -> Callable[[Path], dict[str, Split]]:
    def build(root: Path) -> dict[str, Split]:
        import torchvision

        data_set, raw = getattr(torchvision.datasets, kind), root / folder
        try:
            return _checked(_arrays(data_set, root), name)
        except Exception as error:  # torchvision has many for a file that is not as expected
            if not str(error).startswith("Dataset not found"):
                mend = "Delete it; its files are downloaded on the next run."
                raise _unusable(raw, error, mend) from None
        return _downloaded(data_set, raw, root, name)

    return build


def _arrays(data_set: Any, root: Path, download: bool = False) -> dict[str, Split]:
    parts = {
        s: data_set(str(root), train=s == "train", download=download) for s in ("train", "test")
    }
    return {
        split: {"images": np.asarray(part.data), "labels": np.asarray(part.targets, dtype=np.uint8)}
        for split, part in parts.items()
    }


def _downloaded(data_set: Any, raw: Path, root: Path, name: str) -> dict[str, Split]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, suffix=".partial") as scratch:
            return _checked(_arrays(data_set, Path(scratch), download=True), name)
    except Exception as error:  # the network's, the disk's, or torchvision's
        raise InputError(
            f"{name} is not under {root} and could not be downloaded ({cause(error)}). "
            f"Put torchvision's files into {raw}, "
            "or name a folder that has them with --data or STUDY_DATA."
        ) from None


def _speech(
    name: str,
    source: str,
    classes: int,
    speakers: int,
    build: Callable[[Path], dict[str, Split]],
) -> Dataset:
    """Spike trains: the shape is that of a step, counts of spikes."""
    return Dataset(
        name,
        source,
        classes,
        (spikes.CHANNELS,),
        1.0,
        (0.0,),
        (1.0,),
        build,
        arrays=spikes.ARRAYS,
        speakers=speakers,
    )


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "digits",
            "scikit-learn's handwritten digits (UCI, 1998), 8x8",
            10,
            (8, 8),
            1 / 16,
            (0.3053,),
            (0.3760,),
            _digits,
            bundled="scikit-learn",
        ),
        Dataset(
            "mnist",
            "MNIST (LeCun, Cortes, Burges 1998), 28x28",
            10,
            (28, 28),
            1 / 255,
            (0.1307,),
            (0.3081,),
            _torchvision("mnist", "MNIST", "MNIST/raw"),
        ),
        Dataset(
            "fashion_mnist",
            "Fashion-MNIST (Xiao, Rasul, Vollgraf 2017), 28x28",
            10,
            (28, 28),
            1 / 255,
            (0.2860,),
            (0.3530,),
            _torchvision("fashion_mnist", "FashionMNIST", "FashionMNIST/raw"),
        ),
        Dataset(
            "cifar10",
            "CIFAR-10 (Krizhevsky 2009), 32x32 in colour",
            10,
            (32, 32, 3),
            1 / 255,
            (0.4914, 0.4822, 0.4465),
            (0.2023, 0.1994, 0.2010),
            _torchvision("cifar10", "CIFAR10", "cifar-10-batches-py"),
        ),
        _speech("shd", "Spiking Heidelberg Digits (Cramer et al. 2020)", 20, 12, spikes.shd),
        _speech(
            "spoken_digits",
            "Free Spoken Digit Dataset (Jackson et al. 2018), as spikes of a cochlea model",
            10,
            6,
            spikes.spoken_digits,
        ),
    )
}
