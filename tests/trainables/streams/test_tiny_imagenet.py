"""Tiny ImageNet is read from files of the published layout."""

from __future__ import annotations

from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from trainables import InputError
from trainables.streams import tiny_imagenet
from trainables.streams.datasets import DATASETS, load

NAMES = [f"n{number:08}" for number in range(200, 0, -1)]  # listed in another order than sorted


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two images of each class to learn and one to score, each of one colour but for a pixel."""
    monkeypatch.setattr(tiny_imagenet, "TO_LEARN", 2)
    monkeypatch.setattr(tiny_imagenet, "TO_SCORE", 1)
    folder = tmp_path / tiny_imagenet.FOLDER
    (folder / "val" / "images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(NAMES))
    lines = []
    for number, name in enumerate(sorted(NAMES)):
        images = folder / "train" / name / "images"
        images.mkdir(parents=True)
        for take in (0, 10):  # as numbers, 10 comes after 2, and as text before
            draw(number, take).save(images / f"{name}_{take}.JPEG", quality=95)
        draw(number, 20).save(folder / "val" / "images" / f"val_{number}.JPEG", quality=95)
        lines.append(f"val_{number}.JPEG\t{name}\t0\t0\t62\t62")
    (folder / "val" / "val_annotations.txt").write_text("\n".join(reversed(lines)))
    return tmp_path


def draw(number, take):
    """A picture of a class; every tenth class is grey."""
    pixels = np.full((64, 64, 3), (number, 255 - number, 100 + take), np.uint8)
    pixels[:32] = 60 + 2 * take
    picture = Image.fromarray(pixels)
    return picture.convert("L") if number % 10 == 0 else picture


def test_classes_are_numbered_by_name_and_alternate(root):
    data = load("tiny_imagenet", root)
    for split, each in (("train", 2), ("test", 1)):
        assert data[split]["images"].shape == (200 * each, 64, 64, 3)
        assert data[split]["labels"].tolist() == list(range(200)) * each
    for row, (number, take) in enumerate((n, t) for t in (0, 10) for n in range(200)):
        wanted = np.asarray(draw(number, take).convert("RGB")).astype(int)
        assert np.abs(data["train"]["images"][row] - wanted).mean() < 4, (number, take)
    for number in range(200):
        wanted = np.asarray(draw(number, 20).convert("RGB")).astype(int)
        assert np.abs(data["test"]["images"][number] - wanted).mean() < 4


def test_a_class_of_too_few_images_is_named(root):
    folder = root / tiny_imagenet.FOLDER / "train" / sorted(NAMES)[3] / "images"
    next(folder.iterdir()).unlink()
    with pytest.raises(InputError, match=r"tiny-imagenet-200 is damaged \(.*class 3 has 1 images"):
        load("tiny_imagenet", root)


def test_an_absent_archive_is_downloaded_with_its_sum(tmp_path, monkeypatch):
    import torchvision.datasets.utils as utils

    asked = []

    def download(url, root, md5):
        asked.append((url, md5))
        raise URLError("no network")

    monkeypatch.setattr(utils, "download_and_extract_archive", download)
    with pytest.raises(InputError, match=r"tiny_imagenet is not under .*no network.*Put the pub"):
        load("tiny_imagenet", tmp_path)
    assert asked == [(tiny_imagenet.URL, tiny_imagenet.MD5)]
    assert DATASETS["tiny_imagenet"].classes == len(NAMES)
