"""Elastic weight consolidation against loops over samples, labels and tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainables.learner import cross_entropy
from trainables.methods import ewc
from trainables.methods.ewc import EWC
from trainables.nn import MLP, LayerNorm, Linear
from trainables.nn.fisher import fisher_sum
from trainables.rng import generator
from trainables.streams import Batch, StreamInfo
from trainables.testing import build, learn, make_stream

SEEDS = (3, 5, 8)
INPUTS, OUTPUTS = 6, 4
INFO = StreamInfo("toy", "class", inputs=INPUTS, outputs=OUTPUTS, scale=1 / 255, tasks=3)


@dataclass
class ToyTask:
    """The part of a task that consolidation uses, over samples given once."""

    batch: Batch
    mask: torch.Tensor | None = None
    asked: int = 0

    @property
    def size(self):
        return self.batch.labels.shape[1]

    def sample(self, count, name):
        self.asked = count
        return Batch(self.batch.inputs[:, :count], self.batch.labels[:, :count], None)

    def loss_mask(self, labels):
        """The one mask of all samples, or of each sample whose number is its label."""
        if self.mask is None or self.mask.shape[1] == 1:
            return self.mask
        return self.mask.gather(1, labels.unsqueeze(2).expand(-1, -1, OUTPUTS))


def toy_batch(count=11, name="inputs"):
    draw = generator(0, name)
    inputs = torch.randint(256, (len(SEEDS), count, INPUTS), generator=draw).to(torch.uint8)
    return Batch(inputs, torch.randint(OUTPUTS, (len(SEEDS), count), generator=draw), None)


def toy_learner(**options):
    values = {"hidden": [5], "lam": 3.0, **options}
    return EWC(EWC.Config.parse(values), INFO, SEEDS)


def masks(count=11):
    """Give each mask a name: none, one for the whole batch, one for each sample."""
    whole = torch.tensor([[[1, 1, 0, 0]], [[0, 1, 1, 0]], [[1, 0, 1, 1]]]).bool()
    each = torch.randint(2, (len(SEEDS), count, OUTPUTS), generator=generator(1, "mask")).bool()
    each[..., 1] = True
    return {"all": None, "batch": whole, "sample": each}


def single(network, seed):
    """Copy one seed of a network of torch's own layers."""
    layers = []
    for layer in network.layers:
        if isinstance(layer, Linear):
            plain = nn.Linear(*layer.weight.shape[1:]).double()
            plain.weight.data.copy_(layer.weight[seed].mT)
        elif isinstance(layer, LayerNorm):
            plain = nn.LayerNorm(layer.weight.shape[-1]).double()
            plain.weight.data.copy_(layer.weight[seed, 0])
        else:
            layers.append(nn.ReLU())
            continue
        plain.bias.data.copy_(layer.bias[seed, 0])
        layers.append(plain)
    return nn.Sequential(*layers)


def brute_force(network, inputs, mask):
    """Sum p (d log p / d theta)^2 over samples and labels, in the shapes of the stack."""
    totals = [torch.zeros_like(p, dtype=torch.double) for p in network.parameters()]
    for seed in range(len(SEEDS)):
        plain = single(network, seed)
        for n in range(inputs.shape[1]):
            logits = plain(inputs[seed, n].double())
            allowed = torch.arange(OUTPUTS)
            if mask is not None:
                allowed = allowed[mask[seed, n if mask.shape[1] > 1 else 0]]
            log_p = logits[allowed].log_softmax(0)
            for value in log_p:
                gradients = torch.autograd.grad(value, list(plain.parameters()), retain_graph=True)
                for total, gradient in zip(totals, gradients, strict=True):
                    square = value.detach().exp() * gradient.square()
                    total[seed] += square.mT if square.dim() == 2 else square
    return totals


