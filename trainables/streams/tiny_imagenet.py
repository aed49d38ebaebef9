"""Tiny ImageNet: 200 classes of photographs of 64 x 64 pixels, 500 of each to learn.

Layout: ``wnids.txt`` (one class a line), ``train/CLASS/images/CLASS_N.JPEG``, ``val/images/*.JPEG``
and ``val/val_annotations.txt`` (file and class, separated by tabulators). The labels of the
published test set are secret: as in the literature, the validation set is the test split here.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
FOLDER = "tiny-imagenet-200"
ABSENT = "Dataset not found"  # torchvision's words for absent files
TO_LEARN, TO_SCORE = 500, 50  # images of a class


def read(root: Path, download: bool = False) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the splits of Tiny ImageNet in a folder of published files.

    The classes are numbered in the order of their names, and alternate from row to row: any first
    rows have equally many samples of each class.
    """
    if download:
        from torchvision.datasets.utils import download_and_extract_archive

        download_and_extract_archive(URL, str(root), md5=MD5)
    folder = root / FOLDER
    if not folder.exists():
        raise FileNotFoundError(ABSENT)
    names = sorted((folder / "wnids.txt").read_text(encoding="utf-8").split())
    return {
        "train": _split([_to_learn(folder, name) for name in names], TO_LEARN),
        "test": _split(_to_score(folder, names), TO_SCORE),
    }


def _to_learn(folder: Path, name: str) -> list[Path]:
    found = (folder / "train" / name / "images").glob("*.JPEG")
    return sorted(found, key=lambda path: int(path.stem.rpartition("_")[2]))


def _to_score(folder: Path, names: list[str]) -> list[list[Path]]:
    by_name: dict[str, list[Path]] = {name: [] for name in names}
    annotations = folder / "val" / "val_annotations.txt"
    for line in annotations.read_text(encoding="utf-8").splitlines():
        file, name = line.split("\t")[:2]
        by_name[name].append(folder / "val" / "images" / file)
    return list(by_name.values())


def _split(classes: list[list[Path]], count: int) -> dict[str, NDArray[Any]]:
    """Return the images and labels of the files of each class.

    Raises:
        ValueError: a class has another number of files than ``count``.
    """
    for label, paths in enumerate(classes):
        if len(paths) != count:
            raise ValueError(f"class {label} has {len(paths)} images instead of {count}")
    rows = chain.from_iterable(zip(*classes, strict=True))
    labels = np.tile(np.arange(len(classes), dtype=np.uint8), count)
    return {"images": _images(rows), "labels": labels}


def _images(paths: Iterable[Path]) -> NDArray[np.uint8]:
    with ThreadPoolExecutor() as threads:  # decoding runs outside Python's lock
        return np.stack(list(threads.map(_image, paths)))


def _image(path: Path) -> NDArray[np.uint8]:
    """Return an image, uint8 [64, 64, 3]; some of the files are grey."""
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
