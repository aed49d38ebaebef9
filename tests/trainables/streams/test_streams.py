"""Streams: who sees which samples, in which order, under which labels and masks."""

from __future__ import annotations

import errno
import gzip
import math
import os
import pickle
import re
import struct
import zlib
from collections import Counter
from pathlib import Path
from urllib.error import URLError

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from own_data import NEEDED
from torchvision.transforms.functional import normalize

from trainables import LEARNERS, STREAMS, InputError, find_stream
from trainables.engine.evaluation import evaluate
from trainables.methods.finetune import Finetune
from trainables.methods.gdumb import GDumb
from trainables.methods.spiking.recurrent import RecurrentLearner
from trainables.streams import SCENARIOS, Scenario, SplitStream, datasets
from trainables.streams.datasets import Dataset, find_dataset, load, suspicions
from trainables.streams.views import Views

SEEDS = (3, 5, 8)


def stream(data, scenario="class", phase="confirm", seeds=SEEDS, **options):
    kind = STREAMS["split_digits"]
    return kind(data, scenario, seeds, phase, kind.Options(**options))


def learnt_rows(found, index):
    return [set(row.tolist()) for row in found.pool(index)[0]]


def scored_rows(found, index):
    rows, valid = found.scored(index)
    return [set(row[keep].tolist()) for row, keep in zip(rows, valid, strict=True)]


def batch_rows(task, data, epochs, batch_size):
    """Return which training rows a task hands over, [S][steps][B], found again by their pixels."""
    place = {image.tobytes(): row for row, image in enumerate(data["train"]["images"])}
    assert len(place) == len(data["train"]["images"]), "the data has equal images"
    batches = list(task.batches(epochs, batch_size))
    return [
        [[place[image.numpy().tobytes()] for image in batch.inputs[seed]] for batch in batches]
        for seed in range(len(SEEDS))
    ]


# -- tasks and splits
# --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["fixed", "shuffled"])
def test_task_classes_partition_the_classes(order, digits):
    found = stream(digits, class_order=order)
    assert found.task_classes.shape == (3, 5, 2)
    for seed in found.task_classes:
        assert sorted(seed.flatten().tolist()) == list(range(10))
    if order == "fixed":
        assert found.task_classes[1].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


def test_a_shuffled_order_is_each_seeds_own_whatever_the_stack(digits):
    together = stream(digits, class_order="shuffled").task_classes
    assert len({tuple(seed.flatten().tolist()) for seed in together}) == 3
    for position, seed in enumerate(SEEDS):
        alone = stream(digits, seeds=(seed,), class_order="shuffled").task_classes
        assert torch.equal(alone[0], together[position])
    tuned = stream(digits, phase="tune", class_order="shuffled").task_classes
    assert torch.equal(tuned, together)


def test_every_learner_sees_the_same_batches(digits):
    seen = []
    # gdumb passes over the stream once, and spiking networks need other streams
    for kind in [k for k in LEARNERS.values() if not issubclass(k, GDumb | RecurrentLearner)]:
        found = stream(digits, class_order="shuffled")
        batches = []

        class Watched(kind):
            def observe(self, batch, batches=batches):
                batches.append((batch.inputs, batch.labels))
                return super().observe(batch)

        options = {"network": "mlp", "hidden": [4], "epochs": 2, "batch_size": 50, "held_out": 0.0}
        config = kind.Config.parse({k: v for k, v in options.items() if k in kind.Config.fields()})
        learner = Watched(config, found.info, SEEDS)
        for index in range(2):
            learner.learn(found.task(index))
        seen.append(batches)
    for batches in seen[1:]:
        for mine, theirs in zip(seen[0], batches, strict=True):
            assert all(map(torch.equal, mine, theirs))


