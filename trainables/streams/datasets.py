"""Data sets as plain arrays, most of them cached in one HDF5 file ``<root>/<name>.h5``.

A file has the groups ``train`` and ``test``, each with ``images`` uint8 [N, ...] and ``labels``
uint8 [N], or with the arrays of spike trains (:mod:`trainables.streams.spikes`).
"""

from __future__ import annotations

import functools
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

from trainables.errors import InputError, cause, reason, unknown
from trainables.files import write_whole
from trainables.streams import spikes, tiny_imagenet
from trainables.streams.checks import blank, images_fault, labels_fault, numbers_fault

Split = dict[str, NDArray[Any]]

ELSEWHERE = "name another data root with --data or STUDY_DATA"
SUSPICIOUS = 0.01  # share of empty or duplicate samples that triggers a warning
MOST_CLASSES = 256  # labels are stored in a byte
HALF = 0.5  # of the range of inputs; images that never exceed HALF seem to have another range


@dataclass(frozen=True)
class Dataset:
    """The facts of a data set that are known without loading it, and how it is built."""

    name: str
    source: str
    classes: int
    shape: tuple[int, ...]  # of a sample, channels last
    scale: float  # factor from a stored feature to the network's input
    mean: tuple[float, ...]  # of the scaled training data, one number per channel
    std: tuple[float, ...]
    build: Callable[[Path], dict[str, Split]]
    bundled: str = ""  # installed package that includes the data: nothing to download or cache
    cached: bool = True  # whether building is slow enough for a cache file
    dtype: str = "uint8"  # of a stored feature; "float32" for features
    extremes: tuple[float, float] = (0.0, 1.0)  # the smallest and the largest scaled input
    arrays: tuple[str, ...] = ("images", "labels")  # names of the arrays of a split
    speakers: int = 0  # number of speakers; 0 for images

    @property
    def features(self) -> int:
        """Features per sample."""
        return prod(self.shape)

    def load(self, root: Path, splits: tuple[str, ...] = ("train", "test")) -> dict[str, Split]:
        """Return splits, building the cache file on first use.

        Raises:
            InputError: the data are neither under ``root`` nor downloadable, are unreadable or
                damaged, or contain nothing that can be learnt.
        """
        path = self.prepare(root)
        if path is not None:
            return _read(path, self, splits)
        built = self._built(root)
        return {split: built[split] for split in splits}

    def _built(self, root: Path) -> dict[str, Split]:
        """Return the splits as they are built, checked."""
        try:
            built = self.build(root)
            return _checked({split: built[split] for split in ("train", "test")}, self)
        except InputError:
            raise
        except Exception as error:  # of a package's code
            raise InputError(
                f"the data set '{self.name}' cannot be built ({reason(error)}). Its arrays are "
                f"images, {self.dtype}, and labels, uint8, of train and test"
            ) from error

    def prepare(self, root: Path) -> Path | None:
        """Return the path of the cache file, building the file if it does not exist; None for a
        data set without a cache file.

        Raises:
            InputError: the data are neither under ``root`` nor downloadable, or are unreadable or
                damaged, or the cache file cannot be written.
        """
        if not self.cached:
            return None
        path = self.cache_path(root)
        if not self.is_cached(root):
            _write(path, self._built(root))
        return path

    def cache_path(self, root: Path) -> Path:
        """Return the path of the cache file, whether or not the file exists."""
        return root / f"{self.name}.h5"

    def is_cached(self, root: Path) -> bool:
        """Whether the cache file exists.

        Raises:
            InputError: the data root is not accessible.
        """
        try:
            self.cache_path(root).stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise InputError(
                f"the data root {root} cannot be used ({cause(error)}). Fix the problem, or "
                f"{ELSEWHERE}."
            ) from None
        return True


