"""FSSG-Net against one seed in torch's own layers, and the properties its source promises."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainables import STREAMS
from trainables.engine.evaluation import evaluate
from trainables.methods.fssg import FSSG, Samples, distillation, weighted_mean
from trainables.nn import LayerNorm, Linear
from trainables.rng import generator
from trainables.streams.datasets import load
from trainables.testing import assert_same_state, build, learn

SEEDS = (11, 12)
OPTIONS = {
    "hidden": [12, 8],
    "slow_hidden": [10],
    "epochs": 2,
    "batch_size": 24,
    "memory_per_task": 30,
    "interval": 4,
    "replay_probability": 0.5,
}


def make(scenario="class", seeds=SEEDS, augmentation="none", **options):
    """Return a learner and its stream, of digits: the first two tasks have 239 and 240 samples."""
    kind = STREAMS["split_digits"]
    data, streamed = load("digits", Path()), kind.Options(augmentation=augmentation)
    stream = kind(data, scenario, seeds, "confirm", streamed)
    return build(FSSG, OPTIONS | options, stream), stream


def learnt(tasks=2, **options):
    learner, stream = make(**options)
    learn(learner, stream, 0, tasks)
    return learner


def weights(network):
    return [weight.detach().clone() for weight in network.parameters()]


def same(one, other):
    return all(map(torch.equal, one, other))


def watch(learner, monkeypatch, name):
    """Note what a method of a learner is given and what it returns."""
    calls, method = [], getattr(learner, name)

    def watched(*given):
        found = method(*given)
        calls.append((given, found))
        return found

    monkeypatch.setattr(learner, name, watched)
    return calls


# -- the networks
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "options", "fast", "slow"),
    [
        ("split_mnist", {}, 126_730, 252_298),
        ("split_cifar10", {}, 419_594, 838_026),
        ("split_mnist", {"gated": True, "hidden": [128, 64]}, 213_962, 252_298),
    ],
)
def test_networks_have_the_published_numbers_of_parameters(stream, options, fast, slow):
    kind = STREAMS[stream]
    learner = FSSG(FSSG.Config.parse(options), kind.describe("class", kind.Options()), SEEDS)
    for network, expected in ((learner.network, fast), (learner.slow, slow)):
        assert sum(weight[0].numel() for weight in network.parameters()) == expected
    assert learner.footprint()["parameters"] == 4 * (fast + slow)


@pytest.mark.parametrize("gated", [False, True])
def test_logits_stay_within_twenty_and_reach_it(gated):
    learner, stream = make(gated=gated, neurons=4, top_k=2)
    with torch.no_grad():
        for network in (learner.network, learner.slow.head):
            for weight in network.parameters():
                weight.mul_(30)
    inputs, _ = stream.gather(stream.scored(0)[0], scored=True)
    for logits in learner.readout_logits(inputs, None).values():
        assert logits.min() == -20
        assert logits.max() == 20


def test_readouts_are_the_slow_network_first_and_the_fast_one():
    learner = learnt()
    stream = make()[1]
    inputs, _ = stream.gather(stream.scored(1)[0], scored=True)
    found = learner.readout_logits(inputs, None)
    assert tuple(found) == learner.readouts == ("slow", "fast")
    encoded = (inputs.float() / 16 - 0.3053) / 0.3760
    summary = learner.network.features(encoded)
    fast = learner.network(encoded).clamp(-20, 20)
    slow = learner.slow(encoded, summary).clamp(-20, 20)
    torch.testing.assert_close(found["fast"], fast)
    torch.testing.assert_close(found["slow"], slow)
    assert torch.equal(learner.predict(inputs, None), found["slow"])
    assert learner.noise.position == learnt().noise.position, "testing draws for dropout"


def test_without_the_summary_the_slow_network_hears_nothing_of_the_fast_one():
    for summary in (True, False):
        learner, stream = make(summary=summary)
        inputs, _ = stream.gather(stream.scored(0)[0], scored=True)
        before = learner.predict(inputs, None)
        with torch.no_grad():
            for weight in learner.network.parameters():
                weight.add_(0.5)
        assert torch.equal(learner.predict(inputs, None), before) == (not summary)


# -- distillation
# ------------------------------------------------------------------------------------------


def logits_of(name, *shape):
    return torch.randn(*shape, dtype=torch.double, generator=generator(0, name)) * 4


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0, 6.0])
def test_distillation_equals_torchs_divergence(tau):
    student, teacher = logits_of("student", 3, 5, 7), logits_of("teacher", 3, 5, 7)
    log_q, p = (student / tau).log_softmax(-1), (teacher / tau).softmax(-1)
    expected = tau**2 * F.kl_div(log_q, p, reduction="none").sum(-1)
    torch.testing.assert_close(distillation(student, teacher, tau), expected)
    zeros = torch.zeros(3, 5, dtype=torch.double)
    torch.testing.assert_close(distillation(teacher, teacher, tau), zeros, rtol=0, atol=1e-12)


@given(st.floats(0.2, 20), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_the_gradient_of_distillation_is_tau_times_the_difference_of_probabilities(tau, draw):
    student = logits_of(f"student{draw}", 2, 5, 7).requires_grad_()
    teacher = logits_of(f"teacher{draw}", 2, 5, 7)
    distillation(student, teacher, tau).sum().backward()
    expected = tau * ((student / tau).softmax(-1) - (teacher / tau).softmax(-1))
    torch.testing.assert_close(student.grad, expected.detach())


def slow_step_inputs(learner, stream):
    batch = next(iter(stream.task(0).batches(1, 24)))
    inputs = learner.encode(batch.inputs)
    logits, summary = learner.fast(inputs)
    return inputs, batch.labels, logits.detach(), summary


@pytest.mark.parametrize(
    ("lam", "labels_count", "teacher_counts"),
    [(0.0, True, False), (0.3, True, True), (1.0, False, True)],
)
@pytest.mark.parametrize("scenario", ["class", "task"])
def test_labels_and_teacher_count_by_their_shares(scenario, lam, labels_count, teacher_counts):
    found = []
    for change in ("nothing", "labels", "teacher"):
        learner, stream = make(scenario)
        inputs, labels, teacher, summary = slow_step_inputs(learner, stream)
        mask = stream.task(0).loss_mask(labels)
        if change == "labels":
            labels = 1 - labels
        if change == "teacher":
            teacher = teacher.flip(1)
        teacher = learner.masked(teacher, mask)
        learner.slow_step(Samples(inputs, labels, None, mask), teacher, summary, lam)
        found.append(weights(learner.slow))
    assert same(found[0], found[1]) == (not labels_count)
    assert same(found[0], found[2]) == (not teacher_counts)


def test_a_student_that_equals_its_teacher_learns_nothing_from_it():
    learner, stream = make(dropout=0.0, grad_clip=0.0)
    inputs, labels, _, summary = slow_step_inputs(learner, stream)
    teacher = learner.slow_logits(inputs, summary).detach()
    loss = learner.slow_step(Samples(inputs, labels, None, None), teacher, summary, 1.0)
    torch.testing.assert_close(loss, torch.zeros(2), rtol=0, atol=1e-5)
    assert all(weight.grad.abs().max() < 1e-6 for weight in learner.slow.parameters())


def test_samples_of_no_weight_do_not_count_in_the_mean():
    losses = torch.tensor([[1.0, 2.0, 9.0], [1.0, 2.0, 9.0]])
    weight = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    assert weighted_mean(losses, weight).tolist() == [1.5, 4.0]
    assert weighted_mean(losses, None).tolist() == [4.0, 4.0]


# -- what the slow network may not do
# ----------------------------------------------------------------------

SLOW_ONLY = [
    {"lam_task": 0.9},
    {"lam_consolidation": 0.7},
    {"consolidation_epochs": 0},
    {"consolidation_epochs": 5},
    {"tau": 5.0, "dropout": 0.0, "lr_slow": 0.1, "slow_hidden": [20, 6], "summary": False},
]


@pytest.mark.parametrize("augmentation", ["none", "crop_flip"])
@pytest.mark.parametrize("balanced_replay", [True, False])
def test_the_fast_network_learns_the_same_whatever_the_slow_one_does(balanced_replay, augmentation):
    usual = {"balanced_replay": balanced_replay, "augmentation": augmentation}
    reference = learnt(3, **usual)
    for options in SLOW_ONLY:
        learner = learnt(3, **usual, **options)
        assert same(weights(learner.network), weights(reference.network)), options
        assert_same_state(learner.optimiser.state_dict(), reference.optimiser.state_dict())
        changed = weights(learner.slow), weights(reference.slow)
        assert changed[0][0].shape != changed[1][0].shape or not same(*changed)


def test_nothing_flows_back_through_the_summary():
    learner, stream = make()
    inputs, _, _, summary = slow_step_inputs(learner, stream)
    assert summary.requires_grad
    learner.slow_logits(inputs, summary).square().sum().backward()
    assert all(weight.grad is None for weight in learner.network.parameters())
    assert all(weight.grad is not None for weight in learner.slow.parameters())


@pytest.mark.parametrize("lam_consolidation", [0.0, 0.5])
def test_consolidation_changes_the_slow_network_only(lam_consolidation, monkeypatch):
    learner, stream = make(lam_consolidation=lam_consolidation)
    learn(learner, stream, 0, 1)
    learner.begin_task(task := stream.task(1))
    for batch in task.batches(1, 24):
        learner.observe(batch)
    learner.optimiser.zero_grad()
    fast, slow = weights(learner.network), weights(learner.slow)
    learner.end_task(task)
    assert same(weights(learner.network), fast)
    assert all(weight.grad is None for weight in learner.network.parameters())
    assert not any(map(torch.equal, weights(learner.slow), slow))


# 30 samples a task; batches of 24
@pytest.mark.parametrize(("epochs", "expected"), [(0, [0, 0, 0]), (1, [2, 3, 4]), (3, [6, 9, 12])])
def test_consolidation_passes_over_the_memory_so_often(epochs, expected, monkeypatch):
    learner, stream = make(consolidation_epochs=epochs)
    calls, steps = watch(learner, monkeypatch, "consolidate"), []
    for index in range(3):
        before = len(calls)
        learner.begin_task(task := stream.task(index))
        slow = weights(learner.slow)
        learner.end_task(task)
        steps.append(len(calls) - before)
        assert same(weights(learner.slow), slow) == (epochs == 0)
    assert steps == expected


def test_consolidation_is_balanced_over_all_tasks_with_the_finished_one(monkeypatch):
    learner, stream = make(balanced_replay=True, batch_size=64)
    calls = watch(learner, monkeypatch, "remembered")
    expected = [[30, 0, 0], [30, 30, 0], [22, 21, 21]]
    for index in range(3):
        calls.clear()
        learner.begin_task(task := stream.task(index))
        learner.end_task(task)
        assert len(calls) == 2 * -(-30 * (index + 1) // 64)
        for (size,), (_, labels) in calls:
            assert size == 64
            for row in labels.tolist():
                count = Counter(label // 2 for label in row[: sum(expected[index])])
                assert [count[task] for task in range(3)] == expected[index]


@pytest.mark.parametrize("balanced", [True, False])
def test_tasks_are_replayed_evenly_or_as_they_come(balanced):
    learner = learnt(3, balanced_replay=balanced)
    start = learner.memory.draws.position
    labels = learner.remembered(24)[1]
    learner.memory.draws.position = start
    slots = learner.memory.draw_evenly(24) if balanced else learner.memory.draw(24)
    assert torch.equal(labels, slots // 30 * 2 + labels % 2)
    counts = [torch.bincount(row // 2, minlength=3).tolist() for row in labels]
    assert (counts == [[8, 8, 8]] * 2) == balanced


# -- when the slow network learns, and what is replayed
# --------------------------------------------------


@pytest.mark.parametrize("interval", [1, 3, 4, 7, 10, 50])
def test_the_slow_network_learns_at_every_so_manyeth_step_of_an_epoch(interval, monkeypatch):
    learner, stream = make(interval=interval, consolidation_epochs=0)
    slow, seen = watch(learner, monkeypatch, "slow_step"), []
    observe = learner.observe

    def step(batch):
        before = len(slow)
        loss = observe(batch)
        seen.append(len(slow) - before)
        return loss

    monkeypatch.setattr(learner, "observe", step)
    learn(learner, stream, 0, 2)
    assert seen == [int(b % interval == 0) for _ in range(2 * 2) for b in range(10)]


def test_whether_a_step_replays_is_known_before_and_takes_a_byte():
    learner, stream = make(epochs=10_000)
    task, seeds = stream.task(1), learner.seeds
    learner.begin_task(task)
    steps = 10_000 * task.steps(24)
    drawn = torch.stack([torch.rand(steps, generator=generator(s, "replay", 1)) for s in seeds])
    assert torch.equal(learner.replays, drawn < 0.5)
    assert learner.replays.element_size() == 1
    assert isinstance(learner.any_replays, bytes)
    assert list(learner.any_replays) == (drawn < 0.5).any(0).tolist()


def test_replay_begins_after_the_first_task_and_shows_finished_tasks_only(monkeypatch):
    learner, stream = make(replay_ratio=0.75, interval=1)
    calls = watch(learner, monkeypatch, "with_replay")
    for index in range(4):
        calls.clear()
        learn(learner, stream, index, index + 1)
        kept = [
            {image.numpy().tobytes() for image in seed[: 30 * index]}
            for seed in learner.memory.inputs
        ]
        assert len(calls) == 2 * stream.task(index).steps(24)
        for (batch, _, _), (inputs, labels, weight) in calls:
            assert torch.equal(inputs[:, :24], batch.inputs)
            assert torch.equal(labels[:, :24], batch.labels)
            if index == 0:
                assert weight is None
                assert inputs.shape[1] == 24
                continue
            assert inputs.shape[1] == labels.shape[1] == weight.shape[1] == 24 + 18
            assert labels[:, 24:].max() < 2 * index
            for images, own in zip(inputs[:, 24:], kept, strict=True):
                assert {image.numpy().tobytes() for image in images} <= own


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_each_seed_replays_in_steps_of_its_own(probability, monkeypatch):
    learner, stream = make(replay_probability=probability, seeds=(1, 2, 3), interval=1)
    learn(learner, stream, 0, 1)
    calls = watch(learner, monkeypatch, "with_replay")
    learn(learner, stream, 1, 2)
    if probability == 0:
        assert all(weight is None for _, (_, _, weight) in calls)
        return
    found = torch.stack([weight for _, (_, _, weight) in calls], 1)  # [S, steps, B]
    assert (found[:, :, :24] == 1).all()
    replays = found[:, :, 24:]
    assert (replays == replays[:, :, :1]).all()
    for row, seed in zip(replays[:, :, 0], (1, 2, 3), strict=True):
        drawn = torch.rand(20, generator=generator(seed, "replay", 1))
        assert torch.equal(row, (drawn < probability).float())


def test_a_batch_stays_as_it_is_where_no_seed_replays(monkeypatch):
    """Nothing is spared otherwise: the slow network and its dropout see equal numbers anyway."""
    learner, stream = make(seeds=(1,))
    learn(learner, stream, 0, 1)
    calls = watch(learner, monkeypatch, "with_replay")
    learn(learner, stream, 1, 2)
    drawn = torch.rand(20, generator=generator(1, "replay", 1)) < 0.5
    shown = [inputs.shape[1] for _, (inputs, _, _) in calls]
    slow_turns = [step % 10 % 4 == 0 for step in range(20)]
    expected = [48 if r or s else 24 for r, s in zip(drawn, slow_turns, strict=True)]
    assert shown == expected
    assert set(expected) == {24, 48}


def test_samples_are_counted_with_what_is_replayed_on_average():
    learner, stream = make(replay_probability=0.25, replay_ratio=0.5)
    learn(learner, stream, 0, 1)
    assert learner.trained == 20 * 24 + 2 * 2 * 24  # 30 samples: two steps a pass
    learn(learner, stream, 1, 2)
    assert learner.trained == 20 * 24 + 4 * 24 + 20 * (24 + 3) + 2 * 3 * 24


def test_samples_of_a_finished_task_are_stored():
    learner, stream = make()
    for index in range(3):
        learn(learner, stream, index, index + 1)
        assert learner.memory.shares == [30] * (index + 1)
        labels = learner.memory.labels.view(2, -1, 30).tolist()
        assert all(
            {label // 2 for label in block} == {task}
            for seed in labels
            for task, block in enumerate(seed)
        )
        found = learner.diagnose()["memory_classes"]
        assert sum(found[f"class {c}"] for c in range(10)).tolist() == [30 * (index + 1)] * 2


# -- whole runs
# ------------------------------------------------------------------------------------------


def plain_network(network, seed):
    """Copy one seed of a network of torch's own layers."""
    layers = []
    for layer in network.layers:
        if isinstance(layer, Linear):
            plain = nn.Linear(*layer.weight.shape[1:])
            plain.weight.data = layer.weight[seed].mT.detach().clone()
        elif isinstance(layer, LayerNorm):
            plain = nn.LayerNorm(layer.weight.shape[-1])
            plain.weight.data = layer.weight[seed, 0].detach().clone()
        else:
            layers += [nn.ReLU()] if isinstance(layer, nn.ReLU) else []
            continue
        plain.bias.data = layer.bias[seed, 0].detach().clone()
        layers.append(plain)
    return nn.Sequential(*layers).double()


