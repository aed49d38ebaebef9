"""The Fisher information of any network equals a loop over samples and labels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainables.methods.ewc import EWC
from trainables.networks import build_network
from trainables.nn import Members
from trainables.nn.fisher import fisher_sum
from trainables.rng import generator
from trainables.streams import StreamInfo

SEEDS = (3, 4, 5)
INFO = StreamInfo("made up", "class", 64 * 3, 4, 1 / 255, 5, (8, 8, 3))
NETWORKS = {
    "mlp": {"hidden": [5]},
    "conv": {"network": "conv", "channels": [3, 4], "hidden": [5]},
    "conv with batch norm": {"network": "conv", "channels": [3], "norm": "batch", "hidden": []},
    "resnet18": {"network": "resnet18", "channels": [2]},
    "resnet18 with group norm": {"network": "resnet18", "channels": [2], "norm": "group"},
}


class Looking(nn.Module):
    """A module that torch cannot vectorise."""

    def __init__(self, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(192, outputs))

    def forward(self, inputs):
        return self.layers(inputs if inputs.sum().item() < 1e9 else -inputs)


def own(shape, outputs):
    return nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, outputs)
    )


def network_of(kind):
    draws = [generator(seed, "weights") for seed in SEEDS]
    if kind == "own":
        network = Members(own, (3, 8, 8), 4, draws)
    elif kind == "own, looking":
        network = Members(lambda shape, outputs: Looking(outputs), (3, 8, 8), 4, draws)
    else:
        network = build_network(EWC.Config.parse(NETWORKS[kind]), INFO, draws)
    network(torch.rand(3, 20, 192, generator=generator(0, "first")))  # statistics, in training
    return network.double().eval()


def by_loops(network, inputs, mask):
    totals = [torch.zeros_like(w) for w in network.parameters()]
    for seed in range(len(SEEDS)):
        for n in range(inputs.shape[1]):
            logits = network(inputs[:, n : n + 1])[seed, 0]
            if mask is not None:
                logits = logits[mask[seed, n if mask.shape[1] > 1 else 0]]
            for value in logits.log_softmax(0):
                gradients = torch.autograd.grad(value, [*network.parameters()], retain_graph=True)
                for total, gradient in zip(totals, gradients, strict=True):
                    total += value.detach().exp() * gradient.square()
    return totals


@pytest.mark.parametrize("masked", [None, "task", "sample"])
@pytest.mark.parametrize("kind", [*NETWORKS, "own", "own, looking"])
def test_the_fisher_information_equals_a_loop_over_samples_and_labels(kind, masked, monkeypatch):
    monkeypatch.setattr("trainables.nn.fisher.SAMPLE_NUMBERS", 1_000)  # several parts
    network = network_of(kind)
    if isinstance(network, Members):
        assert bool(network.obstacle) == (kind == "own, looking")
    inputs = torch.rand(3, 4, 192, dtype=torch.double, generator=generator(0, "inputs"))
    mask = None
    if masked:
        drawn = torch.rand(3, 4, 4, generator=generator(0, "mask")) < 0.6
        drawn[..., 0] = True
        mask = drawn if masked == "sample" else drawn[:, :1]
    found = fisher_sum(network, inputs, mask)
    for mine, theirs in zip(found, by_loops(network, inputs, mask), strict=True):
        torch.testing.assert_close(mine, theirs)
