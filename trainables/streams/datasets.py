"""Data sets as plain arrays, each cached in one HDF5 file ``<root>/<name>.h5``.

A file has the groups ``train`` and ``test``, each with ``images`` uint8 [N, ...] and ``labels``
uint8 [N], or with the arrays of spike trains (:mod:`trainables.streams.spikes`).
"""

from __future__ import annotations

import io
import itertools
import pickle
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
SUSPICIOUS = 0.01  # share of empty or duplicate samples that triggers a warning
HALF = 0.5  # of the range of inputs; images that never exceed HALF seem to have another range


@dataclass(frozen=True)
class Dataset:
    """The facts of a data set that are known without loading it."""

    name: str
    source: str
    classes: int
    shape: tuple[int, ...]  # of a sample, channels last
    scale: float  # factor from a stored byte to the network's input
    mean: tuple[float, ...]  # of the scaled training data, one number per channel
    std: tuple[float, ...]
    build: Callable[[Path], dict[str, Split]]
    bundled: str = ""  # installed package that includes the data: nothing to download or cache
    arrays: tuple[str, ...] = ("images", "labels")  # names of the arrays of a split
    speakers: int = 0  # number of speakers; 0 for images

    @property
    def features(self) -> int:
        """Features per sample."""
        return prod(self.shape)


def load(name: str, root: Path, splits: tuple[str, ...] = ("train", "test")) -> dict[str, Split]:
    """Return splits of a data set by name, building the cache file on first use.

    >>> load("digits", Path("data"))["train"]["images"].shape
    (1195, 8, 8)

    Raises:
        InputError: the data are neither under ``root`` nor downloadable, are unreadable or damaged,
            or contain nothing that can be learnt.
    """
    path = prepare(name, root)
    if path is not None:
        return _read(path, name, splits)
    built = DATASETS[name].build(root)
    return {split: built[split] for split in splits}