def find_dataset(name: str) -> Dataset:
    """Return a data set by name.

    >>> find_dataset("digits").load(Path("data"))["train"]["images"].shape
    (1195, 8, 8)

    Raises:
        InputError: the name is unknown; the message gives the nearest known name.
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    return DATASETS[name]


def load(name: str, root: Path, splits: tuple[str, ...] = ("train", "test")) -> dict[str, Split]:
    """Return splits of a data set by name, as :meth:`Dataset.load` does."""
    return find_dataset(name).load(root, splits)


def _read(path: Path, dataset: Dataset, splits: tuple[str, ...]) -> dict[str, Split]:
    import h5py

    try:
        with h5py.File(path) as file:
            data = {s: {key: file[s][key][:] for key in dataset.arrays} for s in splits}
        return _checked(data, dataset)
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


def _checked(data: dict[str, Split], dataset: Dataset) -> dict[str, Split]:
    """Return the arrays unchanged, or raise ValueError if they are not a valid data set."""
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
    if images.dtype != dataset.dtype or labels.dtype != np.uint8:
        wanted = "uint8" if dataset.dtype == "uint8" else f"{dataset.dtype} and uint8"
        return f"{images.dtype} and {labels.dtype} instead of {wanted}"
    if images.dtype == np.float32 and not np.isfinite(images).all():
        return "an image is not finite"
    if images.ndim < 2 or prod(images.shape[1:]) != dataset.features:
        return f"images of shape {images.shape} instead of {dataset.features} bytes each"
    if labels.shape != images.shape[:1] or not labels.size:
        return f"{len(images)} images, but labels of shape {labels.shape}"
    return (
        numbers_fault(labels, "label", dataset.classes)
        or labels_fault(labels)
        or images_fault(images, dataset.scale)
    )


def suspicions(dataset: Dataset, data: Mapping[str, Split]) -> list[str]:
    """Return warnings about usable data that probably contain an error.

    Args:
        data: as returned by :meth:`Dataset.load`, or in the format of a stream.
    """
    warnings, seen, name = [], set[int](), dataset.name
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
        if dataset.scale < 1 and arrays["images"].max() * dataset.scale < HALF:
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
    kind: str, root: Path, download: bool, labels: Callable[[Any], Any] = _targets
) -> dict[str, Split]:
    """Return a data set that torchvision reads."""
    import torchvision

    data_set = getattr(torchvision.datasets, kind)
    parts = {
        s: data_set(str(root), train=s == "train", download=download) for s in ("train", "test")
    }
    return {
        split: {"images": np.asarray(part.data), "labels": np.asarray(labels(part), dtype=np.uint8)}
        for split, part in parts.items()
    }


def _from_folder(
    name: str, folder: str, read: Callable[[Path, bool], dict[str, Split]]
) -> Callable[[Path], dict[str, Split]]:
    """Return a function that builds a data set from a folder of published files, downloaded if
    absent.

    Args:
        read: returns the splits in a root; its second argument says whether to download the files
            first. Its error for absent files begins with ``tiny_imagenet.ABSENT``.
    """

    def build(root: Path) -> dict[str, Split]:
        try:
            return _checked(read(root, False), DATASETS[name])
        except Exception as error:  # torchvision raises many types for an invalid file
            if not str(error).startswith(tiny_imagenet.ABSENT):
                remedy = "Delete the folder; the next run downloads the files again."
                raise _unusable(root / folder, error, remedy) from None
        return _downloaded(name, root, folder, read)

    return build


def _downloaded(
    name: str, root: Path, folder: str, read: Callable[[Path, bool], dict[str, Split]]
) -> dict[str, Split]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, suffix=".partial") as scratch:
            return _checked(read(Path(scratch), True), DATASETS[name])
    except Exception as error:  # from the network, the disk or torchvision
        raise InputError(
            f"{name} is not under {root} and could not be downloaded ({cause(error)}). "
            f"Put the published files into {root / folder}, or {ELSEWHERE}."
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
            cached=False,
        ),
        Dataset(
            "mnist",
            "MNIST (LeCun, Cortes, Burges 1998), 28x28",
            classes=10,
            shape=(28, 28),
            scale=1 / 255,
            mean=(0.1307,),
            std=(0.3081,),
            build=_from_folder("mnist", "MNIST/raw", functools.partial(_torchvision, "MNIST")),
        ),
        Dataset(
            "fashion_mnist",
            "Fashion-MNIST (Xiao, Rasul, Vollgraf 2017), 28x28",
            classes=10,
            shape=(28, 28),
            scale=1 / 255,
            mean=(0.2860,),
            std=(0.3530,),
            build=_from_folder(
                "fashion_mnist", "FashionMNIST/raw", functools.partial(_torchvision, "FashionMNIST")
            ),
        ),
        Dataset(
            "cifar10",
            "CIFAR-10 (Krizhevsky 2009), 32x32 in colour",
            classes=10,
            shape=(32, 32, 3),
            scale=1 / 255,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2023, 0.1994, 0.2010),
            build=_from_folder(
                "cifar10", "cifar-10-batches-py", functools.partial(_torchvision, "CIFAR10")
            ),
        ),
        Dataset(
            "cifar100",
            "CIFAR-100 (Krizhevsky 2009), 32x32 in colour, 100 classes",
            classes=100,
            build=_from_folder(
                "cifar100", "cifar-100-python", functools.partial(_torchvision, "CIFAR100")
            ),
            **CIFAR100,
        ),
        Dataset(
            "cifar100_superclasses",
            "CIFAR-100 (Krizhevsky 2009), 32x32 in colour, 20 superclasses of 5 classes each",
            classes=20,
            build=_from_folder(
                "cifar100_superclasses",
                "cifar-100-python",
                functools.partial(_torchvision, "CIFAR100", labels=_superclasses),
            ),
            **CIFAR100,
        ),
        Dataset(
            "tiny_imagenet",
            "Tiny ImageNet (Stanford CS231n 2015), 64x64 in colour, 200 classes",
            classes=200,
            shape=(64, 64, 3),
            scale=1 / 255,
            mean=(0.4802, 0.4481, 0.3975),
            std=(0.2770, 0.2691, 0.2821),
            build=_from_folder("tiny_imagenet", tiny_imagenet.FOLDER, tiny_imagenet.read),
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
