"""Data of one's own: what is read, how it is split, and what is refused with a place."""

from __future__ import annotations

import json
import re

import h5py
import numpy as np
import pytest
import torch

from trainables import LEARNERS, STREAMS, InputError
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.streams.own_file import FileFacts, facts_of, read

SEEDS = (0, 1, 2, 3)


def write(path, changes=None, features=False):
    """Write a file of six classes, each twice in six tasks and units; return its path."""
    draws = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for split, each in (("train", 24), ("test", 12)):
            labels = np.arange(6).repeat(each)
            inputs = draws.integers(0, 256, (len(labels), 4, 4)).astype(np.uint8)
            if features:
                inputs = draws.normal(2, 3, (len(labels), 16)).astype(np.float32)
            columns = {
                "inputs": inputs,
                "labels": labels,
                "task": labels // 2,
                "group": np.tile(np.arange(2), 3 * each),
                "unit": np.tile(np.arange(3), 2 * each),
            }
            for name, column in columns.items():
                file[f"{split}/{name}"] = column
        for name, column in (changes or {}).items():
            if name in file:
                del file[name]
            if column is not None:
                file[name] = column
    return path


def without(*names):
    return {f"{split}/{name}": None for split in ("train", "test") for name in names}


def make(path, scenario="class", phase="confirm", seeds=SEEDS, **values):
    kind = STREAMS["split_file"]
    options = kind.Options.parse({"contents": facts_of(path).text(), **values})
    return kind(read(path), scenario, seeds, phase, options)


# -- facts


def test_the_facts_are_those_of_numpy(tmp_path):
    facts = facts_of(write(tmp_path / "own.h5"))
    with h5py.File(tmp_path / "own.h5") as file:
        inputs = file["train/inputs"][()] / 255
    assert (facts.classes, facts.shape, facts.dtype) == (6, (4, 4), "uint8")
    assert facts.mean == pytest.approx([inputs.mean()])
    assert facts.std == pytest.approx([inputs.std()])
    assert (facts.low, facts.high) == (inputs.min(), inputs.max())
    assert facts.tasks == ((0, 1), (2, 3), (4, 5))
    assert facts.groups == (tuple(range(6)),) * 2
    assert facts.units == 3
    assert FileFacts.of(facts.text()) == facts


def test_images_have_a_mean_for_each_channel_and_features_one_for_all(tmp_path):
    draws = np.random.default_rng(1)
    images = {
        f"{split}/inputs": draws.integers(0, 256, (count, 3, 5, 2)).astype(np.uint8)
        for split, count in (("train", 144), ("test", 72))
    }
    facts = facts_of(write(tmp_path / "own.h5", images))
    rows = images["train/inputs"].reshape(-1, 2) / 255
    assert facts.mean == pytest.approx(rows.mean(0).tolist())
    assert facts.std == pytest.approx(rows.std(0).tolist())
    features = facts_of(write(tmp_path / "features.h5", features=True))
    assert features.mean == pytest.approx([2], abs=0.3)
    assert features.std == pytest.approx([3], abs=0.3)
    assert features.low < -5
    assert features.high > 9


def test_a_channel_of_one_value_becomes_zero(tmp_path):
    inputs = np.full((144, 4, 4, 2), 51, np.uint8)
    inputs[..., 1] = np.random.default_rng(0).integers(0, 256, (144, 4, 4))
    facts = facts_of(
        write(tmp_path / "own.h5", {"train/inputs": inputs, "test/inputs": inputs[:72]})
    )
    assert (facts.mean[0], facts.std[0]) == (pytest.approx(0.2), 1.0)


# -- how it is split


def classes_of(stream, index):
    return [sorted(classes) for classes in stream.learnt_by_class(index)]


def test_classes_are_split_equally_in_order_or_shuffled(tmp_path):
    path = write(tmp_path / "own.h5", without("unit"))
    fixed = make(path, tasks=3)
    assert [classes_of(fixed, t)[0] for t in range(3)] == [[0, 1], [2, 3], [4, 5]]
    shuffled = make(path, tasks=3, class_order="shuffled")
    orders = {tuple(map(tuple, (classes_of(shuffled, t)[s] for t in range(3)))) for s in range(4)}
    assert len(orders) > 1
    with pytest.raises(InputError, match=r"stream.tasks = 4 does not divide the 6 classes"):
        make(path, tasks=4)