def prepare(name: str, root: Path) -> Path | None:
    """Return the path of the cache file of a data set, building the file if it does not exist; None
    for a data set bundled with an installed package.

    Raises:
        InputError: the data are neither under ``root`` nor downloadable, or are unreadable or
            damaged, or the cache file cannot be written.
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
    """Return the path of the cache file of a data set, whether or not the file exists."""
    return root / f"{name}.h5"


def is_cached(name: str, root: Path) -> bool:
    """Whether the cache file of a data set exists.

    Raises:
        InputError: the data root is not accessible.
    """
    try:
        cache_path(name, root).stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(
            f"the data root {root} cannot be used ({cause(error)}). Fix the problem, or "
            f"{ELSEWHERE}."
        ) from None
    return True


def _read(path: Path, name: str, splits: tuple[str, ...]) -> dict[str, Split]:
    import h5py

    try:
        with h5py.File(path) as file:
            data = {s: {key: file[s][key][:] for key in DATASETS[name].arrays} for s in splits}
        return _checked(data, name)
    except Exception as error:  # h5py raises many types for an invalid file
        remedy = "Delete the file; the next run builds it again."
        raise _unusable(path, error, remedy) from None


def _write(path: Path, data: Mapping[str, Split]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _hdf5(data))
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({cause(error)}). Fix the problem, or {ELSEWHERE}."
        ) from None


def _hdf5(data: Mapping[str, Split]) -> memoryview:
    """Return the content of the cache file. The file is built in memory, because HDF5 crashes the
    process when a disk is full.
    """
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for split, arrays in data.items():
            for key, array in arrays.items():
                file.create_dataset(f"{split}/{key}", data=array, compression="lzf")
    return content.getbuffer()


def _checked(data: dict[str, Split], name: str) -> dict[str, Split]:
    """Return the arrays unchanged, or raise ValueError if they are not a valid data set."""
    dataset = DATASETS[name]
    for split, arrays in data.items():
        if dataset.speakers:
            fault = spikes.fault(arrays, dataset.classes, dataset.speakers)
        else:
            fault = _image_fault(arrays["images"], arrays["labels"], dataset)
        if fault:
            raise ValueError(f"{split}: {fault}")
    return data


def _image_fault(images: NDArray[Any], labels: NDArray[Any], dataset: Dataset) -> str:
    """Return the fault in a split of images; empty if there is none."""
    if images.dtype != np.uint8 or labels.dtype != np.uint8:
        return f"{images.dtype} and {labels.dtype} instead of uint8"
    if images.ndim < 2 or prod(images.shape[1:]) != dataset.features:
        return f"images of shape {images.shape} instead of {dataset.features} bytes each"
    if labels.shape != images.shape[:1] or not labels.size:
        return f"{len(images)} images, but labels of shape {labels.shape}"
    return (
        numbers_fault(labels, "label", dataset.classes)
        or labels_fault(labels)
        or images_fault(images, dataset.scale)
    )


def suspicions(name: str, data: Mapping[str, Split]) -> list[str]:
    """Return warnings about usable data that probably contain an error.

    Args:
        data: as returned by :func:`load`, or in the format of a stream.
    """
    warnings, seen, dataset = [], set[int](), DATASETS[name]
    for split, arrays in data.items():
        empty, hashes = blank(arrays), [hash(sample) for sample in _samples(arrays)]
        contents = [h for h, is_empty in zip(hashes, empty, strict=True) if not is_empty]
        amounts = {
            "are empty (no spike, or one value throughout)": int(empty.sum()),
            "are copies of others": len(contents) - len(set(contents) - seen),
        }
        seen.update(contents)
        warnings += [
            f"{name}, {split}: {amount:,} of {len(empty):,} samples "
            f"({amount / len(empty):.1%}) {finding}."
            for finding, amount in amounts.items()
            if amount > SUSPICIOUS * len(empty)
        ]
        if not dataset.speakers and arrays["images"].max() * dataset.scale < HALF:
            top, largest = round(1 / dataset.scale), arrays["images"].max()
            warnings.append(f"{name}, {split}: no value is above {largest} of {top}.")
    return warnings


def _samples(arrays: Split) -> Iterator[bytes]:
    """Yield the bytes of each sample without its label."""
    if "images" in arrays:
        yield from (image.tobytes() for image in arrays["images"])
        return
    for first, end in itertools.pairwise([0, *arrays["ends"]]):
        yield arrays["times"][first:end].tobytes() + arrays["units"][first:end].tobytes()


def _unusable(path: Path, error: Exception, remedy: str) -> InputError:
    """Return the error for an unreadable or damaged file.

    Args:
        remedy: advice for a damaged file.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None):
        return InputError(
            f"{path} cannot be read ({cause(error)}). Fix the problem, or {ELSEWHERE}."
        )
    return InputError(f"{path} is damaged ({cause(error)}). {remedy}")


def _digits(root: Path) -> dict[str, Split]:
    """Return scikit-learn's digits. There is no official test set: the test split is the last third
    of each class.
    """
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


def _targets(part: Any) -> Any:
    """Return the labels of a split that torchvision has read."""
    return part.targets


def _superclasses(part: Any) -> Any:
    """Return the labels of the superclasses of CIFAR-100, which torchvision does not keep."""
    files = part.train_list if part.train else part.test_list
    content = (Path(part.root) / part.base_folder / files[0][0]).read_bytes()
    return pickle.loads(content, encoding="latin1")["coarse_labels"]  # torchvision has its sum


def _torchvision(
    name: str, kind: str, folder: str, labels: Callable[[Any], Any] = _targets
) -> Callable[[Path], dict[str, Split]]:
    def build(root: Path) -> dict[str, Split]:
        import torchvision

        data_set, raw = getattr(torchvision.datasets, kind), root / folder
        try:
            return _checked(_arrays(data_set, root, labels), name)
        except Exception as error:  # torchvision raises many types for an invalid file
            if not str(error).startswith("Dataset not found"):
                remedy = "Delete the folder; the next run downloads the files again."
                raise _unusable(raw, error, remedy) from None
        return _downloaded(data_set, raw, root, name, labels)

    return build