def last_tenth(labels):
    """Mark the validation rows in plain Python."""
    rows = set()
    for label in set(labels.tolist()):
        members = [row for row, other in enumerate(labels) if other == label]
        rows |= set(members[-max(len(members) // 10, 1) :])
    return rows


@pytest.mark.parametrize("order", ["fixed", "shuffled"])
def test_tuning_learns_fit_and_scores_the_last_tenth_of_each_class(order, digits):
    found = stream(digits, phase="tune", class_order=order)
    labels, validation = digits["train"]["labels"], last_tenth(digits["train"]["labels"])
    for seed in range(3):
        for index in range(5):
            classes = found.task_classes[seed, index].tolist()
            members = {row for row, label in enumerate(labels) if label in classes}
            assert learnt_rows(found, index)[seed] == members - validation
            assert scored_rows(found, index)[seed] == members & validation


def test_tuning_works_without_the_test_split_and_never_reads_it(digits):
    class Guarded(dict):
        def __getitem__(self, split):
            assert split == "train", "the test split was read in phase tune"
            return super().__getitem__(split)

    for data in ({"train": digits["train"]}, Guarded(digits)):
        found = stream(data, phase="tune")
        for index in range(5):
            next(iter(found.task(index).batches(1, 16)))
            found.gather(found.scored(index)[0], scored=True)


@pytest.mark.parametrize("order", ["fixed", "shuffled"])
def test_confirming_learns_all_training_data_and_scores_the_test_data(order, digits):
    found = stream(digits, class_order=order)
    for seed in range(3):
        learnt = [row for t in range(5) for row in found.pool(t)[0][seed].tolist()]
        scored = [row for t in range(5) for row in scored_rows(found, t)[seed]]
        assert sorted(learnt) == list(range(len(digits["train"]["labels"])))
        assert sorted(scored) == list(range(len(digits["test"]["labels"])))
    rows, valid = found.scored(1)
    inputs, labels = found.gather(rows, scored=True)
    for seed in range(3):
        chosen = rows[seed][valid[seed]].numpy()
        images = digits["test"]["images"].reshape(-1, 64)[chosen]
        np.testing.assert_array_equal(inputs[seed][valid[seed]].numpy(), images)
        np.testing.assert_array_equal(
            labels[seed][valid[seed]].numpy(), digits["test"]["labels"][chosen]
        )


def test_no_image_of_the_digits_is_in_two_splits(digits):
    train = {image.tobytes() for image in digits["train"]["images"]}
    assert not train & {image.tobytes() for image in digits["test"]["images"]}


OVERLAPS = {
    "all rows of one split": (("train",), slice(None), slice(None)),
    "one row": (("train",), slice(0, 100), slice(99, 200)),
    "one split held twice": (("train", "train"), slice(None), slice(None)),
}


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_stream_that_would_score_learnt_samples_is_refused(overlap, digits):
    held, learnt, scored = OVERLAPS[overlap]

    class Leaky(STREAMS["split_digits"]):
        def roles(self, data, phase):
            rows = np.zeros((2, len(data["train"]["labels"])), dtype=bool)
            rows[0, learnt], rows[1, scored] = True, True
            return held, rows[0], rows[1]

    with pytest.raises(ValueError, match="scored on training samples"):
        Leaky(digits, "class", SEEDS, "tune")


def test_an_unknown_phase_scenario_option_or_name_is_refused(digits):
    with pytest.raises(InputError, match="'tune'"):
        stream(digits, phase="tuna")
    with pytest.raises(InputError, match="class_order"):
        STREAMS["split_digits"].Options.parse({"class_orders": "fixed"})
    with pytest.raises(InputError, match="fixed, shuffled"):
        STREAMS["split_digits"].Options.parse({"class_order": "random"})
    with pytest.raises(InputError, match="split_digits"):
        find_stream("split_digit")


# -- scenarios by hand: six classes, three tasks, two seeds
# ------------------------------------------

CLASSES = torch.tensor([[[0, 1], [2, 3], [4, 5]], [[5, 0], [3, 1], [2, 4]]])
LABELS = torch.tensor([[0, 1, 2, 3, 4, 5]] * 2)
POSITIONS = [[0, 1, 0, 1, 0, 1], [1, 1, 0, 0, 1, 0]]


def members(mask):
    """Turn a mask [S, B, C] into lists of the classes that compete."""
    return [[set(row.nonzero().flatten().tolist()) for row in seed] for seed in mask]


@pytest.mark.parametrize("name", SCENARIOS)
def test_labels_by_hand(name):
    scenario = Scenario(name, CLASSES, 6)
    expected = POSITIONS if name == "domain" else LABELS.tolist()
    assert scenario.labels(LABELS).tolist() == expected
    assert scenario.outputs == (2 if name == "domain" else 6)


# scenario, active classes, task being learnt -> what competes, of each seed
LOSS = [
    ("class", "all", 1, None),
    ("class", "seen", 0, [[{0, 1}], [{0, 5}]]),
    ("class", "seen", 1, [[{0, 1, 2, 3}], [{0, 1, 3, 5}]]),
    ("class", "seen", 2, [[{0, 1, 2, 3, 4, 5}]] * 2),
    ("class", "seen", None, None),
    ("class", "current", None, None),
    ("domain", "current", 1, None),
    ("task_free", "seen", 1, None),
    *(
        (
            name,
            active,
            learnt,
            [
                [{0, 1}, {0, 1}, {2, 3}, {2, 3}, {4, 5}, {4, 5}],
                [{0, 5}, {1, 3}, {2, 4}, {1, 3}, {2, 4}, {0, 5}],
            ],
        )
        # replayed samples are of other tasks than the one learnt: each has its own rivals
        for name, active, tasks in (("task", "all", (0, 2, None)), ("class", "current", (0, 1, 2)))
        for learnt in tasks
    ),
]


@pytest.mark.parametrize(("name", "active", "learnt", "expected"), LOSS)
def test_loss_masks_by_hand(name, active, learnt, expected):
    mask = Scenario(name, CLASSES, 6, active).loss_mask(LABELS, learnt)
    assert (mask if mask is None else members(mask)) == expected


def test_the_rivals_of_a_class_that_two_tasks_share_are_those_of_both():
    shared = torch.tensor([[[0, 1], [1, 2], [3, 4]]])
    mask = Scenario("class", shared, 5, "current").loss_mask(torch.arange(5).unsqueeze(0), 0)
    assert members(mask) == [[{0, 1}, {0, 1, 2}, {1, 2}, {3, 4}, {3, 4}]]


# scenario, task -> its own outputs, of each seed
OWN = [
    ("task", 1, [[{2, 3}], [{1, 3}]]),
    ("class", 0, [[{0, 1}], [{0, 5}]]),
    ("class", 2, [[{4, 5}], [{2, 4}]]),
    ("domain", 0, [[{0, 1}]] * 2),
    ("domain", 2, [[{0, 1}]] * 2),
]


@pytest.mark.parametrize(("name", "task", "expected"), OWN)
def test_the_outputs_of_a_task_by_hand(name, task, expected):
    found = Scenario(name, CLASSES, 6).outputs_of(task)
    assert found.shape == (2, 1, 2 if name == "domain" else 6)
    assert found.dtype == torch.bool
    assert members(found) == expected


# scenario, task -> outputs of the tasks before it, in groups that compete
OLD = [
    ("task", 0, []),
    ("task", 1, [[[{0, 1}], [{0, 5}]]]),
    ("task", 2, [[[{0, 1}], [{0, 5}]], [[{2, 3}], [{1, 3}]]]),
    ("class", 0, []),
    ("class", 1, [[[{0, 1}], [{0, 5}]]]),
    ("class", 2, [[[{0, 1, 2, 3}], [{0, 1, 3, 5}]]]),
    ("domain", 0, []),
    ("domain", 1, [[[{0, 1}]] * 2]),
    ("domain", 2, [[[{0, 1}]] * 2]),
]


@pytest.mark.parametrize(("name", "task", "expected"), OLD)
def test_the_outputs_of_earlier_tasks_by_hand(name, task, expected):
    found = Scenario(name, CLASSES, 6).old_outputs(task)
    assert [members(group) for group in found] == expected


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_task_tells_its_outputs_unless_the_stream_is_task_free(scenario, digits):
    task = stream(digits, scenario).task(2)
    if scenario == "task_free":
        for name in ("outputs", "old_outputs"):
            with pytest.raises(LookupError):
                getattr(task, name)
        return
    assert members(task.outputs) == [[{0, 1} if scenario == "domain" else {4, 5}]] * 3
    expected = {
        "task": [[[{0, 1}]] * 3, [[{2, 3}]] * 3],
        "class": [[[{0, 1, 2, 3}]] * 3],
        "domain": [[[{0, 1}]] * 3],
    }
    assert [members(group) for group in task.old_outputs] == expected[scenario]


# scenario, tasks learnt, task tested -> what competes, of each seed
SCORE = [
    ("task", 0, 1, [[{2, 3}], [{1, 3}]]),
    ("task", 3, 0, [[{0, 1}], [{0, 5}]]),
    ("class", 0, 2, [[{0, 1}], [{0, 5}]]),
    ("class", 1, 2, [[{0, 1}], [{0, 5}]]),
    ("class", 2, 0, [[{0, 1, 2, 3}], [{0, 1, 3, 5}]]),
    ("class", 3, 0, [[{0, 1, 2, 3, 4, 5}]] * 2),
    ("domain", 2, 0, None),
    ("task_free", 1, 0, None),
]


@pytest.mark.parametrize(("name", "learnt", "scored", "expected"), SCORE)
def test_score_masks_by_hand(name, learnt, scored, expected):
    mask = Scenario(name, CLASSES, 6).score_mask(learnt, scored)
    assert (mask if mask is None else members(mask)) == expected


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_a_learner_is_told(scenario, digits):
    found = stream(digits, scenario)
    assert found.info.scenario == scenario
    assert found.info.inputs == 64
    assert found.info.outputs == (2 if scenario == "domain" else 10)
    assert found.info.tasks == (None if scenario == "task_free" else 5)
    assert found.task(1).free == (scenario == "task_free")
    largest = max(batch.inputs.max().item() for batch in found.task(0).batches(1, 64))
    assert largest * found.info.scale == pytest.approx(1.0)
    batch = next(iter(found.task(2).batches(1, 16)))
    assert set(batch.labels.flatten().tolist()) == ({0, 1} if scenario == "domain" else {4, 5})
    mask = found.task(2).loss_mask(batch.labels)
    assert (mask is None) == (scenario != "task")


def test_a_task_free_stream_is_passed_over_once(digits):
    """Asking for more passes is refused, or gives one all the same."""
    task = stream(digits, "task_free").task(0)
    try:
        steps = sum(1 for _ in task.batches(3, 16))
    except InputError:
        return
    assert steps == math.ceil(task.size / 16)


# -- batches
# -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epochs", "batch_size"), [(1, 16), (2, 7), (3, 239), (2, 300), (1, 1000)])
def test_every_sample_is_seen_in_every_epoch_and_batches_are_full(epochs, batch_size, digits):
    found = stream(digits)
    task = found.task(2)
    rows = batch_rows(task, digits, epochs, batch_size)
    each, size = math.ceil(task.size / batch_size), min(batch_size, task.size)
    for seed, batches in enumerate(rows):
        assert len(batches) == epochs * each
        assert all(len(batch) == size for batch in batches)
        for epoch in range(epochs):
            part = [r for batch in batches[epoch * each : (epoch + 1) * each] for r in batch]
            counts = Counter(part)
            assert set(part) == learnt_rows(found, 2)[seed]
            assert max(counts.values()) - min(counts.values()) <= 1
    assert task.steps_done == epochs * each
    assert task.samples == epochs * each * size
    if batch_size > size:
        assert all(len(set(batch)) == size for batches in rows for batch in batches)


def test_a_task_gives_no_more_samples_than_it_has(digits):
    found = stream(digits, samples_per_task=30)
    task = found.task(1)
    some, many = task.sample(30, "some"), task.sample(10**9, "some")
    assert many.inputs.shape == some.inputs.shape == (3, 30, 64)
    assert torch.equal(many.inputs, some.inputs)


def test_every_sample_is_seen_in_every_epoch_when_seeds_differ_in_size(digits):
    found = stream(digits, class_order="shuffled")
    assert len({len(row) for t in range(5) for row in found.pool(t)[0]}) > 1
    for index in range(5):
        rows = batch_rows(found.task(index), digits, 1, 8)
        for seed, batches in enumerate(rows):
            seen = {row for batch in batches for row in batch}
            missed = len(learnt_rows(found, index)[seed] - seen)
            assert missed == 0, f"{missed} samples of task {index}, seed {SEEDS[seed]}"


def test_shuffles_differ_by_epoch_seed_and_task(digits):
    found = stream(digits)
    orders = set()
    for index in range(2):
        for batches in batch_rows(found.task(index), digits, 2, found.task(index).size):
            first, second = (tuple(batch) for batch in batches)
            orders |= {first, second}
    assert len(orders) == 2 * 3 * 2


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=4, unique=True),
    st.sampled_from(["fixed", "shuffled"]),
    st.sampled_from([5, 16, 64]),
)
@settings(max_examples=15, deadline=None)
def test_steps_depend_on_the_stream_and_batches_on_the_seed(seeds, order, batch_size):
    data = load("digits", None)
    together = stream(data, seeds=seeds, class_order=order)
    reference = stream(data, seeds=(99,), class_order=order)
    alone = stream(data, seeds=seeds[-1:], class_order=order)
    for index in (0, 4):
        mine = list(together.task(index).batches(1, batch_size))
        assert len(mine) == len(list(reference.task(index).batches(1, batch_size)))
        for batch, own in zip(mine, alone.task(index).batches(1, batch_size), strict=True):
            assert torch.equal(batch.inputs[-1], own.inputs[0])
            assert torch.equal(batch.labels[-1], own.labels[0])


def test_sampling_a_task_is_without_replacement_and_named(digits):
    found = stream(digits)
    pool = {tuple(image.flatten().tolist()) for image in found.task(1).sample(239, "a").inputs[0]}
    assert len(pool) == 239
    one, again, other = (found.task(1).sample(50, name) for name in ("a", "a", "b"))
    assert torch.equal(one.inputs, again.inputs)
    assert not torch.equal(one.inputs, other.inputs)
    assert {tuple(image.tolist()) for image in one.inputs[0]} <= pool


def test_sampling_less_gives_the_first_part(digits):
    task = stream(digits).task(1)
    assert torch.equal(task.sample(50, "a").inputs[:, :20], task.sample(20, "a").inputs)


# -- samples by class, the largest task
# ------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("order", ["fixed", "shuffled"])
@pytest.mark.parametrize("phase", ["tune", "confirm"])
def test_the_classes_of_a_task_by_hand(phase, order, scenario, digits):
    found = stream(digits, scenario, phase, class_order=order)
    images = digits["train"]["images"].reshape(-1, 64)
    labels, left = digits["train"]["labels"], last_tenth(digits["train"]["labels"])
    for index in range(5):
        classes = list(found.task(index).by_class())
        assert len(classes) == 2
        for place, (named, inputs, valid) in enumerate(classes):
            for seed in range(3):
                own = found.task_classes[seed, index, place].item()
                assert named[seed] == (place if scenario == "domain" else own)
                rows = [r for r, c in enumerate(labels) if c == own]
                rows = [r for r in rows if phase == "confirm" or r not in left]
                assert valid[seed].tolist() == [n < len(rows) for n in range(inputs.shape[1])]
                np.testing.assert_array_equal(inputs[seed][valid[seed]].numpy(), images[rows])


def test_the_steps_of_a_task_are_those_of_the_largest_there_can_be(digits):
    counts = np.bincount(digits["train"]["labels"])
    fixed, shuffled = (stream(digits, class_order=order) for order in ("fixed", "shuffled"))
    for index in range(5):
        assert fixed.task(index).size == counts[2 * index] + counts[2 * index + 1]
        assert shuffled.task(index).size == sum(sorted(counts)[-2:])
        largest = max(len(rows) for rows in shuffled.pool(index)[0])
        assert largest <= shuffled.task(index).size
    assert fixed.smallest_class == fixed.task(3).smallest_class == min(counts)


# -- random views for training
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_augmentation_changes_what_is_trained_on_and_nothing_else(scenario, digits):
    plain, augmented = (
        stream(digits, scenario, augmentation=kind) for kind in ("none", "crop_flip")
    )
    assert (plain.info.augmentation, augmented.info.augmentation) == ("none", "crop_flip")
    views = Views("crop_flip", (8, 8), SEEDS, "views/1", torch.device("cpu"))
    batches = list(zip(plain.task(1).batches(2, 30), augmented.task(1).batches(2, 30), strict=True))
    assert len(batches) == (8 if scenario == "task_free" else 16)
    for before, after in batches:
        assert before.unaugmented is before.inputs
        assert torch.equal(after.unaugmented, before.inputs)
        assert torch.equal(after.labels, before.labels)
        assert torch.equal(after.inputs, views(before.inputs))
        assert not torch.equal(after.inputs, after.unaugmented)
    index, _ = plain.scored(1)
    for seen in (
        lambda s: s.gather(index, True)[0],
        lambda s: s.task(1).sample(50, "a").unaugmented,
    ):
        assert torch.equal(seen(plain), seen(augmented))
    for mine, theirs in zip(plain.task(1).by_class(), augmented.task(1).by_class(), strict=True):
        assert all(map(torch.equal, mine, theirs))


def test_views_differ_by_epoch_task_and_seed(digits):
    found = stream(digits, augmentation="crop_flip")
    images = torch.arange(64, dtype=torch.uint8).expand(len(found.images[0]), -1)
    found.images[0] = images.contiguous()  # all alike: what differs is the view
    seen = Counter()
    for index in range(2):
        for batch in list(found.task(index).batches(2, 239))[:2]:
            seen.update(tuple(seed.flatten().tolist()) for seed in batch.inputs)
    assert max(seen.values()) == 1
    again = [next(iter(found.task(0).batches(1, 239))).inputs for _ in range(2)]
    assert torch.equal(*again)


def test_a_seeds_views_are_its_own_in_any_stack(digits):
    together, alone = (
        stream(digits, seeds=seeds, augmentation="crop_flip") for seeds in (SEEDS, SEEDS[1:2])
    )
    pairs = zip(together.task(0).batches(1, 16), alone.task(0).batches(1, 16), strict=True)
    assert all(torch.equal(mine.inputs[1], own.inputs[0]) for mine, own in pairs)


@pytest.mark.parametrize("name", ["replay", "der", "gem", "agem", "icarl", "gdumb", "fssg"])
def test_memories_keep_samples_without_augmentation(name, digits):
    kind, found = LEARNERS[name], stream(digits, augmentation="crop_flip")
    options = {"hidden": [8], "epochs": 1, "batch_size": 24, "passes": 1}
    known = {key: value for key, value in options.items() if key in kind.Config.fields()}
    learner = kind(kind.Config.parse(known), found.info, SEEDS)
    for index in range(2):
        learner.learn(found.task(index))
    known_images = {image.tobytes() for image in digits["train"]["images"]}
    held = learner.memory.inputs[:, : len(learner.memory)]
    assert held.shape[1] > 40
    assert all(image.numpy().tobytes() in known_images for seed in held for image in seed)


# -- the union of tasks
# ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [1, 2, 5])
@pytest.mark.parametrize("order", ["fixed", "shuffled"])
@pytest.mark.parametrize(("epochs", "batch_size"), [(1, 16), (3, 7), (2, 64), (2, 300)])
def test_the_union_goes_through_the_first_tasks_as_often_as_the_others(
    epochs, batch_size, order, tasks, digits
):
    found = stream(digits, class_order=order)
    counts = [Counter() for _ in SEEDS]
    for index in range(tasks):
        rows = batch_rows(found.task(index, union=tasks), digits, epochs, batch_size)
        alone = list(found.task(index).batches(epochs, batch_size))
        for seed, batches in enumerate(rows):
            assert len(batches) == len(alone)
            assert all(len(batch) == alone[0].labels.shape[1] for batch in batches)
            counts[seed].update(row for batch in batches for row in batch)
    for count, *own in zip(counts, *pools(found, tasks), strict=True):
        assert set(count) == set().union(*own)
        seen = count.values()
        # fewer steps are taken than a round over the longest tasks there can be would need
        assert max(seen) - min(seen) <= 1
        assert order == "shuffled" or set(seen) <= {epochs, epochs + 1}


@pytest.mark.parametrize("union", [0, 5])
def test_no_more_is_shuffled_beforehand_than_an_epoch_needs(union, digits, monkeypatch):
    shuffled, original = [], torch.randperm

    def watched(count, **given):
        shuffled.append(count)
        return original(count, **given)

    task = stream(digits).task(3, union=union)
    monkeypatch.setattr(torch, "randperm", watched)
    batches = task.batches(10_000, 16)
    for _ in range(task.steps(16)):
        next(batches)
    assert len(shuffled) <= 2 * len(SEEDS)  # an epoch may end one round and begin the next


@pytest.mark.parametrize("tasks", [2, 5])
def test_the_union_has_samples_of_all_its_tasks_in_every_task(tasks, digits):
    found = stream(digits)
    for index in range(tasks):
        labels = torch.cat([b.labels for b in found.task(index, union=tasks).batches(1, 16)], 1)
        assert all(set(row.tolist()) == set(range(2 * tasks)) for row in labels)


@pytest.mark.parametrize("active", ["all", "seen", "current"])
def test_all_classes_compete_in_the_loss_of_a_union(active, digits):
    found = stream(digits, active_classes=active)
    labels = torch.arange(10).expand(len(SEEDS), -1)
    assert found.task(1, union=5).loss_mask(labels) is None
    assert (found.task(1).loss_mask(labels) is None) == (active == "all")


@pytest.mark.parametrize("order", ["fixed", "shuffled"])
@pytest.mark.parametrize("tasks", [0, 1, 3, 5])
def test_the_size_of_a_union_is_that_of_the_largest_of_its_seeds(order, tasks, digits):
    found = stream(digits, class_order=order)
    sizes = [sum(len(rows[s]) for rows in pools(found, tasks)) for s in range(len(SEEDS))]
    assert found.task(0, union=tasks).union_size == max(sizes)


def pools(found, tasks):
    return [learnt_rows(found, index) for index in range(tasks)]


# -- caches
# --------------------------------------------------------------------------------------------


@pytest.fixture
def toy(monkeypatch):
    """Register a data set whose building is counted."""
    built = []
    images = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
    labels = np.array([0, 1, 0, 1, 0, 1], dtype=np.uint8)

    def build(root):
        built.append(root)
        return {
            "train": {"images": images, "labels": labels},
            "test": {"images": images + 100, "labels": labels[::-1].copy()},
        }

    monkeypatch.setitem(
        datasets.DATASETS, "toy", Dataset("toy", "made up", 2, (4,), 1.0, (0.0,), (1.0,), build)
    )
    return built


def test_a_cache_is_built_once_and_read_back(toy, tmp_path):
    root = tmp_path / "not" / "there"
    first, second = load("toy", root), load("toy", root)
    assert toy == [root]
    assert [path.name for path in root.iterdir()] == ["toy.h5"]
    for found in (first, second):
        assert found["train"]["images"].dtype == np.uint8
        np.testing.assert_array_equal(found["train"]["images"].ravel(), np.arange(24))
        assert found["test"]["labels"].tolist() == [1, 0, 1, 0, 1, 0]
    assert set(load("toy", root, ("train",))) == {"train"}


DAMAGES = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-500]),
    "empty": lambda path: path.write_bytes(b""),
    "something else": lambda path: path.write_text("hello" * 500),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_named(damage, toy, tmp_path):
    path = find_dataset("toy").prepare(tmp_path)
    DAMAGES[damage](path)
    with pytest.raises(InputError, match=r"toy\.h5 is damaged \(.+\)\. Delete the file"):
        load("toy", tmp_path)


