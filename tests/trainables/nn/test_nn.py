"""Stacked layers against torch's own, seed by seed."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainables import rng
from trainables.methods.finetune import Finetune
from trainables.nn import MLP, Dropout, LayerNorm, Linear, assign_gradients, clip_gradients, flat
from trainables.rng import Draws, generator
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
        found = layer.squared_gradients(inputs, target)
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


# -- layers without bias, features, dropout
# ------------------------------------------------------------


def test_a_layer_without_bias_equals_torchs():
    layer = Linear(6, 4, generators(), bias=False).double()
    inputs = numbers(len(SEEDS), 9, 6).requires_grad_()
    outputs, target = layer(inputs), numbers(len(SEEDS), 9, 4, name="target")
    (outputs * target).sum().backward()
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    for seed in range(len(SEEDS)):
        plain = nn.Linear(6, 4, bias=False, dtype=torch.double)
        plain.weight.data.copy_(layer.weight[seed].mT)
        given = inputs.detach()[seed].clone().requires_grad_()
        expected = plain(given)
        (expected * target[seed]).sum().backward()
        torch.testing.assert_close(outputs[seed], expected)
        torch.testing.assert_close(inputs.grad[seed], given.grad)
        torch.testing.assert_close(layer.weight.grad[seed].mT, plain.weight.grad)


def test_a_layer_without_bias_has_squared_gradients_of_its_weight_only():
    layer, with_bias = (Linear(6, 4, generators(), bias=bias) for bias in (False, True))
    assert torch.equal(layer.weight, with_bias.weight)
    inputs, gradient = numbers(3, 5, 6).float(), numbers(3, 5, 4, name="target").float()
    (found,) = layer.squared_gradients(inputs, gradient)
    assert torch.equal(found, with_bias.squared_gradients(inputs, gradient)[0])


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5)])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_features_are_what_the_last_layer_is_given(layer_norm, hidden):
    network = perturbed(MLP(6, hidden, 4, generators(), layer_norm).double())
    inputs = numbers(len(SEEDS), 9, 6)
    given = []
    network.layers[-1].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    logits, features = network(inputs), network.features(inputs)
    assert features.shape == (3, 9, hidden[-1] if hidden else 6)
    assert torch.equal(features, given[0])
    assert torch.equal(network.classify(features), logits)
    for seed in range(len(SEEDS)):
        plain = plain_network(network, seed)[:-1]
        torch.testing.assert_close(features[seed], plain(inputs[seed]))


def dropout(rate, seeds=SEEDS):
    return Dropout(rate, Draws(seeds, "dropout", torch.device("cpu")))


def test_dropout_is_the_last_of_a_hidden_block():
    network = MLP(6, (7, 5), 4, generators(), layer_norm=True, dropout=dropout(0.5))
    block = [Linear, nn.ReLU, LayerNorm, Dropout]
    assert [type(layer) for layer in network.layers] == [*block, *block, Linear]


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.9])
def test_dropout_keeps_everything_when_testing_and_at_rate_nought(rate):
    layer, inputs = dropout(rate), numbers(len(SEEDS), 9, 6)
    assert layer.eval()(inputs) is inputs
    assert (layer.train()(inputs) is inputs) == (rate == 0)
    assert layer.draws.position == (54 if rate else 0)


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_dropout_does_to_each_activation_what_torchs_does(rate):
    """Kept with probability 1 - rate and then scaled by 1 / (1 - rate), gradients too."""
    layer, inputs = dropout(rate), (numbers(len(SEEDS), 500, 20).abs() + 1).requires_grad_()
    outputs = layer(inputs)
    outputs.sum().backward()
    kept = outputs != 0
    plain = inputs.detach().clone().requires_grad_()
    theirs = F.dropout(plain, rate)
    theirs.sum().backward()
    possible = {round(value, 9) for value in (theirs / plain).unique().tolist()}
    assert possible == {0.0, round(1 / (1 - rate), 9)}
    torch.testing.assert_close(outputs, torch.where(kept, inputs / (1 - rate), 0.0))
    torch.testing.assert_close(inputs.grad, kept / (1 - rate), check_dtype=False)
    for row in kept:
        share = row.double().mean().item()
        assert share == pytest.approx(1 - rate, abs=4 * (rate * (1 - rate) / row.numel()) ** 0.5)
        # neither a sample nor an activation is dropped as a whole
        spread = 5 * (rate * (1 - rate)) ** 0.5
        assert (row.double().mean(0) - (1 - rate)).abs().max() < spread / 500**0.5
        assert (row.double().mean(1) - (1 - rate)).abs().max() < spread / 20**0.5


def test_dropout_drops_where_the_number_drawn_is_below_the_rate():
    outputs = [dropout(0.3)(torch.ones(len(SEEDS), 4, 5)) for _ in range(2)]
    for row, seed in zip(outputs[0], SEEDS, strict=True):
        drawn = torch.rand(rng.BLOCK, generator=generator(seed, "dropout", 0))[:20].view(4, 5)
        assert torch.equal(row == 0, drawn < 0.3)
    assert torch.equal(*outputs)


@pytest.mark.parametrize("stack", [(5,), (8, 5), (3, 5, 8)])
def test_what_a_seed_drops_does_not_depend_on_its_stack_nor_on_an_interruption(stack):
    layer, alone = dropout(0.5, stack), dropout(0.5, (5,))
    for count in (4, 1, 7):
        outputs = layer(torch.ones(len(stack), count, 5))
        assert torch.equal(outputs[stack.index(5)], alone(torch.ones(1, count, 5))[0])
    other = dropout(0.5, stack)
    other.draws.position = layer.draws.position
    ones = torch.ones(len(stack), 6, 5)
    again = layer(ones)
    assert torch.equal(other(ones), again)
    assert not torch.equal(layer(ones), again)


# -- gradients seed by seed
# ----------------------------------------------------------------------------


SHAPES = [(6, 4), (1, 4), (3, 2, 2), (5,)]


def with_gradients(scales, name="gradients"):
    """Return parameters of a stack with gradients; the last one has none."""
    parameters = [nn.Parameter(torch.zeros(len(scales), *shape)) for shape in [*SHAPES, (2, 2)]]
    for place, parameter in enumerate(parameters[:-1]):
        drawn = numbers(*parameter.shape, name=f"{name}{place}").float()
        factor = torch.tensor(scales).view(-1, *[1] * (drawn.dim() - 1))
        parameter.grad = drawn * factor
    return parameters


@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=4), st.floats(0.01, 50))
@settings(max_examples=60, deadline=None)
def test_clipping_equals_torchs_for_each_seed(scales, limit):
    parameters = with_gradients(scales)
    before = [p.grad.clone() for p in parameters[:-1]]
    clip_gradients(parameters, limit)
    assert parameters[-1].grad is None
    for seed in range(len(scales)):
        plain = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
        for parameter, gradient in zip(plain, before, strict=True):
            parameter.grad = gradient[seed].clone()
        nn.utils.clip_grad_norm_(plain, limit)
        for mine, theirs in zip(parameters[:-1], plain, strict=True):
            torch.testing.assert_close(mine.grad[seed], theirs.grad)


def test_clipping_leaves_small_gradients_and_is_not_spoilt_by_a_diverged_seed():
    parameters = with_gradients([1e-3, 1.0, 1.0])
    before = [p.grad.clone() for p in parameters[:-1]]
    parameters[1].grad[1, 0, 0] = torch.nan
    clip_gradients(parameters, 1.0)
    rows = flat([p.grad for p in parameters[:-1]])
    assert torch.equal(rows[0], flat(before)[0])
    assert rows[1].isnan().all()
    assert rows[2].norm().item() == pytest.approx(1.0, rel=1e-5)


def test_flat_rows_are_torchs_vectors_of_each_seed():
    tensors = [numbers(3, *shape, name=f"flat{place}") for place, shape in enumerate(SHAPES)]
    rows = flat(tensors)
    for seed in range(3):
        expected = nn.utils.parameters_to_vector([tensor[seed] for tensor in tensors])
        assert torch.equal(rows[seed], expected)


def test_assigned_gradients_are_the_reverse_of_flat():
    parameters = with_gradients([1.0, 2.0, 3.0])[:-1]
    gradients = [p.grad.clone() for p in parameters]
    rows = flat(gradients)
    assign_gradients(parameters, rows.clone().mul_(2))
    for parameter, gradient in zip(parameters, gradients, strict=True):
        assert torch.equal(parameter.grad, gradient * 2)
        assert parameter.grad.is_contiguous()
