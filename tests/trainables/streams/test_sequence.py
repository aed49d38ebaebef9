"""Whole data sets one after the other: sizes, labels, order, and an absent data set."""

from __future__ import annotations

from urllib.error import URLError

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainables import STREAMS, InputError
from trainables.streams.sequence import coloured

KIND = STREAMS["vision_sequence"]
SHAPES = {"mnist": (28, 28), "fashion_mnist": (28, 28), "cifar10": (32, 32, 3)}


@pytest.fixture
def root(tmp_path):
    """A data root with a few images of each class of three data sets."""
    for name, shape in SHAPES.items():
        draws = np.random.default_rng(len(name))
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for split, each in (("train", 20), ("test", 3)):
                labels = np.tile(np.arange(10, dtype=np.uint8), each)
                file[f"{split}/labels"] = labels
                file[f"{split}/images"] = draws.integers(0, 256, (len(labels), *shape)).astype(
                    np.uint8
                )
    return tmp_path


def options(*names):
    return KIND.Options.parse({"datasets": list(names)})


@pytest.mark.parametrize(
    "order", [("mnist", "cifar10"), ("cifar10", "fashion_mnist", "mnist"), ("fashion_mnist",)]
)
def test_each_task_is_a_data_set_in_the_order_given(order, root):
    chosen = options(*order)
    data = KIND.data_set(chosen).load(root)
    stream = KIND(data, "class", (0, 1), "confirm", chosen)
    assert (stream.tasks, stream.info.outputs) == (len(order), 10 * len(order))
    for index, name in enumerate(order):
        with h5py.File(root / f"{name}.h5") as file:
            images, labels = file["test/images"][()], file["test/labels"][()]
        inputs, found = stream.gather(stream.scored(index)[0], scored=True)
        by_label = labels.argsort(kind="stable")  # a task's samples come class by class
        assert (found[0].numpy() == 10 * index + labels[by_label]).all()
        shown = inputs[0].numpy().reshape(-1, 32, 32, 3)
        assert np.array_equal(shown, coloured(images[by_label]))


def test_grey_images_are_enlarged_as_by_torch_and_have_three_equal_channels():
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    found = torch.from_numpy(coloured(images))
    wanted = F.interpolate(
        torch.from_numpy(images)[:, None].double(), size=(32, 32), mode="bilinear"
    )
    assert found.shape == (5, 32, 32, 3)
    assert (found.double() - wanted.permute(0, 2, 3, 1)).abs().max() <= 0.5 + 1e-3
    photographs = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    assert np.array_equal(coloured(photographs), photographs)


def test_an_absent_data_set_is_named(root, monkeypatch):
    import torchvision

    def download(self):
        raise URLError("no network")

    monkeypatch.setattr(torchvision.datasets.CIFAR100, "download", download)
    with pytest.raises(InputError, match=r"^cifar100 is not under .* could not be downloaded"):
        KIND.data_set(options("mnist", "cifar100")).load(root)


def test_a_sequence_has_the_classes_of_its_data_sets():
    chosen = KIND.Options.parse({})
    info = KIND.describe("class", chosen)
    assert (info.outputs, info.tasks, info.image) == (130, 4, (3, 32, 32))
    assert KIND.chance("class", chosen) == pytest.approx(1 / 130)
    assert KIND.chance("task", chosen) == pytest.approx((3 / 10 + 1 / 100) / 4)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], r"stream\.datasets = \[\] leaves no task"),
        (["mnist", "mnist"], "names a data set twice"),
        (["mnist", "cifar"], r"datasets: unknown value 'cifar'. Did you mean 'cifar10'"),
        (["mnist", 3], "is not a list of words"),
    ],
)
def test_a_sequence_that_cannot_be_is_refused(names, told):
    with pytest.raises(InputError, match=told):
        KIND.describe("class", KIND.Options.parse({"datasets": names}))