def put(key, value):
    def change(file):
        del file[key]
        if value is not None:
            file[key] = value

    return change


BLACK, ZEROS = np.zeros((6, 2, 2), np.uint8), np.zeros(6, np.uint8)
IMAGE = np.array([[0, 9], [5, 5]], np.uint8)
CONTENTS = {
    "no split": (put("test", None), "'test' doesn't exist"),
    "no labels": (put("test/labels", None), "'labels' doesn't exist"),
    "an array for a split": (put("test", ZEROS), "."),
    "a number for an array": (put("test/labels", 3), "."),
    "text": (put("test/labels", ["a"] * 6), "test: uint8 and object instead of uint8"),
    "other types": (put("train/images", BLACK + 0.5), "train: float64 and uint8"),
    "fewer labels": (put("train/labels", ZEROS[:5]), r"6 images, but labels of shape \(5,\)"),
    "labels in two columns": (put("test/labels", np.zeros((6, 2), np.uint8)), r"of shape \(6, 2\)"),
    "another class": (put("test/labels", ZEROS + 2), "test: row 0: label is 2; allowed: 0 to 1"),
    "one class": (put("train/labels", ZEROS + 1), "train: all labels are 1"),
    "classes from 1 on": (
        put("train/labels", np.array([1, 2, 1, 1, 2, 2], np.uint8)),
        r"train: row 1: label is 2; allowed: 0 to 1 \(the numbers seem to start at 1",
    ),
    "black images": (put("train/images", BLACK), "train: all images are equal"),
    "one image": (put("test/images", BLACK + IMAGE), "test: all images are equal"),
    "images of one colour": (
        put("train/images", BLACK + np.arange(6, dtype=np.uint8)[:, None, None]),
        "train: every image has only one colour",
    ),
    "larger images": (put("test/images", BLACK.repeat(2, 1)), r"\(6, 4, 2\) instead of 4 bytes"),
    "flat images": (put("test/images", ZEROS), "instead of 4 bytes"),
}


