"""``samples_per_task``: only the first samples of each task are learnt."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from trainables import STREAMS, InputError
from trainables.methods.joint import Joint
from trainables.streams.stream import fewest_first, validation_rows
from trainables.testing import build, learn

SEEDS = (3, 5, 8)
KINDS = [(phase, order) for phase in ("tune", "confirm") for order in ("fixed", "shuffled")]


def stream(data, phase="confirm", scenario="class", name="split_digits", **options):
    kind = STREAMS[name]
    return kind(data, scenario, SEEDS, phase, kind.Options(**options))


def first_rows(found, data, phase, index, most):
    """Rows of each seed to learn in a task, in plain Python."""
    labels = data["train"]["labels"]
    learnt = ~validation_rows(labels) if phase == "tune" else np.ones(len(labels), dtype=bool)
    rows = []
    for seed in range(len(SEEDS)):
        classes = set(found.task_classes[seed, index].tolist())
        own = [row for row in range(len(labels)) if learnt[row] and labels[row] in classes]
        rows.append(own[:most] if most else own)
    return rows


@pytest.mark.parametrize("most", [0, 2, 40, 300, 100_000])
@pytest.mark.parametrize(("phase", "order"), KINDS)
def test_exactly_the_first_samples_of_each_task_are_learnt(phase, order, most, digits):
    found = stream(digits, phase, class_order=order, samples_per_task=most)
    for index in range(5):
        expected = first_rows(found, digits, phase, index, most)
        rows, size = found.pool(index)
        assert [sorted(row.tolist()) for row in rows] == expected
        full = stream(digits, phase, class_order=order).task(index).size
        assert size == found.task(index).size == (min(full, most) if most else full)
        if 0 < most < 200:
            assert all(len(row) == most for row in rows)
        by_class = found.learnt_by_class(index)
        for seed, classes in enumerate(by_class):
            assert list(classes) == found.task_classes[seed, index].tolist()
            labels = digits["train"]["labels"]
            assert all((labels[row.numpy()] == label).all() for label, row in classes.items())


@pytest.mark.parametrize("order", ["fixed", "shuffled"])
def test_no_limit_changes_nothing(order, digits):
    one, other = (
        stream(digits, class_order=order, **limit) for limit in ({}, {"samples_per_task": 0})
    )
    for index in range(5):
        batches = zip(one.task(index).batches(2, 16), other.task(index).batches(2, 16), strict=True)
        assert all(
            torch.equal(mine.inputs, theirs.inputs) and torch.equal(mine.labels, theirs.labels)
            for mine, theirs in batches
        )


@pytest.mark.parametrize(("phase", "order"), KINDS)
def test_what_is_scored_is_left_alone(phase, order, digits):
    whole = stream(digits, phase, class_order=order)
    found = stream(digits, phase, class_order=order, samples_per_task=10)
    for index in range(5):
        for mine, theirs in zip(found.scored(index), whole.scored(index), strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("order", ["fixed", "shuffled"])
def test_steps_follow_and_batches_hold_the_first_samples_only(order, digits):
    found = stream(digits, class_order=order, samples_per_task=50)
    place = {image.tobytes(): row for row, image in enumerate(digits["train"]["images"])}
    for index in range(5):
        task, expected = found.task(index), first_rows(found, digits, "confirm", index, 50)
        assert task.steps(16) == 4
        batches = list(task.batches(3, 16))
        assert len(batches) == 3 * 4
        for seed in range(3):
            for epoch in range(3):
                part = batches[4 * epoch : 4 * epoch + 4]
                rows = [place[i.numpy().tobytes()] for b in part for i in b.inputs[seed]]
                assert set(rows) == set(expected[seed])
                assert len(set(rows[:50])) == 50, "a sample comes twice in an epoch"


def test_samples_and_classes_of_a_task_are_the_first_too(digits):
    found = stream(digits, class_order="shuffled", samples_per_task=30)
    task, expected = found.task(1), first_rows(found, digits, "confirm", 1, 30)
    images = digits["train"]["images"].reshape(-1, 64)
    wanted = [sorted(images[rows].tolist()) for rows in expected]
    drawn = task.sample(30, "some").inputs
    assert [sorted(seed.tolist()) for seed in drawn] == wanted
    given = [[], [], []]
    for labels, inputs, counts in task.by_class():
        for seed in range(3):
            assert labels[seed] in found.task_classes[seed, 1]
            given[seed] += inputs[seed][counts[seed]].tolist()
    assert [sorted(seed) for seed in given] == wanted


@pytest.mark.parametrize("order", ["fixed", "shuffled"])
def test_the_union_is_of_the_first_samples_of_all_tasks(order, digits):
    found = stream(digits, class_order=order, samples_per_task=20)
    learner = build(Joint, {"hidden": [4], "epochs": 2, "batch_size": 10}, found)
    place = {image.tobytes(): row for row, image in enumerate(digits["train"]["images"])}
    rows = [[], [], []]
    for index in range(5):
        task = found.task(index, union=5)
        assert task.union_size == 100
        for batch in task.batches(2, 10):
            for seed in range(3):
                rows[seed] += [place[i.numpy().tobytes()] for i in batch.inputs[seed]]
    for seed in range(3):
        tasks = [first_rows(found, digits, "confirm", t, 20)[seed] for t in range(5)]
        assert sorted(rows[seed]) == sorted(2 * list(itertools.chain(*tasks)))
    learn(learner, found)
    assert learner.trained == 200
    assert learner.footprint()["memory"] == 100 * 65


@pytest.mark.parametrize("name", ["permuted_mnist", "rotated_mnist"])
def test_tasks_that_share_samples_have_the_same_first_ones(name, mnist):
    small = {split: {key: part[:300] for key, part in mnist[split].items()} for split in mnist}
    for scenario in ("domain", "class"):
        found = stream(small, scenario=scenario, name=name, samples_per_task=25)
        for index in range(2):
            rows, size = found.pool(index)
            assert size == 25
            expected = list(range(300 * index, 300 * index + 25))
            assert [sorted(row.tolist()) for row in rows] == [expected] * 3


@pytest.mark.parametrize("of_a_task", [1, 2, 5, 9, 10])
@pytest.mark.parametrize("most", [1, 7, 20, 60, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_the_smallest_class_is_that_of_any_task_there_may_be(of_a_task, most, seed):
    """Against all choices of the classes of a task, gone through one by one."""
    labels = np.random.default_rng(seed).choice(10, 80, p=np.arange(1, 11) / 55)
    pools = [torch.from_numpy(np.flatnonzero(labels == c)) for c in range(10)]
    found = [fewest_first(p, [o for o in pools if o is not p], of_a_task - 1, most) for p in pools]
    for c in range(10):
        shares = []
        for task in itertools.combinations(range(10), of_a_task):
            if c in task:
                first = [label for label in labels if label in task][:most]
                shares.append(first.count(c))
        assert found[c] == min(shares)


def test_a_negative_number_is_refused():
    with pytest.raises(InputError, match="samples_per_task = -1"):
        STREAMS["split_digits"].Options(samples_per_task=-1)