class Plain:
    """FSSG-Net of one seed as its source has it, in torch's own layers.

    Which samples are drawn is not its business: it takes those that the stack drew.
    """

    def __init__(self, learner, place):
        self.config, self.seed = learner.config, learner.seeds[place]
        self.fast, self.slow = (
            plain_network(n, place) for n in (learner.network, learner.slow.head)
        )
        self.opt1 = torch.optim.Adam(self.fast.parameters(), lr=self.config.lr)
        self.opt2 = torch.optim.Adam(self.slow.parameters(), lr=self.config.lr_slow)
        self.task_scenario = learner.stream.scenario == "task"
        self.clipped = []

    def forward(self, x):
        summary = self.fast[:-1](x)
        return self.fast[-1](summary).clamp(-20, 20), summary

    def rivals(self, logits, labels):
        """Where only the outputs of a label's own task compete: these, and the label's place."""
        if not self.task_scenario:
            return logits, labels
        first = (labels - labels % 2).unsqueeze(1)
        return logits.gather(1, torch.cat([first, first + 1], 1)), labels % 2

    def cross_entropy(self, logits, labels):
        return F.cross_entropy(*self.rivals(logits, labels))

    def step(self, loss, network, optimiser):
        optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.config.grad_clip)
        self.clipped.append(bool(norm > self.config.grad_clip))
        optimiser.step()
        return loss.item()

    def learn_slow(self, x, y, teacher, summary, lam):
        tau = self.config.tau
        logits = self.slow(torch.cat([x, summary.detach()], 1)).clamp(-20, 20)
        student, teacher = self.rivals(logits, y)[0], self.rivals(teacher.detach(), y)[0]
        log_q, p = F.log_softmax(student / tau, 1), F.softmax(teacher / tau, 1)
        divergence = F.kl_div(log_q, p, reduction="batchmean")
        loss = (1 - lam) * self.cross_entropy(logits, y) + lam * tau**2 * divergence
        return self.step(loss, self.slow, self.opt2)

    def observe(self, b, x, y, replay):
        """One step of an epoch, its b-th."""
        if replay is not None:
            x, y = torch.cat([x, replay[0]]), torch.cat([y, replay[1]])
        logits, summary = self.forward(x)
        total = self.step(self.cross_entropy(logits, y), self.fast, self.opt1)
        if b % self.config.interval == 0:
            total += self.learn_slow(x, y, logits, summary, self.config.lam_task)
        return total

    def consolidate(self, x, y):
        with torch.no_grad():
            logits, summary = self.forward(x)
        self.learn_slow(x, y, logits, summary, self.config.lam_consolidation)


