"""GDumb: its sampler against one sample at a time, its fits against a plain loop of torch's own."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from trainables import STREAMS, InputError, rng
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.engine.evaluation import evaluate
from trainables.memory import GreedyMemory
from trainables.methods.gdumb import GDumb, learning_rate
from trainables.nn.cutmix import cutmix
from trainables.rng import Draws, generator
from trainables.streams import Batch, StreamInfo
from trainables.testing import accuracies, build, learn, make_stream

SEEDS = (11, 12, 13)
CPU = torch.device("cpu")
TOY = StreamInfo("toy", "class", inputs=3, outputs=4, scale=1 / 255, tasks=2)
QUICK = {"hidden": [16], "memory_total": 50, "passes": 4, "fit_batch_size": 8}


# -- the sampler


def numbered(start, labels):
    """Return a batch whose samples tell their place in the stream and their seed's row."""
    labels = torch.as_tensor(labels)
    place = torch.arange(start, start + labels.shape[1]).expand(labels.shape)
    own = torch.arange(len(labels)).unsqueeze(1).expand(labels.shape)
    inputs = torch.stack([place // 256, place % 256, own], dim=2).to(torch.uint8)
    return Batch(inputs, labels, None)


def places(memory):
    """Read the place of each held sample in the stream, [S, M]."""
    inputs = memory.inputs[:, : len(memory)].long()
    return inputs[..., 0] * 256 + inputs[..., 1]


def fill(memory, labels, sizes):
    """Show a memory labels [S, N] in batches of these sizes."""
    start = 0
    for size in sizes:
        memory.observe(numbered(start, labels[:, start : start + size]))
        start += size
    return memory


def one_at_a_time(seed, capacity, labels):
    """Plain Python, with the numbers that the memory draws: what the largest class has too much
    goes, its greatest key; of classes of equal size, that of the greater key.
    """
    keys = Draws([seed], "arrivals", CPU).uniform(len(labels))[0].tolist()
    classes = {}
    for place, (key, label) in enumerate(zip(keys, labels, strict=True)):
        rows = classes.setdefault(label, [])
        rows.append((key, place))
        rows.sort()
        if sum(map(len, classes.values())) > capacity:
            max(classes.values(), key=lambda rows: (len(rows), rows[-1:])).pop()
    return {place for rows in classes.values() for _, place in rows}


@given(
    st.integers(1, 25),
    st.lists(st.integers(1, 30), max_size=10),
    st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
    st.integers(0, 5),
)
@settings(max_examples=150, deadline=None)
def test_inserting_a_batch_equals_inserting_one_at_a_time(capacity, sizes, seeds, salt):
    draw = generator(salt, "labels")
    # classes come one after the other, overlap, or are rare
    labels = (torch.rand(len(seeds), sum(sizes), generator=draw).pow(salt) * 4).long()
    labels = labels.clamp(max=3) if salt % 2 else labels.clamp(max=3).sort(1).values
    memory = fill(GreedyMemory(seeds, TOY, CPU, capacity), labels, sizes)
    assert len(memory) == min(sum(sizes), capacity)
    for row, seed in enumerate(seeds):
        held = places(memory)[row].tolist()
        assert len(set(held)) == len(held)
        assert set(held) == one_at_a_time(seed, capacity, labels[row].tolist())
        assert memory.labels[row, : len(held)].tolist() == labels[row, held].tolist()
        assert (memory.inputs[row, : len(held), 2] == row).all()
        keys = Draws([seed], "arrivals", CPU).uniform(max(sum(sizes), 1))[0]
        assert torch.equal(memory.keys[row, : len(held)], keys[held])


@given(st.lists(st.integers(0, 60), min_size=4, max_size=4), st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_classes_are_balanced_to_within_one_or_held_whole(sizes, capacity):
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(sizes)).expand(2, -1)
    batches = [9] * (sum(sizes) // 9) + [sum(sizes) % 9]
    memory = fill(GreedyMemory((3, 4), TOY, CPU, capacity), labels, [b for b in batches if b])
    assert memory.class_counts(4).sum(1).tolist() == [min(sum(sizes), capacity)] * 2
    for counts in memory.class_counts(4).tolist():
        shared = [held for held, size in zip(counts, sizes, strict=True) if held < size]
        assert max(counts) <= min(shared, default=60) + 1


def test_every_sample_of_a_class_is_equally_likely_to_be_held(monkeypatch):
    monkeypatch.setattr(rng, "BLOCK", 512)
    seeds, sizes, capacity = tuple(range(800)), [90, 40, 70], 21
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes)).expand(len(seeds), -1)
    memory = fill(GreedyMemory(seeds, TOY, CPU, capacity), labels, [10] * 20)
    assert (memory.class_counts(4)[:, :3] == 7).all()
    counts = torch.bincount(places(memory).flatten(), minlength=200).split(sizes)
    for observed, size in zip(counts, sizes, strict=True):
        share = 7 / size
        # without replacement within a seed: the variance of a count is n p (1 - p)
        expected = len(seeds) * share
        statistic = ((observed - expected).square() / (expected * (1 - share))).sum().item()
        assert 0.001 < stats.chi2.sf(statistic * (size - 1) / size, size - 1) < 0.999


def random_labels(stack, count):
    return torch.randint(4, (1, count), generator=generator(0, "labels")).expand(stack, -1)


@pytest.mark.parametrize("order", [(5,), (6, 5), (7, 5, 9)])
def test_a_memory_does_not_depend_on_its_stack(order):
    sizes = [13, 2, 30, 1]
    memory = fill(GreedyMemory(order, TOY, CPU, 10), random_labels(len(order), 46), sizes)
    alone = fill(GreedyMemory((5,), TOY, CPU, 10), random_labels(1, 46), sizes)
    assert torch.equal(places(memory)[order.index(5)], places(alone)[0])
    assert torch.equal(memory.sample(30)[1][order.index(5)], alone.sample(30)[1][0])


@pytest.mark.parametrize("sizes", [[], [3], [7, 7], [40]])
def test_footprint_counts_the_samples_held_with_labels_and_keys(sizes):
    memory = fill(GreedyMemory((1, 2), TOY, CPU, 10), random_labels(2, 40), sizes)
    assert memory.footprint()["memory"] == min(sum(sizes), 10) * (3 + 1 + 4)


@pytest.mark.parametrize("first", [[], [4], [8, 8]])
def test_a_memory_resumes_where_it_was(first):
    labels = random_labels(2, 60)
    memory, other = (GreedyMemory((1, 2), TOY, CPU, 10) for _ in range(2))
    fill(memory, labels, first)
    state = {k: v.clone() if torch.is_tensor(v) else v for k, v in memory.state().items()}
    other.load(state)
    for held in (memory, other):
        for start in range(sum(first), 50, 10):
            held.observe(numbered(start, labels[:, start : start + 10]))
    assert torch.equal(places(memory), places(other))
    assert torch.equal(memory.keys[:, :10], other.keys[:, :10])


def test_a_memory_in_bytes_counts_the_keys():
    stream = make_stream("class")
    learner = build(GDumb, {"memory_bytes": 10 * 69 + 68}, stream)
    assert learner.memory.capacity == 10
    with pytest.raises(InputError, match="memory_bytes = 68 is less than one sample"):
        build(GDumb, {"memory_bytes": 68}, stream)


# -- the schedule


def test_the_learning_rate_by_hand():
    half, quarter = 0.0005 + 0.0495 / 2, math.cos(math.pi / 4)
    high = 0.0005 + 0.0495 * (1 + quarter) / 2
    low = 0.0005 + 0.0495 * (1 - quarter) / 2
    expected = [0.005, 0.05, 0.05, half, 0.05, high, half, low, 0.05]
    assert [learning_rate(e, 0.05) for e in range(9)] == pytest.approx(expected)


def torch_schedule(optimiser, epochs):
    """Learning rates as the published code sets them: a warm-up, then torch's own schedule."""
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        optimiser, T_0=1, T_mult=2, eta_min=0.0005
    )
    [group] = optimiser.param_groups
    for epoch in range(epochs):
        if epoch == 0:
            group["lr"] = 0.005
        elif epoch == 1:
            group["lr"] = 0.05
        else:
            schedule.step()
        yield group["lr"]


@pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step")
def test_the_learning_rate_is_that_of_torch():
    rates = list(torch_schedule(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.05), 256))
    assert [learning_rate(e, 0.05) for e in range(256)] == pytest.approx(rates)
    assert rates[127] == min(rates[:128])  # 128 and 256 passes end low
    assert rates[255] == min(rates)


# -- the fit


def plain_network(learner, seed):
    """Copy one seed of a fresh network with torch's own layers."""
    fresh = learner.build_network().layers
    layers = []
    for layer in fresh:
        if isinstance(layer, nn.ReLU):
            layers.append(nn.ReLU())
            continue
        plain = nn.Linear(*layer.weight.shape[1:])
        plain.weight.data.copy_(layer.weight[seed].mT)
        plain.bias.data.copy_(layer.bias[seed, 0])
        layers.append(plain)
    return nn.Sequential(*layers)


def plain_fit(learner, seed, rivals):
    """Train on the memory of one seed, sample lists and torch's own tools only."""
    config, memory = learner.config, learner.memory
    network = plain_network(learner, seed)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    images = memory.inputs[seed, : len(memory)] / 16
    labels = memory.labels[seed, : len(memory)].long()
    named = learner.seeds[seed]
    for epoch, _ in enumerate(torch_schedule(optimiser, config.passes)):
        order = torch.randperm(len(memory), generator=generator(named, "fit", memory.seen, epoch))
        for rows in order.split(config.fit_batch_size):
            losses = []
            for logits, label in zip(network(images[rows]), labels[rows].tolist(), strict=True):
                allowed = rivals[label]
                losses.append(F.cross_entropy(logits[allowed], torch.tensor(allowed.index(label))))
            optimiser.zero_grad()
            torch.stack(losses).mean().backward()
            nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            optimiser.step()
    return network