@pytest.mark.parametrize("content", CONTENTS)
def test_a_cache_that_holds_something_else_is_damaged(content, toy, tmp_path):
    change, said = CONTENTS[content]
    with h5py.File(find_dataset("toy").prepare(tmp_path), "a") as file:
        change(file)
    with pytest.raises(
        InputError, match=rf"toy\.h5 is damaged \(.*{said}.*\)\. Delete the file"
    ) as caught:
        load("toy", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_cache_without_samples_is_damaged(toy, tmp_path):
    with h5py.File(find_dataset("toy").prepare(tmp_path), "a") as file:
        put("train/images", BLACK[:0])(file)
        put("train/labels", ZEROS[:0])(file)
    with pytest.raises(InputError, match="train: 0 images"):
        load("toy", tmp_path)


def refuse(monkeypatch, place, name, error):
    def refused(*of, **keywords):
        raise error

    monkeypatch.setattr(place, name, refused)


NO_PERMISSION = PermissionError(errno.EACCES, "a long text\nof the library")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NO_PERMISSION, "Permission denied"),
        (BlockingIOError(errno.EAGAIN, "unable to lock file"), "unavailable"),
        (MemoryError(), "MemoryError"),
    ],
    ids=repr,
)
def test_a_cache_that_cannot_be_read_is_not_to_be_deleted(error, said, toy, tmp_path, monkeypatch):
    find_dataset("toy").prepare(tmp_path)
    refuse(monkeypatch, h5py, "File", error)
    with pytest.raises(
        InputError, match=rf"toy\.h5 cannot be read \(.*{said}.*\).*--data"
    ) as caught:
        load("toy", tmp_path)
    assert "elete" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_a_cache_cannot_be_read(toy, tmp_path):
    (tmp_path / "toy.h5").mkdir()
    with pytest.raises(InputError, match=r"toy\.h5 cannot be read \(Is a directory\)"):
        load("toy", tmp_path)


