"""iCaRL against loops over samples, classes and seeds."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainables import STREAMS, InputError
from trainables.engine.evaluation import evaluate
from trainables.memory.herded import herd
from trainables.methods.icarl import ICaRL
from trainables.rng import generator
from trainables.testing import build, learn, make_stream

SEEDS = (11, 12, 13)
QUICK = {"hidden": [16], "epochs": 1, "batch_size": 16, "lr": 5e-3, "memory_total": 100}


def learnt(tasks, scenario="class", seeds=SEEDS, **changes):
    """Return a learner after so many tasks, and its stream."""
    stream = make_stream(scenario, seeds)
    learner = build(ICaRL, QUICK | changes, stream)
    learn(learner, stream, 0, tasks)
    return learner, stream


# -- herding


def random_features(stack, count, width, name="features"):
    drawn = torch.randn(stack, count, width, dtype=torch.double, generator=generator(0, name))
    return F.normalize(drawn + 0.5, dim=2)


def herd_by_hand(features, share):
    """The definition, for one class of one seed: a list of samples, features as NumPy rows."""
    mean, chosen = features.mean(0), []
    for k in range(1, share + 1):
        distances = {}
        for p in range(len(features)):
            if p not in chosen:
                total = features[p] + sum(features[j] for j in chosen)
                distances[p] = np.linalg.norm(mean - total / k)
        chosen.append(min(distances, key=distances.get))
    return chosen


@pytest.mark.parametrize(("count", "width", "share"), [(1, 3, 1), (7, 2, 7), (40, 5, 12)])
def test_herding_equals_the_definition(count, width, share):
    features = random_features(3, count, width, f"features{count}")
    found = herd(features, torch.ones(3, count, dtype=torch.bool), share)
    assert found.tolist() == [herd_by_hand(row.numpy(), share) for row in features]


def test_herding_equals_the_definition_for_features_of_any_length():
    features = random_features(3, 30, 4) * torch.linspace(0, 2, 30).double().view(1, -1, 1)
    found = herd(features, torch.ones(3, 30, dtype=torch.bool), 20)
    assert found.tolist() == [herd_by_hand(row.numpy(), 20) for row in features]


def test_samples_that_do_not_count_are_neither_chosen_nor_averaged():
    features = random_features(3, 20, 4)
    sizes = [20, 13, 9]
    counts = torch.arange(20) < torch.tensor(sizes).unsqueeze(1)
    found = herd(features, counts, 9)
    for row, mine, size in zip(features, found.tolist(), sizes, strict=True):
        assert mine == herd_by_hand(row[:size].numpy(), 9)


def test_a_smaller_share_is_the_first_part_of_a_larger_one():
    features, counts = random_features(2, 50, 6), torch.ones(2, 50, dtype=torch.bool)
    whole = herd(features, counts, 50)
    assert whole.sort(1).values.tolist() == [list(range(50))] * 2
    for share in (1, 2, 17):
        assert torch.equal(herd(features, counts, share), whole[:, :share])


def test_herded_exemplars_have_a_nearer_mean_than_random_ones():
    features = random_features(1, 200, 10)[0]
    chosen = herd(features.unsqueeze(0), torch.ones(1, 200, dtype=torch.bool), 10)[0]

    def distance(rows):
        return (features[rows].mean(0) - features.mean(0)).norm()

    draw = generator(0, "rows")
    rival = min(distance(torch.randperm(200, generator=draw)[:10]) for _ in range(200))
    assert distance(chosen) < rival


# -- what is kept


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({"memory_total": 100}, [50, 25, 16, 12, 10]),
        ({"memory_total": 13}, [6, 3, 2, 1, 1]),
        ({"memory_per_task": 20}, [50, 25, 16, 12, 10]),
        ({"memory_bytes": 100 * 65 + 64}, [50, 25, 16, 12, 10]),
        ({"memory_total": 100_000}, [None] * 5),
    ],
    ids=str,
)
def test_every_class_seen_has_an_equal_share(options, shares):
    stream = make_stream("class")
    learner = build(ICaRL, QUICK | {"memory_total": 50} | options, stream)
    for index, share in enumerate(shares):
        learn(learner, stream, index, index + 1)
        expected = share or stream.smallest_class
        counts = learner.memory.class_counts(10)
        seen = 2 * (index + 1)
        assert (counts[:, :seen] == expected).all()
        assert (counts[:, seen:] == 0).all()
        assert len(learner.memory) == expected * seen
        assert learner.footprint()["memory"] == expected * seen * 65


def test_exemplars_are_those_that_herding_by_hand_chooses():
    learner, stream = learnt(2)
    learner.memory.total = 60  # of task 2: 10 of each class; of the others the first 10
    earlier = learner.memory.inputs.unflatten(1, (4, 25))
    task = stream.task(2)
    learner.begin_task(task)
    for batch in task.batches(1, 16):
        learner.observe(batch)
    network = copy.deepcopy(learner.network)
    learner.end_task(task)
    held = learner.memory.inputs.unflatten(1, (6, 10))
    assert torch.equal(held[:, :4], earlier[:, :, :10])
    assert learner.memory.labels[0].tolist() == [c for c in range(6) for _ in range(10)]
    for c in (4, 5):
        images = stream.images[0][stream.labels[0] == c]
        for seed in range(3):
            phi = network.features((images / 16).expand(3, -1, -1))[seed].detach().double()
            phi = phi / phi.norm(dim=1, keepdim=True)
            # the learner computes in single precision: compare how well it chose, then what
            mine = herd_by_hand(phi.numpy(), 10)
            assert torch.equal(held[seed, c], images[mine])


def test_a_share_shrinks_to_its_first_part():
    stream = make_stream("class")
    learner, held = build(ICaRL, QUICK, stream), []
    for index in range(5):
        learn(learner, stream, index, index + 1)
        held.append(learner.memory.inputs.unflatten(1, (2 * index + 2, -1)))
    for before, after in pairwise(held):
        assert torch.equal(after[:, : before.shape[1]], before[:, :, : after.shape[2]])


def test_exemplars_are_kept_without_augmentation():
    rng = np.random.default_rng(0)
    kind = STREAMS["split_cifar10"]
    images = rng.integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    labels = np.repeat(np.arange(10, dtype=np.uint8), 10)
    data = {"train": {"images": images, "labels": labels}}
    stream = kind(data, "class", (5, 6), "tune")
    assert stream.info.augmentation == "crop_flip"
    learner = build(ICaRL, QUICK | {"memory_total": 20}, stream)
    learn(learner, stream, 0, 2)
    known = {tuple(image) for image in stream.images[0].tolist()}
    assert {tuple(image) for image in learner.memory.inputs.flatten(0, 1).tolist()} <= known
    assert not {tuple(i) for i in learner.memory.sample(20)[0].flatten(0, 1).tolist()} <= known


# -- training


def single(weights, inputs):
    """Logits of one seed's network, from its weights, in NumPy."""
    (w1, b1), (w2, b2) = weights
    return np.maximum(inputs @ w1 + b1, 0) @ w2 + b2