@pytest.mark.parametrize("clip", [10.0, 0.3])
@pytest.mark.parametrize(
    ("scenario", "active"),
    [
        ("task", "all"),
        ("class", "all"),
        ("class", "seen"),
        ("class", "current"),
        ("domain", "all"),
        ("task_free", "all"),
    ],
)
def test_a_fit_equals_a_plain_loop(scenario, active, clip, digits):
    kind = STREAMS["split_digits"]
    options = kind.Options.parse({"active_classes": active})
    stream = kind(digits, scenario, SEEDS, "confirm", options)
    changes = {"clip": clip, "hidden": [16, 12], "passes": 6, "weight_decay": 0.01}
    learner = build(GDumb, QUICK | changes, stream)
    learn(learner, stream, 0, 2)
    outputs = 2 if scenario == "domain" else 10
    if scenario == "task" or active == "current":
        rivals = {c: [c - c % 2, c - c % 2 + 1] for c in range(4)}
    else:
        shown = list(range(4 if active == "seen" else outputs))
        rivals = dict.fromkeys(shown, shown)
    for seed in range(3):
        plain = plain_fit(learner, seed, rivals)
        layers = [layer for layer in plain if isinstance(layer, nn.Linear)]
        mine = [layer for layer in learner.network.layers if hasattr(layer, "weight")]
        for layer, found in zip(layers, mine, strict=True):
            torch.testing.assert_close(found.weight[seed].mT, layer.weight, rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(found.bias[seed, 0], layer.bias, rtol=1e-3, atol=1e-5)


def test_every_fit_begins_with_the_same_fresh_weights():
    stream = make_stream("class")
    learner = build(GDumb, QUICK | {"lr": 0.0}, stream)
    fresh = [w.detach().clone() for w in learner.network.parameters()]
    for index in range(2):
        learn(learner, stream, index, index + 1)
        assert all(map(torch.equal, learner.network.parameters(), fresh))


def test_a_fit_follows_every_change_of_the_memory_and_nothing_else():
    stream = make_stream("class")
    learner = build(GDumb, QUICK, stream)
    inputs, _ = stream.gather(stream.scored(0)[0], scored=True)
    trained = 0
    assert learner.trained == 0
    for index in range(2):
        for _, batch in zip(range(4), stream.task(index).batches(1, 16), strict=False):
            assert torch.equal(learner.observe(batch), torch.zeros(3))
            assert learner.trained == trained
            with torch.no_grad():
                first = learner.predict(inputs, None)
                trained += len(learner.memory) * 4
                assert torch.equal(learner.predict(inputs, None), first)
            assert learner.trained == trained


def test_testing_within_tasks_changes_nothing(digits):
    def course(every):
        options = QUICK | {"batch_size": 16}
        work = Assignment(
            "gdumb", options, "split_digits", "class", {}, "tune", SEEDS, evaluate_every=every
        )
        found = Course(work, SEEDS, digits)
        while not found.done:
            found.advance()
        return found.outcome()

    plain, watched = course(0), course(7)
    np.testing.assert_array_equal(plain.counts["main"], watched.counts["main"])
    assert watched.finite.all()
    assert (watched.trained > plain.trained).all()


def test_the_stream_is_passed_over_once():
    stream = make_stream("class")
    learner, seen = build(GDumb, QUICK, stream), 0
    for index in range(3):
        task = stream.task(index)
        learner.learn(task)
        seen += task.steps(128) * 128
        assert learner.memory.seen == seen


def test_more_epochs_are_refused():
    with pytest.raises(InputError, match="epochs = 5 is out of range; allowed: 1 to 1"):
        GDumb.Config.parse({"epochs": 5})


def test_more_memory_is_better():
    found = []
    for total in (20, 80, 320):
        stream = make_stream("class")
        learner = build(GDumb, QUICK | {"memory_total": total, "passes": 8}, stream)
        learn(learner, stream)
        found.append(accuracies(learner, stream, 5).mean().item())
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.8


def test_a_seed_whose_fit_diverges_is_marked_and_only_that_one():
    stream = make_stream("class")
    learner = build(GDumb, QUICK, stream)
    for _, batch in zip(range(3), stream.task(0).batches(1, 16), strict=False):
        learner.observe(batch)
    original = learner.build_network

    def overflowing():
        network = original()
        with torch.no_grad():
            network.layers[-1].weight[1] = 3e38
        return network

    learner.build_network = overflowing
    evaluate(learner, stream, 1)
    assert learner.losses.isfinite().tolist() == [True, False, True]
    assert (learner.losses[[0, 2]] == 0).all()


# -- photographs


def mixed_by_hand(images, shape, drawn, rate):
    """The published loop for one seed: images [B, D], numbers [4 + B]."""
    height, width = shape[:2]
    mixed = images.reshape(len(images), height, width, -1).copy()
    partners = np.argsort(drawn[4:])
    if drawn[0] >= rate:
        return mixed.reshape(images.shape), partners, 1.0
    lam = drawn[1]
    cut = np.sqrt(np.float32(1.0) - lam)
    tall, wide = int(height * cut), int(width * cut)
    y, x = int(drawn[2] * height), int(drawn[3] * width)
    top, bottom = np.clip([y - tall // 2, y + tall // 2], 0, height)
    left, right = np.clip([x - wide // 2, x + wide // 2], 0, width)
    other = mixed[partners]
    mixed[:, top:bottom, left:right] = other[:, top:bottom, left:right]
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed.reshape(images.shape), partners, share


@pytest.mark.parametrize("shape", [(8, 6, 3), (7, 9)])
def test_cutmix_equals_the_published_loop(shape):
    mixes = 0
    for trial in range(40):
        draw = generator(trial, "cutmix")
        images = torch.rand(3, 5, math.prod(shape), generator=draw)
        drawn = torch.rand(3, 9, generator=draw)
        found, partners, share = cutmix(images, shape, drawn, 0.5)
        for seed in range(3):
            by_hand = mixed_by_hand(images[seed].numpy(), shape, drawn[seed].numpy(), 0.5)
            np.testing.assert_array_equal(found[seed].numpy(), by_hand[0])
            np.testing.assert_array_equal(partners[seed].numpy(), by_hand[1])
            assert share[seed].item() == pytest.approx(by_hand[2], abs=1e-6)
            mixes += by_hand[2] < 1
    assert 30 < mixes < 75  # of 120: half are mixed, some of these with an empty box


def test_partners_are_a_shuffle_that_differs_from_batch_to_batch():
    drawn = torch.rand(50, 4 + 6, generator=generator(0, "cutmix"))
    _, partners, _ = cutmix(torch.zeros(50, 6, 12), (2, 2, 3), drawn, 1.0)
    assert (partners.sort(1).values == torch.arange(6)).all()
    assert len(set(map(tuple, partners.tolist()))) > 40


@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_of_a_mixed_batch_weighs_both_labels(masked):
    stream = make_stream("class")
    learner = build(GDumb, QUICK | {"cutmix": 1.0}, stream)
    draw = generator(0, "batch")
    images = torch.rand(3, 5, 64, generator=draw)
    labels = torch.randint(10, (3, 5), generator=draw)
    rivals = {c: [c - c % 2, c - c % 2 + 1] if masked else list(range(10)) for c in range(10)}
    if masked:
        learner._loss_mask = lambda given: given.unsqueeze(2) // 2 == torch.arange(10) // 2
    drawn = Draws(SEEDS, "test", CPU).uniform(9)
    learner._mixing = Draws(SEEDS, "test", CPU)
    found = learner._loss(images, labels)
    for seed in range(3):
        mixed, partners, share = mixed_by_hand(
            images[seed].numpy(), (8, 8), drawn[seed].numpy(), 1.0
        )
        logits = learner.network(torch.tensor(mixed).expand(3, -1, -1))[seed].tolist()
        expected = 0.0
        for n, row in enumerate(logits):
            for label, weight in (
                (labels[seed, n].item(), share),
                (labels[seed, partners[n]].item(), 1 - share),
            ):
                total = sum(math.exp(row[c]) for c in rivals[label])
                expected += weight * (math.log(total) - row[label]) / 5
        assert found[seed].item() == pytest.approx(expected, rel=1e-4)


def test_images_in_colour_are_passed_over_more_often_and_mixed():
    for name, expected in {
        "split_cifar10": {"passes": 256, "cutmix": 0.5},
        "split_mnist": {},
    }.items():
        kind = STREAMS[name]
        assert GDumb.published(kind.describe("class", kind.Options.parse({}))) == expected


def test_cutmix_needs_images():
    with pytest.raises(InputError, match="cutmix"):
        GDumb(GDumb.Config.parse({"cutmix": 0.5}), TOY, SEEDS)


def photographs():
    """A stream of three noisy colours, which is augmented."""
    draw, kind = np.random.default_rng(0), STREAMS["split_cifar10"]
    labels = np.repeat(np.arange(10, dtype=np.uint8), 20)
    images = draw.integers(0, 60, (200, 32, 32, 3), dtype=np.uint8)
    images[:, :16] += (20 * labels[:, None, None, None]).astype(np.uint8)
    return kind({"train": {"images": images, "labels": labels}}, "class", (5, 6), "tune")


def test_photographs_are_kept_as_they_are_and_seen_anew_in_every_pass(monkeypatch):
    stream = photographs()
    learner = build(GDumb, QUICK | {"passes": 3, "memory_total": 20}, stream)
    shown = []
    original = learner.encode
    monkeypatch.setattr(learner, "encode", lambda i: shown.append(i.clone()) or original(i))
    learn(learner, stream, 0, 2)
    known = {tuple(image) for image in stream.images[0].tolist()}
    assert {tuple(image) for image in learner.memory.inputs[0, :20].tolist()} <= known
    assert len(shown) == 6  # three passes a fit, two fits
    views = Counter(tuple(image) for epoch in shown for image in epoch[0].tolist())
    assert sum(image in known for image in views) <= 6  # a view that moves nothing: one in 162
    assert len(views) >= 110
