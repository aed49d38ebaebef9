"""Stacked convolutions and their networks equal plain modules of torch, one for each seed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from trainables.methods.finetune import Finetune
from trainables.nn import MLP, conv, resnet18
from trainables.nn.backbones import Backbone, Means, Pixels, ResidualBlock
from trainables.nn.convolution import BatchNorm, Convolution, GroupNorm, Normalisation, Pooling
from trainables.rng import generator
from trainables.testing import build, make_stream

SEEDS = (3, 4, 5)
BATCH = 6


def generators(seeds=SEEDS):
    return [generator(seed, "weights") for seed in seeds]


def numbers(*shape, name="inputs"):
    return torch.randn(*shape, dtype=torch.double, generator=generator(0, name))


def plain(module, seed):
    """The module of torch.nn with the weights and statistics of a seed."""
    if isinstance(module, Convolution):
        outputs, inputs, kernel, _ = module.weight[seed].shape
        made = nn.Conv2d(
            inputs, outputs, kernel, module.stride, kernel // 2, bias=module.bias is not None
        )
    elif isinstance(module, BatchNorm):
        made = nn.BatchNorm2d(module.weight.shape[1])
    elif isinstance(module, GroupNorm):
        made = nn.GroupNorm(module.groups, module.weight.shape[1])
    elif isinstance(module, Pooling):
        return nn.MaxPool2d(2) if module.kind == "max" else nn.AvgPool2d(2)
    elif isinstance(module, nn.Sequential):
        return nn.Sequential(*(plain(each, seed) for each in module))
    elif isinstance(module, ResidualBlock):
        return PlainBlock(module, seed)
    elif isinstance(module, Pixels):
        return PlainPixels()
    elif isinstance(module, Means):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    else:
        return module  # ReLU, Identity
    made = made.double()
    values = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, value in values.items():
        getattr(made, name).data.copy_(value[seed].detach())
    return made


class PlainPixels(nn.Module):
    def forward(self, images):
        return images.permute(0, 2, 3, 1).flatten(1)


class PlainBlock(nn.Module):
    def __init__(self, block, seed):
        super().__init__()
        self.first, self.second, self.shortcut = (
            plain(part, seed) for part in (block.first, block.second, block.shortcut)
        )

    def forward(self, images):
        return F.relu(self.second(F.relu(self.first(images))) + self.shortcut(images))


def moved(module):
    """Move scales, shifts and statistics away from 1 and 0."""
    draw = generator(0, "moved")
    for part in module.modules():
        if isinstance(part, Normalisation):
            for tensor in (*part.parameters(), *part.buffers()):
                tensor.data += torch.rand(tensor.shape, generator=draw, dtype=torch.double)
    return module


LAYERS = {
    "convolution": lambda g: Convolution(4, 6, 3, g),
    "without bias": lambda g: Convolution(4, 6, 5, g, bias=False),
    "stride": lambda g: Convolution(4, 6, 3, g, stride=2),
    "1 x 1, stride": lambda g: Convolution(4, 6, 1, g, stride=2),
    "batch norm": lambda g: BatchNorm(4, len(g)),
    "group norm": lambda g: GroupNorm(4, len(g), groups=2),
    "group norm, channels that 8 does not divide": lambda g: GroupNorm(4, len(g), groups=8),
    "maximum": lambda g: Pooling("max"),
    "mean": lambda g: Pooling("average"),
    "block": lambda g: ResidualBlock(4, 4, 1, "batch", g),
    "block with shortcut": lambda g: ResidualBlock(4, 8, 2, "group", g),
    "block without norm": lambda g: ResidualBlock(4, 8, 2, "none", g),
}


def assert_equal_to_plain(module, apart, inputs, seed_of=lambda tensor, seed: tensor[seed]):
    """Compare outputs, gradients and statistics of a stack with those of single modules."""
    outputs = module(inputs)
    target = numbers(*outputs.shape, name="target")
    (outputs * target).sum().backward()
    for seed, single in enumerate(apart):
        given = inputs.detach()[seed].clone().requires_grad_()
        expected = single(given)
        (expected * target[seed]).sum().backward()
        torch.testing.assert_close(outputs[seed], expected)
        torch.testing.assert_close(inputs.grad[seed], given.grad)
        theirs = [*single.parameters(), *(b for b in single.buffers() if b.dim())]
        mine = [*module.parameters(), *module.buffers()]
        for stacked, alone in zip(mine, theirs, strict=True):
            torch.testing.assert_close(stacked[seed], alone)
            if stacked.grad is not None:
                torch.testing.assert_close(stacked.grad[seed], alone.grad)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("seeds", [SEEDS, SEEDS[:1]], ids=["three", "one"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_equals_that_of_torch_for_each_seed(kind, seeds, training):
    layer = moved(LAYERS[kind](generators(seeds)).double()).train(training)
    apart = [plain(layer, seed).train(training) for seed in range(len(seeds))]
    inputs = numbers(len(seeds), BATCH, 4, 8, 8).requires_grad_()
    for _ in range(2):  # the second time with the statistics of the first
        inputs.grad = None
        for each in (layer, *apart):
            each.zero_grad()
        assert_equal_to_plain(layer, apart, inputs)


def networks(shape):
    return {
        "conv": lambda g: conv(shape, (4, 6), 3, "max", "none", g),
        "conv, kernel 5, batch norm, mean": lambda g: conv(shape, (4, 6), 5, "average", "batch", g),
        "conv, batch norm": lambda g: conv(shape, (4,), 3, "max", "batch", g),
        "resnet18": lambda g: resnet18(shape, 4, "batch", g),
        "resnet18, group norm": lambda g: resnet18(shape, 4, "group", g),
        "resnet18 without norm": lambda g: resnet18(shape, 4, "none", g),
    }


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("seeds", [SEEDS, SEEDS[:1]], ids=["three", "one"])
@pytest.mark.parametrize("kind", networks(()))
@pytest.mark.parametrize("shape", [(12, 8), (8, 8, 3)], ids=["grey", "colour"])
def test_a_network_equals_plain_ones_with_the_same_weights(shape, kind, seeds, training):
    network = moved(networks(shape)[kind](generators(seeds)).double()).train(training)
    apart = [Unflattened(network, seed).train(training) for seed in range(len(seeds))]
    inputs = numbers(len(seeds), BATCH, network_inputs(shape)).requires_grad_()
    assert_equal_to_plain(network, apart, inputs)
    assert network(inputs).shape[2] == network.width


class Unflattened(nn.Module):
    def __init__(self, network: Backbone, seed):
        super().__init__()
        self.shape, self.layers = (*network.shape, 1)[:3], plain(network.layers, seed)

    def forward(self, inputs):
        return self.layers(inputs.view(-1, *self.shape).permute(0, 3, 1, 2))


def network_inputs(shape):
    height, width, channels = (*shape, 1)[:3]
    return height * width * channels


@pytest.mark.parametrize("kind", networks(()))
def test_all_seeds_at_once_and_one_by_one_give_the_same(kind):
    """At once, as on a GPU; one by one, as on a CPU."""
    network = moved(networks((8, 8, 3))[kind](generators()).double())
    inputs = numbers(len(SEEDS), BATCH, network_inputs((8, 8, 3)))
    images = inputs.view(len(SEEDS), BATCH, 8, 8, 3).movedim(-1, 2)
    expected = [network.layers(images), *(b.clone() for b in network.buffers())]
    again = moved(networks((8, 8, 3))[kind](generators()).double())
    found = [again(inputs), *again.buffers()]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_resnet18_has_the_layers_of_torchvisions():
    """The same network but for the first layers, which here keep the size of small images."""
    import torchvision

    theirs = torchvision.models.resnet18(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    theirs = theirs.double().eval()
    mine = resnet18((16, 16, 3), 64, "batch", generators((1,))).double().eval()
    given = theirs.state_dict().items()  # in the order of ours
    weights = [value for name, value in given if "fc" not in name and "tracked" not in name]
    for target, value in zip(mine.state_dict().values(), weights, strict=True):
        target[0].copy_(value)
    images = numbers(2, 16, 16, 3)
    theirs.fc = nn.Identity()
    torch.testing.assert_close(mine(images.view(1, 2, -1))[0], theirs(images.permute(0, 3, 1, 2)))


WITH_WEIGHTS = "convolution", "without bias", "stride", "1 x 1, stride", "batch norm", "group norm"


@pytest.mark.parametrize("kind", WITH_WEIGHTS)
def test_squared_gradients_equal_a_loop_over_samples(kind, monkeypatch):
    monkeypatch.setattr("trainables.nn.convolution.PATCH_NUMBERS", 3_000)  # several parts
    layer = moved(LAYERS[kind](generators()).double()).eval()
    inputs = numbers(len(SEEDS), BATCH, 4, 8, 8)
    outputs = layer(inputs)
    target = numbers(*outputs.shape, name="target")
    expected = [torch.zeros_like(p) for p in layer.parameters()]
    for seed in range(len(SEEDS)):
        for sample in range(BATCH):
            value = (layer(inputs)[seed, sample] * target[seed, sample]).sum()
            gradients = torch.autograd.grad(value, list(layer.parameters()))
            for total, gradient in zip(expected, gradients, strict=True):
                total += gradient.square()
    with torch.no_grad():
        found = layer.squared_gradients(inputs, target)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_initial_weights_are_torchs_default_and_each_seeds_own():
    layer, alone = (Convolution(30, 40, 3, generators(seeds)) for seeds in (SEEDS, SEEDS[1:2]))
    assert torch.equal(layer.weight[1], alone.weight[0])
    assert torch.equal(layer.bias[1], alone.bias[0])
    assert not torch.equal(layer.weight[0], layer.weight[1])
    bound = 270**-0.5
    for values in (layer.weight, layer.bias):
        assert 0.95 * bound < values.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_a_stack_in_training_keeps_the_statistics_of_its_seeds_apart():
    layer = BatchNorm(4, len(SEEDS)).double()
    inputs = numbers(len(SEEDS), 50, 4, 3, 3) + torch.arange(3).view(3, 1, 1, 1, 1) * 10
    for _ in range(200):
        layer(inputs)
    torch.testing.assert_close(layer.running_mean, inputs.mean((1, 3, 4)), rtol=0, atol=1e-6)
    layer.eval()
    means = layer(inputs).mean((1, 3, 4))
    torch.testing.assert_close(means, torch.zeros_like(means), rtol=0, atol=1e-6)


def test_a_copy_of_the_weights_holds_the_statistics_too():
    from trainables.nn import weights_of

    network = resnet18((8, 8, 3), 2, "batch", generators())
    kept, inputs = weights_of(network), numbers(3, BATCH, 192).float()
    expected = network.eval()(inputs)
    network.train()(inputs + 5)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 1
    assert not torch.allclose(network.eval()(inputs), expected)
    torch.testing.assert_close(functional_call(network, kept, (inputs,)), expected)


def test_a_dense_network_says_how_many_features_it_has():
    assert [MLP(6, hidden, 4, generators()).width for hidden in ((), (7, 5))] == [6, 5]


@pytest.mark.parametrize(("optimiser", "lr"), [("adam", 1e-3), ("sgd", 0.01)])
def test_a_residual_network_learns_as_a_plain_loop_of_torch(optimiser, lr, monkeypatch):
    """One seed and one task, with the batches, the weights and the optimiser of the learner; in
    double precision, because rounding errors of 1e-7 grow to 1e-3 within thirty steps.
    """
    stream = make_stream("class", SEEDS[:1])
    options = {"network": "resnet18", "batch_size": 16, "optimiser": optimiser, "lr": lr}
    learner = build(Finetune, options, stream)
    learner.network.double()
    monkeypatch.setattr(learner, "encode", lambda inputs: inputs.double() / 16)
    head = learner.network.head.layers[0]
    last = nn.Linear(*head.weight.shape[1:])
    last.weight.data, last.bias.data = head.weight[0].mT.clone(), head.bias[0, 0].clone()
    single = nn.Sequential(Unflattened(learner.network.backbone, 0), last).train()
    kind = torch.optim.Adam if optimiser == "adam" else torch.optim.SGD
    own = kind(single.parameters(), lr=lr)
    batches = list(stream.task(0).batches(2, 16))
    assert len(batches) > 25
    for batch in batches:
        loss = F.cross_entropy(single(batch.inputs[0].double() / 16), batch.labels[0])
        own.zero_grad()
        loss.backward()
        own.step()
        assert learner.observe(batch)[0].item() == pytest.approx(loss.item(), abs=1e-9)