def weights_of(learner, seed):
    flat = [w.detach()[seed].double().numpy().copy() for w in learner.network.parameters()]
    return [(flat[0], flat[1]), (flat[2], flat[3])]


def loss_by_hand(now, before, inputs, labels, old, new):
    """Sum over classes, mean over samples, of one seed: a loop over both."""
    total = 0.0
    for x, y in zip(inputs, labels, strict=True):
        s = 1 / (1 + np.exp(-single(now, x)[0]))
        for c in [*old, *new]:
            target = 1 / (1 + np.exp(-single(before, x)[0, c])) if c in old else float(c == y)
            total -= target * np.log(s[c]) + (1 - target) * np.log(1 - s[c])
    return total / len(inputs)


@pytest.mark.parametrize("scenario", ["task", "class"])
@pytest.mark.parametrize("tasks", [0, 1, 3])
def test_the_loss_equals_a_loop_over_samples_and_classes(tasks, scenario, monkeypatch):
    learner, stream = learnt(tasks, scenario)
    before = [weights_of(learner, seed) for seed in range(3)]
    task = stream.task(tasks)
    learner.begin_task(task)
    drawn, original = [], learner.memory.sample

    def spy(count):
        drawn.append(original(count))
        return drawn[-1]

    monkeypatch.setattr(learner.memory, "sample", spy)
    for _, batch in zip(range(3), task.batches(1, 16), strict=False):
        now = [weights_of(learner, seed) for seed in range(3)]
        drawn.clear()
        loss = learner.observe(batch)
        assert bool(drawn) == (tasks > 0)
        for seed in range(3):
            parts = [(batch.inputs, batch.labels), *drawn]
            inputs = np.concatenate([i[seed].numpy() for i, _ in parts]) / 16
            labels = np.concatenate([y[seed].numpy() for _, y in parts])
            old, new = range(2 * tasks), range(2 * tasks, 2 * tasks + 2)
            expected = loss_by_hand(now[seed], before[seed], inputs[:, None], labels, old, new)
            assert loss[seed].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("order", ["fixed", "shuffled"])