def moved(network, name="moved"):
    """Move every parameter at random, normalisation included."""
    draw = generator(0, name)
    with torch.no_grad():
        for weight in network.parameters():
            weight += torch.randn(weight.shape, generator=draw).to(weight) * 0.5
    return network


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("hidden", [(), (5, 4)])
@pytest.mark.parametrize("mask", masks())
def test_fisher_sum_equals_a_loop_over_samples_and_labels(mask, hidden, layer_norm):
    draws = [generator(s, "weights") for s in SEEDS]
    network = moved(MLP(INPUTS, hidden, OUTPUTS, draws, layer_norm).double())
    inputs = torch.randn(3, 11, INPUTS, dtype=torch.double, generator=generator(0, "inputs"))
    found = fisher_sum(network, inputs, masks()[mask])
    for mine, theirs in zip(found, brute_force(network, inputs, masks()[mask]), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("mask", masks())
def test_fisher_information_is_the_mean_over_samples_in_chunks_of_any_size(mask, monkeypatch):
    monkeypatch.setattr(ewc, "samples_at_once", lambda network: 4)
    learner, numbers = toy_learner(layer_norm=True), torch.arange(11).expand(3, -1)
    task = ToyTask(replace(toy_batch(), labels=numbers), masks()[mask])
    moved(learner.network)
    expected = brute_force(learner.network, task.batch.inputs / 255, task.mask)
    for mine, theirs in zip(learner.fisher(task), expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs / task.size, rtol=1e-4, atol=1e-7)


def test_fisher_information_does_not_look_at_the_labels_of_the_data():
    learner, batch = toy_learner(), toy_batch()
    other = Batch(batch.inputs, (batch.labels + 1) % OUTPUTS, None)
    for mine, theirs in zip(
        learner.fisher(ToyTask(batch)), learner.fisher(ToyTask(other)), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_an_impossible_label_adds_nothing():
    """Log-probabilities of -1000 have no weight and must not become NaN."""
    network = MLP(INPUTS, (), OUTPUTS, [generator(s, "weights") for s in SEEDS])
    with torch.no_grad():
        network.layers[-1].bias[..., 0] = 1000.0
    found = fisher_sum(network, torch.randn(3, 4, INPUTS, generator=generator(0, "inputs")))
    assert all((f == 0).all() for f in found)


@pytest.mark.parametrize(("wanted", "asked"), [(None, 11), (4, 4), (11, 11), (500, 11)])
def test_fisher_samples_limits_the_samples(wanted, asked):
    learner, task = toy_learner(fisher_samples=wanted), ToyTask(toy_batch())
    found = learner.fisher(task)
    assert task.asked == asked
    expected = brute_force(learner.network, task.batch.inputs[:, :asked] / 255, None)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs / asked, rtol=1e-4, atol=1e-7)


def consolidated(monkeypatch, dtype=torch.double, **options):
    """Let a learner finish three tasks; return it, their Fisher information and weights."""
    learner = toy_learner(**options)
    learner.network.to(dtype)
    for name in ("precision", "centre"):
        setattr(learner, name, [t.to(dtype) for t in getattr(learner, name)])
    fishers, weights = [], []
    for task in range(3):
        moved(learner.network, f"task{task}")
        draw = generator(task, "fisher")
        fisher = [
            torch.rand(w.shape, generator=draw).to(dtype) for w in learner.network.parameters()
        ]
        # some weights matter to no task yet, some only to later ones
        fisher = [torch.where(f < 0.3, 0.0, f) * (task > 0 or 1e-6) for f in fisher]
        fisher[0][:, 0] = 0.0
        fishers.append(fisher)
        weights.append([w.detach().clone() for w in learner.network.parameters()])
        monkeypatch.setattr(learner, "fisher", lambda task, f=fisher: [t.clone() for t in f])
        learner.end_task(None)
    moved(learner.network, "after")
    return learner, fishers, weights


def penalty_gradients(learner, penalty):
    return torch.autograd.grad(penalty.sum(), list(learner.network.parameters()))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.double, 1e-12), (torch.float32, 1e-5)])
def test_the_merged_parabola_has_the_gradient_of_the_sum_over_tasks(dtype, tolerance, monkeypatch):
    learner, fishers, weights = consolidated(monkeypatch, dtype)
    found = penalty_gradients(learner, learner.penalty())
    for i, (mine, now) in enumerate(zip(found, learner.network.parameters(), strict=True)):
        theirs = sum(
            2 * f[i].double() * (now.detach().double() - w[i].double())
            for f, w in zip(fishers, weights, strict=True)
        )
        torch.testing.assert_close(mine.double(), theirs, rtol=tolerance, atol=tolerance)


