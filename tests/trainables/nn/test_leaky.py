"""Leaky integrate-and-fire units and their networks equal those of snnTorch."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import snntorch
import torch
import torch.nn.functional as F
from plain_snntorch import Plain
from snntorch import surrogate

from trainables import InputError
from trainables.nn import leaky
from trainables.nn.leaky import SURROGATES, LeakyUnits, SpikingNetwork
from trainables.rng import generator

STEPS, SEEDS = 12, (3, 4)


def units(**changes):
    values = {"steps": STEPS, "beta": 0.9, "threshold": 1.0, "surrogate": "fast_sigmoid"}
    return LeakyUnits(**(values | {"slope": 25.0} | changes))


def numbers(*shape, name="inputs"):
    return torch.randn(*shape, generator=generator(0, name))


def network(of=None, channels=(3, 4), kernel=3, hidden=(), shape=(14, 12, 2), seeds=SEEDS):
    draws = [generator(seed, "weights") for seed in seeds]
    made = SpikingNetwork(shape, channels, kernel, hidden, 5, draws, of)
    with torch.no_grad():  # so that all layers spike
        for weight in made.parameters():
            weight.mul_(4)
    return made


def plain_network(stacked, seed, of):
    return Plain(stacked, seed, of, getattr(surrogate, of.surrogate)(of.slope))


@pytest.mark.parametrize(("carried", "counts"), [(True, [1, 8, 20, 30]), (False, [0, 0, 0, 30])])
def test_spikes_of_constant_currents(carried, counts):
    currents = torch.tensor([[0.05, 0.3, 0.7, 1.2]])
    spikes, _ = units(steps=30, beta=0.99, carried=carried)(currents)
    assert (spikes.sum(0) * (30 / len(spikes))).tolist() == counts


def test_a_small_current_never_fires_and_more_current_never_fires_less():
    currents = torch.linspace(0, 1.5, 151)[None]
    counts = units(steps=200, beta=0.95)(currents)[0].sum(0)
    assert not counts[currents[0] <= 0.05 - 1e-6].any()
    assert counts[currents[0] >= 0.06].all()
    assert (counts.diff() >= 0).all()


def test_without_memory_a_unit_fires_whenever_its_current_is_above_the_threshold():
    currents = numbers(STEPS, 50)
    spikes, _ = units(beta=0.0)(currents.clone())
    # a spike lowers the next potential by the threshold
    expected, before = [], torch.zeros(50)
    for current in currents:
        before = (current - before > 1).float()
        expected.append(before)
    assert spikes.equal(torch.stack(expected))
    constant = currents[:1].abs() * 2
    assert units(beta=0.0, carried=False)(constant)[0].equal((constant > 1).float())


def slope_at(distance, of):
    current = torch.tensor([[of.threshold + distance]], requires_grad=True)
    of(current)[0].sum().backward()
    return current.grad.item()


@pytest.mark.parametrize("carried", [True, False])
def test_surrogate_gradients_at_and_near_the_threshold(carried):
    fast = units(steps=1, carried=carried)
    assert slope_at(0.0, fast) == 1.0
    assert slope_at(0.04, fast) == pytest.approx(1 / 4, rel=1e-5)
    assert slope_at(-0.04, fast) == pytest.approx(1 / 4, rel=1e-5)
    atan = units(steps=1, carried=carried, surrogate="atan", slope=2.0)
    assert slope_at(0.0, atan) == 1.0
    assert slope_at(0.3, atan) == pytest.approx(1 / (1 + (math.pi * 0.3) ** 2), rel=1e-4)
    sigmoid = units(steps=1, carried=carried, surrogate="sigmoid", slope=5.0)
    assert slope_at(0.0, sigmoid) == pytest.approx(5 / 4)
    logistic = 1 / (1 + math.exp(-1))
    assert slope_at(0.2, sigmoid) == pytest.approx(5 * logistic * (1 - logistic), rel=1e-5)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize(("beta", "threshold", "slope"), [(0.9, 1.0, 25.0), (0.5, 0.4, 3.0)])
def test_units_equal_snntorchs(name, beta, threshold, slope):
    of = units(beta=beta, threshold=threshold, surrogate=name, slope=slope)
    layer = snntorch.Leaky(beta, threshold, getattr(surrogate, name)(slope))
    # within 1.7 of the threshold: snnTorch's sigmoid overflows further below it
    mine, theirs = (numbers(STEPS, 7, 3).tanh().div(5).add(0.2).requires_grad_() for _ in range(2))
    spikes, membranes = of(mine)
    membrane, expected, potentials = layer.reset_mem(), [], []
    for current in theirs:
        spike, membrane = layer(current, membrane)
        expected.append(spike)
        potentials.append(membrane)
    assert 0.05 < spikes.mean() < 0.95
    assert spikes.equal(torch.stack(expected))
    torch.testing.assert_close(membranes, torch.stack(potentials).detach())
    weights = numbers(STEPS, 7, 3, name="weights")
    (spikes * weights).sum().backward()
    (torch.stack(expected) * weights).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogate_gradients_are_finite_far_from_the_threshold(name):
    for distance in (-1e30, -1e3, 1e3, 1e30):
        assert 0 <= slope_at(distance, units(steps=1, surrogate=name)) < 1e-3


@pytest.mark.parametrize(("channels", "hidden"), [((3, 4), ()), ((3,), (6,)), ((), (20, 10))])
@pytest.mark.parametrize("together", [False, True])
def test_a_network_equals_a_plain_one_of_snntorch(channels, hidden, together, monkeypatch):
    of = units()
    shape = (14, 12, 2) if channels else (14 * 12 * 2,)
    stacked = network(of, channels, 3, hidden, shape)
    if together:  # as on a GPU: all seeds in one call of each layer
        monkeypatch.setattr(leaky, "is_faster_one_by_one", lambda frames: False)
    frames = numbers(len(SEEDS), STEPS, 6, 14 * 12 * 2).sigmoid()
    record = stacked(frames).record
    assert record.shape == (len(SEEDS), STEPS, 6, 5)
    weights = numbers(*record.shape, name="weights")
    (record * weights).sum().backward()
    for seed in range(len(SEEDS)):
        plain = plain_network(stacked, seed, of)
        images = frames[seed].unflatten(2, (14, 12, 2)).movedim(-1, 2)
        expected = plain(images if channels else frames[seed])
        assert 0.02 < expected.mean() < 0.98
        torch.testing.assert_close(record[seed], expected, rtol=0, atol=1e-5)
        (expected * weights[seed]).sum().backward()
        layers = [*stacked.convolutions, *stacked.dense]
        plain_layers = [*plain.convolutions, *plain.dense]
        for mine, theirs in zip(layers, plain_layers, strict=True):
            gradient = mine.weight.grad[seed]
            transposed = gradient if gradient.dim() == 4 else gradient.T
            torch.testing.assert_close(transposed, theirs.weight.grad, rtol=1e-4, atol=1e-4)
            bias = mine.bias.grad[seed].flatten()
            torch.testing.assert_close(bias, theirs.bias.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize("channels", [(3, 4), ()])
def test_a_frame_for_all_steps_equals_equal_frames(channels, carried):
    shape = (14, 12, 2) if channels else (336,)
    made = network(units(carried=carried), channels, 3, (8,), shape)
    frame = numbers(len(SEEDS), 1, 6, 336).sigmoid()
    gradients = []
    for frames in (frame, frame.expand(-1, STEPS, -1, -1)):
        made.zero_grad()
        found = made(frames, counts=True)
        scale = STEPS / found.record.shape[1]
        (found.record.sum(1) * scale * numbers(5, name="w")).sum().backward()
        gradients.append([w.grad.clone() for w in made.parameters()])
        counts = found.record.sum(1) * scale
        if frames is frame:
            expected = counts, found.spikes, found.additions
    torch.testing.assert_close((counts, found.spikes, found.additions), expected)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_the_order_of_equal_frames_does_not_matter_and_that_of_others_does():
    made = network(units())
    frames = numbers(len(SEEDS), STEPS, 6, 336).sigmoid()
    order = torch.randperm(STEPS, generator=generator(0, "order"))
    static = frames[:, :1].expand(-1, STEPS, -1, -1)
    assert made(static[:, order]).record.equal(made(static).record)
    assert not made(frames[:, order]).record.sum(1).equal(made(frames).record.sum(1))


def by_sample(signals):
    """The sum for each of 4 samples, of 3 frames one after the other."""
    return signals.unflatten(0, (3, 4)).transpose(0, 1).flatten(1).sum(1).double()


def test_spikes_and_additions_are_those_counted_by_hand():
    made = network(units(steps=3), hidden=(7,))
    frames = (numbers(len(SEEDS), 3, 4, 336) > 0).float()
    found = made(frames, counts=True)
    for seed in range(len(SEEDS)):
        plain, of = plain_network(made, seed, units(steps=3)), units(steps=3)
        passed = frames[seed].flatten(0, 1).unflatten(1, (14, 12, 2)).movedim(-1, 1)
        for number, layer in enumerate([*plain.convolutions, *plain.dense]):
            assert found.spikes[seed, :, number].equal(by_sample(passed))
            if passed.dim() > 2 and number < 2:
                patches = F.unfold(passed, 3)  # what each output of the convolution reads
                additions = by_sample(patches) * layer.weight.shape[0]
                current = F.max_pool2d(layer(passed), 2)
            else:
                passed = passed.movedim(1, -1).flatten(1) if passed.dim() > 2 else passed
                additions = by_sample(passed) * layer.weight.shape[0]
                current = layer(passed)
            assert found.additions[seed, :, number].equal(additions)
            passed = of(current.unflatten(0, (3, 4)))[0].flatten(0, 1).detach()
        assert found.spikes[seed, :, -1].equal(by_sample(passed))


def test_synapses_are_the_multiply_accumulates_of_the_published_network():
    draws = [generator(0, "weights")]
    made = SpikingNetwork((28, 28), (12, 64), 5, (), 10, draws, None)
    assert made.synapses() == [24 * 24 * 12 * 25, 8 * 8 * 64 * 12 * 25, 1024 * 10]
    weights = sum(weight.numel() for weight in made.parameters())
    assert weights == 29_826  # of the source
    assert sum(weight.numel() for weight in made.below_readout) == 19_576


def test_the_twin_is_a_plain_network_with_relu():
    made = network(None, hidden=(7,))
    frames = numbers(len(SEEDS), 1, 6, 336)
    found = made(frames).record[:, 0]
    for seed in range(len(SEEDS)):
        plain = plain_network(made, seed, units())
        passed = frames[seed, 0].unflatten(1, (14, 12, 2)).movedim(-1, 1)
        for layer in plain.convolutions:
            passed = F.relu(F.max_pool2d(layer(passed), 2))
        first, last = plain.dense
        expected = last(F.relu(first(passed.movedim(1, -1).flatten(1))))
        torch.testing.assert_close(found[seed], expected, rtol=1e-4, atol=1e-5)


def test_layers_lie_in_memory_as_their_currents():
    current = torch.randn(1, 4, 5, 6).permute(0, 2, 3, 1)
    empty = leaky._empty(current, 3)
    assert empty.shape == (3, 5, 6, 4)
    assert empty[0].stride() == current[0].stride()


def test_images_that_are_too_small_are_refused():
    with pytest.raises(InputError, match="8 x 8 pixels are too small for 2 convolutions"):
        network(units(), shape=(8, 8), kernel=5)


def test_dense_sizes_follow_from_the_images():
    made = network(units(), shape=(14, 12, 2), hidden=(7,))
    assert [tuple(layer.weight.shape[1:]) for layer in made.dense] == [(2 * 1 * 4, 7), (7, 5)]
    assert [b for _, b in pairwise(made.sides)] == [(6, 5), (2, 1)]