def test_the_samples_of_a_task_are_those_with_its_number(tmp_path):
    numbers = np.random.default_rng(3).permutation(np.arange(144) % 4)
    tested = np.arange(72) % 4
    path = write(
        tmp_path / "own.h5", {**without("unit"), "train/task": numbers, "test/task": tested}
    )
    stream = make(path, "domain", split_by="task")
    assert (stream.tasks, stream.info.outputs) == (4, 6)
    for index in range(4):
        for classes in stream.learnt_by_class(index):
            rows = torch.cat(list(classes.values())).numpy()
            assert sorted(rows) == np.flatnonzero(numbers == index).tolist()
        for classes in stream.members(stream.pools_scored, index):
            rows = torch.cat(list(classes.values())).numpy()
            assert sorted(rows) == np.flatnonzero(tested == index).tolist()


def test_tasks_of_different_classes_may_be_of_different_size(tmp_path):
    of_class = np.array([0, 0, 0, 1, 2, 2])
    numbers = {
        f"{s}/task": of_class[np.arange(6).repeat(n)] for s, n in (("train", 24), ("test", 12))
    }
    path = write(tmp_path / "own.h5", {**without("unit"), **numbers})
    stream = make(path, "task", split_by="task")
    assert [classes_of(stream, t)[0] for t in range(3)] == [[0, 1, 2], [3], [4, 5]]
    assert stream.chance("task", stream.options) == pytest.approx((1 / 3 + 1 + 1 / 2) / 3)
    assert stream.chance("class", stream.options) == pytest.approx(1 / 6)
    by_place = make(path, "domain", split_by="task")
    labels = [by_place.gather(by_place.scored(t)[0], scored=True)[1] for t in range(3)]
    assert [sorted(set(found[0].tolist())) for found in labels] == [[0, 1, 2], [0], [0, 1]]


def test_seeds_learn_the_groups_in_different_orders(tmp_path):
    groups = {"train/group": np.arange(144) % 4, "test/group": np.arange(72) % 4}
    stream = make(write(tmp_path / "own.h5", without("unit") | groups), "domain", split_by="group")
    orders = set()
    for place in range(len(SEEDS)):
        rows = [torch.cat([*stream.learnt_by_class(t)[place].values()]) for t in range(4)]
        found = [set((r % 4).tolist()) for r in rows]
        assert all(len(numbers) == 1 for numbers in found)
        orders.add(tuple(numbers.pop() for numbers in found))
    assert len(orders) > 1
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert stream.varies(stream.options)["order of the groups"]


def test_a_seed_learns_and_is_scored_on_its_unit(tmp_path):
    stream = make(write(tmp_path / "own.h5"), tasks=3)
    assert stream.unit(stream.options) == "unit"
    for place, seed in enumerate(SEEDS):
        for index in range(3):
            for pools in (stream.pools_learnt, stream.pools_scored):
                for rows in stream.members(pools, index)[place].values():
                    assert set((rows % 3).tolist()) == {seed % 3}