@pytest.mark.parametrize("name", ["toy", "mnist"])
@pytest.mark.parametrize("below", ["", "below"])
def test_a_root_that_is_a_file_is_named(name, below, toy, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"file.* cannot be used \(Not a directory.*--data"):
        load(name, tmp_path / "file" / below)


def test_a_root_that_may_not_be_entered_is_named(toy, tmp_path, monkeypatch):
    refuse(monkeypatch, Path, "stat", NO_PERMISSION)
    with pytest.raises(InputError, match=r"cannot be used \(Permission denied\).*STUDY_DATA"):
        load("toy", tmp_path)


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_cache_that_cannot_be_written_leaves_nothing(step, toy, tmp_path, monkeypatch):
    refuse(monkeypatch, os, step, FULL)
    with pytest.raises(InputError, match=r"cannot write .*toy\.h5 \(No space left.*--data"):
        find_dataset("toy").prepare(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_cache_leaves_nothing(toy, tmp_path, monkeypatch):
    refuse(monkeypatch, os, "replace", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        find_dataset("toy").prepare(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_is_as_readable_as_any_file(toy, tmp_path):
    (tmp_path / "plain").touch()
    cache = find_dataset("toy").prepare(tmp_path)
    assert cache.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_unknown_data_set_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'mnist'"):
        load("mnits", tmp_path)


@pytest.mark.parametrize("failure", [RuntimeError("no mirror"), URLError("no network")], ids=str)
def test_missing_data_without_network_names_the_root_and_the_options(
    failure, tmp_path, monkeypatch
):
    import torchvision  # takes some seconds

    def download(self):
        raise failure

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    with pytest.raises(InputError) as caught:
        load("mnist", tmp_path / "root")
    for part in (str(tmp_path / "root"), "--data", "STUDY_DATA"):
        assert part in str(caught.value)
    assert list((tmp_path / "root").iterdir()) == []


# torchvision's files of MNIST: a number for the type, sizes, bytes


def idx(*sizes, below=None, kind=8):
    """A file of values from 0 on, again and again: of images, or of labels where it is one row."""
    head = struct.pack(f">HBB{len(sizes)}I", 0, kind, len(sizes), *sizes)
    below = below or (256 if len(sizes) > 1 else 10)
    return head + bytes(n % below for n in range(math.prod(sizes)))


def write_raw(folder, **changed):
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        files = {"images": idx(20, 28, 28), "labels": idx(20)} | changed
        for what, content in files.items():
            suffix = "images-idx3-ubyte" if what == "images" else "labels-idx1-ubyte"
            (folder / f"{part}-{suffix}").write_bytes(content)


def test_raw_files_are_found_without_network(tmp_path):
    write_raw(tmp_path / "MNIST" / "raw")
    found = load("mnist", tmp_path)
    assert found["train"]["images"].shape == (20, 28, 28)
    assert found["test"]["labels"].tolist() == [*range(10)] * 2


BROKEN = {
    "empty": {"images": b""},
    "something else": {"images": b"hello" * 50},
    "cut off": {"images": idx(20, 28, 28)[:-700]},
    "an unknown type": {"images": idx(20, 28, 28, kind=10)},
    "another type": {"labels": idx(20, kind=9)},
    "fewer labels": {"labels": idx(19)},
    "another class": {"labels": idx(20, below=11)},
    "smaller images": {"images": idx(20, 8, 8)},
    "one class": {"labels": idx(20, below=1)},
    "black images": {"images": idx(20, 28, 28, below=1)},
    "fractions": {"images": idx(20, 28, 28, below=2)[:-1] + b"\0"},  # not all images are equal
}
SAID = {
    "another class": "train: row 10: label is 10; allowed: 0 to 9",
    "one class": "train: all labels are 0",
    "black images": "train: all images are equal",
    "fractions": "train: no value is above 1 in a range up to 255: .* multiply them by 255",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_raw_files_are_named(broken, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    write_raw(raw, **BROKEN[broken])
    told = SAID.get(broken, ".+")
    with pytest.raises(
        InputError, match=rf"{raw} is damaged \({told}.*\)\. Delete the folder"
    ) as caught:
        load("mnist", tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mnist.h5").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "x-ubyte"), "cannot be read .*x-ubyte"),
        (EOFError("Ran out of input"), "is damaged"),
        (AssertionError(), r"is damaged \(AssertionError\)"),
        (zlib.error("invalid block"), "is damaged"),
        (gzip.BadGzipFile("Not a gzipped file"), "is damaged"),
        (pickle.UnpicklingError("invalid load key"), "is damaged"),
        (KeyError("data"), "is damaged"),
    ],
    ids=repr,
)
def test_raw_files_that_torchvision_refuses_are_named(error, said, tmp_path, monkeypatch):
    import torchvision

    write_raw(tmp_path / "MNIST" / "raw")
    refuse(monkeypatch, torchvision.datasets.MNIST, "_load_data", error)
    with pytest.raises(InputError, match=f"{tmp_path / 'MNIST' / 'raw'} {said}"):
        find_dataset("mnist").prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"]


def test_a_download_leaves_the_cache_alone(tmp_path, monkeypatch):
    import torchvision

    monkeypatch.setattr(
        torchvision.datasets.MNIST, "download", lambda self: write_raw(Path(self.raw_folder))
    )
    assert load("mnist", tmp_path / "root")["train"]["labels"].tolist() == [*range(10)] * 2
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["mnist.h5"]


def test_a_download_that_fills_the_disk_leaves_nothing(tmp_path, monkeypatch):
    import torchvision

    def download(self):
        write_raw(Path(self.raw_folder))
        raise FULL

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    with pytest.raises(InputError, match=r"could not be downloaded \(No space left"):
        find_dataset("mnist").prepare(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bundled_data_leaves_no_file(tmp_path):
    load("digits", tmp_path)
    assert find_dataset("digits").prepare(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_split_streams_can_be_made_of_any_data_set(toy, tmp_path):
    pairs = type("Pairs", (SplitStream,), {"name": "split_toy", "dataset": "toy"})
    pairs.tasks = 1
    found = pairs(load("toy", tmp_path), "class", (1,), "confirm")
    assert found.info.name == "split_toy"
    assert found.task(0).size == 6


# -- data that are odd
# --------------------------------------------------------------------------------------------


def odd(count, blank=0, copies=0, shared=0):
    """Random images in colour of which so many are of one colour, or copies of others; so many of
    the test images are training images.
    """
    rng = np.random.default_rng(count)
    train, test = (rng.integers(256, size=(count, 5, 4, 3), dtype=np.uint8) for _ in range(2))
    train[:blank] = rng.integers(256, size=(blank, 1, 1, 3), dtype=np.uint8)
    train[blank : blank + copies] = train[-copies - 1 : -1] if copies else 0
    test[:shared] = train[count // 2 : count // 2 + shared]
    labels = np.arange(count, dtype=np.uint8) % 10
    return {
        "train": {"images": train, "labels": labels},
        "test": {"images": test, "labels": labels},
    }


EMPTY, COPIES = "are empty (no spike, or one value throughout)", "are copies of others"
ODD = {
    "nothing": ({}, []),
    "one in a hundred": ({"blank": 2, "copies": 2, "shared": 2}, []),
    "colours": ({"blank": 3}, [f"cifar10, train: 3 of 200 samples (1.5%) {EMPTY}."]),
    "copies": ({"copies": 30}, [f"cifar10, train: 30 of 200 samples (15.0%) {COPIES}."]),
    "training images": ({"shared": 50}, [f"cifar10, test: 50 of 200 samples (25.0%) {COPIES}."]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_samples_are_counted(name):
    amounts, told = ODD[name]
    assert suspicions(find_dataset("cifar10"), odd(200, **amounts)) == told


@pytest.mark.parametrize(("most", "told"), [(100, True), (127, True), (128, False), (255, False)])
def test_images_of_another_range_are_told(most, told):
    data = odd(50)
    data["test"]["images"] = np.minimum(data["test"]["images"], most)
    expected = [f"cifar10, test: no value is above {most} of 255."] if told else []
    assert suspicions(find_dataset("cifar10"), data) == expected


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=30))
@settings(deadline=None)
def test_odd_samples_are_counted_as_in_a_plain_loop(rows):
    images = 100 * np.array(rows, np.uint8).reshape(-1, 3, 1)
    blank, kept, copies = 0, [], 0
    for row in rows:
        blank += len(set(row)) == 1
        copies += row in kept and len(set(row)) > 1
        kept.append(row)
    told = suspicions(
        find_dataset("digits"), {"train": {"images": images, "labels": images[:, 0, 0]}}
    )
    found = {
        what: int(re.search(r": (\d+) of", text)[1])
        for text in told
        for what in (EMPTY, COPIES)
        if what in text
    }
    counted = {EMPTY: blank, COPIES: copies}
    assert found == {what: count for what, count in counted.items() if count > len(rows) / 100}


def test_the_digits_are_not_odd(digits):
    assert suspicions(find_dataset("digits"), digits) == []


# -- photographs in colour, in CIFAR-10's own layout
# --------------------------------------------------------


def write_cifar(folder):
    """Write small batches as CIFAR-10's files have them: rows of one colour after the other."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    labels = {"label_names": [f"class {c}" for c in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(labels))
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        planes = draw.integers(256, size=(40, 3072), dtype=np.uint8)
        content = {"data": planes, "labels": [n % 10 for n in range(40)]}
        (folder / name).write_bytes(pickle.dumps(content))


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Small made-up data, read as the real files are."""
    import torchvision

    check = "check_integrity"  # the sums of the real files
    monkeypatch.setattr(torchvision.datasets.cifar, check, lambda *of: True)
    write_cifar(tmp_path / "cifar-10-batches-py")
    return load("cifar10", tmp_path)


def test_cifar_is_read_with_the_colours_of_a_pixel_side_by_side(cifar, tmp_path):
    assert cifar["train"]["images"].shape == (200, 32, 32, 3)
    assert cifar["test"]["images"].shape == (40, 32, 32, 3)
    raw = pickle.loads((tmp_path / "cifar-10-batches-py" / "data_batch_2").read_bytes())
    for n in (0, 7):
        image = cifar["train"]["images"][40 + n]
        for row, column, colour in ((0, 0, 0), (3, 31, 1), (17, 2, 2)):
            place = colour * 1024 + row * 32 + column
            assert image[row, column, colour] == raw["data"][n, place]
    assert cifar["train"]["labels"].tolist() == list(range(10)) * 20


@pytest.fixture
def cifar100(tmp_path, monkeypatch):
    """The files of CIFAR-100 with five samples of each class, read as the real ones are."""
    import torchvision

    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *of: True)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    names = {"fine_label_names": [f"class {c}" for c in range(100)]}
    (folder / "meta").write_bytes(pickle.dumps(names))
    draw = np.random.default_rng(0)
    for name in ("train", "test"):
        fine = [n % 100 for n in range(500)]
        content = {
            "data": draw.integers(256, size=(500, 3072), dtype=np.uint8),
            "fine_labels": fine,
            "coarse_labels": [(7 * label) % 20 for label in fine],
        }
        (folder / name).write_bytes(pickle.dumps(content))
    return tmp_path


def test_cifar100_has_labels_of_classes_and_of_superclasses(cifar100):
    fine, coarse = (load(name, cifar100) for name in ("cifar100", "cifar100_superclasses"))
    for split in ("train", "test"):
        assert fine[split]["images"].shape == (500, 32, 32, 3)
        assert np.array_equal(fine[split]["images"], coarse[split]["images"])
        assert fine[split]["labels"].tolist() == list(range(100)) * 5
        assert coarse[split]["labels"].tolist() == [7 * n % 20 for n in range(100)] * 5


@pytest.mark.parametrize(("tasks", "classes"), [(10, 10), (20, 5), (5, 20)])
def test_split_cifar100_has_as_many_tasks_as_asked_for(cifar100, tasks, classes):
    kind = STREAMS["split_cifar100"]
    options = kind.Options(tasks=tasks, class_order="shuffled")
    found = kind(load("cifar100", cifar100), "class", SEEDS, "confirm", options)
    assert (found.info.tasks, found.info.outputs, found.tasks) == (tasks, 100, tasks)
    assert found.task_classes.shape == (len(SEEDS), tasks, classes)
    assert all(set(row.flatten().tolist()) == set(range(100)) for row in found.task_classes)
    by_task = kind.describe("domain", options)
    assert by_task.outputs == classes


def test_tasks_that_do_not_divide_the_classes_are_refused(cifar100):
    kind = STREAMS["split_cifar100_superclasses"]
    with pytest.raises(InputError, match=r"stream\.tasks = 8 does not divide 20 classes equally"):
        kind.describe("class", kind.Options(tasks=8))
    assert kind.describe("class", kind.Options(tasks=4)).outputs == 20


def test_split_cifar_is_a_stream_of_augmented_photographs(cifar):
    kind = STREAMS["split_cifar10"]
    found = kind(cifar, "class", SEEDS, "confirm")
    info = found.info
    assert (info.inputs, info.outputs, info.tasks) == (3072, 10, 5)
    assert (info.shape, info.augmentation) == ((32, 32, 3), "crop_flip")
    batch = next(iter(found.task(1).batches(1, 40)))
    known = {image.tobytes() for image in cifar["train"]["images"]}
    kept = batch.unaugmented.numpy().reshape(-1, 3072)
    assert all(image.tobytes() in known for image in kept)
    views = Views("crop_flip", (32, 32, 3), SEEDS, "views/1", torch.device("cpu"))
    assert torch.equal(batch.inputs, views(batch.unaugmented))
    assert set(batch.labels.flatten().tolist()) == {2, 3}
    plain = kind(cifar, "class", SEEDS, "confirm", kind.Options(augmentation="none"))
    assert torch.equal(next(iter(plain.task(1).batches(1, 40))).inputs, batch.unaugmented)


def test_every_learner_runs_on_augmented_photographs(cifar):
    options = {"hidden": [8], "epochs": 1, "batch_size": 16, "passes": 1}
    pictures = {n: k for n, k in LEARNERS.items() if not issubclass(k, RecurrentLearner)}
    for name, kind in pictures.items():
        found = STREAMS["split_cifar10"](cifar, "class", (1, 2), "confirm")
        known = {key: value for key, value in options.items() if key in kind.Config.fields()}
        learner = kind(kind.Config.parse(known), found.info, (1, 2))
        union = 5 if kind.offline else 0
        for index in range(2):
            learner.learn(found.task(index, union=union))
        assert learner.losses.isfinite().all(), name
        assert evaluate(learner, found, 2).finite.all(), name


def test_colours_are_standardised_one_by_one(cifar):
    found = STREAMS["split_cifar10"](cifar, "class", (1,), "confirm")
    config = Finetune.Config.parse({"hidden": [4], "standardise": True})
    encoded = Finetune(config, found.info, (1,)).encode(found.images[0][None, :5])
    pictures = torch.from_numpy(cifar["train"]["images"][:5]).permute(0, 3, 1, 2) / 255
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    expected = normalize(pictures, mean, std).permute(0, 2, 3, 1).reshape(1, 5, -1)
    torch.testing.assert_close(encoded, expected)


# -- real data
# -----------------------------------------------------------------------------------------


def test_mnist_is_not_odd(mnist):
    assert suspicions(find_dataset("mnist"), mnist) == []


def test_split_mnist_has_the_published_sizes(mnist):
    found = STREAMS["split_mnist"](mnist, "class", (0,), "confirm")
    assert [found.task(t).size for t in range(5)] == [12665, 12089, 11263, 12183, 11800]
    sizes = [found.scored(t)[1].sum().item() for t in range(5)]
    assert sizes == [2115, 2042, 1874, 1986, 1983]
    assert found.info.inputs == 784
    assert found.info.scale == pytest.approx(1 / 255)


def test_split_mnist_is_tuned_on_ninety_percent(mnist):
    found = STREAMS["split_mnist"](mnist, "class", (0,), "tune")
    for index in range(5):
        fit, validation = found.task(index).size, found.scored(index)[1].sum().item()
        assert validation / (fit + validation) == pytest.approx(0.1, abs=1e-3)
        assert not learnt_rows(found, index)[0] & scored_rows(found, index)[0]


@pytest.mark.parametrize("name", STREAMS)
def test_every_stream_says_what_its_seeds_vary(name):
    kind = STREAMS[name]
    varies = kind.varies(kind.Options.parse(NEEDED.get(name, {})))
    assert varies["class order"] == (name.startswith("class_incremental"))
    assert varies.get("pixel permutation", False) == (name == "permuted_mnist")


def test_what_varies_follows_the_options_of_the_stream():
    digits, photographs = STREAMS["split_digits"], STREAMS["split_cifar10"]
    assert digits.varies(digits.Options.parse({"class_order": "shuffled"}))["class order"]
    augmented = photographs.Options.parse({"augmentation": "crop_flip"})
    assert photographs.varies(augmented) == {"class order": False, "augmentation": True}