def encoded(images):
    return (images.double() / 16 - 0.3053) / 0.3760


def run_plainly(one, place, batches, losses, drawn):
    """Let one seed learn two tasks; ``drawn`` are what the stack drew, in order."""
    drawn = iter(drawn)
    for index in range(2):
        replays = torch.rand(20, generator=generator(one.seed, "replay", index)) < 0.5
        for step, batch in enumerate(batches[index]):
            replay = None
            if index > 0:  # drawn in every step, used in some
                images, labels = next(drawn)
                replay = (encoded(images[place]), labels[place]) if replays[step] else None
            x, y = encoded(batch.inputs[place]), batch.labels[place]
            found = one.observe(step % 10, x, y, replay)
            assert losses[index][step][place].item() == pytest.approx(found, rel=1e-6), (
                index,
                step,
            )
        for _ in range(2 * -(-30 * (index + 1) // 24)):
            images, labels = next(drawn)
            one.consolidate(encoded(images[place]), labels[place])
    assert next(drawn, None) is None


@pytest.mark.parametrize("scenario", ["class", "task", "domain"])
@pytest.mark.parametrize("interval", [1, 4])
def test_two_tasks_equal_those_of_one_seed_in_plain_torch(interval, scenario, monkeypatch):
    options = {"hidden": [12, 8], "lam_task": 0.3, "lam_consolidation": 0.4, "dropout": 0.0}
    rates = {"lr": 3e-3, "lr_slow": 2e-3, "tau": 1.5, "grad_clip": 1.5}
    learner, stream = make(scenario, interval=interval, **options, **rates)
    for network in (learner.network, learner.slow.head):
        network.double()
    some = next(iter(stream.task(0).batches(1, 24))).inputs
    torch.testing.assert_close(learner.encode(some).double(), encoded(some), rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(learner, "encode", encoded)
    plain = [Plain(learner, place) for place in range(len(SEEDS))]
    drawn = watch(learner, monkeypatch, "remembered")
    steps = watch(learner, monkeypatch, "observe")
    batches, losses = [], []
    for index in range(2):
        steps.clear()
        learn(learner, stream, index, index + 1)
        batches.append([batch for (batch,), _ in steps])
        losses.append([loss for _, loss in steps])
    for place, one in enumerate(plain):
        run_plainly(one, place, batches, losses, [found for _, found in drawn])
        assert {True, False} <= set(one.clipped)
        for mine, theirs in ((learner.network, one.fast), (learner.slow.head, one.slow)):
            expected = plain_network(mine, place)
            for weight, other in zip(expected.parameters(), theirs.parameters(), strict=True):
                torch.testing.assert_close(weight, other, rtol=1e-6, atol=1e-8)


def test_without_clipping_steps_are_as_long_as_they_are(monkeypatch):
    (free, stream), (short, _) = (make(grad_clip=limit) for limit in (0.0, 1e-3))
    batch = next(iter(stream.task(0).batches(1, 24)))
    for learner in (free, short):
        learner.begin_task(batch.task)
        learner.observe(batch)
    norms = [
        [torch.cat([w.grad[s].flatten() for w in n.parameters()]).norm().item() for s in (0, 1)]
        for n in (free.network, free.slow, short.network, short.slow)
    ]
    assert min(norms[0] + norms[1]) > 0.1
    assert norms[2] + norms[3] == pytest.approx([1e-3] * 4, rel=1e-2)


# -- stacks
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", ["none", "crop_flip"])
@pytest.mark.parametrize("balanced_replay", [True, False])
def test_a_seed_draws_as_many_numbers_in_any_stack(balanced_replay, augmentation):
    options = {"replay_probability": 0.2, "dropout": 0.3, "balanced_replay": balanced_replay}
    options |= {"augmentation": augmentation, "interval": 3}
    together, stream = make(seeds=(11, 12, 13), **options)
    learn(together, stream, 0, 3)
    for stack in ((12,), (13, 12)):
        learner, own = make(seeds=stack, **options)
        learn(learner, own, 0, 3)
        for position in (
            lambda found: found.memory.draws.position,
            lambda found: found.memory.views.draws.position,
            lambda found: found.noise.position,
        ):
            assert position(learner) == position(together)
        assert (learner.memory.views.draws.position > 0) == (augmentation != "none")
        assert learner.noise.position > 0
        place = stack.index(12)
        assert torch.equal(learner.memory.inputs[place], together.memory.inputs[1])
        for network in ("network", "slow"):
            found = (weights(getattr(held, network)) for held in (learner, together))
            pairs = zip(*found, strict=True)
            for mine, theirs in pairs:
                torch.testing.assert_close(mine[place], theirs[1], rtol=1e-3, atol=1e-4)


# -- real data
# -----------------------------------------------------------------------------------------


def test_without_replay_and_consolidation_old_tasks_of_mnist_are_forgotten(mnist):
    stream = STREAMS["split_mnist"](mnist, "class", (1,), "confirm")
    alone = {"replay_probability": 0.0, "consolidation_epochs": 0, "lam_task": 0.0}
    learner = build(FSSG, {"epochs": 1, "interval": 4, **alone}, stream)
    learn(learner, stream)
    for counts in evaluate(learner, stream, 5).counts.values():
        right = counts.diagonal(dim1=2, dim2=3).sum(-1) / counts.sum((2, 3))
        assert (right[0, :4] <= 0.02).all()
        assert right[0, 4] > 0.9
