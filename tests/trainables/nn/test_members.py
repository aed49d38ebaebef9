"""Any module of torch.nn, once for each seed of a stack."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from trainables.errors import InputError
from trainables.nn import Members, weights_of
from trainables.rng import generator

SEEDS = (3, 4, 5)
IMAGE = (3, 8, 6)  # channels, height, width
BATCH = 5


def small(shape, outputs):
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * height * width, 7),
        nn.ReLU(),
        nn.Linear(7, outputs),
    )


def dropping(shape, outputs):
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(shape[0] * 48, outputs))


class Choosy(nn.Module):
    """A module that looks at its numbers."""

    def __init__(self, outputs):
        super().__init__()
        self.layer = nn.Linear(6, outputs)

    def forward(self, inputs):
        return self.layer(inputs if inputs.sum().item() > 0 else -inputs)


def choosy(shape, outputs):
    return Choosy(outputs)


def frozen(shape, outputs):
    network = small(shape, outputs)
    network[0].requires_grad_(False)
    return network


def members(build=small, shape=IMAGE, seeds=SEEDS):
    return Members(build, shape, 4, [generator(seed, "weights") for seed in seeds])


def inputs_of(shape=IMAGE):
    size = torch.Size(shape).numel()
    return torch.randn(len(SEEDS), BATCH, size, generator=generator(0, "inputs"))


def alone(network, seed, build=small, shape=IMAGE):
    """A plain module with the weights of a seed."""
    module = build(shape, 4)
    state = {name: tensor[seed].detach().clone() for name, tensor in network.state().items()}
    module.load_state_dict(state)
    return module


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_each_seed_is_the_module_with_its_weights(training):
    network, inputs = members().train(training), inputs_of()
    apart = [alone(network, seed).train(training) for seed in range(3)]
    outputs = network(inputs)
    (outputs * torch.arange(4.0)).sum().backward()
    for seed, module in enumerate(apart):
        images = inputs[seed].view(BATCH, 8, 6, 3).permute(0, 3, 1, 2)  # channels last
        expected = module(images)
        (expected * torch.arange(4.0)).sum().backward()
        torch.testing.assert_close(outputs[seed], expected)
        for name, weight in module.named_parameters():
            torch.testing.assert_close(
                dict(network.module.named_parameters())[name].grad[seed], weight.grad
            )
        for name, buffer in module.named_buffers():
            torch.testing.assert_close(network.state()[name][seed], buffer)


def test_a_seed_has_its_own_weights_whatever_its_stack():
    before = torch.get_rng_state()
    stack, single = members().state(), members(seeds=SEEDS[1:2]).state()
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in stack.items():
        assert torch.equal(weight[1], single[name][0]), name
    assert not torch.equal(stack["0.weight"][0], stack["0.weight"][1])


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_vectorised_over_seeds_it_gives_the_same(training):
    """As on a GPU."""
    network, other = members().train(training), members().train(training)
    assert network.obstacle == ""
    inputs = inputs_of()
    found = vmap(network.logits_of)(network.state(), network.shaped(inputs))
    torch.testing.assert_close(found, other(inputs))
    for name, buffer in network.module.named_buffers():
        torch.testing.assert_close(buffer, other.state()[name])


def test_features_are_the_inputs_of_the_last_dense_layer():
    network, inputs = members().eval(), inputs_of()
    features = network.features(inputs)
    assert features.shape == (3, BATCH, network.width) == (3, BATCH, 7)
    torch.testing.assert_close(network.classify(features), network(inputs))


def test_a_module_without_a_dense_layer_has_no_features():
    def build(shape, outputs):
        return nn.Sequential(nn.Conv2d(3, outputs, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    network = members(build)
    assert network(inputs_of()).shape == (3, BATCH, 4)
    with pytest.raises(InputError, match=r"Sequential does not end with an nn\.Linear"):
        network.features(inputs_of())


def test_random_numbers_in_training_are_each_seeds_own_and_go_on_after_a_checkpoint():
    network, inputs = members(dropping).train(), inputs_of()
    before = torch.get_rng_state()
    first, state = network(inputs), weights_of(network)
    kept = network.state_dict()
    second = network(inputs)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, second)
    again = members(dropping).train()
    again.load_state_dict(kept)
    assert torch.equal(again(inputs), second)
    single = members(dropping, seeds=SEEDS[2:]).train()
    assert torch.equal(single(inputs[2:]), first[2:])
    network.eval()
    assert torch.equal(network(inputs), functional_call(network, state, (inputs,)))


@pytest.mark.parametrize(
    ("build", "shape", "obstacle"),
    [(dropping, IMAGE, "random"), (choosy, (6,), "item")],
)
def test_what_cannot_be_vectorised_runs_seed_by_seed_and_says_why(build, shape, obstacle):
    network = members(build, shape)
    assert obstacle in network.obstacle
    assert network.train()(inputs_of(shape)).shape == (3, BATCH, 4)


def test_weights_that_are_not_trained_are_kept_as_they_are():
    network = members(frozen)
    names = [name for name, _ in network.module.named_parameters()]
    assert names == ["1.weight", "1.bias", "4.weight", "4.bias", "6.weight", "6.bias"]
    assert {"0.weight", "0.bias"} <= {name for name, _ in network.module.named_buffers()}
    network(inputs_of()).sum().backward()


class Odd(nn.Module):
    """A module with something odd about it."""

    def __init__(self, kind, outputs):
        super().__init__()
        self.kind = kind
        self.last = nn.Linear(144, outputs)
        if kind == "attribute":
            self.mask = torch.rand(144)
        if kind in ("replaced", "not persistent"):
            self.register_buffer("count", torch.zeros(()), persistent=kind == "replaced")
        if kind == "tied":
            self.other = self.last
            self.again = nn.Parameter(torch.ones(1))
            self.twice = self.again
        if kind == "lazy":
            self.first = nn.LazyLinear(144)
        if kind == "double":
            self.first = nn.Linear(144, 144).double()
        if kind == "unused":
            self.idle = nn.Linear(3, 5)

    def forward(self, inputs):
        flat = inputs.flatten(1)
        if self.kind == "in place":
            flat = flat.mul_(2)
        if self.kind == "attribute":
            flat = flat * self.mask
        if self.kind == "replaced" and self.training:
            self.count = self.count + 1
        if self.kind == "not persistent" and self.training:
            self.count.add_(1)
        logits = self.last(flat)
        if self.kind == "tuple":
            return logits, flat
        if self.kind == "bare":
            return flat[:, :4]
        return 5 * logits if self.kind == "scaled" else logits


def odd(kind):
    return lambda shape, outputs: Odd(kind, outputs)


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda shape, outputs: "no module", "it returned str, which is no torch.nn.Module"),
        (lambda shape, outputs: nn.Flatten(), "Flatten has no parameter to train"),
        (
            lambda shape, outputs: nn.Sequential(nn.Flatten(), nn.Linear(144, 7)),
            r"Sequential returns \[2, 7\] for inputs of shape \[2, 3, 8, 6\]; required are logits "
            r"of shape \[2, 4\]",
        ),
        (odd("tuple"), r"Odd returns a tuple for inputs of shape"),
        (odd("attribute"), "differs between seeds and is no parameter or buffer"),
        (odd("replaced"), "replaces its buffer 'count' in training: update it in place"),
        (odd("tied"), "uses a parameter in two places"),
        (odd("lazy"), "has lazy layers"),
        (odd("double"), "weights that are not float32"),
    ],
)
def test_what_cannot_be_stacked_is_refused(build, problem):
    with pytest.raises(InputError, match=problem):
        members(build)


def test_a_buffer_that_torch_would_not_save_is_part_of_a_checkpoint():
    network = members(odd("not persistent")).train()
    network(inputs_of())
    assert network.state_dict()["module.count"].tolist() == [1, 1, 1]
    again = members(odd("not persistent"))
    again.load_state_dict(network.state_dict())
    assert again.state()["count"].tolist() == [1, 1, 1]


def test_a_module_may_change_its_inputs():
    network = members(odd("in place")).train()
    network(inputs_of()).sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_features_that_do_not_give_the_logits_are_none():
    with pytest.raises(InputError, match=r"does not end with an nn\.Linear"):
        members(odd("scaled")).features(inputs_of())


def test_building_leaves_no_trace():
    network = members()
    assert network.state()["1.num_batches_tracked"].tolist() == [0, 0, 0]
    assert not network.training
    assert network.calls == 0
    assert all(weight.grad is None for weight in network.parameters())


def test_dropout_is_an_obstacle_whatever_the_mode_of_the_module():
    network = members(lambda shape, outputs: dropping(shape, outputs).eval())
    assert "random" in network.obstacle