def test_outputs_of_classes_to_come_are_not_trained(order, digits):
    kind = STREAMS["split_digits"]
    stream = kind(digits, "class", SEEDS, "confirm", kind.Options.parse({"class_order": order}))
    learner = build(ICaRL, QUICK, stream)
    first = learner.network.layers[-1].weight.detach().clone()
    learn(learner, stream, 0, 2)
    moved = (learner.network.layers[-1].weight != first).any(1)
    for seed in range(3):
        seen = set(stream.task_classes[seed, :2].flatten().tolist())
        assert set(moved[seed].nonzero().flatten().tolist()) == seen


def test_the_teacher_is_the_network_as_it_was_after_the_task():
    learner, stream = learnt(2)
    before = [w.detach().clone() for w in learner.network.parameters()]
    task = stream.task(2)
    learner.begin_task(task)
    for batch in task.batches(1, 16):
        learner.observe(batch)
    assert all(map(torch.equal, learner.teacher.values(), before))
    assert not any(map(torch.equal, learner.network.parameters(), before))


@pytest.mark.parametrize("total", [10, 100, 1000])
@pytest.mark.parametrize("batch_size", [4, 50])
def test_an_epoch_goes_about_once_through_the_exemplars(batch_size, total):
    learner, stream = learnt(2, memory_total=total, batch_size=batch_size)
    held, task = len(learner.memory), stream.task(2)
    trained = learner.trained
    learner.begin_task(task)
    steps = 0
    for batch in task.batches(1, batch_size):
        learner.observe(batch)
        steps += 1
    replayed = (learner.trained - trained) / steps - batch_size
    assert replayed == max(round(batch_size * held / task.size), 1)


# -- testing


def distances_by_hand(learner, inputs, seed):
    """Squared distance of each input to the mean of each class with exemplars, of one seed."""

    def phi(images):
        (w1, b1), _ = weights_of(learner, seed)
        features = np.maximum(images.astype(float) / 16 @ w1 + b1, 0)
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    held, labels = learner.memory.inputs[seed].numpy(), learner.memory.labels[seed].numpy()
    found = {}
    for c in sorted(set(labels.tolist())):
        mean = phi(held[labels == c]).mean(0)
        mean = mean / np.linalg.norm(mean)
        found[c] = np.array([np.sum((x - mean) ** 2) for x in phi(inputs[seed].numpy())])
    return found


@pytest.mark.parametrize("scenario", ["task", "class"])
@pytest.mark.parametrize("midway", [False, True])
def test_an_input_is_of_the_class_with_the_nearest_mean(midway, scenario):
    learner, stream = learnt(3, scenario)
    inputs, _ = stream.gather(stream.scored(1)[0], scored=True)
    if midway:  # the means follow the network, the exemplars are those of the tasks done
        learner.predict(inputs, None)
        task = stream.task(3)
        learner.begin_task(task)
        for _, batch in zip(range(5), task.batches(1, 16), strict=False):
            learner.observe(batch)
    logits = learner.predict(inputs, None).numpy()
    for seed in range(3):
        expected = distances_by_hand(learner, inputs, seed)
        assert list(expected) == list(range(6))
        for c, distance in expected.items():
            np.testing.assert_allclose(-logits[seed, :, c], distance, atol=1e-5)
        nearest = np.argmin(np.stack(list(expected.values())), axis=0)
        assert (logits[seed].argmax(1) == nearest).mean() > 0.99
        assert logits[seed, :, 6:].max() < logits[seed, :, :6].min() - 1000


def test_the_means_are_computed_once_for_each_network(monkeypatch):
    learner, stream = learnt(2)
    calls, original = [], learner.update_means
    monkeypatch.setattr(learner, "update_means", lambda: calls.append(1) or original())
    evaluate(learner, stream, 2)
    assert not calls  # those of the end of the task are still right
    task = stream.task(2)
    learner.begin_task(task)
    for _, batch in zip(range(3), task.batches(1, 16), strict=False):
        learner.observe(batch)
    evaluate(learner, stream, 2)
    assert len(calls) == 1


@pytest.mark.parametrize("tasks", [0, 2])
def test_a_seed_with_features_that_are_not_finite_shows_with_and_without_exemplars(tasks):
    learner, stream = learnt(tasks)
    with torch.no_grad():
        next(learner.network.parameters())[1] = torch.inf
    inputs, _ = stream.gather(stream.scored(0)[0], scored=True)
    finite = learner.predict(inputs, None).isfinite().flatten(1).all(1)
    assert finite.tolist() == [True, False, True]


def test_a_memory_without_room_for_every_class_is_refused():
    stream = make_stream("class")
    with pytest.raises(InputError, match=r"9 samples is too small for 10 classes.*memory_total"):
        build(ICaRL, {"memory_total": 9}, stream)
    build(ICaRL, {"memory_total": 10}, stream)
