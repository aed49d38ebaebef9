"""What a trial is told, what it tells of what went wrong, and what it forgets; what it learns is
tested with courses and whole studies.
"""

from __future__ import annotations

import gc
import math
import pickle
import weakref
from dataclasses import asdict, replace

import numpy as np
import pytest
import ray
import torch

from trainables.engine import trial as module
from trainables.engine.assignment import Assignment
from trainables.engine.foundation import Foundation
from trainables.engine.outcome import Outcome
from trainables.engine.pilot import Pilot
from trainables.engine.trial import Trial, reason
from trainables.methods.finetune import Finetune

WORK = Assignment(
    learner="finetune",
    configuration={"hidden": [8], "epochs": 1, "batch_size": 64},
    stream="split_digits",
    scenario="class",
    options={},
    phase="tune",
    seeds=(11, 12, 13),
)


class Local(Trial):
    """A trial in this process."""

    def _report_crashes(self):
        """This process is not the trial's."""


def settings(place, data, work=WORK, **changes):
    return {
        "work": asdict(work),
        "name": "one",
        "stack": 3,
        "cpus": 1,
        "gpus": 0,
        "objectives": ["average_accuracy"],
        "storage": str(place),
        "data": [data],
        **changes,
    }


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("too hot\nsecond line"), "ValueError: too hot"),
        (ValueError("\n  too hot"), "ValueError: too hot"),
        (KeyError("name"), "KeyError: 'name'"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_reason_is_the_type_and_the_first_line(error, told):
    assert reason(error) == told


class Broken:
    """A course that cannot go on, or whose outcome cannot be kept."""

    def __init__(self, where):
        self.where = where

    def advance(self):
        if self.where == "advance":
            raise ValueError("too hot\nby far")

    def outcome(self):
        raise TypeError("no outcome")


@pytest.mark.parametrize(
    ("where", "told"), [("advance", "ValueError: too hot"), ("outcome", "TypeError: no outcome")]
)
def test_whatever_is_raised_in_a_step_is_a_result(where, told):
    trial = Trial.__new__(Trial)
    trial.courses, trial.failure, trial.reason, trial.settings = [Broken(where)], "", "", {}
    for _ in range(2):
        result = trial.step()
        assert (result["done"], result["task"], result["reason"]) == (True, 0, told)
        assert result["failure"].startswith("Traceback")
        assert math.isnan(result["score"])


# -- what a trial is told


def test_a_trial_asks_ray_for_what_it_is_told_to():
    request = Trial.default_resource_request({"cpus": 2, "gpus": 0.5})
    assert request.bundles == [{"CPU": 2, "GPU": 0.5}]


def test_data_are_taken_as_they_are_or_from_rays_object_store(digits, monkeypatch):
    reference = ray.ObjectRef(b"a" * ray.ObjectRef.size())
    monkeypatch.setattr(module.ray, "get", {reference: digits}.get)
    assert module.fetched(reference) is digits
    assert module.fetched(digits) is digits


@pytest.mark.parametrize(
    ("stacks", "sizes"),
    [
        ({}, [3]),
        ({"NVIDIA H100": 1}, [3]),
        ({"NVIDIA H100": 1, "cpu": 2}, [2, 1]),
        ({"cpu": 1}, [1, 1, 1]),
    ],
)
def test_the_stack_is_that_of_the_model_of_the_device(stacks, sizes, digits, tmp_path):
    trial = Local(settings(tmp_path, digits, stacks=stacks))
    assert [len(course.learner.seeds) for course in trial.courses] == sizes


@pytest.mark.parametrize(("stack", "resumed"), [(3, 2), (2, 2), (1, 0)])
def test_a_trial_continues_with_the_stacks_it_began_with_unless_memory_ran_out(
    stack, resumed, digits, tmp_path
):
    begun = Local(settings(tmp_path, digits, stack=2))
    for _ in range(2):
        begun.step()
    place = tmp_path / "one" / "checkpoint_000000"
    place.mkdir(parents=True)
    begun.save_checkpoint(str(place))
    again = Local(settings(tmp_path, digits, stack=stack))
    while not (ended := again.step())["done"]:
        pass
    assert ended["resumed"] == resumed
    while not (whole := begun.step())["done"]:
        pass
    found, wanted = (Outcome.from_bytes(result["outcome"]) for result in (ended, whole))
    np.testing.assert_array_equal(found.counts["main"], wanted.counts["main"])


def test_a_foundation_is_for_the_trial_that_is_given_it(digits, tmp_path):
    weights = np.arange(12.0).reshape(4, 3)
    foundation = Foundation(np.array([11, 12, 13, 14]), {"weight": weights})
    trial = Local(settings(tmp_path, digits, pretrained=[foundation], stack=2))
    found = [course.learner.pretrained["weight"].tolist() for course in trial.courses]
    assert found == [weights[:2].tolist(), weights[2:3].tolist()]
    trial.reset(settings(tmp_path, digits))
    assert [course.learner.pretrained for course in trial.courses] == [None]


def test_a_pilot_is_a_trial_of_one_step_that_reports_what_it_timed(digits, tmp_path, monkeypatch):
    asked = []

    def run_pilot(*given):
        asked.append(given)
        return Pilot({1: 2.0, 3: 4.5}, device="NVIDIA H100", peak_bytes={3: 10**9})

    monkeypatch.setattr(module, "run_pilot", run_pilot)
    trial = Local(settings(tmp_path, {"train": digits["train"]}, pilot=[1, 3]))
    assert trial.courses == []
    result = trial.step()
    assert result["done"]
    assert math.isnan(result["score"])
    assert Pilot.decoded(result["pilot"]) == run_pilot()
    work, sizes, data, device, share = asked[0]
    assert (work, sizes, device, share) == (WORK, [1, 3], "cpu", 1.0)
    assert [*data] == ["train"]
    trial.reset(settings(tmp_path, digits))
    assert trial.step()["task"] == 1


@pytest.mark.parametrize(("gpus", "share"), [(0.25, 0.25), (1, 1.0), (2, 1.0)])
def test_a_pilot_on_a_gpu_may_use_the_memory_that_its_share_gives_it(
    gpus, share, digits, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(module, "run_pilot", lambda *given: asked.append(given) or Pilot({1: 2.0}))
    Local(settings(tmp_path, digits, pilot=[1], gpus=gpus)).step()
    assert [given[-2:] for given in asked] == [("cuda", share)]


# -- what a trial forgets


class Store:
    """Ray's object store: hands out a new copy each time, and knows whether it is still there."""

    def __init__(self, **data):
        self.kept = {name: pickle.dumps(data) for name, data in data.items()}
        self.handed_out = []

    def fetched(self, name):
        data = pickle.loads(self.kept[name])
        if "test" in data:
            self.handed_out.append(weakref.ref(data["test"]["images"]))
        return data


def places_of(images):
    """Find images among all objects of this process, as a learner could that looks for them."""
    gc.collect()
    found = []
    for each in gc.get_objects():
        if type(each) is dict:
            values = list(each.values())
            # Python's garbage collector does not track a dictionary of nothing but arrays
            inner = [value for other in values if type(other) is dict for value in other.values()]
            found += [each for value in values + inner if is_same(value, images)]
        elif issubclass(type(each), torch.Tensor) and each.device.type == "cpu":
            found += [each] if is_same(each.numpy(force=True), images) else []
    return found


def is_same(value, images):
    if type(value) is not np.ndarray or value.size != images.size:
        return False
    return np.array_equal(value.reshape(images.shape), images)


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_trial_that_is_used_again_after_a_confirmation_holds_no_test_data(
    ends_well, digits, tmp_path, monkeypatch
):
    draws, test = np.random.default_rng(3), digits["test"]
    images = draws.integers(17, size=test["images"].shape, dtype=np.uint8)
    store = Store(
        confirm={**digits, "test": {**test, "images": images}}, tune={"train": digits["train"]}
    )
    monkeypatch.setattr(module, "fetched", store.fetched)
    trial = Local(settings(tmp_path, "confirm", replace(WORK, phase="confirm")))
    with monkeypatch.context() as patch:
        if not ends_well:
            patch.setattr(Finetune, "end_task", None)
        result = trial.step()
    assert (result["task"] == 1) == ends_well
    assert [each() is None for each in store.handed_out] == [False]
    assert places_of(images)
    assert trial.reset(settings(tmp_path, "tune", name="two"))
    assert not places_of(images)
    assert trial.step()["task"] == 1
    assert not places_of(images)
    assert [each() is None for each in store.handed_out] == [True]
