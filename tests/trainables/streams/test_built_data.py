"""Data sets that a package builds: checked before anything is learnt, bytes or features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainables import LEARNERS, STREAMS, InputError
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.streams import Dataset, SplitStream
from trainables.streams.testing import StreamConformance


def points(root=None):
    """Four clouds of points, 60 each to learn and 20 to score."""
    draws, found = np.random.default_rng(0), {}
    for split, count in (("train", 60), ("test", 20)):
        labels = np.arange(4).repeat(count).astype(np.uint8)
        centres = np.stack([np.cos(labels * 1.6), np.sin(labels * 1.6)], 1)
        images = centres + draws.normal(0, 0.1, centres.shape)
        found[split] = {"images": images.astype(np.float32), "labels": labels}
    return found


CLOUDS = Dataset(
    "clouds",
    "four clouds",
    classes=4,
    shape=(2,),
    scale=1.0,
    mean=(0.0,),
    std=(0.7,),
    build=points,
    dtype="float32",
    extremes=(-2.0, 2.0),
    cached=False,
)


class Clouds(SplitStream):
    name = "clouds"
    dataset = "four clouds"
    tasks = 2

    @classmethod
    def data_set(cls, options):
        return CLOUDS


class TestClouds(StreamConformance):
    stream = Clouds


@pytest.mark.parametrize("cached", [False, True])
def test_features_are_learnt_and_stored_within_a_budget(cached, tmp_path, monkeypatch):
    monkeypatch.setitem(STREAMS, "clouds", Clouds)
    data = replace(CLOUDS, cached=cached).load(tmp_path)
    assert (tmp_path / "clouds.h5").exists() == cached
    options = {"hidden": [16], "epochs": 5, "batch_size": 8, "lr": 0.01, "memory_bytes": 300}
    for policy in ("reservoir", "balanced"):
        chosen = options | {"memory_policy": policy}
        course = Course(
            Assignment("replay", chosen, "clouds", "class", {}, "confirm", (0,)), (0,), data
        )
        while not course.done:
            course.advance()
        assert 200 < course.learner.footprint()["memory"] <= 300  # 9 bytes a sample
        counts = course.outcome().counts["main"][0, -1].astype(float)
        assert (np.einsum("tii->t", counts) / counts.sum((1, 2))).mean() > 0.8


def changed(split, name, change):
    found = points()
    found[split] = {**found[split], name: change(found[split][name])}
    return found


BUILDS = {
    "an error": (lambda root: 1 / 0, "ZeroDivisionError: division by zero"),
    "no test split": (lambda root: {"train": points()["train"]}, "KeyError: 'test'"),
    "no images": (
        lambda root: {s: {"labels": d["labels"]} for s, d in points().items()},
        "KeyError: 'images'",
    ),
    "float64": (
        lambda root: changed("train", "images", np.float64),
        "train: float64 and uint8 instead of float32 and uint8",
    ),
    "another width": (
        lambda root: changed("test", "images", lambda x: np.concatenate([x, x], 1)),
        r"test: images of shape \(80, 4\) instead of 2 bytes each",
    ),
    "labels from 1": (
        lambda root: changed("train", "labels", lambda x: x + 1),
        "label is 4; allowed: 0 to 3",
    ),
    "fewer labels": (
        lambda root: changed("test", "labels", lambda x: x[1:]),
        "80 images, but label",
    ),
    "not finite": (
        lambda root: changed("train", "images", lambda x: np.where(x > 1, np.nan, x)),
        "train: an image is not finite",
    ),
}


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("name", BUILDS)
def test_data_that_cannot_be_are_refused_with_the_reason(name, cached, tmp_path):
    build, told = BUILDS[name]
    with pytest.raises(InputError, match=rf"the data set 'clouds' cannot be built \(.*{told}"):
        replace(CLOUDS, build=build, cached=cached).load(tmp_path)
    assert not list(tmp_path.iterdir())


def test_sleep_knows_the_range_of_features():
    info = Clouds.describe("class", Clouds.Options.parse({}))
    kind = LEARNERS["sleep_replay"]
    with pytest.raises(InputError, match="those of clouds are from -2 to 2"):
        kind.check(kind.Config.parse({"sleep_steps": 5, "standardise": False}), info)
