"""Synaptic intelligence against a loop over seeds, steps and weights in plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F

from trainables.learner import cross_entropy
from trainables.methods.si import SI
from trainables.rng import generator
from trainables.streams import Batch, StreamInfo
from trainables.testing import build, learn, make_stream

SEEDS = (3, 5, 8)
INPUTS, HIDDEN, OUTPUTS = 6, 5, 4
SHAPES = ((INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, OUTPUTS), (OUTPUTS,))
INFO = StreamInfo("toy", "class", inputs=INPUTS, outputs=OUTPUTS, scale=1 / 255, tasks=3)
OPTIMISERS = {
    "adam": {"lr": 0.1},
    "sgd": {"lr": 0.3, "optimiser": "sgd"},
    "momentum": {"lr": 0.1, "optimiser": "sgd", "momentum": 0.9},
}


@dataclass
class ToyTask:
    """The part of a task that a step uses; only some outputs compete in each seed."""

    free: bool = False
    mask: torch.Tensor = field(
        default_factory=lambda: torch.tensor([[[1, 1, 1, 0]], [[1, 1, 1, 1]], [[0, 1, 1, 1]]]) > 0
    )

    def loss_mask(self, labels):
        return self.mask


def toy_batch(step, count=7):
    draw = generator(step, "toy")
    inputs = torch.randint(256, (len(SEEDS), count, INPUTS), generator=draw).to(torch.uint8)
    return Batch(inputs, torch.randint(1, 3, (len(SEEDS), count), generator=draw), ToyTask())


def precise(**options):
    """Return a learner that computes in double precision, so that rounding hides nothing."""
    learner = SI(SI.Config.parse({"hidden": [HIDDEN], **options}), INFO, SEEDS)
    learner.network.double()
    learner.encode = lambda inputs: inputs.double() / 255
    for name in ("path", "importance", "anchor"):
        setattr(learner, name, [t.double() for t in getattr(learner, name)])
    return learner


class PlainSI:
    """One seed, one weight at a time; torch gives the gradient of the loss and nothing else."""

    def __init__(self, learner, position):
        self.config, self.position = learner.config, position
        self.theta = torch.cat([w[position].flatten() for w in learner.network.parameters()])
        self.theta = self.theta.tolist()
        self.omega, self.w, self.memory = ([0.0] * len(self.theta) for _ in range(3))
        self.second = [0.0] * len(self.theta)
        self.anchor, self.steps = list(self.theta), 0

    def gradient(self, batch):
        sizes = [math.prod(shape) for shape in SHAPES]
        pieces = torch.tensor(self.theta, dtype=torch.double).split(sizes)
        w1, b1, w2, b2 = (
            p.view(shape).requires_grad_() for p, shape in zip(pieces, SHAPES, strict=True)
        )
        x = batch.inputs[self.position].double() / 255
        logits = (x @ w1 + b1).relu() @ w2 + b2
        allowed = batch.task.mask[self.position, 0]
        labels = (allowed.cumsum(0) - 1)[batch.labels[self.position]]
        loss = F.cross_entropy(logits[:, allowed], labels)
        gradients = torch.autograd.grad(loss, (w1, b1, w2, b2))
        return loss.item(), torch.cat([g.flatten() for g in gradients]).tolist()

    def change(self, k, g):
        """What the optimiser adds to weight k."""
        lr = self.config.lr
        if self.config.optimiser == "sgd":
            self.memory[k] = self.config.momentum * self.memory[k] + g
            return -lr * self.memory[k]
        self.memory[k] = 0.9 * self.memory[k] + 0.1 * g
        self.second[k] = 0.999 * self.second[k] + 0.001 * g * g
        mean = self.memory[k] / (1 - 0.9**self.steps)
        return -lr * mean / (math.sqrt(self.second[k] / (1 - 0.999**self.steps)) + 1e-8)

    def step(self, batch):
        loss, gradient = self.gradient(batch)
        self.steps += 1
        for k, g in enumerate(gradient):
            distance = self.theta[k] - self.anchor[k]
            loss += self.config.c * self.omega[k] * distance**2
            change = self.change(k, g + 2 * self.config.c * self.omega[k] * distance)
            self.w[k] += -g * change
            self.theta[k] += change
        return loss

    def end_task(self):
        for k, (now, start) in enumerate(zip(self.theta, self.anchor, strict=True)):
            omega = self.omega[k] + self.w[k] / ((now - start) ** 2 + self.config.xi)
            self.omega[k] = max(0.0, omega)
            self.w[k], self.anchor[k] = 0.0, now


def rows(tensors):
    """Join the tensors of a stack, one row a seed."""
    return torch.cat([t.detach().flatten(1) for t in tensors], dim=1)


def assert_row(tensors, position, numbers):
    expected = torch.tensor(numbers, dtype=torch.double)
    torch.testing.assert_close(rows(tensors)[position], expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_learning_equals_a_loop_over_seeds_steps_and_weights(optimiser):
    learner = precise(c=0.8, xi=0.03, **OPTIMISERS[optimiser])
    plain = [PlainSI(learner, position) for position in range(len(SEEDS))]
    for task in range(3):
        for step in range(8):
            batch = toy_batch(100 * task + step)
            losses = [seed.step(batch) for seed in plain]
            found = learner.observe(batch)
            torch.testing.assert_close(found, torch.tensor(losses, dtype=torch.double))
        for position, seed in enumerate(plain):
            assert_row(learner.path, position, seed.w)
            seed.end_task()
        learner.end_task(batch.task)
        for position, seed in enumerate(plain):
            assert_row(learner.network.parameters(), position, seed.theta)
            assert_row(learner.importance, position, seed.omega)
            assert_row(learner.anchor, position, seed.anchor)
        assert not rows(learner.path).any()


@pytest.mark.parametrize(
    ("known", "path", "distance", "expected"),
    [
        (0.0, 0.6, 0.5, 0.6 / (0.25 + 0.05)),
        (0.7, 0.6, 0.5, 0.7 + 0.6 / (0.25 + 0.05)),
        (0.7, -0.06, -0.5, 0.7 - 0.06 / (0.25 + 0.05)),  # less important than thought
        (0.7, -0.6, 0.5, 0.0),  # cut off at zero
        (0.0, 0.1, 0.0, 0.1 / 0.05),
    ],
)
def test_importance_worked_out_by_hand(known, path, distance, expected):
    learner = precise(xi=0.05)
    for i, weight in enumerate(learner.network.parameters()):
        learner.importance[i] += known
        learner.path[i] += path
        learner.anchor[i] = weight.detach() - distance
    learner.end_task(ToyTask())
    for i, weight in enumerate(learner.network.parameters()):
        torch.testing.assert_close(
            learner.importance[i], torch.full_like(weight, expected).detach()
        )
        assert torch.equal(learner.anchor[i], weight)
        assert not learner.path[i].any()


def consolidated(**options):
    """Return a learner with importance and weights away from their anchor."""
    learner = precise(**options)
    for step in range(5):
        learner.observe(toy_batch(step))
    learner.end_task(ToyTask())
    draw = generator(0, "moved")
    with torch.no_grad():
        for weight in learner.network.parameters():
            weight += torch.randn(weight.shape, generator=draw).to(weight)
    return learner


def test_the_gradient_of_the_penalty_is_that_of_autograd():
    learner = consolidated()
    weights = list(learner.network.parameters())
    found, halves = learner.penalty()
    theirs = sum(
        (omega * (w - anchor) ** 2).flatten(1).sum(1)
        for omega, w, anchor in zip(learner.importance, weights, learner.anchor, strict=True)
    )
    assert (theirs > 0).all()
    torch.testing.assert_close(found, theirs.detach())
    for mine, other in zip(halves, torch.autograd.grad(theirs.sum(), weights), strict=True):
        torch.testing.assert_close(2 * mine, other)


def test_a_step_of_gradient_descent_follows_loss_and_penalty():
    """One SGD step of size 1 moves by the gradient of CE + c sum Omega (theta - theta*)^2."""
    learner = consolidated(c=3.0, optimiser="sgd", lr=1.0)
    weights, batch = list(learner.network.parameters()), toy_batch(50)
    loss = cross_entropy(
        learner.network(learner.encode(batch.inputs)), batch.labels, batch.task.mask
    )
    parts = zip(learner.importance, weights, learner.anchor, strict=True)
    whole = loss + 3.0 * sum((o * (w - a) ** 2).flatten(1).sum(1) for o, w, a in parts)
    gradients = torch.autograd.grad(whole.sum(), weights)
    before = [w.detach().clone() for w in weights]
    learner.observe(batch)
    for b, w, g in zip(before, weights, gradients, strict=True):
        torch.testing.assert_close(b - w.detach(), g)


def test_the_path_adds_up_to_what_the_loss_went_down():
    """Along small steps on one batch, sum_i w_i is the fall of the loss (Zenke et al., eq. 3)."""
    learner, batch = precise(optimiser="sgd", lr=1e-3), toy_batch(0)
    first = learner.observe(batch)
    for _ in range(499):
        learner.observe(batch)
    path = rows(learner.path).sum(1)
    fall = first - learner.observe(batch)
    assert (fall > 0.01).all()
    torch.testing.assert_close(path, fall, rtol=1e-2, atol=0)


def test_nothing_is_kept_in_the_first_task():
    one, other = precise(c=0.0), precise(c=1e6)
    for step in range(5):
        assert torch.equal(one.observe(toy_batch(step)), other.observe(toy_batch(step)))
    assert torch.equal(rows(one.network.parameters()), rows(other.network.parameters()))


@pytest.mark.parametrize(
    ("name", "strengths"),
    [
        ("split_mnist", {"task": 10.0, "domain": 5e4, "class": 5e3}),
        ("permuted_mnist", {"task": 10.0, "domain": 10.0, "class": 5.0}),
    ],
)
def test_published_strengths_are_those_of_stream_and_scenario(name, strengths):
    for scenario, c in strengths.items():
        assert SI.published(StreamInfo(name, scenario, 784, 10, 1 / 255, 5)) == {"c": c}


def test_a_stronger_penalty_moves_important_weights_less_and_forgets_less():
    quick = {"hidden": [32], "epochs": 3, "batch_size": 16, "lr": 3e-3}
    distances, kept = [], []
    for c in (0.0, 10.0, 1000.0):
        stream = make_stream("task")
        learner = build(SI, {**quick, "c": c}, stream)
        learn(learner, stream, 0, 1)
        start, important = rows(learner.anchor), rows(learner.importance)
        learn(learner, stream, 1, 3)
        moved = important * (rows(learner.network.parameters()) - start).square()
        distances.append(moved.sum(1) / important.sum(1))
        inputs, labels = stream.gather(stream.scored(0)[0], scored=True)
        logits = learner.predict(inputs, 0)[..., :2]
        kept.append((logits.argmax(-1) == labels).float().mean().item())
    assert (distances[0] > distances[1]).all()
    assert (distances[1] > distances[2]).all()
    assert kept[2] > kept[0]