def test_a_unit_without_samples_of_a_class_is_refused_where_a_seed_has_it(tmp_path):
    units = np.tile(np.arange(3), 48)
    units[np.flatnonzero((np.arange(144) // 24 == 3) & (units == 2))] = 1
    path = write(tmp_path / "own.h5", {"train/unit": units})
    make(path, tasks=3, seeds=(0, 1, 3))
    with pytest.raises(InputError, match=r"task 2 \(unit 2\), phase 'confirm': class 3 has no sam"):
        make(path, tasks=3, seeds=(0, 1, 2))


# -- features are learnt as bytes of the same values are


SPIKING = {"latent_replay", "spiking_rehearsal", "spiking_naive"}
QUICK = {"hidden": [16], "epochs": 1, "batch_size": 8}


CASES = [
    (name, standardise)
    for name in LEARNERS
    if name not in SPIKING
    for standardise in (False, True)
    if not (standardise and "sleep_steps" in LEARNERS[name].Config.fields())  # refused
]


@pytest.mark.parametrize(("name", "standardise"), CASES)
def test_a_learner_gets_the_same_results_from_features_as_from_bytes(name, standardise, tmp_path):
    bytes_path = write(tmp_path / "bytes.h5", without("unit"))
    arrays = {
        f"{split}/inputs": data["images"].reshape(-1, 16).astype(np.float32) * np.float32(1 / 255)
        for split, data in read(bytes_path).items()
    }
    float_path = write(tmp_path / "floats.h5", without("unit") | arrays)
    options = QUICK | {"network": "mlp", "standardise": standardise}
    if "sleep_steps" in LEARNERS[name].Config.fields():
        options |= {"sleep_steps": 20}
    found = []
    for path in (bytes_path, float_path):
        values = {"contents": facts_of(path).text(), "tasks": 3}
        work = Assignment(name, options, "split_file", "class", values, "confirm", (0, 1))
        course = Course(work, (0, 1), read(path))
        while not course.done:
            course.advance()
        found.append(course)
    of_bytes, of_floats = (course.learner for course in found)
    for mine, theirs in zip(
        of_bytes.network.parameters(), of_floats.network.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
    held, more = (learner.footprint()["memory"] for learner in (of_bytes, of_floats))
    samples, rest = divmod(more - held, 16 * 3)  # a float has three bytes more
    assert (rest, samples > 0) == (0, held > 0)


def test_sleep_refuses_inputs_that_are_no_rates(tmp_path):
    stream = make(write(tmp_path / "own.h5", features=True), tasks=3)
    kind = LEARNERS["sleep_replay"]
    config = kind.Config.parse({"sleep_steps": 10, "standardise": False})
    with pytest.raises(InputError, match=r"from 0 to 1 as firing rates; those of split_file are "):
        kind.check(config, stream.info)


# -- what is refused


IMAGES = np.random.default_rng(5).integers(0, 256, (144, 4, 4)).astype(np.uint8)
LABELS = np.arange(6).repeat(24)
NOT_FINITE = np.random.default_rng(5).normal(size=(144, 16)).astype(np.float32)
NOT_FINITE[17, 3] = np.nan
FAULTS = {
    "no labels": ({"train/labels": None}, "train/labels: there is no such array"),
    "no test": (without("inputs"), "train/inputs: there is no such array"),
    "wide numbers": ({"test/inputs": np.zeros((72, 16))}, "test/inputs: float64; allowed: uint8"),
    "a single axis": ({"train/inputs": IMAGES[:, 0, 0]}, r"train/inputs: the shape \[144\]"),
    "not finite": (
        {"train/inputs": NOT_FINITE},
        "train/inputs: row 17 is not finite",
    ),
    "one image": ({"train/inputs": IMAGES * 0 + 7}, "train/inputs: all images are equal"),
    "fractions": ({"train/inputs": IMAGES // 200}, "train/inputs: no value is above 1"),
    "fewer labels": ({"train/labels": LABELS[:140]}, "train/labels: 140 numbers for 144 inputs"),
    "a fraction": ({"train/labels": LABELS / 2}, "must be one whole number per row, not float64"),
    "many classes": ({"train/labels": LABELS * 60}, "train/labels: row 120: label is 300; allow"),
    "one-hot labels": (
        {"train/labels": np.eye(6, dtype=int)[LABELS]},
        r"train/labels: label must be one whole number per row, not an array of \[144, 6\]",
    ),
    "below zero": ({"train/task": LABELS - 1}, "train/task: row 0: task is -1; allowed: 0 to 255"),
    "a gap": (
        {"train/labels": np.where(LABELS == 2, 3, LABELS)},
        "train/labels: no sample has label 2, though label 5 exists",
    ),
    "from one on": (
        {"train/labels": LABELS + 1},
        "no sample has label 0, though label 6 exists: number them from 0",
    ),
    "another class in test": (
        {"test/labels": np.arange(72) % 7},
        "test/labels: row 6: label is 6; allowed: 0 to 5, as in train/labels",
    ),
    "one split only": ({"test/group": None}, "test/group: only the other split has such an array"),
    "another shape": (
        {"test/inputs": IMAGES[:72, :3]},
        r"test/inputs: samples are uint8 of shape \[3, 4\], in train/inputs uint8 of shape \[4, 4",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_file_is_refused_with_group_and_row(fault, tmp_path):
    changes, told = FAULTS[fault]
    path = write(tmp_path / "own.h5", changes)
    with pytest.raises(InputError, match=rf"^stream.file: .*own\.h5, .*{told}"):
        facts_of(path)


def test_what_is_no_file_of_data_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*own\.h5\. A path is relative to"):
        facts_of(tmp_path / "own.h5")
    (tmp_path / "own.h5").write_text("label,x,y")
    with pytest.raises(InputError, match=r"own\.h5 cannot be read \(.*An HDF5 file is needed; doc"):
        facts_of(tmp_path / "own.h5")


SPLITS = {
    "no numbers": (without("task"), {"split_by": "task"}, "class", "the file has no array 'task'"),
    "tasks": ({}, {"split_by": "task", "tasks": 3}, "class", r"stream\.tasks: only with split_by"),
    "order": (
        {},
        {"split_by": "group", "class_order": "shuffled"},
        "domain",
        r"stream\.class_order: only with",
    ),
    "shared": ({}, {"split_by": "group"}, "class", "all groups of the file have the same classes"),
    "partly shared": (
        {"train/task": np.minimum(np.arange(144) // 40, 2)},
        {"split_by": "task"},
        "domain",
        "some tasks share classes, but only one of task 0 and task 1 has class 0",
    ),
    "uneven groups": (
        {
            f"{s}/group": np.minimum(np.arange(6).repeat(n), 1)
            for s, n in (("train", 24), ("test", 12))
        },
        {"split_by": "group"},
        "class",
        "groups need equally many classes",
    ),
    "no file": (
        {},
        {"contents": ""},
        "class",
        r"needs the path of a file, such as \[stream\] file",
    ),
}


@pytest.mark.parametrize("name", SPLITS)
def test_a_split_that_cannot_be_is_refused(name, tmp_path):
    changes, values, scenario, told = SPLITS[name]
    path = write(tmp_path / "own.h5", without("unit") | changes)
    with pytest.raises(InputError, match=told):
        make(path, scenario, **values)


def test_streams_of_different_files_have_different_names(tmp_path):
    places = [tmp_path / "a.h5", tmp_path / "other" / "a.h5"]
    places[1].parent.mkdir()
    write(places[0])
    write(places[1], {"train/task": np.arange(144) % 3, "test/task": np.arange(72) % 3})
    streams = [
        stream
        for path in places
        for stream in (make(path, tasks=3), make(path, "domain", split_by="group"))
    ]
    titles = [stream.title(stream.options) for stream in streams]
    assert len({*titles}) == 4
    assert re.fullmatch(r"file \([0-9a-f]{4}\), 3 tasks by class", titles[0])
    names = [stream.data_set(stream.options).name for stream in streams]
    assert names[0] == names[1] != names[2] == names[3]


def test_a_unit_that_a_limit_leaves_without_a_class_does_not_count_where_no_seed_has_it(tmp_path):
    """Classes alternate in unit 0, and come one after the other in unit 1."""
    labels = np.concatenate([np.tile(np.arange(4), 10), np.arange(4).repeat(10)])
    arrays = {"labels": labels, "unit": np.arange(2).repeat(40)}
    draws = np.random.default_rng(0)
    arrays["inputs"] = draws.normal(size=(80, 16)).astype(np.float32)
    both = {
        f"{split}/{name}": array for split in ("train", "test") for name, array in arrays.items()
    }
    path = write(tmp_path / "own.h5", without("task", "group") | both)
    stream = make(path, tasks=2, samples_per_task=6, seeds=(0, 2))
    assert stream.smallest_class == 3
    with pytest.raises(InputError, match=r"samples_per_task = 6 leaves class 1.*unit 1"):
        make(path, tasks=2, samples_per_task=6, seeds=(0, 1))


def test_results_that_no_memory_holds_are_refused(tmp_path):
    draws = np.random.default_rng(0)
    arrays = {"labels": np.tile(np.arange(100), 4)}
    arrays |= {"inputs": draws.normal(size=(400, 2)).astype(np.float32)}
    both = {
        f"{split}/{name}": array for split in ("train", "test") for name, array in arrays.items()
    }
    path = write(tmp_path / "own.h5", without("task", "group", "unit") | both)
    assert make(path, tasks=50).info.outputs == 100
    with pytest.raises(InputError, match=r"100 tasks and 100 outputs, whose product is 10000; al"):
        make(path, tasks=100)


def test_augmentation_needs_images(tmp_path):
    path = write(tmp_path / "own.h5", features=True)
    told = r"stream\.augmentation = 'crop_flip' needs images; the samples of file .* shape \[16\]"
    with pytest.raises(InputError, match=told):
        make(path, tasks=3, augmentation="crop_flip")


def test_validation_data_are_the_last_of_each_class_of_each_task_group_and_unit(tmp_path):
    path = write(tmp_path / "own.h5", {"train/group": np.arange(144) % 24 // 12})
    stream = make(path, tasks=3, phase="tune", seeds=(0, 1, 2))
    groups = read(path)["train"]["group"]
    for index in range(3):
        for classes in stream.members(stream.pools_scored, index):
            for rows in classes.values():
                assert sorted(groups[rows].tolist()) == [0, 1]


def test_one_feature_is_enough(tmp_path):
    draws = np.random.default_rng(0)
    inputs = {
        f"{split}/inputs": draws.normal(size=(count, 1)).astype(np.float32)
        for split, count in (("train", 144), ("test", 72))
    }
    assert facts_of(write(tmp_path / "own.h5", inputs)).shape == (1,)


def test_results_do_not_depend_on_the_place_of_the_file():
    options = STREAMS["split_file"].Options(file="/some/where.h5", contents="{}")
    assert "file" not in json.loads(json.dumps(options.plain()))