def _arrays(
    data_set: Any, root: Path, labels: Callable[[Any], Any], download: bool = False
) -> dict[str, Split]:
    parts = {
        s: data_set(str(root), train=s == "train", download=download) for s in ("train", "test")
    }
    return {
        split: {"images": np.asarray(part.data), "labels": np.asarray(labels(part), dtype=np.uint8)}
        for split, part in parts.items()
    }


def _downloaded(
    data_set: Any, raw: Path, root: Path, name: str, labels: Callable[[Any], Any]
) -> dict[str, Split]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, suffix=".partial") as scratch:
            return _checked(_arrays(data_set, Path(scratch), labels, download=True), name)
    except Exception as error:  # from the network, the disk or torchvision
        raise InputError(
            f"{name} is not under {root} and could not be downloaded ({cause(error)}). "
            f"Put torchvision's files into {raw}, or {ELSEWHERE}."
        ) from None


def _speech(
    name: str,
    source: str,
    classes: int,
    speakers: int,
    build: Callable[[Path], dict[str, Split]],
) -> Dataset:
    """Return a data set of spike trains; the shape is that of the spike counts of one time step."""
    return Dataset(
        name,
        source,
        classes,
        shape=(spikes.CHANNELS,),
        scale=1.0,
        mean=(0.0,),
        std=(1.0,),
        build=build,
        arrays=spikes.ARRAYS,
        speakers=speakers,
    )


CIFAR100: Any = {
    "shape": (32, 32, 3),
    "scale": 1 / 255,
    "mean": (0.5071, 0.4865, 0.4409),
    "std": (0.2673, 0.2564, 0.2762),
}

DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "digits",
            "scikit-learn's handwritten digits (UCI, 1998), 8x8",
            classes=10,
            shape=(8, 8),
            scale=1 / 16,
            mean=(0.3053,),
            std=(0.3760,),
            build=_digits,
            bundled="scikit-learn",
        ),
        Dataset(
            "mnist",
            "MNIST (LeCun, Cortes, Burges 1998), 28x28",
            classes=10,
            shape=(28, 28),
            scale=1 / 255,
            mean=(0.1307,),
            std=(0.3081,),
            build=_torchvision("mnist", "MNIST", "MNIST/raw"),
        ),
        Dataset(
            "fashion_mnist",
            "Fashion-MNIST (Xiao, Rasul, Vollgraf 2017), 28x28",
            classes=10,
            shape=(28, 28),
            scale=1 / 255,
            mean=(0.2860,),
            std=(0.3530,),
            build=_torchvision("fashion_mnist", "FashionMNIST", "FashionMNIST/raw"),
        ),
        Dataset(
            "cifar10",
            "CIFAR-10 (Krizhevsky 2009), 32x32 in colour",
            classes=10,
            shape=(32, 32, 3),
            scale=1 / 255,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2023, 0.1994, 0.2010),
            build=_torchvision("cifar10", "CIFAR10", "cifar-10-batches-py"),
        ),
        Dataset(
            "cifar100",
            "CIFAR-100 (Krizhevsky 2009), 32x32 in colour, 100 classes",
            classes=100,
            build=_torchvision("cifar100", "CIFAR100", "cifar-100-python"),
            **CIFAR100,
        ),
        Dataset(
            "cifar100_superclasses",
            "CIFAR-100 (Krizhevsky 2009), 32x32 in colour, 20 superclasses of 5 classes each",
            classes=20,
            build=_torchvision(
                "cifar100_superclasses", "CIFAR100", "cifar-100-python", _superclasses
            ),
            **CIFAR100,
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
