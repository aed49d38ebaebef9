"""Permuted and rotated streams: what a task does to its images, and which outputs are its own."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torchvision.transforms.functional as transforms
from torchvision.transforms import InterpolationMode

from trainables import STREAMS
from trainables.methods.finetune import Finetune
from trainables.methods.joint import Joint
from trainables.rng import generator
from trainables.streams import transformed
from trainables.streams.transformed import PermutedStream, RotatedStream, rotate
from trainables.testing import accuracies, build, learn

SEEDS = (3, 5, 8)
SCENARIOS = ("task", "domain", "class", "task_free")


class PermutedDigits(PermutedStream):
    name, dataset, reference = "permuted_digits", "digits", "made for a test"


class RotatedDigits(RotatedStream):
    name, dataset, reference = "rotated_digits", "digits", "made for a test"


KINDS = {"permuted": (PermutedDigits, {"tasks": 4}), "rotated": (RotatedDigits, {})}
LENGTH = {"permuted": 4, "rotated": 5}


def stream(kind, data, scenario="domain", phase="confirm", seeds=SEEDS, **options):
    cls, usual = KINDS[kind]
    return cls(data, scenario, seeds, phase, cls.Options(**usual | options))


def split(data, name):
    """Return the images [N, 64] and labels [N] of a split."""
    found = data[name]
    return torch.from_numpy(found["images"].reshape(-1, 64)), torch.from_numpy(found["labels"])


def shown(found, task, scored=False):
    """Return all that a task shows of each seed: images [S, N, D], labels [S, N], their rows."""
    index = found.scored(task)[0] if scored else torch.stack(found.pool(task)[0])
    size = len(found.labels[-1 if scored else 0])
    assert (index // size == task).all()
    return *found.gather(index, scored), index % size


# -- rotation
# ------------------------------------------------------------------------------------------


def pictures(count=40, height=28, width=28):
    draw = generator(0, "images")
    return torch.randint(256, (count, height, width), generator=draw).to(torch.uint8)


@pytest.mark.parametrize("angle", [90, 180, 270, -90, 360, 450])
@pytest.mark.parametrize("side", [8, 9, 28])
def test_quarter_turns_are_exact(side, angle):
    images = pictures(height=side, width=side)
    assert torch.equal(rotate(images, angle), torch.rot90(images, angle // 90, (1, 2)))


def test_no_turn_gives_the_images_back():
    images = pictures()
    assert rotate(images, 0) is images


@pytest.mark.parametrize("angle", [45, 135, 15, 30, 60, -20, 200])
@pytest.mark.parametrize("shape", [(28, 28), (7, 11)])
def test_turns_equal_torchvisions(shape, angle):
    images = pictures(60, *shape)
    found = rotate(images, angle)
    theirs = transforms.rotate(images.unsqueeze(1), angle, InterpolationMode.BILINEAR).squeeze(1)
    apart = (found.int() - theirs.int()).abs()
    assert found.dtype == torch.uint8
    assert apart.max() <= 1  # a half is rounded this way or that
    assert (apart > 0).float().mean() < 1e-3


def test_images_are_turned_the_same_in_parts_of_any_size(monkeypatch):
    images = pictures()
    whole = rotate(images, 33)
    monkeypatch.setattr(transformed, "CHUNK", 7)
    assert torch.equal(rotate(images, 33), whole)


def test_rotated_tasks_show_the_turned_images_to_all_seeds(digits):
    found = stream("rotated", digits)
    for name, scored in (("train", False), ("test", True)):
        images, labels = split(digits, name)
        for task, angle in enumerate((0, 45, 90, 135, 180)):
            turned = rotate(images.view(-1, 8, 8), angle).flatten(1)
            inputs, kinds, rows = shown(found, task, scored)
            assert torch.equal(inputs, turned[rows])
            assert torch.equal(kinds, labels[rows].long())


def test_angles_are_an_option(digits):
    found = stream("rotated", digits, angles=(180, 0, 90))
    images, _ = split(digits, "train")
    assert found.tasks == found.info.tasks == 3
    for task, turns in enumerate((2, 0, 1)):
        inputs, _, rows = shown(found, task)
        turned = torch.rot90(images.view(-1, 8, 8), turns, (1, 2)).flatten(1)
        assert torch.equal(inputs, turned[rows])


# -- permutation
# ---------------------------------------------------------------------------------------


def orders(found, data, task, scored=False):
    """Find the order of the pixels of each seed again, from images that tell pixels apart."""
    source = -1 if scored else 0
    kept = found.images[source]
    names = torch.arange(64, dtype=torch.uint8).expand(len(kept), -1)
    found.images[source] = names.contiguous()
    inputs, _, _ = shown(found, task, scored)
    found.images[source] = kept
    assert (inputs == inputs[:, :1]).all(), "samples of a task differ in their order"
    return [tuple(row.tolist()) for row in inputs[:, 0]]


def test_the_first_permutation_changes_nothing_and_the_others_are_permutations(digits):
    found = stream("permuted", digits)
    everything = set()
    for task in range(4):
        learnt, scored = (orders(found, digits, task, s) for s in (False, True))
        assert learnt == scored
        assert all(sorted(order) == list(range(64)) for order in learnt)
        if task == 0:
            assert set(learnt) == {tuple(range(64))}
        else:
            everything |= set(learnt)
            drawn = [torch.randperm(64, generator=generator(s, "order", task)) for s in SEEDS]
            assert learnt == [tuple(order.tolist()) for order in drawn]
    assert len(everything) == 3 * len(SEEDS)


def test_permuted_tasks_show_every_image_in_the_order_of_their_task(digits):
    found = stream("permuted", digits)
    for name, scored in (("train", False), ("test", True)):
        images, labels = split(digits, name)
        for task in range(4):
            inputs, kinds, rows = shown(found, task, scored)
            for seed, order in enumerate(orders(found, digits, task, scored)):
                assert torch.equal(inputs[seed], images[rows[seed]][:, list(order)])
            assert torch.equal(kinds, labels[rows].long())


def test_a_permutation_depends_on_its_seed_and_its_task_only(digits):
    reference = stream("permuted", digits)
    others = [
        (stream("permuted", digits, seeds=(5,)), 0),
        (stream("permuted", digits, seeds=(9, 5)), 1),
        (stream("permuted", digits, tasks=7), 1),
        (stream("permuted", digits, "task"), 1),
        (stream("permuted", digits, phase="tune"), 1),
    ]
    for task in range(4):
        expected = orders(reference, digits, task)[1]
        assert all(orders(other, digits, task)[place] == expected for other, place in others)


# -- what both have in common
# --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phase", ["tune", "confirm"])
def test_every_task_has_all_samples_of_the_data(phase, kind, digits):
    found = stream(kind, digits, phase=phase)
    train = {row for pool in found.pools_learnt for row in pool.tolist()}
    scored = {row for pool in found.pools_scored for row in pool.tolist()}
    sizes = (len(train), len(scored))
    assert sizes == ((1195, 602) if phase == "confirm" else (1079, 116))
    assert phase == "confirm" or not train & scored
    for task in range(found.tasks):
        assert found.task(task).size == len(train)
        for rows, expected in (
            (shown(found, task)[2], train),
            (shown(found, task, True)[2], scored),
        ):
            assert all(Counter(row.tolist()) == Counter(expected) for row in rows)
        assert found.scored(task)[1].all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_tasks_share_outputs_or_have_their_own(scenario, kind, digits):
    found, length = stream(kind, digits, scenario), LENGTH[kind]
    own = scenario in ("task", "class")
    assert found.tasks == length
    assert found.info.outputs == (10 * length if own else 10)
    assert found.info.tasks == (None if scenario == "task_free" else length)
    for name, scored in (("train", False), ("test", True)):
        labels = split(digits, name)[1].long()
        for task in range(length):
            _, kinds, rows = shown(found, task, scored)
            assert torch.equal(kinds, labels[rows] + (10 * task if own else 0))
    task = found.task(2)
    batch = next(iter(task.batches(1, 64)))
    competing = task.loss_mask(batch.labels)
    if scenario == "task":
        assert all(
            set(row.nonzero().flatten().tolist()) == set(range(20, 30)) for row in competing[0]
        )
    else:
        assert competing is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scenario", ["task", "class"])
def test_a_batch_shows_samples_of_its_task(scenario, kind, digits):
    found = stream(kind, digits, scenario)
    images, labels = split(digits, "train")
    plain = Counter(
        (tuple(sorted(i)), c) for i, c in zip(images.tolist(), labels.tolist(), strict=True)
    )
    for index in range(found.tasks):
        batches = list(found.task(index).batches(1, 239))  # 1195 = 5 x 239: each sample once
        kinds = torch.cat([batch.labels for batch in batches], 1) - 10 * index
        inputs = torch.cat([batch.inputs for batch in batches], 1)
        if kind == "permuted":
            pixels = inputs[1].tolist()
            shown_once = zip(map(tuple, map(sorted, pixels)), kinds[1].tolist(), strict=True)
            assert Counter(shown_once) == plain
        assert Counter(kinds[1].tolist()) == Counter(labels.tolist())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scenario", ["domain", "class"])
def test_the_classes_of_a_task_come_one_by_one(scenario, kind, digits):
    found = stream(kind, digits, scenario)
    counts = Counter(split(digits, "train")[1].tolist())
    for index in range(2):
        first = 10 * index if scenario == "class" else 0
        classes = list(found.task(index).by_class())
        assert [label.tolist() for label, _, _ in classes] == [[first + c] * 3 for c in range(10)]
        assert [valid.sum(1).tolist() for _, _, valid in classes] == [
            [counts[c]] * 3 for c in range(10)
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_seen_and_current_outputs_compete_where_asked_for(kind, digits):
    labels = torch.tensor([[3, 17, 25]] * 3)
    expected = {
        "seen": [set(range(20))],
        "current": [set(range(10)), set(range(10, 20)), set(range(20, 30))],
    }
    for active, outputs in expected.items():
        found = stream(kind, digits, "class", active_classes=active)
        for seed in found.task(1).loss_mask(labels):
            assert [set(row.nonzero().flatten().tolist()) for row in seed] == outputs


@pytest.mark.parametrize("kind", KINDS)
def test_the_union_has_samples_of_all_tasks(kind, digits):
    found = stream(kind, digits, "class")
    task = found.task(0, union=3)
    assert task.union_size == 3 * 1195
    labels = torch.cat([batch.labels for batch in task.batches(1, 64)], 1)
    assert set((labels // 10).flatten().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_learner_learns_them(scenario, kind, digits):
    found = stream(kind, digits, scenario)
    options = {"hidden": [32], "epochs": 4, "batch_size": 32, "lr": 0.01}
    learner = build(Finetune, options, found)
    for index in range(2):
        learn(learner, found, index, index + 1)
        assert (accuracies(learner, found, index + 1)[:, index] > 0.6).all()


def test_learning_all_tasks_at_once_forgets_none(digits):
    found = stream("permuted", digits, tasks=3)
    learner = build(Joint, {"hidden": [64], "epochs": 3, "batch_size": 32, "lr": 5e-3}, found)
    learn(learner, found, 0, 3)
    assert (accuracies(learner, found, 3) > 0.75).all()


def test_the_streams_of_mnist_are_the_published_ones():
    for name, tasks, options in (
        ("permuted_mnist", 10, {"tasks": 10}),
        ("rotated_mnist", 5, {"angles": [0, 45, 90, 135, 180]}),
    ):
        kind = STREAMS[name]
        info = kind.describe("domain", kind.Options())
        assert (info.inputs, info.outputs, info.tasks) == (784, 10, tasks)
        assert kind.Options().plain().items() >= options.items()