def test_the_merged_parabola_differs_from_the_sum_by_a_constant(monkeypatch):
    learner, fishers, weights = consolidated(monkeypatch)

    def separate():
        now = list(learner.network.parameters())
        return sum(
            (f * (n - w).square()).flatten(1).sum(1)
            for task, anchors in zip(fishers, weights, strict=True)
            for f, n, w in zip(task, now, anchors, strict=True)
        )

    first = separate() - learner.penalty()
    moved(learner.network, "again")
    torch.testing.assert_close(separate() - learner.penalty(), first)


@pytest.mark.parametrize("gamma", [0.0, 0.7, 1.0])
def test_online_decays_the_information_and_follows_the_weights(gamma, monkeypatch):
    learner, fishers, weights = consolidated(monkeypatch, online=True, gamma=gamma)
    for i, (precision, centre) in enumerate(zip(learner.precision, learner.centre, strict=True)):
        expected = gamma**2 * fishers[0][i] + gamma * fishers[1][i] + fishers[2][i]
        torch.testing.assert_close(precision, expected)
        assert torch.equal(centre, weights[2][i])


def test_gamma_has_no_part_in_separate_penalties(monkeypatch):
    one, _, _ = consolidated(monkeypatch, gamma=0.5)
    other, _, _ = consolidated(monkeypatch)
    assert all(map(torch.equal, one.precision, other.precision))


def test_the_loss_is_cross_entropy_plus_half_lam_times_the_penalty():
    learner, task = toy_learner(lam=50.0), ToyTask(toy_batch())
    batch = Batch(task.batch.inputs, task.batch.labels, task)
    plain = cross_entropy(learner.network(batch.inputs / 255), batch.labels).detach()
    torch.testing.assert_close(learner.observe(batch), plain)  # nothing to keep before a task ends
    learner.end_task(task)
    moved(learner.network)
    logits = learner.network(batch.inputs / 255).detach()
    plain = F.cross_entropy(logits.mT, batch.labels, reduction="none").mean(1)
    distance = torch.zeros(len(SEEDS))
    for f, w, c in zip(
        learner.precision, learner.network.parameters(), learner.centre, strict=True
    ):
        distance += torch.stack([(f[s] * (w[s] - c[s]) ** 2).sum() for s in range(3)]).detach()
    assert (distance > 0).all()
    torch.testing.assert_close(learner.observe(batch), plain + 25.0 * distance)


def test_weights_at_the_centre_cost_nothing():
    learner = toy_learner()
    learner.end_task(ToyTask(toy_batch()))
    assert torch.equal(learner.penalty().detach(), torch.zeros(len(SEEDS)))


def test_published_strengths_are_those_of_the_scenario():
    for scenario, lam in {"task": 1e5, "domain": 1e10, "class": 1e9}.items():
        assert EWC.published(make_stream(scenario).info)["lam"] == lam


@pytest.mark.parametrize("options", [{}, {"online": True}], ids=["separate", "online"])
def test_a_stronger_penalty_moves_the_weights_less_and_forgets_less(options):
    quick = {"hidden": [32], "epochs": 3, "batch_size": 16, "lr": 3e-3}
    distances, kept = [], []
    for lam in (0.0, 100.0, 10000.0):
        stream = make_stream("task")
        learner = build(EWC, {**quick, **options, "lam": lam}, stream)
        learn(learner, stream, 0, 1)
        start = [w.detach().clone() for w in learner.network.parameters()]
        important = [f / f.flatten(1).sum(1).view(-1, 1, 1) for f in learner.precision]
        learn(learner, stream, 1, 3)
        parts = zip(important, learner.network.parameters(), start, strict=True)
        distances.append(sum((f * (w - s).square()).sum().item() for f, w, s in parts))
        inputs, labels = stream.gather(stream.scored(0)[0], scored=True)
        logits = learner.predict(inputs, 0)[..., :2]
        kept.append((logits.argmax(-1) == labels).float().mean().item())
    assert distances[0] > distances[1] > distances[2]
    assert kept[2] >= kept[0]
