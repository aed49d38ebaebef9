"""Stacked layers against torch's own, seed by seed."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainables.finetune import Finetune
from trainables.nn import MLP, LayerNorm, Linear
from trainables.rng import generator
from trainables.streams import StreamInfo

SEEDS = (3, 5, 8)
INFO = StreamInfo("toy", "class", inputs=6, outputs=4, scale=1.0, tasks=2)


def generators(seeds=SEEDS):
    return [generator(seed, "weights") for seed in seeds]


def numbers(*shape, name="inputs"):
    return torch.randn(*shape, dtype=torch.double, generator=generator(0, name))


def plain_layer(layer, seed):
    """Return torch's counterpart of one seed's slice of a stacked layer."""
    if isinstance(layer, Linear):
        plain = nn.Linear(*layer.weight.shape[1:], dtype=torch.double)
        weight = layer.weight[seed].mT
    elif isinstance(layer, LayerNorm):
        plain = nn.LayerNorm(layer.weight.shape[-1], dtype=torch.double)
        weight = layer.weight[seed, 0]
    else:
        return copy.deepcopy(layer)
    with torch.no_grad():
        plain.weight.copy_(weight)
        plain.bias.copy_(layer.bias[seed, 0])
    return plain


def plain_network(network, seed):
    return nn.Sequential(*(plain_layer(layer, seed) for layer in network.layers))


def assert_same_gradients(stacked, plain, seed):
    for layer, other in zip(stacked, plain, strict=True):
        if not hasattr(layer, "weight"):
            continue
        weight = layer.weight.grad[seed]
        weight = weight.mT if isinstance(layer, Linear) else weight[0]
        torch.testing.assert_close(weight, other.weight.grad)
        torch.testing.assert_close(layer.bias.grad[seed, 0], other.bias.grad)


def perturbed(network):
    """Move every parameter, so that scales are not all one and shifts not all nought."""
    with torch.no_grad():
        for i, weight in enumerate(network.parameters()):
            weight.add_(numbers(*weight.shape, name=f"shift{i}"), alpha=0.3)
    return network


NETWORKS = {
    "linear": lambda: Linear(6, 4, generators()),
    "layer_norm": lambda: LayerNorm(6, len(SEEDS)),
    "no_hidden": lambda: MLP(6, (), 4, generators()),
    "deep": lambda: MLP(6, (7, 5), 4, generators()),
    "deep_norm": lambda: MLP(6, (7, 5), 4, generators(), layer_norm=True),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return perturbed(NETWORKS[request.param]().double())


def layers_of(network):
    return list(network.layers) if isinstance(network, MLP) else [network]


def test_forward_and_gradients_equal_those_of_torch_for_each_seed(network):
    inputs = numbers(len(SEEDS), 9, 6).requires_grad_()
    outputs = network(inputs)
    target = numbers(*outputs.shape, name="target")
    (outputs * target).sum().backward()
    for seed in range(len(SEEDS)):
        plain = nn.Sequential(*(plain_layer(layer, seed) for layer in layers_of(network)))
        given = inputs.detach()[seed].clone().requires_grad_()
        expected = plain(given)
        (expected * target[seed]).sum().backward()
        torch.testing.assert_close(outputs[seed], expected)
        torch.testing.assert_close(inputs.grad[seed], given.grad)
        assert_same_gradients(layers_of(network), plain, seed)


def test_squared_gradients_equal_a_loop_over_samples(network):
    for layer in layers_of(network):
        if not hasattr(layer, "squared_gradients"):
            continue
        width = layer.weight.shape[1] if isinstance(layer, Linear) else layer.weight.shape[-1]
        inputs = numbers(len(SEEDS), 5, width)
        outputs = layer(inputs)
        target = numbers(*outputs.shape, name="target")
        found = layer.squared_gradients(inputs, target.square())
        expected = [torch.zeros_like(p) for p in layer.parameters()]
        for seed in range(len(SEEDS)):
            for sample in range(5):
                value = (layer(inputs)[seed, sample] * target[seed, sample]).sum()
                gradients = torch.autograd.grad(value, list(layer.parameters()))
                for total, gradient in zip(expected, gradients, strict=True):
                    total += gradient.square()
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.shape == theirs.shape
            torch.testing.assert_close(mine, theirs)


def test_initial_weights_are_torchs_default_and_each_seeds_own():
    layer = Linear(400, 300, generators())
    alone = Linear(400, 300, generators(SEEDS[1:2]))
    assert torch.equal(layer.weight[1], alone.weight[0])
    assert torch.equal(layer.bias[1], alone.bias[0])
    assert not torch.equal(layer.weight[0], layer.weight[1])
    bound = 400**-0.5
    for values in (layer.weight, layer.bias):
        assert 0.97 * bound < values.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)


def test_layer_norm_starts_as_plain_normalisation():
    inputs = numbers(len(SEEDS), 9, 6).float()
    torch.testing.assert_close(LayerNorm(6, len(SEEDS))(inputs), F.layer_norm(inputs, (6,)))


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize(
    ("options", "optimiser"),
    [
        ({"optimiser": "adam", "lr": 0.01}, lambda p: torch.optim.Adam(p, lr=0.01)),
        ({"optimiser": "sgd", "lr": 0.1}, lambda p: torch.optim.SGD(p, lr=0.1)),
        (
            {"optimiser": "sgd", "lr": 0.1, "momentum": 0.9},
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        ),
    ],
    ids=["adam", "sgd", "momentum"],
)
def test_one_optimiser_for_the_stack_equals_one_for_each_seed(options, optimiser, layer_norm):
    config = Finetune.Config.parse({"hidden": [7], "layer_norm": layer_norm, **options})
    learner = Finetune(config, INFO, SEEDS)
    network = learner.network.double()
    together = learner.build_optimiser(network)
    plain = [plain_network(network, seed) for seed in range(len(SEEDS))]
    apart = [optimiser(p.parameters()) for p in plain]
    for step in range(20):
        inputs = numbers(len(SEEDS), 9, 6, name=f"inputs{step}")
        labels = torch.randint(4, (len(SEEDS), 9), generator=generator(step, "labels"))
        together.zero_grad()
        losses = F.cross_entropy(network(inputs).mT, labels, reduction="none").mean(1)
        losses.sum().backward()
        together.step()
        for seed, (single, own) in enumerate(zip(plain, apart, strict=True)):
            own.zero_grad()
            loss = F.cross_entropy(single(inputs[seed]), labels[seed])
            loss.backward()
            own.step()
            torch.testing.assert_close(losses[seed], loss)
    for seed, single in enumerate(plain):
        for layer, other in zip(network.layers, single, strict=True):
            if isinstance(layer, Linear):
                torch.testing.assert_close(layer.weight[seed].mT, other.weight)
            if isinstance(layer, Linear | LayerNorm):
                torch.testing.assert_close(layer.bias[seed, 0], other.bias)
